/*
 * cmd_sessions.c: hansard sessions: the list, newest first.
 *
 * Ids are UUIDv7, so their order is that of time: what lies before --since is not even opened.
 */
#include <time.h>

#include "base/clock.h"
#include "main/find.h"
#include "main/text.h"
#include "main/when.h"

enum { KEY_CONNECTION = 0x600, KEY_SUBJECT, KEY_SINCE, KEY_UNTIL, KEY_OPEN, KEY_LIMIT, KEY_ACTS };

struct sessions_args {
	struct common common;
	const char *connection, *subject;
	uint64_t since_ns, until_ns;
	uint64_t limit;
	bool only_open, with_acts;
};

static void take_moment(struct argp_state *state, const char *arg, uint64_t *ret) {
	if (when_parse(str_of(arg), wall_ns(), ret) != 0)
		argp_error(state, "\"%s\": " WHEN_FORMS, arg);
}

static error_t parse(int key, char *arg, struct argp_state *state) {
	struct sessions_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_CONNECTION:
		a->connection = arg;
		return 0;
	case KEY_SUBJECT:
		a->subject = arg;
		return 0;
	case KEY_SINCE:
		take_moment(state, arg, &a->since_ns);
		return 0;
	case KEY_UNTIL:
		take_moment(state, arg, &a->until_ns);
		return 0;
	case KEY_OPEN:
		a->only_open = true;
		return 0;
	case KEY_ACTS:
		a->with_acts = true;
		return 0;
	case KEY_LIMIT:
		if (str_u64(str_of(arg), UINT32_MAX, &a->limit) != 0)
			argp_error(state, "--limit takes a number");
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "too many arguments (`hansard show %s` shows one session)", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "connection", KEY_CONNECTION, "NAME", 0, "only sessions of this connection", 0 },
	{ "subject", KEY_SUBJECT, "NAME", 0, "only of this subject (with or without its issuer)",
	  0 },
	{ "since", KEY_SINCE, "TIME", 0,
	  "only opened since: 2h (ago), 2026-11-21, \"2026-11-21 06:00\"", 0 },
	{ "until", KEY_UNTIL, "TIME", 0, "only opened until then", 0 },
	{ "open", KEY_OPEN, NULL, 0, "only sessions that have not ended", 0 },
	{ "acts", KEY_ACTS, NULL, 0, "also the records of acts on Hansard itself", 0 },
	{ "limit", KEY_LIMIT, "N", 0, "the newest N (0: all)", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "List the sessions on the record, newest first.",
	.children = children,
};

/* ---- the list ---- */

struct listing {
	struct found found;
	const struct sessions_args *a;
	uint8_t (*sid)[SID_SIZE];
	size_t count, cap;
};

static uint64_t sid_wall(const uint8_t sid[SID_SIZE]) {
	uint64_t ms = 0;
	for (size_t i = 0; i < 6; i++)
		ms = ms << 8 | sid[i];
	return ms * NS_PER_MS;
}

static int note_sid(void *arg, const uint8_t sid[SID_SIZE]) {
	struct listing *l = arg;
	uint64_t at = sid_wall(sid);
	if (at + NS_PER_MS <= l->a->since_ns || (l->a->until_ns != 0 && at > l->a->until_ns))
		return 0;
	if (l->count == l->cap) {
		l->cap = MAX(l->cap * 2, (size_t)64);
		l->sid = xrealloc(l->sid, l->cap * SID_SIZE);
	}
	memcpy(l->sid[l->count++], sid, SID_SIZE);
	return 0;
}

static bool is_subject(struct str subject, const char *want) {
	if (want == NULL || str_is(subject, want))
		return true;
	size_t colon = str_find(subject, ':');
	return colon < subject.n && str_is(str_from(subject, colon + 1), want);
}

static bool is_wanted(const struct sessions_args *a, const json_t *s) {
	return (a->with_acts || !str_is(json_text(s, "protocol"), "acts")) &&
	       (a->connection == NULL || str_is(json_text(s, "connection"), a->connection)) &&
	       is_subject(json_text(s, "subject"), a->subject) &&
	       (!a->only_open || json_is_true(json_object_get(s, "open")));
}

