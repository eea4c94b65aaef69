/*
 * search.c: see search.h.
 *
 * Sessions are walked newest first beside the index, which is in the same order. With a limit the newest
 * hits are kept: the list is sorted and cut whenever it is twice as long, and sessions that ended before the
 * oldest hit that is kept are passed over where the index knows when they ended.
 *
 * Invariant: a session is passed over only for what the index says of it (it has ended, so that is all of
 * it), or for the time in its id. A store that lacks an index is searched whole.
 */
#include "main/search.h"

#include "base/clock.h"
#include "main/ask.h"
#include "main/feed.h"
#include "main/said.h"

/* An id is made before its session opens, by another process. */
#define ID_SLACK (60 * NS_PER_S)

struct known {
	uint8_t sid[SID_SIZE];
	uint64_t last_wall_ns, last_number;
	bool may_hold;
};

struct search {
	const struct search_options *o;
	struct search_result *result;
	struct reader *r;
	struct feed feed;
	uint8_t (*sid)[SID_SIZE];
	size_t sid_count, sid_cap;
	struct known *known; /* newest first */
	size_t known_count, known_cap;
	/* The session that is read. */
	const uint8_t *now;
	uint64_t last_number;
	json_t *open;
	struct buf scratch;
	struct search_hit found; /* of the command that is under way */
	bool has_found;
};

/* ---- hits ---- */

static void hit_fini(struct search_hit *h) {
	free(h->statement);
	free(h->value);
	json_decref(h->open);
}

void search_result_fini(struct search_result *r) {
	for (size_t i = 0; i < r->count; i++)
		hit_fini(&r->hit[i]);
	free(r->hit);
	*r = (struct search_result){ .hit = NULL };
}

static int newest_first(const void *a, const void *b) {
	const struct search_hit *x = a, *y = b;

	if (x->wall_ns != y->wall_ns)
		return x->wall_ns < y->wall_ns ? 1 : -1;
	int order = memcmp(y->sid, x->sid, SID_SIZE);

	if (order != 0)
		return order;
	return x->number < y->number ? 1 : x->number > y->number ? -1 : 0;
}

static void trim(struct search_result *r, size_t limit) {
	if (r->count != 0)
		qsort(r->hit, r->count, sizeof(r->hit[0]), newest_first);
	if (limit == 0 || r->count <= limit)
		return;
	while (r->count > limit)
		hit_fini(&r->hit[--r->count]);
	r->oldest_kept = r->hit[limit - 1].wall_ns;
	r->is_cut = true;
}

static void keep(struct search *s, struct search_hit *h) {
	struct search_result *r = s->result;

	if (r->oldest_kept != 0 && h->wall_ns < r->oldest_kept) {
		hit_fini(h);
		return;
	}
	if (r->count == r->cap) {
		r->cap = MAX(r->cap * 2, (size_t)16);
		r->hit = xrealloc(r->hit, r->cap * sizeof(r->hit[0]));
	}
	r->hit[r->count++] = *h;
	if (s->o->limit != 0 && r->count >= 2 * s->o->limit + 16)
		trim(r, s->o->limit);
}

/* A copy of what stands around the match, which then lies at *place. */
static char *around(struct str text, struct match_place *place, size_t *ret_n) {
	size_t from = 0;

	if (text.n > SEARCH_TEXT_MAX && place->at > SEARCH_TEXT_MAX / 4)
		from = place->at - SEARCH_TEXT_MAX / 4;
	struct str part = str_head(str_from(text, from), SEARCH_TEXT_MAX);

	place->at -= from;
	place->n = MIN(place->n, part.n - place->at);
	*ret_n = part.n;
	return str_dup(part);
}

/* ---- commands ---- */

struct looking {
	struct search *s;
	struct str statement;
};

static int look(void *arg, size_t number, struct str text) {
	struct looking *l = arg;
	struct search_hit *h = &l->s->found;
	struct match_place none = { 0 };
	const struct match *m = l->s->o->match;

	if (number == 0)
		l->statement = text;
	if (!(number == 0 ? match_sql : match_plain)(m, text, &h->place))
		return 0;
	h->parameter = number;
	if (number != 0)
		h->value = around(text, &h->place, &h->value_n);
	h->statement = around(l->statement, number == 0 ? &h->place : &none, &h->statement_n);
	return 1;
}

