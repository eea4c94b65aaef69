/*
 * verify_session.c: one session: its part files, the journal, and what the log claims.
 *
 * All frames are walked once, in order: those of the parts, then those that only the journal has.
 * A session tree grows along; whenever its size is one that a leaf speaks of, the roots are
 * compared. The walk ends at the first thing that is not right: behind it nothing could be proven.
 *
 * What places a fault: a CRC or body hash names the frame itself. A frame whose author made both
 * fit shows only in the next root; then the fault lies between the last root that fitted and this
 * one, and the place is the first frame behind the former.
 */
#include <stdarg.h>

#include "base/clock.h"
#include "record/verify_priv.h"

enum { SECTOR = 512 };
#define SIGNING_NS (10 * NS_PER_S) /* a leaf is signed in about a second */

struct walk {
	struct verifier *v;
	struct vsession *s;
	struct verify_session *out;
	struct tree tree;
	uint64_t next, seq;
	size_t claim;                   /* the next one that is not yet compared */
	uint64_t good;                  /* frames under the last root that fitted */
	struct verify_place after_good; /* of frame `good` */
	bool is_after_gap, is_closed, has_gap, is_bad;
	uint32_t part; /* of the last frame */
	uint64_t wall, mono;
	char file[VERIFY_FILE_MAX];
	/* of the part file */
	struct buf index;
	uint64_t part_first;
	uint64_t part_rows;
	bool is_sealed; /* its trailer was seen */
};

printf_like(5, 6) static void bad(struct walk *w, enum verify_state state, uint64_t frame,
                                  const struct verify_place *place, const char *fmt, ...) {
	va_list args;

	if (w->is_bad)
		return;
	w->is_bad = true;
	w->out->state = state;
	w->out->place = *place;
	w->out->place.frame = frame;
	va_start(args, fmt);
	(void)vsnprintf(w->out->text, sizeof(w->out->text), fmt, args);
	va_end(args);
}

/* --- roots --- */

static bool claim_holds(const struct walk *w, const struct claim *c,
                        const uint8_t root[SHA256_SIZE]) {
	if (memcmp(c->root, root, SHA256_SIZE) != 0)
		return false;
	return c->type != TLOG_SEAL || c->part <= w->part;
}

/* Compares the roots of all leaves that speak of the tree as it is now. */
/* The first root that fits and holds the receipt's frame. */
static void cover_receipt(struct walk *w, const struct claim *c) {
	const struct receipt *r = w->v->o->receipt;
	struct verify_report *report = w->v->report;

	if (r == NULL || memcmp(r->sid, w->s->sid, SID_SIZE) != 0 || c->frames <= r->frame)
		return;
	report->receipt_leaf = MIN(report->receipt_leaf, c->leaf);
}

static void check_claims(struct walk *w) {
	uint8_t root[SHA256_SIZE];
	bool has_root = false;

	for (; w->claim < w->s->claim_count && w->s->claims[w->claim].frames <= w->next;
	     w->claim++) {
		const struct claim *c = &w->s->claims[w->claim];

		if (!has_root)
			tree_root(&w->tree, root);
		has_root = true;
		if (c->frames != w->next || !claim_holds(w, c, root)) {
			bad(w, VERIFY_ALTERED, w->good, &w->after_good,
			    "one of the frames %llu to %llu is not the one that leaf %llu of the log names",
			    (unsigned long long)w->good, (unsigned long long)(c->frames - 1),
			    (unsigned long long)c->leaf);
			return;
		}
		w->good = w->next;
		cover_receipt(w, c);
		w->after_good.file[0] = '\0';
		if (c->leaf < w->v->report->leaves_signed)
			w->out->frames_signed = w->next;
	}
}

/* --- one frame --- */

static const char *sequence_fault(const struct walk *w, const struct frame_head *h) {
	if ((h->kind == FRAME_OPEN) != (w->next == 0))
		return "an open frame is frame 0 and only that";
	if (w->is_closed)
		return "a frame behind the last one";
	if (w->is_after_gap ? h->first_seq < w->seq : h->first_seq != w->seq)
		return "its events do not follow those before it";
	return NULL;
}

