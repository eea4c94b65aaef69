/*
 * pg_view_test.c: what a conversation meant, whatever the pieces in which it was recorded.
 *
 * A conversation is a list of steps, each some bytes of one side. The handler writes what it is told as
 * lines; each test compares them with what it expects, for bytes fed whole and in pieces of every small size.
 */
#include "proto/postgres/pg_view.h"

#include "base/test.h"

enum { STEPS_MAX = 64, PIECES_MAX = 19 };

struct step {
	bool from_client, is_dropped;
	size_t at, n;
	uint64_t hole; /* instead of bytes */
	bool is_hidden;
	uint64_t rows_out;
};

struct talk {
	struct buf bytes;
	struct step step[STEPS_MAX];
	size_t count;
	struct buf out;
};

/* ---- writing a conversation ---- */

static void talk_init(struct talk *t) {
	*t = (struct talk){ .count = 0 };
	buf_init(&t->bytes, 4 * MIB);
	buf_init(&t->out, 4 * MIB);
}

static void talk_fini(struct talk *t) {
	buf_fini(&t->bytes);
	buf_fini(&t->out);
}

/* The next bytes come from this side. */
static void side(struct talk *t, bool from_client, bool is_dropped) {
	assert(t->count < STEPS_MAX);
	t->step[t->count++] = (struct step){ .from_client = from_client,
		                             .is_dropped = is_dropped,
		                             .at = t->bytes.len };
}

static void client(struct talk *t) {
	side(t, true, false);
}

static void target(struct talk *t) {
	side(t, false, false);
}

static void hole(struct talk *t, bool from_client, uint64_t n) {
	side(t, from_client, true);
	t->step[t->count - 1].hole = n;
}

static void message(struct talk *t, uint8_t type, struct str body) {
	w_u8(&t->bytes, type);
	w_be32(&t->bytes, (uint32_t)(4 + body.n));
	w_bytes(&t->bytes, body);
}

static void login(struct talk *t) {
	client(t);
	size_t m = pg_w_start_begin(&t->bytes, PG_PROTOCOL_3_0);
	pg_w_param(&t->bytes, STR("user"), STR("shop"));
	pg_w_start_end(&t->bytes, m);
	hole(t, true, 40);
	target(t);
	pg_w_auth(&t->bytes, PG_AUTH_OK, STR_NONE);
	pg_w_ready(&t->bytes, 'I');
}

static void parse(struct talk *t, struct str name, struct str text) {
	size_t m = pg_w_begin(&t->bytes, 'P');
	w_cstr(&t->bytes, name);
	w_cstr(&t->bytes, text);
	w_be16(&t->bytes, 1);
	w_be32(&t->bytes, 23);
	pg_w_end(&t->bytes, m);
}

/* One parameter: an int4 in binary. Results in binary. */
static void bind(struct talk *t, struct str portal, struct str statement, uint32_t value) {
	size_t m = pg_w_begin(&t->bytes, 'B');
	w_cstr(&t->bytes, portal);
	w_cstr(&t->bytes, statement);
	w_be16(&t->bytes, 1);
	w_be16(&t->bytes, 1);
	w_be16(&t->bytes, 2);
	w_be32(&t->bytes, 4);
	w_be32(&t->bytes, value);
	w_be32(&t->bytes, UINT32_MAX);
	w_be16(&t->bytes, 1);
	w_be16(&t->bytes, 1);
	pg_w_end(&t->bytes, m);
}

static void named(struct talk *t, uint8_t type, uint8_t kind, struct str name) {
	size_t m = pg_w_begin(&t->bytes, type);
	w_u8(&t->bytes, kind);
	w_cstr(&t->bytes, name);
	pg_w_end(&t->bytes, m);
}

static void execute(struct talk *t, struct str portal) {
	size_t m = pg_w_begin(&t->bytes, 'E');
	w_cstr(&t->bytes, portal);
	w_be32(&t->bytes, 0);
	pg_w_end(&t->bytes, m);
}

static void describe_columns(struct talk *t, struct str name, uint32_t type) {
	size_t m = pg_w_begin(&t->bytes, 'T');
	w_be16(&t->bytes, 1);
	w_cstr(&t->bytes, name);
	w_be32(&t->bytes, 0);
	w_be16(&t->bytes, 0);
	w_be32(&t->bytes, type);
	w_be16(&t->bytes, 4);
	w_be32(&t->bytes, UINT32_MAX);
	w_be16(&t->bytes, 0);
	pg_w_end(&t->bytes, m);
}

