/* who_fuzz.c: identities from foreign JSON; what parses is written and parses to the same. */
#include "identity/token.h"
#include "identity/who.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct arena *a = arena_new(256 * KIB);
	uint8_t hash[SHA256_SIZE];
	struct buf one, two;
	struct who w;
	struct err e = { 0 };

	if (token_hash(hash, str_mem(data, size)) == 0)
		assert(size == TOKEN_LEN);
	if (who_parse(&w, a, str_mem(data, size), &e) < 0) {
		assert(e.code < 0);
		arena_free(&a);
		return 0;
	}
	buf_init(&one, WHO_JSON_MAX * 8);
	buf_init(&two, WHO_JSON_MAX * 8);
	who_put(&one, &w);
	if (one.len <= WHO_JSON_MAX) {
		int rc = who_parse(&w, a, buf_peek(&one), &e);

		assert(rc == 0);
		who_put(&two, &w);
		assert(str_eq(buf_peek(&one), buf_peek(&two)));
	}
	buf_fini(&one);
	buf_fini(&two);
	arena_free(&a);
	return 0;
}
