/*
 * reader.h: reading a store, beside a running gateway or without one.
 *
 * A reader opens files read-only, follows no symbolic link below the store's directory, maps
 * nothing, and takes nothing whose CRC or hash does not fit. The journal is scanned once when the
 * reader is opened (and by reader_refresh()), before session files are looked at: a frame moves
 * from the journal to its part, never back, so nothing is missed while the gateway works.
 *
 * This is for showing the record. Whether it is all there is verify.h's question.
 */
#ifndef RECORD_READER_H
#define RECORD_READER_H

#include "base/crypto.h"
#include "base/err.h"
#include "record/frame.h"

struct reader;
struct reader_session;

/* dir: the store (the directory that holds record/). H_ENOTFOUND when there is no record in it. */
int reader_open(struct reader **ret, const char *dir, struct err *e) must_use;
/* As reader_open(), but without the journal: what stands in session files and nothing else. Costs nothing
 * before a session is read. A session that ends inside a frame is being written: it ends before it. */
int reader_open_parts(struct reader **ret, const char *dir, struct err *e) must_use;
void reader_close(struct reader **r);
/* Scans the journal again. Sessions that are open keep what they saw. */
int reader_refresh(struct reader *r, struct err *e) must_use;
/* From node.json; empty when there is none that can be read. Borrowed. */
struct str reader_origin(const struct reader *r);
struct str reader_vkey(const struct reader *r);

/* Calls fn for every session, oldest first (acts sessions too); a value other than 0 ends the walk
 * and is returned. */
typedef int reader_sid_fn(void *arg, const uint8_t sid[SID_SIZE]);
int reader_each(struct reader *r, reader_sid_fn *fn, void *arg) must_use;
/* Only sessions of the day (UTC) of that moment and of later ones. */
int reader_each_since(struct reader *r, uint64_t wall_ns, reader_sid_fn *fn, void *arg) must_use;
/* 1 when the session's last frame stands in a sealed part: nothing will be added to its files; 0 when it
 * does not, as far as its files tell; H_EIO. Reads the end of the last part only. */
int reader_is_ended(struct reader *r, const uint8_t sid[SID_SIZE]) must_use;
/* A full id, a short id ("k7m2-9xqe"), a prefix of at least 4 characters of either, or "@last" (the
 * newest session that is not an acts session). H_ENOTFOUND, or H_EEXIST when several fit. */
int reader_find(struct reader *r, struct str id, uint8_t ret_sid[SID_SIZE], struct err *e) must_use;

/* What a list shows. Texts are NUL-terminated copies. */
struct reader_summary {
	uint8_t sid[SID_SIZE];
	char short_id[SHORT_ID_SIZE];
	char *open_json;  /* NULL when frame 0 cannot be read */
	char *close_json; /* NULL while open (or ended with its gateway) */
	uint64_t opened_wall_ns, last_wall_ns;
	uint64_t frames; /* tree frames found */
	uint64_t bytes;  /* of part files */
	uint32_t parts;  /* part files */
	bool is_recovered;
};
/* Reads the first and the last frame only, when the last part is sealed. H_ENOTFOUND, H_EIO,
 * H_ETAMPERED. */
int reader_summarize(struct reader *r, const uint8_t sid[SID_SIZE], struct reader_summary *out,
                     struct err *e) must_use;
void reader_summary_fini(struct reader_summary *s);

/* One session, frame by frame. */
int reader_session_open(struct reader_session **ret, struct reader *r, const uint8_t sid[SID_SIZE],
                        struct err *e) must_use;
void reader_session_close(struct reader_session **x);
/* Back to frame 0. */
void reader_session_rewind(struct reader_session *x);
/* The next tree frame, with CRC and body hash checked, in frame_no order over parts and journal;
 * borrowed until the next call. 1; 0 at the end of what there is; H_ETAMPERED (err says file, frame
 * and byte) when a frame is missing or wrong, H_EIO. */
int reader_session_next(struct reader_session *x, struct frame *ret, struct err *e) must_use;

/* One step of a session as people see it. */
struct reader_item {
	uint8_t kind;           /* enum frame_kind */
	struct frame_head head; /* of the frame that it comes from */
	uint64_t wall_ns;       /* of the event, from the frame's two clocks; else of the frame */
	struct str json;        /* open, close, gap, fact, act: the text */
	struct rec_event event; /* data */
	bool is_bad; /* data: the payload does not decode; event has type, flags, seq, time */
};
/* The next item (slices are valid until the next call): 1, 0 at the end, H_ETAMPERED, H_EIO, H_EPERM
 * (encrypted frames), H_EFORMAT. Do not mix with reader_session_next(). */
int reader_session_item(struct reader_session *x, struct reader_item *ret, struct err *e) must_use;

/* The items of one frame that came from elsewhere (a tap). fn's values other than 0 end the walk and are
 * returned; else 0, or what reader_session_item() says of frames that do not decode. */
typedef int reader_item_fn(void *arg, const struct reader_item *it);
int reader_frame_items(struct frame_codec *c, const struct frame *f, reader_item_fn *fn, void *arg)
	must_use;

#endif
