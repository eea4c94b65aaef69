/*
 * verify.c: the verifier's order of work, and its report.
 *
 * Order matters beside a running gateway, where things move from the journal to files and the log
 * only grows. So: the checkpoint first (what it signs must be found in what is read after it), then
 * the journal, then the list of files, then tiles and bundles, then sessions. Whatever then is
 * missing was missing before.
 *
 * What is proven (§10): a key from outside proves authorship; a key found in the store proves that
 * nothing broke by itself; neither can see that the whole store was put back to an older signed
 * state: a checkpoint kept outside can, and --checkpoint compares with it.
 */
#include "record/verify.h"

#include <stdarg.h>
#include <sys/stat.h>

#include "record/verify_priv.h"

enum { NODE_JSON_MAX = 4096, SESSIONS_MAX = 1 << 24, DEPTH_MAX = 8 };
#define LEAF_TEXT_MAX ((size_t)4 << 30)

const char *verify_state_text(enum verify_state state) {
	static const char *const texts[] = {
#define X(name, text) [VERIFY_##name] = text,
		VERIFY_STATES(X)
#undef X
	};

	return (size_t)state < ARRAY_LEN(texts) ? texts[state] : "?";
}

const char *verify_receipt_text(enum verify_receipt state) {
	static const char *const texts[] = {
#define X(name, text) [VERIFY_RECEIPT_##name] = text,
		VERIFY_RECEIPTS(X)
#undef X
	};

	return (size_t)state < ARRAY_LEN(texts) ? texts[state] : "?";
}

struct verify_place verify_at(const char *file, uint64_t offset) {
	struct verify_place p = { .offset = offset, .frame = VERIFY_NO_FRAME };

	(void)str_copy(p.file, sizeof(p.file), str_of(file));
	return p;
}

void verify_finding(struct verifier *v, enum verify_severity severity,
                    const struct verify_place *place, const char *fmt, ...) {
	struct verify_finding f = { .severity = severity, .place = *place };
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(f.text, sizeof(f.text), fmt, args);
	va_end(args);
	v->report->findings++;
	if (severity == VERIFY_TAMPERED)
		v->report->result = VERIFY_BAD;
	if (v->o->on_finding != NULL)
		v->o->on_finding(v->o->arg, &f);
}

void verify_progress(struct verifier *v, uint64_t bytes) {
	v->report->bytes += bytes;
	if (v->o->on_progress != NULL)
		v->o->on_progress(v->o->arg, v->report->bytes, v->bytes_total);
}

bool verify_is_live(struct verifier *v) {
	struct journal_index now;

	if (journal_index_make(&now, v->root) < 0)
		return false;
	bool moved = now.seg_count != 0 &&
	             (v->journal.seg_count == 0 ||
	              now.segs[now.end_seg].head.number !=
	                      v->journal.segs[v->journal.end_seg].head.number ||
	              now.end_offset != v->journal.end_offset);

	journal_index_free(&now);
	return moved;
}

/* --- sessions --- */

struct vsession *verify_session_of(struct verifier *v, const uint8_t sid[SID_SIZE]) {
	struct str key = str_mem(sid, SID_SIZE);
	struct vsession *s = map_get(v->by_sid, key);
	void *old;

	if (s != NULL)
		return s;
	s = xcalloc(1, sizeof(*s));
	memcpy(s->sid, sid, SID_SIZE);
	if (map_put(v->by_sid, key, s, &old) < 0)
		abort();
	if (v->session_count == v->session_cap) {
		v->session_cap = MAX(v->session_cap * 2, (size_t)64);
		v->sessions = xrealloc(v->sessions, v->session_cap * sizeof(struct vsession *));
	}
	v->sessions[v->session_count++] = s;
	return s;
}

static int by_id(const void *a, const void *b) {
	const struct vsession *const *x = a, *const *y = b;

	return memcmp((*x)->sid, (*y)->sid, SID_SIZE);
}

/* --- the list of files --- */

static void odd_file(struct verifier *v, const char *path) {
	struct verify_place place = verify_at(path, 0);
	size_t n = strlen(path);

	if (n < 4 || strcmp(path + n - 4, ".tmp") != 0)
		verify_finding(v, VERIFY_NOTE, &place, "the format names no such file");
}

