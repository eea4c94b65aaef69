/*
 * event.c: payloads of record events (docs/record-format.md §4, §5).
 *
 * A payload is exactly what its type says: bytes left over or a stream that the type does not have
 * are H_EFORMAT, because two readers that disagree about one record are worse than one that
 * refuses. Only the lists that may grow at their end (why, command kind and status) are taken as
 * they come: an older reader shows a newer number as "?". Slices borrow from the payload.
 */
#include "record/event.h"

enum { SQLSTATE = 5 };

const char *rec_type_name(unsigned type) {
	static const char *const names[] = {
#define X(code, name, text, help) [code] = text,
		RECORD_EVENTS(X)
#undef X
	};

	return type < ARRAY_LEN(names) && names[type] != NULL ? names[type] : "?";
}

void rec_put_raw(struct buf *b, uint64_t offset, struct str bytes) {
	w_varint(b, offset);
	w_bytes(b, bytes);
}

void rec_put_why(struct buf *b, uint8_t why, uint64_t offset, struct str bytes) {
	w_u8(b, why);
	rec_put_raw(b, offset, bytes);
}

void rec_put_redacted(struct buf *b, uint8_t why, uint64_t offset, uint64_t length) {
	w_u8(b, why);
	w_varint(b, offset);
	w_varint(b, length);
}

void rec_put_hidden(struct buf *b, const struct rec_event *e) {
	rec_put_redacted(b, e->why, e->offset, e->length);
	w_bytes(b, str_mem(e->mac, sizeof(e->mac)));
}

void rec_put_withheld(struct buf *b, const struct rec_event *e) {
	w_varint(b, e->offset);
	w_varint(b, e->length);
	w_varint(b, e->rows);
}

void rec_put_digest(struct buf *b, const struct rec_event *e) {
	rec_put_withheld(b, e);
	w_bytes(b, str_mem(e->digest, sizeof(e->digest)));
}

void rec_put_forwarded(struct buf *b, uint64_t offset) {
	w_varint(b, offset);
}

static const uint64_t *command_number(const struct rec_command *c, unsigned i) {
	const uint64_t *const all[] = { &c->c_off, &c->c_len, &c->text_off, &c->text_len,
		                        &c->t_off, &c->t_len, &c->rows,     &c->row_bytes };

	return all[i];
}

void rec_put_command(struct buf *b, const struct rec_command *c) {
	assert(c->sqlstate[0] == '\0' || strlen(c->sqlstate) == SQLSTATE);
	w_u8(b, c->kind);
	w_u8(b, c->status);
	w_vstr(b, c->verb);
	w_bytes(b, c->sqlstate[0] != '\0' ? str_mem(c->sqlstate, SQLSTATE) : STR("     "));
	w_bytes(b, str_mem(c->text_sha256, sizeof(c->text_sha256)));
	for (unsigned i = 0; i < 8; i++)
		w_varint(b, *command_number(c, i));
	w_svarint(b, c->received_dt);
	w_svarint(b, c->done_dt);
}

void rec_put_fact(struct buf *b, struct str name, struct str value) {
	w_vstr(b, name);
	w_bytes(b, value);
}

void rec_put_end(struct buf *b, int64_t code, struct str reason, const uint64_t streams[4]) {
	w_svarint(b, code);
	w_vstr(b, reason);
	for (unsigned i = 0; i < 4; i++)
		w_varint(b, streams[i]);
}

static void parse_command(struct rec_command *c, struct rd *r) {
	uint64_t *const numbers[] = { &c->c_off, &c->c_len, &c->text_off, &c->text_len,
		                      &c->t_off, &c->t_len, &c->rows,     &c->row_bytes };

	c->kind = rd_u8(r);
	c->status = rd_u8(r);
	c->verb = rd_vstr(r);
	struct str state = rd_bytes(r, SQLSTATE);
	struct str hash = rd_bytes(r, sizeof(c->text_sha256));

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		*numbers[i] = rd_varint(r);
	c->received_dt = rd_svarint(r);
	c->done_dt = rd_svarint(r);
	if (r->bad)
		return;
	memcpy(c->text_sha256, hash.p, hash.n);
	if (str_is(state, "     "))
		return;
	if (!str_copy(c->sqlstate, sizeof(c->sqlstate), state) || str_find(state, ' ') != state.n)
		rd_fail(r);
}

