/*
 * view_json.h: pieces of a session's meaning as JSON, the same in `show -o json` and `export`
 * (docs/export.md is the schema).
 */
#ifndef MAIN_VIEW_JSON_H
#define MAIN_VIEW_JSON_H

#include "base/json.h"
#include "proto/postgres/pg_view.h"

/* A member "text" where the bytes are UTF-8, else "base64". */
void view_json_bytes(struct jw *j, struct str s);
/* A string, null, or {"base64": …} for what is no text of a known type. scratch is cleared. */
void view_json_value(struct jw *j, struct buf *scratch, const struct pg_value *v, uint32_t type,
                     uint16_t format);
/* A member "parameters", where there are any. Of a value longer than max bytes only "value_head" and
 * "value_bytes" are said. */
void view_json_params(struct jw *j, struct buf *scratch, const struct view_command *c, size_t max);
/* An object of all fields of an error or notice. */
void view_json_fields(struct jw *j, struct pg_fields fields);
/* A member "claimed" with what the statement's comment says of itself (pg_comment.h), where it says anything. */
void view_json_claimed(struct jw *j, const struct view_command *c);

#endif
