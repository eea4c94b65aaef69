/* timers_priv.h: the heap of timers, shared by the real and the fake loop. */
#ifndef LOOP_TIMERS_PRIV_H
#define LOOP_TIMERS_PRIV_H

#include "loop/loop.h"

struct timers {
	struct timer **heap;
	size_t count, cap;
	uint64_t order; /* number of the last timer set */
};

void timers_fini(struct timers *ts);
/* Arms or moves t; due_ns != 0. */
void timers_put(struct timers *ts, struct timer *t, uint64_t due_ns);
/* Safe on a timer that is not armed. */
void timers_drop(struct timers *ts, struct timer *t);
/* When the first is due; UINT64_MAX when none is armed. */
uint64_t timers_first(const struct timers *ts);
/* Calls every timer that is due at `now`, in order. */
void timers_fire(struct timers *ts, uint64_t now);

#endif
