/*
 * pg_cancel.c: a cancel that came in for this session (EV_CANCEL), carried to the target.
 *
 * PostgreSQL's cancel is a second connection that names a backend, not a command: whatever runs there
 * when it lands is cancelled. "Never late" is therefore made true here: from EV_CANCEL until the target has closed the
 * cancel connection, nothing new of the client is forwarded (its bytes stay unconsumed), so all that
 * the cancel can hit is what was in flight. If that has ended before the request could be sent,
 * it is not sent. If the target does not close within five seconds the session ends, because the cancel
 * might land later.
 *
 * Where the session speaks TLS with the target, so does the cancel, and begins it in the same way: the
 * key would else cross in clear.
 */
#include "proto/postgres/pg_priv.h"

#define CANCEL_TIMEOUT (5 * NS_PER_S)

static void report(struct pg_core *c, enum command_status status, const char *text) {
	pg_fact(c, STR("cancel"), str_of(text));
	struct command cmd = { .kind = CMD_CANCEL,
		               .status = status,
		               .verb = STR("CANCEL"),
		               .received_ns = c->cancel_ns,
		               .done_ns = c->now_ns };
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_COMMAND, .command = &cmd });
}

bool pg_cancel_holds(const struct pg_core *c) {
	return c->cancel != PG_CANCEL_NONE && c->cancel != PG_CANCEL_ABANDONED;
}

static void give_up(struct pg_core *c, enum command_status status, const char *text) {
	report(c, status, text);
	pg_timer(c, 0);
	pg_close_side(c, SIDE_AUX);
	c->cancel = PG_CANCEL_ABANDONED;
}

int pg_cancel_begin(struct pg_core *c) {
	bool is_open = c->phase == &pg_phase_ready || c->phase == &pg_phase_leaving;
	if (c->cancel != PG_CANCEL_NONE) {
		pg_fact(c, STR("cancel"), STR("another one is under way"));
		return 0;
	}
	c->cancel_ns = c->now_ns;
	if (!is_open || !pg_in_flight(c) || c->target_key_len == 0) {
		report(c, CMD_SKIPPED, "nothing was in flight: not forwarded");
		return 0;
	}
	c->cancel = PG_CANCEL_DIALING;
	pg_timer(c, c->now_ns + CANCEL_TIMEOUT);
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_DIAL, .side = SIDE_AUX });
	return 0;
}

/* The connection stands (TLS as well, if it must): the last moment at which it can be too late. */
static void send_request(struct pg_core *c) {
	if (!pg_in_flight(c)) {
		give_up(c, CMD_SKIPPED, "the command ended first: not forwarded");
		return;
	}
	struct buf b;
	buf_init(&b, KIB);
	pg_w_cancel(&b, c->target_pid, str_mem(c->target_key, c->target_key_len));
	pg_send_secret(c, SIDE_AUX, buf_peek(&b), WHY_CANCEL);
	wipe(b.p, b.cap);
	buf_fini(&b);
	c->cancel = PG_CANCEL_SENT;
}

int pg_cancel_dialed(struct pg_core *c) {
	if (c->cancel == PG_CANCEL_ABANDONED)
		pg_close_side(c, SIDE_AUX);
	if (c->cancel != PG_CANCEL_DIALING)
		return 0;
	if (!c->is_up_tls) {
		send_request(c);
		return 0;
	}
	if (c->is_tls_direct) {
		c->cancel = PG_CANCEL_TLS;
		pg_tls(c, SIDE_AUX, true);
		return 0;
	}
	struct buf b;
	buf_init(&b, KIB);
	pg_w_ssl_request(&b);
	pg_send(c, SIDE_AUX, buf_peek(&b), WHY_HANDSHAKE);
	buf_fini(&b);
	c->cancel = PG_CANCEL_ASKING_TLS;
	return 0;
}

int pg_cancel_raw(struct pg_core *c, struct str data) {
	if (c->cancel != PG_CANCEL_ASKING_TLS) {
		pg_skip(c, SIDE_AUX, data.n, WHY_CANCEL); /* a target says nothing to a cancel */
		return 0;
	}
	bool is_offered = data.p[0] == 'S';
	pg_skip(c, SIDE_AUX, is_offered ? 1 : data.n, WHY_HANDSHAKE);
	if (!is_offered) {
		give_up(c, CMD_FAILED, "the target refused TLS for the cancel connection");
		return 0;
	}
	c->cancel = PG_CANCEL_TLS;
	pg_tls(c, SIDE_AUX, false);
	return 0;
}

int pg_cancel_tls_up(struct pg_core *c) {
	if (c->cancel == PG_CANCEL_TLS)
		send_request(c);
	return 0;
}

int pg_cancel_closed(struct pg_core *c) {
	enum pg_cancel_state was = c->cancel;
	c->cancel = PG_CANCEL_NONE;
	if (was == PG_CANCEL_NONE || was == PG_CANCEL_ABANDONED)
		return 0;
	pg_timer(c, 0);
	if (was == PG_CANCEL_SENT)
		report(c, CMD_OK, "forwarded");
	else
		report(c, CMD_FAILED, "the target could not be reached for it");
	return 0;
}

int pg_cancel_timer(struct pg_core *c) {
	if (c->cancel == PG_CANCEL_SENT) {
		report(c, CMD_UNKNOWN, "the target did not confirm it");
		return pg_fatal_hint(
			c, H_ETIMEOUT,
			&(struct pg_say){
				.sqlstate = STR("08006"),
				.message = STR(
					"a cancel request was not confirmed by the target within 5 s "
					"and the session was ended"),
				.detail = STR("it might have hit a later command"),
				.hint = STR("reconnect") });
	}
	if (pg_cancel_holds(c))
		give_up(c, CMD_FAILED, "the target could not be reached for it within 5 s");
	return 0;
}
