/*
 * oidc_fuzz.c: what the servers of two issuers answer, in any order with time: discovery documents,
 * key sets and tokens that are anything. Whatever they say, only https is asked for more.
 *
 * The input is a list of steps: one byte says what and of whom, two how long, then come the bytes.
 */
#include "keeper/oidc.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n"
	"    - issuer: https://a.example\n      audience: [hansard]\n"
	"      mappings: [ { map: { kind: agent, subject: \"{sub}\" } } ]\n"
	"    - issuer: https://b.example\n      audience: [hansard]\n"
	"      jwks: { url: \"https://b.example/keys\" }\n"
	"      mappings: [ { map: { kind: human, subject: \"{sub}\" } } ]\n";

static uint64_t asked[2]; /* of a.example, of b.example */

static void on_fetch(void *arg, const struct oidc_fetch *f) {
	(void)arg;
	if (!str_starts(f->url, STR("https://")))
		abort();
	asked[str_eq(f->url, STR("https://b.example/keys"))] = f->id;
}

static void step(struct oidc *o, uint8_t what, struct str bytes, uint64_t *now) {
	struct arena *arena = arena_new(256 * KIB);
	struct oidc_answer a = { .id = asked[what >> 7], .status = 200, .body = bytes };
	struct who who = { 0 };
	struct oidc_proof proof = { 0 };

	switch (what % 8) {
	case 0:
		(void)oidc_prove(o, bytes, NS_PER_S, *now, arena, &who, &proof);
		break;
	case 1:
		*now += (1 + bytes.n) * NS_PER_S;
		(void)oidc_beat(o, *now);
		break;
	case 2:
		oidc_fetcher_gone(o, *now);
		break;
	case 3:
		a.status = 503;
		(void)oidc_fetched(o, &a, *now);
		break;
	case 4:
		a.max_age_s = (uint32_t)bytes.n << 20;
		(void)oidc_fetched(o, &a, *now);
		break;
	case 5:
		/* A right document, so that the key set behind it is reached. */
		a.body = STR(
			"{\"issuer\":\"https://a.example\",\"jwks_uri\":\"https://a.example/k\"}");
		(void)oidc_fetched(o, &a, *now);
		break;
	default:
		(void)oidc_fetched(o, &a, *now);
	}
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct findings f;
	struct oidc_files files;
	uint64_t now = 1000 * NS_PER_S;
	struct rd r = rd_of(str_mem(data, size));

	crypto_setup();
	findings_init(&f);
	struct config *c = config_parse(STR(config), STR("t"), STR("/"), &f);
	if (c == NULL)
		abort();
	oidc_files_read(&files, c, &f);
	struct oidc *o = oidc_new(on_fetch, NULL);
	oidc_use(o, c, &files, now);
	for (unsigned i = 0; i < 64 && rd_left(&r) > 2; i++) {
		uint8_t what = rd_u8(&r);
		size_t n = rd_u16(&r);
		size_t left = rd_left(&r);

		step(o, what, rd_bytes(&r, n < left ? n : left), &now);
	}
	oidc_free(&o);
	oidc_files_free(&files);
	config_free(&c);
	findings_fini(&f);
	return 0;
}
