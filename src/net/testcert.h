/* testcert.h: a fresh self-signed P-256 certificate, for tests only. */
#ifndef NET_TESTCERT_H
#define NET_TESTCERT_H

#include "base/str.h"

struct testcert {
	char cert[2048], key[1024]; /* PEM */
};

/* san as OpenSSL writes it: "DNS:localhost,IP:127.0.0.1". */
void testcert_make(struct testcert *c, const char *san);

#endif
