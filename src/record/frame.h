/*
 * frame.h: the frame codec (docs/record-format.md §2 to §5).
 *
 * A frame is a fixed header of 164 bytes and a stored body. Writing: collect a raw body (events
 * with frame_builder, JSON with frame_put_json), fill a struct frame_head, frame_encode().
 * Reading: frame_parse() borrows from the input and checks everything that the CRC covers;
 * frame_check_body() compares the hash; frame_raw() yields the raw body, copied only when it was
 * compressed or encrypted; frame_walk yields its events without copying.
 */
#ifndef RECORD_FRAME_H
#define RECORD_FRAME_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"
#include "record/event.h"
#include "record/tree.h"

#define FRAME_MAGIC 0x184D2A51u
enum {
	FRAME_VERSION = 1,
	FRAME_HEAD_SIZE = 164,
	FRAME_HASHED_SIZE = 160, /* what the leaf covers */
	FRAME_AAD_SIZE = 128,    /* what AES-GCM authenticates besides the body */
	FRAME_SALT_SIZE = 16,
	FRAME_TAG_SIZE = 16,
	FRAME_KEY_SIZE = 32,
	FRAME_RAW_MAX = 1024 * 1024,
	FRAME_BODY_MAX = FRAME_RAW_MAX +
	                 16, /* a body is stored compressed only when that is shorter */
	FRAME_MAX = FRAME_HEAD_SIZE + FRAME_BODY_MAX,
	FRAME_COMPRESS_MIN = 1024, /* a raw body below this is stored as it is */
	FRAME_RING_NONE = 0xFFFF,
	FRAME_SUITE_NONE = 0,
	FRAME_SUITE_AES_256_GCM = 1
};

/*      code  name       in the session tree */
#define FRAME_KINDS(X) \
	X(1, OPEN, "open", true) \
	X(2, DATA, "data", true) \
	X(3, KEY, "key", true) \
	X(4, CLOSE, "close", true) \
	X(5, TOMBSTONE, "tombstone", true) \
	X(6, GAP, "gap", true) \
	X(7, INDEX, "index", false) \
	X(8, TRAILER, "trailer", false) \
	X(9, FACT, "fact", true) \
	X(10, LOG, "log", false) \
	X(11, ACT, "act", true)

enum frame_kind {
#define X(code, name, text, in_tree) FRAME_##name = (code),
	FRAME_KINDS(X)
#undef X
};

enum {
	FRAME_ENCRYPTED = 1,
	FRAME_COMPRESSED = 2,
	FRAME_INTENT = 4,
	FRAME_MASKED = 8,
	FRAME_RECOVERED = 16,
	FRAME_LAST = 32,
	FRAME_FLAGS = 63
};

/* The header decoded. frame_encode() fills body_len, raw_len, body_hash and the flags ENCRYPTED
 * and COMPRESSED itself. */
struct frame_head {
	uint8_t kind; /* enum frame_kind */
	uint8_t flags;
	uint16_t ring;
	uint32_t body_len, raw_len, n_events;
	uint8_t sid[SID_SIZE];
	uint64_t frame_no, first_seq, wall_ns, mono_ns;
	uint32_t slot, generation, part, key_epoch, suite;
	uint8_t command_root[SHA256_SIZE], body_hash[SHA256_SIZE];
};

/* A frame found in bytes; slices borrow. */
struct frame {
	struct frame_head head;
	struct str bytes; /* the whole frame */
	struct str body;  /* the stored body */
};

/* "data"; "?" for a number that is not in the table. Static text. */
const char *frame_kind_name(unsigned kind);
/* Does the kind count in the session tree? */
bool frame_in_tree(unsigned kind);
/* The sid of log frames: 16 × 0xFF. */
extern const uint8_t frame_log_sid[SID_SIZE];

/* Contexts and scratch memory that are reused from frame to frame; one per thread. */
struct frame_codec;
struct frame_codec *frame_codec_new(void) must_use;
void frame_codec_free(struct frame_codec **c);
/* The key for frames with suite 1, copied; NULL forgets it. */
void frame_codec_key(struct frame_codec *c, const uint8_t key[FRAME_KEY_SIZE]);

/* Encodes one frame to out (cap bytes; FRAME_HEAD_SIZE + raw.n + FRAME_TAG_SIZE always suffice).
 * raw is the whole raw body (salt included). Compresses when raw is at least FRAME_COMPRESS_MIN,
 * that makes it shorter and the kind is not index or trailer; encrypts when h->suite says so.
 * Returns the frame's size, or H_ELIMIT (raw too long, or cap too small). */
int frame_encode(struct frame_codec *c, struct frame_head *h, struct str raw, uint8_t *out,
                 size_t cap) must_use;
/* For a stored body that is there already: out holds FRAME_HEAD_SIZE free bytes and h->body_len bytes
 * of body, and h says truly how it is stored. Fills body_hash and writes the header. */
