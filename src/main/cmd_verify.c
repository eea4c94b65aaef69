/*
 * cmd_verify.c: hansard verify: is the record whole and unaltered, and what proves it?
 *
 * Verdicts, places and the sentence about proof are record/verify.h's; here they are only said. Exit
 * status: 0 nothing wrong and signed, 3 nothing wrong found but not covered by a signature, 4 tampered.
 */
#include <fcntl.h>

#include "base/clock.h"
#include "main/find.h"
#include "main/text.h"
#include "record/verify.h"

enum { KEY_VKEY = 0x900, KEY_CHECKPOINT, KEY_RECEIPT, KEY_CONTENTS, KEY_ALL, SHOWN_MAX = 40 };
enum { VKEY_MAX = 1024, CHECKPOINT_MAX = 64 * 1024 };

struct verify_args {
	struct common common;
	const char *id, *vkey, *checkpoint, *receipt;
	bool all, with_contents;
};

struct verifying {
	json_t *sessions, *findings;
	bool has_tty;
	uint64_t said; /* percent */
};

static json_t *place(const struct verify_place *p) {
	json_t *o = json_object();
	if (p->file[0] != '\0') {
		json_t *file = json_string(p->file);
		(void)json_object_set_new(o, "file", file != NULL ? file : json_string("?"));
		(void)json_object_set_new(o, "offset", json_integer((json_int_t)p->offset));
	}
	if (p->frame != VERIFY_NO_FRAME)
		(void)json_object_set_new(o, "frame", json_integer((json_int_t)p->frame));
	return o;
}

static void set_text(json_t *o, const char *key, const char *text) {
	json_t *v = json_string(text);
	(void)json_object_set_new(o, key, v != NULL ? v : json_string("?"));
}

static void on_session(void *arg, const struct verify_session *s) {
	struct verifying *v = arg;
	char full[UUID_TEXT_SIZE], brief[SHORT_ID_SIZE];
	json_t *o = json_object();
	uuid_text(full, s->sid);
	short_id(brief, s->sid);
	set_text(o, "id", brief);
	set_text(o, "sid", full);
	set_text(o, "state", verify_state_text(s->state));
	(void)json_object_set_new(o, "frames", json_integer((json_int_t)s->frames));
	(void)json_object_set_new(o, "frames_signed", json_integer((json_int_t)s->frames_signed));
	(void)json_object_set_new(o, "closed", json_boolean(s->is_closed));
	if (s->text[0] != '\0')
		set_text(o, "text", s->text);
	if (s->state == VERIFY_TRUNCATED || s->state == VERIFY_ALTERED)
		(void)json_object_set_new(o, "place", place(&s->place));
	(void)json_array_append_new(v->sessions, o);
}

static void on_finding(void *arg, const struct verify_finding *f) {
	struct verifying *v = arg;
	json_t *o = json_object();
	set_text(o, "severity", f->severity == VERIFY_TAMPERED ? "tampered" : "note");
	set_text(o, "text", f->text);
	(void)json_object_set_new(o, "place", place(&f->place));
	(void)json_array_append_new(v->findings, o);
}

static void on_progress(void *arg, uint64_t done, uint64_t total) {
	struct verifying *v = arg;
	uint64_t percent = total == 0 ? 100 : MIN(done, total) / MAX(total / 100, (uint64_t)1);
	if (!v->has_tty || percent == v->said)
		return;
	v->said = percent;
	(void)fprintf(stderr, "\r%llu %%\033[K", (unsigned long long)MIN(percent, (uint64_t)100));
}

/* ---- output ---- */

static const char *result_name(enum verify_result r) {
	switch (r) {
	case VERIFY_OK:
		return "ok";
	case VERIFY_UNVERIFIABLE:
		return "unverifiable";
	case VERIFY_BAD:
		return "tampered";
	}
	return "?";
}

static const char *key_name(enum verify_key k) {
	switch (k) {
	case VERIFY_KEY_NONE:
		return "none";
	case VERIFY_KEY_FOUND:
		return "found in the store";
	case VERIFY_KEY_GIVEN:
		return "given";
	}
	return "?";
}

static const char *journal_name(enum verify_journal j) {
	switch (j) {
	case VERIFY_JOURNAL_NONE:
		return "none";
	case VERIFY_JOURNAL_WHOLE:
		return "whole";
	case VERIFY_JOURNAL_TORN:
		return "ends in a torn tail, which a crash leaves behind";
	case VERIFY_JOURNAL_ALTERED:
		return "altered";
	}
	return "?";
}