static void parse_bytes(struct rec_event *e, struct rd *r) {
	e->offset = rd_varint(r);
	e->bytes = rd_bytes(r, rd_left(r));
	e->length = e->bytes.n;
	if (e->offset > UINT64_MAX - e->length)
		rd_fail(r);
}

static void parse_redacted(struct rec_event *e, struct rd *r) {
	e->why = rd_u8(r);
	e->offset = rd_varint(r);
	e->length = rd_varint(r);
	if (e->offset > UINT64_MAX - e->length)
		rd_fail(r);
}

static void parse_hidden(struct rec_event *e, struct rd *r) {
	parse_redacted(e, r);
	struct str mac = rd_bytes(r, sizeof(e->mac));

	if (mac.n == sizeof(e->mac))
		memcpy(e->mac, mac.p, mac.n);
	if (e->length == 0 || e->length > REC_HIDDEN_MAX)
		rd_fail(r);
}

static void parse_withheld(struct rec_event *e, struct rd *r) {
	e->offset = rd_varint(r);
	e->length = rd_varint(r);
	e->rows = rd_varint(r);
	if (e->offset > UINT64_MAX - e->length)
		rd_fail(r);
}

static void parse_digest(struct rec_event *e, struct rd *r) {
	parse_withheld(e, r);
	struct str digest = rd_bytes(r, sizeof(e->digest));

	if (digest.n == sizeof(e->digest))
		memcpy(e->digest, digest.p, digest.n);
}

static void parse_end(struct rec_event *e, struct rd *r) {
	e->code = rd_svarint(r);
	e->bytes = rd_vstr(r);
	for (unsigned i = 0; i < 4; i++)
		e->streams[i] = rd_varint(r);
}

/* Which streams a type may be of: bit per stream. */
static unsigned streams_of(uint8_t type) {
	enum { C = 1, U = 2, T = 4, R = 8 };
	static const uint8_t legal[] = {
		[REC_RAW] = C | T,          [REC_DROPPED] = C | T,   [REC_REDACTED] = C | U | T | R,
		[REC_INJECTED] = U | R,     [REC_FORWARDED] = U | R, [REC_COMMAND] = C,
		[REC_FACT] = C | U | T | R, [REC_END] = C,           [REC_HIDDEN] = C | T,
		[REC_DIGEST] = T,           [REC_WITHHELD] = T,
	};

	return type < ARRAY_LEN(legal) ? legal[type] : 0;
}

int rec_event_parse(struct rec_event *e, uint8_t type, uint8_t flags, struct str payload) {
	struct rd r = rd_of(payload);

	*e = (struct rec_event){ .type = type, .flags = flags };
	if (flags > REC_STREAM_MASK || (streams_of(type) & 1u << flags) == 0)
		return H_EFORMAT;
	switch ((enum rec_type)type) {
	case REC_DROPPED:
	case REC_INJECTED:
		e->why = rd_u8(&r);
		parse_bytes(e, &r);
		break;
	case REC_RAW:
		parse_bytes(e, &r);
		break;
	case REC_REDACTED:
		parse_redacted(e, &r);
		break;
	case REC_HIDDEN:
		parse_hidden(e, &r);
		break;
	case REC_DIGEST:
		parse_digest(e, &r);
		break;
	case REC_WITHHELD:
		parse_withheld(e, &r);
		break;
	case REC_FORWARDED:
		e->offset = rd_varint(&r);
		break;
	case REC_COMMAND:
		parse_command(&e->command, &r);
		break;
	case REC_FACT:
		e->name = rd_vstr(&r);
		e->bytes = rd_bytes(&r, rd_left(&r));
		break;
	case REC_END:
		parse_end(e, &r);
		break;
	}
	return rd_done(&r);
}
