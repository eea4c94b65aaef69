/*
 * oidc.h: proofs by OpenID Connect issuers: their keys, kept fresh, and the verdict on a token.
 *
 * Pure of I/O: what must be fetched leaves through a function, answers and time come in. Keys of an
 * issuer come from its discovery document, from a URL, or from a file. They are fetched at the start
 * and again before their time (Cache-Control, from five minutes to a day) is up; when the issuer cannot be
 * reached the last ones serve on for `keys_keep`. One fetch per issuer is under way at most. A token
 * that names a key which no issuer has makes each be asked anew, at most once a minute.
 */
#ifndef KEEPER_OIDC_H
#define KEEPER_OIDC_H

#include "config/config.h"
#include "identity/claims.h"
#include "identity/jwks.h"

#define OIDC_BODY_MAX 65536 /* of a discovery document or a key set */
#define OIDC_FETCH_MS 8000  /* for one answer */

/* What an issuer's options refer to, read. */
struct oidc_file {
	char *ca_pem;      /* NULL: the system's roots */
	struct jwks *keys; /* from jwks.file, else NULL */
};
struct oidc_files {
	struct oidc_file v[CONFIG_ISSUERS_MAX]; /* in the order of config.gateway.issuers */
	size_t n;
};
/* Findings tell what cannot be read. */
void oidc_files_read(struct oidc_files *ret, const struct config *c, struct findings *f);
void oidc_files_free(struct oidc_files *files);

struct oidc;

struct oidc_fetch {
	uint64_t id;
	struct str url, ca_pem; /* ca_pem empty: the system's roots */
};
typedef void oidc_fetch_fn(void *arg, const struct oidc_fetch *f);

struct oidc *oidc_new(oidc_fetch_fn *fetch, void *arg) must_use;
void oidc_free(struct oidc **o);
/* A configuration applies from now on; c and files must outlive it, or the next call. Keys of issuers
 * that stay are kept. Fetches what is needed. */
void oidc_use(struct oidc *o, const struct config *c, const struct oidc_files *files,
              uint64_t now_ns);

struct oidc_answer {
	uint64_t id;
	int code;           /* 0: there was an answer */
	uint32_t status;    /* HTTP */
	uint32_t max_age_s; /* 0: not said */
	struct str body, text;
};
/* True when who waits should try again. */
bool oidc_fetched(struct oidc *o, const struct oidc_answer *a, uint64_t now_ns);
/* Refreshes what is due, gives up what is over; call each second. True as above. */
bool oidc_beat(struct oidc *o, uint64_t now_ns);
/* Whoever fetches is gone: what was under way has no answer. */
void oidc_fetcher_gone(struct oidc *o, uint64_t now_ns);

enum oidc_verdict {
	OIDC_PROVEN,
	OIDC_WAIT, /* keys are under way: ask again when told, or give up */
	OIDC_NO_KEYS,
	OIDC_WRONG /* see wrong */
};
struct oidc_proof {
	enum token_wrong wrong;
	uint64_t expires_wall_ns; /* OIDC_PROVEN */
	struct err e;             /* what is wrong, for the operator */
};
/* who: filled when proven; text lives in the arena and in the configuration. */
enum oidc_verdict oidc_prove(struct oidc *o, struct str token, uint64_t now_wall_ns,
                             uint64_t now_ns, struct arena *arena, struct who *who,
                             struct oidc_proof *ret);
/* {"issuer":…} of each, for `hansard status`. */
struct oidc_state {
	struct str issuer, name;
	size_t keys;
	bool is_failing;
	const char *why;
};
void oidc_each(const struct oidc *o, void (*fn)(void *arg, const struct oidc_state *s), void *arg);

#endif
