/*
 * find.c: see find.h. Ids are looked up here and not by reader_find(), because a person who typed too few
 * characters is shown which sessions they could have meant.
 */
#include "main/find.h"

#include "base/clock.h"

enum { PREFIX_MIN = 4, SHOWN_MAX = 20 };

int find_open(struct found *f, const struct common *c, struct err *e) {
	int rc = common_store(c, f->dir, sizeof(f->dir), e);
	return rc < 0 ? rc : reader_open(&f->r, f->dir, e);
}

void find_close(struct found *f) {
	reader_close(&f->r);
}

/* ---- ids ---- */

struct sids {
	uint8_t (*sid)[SID_SIZE];
	size_t count, cap;
	struct str prefix; /* empty: all */
};

/* Case is ignored, and so is the dash of a short id that was left out. */
static bool fits(const uint8_t sid[SID_SIZE], struct str prefix) {
	char full[UUID_TEXT_SIZE], brief[SHORT_ID_SIZE], bare[SHORT_ID_SIZE];
	uuid_text(full, sid);
	short_id(brief, sid);
	memcpy(bare, brief, 4);
	memcpy(bare + 4, brief + 5, SHORT_ID_SIZE - 5);
	const char *const names[] = { full, brief, bare };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_nocase(str_head(str_of(names[i]), prefix.n), prefix))
			return true;
	return false;
}

static int add_sid(void *arg, const uint8_t sid[SID_SIZE]) {
	struct sids *s = arg;
	if (s->prefix.n > 0 && !fits(sid, s->prefix))
		return 0;
	if (s->count == s->cap) {
		s->cap = MAX(s->cap * 2, (size_t)64);
		s->sid = xrealloc(s->sid, s->cap * SID_SIZE);
	}
	memcpy(s->sid[s->count++], sid, SID_SIZE);
	return 0;
}

static bool is_acts(struct reader *r, const uint8_t sid[SID_SIZE]) {
	struct reader_session *x = NULL;
	struct reader_item item;
	bool acts = false;
	if (reader_session_open(&x, r, sid, NULL) == 0 &&
	    reader_session_item(x, &item, NULL) == 1 && item.kind == FRAME_OPEN) {
		json_t *doc = json_loadb(item.json.p, item.json.n, 0, NULL);
		acts = str_is(json_text(doc, "protocol"), "acts");
		json_decref(doc);
	}
	reader_session_close(&x);
	return acts;
}

/* The nth newest that is no acts session. */
static int pick_last(struct found *f, const struct sids *all, uint64_t back, struct err *e) {
	for (size_t i = all->count; i > 0; i--) {
		if (is_acts(f->r, all->sid[i - 1]))
			continue;
		if (back-- > 0)
			continue;
		memcpy(f->sid, all->sid[i - 1], SID_SIZE);
		return 0;
	}
	return err_set(e, H_ENOTFOUND, "there are not so many sessions");
}

static int pick_only(struct found *f, const struct sids *fit, struct str id, struct err *e) {
	if (fit->count == 0)
		return err_set(e, H_ENOTFOUND, "no session has the id %.*s", STR_ARG(id));
	if (fit->count == 1) {
		memcpy(f->sid, fit->sid[0], SID_SIZE);
		return 0;
	}
	for (size_t i = fit->count; i > 0 && fit->count - i < SHOWN_MAX; i--) {
		char full[UUID_TEXT_SIZE], brief[SHORT_ID_SIZE];
		uuid_text(full, fit->sid[i - 1]);
		short_id(brief, fit->sid[i - 1]);
		(void)fprintf(stderr, "  %s  %s\n", brief, full);
	}
	return err_set(e, H_EUSAGE, "%zu sessions have ids that begin with %.*s: say more of it",
	               fit->count, STR_ARG(id));
}

static bool is_id(struct str id) {
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '-'))
			return false;
	}
	return id.n >= PREFIX_MIN;
}

