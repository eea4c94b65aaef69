/*
 * worker.c: the worker process: set-up, confinement, listeners, the channels of supervisor and keeper.
 *
 * Thread 0 is the process's first thread. It alone receives from supervisor and keeper, accepts, and
 * passes on by mail; otherwise it is a loop thread as the others are. An accepted connection goes to
 * the thread with the fewest sessions, because sessions live for hours and hashing would stay uneven.
 *
 * Order at start: everything that opens files or asks libraries (OpenSSL, roots), then confine(), then
 * threads, then SUP_READY. Listeners are watched once the first snapshot is there; until then, and
 * when descriptors run out, the kernel's backlog waits.
 */
#include "session/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "ipc/confine.h"

#define LISTEN_PAUSE_NS (200 * NS_PER_MS)
enum { ACCEPTS_PER_TURN = 64 };

struct thread *worker_thread_of(struct worker *w, uint32_t slot) {
	for (unsigned i = 0; i < w->thread_count; i++) {
		struct thread *t = &w->threads[i];

		if (slot >= t->slot_first && slot - t->slot_first < t->slot_count)
			return t;
	}
	return NULL;
}

/* ---- accept ---- */

static struct thread *least_busy(struct worker *w) {
	struct thread *best = &w->threads[0];

	for (unsigned i = 1; i < w->thread_count; i++) {
		if (atomic_load(&w->threads[i].session_count) < atomic_load(&best->session_count))
			best = &w->threads[i];
	}
	return best;
}

static void accepted(struct worker *w, size_t index, int fd, const struct sockaddr_storage *peer) {
	struct snap *snap = snap_get(&w->snap);
	struct mail *m = mail_new(MAIL_ACCEPT, STR_NONE);

	m->fd = fd;
	m->peer = *peer;
	if (snap != NULL && index < snap->s.listener_count) {
		m->proto = w->find_proto(snap->s.listeners[index].protocol);
		if (snap->listener_tls[index] != NULL)
			m->tls = tls_ctx_ref(snap->listener_tls[index]);
	}
	snap_release(&snap);
	struct thread *t = least_busy(w);

	if (m->proto != NULL && t == &w->threads[0]) {
		thread_accept(t, m);
		mail_drop(m);
	} else if (m->proto != NULL) {
		thread_mail(t, m);
	} else {
		mail_drop(m);
	}
}

static void listen_want(struct worker *w, unsigned want) {
	for (size_t i = 0; i < w->listener_count; i++) {
		if (w->listeners[i].watch.is_added)
			loop_want(w->threads[0].loop, &w->listeners[i].watch, want);
	}
}

static void on_listen_again(struct timer *t) {
	listen_want(container_of(t, struct worker, listen_again), LOOP_IN);
}

static void on_listener(struct watch *watch, unsigned events) {
	struct listener *l = container_of(watch, struct listener, watch);
	struct worker *w = l->w;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer;
		int fd = net_accept(watch->fd, &peer);

		if (fd == H_EBUSY)
			return;
		if (fd < 0) {
			log_error("worker.accept.failed", kv_err(fd));
			listen_want(w, 0);
			timer_set(w->threads[0].loop, &w->listen_again,
			          thread_now(&w->threads[0]) + LISTEN_PAUSE_NS);
			return;
		}
		accepted(w, l->index, fd, &peer);
	}
}

static void drop_listeners(struct worker *w) {
	for (size_t i = 0; i < w->listener_count; i++) {
		loop_del(w->threads[0].loop, &w->listeners[i].watch);
		(void)close(w->listeners[i].watch.fd);
	}
	free(w->listeners);
	w->listeners = NULL;
	w->listener_count = 0;
}

/* Once both are here: descriptors and what they speak. */
static void watch_listeners(struct worker *w) {
	struct snap *snap = snap_get(&w->snap);

	for (size_t i = 0; snap != NULL && !w->is_draining && i < w->listener_count; i++) {
		struct watch *watch = &w->listeners[i].watch;

		if (!watch->is_added && loop_add(w->threads[0].loop, watch, LOOP_IN) < 0)
			log_error("worker.listen.failed", kv_err(H_EIO));
	}
	snap_release(&snap);
}

void worker_listen(struct worker *w, const int *fds, size_t count) {
	drop_listeners(w);
	w->listeners = xcalloc(MAX(count, (size_t)1), sizeof(*w->listeners));
	w->listener_count = count;
	for (size_t i = 0; i < count; i++) {
		int flags = fcntl(fds[i], F_GETFL);

		(void)fcntl(fds[i], F_SETFL, flags | O_NONBLOCK);
		w->listeners[i] = (struct listener){ .w = w,
			                             .index = i,
			                             .watch = { .fd = fds[i], .fn = on_listener } };
	}
	watch_listeners(w);
}