static void add_tile(struct verifier *v, const char *path) {
	struct tile_file t = { .path = NULL };

	if (tlog_tile_path_parse(str_of(path + strlen("log/")), &t.level, &t.n, &t.width) < 0) {
		odd_file(v, path);
		return;
	}
	if (v->tile_count == v->tile_cap) {
		v->tile_cap = MAX(v->tile_cap * 2, (size_t)64);
		v->tiles = xrealloc(v->tiles, v->tile_cap * sizeof(*v->tiles));
	}
	t.path = xstrdup(path + strlen("log/"));
	v->tiles[v->tile_count++] = t;
}

static void add_part(struct verifier *v, const char *path) {
	const char *name = strrchr(path, '/') + 1;
	uint8_t sid[SID_SIZE];
	char want[READFS_PART_PATH_MAX];
	uint32_t part;

	if (readfs_part_name(str_of(name), sid, &part) < 0) {
		odd_file(v, path);
		return;
	}
	readfs_part_path(want, sid, part);
	if (strcmp(want, path) != 0 || part > 1000000) {
		odd_file(v, path);
		return;
	}
	struct vsession *s = verify_session_of(v, sid);

	s->has_files = true;
	s->part_files = MAX(s->part_files, part + 1);
}

static void add_file(struct verifier *v, const char *path) {
	uint64_t size = 0;
	int fd = readfs_open(v->root, path, &size);

	if (fd >= 0)
		(void)close(fd);
	if (str_starts(str_of(path), STR("log/tile/"))) {
		add_tile(v, path);
	} else if (str_starts(str_of(path), STR("sessions/"))) {
		add_part(v, path);
	} else if (str_starts(str_of(path), STR("journal/"))) {
		const char *name = path + strlen("journal/");
		bool is_segment = strlen(name) == 12 && strspn(name, "0123456789abcdef") == 8 &&
		                  strcmp(name + 8, ".seg") == 0;

		if (!is_segment)
			odd_file(v, path);
		return; /* counted when it was scanned */
	} else if (strcmp(path, "node.json") != 0 && strcmp(path, "log/checkpoint") != 0) {
		odd_file(v, path);
	}
	v->bytes_total += size;
}

/* Everything below record/, depth first, with a stack of names instead of recursion. */
static int list_files(struct verifier *v) {
	struct {
		struct readfs_names names;
		size_t at;
		char path[256];
	} stack[DEPTH_MAX];
	size_t depth = 1;
	int rc = readfs_list(v->root, "", &stack[0].names);

	stack[0].at = 0;
	stack[0].path[0] = '\0';
	while (rc == 0 && depth != 0) {
		size_t top = depth - 1;

		if (stack[top].at == stack[top].names.count) {
			readfs_names_free(&stack[top].names);
			depth--;
			continue;
		}
		auto_free char *path = xasprintf("%s%s", stack[top].path,
		                                 stack[top].names.name[stack[top].at++]);
		size_t n = strlen(path);

		if (path[n - 1] != '/' || depth == DEPTH_MAX || n >= sizeof(stack[0].path)) {
			add_file(v, path);
			continue;
		}
		(void)str_copy(stack[depth].path, sizeof(stack[0].path), str_of(path));
		path[n - 1] = '\0';
		rc = readfs_list(v->root, path, &stack[depth].names);
		stack[depth].at = 0;
		depth++;
	}
	while (depth != 0)
		readfs_names_free(&stack[--depth].names);
	return rc;
}

static int by_tile(const void *a, const void *b) {
	const struct tile_file *x = a, *y = b;

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return x->width < y->width ? -1 : x->width > y->width;
}

/* --- node and key --- */

/* The value of a member, cut out of the one spelling that node.json has. */
static struct str cut_member(struct str *rest, const char *before) {
	if (!str_starts(*rest, str_of(before)))
		return STR_NONE;
	*rest = str_from(*rest, strlen(before));
	return str_cut(rest, '"');
}

