/*
 * pg_comment.h: what a statement claims about itself in a comment (sqlcommenter).
 *
 *   select 1 /[*]action='show',traceparent='00-…-01'[*]/        (without the brackets)
 *
 * Frameworks put such a comment before or behind the statement: keys and values are URL-encoded, values stand
 * in single quotes, pairs are parted by commas. It is the client's word and is shown as claimed.
 */
#ifndef PROTO_POSTGRES_PG_COMMENT_H
#define PROTO_POSTGRES_PG_COMMENT_H

#include "base/buf.h"
#include "base/str.h"

enum { PG_COMMENT_MAX = 8 * 1024, PG_COMMENT_PAIRS_MAX = 64 };

/* Key and value are decoded and borrowed for the call. A value other than 0 ends the walk and is returned. */
typedef int pg_comment_fn(void *arg, struct str key, struct str value);

/* Calls fn for each pair of the comment behind the statement, else of the one before it. A comment that is not
 * such pairs from beginning to end, or is longer than PG_COMMENT_MAX, is none. */
int pg_comment_each(struct str text, pg_comment_fn *fn, void *arg);

#endif
