/*
 * ring_test.c: the ring against a model, against a hostile worker, and with two real threads.
 */
#include "ipc/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/test.h"

#define DATA_SIZE ((size_t)256 * 1024)
#define SLOTS 64u

struct pair {
	struct ring w, r;
	int ring_fd, commit_fd, ro_fd;
	uint8_t *payload;
};

static void pair_open(struct pair *p) {
	*p = (struct pair){ .ring_fd = -1 };
	int rc = ring_create(DATA_SIZE, SLOTS, &p->ring_fd, &p->commit_fd, &p->ro_fd);
	rc = rc < 0 ? rc : ring_map_worker(&p->w, p->ring_fd, p->ro_fd);
	rc = rc < 0 ? rc : ring_map_recorder(&p->r, p->ring_fd, p->commit_fd);
	assert(rc == 0);
	p->payload = xmalloc(RING_PAYLOAD_MAX);
}

static void pair_close(struct pair *p) {
	ring_unmap(&p->w);
	ring_unmap(&p->r);
	(void)close(p->ring_fd);
	(void)close(p->commit_fd);
	(void)close(p->ro_fd);
	free(p->payload);
}

static bool put(struct ring *w, uint64_t seq, size_t len) {
	struct ring_event *e = ring_reserve(w, len);

	if (e == NULL)
		return false;
	e->slot = (uint32_t)(seq % SLOTS);
	e->generation = 7;
	e->seq = seq;
	e->type = 1;
	memset(ring_payload(e), (int)(seq & 0xff), len);
	return true;
}

/* Where the wake-up is not what is tested. */
static void publish(struct ring *w) {
	bool is_asleep = ring_publish(w);

	assert(!is_asleep);
}

static bool is_filled(const uint8_t *p, size_t len, uint8_t byte) {
	for (size_t i = 0; i < len; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

TEST(ring_carries_events) {
	struct pair p;
	struct ring_event e;

	pair_open(&p);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 0);
	CHECK(put(&p.w, 1, 0) && put(&p.w, 2, 13));
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 0); /* not published yet */
	CHECK(!ring_publish(&p.w));                    /* nobody sleeps */
	CHECK_EQ_U(ring_backlog(&p.r), 40 + 56);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK_EQ_U(e.seq, 1);
	CHECK_EQ_U(e.len, 0);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK_EQ_U(e.seq, 2);
	CHECK(e.len == 13 && is_filled(p.payload, 13, 2));
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 0);
	CHECK(!ring_publish(&p.w)); /* nothing new */
	pair_close(&p);
}

/* Small and large entries in a fixed pseudo-random order, so that every kind of end of the data
 * comes by: exact fit, fewer than 40 bytes left, more. */
TEST(ring_wraps) {
	struct pair p;
	struct ring_event e;
	uint64_t put_seq = 0, got_seq = 0, state = 12345;
	bool is_right = true;
	size_t silent = 0;

	pair_open(&p);
	while (got_seq < 60000 && is_right) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		size_t len = (state >> 33) % 8 == 0 ? (state >> 40) % RING_PAYLOAD_MAX
		                                    : (state >> 40) % 64;
		size_t left = DATA_SIZE - (p.w.pos & p.w.mask);
		if (ring_room(&p.w) >= ((40 + len + 7) & ~(size_t)7)) {
			is_right = put(&p.w, ++put_seq, len);
			silent += left < 40;
			continue;
		}
		is_right = ring_reserve(&p.w, len) == NULL;
		publish(&p.w);
		while (is_right && ring_take(&p.r, &e, p.payload) == 1)
			is_right = e.seq == ++got_seq &&
			           is_filled(p.payload, e.len, (uint8_t)e.seq);
		is_right = is_right && !p.r.is_bad && got_seq == put_seq;
		ring_release(&p.r);
	}
	CHECK(is_right);
	CHECK(silent > 0);
	pair_close(&p);
}

TEST(ring_largest_entry_always_fits_an_empty_ring) {
	struct pair p;
	struct ring_event e;
	bool is_right = true;

	pair_open(&p);
	for (uint64_t seq = 1; seq < 2000 && is_right; seq++) {
		is_right = put(&p.w, seq, seq % 2 != 0 ? RING_PAYLOAD_MAX : seq % 200);
		publish(&p.w);
		is_right = is_right && ring_take(&p.r, &e, p.payload) == 1 && e.seq == seq;
		ring_release(&p.r);
	}
	CHECK(is_right);
	pair_close(&p);
}

