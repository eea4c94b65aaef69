/*
 * fetch_test.c: requests over loopback, to a small server that answers by path (fetch_server.c).
 */
#include "egress/fetch.h"

#include <openssl/pem.h>
#include <signal.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/test.h"
#include "egress/curl.h"
#include "egress/fetch_server.h"
#include "net/tls.h"

/* --- client --- */

static struct loop *loop;
static struct fetcher *fetcher;
static struct testcert good, other;
static struct fetch_server *tls, *plain;

static void set_up(void) {
	if (loop != NULL)
		return;
	(void)signal(SIGPIPE, SIG_IGN);
	tls_setup();
	loop = loop_new();
	const char *missing = "";
	fetcher = fetcher_new(loop, resolver_new(loop), &missing);
	CHECK(missing == NULL);
	testcert_make(&good, "DNS:localhost,IP:127.0.0.1");
	testcert_make(&other, "DNS:elsewhere.example");
	tls = fetch_server_new(fetch_server_ctx(&good));
	plain = fetch_server_new(NULL);
}

struct got {
	unsigned calls;
	struct fetch_result r;
	struct buf body;
};

static void on_fetched(void *arg, const struct fetch_result *r) {
	struct got *g = arg;

	g->calls++;
	g->r = *r;
	buf_clear(&g->body);
	CHECK_EQ_I(buf_append(&g->body, r->body), 0);
}

static struct got got = { .body = { .max = 1 << 20 } };

static void turn(void) {
	if (loop_turn(loop, 100) < 0)
		abort();
}

static const struct fetch_result *run(const struct fetch_ask *ask) {
	uint64_t until = mono_ns() + 10 * NS_PER_S;

	if (loop_turn(loop, 0) < 0) /* the loop's time is that of its last turn */
		abort();
	got.calls = 0;
	(void)!fetch_start(fetcher, ask, on_fetched, &got);
	CHECK_EQ_U(got.calls, 0);
	while (got.calls == 0 && mono_ns() < until)
		turn();
	CHECK_EQ_U(got.calls, 1);
	return &got.r;
}

static struct fetch_ask ask_of(char *url, size_t cap, const struct fetch_server *s,
                               const char *path) {
	(void)snprintf(url, cap, "%s://localhost:%u%s", s->ctx != NULL ? "https" : "http", s->port,
	               path);
	return (struct fetch_ask){ .method = STR("GET"),
		                   .url = str_of(url),
		                   .ca = str_of(good.cert),
		                   .timeout_ms = 5000,
		                   .max_bytes = FETCH_BODY_MAX };
}

static const struct fetch_result *get(const struct fetch_server *s, const char *path) {
	char url[200];
	const struct fetch_ask ask = ask_of(url, sizeof(url), s, path);

	return run(&ask);
}

static const struct fetch_result *get_url(const char *url) {
	const struct fetch_ask ask = { .method = STR("GET"),
		                       .url = str_of(url),
		                       .ca = str_of(good.cert),
		                       .timeout_ms = 5000,
		                       .max_bytes = 1000 };

	return run(&ask);
}

static bool body_has(const char *z) {
	return memmem(buf_peek(&got.body).p, got.body.len, z, strlen(z)) != NULL;
}

TEST(libraries) {
	struct curl_api api;
	struct err e = { 0 };

	CHECK_EQ_I(curl_load(&api, "libnothere.so.4", &e), H_EFEATURE);
	CHECK_EQ_STR(str_of(e.text), STR("libnothere.so.4 cannot be loaded"));
	e = (struct err){ 0 };
	CHECK_EQ_I(curl_load(&api, "libcrypto.so.3", &e), H_EFEATURE);
	CHECK_EQ_STR(str_of(e.text), STR("libcrypto.so.3 has no curl_easy_cleanup"));
}

TEST(answers) {
	set_up();
	const struct fetch_result *r = get(tls, "/keys");
	CHECK_EQ_I(r->code, 0);
	CHECK_EQ_STR(str_of(r->text), STR_NONE);
	CHECK_EQ_U(r->status, 200);
	CHECK_EQ_U(r->max_age, 300);
	CHECK_EQ_STR(buf_peek(&got.body), STR("{}"));
	CHECK(get(plain, "/keys")->code == 0 && r->status == 200);
	CHECK(get(tls, "/gone")->code == 0 && r->status == 404 && r->max_age == 0);
	CHECK(get(tls, "/chunks")->code == 0 && str_is(buf_peek(&got.body), "abcde"));
	CHECK(get(tls, "/hints")->code == 0 && r->status == 200 && r->max_age == 0);
	/* The answer is the redirect itself. */
	CHECK(get(tls, "/redirect")->code == 0 && r->status == 302 && got.body.len == 0);
}

