/*
 * journal_read.c: the index of the journal (docs/record-format.md §8).
 *
 * Segments are taken in the order of their numbers. In each the batches are walked until one does
 * not fit; if the next segment goes on with the number that is missing, nothing is (a torn tail,
 * and a boot after it). Otherwise the rest is searched for later batches: one that was written
 * after the missing one had been acknowledged shows that somebody removed it.
 *
 * While a gateway works, a segment may be put to new use during the scan. Block 0 of each file is
 * therefore read again at the end; if one changed, all is scanned anew.
 */
#include "record/journal_read.h"

#include <fcntl.h>
#include <stdarg.h>

#include "record/readfs.h"
#include "record/tlog.h"

enum { TRIES = 8 };
#define LEAF_TEXT_MAX ((size_t)1 << 30)

static void journal_path(char out[64], const char *name) {
	(void)snprintf(out, 64, "journal/%.40s", name);
}

printf_like(4, 5) static void altered(struct journal_index *j, uint32_t seg, uint64_t offset,
                                      const char *fmt, ...) {
	va_list args;

	va_start(args, fmt);
	if (j->altered[0] == '\0') {
		(void)vsnprintf(j->altered, sizeof(j->altered), fmt, args);
		(void)str_copy(j->altered_name, sizeof(j->altered_name), str_of(j->segs[seg].name));
		j->altered_offset = offset;
	}
	va_end(args);
}

static void add_frame(struct journal_index *j, uint32_t seg, uint32_t offset,
                      const struct frame *f) {
	if (j->frame_count == j->frame_cap) {
		j->frame_cap = MAX(j->frame_cap * 2, (size_t)256);
		j->frames = xrealloc(j->frames, j->frame_cap * sizeof(*j->frames));
	}
	struct journal_frame *to = &j->frames[j->frame_count++];

	*to = (struct journal_frame){ .frame_no = f->head.frame_no,
		                      .seg = seg,
		                      .offset = offset,
		                      .len = (uint32_t)f->bytes.n,
		                      .batch = j->batch };
	memcpy(to->sid, f->head.sid, SID_SIZE);
}

static void add_leaf(struct journal_index *j, uint32_t seg, uint32_t offset, struct str text) {
	if (j->leaf_count == j->leaf_cap) {
		j->leaf_cap = MAX(j->leaf_cap * 2, (size_t)256);
		j->leaves = xrealloc(j->leaves, j->leaf_cap * sizeof(*j->leaves));
	}
	j->leaves[j->leaf_count++] = (struct journal_leaf){ .index = j->next_leaf++,
		                                            .at = (uint32_t)j->leaf_text.len,
		                                            .len = (uint32_t)text.n,
		                                            .seg = seg,
		                                            .offset = offset };
	w_bytes(&j->leaf_text, text);
}

static void add_log_frame(struct journal_index *j, struct frame_codec *c, uint32_t seg,
                          uint32_t offset, const struct frame *f) {
	struct str raw, entries, leaf;
	int rc = frame_raw(c, f, &raw);

	if (f->head.frame_no != j->next_leaf)
		altered(j, seg, offset, "log frame begins with leaf %llu, expected %llu",
		        (unsigned long long)f->head.frame_no, (unsigned long long)j->next_leaf);
	j->next_leaf = f->head.frame_no;
	rc = rc < 0 ? rc : frame_after_salt(raw, &entries);
	uint64_t end = f->head.frame_no + f->head.n_events;

	while (rc == 0 && tlog_entry_next(&entries, &leaf) == 1)
		add_leaf(j, seg, offset, leaf);
	if (rc < 0 || entries.n != 0 || j->next_leaf != end ||
	    f->head.first_seq != f->head.frame_no)
		altered(j, seg, offset, "log frame does not hold the %u leaves that it names",
		        f->head.n_events);
}

