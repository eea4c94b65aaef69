/*
 * journal_format.h: segment and batch headers of the journal (docs/record-format.md §8), and the
 * scan of a segment image. Pure functions: files are the recorder's and the reader's business.
 */
#ifndef RECORD_JOURNAL_FORMAT_H
#define RECORD_JOURNAL_FORMAT_H

#include "base/crypto.h"
#include "base/err.h"
#include "base/str.h"

#define JOURNAL_BLOCK ((size_t)4096)
#define JOURNAL_BATCH_MAGIC 0x31425348u /* "HSB1" */
#define JOURNAL_SEGMENT_MIN ((uint64_t)64 * 1024)
#define JOURNAL_SEGMENT_MAX ((uint64_t)1 << 30)
enum { JOURNAL_ID_SIZE = 16, JOURNAL_BATCH_HEAD = 64, JOURNAL_SEGMENT_HEAD = 100 };

struct seg_head {
	uint64_t size;   /* of the segment, block 0 included; a multiple of JOURNAL_BLOCK */
	uint64_t number; /* grows by one from segment to segment in order of use */
	uint8_t node[JOURNAL_ID_SIZE];
	uint8_t salt[JOURNAL_ID_SIZE]; /* fresh per use: bytes of an earlier use never fit */
	uint64_t wall_ns;
	uint64_t first_batch; /* number of the first batch in it */
	uint64_t first_leaf;  /* leaves of the node log in all batches before it */
};

/* Fills a whole block 0. */
void seg_head_encode(uint8_t out[JOURNAL_BLOCK], const struct seg_head *h);
/* block: the first JOURNAL_BLOCK bytes. 1 used; 0 all zeros, never used; H_EFORMAT, H_EVERSION. */
int seg_head_parse(struct seg_head *h, struct str block) must_use;

struct batch_head {
	uint32_t payload_len;
	uint32_t frames;
	uint64_t number;
	uint64_t durable_upto;
	uint64_t mono_ns;
	uint8_t salt[JOURNAL_ID_SIZE];
};

/* Bytes that a batch of so much payload takes in the segment. */
static inline size_t batch_size(size_t payload_len) {
	return (JOURNAL_BATCH_HEAD + payload_len + JOURNAL_BLOCK - 1) & ~(JOURNAL_BLOCK - 1);
}
/* `block` holds JOURNAL_BATCH_HEAD free bytes, then h->payload_len bytes of frames, and has
 * batch_size() bytes in all: writes the header with its CRC before the frames and zeros behind them.
 * Returns batch_size(). */
size_t batch_finish(uint8_t *block, const struct batch_head *h);

struct batch {
	struct batch_head head;
	struct str payload; /* frames, back to back; borrowed */
	size_t offset;      /* of the batch header in the segment */
};

/* A scan of one segment image (the whole file, or as much of it as was read). */
struct seg_scan {
	struct str image;
	struct seg_head head;
	size_t at;     /* where the next batch must start */
	uint64_t next; /* its number */
};
/* As seg_head_parse(), and the scan stands before the first batch. */
int seg_scan_begin(struct seg_scan *s, struct str image) must_use;
/* 1 the next batch; 0 no valid batch stands where the next one should. */
int seg_scan_next(struct seg_scan *s, struct batch *ret);
/* After seg_scan_next() said 0: looks on every later block of the image for a batch of this use of
 * the segment with a number >= s->next. 1 and the first such batch, or 0. The scan does not move. */
int seg_scan_beyond(const struct seg_scan *s, struct batch *ret);
/* Why no valid batch is at s->at: static text ("end of segment", "zeros", "magic", "another use",
 * "length", "crc", "number", "padding"). For messages. */
const char *seg_scan_why(const struct seg_scan *s);

#endif
