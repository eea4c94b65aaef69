/*
 * recorder_main.c: the recorder process: descriptors, messages, sleep.
 *
 * All work is in the core (recorder.h); here it gets turns. Between two turns the loop looks at the
 * supervisor's and the keeper's channel and at the eventfd that workers write when the recorder said
 * that it sleeps. It sleeps only after it has said so in every ring and looked once more.
 *
 * When the supervisor is gone the workers go too; what their rings still hold is written down, then
 * the process ends. Sessions are closed by the next boot's recovery.
 */
#include <ftw.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/version.h"
#include "ipc/confine.h"
#include "ipc/start.h"
#include "loop/loop.h"
#include "record/recorder.h"

enum { OUT_MAX = 16384, HELPERS = 1 };

struct out_msg {
	struct list link;
	uint16_t type;
	uint64_t id;
	struct buf body;
};

struct ring_event_fd {
	uint16_t ring;
	int fd;
};

struct process {
	struct loop *loop;
	struct recorder *r;
	struct watch supervisor, keeper, event;
	struct list out; /* for the keeper */
	size_t out_count;
	struct ring_event_fd events[64];
	size_t event_count;
	uint8_t *in;
	bool is_ready, is_draining, is_drained, is_orphan;
	uint64_t asked;
	struct log_limit refused[ROLE_COUNT]; /* messages, by who sent them */
};

/* --- hooks of the core --- */

static uint64_t hook_mono(void *arg unused_arg) {
	return mono_ns();
}

static uint64_t hook_wall(void *arg unused_arg) {
	return wall_ns();
}

static void queue_out(struct process *p, uint16_t type, uint64_t id, struct str body) {
	if (p->out_count == OUT_MAX) {
		/* A keeper that reads nothing for so long has lost its questions anyway. */
		log_error("record.keeper.deaf", kv_z("dropped", ipc_type_name(type)));
		return;
	}
	struct out_msg *m = xcalloc(1, sizeof(*m));

	m->type = type;
	m->id = id;
	buf_init(&m->body, IPC_MAX);
	(void)!buf_append(&m->body, body);
	list_init(&m->link);
	list_push(&p->out, &m->link);
	p->out_count++;
	loop_want(p->loop, &p->keeper, LOOP_IN | LOOP_OUT);
}

static void hook_to_keeper(void *arg, uint16_t type, uint64_t id, struct str body) {
	struct process *p = arg;

	if (list_empty(&p->out) && ipc_send(p->keeper.fd, type, id, body, NULL, 0) != H_EBUSY)
		return;
	queue_out(p, type, id, body);
}

static void flush_out(struct process *p) {
	list_each_safe (it, tmp, &p->out) {
		struct out_msg *m = container_of(it, struct out_msg, link);

		if (ipc_send(p->keeper.fd, m->type, m->id, buf_peek(&m->body), NULL, 0) == H_EBUSY)
			return;
		list_drop(&m->link);
		buf_fini(&m->body);
		free(m);
		p->out_count--;
	}
	loop_want(p->loop, &p->keeper, LOOP_IN);
}

