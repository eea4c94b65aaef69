/*
 * heads.c: the node log as the recorder writes it, and what a helper does in the background: tiles,
 * checkpoints, the sync before a segment is used again.
 *
 *   leaf ── queued ──► log frame in a batch ── durable ──► tlog (memory) ── flush ──► ops ── helper ──► tile files
 *                                                                             tiles written ──► SIGN ──► checkpoint
 *
 * Invariants:
 * 1. The tree in memory holds durable leaves only, so whatever is signed is durable.
 * 2. Files of the log are replaced whole (written aside, synced, renamed), and in the order in which
 *    they were made: a reader or a crash sees a complete file, old or new.
 * 3. Segments are given back when all their frames were handed to part files, all leaves to tiles, and
 *    a sync of both after that succeeded, and no write-out since the sync before failed. After a
 *    failure they are kept for the next recovery, which writes everything again: the kernel forgets
 *    which pages it lost.
 */
#include "record/recorder_priv.h"

/* --- leaves --- */

void leaf_put(struct recorder *r, const struct tlog_leaf *l) {
	struct buf b;

	buf_init(&b, TLOG_LEAF_MAX);
	tlog_put_leaf(&b, l);
	assert(!b.bad);
	tlog_put_entry(&r->leaves, buf_peek(&b));
	buf_fini(&b);
	assert(!r->leaves.bad);
	r->leaf_next++;
}

void leaves_applied(struct recorder *r, struct str entries) {
	struct str entry;

	while (tlog_entry_next(&entries, &entry) == 1) {
		int rc = tlog_append(r->log, entry);

		assert(rc == 0); /* write_op() only queues */
		r->leaf_durable++;
	}
}

void heads_write(struct recorder *r) {
	struct buf b;
	uint8_t root[SHA256_SIZE];

	if (list_empty(&r->grew) || r->leaves.len > 8 * MIB)
		return;
	buf_init(&b, TLOG_LEAF_MAX);
	tlog_head_begin(&b, rec_wall(r), r->j.next_batch - 1);
	while (!list_empty(&r->grew) && b.len < TLOG_LEAF_MAX - 200) {
		struct rec_session *s = container_of(r->grew.next, struct rec_session, grew);

		list_drop(&s->grew);
		tree_root(&s->tree, root);
		tlog_head_add(&b, s->sid, s->tree.size, root);
	}
	tlog_head_end(&b);
	assert(!b.bad);
	tlog_put_entry(&r->leaves, buf_peek(&b));
	r->leaf_next++;
	buf_fini(&b);
}

/* --- files --- */

static void free_op(struct store_op *op) {
	list_drop(&op->link);
	buf_fini(&op->bytes);
	free(op);
}

static void free_ops(struct list *ops) {
	list_each_safe (it, tmp, ops)
		free_op(container_of(it, struct store_op, link));
}

void store_forget(struct recorder *r) {
	free_ops(&r->ops);
	free_ops(&r->store.ops);
}

static void add_op(struct recorder *r, const char *path, struct str bytes, bool is_removal) {
	struct store_op *op = xcalloc(1, sizeof(*op));

	(void)snprintf(op->path, sizeof(op->path), "%s", path);
	buf_init(&op->bytes, MAX(bytes.n, (size_t)1));
	op->is_removal = is_removal;
	if (!is_removal && buf_append(&op->bytes, bytes) < 0)
		abort();
	list_init(&op->link);
	list_push(&r->ops, &op->link);
}

void store_put(struct recorder *r, const char *path, struct str bytes) {
	add_op(r, path, bytes, false);
}

static int write_op(void *arg, const char *path, struct str bytes) {
	char full[VFS_PATH_MAX];

	(void)snprintf(full, sizeof(full), "log/%s", path);
	add_op(arg, full, bytes, bytes.p == NULL);
	return 0;
}

static const struct store_op *find_op(struct list *ops, const char *path) {
	const struct store_op *found = NULL;

	for (struct list *it = ops->next; it != ops; it = it->next) {
		const struct store_op *op = container_of(it, struct store_op, link);

		if (strcmp(op->path, path) == 0)
			found = op;
	}
	return found;
}

