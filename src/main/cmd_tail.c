/*
 * cmd_tail.c: hansard tail: sessions while they are recorded.
 *
 * What a tap sends stands in the store already. So nothing is lost here when a reader is too slow, or the
 * recorder dies: what the tap did not send is read from the store, up to the frame that comes next.
 *
 *   one session    the view of `play`, going on
 *   all sessions   a line per command when it has ended; so is one session with -o json
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "main/live.h"
#include "main/play.h"

#define TAIL_OUT_MAX (64 * MIB)
#define KEPT_NS (60 * NS_PER_S)
enum { COMMANDS_DEFAULT = 10, SESSIONS_MAX = 65536, KNOWN_MAX = 1024, STATEMENT_MAX = 4096 };
enum { KEY_START = 0x710 };

/* ---- reading on ---- */

struct tail {
	struct common *common;
	struct found found;
	struct live live;
	struct frame_codec *codec;
	struct map *known; /* all: sid → struct one */
	struct buf out;
	uint64_t begun_wall, forgot_mono;
	bool is_lines;
	struct err *e;
};

struct one {
	uint8_t sid[SID_SIZE];
	struct play play;  /* of its own */
	struct feed *feed; /* play's, or that of the lines */
	struct feed line_feed;
	struct tail *t;
	json_t *about;
	uint64_t next; /* frame expected */
	uint64_t closed_mono;
	char sqlstate[8];
	bool is_closed, is_ignored;
};

static int take_frame(struct one *o, const struct frame *f) {
	o->next = f->head.frame_no + 1;
	o->is_closed = o->is_closed || f->head.kind == FRAME_CLOSE;
	return feed_frame(o->feed, o->t->codec, f, o->t->e);
}

/* From the store what the tap did not send. */
static int catch_up(struct one *o) {
	struct tail *t = o->t;
	struct reader_session *x = NULL;
	struct frame f;
	int rc = reader_refresh(t->found.r, t->e);
	if (rc == 0)
		rc = reader_session_open(&x, t->found.r, o->sid, t->e);
	while (rc >= 0 && (rc = reader_session_next(x, &f, t->e)) > 0) {
		if (f.head.frame_no >= o->next)
			rc = take_frame(o, &f);
	}
	reader_session_close(&x);
	return MIN(rc, 0);
}

static int on_frame(struct one *o, struct str bytes) {
	struct frame f;
	if (frame_parse(&f, bytes) != (int)bytes.n)
		return err_set(o->t->e, H_EPROTO, "the recorder sent what is no frame");
	if (f.head.frame_no > o->next) {
		int rc = catch_up(o);
		if (rc < 0)
			return rc;
	}
	if (f.head.frame_no > o->next)
		return err_set(o->t->e, H_ETAMPERED, "frame %llu is missing from the record",
		               (unsigned long long)o->next);
	return f.head.frame_no == o->next ? take_frame(o, &f) : 0;
}

/* ---- lines ---- */

static const char *who_text(const json_t *about, char *out, size_t cap) {
	struct str subject = json_text(about, "subject"), human = json_text(about, "on_behalf_of");
	(void)snprintf(out, cap, "%.*s%s%.*s", STR_ARG(subject), human.n != 0 ? " for " : "",
	               STR_ARG(human));
	return out;
}

static void put_json_line(struct one *o, const struct view_command *c, uint64_t wall) {
	struct buf *b = &o->t->out;
	char when[LOCAL_TEXT_SIZE], full[UUID_TEXT_SIZE];
	struct buf line;
	buf_init(&line, TAIL_OUT_MAX);
	struct jw j = jw_of(&line);
	local_text(when, wall);
	uuid_text(full, o->sid);
	jw_obj(&j);
	jw_kv_u64(&j, "wall_ns", wall);
	jw_kv_z(&j, "session", full);
	jw_kv_str(&j, "id", json_text(o->about, "id"));
	jw_kv_str(&j, "subject", json_text(o->about, "subject"));
	jw_kv_str(&j, "on_behalf_of", json_text(o->about, "on_behalf_of"));
	jw_kv_str(&j, "connection", json_text(o->about, "connection"));
	jw_kv_u64(&j, "command", c->number);
	jw_kv_z(&j, "kind", view_kind_name(c->kind));
	jw_kv_z(&j, "status", view_status_name(c->status));
	jw_kv_z(&j, "sqlstate", o->sqlstate);
	jw_kv_u64(&j, "rows", c->rows);
	if (c->has_text)
		jw_kv_str(&j, "statement", c->text);
	jw_obj_end(&j);
	text_json(b, buf_peek(&line));
	w_u8(b, '\n');
	buf_fini(&line);
}

