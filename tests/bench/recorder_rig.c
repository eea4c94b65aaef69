/*
 * recorder_rig.c: the recorder with a worker and a keeper that are made up (recorder_rig.h).
 *
 * The recorder's core runs on one thread with a loop, as in its process; helpers and files are real.
 * The keeper's answers are messages to ourselves: it signs whatever it is asked to, with a key of zeros.
 * The caller holds the worker's end of the ring.
 */
#include "recorder_rig.h"

#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "record/event.h"

static const char origin[] = "bench/log";

static uint64_t hook_mono(void *arg unused_arg) {
	return mono_ns();
}
static uint64_t hook_wall(void *arg unused_arg) {
	return wall_ns();
}
static void poke(int fd) {
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}
static void hook_wake_worker(void *arg, uint16_t ring unused_arg) {
	poke(((struct rig *)arg)->worker_event);
}
static void hook_drained(void *arg unused_arg, uint16_t ring unused_arg) {
}
static void hook_wake(void *arg) {
	poke(((struct rig *)arg)->event.fd);
}

/* The keeper's answers, written as messages to ourselves. */
static void answer(struct rig *b, uint16_t type, struct str body) {
	(void)!ipc_send(b->mail[0], type, 0, body, NULL, 0);
}

static void hook_to_keeper(void *arg, uint16_t type, uint64_t id unused_arg, struct str body) {
	struct rig *b = arg;
	uint8_t zeros[SHA256_SIZE] = { 0 };
	struct buf m, note;

	buf_init(&m, 8192);
	buf_init(&note, 8192);
	if (type == IPC_LAST_SIGNED) {
		w_u64(&m, 0);
		w_bytes(&m, str_mem(zeros, SHA256_SIZE));
		w_vstr(&m, str_of(origin));
		w_vstr(&m, str_of(b->vkey));
		w_bytes(&m, str_mem(zeros, TLOG_NODE_SIZE));
		answer(b, IPC_LAST_SIGNED_IS, buf_peek(&m));
	} else if (type == IPC_SIGN) {
		struct rd r = rd_of(body);
		struct tlog_checkpoint c = { .origin = str_of(origin), .size = rd_u64(&r) };

		memcpy(c.root, rd_bytes(&r, SHA256_SIZE).p, SHA256_SIZE);
		tlog_checkpoint_sign(&note, &c, b->key);
		w_u32(&m, 0);
		w_vstr(&m, buf_peek(&note));
		answer(b, IPC_SIGNED, buf_peek(&m));
	} else if (type == IPC_OPENED) {
		atomic_fetch_add(&b->opened, 1);
	}
	buf_fini(&m);
	buf_fini(&note);
}

static bool may_sleep(void *arg) {
	return recorder_may_sleep(((struct rig *)arg)->r);
}
static void awake(void *arg) {
	recorder_awake(((struct rig *)arg)->r);
}
static void on_event(struct watch *w, unsigned events unused_arg) {
	uint64_t n;

	(void)!read(w->fd, &n, sizeof(n));
}

static void read_mail(struct rig *b) {
	static uint8_t in[IPC_MAX + 16];
	struct ipc_msg m;

	while (ipc_recv(b->mail[1], in, &m) == 1) {
		recorder_keeper_message(b->r, &m);
		ipc_msg_close(&m);
	}
}

