/*
 * recover_session.c: one session after a crash: its files completed from the journal.
 *
 *   file of part k │ frames 0 … j-1 as they are │ frames j … from the journal, written again │ index, trailer
 *
 * From the first frame that the journal holds on, the file is written again even where it looks
 * well: pages that a failed sync lost still look well in memory. When the journal itself was altered
 * the files are the better witness: then only what they lack is added.
 */
#include <jansson.h>

#include "record/recover_priv.h"

struct build {
	struct recovery *v;
	struct rv_session *rs;
	struct tree tree;
	uint64_t next_seq, events, commands, streams[4];
	uint32_t part, next_frame;      /* next_frame: index in rs->frames */
	uint64_t part_first, len, keep; /* bytes of the part; of them, from the file */
	uint64_t wall, mono;            /* of the last frame */
	struct buf index, out, file;
	bool is_sealed, is_closed, saw_end, has_file, has_gap, is_dirty;
	struct frame_head first;
	uint8_t first_leaf[SHA256_SIZE];
	int64_t code;
	char reason[TLOG_TOKEN_MAX + 1];
	bool is_acts, is_this_boot;
};

/* --- what frames say --- */

static void note_events(struct build *b, const struct frame *f) {
	struct frame_walk w;
	struct rec_event e;
	struct str raw;

	if (frame_raw(b->v->r->main_codec, f, &raw) < 0 || frame_walk_begin(&w, &f->head, raw) < 0)
		return;
	while (frame_walk_next(&w, &e) == 1) {
		if (e.type != REC_END)
			continue;
		b->saw_end = true;
		memcpy(b->streams, e.streams, sizeof(b->streams));
	}
	b->commands += w.n_commands;
	b->events += f->head.n_events;
	b->next_seq = f->head.first_seq + f->head.n_events;
}

static void note_json(struct build *b, const struct frame *f) {
	struct str raw, text;
	char boot[33];

	if (frame_raw(b->v->r->main_codec, f, &raw) < 0 || frame_after_salt(raw, &text) < 0)
		return;
	json_t *j = json_loadb(text.p, text.n, 0, NULL);

	if (f->head.kind == FRAME_OPEN) {
		hex_encode(boot, b->v->r->o.boot, sizeof(b->v->r->o.boot));
		const char *protocol = json_string_value(json_object_get(j, "protocol"));
		const char *is = json_string_value(
			json_object_get(json_object_get(j, "gateway"), "boot"));

		b->is_acts = protocol != NULL && strcmp(protocol, "acts") == 0;
		b->is_this_boot = is != NULL && strcmp(is, boot) == 0;
	} else if (f->head.kind == FRAME_CLOSE) {
		const char *reason = json_string_value(json_object_get(j, "reason"));

		(void)snprintf(b->reason, sizeof(b->reason), "%s", reason != NULL ? reason : "");
		b->has_gap = json_is_true(json_object_get(j, "gap"));
	}
	json_decref(j);
}

/* The next frame in order, wherever it came from. */
static void take(struct build *b, const struct frame *f) {
	uint8_t leaf[SHA256_SIZE];

	frame_leaf(leaf, f->bytes.p);
	if (f->head.frame_no == 0) {
		b->first = f->head;
		memcpy(b->first_leaf, leaf, SHA256_SIZE);
	}
	tree_add(&b->tree, leaf);
	frame_put_index_row(&b->index, &(struct frame_index_row){ .offset = b->len,
	                                                          .first_seq = f->head.first_seq,
	                                                          .wall_ns = f->head.wall_ns });
	b->len += f->bytes.n;
	b->wall = f->head.wall_ns;
	b->mono = f->head.mono_ns;
	if (f->head.kind == FRAME_DATA)
		note_events(b, f);
	else if (f->head.kind == FRAME_OPEN || f->head.kind == FRAME_CLOSE)
		note_json(b, f);
	else if (f->head.kind == FRAME_GAP)
		b->has_gap = true;
	b->is_closed = b->is_closed || f->head.kind == FRAME_CLOSE;
}

/* --- files --- */

static bool fits(const struct build *b, const struct frame *f) {
	return memcmp(f->head.sid, b->rs->sid, SID_SIZE) == 0 && f->head.part == b->part &&
	       f->head.frame_no == b->tree.size && frame_check_body(f) == 0;
}

/* Index and trailer at the end of a file? */
static bool is_end(struct str rest) {
	struct frame f;
	int n = frame_parse(&f, rest);

	if (n <= 0 || f.head.kind != FRAME_INDEX)
		return false;
	rest = str_from(rest, (size_t)n);
	n = frame_parse(&f, rest);
	return n > 0 && f.head.kind == FRAME_TRAILER && (size_t)n == rest.n;
}