TEST(request) {
	char url[200];

	set_up();
	struct fetch_ask ask = ask_of(url, sizeof(url), tls, "/echo");
	ask.method = STR("POST");
	ask.headers = STR("Content-Type: application/json\nAuthorization: Bearer abc\n");
	ask.body = STR("{\"a\":1}");
	CHECK_EQ_I(run(&ask)->code, 0);
	CHECK(body_has("POST /echo HTTP/1.1\r\n") && body_has("User-Agent: hansard/"));
	CHECK(body_has("Authorization: Bearer abc\r\n") && body_has("\r\n\r\n{\"a\":1}"));
	CHECK(body_has("Content-Type: application/json\r\n") && body_has("Content-Length: 7\r\n"));
	CHECK(!body_has("Accept-Encoding") && !body_has("Cookie"));
	ask.body = STR_NONE;
	CHECK(run(&ask)->code == 0 && body_has("Content-Length: 0\r\n"));
}

/* Same host and roots: one connection. Other roots: another, for it has to be verified by them. */
TEST(connections) {
	char url[200];

	set_up();
	CHECK_EQ_I(get(tls, "/keys")->code, 0);
	unsigned before = atomic_load(&tls->connections);
	for (int i = 0; i < 5; i++)
		CHECK_EQ_I(get(tls, "/keys")->code, 0);
	CHECK_EQ_U(atomic_load(&tls->connections), before);
	struct fetch_ask ask = ask_of(url, sizeof(url), tls, "/keys");
	ask.ca = str_of(other.cert);
	CHECK_EQ_I(run(&ask)->code, H_ETLS);
	ask.ca = STR_NONE;
	CHECK_EQ_I(run(&ask)->code, H_ETLS);
	CHECK_EQ_I(get(tls, "/keys")->code, 0);
	/* The server ended the connection meanwhile: a new one, without an error. */
	CHECK_EQ_I(get(tls, "/short")->code, H_EUPSTREAM);
	CHECK_EQ_I(get(tls, "/keys")->code, 0);
}

TEST(verified) {
	char url[200];

	set_up();
	struct fetch_server *named = fetch_server_new(fetch_server_ctx(&other));
	struct fetch_ask ask = ask_of(url, sizeof(url), named, "/keys");
	ask.ca = str_of(other.cert);
	CHECK_EQ_I(run(&ask)->code, H_ETLS);
	CHECK(strstr(got.r.text, "localhost") != NULL && strstr(got.r.text, "/keys") == NULL);
	test_note("%s", got.r.text);

	SSL_CTX *old = fetch_server_ctx(&good);
	(void)SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
	SSL_CTX_set_security_level(old, 0);
	CHECK_EQ_I(get(fetch_server_new(old), "/keys")->code, H_ETLS);
	test_note("%s", got.r.text);

	ask = ask_of(url, sizeof(url), tls, "/keys");
	ask.ca = STR("nonsense");
	CHECK_EQ_I(run(&ask)->code, H_ETLS);
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/keys", tls->port);
	CHECK_EQ_I(get_url(url)->code, 0);
	(void)snprintf(url, sizeof(url), "https://127.0.0.2:%u/keys", tls->port);
	CHECK_EQ_I(get_url(url)->code, H_ECONNECT);
}

static void trust_as_system(const struct testcert *c) {
	BIO *b = BIO_new_mem_buf(c->cert, -1);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

	if (X509_STORE_add_cert(tls_system_roots(), x) != 1)
		abort();
	X509_free(x);
	BIO_free(b);
}

/* No bundle: the system's roots. With a bundle, those do not count. */
TEST(system_roots) {
	struct testcert third;
	char url[200];

	set_up();
	testcert_make(&third, "DNS:localhost");
	struct fetch_server *s = fetch_server_new(fetch_server_ctx(&third));
	struct fetch_ask ask = ask_of(url, sizeof(url), s, "/keys");
	ask.ca = STR_NONE;
	CHECK_EQ_I(run(&ask)->code, H_ETLS);
	trust_as_system(&third);
	CHECK_EQ_I(run(&ask)->code, 0);
	CHECK_EQ_I(get(s, "/keys")->code, H_ETLS);
	CHECK_EQ_I(run(&ask)->code, 0);
}

