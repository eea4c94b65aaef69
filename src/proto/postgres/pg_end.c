/*
 * pg_end.c: the orders that are plain, and every way in which a session ends.
 *
 * A session ends once: the phase becomes `ended`, in which nothing is read and nothing is said. What
 * the client is told is a FATAL ErrorResponse with a code, what happened, whether an unanswered
 * command may have reached the target, and what to do; clients never retry on our codes by
 * themselves (no class 40, no 57P03). It is said only between two messages toward the client: when a
 * relayed answer is half-way, closing is all that the protocol leaves.
 *
 * Bytes that were shown and not consumed are put on the record as dropped, so that the streams C
 * and T tell what was said and not passed on; before Ready, and where they hold a statement or its
 * parameters, there may be a credential in them and only their place and length are kept.
 */
#include "proto/postgres/pg_priv.h"

/* ---- orders ---- */

static void emit(struct pg_core *c, const struct order *o) {
	c->sink->emit(c->sink, o);
}

void pg_skip(struct pg_core *c, enum side side, uint64_t n, enum proto_why why) {
	emit(c, &(struct order){ .kind = ORD_SKIP, .side = side, .n = n, .why = why });
	c->left[side] -= MIN(c->left[side], n);
}

void pg_redact(struct pg_core *c, enum side side, uint64_t n, enum proto_why why) {
	emit(c, &(struct order){ .kind = ORD_REDACT, .side = side, .n = n, .why = why });
	c->left[side] -= MIN(c->left[side], n);
}

void pg_send(struct pg_core *c, enum side side, struct str bytes, enum proto_why why) {
	emit(c, &(struct order){ .kind = ORD_SEND, .side = side, .bytes = bytes, .why = why });
}

void pg_send_secret(struct pg_core *c, enum side side, struct str bytes, enum proto_why why) {
	emit(c,
	     &(struct order){
		     .kind = ORD_SEND, .side = side, .bytes = bytes, .why = why, .secret = true });
}

void pg_fact(struct pg_core *c, struct str name, struct str value) {
	emit(c,
	     &(struct order){ .kind = ORD_FACT, .name = name, .bytes = str_head(value, 4 * KIB) });
}

void pg_tls(struct pg_core *c, enum side side, bool is_direct) {
	emit(c,
	     &(struct order){
		     .kind = ORD_TLS, .side = side, .name = STR(PG_ALPN), .is_direct = is_direct });
}

void pg_timer(struct pg_core *c, uint64_t at_ns) {
	emit(c, &(struct order){ .kind = ORD_TIMER, .n = at_ns });
}

void pg_close_side(struct pg_core *c, enum side side) {
	emit(c, &(struct order){ .kind = ORD_CLOSE_SIDE, .side = side });
}

/* ---- the end ---- */

static bool is_logged_in(const struct pg_core *c) {
	return c->phase == &pg_phase_ready || c->phase == &pg_phase_leaving;
}

static void drop_left(struct pg_core *c, enum side side) {
	if (c->left[side] == 0 || c->is_open[side])
		return;
	bool is_secret = side == SIDE_CLIENT && !c->keeps_credentials && c->is_left_worded;
	/* a piece of a result, of which no more is kept than of the whole */
	is_secret |= side == SIDE_TARGET && c->results.kind != DEPTH_FULL;
	if (is_logged_in(c) && !is_secret)
		pg_skip(c, side, c->left[side], WHY_CLOSING);
	else
		pg_redact(c, side, c->left[side], WHY_CLOSING);
}

/* The run that the end cuts short: what passed before it is relayed, the rest stands as left. */
static void close_run(struct pg_core *c) {
	struct pg_run *r = &c->run;
	if (!r->is_on)
		return;
	pg_run_flush(c);
	r->is_on = false;
}

int pg_end(struct pg_core *c, int code) {
	close_run(c);
	drop_left(c, SIDE_CLIENT);
	drop_left(c, SIDE_TARGET);
	pg_commands_close(c);
	pg_enter(c, &pg_phase_ended);
	emit(c, &(struct order){ .kind = ORD_CLOSE, .reason = code });
	return code;
}

int pg_fatal_hint(struct pg_core *c, int code, const struct pg_say *say) {
	close_run(c);
	if (!c->is_open[SIDE_TARGET] && c->phase != &pg_phase_start_tls) {
		struct buf b;
		buf_init(&b, 4 * KIB);
		struct pg_say fatal = *say;
		fatal.type = 'E';
		fatal.severity = STR("FATAL");
		pg_w_say(&b, &fatal);
		if (w_done(&b) == 0)
			pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_ERROR);
		buf_fini(&b);
	}
	return pg_end(c, code);
}

int pg_fatal(struct pg_core *c, int code, const char *sqlstate, const char *text) {
	return pg_fatal_hint(c, code,
	                     &(struct pg_say){ .sqlstate = str_of(sqlstate),
	                                       .message = str_of(text) });
}

int pg_client_broke(struct pg_core *c, const char *text) {
	pg_fact(c, STR("client_violation"), str_of(text));
	return pg_fatal_hint(c, H_EPROTO,
	                     &(struct pg_say){ .sqlstate = STR("08P01"),
	                                       .message = STR("protocol violation by the client"),
	                                       .detail = str_of(text) });
}

int pg_target_broke(struct pg_core *c, const char *text) {
	pg_fact(c, STR("target_violation"), str_of(text));
	if (!is_logged_in(c))
		return pg_login_failed(c, str_of(text));
	return pg_fatal_hint(c, H_EUPSTREAM,
	                     &(struct pg_say){ .sqlstate = STR("08P01"),
	                                       .message = STR("protocol violation by the target"),
	                                       .detail = str_of(text) });
}

