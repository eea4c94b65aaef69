/*
 * buf.c: the growable byte queue.
 *
 *      p           p + off             p + off + len        p + cap
 *      | consumed  | held              | room               |
 *
 * Room is made in this order: what is at the end; else moving the held bytes to the front, when
 * that pays (at least as much was consumed as must be moved) or when growing is not allowed; else
 * a new block of twice the size. So the work per byte is constant on average as long as the cap
 * is not reached, and a buffer that empties regularly never moves anything.
 *
 * Invariants:
 * 1. off + len <= cap <= max, and p == NULL exactly when cap == 0.
 * 2. A block that is given up because a larger one replaced it is wiped: credentials pass through
 *    these buffers, and buf_trim(secret) could not reach the copies that growth left behind.
 * 3. A write that does not fit leaves the held bytes as they were.
 */
#include "base/buf.h"

#include <endian.h>
#include <stdarg.h>

#include "base/mem.h"

enum { CAP_FIRST = 512 };

void buf_init(struct buf *b, size_t max) {
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b) {
	free(b->p);
	*b = (struct buf){ .max = b->max };
}

static void move_to_front(struct buf *b) {
	if (b->len != 0)
		memmove(b->p, b->p + b->off, b->len);
	b->off = 0;
}

static void grow(struct buf *b, size_t need) {
	size_t cap = MAX(b->cap, (size_t)CAP_FIRST);

	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	cap = MIN(cap, b->max);
	uint8_t *p = xmalloc(cap);

	if (b->p != NULL) {
		memcpy(p, b->p + b->off, b->len);
		wipe(b->p, b->off + b->len);
		free(b->p);
	}
	b->p = p;
	b->cap = cap;
	b->off = 0;
}

uint8_t *buf_reserve(struct buf *b, size_t n) {
	assert(b->off + b->len <= b->cap);
	if (n > b->max || b->len > b->max - n)
		return NULL;
	if (b->p == NULL || b->cap - b->off - b->len < n) {
		bool may_fit = b->cap - b->len >= n;
		bool is_cheap = b->off >= b->len;

		if (b->p != NULL && may_fit && (is_cheap || b->cap == b->max))
			move_to_front(b);
		else
			grow(b, MIN(b->max, MAX(b->len + n, may_fit ? b->cap + 1 : 0)));
	}
	return b->p + b->off + b->len;
}

void buf_commit(struct buf *b, size_t n) {
	assert(n <= b->cap - b->off - b->len);
	b->len += n;
}

size_t buf_room(const struct buf *b) {
	return b->cap - b->off - b->len;
}

int buf_append(struct buf *b, struct str s) {
	if (s.n == 0)
		return 0;
	uint8_t *p = buf_reserve(b, s.n);

	if (p == NULL)
		return H_ELIMIT;
	memcpy(p, s.p, s.n);
	b->len += s.n;
	return 0;
}

void buf_consume(struct buf *b, size_t n) {
	assert(n <= b->len);
	b->len -= n;
	b->off = b->len == 0 ? 0 : b->off + n;
}

void buf_clear(struct buf *b) {
	b->off = 0;
	b->len = 0;
	b->bad = false;
}

void buf_trim(struct buf *b, bool secret) {
	if (b->len != 0 || b->p == NULL)
		return;
	if (secret)
		wipe(b->p, b->cap);
	free(b->p);
	b->p = NULL;
	b->cap = 0;
	b->off = 0;
}

void w_bytes(struct buf *b, struct str s) {
	if (b->bad)
		return;
	if (buf_append(b, s) < 0)
		b->bad = true;
}

static void put(struct buf *b, const void *p, size_t n) {
	w_bytes(b, str_mem(p, n));
}

void w_u8(struct buf *b, uint8_t v) {
	put(b, &v, sizeof(v));
}

void w_u16(struct buf *b, uint16_t v) {
	v = htole16(v);
	put(b, &v, sizeof(v));
}

void w_u32(struct buf *b, uint32_t v) {
	v = htole32(v);
	put(b, &v, sizeof(v));
}

void w_u64(struct buf *b, uint64_t v) {
	v = htole64(v);
	put(b, &v, sizeof(v));
}

void w_be16(struct buf *b, uint16_t v) {
	v = htobe16(v);
	put(b, &v, sizeof(v));
}

void w_be32(struct buf *b, uint32_t v) {
	v = htobe32(v);
	put(b, &v, sizeof(v));
}

void w_be64(struct buf *b, uint64_t v) {
	v = htobe64(v);
	put(b, &v, sizeof(v));
}

enum { VARINT_SIZE_MAX = 10 };

static size_t varint(uint8_t out[VARINT_SIZE_MAX], uint64_t v) {
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

void w_varint(struct buf *b, uint64_t v) {
	uint8_t raw[VARINT_SIZE_MAX];

	put(b, raw, varint(raw, v));
}

void w_svarint(struct buf *b, int64_t v) {
	w_varint(b, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

void w_cstr(struct buf *b, struct str s) {
	if (b->bad)
		return;
	uint8_t *p = str_find(s, '\0') == s.n ? buf_reserve(b, s.n + 1) : NULL;

	if (p == NULL) {
		b->bad = true;
		return;
	}
	if (s.n != 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	b->len += s.n + 1;
}

void w_vstr(struct buf *b, struct str s) {
	uint8_t raw[VARINT_SIZE_MAX];
	size_t n = varint(raw, s.n);

	if (b->bad)
		return;
	uint8_t *p = s.n <= b->max ? buf_reserve(b, n + s.n) : NULL;

	if (p == NULL) {
		b->bad = true;
		return;
	}
	memcpy(p, raw, n);
	if (s.n != 0)
		memcpy(p + n, s.p, s.n);
	b->len += n + s.n;
}

void w_zero(struct buf *b, size_t n) {
	if (b->bad || n == 0)
		return;
	uint8_t *p = buf_reserve(b, n);

	if (p == NULL) {
		b->bad = true;
		return;
	}
	memset(p, 0, n);
	b->len += n;
}

/* vsnprintf needs a byte for its NUL, which must not count against max: hence the detour. */
void w_fmt(struct buf *b, const char *fmt, ...) {
	va_list args;
	char small[256];

	if (b->bad)
		return;
	va_start(args, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, args);

	va_end(args);
	assert(n >= 0);
	if ((size_t)n < sizeof(small)) {
		put(b, small, (size_t)n);
		return;
	}
	auto_free char *big = xmalloc((size_t)n + 1);

	va_start(args, fmt);
	(void)vsnprintf(big, (size_t)n + 1, fmt, args);
	va_end(args);
	put(b, big, (size_t)n);
}

void w_patch_be32(struct buf *b, size_t at, uint32_t v) {
	if (b->bad)
		return;
	assert(b->len >= sizeof(v) && at <= b->len - sizeof(v));
	v = htobe32(v);
	memcpy(b->p + b->off + at, &v, sizeof(v));
}

int w_done(const struct buf *b) {
	return b->bad ? H_ELIMIT : 0;
}
