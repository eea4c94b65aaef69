/*
 * recover.c: the recorder after a crash (docs/record-format.md §8).
 *
 *   segments in number order → valid batches → frames per session, leaves of the log
 *   → node log against the keeper's last signature → session files completed → one sync
 *   → open sessions: bound again if their ring lives, else closed → a new segment
 *
 * Recovery may itself crash at any point: it writes nothing to old segments, and what it writes to
 * other files is what the journal holds, at the places where that belongs.
 *
 * A torn tail is normal: a batch that nobody was told of. Altered is a journal that misses what was
 * acknowledged or signed. Then its segments are put aside under another name, what they still prove
 * is saved, the sessions end with a gap, and a new set of segments begins. Only when the log that the
 * keeper signed cannot be found at all does the recorder not serve.
 */
#include "base/json.h"
#include "record/recover_priv.h"

struct rv_session *rv_session(struct recovery *v, const uint8_t sid[SID_SIZE]) {
	struct str key = str_mem(sid, SID_SIZE);
	struct rv_session *rs = map_get(v->sessions, key);
	void *old;

	if (rs != NULL)
		return rs;
	rs = xcalloc(1, sizeof(*rs));
	memcpy(rs->sid, sid, SID_SIZE);
	rs->sealed = -1;
	if (map_put(v->sessions, key, rs, &old) < 0)
		abort();
	if (v->count == v->cap) {
		v->cap = MAX(v->cap * 2, (size_t)64);
		v->list = xrealloc(v->list, v->cap * sizeof(v->list[0]));
	}
	v->list[v->count++] = rs;
	return rs;
}

static void altered(struct recovery *v, const char *why) {
	if (v->altered == NULL)
		v->altered = why;
}

/* --- the scan --- */

static void note_leaves(struct recovery *v, const struct frame *f) {
	struct str entries, rest, entry;
	uint64_t n = 0;

	if (f->head.frame_no != v->next_leaf || frame_after_salt(f->body, &entries) < 0) {
		altered(v, "leaves of the node log are missing");
		return;
	}
	for (rest = entries; tlog_entry_next(&rest, &entry) == 1;)
		n++;
	w_bytes(&v->leaves, entries);
	v->next_leaf += n;
}

static void note_frame(struct recovery *v, uint32_t seg, const struct frame *f, uint64_t at) {
	struct rv_session *rs = rv_session(v, f->head.sid);

	if (rs->count == rs->cap) {
		rs->cap = MAX(rs->cap * 2, 8u);
		rs->frames = xrealloc(rs->frames, rs->cap * sizeof(rs->frames[0]));
	}
	struct rv_frame *rf = &rs->frames[rs->count++];

	*rf = (struct rv_frame){ .frame_no = f->head.frame_no,
		                 .at = at,
		                 .seg = seg,
		                 .len = (uint32_t)f->bytes.n,
		                 .part = f->head.part };
	frame_leaf(rf->leaf, f->bytes.p);
}

static void scan_batch(struct recovery *v, uint32_t seg, const struct batch *b) {
	struct str rest = b->payload;
	struct frame f;

	while (rest.n != 0) {
		int n = frame_parse(&f, rest);

		if (n <= 0) {
			altered(v, "a batch holds what is no frame");
			return;
		}
		uint64_t at = b->offset + JOURNAL_BATCH_HEAD + (size_t)(rest.p - b->payload.p);

		if (f.head.kind == FRAME_LOG)
			note_leaves(v, &f);
		else if (frame_in_tree(f.head.kind))
			note_frame(v, seg, &f, at);
		rest = str_from(rest, (size_t)n);
	}
}

/* Batches of one segment, up to the number at which the next segment begins. */
static void scan_image(struct recovery *v, uint32_t seg, struct str image, uint64_t limit) {
	struct seg_scan s;
	struct batch b, later;

	if (seg_scan_begin(&s, image) <= 0) {
		altered(v, "the head of a segment does not fit");
		return;
	}
	while (s.next < limit && seg_scan_next(&s, &b) == 1) {
		scan_batch(v, seg, &b);
		v->next_batch = b.head.number + 1;
	}
	if (limit != UINT64_MAX) {
		if (v->next_batch < limit)
			altered(v, "acknowledged batches are missing before a later segment");
	} else if (seg_scan_beyond(&s, &later) == 1 && later.head.durable_upto >= s.next) {
		altered(v, "an acknowledged batch does not fit");
	}
}

static int scan_segment(struct recovery *v, uint32_t i, uint64_t limit) {
	struct journal *j = &v->r->j;
	void *image = NULL;

	if (posix_memalign(&image, JOURNAL_BLOCK, j->seg[i]->size) != 0)
		return H_ENOMEM;
	int rc = journal_read(j, j->seg[i], image);

	if (rc == 0)
		scan_image(v, i, str_mem(image, j->seg[i]->size), limit);
	free(image);
	return rc;
}

