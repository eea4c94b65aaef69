/*
 * jwt_test.c: good tokens of each algorithm verify; a token with any bit changed, cut anywhere, or made
 * by one of the known tricks does not.
 */
#include "identity/jwt.h"

#include <openssl/pem.h>

#include "base/crypto.h"
#include "base/test.h"
#include "identity/idp_fake.h"
#include "identity/jwks.h"

static const char claims[] = "{\"iss\":\"https://idp.example\",\"sub\":\"ci\"}";

struct bench {
	struct arena *arena;
	struct idp_key keys[JWT_ALG_COUNT];
	struct jwks *set;
	struct err e;
};

static void bench_open(struct bench *b) {
	struct buf json;

	*b = (struct bench){ .arena = arena_new(16 * MIB) };
	crypto_setup();
	idp_key_make(&b->keys[JWT_RS256], JWT_RS256, "rs", 2048);
	idp_key_make(&b->keys[JWT_PS256], JWT_PS256, "ps", 2048);
	idp_key_make(&b->keys[JWT_ES256], JWT_ES256, "es", 0);
	idp_key_make(&b->keys[JWT_EDDSA], JWT_EDDSA, "ed", 0);
	buf_init(&json, MIB);
	idp_jwks(&json, b->keys, JWT_ALG_COUNT);
	b->set = jwks_parse(buf_peek(&json), &b->e);
	CHECK(b->set != NULL && jwks_count(b->set) == JWT_ALG_COUNT);
	buf_fini(&json);
}

static void bench_close(struct bench *b) {
	for (unsigned i = 0; i < JWT_ALG_COUNT; i++)
		idp_key_free(&b->keys[i]);
	jwks_free(&b->set);
	arena_free(&b->arena);
}

static enum token_wrong verify(struct bench *b, struct str token) {
	struct jwt t;

	b->e = (struct err){ 0 };
	enum token_wrong wrong = jwt_parse(&t, b->arena, token, &b->e);

	if (wrong == TOKEN_FINE)
		wrong = jwks_verify(b->set, &t, &b->e);
	if ((wrong == TOKEN_FINE) != (b->e.code == 0))
		abort(); /* each refusal has its sentence */
	return wrong;
}

TEST(jwt_each_algorithm) {
	struct bench b;

	bench_open(&b);
	for (unsigned i = 0; i < JWT_ALG_COUNT; i++) {
		auto_free char *token = idp_token(&b.keys[i], NULL, claims);

		CHECK(jwt_looks(str_of(token)));
		if (!CHECK_EQ_U(verify(&b, str_of(token)), TOKEN_FINE))
			test_note("%s: %s", jwt_alg_name((enum jwt_alg)i), b.e.text);
	}
	bench_close(&b);
}

TEST(jwt_every_change_is_found) {
	static const char symbols[] = "ABQz09-_";
	struct bench b;

	bench_open(&b);
	for (unsigned i = 0; i < JWT_ALG_COUNT; i++) {
		auto_free char *token = idp_token(&b.keys[i], NULL, claims);
		size_t n = strlen(token);
		unsigned accepted = 0;

		for (size_t at = 0; at < n; at++) {
			char was = token[at];

			for (const char *s = symbols; *s != '\0'; s++) {
				token[at] = *s;
				if (*s != was)
					accepted += verify(&b, str_of(token)) == TOKEN_FINE;
			}
			token[at] = was;
			accepted += verify(&b, str_head(str_of(token), at)) == TOKEN_FINE;
		}
		CHECK_EQ_U(accepted, 0);
	}
	bench_close(&b);
}

TEST(jwt_split_parts_do_not_mix) {
	struct bench b;

	bench_open(&b);
	auto_free char *one = idp_token(&b.keys[JWT_ES256], NULL, claims);
	auto_free char *two = idp_token(&b.keys[JWT_ES256], NULL, "{\"sub\":\"root\"}");
	char *cut = strrchr(one, '.'), *other = strrchr(two, '.');
	auto_free char *mixed = xasprintf("%.*s%s", (int)(other - two), two, cut);

	CHECK_EQ_U(verify(&b, str_of(mixed)), TOKEN_SIGNATURE);
	bench_close(&b);
}

struct trick {
	const char *header;
	enum token_wrong wrong;
	const char *needle;
};

