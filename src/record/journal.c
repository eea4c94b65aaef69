/*
 * journal.c: segments of the write-ahead log (journal.h).
 *
 *   growing ── zeros written ──► free ── block 0 ──► active ── full ──► full ── flushed ──► free
 *                                                      └── write failed ──► full, poisoned ── flushed ──► removed
 *
 * Segments are made by writing zeros: only overwriting blocks that were written before needs no
 * journal commit of the file system. Growing goes in steps, so that commits pass in between.
 *
 * Invariants:
 * 1. The numbers in use are a run without a hole: only the lowest is used again or removed.
 * 2. After a failed write nothing is ever written to that file again. A file whose block 0 failed
 *    holds nothing yet and is removed, durably before the next is used, so that its number is not
 *    seen twice.
 * 3. The head of block 0 lies in one sector of 512 bytes and the rest of the block is zeros before
 *    and after, so a torn write of it is the old head or the new one.
 * 4. The last free segment is a reserve: ordinary traffic does not take it when no other can be
 *    made. In it goes the record of the failure itself.
 */
#include "record/journal.h"

#define GROW_STEP ((size_t)256 << 10)

static const struct vfs_ops *ops_of(const struct journal *j) {
	return j->vfs->ops;
}

void journal_path(char out[VFS_PATH_MAX], uint32_t name) {
	(void)snprintf(out, VFS_PATH_MAX, "journal/%08x.seg", (unsigned)name);
}

void journal_init(struct journal *j, struct vfs *vfs, uint64_t size, uint32_t count) {
	void *zeros = NULL;

	*j = (struct journal){
		.vfs = vfs, .count = MAX(count, 2u), .next_number = 1, .next_batch = 1
	};
	size = MIN(MAX(size, JOURNAL_SEGMENT_LEAST), JOURNAL_SEGMENT_MAX);
	j->size = size / JOURNAL_BLOCK * JOURNAL_BLOCK;
	if (posix_memalign(&zeros, JOURNAL_BLOCK, GROW_STEP) != 0)
		abort();
	memset(zeros, 0, GROW_STEP);
	j->zeros = zeros;
}

void journal_fini(struct journal *j) {
	for (uint32_t i = 0; i < j->seg_count; i++) {
		if (j->seg[i]->handle >= 0)
			ops_of(j)->close(j->vfs, j->seg[i]->handle);
		free(j->seg[i]);
	}
	j->seg_count = 0;
	free(j->zeros);
	j->zeros = NULL;
}

size_t journal_batch_max(const struct journal *j) {
	return (size_t)j->size - 2 * JOURNAL_BLOCK;
}

/* --- opening --- */

