/*
 * pg_track.c: what has been asked and not yet answered, and which text stands behind a name.
 *
 * Expectations are a ring of 32-byte entries, one per client message that the target will answer.
 * Texts are kept as place and hash, never as bytes: the record has the bytes. A text is shared by
 * count between its statement, the portals bound to it and the expectations in flight, so that a
 * pipeline which rebinds "" a hundred times reports each Execute with its own text.
 *
 * Names are compared by a key of 16 bytes: the name itself up to 15 bytes, else the first 15 bytes
 * of its SHA-256. A hash without that strength would let a client make the record show another
 * statement than the one that ran.
 *
 * What is known here must never be wrong, but it may be missing: where the target's own state can
 * no longer be told (a failed Parse, a Close that was skipped, DEALLOCATE) the name is forgotten,
 * and where a table is full the new name is not kept. The command then carries no text; the bytes
 * of the record still tell it. Refusing would end sessions of drivers that prepare thousands.
 *
 * Limits: 4096 expectations x 24 bytes, 1024 texts x 88, names (1280 + 256 slots rounded up) x 24.
 */
#include "proto/postgres/pg_priv.h"

static_assert(sizeof(struct pg_expect) <= 24, "the ring's bound stands in pg_priv.h");
static_assert(sizeof(struct pg_text) <= 88, "the texts' bound stands in pg_priv.h");

enum { RING_FIRST = 32, TEXTS_FIRST = 8, NAMES_FIRST = 16 };

void pg_track_init(struct pg_track *t) {
	*t = (struct pg_track){ .texts_free = PG_NO_TEXT,
		                .statement = PG_NO_TEXT,
		                .portal = PG_NO_TEXT };
	t->statements.count_max = PG_STATEMENT_MAX;
	t->portals.count_max = PG_PORTAL_MAX;
}

void pg_track_fini(struct pg_track *t) {
	free(t->ring);
	free(t->texts);
	free(t->statements.slots);
	free(t->portals.slots);
	pg_track_init(t);
}

/* ---- expectations ---- */

bool pg_track_is_full(const struct pg_track *t) {
	return t->count >= PG_EXPECT_MAX;
}

static struct pg_expect *slot(const struct pg_track *t, uint32_t idx) {
	return &t->ring[(t->head + idx) & (t->ring_cap - 1)];
}

static void ring_grow(struct pg_track *t) {
	uint32_t cap = t->ring_cap == 0 ? RING_FIRST : t->ring_cap * 2;
	struct pg_expect *ring = xcalloc(cap, sizeof(*ring));
	for (uint32_t i = 0; i < t->count; i++)
		ring[i] = *slot(t, i);
	free(t->ring);
	t->ring = ring;
	t->ring_cap = cap;
	t->head = 0;
}

void pg_expect_push(struct pg_track *t, const struct pg_expect *e) {
	assert(!pg_track_is_full(t));
	if (t->count == t->ring_cap)
		ring_grow(t);
	*slot(t, t->count++) = *e;
}

struct pg_expect *pg_expect_at(struct pg_track *t, uint32_t idx) {
	return idx < t->count ? slot(t, idx) : NULL;
}

void pg_expect_pop(struct pg_track *t, struct pg_expect *out) {
	assert(t->count > 0);
	*out = *slot(t, 0);
	t->head = (t->head + 1) & (t->ring_cap - 1);
	t->count--;
}

void pg_expect_drop(struct pg_track *t, uint32_t idx) {
	assert(idx < t->count);
	pg_text_unref(t, slot(t, idx)->text);
	for (uint32_t i = idx; i + 1 < t->count; i++)
		*slot(t, i) = *slot(t, i + 1);
	t->count--;
}

/* ---- texts ---- */

static void texts_grow(struct pg_track *t) {
	uint32_t cap = t->texts_cap == 0 ? TEXTS_FIRST : t->texts_cap * 2;
	t->texts = xrealloc(t->texts, cap * sizeof(*t->texts));
	for (uint32_t i = cap; i > t->texts_cap; i--) {
		t->texts[i - 1] = (struct pg_text){ .next_free = t->texts_free };
		t->texts_free = (uint16_t)(i - 1);
	}
	t->texts_cap = cap;
}

/* The hash of what the record keeps: with the hidden spans in it, they could be guessed at. */
static void hash_visible(uint8_t out[SHA256_SIZE], struct str text, const struct sql_secrets *s) {
	struct str parts[SQL_SECRETS_MAX + 1];
	size_t at = 0;

	for (size_t i = 0; i < s->count; i++) {
		parts[i] = str_mem(text.p + at, s->spans[i].at - at);
		at = s->spans[i].at + s->spans[i].n;
	}
	parts[s->count] = str_from(text, at);
	sha256_parts(out, parts, s->count + 1);
}

