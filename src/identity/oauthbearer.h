/*
 * oauthbearer.h: the client's message of OAUTHBEARER (RFC 7628 §3.1), and the server's refusal (§3.2.2).
 *
 *   client  n,,^Aauth=Bearer TOKEN^A^A          ^A is the byte 1
 *   server  {"status":"invalid_token",…}        only when the token is refused
 *   client  ^A                                  then the error
 *
 * No token at all ("auth=") asks where tokens are to be had: libpq does so on its first connection. There is
 * no channel binding in this mechanism, and nobody speaks for another (no authorization identity).
 */
#ifndef IDENTITY_OAUTHBEARER_H
#define IDENTITY_OAUTHBEARER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define OAUTHBEARER "OAUTHBEARER"

/* The token, a slice of the message; empty: the client asks where to get one. H_EFORMAT. */
int oauthbearer_parse(struct str *ret_token, struct str message) must_use;
/* The server's refusal. issuer: whose tokens are taken, as it stands in the configuration; empty: none is
 * named. */
void oauthbearer_refusal(struct buf *b, struct str issuer);

#endif
