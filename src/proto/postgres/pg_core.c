/*
 * pg_core.c: the PostgreSQL session machine: phases, the pump, the events.
 *
 * A phase says which side is read and which messages are legal there; what has no row is refused.
 *
 *   start ──SSLRequest──▶ start-tls ──▶ start ──StartupMessage──▶ password ──▶ admit
 *                       (or sasl ──▶ prove ──▶ sasl-final, sasl-refused: pg_prove.c)
 *     ──granted──▶ ask-tls ──▶ target-tls ──▶ login ⇄ login-step ──AuthenticationOk──▶ settle
 *     ──ReadyForQuery──▶ ready ──Terminate, EOF──▶ leaving ──▶ ended
 *
 * The pump walks the messages in the bytes shown, asks each one's handler, and collects what passes
 * unchanged into one run: one RELAY per read, however many messages stood in it. A handler that
 * consumes by itself (`own`) gets the run flushed before it, so consumption stays in order. A
 * message that is longer than what is shown is decided from its head and named whole in the RELAY;
 * the shell passes the rest unseen.
 *
 * Invariants:
 * 1. Bytes are consumed from the front, each exactly once; nothing is consumed after the end.
 * 2. Nothing goes to the target before EV_GRANTED.
 * 3. In Ready no byte is altered, but for SHOW hansard.* (pg_local.c); a pinned session ends rather than
 *    passing certain things.
 * 4. No memory is asked for per message in Ready; tables grow on demand up to fixed caps (pg_priv.h).
 */
#include "proto/postgres/pg_priv.h"

#define START_TIMEOUT (60 * NS_PER_S)
#define CANCEL_TIMEOUT (10 * NS_PER_S)
#define ADMIT_TIMEOUT (60 * NS_PER_S)
#define LOGIN_TIMEOUT (60 * NS_PER_S)
#define SEEN_MAX ((uint64_t)(64 * KIB)) /* what the shell shows without being asked */

const struct pg_phase pg_phase_start = { .name = "start",
	                                 .timeout_ns = START_TIMEOUT,
	                                 .client_raw = pg_start_raw };
const struct pg_phase pg_phase_start_tls = { .name = "start-tls", .timeout_ns = START_TIMEOUT };
const struct pg_phase pg_phase_cancel = { .name = "cancel", .timeout_ns = CANCEL_TIMEOUT };
const struct pg_phase pg_phase_password = { .name = "password",
	                                    .timeout_ns = START_TIMEOUT,
	                                    .client = &pg_password_table };
const struct pg_phase pg_phase_sasl = { .name = "sasl",
	                                .timeout_ns = START_TIMEOUT,
	                                .client = &pg_sasl_table };
const struct pg_phase pg_phase_prove = { .name = "prove", .timeout_ns = ADMIT_TIMEOUT };
const struct pg_phase pg_phase_sasl_final = { .name = "sasl-final",
	                                      .timeout_ns = START_TIMEOUT,
	                                      .client = &pg_sasl_final_table };
const struct pg_phase pg_phase_sasl_refused = { .name = "sasl-refused",
	                                        .timeout_ns = START_TIMEOUT,
	                                        .client = &pg_sasl_refused_table };
const struct pg_phase pg_phase_admit = { .name = "admit", .timeout_ns = ADMIT_TIMEOUT };
const struct pg_phase pg_phase_ask_tls = { .name = "ask-tls",
	                                   .timeout_ns = LOGIN_TIMEOUT,
	                                   .target_raw = pg_ask_tls_raw };
const struct pg_phase pg_phase_target_tls = { .name = "target-tls", .timeout_ns = LOGIN_TIMEOUT };
const struct pg_phase pg_phase_login = { .name = "login",
	                                 .timeout_ns = LOGIN_TIMEOUT,
	                                 .target = &pg_login_table };
const struct pg_phase pg_phase_login_step = { .name = "login-step", .timeout_ns = LOGIN_TIMEOUT };
const struct pg_phase pg_phase_settle = { .name = "settle",
	                                  .timeout_ns = LOGIN_TIMEOUT,
	                                  .target = &pg_settle_table };
const struct pg_phase pg_phase_ready = { .name = "ready",
	                                 .client = &pg_client_table,
	                                 .target = &pg_target_table };
const struct pg_phase pg_phase_leaving = { .name = "leaving", .target = &pg_target_table };
const struct pg_phase pg_phase_ended = { .name = "ended" };

