/*
 * export_sql.c: a session as a script for psql that yields the same state in a copy of the database.
 *
 * Two walks over the session, so that a script of any length passes through one buffer. The first decides about each
 * command, since what comes later decides: it may have failed, been rolled back with a later one of the same implicit
 * transaction (everything between two ReadyForQuery outside of BEGIN), or its COPY data may hold what psql would
 * take for its end. One byte per command is kept. The second writes.
 *
 * Rules of the script:
 * - It stops at the first error: after a COPY that fails psql would read the data as commands.
 * - Recorded text is either a statement that psql cannot take for anything else (sql_script.h), or comment,
 *   each line behind "--" and made harmless.
 * - A COMMIT that the server answered with ROLLBACK is written as ROLLBACK. A transaction that the session left
 *   open is rolled back, as the server did.
 */
#include "base/clock.h"
#include "main/export.h"
#include "main/feed.h"
#include "main/head.h"
#include "main/sql_script.h"
#include "main/text.h"

#define SQL_MESSAGE_MAX (32 * MIB)
#define SQL_OUT_MAX (512 * MIB)

enum fate {
	FATE_RUN,
	FATE_AS_ROLLBACK, /* COMMIT, answered with ROLLBACK */
	FATE_FAILED,
	FATE_SKIPPED,
	FATE_UNANSWERED,
	FATE_ROLLED_BACK,
	FATE_CONTINUED,
	FATE_NOT_FORWARDED,
	FATE_COPY,
	FATE_COPIES,
	FATE_OVERSIZE,
	FATE_DEALLOCATE,
	FATE_FUNCTION,
};

static const char *fate_text(enum fate fate) {
	switch (fate) {
	case FATE_RUN:
	case FATE_AS_ROLLBACK:
		return NULL;
	case FATE_FAILED:
		return "it failed";
	case FATE_SKIPPED:
		return "the server skipped it after an error";
	case FATE_UNANSWERED:
		return "no answer to it is on the record";
	case FATE_ROLLED_BACK:
		return "it was rolled back with a later one that failed";
	case FATE_CONTINUED:
		return "it fetched more of the rows of the one before";
	case FATE_NOT_FORWARDED:
		return "the target never got it";
	case FATE_COPY:
		return "its COPY data is binary, or has what psql takes for its end";
	case FATE_COPIES:
		return "it has COPY data beside other statements";
	case FATE_OVERSIZE:
		return "a message of it is too long";
	case FATE_DEALLOCATE:
		return "it was about a statement that the client prepared by message";
	case FATE_FUNCTION:
		return "it is a function call by number";
	}
	return "?";
}

struct sql {
	struct found *found;
	struct feed feed;
	struct buf out, text, scratch;
	/* of the first walk */
	uint8_t *fates; /* by number - 1 */
	size_t count, cap;
	size_t group; /* the first command of the implicit transaction */
	uint8_t state;
	bool has_failure; /* in this group */
	bool has_prepare; /* by SQL, so far */
	unsigned completes;
	struct copy_scan scan;
	bool is_oversize, ends_transaction, is_rolled_back;
	bool is_bad; /* too many commands */
	/* of the second */
	bool is_standard, is_utf8;
	bool is_running; /* the command at hand is written as a statement */
	bool is_copying;
	char last; /* byte of COPY data */
	char tag[64];
};

enum { COMMANDS_MAX = 100000000 };

/* ---- the first walk: what becomes of each command ---- */

static void set_fate(struct sql *x, uint64_t number, enum fate fate) {
	if (number == 0 || number > COMMANDS_MAX) {
		x->is_bad = true;
		return;
	}
	while (x->cap < number) {
		x->cap = x->cap == 0 ? 4096 : x->cap * 2;
		x->fates = xrealloc(x->fates, x->cap);
	}
	while (x->count < number)
		x->fates[x->count++] = FATE_UNANSWERED;
	x->fates[number - 1] = (uint8_t)fate;
}

static void first_begin(void *arg, const struct view_command *c) {
	struct sql *x = arg;
	(void)c;
	x->completes = 0;
	x->scan = (struct copy_scan){ .column = 0 };
	x->is_oversize = x->is_rolled_back = x->ends_transaction = false;
}

