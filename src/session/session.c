/*
 * session.c: the life of one session, from accept to END.
 *
 *   PRE ──ORD_ADMIT──▶ ADMITTING ──GRANT──▶ LIVE ──close──▶ ENDED ──linger──▶ freed
 *    └──────────────────┴── refused, deadline, close ────────▲
 *
 * session_run is the one place that makes progress: it shows bytes to the core, carries out what waits
 * in lanes, writes, starts TLS, tells ends, until a round changed nothing; then it sets what to wait
 * for. Everything else changes state and calls it. Inside a call into the core only emit comes back,
 * and emit never calls the core (proto.h).
 *
 * Ends (DESIGN §4). Close: what was ordered before is still written, bytes for the target when they
 * are durable; then both sides get their EOF, END goes into the ring, and the client's socket lingers up to a
 * second, because closing a socket with unread input destroys the error that it was just sent. Kill and expiry
 * first drop what waits for the target. First reason wins.
 */
#include "session/shell.h"

#include <endian.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/admit.h"

static const enum side sides_in_order[] = { SIDE_CLIENT, SIDE_TARGET, SIDE_AUX };

static void on_life(struct timer *t);
static void kill_now(struct session *s, int code);
static void on_core_timer(struct timer *t);

/* ---- open ---- */

static void init_fields(struct session *s, struct thread *t, const struct session_open *o) {
	s->t = t;
	s->slot = NO_SLOT;
	s->proto = o->proto;
	s->peer = o->peer;
	s->listen_tls = o->tls;
	s->opened_ns = thread_now(t);
	s->durable_mode = DURABLE_BEFORE_FORWARD;
	s->sink = (struct order_sink){ .emit = orders_emit,
		                       .offset = orders_offset,
		                       .connection = orders_connection };
	s->life.fn = on_life;
	s->core_timer.fn = on_core_timer;
	list_init(&s->link);
	list_init(&s->pre_link);
	list_init(&s->wait_link);
	list_init(&s->dead_link);
	buf_init(&s->pre, PRE_EVENTS_MAX);
	buf_init(&s->admit, IPC_MAX);
	for (enum side i = 0; i < SIDE_COUNT; i++)
		side_init(s, i);
}

static void open_core(struct session *s, uint64_t admission_ns) {
	struct proto_open open = { .sink = &s->sink,
		                   .is_loopback = addr_is_loopback(&s->peer),
		                   .has_tls = s->listen_tls != NULL,
		                   .now_ns = thread_now(s->t) };

	s->core = xcalloc(1, s->proto->core_size);
	s->is_core_open = true;
	s->proto->init(s->core, &open);
	timer_set(s->t->loop, &s->life, s->opened_ns + admission_ns);
}

static uint64_t admission_time(struct worker *w) {
	struct snap *snap = snap_get(&w->snap);
	uint64_t ns = snap != NULL && snap->s.admission_ns != 0 ? snap->s.admission_ns
	                                                        : 10 * NS_PER_S;

	snap_release(&snap);
	return ns;
}

struct session *session_new(struct thread *t, const struct session_open *o) {
	struct session *s = xcalloc(1, sizeof(*s));

	init_fields(s, t, o);
	bool has_slot = thread_slot_take(t, s);

	if (!has_slot)
		(void)close(o->fd);
	if (!has_slot || side_open(s, SIDE_CLIENT, o->fd) < 0) {
		session_free(s);
		return NULL;
	}
	list_push(&t->sessions, &s->link);
	list_push(&t->pre, &s->pre_link);
	(void)atomic_fetch_add(&t->session_count, 1);
	(void)atomic_fetch_add(&t->w->preadmission_count, 1);
	open_core(s, admission_time(t->w));
	session_run(s);
	return s;
}

static void leave_pre(struct session *s) {
	if (list_empty(&s->pre_link))
		return;
	list_drop(&s->pre_link);
	(void)atomic_fetch_sub(&s->t->w->preadmission_count, 1);
}