/* All signed correctly with the key "rs". */
static const struct trick tricks[] = {
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\"}", TOKEN_FINE, "" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":\"at+jwt\"}", TOKEN_FINE, "" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":\"application/AT+JWT\"}", TOKEN_FINE, "" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"jku\":\"https://evil.example\"}", TOKEN_FINE, "" },
	{ "{\"alg\":\"none\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "\"none\"" },
	{ "{\"alg\":\"nOnE\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "\"nOnE\"" },
	{ "{\"alg\":\"HS256\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "\"HS256\"" },
	{ "{\"alg\":\"RS512\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "\"RS512\"" },
	{ "{\"alg\":\"rs256\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "\"rs256\"" },
	{ "{\"alg\":\"ES256\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "not one for ES256" },
	{ "{\"alg\":\"EdDSA\",\"kid\":\"rs\"}", TOKEN_ALGORITHM, "not one for EdDSA" },
	{ "{\"alg\":\"PS256\",\"kid\":\"rs\"}", TOKEN_SIGNATURE, "key rs" },
	{ "{\"kid\":\"rs\"}", TOKEN_ALGORITHM, "names no algorithm" },
	{ "{\"alg\":5,\"kid\":\"rs\"}", TOKEN_ALGORITHM, "names no algorithm" },
	{ "{\"alg\":\"RS256\",\"kid\":\"no\"}", TOKEN_KEY_UNKNOWN, "no key is named no" },
	{ "{\"alg\":\"RS256\",\"kid\":7}", TOKEN_MALFORMED, "kid" },
	{ "{\"alg\":\"RS256\",\"kid\":\"es\"}", TOKEN_ALGORITHM, "key es is not one" },
	{ "{\"alg\":\"RS256\",\"kid\":\"ps\"}", TOKEN_SIGNATURE, "key ps" },
	{ "{\"alg\":\"RS256\"}", TOKEN_KEY_UNKNOWN, "not exactly one fits" }, /* rs and ps do */
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"crit\":[\"b64\"]}", TOKEN_MALFORMED, "crit" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"crit\":[]}", TOKEN_MALFORMED, "crit" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"b64\":false}", TOKEN_MALFORMED, "b64" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"zip\":\"DEF\"}", TOKEN_MALFORMED, "zip" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":\"logout+jwt\"}", TOKEN_MALFORMED, "typ" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":\"\"}", TOKEN_MALFORMED, "typ" },
	{ "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"rs\"}", TOKEN_MALFORMED,
	  "each member once" },
	{ "[\"RS256\"]", TOKEN_MALFORMED, "no JSON object" },
	{ "{\"alg\":\"RS256\",\"kid\":\"rs\"} x", TOKEN_MALFORMED, "no JSON object" },
	{ "", TOKEN_MALFORMED, "not three parts" },
};

TEST(jwt_tricks) {
	struct bench b;

	bench_open(&b);
	for (size_t i = 0; i < ARRAY_LEN(tricks); i++) {
		const struct trick *t = &tricks[i];
		auto_free char *token = idp_token(&b.keys[JWT_RS256], t->header, claims);

		if (!CHECK_EQ_U(verify(&b, str_of(token)), t->wrong) ||
		    !CHECK(strstr(b.e.text, t->needle) != NULL))
			test_note("%s: %s", t->header, b.e.text);
	}
	bench_close(&b);
}

/* The public key as an HMAC secret, in the forms that have fooled others. */
TEST(jwt_algorithm_confusion) {
	struct bench b;

	bench_open(&b);
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem = NULL;

	CHECK(PEM_write_bio_PUBKEY(bio, b.keys[JWT_RS256].pkey) == 1);
	long n = BIO_get_mem_data(bio, &pem);
	static const char *const headers[] = { "{\"alg\":\"HS256\",\"kid\":\"rs\"}",
		                               "{\"alg\":\"RS256\",\"kid\":\"rs\"}",
		                               "{\"alg\":\"ES256\",\"kid\":\"es\"}",
		                               "{\"alg\":\"EdDSA\",\"kid\":\"ed\"}" };

	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		auto_free char *token = idp_token_hs256(str_mem(pem, (size_t)n), headers[i],
		                                        claims);

		CHECK(verify(&b, str_of(token)) != TOKEN_FINE);
	}
	BIO_free(bio);
	bench_close(&b);
}

TEST(jwt_shapes) {
	static const char *const bad[] = {
		"",         ".",        "..",       "a.b",          "a.b.c.d",
		"e30.e30.", ".e30.e30", "e30..e30", "e30.e30.e30.", "e3 0.e30.e30"
	};
	struct bench b;

	bench_open(&b);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(verify(&b, str_of(bad[i])) != TOKEN_FINE);
	auto_free char *big = xmalloc(JWT_SIZE_MAX + 2);

	memset(big, 'A', JWT_SIZE_MAX + 1);
	CHECK_EQ_U(verify(&b, str_mem(big, JWT_SIZE_MAX + 1)), TOKEN_MALFORMED);
	CHECK(strstr(b.e.text, "longer than") != NULL);
	CHECK(!jwt_looks(STR("hsd1_x")) && !jwt_looks(STR("ey.a")) && !jwt_looks(STR_NONE));
	bench_close(&b);
}

TEST(jwt_base64url) {
	uint8_t out[8];

	CHECK_EQ_I(base64url_decode(out, sizeof(out), STR("-_8")), 2);
	CHECK(out[0] == 0xfb && out[1] == 0xff);
	CHECK_EQ_I(base64url_decode(out, sizeof(out), STR("-_9")), H_EFORMAT); /* spare bits */
	CHECK_EQ_I(base64url_decode(out, sizeof(out), STR("-_8=")), H_EFORMAT);
	CHECK_EQ_I(base64url_decode(out, sizeof(out), STR("+/8")), H_EFORMAT);
	CHECK_EQ_I(base64url_decode(out, sizeof(out), STR("A")), H_EFORMAT);
	CHECK_EQ_I(base64url_decode(out, sizeof(out), STR("")), 0);
	CHECK_EQ_I(base64url_decode(out, 2, STR("AAAA")), H_ELIMIT);
	CHECK_EQ_I(base64url_decode(out, 3, STR("AAAA")), 3);
}

