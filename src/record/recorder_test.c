/*
 * recorder_test.c: the recorder on chosen scenes; random ones are tests/crash/crash_test.c.
 */
#include "record/recorder.h"

#include <sys/socket.h>

#include "base/crypto.h"
#include "base/test.h"
#include "record/frame.h"
#include "record/journal.h"
#include "record/tap.h"
#include "record/tlog.h"
#include "record/vfs_fault.h"

enum { SLOTS = 4 };

struct scene {
	struct vfs *vfs;
	struct recorder *r;
	struct ring worker;
	int ring_fd, commit_fd, commit_ro_fd;
	uint64_t clock, signed_size, seq;
	uint8_t signed_root[SHA256_SIZE], key[ED25519_SEED_SIZE];
	bool wants_last, has_sign;
	struct tlog_checkpoint sign;
	int opened, drained;
	unsigned state;
	uint8_t sid[SID_SIZE]; /* opened last */
};

static uint64_t clock_of(void *arg) {
	return ((struct scene *)arg)->clock;
}

static void to_keeper(void *arg, uint16_t type, uint64_t id unused_arg, struct str body) {
	struct scene *s = arg;
	struct rd r = rd_of(body);

	if (type == IPC_LAST_SIGNED)
		s->wants_last = true;
	if (type == IPC_OPENED)
		s->opened = (int)rd_u32(&r);
	if (type == IPC_STORE_STATE)
		s->state = rd_u8(&r);
	if (type == IPC_SIGN) {
		s->has_sign = true;
		s->sign = (struct tlog_checkpoint){ .origin = STR("t/log"), .size = rd_u64(&r) };
		memcpy(s->sign.root, rd_bytes(&r, SHA256_SIZE).p, SHA256_SIZE);
	}
}

static void on_drained(void *arg, uint16_t ring) {
	((struct scene *)arg)->drained = ring;
}

static void nothing(void *arg unused_arg, uint16_t ring unused_arg) {
}

static void no_wake(void *arg unused_arg) {
}

static void tell(struct scene *s, uint16_t type, struct buf *b) {
	recorder_keeper_message(s->r,
	                        &(struct ipc_msg){ .type = type, .id = 1, .body = buf_peek(b) });
	buf_fini(b);
}

static void answer(struct scene *s) {
	struct buf b, note;

	buf_init(&b, IPC_MAX);
	if (s->wants_last) {
		s->wants_last = false;
		w_u64(&b, s->signed_size);
		w_bytes(&b, str_mem(s->signed_root, SHA256_SIZE));
		w_vstr(&b, STR("t/log"));
		w_vstr(&b, STR("t/log+00"));
		w_zero(&b, TLOG_NODE_SIZE);
		tell(s, IPC_LAST_SIGNED_IS, &b);
	} else if (s->has_sign) {
		s->has_sign = false;
		s->signed_size = s->sign.size;
		memcpy(s->signed_root, s->sign.root, SHA256_SIZE);
		buf_init(&note, TLOG_CHECKPOINT_MAX);
		tlog_checkpoint_sign(&note, &s->sign, s->key);
		w_u32(&b, 0);
		w_vstr(&b, buf_peek(&note));
		buf_fini(&note);
		tell(s, IPC_SIGNED, &b);
	}
	buf_fini(&b);
}

static void turns(struct scene *s, int n) {
	for (int i = 0; i < n; i++) {
		if (recorder_turn(s->r) != 0)
			s->clock += 300 * NS_PER_MS;
		answer(s);
	}
}

static void start(struct scene *s, bool is_restart) {
	struct ring ring;

	s->opened = 1;
	s->drained = -1;
	s->r = recorder_new(&(struct recorder_options){ .vfs = s->vfs,
	                                                .hooks = { .mono = clock_of,
	                                                           .wall = clock_of,
	                                                           .to_keeper = to_keeper,
	                                                           .wake_worker = nothing,
	                                                           .ring_drained = on_drained,
	                                                           .wake = no_wake,
	                                                           .arg = s },
	                                                .segment_size = 128 * KIB,
	                                                .is_restart = is_restart,
	                                                .no_log = true });
	CHECK(ring_map_recorder(&ring, s->ring_fd, s->commit_fd) == 0);
	CHECK(recorder_add_ring(s->r, 1, &ring) == 0);
	recorder_start(s->r);
	answer(s);
	turns(s, 4);
}

