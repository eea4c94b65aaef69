/*
 * err.h: the one table of error codes.
 *
 * A fallible function returns 0 (or a count) on success and a negative H_E code on failure. A
 * parser of a stream is three-way: > 0 bytes used, 0 needs more, < 0 code. Where a person reads the
 * reason (configuration, documents, the CLI) a struct err carries the place and a sentence.
 *
 * Codes are for us; what a client of a protocol sees is chosen by that protocol's core.
 * New rows go last: the numbers appear in logs and in close frames (docs/record-format.md).
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/base.h"
#include "base/str.h"

/*      code        class     text */
#define H_ERRORS(X) \
	X(EIO, system, "input or output failed") \
	X(ENOMEM, system, "out of memory") \
	X(ELIMIT, peer, "a limit was exceeded") \
	X(EPROTO, peer, "protocol violation") \
	X(ETRUNC, peer, "unexpected end of data") \
	X(EFORMAT, peer, "malformed data") \
	X(EVERSION, peer, "unsupported version") \
	X(ETAMPERED, record, "record was altered") \
	X(EGAP, record, "record has a gap") \
	X(ETORN, record, "record ends in a torn tail") \
	X(ENOSPACE, system, "no space left in the store") \
	X(ERECORDER, system, "recorder is not available") \
	X(EKEEPER, system, "keeper is not available") \
	X(EREFUSED, policy, "not admitted") \
	X(EAUTH, policy, "authentication failed") \
	X(ECONNECT, upstream, "target cannot be reached") \
	X(ETLS, upstream, "TLS failed") \
	X(ELOGIN, upstream, "login at the target failed") \
	X(EUPSTREAM, upstream, "target broke the protocol") \
	X(ETIMEOUT, system, "timed out") \
	X(EQUOTA, policy, "quota exhausted") \
	X(EKILLED, policy, "ended by an administrator") \
	X(EEXPIRED, policy, "session_max reached") \
	X(EDRAIN, system, "gateway is shutting down") \
	X(ECLOSED, peer, "peer closed the connection") \
	X(ECONFIG, config, "configuration is wrong") \
	X(EUSAGE, config, "wrong usage") \
	X(ENOTFOUND, config, "not found") \
	X(EEXIST, config, "already exists") \
	X(EPERM, policy, "not permitted") \
	X(EBUSY, system, "busy") \
	X(EFEATURE, policy, "feature refused") \
	X(EENCODING, policy, "text encoding refused") \
	X(EBUG, bug, "internal error")

/* The formatter does not see that a row ends in a comma. */
/* clang-format off */
enum h_err {
	H_EOK_ = 0,
#define X(code, class, text) H_NEG_##code,
	H_ERRORS(X)
#undef X
	H_ERR_COUNT_
};

enum {
#define X(code, class, text) H_##code = -H_NEG_##code,
	H_ERRORS(X)
#undef X
};

/* clang-format on */

/* "EIO" for H_EIO; "OK" for 0 and more; "E?" for a number that is not in the table. Static text. */
const char *h_err_name(int code);
/* The sentence of the table, static text. */
const char *h_err_text(int code);
/* "peer", "policy", "upstream", "system", "record", "config" or "bug". Static text. */
const char *h_err_class(int code);

/* A failure that a person reads: where, and what to do. Filled by err_set(), first writer wins. */
struct err {
	int code;        /* 0 while nothing failed */
	char where[160]; /* "file:line" or empty */
	char text[480];  /* one sentence, no trailing newline, never a secret */
};

/* Fills e (may be NULL) unless it already holds a failure; returns code, so that callers can
 * `return err_set(e, H_ECONFIG, "…")`. */
int err_set(struct err *e, int code, const char *fmt, ...) printf_like(3, 4);
/* The same, with a place. */
int err_at(struct err *e, int code, const char *where, const char *fmt, ...) printf_like(4, 5);

#endif
