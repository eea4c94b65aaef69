/*
 * said.h: what of a command is searched: its statement's text, and the values of its parameters as text.
 * Index and search ask the same function, so that the index can leave nothing out that a search would find.
 */
#ifndef MAIN_SAID_H
#define MAIN_SAID_H

#include "base/buf.h"
#include "proto/postgres/pg_view.h"

enum {
	SAID_MESSAGE_MAX = 4 * 1024 * 1024, /* longer messages are not searched */
	SAID_VALUE_MAX = 64 * 1024          /* of a parameter's value, the first bytes */
};

/* number: 0 the statement, else of the parameter. The text is borrowed for the call; a value other than 0
 * ends the walk and is returned. */
typedef int said_fn(void *arg, size_t number, struct str text);
int said_each(const struct view_command *c, struct buf *scratch, said_fn *fn, void *arg) must_use;
/* A scratch for said_each(). */
void said_scratch(struct buf *b);

#endif
