/*
 * orders.c: what the core orders, carried out now or as soon as it can be.
 *
 * Most orders are carried out inside emit: the event goes into the ring, the bytes into the
 * receiving side's queue. What cannot be (a relay whose bytes are still to come, a full ring, a
 * peer that does not take its bytes) waits in the *lane* of its receiving side, and everything for
 * that side behind it, so order is kept without the core knowing:
 *
 *      from client: RELAY, HIDE, SKIP, REDACT; SEND to target   lane of the target
 *      from target: RELAY, HIDE, SKIP, REDACT; SEND to client   lane of the client
 *
 * The core's view runs ahead of the sockets: `owed` bytes at the front of what a side holds (or will
 * receive) are spoken for by orders in a lane; the core is shown what lies behind them.
 *
 * Invariants:
 * 1. An event precedes its bytes: rec_append first, side_queue with its seq second.
 * 2. owed of a side = sum of n over RELAY, HIDE, SKIP, REDACT from it in the lane (plus the order that is
 *    being carried out).
 * 3. A lane entry of SEND holds at most WINDOW_MAX bytes, so each entry but RELAY and SKIP is one event.
 *
 * A second connection to the target (aux) has no stream of its own: what is sent and received there
 * stands in the record as facts (aux.sent, aux.received).
 */
#include "session/shell.h"

#include "base/clock.h"

struct deferred {
	uint64_t n, ns;
	uint8_t kind; /* enum order_kind; ORD_FACT stands for any event that is ready to append */
	uint8_t side, why, secret, rec_type;
	uint8_t depth; /* of a relay, with rows */
	uint8_t zero[2];
	uint32_t rows;
	uint32_t zero2;
};

static struct session *session_of(struct order_sink *sink) {
	return container_of(sink, struct session, sink);
}

static enum stream said(enum side from) {
	return from == SIDE_TARGET ? STREAM_T : STREAM_C;
}

static enum stream sent_to(enum side to) {
	return to == SIDE_CLIENT ? STREAM_R : STREAM_U;
}

/* ---- carrying out ---- */

static bool is_full(const struct side_state *to) {
	return to->out.len >= OUT_HIGH && !to->is_write_dead && !to->s->is_closing;
}

/* The event of one window into the thread's buffer, as much of it as the record keeps. */
static uint8_t put_window(struct session *s, const struct deferred *o, struct str bytes) {
	struct buf *b = &s->t->event;
	uint64_t at = s->off[said((enum side)o->side)];

	buf_clear(b);
	if (o->depth == RECORD_FULL) {
		rec_put_raw(b, at, STR_NONE);
		return REC_RAW;
	}
	struct rec_event e = { .offset = at, .length = bytes.n, .rows = o->rows };

	if (o->depth == RECORD_NONE) {
		rec_put_withheld(b, &e);
		return REC_WITHHELD;
	}
	hmac_sha256(e.digest, str_mem(s->digest_key, sizeof(s->digest_key)), bytes);
	rec_put_digest(b, &e);
	return REC_DIGEST;
}

/* One window of a relay: bytes passed, 0 when it cannot go on now. */
static size_t relay_window(struct session *s, const struct deferred *o, size_t n) {
	struct side_state *d = &s->sides[o->side], *to = &s->sides[side_other(d->which)];
	enum side from = d->which;
	struct str bytes = str_head(side_held(d), MIN(n, WINDOW_MAX));
	bool holds = rec_holds(s, to->which);

	if (bytes.n == 0 || is_full(to) || (s->is_deaf && to->which != SIDE_CLIENT))
		return 0;
	uint8_t type = put_window(s, o, bytes);
	struct rec r = { .type = type,
		         .stream = said(from),
		         .intent = holds,
		         .ns = d->read_ns,
		         .head = buf_peek(&s->t->event),
		         .bytes = type == REC_RAW ? bytes : STR_NONE };
	uint64_t seq = rec_append(s, &r);

	if (seq == 0)
		return 0;
	s->off[said(from)] += bytes.n;
	s->off[sent_to(to->which)] += bytes.n;
	side_queue(to, bytes, holds ? seq : 0, true);
	side_consume(d, bytes.n, false);
	return bytes.n;
}

static void put_hidden(struct session *s, const struct deferred *o, struct str bytes) {
	struct rec_event e = { .why = o->why,
		               .offset = s->off[said((enum side)o->side)],
		               .length = bytes.n };
	uint8_t mac[SHA256_SIZE];

	hmac_sha256(mac, str_mem(s->hide_key, sizeof(s->hide_key)), bytes);
	memcpy(e.mac, mac, sizeof(e.mac));
	buf_clear(&s->t->event);
	rec_put_hidden(&s->t->event, &e);
}

