/*
 * verify_log.c: the node log: leaves from bundles and journal, tiles, checkpoint, and what the
 * leaves claim about sessions.
 *
 * Leaves are gathered by index from both places; where both have one they must be equal. Everything
 * else follows from the leaves: tiles are recomputed and compared, the root at the checkpoint's
 * size must be the signed one, and each claim about a session is noted for verify_session.c.
 */
#include "record/verify_priv.h"

enum { TILE_BITS = 8 };
#define BUNDLE_MAX ((size_t)TLOG_TILE_WIDTH * (2 + TLOG_LEAF_MAX) + 1)

/* --- gathering leaves --- */

static struct verify_place tile_place(const struct tile_file *t, uint64_t offset) {
	char path[TLOG_PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "log/%.*s", TLOG_PATH_MAX, t->path);
	return verify_at(path, offset);
}

/* Where leaf i was found first; nowhere when that is the journal, which speaks for itself. */
static struct verify_place leaf_place(const struct verifier *v, uint64_t i) {
	const struct leaf_ref *l = &v->leaves[i];

	if (l->bundle == 0)
		return verify_at("", 0);
	return tile_place(&v->tiles[l->bundle - 1], l->offset);
}

/* bundle: as in struct leaf_ref. Bundles come first, so a difference is the bundle's: what stands in
 * the journal has a CRC and a hash. */
static void put_leaf(struct verifier *v, uint64_t index, struct str text, uint32_t bundle,
                     uint32_t offset) {
	if (index >= v->leaf_cap) {
		uint64_t cap = MAX(v->leaf_cap * 2, MAX(index + 1, (uint64_t)1024));

		v->leaves = xrealloc(v->leaves, (size_t)cap * sizeof(*v->leaves));
		memset(v->leaves + v->leaf_cap, 0,
		       (size_t)(cap - v->leaf_cap) * sizeof(*v->leaves));
		v->leaf_cap = cap;
	}
	struct leaf_ref *l = &v->leaves[index];

	if (l->is_there) {
		struct str have = str_mem(buf_peek(&v->leaf_text).p + l->at, l->len);

		struct verify_place place = leaf_place(v, index);

		if (!str_eq(have, text))
			verify_finding(v, VERIFY_TAMPERED, &place,
			               "leaf %llu differs from its other copy",
			               (unsigned long long)index);
		return;
	}
	*l = (struct leaf_ref){ .at = v->leaf_text.len,
		                .len = (uint32_t)text.n,
		                .is_there = true,
		                .bundle = bundle,
		                .offset = offset };
	w_bytes(&v->leaf_text, text);
}

static int read_tile_file(struct verifier *v, const struct tile_file *t, struct buf *b) {
	char path[TLOG_PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "log/%.*s", TLOG_PATH_MAX, t->path);
	buf_clear(b);
	int rc = readfs_read(v->root, path, b);

	verify_progress(v, b->len);
	return rc;
}

/* A partial file may go while we look: a fuller one took its place. */
static bool is_gone(struct verifier *v, const struct tile_file *t, int rc) {
	struct verify_place place = tile_place(t, 0);

	if (rc == 0)
		return false;
	if (rc != H_ENOTFOUND || t->width == TLOG_TILE_WIDTH)
		verify_finding(v, VERIFY_TAMPERED, &place, "cannot be read: %s", h_err_text(rc));
	return true;
}

static void read_bundle(struct verifier *v, const struct tile_file *t, struct buf *b) {
	unsigned count = 0;
	struct str rest, entry;
	int rc;

	if (is_gone(v, t, read_tile_file(v, t, b)))
		return;
	rest = buf_peek(b);
	for (;; count++) {
		uint32_t offset = (uint32_t)(b->len - rest.n);

		rc = tlog_entry_next(&rest, &entry);
		if (rc <= 0 || count == t->width)
			break;
		put_leaf(v, t->n * TLOG_TILE_WIDTH + count, entry, (uint32_t)(t - v->tiles) + 1,
		         offset);
	}
	struct verify_place place = tile_place(t, b->len - rest.n);

	if (rc != 0 || count != t->width)
		verify_finding(v, VERIFY_TAMPERED, &place, "the bundle does not hold %u entries",
		               t->width);
}

/* A name alone may not make us reserve memory: bundles are numbered without holes. */
static uint64_t bundle_limit(const struct verifier *v) {
	uint64_t files = 0;

	for (size_t i = 0; i < v->tile_count; i++)
		files += v->tiles[i].level == TLOG_ENTRIES;
	return files + v->journal.next_leaf / TLOG_TILE_WIDTH + 1;
}