static int scan(struct recovery *v) {
	struct journal *j = &v->r->j;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < j->seg_count && j->seg[i]->is_used; i++) {
		const struct seg_head *h = &j->seg[i]->head;
		bool has_next = i + 1 < j->seg_count && j->seg[i + 1]->is_used;

		if (i == 0) {
			v->next_batch = h->first_batch;
			v->first_leaf = v->next_leaf = h->first_leaf;
		} else if (h->number != v->last_number + 1) {
			altered(v, "a segment is missing");
		} else if (h->first_leaf != v->next_leaf) {
			altered(v, "leaves of the node log are missing");
		}
		v->last_number = h->number;
		rc = scan_segment(v, i, has_next ? j->seg[i + 1]->head.first_batch : UINT64_MAX);
	}
	return rc;
}

/* Sessions that were open when a segment was given back last. */
static void read_hint(struct recovery *v) {
	struct buf b;
	struct str rest;
	uint8_t sid[SID_SIZE];

	buf_init(&b, 64 * MIB);
	if (vfs_read_file(v->r->vfs, "journal/open.tmp", 64 * MIB, &b) == 0) {
		for (rest = buf_peek(&b); rest.n != 0;) {
			struct str line = str_cut(&rest, '\n');

			if (line.n == 2 * SID_SIZE && hex_decode(sid, SID_SIZE, line) == SID_SIZE)
				(void)rv_session(v, sid);
		}
	}
	buf_fini(&b);
}

/* --- the end of recovery --- */

/* Nothing of an altered journal is lost, and nothing of it is used again. */
static int put_aside(struct recovery *v) {
	struct journal *j = &v->r->j;
	struct vfs *vfs = v->r->vfs;
	char from[VFS_PATH_MAX], to[VFS_PATH_MAX + 48];

	for (uint32_t i = 0; i < j->seg_count; i++) {
		if (!j->seg[i]->is_used)
			continue;
		journal_path(from, j->seg[i]->name);
		(void)snprintf(to, sizeof(to), "%s.altered-%llu", from,
		               (unsigned long long)(rec_wall(v->r) / NS_PER_S));
		int rc = vfs->ops->rename(vfs, from, to);

		if (rc < 0)
			return rc;
	}
	journal_forget_used(j);
	return 0;
}

/* Tiles and parts onto the disk; only then may old segments be used again. */
static void settle(struct recovery *v) {
	struct recorder *r = v->r;
	uint64_t upto;

	r->full_at = r->now;
	r->is_flush_due = true;
	store_step(r, true);
	while (r->store.is_running)
		batch_collect(r);
	bool wants = journal_wants_flush(&r->j, &upto);

	for (int i = 0; i < 3 && wants; i++) {
		store_step(r, true);
		while (r->store.is_running)
			batch_collect(r);
		wants = journal_wants_flush(&r->j, &upto);
	}
	r->is_flush_due = false;
}

static void close_handles(struct recovery *v) {
	for (uint32_t i = 0; v->handle != NULL && i < v->r->j.seg_count; i++) {
		if (v->handle[i] >= 0)
			v->r->vfs->ops->close(v->r->vfs, v->handle[i]);
	}
	free(v->handle);
	v->handle = NULL;
}

static void free_recovery(struct recovery *v) {
	close_handles(v);
	for (size_t i = 0; i < v->count; i++) {
		free(v->list[i]->frames);
		free(v->list[i]);
	}
	free(v->list);
	map_free(&v->sessions);
	buf_fini(&v->leaves);
}

static int open_handles(struct recovery *v) {
	struct journal *j = &v->r->j;
	char path[VFS_PATH_MAX];

	v->handle = xcalloc(j->seg_count + 1, sizeof(v->handle[0]));
	for (uint32_t i = 0; i < j->seg_count; i++)
		v->handle[i] = -1;
	for (uint32_t i = 0; i < j->seg_count && j->seg[i]->is_used; i++) {
		journal_path(path, j->seg[i]->name);
		v->handle[i] = v->r->vfs->ops->open(v->r->vfs, path, 0);
		if (v->handle[i] < 0)
			return v->handle[i];
	}
	return 0;
}

static void put_boot_leaf(struct recovery *v) {
	struct recorder *r = v->r;
	char boot[33];

	if (r->o.is_restart && tlog_size(r->log) != 0)
		return;
	hex_encode(boot, r->o.boot, sizeof(r->o.boot));
	struct tlog_leaf l = { .type = TLOG_BOOT,
		               .wall = rec_wall(r),
		               .boot = str_of(boot),
		               .version = str_of(r->o.version != NULL ? r->o.version : "") };

	memcpy(l.node, r->node, TLOG_NODE_SIZE);
	leaf_put(r, &l);
}