/* One window of what the record does not keep. A core hides only what it was shown whole, so the
 * windows, and with them the hashes, are always the same. */
static size_t hide_window(struct session *s, const struct deferred *o, size_t n) {
	struct side_state *d = &s->sides[o->side], *to = &s->sides[side_other(d->which)];
	struct str bytes = str_head(side_held(d), n);
	bool holds = rec_holds(s, to->which);

	if (bytes.n < n || is_full(to) || (s->is_deaf && to->which != SIDE_CLIENT))
		return 0;
	put_hidden(s, o, bytes);
	struct rec r = { .type = REC_HIDDEN,
		         .stream = said(d->which),
		         .intent = holds,
		         .ns = d->read_ns,
		         .head = buf_peek(&s->t->event) };
	uint64_t seq = rec_append(s, &r);

	if (seq == 0)
		return 0;
	s->off[said(d->which)] += bytes.n;
	s->off[sent_to(to->which)] += bytes.n;
	side_queue(to, bytes, holds ? seq : 0, true);
	side_consume(d, bytes.n, false); /* the queue may have borrowed them */
	return bytes.n;
}

static uint64_t do_hide(struct session *s, const struct deferred *o) {
	uint64_t done = 0;

	while (done < o->n) {
		size_t one = hide_window(s, o, (size_t)MIN(o->n - done, (uint64_t)WINDOW_MAX));

		if (one == 0)
			break;
		done += one;
	}
	return done;
}

/* The rows are those of the first window: what is relayed unseen is the rest of the last one. */
static uint64_t do_relay(struct session *s, const struct deferred *o) {
	struct deferred left = *o;

	while (left.n > 0) {
		size_t one = relay_window(s, &left, (size_t)MIN(left.n, (uint64_t)WINDOW_MAX));

		if (one == 0)
			break;
		left.n -= one;
		left.rows = 0;
	}
	return o->n - left.n;
}

static bool put_aux_fact(struct session *s, struct str name, struct str bytes, uint64_t *ret_seq) {
	buf_clear(&s->t->event);
	rec_put_fact(&s->t->event, name, STR_NONE);
	struct rec r = { .type = REC_FACT,
		         .intent = rec_holds(s, SIDE_AUX),
		         .ns = mono_ns(),
		         .head = buf_peek(&s->t->event),
		         .bytes = bytes };

	*ret_seq = rec_append(s, &r);
	return *ret_seq != 0;
}

static size_t skip_window(struct session *s, enum side from, size_t n, uint8_t why) {
	struct side_state *d = &s->sides[from];
	struct str bytes = str_head(side_held(d), MIN(n, WINDOW_MAX));
	uint64_t seq;

	if (bytes.n == 0)
		return 0;
	if (from == SIDE_AUX) {
		if (!put_aux_fact(s, STR("aux.received"), bytes, &seq))
			return 0;
	} else {
		buf_clear(&s->t->event);
		rec_put_why(&s->t->event, why, s->off[said(from)], STR_NONE);
		struct rec r = { .type = REC_DROPPED,
			         .stream = said(from),
			         .ns = d->read_ns,
			         .head = buf_peek(&s->t->event),
			         .bytes = bytes };

		if (rec_append(s, &r) == 0)
			return 0;
		s->off[said(from)] += bytes.n;
	}
	side_consume(d, bytes.n, false);
	return bytes.n;
}

static uint64_t do_skip(struct session *s, const struct deferred *o) {
	uint64_t done = 0;

	while (done < o->n) {
		size_t one = skip_window(s, (enum side)o->side, (size_t)(o->n - done), o->why);

		if (one == 0)
			break;
		done += one;
	}
	return done;
}

static uint64_t do_redact(struct session *s, const struct deferred *o) {
	struct side_state *d = &s->sides[o->side];
	uint64_t seq;

	if (side_held(d).n < o->n)
		return 0;
	if (o->side == SIDE_AUX) {
		if (!put_aux_fact(s, STR("aux.received"), STR_NONE, &seq))
			return 0;
	} else {
		buf_clear(&s->t->event);
		rec_put_redacted(&s->t->event, o->why, s->off[said(d->which)], o->n);
		struct rec r = { .type = REC_REDACTED,
			         .stream = said(d->which),
			         .ns = d->read_ns,
			         .head = buf_peek(&s->t->event) };

		if (rec_append(s, &r) == 0)
			return 0;
		s->off[said(d->which)] += o->n;
	}
	side_consume(d, (size_t)o->n, true);
	return o->n;
}