uint16_t pg_text_new(struct pg_track *t, struct str text, uint64_t off,
                     const struct sql_secrets *hidden) {
	if (t->texts_free == PG_NO_TEXT) {
		if (t->texts_cap >= PG_TEXT_MAX) {
			t->lost_params |= hidden->params;
			return PG_NO_TEXT;
		}
		texts_grow(t);
	}
	uint16_t id = t->texts_free;
	struct pg_text *x = &t->texts[id];
	t->texts_free = x->next_free;
	x->off = off;
	x->len = (uint32_t)text.n;
	x->params = hidden->params;
	hash_visible(x->sha256, text, hidden);
	x->verb_len = (uint8_t)pg_verb(x->verb, text);
	x->refs = 1;
	return id;
}

uint16_t pg_text_portal(struct pg_track *t, uint16_t id) {
	const struct sql_secrets none = { .count = 0 };
	uint64_t lost = t->lost_params;

	if (id == PG_NO_TEXT || t->portal_texts >= PG_PORTAL_TEXT_MAX)
		return PG_NO_TEXT;
	uint16_t own = pg_text_new(t, STR_NONE, 0, &none);
	t->lost_params = lost;
	if (own == PG_NO_TEXT)
		return own;
	uint16_t next_free = t->texts[own].next_free;
	t->texts[own] = t->texts[id];
	t->texts[own].refs = 1;
	t->texts[own].next_free = next_free;
	t->texts[own].is_portal = true;
	t->texts[own].rows = 0;
	t->portal_texts++;
	return own;
}

uint32_t *pg_text_rows(struct pg_track *t, uint16_t id) {
	return id != PG_NO_TEXT && t->texts[id].is_portal ? &t->texts[id].rows : NULL;
}

bool pg_text_is_same(const struct pg_track *t, uint16_t a, uint16_t b) {
	if (a == PG_NO_TEXT || b == PG_NO_TEXT)
		return false;
	return t->texts[a].off == t->texts[b].off;
}

uint16_t pg_text_ref(struct pg_track *t, uint16_t id) {
	if (id == PG_NO_TEXT)
		return id;
	/* References come from the ring, the two name tables and two slots: always below 2^16. */
	assert(id < t->texts_cap && t->texts[id].refs > 0 && t->texts[id].refs < UINT16_MAX);
	t->texts[id].refs++;
	return id;
}

void pg_text_unref(struct pg_track *t, uint16_t id) {
	if (id == PG_NO_TEXT)
		return;
	assert(id < t->texts_cap && t->texts[id].refs > 0);
	if (--t->texts[id].refs > 0)
		return;
	t->portal_texts -= t->texts[id].is_portal;
	t->texts[id].is_portal = false;
	/* The target may know it longer than we do. */
	t->lost_params |= t->texts[id].params;
	t->texts[id].next_free = t->texts_free;
	t->texts_free = id;
}

uint64_t pg_text_params(const struct pg_track *t, uint16_t id) {
	return id == PG_NO_TEXT ? t->lost_params : t->texts[id].params;
}

const struct pg_text *pg_text_get(const struct pg_track *t, uint16_t id) {
	return id == PG_NO_TEXT ? NULL : &t->texts[id];
}

static void text_set(struct pg_track *t, uint16_t *place, uint16_t text) {
	uint16_t old = *place;
	*place = pg_text_ref(t, text);
	pg_text_unref(t, old);
}

/* ---- names ---- */

static void key_of(uint8_t key[PG_NAME_KEY], struct str name) {
	memset(key, 0, PG_NAME_KEY);
	if (name.n < PG_NAME_KEY) {
		key[0] = (uint8_t)name.n;
		memcpy(key + 1, name.p, name.n);
		return;
	}
	uint8_t hash[SHA256_SIZE];
	sha256(hash, name);
	key[0] = 0xff;
	memcpy(key + 1, hash, PG_NAME_KEY - 1);
}

/* Spreads keys over slots only (FNV-1a); equality is decided by the whole key. */
static uint32_t home_of(const struct pg_names *n, const uint8_t key[PG_NAME_KEY]) {
	uint32_t h = 2166136261U;
	for (size_t i = 0; i < PG_NAME_KEY; i++)
		h = (h ^ key[i]) * 16777619U;
	return (h ^ h >> 15) & (n->cap - 1);
}

/* The slot of the key, or the free one where it belongs. There is always a free one. */
static struct pg_name *probe(const struct pg_names *n, const uint8_t key[PG_NAME_KEY]) {
	uint32_t at = home_of(n, key);
	while (n->slots[at].is_used && memcmp(n->slots[at].key, key, PG_NAME_KEY) != 0)
		at = (at + 1) & (n->cap - 1);
	return &n->slots[at];
}

