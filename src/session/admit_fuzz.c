/* admit_fuzz.c: what a worker or keeper that was taken over may send: no crash, and what parses
 * writes and parses again to the same bytes. */
#include "session/admit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct admit_msg a;
	struct grant_msg g;
	struct str in = str_mem(data, size);
	struct buf b;

	buf_init(&b, 4 * MIB);
	if (admit_get(&a, in) == 0) {
		admit_put(&b, &a);
		if (!str_eq(buf_peek(&b), in))
			abort();
	}
	buf_clear(&b);
	if (grant_get(&g, in) == 0) {
		grant_put(&b, &g);
		if (!str_eq(buf_peek(&b), in))
			abort();
	}
	buf_fini(&b);
	return 0;
}
