/*
 * jwt.h: signed tokens in compact form (RFC 7515, RFC 7519), up to and not including their claims.
 *
 *   base64url(header) "." base64url(payload) "." base64url(signature)
 *
 * The order is the point: jwt_parse() reads the header alone and leaves the payload as the bytes that
 * came; jwks_verify() checks the signature over those bytes; only then claims_parse() looks at what
 * they say. Nothing in the header can choose more than one of four algorithms and one of the keys
 * that we hold already: jku, jwk, x5u and x5c are never looked at.
 */
#ifndef IDENTITY_JWT_H
#define IDENTITY_JWT_H

#include "base/err.h"
#include "base/mem.h"

#define JWT_SIZE_MAX ((size_t)64 * 1024)
#define JWT_SIG_MAX 1024 /* RSA of 8192 bits */
#define JWT_KID_MAX 255

enum jwt_alg { JWT_RS256, JWT_PS256, JWT_ES256, JWT_EDDSA, JWT_ALG_COUNT };
const char *jwt_alg_name(enum jwt_alg alg);
int jwt_alg_of(struct str name, enum jwt_alg *ret) must_use; /* H_ENOTFOUND */

/* What is wrong with a token; the keeper has a reason of refusal for each. */
enum token_wrong {
	TOKEN_FINE,
	TOKEN_MALFORMED,   /* not a compact JWS of ours */
	TOKEN_ALGORITHM,   /* none, HS256, any that is not accepted */
	TOKEN_KEY_UNKNOWN, /* no issuer has the key that it names */
	TOKEN_SIGNATURE,
	TOKEN_ISSUER,
	TOKEN_AUDIENCE,
	TOKEN_EXPIRED,
	TOKEN_NOT_YET, /* nbf or iat in the future */
	TOKEN_LIFETIME,
	TOKEN_CLAIMS, /* its claims are not what they must be */
	TOKEN_NO_MAPPING,
	TOKEN_MAPPING, /* a mapping matched and could not be filled */
	TOKEN_WRONG_COUNT
};
/* Fills e (code H_EREFUSED) and returns wrong. */
enum token_wrong token_wrong(struct err *e, enum token_wrong wrong, const char *fmt, ...)
	printf_like(3, 4);

struct jwt {
	enum jwt_alg alg;
	struct str kid;    /* empty: none; in the arena */
	struct str input;  /* what was signed, borrowed from the token */
	struct str claims; /* the middle part, still base64url, borrowed */
	uint8_t sig[JWT_SIG_MAX];
	size_t sig_len;
};

/* Could it be one? Three parts with dots between, and a header that begins an object. */
bool jwt_looks(struct str token);
/* Pure. The sentence in e tells what is wrong and quotes nothing but short, clean text. */
enum token_wrong jwt_parse(struct jwt *t, struct arena *a, struct str token, struct err *e)
	must_use;

/* RFC 4648 base64url without padding, strict: unused bits zero. Count, H_EFORMAT or H_ELIMIT. */
int base64url_decode(uint8_t *dst, size_t cap, struct str s) must_use;

#endif
