/*
 * recorder_priv.h: what the files of the recorder share.
 *
 *   recorder.c           the turn: drain, cut, batch, commit, publish
 *   recorder_batch.c     batches and bulk jobs
 *   recorder_session.c   sessions: open, events, failure, close
 *   recorder_keeper.c    messages of the keeper; acts
 *   parts.c              session files
 *   heads.c              node log: leaves, heads, tiles, checkpoints; the flush before reuse
 *   recover.c, recover_session.c, recover_log.c   after a crash
 *
 * A frame passes through: builder → cut (number, part) → encoded in the batch, or by a helper →
 * batch written → applied (tree, part buffer, durable). What is not applied does not exist: after a
 * failure the counters of the cut go back to those of the tree.
 */
#ifndef RECORD_RECORDER_PRIV_H
#define RECORD_RECORDER_PRIV_H

#include "base/log.h"
#include "base/mem.h"
#include "record/frame.h"
#include "record/journal.h"
#include "record/pool.h"
#include "record/recorder.h"
#include "record/tlog.h"

enum {
	REC_RINGS_MAX = 64,
	REC_JOBS = 64,
	REC_BATCH_ITEMS = 4096,
	REC_SMALL_MAX = 4096,  /* raw bytes: encoded by the main thread */
	REC_CUT_SIZE = 65536,  /* raw bytes at which a frame is cut */
	REC_OUT_FLUSH = 65536, /* bytes at which a part buffer is written */
	REC_HELPERS_MAX = 8,
	REC_SESSIONS_MAX = 1 << 20
};
#define REC_JOB_OUT ((size_t)(72 * 1024))
#define REC_TAP_RETRY (20 * NS_PER_MS)
#define REC_BATCH_MAX ((size_t)1 << 20)
#define REC_BULK_PER_BATCH ((size_t)256 * 1024)
#define REC_DRAIN_MAX ((size_t)2 << 20)
#define REC_AGE (40 * NS_PER_MS) /* with what a worker may keep to itself (thread.c), 50 ms */
#define REC_AGE_BOTH (5 * NS_PER_MS)
#define REC_BEAT NS_PER_S
#define REC_OUT_AGE NS_PER_S /* after which a part buffer is written */
#define REC_OUT_PER_TURN 4
#define REC_RUNS_MAX ((size_t)1 << 16)
#define REC_SYNC_FILES_MAX 4096 /* more are synced all at once */
#define REC_SYNC_DIRS_MAX 256
#define REC_PART_MAX ((uint64_t)64 << 20)
#define REC_PART_AGE (15 * 60 * NS_PER_S)
#define REC_LOG_FRAME_MAX ((size_t)96 * 1024)
#define REC_QUOTA_GRACE ((uint64_t)1 << 20)
#define REC_OUT_BUDGET ((size_t)64 << 20)

enum rec_phase {
	RP_STARTING, /* waits for the keeper's last signature */
	RP_SERVING,
	RP_NOSPACE, /* only what ends sessions is written, in the reserve */
	RP_BROKEN,  /* the journal cannot be written: tried again each second */
	RP_ALTERED  /* what the keeper signed is not there: never serves */
};

enum session_state {
	SS_OPENING, /* frame 0 is under way */
	SS_OPEN,
	SS_LOST,    /* events were lost: gap and close frame are due */
	SS_CLOSING, /* close frame is due or under way */
	SS_CLOSED,  /* close frame durable; leaf and part under way */
	SS_ZOMBIE   /* closed by us, its worker still holds the slot */
};

enum durable_mode { DURABLE_BEFORE_FORWARD, DURABLE_BOTH_WAYS, DURABLE_ASYNC };

struct rec_ring {
	struct ring ring;
	uint16_t id;
	bool is_dead, is_bad;
	bool is_drained; /* nothing was left after the last drain */
	uint32_t session_count;
	struct rec_session **slot;
};

struct rec_job;

/* Bytes of a part buffer that belong together: to which part, and where in its file. */
struct part_span {
	uint32_t part;
	size_t len;
	uint64_t at;
};
enum { REC_SPANS = 8 };

