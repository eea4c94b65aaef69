/*
 * jwks.c: keys from JSON into OpenSSL, signatures through EVP (jwks.h).
 *
 * RSA of 2048 to 8192 bits (RS256, PS256), EC on P-256 (ES256), Ed25519 (EdDSA). A point that is not on
 * its curve, an even or small exponent, a `use` other than sig, `key_ops` without verify, an `alg`
 * that is not ours: the key is left out, and a token that names it is told why.
 *
 * ES256 signatures come as two numbers of 32 bytes; OpenSSL wants them in DER. Exactly 64 bytes are
 * accepted. PS256 has a salt as long as its hash (RFC 7518 §3.5).
 */
#include "identity/jwks.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, P256_SIZE = 32, ED_SIZE = 32 };
enum kty { KTY_RSA, KTY_P256, KTY_ED25519 };

struct key {
	char kid[JWT_KID_MAX + 1];
	bool has_kid, has_alg;
	enum kty kty;
	enum jwt_alg alg; /* when has_alg */
	EVP_PKEY *pkey;   /* NULL: left out */
	const char *why;  /* then; static text */
};

struct jwks {
	struct key keys[JWKS_KEYS_MAX];
	size_t n, used;
};

/* ---- members of a key ---- */

static struct str text_of(const json_t *o, const char *name) {
	const json_t *v = json_object_get(o, name);

	return str_mem(json_string_value(v), json_string_length(v));
}

/* Bytes of a base64url member: count, or H_EFORMAT. */
static int bytes_of(const json_t *o, const char *name, uint8_t *out, size_t cap) {
	struct str s = text_of(o, name);
	int n = s.n != 0 ? base64url_decode(out, cap, s) : H_EFORMAT;

	return n > 0 ? n : H_EFORMAT;
}

static const char *check_use(const json_t *o) {
	const json_t *use = json_object_get(o, "use"), *ops = json_object_get(o, "key_ops");
	bool may_verify = ops == NULL;

	if (use != NULL && !str_is(text_of(o, "use"), "sig"))
		return "its use is not sig";
	for (size_t i = 0; i < json_array_size(ops); i++) {
		const char *op = json_string_value(json_array_get(ops, i));

		may_verify = may_verify || (op != NULL && strcmp(op, "verify") == 0);
	}
	return may_verify ? NULL : "its key_ops do not have verify";
}

/* ---- OpenSSL ---- */

static EVP_PKEY *pkey_make(const char *type, OSSL_PARAM_BLD *bld) {
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return pkey;
}

/* The point is on the curve. */
static bool pkey_ok(EVP_PKEY *pkey) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	bool ok = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static const char *rsa_make(struct key *k, const json_t *o) {
	uint8_t n[RSA_BITS_MAX / 8], e[8];
	int n_len = bytes_of(o, "n", n, sizeof(n)), e_len = bytes_of(o, "e", e, sizeof(e));

	if (n_len < 0 || e_len < 0)
		return "its n or e is malformed or too large";
	BIGNUM *bn = BN_bin2bn(n, n_len, NULL), *be = BN_bin2bn(e, e_len, NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	const char *why = NULL;

	if (bn == NULL || BN_num_bits(bn) < RSA_BITS_MIN || !BN_is_odd(bn))
		why = "RSA below 2048 bits, or no RSA modulus";
	else if (be == NULL || !BN_is_odd(be) || BN_num_bits(be) < 2)
		why = "its RSA exponent is not fit";
	else if (bld == NULL || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) != 1 ||
	         OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be) != 1)
		why = "the key cannot be made";
	else
		k->pkey = pkey_make("RSA", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(bn);
	BN_free(be);
	return why;
}

static const char *ec_make(struct key *k, const json_t *o) {
	uint8_t point[1 + 2 * P256_SIZE] = { 4 };

	if (!str_is(text_of(o, "crv"), "P-256"))
		return "its curve is not P-256";
	if (bytes_of(o, "x", point + 1, P256_SIZE) != P256_SIZE ||
	    bytes_of(o, "y", point + 1 + P256_SIZE, P256_SIZE) != P256_SIZE)
		return "its x or y is malformed";
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();

	if (bld != NULL &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
	            1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) ==
	            1)
		k->pkey = pkey_make("EC", bld);
	OSSL_PARAM_BLD_free(bld);
	if (k->pkey != NULL && !pkey_ok(k->pkey)) {
		EVP_PKEY_free(k->pkey);
		k->pkey = NULL;
	}
	return k->pkey != NULL ? NULL : "its point is not on the curve";
}

