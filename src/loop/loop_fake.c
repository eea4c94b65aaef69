/*
 * loop_fake.c: loop.h with virtual time and scripted readiness.
 *
 * It keeps the promises of the real loop (asynchronous callbacks, removal in callbacks, data before
 * timers, hooks, one quiet hang-up) so that what passes here is about the code under test and not
 * about a kinder loop. A wait that would never end is an error instead: a test that hangs says
 * nothing.
 */
#include "loop/loop_fake.h"

#include "loop/timers_priv.h"

enum { FDS_MAX = 4096 };

struct fake_fd {
	struct watch *watch;
	uint32_t generation;
	unsigned ready, pulse;
	bool is_silent; /* heard of its hang-up while it wanted nothing */
};

struct loop {
	uint64_t now, turns;
	struct fake_fd fds[FDS_MAX];
	struct timers timers;
	bool (*before)(void *);
	void (*after)(void *);
	void (*end)(void *);
	void *arg;
	bool is_stopped;
};

struct loop *loop_new(void) {
	struct loop *l = xcalloc(1, sizeof(*l));

	l->now = FAKE_EPOCH_NS;
	return l;
}

void loop_free(struct loop **lp) {
	if (*lp == NULL)
		return;
	for (size_t i = 0; i < FDS_MAX; i++) {
		if ((*lp)->fds[i].watch != NULL)
			(*lp)->fds[i].watch->is_added = false;
	}
	timers_fini(&(*lp)->timers);
	free(*lp);
	*lp = NULL;
}

uint64_t loop_now(const struct loop *l) {
	return l->now;
}

int loop_add(struct loop *l, struct watch *w, unsigned want) {
	assert(!w->is_added && w->fn != NULL && w->fd >= 0 && w->fd < FDS_MAX);
	struct fake_fd *f = &l->fds[w->fd];

	assert(f->watch == NULL);
	f->generation++;
	f->watch = w;
	f->is_silent = false;
	w->want = want;
	w->is_added = true;
	w->is_changed = false;
	return 0;
}

void loop_want(struct loop *l, struct watch *w, unsigned want) {
	assert(w->is_added);
	if (want != w->want)
		l->fds[w->fd].is_silent = false;
	w->want = want;
}

void loop_del(struct loop *l, struct watch *w) {
	if (!w->is_added)
		return;
	struct fake_fd *f = &l->fds[w->fd];

	assert(f->watch == w);
	f->watch = NULL;
	f->generation++;
	f->ready = 0;
	f->pulse = 0;
	w->is_added = false;
	w->want = 0;
}

void timer_set(struct loop *l, struct timer *t, uint64_t due_ns) {
	timers_put(&l->timers, t, MAX(due_ns, l->now + 1));
}

void timer_stop(struct loop *l, struct timer *t) {
	timers_drop(&l->timers, t);
}

void loop_hooks(struct loop *l, bool (*before)(void *), void (*after)(void *), void (*end)(void *),
                void *arg) {
	l->before = before;
	l->after = after;
	l->end = end;
	l->arg = arg;
}

static unsigned events_of(const struct fake_fd *f) {
	if (f->watch == NULL)
		return 0;
	unsigned events = (f->ready | f->pulse) & (f->watch->want | LOOP_HUP);

	return f->is_silent ? events & ~(unsigned)LOOP_HUP : events;
}

static bool is_any_ready(const struct loop *l) {
	for (size_t i = 0; i < FDS_MAX; i++) {
		if (events_of(&l->fds[i]) != 0)
			return true;
	}
	return false;
}

/* Lets time pass as a sleep would; H_EBUG for a sleep without end. */
static int sleep_until_event(struct loop *l, int timeout_ms) {
	uint64_t wake = timers_first(&l->timers);

	if (timeout_ms == 0 || l->is_stopped || is_any_ready(l))
		return 0;
	if (timeout_ms > 0)
		wake = MIN(wake, l->now + (uint64_t)timeout_ms * NS_PER_MS);
	if (l->before != NULL && !l->before(l->arg))
		wake = l->now;
	else if (wake != UINT64_MAX)
		l->now = MAX(l->now, wake);
	if (l->after != NULL)
		l->after(l->arg);
	return wake == UINT64_MAX && !l->is_stopped && !is_any_ready(l) ? H_EBUG : 0;
}

static void dispatch(struct fake_fd *f, uint32_t generation, unsigned fetched) {
	if (f->watch == NULL || f->generation != generation)
		return;
	unsigned events = fetched & (f->watch->want | LOOP_HUP);

	if (events == 0)
		return;
	f->watch->fn(f->watch, events);
	if (f->watch != NULL && f->generation == generation && (events & LOOP_HUP) != 0 &&
	    f->watch->want == 0)
		f->is_silent = true;
}

int loop_turn(struct loop *l, int timeout_ms) {
	struct {
		struct fake_fd *f;
		uint32_t generation;
		unsigned events;
	} fetched[FDS_MAX];
	size_t count = 0;
	int rc = sleep_until_event(l, timeout_ms);

	if (rc < 0)
		return rc;
	l->turns++;
	/* As the kernel does: all is fetched before anything is called. */
	for (size_t i = 0; i < FDS_MAX; i++) {
		struct fake_fd *f = &l->fds[i];
		unsigned events = events_of(f);

		f->pulse = 0;
		if (events == 0)
			continue;
		fetched[count].f = f;
		fetched[count].generation = f->generation;
		fetched[count++].events = events;
	}
	for (size_t i = 0; i < count; i++)
		dispatch(fetched[i].f, fetched[i].generation, fetched[i].events);
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

void fake_ready(struct loop *l, int fd, unsigned events) {
	assert(fd >= 0 && fd < FDS_MAX);
	l->fds[fd].ready = events;
}

void fake_pulse(struct loop *l, int fd, unsigned events) {
	assert(fd >= 0 && fd < FDS_MAX);
	l->fds[fd].pulse |= events;
}

int fake_advance(struct loop *l, uint64_t ns) {
	uint64_t end = l->now + ns;
	int rc = loop_turn(l, 0);

	while (rc == 0 && timers_first(&l->timers) <= end) {
		l->now = MAX(l->now, timers_first(&l->timers));
		rc = loop_turn(l, 0);
	}
	if (rc == 0 && l->now < end) {
		l->now = end;
		rc = loop_turn(l, 0);
	}
	return rc;
}

int fake_settle(struct loop *l, unsigned max_turns) {
	int rc = 0;

	for (unsigned i = 0; i < max_turns && rc == 0; i++) {
		if (!is_any_ready(l))
			return 0;
		rc = loop_turn(l, 0);
	}
	return rc < 0 ? rc : is_any_ready(l) ? H_EBUSY : 0;
}

unsigned fake_want(const struct loop *l, int fd) {
	return l->fds[fd].watch != NULL ? l->fds[fd].watch->want : 0;
}

bool fake_is_watched(const struct loop *l, int fd) {
	return l->fds[fd].watch != NULL;
}

uint64_t fake_turns(const struct loop *l) {
	return l->turns;
}
