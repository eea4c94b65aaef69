/*
 * ring.c: the ring's two halves; ring.h has the layout and the rules of memory order.
 *
 * Invariants
 * 1. head - tail <= data size, seen from either side. The producer computes it from a tail that may
 *    be old (then there is more room than it thinks); the consumer checks it at every look.
 * 2. Positions are byte counts since creation and never wrap in practice (2^64); `& mask` gives the
 *    place. Every position is a multiple of 8.
 * 3. The consumer reads each byte of the ring memfd at most once: an entry's head is copied, then
 *    judged, then the payload is copied by the judged length. The worker may change the memory in
 *    between; it can only make nonsense of its own sessions.
 * 4. Neither side unmaps or shrinks under the other: the memfds are sealed, so no SIGBUS.
 */
#include "ipc/ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define HEAD_MAGIC 0x31676e6972647368u   /* "hsdring1" */
#define COMMIT_MAGIC 0x31746d6d63647368u /* "hsdcmmt1" */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define DATA_SIZE_MIN ((size_t)256 * 1024)
#define DATA_SIZE_MAX ((size_t)1 << 30)
#define SEQ_MASK (((uint64_t)1 << RING_SEQ_BITS) - 1)
#define GENERATION_MASK (((uint32_t)1 << (64 - RING_SEQ_BITS)) - 1)

static_assert(sizeof(struct ring_event) == 40, "entries are 40 bytes and payload");
#define FRAME_WORDS (sizeof(struct ring_frame) / sizeof(uint64_t))
static_assert(sizeof(struct ring_frame) == sizeof(((struct ring_slot *)NULL)->frame),
              "a slot's words are a struct ring_frame");
static_assert(DATA_SIZE_MIN > 2 * (RING_PAYLOAD_MAX + sizeof(struct ring_event)),
              "the largest entry fits wherever the position stands");

static bool is_data_size(uint64_t n) {
	return n >= DATA_SIZE_MIN && n <= DATA_SIZE_MAX && (n & (n - 1)) == 0;
}

static size_t commit_size(uint32_t slot_count) {
	return sizeof(struct ring_commit) + slot_count * sizeof(struct ring_slot);
}

/* A memfd of `size` zero bytes; its size is fixed later by seal(). */
static int memfd(const char *name, size_t size) {
	auto_fd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, SEALS) != 0)
		return H_EIO;
	return take_fd(&fd);
}

/* Maps all of fd; its size must be sealed. */
static int map(int fd, int prot, void **ret, size_t *ret_size) {
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	void *p;

	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return H_EPROTO;
	if (fstat(fd, &st) != 0 || st.st_size <= 0)
		return H_EIO;
	p = mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return H_EIO;
	*ret = p;
	*ret_size = (size_t)st.st_size;
	return 0;
}

static int write_heads(int ring_fd, size_t data_size, int commit_fd, uint32_t slot_count) {
	uint64_t head[2] = { HEAD_MAGIC, data_size };
	struct ring_commit commit = { .magic = COMMIT_MAGIC, .slot_count = slot_count };

	if (pwrite(ring_fd, head, sizeof(head), 0) != sizeof(head) ||
	    pwrite(commit_fd, &commit, sizeof(commit), 0) != sizeof(commit))
		return H_EIO;
	return 0;
}

int ring_create(size_t data_size, uint32_t slot_count, int *ret_ring, int *ret_commit,
                int *ret_commit_ro) {
	char path[40];
	int rc;

	assert(is_data_size(data_size) && slot_count > 0 && slot_count <= RING_SLOT_MAX);
	auto_fd int ring = memfd("hansard-ring", sizeof(struct ring_head) + data_size);
	auto_fd int commit = memfd("hansard-commit", commit_size(slot_count));
	if (ring < 0 || commit < 0)
		return H_EIO;
	rc = write_heads(ring, data_size, commit, slot_count);
	if (rc < 0)
		return rc;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", commit);
	auto_fd int ro = open(path, O_RDONLY | O_CLOEXEC);
	if (ro < 0)
		return H_EIO;
	*ret_ring = take_fd(&ring);
	*ret_commit = take_fd(&commit);
	*ret_commit_ro = take_fd(&ro);
	return 0;
}

/* What both sides check: the sizes that the memory claims are those that it has. */
static int check_maps(struct ring *r) {
	uint64_t data_size;

	if (r->head_size < sizeof(struct ring_head) || r->commit_size < sizeof(struct ring_commit))
		return H_EPROTO;
	data_size = r->head->data_size;
	r->slot_count = r->commit->slot_count;
	if (r->head->magic != HEAD_MAGIC || r->commit->magic != COMMIT_MAGIC)
		return H_EPROTO;
	if (!is_data_size(data_size) || r->head_size != sizeof(struct ring_head) + data_size)
		return H_EPROTO;
	if (r->slot_count == 0 || r->slot_count > RING_SLOT_MAX ||
	    r->commit_size != commit_size(r->slot_count))
		return H_EPROTO;
	r->mask = data_size - 1;
	r->data = r->head->data;
	return 0;
}

