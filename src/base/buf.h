/*
 * buf.h: the growable byte queue, and writing into it.
 *
 * Bytes are appended at the end and consumed at the front; the memory is attached on demand, grows
 * by doubling up to max, and is given back by buf_trim() when empty, so an idle session costs
 * nothing. Writers (w_*) are sticky as rd.h's readers are: over max sets `bad` and the buffer is
 * left as it was before that write.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

struct buf {
	uint8_t *p; /* allocation, NULL when none */
	size_t cap; /* its size */
	size_t off; /* consumed so far */
	size_t len; /* bytes held, from p + off */
	size_t max; /* cap never exceeds this */
	bool bad;   /* a write did not fit */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* All held bytes, borrowed until the next write or reserve. */
static inline struct str buf_peek(const struct buf *b) {
	return b->len != 0 ? str_mem(b->p + b->off, b->len) : STR_NONE;
}
/* Room for n more bytes, contiguous; NULL when it would exceed max. Pair with buf_commit(). */
uint8_t *buf_reserve(struct buf *b, size_t n) must_use;
/* n bytes of the reservation were filled. */
void buf_commit(struct buf *b, size_t n);
/* Free room without growing. */
size_t buf_room(const struct buf *b);
int buf_append(struct buf *b, struct str s) must_use;
/* Drops n bytes at the front; n <= len. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
/* Gives the memory back if nothing is held; wipes it first when `secret`. */
void buf_trim(struct buf *b, bool secret);

void w_u8(struct buf *b, uint8_t v);
void w_u16(struct buf *b, uint16_t v);
void w_u32(struct buf *b, uint32_t v);
void w_u64(struct buf *b, uint64_t v);
void w_be16(struct buf *b, uint16_t v);
void w_be32(struct buf *b, uint32_t v);
void w_be64(struct buf *b, uint64_t v);
void w_varint(struct buf *b, uint64_t v);
void w_svarint(struct buf *b, int64_t v);
void w_bytes(struct buf *b, struct str s);
void w_cstr(struct buf *b, struct str s); /* bytes and a NUL; a NUL inside sets bad */
void w_vstr(struct buf *b, struct str s); /* varint length, bytes */
void w_zero(struct buf *b, size_t n);
void w_fmt(struct buf *b, const char *fmt, ...) printf_like(2, 3);
/* Overwrites four bytes at `at` (an offset from the front) with a big-endian number. */
void w_patch_be32(struct buf *b, size_t at, uint32_t v);
/* 0 or H_ELIMIT. */
int w_done(const struct buf *b) must_use;

#endif
