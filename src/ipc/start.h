/*
 * start.h: how a child process comes to life, and what it holds.
 *
 * The supervisor forks and executes itself (`hansard --child <role>`, no other argument) with an empty
 * environment and exactly these descriptors: 0 /dev/null, 1 and 2 the log, 3 the supervisor's channel.
 * The first message there is SUP_START with everything else. The child then does its set-up that needs
 * the file system or libraries (OpenSSL, NSS, time zone), confines itself (confine.h), says SUP_READY and serves.
 * A child exits when channel 3 reaches EOF: the supervisor is gone.
 */
#ifndef IPC_START_H
#define IPC_START_H

#include "ipc/ipc.h"

#define START_THREADS_MAX 16
#define START_FD 3

struct start_thread {  /* one loop thread of the worker and its ring */
	uint16_t ring; /* its number, in ADMIT and on the record; never one that is still in use */
	int ring_fd;
	int commit_fd;    /* worker: read-only; recorder: read-write */
	int worker_event; /* the recorder writes it to wake the thread */
};

struct start {
	enum role role;
	int supervisor;       /* channel 3 */
	int peer[ROLE_COUNT]; /* channel to that role, -1 where there is none (WK, KR, KE) */
	int recorder_event;   /* worker threads write it to wake the recorder; both hold it */
	int control; /* keeper that replaces one: listening control.sock; else -1 (SUP_STORE brings it) */
	int env; /* keeper: sealed memfd with the supervisor's environment (NUL separated); else -1 */
	int lock; /* keeper, recorder: to be held open, never used; while one of them lives, no
	              * other gateway can have the store, even if the supervisor is gone */
	uint32_t thread_count; /* worker, recorder (at its start; later rings come by SUP_RING) */
	struct start_thread threads[START_THREADS_MAX];
	struct str config_path; /* keeper */
	/* recorder: absolute, from SUP_CONFIG; keeper: empty, it reads the configuration */
	struct str store_path;
	uint8_t node_boot[16]; /* random id of this boot, the same for all */
	bool log_json;
	uint8_t log_level;
	bool peers_restarted;  /* this child replaces one that died: ask peers for state */
	uint64_t segment_size; /* recorder: from SUP_CONFIG */
	uint32_t segment_count;
	uint64_t store_max; /* recorder: from SUP_CONFIG; 0: the file system is the limit */
};

/* Everything absent. */
void start_init(struct start *s, enum role role);
/* fds: IPC_FDS_MAX places. */
void start_put(struct buf *b, int *fds, size_t *ret_fd_count, const struct start *s);
/* Reads what start_put wrote; text borrows from the message. H_EPROTO, with nothing taken. */
int start_get(struct start *s, struct ipc_msg *m) must_use;
/* Reads SUP_START from channel 3 (blocking); text is copied into memory that lives as long as the process. */
int start_receive(struct start *s) must_use;

/* Entry points, one per role; return the exit status. */
int keeper_main(struct start *s);
int egress_main(struct start *s);
int worker_main(struct start *s);
int recorder_main(struct start *s);

#endif
