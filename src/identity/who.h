/*
 * who.h: who speaks. The result of every way to prove an identity, and all that admission and the
 * record need of it.
 *
 * Subjects are qualified by their issuer ("local:ci", "idp.example:devin/42"). What the issuer vouches
 * for is verified: a token of the local issuer was made by somebody who may ask the keeper, so its
 * subject, groups, run and on-behalf-of are. `context` of a local token is what its maker wrote down
 * and nobody checked: claimed. That of an OIDC token are claims under the issuer's signature: verified.
 */
#ifndef IDENTITY_WHO_H
#define IDENTITY_WHO_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define WHO_SUBJECT_MAX 128
#define WHO_GROUPS_MAX 32
#define WHO_CONTEXT_MAX 16
#define WHO_KEY_MAX 63
#define WHO_VALUE_MAX 256
#define WHO_JSON_MAX ((size_t)16 * 1024)

enum who_kind { WHO_HUMAN, WHO_AGENT, WHO_SERVICE, WHO_KIND_COUNT };
const char *who_kind_name(enum who_kind kind);

struct who_pair {
	struct str key, value;
};

struct who {
	enum who_kind kind;
	struct str subject;
	struct str groups[WHO_GROUPS_MAX];
	size_t group_count;
	struct str on_behalf_of; /* empty: nobody */
	bool on_behalf_of_verified;
	struct str run;
	struct who_pair context[WHO_CONTEXT_MAX];
	size_t context_count;
	bool context_verified;
	struct str connection; /* the only one it is good for; empty: any */
	/* For the record; not a part of the JSON form: */
	struct str credential; /* id of a local token; jti of an OIDC token, if it has one */
	struct str email;
	struct str issuer; /* URL of the OIDC issuer; empty: the local issuer */
	struct str key_id; /* which of its keys signed; empty when the token names none */
	uint32_t mapping;  /* which of its mappings applied, counted from 0 */
	uint64_t proof_expires_wall_ns;
};

/* The form that is kept in state.db and asked for over control.sock: subject, kind, groups,
 * on_behalf_of, run, context, connection. Members that are not known refuse the whole. The sentence
 * in e names the member. Text is copied into the arena. */
int who_parse(struct who *w, struct arena *a, struct str json, struct err *e) must_use;
/* Writes the same form. */
void who_put(struct buf *b, const struct who *w);
bool who_in_group(const struct who *w, struct str group);

#endif
