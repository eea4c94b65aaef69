/*
 * journal_format_test.c: segment and batch headers, and what a scan makes of damage.
 */
#include "record/journal_format.h"

#include "base/test.h"

enum { SEG = 64 * 1024 };

static struct seg_head seg_of(uint64_t number, uint64_t first_batch) {
	struct seg_head h = { .size = SEG,
		              .number = number,
		              .node = { 1, 2, 3 },
		              .salt = { 9, 9, (uint8_t)number },
		              .wall_ns = 77,
		              .first_batch = first_batch,
		              .first_leaf = 5 };
	return h;
}

/* Puts a batch of n payload bytes; returns where the next one starts. */
static size_t put_batch(uint8_t *seg, size_t at, const struct seg_head *s, uint64_t number,
                        size_t n) {
	struct batch_head h = { .payload_len = (uint32_t)n,
		                .frames = 1,
		                .number = number,
		                .durable_upto = number - 1,
		                .mono_ns = 1000 + number };

	memcpy(h.salt, s->salt, sizeof(h.salt));
	memset(seg + at + JOURNAL_BATCH_HEAD, (int)number, n);
	return at + batch_finish(seg + at, &h);
}

static uint8_t *make_segment(const struct seg_head *s) {
	uint8_t *seg = xcalloc(1, SEG);
	size_t at = JOURNAL_BLOCK;

	seg_head_encode(seg, s);
	at = put_batch(seg, at, s, 10, 100);
	at = put_batch(seg, at, s, 11, 5000);
	at = put_batch(seg, at, s, 12, JOURNAL_BLOCK - JOURNAL_BATCH_HEAD);
	(void)put_batch(seg, at, s, 13, 1);
	return seg;
}

static unsigned scan_all(struct seg_scan *s, const uint8_t *seg) {
	struct batch b;
	unsigned n = 0;

	if (seg_scan_begin(s, str_mem(seg, SEG)) != 1)
		return 0;
	while (seg_scan_next(s, &b) == 1) {
		CHECK_EQ_U(b.head.number, 10 + n);
		CHECK_EQ_U((uint8_t)b.payload.p[0], 10 + n);
		n++;
	}
	return n;
}

TEST(scan) {
	struct seg_head h = seg_of(3, 10), got;
	uint8_t *seg = make_segment(&h);
	struct seg_scan s;
	struct batch b;

	REQUIRE(seg_head_parse(&got, str_mem(seg, SEG)) == 1);
	CHECK(memcmp(&got, &h, sizeof(h)) == 0);
	CHECK_EQ_U(scan_all(&s, seg), 4);
	CHECK_EQ_U(s.at, 6 * JOURNAL_BLOCK);
	CHECK(str_is(str_of(seg_scan_why(&s)), "zeros"));
	CHECK_EQ_I(seg_scan_beyond(&s, &b), 0);
	free(seg);
}

TEST(unused_segment) {
	uint8_t *seg = xcalloc(1, SEG);
	struct seg_head h;

	CHECK_EQ_I(seg_head_parse(&h, str_mem(seg, SEG)), 0);
	CHECK(seg_head_parse(&h, str_mem(seg, 100)) < 0);
	free(seg);
}

/* All of block 0 is covered; all of a batch is covered, padding too. */
TEST(every_flipped_byte_is_refused) {
	struct seg_head h = seg_of(3, 10), got;
	uint8_t *seg = make_segment(&h);
	unsigned accepted = 0;

	for (size_t i = 0; i < JOURNAL_BLOCK; i++) {
		seg[i] ^= 0x40;
		accepted += seg_head_parse(&got, str_mem(seg, SEG)) >= 0;
		seg[i] ^= 0x40;
	}
	CHECK_EQ_U(accepted, 0);
	for (size_t i = JOURNAL_BLOCK; i < 6 * JOURNAL_BLOCK; i++) {
		static const unsigned batch_of_block[] = { 0, 0, 1, 1, 2, 3 };
		struct seg_scan s;

		seg[i] ^= 0x01;
		accepted += scan_all(&s, seg) != batch_of_block[i / JOURNAL_BLOCK];
		seg[i] ^= 0x01;
	}
	CHECK_EQ_U(accepted, 0);
	free(seg);
}

TEST(later_batches_are_found) {
	struct seg_head h = seg_of(3, 10);
	uint8_t *seg = make_segment(&h);
	struct seg_scan s;
	struct batch b;

	seg[2 * JOURNAL_BLOCK + 200] ^= 1; /* batch 11 */
	CHECK_EQ_U(scan_all(&s, seg), 1);
	CHECK(str_is(str_of(seg_scan_why(&s)), "crc"));
	REQUIRE(seg_scan_beyond(&s, &b) == 1);
	CHECK_EQ_U(b.head.number, 12);
	CHECK_EQ_U(b.head.durable_upto, 11);
	free(seg);
}

TEST(an_earlier_use_never_parses) {
	struct seg_head old = seg_of(2, 10), now = seg_of(6, 10);
	uint8_t *seg = make_segment(&old);
	struct seg_scan s;
	struct batch b;

	seg_head_encode(seg, &now);
	CHECK_EQ_U(scan_all(&s, seg), 0);
	CHECK(str_is(str_of(seg_scan_why(&s)), "another use"));
	CHECK_EQ_I(seg_scan_beyond(&s, &b), 0);
	free(seg);
}

TEST(a_short_image) {
	struct seg_head h = seg_of(3, 10);
	uint8_t *seg = make_segment(&h);

	for (size_t n = 0; n < 7 * JOURNAL_BLOCK; n += 512) {
		struct seg_scan s;
		struct batch b;

		if (seg_scan_begin(&s, str_mem(seg, n)) != 1)
			continue;
		while (seg_scan_next(&s, &b) == 1)
			CHECK(b.payload.p + b.payload.n <= (char *)seg + n);
		CHECK_EQ_I(seg_scan_beyond(&s, &b), 0);
	}
	free(seg);
}

TEST_MAIN
