/*
 * pg_core_test.c: every transcript of tests/scripts/postgres, whole, at every split point and byte
 * by byte; then what transcripts say badly: long values, full queues, many names.
 */
#include <dirent.h>

#include "base/crypto.h"
#include "base/test.h"
#include "proto/postgres/pg_script.h"
#include "proto/postgres/pg_shell.h"

#ifndef PG_SCRIPTS /* the build says where; by hand it is run from the top of the tree */
#define PG_SCRIPTS "tests/scripts/postgres"
#endif

static char *file_read(const char *path, size_t *ret_n) {
	auto_file FILE *f = fopen(path, "rb");
	if (f == NULL)
		return NULL;
	char *text = xmalloc(MIB);
	*ret_n = fread(text, 1, MIB, f);
	return text;
}

static bool play_at(const char *name, struct str text, int cut, size_t *ret_longest) {
	char why[512] = "";
	if (script_play(text, cut, ret_longest, why, sizeof(why)) == 0)
		return true;
	test_note("%s, cut %d: %s", name, cut, why);
	return false;
}

static bool play_all(const char *name, struct str text) {
	size_t longest = 0;
	size_t unused = 0;
	if (!play_at(name, text, SCRIPT_WHOLE, &longest) ||
	    !play_at(name, text, SCRIPT_BYTES, &unused))
		return false;
	for (size_t cut = 1; cut < MIN(longest, (size_t)2000); cut++)
		if (!play_at(name, text, (int)cut, &unused))
			return false;
	return true;
}

TEST(transcripts) {
	crypto_setup();
	DIR *d = opendir(PG_SCRIPTS);
	size_t count = 0;
	REQUIRE(d != NULL);
	for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		size_t len = strlen(e->d_name);
		if (len < 3 || strcmp(e->d_name + len - 2, ".t") != 0)
			continue;
		auto_free char *path = xasprintf("%s/%s", PG_SCRIPTS, e->d_name);
		size_t n = 0;
		auto_free char *text = file_read(path, &n);
		count++;
		test_check(text != NULL && play_all(e->d_name, str_mem(text, n)), e->d_name, 0,
		           "plays");
	}
	(void)closedir(d);
	CHECK(count >= 20);
}

/* ---- what transcripts say badly ---- */

static struct pg_shell *ready_new(enum hygiene hygiene) {
	struct pg_shell *sh = xcalloc(1, sizeof(*sh));
	shell_init(sh, true);
	shell_ready(sh, hygiene);
	for (size_t i = 0; i < SIDE_COUNT; i++)
		buf_clear(&sh->out[i]);
	sh->log_read = sh->log_count;
	return sh;
}

/* True when no promise was broken; frees. */
static bool ready_done(struct pg_shell *sh) {
	const char *broken = sh->broken;
	shell_fini(sh);
	free(sh);
	if (broken != NULL)
		test_note("broken: %s", broken);
	return broken == NULL;
}

static struct str log_next(struct pg_shell *sh) {
	return sh->log_read < sh->log_count ? str_of(sh->log[sh->log_read++]) : STR_NONE;
}

static void head(struct buf *b, uint8_t type, uint64_t len) {
	w_u8(b, type);
	w_be32(b, (uint32_t)(len - 1));
}

/* Says n bytes in pieces. */
static void say_many(struct pg_shell *sh, enum side side, uint64_t n) {
	char piece[50000];
	memset(piece, 'v', sizeof(piece));
	for (; n > 0; n -= MIN(n, sizeof(piece)))
		shell_say(sh, side, str_mem(piece, (size_t)MIN(n, sizeof(piece))));
}

static void say_buf(struct pg_shell *sh, enum side side, struct buf *b) {
	REQUIRE(w_done(b) == 0);
	shell_say(sh, side, buf_peek(b));
	buf_clear(b);
}

