/*
 * crypto.c: hashes, random bytes, signatures, identifiers.
 *
 * Thin over OpenSSL's EVP. In OpenSSL 3 an implicit fetch on every digest costs more than hashing
 * a small frame, so the algorithms are fetched once per process and each thread keeps one digest
 * context (freed when the thread ends). A process fetches before it is confined: afterwards no
 * provider or configuration file could be opened.
 *
 * None of these functions can fail for a reason that a caller could handle; when OpenSSL says no,
 * memory is gone or the library is broken, and the process aborts. The one exception is a
 * signature that does not verify.
 *
 * HMAC is written out here over the digest (RFC 2104): two passes, no MAC object to fetch.
 */
#include "base/crypto.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/mem.h"

static EVP_MD *md_sha256;
static EVP_MD *md_md5;
static pthread_key_t ctx_key;
static pthread_once_t setup_once = PTHREAD_ONCE_INIT;

/* OpenSSL's 1 for success; the message names no data. */
static void must(bool ok) {
	static const char msg[] = "hansard: the crypto library failed\n";

	if (ok)
		return;
	if (write(STDERR_FILENO, msg, sizeof(msg) - 1) < 0)
		abort();
	abort();
}

static void ctx_free(void *ctx) {
	EVP_MD_CTX_free(ctx);
}

/* The main thread runs no destructors of its key, so its context is released here. */
__attribute__((destructor)) static void main_ctx_free(void) {
	if (md_sha256 == NULL)
		return;
	EVP_MD_CTX_free(pthread_getspecific(ctx_key));
	(void)pthread_setspecific(ctx_key, NULL);
}

static void setup(void) {
	must(pthread_key_create(&ctx_key, ctx_free) == 0);
	md_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	md_md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	must(md_sha256 != NULL);
}

static EVP_MD_CTX *thread_ctx(void) {
	(void)pthread_once(&setup_once, setup);
	EVP_MD_CTX *ctx = pthread_getspecific(ctx_key);

	if (ctx == NULL) {
		ctx = EVP_MD_CTX_new();
		must(ctx != NULL && pthread_setspecific(ctx_key, ctx) == 0);
	}
	return ctx;
}