static void first_copy_in(void *arg, const struct view_command *c) {
	struct sql *x = arg;
	(void)c;
	x->scan.is_in = true;
}

static void first_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	struct sql *x = arg;
	(void)c;
	if (from_client)
		copy_scan(&x->scan, data);
}

static bool says(struct str text, const char *word) {
	char verb[PG_VERB_MAX];
	return str_is(str_mem(verb, pg_verb(verb, text)), word);
}

static void first_complete(void *arg, const struct view_command *c, struct str tag) {
	struct sql *x = arg;
	bool is_rollback = str_is(tag, "ROLLBACK");
	x->completes++;
	x->has_prepare = x->has_prepare || str_is(tag, "PREPARE");
	x->ends_transaction = x->ends_transaction || is_rollback || str_is(tag, "COMMIT");
	x->is_rolled_back = is_rollback && (says(c->text, "COMMIT") || says(c->text, "END"));
}

static void first_oversize(void *arg, const struct view_command *c, bool from_client, uint8_t type,
                           uint64_t len) {
	struct sql *x = arg;
	(void)c;
	(void)type;
	(void)len;
	x->is_oversize = x->is_oversize || from_client;
}

static enum fate fate_of(struct sql *x, const struct view_command *c) {
	if (c->kind == VIEW_FUNCTION)
		return FATE_FUNCTION;
	if (c->status == VIEW_FAILED || c->status == VIEW_SKIPPED)
		return c->status == VIEW_FAILED ? FATE_FAILED : FATE_SKIPPED;
	if (c->status == VIEW_UNANSWERED)
		return FATE_UNANSWERED;
	if (c->is_continued)
		return FATE_CONTINUED;
	if (c->forwarded_ns == 0)
		return FATE_NOT_FORWARDED;
	if (x->is_oversize)
		return FATE_OVERSIZE;
	if (x->scan.is_bad)
		return FATE_COPY;
	if (x->scan.is_in && x->completes != 1)
		return FATE_COPIES;
	if (says(c->text, "DEALLOCATE") && !x->has_prepare)
		return FATE_DEALLOCATE;
	return x->is_rolled_back && x->completes == 1 ? FATE_AS_ROLLBACK : FATE_RUN;
}

static void first_end(void *arg, const struct view_command *c) {
	struct sql *x = arg;
	set_fate(x, c->number, fate_of(x, c));
	x->has_failure = x->has_failure || c->status == VIEW_FAILED;
	if (x->ends_transaction)
		x->group = x->count;
}

/* Outside of BEGIN all since the last Sync or Query was one transaction: an error took it back. */
static void first_ready(void *arg, uint8_t state) {
	struct sql *x = arg;
	for (size_t i = x->group; x->has_failure && state == 'I' && i < x->count; i++)
		if (x->fates[i] == FATE_RUN)
			x->fates[i] = FATE_ROLLED_BACK;
	x->group = x->count;
	x->has_failure = false;
	x->state = state;
}

/* ---- the second walk: the script ---- */

static void flush(struct sql *x, size_t above) {
	if (x->out.len > above)
		print_buf(&x->out);
}

static void put_when(struct sql *x, uint64_t mono) {
	char when[TIME_TEXT_SIZE];
	time_text(when, mono + x->feed.wall_minus_mono);
	w_bytes(&x->out, str_of(when));
}

static void put_comment(struct sql *x, const struct view_command *c, const char *why) {
	w_fmt(&x->out, "-- not run: %s\n", why);
	if (c->has_text)
		put_block(&x->out, c->text, "--   | ");
}

static enum fate fate_at(const struct sql *x, uint64_t number) {
	return number > 0 && number <= x->count ? (enum fate)x->fates[number - 1] : FATE_UNANSWERED;
}