/* ---- kill and drain ---- */

struct kill_row {
	int code;
	const char *sqlstate, *message, *hint;
};

static const struct kill_row kill_rows[] = {
	{ H_ERECORDER, "58030", "the session can no longer be recorded and was ended",
	  "reconnect when the recorder is back; check the outcome of unanswered commands first" },
	{ H_EKEEPER, "57P01", "the gateway's keeper is not available and the session was ended",
	  "reconnect later" },
	{ H_EKILLED, "57P01", "the session was ended by an administrator",
	  "ask the administrator before you reconnect" },
	{ H_EEXPIRED, "57P01", "the session has reached session_max and was ended", "reconnect" },
	{ H_EDRAIN, "57P01", "the gateway is shutting down and the session was ended",
	  "reconnect" },
	{ H_EQUOTA, "53400", "a quota of this session or identity is exhausted",
	  "ask the administrator for a larger quota" },
	{ H_ENOSPACE, "53100", "the record store has no space left and the session was ended",
	  "reconnect when space has been made" },
};

/* True when the oldest command without an answer lies wholly in what the target was never handed. In
 * Ready U grows by C's bytes alone, so both count the same from their ends, as far back as to a message
 * that went out changed. */
static bool is_all_unsent(const struct pg_core *c) {
	if (c->phase != &pg_phase_ready || c->track.count == 0 || c->unsent == 0 ||
	    c->look.state != PG_LOOK_IDLE)
		return false;
	const struct pg_expect *oldest = &c->track.ring[c->track.head];
	uint64_t said = c->sink->offset(c->sink, STREAM_C);

	return c->unsent <= said && said - c->unsent >= c->rewritten_end &&
	       oldest->off >= said - c->unsent;
}

/* What the client cannot know by itself: whether what it waits for may have happened. */
static struct str outcome(const struct pg_core *c) {
	if (!is_logged_in(c))
		return STR("no command was sent to the target");
	if (is_all_unsent(c))
		return STR("every command that was sent to the target was answered; "
		           "what came after it was not sent");
	if (pg_in_flight(c))
		return STR("a command without an answer may have reached the target: "
		           "its outcome is unknown");
	if (c->state != 'I')
		return STR("every command was answered; the open transaction is rolled back");
	return STR("every command was answered");
}

int pg_kill(struct pg_core *c, int code) {
	const struct kill_row *row = &kill_rows[0];
	struct kill_row other = { code, "57P01", h_err_text(code), "reconnect" };
	size_t i = 0;
	while (i < ARRAY_LEN(kill_rows) && kill_rows[i].code != code)
		i++;
	row = i < ARRAY_LEN(kill_rows) ? &kill_rows[i] : &other;
	return pg_fatal_hint(c, code,
	                     &(struct pg_say){ .sqlstate = str_of(row->sqlstate),
	                                       .message = str_of(row->message),
	                                       .detail = outcome(c),
	                                       .hint = str_of(row->hint) });
}

/* Said behind whatever is on its way to the client: a notice may stand between any two messages. */
void pg_expiring(struct pg_core *c) {
	char text[160];
	struct buf b;

	if (c->phase != &pg_phase_ready || pg_is_idle(c))
		return;
	(void)snprintf(
		text, sizeof(text),
		"the session has reached session_max (%llu s): it ends when it is idle, at the "
		"latest in %llu s",
		(unsigned long long)(c->session_max_ns / NS_PER_S),
		(unsigned long long)(c->session_grace_ns / NS_PER_S));
	buf_init(&b, KIB);
	pg_w_say(&b, &(struct pg_say){ .type = 'N',
	                               .severity = STR("NOTICE"),
	                               .sqlstate = STR("00000"),
	                               .message = str_of(text),
	                               .hint = STR("commit or roll back, then connect again") });
	if (w_done(&b) == 0)
		pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_NOTICE);
	buf_fini(&b);
}

int pg_drain(struct pg_core *c) {
	c->is_draining = true;
	bool is_before = c->phase != &pg_phase_ready && c->phase != &pg_phase_leaving;
	return is_before || pg_is_idle(c) ? pg_kill(c, H_EDRAIN) : 0;
}

/* ---- peers that go ---- */

int pg_target_gone(struct pg_core *c, int code) {
	if (!is_logged_in(c))
		return pg_login_failed(c, STR("the target closed the connection"));
	if (c->phase == &pg_phase_leaving || c->was_fatal)
		return pg_end(c, 0);
	/* A torn message was not passed on, so that an error can still be said behind the last one. */
	return pg_fatal_hint(c, code < 0 ? code : H_EUPSTREAM,
	                     &(struct pg_say){ .sqlstate = STR("08006"),
	                                       .message = STR("the target closed the connection"),
	                                       .detail = outcome(c),
	                                       .hint = STR("reconnect") });
}

void pg_leave(struct pg_core *c) {
	drop_left(c, SIDE_CLIENT);
	pg_close_side(c, SIDE_TARGET);
	pg_enter(c, &pg_phase_leaving);
}

int pg_client_gone(struct pg_core *c, int code) {
	if (c->phase == &pg_phase_leaving)
		return 0;
	if (!is_logged_in(c))
		return pg_end(c, code < 0 ? code : H_ECLOSED);
	/* A message that the client broke off is as good as none: the target sees it torn as well. */
	c->has_client_ended = true;
	if (!pg_client_waits(c))
		pg_leave(c);
	return 0;
}
