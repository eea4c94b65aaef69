/*
 * serve_test.c: what the supervisor makes: listeners, store, rings, notifications, environment.
 */
#include "main/serve_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/test.h"
#include "ipc/ring.h"

/* A port that was free a moment ago. */
static unsigned free_port(void) {
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	auto_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, n) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &n) != 0)
		abort();
	return ntohs(in.sin_port);
}

static void want(struct serve_listeners *l, const char *host, unsigned port) {
	struct serve_listener *v = &l->v[l->count++];

	(void)snprintf(v->protocol, sizeof(v->protocol), "postgres");
	(void)snprintf(v->address, sizeof(v->address), "%s:%u", host, port);
}

static bool is_open(int fd) {
	return fcntl(fd, F_GETFD) >= 0;
}

TEST(serve_listeners_are_kept_bound_and_closed) {
	struct serve_listeners now = { .count = 0 }, next = { .count = 0 };
	struct err e = { 0 };
	unsigned a = free_port(), b = free_port();

	want(&now, "127.0.0.1", a);
	REQUIRE(serve_listeners_bind(&now, &next, &e) == 0);
	int kept = now.v[0].fd;
	want(&next, "localhost", b);
	want(&next, "127.0.0.1", a);
	REQUIRE(serve_listeners_bind(&next, &now, &e) == 0);
	CHECK_EQ_I(next.v[1].fd, kept);
	int fresh = next.v[0].fd;
	CHECK((fcntl(fresh, F_GETFL) & O_NONBLOCK) != 0);
	serve_listeners_close(&now, &next);
	CHECK(is_open(kept) && is_open(fresh));
	serve_listeners_close(&next, &now);
	CHECK(is_open(kept) && !is_open(fresh));
	(void)close(kept);
}

TEST(serve_listeners_all_or_none) {
	struct serve_listeners taken = { .count = 0 }, next = { .count = 0 };
	struct err e = { 0 };
	unsigned a = free_port(), b = free_port();

	want(&taken, "127.0.0.1", a);
	REQUIRE(serve_listeners_bind(&taken, &next, &e) == 0);
	struct serve_listeners none = { .count = 0 };
	want(&next, "127.0.0.1", b);
	want(&next, "127.0.0.1", a); /* somebody else has it: `none` is what we hold */
	CHECK_EQ_I(serve_listeners_bind(&next, &none, &e), H_EIO);
	CHECK(strstr(e.text, "Address already in use") != NULL);
	struct serve_listeners again = { .count = 0 };
	want(&again, "127.0.0.1", b); /* was let go */
	CHECK_EQ_I(serve_listeners_bind(&again, &none, &e), 0);
	serve_listeners_close(&again, &none);
	serve_listeners_close(&taken, &none);
}

TEST(serve_listens_on_unix) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct err e = { 0 };
	char address[128];

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/hansard-serve-%d.sock", getpid());
	(void)snprintf(address, sizeof(address), "unix:%s", un.sun_path);
	int fd = serve_listen(str_of(address), &e);
	CHECK(fd >= 0);
	CHECK_EQ_I(serve_listen(str_of(address), &e), H_EIO); /* somebody listens there */
	(void)close(fd);
	fd = serve_listen(str_of(address), &e); /* stale: replaced */
	CHECK(fd >= 0);
	(void)close(fd);
	(void)unlink(un.sun_path);
}

