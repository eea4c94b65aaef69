/*
 * cmd_show.c: hansard show: the facts of one session, what proves it, and a line per command.
 */
#include "base/clock.h"
#include "main/feed.h"
#include "main/head.h"
#include "main/text.h"
#include "record/verify.h"

#define SHOW_MESSAGE_MAX (4 * MIB)
enum { TEXT_SHOWN_MAX = 400 };

struct show {
	struct found found;
	struct feed feed;
	json_t *commands;
	json_t *noted; /* sqlstate and tag of the command whose answer is coming in */
	json_t *proof;
};

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct show *s = arg;
	struct pg_field f;
	(void)c;
	while (pg_fields_next(&fields, &f))
		if (f.code == 'C')
			(void)json_object_set_new(s->noted, "sqlstate",
			                          json_stringn(f.value.p, f.value.n));
}

static void put_count(json_t *o, const char *key, uint64_t v) {
	(void)json_object_set_new(o, key, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	struct show *s = arg;
	(void)c;
	if (tag.p != NULL)
		(void)json_object_set_new(s->noted, "tag", json_stringn(tag.p, tag.n));
}

static void on_end(void *arg, const struct view_command *c) {
	struct show *s = arg;
	struct spent t = spent_of(c);
	char when[TIME_TEXT_SIZE];
	json_t *o = json_object();
	time_text(when, c->received_ns + s->feed.wall_minus_mono);
	put_count(o, "number", c->number);
	(void)json_object_set_new(o, "received", json_string(when));
	(void)json_object_set_new(o, "kind", json_string(view_kind_name(c->kind)));
	(void)json_object_set_new(o, "status", json_string(view_status_name(c->status)));
	put_count(o, "rows", c->rows);
	if (c->rows_kept_out > 0)
		put_count(o, "rows_not_recorded", c->rows_kept_out);
	if (t.has_total)
		put_count(o, "total_ns", t.total_ns);
	if (t.has_held)
		put_count(o, "held_ns", t.held_ns);
	(void)json_object_update(o, s->noted);
	(void)json_object_clear(s->noted);
	json_t *text = c->has_text ? json_stringn(c->text.p, c->text.n) : NULL;
	(void)json_object_set_new(o, "text", text != NULL ? text : json_null());
	(void)json_array_append_new(s->commands, o);
}

/* ---- what proves it ---- */

static void note_session(void *arg, const struct verify_session *v) {
	json_t *o = arg;
	(void)json_object_set_new(o, "state", json_string(verify_state_text(v->state)));
	put_count(o, "frames", v->frames);
	put_count(o, "frames_signed", v->frames_signed);
	if (v->text[0] != '\0')
		(void)json_object_set_new(o, "text", json_string(v->text));
}

static json_t *prove(const struct show *s) {
	json_t *o = json_object();
	struct err e = { .code = 0 };
	struct verify_report r;
	struct verify_options v = { .only_sid = s->found.sid,
		                    .arg = o,
		                    .on_session = note_session };
	if (verify_store(s->found.dir, &v, &r, &e) < 0) {
		(void)json_object_set_new(o, "state", json_string("cannot be verified"));
		(void)json_object_set_new(o, "text", json_string(e.text));
		return o;
	}
	(void)json_object_set_new(o, "proof", json_string(verify_proof_text(&r, false)));
	return o;
}

/* ---- output ---- */

static void print_commands(const json_t *commands, bool is_wide) {
	static const char *const heads[] = { "#",  "RECEIVED (UTC)", "KIND", "STATUS", "ROWS",
		                             "MS", "STATEMENT" };
	struct table *t = table_new(heads, ARRAY_LEN(heads));
	size_t idx;
	json_t *c;
	table_right(t, 0);
	table_right(t, 4);
	table_right(t, 5);
	json_array_foreach(commands, idx, c) {
		struct str state = json_text(c, "sqlstate");
		struct str text = json_text(c, "text");
		table_cell_fmt(t, "%llu", (unsigned long long)json_count(c, "number"));
		table_cell(t, str_head(str_from(json_text(c, "received"), 11), 12));
		table_cell(t, json_text(c, "kind"));
		table_cell_fmt(t, "%.*s%s%.*s", STR_ARG(json_text(c, "status")),
		               state.n > 0 ? " " : "", STR_ARG(state));
		table_cell_fmt(t, "%llu", (unsigned long long)json_count(c, "rows"));
		if (json_object_get(c, "total_ns") != NULL)
			table_cell_fmt(t, "%.3f", (double)json_count(c, "total_ns") / 1e6);
		else
			table_cell(t, STR("-"));
		table_cell(t, is_wide ? text : str_head(text, TEXT_SHOWN_MAX));
	}
	struct buf b;
	buf_init(&b, 256 * MIB);
	table_print(t, &b, is_wide ? 0 : terminal_width(), terminal_width() > 0);
	print_buf(&b);
	buf_fini(&b);
	table_free(&t);
}

static void print_facts(const json_t *about, const json_t *proof) {
	struct buf b;
	buf_init(&b, 16 * MIB);
	head_facts(&b, about);
	w_fmt(&b, "%-14s ", "record");
	text_safe(&b, json_text(proof, "state"), TEXT_LINE);
	w_fmt(&b, ", %llu frames, %llu of them signed\n",
	      (unsigned long long)json_count(proof, "frames"),
	      (unsigned long long)json_count(proof, "frames_signed"));
	if (json_text(proof, "text").n > 0) {
		w_fmt(&b, "%-14s ", "");
		text_safe(&b, json_text(proof, "text"), TEXT_LINE);
		w_u8(&b, '\n');
	}
	w_u8(&b, '\n');
	print_buf(&b);
	buf_fini(&b);
}

static int show(struct show *s, const struct common *c, struct err *e) {
	struct view_handler h = {
		.arg = s, .complete = on_complete, .failed = on_failed, .end = on_end
	};
	json_t *about = find_describe(&s->found, s->found.sid, true, e);
	if (about == NULL)
		return e->code;
	if (str_is(json_text(about, "protocol"), "postgres"))
		s->feed.view = pg_view_new(&h, SHOW_MESSAGE_MAX);
	s->commands = json_array();
	s->noted = json_object();
	int rc = feed_session(&s->feed, s->found.r, s->found.sid, e);
	pg_view_free(&s->feed.view);
	json_decref(s->noted);
	s->proof = prove(s);
	if (c->format == OUT_JSON || c->format == OUT_YAML) {
		(void)json_object_set(about, "proof", s->proof);
		(void)json_object_set(about, "command_list", s->commands);
		print_json(about, c->format);
	} else {
		print_facts(about, s->proof);
		print_commands(s->commands, c->format == OUT_WIDE);
	}
	json_decref(s->proof);
	json_decref(s->commands);
	json_decref(about);
	return rc;
}

static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.parser = one_parse,
	.args_doc = "ID",
	.doc = "Show who held a session, from where, to what, under which policy, what proves its record, and its "
	       "commands.",
	.children = children,
};

int cmd_show(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct one_args a = { .id = NULL };
	cli_parse(&argp, argc, argv, &a);
	struct show s = { .commands = NULL };
	int rc = find_one(&s.found, &a.common, "show", a.id, &e);
	if (rc == 0) {
		char full[UUID_TEXT_SIZE];
		uuid_text(full, s.found.sid);
		ask_announce(&a.common, s.found.dir, "record.viewed", str_of(full));
		rc = show(&s, &a.common, &e);
	}
	find_close(&s.found);
	return rc < 0 ? find_fail(&e) : CLI_OK;
}