static void on_begin(void *arg, const struct view_command *c) {
	struct sql *x = arg;
	enum fate fate = fate_at(x, c->number);
	const char *why = fate_text(fate);
	w_fmt(&x->out, "\n-- [%llu] ", (unsigned long long)c->number);
	put_when(x, c->received_ns);
	w_fmt(&x->out, " %s\n", view_kind_name(c->kind));
	x->is_copying = false;
	x->last = '\n';
	x->tag[0] = '\0';
	x->scan = (struct copy_scan){ .column = 0 };
	buf_clear(&x->text);
	x->text.bad = x->scratch.bad = false;
	if (why == NULL && !x->is_utf8 && str_utf8_bad(c->text) == c->text.n)
		for (size_t i = 0; i < c->text.n; i++)
			why = (uint8_t)c->text.p[i] >= 0x80 ? "the client's encoding is not UTF-8"
			                                    : why;
	if (why == NULL)
		why = sql_script_statement(&x->text, &x->scratch, c, x->is_standard);
	x->is_running = why == NULL;
	if (why != NULL) {
		put_comment(x, c, why);
	} else if (fate == FATE_AS_ROLLBACK) {
		w_bytes(&x->out, STR("-- said as below, answered with ROLLBACK\n"));
		put_block(&x->out, c->text, "--   | ");
		w_bytes(&x->out, STR("ROLLBACK;\n"));
	} else {
		w_bytes(&x->out, buf_peek(&x->text));
	}
	flush(x, 256 * KIB);
}

static void on_copy_in(void *arg, const struct view_command *c) {
	struct sql *x = arg;
	(void)c;
	x->is_copying = x->is_running;
}

static void on_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	struct sql *x = arg;
	(void)c;
	if (!from_client || !x->is_running || data.n == 0)
		return;
	copy_scan(&x->scan, data);
	x->last = data.p[data.n - 1];
	w_bytes(&x->out, data);
	flush(x, 256 * KIB);
}

/* The end of the data, unless the client said it itself. */
static void end_copy(struct sql *x) {
	if (!x->is_copying)
		return;
	if (x->last != '\n')
		w_u8(&x->out, '\n');
	if (!x->scan.has_ended && x->scan.column != 2)
		w_bytes(&x->out, STR("\\.\n"));
	x->is_copying = false;
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	struct sql *x = arg;
	(void)c;
	(void)str_copy(x->tag, sizeof(x->tag), str_head(tag, sizeof(x->tag) - 1));
}

static void put_error(struct sql *x, struct pg_fields fields) {
	struct pg_field f;
	w_bytes(&x->out, STR("-- ! "));
	while (pg_fields_next(&fields, &f)) {
		if (f.code != 'S' && f.code != 'C' && f.code != 'M')
			continue;
		text_safe(&x->out, f.value, TEXT_LINE);
		w_u8(&x->out, ' ');
	}
	w_u8(&x->out, '\n');
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct sql *x = arg;
	(void)c;
	if (!x->is_copying)
		put_error(x, fields);
}

static void on_end(void *arg, const struct view_command *c) {
	struct sql *x = arg;
	end_copy(x);
	w_fmt(&x->out, "-- %s", view_status_name(c->status));
	if (x->tag[0] != '\0') {
		w_bytes(&x->out, STR(", "));
		text_safe(&x->out, str_of(x->tag), TEXT_LINE);
	}
	w_u8(&x->out, '\n');
	flush(x, 256 * KIB);
}

static void on_status(void *arg, const struct pg_param *p, uint64_t now_ns) {
	struct sql *x = arg;
	(void)now_ns;
	if (str_is(p->name, "standard_conforming_strings"))
		x->is_standard = str_is(p->value, "on");
	if (str_is(p->name, "client_encoding"))
		x->is_utf8 = str_is(p->value, "UTF8") || str_is(p->value, "SQL_ASCII");
}

