/*
 * recorder.c: the turn of the recorder (recorder.h).
 *
 *   take back what helpers finished → drain every ring → beat, once a second → leaves, gaps, closes →
 *   sessions with an intent → sessions whose time has come → finished bulk → one write → publish →
 *   a few part buffers into their files → a step of a growing segment
 *
 * There is no timer on the way of a command: whatever came in while the last batch was written
 * makes the next one.
 *
 * Invariants:
 * 1. An event is taken from a ring only when it can be put somewhere; afterwards it is in a builder,
 *    in a job, in the batch, durable, or its session is lost. There is no sixth place.
 * 2. Nothing but apply() in recorder_batch.c publishes durability.
 * 3. While the journal cannot be written events are still taken, so that no worker hangs, and each
 *    ends its session.
 */
#include "record/recorder_priv.h"

/* --- life --- */

static void init_lists(struct recorder *r) {
	struct list *lists[] = { &r->all,  &r->urgent,    &r->soon,      &r->later,
		                 &r->grew, &r->step,      &r->ready,     &r->outs,
		                 &r->ops,  &r->free_jobs, &r->store.ops, &r->taps };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
}

static void init_jobs(struct recorder *r) {
	for (size_t i = 0; i < REC_JOBS; i++)
		batch_job_init(r, &r->jobs[i]);
}

struct recorder *recorder_new(const struct recorder_options *o) {
	struct recorder *r = xcalloc(1, sizeof(*r));
	void *batch = NULL;

	r->o = *o;
	r->vfs = o->vfs;
	r->o.helpers = MIN(o->helpers, (unsigned)REC_HELPERS_MAX);
	init_lists(r);
	journal_init(&r->j, o->vfs, o->segment_size != 0 ? o->segment_size : (uint64_t)64 << 20,
	             MAX(o->segment_count, 3u));
	r->batch_max = MIN(REC_BATCH_MAX, journal_batch_max(&r->j) - JOURNAL_BATCH_HEAD);
	if (posix_memalign(&batch, JOURNAL_BLOCK, REC_BATCH_MAX + 2 * JOURNAL_BLOCK) != 0)
		abort();
	r->batch = batch;
	r->payload = xmalloc(RING_PAYLOAD_MAX);
	r->pool = pool_new(r->o.helpers, o->hooks.wake, o->hooks.arg);
	r->store_pool = pool_new(MIN(r->o.helpers, 1u), o->hooks.wake, o->hooks.arg);
	r->main_codec = frame_codec_new();
	for (unsigned i = 0; i < MAX(r->o.helpers, 1u); i++)
		r->codec[i] = frame_codec_new();
	r->by_sid = map_new(REC_SESSIONS_MAX);
	buf_init(&r->json, 128 * KIB);
	buf_init(&r->scratch, 256 * KIB);
	buf_init(&r->leaves, 64 * MIB);
	buf_init(&r->written, REC_RUNS_MAX * sizeof(struct part_run));
	buf_init(&r->store.written, REC_RUNS_MAX * sizeof(struct part_run));
	buf_init(&r->store.files, (REC_RUNS_MAX + REC_SYNC_FILES_MAX) * sizeof(struct part_file));
	buf_init(&r->store.dirs, (size_t)REC_SYNC_DIRS_MAX * VFS_PATH_MAX);
	r->store.needs_all = true; /* recovery writes without a list */
	init_jobs(r);
	return r;
}