TEST(ring_full_parks_the_producer) {
	struct pair p;
	struct ring_event e;
	uint64_t seq = 0;

	pair_open(&p);
	while (put(&p.w, seq + 1, 1000))
		seq++;
	CHECK(seq > 200 && ring_room(&p.w) < 1040);
	publish(&p.w);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK(!put(&p.w, seq + 1, 1000)); /* taken, but not released */
	ring_release(&p.r);
	CHECK(put(&p.w, seq + 1, 900));
	pair_close(&p);
}

TEST(ring_durability_is_per_slot_and_generation) {
	struct pair p;
	enum ring_slot_state state = RING_SLOT_FREE;

	pair_open(&p);
	CHECK_EQ_U(ring_durable(&p.w, 3, 9, &state), 0);
	ring_bind(&p.r, 3, 9);
	CHECK(!ring_commit_done(&p.r)); /* the worker does not sleep */
	CHECK(ring_changed(&p.w) && !ring_changed(&p.w));
	CHECK(ring_durable(&p.w, 3, 9, &state) == 0 && state == RING_SLOT_BOUND);
	ring_set_durable(&p.r, 3, 9, 1234);
	CHECK_EQ_U(ring_durable(&p.w, 3, 9, &state), 1234);
	CHECK(ring_durable(&p.w, 3, 10, &state) == 0 && state == RING_SLOT_FREE);
	/* Generations are compared whole, not only by the 20 bits beside the sequence number. */
	CHECK_EQ_U(ring_durable(&p.w, 3, 9 + (1u << 20), &state), 0);
	CHECK_EQ_U(ring_durable(&p.w, 4, 9, NULL), 0);
	ring_set_state(&p.r, 3, RING_SLOT_NOSPACE);
	CHECK(ring_durable(&p.w, 3, 9, &state) == 1234 && state == RING_SLOT_NOSPACE);
	ring_bind(&p.r, 3, 10);
	CHECK_EQ_U(ring_durable(&p.w, 3, 9, &state), 0);
	CHECK(ring_durable(&p.w, 3, 10, &state) == 0 && state == RING_SLOT_BOUND);
	ring_free_slot(&p.r, 3);
	CHECK(ring_durable(&p.w, 3, 10, &state) == 0 && state == RING_SLOT_FREE);
	pair_close(&p);
}

TEST(ring_tells_the_last_durable_frame) {
	struct pair p;
	struct ring_frame f, given = { .number = 41, .log_size = 1000, .leaf = { 1, [31] = 2 } };

	pair_open(&p);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 9, &f), H_EBUSY);
	ring_bind(&p.r, 3, 9);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 9, &f), H_EBUSY);
	ring_set_frame(&p.r, 3, &given);
	REQUIRE(ring_frame_get(&p.w, 3, 9, &f) == 0);
	CHECK(memcmp(&f, &given, sizeof(f)) == 0);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 8, &f), H_EBUSY);
	CHECK_EQ_I(ring_frame_get(&p.w, 4, 9, &f), H_EBUSY);
	given.number = 42;
	ring_set_frame(&p.r, 3, &given);
	REQUIRE(ring_frame_get(&p.w, 3, 9, &f) == 0);
	CHECK_EQ_U(f.number, 42);
	/* a recorder that died while it wrote; the next one goes on */
	atomic_store(&p.r.commit->slots[3].frame_version, 5);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 9, &f), H_EBUSY);
	ring_set_frame(&p.r, 3, &given);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 9, &f), 0);
	atomic_store(&p.r.commit->slots[3].frame_version, UINT32_MAX - 1);
	ring_set_frame(&p.r, 3, &given);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 9, &f), 0);
	ring_bind(&p.r, 3, 10);
	CHECK_EQ_I(ring_frame_get(&p.w, 3, 10, &f), H_EBUSY);
	pair_close(&p);
}

