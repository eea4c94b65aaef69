/*
 * indexer.h: from the record to the index (catalog/index.h): one session at a time, in the order of
 * their ids, and what is needed to do that for years inside the recorder's process.
 *
 * The thread beside the recorder and `hansard reindex` run the same passes: reindex begins with an
 * empty index.
 */
#ifndef MAIN_INDEXER_H
#define MAIN_INDEXER_H

#include <stdatomic.h>

#include "catalog/index.h"
#include "record/reader.h"

struct indexer_options {
	const char *store;
	/* Looked at often; true ends a pass soon. May be NULL. */
	const atomic_bool *stop;
	/* After each session; may be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t of);
	void *arg;
	uint64_t size_max; /* bytes of index.db; 0: no limit */
	uint64_t room_min; /* bytes that are left free in the file system */
};

struct indexer_result {
	uint64_t added, behind, unreadable;
	bool is_full; /* size_max, or room_min: what was not added is looked up in the record */
};

/* Adds every ended session that is not there yet. since_ns: only of that day and later ones (0: all).
 * 0, H_EDRAIN when stopped, or a code of the index (H_EFORMAT, H_ENOSPACE, H_EIO…). */
int indexer_pass(struct index *x, const struct indexer_options *o, uint64_t since_ns,
                 struct indexer_result *ret) must_use;

/* Makes index.db anew from the record alone, aside, and puts it in place. The caller holds the lock.
 * Owner and group become those of the directory. */
int indexer_rebuild(const struct indexer_options *o, struct indexer_result *ret, struct err *e)
	must_use;

/* The thread of the recorder's process (record/recorder.h: struct recorder_beside). */
extern const struct recorder_beside indexer_beside;

/* <store>/index/rebuild: whoever makes this file asks a running recorder to begin anew. */
#define INDEXER_REBUILD_FILE "rebuild"

#endif
