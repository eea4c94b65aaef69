/*
 * ring.h: the ring between one loop thread of a worker and the recorder (DESIGN §3).
 *
 * Single producer, single consumer. Two memfds, both sealed against shrink and grow:
 *   ring memfd   written by the worker: struct ring_head, then the data (a power of two).
 *   commit memfd written by the recorder, held read-only by the worker: struct ring_commit, then one
 *                struct ring_slot per session slot: what is durable of its session, and in which frame.
 * The recorder trusts nothing in the ring memfd: it keeps its own tail, copies an event out before it
 * looks at it, and checks every length; a head or an event that cannot be ends that ring (ring_take
 * yields H_ETAMPERED).
 *
 * Entry: struct ring_event (40 bytes), payload, padding to 8. An entry does not wrap: what is left at
 * the end of the data is skipped by an entry of type 0, or silently if not even 40 bytes are left.
 * Payload at most RING_PAYLOAD_MAX.
 *
 * Memory order: the worker fills entries and then stores head (ring_publish, once per turn); the
 * recorder loads head with acquire. The recorder stores tail and durable with release.
 * Sleep: a side that would block sets its `asleep` word, re-checks, and blocks on its eventfd; the
 * other side publishes, looks at the word, and writes the eventfd only if it is set. Word and
 * published value are stored and loaded with sequential consistency, so that one of the two always
 * sees the other (Dekker). worker_asleep is swapped to 0 by the recorder. recorder_asleep lies in
 * memory that the worker cannot write: it counts, is odd while the recorder sleeps, and the worker
 * remembers the last odd value for which it wrote the eventfd.
 */
#ifndef IPC_RING_H
#define IPC_RING_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/str.h"

#define RING_PAYLOAD_MAX ((size_t)64 * 1024 + 64)
#define RING_SLOT_MAX 65536u
/* ring_slot.durable: generation (low 20 bits of it) << 44 | seq. */
#define RING_SEQ_BITS 44

struct ring_head {
	uint64_t magic;
	uint64_t data_size;
	_Alignas(64) _Atomic uint64_t head; /* bytes ever produced */
	_Alignas(64) _Atomic uint32_t
		worker_asleep; /* worker wants an eventfd write at the next commit */
	_Alignas(64) uint8_t data[];
};

enum ring_slot_state {
	RING_SLOT_FREE,
	RING_SLOT_BOUND,   /* events are taken */
	RING_SLOT_FAILED,  /* recording of this session failed: worker closes it (58030) */
	RING_SLOT_NOSPACE, /* the same, because the store is full (53100) */
	RING_SLOT_QUOTA    /* a quota ended it (53400) */
};

/* What a receipt is made of: a frame of the session that is durable, and how long the log was then. Its
 * head stands at that place of the log or behind it. */
struct ring_frame {
	uint64_t number;
	uint64_t log_size; /* leaves */
	uint8_t leaf[32];  /* of the session's tree */
};

struct ring_slot {
	_Atomic uint64_t durable;
	_Atomic uint32_t generation;
	_Atomic uint32_t state; /* enum ring_slot_state */
	/* The last durable frame, under a sequence lock (odd: being written; 0: there is none yet). It is
	 * written before `durable`: who sees a seq there finds here its frame or a later one. */
	_Atomic uint32_t frame_version;
	_Atomic uint64_t frame[6]; /* number, log_size, leaf */
};

struct ring_commit {
	uint64_t magic;
	uint32_t slot_count;
	_Alignas(64) _Atomic uint64_t tail;            /* bytes ever consumed (copied out) */
	_Alignas(64) _Atomic uint32_t recorder_asleep; /* odd: asleep */
	_Atomic uint32_t
		changed; /* bumped at each commit that moved any slot: a cheap first look */
	_Alignas(64) struct ring_slot slots[];
};

struct ring_event {
	uint32_t size; /* whole entry with padding, multiple of 8 */
	uint32_t len;  /* payload bytes */
	uint32_t slot;
	uint32_t generation;
	uint64_t seq;     /* from 1 in each session */
	uint64_t mono_ns; /* time of the read(2) */
	uint8_t type;     /* enum rec_type; 0 = padding */
	uint8_t flags;    /* stream */
	uint8_t intent;   /* 1: bytes for the target wait for this event */
	uint8_t zero[5];
};

