/*
 * text.c: see text.h. The width table is coarse on purpose: it follows the blocks of Unicode 15 that
 * are wide as a whole (UAX #11), and combining ranges; a wrong guess costs alignment, never safety.
 */
#include "main/text.h"

#include <stdarg.h>

struct range {
	uint32_t first, last;
};

/* Invisible or reordering: shown as \u{…}. */
static const struct range hidden[] = {
	{ 0x00ad, 0x00ad }, { 0x061c, 0x061c },   { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },
	{ 0x180b, 0x180f }, { 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },
	{ 0x3164, 0x3164 }, { 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },
	{ 0xfff0, 0xfffb }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
};

static const struct range combining[] = {
	{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x0610, 0x061a },
	{ 0x064b, 0x065f }, { 0x0900, 0x0902 }, { 0x0941, 0x0948 }, { 0x0e31, 0x0e31 },
	{ 0x0e34, 0x0e3a }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff }, { 0x20d0, 0x20ff },
	{ 0xfe20, 0xfe2f },
};

static const struct range wide[] = {
	{ 0x1100, 0x115e },   { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },   { 0xac00, 0xd7a3 },
	{ 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },
	{ 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1faff }, { 0x20000, 0x3fffd },
};

static bool in_ranges(uint32_t c, const struct range *ranges, size_t count) {
	size_t low = 0;
	size_t high = count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (c > ranges[mid].last)
			low = mid + 1;
		else if (c < ranges[mid].first)
			high = mid;
		else
			return true;
	}
	return false;
}

/* Length of the character at the front of s (1 to 4) and its value; 0 when it is not UTF-8. */
static size_t next_char(struct str s, uint32_t *ret) {
	const uint8_t *p = (const uint8_t *)s.p;
	if (p[0] < 0x80) {
		*ret = p[0];
		return 1;
	}
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (n > s.n || str_utf8_bad(str_head(s, n)) != n)
		return 0;
	uint32_t c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3fu);
	*ret = c;
	return n;
}

static void escape_byte(struct buf *b, uint8_t byte) {
	static const char digits[] = "0123456789abcdef";
	char text[4] = { '\\', 'x', digits[byte >> 4], digits[byte & 15] };
	w_bytes(b, str_mem(text, sizeof(text)));
}

static void put_control(struct buf *b, uint32_t c, enum text_mode mode) {
	if (c == '\n' || c == '\t') {
		if (mode == TEXT_BLOCK)
			w_u8(b, (uint8_t)c);
		else
			w_bytes(b, c == '\n' ? STR("\\n") : STR("\\t"));
		return;
	}
	if (c == '\r') {
		w_bytes(b, STR("\\r"));
		return;
	}
	escape_byte(b, (uint8_t)c);
}

void text_safe(struct buf *b, struct str s, enum text_mode mode) {
	while (s.n > 0) {
		/* plain ASCII in runs */
		size_t run = 0;
		while (run < s.n && (uint8_t)s.p[run] >= 0x20 && (uint8_t)s.p[run] < 0x7f)
			run++;
		if (run > 0) {
			w_bytes(b, str_head(s, run));
			s = str_from(s, run);
			continue;
		}
		uint32_t c = 0;
		size_t n = next_char(s, &c);
		if (n == 0) {
			escape_byte(b, (uint8_t)s.p[0]);
			n = 1;
		} else if (c < 0x20 || c == 0x7f) {
			put_control(b, c, mode);
		} else if (c < 0xa0 || in_ranges(c, hidden, ARRAY_LEN(hidden))) {
			w_fmt(b, "\\u{%x}", c);
		} else {
			w_bytes(b, str_head(s, n));
		}
		s = str_from(s, n);
	}
}

static void put_u16(struct buf *b, uint32_t unit) {
	w_fmt(b, "\\u%04x", unit);
}

void text_json(struct buf *b, struct str json) {
	while (json.n > 0) {
		uint32_t c = 0;
		size_t n = next_char(json, &c);
		if (n == 0) {
			w_bytes(b, STR("\xef\xbf\xbd"));
			n = 1;
		} else if ((c < 0x7f && c != 0) ||
		           (c > 0x9f && !in_ranges(c, hidden, ARRAY_LEN(hidden)))) {
			w_bytes(b, str_head(json, n));
		} else if (c > 0xffff) {
			put_u16(b, 0xd800 + ((c - 0x10000) >> 10));
			put_u16(b, 0xdc00 + ((c - 0x10000) & 0x3ff));
		} else {
			put_u16(b, c);
		}
		json = str_from(json, n);
	}
}

static size_t char_width(uint32_t c) {
	if (c < 0x300)
		return 1;
	if (in_ranges(c, combining, ARRAY_LEN(combining)))
		return 0;
	return in_ranges(c, wide, ARRAY_LEN(wide)) ? 2 : 1;
}

size_t text_width(struct str s) {
	size_t width = 0;
	while (s.n > 0) {
		uint32_t c = 0;
		size_t n = next_char(s, &c);
		width += n == 0 ? 1 : char_width(c);
		s = str_from(s, MAX(n, (size_t)1));
	}
	return width;
}

struct str text_fit(struct str s, size_t width) {
	size_t used = 0;
	size_t at = 0;
	while (at < s.n) {
		uint32_t c = 0;
		size_t n = next_char(str_from(s, at), &c);
		size_t w = n == 0 ? 1 : char_width(c);
		if (used + w > width)
			break;
		used += w;
		at += MAX(n, (size_t)1);
	}
	return str_head(s, at);
}