static const char *ed_make(struct key *k, const json_t *o) {
	uint8_t x[ED_SIZE];

	if (!str_is(text_of(o, "crv"), "Ed25519"))
		return "its curve is not Ed25519";
	if (bytes_of(o, "x", x, sizeof(x)) != ED_SIZE)
		return "its x is malformed";
	k->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, sizeof(x));
	return NULL;
}

/* ---- keys ---- */

static bool alg_fits(enum kty kty, enum jwt_alg alg) {
	switch (alg) {
	case JWT_RS256:
	case JWT_PS256:
		return kty == KTY_RSA;
	case JWT_ES256:
		return kty == KTY_P256;
	case JWT_EDDSA:
		return kty == KTY_ED25519;
	case JWT_ALG_COUNT:
		break;
	}
	return false;
}

static const char *check_alg(struct key *k, const json_t *o) {
	struct str alg = text_of(o, "alg");

	if (json_object_get(o, "alg") == NULL)
		return NULL;
	k->has_alg = jwt_alg_of(alg, &k->alg) == 0 ||
	             (str_is(alg, "Ed25519") && jwt_alg_of(STR("EdDSA"), &k->alg) == 0);
	return k->has_alg && alg_fits(k->kty, k->alg) ? NULL
	                                              : "its alg is not one that is accepted";
}

static const char *key_make(struct key *k, const json_t *o) {
	struct str kty = text_of(o, "kty");
	const char *why = check_use(o);

	if (str_is(kty, "RSA"))
		k->kty = KTY_RSA;
	else if (str_is(kty, "EC"))
		k->kty = KTY_P256;
	else if (str_is(kty, "OKP"))
		k->kty = KTY_ED25519;
	else
		return "its kty is not RSA, EC or OKP";
	if (why == NULL)
		why = check_alg(k, o);
	if (why != NULL)
		return why;
	switch (k->kty) {
	case KTY_RSA:
		return rsa_make(k, o);
	case KTY_P256:
		return ec_make(k, o);
	case KTY_ED25519:
		return ed_make(k, o);
	}
	return NULL;
}

static void key_add(struct jwks *set, const json_t *o) {
	struct key *k = &set->keys[set->n++];
	struct str kid = text_of(o, "kid");

	if (json_object_get(o, "kid") == NULL)
		k->has_kid = false;
	else if (json_is_string(json_object_get(o, "kid")) && str_copy(k->kid, sizeof(k->kid), kid))
		k->has_kid = true;
	else
		k->why = "its kid is no text of at most 255 bytes";
	if (k->why == NULL)
		k->why = json_is_object(o) ? key_make(k, o) : "it is no object";
	if (k->why == NULL && k->pkey == NULL)
		k->why = "the key cannot be made";
	if (k->why != NULL) {
		EVP_PKEY_free(k->pkey);
		k->pkey = NULL;
	}
	set->used += k->pkey != NULL;
}

struct jwks *jwks_parse(struct str json, struct err *e) {
	json_t *doc = NULL;

	if (json.n != 0 && json.n <= JWKS_SIZE_MAX)
		doc = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *keys = json_object_get(doc, "keys");
	struct jwks *set = NULL;

	if (!json_is_array(keys)) {
		(void)err_set(e, H_EFORMAT, "no JSON Web Key Set of at most %zu bytes",
		              JWKS_SIZE_MAX);
	} else if (json_array_size(keys) > JWKS_KEYS_MAX) {
		(void)err_set(e, H_ELIMIT, "the key set has more than %d keys", JWKS_KEYS_MAX);
	} else {
		set = xcalloc(1, sizeof(*set));
		for (size_t i = 0; i < json_array_size(keys); i++)
			key_add(set, json_array_get(keys, i));
	}
	if (set != NULL && set->used == 0) {
		(void)err_set(e, H_EFORMAT, "the key set has no key that can be used%s%s",
		              set->n != 0 ? ": of the first, " : "",
		              set->n != 0 ? set->keys[0].why : "");
		jwks_free(&set);
	}
	json_decref(doc);
	return set;
}

void jwks_free(struct jwks **kp) {
	struct jwks *set = *kp;

	*kp = NULL;
	if (set == NULL)
		return;
	for (size_t i = 0; i < set->n; i++)
		EVP_PKEY_free(set->keys[i].pkey);
	free(set);
}

