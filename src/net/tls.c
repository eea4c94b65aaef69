/*
 * tls.c: see tls.h for the idea.
 *
 * The BIO. bio_read serves OpenSSL from `pending` (ciphertext kept from an earlier call), then from
 * the scratch, and asks the kernel only when both are empty and the last read(2) was not short (a
 * short read means that the socket is empty: asking again would only cost a call and yield EAGAIN;
 * epoll is level-triggered and will tell). bio_write only collects. Outside of a call `scratch` is
 * NULL, so nothing can keep a pointer into it.
 *
 * Invariants:
 * 1. No record is produced while `unsent` holds bytes: tls_write refuses, so unsent is bounded by one
 *    call's worth of records.
 * 2. Ciphertext that OpenSSL did not take by the end of a call is moved to `pending`; bytes are
 *    never lost and never read twice.
 * 3. After the first fatal error every call fails: `is_dead`.
 */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

enum { PLAIN_MAX = 64 * 1024, READ_MAX = 1 << 30, ALPN_MAX = 31 };

struct tls {
	SSL *ssl;
	int fd;
	struct tls_scratch *scratch;
	size_t in_at, in_len; /* scratch->in: [in_at, in_len) not yet taken */
	size_t out_len;       /* scratch->out */
	struct buf pending;   /* ciphertext received, not yet taken */
	struct buf unsent;    /* ciphertext produced, not yet handed over */
	bool is_empty;        /* the socket had no more in this call */
	bool is_up; /* the handshake is done; OpenSSL itself forgets that after an error */
	bool is_eof, is_dead, is_io_error;
	int end;                    /* how reading ended, once it did */
	uint8_t alpn[1 + ALPN_MAX]; /* as on the wire: length and name; empty: 0 */
	const char *reason;
};

struct tls_ctx {
	SSL_CTX *ssl;
	bool must_match; /* the peer's certificate must carry the name that was asked for */
	_Atomic unsigned refs;
};

static X509_STORE *system_roots;
static BIO_METHOD *bio_method;

/* ---- the BIO ---- */

/* One read(2) into the scratch: 1 got bytes, 0 nothing. */
static int refill(struct tls *t) {
	if (t->is_empty || t->is_eof)
		return 0;
	ssize_t n = read(t->fd, t->scratch->in, sizeof(t->scratch->in));

	t->in_at = 0;
	t->in_len = n > 0 ? (size_t)n : 0;
	t->is_empty = n < (ssize_t)sizeof(t->scratch->in);
	if (n == 0)
		t->is_eof = true;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		t->is_io_error = t->is_eof = true;
	return n > 0;
}

static int bio_read(BIO *b, char *p, int n) {
	struct tls *t = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (n <= 0)
		return 0;
	if (t->pending.len != 0) {
		size_t take = MIN(t->pending.len, (size_t)n);

		memcpy(p, buf_peek(&t->pending).p, take);
		buf_consume(&t->pending, take);
		return (int)take;
	}
	if (t->in_at == t->in_len && (t->scratch == NULL || refill(t) == 0)) {
		if (t->is_eof)
			return 0;
		BIO_set_retry_read(b);
		return -1;
	}
	size_t take = MIN(t->in_len - t->in_at, (size_t)n);

	memcpy(p, t->scratch->in + t->in_at, take);
	t->in_at += take;
	return (int)take;
}