TEST(serve_store_belongs_to_one) {
	struct serve_store a, b;
	struct err e = { 0 };
	char dir[] = "/tmp/hansard-store-XXXXXX", path[128];
	struct stat st;

	REQUIRE(mkdtemp(dir) != NULL);
	/* Longer than a socket's path may be. */
	(void)snprintf(path, sizeof(path),
	               "%s/a-directory-with-a-name-that-is-rather-long-so-that-the-socket-is-too-"
	               "far-away",
	               dir);
	REQUIRE(serve_store_open(&a, str_of(path), &e) == 0);
	auto_free char *control = xasprintf("%s/control.sock", path);
	CHECK(stat(control, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	CHECK_EQ_I(serve_store_open(&b, str_of(path), &e), H_EBUSY);
	CHECK(strstr(e.text, "another gateway") != NULL);
	CHECK(stat(control, &st) == 0); /* the loser took nothing away */

	/* A child that holds the lock keeps it, though the supervisor is gone. */
	int held = dup(a.lock);
	serve_store_close(&a);
	CHECK(stat(control, &st) != 0 && errno == ENOENT);
	e = (struct err){ 0 };
	CHECK_EQ_I(serve_store_open(&b, str_of(path), &e), H_EBUSY);
	(void)close(held);
	e = (struct err){ 0 };
	CHECK_EQ_I(serve_store_open(&b, str_of(path), &e), 0);
	serve_store_close(&b);
	auto_free char *clean = xasprintf("rm -r %s", dir);
	CHECK_EQ_I(system(clean), 0);
}

TEST(serve_store_says_why_not) {
	struct serve_store s;
	struct err e = { 0 };

	CHECK_EQ_I(serve_store_open(&s, STR("data"), &e), H_ECONFIG);
	e = (struct err){ 0 };
	CHECK_EQ_I(serve_store_open(&s, STR("/nonexistent/a/b"), &e), H_EIO);
	CHECK(strstr(e.text, "/nonexistent/a/b") != NULL);
}

/* Directories that somebody else could have put there, or can put files into. */
TEST(serve_store_of_somebody_else) {
	struct serve_store s;
	struct err e = { 0 };
	char dir[] = "/tmp/hansard-serve-XXXXXX", path[64], keeper[80];

	REQUIRE(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/data", dir);
	(void)snprintf(keeper, sizeof(keeper), "%s/keeper", path);
	REQUIRE(serve_store_open(&s, str_of(path), &e) == 0);
	serve_store_close(&s);
	REQUIRE(chmod(path, 0777) == 0);
	CHECK_EQ_I(serve_store_open(&s, str_of(path), &e), H_EPERM);
	REQUIRE(chmod(path, 0755) == 0 && chmod(keeper, 0777) == 0);
	CHECK_EQ_I(serve_store_open(&s, str_of(path), &e), H_EPERM);
	REQUIRE(rmdir(keeper) == 0 && symlink("/", keeper) == 0);
	CHECK_EQ_I(serve_store_open(&s, str_of(path), &e), H_EPERM);
	REQUIRE(unlink(keeper) == 0);
	if (geteuid() == 0) {
		REQUIRE(mkdir(keeper, 0700) == 0 && chown(keeper, 12345, 12345) == 0);
		CHECK_EQ_I(serve_store_open(&s, str_of(path), &e), H_EPERM);
		REQUIRE(rmdir(keeper) == 0);
	}
	CHECK_EQ_I(serve_store_open(&s, str_of(path), &e), 0);
	serve_store_close(&s);
	auto_free char *clean = xasprintf("rm -r %s", dir);
	CHECK_EQ_I(system(clean), 0);
}

/* A child that was taken over and never stops talking does not keep the supervisor from the rest. */
TEST(serve_flooding_child_is_left_for_the_next_turn) {
	struct serve *sv = xcalloc(1, sizeof(*sv));
	struct serve_proc *p = &sv->procs[ROLE_WORKER];
	struct ipc_msg m;
	int fds[2], count = 0;

	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
	*p = (struct serve_proc){ .serve = sv, .role = ROLE_WORKER, .channel = { .fd = fds[0] } };
	while (ipc_send(fds[1], IPC_SUP_DRAINED, 0, STR_NONE, NULL, 0) == 0)
		count++;
	REQUIRE(count > SERVE_MESSAGES_MAX && count < SERVE_QUEUE_MAX);
	serve_read_channel(p);
	CHECK_EQ_I(ipc_recv(fds[0], sv->in, &m), 1);
	for (int i = 0; i < SERVE_QUEUE_MAX / SERVE_MESSAGES_MAX; i++)
		serve_read_channel(p);
	CHECK_EQ_I(ipc_recv(fds[0], sv->in, &m), 0);
	(void)close(fds[0]);
	(void)close(fds[1]);
	free(sv);
}

static bool is_through(int from, int to) {
	static uint8_t in[IPC_MAX + 16];
	struct ipc_msg m;

	return ipc_send(from, IPC_SESSION_GONE, 7, STR("x"), NULL, 0) == 0 &&
	       ipc_recv(to, in, &m) == 1 && m.id == 7;
}

/* What a worker that was taken over did to its end is not inherited by the next one, nor by the keeper. */
TEST(serve_channel_of_the_dead_is_not_used_again) {
	static const enum role roles[] = { ROLE_WORKER, ROLE_RECORDER, ROLE_EGRESS };
	struct serve *sv = xcalloc(1, sizeof(*sv));
	struct ipc_msg m;

	REQUIRE(serve_channel_open(sv->wk) == 0 && serve_channel_open(sv->kr) == 0 &&
	        serve_channel_open(sv->ke) == 0);
	int *pairs[] = { sv->wk, sv->kr, sv->ke };

	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		int keeper = serve_channel_keeper_end(sv, roles[i]);
		int theirs = keeper == pairs[i][0] ? pairs[i][1] : pairs[i][0];

		sv->old_end[roles[i]] = -1;
		auto_fd int held = dup(keeper); /* the keeper's own descriptor of it */
		REQUIRE(serve_channel_renew(sv, roles[i]) == 0);
		/* No EOF for the keeper yet: it hears of the death first. */
		CHECK_EQ_I(ipc_recv(held, sv->in, &m), 0);
		REQUIRE(shutdown(theirs, SHUT_RDWR) == 0);
		CHECK_EQ_I(ipc_recv(held, sv->in, &m), H_ECLOSED);
		CHECK(is_through(pairs[i][0], pairs[i][1]) && is_through(pairs[i][1], pairs[i][0]));
		int old = sv->old_end[roles[i]];
		REQUIRE(serve_channel_renew(sv, roles[i]) == 0);
		CHECK(!is_open(old) || old == pairs[i][0] || old == pairs[i][1]);
		CHECK(is_through(pairs[i][0], pairs[i][1]));
		(void)close(pairs[i][0]);
		(void)close(pairs[i][1]);
		(void)close(sv->old_end[roles[i]]);
	}
	CHECK_EQ_I(serve_channel_keeper_end(sv, ROLE_KEEPER), -1);
	CHECK(serve_channel_renew(sv, ROLE_KEEPER) < 0);
	free(sv);
}

TEST(serve_rings_have_numbers) {
	struct serve_rings r = { .next_id = 0xfffe };
	struct start s;

	REQUIRE(serve_rings_make(&r, 3) == 0);
	CHECK(r.v[0].id == 0xfffe && r.v[1].id == 0 && r.v[2].id == 1); /* 0xffff is "none" */
	serve_rings_drop(&r, 0);
	CHECK_EQ_U(r.count, 3); /* live: not to be dropped */
	r.v[0].is_dead = r.v[1].is_dead = true;
	serve_rings_drop(&r, 0);
	CHECK(r.count == 2 && serve_ring_find(&r, 0) == NULL);
	start_init(&s, ROLE_WORKER);
	serve_rings_start(&r, &s);
	REQUIRE(s.thread_count == 1);
	CHECK(s.threads[0].ring == 1);
	/* What a worker gets of the commit memory cannot be written. */
	CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, s.threads[0].commit_fd, 0) == MAP_FAILED);
	r.next_id = 0xfffe;
	REQUIRE(serve_rings_make(&r, 1) == 0);
	CHECK_EQ_U(r.v[2].id, 0); /* 0xfffe is still in use, as a dead one's */
	CHECK_EQ_I(serve_rings_make(&r, START_THREADS_MAX), 0);
	while (serve_rings_make(&r, START_THREADS_MAX) == 0)
		;
	CHECK(r.count <= SERVE_RINGS_MAX && r.count + START_THREADS_MAX > SERVE_RINGS_MAX);
	for (size_t i = 0; i < r.count; i++)
		r.v[i].is_dead = true;
	while (r.count > 0)
		serve_rings_drop(&r, r.v[0].id);
}

