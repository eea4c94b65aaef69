/*
 * timers.c: a binary heap of timers that callers embed.
 *
 * Each timer knows its place in the heap, so moving or stopping one costs a logarithm and no
 * search; a session has a handful of timers and moves them with every message, which rules out a
 * sorted list. Ties are broken by the order of setting, so a test sees one order only.
 *
 * Invariants:
 * 1. A timer is in the heap exactly when due_ns != 0, and then heap[heap_idx] is that timer.
 * 2. A parent is never later than its children.
 * 3. A timer is disarmed before its callback runs, so the callback may arm it again or free it.
 */
#include "loop/timers_priv.h"

enum { CAP_FIRST = 64 };

static bool is_before(const struct timer *a, const struct timer *b) {
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void place(struct timers *ts, struct timer *t, size_t i) {
	ts->heap[i] = t;
	t->heap_idx = i;
}

static void sift_up(struct timers *ts, struct timer *t, size_t i) {
	while (i != 0 && is_before(t, ts->heap[(i - 1) / 2])) {
		place(ts, ts->heap[(i - 1) / 2], i);
		i = (i - 1) / 2;
	}
	place(ts, t, i);
}

static void sift_down(struct timers *ts, struct timer *t, size_t i) {
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= ts->count)
			break;
		if (child + 1 < ts->count && is_before(ts->heap[child + 1], ts->heap[child]))
			child++;
		if (!is_before(ts->heap[child], t))
			break;
		place(ts, ts->heap[child], i);
		i = child;
	}
	place(ts, t, i);
}

/* t belongs somewhere above or below i. */
static void settle(struct timers *ts, struct timer *t, size_t i) {
	if (i != 0 && is_before(t, ts->heap[(i - 1) / 2]))
		sift_up(ts, t, i);
	else
		sift_down(ts, t, i);
}

void timers_fini(struct timers *ts) {
	for (size_t i = 0; i < ts->count; i++)
		ts->heap[i]->due_ns = 0;
	free(ts->heap);
	*ts = (struct timers){ .heap = NULL };
}

void timers_put(struct timers *ts, struct timer *t, uint64_t due_ns) {
	assert(due_ns != 0 && t->fn != NULL);
	bool is_armed = t->due_ns != 0;

	t->due_ns = due_ns;
	t->order = ++ts->order;
	if (is_armed) {
		assert(ts->heap[t->heap_idx] == t);
		settle(ts, t, t->heap_idx);
		return;
	}
	if (ts->count == ts->cap) {
		ts->cap = MAX(ts->cap * 2, (size_t)CAP_FIRST);
		ts->heap = xrealloc(ts->heap, ts->cap * sizeof(struct timer *));
	}
	ts->count++;
	sift_up(ts, t, ts->count - 1);
}

void timers_drop(struct timers *ts, struct timer *t) {
	if (t->due_ns == 0)
		return;
	assert(t->heap_idx < ts->count && ts->heap[t->heap_idx] == t);
	struct timer *last = ts->heap[--ts->count];

	if (last != t)
		settle(ts, last, t->heap_idx);
	t->due_ns = 0;
}

uint64_t timers_first(const struct timers *ts) {
	return ts->count != 0 ? ts->heap[0]->due_ns : UINT64_MAX;
}

void timers_fire(struct timers *ts, uint64_t now) {
	while (timers_first(ts) <= now) {
		struct timer *t = ts->heap[0];

		timers_drop(ts, t);
		t->fn(t);
	}
}
