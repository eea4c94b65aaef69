/*
 * sql_lex.c: PostgreSQL's scanner (src/backend/parser/scan.l, up to 18), by hand.
 *
 * Why not flex's rules: their longest-match tables cannot be read beside a security decision, and
 * the scanner must go on behind what PostgreSQL refuses. What is easy to get wrong, and stands in
 * the tests:
 *
 * - An operator ends where a comment begins, and loses a trailing + or - unless it holds one of
 *   ~ ! @ # % ^ & | ` ?; so `a<-1` is `a < -1`.
 * - A name may hold `$`, so `a$$b` opens no body; `$1` is a parameter, `$a` alone is a stray `$`.
 * - 'a' <white space with a newline> 'b' is one literal, "--" comments included; the second piece
 *   is scanned as the first (E stays E). Names and bodies are not continued; '' in B and X ends them.
 * - Block comments nest.
 * - "1..2" are two numbers and "..", "1.e5" is one number, 0x1F, 0o7, 0b1 and 1_000 since 16.
 * - Bytes from 0x80 on are letters; a NUL, which the protocol excludes, is SQL_OTHER.
 *
 * Versions differ in little: before 15 `123abc` was a number and a name, as it is here; before 16
 * \v was no white space. Neither moves the ends of a literal.
 */
#include "policy/sql_lex.h"

enum { C_SPACE = 1, C_START = 2, C_DIGIT = 4, C_OP = 8, C_KEEP = 16, C_PUNCT = 32, C_HEX = 64 };

/* clang-format off */
static const uint8_t classes_of[256] = {
	[' '] = C_SPACE, ['\t'] = C_SPACE, ['\n'] = C_SPACE,
	['\r'] = C_SPACE, ['\f'] = C_SPACE, ['\v'] = C_SPACE,
	['~'] = C_OP | C_KEEP, ['!'] = C_OP | C_KEEP, ['@'] = C_OP | C_KEEP, ['#'] = C_OP | C_KEEP,
	['%'] = C_OP | C_KEEP, ['^'] = C_OP | C_KEEP, ['&'] = C_OP | C_KEEP, ['|'] = C_OP | C_KEEP,
	['`'] = C_OP | C_KEEP, ['?'] = C_OP | C_KEEP,
	['+'] = C_OP, ['-'] = C_OP, ['*'] = C_OP, ['/'] = C_OP, ['<'] = C_OP, ['>'] = C_OP, ['='] = C_OP,
	[','] = C_PUNCT, ['('] = C_PUNCT, [')'] = C_PUNCT, ['['] = C_PUNCT, [']'] = C_PUNCT,
	['.'] = C_PUNCT, [';'] = C_PUNCT, [':'] = C_PUNCT,
	['0' ... '9'] = C_DIGIT | C_HEX,
	['a' ... 'f'] = C_START | C_HEX, ['A' ... 'F'] = C_START | C_HEX,
	['g' ... 'z'] = C_START, ['G' ... 'Z'] = C_START,
	['_'] = C_START, [0x80 ... 0xff] = C_START,
};
/* clang-format on */

static unsigned class_of(char c) {
	return classes_of[(unsigned char)c];
}

/* The byte at a place, NUL behind the end. */
static char at(struct str s, size_t i) {
	return i < s.n ? s.p[i] : '\0';
}

static bool is(struct str s, size_t i, unsigned classes) {
	return i < s.n && (class_of(s.p[i]) & classes) != 0;
}

static bool is_newline(char c) {
	return c == '\n' || c == '\r';
}

static bool is_two(struct str s, size_t i, char a, char b) {
	return i + 1 < s.n && s.p[i] == a && s.p[i + 1] == b;
}

/* ---- white space and comments ---- */

static size_t space_end(struct str s, size_t i) {
	while (is(s, i, C_SPACE))
		i++;
	return i;
}

static size_t line_end(struct str s, size_t i) {
	while (i < s.n && !is_newline(s.p[i]))
		i++;
	return i;
}

