/*
 * str.h: bytes by value.
 *
 * A struct str borrows; it owns nothing and need not end in NUL. NUL-terminated strings exist only
 * at the edges of libc. All functions accept an empty str (p may then be NULL).
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/base.h"

struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ .p = (lit), .n = sizeof(lit) - 1 })
#define STR_NONE ((struct str){ .p = NULL, .n = 0 })
/* For printf's "%.*s". Lengths are capped: this is for messages only. */
#define STR_ARG(s) (int)MIN((s).n, (size_t)4096), (s).p != NULL ? (s).p : ""

static inline struct str str_of(const char *z) {
	return (struct str){ .p = z, .n = z != NULL ? strlen(z) : 0 };
}

static inline struct str str_mem(const void *p, size_t n) {
	return (struct str){ .p = p, .n = n };
}

static inline bool str_eq(struct str a, struct str b) {
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *z) {
	return str_eq(a, str_of(z));
}

/* ASCII case is ignored. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* Position of byte c, or s.n. */
size_t str_find(struct str s, char c);
/* The part from `from` on; from > n yields empty. */
struct str str_from(struct str s, size_t from);
/* The first n bytes at most. */
struct str str_head(struct str s, size_t n);
/* Splits at the first c: returns what is before, moves *rest behind it; without c all is returned
 * and *rest becomes STR_NONE. */
struct str str_cut(struct str *rest, char c);
struct str str_trim(struct str s);
/* Decimal, no sign, no spaces, at most max; H_EFORMAT else. */
int str_u64(struct str s, uint64_t max, uint64_t *out) must_use;
/* Fresh NUL-terminated copy; the caller frees. */
char *str_dup(struct str s) must_use;
/* Copies into dst of size cap with NUL; false (and dst = "") when it does not fit or holds NUL. */
bool str_copy(char *dst, size_t cap, struct str s);
/* Strict UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). Returns the offset
 * of the first bad byte, or s.n when all is well. */
size_t str_utf8_bad(struct str s);
/* Edit distance (Levenshtein), for "did you mean": inputs over 64 bytes count as far away. */
size_t str_distance(struct str a, struct str b);

/* Hexadecimal, lower case. dst holds 2n + 1 bytes. */
void hex_encode(char *dst, const void *src, size_t n);
/* Strict: even length, [0-9a-fA-F], exactly cap bytes of result expected when exact; returns count
 * or H_EFORMAT. */
int hex_decode(uint8_t *dst, size_t cap, struct str s) must_use;
/* RFC 4648 base64 with padding; dst holds 4 * ((n + 2) / 3) + 1 bytes. Returns the length. */
size_t base64_encode(char *dst, const void *src, size_t n);
/* Strict and canonical: padding required, unused bits zero, no white space. Returns count or
 * H_EFORMAT / H_ELIMIT. */
int base64_decode(uint8_t *dst, size_t cap, struct str s) must_use;

#endif
