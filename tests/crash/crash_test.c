/*
 * crash_test.c: the recorder on a file system that lies (record/vfs_fault.h), with a worker, a keeper
 * and a clock that are made up; all from one seed.
 *
 * One world: sessions open, say random events, end. Now and then operations fail, the disk is full,
 * the recorder is killed in the middle of an operation, or the power goes with all of it. "Received"
 * by the target is what the recorder published as durable while the slot was bound: a worker forwards
 * nothing else. At the end the cause is taken away, everything is drained, and the record is read with
 * nothing but the frame codec:
 *
 * 1. every received event is in the record, with the bytes it had, at its place;
 * 2. each session's frames are complete from 0 to a close frame, part by part, index and trailer well;
 * 3. a session with a hole in its seqs has a gap frame right before, and one that lacks its last
 *    events ends with one;
 * 4. the node log is consistent with everything that the keeper ever signed;
 * 5. after a failure nothing was published until the journal could be written again (by the shim: what
 *    was published is on the disk, so a power cut finds out);
 * 6. the verifier that auditors run finds nothing altered: after crashes, before recovery, and at the
 *    end;
 * 7. once faults end, a new session records and closes.
 *
 *   crash_test            500 seeds     crash_test N      N seeds      crash_test =S    seed S alone
 *   HANSARD_LONG=1        20000 seeds   HANSARD_SAMPLE=1  100 seeds (make asan, make tsan)
 *
 * Random bytes come from the seed too, so that a seed makes the same store each time. CRASH_DUMP=DIR
 * keeps what lay on the disk: DIR/<seed>-<n>/record after crash n, before recovery, and
 * DIR/<seed>-end/record; DIR/<seed>-calm/record is the store whose bytes are changed. CRASH_FLIPS=0
 * changes none. CRASH_VERIFY=1 verifies after each crash of each seed.
 */
#include "record/recorder_priv.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/crypto.h"
#include "base/test.h"
#include "record/frame.h"
#include "record/tlog.h"
#include "record/vfs_fault.h"
#include "crash_store.h"

enum { SLOTS = 12, SESSIONS_MAX = 400, RING_BYTES = 1 << 20, FLIP_STEP = 31 };

struct sent { /* what the worker said */
	uint8_t hash[SHA256_SIZE];
};

struct wsession {
	uint8_t sid[SID_SIZE];
	uint32_t slot, generation;
	bool is_opened, is_ended, is_refused;
	uint64_t seq, received;
	struct sent *sent;
	size_t cap;
};

struct world {
	uint64_t seed, clock;
	struct vfs *vfs;
	struct recorder *r;
	int ring_fd, commit_fd, commit_ro_fd;
	struct ring worker;
	struct wsession *slot[SLOTS];
	struct wsession sessions[SESSIONS_MAX];
	size_t session_count;
	uint32_t generation;
	uint64_t open_id;
	/* keeper */
	uint8_t key[ED25519_SEED_SIZE], pub[ED25519_PUB_SIZE];
	char vkey[TLOG_VKEY_TEXT_MAX];
	uint64_t signed_size;
	uint8_t signed_root[SHA256_SIZE];
	struct {
		uint64_t size;
		uint8_t root[SHA256_SIZE];
	} history[4096];
	size_t history_count;
	bool keeper_is_gone;
	struct buf mail[64]; /* keeper → recorder, sent after the turn */
	uint16_t mail_type[64];
	uint64_t mail_id[64];
	size_t mail_count;
	enum store_state state;
	const char *failed;
	unsigned crashes;
	struct crash_seen seen;
	uint64_t name; /* the seed that it began with */
	uint64_t acts_asked, acts_done;
	bool is_verified; /* one seed in three: after each crash, not only at the end */
	bool is_big, is_idle, was_woken;
};

static uint64_t next_random(uint64_t *state) {
	*state += 0x9e3779b97f4a7c15u;
	uint64_t z = *state;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t draw(struct world *w, uint64_t below) {
	return next_random(&w->seed) % below;
}

/* Stands in for the C library's, whose header has reserved names. */
static uint64_t entropy;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): reserved names */
ssize_t getrandom(void *p, size_t n, unsigned flags unused_arg) {
	uint8_t *out = p;

	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(next_random(&entropy) >> 32);
	return (ssize_t)n;
}

