/*
 * session_test.c: what the shell promises (DESIGN §4), with real sockets and a recorder that does
 * only what the test lets it do (session_world.h).
 */
#include "session/session_world.h"

#include <endian.h>
#include <malloc.h>

#include "base/clock.h"
#include "base/test.h"
#include "session/admit.h"

/* ---- tests ---- */

TEST(session_record_first) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("hello"));
	turns(&x, 5);
	CHECK(p->stream[STREAM_U].len == HEAD + 5);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK(target_has(p, "hello"));
	say(p->target, 'R', STR("world"));
	turns(&x, 2);
	CHECK(client_has(&x, p, "world"));
	world_free(&x);
}

static bool is_rung(struct world *x) {
	uint64_t count;

	return read(x->start.recorder_event, &count, sizeof(count)) == sizeof(count);
}

/* A recorder that sleeps is woken at once for what a target waits for, and soon for the rest. */
TEST(session_wakes_the_recorder_when_somebody_waits) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	turns(&x, 3);
	while (record(&x, 100) != 0)
		;
	x.is_recorder_held = true;
	(void)is_rung(&x);
	CHECK(ring_recorder_may_sleep(&x.ring));
	uint64_t begin = mono_ns();

	say(p->target, 'R', STR("world"));
	turns(&x, 2);
	CHECK(client_has(&x, p, "world"));
	CHECK(ring_backlog(&x.ring) != 0);
	while (!is_rung(&x) && mono_ns() - begin < 5 * NS_PER_S)
		turn(&x);
	CHECK(mono_ns() - begin >= 10 * NS_PER_MS && mono_ns() - begin < 5 * NS_PER_S);

	ring_recorder_awake(&x.ring);
	CHECK(record(&x, 100) != 0);
	CHECK(ring_recorder_may_sleep(&x.ring));
	(void)is_rung(&x);
	say(p->client, 'R', STR("hello"));
	turns(&x, 2);
	CHECK(is_rung(&x));
	ring_recorder_awake(&x.ring);
	x.is_recorder_held = false;
	turns(&x, 5);
	CHECK(target_has(p, "hello"));
	world_free(&x);
}

TEST(session_proof_is_not_recorded) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);
	struct ring *r = &x.w.threads[0].ring;

	CHECK(memmem(r->data, (size_t)r->mask + 1, "a-secret-proof", 14) == NULL);
	CHECK_EQ_U(p->stream[STREAM_C].len, HEAD + 14);
	CHECK_EQ_U(p->stream[STREAM_U].len, 0);
	CHECK(session_of_peer(&x, p)->admit.p == NULL);
	world_free(&x);
}

TEST(session_hides) {
	struct world x;
	uint8_t mac[16];

	world_make(&x, MIB);
	struct peer *p = admitted(&x);
	struct ring *r = &x.w.threads[0].ring;

	x.is_commit_held = true;
	say(p->client, 'H', STR("hidden-bytes"));
	turns(&x, 5);
	CHECK_EQ_U(p->stream[STREAM_U].len, HEAD + 12);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK(target_has(p, "hidden-bytes"));
	CHECK(memmem(r->data, (size_t)r->mask + 1, "hidden-bytes", 12) == NULL);
	memcpy(mac, p->mac, sizeof(mac));
	say(p->client, 'H', STR("other-bytes!"));
	turns(&x, 5);
	CHECK(memcmp(mac, p->mac, sizeof(mac)) != 0);
	say(p->client, 'H', STR("hidden-bytes"));
	turns(&x, 5);
	CHECK(memcmp(mac, p->mac, sizeof(mac)) == 0);
	CHECK_EQ_U(p->stream[STREAM_C].len - p->stream[STREAM_U].len, HEAD + 14);
	world_free(&x);
}