/* What waits to be written counts as written. While a helper runs it only reads its list. */
static int read_log(void *arg, const char *path, struct buf *out) {
	struct recorder *r = arg;
	char full[VFS_PATH_MAX];

	(void)snprintf(full, sizeof(full), "log/%s", path);
	const struct store_op *op = find_op(&r->ops, full);

	if (op == NULL)
		op = find_op(&r->store.ops, full);
	if (op != NULL)
		return op->is_removal ? H_ENOTFOUND : buf_append(out, buf_peek(&op->bytes));
	return vfs_read_file(r->vfs, full, 64 * MIB, out);
}

int log_open(struct recorder *r) {
	r->log = tlog_writer_new(write_op, read_log, r);
	return r->log != NULL ? 0 : H_ENOMEM;
}

/* The directory of path, and those above it, once each; entries are a path in the directory. */
static void note_dirs(struct store_job *j, const char *path) {
	char entry[VFS_PATH_MAX] = { 0 }, *end = entry;

	if (!str_copy(entry, sizeof(entry), str_of(path)))
		j->needs_all = true;
	while (end != NULL && !j->needs_all) {
		struct str rest = buf_peek(&j->dirs);
		char *slash = strrchr(entry, '/');
		size_t n = slash != NULL ? (size_t)(slash - entry) + 1 : 0;

		for (; rest.n != 0; rest = str_from(rest, VFS_PATH_MAX)) {
			if (strncmp(rest.p, entry, n) == 0 && strchr(rest.p + n, '/') == NULL)
				return; /* and those above it */
		}
		memset(entry + n, 0, sizeof(entry) - n);
		entry[n] = 'x';
		if (buf_append(&j->dirs, str_mem(entry, sizeof(entry))) < 0)
			j->needs_all = true;
		memset(entry + n, 0, sizeof(entry) - n);
		if (slash != NULL)
			*slash = '\0';
		end = slash;
	}
}

static int by_file(const void *a, const void *b) {
	return memcmp(a, b, sizeof(struct part_file));
}

/* The files of the runs, each once. */
static void note_files(struct store_job *j) {
	struct str rest = buf_peek(&j->written);
	char path[VFS_PATH_MAX];
	struct part_run run;

	for (; !j->needs_all && rest.n >= sizeof(run); rest = str_from(rest, sizeof(run))) {
		memcpy(&run, rest.p, sizeof(run));
		struct part_file f = { .part = run.part };

		memcpy(f.sid, run.sid, SID_SIZE);
		part_path(path, f.sid, f.part);
		note_dirs(j, path);
		if (buf_append(&j->files, str_mem(&f, sizeof(f))) < 0)
			j->needs_all = true;
	}
	struct part_file *all = j->files.p != NULL ? (void *)(j->files.p + j->files.off) : NULL;
	size_t count = j->files.len / sizeof(*all), kept = 0;

	if (j->needs_all)
		buf_clear(&j->files);
	if (j->needs_all || count == 0)
		return;
	qsort(all, count, sizeof(*all), by_file);
	for (size_t i = 1; i < count; i++) {
		if (by_file(&all[kept], &all[i]) != 0)
			all[++kept] = all[i];
	}
	j->files.len = (kept + 1) * sizeof(*all);
	j->needs_all = j->needs_all || kept >= REC_SYNC_FILES_MAX;
}

/* Part files go to the device as they are written, one after the other. Left to the sync they would
 * all stand in the device's queue at once, and the next commit of the journal behind them. */
static int write_runs(struct store_job *j, struct vfs *v) {
	struct str rest = buf_peek(&j->written);
	struct part_run run;
	char path[VFS_PATH_MAX];
	int rc = 0;

	for (; rest.n >= sizeof(run) && rc == 0; rest = str_from(rest, sizeof(run))) {
		memcpy(&run, rest.p, sizeof(run));
		part_path(path, run.sid, run.part);
		int h = v->ops->open(v, path, 0);

		if (h < 0)
			continue; /* the sync will say */
		rc = v->ops->write_out(v, h, run.at, run.n);
		v->ops->close(v, h);
	}
	note_files(j);
	buf_clear(&j->written);
	return rc;
}

