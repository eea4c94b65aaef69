/*
 * cmd_search.c: hansard search: which commands held a text, when, by whom, for whom, and what became of
 * them.
 */
#include "base/clock.h"
#include "main/find.h"
#include "main/head.h"
#include "main/search.h"
#include "main/text.h"
#include "main/when.h"
#include "record/verify.h"

enum {
	KEY_SINCE = 0xa00,
	KEY_UNTIL,
	KEY_CONNECTION,
	KEY_AGENT,
	KEY_IDENTITY,
	KEY_ON_BEHALF_OF,
	KEY_RUN,
	KEY_STATUS,
	KEY_LIMIT,
	KEY_EXACT,
	KEY_REGEX,
	KEY_PROVE,
	KEY_NO_INDEX,
	LIMIT_DEFAULT = 100,
	BEFORE_MATCH = 24, /* bytes shown before the match, at least */
	SHOWN_MAX = 160,   /* bytes of a statement in a table */
	DETAIL_MAX = 900   /* of what was looked for, in the act */
};

struct search_args {
	struct common common;
	struct search_options o;
	struct buf words;
	enum match_mode mode;
	bool prove, no_index;
	uint64_t now;
};

static void take_moment(struct argp_state *state, const char *arg, uint64_t *ret) {
	const struct search_args *a = state->input;

	if (when_parse(str_of(arg), a->now, ret) != 0)
		argp_error(state, "\"%s\": " WHEN_FORMS, arg);
}

static void take_status(struct argp_state *state, const char *arg, unsigned *ret) {
	struct str rest = str_of(arg);

	while (rest.n > 0) {
		struct str one = str_cut(&rest, ',');
		unsigned before = *ret;

		for (unsigned i = VIEW_OK; i <= VIEW_UNANSWERED; i++) {
			if (str_is(one, view_status_name((enum view_status)i)))
				*ret |= 1u << i;
		}
		if (*ret == before)
			argp_error(state, "--status takes ok, failed, suspended, skipped or "
			                  "unanswered, several with commas");
	}
}

/* Words may come as one argument or as several. */
static void take_words(struct search_args *a, const char *arg) {
	if (a->words.len > 0)
		w_u8(&a->words, ' ');
	w_bytes(&a->words, str_of(arg));
}

