/*
 * cmd_token.c: hansard token: issue, list, revoke short-lived credentials of the local issuer.
 *
 *   hansard token --subject S --kind agent --group G … [--on-behalf-of H] [--ttl 1h] …
 *   hansard token ls
 *   hansard token revoke ID
 * The token itself is printed once, alone on stdout, so that a script can take it; everything else goes
 * to stderr.
 */
#include "base/clock.h"
#include "main/ask.h"
#include "main/cli.h"
#include "main/text.h"

enum {
	KEY_SUBJECT = 0x500,
	KEY_KIND,
	KEY_GROUP,
	KEY_BEHALF,
	KEY_TTL,
	KEY_CONNECTION,
	KEY_RUN,
	KEY_CONTEXT
};

struct token_args {
	struct common common;
	const char *verb; /* NULL, "ls", "revoke" */
	const char *id;
	json_t *ask;
	bool has_ttl;
};

/* What is not UTF-8 cannot stand in JSON: it is refused, never left out. */
static json_t *text_of(struct argp_state *state, const char *value) {
	json_t *v = json_string(value);
	if (v == NULL)
		argp_error(state, "arguments must be UTF-8");
	return v;
}

static void set_text(struct argp_state *state, const char *key, const char *value) {
	struct token_args *a = state->input;
	(void)json_object_set_new(a->ask, key, text_of(state, value));
}

static void add_context(struct argp_state *state, struct token_args *a, const char *arg) {
	struct str value = str_of(arg);
	struct str key = str_cut(&value, '=');
	if (key.n == 0 || value.p == NULL)
		argp_error(state, "--context takes KEY=VALUE");
	json_t *context = json_object_get(a->ask, "context");
	if (context == NULL) {
		context = json_object();
		(void)json_object_set_new(a->ask, "context", context);
	}
	auto_free char *name = str_dup(key);
	auto_free char *text = str_dup(value);
	if (str_utf8_bad(key) < key.n)
		argp_error(state, "arguments must be UTF-8");
	(void)json_object_set_new(context, name, text_of(state, text));
}

static void add_ttl(struct argp_state *state, struct token_args *a, const char *arg) {
	uint64_t ns = 0;
	if (duration_parse(str_of(arg), &ns) != 0 || ns == 0)
		argp_error(state, "--ttl takes a duration like 90s, 15m, 8h, 7d");
	(void)json_object_set_new(a->ask, "ttl_ns", json_integer((json_int_t)ns));
	a->has_ttl = true;
}

static error_t take_word(struct argp_state *state, struct token_args *a, const char *arg) {
	if (a->verb == NULL)
		a->verb = arg;
	else if (a->id == NULL)
		a->id = arg;
	else
		argp_error(state, "too many arguments");
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
	struct token_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_SUBJECT:
		set_text(state, "subject", arg);
		return 0;
	case KEY_KIND:
		set_text(state, "kind", arg);
		return 0;
	case KEY_GROUP:
		(void)json_array_append_new(json_object_get(a->ask, "groups"), text_of(state, arg));
		return 0;
	case KEY_BEHALF:
		set_text(state, "on_behalf_of", arg);
		return 0;
	case KEY_TTL:
		add_ttl(state, a, arg);
		return 0;
	case KEY_CONNECTION:
		set_text(state, "connection", arg);
		return 0;
	case KEY_RUN:
		set_text(state, "run", arg);
		return 0;
	case KEY_CONTEXT:
		add_context(state, a, arg);
		return 0;
	case ARGP_KEY_ARG:
		return take_word(state, a, arg);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "subject", KEY_SUBJECT, "NAME", 0, "who the token speaks for", 0 },
	{ "kind", KEY_KIND, "KIND", 0, "agent, human or service", 0 },
	{ "group", KEY_GROUP, "GROUP", 0, "a group of the subject (repeat for several)", 0 },
	{ "on-behalf-of", KEY_BEHALF, "WHO", 0,
	  "the human it acts for; on the record as verified, because you say so", 0 },
	{ "ttl", KEY_TTL, "TIME", 0, "how long it is valid: 90s, 15m, 8h (default 1h)", 0 },
	{ "connection", KEY_CONNECTION, "NAME", 0, "valid for this connection only", 0 },
	{ "run", KEY_RUN, "ID", 0, "the run of the agent", 0 },
	{ "context", KEY_CONTEXT, "KEY=VALUE", 0, "on the record as claimed (repeat for several)",
	  0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "\nls\nrevoke ID",
	.doc = "Issue a short-lived token, list tokens, or revoke one. The token is printed once.",
	.children = children,
};