static void fail(struct world *w, const char *what) {
	if (w->failed == NULL)
		w->failed = what;
}

/* --- the keeper --- */

static struct buf *mail(struct world *w, uint16_t type, uint64_t id) {
	assert(w->mail_count < ARRAY_LEN(w->mail));
	struct buf *b = &w->mail[w->mail_count];

	buf_init(b, IPC_MAX);
	w->mail_type[w->mail_count] = type;
	w->mail_id[w->mail_count++] = id;
	return b;
}

static void keeper_last_signed(struct world *w, uint64_t id) {
	struct buf *b = mail(w, IPC_LAST_SIGNED_IS, id);
	uint8_t node[TLOG_NODE_SIZE] = { 7 };

	w_u64(b, w->signed_size);
	w_bytes(b, str_mem(w->signed_root, SHA256_SIZE));
	w_vstr(b, STR("test.example/log"));
	w_vstr(b, str_of(w->vkey));
	w_bytes(b, str_mem(node, sizeof(node)));
}

static void keeper_sign(struct world *w, struct str body) {
	struct rd r = rd_of(body);
	struct tlog_checkpoint c = { .origin = STR("test.example/log"), .size = rd_u64(&r) };
	struct str root = rd_bytes(&r, SHA256_SIZE);
	uint64_t old = rd_u64(&r);
	struct tree_proof proof = { .count = rd_u16(&r) };
	struct buf note;

	for (size_t i = 0; i < proof.count && i < TREE_PROOF_MAX; i++)
		memcpy(proof.hash[i], rd_bytes(&r, SHA256_SIZE).p, SHA256_SIZE);
	if (rd_done(&r) < 0) {
		fail(w, "SIGN is malformed");
		return;
	}
	memcpy(c.root, root.p, SHA256_SIZE);
	if (old != w->signed_size) {
		w_u32(mail(w, IPC_SIGNED, c.size), (uint32_t)H_EPROTO);
		fail(w, "SIGN from another size than the last");
		return;
	}
	if (old != 0 && !tree_check_consistency(&proof, old, c.size, w->signed_root, c.root)) {
		fail(w, "the log is not consistent with what was signed");
		return;
	}
	w->signed_size = c.size;
	memcpy(w->signed_root, c.root, SHA256_SIZE);
	assert(w->history_count < ARRAY_LEN(w->history));
	w->history[w->history_count].size = c.size;
	memcpy(w->history[w->history_count++].root, c.root, SHA256_SIZE);
	struct buf *b = mail(w, IPC_SIGNED, c.size);

	buf_init(&note, TLOG_CHECKPOINT_MAX);
	tlog_checkpoint_sign(&note, &c, w->key);
	w_u32(b, 0);
	w_vstr(b, buf_peek(&note));
	buf_fini(&note);
}

static void keeper_opened(struct world *w, uint64_t id, struct str body) {
	struct rd r = rd_of(body);
	int code = (int)rd_u32(&r);

	if (id == 0 || id > w->session_count)
		return;
	struct wsession *s = &w->sessions[id - 1];

	if (code == 0)
		s->is_opened = true;
	else
		s->is_refused = true;
	if (code < 0 && w->slot[s->slot] == s)
		w->slot[s->slot] = NULL;
}

static void to_keeper(void *arg, uint16_t type, uint64_t id, struct str body) {
	struct world *w = arg;
	struct rd r = rd_of(body);

	if (type == IPC_LAST_SIGNED)
		keeper_last_signed(w, id);
	else if (type == IPC_SIGN && !w->keeper_is_gone)
		keeper_sign(w, body);
	else if (type == IPC_OPENED)
		keeper_opened(w, id, body);
	else if (type == IPC_STORE_STATE)
		w->state = (enum store_state)rd_u8(&r);
	else if (type == IPC_ACT_DONE && (int)rd_u32(&r) == 0)
		w->acts_done++;
}