/* Frames of the file that the journal does not hold; all of them when the journal was altered. */
static int load_part(struct build *b) {
	uint64_t stop = b->rs->count == 0 || b->v->altered != NULL ? UINT64_MAX
	                                                           : b->rs->frames[0].frame_no;
	char path[VFS_PATH_MAX];
	struct frame f;

	part_path(path, b->rs->sid, b->part);
	buf_clear(&b->file);
	int rc = vfs_read_file(b->v->r->vfs, path, 2 * REC_PART_MAX, &b->file);

	b->has_file = rc == 0;
	if (rc == H_ENOTFOUND)
		return 0;
	if (rc < 0)
		return rc;
	struct str rest = buf_peek(&b->file);

	while (b->tree.size < stop) {
		int n = frame_parse(&f, rest);

		if (n <= 0 || !frame_in_tree(f.head.kind) || !fits(b, &f))
			break;
		take(b, &f);
		rest = str_from(rest, (size_t)n);
	}
	b->keep = b->len;
	b->is_sealed = b->tree.size < stop && is_end(rest);
	b->is_dirty = !b->is_sealed && rest.n != 0;
	if (b->is_sealed)
		b->keep += rest.n;
	return 0;
}

static int take_journal(struct build *b, const struct rv_frame *rf) {
	uint8_t *p = buf_reserve(&b->out, rf->len);
	struct frame f;

	if (p == NULL)
		return H_ELIMIT;
	int64_t got = b->v->r->vfs->ops->pread(b->v->r->vfs, b->v->handle[rf->seg], p, rf->len,
	                                       rf->at);

	if (got != (int64_t)rf->len)
		return got < 0 ? (int)got : H_EIO;
	if (frame_parse(&f, str_mem(p, rf->len)) != (int)rf->len || frame_check_body(&f) < 0)
		return H_ETAMPERED;
	buf_commit(&b->out, rf->len);
	take(b, &f);
	return 0;
}

/* Frames of this part that only the journal has. */
static int complete_part(struct build *b) {
	struct rv_session *rs = b->rs;
	int rc = 0;

	while (b->next_frame < rs->count && rs->frames[b->next_frame].frame_no < b->tree.size)
		b->next_frame++;
	while (rc == 0 && b->next_frame < rs->count && rs->frames[b->next_frame].part == b->part &&
	       rs->frames[b->next_frame].frame_no == b->tree.size)
		rc = take_journal(b, &rs->frames[b->next_frame++]);
	return rc;
}

static bool has_next_part(struct build *b) {
	char path[VFS_PATH_MAX];

	if (b->next_frame < b->rs->count)
		return b->rs->frames[b->next_frame].part > b->part &&
		       b->rs->frames[b->next_frame].frame_no == b->tree.size;
	part_path(path, b->rs->sid, b->part + 1);
	int h = b->v->r->vfs->ops->open(b->v->r->vfs, path, 0);

	if (h >= 0)
		b->v->r->vfs->ops->close(b->v->r->vfs, h);
	return h >= 0;
}

static void put_seal_leaf(struct build *b) {
	struct tlog_leaf l = { .type = TLOG_SEAL,
		               .wall = rec_wall(b->v->r),
		               .part = b->part,
		               .first = b->part_first,
		               .frames = b->tree.size - b->part_first };

	memcpy(l.sid, b->rs->sid, SID_SIZE);
	tree_root(&b->tree, l.hash);
	leaf_put(b->v->r, &l);
}

static void seal(struct build *b) {
	struct part_end e = { .part = b->part,
		              .first_frame = b->part_first,
		              .next_seq = b->next_seq,
		              .bytes = b->len,
		              .wall = b->wall,
		              .mono = b->mono,
		              .tree = &b->tree,
		              .index = buf_peek(&b->index) };

	part_put_end(b->v->r, b->rs->sid, &e, &b->out);
	b->is_sealed = true;
	if ((int64_t)b->part > b->rs->sealed)
		put_seal_leaf(b);
}

/* What the file lacks, at its place; behind it nothing. */
static int write_part(struct build *b) {
	struct vfs *vfs = b->v->r->vfs;
	char path[VFS_PATH_MAX];

	if (b->out.bad)
		return H_ELIMIT;
	if (b->out.len == 0 && !b->is_dirty)
		return 0;
	part_path(path, b->rs->sid, b->part);
	int h = vfs->ops->open(vfs, path, VFS_WRITE | VFS_CREATE);

	if (h < 0)
		return h;
	int rc = vfs->ops->truncate(vfs, h, b->keep);

	if (rc == 0 && b->out.len != 0)
		rc = vfs->ops->pwrite(vfs, h, buf_peek(&b->out), b->keep);
	vfs->ops->close(vfs, h);
	buf_clear(&b->out);
	return rc;
}

static void next_part(struct build *b) {
	b->part++;
	b->part_first = b->tree.size;
	b->len = b->keep = 0;
	b->is_sealed = b->is_dirty = false;
	buf_clear(&b->index);
}

