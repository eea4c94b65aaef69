/*
 * reader.c: a store as people read it.
 *
 * A session is its part files in order and, behind their end, the journal:
 *
 *   part 0 (sealed) | part 1 (sealed) | part 2 …            frames 0 to m - 1, on disk for good
 *                                       journal …           frames j to n - 1, j <= m
 *
 * so frames are taken from parts as long as they go on, and then from the journal. A part that ends
 * inside a frame was being appended to; what is missing there stands in the journal. When a frame
 * of the journal is gone by the time it is fetched, its segment has been put to another use, and the
 * frame is in a part now: the session starts over at its parts and skips what was read.
 */
#include "record/reader.h"

#include <jansson.h>
#include <time.h>

#include "record/journal_read.h"
#include "record/readfs.h"

enum { NODE_JSON_MAX = 4096, PREFIX_MIN = 4 };

struct reader {
	int root;
	bool only_parts; /* no journal: reader_open_parts() */
	struct journal_index journal;
	char origin[256];
	char vkey[384];
	struct frame_codec *codec;
};

struct reader_session {
	struct reader *r;
	uint8_t sid[SID_SIZE];
	uint64_t next; /* frame number */
	uint32_t part; /* of the file that is open or comes next */
	bool has_file, no_more_parts, was_restarted, any_first;
	struct frame_file file;
	struct journal_fetch fetch;
	char path[READFS_PART_PATH_MAX];
	/* Items. */
	struct frame frame;
	struct frame_walk walk;
	bool is_walking;
};

static void read_node(struct reader *r) {
	struct buf b;

	buf_init(&b, NODE_JSON_MAX);
	json_t *doc = readfs_read(r->root, "node.json", &b) == 0
	                      ? json_loadb((const char *)b.p + b.off, b.len, 0, NULL)
	                      : NULL;
	const char *origin = json_string_value(json_object_get(doc, "origin"));
	const char *vkey = json_string_value(json_object_get(doc, "vkey"));

	(void)str_copy(r->origin, sizeof(r->origin), str_of(origin));
	(void)str_copy(r->vkey, sizeof(r->vkey), str_of(vkey));
	json_decref(doc);
	buf_fini(&b);
}

static int open_root(struct reader **ret, const char *dir, struct err *e) {
	int root = readfs_root(dir);

	if (root < 0)
		return err_set(e, root, "%s: %s", dir,
		               root == H_ENOTFOUND ? "there is no record in it" : "cannot be read");
	struct reader *r = xcalloc(1, sizeof(*r));

	r->root = root;
	r->codec = frame_codec_new();
	read_node(r);
	*ret = r;
	return 0;
}

int reader_open_parts(struct reader **ret, const char *dir, struct err *e) {
	int rc = open_root(ret, dir, e);

	if (rc == 0)
		(*ret)->only_parts = true;
	return rc;
}

int reader_open(struct reader **ret, const char *dir, struct err *e) {
	struct reader *r = NULL;
	int rc = open_root(&r, dir, e);

	if (rc < 0 || r == NULL)
		return rc;
	rc = journal_index_make(&r->journal, r->root);
	if (rc < 0) {
		reader_close(&r);
		return err_set(e, rc, "%s: the journal cannot be read: %s", dir, h_err_text(rc));
	}
	*ret = r;
	return 0;
}

void reader_close(struct reader **r) {
	if (*r == NULL)
		return;
	(void)close((*r)->root);
	journal_index_free(&(*r)->journal);
	frame_codec_free(&(*r)->codec);
	free(*r);
	*r = NULL;
}

int reader_refresh(struct reader *r, struct err *e) {
	struct journal_index fresh;

	if (r->only_parts)
		return 0;
	int rc = journal_index_make(&fresh, r->root);

	if (rc < 0)
		return err_set(e, rc, "the journal cannot be read: %s", h_err_text(rc));
	journal_index_free(&r->journal);
	r->journal = fresh;
	return 0;
}

struct str reader_origin(const struct reader *r) {
	return str_of(r->origin);
}

struct str reader_vkey(const struct reader *r) {
	return str_of(r->vkey);
}

