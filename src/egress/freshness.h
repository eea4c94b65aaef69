/*
 * freshness.h: for how long the headers of an answer say that it may be kept (RFC 9111, as a private
 * cache). Pure.
 */
#ifndef EGRESS_FRESHNESS_H
#define EGRESS_FRESHNESS_H

#include "base/err.h"
#include "base/str.h"

struct freshness {
	bool must_not_keep; /* no-store, no-cache, or a lifetime that cannot be read */
	bool has_max_age, has_expires, has_date;
	uint32_t max_age, age; /* s */
	int64_t expires, date; /* Unix s */
};

/* One header line, without its line end; others than Cache-Control, Expires, Date and Age are passed over. */
void freshness_line(struct freshness *f, struct str line);
/* Seconds that are left, 0 when nothing was said or the answer must not be kept. now: Unix s, used
 * where the answer has no Date. */
uint32_t freshness_left(const struct freshness *f, int64_t now);
/* "Sun, 06 Nov 1994 08:49:37 GMT" to Unix s; H_EFORMAT else. */
int http_date_parse(struct str s, int64_t *ret) must_use;

#endif
