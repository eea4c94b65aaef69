/*
 * search_test.c: the index against the record. Stores of random sessions; every query must find the same with
 * and without an index, whatever state that is in.
 */
#include "main/search.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/test.h"
#include "main/ask.h"
#include "main/indexer.h"
#include "record/teststore.h"

static char dir[64], index_path[96];
static uint64_t seed;

static unsigned pick(unsigned n) {
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)((seed >> 33) % n);
}

static const char *const nouns[] = { "orders",       "customers", "invoices", "\"Items\"",
	                             "public.stock", "log_2026",  "Straße",   "t1" };
static const char *const verbs[] = { "select * from %s where id = %u",
	                             "DROP  TABLE %s -- run %u",
	                             "drop /* cleanup */ table %s; select %u",
	                             "insert into %s values ('drop table orders', %u)",
	                             "update %s set n = %u where mail = 'a%u@b.example'",
	                             "do $$ begin delete from %s; perform %u; end $$" };

/* %s becomes a noun, %u a number. */
static void fill(char *out, size_t cap, const char *form) {
	struct buf b;

	buf_init(&b, cap);
	for (const char *p = form; *p != '\0'; p++) {
		if (p[0] == '%' && p[1] == 's')
			w_fmt(&b, "%s", nouns[pick(ARRAY_LEN(nouns))]);
		else if (p[0] == '%' && p[1] == 'u')
			w_fmt(&b, "%u", pick(3000));
		else
			w_u8(&b, (uint8_t)*p);
		p += p[0] == '%' ? 1 : 0;
	}
	CHECK(str_copy(out, cap, buf_peek(&b)));
	buf_fini(&b);
}

static void put_raw(struct ts_session *s, uint8_t stream, struct buf *b, uint64_t *at) {
	struct buf p;

	buf_init(&p, MIB);
	rec_put_raw(&p, *at, buf_peek(b));
	ts_event(s, REC_RAW, stream, buf_peek(&p));
	*at += b->len;
	buf_clear(b);
	buf_fini(&p);
}

struct talk {
	struct ts_session *s;
	uint64_t c, t;
	struct buf b;
};

static void message(struct buf *b, char type, struct str body) {
	w_u8(b, (uint8_t)type);
	w_be32(b, (uint32_t)body.n + 4);
	w_bytes(b, body);
}

static void start(struct talk *t, struct ts_session *s) {
	*t = (struct talk){ .s = s };
	buf_init(&t->b, MIB);
	w_be32(&t->b, 8 + 11);
	w_be32(&t->b, 196608);
	w_bytes(&t->b, str_mem("user\0shop\0\0", 11));
	put_raw(s, 0, &t->b, &t->c);
	message(&t->b, 'R', str_mem("\0\0\0\0", 4));
	message(&t->b, 'Z', STR("I"));
	put_raw(s, 2, &t->b, &t->t);
	ts_cut(s);
}

static void answer(struct talk *t, bool fails, bool is_prepared) {
	if (is_prepared) {
		message(&t->b, '1', STR_NONE);
		message(&t->b, '2', STR_NONE);
	}
	if (fails)
		message(&t->b, 'E', str_mem("SERROR\0C42P01\0Mno such table\0\0", 30));
	else
		message(&t->b, 'C', str_mem("SELECT 1", 9));
	message(&t->b, 'Z', STR("I"));
	put_raw(t->s, 2, &t->b, &t->t);
	ts_cut(t->s);
}

static void query(struct talk *t, const char *sql, bool fails) {
	message(&t->b, 'Q', str_mem(sql, strlen(sql) + 1));
	put_raw(t->s, 0, &t->b, &t->c);
	ts_cut(t->s);
	answer(t, fails, false);
}

/* Parse, Bind with one text parameter, Execute, Sync. */
static void execute(struct talk *t, const char *sql, struct str value) {
	struct buf m;

	buf_init(&m, MIB);
	w_cstr(&m, STR_NONE);
	w_cstr(&m, str_of(sql));
	w_be16(&m, 0);
	message(&t->b, 'P', buf_peek(&m));
	buf_clear(&m);
	w_cstr(&m, STR_NONE);
	w_cstr(&m, STR_NONE);
	w_be16(&m, 0);
	w_be16(&m, 1);
	w_be32(&m, (uint32_t)value.n);
	w_bytes(&m, value);
	w_be16(&m, 0);
	message(&t->b, 'B', buf_peek(&m));
	message(&t->b, 'E', str_mem("\0\0\0\0\0", 5));
	message(&t->b, 'S', STR_NONE);
	put_raw(t->s, 0, &t->b, &t->c);
	ts_cut(t->s);
	answer(t, false, true);
	buf_fini(&m);
}

