/*
 * pem.c: OpenSSL's readers of PEM behind two questions (pem.h).
 *
 * Encrypted private keys are refused: there is nobody to type the passphrase when the gateway
 * starts at night. OpenSSL's error queue is cleared, so that its leftovers confuse nobody.
 */
#include "config/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* The passphrase for all that is encrypted: none. Without it OpenSSL would ask at the terminal. */
static char no_passphrase[] = "";

static BIO *bio_of(struct str s) {
	assert(s.n <= INT32_MAX);
	BIO *b = BIO_new_mem_buf(s.p != NULL ? s.p : "", (int)s.n);

	if (b == NULL)
		abort();
	return b;
}

static X509 *first_cert(struct str pem) {
	BIO *b = bio_of(pem);
	X509 *cert = PEM_read_bio_X509(b, NULL, NULL, no_passphrase);

	BIO_free(b);
	return cert;
}

static EVP_PKEY *private_key(struct str pem) {
	BIO *b = bio_of(pem);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, no_passphrase);

	BIO_free(b);
	return key;
}

static const char *pair_wrong(const X509 *cert, const EVP_PKEY *key, int *ret_days) {
	int days = 0, seconds = 0;

	if (cert == NULL)
		return "the certificate is not PEM";
	if (key == NULL)
		return "the private key is not PEM, or is encrypted";
	if (X509_check_private_key(cert, key) != 1)
		return "the private key does not belong to the certificate";
	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) != 1)
		return "the certificate's time cannot be read";
	if (ret_days != NULL)
		*ret_days = seconds < 0 && days == 0 ? -1 : days;
	return NULL;
}

int pem_pair_check(struct str cert_pem, struct str key_pem, int *ret_days, const char **ret_why) {
	X509 *cert = first_cert(cert_pem);
	EVP_PKEY *key = private_key(key_pem);

	*ret_why = pair_wrong(cert, key, ret_days);
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return *ret_why == NULL ? 0 : H_ECONFIG;
}

/* A label that is no word tells a wildcard from a list of names. */
bool pem_carries_domain(struct str cert_pem, struct str domain) {
	X509 *cert = first_cert(cert_pem);
	char name[256];
	int n = snprintf(name, sizeof(name), "any-label-0.%.*s", STR_ARG(domain));
	bool is_there = cert != NULL && n > 0 && (size_t)n < sizeof(name) &&
	                X509_check_host(cert, name, (size_t)n, 0, NULL) == 1;

	X509_free(cert);
	ERR_clear_error();
	return is_there;
}

int pem_roots_check(struct str pem, const char **ret_why) {
	BIO *b = bio_of(pem);
	size_t count = 0;

	*ret_why = NULL;
	for (;;) {
		X509 *cert = PEM_read_bio_X509(b, NULL, NULL, no_passphrase);

		if (cert == NULL)
			break;
		X509_free(cert);
		count++;
	}
	/* At the end of clean PEM the last error is "no start line". */
	unsigned long last = ERR_peek_last_error();
	bool is_end = ERR_GET_LIB(last) == ERR_LIB_PEM &&
	              ERR_GET_REASON(last) == PEM_R_NO_START_LINE;

	BIO_free(b);
	ERR_clear_error();
	if (count == 0)
		*ret_why = "holds no certificate in PEM";
	else if (!is_end)
		*ret_why = "holds a certificate that cannot be read";
	return *ret_why == NULL ? 0 : H_ECONFIG;
}