static void on_begin(void *arg, const struct view_command *c) {
	struct search *s = arg;
	struct looking l = { .s = s };

	if (c->number > s->last_number) {
		s->feed.stop = true;
		return;
	}
	s->found = (struct search_hit){ .number = c->number, .kind = c->kind };
	s->has_found = said_each(c, &s->scratch, look, &l) == 1;
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct search *s = arg;
	struct pg_field f;

	(void)c;
	while (s->has_found && pg_fields_next(&fields, &f)) {
		if (f.code == 'C')
			(void)str_copy(s->found.sqlstate, sizeof(s->found.sqlstate), f.value);
	}
}

static void on_end(void *arg, const struct view_command *c) {
	struct search *s = arg;
	const struct search_options *o = s->o;
	struct search_hit *h = &s->found;

	if (!s->has_found)
		return;
	s->has_found = false;
	h->wall_ns = c->received_ns + s->feed.wall_minus_mono;
	h->status = c->status;
	h->rows = c->rows;
	memcpy(h->sid, s->now, SID_SIZE);
	h->open = json_incref(s->open);
	if (h->wall_ns < o->since_ns || (o->until_ns != 0 && h->wall_ns > o->until_ns) ||
	    (o->statuses != 0 && (o->statuses >> (unsigned)c->status & 1) == 0))
		hit_fini(h);
	else
		keep(s, h);
}

/* ---- sessions ---- */

/* "local:ci" by itself or as "ci". */
static bool is_named(struct str subject, const char *want) {
	size_t colon = str_find(subject, ':');

	return want == NULL || str_is(subject, want) ||
	       (colon < subject.n && str_is(str_from(subject, colon + 1), want));
}

static bool is_wanted(const struct search_options *o, const json_t *open) {
	const json_t *who = json_object_get(open, "who");

	return !str_is(json_text(open, "protocol"), "acts") &&
	       (o->connection == NULL || str_is(json_text(open, "connection"), o->connection)) &&
	       is_named(json_text(who, "subject"), o->identity) &&
	       (!o->only_agents || str_is(json_text(who, "kind"), "agent")) &&
	       (o->on_behalf_of == NULL ||
	        str_is(json_text(who, "on_behalf_of"), o->on_behalf_of)) &&
	       (o->run == NULL || str_is(json_text(who, "run"), o->run));
}

static void on_item(void *arg, const struct reader_item *it) {
	struct search *s = arg;

	if (it->kind != FRAME_OPEN || s->open != NULL)
		return;
	s->open = json_loadb(it->json.p, it->json.n, 0, NULL);
	s->feed.stop = !is_wanted(s->o, s->open);
}

static int read_session(struct search *s, const uint8_t sid[SID_SIZE], uint64_t last_number,
                        struct err *e) {
	struct view_handler h = { .arg = s, .begin = on_begin, .failed = on_failed, .end = on_end };

	s->now = sid;
	s->last_number = last_number;
	s->has_found = false;
	s->result->read++;
	s->feed = (struct feed){ .view = pg_view_new(&h, SAID_MESSAGE_MAX),
		                 .item = on_item,
		                 .arg = s };
	int rc = feed_session(&s->feed, s->r, sid, e);

	pg_view_free(&s->feed.view);
	if (s->has_found)
		hit_fini(&s->found);
	json_decref(s->open);
	s->open = NULL;
	return rc;
}

/* ---- all of them ---- */

static int note_sid(void *arg, const uint8_t sid[SID_SIZE]) {
	struct search *s = arg;

	if (s->sid_count == s->sid_cap) {
		s->sid_cap = MAX(s->sid_cap * 2, (size_t)64);
		s->sid = xrealloc(s->sid, s->sid_cap * SID_SIZE);
	}
	memcpy(s->sid[s->sid_count++], sid, SID_SIZE);
	return 0;
}

static bool may_be_wanted(const struct search_options *o, const struct index_session *f) {
	return !str_is(f->protocol, "acts") &&
	       (o->connection == NULL || str_is(f->connection, o->connection)) &&
	       is_named(f->subject, o->identity) && (!o->only_agents || str_is(f->kind, "agent")) &&
	       (o->on_behalf_of == NULL || str_is(f->on_behalf_of, o->on_behalf_of)) &&
	       (o->run == NULL || str_is(f->run, o->run));
}

