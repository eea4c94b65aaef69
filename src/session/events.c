/*
 * events.c: record events of one session, into the thread's ring.
 *
 * Before the grant nobody has bound the slot: events wait in `pre` (each a ring_event head and its
 * payload) with their final seq and time, and enter the ring first thing after it. From then on an
 * event either enters the ring at once or not at all (rec_append says 0): the caller keeps its order
 * in a lane and the session is parked until the recorder has made room. So `pre` never holds live
 * events, and order in the ring is the order of seq.
 *
 * FORWARDED is written lazily, right before the session's next event: a busy session has one per
 * direction and statement, an idle one has none. It carries the time of the write itself.
 *
 * How much is not yet durable is known without a queue: one sample (seq, bytes recorded up to it) is
 * in flight; when it became durable, all bytes up to it are, and the next sample is taken. The result
 * errs on the safe side, by at most what was recorded during one commit. A session may have UNDURABLE_SHARE
 * of it; what it has beyond that, up to UNDURABLE_MAX, is taken from a budget of the process (budget.h), and
 * while there is none the target's socket is not read.
 *
 * A session whose recording failed is deaf: its last events (the error, END) are written if there is
 * room, and lost without a hole in seq if there is none.
 */
#include "session/shell.h"

#include "base/clock.h"
#include "base/log.h"

bool rec_holds(const struct session *s, enum side to) {
	if (s->is_deaf || s->state != S_LIVE)
		return false;
	if (to == SIDE_CLIENT)
		return s->durable_mode == DURABLE_BOTH_WAYS;
	return s->durable_mode != DURABLE_ASYNC;
}

static void fill(struct ring_event *e, const struct session *s, const struct rec *r) {
	e->slot = s->slot;
	e->generation = s->generation;
	e->seq = s->seq;
	e->mono_ns = r->ns;
	e->type = r->type;
	e->flags = (uint8_t)r->stream;
	e->intent = r->intent;
}

static bool put_ring(struct session *s, const struct rec *r) {
	struct ring_event *e = ring_reserve(&s->t->ring, r->head.n + r->bytes.n);

	if (e == NULL)
		return false;
	s->seq++;
	fill(e, s, r);
	s->t->is_urgent = s->t->is_urgent || r->intent || r->type == REC_END;
	if (r->head.n != 0)
		memcpy(ring_payload(e), r->head.p, r->head.n);
	if (r->bytes.n != 0)
		memcpy(ring_payload(e) + r->head.n, r->bytes.p, r->bytes.n);
	s->rec_bytes += r->head.n + r->bytes.n + sizeof(*e);
	return true;
}

static bool put_pre(struct session *s, const struct rec *r) {
	struct ring_event e = { .len = (uint32_t)(r->head.n + r->bytes.n) };

	if (s->pre.len + sizeof(e) + e.len > PRE_EVENTS_MAX)
		return false;
	s->seq++;
	fill(&e, s, r);
	w_bytes(&s->pre, str_mem(&e, sizeof(e)));
	w_bytes(&s->pre, r->head);
	w_bytes(&s->pre, r->bytes);
	return true;
}

static size_t put_varint(uint8_t out[10], uint64_t v) {
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

/* What has been handed to a socket since the last time it was said. */
static bool put_forwarded(struct session *s) {
	static const enum stream streams[] = { [SIDE_CLIENT] = STREAM_R, [SIDE_TARGET] = STREAM_U };

	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		struct side_state *d = &s->sides[i];
		uint8_t raw[10];

		/* Records that TLS still keeps have not been handed over. */
		if (d->sent == d->told_sent || conn_is_unsent(&d->conn))
			continue;
		struct rec r = { .type = REC_FORWARDED,
			         .stream = streams[i],
			         .ns = d->sent_ns,
			         .head = str_mem(raw, put_varint(raw, d->sent)) };

		if (!put_ring(s, &r))
			return false;
		d->told_sent = d->sent;
	}
	return true;
}

bool rec_flush_pre(struct session *s) {
	while (s->pre.len != 0) {
		struct str all = buf_peek(&s->pre);
		struct ring_event kept;

		memcpy(&kept, all.p, sizeof(kept));
		struct ring_event *e = ring_reserve(&s->t->ring, kept.len);

		if (e == NULL)
			return false;
		kept.size = e->size;
		kept.generation = s->generation;
		memcpy(e, all.p, sizeof(kept) + kept.len);
		*e = kept;
		s->t->is_urgent = true; /* a session that begins waits for nothing */
		buf_consume(&s->pre, sizeof(kept) + kept.len);
	}
	buf_trim(&s->pre, false);
	return true;
}

