/*
 * pg_flow.c: Ready, what the client says.
 *
 * Each message that the target will answer leaves an expectation; nothing is altered, but for what
 * pg_local.c answers or rewrites. What the
 * target will *not* answer is as important:
 *
 * - After an error in the extended protocol it ignores every message but Sync and Terminate, Query
 *   and FunctionCall included (is_skipping).
 * - While it reads CopyData it swallows Sync and Flush. A client may say P B E S before it sees
 *   CopyInResponse, and d c S after: one ReadyForQuery answers both Syncs. So CopyDone and CopyFail
 *   stand in the queue as marks until the target's CopyInResponse meets them (pg_reply.c).
 *
 * A full queue makes the client wait instead of ending it: a driver may pipeline ten thousand rows.
 * That cannot lock up, since PostgreSQL flushes its answers at 8 KiB at the latest, which 4096
 * answers of at least 5 bytes exceed, and errors at once.
 *
 * Text. Query and Parse are read whole, hashed once (without the credentials, which pg_hide.c takes out), and in a pinned session must be UTF-8: what the
 * record shows must be what the target parsed. A bad text ends the session before a byte of it is
 * sent; answering in the target's place would leave the two in different states.
 */
#include "proto/postgres/pg_priv.h"

/* ---- helpers ---- */

static void expect(struct pg_core *c, const struct pg_in *in, uint16_t text) {
	pg_expect_push(&c->track, &(struct pg_expect){ .kind = in->type,
	                                               .off = in->off,
	                                               .len = (uint32_t)(in->len - 1),
	                                               .text = text,
	                                               .received_ns = c->now_ns });
}

/* A command that the target will not even read. */
static void skipped(struct pg_core *c, const struct pg_in *in, uint16_t text) {
	pg_command_report(c, CMD_SKIPPED,
	                  &(struct pg_expect){ .kind = in->type,
	                                       .off = in->off,
	                                       .len = (uint32_t)(in->len - 1),
	                                       .text = text,
	                                       .received_ns = c->now_ns });
	pg_text_unref(&c->track, text);
}

/* The extended message is expected to be answered, unless the target is skipping. */
static void extended(struct pg_core *c, const struct pg_in *in, uint16_t text) {
	c->is_extended = true;
	if (c->is_skipping)
		pg_text_unref(&c->track, text);
	else
		expect(c, in, text);
}

static int refuse_text(struct pg_core *c) {
	return pg_fatal_hint(
		c, H_EENCODING,
		&(struct pg_say){
			.sqlstate = STR("22021"),
			.message = STR(
				"the statement is not valid UTF-8 and was not sent to the target"),
			.hint = STR("this connection is pinned to UTF8 (hygiene: pinned)") });
}

static bool is_text_bad(const struct pg_core *c, struct str text) {
	return c->hygiene == HYGIENE_PINNED && str_utf8_bad(text) < text.n;
}

/* Offset in stream C of a slice of the message's body. */
static uint64_t off_of(const struct pg_in *in, struct str slice) {
	return in->off + PG_HEAD_SIZE + (uint64_t)(slice.p - in->body.p);
}

/* ---- simple protocol ---- */

static int on_query(struct pg_core *c, const struct pg_in *in) {
	struct pg_query q;
	if (pg_query_parse(&q, in->body) < 0)
		return pg_client_broke(c, "malformed Query");
	if (is_text_bad(c, q.text))
		return refuse_text(c);
	int rc = pg_local_query(c, in, q.text);
	if (rc != 0)
		return rc;
	struct sql_secrets hidden;
	pg_secrets(c, q.text, &hidden);
	rc = pg_settings_said(c, q.text, &hidden);
	if (rc < 0)
		return rc;
	uint16_t text = pg_text_new(&c->track, q.text, off_of(in, q.text), &hidden);
	if (c->is_skipping) {
		skipped(c, in, text);
	} else {
		/* a Query drops the unnamed statement */
		pg_statement_set(&c->track, STR_NONE, PG_NO_TEXT);
		expect(c, in, text);
	}
	pg_names_text(c, q.text);
	pg_hide(c, in, q.text, &hidden);
	return PG_PASS;
}

static int on_function(struct pg_core *c, const struct pg_in *in) {
	if (c->is_skipping)
		skipped(c, in, PG_NO_TEXT);
	else
		expect(c, in, PG_NO_TEXT);
	return PG_PASS;
}

/* ---- extended protocol ---- */

static int on_parse(struct pg_core *c, const struct pg_in *in) {
	struct pg_parse p;
	if (pg_parse_parse(&p, in->body) < 0)
		return pg_client_broke(c, "malformed Parse");
	if (is_text_bad(c, p.text))
		return refuse_text(c);
	int local = pg_local_parse(c, in, &p);
	if (local == PG_STOP)
		return local;
	struct sql_secrets hidden;
	pg_secrets(c, p.text, &hidden);
	int rc = pg_settings_said(c, p.text, &hidden);
	if (rc < 0)
		return rc;
	if (c->is_skipping) {
		c->is_extended = true;
		c->track.lost_params |= hidden.params; /* for its Bind, which is skipped as well */
	} else {
		uint16_t text = pg_text_new(&c->track, p.text, off_of(in, p.text), &hidden);
		pg_statement_set(&c->track, p.name, text);
		extended(c, in, text);
	}
	if (local == PG_TAKEN)
		return local;
	pg_names_text(c, p.text);
	pg_hide(c, in, p.text, &hidden);
	return PG_PASS;
}