/* p NULL: a NULL */
static void row(struct talk *t, struct str value) {
	size_t m = pg_w_begin(&t->bytes, 'D');
	w_be16(&t->bytes, 1);
	w_be32(&t->bytes, value.p != NULL ? (uint32_t)value.n : UINT32_MAX);
	w_bytes(&t->bytes, value);
	pg_w_end(&t->bytes, m);
}

static void tag(struct talk *t, struct str text) {
	size_t m = pg_w_begin(&t->bytes, 'C');
	w_cstr(&t->bytes, text);
	pg_w_end(&t->bytes, m);
}

static void fail(struct talk *t, struct str code) {
	pg_w_say(&t->bytes, &(struct pg_say){ .type = 'E',
	                                      .severity = STR("ERROR"),
	                                      .sqlstate = code,
	                                      .message = STR("no") });
}

/* ---- what the view says of it ---- */

static void on_begin(void *arg, const struct view_command *c) {
	struct buf *b = arg;
	w_fmt(b, "%llu %c ", (unsigned long long)c->number, "QEF"[c->kind]);
	w_bytes(b, c->has_text ? c->text : STR("?"));
	if (c->statement.n > 0 || c->portal.n > 0)
		w_fmt(b, " (%.*s/%.*s)", STR_ARG(c->portal), STR_ARG(c->statement));
	struct pg_values it = c->params;
	struct pg_value v;
	for (size_t i = 0; c->has_params && pg_values_next(&it, &v); i++) {
		w_bytes(b, STR(" $"));
		if (v.is_null)
			w_bytes(b, STR("NULL"));
		else
			(void)pg_value_text(b, pg_oid_at(&c->param_types, i),
			                    pg_format_at(&c->param_formats, i), v.bytes);
	}
	w_u8(b, '\n');
}

static void on_columns(void *arg, const struct view_command *c, const struct view_shape *shape) {
	struct pg_row_desc desc = shape->desc;
	struct pg_column column;
	(void)c;
	while (pg_row_desc_next(&desc, &column))
		w_fmt(arg, " col %.*s\n", STR_ARG(column.name));
}

static void on_row(void *arg, const struct view_command *c, const struct view_shape *shape,
                   struct pg_values values) {
	struct pg_row_desc desc = shape->desc;
	struct pg_column column = { .type_oid = 0 };
	struct pg_value v;
	(void)c;
	for (size_t i = 0; pg_values_next(&values, &v); i++) {
		(void)pg_row_desc_next(&desc, &column);
		w_bytes(arg, STR(" row "));
		if (v.is_null)
			w_bytes(arg, STR("NULL"));
		else
			(void)pg_value_text(arg, column.type_oid, pg_format_at(&shape->formats, i),
			                    v.bytes);
	}
	w_u8(arg, '\n');
}

static void on_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	w_fmt(arg, " copy %llu %c %.*s\n", (unsigned long long)c->number, from_client ? '>' : '<',
	      STR_ARG(data));
}

static void on_complete(void *arg, const struct view_command *c, struct str text) {
	(void)c;
	w_fmt(arg, " = %.*s\n", STR_ARG(text));
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct pg_field f;
	(void)c;
	while (pg_fields_next(&fields, &f))
		if (f.code == 'C')
			w_fmt(arg, " ! %.*s\n", STR_ARG(f.value));
}

static void on_end(void *arg, const struct view_command *c) {
	static const char *const names[] = { "ok", "failed", "suspended", "skipped", "unanswered" };
	w_fmt(arg, " -> %s %llu\n", names[c->status], (unsigned long long)c->rows);
}

static void on_error(void *arg, struct pg_fields fields, uint64_t now_ns) {
	(void)fields;
	(void)now_ns;
	w_bytes(arg, STR("error outside\n"));
}

static void on_oversize(void *arg, const struct view_command *c, bool from_client, uint8_t type,
                        uint64_t len) {
	(void)c;
	w_fmt(arg, " oversize %c %c %llu\n", from_client ? 'C' : 'T', type,
	      (unsigned long long)len);
}

static void on_broken(void *arg, bool from_client, uint64_t offset) {
	w_fmt(arg, "broken %c %llu\n", from_client ? 'C' : 'T', (unsigned long long)offset);
}

static void on_kept_out(void *arg, const struct view_command *c, uint64_t rows,
                        const uint8_t *digest) {
	CHECK(digest == NULL);
	w_fmt(arg, " out %llu of %llu, %llu bytes\n", (unsigned long long)rows,
	      (unsigned long long)c->rows, (unsigned long long)c->row_bytes);
}

