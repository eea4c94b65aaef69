/*
 * recorder_batch.c: frames into batches, batches onto the disk.
 *
 *   builder ── small ─────────────► encoded into the batch at once ─┐
 *      └───── bulk ──► job: finish, zstd, SHA-256 in a helper ──────┴─► commit ──► apply
 *
 * Invariants:
 * 1. A session's frames enter batches in frame_no order: while it has jobs, its frames are jobs.
 * 2. A frame is applied (tree, part buffer, published seq) only after the write that holds it
 *    returned 0. Whoever waited for anything in a batch that failed is told so, once.
 * 3. While commands are in a batch it holds at most REC_BULK_PER_BATCH of bulk, so that one reader of
 *    much does not make the others wait for its megabytes.
 */
#include "record/recorder_priv.h"

#include <time.h>

static void fill_head(struct recorder *r, struct rec_session *s, struct frame_head *h,
                      uint8_t kind) {
	*h = (struct frame_head){ .kind = kind,
		                  .ring = s->ring_id,
		                  .frame_no = s->cut_frames,
		                  .first_seq = s->cut_seq,
		                  .wall_ns = rec_wall(r),
		                  .mono_ns = r->now,
		                  .slot = s->slot,
		                  .generation = s->generation };
	memcpy(h->sid, s->sid, SID_SIZE);
	if (s->is_recovered)
		h->flags |= FRAME_RECOVERED;
	if (kind == FRAME_CLOSE)
		h->flags |= FRAME_LAST;
	/* The next part begins when this one is full; recorder_session.c ends it by age. */
	if (s->cut_part_bytes >= REC_PART_MAX || s->cut_part_frames >= FRAME_PART_FRAMES_MAX) {
		s->cut_part++;
		s->cut_part_bytes = 0;
		s->cut_part_frames = 0;
	}
	h->part = s->cut_part;
}

static void count_cut(struct rec_session *s, size_t size) {
	s->cut_frames++;
	s->cut_part_frames++;
	s->cut_part_bytes += size;
	s->inflight++;
}

void batch_room(struct recorder *r, size_t need) {
	if (r->item_count == REC_BATCH_ITEMS || r->batch_len + need > r->batch_max)
		batch_commit(r);
	assert(r->batch_len + need <= r->batch_max);
}

static uint8_t *batch_end(struct recorder *r) {
	return r->batch + JOURNAL_BATCH_HEAD + r->batch_len;
}

static struct batch_item *add_item(struct recorder *r, struct rec_session *s,
                                   const struct frame_head *h, size_t len) {
	struct batch_item *it = &r->items[r->item_count++];

	*it = (struct batch_item){ .s = s,
		                   .at = (uint32_t)r->batch_len,
		                   .len = (uint32_t)len,
		                   .kind = h->kind,
		                   .part = h->part,
		                   .first_seq = h->first_seq,
		                   .wall = h->wall_ns,
		                   .mono = h->mono_ns };
	r->batch_len += len;
	return it;
}

/* --- bulk jobs --- */

static void run_job(struct pool_job *pj, unsigned thread) {
	struct rec_job *j = container_of(pj, struct rec_job, job);
	uint8_t root_flags = j->head.flags;
	struct str raw = frame_builder_finish(&j->b, &j->head, j->salt);

	j->head.flags |= root_flags;
	j->size = frame_encode(j->r->codec[thread], &j->head, raw, j->out, REC_JOB_OUT);
	frame_leaf(j->leaf, j->out);
}

void batch_job_init(struct recorder *r, struct rec_job *j) {
	j->r = r;
	j->job.fn = run_job;
	j->out = xmalloc(REC_JOB_OUT);
	frame_builder_init(&j->b);
	list_push(&r->free_jobs, &j->link);
}

/* Takes finished jobs back from the pool. */
void batch_collect(struct recorder *r) {
	if (pool_collect(r->store_pool) != NULL)
		store_done(r, &r->store);
	for (struct pool_job *pj = pool_collect(r->pool); pj != NULL; pj = pool_collect(r->pool)) {
		struct rec_job *j = container_of(pj, struct rec_job, job);

		assert(j->size > 0);
		j->is_done = true;
		if (list_empty(&j->s->ready))
			list_push(&r->ready, &j->s->ready);
	}
}