static void *run_recorder(void *arg) {
	struct rig *b = arg;
	clockid_t clock;
	struct timespec t;

	if (pthread_getcpuclockid(pthread_self(), &clock) != 0)
		abort();
	recorder_start(b->r);
	while (!(atomic_load(&b->stop) && recorder_is_drained(b->r))) {
		read_mail(b);
		if (atomic_exchange(&b->wants_drain, false))
			recorder_drain(b->r, mono_ns() + 10 * NS_PER_S);
		uint64_t due = recorder_turn(b->r);

		atomic_store(&b->serves, recorder_is_serving(b->r));
		(void)clock_gettime(clock, &t);
		atomic_store(&b->cpu, (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec);
		int timeout = due > NS_PER_S ? 1000 : (int)((due + NS_PER_MS - 1) / NS_PER_MS);

		if (loop_turn(b->loop, timeout) < 0)
			abort();
	}
	return NULL;
}

void rig_open_sessions(struct rig *b, unsigned count) {
	uint32_t before = atomic_load(&b->opened);

	b->generation++;
	for (unsigned i = 0; i < count; i++) {
		struct buf m;
		uint8_t *sid = b->sid[i];

		uuid7(sid, wall_ns());
		buf_init(&m, 4096);
		w_u16(&m, 0);
		w_u32(&m, i);
		w_u32(&m, b->generation);
		w_bytes(&m, str_mem(sid, SID_SIZE));
		w_u8(&m, 0);
		w_u64(&m, 0);
		w_vstr(&m, STR("{\"format\":1,\"protocol\":\"postgres\"}"));
		while (ipc_send(b->mail[0], IPC_OPEN, i, buf_peek(&m), NULL, 0) < 0)
			(void)usleep(100);
		buf_fini(&m);
	}
	poke(b->event.fd);
	while (atomic_load(&b->opened) != before + count) {
		poke(b->event.fd);
		(void)usleep(1000);
	}
}

bool rig_put(struct rig *b, uint32_t slot, struct rig_client *c, uint8_t type, uint8_t flags,
             struct str bytes) {
	struct ring_event *e = ring_reserve(&b->ring, bytes.n);

	if (e == NULL)
		return false;
	e->slot = slot;
	e->generation = b->generation;
	e->seq = ++c->seq;
	e->mono_ns = mono_ns();
	e->type = type;
	e->flags = flags;
	e->intent = type == REC_RAW && flags == 0;
	memset(e->zero, 0, sizeof(e->zero));
	memcpy(ring_payload(e), bytes.p, bytes.n);
	return true;
}

void rig_publish(struct rig *b) {
	if (ring_publish(&b->ring))
		poke(b->event.fd);
}

void rig_wait_change(struct rig *b) {
	if (ring_worker_may_sleep(&b->ring)) {
		struct pollfd p = { .fd = b->worker_event, .events = POLLIN };
		uint64_t n;

		(void)poll(&p, 1, 100);
		(void)!read(b->worker_event, &n, sizeof(n));
	}
	ring_worker_awake(&b->ring);
}

void rig_end_sessions(struct rig *b, struct rig_client *c, unsigned count) {
	static const uint64_t streams[4];
	struct buf end;

	buf_init(&end, 256);
	rec_put_end(&end, 0, STR("client"), streams);
	for (unsigned i = 0; i < count; i++) {
		while (!rig_put(b, i, &c[i], REC_END, 0, buf_peek(&end)))
			(void)usleep(1000);
	}
	rig_publish(b);
	(void)usleep(200000);
	buf_fini(&end);
}

void rig_remove_tree(const char *dir) {
	char *paths[] = { (char *)(uintptr_t)dir, NULL };
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

	for (FTSENT *e = f != NULL ? fts_read(f) : NULL; e != NULL; e = fts_read(f)) {
		if (e->fts_info != FTS_D)
			(void)remove(e->fts_accpath);
	}
	if (f != NULL)
		(void)fts_close(f);
}

void rig_start(struct rig *b, const char *dir, size_t ring_size, unsigned helpers) {
	char root[300];
	const char *note = NULL;
	struct ring ring;
	uint8_t pub[ED25519_PUB_SIZE];
	struct tlog_vkey vkey;

	ed25519_public(pub, b->key);
	if (tlog_vkey_init(&vkey, str_of(origin), pub) < 0)
		abort();
	tlog_vkey_print(b->vkey, &vkey);
	(void)snprintf(root, sizeof(root), "%s/record", dir);
	if (vfs_real_new(&b->vfs,
	                 &(struct vfs_real_options){ .root = root, .is_tmpfs_allowed = true },
	                 &note) < 0)
		abort();
	if (note != NULL)
		printf("note: %s\n", note);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, b->mail) < 0 ||
	    ring_create(ring_size, RIG_SLOTS, &b->ring_fd, &b->commit_fd, &b->commit_ro_fd) < 0 ||
	    ring_map_worker(&b->ring, b->ring_fd, b->commit_ro_fd) < 0 ||
	    ring_map_recorder(&ring, b->ring_fd, b->commit_fd) < 0)
		abort();
	b->worker_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->event = (struct watch){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .fn = on_event };
	b->loop = loop_new();
	loop_hooks(b->loop, may_sleep, awake, NULL, b);
	if (loop_add(b->loop, &b->event, LOOP_IN) < 0)
		abort();
	b->r = recorder_new(&(struct recorder_options){ .vfs = b->vfs,
	                                                .hooks = { .mono = hook_mono,
	                                                           .wall = hook_wall,
	                                                           .to_keeper = hook_to_keeper,
	                                                           .wake_worker = hook_wake_worker,
	                                                           .ring_drained = hook_drained,
	                                                           .wake = hook_wake,
	                                                           .arg = b },
	                                                .segment_count = 4,
	                                                .helpers = helpers,
	                                                .version = "bench" });
	if (recorder_add_ring(b->r, 0, &ring) < 0 ||
	    pthread_create(&b->thread, NULL, run_recorder, b) != 0)
		abort();
	while (!atomic_load(&b->serves))
		(void)usleep(10000);
	(void)sleep(1); /* segments grow in the background */
}

void rig_stop(struct rig *b) {
	atomic_store(&b->wants_drain, true);
	atomic_store(&b->stop, true);
	poke(b->event.fd);
	(void)pthread_join(b->thread, NULL);
	recorder_free(&b->r);
	vfs_real_free(&b->vfs);
	ring_unmap(&b->ring);
	loop_free(&b->loop);
	(void)close(b->event.fd);
	(void)close(b->worker_event);
	(void)close(b->mail[0]);
	(void)close(b->mail[1]);
}