/* ---- key sets ---- */

struct bad_key {
	const char *extra, *needle;
};

TEST(jwks_unfit_keys) {
	static const struct bad_key bad[] = {
		{ "\"use\":\"enc\"", "use is not sig" },    { "\"use\":7", "use is not sig" },
		{ "\"key_ops\":[\"encrypt\"]", "key_ops" }, { "\"alg\":\"RS512\"", "its alg" },
		{ "\"alg\":\"ES256\"", "its alg" },
	};
	struct bench b;

	bench_open(&b);
	auto_free char *token = idp_token(&b.keys[JWT_RS256], NULL, claims);

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf json;

		buf_init(&json, MIB);
		w_fmt(&json, "{\"keys\":[");
		idp_jwk(&json, &b.keys[JWT_RS256], bad[i].extra);
		w_fmt(&json, ",");
		idp_jwk(&json, &b.keys[JWT_ES256], NULL);
		w_fmt(&json, "]}");
		jwks_free(&b.set);
		b.set = jwks_parse(buf_peek(&json), &b.e);
		buf_fini(&json);
		REQUIRE(b.set != NULL);
		CHECK_EQ_U(jwks_count(b.set), 1);
		CHECK_EQ_U(verify(&b, str_of(token)), TOKEN_KEY_UNKNOWN);
		if (!CHECK(strstr(b.e.text, bad[i].needle) != NULL))
			test_note("%s", b.e.text);
	}
	bench_close(&b);
}

TEST(jwks_weak_rsa) {
	struct idp_key weak;
	struct err e = { 0 };
	struct buf json;

	idp_key_make(&weak, JWT_RS256, "w", 1024);
	buf_init(&json, MIB);
	idp_jwks(&json, &weak, 1);
	CHECK(jwks_parse(buf_peek(&json), &e) == NULL);
	CHECK(strstr(e.text, "below 2048 bits") != NULL);
	buf_fini(&json);
	idp_key_free(&weak);
}

/* Well-formed coordinates that lie on no curve. */
static const char no_point[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
			       "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
			       "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";

TEST(jwks_bad_documents) {
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"keys\":{}}",
		"{\"keys\":[]}",
		"{\"keys\":[7]}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AAAA\",\"e\":\"AQAB\"}]}",
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
		no_point,
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\"}]}",
		"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}",
		"{\"keys\":[],\"keys\":[]}"
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = { 0 };
		struct jwks *set = jwks_parse(str_of(bad[i]), &e);

		if (!CHECK(set == NULL && e.text[0] != '\0'))
			test_note("%s", bad[i]);
		jwks_free(&set);
	}
}

TEST(jwks_bounds_and_cuts) {
	struct idp_key k;
	struct err e = { 0 };
	struct buf json;

	idp_key_make(&k, JWT_ES256, "a", 0);
	buf_init(&json, MIB);
	idp_jwks(&json, &k, 1);
	for (size_t n = 0; n < json.len; n++) {
		struct jwks *set = jwks_parse(str_head(buf_peek(&json), n), &e);

		CHECK(set == NULL);
	}
	buf_clear(&json);
	w_fmt(&json, "{\"keys\":[");
	for (int i = 0; i <= JWKS_KEYS_MAX; i++) {
		w_fmt(&json, "%s", i != 0 ? "," : "");
		idp_jwk(&json, &k, NULL);
	}
	w_fmt(&json, "]}");
	e = (struct err){ 0 };
	CHECK(jwks_parse(buf_peek(&json), &e) == NULL && e.code == H_ELIMIT);
	buf_fini(&json);
	idp_key_free(&k);
}

/* A token without kid: the only key that fits is taken, of two none. */
TEST(jwks_without_kid) {
	struct bench b;
	struct buf json;

	bench_open(&b);
	auto_free char *token = idp_token(&b.keys[JWT_ES256], "{\"alg\":\"ES256\"}", claims);

	CHECK_EQ_U(verify(&b, str_of(token)), TOKEN_FINE);
	struct idp_key two[2] = { b.keys[JWT_ES256] };

	idp_key_make(&two[1], JWT_ES256, "es2", 0);
	buf_init(&json, MIB);
	idp_jwks(&json, two, 2);
	jwks_free(&b.set);
	b.set = jwks_parse(buf_peek(&json), &b.e);
	REQUIRE(b.set != NULL);
	CHECK_EQ_U(verify(&b, str_of(token)), TOKEN_KEY_UNKNOWN);
	idp_key_free(&two[1]);
	buf_fini(&json);
	bench_close(&b);
}

TEST_MAIN