TEST(ring_wakes_only_who_sleeps) {
	struct pair p;
	struct ring_event e;

	pair_open(&p);
	CHECK(ring_recorder_may_sleep(&p.r));
	CHECK(put(&p.w, 1, 5) && ring_publish(&p.w));
	CHECK(put(&p.w, 2, 5) && !ring_publish(&p.w)); /* the eventfd was written already */
	ring_recorder_awake(&p.r);
	CHECK(!ring_recorder_may_sleep(&p.r)); /* two events wait */
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK(ring_recorder_may_sleep(&p.r));
	CHECK(put(&p.w, 3, 5) && ring_publish(&p.w));

	CHECK(ring_worker_may_sleep(&p.w));
	CHECK(!ring_commit_done(&p.r)); /* nothing to tell */
	ring_bind(&p.r, 1, 1);
	CHECK(ring_commit_done(&p.r));
	ring_set_durable(&p.r, 1, 1, 5);
	CHECK(!ring_commit_done(&p.r));      /* woken already */
	CHECK(!ring_worker_may_sleep(&p.w)); /* has not looked yet */
	CHECK(ring_changed(&p.w) && ring_worker_may_sleep(&p.w));
	ring_release(&p.r);
	CHECK(ring_commit_done(&p.r)); /* a moved tail is news too: the ring may have been full */
	pair_close(&p);
}

TEST(ring_publishes_quietly) {
	struct pair p;
	struct ring_event e;

	pair_open(&p);
	CHECK(ring_recorder_may_sleep(&p.r));
	CHECK(!ring_publish_quietly(&p.w)); /* nothing to publish */
	CHECK(put(&p.w, 1, 8) && ring_publish_quietly(&p.w));
	CHECK_EQ_U(ring_untaken(&p.w), 48);
	CHECK(ring_must_wake(&p.w));
	CHECK(!ring_must_wake(&p.w)); /* the eventfd was written already */
	ring_recorder_awake(&p.r);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	ring_release(&p.r);
	CHECK(ring_recorder_may_sleep(&p.r));
	CHECK(!ring_must_wake(&p.w)); /* it has all there is */

	/* What was published quietly is found with what was not. */
	CHECK(put(&p.w, 2, 8) && ring_publish_quietly(&p.w));
	CHECK(put(&p.w, 3, 8) && ring_publish(&p.w));
	CHECK(!ring_must_wake(&p.w));
	ring_recorder_awake(&p.r);
	CHECK(!ring_recorder_may_sleep(&p.r));
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK_EQ_U(e.seq, 2);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK_EQ_U(e.seq, 3);
	pair_close(&p);
}

TEST(ring_recorder_resumes_at_its_tail) {
	struct pair p;
	struct ring_event e;

	pair_open(&p);
	CHECK(put(&p.w, 1, 5) && put(&p.w, 2, 6) && put(&p.w, 3, 7));
	publish(&p.w);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	ring_release(&p.r);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1); /* taken, never released */
	ring_unmap(&p.r);
	REQUIRE(ring_map_recorder(&p.r, p.ring_fd, p.commit_fd) == 0);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK_EQ_U(e.seq, 2);

	/* The one before died in its sleep: the worker must still wake the next. */
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK(ring_recorder_may_sleep(&p.r));
	CHECK(put(&p.w, 4, 0) && ring_publish(&p.w));
	ring_release(&p.r);
	ring_unmap(&p.r);
	REQUIRE(ring_map_recorder(&p.r, p.ring_fd, p.commit_fd) == 0);
	CHECK_EQ_I(ring_take(&p.r, &e, p.payload), 1);
	CHECK(ring_recorder_may_sleep(&p.r));
	CHECK(put(&p.w, 5, 0) && ring_publish(&p.w));
	pair_close(&p);
}

/* --- memory that is not what it should be --- */

TEST(ring_memory_is_sealed) {
	struct pair p;

	pair_open(&p);
	CHECK(ftruncate(p.ring_fd, 0) != 0 && errno == EPERM);
	CHECK(ftruncate(p.commit_fd, 1 << 20) != 0 && errno == EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.ro_fd, 0) == MAP_FAILED);
	CHECK(write(p.ro_fd, "x", 1) < 0);
	pair_close(&p);
}

