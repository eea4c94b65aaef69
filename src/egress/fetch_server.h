/* fetch_server.h: a small HTTP server that answers by path, for the tests of fetch.h only. */
#ifndef EGRESS_FETCH_SERVER_H
#define EGRESS_FETCH_SERVER_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "net/testcert.h"

struct fetch_server {
	int fd;
	uint16_t port;
	SSL_CTX *ctx; /* NULL: plain */
	atomic_uint connections;
};

SSL_CTX *fetch_server_ctx(const struct testcert *c) must_use;
/* On loopback, from a thread of its own; ctx NULL: plain. Lives as long as the process. */
struct fetch_server *fetch_server_new(SSL_CTX *ctx) must_use;

#endif
