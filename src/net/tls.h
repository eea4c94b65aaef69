/*
 * tls.h: TLS over a non-blocking socket, by OpenSSL behind a BIO of our own.
 *
 * The BIO keeps the number of system calls down to one per direction and turn: tls_read() takes all
 * that the socket has with one read(2) into a scratch area of the thread and lets OpenSSL decrypt
 * from there; tls_write() collects the records of one call and hands them over with one write(2).
 * What is left over in either direction waits in a buffer of the connection, which exists only then.
 * An idle connection costs OpenSSL's own objects and no buffer.
 *
 * TLS 1.2 and 1.3, P-256 and X25519, no renegotiation, no compression, no session tickets on the
 * server's side (they would be keys that live beyond a session).
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* The scratch of one thread: bytes of one read(2) or one write(2). */
#define TLS_SCRATCH_SIZE ((size_t)64 * 1024 + 2048)
struct tls_scratch {
	uint8_t in[TLS_SCRATCH_SIZE];
	uint8_t out[TLS_SCRATCH_SIZE];
};

/* Same numbers as enum tls_mode of session/proto.h, without `disable`. */
enum tls_verify { TLS_VERIFY_NONE = 1, TLS_VERIFY_CHAIN = 2, TLS_VERIFY_NAME = 3 };

struct tls_ctx; /* counted: every connection made from it holds one */
struct tls;

/* Once per process, before confinement: loads the system's roots, if there are any. */
void tls_setup(void);
/* Those roots, for a library that makes its own contexts (egress/fetch.h). Borrowed; after tls_setup(). */
struct x509_store_st *tls_system_roots(void) must_use;

/* Certificate chain (leaf first) and key in PEM. NULL, with the reason in *e, when they do not fit. */
struct tls_ctx *tls_ctx_server(struct str cert_pem, struct str key_pem, struct err *e) must_use;
/* ca_pem empty: the system's roots. */
struct tls_ctx *tls_ctx_client(enum tls_verify verify, struct str ca_pem, struct err *e) must_use;
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_free(struct tls_ctx **c);

/* server_name: for a client, host name or IP address to ask for (SNI, names only) and, with
 * TLS_VERIFY_NAME, to find in the certificate. fd stays the caller's. */
struct tls *tls_new(struct tls_ctx *c, int fd, struct str server_name) must_use;
void tls_free(struct tls **t);
/* ALPN, before the handshake: the one protocol that a client offers, or that a server accepts. A
 * server that was told none ignores the client's offer; one that was told one breaks off with a
 * client that offers only others. H_EFORMAT for a name that is empty or over 31 bytes. */
int tls_alpn(struct tls *t, struct str protocol) must_use;
/* Bytes that were read from the socket before TLS was made and belong to it. H_ELIMIT. */
int tls_feed(struct tls *t, struct str bytes) must_use;

/* 1 done, 0 not yet (tls_wants_write tells for what), H_ETLS or H_ECLOSED. */
int tls_handshake(struct tls *t, struct tls_scratch *s) must_use;
/* Fills at most n bytes: the count; 0 nothing now; H_ECLOSED clean end (close_notify or EOF, told
 * apart by nobody above), H_ETLS, H_EIO. Level-triggered waiting is right only when
 * !tls_has_buffered(). */
int tls_read(struct tls *t, struct tls_scratch *s, void *p, size_t n) must_use;
/* Takes bytes: the count (may be short), 0 when earlier ones wait for the socket, or a code. */
int tls_write(struct tls *t, struct tls_scratch *s, struct str bytes) must_use;
/* Hands over what waits: 1 nothing waits any more, 0 some does, or a code. */
int tls_flush(struct tls *t) must_use;
/* close_notify, as far as the socket takes it. */
void tls_bye(struct tls *t, struct tls_scratch *s);
/* Bytes, or an end, that a read would yield without the socket becoming readable. */
bool tls_has_buffered(const struct tls *t);
bool tls_wants_write(const struct tls *t);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
#define TLS_TEXT_SIZE 80
void tls_describe(const struct tls *t, char out[TLS_TEXT_SIZE]);
/* The name that the client asked for, empty when none. Borrowed. */
struct str tls_sni(const struct tls *t);
/* What ALPN agreed on, empty when nothing. Borrowed. */
struct str tls_alpn_agreed(const struct tls *t);
/* RFC 5929 tls-server-end-point of the peer's certificate: bytes written (at most 64), or 0 when
 * there is none, or its signature names no hash (EdDSA: the RFC leaves that open). */
size_t tls_end_point(const struct tls *t, uint8_t out[64]);
/* The same of our own certificate. */
size_t tls_own_end_point(const struct tls *t, uint8_t out[64]);
/* SHA-256 of the peer's certificate; false when there is none. */
bool tls_peer_sha256(const struct tls *t, uint8_t out[32]);
/* Why the last call failed, one short sentence without foreign bytes. */
const char *tls_reason(const struct tls *t);

#endif
