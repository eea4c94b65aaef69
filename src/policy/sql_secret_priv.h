/*
 * sql_secret_priv.h: what sql_secret.c (places) and sql_shape.c (shapes) share.
 */
#ifndef POLICY_SQL_SECRET_PRIV_H
#define POLICY_SQL_SECRET_PRIV_H

#include "policy/sql_secret.h"

struct finder {
	struct sql_secrets *s;
	struct str all; /* what spans are counted in */
	unsigned depth; /* of bodies in bodies */
	bool is_quoted; /* words about a statement: "…" may hold one */
};

/* One more span, a slice of f->all; joined with those that it touches. Empty ones are none. */
void secret_add(struct finder *f, struct str span, enum sql_secret_why why);
/* What looks like a credential wherever it stands. has_escapes: the bytes are not yet the value. */
void secret_shapes(struct finder *f, struct str value, bool has_escapes);
/* The values of a connection string (libpq's key = value form, or a URI); the whole when it cannot be
 * read. */
void secret_conninfo(struct finder *f, struct str value, bool has_escapes);
/* True for names of options and settings whose value is a credential. */
bool secret_is_option(struct str name);
/* Position of the word (lower case, ASCII case ignored, whole) in s from `from` on, or s.n. */
size_t secret_word(struct str s, size_t from, const char *word);

#endif