static void free_job(struct recorder *r, struct rec_job *j) {
	frame_builder_reset(&j->b, false);
	list_drop(&j->link);
	list_push(&r->free_jobs, &j->link);
}

/* The first job of s into the batch, or away when s lost it; false when the limit is reached. */
static bool take_job(struct recorder *r, struct rec_session *s, struct rec_job *j, size_t limit) {
	if (s->state != SS_OPEN && s->state != SS_CLOSING) { /* lost meanwhile */
		s->inflight--;
		free_job(r, j);
		return true;
	}
	if (r->batch_bulk >= limit || r->item_count == REC_BATCH_ITEMS ||
	    r->batch_len + (size_t)j->size > r->batch_max)
		return false;
	memcpy(batch_end(r), j->out, (size_t)j->size);
	struct batch_item *it = add_item(r, s, &j->head, (size_t)j->size);

	it->events = j->events;
	it->commands = j->commands;
	it->last_seq = j->head.first_seq + j->events - 1;
	memcpy(it->leaf, j->leaf, SHA256_SIZE);
	r->batch_bulk += (size_t)j->size;
	r->stats.bulk_frames++;
	free_job(r, j);
	return true;
}

/* Finished bulk into the batch, one frame of each session in turn. */
void batch_take_bulk(struct recorder *r) {
	size_t limit = r->item_count != 0 ? REC_BULK_PER_BATCH : r->batch_max;

	while (!list_empty(&r->ready)) {
		struct rec_session *s = container_of(r->ready.next, struct rec_session, ready);
		struct rec_job *j = list_empty(&s->jobs)
		                            ? NULL
		                            : container_of(s->jobs.next, struct rec_job, link);

		if (r->phase != RP_SERVING)
			rec_session_lose(r, s, r->phase == RP_NOSPACE ? H_ENOSPACE : H_ERECORDER);
		if (j != NULL && j->is_done && !take_job(r, s, j, limit))
			break;
		list_drop(&s->ready);
		j = list_empty(&s->jobs) ? NULL : container_of(s->jobs.next, struct rec_job, link);
		if (j != NULL && j->is_done)
			list_push(&r->ready, &s->ready);
	}
}

static void nap(void) {
	struct timespec t = { .tv_nsec = 50 * 1000 };

	(void)nanosleep(&t, NULL);
}

/* Until a job is free, or all jobs of s are through. Rare: the pool is saturated. */
static void wait_jobs(struct recorder *r, const struct rec_session *s, bool for_all) {
	while (for_all ? !list_empty(&s->jobs) : list_empty(&r->free_jobs)) {
		batch_collect(r);
		batch_take_bulk(r);
		if (!list_empty(&r->ready))
			batch_commit(r);
		else if (for_all ? !list_empty(&s->jobs) : list_empty(&r->free_jobs))
			nap();
	}
}

/* --- cutting --- */

static void cut_inline(struct recorder *r, struct rec_session *s) {
	batch_room(r,
	           FRAME_HEAD_SIZE + frame_builder_size(&s->b) + FRAME_SALT_SIZE + FRAME_TAG_SIZE);
	if (s->b.n_events == 0) /* lost in that commit */
		return;
	struct frame_head h;
	uint8_t salt[FRAME_SALT_SIZE];

	fill_head(r, s, &h, FRAME_DATA);
	h.first_seq = s->b_first_seq;
	rec_salt(r, salt);
	uint8_t flags = h.flags;
	struct str raw = frame_builder_finish(&s->b, &h, salt);

	h.flags |= flags;
	int n = frame_encode(r->main_codec, &h, raw, batch_end(r), r->batch_max - r->batch_len);

	assert(n > 0);
	struct batch_item *it = add_item(r, s, &h, (size_t)n);

	it->events = s->b.n_events;
	it->commands = s->b.n_commands;
	it->last_seq = h.first_seq + s->b.n_events - 1;
	frame_leaf(it->leaf, r->batch + JOURNAL_BATCH_HEAD + it->at);
	s->cut_seq = it->last_seq + 1;
	count_cut(s, (size_t)n);
	frame_builder_reset(&s->b, false);
}

