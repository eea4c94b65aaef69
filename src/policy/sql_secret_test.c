/*
 * sql_secret_test.c: statements with what is found in them in brackets: '[x]'. A text without
 * brackets has none. Every text is also cut at each byte: the spans must stay inside.
 */
#include "policy/sql_secret.h"

#include "base/test.h"

static size_t show(char *out, size_t cap, struct str text, const struct sql_secrets *s) {
	size_t n = 0, at = 0;

	for (size_t i = 0; i <= s->count; i++) {
		size_t end = i < s->count ? s->spans[i].at : text.n;

		n += (size_t)snprintf(out + n, cap - n, "%.*s", (int)(end - at), text.p + at);
		if (i == s->count)
			break;
		n += (size_t)snprintf(out + n, cap - n, "[%.*s]", (int)s->spans[i].n, text.p + end);
		at = end + s->spans[i].n;
	}
	return n;
}

static void check_cuts(struct str text) {
	struct sql_secrets s;

	for (size_t n = 0; n <= text.n; n++) {
		size_t end = 0;
		bool is_good = true;

		sql_secrets_find(&s, str_head(text, n));
		for (size_t i = 0; i < s.count; i++) {
			is_good = is_good && s.spans[i].n > 0 && s.spans[i].at >= end + (i > 0);
			end = s.spans[i].at + s.spans[i].n;
		}
		if (!is_good || end > n)
			CHECK(is_good && end <= n);
	}
}

typedef void find_fn(struct sql_secrets *s, struct str text);

/* Takes the brackets out, finds, and puts them in again. [ and ] stand for nothing else. */
static void found_by(find_fn *find, const char *want) {
	char text[1024], got[2048];
	size_t n = 0;
	struct sql_secrets s;

	for (const char *p = want; *p != '\0'; p++)
		if (*p != '[' && *p != ']')
			text[n++] = *p;
	find(&s, str_mem(text, n));
	CHECK_EQ_STR(str_mem(got, show(got, sizeof(got), str_mem(text, n), &s)), str_of(want));
	check_cuts(str_mem(text, n));
}

static void found(const char *want) {
	found_by(sql_secrets_find, want);
}

TEST(secret_roles) {
	found("ALTER ROLE app PASSWORD '[hunter2]'");
	found("create user u with login encrypted password E'[a\\'b]' valid until 'infinity'");
	found("ALTER USER u PASSWORD $$[x]$$; select 'y'");
	found("ALTER USER u PASSWORD U&'[d\\0061t]' UESCAPE '!'");
	found("ALTER ROLE a PASSWORD NULL; select 1");
	found("ALTER ROLE a PASSWORD [secret!x] login");
	found("ALTER ROLE a PASSWORD \"[secret]\"");
	found("alter role a password/**/'[x]'");
	found("alter role a password ''");
}

TEST(secret_continued) {
	struct sql_secrets s;

	sql_secrets_find(&s, STR("ALTER ROLE a PASSWORD 'ab'\n  'cd' LOGIN"));
	REQUIRE(s.count == 1);
	CHECK_EQ_U(s.spans[0].at, 23);
	CHECK_EQ_U(s.spans[0].n, 9);
}

TEST(secret_options) {
	found("CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a', password '[b]')");
	found("ALTER USER MAPPING FOR u SERVER s OPTIONS (SET password '[b]', ADD sslkey '[/k]')");
	found("CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', passfile '[/p]', port '5')");
	found("ALTER SERVER s OPTIONS (\"sslpassword\" '[b]'); select sslkey 'x'");
	found("CREATE SUBSCRIPTION s CONNECTION '[host=h password=x y]' PUBLICATION p");
}

TEST(secret_conninfo) {
	found("CREATE SUBSCRIPTION s CONNECTION 'host=h user=u password=[x] dbname=d' PUBLICATION p");
	found("ALTER SUBSCRIPTION s CONNECTION 'host=h dbname=d'");
	found("ALTER SUBSCRIPTION s CONNECTION '[host h]'");
	found("ALTER SUBSCRIPTION s CONNECTION '[host=h password=''x y'']'");
	found("ALTER SUBSCRIPTION s CONNECTION $$host=h password=['x y'] a=b$$");
	found("select dblink_connect('host=h password=[x]')");
	found("select dblink_connect('name', 'host=h password = [x]')");
	found("select * from dblink('postgres://u:[p@w]@h/d?sslmode=a', 'select 1') as t(a int)");
	found("select dblink('conn', 'select 1 where a = 2')");
	found("select dblink('select ' || x)");
	found("select dblink_connect('[host=h pass]' || '[word=x]')");
	found("alter system set primary_conninfo = 'host=p user=r password=[x]'");
	found("insert into t values ('password=[x] a', 'my password', 'postgresql://u:[p]@h')");
	found("select 'https://h/?a=b&password=[x]&c=d'");
	found("select '{\"password\": [\"x\"]}'");
	found("select 'see https://h/a:b and a@b'");
}

