/* receipt_fuzz.c: what parses as a receipt is written as it was. */
#include "record/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct receipt r;
	char text[RECEIPT_TEXT_SIZE];

	if (receipt_parse(&r, str_mem(data, size)) == 0) {
		receipt_text(text, &r);
		assert(str_eq(str_of(text), str_mem(data, size)));
	}
	return 0;
}
