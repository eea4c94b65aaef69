/* tls_test.c: handshakes, verification, bytes through small sockets, ends. */
#include "net/tls.h"

#include <signal.h>
#include <sys/socket.h>

#include "base/test.h"
#include "net/testcert.h"

struct pair {
	int fd[2];
	struct tls *client, *server;
	struct tls_scratch *scratch;
};

static struct testcert cert, other;

static void setup(void) {
	if (cert.cert[0] != '\0')
		return;
	(void)signal(SIGPIPE, SIG_IGN); /* as the worker does */
	tls_setup();
	testcert_make(&cert, "DNS:localhost,IP:127.0.0.1,IP:::1");
	testcert_make(&other, "DNS:elsewhere");
}

static void pair_make(struct pair *p, enum tls_verify verify, const char *ca, const char *name) {
	struct tls_ctx *s = tls_ctx_server(str_of(cert.cert), str_of(cert.key), NULL);
	struct tls_ctx *c = tls_ctx_client(verify, str_of(ca), NULL);
	int small = 4096;

	(void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd);
	for (int i = 0; i < 2; i++)
		(void)setsockopt(p->fd[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	p->server = tls_new(s, p->fd[0], STR_NONE);
	p->client = tls_new(c, p->fd[1], str_of(name));
	p->scratch = xmalloc(sizeof(*p->scratch));
	tls_ctx_free(&s);
	tls_ctx_free(&c);
}

static void pair_free(struct pair *p) {
	tls_free(&p->client);
	tls_free(&p->server);
	(void)close(p->fd[0]);
	(void)close(p->fd[1]);
	free(p->scratch);
}

/* 1 both done, or the first code. */
static int shake(struct pair *p) {
	int c = 0, s = 0;

	for (int i = 0; i < 50 && (c == 0 || s == 0); i++) {
		c = c == 0 ? tls_handshake(p->client, p->scratch) : c;
		s = s == 0 ? tls_handshake(p->server, p->scratch) : s;
		if (c < 0)
			return c;
	}
	/* What the last flight left behind. */
	(void)!tls_flush(p->client);
	return MIN(c, s);
}

static int try_verify(enum tls_verify verify, const char *ca, const char *name) {
	struct pair p;

	pair_make(&p, verify, ca, name);
	int rc = shake(&p);

	pair_free(&p);
	return rc;
}

TEST(tls_verify_modes) {
	setup();
	CHECK_EQ_I(try_verify(TLS_VERIFY_NONE, "", ""), 1);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NONE, "", "anything.example"), 1);
	CHECK_EQ_I(try_verify(TLS_VERIFY_CHAIN, cert.cert, "elsewhere"), 1);
	CHECK_EQ_I(try_verify(TLS_VERIFY_CHAIN, other.cert, "localhost"), H_ETLS);
	CHECK_EQ_I(try_verify(TLS_VERIFY_CHAIN, "", "localhost"), H_ETLS);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NAME, cert.cert, "localhost"), 1);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NAME, cert.cert, "127.0.0.1"), 1);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NAME, cert.cert, "::1"), 1);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NAME, cert.cert, "127.0.0.2"), H_ETLS);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NAME, cert.cert, "elsewhere"), H_ETLS);
	CHECK_EQ_I(try_verify(TLS_VERIFY_NAME, cert.cert, ""), H_ETLS);
}

TEST(tls_contexts_refuse_nonsense) {
	struct err e = { 0 };

	setup();
	CHECK(tls_ctx_server(STR("junk"), str_of(cert.key), &e) == NULL);
	CHECK_EQ_I(e.code, H_ETLS);
	CHECK(tls_ctx_server(str_of(cert.cert), str_of(other.key), NULL) == NULL);
	CHECK(tls_ctx_client(TLS_VERIFY_CHAIN, STR("junk"), NULL) == NULL);
}

TEST(tls_facts) {
	struct pair p;
	char text[TLS_TEXT_SIZE];
	uint8_t hash[64], sha[32];

	setup();
	pair_make(&p, TLS_VERIFY_NAME, cert.cert, "localhost");
	REQUIRE(shake(&p) == 1);
	CHECK_EQ_STR(tls_sni(p.server), STR("localhost"));
	tls_describe(p.client, text);
	CHECK(str_starts(str_of(text), STR("TLSv1.3 TLS_")));
	CHECK_EQ_U(tls_end_point(p.client, hash), 32);
	CHECK(tls_peer_sha256(p.client, sha));
	CHECK(memcmp(hash, sha, 32) == 0);
	CHECK(!tls_peer_sha256(p.server, sha));
	pair_free(&p);
}

/* A megabyte through sockets that take little at a time, read in odd sizes. */
TEST(tls_carries_bytes) {
	struct pair p;
	size_t all = MIB, sent = 0, got = 0;
	uint8_t *out = xmalloc(all), *in = xmalloc(all);

	setup();
	for (size_t i = 0; i < all; i++)
		out[i] = (uint8_t)(i * 7 + i / 253);
	pair_make(&p, TLS_VERIFY_NONE, "", "");
	REQUIRE(shake(&p) == 1);
	for (int i = 0; i < 100000 && got < all; i++) {
		int n = tls_flush(p.server) == 1
		                ? tls_write(p.server, p.scratch, str_mem(out + sent, all - sent))
		                : 0;

		REQUIRE(n >= 0);
		sent += (size_t)n;
		n = tls_read(p.client, p.scratch, in + got,
		             MIN(all - got, (size_t)(1 + i % 70000)));
		REQUIRE(n >= 0);
		got += (size_t)n;
	}
	CHECK_EQ_U(got, all);
	CHECK(memcmp(in, out, all) == 0);
	CHECK(!tls_has_buffered(p.client) && !tls_wants_write(p.server));
	pair_free(&p);
	free(out);
	free(in);
}

TEST(tls_ends) {
	struct pair p;
	uint8_t b[8];

	setup();
	pair_make(&p, TLS_VERIFY_NONE, "", "");
	REQUIRE(shake(&p) == 1);
	CHECK_EQ_I(tls_write(p.server, p.scratch, STR("bye")), 3);
	tls_bye(p.server, p.scratch);
	CHECK_EQ_I(tls_read(p.client, p.scratch, b, sizeof(b)), 3);
	CHECK_EQ_I(tls_read(p.client, p.scratch, b, sizeof(b)), H_ECLOSED);
	pair_free(&p);
	pair_make(&p, TLS_VERIFY_NONE, "", "");
	REQUIRE(shake(&p) == 1);
	(void)shutdown(p.fd[0], SHUT_RDWR);
	CHECK_EQ_I(tls_read(p.client, p.scratch, b, sizeof(b)), H_ECLOSED);
	pair_free(&p);
}

TEST(tls_junk_is_refused) {
	struct pair p;
	uint8_t b[8];

	setup();
	pair_make(&p, TLS_VERIFY_NONE, "", "");
	CHECK_EQ_I(write(p.fd[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
	CHECK_EQ_I(tls_handshake(p.server, p.scratch), H_ETLS);
	CHECK(tls_reason(p.server)[0] != '\0');
	CHECK_EQ_I(tls_handshake(p.server, p.scratch), H_ETLS);
	CHECK_EQ_I(tls_read(p.server, p.scratch, b, sizeof(b)), H_ETLS);
	pair_free(&p);
}

TEST_MAIN
