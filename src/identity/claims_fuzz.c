/*
 * claims_fuzz.c: foreign claims through every step; who comes out is within its limits and bears the
 * issuer's name.
 */
#include "base/clock.h"
#include "identity/claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n"
	"    - issuer: https://i\n      audience: [a]\n      mappings:\n"
	"      - when: { a: [x, 'y*z*'], b.c: 1 }\n"
	"        map: { kind: agent, subject: 'd/{s}', run: '{r?}', groups: ['{g}', 'x-{s}'] }\n"
	"      - map: { kind: human, subject: '{sub}', email: '{email?}', on_behalf_of: '{o.p.q?}',"
	" groups: '{groups?}', context: [c, d.e] }\n";

static const struct config_issuer *issuer(void) {
	static struct config *c;
	struct findings f;

	findings_init(&f);
	if (c == NULL)
		c = config_parse(STR(text), STR("t"), STR("/"), &f);
	assert(c != NULL);
	findings_fini(&f);
	return c->gateway.issuers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct arena *a = arena_new(256 * KIB);
	struct err e = { 0 };
	struct claims *c = claims_of(str_mem(data, size), &e);
	uint64_t expires;
	struct who w;

	if (c != NULL) {
		enum token_wrong wrong = claims_check(c, issuer(), (uint64_t)1700000000 * NS_PER_S,
		                                      &expires, &e);

		assert((wrong == TOKEN_FINE) == (e.code == 0));
		e = (struct err){ 0 };
		if (claims_map(c, issuer(), a, &w, &e) == TOKEN_FINE) {
			assert(str_starts(w.subject, STR("i:")) && w.subject.n > 2);
			assert(w.subject.n <= WHO_SUBJECT_MAX && w.group_count <= WHO_GROUPS_MAX);
		} else {
			assert(e.text[0] != '\0');
		}
	}
	claims_free(&c);
	arena_free(&a);
	return 0;
}
