/* when_fuzz.c: any text at any time is a moment of the next centuries, or none. */
#include "main/when.h"

#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	uint64_t now = 0, v = 0;

	if (size < 8)
		return 0;
	memcpy(&now, data, 8);
	if (when_parse(str_mem(data + 8, size - 8), now, &v) == 0)
		assert(v <= (uint64_t)INT64_MAX);
	return 0;
}
