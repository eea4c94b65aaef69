/* jwt_fuzz.c: foreign bytes as tokens; nothing that parses verifies with a key that never signed. */
#include "identity/idp_fake.h"
#include "identity/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct jwks *keys(void) {
	static struct jwks *set;
	struct idp_key k[2];
	struct err e = { 0 };
	struct buf json;

	if (set != NULL)
		return set;
	idp_key_make(&k[0], JWT_ES256, "a", 0);
	idp_key_make(&k[1], JWT_RS256, "b", 2048);
	buf_init(&json, MIB);
	idp_jwks(&json, k, 2);
	set = jwks_parse(buf_peek(&json), &e);
	assert(set != NULL);
	buf_fini(&json);
	idp_key_free(&k[0]);
	idp_key_free(&k[1]);
	return set;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct arena *a = arena_new(256 * KIB);
	struct str token = str_mem(data, size);
	struct err e = { 0 };
	struct jwt t;

	if (jwt_parse(&t, a, token, &e) == TOKEN_FINE) {
		assert(t.input.n < token.n && t.sig_len <= sizeof(t.sig));
		enum token_wrong wrong = jwks_verify(keys(), &t, &e);

		assert(wrong != TOKEN_FINE);
	}
	assert(e.code != 0 && e.text[0] != '\0');
	arena_free(&a);
	return 0;
}
