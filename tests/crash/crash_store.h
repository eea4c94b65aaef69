/*
 * crash_store.h: the store of a made-up file system on a real one: kept for other tools, or verified.
 */
#ifndef CRASH_STORE_H
#define CRASH_STORE_H

#include "record/verify.h"
#include "record/vfs_fault.h"

enum { CRASH_SEEN_MAX = 2048 };

/* What the verifier said of each session when it was asked last. */
struct crash_seen {
	struct {
		uint8_t sid[SID_SIZE];
		uint64_t frames, frames_signed;
		bool is_done;
	} said[CRASH_SEEN_MAX];
	size_t count;
	char wrong[2 * VERIFY_TEXT_MAX];
};

/* verify_store() on what lies there. NULL, or the first thing that is wrong: something is called
 * altered, or a session that was complete is not any more, or lacks what stood under a signature. */
const char *crash_verify(struct crash_seen *seen, struct vfs *vfs, const char *vkey);

/* Changes one bit of every `step`th byte that was written (session files, log, valid batches and heads
 * of the journal), one at a time: NULL when the verifier finds and places each, or the first that it
 * does not. *count: how many. */
const char *crash_flip(struct crash_seen *seen, struct vfs *vfs, const char *vkey, uint64_t step,
                       uint64_t *count);

/* With CRASH_DUMP=DIR in the environment: writes the store to DIR/<seed>-<when>/record. */
void crash_dump(struct vfs *vfs, uint64_t seed, const char *when);

#endif
