/*
 * proving_test.c: SCRAM's server and OAUTHBEARER's messages: the RFC's own examples, a client of ours at
 * every way of being wrong, each message cut and altered everywhere.
 */
#include "base/mem.h"
#include "base/test.h"
#include "identity/oauthbearer.h"
#include "identity/scram_server.h"

#define SERVER_NONCE "abcdefghijklmnopqrstuvwx"

/* ---- a client, by the RFC ---- */

struct client {
	struct scram_server s;
	const char *flag;     /* gs2 flag that it sends */
	const char *said;     /* gs2 flag that it claims at the end; NULL: the same */
	const char *password; /* NULL: the right one */
	const char *bare, *nonce;
	struct str mechanism, end_point, seen_end_point;
	struct buf first, final;
};

static void keys_of(const char *password, const uint8_t *salt, uint8_t client_key[SHA256_SIZE]) {
	uint8_t salted[SHA256_SIZE];

	pbkdf2_sha256(salted, str_of(password), str_mem(salt, SCRAM_VERIFIER_SALT),
	              SCRAM_ITERATIONS);
	hmac_sha256(client_key, str_mem(salted, SHA256_SIZE), STR("Client Key"));
}

static void client_init(struct client *c, const char *flag) {
	static const uint8_t salt[SCRAM_VERIFIER_SALT] = "0123456789abcde";

	*c = (struct client){ .flag = flag,
		              .bare = "n=,r=client",
		              .nonce = "client" SERVER_NONCE,
		              .mechanism = STR(SCRAM_PLAIN) };
	c->s.is_real = true;
	scram_verifier_make(&c->s.verifier, STR("secret"), salt);
	buf_init(&c->first, 4096);
	buf_init(&c->final, 4096);
}

static void client_fini(struct client *c) {
	buf_fini(&c->first);
	buf_fini(&c->final);
}

/* client-first to server-first. */
static enum scram_wrong begin(struct client *c) {
	struct scram_ask ask = { .mechanism = c->mechanism,
		                 .end_point = c->end_point,
		                 .nonce = STR(SERVER_NONCE) };
	auto_free char *first = xasprintf("%s,,%s", c->flag, c->bare);

	ask.message = str_of(first);
	buf_clear(&c->first);
	return scram_server_first(&c->s, &ask, &c->first);
}

static void make_final(struct client *c) {
	uint8_t key[SHA256_SIZE], stored[SHA256_SIZE], proof[SHA256_SIZE], raw[128];
	char binding[256], proof_text[64];
	auto_free char *header = xasprintf("%s,,", c->said != NULL ? c->said : c->flag);
	size_t n = strlen(header);

	memcpy(raw, header, n);
	if (c->seen_end_point.n != 0)
		memcpy(raw + n, c->seen_end_point.p, c->seen_end_point.n);
	(void)base64_encode(binding, raw, n + c->seen_end_point.n);
	auto_free char *without = xasprintf("c=%s,r=%s", binding, c->nonce);
	auto_free char *auth = xasprintf("%s,%.*s,%s", c->bare, STR_ARG(buf_peek(&c->first)),
	                                 without);

	keys_of(c->password != NULL ? c->password : "secret", c->s.verifier.salt, key);
	sha256(stored, str_mem(key, SHA256_SIZE));
	hmac_sha256(proof, str_mem(stored, SHA256_SIZE), str_of(auth));
	for (size_t i = 0; i < SHA256_SIZE; i++)
		proof[i] ^= key[i];
	(void)base64_encode(proof_text, proof, SHA256_SIZE);
	buf_clear(&c->final);
	w_fmt(&c->final, "%s,p=%s", without, proof_text);
}

static enum scram_wrong end(struct client *c) {
	char out[SCRAM_SERVER_FINAL_SIZE];

	make_final(c);
	enum scram_wrong wrong = scram_server_final(&c->s, buf_peek(&c->final), out);

	CHECK((wrong == SCRAM_FINE) == (out[0] != '\0'));
	return wrong;
}

/* ---- SCRAM ---- */

