/*
 * oidc_test.c: an issuer's keys through their life (discovery, rotation, an outage, a reload), and the
 * verdict on tokens, with a fetcher that the test plays and a clock that it turns.
 */
#include "keeper/oidc.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/test.h"
#include "identity/idp_fake.h"

#define WALL ((uint64_t)1700000000 * NS_PER_S)
#define S(n) ((uint64_t)(n)*NS_PER_S)

static const char one_issuer[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n"
	"    - issuer: https://a.example\n      audience: [hansard]\n      keys_keep: 1h\n"
	"      mappings: [ { map: { kind: agent, subject: \"{sub}\", groups: [agents] } } ]\n";
static const char two_issuers[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n"
	"    - issuer: https://b.example\n      audience: [hansard]\n"
	"      jwks: { url: \"https://b.example/k\" }\n"
	"      mappings: [ { map: { kind: human, subject: \"{sub}\" } } ]\n"
	"    - issuer: https://a.example\n      audience: [hansard]\n"
	"      mappings: [ { map: { kind: agent, subject: \"{sub}\" } } ]\n";

struct world {
	struct oidc *o;
	struct config *c;
	struct oidc_files files;
	struct arena *arena;
	struct idp_key a[2], b;
	uint64_t now;
	char url[256]; /* the newest question */
	uint64_t id;
	unsigned fetches;
	struct who who;
	struct oidc_proof proof;
};

static void on_fetch(void *arg, const struct oidc_fetch *f) {
	struct world *w = arg;

	(void)str_copy(w->url, sizeof(w->url), f->url);
	w->id = f->id;
	w->fetches++;
}

static struct config *parse(const char *text) {
	struct findings f;

	findings_init(&f);
	struct config *c = config_parse(str_of(text), STR("t"), STR("/"), &f);

	if (c == NULL)
		abort();
	findings_fini(&f);
	return c;
}

static void use(struct world *w, const char *text) {
	struct config *old = w->c;
	struct oidc_files was = w->files;
	struct findings f;

	findings_init(&f);
	w->c = parse(text);
	oidc_files_read(&w->files, w->c, &f);
	CHECK_EQ_U(f.errors, 0);
	oidc_use(w->o, w->c, &w->files, w->now);
	oidc_files_free(&was);
	config_free(&old);
	findings_fini(&f);
}

static void world_open(struct world *w, const char *text) {
	*w = (struct world){ .arena = arena_new(16 * MIB), .now = S(1000) };
	crypto_setup();
	idp_key_make(&w->a[0], JWT_ES256, "a0", 0);
	idp_key_make(&w->a[1], JWT_EDDSA, "a1", 0);
	idp_key_make(&w->b, JWT_ES256, "b0", 0);
	w->o = oidc_new(on_fetch, w);
	use(w, text);
}

static void world_close(struct world *w) {
	oidc_free(&w->o);
	oidc_files_free(&w->files);
	config_free(&w->c);
	arena_free(&w->arena);
	idp_key_free(&w->a[0]);
	idp_key_free(&w->a[1]);
	idp_key_free(&w->b);
}

static bool answer(struct world *w, int code, uint32_t status, uint32_t max_age, struct str body) {
	struct oidc_answer a = { .id = w->id,
		                 .code = code,
		                 .status = status,
		                 .max_age_s = max_age,
		                 .body = body,
		                 .text = STR("connection refused") };

	return oidc_fetched(w->o, &a, w->now);
}

static void answer_discovery(struct world *w) {
	CHECK_EQ_STR(str_of(w->url), STR("https://a.example/.well-known/openid-configuration"));
	CHECK(!answer(
		w, 0, 200, 0,
		STR("{\"issuer\":\"https://a.example\",\"jwks_uri\":\"https://a.example/jwks\"}")));
}

static void answer_keys(struct world *w, const struct idp_key *keys, size_t n, uint32_t max_age) {
	struct buf b;

	buf_init(&b, MIB);
	idp_jwks(&b, keys, n);
	CHECK(answer(w, 0, 200, max_age, buf_peek(&b)));
	buf_fini(&b);
}

/* The first keys of a.example. */
static void begin(struct world *w, size_t keys) {
	answer_discovery(w);
	CHECK_EQ_STR(str_of(w->url), STR("https://a.example/jwks"));
	answer_keys(w, w->a, keys, 600);
}

static enum oidc_verdict prove(struct world *w, const struct idp_key *k, const char *claims) {
	auto_free char *token = idp_token(k, NULL, claims);

	return oidc_prove(w->o, str_of(token), WALL, w->now, w->arena, &w->who, &w->proof);
}

static const char good[] = "{\"iss\":\"https://a.example\",\"aud\":\"hansard\",\"sub\":\"ci\","
			   "\"exp\":1700003600}";
static const char good_b[] = "{\"iss\":\"https://b.example\",\"aud\":\"hansard\",\"sub\":\"ci\","
			     "\"exp\":1700003600}";

TEST(oidc_discovers_and_proves) {
	struct world w;

	world_open(&w, one_issuer);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_WAIT); /* no keys yet: they are under way */
	CHECK_EQ_U(w.fetches, 1);                        /* and asked for once */
	begin(&w, 1);
	CHECK_EQ_U(w.fetches, 2);
	REQUIRE(prove(&w, &w.a[0], good) == OIDC_PROVEN);
	CHECK_EQ_STR(w.who.subject, STR("a.example:ci"));
	CHECK_EQ_STR(w.who.issuer, STR("https://a.example"));
	CHECK_EQ_STR(w.who.key_id, STR("a0"));
	CHECK_EQ_U(w.proof.expires_wall_ns, S(1700003660));
	CHECK_EQ_U(w.who.proof_expires_wall_ns, S(1700003660));
	world_close(&w);
}

TEST(oidc_wrong_tokens) {
	static const struct {
		const char *claims;
		enum token_wrong wrong;
	} rows[] = {
		{ "{\"iss\":\"https://c.example\",\"aud\":\"hansard\",\"exp\":1700003600}",
		  TOKEN_ISSUER },
		{ "{\"aud\":\"hansard\",\"exp\":1700003600}", TOKEN_ISSUER },
		{ "{\"iss\":\"https://a.example\",\"aud\":\"x\",\"exp\":1700003600}",
		  TOKEN_AUDIENCE },
		{ "{\"iss\":\"https://a.example\",\"aud\":\"hansard\",\"exp\":1600000000}",
		  TOKEN_EXPIRED },
		{ "{\"iss\":\"https://a.example\",\"aud\":\"hansard\",\"exp\":1700003600,"
		  "\"nbf\":1700003000}",
		  TOKEN_NOT_YET },
		{ "{\"iss\":\"https://a.example\",\"aud\":\"hansard\",\"exp\":1800000000}",
		  TOKEN_LIFETIME },
		{ "{\"iss\":\"https://a.example\",\"aud\":\"hansard\",\"sub\":\"x\"}",
		  TOKEN_CLAIMS },
		{ "{\"iss\":\"https://a.example\",\"aud\":\"hansard\",\"exp\":1700003600}",
		  TOKEN_MAPPING },
		{ "[]", TOKEN_CLAIMS },
	};
	struct world w;

	world_open(&w, one_issuer);
	begin(&w, 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_EQ_U(prove(&w, &w.a[0], rows[i].claims), OIDC_WRONG);
		if (!CHECK_EQ_U(w.proof.wrong, rows[i].wrong) || !CHECK(w.proof.e.text[0] != '\0'))
			test_note("%s: %s", rows[i].claims, w.proof.e.text);
	}
	CHECK_EQ_U(w.fetches, 2); /* none of them is a reason to ask the issuer */
	struct idp_key forged = w.b;

	(void)str_copy(forged.kid, sizeof(forged.kid), STR("a0"));
	CHECK_EQ_U(prove(&w, &forged, good), OIDC_WRONG);
	CHECK_EQ_U(w.proof.wrong, TOKEN_SIGNATURE);
	CHECK_EQ_U(oidc_prove(w.o, STR("eyJ.e30.e30"), WALL, w.now, w.arena, &w.who, &w.proof),
	           OIDC_WRONG);
	CHECK_EQ_U(w.proof.wrong, TOKEN_MALFORMED);
	world_close(&w);
}

TEST(oidc_rotation) {
	struct world w;

	world_open(&w, one_issuer);
	begin(&w, 1);
	CHECK_EQ_U(prove(&w, &w.a[1], good), OIDC_WAIT); /* keys may rotate right after a fetch */
	CHECK_EQ_U(w.fetches, 3);
	answer_keys(&w, &w.a[0], 1, 600);
	w.now += S(30); /* asked for a key half a minute ago: not again */
	CHECK_EQ_U(prove(&w, &w.a[1], good), OIDC_WRONG);
	CHECK_EQ_U(w.proof.wrong, TOKEN_KEY_UNKNOWN);
	CHECK(strstr(w.proof.e.text, "no key is named a1") != NULL);
	CHECK_EQ_U(w.fetches, 3);
	w.now += S(30);
	CHECK_EQ_U(prove(&w, &w.a[1], good), OIDC_WAIT);
	CHECK_EQ_U(prove(&w, &w.a[1], good), OIDC_WAIT); /* one fetch for all who wait */
	CHECK_EQ_U(w.fetches, 4);
	CHECK_EQ_STR(str_of(w.url), STR("https://a.example/jwks"));
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN); /* nobody else waits */
	answer_keys(&w, &w.a[1], 1, 600);
	CHECK_EQ_U(prove(&w, &w.a[1], good), OIDC_PROVEN);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_WRONG); /* a key that is gone is gone */
	CHECK_EQ_U(w.fetches, 4);
	world_close(&w);
}

