/*
 * sql_lex_test.c: texts and their tokens, written as "kind:text|…"; statements; any bytes.
 *
 * HANSARD_SQL_TEXTS names a directory of SQL files (PostgreSQL's src/test/regress/sql): there the
 * tokens of each file must be the file, and its statements too.
 */
#include <dirent.h>

#include "base/test.h"
#include "policy/sql_lex.h"

static const char *const letters[SQL_KIND_COUNT] = {
	[SQL_SPACE] = "_",  [SQL_COMMENT] = "c",  [SQL_WORD] = "w",    [SQL_NAME] = "n",
	[SQL_UNAME] = "un", [SQL_STRING] = "s",   [SQL_ESTRING] = "e", [SQL_USTRING] = "us",
	[SQL_BITS] = "b",   [SQL_HEX] = "x",      [SQL_DOLLAR] = "d",  [SQL_NUMBER] = "1",
	[SQL_PARAM] = "p",  [SQL_OPERATOR] = "o", [SQL_PUNCT] = ",",   [SQL_OTHER] = "?",
};

struct line {
	char text[1024];
	size_t n;
};

static void add(struct line *o, const char *kind, const struct sql_token *t) {
	o->n += (size_t)snprintf(o->text + o->n, sizeof(o->text) - o->n, "%s%s%s:%.*s",
	                         o->n != 0 ? "|" : "", kind, t->is_open ? "!" : "",
	                         STR_ARG(t->text));
}

static void cut(struct line *o, struct str text, enum sql_strings strings) {
	struct sql_lex l = sql_lex_of(text, strings);
	struct sql_token t;

	*o = (struct line){ .n = 0 };
	while (sql_next(&l, &t))
		if (t.kind != SQL_SPACE)
			add(o, letters[t.kind], &t);
}

static void tokens(const char *text, const char *want) {
	struct line o;

	cut(&o, str_of(text), SQL_STRICT);
	CHECK_EQ_STR(str_of(o.text), str_of(want));
}

TEST(lex_words) {
	tokens("select a$$b _x \xc3\xa4 A1$", "w:select|w:a$$b|w:_x|w:\xc3\xa4|w:A1$");
	tokens("\"a \"\"b\" u&\"x\" U&'y' N'z'", "n:\"a \"\"b\"|un:u&\"x\"|us:U&'y'|w:N|s:'z'");
	tokens("u & 'x'", "w:u|o:&|s:'x'");
	tokens("\"a\" \"b", "n:\"a\"|n!:\"b");
}

TEST(lex_strings) {
	tokens("'a''b' 'c\\' e'd\\'e' E'\\\\'", "s:'a''b'|s:'c\\'|e:e'd\\'e'|e:E'\\\\'");
	tokens("b'01''1' X'ff'", "b:b'01'|s:'1'|x:X'ff'");
	tokens("'a'\n'b'", "s:'a'\n'b'");
	tokens("'a' 'b'", "s:'a'|s:'b'");
	tokens("'a' -- c\n -- d\n 'b'x", "s:'a' -- c\n -- d\n 'b'|w:x");
	tokens("'a' /* c */\n 'b'", "s:'a'|c:/* c */|s:'b'");
	tokens("'a' -- c", "s:'a'|c:-- c");
	tokens("e'a\\''\n'\\'b'", "e:e'a\\''\n'\\'b'");
	tokens("\"a\"\n\"b\"", "n:\"a\"|n:\"b\"");
	tokens("$$a$b$$ $t$x$$y$u$t$", "d:$$a$b$$|d:$t$x$$y$u$t$");
	tokens("$t$x$$y", "d!:$t$x$$y");
	tokens("$1 $12a $a $ 'x", "p:$1|p:$12|w:a|?:$|w:a|?:$|s!:'x");
	tokens("e'\\", "e!:e'\\");
}

TEST(lex_backslash) {
	struct line o;

	cut(&o, STR("'a\\'c' x"), SQL_BACKSLASH);
	CHECK_EQ_STR(str_of(o.text), STR("e:'a\\'c'|w:x"));
	cut(&o, STR("'a\\'c' x"), SQL_STRICT);
	CHECK_EQ_STR(str_of(o.text), STR("s:'a\\'|w:c|s!:' x"));
}

TEST(lex_numbers) {
	tokens("1 1.5 .5 1. 1e3 1.e-5 1e 0x1F 0b11 1_000 1__0",
	       "1:1|1:1.5|1:.5|1:1.|1:1e3|1:1.e-5|1:1|w:e|1:0x1F|1:0b11|1:1_000|1:1|w:__0");
	tokens("1..2 123abc 0x 1.5.6", "1:1|o:..|1:2|1:123|w:abc|1:0|w:x|1:1.5|1:.6");
}