/* --- which sessions there are --- */

struct sids {
	uint8_t (*sid)[SID_SIZE];
	size_t count, cap;
	char from[40]; /* the first day's directory; empty: all */
};

static void add_sid(struct sids *s, const uint8_t sid[SID_SIZE]) {
	if (s->count == s->cap) {
		s->cap = MAX(s->cap * 2, (size_t)64);
		s->sid = xrealloc(s->sid, s->cap * SID_SIZE);
	}
	memcpy(s->sid[s->count++], sid, SID_SIZE);
}

static int by_sid(const void *a, const void *b) {
	return memcmp(a, b, SID_SIZE);
}

/* Names below a directory of the sessions tree: calls itself never, depth is fixed at three. */
static int add_day(struct reader *r, const char *day, struct sids *out) {
	struct readfs_names names;
	int rc = readfs_list(r->root, day, &names);

	for (size_t i = 0; rc == 0 && i < names.count; i++) {
		uint8_t sid[SID_SIZE];
		uint32_t part;

		if (readfs_part_name(str_of(names.name[i]), sid, &part) == 0)
			add_sid(out, sid);
	}
	readfs_names_free(&names);
	return rc;
}

static bool is_number_dir(const char *name, size_t digits) {
	return strlen(name) == digits + 1 && strspn(name, "0123456789") == digits &&
	       name[digits] == '/';
}

static int add_month(struct reader *r, const char *month, struct sids *out) {
	struct readfs_names days;
	int rc = readfs_list(r->root, month, &days);

	for (size_t i = 0; rc == 0 && i < days.count; i++) {
		auto_free char *day = xasprintf("%s/%.2s", month, days.name[i]);

		if (is_number_dir(days.name[i], 2) && strcmp(day, out->from) >= 0)
			rc = add_day(r, day, out);
	}
	readfs_names_free(&days);
	return rc;
}

static int add_year(struct reader *r, const char *year, struct sids *out) {
	struct readfs_names months;
	int rc = readfs_list(r->root, year, &months);

	for (size_t i = 0; rc == 0 && i < months.count; i++) {
		auto_free char *month = xasprintf("%s/%.2s", year, months.name[i]);

		if (is_number_dir(months.name[i], 2))
			rc = add_month(r, month, out);
	}
	readfs_names_free(&months);
	return rc;
}

static int add_files(struct reader *r, struct sids *out) {
	struct readfs_names years;
	int rc = readfs_list(r->root, "sessions", &years);

	for (size_t i = 0; rc == 0 && i < years.count; i++) {
		size_t digits = strlen(years.name[i]) - 1;
		auto_free char *year = xasprintf("sessions/%.*s", (int)digits, years.name[i]);

		if (digits >= 4 && is_number_dir(years.name[i], digits))
			rc = add_year(r, year, out);
	}
	readfs_names_free(&years);
	return rc;
}

/* All session ids, sorted, each once. */
static int list_sids(struct reader *r, struct sids *out) {
	size_t n = 0;
	int rc = add_files(r, out);

	for (size_t i = 0; i < r->journal.frame_count; i++) {
		const struct journal_frame *f = &r->journal.frames[i];

		if (i == 0 || memcmp(f[-1].sid, f->sid, SID_SIZE) != 0)
			add_sid(out, f->sid);
	}
	if (out->count != 0)
		qsort(out->sid, out->count, SID_SIZE, by_sid);
	for (size_t i = 0; i < out->count; i++) {
		if (n == 0 || memcmp(out->sid[n - 1], out->sid[i], SID_SIZE) != 0)
			memmove(out->sid[n++], out->sid[i], SID_SIZE);
	}
	out->count = n;
	return rc;
}

static int each_of(struct reader *r, struct sids *all, reader_sid_fn *fn, void *arg) {
	int rc = list_sids(r, all);

	for (size_t i = 0; rc == 0 && i < all->count; i++)
		rc = fn(arg, all->sid[i]);
	free(all->sid);
	return rc;
}

int reader_each(struct reader *r, reader_sid_fn *fn, void *arg) {
	struct sids all = { 0 };

	return each_of(r, &all, fn, arg);
}