static void play(struct talk *t, size_t piece, size_t message_max) {
	struct view_handler h = { .arg = &t->out,
		                  .begin = on_begin,
		                  .columns = on_columns,
		                  .row = on_row,
		                  .kept_out = on_kept_out,
		                  .copy = on_copy,
		                  .complete = on_complete,
		                  .failed = on_failed,
		                  .end = on_end,
		                  .oversize = on_oversize,
		                  .error = on_error,
		                  .broken = on_broken };
	struct pg_view *v = pg_view_new(&h, message_max);
	uint64_t off[2] = { 0, 0 };
	buf_clear(&t->out);
	for (size_t i = 0; i < t->count; i++) {
		struct step *s = &t->step[i];
		size_t end = i + 1 < t->count ? t->step[i + 1].at : t->bytes.len;
		struct view_hidden gone = { .from_client = s->from_client,
			                    .offset = off[s->from_client],
			                    .length = s->hole,
			                    .now_ns = i + 1 };
		if (s->rows_out > 0)
			pg_view_kept_out(v, &(struct view_kept_out){ .offset = gone.offset,
			                                             .length = s->hole,
			                                             .rows = s->rows_out,
			                                             .now_ns = i + 1 });
		else if (s->is_hidden)
			pg_view_hidden(v, &gone);
		else if (s->hole > 0)
			pg_view_hole(v, s->from_client, off[s->from_client], s->hole);
		off[s->from_client] += s->hole;
		for (size_t at = s->at; at < end;) {
			size_t n = MIN(piece, end - at);
			pg_view_bytes(v,
			              &(struct view_bytes){
					      .from_client = s->from_client,
					      .is_forwarded = !s->is_dropped,
					      .offset = off[s->from_client],
					      .bytes = str_head(str_from(buf_peek(&t->bytes), at),
			                                        n),
					      .now_ns = i + 1 });
			off[s->from_client] += n;
			at += n;
		}
	}
	pg_view_end(v);
	pg_view_free(&v);
}

/* The same, whatever the pieces. */
static void check_talk(struct talk *t, const char *want) {
	play(t, SIZE_MAX, MIB);
	CHECK_EQ_STR(buf_peek(&t->out), str_of(want));
	for (size_t piece = 1; piece <= PIECES_MAX; piece++) {
		play(t, piece, MIB);
		if (!str_is(buf_peek(&t->out), want)) {
			test_note("pieces of %zu", piece);
			CHECK_EQ_STR(buf_peek(&t->out), str_of(want));
			break;
		}
	}
	talk_fini(t);
}

/* ---- tests ---- */

TEST(simple_query_with_several_results) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, STR("select 1; update x"));
	target(&t);
	describe_columns(&t, STR("one"), 25);
	row(&t, STR("a"));
	row(&t, STR_NONE);
	row(&t, STR(""));
	tag(&t, STR("SELECT 3"));
	tag(&t, STR("UPDATE 2"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 Q select 1; update x\n col one\n row a\n row NULL\n row \n = SELECT 3\n"
	               " = UPDATE 2\n -> ok 3\n");
}

TEST(extended_query_decodes_parameters_and_rows) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR("s"), STR("select $1"));
	named(&t, 'D', 'S', STR("s"));
	bind(&t, STR("p"), STR("s"), 77);
	execute(&t, STR("p"));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	pg_w_empty(&t.bytes, '1');
	message(&t, 't', str_mem("\0\1\0\0\0\x17", 6));
	describe_columns(&t, STR("n"), 23);
	pg_w_empty(&t.bytes, '2');
	row(&t, str_mem("\0\0\0\5", 4));
	tag(&t, STR("SELECT 1"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 E select $1 (p/s) $77 $NULL\n col n\n row 5\n = SELECT 1\n -> ok 1\n");
}

/* bug: a Parse that the target refused must not become the text of what runs under the old name. */
TEST(refused_parse_does_not_rename_what_ran) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR("s"), STR("drop table t"));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	pg_w_empty(&t.bytes, '1');
	pg_w_ready(&t.bytes, 'I');
	client(&t);
	parse(&t, STR("s"), STR("select 1"));
	pg_w_empty(&t.bytes, 'S');
	bind(&t, STR(""), STR("s"), 1);
	execute(&t, STR(""));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	fail(&t, STR("42P05"));
	pg_w_ready(&t.bytes, 'I');
	pg_w_empty(&t.bytes, '2');
	tag(&t, STR("DROP TABLE"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "error outside\n1 E drop table t (/s) $1 $NULL\n = DROP TABLE\n -> ok 0\n");
}

