/*
 * tlog.c: tiles, entry bundles, and the node log in memory (c2sp.org/tlog-tiles).
 *
 * Row L of the log holds the roots of complete subtrees of 256^L leaves; a tile is 256 of a row.
 *
 *   row 1                 [ h0 h1 …                    partial tile 1/000
 *   row 0   [ 256 hashes ][ 256 hashes ][ h512 …       full tiles 0/000, 0/001; partial 0/002
 *   leaves  [ bundle 000 ][ bundle 001 ][ …
 *
 * The writer keeps the last, partial tile of every row and the last bundle (48 KiB of hashes
 * whatever the length of the log) and reads full tiles back only for proofs and old roots. A full
 * tile is handed out as soon as it is full, partial ones when tlog_flush() asks. What the callback
 * refused waits in a queue and is offered again first.
 *
 * Invariants:
 * 1. row[L].n == (size >> 8L) % 256: a full tile has been queued and its row emptied.
 * 2. Files are handed out so that a reader always finds each leaf: first the fuller file, then the
 *    removal of the one that it replaces.
 */
#include "base/mem.h"
#include "record/tlog.h"

enum { TILE_BITS = 8, TILE_SIZE = TLOG_TILE_WIDTH * SHA256_SIZE };
#define BUNDLE_MAX ((size_t)TLOG_TILE_WIDTH * (2 + TLOG_LEAF_MAX))

/* --- paths and entries --- */

void tlog_tile_path(char out[TLOG_PATH_MAX], unsigned level, uint64_t n, unsigned width) {
	uint64_t group = 1;
	int at;

	assert(width >= 1 && width <= TLOG_TILE_WIDTH && (level == TLOG_ENTRIES || level < 64));
	if (level == TLOG_ENTRIES)
		at = snprintf(out, TLOG_PATH_MAX, "tile/entries");
	else
		at = snprintf(out, TLOG_PATH_MAX, "tile/%u", level);
	while (n / group >= 1000)
		group *= 1000;
	for (; group > 1; group /= 1000)
		at += snprintf(out + at, TLOG_PATH_MAX - (size_t)at, "/x%03u",
		               (unsigned)(n / group % 1000));
	at += snprintf(out + at, TLOG_PATH_MAX - (size_t)at, "/%03u", (unsigned)(n % 1000));
	if (width < TLOG_TILE_WIDTH)
		(void)snprintf(out + at, TLOG_PATH_MAX - (size_t)at, ".p/%u", width);
}

/* The digits of "x001/x234/067" as one number. */
static int parse_index(struct str s, uint64_t *n) {
	uint64_t sum = 0, part;

	while (s.n != 0) {
		struct str group = str_cut(&s, '/');

		if (s.n != 0 && str_starts(group, STR("x")))
			group = str_from(group, 1);
		if (str_u64(group, 999, &part) < 0 || sum > TREE_SIZE_MAX)
			return H_EFORMAT;
		sum = sum * 1000 + part;
	}
	*n = sum;
	return 0;
}

int tlog_tile_path_parse(struct str path, unsigned *level, uint64_t *n, unsigned *width) {
	struct str rest = path;
	struct str tile = str_cut(&rest, '/');
	struct str row = str_cut(&rest, '/');
	uint64_t l = TLOG_ENTRIES, w = TLOG_TILE_WIDTH, index;
	char again[TLOG_PATH_MAX];
	size_t dot = str_find(rest, '.');

	if (!str_is(tile, "tile") || (!str_is(row, "entries") && str_u64(row, 63, &l) < 0))
		return H_EFORMAT;
	if (dot != rest.n) {
		struct str tail = str_from(rest, dot);

		if (!str_starts(tail, STR(".p/")) ||
		    str_u64(str_from(tail, 3), TLOG_TILE_WIDTH - 1, &w) < 0 || w == 0)
			return H_EFORMAT;
	}
	if (parse_index(str_head(rest, dot), &index) < 0 || index > TREE_SIZE_MAX)
		return H_EFORMAT;
	/* Whatever has two spellings is refused. */
	tlog_tile_path(again, (unsigned)l, index, (unsigned)w);
	if (!str_is(path, again))
		return H_EFORMAT;
	*level = (unsigned)l;
	*n = index;
	*width = (unsigned)w;
	return 0;
}

int tlog_entry_next(struct str *bundle, struct str *ret_entry) {
	const uint8_t *p = (const uint8_t *)bundle->p;

	if (bundle->n == 0)
		return 0;
	if (bundle->n < 2)
		return H_ETRUNC;
	size_t n = (size_t)(p[0] << 8 | p[1]);

	if (bundle->n - 2 < n)
		return H_ETRUNC;
	*ret_entry = str_mem(p + 2, n);
	*bundle = str_from(*bundle, 2 + n);
	return 1;
}

void tlog_put_entry(struct buf *b, struct str entry) {
	if (entry.n > TLOG_LEAF_MAX) {
		b->bad = true;
		return;
	}
	w_be16(b, (uint16_t)entry.n);
	w_bytes(b, entry);
}