int reader_each_since(struct reader *r, uint64_t wall_ns, reader_sid_fn *fn, void *arg) {
	time_t t = (time_t)(wall_ns / 1000000000u);
	struct sids all = { 0 };
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL)
		(void)strftime(all.from, sizeof(all.from), "sessions/%Y/%m/%d", &tm);
	return each_of(r, &all, fn, arg);
}

/* --- finding one --- */

static bool starts_nocase(const char *text, struct str prefix) {
	return prefix.n <= strlen(text) && str_eq_nocase(str_mem(text, prefix.n), prefix);
}

static bool fits(const uint8_t sid[SID_SIZE], struct str id) {
	char uuid[UUID_TEXT_SIZE], brief[SHORT_ID_SIZE];

	uuid_text(uuid, sid);
	short_id(brief, sid);
	return starts_nocase(uuid, id) || starts_nocase(brief, id);
}

static bool is_acts(struct reader *r, const uint8_t sid[SID_SIZE]) {
	struct reader_session *x = NULL;
	struct reader_item item = { 0 };
	bool acts = false;

	if (reader_session_open(&x, r, sid, NULL) == 0 &&
	    reader_session_item(x, &item, NULL) == 1 && item.kind == FRAME_OPEN) {
		json_t *doc = json_loadb(item.json.p, item.json.n, 0, NULL);
		const char *protocol = json_string_value(json_object_get(doc, "protocol"));

		acts = protocol != NULL && strcmp(protocol, "acts") == 0;
		json_decref(doc);
	}
	reader_session_close(&x);
	return acts;
}

static int find_last(struct reader *r, const struct sids *all, uint8_t ret_sid[SID_SIZE],
                     struct err *e) {
	for (size_t i = all->count; i > 0; i--) {
		if (is_acts(r, all->sid[i - 1]))
			continue;
		memcpy(ret_sid, all->sid[i - 1], SID_SIZE);
		return 0;
	}
	return err_set(e, H_ENOTFOUND, "there is no session yet");
}

static int find_prefix(const struct sids *all, struct str id, uint8_t ret_sid[SID_SIZE],
                       struct err *e) {
	const uint8_t *found = NULL;
	unsigned count = 0;

	if (id.n < PREFIX_MIN)
		return err_set(e, H_EUSAGE, "a session id needs at least %d characters",
		               PREFIX_MIN);
	for (size_t i = 0; i < all->count; i++) {
		if (!fits(all->sid[i], id))
			continue;
		found = all->sid[i];
		count++;
	}
	if (count == 0)
		return err_set(e, H_ENOTFOUND, "no session has the id %.*s", STR_ARG(id));
	if (count > 1)
		return err_set(e, H_EEXIST, "%u sessions have ids that begin with %.*s", count,
		               STR_ARG(id));
	memcpy(ret_sid, found, SID_SIZE);
	return 0;
}

int reader_find(struct reader *r, struct str id, uint8_t ret_sid[SID_SIZE], struct err *e) {
	struct sids all = { 0 };
	int rc = list_sids(r, &all);

	if (rc < 0)
		(void)err_set(e, rc, "the sessions cannot be listed: %s", h_err_text(rc));
	else if (str_is(id, "@last"))
		rc = find_last(r, &all, ret_sid, e);
	else
		rc = find_prefix(&all, id, ret_sid, e);
	free(all.sid);
	return rc;
}

/* --- one session --- */

int reader_session_open(struct reader_session **ret, struct reader *r, const uint8_t sid[SID_SIZE],
                        struct err *e) {
	struct reader_session *x = xcalloc(1, sizeof(*x));
	size_t in_journal;

	x->r = r;
	memcpy(x->sid, sid, SID_SIZE);
	frame_file_init(&x->file);
	journal_fetch_init(&x->fetch, r->root);
	readfs_part_path(x->path, sid, 0);
	int rc = frame_file_open(&x->file, r->root, x->path);

	(void)journal_index_session(&r->journal, sid, &in_journal);
	if (rc < 0 && (rc != H_ENOTFOUND || in_journal == 0)) {
		reader_session_close(&x);
		(void)err_set(e, rc, "the session cannot be opened: %s", h_err_text(rc));
		return rc;
	}
	x->has_file = rc == 0;
	x->no_more_parts = rc < 0;
	*ret = x;
	return 0;
}