size_t jwks_count(const struct jwks *k) {
	return k->used;
}

/* ---- choosing ---- */

static bool kid_is(const struct key *k, struct str kid) {
	return k->has_kid && str_eq(str_of(k->kid), kid);
}

static bool is_fit(const struct key *k, const struct jwt *t) {
	return k->pkey != NULL && alg_fits(k->kty, t->alg) && (!k->has_alg || k->alg == t->alg);
}

/* The keys to try: those of the token's kid, or the only one that fits a token without. */
static size_t candidates(const struct jwks *set, const struct jwt *t,
                         const struct key *out[JWKS_KEYS_MAX]) {
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		const struct key *k = &set->keys[i];

		if (is_fit(k, t) && (t->kid.n == 0 || kid_is(k, t->kid)))
			out[n++] = k;
	}
	return t->kid.n != 0 || n == 1 ? n : 0;
}

bool jwks_has(const struct jwks *k, const struct jwt *t) {
	const struct key *out[JWKS_KEYS_MAX];

	return candidates(k, t, out) != 0;
}

/* ---- verifying ---- */

/* r and s of 32 bytes each to DER; the length, or 0. The caller frees with OPENSSL_free. */
static int der_of(const struct jwt *t, uint8_t **ret) {
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(t->sig, P256_SIZE, NULL);
	BIGNUM *s = BN_bin2bn(t->sig + P256_SIZE, P256_SIZE, NULL);
	int n = 0;

	*ret = NULL;
	if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* the signature's now */
		n = i2d_ECDSA_SIG(sig, ret);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n > 0 ? n : 0;
}

static bool evp_verify(const struct key *k, const struct jwt *t, const uint8_t *sig, size_t n) {
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL; /* ctx's */
	const EVP_MD *md = t->alg == JWT_EDDSA ? NULL : EVP_sha256();
	bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, &pctx, md, NULL, k->pkey) == 1;

	if (ok && t->alg == JWT_PS256)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	ok = ok && EVP_DigestVerify(ctx, sig, n, (const uint8_t *)t->input.p, t->input.n) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool key_verify(const struct key *k, const struct jwt *t) {
	if (t->alg != JWT_ES256)
		return evp_verify(k, t, t->sig, t->sig_len);
	uint8_t *der = NULL;
	int n = t->sig_len == 2 * (size_t)P256_SIZE ? der_of(t, &der) : 0;
	bool ok = n > 0 && evp_verify(k, t, der, (size_t)n);

	OPENSSL_free(der);
	return ok;
}

/* Why there is none: it was left out, is of another kind, or is not there. */
static enum token_wrong no_key(const struct jwks *set, const struct jwt *t, struct err *e) {
	if (t->kid.n == 0)
		return token_wrong(e, TOKEN_KEY_UNKNOWN,
		                   "the token names no key (kid), and not exactly one fits %s",
		                   jwt_alg_name(t->alg));
	for (size_t i = 0; i < set->n; i++) {
		const struct key *k = &set->keys[i];

		if (!kid_is(k, t->kid))
			continue;
		if (k->pkey != NULL)
			return token_wrong(e, TOKEN_ALGORITHM, "key %.64s is not one for %s",
			                   k->kid, jwt_alg_name(t->alg));
		return token_wrong(e, TOKEN_KEY_UNKNOWN, "key %.64s cannot be used: %s", k->kid,
		                   k->why);
	}
	return token_wrong(e, TOKEN_KEY_UNKNOWN, "no key is named %.*s",
	                   (int)MIN(t->kid.n, (size_t)64), t->kid.p);
}

enum token_wrong jwks_verify(const struct jwks *k, const struct jwt *t, struct err *e) {
	const struct key *out[JWKS_KEYS_MAX];
	size_t n = candidates(k, t, out);

	if (n == 0)
		return no_key(k, t, e);
	for (size_t i = 0; i < n; i++) {
		if (key_verify(out[i], t))
			return TOKEN_FINE;
	}
	if (t->kid.n == 0)
		return token_wrong(e, TOKEN_SIGNATURE,
		                   "the signature was not made with the issuer's only key");
	return token_wrong(e, TOKEN_SIGNATURE, "the signature was not made with key %.*s",
	                   (int)MIN(t->kid.n, (size_t)64), t->kid.p);
}