static void talk_some(struct ts_session *s) {
	struct talk t;
	char text[256], value[64];

	start(&t, s);
	for (unsigned i = 0, n = pick(6); i < n; i++) {
		fill(text, sizeof(text), verbs[pick(ARRAY_LEN(verbs))]);
		fill(value, sizeof(value), "drop table -- %s x%u");
		if (pick(4) == 0)
			execute(&t, "select * from customers where name = $1", str_of(value));
		else
			query(&t, text, pick(5) == 0);
	}
	buf_fini(&t.b);
}

static void make_store(unsigned sessions, unsigned open) {
	struct teststore *t = ts_new(dir, 3);
	struct ts_session *acts;

	ts_boot(t);
	acts = ts_session(t, 4000, "acts");
	ts_close(acts, true);
	for (unsigned i = 0; i < sessions; i++) {
		struct ts_session *s = ts_session(t, i, "postgres");

		talk_some(s);
		if (i + open < sessions)
			ts_close(s,
			         i % 50 != 7); /* a few end with the gateway, in no sealed part */
		if (i % 4 != 3)
			continue;
		ts_flush(t);
		ts_next_segment(t);
	}
	ts_flush(t);
	ts_head(t, &acts, 1);
	ts_flush(t);
	ts_tiles(t);
	ts_sign(t);
	ts_free(&t);
}