static void ring_eventfd(int fd) {
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void hook_wake_worker(void *arg, uint16_t ring) {
	struct process *p = arg;

	for (size_t i = 0; i < p->event_count; i++) {
		if (p->events[i].ring == ring && p->events[i].fd >= 0)
			ring_eventfd(p->events[i].fd);
	}
}

static void hook_ring_drained(void *arg, uint16_t ring) {
	struct process *p = arg;
	struct buf b;

	for (size_t i = 0; i < p->event_count; i++) {
		if (p->events[i].ring != ring)
			continue;
		if (p->events[i].fd >= 0)
			(void)close(p->events[i].fd);
		p->events[i--] = p->events[--p->event_count];
	}
	buf_init(&b, 8);
	w_u16(&b, ring);
	(void)!ipc_send(p->supervisor.fd, IPC_SUP_RING_DRAINED, 0, buf_peek(&b), NULL, 0);
	buf_fini(&b);
}

/* From a helper thread. */
static void hook_wake(void *arg) {
	ring_eventfd(((struct process *)arg)->event.fd);
}

/* --- messages --- */

/* Owns the three descriptors. */
static void add_ring(struct process *p, const struct start_thread *t) {
	struct ring ring;
	int rc = t->ring_fd >= 0 && t->commit_fd >= 0 && p->event_count < ARRAY_LEN(p->events)
	                 ? ring_map_recorder(&ring, t->ring_fd, t->commit_fd)
	                 : H_EPROTO;

	if (rc == 0) {
		rc = recorder_add_ring(p->r, t->ring, &ring);
		if (rc < 0)
			ring_unmap(&ring);
	}
	(void)close(t->ring_fd);
	(void)close(t->commit_fd);
	if (rc == 0)
		p->events[p->event_count++] = (struct ring_event_fd){ .ring = t->ring,
			                                              .fd = t->worker_event };
	else if (t->worker_event >= 0)
		(void)close(t->worker_event);
	if (rc < 0 && rc != H_EEXIST)
		log_alarm("record.ring.refused", kv_uint("ring", t->ring), kv_err(rc));
}

static void on_ring(struct process *p, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct start_thread t = { .ring = rd_u16(&r) };
	uint8_t state = rd_u8(&r);

	if (rd_done(&r) < 0 || m->fd_count < 2)
		return;
	t.ring_fd = ipc_take_fd(m, 0);
	t.commit_fd = ipc_take_fd(m, 1);
	t.worker_event = m->fd_count > 2 ? ipc_take_fd(m, 2) : -1;
	add_ring(p, &t); /* one that we have already stays as it is */
	if (state == 2)
		recorder_ring_dead(p->r, t.ring);
}

static void on_supervisor_message(struct process *p, struct ipc_msg *m) {
	if (m->type == IPC_SUP_RING) {
		on_ring(p, m);
	} else if (m->type == IPC_SUP_DRAIN) {
		struct rd r = rd_of(m->body);
		uint64_t until = rd_u64(&r);

		/* Workers are through when our turn comes; what is still open was left by them. */
		if (rd_done(&r) == 0) {
			p->is_draining = true;
			recorder_drain(p->r, MIN(until, mono_ns() + 2 * NS_PER_S));
		}
	} else if (m->type == IPC_SUP_PEER && m->body.n == 2 &&
	           (uint8_t)m->body.p[0] == ROLE_KEEPER && m->body.p[1] == 1) {
		recorder_keeper_up(p->r);
	}
}

static void on_tap(struct process *p, struct ipc_msg *m) {
	int fd = m->body.n == SID_SIZE ? ipc_take_fd(m, 0) : -1;

	if (fd >= 0)
		recorder_tap(p->r, fd, (const uint8_t *)m->body.p);
}

static void refuse(struct process *p, enum role from, const char *type) {
	uint64_t count = log_limit_pass(&p->refused[from], mono_ns());

	if (count != 0)
		log_warn("ipc.message.refused", kv_z("from", role_name(from)),
		         kv_z("message", type), kv_uint("count", count));
}

/* All messages that wait on a channel; false when it is closed. */
static bool read_all(struct process *p, int fd, enum role from) {
	struct ipc_msg m;
	int rc;

	while ((rc = ipc_recv(fd, p->in, &m)) != 0) {
		if (rc == H_ECLOSED || rc == H_EIO)
			return false;
		if (rc == 1 && ipc_fits(&m, from, ROLE_RECORDER)) {
			if (from == ROLE_KEEPER && m.type == IPC_TAP)
				on_tap(p, &m);
			else if (from == ROLE_KEEPER)
				recorder_keeper_message(p->r, &m);
			else
				on_supervisor_message(p, &m);
		} else {
			refuse(p, from, rc == 1 ? ipc_type_name(m.type) : NULL);
		}
		if (rc == 1)
			ipc_msg_close(&m);
	}
	return true;
}

static void on_supervisor(struct watch *w, unsigned events unused_arg) {
	struct process *p = container_of(w, struct process, supervisor);

	if (!read_all(p, w->fd, ROLE_SUPERVISOR)) {
		loop_del(p->loop, w);
		p->is_orphan = true;
	}
}

static void on_keeper(struct watch *w, unsigned events) {
	struct process *p = container_of(w, struct process, keeper);

	if ((events & LOOP_OUT) != 0)
		flush_out(p);
	if (!read_all(p, w->fd, ROLE_KEEPER)) {
		loop_del(p->loop, w); /* the supervisor holds both ends: it is gone as well */
		p->is_orphan = true;
	}
}

static void on_event(struct watch *w, unsigned events unused_arg) {
	uint64_t n;

	(void)!read(w->fd, &n, sizeof(n)); /* a turn follows in any case */
}

/* --- life --- */

static bool before_sleep(void *arg) {
	return recorder_may_sleep(((struct process *)arg)->r);
}

static void after_sleep(void *arg) {
	recorder_awake(((struct process *)arg)->r);
}

static int confine_self(const struct start *s) {
	const struct confine_paths paths = confine_paths_of(ROLE_RECORDER, s->store_path, STR_NONE);
	const char *note = NULL;
	int rc = confine(ROLE_RECORDER, &paths, &note);

	if (rc < 0)
		log_error("record.confine.failed", kv_err(rc));
	else if (note != NULL)
		log_warn("record.confine.incomplete", kv_z("reason", note));
	return rc;
}

/* Files, before confinement: the directory stays open. */
static int open_store(const struct start *s, struct vfs **ret) {
	auto_free char *root = xasprintf("%.*s/record", STR_ARG(s->store_path));
	auto_free char *mark = xasprintf("%s/in-memory.tmp", root);
	const char *note = NULL;
	const struct vfs_real_options o = { .root = root,
		                            .is_tmpfs_allowed = access(mark, F_OK) == 0 };
	int rc = vfs_real_new(ret, &o, &note);

	if (rc == H_EPERM)
		log_error("record.store.refused", kv_err(rc),
		          kv_z("hint",
		               "the store must be writable, and not on a file system in memory"));
	else if (rc < 0)
		log_error("record.store.refused", kv_err(rc));
	else if (note != NULL)
		log_warn("record.store.slow", kv_z("reason", note));
	return rc;
}

static void tell_supervisor(struct process *p) {
	if (!p->is_ready && recorder_is_serving(p->r)) {
		p->is_ready = true;
		(void)!ipc_send(p->supervisor.fd, IPC_SUP_READY, 0, STR_NONE, NULL, 0);
	}
	if (p->is_draining && !p->is_drained && recorder_is_drained(p->r)) {
		p->is_drained = true;
		(void)!ipc_send(p->supervisor.fd, IPC_SUP_DRAINED, 0, STR_NONE, NULL, 0);
	}
}

/* While the keeper has not said what it signed, it is asked again every second. */
static void ask_again(struct process *p) {
	uint64_t now = mono_ns();

	if (recorder_is_starting(p->r) && now - p->asked >= NS_PER_S) {
		p->asked = now;
		recorder_start(p->r);
	}
}

static int serve(struct process *p) {
	while (!p->is_orphan) {
		uint64_t due = recorder_turn(p->r);

		tell_supervisor(p);
		ask_again(p);
		int timeout = due > NS_PER_S ? 1000 : (int)((due + NS_PER_MS - 1) / NS_PER_MS);

		if (loop_turn(p->loop, timeout) < 0)
			return 1;
	}
	/* Workers die with the supervisor; until they have, they may still publish. After an orderly
	 * drain there are none. */
	uint64_t end = p->is_drained ? 0 : mono_ns() + NS_PER_S / 2;

	while (mono_ns() < end) {
		if (recorder_turn(p->r) != 0)
			(void)usleep(20000);
	}
	log_info("record.stopped", kv_bool("drained", p->is_drained));
	return 0;
}

static int watch_all(struct process *p, const struct start *s) {
	p->supervisor = (struct watch){ .fd = s->supervisor, .fn = on_supervisor };
	p->keeper = (struct watch){ .fd = s->peer[ROLE_KEEPER], .fn = on_keeper };
	p->event = (struct watch){ .fd = s->recorder_event, .fn = on_event };
	loop_hooks(p->loop, before_sleep, after_sleep, NULL, p);
	int rc = loop_add(p->loop, &p->supervisor, LOOP_IN);

	if (rc == 0)
		rc = loop_add(p->loop, &p->keeper, LOOP_IN);
	return rc == 0 ? loop_add(p->loop, &p->event, LOOP_IN) : rc;
}

/* Bytes that the record takes on disk; nftw() passes nothing along. */
static uint64_t used_bytes;

static int add_used(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	(void)path;
	(void)ftw;
	if (type == FTW_F)
		used_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

/* What the record may grow by: the limit less the index's share and what is there, at least 1 where
 * there is a limit. */
static uint64_t room_of(const struct start *s) {
	auto_free char *path = xasprintf("%.*s/record", STR_ARG(s->store_path));
	uint64_t most = s->store_max - s->store_max / RECORDER_INDEX_SHARE;

	if (s->store_max == 0)
		return 0;
	used_bytes = 0;
	(void)nftw(path, add_used, 16, FTW_PHYS);
	return used_bytes < most ? most - used_bytes : 1;
}

static const struct recorder_beside *beside;

void recorder_set_beside(const struct recorder_beside *b) {
	beside = b;
}

int recorder_main(struct start *s) {
	struct process *p = xcalloc(1, sizeof(*p));
	struct vfs *vfs = NULL;

	list_init(&p->out);
	p->in = xmalloc(IPC_MAX + 16);
	if (open_store(s, &vfs) < 0)
		return 1;
	uint64_t room = room_of(s);

	if (confine_self(s) < 0)
		return 1;
	uint64_t size = s->segment_size != 0 ? s->segment_size : (uint64_t)64 << 20;
	struct recorder_options o = { .vfs = vfs,
		                      .hooks = { .mono = hook_mono,
		                                 .wall = hook_wall,
		                                 .to_keeper = hook_to_keeper,
		                                 .wake_worker = hook_wake_worker,
		                                 .ring_drained = hook_ring_drained,
		                                 .wake = hook_wake,
		                                 .arg = p },
		                      .segment_size = size,
		                      .segment_count = s->segment_count != 0 ? s->segment_count : 4,
		                      .store_max = room,
		                      .helpers = HELPERS,
		                      .room_refuse = 2 * size,
		                      .room_failed = size / 2,
		                      .is_restart = s->peers_restarted,
		                      .version = HANSARD_VERSION };

	memcpy(o.boot, s->node_boot, sizeof(o.boot));
	p->loop = loop_new();
	p->r = recorder_new(&o);
	for (uint32_t i = 0; i < s->thread_count; i++)
		add_ring(p, &s->threads[i]);
	if (watch_all(p, s) < 0)
		return 1;
	p->asked = mono_ns();
	recorder_start(p->r);
	void *companion = beside != NULL ? beside->start(s) : NULL;
	int status = serve(p);

	if (beside != NULL)
		beside->stop(companion);
	return status;
}
