/*
 * idp_fake.h: an issuer for tests: keys made in the process, tokens as asked for, also wrong ones.
 */
#ifndef IDENTITY_IDP_FAKE_H
#define IDENTITY_IDP_FAKE_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "identity/jwt.h"

struct idp_key {
	EVP_PKEY *pkey;
	enum jwt_alg alg;
	char kid[64];
};

/* bits: of RSA keys. */
void idp_key_make(struct idp_key *k, enum jwt_alg alg, const char *kid, unsigned bits);
void idp_key_free(struct idp_key *k);
/* {"keys":[…]} */
void idp_jwks(struct buf *out, const struct idp_key *keys, size_t n);
/* One key of it; extra: members to add, `"use":"enc"`, or NULL. */
void idp_jwk(struct buf *out, const struct idp_key *k, const char *extra);
/* A token; header NULL: the usual one. The caller frees. */
char *idp_token(const struct idp_key *k, const char *header, const char *claims);
/* Signed with HMAC-SHA-256 and the bytes of secret. */
char *idp_token_hs256(struct str secret, const char *header, const char *claims);
/* base64url of bytes, appended. */
void idp_b64(struct buf *out, struct str s);

#endif
