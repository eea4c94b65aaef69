/*
 * tlog_leaf.c: the leaves of the node log as JSON, written and parsed.
 *
 * A leaf is hashed as bytes, so it has one spelling: members in one order, no white space, numbers
 * without leading zeros, lower-case hex, texts without escapes. The parser walks that spelling
 * with a cursor and refuses everything else; it is no JSON parser, and cannot disagree with one
 * about what it accepts. The tests hold that each accepted leaf is what the writers would write.
 */
#include "base/buf.h"
#include "record/tlog.h"

static const char *const type_texts[] = {
#define X(name, text) text,
	TLOG_LEAVES(X)
#undef X
};

/* --- writing --- */

static void put_hex(struct buf *b, const char *before, const void *p, size_t n) {
	char hex[2 * SHA256_SIZE + 1];

	assert(n <= SHA256_SIZE);
	hex_encode(hex, p, n);
	w_fmt(b, "%s\"%s\"", before, hex);
}

static void put_sid(struct buf *b, const char *before, const uint8_t sid[SID_SIZE]) {
	char text[UUID_TEXT_SIZE];

	uuid_text(text, sid);
	w_fmt(b, "%s\"%s\"", before, text);
}

static bool is_token_byte(char c) {
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

static void put_token(struct buf *b, const char *before, struct str s) {
	w_fmt(b, "%s\"", before);
	s = str_head(s, TLOG_TOKEN_MAX);
	for (size_t i = 0; i < s.n; i++)
		w_u8(b, (uint8_t)(is_token_byte(s.p[i]) ? s.p[i] : '?'));
	w_u8(b, '"');
}

static void put_num(struct buf *b, const char *before, uint64_t v) {
	w_fmt(b, "%s%llu", before, (unsigned long long)v);
}

void tlog_head_begin(struct buf *b, uint64_t wall, uint64_t batch) {
	put_num(b, "{\"t\":\"head\",\"wall\":", wall);
	put_num(b, ",\"batch\":", batch);
	w_bytes(b, STR(",\"grew\":["));
}

void tlog_head_add(struct buf *b, const uint8_t sid[SID_SIZE], uint64_t frames,
                   const uint8_t root[SHA256_SIZE]) {
	struct str so_far = buf_peek(b);
	bool is_first = so_far.n == 0 || so_far.p[so_far.n - 1] == '[';

	put_sid(b, is_first ? "[" : ",[", sid);
	put_num(b, ",", frames);
	put_hex(b, ",", root, SHA256_SIZE);
	w_u8(b, ']');
}

void tlog_head_end(struct buf *b) {
	w_bytes(b, STR("]}"));
}

static void put_seal(struct buf *b, const struct tlog_leaf *l) {
	put_num(b, ",\"part\":", l->part);
	put_num(b, ",\"first\":", l->first);
	put_num(b, ",\"frames\":", l->frames);
	put_hex(b, ",\"root\":", l->hash, SHA256_SIZE);
}

static void put_close(struct buf *b, const struct tlog_leaf *l) {
	put_num(b, ",\"frames\":", l->frames);
	put_num(b, ",\"parts\":", l->parts);
	put_hex(b, ",\"root\":", l->hash, SHA256_SIZE);
	put_token(b, ",\"reason\":", l->reason);
	w_fmt(b, ",\"gap\":%s", l->gap ? "true" : "false");
}

void tlog_put_leaf(struct buf *b, const struct tlog_leaf *l) {
	bool has_sid = l->type != TLOG_BOOT && l->type != TLOG_STOP;

	assert(l->type != TLOG_HEAD);
	w_fmt(b, "{\"t\":\"%s\"", type_texts[l->type]);
	if (has_sid)
		put_sid(b, ",\"sid\":", l->sid);
	put_num(b, ",\"wall\":", l->wall);
	switch (l->type) {
	case TLOG_BOOT:
		put_hex(b, ",\"node\":", l->node, TLOG_NODE_SIZE);
		put_token(b, ",\"boot\":", l->boot);
		put_token(b, ",\"version\":", l->version);
		break;
	case TLOG_OPEN:
		put_hex(b, ",\"leaf\":", l->hash, SHA256_SIZE);
		break;
	case TLOG_SEAL:
		put_seal(b, l);
		break;
	case TLOG_CLOSE:
		put_close(b, l);
		break;
	case TLOG_GAP:
		put_num(b, ",\"after_seq\":", l->after_seq);
		put_token(b, ",\"reason\":", l->reason);
		break;
	case TLOG_STOP:
		put_token(b, ",\"boot\":", l->boot);
		put_num(b, ",\"batch\":", l->batch);
		break;
	case TLOG_HEAD:
		break;
	}
	w_u8(b, '}');
}

/* --- parsing --- */

/* A cursor with a sticky failure, as rd.h's. */
struct scan {
	struct str s;
	bool bad;
};

static void lit(struct scan *c, const char *text) {
	struct str want = str_of(text);

	if (c->bad || !str_starts(c->s, want))
		c->bad = true;
	else
		c->s = str_from(c->s, want.n);
}

static bool try_lit(struct scan *c, const char *text) {
	if (c->bad || !str_starts(c->s, str_of(text)))
		return false;
	c->s = str_from(c->s, strlen(text));
	return true;
}

static uint64_t num(struct scan *c) {
	size_t n = 0;
	uint64_t v = 0;

	while (n < c->s.n && c->s.p[n] >= '0' && c->s.p[n] <= '9')
		n++;
	if (c->bad || n == 0 || (n > 1 && c->s.p[0] == '0') ||
	    str_u64(str_head(c->s, n), UINT64_MAX, &v) < 0) {
		c->bad = true;
		return 0;
	}
	c->s = str_from(c->s, n);
	return v;
}

/* The next n bytes if they and a quotation mark are there. */
static struct str quoted(struct scan *c, size_t n) {
	struct str got = str_head(c->s, n);

	if (c->bad || c->s.n <= n || c->s.p[n] != '"') {
		c->bad = true;
		return STR_NONE;
	}
	c->s = str_from(c->s, n + 1);
	return got;
}

static bool has_upper(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			return true;
	}
	return false;
}