static int bio_write(BIO *b, const char *p, int n) {
	struct tls *t = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (n <= 0 || t->scratch == NULL)
		return 0;
	if ((size_t)n > sizeof(t->scratch->out) - t->out_len) {
		if (buf_append(&t->unsent, str_mem(t->scratch->out, t->out_len)) < 0 ||
		    buf_append(&t->unsent, str_mem(p, (size_t)n)) < 0)
			return -1;
		t->out_len = 0;
		return n;
	}
	memcpy(t->scratch->out + t->out_len, p, (size_t)n);
	t->out_len += (size_t)n;
	return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr) {
	(void)num;
	(void)ptr;
	if (cmd == BIO_CTRL_EOF) {
		struct tls *t = BIO_get_data(b);

		return t->is_eof && t->pending.len == 0 && t->in_at == t->in_len;
	}
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static BIO *bio_new(struct tls *t) {
	BIO *b = BIO_new(bio_method);

	if (b == NULL)
		abort();
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	return b;
}

/* ---- contexts ---- */

void tls_setup(void) {
	static const char *const bundles[] = { "/etc/ssl/certs/ca-certificates.crt",
		                               "/etc/pki/tls/certs/ca-bundle.crt",
		                               "/etc/ssl/cert.pem" };

	(void)OPENSSL_init_ssl(0, NULL);
	if (bio_method == NULL) {
		bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hansard");
		if (bio_method == NULL)
			abort();
		(void)BIO_meth_set_read(bio_method, bio_read);
		(void)BIO_meth_set_write(bio_method, bio_write);
		(void)BIO_meth_set_ctrl(bio_method, bio_ctrl);
	}
	if (system_roots != NULL)
		return;
	system_roots = X509_STORE_new();
	if (system_roots == NULL)
		abort();
	for (size_t i = 0; i < ARRAY_LEN(bundles); i++) {
		if (access(bundles[i], R_OK) == 0 &&
		    X509_STORE_load_file(system_roots, bundles[i]) == 1)
			break;
	}
	ERR_clear_error();
}

struct x509_store_st *tls_system_roots(void) {
	assert(system_roots != NULL);
	return system_roots;
}

static BIO *pem_bio(struct str pem) {
	BIO *b = BIO_new_mem_buf(pem.p, (int)MIN(pem.n, (size_t)INT32_MAX));

	if (b == NULL)
		abort();
	return b;
}

/* No passphrase is ever asked for on a terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's signature */
static int no_passphrase(char *p, int n, int rw, void *arg) {
	(void)p;
	(void)n;
	(void)rw;
	(void)arg;
	return -1;
}

static SSL_CTX *ctx_new(const SSL_METHOD *method) {
	char groups[] = "X25519:P-256:P-384";
	SSL_CTX *c = SSL_CTX_new(method);

	assert(bio_method != NULL);
	if (c == NULL)
		abort();
	(void)SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
	(void)SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                                     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_set_num_tickets(c, 0);
	(void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set1_groups_list(c, groups);
	return c;
}

static int use_chain(SSL_CTX *c, struct str pem) {
	BIO *b = pem_bio(pem);
	X509 *x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL);
	int ok = x != NULL && SSL_CTX_use_certificate(c, x) == 1;

	X509_free(x);
	while (ok && (x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL)) != NULL)
		ok = SSL_CTX_add0_chain_cert(c, x) == 1;
	BIO_free(b);
	ERR_clear_error(); /* the end of the file reads as an error */
	return ok ? 0 : H_ETLS;
}

static int use_key(SSL_CTX *c, struct str pem) {
	BIO *b = pem_bio(pem);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
	int ok = k != NULL && SSL_CTX_use_PrivateKey(c, k) == 1 &&
	         SSL_CTX_check_private_key(c) == 1;

	EVP_PKEY_free(k);
	BIO_free(b);
	ERR_clear_error();
	return ok ? 0 : H_ETLS;
}

/* Any name is fine: it is only a hint to us, and must be acknowledged to stay readable. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's signature */
static int on_sni(SSL *ssl, int *alert, void *arg) {
	(void)ssl;
	(void)alert;
	(void)arg;
	return SSL_TLSEXT_ERR_OK;
}

