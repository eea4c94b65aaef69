/* tap_fuzz.c: any bytes as what a tap sends; items never reach beyond what is there. */
#include "record/frame.h"
#include "record/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct str in = str_mem(data, size);
	struct tap_item it;
	int n;

	while ((n = tap_item_parse(&it, in)) > 0) {
		struct frame f;

		assert((size_t)n <= in.n && it.body.n == (size_t)n - TAP_HEAD_SIZE);
		if (it.kind == TAP_FRAME)
			(void)!frame_parse(&f, it.body);
		in = str_from(in, (size_t)n);
	}
	return 0;
}
