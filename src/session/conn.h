/*
 * conn.h: one side's socket, plain or inside TLS, seen as a byte stream.
 *
 * Nothing here waits: every call does what can be done now. A conn owns its descriptor and its TLS.
 */
#ifndef SESSION_CONN_H
#define SESSION_CONN_H

#include "net/tls.h"

struct conn {
	int fd;          /* -1: none */
	struct tls *tls; /* NULL: plain */
};

/* The count; 0 nothing now; H_ECLOSED end of the stream; H_EIO, H_ETLS. */
int conn_read(struct conn *c, struct tls_scratch *s, void *p, size_t n) must_use;
/* The count that was taken, 0 when the socket is full, or a code. */
int conn_write(struct conn *c, struct tls_scratch *s, struct str bytes) must_use;
/* True when bytes that conn_write took have not left yet (records kept by TLS). */
bool conn_is_unsent(const struct conn *c);
/* Hands them over: 1 all gone, 0 some wait, or a code. */
int conn_flush(struct conn *c) must_use;
/* True when a read yields bytes although the socket is not readable. */
bool conn_has_buffered(const struct conn *c);
/* No more bytes from us: close_notify, then FIN. */
void conn_shutdown(struct conn *c, struct tls_scratch *s);
void conn_close(struct conn *c);

#endif