/* Contents, as far as they can be read without a key. */
static const char *contents_fault(const struct walk *w, const struct frame *f) {
	struct str raw;
	int rc = frame_raw(w->v->codec, f, &raw);

	if (rc == H_EPERM)
		return NULL;
	if (rc < 0)
		return "its body does not decompress";
	if (f->head.kind == FRAME_DATA && frame_check_events(&f->head, raw) < 0)
		return "its events do not have the command root that its header names";
	return NULL;
}

/* The journal's copy of a frame that came from a part must be the same. */
static const char *copy_fault(const struct walk *w, const struct frame *f) {
	const struct journal_frame *at = journal_index_find(&w->v->journal, f->head.sid,
	                                                    f->head.frame_no);
	struct frame copy;

	if (at == NULL || journal_fetch(&w->v->fetch, &w->v->journal, at, &copy) < 0)
		return NULL;
	return str_eq(copy.bytes, f->bytes) ? NULL : "it differs from its copy in the journal";
}

static void check_open(struct walk *w, const uint8_t leaf[SHA256_SIZE],
                       const struct verify_place *place) {
	if (!w->s->in_log)
		return;
	if (memcmp(leaf, w->s->open_hash, SHA256_SIZE) != 0)
		bad(w, VERIFY_ALTERED, 0, place,
		    "it is not the open frame that leaf %llu of the log names",
		    (unsigned long long)w->s->open_leaf);
	else if (w->s->open_leaf < w->v->report->leaves_signed)
		w->out->frames_signed = 1;
}

static void check_receipt(struct walk *w, const uint8_t leaf[SHA256_SIZE]) {
	const struct receipt *r = w->v->o->receipt;

	if (r == NULL || memcmp(r->sid, w->s->sid, SID_SIZE) != 0 || r->frame != w->next)
		return;
	w->v->report->receipt = memcmp(r->leaf, leaf, SHA256_SIZE) == 0 ? VERIFY_RECEIPT_EARLY
	                                                                : VERIFY_RECEIPT_ALTERED;
}

static void take_frame(struct walk *w, const struct frame *f, const struct verify_place *place,
                       bool from_file) {
	const struct frame_head *h = &f->head;
	const char *fault = NULL;
	uint8_t leaf[SHA256_SIZE];

	if (memcmp(h->sid, w->s->sid, SID_SIZE) != 0 || h->frame_no != w->next)
		fault = "another frame stands in its place";
	else if (from_file ? h->part != w->part : h->part < w->part || h->part > w->part + 1)
		fault = "it belongs to another part";
	if (fault == NULL)
		fault = sequence_fault(w, h);
	if (fault == NULL && frame_check_body(f) < 0)
		fault = "its body does not have the hash that its header names";
	if (fault == NULL && from_file)
		fault = copy_fault(w, f);
	if (fault == NULL && w->v->o->with_contents)
		fault = contents_fault(w, f);
	if (fault != NULL) {
		bad(w, VERIFY_ALTERED, w->next, place, "%s", fault);
		return;
	}
	if (w->after_good.file[0] == '\0')
		w->after_good = *place;
	frame_leaf(leaf, f->bytes.p);
	tree_add(&w->tree, leaf);
	check_receipt(w, leaf);
	if (w->next == 0)
		check_open(w, leaf, place);
	w->part = h->part;
	w->wall = h->wall_ns;
	w->mono = h->mono_ns;
	w->seq = h->first_seq + (h->kind == FRAME_DATA ? h->n_events : 0);
	w->is_after_gap = h->kind == FRAME_GAP;
	w->has_gap = w->has_gap || h->kind == FRAME_GAP;
	w->is_closed = h->kind == FRAME_CLOSE;
	w->next++;
	w->v->report->frames++;
	check_claims(w);
	if (!w->is_bad)
		w->out->frames = w->next;
}

/* --- index and trailer --- */

static bool is_tail_head(const struct walk *w, const struct frame_head *h) {
	return memcmp(h->sid, w->s->sid, SID_SIZE) == 0 && h->frame_no == w->next &&
	       h->first_seq == w->seq && h->wall_ns == w->wall && h->mono_ns == w->mono &&
	       h->part == w->part && h->n_events == 0 && h->ring == FRAME_RING_NONE &&
	       h->slot == 0 && h->generation == 0;
}

