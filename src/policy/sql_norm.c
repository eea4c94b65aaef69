/*
 * sql_norm.c: the normal form of a statement, and its words.
 *
 * One pass over the tokens, which writes as it goes and looks back at what it wrote:
 *
 * - a value becomes `?`; a comma between two values of a bracket that holds values only is held
 *   back and dropped with the second one, so `(1, 2, 3)` is `(?)`;
 * - `(?), (?)`, as rows of VALUES end up, is cut back to `(?)`;
 * - a sign right in front of a number goes with it where no operand stands before it.
 *
 * Space is decided from the two tokens, never from the text: `a=1` and `a = 1` are one statement.
 * A bracket stands off only behind the keywords that are no function's name.
 */
#include "policy/sql_norm.h"

#include <endian.h>

#include "base/crypto.h"
#include "policy/sql_lex.h"

struct norm {
	struct buf *out;
	size_t start;          /* where the form begins in out */
	struct sql_token last; /* the token written last; text empty at the start */
	bool is_list;          /* since the last bracket: values only */
	bool has_comma;        /* a comma of such a list is held back */
	bool has_end;          /* a semicolon is held back: the last one is not kept */
	struct str sign;       /* held back, for a number */
};

static const char *const standing_off[] = {
	"all",       "and",   "any",    "as",         "between",   "by",     "case",
	"check",     "else",  "except", "exists",     "from",      "having", "in",
	"intersect", "into",  "key",    "like",       "limit",     "not",    "offset",
	"on",        "or",    "over",   "references", "returning", "select", "some",
	"then",      "union", "using",  "values",     "when",      "where",  "with",
};

static bool stands_off(const struct sql_token *t) {
	for (size_t i = 0; i < ARRAY_LEN(standing_off); i++)
		if (sql_is(t, standing_off[i]))
			return true;
	return t->kind == SQL_OPERATOR;
}

static bool is_value(const struct sql_token *t) {
	return sql_is_text(t) || t->kind == SQL_NUMBER || t->kind == SQL_BITS || t->kind == SQL_HEX;
}

static bool is_tight(const struct sql_token *t) {
	return sql_is_char(t, '.') || (t->kind == SQL_OPERATOR && str_is(t->text, "::"));
}

static bool is_open_bracket(const struct sql_token *t) {
	return sql_is_char(t, '(') || sql_is_char(t, '[');
}

/* True when a space stands between the last token and this one. */
static bool is_apart(const struct norm *n, const struct sql_token *t) {
	if (n->last.text.n == 0 || is_open_bracket(&n->last) || is_tight(&n->last) || is_tight(t))
		return false;
	if (sql_is_char(t, '('))
		return stands_off(&n->last) || sql_is_char(&n->last, ',');
	if (sql_is_char(t, '['))
		return sql_is_char(&n->last, ',');
	return !sql_is_char(t, ',') && !sql_is_char(t, ')') && !sql_is_char(t, ']') &&
	       !sql_is_char(t, ';');
}

static void put_lower(struct buf *b, struct str s) {
	for (size_t i = 0; i < s.n; i++)
		w_u8(b, (uint8_t)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + ('a' - 'A') : s.p[i]));
}

static void put(struct norm *n, const struct sql_token *t) {
	if (is_apart(n, t))
		w_u8(n->out, ' ');
	if (is_value(t))
		w_u8(n->out, '?');
	else if (t->kind == SQL_WORD)
		put_lower(n->out, t->text);
	else
		w_bytes(n->out, t->text);
	n->last = *t;
}

static void put_op(struct norm *n, struct str text) {
	put(n, &(struct sql_token){ .kind = SQL_OPERATOR, .text = text });
}

static void put_punct(struct norm *n, struct str text) {
	put(n, &(struct sql_token){ .kind = SQL_PUNCT, .text = text });
}

