/*
 * match.h: does a text hold what is looked for. Pure.
 *
 * A word is a run of ASCII letters, digits, `_` and bytes from 0x80 on; ASCII case does not count.
 * Everything between words (white space, punctuation, quotes) does not count either, so
 * `drop table orders` is found in `DROP TABLE "Orders";`. In statements comments are left out as the
 * lexer (policy/sql_lex.h) finds them; in values of parameters there are none.
 *
 *   MATCH_WORDS  the words, one after the other, with no word in between
 *   MATCH_EXACT  the bytes, case and all
 *   MATCH_REGEX  a POSIX extended regular expression, case does not count
 *
 * match_hashes() says what must be in a filter (catalog/filter.h) that text_hashes() filled from the same
 * text, if there is a match: the index may leave out what lacks one of them.
 */
#ifndef MAIN_MATCH_H
#define MAIN_MATCH_H

#include "base/err.h"
#include "base/str.h"

enum match_mode { MATCH_WORDS, MATCH_EXACT, MATCH_REGEX };
enum { MATCH_WORDS_MAX = 64, MATCH_TEXT_MAX = 16 * 1024, MATCH_HASHES_MAX = 2 * MATCH_WORDS_MAX };

struct match;
/* H_EUSAGE with a sentence: no word in it, too many, not a regular expression, too long. Copies. */
int match_new(struct match **ret, enum match_mode mode, struct str query, struct err *e) must_use;
void match_free(struct match **m);

struct match_place {
	size_t at, n;
};
bool match_sql(const struct match *m, struct str text, struct match_place *ret);
bool match_plain(const struct match *m, struct str text, struct match_place *ret);

/* Distinct or not; at most MATCH_HASHES_MAX. 0: none is certain, everything must be read. */
size_t match_hashes(const struct match *m, uint64_t out[MATCH_HASHES_MAX]);

typedef void text_hash_fn(void *arg, uint64_t hash);
/* All that a match could need of a statement, or of a value. */
void text_hashes_sql(struct str text, text_hash_fn *fn, void *arg);
void text_hashes_plain(struct str text, text_hash_fn *fn, void *arg);

#endif