static void take_index(struct walk *w, const struct frame *f, const struct verify_place *place) {
	if (!is_tail_head(w, &f->head) || frame_check_body(f) < 0 ||
	    !str_eq(f->body, buf_peek(&w->index)))
		bad(w, VERIFY_ALTERED, VERIFY_NO_FRAME, place,
		    "the index is not that of this part's frames");
}

static void take_trailer(struct walk *w, const struct frame *f, const struct verify_place *place,
                         uint64_t index_at) {
	struct frame_trailer t;
	uint8_t root[SHA256_SIZE];

	tree_root(&w->tree, root);
	if (!is_tail_head(w, &f->head) || frame_check_body(f) < 0 ||
	    frame_trailer_parse(&t, f->body) < 0 || t.index_offset != index_at ||
	    t.first_frame != w->part_first || t.frames != w->part_rows ||
	    t.bytes_before != place->offset || memcmp(t.root, root, SHA256_SIZE) != 0)
		bad(w, VERIFY_ALTERED, VERIFY_NO_FRAME, place,
		    "the trailer is not that of this part's frames");
	w->is_sealed = true;
}

/* --- torn appends --- */

static void expect_tail(struct buf *x, struct frame_head *h, uint8_t kind, struct str raw) {
	uint8_t *out = buf_reserve(x, FRAME_HEAD_SIZE + raw.n);

	h->kind = kind;
	h->raw_len = h->body_len = (uint32_t)raw.n;
	if (out == NULL)
		return;
	if (raw.n != 0)
		memcpy(out + FRAME_HEAD_SIZE, raw.p, raw.n);
	frame_put_head(h, out);
	buf_commit(x, FRAME_HEAD_SIZE + raw.n);
}

/* The rest of the part, put together from the journal and from what was seen: frames that the journal
 * has, index, trailer. `at` is where it begins. */
static void expect_rest(struct walk *w, uint64_t at, uint64_t index_at, struct buf *x) {
	struct tree tree = w->tree;
	struct frame_head h = { .ring = FRAME_RING_NONE,
		                .first_seq = w->seq,
		                .wall_ns = w->wall,
		                .mono_ns = w->mono,
		                .part = w->part };
	struct buf rows, trailer;
	uint64_t no = w->next;
	struct frame f;

	buf_init(&rows, FRAME_RAW_MAX);
	buf_init(&trailer, FRAME_TRAILER_SIZE);
	w_bytes(&rows, buf_peek(&w->index));
	for (; index_at == 0; no++) {
		const struct journal_frame *j = journal_index_find(&w->v->journal, w->s->sid, no);
		uint8_t leaf[SHA256_SIZE];

		if (j == NULL || journal_fetch(&w->v->fetch, &w->v->journal, j, &f) < 0 ||
		    f.head.part != w->part)
			break;
		frame_put_index_row(&rows, &(struct frame_index_row){ .offset = at + x->len,
		                                                      .first_seq = f.head.first_seq,
		                                                      .wall_ns = f.head.wall_ns });
		w_bytes(x, f.bytes);
		frame_leaf(leaf, f.bytes.p);
		tree_add(&tree, leaf);
		h.first_seq = f.head.first_seq + (f.head.kind == FRAME_DATA ? f.head.n_events : 0);
		h.wall_ns = f.head.wall_ns;
		h.mono_ns = f.head.mono_ns;
	}
	struct frame_trailer t = { .index_offset = index_at != 0 ? index_at : at + x->len,
		                   .first_frame = w->part_first,
		                   .frames = no - w->part_first };

	memcpy(h.sid, w->s->sid, SID_SIZE);
	memcpy(h.command_root, tree_empty_root, SHA256_SIZE);
	h.frame_no = no;
	if (index_at == 0)
		expect_tail(x, &h, FRAME_INDEX, buf_peek(&rows));
	t.bytes_before = at + x->len;
	tree_root(&tree, t.root);
	frame_put_trailer(&trailer, &t);
	expect_tail(x, &h, FRAME_TRAILER, buf_peek(&trailer));
	buf_fini(&rows);
	buf_fini(&trailer);
}