/* Only from the end of a turn: callbacks may still hold the pointer before. */
void session_free(struct session *s) {
	struct thread *t = s->t;

	timer_stop(t->loop, &s->life);
	timer_stop(t->loop, &s->core_timer);
	for (enum side i = 0; i < SIDE_COUNT; i++)
		side_fini(s, i);
	rec_return_budget(s);
	session_prove_end(s);
	leave_pre(s);
	if (!list_empty(&s->link))
		(void)atomic_fetch_sub(&t->session_count, 1);
	list_drop(&s->link);
	list_drop(&s->wait_link);
	list_drop(&s->dead_link);
	if (s->is_core_open)
		s->proto->fini(s->core);
	free(s->core);
	buf_fini(&s->pre);
	buf_clear(&s->admit);
	buf_trim(&s->admit, true);
	tls_ctx_free(&s->listen_tls);
	thread_slot_free(t, s);
	free(s);
}

void session_wait(struct session *s) {
	if (list_empty(&s->wait_link))
		list_push(&s->t->waiting, &s->wait_link);
}

/* ---- the core ---- */

/* Something moved: a core may now take what it left before, on any side. */
static void show_all_again(struct session *s) {
	for (enum side i = 0; i < SIDE_COUNT; i++)
		s->sides[i].to_show = true;
	s->is_dirty = true;
}

void session_event(struct session *s, struct event *ev) {
	if (!s->is_core_open || s->is_closing)
		return;
	ev->now_ns = thread_now(s->t);
	int rc = s->proto->on_event(s->core, ev);

	if (rc < 0)
		session_close(s, rc);
	show_all_again(s);
}

/* Shows what lies behind the bytes that are spoken for. */
static void show(struct session *s, struct side_state *d) {
	struct str held = side_held(d);

	if (!d->to_show || s->is_closing || d->wants_tls)
		return;
	if (held.n <= d->owed)
		return;
	struct str data = str_from(held, (size_t)d->owed);

	if (data.n < d->need && !d->is_eof)
		return;
	d->to_show = false;
	bool was_dirty = s->is_dirty;

	s->is_dirty = false;
	int rc = s->proto->on_bytes(s->core, d->which, data, d->read_ns);

	if (rc < 0)
		session_close(s, rc);
	if (s->is_dirty)
		show_all_again(s);
	s->is_dirty = s->is_dirty || was_dirty;
}

static void tell_no_budget(struct session *s, struct side_state *d) {
	struct event ev = { .kind = EV_NO_BUDGET, .side = d->which };

	if (!d->has_no_budget)
		return;
	d->has_no_budget = false;
	session_event(s, &ev);
}

/* A side's end is told when nothing of it can be passed on any more. */
static void tell_end(struct session *s, struct side_state *d) {
	if (!d->is_eof || d->is_eof_told || s->is_closing)
		return;
	if (d->owed != 0 && side_held(d).n != 0)
		return;
	if (d->owed != 0)
		lane_cut(s, side_other(d->which));
	d->is_eof_told = true;
	d->owed = 0;
	struct event ev = { .kind = EV_CLOSED, .side = d->which, .code = d->eof_code };

	if (d->eof_code == H_ETLS && d->conn.tls != NULL)
		ev.text = str_of(tls_reason(d->conn.tls));
	session_event(s, &ev);
	if (d->which == SIDE_AUX)
		side_close(d);
	if (d->which == SIDE_CLIENT && s->state == S_LIVE && s->session_max_ns == 0)
		timer_set(s->t->loop, &s->life, thread_now(s->t) + HALF_OPEN_NS);
}

/* ---- running ---- */

static void run_side(struct session *s, enum side which) {
	struct side_state *d = &s->sides[which];

	if (d->lane.len != 0 && lane_run(s, which))
		show_all_again(s);
	show(s, d);
	tell_no_budget(s, d);
	side_start_tls(d);
	tell_end(s, d);
}

