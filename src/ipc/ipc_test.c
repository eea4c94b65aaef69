/*
 * ipc_test.c: messages and the start message over real socket pairs.
 */
#include "ipc/ipc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/test.h"
#include "ipc/start.h"

static uint8_t in[IPC_MAX + 16];

struct chan {
	int a, b;
};

static struct chan chan_open(void) {
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	return (struct chan){ fds[0], fds[1] };
}

static void chan_close(struct chan c) {
	(void)close(c.a);
	(void)close(c.b);
}

static size_t open_files(void) {
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

TEST(ipc_carries_a_message) {
	struct chan c = chan_open();
	struct ipc_msg m;
	int pipe_fds[2];
	char byte = 0;

	REQUIRE(pipe2(pipe_fds, O_CLOEXEC) == 0);
	CHECK_EQ_I(ipc_recv(c.b, in, &m), 0);
	CHECK_EQ_I(ipc_send(c.a, IPC_GRANT, 77, STR("hello"), pipe_fds, 1), 0);
	CHECK_EQ_I(ipc_send(c.a, IPC_REFUSE, 78, STR_NONE, NULL, 0), 0);
	REQUIRE(ipc_recv(c.b, in, &m) == 1);
	CHECK(m.type == IPC_GRANT && m.id == 77 && m.fd_count == 1);
	CHECK_EQ_STR(m.body, STR("hello"));
	int fd = ipc_take_fd(&m, 0);
	CHECK_EQ_I(ipc_take_fd(&m, 0), -1);
	CHECK_EQ_I(ipc_take_fd(&m, 1), -1);
	ipc_msg_close(&m);
	CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	CHECK(write(pipe_fds[1], "x", 1) == 1 && read(fd, &byte, 1) == 1 && byte == 'x');
	REQUIRE(ipc_recv(c.b, in, &m) == 1);
	CHECK(m.type == IPC_REFUSE && m.id == 78 && m.fd_count == 0 && m.body.n == 0);
	(void)close(fd);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	chan_close(c);
}

TEST(ipc_largest_message) {
	struct chan c = chan_open();
	struct ipc_msg m;
	auto_free char *big = xcalloc(1, IPC_MAX + 1);
	int fds[IPC_FDS_MAX];
	size_t before = open_files();

	memset(big, 'b', IPC_MAX);
	for (size_t i = 0; i < IPC_FDS_MAX; i++)
		fds[i] = c.a;
	CHECK_EQ_I(ipc_send(c.a, IPC_SUP_START, 1, str_mem(big, IPC_MAX + 1), NULL, 0), H_ELIMIT);
	CHECK_EQ_I(ipc_send(c.a, IPC_SUP_START, 1, str_mem(big, IPC_MAX), fds, IPC_FDS_MAX), 0);
	REQUIRE(ipc_recv(c.b, in, &m) == 1);
	CHECK_EQ_STR(m.body, str_mem(big, IPC_MAX));
	CHECK_EQ_U(m.fd_count, IPC_FDS_MAX);
	ipc_msg_close(&m);
	CHECK_EQ_U(open_files(), before);
	chan_close(c);
}

TEST(ipc_full_and_gone) {
	struct chan c = chan_open();
	struct ipc_msg m;
	int rc = 0;

	for (size_t i = 0; i < 100000 && rc == 0; i++)
		rc = ipc_send(c.a, IPC_ACT, i, STR("x"), NULL, 0);
	CHECK_EQ_I(rc, H_EBUSY);
	while (ipc_recv(c.b, in, &m) == 1)
		;
	CHECK_EQ_I(ipc_send(c.a, IPC_ACT, 1, STR("x"), NULL, 0), 0);
	(void)close(c.a);
	CHECK_EQ_I(ipc_recv(c.b, in, &m), 1); /* what was said before stays */
	CHECK_EQ_I(ipc_recv(c.b, in, &m), H_ECLOSED);
	CHECK_EQ_I(ipc_send(c.b, IPC_ACT, 1, STR("x"), NULL, 0), H_ECLOSED);
	(void)close(c.b);
}

static int recv_raw(struct chan c, const void *p, size_t n) {
	struct ipc_msg m;
	int rc;

	if (send(c.a, p, n, 0) != (ssize_t)n)
		abort();
	rc = ipc_recv(c.b, in, &m);
	CHECK(rc != 1 || m.fd_count == 0);
	return rc;
}

TEST(ipc_refuses_what_is_no_message) {
	struct chan c = chan_open();
	uint8_t good[20] = { IPC_REFUSE, 0, 0, 0, 4 }, bad[sizeof(good)];
	auto_free uint8_t *huge = xcalloc(1, sizeof(in) + 1);

	CHECK_EQ_I(recv_raw(c, good, sizeof(good)), 1);
	for (size_t n = 1; n < sizeof(good); n++)
		CHECK_EQ_I(recv_raw(c, good, n), H_EPROTO);
	for (size_t at = 0; at < 8; at++) { /* type, zero, length */
		memcpy(bad, good, sizeof(bad));
		bad[at] ^= 0x80;
		CHECK_EQ_I(recv_raw(c, bad, sizeof(bad)), H_EPROTO);
	}
	memcpy(huge, good, sizeof(good));
	CHECK_EQ_I(recv_raw(c, huge, sizeof(in) + 1), H_EPROTO);
	CHECK_EQ_I(recv_raw(c, good, sizeof(good)), 1); /* the channel is as good as before */
	chan_close(c);
}

TEST(ipc_closes_descriptors_of_refused_messages) {
	struct chan c = chan_open();
	struct ipc_msg m;
	int fds[3] = { c.a, c.a, c.a };
	size_t before = open_files();

	/* REFUSE has none, GRANT has one. */
	CHECK_EQ_I(ipc_send(c.a, IPC_REFUSE, 1, STR("x"), fds, 1), 0);
	CHECK_EQ_I(ipc_recv(c.b, in, &m), H_EPROTO);
	CHECK_EQ_I(ipc_send(c.a, IPC_GRANT, 1, STR("x"), fds, 3), 0);
	CHECK_EQ_I(ipc_recv(c.b, in, &m), H_EPROTO);
	CHECK_EQ_U(open_files(), before);
	chan_close(c);
}

TEST(ipc_who_may_say_what) {
	struct ipc_msg m = { .type = IPC_GRANT, .fd_count = 1 };

	CHECK(ipc_fits(&m, ROLE_KEEPER, ROLE_WORKER));
	CHECK(!ipc_fits(&m, ROLE_WORKER, ROLE_KEEPER));
	CHECK(!ipc_fits(&m, ROLE_EGRESS, ROLE_WORKER));
	m.fd_count = 2;
	CHECK(!ipc_fits(&m, ROLE_KEEPER, ROLE_WORKER));
	m = (struct ipc_msg){ .type = IPC_SUP_DRAIN };
	CHECK(ipc_fits(&m, ROLE_SUPERVISOR, ROLE_EGRESS) &&
	      !ipc_fits(&m, ROLE_WORKER, ROLE_KEEPER));
	m.type = IPC_OPEN; /* a worker cannot open a session in the record */
	CHECK(!ipc_fits(&m, ROLE_WORKER, ROLE_RECORDER) &&
	      ipc_fits(&m, ROLE_KEEPER, ROLE_RECORDER));
	m.type = IPC_CTL_ASK;
	for (int from = 0; from < ROLE_COUNT; from++)
		CHECK(!ipc_fits(&m, (enum role)from, ROLE_KEEPER));
	/* Every row has a sender and a receiver, but for those of control.sock. */
	for (unsigned type = 0; type < 100; type++) {
		bool is_said = false;
		m = (struct ipc_msg){ .type = (uint16_t)type };
		for (int i = 0; i < ROLE_COUNT * ROLE_COUNT; i++)
			is_said |= ipc_fits(&m, (enum role)(i / ROLE_COUNT),
			                    (enum role)(i % ROLE_COUNT));
		CHECK(is_said == (ipc_type_name(type) != NULL && type < IPC_CTL_ASK));
	}
}

TEST(ipc_roles) {
	enum role role = ROLE_SUPERVISOR;

	for (int i = 0; i < ROLE_COUNT; i++)
		CHECK(role_of(str_of(role_name((enum role)i)), &role) == 0 && (int)role == i);
	CHECK_EQ_I(role_of(STR("clerk"), &role), H_ENOTFOUND);
}

/* --- the start message --- */

/* Every descriptor is its own, so that a mix-up shows. */
static int numbered(int n) {
	int fd = memfd_create("n", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, n) != 0)
		abort();
	return fd;
}