void worker_snapshot(struct worker *w, int fd) {
	struct snapshot s;
	struct err e = { 0 };
	int rc = snapshot_load(&s, fd);

	if (rc == 0)
		rc = snap_put(&w->snap, &s, &e);
	if (rc < 0) {
		log_error("worker.snapshot.refused", kv_err(rc), kv_z("reason", e.text));
		return;
	}
	watch_listeners(w);
}

/* ---- the keeper's channel ---- */

static struct thread *addressee(struct worker *w, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);

	if (m->type == IPC_CANCEL_DO || m->type == IPC_KILL)
		return worker_thread_of(w, rd_u32(&r));
	return worker_thread_of(w, (uint32_t)m->id);
}

static void pass_on(struct worker *w, struct ipc_msg *m) {
	struct thread *t = addressee(w, m);

	if (t == NULL)
		return;
	if (t == &w->threads[0]) {
		keeper_message(t, m);
		return;
	}
	struct mail *mail = mail_new(MAIL_KEEPER, m->body);
	struct str body = mail->msg.body;

	mail->msg = *m;
	mail->msg.body = body;
	m->fd_count = 0;
	thread_mail(t, mail);
}

static void from_keeper(struct worker *w, struct ipc_msg *m) {
	if (!ipc_fits(m, ROLE_KEEPER, ROLE_WORKER)) {
		message_refused(&w->threads[0], m->type);
		return;
	}
	if (m->type != IPC_SNAPSHOT) {
		pass_on(w, m);
		return;
	}
	auto_fd int fd = ipc_take_fd(m, 0);

	if (fd >= 0)
		worker_snapshot(w, fd);
}

/* Everything that waits: 0, or H_ECLOSED. A packet that is no message is dropped and said. */
static int drain_channel(struct worker *w, int fd, void (*fn)(struct worker *, struct ipc_msg *)) {
	uint8_t *buf = w->threads[0].ipc_buf;

	for (int i = 0; i < 64; i++) {
		struct ipc_msg m = { 0 };
		int rc = ipc_recv(fd, buf, &m);

		if (rc == 0)
			return 0;
		if (rc == H_EPROTO) {
			message_refused(&w->threads[0], 0);
			continue;
		}
		if (rc < 0)
			return rc;
		fn(w, &m);
		wipe(buf, m.body.n + 16);
		ipc_msg_close(&m);
	}
	return 0;
}

static void on_keeper(struct watch *watch, unsigned events) {
	struct worker *w = container_of(watch, struct worker, keeper_watch);

	(void)events;
	/* The supervisor keeps the other end open, so an end here is the supervisor's own. */
	if (drain_channel(w, w->keeper, from_keeper) < 0)
		loop_del(w->threads[0].loop, watch);
}

/* ---- the supervisor's channel ---- */

static void mail_all(struct worker *w, enum mail_kind kind, uint64_t n) {
	for (unsigned i = 0; i < w->thread_count; i++) {
		struct mail *m = mail_new(kind, STR_NONE);

		m->n = n;
		thread_mail(&w->threads[i], m);
	}
}

static void on_peer(struct worker *w, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint8_t role = rd_u8(&r), is_up = rd_u8(&r);

	if (rd_done(&r) < 0)
		return;
	if (role == ROLE_KEEPER)
		mail_all(w, MAIL_KEEPER_STATE, is_up);
	if (role == ROLE_RECORDER && is_up == 0)
		mail_all(w, MAIL_RECORDER_GONE, 0);
}

static void on_drain(struct worker *w, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint64_t until = rd_u64(&r);

	if (rd_done(&r) < 0 || w->is_draining)
		return;
	w->is_draining = true;
	drop_listeners(w);
	mail_all(w, MAIL_DRAIN, MAX(until, (uint64_t)1));
}

static void from_supervisor(struct worker *w, struct ipc_msg *m) {
	int fds[IPC_FDS_MAX];

	if (!ipc_fits(m, ROLE_SUPERVISOR, ROLE_WORKER)) {
		message_refused(&w->threads[0], m->type);
		return;
	}
	switch (m->type) {
	case IPC_SUP_LISTENERS:
		for (size_t i = 0; i < m->fd_count; i++)
			fds[i] = ipc_take_fd(m, i);
		worker_listen(w, fds, m->fd_count);
		break;
	case IPC_SUP_PEER:
		on_peer(w, m);
		break;
	case IPC_SUP_DRAIN:
		on_drain(w, m);
		break;
	default: /* ipc_fits let it pass: a message that concerns other children */
		break;
	}
}

