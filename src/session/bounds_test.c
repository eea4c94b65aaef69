/*
 * bounds_test.c: what many sessions together may take: the budget, pure and among sessions; and ENDs that a
 * full ring must not lose. (What one session promises is session_test.c.)
 */
#include <pthread.h>

#include "base/test.h"
#include "session/budget.h"
#include "session/session_world.h"

TEST(budget_is_taken_and_given_back) {
	_Atomic uint64_t used = 0;
	uint64_t a = 0, b = 0;

	CHECK(budget_set(&used, 100, &a, 60));
	CHECK(!budget_set(&used, 100, &b, 41));
	CHECK(b == 0 && atomic_load(&used) == 60);
	CHECK(budget_set(&used, 100, &b, 40));
	CHECK(!budget_set(&used, 100, &a, 61));
	CHECK(a == 60 && atomic_load(&used) == 100);
	CHECK(!budget_set(&used, 100, &a, UINT64_MAX)); /* no wrap */
	CHECK(budget_set(&used, 50, &a, 20));           /* less is always possible */
	CHECK_EQ_U(atomic_load(&used), 60);
	CHECK(budget_set(&used, 100, &a, 0) && budget_set(&used, 100, &b, 0));
	CHECK_EQ_U(atomic_load(&used), 0);
}

TEST(budget_begins_beyond_the_share) {
	CHECK_EQ_U(budget_beyond(0, 64), 0);
	CHECK_EQ_U(budget_beyond(64, 64), 0);
	CHECK_EQ_U(budget_beyond(65, 64), 64);
	CHECK_EQ_U(budget_beyond(128, 64), 64);
	CHECK_EQ_U(budget_beyond(129, 64), 128);
	CHECK_EQ_U(budget_beyond(UNDURABLE_MAX, UNDURABLE_SHARE), UNDURABLE_MAX - UNDURABLE_SHARE);
}

static _Atomic uint64_t shared;
static atomic_bool has_overrun;

static void *take_and_give(void *arg) {
	uint64_t have = 0, step = (uint64_t)(uintptr_t)arg;

	for (int i = 0; i < 20000; i++) {
		if (budget_set(&shared, 1000, &have, (uint64_t)i * step % 700) &&
		    atomic_load(&shared) > 1000)
			atomic_store(&has_overrun, true);
	}
	(void)budget_set(&shared, 1000, &have, 0);
	return NULL;
}

TEST(budget_is_shared_by_threads) {
	pthread_t t[4];

	for (uintptr_t i = 0; i < ARRAY_LEN(t); i++)
		REQUIRE(pthread_create(&t[i], NULL, take_and_give, (void *)(7 * i + 13)) == 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		(void)pthread_join(t[i], NULL);
	CHECK(!atomic_load(&has_overrun));
	CHECK_EQ_U(atomic_load(&shared), 0);
}

static uint64_t undurable(struct world *x, struct peer *p) {
	const struct session *s = session_of_peer(x, p);

	return s->rec_bytes - s->rec_known;
}

/* Targets say as much as is taken from them, while nothing becomes durable. */
static void flood(struct world *x, struct peer **p, size_t count, size_t *pushed) {
	static uint8_t block[60000] = { 'R', 0, 0, 0xea, 0x5b };

	for (int i = 0; i < 60; i++) {
		for (size_t k = 0; k < count; k++) {
			size_t at = pushed[k] % sizeof(block);
			ssize_t n = write(p[k]->target, block + at, sizeof(block) - at);

			pushed[k] += n > 0 ? (size_t)n : 0;
		}
		read_clients(x);
		turn(x);
	}
}

/* Eight sessions that could have a mebibyte each, and a budget of one mebibyte for all. */
TEST(undurable_bytes_of_many_sessions_are_bounded) {
	struct world x;
	struct peer *p[8];
	size_t pushed[ARRAY_LEN(p)] = { 0 };
	uint64_t all = 0;

	world_make(&x, 16 * MIB);
	x.w.undurable_budget_max = MIB;
	for (size_t k = 0; k < ARRAY_LEN(p); k++)
		p[k] = admitted(&x);
	x.is_commit_held = true;
	flood(&x, p, ARRAY_LEN(p), pushed);
	for (size_t k = 0; k < ARRAY_LEN(p); k++) {
		/* Nobody starves; one more read than the share may have been under way. */
		CHECK(undurable(&x, p[k]) >= UNDURABLE_SHARE);
		all += undurable(&x, p[k]);
	}
	CHECK(all <= MIB + ARRAY_LEN(p) * (UNDURABLE_SHARE + WINDOW_MAX + 4 * KIB));
	CHECK(all > MIB);
	CHECK(atomic_load(&x.w.undurable_budget) <= MIB);
	x.is_commit_held = false;
	turns(&x, 4);
	/* Nobody speaks any more: what was held is given back by what became durable alone. */
	for (int i = 0; i < 60; i++) {
		read_clients(&x);
		turn(&x);
	}
	CHECK_EQ_U(atomic_load(&x.w.undurable_budget), 0);
	for (size_t k = 0; k < ARRAY_LEN(p); k++)
		CHECK_EQ_U(p[k]->from_worker[0].len, pushed[k]);
	world_free(&x);
}

/* A session that ends, and one whose recording fails, leave nothing behind in the budget. */
TEST(undurable_budget_comes_back_from_the_dead) {
	struct world x;
	size_t pushed[2] = { 0 };

	world_make(&x, 8 * MIB);
	struct peer *p[2] = { admitted(&x), admitted(&x) };

	x.is_commit_held = true;
	flood(&x, p, 2, pushed);
	CHECK(atomic_load(&x.w.undurable_budget) > MIB);
	session_kill(session_of_peer(&x, p[0]), H_ERECORDER);
	session_free(session_of_peer(&x, p[1]));
	turns(&x, 4);
	CHECK_EQ_U(atomic_load(&x.w.undurable_budget), 0);
	world_free(&x);
}

/* The recorder opened it for a session that was gone when the grant came, and the ring is full. */
TEST(orphan_is_ended_when_the_ring_has_room) {
	static const size_t sizes[] = { 10000, 500, 1 };
	struct world x;
	struct peer *fill[ARRAY_LEN(sizes)];
	char block[10000];

	world_make(&x, 256 * KIB);
	struct thread *t = &x.w.threads[0];

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
		REQUIRE(s->is_parked);
	}
	struct peer *gone[2];

	for (uint32_t i = 0; i < 2; i++) {
		gone[i] = &x.peers[x.count++];
		*gone[i] = (struct peer){
			.client = -1, .target = -1, .slot = SLOTS - 1 - i, .generation = 77
		};
		rec_end_orphan(t, gone[i]->slot, gone[i]->generation);
	}
	CHECK(t->orphans.len != 0);
	turns(&x, 3);
	CHECK(!gone[0]->has_ended && t->orphans.len != 0);
	x.is_recorder_held = false;
	turns(&x, 10);
	CHECK(gone[0]->has_ended && gone[1]->has_ended);
	CHECK_EQ_I(gone[0]->end_code, H_ECLOSED);
	CHECK_EQ_U(t->orphans.len, 0);
	world_free(&x);
}

TEST_MAIN
