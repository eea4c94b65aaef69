/*
 * pg_verb.c: the first keyword of a statement, for lists and counts.
 *
 * Not a parser and not a guard: it names a command for people ("UPDATE", "BEGIN") and decides
 * nothing. It follows PostgreSQL's scanner as far as that goes: white space as in scan.l, "--" to
 * the end of the line, nested block comments; then a word of letters, digits and underscores.
 * Bounded to the first 64 KiB, because a comment of a gigabyte is legal.
 */
#include "proto/postgres/pg_wire.h"

#define LOOK_MAX ((size_t)(64 * KIB))

static bool is_passed(char c) {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v' ||
	       c == ';' || c == '(';
}

static size_t line_comment_end(struct str s, size_t at) {
	while (at < s.n && s.p[at] != '\n' && s.p[at] != '\r')
		at++;
	return at;
}

static size_t block_comment_end(struct str s, size_t at) {
	size_t depth = 0;
	while (at + 1 < s.n) {
		if (s.p[at] == '/' && s.p[at + 1] == '*') {
			depth++;
			at += 2;
		} else if (s.p[at] == '*' && s.p[at + 1] == '/') {
			at += 2;
			if (--depth == 0)
				return at;
		} else {
			at++;
		}
	}
	return s.n;
}

static bool is_two(struct str s, size_t at, const char *two) {
	return at + 1 < s.n && s.p[at] == two[0] && s.p[at + 1] == two[1];
}

static size_t first_token(struct str s) {
	size_t at = 0;
	while (at < s.n) {
		if (is_passed(s.p[at]))
			at++;
		else if (is_two(s, at, "--"))
			at = line_comment_end(s, at);
		else if (is_two(s, at, "/*"))
			at = block_comment_end(s, at);
		else
			break;
	}
	return at;
}

static bool is_word(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

size_t pg_verb(char out[PG_VERB_MAX], struct str text) {
	struct str s = str_head(text, LOOK_MAX);
	size_t at = first_token(s);
	size_t n = 0;
	while (at + n < s.n && n < PG_VERB_MAX && is_word(s.p[at + n])) {
		char c = s.p[at + n];
		out[n++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	return n;
}
