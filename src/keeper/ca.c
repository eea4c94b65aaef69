/*
 * ca.c: making a root and a leaf with OpenSSL (ca.h).
 *
 * X.509 v3: root with basicConstraints CA, path length 0, keyCertSign; leaf with serverAuth, the
 * names as subjectAltName. Random serial numbers of 127 bits. notBefore an hour back, for clocks
 * that differ. Names that the leaf must carry are kept in its comment-free PEM alone: it is read
 * back and compared, so a changed host name yields a new leaf.
 */
#include "keeper/ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "config/config.h"

enum { ROOT_DAYS = 3652, LEAF_DAYS = 90, LEAF_RENEW_DAYS = 30, SAN_MAX = 2048 };

int file_write(const char *path, struct str bytes, unsigned mode, struct err *e) {
	auto_free char *tmp = xasprintf("%s.tmp", path);

	(void)unlink(tmp);
	auto_fd int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	bool ok = fd >= 0;

	for (size_t at = 0; ok && at < bytes.n;) {
		ssize_t n = write(fd, bytes.p + at, bytes.n - at);

		ok = n > 0;
		at += ok ? (size_t)n : 0;
	}
	ok = ok && fsync(fd) == 0 && rename(tmp, path) == 0;
	if (!ok) {
		int err = errno;

		(void)unlink(tmp);
		return err_set(e, err == ENOSPC ? H_ENOSPACE : H_EIO, "cannot write %s: %s", path,
		               strerror(err));
	}
	return 0;
}

static int ssl_failed(struct err *e, const char *what) {
	ERR_clear_error();
	return err_set(e, H_ETLS, "cannot make %s", what);
}

static EVP_PKEY *key_parse(const char *path, const char *text, size_t n, struct err *e) {
	BIO *b = BIO_new_mem_buf(text, (int)n);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);

	BIO_free(b);
	if (key == NULL)
		(void)err_set(e, H_EFORMAT, "%s is not a private key", path);
	return key;
}

static EVP_PKEY *key_make(const char *path, struct err *e) {
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *b = BIO_new(BIO_s_secmem());
	int rc = 0;

	if (key == NULL || b == NULL ||
	    PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) != 1) {
		rc = ssl_failed(e, "a private key");
	} else {
		char *p;
		long len = BIO_get_mem_data(b, &p);

		rc = file_write(path, str_mem(p, (size_t)len), 0600, e);
	}
	BIO_free(b);
	if (rc < 0) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

/* The key of a file; a new one only where there is none: a key that cannot be read now (no right, no
 * descriptors left, a disk that fails) is still the one that clients trust. */
static EVP_PKEY *key_get(const char *path, struct err *e) {
	struct err reading = { 0 };
	size_t n = 0;
	char *text = config_file_read(path, CONFIG_PEM_MAX, &n, &reading);

	if (text == NULL && reading.code == H_ENOTFOUND)
		return key_make(path, e);
	if (text == NULL) {
		(void)err_set(e, reading.code, "%s; it is not replaced by a new key", reading.text);
		return NULL;
	}
	EVP_PKEY *key = key_parse(path, text, n, e);

	wipe(text, n);
	free(text);
	return key;
}

static X509 *cert_read(const char *path) {
	struct err ignored = { 0 };
	size_t n = 0;
	auto_free char *text = config_file_read(path, CONFIG_PEM_MAX, &n, &ignored);

	if (text == NULL)
		return NULL;
	BIO *b = BIO_new_mem_buf(text, (int)n);
	X509 *cert = PEM_read_bio_X509(b, NULL, NULL, NULL);

	BIO_free(b);
	ERR_clear_error();
	return cert;
}

static int days_left(const X509 *cert) {
	int days = 0, seconds = 0;

	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) != 1)
		return 0;
	return days;
}

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value) {
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;

	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_basics(X509 *cert, EVP_PKEY *key, const char *name, int days) {
	uint8_t raw[16];
	BIGNUM *serial;
	X509_NAME *subject = X509_get_subject_name(cert);

	random_bytes(raw, sizeof(raw));
	raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40);
	serial = BN_bin2bn(raw, sizeof(raw), NULL);
	bool ok = serial != NULL && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;

	BN_free(serial);
	return ok && X509_set_version(cert, X509_VERSION_3) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
	       X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) != NULL &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1,
	                                  -1, 0) == 1 &&
	       X509_set_pubkey(cert, key) == 1;
}