/* RFC 7677 §3. */
TEST(scram_example_of_the_rfc) {
	static const char salt64[] = "W22ZaJ0SNY7soEsUEjb6gQ==";
	struct scram_server s = { .is_real = true };
	struct scram_ask ask = { .mechanism = STR(SCRAM_PLAIN),
		                 .message = STR("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"),
		                 .nonce = STR("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0") };
	uint8_t salt[SCRAM_VERIFIER_SALT];
	char out[SCRAM_SERVER_FINAL_SIZE];
	struct buf first;

	buf_init(&first, 4096);
	REQUIRE(base64_decode(salt, sizeof(salt), STR(salt64)) == SCRAM_VERIFIER_SALT);
	scram_verifier_make(&s.verifier, STR("pencil"), salt);
	CHECK_EQ_I(scram_server_first(&s, &ask, &first), SCRAM_FINE);
	CHECK_EQ_STR(buf_peek(&first), STR("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	                                   "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
	CHECK_EQ_I(scram_server_final(
			   &s,
			   STR("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	                       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
			   out),
	           SCRAM_FINE);
	CHECK_EQ_STR(str_of(out), STR("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
	buf_fini(&first);
}

TEST(scram_ways) {
	static const struct {
		const char *name, *flag, *said, *mechanism, *shown, *seen, *password;
		enum scram_wrong first, final;
	} ways[] = {
		{ "cannot bind", "n", NULL, SCRAM_PLAIN, "", "", NULL, SCRAM_FINE, SCRAM_FINE },
		{ "cannot, offered", "n", NULL, SCRAM_PLAIN, "cert", "", NULL, SCRAM_FINE,
		  SCRAM_FINE },
		{ "could, not offered", "y", NULL, SCRAM_PLAIN, "", "", NULL, SCRAM_FINE,
		  SCRAM_FINE },
		{ "could, offered", "y", NULL, SCRAM_PLAIN, "cert", "", NULL, SCRAM_WRONG_DOWNGRADE,
		  SCRAM_WRONG_FORM },
		{ "bound", "p=tls-server-end-point", NULL, SCRAM_PLUS, "cert", "cert", NULL,
		  SCRAM_FINE, SCRAM_FINE },
		{ "another certificate", "p=tls-server-end-point", NULL, SCRAM_PLUS, "cert", "mitm",
		  NULL, SCRAM_FINE, SCRAM_WRONG_BINDING },
		{ "no hash", "p=tls-server-end-point", NULL, SCRAM_PLUS, "cert", "", NULL,
		  SCRAM_FINE, SCRAM_WRONG_BINDING },
		{ "another binding", "p=tls-unique", NULL, SCRAM_PLUS, "cert", "cert", NULL,
		  SCRAM_WRONG_FORM, SCRAM_WRONG_FORM },
		{ "not offered", "p=tls-server-end-point", NULL, SCRAM_PLUS, "", "", NULL,
		  SCRAM_WRONG_FORM, SCRAM_WRONG_FORM },
		{ "plus without p", "n", NULL, SCRAM_PLUS, "cert", "", NULL, SCRAM_WRONG_FORM,
		  SCRAM_WRONG_FORM },
		{ "p without plus", "p=tls-server-end-point", NULL, SCRAM_PLAIN, "cert", "cert",
		  NULL, SCRAM_WRONG_FORM, SCRAM_WRONG_FORM },
		{ "flag altered on the way", "n", "y", SCRAM_PLAIN, "cert", "", NULL, SCRAM_FINE,
		  SCRAM_WRONG_BINDING },
		{ "mechanism unknown", "n", NULL, "SCRAM-SHA-1", "", "", NULL, SCRAM_WRONG_FORM,
		  SCRAM_WRONG_FORM },
		{ "wrong password", "n", NULL, SCRAM_PLAIN, "", "", "secreT", SCRAM_FINE,
		  SCRAM_WRONG_PROOF },
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct client c;

		client_init(&c, ways[i].flag);
		c.said = ways[i].said;
		c.mechanism = str_of(ways[i].mechanism);
		c.end_point = str_of(ways[i].shown);
		c.seen_end_point = str_of(ways[i].seen);
		c.password = ways[i].password;
		test_note("%s", ways[i].name);
		CHECK_EQ_I(begin(&c), ways[i].first);
		CHECK_EQ_I(end(&c), ways[i].final);
		client_fini(&c);
	}
}

/* Right messages, and nobody knows the password. */
TEST(scram_key_that_is_not) {
	struct client c;

	client_init(&c, "n");
	c.s.is_real = false;
	CHECK_EQ_I(begin(&c), SCRAM_FINE);
	CHECK_EQ_I(end(&c), SCRAM_WRONG_PROOF);
	client_fini(&c);
}

/* What was right in one exchange is nothing in the next: the server's nonce is another. */
TEST(scram_replay) {
	struct client c, again;
	char out[SCRAM_SERVER_FINAL_SIZE];
	struct scram_ask ask = { .mechanism = STR(SCRAM_PLAIN),
		                 .message = STR("n,,n=,r=client"),
		                 .nonce = STR("ABCDEFGHIJKLMNOPQRSTUVWX") };

	client_init(&c, "n");
	client_init(&again, "n");
	CHECK_EQ_I(begin(&c), SCRAM_FINE);
	CHECK_EQ_I(end(&c), SCRAM_FINE);
	CHECK_EQ_I(scram_server_first(&again.s, &ask, &again.first), SCRAM_FINE);
	CHECK_EQ_I(scram_server_final(&again.s, buf_peek(&c.final), out), SCRAM_WRONG_PROOF);
	/* Nor with the nonce of the new one put in. */
	again.nonce = "clientABCDEFGHIJKLMNOPQRSTUVWX";
	again.bare = "n=,r=other";
	CHECK_EQ_I(end(&again), SCRAM_WRONG_PROOF);
	client_fini(&c);
	client_fini(&again);
}

/* Right password, right signature over what was said, and a nonce of its own. */
TEST(scram_nonce_of_its_own) {
	struct client c;

	client_init(&c, "n");
	CHECK_EQ_I(begin(&c), SCRAM_FINE);
	c.nonce = "clientABCDEFGHIJKLMNOPQRSTUVWX";
	CHECK_EQ_I(end(&c), SCRAM_WRONG_PROOF);
	client_fini(&c);
}

TEST(scram_first_forms) {
	static const char *const bad[] = {
		"",
		"n",
		"n,",
		"n,,",
		"n,,n=",
		"n,,r=x",
		"n,,n=,r=",
		"n,,n=,r=x,",
		"n,,n=,r=x,y=z",
		"n,,m=1,n=,r=x",
		"n,a=bob,n=,r=x",
		"n,,n=,r=a b",
		"n,,n=,r=\x7f",
		"q,,n=,r=x",
		"N,,n=,r=x",
		"n,,r=x,n=",
		",,n=,r=x",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct scram_server s = { .is_real = true };
		struct scram_ask ask = { .mechanism = STR(SCRAM_PLAIN),
			                 .message = str_of(bad[i]),
			                 .nonce = STR(SERVER_NONCE) };
		struct buf out;

		buf_init(&out, 4096);
		test_note("%s", bad[i]);
		CHECK_EQ_I(scram_server_first(&s, &ask, &out), SCRAM_WRONG_FORM);
		CHECK_EQ_U(out.len, 0);
		buf_fini(&out);
	}
}

/* The longest nonce fits, one more does not, and NUL nowhere. */
TEST(scram_lengths) {
	for (size_t n = SCRAM_CLIENT_NONCE_MAX; n <= SCRAM_CLIENT_NONCE_MAX + 1; n++) {
		struct client c;
		auto_free char *bare = xasprintf("n=,r=%0*d", (int)n, 7);
		auto_free char *nonce = xasprintf("%0*d" SERVER_NONCE, (int)n, 7);

		client_init(&c, "n");
		c.bare = bare;
		c.nonce = nonce;
		bool fits = n == SCRAM_CLIENT_NONCE_MAX;

		CHECK_EQ_I(begin(&c), fits ? SCRAM_FINE : SCRAM_WRONG_FORM);
		CHECK_EQ_I(end(&c), fits ? SCRAM_FINE : SCRAM_WRONG_FORM);
		client_fini(&c);
	}
	struct scram_server s = { .is_real = true };
	struct scram_ask ask = { .mechanism = STR(SCRAM_PLAIN),
		                 .message = STR("n,,n=\0,r=x"),
		                 .nonce = STR(SERVER_NONCE) };
	struct buf out;

	buf_init(&out, 4096);
	CHECK_EQ_I(scram_server_first(&s, &ask, &out), SCRAM_WRONG_FORM);
	buf_fini(&out);
}

/* No byte of client-final can be cut off or be another. */
TEST(scram_final_every_byte) {
	struct client c;
	char out[SCRAM_SERVER_FINAL_SIZE];

	client_init(&c, "p=tls-server-end-point");
	c.mechanism = STR(SCRAM_PLUS);
	c.end_point = c.seen_end_point = STR("0123456789abcdef0123456789abcdef");
	CHECK_EQ_I(begin(&c), SCRAM_FINE);
	CHECK_EQ_I(end(&c), SCRAM_FINE);
	struct str all = buf_peek(&c.final);
	auto_free char *copy = str_dup(all);

	for (size_t i = 0; i < all.n; i++) {
		CHECK(scram_server_final(&c.s, str_head(all, i), out) != SCRAM_FINE);
		for (unsigned bit = 0; bit < 8; bit++) {
			copy[i] = (char)((unsigned char)all.p[i] ^ (1u << bit));
			CHECK(scram_server_final(&c.s, str_mem(copy, all.n), out) != SCRAM_FINE);
		}
		copy[i] = all.p[i];
	}
	auto_free char *longer = xasprintf("%.*s,x=y", STR_ARG(all));

	CHECK(scram_server_final(&c.s, str_of(longer), out) != SCRAM_FINE);
	client_fini(&c);
}

/* ---- OAUTHBEARER ---- */

static const struct {
	struct str message;
	const char *token; /* NULL: refused */
} forms[] = {
	{ STR("n,,\x01"
	      "auth=Bearer abc.DEF-_~+/1==\x01\x01"),
	  "abc.DEF-_~+/1==" },
	{ STR("y,,\x01"
	      "auth=bearer abc\x01\x01"),
	  "abc" },
	{ STR("n,,\x01"
	      "host=h\x01port=5432\x01"
	      "auth=Bearer abc\x01\x01"),
	  "abc" },
	{ STR("n,,\x01"
	      "auth=Bearer   abc\x01\x01"),
	  "abc" },
	{ STR("n,,\x01"
	      "auth=\x01\x01"),
	  "" },
	{ STR("n,,\x01\x01"), NULL },
	{ STR("n,,\x01"), NULL },
	{ STR("n,,"), NULL },
	{ STR(""), NULL },
	{ STR("\x01"), NULL },
	{ STR("p=tls-server-end-point,,\x01"
	      "auth=Bearer abc\x01\x01"),
	  NULL },
	{ STR("n,a=bob,\x01"
	      "auth=Bearer abc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer abc\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer abc"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer abc\x01\x01x"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer abc\x01\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer a bc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer a\0c\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer ===\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer \x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Basic abc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "auth=Bearer abc\x01"
	      "auth=Bearer abc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "au1h=Bearer abc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "=x\x01"
	      "auth=Bearer abc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "host\x01"
	      "auth=Bearer abc\x01\x01"),
	  NULL },
	{ STR("n,,\x01"
	      "host=\x02\x01"
	      "auth=Bearer abc\x01\x01"),
	  NULL },
};

TEST(oauthbearer_forms) {
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct str token = STR("untouched");
		int rc = oauthbearer_parse(&token, forms[i].message);

		test_note("form %zu", i);
		CHECK_EQ_I(rc, forms[i].token != NULL ? 0 : H_EFORMAT);
		if (rc == 0)
			CHECK_EQ_STR(token, str_of(forms[i].token));
	}
}

TEST(oauthbearer_refusals) {
	static const struct {
		const char *issuer, *text;
	} cases[] = {
		{ "https://idp.example",
		  "{\"status\":\"invalid_token\",\"scope\":\"openid\",\"openid-configuration\":"
		  "\"https://idp.example/.well-known/openid-configuration\"}" },
		{ "https://idp.example/realms/x/",
		  "{\"status\":\"invalid_token\",\"scope\":\"openid\",\"openid-configuration\":"
		  "\"https://idp.example/realms/x/.well-known/openid-configuration\"}" },
		{ "", "{\"status\":\"invalid_token\",\"scope\":\"openid\"}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;

		buf_init(&b, 4096);
		oauthbearer_refusal(&b, str_of(cases[i].issuer));
		CHECK_EQ_STR(buf_peek(&b), str_of(cases[i].text));
		buf_fini(&b);
	}
}

TEST_MAIN
