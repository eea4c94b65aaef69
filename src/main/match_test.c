/* match_test.c: what is found and what is not, and that filters lose nothing. */
#include "main/match.h"

#include "base/test.h"

static bool finds(enum match_mode mode, const char *query, const char *text) {
	struct match *m = NULL;
	struct match_place p;
	struct err e = { .code = 0 };

	if (match_new(&m, mode, str_of(query), &e) < 0)
		return false;
	bool found = match_sql(m, str_of(text), &p);

	match_free(&m);
	return found;
}

TEST(match_words) {
	CHECK(finds(MATCH_WORDS, "drop table orders", "DROP TABLE orders"));
	CHECK(finds(MATCH_WORDS, "drop table orders", "drop\n\ttable  /* why */ \"Orders\";"));
	CHECK(finds(MATCH_WORDS, "drop table orders", "begin; drop drop table -- x\n orders; end"));
	CHECK(finds(MATCH_WORDS, "drop table orders", "do $$ begin drop table orders; end $$"));
	CHECK(finds(MATCH_WORDS, "drop table orders", "execute 'drop table orders'"));
	CHECK(finds(MATCH_WORDS, "'a@b.example'", "select * from p where mail = 'A@b.example'"));
	CHECK(finds(MATCH_WORDS, "a a b", "a a a b"));
	CHECK(finds(MATCH_WORDS, "a b a b c", "a b a b a b c"));
	CHECK(!finds(MATCH_WORDS, "drop table orders", "drop table public.orders"));
	CHECK(!finds(MATCH_WORDS, "drop table orders", "drop table orders2"));
	CHECK(!finds(MATCH_WORDS, "drop table orders", "select 1 -- drop table orders"));
	CHECK(!finds(MATCH_WORDS, "drop table orders", "/* drop table orders */ select 1"));
	CHECK(!finds(MATCH_WORDS, "table drop", "drop table"));
	CHECK(finds(MATCH_WORDS, "straße", "select 'straße'"));
	CHECK(!finds(MATCH_WORDS, "--- ;", "select --- ;"));
}

TEST(match_exact_and_regex) {
	CHECK(finds(MATCH_EXACT, "ble ord", "drop table orders"));
	CHECK(finds(MATCH_EXACT, "-- drop", "select 1 -- drop table"));
	CHECK(!finds(MATCH_EXACT, "DROP", "drop"));
	CHECK(finds(MATCH_EXACT, " != ", "a != b"));
	CHECK(finds(MATCH_REGEX, "drop +table", "DROP   TABLE x"));
	CHECK(!finds(MATCH_REGEX, "^table", "drop table"));
	struct match *m = NULL;
	struct err e = { .code = 0 };

	CHECK_EQ_I(match_new(&m, MATCH_REGEX, STR("a(b"), &e), H_EUSAGE);
	CHECK(strstr(e.text, "regular expression") != NULL);
	e = (struct err){ .code = 0 };
	CHECK_EQ_I(match_new(&m, MATCH_WORDS, STR(" ;- "), &e), H_EUSAGE);
	CHECK(strstr(e.text, "--exact") != NULL);
	CHECK_EQ_I(match_new(&m, MATCH_WORDS, STR_NONE, &e), H_EUSAGE);
	char many[400];

	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = i % 2 == 0 ? 'a' : ' ';
	CHECK_EQ_I(match_new(&m, MATCH_WORDS, str_mem(many, sizeof(many)), &e), H_EUSAGE);
	CHECK(m == NULL);
}

TEST(match_tells_the_place) {
	struct match *m = NULL;
	struct match_place p = { 0 };
	struct err e = { .code = 0 };
	struct str text = STR("select 1; DROP /*x*/ TABLE \"orders\", x");

	REQUIRE(match_new(&m, MATCH_WORDS, STR("drop table orders"), &e) == 0);
	CHECK(match_sql(m, text, &p));
	CHECK_EQ_STR(str_head(str_from(text, p.at), p.n), STR("DROP /*x*/ TABLE \"orders"));
	CHECK(!match_plain(m, text, &p)); /* a value has no comments */
	match_free(&m);
}

struct told {
	uint64_t hash[4096];
	size_t n;
};

static void tell(void *arg, uint64_t hash) {
	struct told *t = arg;

	if (t->n < ARRAY_LEN(t->hash))
		t->hash[t->n++] = hash;
}

static bool was_told(const struct told *t, uint64_t hash) {
	for (size_t i = 0; i < t->n; i++) {
		if (t->hash[i] == hash)
			return true;
	}
	return false;
}

/* Random texts of few pieces, random queries cut from others of the same: what matches is told. */
TEST(match_needs_nothing_that_is_not_told) {
	static const char *const pieces[] = { "drop", "Table", " ",   "/*",     "*/", "--", "\n",
		                              "'",    "\"",    "$$",  "orders", "x",  ";",  "1",
		                              "$1",   "E'",    "\\'", "(",      ",",  "é",  "u&'",
		                              "$a$",  "''",    ".",   "_y" };
	static struct told t;
	uint64_t seed = 42;
	unsigned matched = 0;

	for (int round = 0; round < 60000; round++) {
		char text[256] = "", query[64] = "";
		size_t n = 0, q = 0;

		for (int i = 0; i < 14; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			const char *piece = pieces[(seed >> 33) % ARRAY_LEN(pieces)];

			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", piece);
			if (i < 4 && (seed >> 60) < 8)
				q += (size_t)snprintf(query + q, sizeof(query) - q, "%s", piece);
		}
		for (enum match_mode mode = MATCH_WORDS; mode <= MATCH_EXACT; mode++) {
			uint64_t need[MATCH_HASHES_MAX];
			struct match *m = NULL;
			struct match_place p = { 0 };
			bool is_sql = (seed >> 40 & 1) != 0;

			if (match_new(&m, mode, str_of(query), NULL) < 0)
				continue;
			t.n = 0;
			(is_sql ? text_hashes_sql : text_hashes_plain)(str_mem(text, n), tell, &t);
			if ((is_sql ? match_sql : match_plain)(m, str_mem(text, n), &p)) {
				size_t count = match_hashes(m, need);

				matched++;
				for (size_t i = 0; i < count; i++)
					CHECK(was_told(&t, need[i]));
				CHECK(p.at + p.n <= n);
			}
			match_free(&m);
		}
	}
	test_note("%u matches", matched);
	CHECK(matched > 1000);
}

TEST_MAIN