static long number_of(int fd) {
	return fd < 0 ? -1 : (long)lseek(fd, 0, SEEK_END);
}

static void fill(struct start *s, uint32_t threads) {
	start_init(s, ROLE_RECORDER);
	s->peer[ROLE_KEEPER] = numbered(1);
	s->peer[ROLE_WORKER] = numbered(2);
	s->recorder_event = numbered(3);
	s->env = numbered(4);
	s->lock = numbered(5);
	s->thread_count = threads;
	for (uint32_t i = 0; i < threads; i++)
		s->threads[i] = (struct start_thread){ (uint16_t)(900 + i),
			                               numbered(10 + (int)i * 3),
			                               numbered(11 + (int)i * 3),
			                               numbered(12 + (int)i * 3) };
	s->config_path = STR("/etc/h.yaml");
	s->store_path = STR("/var/lib/h");
	memset(s->node_boot, 0xb0, sizeof(s->node_boot));
	s->log_json = true;
	s->log_level = 3;
	s->peers_restarted = true;
	s->segment_size = (uint64_t)1 << 33;
	s->segment_count = 4;
	s->store_max = 5;
}

static bool is_same(const struct start *s, uint32_t threads) {
	bool ok = s->role == ROLE_RECORDER && number_of(s->peer[ROLE_KEEPER]) == 1 &&
	          number_of(s->peer[ROLE_WORKER]) == 2 && s->peer[ROLE_EGRESS] == -1 &&
	          number_of(s->recorder_event) == 3 && s->control == -1 && number_of(s->env) == 4 &&
	          number_of(s->lock) == 5 && s->thread_count == threads &&
	          str_is(s->config_path, "/etc/h.yaml") && str_is(s->store_path, "/var/lib/h") &&
	          s->node_boot[15] == 0xb0 && s->log_json && s->log_level == 3 &&
	          s->peers_restarted && s->segment_size == (uint64_t)1 << 33 &&
	          s->segment_count == 4 && s->store_max == 5;

	for (uint32_t i = 0; i < threads; i++)
		ok = ok && s->threads[i].ring == 900 + i &&
		     number_of(s->threads[i].ring_fd) == 10 + (long)i * 3 &&
		     number_of(s->threads[i].commit_fd) == 11 + (long)i * 3 &&
		     number_of(s->threads[i].worker_event) == 12 + (long)i * 3;
	return ok;
}