static void deliver(struct world *w) {
	for (size_t i = 0; i < w->mail_count; i++) {
		struct ipc_msg m = { .type = w->mail_type[i],
			             .id = w->mail_id[i],
			             .body = buf_peek(&w->mail[i]) };

		recorder_keeper_message(w->r, &m);
		buf_fini(&w->mail[i]);
	}
	w->mail_count = 0;
}

static void drop_mail(struct world *w) {
	for (size_t i = 0; i < w->mail_count; i++)
		buf_fini(&w->mail[i]);
	w->mail_count = 0;
}

/* --- the recorder's surroundings --- */

static uint64_t clock_of(void *arg) {
	return ((struct world *)arg)->clock;
}

static uint64_t wall_of(void *arg) {
	return 1763700000 * NS_PER_S + ((struct world *)arg)->clock;
}

static void no_wake_worker(void *arg unused_arg, uint16_t ring unused_arg) {
}

static void no_wake(void *arg unused_arg) {
}

static void start_recorder(struct world *w, bool is_restart) {
	struct recorder_options o = {
		.vfs = w->vfs,
		.hooks = { .mono = clock_of,
		           .wall = wall_of,
		           .to_keeper = to_keeper,
		           .wake_worker = no_wake_worker,
		           .ring_drained = no_wake_worker,
		           .wake = no_wake,
		           .arg = w },
		.segment_size = w->is_big ? 512 * KIB : 128 * KIB,
		.segment_count = 3,
		.room_refuse = 0,
		.is_restart = is_restart,
		.no_log = getenv("CRASH_LOG") == NULL,
		.version = "test",
	};
	struct ring ring;

	o.boot[0] = (uint8_t)(w->generation & 0xff);
	w->r = recorder_new(&o);
	if (ring_map_recorder(&ring, w->ring_fd, w->commit_fd) < 0)
		abort();
	if (recorder_add_ring(w->r, 3, &ring) < 0)
		abort();
	recorder_start(w->r);
	deliver(w);
}

static void make_ring(struct world *w) {
	if (ring_create(RING_BYTES, SLOTS, &w->ring_fd, &w->commit_fd, &w->commit_ro_fd) < 0 ||
	    ring_map_worker(&w->worker, w->ring_fd, w->commit_ro_fd) < 0)
		abort();
}

static void drop_ring(struct world *w) {
	ring_unmap(&w->worker);
	(void)close(w->ring_fd);
	(void)close(w->commit_fd);
	(void)close(w->commit_ro_fd);
}

/* --- the worker --- */

static void publish(struct world *w) {
	w->was_woken = ring_publish(&w->worker);
}

/* What the target has received by now. */
static void look_durable(struct world *w) {
	for (size_t i = 0; i < SLOTS; i++) {
		struct wsession *s = w->slot[i];
		enum ring_slot_state state;

		if (s == NULL || !s->is_opened)
			continue;
		uint64_t seq = ring_durable(&w->worker, s->slot, s->generation, &state);

		if (seq > s->seq)
			fail(w, "more is durable than was said");
		else if (seq > s->received)
			s->received = seq;
	}
}

static void open_session(struct world *w) {
	uint32_t slot = (uint32_t)draw(w, SLOTS);

	if (w->slot[slot] != NULL || w->session_count == SESSIONS_MAX || w->mail_count > 32)
		return;
	struct wsession *s = &w->sessions[w->session_count++];

	uuid7(s->sid, wall_of(w));
	s->slot = slot;
	s->generation = ++w->generation;
	w->slot[slot] = s;
	struct buf *b = mail(w, IPC_OPEN, w->session_count);

	w_u16(b, 3);
	w_u32(b, slot);
	w_u32(b, s->generation);
	w_bytes(b, str_mem(s->sid, SID_SIZE));
	w_u8(b, (uint8_t)draw(w, 2));
	w_u64(b, 0);
	w_vstr(b, STR("{\"format\":1,\"protocol\":\"postgres\",\"connection\":\"shop\"}"));
}

