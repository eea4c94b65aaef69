/*
 * cmd_ask.c: the small subcommands: check, status, why.
 */
#include "base/clock.h"
#include "config/config.h"
#include "keeper/oidc.h"
#include "main/ask.h"
#include "main/cli.h"
#include "main/search.h"
#include "main/text.h"

struct word_args {
	struct common common;
	bool takes_word;
	const char *word;
	void (*adds)(const struct word_args *a, json_t *doc); /* to the answer, or NULL */
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse_word(int key, char *arg, struct argp_state *state) {
	struct word_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case ARGP_KEY_ARG:
		if (a->word != NULL || !a->takes_word)
			argp_error(state, "too many arguments");
		a->word = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };

/* ---- check ---- */

static const struct argp check_argp = {
	.parser = parse_word,
	.doc = "Check the configuration: file, line, offending key and the nearest known one. Nothing is started or changed.",
	.children = children,
};

static void print_findings(const struct findings *f, const struct common *c, const char *path) {
	struct buf b;
	buf_init(&b, 4 * MIB);
	if (c->format == OUT_JSON || c->format == OUT_YAML) {
		findings_json(f, &b);
		json_t *doc = json_loadb(buf_peek(&b).p, b.len, 0, NULL);
		buf_clear(&b);
		print_json(doc, c->format);
		json_decref(doc);
	} else {
		findings_text(f, &b);
		if (f->errors == 0)
			w_fmt(&b, "%s: ok%s\n", path, f->warnings > 0 ? ", with warnings" : "");
	}
	print_buf(&b);
	buf_fini(&b);
}

/* Key sets in files are read as the keeper will read them. */
static void check_key_sets(const struct config *c, struct findings *f) {
	struct oidc_files files;
	oidc_files_read(&files, c, f);
	oidc_files_free(&files);
}

int cmd_check(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct word_args a = { .word = NULL };
	char path[4096];
	cli_parse(&check_argp, argc, argv, &a);
	if (config_find(a.common.config, path, sizeof(path), &e) < 0)
		return cli_fail(&e);
	struct findings f;
	findings_init(&f);
	struct config *c = config_load(path, &f);
	if (c != NULL)
		config_check_files(c, config_env_process, NULL, &f);
	if (c != NULL && f.errors == 0)
		check_key_sets(c, &f);
	print_findings(&f, &a.common, path);
	int rc = f.errors > 0 ? CLI_FAILED : CLI_OK;
	config_free(&c);
	findings_fini(&f);
	return rc;
}

/* ---- status ---- */

static const struct argp status_argp = {
	.parser = parse_word,
	.doc = "What the running gateway says of itself.",
	.children = children,
};

/* One member per line; nested documents as JSON. */
static void print_members(const json_t *doc) {
	struct buf b;
	buf_init(&b, 4 * MIB);
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)(uintptr_t)doc, key, v) {
		w_fmt(&b, "%-16s ", key);
		if (json_is_string(v)) {
			text_safe(&b, str_mem(json_string_value(v), json_string_length(v)),
			          TEXT_LINE);
		} else {
			auto_free char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
			text_safe(&b, str_of(text), TEXT_LINE);
		}
		w_u8(&b, '\n');
	}
	print_buf(&b);
	buf_fini(&b);
}

static int ask_and_print(struct word_args *a, json_t *ask, void (*print)(const json_t *)) {
	struct err e = { .code = 0 };
	json_t *doc = NULL;
	if (ask_keeper(&a->common, ask, &doc, &e) < 0)
		return cli_fail(&e);
	(void)json_object_del(doc, "ok"); /* of the conversation, not of the answer */
	(void)json_object_del(doc, "done");
	if (a->adds != NULL)
		a->adds(a, doc);
	if (a->common.format == OUT_JSON || a->common.format == OUT_YAML)
		print_json(doc, a->common.format);
	else
		print(doc);
	json_decref(doc);
	return CLI_OK;
}

/* The keeper does not see the index; whoever may ask it may read that too. */
static void add_index(const struct word_args *a, json_t *doc) {
	char store[4096];
	if (common_store(&a->common, store, sizeof(store), NULL) == 0)
		(void)json_object_set_new(doc, "index", search_index_about(store));
}

int cmd_status(int argc, char **argv) {
	struct word_args a = { .adds = add_index };
	cli_parse(&status_argp, argc, argv, &a);
	return ask_and_print(&a, json_pack("{s:s}", "cmd", "status"), print_members);
}

/* ---- why ---- */

static const struct argp why_argp = {
	.parser = parse_word,
	.args_doc = "REF",
	.doc = "Why a client was not admitted: REF is what it was shown, \"not admitted (ref REF)\".",
	.children = children,
};

static void print_why(const json_t *doc) {
	char first[LOCAL_TEXT_SIZE];
	char last[LOCAL_TEXT_SIZE];
	local_text(first, json_count(doc, "first_wall_ns"));
	local_text(last, json_count(doc, "last_wall_ns"));
	struct buf b;
	buf_init(&b, MIB);
	text_safe(&b, json_text(doc, "text"), TEXT_LINE);
	w_fmt(&b, "\n%llu times from ", (unsigned long long)json_count(doc, "count"));
	text_safe(&b, json_text(doc, "source"), TEXT_LINE);
	w_fmt(&b, ", first %s, last %s", first, last);
	if (json_text(doc, "last").n > 0) {
		w_bytes(&b, STR("\nlast time: "));
		text_safe(&b, json_text(doc, "last"), TEXT_LINE);
	}
	w_u8(&b, '\n');
	text_safe(&b, json_text(doc, "advice"), TEXT_LINE);
	w_u8(&b, '\n');
	print_buf(&b);
	buf_fini(&b);
}

int cmd_why(int argc, char **argv) {
	struct word_args a = { .takes_word = true };
	cli_parse(&why_argp, argc, argv, &a);
	if (a.word == NULL)
		return cli_fail(&(struct err){
			.code = H_EUSAGE, .text = "why: which ref? (`hansard why k7m2-9xqe`)" });
	return ask_and_print(&a, json_pack("{s:s, s:s}", "cmd", "why", "ref", a.word), print_why);
}

/* ---- pin ---- */

struct pin_args {
	struct common common;
	const char *words[3]; /* forget CONNECTION ROLE */
	size_t count;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse_pin(int key, char *arg, struct argp_state *state) {
	struct pin_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case ARGP_KEY_ARG:
		if (a->count == ARRAY_LEN(a->words))
			argp_error(state, "too many arguments");
		a->words[a->count++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp pin_argp = {
	.parser = parse_pin,
	.args_doc = "forget CONNECTION ROLE",
	.doc = "Forget the salt and iteration count that a target's SCRAM login was pinned to, after the "
	       "target's administrator has set the same password anew. The next login pins again.",
	.children = children,
};

int cmd_pin(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct pin_args a = { .count = 0 };
	json_t *doc = NULL;
	cli_parse(&pin_argp, argc, argv, &a);
	if (a.count != ARRAY_LEN(a.words) || strcmp(a.words[0], "forget") != 0)
		return cli_fail(
			&(struct err){ .code = H_EUSAGE,
		                       .text = "pin: which? (`hansard pin forget shop default`)" });
	json_t *ask = json_pack("{s:s, s:s, s:s}", "cmd", "pin.forget", "connection", a.words[1],
	                        "role", a.words[2]);
	if (ask_keeper(&a.common, ask, &doc, &e) < 0)
		return cli_fail(&e);
	json_decref(doc);
	(void)fprintf(stderr, "forgotten; the next login of %s.%s pins anew\n", a.words[2],
	              a.words[1]);
	return CLI_OK;
}
