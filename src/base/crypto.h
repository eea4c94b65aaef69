/*
 * crypto.h: hashes, random bytes, signatures, identifiers. Thin over OpenSSL 3 EVP with objects
 * fetched once (crypto_setup), plus CRC-32C by SSE4.2 with a portable fallback.
 */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include "base/err.h"
#include "base/str.h"

#define SHA256_SIZE 32
#define SID_SIZE 16
#define SHORT_ID_SIZE 10 /* "k7m2-9xqe" and NUL */
#define UUID_TEXT_SIZE 37

/* Fetches algorithms and seeds the generator; call once per process, before confinement. */
void crypto_setup(void);

void sha256(uint8_t out[SHA256_SIZE], struct str data);
/* SHA-256 over parts in order. */
void sha256_parts(uint8_t out[SHA256_SIZE], const struct str *parts, size_t count);
void hmac_sha256(uint8_t out[SHA256_SIZE], struct str key, struct str data);
void md5_hex(char out[33], const struct str *parts, size_t count); /* PostgreSQL md5 login only */
/* RFC 8018, HMAC-SHA-256, 32 bytes of key. */
void pbkdf2_sha256(uint8_t out[SHA256_SIZE], struct str password, struct str salt,
                   uint32_t iterations);

/* Castagnoli, reflected, as iSCSI and S3 use it. Start with crc = 0; chain by passing the last. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

/* From the kernel's generator; aborts when it fails. */
void random_bytes(void *p, size_t n);

/* RFC 9562 UUIDv7 from the wall clock in nanoseconds and fresh random bits. */
void uuid7(uint8_t out[SID_SIZE], uint64_t wall_ns);
void uuid_text(char out[UUID_TEXT_SIZE], const uint8_t sid[SID_SIZE]);
int uuid_parse(uint8_t out[SID_SIZE], struct str text) must_use;
/* Eight symbols of the id's last 40 random bits, Crockford base32 in lower case, "k7m2-9xqe". */
void short_id(char out[SHORT_ID_SIZE], const uint8_t sid[SID_SIZE]);

#define ED25519_PUB_SIZE 32
#define ED25519_SEED_SIZE 32
#define ED25519_SIG_SIZE 64
void ed25519_public(uint8_t pub[ED25519_PUB_SIZE], const uint8_t seed[ED25519_SEED_SIZE]);
void ed25519_sign(uint8_t sig[ED25519_SIG_SIZE], const uint8_t seed[ED25519_SEED_SIZE],
                  struct str msg);
bool ed25519_verify(const uint8_t sig[ED25519_SIG_SIZE], const uint8_t pub[ED25519_PUB_SIZE],
                    struct str msg);

#endif
