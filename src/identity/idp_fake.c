/*
 * idp_fake.c: tokens for tests (idp_fake.h). Written apart from the code it tests: JSON by hand,
 * signatures by OpenSSL's signing side.
 */
#include "identity/idp_fake.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include "base/crypto.h"

void idp_b64(struct buf *out, struct str s) {
	auto_free char *text = xmalloc(4 * ((s.n + 2) / 3) + 1);
	size_t n = base64_encode(text, s.p, s.n);

	while (n != 0 && text[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '+')
			text[i] = '-';
		else if (text[i] == '/')
			text[i] = '_';
	}
	w_bytes(out, str_mem(text, n));
}

void idp_key_make(struct idp_key *k, enum jwt_alg alg, const char *kid, unsigned bits) {
	*k = (struct idp_key){ .alg = alg };
	(void)str_copy(k->kid, sizeof(k->kid), str_of(kid));
	if (alg == JWT_ES256)
		k->pkey = EVP_EC_gen("P-256");
	else if (alg == JWT_EDDSA)
		k->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		k->pkey = EVP_RSA_gen(bits);
	if (k->pkey == NULL)
		abort();
}

void idp_key_free(struct idp_key *k) {
	EVP_PKEY_free(k->pkey);
	k->pkey = NULL;
}

static void put_bn(struct buf *out, const struct idp_key *k, const char *param, int pad) {
	uint8_t bytes[1024];
	BIGNUM *bn = NULL;

	if (EVP_PKEY_get_bn_param(k->pkey, param, &bn) != 1)
		abort();
	int n = pad != 0 ? BN_bn2binpad(bn, bytes, pad) : BN_bn2bin(bn, bytes);

	idp_b64(out, str_mem(bytes, (size_t)n));
	BN_free(bn);
}

void idp_jwk(struct buf *out, const struct idp_key *k, const char *extra) {
	uint8_t raw[32];
	size_t n = sizeof(raw);

	w_fmt(out, "{\"kid\":\"%s\",", k->kid);
	if (extra != NULL)
		w_fmt(out, "%s,", extra);
	if (k->alg == JWT_ES256) {
		w_fmt(out, "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
		put_bn(out, k, OSSL_PKEY_PARAM_EC_PUB_X, 32);
		w_fmt(out, "\",\"y\":\"");
		put_bn(out, k, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
	} else if (k->alg == JWT_EDDSA) {
		if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1)
			abort();
		w_fmt(out, "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
		idp_b64(out, str_mem(raw, n));
	} else {
		w_fmt(out, "\"kty\":\"RSA\",\"n\":\"");
		put_bn(out, k, OSSL_PKEY_PARAM_RSA_N, 0);
		w_fmt(out, "\",\"e\":\"");
		put_bn(out, k, OSSL_PKEY_PARAM_RSA_E, 0);
	}
	w_fmt(out, "\"}");
}

void idp_jwks(struct buf *out, const struct idp_key *keys, size_t n) {
	w_fmt(out, "{\"keys\":[");
	for (size_t i = 0; i < n; i++) {
		if (i != 0)
			w_fmt(out, ",");
		idp_jwk(out, &keys[i], "\"use\":\"sig\"");
	}
	w_fmt(out, "]}");
}

/* DER to two numbers of 32 bytes. */
static size_t raw_of(uint8_t *sig, size_t n) {
	const uint8_t *p = sig;
	ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)n);

	if (s == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, 32) != 32 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + 32, 32) != 32)
		abort();
	ECDSA_SIG_free(s);
	return 64;
}

static size_t sign(const struct idp_key *k, struct str input, uint8_t sig[1024]) {
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	const EVP_MD *md = k->alg == JWT_EDDSA ? NULL : EVP_sha256();
	size_t n = 1024;
	bool ok = EVP_DigestSignInit(ctx, &pctx, md, NULL, k->pkey) == 1;

	if (k->alg == JWT_PS256)
		ok = ok && EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	if (!ok || EVP_DigestSign(ctx, sig, &n, (const uint8_t *)input.p, input.n) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
	return k->alg == JWT_ES256 ? raw_of(sig, n) : n;
}

static void put_input(struct buf *b, const char *header, const char *claims) {
	buf_init(b, 256 * KIB);
	idp_b64(b, str_of(header));
	w_fmt(b, ".");
	idp_b64(b, str_of(claims));
}

static char *finish(struct buf *b, struct str sig) {
	w_fmt(b, ".");
	idp_b64(b, sig);
	char *token = str_dup(buf_peek(b));

	buf_fini(b);
	return token;
}

char *idp_token(const struct idp_key *k, const char *header, const char *claims) {
	uint8_t sig[1024];
	char usual[160];
	struct buf b;

	(void)snprintf(usual, sizeof(usual), "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
	               jwt_alg_name(k->alg), k->kid);
	put_input(&b, header != NULL ? header : usual, claims);
	size_t n = sign(k, buf_peek(&b), sig);

	return finish(&b, str_mem(sig, n));
}

char *idp_token_hs256(struct str secret, const char *header, const char *claims) {
	uint8_t mac[SHA256_SIZE];
	struct buf b;

	put_input(&b, header, claims);
	hmac_sha256(mac, secret, buf_peek(&b));
	return finish(&b, str_mem(mac, sizeof(mac)));
}