/* Deadlines of login are each phase's own: a client that makes progress is not slow. */
void pg_enter(struct pg_core *c, const struct pg_phase *phase) {
	bool has_timer = c->phase != NULL && c->phase->timeout_ns != 0;
	c->phase = phase;
	if (phase->timeout_ns != 0)
		pg_timer(c, c->now_ns + phase->timeout_ns);
	else if (has_timer && phase != &pg_phase_ended)
		pg_timer(c, 0);
}

static void core_init(void *core, const struct proto_open *open) {
	struct pg_core *c = core;
	c->sink = open->sink;
	c->is_loopback = open->is_loopback;
	c->has_tls = open->has_tls;
	c->now_ns = open->now_ns;
	c->state = 'I';
	c->login_code = PG_AUTH_NONE;
	buf_init(&c->start, PG_START_LEN_MAX);
	buf_init(&c->hello, 2 * (size_t)PG_START_LEN_MAX);
	pg_track_init(&c->track);
	pg_hide_init(c);
	pg_names_init(c);
	pg_enter(c, &pg_phase_start);
}

static void core_fini(void *core) {
	struct pg_core *c = core;
	buf_fini(&c->start);
	buf_fini(&c->hello);
	pg_track_fini(&c->track);
	pg_hide_fini(c);
	pg_names_fini(c);
	wipe(c->target_key, sizeof(c->target_key));
}

/* ---- the run ---- */

void pg_run_flush(struct pg_core *c) {
	struct pg_run *r = &c->run;
	if (r->is_on && r->pos > r->start) {
		c->sink->emit(c->sink, &(struct order){ .kind = ORD_RELAY,
		                                        .side = r->side,
		                                        .depth = r->depth,
		                                        .rows = r->rows,
		                                        .n = r->pos - r->start });
		c->left[r->side] -= MIN(c->left[r->side], r->pos - r->start);
		r->start = r->pos;
		r->rows = 0;
	}
	for (size_t i = 0; i < c->done_count; i++) {
		struct pg_done *d = &c->done[i];
		d->command.verb.p = d->verb;
		d->command.sqlstate.p = d->sqlstate;
		c->sink->emit(c->sink,
		              &(struct order){ .kind = ORD_COMMAND, .command = &d->command });
	}
	c->done_count = 0;
}

/* ---- the pump ---- */

static const struct pg_table *table_of(const struct pg_core *c, enum side side) {
	return side == SIDE_CLIENT ? c->phase->client : c->phase->target;
}

static int broke(struct pg_core *c, enum side side, const char *text) {
	return side == SIDE_CLIENT ? pg_client_broke(c, text) : pg_target_broke(c, text);
}

/* Nothing long is said before Ready. */
static uint64_t cap_of(const struct pg_core *c, enum side side, uint8_t type) {
	uint64_t cap = side == SIDE_CLIENT ? pg_client_cap(type) : pg_target_cap(type);
	bool is_ready = c->phase == &pg_phase_ready || c->phase == &pg_phase_leaving;
	return is_ready ? cap : MIN(cap, SEEN_MAX);
}

static int want(struct pg_core *c, uint64_t len) {
	enum side side = c->run.side;
	if (c->need[side] == len)
		return 0; /* asked for already */
	pg_run_flush(c);
	c->need[side] = len;
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_NEED, .side = side, .n = len });
	return 0;
}

int pg_want_whole(struct pg_core *c, const struct pg_in *in) {
	return want(c, in->len);
}

/* 1: enough of the message is there; 0: not yet (asked for, if the shell would not show it). */
static int has_enough(struct pg_core *c, enum pg_need need, const struct pg_head *h, size_t there) {
	if (there >= h->len)
		return 1;
	if (h->len <= SEEN_MAX)
		return 0; /* short ones go whole, so that an error can be said behind each */
	if (need == PG_NEED_HEAD)
		return 1;
	if (need == PG_NEED_FIRST)
		return there >= SEEN_MAX;
	return want(c, h->len);
}

static int handle(struct pg_core *c, const struct pg_on *on, const struct pg_in *in) {
	if (c->run.side == SIDE_TARGET && c->look.state != PG_LOOK_IDLE) {
		int rc = pg_names_take(c, in);
		if (rc != PG_PASS)
			return rc;
	}
	if (on->own)
		pg_run_flush(c);
	if (!on->is_result)
		pg_depth_switch(c, RECORD_FULL);
	return on->fn(c, in);
}