/* All frames of one batch. */
static void add_batch(struct journal_index *j, struct frame_codec *c, uint32_t seg,
                      const struct batch *b) {
	struct str rest = b->payload;
	uint32_t count = 0;

	j->batches++;
	j->batch = b->head.number;
	while (rest.n != 0) {
		struct frame f;
		uint32_t offset = (uint32_t)(b->offset + JOURNAL_BATCH_HEAD + b->payload.n -
		                             rest.n);
		int n = frame_parse(&f, rest);

		if (n <= 0 || frame_check_body(&f) < 0 ||
		    (f.head.kind != FRAME_LOG && !frame_in_tree(f.head.kind))) {
			altered(j, seg, offset, "batch %llu holds something that is no frame",
			        (unsigned long long)b->head.number);
			return;
		}
		if (f.head.kind == FRAME_LOG)
			add_log_frame(j, c, seg, offset, &f);
		else
			add_frame(j, seg, offset, &f);
		rest = str_from(rest, (size_t)n);
		count++;
	}
	if (count != b->head.frames)
		altered(j, seg, b->offset, "batch %llu holds %u frames and names %u",
		        (unsigned long long)b->head.number, count, b->head.frames);
}

/* Batches from s on; returns the number that comes next. After a place where one is missing the walk
 * goes on behind it, so that what can be read is read. */
static uint64_t walk(struct journal_index *j, struct frame_codec *c, uint32_t seg,
                     struct seg_scan *s) {
	bool is_last = seg + 1 == j->seg_count;
	uint64_t next_first = is_last ? 0 : j->segs[seg + 1].head.first_batch;
	struct batch b;

	for (;;) {
		/* A batch that the next segment begins with again had failed here, and does not count. */
		while ((is_last || s->next != next_first) && seg_scan_next(s, &b) == 1) {
			if (b.head.durable_upto >= b.head.number)
				altered(j, seg, b.offset, "batch %llu names itself durable",
				        (unsigned long long)b.head.number);
			add_batch(j, c, seg, &b);
		}
		j->end_seg = seg;
		j->end_offset = s->at;
		j->end_why = seg_scan_why(s);
		if ((!is_last && next_first == s->next) || seg_scan_beyond(s, &b) == 0)
			return s->next;
		altered(j, seg, s->at, "batch %llu is missing or wrong (%s), later ones are there",
		        (unsigned long long)s->next, seg_scan_why(s));
		s->at = b.offset;
		s->next = b.head.number;
	}
}

static int by_number(const void *a, const void *b) {
	const struct journal_seg *x = a, *y = b;

	return x->head.number < y->head.number ? -1 : x->head.number > y->head.number;
}

/* Block 0 of a file: 1 used, 0 unused or gone, H_EFORMAT, H_EIO. */
static int read_head(int root, const char *name, struct seg_head *h, uint64_t *size) {
	static _Thread_local uint8_t block[JOURNAL_BLOCK];
	char path[64];

	journal_path(path, name);
	auto_fd int fd = readfs_open(root, path, size);

	if (fd < 0)
		return fd == H_ENOTFOUND ? 0 : fd;
	ssize_t n = readfs_pread(fd, block, sizeof(block), 0);

	if (n < 0)
		return H_EIO;
	/* A file that is still being made has no block 0 yet. */
	return n == 0 ? 0 : seg_head_parse(h, str_mem(block, (size_t)n));
}

static bool is_segment_name(const char *name) {
	return strlen(name) == 12 && strspn(name, "0123456789abcdef") == 8 &&
	       strcmp(name + 8, ".seg") == 0;
}

/* The used segments by number. A block 0 that does not fit is kept as altered. */
static int list_segments(struct journal_index *j, int root) {
	struct readfs_names names;
	char bad[32] = "";
	int rc = readfs_list(root, "journal", &names);

	if (rc < 0)
		return rc;
	j->segs = xcalloc(names.count + 1, sizeof(*j->segs));
	for (size_t i = 0; i < names.count && rc >= 0; i++) {
		struct journal_seg *s = &j->segs[j->seg_count];

		if (!is_segment_name(names.name[i]))
			continue;
		(void)str_copy(s->name, sizeof(s->name), str_of(names.name[i]));
		rc = read_head(root, s->name, &s->head, &s->file_size);
		if (rc > 0)
			j->seg_count++;
		if (rc == H_EFORMAT || rc == H_EVERSION) {
			(void)str_copy(bad, sizeof(bad), str_of(s->name));
			rc = 0;
		}
	}
	readfs_names_free(&names);
	if (j->seg_count != 0)
		qsort(j->segs, j->seg_count, sizeof(*j->segs), by_number);
	if (bad[0] != '\0') {
		(void)str_copy(j->altered_name, sizeof(j->altered_name), str_of(bad));
		(void)snprintf(j->altered, sizeof(j->altered), "block 0 of a segment does not fit");
	}
	return rc < 0 ? rc : 0;
}

