/*
 * journal.h: the journal's writer: segments on disk and which of them may be used next
 * (docs/record-format.md §8). The recorder owns batches; recovery reads images through seg[].
 */
#ifndef RECORD_JOURNAL_H
#define RECORD_JOURNAL_H

#include "record/journal_format.h"
#include "record/vfs.h"

enum { JOURNAL_SEGS_MAX = 1024 };
/* Every batch must fit in a segment, and a batch holds at least one frame of any size. */
#define JOURNAL_SEGMENT_LEAST ((uint64_t)128 * 1024)

enum seg_state {
	SEG_GROWING, /* being filled with zeros */
	SEG_FREE,    /* zeros, or an old use whose frames are all in parts */
	SEG_ACTIVE,
	SEG_FULL, /* holds frames that may be nowhere else */
};

struct journal_seg {
	uint32_t name;
	int handle;
	enum seg_state state;
	bool is_used;     /* block 0 holds head */
	bool is_unfit;    /* block 0 is neither a head nor zeros */
	bool is_poisoned; /* a write failed: never written again */
	bool is_doomed; /* its block 0 may or may not have been written: must go before another is used */
	bool is_pinned; /* a sync of what it held failed: kept for the next recovery */
	uint64_t size, zeroed;
	struct seg_head head;
};

struct journal {
	struct vfs *vfs;
	uint64_t size;
	uint32_t count; /* how many to keep ready */
	uint8_t node[JOURNAL_ID_SIZE];
	struct journal_seg *seg[JOURNAL_SEGS_MAX];
	uint32_t seg_count, next_name;
	struct journal_seg *active; /* NULL: none, or it was poisoned */
	uint64_t at;                /* where the next batch goes */
	uint64_t next_batch, next_number;
	uint8_t *zeros;     /* aligned: block 0 and growing */
	bool names_changed; /* a file was removed, and that is not yet durable */
	bool no_growth;     /* the last attempt to grow failed: H_ENOSPACE */
};

void journal_init(struct journal *j, struct vfs *vfs, uint64_t size, uint32_t count);
void journal_fini(struct journal *j);
void journal_path(char out[VFS_PATH_MAX], uint32_t name);
/* Opens the segments that are there, sorted by number, unused ones last. A block 0 that does not fit
 * yields H_ETAMPERED with *ret_name. All used ones are SEG_FULL: recovery decides. */
int journal_open(struct journal *j, uint32_t *ret_name) must_use;
/* After H_ETAMPERED of journal_open(): goes on without the files that do not fit. */
int journal_drop_unfit(struct journal *j) must_use;
/* Used segments were renamed: they are not ours any more. */
void journal_forget_used(struct journal *j);
/* Reads the segment into image (seg->size bytes). */
int journal_read(struct journal *j, const struct journal_seg *seg, uint8_t *image) must_use;
/* Largest payload of a batch. */
size_t journal_batch_max(const struct journal *j);
/* Room for a batch of so much payload in the active segment? */
bool journal_fits(const struct journal *j, size_t payload);
/* Puts the next segment to use. With is_last_resort the reserved last free one may be taken.
 * H_ENOSPACE: none is free and none can be made; H_EIO and others: a write failed. */
int journal_advance(struct journal *j, uint64_t first_leaf, uint64_t wall, bool is_last_resort)
	must_use;
/* Is there a free segment besides the reserve? Grows to get one. */
bool journal_has_spare(struct journal *j);
/* Writes the batch whose payload lies at block + JOURNAL_BATCH_HEAD; block is aligned and has room up
 * to batch_size(). 0: durable. An error poisons the segment, and there is no active one any more. */
int journal_write(struct journal *j, uint8_t *block, uint32_t payload, uint32_t frames,
                  uint64_t mono) must_use;
/* True when full segments wait for a flush. *ret: the highest number among them. */
bool journal_wants_flush(const struct journal *j, uint64_t *ret);
/* All frames of segments up to that number are in parts, durably: they may be used again. */
void journal_flushed(struct journal *j, uint64_t number);
/* The sync failed: what those segments hold must not be overwritten by this process. */
void journal_pin(struct journal *j, uint64_t number);
/* A step of at most 256 KiB towards the next ready segment: true when there was something to do. */
bool journal_grow_step(struct journal *j);
/* Whether that cannot wait: half of the active segment is used and no other is ready beside the
 * reserve. */
bool journal_grow_is_urgent(const struct journal *j);

#endif
