/*
 * start.c: SUP_START, written by the supervisor and read by a child (start.h).
 *
 * Payload, little-endian, vstr for text:
 *   u8 role, u8 flags (1 JSON log, 2 peers restarted), u8 log level, 16 bytes boot id,
 *   u64 segment size, u32 segment count, u64 store max, vstr config path, vstr store path,
 *   u8 peers present (bit per role), u8 singles present (1 recorder event, 2 control, 4 env, 8 lock),
 *   u32 thread count, u16 ring number per thread
 * Descriptors in that order: peers by role, singles, then ring, commit, worker's event per thread.
 */
#include "ipc/start.h"

#include <errno.h>
#include <poll.h>

enum { FLAG_JSON = 1, FLAG_RESTARTED = 2 };
enum { SINGLES = 4 };

static_assert(ROLE_COUNT + SINGLES + 3 * START_THREADS_MAX <= IPC_FDS_MAX,
              "everything a child may hold fits one message");

void start_init(struct start *s, enum role role) {
	*s = (struct start){
		.role = role,
		.supervisor = -1,
		.recorder_event = -1,
		.control = -1,
		.env = -1,
		.lock = -1,
	};
	for (size_t i = 0; i < ROLE_COUNT; i++)
		s->peer[i] = -1;
	for (size_t i = 0; i < START_THREADS_MAX; i++)
		s->threads[i] = (struct start_thread){ 0, -1, -1, -1 };
}

/* Appends those of `from` that are there; returns which (bit per place). */
static uint8_t put_fds(int *fds, size_t *count, const int *from, size_t n) {
	unsigned present = 0;

	for (size_t i = 0; i < n; i++) {
		if (from[i] < 0)
			continue;
		present |= 1u << i;
		fds[(*count)++] = from[i];
	}
	return (uint8_t)present;
}

void start_put(struct buf *b, int *fds, size_t *ret_fd_count, const struct start *s) {
	const int singles[SINGLES] = { s->recorder_event, s->control, s->env, s->lock };
	size_t count = 0;

	assert(s->thread_count <= START_THREADS_MAX);
	w_u8(b, (uint8_t)s->role);
	w_u8(b,
	     (uint8_t)((s->log_json ? FLAG_JSON : 0) | (s->peers_restarted ? FLAG_RESTARTED : 0)));
	w_u8(b, s->log_level);
	w_bytes(b, str_mem(s->node_boot, sizeof(s->node_boot)));
	w_u64(b, s->segment_size);
	w_u32(b, s->segment_count);
	w_u64(b, s->store_max);
	w_vstr(b, s->config_path);
	w_vstr(b, s->store_path);
	w_u8(b, put_fds(fds, &count, s->peer, ROLE_COUNT));
	w_u8(b, put_fds(fds, &count, singles, SINGLES));
	w_u32(b, s->thread_count);
	for (size_t i = 0; i < s->thread_count; i++) {
		const struct start_thread *t = &s->threads[i];
		w_u16(b, t->ring);
		assert(t->ring_fd >= 0 && t->commit_fd >= 0 && t->worker_event >= 0);
		fds[count++] = t->ring_fd;
		fds[count++] = t->commit_fd;
		fds[count++] = t->worker_event;
	}
	*ret_fd_count = count;
}

static size_t bits(unsigned v) {
	return (size_t)__builtin_popcount(v);
}

static void take_fds(struct ipc_msg *m, size_t *next, unsigned present, int *to) {
	for (size_t i = 0; i < 8; i++) {
		if ((present & (1u << i)) != 0)
			to[i] = ipc_take_fd(m, (*next)++);
	}
}

int start_get(struct start *s, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct start got;
	unsigned role = rd_u8(&r), flags = rd_u8(&r), peers, singles;
	int single_fds[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };
	struct str boot;
	size_t next = 0;

	start_init(&got, (enum role)role);
	got.log_json = (flags & FLAG_JSON) != 0;
	got.peers_restarted = (flags & FLAG_RESTARTED) != 0;
	got.log_level = rd_u8(&r);
	boot = rd_bytes(&r, sizeof(got.node_boot));
	got.segment_size = rd_u64(&r);
	got.segment_count = rd_u32(&r);
	got.store_max = rd_u64(&r);
	got.config_path = rd_vstr(&r);
	got.store_path = rd_vstr(&r);
	peers = rd_u8(&r);
	singles = rd_u8(&r);
	got.thread_count = rd_u32(&r);
	for (size_t i = 0; i < MIN(got.thread_count, (uint32_t)START_THREADS_MAX); i++)
		got.threads[i].ring = rd_u16(&r);
	if (m->type != IPC_SUP_START || rd_done(&r) < 0 || role >= ROLE_COUNT ||
	    peers >= 1u << ROLE_COUNT || singles >= 1u << SINGLES ||
	    got.thread_count > START_THREADS_MAX ||
	    m->fd_count != bits(peers) + bits(singles) + (size_t)got.thread_count * 3)
		return H_EPROTO;
	memcpy(got.node_boot, boot.p, sizeof(got.node_boot));
	take_fds(m, &next, peers, got.peer);
	take_fds(m, &next, singles, single_fds);
	got.recorder_event = single_fds[0];
	got.control = single_fds[1];
	got.env = single_fds[2];
	got.lock = single_fds[3];
	for (size_t i = 0; i < got.thread_count; i++) {
		got.threads[i].ring_fd = ipc_take_fd(m, next++);
		got.threads[i].commit_fd = ipc_take_fd(m, next++);
		got.threads[i].worker_event = ipc_take_fd(m, next++);
	}
	*s = got;
	return 0;
}

static int wait_for(int fd) {
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int rc;

	do
		rc = poll(&p, 1, -1);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? H_EIO : 0;
}

int start_receive(struct start *s) {
	auto_free uint8_t *buf = xmalloc(IPC_MAX + 16);
	struct ipc_msg m = { 0 };
	int rc = wait_for(START_FD);

	if (rc == 0)
		rc = ipc_recv(START_FD, buf, &m);
	if (rc != 1)
		return rc < 0 ? rc : H_EPROTO;
	rc = start_get(s, &m);
	ipc_msg_close(&m);
	if (rc < 0)
		return rc;
	s->supervisor = START_FD;
	s->config_path = str_of(str_dup(s->config_path));
	s->store_path = str_of(str_dup(s->store_path));
	return 0;
}
