/*
 * loop.c: the event loop on epoll, level-triggered.
 *
 * Why our own: OpenSSL and libssh are shaped for readiness, we run on Linux only, and a loop behind
 * ten functions can be replaced by one with virtual time (loop_fake.c) under which whole sessions
 * run in microseconds. Level-triggered, because a session that stops reading in the middle of a
 * turn, for fairness or for back-pressure, needs no bookkeeping to go on.
 *
 * One turn: before() -> flush changed interests -> epoll_wait -> after() -> callbacks of watches ->
 * callbacks of timers -> end(). Data comes before timers, so an answer that arrived in time is not
 * overtaken by its own timeout.
 *
 * Registrations are kept in a table indexed by descriptor. Adding and removing are system calls at
 * once: an error must reach the caller, and the descriptor may be closed or passed on right after
 * removal. Changing interest is free: it marks the watch, and the difference to what the kernel was
 * last told is settled just before the wait.
 *
 * Invariants:
 * 1. A fetched event finds its watch by (descriptor, generation). Removal and re-adding of the same
 *    number, even within one turn, raise the generation, so a stale event finds nobody.
 * 2. Nothing is called from inside loop_add, loop_want, timer_set.
 * 3. A timer set in this turn fires in a later one: its time is at least now + 1.
 */
#include "loop/loop.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "loop/timers_priv.h"

enum { EVENTS_MAX = 256, SLOTS_FIRST = 64 };

struct slot {
	struct watch *watch; /* NULL: free */
	uint32_t generation;
	uint32_t told;  /* what the kernel was last told */
	bool is_silent; /* hung up while nothing was wanted: taken out of the kernel's set */
};

struct loop {
	int epoll_fd;
	uint64_t now;
	struct slot *slots; /* by descriptor */
	size_t slot_count;
	int *changed; /* descriptors whose interest changed */
	size_t changed_count, changed_cap;
	struct timers timers;
	bool (*before)(void *);
	void (*after)(void *);
	void (*end)(void *);
	void *arg;
	bool is_stopped;
	struct epoll_event events[EVENTS_MAX];
};

struct loop *loop_new(void) {
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return NULL;
	struct loop *l = xcalloc(1, sizeof(*l));

	l->epoll_fd = fd;
	l->now = mono_ns();
	return l;
}

void loop_free(struct loop **lp) {
	struct loop *l = *lp;

	if (l == NULL)
		return;
	for (size_t i = 0; i < l->slot_count; i++) {
		if (l->slots[i].watch != NULL)
			l->slots[i].watch->is_added = false;
	}
	timers_fini(&l->timers);
	free(l->slots);
	free(l->changed);
	(void)close(l->epoll_fd);
	free(l);
	*lp = NULL;
}

uint64_t loop_now(const struct loop *l) {
	return l->now;
}

/* ---- watches ---- */

static uint32_t bits_of(unsigned want) {
	return ((want & LOOP_IN) != 0 ? (uint32_t)EPOLLIN : 0U) |
	       ((want & LOOP_OUT) != 0 ? (uint32_t)EPOLLOUT : 0U);
}

static unsigned want_of(uint32_t bits) {
	return ((bits & EPOLLIN) != 0 ? LOOP_IN : 0U) | ((bits & EPOLLOUT) != 0 ? LOOP_OUT : 0U) |
	       ((bits & (EPOLLHUP | EPOLLERR)) != 0 ? LOOP_HUP : 0U);
}

static int ctl(const struct loop *l, int op, int fd, uint32_t bits) {
	struct epoll_event ev = { .events = bits };

	ev.data.u64 = (uint64_t)l->slots[fd].generation << 32 | (uint32_t)fd;
	return epoll_ctl(l->epoll_fd, op, fd, &ev);
}

static void slots_reach(struct loop *l, size_t fd) {
	size_t count = MAX(l->slot_count, (size_t)SLOTS_FIRST);

	if (fd < l->slot_count)
		return;
	while (count <= fd)
		count *= 2;
	l->slots = xrealloc(l->slots, count * sizeof(struct slot));
	memset(l->slots + l->slot_count, 0, (count - l->slot_count) * sizeof(struct slot));
	l->slot_count = count;
}

int loop_add(struct loop *l, struct watch *w, unsigned want) {
	assert(!w->is_added && w->fn != NULL && w->fd >= 0);
	slots_reach(l, (size_t)w->fd);
	struct slot *s = &l->slots[w->fd];

	assert(s->watch == NULL);
	s->generation++;
	if (ctl(l, EPOLL_CTL_ADD, w->fd, bits_of(want)) < 0)
		return H_EIO;
	s->watch = w;
	s->told = bits_of(want);
	s->is_silent = false;
	w->want = want;
	w->is_added = true;
	w->is_changed = false;
	return 0;
}

static void mark(struct loop *l, struct watch *w) {
	if (w->is_changed)
		return;
	if (l->changed_count == l->changed_cap) {
		l->changed_cap = MAX(l->changed_cap * 2, (size_t)SLOTS_FIRST);
		l->changed = xrealloc(l->changed, l->changed_cap * sizeof(int));
	}
	l->changed[l->changed_count++] = w->fd;
	w->is_changed = true;
}