static void gather_leaves(struct verifier *v) {
	uint64_t limit = bundle_limit(v);
	struct buf b;

	buf_init(&b, BUNDLE_MAX);
	for (size_t i = 0; i < v->tile_count; i++) {
		const struct tile_file *t = &v->tiles[i];
		struct verify_place place = tile_place(t, 0);

		if (t->level != TLOG_ENTRIES)
			continue;
		if (t->n < limit)
			read_bundle(v, t, &b);
		else
			verify_finding(v, VERIFY_TAMPERED, &place, "bundles before it are missing");
	}
	buf_fini(&b);
	for (size_t i = 0; i < v->journal.leaf_count; i++) {
		const struct journal_leaf *l = &v->journal.leaves[i];

		/* A forged index is one that does not go on from the others (journal_read.c says so). */
		if (l->index > v->journal.first_leaf + v->journal.leaf_count)
			continue;
		put_leaf(v, l->index, str_mem(buf_peek(&v->journal.leaf_text).p + l->at, l->len), 0,
		         0);
	}
}

static struct str leaf_at(const struct verifier *v, uint64_t index) {
	return str_mem(buf_peek(&v->leaf_text).p + v->leaves[index].at, v->leaves[index].len);
}

static void hash_leaves(struct verifier *v) {
	while (v->leaf_count < v->leaf_cap && v->leaves[v->leaf_count].is_there)
		v->leaf_count++;
	for (uint64_t i = v->leaf_count; i < v->leaf_cap; i++) {
		struct verify_place nowhere = verify_at("", 0);

		if (!v->leaves[i].is_there)
			continue;
		verify_finding(v, VERIFY_TAMPERED, &nowhere, "leaf %llu of the log is missing",
		               (unsigned long long)v->leaf_count);
		break;
	}
	v->hashes = xmalloc((size_t)v->leaf_count * SHA256_SIZE + 1);
	for (uint64_t i = 0; i < v->leaf_count; i++)
		tree_leaf(v->hashes + i * SHA256_SIZE, leaf_at(v, i));
}

/* --- tiles --- */

/* The next row: roots of 256 hashes each. */
static uint8_t *next_row(const uint8_t *row, uint64_t count, uint64_t *ret_count) {
	uint64_t n = count >> TILE_BITS;
	uint8_t *out = xmalloc((size_t)n * SHA256_SIZE + 1);

	for (uint64_t i = 0; i < n; i++) {
		struct tree t;

		tree_init(&t);
		for (unsigned k = 0; k < TLOG_TILE_WIDTH; k++)
			tree_add(&t, row + (i * TLOG_TILE_WIDTH + k) * SHA256_SIZE);
		tree_root(&t, out + i * SHA256_SIZE);
	}
	*ret_count = n;
	return out;
}

/* A hash of a tile and a leaf disagree. Under a root that fits the leaf is right; else nobody knows,
 * and both places are named. */
static void blame(struct verifier *v, const struct tile_file *t, const struct verify_place *place,
                  uint64_t at) {
	verify_finding(v, VERIFY_TAMPERED, place,
	               "this hash of the tile does not follow from the leaves");
	if (t->level != 0 || at < v->root_good)
		return;
	struct verify_place leaf = leaf_place(v, at);

	verify_finding(v, VERIFY_TAMPERED, &leaf,
	               "leaf %llu does not have the hash that stands in its tile",
	               (unsigned long long)at);
}

static void check_tile(struct verifier *v, const struct tile_file *t, const uint8_t *row,
                       uint64_t count, struct buf *b) {
	struct verify_place place = tile_place(t, 0);

	if (is_gone(v, t, read_tile_file(v, t, b)))
		return;
	if (b->len != t->width * (size_t)SHA256_SIZE) {
		verify_finding(v, VERIFY_TAMPERED, &place, "the tile has %zu bytes, expected %zu",
		               b->len, t->width * (size_t)SHA256_SIZE);
		return;
	}
	for (unsigned i = 0; i < t->width; i++) {
		uint64_t at = t->n * TLOG_TILE_WIDTH + i;

		place.offset = i * (uint64_t)SHA256_SIZE;
		if (at >= count) {
			verify_finding(v, verify_is_live(v) ? VERIFY_NOTE : VERIFY_TAMPERED, &place,
			               "the tile goes beyond the leaves of the log");
			return;
		}
		if (memcmp(buf_peek(b).p + place.offset, row + at * SHA256_SIZE, SHA256_SIZE) == 0)
			continue;
		blame(v, t, &place, at);
		return;
	}
}