/* No room: the session sleeps until the recorder has made some. */
static uint64_t no_room(struct session *s) {
	if (!s->is_deaf) {
		s->is_parked = true;
		session_wait(s);
	}
	return 0;
}

uint64_t rec_append(struct session *s, const struct rec *r) {
	if (!s->is_bound) {
		if (put_pre(s, r))
			return s->seq;
		session_close(s, H_ELIMIT);
		return 0;
	}
	if (s->state == S_ENDED)
		return s->seq;
	if (!rec_flush_pre(s) || !put_forwarded(s) || !put_ring(s, r))
		return no_room(s);
	return s->seq;
}

bool rec_refresh(struct session *s) {
	enum ring_slot_state state;
	uint64_t durable;

	if (!s->is_bound || s->is_deaf)
		return false;
	durable = ring_durable(&s->t->ring, s->slot, s->generation, &state);
	switch (state) {
	case RING_SLOT_FREE:
	case RING_SLOT_BOUND:
		break;
	case RING_SLOT_FAILED:
		session_kill(s, H_ERECORDER);
		return true;
	case RING_SLOT_NOSPACE:
		session_kill(s, H_ENOSPACE);
		return true;
	case RING_SLOT_QUOTA:
		session_kill(s, H_EQUOTA);
		return true;
	}
	if (durable <= s->durable)
		return false;
	s->durable = durable;
	if (s->rec_mark_seq != 0 && durable >= s->rec_mark_seq) {
		s->rec_known = s->rec_mark_bytes;
		s->rec_mark_seq = 0;
	}
	return true;
}

void rec_return_budget(struct session *s) {
	(void)budget_set(&s->t->w->undurable_budget, 0, &s->undurable_budget, 0);
}

/* Who is refused here has more than its share under way, so a commit of its own will ask again. */
bool rec_is_behind(struct session *s) {
	struct worker *w = s->t->w;

	if (!s->is_bound || s->is_deaf) {
		rec_return_budget(s);
		return false;
	}
	if (s->durable == s->seq)
		s->rec_known = s->rec_bytes;
	if (s->rec_mark_seq == 0 && s->durable < s->seq) {
		s->rec_mark_seq = s->seq;
		s->rec_mark_bytes = s->rec_bytes;
	}
	uint64_t n = s->rec_bytes - s->rec_known;

	return n > UNDURABLE_MAX ||
	       !budget_set(&w->undurable_budget, w->undurable_budget_max, &s->undurable_budget,
	                   budget_beyond(n, UNDURABLE_SHARE));
}

bool rec_end(struct session *s, int code) {
	struct buf *b = &s->t->event;

	if (!s->is_bound)
		return true;
	if (!rec_flush_pre(s) || !put_forwarded(s))
		return s->is_deaf || no_room(s) != 0;
	buf_clear(b);
	rec_put_end(b, code, str_of(code == 0 ? "closed" : h_err_text(code)), s->off);
	struct rec r = {
		.type = REC_END, .stream = STREAM_C, .ns = mono_ns(), .head = buf_peek(b)
	};

	return put_ring(s, &r) || s->is_deaf || no_room(s) != 0;
}

static bool put_orphan_end(struct thread *t, uint64_t id) {
	static const uint64_t none[STREAM_COUNT];

	buf_clear(&t->event);
	rec_put_end(&t->event, H_ECLOSED, str_of(h_err_text(H_ECLOSED)), none);
	struct str payload = buf_peek(&t->event);
	struct ring_event *e = ring_reserve(&t->ring, payload.n);

	if (e == NULL)
		return false;
	e->slot = (uint32_t)id;
	e->generation = (uint32_t)(id >> 32);
	e->seq = 1;
	e->mono_ns = mono_ns();
	e->type = REC_END;
	t->is_urgent = true;
	memcpy(ring_payload(e), payload.p, payload.n);
	return true;
}

void rec_end_orphan(struct thread *t, uint32_t slot, uint32_t generation) {
	uint64_t id = (uint64_t)generation << 32 | slot;

	if (t->orphans.len == 0 && put_orphan_end(t, id))
		return;
	w_u64(&t->orphans, id);
	/* The recorder ends what is bound when the worker goes; until then such a one shows as open. */
	if (t->orphans.bad)
		log_error("worker.orphan.lost", kv_uint("slot", slot));
	t->orphans.bad = false;
}

bool rec_flush_orphans(struct thread *t) {
	while (t->orphans.len != 0) {
		struct rd r = rd_of(buf_peek(&t->orphans));

		if (!put_orphan_end(t, rd_u64(&r)))
			return false;
		buf_consume(&t->orphans, sizeof(uint64_t));
	}
	buf_trim(&t->orphans, false);
	return true;
}