static int on_bind(struct pg_core *c, const struct pg_in *in) {
	struct str portal, statement;
	if (pg_bind_names(&portal, &statement, in->body) <= 0)
		return pg_client_broke(c, "malformed Bind");
	uint16_t text = pg_statement_get(&c->track, statement);
	uint64_t params = pg_text_params(&c->track, text);
	if (c->is_skipping)
		params |= c->track.lost_params;
	int rc = pg_hide_params(c, in, params);
	if (rc != PG_PASS)
		return rc;
	if (c->is_skipping) {
		c->is_extended = true;
		return PG_PASS;
	}
	pg_portal_set(&c->track, portal, text);
	extended(c, in, pg_text_ref(&c->track, text));
	return PG_PASS;
}

static int on_describe(struct pg_core *c, const struct pg_in *in) {
	struct pg_named d;
	if (pg_describe_parse(&d, in->body) < 0)
		return pg_client_broke(c, "malformed Describe");
	uint16_t text = d.kind == 'S' ? pg_statement_get(&c->track, d.name)
	                              : pg_portal_get(&c->track, d.name);
	extended(c, in, pg_text_ref(&c->track, text));
	return PG_PASS;
}

static int on_close(struct pg_core *c, const struct pg_in *in) {
	struct pg_named d;
	if (pg_describe_parse(&d, in->body) < 0)
		return pg_client_broke(c, "malformed Close");
	if (d.kind == 'S')
		pg_statement_set(&c->track, d.name, PG_NO_TEXT);
	else
		pg_portal_set(&c->track, d.name, PG_NO_TEXT);
	extended(c, in, PG_NO_TEXT);
	return PG_PASS;
}

/* The text of the portal; where its result may come in several parts, one that counts them. */
static uint16_t portal_text(struct pg_core *c, const struct pg_execute *e) {
	uint16_t text = pg_portal_get(&c->track, e->portal);
	bool is_part = c->results.kind == DEPTH_HEAD && e->rows_max > 0;

	if (!is_part || pg_text_rows(&c->track, text) != NULL)
		return text;
	uint16_t own = pg_text_portal(&c->track, text);
	if (own == PG_NO_TEXT)
		return text;
	pg_portal_set(&c->track, e->portal, own);
	pg_text_unref(&c->track, own);
	return own;
}

static int on_execute(struct pg_core *c, const struct pg_in *in) {
	struct pg_execute e;
	if (pg_execute_parse(&e, in->body) < 0)
		return pg_client_broke(c, "malformed Execute");
	c->is_extended = true;
	if (c->is_skipping) /* so was its Bind: what it would have run cannot be told */
		skipped(c, in, PG_NO_TEXT);
	else
		expect(c, in, pg_text_ref(&c->track, portal_text(c, &e)));
	return PG_PASS;
}

static int on_sync(struct pg_core *c, const struct pg_in *in) {
	if (in->body.n != 0)
		return pg_client_broke(c, "malformed Sync");
	if (c->is_copy_in) {
		c->swallowed++;
		return PG_PASS;
	}
	c->is_extended = false;
	c->is_skipping = false;
	expect(c, in, PG_NO_TEXT);
	return PG_PASS;
}

static int on_flush(struct pg_core *c, const struct pg_in *in) {
	return in->body.n == 0 ? PG_PASS : pg_client_broke(c, "malformed Flush");
}

/* ---- copy ---- */

static int on_copy_data(struct pg_core *c, const struct pg_in *in) {
	if (c->is_copy_in)
		c->answer.row_bytes += in->len - PG_HEAD_SIZE;
	else
		c->copy_ahead += in->len - PG_HEAD_SIZE;
	return PG_PASS;
}

/* CopyDone and CopyFail. Outside COPY the target ignores them; said ahead of it they are marks. */
static int on_copy_end(struct pg_core *c, const struct pg_in *in) {
	if (in->type == 'c' && in->body.n != 0)
		return pg_client_broke(c, "malformed CopyDone");
	if (c->is_copy_in)
		c->is_copy_in = false;
	else if (c->track.count > 0 && !c->is_skipping)
		expect(c, in, PG_NO_TEXT);
	return PG_PASS;
}

/* ---- the end ---- */

static int on_terminate(struct pg_core *c, const struct pg_in *in) {
	if (in->body.n != 0)
		return pg_client_broke(c, "malformed Terminate");
	c->has_client_ended = true;
	c->has_said_bye = true;
	return PG_PASS;
}

const struct pg_table pg_client_table = {
	.on = {
		['B'] = { .fn = on_bind, .need = PG_NEED_FIRST },
		['C'] = { .fn = on_close, .need = PG_NEED_WHOLE },
		['D'] = { .fn = on_describe, .need = PG_NEED_WHOLE },
		['E'] = { .fn = on_execute, .need = PG_NEED_WHOLE },
		['F'] = { .fn = on_function, .need = PG_NEED_FIRST },
		['H'] = { .fn = on_flush, .need = PG_NEED_WHOLE },
		['P'] = { .fn = on_parse, .need = PG_NEED_WHOLE },
		['Q'] = { .fn = on_query, .need = PG_NEED_WHOLE },
		['S'] = { .fn = on_sync, .need = PG_NEED_WHOLE },
		['X'] = { .fn = on_terminate, .need = PG_NEED_WHOLE },
		['c'] = { .fn = on_copy_end, .need = PG_NEED_WHOLE },
		['d'] = { .fn = on_copy_data, .need = PG_NEED_HEAD },
		['f'] = { .fn = on_copy_end, .need = PG_NEED_WHOLE },
	},
};
