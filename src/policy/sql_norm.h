/*
 * sql_norm.h: one statement's text without its values, for lists, counts and the index.
 *
 *   SELECT *  FROM Orders WHERE id IN (1, 2, 3) AND name='x'   -- why
 *   select * from orders where id in (?) and name = ?
 *
 * Made by the lexer alone (sql_lex.h): no grammar, so it works on any text, a broken one included,
 * and never fails but for room. It decides nothing.
 */
#ifndef POLICY_SQL_NORM_H
#define POLICY_SQL_NORM_H

#include "base/buf.h"
#include "base/str.h"

/*
 * Appends the normal form of a text: literals and numbers become `?`, lists of those in brackets
 * one `?`, what stands between tokens one space or none; keywords and unquoted names come in lower
 * case (ASCII, as PostgreSQL folds them in a UTF-8 database), quoted names and `$1` as they are. A
 * text of several statements keeps its semicolons, but the last. 0, or H_ELIMIT when `out` has no
 * room: what fitted stays.
 */
int sql_norm(struct str text, struct buf *out) must_use;

/* A 64-bit fingerprint of a normal form (the first bytes of its SHA-256, little-endian). */
uint64_t sql_print(struct str normal);

enum { SQL_WORD_MAX = 64 }; /* longer words are told by their first 64 bytes */

/*
 * Tells every word of a text: names, keywords, numbers, and the words within literals, quoted names
 * and dollar-quoted bodies (comments are left out). A word is a run of letters, digits, `_` and
 * bytes from 0x80 on; ASCII letters come in lower case. `word` is borrowed for the call.
 */
void sql_words(struct str text, void (*fn)(void *arg, struct str word), void *arg);

#endif
