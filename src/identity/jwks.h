/*
 * jwks.h: an issuer's public keys (RFC 7517), and the check of a token's signature with them.
 *
 * A key that is not fit is left out with the reason, not fatal: issuers publish keys for encryption
 * and of other kinds beside those that sign. Which algorithms a key may be used with follows from its
 * type (and its `alg`, when it has one), never from the token alone, so a token cannot talk an RSA key into
 * being an HMAC secret.
 */
#ifndef IDENTITY_JWKS_H
#define IDENTITY_JWKS_H

#include "identity/jwt.h"

#define JWKS_SIZE_MAX ((size_t)64 * 1024)
#define JWKS_KEYS_MAX 64

struct jwks;

/* NULL with e filled when it is no key set, or has more than JWKS_KEYS_MAX keys, or none that fits. */
struct jwks *jwks_parse(struct str json, struct err *e) must_use;
void jwks_free(struct jwks **k);
size_t jwks_count(const struct jwks *k); /* keys that are used */
/* Does it have a key that this token could be signed with? */
bool jwks_has(const struct jwks *k, const struct jwt *t);
/* TOKEN_FINE, TOKEN_KEY_UNKNOWN (e: which, and why if it was left out) or TOKEN_SIGNATURE. A token
 * without kid is checked only when one single key is fit for its algorithm. */
enum token_wrong jwks_verify(const struct jwks *k, const struct jwt *t, struct err *e) must_use;

#endif
