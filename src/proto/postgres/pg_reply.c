/*
 * pg_reply.c: Ready, what the target answers, and the commands that come of it.
 *
 * Every answer belongs to the oldest expectation: P→1, B→2, C→3, D→[t](T|n), E→D*(C|I|s) or a copy,
 * F→V then Z, Q→…Z, S→Z. N, A and S may stand anywhere. An answer that nobody asked for ends the
 * session: from then on the record could not say what belongs to what.
 *
 * After an ErrorResponse in the extended protocol everything up to the next Sync is dropped from the
 * queue, because the target drops it too; what was registered by those messages is forgotten.
 *
 * One command event per Query, Execute and FunctionCall, with a place in T: from the first answer
 * since the last command ended (so the RowDescription that a Describe brought is within) to
 * CommandComplete, for Query and FunctionCall to ReadyForQuery. Each Execute of a suspended portal is a command of
 * its own: it is what the client asked for and what a rule can decide.
 *
 * Swallowed Syncs. A Sync in front of CopyDone is swallowed by a target that reads CopyData; but one
 * that failed between CopyInResponse and its first read (a statement trigger) has not read it and
 * answers it. Those Syncs are counted, and one ReadyForQuery each is let pass if it comes.
 */
#include "proto/postgres/pg_priv.h"

/* ---- commands ---- */

static enum command_kind kind_of(const struct pg_expect *e) {
	if (e->kind == 'Q')
		return CMD_QUERY;
	return e->kind == 'F' ? CMD_FUNCTION : CMD_EXECUTE;
}

static void set_verb(struct pg_done *d, const char *from, size_t n) {
	memcpy(d->verb, from, n);
	d->command.verb.n = n;
}

static void fill_text(struct pg_core *c, struct pg_done *d, const struct pg_expect *e) {
	const struct pg_text *x = pg_text_get(&c->track, e->text);
	if (x == NULL)
		return;
	d->command.text_off = x->off;
	d->command.text_len = x->len;
	memcpy(d->command.text_sha256, x->sha256, SHA256_SIZE);
	set_verb(d, x->verb, x->verb_len);
}

static void fill_answer(const struct pg_core *c, struct pg_done *d) {
	const struct pg_answer *a = &c->answer;
	d->command.t_off = a->t_off;
	d->command.t_len = a->t_end - a->t_off;
	d->command.rows = a->has_tag ? a->rows_tag : a->rows_seen;
	d->command.row_bytes = a->row_bytes;
	d->command.done_ns = c->now_ns;
	if (a->has_failed) {
		memcpy(d->sqlstate, a->sqlstate, sizeof(d->sqlstate));
		d->command.sqlstate.n = sizeof(d->sqlstate);
	}
	if (d->command.verb.n == 0)
		set_verb(d, a->verb, a->verb_len);
}

void pg_command_report(struct pg_core *c, enum command_status status, const struct pg_expect *e) {
	if (c->done_count == PG_DONE_MAX)
		pg_run_flush(c);
	struct pg_done *d = &c->done[c->done_count++];
	*d = (struct pg_done){ .command = { .kind = kind_of(e),
		                            .status = status,
		                            .c_off = e->off,
		                            .c_len = (uint64_t)e->len + 1,
		                            .received_ns = e->received_ns,
		                            .done_ns = c->now_ns } };
	fill_text(c, d, e);
	if (c->answer.has_begun && status != CMD_SKIPPED)
		fill_answer(c, d);
	if (d->command.verb.n == 0 && e->kind == 'F')
		set_verb(d, "FUNCTION", 8);
}

static bool is_command(const struct pg_expect *e) {
	return e->kind == 'Q' || e->kind == 'E' || e->kind == 'F';
}

void pg_commands_close(struct pg_core *c) {
	while (c->track.count > 0) {
		struct pg_expect e;
		pg_expect_pop(&c->track, &e);
		if (is_command(&e))
			pg_command_report(c, CMD_UNKNOWN, &e);
		c->answer.has_begun = false;
		pg_text_unref(&c->track, e.text);
	}
	pg_run_flush(c);
}

/* ---- the oldest expectation ---- */

