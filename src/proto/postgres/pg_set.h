/* pg_set.h: the settings that a statement makes, as far as its text tells. See pg_set.c. */
#ifndef PROTO_POSTGRES_PG_SET_H
#define PROTO_POSTGRES_PG_SET_H

#include "policy/sql_lex.h"

enum { PG_SET_NAME_MAX = 72, PG_SET_VALUE_MAX = 260 };

/* One setting. Its name is in lower case; its value is cut at PG_SET_VALUE_MAX bytes. */
struct pg_setting {
	char name[PG_SET_NAME_MAX];
	size_t name_len;
	char value[PG_SET_VALUE_MAX];
	size_t value_len;
	bool is_known;   /* value is what it is set to */
	bool is_default; /* RESET, TO DEFAULT */
	struct str from; /* where the value stands in the text */
};

struct pg_sets {
	struct str rest;
	struct sql_lex lex;
	bool is_inside; /* a statement that is searched for set_config */
};

/* True when the text holds this word, in any case, in its first 64 KiB: a cheap first look. */
bool pg_text_has(struct str text, const char *lower);
struct pg_sets pg_sets_of(struct str text);
/* The next setting; false at the end. */
bool pg_sets_next(struct pg_sets *it, struct pg_setting *o);

#endif