/* One message at the front of `rest`: > 0 verdict, 0 wait, < 0 ended. *ret_len is its length. */
static int take_message(struct pg_core *c, struct str rest, uint64_t *ret_len) {
	enum side side = c->run.side;
	const struct pg_table *table = table_of(c, side);
	if (table == NULL || (side == SIDE_CLIENT && (c->has_said_bye || pg_client_waits(c))))
		return PG_STOP;
	struct pg_head h;
	int rc = pg_head_parse(&h, rest);
	/* An unknown type is refused by its first byte: its length would be noise to wait for. */
	if (rest.n > 0 && cap_of(c, side, (uint8_t)rest.p[0]) == 0)
		return broke(c, side, "unknown message type");
	if (rc == 0)
		return 0;
	if (rc > 0 && h.type == 'p' && table->on['p'].fn != NULL && h.len > PG_PROOF_MAX)
		return pg_fatal(c, H_ELIMIT, "54000",
		                "the password is too long: before a session is admitted a client "
		                "may send 16 KiB, tokens included");
	if (rc < 0 || h.len > cap_of(c, side, h.type))
		return broke(c, side, "invalid message length");
	const struct pg_on *on = &table->on[h.type & (PG_TYPES - 1)];
	if (on->fn == NULL)
		return broke(c, side, "message is not legal in this phase");
	if (!has_enough(c, on->need, &h, rest.n))
		return 0;
	struct pg_in in = { .type = h.type, .len = h.len, .off = c->run.base + c->run.pos };
	in.body = str_mem(rest.p + PG_HEAD_SIZE, MIN(rest.n, h.len) - PG_HEAD_SIZE);
	*ret_len = h.len;
	return handle(c, on, &in);
}

static int pump(struct pg_core *c, enum side side, struct str data) {
	enum stream stream = side == SIDE_CLIENT ? STREAM_C : STREAM_T;
	c->run = (struct pg_run){ .side = side,
		                  .is_on = true,
		                  .base = c->sink->offset(c->sink, stream) };
	c->is_open[side] = false;
	if (side == SIDE_CLIENT)
		c->is_left_worded = pg_holds_words(data);
	int rc = 0;
	while (c->run.pos < data.n) {
		uint64_t len = 0;
		rc = take_message(c, str_from(data, (size_t)c->run.pos), &len);
		if (rc <= 0 || rc == PG_STOP)
			break;
		c->run.pos += len;
		c->need[side] = 0;
		if (rc == PG_TAKEN)
			c->run.start = c->run.pos;
	}
	if (rc < 0)
		return rc;
	pg_run_flush(c);
	c->run.is_on = false;
	c->is_open[side] = c->run.pos > data.n;
	if (side == SIDE_CLIENT)
		c->is_left_worded = pg_holds_words(str_from(data, (size_t)c->run.pos));
	return 0;
}

/* ---- bytes ---- */

bool pg_client_waits(const struct pg_core *c) {
	return c->phase == &pg_phase_ready && (pg_cancel_holds(c) || pg_names_hold(c) ||
	                                       pg_local_waits(c) || pg_track_is_full(&c->track));
}

/* What is due once a call has been dealt with. is_client_read: the client's bytes were looked at,
 * so what is left of them is a torn message. */
static int wind_up(struct pg_core *c, bool is_client_read) {
	if (c->phase != &pg_phase_ready)
		return 0;
	if (c->has_client_ended && !pg_client_waits(c) &&
	    (is_client_read || c->left[SIDE_CLIENT] == 0))
		pg_leave(c);
	if (c->is_draining && pg_is_idle(c))
		return pg_kill(c, H_EDRAIN);
	if (c->phase == &pg_phase_ready && pg_names_due(c))
		pg_names_start(c);
	return 0;
}

/* The bytes of one side in the phase that it is in: > 0 used, 0 none, < 0 ended. */
static int take_raw(struct pg_core *c, enum side side, struct str data) {
	int (*raw)(struct pg_core *, struct str) = side == SIDE_CLIENT ? c->phase->client_raw
	                                                               : c->phase->target_raw;
	if (raw != NULL)
		return raw(c, data);
	if (side != SIDE_CLIENT || c->phase != &pg_phase_leaving)
		return 0;
	pg_skip(c, side, data.n, WHY_CLOSING);
	return (int)data.n;
}

