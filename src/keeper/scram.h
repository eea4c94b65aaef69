/*
 * scram.h: the client of SCRAM-SHA-256 (RFC 5802, RFC 7677), pure.
 *
 *   client  n,,n=,r=<nonce>                                scram_first
 *   server  r=<nonce><server's>,s=<salt>,i=<count>         scram_challenge
 *   client  c=biws,r=…,p=<proof>                           scram_final
 *   server  v=<signature>                                  scram_verify
 *
 * Channel binding (RFC 5929, tls-server-end-point): scram_bind() before the first message. The gs2
 * header then is "p=tls-server-end-point,," and c= holds the certificate's hash behind it; or "y,,"
 * when we could bind and the server did not offer it: one that did offer it, to somebody in between
 * who took the offer away, refuses that. The header is part of what is proven, so nobody can
 * change it on the way. Without scram_bind() it is "n,,". The user name is empty, as PostgreSQL takes it from the
 * startup packet. Keys come from outside (scram_keys), so that they can be cached: the slow part is
 * done once per (password, salt, count).
 */
#ifndef KEEPER_SCRAM_H
#define KEEPER_SCRAM_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"

#define SCRAM_ITERATIONS_MIN 4096u
/* The keeper has one thread, and a target says how long it computes: 100000 take some 50 ms. */
#define SCRAM_ITERATIONS_MAX 100000u
#define SCRAM_SALT_MAX 64
#define SCRAM_NONCE_MAX 256 /* both parts */
#define SCRAM_MESSAGE_MAX 1024
#define SCRAM_NONCE_BYTES 18

struct scram_keys {
	uint8_t client_key[SHA256_SIZE];
	uint8_t server_key[SHA256_SIZE];
	uint8_t stored_key[SHA256_SIZE]; /* SHA-256 of the client key: what the server keeps */
};

struct scram_challenge {
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint32_t iterations;
};

enum scram_binding {
	SCRAM_UNBOUND,     /* n: no TLS, or none that can be bound to */
	SCRAM_NOT_OFFERED, /* y: we can, the server does not seem to */
	SCRAM_BOUND        /* p */
};

struct scram {
	enum scram_binding binding;
	uint8_t end_point[64]; /* SCRAM_BOUND: hash of the server's certificate */
	size_t end_point_len;
	char first_bare[SCRAM_NONCE_MAX]; /* "n=,r=<nonce>" */
	char nonce[64];                   /* ours */
	char both[SCRAM_NONCE_MAX + 1];   /* ours and the server's */
	char server_first[SCRAM_MESSAGE_MAX + 1];
	uint8_t signature[SHA256_SIZE]; /* that the server must show */
	bool has_signature;
};

/* PBKDF2 and what follows from it. The password is used as it stands: ASCII needs no SASLprep, other
 * text must be in normal form KC already (docs/configuration.md says so). */
void scram_keys(struct scram_keys *k, struct str password, const struct scram_challenge *c);
/* Says how the exchange is bound to TLS; comes before scram_first(). end_point is of 1 to 64 bytes where
 * it is bound. H_EFORMAT. */
int scram_bind(struct scram *s, enum scram_binding binding, struct str end_point) must_use;
/* Starts an exchange, which scram_bind() may have prepared, else zeroed. user: empty for PostgreSQL; nonce: printable text without commas. Writes the
 * client's first message. H_EFORMAT. */
int scram_first(struct scram *s, struct str user, struct str nonce, struct buf *out) must_use;
/* Reads the server's first message: nonce must continue ours, count and salt must be in bounds. The
 * sentence in *ret_why is static. */
int scram_challenge(struct scram *s, struct str message, struct scram_challenge *ret,
                    const char **ret_why) must_use;
/* Writes the client's final message and remembers what the server must answer. */
int scram_final(struct scram *s, const struct scram_keys *k, struct buf *out) must_use;
/* 0 only when the server has proven that it knows the keys. */
int scram_verify(const struct scram *s, struct str message, const char **ret_why) must_use;
void scram_wipe(struct scram *s);

#endif