TEST(session_keeps_a_digest_of_results) {
	struct world x;
	uint8_t digest[32];
	static const uint8_t zero[32];

	world_make(&x, MIB);
	x.durable = DURABLE_BOTH_WAYS;
	struct peer *p = admitted(&x);
	struct ring *r = &x.w.threads[0].ring;

	x.is_commit_held = true;
	say(p->target, 'D', STR("row-that-is-not-kept"));
	turns(&x, 5);
	CHECK_EQ_U(p->from_worker[0].len, 0);
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK(client_has(&x, p, "row-that-is-not-kept"));
	CHECK(memmem(r->data, (size_t)r->mask + 1, "row-that", 8) == NULL);
	CHECK_EQ_U(p->stream[STREAM_T].len, HEAD + 20);
	CHECK_EQ_U(p->stream[STREAM_R].len, HEAD + p->stream[STREAM_T].len);
	CHECK_EQ_U(p->kept_out, 1);
	CHECK_EQ_U(p->rows, 1);
	memcpy(digest, p->digest, sizeof(digest));
	say(p->target, 'D', STR("row-that-is-not-kepT"));
	turns(&x, 5);
	CHECK(memcmp(digest, p->digest, sizeof(digest)) != 0);
	say(p->target, 'D', STR("row-that-is-not-kept"));
	turns(&x, 5);
	CHECK(memcmp(digest, p->digest, sizeof(digest)) == 0);
	say(p->target, 'W', STR("row-that-is-not-kept"));
	turns(&x, 5);
	CHECK(memcmp(zero, p->digest, sizeof(zero)) == 0);
	CHECK_EQ_U(p->rows, 4);
	world_free(&x);
}

/* One row in many windows: it counts once, in the first of them. */
TEST(session_keeps_digests_of_a_long_row) {
	struct world x;
	static char row[150000];

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	memset(row, 'r', sizeof(row));
	say(p->target, 'D', str_mem(row, sizeof(row)));
	for (int i = 0; i < 50; i++) {
		turns(&x, 2);
		read_clients(&x);
	}
	CHECK_EQ_U(p->from_worker[0].len, HEAD + sizeof(row));
	CHECK_EQ_U(p->stream[STREAM_R].len, 2 * HEAD + sizeof(row));
	CHECK_EQ_U(p->rows, 1);
	CHECK(p->kept_out >= 3);
	world_free(&x);
}

TEST(session_async_waits_for_nothing) {
	struct world x;

	world_make(&x, MIB);
	x.durable = DURABLE_ASYNC;
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("hello"));
	turns(&x, 3);
	CHECK(target_has(p, "hello"));
	world_free(&x);
}

TEST(session_both_ways_holds_answers) {
	struct world x;

	world_make(&x, MIB);
	x.durable = DURABLE_BOTH_WAYS;
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->target, 'R', STR("answer"));
	turns(&x, 3);
	CHECK(!client_has(&x, p, "answer"));
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK(client_has(&x, p, "answer"));
	world_free(&x);
}

TEST(session_split_at_every_byte) {
	struct world x;
	static const char script[] = "A\0\0\0\3abc"
				     "R\0\0\0\2xy"
				     "Z\0\0\0\4skip"
				     "H\0\0\0\3hid"
				     "N\0\0\0\5whole"
				     "X\0\0\0";
	size_t n = sizeof(script); /* the last length byte is the NUL */

	world_make(&x, MIB);
	for (size_t cut = 1; cut < n; cut += 1) {
		struct peer *p = connect_peer(&x);

		CHECK(write(p->client, script, cut) == (ssize_t)cut);
		turns(&x, 4);
		CHECK(write(p->client, script + cut, n - cut) == (ssize_t)(n - cut));
		turns(&x, 6);
		CHECK_EQ_STR(buf_peek(&p->from_worker[1]),
		             str_mem("R\0\0\0\2xyH\0\0\0\3hidN\0\0\0\5whole", 25));
		CHECK_EQ_U(p->stream[STREAM_C].len, n);
		CHECK(p->has_ended && p->end_code == 0);
		CHECK(is_eof(p->client));
		CHECK(is_eof(p->target));
		(void)close(p->client);
		p->client = -1;
		turns(&x, 2);
		if (x.count == PEERS - 1) {
			world_free(&x);
			world_make(&x, MIB);
		}
	}
	CHECK(only_session(&x) == NULL);
	world_free(&x);
}