static int core_on_bytes(void *core, enum side side, struct str data, uint64_t now_ns) {
	struct pg_core *c = core;
	c->now_ns = now_ns;
	if (c->phase == &pg_phase_ended || data.n == 0)
		return 0;
	c->left[side] = data.n;
	if (side == SIDE_AUX) {
		int done = pg_cancel_raw(c, data);
		return done < 0 ? done : wind_up(c, false);
	}
	int rc = 1;
	/* First packets are taken one by one: each may change the phase. */
	while (rc > 0 && data.n > 0 && table_of(c, side) == NULL) {
		rc = take_raw(c, side, data);
		data = str_from(data, rc > 0 ? (size_t)rc : 0);
	}
	if (rc < 0 || data.n == 0 || table_of(c, side) == NULL)
		return rc < 0 ? rc : 0;
	rc = pump(c, side, data);
	return rc < 0 ? rc : wind_up(c, side == SIDE_CLIENT);
}

/* ---- events ---- */

static int on_tls_up(struct pg_core *c, const struct event *ev) {
	if (ev->side == SIDE_AUX)
		return pg_cancel_tls_up(c);
	if (ev->side == SIDE_CLIENT)
		return pg_start_tls_up(c, ev->tls);
	return pg_target_tls_up(c, ev->tls);
}

static int on_closed(struct pg_core *c, const struct event *ev) {
	if (ev->side == SIDE_AUX)
		return pg_cancel_closed(c);
	return ev->side == SIDE_TARGET ? pg_target_gone(c, ev->code) : pg_client_gone(c, ev->code);
}

static int on_timer(struct pg_core *c) {
	if (c->phase->timeout_ns != 0)
		return pg_fatal(c, H_ETIMEOUT, "57014", "login took too long and was given up");
	if (pg_names_hold(c)) {
		pg_names_overdue(c);
		return 0;
	}
	return pg_cancel_timer(c);
}

static int on_no_budget(struct pg_core *c) {
	/* Answering ERROR and skipping the message would leave the target in a state that the client
	 * does not know of (an open pipeline, a transaction): the session ends instead. */
	return pg_fatal(c, H_ELIMIT, "53200",
	                "out of memory: the message does not fit the gateway's budget for whole "
	                "statements; it was not sent to the target");
}

static int take_event(struct pg_core *c, const struct event *ev) {
	switch (ev->kind) {
	case EV_TLS_UP:
		return on_tls_up(c, ev);
	case EV_GRANTED:
		return pg_granted(c, ev->grant);
	case EV_REFUSED:
		return pg_refused(c, ev);
	case EV_PROVED:
		return pg_proved(c, ev->bytes);
	case EV_LOGIN:
		return pg_login_stepped(c, ev);
	case EV_DIALED:
		return pg_cancel_dialed(c);
	case EV_CLOSED:
		return on_closed(c, ev);
	case EV_CANCEL:
		return pg_cancel_begin(c);
	case EV_TIMER:
		return on_timer(c);
	case EV_NO_BUDGET:
		return on_no_budget(c);
	case EV_KILL:
		c->unsent = ev->unsent;
		return pg_kill(c, ev->code);
	case EV_DRAIN:
		return pg_drain(c);
	case EV_EXPIRING:
		pg_expiring(c);
		break;
	case EV_RECEIPT:
		pg_receipt_came(c, ev);
		break;
	case EV_CANCELLED:
	case EV_PARSED:
	case EV_DECIDED:
	case EV_KIND_COUNT:
		break;
	}
	return 0;
}

static int core_on_event(void *core, const struct event *ev) {
	struct pg_core *c = core;
	c->now_ns = ev->now_ns;
	if (c->phase == &pg_phase_ended)
		return 0;
	/* A cancel is never answered, however it went. */
	int rc = c->phase == &pg_phase_cancel ? pg_end(c, 0) : take_event(c, ev);
	return rc < 0 ? rc : wind_up(c, false);
}

/* ---- state ---- */

bool pg_in_flight(const struct pg_core *c) {
	return c->track.count > 0 || c->is_copy_in;
}

bool pg_is_idle(const struct pg_core *c) {
	return c->phase == &pg_phase_ready && !pg_in_flight(c) && !c->is_extended &&
	       !c->is_skipping && c->state == 'I' && !c->is_open[SIDE_CLIENT] &&
	       !c->is_open[SIDE_TARGET];
}

static bool core_is_idle(const void *core) {
	return pg_is_idle(core);
}

static const char *core_phase(const void *core) {
	return ((const struct pg_core *)core)->phase->name;
}

const struct proto pg_proto = {
	.name = "postgres",
	.default_port = 5432,
	.core_size = sizeof(struct pg_core),
	.init = core_init,
	.on_bytes = core_on_bytes,
	.on_event = core_on_event,
	.fini = core_fini,
	.is_idle = core_is_idle,
	.phase = core_phase,
};