static void end_sides(struct session *s) {
	for (size_t i = 0; i < ARRAY_LEN(sides_in_order); i++) {
		struct side_state *d = &s->sides[sides_in_order[i]];

		if (d->is_closing && d->lane.len == 0 && side_is_flushed(d))
			side_shut(d);
	}
}

static bool is_all_written(const struct session *s) {
	for (enum side i = 0; i < SIDE_COUNT; i++) {
		const struct side_state *d = &s->sides[i];

		/* Without a record, what waits for room in it waits for nothing. */
		if (!side_is_flushed(d) || (d->lane.len != 0 && s->is_bound && !s->is_deaf))
			return false;
	}
	return true;
}

static void log_closed(const struct session *s) {
	if (s->grant == 0)
		return;
	log_info("worker.session.closed", kv_z("session", s->short_id),
	         kv_z("connection", s->connection), kv_z("reason", h_err_name(s->close_code)),
	         kv_uint("commands", s->commands), kv_uint("from_client", s->off[STREAM_C]),
	         kv_uint("from_target", s->off[STREAM_T]),
	         kv_uint("ms", (thread_now(s->t) - s->opened_ns) / NS_PER_MS));
}

static void bury(struct session *s) {
	if (list_empty(&s->dead_link))
		list_push(&s->t->dead, &s->dead_link);
}

static void tell_gone(struct session *s) {
	struct buf b;

	if (s->grant == 0)
		return;
	buf_init(&b, 64);
	w_u64(&b, s->grant);
	keeper_send(s->t, IPC_SESSION_GONE, keeper_id(s), buf_peek(&b));
	buf_fini(&b);
}

/* Everything is written: END, and the sockets go. */
static void end(struct session *s) {
	struct side_state *client = &s->sides[SIDE_CLIENT];

	side_shut(client);
	if (!rec_end(s, s->close_code))
		return;
	log_closed(s);
	tell_gone(s);
	s->state = S_ENDED;
	s->is_parked = false;
	list_drop(&s->wait_link);
	leave_pre(s);
	side_shut(&s->sides[SIDE_TARGET]);
	side_close(&s->sides[SIDE_TARGET]);
	side_close(&s->sides[SIDE_AUX]);
	timer_stop(s->t->loop, &s->core_timer);
	if (!client->is_open || client->is_eof || client->is_write_dead)
		bury(s);
	else
		timer_set(s->t->loop, &s->life, thread_now(s->t) + LINGER_NS);
}

/* While the keeper may still grant, the slot must stay: a grant binds it in the record, and what
 * was opened there must be ended there. The client need not wait for that. */
static void end_if_answered(struct session *s) {
	if (s->state == S_ADMITTING && s->has_asked)
		side_shut(&s->sides[SIDE_CLIENT]);
	else
		end(s);
}

static void check_expiry(struct session *s) {
	if (s->is_expired && !s->is_killed && !s->is_closing && s->proto->is_idle(s->core))
		kill_now(s, H_EEXPIRED);
}

static void wait_for_what(struct session *s) {
	bool waits = s->is_parked || s->is_receipt_asked;

	for (size_t i = 0; i < ARRAY_LEN(sides_in_order); i++) {
		struct side_state *d = &s->sides[sides_in_order[i]];

		side_want(d);
		waits = waits || side_waits_for_commit(d);
	}
	if (s->state != S_LIVE || s->is_deaf) {
		list_drop(&s->wait_link);
		rec_return_budget(s);
		return;
	}
	/* Who holds a part of the budget waits for the commit that sets it free. */
	if (rec_is_behind(s) || s->undurable_budget != 0 || waits)
		session_wait(s);
	else
		list_drop(&s->wait_link);
}