/* Deterministic noise. */
static uint32_t noise(uint32_t *state) {
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* A large message in, one out, through sockets, a small ring and commits that come when they like. */
static void storm(uint32_t seed, enum durable durable) {
	struct world x;
	uint32_t rnd = seed;
	size_t all = 700 * KIB + noise(&rnd) % 300000;
	auto_free uint8_t *bytes = xmalloc(all + HEAD);
	uint32_t len = htobe32((uint32_t)all);
	size_t up = 0, down = 0;

	world_make(&x, 512 * KIB);
	x.durable = durable;
	struct peer *p = admitted(&x);

	for (size_t i = 0; i < all; i++)
		bytes[HEAD + i] = (uint8_t)noise(&rnd);
	bytes[0] = (uint8_t) "RNH"[noise(&rnd) % 3];
	memcpy(bytes + 1, &len, 4);
	for (int i = 0; i < 20000 &&
	                (p->from_worker[1].len < all + HEAD || p->from_worker[0].len < all + HEAD);
	     i++) {
		x.is_recorder_held = noise(&rnd) % 4 == 0;
		x.is_commit_held = noise(&rnd) % 3 == 0;
		size_t most = noise(&rnd) % 90000;
		ssize_t n = write(p->client, bytes + up, MIN(all + HEAD - up, most));

		up += n > 0 ? (size_t)n : 0;
		n = write(p->target, bytes + down, MIN(all + HEAD - down, most));
		down += n > 0 ? (size_t)n : 0;
		if (noise(&rnd) % 3 == 0)
			read_clients(&x);
		turn(&x);
	}
	read_clients(&x);
	CHECK(str_eq(buf_peek(&p->from_worker[1]), str_mem(bytes, all + HEAD)));
	CHECK(str_eq(buf_peek(&p->from_worker[0]), str_from(buf_peek(&p->stream[STREAM_R]), HEAD)));
	CHECK_EQ_U(p->from_worker[0].len, all + HEAD);
	CHECK_EQ_U(atomic_load(&x.w.need_budget), 0);
	world_free(&x);
}

TEST(session_storms) {
	for (uint32_t seed = 1; seed <= 12; seed++)
		storm(seed, seed % 4 == 0 ? DURABLE_BOTH_WAYS : DURABLE_BEFORE_FORWARD);
}

TEST(session_ring_full_parks) {
	struct world x;
	char block[30000];

	world_make(&x, 256 * KIB);
	struct peer *p = admitted(&x), *q = admitted(&x);

	memset(block, 'b', sizeof(block));
	x.is_recorder_held = true;
	for (int i = 0; i < 20; i++) {
		say(p->target, 'R', str_mem(block, 8000));
		if (i < 5)
			say(p->client, 'R', str_mem(block, sizeof(block)));
		turn(&x);
		read_clients(&x);
	}
	for (int i = 0; i < 20; i++) {
		(void)!write(p->target, block, 0);
		say(q->target, 'R', str_mem(block, 8000));
		turn(&x);
		read_clients(&x);
	}
	CHECK(session_of_peer(&x, p)->is_parked || session_of_peer(&x, q)->is_parked);
	x.is_recorder_held = false;
	turns(&x, 30);
	read_clients(&x);
	CHECK_EQ_U(p->from_worker[1].len, 5 * (HEAD + sizeof(block)));
	CHECK_EQ_U(q->from_worker[0].len, 20 * (HEAD + 8000));
	CHECK_EQ_U(p->from_worker[0].len, 20 * (HEAD + 8000));
	world_free(&x);
}

/* Once hung: the queue for the target had been full, was written, and nobody went on with the relay. */
TEST(session_goes_on_when_the_target_has_room) {
	struct world x;
	size_t all = HEAD + MIB, pushed = 0;
	auto_free uint8_t *message = xcalloc(1, all);

	world_make(&x, 4 * MIB);
	struct peer *p = admitted(&x);

	message[0] = 'N';
	message[2] = 0x10; /* a mebibyte, wanted whole */
	x.is_commit_held = true;
	for (int i = 0; i < 100 && pushed < all; i++) {
		ssize_t n = write(p->client, message + pushed, all - pushed);

		pushed += n > 0 ? (size_t)n : 0;
		turn(&x);
	}
	CHECK_EQ_U(pushed, all);
	turns(&x, 5);
	CHECK(session_of_peer(&x, p)->sides[SIDE_TARGET].out.len >= OUT_HIGH);
	x.is_commit_held = false;
	turns(&x, 40);
	CHECK_EQ_U(p->from_worker[1].len, all);
	CHECK_EQ_U(atomic_load(&x.w.need_budget), 0);
	world_free(&x);
}

/* The grant comes while the ring is full: what was kept until then still goes first. */
TEST(session_granted_into_a_full_ring) {
	static const size_t sizes[] = { 10000, 500, 1 };
	struct world x;
	struct peer *fill[ARRAY_LEN(sizes)];
	char block[30000];

	world_make(&x, 256 * KIB);
	memset(block, 'b', sizeof(block));
	for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
		fill[k] = admitted(&x);
	x.is_recorder_held = true;
	for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
		struct session *s = session_of_peer(&x, fill[k]);

		for (int i = 0; i < 500 && !s->is_parked; i++) {
			say(fill[k]->target, 'R', str_mem(block, sizes[k]));
			turn(&x);
			read_clients(&x);
		}
		CHECK(s->is_parked);
	}
	struct peer *p = connect_peer(&x);

	say(p->client, 'Z', STR("small"));
	say(p->client, 'A', STR("proof"));
	say(p->client, 'R', str_mem(block, sizeof(block)));
	turns(&x, 4);
	CHECK(session_of_peer(&x, p)->pre.len != 0);
	x.is_recorder_held = false;
	turns(&x, 10);
	CHECK_EQ_U(p->from_worker[1].len, HEAD + sizeof(block));
	CHECK_EQ_U(p->stream[STREAM_C].len, 3 * HEAD + 5 + 5 + sizeof(block));
	world_free(&x);
}