static void fresh(uint64_t with_seed) {
	seed = with_seed;
	(void)snprintf(dir, sizeof(dir), "/tmp/hansard-search-XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
	(void)snprintf(index_path, sizeof(index_path), "%s/index", dir);
	if (mkdir(index_path, 0750) != 0)
		abort();
}

static void gone(void) {
	auto_free char *cmd = xasprintf("rm -r %s", dir);

	CHECK(system(cmd) == 0);
}

static void no_trouble(const uint8_t sid[SID_SIZE], const struct err *e) {
	(void)sid;
	CHECK(e->code == 0);
	test_note("%s", e->text);
}

static struct search_result look(struct reader *r, struct index *x, struct search_options *o,
                                 enum match_mode mode, const char *words) {
	struct search_result got = { .hit = NULL };
	struct match *m = NULL;

	if (CHECK(match_new(&m, mode, str_of(words), NULL) == 0)) {
		o->match = m;
		CHECK(search_run(r, x, o, no_trouble, &got, NULL) == 0);
	}
	match_free(&m);
	return got;
}

static bool same_hits(const struct search_result *a, const struct search_result *b) {
	bool same = a->count == b->count && a->is_cut == b->is_cut;

	for (size_t i = 0; same && i < a->count; i++) {
		const struct search_hit *x = &a->hit[i], *y = &b->hit[i];

		same = x->wall_ns == y->wall_ns && memcmp(x->sid, y->sid, SID_SIZE) == 0 &&
		       x->number == y->number && x->parameter == y->parameter &&
		       x->status == y->status && strcmp(x->sqlstate, y->sqlstate) == 0 &&
		       x->place.at == y->place.at && x->place.n == y->place.n;
	}
	return same;
}

/* A random question. */
static enum match_mode ask(struct search_options *o, char *words, size_t cap) {
	static const char *const forms[] = {
		"drop table %s",     "%s %u",     "table %s -- run",
		"from %s where",     "values %s", "a%u@b.example",
		"drop table %s x%u", "%s",        "delete from %s perform"
	};
	enum match_mode mode = pick(4) == 0 ? MATCH_EXACT : MATCH_WORDS;

	fill(words, cap, forms[pick(ARRAY_LEN(forms))]);
	*o = (struct search_options){ .limit = pick(3) == 0 ? 1 + pick(20) : 0 };
	if (pick(5) == 0)
		o->statuses = 1u << VIEW_FAILED;
	if (pick(5) == 0)
		o->identity = pick(2) == 0 ? "agent7" : "local:agent11";
	return mode;
}

struct times {
	uint64_t with, without, ruled_out, hits;
};

static void compare(struct reader *r, struct index *x, unsigned rounds, struct times *t) {
	char words[128];
	struct search_options o;

	for (unsigned i = 0; i < rounds; i++) {
		enum match_mode mode = ask(&o, words, sizeof(words));
		uint64_t began = mono_ns();
		struct search_result a = look(r, x, &o, mode, words);
		uint64_t middle = mono_ns();
		struct search_result b = look(r, NULL, &o, mode, words);

		t->with += middle - began;
		t->without += mono_ns() - middle;
		t->ruled_out += a.ruled_out;
		t->hits += a.count;
		if (!CHECK(same_hits(&a, &b)))
			test_note("\"%s\" mode %d: %zu and %zu", words, (int)mode, a.count,
			          b.count);
		search_result_fini(&a);
		search_result_fini(&b);
	}
}

static struct index *open_index(void) {
	struct index *x = NULL;
	struct err e = { .code = 0 };

	if (!CHECK(index_open_read(&x, index_path, &e) == 0))
		test_note("%s", e.text);
	return x;
}

TEST(search_finds_the_same_with_and_without_an_index) {
	bool is_long = getenv("HANSARD_LONG") != NULL;
	bool is_slow = getenv("HANSARD_SAMPLE") != NULL;
	unsigned sessions = is_slow ? 200 : 2000;
	struct indexer_options o = { .store = dir };
	struct indexer_result got;
	struct index_mark mark;
	struct times t = { 0 };
	struct reader *r = NULL;
	struct err e = { .code = 0 };

	fresh(1);
	make_store(sessions, 10);
	uint64_t began = mono_ns();

	REQUIRE(indexer_rebuild(&o, &got, &e) == 0);
	test_note("index of %llu sessions: %llu ms, %llu KiB", (unsigned long long)got.added,
	          (unsigned long long)((mono_ns() - began) / NS_PER_MS),
	          (unsigned long long)(index_bytes(index_path) / 1024));
	CHECK_EQ_U(got.unreadable, 0);
	CHECK(got.behind >= 10 && got.added + got.behind == sessions + 1);
	struct index *x = open_index();

	REQUIRE(x != NULL);
	CHECK(index_mark_get(x, &mark) == 0);
	CHECK_EQ_U(mark.sessions, got.added);
	CHECK_EQ_U(mark.behind_sessions, got.behind);
	CHECK(index_check(x) == 0);
	REQUIRE(reader_open(&r, dir, &e) == 0);
	unsigned rounds = is_long ? 400 : is_slow ? 10 : 25;

	compare(r, x, rounds, &t);
	CHECK(t.hits > 0);
	CHECK(t.ruled_out > (uint64_t)rounds * sessions / 2); /* else it is of no use */
	test_note("a search of %u sessions: %.2f ms with the index, %.2f ms without; %llu hits",
	          sessions, (double)t.with / rounds / 1e6, (double)t.without / rounds / 1e6,
	          (unsigned long long)t.hits);
	reader_close(&r);
	index_close(&x);
	gone();
}

enum { LONG_QUERIES = 1300, LONG_WORDS = 30 };

/* Session 0 says 39,000 different words in one statement's parameter, session 1 more forms than are kept. */
static void make_long_store(void) {
	struct teststore *t = ts_new(dir, 3);

	ts_boot(t);
	for (unsigned n = 0; n < 2; n++) {
		struct ts_session *s = ts_session(t, n, "postgres");
		struct talk talk;

		start(&talk, s);
		for (unsigned i = 0; i < LONG_QUERIES; i++) {
			char text[512];
			int at = 0;

			for (unsigned w = 0; w < LONG_WORDS; w++)
				at += snprintf(text + at, sizeof(text) - (size_t)at, " w%ux%u", i,
				               w);
			if (n == 0) {
				execute(&talk, "select again($1)", str_of(text));
			} else {
				(void)snprintf(text, sizeof(text), "select c%u", i);
				query(&talk, text, false);
			}
			if (i % 40 != 39)
				continue;
			ts_flush(t);
			ts_next_segment(t);
		}
		ts_close(s, true);
		ts_flush(t);
		ts_next_segment(t);
		buf_fini(&talk.b);
	}
	ts_tiles(t);
	ts_sign(t);
	ts_free(&t);
}

/* Several filters in a session, and one that is capped: nothing is lost, and what can be ruled out is. */
TEST(index_of_long_sessions) {
	struct indexer_options o = { .store = dir };
	struct search_options all = { .limit = 0 };
	struct indexer_result got;
	struct reader *r = NULL;
	struct err e = { .code = 0 };
	static const struct {
		const char *words;
		size_t hits;
		unsigned read;
	} asked[] = { { "select again", LONG_QUERIES, 2 },
		      { "w7x0 w7x1", 1, 2 },
		      { "w1299x28 w1299x29", 1, 2 },
		      { "c1299", 1, 1 },
		      { "w7x1 w7x0", 0, 1 },
		      { "w7x29 w8x0", 0, 1 } };

	fresh(7);
	make_long_store();
	REQUIRE(indexer_rebuild(&o, &got, &e) == 0);
	CHECK_EQ_U(got.added, 2);
	CHECK_EQ_U(got.unreadable, 0);
	struct index *x = open_index();

	REQUIRE(x != NULL);
	REQUIRE(reader_open(&r, dir, &e) == 0);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		struct search_result a = look(r, x, &all, MATCH_WORDS, asked[i].words);
		struct search_result b = look(r, NULL, &all, MATCH_WORDS, asked[i].words);

		CHECK_EQ_U(a.count, asked[i].hits);
		CHECK(same_hits(&a, &b));
		CHECK_EQ_U(a.read, asked[i].read); /* the capped one always */
		search_result_fini(&a);
		search_result_fini(&b);
	}
	index_close(&x);
	reader_close(&r);
	gone();
}

