/*
 * ask.c: see ask.h. YAML output is made from the same JSON document, with every string and key quoted as
 * JSON quotes it: valid YAML 1.2, and nothing recorded can be mistaken for a number or a tag.
 */
#include "main/ask.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/clock.h"
#include "config/config.h"
#include "ipc/ctl.h"
#include "main/text.h"

/* ---- options ---- */

enum { KEY_CONFIG = 0x400, KEY_STORE };

static int parse_format(const char *text, enum out_format *out) {
	static const char *const names[] = { "table", "wide", "json", "yaml" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum out_format)i;
			return 0;
		}
	return H_EUSAGE;
}

static error_t parse_common(int key, char *arg, struct argp_state *state) {
	struct common *c = state->input;
	switch (key) {
	case KEY_CONFIG:
		c->config = arg;
		return 0;
	case KEY_STORE:
		c->store = arg;
		return 0;
	case 'v':
		c->verbose = true;
		return 0;
	case 'o':
		if (parse_format(arg, &c->format) != 0)
			argp_error(state, "-o takes table, wide, json or yaml");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

#define ROW_CONFIG \
	{ \
		"config", KEY_CONFIG, "FILE", 0, \
			"the configuration (default: HANSARD_CONFIG, then the usual places)", 0 \
	}
#define ROW_VERBOSE \
	{ "verbose", 'v', NULL, 0, "say more", 0 }
#define ROW_OUTPUT \
	{ "output", 'o', "FORMAT", 0, "table, wide, json or yaml", 0 }
#define ROW_STORE \
	{ \
		"store", KEY_STORE, "DIR", 0, \
			"read this store (or a copy of one) instead of the configured one", 0 \
	}

static const struct argp_option config_options[] = { ROW_CONFIG, ROW_VERBOSE, { 0 } };
static const struct argp_option format_options[] = { ROW_CONFIG, ROW_OUTPUT, ROW_VERBOSE, { 0 } };
static const struct argp_option store_options[] = {
	ROW_CONFIG, ROW_STORE, ROW_OUTPUT, ROW_VERBOSE, { 0 }
};
static const struct argp_option plain_options[] = { ROW_CONFIG, ROW_STORE, ROW_VERBOSE, { 0 } };

const struct argp common_plain_argp = { .options = plain_options, .parser = parse_common };
const struct argp common_config_argp = { .options = config_options, .parser = parse_common };
const struct argp common_argp = { .options = format_options, .parser = parse_common };
const struct argp common_store_argp = { .options = store_options, .parser = parse_common };

int common_store(const struct common *c, char *out, size_t cap, struct err *e) {
	if (c->store != NULL)
		return str_copy(out, cap, str_of(c->store))
		               ? 0
		               : err_set(e, H_ELIMIT, "the path is too long");
	char path[4096];
	int rc = config_find(c->config, path, sizeof(path), e);
	if (rc < 0)
		return rc;
	return config_store_path(path, out, cap, e);
}

/* ---- the keeper ---- */

struct answers {
	json_t *doc;
	struct err *e;
};

/* Joins the pages of an answer. */
static int on_answer(void *arg, struct str text) {
	struct answers *a = arg;
	json_t *doc = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(doc)) {
		json_decref(doc);
		return err_set(a->e, H_EFORMAT,
		               "the gateway's answer is not understood; is it of another version?");
	}
	if (!json_is_true(json_object_get(doc, "ok"))) {
		const char *sentence = json_string_value(json_object_get(doc, "error"));
		int rc = err_set(a->e, H_EREFUSED, "%s",
		                 sentence != NULL ? sentence : "the gateway refused");
		json_decref(doc);
		return rc;
	}
	json_t *items = json_object_get(doc, "items");
	json_t *before = json_object_get(a->doc, "items");
	if (items != NULL && before != NULL)
		(void)json_array_extend(before, items);
	if (before != NULL)
		(void)json_object_del(doc, "items");
	(void)json_object_update(a->doc, doc);
	json_decref(doc);
	return 0;
}

int ask_keeper(const struct common *c, json_t *ask, json_t **ret, struct err *e) {
	char store[4096];
	int rc = common_store(c, store, sizeof(store), e);
	auto_free char *text = rc == 0 ? json_dumps(ask, JSON_COMPACT) : NULL;
	json_decref(ask);
	if (rc < 0)
		return rc;
	if (text == NULL)
		return err_set(e, H_EENCODING, "the arguments are not UTF-8");
	struct answers a = { .doc = json_object(), .e = e };
	rc = ctl_call(store, str_of(text), on_answer, &a, e);
	if (rc < 0) {
		json_decref(a.doc);
		return rc;
	}
	*ret = a.doc;
	return 0;
}

static int ignore_answer(void *arg, struct str text) {
	(void)arg;
	(void)text;
	return 0;
}

static void announce(const struct common *c, const char *store, const char *act, const char *member,
                     struct str value) {
	struct err e = { .code = 0 };
	json_t *ask = json_pack("{s:s, s:s}", "cmd", "act", "act", act);
	if (value.n > 0)
		(void)json_object_set_new(ask, member, json_stringn(value.p, value.n));
	auto_free char *text = json_dumps(ask, JSON_COMPACT);
	json_decref(ask);
	int rc = text != NULL ? ctl_call(store, str_of(text), ignore_answer, NULL, &e)
	                      : H_EENCODING;
	if (rc < 0 && c->verbose)
		(void)fprintf(stderr, "hansard: this reading is not on the record: %s\n", e.text);
}

void ask_announce(const struct common *c, const char *store, const char *act, struct str session) {
	announce(c, store, act, "session", session);
}

void ask_announce_detail(const struct common *c, const char *store, const char *act,
                         struct str detail) {
	announce(c, store, act, "detail", detail);
}

/* ---- output ---- */

struct str json_text(const json_t *doc, const char *key) {
	const json_t *v = json_object_get(doc, key);
	return json_is_string(v) ? str_mem(json_string_value(v), json_string_length(v)) : STR_NONE;
}

uint64_t json_count(const json_t *doc, const char *key) {
	json_int_t v = json_integer_value(json_object_get(doc, key));
	return v > 0 ? (uint64_t)v : 0;
}

static void put_scalar(struct buf *b, const json_t *v) {
	auto_free char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	text_json(b, text != NULL ? str_of(text) : STR("null"));
}

enum { YAML_DEPTH_MAX = 32 };
#define DOC_TEXT_MAX (1024 * MIB)

static bool is_nested(const json_t *v) {
	return json_is_object(v) ? json_object_size(v) > 0 : json_array_size(v) > 0;
}

static void put_indent(struct buf *b, int depth, bool is_inline) {
	if (!is_inline)
		w_fmt(b, "%*s", depth * 2, "");
}

/* Depth is bounded; what lies deeper is written as JSON, which is YAML too. */
/* NOLINTNEXTLINE(misc-no-recursion): a tree of bounded depth */
static void put_yaml(struct buf *b, const json_t *v, int depth, bool in_list) {
	const char *key;
	json_t *item;
	size_t idx;
	bool is_inline = in_list;
	if (!is_nested(v) || depth >= YAML_DEPTH_MAX) {
		put_scalar(b, v);
		w_u8(b, '\n');
		return;
	}
	if (json_is_object(v)) {
		json_object_foreach((json_t *)(uintptr_t)v, key, item) {
			json_t *name = json_string(key);
			put_indent(b, depth, is_inline);
			put_scalar(b, name);
			json_decref(name);
			w_bytes(b, is_nested(item) ? STR(":\n") : STR(": "));
			put_yaml(b, item, depth + 1, false);
			is_inline = false;
		}
		return;
	}
	json_array_foreach(v, idx, item) {
		put_indent(b, depth, is_inline);
		w_bytes(b, STR("- "));
		put_yaml(b, item, depth + 1, true);
		is_inline = false;
	}
}

void print_json(const json_t *doc, enum out_format format) {
	struct buf b;
	buf_init(&b, DOC_TEXT_MAX);
	if (format == OUT_YAML) {
		put_yaml(&b, doc, 0, false);
	} else {
		auto_free char *text = json_dumps(doc, JSON_INDENT(2) | JSON_ENCODE_ANY);
		text_json(&b, text != NULL ? str_of(text) : STR("null"));
		w_u8(&b, '\n');
	}
	print_buf(&b);
	buf_fini(&b);
}

void local_text(char out[LOCAL_TEXT_SIZE], uint64_t wall) {
	time_t t = (time_t)(wall / NS_PER_S);
	struct tm tm;
	if (localtime_r(&t, &tm) == NULL ||
	    strftime(out, LOCAL_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)str_copy(out, LOCAL_TEXT_SIZE, STR("?"));
}

size_t terminal_width(void) {
	struct winsize w;
	if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 ||
	    w.ws_col == 0)
		return 0;
	return w.ws_col;
}

void print_buf(struct buf *b) {
	struct str s = buf_peek(b);
	errno = 0;
	if ((s.n > 0 && fwrite(s.p, 1, s.n, stdout) != s.n) || fflush(stdout) != 0) {
		if (errno == EPIPE)
			exit(128 + SIGPIPE);
		(void)fprintf(stderr, "hansard: the output cannot be written: %s\n",
		              strerror(errno));
		exit(CLI_FAILED);
	}
	if (b->bad) {
		(void)fprintf(stderr,
		              "hansard: a part of the output was too large to be written\n");
		exit(CLI_FAILED);
	}
	buf_clear(b);
}
