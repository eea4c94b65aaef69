/*
 * sql_names.c: see sql_names.h.
 *
 * One pass over the tokens with a little state: what the next word may be (`expects`), whether a
 * comma goes on with a list of relations (`in_list`), and per open bracket one bit that says whether it belongs
 * to a function that has a FROM of its own. A name is told only when the token behind it has been
 * seen: "(" makes it a function in FROM, and AS "(" a WITH query.
 */
#include "policy/sql_names.h"

#include "policy/sql_lex.h"

enum { WITH_MAX = 16, BRACKETS_MAX = 64 };

enum expects {
	NOTHING,
	RELATION,  /* of FROM and the like: what "(" follows is a function */
	TARGET,    /* of INTO and the like: "(" begins its columns */
	SUSPENDED, /* a name has been read: a comma may follow */
};

struct name {
	char text[SQL_NAME_MAX + 1];
	size_t n;
	bool is_long;
};

struct scan {
	struct sql_lex lex;
	struct sql_token t; /* the one in hand */
	bool has_token;
	enum expects expects, list;  /* of the list that a comma goes on with, NOTHING: none */
	uint64_t brackets;           /* bit per open one: it is of EXTRACT or the like */
	uint8_t lists[BRACKETS_MAX]; /* what goes on behind each open one */
	unsigned depth;
	bool is_own_from; /* the last word opens such a bracket */
	bool is_distinct; /* the last word was DISTINCT */
	bool is_first;    /* no word yet */
	bool is_cursor;   /* FETCH, MOVE and the like: FROM names none */
	bool has_path;
	struct name with[WITH_MAX];
	size_t with_count;
	sql_names_fn *fn;
	void *arg;
};

/* What may follow the word: a relation, or an object that the statement acts on. */
static const struct {
	const char *word;
	enum expects expects;
	bool has_list;
} heads[] = {
	{ "from", RELATION, true },   { "join", RELATION, false }, { "using", RELATION, true },
	{ "into", TARGET, false },    { "update", TARGET, false }, { "table", TARGET, true },
	{ "truncate", TARGET, true }, { "copy", TARGET, false },   { "view", TARGET, true },
};

/* Words between such a head and the name. */
static const char *const between[] = { "only",   "lateral", "if",           "not",
	                               "exists", "temp",    "temporary",    "unlogged",
	                               "table",  "into",    "materialized", "concurrently" };

/* Words that are no relation's name there, unless quoted. */
static const char *const never[] = {
	"set",      "of",      "select",  "where", "values", "nowait",  "skip",      "cascade",
	"restrict", "no",      "default", "stdin", "stdout", "program", "current",   "on",
	"as",       "with",    "group",   "order", "limit",  "union",   "returning", "rows",
	"local",    "session", "all",     "case",  "null",   "true",    "false",     "unnest"
};

/* Words with which a list of relations ends. */
static const char *const ends[] = { "where",  "group",     "order",  "having", "limit",  "offset",
	                            "union",  "intersect", "except", "set",    "values", "select",
	                            "window", "returning", "when",   "for",    "fetch" };

static const char *const own_from[] = { "extract", "substring", "trim", "overlay", "position" };
static const char *const no_relations[] = { "fetch", "move", "close", "revoke", "grant", "reset" };

/* Most words are none of them, and their first letter tells. */
static bool is_word(const struct sql_token *t, const char *word) {
	return ((uint8_t)t->text.p[0] | 0x20) == (uint8_t)word[0] && sql_is(t, word);
}

static bool is_one_of(const struct sql_token *t, const char *const *words, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (is_word(t, words[i]))
			return true;
	return false;
}

static void advance(struct scan *s) {
	s->has_token = sql_next_solid(&s->lex, &s->t);
}

/* ---- names ---- */

static void name_add(struct name *n, char c) {
	if (n->n == SQL_NAME_MAX)
		n->is_long = true;
	else
		n->text[n->n++] = c;
}