void session_run(struct session *s) {
	if (s->is_running)
		return;
	s->is_running = true;
	if (s->state != S_ENDED) {
		do {
			s->is_dirty = false;
			for (enum side i = 0; i < SIDE_COUNT; i++)
				run_side(s, i);
			for (enum side i = 0; i < SIDE_COUNT; i++)
				side_flush(&s->sides[i]);
			end_sides(s);
			receipt_run(s);
			check_expiry(s);
		} while (s->is_dirty);
		for (enum side i = 0; i < SIDE_COUNT; i++)
			side_save(&s->sides[i]);
		if (s->is_closing && is_all_written(s))
			end_if_answered(s);
	} else if (s->sides[SIDE_CLIENT].is_eof) {
		bury(s);
	}
	s->is_running = false;
	wait_for_what(s);
}

/* ---- ends ---- */

void session_close(struct session *s, int code) {
	if (s->is_closing)
		return;
	s->is_closing = true;
	/* A core that says goodbye in its own words does not change why it had to. */
	s->close_code = s->is_killed ? s->kill_code : code;
	s->is_dirty = true;
	for (enum side i = 0; i < SIDE_COUNT; i++)
		lane_cut(s, i);
	timer_set(s->t->loop, &s->life, thread_now(s->t) + CLOSE_NS);
}

static void drop_target(struct session *s) {
	side_drop_out(&s->sides[SIDE_TARGET]);
	side_drop_out(&s->sides[SIDE_AUX]);
	buf_clear(&s->sides[SIDE_TARGET].lane);
	buf_clear(&s->sides[SIDE_AUX].lane);
	s->sides[SIDE_CLIENT].owed = 0;
	s->sides[SIDE_AUX].owed = 0;
}

/* Answers that wait for a record that will not come are not shown (both-ways). How far into a message
 * the client is then, nobody knows: closing is all that is left to say. */
static void drop_answers(struct session *s) {
	struct side_state *client = &s->sides[SIDE_CLIENT];

	if (client->mark_count == 0)
		return;
	side_drop_out(client);
	client->is_write_dead = true;
}

/* All of a kill but the run. */
static void kill_now(struct session *s, int code) {
	if (s->state == S_ENDED)
		return;
	if (code == H_ERECORDER || code == H_ENOSPACE || code == H_EQUOTA)
		s->is_deaf = true;
	s->is_killed = true;
	s->kill_code = code;
	struct event ev = {
		.kind = EV_KILL,
		.code = code,
		.unsent = s->sides[SIDE_TARGET].out_end - s->sides[SIDE_TARGET].sent,
	};
	drop_target(s);
	if (s->is_deaf)
		drop_answers(s);

	session_event(s, &ev);
	session_close(s, code);
	if (s->is_deaf) {
		/* Nothing is held for a record that will not come. */
		s->is_parked = false;
		for (enum side i = 0; i < SIDE_COUNT; i++)
			s->sides[i].mark_count = 0;
	}
}

void session_kill(struct session *s, int code) {
	kill_now(s, code);
	session_run(s);
}

/* What was still to be written is given up. */
static void force(struct session *s) {
	s->is_deaf = true;
	s->has_asked = false;
	drop_target(s);
	side_drop_out(&s->sides[SIDE_CLIENT]);
	s->sides[SIDE_CLIENT].is_write_dead = true;
	buf_clear(&s->sides[SIDE_CLIENT].lane);
	session_run(s);
}

static void refuse_not_ready(struct session *s) {
	session_refused(s, &(struct event){ .code = H_EKEEPER,
	                                    .text = STR("the gateway is not ready") });
}

static void on_life(struct timer *t) {
	struct session *s = container_of(t, struct session, life);

	if (s->state == S_ENDED) {
		bury(s);
	} else if (s->is_closing) {
		force(s);
	} else if (s->state == S_PRE) {
		session_close(s, H_ETIMEOUT);
		session_run(s);
	} else if (s->state == S_ADMITTING) {
		refuse_not_ready(s);
	} else if (s->is_expired || s->session_max_ns == 0) {
		session_kill(s, H_EEXPIRED);
	} else {
		struct event ev = { .kind = EV_EXPIRING };

		s->is_expired = true;
		timer_set(s->t->loop, &s->life, thread_now(s->t) + s->session_grace_ns);
		session_event(s, &ev);
		session_run(s);
	}
}