void recorder_free(struct recorder **rp) {
	struct recorder *r = *rp;

	if (r == NULL)
		return;
	pool_free(&r->pool);
	pool_free(&r->store_pool);
	taps_free(r);
	while (!list_empty(&r->all))
		rec_session_free(r, container_of(r->all.next, struct rec_session, all));
	for (size_t i = 0; i < REC_JOBS; i++) {
		frame_builder_fini(&r->jobs[i].b);
		free(r->jobs[i].out);
	}
	for (unsigned i = 0; i < r->ring_count; i++) {
		ring_unmap(&r->rings[i]->ring);
		free(r->rings[i]->slot);
		free(r->rings[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(r->codec); i++)
		frame_codec_free(&r->codec[i]);
	frame_codec_free(&r->main_codec);
	store_forget(r);
	tlog_writer_free(&r->log);
	journal_fini(&r->j);
	map_free(&r->by_sid);
	buf_fini(&r->json);
	buf_fini(&r->scratch);
	buf_fini(&r->leaves);
	buf_fini(&r->written);
	buf_fini(&r->store.written);
	buf_fini(&r->store.files);
	buf_fini(&r->store.dirs);
	free(r->batch);
	free(r->payload);
	free(r);
	*rp = NULL;
}

/* --- rings --- */

struct rec_ring *rec_ring(struct recorder *r, uint16_t id) {
	for (unsigned i = 0; i < r->ring_count; i++) {
		if (r->rings[i]->id == id)
			return r->rings[i];
	}
	return NULL;
}

int recorder_add_ring(struct recorder *r, uint16_t id, const struct ring *ring) {
	if (r->ring_count == REC_RINGS_MAX || id == FRAME_RING_NONE)
		return H_ELIMIT;
	if (rec_ring(r, id) != NULL)
		return H_EEXIST;
	struct rec_ring *g = xcalloc(1, sizeof(*g));

	g->ring = *ring;
	g->id = id;
	g->slot = xcalloc(ring->slot_count, sizeof(*g->slot));
	r->rings[r->ring_count++] = g;
	return 0;
}

void recorder_ring_dead(struct recorder *r, uint16_t id) {
	struct rec_ring *g = rec_ring(r, id);

	if (g != NULL)
		g->is_dead = true;
	else
		r->o.hooks.ring_drained(r->o.hooks.arg, id);
}

/* All sessions of a ring end. */
static void close_ring_sessions(struct recorder *r, struct rec_ring *g, const char *reason) {
	for (uint32_t i = 0; i < g->ring.slot_count && g->session_count != 0; i++) {
		struct rec_session *s = g->slot[i];

		if (s == NULL)
			continue;
		s->saw_end = true;
		if (s->state == SS_OPEN || s->state == SS_OPENING)
			rec_session_close(r, s, reason, H_ERECORDER);
		rec_session_release_slot(r, s);
	}
}

/* A ring that is dead or cannot be: its sessions are closed, then it goes. */
static void end_rings(struct recorder *r) {
	for (unsigned i = 0; i < r->ring_count; i++) {
		struct rec_ring *g = r->rings[i];

		if (!(g->is_bad || (g->is_dead && g->is_drained)))
			continue;
		if (g->session_count != 0)
			close_ring_sessions(r, g, g->is_bad ? "ring-altered" : "worker-died");
		if (!g->is_dead || g->session_count != 0)
			continue;
		ring_unmap(&g->ring);
		r->rings[i--] = r->rings[--r->ring_count];
		r->o.hooks.ring_drained(r->o.hooks.arg, g->id);
		free(g->slot);
		free(g);
	}
}

static void take_event(struct recorder *r, struct rec_ring *g, const struct ring_event *e) {
	struct rec_session *s = e->slot < g->ring.slot_count ? g->slot[e->slot] : NULL;

	r->stats.events++;
	if (s != NULL && s->generation == e->generation) {
		rec_session_event(r, s, e, r->payload);
		return;
	}
	r->stats.dropped++;
	rec_alarm(r, "record.event.unbound", "an event for a slot that no session holds", H_EPERM);
}

/* Everything that is in the ring, up to a bound that keeps turns short. */
bool rec_drain_ring(struct recorder *r, struct rec_ring *g) {
	struct ring_event e;
	size_t taken = 0;
	int rc = 0;

	if (g->is_bad)
		return true;
	while (taken < REC_DRAIN_MAX && (rc = ring_take(&g->ring, &e, r->payload)) > 0) {
		taken += e.size;
		take_event(r, g, &e);
	}
	if (taken != 0)
		ring_release(&g->ring);
	if (rc < 0) {
		g->is_bad = true;
		rec_alarm(r, "record.ring.altered",
		          "a ring holds what a worker cannot have written", rc);
	}
	g->is_drained = rc <= 0;
	return g->is_drained;
}

static bool drain(struct recorder *r) {
	bool is_empty = true;

	for (unsigned i = 0; i < r->ring_count; i++)
		is_empty = rec_drain_ring(r, r->rings[i]) && is_empty;
	end_rings(r);
	return is_empty;
}

static void publish(struct recorder *r) {
	for (unsigned i = 0; i < r->ring_count; i++) {
		if (ring_commit_done(&r->rings[i]->ring))
			r->o.hooks.wake_worker(r->o.hooks.arg, r->rings[i]->id);
	}
}

bool recorder_may_sleep(struct recorder *r) {
	bool may = true;

	if (r->phase == RP_STARTING || r->phase == RP_ALTERED)
		return true;
	for (unsigned i = 0; i < r->ring_count; i++)
		may = ring_recorder_may_sleep(&r->rings[i]->ring) && may;
	return may;
}

void recorder_awake(struct recorder *r) {
	if (r->phase == RP_STARTING || r->phase == RP_ALTERED)
		return;
	for (unsigned i = 0; i < r->ring_count; i++)
		ring_recorder_awake(&r->rings[i]->ring);
}

/* --- the turn --- */

/* A recorded session can do nothing while nothing can be recorded. */
static void lose_all(struct recorder *r, struct list *queue) {
	while (!list_empty(queue)) {
		struct rec_session *s = container_of(queue->next, struct rec_session, queue);

		list_drop(&s->queue);
		rec_session_lose(r, s, r->phase == RP_NOSPACE ? H_ENOSPACE : H_ERECORDER);
	}
}

static void cut_due(struct recorder *r, struct list *queue) {
	while (!list_empty(queue)) {
		struct rec_session *s = container_of(queue->next, struct rec_session, queue);

		if (s->b_due > r->now)
			break;
		list_drop(&s->queue);
		batch_cut(r, s);
	}
}

static void cut_urgent(struct recorder *r) {
	while (!list_empty(&r->urgent)) {
		struct rec_session *s = container_of(r->urgent.next, struct rec_session, queue);

		list_drop(&s->queue);
		batch_cut(r, s);
	}
}

static void step_sessions(struct recorder *r) {
	struct list todo;

	/* A step may commit, and a failed commit may free or move any session: no iterator survives it. */
	list_init(&todo);
	while (!list_empty(&r->step)) {
		struct list *it = r->step.next;

		list_drop(it);
		list_push(&todo, it);
	}
	while (!list_empty(&todo)) {
		struct list *it = todo.next;

		list_drop(it);
		list_push(&r->step, it);
		rec_session_step(r, container_of(it, struct rec_session, step));
	}
}

static void fill_batch(struct recorder *r) {
	batch_leaves(r);
	if (r->phase == RP_BROKEN || r->phase == RP_NOSPACE) {
		lose_all(r, &r->urgent);
		lose_all(r, &r->soon);
		lose_all(r, &r->later);
	}
	if (r->phase == RP_SERVING) {
		cut_urgent(r);
		cut_due(r, &r->soon);
		cut_due(r, &r->later);
	}
	if (r->phase != RP_BROKEN)
		step_sessions(r);
	batch_take_bulk(r);
}

/* Bytes by which the record is larger than store_max; 0: it is not. */
static uint64_t over_quota(const struct recorder *r) {
	uint64_t used = r->stats.bytes;

	return r->o.store_max != 0 && used > r->o.store_max ? used - r->o.store_max : 0;
}

static void retry(struct recorder *r) {
	if (r->phase == RP_SERVING || r->now < r->retry_due)
		return;
	r->retry_due = r->now + NS_PER_S;
	if (over_quota(r) > r->o.segment_size)
		return; /* only a restart with a larger limit changes that */
	if (parts_flush_all(r) < 0)
		return;
	store_step(r, true);
	int rc = 0;

	r->full_at = r->now;
	if (r->phase == RP_BROKEN && !journal_fits(&r->j, REC_CUT_SIZE))
		rc = journal_advance(&r->j, r->leaf_durable, rec_wall(r), false);
	else if (r->phase == RP_NOSPACE && !journal_has_spare(&r->j))
		rc = H_ENOSPACE;
	if (rc < 0)
		return;
	r->phase = RP_SERVING;
	rec_set_store_state(r, STORE_OK, "");
}

static void watch_room(struct recorder *r) {
	int64_t room = r->vfs->ops->room(r->vfs);

	if (room < 0 || r->phase != RP_SERVING)
		return;
	bool is_full = over_quota(r) > 0;

	if ((uint64_t)room < r->o.room_failed || over_quota(r) > r->o.segment_size) {
		r->phase = RP_NOSPACE;
		r->retry_due = r->now + NS_PER_S;
		rec_set_store_state(r, STORE_FAILED,
		                    is_full ? "store.size_max is exceeded"
		                            : "no space left in the store");
	} else if (is_full) {
		rec_set_store_state(r, STORE_REFUSE, "store.size_max is reached");
	} else if ((uint64_t)room < r->o.room_refuse || r->out_bytes > REC_OUT_BUDGET) {
		rec_set_store_state(r, STORE_REFUSE, "little space left in the store");
	} else if (r->store.last_rc == 0) {
		rec_set_store_state(r, STORE_OK, "");
	}
}

static void drain_step(struct recorder *r) {
	if (!r->is_draining || r->is_drained)
		return;
	bool is_late = r->now >= r->drain_until;
	bool has_open = false;

	list_each_safe (it, tmp, &r->all) {
		struct rec_session *s = container_of(it, struct rec_session, all);

		if (is_late && !s->is_acts && s->state == SS_OPEN)
			rec_session_close(r, s, "drain", H_EDRAIN);
		has_open = has_open || (!s->is_acts && s->state < SS_CLOSED);
	}
	if (has_open && r->now < r->drain_give_up)
		return;
	acts_close(r);
	if (!r->stop_leaf_queued && r->grew.next == &r->grew && list_empty(&r->step)) {
		char boot[33];

		hex_encode(boot, r->o.boot, 16);
		leaf_put(r, &(struct tlog_leaf){ .type = TLOG_STOP,
		                                 .wall = rec_wall(r),
		                                 .boot = str_of(boot),
		                                 .batch = r->j.next_batch - 1 });
		r->stop_leaf_queued = true;
	}
	bool is_signed = r->signed_size == r->leaf_durable || !r->keeper_is_up;

	r->is_drained = (r->stop_leaf_queued && r->leaves.len == 0 && is_signed &&
	                 !r->store.is_running && list_empty(&r->ops)) ||
	                r->now >= r->drain_give_up;
}

static void beat(struct recorder *r) {
	if (r->now < r->beat_due)
		return;
	/* While draining the beat is quick, so that the end does not wait for whole seconds. */
	r->beat_due = r->now + (r->is_draining ? REC_BEAT / 20 : REC_BEAT);
	heads_write(r);
	parts_age(r);
	if (r->is_draining || r->phase != RP_SERVING)
		(void)parts_flush_all(r);
	store_step(r, true);
	if (r->sign_is_unknown && r->phase != RP_STARTING)
		recorder_start(r);
	rec_session_reap(r);
	watch_room(r);
	acts_renew(r);
	drain_step(r);
}

/* When something is due although nothing comes in. */
static uint64_t next_due(struct recorder *r, bool is_empty) {
	uint64_t due = r->beat_due;
	struct list *queues[] = { &r->soon, &r->later };

	if (!is_empty || !list_empty(&r->urgent) || r->item_count != 0 ||
	    (r->leaves.len != 0 && r->phase == RP_SERVING) ||
	    (!list_empty(&r->ready) && r->phase == RP_SERVING) ||
	    (!list_empty(&r->step) && r->phase == RP_SERVING))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
		if (!list_empty(queues[i]))
			due = MIN(due,
			          container_of(queues[i]->next, struct rec_session, queue)->b_due);
	}
	if (r->phase != RP_SERVING)
		due = MIN(due, r->retry_due);
	if (r->taps_wait)
		due = MIN(due, r->now + REC_TAP_RETRY);
	return due > r->now ? due - r->now : 0;
}

/* What the recorder before this one left in the rings is recorded; its sessions end now. */
static void close_recovered(struct recorder *r) {
	r->has_recovered = false;
	list_each_safe (it, tmp, &r->all) {
		struct rec_session *s = container_of(it, struct rec_session, all);

		if (s->is_recovered && s->state == SS_OPEN)
			rec_session_close(r, s, "recorder-died", H_ERECORDER);
	}
}

/* Parts onto their way to the disk; when those of a full segment are through, its sync. */
static bool write_parts(struct recorder *r) {
	bool has_more = parts_sweep(r);

	if (r->has_full && !r->store.is_running && parts_are_through(r)) {
		r->has_full = false;
		store_step(r, false);
	}
	return has_more;
}

/* Growing takes at most a quarter of the time, unless a segment will be missing soon. Returns after
 * how long the next step is due. */
static uint64_t grow(struct recorder *r) {
	if (r->phase != RP_SERVING)
		return UINT64_MAX;
	if (r->now < r->grow_due && !journal_grow_is_urgent(&r->j))
		return r->grow_due - r->now;
	uint64_t begin = r->o.hooks.mono(r->o.hooks.arg);

	if (!journal_grow_step(&r->j))
		return UINT64_MAX;
	uint64_t end = r->o.hooks.mono(r->o.hooks.arg);

	r->grow_due = end + 3 * (end - begin);
	return r->grow_due - end;
}

uint64_t recorder_turn(struct recorder *r) {
	r->now = r->o.hooks.mono(r->o.hooks.arg);
	batch_collect(r);
	if (r->phase == RP_STARTING && r->retry_due != 0 && r->now >= r->retry_due)
		recorder_start(r), r->retry_due = r->now + NS_PER_S; /* recovery failed */
	if (r->phase == RP_STARTING || r->phase == RP_ALTERED)
		return UINT64_MAX;
	retry(r);
	bool is_empty = drain(r);

	if (is_empty && r->has_recovered)
		close_recovered(r);
	beat(r);
	fill_batch(r);
	batch_commit(r);
	publish(r);
	r->taps_wait = taps_send(r);
	bool has_more = write_parts(r);
	uint64_t growth = grow(r);

	return has_more ? 0 : MIN(growth, next_due(r, is_empty));
}

/* --- small things --- */

/* Salts come in blocks: one system call per frame would be a tenth of its cost. */
void rec_salt(struct recorder *r, uint8_t salt[FRAME_SALT_SIZE]) {
	if (r->random_left < FRAME_SALT_SIZE) {
		random_bytes(r->random, sizeof(r->random));
		r->random_left = sizeof(r->random);
	}
	r->random_left -= FRAME_SALT_SIZE;
	memcpy(salt, r->random + r->random_left, FRAME_SALT_SIZE);
	wipe(r->random + r->random_left, FRAME_SALT_SIZE);
}

void rec_alarm(struct recorder *r, const char *event, const char *what, int code) {
	if (r->o.no_log || (r->last_alarm != 0 && r->now - r->last_alarm < NS_PER_S))
		return;
	r->last_alarm = r->now;
	log_alarm(event, kv_z("what", what), kv_err(code));
}

void rec_set_store_state(struct recorder *r, enum store_state state, const char *why) {
	if (state == r->store_state)
		return;
	r->store_state = state;
	if (!r->o.no_log && state == STORE_OK)
		log_info("record.store.ok");
	else if (!r->o.no_log)
		log_alarm("record.store.state", kv_uint("state", (uint64_t)state),
		          kv_z("why", why));
	buf_clear(&r->scratch);
	w_u8(&r->scratch, (uint8_t)state);
	w_vstr(&r->scratch, str_of(why));
	r->o.hooks.to_keeper(r->o.hooks.arg, IPC_STORE_STATE, 0, buf_peek(&r->scratch));
}

void rec_tell(struct recorder *r, uint16_t type, uint64_t id, int code) {
	struct buf b;

	buf_init(&b, 16);
	w_u32(&b, (uint32_t)code);
	r->o.hooks.to_keeper(r->o.hooks.arg, type, id, buf_peek(&b));
	buf_fini(&b);
}

bool recorder_is_serving(const struct recorder *r) {
	return r->phase != RP_STARTING;
}

bool recorder_is_starting(const struct recorder *r) {
	return r->phase == RP_STARTING;
}

void recorder_drain(struct recorder *r, uint64_t until_mono) {
	r->is_draining = true;
	r->drain_until = until_mono;
	r->drain_give_up = until_mono + 5 * NS_PER_S;
	r->beat_due = 0;
}

bool recorder_is_drained(const struct recorder *r) {
	return r->is_drained || r->phase == RP_STARTING || r->phase == RP_ALTERED;
}

void recorder_stats(const struct recorder *r, struct recorder_stats *out) {
	*out = r->stats;
	out->leaves = r->leaf_durable;
	out->sessions = map_count(r->by_sid);
}