static int map_both(struct ring *r, int ring_fd, int commit_fd, int commit_prot) {
	struct ring made = { 0 };
	void *p = NULL;
	int rc = map(ring_fd, PROT_READ | PROT_WRITE, &p, &made.head_size);

	made.head = p;
	if (rc == 0) {
		rc = map(commit_fd, commit_prot, &p, &made.commit_size);
		made.commit = rc == 0 ? p : NULL;
	}
	if (rc == 0)
		rc = check_maps(&made);
	if (rc < 0) {
		ring_unmap(&made);
		return rc;
	}
	*r = made;
	return 0;
}

int ring_map_worker(struct ring *r, int ring_fd, int commit_ro_fd) {
	int rc = map_both(r, ring_fd, commit_ro_fd, PROT_READ);

	if (rc < 0)
		return rc;
	r->pos = atomic_load_explicit(&r->head->head, memory_order_relaxed);
	r->tail_seen = atomic_load_explicit(&r->commit->tail, memory_order_acquire);
	r->changed_seen = atomic_load_explicit(&r->commit->changed, memory_order_acquire);
	return 0;
}

int ring_map_recorder(struct ring *r, int ring_fd, int commit_fd) {
	int rc = map_both(r, ring_fd, commit_fd, PROT_READ | PROT_WRITE);

	if (rc < 0)
		return rc;
	r->pos = atomic_load_explicit(&r->commit->tail, memory_order_relaxed);
	ring_recorder_awake(r); /* the one before us may have died in its sleep */
	return 0;
}

void ring_unmap(struct ring *r) {
	if (r->head != NULL)
		(void)munmap(r->head, r->head_size);
	if (r->commit != NULL)
		(void)munmap(r->commit, r->commit_size);
	*r = (struct ring){ 0 };
}

/* --- worker --- */

static size_t entry_size(size_t len) {
	return (sizeof(struct ring_event) + len + 7) & ~(size_t)7;
}

/* Free bytes by the last tail read; a tail that cannot be counts as no room. */
static size_t free_bytes(const struct ring *r) {
	uint64_t used = r->pos - r->tail_seen;

	return used > r->mask + 1 ? 0 : (size_t)(r->mask + 1 - used);
}

static size_t to_end(const struct ring *r) {
	return (size_t)(r->mask + 1 - (r->pos & r->mask));
}

static size_t room_now(const struct ring *r) {
	size_t left = free_bytes(r), end = to_end(r);

	return left <= end ? left : MAX(end, left - end);
}

static void read_tail(struct ring *r) {
	r->tail_seen = atomic_load_explicit(&r->commit->tail, memory_order_acquire);
}

size_t ring_room(struct ring *r) {
	read_tail(r);
	return room_now(r);
}

static struct ring_event *entry_at(struct ring *r, uint64_t pos) {
	return (struct ring_event *)(void *)(r->data + (pos & r->mask));
}

static void skip_to_start(struct ring *r, size_t end) {
	if (end >= sizeof(struct ring_event))
		*entry_at(r, r->pos) = (struct ring_event){ .size = (uint32_t)end };
	r->pos += end;
}

struct ring_event *ring_reserve(struct ring *r, size_t len) {
	size_t need = entry_size(len), end = to_end(r);
	struct ring_event *e;

	assert(len <= RING_PAYLOAD_MAX);
	if (room_now(r) < need && ring_room(r) < need)
		return NULL;
	if (end < need)
		skip_to_start(r, end);
	e = entry_at(r, r->pos);
	*e = (struct ring_event){ .size = (uint32_t)need, .len = (uint32_t)len };
	r->pos += need;
	return e;
}

bool ring_publish_quietly(struct ring *r) {
	if (atomic_load_explicit(&r->head->head, memory_order_relaxed) == r->pos)
		return false;
	atomic_store(&r->head->head, r->pos);
	return true;
}

/* Whoever is asleep and not woken has either seen our head or sleeps beside it. */
static bool wake_once(struct ring *r) {
	uint32_t asleep = atomic_load(&r->commit->recorder_asleep);

	if ((asleep & 1) == 0 || asleep == r->woken)
		return false;
	r->woken = asleep;
	return true;
}

bool ring_publish(struct ring *r) {
	return ring_publish_quietly(r) && wake_once(r);
}