/* --- the log in memory --- */

struct pending {
	struct pending *next;
	char path[TLOG_PATH_MAX];
	bool is_removal;
	size_t n;
	uint8_t bytes[];
};

struct row {
	uint8_t hash[TLOG_TILE_WIDTH][SHA256_SIZE];
	unsigned n,
		flushed; /* flushed: width of the partial file that was handed out, 0 for none */
};

struct tlog_writer {
	tlog_write_fn *write;
	tlog_read_fn *read;
	void *arg;
	uint64_t size;
	struct row row[TLOG_LEVELS];
	struct buf bundle;
	unsigned bundle_n, bundle_flushed;
	struct pending *pending, *pending_last; /* in the order of writing */
	/* The full tile that was read last. */
	uint8_t cached[TILE_SIZE];
	unsigned cached_level;
	uint64_t cached_n;
	bool has_cached;
};

struct tlog_writer *tlog_writer_new(tlog_write_fn *write, tlog_read_fn *read, void *arg) {
	struct tlog_writer *w = xcalloc(1, sizeof(*w));

	w->write = write;
	w->read = read;
	w->arg = arg;
	buf_init(&w->bundle, BUNDLE_MAX);
	return w;
}

void tlog_writer_free(struct tlog_writer **w) {
	if (*w == NULL)
		return;
	for (struct pending *p = (*w)->pending, *next; p != NULL; p = next) {
		next = p->next;
		free(p);
	}
	buf_fini(&(*w)->bundle);
	free(*w);
	*w = NULL;
}

/* What to do with one file: bytes.p is NULL for a removal. */
static void queue(struct tlog_writer *w, unsigned level, uint64_t n, unsigned width,
                  struct str bytes) {
	if (w->write == NULL)
		return;
	struct pending *p = xmalloc(sizeof(*p) + bytes.n);

	tlog_tile_path(p->path, level, n, width);
	p->is_removal = bytes.p == NULL;
	p->n = bytes.n;
	if (bytes.n != 0)
		memcpy(p->bytes, bytes.p, bytes.n);
	p->next = NULL;
	if (w->pending == NULL)
		w->pending = p;
	else
		w->pending_last->next = p;
	w->pending_last = p;
}

static int drain(struct tlog_writer *w) {
	while (w->pending != NULL) {
		struct pending *p = w->pending;
		int rc = w->write(w->arg, p->path,
		                  p->is_removal ? STR_NONE : str_mem(p->bytes, p->n));

		if (rc < 0)
			return rc;
		w->pending = p->next;
		free(p);
	}
	return 0;
}

/* A file of `width` in place of the partial one of width *flushed, if any. */
static void replace(struct tlog_writer *w, unsigned level, uint64_t n, struct str bytes,
                    unsigned width, unsigned *flushed) {
	queue(w, level, n, width, bytes);
	if (*flushed != 0 && *flushed != width)
		queue(w, level, n, *flushed, STR_NONE);
	*flushed = width == TLOG_TILE_WIDTH ? 0 : width;
}

/* Root of 2^k hashes that lie back to back. */
static void fold(const uint8_t *hashes, unsigned k, uint8_t out[SHA256_SIZE]) {
	struct tree t;

	tree_init(&t);
	for (unsigned i = 0; i < 1u << k; i++)
		tree_add(&t, hashes + (size_t)i * SHA256_SIZE);
	tree_root(&t, out);
}

static void add_leaf(struct tlog_writer *w, const uint8_t leaf[SHA256_SIZE]) {
	uint8_t hash[SHA256_SIZE];

	memcpy(hash, leaf, SHA256_SIZE);
	for (unsigned level = 0; level < TLOG_LEVELS; level++) {
		struct row *row = &w->row[level];

		memcpy(row->hash[row->n++], hash, SHA256_SIZE);
		if (row->n < TLOG_TILE_WIDTH)
			break;
		replace(w, level, w->size >> TILE_BITS * (level + 1), str_mem(row->hash, TILE_SIZE),
		        TLOG_TILE_WIDTH, &row->flushed);
		fold(row->hash[0], TILE_BITS, hash);
		row->n = 0;
	}
	w->size++;
}

int tlog_append(struct tlog_writer *w, struct str leaf) {
	uint8_t hash[SHA256_SIZE];

	assert(leaf.n <= TLOG_LEAF_MAX);
	tree_leaf(hash, leaf);
	tlog_put_entry(&w->bundle, leaf);
	assert(!w->bundle.bad);
	if (++w->bundle_n == TLOG_TILE_WIDTH) {
		replace(w, TLOG_ENTRIES, w->size >> TILE_BITS, buf_peek(&w->bundle),
		        TLOG_TILE_WIDTH, &w->bundle_flushed);
		buf_clear(&w->bundle);
		w->bundle_n = 0;
	}
	add_leaf(w, hash);
	return drain(w);
}

