/*
 * recorder_session.c: sessions of the recorder: open, events, loss, gap, close.
 *
 *   opening ── frame 0 durable ──► open ── END, abandon, drain ──► closing ── close durable ──► closed ──► freed
 *                                    └── loss ──► lost ── gap and close frames ──► closing        └► zombie
 *
 * Loss is per session: what is not durable is forgotten, the slot tells the worker why, and as soon
 * as something can be written again the session ends in a gap and a close frame. A zombie is closed,
 * but its worker has not said END yet: it only keeps the slot, so that late events are known for what
 * they are.
 *
 * Invariants:
 * 1. seq grows by one from event to event. Anything else is not recorded as if it were right: after
 *    recovery it becomes a gap, otherwise it ends the session.
 * 2. Gap and close frames are made only when no frame of the session is under way.
 */
#include "base/json.h"
#include "record/recorder_priv.h"

struct rec_session *rec_session_new(struct recorder *r, const uint8_t sid[SID_SIZE]) {
	struct rec_session *s = xcalloc(1, sizeof(*s));
	void *old = NULL;
	struct list *lists[] = { &s->all,   &s->queue,    &s->grew, &s->step,
		                 &s->ready, &s->out_link, &s->jobs };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	memcpy(s->sid, sid, SID_SIZE);
	if (map_get(r->by_sid, str_mem(s->sid, SID_SIZE)) != NULL ||
	    map_put(r->by_sid, str_mem(s->sid, SID_SIZE), s, &old) < 0) {
		free(s);
		return NULL;
	}
	s->ring_id = FRAME_RING_NONE;
	s->cut_seq = 1;
	s->part_started = r->now;
	frame_builder_init(&s->b);
	buf_init(&s->out, REC_PART_MAX + 4 * FRAME_MAX);
	buf_init(&s->index, (size_t)FRAME_PART_FRAMES_MAX * 2 * FRAME_INDEX_ROW_SIZE);
	tree_init(&s->tree);
	list_push(&r->all, &s->all);
	return s;
}

void rec_session_release_slot(struct recorder *r, struct rec_session *s) {
	struct rec_ring *g = s->ring;

	(void)r;
	if (g == NULL || g->slot[s->slot] != s)
		return;
	/* Until the close is durable the slot stays bound; rec_session_applied() comes here again. */
	if (s->state == SS_CLOSED || s->state == SS_ZOMBIE) {
		g->slot[s->slot] = NULL;
		g->session_count--;
		ring_free_slot(&g->ring, s->slot);
		s->ring = NULL;
	}
}

