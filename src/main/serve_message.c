/*
 * serve_message.c: what children say to the supervisor, and what it says to them.
 *
 * The keeper's SUP_CONFIG is the only message with text in it; it is read with the sticky reader and
 * each name meets a limit. A message that does not fit is logged and dropped; no child can make the
 * supervisor stop, beyond asking for what the table in ipc.c lets it ask for.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "main/serve_priv.h"

/* --- out --- */

void serve_tell_fds(struct serve *sv, enum role to, const struct ipc_msg *m) {
	struct serve_proc *p = &sv->procs[to];
	int rc;

	if (p->pid == 0 || p->channel.fd < 0)
		return;
	rc = ipc_send(p->channel.fd, m->type, m->id, m->body, m->fds, m->fd_count);
	if (rc == 0 || rc == H_ECLOSED)
		return;
	/* A child that has let hundreds of messages lie does not work any more. */
	log_error("supervisor.child.deaf", kv_z("role", role_name(to)),
	          kv_z("message", ipc_type_name(m->type)), kv_err(rc));
	(void)kill(p->pid, SIGKILL);
}

void serve_tell(struct serve *sv, enum role to, enum ipc_type type, struct str body) {
	struct ipc_msg m = { .type = (uint16_t)type, .body = body };

	serve_tell_fds(sv, to, &m);
}

void serve_tell_ring(struct serve *sv, const struct serve_ring *r) {
	struct ipc_msg m = { .type = IPC_SUP_RING,
		             .fds = { r->ring, r->commit, r->event },
		             .fd_count = r->is_dead ? 2 : 3 };
	struct buf b;

	buf_init(&b, 64);
	w_u16(&b, r->id);
	w_u8(&b, r->is_dead ? 2 : 1);
	m.body = buf_peek(&b);
	serve_tell_fds(sv, ROLE_RECORDER, &m);
	buf_fini(&b);
}

void serve_tell_listeners(struct serve *sv) {
	struct ipc_msg m = { .type = IPC_SUP_LISTENERS };

	for (size_t i = 0; i < sv->listeners.count; i++)
		m.fds[m.fd_count++] = sv->listeners.v[i].fd;
	serve_tell_fds(sv, ROLE_WORKER, &m);
}

/* --- SUP_CONFIG --- */

struct wanted {
	struct serve_listeners listeners;
	struct str store;
	uint32_t threads, segment_count;
	uint64_t segment_size, store_max;
};

static int read_config(struct wanted *w, struct str body) {
	struct rd r = rd_of(body);
	uint32_t count = rd_u32(&r);

	if (count > SERVE_LISTENERS_MAX)
		return H_ELIMIT;
	for (uint32_t i = 0; i < count; i++) {
		struct serve_listener *l = &w->listeners.v[w->listeners.count++];
		if (!str_copy(l->protocol, sizeof(l->protocol), rd_vstr(&r)) ||
		    !str_copy(l->address, sizeof(l->address), rd_vstr(&r)))
			return H_ELIMIT;
	}
	w->store = rd_vstr(&r);
	w->threads = rd_u32(&r);
	w->segment_size = rd_u64(&r);
	w->segment_count = rd_u32(&r);
	w->store_max = rd_u64(&r);
	if (w->threads == 0 || w->threads > START_THREADS_MAX)
		return H_ELIMIT;
	return rd_done(&r);
}

/* What is fixed for the life of the gateway. */
static int apply_fixed(struct serve *sv, const struct wanted *w, struct err *e) {
	bool is_first = sv->store.path[0] == '\0';

	if (!is_first && !str_is(w->store, sv->store.path))
		return err_set(e, H_ECONFIG,
		               "store.path changed: a running gateway keeps its store, restart it");
	if (!is_first) {
		if (w->threads != sv->threads || w->segment_size != sv->segment_size ||
		    w->store_max != sv->store_max)
			log_warn("supervisor.config.needs_restart",
			         kv_z("options",
			              "worker threads, store.segment_size, store.size_max"));
		return 0;
	}
	sv->threads = w->threads;
	sv->segment_size = w->segment_size;
	sv->segment_count = w->segment_count;
	sv->store_max = w->store_max;
	return serve_store_open(&sv->store, w->store, e);
}

static bool is_same(const struct serve_listeners *a, const struct serve_listeners *b) {
	for (size_t i = 0; i < a->count && i < b->count; i++) {
		if (a->v[i].fd != b->v[i].fd)
			return false;
	}
	return a->count == b->count;
}

static void apply_listeners(struct serve *sv, const struct serve_listeners *next) {
	struct serve_listeners old = sv->listeners;

	if (is_same(&old, next))
		return;
	sv->listeners = *next;
	serve_tell_listeners(sv); /* before the old ones are closed: no gap in service */
	serve_listeners_close(&old, next);
}