void reader_session_close(struct reader_session **x) {
	if (*x == NULL)
		return;
	frame_file_close(&(*x)->file);
	journal_fetch_fini(&(*x)->fetch);
	free(*x);
	*x = NULL;
}

/* To the start of a part; what lies before x->next is skipped. */
static void go_to_part(struct reader_session *x, uint32_t part) {
	x->part = part;
	x->has_file = false;
	x->no_more_parts = false;
}

void reader_session_rewind(struct reader_session *x) {
	go_to_part(x, 0);
	x->next = 0;
	x->was_restarted = false;
	x->any_first = false;
	x->is_walking = false;
}

static int wrong(const struct reader_session *x, struct err *e, uint64_t at, const char *what) {
	return err_set(e, H_ETAMPERED, "frame %llu: %s (%s, byte %llu)",
	               (unsigned long long)x->next, what, x->path, (unsigned long long)at);
}

/* Opens the next part: 1, or 0 when there is none. */
static int next_part(struct reader_session *x, struct err *e) {
	readfs_part_path(x->path, x->sid, x->part);
	int rc = frame_file_open(&x->file, x->r->root, x->path);

	if (rc == H_ENOTFOUND) {
		x->no_more_parts = true;
		return 0;
	}
	if (rc < 0)
		return err_set(e, rc, "%s: %s", x->path, h_err_text(rc));
	x->has_file = true;
	return 1;
}

/* No whole frame stands at `at`: a torn append, when the journal goes on here; if it does not even
 * now, someone was at work. */
static int after_end(struct reader_session *x, uint64_t at, struct err *e) {
	if (x->r->only_parts || journal_index_find(&x->r->journal, x->sid, x->next) != NULL) {
		x->no_more_parts = true;
		return 0;
	}
	if (x->was_restarted)
		return wrong(x, e, at, "no whole frame stands there");
	x->was_restarted = true;
	go_to_part(x, x->part);
	return reader_refresh(x->r, e);
}

/* The next frame of the parts: 1, 0 when they have ended. */
static int from_parts(struct reader_session *x, struct frame *ret, struct err *e) {
	while (!x->no_more_parts) {
		int rc = x->has_file ? 1 : next_part(x, e);

		if (rc <= 0)
			return rc;
		uint64_t at = x->file.at;

		rc = frame_file_next(&x->file, ret);
		if (rc == 0) {
			go_to_part(x, x->part + 1);
			continue;
		}
		if (rc == H_EIO)
			return err_set(e, rc, "%s: %s", x->path, h_err_text(rc));
		if (rc < 0) {
			rc = after_end(x, at, e);
			if (rc < 0)
				return rc;
			continue;
		}
		if (!frame_in_tree(ret->head.kind) ||
		    (!x->any_first && ret->head.frame_no < x->next &&
		     memcmp(ret->head.sid, x->sid, SID_SIZE) == 0))
			continue;
		if (x->any_first)
			x->next = ret->head.frame_no;
		x->any_first = false;
		if (memcmp(ret->head.sid, x->sid, SID_SIZE) != 0 || ret->head.frame_no != x->next)
			return wrong(x, e, at, "another frame stands in its place");
		return frame_check_body(ret) < 0 ? wrong(x, e, at, "its body was altered") : 1;
	}
	return 0;
}

/* Is a frame behind the next one in the journal? Then the next one is missing. */
static bool journal_goes_on(const struct reader_session *x) {
	size_t n;
	const struct journal_frame *first = journal_index_session(&x->r->journal, x->sid, &n);

	return n != 0 && first[n - 1].frame_no > x->next;
}

enum { AGAIN = 2 };

