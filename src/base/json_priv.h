/* json_priv.h: JSON string escaping into a fixed buffer, shared by json.c and log.c. */
#ifndef BASE_JSON_PRIV_H
#define BASE_JSON_PRIV_H

#include "base/str.h"

/* The most that one code point (or bad byte) of input can become. */
#define JSON_ESCAPE_MAX 12

/* Escapes as much of s as fits in cap, never half a code point; returns the bytes written and sets
 * *used to the bytes of s that they stand for. No quotes, no NUL. */
size_t json_escape(char *dst, size_t cap, struct str s, size_t *used);

#endif
