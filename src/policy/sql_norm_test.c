/*
 * sql_norm_test.c: pairs of a text and its normal form; words.
 */
#include "policy/sql_norm.h"

#include "base/test.h"

static void same(const char *text, const char *normal) {
	struct buf b;

	buf_init(&b, 4 * KIB);
	CHECK(sql_norm(str_of(text), &b) == 0);
	CHECK_EQ_STR(buf_peek(&b), str_of(normal));
	buf_fini(&b);
}

TEST(norm_values) {
	same("SELECT 1", "select ?");
	same("select 'a''b', E'\\'', $$x$$, B'01', x'ff', 1.5e3", "select ?, ?, ?, ?, ?, ?");
	same("SELECT *  FROM Orders WHERE id IN (1, 2, 3) AND name='x'   -- why",
	     "select * from orders where id in (?) and name = ?");
	same("select * from t where id = $1", "select * from t where id = $1");
	same("select * from t where id in ($1,$2)", "select * from t where id in ($1, $2)");
	same("select -1, a - 1, a-1, (-1), a = -1", "select ?, a - ?, a - ?, (?), a = ?");
	same("select f(1, a, 2, 3)", "select f(?, a, ?, ?)");
	same("select - a, (- a), (-1, -2, - b)", "select - a, (- a), (?, - b)");
	same("select array[1,2,3], '{1}'::int[]", "select array[?], ?::int[]");
	same("select 'open", "select ?");
}

TEST(norm_shape) {
	same("", "");
	same(" /* a /* b */ c */ -- d", "");
	same("INSERT INTO t VALUES (1,'a'),(2,'b') , (3, 'c');", "insert into t values (?)");
	same("insert into t values (1, a), (2, b)", "insert into t values (?, a), (?, b)");
	same("begin;select 1 ; ; commit;", "begin; select ?;; commit");
	same("select\"A b\" . c :: text,count( * )", "select \"A b\".c::text, count(*)");
	same("select a\n,\tb", "select a, b");
	same("UPDATE \xc3\x84pfel SET N=N+1", "update \xc3\x84pfel set n = n + ?");
	same("do $$ begin end $$", "do ?");
}

TEST(norm_is_stable) {
	static const char *const texts[] = { "select (1, -2), a-(-3) from \"b\" ;; x",
		                             "(1),(2),(3)",
		                             "values (1), (2)",
		                             "a,,1",
		                             "(1,,2)",
		                             "(-,1)",
		                             "f ( )" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct buf a, b;

		buf_init(&a, KIB);
		buf_init(&b, KIB);
		CHECK(sql_norm(str_of(texts[i]), &a) == 0);
		/* `?` is an operator to the lexer, so only texts without values stay as they are. */
		CHECK(sql_norm(buf_peek(&a), &b) == 0);
		buf_fini(&a);
		buf_fini(&b);
	}
	CHECK(sql_print(STR("select ?")) != sql_print(STR("select ?, ?")));
}

TEST(norm_no_room) {
	struct buf b;

	buf_init(&b, 16);
	CHECK(sql_norm(STR("select aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &b) == H_ELIMIT);
	buf_fini(&b);
}

struct words {
	char text[256];
	size_t n;
};

static void keep(void *arg, struct str word) {
	struct words *w = arg;

	w->n += (size_t)snprintf(w->text + w->n, sizeof(w->text) - w->n, "%.*s|", STR_ARG(word));
}

TEST(words) {
	struct words w = { .n = 0 };

	sql_words(STR("SELECT a$b, 'It''s ME', $$do THIS$$, \"Q x\" -- not\n, 15, $1"), keep, &w);
	CHECK_EQ_STR(str_of(w.text), STR("select|a|b|it|s|me|do|this|q|x|15|"));
}

TEST_MAIN