TEST(secret_settings) {
	found("set my.password = '[x]'");
	found("SET app.api_key TO '[x]'");
	found("set password_encryption = 'md5'");
	found("select set_config('app.secret', '[x]', false), set_config('a.b', 'y', false)");
	found("update t set password = '[x]', name = 'y' where id = 'z'");
	found("alter role a set app.jwt = '[x]'");
}

TEST(secret_calls) {
	found("select pgp_sym_encrypt(data, '[k]', 'cipher-algo=aes256')");
	found("select public.pgp_sym_decrypt(d, lower('[k]')), 'x'");
	found("select \"crypt\"('[pw]', salt)");
	found("select hmac('data', '[key]', 'sha256'), digest('data', 'sha256')");
	found("select f(crypt('[a]', 's'), 'b')");
}

TEST(secret_shapes) {
	found("select '[ghp_0123456789abcdefghijABCDEFGHIJ012345]', 'ghp_'");
	found("select 'token=[xoxb-123456789012-abcdefghij] x'");
	found("select 'AKIA', '[AKIAIOSFODNN7EXAMPLE]'");
	found("select '[eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc_def]'");
	found("select 'eyJhbGciOiJIUzI1NiJ9eyJzdWIiOiIxMjM0NTY3ODkwIn0'");
	found("select $$[-----BEGIN RSA PRIVATE KEY-----\nMIIE\n]-----END RSA PRIVATE KEY-----$$");
	found("select '-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----'");
	found("select 1 -- password=[x]\n, /* postgres://u:[p]@h */ 2");
}

TEST(secret_bodies) {
	found("do $$ begin alter role a password '[x]'; end $$");
	found("create function f() returns void as $f$ do $$ select crypt('[a]', 'b') $$ $f$");
	found("do $$ begin execute 'alter role a password ' || quote_literal('[x]'); end $$");
	found("do $$ begin execute format('alter role %I password %L', '[u]', '[x]'); end $$; select 'y'");
}

TEST(secret_taint) {
	found("select 'password', 'x', 'my password', 'y'");
	found("execute 'alter role ' || u || ' PASSWORD ' || '[x]'; select 'y'");
}

TEST(secret_nested_literal) {
	struct sql_secrets s;
	struct str text = STR("do $$ begin execute 'alter role a password ''x'''; end $$");

	sql_secrets_find(&s, text);
	REQUIRE(s.count == 1);
	CHECK_EQ_STR(str_mem(text.p + s.spans[0].at, s.spans[0].n), STR("''x''"));
}

TEST(secret_backslash) {
	struct sql_secrets s;
	struct str text = STR("select 'a\\'', 1; alter role r password 'x\\'y'");

	sql_secrets_find(&s, text);
	REQUIRE(s.count >= 1);
	CHECK(s.spans[s.count - 1].at + s.spans[s.count - 1].n >= text.n - 1);
}

TEST(secret_quoted) {
	found_by(sql_secrets_find_quoted,
	         "SQL statement \"ALTER ROLE a PASSWORD '[x]'\"\nPL/pgSQL function f() line 3");
	found_by(sql_secrets_find_shapes, "host=a password=[b]");
}

TEST(secret_parameters) {
	struct sql_secrets s;

	sql_secrets_find(&s, STR("select crypt($2, gen_salt($3)), $1"));
	CHECK_EQ_U(s.params, 2);
	sql_secrets_find(&s,
	                 STR("select dblink_connect($1, $2), dblink($4, $5) where password = $7"));
	CHECK_EQ_U(s.params, 1 | 2 | 8 | 64);
	sql_secrets_find(&s, STR("select $1, f($2) where name = $3"));
	CHECK_EQ_U(s.params, 0);
	sql_secrets_find(
		&s,
		STR("select crypt($64, ''), crypt($70, ''), crypt($0, ''), crypt($99999999999, '')"));
	CHECK_EQ_U(s.params, (uint64_t)1 << 63);
	CHECK(sql_is_param_secret(s.params, 63) && sql_is_param_secret(s.params, 300));
	CHECK(!sql_is_param_secret(s.params, 62));
	CHECK_EQ_U(s.count, 0);
}

TEST(secret_many) {
	char text[4096];
	size_t n = 0;
	struct sql_secrets s;

	for (size_t i = 0; i < 40; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "alter role a password 'p%zu';",
		                      i);
	sql_secrets_find(&s, str_mem(text, n));
	CHECK_EQ_U(s.count, SQL_SECRETS_MAX);
	CHECK_EQ_U(s.spans[s.count - 1].at + s.spans[s.count - 1].n, n);
}

TEST(secret_deep) {
	char text[512] = "select 'plain'";

	for (size_t i = 0; i < 12; i++) {
		char next[512];

		(void)snprintf(next, sizeof(next), "do $t%zu$ %.400s $t%zu$", i, text, i);
		memcpy(text, next, sizeof(text));
	}
	struct sql_secrets s;

	sql_secrets_find(&s, str_of(text));
	CHECK_EQ_U(s.count, 1);
}

TEST_MAIN
