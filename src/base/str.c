/*
 * str.c: bytes by value: search, UTF-8, hexadecimal, base64.
 *
 * Everything here works on foreign bytes, so nothing asserts on content and every decoder is
 * strict: one value has one spelling. That matters beyond taste: a record whose base64 could be
 * spelled in two ways could be altered without a trace (docs/record-format.md).
 *
 * UTF-8 follows the table of well-formed sequences in RFC 3629 section 4 (Unicode table 3-7): a
 * lead byte fixes the range of the second byte, and that range excludes overlong forms (E0, F0),
 * surrogates (ED) and what lies beyond U+10FFFF (F4). ASCII is skipped 16 bytes a step, because
 * nearly all of what passes through a gateway is ASCII.
 */
#include "base/str.h"

#include <limits.h>

#include "base/err.h"

static char lower(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_eq_nocase(struct str a, struct str b) {
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	}
	return true;
}

bool str_starts(struct str s, struct str prefix) {
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

size_t str_find(struct str s, char c) {
	const char *hit = s.n != 0 ? memchr(s.p, c, s.n) : NULL;

	return hit != NULL ? (size_t)(hit - s.p) : s.n;
}

struct str str_from(struct str s, size_t from) {
	if (from >= s.n)
		return STR_NONE;
	return str_mem(s.p + from, s.n - from);
}

struct str str_head(struct str s, size_t n) {
	return str_mem(s.p, MIN(n, s.n));
}

struct str str_cut(struct str *rest, char c) {
	size_t at = str_find(*rest, c);
	struct str head = str_head(*rest, at);

	*rest = at == rest->n ? STR_NONE : str_mem(rest->p + at + 1, rest->n - at - 1);
	return head;
}

static bool is_space(char c) {
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s) {
	while (s.n != 0 && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n != 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

int str_u64(struct str s, uint64_t max, uint64_t *out) {
	uint64_t v = 0;

	if (s.n == 0)
		return H_EFORMAT;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return H_EFORMAT;
		v = v * 10 + digit;
	}
	if (v > max)
		return H_EFORMAT;
	*out = v;
	return 0;
}

char *str_dup(struct str s) {
	char *copy = xmalloc(s.n + 1);

	if (s.n != 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

bool str_copy(char *dst, size_t cap, struct str s) {
	assert(cap != 0);
	if (s.n >= cap || str_find(s, '\0') != s.n) {
		dst[0] = '\0';
		return false;
	}
	if (s.n != 0)
		memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return true;
}

/* Length of the ASCII run at p, rounded down to whole words: the caller finishes byte by byte. */
static size_t ascii_run(const uint8_t *p, size_t n) {
	const uint64_t high = 0x8080808080808080U;
	size_t i = 0;

	for (; n - i >= 16; i += 16) {
		uint64_t a, b;

		memcpy(&a, p + i, 8);
		memcpy(&b, p + i + 8, 8);
		if (((a | b) & high) != 0)
			break;
	}
	if (n - i >= 8) {
		uint64_t a;

		memcpy(&a, p + i, 8);
		if ((a & high) == 0)
			i += 8;
	}
	return i;
}

/* What a lead byte asks for: length of the sequence (0: no lead byte) and range of byte two. */
struct utf8_lead {
	unsigned len;
	uint8_t lo, hi;
};

static struct utf8_lead utf8_lead(uint8_t c) {
	if (c >= 0xc2 && c <= 0xdf)
		return (struct utf8_lead){ 2, 0x80, 0xbf };
	if (c == 0xe0)
		return (struct utf8_lead){ 3, 0xa0, 0xbf };
	if (c == 0xed)
		return (struct utf8_lead){ 3, 0x80, 0x9f };
	if (c >= 0xe1 && c <= 0xef)
		return (struct utf8_lead){ 3, 0x80, 0xbf };
	if (c == 0xf0)
		return (struct utf8_lead){ 4, 0x90, 0xbf };
	if (c >= 0xf1 && c <= 0xf3)
		return (struct utf8_lead){ 4, 0x80, 0xbf };
	if (c == 0xf4)
		return (struct utf8_lead){ 4, 0x80, 0x8f };
	return (struct utf8_lead){ 0, 0, 0 };
}

/* Length of the well-formed sequence of two to four bytes at p, 0 when there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t n) {
	struct utf8_lead lead = utf8_lead(p[0]);

	if (lead.len == 0 || n < lead.len || p[1] < lead.lo || p[1] > lead.hi)
		return 0;
	for (unsigned i = 2; i < lead.len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return lead.len;
}

size_t str_utf8_bad(struct str s) {
	const uint8_t *p = (const uint8_t *)s.p;
	size_t i = 0;

	while (i < s.n) {
		if (p[i] < 0x80) {
			size_t run = ascii_run(p + i, s.n - i);

			i += run != 0 ? run : 1;
			continue;
		}
		size_t len = utf8_sequence(p + i, s.n - i);

		if (len == 0)
			return i;
		i += len;
	}
	return s.n;
}

enum { DISTANCE_MAX = 64 };

size_t str_distance(struct str a, struct str b) {
	size_t row[DISTANCE_MAX + 1];

	if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX)
		return MAX(a.n, b.n);
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t above = row[j];
			size_t change = diagonal + (a.p[i - 1] != b.p[j - 1]);

			row[j] = MIN(change, MIN(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[b.n];
}

void hex_encode(char *dst, const void *src, size_t n) {
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = src;

	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[p[i] >> 4];
		dst[2 * i + 1] = digits[p[i] & 15];
	}
	dst[2 * n] = '\0';
}

static int hex_digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(uint8_t *dst, size_t cap, struct str s) {
	if (s.n % 2 != 0 || s.n / 2 > cap || s.n / 2 > INT_MAX)
		return H_EFORMAT;
	for (size_t i = 0; i < s.n / 2; i++) {
		int hi = hex_digit(s.p[2 * i]);
		int lo = hex_digit(s.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return H_EFORMAT;
		dst[i] = (uint8_t)(hi << 4 | lo);
	}
	return (int)(s.n / 2);
}

static const char b64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(char *dst, const void *src, size_t n) {
	const uint8_t *p = src;
	char *out = dst;

	for (; n >= 3; n -= 3, p += 3) {
		*out++ = b64_digits[p[0] >> 2];
		*out++ = b64_digits[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = b64_digits[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = b64_digits[p[2] & 63];
	}
	if (n != 0) {
		uint8_t second = n == 2 ? p[1] : 0;

		*out++ = b64_digits[p[0] >> 2];
		*out++ = b64_digits[(p[0] & 3) << 4 | second >> 4];
		*out++ = n == 2 ? b64_digits[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	*out = '\0';
	return (size_t)(out - dst);
}

static int b64_digit(char c) {
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* The last group may hold one or two '='; bits that it does not use must be zero. */
static int b64_tail(uint8_t *dst, const char *p, size_t bytes) {
	int a = b64_digit(p[0]), b = b64_digit(p[1]);
	int c = bytes == 1 ? 0 : b64_digit(p[2]);

	if (a < 0 || b < 0 || c < 0)
		return H_EFORMAT;
	if (bytes == 1 ? (b & 15) != 0 : (c & 3) != 0)
		return H_EFORMAT;
	dst[0] = (uint8_t)(a << 2 | b >> 4);
	if (bytes == 2)
		dst[1] = (uint8_t)((b & 15) << 4 | c >> 2);
	return 0;
}

int base64_decode(uint8_t *dst, size_t cap, struct str s) {
	size_t pad = 0;

	if (s.n % 4 != 0)
		return H_EFORMAT;
	if (s.n == 0)
		return 0;
	if (s.p[s.n - 1] == '=')
		pad = s.p[s.n - 2] == '=' ? 2 : 1;
	size_t count = s.n / 4 * 3 - pad;
	size_t whole = count / 3;

	if (count > cap || count > INT_MAX)
		return H_ELIMIT;
	for (size_t i = 0; i < whole; i++, dst += 3) {
		const char *p = s.p + 4 * i;
		int a = b64_digit(p[0]), b = b64_digit(p[1]);
		int c = b64_digit(p[2]), d = b64_digit(p[3]);

		if (a < 0 || b < 0 || c < 0 || d < 0)
			return H_EFORMAT;
		dst[0] = (uint8_t)(a << 2 | b >> 4);
		dst[1] = (uint8_t)((b & 15) << 4 | c >> 2);
		dst[2] = (uint8_t)((c & 3) << 6 | d);
	}
	if (pad != 0 && b64_tail(dst, s.p + s.n - 4, 3 - pad) < 0)
		return H_EFORMAT;
	return (int)count;
}
