/*
 * keeper.c: the process that knows: configuration, secrets, identities, keys (DESIGN §3).
 *
 * Start: read the configuration; tell the supervisor (SUP_CONFIG), which locks the store and binds
 * listeners, and wait for its word; become our user; open state.db and keys; resolve every secret;
 * send the snapshot; confine; serve. A configuration with any error ends the start with all
 * findings in the log; at a reload it changes nothing.
 *
 * One thread, one loop; nothing here waits for anybody once it serves. The set-up may: it is before.
 * No network: no socket is ever made here, all channels were given.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "ipc/confine.h"
#include "keeper/keeper_priv.h"

enum { STORE_TIMEOUT_MS = 60000, MAP_MAX = 1024 * 1024 };
#define BEAT_NS (NS_PER_S)
#define DRAIN_NS (3 * NS_PER_S)
#define TOKEN_KEEP_NS (30 * 24 * 3600 * NS_PER_S) /* expired tokens stay for `token ls` */

uint64_t keeper_op(struct keeper *k) {
	return ++k->next_id;
}

/* ---- configuration ---- */

static void log_findings(const struct findings *f) {
	for (size_t i = 0; i < f->count; i++) {
		const struct finding *n = &f->v[i];
		bool is_error = n->level == FINDING_ERROR;

		log_line(is_error ? LOG_ERROR : LOG_WARN,
		         is_error ? "keeper.config.error" : "keeper.config.warning",
		         (const struct kv[]){ kv_str("file", n->at.file),
		                              kv_uint("line", n->at.line), kv_str("key", n->at.key),
		                              kv_str("text", n->text),
		                              kv_str("nearest", n->nearest) },
		         n->nearest.n != 0 ? 5 : 4);
	}
}

/* Names that the made certificate must carry beside localhost: ours, what we listen on, and those by
 * which connections are told apart. */
struct leaf_names {
	char host[256], listen[256], domain[256];
	const char *all[4];
};

static void leaf_names(const struct config *c, struct leaf_names *l) {
	struct config_address a;
	const char *why;
	size_t n = 0;

	if (gethostname(l->host, 255) == 0 && l->host[0] != '\0') {
		l->host[255] = '\0';
		l->all[n++] = l->host;
	}
	if (config_address_parse(&a, c->gateway.listen_postgres, &why) == 0 && !a.is_loopback &&
	    !str_is(a.host, "0.0.0.0") && !str_is(a.host, "::") &&
	    str_copy(l->listen, sizeof(l->listen), a.host))
		l->all[n++] = l->listen;
	if (c->gateway.listen_domain.n != 0) {
		(void)snprintf(l->domain, sizeof(l->domain), "*.%.*s",
		               STR_ARG(c->gateway.listen_domain));
		l->all[n++] = l->domain;
	}
	l->all[n] = NULL;
}

static int leaf_make(struct keeper *k, const struct config *c, struct err *e) {
	struct leaf_names names;
	struct ca_leaf leaf;

	if (c->gateway.tls_cert.n != 0)
		return 0;
	leaf_names(c, &names);
	int rc = ca_leaf_get(&leaf, k->store, names.all, e);

	if (rc < 0)
		return rc;
	ca_leaf_fini(&k->leaf);
	k->leaf = leaf;
	auto_free char *root = xasprintf("%s/ca.pem", k->store);

	if (leaf.is_new_root)
		log_info("keeper.ca.made", kv_z("root", root));
	else
		log_debug("keeper.ca.used", kv_z("root", root));
	return 0;
}

/* Secrets and snapshot of a configuration that is right by itself. *c is taken on success. */
static int build(struct keeper *k, struct config **c, struct runtime **ret, struct findings *f) {
	struct place at = { .file = (*c)->file };
	struct err e = { 0 };

	if (leaf_make(k, *c, &e) < 0) {
		finding_error(f, &at, "%s", e.text);
		return H_ECONFIG;
	}
	struct tls_pair pair = { .cert_pem = str_of(k->leaf.cert_pem),
		                 .key_pem = str_of(k->leaf.key_pem) };

	return runtime_build(ret, c, &k->env, &pair, f);
}

static void send_config(struct keeper *k, const struct config *c) {
	struct buf b;

	buf_init(&b, 8192);
	w_u32(&b, 1);
	w_vstr(&b, STR("postgres"));
	w_vstr(&b, c->gateway.listen_postgres);
	w_vstr(&b, c->gateway.store_path);
	w_u32(&b, c->gateway.threads);
	w_u64(&b, c->gateway.segment_size);
	w_u32(&b, c->gateway.segments);
	w_u64(&b, c->gateway.store_size_max);
	(void)chan_send(&k->chan[ROLE_SUPERVISOR], IPC_SUP_CONFIG, 0, buf_peek(&b));
	buf_fini(&b);
}

