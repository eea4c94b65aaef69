/*
 * serve.c: `hansard serve`: the supervisor process.
 *
 * It makes what must outlive any other process (listeners, rings, socket pairs, the store's lock),
 * starts the others and starts them again. It has no secrets: the environment, where passwords may
 * be, goes sealed to the keeper alone. It reads no foreign bytes: only what its children say
 * (serve_message.c) and signals. What should happen is decided by supervisor.c; this file does it.
 *
 * Channels between children are in serve_channel.c.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "config/config.h"
#include "ipc/confine.h"
#include "main/cli.h"
#include "main/serve_priv.h"

#define RELOAD_LIMIT_NS (10 * NS_PER_S)

/* --- options --- */

struct options {
	const char *config;
	bool is_json;
	enum log_level level;
	uint64_t drain_ns;
};

static const struct argp_option option_rows[] = {
	{ "config", 'c', "FILE", 0, "configuration file", 0 },
	{ "log", 'l', "FORM", 0, "json or text (default: text on a terminal, else json)", 0 },
	{ "log-level", 'L', "LEVEL", 0, "debug, info, warn or error (default: info)", 0 },
	{ "drain", 'd', "TIME", 0,
	  "how long sessions may go on after SIGTERM, such as 30s or 5m (default: 30s)", 0 },
	{ 0 }
};

