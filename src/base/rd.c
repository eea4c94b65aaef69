/*
 * rd.c: the sticky reader.
 *
 * One function, take(), moves the cursor; everything else is built on it. After the first failure
 * the cursor stands at the end, so no later call can read anything.
 *
 * Varints are LEB128 with at most ten bytes, and only the shortest form is taken: a number has one
 * spelling, as everything that is hashed must.
 */
#include "base/rd.h"

#include <endian.h>

static void fail(struct rd *r, bool is_malformed) {
	if (!r->bad)
		r->is_malformed = is_malformed;
	r->bad = true;
	r->p = r->end;
}

void rd_fail(struct rd *r) {
	fail(r, true);
}

/* The next n bytes, or NULL once anything has failed. Not for n = 0. */
static const uint8_t *take(struct rd *r, size_t n) {
	const uint8_t *p = r->p;

	assert(n != 0);
	if (rd_left(r) < n) {
		fail(r, false);
		return NULL;
	}
	r->p += n;
	return p;
}

uint8_t rd_u8(struct rd *r) {
	const uint8_t *p = take(r, 1);

	return p != NULL ? *p : 0;
}

static uint16_t raw16(struct rd *r) {
	const uint8_t *p = take(r, 2);
	uint16_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t raw32(struct rd *r) {
	const uint8_t *p = take(r, 4);
	uint32_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t raw64(struct rd *r) {
	const uint8_t *p = take(r, 8);
	uint64_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return v;
}

uint16_t rd_u16(struct rd *r) {
	return le16toh(raw16(r));
}

uint32_t rd_u32(struct rd *r) {
	return le32toh(raw32(r));
}

uint64_t rd_u64(struct rd *r) {
	return le64toh(raw64(r));
}

uint16_t rd_be16(struct rd *r) {
	return be16toh(raw16(r));
}

uint32_t rd_be32(struct rd *r) {
	return be32toh(raw32(r));
}

uint64_t rd_be64(struct rd *r) {
	return be64toh(raw64(r));
}

uint64_t rd_varint(struct rd *r) {
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t *p = take(r, 1);

		if (p == NULL)
			return 0;
		/* Byte ten carries bit 63 alone; a zero byte at the end was not needed. */
		if ((shift == 63 && *p > 1) || (*p == 0 && shift != 0))
			break;
		v |= (uint64_t)(*p & 0x7f) << shift;
		if ((*p & 0x80) == 0)
			return v;
	}
	fail(r, true);
	return 0;
}

int64_t rd_svarint(struct rd *r) {
	uint64_t z = rd_varint(r);

	return (int64_t)(z >> 1 ^ (0 - (z & 1)));
}

struct str rd_bytes(struct rd *r, size_t n) {
	if (n == 0)
		return STR_NONE;
	const uint8_t *p = take(r, n);

	return p != NULL ? str_mem(p, n) : STR_NONE;
}

struct str rd_cstr(struct rd *r) {
	struct str left = str_mem(r->p, rd_left(r));
	size_t n = str_find(left, '\0');

	if (n == left.n) {
		fail(r, false);
		return STR_NONE;
	}
	r->p += n + 1;
	return str_head(left, n);
}

struct str rd_vstr(struct rd *r) {
	uint64_t n = rd_varint(r);

	return rd_bytes(r, n);
}

void rd_skip(struct rd *r, size_t n) {
	(void)rd_bytes(r, n);
}

int rd_done(const struct rd *r) {
	if (r->bad)
		return r->is_malformed ? H_EFORMAT : H_ETRUNC;
	return r->p == r->end ? 0 : H_EFORMAT;
}
