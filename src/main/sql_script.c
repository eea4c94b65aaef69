/*
 * sql_script.c: see sql_script.h. One pass over the text with the lexical rules that psql and the server share:
 * strings, escape strings, quoted names, dollar quotes, comments (nested), names. A text that ends within one of
 * them is refused, and so is what is not UTF-8: there psql and the server could disagree.
 */
#include "main/sql_script.h"

struct scan {
	struct str in;
	size_t at;
	struct buf *out, *scratch;
	const struct view_command *c;
	const char *why;
	bool is_standard;
	bool is_code; /* the last thing written was code, not a comment */
};

static char peek(const struct scan *s, size_t ahead) {
	return s->at + ahead < s->in.n ? s->in.p[s->at + ahead] : '\0';
}

static void copy_n(struct scan *s, size_t n) {
	n = MIN(n, s->in.n - s->at);
	w_bytes(s->out, str_head(str_from(s->in, s->at), n));
	s->at += n;
}

static bool is_name_start(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (uint8_t)c >= 0x80;
}

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

static bool is_name(char c) {
	return is_name_start(c) || is_digit(c) || c == '$';
}

/* From an opening quote to its end; a doubled one is one of the text. */
static void quoted(struct scan *s, char quote, bool has_escapes) {
	copy_n(s, 1);
	while (s->at < s->in.n) {
		char c = s->in.p[s->at];
		if (c == '\\' && has_escapes) {
			copy_n(s, 2);
		} else if (c == quote && peek(s, 1) == quote) {
			copy_n(s, 2);
		} else {
			copy_n(s, 1);
			if (c == quote)
				return;
		}
	}
	s->why = "a quote is not closed";
}

static void comment(struct scan *s) {
	size_t depth = 0;
	do {
		if (peek(s, 0) == '/' && peek(s, 1) == '*') {
			depth++;
			copy_n(s, 2);
		} else if (peek(s, 0) == '*' && peek(s, 1) == '/') {
			depth--;
			copy_n(s, 2);
		} else {
			copy_n(s, 1);
		}
	} while (depth > 0 && s->at < s->in.n);
	if (depth > 0)
		s->why = "a comment is not closed";
}

static void line_comment(struct scan *s) {
	while (s->at < s->in.n && s->in.p[s->at] != '\n' && s->in.p[s->at] != '\r')
		copy_n(s, 1);
}

/* $tag$ … $tag$; false when it is no dollar quote. */
static bool dollar_quote(struct scan *s) {
	size_t n = 1;
	while (is_name(peek(s, n)) && peek(s, n) != '$')
		n++;
	if (peek(s, n) != '$' || is_digit(peek(s, 1)))
		return false;
	struct str tag = str_head(str_from(s->in, s->at), n + 1);
	struct str rest = str_from(s->in, s->at + tag.n);
	const char *end = rest.n > 0 ? memmem(rest.p, rest.n, tag.p, tag.n) : NULL;
	if (end == NULL) {
		s->why = "a dollar quote is not closed";
		s->at = s->in.n;
		return true;
	}
	copy_n(s, tag.n + (size_t)(end - rest.p) + tag.n);
	return true;
}

void sql_script_literal(struct buf *out, struct str s) {
	bool has_backslash = s.n > 0 && memchr(s.p, '\\', s.n) != NULL;
	w_bytes(out, has_backslash ? STR("E'") : STR("'"));
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'' || s.p[i] == '\\')
			w_u8(out, (uint8_t)s.p[i]);
		w_u8(out, (uint8_t)s.p[i]);
	}
	w_u8(out, '\'');
}

static bool is_clean(struct str s) {
	return str_utf8_bad(s) == s.n && (s.n == 0 || memchr(s.p, '\0', s.n) == NULL);
}

/* What the record left out shows as a label (pg_view_hidden.c); it must not be said in place of a password. */
static bool has_label(struct str s) {
	static const char end[] = " bytes, credential]";
	return s.n > sizeof(end) && memmem(s.p, s.n, "[redacted ", 10) != NULL &&
	       memmem(s.p, s.n, end, sizeof(end) - 1) != NULL;
}

static void put_cast(struct buf *out, uint32_t type) {
	const char *name = pg_type_name(type);
	if (name == NULL || strcmp(name, "unknown") == 0)
		return;
	if (str_starts(str_of(name), STR("char")))
		w_fmt(out, "::\"char\"%s", name + 4);
	else
		w_fmt(out, "::%s", name);
}

