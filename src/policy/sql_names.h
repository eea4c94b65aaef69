/*
 * sql_names.h: the relations that a statement's text speaks of, as far as its words tell.
 *
 * Pure, without grammar and without memory. Found is what stands where a relation may stand: after
 * FROM, JOIN, INTO, UPDATE, TABLE, VIEW, USING, COPY, TRUNCATE, and further ones of such a list. It is a guess in
 * both directions: what is found may be no relation (the caller asks the target), and what stands
 * in quoted bodies, in EXECUTE, or behind the first SQL_NAMES_TEXT_MAX bytes is not found.
 *
 * Not found on purpose: functions in FROM, names of WITH queries, cursors of FETCH and MOVE, the FROM of EXTRACT and its
 * like, IS DISTINCT FROM, and names longer than PostgreSQL keeps (it would say so in a notice).
 */
#ifndef POLICY_SQL_NAMES_H
#define POLICY_SQL_NAMES_H

#include "base/str.h"

enum { SQL_NAME_MAX = 63, SQL_NAMES_TEXT_MAX = 16 * 1024 };

/* One relation: folded to lower case unless quoted, quotes taken off. schema is empty when the text
 * names none. Both borrow for the call. */
typedef void sql_names_fn(void *arg, struct str schema, struct str name);

/* Calls fn for each place, in order; a relation that stands twice comes twice. True when the text may
 * change what unqualified names mean (it speaks of search_path). */
bool sql_names_find(struct str text, sql_names_fn *fn, void *arg);

#endif