TEST(session_slow_client_leaves_others_alone) {
	struct world x;
	char block[60000];
	size_t pushed = 0;

	world_make(&x, MIB);
	struct peer *slow = admitted(&x), *quick = admitted(&x);

	memset(block, 'b', sizeof(block));
	for (int i = 0; i < 300; i++) {
		uint8_t head[HEAD] = { 'R', 0, 0, 0xea, 0x60 };

		if (write(slow->target, head, HEAD) == HEAD)
			pushed += HEAD;
		ssize_t n = write(slow->target, block, sizeof(block));

		pushed += n > 0 ? (size_t)n : 0;
		turn(&x);
	}
	struct session *s = session_of_peer(&x, slow);

	CHECK(pushed < 2 * MIB);
	CHECK(s->sides[SIDE_CLIENT].out.len <= OUT_HIGH + 2 * WINDOW_MAX);
	CHECK(s->sides[SIDE_TARGET].in.len <= WINDOW_MAX);
	say(quick->client, 'R', STR("ping"));
	turns(&x, 3);
	CHECK(target_has(quick, "ping"));
	say(quick->target, 'R', STR("pong"));
	turns(&x, 3);
	receive(quick->client, &quick->from_worker[0]);
	CHECK_EQ_U(quick->from_worker[0].len, HEAD + 4);
	world_free(&x);
}

/* A client that died is not what a target may write for for hours. */
TEST(session_client_died_while_the_target_speaks) {
	struct world x;
	uint8_t block[HEAD + 60000] = { 'R', 0, 0, 0xea, 0x60 };
	struct linger rst = { .l_onoff = 1, .l_linger = 0 };
	size_t before, at = 0;

	world_make(&x, 4 * MIB);
	struct peer *p = admitted(&x);

	for (int i = 0; i < 200; i++) {
		ssize_t n = write(p->target, block + at, sizeof(block) - at);

		at = (at + (size_t)(n > 0 ? n : 0)) % sizeof(block);
		turn(&x);
	}
	CHECK(!p->has_ended);
	before = p->stream[STREAM_T].len;
	(void)setsockopt(p->client, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	(void)close(p->client);
	p->client = -1;
	for (int i = 0; i < 2000 && !p->has_ended; i++) {
		ssize_t n = write(p->target, block + at, sizeof(block) - at);

		at = (at + (size_t)(n > 0 ? n : 0)) % sizeof(block);
		turn(&x);
	}
	CHECK(p->has_ended);
	CHECK_EQ_I(p->end_code, H_ECLOSED);
	CHECK(p->stream[STREAM_T].len - before > UNHEARD_MAX / 2);
	CHECK(p->stream[STREAM_T].len - before < 2 * UNHEARD_MAX);
	world_free(&x);
}

/* Once told of at the first tick of a fresh worker: its clock had not been started. */
TEST(session_no_stall_in_the_first_second) {
	struct world x;

	world_make(&x, MIB);
	struct thread *t = &x.w.threads[0];
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("ping"));
	turns(&x, 2);
	CHECK(!list_empty(&t->waiting));
	t->moved_seen = atomic_load(&t->ring.commit->changed);
	timer_set(t->loop, &t->tick, 0);
	turns(&x, 3);
	CHECK(!t->is_stall_told && !p->has_ended);
	for (unsigned i = 0; i < 2 * STALL_NS / NS_PER_S && !t->is_stall_told; i++) {
		t->ticked_ns = 0; /* a tick ago, or longer: it counts as two at most */
		timer_set(t->loop, &t->tick, 0);
		turn(&x);
	}
	CHECK(t->is_stall_told);
	x.is_commit_held = false;
	turns(&x, 3);
	world_free(&x);
}

