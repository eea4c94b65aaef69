/*
 * cmd_show.c: hansard show: the facts of one session, what proves it, and its commands without their rows.
 *
 * For people the commands are printed as they are read (play.h, brief), so that a session of any length passes
 * through one buffer. The facts that the session itself learnt (TLS, backend, version) stand in its first events
 * and are fetched by a walk of their own that ends early.
 */
#include "base/clock.h"
#include "main/play.h"
#include "main/relations.h"
#include "main/view_json.h"
#include "record/verify.h"

#define SHOW_MESSAGE_MAX (4 * MIB)
enum { KEY_COMMAND = 0x710, VALUE_SHOWN_MAX = 4096, LEARNT_EVENTS_MAX = 200 };
#define SHOW_JSON_MAX (256 * MIB)

struct show_args {
	struct common common;
	const char *id;
	uint64_t command; /* --command; 0: all */
};

struct show {
	struct found found;
	struct feed feed;
	uint64_t only;
	json_t *learnt; /* facts by name */
	unsigned events;
	/* JSON only */
	json_t *commands, *happened, *relations;
	json_t *noted; /* members of the command whose answer is coming in */
	struct buf text, value;
	uint64_t copies, copy_bytes;
	bool has_begun;
	json_t *proof;
};

static void put_count(json_t *o, const char *key, uint64_t v) {
	(void)json_object_set_new(o, key, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

/* What jw wrote into s->text, as a document. */
static json_t *taken(struct show *s) {
	struct str text = buf_peek(&s->text);
	json_t *doc = json_loadb(text.p != NULL ? text.p : "", text.n, 0, NULL);
	s->text.bad = false;
	buf_clear(&s->text);
	return doc != NULL ? doc : json_object();
}

static void put_time(const struct show *s, json_t *o, const char *key, uint64_t mono) {
	char when[TIME_TEXT_SIZE];
	if (mono == 0)
		return;
	time_text(when, mono + s->feed.wall_minus_mono);
	(void)json_object_set_new(o, key, json_string(when));
}

static void on_begin(void *arg, const struct view_command *c) {
	struct show *s = arg;
	struct jw j = jw_of(&s->text);
	s->has_begun = true;
	s->copies = s->copy_bytes = 0;
	(void)json_object_clear(s->noted);
	jw_obj(&j);
	if (c->kind == VIEW_EXECUTE) {
		jw_kv_str(&j, "statement", c->statement);
		jw_kv_str(&j, "portal", c->portal);
	}
	if (c->kind == VIEW_FUNCTION)
		jw_kv_u64(&j, "function_oid", c->function_oid);
	view_json_params(&j, &s->value, c, s->only != 0 ? SIZE_MAX : VALUE_SHOWN_MAX);
	view_json_claimed(&j, c);
	jw_obj_end(&j);
	json_t *doc = taken(s);
	(void)json_object_update(s->noted, doc);
	json_decref(doc);
}

static void on_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	struct show *s = arg;
	(void)c;
	s->copies++;
	s->copy_bytes += data.n;
	(void)json_object_set_new(s->noted, "copy_direction",
	                          json_string(from_client ? "in" : "out"));
}

static json_t *fields_doc(struct show *s, struct pg_fields fields) {
	struct jw j = jw_of(&s->text);
	view_json_fields(&j, fields);
	return taken(s);
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct show *s = arg;
	json_t *doc = fields_doc(s, fields);
	(void)c;
	(void)json_object_set(s->noted, "sqlstate", json_object_get(doc, "sqlstate"));
	(void)json_object_set_new(s->noted, "error", doc);
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	struct show *s = arg;
	(void)c;
	if (tag.p != NULL)
		(void)json_object_set_new(s->noted, "tag", json_stringn(tag.p, tag.n));
}

static void append(json_t *o, const char *key, json_t *item) {
	json_t *list = json_object_get(o, key);
	if (list == NULL) {
		list = json_array();
		(void)json_object_set_new(o, key, list);
	}
	(void)json_array_append_new(list, item);
}

/* What belongs to no command: in the order of the record, beside the number of commands begun so far. */
static void happened(struct show *s, const char *what, json_t *doc, uint64_t mono) {
	json_t *o = json_pack("{s:s}", "type", what);
	put_time(s, o, "time", mono);
	(void)json_object_update(o, doc);
	json_decref(doc);
	if (s->only == 0)
		(void)json_array_append_new(s->happened, o);
	else
		json_decref(o);
}

static void on_notice(void *arg, const struct view_command *c, struct pg_fields fields,
                      uint64_t now_ns) {
	struct show *s = arg;
	if (c != NULL)
		append(s->noted, "notices", fields_doc(s, fields));
	else
		happened(s, "notice", fields_doc(s, fields), now_ns);
}

static void on_error(void *arg, struct pg_fields fields, uint64_t now_ns) {
	happened(arg, "error", fields_doc(arg, fields), now_ns);
}

static void on_notify(void *arg, const struct pg_notify *n, uint64_t now_ns) {
	struct show *s = arg;
	struct jw j = jw_of(&s->text);
	jw_obj(&j);
	jw_kv_u64(&j, "backend_pid", n->pid);
	jw_kv_str(&j, "channel", n->channel);
	jw_kv_str(&j, "payload", n->payload);
	jw_obj_end(&j);
	happened(s, "notification", taken(s), now_ns);
}

static void on_status(void *arg, const struct pg_param *p, uint64_t now_ns) {
	struct show *s = arg;
	struct jw j = jw_of(&s->text);
	if (!s->has_begun) /* what the server says at login is no change */
		return;
	jw_obj(&j);
	jw_kv_str(&j, "name", p->name);
	jw_kv_str(&j, "value", p->value);
	jw_obj_end(&j);
	happened(s, "parameter", taken(s), now_ns);
}

static void put_spent(json_t *o, const struct view_command *c) {
	struct spent t = spent_of(c);
	if (t.has_total)
		put_count(o, "total_ns", t.total_ns);
	if (t.has_held)
		put_count(o, "held_ns", t.held_ns);
	if (t.has_held && t.has_total)
		put_count(o, "target_ns", t.target_ns);
}

static void on_end(void *arg, const struct view_command *c) {
	struct show *s = arg;
	json_t *o = json_object();
	if (s->only != 0 && s->only != c->number) {
		json_decref(o);
		return;
	}
	put_count(o, "number", c->number);
	put_count(o, "seq", c->seq);
	put_time(s, o, "received", c->received_ns);
	(void)json_object_set_new(o, "kind", json_string(view_kind_name(c->kind)));
	(void)json_object_set_new(o, "status", json_string(view_status_name(c->status)));
	put_count(o, "rows", c->rows);
	put_count(o, "row_bytes", c->row_bytes);
	if (c->rows_kept_out > 0)
		put_count(o, "rows_not_recorded", c->rows_kept_out);
	if (s->copies > 0) {
		put_count(o, "copy_messages", s->copies);
		put_count(o, "copy_bytes", s->copy_bytes);
	}
	put_spent(o, c);
	(void)json_object_update(o, s->noted);
	(void)json_object_clear(s->noted);
	json_t *text = c->has_text ? json_stringn(c->text.p, c->text.n) : NULL;
	(void)json_object_set_new(o, "text", text != NULL ? text : json_null());
	(void)json_array_append_new(s->commands, o);
	s->feed.stop = s->only != 0;
}

/* ---- what the session learnt ---- */

static void on_learnt(void *arg, const struct reader_item *it) {
	struct show *s = arg;
	if (it->kind != FRAME_DATA || it->is_bad)
		return;
	if (it->event.type == REC_FACT && !str_starts(it->event.name, STR("aux.")) &&
	    !str_starts(it->event.name, STR("relation"))) {
		auto_free char *name = str_dup(it->event.name);
		(void)json_object_set_new(s->learnt, name,
		                          json_stringn(it->event.bytes.p, it->event.bytes.n));
	}
	s->feed.stop = ++s->events >= LEARNT_EVENTS_MAX;
}

static int learn(struct show *s, struct err *e) {
	s->feed = (struct feed){ .item = on_learnt, .arg = s };
	int rc = feed_session(&s->feed, s->found.r, s->found.sid, e);
	s->feed = (struct feed){ .view = NULL };
	return rc;
}

static void on_relation(void *arg, const struct reader_item *it) {
	struct show *s = arg;
	if (it->kind == FRAME_DATA && !it->is_bad)
		relations_add(s->relations, &it->event);
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

static void print_facts(const json_t *about, const json_t *learnt, const json_t *proof) {
	struct buf b;
	buf_init(&b, 16 * MIB);
	head_facts(&b, about, learnt);
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
	print_buf(&b);
	buf_fini(&b);
}

static int show_text(struct show *s, const struct common *c, json_t *about, struct err *e) {
	struct play p = { .is_brief = s->only == 0,
		          .is_wide = c->format == OUT_WIDE || s->only != 0,
		          .only = s->only };
	if (s->only == 0) {
		s->proof = prove(s);
		print_facts(about, s->learnt, s->proof);
	}
	play_begin(&p, about);
	int rc = feed_session(&p.feed, s->found.r, s->found.sid, e);
	bool is_missing = s->only != 0 && !p.was_found;
	play_end(&p, about);
	play_fini(&p);
	if (rc == 0 && is_missing)
		rc = err_set(e, H_ENOTFOUND, "the session has no command %llu",
		             (unsigned long long)s->only);
	return rc;
}

static int gather(struct show *s, struct err *e) {
	struct view_handler h = { .arg = s,
		                  .begin = on_begin,
		                  .copy = on_copy,
		                  .complete = on_complete,
		                  .failed = on_failed,
		                  .end = on_end,
		                  .notice = on_notice,
		                  .error = on_error,
		                  .notify = on_notify,
		                  .status = on_status };
	s->noted = json_object();
	buf_init(&s->text, SHOW_JSON_MAX);
	buf_init(&s->value, SHOW_JSON_MAX);
	s->feed.item = on_relation;
	s->feed.arg = s;
	s->feed.view = pg_view_new(&h, SHOW_MESSAGE_MAX);
	int rc = feed_session(&s->feed, s->found.r, s->found.sid, e);
	pg_view_free(&s->feed.view);
	json_decref(s->noted);
	buf_fini(&s->text);
	buf_fini(&s->value);
	if (rc == 0 && s->only != 0 && json_array_size(s->commands) == 0)
		rc = err_set(e, H_ENOTFOUND, "the session has no command %llu",
		             (unsigned long long)s->only);
	return rc;
}

static int show_json(struct show *s, const struct common *c, json_t *about, struct err *e) {
	int rc = 0;
	s->commands = json_array();
	s->happened = json_array();
	s->relations = json_array();
	if (str_is(json_text(about, "protocol"), "postgres"))
		rc = gather(s, e);
	if (rc == 0) {
		s->proof = prove(s);
		(void)json_object_set(about, "learnt", s->learnt);
		(void)json_object_set(about, "proof", s->proof);
		(void)json_object_set(about, "command_list", s->commands);
		(void)json_object_set(about, "happened", s->happened);
		(void)json_object_set(about, "relations", s->relations);
		print_json(about, c->format);
	}
	json_decref(s->commands);
	json_decref(s->happened);
	json_decref(s->relations);
	return rc;
}

static int show(struct show *s, const struct common *c, struct err *e) {
	json_t *about = find_describe(&s->found, s->found.sid, true, e);
	if (about == NULL)
		return e->code;
	s->learnt = json_object();
	int rc = learn(s, e);
	if (rc == 0)
		rc = c->format == OUT_JSON || c->format == OUT_YAML ? show_json(s, c, about, e)
		                                                    : show_text(s, c, about, e);
	json_decref(s->proof);
	json_decref(s->learnt);
	json_decref(about);
	return rc;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	struct show_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_COMMAND:
		if (str_u64(str_of(arg), UINT64_MAX, &a->command) != 0 || a->command == 0)
			argp_error(state, "--command takes a command's number, from 1");
		return 0;
	case ARGP_KEY_ARG:
		if (a->id != NULL)
			argp_error(state, "one session at a time");
		a->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "command", KEY_COMMAND, "N", 0,
	  "this command alone, with its rows and all that is known of it", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "ID",
	.doc = "Show who held a session, from where, to what, under which policy, what proves its record, and its "
	       "commands: statements, parameters, counts of rows, errors, notices, where the time went. -o wide "
	       "cuts nothing.",
	.children = children,
};

int cmd_show(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct show_args a = { .id = NULL };
	cli_parse(&argp, argc, argv, &a);
	struct show s = { .only = a.command };
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
