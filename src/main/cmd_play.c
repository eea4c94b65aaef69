/*
 * cmd_play.c: hansard play: a session as it went, for eyes.
 */
#include "base/clock.h"
#include "main/export.h"
#include "main/play.h"

enum { KEY_SPEED = 0x730, KEY_PAUSE, KEY_JSON };

struct play_args {
	struct one_args one;
	uint64_t speed_milli, max_pause_ns;
	bool as_json;
};

static const struct argp_option options[] = {
	{ "rows", KEY_ROWS, "N", 0,
	  "rows of a result, or messages of a COPY, that are shown (default 1000; 0: all)", 0 },
	{ "speed", KEY_SPEED, "N", 0, "as fast as it went: 1, or 2x, 0.5x (default 0: at once)",
	  0 },
	{ "max-pause", KEY_PAUSE, "TIME", 0, "with --speed: the longest wait (2s, 500ms)", 0 },
	{ "json", KEY_JSON, NULL, 0, "one JSON object per line, as export writes it", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
/* "1", "0.5", "2x": thousandths. */
static int parse_speed(struct str s, uint64_t *ret) {
	uint64_t whole = 0;
	uint64_t part = 0;
	if (s.n > 0 && s.p[s.n - 1] == 'x')
		s = str_head(s, s.n - 1);
	struct str digits = str_cut(&s, '.');
	if (str_u64(digits, 1000, &whole) != 0 ||
	    (s.p != NULL && (s.n == 0 || s.n > 3 || str_u64(s, 999, &part) != 0)))
		return H_EUSAGE;
	for (size_t i = s.n; s.p != NULL && i < 3; i++)
		part *= 10;
	*ret = whole * 1000 + part;
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	struct play_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->one.common;
		return 0;
	case KEY_ROWS:
		if (str_u64(str_of(arg), UINT32_MAX, &a->one.rows) != 0)
			argp_error(state, "--rows takes a number (0: all)");
		return 0;
	case KEY_SPEED:
		if (parse_speed(str_of(arg), &a->speed_milli) != 0)
			argp_error(state, "--speed takes a number like 1, 2x or 0.5x");
		return 0;
	case KEY_PAUSE:
		if (duration_parse(str_of(arg), &a->max_pause_ns) != 0)
			argp_error(state, "--max-pause takes a duration like 500ms or 2s");
		return 0;
	case KEY_JSON:
		a->as_json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->one.id != NULL)
			argp_error(state, "one session at a time");
		a->one.id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "ID",
	.doc = "Show a session as it went: statements, parameters, results, errors, and where the time went. "
	       "\"held\" is from the client's last byte to the moment when the target was handed it.",
	.children = children,
};

static int play(struct play *p, struct found *found, struct err *e) {
	json_t *about = find_describe(found, found->sid, true, e);
	if (about == NULL)
		return e->code;
	play_begin(p, about);
	int rc = feed_session(&p->feed, found->r, found->sid, e);
	play_end(p, about);
	play_fini(p);
	json_decref(about);
	return rc;
}

int cmd_play(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct play_args a = { .one.rows = PLAY_ROWS_DEFAULT };
	cli_parse(&argp, argc, argv, &a);
	struct common *c = &a.one.common;
	if (c->format == OUT_JSON || c->format == OUT_YAML ||
	    (a.as_json && (a.speed_milli != 0 || c->format == OUT_WIDE))) {
		(void)err_set(&e, H_EUSAGE,
		              "play is for eyes; --json alone, or `hansard export ID --as ndjson`, "
		              "is for programs");
		return cli_fail(&e);
	}
	struct play p = { .is_wide = c->format == OUT_WIDE,
		          .rows_max = a.one.rows,
		          .speed_milli = a.speed_milli,
		          .max_pause_ns = a.max_pause_ns };
	struct found found = { .r = NULL };
	int rc = find_one(&found, c, "play", a.one.id, &e);
	if (rc == 0) {
		char full[UUID_TEXT_SIZE];
		uuid_text(full, found.sid);
		ask_announce(c, found.dir, "record.viewed", str_of(full));
		rc = a.as_json ? export_ndjson(&found, found.sid, false, &e) : play(&p, &found, &e);
	}
	find_close(&found);
	return rc < 0 ? find_fail(&e) : CLI_OK;
}