TEST(session_undurable_bytes_are_bounded) {
	struct world x;
	static uint8_t block[60000] = { 'R', 0, 0, 0xea, 0x5b };
	size_t pushed = 0;

	world_make(&x, 8 * MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	for (int i = 0; i < 200; i++) {
		ssize_t n = write(p->target, block, sizeof(block));

		if (n > 0)
			pushed += (size_t)n;
		if (n > 0 && n < (ssize_t)sizeof(block))
			break;
		read_clients(&x);
		turn(&x);
	}
	CHECK(pushed < 2 * MIB);
	CHECK(pushed > MIB / 2);
	x.is_commit_held = false;
	turns(&x, 20);
	read_clients(&x);
	turns(&x, 20);
	read_clients(&x);
	CHECK_EQ_U(p->from_worker[0].len, pushed);
	world_free(&x);
}

TEST(session_client_eof_is_in_order) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("last words"));
	(void)shutdown(p->client, SHUT_WR);
	turns(&x, 5);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	x.is_commit_held = false;
	turns(&x, 4);
	CHECK(target_has(p, "last words"));
	CHECK(is_eof(p->target));
	say(p->target, 'R', STR("an answer"));
	turns(&x, 3);
	CHECK(memmem(buf_peek(&p->stream[STREAM_T]).p, p->stream[STREAM_T].len, "an answer", 9) !=
	      NULL);
	CHECK(client_has(&x, p, "an answer"));
	CHECK(!p->has_ended);
	(void)close(p->target);
	p->target = -1;
	turns(&x, 4);
	CHECK(p->has_ended);
	CHECK_EQ_U(p->forwarded[STREAM_U], p->stream[STREAM_U].len);
	CHECK_EQ_U(p->forwarded[STREAM_R], p->stream[STREAM_R].len);
	CHECK(only_session(&x) == NULL);
	world_free(&x);
}

static void keeper_says_kill(struct world *x, const struct peer *p, int code) {
	struct buf b;

	buf_init(&b, 64);
	w_u32(&b, p->slot);
	w_u32(&b, p->generation);
	w_u32(&b, (uint32_t)code);
	CHECK(ipc_send(x->keeper, IPC_KILL, 0, buf_peek(&b), NULL, 0) == 0);
	buf_fini(&b);
}

TEST(session_kill_drops_what_waits) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x), *other = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("drop table"));
	turns(&x, 3);
	keeper_says_kill(&x, p, H_EKILLED);
	turns(&x, 2);
	x.is_commit_held = false;
	turns(&x, 6);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	CHECK(client_has(&x, p, "EKILLED"));
	CHECK(p->has_ended && p->end_code == H_EKILLED);
	CHECK_EQ_U(p->forwarded[STREAM_U], 0);
	CHECK(!other->has_ended && session_of_peer(&x, other) != NULL);
	world_free(&x);
}

static void fails_with(enum ring_slot_state state, const char *text) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("not recorded"));
	turns(&x, 3);
	ring_set_state(&x.ring, p->slot, state);
	turns(&x, 3);
	CHECK(client_has(&x, p, text));
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	CHECK(is_eof(p->client));
	world_free(&x);
}

TEST(session_recording_fails) {
	fails_with(RING_SLOT_FAILED, "ERECORDER");
	fails_with(RING_SLOT_NOSPACE, "ENOSPACE");
	fails_with(RING_SLOT_QUOTA, "EQUOTA");
}

