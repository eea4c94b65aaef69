/*
 * pg_view_hidden_test.c: what the record left out of a message shows as a label in its place.
 *
 * A side's bytes are written whole; every 0xfe in them is a hidden byte. They are fed in pieces of
 * every small size.
 */
#include "base/test.h"
#include "proto/postgres/pg_view.h"

enum { HIDDEN = 0xfe, PIECES_MAX = 9 };

static void on_begin(void *arg, const struct view_command *c) {
	struct pg_values it = c->params;
	struct pg_value v;

	w_bytes(arg, c->text);
	for (size_t i = 0; c->has_params && pg_values_next(&it, &v); i++) {
		w_bytes(arg, STR(" $"));
		(void)pg_value_text(arg, pg_oid_at(&c->param_types, i),
		                    pg_format_at(&c->param_formats, i), v.bytes);
	}
	w_u8(arg, '\n');
}

static void on_failed(void *arg, const struct view_command *c unused_arg, struct pg_fields fields) {
	struct pg_field f;

	while (pg_fields_next(&fields, &f))
		if (f.code == 'M')
			w_bytes(arg, f.value);
	w_u8(arg, '\n');
}

static size_t run_of(struct str s, bool is_hidden) {
	size_t n = 0;

	while (n < s.n && ((uint8_t)s.p[n] == HIDDEN) == is_hidden)
		n++;
	return n;
}

static void feed(struct pg_view *v, bool from_client, struct str all, size_t piece) {
	struct str left = all;

	while (left.n > 0) {
		uint64_t at = all.n - left.n;
		size_t n = run_of(left, true);

		if (n > 0) {
			pg_view_hidden(v, &(struct view_hidden){ .from_client = from_client,
			                                         .offset = at,
			                                         .length = n });
		} else {
			n = MIN(run_of(left, false), piece);
			pg_view_bytes(v, &(struct view_bytes){ .from_client = from_client,
			                                       .is_forwarded = true,
			                                       .offset = at,
			                                       .bytes = str_head(left, n) });
		}
		left = str_from(left, n);
	}
}

static void shows(const struct buf *client, const struct buf *target, const char *want) {
	for (size_t piece = 1; piece <= PIECES_MAX; piece++) {
		struct buf out;
		struct view_handler h = { .arg = &out, .begin = on_begin, .failed = on_failed };
		struct pg_view *v = pg_view_new(&h, MIB);

		buf_init(&out, 64 * KIB);
		feed(v, true, buf_peek(client), piece);
		feed(v, false, buf_peek(target), piece);
		pg_view_end(v);
		CHECK_EQ_STR(buf_peek(&out), str_of(want));
		pg_view_free(&v);
		buf_fini(&out);
	}
}

static void begin(struct buf *client, struct buf *target) {
	buf_init(client, 64 * KIB);
	buf_init(target, 64 * KIB);
	size_t m = pg_w_start_begin(client, PG_PROTOCOL_3_0);
	pg_w_param(client, STR("user"), STR("shop"));
	pg_w_start_end(client, m);
	pg_w_auth(target, PG_AUTH_OK, STR_NONE);
	pg_w_ready(target, 'I');
}

TEST(hidden_in_statements_and_errors) {
	struct buf client, target;

	begin(&client, &target);
	pg_w_query(&client, STR("alter role a password '\xfe\xfe\xfe'; \xff \xfe"));
	pg_w_query(&client, STR("b \xff"));
	pg_w_say(&target, &(struct pg_say){ .type = 'E',
	                                    .severity = STR("ERROR"),
	                                    .sqlstate = STR("42601"),
	                                    .message = STR("bad \xfe\xfe") });
	pg_w_ready(&target, 'I');
	/* 0xff in a message with hidden bytes cannot be told from them. */
	shows(&client, &target,
	      "alter role a password '[redacted 3 bytes, credential]'; [redacted 1 bytes, "
	      "credential] [redacted 1 bytes, credential]\n"
	      "bad [redacted 2 bytes, credential]\nb \xff\n");
	buf_fini(&client);
	buf_fini(&target);
}

TEST(hidden_parameters_are_text) {
	struct buf client, target;

	begin(&client, &target);
	size_t m = pg_w_begin(&client, 'P');
	w_bytes(&client, STR("\0select crypt($1, $2)\0\0\0"));
	pg_w_end(&client, m);
	m = pg_w_begin(&client, 'B');
	w_bytes(&client, STR("\0\0\0\1\0\1\0\2\0\0\0\4\xfe\xfe\xfe\xfe\0\0\0\2\x00M\0\0"));
	pg_w_end(&client, m);
	m = pg_w_begin(&client, 'E');
	w_bytes(&client, STR("\0\0\0\0\0"));
	pg_w_end(&client, m);
	shows(&client, &target, "select crypt($1, $2) $[redacted 4 bytes, credential] $\\x004d\n");
	buf_fini(&client);
	buf_fini(&target);
}

/* What no gateway of ours writes: a hole. */
TEST(hidden_without_end) {
	struct buf out;
	struct view_handler h = { .arg = &out, .begin = on_begin };
	struct pg_view *v = pg_view_new(&h, MIB);

	buf_init(&out, KIB);
	pg_view_hidden(v, &(struct view_hidden){ .from_client = true, .length = UINT64_MAX / 2 });
	pg_view_hidden(v, &(struct view_hidden){ .offset = UINT64_MAX - 5, .length = 100 });
	pg_view_end(v);
	CHECK_EQ_U(out.len, 0);
	pg_view_free(&v);
	buf_fini(&out);
}

TEST_MAIN