/* Parameter number n (from 1) as a literal in parentheses, so that nothing around it can bind into it. */
static void put_param(struct scan *s, uint64_t n) {
	struct pg_values values = s->c->params;
	struct pg_value v = { .is_null = false };
	if (!s->c->has_params || n == 0 || n > s->c->params.count) {
		s->why = "a parameter is not known";
		return;
	}
	for (uint64_t i = 0; i < n; i++)
		(void)pg_values_next(&values, &v);
	uint32_t type = n <= s->c->param_types.count ? pg_oid_at(&s->c->param_types, (size_t)n - 1)
	                                             : 0;
	buf_clear(s->scratch);
	if (v.is_null) {
		w_bytes(s->out, STR("(NULL"));
	} else {
		if (!pg_value_text(s->scratch, type,
		                   pg_format_at(&s->c->param_formats, (size_t)n - 1), v.bytes) ||
		    !is_clean(buf_peek(s->scratch)))
			s->why = "a parameter's value is not text of a known type";
		if (has_label(buf_peek(s->scratch)))
			s->why = "a part of it is not on the record";
		w_u8(s->out, '(');
		sql_script_literal(s->out, buf_peek(s->scratch));
	}
	put_cast(s->out, type);
	w_u8(s->out, ')');
}

static void dollar(struct scan *s) {
	if (!is_digit(peek(s, 1))) {
		if (!dollar_quote(s))
			copy_n(s, 1);
		return;
	}
	uint64_t n = 0;
	for (s->at++; is_digit(peek(s, 0)) && n <= UINT16_MAX; s->at++)
		n = n * 10 + (uint64_t)(peek(s, 0) - '0');
	put_param(s, n);
}

/* A name as a whole: a $ in it begins nothing. E'…' is an escape string. */
static void name(struct scan *s) {
	bool is_escape = (peek(s, 0) == 'e' || peek(s, 0) == 'E') && peek(s, 1) == '\'';
	if (is_escape) {
		copy_n(s, 1);
		quoted(s, '\'', true);
		return;
	}
	while (is_name(peek(s, 0)) && s->at < s->in.n)
		copy_n(s, 1);
}

/* "a[1:n]" is written "a[1: n]", which is the same to the server and no variable to psql. */
static void colon(struct scan *s) {
	char next = peek(s, 1);
	if (next == ':' || next == '=') {
		copy_n(s, 2);
		return;
	}
	copy_n(s, 1);
	w_u8(s->out, ' ');
}

static void step(struct scan *s) {
	char c = peek(s, 0);
	s->is_code = true;
	if (c == '\'') {
		quoted(s, '\'', !s->is_standard);
	} else if (c == '"') {
		quoted(s, '"', false);
	} else if (c == '-' && peek(s, 1) == '-') {
		line_comment(s);
		s->is_code = false;
	} else if (c == '/' && peek(s, 1) == '*') {
		comment(s);
	} else if (c == '$') {
		dollar(s);
	} else if (c == '\\') {
		s->why = "a backslash would be a command of psql";
	} else if (c == ':') {
		colon(s);
	} else if (is_name_start(c)) {
		name(s);
	} else {
		copy_n(s, 1);
	}
}

const char *sql_script_statement(struct buf *out, struct buf *scratch, const struct view_command *c,
                                 bool is_standard) {
	struct scan s = { .in = c->text,
		          .out = out,
		          .scratch = scratch,
		          .c = c,
		          .is_standard = is_standard,
		          .is_code = true };
	if (!c->has_text)
		return "its text is not known";
	if (!is_clean(c->text))
		return "its text is not UTF-8";
	if (has_label(c->text))
		return "a part of it is not on the record";
	if (!is_standard && memchr(c->text.n > 0 ? c->text.p : "", '\\', c->text.n) != NULL)
		return "it has a backslash while standard_conforming_strings is off";
	while (s.why == NULL && s.at < s.in.n)
		step(&s);
	if (s.why == NULL && (out->bad || scratch->bad))
		s.why = "it is too long";
	w_bytes(out, s.is_code ? STR(";\n") : STR("\n;\n"));
	return s.why;
}

void copy_scan(struct copy_scan *s, struct str data) {
	if (!s->has_begun && str_starts(data, STR("PGCOPY\n\xff")))
		s->is_bad = true;
	s->has_begun = true;
	for (size_t i = 0; i < data.n; i++) {
		char c = data.p[i];
		s->is_bad = s->is_bad || s->has_ended || c == '\0';
		if (c == '\n' || c == '\r') {
			s->has_ended = s->has_ended || s->column == 2;
			s->column = 0;
		} else if (c == '\\' && s->column == 0) {
			s->column = 1;
		} else if (c == '.' && s->column == 1) {
			s->column = 2;
		} else {
			s->column = 3;
		}
	}
}