static void on_supervisor(struct watch *watch, unsigned events) {
	struct worker *w = container_of(watch, struct worker, supervisor_watch);

	(void)events;
	if (drain_channel(w, w->supervisor, from_supervisor) == 0)
		return;
	/* It has hung up after a drain; or it is gone, and with it everything that we could promise. */
	if (!w->is_draining)
		w->exit_status = 1;
	mail_all(w, MAIL_STOP, 0);
	loop_stop(w->threads[0].loop);
}

static void tell_supervisor(struct worker *w, uint16_t type, struct str body) {
	if (w->supervisor >= 0 && ipc_send(w->supervisor, type, 0, body, NULL, 0) < 0)
		log_error("worker.supervisor.unheard", kv_uint("type", type));
}

void worker_tell_stalled(struct worker *w) {
	uint8_t role = ROLE_RECORDER;

	tell_supervisor(w, IPC_SUP_STALLED, str_mem(&role, 1));
}

void worker_thread_drained(struct worker *w) {
	if (atomic_fetch_add(&w->drained_threads, 1) + 1 == (int)w->thread_count)
		tell_supervisor(w, IPC_SUP_DRAINED, STR_NONE);
}

/* ---- set-up ---- */

int worker_init(struct worker *w, const struct start *start) {
	*w = (struct worker){ .start = start,
		              .supervisor = start->supervisor,
		              .keeper = start->peer[ROLE_KEEPER],
		              .recorder_event = start->recorder_event,
		              .undurable_budget_max = UNDURABLE_BUDGET_MAX,
		              .find_proto = proto_find };
	w->thread_count = MAX(start->thread_count, 1u);
	w->listen_again.fn = on_listen_again;
	snap_box_init(&w->snap);
	w->threads = xcalloc(w->thread_count, sizeof(*w->threads));
	for (unsigned i = 0; i < w->thread_count; i++) {
		int rc = thread_init(&w->threads[i], w, i);

		if (rc < 0)
			return rc;
	}
	return 0;
}

void worker_fini(struct worker *w) {
	for (unsigned i = 1; i < w->thread_count; i++)
		thread_fini(&w->threads[i]);
	drop_listeners(w);
	thread_fini(&w->threads[0]);
	snap_box_fini(&w->snap);
	free(w->threads);
}

int worker_watch(struct worker *w) {
	struct loop *l = w->threads[0].loop;
	int rc = 0;

	w->keeper_watch = (struct watch){ .fd = w->keeper, .fn = on_keeper };
	w->supervisor_watch = (struct watch){ .fd = w->supervisor, .fn = on_supervisor };
	if (w->keeper >= 0)
		rc = loop_add(l, &w->keeper_watch, LOOP_IN);
	if (rc == 0 && w->supervisor >= 0)
		rc = loop_add(l, &w->supervisor_watch, LOOP_IN);
	return rc;
}

static void *thread_main(void *arg) {
	struct thread *t = arg;

	if (loop_run(t->loop) < 0) {
		log_error("worker.loop.failed", kv_uint("thread", t->index));
		_exit(1); /* the others' sessions cannot be told apart from a half-dead worker */
	}
	return NULL;
}

int worker_run(struct worker *w) {
	for (unsigned i = 1; i < w->thread_count; i++) {
		if (pthread_create(&w->threads[i].id, NULL, thread_main, &w->threads[i]) != 0)
			return H_EIO;
	}
	if (loop_run(w->threads[0].loop) < 0)
		w->exit_status = 1;
	for (unsigned i = 1; i < w->thread_count; i++)
		(void)pthread_join(w->threads[i].id, NULL);
	return 0;
}

static int set_up(struct worker *w, struct start *start) {
	const char *note = NULL;
	struct confine_paths none = { { NULL }, { NULL } };
	int rc;

	(void)signal(SIGPIPE, SIG_IGN);
	crypto_setup();
	tls_setup();
	rc = worker_init(w, start);
	if (rc == 0)
		rc = worker_watch(w);
	if (rc == 0)
		rc = confine(ROLE_WORKER, &none, &note);
	if (rc < 0)
		log_error("worker.start.failed", kv_err(rc));
	else if (note != NULL)
		log_warn("worker.confined.partly", kv_z("note", note));
	return rc;
}

int worker_main(struct start *start) {
	struct worker w;

	log_setup("worker", start->log_json, (enum log_level)start->log_level);
	if (set_up(&w, start) < 0)
		return 1;
	tell_supervisor(&w, IPC_SUP_READY, STR_NONE);
	if (worker_run(&w) < 0)
		return 1;
	worker_fini(&w);
	return w.exit_status;
}
