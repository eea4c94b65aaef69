/*
 * scram_server.h: the server of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), pure: how a client
 * proves that it knows a token without saying it.
 *
 *   client  n,,n=,r=<nonce>                    scram_server_first
 *   server  r=<nonce><ours>,s=<salt>,i=<count>
 *   client  c=biws,r=…,p=<proof>               scram_server_final
 *   server  v=<signature>
 *
 * What is kept of a token is a verifier: from it nobody can log in, and a token has 200 random bits, so
 * nobody finds it from there either. The user name inside the messages is not looked at, as PostgreSQL does
 * not: the one of the startup packet counts. Tokens are ASCII, so SASLprep (RFC 4013) leaves them as they are.
 *
 * An exchange for a key that does not exist runs to its end with a verifier of no password
 * (is_real false): the same messages, the same work, and no proof is right.
 *
 * Channel binding (RFC 5929, tls-server-end-point): PLUS is offered wherever our certificate can be bound to.
 *   "p=tls-server-end-point"  PLUS alone; c= must hold the hash of the certificate that we showed
 *   "y"  the client could, and thinks that we do not offer it: when we do, somebody took the offer away
 *   "n"  the client cannot
 *
 * The client's messages are split strictly: attributes in the RFC's order, no extension, no authorization
 * identity, base64 canonical, every length bounded before a byte is copied.
 */
#ifndef IDENTITY_SCRAM_SERVER_H
#define IDENTITY_SCRAM_SERVER_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"

#define SCRAM_ITERATIONS 4096u
#define SCRAM_VERIFIER_SALT 16
#define SCRAM_SERVER_NONCE_BYTES 18 /* random, of our part: 24 symbols */
#define SCRAM_PLAIN "SCRAM-SHA-256"
#define SCRAM_PLUS "SCRAM-SHA-256-PLUS"
enum {
	SCRAM_CLIENT_FIRST_MAX = 640,
	SCRAM_CLIENT_NONCE_MAX = 256,
	SCRAM_SERVER_NONCE_MAX = 32,
	SCRAM_CLIENT_FINAL_MAX = 640,
	SCRAM_SERVER_FIRST_MAX = SCRAM_CLIENT_NONCE_MAX + SCRAM_SERVER_NONCE_MAX + 48,
	SCRAM_SERVER_FINAL_SIZE = 2 + 44 + 1 /* "v=", base64 of 32 bytes, NUL */
};

struct scram_verifier {
	uint8_t salt[SCRAM_VERIFIER_SALT];
	uint32_t iterations;
	uint8_t stored_key[SHA256_SIZE];
	uint8_t server_key[SHA256_SIZE];
};

enum scram_wrong {
	SCRAM_FINE,
	SCRAM_WRONG_FORM,      /* not what the RFC says, or a mechanism that was not offered */
	SCRAM_WRONG_DOWNGRADE, /* "y" although PLUS was offered */
	SCRAM_WRONG_BINDING,   /* bound to another certificate, or c= is not what was announced */
	SCRAM_WRONG_PROOF
};

enum scram_bound { SCRAM_BOUND_NOT, SCRAM_BOUND_NOT_OFFERED, SCRAM_BOUND_TLS };

struct scram_server {
	struct scram_verifier verifier;
	bool is_real;
	bool is_plus;
	enum scram_bound bound;
	uint8_t end_point[64];
	size_t end_point_len;
	char first_bare[SCRAM_CLIENT_FIRST_MAX + 1];
	char both[SCRAM_CLIENT_NONCE_MAX + SCRAM_SERVER_NONCE_MAX +
	          1]; /* the client's nonce and ours */
	char server_first[SCRAM_SERVER_FIRST_MAX + 1];
};

struct scram_ask {
	struct str mechanism; /* SCRAM_PLAIN or SCRAM_PLUS */
	struct str message;   /* client-first */
	struct str end_point; /* of our certificate; empty: PLUS was not offered */
	struct str nonce;     /* ours: printable, without comma, at most SCRAM_SERVER_NONCE_MAX */
};

/* Computes what is kept of a password. Takes some milliseconds (SCRAM_ITERATIONS). */
void scram_verifier_make(struct scram_verifier *v, struct str password,
                         const uint8_t salt[SCRAM_VERIFIER_SALT]);
/* Begins an exchange; s->verifier and s->is_real were set by the caller, the rest is zero. Appends
 * server-first to out when all is well. */
enum scram_wrong scram_server_first(struct scram_server *s, const struct scram_ask *ask,
                                    struct buf *out) must_use;
/* Judges client-final, once. SCRAM_FINE: out is server-final, which proves that we hold the verifier.
 * The order of what is looked at (form, binding, nonce, proof) is the same for every key. */
enum scram_wrong scram_server_final(const struct scram_server *s, struct str message,
                                    char out[SCRAM_SERVER_FINAL_SIZE]) must_use;
void scram_server_wipe(struct scram_server *s);

#endif