TEST(refused_bind_does_not_replace_a_portal) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR("a"), STR("drop table t"));
	bind(&t, STR("p"), STR("a"), 1);
	parse(&t, STR("b"), STR("select 1"));
	pg_w_empty(&t.bytes, 'S');
	bind(&t, STR("p"), STR("b"), 2);
	pg_w_empty(&t.bytes, 'S');
	execute(&t, STR("p"));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	pg_w_empty(&t.bytes, '1');
	pg_w_empty(&t.bytes, '2');
	pg_w_empty(&t.bytes, '1');
	pg_w_ready(&t.bytes, 'T');
	fail(&t, STR("42P03"));
	pg_w_ready(&t.bytes, 'T');
	tag(&t, STR("DROP TABLE"));
	pg_w_ready(&t.bytes, 'T');
	check_talk(&t, "error outside\n1 E drop table t (p/a) $1 $NULL\n = DROP TABLE\n -> ok 0\n");
}

TEST(ready_of_the_login_answers_no_command) {
	struct talk t;
	talk_init(&t);
	client(&t);
	size_t m = pg_w_start_begin(&t.bytes, PG_PROTOCOL_3_0);
	pg_w_start_end(&t.bytes, m);
	pg_w_query(&t.bytes, STR("early"));
	target(&t);
	pg_w_auth(&t.bytes, PG_AUTH_OK, STR_NONE);
	pg_w_ready(&t.bytes, 'I');
	tag(&t, STR("SELECT 0"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 Q early\n = SELECT 0\n -> ok 0\n");
}

TEST(failed_parse_is_shown_with_what_it_said) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR(""), STR("selec 1"));
	bind(&t, STR(""), STR(""), 1);
	execute(&t, STR(""));
	execute(&t, STR(""));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	fail(&t, STR("42601"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 E selec 1 $1 $NULL\n ! 42601\n -> failed 0\n"
	               "2 E selec 1 $1 $NULL\n -> skipped 0\n");
}

TEST(pipeline_keeps_each_text) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	for (unsigned i = 0; i < 2; i++) {
		parse(&t, STR(""), i == 0 ? STR("select 'a'") : STR("select 'b'"));
		bind(&t, STR(""), STR(""), i);
		execute(&t, STR(""));
	}
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	for (unsigned i = 0; i < 2; i++) {
		pg_w_empty(&t.bytes, '1');
		pg_w_empty(&t.bytes, '2');
		tag(&t, STR("SELECT 0"));
	}
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 E select 'a' $0 $NULL\n = SELECT 0\n -> ok 0\n"
	               "2 E select 'b' $1 $NULL\n = SELECT 0\n -> ok 0\n");
}

TEST(after_deallocate_no_text_rather_than_a_wrong_one) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR("a"), STR("select 1"));
	pg_w_empty(&t.bytes, 'S');
	pg_w_query(&t.bytes, STR("deallocate a; prepare a as delete from t"));
	target(&t);
	pg_w_empty(&t.bytes, '1');
	pg_w_ready(&t.bytes, 'I');
	tag(&t, STR("DEALLOCATE"));
	tag(&t, STR("PREPARE"));
	pg_w_ready(&t.bytes, 'I');
	client(&t);
	bind(&t, STR(""), STR("a"), 1);
	execute(&t, STR(""));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	pg_w_empty(&t.bytes, '2');
	tag(&t, STR("DELETE 3"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(
		&t,
		"1 Q deallocate a; prepare a as delete from t\n = DEALLOCATE\n = PREPARE\n -> ok 0\n"
		"2 E ? (/a) $\\x00000001 $NULL\n = DELETE 3\n -> ok 0\n");
}

TEST(close_forgets) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR("a"), STR("select 1"));
	named(&t, 'C', 'S', STR("a"));
	bind(&t, STR(""), STR("a"), 1);
	execute(&t, STR(""));
	pg_w_empty(&t.bytes, 'S');
	target(&t);
	pg_w_empty(&t.bytes, '1');
	pg_w_empty(&t.bytes, '3');
	fail(&t, STR("26000"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 E ? (/a) $\\x00000001 $NULL\n ! 26000\n -> failed 0\n");
}

static void copy_in(struct talk *t, bool is_early) {
	login(t);
	client(t);
	pg_w_query(&t->bytes, STR("copy t from stdin"));
	if (!is_early) {
		target(t);
		message(t, 'G', str_mem("\0\0\0", 3));
		client(t);
	}
	message(t, 'd', STR("1\n"));
	message(t, 'd', STR("2\n"));
	pg_w_empty(&t->bytes, 'c');
	target(t);
	if (is_early)
		message(t, 'G', str_mem("\0\0\0", 3));
	tag(t, STR("COPY 2"));
	pg_w_ready(&t->bytes, 'I');
}

/* bug: a Query that a skipping target never read took the answer of the Sync, and each command after it
 * the rows of another. */
TEST(said_to_a_skipping_target) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR(""), STR("selec 1"));
	pg_w_empty(&t.bytes, 'H');
	target(&t);
	fail(&t, STR("42601"));
	client(&t);
	pg_w_query(&t.bytes, STR("select 'unread'"));
	parse(&t, STR("s"), STR("select 'unread too'"));
	bind(&t, STR(""), STR("s"), 1);
	execute(&t, STR(""));
	message(&t, 'd', STR("unread"));
	pg_w_empty(&t.bytes, 'c');
	pg_w_empty(&t.bytes, 'S');
	pg_w_query(&t.bytes, STR("delete from orders"));
	target(&t);
	pg_w_ready(&t.bytes, 'I');
	tag(&t, STR("DELETE 3"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "error outside\n"
	               "1 Q select 'unread'\n -> skipped 0\n"
	               "2 E ?\n -> skipped 0\n"
	               "3 Q delete from orders\n = DELETE 3\n -> ok 0\n");
}