static void scene_begin(struct scene *s) {
	*s = (struct scene){ .clock = NS_PER_S, .vfs = vfs_fault_new(1) };
	CHECK(ring_create(256 * KIB, SLOTS, &s->ring_fd, &s->commit_fd, &s->commit_ro_fd) == 0);
	CHECK(ring_map_worker(&s->worker, s->ring_fd, s->commit_ro_fd) == 0);
	start(s, false);
}

static void scene_end(struct scene *s) {
	recorder_free(&s->r);
	ring_unmap(&s->worker);
	(void)close(s->ring_fd);
	(void)close(s->commit_fd);
	(void)close(s->commit_ro_fd);
	vfs_fault_free(&s->vfs);
}

static void open_slot(struct scene *s, uint32_t slot, uint32_t generation, uint64_t quota) {
	uint8_t sid[SID_SIZE];
	struct buf b;

	uuid7(sid, s->clock);
	memcpy(s->sid, sid, SID_SIZE);
	buf_init(&b, 4096);
	w_u16(&b, 1);
	w_u32(&b, slot);
	w_u32(&b, generation);
	w_bytes(&b, str_mem(sid, SID_SIZE));
	w_u8(&b, 0);
	w_u64(&b, quota);
	w_vstr(&b, STR("{\"format\":1,\"protocol\":\"postgres\"}"));
	tell(s, IPC_OPEN, &b);
	turns(s, 2);
	s->seq = 0;
}

static uint8_t say_bytes[40000];

/* Into the ring, for a target that waits for it, but a command: nobody waits for that. */
static void append(struct scene *s, uint32_t slot, uint32_t generation, uint8_t type, size_t n) {
	struct buf b;

	buf_init(&b, 64 * KIB);
	rec_put_raw(&b, 0, str_mem(say_bytes, n));
	struct ring_event *e = ring_reserve(&s->worker, b.len);

	REQUIRE(e != NULL);
	*e = (struct ring_event){ .size = e->size,
		                  .len = e->len,
		                  .slot = slot,
		                  .generation = generation,
		                  .seq = ++s->seq,
		                  .mono_ns = s->clock,
		                  .type = type,
		                  .intent = type != REC_COMMAND };
	memcpy(ring_payload(e), buf_peek(&b).p, b.len);
	buf_fini(&b);
	(void)!ring_publish(&s->worker); /* it gets its turns anyway */
}

static void put(struct scene *s, uint32_t slot, uint32_t generation, uint8_t type, size_t n) {
	append(s, slot, generation, type, n);
	turns(s, 3);
}

static void say(struct scene *s, uint32_t slot, uint32_t generation, size_t n) {
	put(s, slot, generation, REC_RAW, n);
}

static enum ring_slot_state state_of(struct scene *s, uint32_t slot, uint32_t generation) {
	enum ring_slot_state state = RING_SLOT_FREE;

	(void)ring_durable(&s->worker, slot, generation, &state);
	return state;
}

TEST(what_nobody_waits_for_rides_with_the_next_command) {
	struct scene s;
	struct recorder_stats before, after;

	scene_begin(&s);
	open_slot(&s, 2, 7, 0);
	say(&s, 2, 7, 100);
	append(&s, 2, 7, REC_COMMAND, 100);
	uint64_t left = recorder_turn(s.r);

	CHECK_EQ_U(ring_durable(&s.worker, 2, 7, NULL), 1);
	CHECK(left > 0 && left <= 50 * NS_PER_MS);
	recorder_stats(s.r, &before);
	append(&s, 2, 7, REC_RAW, 100);
	(void)!recorder_turn(s.r);
	CHECK_EQ_U(ring_durable(&s.worker, 2, 7, NULL), 3);
	recorder_stats(s.r, &after);
	CHECK_EQ_U(after.frames, before.frames + 1);

	append(&s, 2, 7, REC_COMMAND, 100);
	left = recorder_turn(s.r);
	CHECK_EQ_U(ring_durable(&s.worker, 2, 7, NULL), 3);
	s.clock += left;
	(void)!recorder_turn(s.r);
	CHECK_EQ_U(ring_durable(&s.worker, 2, 7, NULL), 4);
	scene_end(&s);
}