TEST(start_round_trip) {
	struct chan c = chan_open();
	struct start s, got;
	struct ipc_msg m;
	struct buf b;
	int fds[IPC_FDS_MAX];
	size_t count = 0;

	buf_init(&b, IPC_MAX);
	fill(&s, START_THREADS_MAX);
	start_put(&b, fds, &count, &s);
	REQUIRE(w_done(&b) == 0);
	REQUIRE(ipc_send(c.a, IPC_SUP_START, 0, buf_peek(&b), fds, count) == 0);
	REQUIRE(ipc_recv(c.b, in, &m) == 1);
	REQUIRE(start_get(&got, &m) == 0);
	CHECK(is_same(&got, START_THREADS_MAX));
	ipc_msg_close(&m);
	buf_fini(&b);
	chan_close(c);
}

TEST(start_refuses_what_does_not_fit) {
	struct start s, got;
	struct buf b;
	int fds[IPC_FDS_MAX];
	struct ipc_msg m = { .type = IPC_SUP_START };

	buf_init(&b, IPC_MAX);
	fill(&s, 1);
	start_put(&b, fds, &m.fd_count, &s);
	memcpy(m.fds, fds, m.fd_count * sizeof(int));
	for (size_t n = 0; n < b.len; n++) {
		m.body = str_head(buf_peek(&b), n);
		CHECK_EQ_I(start_get(&got, &m), H_EPROTO);
	}
	m.body = buf_peek(&b);
	m.fd_count--; /* one descriptor less than it says */
	CHECK_EQ_I(start_get(&got, &m), H_EPROTO);
	m.fd_count++;
	m.type = IPC_SUP_READY;
	CHECK_EQ_I(start_get(&got, &m), H_EPROTO);
	m.type = IPC_SUP_START;
	b.p[b.off + b.len - 6] = START_THREADS_MAX + 1;
	CHECK_EQ_I(start_get(&got, &m), H_EPROTO);
	b.p[b.off + b.len - 6] = 1;
	CHECK_EQ_I(start_get(&got, &m), 0);
	buf_fini(&b);
}

TEST_MAIN