static uint64_t put_send(struct session *s, const struct deferred *o, struct str bytes) {
	enum side to = (enum side)o->side;
	struct rec r = { .stream = sent_to(to), .intent = rec_holds(s, to), .ns = mono_ns() };
	uint64_t seq;

	if (to == SIDE_AUX) {
		if (o->secret)
			bytes = STR_NONE;
		return put_aux_fact(s, STR("aux.sent"), bytes, &seq) ? seq : 0;
	}
	buf_clear(&s->t->event);
	if (o->secret) {
		r.type = REC_REDACTED;
		rec_put_redacted(&s->t->event, o->why, s->off[r.stream], bytes.n);
	} else {
		r.type = REC_INJECTED;
		r.bytes = bytes;
		rec_put_why(&s->t->event, o->why, s->off[r.stream], STR_NONE);
	}
	r.head = buf_peek(&s->t->event);
	seq = rec_append(s, &r);
	if (seq != 0)
		s->off[r.stream] += bytes.n;
	return seq;
}

static uint64_t do_send(struct session *s, const struct deferred *o, struct str bytes) {
	struct side_state *to = &s->sides[o->side];

	/* What cannot be recorded does not reach a target. */
	if (s->is_deaf && o->side != SIDE_CLIENT)
		return bytes.n;
	uint64_t seq = put_send(s, o, bytes);

	/* A deaf session says its last word to the client without a record; all others only with one. */
	if (seq == 0 && !s->is_deaf)
		return 0;
	side_queue(to, bytes, rec_holds(s, to->which) ? seq : 0, false);
	return bytes.n;
}

static bool do_event(struct session *s, const struct deferred *o, struct str payload) {
	struct rec r = { .type = o->rec_type, .ns = o->ns, .head = payload };

	return rec_append(s, &r) != 0 || s->is_deaf;
}

/* ---- lanes ---- */

static void defer(struct session *s, enum side lane, const struct deferred *o, struct str bytes) {
	struct side_state *d = &s->sides[lane];

	w_bytes(&d->lane, str_mem(o, sizeof(*o)));
	w_bytes(&d->lane, bytes);
	if (d->lane.bad)
		session_close(s, H_ELIMIT);
}

static bool has_bytes(const struct deferred *o) {
	return o->kind == ORD_SEND || o->kind == ORD_FACT;
}

/* Carries out as much of one entry as can be: what it was reduced by (all of n when done). */
static uint64_t carry_out(struct session *s, const struct deferred *o, struct str bytes) {
	switch ((enum order_kind)o->kind) {
	case ORD_RELAY:
		return do_relay(s, o);
	case ORD_HIDE:
		return do_hide(s, o);
	case ORD_SKIP:
		return do_skip(s, o);
	case ORD_REDACT:
		return do_redact(s, o);
	case ORD_SEND:
		return do_send(s, o, bytes);
	case ORD_FACT:
		return do_event(s, o, bytes) ? o->n : 0;
	case ORD_NEED:
	case ORD_COMMAND:
	case ORD_TLS:
	case ORD_ADMIT:
	case ORD_PROVE:
	case ORD_LOGIN:
	case ORD_DIAL:
	case ORD_CANCEL:
	case ORD_BACKEND:
	case ORD_RECEIPT:
	case ORD_TIMER:
	case ORD_CLOSE:
	case ORD_CLOSE_SIDE:
	case ORD_KIND_COUNT:
		break;
	}
	assert(o->kind == ORD_FACT); /* no other order ever waits */
	return 0;
}

bool lane_run(struct session *s, enum side to) {
	struct buf *lane = &s->sides[to].lane;
	bool is_moved = false;

	while (lane->len != 0 && !lane->bad) {
		struct str all = buf_peek(lane);
		struct deferred o;

		memcpy(&o, all.p, sizeof(o));
		struct str bytes = has_bytes(&o) ? str_mem(all.p + sizeof(o), o.n) : STR_NONE;
		uint64_t done = carry_out(s, &o, bytes);

		is_moved = is_moved || done != 0;
		if (done < o.n) {
			o.n -= done;
			o.rows = done > 0 ? 0 : o.rows;
			memcpy(lane->p + lane->off, &o, sizeof(o));
			return is_moved;
		}
		buf_consume(lane, sizeof(o) + bytes.n);
	}
	buf_trim(lane, true);
	return is_moved;
}