/* Settings that the client asked for at the start. */
static void on_startup(void *arg, const struct pg_param *p) {
	static const char *const others[] = { "user", "database", "replication", "client_encoding",
		                              "options" };
	struct sql *x = arg;
	bool is_setting = p->name.n > 0 && p->name.n < 64 && p->name.p[0] != '_';
	for (size_t i = 0; i < p->name.n; i++)
		is_setting = is_setting && ((p->name.p[i] >= 'a' && p->name.p[i] <= 'z') ||
		                            (p->name.p[i] >= 'A' && p->name.p[i] <= 'Z') ||
		                            p->name.p[i] == '_' || p->name.p[i] == '.');
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		is_setting = is_setting && !str_is(p->name, others[i]);
	if (!is_setting || str_utf8_bad(p->value) < p->value.n)
		return;
	w_fmt(&x->out, "SET %.*s TO ", STR_ARG(p->name));
	sql_script_literal(&x->out, p->value);
	w_bytes(&x->out, STR(";\n"));
}

static void on_broken(void *arg, bool from_client, uint64_t offset) {
	struct sql *x = arg;
	w_fmt(&x->out, "\n-- what the %s said is not understood from byte %llu on\n",
	      from_client ? "client" : "target", (unsigned long long)offset);
}

static void put_head(struct sql *x, const json_t *about) {
	struct buf b;
	buf_init(&b, MIB);
	head_brief(&b, about);
	struct str text = buf_peek(&b);
	while (text.n > 0 && text.p[text.n - 1] == '\n')
		text.n--;
	w_bytes(&x->out, STR("-- A session on the record, as a script for psql.\n"));
	put_block(&x->out, text, "-- ");
	w_bytes(&x->out, STR("\\set ON_ERROR_STOP on\n"
	                     "SET client_encoding TO 'UTF8';\n"
	                     "SET standard_conforming_strings TO on;\n"));
	buf_fini(&b);
}

/* ---- both ---- */

static int walk(struct sql *x, const uint8_t sid[SID_SIZE], const struct view_handler *h,
                struct err *e) {
	x->feed = (struct feed){ .view = pg_view_new(h, SQL_MESSAGE_MAX) };
	int rc = feed_session(&x->feed, x->found->r, sid, e);
	pg_view_free(&x->feed.view);
	return rc;
}

static int decide(struct sql *x, const uint8_t sid[SID_SIZE], struct err *e) {
	const struct view_handler h = { .arg = x,
		                        .begin = first_begin,
		                        .copy_in = first_copy_in,
		                        .copy = first_copy,
		                        .complete = first_complete,
		                        .oversize = first_oversize,
		                        .end = first_end,
		                        .ready = first_ready };
	int rc = walk(x, sid, &h, e);
	if (rc == 0 && x->is_bad)
		rc = err_set(e, H_ELIMIT, "the session has too many commands for a script");
	return rc;
}

static int write_script(struct sql *x, const uint8_t sid[SID_SIZE], struct err *e) {
	const struct view_handler h = { .arg = x,
		                        .begin = on_begin,
		                        .copy_in = on_copy_in,
		                        .copy = on_copy,
		                        .complete = on_complete,
		                        .failed = on_failed,
		                        .end = on_end,
		                        .status = on_status,
		                        .startup = on_startup,
		                        .broken = on_broken };
	x->is_standard = x->is_utf8 = true;
	int rc = walk(x, sid, &h, e);
	if (rc == 0 && x->state != 'I' && x->state != 0)
		w_bytes(&x->out, STR("\n-- the session ended inside a transaction\nROLLBACK;\n"));
	flush(x, 0);
	return rc;
}

int export_sql(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e) {
	struct sql x = { .found = f };
	(void)with_events;
	json_t *about = find_describe(f, sid, true, e);
	if (about == NULL)
		return e->code;
	if (!str_is(json_text(about, "protocol"), "postgres")) {
		json_decref(about);
		return err_set(e, H_EUSAGE, "export --as sql: that session spoke no SQL");
	}
	buf_init(&x.out, SQL_OUT_MAX);
	buf_init(&x.text, SQL_OUT_MAX);
	buf_init(&x.scratch, SQL_OUT_MAX);
	int rc = decide(&x, sid, e);
	if (rc == 0) {
		put_head(&x, about);
		rc = write_script(&x, sid, e);
	}
	json_decref(about);
	free(x.fates);
	buf_fini(&x.out);
	buf_fini(&x.text);
	buf_fini(&x.scratch);
	return rc;
}
