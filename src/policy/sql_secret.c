/*
 * sql_secret.c: credentials that are known by their place in a statement.
 *
 * One pass over the tokens with a little memory: the first words of the statement, the last two
 * tokens, and the calls that are open, each with the number of its argument. No grammar: texts that
 * PostgreSQL would refuse carry secrets too (`ALTER ROLE a PASSWORD secret` with the quotes
 * forgotten), and the record keeps those texts as well.
 *
 *   PASSWORD 'x', password = 'x', passwd => $1      any statement
 *   OPTIONS (… sslkey 'x', SET password 'x' …)      names of secret_is_option()
 *   CONNECTION 'conninfo'                           subscriptions
 *   SET | ALTER SYSTEM SET x.secret… = 'x'          settings with such a name, primary_conninfo
 *   dblink…('conninfo'), crypt('x', …), pgp_sym_…   the table `calls`
 *   $$ … $$                                         a body: the same again inside, to a depth of 8
 *   'ALTER ROLE … PASSWORD ' || 'x', format(…)      a literal that speaks of a password taints the
 *                                                   literals behind it, up to the semicolon
 *   any literal, quoted name or comment             shapes (sql_shape.c)
 *
 * A text that holds \' is read twice, with and without standard_conforming_strings: which of the
 * two the server goes by is not known here, and the union is safe.
 */
#include "policy/sql_secret.h"

#include "policy/sql_lex.h"
#include "policy/sql_secret_priv.h"

enum { DEPTH_MAX = 8, CALLS_MAX = 16, NO_CALL = 0xff };

/* ---- spans ---- */

static void remove_at(struct sql_secrets *s, size_t i, size_t n) {
	memmove(&s->spans[i], &s->spans[i + n], (s->count - i - n) * sizeof(s->spans[0]));
	s->count -= n;
}

static void insert_at(struct sql_secrets *s, size_t i, const struct sql_secret *one) {
	memmove(&s->spans[i + 1], &s->spans[i], (s->count - i) * sizeof(s->spans[0]));
	s->spans[i] = *one;
	s->count++;
}

void secret_add(struct finder *f, struct str span, enum sql_secret_why why) {
	struct sql_secrets *s = f->s;
	struct sql_secret one = { .at = (size_t)(span.p - f->all.p), .n = span.n, .why = why };
	size_t i = 0, last;

	if (span.n == 0)
		return;
	while (i < s->count && s->spans[i].at + s->spans[i].n < one.at)
		i++;
	for (last = i; last < s->count && s->spans[last].at <= one.at + one.n; last++) {
		size_t end = MAX(one.at + one.n, s->spans[last].at + s->spans[last].n);

		one.why = s->spans[last].why;
		one.at = MIN(one.at, s->spans[last].at);
		one.n = end - one.at;
	}
	remove_at(s, i, last - i);
	if (s->count == SQL_SECRETS_MAX) {
		/* No room: from the earlier of the two on, nothing is kept. */
		i = MIN(i, s->count - 1);
		one.at = MIN(one.at, s->spans[i].at);
		one.n = f->all.n - one.at;
		s->count = i;
	}
	insert_at(s, i, &one);
}

/* ---- calls ---- */

/* Bit i: argument i+1. */
static const struct {
	const char *name;
	uint8_t keys, conninfos;
} calls[] = {
	{ "crypt", 1, 0 },           { "hmac", 2, 0 },
	{ "encrypt", 2, 0 },         { "decrypt", 2, 0 },
	{ "encrypt_iv", 2, 0 },      { "decrypt_iv", 2, 0 },
	{ "pgp_sym_encrypt", 2, 0 }, { "pgp_sym_encrypt_bytea", 2, 0 },
	{ "pgp_sym_decrypt", 2, 0 }, { "pgp_sym_decrypt_bytea", 2, 0 },
	{ "pgp_pub_decrypt", 6, 0 }, { "pgp_pub_decrypt_bytea", 6, 0 },
	{ "dblink", 0, 1 },          { "dblink_exec", 0, 1 },
	{ "dblink_open", 0, 1 },     { "dblink_fetch", 0, 1 },
	{ "dblink_close", 0, 1 },    { "dblink_send_query", 0, 1 },
	{ "dblink_connect", 0, 3 },  { "dblink_connect_u", 0, 3 },
};