static void note_name(void *arg, const char *name) {
	struct journal *j = arg;
	uint8_t raw[4];

	if (strlen(name) != 12 || strcmp(name + 8, ".seg") != 0 ||
	    hex_decode(raw, sizeof(raw), str_mem(name, 8)) != 4 || j->seg_count == JOURNAL_SEGS_MAX)
		return;
	struct journal_seg *s = xcalloc(1, sizeof(*s));

	s->name = (uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
	s->handle = -1;
	j->seg[j->seg_count++] = s;
	j->next_name = MAX(j->next_name, s->name + 1);
}

static int by_number(const void *a, const void *b) {
	const struct journal_seg *x = *(struct journal_seg *const *)a,
				 *y = *(struct journal_seg *const *)b;

	if (x->is_used != y->is_used)
		return x->is_used ? -1 : 1;
	if (x->head.number != y->head.number)
		return x->head.number < y->head.number ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static int open_seg(struct journal *j, struct journal_seg *s) {
	char path[VFS_PATH_MAX];

	journal_path(path, s->name);
	s->handle = ops_of(j)->open(j->vfs, path, VFS_WRITE | VFS_SYNC);
	if (s->handle < 0)
		return s->handle;
	int64_t size = ops_of(j)->size(j->vfs, s->handle);

	if (size < 0)
		return (int)size;
	s->size = (uint64_t)size;
	int64_t got = ops_of(j)->pread(j->vfs, s->handle, j->zeros, JOURNAL_BLOCK, 0);

	if (got < 0)
		return (int)got;
	int rc = (size_t)got < JOURNAL_BLOCK
	                 ? 0
	                 : seg_head_parse(&s->head, str_mem(j->zeros, JOURNAL_BLOCK));

	memset(j->zeros, 0, JOURNAL_BLOCK);
	if (rc < 0 || (rc > 0 && s->head.size > s->size))
		return H_ETAMPERED;
	s->is_used = rc > 0;
	s->state = SEG_FULL;
	if (s->is_used)
		return 0;
	/* Zeroing did not end: it goes on from here. A file of another size is of no use. */
	s->state = s->size == j->size ? SEG_FREE : SEG_GROWING;
	s->zeroed = s->size < j->size ? s->size / GROW_STEP * GROW_STEP : 0;
	return 0;
}

static void drop_seg(struct journal *j, uint32_t i) {
	if (j->seg[i]->handle >= 0)
		ops_of(j)->close(j->vfs, j->seg[i]->handle);
	free(j->seg[i]);
	j->seg_count--;
	memmove(&j->seg[i], &j->seg[i + 1], (j->seg_count - i) * sizeof(j->seg[0]));
}

/* Removes the file; false when that failed. */
static bool remove_seg(struct journal *j, struct journal_seg *s) {
	char path[VFS_PATH_MAX];

	journal_path(path, s->name);
	if (ops_of(j)->unlink(j->vfs, path) < 0)
		return false;
	j->names_changed = true;
	for (uint32_t i = 0; i < j->seg_count; i++) {
		if (j->seg[i] == s) {
			drop_seg(j, i);
			break;
		}
	}
	return true;
}

int journal_open(struct journal *j, uint32_t *ret_name) {
	int rc = ops_of(j)->list(j->vfs, "journal", note_name, j);

	bool has_unfit = false;

	for (uint32_t i = 0; rc == 0 && i < j->seg_count; i++) {
		rc = open_seg(j, j->seg[i]);
		if (rc != H_ETAMPERED)
			continue;
		*ret_name = j->seg[i]->name;
		j->seg[i]->is_unfit = has_unfit = true;
		j->seg[i]->state = SEG_FULL;
		rc = 0;
	}
	if (rc < 0)
		return rc;
	qsort(j->seg, j->seg_count, sizeof(j->seg[0]), by_number);
	for (uint32_t i = j->seg_count; i-- > 0;) {
		if (!j->seg[i]->is_used && !j->seg[i]->is_unfit && j->seg[i]->size > j->size)
			(void)remove_seg(j, j->seg[i]);
	}
	return has_unfit ? H_ETAMPERED : 0;
}

int journal_drop_unfit(struct journal *j) {
	char from[VFS_PATH_MAX], to[VFS_PATH_MAX + 16];
	int rc = 0;

	for (uint32_t i = j->seg_count; rc == 0 && i-- > 0;) {
		if (!j->seg[i]->is_unfit)
			continue;
		journal_path(from, j->seg[i]->name);
		(void)snprintf(to, sizeof(to), "%s.altered", from);
		rc = ops_of(j)->rename(j->vfs, from, to);
		drop_seg(j, i);
	}
	return rc;
}

void journal_forget_used(struct journal *j) {
	j->names_changed = true;
	for (uint32_t i = j->seg_count; i-- > 0;) {
		if (j->seg[i]->is_used)
			drop_seg(j, i);
	}
}

int journal_read(struct journal *j, const struct journal_seg *seg, uint8_t *image) {
	int64_t got = ops_of(j)->pread(j->vfs, seg->handle, image, seg->size, 0);

	if (got < 0)
		return (int)got;
	return (uint64_t)got == seg->size ? 0 : H_EIO;
}

/* --- which segment is next --- */

static struct journal_seg *lowest_used(const struct journal *j) {
	struct journal_seg *low = NULL;

	for (uint32_t i = 0; i < j->seg_count; i++) {
		struct journal_seg *s = j->seg[i];

		if (s->is_used && (low == NULL || s->head.number < low->head.number))
			low = s;
	}
	return low;
}

static bool may_reuse(const struct journal *j, const struct journal_seg *s) {
	return !s->is_poisoned && s->size == j->size;
}

/* Invariant 1: a segment never used, or the lowest number. */
static struct journal_seg *next_free(const struct journal *j) {
	struct journal_seg *low = lowest_used(j);

	for (uint32_t i = 0; i < j->seg_count; i++) {
		if (!j->seg[i]->is_used && j->seg[i]->state == SEG_FREE)
			return j->seg[i];
	}
	return low != NULL && low->state == SEG_FREE && may_reuse(j, low) ? low : NULL;
}

static bool is_free(const struct journal *j, const struct journal_seg *s) {
	return s->state == SEG_FREE && may_reuse(j, s);
}

/* Those that invariant 1 lets us use, one after the other: behind a segment that is kept (pinned) none
 * is used again. */
static uint32_t count_free(const struct journal *j) {
	uint64_t kept = UINT64_MAX;
	uint32_t n = 0;

	for (uint32_t i = 0; i < j->seg_count; i++) {
		if (j->seg[i]->is_used && !is_free(j, j->seg[i]))
			kept = MIN(kept, j->seg[i]->head.number);
	}
	for (uint32_t i = 0; i < j->seg_count; i++)
		n += is_free(j, j->seg[i]) &&
		     (!j->seg[i]->is_used || j->seg[i]->head.number < kept);
	return n;
}

static struct journal_seg *growing(const struct journal *j) {
	for (uint32_t i = 0; i < j->seg_count; i++) {
		if (j->seg[i]->state == SEG_GROWING)
			return j->seg[i];
	}
	return NULL;
}

/* Poisoned segments, and those of another size, go as soon as they are the lowest; never the last
 * one in use, which says where numbers go on. */
static void trim(struct journal *j) {
	for (struct journal_seg *s = lowest_used(j); s != NULL; s = lowest_used(j)) {
		if (s->state != SEG_FREE || may_reuse(j, s) ||
		    s->head.number + 1 == j->next_number || !remove_seg(j, s))
			break;
	}
}

/* A new, empty file. */
static int add_seg(struct journal *j) {
	char path[VFS_PATH_MAX];

	if (j->seg_count == JOURNAL_SEGS_MAX)
		return H_ENOSPACE;
	journal_path(path, j->next_name);
	int h = ops_of(j)->open(j->vfs, path, VFS_WRITE | VFS_CREATE | VFS_EXCL | VFS_SYNC);

	if (h < 0)
		return h;
	struct journal_seg *s = xcalloc(1, sizeof(*s));

	s->name = j->next_name++;
	s->handle = h;
	s->state = SEG_GROWING;
	j->seg[j->seg_count++] = s;
	return 0;
}

/* One step of zeros. A segment is free once its blocks and its name are on the disk. */
static int grow(struct journal *j, struct journal_seg *s) {
	size_t n = (size_t)MIN(j->size - s->zeroed, (uint64_t)GROW_STEP);
	char path[VFS_PATH_MAX];
	int rc = ops_of(j)->pwrite(j->vfs, s->handle, str_mem(j->zeros, n), s->zeroed);

	if (rc < 0)
		return rc;
	s->zeroed += n;
	s->size = MAX(s->size, s->zeroed);
	if (s->zeroed < j->size)
		return 0;
	journal_path(path, s->name);
	rc = ops_of(j)->sync(j->vfs, s->handle);
	if (rc == 0)
		rc = ops_of(j)->sync_dir(j->vfs, path);
	if (rc == 0)
		s->state = SEG_FREE;
	return rc;
}

bool journal_grow_step(struct journal *j) {
	struct journal_seg *s = growing(j);

	if (s == NULL && (j->seg_count >= j->count && count_free(j) >= 2))
		return false;
	int rc = s != NULL ? grow(j, s) : add_seg(j);

	j->no_growth = rc < 0;
	if (rc < 0 && s != NULL)
		(void)remove_seg(j, s); /* gives the space back, and no failed file stays */
	return rc == 0;
}

bool journal_grow_is_urgent(const struct journal *j) {
	return j->active == NULL || (count_free(j) < 2 && j->at > j->active->head.size / 2);
}

/* Makes one now: start, and when growing in the background was too slow. */
static int grow_one(struct journal *j) {
	while (next_free(j) == NULL) {
		if (!journal_grow_step(j))
			return H_ENOSPACE;
	}
	return 0;
}

/* A removed segment that a power cut brings back would stand twice, or leave a hole behind it. */
static int settle_names(struct journal *j) {
	char path[VFS_PATH_MAX];

	for (uint32_t i = j->seg_count; i-- > 0;) {
		if (j->seg[i]->is_doomed && !remove_seg(j, j->seg[i]))
			return H_EIO;
	}
	if (!j->names_changed)
		return 0;
	journal_path(path, 0);
	int rc = ops_of(j)->sync_dir(j->vfs, path);

	if (rc == 0)
		j->names_changed = false;
	return rc;
}

bool journal_has_spare(struct journal *j) {
	while (count_free(j) < 2 && journal_grow_step(j))
		;
	return count_free(j) >= 2;
}

int journal_advance(struct journal *j, uint64_t first_leaf, uint64_t wall, bool is_last_resort) {
	/* Even if no other can be had: what is full can be flushed and used again. */
	if (j->active != NULL)
		j->active->state = SEG_FULL;
	j->active = NULL;
	trim(j);
	if (!is_last_resort && !journal_has_spare(j))
		return H_ENOSPACE;
	int rc = settle_names(j);

	if (rc < 0)
		return rc;
	if (next_free(j) == NULL && grow_one(j) < 0)
		return H_ENOSPACE;
	struct journal_seg *s = next_free(j);
	struct seg_head h = { .size = s->size,
		              .number = j->next_number,
		              .wall_ns = wall,
		              .first_batch = j->next_batch,
		              .first_leaf = first_leaf };

	memcpy(h.node, j->node, sizeof(h.node));
	random_bytes(h.salt, sizeof(h.salt));
	seg_head_encode(j->zeros, &h);
	rc = ops_of(j)->pwrite(j->vfs, s->handle, str_mem(j->zeros, JOURNAL_BLOCK), 0);

	memset(j->zeros, 0, JOURNAL_BLOCK);
	if (rc < 0) {
		s->state = SEG_FULL;
		s->is_poisoned = s->is_doomed = true; /* invariant 2: settle_names() removes it */
		return rc;
	}
	s->head = h;
	s->is_used = true;
	s->state = SEG_ACTIVE;
	j->active = s;
	j->at = JOURNAL_BLOCK;
	j->next_number++;
	return 0;
}

/* --- batches --- */

bool journal_fits(const struct journal *j, size_t payload) {
	return j->active != NULL && j->at + batch_size(payload) <= j->active->head.size;
}

int journal_write(struct journal *j, uint8_t *block, uint32_t payload, uint32_t frames,
                  uint64_t mono) {
	struct batch_head h = { .payload_len = payload,
		                .frames = frames,
		                .number = j->next_batch,
		                .durable_upto = j->next_batch - 1,
		                .mono_ns = mono };

	assert(journal_fits(j, payload));
	memcpy(h.salt, j->active->head.salt, sizeof(h.salt));
	size_t n = batch_finish(block, &h);
	int rc = ops_of(j)->pwrite(j->vfs, j->active->handle, str_mem(block, n), j->at);

	if (rc < 0) {
		j->active->is_poisoned = true;
		j->active->state = SEG_FULL;
		j->active = NULL;
		return rc;
	}
	j->at += n;
	j->next_batch++;
	return 0;
}

/* --- reuse --- */

bool journal_wants_flush(const struct journal *j, uint64_t *ret) {
	bool wants = false;

	*ret = 0;
	for (uint32_t i = 0; i < j->seg_count; i++) {
		const struct journal_seg *s = j->seg[i];

		if (s->is_used && s->state == SEG_FULL && !s->is_pinned) {
			wants = true;
			*ret = MAX(*ret, s->head.number);
		}
	}
	return wants;
}

void journal_flushed(struct journal *j, uint64_t number) {
	for (uint32_t i = 0; i < j->seg_count; i++) {
		struct journal_seg *s = j->seg[i];

		if (s->is_used && s->state == SEG_FULL && !s->is_pinned && s->head.number <= number)
			s->state = SEG_FREE;
	}
	trim(j);
}

void journal_pin(struct journal *j, uint64_t number) {
	for (uint32_t i = 0; i < j->seg_count; i++) {
		struct journal_seg *s = j->seg[i];

		if (s->is_used && s->state == SEG_FULL && s->head.number <= number)
			s->is_pinned = true;
	}
}