TEST(oidc_refreshes_in_time) {
	struct world w;

	world_open(&w, one_issuer);
	begin(&w, 1); /* max-age 600: again after 450 s */
	w.now += S(449);
	(void)oidc_beat(w.o, w.now);
	CHECK_EQ_U(w.fetches, 2);
	w.now += S(1);
	(void)oidc_beat(w.o, w.now);
	(void)oidc_beat(w.o, w.now + S(1)); /* one question at a time */
	CHECK_EQ_U(w.fetches, 3);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN); /* in the background */
	answer_keys(&w, w.a, 1, 1);                        /* bounded: five minutes */
	w.now += S(224);
	(void)oidc_beat(w.o, w.now);
	CHECK_EQ_U(w.fetches, 3);
	w.now += S(1);
	(void)oidc_beat(w.o, w.now);
	CHECK_EQ_U(w.fetches, 4);
	answer_keys(&w, w.a, 1, UINT32_MAX); /* bounded: a day */
	w.now += S(18 * 3600);
	(void)oidc_beat(w.o, w.now);
	CHECK_EQ_U(w.fetches, 5);
	world_close(&w);
}

TEST(oidc_outage) {
	struct world w;

	world_open(&w, one_issuer); /* keys_keep: 1h */
	begin(&w, 1);
	w.now += S(450);
	(void)oidc_beat(w.o, w.now);
	CHECK(answer(&w, H_ECONNECT, 0, 0, STR_NONE));
	unsigned before = w.fetches;

	for (int i = 0; i < 3000; i++) {
		w.now += S(1);
		(void)oidc_beat(w.o, w.now);
		if (w.fetches != before) {
			before = w.fetches;
			(void)answer(&w, 0, 503, 0, STR("x"));
		}
		if (prove(&w, &w.a[0], good) != OIDC_PROVEN)
			CHECK(false);
	}
	CHECK(w.fetches > 10 && w.fetches < 25); /* again and again, not too often */
	CHECK_EQ_STR(str_of(w.url), STR("https://a.example/.well-known/openid-configuration"));
	w.now += S(3600);
	(void)oidc_beat(w.o, w.now);
	(void)answer(&w, 0, 503, 0, STR("x"));
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_NO_KEYS);
	CHECK(strstr(w.proof.e.text, "a.example: discovery document: HTTP status 503") != NULL);
	w.now += S(6);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_WAIT);
	begin(&w, 1);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN);
	world_close(&w);
}