static int note_known(void *arg, const struct index_hit *hit) {
	struct search *s = arg;
	const struct index_session *f = &hit->session;

	if (s->known_count == s->known_cap) {
		s->known_cap = MAX(s->known_cap * 2, (size_t)64);
		s->known = xrealloc(s->known, s->known_cap * sizeof(s->known[0]));
	}
	struct known *k = &s->known[s->known_count++];

	/* A session whose record did not decode may lack the facts that are asked for. */
	*k = (struct known){ .last_wall_ns = f->last_wall_ns,
		             .last_number = hit->last_number,
		             .may_hold = f->is_unreadable ||
		                         (hit->may_hold && may_be_wanted(s->o, f)) };
	memcpy(k->sid, f->sid, SID_SIZE);
	return 0;
}

/* The index may be damaged or made by a stranger: then it is as if there were none. */
static void ask_index(struct search *s, struct index *x) {
	uint64_t hash[MATCH_HASHES_MAX];
	struct index_query q = { .since_ns = s->o->since_ns,
		                 .until_ns = s->o->until_ns,
		                 .hash = hash,
		                 .hash_count = match_hashes(s->o->match, hash) };

	if (x != NULL && index_each(x, &q, note_known, s) != 0)
		s->known_count = 0;
}

static uint64_t sid_wall(const uint8_t sid[SID_SIZE]) {
	uint64_t ms = 0;

	for (size_t i = 0; i < 6; i++)
		ms = ms << 8 | sid[i];
	return ms * NS_PER_MS;
}

static bool is_ruled_out(const struct search *s, const uint8_t sid[SID_SIZE],
                         const struct known *k) {
	if (s->o->until_ns != 0 && sid_wall(sid) > s->o->until_ns + ID_SLACK)
		return true;
	if (k == NULL)
		return false;
	return !k->may_hold ||
	       (s->result->oldest_kept != 0 && k->last_wall_ns + ID_SLACK < s->result->oldest_kept);
}

static void read_all(struct search *s, search_trouble_fn *said) {
	size_t at = 0;

	for (size_t i = s->sid_count; i > 0; i--) {
		const uint8_t *sid = s->sid[i - 1];
		struct err e = { .code = 0 };

		while (at < s->known_count && memcmp(s->known[at].sid, sid, SID_SIZE) > 0)
			at++;
		bool is_known = at < s->known_count && memcmp(s->known[at].sid, sid, SID_SIZE) == 0;
		const struct known *k = is_known ? &s->known[at] : NULL;

		if (is_ruled_out(s, sid, k)) {
			s->result->ruled_out++;
			continue;
		}
		int rc = read_session(s, sid, k != NULL ? k->last_number : UINT64_MAX, &e);

		if (rc == 0)
			continue;
		s->result->unreadable++;
		s->result->is_tampered = s->result->is_tampered || rc == H_ETAMPERED;
		said(sid, &e);
	}
}

int search_run(struct reader *r, struct index *x, const struct search_options *o,
               search_trouble_fn *said, struct search_result *ret, struct err *e) {
	struct search s = { .o = o, .result = ret, .r = r };

	*ret = (struct search_result){ .hit = NULL };
	said_scratch(&s.scratch);
	/* The index first: what it does not know by then is found among the sessions. */
	ask_index(&s, x);
	int rc = reader_each(r, note_sid, &s);

	if (rc < 0) {
		rc = err_set(e, rc, "the sessions cannot be listed: %s", h_err_text(rc));
	} else {
		ret->sessions = s.sid_count;
		read_all(&s, said);
		trim(ret, o->limit);
	}
	buf_fini(&s.scratch);
	free(s.sid);
	free(s.known);
	return rc;
}

/* ---- the index, told ---- */

json_t *search_index_about(const char *store) {
	auto_free char *dir = index_dir(store);
	struct err e = { .code = 0 };
	struct index *x = NULL;
	struct index_mark m = { .wall_ns = 0 };
	char through[TIME_TEXT_SIZE];
	int rc = index_open_read(&x, dir, &e);

	if (rc == 0)
		rc = index_mark_get(x, &m);
	index_close(&x);
	if (rc < 0)
		return json_pack("{s:s, s:s}", "state",
		                 rc == H_ENOTFOUND ? "there is none" : "cannot be read", "reason",
		                 e.text[0] != '\0' ? e.text : h_err_text(rc));
	uint64_t now = wall_ns();

	time_text(through, m.wall_ns);
	return json_pack("{s:s, s:I, s:I, s:s, s:I, s:I}", "state",
	                 m.wall_ns == 0 ? "is being made" : "ok", "sessions",
	                 (json_int_t)m.sessions, "behind", (json_int_t)m.behind_sessions, "through",
	                 through, "lag_ns", (json_int_t)(now > m.wall_ns ? now - m.wall_ns : 0),
	                 "bytes", (json_int_t)index_bytes(dir));
}