static void send_snapshot(struct keeper *k) {
	(void)chan_send_fd(&k->chan[ROLE_WORKER], IPC_SNAPSHOT, 0, STR_NONE, k->rt->snapshot_fd);
}

/* ---- reload ---- */

static void say_reloaded(struct keeper *k, int code, const char *text) {
	struct buf b;

	buf_init(&b, 4096);
	w_u32(&b, (uint32_t)code);
	w_vstr(&b, str_of(text));
	(void)chan_send(&k->chan[ROLE_SUPERVISOR], IPC_SUP_RELOADED, 0, buf_peek(&b));
	buf_fini(&b);
}

static void act_config(struct keeper *k, const char *name, const char *member, const char *text) {
	struct buf b;

	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b, name, NULL);

	jw_kv_str(&j, "file", k->start->config_path);
	jw_kv_z(&j, member, text);
	jw_obj_end(&j);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
}

static void reload_refused(struct keeper *k, const char *why) {
	log_error("keeper.config.refused", kv_z("reason", why));
	act_config(k, "config.refused", "reason", why);
	say_reloaded(k, H_ECONFIG, why);
}

static void reload_done(struct keeper *k) {
	char hash[2 * SHA256_SIZE + 1];

	runtime_unref(&k->rt);
	k->rt = k->next;
	k->next = NULL;
	proofs_use(k);
	hex_encode(hash, k->rt->hash, SHA256_SIZE);
	send_snapshot(k);
	log_info("keeper.config.applied", kv_z("snapshot", hash));
	act_config(k, "config.applied", "snapshot", hash);
	say_reloaded(k, 0, "");
}

void keeper_reload(struct keeper *k) {
	struct findings f;
	char why[512] = "the configuration cannot be read";

	if (k->next != NULL) {
		reload_refused(k, "the reload before is still under way");
		return;
	}
	findings_init(&f);
	struct config *c = config_load(k->start->config_path.p, &f);

	if (c != NULL && !str_is(c->gateway.store_path, k->store)) {
		struct place at = { .file = c->file };

		finding_error(&f, &at, "spec.store.path cannot change while the gateway runs");
	} else if (c != NULL && build(k, &c, &k->next, &f) < 0) {
		k->next = NULL;
	}
	log_findings(&f);
	findings_first(&f, why, sizeof(why));
	config_free(&c);
	findings_fini(&f);
	/* The rest when the supervisor has bound the listeners: on_store(). */
	if (k->next != NULL)
		send_config(k, k->next->config);
	else
		reload_refused(k, why);
}

static void on_store(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	int code = (int)rd_u32(&r);
	struct str text = rd_vstr(&r);
	char why[512];

	if (k->next == NULL || rd_done(&r) < 0)
		return;
	if (code == 0) {
		reload_done(k);
		return;
	}
	(void)snprintf(why, sizeof(why), "%.*s", STR_ARG(text));
	runtime_unref(&k->next);
	reload_refused(k, why);
}

/* ---- the supervisor ---- */

/* The channel to a peer's next process, if this message brings one. Before the channels are open it
 * takes the place of the one that the keeper was started with. */
static void take_channel(struct keeper *k, enum role role, struct ipc_msg *m) {
	int fd = ipc_take_fd(m, 0);

	if (fd < 0)
		return;
	if (chan_renew(&k->chan[role], fd) < 0) {
		log_error("keeper.channel.not_renewed", kv_z("peer", role_name(role)));
		(void)close(fd);
	}
}

static void on_peer(struct keeper *k, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	unsigned role = rd_u8(&r);
	bool is_up = rd_u8(&r) != 0;

	if (rd_done(&r) < 0 || role >= ROLE_COUNT || role == ROLE_SUPERVISOR || role == ROLE_KEEPER)
		return;
	struct chan *c = &k->chan[role];

	log_info("keeper.peer", kv_z("role", role_name((enum role)role)), kv_bool("up", is_up));
	c->is_up = is_up;
	if (!is_up) {
		chan_drain(c); /* its last words are not taken for those of the next one */
		c->is_down = c->was_down = true;
		chan_clear(c);
		take_channel(k, (enum role)role, m);
		if (role == ROLE_RECORDER)
			k->store_state = 0; /* the next one tells */
		grants_peer_gone(k, (enum role)role);
		return;
	}
	c->is_down = false;
	if (role == ROLE_WORKER && c->was_down)
		send_snapshot(k);
	if (role == ROLE_RECORDER && c->was_down)
		acts_resend(k);
	c->was_down = false;
	grants_peer_serves(k);
}

