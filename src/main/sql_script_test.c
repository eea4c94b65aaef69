/*
 * sql_script_test.c: what psql would read must be the recorded statement and nothing else.
 */
#include "main/sql_script.h"

#include "base/test.h"

static const char *why_of(const char *text, bool is_standard, struct buf *out) {
	struct view_command c = { .has_text = true, .text = str_of(text) };
	struct buf scratch;
	buf_init(&scratch, MIB);
	buf_clear(out);
	const char *why = sql_script_statement(out, &scratch, &c, is_standard);
	buf_fini(&scratch);
	return why;
}

static void check(const char *text, const char *want) {
	struct buf out;
	buf_init(&out, MIB);
	CHECK(why_of(text, true, &out) == NULL);
	CHECK_EQ_STR(buf_peek(&out), str_of(want));
	buf_fini(&out);
}

static void check_refused(const char *text, bool is_standard) {
	struct buf out;
	buf_init(&out, MIB);
	CHECK(why_of(text, is_standard, &out) != NULL);
	buf_fini(&out);
}

TEST(statements) {
	check("select 1", "select 1;\n");
	check("select 'a''b\\c', \"q\"\"x\"", "select 'a''b\\c', \"q\"\"x\";\n");
	check("select E'a\\'b\\\\', U&'x'", "select E'a\\'b\\\\', U&'x';\n");
	check("select a[1:n], b::int, c := 2", "select a[1: n], b::int, c := 2;\n");
	check("select $$ \\! it's $$, $x$ $$ $x$", "select $$ \\! it's $$, $x$ $$ $x$;\n");
	check("select 1 -- end", "select 1 -- end\n;\n");
	check("/* a /* b */ \\! */ select a$1", "/* a /* b */ \\! */ select a$1;\n");
	check("select 'it is \\! fine'", "select 'it is \\! fine';\n");
}

TEST(refusals) {
	check_refused("select 1 \\! true", true);
	check_refused("\\! true", true);
	check_refused("select 'open", true);
	check_refused("select \"open", true);
	check_refused("select $a$ open", true);
	check_refused("select /* open", true);
	check_refused("select $1", true);
	check_refused("select 'a\\' \\! true --'", false);
	check_refused("select '\xff'", true);
	check_refused("alter role x password '[redacted 12 bytes, credential]'", true);
}

TEST(parameters) {
	struct buf out, scratch, body;
	struct pg_bind bind;
	buf_init(&out, MIB);
	buf_init(&scratch, MIB);
	buf_init(&body, MIB);
	w_bytes(&body, str_mem("\0\0\0\1\0\0\0\3\0\0\0\4it's\xff\xff\xff\xff\0\0\0\3a\\b\0\0", 29));
	CHECK(pg_bind_parse(&bind, buf_peek(&body)) == 0);
	struct view_command c = {
		.has_text = true,
		.text = STR("select $1, $2, '$3', $3"),
		.has_params = true,
		.params = bind.params,
		.param_formats = bind.param_formats,
		.param_types = { .count = 2, .raw = str_mem("\0\0\0\x19\0\0\0\x17", 8) },
	};
	const char *why = sql_script_statement(&out, &scratch, &c, true);
	CHECK(why == NULL);
	CHECK_EQ_STR(buf_peek(&out),
	             STR("select ('it''s'::text), (NULL::int4), '$3', (E'a\\\\b');\n"));
	c.text = STR("select $4");
	buf_clear(&out);
	CHECK(sql_script_statement(&out, &scratch, &c, true) != NULL);
	buf_fini(&out);
	buf_fini(&scratch);
	buf_fini(&body);
}

static struct copy_scan scanned(const char *text) {
	struct copy_scan s = { .column = 0 };
	for (const char *p = text; *p != '\0'; p++)
		copy_scan(&s, str_mem(p, 1));
	return s;
}

TEST(copy_data) {
	CHECK(!scanned("1\ta\n2\t\\.x\n").is_bad);
	CHECK(!scanned("1\n\\.\n").is_bad && scanned("1\n\\.\n").has_ended);
	CHECK(scanned("1\n\\.\n\\! true\n").is_bad);
	CHECK(scanned("\\.\r\nx").is_bad);
	CHECK(!scanned("x\\.\ny\n").is_bad);
	CHECK(scanned("x\n\\.").column == 2);
	struct copy_scan s = { .column = 0 };
	copy_scan(&s, str_mem("PGCOPY\n\xff\r\n\0", 11));
	CHECK(s.is_bad);
}

TEST_MAIN