static void on_bounded_oversize(void *arg, const struct view_command *c, bool from_client,
                                uint8_t type, uint64_t len) {
	(void)c;
	(void)len;
	*(size_t *)arg += from_client && type == 'd';
}

/* CopyData that no target asks for is not kept without end: five bytes of it cost a hundred here. */
TEST(early_copy_data_is_bounded) {
	size_t passed_over = 0;
	struct talk t;
	talk_init(&t);
	size_t m = pg_w_start_begin(&t.bytes, PG_PROTOCOL_3_0);
	pg_w_param(&t.bytes, STR("user"), STR("shop"));
	pg_w_start_end(&t.bytes, m);
	pg_w_query(&t.bytes, STR("select pg_sleep(60)"));
	for (size_t i = 0; i < 40000; i++)
		pg_w_empty(&t.bytes, 'd');
	const struct view_handler h = { .oversize = on_bounded_oversize, .arg = &passed_over };
	struct pg_view *v = pg_view_new(&h, MIB);
	pg_view_bytes(v, &(struct view_bytes){ .from_client = true,
	                                       .is_forwarded = true,
	                                       .bytes = buf_peek(&t.bytes) });
	CHECK(passed_over > 20000 && passed_over < 40000);
	pg_view_free(&v);
	talk_fini(&t);
}

TEST(copy_in_asked_for_and_early) {
	for (int is_early = 0; is_early < 2; is_early++) {
		struct talk t;
		talk_init(&t);
		copy_in(&t, is_early != 0);
		check_talk(
			&t,
			"1 Q copy t from stdin\n copy 1 > 1\n\n copy 1 > 2\n\n = COPY 2\n -> ok 0\n");
	}
}

TEST(copy_out_and_a_copy_that_fails) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, STR("copy t to stdout"));
	target(&t);
	message(&t, 'H', str_mem("\0\0\0", 3));
	message(&t, 'd', STR("x"));
	pg_w_empty(&t.bytes, 'c');
	tag(&t, STR("COPY 1"));
	pg_w_ready(&t.bytes, 'I');
	client(&t);
	pg_w_query(&t.bytes, STR("copy t from stdin"));
	target(&t);
	message(&t, 'G', str_mem("\0\0\0", 3));
	client(&t);
	message(&t, 'd', STR("bad"));
	target(&t);
	fail(&t, STR("22P02"));
	pg_w_ready(&t.bytes, 'I');
	client(&t);
	message(&t, 'd', STR("late"));
	pg_w_empty(&t.bytes, 'c');
	pg_w_query(&t.bytes, STR("select 1"));
	target(&t);
	tag(&t, STR("SELECT 0"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 Q copy t to stdout\n copy 1 < x\n = COPY 1\n -> ok 0\n"
	               "2 Q copy t from stdin\n copy 2 > bad\n ! 22P02\n -> failed 0\n"
	               "3 Q select 1\n = SELECT 0\n -> ok 0\n");
}

TEST(error_in_simple_query_and_fatal_when_idle) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, STR("select 1/0"));
	target(&t);
	fail(&t, STR("22012"));
	pg_w_ready(&t.bytes, 'I');
	fail(&t, STR("57P01"));
	check_talk(&t, "1 Q select 1/0\n ! 22012\n -> failed 0\nerror outside\n");
}

TEST(what_was_not_answered_says_so) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, STR("insert"));
	check_talk(&t, "1 Q insert\n -> unanswered 0\n");
}