/* Marks of CopyDone and CopyFail have no answer: one that comes to the front is spent. */
static struct pg_expect *oldest(struct pg_core *c) {
	struct pg_expect *e = pg_expect_at(&c->track, 0);
	while (e != NULL && (e->kind == 'c' || e->kind == 'f')) {
		struct pg_expect spent;
		pg_expect_pop(&c->track, &spent);
		e = pg_expect_at(&c->track, 0);
	}
	return e;
}

static uint8_t oldest_kind(struct pg_core *c) {
	const struct pg_expect *e = oldest(c);
	return e != NULL ? e->kind : 0;
}

static void begin(struct pg_core *c, const struct pg_in *in) {
	if (!c->answer.has_begun) {
		c->answer = (struct pg_answer){ .has_begun = true, .t_off = in->off };
		c->swallowed = 0;
	}
	c->answer.t_end = in->off + in->len;
}

/* The oldest expectation is met. */
static void met(struct pg_core *c, enum command_status status) {
	struct pg_expect e;
	pg_expect_pop(&c->track, &e);
	if (is_command(&e)) {
		pg_command_report(c, status, &e);
		c->answer.has_begun = false;
		c->is_copy_in = false;
	}
	pg_text_unref(&c->track, e.text);
}

static int unasked(struct pg_core *c) {
	return pg_target_broke(c, "an answer came that no request was waiting for");
}

/* ---- plain answers ---- */

static int answer_to(struct pg_core *c, const struct pg_in *in, uint8_t kind) {
	begin(c, in);
	if (oldest_kind(c) != kind)
		return unasked(c);
	met(c, CMD_OK);
	return PG_PASS;
}

static int on_parse_done(struct pg_core *c, const struct pg_in *in) {
	return answer_to(c, in, 'P');
}

static int on_bind_done(struct pg_core *c, const struct pg_in *in) {
	return answer_to(c, in, 'B');
}

static int on_close_done(struct pg_core *c, const struct pg_in *in) {
	return answer_to(c, in, 'C');
}

static int on_no_data(struct pg_core *c, const struct pg_in *in) {
	return answer_to(c, in, 'D');
}

static int on_param_desc(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	return oldest_kind(c) == 'D' ? PG_PASS : unasked(c);
}

static int on_row_desc(struct pg_core *c, const struct pg_in *in) {
	pg_names_columns(c, in->body);
	if (oldest_kind(c) != 'Q')
		return answer_to(c, in, 'D');
	begin(c, in);
	return PG_PASS;
}

static bool runs(uint8_t kind) {
	return kind == 'Q' || kind == 'E';
}

static int on_row(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	if (!runs(oldest_kind(c)))
		return unasked(c);
	pg_depth_row(c);
	c->answer.rows_seen++;
	c->answer.row_bytes += in->len - PG_HEAD_SIZE;
	return PG_PASS;
}

static int on_function_result(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	if (oldest_kind(c) != 'F')
		return unasked(c);
	pg_depth_row(c);
	return PG_PASS;
}

/* ---- the end of a statement ---- */

/* An Execute ends here; a Query goes on to its ReadyForQuery. */
static int statement_end(struct pg_core *c) {
	uint8_t kind = oldest_kind(c);
	if (!runs(kind))
		return unasked(c);
	c->is_copy_in = false;
	c->answer.rows_head = 0;
	if (kind == 'E')
		met(c, CMD_OK);
	return PG_PASS;
}

static void take_verb(struct pg_answer *a, struct str verb) {
	a->verb_len = (uint8_t)MIN(verb.n, sizeof(a->verb));
	memcpy(a->verb, verb.p, a->verb_len);
}

/* The Execute that is being answered keeps its text: it is the one that deallocated. */
static void forget_names(struct pg_core *c) {
	struct pg_expect *head = pg_expect_at(&c->track, 0);
	uint16_t text = head != NULL ? pg_text_ref(&c->track, head->text) : PG_NO_TEXT;
	pg_statements_forget(&c->track);
	if (head == NULL || head->text != PG_NO_TEXT)
		pg_text_unref(&c->track, text);
	else
		head->text = text;
}

