/*
 * pg_build.c: builders of the few PostgreSQL messages that the gateway says itself (pg_wire.h).
 *
 * Each appends one whole message to a capped buffer; a message that does not fit leaves the
 * buffer's sticky error set, and w_done() tells. Lengths are patched at the end, so no builder
 * computes one.
 */
#include "proto/postgres/pg_wire.h"

size_t pg_w_begin(struct buf *b, uint8_t type) {
	if (type != 0)
		w_u8(b, type);
	size_t mark = b->len;
	w_be32(b, 0);
	return mark;
}

void pg_w_end(struct buf *b, size_t mark) {
	if (!b->bad)
		w_patch_be32(b, mark, (uint32_t)(b->len - mark));
}

void pg_w_empty(struct buf *b, uint8_t type) {
	pg_w_end(b, pg_w_begin(b, type));
}

void pg_w_ssl_request(struct buf *b) {
	size_t mark = pg_w_begin(b, 0);
	w_be32(b, PG_CODE_SSL);
	pg_w_end(b, mark);
}

void pg_w_cancel(struct buf *b, uint32_t pid, struct str key) {
	size_t mark = pg_w_begin(b, 0);
	w_be32(b, PG_CODE_CANCEL);
	w_be32(b, pid);
	w_bytes(b, key);
	pg_w_end(b, mark);
}

size_t pg_w_start_begin(struct buf *b, uint32_t version) {
	size_t mark = pg_w_begin(b, 0);
	w_be32(b, version);
	return mark;
}

void pg_w_param(struct buf *b, struct str name, struct str value) {
	w_cstr(b, name);
	w_cstr(b, value);
}

void pg_w_start_end(struct buf *b, size_t mark) {
	w_u8(b, 0);
	pg_w_end(b, mark);
}

void pg_w_auth(struct buf *b, uint32_t code, struct str data) {
	size_t mark = pg_w_begin(b, 'R');
	w_be32(b, code);
	w_bytes(b, data);
	pg_w_end(b, mark);
}

void pg_w_key(struct buf *b, uint32_t pid, struct str key) {
	size_t mark = pg_w_begin(b, 'K');
	w_be32(b, pid);
	w_bytes(b, key);
	pg_w_end(b, mark);
}

void pg_w_status(struct buf *b, struct str name, struct str value) {
	size_t mark = pg_w_begin(b, 'S');
	pg_w_param(b, name, value);
	pg_w_end(b, mark);
}

void pg_w_ready(struct buf *b, uint8_t state) {
	size_t mark = pg_w_begin(b, 'Z');
	w_u8(b, state);
	pg_w_end(b, mark);
}

static void field(struct buf *b, uint8_t code, struct str value) {
	if (value.n == 0)
		return;
	w_u8(b, code);
	w_cstr(b, value);
}

void pg_w_say(struct buf *b, const struct pg_say *say) {
	size_t mark = pg_w_begin(b, say->type);
	field(b, 'S', say->severity);
	field(b, 'V', say->severity); /* ours are never translated, so both are the same */
	field(b, 'C', say->sqlstate);
	field(b, 'M', say->message);
	field(b, 'D', say->detail);
	field(b, 'H', say->hint);
	w_u8(b, 0);
	pg_w_end(b, mark);
}

size_t pg_w_negotiate_begin(struct buf *b, uint32_t version, uint32_t count) {
	size_t mark = pg_w_begin(b, 'v');
	w_be32(b, version);
	w_be32(b, count);
	return mark;
}

void pg_w_query(struct buf *b, struct str text) {
	size_t mark = pg_w_begin(b, 'Q');
	w_cstr(b, text);
	pg_w_end(b, mark);
}