void lane_cut(struct session *s, enum side to) {
	struct buf *lane = &s->sides[to].lane;
	size_t at = 0;
	uint64_t here[SIDE_COUNT];

	for (enum side i = 0; i < SIDE_COUNT; i++)
		here[i] = side_held(&s->sides[i]).n;
	while (at < lane->len) {
		struct deferred o;

		memcpy(&o, lane->p + lane->off + at, sizeof(o));
		if (!has_bytes(&o)) {
			if (o.n > here[o.side])
				break;
			here[o.side] -= o.n;
		}
		at += sizeof(o) + (has_bytes(&o) ? (size_t)o.n : 0);
	}
	lane->len = at;
}

/* Carries out, or queues behind what waits. Empty orders make no event. */
static uint64_t order_now(struct session *s, enum side lane, struct deferred *o, struct str bytes) {
	if (o->n == 0)
		return s->seq;
	if (s->sides[lane].lane.len == 0) {
		uint64_t done = carry_out(s, o, bytes);

		if (done == o->n)
			return s->seq;
		o->n -= done;
		o->rows = done > 0 ? 0 : o->rows;
	}
	defer(s, lane, o, bytes);
	return 0;
}

/* ---- emit ---- */

static uint64_t emit_pass(struct session *s, const struct order *o) {
	struct deferred d = { .kind = (uint8_t)o->kind,
		              .side = (uint8_t)o->side,
		              .why = (uint8_t)o->why,
		              .depth = (uint8_t)o->depth,
		              .rows = o->rows,
		              .n = o->n };
	enum side to = side_other(o->side);

	if (o->kind == ORD_RELAY || o->kind == ORD_HIDE) {
		/* No foreign byte leads here: a core relays only between two connected sides. */
		assert(o->side != SIDE_AUX && s->state == S_LIVE);
		s->ordered[sent_to(to)] += o->n;
	}
	if (o->side != SIDE_AUX)
		s->ordered[said(o->side)] += o->n;
	s->sides[o->side].owed += o->n;
	s->sides[o->side].need = 0;
	return order_now(s, to, &d, STR_NONE);
}

static uint64_t emit_send(struct session *s, const struct order *o) {
	struct deferred d = { .kind = ORD_SEND,
		              .side = (uint8_t)o->side,
		              .why = (uint8_t)o->why,
		              .secret = o->secret };
	struct str rest = o->bytes;
	uint64_t seq = s->seq;

	if (o->side != SIDE_AUX)
		s->ordered[sent_to(o->side)] += rest.n;
	while (rest.n != 0) {
		struct str one = str_head(rest, WINDOW_MAX);

		d.n = one.n;
		seq = order_now(s, o->side, &d, one);
		rest = str_from(rest, one.n);
	}
	return seq;
}

/* A ready event belongs behind the bytes that it speaks of: mostly the target's answer. */
static uint64_t emit_event(struct session *s, uint8_t rec_type, struct str payload) {
	struct deferred d = {
		.kind = ORD_FACT, .rec_type = rec_type, .n = payload.n, .ns = mono_ns()
	};
	bool is_busy = s->sides[SIDE_CLIENT].lane.len == 0 && s->sides[SIDE_TARGET].lane.len != 0;

	return order_now(s, is_busy ? SIDE_TARGET : SIDE_CLIENT, &d, payload);
}

static uint64_t emit_command(struct session *s, const struct command *c) {
	uint64_t now = mono_ns();
	struct rec_command r = { .kind = (uint8_t)c->kind,
		                 .status = (uint8_t)c->status,
		                 .verb = c->verb,
		                 .c_off = c->c_off,
		                 .c_len = c->c_len,
		                 .text_off = c->text_off,
		                 .text_len = c->text_len,
		                 .t_off = c->t_off,
		                 .t_len = c->t_len,
		                 .rows = c->rows,
		                 .row_bytes = c->row_bytes,
		                 .received_dt = (int64_t)(c->received_ns - now),
		                 .done_dt = c->done_ns != 0 ? (int64_t)(c->done_ns - now) : 0 };
	uint8_t raw[256];
	struct buf *b = &s->t->event;

	s->commands++;
	memcpy(r.text_sha256, c->text_sha256, sizeof(r.text_sha256));
	if (!str_copy(r.sqlstate, sizeof(r.sqlstate), c->sqlstate) || strlen(r.sqlstate) != 5)
		r.sqlstate[0] = '\0';
	buf_clear(b);
	rec_put_command(b, &r);
	struct str payload = buf_peek(b);

	/* The thread's buffer is written again by whatever comes first in the ring. */
	if (payload.n > sizeof(raw))
		return s->seq;
	memcpy(raw, payload.p, payload.n);
	return emit_event(s, REC_COMMAND, str_mem(raw, payload.n));
}

