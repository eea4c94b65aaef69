/*
 * pg_comment_test.c: comments of statements: what counts as a claim, and what does not.
 */
#include "base/test.h"
#include "proto/postgres/pg_comment.h"

static int put(void *arg, struct str key, struct str value) {
	struct buf *b = arg;
	w_fmt(b, "%.*s=%.*s;", STR_ARG(key), STR_ARG(value));
	return 0;
}

static void check(const char *text, const char *want) {
	struct buf b;
	buf_init(&b, 64 * KIB);
	CHECK_EQ_I(pg_comment_each(str_of(text), put, &b), 0);
	CHECK_EQ_STR(buf_peek(&b), str_of(want));
	buf_fini(&b);
}

TEST(pairs_behind_and_before) {
	check("select 1 /*a='b'*/", "a=b;");
	check("select 1 /*action='%2Fpolls',traceparent='00-5bd6-9fb4-01'*/ ; \n",
	      "action=/polls;traceparent=00-5bd6-9fb4-01;");
	check("/* a='b' , c='' */ select 1", "a=b;c=;");
	check("/*a='x'*/ select 1 /*a='y'*/", "a=y;");
	check("/*a='x'*/ select 1 /* plain words */", "a=x;");
	check("select 1 /*name='O\\'Brien',k%20y='1'*/", "name=O'Brien;k y=1;");
	check("select 1 /*a='100%',b='%4'*/", "a=100%;b=%4;");
}

TEST(what_is_no_claim) {
	check("", "");
	check("*/", "");
	check("/*/", "");
	check("/**/", "");
	check("select 1", "");
	check("select 1 /*a='b*/", "");
	check("select 1 /*a='b',*/", "");
	check("select 1 /*a='b' c='d'*/", "");
	check("select 1 /*a=b*/", "");
	check("select 1 /*='b'*/", "");
	check("select 1 /*a='b\\'*/", "");
	check("select /*a='b'*/ 1", "");
}

static int stop(void *arg, struct str key, struct str value) {
	(void)key;
	(void)value;
	return ++*(int *)arg;
}

TEST(limits) {
	int calls = 0;
	CHECK_EQ_I(pg_comment_each(STR("/*a='1',b='2'*/"), stop, &calls), 1);
	struct buf b;
	buf_init(&b, MIB);
	w_bytes(&b, STR("select 1 /*a0='v'"));
	for (int i = 1; i < PG_COMMENT_PAIRS_MAX; i++)
		w_fmt(&b, ",a%d='v'", i);
	w_bytes(&b, STR("*/"));
	calls = -1000;
	CHECK_EQ_I(pg_comment_each(buf_peek(&b), stop, &calls), -999);
	b.len -= 2;
	w_bytes(&b, STR(",more='v'*/"));
	calls = 0;
	CHECK_EQ_I(pg_comment_each(buf_peek(&b), stop, &calls), 0);
	buf_clear(&b);
	w_bytes(&b, STR("select 1 /*a='"));
	for (size_t i = 0; i < PG_COMMENT_MAX; i++)
		w_u8(&b, 'x');
	w_bytes(&b, STR("'*/"));
	CHECK_EQ_I(pg_comment_each(buf_peek(&b), stop, &calls), 0);
	buf_fini(&b);
}

TEST_MAIN
