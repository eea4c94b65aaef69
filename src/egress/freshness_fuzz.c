/* freshness_fuzz.c: foreign header lines; more of them that forbid never lengthen a lifetime. */
#include "egress/freshness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct str rest = str_mem(data, size);
	struct freshness f = { 0 }, longer;
	int64_t t;

	while (rest.n != 0) {
		struct str line = str_cut(&rest, '\n');

		if (http_date_parse(line, &t) == 0)
			assert(line.n == 29);
		freshness_line(&f, line);
	}
	uint32_t left = freshness_left(&f, 784111777);
	longer = f;
	freshness_line(&longer, STR("Age: 1"));
	assert(freshness_left(&longer, 784111777) <= left);
	freshness_line(&longer, STR("Cache-Control: max-age=7"));
	assert(freshness_left(&longer, 784111777) <= 7);
	freshness_line(&longer, STR("Cache-Control: no-store"));
	assert(freshness_left(&longer, 784111777) == 0);
	return 0;
}