TEST(oidc_bad_documents) {
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"{\"issuer\":\"https://a.example\"}",
		"{\"issuer\":\"https://a.example/\",\"jwks_uri\":\"https://a.example/jwks\"}",
		"{\"issuer\":\"https://evil.example\",\"jwks_uri\":\"https://a.example/jwks\"}",
		"{\"issuer\":\"https://a.example\",\"jwks_uri\":\"http://a.example/jwks\"}",
		"{\"issuer\":\"https://a.example\",\"jwks_uri\":\"http://127.0.0.1/jwks\"}",
		"{\"issuer\":\"https://a.example\",\"jwks_uri\":\"file:///etc/passwd\"}",
		"{\"issuer\":\"https://a.example\",\"jwks_uri\":7}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct world w;

		world_open(&w, one_issuer);
		CHECK(answer(&w, 0, 200, 0, str_of(bad[i])));
		if (!CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_NO_KEYS) ||
		    !CHECK_EQ_U(w.fetches, 1))
			test_note("%s", bad[i]);
		world_close(&w);
	}
	struct world w;

	world_open(&w, one_issuer);
	answer_discovery(&w);
	CHECK(answer(&w, 0, 200, 0, STR("{\"keys\":[]}")));
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_NO_KEYS);
	world_close(&w);
}

