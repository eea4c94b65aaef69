/*
 * dial_test.c: dialling over loopback.
 */
#include "egress/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/test.h"

struct bench {
	struct loop *loop;
	struct resolver *resolver;
	struct dial_result got;
	unsigned calls;
};

static void on_dialed(void *arg, struct dial_result *result) {
	struct bench *b = arg;

	b->got = *result;
	b->calls++;
}

/* One resolver for all: its threads stay. */
static struct bench bench_open(void) {
	static struct loop *loop;
	static struct resolver *resolver;

	if (loop == NULL) {
		loop = loop_new();
		resolver = resolver_new(loop);
	}
	return (struct bench){ .loop = loop, .resolver = resolver, .got = { .fd = -1 } };
}

static void dial(struct bench *b, const char *address, uint32_t timeout_ms) {
	struct dial *d = dial_new(b->loop, b->resolver, on_dialed, b);
	uint64_t until = mono_ns() + 10 * NS_PER_S;

	if (loop_turn(b->loop, 0) < 0) /* the loop's time is that of its last turn */
		abort();
	b->calls = 0;
	dial_start(d, str_of(address), timeout_ms);
	CHECK_EQ_U(b->calls, 0);
	while (b->calls == 0 && mono_ns() < until) {
		if (loop_turn(b->loop, 100) < 0)
			abort();
	}
	CHECK_EQ_U(b->calls, 1);
}

static int listen_at(int family, int backlog, char *ret_text, size_t cap) {
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *addr = family == AF_INET ? (void *)&in : (void *)&in6;
	socklen_t n = family == AF_INET ? sizeof(in) : sizeof(in6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, addr, n) != 0 || listen(fd, backlog) != 0 ||
	    getsockname(fd, addr, &n) != 0)
		return -1;
	(void)snprintf(ret_text, cap, family == AF_INET ? "127.0.0.1:%u" : "[::1]:%u",
	               ntohs(family == AF_INET ? in.sin_port : in6.sin6_port));
	return fd;
}

static void check_connected(struct bench *b, int listener) {
	char byte = 0;
	auto_fd int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	CHECK_EQ_I(b->got.code, 0);
	REQUIRE(b->got.fd >= 0 && server >= 0);
	CHECK((fcntl(b->got.fd, F_GETFL) & O_NONBLOCK) != 0);
	CHECK(write(b->got.fd, "x", 1) == 1 && read(server, &byte, 1) == 1 && byte == 'x');
	(void)close(b->got.fd);
}

TEST(dial_ip4_with_options) {
	struct bench b = bench_open();
	char text[64];
	auto_fd int listener = listen_at(AF_INET, 5, text, sizeof(text));
	int value = 0;
	socklen_t n = sizeof(value);

	dial(&b, text, 5000);
	CHECK_EQ_STR(str_of(b.got.peer), str_of(text));
	CHECK(getsockopt(b.got.fd, IPPROTO_TCP, TCP_NODELAY, &value, &n) == 0 && value != 0);
	CHECK(getsockopt(b.got.fd, SOL_SOCKET, SO_KEEPALIVE, &value, &n) == 0 && value != 0);
	CHECK(getsockopt(b.got.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &n) == 0 &&
	      value == 30000);
	check_connected(&b, listener);
}

TEST(dial_ip6) {
	struct bench b = bench_open();
	char text[64];
	auto_fd int listener = listen_at(AF_INET6, 5, text, sizeof(text));

	if (listener < 0)
		TEST_SKIP("no IPv6 on loopback");
	dial(&b, text, 5000);
	CHECK_EQ_STR(str_of(b.got.peer), str_of(text));
	check_connected(&b, listener);
}

/* "localhost" may yield ::1 first, where nobody listens: the next address is tried. */
TEST(dial_name_and_next_address) {
	struct bench b = bench_open();
	char text[64], name[64];
	auto_fd int listener = listen_at(AF_INET, 5, text, sizeof(text));

	(void)snprintf(name, sizeof(name), "localhost%s", strchr(text, ':'));
	dial(&b, name, 5000);
	check_connected(&b, listener);
}