/* Numbers without a hole, one node, files of the size that they name. */
static void check_segments(struct journal_index *j) {
	for (uint32_t i = 0; i < j->seg_count; i++) {
		const struct journal_seg *s = &j->segs[i];

		if (s->file_size != s->head.size)
			altered(j, i, 0, "segment %llu has %llu bytes and names %llu",
			        (unsigned long long)s->head.number,
			        (unsigned long long)s->file_size, (unsigned long long)s->head.size);
		if (i == 0)
			continue;
		if (s->head.number != j->segs[i - 1].head.number + 1)
			altered(j, i, 0, "segment %llu follows segment %llu",
			        (unsigned long long)s->head.number,
			        (unsigned long long)j->segs[i - 1].head.number);
		if (memcmp(s->head.node, j->segs[0].head.node, JOURNAL_ID_SIZE) != 0)
			altered(j, i, 0, "segment of another node");
	}
}

static int scan_segment(struct journal_index *j, struct frame_codec *c, int root, uint32_t seg,
                        uint64_t *expected) {
	const struct journal_seg *js = &j->segs[seg];
	struct seg_scan s;
	char path[64];
	uint64_t size;

	journal_path(path, js->name);
	auto_fd int fd = readfs_open(root, path, &size);

	if (fd < 0)
		return fd == H_ENOTFOUND ? H_EBUSY : fd;
	size = MIN(size, js->head.size);
	auto_free uint8_t *image = xmalloc((size_t)size + 1);
	ssize_t n = readfs_pread(fd, image, (size_t)size, 0);

	if (n < 0)
		return H_EIO;
	if (seg_scan_begin(&s, str_mem(image, (size_t)n)) != 1 || s.head.number != js->head.number)
		return H_EBUSY;
	j->bytes += (uint64_t)n;
	/* What is missing is missing where the segment before it ends. */
	if (seg != 0 && js->head.first_batch != *expected)
		altered(j, j->end_seg, j->end_offset,
		        "segment %llu begins with batch %llu, expected %llu",
		        (unsigned long long)js->head.number,
		        (unsigned long long)js->head.first_batch, (unsigned long long)*expected);
	if (seg != 0 && js->head.first_leaf != j->next_leaf)
		altered(j, j->end_seg, j->end_offset,
		        "segment %llu begins with leaf %llu, expected %llu",
		        (unsigned long long)js->head.number,
		        (unsigned long long)js->head.first_leaf, (unsigned long long)j->next_leaf);
	j->next_leaf = js->head.first_leaf;
	*expected = walk(j, c, seg, &s);
	return 0;
}

static int by_session(const void *a, const void *b) {
	const struct journal_frame *x = a, *y = b;
	int c = memcmp(x->sid, y->sid, SID_SIZE);

	if (c != 0)
		return c;
	return x->frame_no < y->frame_no ? -1 : x->frame_no > y->frame_no;
}

/* Was a segment put to new use while we read? */
static bool has_moved(const struct journal_index *j, int root) {
	for (size_t i = 0; i < j->seg_count; i++) {
		struct seg_head h;
		uint64_t size;

		if (read_head(root, j->segs[i].name, &h, &size) != 1 ||
		    h.number != j->segs[i].head.number)
			return true;
	}
	return false;
}