/* Is tile n of the level there, at least so wide? */
static bool has_tile(const struct verifier *v, unsigned level, uint64_t n, unsigned width) {
	for (size_t i = 0; i < v->tile_count; i++) {
		const struct tile_file *t = &v->tiles[i];

		if (t->level == level && t->n == n && t->width >= width)
			return true;
	}
	return false;
}

/* Leaves that no journal segment holds any more must stand in tiles. */
static void require_tiles(struct verifier *v, unsigned level, uint64_t hashes) {
	uint64_t full = hashes >> TILE_BITS, highest = 0;
	struct verify_place place = verify_at("", 0);

	/* Tiles were walked in order, so a hole shows in their count. */
	uint64_t have = 0;
	bool is_first = true;

	for (size_t i = 0; i < v->tile_count; i++) {
		const struct tile_file *t = &v->tiles[i];

		if (t->level != level)
			continue;
		have += is_first || t->n != highest;
		highest = t->n;
		is_first = false;
	}
	unsigned rest = (unsigned)(hashes & 255);
	uint64_t want = MAX(full + (rest != 0), is_first ? 0 : highest + 1);

	if (have < want || (rest != 0 && highest <= full && !has_tile(v, level, full, rest)))
		verify_finding(v, VERIFY_TAMPERED, &place, "a tile of level %u is missing", level);
}

static void check_tiles(struct verifier *v) {
	uint64_t count = v->leaf_count;
	uint64_t needed = v->journal.seg_count != 0 ? MIN(v->journal.first_leaf, count) : count;
	uint8_t *row = v->hashes;
	struct buf b;

	buf_init(&b, TLOG_TILE_WIDTH * SHA256_SIZE + 1);
	for (unsigned level = 0; level < TLOG_LEVELS; level++) {
		for (size_t i = 0; i < v->tile_count; i++) {
			if (v->tiles[i].level == level)
				check_tile(v, &v->tiles[i], row, count, &b);
		}
		require_tiles(v, level, needed >> TILE_BITS * level);
		uint8_t *next = next_row(row, count, &count);

		if (row != v->hashes)
			free(row);
		row = next;
	}
	free(row);
	buf_fini(&b);
	for (size_t i = 0; i < v->tile_count; i++) {
		struct verify_place place = tile_place(&v->tiles[i], 0);

		if (v->tiles[i].level >= TLOG_LEVELS && v->tiles[i].level != TLOG_ENTRIES)
			verify_finding(v, VERIFY_TAMPERED, &place, "the log has no such level");
	}
}

/* --- checkpoints --- */

static void root_at(const struct verifier *v, uint64_t size, uint8_t out[SHA256_SIZE]) {
	struct tree t;

	tree_init(&t);
	for (uint64_t i = 0; i < size; i++)
		tree_add(&t, v->hashes + i * SHA256_SIZE);
	tree_root(&t, out);
}

static void check_root(struct verifier *v, const struct tlog_checkpoint *c, const char *file,
                       const char *what) {
	struct verify_place place = verify_at(file, 0);
	uint8_t root[SHA256_SIZE];

	if (c->size > v->leaf_count) {
		verify_finding(v, VERIFY_TAMPERED, &place, "%s signs %llu leaves, the log has %llu",
		               what, (unsigned long long)c->size,
		               (unsigned long long)v->leaf_count);
		return;
	}
	root_at(v, c->size, root);
	if (memcmp(root, c->root, SHA256_SIZE) != 0)
		verify_finding(v, VERIFY_TAMPERED, &place,
		               "the root over the first %llu leaves is not the one that %s signs",
		               (unsigned long long)c->size, what);
	else
		v->root_good = MAX(v->root_good, c->size);
}

/* --- what the leaves say --- */

static void add_claim(struct verifier *v, const uint8_t sid[SID_SIZE], const struct claim *c) {
	struct vsession *s = verify_session_of(v, sid);
	struct verify_place nowhere = verify_at("", 0);
	uint64_t before = s->claim_count != 0 ? s->claims[s->claim_count - 1].frames : 1;

	if (!s->in_log || s->has_close || c->frames < before)
		verify_finding(v, VERIFY_TAMPERED, &nowhere,
		               "leaf %llu cannot follow those before it",
		               (unsigned long long)c->leaf);
	if (s->claim_count == s->claim_cap) {
		s->claim_cap = MAX(s->claim_cap * 2, (size_t)4);
		s->claims = xrealloc(s->claims, s->claim_cap * sizeof(*s->claims));
	}
	s->claims[s->claim_count++] = *c;
}