/* What changed since the last sync, file by file and with the directories that name them. A sync of
 * the file system would take what others wrote along, with our commits waiting behind it; it is for
 * the first time, after recovery, and when too much changed to be listed. */
static int sync_changed(struct store_job *j, struct vfs *v) {
	struct str files = buf_peek(&j->files), dirs = buf_peek(&j->dirs);
	char path[VFS_PATH_MAX];
	struct part_file f;
	int rc = 0;

	for (; !j->needs_all && rc == 0 && files.n != 0; files = str_from(files, sizeof(f))) {
		memcpy(&f, files.p, sizeof(f));
		part_path(path, f.sid, f.part);
		int h = v->ops->open(v, path, 0);

		j->needs_all = h < 0 && h != H_ENOTFOUND;
		if (h < 0)
			continue;
		rc = v->ops->sync(v, h);
		v->ops->close(v, h);
	}
	for (; !j->needs_all && rc == 0 && dirs.n != 0; dirs = str_from(dirs, VFS_PATH_MAX)) {
		memcpy(path, dirs.p, sizeof(path));
		rc = v->ops->sync_dir(v, path);
	}
	if (j->needs_all && rc == 0) {
		rc = v->ops->sync_all(v);
		j->needs_all = rc < 0;
	}
	return rc;
}

/* In a helper. Stops at the first failure; the rest is tried again. */
void store_run(struct store_job *j) {
	struct vfs *v = j->r->vfs;

	j->rc = j->sync_rc = 0;
	for (struct list *it = j->ops.next; it != &j->ops && j->rc == 0; it = it->next) {
		struct store_op *op = container_of(it, struct store_op, link);

		j->rc = op->is_removal ? v->ops->unlink(v, op->path)
		                       : vfs_replace_file(v, op->path, buf_peek(&op->bytes));
		if (op->is_removal && j->rc == H_ENOTFOUND)
			j->rc = 0;
		else if (j->rc == 0)
			note_dirs(j, op->path);
	}
	int rc = write_runs(j, v);

	if (rc < 0)
		j->write_rc = rc;
	if (j->rc < 0 || !j->with_sync)
		return;
	/* What an earlier write-out lost no sync brings back. */
	j->sync_rc = j->write_rc < 0 ? j->write_rc : sync_changed(j, v);
	j->write_rc = 0;
	buf_clear(&j->files);
	buf_clear(&j->dirs);
}

static void run_store(struct pool_job *pj, unsigned thread) {
	(void)thread;
	store_run(container_of(pj, struct store_job, job));
}

/* Which sessions are open: a hint for recovery, which knows newer ones from the journal. Not part of
 * the record: its name ends in .tmp. */
static void put_hint(struct recorder *r) {
	char hex[2 * SID_SIZE + 1];
	struct buf b;

	buf_init(&b, 64 * MIB);
	list_each_safe (it, tmp, &r->all) {
		struct rec_session *s = container_of(it, struct rec_session, all);

		/* One whose close leaf is durable needs nothing any more. */
		if (s->tree.size == 0 || (s->state >= SS_CLOSED && s->close_leaf < r->leaf_durable))
			continue;
		hex_encode(hex, s->sid, SID_SIZE);
		w_fmt(&b, "%s\n", hex);
	}
	add_op(r, "journal/open.tmp", buf_peek(&b), false);
	buf_fini(&b);
}

static void ask_sign(struct recorder *r) {
	struct tree_proof proof;
	struct buf b;

	if (r->sign_running || r->sign_is_unknown || !r->keeper_is_up ||
	    r->sign_shown <= r->signed_size)
		return;
	if (tlog_consistency(r->log, r->signed_size, r->sign_shown, &proof) < 0 ||
	    tlog_root(r->log, r->sign_shown, r->sign_root) < 0) {
		rec_alarm(r, "record.log.unreadable", "tiles of the node log cannot be read",
		          H_EIO);
		return;
	}
	buf_init(&b, 8 * KIB);
	w_u64(&b, r->sign_shown);
	w_bytes(&b, str_mem(r->sign_root, SHA256_SIZE));
	w_u64(&b, r->signed_size);
	w_u16(&b, (uint16_t)proof.count);
	for (size_t i = 0; i < proof.count; i++)
		w_bytes(&b, str_mem(proof.hash[i], SHA256_SIZE));
	r->sign_running = true;
	r->sign_asked = r->sign_shown;
	r->o.hooks.to_keeper(r->o.hooks.arg, IPC_SIGN, r->sign_asked, buf_peek(&b));
	buf_fini(&b);
}