static void digest(uint8_t *out, const EVP_MD *md, const struct str *parts, size_t count) {
	EVP_MD_CTX *ctx = thread_ctx();

	must(EVP_DigestInit_ex2(ctx, md, NULL) == 1);
	for (size_t i = 0; i < count; i++) {
		if (parts[i].n != 0)
			must(EVP_DigestUpdate(ctx, parts[i].p, parts[i].n) == 1);
	}
	must(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

void sha256_parts(uint8_t out[SHA256_SIZE], const struct str *parts, size_t count) {
	(void)pthread_once(&setup_once, setup);
	digest(out, md_sha256, parts, count);
}

void sha256(uint8_t out[SHA256_SIZE], struct str data) {
	sha256_parts(out, &data, 1);
}

enum { HMAC_BLOCK = 64 };

void hmac_sha256(uint8_t out[SHA256_SIZE], struct str key, struct str data) {
	uint8_t inner[SHA256_SIZE];
	uint8_t pad[HMAC_BLOCK] = { 0 };

	if (key.n > HMAC_BLOCK)
		sha256(pad, key);
	else if (key.n != 0)
		memcpy(pad, key.p, key.n);
	for (size_t i = 0; i < HMAC_BLOCK; i++)
		pad[i] ^= 0x36;
	sha256_parts(inner, (struct str[]){ str_mem(pad, HMAC_BLOCK), data }, 2);
	for (size_t i = 0; i < HMAC_BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	sha256_parts(out, (struct str[]){ str_mem(pad, HMAC_BLOCK), str_mem(inner, SHA256_SIZE) },
	             2);
	wipe(pad, sizeof(pad));
	wipe(inner, sizeof(inner));
}

void md5_hex(char out[33], const struct str *parts, size_t count) {
	uint8_t raw[16];

	(void)pthread_once(&setup_once, setup);
	must(md_md5 != NULL);
	digest(raw, md_md5, parts, count);
	hex_encode(out, raw, sizeof(raw));
}

void pbkdf2_sha256(uint8_t out[SHA256_SIZE], struct str password, struct str salt,
                   uint32_t iterations) {
	(void)pthread_once(&setup_once, setup);
	assert(password.n <= INT32_MAX && salt.n <= INT32_MAX);
	assert(iterations >= 1 && iterations <= INT32_MAX);
	must(PKCS5_PBKDF2_HMAC(password.p != NULL ? password.p : "", (int)password.n,
	                       (const unsigned char *)salt.p, (int)salt.n, (int)iterations,
	                       md_sha256, SHA256_SIZE, out) == 1);
}

void random_bytes(void *p, size_t n) {
	uint8_t *out = p;

	while (n != 0) {
		ssize_t got = getrandom(out, n, 0);

		must(got > 0 || (got < 0 && errno == EINTR));
		if (got > 0) {
			out += got;
			n -= (size_t)got;
		}
	}
}

void uuid7(uint8_t out[SID_SIZE], uint64_t wall_ns) {
	uint64_t ms = wall_ns / NS_PER_MS;

	random_bytes(out, SID_SIZE);
	for (unsigned i = 0; i < 6; i++)
		out[i] = (uint8_t)(ms >> (40 - 8 * i));
	out[6] = (uint8_t)(0x70 | (out[6] & 0x0f));
	out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

/* Bytes after which the text form has a hyphen. */
static bool is_group_end(size_t i) {
	return i == 3 || i == 5 || i == 7 || i == 9;
}

void uuid_text(char out[UUID_TEXT_SIZE], const uint8_t sid[SID_SIZE]) {
	size_t at = 0;

	for (size_t i = 0; i < SID_SIZE; i++) {
		hex_encode(out + at, &sid[i], 1);
		at += 2;
		if (is_group_end(i))
			out[at++] = '-';
	}
	out[at] = '\0';
}

int uuid_parse(uint8_t out[SID_SIZE], struct str text) {
	uint8_t sid[SID_SIZE];
	size_t at = 0;

	if (text.n != UUID_TEXT_SIZE - 1)
		return H_EFORMAT;
	for (size_t i = 0; i < SID_SIZE; i++) {
		if (hex_decode(&sid[i], 1, str_mem(text.p + at, 2)) != 1)
			return H_EFORMAT;
		at += 2;
		if (is_group_end(i) && text.p[at++] != '-')
			return H_EFORMAT;
	}
	memcpy(out, sid, SID_SIZE);
	return 0;
}

void short_id(char out[SHORT_ID_SIZE], const uint8_t sid[SID_SIZE]) {
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	uint64_t bits = 0;
	size_t at = 0;

	for (size_t i = SID_SIZE - 5; i < SID_SIZE; i++)
		bits = bits << 8 | sid[i];
	for (unsigned i = 0; i < 8; i++) {
		if (i == 4)
			out[at++] = '-';
		out[at++] = digits[bits >> (35 - 5 * i) & 31];
	}
	out[at] = '\0';
}

static EVP_PKEY *seed_key(const uint8_t seed[ED25519_SEED_SIZE]) {
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed,
	                                                ED25519_SEED_SIZE);

	must(key != NULL);
	return key;
}

void ed25519_public(uint8_t pub[ED25519_PUB_SIZE], const uint8_t seed[ED25519_SEED_SIZE]) {
	EVP_PKEY *key = seed_key(seed);
	size_t n = ED25519_PUB_SIZE;

	must(EVP_PKEY_get_raw_public_key(key, pub, &n) == 1 && n == ED25519_PUB_SIZE);
	EVP_PKEY_free(key);
}

void ed25519_sign(uint8_t sig[ED25519_SIG_SIZE], const uint8_t seed[ED25519_SEED_SIZE],
                  struct str msg) {
	EVP_PKEY *key = seed_key(seed);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = ED25519_SIG_SIZE;

	must(ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1);
	must(EVP_DigestSign(ctx, sig, &n, (const unsigned char *)msg.p, msg.n) == 1);
	assert(n == ED25519_SIG_SIZE);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
}

/* A public key that is no point of the curve verifies nothing. */
bool ed25519_verify(const uint8_t sig[ED25519_SIG_SIZE], const uint8_t pub[ED25519_PUB_SIZE],
                    struct str msg) {
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, pub,
	                                               ED25519_PUB_SIZE);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = false;

	must(ctx != NULL);
	if (key != NULL && EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1)
		ok = EVP_DigestVerify(ctx, sig, ED25519_SIG_SIZE, (const unsigned char *)msg.p,
		                      msg.n) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

/* One use of each algorithm loads all that a confined process could no longer load. */
void crypto_setup(void) {
	uint8_t seed[ED25519_SEED_SIZE] = { 1 }, pub[ED25519_PUB_SIZE], sig[ED25519_SIG_SIZE];
	uint8_t out[SHA256_SIZE];

	pbkdf2_sha256(out, STR("warm"), STR("up"), 1);
	hmac_sha256(out, STR("warm"), STR("up"));
	(void)crc32c(0, seed, sizeof(seed));
	random_bytes(out, sizeof(out));
	ed25519_public(pub, seed);
	ed25519_sign(sig, seed, STR("warm up"));
	must(ed25519_verify(sig, pub, STR("warm up")));
}