static X509 *root_make(EVP_PKEY *key) {
	X509 *cert = X509_new();
	uint8_t id[4];
	char name[64];

	random_bytes(id, sizeof(id));
	(void)snprintf(name, sizeof(name), "Hansard private CA %02x%02x%02x%02x", id[0], id[1],
	               id[2], id[3]);
	bool ok = cert != NULL && set_basics(cert, key, name, ROOT_DAYS) &&
	          X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 &&
	          add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	          add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	          add_ext(cert, cert, NID_subject_key_identifier, "hash") &&
	          X509_sign(cert, key, EVP_sha256()) > 0;

	if (!ok) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

static X509 *leaf_make(EVP_PKEY *key, X509 *root, EVP_PKEY *root_key, const char *san) {
	X509 *cert = X509_new();
	bool ok = cert != NULL && set_basics(cert, key, "hansard", LEAF_DAYS) &&
	          X509_set_issuer_name(cert, X509_get_subject_name(root)) == 1 &&
	          add_ext(cert, root, NID_basic_constraints, "critical,CA:FALSE") &&
	          add_ext(cert, root, NID_key_usage, "critical,digitalSignature") &&
	          add_ext(cert, root, NID_ext_key_usage, "serverAuth") &&
	          add_ext(cert, root, NID_subject_key_identifier, "hash") &&
	          add_ext(cert, root, NID_authority_key_identifier, "keyid") &&
	          add_ext(cert, root, NID_subject_alt_name, san) &&
	          X509_sign(cert, root_key, EVP_sha256()) > 0;

	if (!ok) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

/* PEM of one or two certificates, from malloc. */
static char *pem_of(X509 *first, X509 *second) {
	BIO *b = BIO_new(BIO_s_mem());
	char *p, *out = NULL;

	if (b != NULL && PEM_write_bio_X509(b, first) == 1 &&
	    (second == NULL || PEM_write_bio_X509(b, second) == 1)) {
		long n = BIO_get_mem_data(b, &p);

		out = str_dup(str_mem(p, (size_t)n));
	}
	BIO_free(b);
	return out;
}

static int cert_write(const char *path, X509 *cert, struct err *e) {
	auto_free char *pem = pem_of(cert, NULL);

	if (pem == NULL)
		return ssl_failed(e, "a certificate");
	return file_write(path, str_of(pem), 0644, e);
}

static bool is_ip(const char *name) {
	uint8_t bin[16];

	return inet_pton(AF_INET, name, bin) == 1 || inet_pton(AF_INET6, name, bin) == 1;
}

/* Only what cannot break OpenSSL's little language of values. */
static bool is_plain_name(const char *name) {
	if (name[0] == '*' && name[1] == '.')
		name += 2;
	return name[0] != '\0' && strlen(name) <= 253 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") ==
	               strlen(name);
}

static void san_text(struct buf *out, const char *const *names) {
	w_fmt(out, "DNS:localhost,IP:127.0.0.1,IP:::1");
	for (size_t i = 0; names[i] != NULL; i++) {
		if (is_plain_name(names[i]) && (is_ip(names[i]) || strchr(names[i], ':') == NULL))
			w_fmt(out, ",%s:%s", is_ip(names[i]) ? "IP" : "DNS", names[i]);
	}
	w_u8(out, 0);
}

static bool carries_names(X509 *cert, const char *const *names) {
	for (size_t i = 0; names[i] != NULL; i++) {
		if (!is_plain_name(names[i]))
			continue;
		if (is_ip(names[i]) ? X509_check_ip_asc(cert, names[i], 0) != 1
		                    : X509_check_host(cert, names[i], 0, 0, NULL) != 1)
			return false;
	}
	return true;
}

/* Root and its key; makes both when the key is not there. */
static X509 *root_get(const char *store, EVP_PKEY **ret_key, bool *ret_new, struct err *e) {
	auto_free char *key_path = xasprintf("%s/keeper/ca.key", store);
	auto_free char *cert_path = xasprintf("%s/ca.pem", store);
	EVP_PKEY *key = key_get(key_path, e);
	X509 *cert = key != NULL ? cert_read(cert_path) : NULL;

	if (cert != NULL &&
	    (X509_check_private_key(cert, key) != 1 || days_left(cert) < LEAF_DAYS)) {
		X509_free(cert);
		cert = NULL;
	}
	if (key != NULL && cert == NULL) {
		*ret_new = true;
		cert = root_make(key);
		if (cert == NULL)
			(void)ssl_failed(e, "the private CA");
		else if (cert_write(cert_path, cert, e) < 0) {
			X509_free(cert);
			cert = NULL;
		}
	}
	if (cert == NULL) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	*ret_key = key;
	return cert;
}

static X509 *leaf_get(const char *store, const char *const *names, X509 *root, EVP_PKEY *root_key,
                      EVP_PKEY *key, struct err *e) {
	auto_free char *path = xasprintf("%s/keeper/leaf.pem", store);
	X509 *cert = cert_read(path);
	bool is_good = cert != NULL && X509_check_private_key(cert, key) == 1 &&
	               X509_verify(cert, root_key) == 1 && days_left(cert) >= LEAF_RENEW_DAYS &&
	               carries_names(cert, names);

	if (is_good)
		return cert;
	X509_free(cert);
	struct buf san;

	buf_init(&san, SAN_MAX);
	san_text(&san, names);
	cert = w_done(&san) == 0 ? leaf_make(key, root, root_key, buf_peek(&san).p) : NULL;
	buf_fini(&san);
	if (cert == NULL) {
		(void)ssl_failed(e, "the listener's certificate");
	} else if (cert_write(path, cert, e) < 0) {
		X509_free(cert);
		cert = NULL;
	}
	return cert;
}

int ca_leaf_get(struct ca_leaf *ret, const char *store, const char *const *names, struct err *e) {
	auto_free char *key_path = xasprintf("%s/keeper/leaf.key", store);
	EVP_PKEY *root_key = NULL, *key = NULL;
	X509 *leaf = NULL;

	*ret = (struct ca_leaf){ 0 };
	X509 *root = root_get(store, &root_key, &ret->is_new_root, e);

	if (root != NULL)
		key = key_get(key_path, e);
	if (key != NULL)
		leaf = leaf_get(store, names, root, root_key, key, e);
	if (leaf != NULL) {
		ret->cert_pem = pem_of(leaf, root);
		ret->key_pem = config_file_read(key_path, CONFIG_PEM_MAX, NULL, e);
	}
	X509_free(leaf);
	X509_free(root);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
	ERR_clear_error();
	if (ret->cert_pem == NULL || ret->key_pem == NULL) {
		ca_leaf_fini(ret);
		return e->code != 0 ? e->code : H_ETLS;
	}
	return 0;
}

void ca_leaf_fini(struct ca_leaf *leaf) {
	if (leaf->key_pem != NULL)
		wipe(leaf->key_pem, strlen(leaf->key_pem));
	free(leaf->key_pem);
	free(leaf->cert_pem);
	*leaf = (struct ca_leaf){ 0 };
}