TEST(lex_operators) {
	tokens("a<-1 b@-1 c+-d", "w:a|o:<|o:-|1:1|w:b|o:@-|1:1|w:c|o:+|o:-|w:d");
	tokens("a*/*x*/b--c\n+", "w:a|o:*|c:/*x*/|w:b|c:--c|o:+");
	tokens("a->>'b'::int := => <> ;", "w:a|o:->>|s:'b'|o:::|w:int|o::=|o:=>|o:<>|,:;");
	tokens("a[1:2].b", "w:a|,:[|1:1|,::|1:2|,:]|,:.|w:b");
	tokens("{\\}", "?:{|?:\\|?:}");
}

TEST(lex_comments) {
	tokens("/* a /* b */ c */ d", "c:/* a /* b */ c */|w:d");
	tokens("/*/ x */ y", "c:/*/ x */|w:y");
	tokens("/***/ /* /* */", "c:/***/|c!:/* /* */");
	tokens("--\r--x", "c:--|c:--x");
}

TEST(lex_inner) {
	static const struct {
		const char *text, *inner;
	} cases[] = {
		{ "'a''b'", "a''b" },  { "E'a'\n'b'", "a'\n'b" },  { "$t$x$t$", "x" },
		{ "U&\"d\"", "d" },    { "x'ff'", "ff" },          { "'abc", "abc" },
		{ "$t$abc$", "abc$" }, { "\"q\"\"r\"", "q\"\"r" }, { "''", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sql_lex l = sql_lex_of(str_of(cases[i].text), SQL_STRICT);
		struct sql_token t;

		REQUIRE(sql_next(&l, &t));
		CHECK_EQ_STR(t.inner, str_of(cases[i].inner));
	}
}

/* ---- statements ---- */

static void statements(const char *text, const char *want) {
	struct str rest = str_of(text), one;
	struct line o = { .n = 0 };

	while (sql_split(&rest, SQL_STRICT, &one))
		o.n += (size_t)snprintf(o.text + o.n, sizeof(o.text) - o.n, "%.*s|", STR_ARG(one));
	CHECK_EQ_STR(str_of(o.text), str_of(want));
}

TEST(split) {
	statements("a;b", "a;|b|");
	statements("a;b;", "a;|b;|");
	statements("", "");
	statements("'a;b';$$c;d$$ -- ;\n/* ; */;", "'a;b';|$$c;d$$ -- ;\n/* ; */;|");
	statements("create rule r as on insert to t do (a; b); c",
	           "create rule r as on insert to t do (a; b);| c|");
	statements("create or replace function f() returns int begin atomic select 1; "
	           "select case when a then b end; end; select 2",
	           "create or replace function f() returns int begin atomic select 1; "
	           "select case when a then b end; end;| select 2|");
	statements("begin; select 1; end; x", "begin;| select 1;| end;| x|");
	statements("a);b", "a);|b|");
}

/* ---- any text ---- */

static void whole(struct str text, enum sql_strings strings) {
	struct sql_lex l = sql_lex_of(text, strings);
	struct sql_token t;
	struct str rest = text, one;
	size_t n = 0;

	while (sql_next(&l, &t)) {
		if (t.text.p != text.p + n || t.text.n == 0)
			break;
		n += t.text.n;
	}
	CHECK_EQ_U(n, text.n);
	for (n = 0; sql_split(&rest, strings, &one); n += one.n)
		if (one.n == 0 || one.p != text.p + n)
			break;
	CHECK_EQ_U(n, text.n);
}

TEST(lex_any_prefix) {
	struct str text = STR("select E'a\\'' 'b'\n'c' $q$ $ $q$ /* /* */ */ U&\"x\" 1.5e-3 <-- -\n"
	                      "x'1' \"d\"\"e\" $1 0x1f :: .. {");

	for (size_t n = 0; n <= text.n; n++) {
		whole(str_head(text, n), SQL_STRICT);
		whole(str_from(text, n), SQL_BACKSLASH);
	}
}

static bool whole_file(const char *dir, const char *name) {
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_file FILE *f = fopen(path, "rb");
	auto_free char *text = xmalloc(MIB);
	size_t n = f != NULL ? fread(text, 1, MIB, f) : 0;

	whole(str_mem(text, n), SQL_STRICT);
	return n != 0;
}

TEST(lex_of_postgres) {
	const char *path = getenv("HANSARD_SQL_TEXTS");
	DIR *dir = path != NULL ? opendir(path) : NULL;
	size_t files = 0;

	if (dir == NULL)
		TEST_SKIP("HANSARD_SQL_TEXTS names no directory");
	for (const struct dirent *e; (e = readdir(dir)) != NULL;)
		if (e->d_name[0] != '.')
			files += whole_file(path, e->d_name);
	(void)closedir(dir);
	CHECK(files > 100);
}

TEST_MAIN