static json_t *report_json(const struct verifying *v, const struct verify_report *r,
                           const char *proof) {
	json_t *o = json_object();
	set_text(o, "result", result_name(r->result));
	set_text(o, "key", key_name(r->key));
	set_text(o, "proof", proof);
	set_text(o, "origin", r->origin);
	set_text(o, "journal", journal_name(r->journal));
	(void)json_object_set_new(o, "leaves", json_integer((json_int_t)r->leaves));
	(void)json_object_set_new(o, "leaves_signed", json_integer((json_int_t)r->leaves_signed));
	if (r->checkpoint_wall != 0) {
		char text[TIME_TEXT_SIZE];
		time_text(text, r->checkpoint_wall);
		set_text(o, "signed_until", text);
	}
	if (r->receipt != VERIFY_RECEIPT_NONE) {
		set_text(o, "receipt", verify_receipt_text(r->receipt));
		if (r->receipt_leaf != UINT64_MAX)
			(void)json_object_set_new(o, "receipt_leaf",
			                          json_integer((json_int_t)r->receipt_leaf));
	}
	(void)json_object_set_new(o, "frames", json_integer((json_int_t)r->frames));
	(void)json_object_set_new(o, "bytes", json_integer((json_int_t)r->bytes));
	(void)json_object_set(o, "sessions", v->sessions);
	(void)json_object_set(o, "findings", v->findings);
	return o;
}

static void put_place(struct buf *b, const json_t *at) {
	const json_t *frame = json_object_get(at, "frame");
	if (json_text(at, "file").n > 0) {
		w_bytes(b, STR("  "));
		text_safe(b, json_text(at, "file"), TEXT_LINE);
		w_fmt(b, ", byte %llu", (unsigned long long)json_count(at, "offset"));
	}
	if (json_is_integer(frame))
		w_fmt(b, "%s frame %llu", json_text(at, "file").n > 0 ? "," : " ",
		      (unsigned long long)json_integer_value(frame));
}

static void put_session(struct buf *b, const json_t *s) {
	uint64_t frames = json_count(s, "frames");
	uint64_t covered = json_count(s, "frames_signed");
	text_safe(b, json_text(s, "id"), TEXT_LINE);
	w_bytes(b, STR("  "));
	text_safe(b, json_text(s, "state"), TEXT_LINE);
	if (json_object_get(s, "place") != NULL)
		w_fmt(b, ": %llu good frames before\n", (unsigned long long)frames);
	else if (covered == frames)
		w_fmt(b, ": %llu frames, all signed\n", (unsigned long long)frames);
	else
		w_fmt(b, ": %llu frames, %llu of them signed\n", (unsigned long long)frames,
		      (unsigned long long)covered);
	if (json_text(s, "text").n == 0)
		return;
	w_bytes(b, STR("           "));
	text_safe(b, json_text(s, "text"), TEXT_LINE);
	put_place(b, json_object_get(s, "place"));
	w_u8(b, '\n');
}

static void put_sessions(struct buf *b, const struct verifying *v, bool all) {
	size_t idx, hidden = 0;
	json_t *s;
	json_array_foreach(v->sessions, idx, s) {
		bool is_plain = str_is(json_text(s, "state"), verify_state_text(VERIFY_COMPLETE)) &&
		                json_count(s, "frames") == json_count(s, "frames_signed");
		if (!all && is_plain && json_array_size(v->sessions) > SHOWN_MAX)
			hidden++;
		else
			put_session(b, s);
	}
	if (hidden > 0)
		w_fmt(b, "%zu sessions more, %s, all signed (-o wide lists them)\n", hidden,
		      verify_state_text(VERIFY_COMPLETE));
}

static void put_receipt(struct buf *b, const struct verify_report *r) {
	if (r->receipt == VERIFY_RECEIPT_NONE)
		return;
	w_fmt(b, "receipt  %s", verify_receipt_text(r->receipt));
	if (r->receipt_leaf != UINT64_MAX)
		w_fmt(b, ": its frame is under leaf %llu of the log",
		      (unsigned long long)r->receipt_leaf);
	w_u8(b, '\n');
}