static void read_node(struct verifier *v) {
	struct verify_place place = verify_at("node.json", 0);
	struct buf b;

	buf_init(&b, NODE_JSON_MAX);
	int rc = readfs_read(v->root, "node.json", &b);
	struct str rest = str_trim(buf_peek(&b));
	struct str node = cut_member(&rest, "{\"format\":1,\"node\":\"");
	struct str origin = cut_member(&rest, ",\"origin\":\"");
	struct str vkey = cut_member(&rest, ",\"vkey\":\"");
	struct tlog_vkey k;
	char hex[2 * TLOG_NODE_SIZE + 1] = "";

	if (node.n == 2 * TLOG_NODE_SIZE && hex_decode(v->node, sizeof(v->node), node) > 0)
		hex_encode(hex, v->node, sizeof(v->node));
	v->has_node = rc == 0 && str_is(node, hex) && str_is(rest, "}");
	if (!v->has_node || tlog_vkey_parse(&k, vkey) < 0 || !str_is(origin, k.name)) {
		verify_finding(v, VERIFY_TAMPERED, &place, "%s",
		               rc == H_ENOTFOUND ? "it is missing" : "it is malformed");
	} else if (!v->has_vkey) {
		v->vkey = k;
		v->has_vkey = true;
		v->report->key = VERIFY_KEY_FOUND;
	} else if (strcmp(k.name, v->vkey.name) != 0 ||
	           memcmp(k.pub, v->vkey.pub, ED25519_PUB_SIZE) != 0) {
		verify_finding(v, VERIFY_TAMPERED, &place, "its key is not the one that was given");
	}
	(void)str_copy(v->report->origin, sizeof(v->report->origin), origin);
	buf_fini(&b);
}

/* --- checkpoint and journal --- */

static void read_checkpoint(struct verifier *v) {
	struct verify_place place = verify_at("log/checkpoint", 0);
	struct buf b;

	buf_init(&b, TLOG_CHECKPOINT_MAX + 1);
	int rc = readfs_read(v->root, "log/checkpoint", &b);

	verify_progress(v, b.len);
	if (rc == 0 && v->has_vkey)
		rc = tlog_checkpoint_open(&v->checkpoint, buf_peek(&b), &v->vkey);
	else if (rc == 0)
		rc = H_EAUTH;
	v->has_checkpoint = rc == 0;
	if (rc == 0) {
		(void)str_copy(v->report->origin, sizeof(v->report->origin), v->checkpoint.origin);
		v->checkpoint.origin = STR_NONE;
	} else {
		v->report->key = VERIFY_KEY_NONE;
	}
	if (rc == H_EFORMAT || rc == H_ELIMIT)
		verify_finding(v, VERIFY_TAMPERED, &place, "it is malformed");
	else if (rc == H_ENOTFOUND && b.len != 0)
		verify_finding(v, VERIFY_TAMPERED, &place,
		               "it is not signed by the key of this log");
	else if (rc == H_ETAMPERED)
		verify_finding(v, VERIFY_TAMPERED, &place, "its signature does not hold");
	else if (rc < 0)
		verify_finding(v, VERIFY_NOTE, &place,
		               "there is no checkpoint that could be verified");
	buf_fini(&b);
}