TEST(a_session_is_durable_when_it_says_so) {
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 2, 7, 0);
	CHECK_EQ_I(s.opened, 0);
	say(&s, 2, 7, 100);
	CHECK_EQ_U(ring_durable(&s.worker, 2, 7, NULL), 1);
	say(&s, 2, 6, 100); /* of a generation that is gone: dropped */
	CHECK_EQ_U(ring_durable(&s.worker, 2, 7, NULL), 1);
	open_slot(&s, 2, 7, 0);
	CHECK_EQ_I(s.opened, H_EBUSY);
	open_slot(&s, 2, 8, 0); /* the worker gave up the old one without a word */
	CHECK_EQ_I(s.opened, 0);
	say(&s, 2, 8, 100);
	CHECK_EQ_U(ring_durable(&s.worker, 2, 8, NULL), 1);
	open_slot(&s, SLOTS, 1, 0);
	CHECK_EQ_I(s.opened, H_ENOTFOUND);
	scene_end(&s);
}

TEST(a_skipped_seq_ends_the_session) {
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 0);
	say(&s, 0, 1, 10);
	s.seq++;
	say(&s, 0, 1, 10);
	CHECK_EQ_U(state_of(&s, 0, 1), RING_SLOT_FAILED);
	CHECK_EQ_U(ring_durable(&s.worker, 0, 1, NULL), 1);
	scene_end(&s);
}

TEST(a_quota_is_said_and_then_ends_the_session) {
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 50000);
	say(&s, 0, 1, 40000);
	CHECK_EQ_U(state_of(&s, 0, 1), RING_SLOT_BOUND);
	say(&s, 0, 1, 40000);
	CHECK_EQ_U(state_of(&s, 0, 1), RING_SLOT_QUOTA);
	CHECK_EQ_U(ring_durable(&s.worker, 0, 1, NULL), 2);
	for (int i = 0; i < 30; i++)
		say(&s, 0, 1, 40000);
	CHECK(ring_durable(&s.worker, 0, 1, NULL) < 30);
	scene_end(&s);
}

TEST(an_end_over_the_quota_frees_its_slot) {
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 50000);
	for (int i = 0; i < 27; i++)
		say(&s, 0, 1, 40000);
	CHECK_EQ_U(state_of(&s, 0, 1), RING_SLOT_QUOTA);
	CHECK_EQ_U(ring_durable(&s.worker, 0, 1, NULL), 27);
	/* More than the grace; that it does not parse is no matter. */
	put(&s, 0, 1, REC_END, 40000);
	turns(&s, 6);
	CHECK_EQ_U(ring_durable(&s.worker, 0, 1, NULL), 28);
	open_slot(&s, 0, 2, 0);
	CHECK_EQ_I(s.opened, 0);
	CHECK_EQ_U(state_of(&s, 0, 1), RING_SLOT_FREE);
	scene_end(&s);
}

TEST(a_dead_workers_ring_is_drained) {
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 0);
	say(&s, 0, 1, 10);
	recorder_ring_dead(s.r, 1);
	turns(&s, 6);
	CHECK_EQ_I(s.drained, 1);
	scene_end(&s);
}

/* What was signed and is then missing from the journal's end. */
static void cut_journal(struct scene *s, uint64_t keep) {
	struct buf *seg = vfs_fault_file(s->vfs, "journal/00000000.seg");

	REQUIRE(seg != NULL);
	memset(seg->p + seg->off + keep, 0, seg->len - keep);
}

