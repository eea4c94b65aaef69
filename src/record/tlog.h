/*
 * tlog.h: the node log (docs/record-format.md §9): leaves, tiles, entry bundles, checkpoints.
 *
 * Writers put compact JSON with members in a fixed order; the parser takes exactly that and nothing
 * else, so a leaf has one spelling. Texts in leaves are short tokens: printable ASCII without
 * quotation mark and backslash (writers replace other bytes by '?'); names of people never stand in
 * the log. The log writer is pure: it hands paths and bytes to a callback.
 */
#ifndef RECORD_TLOG_H
#define RECORD_TLOG_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"
#include "record/tree.h"

enum {
	TLOG_LEAF_MAX = 65535,
	TLOG_TOKEN_MAX = 128,
	TLOG_NODE_SIZE = 16,
	TLOG_TILE_WIDTH = 256,
	TLOG_LEVELS = 6, /* 256^6 leaves are more than TREE_SIZE_MAX */
	TLOG_PATH_MAX = 80,
	TLOG_ORIGIN_MAX = 200,
	TLOG_CHECKPOINT_MAX = 16 * 1024
};

/* --- leaves --- */

/*      name    text */
#define TLOG_LEAVES(X) \
	X(BOOT, "boot") \
	X(OPEN, "open") \
	X(HEAD, "head") X(SEAL, "seal") X(CLOSE, "close") X(GAP, "gap") X(STOP, "stop")
enum tlog_type {
#define X(name, text) TLOG_##name,
	TLOG_LEAVES(X)
#undef X
};

/* One leaf. Writers read what its type has; the parser sets that and zeroes the rest. */
struct tlog_leaf {
	enum tlog_type type;
	uint64_t wall;
	uint8_t sid[SID_SIZE];        /* open seal close gap */
	uint8_t hash[SHA256_SIZE];    /* open: leaf of frame 0; seal, close: root */
	uint8_t node[TLOG_NODE_SIZE]; /* boot */
	uint64_t batch;               /* head, stop */
	uint64_t part, first,
		frames;     /* seal: part, its first frame, its frames; close: all frames */
	uint64_t parts;     /* close */
	uint64_t after_seq; /* gap */
	bool gap;           /* close */
	struct str boot, version, reason;
	struct str grew; /* head, parsed: for tlog_grew_next(); written: tlog_head_add() */
};

/* Appends the JSON of any leaf but a head. */
void tlog_put_leaf(struct buf *b, const struct tlog_leaf *l);
/* A head: begin, add each session, end. Check buf->len against TLOG_LEAF_MAX - 200 before each add. */
void tlog_head_begin(struct buf *b, uint64_t wall, uint64_t batch);
void tlog_head_add(struct buf *b, const uint8_t sid[SID_SIZE], uint64_t frames,
                   const uint8_t root[SHA256_SIZE]);
void tlog_head_end(struct buf *b);
/* Strict; slices borrow. H_EFORMAT for anything that the writers would not have written. A head's
 * grew list is checked whole. */
int tlog_leaf_parse(struct tlog_leaf *l, struct str text) must_use;
struct tlog_grew {
	uint8_t sid[SID_SIZE];
	uint64_t frames;
	uint8_t root[SHA256_SIZE];
};
/* Takes the next element off l->grew: 1, 0 at the end, H_EFORMAT. */
int tlog_grew_next(struct str *grew, struct tlog_grew *out) must_use;

/* --- tiles and bundles --- */

/* "tile/0/x001/234.p/5" (width 1 to 256, 256 being the full tile), "tile/entries/000" for level
 * TLOG_ENTRIES. Paths are relative to <store>/record/log. */
#define TLOG_ENTRIES 255u
void tlog_tile_path(char out[TLOG_PATH_MAX], unsigned level, uint64_t n, unsigned width);
/* The reverse, strict. */
int tlog_tile_path_parse(struct str path, unsigned *level, uint64_t *n, unsigned *width) must_use;
/* Takes the next entry off a bundle (or a log frame's body after the salt): 1, 0 at the end,
 * H_ETRUNC. */
