/*
 * json.h: writing JSON into a buf (RFC 8259). Commas are placed by the writer. Bytes that are not
 * UTF-8 are written as U+FFFD; use jw_bytes() where the exact bytes matter. Reading small control
 * documents is jansson's work.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

struct jw {
	struct buf *b;
	uint64_t comma; /* bit per depth: a comma is due */
	unsigned depth; /* at most 60 */
	bool after_key;
};

struct jw jw_of(struct buf *b);
void jw_obj(struct jw *j);
void jw_obj_end(struct jw *j);
void jw_arr(struct jw *j);
void jw_arr_end(struct jw *j);
void jw_key(struct jw *j, const char *key);
void jw_key_str(struct jw *j, struct str key);
void jw_str(struct jw *j, struct str s);
void jw_u64(struct jw *j, uint64_t v);
void jw_i64(struct jw *j, int64_t v);
void jw_bool(struct jw *j, bool v);
void jw_null(struct jw *j);
/* {"text": "…"} when s is clean UTF-8, {"base64": "…"} else. */
void jw_bytes(struct jw *j, struct str s);
/* Raw JSON text that is already valid. */
void jw_raw(struct jw *j, struct str s);

/* key and value in one call */
void jw_kv_str(struct jw *j, const char *key, struct str s);
void jw_kv_z(struct jw *j, const char *key, const char *z);
void jw_kv_u64(struct jw *j, const char *key, uint64_t v);
void jw_kv_i64(struct jw *j, const char *key, int64_t v);
void jw_kv_bool(struct jw *j, const char *key, bool v);

#endif