TEST(a_journal_that_ends_before_what_was_signed_is_put_aside) {
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 0);
	say(&s, 0, 1, 10);
	turns(&s, 30);
	CHECK(s.signed_size > 2);
	recorder_free(&s.r);
	vfs_fault_restart(s.vfs, false);
	cut_journal(&s, 2 * 4096);
	start(&s, false);
	CHECK(recorder_is_serving(s.r));
	CHECK(vfs_fault_file(s.vfs, "journal/00000000.seg") == NULL);
	CHECK_EQ_U(s.state, STORE_OK); /* the tiles still had what was signed */
	open_slot(&s, 1, 9, 0);
	CHECK_EQ_I(s.opened, 0);
	scene_end(&s);
}

TEST(a_log_that_is_not_the_signed_one_is_not_served) {
	struct scene s;

	scene_begin(&s);
	turns(&s, 30);
	CHECK(s.signed_size > 0);
	recorder_free(&s.r);
	vfs_fault_restart(s.vfs, false);
	s.signed_root[3] ^= 1;
	start(&s, false);
	CHECK_EQ_U(s.state, STORE_FAILED);
	open_slot(&s, 1, 9, 0);
	CHECK_EQ_I(s.opened, H_ERECORDER);
	scene_end(&s);
}

/* After a failed sync a segment is kept, and none behind it is used again: there is room all the same. */
TEST(a_journal_goes_on_behind_a_segment_that_is_kept) {
	struct vfs *v = vfs_fault_new(1);
	struct journal j;
	uint64_t upto;

	journal_init(&j, v, JOURNAL_SEGMENT_LEAST, 3);
	CHECK(journal_advance(&j, 0, 0, false) == 0);
	CHECK(journal_advance(&j, 0, 0, false) == 0);
	CHECK(journal_wants_flush(&j, &upto));
	journal_pin(&j, upto);
	for (int i = 0; i < 8; i++) {
		CHECK(journal_advance(&j, 0, 0, false) == 0);
		if (journal_wants_flush(&j, &upto))
			journal_flushed(&j, upto);
	}
	CHECK(vfs_fault_file(v, "journal/00000000.seg") != NULL);
	CHECK(!journal_grow_is_urgent(&j));
	journal_fini(&j);
	vfs_fault_free(&v);
}

/* ---- taps ---- */

enum { TAP_ROOM = 64 * 1024 };

struct tap_reader {
	int fd;
	struct buf in;
	uint64_t next; /* frame expected */
	uint64_t frames, lost;
	bool has_hello, has_end, is_closed;
};

static void tap_attach(struct scene *s, struct tap_reader *t, const uint8_t sid[SID_SIZE]) {
	int pair[2], room = TAP_ROOM;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	REQUIRE(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) == 0);
	*t = (struct tap_reader){ .fd = pair[0] };
	buf_init(&t->in, 32 * MIB);
	recorder_tap(s->r, pair[1], sid);
}

static void tap_item(struct tap_reader *t, const struct tap_item *it) {
	struct frame f;

	t->has_hello = t->has_hello || it->kind == TAP_HELLO;
	t->has_end = t->has_end || it->kind == TAP_END;
	if (it->kind == TAP_FRAME) {
		REQUIRE(frame_parse(&f, it->body) == (int)it->body.n);
		CHECK_EQ_U(f.head.frame_no, t->next);
		t->next = f.head.frame_no + 1;
		t->frames++;
	} else if (it->kind == TAP_LOST) {
		CHECK_EQ_U(it->first, t->next);
		t->next += it->count;
		t->lost += it->count;
	}
}