static int scan_once(struct journal_index *j, struct frame_codec *c, int root) {
	uint64_t expected = 0;

	*j = (struct journal_index){ .end_why = "" };
	buf_init(&j->leaf_text, LEAF_TEXT_MAX);
	int rc = list_segments(j, root);

	if (rc < 0)
		return rc;
	check_segments(j);
	if (j->seg_count != 0)
		j->first_leaf = j->next_leaf = j->segs[0].head.first_leaf;
	for (uint32_t i = 0; i < j->seg_count && rc == 0; i++)
		rc = scan_segment(j, c, root, i, &expected);
	if (rc == 0 && has_moved(j, root))
		rc = H_EBUSY;
	if (j->frame_count != 0)
		qsort(j->frames, j->frame_count, sizeof(*j->frames), by_session);
	j->is_torn = strcmp(j->end_why, "crc") == 0 || strcmp(j->end_why, "length") == 0 ||
	             strcmp(j->end_why, "padding") == 0 || strcmp(j->end_why, "number") == 0;
	return rc;
}

int journal_index_make(struct journal_index *j, int root) {
	struct frame_codec *c = frame_codec_new();
	int rc = H_EBUSY;

	for (unsigned i = 0; i < TRIES && rc == H_EBUSY; i++) {
		rc = scan_once(j, c, root);
		if (rc < 0)
			journal_index_free(j);
	}
	frame_codec_free(&c);
	return rc;
}

void journal_index_free(struct journal_index *j) {
	free(j->segs);
	free(j->frames);
	free(j->leaves);
	buf_fini(&j->leaf_text);
	*j = (struct journal_index){ .end_why = "" };
}

/* The first frame of the index that is not before (sid, frame_no). */
static size_t lower_bound(const struct journal_index *j, const uint8_t sid[SID_SIZE],
                          uint64_t frame_no) {
	struct journal_frame key = { .frame_no = frame_no };
	size_t lo = 0, hi = j->frame_count;

	memcpy(key.sid, sid, SID_SIZE);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_session(&j->frames[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct journal_frame *journal_index_find(const struct journal_index *j,
                                               const uint8_t sid[SID_SIZE], uint64_t frame_no) {
	size_t i = lower_bound(j, sid, frame_no);

	if (i == j->frame_count || memcmp(j->frames[i].sid, sid, SID_SIZE) != 0 ||
	    j->frames[i].frame_no != frame_no)
		return NULL;
	return &j->frames[i];
}

const struct journal_frame *journal_index_session(const struct journal_index *j,
                                                  const uint8_t sid[SID_SIZE], size_t *ret_count) {
	size_t first = lower_bound(j, sid, 0), end = first;

	while (end < j->frame_count && memcmp(j->frames[end].sid, sid, SID_SIZE) == 0)
		end++;
	*ret_count = end - first;
	return end == first ? NULL : &j->frames[first];
}

void journal_fetch_init(struct journal_fetch *f, int root) {
	*f = (struct journal_fetch){ .root = root, .fd = -1 };
}

void journal_fetch_fini(struct journal_fetch *f) {
	if (f->fd >= 0)
		(void)close(f->fd);
	free(f->buf);
	journal_fetch_init(f, -1);
}

int journal_fetch(struct journal_fetch *f, const struct journal_index *j,
                  const struct journal_frame *at, struct frame *ret) {
	const char *name = j->segs[at->seg].name;
	char path[64];

	if (f->fd < 0 || strcmp(f->name, name) != 0) {
		journal_path(path, name);
		int fd = readfs_open(f->root, path, NULL);

		if (fd < 0)
			return fd;
		if (f->fd >= 0)
			(void)close(f->fd);
		f->fd = fd;
		(void)str_copy(f->name, sizeof(f->name), str_of(name));
	}
	if (f->cap < at->len) {
		free(f->buf);
		f->buf = xmalloc(at->len);
		f->cap = at->len;
	}
	ssize_t n = readfs_pread(f->fd, f->buf, at->len, at->offset);

	if (n < 0)
		return H_EIO;
	if (frame_parse(ret, str_mem(f->buf, (size_t)n)) != (int)at->len ||
	    ret->head.frame_no != at->frame_no || memcmp(ret->head.sid, at->sid, SID_SIZE) != 0)
		return H_ENOTFOUND;
	return frame_check_body(ret) < 0 ? H_ENOTFOUND : 0;
}