/* False when the token in hand is no name. */
static bool name_read(struct scan *s, struct name *n) {
	struct str inner = s->t.kind == SQL_NAME ? s->t.inner : s->t.text;

	n->n = 0;
	n->is_long = s->t.is_open;
	if (s->t.kind != SQL_WORD && s->t.kind != SQL_NAME)
		return false;
	for (size_t i = 0; i < inner.n; i++) {
		char c = inner.p[i];

		if (s->t.kind == SQL_WORD && c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (s->t.kind == SQL_NAME && c == '"')
			i++; /* doubled */
		name_add(n, c);
	}
	return n->n > 0;
}

static struct str name_str(const struct name *n) {
	return str_mem(n->text, n->n);
}

static bool is_with(const struct scan *s, const struct name *n) {
	for (size_t i = 0; i < s->with_count; i++)
		if (str_eq(name_str(&s->with[i]), name_str(n)))
			return true;
	return false;
}

/* The token in hand begins a name: reads all of its parts, and what stands behind them. */
static void relation_read(struct scan *s) {
	struct name part[2] = { { .n = 0 } };
	enum expects was = s->expects;
	bool is_quoted = s->t.kind == SQL_NAME;

	s->expects = SUSPENDED;
	if (!is_quoted && is_one_of(&s->t, never, ARRAY_LEN(never))) {
		s->expects = s->list = NOTHING;
		return;
	}
	if (!name_read(s, &part[1]))
		return;
	advance(s);
	while (s->has_token && sql_is_char(&s->t, '.')) {
		advance(s);
		if (!s->has_token)
			return;
		part[0] = part[1];
		if (!name_read(s, &part[1]))
			return;
		advance(s);
	}
	bool is_function = was == RELATION && s->has_token && sql_is_char(&s->t, '(');
	bool is_long = part[0].is_long || part[1].is_long;

	if (!is_function && !is_long && (part[0].n > 0 || !is_with(s, &part[1])))
		s->fn(s->arg, name_str(&part[0]), name_str(&part[1]));
}

/* ---- words ---- */

/* NAME AS ( … ) is a WITH query wherever no relation is expected. */
static void with_read(struct scan *s) {
	struct name n;
	bool is_name = name_read(s, &n);

	advance(s);
	if (!is_name || !s->has_token || !is_word(&s->t, "as") || s->with_count == WITH_MAX)
		return;
	advance(s);
	while (s->has_token && (sql_is(&s->t, "not") || sql_is(&s->t, "materialized")))
		advance(s);
	if (s->has_token && sql_is_char(&s->t, '('))
		s->with[s->with_count++] = n;
}

static bool head_read(struct scan *s) {
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		if (!is_word(&s->t, heads[i].word))
			continue;
		bool is_own = (s->brackets & 1) != 0 || s->is_distinct || s->is_cursor;

		if (heads[i].expects == RELATION && is_own)
			return false;
		s->expects = heads[i].expects;
		if (!is_word(&s->t, "join")) /* a comma behind it is that of its FROM */
			s->list = heads[i].has_list ? s->expects : NOTHING;
		return true;
	}
	return false;
}

static void word(struct scan *s) {
	bool is_between = is_one_of(&s->t, between, ARRAY_LEN(between));
	bool is_name = s->t.kind == SQL_NAME || !is_between;

	if (s->is_first)
		s->is_cursor = is_one_of(&s->t, no_relations, ARRAY_LEN(no_relations));
	s->is_first = false;
	if (is_word(&s->t, "search_path"))
		s->has_path = true;
	if ((s->expects == RELATION || s->expects == TARGET) && is_name) {
		relation_read(s);
		return;
	}
	if (is_one_of(&s->t, ends, ARRAY_LEN(ends)))
		s->list = NOTHING;
	bool is_head = s->t.kind == SQL_WORD && head_read(s);
	bool was_distinct = is_word(&s->t, "distinct");
	bool opens = is_one_of(&s->t, own_from, ARRAY_LEN(own_from));

	if (is_head || s->expects == RELATION || s->expects == TARGET)
		advance(s);
	else
		with_read(s);
	s->is_distinct = was_distinct;
	s->is_own_from = opens;
}

static void bracket(struct scan *s) {
	if (sql_is_char(&s->t, '(') && s->depth < BRACKETS_MAX) {
		s->brackets = s->brackets << 1 | s->is_own_from;
		s->lists[s->depth++] = (uint8_t)s->list;
		s->expects = s->list = NOTHING;
	} else if (sql_is_char(&s->t, ')') && s->depth > 0) {
		s->brackets >>= 1;
		s->list = (enum expects)s->lists[--s->depth];
		s->expects = SUSPENDED;
	} else if (sql_is_char(&s->t, ',')) {
		s->expects = s->list;
	} else if (sql_is_char(&s->t, ';')) {
		s->expects = s->list = NOTHING;
		s->is_first = true;
		s->is_cursor = false;
	} else if (s->expects != SUSPENDED) {
		s->expects = NOTHING;
	}
}

bool sql_names_find(struct str text, sql_names_fn *fn, void *arg) {
	struct scan s = { .lex = sql_lex_of(str_head(text, SQL_NAMES_TEXT_MAX), SQL_STRICT),
		          .is_first = true,
		          .fn = fn,
		          .arg = arg };

	advance(&s);
	while (s.has_token) {
		if (s.t.kind == SQL_WORD || s.t.kind == SQL_NAME) {
			word(&s);
			continue;
		}
		bracket(&s);
		s.is_own_from = s.is_distinct = false;
		advance(&s);
	}
	return s.has_path;
}
