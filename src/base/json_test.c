/* json_test.c: the writer, read back by jansson. */
#include "base/json.h"

#include <jansson.h>

#include "base/crypto.h"
#include "base/json_priv.h"
#include "base/test.h"

static json_t *parse(const struct buf *b) {
	json_error_t error;
	struct str s = buf_peek(b);
	json_t *j = json_loadb(s.p, s.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	if (j == NULL)
		test_note("jansson: %s at %d in %.*s", error.text, error.position, STR_ARG(s));
	return j;
}

TEST(json_places_commas) {
	struct buf b;

	buf_init(&b, 4096);
	struct jw j = jw_of(&b);

	jw_obj(&j);
	jw_kv_str(&j, "a", STR("x"));
	jw_key(&j, "b");
	jw_arr(&j);
	jw_u64(&j, UINT64_MAX);
	jw_i64(&j, INT64_MIN);
	jw_arr(&j);
	jw_arr_end(&j);
	jw_obj(&j);
	jw_obj_end(&j);
	jw_null(&j);
	jw_raw(&j, STR("1e3"));
	jw_arr_end(&j);
	jw_kv_bool(&j, "c", true);
	jw_kv_z(&j, "d", "z");
	jw_kv_u64(&j, "e", 1);
	jw_kv_i64(&j, "f", -1);
	jw_obj_end(&j);
	CHECK_EQ_STR(buf_peek(&b), STR("{\"a\":\"x\",\"b\":[18446744073709551615,"
	                               "-9223372036854775808,[],{},null,1e3],"
	                               "\"c\":true,\"d\":\"z\",\"e\":1,\"f\":-1}"));
	CHECK_EQ_I(w_done(&b), 0);
	buf_fini(&b);
}

TEST(json_escapes) {
	struct buf b;

	buf_init(&b, 4096);
	struct jw j = jw_of(&b);

	jw_str(&j, STR("q\"b\\n\nt\t\b\f\r\x01\x1b[31m\x7f"));
	CHECK_EQ_STR(buf_peek(&b), STR("\"q\\\"b\\\\n\\nt\\t\\b\\f\\r\\u0001\\u001b[31m\\u007f\""));
	buf_clear(&b);
	j = jw_of(&b);
	/* umlaut, C1 control, right-to-left override, emoji, bad byte, cut sequence */
	jw_str(&j, STR("\xc3\xa4\xc2\x9b\xe2\x80\xae\xf0\x9f\x98\x80\xff\xe2\x82"));
	CHECK_EQ_STR(buf_peek(&b), STR("\"\xc3\xa4\\u009b\\u202e\xf0\x9f\x98\x80\xef\xbf\xbd"
	                               "\xef\xbf\xbd\xef\xbf\xbd\""));
	buf_fini(&b);
}

TEST(json_says_what_was_meant) {
	struct buf b;

	buf_init(&b, 1 << 20);
	for (unsigned turn = 0; turn < 300; turn++) {
		uint8_t raw[3000];
		size_t n = turn * 10;

		random_bytes(raw, n);
		for (size_t i = 0; i < n; i++)
			raw[i] &= turn % 2 == 0 ? 0x7f : 0xff;
		struct str s = str_mem(raw, n);
		struct jw j = jw_of(&b);

		jw_str(&j, s);
		json_t *got = parse(&b);

		REQUIRE(got != NULL);
		if (turn % 2 == 0)
			CHECK(str_eq(s, str_mem(json_string_value(got), json_string_length(got))));
		json_decref(got);
		buf_clear(&b);
	}
	buf_fini(&b);
}

TEST(json_bytes_keep_bytes) {
	struct buf b;

	buf_init(&b, 4096);
	struct jw j = jw_of(&b);

	jw_bytes(&j, STR("ok"));
	CHECK_EQ_STR(buf_peek(&b), STR("{\"text\":\"ok\"}"));
	buf_clear(&b);
	j = jw_of(&b);
	jw_bytes(&j, STR("\xff\xfe"));
	CHECK_EQ_STR(buf_peek(&b), STR("{\"base64\":\"//4=\"}"));
	buf_fini(&b);
}

TEST(json_stops_at_the_cap) {
	char text[200];

	memset(text, 'x', sizeof(text));
	for (size_t max = 1; max < 300; max++) {
		struct buf b;

		buf_init(&b, max);
		struct jw j = jw_of(&b);

		jw_obj(&j);
		jw_kv_str(&j, "k", str_mem(text, sizeof(text)));
		jw_kv_u64(&j, "n", 12345);
		jw_obj_end(&j);
		CHECK_EQ_I(w_done(&b), max >= 218 ? 0 : H_ELIMIT);
		buf_fini(&b);
	}
	/* longer than the steps in which strings are written */
	struct buf b;
	auto_free char *big = xmalloc(50000);

	memset(big, '\n', 50000);
	buf_init(&b, 200000);
	struct jw j = jw_of(&b);

	jw_str(&j, str_mem(big, 50000));
	CHECK_EQ_U(b.len, 100002);
	buf_fini(&b);
}

TEST(json_escape_never_splits) {
	struct str s = STR("a\xe2\x82\xac\"");
	char out[16];

	for (size_t cap = 0; cap <= 6; cap++) {
		size_t used;
		size_t n = json_escape(out, cap, s, &used);

		CHECK_EQ_U(n, cap < 1 ? 0 : cap < 4 ? 1 : cap < 6 ? 4 : 6);
		CHECK_EQ_U(used, n == 0 ? 0 : n == 1 ? 1 : n == 4 ? 4 : 5);
	}
}

TEST_MAIN
