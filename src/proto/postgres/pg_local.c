/*
 * pg_local.c: `SHOW hansard.session` and `SHOW hansard.receipt`, which the gateway answers.
 *
 * Simple protocol: answered here, in the target's place, as PostgreSQL answers SHOW (one row of
 * text), and the target is sent nothing. That may only be said between two answers, so as long as
 * one is awaited the client's bytes stay where they are. In a failed transaction, in COPY and between
 * extended messages and their Sync the statement passes as it is, and the target says what it says of
 * a setting that it does not know: those states are the target's, and it alone can answer in them.
 *
 * Extended protocol: Parse is rewritten to SELECT '<value>'::pg_catalog.text AS "hansard.session", so
 * that Describe, Bind in any format and portals work by themselves and every answer stays in order.
 * The value is that of the moment of the Parse: who wants a receipt after each command prepares it anew.
 * What is awaited is not waited for here: a client that pipelines may say the Sync only later.
 *
 * A receipt is asked of the shell and comes when the record is durable so far (ORD_RECEIPT,
 * session/receipt.c); the client's bytes wait for that as well. It is NULL when none can be given,
 * which only a recorder that died in that instant brings about, and then the session is about to end.
 *
 * On the record: the client's message is dropped ("answered"), and what the client got is injected
 * ("answered"); or dropped and injected toward the target ("rewrite"). Both are commands as others.
 */
#include "policy/sql_lex.h"
#include "proto/postgres/pg_priv.h"

enum { LOOK_MAX = 4 * KIB, OID_TEXT = 25 };

/* ---- what is asked for ---- */

static bool is_word(const struct sql_token *t, const char *lower) {
	return sql_is(t, lower) || (t->kind == SQL_NAME && !t->is_open && str_is(t->inner, lower));
}

enum pg_show pg_show_of(struct str text) {
	struct sql_lex l = sql_lex_of(text, SQL_STRICT);
	struct sql_token t;

	if (text.n > LOOK_MAX || !sql_next_solid(&l, &t) || !sql_is(&t, "show") ||
	    !sql_next_solid(&l, &t) || !is_word(&t, "hansard") || !sql_next_solid(&l, &t) ||
	    !sql_is_char(&t, '.') || !sql_next_solid(&l, &t))
		return PG_SHOW_NONE;
	enum pg_show show = is_word(&t, "session")   ? PG_SHOW_SESSION
	                    : is_word(&t, "receipt") ? PG_SHOW_RECEIPT
	                                             : PG_SHOW_NONE;

	while (sql_next_solid(&l, &t))
		if (!sql_is_char(&t, ';'))
			return PG_SHOW_NONE;
	return show;
}

/* ---- values ---- */

/* 1: it is there; 0: it was asked for. */
static int value_of(struct pg_core *c, enum pg_show show, struct str *ret) {
	*ret = str_of(c->sid);
	if (show == PG_SHOW_SESSION)
		return 1;
	*ret = str_of(c->receipt);
	if (c->receipt_state == PG_RECEIPT_HERE) {
		c->receipt_state = PG_RECEIPT_NONE;
		return 1;
	}
	pg_run_flush(c);
	c->receipt_state = PG_RECEIPT_ASKED;
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_RECEIPT });
	return 0;
}

void pg_receipt_came(struct pg_core *c, const struct event *ev) {
	if (c->receipt_state != PG_RECEIPT_ASKED)
		return;
	if (ev->code < 0 || !str_copy(c->receipt, sizeof(c->receipt), ev->text))
		c->receipt[0] = '\0';
	c->receipt_state = PG_RECEIPT_HERE;
}

bool pg_local_waits(const struct pg_core *c) {
	return c->receipt_state == PG_RECEIPT_ASKED ||
	       (c->is_local && c->track.count > 0 && !c->is_copy_in);
}

static const char *name_of(enum pg_show show) {
	return show == PG_SHOW_SESSION ? "hansard.session" : "hansard.receipt";
}

/* ---- simple ---- */

static void put_answer(struct buf *b, const struct pg_core *c, enum pg_show show,
                       struct str value) {
	size_t mark = pg_w_begin(b, 'T');

	w_be16(b, 1);
	w_cstr(b, str_of(name_of(show)));
	w_be32(b, 0);
	w_be16(b, 0);
	w_be32(b, OID_TEXT);
	w_be16(b, UINT16_MAX); /* of variable length */
	w_be32(b, UINT32_MAX);
	w_be16(b, 0);
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'D');
	w_be16(b, 1);
	w_be32(b, value.n > 0 ? (uint32_t)value.n : UINT32_MAX);
	w_bytes(b, value);
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'C');
	w_cstr(b, STR("SHOW"));
	pg_w_end(b, mark);
	pg_w_ready(b, c->state);
}

static void report(struct pg_core *c, const struct pg_in *in, struct str text) {
	uint64_t off = in->off + PG_HEAD_SIZE + (uint64_t)(text.p - in->body.p);
	struct pg_expect e = { .kind = 'Q',
		               .off = in->off,
		               .len = (uint32_t)(in->len - 1),
		               .received_ns = c->now_ns };

	e.text = pg_text_new(&c->track, text, off, &(struct sql_secrets){ .count = 0 });
	pg_command_report(c, CMD_OK, &e);
	pg_text_unref(&c->track, e.text);
}

int pg_local_query(struct pg_core *c, const struct pg_in *in, struct str text) {
	enum pg_show show = pg_show_of(text);
	struct str value;
	struct buf b;

	c->is_local = false;
	if (show == PG_SHOW_NONE || c->is_skipping || c->is_extended || c->is_copy_in)
		return 0;
	c->is_local = c->track.count > 0;
	if (c->is_local)
		return PG_STOP;
	if (c->state == 'E')
		return 0;
	if (value_of(c, show, &value) == 0)
		return PG_STOP;
	pg_run_flush(c);
	pg_skip(c, SIDE_CLIENT, in->len, WHY_ANSWERED);
	buf_init(&b, KIB);
	put_answer(&b, c, show, value);
	pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_ANSWERED);
	buf_fini(&b);
	report(c, in, text);
	return PG_TAKEN;
}

/* ---- extended ---- */

static void put_parse(struct buf *b, enum pg_show show, struct str name, struct str value) {
	char text[PG_RECEIPT_MAX + 80];

	if (value.n > 0) /* of hexadecimal digits, letters, colons and hyphens */
		(void)snprintf(text, sizeof(text), "SELECT '%.*s'::pg_catalog.text AS \"%s\"",
		               STR_ARG(value), name_of(show));
	else
		(void)snprintf(text, sizeof(text), "SELECT NULL::pg_catalog.text AS \"%s\"",
		               name_of(show));
	size_t mark = pg_w_begin(b, 'P');

	w_cstr(b, name);
	w_cstr(b, str_of(text));
	w_be16(b, 0);
	pg_w_end(b, mark);
}

int pg_local_parse(struct pg_core *c, const struct pg_in *in, const struct pg_parse *p) {
	enum pg_show show = pg_show_of(p->text);
	struct str value;
	struct buf b;

	if (show == PG_SHOW_NONE || c->is_skipping)
		return 0;
	if (value_of(c, show, &value) == 0)
		return PG_STOP;
	pg_run_flush(c);
	pg_skip(c, SIDE_CLIENT, in->len, WHY_REWRITE);
	buf_init(&b, p->name.n + 2 * KIB);
	put_parse(&b, show, p->name, value);
	pg_send(c, SIDE_TARGET, buf_peek(&b), WHY_REWRITE);
	buf_fini(&b);
	c->rewritten_end = in->off + in->len;
	return PG_TAKEN;
}
