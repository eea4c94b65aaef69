/*
 * verify.h: is the record in a store whole and unaltered? (docs/record-format.md §7 to §10)
 *
 * verify_store() reads everything once and says what it found by callbacks: a verdict per session, a
 * finding for each thing that is wrong (with file, frame and byte) and each that is odd, and a report
 * at the end. It works on a copy, on a stopped store and beside a running gateway.
 */
#ifndef RECORD_VERIFY_H
#define RECORD_VERIFY_H

#include "base/crypto.h"
#include "base/err.h"
#include "record/receipt.h"
#include "record/tlog.h"

/*      name       text (verdict of a session) */
#define VERIFY_STATES(X) \
	X(COMPLETE, "complete as received by this gateway") \
	X(GAP, "complete but for a recorded gap") \
	X(OPEN, "open") \
	X(TRUNCATED, "truncated") \
	X(ALTERED, "altered") \
	X(UNKNOWN, "not known to the log")
enum verify_state {
#define X(name, text) VERIFY_##name,
	VERIFY_STATES(X)
#undef X
		VERIFY_STATE_COUNT
};
const char *verify_state_text(enum verify_state state);

#define VERIFY_NO_FRAME UINT64_MAX
enum { VERIFY_FILE_MAX = 160, VERIFY_TEXT_MAX = 240 };

/* Where something is: file relative to <store>/record, empty when it is not in one file. */
struct verify_place {
	char file[VERIFY_FILE_MAX];
	uint64_t offset; /* of the frame, batch, entry or hash in that file */
	uint64_t frame;  /* or VERIFY_NO_FRAME */
};

struct verify_session {
	uint8_t sid[SID_SIZE];
	enum verify_state state;
	uint64_t frames;            /* good frames, from 0 on */
	uint64_t frames_signed;     /* of them under a signed leaf */
	bool is_closed;             /* its last frame is there */
	struct verify_place place;  /* TRUNCATED, ALTERED: of the first frame that is not right */
	char text[VERIFY_TEXT_MAX]; /* what is wrong, empty when nothing is */
};

enum verify_severity {
	VERIFY_NOTE,    /* odd, proves nothing: an unknown file, a torn tail */
	VERIFY_TAMPERED /* cannot come from an accident that the format allows for */
};

struct verify_finding {
	enum verify_severity severity;
	struct verify_place place;
	char text[VERIFY_TEXT_MAX];
};

enum verify_key {
	VERIFY_KEY_NONE,  /* no key, or no checkpoint that it could verify */
	VERIFY_KEY_FOUND, /* the one in the store: excludes accidents and no more */
	VERIFY_KEY_GIVEN  /* from outside: proves authorship */
};

enum verify_journal {
	VERIFY_JOURNAL_NONE,
	VERIFY_JOURNAL_WHOLE,
	VERIFY_JOURNAL_TORN,
	VERIFY_JOURNAL_ALTERED
};

enum verify_result {
	VERIFY_OK,
	VERIFY_UNVERIFIABLE, /* nothing wrong was found, but no signature covers it */
	VERIFY_BAD           /* at least one finding says tampered */
};

/*      name       text (verdict of a receipt) */
#define VERIFY_RECEIPTS(X) \
	X(NONE, "none was given") \
	X(PROVEN, "proven") \
	X(EARLY, "in the record, not signed yet") \
	X(ABSENT, "not in this record") \
	X(ALTERED, "altered")
enum verify_receipt {
#define X(name, text) VERIFY_RECEIPT_##name,
	VERIFY_RECEIPTS(X)
#undef X
};
const char *verify_receipt_text(enum verify_receipt state);

struct verify_report {
	enum verify_result result;
	enum verify_receipt receipt;
	uint64_t
		receipt_leaf; /* PROVEN, EARLY: the leaf of the log that covers its frame, or UINT64_MAX */
	enum verify_key key;
	enum verify_journal journal;
	char origin[TLOG_ORIGIN_MAX + 1];
	uint64_t leaves;          /* of the log, as found */
	uint64_t leaves_signed;   /* size of the newest checkpoint */
	uint64_t checkpoint_wall; /* of the last signed leaf; 0 when none */
	uint64_t sessions[VERIFY_STATE_COUNT];
	uint64_t findings, frames, bytes;
};

struct verify_options {
	const char *vkey; /* text, from outside; NULL: the one in node.json */
	/* A signed checkpoint kept outside (a witness's, an auditor's), or empty: the log must contain
	 * it. This is what finds a rollback of the whole store. */
	struct str checkpoint;
	/* Only this session (the log is checked all the same), or NULL. */
	const uint8_t *only_sid;
	/* What a client was given, or NULL: is it of this record? Its session must be among those that are
	 * looked at. ABSENT and ALTERED make the result VERIFY_BAD, EARLY at best VERIFY_UNVERIFIABLE. */
	const struct receipt *receipt;
	bool with_contents; /* also decompress bodies, and check events and command roots */
	void *arg;
	/* Each may be NULL. */
	void (*on_session)(void *arg, const struct verify_session *s);
	void (*on_finding)(void *arg, const struct verify_finding *f);
	void (*on_progress)(void *arg, uint64_t bytes_done, uint64_t bytes_total);
};

/* 0 with *ret filled (whatever the verdict), or a code when the store cannot be read at all
 * (H_ENOTFOUND, H_EIO), or H_EUSAGE when vkey or checkpoint given are malformed. */
int verify_store(const char *dir, const struct verify_options *o, struct verify_report *ret,
                 struct err *e) must_use;

/* The sentence about what the result proves, for people: static text. */
const char *verify_proof_text(const struct verify_report *r, bool has_outside_checkpoint);

#endif
