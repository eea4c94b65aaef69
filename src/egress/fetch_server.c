/* fetch_server.c: see fetch_server.h. A thread per connection, blocking: short and plainly right. */
#include "egress/fetch_server.h"

#include <netinet/in.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <sys/socket.h>

#include "egress/fetch.h"

struct visit {
	struct fetch_server *s;
	int fd;
	SSL *ssl;
};

static bool put(struct visit *v, const void *p, size_t n) {
	if (v->ssl != NULL)
		return SSL_write(v->ssl, p, (int)n) == (int)n;
	return write(v->fd, p, n) == (ssize_t)n;
}

static bool say(struct visit *v, const char *text) {
	return put(v, text, strlen(text));
}

static size_t hear(struct visit *v, char *p, size_t cap) {
	size_t n = 0;

	while (n < cap) {
		ssize_t got = v->ssl != NULL ? SSL_read(v->ssl, p + n, (int)(cap - n))
		                             : read(v->fd, p + n, cap - n);
		if (got <= 0)
			return 0;
		n += (size_t)got;
		p[n] = 0;
		const char *end = strstr(p, "\r\n\r\n"), *length = strstr(p, "Content-Length: ");
		if (end != NULL &&
		    n >= (size_t)(end + 4 - p) +
		                    (length != NULL ? strtoul(length + 16, NULL, 10) : 0))
			return n;
	}
	return 0;
}

static bool say_body(struct visit *v, const char *head, const char *body, size_t n) {
	char text[512];

	(void)snprintf(text, sizeof(text), "HTTP/1.1 %sContent-Length: %zu\r\n\r\n", head, n);
	return say(v, text) && put(v, body, n);
}

static bool say_many_headers(struct visit *v) {
	char line[1024];

	memset(line, 'x', sizeof(line));
	memcpy(line, "X-Pad: ", 7);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	if (!say(v, "HTTP/1.1 200 OK\r\n"))
		return false;
	for (size_t i = 0; i < 100; i++) {
		if (!put(v, line, sizeof(line)))
			return false;
	}
	return say(v, "\r\n");
}

/* False: the connection ends here. */
static bool reply(struct visit *v, char *ask, size_t n) {
	static char big[FETCH_BODY_MAX + 1];
	char *path = strchr(ask, ' ');
	size_t len = path != NULL ? strcspn(++path, " ") : 0;
	struct str p = str_mem(path, len);

	if (str_is(p, "/keys"))
		return say_body(v, "200 OK\r\nCache-Control: public, max-age=300\r\n", "{}", 2);
	if (str_is(p, "/echo"))
		return say_body(v, "200 OK\r\n", ask, n);
	if (str_is(p, "/gone"))
		return say_body(v, "404 Not Found\r\n", "no", 2);
	if (str_is(p, "/redirect"))
		return say_body(v, "302 Found\r\nLocation: /keys\r\n", "", 0);
	if (str_is(p, "/hints"))
		return say(v, "HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=9\r\n\r\n") &&
		       say_body(v, "200 OK\r\n", "x", 1);
	if (str_is(p, "/chunks"))
		return say(v, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
		              "2\r\nde\r\n0\r\n\r\n");
	if (str_is(p, "/full"))
		return say_body(v, "200 OK\r\n", big, FETCH_BODY_MAX);
	if (str_is(p, "/big"))
		return say_body(v, "200 OK\r\n", big, sizeof(big));
	if (str_is(p, "/headers"))
		return say_many_headers(v);
	if (str_is(p, "/junk"))
		return say(v, "SSH-2.0-OpenSSH\r\n");
	if (str_is(p, "/short"))
		(void)say(v, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
	if (str_is(p, "/slow"))
		(void)hear(v, ask, n);
	return false;
}

static void *serve_one(void *arg) {
	struct visit *v = arg;
	char ask[4096];
	size_t n;

	if (v->s->ctx != NULL) {
		v->ssl = SSL_new(v->s->ctx);
		SSL_set_fd(v->ssl, v->fd);
	}
	if (v->ssl == NULL || SSL_accept(v->ssl) == 1) {
		while ((n = hear(v, ask, sizeof(ask) - 1)) != 0 && reply(v, ask, n))
			;
	}
	SSL_free(v->ssl);
	(void)close(v->fd);
	free(v);
	return NULL;
}

static void *serve(void *arg) {
	struct fetch_server *s = arg;
	pthread_t t;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		struct visit *v = xcalloc(1, sizeof(*v));
		v->s = s;
		v->fd = fd;
		atomic_fetch_add(&s->connections, 1);
		if (pthread_create(&t, NULL, serve_one, v) != 0 || pthread_detach(t) != 0)
			abort();
	}
	return NULL;
}

SSL_CTX *fetch_server_ctx(const struct testcert *c) {
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	BIO *cert = BIO_new_mem_buf(c->cert, -1), *key = BIO_new_mem_buf(c->key, -1);
	X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	if (SSL_CTX_use_certificate(ctx, x) != 1 || SSL_CTX_use_PrivateKey(ctx, k) != 1)
		abort();
	X509_free(x);
	EVP_PKEY_free(k);
	BIO_free(cert);
	BIO_free(key);
	return ctx;
}

struct fetch_server *fetch_server_new(SSL_CTX *ctx) {
	struct fetch_server *s = xcalloc(1, sizeof(*s));
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	pthread_t t;

	s->ctx = ctx;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->fd, (struct sockaddr *)&in, n) != 0 || listen(s->fd, 50) != 0 ||
	    getsockname(s->fd, (struct sockaddr *)&in, &n) != 0 ||
	    pthread_create(&t, NULL, serve, s) != 0 || pthread_detach(t) != 0)
		abort();
	s->port = ntohs(in.sin_port);
	return s;
}
