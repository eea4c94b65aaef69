/*
 * pg_set.c: the settings that a statement makes, as far as its text tells.
 *
 *   SET [SESSION | LOCAL] name {TO | =} value        SET NAMES 'utf8'        RESET name
 *   … set_config('name', 'value', …) …               anywhere in a statement
 *
 * For what a client claims about itself (pg_claim.c), and to refuse what a pinned session must not
 * change before it is sent. It is no guard: a function body, a string that is executed or a
 * parameter can set as well, which the target's ParameterStatus tells afterwards (pg_auth.c).
 *
 * A name is folded to lower case, as PostgreSQL compares them. A value is known when it is one plain
 * literal, word or number; a list, a parameter or a literal with escapes is not guessed at.
 * Nothing is kept: pieces are copied into the caller's struct. Only the first 64 KiB are looked at.
 */
#include "proto/postgres/pg_set.h"

#define LOOK_MAX ((size_t)(64 * KIB))

bool pg_text_has(struct str text, const char *lower) {
	struct str s = str_head(text, LOOK_MAX);
	size_t n = strlen(lower);

	for (size_t i = 0; i + n <= s.n; i++) {
		if ((s.p[i] | 0x20) == lower[0] &&
		    str_eq_nocase(str_mem(s.p + i, n), str_mem(lower, n)))
			return true;
	}
	return false;
}

struct pg_sets pg_sets_of(struct str text) {
	return (struct pg_sets){ .rest = str_head(text, LOOK_MAX) };
}

/* ---- names ---- */

static char lower(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool add_name(struct pg_setting *o, struct str part) {
	if (o->name_len + part.n > sizeof(o->name))
		return false;
	for (size_t i = 0; i < part.n; i++)
		o->name[o->name_len++] = lower(part.p[i]);
	return true;
}

/* name[.name…] from token t on; t is then the token behind it. */
static bool take_name(struct sql_lex *l, struct sql_token *t, struct pg_setting *o) {
	for (;;) {
		bool is_quoted = t->kind == SQL_NAME && !t->is_open;

		if (t->kind != SQL_WORD && !is_quoted)
			return false;
		if (!add_name(o, is_quoted ? t->inner : t->text))
			return false;
		if (!sql_next_solid(l, t)) {
			*t = (struct sql_token){ .kind = SQL_SPACE };
			return true;
		}
		if (!sql_is_char(t, '.'))
			return true;
		if (!add_name(o, STR(".")) || !sql_next_solid(l, t))
			return false;
	}
}

/* ---- values ---- */

/* '' is one quote; a quote alone separates the pieces of a literal that goes on in the next line. */
static bool take_quoted(struct pg_setting *o, struct str inner) {
	for (size_t i = 0; i < inner.n; i++) {
		if (inner.p[i] == '\'' && (i + 1 == inner.n || inner.p[++i] != '\''))
			return false;
		if (o->value_len < sizeof(o->value))
			o->value[o->value_len++] = inner.p[i];
	}
	return true;
}

static bool take_value(struct pg_setting *o, const struct sql_token *t) {
	bool is_plain = t->kind == SQL_WORD || t->kind == SQL_NUMBER;

	if (t->is_open)
		return false;
	if (sql_is_text(t)) {
		o->from = t->inner;
		if (t->kind == SQL_STRING)
			return take_quoted(o, t->inner);
		if (t->kind == SQL_ESTRING && memchr(t->inner.p, '\\', t->inner.n) == NULL)
			return take_quoted(o, t->inner);
		is_plain = t->kind == SQL_DOLLAR;
	}
	struct str s = sql_is_text(t) || t->kind == SQL_NAME ? t->inner : t->text;

	o->from = s;
	o->value_len = MIN(s.n, sizeof(o->value));
	memcpy(o->value, s.p, o->value_len);
	return is_plain || (t->kind == SQL_NAME && memchr(s.p, '"', s.n) == NULL);
}

/* ---- SET, RESET ---- */

static void take_set_value(struct sql_lex *l, struct pg_setting *o) {
	struct sql_token t;

	if (!sql_next_solid(l, &t))
		return;
	o->is_default = sql_is(&t, "default");
	o->is_known = !o->is_default && take_value(o, &t);
	/* A list is none of what is looked for. */
	if (sql_next_solid(l, &t) && !sql_is_char(&t, ';'))
		o->is_known = false;
}

static bool take_set(struct sql_lex *l, struct sql_token *t, struct pg_setting *o) {
	if (!sql_next_solid(l, t))
		return false;
	if ((sql_is(t, "session") || sql_is(t, "local")) && !sql_next_solid(l, t))
		return false;
	if (sql_is(t, "names")) {
		(void)add_name(o, STR("client_encoding"));
		take_set_value(l, o);
		return true;
	}
	if (!take_name(l, t, o))
		return false;
	if (!sql_is(t, "to") && !(t->kind == SQL_OPERATOR && str_is(t->text, "=")))
		return false;
	take_set_value(l, o);
	return true;
}

static bool take_reset(struct sql_lex *l, struct sql_token *t, struct pg_setting *o) {
	o->is_default = true;
	return sql_next_solid(l, t) && take_name(l, t, o);
}

/* ---- set_config ---- */

/* "('name', 'value'" behind set_config. */
static bool take_config(struct sql_lex *l, struct pg_setting *o) {
	struct pg_setting name = { .name_len = 0 };
	struct sql_token t;

	if (!sql_next_solid(l, &t) || !sql_is_char(&t, '(') || !sql_next_solid(l, &t) ||
	    !sql_is_text(&t) || !take_value(&name, &t))
		return false;
	if (!add_name(o, str_mem(name.value, name.value_len)))
		return false;
	if (!sql_next_solid(l, &t) || !sql_is_char(&t, ',') || !sql_next_solid(l, &t))
		return false;
	o->is_known = sql_is_text(&t) && take_value(o, &t);
	/* The literal is the whole argument, or it is an expression (a cast is one, too). */
	if (sql_next_solid(l, &t) && !sql_is_char(&t, ',') && !sql_is_char(&t, ')'))
		o->is_known = false;
	return true;
}

static bool next_config(struct pg_sets *it, struct pg_setting *o) {
	struct sql_token t;

	while (sql_next_solid(&it->lex, &t)) {
		if (!sql_is(&t, "set_config"))
			continue;
		*o = (struct pg_setting){ .name_len = 0 };
		if (take_config(&it->lex, o))
			return true;
	}
	return false;
}

bool pg_sets_next(struct pg_sets *it, struct pg_setting *o) {
	struct str statement;
	struct sql_token t;

	if (it->is_inside && next_config(it, o))
		return true;
	it->is_inside = false;
	while (sql_split(&it->rest, SQL_STRICT, &statement)) {
		struct sql_lex l = sql_lex_of(statement, SQL_STRICT);

		*o = (struct pg_setting){ .name_len = 0 };
		if (!sql_next_solid(&l, &t))
			continue;
		if (sql_is(&t, "set") ? take_set(&l, &t, o)
		                      : sql_is(&t, "reset") && take_reset(&l, &t, o))
			return true;
		it->lex = sql_lex_of(statement, SQL_STRICT);
		it->is_inside = true;
		if (next_config(it, o))
			return true;
		it->is_inside = false;
	}
	return false;
}