int tlog_flush(struct tlog_writer *w) {
	if (w->bundle_n != w->bundle_flushed && w->bundle_n != 0)
		replace(w, TLOG_ENTRIES, w->size >> TILE_BITS, buf_peek(&w->bundle), w->bundle_n,
		        &w->bundle_flushed);
	for (unsigned level = 0; level < TLOG_LEVELS; level++) {
		struct row *row = &w->row[level];

		if (row->n != row->flushed && row->n != 0)
			replace(w, level, w->size >> TILE_BITS * (level + 1),
			        str_mem(row->hash, row->n * (size_t)SHA256_SIZE), row->n,
			        &row->flushed);
	}
	return drain(w);
}

uint64_t tlog_size(const struct tlog_writer *w) {
	return w->size;
}

/* A full tile into the cache. */
static int read_tile(struct tlog_writer *w, unsigned level, uint64_t n) {
	char path[TLOG_PATH_MAX];
	struct buf b;

	if (w->has_cached && w->cached_level == level && w->cached_n == n)
		return 0;
	if (w->read == NULL)
		return H_ENOTFOUND;
	tlog_tile_path(path, level, n, TLOG_TILE_WIDTH);
	buf_init(&b, TILE_SIZE + 1);
	int rc = w->read(w->arg, path, &b);

	if (rc == 0 && b.len != TILE_SIZE)
		rc = H_EFORMAT;
	if (rc == 0) {
		memcpy(w->cached, buf_peek(&b).p, TILE_SIZE);
		w->cached_level = level;
		w->cached_n = n;
		w->has_cached = true;
	}
	buf_fini(&b);
	return rc;
}

/* tree_node_fn over rows in memory and full tiles. */
static int node_at(void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE]) {
	struct tlog_writer *w = arg;
	unsigned row = level / TILE_BITS, k = level % TILE_BITS;
	uint64_t first = index << k;

	assert(row < TLOG_LEVELS);
	if (first >> TILE_BITS == w->size >> TILE_BITS * (row + 1)) {
		assert((first & 255) + (1u << k) <= w->row[row].n);
		fold(w->row[row].hash[first & 255], k, out);
		return 0;
	}
	int rc = read_tile(w, row, first >> TILE_BITS);

	if (rc == 0)
		fold(w->cached + (first & 255) * SHA256_SIZE, k, out);
	return rc;
}

int tlog_root(struct tlog_writer *w, uint64_t size, uint8_t out[SHA256_SIZE]) {
	assert(size <= w->size);
	return tree_root_at(node_at, w, size, out);
}

int tlog_consistency(struct tlog_writer *w, uint64_t old, uint64_t size, struct tree_proof *out) {
	assert(old <= size && size <= w->size);
	return tree_prove_consistency(node_at, w, old, size, out);
}

int tlog_inclusion(struct tlog_writer *w, uint64_t index, uint64_t size, struct tree_proof *out) {
	assert(index < size && size <= w->size);
	return tree_prove_inclusion(node_at, w, index, size, out);
}

/* The last bundle, which may lie there at any width from `n` on; its first n entries are taken. */
static int load_bundle(struct tlog_writer *w, uint64_t bundle, unsigned n) {
	int rc = H_ENOTFOUND;
	struct buf b;

	buf_init(&b, BUNDLE_MAX + 1);
	for (unsigned width = n; rc == H_ENOTFOUND && width <= TLOG_TILE_WIDTH; width++) {
		char path[TLOG_PATH_MAX];

		tlog_tile_path(path, TLOG_ENTRIES, bundle, width);
		buf_clear(&b);
		rc = w->read(w->arg, path, &b);
	}
	struct str rest = buf_peek(&b), entry;

	for (unsigned i = 0; rc == 0 && i < n; i++) {
		if (tlog_entry_next(&rest, &entry) != 1) {
			rc = H_EFORMAT;
			break;
		}
		tlog_put_entry(&w->bundle, entry);
		tree_leaf(w->row[0].hash[i], entry);
	}
	buf_fini(&b);
	return rc;
}

/* Row `level` > 0: each hash is the root of a full tile of the row below. */
static int load_row(struct tlog_writer *w, unsigned level, uint64_t size) {
	uint64_t count = size >> TILE_BITS * level;
	unsigned n = (unsigned)(count & 255);

	for (unsigned i = 0; i < n; i++) {
		int rc = read_tile(w, level - 1, (count & ~(uint64_t)255) + i);

		if (rc < 0)
			return rc;
		fold(w->cached, TILE_BITS, w->row[level].hash[i]);
	}
	w->row[level].n = n;
	return 0;
}

int tlog_writer_load(struct tlog_writer *w, uint64_t size) {
	unsigned n = (unsigned)(size & 255);
	int rc = 0;

	assert(w->size == 0 && w->bundle_n == 0 && w->read != NULL && size <= TREE_SIZE_MAX);
	if (n != 0)
		rc = load_bundle(w, size >> TILE_BITS, n);
	for (unsigned level = 1; rc == 0 && level < TLOG_LEVELS; level++)
		rc = load_row(w, level, size);
	if (rc < 0)
		return rc;
	w->row[0].n = n;
	w->bundle_n = n;
	w->size = size;
	return 0;
}