bool ring_must_wake(struct ring *r) {
	return ring_untaken(r) != 0 && wake_once(r);
}

uint64_t ring_untaken(struct ring *r) {
	read_tail(r);
	return atomic_load_explicit(&r->head->head, memory_order_relaxed) - r->tail_seen;
}

uint64_t ring_durable(const struct ring *r, uint32_t slot, uint32_t generation,
                      enum ring_slot_state *ret_state) {
	assert(slot < r->slot_count);
	const struct ring_slot *s = &r->commit->slots[slot];
	uint64_t durable = atomic_load_explicit(&s->durable, memory_order_acquire);
	bool is_ours = durable >> RING_SEQ_BITS == (generation & GENERATION_MASK) &&
	               atomic_load_explicit(&s->generation, memory_order_acquire) == generation;

	if (ret_state != NULL)
		*ret_state = is_ours ? (enum ring_slot_state)
		                               atomic_load_explicit(&s->state, memory_order_acquire)
		                     : RING_SLOT_FREE;
	return is_ours ? durable & SEQ_MASK : 0;
}

/* The recorder writes a few words between two versions; one that died there leaves an odd one. */
enum { FRAME_TRIES = 1000 };

int ring_frame_get(const struct ring *r, uint32_t slot, uint32_t generation,
                   struct ring_frame *ret) {
	uint64_t words[FRAME_WORDS];
	enum ring_slot_state state;

	(void)ring_durable(r, slot, generation, &state);
	const struct ring_slot *s = &r->commit->slots[slot];

	if (state == RING_SLOT_FREE)
		return H_EBUSY;
	for (int i = 0; i < FRAME_TRIES; i++) {
		uint32_t before = atomic_load_explicit(&s->frame_version, memory_order_acquire);

		for (size_t k = 0; k < FRAME_WORDS; k++)
			words[k] = atomic_load_explicit(&s->frame[k], memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		uint32_t after = atomic_load_explicit(&s->frame_version, memory_order_relaxed);

		if (before == 0)
			return H_EBUSY;
		if (before != after || (before & 1) != 0)
			continue;
		memcpy(ret, words, sizeof(*ret));
		return 0;
	}
	return H_EBUSY;
}

bool ring_changed(struct ring *r) {
	uint32_t now = atomic_load_explicit(&r->commit->changed, memory_order_acquire);
	bool is_new = now != r->changed_seen;

	r->changed_seen = now;
	return is_new;
}

/* --- recorder --- */

/* The head, if it can be: at most a ring's size ahead of us, on a multiple of 8. */
static int produced(const struct ring *r, uint64_t *ret_left) {
	uint64_t head = atomic_load_explicit(&r->head->head, memory_order_acquire);

	if (head - r->pos > r->mask + 1 || head % 8 != 0)
		return H_ETAMPERED;
	*ret_left = head - r->pos;
	return 0;
}

static bool is_padding(const struct ring_event *e, size_t end) {
	return e->type == 0 && e->size == end && e->len == 0;
}

static bool is_event(const struct ring *r, const struct ring_event *e, uint64_t left) {
	static const uint8_t zero[sizeof(e->zero)];

	return e->type != 0 && e->len <= RING_PAYLOAD_MAX && e->size == entry_size(e->len) &&
	       e->size <= MIN(left, (uint64_t)to_end(r)) && e->slot < r->slot_count &&
	       e->seq != 0 && e->seq <= SEQ_MASK && e->intent <= 1 &&
	       memcmp(e->zero, zero, sizeof(zero)) == 0;
}

/* Passes what is left at the end of the data; 1: passed some, 0: there is an event (or nothing). */
static int take_padding(struct ring *r, struct ring_event *e, uint64_t *left) {
	size_t end = to_end(r);

	if (end >= sizeof(*e)) {
		if (*left < sizeof(*e))
			return H_ETAMPERED;
		memcpy(e, entry_at(r, r->pos), sizeof(*e));
		if (e->type != 0)
			return 0;
		if (!is_padding(e, end))
			return H_ETAMPERED;
	}
	if (*left < end)
		return H_ETAMPERED;
	r->pos += end;
	*left -= end;
	return 1;
}

static int take(struct ring *r, struct ring_event *e, uint8_t *payload) {
	uint64_t left;
	int rc = produced(r, &left);

	/* Ends: each padding takes at least 8 bytes off what is left. */
	while (rc == 0 && left > 0) {
		rc = take_padding(r, e, &left);
		if (rc == 0)
			break;
		rc = rc > 0 ? 0 : rc;
	}
	if (rc < 0 || left == 0)
		return rc;
	if (!is_event(r, e, left))
		return H_ETAMPERED;
	memcpy(payload, r->data + (r->pos & r->mask) + sizeof(*e), e->len);
	r->pos += e->size;
	return 1;
}

int ring_take(struct ring *r, struct ring_event *e, uint8_t *payload) {
	int rc = r->is_bad ? H_ETAMPERED : take(r, e, payload);

	r->is_bad = rc < 0;
	return rc;
}

void ring_release(struct ring *r) {
	if (atomic_load_explicit(&r->commit->tail, memory_order_relaxed) == r->pos)
		return;
	atomic_store_explicit(&r->commit->tail, r->pos, memory_order_release);
	r->is_dirty = true;
}

static struct ring_slot *slot_at(struct ring *r, uint32_t slot) {
	assert(slot < r->slot_count);
	r->is_dirty = true;
	return &r->commit->slots[slot];
}

static uint64_t durable_word(uint32_t generation, uint64_t seq) {
	assert(seq <= SEQ_MASK);
	return (uint64_t)(generation & GENERATION_MASK) << RING_SEQ_BITS | seq;
}

/* The word `durable` goes last: a worker that sees its generation there sees the rest too. */
void ring_bind(struct ring *r, uint32_t slot, uint32_t generation) {
	struct ring_slot *s = slot_at(r, slot);

	atomic_store_explicit(&s->state, RING_SLOT_BOUND, memory_order_relaxed);
	atomic_store_explicit(&s->generation, generation, memory_order_relaxed);
	atomic_store_explicit(&s->frame_version, 0, memory_order_relaxed);
	atomic_store_explicit(&s->durable, durable_word(generation, 0), memory_order_release);
}

void ring_free_slot(struct ring *r, uint32_t slot) {
	atomic_store_explicit(&slot_at(r, slot)->state, RING_SLOT_FREE, memory_order_release);
}

void ring_set_durable(struct ring *r, uint32_t slot, uint32_t generation, uint64_t seq) {
	atomic_store_explicit(&slot_at(r, slot)->durable, durable_word(generation, seq),
	                      memory_order_release);
}

void ring_set_frame(struct ring *r, uint32_t slot, const struct ring_frame *f) {
	struct ring_slot *s = slot_at(r, slot);
	uint32_t version = atomic_load_explicit(&s->frame_version, memory_order_relaxed) | 1;
	uint64_t words[FRAME_WORDS];

	memcpy(words, f, sizeof(words));
	atomic_store_explicit(&s->frame_version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (size_t k = 0; k < FRAME_WORDS; k++)
		atomic_store_explicit(&s->frame[k], words[k], memory_order_relaxed);
	version = version == UINT32_MAX ? 2 : version + 1; /* 0 stays "none" */
	atomic_store_explicit(&s->frame_version, version, memory_order_release);
}

void ring_set_state(struct ring *r, uint32_t slot, enum ring_slot_state state) {
	atomic_store_explicit(&slot_at(r, slot)->state, (uint32_t)state, memory_order_release);
}

bool ring_commit_done(struct ring *r) {
	if (!r->is_dirty)
		return false;
	r->is_dirty = false;
	(void)atomic_fetch_add(&r->commit->changed, 1);
	if (atomic_load(&r->head->worker_asleep) == 0)
		return false;
	return atomic_exchange(&r->head->worker_asleep, 0) != 0;
}

uint64_t ring_backlog(const struct ring *r) {
	uint64_t left;

	return r->is_bad || produced(r, &left) < 0 ? 0 : left;
}

/* --- sleeping --- */

bool ring_worker_may_sleep(struct ring *r) {
	atomic_store(&r->head->worker_asleep, 1);
	if (atomic_load(&r->commit->changed) == r->changed_seen)
		return true;
	ring_worker_awake(r);
	return false;
}

void ring_worker_awake(struct ring *r) {
	atomic_store_explicit(&r->head->worker_asleep, 0, memory_order_relaxed);
}

bool ring_recorder_may_sleep(struct ring *r) {
	uint32_t asleep = atomic_load_explicit(&r->commit->recorder_asleep, memory_order_relaxed);

	if ((asleep & 1) == 0)
		atomic_store(&r->commit->recorder_asleep, asleep + 1);
	/* A ring with nonsense in it is never waited for, and keeps nobody awake. */
	if (r->is_bad || atomic_load(&r->head->head) == r->pos)
		return true;
	ring_recorder_awake(r);
	return false;
}

void ring_recorder_awake(struct ring *r) {
	uint32_t asleep = atomic_load_explicit(&r->commit->recorder_asleep, memory_order_relaxed);

	if ((asleep & 1) != 0)
		atomic_store_explicit(&r->commit->recorder_asleep, asleep + 1,
		                      memory_order_relaxed);
}
