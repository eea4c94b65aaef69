/*
 * view_text.h: pieces of a session's meaning as text for people, the same in `show`, `play` and `tail`.
 * Everything recorded passes text_safe() and stands behind a margin of two spaces.
 */
#ifndef MAIN_VIEW_TEXT_H
#define MAIN_VIEW_TEXT_H

#include "base/buf.h"
#include "proto/postgres/pg_view.h"

/* A line for each parameter: $1 int4 = "3". Of a value longer than max bytes the first are shown, and how
 * long it was. scratch is cleared. */
void view_text_params(struct buf *out, struct buf *scratch, const struct view_command *c,
                      size_t max);
/* "! ERROR 22012: division by zero" and a line for each further field. */
void view_text_fields(struct buf *out, struct pg_fields fields);
/* "claimed: action=show traceparent=00-…", where the statement's comment says so (pg_comment.h). */
void view_text_claimed(struct buf *out, const struct view_command *c);

#endif
