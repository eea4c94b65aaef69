/* text_test.c: nothing recorded reaches a terminal raw; tables line up. */
#include "main/text.h"

#include "base/test.h"

static void check_safe(struct str in, enum text_mode mode, struct str want) {
	struct buf b;
	buf_init(&b, 64 * KIB);
	text_safe(&b, in, mode);
	CHECK_EQ_STR(buf_peek(&b), want);
	buf_fini(&b);
}

TEST(safe_leaves_plain_text_alone) {
	check_safe(STR("select 'naïve', '日本', '🎻' \\ x"), TEXT_LINE,
	           STR("select 'naïve', '日本', '🎻' \\ x"));
	check_safe(STR_NONE, TEXT_LINE, STR(""));
}

TEST(safe_escapes_controls) {
	check_safe(STR("a\033[2Jb"), TEXT_LINE, STR("a\\x1b[2Jb"));
	check_safe(STR("\x7f\x01\r"), TEXT_LINE, STR("\\x7f\\x01\\r"));
	check_safe(STR("x\ny\tz"), TEXT_LINE, STR("x\\ny\\tz"));
	check_safe(STR("x\ny\tz"), TEXT_BLOCK, STR("x\ny\tz"));
	check_safe(STR("\xc2\x9b"
	               "31m"),
	           TEXT_LINE, STR("\\u{9b}31m"));
	check_safe(str_mem("a\0b", 3), TEXT_LINE, STR("a\\x00b"));
}

TEST(safe_escapes_what_hides_or_reorders) {
	check_safe(STR("a\u202eb"), TEXT_BLOCK, STR("a\\u{202e}b"));
	check_safe(STR("\u200b\u2066\ufeff\u2028"), TEXT_LINE,
	           STR("\\u{200b}\\u{2066}\\u{feff}\\u{2028}"));
	check_safe(STR("\U000e0041"), TEXT_LINE, STR("\\u{e0041}"));
}

TEST(safe_escapes_what_is_not_utf8) {
	check_safe(STR("\xff\xc3"), TEXT_LINE, STR("\\xff\\xc3"));
	check_safe(STR("\xed\xa0\x80"), TEXT_LINE, STR("\\xed\\xa0\\x80"));
	check_safe(STR("\xc0\xaf"), TEXT_LINE, STR("\\xc0\\xaf"));
}

TEST(safe_output_never_holds_a_control_byte) {
	for (unsigned a = 0; a < 256; a++)
		for (unsigned c = 0; c < 256; c++) {
			char in[3] = { (char)a, (char)c, 'x' };
			struct buf b;
			buf_init(&b, 256);
			text_safe(&b, str_mem(in, 3), TEXT_LINE);
			struct str out = buf_peek(&b);
			bool ok = str_utf8_bad(out) == out.n;
			for (size_t i = 0; i < out.n; i++)
				ok = ok && (uint8_t)out.p[i] >= 0x20 && (uint8_t)out.p[i] != 0x7f;
			if (!ok)
				CHECK(ok);
			buf_fini(&b);
		}
	CHECK(true);
}

TEST(width_counts_columns) {
	CHECK_EQ_U(text_width(STR("abc")), 3);
	CHECK_EQ_U(text_width(STR("日本")), 4);
	CHECK_EQ_U(text_width(STR("e\u0301")), 1);
	CHECK_EQ_STR(text_fit(STR("a日b"), 2), STR("a"));
	CHECK_EQ_STR(text_fit(STR("a日b"), 3), STR("a日"));
}

TEST(table_lines_up_and_cuts_the_last_column) {
	struct table *t = table_new((const char *const[]){ "id", "rows", "statement" }, 3);
	table_right(t, 1);
	table_cell(t, STR("k7m2"));
	table_cell_fmt(t, "%d", 5);
	table_cell(t, STR("select 1\nfrom x"));
	table_cell(t, STR("日"));
	table_cell_fmt(t, "%d", 1234567);
	table_cell(t, STR("update"));
	struct buf b;
	buf_init(&b, 4096);
	table_print(t, &b, 0, false);
	CHECK_EQ_STR(
		buf_peek(&b),
		STR("id       rows  statement\nk7m2        5  select 1\\nfrom x\n日    1234567  update\n"));
	buf_clear(&b);
	table_print(t, &b, 27, false);
	CHECK_EQ_STR(
		buf_peek(&b),
		STR("id       rows  statement\nk7m2        5  select 1\\nf…\n日    1234567  update\n"));
	buf_clear(&b);
	table_clear(t);
	CHECK_EQ_U(table_rows(t), 0);
	table_print(t, &b, 0, false);
	CHECK_EQ_STR(buf_peek(&b), STR("id  rows  statement\n"));
	buf_fini(&b);
	table_free(&t);
}

/* A target may name its columns as it likes, and there may be 1664 of them. */
TEST(table_heads_are_recorded_text_too) {
	enum { COLUMNS = 2000 };
	auto_free struct str *heads = xcalloc(COLUMNS, sizeof(*heads));
	for (size_t i = 0; i < COLUMNS; i++)
		heads[i] = STR("\033[2J");
	struct table *t = table_new_str(heads, COLUMNS);
	struct buf b;
	for (size_t i = 0; i < COLUMNS; i++)
		table_cell(t, STR("a value that is wide"));
	buf_init(&b, MIB);
	table_print(t, &b, 80, false);
	CHECK(str_find(buf_peek(&b), '\033') == b.len);
	CHECK(str_starts(buf_peek(&b), STR("\\x1b[2J")));
	buf_fini(&b);
	table_free(&t);
}

TEST(table_shrinks_the_widest_columns) {
	struct table *t = table_new((const char *const[]){ "a", "b", "c" }, 3);
	table_cell(t, STR("1"));
	table_cell(t, STR("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
	table_cell(t, STR("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"));
	struct buf b;
	buf_init(&b, 4096);
	table_print(t, &b, 30, false);
	CHECK_EQ_STR(buf_peek(&b), STR("a  b             c\n1  xxxxxxxxxxx…  yyyyyyyyyyy…\n"));
	buf_fini(&b);
	table_free(&t);
}

TEST(json_hides_nothing) {
	struct buf b;
	buf_init(&b, 4096);
	text_json(&b, STR("{\"a\": \"x\u202e\x7f\xc2\x85\U000e0041é日\"}\n"));
	CHECK_EQ_STR(buf_peek(&b), STR("{\"a\": \"x\\u202e\\u007f\\u0085\\udb40\\udc41é日\"}\n"));
	buf_fini(&b);
}

TEST_MAIN