TEST(dial_unix) {
	struct bench b = bench_open();
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char text[160];
	auto_fd int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/hansard-dial-%d.sock",
	               (int)getpid());
	(void)unlink(un.sun_path);
	REQUIRE(bind(listener, (struct sockaddr *)&un, sizeof(un)) == 0 &&
	        listen(listener, 5) == 0);
	(void)snprintf(text, sizeof(text), "unix:%s", un.sun_path);
	dial(&b, text, 5000);
	CHECK_EQ_STR(str_of(b.got.peer), str_of(text));
	check_connected(&b, listener);
	(void)unlink(un.sun_path);
	dial(&b, text, 5000);
	CHECK_EQ_I(b.got.code, H_ECONNECT);
}

TEST(dial_says_why_not) {
	struct bench b = bench_open();
	char text[64];
	int listener = listen_at(AF_INET, 5, text, sizeof(text));
	uint64_t begin;

	(void)close(listener);
	dial(&b, text, 5000);
	CHECK(b.got.code == H_ECONNECT && b.got.fd == -1);
	CHECK(strstr(b.got.text, "Connection refused") != NULL && strstr(b.got.text, text) != NULL);

	dial(&b, "nowhere", 5000);
	CHECK_EQ_I(b.got.code, H_EFORMAT);
	dial(&b, "no such.host:1", 5000);
	CHECK_EQ_I(b.got.code, H_EFORMAT);
	/* .invalid never resolves (RFC 6761); without a name server it may also time out. */
	dial(&b, "hansard.invalid:5432", 1500);
	CHECK(b.got.code == H_ECONNECT || b.got.code == H_ETIMEOUT);

	/* A listener whose backlog is full leaves further connects unanswered. */
	auto_fd int full = listen_at(AF_INET, 0, text, sizeof(text));
	int fill[4];
	for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
		struct sockaddr_in in;
		socklen_t n = sizeof(in);
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)getsockname(full, (struct sockaddr *)&in, &n);
		(void)!connect(fill[i], (struct sockaddr *)&in, n);
	}
	begin = mono_ns();
	dial(&b, text, 300);
	CHECK_EQ_I(b.got.code, H_ETIMEOUT);
	CHECK(strstr(b.got.text, "300 ms") != NULL);
	CHECK(mono_ns() - begin < 3 * NS_PER_S);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++)
		(void)close(fill[i]);
}

TEST(dial_cancelled_calls_nobody) {
	struct bench b = bench_open();
	struct dial *d = dial_new(b.loop, b.resolver, on_dialed, &b);
	struct dial *e = dial_new(b.loop, b.resolver, on_dialed, &b);
	char text[64];
	auto_fd int listener = listen_at(AF_INET, 5, text, sizeof(text));

	CHECK(listener >= 0);
	dial_start(d, STR("localhost:1"), 5000); /* while it resolves */
	dial_start(e, str_of(text), 5000);       /* maybe connected already */
	dial_cancel(d);
	dial_cancel(e);
	for (int i = 0; i < 20; i++)
		CHECK_EQ_I(loop_turn(b.loop, 10), 0);
	CHECK_EQ_U(b.calls, 0);
}

static bool may(const char *host, const char *address) {
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
		return dial_may_connect(str_of(host), (struct sockaddr *)&in);
	if (inet_pton(AF_INET6, address, &in6.sin6_addr) != 1)
		abort();
	return dial_may_connect(str_of(host), (struct sockaddr *)&in6);
}

TEST(dial_refuses_metadata_services) {
	CHECK(!may("metadata.google.internal", "169.254.169.254"));
	CHECK(!may("db.example", "169.254.169.254"));
	CHECK(!may("db.example", "::ffff:169.254.169.254"));
	CHECK(!may("db.example", "fd00:ec2::254") && !may("db.example", "fd20:ce::254"));
	CHECK(!may("2852039166", "169.254.169.254")); /* the same number, in a disguise */
	CHECK(may("169.254.169.254", "169.254.169.254"));
	CHECK(may("db.example", "169.254.169.253") && may("db.example", "192.0.2.1"));
	CHECK(may("db.example", "::1") && may("fd20:ce::254", "fd20:ce::254"));
}

TEST(dial_number_in_disguise_is_refused) {
	struct bench b = bench_open();

	dial(&b, "2852039166:80", 3000);
	CHECK(b.got.code == H_EPERM || b.got.code == H_ECONNECT || b.got.code == H_ETIMEOUT);
	CHECK(b.got.fd == -1);
}

TEST_MAIN