/* A 100 MiB parameter and a 100 MiB value stream past, decided from their heads. */
TEST(values_of_100_mib) {
	struct pg_shell *sh = ready_new(HYGIENE_PINNED);
	struct buf b;
	buf_init(&b, MIB);
	uint64_t body = 100 * MIB;
	head(&b, 'B', PG_HEAD_SIZE + 2 + body);
	w_zero(&b, 2);
	say_buf(sh, SIDE_CLIENT, &b);
	say_many(sh, SIDE_CLIENT, body);
	CHECK_EQ_U(sh->out[SIDE_TARGET].len, PG_HEAD_SIZE + 2 + body);
	CHECK(sh->in[SIDE_CLIENT].len == 0);
	pg_w_empty(&b, 'H');
	say_buf(sh, SIDE_CLIENT, &b);
	pg_w_empty(&b, '2');
	say_buf(sh, SIDE_TARGET, &b);
	CHECK(!pg_proto.is_idle(&sh->core));
	pg_w_empty(&b, 'S');
	say_buf(sh, SIDE_CLIENT, &b);
	pg_w_ready(&b, 'I');
	say_buf(sh, SIDE_TARGET, &b);
	CHECK(pg_proto.is_idle(&sh->core));
	pg_w_query(&b, STR("select big"));
	say_buf(sh, SIDE_CLIENT, &b);
	head(&b, 'D', PG_HEAD_SIZE + body);
	say_buf(sh, SIDE_TARGET, &b);
	say_many(sh, SIDE_TARGET, body);
	size_t mark = pg_w_begin(&b, 'C');
	w_cstr(&b, STR("SELECT 1"));
	pg_w_end(&b, mark);
	pg_w_ready(&b, 'I');
	say_buf(sh, SIDE_TARGET, &b);
	CHECK_EQ_STR(log_next(sh), STR("cmd query ok SELECT - rows=1 bytes=104857600 t=DCZ "
	                               "text=select big"));
	CHECK(pg_proto.is_idle(&sh->core));
	CHECK(ready_done(sh));
	buf_fini(&b);
}

/* A Query of 3 MB is wanted whole, and hashed once it is there. */
TEST(query_beyond_64_kib) {
	struct pg_shell *sh = ready_new(HYGIENE_OPEN);
	struct buf b;
	buf_init(&b, MIB);
	uint64_t body = 3 * MIB;
	head(&b, 'Q', PG_HEAD_SIZE + body + 1);
	say_buf(sh, SIDE_CLIENT, &b);
	say_many(sh, SIDE_CLIENT, body);
	CHECK(sh->out[SIDE_TARGET].len == 0);
	CHECK_EQ_U(sh->need[SIDE_CLIENT], PG_HEAD_SIZE + body + 1);
	shell_say(sh, SIDE_CLIENT, STR("\0"));
	CHECK_EQ_U(sh->out[SIDE_TARGET].len, PG_HEAD_SIZE + body + 1);
	CHECK(pg_in_flight(&sh->core));
	CHECK(ready_done(sh));
	buf_fini(&b);
}

TEST(query_beyond_the_budget) {
	struct pg_shell *sh = ready_new(HYGIENE_OPEN);
	struct buf b;
	buf_init(&b, MIB);
	sh->budget = MIB;
	head(&b, 'P', 2 * MIB);
	w_bytes(&b, STR("name"));
	say_buf(sh, SIDE_CLIENT, &b);
	CHECK(sh->is_closed);
	CHECK_EQ_I(sh->reason, H_ELIMIT);
	struct pg_msg m = { 0 };
	struct pg_error e = { 0 };
	CHECK(pg_msg_parse(&m, buf_peek(&sh->out[SIDE_CLIENT])) > 0);
	CHECK_EQ_I(pg_error_parse(&e, m.body), 0);
	CHECK_EQ_STR(e.sqlstate, STR("53200"));
	CHECK(sh->out[SIDE_TARGET].len == 0);
	CHECK(ready_done(sh));
	buf_fini(&b);
}

/* Bug 1 (CVE-2021-3935): the core stops at ORD_TLS; what is left is the shell's to find. */
TEST(plaintext_behind_ssl_request) {
	struct pg_shell *sh = xcalloc(1, sizeof(*sh));
	struct buf b;
	buf_init(&b, KIB);
	shell_init(sh, true);
	pg_w_ssl_request(&b);
	size_t mark = pg_w_start_begin(&b, PG_PROTOCOL_3_0);
	pg_w_param(&b, STR("user"), STR("shop"));
	pg_w_start_end(&b, mark);
	size_t behind = b.len - PG_SSL_LEN;
	say_buf(sh, SIDE_CLIENT, &b);
	CHECK_EQ_STR(log_next(sh), STR("tls client"));
	CHECK_EQ_STR(log_next(sh), STR("plaintext behind tls"));
	CHECK_EQ_U(sh->in[SIDE_CLIENT].len, behind);
	CHECK(ready_done(sh));
	buf_fini(&b);
}