static void drained(struct keeper *k) {
	if (k->drained)
		return;
	k->drained = true;
	(void)chan_send(&k->chan[ROLE_SUPERVISOR], IPC_SUP_DRAINED, 0, STR_NONE);
}

static void on_drain(struct keeper *k) {
	struct buf b;

	if (k->is_draining)
		return;
	k->is_draining = true;
	k->drain_due_ns = loop_now(k->loop) + DRAIN_NS;
	refusals_flush(k->refusals);
	refusals_flush(k->cancels);
	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b, "gateway.stopped", NULL);

	jw_obj_end(&j);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
}

static void on_supervisor(struct keeper *k, struct ipc_msg *m) {
	if (m->type == IPC_SUP_PEER)
		on_peer(k, m);
	else if (m->type == IPC_SUP_RELOAD)
		keeper_reload(k);
	else if (m->type == IPC_SUP_STORE)
		on_store(k, m);
	else if (m->type == IPC_SUP_DRAIN)
		on_drain(k);
}

/* ---- recorder, egress ---- */

static void on_store_state(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint8_t state = rd_u8(&r);
	struct str reason = rd_vstr(&r);

	if (rd_done(&r) < 0)
		return;
	k->store_state = state;
	(void)snprintf(k->store_reason, sizeof(k->store_reason), "%.*s", STR_ARG(reason));
	if (state == 0)
		acts_beat(k);
	log_line(state == 0 ? LOG_INFO : LOG_ALARM, "keeper.store.state",
	         (const struct kv[]){ kv_uint("state", state), kv_z("reason", k->store_reason) },
	         2);
}

static void on_recorder(struct keeper *k, struct ipc_msg *m) {
	if (m->type == IPC_OPENED)
		grants_on_opened(k, m);
	else if (m->type == IPC_ACT_DONE)
		acts_on_done(k, m);
	else if (m->type == IPC_SIGN)
		sign_on_ask(k, m);
	else if (m->type == IPC_LAST_SIGNED)
		sign_on_last(k, m);
	else if (m->type == IPC_BINDINGS)
		grants_on_bindings(k, m);
	else if (m->type == IPC_STORE_STATE)
		on_store_state(k, m);
}

static void on_egress(struct keeper *k, struct ipc_msg *m) {
	if (m->type == IPC_FETCHED)
		grants_on_fetched(k, m);
	else
		grants_on_connected(k, m);
}

/* ---- time ---- */

static void on_beat(struct timer *t) {
	struct keeper *k = container_of(t, struct keeper, beat);
	uint64_t now = loop_now(k->loop);

	for (size_t i = 0; i < ROLE_COUNT; i++)
		chan_tell_cut(&k->chan[i]);
	grants_expire(k);
	proofs_beat(k);
	prove_beat(k);
	acts_beat(k);
	(void)refusals_beat(k->refusals, now);
	(void)refusals_beat(k->cancels, now);
	if (k->is_draining && (k->act_count == 0 || now >= k->drain_due_ns))
		drained(k);
	timer_set(k->loop, t, now + (k->is_draining ? BEAT_NS / 20 : BEAT_NS));
}

/* ---- set-up ---- */

/* Blocks until the supervisor has taken the store, or refused it. */
static int wait_store(struct keeper *k, int *ret_control, struct err *e) {
	struct pollfd p = { .fd = k->start->supervisor, .events = POLLIN };
	struct ipc_msg m;

	for (;;) {
		int n = poll(&p, 1, STORE_TIMEOUT_MS);

		if (n < 0 && errno == EINTR)
			continue;
		int rc = n > 0 ? ipc_recv(p.fd, k->packet, &m) : H_ETIMEOUT;

		if (rc == 0 || rc == H_EPROTO)
			continue;
		if (rc < 0)
			return err_set(e, rc, "the supervisor does not answer");
		if (m.type == IPC_SUP_STORE && ipc_fits(&m, ROLE_SUPERVISOR, ROLE_KEEPER))
			break;
		/* Of processes that start beside us, only a new channel matters yet. */
		if (m.type == IPC_SUP_PEER && ipc_fits(&m, ROLE_SUPERVISOR, ROLE_KEEPER) &&
		    m.body.n == 2 && (uint8_t)m.body.p[0] < ROLE_COUNT &&
		    m.body.p[0] != ROLE_SUPERVISOR)
			take_channel(k, (enum role)m.body.p[0], &m);
		ipc_msg_close(&m);
	}
	struct rd r = rd_of(m.body);
	int code = (int)rd_u32(&r);
	struct str text = rd_vstr(&r);

	*ret_control = ipc_take_fd(&m, 0);
	ipc_msg_close(&m);
	if (rd_done(&r) < 0 || code < 0)
		return err_set(e, code < 0 ? code : H_EPROTO, "%.*s", STR_ARG(text));
	return 0;
}