/* ALPN of a server: ours or nothing, where we have one (tls.h). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg) {
	const struct tls *t = BIO_get_data(SSL_get_rbio(ssl));

	(void)arg;
	if (t->alpn[0] == 0)
		return SSL_TLSEXT_ERR_NOACK;
	for (unsigned at = 0; at < in_len && at + 1 + in[at] <= in_len; at += 1u + in[at]) {
		if (in[at] != t->alpn[0] || memcmp(in + at + 1, t->alpn + 1, t->alpn[0]) != 0)
			continue;
		*out = t->alpn + 1;
		*out_len = t->alpn[0];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static struct tls_ctx *wrap(SSL_CTX *ssl, bool must_match) {
	struct tls_ctx *c = xcalloc(1, sizeof(*c));

	c->ssl = ssl;
	c->must_match = must_match;
	c->refs = 1;
	return c;
}

struct tls_ctx *tls_ctx_server(struct str cert_pem, struct str key_pem, struct err *e) {
	SSL_CTX *c = ctx_new(TLS_server_method());
	int rc = use_chain(c, cert_pem);

	if (rc < 0)
		(void)err_set(e, rc, "the certificate chain cannot be read");
	else if ((rc = use_key(c, key_pem)) < 0)
		(void)err_set(e, rc, "the private key cannot be read or does not fit");
	if (rc < 0) {
		SSL_CTX_free(c);
		return NULL;
	}
	(void)SSL_CTX_set_tlsext_servername_callback(c, on_sni);
	SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
	return wrap(c, false);
}

static int use_roots(SSL_CTX *c, struct str pem) {
	BIO *b = pem_bio(pem);
	int count = 0;
	X509 *x;

	while ((x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL)) != NULL) {
		count += X509_STORE_add_cert(SSL_CTX_get_cert_store(c), x);
		X509_free(x);
	}
	BIO_free(b);
	ERR_clear_error();
	return count > 0 ? 0 : H_ETLS;
}

struct tls_ctx *tls_ctx_client(enum tls_verify verify, struct str ca_pem, struct err *e) {
	SSL_CTX *c = ctx_new(TLS_client_method());

	if (verify == TLS_VERIFY_NONE)
		return wrap(c, false);
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
	if (ca_pem.n == 0) {
		SSL_CTX_set1_cert_store(c, system_roots);
	} else if (use_roots(c, ca_pem) < 0) {
		(void)err_set(e, H_ETLS, "the CA certificates cannot be read");
		SSL_CTX_free(c);
		return NULL;
	}
	/* What stands in the file is trusted, an intermediate or the leaf itself included. */
	if (ca_pem.n != 0)
		(void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c), X509_V_FLAG_PARTIAL_CHAIN);
	return wrap(c, verify == TLS_VERIFY_NAME);
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c) {
	(void)atomic_fetch_add(&c->refs, 1);
	return c;
}

void tls_ctx_free(struct tls_ctx **cp) {
	struct tls_ctx *c = *cp;

	*cp = NULL;
	if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	SSL_CTX_free(c->ssl);
	free(c);
}

/* ---- connections ---- */

static bool is_ip(const char *name) {
	uint8_t raw[16];

	return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

/* A name that the certificate must carry although none is known matches nothing. */
static int expect_name(SSL *ssl, struct str server_name, bool must_match) {
	char name[256];

	if (server_name.n == 0)
		return must_match ? H_ETLS : 0;
	if (!str_copy(name, sizeof(name), server_name))
		return H_ETLS;
	if (is_ip(name)) {
		if (must_match && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) != 1)
			return H_ETLS;
		return 0;
	}
	if (SSL_set_tlsext_host_name(ssl, name) != 1)
		return H_ETLS;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return !must_match || SSL_set1_host(ssl, name) == 1 ? 0 : H_ETLS;
}

struct tls *tls_new(struct tls_ctx *c, int fd, struct str server_name) {
	struct tls *t = xcalloc(1, sizeof(*t));

	t->fd = fd;
	t->reason = "";
	buf_init(&t->pending, TLS_SCRATCH_SIZE);
	buf_init(&t->unsent, 4 * TLS_SCRATCH_SIZE);
	t->ssl = SSL_new(c->ssl);
	if (t->ssl == NULL)
		abort();
	BIO *b = bio_new(t);

	SSL_set_bio(t->ssl, b, b);
	if (SSL_is_server(t->ssl)) {
		SSL_set_accept_state(t->ssl);
		return t;
	}
	SSL_set_connect_state(t->ssl);
	if (expect_name(t->ssl, server_name, c->must_match) < 0) {
		t->is_dead = true;
		t->reason = "the name to verify is missing or malformed";
	}
	return t;
}