void frame_put_head(struct frame_head *h, uint8_t *out);
/* The leaf of an encoded frame (or of its first FRAME_HASHED_SIZE bytes). */
void frame_leaf(uint8_t out[SHA256_SIZE], const void *frame);

/* Finds the frame at the start of `in`: > 0 its size, 0 when `in` is shorter than the frame, < 0
 * H_EFORMAT (no frame, a field that cannot be, or the CRC) or H_EVERSION. The body's hash is not
 * checked here: frame_check_body(). */
int frame_parse(struct frame *f, struct str in) must_use;
/* 0, or H_ETAMPERED when the stored body does not have the hash that the header names. */
int frame_check_body(const struct frame *f) must_use;
/* The raw body, borrowed from the frame or from the codec (until its next use). H_EPERM without the
 * key, H_ETAMPERED when it does not decrypt, H_EFORMAT when it does not decompress to raw_len. */
int frame_raw(struct frame_codec *c, const struct frame *f, struct str *ret_raw) must_use;
/* What follows the salt; H_ETRUNC when the raw body is shorter than a salt. */
int frame_after_salt(struct str raw, struct str *ret) must_use;

/* A raw body for a kind with JSON: fresh salt, then the text. */
void frame_put_json(struct buf *raw, struct str json);

struct frame_span {
	uint32_t at, len;
};

/* Collects events into the raw body of one data frame. The first event's dt is known only when the
 * frame is cut, so room is kept before it. Memory is attached with the first event and given back
 * by frame_builder_reset() when `trim`. */
struct frame_builder {
	struct buf raw;
	uint32_t n_events, n_commands, commands_cap;
	/* command events in raw, after len; the first event's is set late */
	struct frame_span *commands;
	size_t first_payload; /* bytes of the first event's payload */
	uint64_t first_mono, last_mono;
	uint8_t first_type, first_flags;
	bool has_intent; /* some event holds bytes for the target */
};
void frame_builder_init(struct frame_builder *b);
void frame_builder_fini(struct frame_builder *b);
/* Appends an event; payload as record/event.h writes it. H_ELIMIT when FRAME_RAW_MAX would be
 * exceeded: cut the frame first. */
int frame_builder_add(struct frame_builder *b, uint8_t type, uint8_t flags, uint64_t mono_ns,
                      struct str payload) must_use;
/* Bytes of raw body so far (salt and first event's head counted at their longest). */
size_t frame_builder_size(const struct frame_builder *b);
/* Finishes the body for a frame cut at h->mono_ns: fills n_events, command_root and the intent flag
 * of h, and returns the raw body, borrowed until the next reset. salt: 16 bytes, fresh random in
 * production. At least one event must have been added. */
struct str frame_builder_finish(struct frame_builder *b, struct frame_head *h,
                                const uint8_t salt[FRAME_SALT_SIZE]);
void frame_builder_reset(struct frame_builder *b, bool trim);

/* Walks the events of a data frame. */
struct frame_walk {
	struct rd r;
	uint64_t seq, mono_ns;
	uint32_t left;
	uint32_t n_commands;
	struct str salt;
	struct str event; /* the current event's bytes after len */
};
int frame_walk_begin(struct frame_walk *w, const struct frame_head *h, struct str raw) must_use;
/* 1 an event (slices borrow from raw), 0 the end, < 0 H_EFORMAT / H_ETRUNC. After an event whose
 * payload does not parse (e->type and flags then say which) the walk can go on. */
int frame_walk_next(struct frame_walk *w, struct rec_event *e) must_use;
/* The leaf of command i: event is its bytes after len. */
void frame_command_leaf(uint8_t out[SHA256_SIZE], const uint8_t salt[FRAME_SALT_SIZE], uint32_t i,
                        struct str event);
/* 0 when the raw body of a data frame agrees with its header: event count, command root.
 * H_ETAMPERED when the root differs, H_EFORMAT or H_ETRUNC else. Payloads are not parsed: what a
 * worker wrote is recorded as it is. */
int frame_check_events(const struct frame_head *h, struct str raw) must_use;

/* Index and trailer (§7). */
struct frame_index_row {
	uint64_t offset, first_seq, wall_ns;
};
#define FRAME_INDEX_ROW_SIZE 24
#define FRAME_TRAILER_SIZE 72
/* A part is sealed before it holds more frames: its index must fit in one body. */
#define FRAME_PART_FRAMES_MAX 40000
void frame_put_index_row(struct buf *raw, const struct frame_index_row *row);
struct frame_trailer {
	uint64_t index_offset, first_frame, frames, bytes_before;
	uint8_t root[SHA256_SIZE];
};
void frame_put_trailer(struct buf *raw, const struct frame_trailer *t);
int frame_trailer_parse(struct frame_trailer *t, struct str raw) must_use;

#endif