static int count_statement(void *arg, const struct index_statement *s) {
	unsigned *n = arg;

	(*n)++;
	CHECK(s->count > 0 && s->first_number <= s->last_number &&
	      s->first_wall_ns <= s->last_wall_ns);
	CHECK(str_find(s->text, '\'') == s->text.n); /* no literal is kept */
	return 0;
}

/* A pass adds what ended since, and nothing twice. */
TEST(index_follows_the_record) {
	struct indexer_options o = { .store = dir };
	struct indexer_result got;
	struct index *x = NULL;
	struct err e = { .code = 0 };
	unsigned statements = 0;
	atomic_bool stop = true;

	fresh(2);
	make_store(60, 5);
	REQUIRE(index_open_write(&x, index_path, "index.db", true, &e) == 0);
	o.stop = &stop;
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), H_EDRAIN);
	CHECK_EQ_U(got.added, 0);
	stop = false;
	CHECK_EQ_I(indexer_pass(x, &o, UINT64_MAX / 4, &got), 0);
	CHECK_EQ_U(got.added, 0); /* nothing is so new */
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), 0);
	CHECK(got.added >= 50);
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), 0);
	CHECK_EQ_U(got.added, 0);
	CHECK(got.behind >= 5);
	CHECK(index_statements(x, NULL, count_statement, &statements) == 0);
	CHECK(statements > 20);
	index_close(&x);
	gone();
}

TEST(index_that_may_not_grow_says_so) {
	struct indexer_options o = { .store = dir, .size_max = 1 };
	struct indexer_result got;
	struct index *x = NULL;
	struct err e = { .code = 0 };

	fresh(3);
	make_store(5, 0);
	REQUIRE(index_open_write(&x, index_path, "index.db", true, &e) == 0);
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), 0);
	CHECK(got.is_full);
	CHECK_EQ_U(got.added, 0);
	o = (struct indexer_options){ .store = dir, .room_min = UINT64_MAX };
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), 0);
	CHECK(got.is_full);
	o.room_min = 0;
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), 0);
	CHECK(!got.is_full && got.added == 6);
	index_close(&x);
	gone();
}