struct call {
	uint8_t row; /* of calls[], NO_CALL: another function, or a plain bracket */
	uint8_t argument;
	bool is_set_config, sets_secret;
};

struct look {
	struct finder *f;
	struct sql_lex lex;
	struct sql_token last, before; /* solid tokens; text empty: none in this statement */
	size_t words;
	bool is_role; /* CREATE|ALTER ROLE|USER|GROUP */
	bool is_create_or_alter;
	bool is_set; /* SET …: names of settings count by what they contain */
	bool is_tainted;
	bool is_options;   /* inside OPTIONS (…) */
	size_t depth;      /* of brackets */
	size_t options_at; /* depth of the bracket of OPTIONS */
	struct call open[CALLS_MAX];
};

static struct str name_of(const struct sql_token *t) {
	if (t->kind == SQL_NAME)
		return t->inner;
	return t->kind == SQL_WORD ? t->text : STR_NONE;
}

static struct call call_of(struct str name) {
	struct call c = { .row = NO_CALL };

	/* None of them begins otherwise, and most brackets are no call at all. */
	if (name.n < 4 || strchr("cdehpsCDEHPS", name.p[0]) == NULL)
		return c;
	c.is_set_config = str_eq_nocase(name, STR("set_config"));
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (str_eq_nocase(name, str_of(calls[i].name)))
			c.row = (uint8_t)i;
	return c;
}

static struct call *call_at(struct look *k, size_t depth) {
	return depth > 0 && depth <= CALLS_MAX ? &k->open[depth - 1] : NULL;
}

static bool in_argument(const struct call *c, uint8_t mask) {
	return c->argument < 8 && (mask >> c->argument & 1) != 0;
}

/* True inside an argument that is a key, however deep. */
static bool is_key(struct look *k) {
	for (size_t d = MIN(k->depth, (size_t)CALLS_MAX); d > 0; d--) {
		const struct call *c = &k->open[d - 1];

		if (c->row != NO_CALL && in_argument(c, calls[c->row].keys))
			return true;
		if (c->sets_secret && c->argument == 1)
			return true;
	}
	return false;
}

static bool is_conninfo_argument(struct look *k) {
	const struct call *c = call_at(k, k->depth);

	return c != NULL && c->row != NO_CALL && in_argument(c, calls[c->row].conninfos);
}

/* ---- names ---- */

static bool has_part(struct str name, const char *part) {
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= name.n; i++)
		if (str_eq_nocase(str_mem(name.p + i, n), str_mem(part, n)))
			return true;
	return false;
}