/* CVE-2021-23222, the other way round: one byte is read of the target's answer, no more. */
TEST(plaintext_behind_s) {
	struct pg_shell *sh = xcalloc(1, sizeof(*sh));
	struct grant g = shell_grant(HYGIENE_PINNED, TLS_REQUIRE);
	shell_init(sh, true);
	shell_admit(sh);
	shell_event(sh, &(struct event){ .kind = EV_GRANTED, .grant = &g });
	sh->log_read = sh->log_count;
	shell_say(sh, SIDE_TARGET, STR("Sinjected"));
	CHECK_EQ_STR(log_next(sh), STR("tls target"));
	CHECK_EQ_STR(log_next(sh), STR("plaintext behind tls"));
	CHECK_EQ_U(sh->in[SIDE_TARGET].len, 8);
	CHECK(ready_done(sh));
}

/* A driver that pipelines more than the queue holds waits, loses nothing, and is not ended. */
TEST(pipeline_beyond_the_queue) {
	struct pg_shell *sh = ready_new(HYGIENE_PINNED);
	struct buf b;
	uint32_t count = 3 * PG_EXPECT_MAX;
	buf_init(&b, 4 * MIB);
	for (uint32_t i = 0; i < count; i++)
		pg_w_query(&b, STR("x"));
	uint64_t all = b.len;
	say_buf(sh, SIDE_CLIENT, &b);
	CHECK_EQ_U(sh->core.track.count, PG_EXPECT_MAX);
	CHECK_EQ_U(sh->out[SIDE_TARGET].len, all / 3);
	for (uint32_t i = 1; i <= count; i++) {
		pg_w_empty(&b, 'I');
		pg_w_ready(&b, 'I');
		if (i % 1000 == 0 || i == count)
			say_buf(sh, SIDE_TARGET, &b);
	}
	CHECK_EQ_U(sh->out[SIDE_TARGET].len, all);
	CHECK(pg_proto.is_idle(&sh->core));
	size_t commands = sh->log_count - sh->log_read;
	CHECK_EQ_U(commands, count);
	CHECK(ready_done(sh));
	buf_fini(&b);
}

static void parse_named(struct buf *b, uint32_t i) {
	char name[64];
	(void)snprintf(name, sizeof(name), "%s%u", i % 2 != 0 ? "s" : "a_statement_of_a_long_name_",
	               i);
	size_t mark = pg_w_begin(b, 'P');
	w_cstr(b, str_of(name));
	w_fmt(b, "select %u", i);
	w_u8(b, 0);
	w_be16(b, 0);
	pg_w_end(b, mark);
}

static uint64_t memory_of(const struct pg_core *c) {
	const struct pg_track *t = &c->track;
	return sizeof(*c) + t->ring_cap * sizeof(*t->ring) + t->texts_cap * sizeof(*t->texts) +
	       c->look.seen_cap * sizeof(*c->look.seen) + c->look.names.cap + c->look.fact.cap +
	       (t->statements.cap + t->portals.cap) * sizeof(*t->statements.slots);
}

/* Ten thousand prepared statements: the core forgets, it neither grows nor refuses. */
TEST(names_beyond_the_table) {
	struct pg_shell *sh = ready_new(HYGIENE_PINNED);
	struct buf b;
	buf_init(&b, MIB);
	for (uint32_t i = 0; i < 10000; i++) {
		parse_named(&b, i);
		pg_w_empty(&b, 'S');
		say_buf(sh, SIDE_CLIENT, &b);
		pg_w_empty(&b, '1');
		pg_w_ready(&b, 'I');
		say_buf(sh, SIDE_TARGET, &b);
	}
	CHECK_EQ_U(sh->core.track.statements.count, PG_STATEMENT_MAX);
	CHECK(memory_of(&sh->core) < 256 * KIB);
	test_note("memory of a session with all tables full of statements: %llu bytes",
	          (unsigned long long)memory_of(&sh->core));
	CHECK(pg_statement_get(&sh->core.track, STR("s7")) != PG_NO_TEXT);
	CHECK(pg_statement_get(&sh->core.track, STR("a_statement_of_a_long_name_8")) != PG_NO_TEXT);
	CHECK(pg_statement_get(&sh->core.track, STR("s9999")) == PG_NO_TEXT);
	CHECK(ready_done(sh));
	buf_fini(&b);
}

