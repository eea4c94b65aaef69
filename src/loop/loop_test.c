/* loop_test.c: the real loop on pipes and socket pairs. */
#include "loop/loop.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/test.h"
#include "loop/timers_priv.h"

struct seen {
	struct watch w;
	struct loop *l;
	unsigned events, calls;
	struct seen *other; /* what a callback acts on */
};

static void on_count(struct watch *w, unsigned events) {
	struct seen *s = container_of(w, struct seen, w);

	s->events = events;
	s->calls++;
}

static void socket_pair(int fd[2]) {
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
}

TEST(loop_level_triggered) {
	struct loop *l = loop_new();
	int fd[2];
	char c;

	socket_pair(fd);
	struct seen s = { .w = { .fd = fd[0], .fn = on_count }, .l = l };

	CHECK_EQ_I(loop_add(l, &s.w, LOOP_IN), 0);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(s.calls, 0);
	CHECK_EQ_I(write(fd[1], "x", 1), 1);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(s.calls, 2);
	CHECK_EQ_U(s.events, LOOP_IN);
	loop_want(l, &s.w, LOOP_OUT);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(s.events, LOOP_OUT);
	loop_want(l, &s.w, LOOP_IN | LOOP_OUT);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(s.events, LOOP_IN | LOOP_OUT);
	loop_want(l, &s.w, 0);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(s.calls, 4);
	loop_del(l, &s.w);
	loop_del(l, &s.w);
	CHECK_EQ_I(read(fd[0], &c, 1), 1);
	loop_free(&l);
	CHECK(l == NULL);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

TEST(loop_refuses_what_cannot_be_watched) {
	struct loop *l = loop_new();
	auto_fd int fd = open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	struct seen s = { .w = { .fd = fd, .fn = on_count }, .l = l };

	CHECK_EQ_I(loop_add(l, &s.w, LOOP_IN), H_EIO);
	CHECK(!s.w.is_added);
	loop_free(&l);
}

static void on_remove_both(struct watch *w, unsigned events) {
	struct seen *s = container_of(w, struct seen, w);

	on_count(w, events);
	loop_del(s->l, &s->other->w);
	loop_del(s->l, w);
}

TEST(loop_removed_watch_is_never_called) {
	struct loop *l = loop_new();
	int a[2], b[2];

	socket_pair(a);
	socket_pair(b);
	struct seen x = { .w = { .fd = a[0], .fn = on_remove_both }, .l = l };
	struct seen y = { .w = { .fd = b[0], .fn = on_remove_both }, .l = l, .other = &x };

	x.other = &y;
	CHECK_EQ_I(loop_add(l, &x.w, LOOP_OUT), 0);
	CHECK_EQ_I(loop_add(l, &y.w, LOOP_OUT), 0);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(x.calls + y.calls, 1);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(x.calls + y.calls, 1);
	loop_free(&l);
	for (int i = 0; i < 2; i++) {
		(void)close(a[i]);
		(void)close(b[i]);
	}
}

/* Both are ready. The first to run closes the other's descriptor and opens a new, silent socket
 * under the same number: the event that was fetched for the old one must find nobody. */
static void on_replace(struct watch *w, unsigned events) {
	struct seen *s = container_of(w, struct seen, w);
	struct seen *o = s->other;
	int fresh[2], old = o->w.fd;

	on_count(w, events);
	if (o->calls != 0)
		return;
	loop_del(s->l, &o->w);
	socket_pair(fresh);
	CHECK_EQ_I(dup3(fresh[0], old, O_CLOEXEC), old);
	(void)close(fresh[0]);
	o->events = (unsigned)fresh[1];
	o->w.fn = on_count;
	CHECK_EQ_I(loop_add(s->l, &o->w, LOOP_IN), 0);
	loop_want(s->l, w, 0);
}

TEST(loop_same_number_again_in_one_turn) {
	struct loop *l = loop_new();
	int a[2], b[2];

	socket_pair(a);
	socket_pair(b);
	CHECK_EQ_I(write(a[1], "x", 1), 1);
	CHECK_EQ_I(write(b[1], "x", 1), 1);
	struct seen x = { .w = { .fd = a[0], .fn = on_replace }, .l = l };
	struct seen y = { .w = { .fd = b[0], .fn = on_replace }, .l = l, .other = &x };

	x.other = &y;
	CHECK_EQ_I(loop_add(l, &x.w, LOOP_IN), 0);
	CHECK_EQ_I(loop_add(l, &y.w, LOOP_IN), 0);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(x.calls + y.calls, 1);
	struct seen *idle = x.calls == 0 ? &x : &y;
	int far = (int)idle->events;

	CHECK_EQ_I(write(far, "y", 1), 1);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(idle->calls, 1);
	(void)close(far);
	loop_free(&l);
	for (int i = 0; i < 2; i++) {
		(void)close(a[i]);
		(void)close(b[i]);
	}
}

TEST(loop_hangup_is_heard_once_when_nothing_is_wanted) {
	struct loop *l = loop_new();
	int fd[2];

	socket_pair(fd);
	struct seen s = { .w = { .fd = fd[0], .fn = on_count }, .l = l };

	CHECK_EQ_I(loop_add(l, &s.w, 0), 0);
	(void)close(fd[1]);
	for (int i = 0; i < 5; i++)
		CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(s.calls, 1);
	CHECK_EQ_U(s.events, LOOP_HUP);
	loop_want(l, &s.w, LOOP_IN);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(s.calls, 2);
	CHECK_EQ_U(s.events, LOOP_IN | LOOP_HUP);
	loop_del(l, &s.w);
	loop_free(&l);
	(void)close(fd[0]);
}

/* The first to run takes the other's interest away: its event was fetched and must not be told. */
static void on_silence(struct watch *w, unsigned events) {
	struct seen *s = container_of(w, struct seen, w);

	on_count(w, events);
	loop_want(s->l, &s->other->w, 0);
}

TEST(loop_interest_counts_at_the_call) {
	struct loop *l = loop_new();
	int fd[2];

	socket_pair(fd);
	struct seen x = { .w = { .fd = fd[0], .fn = on_silence }, .l = l };
	struct seen y = { .w = { .fd = fd[1], .fn = on_silence }, .l = l, .other = &x };

	x.other = &y;
	CHECK_EQ_I(loop_add(l, &x.w, LOOP_OUT), 0);
	CHECK_EQ_I(loop_add(l, &y.w, LOOP_OUT), 0);
	CHECK_EQ_I(loop_turn(l, -1), 0);
	CHECK_EQ_U(x.calls + y.calls, 1);
	loop_free(&l);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

/* What epoll was told is visible in fdinfo: "tfd: 5 events: 1 …". */
static unsigned told(int epoll_fd, int fd) {
	char path[64], line[256];
	unsigned bits = 99;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epoll_fd);
	auto_file FILE *f = fopen(path, "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		int tfd;
		unsigned ev;

		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own text */
		if (sscanf(line, "tfd: %d events: %x", &tfd, &ev) == 2 && tfd == fd)
			bits = ev & 5;
	}
	return bits;
}

TEST(loop_want_tells_the_kernel_late) {
	struct loop *l = loop_new();
	int fd[2];

	/* The epoll descriptor is the newest: it is the one below the pair. */
	socket_pair(fd);
	int ep = MIN(fd[0], fd[1]) - 1;
	struct seen s = { .w = { .fd = fd[0], .fn = on_count }, .l = l };

	CHECK_EQ_I(loop_add(l, &s.w, LOOP_IN), 0);
	CHECK_EQ_U(told(ep, fd[0]), 1);
	loop_want(l, &s.w, LOOP_OUT);
	CHECK_EQ_U(told(ep, fd[0]), 1);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(told(ep, fd[0]), 4);
	CHECK_EQ_U(s.calls, 1);
	loop_del(l, &s.w);
	CHECK_EQ_U(told(ep, fd[0]), 99);
	loop_free(&l);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

/* ---- timers ---- */

struct tick {
	struct timer t;
	struct loop *l;
	unsigned id, *order, *at;
};

static void on_tick(struct timer *t) {
	struct tick *k = container_of(t, struct tick, t);

	k->order[(*k->at)++] = k->id;
}

static uint32_t step(uint64_t *seed) {
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*seed >> 33);
}

enum { TICKS = 400 };

/* The heap against the plainest model: at each firing the least (due, order) must come next. */
TEST(timers_fire_in_order) {
	struct timers ts = { .heap = NULL };
	struct tick ticks[TICKS] = { { .id = 0 } };
	unsigned order[TICKS], at = 0;
	uint64_t seed = 7;

	for (unsigned i = 0; i < TICKS; i++) {
		ticks[i] = (struct tick){ .t.fn = on_tick, .id = i, .order = order, .at = &at };
		timers_put(&ts, &ticks[i].t, 1 + step(&seed) % 100);
	}
	for (unsigned i = 0; i < TICKS; i += 3)
		timers_put(&ts, &ticks[i].t, 1 + step(&seed) % 100);
	for (unsigned i = 0; i < TICKS; i += 7)
		timers_drop(&ts, &ticks[i].t);
	struct timer model[TICKS];

	for (unsigned i = 0; i < TICKS; i++)
		model[i] = ticks[i].t;
	timers_fire(&ts, 50);
	CHECK(timers_first(&ts) > 50);
	timers_fire(&ts, UINT64_MAX - 1);
	CHECK_EQ_U(timers_first(&ts), UINT64_MAX);
	for (unsigned n = 0; n < at; n++) {
		const struct timer *best = NULL;

		for (unsigned i = 0; i < TICKS; i++) {
			const struct timer *m = &model[i];

			if (m->due_ns != 0 &&
			    (best == NULL || m->due_ns < best->due_ns ||
			     (m->due_ns == best->due_ns && m->order < best->order)))
				best = m;
		}
		REQUIRE(best != NULL);
		CHECK_EQ_U(order[n], (uint64_t)(best - model));
		model[best - model].due_ns = 0;
	}
	CHECK_EQ_U(at, TICKS - (TICKS + 6) / 7);
	timers_fini(&ts);
}

static void on_again(struct timer *t) {
	struct tick *k = container_of(t, struct tick, t);

	(*k->at)++;
	timer_set(k->l, t, 1);
}

TEST(loop_timer_of_the_past_fires_next_turn) {
	struct loop *l = loop_new();
	unsigned at = 0;
	struct tick k = { .t.fn = on_again, .l = l, .at = &at };

	timer_set(l, &k.t, 1);
	CHECK_EQ_U(at, 0);
	for (unsigned i = 1; i <= 3; i++) {
		CHECK_EQ_I(loop_turn(l, -1), 0);
		CHECK_EQ_U(at, i);
	}
	timer_stop(l, &k.t);
	timer_stop(l, &k.t);
	CHECK_EQ_I(loop_turn(l, 0), 0);
	CHECK_EQ_U(at, 3);
	loop_free(&l);
}

TEST(loop_timer_wakes_the_loop) {
	struct loop *l = loop_new();
	unsigned at = 0, order[1];
	struct tick k = { .t.fn = on_tick, .l = l, .at = &at, .order = order };
	uint64_t start = mono_ns();

	timer_set(l, &k.t, loop_now(l) + 5 * NS_PER_MS);
	while (at == 0)
		CHECK_EQ_I(loop_turn(l, 2000), 0);
	CHECK(mono_ns() - start >= 5 * NS_PER_MS);
	CHECK(mono_ns() - start < 1500 * NS_PER_MS);
	loop_free(&l);
}

/* ---- hooks ---- */

struct hooks {
	struct loop *l;
	bool may_sleep;
	unsigned before, after, end;
};

static bool on_before(void *arg) {
	struct hooks *h = arg;

	h->before++;
	return h->may_sleep;
}

static void on_after(void *arg) {
	((struct hooks *)arg)->after++;
}

static void on_end(void *arg) {
	struct hooks *h = arg;

	h->end++;
	if (h->end >= 3)
		loop_stop(h->l);
}

TEST(loop_hooks_run) {
	struct loop *l = loop_new();
	struct hooks h = { .l = l };

	loop_hooks(l, on_before, on_after, on_end, &h);
	CHECK_EQ_I(loop_turn(l, 0), 0); /* would not sleep: nobody is asked */
	CHECK_EQ_U(h.before, 0);
	CHECK_EQ_U(h.end, 1);
	CHECK_EQ_I(loop_run(l), 0); /* must not sleep, else it would do so for ever */
	CHECK_EQ_U(h.before, 2);
	CHECK_EQ_U(h.after, 2);
	CHECK_EQ_U(h.end, 3);
	h.may_sleep = true;
	CHECK_EQ_I(loop_turn(l, 1), 0);
	CHECK_EQ_U(h.before, 2); /* stopped: does not sleep */
	loop_free(&l);
}

TEST(loop_many_watches) {
	enum { MANY = 600 };
	struct loop *l = loop_new();
	struct seen *s = xcalloc(MANY, sizeof(*s));

	for (unsigned i = 0; i < MANY; i++) {
		s[i].w.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		s[i].w.fn = on_count;
		CHECK_EQ_I(loop_add(l, &s[i].w, LOOP_IN), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ_I(loop_turn(l, 0), 0);
	for (unsigned i = 0; i < MANY; i++) {
		CHECK(s[i].calls != 0);
		loop_del(l, &s[i].w);
		(void)close(s[i].w.fd);
	}
	free(s);
	loop_free(&l);
}

TEST_MAIN