/* Both sides' handle. */
struct ring {
	struct ring_head *head;
	struct ring_commit *commit;
	uint8_t *data;
	uint64_t mask;
	uint64_t pos;       /* producer: next byte to write; consumer: its own tail */
	uint64_t tail_seen; /* producer: last tail read */
	uint32_t slot_count;
	uint32_t woken;        /* producer: recorder_asleep for which the eventfd was written */
	uint32_t changed_seen; /* producer: `changed` at the last ring_changed() */
	bool is_bad;           /* consumer: the content cannot be; nothing more is taken */
	bool is_dirty; /* consumer: something for the worker to see since ring_commit_done() */
	size_t head_size, commit_size;
};

/* Supervisor: makes the two memfds. data_size: power of two, ≥ 256 KiB. *ret_commit_ro is a read-only
 * descriptor of the commit memfd, for the worker. */
int ring_create(size_t data_size, uint32_t slot_count, int *ret_ring, int *ret_commit,
                int *ret_commit_ro) must_use;
/* Maps. The worker passes the read-only commit descriptor. Checks seals, sizes and magics. */
int ring_map_worker(struct ring *r, int ring_fd, int commit_ro_fd) must_use;
/* The recorder resumes at the tail that the commit memfd holds. */
int ring_map_recorder(struct ring *r, int ring_fd, int commit_fd) must_use;
void ring_unmap(struct ring *r);

/* --- worker --- */
/* Bytes that an append may still take, entry header and padding included. */
size_t ring_room(struct ring *r);
/* Space for one entry with `len` payload bytes, or NULL when full. Fill the event's fields but size
 * and len, and the payload behind it; it becomes visible with the next ring_publish(). */
struct ring_event *ring_reserve(struct ring *r, size_t len) must_use;
static inline uint8_t *ring_payload(struct ring_event *e) {
	return (uint8_t *)(e + 1);
}
/* Publishes all that was reserved; true when the recorder must be woken (write its eventfd). */
bool ring_publish(struct ring *r) must_use;
/* The same for what nobody waits for: the recorder finds it when it wakes. true when something was
 * published; somebody must ask ring_must_wake() later. */
bool ring_publish_quietly(struct ring *r) must_use;
/* Does the recorder sleep, not woken yet, beside what is published? Then write its eventfd. */
bool ring_must_wake(struct ring *r) must_use;
/* Published bytes that the recorder has not taken yet. */
uint64_t ring_untaken(struct ring *r);
/* Highest durable seq of the slot, 0 when the slot's generation differs; *ret_state may be NULL. */
uint64_t ring_durable(const struct ring *r, uint32_t slot, uint32_t generation,
                      enum ring_slot_state *ret_state);

/* The last durable frame of the slot: 0, or H_EBUSY when there is none (or its writer died in the middle). */
int ring_frame_get(const struct ring *r, uint32_t slot, uint32_t generation, struct ring_frame *ret)
	must_use;

/* True when any slot, or the tail, moved since the last call: only then is a look at slots worth it. */
bool ring_changed(struct ring *r);

/* --- recorder --- */
/* Copies the next event's head to *e and its payload to `payload` (RING_PAYLOAD_MAX bytes); 1 taken,
 * 0 empty, H_ETAMPERED when the ring's content cannot be. The tail moves. */
int ring_take(struct ring *r, struct ring_event *e, uint8_t *payload) must_use;
/* Stores the tail for the worker to see (once per drain). */
void ring_release(struct ring *r);
void ring_bind(struct ring *r, uint32_t slot, uint32_t generation);
void ring_free_slot(struct ring *r, uint32_t slot);
void ring_set_durable(struct ring *r, uint32_t slot, uint32_t generation, uint64_t seq);
void ring_set_state(struct ring *r, uint32_t slot, enum ring_slot_state state);
/* Before ring_set_durable() for what the frame holds. */
void ring_set_frame(struct ring *r, uint32_t slot, const struct ring_frame *f);
/* After each round, a commit or a drain that left nothing to commit: tells the worker that slots or
 * tail moved; true when the worker advertised that it sleeps (write its eventfd). */
bool ring_commit_done(struct ring *r) must_use;
/* Bytes produced and not yet taken. */
uint64_t ring_backlog(const struct ring *r);

/* Sleeping: set asleep, then check again; false: do not sleep. The recorder calls it for each of its
 * rings, and ring_recorder_awake for each once it woke or one of them said no; the worker sleeps
 * only until something changes that ring_changed() has not shown it yet. */
bool ring_worker_may_sleep(struct ring *r);
void ring_worker_awake(struct ring *r);
bool ring_recorder_may_sleep(struct ring *r);
void ring_recorder_awake(struct ring *r);

#endif