struct rec_session {
	struct list all;   /* of the recorder */
	struct list queue; /* urgent, soon or later: has a builder to cut */
	struct list grew;  /* since the last head */
	struct list step;  /* has a gap or close frame to write */
	struct list ready; /* its first job may be done */
	struct list out_link;
	uint64_t out_since; /* when the oldest byte of out came */
	struct list jobs;   /* bulk frames in order */
	uint8_t sid[SID_SIZE];
	struct rec_ring *ring; /* NULL: none (acts, recovered without a ring) */
	uint32_t slot, generation;
	uint16_t ring_id;
	uint8_t durable;
	bool is_acts, is_recovered, open_leaf_queued, expects_gap;
	enum session_state state;
	/* cut */
	struct frame_builder b;
	uint64_t b_first_seq, b_due;
	uint64_t cut_frames, cut_seq; /* next frame number, next seq expected */
	uint32_t cut_part, cut_part_frames;
	uint64_t cut_part_bytes;
	uint32_t inflight; /* frames in jobs and in the batch */
	/* durable */
	struct tree tree;
	uint64_t durable_seq;
	uint64_t events, commands, frames_bytes, quota;
	uint64_t streams[4];
	/* the part on disk */
	uint32_t part;
	uint64_t part_first, part_len, part_started; /* part_len: bytes in the file */
	uint64_t part_wall, part_mono;               /* of its last frame */
	struct buf index, out;                       /* out: not yet in the file */
	struct part_span span[REC_SPANS];            /* of out, in order */
	uint32_t span_count;
	bool part_has_frames;
	/* its end */
	bool has_gap, gap_pending, gap_lost_known, want_close, close_cut, is_freed_slot, saw_end;
	uint64_t lost_from, lost_count;
	int64_t end_code;
	char reason[TLOG_TOKEN_MAX + 1], gap_reason[TLOG_TOKEN_MAX + 1];
	uint64_t close_leaf; /* index in the log; it may be forgotten when that is durable */
	uint64_t open_id;    /* question of the keeper */
};

struct rec_job {
	struct pool_job job;
	struct list link; /* of the session, in order */
	struct rec_session *s;
	struct recorder *r;
	struct frame_head head;
	struct frame_builder b;
	uint8_t salt[FRAME_SALT_SIZE];
	uint8_t *out;
	int size;
	bool is_done;
	uint32_t events, commands;
	uint8_t leaf[SHA256_SIZE];
};

/* One frame in the batch; s == NULL: a log frame with n leaves. */
struct batch_item {
	struct rec_session *s;
	uint32_t at, len, events, commands, part;
	uint64_t first_seq, last_seq, wall, mono;
	uint8_t kind;
	uint16_t ack_type;
	uint64_t ack_id;
	uint8_t leaf[SHA256_SIZE];
};

/* Bytes of a part that were written and are perhaps not yet on the disk. */
struct part_run {
	uint8_t sid[SID_SIZE];
	uint32_t part;
	uint64_t at, n;
};

/* No padding: compared as bytes. */
struct part_file {
	uint8_t sid[SID_SIZE];
	uint32_t part;
};

/* A file of the log to be written or removed by a helper. */
struct store_op {
	struct list link;
	char path[VFS_PATH_MAX];
	struct buf bytes;
	bool is_removal, is_checkpoint;
};

struct store_job {
	struct pool_job job;
	struct recorder *r;
	struct list ops;
	struct buf written; /* struct part_run: what went into part files since the last job */
	/* The helper's: what changed since the last sync; needs_all: more than that, or unknown. */
	struct buf files, dirs; /* struct part_file, sorted; VFS_PATH_MAX bytes each */
	bool needs_all;
	bool is_running, with_sync;
	uint64_t flush_upto; /* segments that the sync frees */
	uint64_t log_size;   /* leaves in tiles when it is done */
	int rc, sync_rc;     /* the helper's while it runs */
	int write_rc;        /* the same: a write-out since the last sync failed */
	int last_rc;         /* of the round before, for the main thread */
};

