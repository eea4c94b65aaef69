/*
 * claims.h: what a token says, once its signature was found good: is it for us and for now, and who
 * is it by the issuer's mappings.
 */
#ifndef IDENTITY_CLAIMS_H
#define IDENTITY_CLAIMS_H

#include "config/config.h"
#include "identity/jwt.h"
#include "identity/who.h"

struct claims;

/* Reads the claims of a token whose signature was verified. NULL with e filled (TOKEN_CLAIMS). */
struct claims *claims_parse(const struct jwt *t, struct err *e) must_use;
/* The same from JSON text; for tests and fuzzing. */
struct claims *claims_of(struct str json, struct err *e) must_use;
void claims_free(struct claims **c);
struct str claims_issuer(const struct claims *c); /* STR_NONE: not there, or no text */

/* iss, aud, exp, nbf, iat against the issuer's options and the time. *ret_expires (ns) when fine. */
enum token_wrong claims_check(const struct claims *c, const struct config_issuer *issuer,
                              uint64_t now_wall_ns, uint64_t *ret_expires, struct err *e) must_use;

/* The first mapping that matches, filled in. Text is copied into the arena. Groups beyond
 * WHO_GROUPS_MAX, text that is too long or has control characters: TOKEN_MAPPING. */
enum token_wrong claims_map(const struct claims *c, const struct config_issuer *issuer,
                            struct arena *a, struct who *w, struct err *e) must_use;

#endif