static size_t block_end(struct str s, size_t i, bool *ret_open) {
	size_t depth = 0;

	while (i < s.n) {
		if (is_two(s, i, '/', '*')) {
			depth++;
			i += 2;
		} else if (is_two(s, i, '*', '/')) {
			i += 2;
			if (--depth == 0)
				return i;
		} else {
			i++;
		}
	}
	*ret_open = true;
	return s.n;
}

/* ---- what stands in quotes ---- */

/* Behind a closing quote: the place behind the quote that goes on with the literal, or 0. */
static size_t continued(struct str s, size_t i) {
	bool has_newline = false;

	while (i < s.n) {
		if (is_two(s, i, '-', '-')) {
			i = line_end(s, i);
			/* Behind a newline a comment counts only with the newline that ends it. */
			if (i == s.n)
				return 0;
		} else if (is(s, i, C_SPACE)) {
			has_newline = has_newline || is_newline(s.p[i]);
			i++;
		} else {
			break;
		}
	}
	return has_newline && at(s, i) == '\'' ? i + 1 : 0;
}

struct quoting {
	char quote;
	bool is_doubled;   /* '' stands for ' */
	bool has_escapes;  /* \ takes the next byte along */
	bool is_continued; /* over lines */
};

/* From behind the opening quote to behind the last one. */
static size_t quote_end(struct str s, size_t i, struct quoting q, bool *ret_open) {
	while (i < s.n) {
		if (q.has_escapes && s.p[i] == '\\') {
			i = MIN(i + 2, s.n);
		} else if (s.p[i] != q.quote) {
			/* values may be long: to the next byte that counts */
			i += q.has_escapes ? 1 : str_find(str_from(s, i), q.quote);
		} else if (q.is_doubled && is_two(s, i, q.quote, q.quote)) {
			i += 2;
		} else {
			size_t next = q.is_continued ? continued(s, i + 1) : 0;

			if (next == 0)
				return i + 1;
			i = next;
		}
	}
	*ret_open = true;
	return s.n;
}

/* A token whose opening is `open` bytes long. */
static size_t take_quoted(struct str s, struct sql_token *t, size_t open, struct quoting q) {
	size_t end = quote_end(s, open, q, &t->is_open);

	t->inner = str_mem(s.p + open, end - open - (t->is_open ? 0 : 1));
	return end;
}

static size_t take_name(struct str s, struct sql_token *t, size_t open) {
	t->kind = open == 1 ? SQL_NAME : SQL_UNAME;
	return take_quoted(s, t, open, (struct quoting){ .quote = '"', .is_doubled = true });
}

static size_t take_string(struct str s, struct sql_token *t, size_t open, enum sql_kind kind) {
	bool is_bits = kind == SQL_BITS || kind == SQL_HEX;

	t->kind = kind;
	return take_quoted(s, t, open,
	                   (struct quoting){ .quote = '\'',
	                                     .is_doubled = !is_bits,
	                                     .has_escapes = kind == SQL_ESTRING,
	                                     .is_continued = true });
}

/* Length of $tag$ at the front, or 0. */
static size_t dollar_tag(struct str s) {
	size_t i = 1;

	if (is(s, i, C_START))
		while (is(s, i, C_START | C_DIGIT))
			i++;
	return at(s, i) == '$' ? i + 1 : 0;
}

static size_t take_dollar(struct str s, struct sql_token *t) {
	size_t tag = dollar_tag(s), i = 1;

	if (tag == 0 && is(s, i, C_DIGIT)) {
		while (is(s, i, C_DIGIT))
			i++;
		t->kind = SQL_PARAM;
		return i;
	}
	if (tag == 0) {
		t->kind = SQL_OTHER;
		return 1;
	}
	const char *end = memmem(s.p + tag, s.n - tag, s.p, tag);

	t->kind = SQL_DOLLAR;
	t->is_open = end == NULL;
	t->inner = str_mem(s.p + tag, end != NULL ? (size_t)(end - s.p) - tag : s.n - tag);
	return end != NULL ? (size_t)(end - s.p) + tag : s.n;
}

/* ---- words and numbers ---- */

static size_t take_word(struct str s, struct sql_token *t) {
	size_t i = 1;

	t->kind = SQL_WORD;
	while (is(s, i, C_START | C_DIGIT) || at(s, i) == '$')
		i++;
	return i;
}