static const char *verdict(enum verify_result r) {
	switch (r) {
	case VERIFY_OK:
		return "OK";
	case VERIFY_UNVERIFIABLE:
		return "UNVERIFIABLE: nothing wrong was found, but no signature covers it all (yet)";
	case VERIFY_BAD:
		return "TAMPERED";
	}
	return "?";
}

static void print_text(const struct verifying *v, const struct verify_report *r, const char *proof,
                       bool all) {
	struct buf b;
	size_t idx;
	json_t *f;
	buf_init(&b, 256 * MIB);
	put_sessions(&b, v, all);
	json_array_foreach(v->findings, idx, f) {
		w_fmt(&b, "%s  ",
		      str_is(json_text(f, "severity"), "tampered") ? "TAMPERED" : "note");
		text_safe(&b, json_text(f, "text"), TEXT_LINE);
		put_place(&b, json_object_get(f, "place"));
		w_u8(&b, '\n');
	}
	w_fmt(&b, "log      %llu entries, %llu of them signed", (unsigned long long)r->leaves,
	      (unsigned long long)r->leaves_signed);
	if (r->checkpoint_wall != 0) {
		char when[TIME_TEXT_SIZE];
		time_text(when, r->checkpoint_wall);
		w_fmt(&b, ", up to %s", when);
	}
	w_fmt(&b, "\njournal  %s\n", journal_name(r->journal));
	put_receipt(&b, r);
	w_fmt(&b, "%s\n%s\n", proof, verdict(r->result));
	print_buf(&b);
	buf_fini(&b);
}

/* ---- the command ---- */

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	struct verify_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_VKEY:
		a->vkey = arg;
		return 0;
	case KEY_CHECKPOINT:
		a->checkpoint = arg;
		return 0;
	case KEY_RECEIPT:
		a->receipt = arg;
		return 0;
	case KEY_CONTENTS:
		a->with_contents = true;
		return 0;
	case KEY_ALL:
		a->all = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->id != NULL)
			argp_error(state, "one session, or all of them");
		a->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "vkey", KEY_VKEY, "KEY", 0,
	  "the gateway's public key, kept elsewhere (or @FILE that holds it)", 0 },
	{ "checkpoint", KEY_CHECKPOINT, "FILE", 0,
	  "a signed checkpoint kept elsewhere, which the log must contain", 0 },
	{ "receipt", KEY_RECEIPT, "TEXT", 0,
	  "a receipt (SHOW hansard.receipt): is what it names in this record, unaltered and signed?",
	  0 },
	{ "contents", KEY_CONTENTS, NULL, 0, "also decompress bodies and check what is in them",
	  0 },
	{ "all", KEY_ALL, NULL, 0, "all sessions (the default without an ID)", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_store_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "[ID]",
	.doc = "Check that the record is whole and unaltered, and say what proves it. Exit status: 0 nothing is wrong, "
	       "3 nothing wrong was found but no signature covers it, 4 tampered.",
	.children = children,
};

static int read_small(const char *path, size_t max, struct buf *out, struct err *e) {
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	buf_init(out, max + 1);
	uint8_t *p = buf_reserve(out, max);
	ssize_t n = fd < 0 || p == NULL ? -1 : read(fd, p, max);
	if (n <= 0)
		return err_at(e, H_EIO, path, "cannot be read, or is empty");
	buf_commit(out, (size_t)n);
	return 0;
}

/* --vkey, or the text in @FILE without its newline; *ret is fresh memory or NULL. */
static int take_vkey(const char *arg, char **ret, struct err *e) {
	struct buf b;
	if (arg == NULL || arg[0] != '@') {
		*ret = arg != NULL ? xstrdup(arg) : NULL;
		return 0;
	}
	int rc = read_small(arg + 1, VKEY_MAX, &b, e);
	if (rc == 0)
		*ret = str_dup(str_trim(buf_peek(&b)));
	buf_fini(&b);
	return rc;
}