static void put_text_line(struct one *o, const struct view_command *c, uint64_t wall) {
	struct buf *b = &o->t->out, line, safe;
	char when[LOCAL_TEXT_SIZE], who[256];
	size_t width = terminal_width();
	buf_init(&line, STATEMENT_MAX * 2);
	buf_init(&safe, STATEMENT_MAX * 16);
	local_text(when, wall);
	w_fmt(&line, "%s  %.*s  %s  %.*s  %s", when, STR_ARG(json_text(o->about, "id")),
	      who_text(o->about, who, sizeof(who)), STR_ARG(json_text(o->about, "connection")),
	      view_status_name(c->status));
	if (o->sqlstate[0] != '\0')
		w_fmt(&line, " %s", o->sqlstate);
	w_bytes(&line, STR("  "));
	w_bytes(&line,
	        c->has_text ? str_head(c->text, STATEMENT_MAX) : str_of(view_kind_name(c->kind)));
	text_safe(&safe, buf_peek(&line), TEXT_LINE);
	w_bytes(b, width > 0 ? text_fit(buf_peek(&safe), width) : buf_peek(&safe));
	w_u8(b, '\n');
	buf_fini(&line);
	buf_fini(&safe);
}

static void line_end(void *arg, const struct view_command *c) {
	struct one *o = arg;
	uint64_t at = c->answered_ns != 0 ? c->answered_ns : c->received_ns;
	uint64_t wall = at + o->line_feed.wall_minus_mono;
	if (wall >= o->t->begun_wall) {
		if (o->t->common->format == OUT_JSON)
			put_json_line(o, c, wall);
		else
			put_text_line(o, c, wall);
		print_buf(&o->t->out);
	}
	o->sqlstate[0] = '\0';
}

static void line_failed(void *arg, const struct view_command *c unused_arg,
                        struct pg_fields fields) {
	struct one *o = arg;
	struct pg_field f;
	while (pg_fields_next(&fields, &f)) {
		if (f.code == 'C')
			(void)str_copy(o->sqlstate, sizeof(o->sqlstate), str_head(f.value, 5));
	}
}

/* ---- sessions ---- */

static int describe(struct one *o) {
	struct tail *t = o->t;
	int rc = reader_refresh(t->found.r, t->e);
	if (rc < 0)
		return rc;
	json_decref(o->about);
	o->about = find_describe(&t->found, o->sid, true, t->e);
	return o->about != NULL ? 0 : t->e->code;
}

static struct one *one_new(struct tail *t, const uint8_t sid[SID_SIZE]) {
	struct one *o = xcalloc(1, sizeof(*o));
	memcpy(o->sid, sid, SID_SIZE);
	o->t = t;
	o->feed = &o->line_feed;
	return o;
}

static void one_free(struct one *o) {
	if (o->feed == &o->play.feed)
		play_fini(&o->play);
	pg_view_free(&o->line_feed.view);
	json_decref(o->about);
	free(o);
}

static int begin_lines(struct one *o) {
	struct view_handler h = { .arg = o, .end = line_end, .failed = line_failed };
	int rc = describe(o);
	if (rc < 0)
		return rc;
	o->is_ignored = !str_is(json_text(o->about, "protocol"), "postgres");
	if (!o->is_ignored)
		o->line_feed.view = pg_view_new(&h, 64 * KIB);
	return o->is_ignored ? 0 : catch_up(o);
}

/* What was caught up from the store still comes by the tap: a session that ended stays known for a while. */
static void settle(struct one *o) {
	if (!o->is_closed || o->is_ignored)
		return;
	pg_view_free(&o->line_feed.view);
	o->is_ignored = true;
	o->next = UINT64_MAX;
	o->closed_mono = mono_ns();
}