/* What was held back is wanted after all. */
static void settle(struct norm *n) {
	if (n->has_end)
		put_punct(n, STR(";"));
	if (n->has_comma)
		put_punct(n, STR(","));
	if (n->sign.n != 0)
		put_op(n, n->sign);
	n->has_end = n->has_comma = false;
	n->sign = STR_NONE;
}

static void cut_row(struct norm *n) {
	struct str twice = STR("(?), (?)");
	struct str all = str_from(buf_peek(n->out), n->start);

	if (all.n >= twice.n && str_eq(str_from(all, all.n - twice.n), twice))
		n->out->len -= STR(", (?)").n;
}

/* A sign behind one of these has no operand in front of it. */
static bool is_sign(const struct norm *n, const struct sql_token *t) {
	return (sql_is_char(t, '-') || sql_is_char(t, '+')) && n->sign.n == 0 &&
	       (n->has_comma || is_open_bracket(&n->last) || sql_is_char(&n->last, ',') ||
	        (n->last.kind == SQL_OPERATOR && n->last.text.n != 0) || stands_off(&n->last));
}

static void put_value(struct norm *n, const struct sql_token *t) {
	bool is_first = is_open_bracket(&n->last);

	if (t->kind == SQL_NUMBER)
		n->sign = STR_NONE;
	if (n->has_comma && n->is_list && n->sign.n == 0) {
		n->has_comma = false;
		return;
	}
	settle(n);
	put(n, t);
	n->is_list = n->is_list || is_first;
}

static void take(struct norm *n, const struct sql_token *t) {
	if (is_value(t)) {
		put_value(n, t);
	} else if (is_sign(n, t)) {
		n->sign = t->text;
	} else if (sql_is_char(t, ',') && n->is_list && !n->has_comma) {
		n->has_comma = true;
	} else if (sql_is_char(t, ';')) {
		settle(n);
		n->has_end = n->last.text.n != 0;
		n->is_list = false;
	} else {
		settle(n);
		put(n, t);
		n->is_list = false;
		if (sql_is_char(t, ')'))
			cut_row(n);
	}
}

int sql_norm(struct str text, struct buf *out) {
	struct norm n = { .out = out, .start = out->len };
	struct sql_lex l = sql_lex_of(text, SQL_STRICT);
	struct sql_token t;

	while (!out->bad && sql_next_solid(&l, &t))
		take(&n, &t);
	n.has_end = false;
	settle(&n);
	return w_done(out);
}

uint64_t sql_print(struct str normal) {
	uint8_t hash[SHA256_SIZE];
	uint64_t print;

	sha256(hash, normal);
	memcpy(&print, hash, sizeof(print));
	return le64toh(print);
}

/* ---- words ---- */

static bool is_of_word(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || (unsigned char)c >= 0x80;
}

static void tell(struct str word, void (*fn)(void *arg, struct str word), void *arg) {
	char lower[SQL_WORD_MAX];
	size_t n = MIN(word.n, sizeof(lower));

	for (size_t i = 0; i < n; i++)
		lower[i] = (char)(word.p[i] >= 'A' && word.p[i] <= 'Z' ? word.p[i] + ('a' - 'A')
		                                                       : word.p[i]);
	fn(arg, str_mem(lower, n));
}

static void split(struct str s, void (*fn)(void *arg, struct str word), void *arg) {
	for (size_t i = 0; i < s.n;) {
		size_t end = i;

		while (end < s.n && is_of_word(s.p[end]))
			end++;
		if (end > i)
			tell(str_mem(s.p + i, end - i), fn, arg);
		i = end + (end == i ? 1 : 0);
	}
}

void sql_words(struct str text, void (*fn)(void *arg, struct str word), void *arg) {
	struct sql_lex l = sql_lex_of(text, SQL_STRICT);
	struct sql_token t;

	while (sql_next_solid(&l, &t)) {
		if (t.kind == SQL_WORD || t.kind == SQL_NUMBER)
			split(t.text, fn, arg);
		else if (t.inner.n != 0)
			split(t.inner, fn, arg);
	}
}
