/*
 * pg_comment.c: see pg_comment.h. The comment is checked as a whole before a pair of it is handed out: half of a
 * comment that merely looks like pairs would be a claim that nobody made.
 *
 *   comment = pair *("," pair)      pair = key "=" "'" value "'"
 *   key     = 1*(letter, digit, "_", "-", ".", or %XX)
 *   value   = any but ' ; \' is a quote; %XX a byte; white space around pairs is passed over
 */
#include "proto/postgres/pg_comment.h"

struct pair {
	struct str key, value; /* as they stand */
};

static bool is_space(char c) {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_key(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.' || c == '%';
}

static struct str trim(struct str s) {
	while (s.n > 0 && is_space(s.p[0]))
		s = str_from(s, 1);
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s = str_head(s, s.n - 1);
	return s;
}

/* Takes a pair off the front of *s: false when there is none. */
static bool take_pair(struct str *s, struct pair *out) {
	size_t n = 0;
	*s = trim(*s);
	while (n < s->n && is_key(s->p[n]))
		n++;
	if (n == 0 || n + 2 > s->n || s->p[n] != '=' || s->p[n + 1] != '\'')
		return false;
	out->key = str_head(*s, n);
	*s = str_from(*s, n + 2);
	for (n = 0; n < s->n && s->p[n] != '\''; n++)
		n += s->p[n] == '\\' && n + 1 < s->n;
	if (n >= s->n)
		return false;
	out->value = str_head(*s, n);
	*s = trim(str_from(*s, n + 1));
	return true;
}

/* The pairs of a comment's inside: how many, 0 when it is something else. */
static size_t pairs_of(struct str inside, struct pair *out) {
	size_t count = 0;
	if (inside.n > PG_COMMENT_MAX)
		return 0;
	do {
		if (count == PG_COMMENT_PAIRS_MAX || !take_pair(&inside, &out[count++]))
			return 0;
		if (inside.n > 0 && inside.p[0] != ',')
			return 0;
		if (inside.n == 1)
			return 0; /* a comma, and nothing behind it */
		inside = str_from(inside, MIN(inside.n, (size_t)1));
	} while (inside.n > 0);
	return count;
}

static int nibble(char c) {
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

static struct str decode(struct buf *b, struct str s) {
	buf_clear(b);
	for (size_t i = 0; i < s.n; i++) {
		int high = s.p[i] == '%' && i + 2 < s.n ? nibble(s.p[i + 1]) : -1;
		int low = high >= 0 ? nibble(s.p[i + 2]) : -1;
		if (low >= 0) {
			w_u8(b, (uint8_t)(high << 4 | low));
			i += 2;
		} else if (s.p[i] == '\\' && i + 1 < s.n) {
			w_u8(b, (uint8_t)s.p[++i]);
		} else {
			w_u8(b, (uint8_t)s.p[i]);
		}
	}
	return buf_peek(b);
}

/* The inside of the comment that ends the text; n 0: there is none. */
static struct str comment_behind(struct str text) {
	text = trim(text);
	while (text.n > 0 && text.p[text.n - 1] == ';')
		text = trim(str_head(text, text.n - 1));
	if (text.n < 4 || text.p[text.n - 1] != '/' || text.p[text.n - 2] != '*')
		return STR_NONE;
	size_t least = text.n > PG_COMMENT_MAX ? text.n - PG_COMMENT_MAX : 0;
	for (size_t i = text.n - 3; i > least; i--)
		if (text.p[i - 1] == '/' && text.p[i] == '*')
			return str_head(str_from(text, i + 1), text.n - 2 - (i + 1));
	return STR_NONE;
}

static struct str comment_before(struct str text) {
	text = trim(text);
	if (text.n < 4 || text.p[0] != '/' || text.p[1] != '*')
		return STR_NONE;
	for (size_t i = 2; i + 1 < text.n && i < PG_COMMENT_MAX; i++)
		if (text.p[i] == '*' && text.p[i + 1] == '/')
			return str_head(str_from(text, 2), i - 2);
	return STR_NONE;
}

int pg_comment_each(struct str text, pg_comment_fn *fn, void *arg) {
	struct pair pairs[PG_COMMENT_PAIRS_MAX];
	size_t count = pairs_of(comment_behind(text), pairs);
	struct buf key, value;
	int rc = 0;
	if (count == 0)
		count = pairs_of(comment_before(text), pairs);
	buf_init(&key, PG_COMMENT_MAX);
	buf_init(&value, PG_COMMENT_MAX);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct str name = decode(&key, pairs[i].key);
		rc = fn(arg, name, decode(&value, pairs[i].value));
	}
	buf_fini(&key);
	buf_fini(&value);
	return rc;
}