/* The session of a frame of a tap of all; NULL with t->e when it cannot be read. */
static struct one *one_of(struct tail *t, const uint8_t sid[SID_SIZE]) {
	struct one *o = map_get(t->known, str_mem(sid, SID_SIZE));
	void *old;
	if (o != NULL)
		return o;
	o = one_new(t, sid);
	int rc = begin_lines(o);
	settle(o);
	if (rc < 0 || map_put(t->known, str_mem(o->sid, SID_SIZE), o, &old) < 0) {
		one_free(o);
		return NULL;
	}
	return o;
}

struct known_list {
	struct one **one;
	size_t n;
};

static void collect(void *arg, struct str key unused_arg, void *value) {
	struct known_list *l = arg;
	l->one[l->n++] = value;
}

static struct known_list known_of(struct tail *t) {
	struct known_list l = { .one = xcalloc(map_count(t->known) + 1, sizeof(struct one *)) };
	map_each(t->known, collect, &l);
	return l;
}

static void forget_old(struct tail *t) {
	uint64_t now = mono_ns();
	if (map_count(t->known) < KNOWN_MAX || now - t->forgot_mono < KEPT_NS)
		return;
	struct known_list l = known_of(t);
	for (size_t i = 0; i < l.n; i++) {
		if (l.one[i]->closed_mono == 0 || now - l.one[i]->closed_mono < KEPT_NS)
			continue;
		(void)map_del(t->known, str_mem(l.one[i]->sid, SID_SIZE));
		one_free(l.one[i]);
	}
	free(l.one);
	t->forgot_mono = now;
}

/* ---- all sessions ---- */

static int all_frame(struct tail *t, struct str bytes) {
	struct frame f;
	if (frame_parse(&f, bytes) != (int)bytes.n)
		return err_set(t->e, H_EPROTO, "the recorder sent what is no frame");
	struct one *o = one_of(t, f.head.sid);
	if (o == NULL)
		return t->e->code;
	int rc = o->is_ignored ? 0 : on_frame(o, bytes);
	settle(o);
	forget_old(t);
	return rc;
}

static int all_catch_up(struct tail *t) {
	struct known_list l = known_of(t);
	int rc = 0;
	for (size_t i = 0; i < l.n && rc == 0; i++) {
		rc = l.one[i]->is_ignored ? 0 : catch_up(l.one[i]);
		settle(l.one[i]);
	}
	free(l.one);
	return rc;
}

static int reattach(struct tail *t) {
	(void)fprintf(stderr, "hansard: the recorder is away; waiting for it\n");
	return live_reattach(&t->live, t->e);
}

static int tail_all(struct tail *t) {
	int rc = live_attach(&t->live, t->e);
	struct tap_item it;
	bool has_hello = false;
	while (rc == 0) {
		rc = live_next(&t->live, &it, -1);
		if (rc == H_ECLOSED && !has_hello)
			return err_set(t->e, H_ELIMIT, "too many readers watch already");
		if (rc == H_ECLOSED) {
			rc = reattach(t);
			if (rc == 0)
				rc = all_catch_up(t);
			continue;
		}
		if (rc < 0)
			return err_set(t->e, rc, "the recorder is not understood");
		has_hello = has_hello || it.kind == TAP_HELLO;
		rc = it.kind == TAP_FRAME  ? all_frame(t, it.body)
		     : it.kind == TAP_LOST ? all_catch_up(t)
		                           : 0;
	}
	return rc;
}

/* ---- one session ---- */

static void count_end(void *arg, const struct view_command *c) {
	(void)c;
	++*(uint64_t *)arg;
}

/* Commands that are there already, and are not shown. */
static uint64_t to_skip(struct tail *t, uint64_t wanted) {
	uint64_t n = 0;
	struct view_handler h = { .arg = &n, .end = count_end };
	struct feed f = { .view = pg_view_new(&h, 64 * KIB) };
	struct err e = { .code = 0 };
	(void)!feed_session(&f, t->found.r, t->found.sid, &e);
	pg_view_free(&f.view);
	return n > wanted ? n - wanted : 0;
}

static void show(struct one *o) {
	if (o->feed == &o->play.feed)
		play_flush(&o->play);
}