struct recorder {
	struct recorder_options o;
	struct vfs *vfs;
	enum rec_phase phase;
	enum store_state store_state;
	struct journal j;
	struct pool *pool, *store_pool; /* bulk frames; files and their sync, which may take long */
	/* [0]: main thread when there are no helpers */
	struct frame_codec *codec[REC_HELPERS_MAX + 1];
	struct frame_codec *main_codec;
	struct rec_ring *rings[REC_RINGS_MAX];
	unsigned ring_count;
	struct map *by_sid;
	struct list all, urgent, soon, later, grew, step, ready, outs;
	size_t out_bytes;
	uint64_t full_at;   /* when the last segment became full */
	bool has_full;      /* it waits for its sync to begin */
	bool is_flush_due;  /* nobody can wait until the parts are written by and by */
	struct buf written; /* struct part_run, for the next job */
	bool written_over;  /* there were more */
	uint64_t sweep_due; /* not before: a part could not be written */
	uint64_t grow_due;  /* the next step of a growing segment */
	struct rec_session *acts;
	/* batch */
	uint8_t *batch;
	size_t batch_len, batch_max, batch_bulk; /* payload */
	struct batch_item items[REC_BATCH_ITEMS];
	uint32_t item_count;
	uint8_t *payload; /* one event of a ring */
	uint64_t now;
	struct rec_job jobs[REC_JOBS];
	struct list free_jobs;
	struct buf json, scratch;
	uint8_t random[1024];
	size_t random_left;
	/* node log */
	struct tlog_writer *log;
	struct buf leaves;     /* entries not yet durable */
	uint32_t leaves_cut;   /* bytes of them in the batch */
	uint64_t leaf_next;    /* index of the next leaf to be queued */
	uint64_t leaf_durable; /* = tlog_size() */
	struct list ops;       /* store ops that wait */
	struct store_job store;
	uint64_t beat_due, retry_due, head_beat;
	uint8_t node[TLOG_NODE_SIZE];
	char origin[TLOG_ORIGIN_MAX + 1], vkey[TLOG_VKEY_TEXT_MAX];
	uint64_t signed_size, sign_asked, sign_shown; /* sign_shown: size in tiles */
	uint8_t signed_root[SHA256_SIZE], sign_root[SHA256_SIZE];
	bool sign_running, keeper_is_up;
	bool sign_is_unknown; /* the keeper is asked what it signed last; nothing is sent to be signed */
	struct list taps;
	uint32_t tap_count;
	bool taps_wait; /* some reader has not taken all */
	uint64_t last_asked,
		last_settled; /* questions asked; all up to this one are answered or void */
	/* end */
	bool is_draining, stop_leaf_queued, is_drained;
	uint64_t drain_until, drain_give_up;
	uint64_t last_alarm;
	bool has_recovered; /* sessions of rings that live on: they end after the first drain */
	bool parts_broken;  /* some part misses frames: no segment may be used again */
	struct recorder_stats stats;
};

/* recorder.c */
static inline uint64_t rec_wall(struct recorder *r) {
	return r->o.hooks.wall(r->o.hooks.arg);
}
void rec_salt(struct recorder *r, uint8_t salt[FRAME_SALT_SIZE]);
void rec_set_store_state(struct recorder *r, enum store_state state, const char *why);
/* Logged at most once a second. */
void rec_alarm(struct recorder *r, const char *event, const char *what, int code);
void rec_tell(struct recorder *r, uint16_t type, uint64_t id, int code);
struct rec_ring *rec_ring(struct recorder *r, uint16_t id);
/* Takes what is in the ring; false when some of it has to wait for the next turn. */
bool rec_drain_ring(struct recorder *r, struct rec_ring *g);

/* recorder_batch.c */
/* Cuts what the builder holds. The batch is committed on the way when it is full, so any session
 * may have been lost when it returns. */
void batch_cut(struct recorder *r, struct rec_session *s);
/* A frame with JSON for a session without jobs and builder; ack (or NULL) says whom to answer. */
/* Room for frames of so many bytes; commits when there is none, which may fail and end sessions. */
void batch_room(struct recorder *r, size_t need);
void batch_json(struct recorder *r, struct rec_session *s, uint8_t kind, struct str json,
                const struct batch_item *ack);
void batch_job_init(struct recorder *r, struct rec_job *j);
void batch_take_bulk(struct recorder *r);
void batch_leaves(struct recorder *r);
/* Writes, applies, answers; errors change the phase. */
void batch_commit(struct recorder *r);
void batch_collect(struct recorder *r);