static bool is_secret_setting(struct str name) {
	static const char *const parts[] = { "password",    "passwd",       "passphrase",
		                             "secret",      "api_key",      "apikey",
		                             "private_key", "access_key",   "auth_token",
		                             "jwt",         "access_token", "encryption_key" };

	if (has_part(name, "password_encryption"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (has_part(name, parts[i]))
			return true;
	return false;
}

static bool is_password(const struct sql_token *t) {
	struct str name = name_of(t);

	return str_eq_nocase(name, STR("password")) || str_eq_nocase(name, STR("passwd"));
}

/* = := => TO */
static bool assigns(const struct sql_token *t) {
	return sql_is(t, "to") ||
	       (t->kind == SQL_OPERATOR &&
	        (str_is(t->text, "=") || str_is(t->text, ":=") || str_is(t->text, "=>")));
}

/* What stands at this place is a credential, by the tokens in front of it. */
static bool is_named_secret(struct look *k) {
	const struct sql_token *name = assigns(&k->last) ? &k->before : &k->last;
	bool is_assigned = name == &k->before;

	if (is_password(name))
		return true;
	if (k->is_options && !is_assigned && secret_is_option(name_of(name)))
		return true;
	if (sql_is(&k->last, "by") && sql_is(&k->before, "identified"))
		return true;
	return k->is_set && is_assigned && is_secret_setting(name_of(name));
}

static bool is_conninfo_place(struct look *k) {
	const struct sql_token *name = assigns(&k->last) ? &k->before : &k->last;

	return sql_is(&k->last, "connection") ||
	       (k->is_set && assigns(&k->last) && has_part(name_of(name), "conninfo"));
}

/* ---- literals ---- */

static bool has_escapes(const struct sql_token *t) {
	bool has_quote = str_find(t->inner, t->kind == SQL_NAME ? '"' : '\'') < t->inner.n;

	if (t->kind == SQL_DOLLAR || t->kind == SQL_COMMENT)
		return false;
	return has_quote || t->kind == SQL_USTRING || t->kind == SQL_UNAME ||
	       (t->kind == SQL_ESTRING && str_find(t->inner, '\\') < t->inner.n);
}

static bool begins_sql(struct str s) {
	static const char *const verbs[] = { "select", "insert", "update", "delete", "with",
		                             "create", "alter",  "drop",   "call",   "truncate" };
	struct sql_lex l = sql_lex_of(s, SQL_STRICT);
	struct sql_token t;

	if (!sql_next_solid(&l, &t))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (sql_is(&t, verbs[i]))
			return true;
	return false;
}

/* True when the literal is a whole argument, not a piece of a longer expression. */
static bool is_alone(const struct look *k) {
	struct sql_lex ahead = k->lex;
	struct sql_token next;
	bool is_end = !sql_next_solid(&ahead, &next) || sql_is_char(&next, ',') ||
	              sql_is_char(&next, ')') || str_is(next.text, "::");

	return is_end && (sql_is_char(&k->last, '(') || sql_is_char(&k->last, ','));
}

static void conninfo_argument(struct look *k, const struct sql_token *t) {
	if (begins_sql(t->inner))
		return;
	if (!is_alone(k))
		secret_add(k->f, t->inner, SECRET_CONNINFO);
	else if (str_find(t->inner, '=') < t->inner.n) /* else a connection's name */
		secret_conninfo(k->f, t->inner, has_escapes(t));
}

/* "… PASSWORD ", "PASSWORD %L", "PASSWORD ''x''": SQL that is put together by the server. */
static void taint(struct look *k, struct str inner) {
	size_t n = STR("password").n;

	for (size_t i = secret_word(inner, 0, "password"); i < inner.n;
	     i = secret_word(inner, i + n, "password")) {
		struct str rest = str_trim(str_from(inner, i + n));

		if (rest.n == 0 || rest.p[0] == '%')
			k->is_tainted = k->is_tainted || i + n < inner.n;
		else if (rest.p[0] == '\'' || rest.p[0] == '$' || rest.p[0] == '\\')
			secret_add(k->f, rest, SECRET_PASSWORD);
	}
}

/* Bodies hold literals that hold bodies: the five functions below call each other, at most DEPTH_MAX deep. */
/* NOLINTBEGIN(misc-no-recursion) */
static void find(struct finder *f, struct str text, enum sql_strings strings);

static void body(struct look *k, const struct sql_token *t) {
	if (k->f->depth >= DEPTH_MAX) {
		/* Deeper than any program goes: nothing in there is looked at, so nothing is kept. */
		secret_add(k->f, t->inner, SECRET_PASSWORD);
		return;
	}
	k->f->depth++;
	find(k->f, t->inner, k->lex.strings);
	k->f->depth--;
}

static void literal(struct look *k, const struct sql_token *t) {
	if (is_named_secret(k) || k->is_tainted)
		secret_add(k->f, t->inner, SECRET_PASSWORD);
	else if (is_key(k))
		secret_add(k->f, t->inner, SECRET_KEY);
	if (is_conninfo_place(k))
		secret_conninfo(k->f, t->inner, has_escapes(t));
	else if (is_conninfo_argument(k))
		conninfo_argument(k, t);
	struct call *c = call_at(k, k->depth);

	if (c != NULL && c->is_set_config && c->argument == 0)
		c->sets_secret = is_secret_setting(t->inner) || has_part(t->inner, "conninfo");
	secret_shapes(k->f, t->inner, has_escapes(t));
	if (t->kind == SQL_DOLLAR)
		body(k, t);
	else
		taint(k, t->inner);
}

static void parameter(struct look *k, const struct sql_token *t) {
	uint64_t number = 0;

	if (!is_named_secret(k) && !k->is_tainted && !is_key(k) && !is_conninfo_argument(k))
		return;
	/* A number that is none, or 0, belongs to a text that fails. */
	if (str_u64(str_from(t->text, 1), UINT32_MAX, &number) < 0 || number == 0)
		return;
	k->f->s->params |= (uint64_t)1 << MIN(number - 1, (uint64_t)SQL_PARAMS_LAST);
}

/* PASSWORD secret, the quotes forgotten: up to white space or the semicolon. */
static void bare_password(struct look *k, const struct sql_token *t) {
	const char *end = t->text.p;
	const char *last = k->lex.text.p + k->lex.text.n;

	if (sql_is(t, "null") || sql_is_char(t, ';'))
		return;
	while (end < last && *end != ';' && (unsigned char)*end > ' ')
		end++;
	if (t->kind == SQL_NAME)
		secret_add(k->f, t->inner, SECRET_PASSWORD);
	else
		secret_add(k->f, str_mem(t->text.p, (size_t)(end - t->text.p)), SECRET_PASSWORD);
}

/* ---- the statement so far ---- */

static void statement_begin(struct look *k) {
	k->last = k->before = (struct sql_token){ .kind = SQL_SPACE };
	k->words = k->depth = 0;
	k->is_role = k->is_create_or_alter = k->is_set = k->is_tainted = k->is_options = false;
}

static void word(struct look *k, const struct sql_token *t) {
	k->words++;
	if (k->words == 1)
		k->is_create_or_alter = sql_is(t, "create") || sql_is(t, "alter");
	if (k->words == 1 || k->is_create_or_alter)
		k->is_set = k->is_set || sql_is(t, "set");
	if (k->words == 2 && k->is_create_or_alter)
		k->is_role = sql_is(t, "role") || sql_is(t, "user") || sql_is(t, "group");
}

static void bracket(struct look *k, const struct sql_token *t) {
	char which = t->text.p[0];
	struct call *c;

	if (which == '(') {
		k->depth++;
		c = call_at(k, k->depth);
		if (c != NULL)
			*c = call_of(name_of(&k->last));
		if (sql_is(&k->last, "options") && !k->is_options) {
			k->is_options = true;
			k->options_at = k->depth;
		}
	} else if (which == ')' && k->depth > 0) {
		k->is_options = k->is_options && k->options_at != k->depth;
		k->depth--;
	} else if (which == ',') {
		c = call_at(k, k->depth);
		if (c != NULL && c->argument < UINT8_MAX)
			c->argument++;
	}
}

static void name(struct look *k, const struct sql_token *t) {
	secret_shapes(k->f, t->inner, has_escapes(t));
	if (k->f->is_quoted)
		body(k, t);
}

static void solid(struct look *k, const struct sql_token *t) {
	bool is_bare = k->is_role && !sql_is_text(t) && sql_is(&k->last, "password");

	if (is_bare)
		bare_password(k, t);
	if (t->kind == SQL_WORD)
		word(k, t);
	else if (t->kind == SQL_PUNCT)
		bracket(k, t);
	else if (t->kind == SQL_NAME)
		name(k, t);
	else if (t->kind == SQL_PARAM)
		parameter(k, t);
	else if (sql_is_text(t))
		literal(k, t);
	k->before = k->last;
	k->last = *t;
	if (sql_is_char(t, ';'))
		statement_begin(k);
}

static void find(struct finder *f, struct str text, enum sql_strings strings) {
	struct look k = { .f = f, .lex = sql_lex_of(text, strings) };
	struct sql_token t;

	statement_begin(&k);
	while (sql_next(&k.lex, &t)) {
		if (t.kind == SQL_COMMENT)
			secret_shapes(f, t.text, false);
		else if (t.kind != SQL_SPACE)
			solid(&k, &t);
	}
}

/* NOLINTEND(misc-no-recursion) */

/* ---- from outside ---- */

static void find_all(struct sql_secrets *s, struct str text, bool is_quoted) {
	struct finder f = { .s = s, .all = text, .is_quoted = is_quoted };

	s->count = 0;
	s->params = 0;
	find(&f, text, SQL_STRICT);
	if (text.n != 0 && memmem(text.p, text.n, "\\'", 2) != NULL)
		find(&f, text, SQL_BACKSLASH);
}

void sql_secrets_find(struct sql_secrets *s, struct str text) {
	find_all(s, text, false);
}

void sql_secrets_find_quoted(struct sql_secrets *s, struct str words) {
	find_all(s, words, true);
}

void sql_secrets_add(struct sql_secrets *s, struct str text, struct str span) {
	struct finder f = { .s = s, .all = text };

	secret_add(&f, span, SECRET_PASSWORD);
}

void sql_secrets_find_shapes(struct sql_secrets *s, struct str value) {
	struct finder f = { .s = s, .all = value };

	s->count = 0;
	s->params = 0;
	secret_shapes(&f, value, false);
}