/* A letter in front of a quote may be part of the literal. */
static size_t take_letter(struct str s, struct sql_token *t) {
	char c = (char)(s.p[0] | 0x20), next = at(s, 1);

	if (next == '\'' && c == 'e')
		return take_string(s, t, 2, SQL_ESTRING);
	if (next == '\'' && c == 'b')
		return take_string(s, t, 2, SQL_BITS);
	if (next == '\'' && c == 'x')
		return take_string(s, t, 2, SQL_HEX);
	if (next == '&' && c == 'u' && at(s, 2) == '\'')
		return take_string(s, t, 3, SQL_USTRING);
	if (next == '&' && c == 'u' && at(s, 2) == '"')
		return take_name(s, t, 3);
	return take_word(s, t);
}

/* Digits with single underscores between them. */
static size_t digits_end(struct str s, size_t i, unsigned classes) {
	while (is(s, i, classes) || (at(s, i) == '_' && is(s, i + 1, classes)))
		i++;
	return i;
}

static size_t radix_end(struct str s) {
	char c = (char)(at(s, 1) | 0x20);
	bool is_radix = at(s, 0) == '0' && (c == 'x' || c == 'o' || c == 'b');

	/* 0o9 and 0b2 are refused by PostgreSQL; where they end is of no account. */
	return is_radix ? digits_end(s, 2, c == 'x' ? C_HEX : C_DIGIT) : 0;
}

static size_t take_number(struct str s, struct sql_token *t) {
	size_t i = radix_end(s);

	t->kind = SQL_NUMBER;
	if (i > 2)
		return i;
	i = is(s, 0, C_DIGIT) ? digits_end(s, 0, C_DIGIT) : 0;
	if (at(s, i) == '.' && !(i > 0 && at(s, i + 1) == '.')) {
		i++;
		if (is(s, i, C_DIGIT))
			i = digits_end(s, i, C_DIGIT);
	}
	if ((at(s, i) | 0x20) != 'e')
		return i;
	size_t sign = at(s, i + 1) == '+' || at(s, i + 1) == '-' ? 1 : 0;

	return is(s, i + 1 + sign, C_DIGIT) ? digits_end(s, i + 1 + sign, C_DIGIT) : i;
}

/* ---- operators ---- */

static bool ends_in_sign(struct str op) {
	return op.n > 1 && (op.p[op.n - 1] == '+' || op.p[op.n - 1] == '-');
}

static size_t take_operator(struct str s, struct sql_token *t) {
	struct str op = str_head(s, 1);
	bool keeps_sign = is(s, 0, C_KEEP);

	t->kind = SQL_OPERATOR;
	while (is(s, op.n, C_OP) && !is_two(s, op.n, '-', '-') && !is_two(s, op.n, '/', '*')) {
		keeps_sign = keeps_sign || is(s, op.n, C_KEEP);
		op.n++;
	}
	while (!keeps_sign && ends_in_sign(op))
		op.n--;
	return op.n;
}

static size_t take_punct(struct str s, struct sql_token *t) {
	bool is_pair = is_two(s, 0, ':', ':') || is_two(s, 0, ':', '=') || is_two(s, 0, '.', '.');

	if (at(s, 0) == '.' && is(s, 1, C_DIGIT))
		return take_number(s, t);
	t->kind = is_pair ? SQL_OPERATOR : SQL_PUNCT;
	return is_pair ? 2 : 1;
}

static size_t take_comment(struct str s, struct sql_token *t) {
	t->kind = SQL_COMMENT;
	return at(s, 0) == '-' ? line_end(s, 0) : block_end(s, 0, &t->is_open);
}

/* ---- tokens ---- */

