/*
 * sql_lex.h: the tokens of an SQL text, as PostgreSQL's own scanner would cut it.
 *
 *   struct sql_lex l = sql_lex_of(text, SQL_STRICT);
 *   struct sql_token t;
 *   while (sql_next(&l, &t)) …
 *
 * Pure and without memory: tokens borrow from the text. It never fails: what the scanner of
 * PostgreSQL would refuse comes as a token all the same (`is_open`: the text ended inside it;
 * SQL_OTHER: a byte that no token begins with), so the tokens of any bytes, put together, are those
 * bytes.
 */
#ifndef POLICY_SQL_LEX_H
#define POLICY_SQL_LEX_H

#include "base/str.h"

enum sql_kind {
	SQL_SPACE,    /* white space */
	SQL_COMMENT,  /* -- to the end of the line; nested block comments */
	SQL_WORD,     /* keyword or unquoted name */
	SQL_NAME,     /* "name" */
	SQL_UNAME,    /* U&"name"; its UESCAPE follows as tokens of its own */
	SQL_STRING,   /* 'text', continued over lines ('a'<newline>'b') as one token */
	SQL_ESTRING,  /* E'text', also 'text' when backslashes escape there */
	SQL_USTRING,  /* U&'text' */
	SQL_BITS,     /* B'0101' */
	SQL_HEX,      /* X'1f' */
	SQL_DOLLAR,   /* $tag$text$tag$ */
	SQL_NUMBER,   /* 1, 1.5e3, 0x1F, 1_000 */
	SQL_PARAM,    /* $1 */
	SQL_OPERATOR, /* = <> || :: := => .. and what users define */
	SQL_PUNCT,    /* one of , ( ) [ ] . ; : */
	SQL_OTHER,    /* one byte that begins no token */
	SQL_KIND_COUNT
};

/* standard_conforming_strings */
enum sql_strings { SQL_STRICT, SQL_BACKSLASH };

struct sql_token {
	enum sql_kind kind;
	bool is_open;    /* unterminated: reaches to the end of the text */
	struct str text; /* all of it */
	struct str
		inner; /* of quoted kinds: what stands between the first and the last quote or tag */
};

struct sql_lex {
	struct str text;
	size_t at;
	enum sql_strings strings;
};

static inline struct sql_lex sql_lex_of(struct str text, enum sql_strings strings) {
	return (struct sql_lex){ .text = text, .strings = strings };
}

/* The next token; false at the end of the text. */
bool sql_next(struct sql_lex *l, struct sql_token *t);
/* The next token that is neither space nor comment. */
bool sql_next_solid(struct sql_lex *l, struct sql_token *t);

/* True for a word token that is this keyword; `lower` is in lower case. */
bool sql_is(const struct sql_token *t, const char *lower);
/* True for a token that is this one character. */
bool sql_is_char(const struct sql_token *t, char c);
/* True for the five kinds of string: their inner bytes are a value. */
bool sql_is_text(const struct sql_token *t);

/*
 * Splits at the semicolons that end statements: not those inside brackets (CREATE RULE … DO
 * (a; b)) nor in a body BEGIN ATOMIC … END. *rest moves behind the statement; its semicolon belongs
 * to it. False at the end. Statements that are empty (white space, comments) come too: put together
 * they are the text.
 */
bool sql_split(struct str *rest, enum sql_strings strings, struct str *statement);

#endif