static int say(const struct verifying *v, const struct verify_args *a,
               const struct verify_report *r) {
	const char *proof = r->result == VERIFY_BAD
	                            ? "Nothing is proven: this is not what was signed."
	                            : verify_proof_text(r, a->checkpoint != NULL);
	if (a->common.format == OUT_JSON || a->common.format == OUT_YAML) {
		json_t *doc = report_json(v, r, proof);
		print_json(doc, a->common.format);
		json_decref(doc);
	} else {
		print_text(v, r, proof, a->common.format == OUT_WIDE);
	}
	switch (r->result) {
	case VERIFY_OK:
		return CLI_OK;
	case VERIFY_UNVERIFIABLE:
		return CLI_UNVERIFIABLE;
	case VERIFY_BAD:
		return CLI_TAMPERED;
	}
	return CLI_FAILED;
}

/* One session is verified when all of it is signed; of a whole store the newest second never is. */
static void judge_one(const struct verifying *v, const struct verify_args *a,
                      struct verify_report *r) {
	size_t idx;
	json_t *s;
	if (a->id == NULL || r->result != VERIFY_OK)
		return;
	/* Of a session that goes on, a receipt proves its part. */
	if (a->receipt != NULL)
		return;
	json_array_foreach(v->sessions, idx,
	                   s) if (json_count(s, "frames_signed") < json_count(s, "frames"))
		r->result = VERIFY_UNVERIFIABLE;
}

/* Resolves the id, which needs a store that can still be read; verify_store() opens it anew. */
static int find_sid(struct found *f, const struct verify_args *a, struct err *e) {
	if (a->id == NULL)
		return common_store(&a->common, f->dir, sizeof(f->dir), e);
	int rc = find_one(f, &a->common, "verify", a->id, e);
	find_close(f);
	return rc;
}

/* The receipt names the session that is looked at. */
static int take_receipt(const struct verify_args *a, struct receipt *ret, struct found *f,
                        struct err *e) {
	if (a->receipt == NULL)
		return 0;
	if (receipt_parse(ret, str_trim(str_of(a->receipt))) < 0)
		return err_set(e, H_EUSAGE,
		               "verify: this is no receipt "
		               "(hsr1:<session id>:<frame>:<hash>:<log size>)");
	memcpy(f->sid, ret->sid, SID_SIZE);
	return 0;
}

static int verify(const struct verify_args *a, struct verifying *v, struct err *e) {
	struct found f = { .r = NULL };
	struct receipt receipt;
	struct verify_report r;
	struct buf checkpoint = { .p = NULL };
	auto_free char *vkey = NULL;
	char full[UUID_TEXT_SIZE] = "";
	int rc = find_sid(&f, a, e);
	bool is_one = a->id != NULL || a->receipt != NULL;
	if (rc == 0)
		rc = take_receipt(a, &receipt, &f, e);
	if (rc == 0)
		rc = take_vkey(a->vkey, &vkey, e);
	if (rc == 0 && a->checkpoint != NULL)
		rc = read_small(a->checkpoint, CHECKPOINT_MAX, &checkpoint, e);
	if (rc == 0) {
		if (is_one)
			uuid_text(full, f.sid);
		ask_announce(&a->common, f.dir, "record.verified", str_of(full));
		struct verify_options o = { .vkey = vkey,
			                    .checkpoint = buf_peek(&checkpoint),
			                    .only_sid = is_one ? f.sid : NULL,
			                    .receipt = a->receipt != NULL ? &receipt : NULL,
			                    .with_contents = a->with_contents,
			                    .arg = v,
			                    .on_session = on_session,
			                    .on_finding = on_finding,
			                    .on_progress = on_progress };
		rc = verify_store(f.dir, &o, &r, e);
	}
	if (v->has_tty)
		(void)fputs("\r\033[K", stderr);
	buf_fini(&checkpoint);
	if (rc != 0) {
		(void)err_set(e, rc, "%s", h_err_text(rc));
		return find_fail(e);
	}
	judge_one(v, a, &r);
	return say(v, a, &r);
}

int cmd_verify(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct verify_args a = { .id = NULL };
	cli_parse(&argp, argc, argv, &a);
	if ((a.all && a.id != NULL) || (a.receipt != NULL && (a.all || a.id != NULL))) {
		(void)err_set(&e, H_EUSAGE, "verify: a session, --all or --receipt, one of them");
		return cli_fail(&e);
	}
	struct verifying v = { .sessions = json_array(),
		               .findings = json_array(),
		               .has_tty = isatty(STDERR_FILENO) == 1,
		               .said = UINT64_MAX };
	int rc = verify(&a, &v, &e);
	json_decref(v.sessions);
	json_decref(v.findings);
	return rc;
}