int tlog_entry_next(struct str *bundle, struct str *ret_entry) must_use;
/* Appends u16 length and bytes; an entry over TLOG_LEAF_MAX sets b->bad. */
void tlog_put_entry(struct buf *b, struct str entry);

/* --- checkpoints (C2SP signed note, checkpoint) --- */

struct tlog_vkey {
	char name[TLOG_ORIGIN_MAX + 1];
	uint8_t key_id[4];
	uint8_t pub[ED25519_PUB_SIZE];
};
#define TLOG_VKEY_TEXT_MAX (TLOG_ORIGIN_MAX + 1 + 8 + 1 + 44 + 1)
/* H_EFORMAT when origin is empty, too long, or has white space, '+' or control bytes. */
int tlog_vkey_init(struct tlog_vkey *k, struct str origin, const uint8_t pub[ED25519_PUB_SIZE])
	must_use;
/* "<name>+<key id hex>+<base64(0x01 ‖ pub)>"; the key id is checked. */
int tlog_vkey_parse(struct tlog_vkey *k, struct str text) must_use;
void tlog_vkey_print(char out[TLOG_VKEY_TEXT_MAX], const struct tlog_vkey *k);

struct tlog_checkpoint {
	struct str origin; /* parsed: borrowed */
	uint64_t size;
	uint8_t root[SHA256_SIZE];
};
/* The text that is signed: three lines. */
void tlog_checkpoint_text(struct buf *b, const struct tlog_checkpoint *c);
/* The whole signed note. */
void tlog_checkpoint_sign(struct buf *b, const struct tlog_checkpoint *c,
                          const uint8_t seed[ED25519_SEED_SIZE]);
/* Syntax only: canonical base64, no leading zeros, no extension lines, at least one signature
 * line. *ret_text is the signed text, *ret_lines the signature lines; both borrow. */
int tlog_checkpoint_parse(struct tlog_checkpoint *c, struct str note, struct str *ret_text,
                          struct str *ret_lines) must_use;
/* Parses and verifies: H_EFORMAT; H_ENOTFOUND when no line is of this key; H_ETAMPERED when its
 * signature does not hold. The origin must be the key's name. */
int tlog_checkpoint_open(struct tlog_checkpoint *c, struct str note, const struct tlog_vkey *k)
	must_use;

/* --- the log in memory --- */

/* Receives a file to write (replacing what is there), or to remove when bytes.p is NULL. A negative
 * code ends the call that led here. Full tiles and bundles come from tlog_append(), partial ones
 * from tlog_flush(). The path is relative to <store>/record/log. */
typedef int tlog_write_fn(void *arg, const char *path, struct str bytes);
/* Reads a file of the log into out (empty before): 0, H_ENOTFOUND, H_EIO. */
typedef int tlog_read_fn(void *arg, const char *path, struct buf *out);

struct tlog_writer;
/* fn may be NULL: then nothing is derived and proofs work only within the current tiles. */
struct tlog_writer *tlog_writer_new(tlog_write_fn *write, tlog_read_fn *read, void *arg) must_use;
void tlog_writer_free(struct tlog_writer **w);
/* Starts at `size` leaves from full tiles and the bundles (any partial bundle that is wide enough).
 * H_ENOTFOUND, H_EFORMAT. For an empty log no call is needed. */
int tlog_writer_load(struct tlog_writer *w, uint64_t size) must_use;
/* Adds one leaf (its JSON). Fails only when the write callback does; the leaf then is in the
 * tree all the same, and the next tlog_flush() tries again. */
int tlog_append(struct tlog_writer *w, struct str leaf) must_use;
/* Hands out the partial tiles and bundle that changed since the last flush, and removals of the
 * partials that they replace. */
int tlog_flush(struct tlog_writer *w) must_use;
uint64_t tlog_size(const struct tlog_writer *w);
/* Root at any size up to tlog_size(); older inner nodes are read through the read callback. */
int tlog_root(struct tlog_writer *w, uint64_t size, uint8_t out[SHA256_SIZE]) must_use;
int tlog_consistency(struct tlog_writer *w, uint64_t old, uint64_t size, struct tree_proof *out)
	must_use;
int tlog_inclusion(struct tlog_writer *w, uint64_t index, uint64_t size, struct tree_proof *out)
	must_use;

#endif