int find_session(struct found *f, struct str id, struct err *e) {
	struct str last = STR("@last");
	struct sids s = { .prefix = STR_NONE };
	uint64_t back = 0;
	bool is_last = str_starts(id, last);
	struct str tail = str_from(id, last.n);
	if (is_last && tail.n > 0 &&
	    (tail.p[0] != '~' || str_u64(str_from(tail, 1), UINT32_MAX, &back) != 0))
		return err_set(e, H_EUSAGE, "a session is named @last or @last~N, or by its id");
	if (!is_last && !is_id(id))
		return err_set(
			e, H_EUSAGE,
			"that is no session id: letters and digits, at least %d (`hansard sessions` shows them), "
			"or @last",
			PREFIX_MIN);
	if (!is_last)
		s.prefix = id;
	int rc = reader_each(f->r, add_sid, &s);
	if (rc < 0)
		rc = err_set(e, rc, "the sessions cannot be listed: %s", h_err_text(rc));
	else
		rc = is_last ? pick_last(f, &s, back, e) : pick_only(f, &s, id, e);
	free(s.sid);
	return rc;
}

int find_one(struct found *f, const struct common *c, const char *cmd, const char *id,
             struct err *e) {
	if (id == NULL)
		return err_set(
			e, H_EUSAGE,
			"%s: which session? (`hansard %s @last`, or an id of `hansard sessions`)",
			cmd, cmd);
	int rc = find_open(f, c, e);
	return rc < 0 ? rc : find_session(f, str_of(id), e);
}

/* ---- what a list says ---- */

static void put(json_t *out, const char *key, struct str s) {
	json_t *v = json_stringn(s.p != NULL ? s.p : "", s.n);
	(void)json_object_set_new(out, key, v != NULL ? v : json_null());
}

static void put_time(json_t *out, const char *key, uint64_t wall) {
	char text[TIME_TEXT_SIZE];
	time_text(text, wall);
	put(out, key, str_of(text));
}

static void put_open(json_t *out, const json_t *open) {
	const json_t *who = json_object_get(open, "who");
	put(out, "protocol", json_text(open, "protocol"));
	put(out, "connection", json_text(open, "connection"));
	put(out, "role", json_text(open, "role"));
	put(out, "subject", json_text(who, "subject"));
	put(out, "kind", json_text(who, "kind"));
	put(out, "on_behalf_of", json_text(who, "on_behalf_of"));
	put(out, "run", json_text(who, "run"));
}

static void put_close(json_t *out, const json_t *end, const struct reader_summary *s) {
	static const char *const counts[] = { "commands", "events" };
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		json_t *v = json_object_get(end, counts[i]);
		(void)json_object_set(out, counts[i], v != NULL ? v : json_null());
	}
	if (end == NULL)
		return;
	put_time(out, "closed", s->last_wall_ns);
	put(out, "reason", json_text(end, "reason"));
	(void)json_object_set_new(out, "gap",
	                          json_boolean(json_is_true(json_object_get(end, "gap"))));
	(void)json_object_set_new(out, "recovered", json_boolean(s->is_recovered));
}

json_t *find_describe(struct found *f, const uint8_t sid[SID_SIZE], bool whole, struct err *e) {
	struct reader_summary s;
	char full[UUID_TEXT_SIZE];
	if (reader_summarize(f->r, sid, &s, e) < 0)
		return NULL;
	json_t *open = s.open_json != NULL ? json_loads(s.open_json, 0, NULL) : NULL;
	json_t *end = s.close_json != NULL ? json_loads(s.close_json, 0, NULL) : NULL;
	json_t *out = json_object();
	uuid_text(full, sid);
	put(out, "id", str_of(s.short_id));
	put(out, "sid", str_of(full));
	put_open(out, open);
	put_time(out, "opened", s.opened_wall_ns);
	(void)json_object_set_new(out, "open", json_boolean(s.close_json == NULL));
	put_time(out, "last", s.last_wall_ns);
	put_close(out, end, &s);
	(void)json_object_set_new(out, "frames", json_integer((json_int_t)s.frames));
	(void)json_object_set_new(out, "bytes", json_integer((json_int_t)s.bytes));
	if (whole) {
		(void)json_object_set(out, "open_frame", open != NULL ? open : json_null());
		(void)json_object_set(out, "close_frame", end != NULL ? end : json_null());
	}
	json_decref(open);
	json_decref(end);
	reader_summary_fini(&s);
	return out;
}

int find_fail(const struct err *e) {
	int rc = cli_fail(e);
	return e->code == H_ETAMPERED ? CLI_TAMPERED : rc;
}