/* recorder_session.c */
struct rec_session *rec_session_new(struct recorder *r, const uint8_t sid[SID_SIZE]);
void rec_session_free(struct recorder *r, struct rec_session *s);
void rec_session_bind(struct recorder *r, struct rec_session *s, struct rec_ring *ring,
                      uint32_t slot, uint32_t generation);
/* One event from its ring. */
void rec_session_event(struct recorder *r, struct rec_session *s, const struct ring_event *e,
                       const uint8_t *payload);
/* Forgets what is not durable; its slot says why; gap and close follow when they can be written. */
void rec_session_lose(struct recorder *r, struct rec_session *s, int code);
/* Closes when everything before is durable. */
void rec_session_close(struct recorder *r, struct rec_session *s, const char *reason, int64_t code);
void rec_session_gap(struct rec_session *s, const char *reason, bool is_known, uint64_t lost);
/* Gap and close frames that are due. */
void rec_session_step(struct recorder *r, struct rec_session *s);
/* A frame of it became durable. */
void rec_session_applied(struct recorder *r, struct rec_session *s, const struct batch_item *it);
void rec_session_reap(struct recorder *r);
void rec_session_cut_back(struct rec_session *s);
void rec_session_release_slot(struct recorder *r, struct rec_session *s);

/* recorder_keeper.c */
void acts_open(struct recorder *r);
/* Another acts session when the very first frame of this one could not be written. */
void acts_renew(struct recorder *r);
void acts_close(struct recorder *r);
void keeper_ack(struct recorder *r, const struct batch_item *it, int code);

/* parts.c */
void part_path(char out[VFS_PATH_MAX], const uint8_t sid[SID_SIZE], uint32_t part);
/* A durable frame joins the part's buffer; seals the part before when it begins a new one. */
void part_add(struct recorder *r, struct rec_session *s, const struct batch_item *it,
              struct str frame);
/* Index and trailer, seal leaf. */
void part_seal(struct recorder *r, struct rec_session *s);
/* Index and trailer frames of a part into out. Their clocks are those of the part's last frame, so that
 * whoever writes them again writes the same bytes. */
struct part_end {
	uint32_t part;
	uint64_t first_frame, next_seq, bytes, wall, mono; /* wall, mono: of the last frame */
	const struct tree *tree;
	struct str index;
};
void part_put_end(struct recorder *r, const uint8_t sid[SID_SIZE], const struct part_end *e,
                  struct buf *out);
int part_flush(struct recorder *r, struct rec_session *s);
int parts_flush_all(struct recorder *r);
/* The buffers that are old, or hold frames of a full segment, a few at each turn; true: more is due. */
bool parts_sweep(struct recorder *r);
/* Whether all frames of full segments are in files. */
bool parts_are_through(const struct recorder *r);
/* Begins new parts where the old one is 15 minutes old. */
void parts_age(struct recorder *r);
void part_begin(struct recorder *r, struct rec_session *s, uint32_t part);

/* heads.c */
int log_open(struct recorder *r);
void leaf_put(struct recorder *r, const struct tlog_leaf *l);
/* n bytes of entries became durable. */
void leaves_applied(struct recorder *r, struct str entries);
void heads_write(struct recorder *r);
/* Tiles, sync and reuse of segments, checkpoint: whatever is due. */
void store_step(struct recorder *r, bool want_tiles);
void store_done(struct recorder *r, struct store_job *j);
void store_run(struct store_job *j);
void sign_done(struct recorder *r, int code, struct str note);
void store_forget(struct recorder *r);
/* Replaces a small file with the next round of the helper. */
void store_put(struct recorder *r, const char *path, struct str bytes);

/* tap.c */
/* A frame that is durable, and applied to its session. */
void taps_offer(struct recorder *r, const struct rec_session *s, const struct batch_item *it,
                struct str frame);
/* What sockets take now; true when something waits. Drops readers that are gone or have all. */
bool taps_send(struct recorder *r);
void taps_free(struct recorder *r);

/* recover.c */
void recover(struct recorder *r);

#endif