static void hex(struct scan *c, uint8_t *out, size_t n) {
	struct str text;

	lit(c, "\"");
	text = quoted(c, 2 * n);
	if (c->bad || has_upper(text) || hex_decode(out, n, text) != (int)n)
		c->bad = true;
}

static void sid(struct scan *c, uint8_t out[SID_SIZE]) {
	struct str text;

	lit(c, "\"");
	text = quoted(c, UUID_TEXT_SIZE - 1);
	if (c->bad || has_upper(text) || uuid_parse(out, text) < 0)
		c->bad = true;
}

static struct str token(struct scan *c) {
	size_t n = 0;

	lit(c, "\"");
	while (n < c->s.n && is_token_byte(c->s.p[n]))
		n++;
	if (n > TLOG_TOKEN_MAX)
		c->bad = true;
	return quoted(c, n);
}

static void grew_one(struct scan *c, struct tlog_grew *out) {
	lit(c, "[");
	sid(c, out->sid);
	lit(c, ",");
	out->frames = num(c);
	lit(c, ",");
	hex(c, out->root, SHA256_SIZE);
	lit(c, "]");
}

int tlog_grew_next(struct str *grew, struct tlog_grew *out) {
	struct scan c = { .s = *grew };
	struct tlog_grew got;

	if (grew->n == 0)
		return 0;
	grew_one(&c, &got);
	if (!c.bad && c.s.n != 0) {
		lit(&c, ",");
		c.bad = c.bad || c.s.n == 0;
	}
	if (c.bad)
		return H_EFORMAT;
	*grew = c.s;
	*out = got;
	return 1;
}

