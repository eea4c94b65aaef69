/* addr_test.c: address text, loopback, accept. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/test.h"

static struct sockaddr_storage ip4(const char *host, uint16_t port) {
	struct sockaddr_storage a = { 0 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	(void)inet_pton(AF_INET, host, &in.sin_addr);
	memcpy(&a, &in, sizeof(in));
	return a;
}

static struct sockaddr_storage ip6(const char *host, uint16_t port) {
	struct sockaddr_storage a = { 0 };
	struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	(void)inet_pton(AF_INET6, host, &in.sin6_addr);
	memcpy(&a, &in, sizeof(in));
	return a;
}

static bool reads(struct sockaddr_storage a, const char *text) {
	char out[ADDR_TEXT_SIZE];

	addr_text(out, &a);
	return CHECK_EQ_STR(str_of(out), str_of(text));
}

TEST(addr_texts) {
	struct sockaddr_storage u = { .ss_family = AF_UNIX };

	reads(ip4("127.0.0.1", 51234), "127.0.0.1:51234");
	reads(ip6("::1", 1), "[::1]:1");
	reads(ip6("::ffff:10.1.2.3", 80), "10.1.2.3:80");
	reads(ip6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
	      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	reads(u, "unix");
}

TEST(addr_loopback) {
	struct sockaddr_storage u = { .ss_family = AF_UNIX }, none = { 0 };
	struct sockaddr_storage yes[] = { ip4("127.0.0.1", 1), ip4("127.9.9.9", 1), ip6("::1", 1),
		                          ip6("::ffff:127.0.0.1", 1), u };
	struct sockaddr_storage no[] = { ip4("10.0.0.1", 1), ip4("128.0.0.1", 1), ip6("::2", 1),
		                         ip6("::ffff:10.0.0.1", 1), none };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		CHECK(addr_is_loopback(&yes[i]));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		CHECK(!addr_is_loopback(&no[i]));
}

TEST(addr_accepts) {
	struct sockaddr_storage a = ip4("127.0.0.1", 0), peer;
	socklen_t n = sizeof(a);
	auto_fd int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	REQUIRE(bind(l, (struct sockaddr *)(void *)&a, sizeof(struct sockaddr_in)) == 0);
	REQUIRE(listen(l, 4) == 0);
	REQUIRE(getsockname(l, (struct sockaddr *)(void *)&a, &n) == 0);
	CHECK_EQ_I(net_accept(l, &peer), H_EBUSY);
	auto_fd int c = socket(AF_INET, SOCK_STREAM, 0);

	REQUIRE(connect(c, (struct sockaddr *)(void *)&a, n) == 0);
	auto_fd int s = net_accept(l, &peer);

	CHECK(s >= 0);
	CHECK(addr_is_loopback(&peer));
	net_tune(s);
	CHECK_EQ_I(net_accept(-1, &peer), H_EIO);
}

TEST_MAIN
