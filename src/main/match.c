/*
 * match.c: see match.h. Hashes are of words (FNV-1a over lower-cased bytes) and of pairs of neighbours,
 * so that a filter tells `drop table` from a text that drops something and has a table.
 *
 * Invariant: every hash of match_hashes(m) is told by text_hashes_*(t) for each t that m matches.
 *  - WORDS: words and pairs come from the same walk over the same text.
 *  - EXACT: only words that do not touch an end of the query, which are whole words of the text too;
 *    the text tells all words of its raw bytes, comments included.
 */
#include "main/match.h"

#include <regex.h>

#include "policy/sql_lex.h"

struct word {
	size_t at, n;
	uint64_t hash;
};
/* false ends the walk. */
typedef bool word_fn(void *arg, const struct word *w);

static bool is_word(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || (uint8_t)c >= 0x80;
}

static uint8_t lower(char c) {
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

#define FNV_START 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

/* `base` is added to places. */
static bool words_plain(struct str text, size_t base, word_fn *fn, void *arg) {
	size_t i = 0;

	while (i < text.n) {
		struct word w = { .at = i, .hash = FNV_START };

		while (i < text.n && is_word(text.p[i]))
			w.hash = (w.hash ^ lower(text.p[i++])) * FNV_PRIME;
		w.n = i - w.at;
		w.at += base;
		if (w.n == 0)
			i++;
		else if (!fn(arg, &w))
			return false;
	}
	return true;
}

static bool words_sql(struct str text, word_fn *fn, void *arg) {
	struct sql_lex l = sql_lex_of(text, SQL_STRICT);
	struct sql_token t;

	while (sql_next_solid(&l, &t)) {
		struct str part = t.inner.p != NULL && t.inner.n != 0 ? t.inner : t.text;
		size_t base = (size_t)(part.p - text.p);

		if (!words_plain(part, base, fn, arg))
			return false;
	}
	return true;
}

static uint64_t pair_of(uint64_t first, uint64_t second) {
	return ((first ^ 0x9e3779b97f4a7c15ULL) * FNV_PRIME) ^ (second * 0xff51afd7ed558ccdULL);
}

/* ---- the query ---- */

struct match {
	enum match_mode mode;
	char *text;
	size_t n;
	struct word word[MATCH_WORDS_MAX];
	size_t count;
	size_t back[MATCH_WORDS_MAX + 1]; /* Knuth, Morris, Pratt */
	bool has_regex;
	regex_t regex;
};

struct collect {
	struct match *m;
	bool is_over;
};

static bool note_word(void *arg, const struct word *w) {
	struct collect *c = arg;

	c->is_over = c->m->count == MATCH_WORDS_MAX;
	if (!c->is_over)
		c->m->word[c->m->count++] = *w;
	return !c->is_over;
}

/* back[i]: the longest head of the query that ends before its word i. */
static bool same(const struct match *m, struct str text, const struct word *w, size_t idx) {
	const struct word *q = &m->word[idx];

	return q->hash == w->hash && q->n == w->n &&
	       str_eq_nocase(str_mem(text.p + w->at, w->n), str_mem(m->text + q->at, q->n));
}

static void make_back(struct match *m) {
	struct str text = str_mem(m->text, m->n);
	size_t k = 0;

	for (size_t i = 1; i < m->count; i++) {
		while (k > 0 && !same(m, text, &m->word[i], k))
			k = m->back[k];
		if (same(m, text, &m->word[i], k))
			k++;
		m->back[i + 1] = k;
	}
}

static int take_words(struct match *m, struct err *e) {
	struct collect c = { .m = m };
	struct str text = str_mem(m->text, m->n);

	/* As a statement is read, so that a comment in the query counts as little as there. */
	(void)(m->mode == MATCH_WORDS ? words_sql(text, note_word, &c)
	                              : words_plain(text, 0, note_word, &c));
	if (m->mode != MATCH_WORDS)
		return 0;
	if (c.is_over)
		return err_set(e, H_EUSAGE, "more than %d words", MATCH_WORDS_MAX);
	if (m->count == 0)
		return err_set(e, H_EUSAGE,
		               "there is no word in it; --exact looks for punctuation too");
	make_back(m);
	return 0;
}

static int take_regex(struct match *m, struct err *e) {
	char why[128];
	int rc = regcomp(&m->regex, m->text, REG_EXTENDED | REG_ICASE);

	if (rc != 0) {
		(void)regerror(rc, &m->regex, why, sizeof(why));
		return err_set(e, H_EUSAGE, "no regular expression: %s", why);
	}
	m->has_regex = true;
	return 0;
}

int match_new(struct match **ret, enum match_mode mode, struct str query, struct err *e) {
	if (query.n == 0 || query.n > MATCH_TEXT_MAX)
		return err_set(e, H_EUSAGE,
		               query.n == 0 ? "nothing to look for" : "the text is too long");
	struct match *m = xcalloc(1, sizeof(*m));

	m->mode = mode;
	m->text = str_dup(query);
	m->n = query.n;
	int rc = mode == MATCH_REGEX ? take_regex(m, e) : take_words(m, e);

	if (rc < 0)
		match_free(&m);
	*ret = m;
	return rc;
}

void match_free(struct match **m) {
	if (*m == NULL)
		return;
	if ((*m)->has_regex)
		regfree(&(*m)->regex);
	free((*m)->text);
	free(*m);
	*m = NULL;
}

/* ---- matching ---- */

struct phrase {
	const struct match *m;
	struct str text;
	size_t have;                   /* words of the query that the last words are */
	size_t place[MATCH_WORDS_MAX]; /* of the last words, by number */
	size_t number;
	struct match_place found;
	bool is_found;
};

static bool step_phrase(void *arg, const struct word *w) {
	struct phrase *p = arg;

	p->place[p->number++ % MATCH_WORDS_MAX] = w->at;
	while (p->have > 0 && !same(p->m, p->text, w, p->have))
		p->have = p->m->back[p->have];
	if (same(p->m, p->text, w, p->have))
		p->have++;
	if (p->have < p->m->count)
		return true;
	p->found.at = p->place[(p->number - p->have) % MATCH_WORDS_MAX];
	p->found.n = w->at + w->n - p->found.at;
	p->is_found = true;
	return false;
}

static bool find_exact(const struct match *m, struct str text, struct match_place *ret) {
	const char *p = text.n >= m->n ? memmem(text.p, text.n, m->text, m->n) : NULL;

	if (p != NULL)
		*ret = (struct match_place){ .at = (size_t)(p - text.p), .n = m->n };
	return p != NULL;
}

static bool find_regex(const struct match *m, struct str text, struct match_place *ret) {
	regmatch_t place = { .rm_so = 0, .rm_eo = (regoff_t)MIN(text.n, (size_t)INT32_MAX) };

	if (regexec(&m->regex, text.p != NULL ? text.p : "", 1, &place, REG_STARTEND) != 0)
		return false;
	*ret = (struct match_place){ .at = (size_t)place.rm_so,
		                     .n = (size_t)(place.rm_eo - place.rm_so) };
	return true;
}

static bool find(const struct match *m, struct str text, bool is_sql, struct match_place *ret) {
	struct phrase p = { .m = m, .text = text };

	switch (m->mode) {
	case MATCH_WORDS:
		(void)(is_sql ? words_sql(text, step_phrase, &p)
		              : words_plain(text, 0, step_phrase, &p));
		*ret = p.found;
		return p.is_found;
	case MATCH_EXACT:
		return find_exact(m, text, ret);
	case MATCH_REGEX:
		return find_regex(m, text, ret);
	}
	return false;
}

bool match_sql(const struct match *m, struct str text, struct match_place *ret) {
	return find(m, text, true, ret);
}

bool match_plain(const struct match *m, struct str text, struct match_place *ret) {
	return find(m, text, false, ret);
}

/* ---- hashes ---- */

size_t match_hashes(const struct match *m, uint64_t out[MATCH_HASHES_MAX]) {
	size_t n = 0;

	for (size_t i = 0; i < m->count && m->mode != MATCH_REGEX; i++) {
		const struct word *w = &m->word[i];
		bool is_whole = m->mode == MATCH_WORDS || (w->at > 0 && w->at + w->n < m->n);

		if (is_whole)
			out[n++] = w->hash;
		if (m->mode == MATCH_WORDS && i > 0)
			out[n++] = pair_of(m->word[i - 1].hash, w->hash);
	}
	return n;
}

struct telling {
	text_hash_fn *fn;
	void *arg;
	uint64_t last;
	bool with_pairs, has_last;
};

static bool tell(void *arg, const struct word *w) {
	struct telling *t = arg;

	t->fn(t->arg, w->hash);
	if (t->with_pairs && t->has_last)
		t->fn(t->arg, pair_of(t->last, w->hash));
	t->last = w->hash;
	t->has_last = true;
	return true;
}

void text_hashes_plain(struct str text, text_hash_fn *fn, void *arg) {
	struct telling t = { .fn = fn, .arg = arg, .with_pairs = true };

	(void)words_plain(text, 0, tell, &t);
}

void text_hashes_sql(struct str text, text_hash_fn *fn, void *arg) {
	struct telling t = { .fn = fn, .arg = arg, .with_pairs = true };
	struct telling raw = { .fn = fn, .arg = arg };

	(void)words_sql(text, tell, &t);
	(void)words_plain(text, 0, tell, &raw); /* for MATCH_EXACT: comments too */
}
