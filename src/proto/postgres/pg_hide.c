/*
 * pg_hide.c: credentials in what is said, left out of the record and passed on all the same.
 *
 * policy/sql_secret.h says where they stand in a statement; here that becomes orders: the run up to the
 * span is relayed, the span is hidden (ORD_HIDE), and the run goes on behind it. A message is only
 * hidden in when it is there whole, so nothing of a span is ever relayed before it was looked at.
 *
 * - Query and Parse: the spans of their text.
 * - Bind: values of the parameters that the statement puts in such a place (remembered with its
 *   text), and what looks like a credential in any value.
 * - ErrorResponse and NoticeResponse: the target quotes. Its words are looked at like a statement
 *   that stands in quotes, and for the bytes of what was hidden since the session was last idle
 *   (`echo`, 6 bytes and more, all of them together at most 16 KiB; past that nothing of such an
 *   answer's text is kept until the session is idle again).
 *
 * Where the statement behind a Bind is not known (forgotten, or no room for it), the parameters of
 * all such statements together count: hidden too much is a loss, hidden too little a leak.
 *
 * Not seen: COPY data, results, arguments of FunctionCall, SQL's own EXECUTE with literals, and
 * values behind the first 64 KiB of a Bind whose statement has no such parameter.
 */
#include "proto/postgres/pg_priv.h"

enum { ECHO_LEAST = 6, ECHO_MAX = 16 * 1024, SHAPES_MAX = 16 * 1024 };

void pg_hide_init(struct pg_core *c) {
	buf_init(&c->echo, ECHO_MAX);
}

void pg_hide_fini(struct pg_core *c) {
	pg_hide_idle(c);
	buf_fini(&c->echo);
}

void pg_hide_idle(struct pg_core *c) {
	c->is_echo_full = false;
	if (c->echo.p == NULL)
		return;
	buf_clear(&c->echo);
	buf_trim(&c->echo, true);
}

/* ---- orders ---- */

/* Hides n bytes at a place in the data shown, which stands behind what was relayed or hidden. */
static void hide_at(struct pg_core *c, uint64_t at, uint64_t n) {
	struct pg_run *r = &c->run;
	struct order o = { .kind = ORD_RELAY, .side = r->side, .n = at - r->start };

	assert(at >= r->start);
	if (o.n > 0)
		c->sink->emit(c->sink, &o);
	o.kind = ORD_HIDE;
	o.why = WHY_CREDENTIAL;
	o.n = n;
	c->sink->emit(c->sink, &o);
	c->left[r->side] -= MIN(c->left[r->side], at + n - r->start);
	r->start = at + n;
}

void pg_hide(struct pg_core *c, const struct pg_in *in, struct str part,
             const struct sql_secrets *s) {
	uint64_t base = c->run.pos + PG_HEAD_SIZE + (uint64_t)(part.p - in->body.p);

	for (size_t i = 0; i < s->count; i++)
		hide_at(c, base + s->spans[i].at, s->spans[i].n);
}

/* ---- what the client says ---- */

static void remember(struct pg_core *c, struct str secret) {
	if (secret.n < ECHO_LEAST)
		return;
	if (c->echo.len + secret.n + sizeof(uint16_t) > ECHO_MAX) {
		c->is_echo_full = true;
		return;
	}
	w_u16(&c->echo, (uint16_t)secret.n);
	w_bytes(&c->echo, secret);
}

static void remember_all(struct pg_core *c, struct str part, const struct sql_secrets *s) {
	for (size_t i = 0; i < s->count; i++)
		remember(c, str_mem(part.p + s->spans[i].at, s->spans[i].n));
}

void pg_secrets(struct pg_core *c, struct str text, struct sql_secrets *ret) {
	ret->count = 0;
	ret->params = 0;
	if (c->keeps_credentials)
		return;
	sql_secrets_find(ret, text);
	remember_all(c, text, ret);
}

static void hide_value(struct pg_core *c, const struct pg_in *in, struct str value,
                       bool is_secret) {
	struct sql_secrets s = { .count = 0 };

	if (is_secret)
		sql_secrets_add(&s, value, value);
	else
		sql_secrets_find_shapes(&s, str_head(value, SHAPES_MAX));
	remember_all(c, value, &s);
	pg_hide(c, in, value, &s);
}

int pg_hide_params(struct pg_core *c, const struct pg_in *in, uint64_t params) {
	struct rd r = rd_of(in->body);

	if (c->keeps_credentials)
		return PG_PASS;
	if (params != 0 && in->body.n + PG_HEAD_SIZE < in->len)
		return pg_want_whole(c, in);
	(void)rd_cstr(&r);
	(void)rd_cstr(&r);
	rd_skip(&r, 2 * (size_t)rd_be16(&r));
	uint16_t count = rd_be16(&r);

	for (uint16_t i = 0; i < count && !r.bad; i++) {
		uint32_t n = rd_be32(&r);

		if (n == UINT32_MAX)
			continue;
		struct str value = rd_bytes(&r, n);

		if (!r.bad && value.n > 0)
			hide_value(c, in, value, sql_is_param_secret(params, i));
	}
	return PG_PASS;
}

/* ---- what the target says ---- */

static void find_echo(const struct pg_core *c, struct str words, struct sql_secrets *s) {
	struct rd r = rd_of(buf_peek(&c->echo));

	while (rd_left(&r) > 0) {
		struct str secret = rd_bytes(&r, rd_u16(&r));
		const char *p;

		for (size_t i = 0;
		     i < words.n && secret.n > 0 &&
		     (p = memmem(words.p + i, words.n - i, secret.p, secret.n)) != NULL;) {
			i = (size_t)(p - words.p) + secret.n;
			sql_secrets_add(s, words, str_mem(p, secret.n));
		}
	}
}

/* Fields of words; the others are codes, names, numbers. */
static bool has_words(uint8_t code) {
	return code == 'M' || code == 'D' || code == 'H' || code == 'W' || code == 'q';
}

static void hide_field(struct pg_core *c, const struct pg_in *in, struct str words) {
	struct sql_secrets s;

	sql_secrets_find_quoted(&s, words);
	if (c->is_echo_full)
		sql_secrets_add(&s, words, words);
	else
		find_echo(c, words, &s);
	pg_hide(c, in, words, &s);
}

int pg_hide_echo(struct pg_core *c, const struct pg_in *in) {
	struct rd r = rd_of(in->body);
	bool is_whole = in->body.n + PG_HEAD_SIZE >= in->len;

	if (c->keeps_credentials)
		return PG_PASS;
	if (!is_whole && (c->echo.len > 0 || c->is_echo_full))
		return pg_want_whole(c, in);
	for (uint8_t code = rd_u8(&r); code != 0 && !r.bad; code = rd_u8(&r)) {
		struct str words = rd_cstr(&r);

		if (!r.bad && words.n > 0 && has_words(code))
			hide_field(c, in, words);
	}
	return PG_PASS;
}

/* ---- what is left at the end ---- */

bool pg_holds_words(struct str left) {
	struct pg_head h;

	while (left.n > 0) {
		if (memchr("QPBF", left.p[0], 4) != NULL)
			return true;
		if (pg_head_parse(&h, left) <= 0 || h.len > left.n)
			return false;
		left = str_from(left, (size_t)h.len);
	}
	return false;
}