/* The token alone on stdout; how to use it by SCRAM beside it, for people. */
static void print_token(const json_t *doc) {
	struct str user = json_text(doc, "user"), key = json_text(doc, "key_id");
	(void)printf("%.*s\n", STR_ARG(json_text(doc, "token")));
	(void)fflush(stdout);
	if (user.n > 0)
		(void)fprintf(stderr, "key id %.*s: user %.*s for SCRAM-SHA-256\n", STR_ARG(key),
		              STR_ARG(user));
	else
		(void)fprintf(stderr, "key id %.*s: user CONNECTION+%.*s for SCRAM-SHA-256\n",
		              STR_ARG(key), STR_ARG(key));
}

static int issue(struct token_args *a, struct err *e) {
	json_t *doc = NULL;
	if (!a->has_ttl)
		(void)json_object_set_new(a->ask, "ttl_ns",
		                          json_integer((json_int_t)3600 * (json_int_t)NS_PER_S));
	if (json_text(a->ask, "subject").n == 0 || json_text(a->ask, "kind").n == 0)
		return err_set(e, H_EUSAGE,
		               "token: --subject and --kind are needed (`hansard token --help`)");
	(void)json_object_set_new(a->ask, "cmd", json_string("token.issue"));
	int rc = ask_keeper(&a->common, take_ptr(&a->ask), &doc, e);
	if (rc < 0)
		return rc;
	if (a->common.format == OUT_JSON || a->common.format == OUT_YAML)
		print_json(doc, a->common.format);
	else
		print_token(doc);
	json_decref(doc);
	return 0;
}

static const char *token_state(const json_t *item) {
	uint64_t revoked = json_count(item, "revoked_wall_ns");
	return revoked != 0                                       ? "revoked"
	       : json_count(item, "expires_wall_ns") <= wall_ns() ? "expired"
	                                                          : "valid";
}

/* The identity's members lie one level down; for scripts they are lifted beside the others. */
static json_t *flat(const json_t *item) {
	json_t *out = json_copy((json_t *)(uintptr_t)item);
	json_t *who = json_object_get(out, "identity");
	if (json_is_object(who)) {
		json_t *copy = json_copy(who);
		(void)json_object_del(out, "identity");
		(void)json_object_update_missing(out, copy);
		json_decref(copy);
	}
	(void)json_object_set_new(out, "state", json_string(token_state(item)));
	return out;
}

static void print_tokens(const json_t *items, const struct common *c) {
	struct table *t = table_new((const char *const[]){ "ID", "STATE", "KIND", "EXPIRES",
	                                                   "SUBJECT" },
	                            5);
	size_t idx;
	json_t *item;
	json_array_foreach(items, idx, item) {
		char when[LOCAL_TEXT_SIZE];
		local_text(when, json_count(item, "expires_wall_ns"));
		table_cell(t, json_text(item, "id"));
		table_cell(t, json_text(item, "state"));
		table_cell(t, json_text(item, "kind"));
		table_cell(t, str_of(when));
		table_cell(t, json_text(item, "subject"));
	}
	struct buf b;
	buf_init(&b, 64 * MIB);
	table_print(t, &b, c->format == OUT_WIDE ? 0 : terminal_width(), terminal_width() > 0);
	print_buf(&b);
	buf_fini(&b);
	table_free(&t);
}

static int list(struct token_args *a, struct err *e) {
	json_t *doc = NULL;
	int rc = ask_keeper(&a->common, json_pack("{s:s}", "cmd", "token.ls"), &doc, e);
	if (rc < 0)
		return rc;
	json_t *items = json_array();
	size_t idx;
	json_t *item;
	json_array_foreach(json_object_get(doc, "items"), idx, item)(void)
		json_array_append_new(items, flat(item));
	if (a->common.format == OUT_JSON || a->common.format == OUT_YAML)
		print_json(items, a->common.format);
	else
		print_tokens(items, &a->common);
	json_decref(items);
	json_decref(doc);
	return 0;
}

static int revoke_token(struct token_args *a, struct err *e) {
	json_t *doc = NULL;
	if (a->id == NULL)
		return err_set(e, H_EUSAGE, "token revoke: which? (`hansard token ls` shows ids)");
	int rc = ask_keeper(&a->common, json_pack("{s:s, s:s}", "cmd", "token.revoke", "id", a->id),
	                    &doc, e);
	json_decref(doc);
	if (rc == 0)
		(void)fprintf(stderr, "revoked; sessions that it opened go on until they end\n");
	return rc;
}

int cmd_token(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct token_args a = { .ask = json_pack("{s:[]}", "groups") };
	cli_parse(&argp, argc, argv, &a);
	int rc;
	if (a.verb == NULL)
		rc = issue(&a, &e);
	else if (strcmp(a.verb, "ls") == 0)
		rc = list(&a, &e);
	else if (strcmp(a.verb, "revoke") == 0)
		rc = revoke_token(&a, &e);
	else
		rc = err_set(&e, H_EUSAGE, "token: \"%s\" is neither ls nor revoke", a.verb);
	json_decref(a.ask);
	return rc < 0 ? cli_fail(&e) : CLI_OK;
}