static json_t *collect(struct listing *l) {
	json_t *out = json_array();
	for (size_t i = l->count; i > 0; i--) {
		struct err e = { .code = 0 };
		json_t *s = find_describe(&l->found, l->sid[i - 1], false, &e);
		char brief[SHORT_ID_SIZE];
		short_id(brief, l->sid[i - 1]);
		if (s == NULL) {
			(void)fprintf(stderr, "hansard: %s: %s (`hansard verify %s` says more)\n",
			              brief, e.text, brief);
			continue;
		}
		if (is_wanted(l->a, s))
			(void)json_array_append(out, s);
		json_decref(s);
		if (l->a->limit != 0 && json_array_size(out) == l->a->limit)
			break;
	}
	return out;
}

static void cell_number(struct table *t, const json_t *s, const char *key) {
	const json_t *v = json_object_get(s, key);
	if (json_is_integer(v))
		table_cell_fmt(t, "%lld", (long long)json_integer_value(v));
	else
		table_cell(t, STR("-"));
}

static const char *state_of(const json_t *s) {
	return json_is_true(json_object_get(s, "open"))        ? "open"
	       : json_is_true(json_object_get(s, "gap"))       ? "gap"
	       : json_is_true(json_object_get(s, "recovered")) ? "recovered"
	                                                       : "closed";
}

static void cell_local(struct table *t, struct str rfc3339) {
	char text[LOCAL_TEXT_SIZE];
	struct tm tm = { 0 };
	auto_free char *z = str_dup(rfc3339);
	time_t at = strptime(z, "%Y-%m-%dT%H:%M:%S", &tm) != NULL ? timegm(&tm) : 0;
	local_text(text, (uint64_t)at * NS_PER_S);
	table_cell(t, str_of(text));
}

static void print_list(const json_t *list, bool is_wide) {
	static const char *const heads[] = { "ID",           "OPENED", "STATE",    "CONNECTION",
		                             "ROLE",         "KIND",   "COMMANDS", "SUBJECT",
		                             "ON BEHALF OF", "RUN",    "FRAMES",   "SID" };
	size_t columns = is_wide ? ARRAY_LEN(heads) : 9;
	struct table *t = table_new(heads, columns);
	size_t idx;
	json_t *s;
	table_right(t, 6);
	json_array_foreach(list, idx, s) {
		table_cell(t, json_text(s, "id"));
		cell_local(t, json_text(s, "opened"));
		table_cell(t, str_of(state_of(s)));
		table_cell(t, json_text(s, "connection"));
		table_cell(t, json_text(s, "role"));
		table_cell(t, json_text(s, "kind"));
		cell_number(t, s, "commands");
		table_cell(t, json_text(s, "subject"));
		table_cell(t, json_text(s, "on_behalf_of"));
		if (!is_wide)
			continue;
		table_cell(t, json_text(s, "run"));
		cell_number(t, s, "frames");
		table_cell(t, json_text(s, "sid"));
	}
	struct buf b;
	buf_init(&b, 256 * MIB);
	table_print(t, &b, is_wide ? 0 : terminal_width(), terminal_width() > 0);
	print_buf(&b);
	buf_fini(&b);
	table_free(&t);
}

int cmd_sessions(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct sessions_args a = { .limit = 0 };
	cli_parse(&argp, argc, argv, &a);
	struct listing l = { .a = &a };
	int rc = find_open(&l.found, &a.common, &e);
	if (rc == 0)
		rc = reader_each(l.found.r, note_sid, &l);
	if (rc < 0) {
		find_close(&l.found);
		(void)err_set(&e, rc, "the sessions cannot be listed: %s", h_err_text(rc));
		return find_fail(&e);
	}
	ask_announce(&a.common, l.found.dir, "record.viewed", STR_NONE);
	json_t *list = collect(&l);
	if (a.common.format == OUT_JSON || a.common.format == OUT_YAML)
		print_json(list, a.common.format);
	else
		print_list(list, a.common.format == OUT_WIDE);
	json_decref(list);
	free(l.sid);
	find_close(&l.found);
	return CLI_OK;
}