void tls_free(struct tls **tp) {
	struct tls *t = *tp;

	if (t == NULL)
		return;
	SSL_free(t->ssl);
	buf_fini(&t->pending);
	buf_fini(&t->unsent);
	free(t);
	*tp = NULL;
}

int tls_alpn(struct tls *t, struct str protocol) {
	if (protocol.n == 0 || protocol.n > ALPN_MAX)
		return H_EFORMAT;
	t->alpn[0] = (uint8_t)protocol.n;
	memcpy(t->alpn + 1, protocol.p, protocol.n);
	if (SSL_is_server(t->ssl))
		return 0;
	return SSL_set_alpn_protos(t->ssl, t->alpn, (unsigned)protocol.n + 1) == 0 ? 0 : H_EFORMAT;
}

int tls_feed(struct tls *t, struct str bytes) {
	return buf_append(&t->pending, bytes);
}

/* ---- calls ---- */

static void enter(struct tls *t, struct tls_scratch *s) {
	t->scratch = s;
	t->in_at = t->in_len = t->out_len = 0;
	t->is_empty = false;
	ERR_clear_error();
}

/* One write(2); what the socket does not take is kept. */
static int hand_over(struct tls *t, struct str bytes) {
	ssize_t n = 0;

	if (bytes.n == 0)
		return 0;
	if (t->unsent.len == 0) {
		n = write(t->fd, bytes.p, bytes.n);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return H_EIO;
		n = MAX(n, 0);
	}
	return buf_append(&t->unsent, str_from(bytes, (size_t)n));
}

/* Ends a call: what OpenSSL wrote goes out, what it did not take is kept. */
static int leave(struct tls *t, int rc) {
	struct str left = str_mem(t->scratch->in + t->in_at, t->in_len - t->in_at);
	int out = hand_over(t, str_mem(t->scratch->out, t->out_len));

	if (left.n != 0 && buf_append(&t->pending, left) < 0)
		rc = H_ETLS;
	buf_trim(&t->pending, false);
	t->scratch = NULL;
	t->in_at = t->in_len = t->out_len = 0;
	if (out < 0 && rc >= 0)
		rc = H_EIO;
	if (rc < 0 && rc != H_ECLOSED)
		t->is_dead = true;
	return rc;
}

static const char *reason_of(const struct tls *t, unsigned long code) {
	long verify = SSL_get_verify_result(t->ssl);

	if (verify != X509_V_OK)
		return X509_verify_cert_error_string(verify);
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	return text != NULL ? text : "the peer broke off";
}

/* What a call of OpenSSL's that did not succeed means. */
static int failure(struct tls *t, int ret) {
	int why = SSL_get_error(t->ssl, ret);
	unsigned long code = ERR_peek_error();

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return 0;
	if (why == SSL_ERROR_ZERO_RETURN)
		return H_ECLOSED;
	if (t->is_io_error)
		return H_EIO;
	/* EOF without close_notify: the protocols that we carry end their own messages. */
	if (t->is_eof && t->is_up &&
	    (why == SSL_ERROR_SYSCALL ||
	     ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING))
		return H_ECLOSED;
	t->reason = reason_of(t, code);
	return H_ETLS;
}

int tls_handshake(struct tls *t, struct tls_scratch *s) {
	if (t->is_dead)
		return H_ETLS;
	int rc = tls_flush(t);

	if (rc <= 0)
		return rc;
	enter(t, s);
	int ret = SSL_do_handshake(t->ssl);

	rc = ret == 1 ? 1 : failure(t, ret);
	t->is_up = rc == 1;
	if (rc == H_ECLOSED) {
		rc = H_ETLS;
		t->reason = "the peer broke off";
	}
	return leave(t, rc);
}

