/*
 * journal_fuzz.c: any bytes as a segment: block 0 is made right, so that the scan is reached; the
 * input chooses places and contents of batches, some with a right CRC.
 */
#include "record/journal_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEG = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static uint8_t image[SEG];
	struct seg_head h = { .size = SEG, .number = 1, .first_batch = 5 };
	struct seg_scan s;
	struct batch b;
	size_t end = JOURNAL_BLOCK;
	uint64_t number = 5;

	(void)seg_head_parse(&h, str_mem(data, size));
	h = (struct seg_head){ .size = SEG, .number = 1, .first_batch = 5 };
	memset(image, 0, sizeof(image));
	seg_head_encode(image, &h);
	if (size > 8)
		memcpy(image + JOURNAL_BLOCK, data, MIN(size, (size_t)SEG - JOURNAL_BLOCK));
	/* The first eight bytes choose batches that are right. */
	for (size_t i = 0; i < MIN(size, (size_t)8); i++) {
		struct batch_head bh = { .payload_len = (uint32_t)(data[i] & 0x7f) * 64,
			                 .number = number };

		if ((data[i] & 0x80) == 0 || end + batch_size(bh.payload_len) > SEG)
			continue;
		end += batch_finish(image + end, &bh);
		number++;
	}
	if (seg_scan_begin(&s, str_mem(image, size % 2 == 0 ? SEG : MIN(size * 16, (size_t)SEG))) !=
	    1)
		return 0;
	do {
		while (seg_scan_next(&s, &b) == 1) {
			assert(b.head.number + 1 == s.next);
			assert(b.payload.p + b.payload.n <= (const char *)image + s.image.n);
		}
		assert(seg_scan_why(&s)[0] != '\0');
		if (seg_scan_beyond(&s, &b) == 0)
			break;
		assert(b.offset >= s.at && b.head.number >= s.next);
		s.at = b.offset;
		s.next = b.head.number;
	} while (s.at < s.image.n);
	return 0;
}
