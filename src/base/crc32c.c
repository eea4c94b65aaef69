/*
 * crc32c.c: CRC-32C (Castagnoli), reflected, polynomial 0x82f63b78 (RFC 3720 appendix B.4).
 *
 * It guards against accidents only: torn writes, bad memory, bad disks. What people do is the
 * business of SHA-256 trees.
 *
 * Two fillings: the SSE4.2 instruction, eight bytes in three cycles, and slicing by eight over
 * tables made once. Which one runs is asked of the CPU, not of the compiler, so that one binary
 * serves all machines; the tests compare the two.
 */
#include "base/crypto.h"

#include <endian.h>
#include <pthread.h>

#include "base/crypto_priv.h"

#define POLY 0x82f63b78U

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_make(void) {
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned bit = 0; bit < 8; bit++)
			c = (c & 1) != 0 ? c >> 1 ^ POLY : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (unsigned k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
	}
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t n) {
	const uint8_t *p = data;

	(void)pthread_once(&table_once, table_make);
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, sizeof(w));
		w = le64toh(w) ^ crc;
		crc = table[7][w & 0xff] ^ table[6][w >> 8 & 0xff] ^ table[5][w >> 16 & 0xff] ^
		      table[4][w >> 24 & 0xff] ^ table[3][w >> 32 & 0xff] ^
		      table[2][w >> 40 & 0xff] ^ table[1][w >> 48 & 0xff] ^ table[0][w >> 56];
	}
	for (; n != 0; n--, p++)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)

bool crc32c_has_sse42(void) {
	return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t n) {
	const uint8_t *p = data;
	uint64_t c = ~crc;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, sizeof(w));
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; n != 0; n--, p++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return ~(uint32_t)c;
}

#else

bool crc32c_has_sse42(void) {
	return false;
}

uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t n) {
	return crc32c_table(crc, data, n);
}

#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t n) {
	return crc32c_has_sse42() ? crc32c_sse42(crc, data, n) : crc32c_table(crc, data, n);
}
