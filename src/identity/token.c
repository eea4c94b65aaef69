/*
 * token.c: making and recognising tokens (token.h).
 */
#include "identity/token.h"

#include "base/mem.h"

enum { RANDOM_BYTES = 25, RANDOM_SYMBOLS = 40, CHECK_SYMBOLS = 7, PREFIX_LEN = 5 };

static const char symbols[] = "0123456789abcdefghjkmnpqrstvwxyz";

static_assert(PREFIX_LEN + RANDOM_SYMBOLS + CHECK_SYMBOLS == TOKEN_LEN, "layout");

/* 32 bits as 7 symbols, the first of which holds two. */
static void put_check(char out[CHECK_SYMBOLS], const char *text, size_t n) {
	uint32_t crc = crc32c(0, text, n);

	for (int i = CHECK_SYMBOLS - 1; i >= 0; i--) {
		out[i] = symbols[crc & 31];
		crc >>= 5;
	}
}

void token_make(char out[TOKEN_SIZE]) {
	uint8_t raw[RANDOM_BYTES];
	uint64_t bits = 0;
	unsigned have = 0;
	char *p = out + PREFIX_LEN;

	random_bytes(raw, sizeof(raw));
	memcpy(out, TOKEN_PREFIX, PREFIX_LEN);
	for (size_t i = 0; i < sizeof(raw); i++) {
		bits = bits << 8 | raw[i];
		for (have += 8; have >= 5; have -= 5)
			*p++ = symbols[bits >> (have - 5) & 31];
	}
	put_check(p, out, PREFIX_LEN + RANDOM_SYMBOLS);
	out[TOKEN_LEN] = '\0';
	wipe(raw, sizeof(raw));
	wipe(&bits, sizeof(bits));
}

int token_hash(uint8_t out[SHA256_SIZE], struct str token) {
	char check[CHECK_SYMBOLS];

	if (token.n != TOKEN_LEN || !str_starts(token, STR(TOKEN_PREFIX)))
		return H_EFORMAT;
	for (size_t i = PREFIX_LEN; i < TOKEN_LEN; i++) {
		if (token.p[i] == '\0' || strchr(symbols, token.p[i]) == NULL)
			return H_EFORMAT;
	}
	put_check(check, token.p, PREFIX_LEN + RANDOM_SYMBOLS);
	if (memcmp(check, token.p + PREFIX_LEN + RANDOM_SYMBOLS, CHECK_SYMBOLS) != 0)
		return H_EFORMAT;
	sha256(out, token);
	return 0;
}