TEST(ring_map_refuses_other_memory) {
	struct ring r = { 0 };
	struct pair p;
	auto_fd int plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	pair_open(&p);
	REQUIRE(plain >= 0 && ftruncate(plain, (off_t)DATA_SIZE) == 0);
	CHECK_EQ_I(ring_map_recorder(&r, plain, p.commit_fd), H_EPROTO); /* not sealed */
	CHECK(fcntl(plain, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	CHECK_EQ_I(ring_map_recorder(&r, plain, p.commit_fd), H_EPROTO); /* no magic */
	CHECK_EQ_I(ring_map_recorder(&r, p.commit_fd, p.ring_fd), H_EPROTO);
	p.w.head->data_size = DATA_SIZE * 2;
	CHECK_EQ_I(ring_map_recorder(&r, p.ring_fd, p.commit_fd), H_EPROTO);
	p.w.head->data_size = DATA_SIZE;
	CHECK_EQ_I(ring_map_recorder(&r, p.ring_fd, p.commit_fd), 0);
	ring_unmap(&r);
	pair_close(&p);
}

static void set_head(struct pair *p, uint64_t head) {
	atomic_store(&p->w.head->head, head);
}

static int after_head(uint64_t head) {
	struct pair p;
	struct ring_event e;
	int rc;

	pair_open(&p);
	set_head(&p, head);
	rc = ring_take(&p.r, &e, p.payload);
	if (rc == H_ETAMPERED) {
		set_head(&p, 0);
		CHECK_EQ_I(ring_take(&p.r, &e, p.payload), H_ETAMPERED); /* for good */
		CHECK_EQ_U(ring_backlog(&p.r), 0);
		CHECK(ring_recorder_may_sleep(&p.r));
	}
	pair_close(&p);
	return rc;
}

TEST(ring_head_that_cannot_be) {
	CHECK_EQ_I(after_head(0), 0);
	CHECK_EQ_I(after_head(4), H_ETAMPERED);
	CHECK_EQ_I(after_head(8), H_ETAMPERED);
	CHECK_EQ_I(after_head(40), H_ETAMPERED); /* zero bytes are not an event */
	CHECK_EQ_I(after_head(DATA_SIZE + 8), H_ETAMPERED);
	CHECK_EQ_I(after_head(UINT64_MAX - 7), H_ETAMPERED);
}

/* One honest event, one thing changed in it. */
static int after_event(void (*change)(struct ring_event *e)) {
	struct pair p;
	struct ring_event e, *made;
	int rc;

	pair_open(&p);
	made = ring_reserve(&p.w, 100);
	assert(made != NULL);
	made->seq = 1;
	made->type = 1;
	publish(&p.w);
	change(made);
	rc = ring_take(&p.r, &e, p.payload);
	pair_close(&p);
	return rc;
}

static void no_change(struct ring_event *e unused_arg) {
}
static void small_size(struct ring_event *e) {
	e->size = 8;
}
static void large_size(struct ring_event *e) {
	e->size += 8;
}
static void odd_size(struct ring_event *e) {
	e->size -= 1;
}
static void large_len(struct ring_event *e) {
	e->len = UINT32_MAX;
}
static void len_and_size(struct ring_event *e) {
	e->len = RING_PAYLOAD_MAX + 8;
	e->size = (uint32_t)(RING_PAYLOAD_MAX + 48);
}
static void beyond_head(struct ring_event *e) {
	e->len = 1000;
	e->size = 1040;
}
static void no_slot(struct ring_event *e) {
	e->slot = SLOTS;
}
static void no_seq(struct ring_event *e) {
	e->seq = 0;
}
static void large_seq(struct ring_event *e) {
	e->seq = (uint64_t)1 << RING_SEQ_BITS;
}
static void some_intent(struct ring_event *e) {
	e->intent = 2;
}
static void some_zero(struct ring_event *e) {
	e->zero[4] = 1;
}
static void early_padding(struct ring_event *e) {
	e->type = 0;
	e->len = 0;
}

TEST(ring_event_that_cannot_be) {
	CHECK_EQ_I(after_event(no_change), 1);
	CHECK_EQ_I(after_event(small_size), H_ETAMPERED);
	CHECK_EQ_I(after_event(large_size), H_ETAMPERED);
	CHECK_EQ_I(after_event(odd_size), H_ETAMPERED);
	CHECK_EQ_I(after_event(large_len), H_ETAMPERED);
	CHECK_EQ_I(after_event(len_and_size), H_ETAMPERED);
	CHECK_EQ_I(after_event(beyond_head), H_ETAMPERED);
	CHECK_EQ_I(after_event(no_slot), H_ETAMPERED);
	CHECK_EQ_I(after_event(no_seq), H_ETAMPERED);
	CHECK_EQ_I(after_event(large_seq), H_ETAMPERED);
	CHECK_EQ_I(after_event(some_intent), H_ETAMPERED);
	CHECK_EQ_I(after_event(some_zero), H_ETAMPERED);
	CHECK_EQ_I(after_event(early_padding), H_ETAMPERED);
}

/* --- two threads --- */

enum { WINDOW = 40, PATIENCE_MS = 10000 };

struct duo {
	struct pair p;
	int to_recorder, to_worker;
	_Atomic bool has_failed;
	bool is_spinning; /* nobody sleeps: head and tail are all that orders the two */
	uint64_t events;
};

static void ping(int fd) {
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

/* A lost wake-up shows as a timeout here. */
static bool block_on(int fd) {
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t count;

	return poll(&pfd, 1, PATIENCE_MS) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

static void *run_worker(void *arg) {
	struct duo *d = arg;
	struct ring *w = &d->p.w;
	uint64_t seq = 0, durable = 0, state = 1;

	while (durable < d->events && !d->has_failed) {
		while (seq < d->events && seq - durable < WINDOW) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			struct ring_event *e = ring_reserve(w, (state >> 40) % 20000);
			if (e == NULL)
				break;
			e->slot = 5;
			e->generation = 7;
			e->type = 1;
			e->seq = ++seq;
			memset(ring_payload(e), (int)(seq & 0xff), MIN(e->len, 64u));
		}
		if (ring_publish(w))
			ping(d->to_recorder);
		if (!d->is_spinning && !ring_changed(w)) {
			if (ring_worker_may_sleep(w) && !block_on(d->to_worker))
				d->has_failed = true;
			ring_worker_awake(w);
		}
		durable = ring_durable(w, 5, 7, NULL);
	}
	return NULL;
}

static void *run_recorder(void *arg) {
	struct duo *d = arg;
	struct ring *r = &d->p.r;
	struct ring_event e;
	uint64_t seq = 0;
	int rc;

	while (seq < d->events && !d->has_failed) {
		uint64_t before = seq;
		while ((rc = ring_take(r, &e, d->p.payload)) == 1) {
			if (e.seq != ++seq ||
			    !is_filled(d->p.payload, MIN(e.len, 64u), (uint8_t)seq))
				d->has_failed = true;
		}
		if (rc < 0)
			d->has_failed = true;
		ring_release(r);
		if (seq != before)
			ring_set_durable(r, 5, 7, seq);
		if (ring_commit_done(r))
			ping(d->to_worker);
		if (d->is_spinning)
			continue;
		if (seq < d->events && ring_recorder_may_sleep(r) && !block_on(d->to_recorder))
			d->has_failed = true;
		ring_recorder_awake(r);
	}
	return NULL;
}

/* Both sides through one mapping: ThreadSanitizer orders addresses, and would not know that two
 * mappings are the same memory. */
static void share_mapping(struct pair *p) {
	(void)munmap(p->w.head, p->w.head_size);
	(void)munmap(p->w.commit, p->w.commit_size);
	p->w.head = p->r.head;
	p->w.data = p->r.data;
	p->w.commit = p->r.commit;
}

static void run_duo(bool is_spinning, uint64_t events) {
	struct duo d = { .is_spinning = is_spinning, .events = events };
	pthread_t worker, recorder;

	pair_open(&d.p);
	share_mapping(&d.p);
	d.to_recorder = eventfd(0, EFD_CLOEXEC);
	d.to_worker = eventfd(0, EFD_CLOEXEC);
	ring_bind(&d.p.r, 5, 7);
	REQUIRE(pthread_create(&worker, NULL, run_worker, &d) == 0);
	REQUIRE(pthread_create(&recorder, NULL, run_recorder, &d) == 0);
	(void)pthread_join(worker, NULL);
	(void)pthread_join(recorder, NULL);
	CHECK(!d.has_failed);
	CHECK_EQ_U(ring_durable(&d.p.w, 5, 7, NULL), events);
	(void)close(d.to_recorder);
	(void)close(d.to_worker);
	d.p.w = (struct ring){ 0 };
	pair_close(&d.p);
}

TEST(ring_two_threads_sleeping) {
	run_duo(false, 150000);
}

TEST(ring_two_threads_spinning) {
	run_duo(true, 20000);
}

TEST_MAIN