static bool set_level(struct options *o, const char *text) {
	static const char *const names[] = { [LOG_DEBUG] = "debug",
		                             [LOG_INFO] = "info",
		                             [LOG_WARN] = "warn",
		                             [LOG_ERROR] = "error" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			o->level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static error_t on_option(int key, char *arg, struct argp_state *state) {
	struct options *o = state->input;

	switch (key) {
	case 'c':
		o->config = arg;
		return 0;
	case 'l':
		o->is_json = strcmp(arg, "json") == 0;
		if (!o->is_json && strcmp(arg, "text") != 0)
			argp_error(state, "--log must be json or text");
		return 0;
	case 'L':
		if (!set_level(o, arg))
			argp_error(state, "--log-level must be debug, info, warn or error");
		return 0;
	case 'd':
		if (duration_parse(str_of(arg), &o->drain_ns) < 0)
			argp_error(state, "--drain must be a time such as 30s");
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- children --- */

static void fill_start(struct serve *sv, struct start *s) {
	memcpy(s->node_boot, sv->boot, sizeof(s->node_boot));
	s->log_json = sv->log_json;
	s->log_level = sv->log_level;
	switch (s->role) {
	case ROLE_KEEPER:
		s->peer[ROLE_WORKER] = sv->wk[1];
		s->peer[ROLE_RECORDER] = sv->kr[0];
		s->peer[ROLE_EGRESS] = sv->ke[0];
		s->control = sv->store.control;
		s->lock = sv->store.lock;
		s->env = sv->env;
		s->config_path = str_of(sv->config_path);
		break;
	case ROLE_EGRESS:
		s->peer[ROLE_KEEPER] = sv->ke[1];
		break;
	case ROLE_WORKER:
		s->peer[ROLE_KEEPER] = sv->wk[0];
		s->recorder_event = sv->recorder_event;
		serve_rings_start(&sv->rings, s);
		break;
	case ROLE_RECORDER:
		s->peer[ROLE_KEEPER] = sv->kr[1];
		s->recorder_event = sv->recorder_event;
		s->lock = sv->store.lock;
		s->store_path = str_of(sv->store.path);
		s->segment_size = sv->segment_size;
		s->segment_count = sv->segment_count;
		s->store_max = sv->store_max;
		serve_rings_start(&sv->rings, s);
		break;
	case ROLE_SUPERVISOR:
	case ROLE_COUNT:
		break;
	}
}

static void tell_start(struct serve *sv, enum role role, bool is_again) {
	struct ipc_msg m = { .type = IPC_SUP_START };
	struct start s;
	struct buf b;

	start_init(&s, role);
	s.peers_restarted = is_again;
	fill_start(sv, &s);
	buf_init(&b, IPC_MAX);
	start_put(&b, m.fds, &m.fd_count, &s);
	m.body = buf_peek(&b);
	serve_tell_fds(sv, role, &m);
	buf_fini(&b);
	if (role == ROLE_WORKER)
		serve_tell_listeners(sv);
	for (size_t i = 0; role == ROLE_RECORDER && i < sv->rings.count; i++) {
		if (sv->rings.v[i].is_dead)
			serve_tell_ring(sv, &sv->rings.v[i]);
	}
}

static bool has_live_ring(const struct serve *sv) {
	for (size_t i = 0; i < sv->rings.count; i++) {
		if (!sv->rings.v[i].is_dead)
			return true;
	}
	return false;
}

static int make_rings(struct serve *sv) {
	int rc;

	if (has_live_ring(sv))
		return 0;
	rc = serve_rings_make(&sv->rings, sv->threads);
	for (size_t i = 0; rc == 0 && i < sv->rings.count; i++) {
		if (!sv->rings.v[i].is_dead)
			serve_tell_ring(sv, &sv->rings.v[i]);
	}
	return rc;
}

static int op_spawn(void *arg, enum role role, bool is_again) {
	struct serve *sv = arg;
	struct serve_proc *p = &sv->procs[role];
	int rc = role == ROLE_WORKER ? make_rings(sv) : 0;

	if (rc == 0)
		rc = serve_spawn(role, &p->pid, &p->channel.fd);
	if (rc < 0) {
		log_error("supervisor.child.not_started", kv_z("role", role_name(role)),
		          kv_err(rc));
		return rc;
	}
	p->channel.fn = serve_on_channel;
	if (loop_add(sv->loop, &p->channel, LOOP_IN) < 0)
		abort(); /* without its channel the child could be neither heard nor ended */
	log_info("supervisor.child.started", kv_z("role", role_name(role)), kv_int("child", p->pid),
	         kv_bool("again", is_again));
	tell_start(sv, role, is_again);
	return 0;
}

static void op_kill(void *arg, enum role role) {
	struct serve *sv = arg;

	if (sv->procs[role].pid > 0)
		(void)kill(sv->procs[role].pid, SIGKILL);
}

static void op_hangup(void *arg, enum role role) {
	struct serve *sv = arg;

	if (sv->procs[role].channel.fd >= 0)
		(void)shutdown(sv->procs[role].channel.fd, SHUT_WR);
}

static void op_drain(void *arg, enum role role, uint64_t until_ns) {
	struct serve *sv = arg;
	struct buf b;

	buf_init(&b, 16);
	w_u64(&b, until_ns);
	serve_tell(sv, role, IPC_SUP_DRAIN, buf_peek(&b));
	buf_fini(&b);
}

static void op_peer(void *arg, enum role to, enum role about, bool is_up) {
	const uint8_t body[2] = { (uint8_t)about, is_up ? 1 : 0 };
	struct ipc_msg m = { .type = IPC_SUP_PEER, .body = str_mem(body, sizeof(body)) };
	int end = to == ROLE_KEEPER && !is_up ? serve_channel_keeper_end(arg, about) : -1;

	if (end >= 0)
		m.fds[m.fd_count++] = end;
	serve_tell_fds(arg, to, &m);
}

static void op_ready(void *arg) {
	struct serve *sv = arg;
	struct buf b;

	buf_init(&b, 4096);
	for (size_t i = 0; i < sv->listeners.count; i++)
		w_fmt(&b, "%s%s=%s", i > 0 ? " " : "", sv->listeners.v[i].protocol,
		      sv->listeners.v[i].address);
	log_info("supervisor.ready", kv_str("listeners", buf_peek(&b)),
	         kv_z("store", sv->store.path),
	         kv_uint("ms", (mono_ns() - sv->started_ns) / NS_PER_MS));
	buf_fini(&b);
	serve_notify_say(&sv->notify, "READY=1\nSTATUS=serving");
}

static const struct sup_ops ops = {
	.spawn = op_spawn,
	.kill = op_kill,
	.hangup = op_hangup,
	.drain = op_drain,
	.peer = op_peer,
	.ready = op_ready,
};

/* --- the end of a child --- */

static void kill_rings(struct serve *sv) {
	for (size_t i = 0; i < sv->rings.count; i++) {
		if (sv->rings.v[i].is_dead)
			continue;
		sv->rings.v[i].is_dead = true;
		serve_tell_ring(sv, &sv->rings.v[i]);
	}
}

/* Nobody is started again while the gateway ends: nobody needs a new one then. */
static void renew_channel(struct serve *sv, enum role role) {
	if (role == ROLE_KEEPER || sv->sup.phase > SUP_RUNNING) {
		serve_channel_empty(sv, role);
		return;
	}
	if (serve_channel_renew(sv, role) < 0) {
		log_error("supervisor.channel.not_renewed", kv_z("role", role_name(role)),
		          kv_err(H_EIO));
		serve_channel_empty(sv, role);
	}
}

static void on_exit_of(struct serve *sv, struct serve_proc *p, int status) {
	bool by_signal = WIFSIGNALED(status);
	bool is_expected = sv->sup.phase > SUP_RUNNING;

	log_at(is_expected ? LOG_INFO : LOG_ERROR, "supervisor.child.gone",
	       kv_z("role", role_name(p->role)), kv_int("child", p->pid),
	       by_signal ? kv_int("signal", WTERMSIG(status))
	                 : kv_int("status", WEXITSTATUS(status)));
	for (int i = 0; i < SERVE_QUEUE_MAX / SERVE_MESSAGES_MAX; i++)
		serve_read_channel(p); /* its last words */
	loop_del(sv->loop, &p->channel);
	(void)close(p->channel.fd);
	p->channel.fd = -1;
	p->pid = 0;
	renew_channel(sv, p->role);
	if (p->role == ROLE_WORKER)
		kill_rings(sv);
	sup_exited(&sv->sup, p->role, by_signal, mono_ns());
}

static void reap(struct serve *sv) {
	for (int i = 0; i < ROLE_COUNT; i++) {
		struct serve_proc *p = &sv->procs[i];
		int status;
		if (p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == p->pid)
			on_exit_of(sv, p, status);
	}
}

/* --- signals and timers --- */

static void reload(struct serve *sv) {
	if (sv->sup.phase != SUP_RUNNING || sv->procs[ROLE_KEEPER].pid == 0)
		return;
	log_info("supervisor.reloading");
	serve_notify_reloading(&sv->notify);
	timer_set(sv->loop, &sv->reload_limit, mono_ns() + RELOAD_LIMIT_NS);
	serve_tell(sv, ROLE_KEEPER, IPC_SUP_RELOAD, STR_NONE);
}

static void on_signal(struct watch *w, unsigned events unused_arg) {
	struct serve *sv = container_of(w, struct serve, signals);
	struct signalfd_siginfo si;

	while (read(w->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD) {
			reap(sv);
		} else if (si.ssi_signo == SIGHUP) {
			reload(sv);
		} else {
			log_info("supervisor.draining", kv_uint("signal", si.ssi_signo));
			serve_notify_say(&sv->notify, "STOPPING=1");
			sup_term(&sv->sup, mono_ns());
		}
	}
	serve_after(sv);
}

void serve_after(struct serve *sv) {
	uint64_t due = sup_next_ns(&sv->sup);

	if (sv->sup.phase == SUP_ENDED)
		loop_stop(sv->loop);
	else if (due != 0)
		timer_set(sv->loop, &sv->due, due);
	else
		timer_stop(sv->loop, &sv->due);
}

static void on_due(struct timer *t) {
	struct serve *sv = container_of(t, struct serve, due);

	sup_tick(&sv->sup, mono_ns());
	serve_after(sv);
}

static void on_watchdog(struct timer *t) {
	struct serve *sv = container_of(t, struct serve, watchdog);

	serve_notify_say(&sv->notify, "WATCHDOG=1");
	timer_set(sv->loop, t, mono_ns() + sv->notify.watchdog_ns);
}

/* A keeper that died over a reload answers no more; the service manager must not wait for ever. */
static void on_reload_limit(struct timer *t) {
	struct serve *sv = container_of(t, struct serve, reload_limit);

	log_error("supervisor.reload.unanswered");
	serve_notify_say(&sv->notify, "READY=1");
}

/* --- start --- */

static int open_signals(struct serve *sv) {
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return H_EIO;
	sv->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	sv->signals.fn = on_signal;
	return sv->signals.fd < 0 ? H_EIO : loop_add(sv->loop, &sv->signals, LOOP_IN);
}

static int open_channels(struct serve *sv) {
	if (serve_channel_open(sv->wk) < 0 || serve_channel_open(sv->kr) < 0 ||
	    serve_channel_open(sv->ke) < 0)
		return H_EIO;
	sv->recorder_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sv->env = serve_env_memfd();
	return sv->recorder_event < 0 || sv->env < 0 ? H_EIO : 0;
}

static struct serve *serve_new(const struct options *o, const char *config_path) {
	struct serve *sv = xcalloc(1, sizeof(*sv));

	sv->loop = loop_new();
	sv->config_path = config_path;
	sv->log_json = o->is_json;
	sv->log_level = (uint8_t)o->level;
	sv->store = (struct serve_store){ .lock = -1, .control = -1 };
	sv->started_ns = mono_ns();
	sv->due.fn = on_due;
	sv->watchdog.fn = on_watchdog;
	sv->reload_limit.fn = on_reload_limit;
	for (int i = 0; i < ROLE_COUNT; i++) {
		sv->procs[i].serve = sv;
		sv->procs[i].role = (enum role)i;
		sv->procs[i].channel.fd = -1;
		sv->old_end[i] = -1;
	}
	random_bytes(sv->boot, sizeof(sv->boot));
	serve_notify_open(&sv->notify);
	sup_init(&sv->sup, &ops, sv, o->drain_ns);
	return sv;
}

static void confine_self(void) {
	const struct confine_paths none = { { NULL }, { NULL } };
	const char *note = NULL;
	int rc = confine(ROLE_SUPERVISOR, &none, &note);

	if (rc < 0)
		log_warn("supervisor.confine.failed", kv_err(rc));
	if (note != NULL)
		log_warn("supervisor.confine.incomplete", kv_z("reason", note));
}

static int serve(const struct options *o, const char *config_path) {
	struct serve *sv = serve_new(o, config_path);
	int rc = open_signals(sv);

	if (rc == 0)
		rc = open_channels(sv);
	if (rc < 0) {
		log_error("supervisor.start.failed", kv_err(rc));
		return CLI_FAILED;
	}
	log_info("supervisor.started", kv_z("config", config_path));
	confine_self();
	sup_begin(&sv->sup, mono_ns());
	serve_after(sv);
	if (sv->notify.watchdog_ns != 0)
		timer_set(sv->loop, &sv->watchdog, mono_ns() + sv->notify.watchdog_ns);
	rc = loop_run(sv->loop);
	serve_store_close(&sv->store);
	log_info("supervisor.stopped", kv_int("status", sv->sup.exit_status));
	return rc < 0 ? CLI_FAILED : sv->sup.exit_status;
}

int cmd_serve(int argc, char **argv) {
	static const struct argp argp = {
		option_rows,
		on_option,
		NULL,
		"Runs the gateway in the foreground: one line per event on standard error. SIGTERM "
		"drains and seals, a second one ends at once; SIGHUP takes a new configuration whole, or "
		"changes nothing and says why.",
		NULL,
		NULL,
		NULL
	};
	struct options o = { .is_json = isatty(STDERR_FILENO) == 0,
		             .level = LOG_INFO,
		             .drain_ns = 30 * NS_PER_S };
	char found[PATH_MAX], path[PATH_MAX];
	struct err e = { 0 };

	cli_parse(&argp, argc, argv, &o);
	log_setup("supervisor", o.is_json, o.level);
	if (config_find(o.config, found, sizeof(found), &e) < 0)
		return cli_fail(&e);
	if (realpath(found, path) == NULL) {
		(void)err_set(&e, H_ENOTFOUND, "cannot read %s: %s", found, strerror(errno));
		return cli_fail(&e);
	}
	return serve(&o, path);
}