/* A session that speaks of more relations than it may have frozen: one fact says so. */
TEST(relations_beyond_the_table) {
	struct pg_shell *sh = ready_new(HYGIENE_PINNED);
	struct buf b;
	unsigned limits = 0, asked = 0;
	sh->core.look.is_on = true;
	buf_init(&b, MIB);
	for (uint32_t i = 0; i < 3000; i++) {
		char text[64];
		(void)snprintf(text, sizeof(text), "select * from relation_%u", i);
		pg_w_query(&b, str_of(text));
		say_buf(sh, SIDE_CLIENT, &b);
		size_t mark = pg_w_begin(&b, 'C');
		w_cstr(&b, STR("SELECT 0"));
		pg_w_end(&b, mark);
		pg_w_ready(&b, 'I');
		say_buf(sh, SIDE_TARGET, &b);
		if (sh->core.look.state == PG_LOOK_IDLE)
			continue;
		asked++;
		pg_w_ready(&b, 'I');
		say_buf(sh, SIDE_TARGET, &b);
	}
	for (size_t i = 0; i < sh->log_count; i++)
		limits += str_starts(str_of(sh->log[i]), STR("fact relation.limit"));
	CHECK_EQ_U(limits, 1);
	CHECK(asked >= 1000 && asked < 2048);
	CHECK(memory_of(&sh->core) < 256 * KIB);
	CHECK(ready_done(sh));
	buf_fini(&b);
}

/* The caps of all tables together, whatever a client does. */
TEST(memory_bound) {
	uint64_t names = (uint64_t)(2048 + 512) * sizeof(struct pg_name);
	uint64_t all = sizeof(struct pg_core) + PG_EXPECT_MAX * sizeof(struct pg_expect) +
	               PG_TEXT_MAX * sizeof(struct pg_text) + names +
	               PG_SEEN_MAX * sizeof(uint64_t) + 2560;
	test_note("largest session: %llu bytes", (unsigned long long)all);
	CHECK(all <= 256 * KIB);
}

/* Statement and portal tables against a plain model. */
TEST(names_model) {
	struct pg_track t;
	uint16_t model[64];
	uint32_t seed = 7;
	pg_track_init(&t);
	memset(model, 0xff, sizeof(model));
	uint16_t texts[8];
	struct sql_secrets none = { .count = 0 };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		texts[i] = pg_text_new(&t, STR("x"), i, &none);
	bool is_same = true;
	for (size_t round = 0; round < 20000; round++) {
		seed = seed * 1664525U + 1013904223U;
		size_t n = (seed >> 10) % ARRAY_LEN(model);
		uint16_t text = (seed >> 20) % 3 == 0 ? PG_NO_TEXT : texts[(seed >> 24) % 8];
		char name[48];
		(void)snprintf(name, sizeof(name), n % 3 == 0 ? "%zu" : "long_enough_to_hash_%zu",
		               n);
		if ((seed >> 5) % 97 == 0) {
			pg_statement_drop_text(&t, texts[n % 8]);
			for (size_t i = 0; i < ARRAY_LEN(model); i++)
				model[i] = model[i] == texts[n % 8] ? PG_NO_TEXT : model[i];
		}
		pg_statement_set(&t, str_of(name), text);
		model[n] = text;
		is_same &= pg_statement_get(&t, str_of(name)) == model[n];
	}
	for (size_t n = 0; n < ARRAY_LEN(model); n++) {
		char name[48];
		(void)snprintf(name, sizeof(name), n % 3 == 0 ? "%zu" : "long_enough_to_hash_%zu",
		               n);
		is_same &= pg_statement_get(&t, str_of(name)) == model[n];
	}
	CHECK(is_same);
	pg_statements_clear(&t);
	CHECK_EQ_U(t.statements.count, 0);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		CHECK_EQ_U(t.texts[texts[i]].refs, 1); /* ours alone: none leaked, none lost */
		pg_text_unref(&t, texts[i]);
	}
	pg_track_fini(&t);
}

TEST(table) {
	CHECK(proto_find(STR("postgres")) == &pg_proto);
	CHECK(proto_find(STR("postgre")) == NULL);
}

TEST_MAIN