TEST(oversize_messages_are_named_and_passed_over) {
	struct talk t;
	auto_free char *big = xmalloc(30000);
	memset(big, 'x', 30000);
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, str_mem(big, 30000));
	target(&t);
	describe_columns(&t, STR("one"), 25);
	row(&t, str_mem(big, 30000));
	row(&t, STR("a"));
	tag(&t, STR("SELECT 2"));
	pg_w_ready(&t.bytes, 'I');
	for (size_t piece = 1; piece < 40000; piece = piece * 3 + 1) {
		play(&t, piece, 12000);
		CHECK_EQ_STR(
			buf_peek(&t.out),
			STR(" oversize C Q 30006\n1 Q ?\n col one\n oversize T D 30011\n row a\n"
		            " = SELECT 2\n -> ok 2\n"));
	}
	talk_fini(&t);
}

TEST(holes_at_boundaries_are_passed_over_and_others_end_the_view) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, STR("a"));
	hole(&t, true, 100);
	pg_w_query(&t.bytes, STR("b"));
	check_talk(&t, "1 Q a\n -> unanswered 0\n2 Q b\n -> unanswered 0\n");
	talk_init(&t);
	login(&t);
	client(&t);
	w_bytes(&t.bytes, STR("Q\0\0"));
	hole(&t, true, 100);
	pg_w_query(&t.bytes, STR("b"));
	check_talk(&t, "broken C 59\n");
}

/* `n` bytes in the middle of a message, which were passed on. */
static void hidden(struct talk *t, bool from_client, uint64_t n) {
	hole(t, from_client, n);
	t->step[t->count - 1].is_hidden = true;
	side(t, from_client, false);
}

TEST(hidden_bytes_are_shown_as_such) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	struct str head = STR("alter role a password '"), tail = STR("'; select 1");
	w_u8(&t.bytes, 'Q');
	w_be32(&t.bytes, (uint32_t)(4 + head.n + 7 + tail.n + 1));
	w_bytes(&t.bytes, head);
	hidden(&t, true, 7);
	w_cstr(&t.bytes, tail);
	pg_w_query(&t.bytes, STR("b \xff"));
	check_talk(&t, "1 Q alter role a password '[redacted 7 bytes, credential]'; select 1\n"
	               " -> unanswered 0\n2 Q b \xff\n -> unanswered 0\n");
	talk_init(&t);
	login(&t);
	client(&t);
	parse(&t, STR(""), STR("select crypt($1, $2)"));
	w_u8(&t.bytes, 'B');
	w_be32(&t.bytes, 4 + 2 + 4 + 2 + 4 + 5 + 4 + 4 + 2);
	w_be16(&t.bytes, 0);
	w_be16(&t.bytes, 1);
	w_be16(&t.bytes, 1);
	w_be16(&t.bytes, 2);
	w_be32(&t.bytes, 5);
	hidden(&t, true, 5);
	w_be32(&t.bytes, 4);
	w_be32(&t.bytes, 77);
	w_be16(&t.bytes, 0);
	execute(&t, STR(""));
	check_talk(&t, "1 E select crypt($1, $2) $[redacted 5 bytes, credential] $\\x0000004d\n"
	               " -> unanswered 0\n");
}

/* The first row is kept, two are not; the next command is read as ever. */
TEST(rows_that_are_not_kept_are_counted) {
	struct talk t;
	talk_init(&t);
	login(&t);
	client(&t);
	pg_w_query(&t.bytes, STR("select 1"));
	pg_w_query(&t.bytes, STR("select 2"));
	target(&t);
	describe_columns(&t, STR("one"), 25);
	row(&t, STR("a"));
	hole(&t, false, 24);
	t.step[t.count - 1].rows_out = 2;
	target(&t);
	tag(&t, STR("SELECT 3"));
	pg_w_ready(&t.bytes, 'I');
	describe_columns(&t, STR("two"), 25);
	row(&t, STR("b"));
	tag(&t, STR("SELECT 1"));
	pg_w_ready(&t.bytes, 'I');
	check_talk(&t, "1 Q select 1\n col one\n row a\n out 2 of 3, 21 bytes\n = SELECT 3\n"
	               " -> ok 3\n2 Q select 2\n col two\n row b\n = SELECT 1\n -> ok 1\n");
}

TEST(what_is_no_postgres_ends_the_view_only) {
	struct talk t;
	talk_init(&t);
	client(&t);
	w_bytes(&t.bytes, STR("GET / HTTP/1.1\r\n\r\n"));
	target(&t);
	w_bytes(&t.bytes, STR("\1\2\3\4\5\6"));
	check_talk(&t, "broken C 0\nbroken T 0\n");
}

