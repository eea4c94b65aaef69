/*
 * cmd_play.c: hansard play: a session as it went, for eyes.
 */
#include "main/play.h"

static const struct argp_option options[] = {
	{ "rows", KEY_ROWS, "N", 0,
	  "rows of a result, or messages of a COPY, that are shown (default 1000; 0: all)", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = one_parse,
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
	struct one_args a = { .rows = PLAY_ROWS_DEFAULT };
	cli_parse(&argp, argc, argv, &a);
	if (a.common.format == OUT_JSON || a.common.format == OUT_YAML) {
		(void)err_set(&e, H_EUSAGE,
		              "play is for eyes; `hansard export ID --as ndjson` is for programs");
		return cli_fail(&e);
	}
	struct play p = { .is_wide = a.common.format == OUT_WIDE, .rows_max = a.rows };
	struct found found = { .r = NULL };
	int rc = find_one(&found, &a.common, "play", a.id, &e);
	if (rc == 0) {
		char full[UUID_TEXT_SIZE];
		uuid_text(full, found.sid);
		ask_announce(&a.common, found.dir, "record.viewed", str_of(full));
		rc = play(&p, &found, &e);
	}
	find_close(&found);
	return rc < 0 ? find_fail(&e) : CLI_OK;
}
