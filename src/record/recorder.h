/*
 * recorder.h: the recorder's core: rings in, journal, parts and log out (DESIGN §3, §7).
 *
 * The core is driven by turns and owns no loop, no clock, no socket: the process (recorder_main.c)
 * and the crash tests give it files, time and messages. One turn drains all rings, cuts frames,
 * writes at most one batch and publishes what became durable.
 */
#ifndef RECORD_RECORDER_H
#define RECORD_RECORDER_H

#include "ipc/ipc.h"
#include "ipc/ring.h"
#include "record/vfs.h"

enum store_state { STORE_OK, STORE_REFUSE, STORE_FAILED }; /* STORE_STATE of ipc.h */

struct recorder_hooks {
	uint64_t (*mono)(void *arg);
	uint64_t (*wall)(void *arg);
	/* A message to the keeper; never blocks, queues what does not fit. */
	void (*to_keeper)(void *arg, uint16_t type, uint64_t id, struct str body);
	/* Wake the worker thread of that ring (write its eventfd). */
	void (*wake_worker)(void *arg, uint16_t ring);
	/* The ring of a dead worker is empty, its sessions closed, the ring unmapped. */
	void (*ring_drained)(void *arg, uint16_t ring);
	/* From a helper thread: something is done, take a turn. */
	void (*wake)(void *arg);
	void *arg;
};

struct recorder_options {
	struct vfs *vfs;
	struct recorder_hooks hooks;
	uint64_t segment_size; /* 0: 64 MiB */
	uint32_t segment_count;
	unsigned helpers;     /* threads for bulk and syncs; 0: inside the turn */
	uint64_t room_refuse; /* free bytes under which new sessions are refused */
	uint64_t room_failed; /* under which recording ends */
	/* Bytes that this process may add to the record: from there on new sessions are refused, and
	 * one segment later recording ends. 0: no limit. */
	uint64_t store_max;
	uint8_t boot[16];
	bool is_restart; /* the boot is not new: this recorder replaces one that died */
	bool no_log;     /* tests: say nothing on stderr */
	const char *version;
};

struct recorder;
struct recorder *recorder_new(const struct recorder_options *o) must_use;
/* Forgets everything at once, as a kill would; nothing is flushed. */
void recorder_free(struct recorder **r);

/* A ring, mapped by ring_map_recorder(); the recorder owns it from now on. H_EEXIST, H_ELIMIT. */
int recorder_add_ring(struct recorder *r, uint16_t id, const struct ring *ring) must_use;
/* Its worker is dead: drain to the end, close its sessions. */
void recorder_ring_dead(struct recorder *r, uint16_t id);
/* Rings are to be added first: recovery binds their sessions again. The keeper is asked for its last
 * signature; recovery runs when it answers (recorder_keeper_message). */
void recorder_start(struct recorder *r);
/* True once recovery is through: sessions may open, or are refused because the record was altered. */
bool recorder_is_serving(const struct recorder *r);
/* True while the keeper's last signature is not known; recorder_start() asks again. */
bool recorder_is_starting(const struct recorder *r);
/* A message from the keeper that ipc_fits(). */
void recorder_keeper_message(struct recorder *r, const struct ipc_msg *m);
/* A new keeper serves: bindings and state are sent again. */
void recorder_keeper_up(struct recorder *r);

/* A live reader (tap.h): fd is a stream socket, taken; sid zeros: of all sessions. Closed when there
 * are TAPS_MAX already. */
void recorder_tap(struct recorder *r, int fd, const uint8_t sid[16]);

/* One turn. Returns ns until the next one is due at the latest: 0 at once, UINT64_MAX when only an
 * event can bring work. */
uint64_t recorder_turn(struct recorder *r) must_use;
/* Before sleeping, and after: ring_recorder_may_sleep() for all rings. */
bool recorder_may_sleep(struct recorder *r);
void recorder_awake(struct recorder *r);

/* Close what is open until the deadline by itself, then close the rest, write the stop leaf, sign. */
void recorder_drain(struct recorder *r, uint64_t until_mono);
bool recorder_is_drained(const struct recorder *r);

struct recorder_stats {
	uint64_t batches, frames, events, bytes, bulk_frames, dropped, failures, leaves, sessions;
};
void recorder_stats(const struct recorder *r, struct recorder_stats *out);

/* What runs in the recorder's process beside the recorder and knows what this folder may not: the
 * indexer. Set before recorder_main(); start is called after confinement, and must not wait. */
struct start;
struct recorder_beside {
	void *(*start)(const struct start *s);
	void (*stop)(void *self);
};
void recorder_set_beside(const struct recorder_beside *b);
/* Of store.size_max one part in so many is kept for the index. */
enum { RECORDER_INDEX_SHARE = 10 };

#endif