TEST(serve_environment_is_sealed) {
	char text[65536];

	REQUIRE(setenv("HANSARD_TEST_SECRET", "x y", 1) == 0);
	auto_fd int fd = serve_env_memfd();
	ssize_t n = pread(fd, text, sizeof(text), 0);
	REQUIRE(n > 0 && text[n - 1] == '\0');
	CHECK(memmem(text, (size_t)n, "HANSARD_TEST_SECRET=x y", 24) != NULL);
	CHECK(write(fd, "x", 1) < 0 && errno == EPERM);
	CHECK(ftruncate(fd, 0) != 0);
}

TEST(serve_notifies) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct serve_notify n;
	char text[128] = "";
	auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)unsetenv("NOTIFY_SOCKET");
	serve_notify_open(&n);
	CHECK_EQ_I(n.fd, -1);
	serve_notify_say(&n, "READY=1"); /* nobody to tell */

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/hansard-notify-%d", getpid());
	REQUIRE(bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	(void)setenv("NOTIFY_SOCKET", un.sun_path, 1);
	(void)setenv("WATCHDOG_USEC", "4000000", 1);
	serve_notify_open(&n);
	CHECK_EQ_U(n.watchdog_ns, 2 * NS_PER_S);
	serve_notify_say(&n, "READY=1");
	CHECK_EQ_I(recv(fd, text, sizeof(text), 0), 7);
	CHECK_EQ_STR(str_of(text), STR("READY=1"));
	serve_notify_reloading(&n);
	CHECK(recv(fd, text, sizeof(text), 0) > 0);
	CHECK(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
	(void)close(n.fd);
	(void)unlink(un.sun_path);
}

TEST_MAIN
