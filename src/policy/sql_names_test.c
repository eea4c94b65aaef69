/* sql_names_test.c: statements and the relations in them, written as "schema.name name …". */
#include "base/test.h"
#include "policy/sql_names.h"

struct line {
	char text[512];
	size_t n;
};

static void add(void *arg, struct str schema, struct str name) {
	struct line *o = arg;

	o->n += (size_t)snprintf(o->text + o->n, sizeof(o->text) - o->n, "%s%.*s%s%.*s",
	                         o->n != 0 ? " " : "", STR_ARG(schema), schema.n != 0 ? "." : "",
	                         STR_ARG(name));
}

static bool names(const char *text, const char *want) {
	struct line o = { .n = 0 };
	bool has_path = sql_names_find(str_of(text), add, &o);

	CHECK_EQ_STR(str_mem(o.text, o.n), str_of(want));
	return has_path;
}

TEST(names_select) {
	names("select a, b from Orders", "orders");
	names("select * from a, b c, d as e join only f using (id), \"G\"\"g\"", "a b d f G\"g");
	names("select (select 1 from x where y = (select max(z) from w)), 2 from v, u", "x w v u");
	names("select * from s.t -- c\n, /* d */ \"S\" . \"T\"", "s.t S.T");
	names("select * from db.s.t;table q", "s.t q");
	names("select 1 from a where b in (select c from d) group by e, f order by g, h", "a d");
	names("select 1", "");
}

TEST(names_changes) {
	names("insert into t(a, b) select a, b from u on conflict do update set a = 1", "t u");
	names("update only t set a = b.c from b where 1 = 1", "t b");
	names("delete from t using u, v where t.a = u.a", "t u v");
	names("merge into t using u on t.a = u.a", "t u");
	names("truncate table a, b cascade; truncate c", "a b c");
	names("copy t(a, b) from stdin; copy (select 1 from u) to stdout; copy s.v to stdout",
	      "t u s.v");
	names("create temp table if not exists x as select * from y", "x y");
	names("drop table if exists a, b; alter table only c add d int; lock table e", "a b c e");
	names("create or replace view v as select 1 from w; refresh materialized view concurrently m",
	      "v w m");
}

TEST(names_that_are_none) {
	names("select * from generate_series(1, 2) g, t", "t");
	names("select extract(year from ts), trim(both 'x' from y), substring(z from 1) from t",
	      "t");
	names("select a is distinct from b from c", "c");
	names("with x as (select 1 from a), y as not materialized (select 2 from x) select * from y, z",
	      "a z");
	names("fetch 10 from cur; move from cur; select 1 from t", "t");
	names("select 1 from t for update of t nowait", "t");
	names("select 'from a', $$ from b $$, \"from\" from c", "c");
	names("select 1 from (select 2 from t) s", "t");
	names("select * from a23456789012345678901234567890123456789012345678901234567890123456",
	      "");
	names("from", "");
	names("select * from a.", "");
	names("select * from \"a", "");
}

TEST(names_path) {
	CHECK(!names("select 1 from t", "t"));
	CHECK(names("set search_path = x", ""));
}

TEST_MAIN
