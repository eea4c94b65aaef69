/*
 * sql_secret.h: where the credentials stand in a text that is sent to, or comes from, a database.
 *
 *   ALTER ROLE app PASSWORD 'hunter2'                      hunter2
 *   CREATE USER MAPPING … OPTIONS (user 'a', password 'b') b
 *   SELECT dblink_connect('host=db password=c')            c
 *   SELECT crypt($1, gen_salt('bf'))                       the first parameter
 *
 * Pure, without memory, and it errs on the side of finding: what is told is left out of the record
 * (docs/record-format.md, `hidden`), never refused, and the target gets it as it was said.
 */
#ifndef POLICY_SQL_SECRET_H
#define POLICY_SQL_SECRET_H

#include "base/str.h"

enum sql_secret_why {
	SECRET_PASSWORD, /* of a role, an option, a column or a setting of that name */
	SECRET_CONNINFO, /* in a connection string or URI */
	SECRET_KEY,      /* given to a function of pgcrypto */
	SECRET_PEM,      /* a private key */
	SECRET_TOKEN,    /* the shape of a known kind of token */
};

/* n bytes from at on, n > 0. Between quotes: the quotes stay. */
struct sql_secret {
	size_t at, n;
	enum sql_secret_why why;
};

enum { SQL_SECRETS_MAX = 32, SQL_PARAMS_LAST = 63 };

struct sql_secrets {
	struct sql_secret spans[SQL_SECRETS_MAX]; /* in order, apart */
	size_t count;
	/* Parameters that carry one: bit i is $i+1, bit SQL_PARAMS_LAST all from there on. */
	uint64_t params;
};

/* Finds them in a statement's text. More than fit: the last span reaches to the end of the text. */
void sql_secrets_find(struct sql_secrets *s, struct str text);
/* The same in words about a statement, which may quote it ("SQL statement "ALTER …""). */
void sql_secrets_find_quoted(struct sql_secrets *s, struct str words);
/* By shape alone, in a value of any kind: connection strings, private keys, tokens. */
void sql_secrets_find_shapes(struct sql_secrets *s, struct str value);
/* One more span, a slice of `text`, in which the others stand; joined with those that it touches. */
void sql_secrets_add(struct sql_secrets *s, struct str text, struct str span);
/* True for bit `index` (counted from 0) of a params word. */
static inline bool sql_is_param_secret(uint64_t params, size_t index) {
	return (params >> (index < SQL_PARAMS_LAST ? index : SQL_PARAMS_LAST) & 1) != 0;
}

#endif
