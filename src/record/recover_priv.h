/*
 * recover_priv.h: what recovery knows while it runs (recover.c, recover_log.c, recover_session.c).
 */
#ifndef RECORD_RECOVER_PRIV_H
#define RECORD_RECOVER_PRIV_H

#include "record/recorder_priv.h"

/* A frame that stands in the journal. */
struct rv_frame {
	uint64_t frame_no, at;
	uint32_t seg, len, part;
	uint8_t leaf[SHA256_SIZE];
};

struct rv_session {
	uint8_t sid[SID_SIZE];
	struct rv_frame *frames;
	uint32_t count, cap;
	bool has_open_leaf, has_close_leaf;
	int64_t sealed; /* highest part with a seal leaf in the journal's reach, -1 none */
};

struct recovery {
	struct recorder *r;
	struct map *sessions; /* sid → rv_session */
	struct rv_session **list;
	size_t count, cap;
	struct buf leaves; /* entries from the journal, in order */
	uint64_t first_leaf, next_leaf;
	uint64_t next_batch, last_number;
	int *handle;         /* a plain handle per segment, for frames at any place */
	const char *altered; /* why the journal is not what was acknowledged; NULL */
};

struct rv_session *rv_session(struct recovery *v, const uint8_t sid[SID_SIZE]);

/* recover_log.c */
/* The log in memory, from tiles and the journal's leaves, checked against the keeper's last
 * signature. H_ETAMPERED: what was signed is nowhere. */
int recover_log(struct recovery *v) must_use;

/* recover_session.c */
/* Completes the session's files from the journal, and queues what the log lacks. An open one becomes
 * a session of the recorder again. */
int recover_session(struct recovery *v, struct rv_session *rs) must_use;

#endif