void sign_done(struct recorder *r, int code, struct str note) {
	struct tlog_checkpoint c;
	struct str text, lines;

	if (!r->sign_running)
		return;
	r->sign_running = false;
	if (code == 0)
		code = tlog_checkpoint_parse(&c, note, &text, &lines);
	if (code == 0 &&
	    (c.size != r->sign_asked || memcmp(c.root, r->sign_root, SHA256_SIZE) != 0))
		code = H_EPROTO;
	if (code != 0) {
		rec_alarm(r, "record.sign.refused", "the keeper does not sign the log", code);
		recorder_start(r); /* perhaps it signed something of which we did not hear */
		return;
	}
	r->signed_size = c.size;
	memcpy(r->signed_root, c.root, SHA256_SIZE);
	add_op(r, "log/checkpoint", note, false);
	store_step(r, false);
}

static void move_ops(struct list *from, struct list *to) {
	while (!list_empty(from)) {
		struct list *it = from->next;

		list_drop(it);
		list_push(to, it);
	}
}

/* Whether part files hold all of the full segments. Normally parts_sweep() gets there in a moment. */
static bool settle_parts(struct recorder *r) {
	if (parts_are_through(r))
		return true;
	if (r->phase == RP_SERVING && !r->is_flush_due && !r->is_draining)
		return false;
	return parts_flush_all(r) == 0;
}

static void swap_runs(struct recorder *r, struct store_job *j) {
	struct buf empty = j->written;

	j->written = r->written;
	r->written = empty;
	j->needs_all = j->needs_all || r->written_over;
	r->written_over = false;
}

void store_step(struct recorder *r, bool want_tiles) {
	struct store_job *j = &r->store;
	uint64_t upto = 0;

	if (j->is_running || r->log == NULL)
		return;
	bool with_sync = !r->parts_broken && journal_wants_flush(&r->j, &upto) && settle_parts(r);

	if ((want_tiles || with_sync) && (j->last_rc == 0 || list_empty(&r->ops))) {
		int rc = tlog_flush(r->log);

		assert(rc == 0);
		j->log_size = tlog_size(r->log);
	} else if (with_sync) {
		/* What failed before goes first; the next round syncs. */
		with_sync = false;
	}
	if (with_sync)
		put_hint(r);
	if (list_empty(&r->ops) && !with_sync && (!want_tiles || r->written.len == 0)) {
		ask_sign(r);
		return;
	}
	move_ops(&r->ops, &j->ops);
	swap_runs(r, j);
	j->r = r;
	j->job.fn = run_store;
	j->is_running = true;
	j->with_sync = with_sync;
	j->flush_upto = upto;
	pool_submit(r->store_pool, &j->job);
}

void store_done(struct recorder *r, struct store_job *j) {
	j->is_running = false;
	j->last_rc = j->rc;
	if (j->rc < 0) {
		/* Again at the next beat, before anything newer. */
		move_ops(&r->ops, &j->ops);
		move_ops(&j->ops, &r->ops);
		rec_alarm(r, "record.log.write", "files of the node log cannot be written", j->rc);
		if (r->phase == RP_SERVING)
			rec_set_store_state(r, STORE_REFUSE, "the node log cannot be written");
		return;
	}
	free_ops(&j->ops);
	r->sign_shown = j->log_size;
	if (j->with_sync && j->sync_rc == 0) {
		journal_flushed(&r->j, j->flush_upto);
	} else if (j->with_sync) {
		journal_pin(&r->j, j->flush_upto);
		rec_alarm(r, "record.sync.failed", "segments are kept until the next start",
		          j->sync_rc);
	}
	ask_sign(r);
}