int tls_read(struct tls *t, struct tls_scratch *s, void *p, size_t n) {
	size_t got = 0, one = 0;
	int rc = 0;

	if (t->end != 0 || t->is_dead)
		return t->end != 0 ? t->end : H_ETLS;
	n = MIN(n, (size_t)READ_MAX);
	enter(t, s);
	while (got < n) {
		int ret = SSL_read_ex(t->ssl, (uint8_t *)p + got, n - got, &one);

		if (ret != 1) {
			rc = failure(t, ret);
			break;
		}
		got += one;
	}
	rc = leave(t, rc);
	t->end = rc;
	/* Bytes before an end or a failure are bytes: the end is told at the next call. */
	return got != 0 ? (int)got : rc;
}

int tls_write(struct tls *t, struct tls_scratch *s, struct str bytes) {
	size_t done = 0;
	int rc = 0;

	if (t->is_dead)
		return H_ETLS;
	if (bytes.n == 0 || t->unsent.len != 0)
		return 0;
	enter(t, s);
	bytes = str_head(bytes, PLAIN_MAX);
	while (rc == 0 && done < bytes.n) {
		size_t one = 0;
		int ret = SSL_write_ex(t->ssl, bytes.p + done, bytes.n - done, &one);

		if (ret != 1) {
			rc = failure(t, ret);
			break;
		}
		done += one;
	}
	rc = leave(t, rc);
	return rc < 0 ? rc : (int)done;
}

int tls_flush(struct tls *t) {
	while (t->unsent.len != 0) {
		struct str s = buf_peek(&t->unsent);
		ssize_t n = write(t->fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return H_EIO;
		buf_consume(&t->unsent, (size_t)n);
	}
	buf_trim(&t->unsent, false);
	return 1;
}

void tls_bye(struct tls *t, struct tls_scratch *s) {
	if (t->is_dead || !t->is_up)
		return;
	enter(t, s);
	(void)SSL_shutdown(t->ssl);
	(void)leave(t, 0);
}

bool tls_has_buffered(const struct tls *t) {
	return t->end != 0 || t->pending.len != 0 || SSL_has_pending(t->ssl) != 0;
}

bool tls_wants_write(const struct tls *t) {
	return t->unsent.len != 0;
}

/* ---- facts ---- */

void tls_describe(const struct tls *t, char out[TLS_TEXT_SIZE]) {
	(void)snprintf(out, TLS_TEXT_SIZE, "%s %s", SSL_get_version(t->ssl),
	               SSL_get_cipher_name(t->ssl));
}

struct str tls_sni(const struct tls *t) {
	return str_of(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name));
}

struct str tls_alpn_agreed(const struct tls *t) {
	const unsigned char *p = NULL;
	unsigned n = 0;

	SSL_get0_alpn_selected(t->ssl, &p, &n);
	return str_mem(p, n);
}

/* The hash of the certificate's own signature (of RSA-PSS, the one in its parameters), with MD5 and
 * SHA-1 lifted to SHA-256. Ed25519 and Ed448 hash inside: they name none. */
static size_t end_point_of(X509 *x, uint8_t out[64]) {
	int digest = NID_undef;
	unsigned n = 0;

	if (x == NULL || X509_get_signature_info(x, &digest, NULL, NULL, NULL) != 1)
		return 0;
	if (digest == NID_md5 || digest == NID_sha1)
		digest = NID_sha256;
	const EVP_MD *md = EVP_get_digestbynid(digest);

	if (md == NULL || EVP_MD_get_size(md) > 64 || X509_digest(x, md, out, &n) != 1)
		return 0;
	return n;
}

size_t tls_end_point(const struct tls *t, uint8_t out[64]) {
	return end_point_of(SSL_get0_peer_certificate(t->ssl), out);
}

size_t tls_own_end_point(const struct tls *t, uint8_t out[64]) {
	return end_point_of(SSL_get_certificate(t->ssl), out);
}

bool tls_peer_sha256(const struct tls *t, uint8_t out[32]) {
	X509 *x = SSL_get0_peer_certificate(t->ssl);
	unsigned n = 0;

	return x != NULL && X509_digest(x, EVP_sha256(), out, &n) == 1 && n == 32;
}

const char *tls_reason(const struct tls *t) {
	return t->reason;
}