static void take_head(struct verifier *v, const struct tlog_leaf *l, uint64_t index) {
	struct str rest = l->grew;
	struct tlog_grew g;

	while (tlog_grew_next(&rest, &g) == 1) {
		struct claim c = { .frames = g.frames, .leaf = index, .type = TLOG_HEAD };

		memcpy(c.root, g.root, SHA256_SIZE);
		add_claim(v, g.sid, &c);
	}
}

static void take_open(struct verifier *v, const struct tlog_leaf *l, uint64_t index) {
	struct vsession *s = verify_session_of(v, l->sid);
	struct verify_place nowhere = verify_at("", 0);

	if (s->in_log)
		verify_finding(v, VERIFY_TAMPERED, &nowhere, "leaf %llu opens a session again",
		               (unsigned long long)index);
	s->in_log = true;
	s->open_leaf = index;
	s->open_wall = l->wall;
	memcpy(s->open_hash, l->hash, SHA256_SIZE);
}

static void take_root(struct verifier *v, const struct tlog_leaf *l, uint64_t index) {
	bool is_close = l->type == TLOG_CLOSE;
	struct claim c = { .frames = is_close ? l->frames : l->first + l->frames,
		           .leaf = index,
		           .type = l->type,
		           .part = (uint32_t)l->part };

	memcpy(c.root, l->hash, SHA256_SIZE);
	add_claim(v, l->sid, &c);
	if (!is_close)
		return;
	struct vsession *s = verify_session_of(v, l->sid);

	s->has_close = true;
	s->close_leaf = index;
	s->close_wall = l->wall;
	s->close_gap = l->gap;
	s->close_parts = l->parts;
}

static void take_leaf(struct verifier *v, const struct tlog_leaf *l, uint64_t index) {
	struct verify_place nowhere = verify_at("", 0);

	switch (l->type) {
	case TLOG_BOOT:
		if (v->has_node && memcmp(l->node, v->node, TLOG_NODE_SIZE) != 0) {
			struct verify_place place = verify_at("node.json", 0);

			verify_finding(v, VERIFY_TAMPERED, &place,
			               "it names another node than leaf %llu of the log",
			               (unsigned long long)index);
		}
		break;
	case TLOG_OPEN:
		take_open(v, l, index);
		break;
	case TLOG_HEAD:
		take_head(v, l, index);
		break;
	case TLOG_SEAL:
	case TLOG_CLOSE:
		take_root(v, l, index);
		break;
	case TLOG_GAP:
		if (!verify_session_of(v, l->sid)->in_log)
			verify_finding(v, VERIFY_TAMPERED, &nowhere,
			               "leaf %llu cannot follow those before it",
			               (unsigned long long)index);
		break;
	case TLOG_STOP:
		break;
	}
	if (index >= v->report->leaves_signed)
		return;
	v->report->checkpoint_wall = l->wall;
	if (l->type == TLOG_HEAD || l->type == TLOG_STOP)
		v->signed_batch = MAX(v->signed_batch, l->batch);
}

static void read_leaves(struct verifier *v) {
	for (uint64_t i = 0; i < v->leaf_count; i++) {
		struct tlog_leaf l;
		struct verify_place place = leaf_place(v, i);

		if (tlog_leaf_parse(&l, leaf_at(v, i)) == 0)
			take_leaf(v, &l, i);
		else
			verify_finding(v, VERIFY_TAMPERED, &place,
			               "leaf %llu of the log is malformed", (unsigned long long)i);
	}
}

int verify_log(struct verifier *v) {
	gather_leaves(v);
	if (v->leaf_text.bad)
		return H_ELIMIT;
	hash_leaves(v);
	v->report->leaves = v->leaf_count;
	if (v->has_checkpoint) {
		v->report->leaves_signed = MIN(v->checkpoint.size, v->leaf_count);
		check_root(v, &v->checkpoint, "log/checkpoint", "the checkpoint");
	}
	if (v->has_outside)
		check_root(v, &v->outside, "", "the checkpoint from outside");
	check_tiles(v);
	read_leaves(v);
	return 0;
}
