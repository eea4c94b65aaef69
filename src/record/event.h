/*
 * event.h: the table of record events (docs/record-format.md §4), and their payloads.
 *
 * What a worker appends to its ring and what stands in a data frame is the same payload, so that the
 * recorder copies bytes and understands only type and flags. New rows go last: saved records depend
 * on the numbers.
 */
#ifndef RECORD_EVENT_H
#define RECORD_EVENT_H

#include "base/buf.h"
#include "base/rd.h"

/*      code  name       text */
#define RECORD_EVENTS(X) \
	X(1, RAW, "raw", "said by one side and passed on unchanged") \
	X(2, DROPPED, "dropped", "said by one side and not passed on") \
	X(3, REDACTED, "redacted", "place and length of bytes that are not kept") \
	X(4, INJECTED, "injected", "sent by the gateway itself") \
	X(5, FORWARDED, "forwarded", "bytes of a stream handed to the socket so far") \
	X(6, COMMAND, "command", "one decoded command") \
	X(7, FACT, "fact", "a decoded fact: name and value") \
	X(8, END, "end", "the worker's last event of a session") \
	X(9, HIDDEN, "hidden", "passed on unchanged; place, length and keyed hash are kept") \
	X(10, DIGEST, "digest", \
	  "result rows passed on; place, length, count and keyed hash are kept") \
	X(11, WITHHELD, "withheld", "result rows passed on; place, length and count are kept")

enum rec_type {
#define X(code, name, text, help) REC_##name = (code),
	RECORD_EVENTS(X)
#undef X
};

/* enum stream of session/proto.h has the same numbers: C 0, U 1, T 2, R 3 (bits 0–1 of flags). */
enum { REC_STREAM_MASK = 3 };
/* Of HIDDEN: HMAC-SHA-256 of the bytes under the store's key for that, cut; bytes in one event. */
enum { REC_MAC_SIZE = 16, REC_HIDDEN_MAX = 65536 };
/* Of DIGEST: HMAC-SHA-256 of the bytes under a key of the session, whole. */
enum { REC_DIGEST_SIZE = 32 };

/* Static text, "?" for a type that is not in the table. */
const char *rec_type_name(unsigned type);

/* A payload decoded; slices borrow. Fields that a type does not have are zero. */
struct rec_command {
	uint8_t kind, status;
	struct str verb;
	char sqlstate[6]; /* "" when none */
	uint8_t text_sha256[32];
	uint64_t c_off, c_len, text_off, text_len, t_off, t_len, rows, row_bytes;
	int64_t received_dt, done_dt; /* ns relative to the event's time */
};

struct rec_event {
	uint8_t type, flags;
	uint64_t seq, mono_ns; /* set by the frame reader */
	uint8_t why;
	uint64_t offset,
		length; /* RAW… : length of bytes; REDACTED, HIDDEN, …: of what is missing */
	uint8_t mac[REC_MAC_SIZE];       /* HIDDEN */
	uint64_t rows;                   /* DIGEST, WITHHELD: messages that begin in it */
	uint8_t digest[REC_DIGEST_SIZE]; /* DIGEST */
	struct str bytes;    /* RAW, DROPPED, INJECTED: bytes; FACT: value; END: reason */
	struct str name;     /* FACT */
	int64_t code;        /* END */
	uint64_t streams[4]; /* END */
	struct rec_command command;
};

/* Writers append the payload of one event. */
void rec_put_raw(struct buf *b, uint64_t offset, struct str bytes);
void rec_put_why(struct buf *b, uint8_t why, uint64_t offset,
                 struct str bytes); /* DROPPED, INJECTED */
void rec_put_redacted(struct buf *b, uint8_t why, uint64_t offset, uint64_t length);
void rec_put_hidden(struct buf *b, const struct rec_event *e);   /* why, offset, length, mac */
void rec_put_digest(struct buf *b, const struct rec_event *e);   /* offset, length, rows, digest */
void rec_put_withheld(struct buf *b, const struct rec_event *e); /* offset, length, rows */
void rec_put_forwarded(struct buf *b, uint64_t offset);
void rec_put_command(struct buf *b, const struct rec_command *c);
void rec_put_fact(struct buf *b, struct str name, struct str value);
void rec_put_end(struct buf *b, int64_t code, struct str reason, const uint64_t streams[4]);

/* Decodes the payload of an event of the given type and flags: 0 or H_EFORMAT / H_ETRUNC. */
int rec_event_parse(struct rec_event *e, uint8_t type, uint8_t flags, struct str payload) must_use;

#endif