static int chans_open(struct keeper *k) {
	static chan_fn *const fns[ROLE_COUNT] = { [ROLE_SUPERVISOR] = on_supervisor,
		                                  [ROLE_EGRESS] = on_egress,
		                                  [ROLE_WORKER] = grants_on_worker,
		                                  [ROLE_RECORDER] = on_recorder };
	int rc = 0;

	for (unsigned i = 0; i < ROLE_COUNT && rc == 0; i++) {
		struct chan *c = &k->chan[i];

		c->k = k;
		c->peer = (enum role)i;
		c->fn = fns[i];
		c->is_up = k->start->peers_restarted;
		rc = chan_open(c, i == ROLE_SUPERVISOR ? k->start->supervisor : k->start->peer[i]);
	}
	return rc;
}

static void act_started(struct keeper *k) {
	char hash[2 * SHA256_SIZE + 1], boot[33];
	struct buf b;

	hex_encode(hash, k->rt->hash, SHA256_SIZE);
	hex_encode(boot, k->start->node_boot, sizeof(k->start->node_boot));
	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b,
	                        k->start->peers_restarted ? "keeper.restarted" : "gateway.started",
	                        NULL);

	jw_kv_z(&j, "version", HANSARD_VERSION);
	jw_kv_z(&j, "boot", boot);
	jw_kv_z(&j, "snapshot", hash);
	jw_obj_end(&j);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
}

static int state_setup(struct keeper *k, struct err *e) {
	auto_free char *dir = xasprintf("%s/keeper", k->store);
	auto_free char *path = xasprintf("%s/state.db", dir);

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, H_EIO, "cannot make %s: %s", dir, strerror(errno));
	int rc = state_open(&k->state, path, e);

	if (rc < 0)
		return rc;
	if (!k->start->peers_restarted)
		rc = state_grant_clear(k->state);
	if (rc == 0)
		rc = state_token_purge(k->state, wall_ns() - TOKEN_KEEP_NS);
	return rc < 0 ? err_set(e, rc, "state.db: %s", h_err_text(rc)) : sign_setup(k, e);
}

/* From the store on; the configuration is right. */
static int setup_store(struct keeper *k, struct config **c, struct findings *f, struct err *e) {
	struct place at = { .file = (*c)->file };
	int control = k->start->control;

	k->store = str_dup((*c)->gateway.store_path);
	send_config(k, *c);
	int rc = wait_store(k, &control, e);

	if (rc == 0 && confine_user(ROLE_KEEPER) < 0)
		rc = err_set(e, H_EPERM, "cannot become the keeper's user");
	if (rc == 0)
		rc = state_setup(k, e);
	if (rc == 0)
		rc = build(k, c, &k->rt, f);
	if (rc == 0)
		rc = control_open(k, control);
	if (rc < 0 && f->errors == 0)
		finding_error(f, &at, "%s", e->text[0] != '\0' ? e->text : h_err_text(rc));
	return rc;
}

static int setup_config(struct keeper *k) {
	struct findings f;
	struct err e = { 0 };
	int rc = H_ECONFIG;

	findings_init(&f);
	struct config *c = config_load(k->start->config_path.p, &f);

	if (c != NULL)
		rc = setup_store(k, &c, &f, &e);
	log_findings(&f);
	config_free(&c);
	findings_fini(&f);
	return rc;
}

int keeper_setup(struct keeper *k, struct start *s) {
	*k = (struct keeper){ .start = s };
	k->packet = xmalloc(IPC_MAX + 16);
	k->loop = loop_new();
	k->started_wall_ns = wall_ns();
	random_bytes(&k->next_id, sizeof(k->next_id));
	k->next_id &= UINT32_MAX; /* room to count; no answer to an earlier keeper fits */
	k->next_id = k->next_id << 24 | 1;
	list_init(&k->acts);
	list_init(&k->waiting);
	proofs_setup(k);
	prove_setup(k);
	k->grants = map_new(MAP_MAX);
	k->ops = map_new(KEEPER_PENDING_MAX + 64);
	k->keys = map_new(MAP_MAX);
	k->subjects = map_new(MAP_MAX);
	k->refusals = refusals_new(act_refusal, k);
	k->cancels = refusals_new(act_cancel_missed, k);
	if (k->loop == NULL || env_read(&k->env, s->env) < 0 || chans_open(k) < 0) {
		log_error("keeper.start.failed", kv_err(H_EIO));
		return H_EIO;
	}
	return setup_config(k);
}