static size_t take(struct str s, struct sql_token *t, enum sql_strings strings) {
	unsigned class = class_of(s.p[0]);

	if ((class & C_SPACE) != 0) {
		t->kind = SQL_SPACE;
		return space_end(s, 0);
	}
	if (is_two(s, 0, '-', '-') || is_two(s, 0, '/', '*'))
		return take_comment(s, t);
	if ((class & C_START) != 0)
		return take_letter(s, t);
	if ((class & C_DIGIT) != 0)
		return take_number(s, t);
	if ((class & C_OP) != 0)
		return take_operator(s, t);
	if ((class & C_PUNCT) != 0)
		return take_punct(s, t);
	if (s.p[0] == '\'')
		return take_string(s, t, 1, strings == SQL_BACKSLASH ? SQL_ESTRING : SQL_STRING);
	if (s.p[0] == '"')
		return take_name(s, t, 1);
	if (s.p[0] == '$')
		return take_dollar(s, t);
	t->kind = SQL_OTHER;
	return 1;
}

bool sql_next(struct sql_lex *l, struct sql_token *t) {
	struct str s = str_from(l->text, l->at);

	*t = (struct sql_token){ .kind = SQL_OTHER };
	if (s.n == 0)
		return false;
	t->text = str_head(s, take(s, t, l->strings));
	l->at += t->text.n;
	return true;
}

bool sql_next_solid(struct sql_lex *l, struct sql_token *t) {
	while (sql_next(l, t))
		if (t->kind != SQL_SPACE && t->kind != SQL_COMMENT)
			return true;
	return false;
}

bool sql_is(const struct sql_token *t, const char *lower) {
	return t->kind == SQL_WORD && str_eq_nocase(t->text, str_of(lower));
}

bool sql_is_char(const struct sql_token *t, char c) {
	return (t->kind == SQL_PUNCT || t->kind == SQL_OPERATOR) && t->text.n == 1 &&
	       t->text.p[0] == c;
}

bool sql_is_text(const struct sql_token *t) {
	switch (t->kind) {
	case SQL_STRING:
	case SQL_ESTRING:
	case SQL_USTRING:
	case SQL_DOLLAR:
		return true;
	case SQL_SPACE:
	case SQL_COMMENT:
	case SQL_WORD:
	case SQL_NAME:
	case SQL_UNAME:
	case SQL_BITS:
	case SQL_HEX:
	case SQL_NUMBER:
	case SQL_PARAM:
	case SQL_OPERATOR:
	case SQL_PUNCT:
	case SQL_OTHER:
	case SQL_KIND_COUNT:
		break;
	}
	return false;
}

/* ---- statements ---- */

/* Where in CREATE [OR REPLACE] FUNCTION|PROCEDURE … BEGIN ATOMIC … END a statement stands. */
struct split {
	size_t words; /* seen so far */
	size_t depth; /* of BEGIN ATOMIC, BEGIN and CASE inside it */
	size_t brackets;
	bool is_create, is_routine, was_begin;
};

static void split_word(struct split *p, const struct sql_token *t) {
	bool is_begin = sql_is(t, "begin");

	p->words++;
	if (p->words == 1)
		p->is_create = sql_is(t, "create");
	else if (p->words <= 4 && p->is_create)
		p->is_routine = p->is_routine || sql_is(t, "function") || sql_is(t, "procedure");
	if (!p->is_routine || p->brackets != 0)
		return;
	if (p->depth == 0 && p->was_begin && sql_is(t, "atomic"))
		p->depth = 1;
	else if (p->depth > 0 && sql_is(t, "case"))
		p->depth++;
	else if (p->depth > 0 && sql_is(t, "end"))
		p->depth--;
	p->was_begin = is_begin;
}

bool sql_split(struct str *rest, enum sql_strings strings, struct str *statement) {
	struct sql_lex l = sql_lex_of(*rest, strings);
	struct split p = { 0 };
	struct sql_token t;

	if (rest->n == 0)
		return false;
	while (sql_next(&l, &t)) {
		if (t.kind == SQL_WORD)
			split_word(&p, &t);
		else if (sql_is_char(&t, '(') || sql_is_char(&t, '['))
			p.brackets++;
		else if ((sql_is_char(&t, ')') || sql_is_char(&t, ']')) && p.brackets > 0)
			p.brackets--;
		else if (sql_is_char(&t, ';') && p.brackets == 0 && p.depth == 0)
			break;
	}
	*statement = str_head(*rest, l.at);
	*rest = str_from(*rest, l.at);
	return true;
}