static int on_complete(struct pg_core *c, const struct pg_in *in) {
	struct pg_tag tag;
	if (pg_tag_parse(&tag, in->body) < 0)
		return pg_target_broke(c, "malformed CommandComplete");
	begin(c, in);
	c->answer.has_tag |= tag.has_rows;
	c->answer.rows_tag += tag.rows;
	if (c->answer.verb_len == 0 && tag.verb.n > 0)
		take_verb(&c->answer, tag.verb);
	if (str_starts(tag.text, STR("CREATE")) || str_starts(tag.text, STR("ALTER")) ||
	    str_starts(tag.text, STR("DROP")))
		pg_names_forget(c);
	/* Names may stand for other statements from now on: what is not known is not said. A DO may have
	 * executed any of these; that a function did so is not seen. */
	if (str_starts(tag.text, STR("DEALLOCATE")) || str_is(tag.text, "DISCARD ALL") ||
	    str_is(tag.text, "DO"))
		forget_names(c);
	return statement_end(c);
}

static int on_empty(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	return statement_end(c);
}

static int on_suspended(struct pg_core *c, const struct pg_in *in) {
	return answer_to(c, in, 'E');
}

/* ---- copy ---- */

static int on_copy_in(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	if (!runs(oldest_kind(c)))
		return unasked(c);
	c->answer.row_bytes += c->copy_ahead;
	c->copy_ahead = 0;
	c->is_copy_in = true;
	for (const struct pg_expect *e; (e = pg_expect_at(&c->track, 1)) != NULL;) {
		bool is_end = e->kind == 'c' || e->kind == 'f';
		if (!is_end && e->kind != 'S')
			break;
		c->swallowed += e->kind == 'S';
		pg_expect_drop(&c->track, 1);
		if (is_end) {
			c->is_copy_in = false;
			break;
		}
	}
	return PG_PASS;
}

static int on_copy_out(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	return runs(oldest_kind(c)) ? PG_PASS : unasked(c);
}

static int on_copy_data(struct pg_core *c, const struct pg_in *in) {
	begin(c, in);
	if (!runs(oldest_kind(c)))
		return unasked(c);
	pg_depth_row(c);
	c->answer.row_bytes += in->len - PG_HEAD_SIZE;
	return PG_PASS;
}

/* START_REPLICATION: data both ways, of which ours is bookkept as in COPY FROM. */
static int on_copy_both(struct pg_core *c, const struct pg_in *in) {
	if (!c->is_replication)
		return pg_fatal(c, H_EFEATURE, "0A000", "replication is refused by the gateway");
	return on_copy_in(c, in);
}

/* ---- errors ---- */

/* What a dropped message had registered is not known to the target. */
static void forget(struct pg_core *c, const struct pg_expect *e) {
	if (e->kind == 'P')
		pg_statement_drop_text(&c->track, e->text);
	if (e->kind == 'B' || (e->kind == 'E' && pg_text_rows(&c->track, e->text) != NULL))
		pg_portal_drop_text(&c->track, e->text);
	/* No such statement: it went behind our back, and the name may come to stand for another. */
	if (memcmp(c->answer.sqlstate, "26000", sizeof(c->answer.sqlstate)) == 0)
		pg_statement_drop_text(&c->track, e->text);
}

/* The failed message stands in front. The Execute of the same text failed with it; the others
 * were never looked at. */
static void drop_to_sync(struct pg_core *c) {
	struct pg_expect failed;
	pg_expect_pop(&c->track, &failed);
	forget(c, &failed);
	bool is_told = is_command(&failed);
	if (is_told)
		pg_command_report(c, CMD_FAILED, &failed);
	struct pg_expect *e;
	while ((e = pg_expect_at(&c->track, 0)) != NULL && e->kind != 'S') {
		struct pg_expect gone;
		pg_expect_pop(&c->track, &gone);
		bool is_same = gone.kind == 'E' && !is_told &&
		               pg_text_is_same(&c->track, gone.text, failed.text);
		if (is_command(&gone))
			pg_command_report(c, is_same ? CMD_FAILED : CMD_SKIPPED, &gone);
		is_told |= is_same;
		forget(c, &gone);
		pg_text_unref(&c->track, gone.text);
	}
	pg_text_unref(&c->track, failed.text);
	c->is_skipping = e == NULL;
	c->answer.has_begun = false;
}