static bool say(struct world *w, struct wsession *s, uint8_t type, uint8_t flags,
                struct str payload) {
	struct ring_event *e = ring_reserve(&w->worker, payload.n);

	if (e == NULL)
		return false;
	e->slot = s->slot;
	e->generation = s->generation;
	e->seq = ++s->seq;
	e->mono_ns = w->clock;
	e->type = type;
	e->flags = flags;
	e->intent = type == REC_RAW && flags == 0;
	memset(e->zero, 0, sizeof(e->zero));
	memcpy(ring_payload(e), payload.p, payload.n);
	if (s->seq > s->cap) {
		s->cap = MAX(s->cap * 2, (size_t)64);
		s->sent = xrealloc(s->sent, s->cap * sizeof(s->sent[0]));
	}
	sha256(s->sent[s->seq - 1].hash, payload);
	return true;
}

static void say_something(struct world *w, struct wsession *s) {
	static uint8_t bytes[65536];
	struct buf b;
	size_t n = 1 + (size_t)draw(w, draw(w, 8) == 0 ? 60000 : 300);

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i % 7 == 0 ? draw(w, 256) : 'a' + i % 13);
	buf_init(&b, 128 * KIB);
	switch (draw(w, 4)) {
	case 0:
		rec_put_command(&b, &(struct rec_command){ .verb = STR("SELECT"),
		                                           .rows = draw(w, 100) });
		(void)say(w, s, REC_COMMAND, 0, buf_peek(&b));
		break;
	case 1:
		rec_put_raw(&b, draw(w, 1000), str_mem(bytes, n));
		(void)say(w, s, REC_RAW, 2, buf_peek(&b));
		break;
	case 2:
		rec_put_forwarded(&b, draw(w, 1000));
		(void)say(w, s, REC_FORWARDED, 1, buf_peek(&b));
		break;
	default:
		rec_put_raw(&b, draw(w, 1000), str_mem(bytes, n));
		(void)say(w, s, REC_RAW, 0, buf_peek(&b));
		break;
	}
	buf_fini(&b);
}

static void end_session(struct world *w, struct wsession *s) {
	static const uint64_t streams[4] = { 1, 2, 3, 4 };
	struct buf b;

	buf_init(&b, 256);
	rec_put_end(&b, 0, STR("client"), streams);
	if (say(w, s, REC_END, 0, buf_peek(&b))) {
		s->is_ended = true;
		w->slot[s->slot] = NULL;
	}
	buf_fini(&b);
}

/* A worker closes what the recorder gave up; the slot is used again only after that. */
static void worker_turn(struct world *w) {
	for (int i = (int)draw(w, 6); i >= 0; i--) {
		struct wsession *s = w->slot[draw(w, SLOTS)];
		enum ring_slot_state state;

		if (s == NULL) {
			open_session(w);
			continue;
		}
		if (!s->is_opened)
			continue;
		(void)ring_durable(&w->worker, s->slot, s->generation, &state);
		if (state != RING_SLOT_BOUND || draw(w, 40) == 0)
			end_session(w, s);
		else
			say_something(w, s);
	}
	if (draw(w, 20) == 0 && w->mail_count < 32) {
		w_vstr(mail(w, IPC_ACT, 1), STR("{\"act\":\"config.applied\",\"wall_ns\":1}"));
		w->acts_asked++;
	}
	publish(w);
}

/* --- the verifier --- */

static void verify(struct world *w, const char *when) {
	const char *wrong = crash_verify(&w->seen, w->vfs, w->vkey);

	if (wrong == NULL)
		return;
	printf("# %s: %s\n", when, wrong);
	fail(w, "the verifier is not content");
}

/* --- crashes --- */