/* Until the session ends. */
static int follow(struct one *o) {
	struct tail *t = o->t;
	struct tap_item it;
	bool has_hello = false;
	int rc = catch_up(o);
	while (rc == 0 && !o->is_closed) {
		show(o);
		rc = live_next(&t->live, &it, -1);
		if (rc == H_ECLOSED && !has_hello)
			return err_set(t->e, H_ELIMIT, "too many readers watch already");
		if (rc == H_ECLOSED) {
			rc = reattach(t);
			if (rc == 0)
				rc = catch_up(o);
			continue;
		}
		if (rc < 0)
			return err_set(t->e, rc, "the recorder is not understood");
		has_hello = has_hello || it.kind == TAP_HELLO;
		rc = it.kind == TAP_FRAME   ? on_frame(o, it.body)
		     : it.kind == TAP_HELLO ? 0
		                            : catch_up(o);
		if (it.kind == TAP_END)
			break;
	}
	return MIN(rc, 0);
}

static int tail_one(struct tail *t, uint64_t commands, bool is_wide) {
	struct one *o = one_new(t, t->found.sid);
	int rc = live_attach(&t->live, t->e);
	if (rc == 0 && t->is_lines) {
		t->begun_wall = 0;
		rc = begin_lines(o);
	} else if (rc == 0) {
		rc = describe(o);
		if (rc == 0) {
			o->feed = &o->play.feed;
			o->play.is_wide = is_wide;
			o->play.rows_max = PLAY_ROWS_DEFAULT;
			o->play.skip = to_skip(t, commands);
			play_begin(&o->play, o->about);
		}
	}
	if (rc == 0)
		rc = follow(o);
	if (rc == 0 && !t->is_lines) {
		rc = describe(o);
		if (rc == 0)
			play_end(&o->play, o->about);
	}
	one_free(o);
	return rc;
}

/* ---- the command ---- */

struct tail_args {
	struct common common;
	const char *id;
	uint64_t commands;
	bool is_wide;
};

static error_t parse(int key, char *arg, struct argp_state *state) {
	struct tail_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case 'n':
		if (str_u64(str_of(arg), 1000000, &a->commands) < 0)
			argp_error(state, "-n takes a number of commands");
		return 0;
	case KEY_START:
		a->commands = UINT64_MAX;
		return 0;
	case ARGP_KEY_ARG:
		if (a->id != NULL)
			argp_error(state, "one session, or none");
		a->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "commands", 'n', "N", 0, "begin with the last N commands (default 10)", 0 },
	{ "from-start", KEY_START, NULL, 0, "begin with the first command", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "[ID]",
	.doc = "Watch a session while it is recorded, as play shows it; without ID, a line for each command "
	       "of every session when it has ended. With -o json, a JSON line for each. A gateway must run; the "
	       "view is on the record. Ends with the session, or with Ctrl-C.",
	.children = children,
};

static int run(struct tail *t, const struct tail_args *a) {
	char full[UUID_TEXT_SIZE];
	int rc = a->id != NULL ? find_one(&t->found, &a->common, "tail", a->id, t->e)
	                       : find_open(&t->found, &a->common, t->e);
	if (rc < 0)
		return rc;
	uuid_text(full, t->found.sid);
	live_init(&t->live, t->found.dir, a->id != NULL ? full : NULL);
	rc = a->id != NULL ? tail_one(t, a->commands, a->common.format == OUT_WIDE) : tail_all(t);
	live_fini(&t->live);
	return rc;
}

int cmd_tail(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct tail_args a = { .commands = COMMANDS_DEFAULT };
	cli_parse(&argp, argc, argv, &a);
	if (a.common.format == OUT_YAML) {
		(void)err_set(&e, H_EUSAGE, "tail goes on; -o takes table, wide or json here");
		return cli_fail(&e);
	}
	struct tail t = { .common = &a.common,
		          .codec = frame_codec_new(),
		          .known = map_new(SESSIONS_MAX),
		          .begun_wall = wall_ns(),
		          .is_lines = a.common.format == OUT_JSON,
		          .e = &e };
	buf_init(&t.out, TAIL_OUT_MAX);
	int rc = run(&t, &a);
	find_close(&t.found);
	buf_fini(&t.out);
	map_free(&t.known);
	frame_codec_free(&t.codec);
	return rc < 0 ? find_fail(&e) : CLI_OK;
}