static int build(struct build *b) {
	for (;;) {
		bool sealed_before = false;
		int rc = load_part(b);

		sealed_before = b->is_sealed;
		if (rc == 0 && !sealed_before)
			rc = complete_part(b);
		if (rc < 0)
			return rc;
		if (b->tree.size == b->part_first && !b->is_closed)
			return 0; /* nothing here */
		bool has_next = !b->is_closed && has_next_part(b);

		if (!b->is_sealed &&
		    (has_next || b->is_closed || b->rs->sealed >= (int64_t)b->part))
			seal(b);
		rc = write_part(b);
		if (rc < 0 || !has_next)
			return rc;
		next_part(b);
	}
}

/* --- the log and the recorder --- */

static void put_leaves(struct build *b, enum tlog_type type) {
	struct tlog_leaf l = { .type = type,
		               .wall = rec_wall(b->v->r),
		               .frames = b->tree.size,
		               .parts = b->part + 1,
		               .gap = b->has_gap,
		               .reason = str_of(b->reason) };

	memcpy(l.sid, b->rs->sid, SID_SIZE);
	if (type == TLOG_OPEN)
		memcpy(l.hash, b->first_leaf, SHA256_SIZE);
	else
		tree_root(&b->tree, l.hash);
	leaf_put(b->v->r, &l);
}

/* The slot that it was bound to still waits for it: the recorder died, the worker did not. */
static struct rec_ring *live_ring(const struct build *b) {
	struct rec_ring *g = rec_ring(b->v->r, b->first.ring);

	if (g == NULL || b->first.slot >= g->ring.slot_count || g->slot[b->first.slot] != NULL)
		return NULL;
	const struct ring_slot *slot = &g->ring.commit->slots[b->first.slot];

	if (atomic_load(&slot->generation) != b->first.generation ||
	    atomic_load(&slot->state) == RING_SLOT_FREE)
		return NULL;
	return g;
}

static void rebind(struct build *b, struct rec_session *s, struct rec_ring *g) {
	s->ring = g;
	g->slot[s->slot] = s;
	g->session_count++;
	ring_set_durable(&g->ring, s->slot, s->generation, s->durable_seq);
	ring_set_state(&g->ring, s->slot, RING_SLOT_FAILED);
	s->expects_gap = !b->saw_end;
	b->v->r->has_recovered = true;
}

static void end_session(struct build *b, struct rec_session *s) {
	s->saw_end = true;
	if (!b->saw_end && !b->is_acts)
		rec_session_gap(s, "recovered", false, 0);
	rec_session_close(b->v->r, s, "recovered", b->saw_end ? 0 : H_ERECORDER);
}

/* An open session lives again, if only to be closed. */
static void revive(struct build *b) {
	struct recorder *r = b->v->r;
	struct rec_session *s = rec_session_new(r, b->rs->sid);
	struct rec_ring *g = live_ring(b);

	assert(s != NULL);
	s->is_recovered = true;
	s->is_acts = b->is_acts;
	s->has_gap = b->has_gap;
	s->tree = b->tree;
	s->durable_seq = b->next_seq - 1;
	s->events = b->events;
	s->commands = b->commands;
	memcpy(s->streams, b->streams, sizeof(s->streams));
	s->ring_id = b->first.ring;
	s->slot = b->first.slot;
	s->generation = b->first.generation;
	s->part_first = b->part_first;
	s->part_len = b->len;
	s->part_has_frames = true;
	s->part_wall = b->wall;
	s->part_mono = b->mono;
	s->part = b->part;
	if (buf_append(&s->index, buf_peek(&b->index)) < 0)
		r->parts_broken = true;
	s->state = SS_OPEN;
	if (b->is_sealed) {
		buf_clear(&s->index);
		part_begin(r, s, b->part + 1);
	}
	rec_session_cut_back(s);
	list_push(&r->grew, &s->grew);
	if (b->is_acts && b->is_this_boot && r->acts == NULL) {
		s->is_recovered = false;
		r->acts = s;
	} else if (g != NULL && !b->is_acts) {
		rebind(b, s, g);
	} else {
		end_session(b, s);
	}
}

int recover_session(struct recovery *v, struct rv_session *rs) {
	struct build b = { .v = v, .rs = rs, .next_seq = 1 };

	tree_init(&b.tree);
	buf_init(&b.index, FRAME_RAW_MAX);
	buf_init(&b.out, 4 * REC_PART_MAX);
	buf_init(&b.file, 2 * REC_PART_MAX);
	int rc = build(&b);

	if (rc == H_ETAMPERED || (rc == 0 && b.next_frame < rs->count)) {
		/* A hole: verifiers name it; nothing is added behind it. */
		rec_alarm(v->r, "record.session.altered",
		          "frames are missing before those in the journal", H_ETAMPERED);
		rc = 0;
	} else if (rc == 0 && b.tree.size != 0) {
		if (!rs->has_open_leaf && rs->count != 0 && rs->frames[0].frame_no == 0)
			put_leaves(&b, TLOG_OPEN);
		if (b.is_closed && !rs->has_close_leaf)
			put_leaves(&b, TLOG_CLOSE);
		else if (!b.is_closed)
			revive(&b);
	}
	buf_fini(&b.index);
	buf_fini(&b.out);
	buf_fini(&b.file);
	return rc;
}