static void kill_recorder(struct world *w, bool power_cut) {
	look_durable(w);
	drop_mail(w);
	recorder_free(&w->r);
	vfs_fault_errors(w->vfs, 0);
	vfs_fault_restart(w->vfs, power_cut);
	char n[24];

	(void)snprintf(n, sizeof(n), "%u", w->crashes++);
	crash_dump(w->vfs, w->name, n);
	if (w->is_verified)
		verify(w, "after a crash");
	for (size_t i = 0; i < SLOTS; i++) {
		struct wsession *s = w->slot[i];

		if (s != NULL && !s->is_opened)
			w->slot[i] = NULL; /* the keeper's question failed */
	}
	if (power_cut) {
		memset(w->slot, 0, sizeof(w->slot));
		drop_ring(w);
		make_ring(w);
	}
	start_recorder(w, !power_cut);
}

static void turn(struct world *w) {
	uint64_t due;

	due = recorder_turn(w->r);
	w->is_idle = due != 0;
	look_durable(w);
	deliver(w);
	w->clock += draw(w, 8) == 0 ? 400 * NS_PER_MS : draw(w, 20) * NS_PER_MS;
}

static void run(struct world *w, int steps) {
	for (int i = 0; i < steps && w->failed == NULL; i++) {
		worker_turn(w);
		turn(w);
		if (draw(w, 60) == 0)
			vfs_fault_stop_after(w->vfs, 1 + draw(w, 30));
		if (draw(w, 80) == 0)
			vfs_fault_errors(w->vfs, draw(w, 3) == 0 ? 0 : (unsigned)draw(w, 2000));
		if (draw(w, 80) == 0)
			w->keeper_is_gone = !w->keeper_is_gone;
		if (vfs_fault_is_stopped(w->vfs))
			kill_recorder(w, draw(w, 2) == 0);
	}
}

/* --- the record, read with the frame codec alone --- */

struct check {
	struct world *w;
	struct wsession *s;
	struct tree tree;
	uint64_t next_seq;
	bool after_gap, has_gap, has_close;
	struct frame_codec *codec;
};

static void check_data(struct check *c, const struct frame *f) {
	struct frame_walk walk;
	struct str raw;
	uint8_t hash[SHA256_SIZE];
	struct rec_event e;

	if (f->head.first_seq != c->next_seq && !(c->after_gap && f->head.first_seq > c->next_seq))
		fail(c->w, "seq has a hole without a gap frame");
	if (frame_raw(c->codec, f, &raw) < 0 || frame_check_events(&f->head, raw) < 0 ||
	    frame_walk_begin(&walk, &f->head, raw) < 0) {
		fail(c->w, "a body does not fit its header");
		return;
	}
	/* A hole in front of this frame: nothing in it was received. */
	if (f->head.first_seq != c->next_seq && c->s->received >= c->next_seq)
		fail(c->w, "received events are missing");
	while (frame_walk_next(&walk, &e) == 1) {
		struct str ev = walk.event;
		struct rd r = rd_of(ev);

		(void)rd_u8(&r);
		(void)rd_u8(&r);
		(void)rd_svarint(&r);
		sha256(hash, rd_bytes(&r, rd_left(&r)));
		if (e.seq > c->s->seq || memcmp(hash, c->s->sent[e.seq - 1].hash, SHA256_SIZE) != 0)
			fail(c->w, "an event differs from what was said");
	}
	c->next_seq = f->head.first_seq + f->head.n_events;
}

static void check_frame(struct check *c, const struct frame *f) {
	uint8_t leaf[SHA256_SIZE];

	if (f->head.frame_no != c->tree.size || memcmp(f->head.sid, c->s->sid, SID_SIZE) != 0 ||
	    frame_check_body(f) < 0 || c->has_close)
		fail(c->w, "a frame stands where it does not belong");
	if ((f->head.frame_no == 0) != (f->head.kind == FRAME_OPEN))
		fail(c->w, "frame 0 is not the open frame");
	if (f->head.kind == FRAME_DATA)
		check_data(c, f);
	c->after_gap = f->head.kind == FRAME_GAP;
	c->has_gap = c->has_gap || c->after_gap;
	c->has_close = f->head.kind == FRAME_CLOSE;
	frame_leaf(leaf, f->bytes.p);
	tree_add(&c->tree, leaf);
}

