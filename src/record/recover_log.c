/*
 * recover_log.c: the node log after a crash.
 *
 * Tiles hold at least the leaves before the lowest segment (they were synced before its predecessor
 * was given back); the rest comes from log frames. What the keeper signed must be in there, with the
 * same root: an older state of the journal is found here.
 */
#include "record/recover_priv.h"

/* What the leaves of the journal say about sessions. */
static void note_leaf(struct recovery *v, struct str text) {
	struct tlog_leaf l;

	if (tlog_leaf_parse(&l, text) < 0 ||
	    (l.type != TLOG_OPEN && l.type != TLOG_CLOSE && l.type != TLOG_SEAL))
		return;
	struct rv_session *rs = map_get(v->sessions, str_mem(l.sid, SID_SIZE));

	if (rs == NULL)
		return;
	if (l.type == TLOG_OPEN)
		rs->has_open_leaf = true;
	else if (l.type == TLOG_CLOSE)
		rs->has_close_leaf = true;
	else
		rs->sealed = MAX(rs->sealed, (int64_t)l.part);
}

static int replay(struct recovery *v) {
	struct str rest = buf_peek(&v->leaves), entry;
	int rc = 0;

	if (v->leaves.bad)
		return H_ELIMIT;
	while (rc == 0 && tlog_entry_next(&rest, &entry) == 1) {
		rc = tlog_append(v->r->log, entry);
		note_leaf(v, entry);
	}
	return rc;
}

/* The entries of bundle n, as wide as any that is there. */
static int read_bundle(struct recovery *v, uint64_t n, struct buf *out) {
	char path[TLOG_PATH_MAX], full[VFS_PATH_MAX];

	for (unsigned width = TLOG_TILE_WIDTH; width >= 1; width--) {
		tlog_tile_path(path, TLOG_ENTRIES, n, width);
		(void)snprintf(full, sizeof(full), "log/%s", path);
		if (vfs_read_file(v->r->vfs, full, 32 * MIB, out) == 0)
			return 0;
	}
	return H_ENOTFOUND;
}

/* The journal ends before what was signed: bundles may still have it. */
static int extend(struct recovery *v) {
	struct tlog_writer *log = v->r->log;
	int rc = 0;

	while (rc == 0 && tlog_size(log) < v->r->signed_size) {
		uint64_t size = tlog_size(log), at = size & ~(uint64_t)255;
		struct str rest, entry;
		struct buf b;

		buf_init(&b, 32 * MIB);
		rc = read_bundle(v, size >> 8, &b);
		for (rest = buf_peek(&b); rc == 0 && tlog_entry_next(&rest, &entry) == 1; at++) {
			if (at >= size && tlog_size(log) < v->r->signed_size)
				rc = tlog_append(log, entry);
		}
		buf_fini(&b);
		if (tlog_size(log) == size)
			rc = H_ENOTFOUND;
	}
	return rc;
}

int recover_log(struct recovery *v) {
	struct recorder *r = v->r;
	uint8_t root[SHA256_SIZE];
	int rc = log_open(r);

	if (rc == 0 && v->first_leaf != 0)
		rc = tlog_writer_load(r->log, v->first_leaf);
	if (rc == 0)
		rc = replay(v);
	if (rc < 0) {
		v->altered = "tiles of the node log are missing";
		return rc;
	}
	if (tlog_size(r->log) < r->signed_size) {
		v->altered = "the journal ends before what was signed";
		if (extend(v) < 0)
			return H_ETAMPERED;
	}
	if (r->signed_size == 0)
		return 0;
	rc = tlog_root(r->log, r->signed_size, root);
	if (rc == 0 && memcmp(root, r->signed_root, SHA256_SIZE) != 0)
		rc = H_ETAMPERED;
	if (rc < 0)
		v->altered = "the node log is not the one that was signed";
	return rc;
}