/* All that is there, cut at every byte. */
static void tap_read(struct tap_reader *t) {
	uint8_t bytes[4096];
	struct tap_item it;
	ssize_t n;

	while ((n = recv(t->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			w_u8(&t->in, bytes[i]);
			int rc = tap_item_parse(&it, buf_peek(&t->in));

			REQUIRE(rc >= 0);
			if (rc == 0)
				continue;
			tap_item(t, &it);
			buf_consume(&t->in, (size_t)rc);
		}
	}
	t->is_closed = n == 0;
}

static void tap_done(struct tap_reader *t) {
	(void)close(t->fd);
	buf_fini(&t->in);
}

static void tap_end_session(struct scene *s) {
	struct ring_event *e;
	struct buf b;

	buf_init(&b, 256);
	rec_put_end(&b, 0, STR("client"), (const uint64_t[4]){ 0 });
	e = ring_reserve(&s->worker, b.len);
	REQUIRE(e != NULL);
	*e = (struct ring_event){ .size = e->size,
		                  .len = e->len,
		                  .generation = 1,
		                  .seq = ++s->seq,
		                  .mono_ns = s->clock,
		                  .type = REC_END };
	memcpy(ring_payload(e), buf_peek(&b).p, b.len);
	buf_fini(&b);
	(void)!ring_publish(&s->worker);
	turns(s, 6);
}

TEST(a_tap_has_every_frame_once_and_in_order) {
	struct tap_reader one, all, late;
	static const uint8_t zeros[SID_SIZE];
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 0);
	tap_attach(&s, &one, s.sid);
	tap_attach(&s, &all, zeros);
	one.next = 1; /* frame 0 stands in the store already */
	for (int i = 0; i < 20; i++)
		say(&s, 0, 1, 1000);
	tap_read(&one);
	CHECK(one.has_hello && !one.has_end);
	CHECK(one.frames >= 1 && one.lost == 0);
	tap_end_session(&s);
	tap_read(&one);
	CHECK(one.has_end && one.is_closed);
	tap_attach(&s, &late, s.sid);
	turns(&s, 2);
	tap_read(&late);
	CHECK(late.has_hello && late.has_end && late.frames == 0);
	recorder_free(&s.r); /* a recorder that dies says nothing more */
	CHECK(recv(all.fd, &(uint8_t){ 0 }, 1, MSG_DONTWAIT) == 1);
	tap_done(&one);
	tap_done(&all);
	tap_done(&late);
	scene_end(&s);
}

TEST(a_slow_reader_loses_frames_and_hears_which) {
	struct tap_reader t;
	struct scene s;

	scene_begin(&s);
	open_slot(&s, 0, 1, 0);
	tap_attach(&s, &t, s.sid);
	t.next = 1;
	for (int i = 0; i < 400; i++) { /* 16 MB, and nobody reads */
		random_bytes(say_bytes, sizeof(say_bytes));
		say(&s, 0, 1, 40000);
	}
	CHECK_EQ_U(ring_durable(&s.worker, 0, 1, NULL), 400);
	for (int i = 0; i < 300; i++) {
		tap_read(&t);
		turns(&s, 1);
	}
	CHECK(t.lost > 0);
	say(&s, 0, 1, 100);
	tap_end_session(&s);
	for (int i = 0; i < 300; i++) {
		tap_read(&t);
		turns(&s, 1);
	}
	CHECK(t.has_end);
	tap_done(&t);
	scene_end(&s);
}

TEST(there_is_an_end_to_taps) {
	struct tap_reader t[TAPS_MAX + 1];
	static const uint8_t zeros[SID_SIZE];
	struct scene s;

	scene_begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		tap_attach(&s, &t[i], zeros);
	turns(&s, 2);
	tap_read(&t[TAPS_MAX]);
	CHECK(t[TAPS_MAX].is_closed && !t[TAPS_MAX].has_hello);
	tap_done(&t[TAPS_MAX]);
	tap_done(&t[0]); /* gone: seen with the next frame */
	open_slot(&s, 0, 1, 0);
	turns(&s, 4);
	tap_attach(&s, &t[0], zeros);
	turns(&s, 2);
	tap_read(&t[0]);
	CHECK(t[0].has_hello && !t[0].is_closed);
	for (size_t i = 0; i < TAPS_MAX; i++)
		tap_done(&t[i]);
	scene_end(&s);
}

TEST_MAIN