/* Held answers are not let go because their record failed: neither by a slot's state nor by its end. */
TEST(session_recording_fails_both_ways) {
	for (int is_gone = 0; is_gone < 2; is_gone++) {
		struct world x;

		world_make(&x, MIB);
		x.durable = DURABLE_BOTH_WAYS;
		struct peer *p = admitted(&x);

		x.is_commit_held = true;
		say(p->target, 'R', STR("answer"));
		turns(&x, 3);
		if (is_gone == 1)
			thread_mail(&x.w.threads[0], mail_new(MAIL_RECORDER_GONE, STR_NONE));
		else
			ring_set_state(&x.ring, p->slot, RING_SLOT_FAILED);
		turns(&x, 4);
		CHECK(!client_has(&x, p, "answer"));
		CHECK(is_eof(p->client));
		world_free(&x);
	}
}

/* The recorder dies while the ring is full: the error is said all the same, and nobody hangs. */
TEST(session_recorder_dies_with_a_full_ring) {
	struct world x;
	char block[30000];

	world_make(&x, 256 * KIB);
	struct peer *p = admitted(&x);

	memset(block, 'b', sizeof(block));
	x.is_recorder_held = true;
	for (int i = 0; i < 5; i++) {
		say(p->client, 'R', str_mem(block, sizeof(block)));
		say(p->target, 'R', str_mem(block, sizeof(block)));
		turns(&x, 2);
		read_clients(&x);
	}
	thread_mail(&x.w.threads[0], mail_new(MAIL_RECORDER_GONE, STR_NONE));
	turns(&x, 3);
	CHECK(client_has(&x, p, "ERECORDER"));
	CHECK_EQ_U(p->from_worker[1].len, 0);
	(void)close(p->client);
	p->client = -1;
	turns(&x, 3);
	CHECK(only_session(&x) == NULL);
	world_free(&x);
}

TEST(session_keeper_is_away) {
	struct world x;

	world_make(&x, MIB);
	struct thread *t = &x.w.threads[0];

	keeper_state(t, false);
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 3);
	session_tick(only_session(&x), thread_now(t) + 9 * NS_PER_S);
	CHECK(!client_has(&x, p, "EKEEPER"));
	session_tick(only_session(&x), thread_now(t) + 11 * NS_PER_S);
	turns(&x, 2);
	CHECK(client_has(&x, p, "EKEEPER"));
	CHECK(is_eof(p->client));
	world_free(&x);
}

/* It was asked and died; the next one is asked anew, under a new generation. */
TEST(session_keeper_restarts) {
	struct world x;

	world_make(&x, MIB);
	struct thread *t = &x.w.threads[0];

	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 3);
	uint32_t before = only_session(&x)->generation;
	struct ipc_msg m = { 0 };

	CHECK_EQ_I(ipc_recv(x.keeper, x.ipc, &m), 1);
	keeper_state(t, false);
	turns(&x, 2);
	x.is_keeper_held = false;
	keeper_state(t, true);
	turns(&x, 4);
	CHECK(client_has(&x, p, "G"));
	CHECK(p->generation == before + 1);
	say(p->client, 'R', STR("hello"));
	turns(&x, 4);
	CHECK(target_has(p, "hello"));
	world_free(&x);
}

/* The client leaves while the keeper thinks: what was opened is ended. */
TEST(session_left_while_admitting) {
	struct world x;

	world_make(&x, MIB);
	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 2);
	(void)close(p->client);
	p->client = -1;
	turns(&x, 3);
	CHECK(only_session(&x) != NULL);
	x.is_keeper_held = false;
	turns(&x, 4);
	CHECK(p->has_ended);
	CHECK(only_session(&x) == NULL);
	CHECK(is_eof(p->target));
	world_free(&x);
}

TEST(session_refused) {
	struct world x;
	struct ipc_msg m = { 0 };
	struct buf b;

	world_make(&x, MIB);
	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 2);
	REQUIRE(ipc_recv(x.keeper, x.ipc, &m) == 1);
	buf_init(&b, 256);
	w_u32(&b, (uint32_t)H_EREFUSED);
	w_vstr(&b, STR("not admitted"));
	w_vstr(&b, STR_NONE);
	CHECK(ipc_send(x.keeper, IPC_REFUSE, m.id, buf_peek(&b), NULL, 0) == 0);
	buf_fini(&b);
	turns(&x, 3);
	CHECK(client_has(&x, p, "EREFUSED"));
	CHECK_EQ_U(ring_backlog(&x.ring), 0);
	world_free(&x);
}

