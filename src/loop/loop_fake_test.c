/* loop_fake_test.c: the fake loop keeps the promises of the real one. */
#include "loop/loop_fake.h"

#include "base/test.h"

struct seen {
	struct watch w;
	struct loop *l;
	unsigned calls, events;
	struct seen *other;
};

static void on_count(struct watch *w, unsigned events) {
	struct seen *s = container_of(w, struct seen, w);

	s->calls++;
	s->events = events;
}

static void on_remove_other(struct watch *w, unsigned events) {
	struct seen *s = container_of(w, struct seen, w);

	on_count(w, events);
	loop_del(s->l, &s->other->w);
}

TEST(fake_readiness) {
	struct loop *l = loop_new();
	struct seen s = { .w = { .fd = 7, .fn = on_count }, .l = l };

	CHECK_EQ_I(loop_add(l, &s.w, LOOP_IN), 0);
	CHECK(fake_is_watched(l, 7));
	fake_ready(l, 7, LOOP_IN | LOOP_OUT);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(s.calls, 2);
	CHECK_EQ_U(s.events, LOOP_IN);
	loop_want(l, &s.w, LOOP_OUT);
	CHECK_EQ_U(fake_want(l, 7), LOOP_OUT);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(s.events, LOOP_OUT);
	fake_ready(l, 7, 0);
	CHECK_EQ_I(fake_settle(l, 10), 0);
	fake_pulse(l, 7, LOOP_OUT);
	CHECK_EQ_I(fake_settle(l, 10), 0);
	CHECK_EQ_U(s.calls, 4);
	CHECK_EQ_I(loop_turn(l, -1), H_EBUG); /* would sleep for ever */
	fake_ready(l, 7, LOOP_OUT);
	CHECK_EQ_I(fake_settle(l, 10), H_EBUSY);
	loop_free(&l);
	CHECK(!s.w.is_added);
}

TEST(fake_removal_and_hangup) {
	struct loop *l = loop_new();
	struct seen x = { .w = { .fd = 1, .fn = on_remove_other }, .l = l };
	struct seen y = { .w = { .fd = 2, .fn = on_count }, .l = l };

	x.other = &y;
	CHECK_EQ_I(loop_add(l, &x.w, LOOP_IN), 0);
	CHECK_EQ_I(loop_add(l, &y.w, LOOP_IN), 0);
	fake_pulse(l, 1, LOOP_IN);
	fake_pulse(l, 2, LOOP_IN);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(x.calls, 1);
	CHECK_EQ_U(y.calls, 0);
	loop_want(l, &x.w, 0);
	x.w.fn = on_count;
	fake_ready(l, 1, LOOP_HUP | LOOP_IN);
	for (int i = 0; i < 3; i++)
		CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(x.calls, 2);
	loop_want(l, &x.w, LOOP_IN);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(x.events, LOOP_IN | LOOP_HUP);
	loop_free(&l);
}

struct tick {
	struct timer t;
	struct loop *l;
	unsigned calls;
	uint64_t at, every;
};

static void on_tick(struct timer *t) {
	struct tick *k = container_of(t, struct tick, t);

	k->calls++;
	k->at = loop_now(k->l);
	if (k->every != 0)
		timer_set(k->l, t, k->at + k->every);
}

TEST(fake_time) {
	struct loop *l = loop_new();
	struct tick a = { .t.fn = on_tick, .l = l, .every = 10 * NS_PER_MS };
	struct tick b = { .t.fn = on_tick, .l = l };

	timer_set(l, &a.t, loop_now(l) + 10 * NS_PER_MS);
	timer_set(l, &b.t, loop_now(l) + 25 * NS_PER_MS);
	CHECK_EQ_I(fake_advance(l, 9 * NS_PER_MS), 0);
	CHECK_EQ_U(a.calls, 0);
	CHECK_EQ_I(fake_advance(l, 1 * NS_PER_MS), 0);
	CHECK_EQ_U(a.calls, 1);
	CHECK_EQ_I(fake_advance(l, 90 * NS_PER_MS), 0);
	CHECK_EQ_U(a.calls, 10);
	CHECK_EQ_U(b.calls, 1);
	CHECK_EQ_U(b.at, FAKE_EPOCH_NS + 25 * NS_PER_MS);
	CHECK_EQ_U(loop_now(l), FAKE_EPOCH_NS + 100 * NS_PER_MS);
	CHECK_EQ_I(loop_turn(l, -1), 0); /* sleeps to the next timer */
	CHECK_EQ_U(a.calls, 11);
	CHECK_EQ_I(loop_turn(l, 3), 0);
	CHECK_EQ_U(loop_now(l), FAKE_EPOCH_NS + 113 * NS_PER_MS);
	CHECK(fake_turns(l) > 12);
	loop_free(&l);
}

TEST_MAIN