/* Severity and SQLSTATE of an error that may be longer than what is seen: its first fields. */
static void take_error(struct pg_core *c, struct str seen) {
	struct rd r = rd_of(seen);
	memcpy(c->answer.sqlstate, "XX000", sizeof(c->answer.sqlstate));
	for (uint8_t code = rd_u8(&r); code != 0 && !r.bad; code = rd_u8(&r)) {
		struct str v = rd_cstr(&r);
		if (code == 'C' && v.n == sizeof(c->answer.sqlstate))
			memcpy(c->answer.sqlstate, v.p, v.n);
		if (code == 'V' || code == 'S')
			c->was_fatal |= str_is(v, "FATAL") || str_is(v, "PANIC");
	}
	c->answer.has_failed = true;
}

static int on_error(struct pg_core *c, const struct pg_in *in) {
	struct pg_fields whole;
	bool is_whole = in->body.n + PG_HEAD_SIZE == in->len;
	if (is_whole && pg_fields_parse(&whole, in->body) < 0)
		return pg_target_broke(c, "malformed ErrorResponse");
	int rc = pg_hide_echo(c, in);
	if (rc != PG_PASS)
		return rc;
	uint8_t kind = oldest_kind(c);
	begin(c, in);
	take_error(c, in->body);
	c->is_copy_in = false;
	if (kind != 0 && kind != 'Q' && kind != 'F' && kind != 'S')
		drop_to_sync(c);
	else if (kind == 0 || kind == 'S')
		c->answer.has_begun = false; /* of no command: said in passing, or by the commit */
	return PG_PASS;
}

/* ---- ReadyForQuery ---- */

/* What the ReadyForQuery answers: a Sync, or a Query or FunctionCall that has said something. */
static int ready(struct pg_core *c) {
	uint8_t kind = oldest_kind(c);
	if (kind == 'S' || ((kind == 'Q' || kind == 'F') && c->answer.has_begun)) {
		met(c, c->answer.has_failed ? CMD_FAILED : CMD_OK);
		return PG_PASS;
	}
	if (c->swallowed == 0)
		return unasked(c);
	c->swallowed--;
	return PG_PASS;
}

static int on_ready(struct pg_core *c, const struct pg_in *in) {
	if (pg_ready_parse(&c->state, in->body) < 0)
		return pg_target_broke(c, "malformed ReadyForQuery");
	c->answer.t_end = in->off + in->len;
	int rc = ready(c);
	if (rc < 0)
		return rc;
	c->answer.has_begun = false;
	c->is_copy_in = false;
	c->is_skipping = false; /* it has read a Sync, if one that was said before the error */
	if (c->track.count > 0 || c->is_extended)
		return PG_PASS;
	pg_hide_idle(c);
	c->copy_ahead = 0;
	c->is_open[SIDE_CLIENT] = false; /* what was answered has gone by */
	if (c->state == 'I')             /* portals end with their transaction */
		pg_portals_clear(&c->track);
	return PG_PASS;
}

/* ---- at any moment ---- */

static int on_passing(struct pg_core *c unused_arg, const struct pg_in *in unused_arg) {
	return PG_PASS;
}

static int on_notice(struct pg_core *c, const struct pg_in *in) {
	return pg_hide_echo(c, in);
}

static int on_status(struct pg_core *c, const struct pg_in *in) {
	int rc = pg_status_check(c, in->body);
	return rc < 0 ? rc : PG_PASS;
}

const struct pg_table pg_target_table = {
	.on = {
		['1'] = { .fn = on_parse_done },
		['2'] = { .fn = on_bind_done },
		['3'] = { .fn = on_close_done },
		['A'] = { .fn = on_passing },
		['C'] = { .fn = on_complete, .need = PG_NEED_WHOLE },
		['D'] = { .fn = on_row, .is_result = true },
		['E'] = { .fn = on_error, .need = PG_NEED_FIRST },
		['G'] = { .fn = on_copy_in },
		['H'] = { .fn = on_copy_out },
		['I'] = { .fn = on_empty },
		['N'] = { .fn = on_notice, .need = PG_NEED_FIRST },
		['S'] = { .fn = on_status, .need = PG_NEED_WHOLE },
		['T'] = { .fn = on_row_desc },
		['V'] = { .fn = on_function_result, .is_result = true },
		['W'] = { .fn = on_copy_both },
		['Z'] = { .fn = on_ready, .need = PG_NEED_WHOLE },
		['c'] = { .fn = on_passing },
		['d'] = { .fn = on_copy_data, .is_result = true },
		['n'] = { .fn = on_no_data },
		['s'] = { .fn = on_suspended },
		['t'] = { .fn = on_param_desc },
	},
};