void loop_want(struct loop *l, struct watch *w, unsigned want) {
	assert(w->is_added);
	if (want == w->want)
		return;
	w->want = want;
	mark(l, w);
}

void loop_del(struct loop *l, struct watch *w) {
	if (!w->is_added)
		return;
	struct slot *s = &l->slots[w->fd];

	assert(s->watch == w);
	/* A descriptor that somebody closed too early is gone from the set already. */
	if (!s->is_silent)
		(void)ctl(l, EPOLL_CTL_DEL, w->fd, 0);
	s->watch = NULL;
	s->generation++;
	w->is_added = false;
	w->is_changed = false;
	w->want = 0;
}

/* Tells the kernel what changed. The list may name descriptors that are gone or new by now. */
static int flush_changes(struct loop *l) {
	int rc = 0;

	for (size_t i = 0; i < l->changed_count; i++) {
		int fd = l->changed[i];
		struct slot *s = &l->slots[fd];

		if (s->watch == NULL || !s->watch->is_changed)
			continue;
		uint32_t bits = bits_of(s->watch->want);

		s->watch->is_changed = false;
		if (bits == s->told && !s->is_silent)
			continue;
		if (ctl(l, s->is_silent ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, bits) < 0)
			rc = H_EIO;
		s->told = bits;
		s->is_silent = false;
	}
	l->changed_count = 0;
	return rc;
}

static struct slot *slot_find(const struct loop *l, int fd, uint32_t generation) {
	struct slot *s = &l->slots[fd];

	return s->watch != NULL && s->generation == generation ? s : NULL;
}

static void dispatch(struct loop *l, const struct epoll_event *ev) {
	int fd = (int)(uint32_t)ev->data.u64;
	uint32_t generation = (uint32_t)(ev->data.u64 >> 32);
	struct slot *s = slot_find(l, fd, generation);

	if (s == NULL)
		return;
	unsigned events = want_of(ev->events) & (s->watch->want | LOOP_HUP);

	if (events == 0)
		return;
	s->watch->fn(s->watch, events);
	/* The table may have moved and the watch may be gone. */
	s = slot_find(l, fd, generation);
	if (s != NULL && (events & LOOP_HUP) != 0 && s->watch->want == 0 && !s->is_silent) {
		(void)ctl(l, EPOLL_CTL_DEL, fd, 0);
		s->is_silent = true;
	}
}

/* ---- timers ---- */

void timer_set(struct loop *l, struct timer *t, uint64_t due_ns) {
	timers_put(&l->timers, t, MAX(due_ns, l->now + 1));
}

void timer_stop(struct loop *l, struct timer *t) {
	timers_drop(&l->timers, t);
}

/* Milliseconds to sleep, rounded up so that the timer is due on waking. */
static int sleep_ms(const struct loop *l, int timeout_ms) {
	uint64_t due = timers_first(&l->timers);

	if (due == UINT64_MAX || timeout_ms == 0)
		return timeout_ms;
	uint64_t now = mono_ns();
	uint64_t wait_ms = due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 0;

	if (timeout_ms >= 0)
		wait_ms = MIN(wait_ms, (uint64_t)timeout_ms);
	return (int)MIN(wait_ms, (uint64_t)INT32_MAX);
}

/* ---- turns ---- */

void loop_hooks(struct loop *l, bool (*before)(void *), void (*after)(void *), void (*end)(void *),
                void *arg) {
	l->before = before;
	l->after = after;
	l->end = end;
	l->arg = arg;
}

static int wait_for_events(struct loop *l, int timeout_ms) {
	int ms = l->is_stopped ? 0 : sleep_ms(l, timeout_ms);
	bool has_asked = ms != 0 && l->before != NULL;

	if (has_asked && !l->before(l->arg))
		ms = 0;
	/* The hook may have changed interests, set timers, or stopped the loop. */
	if (has_asked && ms != 0)
		ms = l->is_stopped ? 0 : sleep_ms(l, timeout_ms);
	if (flush_changes(l) < 0)
		return H_EIO;
	int count = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, ms);
	int error = errno;

	if (has_asked && l->after != NULL)
		l->after(l->arg);
	if (count < 0)
		return error == EINTR ? 0 : H_EIO;
	return count;
}

int loop_turn(struct loop *l, int timeout_ms) {
	int count = wait_for_events(l, timeout_ms);

	if (count < 0)
		return count;
	l->now = mono_ns();
	for (int i = 0; i < count; i++)
		dispatch(l, &l->events[i]);
	timers_fire(&l->timers, l->now);
	if (l->end != NULL)
		l->end(l->arg);
	return 0;
}

int loop_run(struct loop *l) {
	int rc = 0;

	l->is_stopped = false;
	while (rc == 0 && !l->is_stopped)
		rc = loop_turn(l, -1);
	return rc;
}

void loop_stop(struct loop *l) {
	l->is_stopped = true;
}