TEST(oidc_no_answer) {
	struct world w;

	world_open(&w, one_issuer);
	w.now += S(13);
	CHECK(oidc_beat(w.o, w.now));
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_WAIT); /* asks anew */
	uint64_t late = w.id;

	oidc_fetcher_gone(w.o, w.now);
	w.now += S(1);
	(void)oidc_beat(w.o, w.now);
	CHECK(w.id != late);
	struct oidc_answer a = { .id = late, .status = 200, .body = STR("{}") };

	CHECK(!oidc_fetched(w.o, &a, w.now)); /* nobody waits for that one any more */
	begin(&w, 1);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN);
	world_close(&w);
}

/* b.example's keys come from a URL; a.example's by discovery. */
TEST(oidc_two_issuers) {
	struct world w;

	world_open(&w, two_issuers);
	CHECK_EQ_U(w.fetches, 2);
	begin(&w, 1); /* the newest question was a.example's */
	uint64_t b_id = w.id - 2;

	w.id = b_id;
	answer_keys(&w, &w.b, 1, 0);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN);
	CHECK_EQ_STR(w.who.subject, STR("a.example:ci"));
	CHECK_EQ_U(prove(&w, &w.b, good_b), OIDC_PROVEN);
	CHECK_EQ_STR(w.who.subject, STR("b.example:ci"));
	CHECK(w.who.kind == WHO_HUMAN);
	w.now += S(120);
	unsigned before = w.fetches;

	/* One issuer signs in another's name. */
	CHECK_EQ_U(prove(&w, &w.b, good), OIDC_WRONG);
	CHECK_EQ_U(w.proof.wrong, TOKEN_ISSUER);
	CHECK_EQ_U(w.fetches, before);
	world_close(&w);
}

TEST(oidc_reload) {
	struct world w;

	world_open(&w, one_issuer);
	begin(&w, 1);
	use(&w, two_issuers); /* a.example stays, with its keys; b.example is new */
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN);
	CHECK_EQ_STR(str_of(w.url), STR("https://b.example/k"));
	answer_keys(&w, &w.b, 1, 0);
	CHECK_EQ_U(prove(&w, &w.b, good_b), OIDC_PROVEN);
	use(&w, one_issuer);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN);
	CHECK(prove(&w, &w.b, good_b) != OIDC_PROVEN);
	world_close(&w);
}

TEST(oidc_keys_in_a_file) {
	char path[] = "/tmp/hansard-jwks-XXXXXX";
	struct world w;
	struct buf b;
	int fd = mkstemp(path);

	world_open(&w, one_issuer);
	buf_init(&b, MIB);
	idp_jwks(&b, w.a, 1);
	CHECK(fd >= 0 && write(fd, buf_peek(&b).p, b.len) == (ssize_t)b.len);
	auto_free char *text =
		xasprintf("apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n"
	                  "    - issuer: https://a.example\n      audience: [hansard]\n"
	                  "      jwks: { file: %s }\n"
	                  "      mappings: [ { map: { kind: agent, subject: \"{sub}\" } } ]\n",
	                  path);
	unsigned before = w.fetches;

	use(&w, text);
	CHECK_EQ_U(prove(&w, &w.a[0], good), OIDC_PROVEN);
	w.now += S(7200);
	(void)oidc_beat(w.o, w.now);
	CHECK_EQ_U(prove(&w, &w.a[1], good), OIDC_WRONG);
	CHECK_EQ_U(w.proof.wrong, TOKEN_KEY_UNKNOWN);
	CHECK_EQ_U(w.fetches, before);
	(void)close(fd);
	CHECK(truncate(path, 0) == 0);
	struct findings f;
	struct oidc_files files;

	findings_init(&f);
	oidc_files_read(&files, w.c, &f);
	CHECK(f.errors == 1 && f.v[0].at.line == 8);
	oidc_files_free(&files);
	findings_fini(&f);
	(void)unlink(path);
	buf_fini(&b);
	world_close(&w);
}

TEST_MAIN
