/*
 * recorder_rig.h: the recorder's core on its own thread with real files, a keeper that is made up, and
 * the worker's end of one ring. For benchmarks: the caller is the worker.
 */
#ifndef BENCH_RECORDER_RIG_H
#define BENCH_RECORDER_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/crypto.h"
#include "loop/loop.h"
#include "record/recorder.h"
#include "record/tlog.h"

enum { RIG_SLOTS = 128 };

struct rig {
	struct recorder *r;
	struct vfs *vfs;
	struct loop *loop;
	struct watch event;
	int worker_event;
	pthread_t thread;
	_Atomic bool stop, serves, wants_drain;
	_Atomic uint64_t cpu; /* ns of the recorder's main thread, as of its last turn */
	_Atomic uint32_t opened;
	int mail[2];
	int ring_fd, commit_fd, commit_ro_fd;
	struct ring ring;
	uint32_t generation;
	uint8_t sid[RIG_SLOTS][SID_SIZE]; /* of the sessions opened last */
	uint8_t key[ED25519_SEED_SIZE];
	char vkey[TLOG_VKEY_TEXT_MAX];
};

/* What the worker knows of a session. */
struct rig_client {
	uint64_t seq, said_at;
	bool waits;
};

/* Makes dir/record and serves from it; helpers as recorder_options has it. Aborts when it cannot. */
void rig_start(struct rig *b, const char *dir, size_t ring_size, unsigned helpers);
/* Closes what is open, signs the log, ends the thread. */
void rig_stop(struct rig *b);
/* New sessions in the slots from 0 on, of a new generation. */
void rig_open_sessions(struct rig *b, unsigned count);
/* One event into the ring; false when it is full. */
bool rig_put(struct rig *b, uint32_t slot, struct rig_client *c, uint8_t type, uint8_t flags,
             struct str bytes);
/* Shows the recorder what was put, and wakes it when it sleeps. */
void rig_publish(struct rig *b);
/* Until something became durable or room. */
void rig_wait_change(struct rig *b);
/* END for the sessions in the slots from 0 on. */
void rig_end_sessions(struct rig *b, struct rig_client *c, unsigned count);
void rig_remove_tree(const char *dir);

#endif