/* ---- tables ---- */

enum { COLUMN_WIDTH_MIN = 8, HEAD_TEXT_MAX = 64 * 1024 };
#define TABLE_TEXT_MAX (64 * MIB)

struct column {
	char *head; /* harmless */
	bool is_right;
	size_t width;
};

struct table {
	size_t columns;
	struct column *column;
	struct buf text; /* all cells, back to back */
	size_t *ends;    /* of each cell in text */
	size_t cells, cap;
};

struct table *table_new_str(const struct str *heads, size_t count) {
	assert(count > 0);
	struct table *t = xcalloc(1, sizeof(*t));
	t->columns = count;
	t->column = xcalloc(count, sizeof(*t->column));
	for (size_t i = 0; i < count; i++) {
		struct buf b;
		buf_init(&b, HEAD_TEXT_MAX);
		text_safe(&b, heads[i], TEXT_LINE);
		t->column[i].head = str_dup(buf_peek(&b));
		buf_fini(&b);
	}
	buf_init(&t->text, TABLE_TEXT_MAX);
	return t;
}

struct table *table_new(const char *const *heads, size_t count) {
	auto_free struct str *names = xcalloc(count, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		names[i] = str_of(heads[i]);
	return table_new_str(names, count);
}

void table_free(struct table **t) {
	if (*t == NULL)
		return;
	for (size_t i = 0; i < (*t)->columns; i++)
		free((*t)->column[i].head);
	free((*t)->column);
	buf_fini(&(*t)->text);
	free((*t)->ends);
	free(*t);
	*t = NULL;
}

void table_cell(struct table *t, struct str s) {
	text_safe(&t->text, s, TEXT_LINE);
	if (t->cells == t->cap) {
		t->cap = t->cap == 0 ? 64 : t->cap * 2;
		t->ends = xrealloc(t->ends, t->cap * sizeof(*t->ends));
	}
	t->ends[t->cells++] = t->text.len;
}

void table_cell_fmt(struct table *t, const char *fmt, ...) {
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_cell(t, str_mem(text, MIN((size_t)MAX(n, 0), sizeof(text) - 1)));
}

void table_right(struct table *t, size_t idx) {
	assert(idx < t->columns);
	t->column[idx].is_right = true;
}

size_t table_rows(const struct table *t) {
	return t->cells / t->columns;
}

size_t table_bytes(const struct table *t) {
	return t->text.len;
}

void table_clear(struct table *t) {
	buf_clear(&t->text);
	t->cells = 0;
}

static struct str cell_at(const struct table *t, size_t idx) {
	size_t begin = idx == 0 ? 0 : t->ends[idx - 1];
	return str_head(str_from(buf_peek(&t->text), begin), t->ends[idx] - begin);
}

static void pad(struct buf *out, size_t n) {
	for (size_t i = 0; i < n; i++)
		w_u8(out, ' ');
}

static void put_cell(const struct table *t, struct buf *out, struct str s, size_t idx) {
	const struct column *c = &t->column[idx];
	size_t w = text_width(s);
	size_t left = c->width > w ? c->width - w : 0;
	if (w > c->width) {
		struct str head = text_fit(s, MAX(c->width, (size_t)1) - 1);
		w_bytes(out, head);
		w_bytes(out, STR("…"));
		left = c->width - MIN(c->width, text_width(head) + 1);
	} else {
		if (c->is_right)
			pad(out, left);
		w_bytes(out, s);
	}
	if (idx + 1 < t->columns)
		pad(out, (c->is_right && w <= c->width ? 0 : left) + 2);
}

static size_t sum_of(const struct table *t, size_t most) {
	size_t sum = 2 * (t->columns - 1);
	for (size_t i = 0; i < t->columns; i++)
		sum += MIN(t->column[i].width, most);
	return sum;
}

/* The widest columns give way first, down to a width at which something can still be read. */
static void fit_columns(struct table *t, size_t width) {
	size_t low = COLUMN_WIDTH_MIN;
	size_t high = width;
	while (low < high) {
		size_t mid = (low + high + 1) / 2;
		if (sum_of(t, mid) <= width)
			low = mid;
		else
			high = mid - 1;
	}
	if (sum_of(t, SIZE_MAX) > width)
		for (size_t i = 0; i < t->columns; i++)
			t->column[i].width = MIN(t->column[i].width, MAX(low, high));
}

static void column_widths(struct table *t, size_t width) {
	for (size_t c = 0; c < t->columns; c++) {
		size_t w = text_width(str_of(t->column[c].head));
		for (size_t r = 0; r < table_rows(t); r++)
			w = MAX(w, text_width(cell_at(t, r * t->columns + c)));
		t->column[c].width = w;
	}
	if (width > 0)
		fit_columns(t, width);
}

void table_print(struct table *t, struct buf *out, size_t width, bool bold) {
	column_widths(t, width);
	if (bold)
		w_bytes(out, STR("\033[1m"));
	for (size_t c = 0; c < t->columns; c++)
		put_cell(t, out, str_of(t->column[c].head), c);
	w_bytes(out, bold ? STR("\033[0m\n") : STR("\n"));
	for (size_t i = 0; i < table_rows(t) * t->columns; i++) {
		size_t c = i % t->columns;
		put_cell(t, out, cell_at(t, i), c);
		if (c + 1 == t->columns)
			w_u8(out, '\n');
	}
}