TEST(bounded) {
	char url[200];

	set_up();
	CHECK_EQ_I(get(tls, "/full")->code, 0);
	CHECK_EQ_U(got.body.len, FETCH_BODY_MAX);
	CHECK_EQ_I(get(tls, "/big")->code, H_ELIMIT);
	CHECK_EQ_U(got.body.len, 0);
	CHECK_EQ_I(get(tls, "/headers")->code, H_ELIMIT);
	CHECK_EQ_I(get(tls, "/junk")->code, H_EUPSTREAM);
	test_note("%s", got.r.text);
	struct fetch_ask ask = ask_of(url, sizeof(url), tls, "/chunks");
	ask.max_bytes = 4;
	CHECK_EQ_I(run(&ask)->code, H_ELIMIT);
	ask = ask_of(url, sizeof(url), tls, "/slow");
	ask.timeout_ms = 100;
	CHECK_EQ_I(run(&ask)->code, H_ETIMEOUT);
}

TEST(too_many) {
	struct fetch *all[FETCH_MAX];
	struct got each[FETCH_MAX] = { 0 };
	char url[200];

	set_up();
	const struct fetch_ask ask = ask_of(url, sizeof(url), tls, "/slow");
	for (size_t i = 0; i < FETCH_MAX; i++)
		all[i] = fetch_start(fetcher, &ask, on_fetched, &each[i]);
	for (int i = 0; i < 20; i++)
		turn();
	CHECK_EQ_I(run(&ask)->code, H_ELIMIT);
	for (size_t i = 0; i < FETCH_MAX; i++)
		fetch_cancel(all[i]);
	CHECK_EQ_I(get(tls, "/keys")->code, 0);
	for (size_t i = 0; i < FETCH_MAX; i++)
		CHECK_EQ_U(each[i].calls, 0);
	/* Before anything happened. */
	fetch_cancel(fetch_start(fetcher, &ask, on_fetched, &each[0]));
	turn();
	CHECK_EQ_U(each[0].calls, 0);
}

TEST(plain_is_for_loopback) {
	static const char *const refused[] = {
		"http://192.0.2.1/",     "http://example.test/", "http://10.0.0.1:8080/x",
		"http://[2001:db8::1]/", "http://0x0a000001/",   "http://localhost.example/"
	};

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		CHECK_EQ_I(get_url(refused[i])->code, H_EPERM);
	/* A name of the metadata service that is its address in another form. */
	CHECK_EQ_I(get_url("https://[::ffff:a9fe:a9fe]/")->code, H_EPERM);
	test_note("%s", got.r.text);
}

TEST(wrong_asks) {
	static const char *const urls[] = { "",
		                            "https://",
		                            "localhost/keys",
		                            "file:///etc/passwd",
		                            "ftp://localhost/",
		                            "https://user@localhost/",
		                            "https://user:secret@localhost/",
		                            "https://localhost/#part",
		                            "https://localhost:0/",
		                            "https://localhost:65536/",
		                            "https://local host/",
		                            "https://localhost/\r\nX: y",
		                            "https://lo\xc3\xb6k/" };
	static const char *const headers[] = {
		"nonsense\n", "Host: other\n", "connection: x\n",
		"A: b\r\n",   "A:\n",          "Proxy-Authorization: x\n",
		"A b: c\n",   ": c\n",         "Transfer-Encoding: chunked\n"
	};
	char url[200];

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		CHECK_EQ_I(get_url(urls[i])->code, H_EFORMAT);
		CHECK(strstr(got.r.text, "secret") == NULL);
	}
	struct fetch_ask ask = ask_of(url, sizeof(url), tls, "/keys");
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		ask.headers = str_of(headers[i]);
		CHECK_EQ_I(run(&ask)->code, H_EFORMAT);
	}
	ask.headers = STR_NONE;
	ask.method = STR("DELETE");
	CHECK_EQ_I(run(&ask)->code, H_EFORMAT);
	ask.method = STR("GET");
	ask.body = STR("x");
	CHECK_EQ_I(run(&ask)->code, H_EFORMAT);
}

TEST_MAIN
