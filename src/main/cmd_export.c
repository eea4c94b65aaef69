/*
 * cmd_export.c: hansard export: sessions of the record for programs, in one of several forms (export.h).
 */
#include "main/export.h"

enum { KEY_AS = 0x800, KEY_ALL, KEY_EVENTS };

static const struct export_form {
	const char *name;
	int (*fn)(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e);
	bool is_sessions_only; /* acts on Hansard itself have no place in it */
} forms[] = {
	{ "ndjson", export_ndjson, false },
	{ "sql", export_sql, true },
	{ "pcapng", export_pcapng, true },
};

struct export_args {
	struct common common;
	const char *id, *as;
	const struct export_form *form;
	bool all, with_events;
};

struct all {
	struct found *f;
	const struct export_args *a;
	int worst;
};

/* Acts are no conversation: forms that write one pass over them. */
static bool is_acts(struct found *f, const uint8_t sid[SID_SIZE]) {
	struct err e = { .code = 0 };
	json_t *about = find_describe(f, sid, false, &e);
	bool is_one = about != NULL && str_is(json_text(about, "protocol"), "acts");
	json_decref(about);
	return is_one;
}

static int export_next(void *arg, const uint8_t sid[SID_SIZE]) {
	struct all *all = arg;
	const struct export_form *form = all->a->form;
	struct err e = { .code = 0 };
	if (form->is_sessions_only && is_acts(all->f, sid))
		return 0;
	if (form->fn(all->f, sid, all->a->with_events, &e) < 0)
		all->worst = MAX(all->worst, find_fail(&e));
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	struct export_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_AS:
		a->as = arg;
		return 0;
	case KEY_ALL:
		a->all = true;
		return 0;
	case KEY_EVENTS:
		a->with_events = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->id != NULL)
			argp_error(state, "one session at a time, or --all");
		a->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "as", KEY_AS, "FORMAT", 0,
	  "ndjson: one JSON object per line (the default); sql: a script for psql; pcapng: packets for Wireshark",
	  0 },
	{ "all", KEY_ALL, NULL, 0, "every session, acts on Hansard itself too", 0 },
	{ "events", KEY_EVENTS, NULL, 0, "also every event of the record with its bytes (ndjson)",
	  0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_plain_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "ID\n--all",
	.doc = "Write sessions as JSON, one object per line: the session, its commands with parameters and rows, "
	       "and with --events all that stands in the record; as a script for psql, or as packets.",
	.children = children,
};

static int export_some(struct found *f, const struct export_args *a, struct err *e) {
	struct all all = { .f = f, .a = a };
	if (!a->all) {
		char full[UUID_TEXT_SIZE];
		int rc = find_one(f, &a->common, "export", a->id, e);
		if (rc < 0)
			return find_fail(e);
		uuid_text(full, f->sid);
		ask_announce(&a->common, f->dir, "record.exported", str_of(full));
		return a->form->fn(f, f->sid, a->with_events, e) < 0 ? find_fail(e) : CLI_OK;
	}
	if (find_open(f, &a->common, e) < 0)
		return find_fail(e);
	ask_announce(&a->common, f->dir, "record.exported", STR_NONE);
	int rc = reader_each(f->r, export_next, &all);
	if (rc < 0) {
		(void)err_set(e, rc, "the sessions cannot be listed: %s", h_err_text(rc));
		return find_fail(e);
	}
	return all.worst;
}

static int check_usage(struct export_args *a, struct err *e) {
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (strcmp(a->as, forms[i].name) == 0)
			a->form = &forms[i];
	if (a->form == NULL)
		return err_set(e, H_EUSAGE,
		               "export: there is no form \"%s\" (`hansard export --help`)", a->as);
	if (a->all && a->id != NULL)
		return err_set(e, H_EUSAGE, "export: a session or --all, not both");
	if (a->with_events && a->form->fn != export_ndjson)
		return err_set(e, H_EUSAGE, "export: --events goes with --as ndjson");
	return 0;
}

int cmd_export(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct export_args a = { .as = "ndjson" };
	struct found found = { .r = NULL };
	cli_parse(&argp, argc, argv, &a);
	if (check_usage(&a, &e) < 0)
		return cli_fail(&e);
	int rc = export_some(&found, &a, &e);
	find_close(&found);
	return rc;
}
