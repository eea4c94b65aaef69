/*
 * sql_script.h: recorded statements as text that psql reads without harm (`export --as sql`).
 *
 * psql is a language of its own around SQL: a backslash outside of quotes is a command of psql (\! runs a
 * shell), a colon before a name stands for a variable. A recorded statement was said to a server, not to psql,
 * and must be one statement to psql too. What cannot be told apart with certainty is not written as a statement.
 */
#ifndef MAIN_SQL_SCRIPT_H
#define MAIN_SQL_SCRIPT_H

#include "base/buf.h"
#include "proto/postgres/pg_view.h"

/* Appends the statement with its parameters in place and a semicolon behind it. NULL, or a static sentence
 * fragment that says why it cannot be (then out may hold a part of it, to be dropped). is_standard: strings are as
 * the standard has them (standard_conforming_strings on). scratch is cleared. */
const char *sql_script_statement(struct buf *out, struct buf *scratch, const struct view_command *c,
                                 bool is_standard);
/* A literal that reads back as s under any setting: 'it''s', E'a\\b'. */
void sql_script_literal(struct buf *out, struct str s);

/* Looks at COPY data as it comes, in pieces of any length, for what psql would take as its end or not pass on. */
struct copy_scan {
	unsigned column; /* 0 at a line's beginning, 1 behind "\", 2 behind "\.", 3 elsewhere */
	bool has_ended;  /* a line "\." */
	bool is_bad;     /* something behind it, or NUL, or binary */
	bool has_begun;
	bool is_in; /* the caller's */
};
void copy_scan(struct copy_scan *s, struct str data);

#endif
