/*
 * json.c: writing JSON (RFC 8259) into a buf.
 *
 * The writer knows where commas go: a bit per depth says whether one is due. Misuse (a value
 * without a key inside an object cannot be seen, but unbalanced ends and too much depth can) is a
 * bug of ours and asserted.
 *
 * Strings: besides what JSON demands, DEL, the C1 controls, zero-width and bidirectional controls
 * and the line separators are written as \u escapes. It is the same string for a parser, and a
 * terminal or a person who reads the text is not deceived by it. Bytes that are not UTF-8 become
 * U+FFFD, one per byte.
 */
#include "base/json.h"

#include <inttypes.h>

#include "base/json_priv.h"

enum { DEPTH_MAX = 60 };

/* ---- escaping ---- */

static bool is_deceptive(uint32_t cp) {
	return (cp >= 0x7f && cp <= 0x9f) || (cp >= 0x200b && cp <= 0x200f) ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff;
}

/* Code point of a well-formed sequence of n bytes. */
static uint32_t code_point(const uint8_t *p, size_t n) {
	if (n == 1)
		return p[0];
	uint32_t cp = p[0] & (0xffU >> (n + 1));

	for (size_t i = 1; i < n; i++)
		cp = cp << 6 | (p[i] & 0x3f);
	return cp;
}

/* Length of the code point that s begins with, 0 when it is not UTF-8. */
static size_t sequence_len(struct str s) {
	static const uint8_t lens[16] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4 };
	size_t n = lens[(uint8_t)s.p[0] >> 4];

	return n <= s.n && str_utf8_bad(str_head(s, n)) == n ? n : 0;
}

static size_t put_u16(char *out, uint32_t cp) {
	uint8_t be[2] = { (uint8_t)(cp >> 8), (uint8_t)cp };

	out[0] = '\\';
	out[1] = 'u';
	hex_encode(out + 2, be, 2);
	return 6;
}

/* The letter of a two-byte escape, or 0. */
static char short_escape(char c) {
	switch (c) {
	case '"':
	case '\\':
		return c;
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	default:
		return '\0';
	}
}

/* One code point or bad byte at the front of s; out has room for JSON_ESCAPE_MAX. */
static size_t escape_one(char *out, struct str s, size_t *used) {
	size_t n = sequence_len(s);

	*used = MAX(n, (size_t)1);
	if (n == 0) {
		memcpy(out, "\xef\xbf\xbd", 3);
		return 3;
	}
	uint32_t cp = code_point((const uint8_t *)s.p, n);
	char letter = cp < 0x80 ? short_escape((char)cp) : '\0';

	if (letter != '\0') {
		out[0] = '\\';
		out[1] = letter;
		return 2;
	}
	if (cp < 0x20 || is_deceptive(cp))
		return put_u16(out, cp);
	memcpy(out, s.p, n);
	return n;
}

static bool is_plain(char c) {
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

size_t json_escape(char *dst, size_t cap, struct str s, size_t *used) {
	size_t at = 0, out = 0;

	while (at < s.n) {
		if (is_plain(s.p[at])) {
			if (out == cap)
				break;
			dst[out++] = s.p[at++];
			continue;
		}
		char one[JSON_ESCAPE_MAX + 1];
		size_t taken;
		size_t n = escape_one(one, str_from(s, at), &taken);

		if (n > cap - out)
			break;
		memcpy(dst + out, one, n);
		out += n;
		at += taken;
	}
	*used = at;
	return out;
}

/* ---- writer ---- */

struct jw jw_of(struct buf *b) {
	return (struct jw){ .b = b };
}

static void comma(struct jw *j) {
	uint64_t bit = (uint64_t)1 << j->depth;

	if (!j->after_key && (j->comma & bit) != 0)
		w_u8(j->b, ',');
	j->comma |= bit;
	j->after_key = false;
}

static void enter(struct jw *j, uint8_t c) {
	comma(j);
	w_u8(j->b, c);
	assert(j->depth < DEPTH_MAX);
	j->depth++;
	j->comma &= ~((uint64_t)1 << j->depth);
}

static void leave(struct jw *j, uint8_t c) {
	assert(j->depth > 0 && !j->after_key);
	j->depth--;
	w_u8(j->b, c);
}

void jw_obj(struct jw *j) {
	enter(j, '{');
}

void jw_obj_end(struct jw *j) {
	leave(j, '}');
}

void jw_arr(struct jw *j) {
	enter(j, '[');
}

void jw_arr_end(struct jw *j) {
	leave(j, ']');
}

static void quoted(struct buf *b, struct str s) {
	w_u8(b, '"');
	while (s.n != 0 && !b->bad) {
		size_t want = MIN(s.n + JSON_ESCAPE_MAX, (size_t)4096);
		uint8_t *p = buf_reserve(b, MIN(want, b->max - b->len));
		size_t used = 0;

		if (p != NULL)
			buf_commit(b, json_escape((char *)p, buf_room(b), s, &used));
		if (used == 0)
			b->bad = true;
		s = str_from(s, used);
	}
	w_u8(b, '"');
}

void jw_key_str(struct jw *j, struct str key) {
	assert(!j->after_key);
	comma(j);
	quoted(j->b, key);
	w_u8(j->b, ':');
	j->after_key = true;
}

void jw_key(struct jw *j, const char *key) {
	jw_key_str(j, str_of(key));
}

void jw_str(struct jw *j, struct str s) {
	comma(j);
	quoted(j->b, s);
}

void jw_raw(struct jw *j, struct str s) {
	comma(j);
	w_bytes(j->b, s);
}

void jw_u64(struct jw *j, uint64_t v) {
	comma(j);
	w_fmt(j->b, "%" PRIu64, v);
}

void jw_i64(struct jw *j, int64_t v) {
	comma(j);
	w_fmt(j->b, "%" PRId64, v);
}

void jw_bool(struct jw *j, bool v) {
	jw_raw(j, v ? STR("true") : STR("false"));
}

void jw_null(struct jw *j) {
	jw_raw(j, STR("null"));
}

static void base64_value(struct buf *b, struct str s) {
	size_t n = 4 * ((s.n + 2) / 3);
	uint8_t *p = b->bad || n >= b->max ? NULL : buf_reserve(b, n + 1);

	if (p == NULL) {
		b->bad = true;
		return;
	}
	buf_commit(b, base64_encode((char *)p, s.p, s.n));
}

void jw_bytes(struct jw *j, struct str s) {
	jw_obj(j);
	if (str_utf8_bad(s) == s.n) {
		jw_kv_str(j, "text", s);
	} else {
		jw_key(j, "base64");
		jw_raw(j, STR("\""));
		base64_value(j->b, s);
		w_u8(j->b, '"');
	}
	jw_obj_end(j);
}

void jw_kv_str(struct jw *j, const char *key, struct str s) {
	jw_key(j, key);
	jw_str(j, s);
}

void jw_kv_z(struct jw *j, const char *key, const char *z) {
	jw_kv_str(j, key, str_of(z));
}

void jw_kv_u64(struct jw *j, const char *key, uint64_t v) {
	jw_key(j, key);
	jw_u64(j, v);
}

void jw_kv_i64(struct jw *j, const char *key, int64_t v) {
	jw_key(j, key);
	jw_i64(j, v);
}

void jw_kv_bool(struct jw *j, const char *key, bool v) {
	jw_key(j, key);
	jw_bool(j, v);
}