static void check_trailer(struct check *c, const struct frame *f, uint64_t at, uint64_t first) {
	struct frame_trailer t;
	uint8_t root[SHA256_SIZE];

	tree_root(&c->tree, root);
	if (frame_trailer_parse(&t, f->body) < 0 || t.bytes_before != at ||
	    t.first_frame != first || t.frames != c->tree.size - first ||
	    memcmp(t.root, root, SHA256_SIZE) != 0)
		fail(c->w, "a trailer does not fit its part");
}

/* False when there is no such part. */
static bool check_part(struct check *c, uint32_t part) {
	char path[VFS_PATH_MAX];
	struct frame f;
	bool has_trailer = false;
	uint64_t at = 0, first = c->tree.size;

	part_path(path, c->s->sid, part);
	struct buf *b = vfs_fault_file(c->w->vfs, path);

	if (b == NULL)
		return false;
	for (struct str rest = buf_peek(b); rest.n != 0;) {
		int n = frame_parse(&f, rest);

		if (n <= 0 || has_trailer || f.head.part != part) {
			fail(c->w, "a part holds what is no frame");
			return true;
		}
		if (frame_in_tree(f.head.kind))
			check_frame(c, &f);
		has_trailer = f.head.kind == FRAME_TRAILER;
		if (has_trailer)
			check_trailer(c, &f, at, first);
		at += (uint64_t)n;
		rest = str_from(rest, (size_t)n);
	}
	if (!has_trailer)
		fail(c->w, "a part of a closed session is not sealed");
	return true;
}

static void check_session(struct world *w, struct wsession *s, struct frame_codec *codec) {
	struct check c = { .w = w, .s = s, .next_seq = 1, .codec = codec };

	tree_init(&c.tree);
	for (uint32_t part = 0; check_part(&c, part); part++)
		;
	if (s->is_opened && c.tree.size == 0)
		fail(w, "an opened session is not on the record");
	if (c.tree.size != 0 && !c.has_close)
		fail(w, "a session has no close frame");
	if (c.tree.size != 0 && c.next_seq <= s->seq && !c.has_gap)
		fail(w, "the last events are missing without a gap frame");
	if (s->received >= c.next_seq)
		fail(w, "received events are missing at the end");
}

static void check_record(struct world *w) {
	struct frame_codec *codec = frame_codec_new();

	for (size_t i = 0; i < w->session_count; i++)
		check_session(w, &w->sessions[i], codec);
	frame_codec_free(&codec);
}

/* --- a world from beginning to end --- */

/* Faults end. Everything must end as documented, and a new session must work. */
static void calm(struct world *w) {
	vfs_fault_errors(w->vfs, 0);
	vfs_fault_stop_after(w->vfs, 0);
	vfs_fault_capacity(w->vfs, 0);
	w->keeper_is_gone = false;
	recorder_keeper_up(w->r);
	for (int i = 0; i < 60 && w->failed == NULL; i++) {
		turn(w);
		w->clock += 200 * NS_PER_MS;
	}
	if (w->failed == NULL && w->state != STORE_OK)
		fail(w, "the store did not recover when the cause was gone");
	for (size_t i = 0; i < SLOTS; i++) {
		if (w->slot[i] != NULL && w->slot[i]->is_opened)
			end_session(w, w->slot[i]);
	}
	publish(w);
	turn(w);
	size_t before = w->session_count;

	for (int i = 0; i < 200 && w->session_count == before && before < SESSIONS_MAX; i++)
		open_session(w);
	deliver(w);
	turn(w);
	if (w->failed == NULL && before != w->session_count) {
		struct wsession *s = &w->sessions[before];

		if (!s->is_opened) {
			fail(w, "no session opens after the faults");
			return;
		}
		say_something(w, s);
		uint64_t said = s->seq;

		end_session(w, s);
		publish(w);
		for (int i = 0; i < 20; i++)
			turn(w);
		if (said == 0 || s->seq != said + 1)
			fail(w, "the last session could not speak");
	}
	recorder_drain(w->r, w->clock);
	for (int i = 0; i < 100 && !recorder_is_drained(w->r); i++) {
		turn(w);
		w->clock += 60 * NS_PER_MS;
	}
	if (!recorder_is_drained(w->r) && w->failed == NULL)
		fail(w, "the recorder does not drain");
	if (w->failed == NULL && w->signed_size == 0)
		fail(w, "nothing was signed");
}