static void put_gap_leaf(struct recovery *v) {
	struct tlog_leaf l = { .type = TLOG_GAP,
		               .wall = rec_wall(v->r),
		               .reason = STR("journal-altered") };

	memcpy(l.sid, v->r->acts->sid, SID_SIZE);
	leaf_put(v->r, &l);
}

/* Written again when it differs; the keeper is the one that knows. */
static void put_node(struct recovery *v) {
	struct recorder *r = v->r;
	char node[2 * TLOG_NODE_SIZE + 1];
	struct buf now, was;
	struct jw j;

	buf_init(&now, 4 * KIB);
	buf_init(&was, 4 * KIB);
	j = jw_of(&now);
	hex_encode(node, r->node, TLOG_NODE_SIZE);
	jw_obj(&j);
	jw_kv_u64(&j, "format", 1);
	jw_kv_z(&j, "node", node);
	jw_kv_z(&j, "origin", r->origin);
	jw_kv_z(&j, "vkey", r->vkey);
	jw_obj_end(&j);
	if (vfs_read_file(r->vfs, "node.json", 4 * KIB, &was) < 0 ||
	    !str_eq(buf_peek(&was), buf_peek(&now)))
		store_put(r, "node.json", buf_peek(&now));
	buf_fini(&now);
	buf_fini(&was);
}

static int recover_files(struct recovery *v) {
	uint32_t name = 0;
	int rc = journal_open(&v->r->j, &name);

	if (rc == H_ETAMPERED) {
		altered(v, "the head of a segment does not fit");
		rc = journal_drop_unfit(&v->r->j);
	}
	if (rc == 0)
		rc = scan(v);
	if (rc == 0)
		rc = open_handles(v);
	if (rc < 0)
		return rc;
	read_hint(v);
	rc = recover_log(v);
	v->r->leaf_next = v->r->leaf_durable = tlog_size(v->r->log);
	put_boot_leaf(v); /* before the leaves of sessions that recovery ends */
	for (size_t i = 0; rc == 0 && i < v->count; i++)
		rc = recover_session(v, v->list[i]);
	close_handles(v);
	if (rc == 0 && v->altered != NULL)
		rc = put_aside(v);
	return rc;
}

static void say(struct recovery *v, int rc) {
	struct recorder *r = v->r;

	if (r->o.no_log)
		return;
	if (rc < 0)
		log_alarm("record.recovery.failed", kv_err(rc),
		          kv_z("why",
		               v->altered != NULL ? v->altered : "the store cannot be read"));
	else if (v->altered != NULL)
		log_alarm("record.journal.altered", kv_z("why", v->altered));
	else
		log_info("record.recovered", kv_uint("sessions", v->count),
		         kv_uint("batch", v->next_batch), kv_uint("leaves", v->next_leaf));
}

/* Back to where recovery began: the files are as good as before. */
static void reset(struct recorder *r) {
	while (!list_empty(&r->all))
		rec_session_free(r, container_of(r->all.next, struct rec_session, all));
	store_forget(r);
	tlog_writer_free(&r->log);
	buf_clear(&r->leaves);
	journal_fini(&r->j);
	journal_init(&r->j, r->vfs, r->j.size, r->j.count);
	r->acts = NULL;
	r->has_recovered = false;
	r->leaf_next = r->leaf_durable = r->sign_shown = 0;
	r->store.log_size = 0;
	r->store.last_rc = 0;
}

/* Altered is for ever; anything else is tried again in a second. */
static void give_up(struct recovery *v, int rc) {
	struct recorder *r = v->r;
	bool is_altered = rc != H_EIO && rc != H_ENOSPACE && rc != H_ENOMEM && rc != H_EPERM;
	const char *why = v->altered != NULL ? v->altered
	                  : rc == H_ENOSPACE ? "no space left in the store"
	                                     : "the store cannot be read";

	r->phase = is_altered ? RP_ALTERED : RP_STARTING;
	rec_set_store_state(r, STORE_FAILED, why);
	free_recovery(v);
	if (is_altered)
		return;
	reset(r);
	r->retry_due = r->now + NS_PER_S;
}

void recover(struct recorder *r) {
	struct recovery v = { .r = r, .next_batch = 1 };

	v.sessions = map_new(REC_SESSIONS_MAX);
	buf_init(&v.leaves, (size_t)4 << 30);
	memcpy(r->j.node, r->node, sizeof(r->j.node));
	r->phase = RP_SERVING;
	int rc = recover_files(&v);

	say(&v, rc);
	if (rc < 0) {
		give_up(&v, rc);
		return;
	}
	r->j.next_batch = v.next_batch;
	r->j.next_number = v.last_number + 1;
	put_node(&v);
	settle(&v);
	if (r->acts == NULL)
		acts_open(r);
	if (v.altered != NULL)
		put_gap_leaf(&v);
	r->beat_due = r->now;
	r->store_state = STORE_FAILED; /* whatever the one before said last */
	rec_set_store_state(r, STORE_OK, "");
	free_recovery(&v);
}