/* Files that the configuration names, at most max. */
static size_t named_files(const struct config *c, struct str *files, size_t max) {
	size_t n = 0;

	files[n++] = c->gateway.tls_cert;
	files[n++] = c->gateway.tls_key;
	for (const struct config_issuer *s = c->gateway.issuers; s != NULL; s = s->next) {
		struct str file = s->jwks_file.n != 0 ? s->jwks_file : s->ca;

		if (file.n != 0 && n < max)
			files[n++] = file;
	}
	for (const struct config_connection *conn = c->connections; conn != NULL;
	     conn = conn->next) {
		if (n < max)
			files[n++] = conn->tls_ca;
		for (const struct config_role *r = conn->roles; r != NULL; r = r->next) {
			if (r->password.kind == SECRET_FILE && n < max)
				files[n++] = r->password.name;
		}
	}
	return n;
}

/* What the keeper reads again at a reload: the configuration's directory and that of each file that
 * it names. At most 15; a reference into yet another directory needs a restart where Landlock is. */
static void read_paths(struct keeper *k, struct confine_paths *paths, char *dirs[16]) {
	const struct config *c = k->rt->config;
	struct str files[128];
	size_t n = named_files(c, files, ARRAY_LEN(files)), count = 0;

	dirs[count++] = str_dup(c->dir);
	for (size_t i = 0; i < n && count < 15; i++) {
		char *slash = files[i].n != 0 ? strrchr(files[i].p, '/') : NULL;

		if (slash == NULL)
			continue;
		struct str dir = str_head(files[i], MAX((size_t)(slash - files[i].p), (size_t)1));
		bool is_known = false;

		for (size_t d = 0; d < count; d++)
			is_known = is_known || str_is(dir, dirs[d]);
		if (!is_known)
			dirs[count++] = str_dup(dir);
	}
	for (size_t i = 0; i < count; i++)
		paths->read[i] = dirs[i];
}

static int keeper_confine(struct keeper *k) {
	struct confine_paths paths = { 0 };
	char *dirs[16] = { NULL };
	const char *note = NULL;
	auto_free char *own = xasprintf("%s/keeper", k->store);

	read_paths(k, &paths, dirs);
	paths.write[0] = own;
	int rc = confine(ROLE_KEEPER, &paths, &note);

	if (note != NULL)
		log_warn("keeper.confinement.note", kv_z("note", note));
	if (rc < 0)
		log_error("keeper.confinement.failed", kv_err(rc));
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		free(dirs[i]);
	return rc;
}

int keeper_serve(struct keeper *k) {
	send_snapshot(k);
	act_started(k);
	proofs_use(k);
	k->beat.fn = on_beat;
	k->again.fn = grants_again;
	timer_set(k->loop, &k->beat, loop_now(k->loop) + BEAT_NS);
	(void)chan_send(&k->chan[ROLE_SUPERVISOR], IPC_SUP_READY, 0, STR_NONE);
	log_info("keeper.serving", kv_str("config", k->rt->config->file), kv_z("vkey", k->vkey));
	return loop_run(k->loop);
}

void keeper_fini(struct keeper *k) {
	control_free(k);
	for (size_t i = 0; i < ROLE_COUNT; i++)
		chan_close(&k->chan[i]);
	grants_free(k);
	proofs_free(k);
	prove_free(k);
	acts_free(k);
	refusals_free(&k->refusals);
	refusals_free(&k->cancels);
	runtime_unref(&k->next);
	runtime_unref(&k->rt);
	ca_leaf_fini(&k->leaf);
	env_fini(&k->env);
	state_close(&k->state);
	wipe(k->seed, sizeof(k->seed));
	wipe(k->hide_key, sizeof(k->hide_key));
	wipe(k->prove_key, sizeof(k->prove_key));
	free(k->store);
	free(k->packet);
	loop_free(&k->loop);
}

int keeper_main(struct start *s) {
	struct keeper k;

	crypto_setup();
	int rc = keeper_setup(&k, s);

	if (rc == 0)
		rc = keeper_confine(&k);
	if (rc == 0)
		rc = keeper_serve(&k);
	keeper_fini(&k);
	return rc < 0 ? 1 : 0;
}