static void answer_config(struct serve *sv, int rc, const struct err *e) {
	struct ipc_msg m = { .type = IPC_SUP_STORE, .fds = { sv->store.control } };
	struct buf b;

	buf_init(&b, 4096);
	w_u32(&b, (uint32_t)rc);
	w_vstr(&b, str_of(rc < 0 ? e->text : ""));
	m.body = buf_peek(&b);
	m.fd_count = rc == 0 ? 1 : 0;
	serve_tell_fds(sv, ROLE_KEEPER, &m);
	buf_fini(&b);
}

static void on_config(struct serve *sv, struct str body) {
	struct wanted w = { 0 };
	struct err e = { 0 };
	int rc = read_config(&w, body);

	if (rc < 0)
		(void)err_set(&e, rc, "the keeper's configuration cannot be: %s", h_err_text(rc));
	if (rc == 0)
		rc = apply_fixed(sv, &w, &e);
	if (rc == 0)
		rc = serve_listeners_bind(&w.listeners, &sv->listeners, &e);
	if (rc == 0)
		apply_listeners(sv, &w.listeners);
	/* What went wrong is the keeper's to log, with the place in the file. */
	answer_config(sv, rc, &e);
	if (rc == 0)
		sup_configured(&sv->sup, mono_ns());
}

/* --- in --- */

static void on_ring_drained(struct serve *sv, struct str body) {
	struct rd r = rd_of(body);
	uint16_t id = rd_u16(&r);

	if (rd_done(&r) == 0)
		serve_rings_drop(&sv->rings, id);
}

static void on_stalled(struct serve *sv, enum role from, struct str body) {
	struct rd r = rd_of(body);
	unsigned role = rd_u8(&r);

	if (rd_done(&r) < 0 || role >= ROLE_COUNT || role == (unsigned)from ||
	    role == ROLE_SUPERVISOR)
		return;
	log_alarm("supervisor.child.stalled", kv_z("role", role_name((enum role)role)),
	          kv_z("reported_by", role_name(from)));
	sup_stalled(&sv->sup, (enum role)role, mono_ns());
}

static void on_reloaded(struct serve *sv, struct str body) {
	struct rd r = rd_of(body);
	int code = (int)rd_u32(&r);

	(void)rd_vstr(&r); /* why: the keeper has logged it, with the place in the file */
	if (rd_done(&r) < 0)
		return;
	timer_stop(sv->loop, &sv->reload_limit);
	serve_notify_say(&sv->notify, "READY=1");
	if (code == 0)
		log_info("supervisor.reloaded");
}

static void refuse(struct serve_proc *p, const char *type) {
	uint64_t count = log_limit_pass(&p->refused, mono_ns());

	if (count != 0)
		log_warn("ipc.message.refused", kv_z("from", role_name(p->role)),
		         kv_z("message", type), kv_uint("count", count));
}

static void on_message(struct serve_proc *p, const struct ipc_msg *m) {
	struct serve *sv = p->serve;

	if (!ipc_fits(m, p->role, ROLE_SUPERVISOR)) {
		refuse(p, ipc_type_name(m->type));
		return;
	}
	if (m->type == IPC_SUP_READY)
		sup_serves(&sv->sup, p->role, mono_ns());
	else if (m->type == IPC_SUP_CONFIG && p->role == ROLE_KEEPER)
		on_config(sv, m->body);
	else if (m->type == IPC_SUP_RELOADED && p->role == ROLE_KEEPER)
		on_reloaded(sv, m->body);
	else if (m->type == IPC_SUP_DRAINED)
		sup_drained(&sv->sup, p->role, mono_ns());
	else if (m->type == IPC_SUP_RING_DRAINED)
		on_ring_drained(sv, m->body);
	else if (m->type == IPC_SUP_STALLED)
		on_stalled(sv, p->role, m->body);
}

void serve_read_channel(struct serve_proc *p) {
	struct ipc_msg m;
	int rc = 0;

	for (int i = 0; i < SERVE_MESSAGES_MAX && p->channel.fd >= 0; i++) {
		rc = ipc_recv(p->channel.fd, p->serve->in, &m);
		if (rc == 0)
			return;
		if (rc == 1) {
			on_message(p, &m);
			ipc_msg_close(&m);
			continue;
		}
		if (rc == H_EPROTO) {
			refuse(p, NULL);
			continue;
		}
		/* EOF: the child is about to exit. Its end is what the signal tells. */
		loop_del(p->serve->loop, &p->channel);
		return;
	}
}

void serve_on_channel(struct watch *w, unsigned events unused_arg) {
	struct serve_proc *p = container_of(w, struct serve_proc, channel);

	serve_read_channel(p);
	serve_after(p->serve);
}
