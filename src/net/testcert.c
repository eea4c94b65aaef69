/* testcert.c: see testcert.h. */
#include "net/testcert.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static void to_text(BIO *b, char *out, size_t cap) {
	int n = BIO_read(b, out, (int)cap - 1);

	out[n > 0 ? n : 0] = '\0';
	BIO_free(b);
}

static void sign(X509 *x, EVP_PKEY *key, const char *san, const char *digest) {
	X509_NAME *name = X509_get_subject_name(x);
	X509V3_CTX ctx;

	(void)X509_set_version(x, X509_VERSION_3);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"test", -1, -1,
	                                 0);
	(void)X509_set_issuer_name(x, name);
	(void)X509_set_pubkey(x, key);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);

	(void)X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	(void)X509_sign(x, key, digest != NULL ? EVP_get_digestbyname(digest) : NULL);
}

static EVP_PKEY *key_make(const char *algorithm) {
	if (strcmp(algorithm, "EC") == 0)
		return EVP_EC_gen("P-256");
	if (strcmp(algorithm, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, algorithm);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
	EVP_PKEY *key = NULL;

	(void)EVP_PKEY_keygen_init(ctx);
	(void)EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048);
	(void)EVP_PKEY_generate(ctx, &key);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

void testcert_make(struct testcert *c, const char *san) {
	testcert_make_as(c, san, "EC", "SHA256");
}

void testcert_make_as(struct testcert *c, const char *san, const char *algorithm,
                      const char *digest) {
	EVP_PKEY *key = key_make(algorithm);
	X509 *x = X509_new();
	BIO *cert = BIO_new(BIO_s_mem()), *pem = BIO_new(BIO_s_mem());

	sign(x, key, san, digest);
	(void)PEM_write_bio_X509(cert, x);
	(void)PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL);
	to_text(cert, c->cert, sizeof(c->cert));
	to_text(pem, c->key, sizeof(c->key));
	X509_free(x);
	EVP_PKEY_free(key);
}