static void names_grow(struct pg_names *n) {
	struct pg_names wide = *n;
	wide.cap = n->cap == 0 ? NAMES_FIRST : n->cap * 2;
	wide.slots = xcalloc(wide.cap, sizeof(*wide.slots));
	for (uint32_t i = 0; i < n->cap; i++)
		if (n->slots[i].is_used)
			*probe(&wide, n->slots[i].key) = n->slots[i];
	free(n->slots);
	*n = wide;
}

static struct pg_name *names_find(const struct pg_names *n, struct str name) {
	if (n->count == 0)
		return NULL;
	uint8_t key[PG_NAME_KEY];
	key_of(key, name);
	struct pg_name *s = probe(n, key);
	return s->is_used ? s : NULL;
}

/* Empties a slot and moves what had to step over it back, so that no probe ends too early. */
static void names_del(struct pg_track *t, struct pg_names *n, struct pg_name *s) {
	pg_text_unref(t, s->text);
	uint32_t hole = (uint32_t)(s - n->slots);
	uint32_t mask = n->cap - 1;
	for (uint32_t at = (hole + 1) & mask; n->slots[at].is_used; at = (at + 1) & mask) {
		uint32_t home = home_of(n, n->slots[at].key);
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			n->slots[hole] = n->slots[at];
			hole = at;
		}
	}
	n->slots[hole] = (struct pg_name){ .is_used = false };
	n->count--;
}

static void names_set(struct pg_track *t, struct pg_names *n, struct str name, uint16_t text) {
	struct pg_name *s = names_find(n, name);
	if (s != NULL && text == PG_NO_TEXT) {
		names_del(t, n, s);
	} else if (s != NULL) {
		text_set(t, &s->text, text);
	} else if (text != PG_NO_TEXT && n->count < n->count_max) {
		if (n->count * 2 >= n->cap)
			names_grow(n);
		struct pg_name fresh = { .is_used = true, .text = pg_text_ref(t, text) };
		key_of(fresh.key, name);
		*probe(n, fresh.key) = fresh;
		n->count++;
	}
}

/* Deletes every name, or every name of one text. A deletion moves others, so the slot is looked at
 * again until it stands. */
static void names_purge(struct pg_track *t, struct pg_names *n, bool is_all, uint16_t text) {
	for (uint32_t i = 0; n->count > 0 && i < n->cap; i++)
		while (n->slots[i].is_used && (is_all || n->slots[i].text == text))
			names_del(t, n, &n->slots[i]);
}

/* ---- statements and portals ---- */

void pg_statement_set(struct pg_track *t, struct str name, uint16_t text) {
	if (name.n == 0)
		text_set(t, &t->statement, text);
	else
		names_set(t, &t->statements, name, text);
}

uint16_t pg_statement_get(const struct pg_track *t, struct str name) {
	if (name.n == 0)
		return t->statement;
	const struct pg_name *s = names_find(&t->statements, name);
	return s != NULL ? s->text : PG_NO_TEXT;
}

void pg_statement_drop_text(struct pg_track *t, uint16_t text) {
	if (text == PG_NO_TEXT)
		return;
	if (t->statement == text)
		text_set(t, &t->statement, PG_NO_TEXT);
	names_purge(t, &t->statements, false, text);
}

/* What was bound or executed by name and is still unanswered may mean another statement, too. */
static void expects_forget(struct pg_track *t) {
	for (uint32_t i = 0; i < t->count; i++) {
		struct pg_expect *e = slot(t, i);
		if (e->kind == 'B' || e->kind == 'D' || e->kind == 'E') {
			pg_text_unref(t, e->text);
			e->text = PG_NO_TEXT;
		}
	}
}

void pg_statements_forget(struct pg_track *t) {
	expects_forget(t);
	pg_statements_clear(t);
	pg_portals_clear(t);
}

void pg_statements_clear(struct pg_track *t) {
	text_set(t, &t->statement, PG_NO_TEXT);
	names_purge(t, &t->statements, true, 0);
}

void pg_portal_set(struct pg_track *t, struct str name, uint16_t text) {
	if (name.n == 0)
		text_set(t, &t->portal, text);
	else
		names_set(t, &t->portals, name, text);
}

uint16_t pg_portal_get(const struct pg_track *t, struct str name) {
	if (name.n == 0)
		return t->portal;
	const struct pg_name *s = names_find(&t->portals, name);
	return s != NULL ? s->text : PG_NO_TEXT;
}

void pg_portal_drop_text(struct pg_track *t, uint16_t text) {
	if (text == PG_NO_TEXT)
		return;
	if (t->portal == text)
		text_set(t, &t->portal, PG_NO_TEXT);
	names_purge(t, &t->portals, false, text);
}

void pg_portals_clear(struct pg_track *t) {
	text_set(t, &t->portal, PG_NO_TEXT);
	names_purge(t, &t->portals, true, 0);
}
