/* jwks_fuzz.c: foreign key sets; those that parse are used to verify, which must only never crash. */
#include "identity/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct err e = { 0 };
	struct jwks *set = jwks_parse(str_mem(data, size), &e);

	assert((set == NULL) == (e.code < 0));
	if (set == NULL)
		return 0;
	assert(jwks_count(set) >= 1 && jwks_count(set) <= JWKS_KEYS_MAX);
	for (unsigned i = 0; i < JWT_ALG_COUNT; i++) {
		struct jwt t = { .alg = (enum jwt_alg)i, .input = STR("a.b"), .sig_len = 64 };
		enum token_wrong wrong = jwks_verify(set, &t, &e);

		memset(t.sig, 1, t.sig_len);
		t.kid = STR("a");
		wrong = wrong == TOKEN_FINE ? wrong : jwks_verify(set, &t, &e);
		(void)wrong;
	}
	jwks_free(&set);
	return 0;
}
