/* conn.c: see conn.h. MSG_NOSIGNAL is not needed for TLS: SIGPIPE is ignored in the worker. */
#include "session/conn.h"

#include <errno.h>
#include <sys/socket.h>

static int failed(void) {
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return H_EIO;
}

int conn_read(struct conn *c, struct tls_scratch *s, void *p, size_t n) {
	if (c->tls != NULL)
		return tls_read(c->tls, s, p, n);
	ssize_t got = read(c->fd, p, n);

	if (got == 0)
		return H_ECLOSED;
	return got < 0 ? failed() : (int)got;
}

int conn_write(struct conn *c, struct tls_scratch *s, struct str bytes) {
	if (bytes.n == 0)
		return 0;
	if (c->tls != NULL)
		return tls_write(c->tls, s, bytes);
	ssize_t done = send(c->fd, bytes.p, MIN(bytes.n, (size_t)1 << 20), MSG_NOSIGNAL);

	return done < 0 ? failed() : (int)done;
}

bool conn_is_unsent(const struct conn *c) {
	return c->tls != NULL && tls_wants_write(c->tls);
}

int conn_flush(struct conn *c) {
	return c->tls != NULL ? tls_flush(c->tls) : 1;
}

bool conn_has_buffered(const struct conn *c) {
	return c->tls != NULL && tls_has_buffered(c->tls);
}

void conn_shutdown(struct conn *c, struct tls_scratch *s) {
	if (c->fd < 0)
		return;
	if (c->tls != NULL)
		tls_bye(c->tls, s);
	(void)shutdown(c->fd, SHUT_WR);
}

void conn_close(struct conn *c) {
	tls_free(&c->tls);
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}
