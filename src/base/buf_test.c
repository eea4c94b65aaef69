/* buf_test.c: the byte queue against a model, and the writers. */
#include "base/buf.h"

#include "base/rd.h"
#include "base/test.h"

TEST(buf_grows_and_gives_back) {
	struct buf b;

	buf_init(&b, 4096);
	CHECK(b.p == NULL);
	CHECK_EQ_I(buf_append(&b, STR("x")), 0);
	CHECK_EQ_U(b.len, 1);
	CHECK_EQ_STR(buf_peek(&b), STR("x"));
	buf_trim(&b, true);
	CHECK(b.p != NULL);
	buf_consume(&b, 1);
	buf_trim(&b, true);
	CHECK(b.p == NULL);
	CHECK_EQ_U(b.cap, 0);
	buf_fini(&b);
}

TEST(buf_never_exceeds_max) {
	struct buf b;

	buf_init(&b, 1000);
	CHECK(buf_reserve(&b, 1001) == NULL);
	CHECK(buf_reserve(&b, 1000) != NULL);
	buf_commit(&b, 1000);
	CHECK_EQ_U(b.cap, 1000);
	CHECK(buf_reserve(&b, 1) == NULL);
	CHECK_EQ_I(buf_append(&b, STR("x")), H_ELIMIT);
	CHECK_EQ_U(b.len, 1000);
	buf_consume(&b, 10);
	CHECK_EQ_I(buf_append(&b, STR("0123456789")), 0);
	CHECK_EQ_U(b.len, 1000);
	CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
	buf_fini(&b);
}

/* A linear congruential step: the test must be the same on every run. */
static uint32_t step(uint64_t *seed) {
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*seed >> 33);
}

TEST(buf_is_a_queue) {
	uint64_t seed = 42;
	uint8_t next_in = 0, next_out = 0;
	size_t held = 0;
	struct buf b;
	bool same = true;

	buf_init(&b, 3000);
	for (unsigned turn = 0; turn < 20000; turn++) {
		size_t n = step(&seed) % 200;

		if (step(&seed) % 2 == 0) {
			uint8_t *p = buf_reserve(&b, n);

			same = same && (p != NULL) == (held + n <= 3000);
			for (size_t i = 0; p != NULL && i < n; i++)
				p[i] = next_in++;
			buf_commit(&b, p != NULL ? n : 0);
			held += p != NULL ? n : 0;
		} else {
			n = MIN(n, held);
			struct str s = buf_peek(&b);

			for (size_t i = 0; i < n; i++)
				same = same && (uint8_t)s.p[i] == next_out++;
			buf_consume(&b, n);
			held -= n;
		}
		same = same && b.len == held && b.cap <= b.max && b.off + b.len <= b.cap;
	}
	CHECK(same);
	buf_fini(&b);
}

TEST(buf_writers_are_sticky) {
	struct buf b;

	buf_init(&b, 8);
	w_u32(&b, 1);
	w_u64(&b, 2); /* does not fit: nothing of it is written */
	w_u8(&b, 3);  /* would fit, but comes after the failure */
	CHECK_EQ_U(b.len, 4);
	CHECK_EQ_I(w_done(&b), H_ELIMIT);
	buf_clear(&b);
	CHECK_EQ_I(w_done(&b), 0);
	w_cstr(&b, STR("a\0b"));
	CHECK_EQ_I(w_done(&b), H_ELIMIT);
	buf_clear(&b);
	w_vstr(&b, STR("12345678"));
	CHECK_EQ_I(w_done(&b), H_ELIMIT);
	buf_clear(&b);
	w_fmt(&b, "%d", 123456789);
	CHECK_EQ_I(w_done(&b), H_ELIMIT);
	CHECK_EQ_U(b.len, 0);
	buf_clear(&b);
	w_zero(&b, 9);
	CHECK_EQ_I(w_done(&b), H_ELIMIT);
	buf_fini(&b);
}

TEST(buf_writers_write) {
	struct buf b;

	buf_init(&b, 1000);
	w_u8(&b, 1);
	w_u16(&b, 0x0203);
	w_be16(&b, 0x0203);
	w_u32(&b, 0x04050607);
	w_be32(&b, 0x04050607);
	w_u64(&b, 0x08090a0b0c0d0e0fU);
	w_be64(&b, 0x08090a0b0c0d0e0fU);
	w_varint(&b, 300);
	w_svarint(&b, -2);
	w_bytes(&b, STR("raw"));
	w_cstr(&b, STR("z"));
	w_vstr(&b, STR("v"));
	w_zero(&b, 2);
	w_fmt(&b, "%s=%d", "k", 7);
	CHECK_EQ_I(w_done(&b), 0);
	CHECK_EQ_STR(buf_peek(&b),
	             STR("\x01\x03\x02\x02\x03\x07\x06\x05\x04\x04\x05\x06\x07"
	                 "\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
	                 "\xac\x02\x03"
	                 "rawz\0\x01v\0\0k=7"));
	w_patch_be32(&b, 1, 0xa0b0c0d0);
	struct rd r = rd_of(buf_peek(&b));

	CHECK_EQ_U(rd_u8(&r), 1);
	CHECK_EQ_U(rd_be32(&r), 0xa0b0c0d0);
	buf_clear(&b);
	w_fmt(&b, "%0*d", 700, 5); /* longer than the buffer that w_fmt tries first */
	CHECK_EQ_U(b.len, 700);
	CHECK_EQ_STR(str_from(buf_peek(&b), 698), STR("05"));
	buf_fini(&b);
}

TEST_MAIN