/* 1, 0 at the end, AGAIN when the frame has moved to a part meanwhile. */
static int from_journal(struct reader_session *x, struct frame *ret, struct err *e) {
	const struct journal_frame *at = journal_index_find(&x->r->journal, x->sid, x->next);
	int rc;

	if (at == NULL && journal_goes_on(x))
		return err_set(e, H_ETAMPERED, "frame %llu is missing",
		               (unsigned long long)x->next);
	if (at == NULL)
		return 0;
	rc = journal_fetch(&x->fetch, &x->r->journal, at, ret);
	if (rc == 0)
		return 1;
	if (rc != H_ENOTFOUND || x->was_restarted)
		return err_set(e, rc == H_ENOTFOUND ? H_ETAMPERED : rc,
		               "frame %llu cannot be read from the journal",
		               (unsigned long long)x->next);
	/* Its segment was put to another use: the frame is in a part now. */
	x->was_restarted = true;
	go_to_part(x, x->part);
	rc = reader_refresh(x->r, e);
	return rc < 0 ? rc : AGAIN;
}

int reader_session_next(struct reader_session *x, struct frame *ret, struct err *e) {
	struct frame got = { 0 };
	int rc;

	do {
		rc = from_parts(x, &got, e);
		if (rc == 0)
			rc = from_journal(x, &got, e);
	} while (rc == AGAIN);
	if (rc == 1) {
		*ret = got;
		x->next = got.head.frame_no + 1;
		x->was_restarted = false;
	}
	return rc;
}

/* --- items --- */

static int next_event(struct reader_session *x, struct reader_item *ret) {
	struct rec_event e = { 0 };
	int rc = frame_walk_next(&x->walk, &e);

	if (rc == 0 || (rc < 0 && x->walk.r.bad))
		return rc;
	*ret = (struct reader_item){ .kind = FRAME_DATA, .head = x->frame.head, .event = e };
	ret->is_bad = rc < 0;
	ret->wall_ns = x->frame.head.wall_ns - (x->frame.head.mono_ns - e.mono_ns);
	return 1;
}

int reader_session_item(struct reader_session *x, struct reader_item *ret, struct err *e) {
	struct str raw;

	for (;;) {
		int rc = x->is_walking ? next_event(x, ret) : 0;

		if (rc > 0)
			return rc;
		x->is_walking = false;
		if (rc < 0)
			return err_set(e, rc, "frame %llu: its events do not decode",
			               (unsigned long long)x->next - 1);
		rc = reader_session_next(x, &x->frame, e);
		if (rc <= 0)
			return rc;
		rc = frame_raw(x->r->codec, &x->frame, &raw);
		if (rc == 0 && x->frame.head.kind == FRAME_DATA)
			rc = frame_walk_begin(&x->walk, &x->frame.head, raw);
		if (rc < 0)
			return err_set(e, rc, "frame %llu: its body does not decode: %s",
			               (unsigned long long)x->next - 1, h_err_text(rc));
		x->is_walking = x->frame.head.kind == FRAME_DATA;
		if (x->is_walking)
			continue;
		*ret = (struct reader_item){ .kind = x->frame.head.kind,
			                     .head = x->frame.head,
			                     .wall_ns = x->frame.head.wall_ns };
		rc = frame_after_salt(raw, &ret->json);
		return rc < 0 ? err_set(e, rc, "frame %llu is too short",
		                        (unsigned long long)x->next - 1)
		              : 1;
	}
}

/* --- summaries --- */

static char *json_of(struct reader *r, const struct frame *f) {
	struct str raw, json;

	if (frame_raw(r->codec, f, &raw) < 0 || frame_after_salt(raw, &json) < 0)
		return NULL;
	return str_dup(json);
}

/* Part files there are, and their bytes. */
static void count_parts(struct reader_session *x, struct reader_summary *out) {
	for (;; out->parts++) {
		char path[READFS_PART_PATH_MAX];
		uint64_t size;

		readfs_part_path(path, x->sid, out->parts);
		int fd = readfs_open(x->r->root, path, &size);

		if (fd < 0)
			return;
		(void)close(fd);
		out->bytes += size;
	}
}