static bool is_zeros(const uint8_t *p, size_t n) {
	for (size_t i = 0; i < n; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

/* How far the piece that begins at i goes: to the end of its sector or of its frame. */
static size_t piece_end(struct str want, size_t i, uint64_t at, size_t *frame_end) {
	struct frame f;

	if (i == *frame_end) {
		int size = frame_parse(&f, str_from(want, i));

		*frame_end += size > 0 ? (size_t)size : want.n - i;
	}
	return MIN(*frame_end, i + (size_t)(SECTOR - (at + i) % SECTOR));
}

/* Appends are whole frames, and the disk takes sectors. So each piece, cut at the ends of sectors and
 * of frames, is as it should be, or an earlier state of it: right up to some place and zeros from
 * there on. At least one is, or the end is missing. */
static bool is_torn(struct str want, const uint8_t *have, size_t n, uint64_t at) {
	bool is_cut = n < want.n;
	size_t frame_end = 0;

	if (n > want.n)
		return false;
	for (size_t i = 0; i < n;) {
		size_t end = MIN(n, piece_end(want, i, at, &frame_end)), k = i;

		while (k < end && have[k] == (uint8_t)want.p[k])
			k++;
		if (!is_zeros(have + k, end - k))
			return false;
		is_cut = is_cut || k < end;
		i = end;
	}
	return is_cut;
}

/* Can the rest of the file from `at` on be what a crash left? */
static bool is_torn_append(struct walk *w, uint64_t at, uint64_t index_at) {
	uint64_t size = w->v->file.size;
	struct buf want;

	if (at > size || size - at > (uint64_t)256 * MIB)
		return false;
	size_t n = (size_t)(size - at);
	auto_free uint8_t *have = xmalloc(n + 1);

	if (readfs_pread(w->v->file.fd, have, n, at) != (ssize_t)n)
		return false;
	buf_init(&want, n + 4 * (size_t)FRAME_MAX);
	expect_rest(w, at, index_at, &want);
	bool ok = is_torn(buf_peek(&want), have, n, at);

	buf_fini(&want);
	return ok;
}

static bool has_seal_leaf(const struct vsession *s, uint32_t part) {
	for (size_t i = 0; i < s->claim_count; i++) {
		if (s->claims[i].type == TLOG_SEAL && s->claims[i].part == part)
			return true;
	}
	return false;
}

/* Before a segment is used again one sync makes all files durable: a part whose seal leaf no longer
 * stands in the journal is whole; any other may have lost what was written last. */
static bool may_be_torn(const struct walk *w) {
	const struct journal_index *j = &w->v->journal;

	for (size_t i = 0; i < w->s->claim_count; i++) {
		const struct claim *c = &w->s->claims[i];

		if (c->type == TLOG_SEAL && c->part == w->part)
			return j->seg_count != 0 && c->leaf >= j->first_leaf;
	}
	return true;
}

/* The part does not go on with a whole frame at `place`. */
static void end_of_part(struct walk *w, int rc, const struct verify_place *place,
                        uint64_t index_at) {
	bool in_journal = journal_index_find(&w->v->journal, w->s->sid, w->next) != NULL;

	if (may_be_torn(w) && is_torn_append(w, place->offset, index_at)) {
		verify_finding(w->v, VERIFY_NOTE, place, "%s",
		               in_journal ? "an append was cut off; the journal has the frames"
		                          : "the sealing of the part was cut off");
		return;
	}
	if (rc == H_ETRUNC && !in_journal)
		bad(w, VERIFY_TRUNCATED, w->next, place, "%s",
		    place->offset == w->v->file.size ? "the part ends without index and trailer"
		                                     : "the file ends inside a frame");
	else
		bad(w, VERIFY_ALTERED, w->next, place, "no valid frame stands here");
}

/* --- parts --- */

static void note_row(struct walk *w, const struct frame *f, uint64_t at) {
	frame_put_index_row(&w->index, &(struct frame_index_row){ .offset = at,
	                                                          .first_seq = f->head.first_seq,
	                                                          .wall_ns = f->head.wall_ns });
	w->part_rows++;
}

/* One frame of a part file; false when the part is done. */
static bool part_step(struct walk *w, uint64_t *index_at) {
	struct verify_place place = verify_at(w->file, w->v->file.at);
	bool in_tail = *index_at != 0;
	struct frame f;
	int rc = frame_file_next(&w->v->file, &f);

	place.frame = w->next;
	/* Without a trailer the end is one that a crash left, or a sealer never reached. */
	if (rc == 0 && !w->is_sealed && (in_tail || !may_be_torn(w)))
		rc = H_ETRUNC;
	if (rc == 0)
		return false;
	if (w->is_sealed) {
		bad(w, VERIFY_ALTERED, VERIFY_NO_FRAME, &place,
		    "something stands behind the trailer");
		return false;
	}
	if (rc < 0) {
		end_of_part(w, rc, &place, *index_at);
		return false;
	}
	if (f.head.kind == FRAME_INDEX && !in_tail && w->part_rows != 0) {
		take_index(w, &f, &place);
		*index_at = place.offset;
	} else if (f.head.kind == FRAME_TRAILER && in_tail) {
		take_trailer(w, &f, &place, *index_at);
	} else if (in_tail || !frame_in_tree(f.head.kind)) {
		bad(w, VERIFY_ALTERED, in_tail ? VERIFY_NO_FRAME : w->next, &place,
		    "a %s frame cannot stand here", frame_kind_name(f.head.kind));
	} else {
		note_row(w, &f, place.offset);
		take_frame(w, &f, &place, true);
	}
	return !w->is_bad;
}

static int walk_part(struct walk *w, uint32_t part) {
	uint64_t index_at = 0;
	char path[READFS_PART_PATH_MAX];

	readfs_part_path(path, w->s->sid, part);
	(void)str_copy(w->file, sizeof(w->file), str_of(path));
	int rc = frame_file_open(&w->v->file, w->v->root, path);

	if (rc < 0)
		return rc;
	w->part = part;
	w->part_first = w->next;
	w->part_rows = 0;
	w->is_sealed = false;
	buf_clear(&w->index);
	while (part_step(w, &index_at))
		;
	verify_progress(w->v, w->v->file.size);
	return 0;
}

/* --- the journal --- */

/* Frames that only the journal has; with_part: as long as they belong to the part that was walked. */
static void walk_journal(struct walk *w, bool with_part) {
	const struct journal_index *j = &w->v->journal;
	const struct journal_frame *at;

	while (!w->is_bad && (at = journal_index_find(j, w->s->sid, w->next)) != NULL) {
		char name[64];
		struct frame f;

		(void)snprintf(name, sizeof(name), "journal/%.40s", j->segs[at->seg].name);
		struct verify_place place = verify_at(name, at->offset);
		int rc = journal_fetch(&w->v->fetch, j, at, &f);

		if (rc == H_ENOTFOUND && verify_is_live(w->v)) {
			verify_finding(w->v, VERIFY_NOTE, &place,
			               "the journal went on while we read");
			return;
		}
		if (rc == 0 && with_part && f.head.part != w->part)
			return;
		if (rc < 0)
			bad(w, VERIFY_ALTERED, w->next, &place, "the frame cannot be read again");
		else
			take_frame(w, &f, &place, false);
	}
}

static void walk_rest(struct walk *w) {
	const struct journal_frame *first;
	size_t n;

	walk_journal(w, false);
	first = journal_index_session(&w->v->journal, w->s->sid, &n);
	if (!w->is_bad && n != 0 && first[n - 1].frame_no >= w->next) {
		struct verify_place place = verify_at(w->file, w->v->file.size);

		bad(w, VERIFY_TRUNCATED, w->next, &place,
		    "the frame is missing, later ones are there");
	}
}

/* --- parts in order --- */

static void walk_parts(struct walk *w) {
	for (uint32_t part = 0; part < w->s->part_files && !w->is_bad; part++) {
		struct verify_place place = verify_at(w->file, w->v->file.size);

		/* Only a part that was sealed is followed by another; its end may not have reached the disk. */
		if (part != 0 && !w->is_sealed) {
			if (!may_be_torn(w) || !has_seal_leaf(w->s, w->part))
				bad(w, VERIFY_ALTERED, w->next, &place,
				    "the part has no trailer, and another follows");
			walk_journal(w, true);
		}
		if (w->is_bad)
			return;
		int rc = walk_part(w, part);

		if (rc < 0) {
			place = verify_at(w->file, 0);
			bad(w, rc == H_ENOTFOUND ? VERIFY_TRUNCATED : VERIFY_ALTERED, w->next,
			    &place, "part %u cannot be read: %s", part, h_err_text(rc));
		}
	}
}

/* --- the verdict --- */

static void check_close(struct walk *w) {
	struct verify_place place = verify_at(w->file, 0);

	if (!w->s->has_close)
		return;
	if (!w->is_closed || w->s->close_parts != w->part + 1u || w->s->close_gap != w->has_gap)
		bad(w, VERIFY_ALTERED, VERIFY_NO_FRAME, &place,
		    "the session does not end as the log says");
}

static void check_missing(struct walk *w) {
	bool is_short = w->claim < w->s->claim_count || (w->s->in_log && w->next == 0);
	struct verify_place place = verify_at(w->file, w->s->has_files ? w->v->file.size : 0);

	if (is_short && !w->is_bad)
		bad(w, VERIFY_TRUNCATED, w->next, &place, "%s",
		    w->next == 0 ? "the log knows this session, and none of it is there"
		                 : "the log names frames from here on that are not there");
}

/* The open leaf is made when the batch with frame 0 is durable, and before any leaf that names that
 * batch as durable. A crash in between leaves a session that the log does not name. */
static bool is_unknown(const struct walk *w) {
	const struct journal_frame *f = journal_index_find(&w->v->journal, w->s->sid, 0);

	return !w->s->in_log && (f == NULL || f->batch <= w->v->signed_batch);
}

/* An end that nobody signed proves nothing; right after it happened that is no surprise. */
static void check_age(struct walk *w) {
	const struct vsession *s = w->s;
	uint64_t leaf = s->has_close ? s->close_leaf : s->open_leaf;
	uint64_t wall = s->has_close ? s->close_wall : s->open_wall, now = wall_ns();
	struct verify_place place = verify_at(w->file, 0);

	if (!s->in_log || !w->v->has_checkpoint || leaf < w->v->report->leaves_signed ||
	    (now > wall ? now - wall : wall - now) < SIGNING_NS)
		return;
	verify_finding(
		w->v, VERIFY_NOTE, &place,
		"that the session was %s (leaf %llu) is not under the checkpoint: whoever can "
		"write to the store can have made it",
		s->has_close ? "closed" : "opened", (unsigned long long)leaf);
	if (w->v->report->result == VERIFY_OK)
		w->v->report->result = VERIFY_UNVERIFIABLE;
}

static void say(struct walk *w) {
	struct verify_session *out = w->out;
	struct verify_place place = verify_at(w->file, 0);

	out->is_closed = w->is_closed;
	if (w->is_bad)
		return;
	if (is_unknown(w)) {
		bad(w, VERIFY_UNKNOWN, VERIFY_NO_FRAME, &place,
		    "the log does not know this session");
		return;
	}
	check_age(w);
	if (w->s->has_close) {
		out->state = w->has_gap ? VERIFY_GAP : VERIFY_COMPLETE;
	} else {
		out->state = VERIFY_OPEN;
		if (!w->s->in_log)
			(void)str_copy(out->text, sizeof(out->text),
			               STR("the log does not name it yet"));
		else if (w->is_closed)
			(void)str_copy(out->text, sizeof(out->text),
			               STR("it has ended; the log does not say so yet"));
	}
}

int verify_one(struct verifier *v, struct vsession *s) {
	struct verify_session out = { .state = VERIFY_OPEN };
	struct walk w = { .v = v, .s = s, .out = &out, .seq = 1 };

	memcpy(out.sid, s->sid, SID_SIZE);
	out.place = verify_at("", 0);
	tree_init(&w.tree);
	buf_init(&w.index, FRAME_RAW_MAX);
	v->file.size = 0;
	walk_parts(&w);
	if (!w.is_bad)
		walk_rest(&w);
	check_missing(&w);
	if (!w.is_bad)
		check_close(&w);
	say(&w);
	buf_fini(&w.index);
	v->report->sessions[out.state]++;
	if (v->o->on_session != NULL)
		v->o->on_session(v->o->arg, &out);
	return 0;
}