/* ---- times ---- */

struct times {
	uint64_t held, answered, count;
};

static void note_times(void *arg, const struct view_command *c) {
	struct times *t = arg;
	t->held = c->forwarded_ns - c->received_ns;
	t->answered = c->answered_ns;
	t->count++;
}

TEST(forwarded_is_when_the_last_byte_was_handed_over) {
	struct times seen = { 0 };
	struct view_handler h = { .arg = &seen, .end = note_times };
	struct pg_view *v = pg_view_new(&h, MIB);
	struct talk t;
	talk_init(&t);
	size_t m = pg_w_start_begin(&t.bytes, PG_PROTOCOL_3_0);
	pg_w_start_end(&t.bytes, m);
	size_t start = t.bytes.len;
	pg_w_query(&t.bytes, STR("select 1"));
	struct str all = buf_peek(&t.bytes);
	/* the start packet was rewritten: dropped from C, 30 other bytes injected into U */
	pg_view_bytes(v, &(struct view_bytes){
				 .from_client = true, .bytes = str_head(all, start), .now_ns = 1 });
	pg_view_injected(v, 30);
	pg_view_bytes(v, &(struct view_bytes){ .from_client = true,
	                                       .is_forwarded = true,
	                                       .offset = start,
	                                       .bytes = str_from(all, start),
	                                       .now_ns = 1000 });
	uint64_t u_end = 30 + all.n - start;
	pg_view_forwarded(v, u_end - 1, 1100);
	pg_view_forwarded(v, u_end, 1200);
	pg_view_forwarded(v, u_end + 5, 1300);
	buf_clear(&t.bytes);
	pg_w_ready(&t.bytes, 'I');
	pg_w_ready(&t.bytes, 'I');
	pg_view_bytes(v, &(struct view_bytes){ .bytes = buf_peek(&t.bytes),
	                                       .is_forwarded = true,
	                                       .now_ns = 1500 });
	CHECK_EQ_U(seen.count, 1);
	CHECK_EQ_U(seen.held, 200);
	CHECK_EQ_U(seen.answered, 1500);
	pg_view_free(&v);
	talk_fini(&t);
}

/* ---- values ---- */

static void check_value(uint32_t type, struct str bytes, const char *want, bool is_known) {
	struct buf b;
	buf_init(&b, 4096);
	CHECK(pg_value_text(&b, type, 1, bytes) == is_known);
	CHECK_EQ_STR(buf_peek(&b), str_of(want));
	buf_fini(&b);
}

#define HEX(lit) str_mem(lit, sizeof(lit) - 1)