static uint64_t emit_fact(struct session *s, const struct order *o) {
	struct buf b;

	buf_init(&b, 8 * KIB);
	rec_put_fact(&b, str_head(o->name, 256), str_head(o->bytes, 4 * KIB));
	uint64_t seq = emit_event(s, REC_FACT, buf_peek(&b));

	buf_fini(&b);
	return seq;
}

static void emit_to_keeper(struct session *s, const struct order *o) {
	struct side_state *target = &s->sides[SIDE_TARGET];
	struct buf b;
	uint8_t end_point[64];
	char address[ADDR_TEXT_SIZE];

	buf_init(&b, IPC_MAX);
	if (o->kind == ORD_CANCEL) {
		addr_text(address, &s->peer);
		w_u32(&b, o->pid);
		w_vstr(&b, str_head(o->bytes, CANCEL_ASKED_MAX));
		w_vstr(&b, str_of(address));
		keeper_send(s->t, IPC_CANCEL, keeper_id(s), buf_peek(&b));
	} else if (o->kind == ORD_DIAL) {
		w_u64(&b, s->grant);
		s->is_dial_asked = true;
		keeper_send(s->t, IPC_DIAL, keeper_id(s), buf_peek(&b));
	} else {
		size_t n = target->conn.tls != NULL ? tls_end_point(target->conn.tls, end_point)
		                                    : 0;

		s->is_login_asked = true;
		w_u64(&b, s->grant);
		w_vstr(&b, o->bytes);
		w_vstr(&b, str_mem(end_point, n));
		keeper_send(s->t, IPC_LOGIN_STEP, keeper_id(s), buf_peek(&b));
	}
	buf_clear(&b);
	buf_trim(&b, true);
	buf_fini(&b);
}

static void emit_backend(struct session *s, uint32_t pid) {
	char text[16];
	struct order fact = { .kind = ORD_FACT, .name = STR("backend_pid") };

	s->backend_pid = pid;
	(void)snprintf(text, sizeof(text), "%u", pid);
	fact.bytes = str_of(text);
	(void)emit_fact(s, &fact);
}

uint64_t orders_emit(struct order_sink *sink, const struct order *o) {
	struct session *s = session_of(sink);

	s->is_dirty = true;
	if (s->is_closing)
		return s->seq;
	switch (o->kind) {
	case ORD_RELAY:
	case ORD_HIDE:
	case ORD_SKIP:
	case ORD_REDACT:
		return emit_pass(s, o);
	case ORD_SEND:
		return emit_send(s, o);
	case ORD_NEED:
		if (!side_need(&s->sides[o->side], o->n))
			s->sides[o->side].has_no_budget = true;
		break;
	case ORD_COMMAND:
		return emit_command(s, o->command);
	case ORD_FACT:
		return emit_fact(s, o);
	case ORD_TLS:
		side_want_tls(&s->sides[o->side], o->name, o->is_direct);
		break;
	case ORD_ADMIT:
		session_admit(s, o->admit);
		break;
	case ORD_PROVE:
		session_prove(s, o);
		break;
	case ORD_LOGIN:
	case ORD_DIAL:
	case ORD_CANCEL:
		emit_to_keeper(s, o);
		break;
	case ORD_BACKEND:
		emit_backend(s, o->pid);
		break;
	case ORD_RECEIPT:
		receipt_ask(s);
		break;
	case ORD_TIMER:
		if (o->n == 0)
			timer_stop(s->t->loop, &s->core_timer);
		else
			timer_set(s->t->loop, &s->core_timer, o->n);
		break;
	case ORD_CLOSE:
		session_close(s, o->reason);
		break;
	case ORD_CLOSE_SIDE:
		s->sides[o->side].is_closing = true;
		break;
	case ORD_KIND_COUNT:
		break;
	}
	return s->seq;
}

uint64_t orders_offset(struct order_sink *sink, enum stream stream) {
	return session_of(sink)->ordered[stream];
}

bool orders_connection(struct order_sink *sink, struct str name, struct connection_facts *ret) {
	struct session *s = session_of(sink);

	return snap_connection(&s->t->w->snap, str_of(s->proto->name), name, ret);
}