/* Rules 1 to 3 of §8, once the size that is signed is known. */
static void judge_journal(struct verifier *v) {
	const struct journal_index *j = &v->journal;
	char file[64] = "journal";

	v->report->journal = j->seg_count == 0 ? VERIFY_JOURNAL_NONE : VERIFY_JOURNAL_WHOLE;
	if (j->altered[0] != '\0') {
		(void)snprintf(file, sizeof(file), "journal/%.40s", j->altered_name);
		struct verify_place place = verify_at(file, j->altered_offset);

		v->report->journal = VERIFY_JOURNAL_ALTERED;
		verify_finding(v, VERIFY_TAMPERED, &place, "%s", j->altered);
	}
	if (j->seg_count == 0) {
		struct verify_place place = verify_at(file, 0);

		if (v->has_checkpoint)
			verify_finding(
				v, VERIFY_TAMPERED, &place,
				"the journal is missing; a gateway never gives back its last "
				"segment");
		return;
	}
	(void)snprintf(file, sizeof(file), "journal/%.40s", j->segs[j->end_seg].name);
	struct verify_place end = verify_at(file, j->end_offset);

	if (v->has_checkpoint && j->next_leaf < v->checkpoint.size) {
		v->report->journal = VERIFY_JOURNAL_ALTERED;
		verify_finding(v, VERIFY_TAMPERED, &end,
		               "the journal ends (%s) after leaf %llu of the log, %llu are signed",
		               j->end_why, (unsigned long long)j->next_leaf,
		               (unsigned long long)v->checkpoint.size);
	} else if (j->is_torn && v->report->journal == VERIFY_JOURNAL_WHOLE) {
		v->report->journal = VERIFY_JOURNAL_TORN;
		verify_finding(v, VERIFY_NOTE, &end,
		               "torn tail (%s): nothing that was acknowledged is missing",
		               j->end_why);
	}
	/* That the segments are of one node is the scan's business. */
	if (v->has_node && memcmp(j->segs[0].head.node, v->node, TLOG_NODE_SIZE) != 0) {
		struct verify_place place = verify_at("node.json", 0);

		verify_finding(v, VERIFY_TAMPERED, &place,
		               "it names another node than the journal");
	}
}

static int judge_sessions(struct verifier *v) {
	const struct journal_index *j = &v->journal;
	int rc = 0;

	for (size_t i = 0; i < j->frame_count; i++) {
		if (i == 0 || memcmp(j->frames[i - 1].sid, j->frames[i].sid, SID_SIZE) != 0)
			(void)verify_session_of(v, j->frames[i].sid);
	}
	if (v->session_count != 0)
		qsort(v->sessions, v->session_count, sizeof(struct vsession *), by_id);
	for (size_t i = 0; i < v->session_count && rc == 0; i++) {
		if (v->o->only_sid == NULL ||
		    memcmp(v->o->only_sid, v->sessions[i]->sid, SID_SIZE) == 0)
			rc = verify_one(v, v->sessions[i]);
	}
	if (v->report->sessions[VERIFY_TRUNCATED] + v->report->sessions[VERIFY_ALTERED] +
	            v->report->sessions[VERIFY_UNKNOWN] !=
	    0)
		v->report->result = VERIFY_BAD;
	return rc;
}

/* --- the receipt --- */

/* A claim that covers the frame and stands before the log was as long as the receipt says, or a log that
 * is shorter than that: one of the two is not what it was. */
static bool is_receipt_late(const struct verifier *v, const struct receipt *r) {
	uint64_t leaf = v->report->receipt_leaf;

	return v->leaf_count < r->log_size || (leaf != UINT64_MAX && leaf < r->log_size);
}

static void judge_receipt(struct verifier *v) {
	const struct receipt *r = v->o->receipt;
	struct verify_report *report = v->report;

	if (r == NULL)
		return;
	if (report->receipt == VERIFY_RECEIPT_NONE)
		report->receipt = VERIFY_RECEIPT_ABSENT;
	if (report->receipt == VERIFY_RECEIPT_EARLY && is_receipt_late(v, r))
		report->receipt = VERIFY_RECEIPT_ALTERED;
	if (report->receipt == VERIFY_RECEIPT_EARLY && report->receipt_leaf < report->leaves_signed)
		report->receipt = VERIFY_RECEIPT_PROVEN;
	if (report->receipt == VERIFY_RECEIPT_ABSENT || report->receipt == VERIFY_RECEIPT_ALTERED)
		report->result = VERIFY_BAD;
	else if (report->receipt == VERIFY_RECEIPT_EARLY && report->result == VERIFY_OK)
		report->result = VERIFY_UNVERIFIABLE;
}

/* --- all of it --- */

static int read_options(struct verifier *v, struct err *e) {
	const struct verify_options *o = v->o;

	if (o->vkey != NULL) {
		if (tlog_vkey_parse(&v->vkey, str_of(o->vkey)) < 0)
			return err_set(e, H_EUSAGE,
			               "the key that was given is not a vkey "
			               "(<origin>+<key id>+<base64>)");
		v->has_vkey = true;
		v->report->key = VERIFY_KEY_GIVEN;
	}
	return 0;
}