static void note_frame(struct reader *r, struct reader_summary *out, const struct frame *f) {
	out->frames = f->head.frame_no + 1;
	out->last_wall_ns = f->head.wall_ns;
	if (f->head.kind == FRAME_OPEN && out->open_json == NULL) {
		out->open_json = json_of(r, f);
		out->opened_wall_ns = f->head.wall_ns;
	}
	if (f->head.kind == FRAME_CLOSE && out->close_json == NULL) {
		out->close_json = json_of(r, f);
		out->is_recovered = (f->head.flags & FRAME_RECOVERED) != 0;
	}
}

int reader_summarize(struct reader *r, const uint8_t sid[SID_SIZE], struct reader_summary *out,
                     struct err *e) {
	struct reader_session *x = NULL;
	struct frame f = { 0 };
	struct reader_summary got = { 0 };
	int rc = reader_session_open(&x, r, sid, e);

	if (rc < 0)
		return rc;
	memcpy(got.sid, sid, SID_SIZE);
	short_id(got.short_id, sid);
	count_parts(x, &got);
	rc = reader_session_next(x, &f, e);
	if (rc == 1)
		note_frame(r, &got, &f);
	if (rc == 1 && got.parts > 1) {
		/* Only the last part is read through. */
		go_to_part(x, got.parts - 1);
		x->any_first = true;
	}
	while (rc == 1 && (rc = reader_session_next(x, &f, e)) == 1)
		note_frame(r, &got, &f);
	reader_session_close(&x);
	if (rc < 0 && got.frames == 0) {
		reader_summary_fini(&got);
		return rc;
	}
	*out = got;
	return 0;
}

void reader_summary_fini(struct reader_summary *s) {
	free(s->open_json);
	free(s->close_json);
	s->open_json = s->close_json = NULL;
}

/* --- has it ended --- */

enum { END_MAX = 64 * 1024 }; /* a close frame is far shorter */

/* The frame of n bytes at an offset, borrowed from `buf`. */
static bool frame_at(int fd, struct buf *buf, uint64_t at, uint64_t n, struct frame *ret) {
	buf_clear(buf);
	uint8_t *p = n <= END_MAX ? buf_reserve(buf, (size_t)n) : NULL;

	if (p == NULL || readfs_pread(fd, p, (size_t)n, at) != (ssize_t)n)
		return false;
	buf_commit(buf, (size_t)n);
	return frame_parse(ret, buf_peek(buf)) > 0;
}

/* … close frame | index | trailer: the trailer says where the index begins, the index's last row where the
 * last frame does. */
static bool ends_with_close(struct reader *r, int fd, uint64_t size, struct buf *buf) {
	const uint64_t end = FRAME_HEAD_SIZE + FRAME_TRAILER_SIZE;
	uint8_t row[FRAME_INDEX_ROW_SIZE];
	struct frame_trailer t;
	struct frame f;
	struct str raw;

	if (size < end || !frame_at(fd, buf, size - end, end, &f) || f.head.kind != FRAME_TRAILER ||
	    frame_raw(r->codec, &f, &raw) < 0 || frame_trailer_parse(&t, raw) < 0 ||
	    t.index_offset >= size - end ||
	    readfs_pread(fd, row, sizeof(row), size - end - sizeof(row)) != sizeof(row))
		return false;
	struct rd rd = rd_of(str_mem(row, sizeof(row)));
	uint64_t at = rd_u64(&rd);

	return at < t.index_offset && frame_at(fd, buf, at, t.index_offset - at, &f) &&
	       f.head.kind == FRAME_CLOSE;
}

int reader_is_ended(struct reader *r, const uint8_t sid[SID_SIZE]) {
	char path[READFS_PART_PATH_MAX];
	auto_fd int last = -1;
	uint64_t size = 0;
	struct buf buf;

	for (uint32_t part = 0;; part++) {
		uint64_t n;

		readfs_part_path(path, sid, part);
		int fd = readfs_open(r->root, path, &n);

		if (fd == H_ENOTFOUND)
			break;
		if (fd < 0)
			return fd;
		if (last >= 0)
			(void)close(last);
		last = fd;
		size = n;
	}
	buf_init(&buf, END_MAX);
	bool is_ended = last >= 0 && ends_with_close(r, last, size, &buf);

	buf_fini(&buf);
	return is_ended ? 1 : 0;
}
