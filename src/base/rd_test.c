/* rd_test.c: the sticky reader. */
#include "base/rd.h"

#include "base/buf.h"
#include "base/test.h"

TEST(rd_reads_both_orders) {
	struct rd r = rd_of(STR("\x01\x02\x03\x02\x03\x04\x05\x06\x07\x04\x05\x06\x07"));

	CHECK_EQ_U(rd_u8(&r), 1);
	CHECK_EQ_U(rd_u16(&r), 0x0302);
	CHECK_EQ_U(rd_be16(&r), 0x0203);
	CHECK_EQ_U(rd_u32(&r), 0x07060504);
	CHECK_EQ_U(rd_be32(&r), 0x04050607);
	CHECK_EQ_I(rd_done(&r), 0);
	r = rd_of(STR("\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08"));
	CHECK_EQ_U(rd_u64(&r), 0x0807060504030201U);
	CHECK_EQ_U(rd_be64(&r), 0x0102030405060708U);
	CHECK_EQ_I(rd_done(&r), 0);
}

TEST(rd_sticks_after_shortage) {
	struct rd r = rd_of(STR("\x01\x02\x03"));

	CHECK_EQ_U(rd_u8(&r), 1);
	CHECK_EQ_U(rd_u32(&r), 0);
	CHECK_EQ_U(rd_u8(&r), 0);
	CHECK_EQ_U(rd_left(&r), 0);
	CHECK(rd_bytes(&r, 1).p == NULL);
	CHECK_EQ_I(rd_done(&r), H_ETRUNC);
}

TEST(rd_leftover_is_malformed) {
	struct rd r = rd_of(STR("ab"));

	rd_skip(&r, 1);
	CHECK_EQ_I(rd_done(&r), H_EFORMAT);
	rd_skip(&r, 1);
	CHECK_EQ_I(rd_done(&r), 0);
	rd_fail(&r);
	CHECK_EQ_I(rd_done(&r), H_EFORMAT);
}

TEST(rd_strings) {
	struct rd r = rd_of(STR("ab\0\0\x03xyzq"));

	CHECK_EQ_STR(rd_cstr(&r), STR("ab"));
	CHECK_EQ_STR(rd_cstr(&r), STR_NONE);
	CHECK_EQ_STR(rd_vstr(&r), STR("xyz"));
	CHECK_EQ_U(rd_cstr(&r).n, 0);
	CHECK_EQ_I(rd_done(&r), H_ETRUNC);
	r = rd_of(STR_NONE);
	CHECK_EQ_I(rd_done(&r), 0);
	CHECK_EQ_U(rd_cstr(&r).n, 0);
	CHECK_EQ_I(rd_done(&r), H_ETRUNC);
	r = rd_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01z"));
	CHECK_EQ_U(rd_vstr(&r).n, 0);
	CHECK_EQ_I(rd_done(&r), H_ETRUNC);
}

TEST(rd_varint_one_spelling) {
	static const struct {
		struct str raw;
		int rc;
		uint64_t v;
	} cases[] = {
		{ { "\x00", 1 }, 0, 0 },
		{ { "\x7f", 1 }, 0, 127 },
		{ { "\x80\x01", 2 }, 0, 128 },
		{ { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10 }, 0, UINT64_MAX },
		{ { "\x80", 1 }, H_ETRUNC, 0 },
		{ { "\x80\x00", 2 }, H_EFORMAT, 0 },
		{ { "\xff\x80\x00", 3 }, H_EFORMAT, 0 },
		{ { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 }, H_EFORMAT, 0 },
		{ { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81", 10 }, H_EFORMAT, 0 },
		{ { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\x01", 11 }, H_EFORMAT, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rd r = rd_of(cases[i].raw);

		CHECK_EQ_U(rd_varint(&r), cases[i].v);
		CHECK_EQ_I(rd_done(&r), cases[i].rc);
	}
}

TEST(rd_varint_round_trip) {
	struct buf b;

	buf_init(&b, 64);
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int d = -1; d <= 1; d++) {
			uint64_t v = ((uint64_t)1 << bit) + (uint64_t)d;

			w_varint(&b, v);
			w_svarint(&b, (int64_t)v);
			w_svarint(&b, -(int64_t)(v >> 1));
			struct rd r = rd_of(buf_peek(&b));

			CHECK_EQ_U(rd_varint(&r), v);
			CHECK_EQ_I(rd_svarint(&r), (int64_t)v);
			CHECK_EQ_I(rd_svarint(&r), -(int64_t)(v >> 1));
			CHECK_EQ_I(rd_done(&r), 0);
			buf_clear(&b);
		}
	}
	w_svarint(&b, INT64_MIN);
	struct rd r = rd_of(buf_peek(&b));

	CHECK_EQ_I(rd_svarint(&r), INT64_MIN);
	CHECK_EQ_I(w_done(&b), 0);
	buf_fini(&b);
}

TEST_MAIN
