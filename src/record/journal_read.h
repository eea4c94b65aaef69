/*
 * journal_read.h: an index of the frames that stand in the journal. Shared by reader and verifier;
 * stays inside this folder.
 */
#ifndef RECORD_JOURNAL_READ_H
#define RECORD_JOURNAL_READ_H

#include "base/buf.h"
#include "record/frame.h"
#include "record/journal_format.h"

struct journal_seg {
	char name[32]; /* below journal/ */
	struct seg_head head;
	uint64_t file_size;
};

struct journal_frame {
	uint8_t sid[SID_SIZE];
	uint64_t frame_no;
	uint32_t seg; /* index in segs */
	uint32_t offset, len;
	uint64_t batch;
};

struct journal_leaf {
	uint64_t index;
	uint32_t at, len; /* in leaf_text */
	uint32_t seg, offset;
};

struct journal_index {
	struct journal_seg *segs; /* used ones, by number */
	size_t seg_count;
	struct journal_frame *frames; /* session frames, by sid and frame_no */
	size_t frame_count, frame_cap;
	struct journal_leaf *leaves; /* in the order of the journal */
	size_t leaf_count, leaf_cap;
	struct buf leaf_text;
	uint64_t first_leaf, next_leaf; /* leaves from first_leaf to next_leaf - 1 stand in it */
	uint64_t batches, bytes;
	uint64_t batch; /* number of the one that was read last */
	/* Where the valid batches end. */
	uint32_t end_seg;
	uint64_t end_offset;
	bool is_torn; /* something that is no batch of this use stands there, e.g. half of one */
	const char *end_why;
	/* The first thing that no crash leaves behind (rules 2 and 3 of §8); empty when there is none. */
	char altered[160];
	char altered_name[32];
	uint64_t altered_offset;
};

/* Scans all segments; scans again when one was put to new use meanwhile. 0, H_EIO, H_EBUSY. */
int journal_index_make(struct journal_index *j, int root) must_use;
void journal_index_free(struct journal_index *j);
/* The frame, or NULL. */
const struct journal_frame *journal_index_find(const struct journal_index *j,
                                               const uint8_t sid[SID_SIZE], uint64_t frame_no);
/* The range of a session's frames: the first, and how many. */
const struct journal_frame *journal_index_session(const struct journal_index *j,
                                                  const uint8_t sid[SID_SIZE], size_t *ret_count);

/* Reads frames of the index; keeps one segment open. */
struct journal_fetch {
	int root;
	int fd;
	char name[32];
	uint8_t *buf;
	size_t cap;
};
void journal_fetch_init(struct journal_fetch *f, int root);
void journal_fetch_fini(struct journal_fetch *f);
/* 0 and the frame (borrowed until the next call); H_ENOTFOUND when the segment has been put to
 * another use since the scan; H_EIO. */
int journal_fetch(struct journal_fetch *f, const struct journal_index *j,
                  const struct journal_frame *at, struct frame *ret) must_use;

#endif
