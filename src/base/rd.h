/*
 * rd.h: the sticky reader. A parser of a whole message reads like its schema; the first shortage
 * sets the error, every later read yields zero, and rd_done() tells once at the end.
 * Slices that rd_ functions return borrow from the input.
 */
#ifndef BASE_RD_H
#define BASE_RD_H

#include "base/err.h"
#include "base/str.h"

struct rd {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
	bool is_malformed; /* bad because of a wrong form, not of a shortage */
};

static inline struct rd rd_of(struct str s) {
	const uint8_t *p = (const uint8_t *)s.p;

	return (struct rd){ .p = p, .end = s.n != 0 ? p + s.n : p };
}

static inline size_t rd_left(const struct rd *r) {
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

uint8_t rd_u8(struct rd *r);
/* Little-endian: our own formats. */
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
/* Big-endian: network protocols. */
uint16_t rd_be16(struct rd *r);
uint32_t rd_be32(struct rd *r);
uint64_t rd_be64(struct rd *r);
/* LEB128, at most 10 bytes, shortest form required. */
uint64_t rd_varint(struct rd *r);
/* Zigzag signed varint. */
int64_t rd_svarint(struct rd *r);
/* The next n bytes. */
struct str rd_bytes(struct rd *r, size_t n);
/* Up to the next NUL, which is consumed and not returned. */
struct str rd_cstr(struct rd *r);
/* varint length, then that many bytes. */
struct str rd_vstr(struct rd *r);
void rd_skip(struct rd *r, size_t n);
/* The caller found a value that the schema does not allow: rd_done() will say H_EFORMAT. */
void rd_fail(struct rd *r);
/* 0, or H_ETRUNC for a shortage, or H_EFORMAT for a wrong form or bytes left over. */
int rd_done(const struct rd *r) must_use;

#endif