static void on_core_timer(struct timer *t) {
	struct session *s = container_of(t, struct session, core_timer);
	struct event ev = { .kind = EV_TIMER };

	session_event(s, &ev);
	session_run(s);
}

void session_drain(struct session *s) {
	struct event ev = { .kind = EV_DRAIN };

	if (s->is_drain_told || s->state == S_ENDED)
		return;
	s->is_drain_told = true;
	if (s->state != S_LIVE) {
		session_kill(s, H_EDRAIN);
		return;
	}
	session_event(s, &ev);
	session_run(s);
}

/* ---- admission ---- */

/* Where ADMIT says slot and generation: u16 ring, u32 slot, u32 generation (admit.c). */
enum { ADMIT_GENERATION_AT = 6 };

static void keep_admit(struct session *s, const struct admit *a) {
	struct side_state *client = &s->sides[SIDE_CLIENT];
	char address[ADDR_TEXT_SIZE], tls[TLS_TEXT_SIZE] = "";
	struct admit_msg m = { .ring = s->t->ring_number,
		               .slot = s->slot,
		               .generation = s->generation,
		               .protocol = str_of(s->proto->name),
		               .admit = *a,
		               .exchange = s->exchange };

	addr_text(address, &s->peer);
	m.client_address = str_of(address);
	if (client->conn.tls != NULL) {
		tls_describe(client->conn.tls, tls);
		m.server_name = str_head(tls_sni(client->conn.tls), SERVER_NAME_MAX);
	}
	m.client_tls = str_of(tls);
	buf_clear(&s->admit);
	admit_put(&s->admit, &m);
}

static void ask(struct session *s) {
	if (s->has_asked || !s->t->is_keeper_up)
		return;
	s->has_asked = true;
	keeper_send(s->t, IPC_ADMIT, keeper_id(s), buf_peek(&s->admit));
}

static void forget_admit(struct session *s) {
	buf_clear(&s->admit);
	buf_trim(&s->admit, true);
}

void session_ask_again(struct session *s) {
	uint8_t *p = s->admit.p + s->admit.off + ADMIT_GENERATION_AT;

	if (!s->has_asked)
		return;
	s->has_asked = false;
	thread_slot_renew(s->t, s);
	if (s->admit.len > ADMIT_GENERATION_AT + sizeof(uint32_t)) {
		uint32_t generation = htole32(s->generation);

		memcpy(p, &generation, sizeof(generation));
	}
	s->admit_ns = thread_now(s->t);
	if (s->is_closing)
		session_run(s);
}

void session_admit(struct session *s, const struct admit *a) {
	assert(s->state == S_PRE);
	s->state = S_ADMITTING;
	s->admit_ns = thread_now(s->t);
	keep_admit(s, a);
	timer_set(s->t->loop, &s->life, s->admit_ns + ADMIT_NS);
	ask(s);
}

/* The client is told in its protocol; a core that does not close itself is closed, unless the client
 * has a word to say before (OAUTHBEARER). */
void session_refused(struct session *s, const struct event *refusal) {
	struct event ev = { .kind = EV_REFUSED,
		            .code = refusal->code,
		            .text = refusal->text,
		            .bytes = refusal->bytes };

	if (s->state != S_ADMITTING && !s->is_proving)
		return;
	forget_admit(s);
	s->has_asked = false;
	s->is_proving = false;
	s->has_exchange = false;
	if (ev.bytes.n != 0) {
		s->state = S_PRE;
		timer_set(s->t->loop, &s->life, thread_now(s->t) + admission_time(s->t->w));
	}
	session_event(s, &ev);
	if (ev.bytes.n == 0)
		session_close(s, ev.code);
	session_run(s);
}