TEST(session_silent_peers_make_room) {
	struct world x;

	world_make(&x, MIB);
	for (int i = 0; i < 8; i++)
		(void)connect_peer(&x);
	CHECK_EQ_U(atomic_load(&x.w.preadmission_count), 8);
	struct peer *p = connect_peer(&x);

	turns(&x, 2);
	CHECK(is_eof(x.peers[0].client));
	CHECK(!is_eof(x.peers[7].client));
	for (size_t i = 0; i < 8; i++)
		x.peers[i].generation = UINT32_MAX; /* not for the grant */
	say(p->client, 'A', STR("proof"));
	turns(&x, 4);
	CHECK(client_has(&x, p, "G"));
	struct session *s = only_session(&x);

	if (s->state == S_ENDED)
		s = container_of(s->link.next, struct session, link);
	CHECK(s->state == S_PRE);
	s->life.fn(&s->life); /* its deadline */
	turns(&x, 2);
	CHECK(is_eof(x.peers[1].client));
	world_free(&x);
}

TEST(session_flood_before_admission) {
	struct world x;
	static uint8_t block[200000] = { 'Z', 0, 1, 0x86, 0xa0 };

	world_make(&x, MIB);
	struct peer *p = connect_peer(&x);

	(void)!write(p->client, block, sizeof(block));
	turns(&x, 20);
	struct session *s = only_session(&x);

	CHECK(s->sides[SIDE_CLIENT].in.len <= PRE_MAX);
	CHECK(s->pre.len <= PRE_EVENTS_MAX);
	world_free(&x);
}

/* Skipped bytes are events: they are bounded too. */
TEST(session_chatter_before_admission) {
	struct world x;
	char block[8000] = { 'Z', 0, 0, 0x1f, 0x3b };

	world_make(&x, MIB);
	struct peer *p = connect_peer(&x);

	for (int i = 0; i < 20; i++) {
		(void)!write(p->client, block, sizeof(block));
		turn(&x);
	}
	turns(&x, 3);
	CHECK(is_eof(p->client));
	world_free(&x);
}

TEST(session_expires_when_idle) {
	struct world x;

	world_make(&x, MIB);
	x.session_max = 3600 * NS_PER_S;
	struct peer *p = admitted(&x);
	struct session *s = session_of_peer(&x, p);

	s->life.fn(&s->life);
	turns(&x, 4);
	CHECK(client_has(&x, p, "EEXPIRED"));
	CHECK(p->has_ended && p->end_code == H_EEXPIRED);
	world_free(&x);
}

/* One that is not idle is told, and ends when it is, or when its grace is over. */
TEST(session_expires_after_notice) {
	for (int is_patient = 0; is_patient < 2; is_patient++) {
		struct world x;

		world_make(&x, MIB);
		x.session_max = 3600 * NS_PER_S;
		x.session_grace = 60 * NS_PER_S;
		struct peer *p = admitted(&x);
		struct session *s = session_of_peer(&x, p);

		say(p->client, 'B', STR_NONE);
		turns(&x, 3);
		s->life.fn(&s->life);
		turns(&x, 4);
		CHECK(client_has(&x, p, "expiring"));
		CHECK(!client_has(&x, p, "EEXPIRED") && !p->has_ended);
		if (is_patient)
			say(p->client, 'I', STR_NONE);
		else
			s->life.fn(&s->life);
		turns(&x, 4);
		CHECK(client_has(&x, p, "EEXPIRED"));
		CHECK(p->has_ended && p->end_code == H_EEXPIRED);
		world_free(&x);
	}
}

/* A receipt speaks of what is durable, and comes only then; the session sleeps meanwhile. */
TEST(session_receipt_when_durable) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'W', STR_NONE);
	turns(&x, 4);
	CHECK(!client_has(&x, p, "hsr1:"));
	x.is_commit_held = false;
	turns(&x, 4);
	CHECK(client_has(&x, p, "hsr1:00000000-0000-0000-0000-000000000000:"));
	CHECK(client_has(&x, p, ":ab00000000"));
	world_free(&x);
}

