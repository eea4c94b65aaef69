/*
 * budget.h: memory of a process that many sessions share.
 *
 * A session has an allowance of its own, which is always there, and takes what it needs beyond that from a
 * budget of the process. Threads take at the same time: a taker compares and swaps, so nobody is refused
 * because of a neighbour's attempt that failed. Order between threads does not matter: it is a count.
 */
#ifndef SESSION_BUDGET_H
#define SESSION_BUDGET_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/base.h"

/* Makes *have (one holder's part of *used) `want`. False, and nothing changed, when that would make *used
 * more than max; less than before is always possible. */
static inline bool budget_set(_Atomic uint64_t *used, uint64_t max, uint64_t *have, uint64_t want) {
	uint64_t all = atomic_load_explicit(used, memory_order_relaxed);

	if (want <= *have) {
		if (want < *have)
			(void)atomic_fetch_sub_explicit(used, *have - want, memory_order_relaxed);
		*have = want;
		return true;
	}
	do {
		if (all > max || want - *have > max - all)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(used, &all, all + (want - *have),
	                                                memory_order_relaxed,
	                                                memory_order_relaxed));
	*have = want;
	return true;
}

/* What a session with n bytes beyond durability takes from the budget: nothing within its share, then steps
 * of a share, so that a busy session does not touch the count at every event. */
static inline uint64_t budget_beyond(uint64_t n, uint64_t share) {
	return n <= share ? 0 : (n - share + share - 1) / share * share;
}

#endif
