/*
 * loop.h: one turn of epoll, timers, wake-ups; level-triggered. Ten functions, two fillings: the
 * real one (loop.c) and one with virtual time and scripted readiness (loop_fake.c).
 *
 * A callback is always asynchronous: nothing calls back from inside loop_add or timer_set. A watch
 * may be removed in any callback, its own included; a removed watch is never called again, even
 * if its event was already fetched. At the end of each turn the end-of-turn hook runs once (the
 * reaper, ring publication).
 *
 * A hang-up is reported whatever the interest is. A watch that wants nothing hears of it once, and
 * not again until its interest changes: otherwise a parked session would spin.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "base/err.h"
#include "base/mem.h"

struct loop;

enum { LOOP_IN = 1, LOOP_OUT = 2, LOOP_HUP = 4 /* reported always */ };

struct watch; /* embed one per descriptor */
typedef void watch_fn(struct watch *w, unsigned events);
struct watch {
	int fd;
	unsigned want;
	watch_fn *fn;
	bool is_added;
	bool is_changed; /* the loop's own: waits for the next flush */
};

struct timer; /* embed one per timer */
typedef void timer_fn(struct timer *t);
struct timer {
	uint64_t due_ns; /* CLOCK_MONOTONIC; 0 = not armed */
	timer_fn *fn;
	size_t heap_idx; /* the loop's own */
	uint64_t order;  /* the loop's own: equal times fire in the order in which they were set */
};

struct loop *loop_new(void) must_use;
void loop_free(struct loop **l);
/* Time as of the start of this turn (one clock_gettime per turn). */
uint64_t loop_now(const struct loop *l);
/* fd and fn are set by the caller; 0 or H_EIO. */
int loop_add(struct loop *l, struct watch *w, unsigned want) must_use;
/* Changes the interest. Never a system call: changes are collected until just before the loop
 * waits, and one that was taken back by then costs nothing. */
void loop_want(struct loop *l, struct watch *w, unsigned want);
/* Before the descriptor is closed. Safe on a watch that is not added. */
void loop_del(struct loop *l, struct watch *w);
/* Arms or moves; due in the past fires in the next turn, never in this one. */
void timer_set(struct loop *l, struct timer *t, uint64_t due_ns);
void timer_stop(struct loop *l, struct timer *t);
/* before(arg) runs right before the loop would sleep and returns false if it must not sleep;
 * after(arg) runs when it woke, and whenever before() ran; end(arg) runs at the end of each turn.
 * Any may be NULL. */
void loop_hooks(struct loop *l, bool (*before)(void *), void (*after)(void *), void (*end)(void *),
                void *arg);
/* One turn; waits at most timeout_ms (-1: until something happens). */
int loop_turn(struct loop *l, int timeout_ms) must_use;
/* Turns until loop_stop(). */
int loop_run(struct loop *l) must_use;
void loop_stop(struct loop *l);

#endif