static void cut_to_job(struct recorder *r, struct rec_session *s) {
	struct rec_job *j = container_of(r->free_jobs.next, struct rec_job, link);
	struct frame_builder empty = j->b;

	list_drop(&j->link);
	fill_head(r, s, &j->head, FRAME_DATA);
	j->head.first_seq = s->b_first_seq;
	rec_salt(r, j->salt);
	j->s = s;
	j->b = s->b;
	s->b = empty;
	j->events = j->b.n_events;
	j->commands = j->b.n_commands;
	j->is_done = false;
	s->cut_seq = s->b_first_seq + j->events;
	count_cut(s, frame_builder_size(&j->b) / 2);
	list_push(&s->jobs, &j->link);
	pool_submit(r->pool, &j->job);
}

void batch_cut(struct recorder *r, struct rec_session *s) {
	if (s->b.n_events == 0)
		return;
	if (s->gap_pending) {
		rec_session_step(r, s);
		if (s->gap_pending) {
			rec_session_lose(r, s, H_EGAP);
			return;
		}
	}
	bool is_small = frame_builder_size(&s->b) <= REC_SMALL_MAX && list_empty(&s->jobs);

	if (!is_small && list_empty(&r->free_jobs))
		wait_jobs(r, s, false);
	if (s->b.n_events != 0 && is_small)
		cut_inline(r, s);
	else if (s->b.n_events != 0)
		cut_to_job(r, s);
	list_drop(&s->queue);
}

void batch_json(struct recorder *r, struct rec_session *s, uint8_t kind, struct str json,
                const struct batch_item *ack) {
	struct frame_head h;

	buf_clear(&r->scratch);
	frame_put_json(&r->scratch, json);
	assert(!r->scratch.bad && list_empty(&s->jobs) && s->b.n_events == 0);
	batch_room(r, FRAME_HEAD_SIZE + r->scratch.len + FRAME_TAG_SIZE);
	fill_head(r, s, &h, kind);
	int n = frame_encode(r->main_codec, &h, buf_peek(&r->scratch), batch_end(r),
	                     r->batch_max - r->batch_len);

	assert(n > 0);
	struct batch_item *it = add_item(r, s, &h, (size_t)n);

	it->last_seq = s->cut_seq - 1;
	if (ack != NULL) {
		it->ack_type = ack->ack_type;
		it->ack_id = ack->ack_id;
	}
	frame_leaf(it->leaf, r->batch + JOURNAL_BATCH_HEAD + it->at);
	count_cut(s, (size_t)n);
}

/* Waiting leaves as one log frame. */
void batch_leaves(struct recorder *r) {
	struct str all = buf_peek(&r->leaves), rest = all, entry;
	struct frame_head h = { .kind = FRAME_LOG, .ring = FRAME_RING_NONE };
	uint8_t salt[FRAME_SALT_SIZE];

	if (all.n == 0 || r->leaves_cut != 0 || r->phase == RP_BROKEN)
		return;
	while (rest.n != 0) {
		struct str before = rest;
		int rc = tlog_entry_next(&rest, &entry);

		assert(rc == 1);
		if (all.n - rest.n > MIN(REC_LOG_FRAME_MAX, r->batch_max / 2) && h.n_events != 0) {
			rest = before;
			break;
		}
		h.n_events++;
	}
	size_t n = all.n - rest.n;

	batch_room(r, FRAME_HEAD_SIZE + FRAME_SALT_SIZE + n + FRAME_TAG_SIZE);
	if (r->leaves.len == 0 || r->leaves_cut != 0)
		return;
	memcpy(h.sid, frame_log_sid, SID_SIZE);
	h.frame_no = h.first_seq = r->leaf_durable;
	h.wall_ns = rec_wall(r);
	h.mono_ns = r->now;
	rec_salt(r, salt);
	buf_clear(&r->scratch);
	w_bytes(&r->scratch, str_mem(salt, sizeof(salt)));
	w_bytes(&r->scratch, str_head(buf_peek(&r->leaves), n));
	int size = frame_encode(r->main_codec, &h, buf_peek(&r->scratch), batch_end(r),
	                        r->batch_max - r->batch_len);

	assert(size > 0 && !r->scratch.bad);
	(void)add_item(r, NULL, &h, (size_t)size);
	r->leaves_cut = (uint32_t)n;
}