void rec_session_free(struct recorder *r, struct rec_session *s) {
	struct list *lists[] = { &s->all, &s->queue, &s->grew, &s->step, &s->ready, &s->out_link };

	if (s->ring != NULL && s->ring->slot[s->slot] == s) {
		s->ring->slot[s->slot] = NULL;
		s->ring->session_count--;
		ring_free_slot(&s->ring->ring, s->slot);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_drop(lists[i]);
	(void)map_del(r->by_sid, str_mem(s->sid, SID_SIZE));
	r->out_bytes -= s->out.len;
	frame_builder_fini(&s->b);
	buf_fini(&s->out);
	buf_fini(&s->index);
	free(s);
}

void rec_session_bind(struct recorder *r, struct rec_session *s, struct rec_ring *ring,
                      uint32_t slot, uint32_t generation) {
	(void)r;
	s->ring = ring;
	s->ring_id = ring->id;
	s->slot = slot;
	s->generation = generation;
	ring->slot[slot] = s;
	ring->session_count++;
	ring_bind(&ring->ring, slot, generation);
}

/* --- events --- */

/* END carries the final offsets; anything that does not parse ends the session all the same. */
static void take_end(struct recorder *r, struct rec_session *s, const struct ring_event *e,
                     struct str payload) {
	struct rec_event ev;
	char reason[TLOG_TOKEN_MAX + 1] = "end";

	s->saw_end = true;
	if (rec_event_parse(&ev, e->type, e->flags, payload) == 0) {
		memcpy(s->streams, ev.streams, sizeof(s->streams));
		if (ev.bytes.n != 0 &&
		    !str_copy(reason, sizeof(reason), str_head(ev.bytes, TLOG_TOKEN_MAX)))
			(void)snprintf(reason, sizeof(reason), "end");
		rec_session_close(r, s, reason, ev.code);
	} else {
		rec_session_close(r, s, "end", H_EFORMAT);
	}
}

static bool check_seq(struct recorder *r, struct rec_session *s, uint64_t seq) {
	uint64_t expected = s->b.n_events != 0 ? s->b_first_seq + s->b.n_events : s->cut_seq;

	if (seq == expected) {
		s->expects_gap = false;
		return true;
	}
	if (seq > expected && s->expects_gap && s->b.n_events == 0) {
		rec_session_gap(s, "recorder-died", true, seq - expected);
		s->expects_gap = false;
		return true;
	}
	if (seq < expected && s->is_recovered) /* it was durable already */
		return false;
	rec_alarm(r, "record.seq.broken", "a worker skipped or repeated an event", H_EGAP);
	rec_session_lose(r, s, H_EGAP);
	return false;
}

static void check_quota(struct recorder *r, struct rec_session *s, size_t n) {
	(void)r;
	s->frames_bytes += n;
	if (s->quota == 0 || s->frames_bytes <= s->quota || s->ring == NULL)
		return;
	ring_set_state(&s->ring->ring, s->slot, RING_SLOT_QUOTA);
	if (s->frames_bytes > s->quota + REC_QUOTA_GRACE)
		rec_session_lose(r, s, H_EQUOTA);
}

/* Only what bytes wait for is urgent: answers and commands ride with the session's next one. */
static void queue_up(struct recorder *r, struct rec_session *s, const struct ring_event *e) {
	if (s->b.n_events == 1) {
		bool is_both = s->durable == DURABLE_BOTH_WAYS;

		s->b_first_seq = e->seq;
		s->b_due = r->now + (is_both ? REC_AGE_BOTH : REC_AGE);
		list_drop(&s->queue);
		list_push(is_both ? &r->soon : &r->later, &s->queue);
	}
	if (e->intent == 1 && s->b_due != 0) {
		s->b_due = 0;
		list_drop(&s->queue);
		list_push(&r->urgent, &s->queue);
	}
}

void rec_session_event(struct recorder *r, struct rec_session *s, const struct ring_event *e,
                       const uint8_t *payload) {
	struct str bytes = str_mem(payload, e->len);

	if (s->state != SS_OPEN || s->saw_end) {
		s->lost_count++;
		if (e->type == REC_END && !s->saw_end) {
			s->saw_end = true;
			rec_session_release_slot(r, s);
		}
		return;
	}
	if (!check_seq(r, s, e->seq))
		return;
	if (r->phase != RP_SERVING) {
		s->saw_end = e->type == REC_END;
		rec_session_lose(r, s, r->phase == RP_NOSPACE ? H_ENOSPACE : H_ERECORDER);
		return;
	}
	if (s->b.n_events != 0 && frame_builder_size(&s->b) + e->len + 32 > REC_CUT_SIZE)
		batch_cut(r, s);
	if (s->state != SS_OPEN)
		return;
	if (frame_builder_add(&s->b, e->type, e->flags, e->mono_ns, bytes) < 0) {
		rec_session_lose(r, s, H_ELIMIT);
		return;
	}
	queue_up(r, s, e);
	/* An END over the quota still ends: nothing would come after it to free the slot. */
	if (e->type == REC_END)
		take_end(r, s, e, bytes);
	else
		check_quota(r, s, e->len); /* last: it may free the session */
}

/* --- loss --- */

/* The counters of cut frames go back to what is durable. */
void rec_session_cut_back(struct rec_session *s) {
	s->cut_frames = s->tree.size;
	s->cut_seq = s->durable_seq + 1;
	s->cut_part = s->part;
	s->cut_part_frames = (uint32_t)(s->tree.size - s->part_first);
	s->cut_part_bytes = s->part_len + s->out.len;
}

void rec_session_gap(struct rec_session *s, const char *reason, bool is_known, uint64_t lost) {
	s->gap_pending = true;
	s->has_gap = true;
	s->gap_lost_known = is_known;
	s->lost_count = lost;
	if (reason != s->gap_reason)
		(void)snprintf(s->gap_reason, sizeof(s->gap_reason), "%s", reason);
}

static enum ring_slot_state slot_state_of(int code) {
	if (code == H_ENOSPACE)
		return RING_SLOT_NOSPACE;
	return code == H_EQUOTA ? RING_SLOT_QUOTA : RING_SLOT_FAILED;
}

static const char *loss_reason(int code) {
	switch (code) {
	case H_ENOSPACE:
		return "store-full";
	case H_EQUOTA:
		return "quota";
	case H_EGAP:
	case H_ELIMIT:
		return "worker-fault";
	default:
		return "write-failed";
	}
}

void rec_session_lose(struct recorder *r, struct rec_session *s, int code) {
	bool lost = s->b.n_events != 0 || !list_empty(&s->jobs) || s->cut_seq != s->durable_seq + 1;

	if (s->tree.size == 0 && s->inflight == 0 && !s->is_acts) {
		rec_session_free(r, s); /* it never was */
		return;
	}
	if (s->is_acts || s->tree.size == 0) {
		/* Acts are answered one by one; only their numbers go back. */
		if (s->inflight == 0)
			rec_session_cut_back(s);
		if (s->want_close && !s->close_cut)
			list_drop(&s->step), list_push(&r->step, &s->step);
		return;
	}
	if (s->state == SS_CLOSING && !lost) { /* only the close frame: again */
		if (s->inflight == 0)
			rec_session_cut_back(s);
		list_drop(&s->step);
		list_push(&r->step, &s->step);
		return;
	}
	if (s->state != SS_OPEN && s->state != SS_CLOSING)
		return;
	s->state = SS_LOST;
	s->lost_count = s->b.n_events;
	(void)snprintf(s->gap_reason, sizeof(s->gap_reason), "%s", loss_reason(code));
	(void)snprintf(s->reason, sizeof(s->reason), "%s", loss_reason(code));
	s->end_code = code;
	frame_builder_reset(&s->b, true);
	list_drop(&s->queue);
	if (s->ring != NULL && s->ring->slot[s->slot] == s)
		ring_set_state(&s->ring->ring, s->slot, slot_state_of(code));
	list_drop(&s->step);
	list_push(&r->step, &s->step);
}

/* --- the end --- */

void rec_session_close(struct recorder *r, struct rec_session *s, const char *reason,
                       int64_t code) {
	if (s->state >= SS_LOST)
		return;
	s->state = SS_CLOSING;
	s->want_close = true;
	(void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
	s->end_code = code;
	if (s->expects_gap && !s->gap_pending)
		rec_session_gap(s, "recorder-died", false, 0);
	list_drop(&s->step);
	list_push(&r->step, &s->step);
}

static void put_gap(struct recorder *r, struct rec_session *s) {
	struct jw j;

	buf_clear(&r->json);
	j = jw_of(&r->json);
	jw_obj(&j);
	jw_kv_str(&j, "reason", str_of(s->gap_reason));
	jw_kv_u64(&j, "after_seq", s->cut_seq - 1);
	jw_key(&j, "lost");
	if (s->gap_lost_known)
		jw_u64(&j, s->lost_count);
	else
		jw_null(&j);
	jw_obj_end(&j);
	s->gap_pending = false;
	batch_json(r, s, FRAME_GAP, buf_peek(&r->json), NULL);
}

static void put_close(struct recorder *r, struct rec_session *s) {
	struct jw j;

	buf_clear(&r->json);
	j = jw_of(&r->json);
	jw_obj(&j);
	jw_kv_str(&j, "reason", str_of(s->reason));
	jw_kv_i64(&j, "code", s->end_code);
	jw_kv_u64(&j, "events", s->events);
	jw_kv_u64(&j, "frames", s->cut_frames + 1);
	jw_kv_u64(&j, "commands", s->commands);
	jw_key(&j, "streams");
	jw_arr(&j);
	for (size_t i = 0; i < 4; i++)
		jw_u64(&j, s->streams[i]);
	jw_arr_end(&j);
	jw_kv_bool(&j, "gap", s->has_gap);
	jw_obj_end(&j);
	s->close_cut = true;
	list_drop(&s->step);
	batch_json(r, s, FRAME_CLOSE, buf_peek(&r->json), NULL);
}

void rec_session_step(struct recorder *r, struct rec_session *s) {
	if (s->inflight != 0 || !list_empty(&s->jobs))
		return;
	if (s->state == SS_LOST) {
		rec_session_cut_back(s);
		s->gap_pending = s->has_gap = true;
		s->gap_lost_known = false;
		s->state = SS_CLOSING;
		s->want_close = true;
	}
	if (s->gap_pending)
		put_gap(r, s);
	if (!s->want_close) {
		list_drop(&s->step);
		return;
	}
	if (s->b.n_events != 0) {
		batch_cut(r, s);
		return; /* the close follows when those are durable */
	}
	/* put_gap() may have committed the batch, and that may have failed. */
	if (s->state == SS_CLOSING && !s->close_cut && !s->gap_pending)
		put_close(r, s);
}

/* --- durable --- */

static void put_leaf(struct recorder *r, struct rec_session *s, enum tlog_type type,
                     const struct batch_item *it) {
	struct tlog_leaf l = { .type = type, .wall = it->wall, .frames = s->tree.size };

	memcpy(l.sid, s->sid, SID_SIZE);
	l.after_seq = it->first_seq - 1;
	l.parts = s->part + 1;
	l.gap = s->has_gap;
	l.reason = str_of(type == TLOG_GAP ? s->gap_reason : s->reason);
	if (type == TLOG_OPEN)
		memcpy(l.hash, it->leaf, SHA256_SIZE);
	else
		tree_root(&s->tree, l.hash);
	leaf_put(r, &l);
}

static void applied_close(struct recorder *r, struct rec_session *s, const struct batch_item *it) {
	s->state = SS_CLOSED;
	list_drop(&s->grew); /* the close leaf says it all */
	part_seal(r, s);
	s->close_leaf = r->leaf_next;
	put_leaf(r, s, TLOG_CLOSE, it);
	frame_builder_reset(&s->b, true);
	if (s->saw_end || s->ring == NULL)
		rec_session_release_slot(r, s);
	else
		s->state = SS_ZOMBIE;
}

/* What is durable now, and in which frame: a worker makes receipts of it. Leaves that are not durable
 * yet do not count: after a crash others may stand in their places. */
static void tell_durable(struct recorder *r, struct rec_session *s, const struct batch_item *it) {
	struct ring_frame f = { .number = s->tree.size - 1, .log_size = r->leaf_durable };

	if (s->ring == NULL || s->ring->slot[s->slot] != s)
		return;
	memcpy(f.leaf, it->leaf, sizeof(f.leaf));
	ring_set_frame(&s->ring->ring, s->slot, &f);
	ring_set_durable(&s->ring->ring, s->slot, s->generation, it->last_seq);
}

void rec_session_applied(struct recorder *r, struct rec_session *s, const struct batch_item *it) {
	tree_add(&s->tree, it->leaf);
	if (list_empty(&s->grew))
		list_push(&r->grew, &s->grew);
	if (it->kind == FRAME_DATA) {
		s->durable_seq = it->last_seq;
		s->events += it->events;
		s->commands += it->commands;
		tell_durable(r, s, it);
	} else if (it->kind == FRAME_OPEN) {
		put_leaf(r, s, TLOG_OPEN, it);
		s->state = s->state == SS_OPENING ? SS_OPEN : s->state;
	} else if (it->kind == FRAME_GAP) {
		put_leaf(r, s, TLOG_GAP, it);
	} else if (it->kind == FRAME_CLOSE) {
		applied_close(r, s, it);
	}
}

/* Sessions that are closed, flushed and in the log are forgotten. */
void rec_session_reap(struct recorder *r) {
	list_each_safe (it, tmp, &r->all) {
		struct rec_session *s = container_of(it, struct rec_session, all);

		if (s->b.n_events == 0 && list_empty(&s->jobs))
			frame_builder_reset(&s->b, true);
		if (s->state == SS_CLOSED && s->out.len == 0 && s->close_leaf < r->leaf_durable &&
		    (s->ring == NULL || s->ring->slot[s->slot] != s))
			rec_session_free(r, s);
	}
}
