/*
 * token.h: the opaque credentials of the local issuer.
 *
 *   hsd1_ + 40 symbols (200 random bits) + 7 symbols (CRC-32C of all before)     52 characters
 *
 * Symbols are Crockford's base32 in lower case: no l, o, i, u to misread. The checksum tells a typing
 * mistake from a wrong token before anything is looked up, and lets scanners find leaked tokens with
 * hardly a false alarm. Only SHA-256 of the text is stored: 200 random bits need no salt and no
 * slow hash.
 */
#ifndef IDENTITY_TOKEN_H
#define IDENTITY_TOKEN_H

#include "base/crypto.h"
#include "base/err.h"

#define TOKEN_PREFIX "hsd1_"
#define TOKEN_LEN 52
#define TOKEN_SIZE (TOKEN_LEN + 1)

/* A fresh token, NUL-terminated. The caller wipes it. */
void token_make(char out[TOKEN_SIZE]);
/* The stored form of a well-formed token: 0; H_EFORMAT when it is none (wrong length, symbol, prefix
 * or checksum). Exactly one spelling of a token is accepted. */
int token_hash(uint8_t out[SHA256_SIZE], struct str token) must_use;

#endif
