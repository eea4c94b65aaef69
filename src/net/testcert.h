/* testcert.h: a fresh self-signed certificate, for tests only. */
#ifndef NET_TESTCERT_H
#define NET_TESTCERT_H

#include "base/str.h"

struct testcert {
	char cert[4096], key[4096]; /* PEM */
};

/* san as OpenSSL writes it: "DNS:localhost,IP:127.0.0.1". */
void testcert_make(struct testcert *c, const char *san); /* P-256, SHA-256 */
/* algorithm: "EC", "RSA", "RSA-PSS" or "ED25519"; digest as OpenSSL names it, NULL where there is none. */
void testcert_make_as(struct testcert *c, const char *san, const char *algorithm,
                      const char *digest);

#endif