/* The ring is full: the fact waits for room, and the receipt for the fact. */
TEST(session_receipt_waits_for_room) {
	struct world x;
	static char block[65000];

	memset(block, 42, sizeof(block));
	world_make(&x, 256 * KIB);
	struct peer *p = admitted(&x);

	x.is_recorder_held = true;
	for (int i = 0; i < 8 && !session_of_peer(&x, p)->is_parked; i++) {
		say(p->client, 'N', str_mem(block, sizeof(block)));
		turns(&x, 2);
	}
	CHECK(session_of_peer(&x, p)->is_parked);
	say(p->client, 'W', STR_NONE);
	turns(&x, 3);
	CHECK(!client_has(&x, p, "hsr1:"));
	x.is_recorder_held = false;
	turns(&x, 30);
	CHECK(client_has(&x, p, "hsr1:"));
	world_free(&x);
}

/* ---- TLS ---- */

struct tls_client {
	struct tls *tls;
	struct tls_scratch *scratch;
};

static struct testcert cert;

TEST(session_tls_both_ways) {
	struct world x;
	struct tls_client c = { .scratch = xmalloc(sizeof(struct tls_scratch)) };
	uint8_t got[128];
	int rc = 0, n = 0;

	world_make(&x, MIB);
	testcert_make(&cert, "DNS:localhost");
	give_snapshot(&x, &cert, TLS_VERIFY_NAME);
	struct peer *p = connect_peer(&x);
	struct tls_ctx *ctx = tls_ctx_client(TLS_VERIFY_NAME, str_of(cert.cert), NULL);

	say(p->client, 'L', STR_NONE);
	turns(&x, 2);
	c.tls = tls_new(ctx, p->client, STR("localhost"));
	for (int i = 0; i < 20 && rc == 0; i++) {
		rc = tls_handshake(c.tls, c.scratch);
		turn(&x);
	}
	CHECK_EQ_I(rc, 1);
	turns(&x, 2);
	n = tls_read(c.tls, c.scratch, got, sizeof(got));
	CHECK(n == HEAD && got[0] == 'T');
	CHECK_EQ_I(tls_write(c.tls, c.scratch, str_mem("A\0\0\0\3abcR\0\0\0\5hello", 18)), 18);
	turns(&x, 6);
	CHECK(target_has(p, "hello"));
	n = tls_read(c.tls, c.scratch, got, sizeof(got));
	CHECK(n == HEAD && got[0] == 'G');
	tls_free(&c.tls);
	tls_ctx_free(&ctx);
	free(c.scratch);
	world_free(&x);
}

/* CVE-2021-23214: what came in clear behind the request must not be taken for what came inside. */
TEST(session_plaintext_behind_tls_request) {
	struct world x;

	world_make(&x, MIB);
	testcert_make(&cert, "DNS:localhost");
	give_snapshot(&x, &cert, 0);
	struct peer *p = connect_peer(&x);

	CHECK(write(p->client, "L\0\0\0\0R\0\0\0\4evil", 14) == 14);
	turns(&x, 3);
	CHECK(is_eof(p->client));
	world_free(&x);
}

/* ---- memory ---- */

static size_t heap_used(void) {
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

TEST(session_idle_memory) {
	struct world x;
	enum { N = 20 };

	world_make(&x, MIB);
	size_t before = heap_used();

	for (int i = 0; i < N; i++) {
		struct peer *p = admitted(&x);

		say(p->client, 'R', STR("select 1"));
		turns(&x, 3);
	}
	for (int i = 0; i < N; i++) {
		for (int k = 0; k < STREAM_COUNT; k++)
			buf_fini(&x.peers[i].stream[k]);
		buf_fini(&x.peers[i].from_worker[0]);
		buf_fini(&x.peers[i].from_worker[1]);
	}
	list_each (it, &x.w.threads[0].sessions)
		session_tick(container_of(it, struct session, link), 0);
	size_t each = (heap_used() - before) / N;

	test_note("bytes per idle session, plain, small core: %zu", each);
	CHECK(each < 8192);
	world_free(&x);
}

TEST_MAIN
