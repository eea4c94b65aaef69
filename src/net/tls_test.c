/* tls_test.c: handshakes, verification, bytes through small sockets, ends. */
#include "net/tls.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
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

static unsigned cert_digest(const char *pem, const char *digest, uint8_t out[64]) {
	BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	unsigned n = 0;

	(void)X509_digest(x, EVP_get_digestbyname(digest), out, &n);
	X509_free(x);
	BIO_free(b);
	return n;
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

struct binding_case {
	const char *algorithm, *signed_with, *hashed_with; /* NULL: nothing to bind to */
};

/* RFC 5929 §4.1: the certificate's own hash, MD5 and SHA-1 lifted; both ends see the same. */
TEST(tls_end_points) {
	static const struct binding_case cases[] = {
		{ "EC", "SHA256", "SHA256" },      { "EC", "SHA384", "SHA384" },
		{ "EC", "SHA512", "SHA512" },      { "RSA", "SHA224", "SHA224" },
		{ "RSA-PSS", "SHA384", "SHA384" }, { "ED25519", NULL, NULL },
	};

	setup();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct testcert kept = cert;
		struct pair p;
		uint8_t peer[64] = { 0 }, own[64] = { 1 }, want[64];
		unsigned n = 0;

		testcert_make_as(&cert, "DNS:localhost", cases[i].algorithm, cases[i].signed_with);
		pair_make(&p, TLS_VERIFY_NONE, "", "");
		if (!CHECK_EQ_I(shake(&p), 1))
			test_note("%s", cases[i].algorithm);
		if (cases[i].hashed_with != NULL)
			n = cert_digest(cert.cert, cases[i].hashed_with, want);
		CHECK_EQ_U(tls_end_point(p.client, peer), n);
		CHECK_EQ_U(tls_own_end_point(p.server, own), n);
		CHECK(n == 0 || (memcmp(peer, want, n) == 0 && memcmp(own, want, n) == 0));
		CHECK_EQ_U(tls_end_point(p.server, peer), 0);
		CHECK_EQ_U(tls_own_end_point(p.client, peer), 0);
		pair_free(&p);
		cert = kept;
	}
}

/* What is agreed on, or H_ETLS. */
static int agree(const char *offered, const char *accepted, char agreed[32]) {
	struct pair p;

	pair_make(&p, TLS_VERIFY_NONE, "", "");
	int rc = offered[0] != '\0' ? tls_alpn(p.client, str_of(offered)) : 0;

	if (rc == 0 && accepted[0] != '\0')
		rc = tls_alpn(p.server, str_of(accepted));
	if (rc == 0)
		rc = shake(&p);
	struct str name = rc == 1 ? tls_alpn_agreed(p.server) : STR_NONE;

	if (rc == 1)
		CHECK_EQ_STR(name, tls_alpn_agreed(p.client));
	(void)str_copy(agreed, 32, name);
	pair_free(&p);
	return rc;
}

TEST(tls_alpn_names) {
	char name[32];

	setup();
	CHECK_EQ_I(agree("postgresql", "postgresql", name), 1);
	CHECK_EQ_STR(str_of(name), STR("postgresql"));
	CHECK_EQ_I(agree("", "postgresql", name), 1);
	CHECK_EQ_STR(str_of(name), STR_NONE);
	CHECK_EQ_I(agree("http/1.1", "", name), 1);
	CHECK_EQ_STR(str_of(name), STR_NONE);
	CHECK_EQ_I(agree("http/1.1", "postgresql", name), H_ETLS);
	CHECK_EQ_I(agree("postgresq", "postgresql", name), H_ETLS);
	CHECK_EQ_I(agree("0123456789012345678901234567890123456789", "", name), H_EFORMAT);
}

/* Bytes that were read before TLS was made: the whole first flight, in front of what comes. */
TEST(tls_takes_what_was_read_before) {
	struct pair p;
	uint8_t flight[8192];

	setup();
	pair_make(&p, TLS_VERIFY_NONE, "", "");
	CHECK_EQ_I(tls_handshake(p.client, p.scratch), 0);
	ssize_t n = read(p.fd[0], flight, sizeof(flight));

	REQUIRE(n > 10);
	CHECK_EQ_I(tls_feed(p.server, str_mem(flight, 7)), 0);
	CHECK_EQ_I(tls_feed(p.server, str_mem(flight + 7, (size_t)n - 7)), 0);
	CHECK_EQ_I(shake(&p), 1);
	CHECK_EQ_I(tls_write(p.client, p.scratch, STR("hello")), 5);
	CHECK_EQ_I(tls_read(p.server, p.scratch, flight, sizeof(flight)), 5);
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