static void world_free(struct world *w) {
	for (size_t i = 0; i < w->session_count; i++)
		free(w->sessions[i].sent);
	drop_mail(w);
	recorder_free(&w->r);
	vfs_fault_free(&w->vfs);
	drop_ring(w);
	free(w);
}

static struct world *world_new(uint64_t seed) {
	struct world *w = xcalloc(1, sizeof(*w));

	w->seed = w->name = seed;
	entropy = seed * 977;
	w->clock = 100 * NS_PER_S;
	w->vfs = vfs_fault_new(seed * 31 + 7);
	w->is_big = draw(w, 4) == 0;
	w->is_verified = seed % 3 == 0 || getenv("CRASH_VERIFY") != NULL;
	memset(w->key, 1, sizeof(w->key));
	struct tlog_vkey k;

	ed25519_public(w->pub, w->key);
	if (tlog_vkey_init(&k, STR("test.example/log"), w->pub) < 0)
		abort();
	tlog_vkey_print(w->vkey, &k);
	make_ring(w);
	start_recorder(w, false);
	return w;
}

/* A store of a recorder that had no trouble, and every byte of it changed once. */
static bool run_flips(uint64_t seed, bool with_flips) {
	uint64_t count = 0, step = getenv("HANSARD_LONG") != NULL ? 1 : FLIP_STEP;
	struct world *w = world_new(seed);

	for (int i = 0; i < 12; i++) {
		worker_turn(w);
		turn(w);
	}
	calm(w);
	verify(w, "without a crash");
	crash_dump(w->vfs, w->name, "calm");
	const char *wrong = w->failed;

	if (wrong == NULL && with_flips)
		wrong = crash_flip(&w->seen, w->vfs, w->vkey, step, &count);

	printf("# %llu bytes changed%s%s\n", (unsigned long long)count, wrong != NULL ? ": " : "",
	       wrong != NULL ? wrong : "");
	world_free(w);
	return wrong == NULL;
}

static bool run_seed(uint64_t seed) {
	struct world *w = world_new(seed);

	if (draw(w, 4) == 0)
		vfs_fault_capacity(w->vfs, 1 * MIB + draw(w, 4 * MIB));
	run(w, 150);
	if (w->failed == NULL)
		calm(w);
	if (w->failed == NULL)
		check_record(w);
	if (w->failed == NULL)
		verify(w, "after recovery");
	bool ok = w->failed == NULL;

	if (!ok)
		printf("# seed %llu: %s (after %llu operations, %zu sessions)\n",
		       (unsigned long long)seed, w->failed,
		       (unsigned long long)vfs_fault_ops(w->vfs), w->session_count);
	(void)fflush(stdout);
	crash_dump(w->vfs, w->name, "end");
	world_free(w);
	return ok;
}

int main(int argc, char **argv) {
	uint64_t first = 1, count = getenv("HANSARD_LONG") != NULL     ? 20000
	                            : getenv("HANSARD_SAMPLE") != NULL ? 100
	                                                               : 500;
	unsigned failed = 0;

	crypto_setup();
	struct map *m = map_new(1); /* draws the hash key, before any seed does */

	map_free(&m);
	if (argc > 1 && argv[1][0] == '=')
		count = 1, first = strtoull(argv[1] + 1, NULL, 10);
	else if (argc > 1)
		count = strtoull(argv[1], NULL, 10);
	for (uint64_t seed = first; seed < first + count; seed++)
		failed += !run_seed(seed);
	bool is_found = run_flips(first, getenv("CRASH_FLIPS") == NULL);

	printf("1..2\n%s 1 - crash seeds (%llu, %u failed)\n%s 2 - changed bytes are found\n",
	       failed == 0 ? "ok" : "not ok", (unsigned long long)count, failed,
	       is_found ? "ok" : "not ok");
	return failed != 0 || !is_found;
}