/* After the key is known. */
static int read_outside(struct verifier *v, struct err *e) {
	int rc;

	if (v->o->checkpoint.n == 0)
		return 0;
	if (!v->has_vkey)
		return err_set(e, H_EUSAGE, "a checkpoint needs a key to verify it with");
	rc = tlog_checkpoint_open(&v->outside, v->o->checkpoint, &v->vkey);
	if (rc < 0)
		return err_set(e, H_EUSAGE,
		               "the checkpoint that was given does not verify with the key");
	v->has_outside = true;
	return 0;
}

static int run(struct verifier *v, struct err *e) {
	read_node(v);
	int rc = read_outside(v, e);

	if (rc < 0)
		return rc;
	read_checkpoint(v);
	rc = journal_index_make(&v->journal, v->root);
	if (rc < 0)
		return err_set(e, rc, "the journal cannot be read: %s", h_err_text(rc));
	v->bytes_total = v->journal.bytes;
	verify_progress(v, v->journal.bytes);
	rc = list_files(v);
	if (rc < 0)
		return err_set(e, rc, "the files cannot be listed: %s", h_err_text(rc));
	if (v->tile_count != 0)
		qsort(v->tiles, v->tile_count, sizeof(*v->tiles), by_tile);
	judge_journal(v);
	rc = verify_log(v);
	if (rc == 0)
		rc = judge_sessions(v);
	if (rc < 0)
		return err_set(e, rc, "%s", h_err_text(rc));
	judge_receipt(v);
	if (v->report->result == VERIFY_OK && v->report->key == VERIFY_KEY_NONE)
		v->report->result = VERIFY_UNVERIFIABLE;
	return 0;
}

static void fini(struct verifier *v) {
	for (size_t i = 0; i < v->session_count; i++) {
		free(v->sessions[i]->claims);
		free(v->sessions[i]);
	}
	for (size_t i = 0; i < v->tile_count; i++)
		free(v->tiles[i].path);
	free(v->tiles);
	free(v->sessions);
	free(v->leaves);
	free(v->hashes);
	buf_fini(&v->leaf_text);
	map_free(&v->by_sid);
	journal_fetch_fini(&v->fetch);
	frame_file_close(&v->file);
	journal_index_free(&v->journal);
	frame_codec_free(&v->codec);
	(void)close(v->root);
}

int verify_store(const char *dir, const struct verify_options *o, struct verify_report *ret,
                 struct err *e) {
	struct verify_report report = { .receipt_leaf = UINT64_MAX };
	struct verifier v = { .o = o, .report = &report };

	v.root = readfs_root(dir);
	if (v.root < 0)
		return err_set(e, v.root, "%s: %s", dir,
		               v.root == H_ENOTFOUND ? "there is no record in it"
		                                     : "cannot be read");
	v.codec = frame_codec_new();
	v.by_sid = map_new(SESSIONS_MAX);
	buf_init(&v.leaf_text, LEAF_TEXT_MAX);
	frame_file_init(&v.file);
	journal_fetch_init(&v.fetch, v.root);
	int rc = read_options(&v, e);

	rc = rc == 0 ? run(&v, e) : rc;
	fini(&v);
	if (rc == 0)
		*ret = report;
	return rc;
}

const char *verify_proof_text(const struct verify_report *r, bool has_outside_checkpoint) {
	switch (r->key) {
	case VERIFY_KEY_GIVEN:
		if (has_outside_checkpoint)
			return "Signed with the key that was given, and it contains the checkpoint that was kept "
			       "outside: nothing up to that checkpoint was removed or changed.";
		return "Signed with the key that was given: its holder made this record. Without a witness or "
		       "a checkpoint kept outside, a return of the whole store to an older signed state "
		       "cannot be seen.";
	case VERIFY_KEY_FOUND:
		return "Checked with the key that was found in the store itself: this excludes accidents and "
		       "no more. Whoever can write to the store could have signed it anew.";
	case VERIFY_KEY_NONE:
		return "No signature was verified: this excludes accidents at most.";
	}
	return "";
}