static void write_file(const char *name, const void *bytes, size_t n, off_t at) {
	auto_free char *path = xasprintf("%s/%s", index_path, name);
	auto_fd int fd = open(path, O_WRONLY | O_CREAT, 0640);

	CHECK(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
}

static int nth_sid(void *arg, const uint8_t sid[SID_SIZE]) {
	memcpy(arg, sid, SID_SIZE);
	return 0; /* the last one stays */
}

/* A session that ended the process three times is not read again, and still found. */
TEST(index_gives_up_on_a_session_that_kills) {
	struct indexer_options o = { .store = dir };
	struct indexer_result got;
	struct search_options all = { .limit = 0 };
	struct {
		uint8_t sid[SID_SIZE];
		uint32_t tries;
	} mark = { .tries = 3 };
	struct index *x = NULL;
	struct reader *r = NULL;
	struct err e = { .code = 0 };

	fresh(4);
	make_store(20, 0);
	REQUIRE(reader_open(&r, dir, &e) == 0);
	CHECK(reader_each(r, nth_sid, mark.sid) == 0);
	write_file("reading", &mark, sizeof(mark), 0);
	REQUIRE(index_open_write(&x, index_path, "index.db", true, &e) == 0);
	CHECK_EQ_I(indexer_pass(x, &o, 0, &got), 0);
	CHECK_EQ_U(got.unreadable, 1);
	struct search_result a = look(r, x, &all, MATCH_WORDS, "from");
	struct search_result b = look(r, NULL, &all, MATCH_WORDS, "from");

	CHECK(a.count > 0 && same_hits(&a, &b));
	search_result_fini(&a);
	search_result_fini(&b);
	index_close(&x);
	reader_close(&r);
	gone();
}

/* One bit anywhere: SQLite does not notice most of them. */
TEST(search_survives_an_index_that_rots) {
	struct indexer_options o = { .store = dir };
	struct indexer_result got;
	struct times t = { 0 };
	struct reader *r = NULL;
	struct err e = { .code = 0 };
	unsigned rounds = getenv("HANSARD_LONG") != NULL ? 3000 : 250;
	unsigned opened = 0;

	fresh(8);
	make_store(12, 0);
	REQUIRE(indexer_rebuild(&o, &got, &e) == 0);
	REQUIRE(reader_open(&r, dir, &e) == 0);
	auto_free char *path = xasprintf("%s/index.db", index_path);
	auto_fd int fd = open(path, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);

	REQUIRE(size > 4096);
	for (unsigned round = 0; round < rounds; round++) {
		off_t at = 0;
		uint8_t byte = 0, other;
		struct index *x = NULL;

		/* Half of a new database is empty. */
		for (unsigned i = 0; i < 50 && byte == 0; i++) {
			at = (off_t)pick((unsigned)size);
			REQUIRE(pread(fd, &byte, 1, at) == 1);
		}
		other = byte ^ (uint8_t)(1u << pick(8));
		REQUIRE(pwrite(fd, &other, 1, at) == 1);
		e = (struct err){ .code = 0 };
		if (index_open_read(&x, index_path, &e) == 0) {
			opened++;
			compare(r, x, 1, &t);
		}
		index_close(&x);
		REQUIRE(pwrite(fd, &byte, 1, at) == 1);
	}
	test_note("%u of %u could still be opened", opened, rounds);
	CHECK(opened > rounds / 2);
	reader_close(&r);
	gone();
}

/* Damage in the index costs time, never a hit. */
TEST(search_survives_a_damaged_index) {
	struct indexer_options o = { .store = dir };
	struct indexer_result got;
	struct times t = { 0 };
	struct reader *r = NULL;
	struct err e = { .code = 0 };
	uint8_t junk[512];
	unsigned opened = 0;

	fresh(5);
	make_store(80, 2);
	REQUIRE(reader_open(&r, dir, &e) == 0);
	for (unsigned round = 0; round < 12; round++) {
		struct index *x = NULL;

		e = (struct err){ .code = 0 };
		REQUIRE(indexer_rebuild(&o, &got, &e) == 0);
		memset(junk, (int)pick(256), sizeof(junk));
		write_file("index.db", junk, sizeof(junk), (off_t)pick(3) * 4096);
		if (index_open_read(&x, index_path, &e) == 0) {
			opened++;
			compare(r, x, 2, &t);
		}
		index_close(&x);
	}
	test_note("%u of 12 could still be opened", opened);
	reader_close(&r);
	gone();
}

/* The newest are kept, and it is said that there are more. */
TEST(search_tells_when_it_is_cut) {
	struct search_options o = { .limit = 3 };
	struct reader *r = NULL;
	struct err e = { .code = 0 };

	fresh(6);
	make_store(40, 0);
	REQUIRE(reader_open(&r, dir, &e) == 0);
	struct search_result few = look(r, NULL, &o, MATCH_WORDS, "from");

	o.limit = 0;
	struct search_result all = look(r, NULL, &o, MATCH_WORDS, "from");

	CHECK_EQ_U(few.count, 3);
	CHECK(few.is_cut && !all.is_cut && all.count > 3);
	for (size_t i = 0; i < few.count; i++)
		CHECK(few.hit[i].wall_ns == all.hit[i].wall_ns);
	for (size_t i = 1; i < all.count; i++)
		CHECK(all.hit[i - 1].wall_ns >= all.hit[i].wall_ns);
	o.since_ns = all.hit[all.count / 2].wall_ns;
	struct search_result half = look(r, NULL, &o, MATCH_WORDS, "from");

	CHECK(half.count >= all.count / 2 && half.count <= all.count / 2 + 2);
	search_result_fini(&few);
	search_result_fini(&half);
	search_result_fini(&all);
	reader_close(&r);
	gone();
}

TEST_MAIN