static void parse_head(struct tlog_leaf *l, struct scan *c) {
	lit(c, ",\"wall\":");
	l->wall = num(c);
	lit(c, ",\"batch\":");
	l->batch = num(c);
	lit(c, ",\"grew\":[");
	if (c->bad || c->s.n < 2 || !str_is(str_from(c->s, c->s.n - 2), "]}")) {
		c->bad = true;
		return;
	}
	l->grew = str_head(c->s, c->s.n - 2);
	c->s = str_from(c->s, c->s.n - 2);
	lit(c, "]");
	struct str rest = l->grew;
	struct tlog_grew one;
	int rc = rest.n == 0 ? H_EFORMAT : 1;

	while (rc > 0)
		rc = tlog_grew_next(&rest, &one);
	c->bad = c->bad || rc < 0;
}

static void parse_boot(struct tlog_leaf *l, struct scan *c) {
	lit(c, ",\"wall\":");
	l->wall = num(c);
	lit(c, ",\"node\":");
	hex(c, l->node, TLOG_NODE_SIZE);
	lit(c, ",\"boot\":");
	l->boot = token(c);
	lit(c, ",\"version\":");
	l->version = token(c);
}

static void parse_stop(struct tlog_leaf *l, struct scan *c) {
	lit(c, ",\"wall\":");
	l->wall = num(c);
	lit(c, ",\"boot\":");
	l->boot = token(c);
	lit(c, ",\"batch\":");
	l->batch = num(c);
}

static void parse_seal(struct tlog_leaf *l, struct scan *c) {
	lit(c, ",\"part\":");
	l->part = num(c);
	lit(c, ",\"first\":");
	l->first = num(c);
	lit(c, ",\"frames\":");
	l->frames = num(c);
	lit(c, ",\"root\":");
	hex(c, l->hash, SHA256_SIZE);
}

static void parse_close(struct tlog_leaf *l, struct scan *c) {
	lit(c, ",\"frames\":");
	l->frames = num(c);
	lit(c, ",\"parts\":");
	l->parts = num(c);
	lit(c, ",\"root\":");
	hex(c, l->hash, SHA256_SIZE);
	lit(c, ",\"reason\":");
	l->reason = token(c);
	l->gap = try_lit(c, ",\"gap\":true");
	if (!l->gap)
		lit(c, ",\"gap\":false");
}

static void parse_gap(struct tlog_leaf *l, struct scan *c) {
	lit(c, ",\"after_seq\":");
	l->after_seq = num(c);
	lit(c, ",\"reason\":");
	l->reason = token(c);
}

static void parse_members(struct tlog_leaf *l, struct scan *c) {
	if (l->type != TLOG_BOOT && l->type != TLOG_STOP && l->type != TLOG_HEAD) {
		lit(c, ",\"sid\":");
		sid(c, l->sid);
		lit(c, ",\"wall\":");
		l->wall = num(c);
	}
	switch (l->type) {
	case TLOG_BOOT:
		parse_boot(l, c);
		break;
	case TLOG_OPEN:
		lit(c, ",\"leaf\":");
		hex(c, l->hash, SHA256_SIZE);
		break;
	case TLOG_HEAD:
		parse_head(l, c);
		break;
	case TLOG_SEAL:
		parse_seal(l, c);
		break;
	case TLOG_CLOSE:
		parse_close(l, c);
		break;
	case TLOG_GAP:
		parse_gap(l, c);
		break;
	case TLOG_STOP:
		parse_stop(l, c);
		break;
	}
	lit(c, "}");
}

int tlog_leaf_parse(struct tlog_leaf *l, struct str text) {
	struct scan c = { .s = text };
	size_t type;

	if (text.n > TLOG_LEAF_MAX)
		return H_EFORMAT;
	lit(&c, "{\"t\":\"");
	for (type = 0; type < ARRAY_LEN(type_texts); type++) {
		if (try_lit(&c, type_texts[type]))
			break;
	}
	lit(&c, "\"");
	if (c.bad || type == ARRAY_LEN(type_texts))
		return H_EFORMAT;
	struct tlog_leaf got = { .type = (enum tlog_type)type };

	parse_members(&got, &c);
	if (c.bad || c.s.n != 0)
		return H_EFORMAT;
	*l = got;
	return 0;
}