static error_t parse_text(int key, char *arg, struct search_args *a, struct argp_state *state) {
	uint64_t limit;

	switch (key) {
	case KEY_CONNECTION:
		a->o.connection = arg;
		return 0;
	case KEY_AGENT:
		a->o.only_agents = true;
		a->o.identity = arg;
		return 0;
	case KEY_IDENTITY:
		a->o.identity = arg;
		return 0;
	case KEY_ON_BEHALF_OF:
		a->o.on_behalf_of = arg;
		return 0;
	case KEY_RUN:
		a->o.run = arg;
		return 0;
	case KEY_STATUS:
		take_status(state, arg, &a->o.statuses);
		return 0;
	case KEY_LIMIT:
		if (str_u64(str_of(arg), UINT32_MAX, &limit) != 0)
			argp_error(state, "--limit takes a number");
		a->o.limit = (size_t)limit;
		return 0;
	case ARGP_KEY_ARG:
		take_words(a, arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state) {
	struct search_args *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_SINCE:
		take_moment(state, arg, &a->o.since_ns);
		return 0;
	case KEY_UNTIL:
		take_moment(state, arg, &a->o.until_ns);
		return 0;
	case KEY_EXACT:
		a->mode = MATCH_EXACT;
		return 0;
	case KEY_REGEX:
		a->mode = MATCH_REGEX;
		return 0;
	case KEY_PROVE:
		a->prove = a->no_index = true;
		return 0;
	case KEY_NO_INDEX:
		a->no_index = true;
		return 0;
	default:
		return parse_text(key, arg, a, state);
	}
}

static const struct argp_option options[] = {
	{ "since", KEY_SINCE, "TIME", 0,
	  "only commands since: \"yesterday 18:00\", 2h (ago), today, 2026-11-21", 0 },
	{ "until", KEY_UNTIL, "TIME", 0, "only commands until then", 0 },
	{ "connection", KEY_CONNECTION, "NAME", 0, "only on this connection", 0 },
	{ "agent", KEY_AGENT, "NAME", 0, "only by this agent (with or without its issuer)", 0 },
	{ "identity", KEY_IDENTITY, "NAME", 0, "only by this identity, of whatever kind", 0 },
	{ "on-behalf-of", KEY_ON_BEHALF_OF, "NAME", 0, "only on behalf of this person", 0 },
	{ "run", KEY_RUN, "ID", 0, "only of this run", 0 },
	{ "status", KEY_STATUS, "STATUS", 0,
	  "only what became ok, failed, suspended, skipped or unanswered", 0 },
	{ "limit", KEY_LIMIT, "N", 0, "the newest N hits (default 100, 0: all)", 0 },
	{ "exact", KEY_EXACT, NULL, 0, "the bytes as they stand, not words", 0 },
	{ "regex", KEY_REGEX, NULL, 0, "a POSIX extended regular expression, case ignored", 0 },
	{ "prove", KEY_PROVE, NULL, 0, "read the record itself, not the index, and verify it", 0 },
	{ "no-index", KEY_NO_INDEX, NULL, 0, "read the record itself, not the index", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "WORD...",
	.doc = "Find commands by the text of their statements and parameters, newest first. Words "
	       "are found one after the other, whatever stands between them, case ignored.",
	.children = children,
};

/* ---- proof ---- */

struct proof {
	struct search_result *result;
	const char **state; /* of each hit's session; NULL: not seen */
	struct verify_report report;
	bool is_done;
};

static void note_state(void *arg, const struct verify_session *v) {
	struct proof *p = arg;

	for (size_t i = 0; i < p->result->count; i++) {
		if (memcmp(p->result->hit[i].sid, v->sid, SID_SIZE) == 0)
			p->state[i] = verify_state_text(v->state);
	}
}

/* Everything is verified: that there is no other hit is a statement about the whole store. */
static int prove(struct proof *p, const char *dir, struct err *e) {
	struct verify_options o = { .arg = p, .on_session = note_state };

	p->state = xcalloc(p->result->count + 1, sizeof(p->state[0]));
	int rc = verify_store(dir, &o, &p->report, e);

	p->is_done = rc == 0;
	return rc;
}

static const char *proof_text(const struct proof *p) {
	return p->report.result == VERIFY_BAD
	               ? "Nothing is proven: the record is not what was signed (`hansard verify`)."
	               : verify_proof_text(&p->report, false);
}

static int proof_exit(const struct proof *p) {
	switch (p->report.result) {
	case VERIFY_OK:
		return CLI_OK;
	case VERIFY_UNVERIFIABLE:
		return CLI_UNVERIFIABLE;
	case VERIFY_BAD:
		return CLI_TAMPERED;
	}
	return CLI_FAILED;
}

/* ---- output ---- */

static struct str hit_text(const struct search_hit *h) {
	return h->parameter == 0 ? str_mem(h->statement, h->statement_n)
	                         : str_mem(h->value, h->value_n);
}

static bool is_middle(char c) {
	return ((uint8_t)c & 0xc0) == 0x80; /* of a character of several bytes */
}

/* One line: white space is one space, what is far from the match is left out. */
static void put_short(struct buf *b, struct str text, struct match_place place, size_t max) {
	size_t from = place.at > BEFORE_MATCH ? place.at - BEFORE_MATCH : 0;
	bool was_space = true;

	if (text.n <= max)
		from = 0;
	while (from > 0 && from < text.n && is_middle(text.p[from]))
		from--;
	size_t end = MIN(text.n, from + max);

	while (end < text.n && end > from && is_middle(text.p[end]))
		end--;
	if (from > 0)
		w_bytes(b, STR("…"));
	for (size_t i = from; i < end; i++) {
		char c = text.p[i];
		bool is_space = c == ' ' || c == '\n' || c == '\t' || c == '\r';

		if (is_space && was_space)
			continue;
		w_u8(b, is_space ? ' ' : (uint8_t)c);
		was_space = is_space;
	}
	if (end < text.n)
		w_bytes(b, STR("…"));
}

static void cell_statement(struct table *t, const struct search_hit *h, bool is_wide) {
	size_t max = is_wide ? SIZE_MAX : SHOWN_MAX;
	struct match_place none = { 0 };
	struct buf b;

	buf_init(&b, 4 * SEARCH_TEXT_MAX);
	if (h->parameter == 0) {
		put_short(&b, hit_text(h), h->place, max);
	} else {
		put_short(&b, str_mem(h->statement, h->statement_n), none, is_wide ? max : max / 2);
		w_fmt(&b, "  $%zu = ", h->parameter);
		put_short(&b, hit_text(h), h->place, is_wide ? max : max / 2);
	}
	table_cell(t, buf_peek(&b));
	buf_fini(&b);
}

static void cell_behalf(struct table *t, const json_t *who) {
	struct str name = json_text(who, "on_behalf_of");
	bool is_verified = json_is_true(json_object_get(who, "on_behalf_of_verified"));

	if (name.n == 0)
		table_cell(t, STR("-"));
	else
		table_cell_fmt(t, "%.*s (%s)", STR_ARG(name), is_verified ? "verified" : "claimed");
}

static void row(struct table *t, const struct search_hit *h, const char *state, bool is_wide) {
	const json_t *who = json_object_get(h->open, "who");
	char local[LOCAL_TEXT_SIZE], utc[TIME_TEXT_SIZE], brief[SHORT_ID_SIZE];

	local_text(local, h->wall_ns);
	time_text(utc, h->wall_ns);
	short_id(brief, h->sid);
	table_cell(t, str_of(local));
	table_cell_fmt(t, "%.*s", is_wide ? 30 : 8, utc + (is_wide ? 0 : 11));
	table_cell(t, json_text(who, "subject"));
	cell_behalf(t, who);
	table_cell(t, json_text(h->open, "connection"));
	table_cell_fmt(t, "%s%s%s", view_status_name(h->status), h->sqlstate[0] != '\0' ? " " : "",
	               h->sqlstate);
	cell_statement(t, h, is_wide);
	table_cell(t, str_of(brief));
	if (state != NULL)
		table_cell(t, str_of(state));
	if (!is_wide)
		return;
	table_cell(t, json_text(h->open, "role"));
	table_cell(t, json_text(who, "run"));
	table_cell_fmt(t, "%llu", (unsigned long long)h->number);
}

static void print_table(const struct search_result *r, const struct proof *p, bool is_wide) {
	const char *heads[12] = { "TIME",       "UTC",     "WHO",       "ON BEHALF OF",
		                  "CONNECTION", "VERDICT", "STATEMENT", "ID" };
	size_t columns = 8;

	if (p->is_done)
		heads[columns++] = "RECORD";
	if (is_wide) {
		heads[columns++] = "ROLE";
		heads[columns++] = "RUN";
		heads[columns++] = "#";
	}
	struct table *t = table_new(heads, columns);
	struct buf b;

	for (size_t i = 0; i < r->count; i++)
		row(t, &r->hit[i],
		    !p->is_done           ? NULL
		    : p->state[i] != NULL ? p->state[i]
		                          : "not verified",
		    is_wide);
	buf_init(&b, 1024 * MIB);
	if (r->count > 0)
		table_print(t, &b, is_wide ? 0 : terminal_width(), terminal_width() > 0);
	if (p->is_done) {
		w_bytes(&b, str_of(proof_text(p)));
		w_u8(&b, '\n');
	}
	print_buf(&b);
	buf_fini(&b);
	table_free(&t);
}

/* Text that is not UTF-8 as base64, as `export` does. */
static void set_text(json_t *o, const char *key, struct str s) {
	if (str_utf8_bad(s) == s.n) {
		(void)json_object_set_new(o, key, json_stringn(s.p != NULL ? s.p : "", s.n));
		return;
	}
	auto_free char *text = xmalloc(4 * ((s.n + 2) / 3) + 1);
	size_t n = base64_encode(text, s.p, s.n);

	(void)json_object_set_new(o, key, json_pack("{s:s%}", "base64", text, n));
}

static void set_count(json_t *o, const char *key, uint64_t v) {
	(void)json_object_set_new(o, key, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

static json_t *hit_json(const struct search_hit *h, const char *state) {
	const json_t *who = json_object_get(h->open, "who");
	char full[UUID_TEXT_SIZE], brief[SHORT_ID_SIZE], utc[TIME_TEXT_SIZE];
	json_t *o = json_object();

	uuid_text(full, h->sid);
	short_id(brief, h->sid);
	time_text(utc, h->wall_ns);
	(void)json_object_set_new(o, "id", json_string(brief));
	(void)json_object_set_new(o, "sid", json_string(full));
	set_count(o, "number", h->number);
	(void)json_object_set_new(o, "received", json_string(utc));
	set_text(o, "subject", json_text(who, "subject"));
	set_text(o, "kind", json_text(who, "kind"));
	set_text(o, "on_behalf_of", json_text(who, "on_behalf_of"));
	(void)json_object_set_new(o, "on_behalf_of_verified",
	                          json_boolean(json_is_true(
					  json_object_get(who, "on_behalf_of_verified"))));
	set_text(o, "run", json_text(who, "run"));
	set_text(o, "connection", json_text(h->open, "connection"));
	set_text(o, "role", json_text(h->open, "role"));
	(void)json_object_set_new(o, "command", json_string(view_kind_name(h->kind)));
	(void)json_object_set_new(o, "status", json_string(view_status_name(h->status)));
	if (h->sqlstate[0] != '\0')
		set_text(o, "sqlstate", str_of(h->sqlstate));
	set_count(o, "rows", h->rows);
	set_text(o, "text", str_mem(h->statement, h->statement_n));
	if (h->parameter != 0) {
		set_count(o, "parameter", h->parameter);
		set_text(o, "value", str_mem(h->value, h->value_n));
	}
	set_text(o, "match", str_head(str_from(hit_text(h), h->place.at), h->place.n));
	if (state != NULL)
		(void)json_object_set_new(o, "record", json_string(state));
	return o;
}

static json_t *result_json(const struct search_result *r, const struct proof *p,
                           const char *index) {
	json_t *hits = json_array();

	for (size_t i = 0; i < r->count; i++)
		(void)json_array_append_new(hits,
		                            hit_json(&r->hit[i], p->is_done ? p->state[i] : NULL));
	json_t *o = json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:s}", "hits", hits, "cut", r->is_cut,
	                      "sessions", (json_int_t)r->sessions, "read", (json_int_t)r->read,
	                      "ruled_out", (json_int_t)r->ruled_out, "unreadable",
	                      (json_int_t)r->unreadable, "index", index);

	if (p->is_done)
		(void)json_object_set_new(o, "proof", json_string(proof_text(p)));
	return o;
}

/* ---- the command ---- */

static void on_trouble(const uint8_t sid[SID_SIZE], const struct err *e) {
	char brief[SHORT_ID_SIZE];

	short_id(brief, sid);
	(void)fprintf(stderr, "hansard: %s: %s (`hansard verify %s` says more)\n", brief, e->text,
	              brief);
}

static void announce(const struct search_args *a, const char *dir) {
	static const char *const modes[] = { "", "exactly ", "by regular expression " };
	struct str words = str_head(buf_peek(&a->words), DETAIL_MAX);
	size_t bad = str_utf8_bad(words);
	auto_free char *detail = xasprintf("%s%.*s", modes[a->mode], (int)MIN(bad, words.n),
	                                   words.p);

	ask_announce_detail(&a->common, dir, "record.searched", str_of(detail));
}

static int report(const struct search_args *a, const struct search_result *r, struct proof *p,
                  const char *index) {
	if (a->common.format == OUT_JSON || a->common.format == OUT_YAML) {
		json_t *doc = result_json(r, p, index);

		print_json(doc, a->common.format);
		json_decref(doc);
	} else {
		print_table(r, p, a->common.format == OUT_WIDE);
		if (r->is_cut)
			(void)fprintf(stderr,
			              "hansard: only the newest %zu hits are shown; --limit 0 "
			              "shows all\n",
			              a->o.limit);
		if (r->count == 0)
			(void)fprintf(stderr, "hansard: nothing was found\n");
	}
	if (a->common.verbose)
		(void)fprintf(stderr,
		              "hansard: %llu sessions: %llu read, %llu ruled out; index: %s\n",
		              (unsigned long long)r->sessions, (unsigned long long)r->read,
		              (unsigned long long)r->ruled_out, index);
	if (p->is_done)
		return proof_exit(p);
	return r->is_tampered ? CLI_TAMPERED : r->unreadable > 0 ? CLI_FAILED : CLI_OK;
}

static int search(struct search_args *a, struct found *f, struct err *e) {
	auto_free char *dir = index_dir(f->dir);
	struct err why = { .code = 0 };
	struct index *x = NULL;
	struct search_result r = { .hit = NULL };
	struct proof p = { .result = &r };

	if (a->no_index)
		(void)err_set(&why, H_EUSAGE, "not asked");
	else
		(void)!index_open_read(&x, dir, &why);
	const char *index = x != NULL ? "used" : why.text;
	int rc = search_run(f->r, x, &a->o, on_trouble, &r, e);

	index_close(&x);
	if (rc == 0 && a->prove)
		rc = prove(&p, f->dir, e);
	if (rc == 0)
		rc = report(a, &r, &p, index);
	else
		rc = find_fail(e);
	free(p.state);
	search_result_fini(&r);
	return rc;
}

int cmd_search(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct search_args a = { .o = { .limit = LIMIT_DEFAULT }, .now = wall_ns() };
	struct match *m = NULL;
	struct found f = { .r = NULL };

	buf_init(&a.words, 2 * MATCH_TEXT_MAX);
	cli_parse(&argp, argc, argv, &a);
	int rc = match_new(&m, a.mode, buf_peek(&a.words), &e);

	a.o.match = m;
	if (rc == 0)
		rc = find_open(&f, &a.common, &e);
	if (rc == 0)
		announce(&a, f.dir);
	rc = rc == 0 ? search(&a, &f, &e) : find_fail(&e);
	find_close(&f);
	match_free(&m);
	buf_fini(&a.words);
	return rc;
}