/* A key of its own for each session: who is given it to check one session's results learns nothing
 * about those of another. */
static void make_digest_key(struct session *s, const uint8_t sid[16]) {
	static const char label[] = "hansard/v1 results";
	char text[sizeof(label) - 1 + 16];

	memcpy(text, label, sizeof(label) - 1);
	memcpy(text + sizeof(label) - 1, sid, 16);
	hmac_sha256(s->digest_key, str_mem(s->hide_key, sizeof(s->hide_key)),
	            str_mem(text, sizeof(text)));
}

static bool take_grant(struct session *s, const struct grant_msg *m) {
	s->grant = m->grant;
	s->durable_mode = m->g.durable;
	s->session_max_ns = m->g.session_max_ns;
	s->session_grace_ns = m->g.session_grace_ns;
	memcpy(s->sid, m->g.sid, sizeof(s->sid));
	s->target_tls = m->g.tls;
	memcpy(s->short_id, m->g.short_id, sizeof(s->short_id));
	memcpy(s->cancel_key, m->g.cancel_key, sizeof(s->cancel_key));
	s->cancel_key_size = m->g.cancel_key_size;
	memcpy(s->hide_key, m->hide_key, sizeof(s->hide_key));
	make_digest_key(s, m->g.sid);
	return str_copy(s->connection, sizeof(s->connection), m->connection) &&
	       str_copy(s->role, sizeof(s->role), m->role) &&
	       str_copy(s->server_name, sizeof(s->server_name), m->g.server_name);
}

void session_granted(struct session *s, struct str body, int fd) {
	struct grant_msg m;

	if (s->state != S_ADMITTING || grant_get(&m, body) < 0 || !take_grant(s, &m)) {
		(void)close(fd);
		refuse_not_ready(s);
		return;
	}
	/* It may be closing already, when the client went away meanwhile: the record was opened all
	 * the same, so it gets its events and its end. */
	forget_admit(s);
	s->has_exchange = false;
	leave_pre(s);
	s->state = S_LIVE;
	s->is_bound = true;
	timer_stop(s->t->loop, &s->life);
	if (s->session_max_ns != 0)
		timer_set(s->t->loop, &s->life, thread_now(s->t) + s->session_max_ns);
	if (s->is_closing)
		timer_set(s->t->loop, &s->life, thread_now(s->t) + CLOSE_NS);
	log_info("worker.session.opened", kv_z("session", s->short_id),
	         kv_z("connection", s->connection));
	if (side_open(s, SIDE_TARGET, fd) < 0)
		session_close(s, H_EIO);
	if (!rec_flush_pre(s)) {
		s->is_parked = true;
		session_wait(s);
	}
	struct event ev = { .kind = EV_GRANTED, .grant = &m.g };

	session_event(s, &ev);
	if (s->t->is_draining)
		session_drain(s);
	session_run(s);
}

/* ---- from the thread ---- */

void session_committed(struct session *s) {
	bool was_parked = s->is_parked;

	s->is_parked = false;
	if (rec_refresh(s) || was_parked)
		session_run(s);
}

/* What nobody would otherwise notice: a recording that failed while all was quiet, a keeper that
 * is away, memory that is kept for nothing. */
void session_tick(struct session *s, uint64_t now) {
	if (s->state == S_LIVE && !s->is_closing && rec_refresh(s))
		session_run(s);
	session_prove_tick(s, now);
	if (s->state == S_ADMITTING && !s->has_asked && !s->is_closing) {
		ask(s);
		if (!s->has_asked && now - s->admit_ns >= KEEPER_HOLD_NS)
			refuse_not_ready(s);
	}
	for (enum side i = 0; i < SIDE_COUNT; i++)
		buf_trim(&s->sides[i].out, false);
}