/* --- commit --- */

static void clear_batch(struct recorder *r) {
	r->item_count = 0;
	r->batch_len = 0;
	r->batch_bulk = 0;
}

static void apply(struct recorder *r) {
	uint32_t count = r->item_count;

	r->stats.batches++;
	r->stats.frames += count;
	r->stats.bytes += r->batch_len;
	for (uint32_t i = 0; i < count; i++) {
		struct batch_item *it = &r->items[i];
		struct rec_session *s = it->s;
		struct str frame = str_mem(r->batch + JOURNAL_BATCH_HEAD + it->at, it->len);

		if (s == NULL) {
			uint32_t n = r->leaves_cut;

			r->leaves_cut = 0;
			leaves_applied(r, str_head(buf_peek(&r->leaves), n));
			buf_consume(&r->leaves, n);
			continue;
		}
		s->inflight--;
		part_add(r, s, it, frame);
		rec_session_applied(r, s, it);
		if (r->tap_count != 0)
			taps_offer(r, s, it, frame);
		if (it->ack_type != 0)
			keeper_ack(r, it, 0);
	}
	clear_batch(r);
}

/* Invariant 2, the other half. Sessions are told before the phase changes what they may do. */
static void fail_batch(struct recorder *r, int code) {
	uint32_t count = r->item_count;

	r->stats.failures++;
	r->leaves_cut = 0;
	clear_batch(r);
	for (uint32_t i = 0; i < count; i++) {
		struct batch_item *it = &r->items[i];

		if (it->s == NULL)
			continue;
		it->s->inflight--;
		it->s->close_cut = it->s->close_cut && it->kind != FRAME_CLOSE;
		if (it->kind == FRAME_GAP)
			it->s->gap_pending = true;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct batch_item *it = &r->items[i];

		if (it->s == NULL)
			continue;
		rec_session_lose(r, it->s, code);
		if (it->ack_type != 0)
			keeper_ack(r, it, code == H_ENOSPACE ? code : H_ERECORDER);
	}
	rec_alarm(r, "record.commit.failed", "sessions that waited for it were ended", code);
}

/* A full journal may only wait for a flush that is under way. */
static bool wait_flush(struct recorder *r) {
	uint64_t number;

	if (!r->store.is_running) {
		if (!journal_wants_flush(&r->j, &number))
			return false;
		r->is_flush_due = true;
		store_step(r, false);
		r->is_flush_due = false;
		batch_collect(r);
		return !journal_wants_flush(&r->j, &number) || r->store.is_running;
	}
	nap();
	batch_collect(r);
	return true;
}

static int advance(struct recorder *r) {
	bool is_last_resort = r->phase == RP_NOSPACE;

	r->has_full = true;
	r->full_at = r->now;
	int rc = journal_advance(&r->j, r->leaf_durable, rec_wall(r), is_last_resort);

	for (int tries = 0; rc == H_ENOSPACE && tries < 100000 && wait_flush(r); tries++)
		rc = journal_advance(&r->j, r->leaf_durable, rec_wall(r), is_last_resort);
	return rc;
}

void batch_commit(struct recorder *r) {
	int rc = 0;

	if (r->item_count == 0)
		return;
	bool is_new = !journal_fits(&r->j, r->batch_len);

	if (is_new)
		rc = advance(r);
	if (rc == 0)
		rc = journal_write(&r->j, r->batch, (uint32_t)r->batch_len, r->item_count, r->now);
	if (rc == 0) {
		apply(r);
		return;
	}
	fail_batch(r, rc);
	if (rc == H_ENOSPACE) {
		r->phase = RP_NOSPACE;
		rec_set_store_state(r, STORE_FAILED, "no space left in the store");
	} else if (advance(r) < 0) { /* another segment may be well */
		r->phase = RP_BROKEN;
		rec_set_store_state(r, STORE_FAILED, "the journal cannot be written");
	}
	r->retry_due = r->now + NS_PER_S;
}
