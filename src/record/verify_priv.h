/* verify_priv.h: what the files of the verifier share; see verify.c for the whole. */
#ifndef RECORD_VERIFY_PRIV_H
#define RECORD_VERIFY_PRIV_H

#include "base/mem.h"
#include "record/journal_read.h"
#include "record/readfs.h"
#include "record/tree.h"
#include "record/verify.h"

/* Leaf i of the log, wherever it was found. */
struct leaf_ref {
	uint64_t at; /* in leaf_text */
	uint32_t len;
	bool is_there;
	uint32_t bundle; /* 1 + index in tiles of the bundle that it came from; 0: the journal */
	uint32_t offset; /* in that file */
};

/* What a leaf says about a session's tree. */
struct claim {
	uint64_t frames, leaf;
	uint8_t root[SHA256_SIZE];
	enum tlog_type type;
	uint32_t part; /* seal */
};

/* A session, from the log, the files and the journal. */
struct vsession {
	uint8_t sid[SID_SIZE];
	bool in_log, has_close, close_gap;
	uint64_t open_leaf, close_parts, close_leaf, open_wall, close_wall;
	uint8_t open_hash[SHA256_SIZE];
	struct claim *claims; /* in the order of the log */
	size_t claim_count, claim_cap;
	uint32_t part_files; /* 1 + the highest part number */
	bool has_files;
};

struct tile_file {
	char *path; /* below log/ */
	unsigned level, width;
	uint64_t n;
};

struct verifier {
	const struct verify_options *o;
	struct verify_report *report;
	int root;
	struct journal_index journal;
	struct journal_fetch fetch;
	struct frame_codec *codec;
	struct frame_file file;
	/* log */
	struct tlog_vkey vkey;
	bool has_vkey;
	uint8_t node[TLOG_NODE_SIZE];
	bool has_node;
	struct tile_file *tiles;
	size_t tile_count, tile_cap;
	struct buf leaf_text;
	struct leaf_ref *leaves;
	uint64_t leaf_cap, leaf_count; /* count: from 0 without a hole */
	uint8_t *hashes;               /* of leaf_count leaves */
	struct tlog_checkpoint checkpoint, outside;
	bool has_checkpoint, has_outside;
	uint64_t signed_batch; /* the highest that a signed leaf calls durable; 0 none */
	uint64_t root_good;    /* the first so many leaves are under a root that fits */
	/* sessions */
	struct map *by_sid;
	struct vsession **sessions;
	size_t session_count, session_cap;
	uint64_t bytes_total;
};

printf_like(4, 5) void verify_finding(struct verifier *v, enum verify_severity severity,
                                      const struct verify_place *place, const char *fmt, ...);
struct verify_place verify_at(const char *file, uint64_t offset);
/* Has the journal gone on since it was scanned? Then a gateway is at work. */
bool verify_is_live(struct verifier *v);
void verify_progress(struct verifier *v, uint64_t bytes);
struct vsession *verify_session_of(struct verifier *v, const uint8_t sid[SID_SIZE]);

/* verify_log.c: gathers leaves, checks tiles and checkpoint, reads the leaves. */
int verify_log(struct verifier *v) must_use;
/* verify_session.c */
int verify_one(struct verifier *v, struct vsession *s) must_use;

#endif
