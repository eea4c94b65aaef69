/* crypto_priv.h: the two fillings of crc32c(), seen by its tests. */
#ifndef BASE_CRYPTO_PRIV_H
#define BASE_CRYPTO_PRIV_H

#include "base/crypto.h"

/* Slicing by eight; any machine. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t n);
/* SSE4.2; only where crc32c_has_sse42(). */
uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t n);
bool crc32c_has_sse42(void);

#endif