TEST(binary_values) {
	check_value(16, HEX("\1"), "t", true);
	check_value(16, HEX("\2"), "\\x02", false);
	check_value(20, HEX("\xff\xff\xff\xff\xff\xff\xff\xfe"), "-2", true);
	check_value(21, HEX("\x80\0"), "-32768", true);
	check_value(23, HEX("\0\0\1"), "\\x000001", false);
	check_value(25, STR("naïve"), "naïve", true);
	check_value(700, HEX("\x3d\xcc\xcc\xcd"), "0.1", true);
	check_value(701, HEX("\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1", true);
	check_value(701, HEX("\x7f\xf8\0\0\0\0\0\0"), "NaN", true);
	check_value(17, HEX("\0\xff"), "\\x00ff", true);
	check_value(2950, HEX("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"),
	            "01234567-89ab-cdef-0123-456789abcdef", true);
	check_value(1082, HEX("\0\0\0\0"), "2000-01-01", true);
	check_value(1082, HEX("\xff\xff\xff\xff"), "1999-12-31", true);
	check_value(1082, HEX("\x7f\xff\xff\xff"), "infinity", true);
	check_value(1114, HEX("\0\0\0\0\0\0\0\1"), "2000-01-01 00:00:00.000001", true);
	check_value(1184, HEX("\xff\xff\xff\xff\xff\xff\xff\xff"), "1999-12-31 23:59:59.999999+00",
	            true);
	check_value(1083, HEX("\0\0\0\x0a\xff\xff\xff\xff"), "13:07:24.640255", true);
	check_value(99999, HEX("\x01"), "\\x01", false);
	check_value(1266, HEX("\0\0\0\0\0\0\0\0\0\0\x1c\x20"), "00:00:00-02", true);
	check_value(869, HEX("\2\x18\0\4\x0a\0\0\1"), "10.0.0.1/24", true);
	check_value(869, HEX("\2\x20\0\4\x0a\0\0\1"), "10.0.0.1", true);
	check_value(829, HEX("\1\2\3\4\5\xff"), "01:02:03:04:05:ff", true);
}

TEST(binary_floats) {
	check_value(701, HEX("\0\0\0\0\0\0\0\1"), "5e-324", true);
	check_value(701, HEX("\x43\x0c\x6b\xf5\x26\x34\0\0"), "1e+15", true);
	check_value(701, HEX("\x42\xd6\xbc\xc4\x1e\x90\0\0"), "100000000000000", true);
	check_value(701, HEX("\x3f\x1a\x36\xe2\xeb\x1c\x43\x2d"), "0.0001", true);
	check_value(701, HEX("\xbe\xe4\xf8\xb5\x88\xe3\x68\xf1"), "-1e-05", true);
	check_value(701, HEX("\x80\0\0\0\0\0\0\0"), "-0", true);
	check_value(700, HEX("\x49\x74\x24\0"), "1e+06", true);
	check_value(700, HEX("\x47\xf1\x20\x40"), "123456.5", true);
}

TEST(binary_intervals) {
	/* microseconds, days, months */
	check_value(1186, HEX("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "00:00:00", true);
	check_value(1186, HEX("\0\0\0\0\0\x0f\x42\x40\0\0\0\2\0\0\0\x0f"),
	            "1 year 3 mons 2 days 00:00:01", true);
	check_value(1186, HEX("\0\0\0\0\0\x0f\x42\x40\xff\xff\xff\xff\0\0\0\0"),
	            "-1 days +00:00:01", true);
	check_value(1186, HEX("\xff\xff\xff\xff\xff\xf0\xbd\xc0\0\0\0\1\0\0\0\0"),
	            "1 day -00:00:01", true);
}

TEST(binary_ranges) {
	check_value(3904, HEX("\1"), "empty", true);
	check_value(3904, HEX("\2\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\5"), "[1,5)", true);
	check_value(3904, HEX("\x18"), "(,)", true);
	check_value(3908, HEX("\x12\0\0\0\x08\0\0\0\0\0\0\0\0"), "[\"2000-01-01 00:00:00\",)",
	            true);
	check_value(3904, HEX("\2\0\0\0\4\0\0\0\1"), "\\x020000000400000001", false);
	check_value(4451, HEX("\0\0\0\1\0\0\0\x11\2\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\5"), "{[1,5)}",
	            true);
}

TEST(binary_numeric) {
	check_value(1700, HEX("\0\2\0\0\0\0\0\2\0\x0c\x0d\x48"), "12.34", true);
	check_value(1700, HEX("\0\1\0\1\x40\0\0\0\0\5"), "-50000", true);
	check_value(1700, HEX("\0\1\xff\xff\0\0\0\3\0\x0a"), "0.001", true);
	check_value(1700, HEX("\0\0\0\0\xc0\0\0\0"), "NaN", true);
	check_value(1700, HEX("\0\0\0\0\0\0\0\2"), "0.00", true);
	check_value(1700, HEX("\0\3\0\0\0\0\0\2\0\x0c"), "\\x0003000000000002000c", false);
}

TEST(binary_arrays) {
	check_value(
		1007,
		HEX("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\2\0\0\0\1\0\0\0\4\0\0\0\7\xff\xff\xff\xff"),
		"{7,NULL}", true);
	check_value(1009, HEX("\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\1\0\0\0\1\0\0\0\3\"a\\"),
	            "{\"\\\"a\\\\\"}", true);
	check_value(1007, HEX("\0\0\0\0\0\0\0\0\0\0\0\x17"), "{}", true);
	check_value(1009,
	            HEX("\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\3\0\0\0\1\0\0\0\1a\0\0\0\4null\0\0\0\0"),
	            "{a,\"null\",\"\"}", true);
	/* two dimensions, the second from 0 */
	check_value(1005,
	            HEX("\0\0\0\2\0\0\0\0\0\0\0\x15\0\0\0\2\0\0\0\1\0\0\0\1\0\0\0\0"
	                "\0\0\0\2\0\1\0\0\0\2\0\2"),
	            "[1:2][0:0]={{1},{2}}", true);
	check_value(3905,
	            HEX("\0\0\0\1\0\0\0\0\0\0\x0f\x40\0\0\0\1\0\0\0\1\0\0\0\x11"
	                "\2\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\5"),
	            "{\"[1,5)\"}", true);
	check_value(1007, HEX("\0\0\0\1\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\1"),
	            "\\x000000010000000000000017"
	            "7fffffff00000001",
	            false);
}

TEST_MAIN
