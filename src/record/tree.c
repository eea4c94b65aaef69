/*
 * tree.c: Merkle trees of RFC 6962 §2.1.
 *
 * The split of a tree of n leaves is at the largest power of two below n, so a tree is the list of
 * complete subtrees that the bits of n name, the largest on the left:
 *
 *        n = 7 = 4 + 2 + 1          frontier: node[2], node[1], node[0]
 *             ·                     adding a leaf carries like adding 1 to a binary number;
 *        /         \                the root folds the frontier from the right.
 *       4          ·
 *                /   \
 *               2     1
 *
 * Any range that the proofs speak of starts at a multiple of the power of two that is at least its
 * length, so it is a list of complete subtrees too (range_hash). Proofs are built from the root
 * down in a loop, hence in reverse, and turned round at the end. The recursion of the RFC's
 * definition became loops; the tests compare with the definition itself.
 *
 * Checks follow RFC 9162 §2.1.3.2 and §2.1.4.2 step by step.
 */
#include "record/tree.h"

/* Hash("") */
const uint8_t tree_empty_root[SHA256_SIZE] = {
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
	0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
	0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
};

void tree_leaf(uint8_t out[SHA256_SIZE], struct str data) {
	const struct str parts[] = { str_mem("\0", 1), data };

	sha256_parts(out, parts, 2);
}

void tree_node(uint8_t out[SHA256_SIZE], const uint8_t left[SHA256_SIZE],
               const uint8_t right[SHA256_SIZE]) {
	uint8_t data[1 + 2 * SHA256_SIZE];

	data[0] = 1;
	memcpy(data + 1, left, SHA256_SIZE);
	memcpy(data + 1 + SHA256_SIZE, right, SHA256_SIZE);
	sha256(out, str_mem(data, sizeof(data)));
}

void tree_init(struct tree *t) {
	t->size = 0;
}

void tree_add(struct tree *t, const uint8_t leaf[SHA256_SIZE]) {
	uint8_t hash[SHA256_SIZE];
	unsigned level = 0;

	assert(t->size < TREE_SIZE_MAX);
	memcpy(hash, leaf, SHA256_SIZE);
	for (; (t->size >> level & 1) != 0; level++)
		tree_node(hash, t->node[level], hash);
	memcpy(t->node[level], hash, SHA256_SIZE);
	t->size++;
}

void tree_root(const struct tree *t, uint8_t out[SHA256_SIZE]) {
	bool has_right = false;

	memcpy(out, tree_empty_root, SHA256_SIZE);
	for (unsigned level = 0; level < TREE_LEVELS; level++) {
		if ((t->size >> level & 1) == 0)
			continue;
		if (has_right)
			tree_node(out, t->node[level], out);
		else
			memcpy(out, t->node[level], SHA256_SIZE);
		has_right = true;
	}
}

/* The largest power of two below n, as its exponent; n >= 2. */
static unsigned split_level(uint64_t n) {
	return 63 - (unsigned)__builtin_clzll(n - 1);
}

/* Root over leaves lo to hi - 1; lo is a multiple of a power of two that is >= hi - lo. */
static int range_hash(tree_node_fn *fn, void *arg, uint64_t lo, uint64_t hi,
                      uint8_t out[SHA256_SIZE]) {
	bool has_right = false;

	memcpy(out, tree_empty_root, SHA256_SIZE);
	for (unsigned level = 0; lo < hi; level++) {
		uint8_t left[SHA256_SIZE];

		if (((hi - lo) >> level & 1) == 0)
			continue;
		hi -= (uint64_t)1 << level;
		int rc = fn(arg, level, hi >> level, left);

		if (rc < 0)
			return rc;
		if (has_right)
			tree_node(out, left, out);
		else
			memcpy(out, left, SHA256_SIZE);
		has_right = true;
	}
	return 0;
}

int tree_root_at(tree_node_fn *fn, void *arg, uint64_t size, uint8_t out[SHA256_SIZE]) {
	return range_hash(fn, arg, 0, size, out);
}

static int add_range(struct tree_proof *p, tree_node_fn *fn, void *arg, uint64_t lo, uint64_t hi) {
	assert(p->count < TREE_PROOF_MAX);
	return range_hash(fn, arg, lo, hi, p->hash[p->count++]);
}

static void turn_round(struct tree_proof *p) {
	for (size_t i = 0; i < p->count / 2; i++) {
		uint8_t tmp[SHA256_SIZE];

		memcpy(tmp, p->hash[i], SHA256_SIZE);
		memcpy(p->hash[i], p->hash[p->count - 1 - i], SHA256_SIZE);
		memcpy(p->hash[p->count - 1 - i], tmp, SHA256_SIZE);
	}
}

int tree_prove_inclusion(tree_node_fn *fn, void *arg, uint64_t index, uint64_t size,
                         struct tree_proof *out) {
	uint64_t lo = 0, hi = size;

	assert(index < size && size <= TREE_SIZE_MAX);
	out->count = 0;
	while (hi - lo > 1) {
		uint64_t mid = lo + ((uint64_t)1 << split_level(hi - lo));
		bool is_left = index < mid;
		int rc = is_left ? add_range(out, fn, arg, mid, hi)
		                 : add_range(out, fn, arg, lo, mid);

		if (rc < 0)
			return rc;
		lo = is_left ? lo : mid;
		hi = is_left ? mid : hi;
	}
	turn_round(out);
	return 0;
}

int tree_prove_consistency(tree_node_fn *fn, void *arg, uint64_t old, uint64_t size,
                           struct tree_proof *out) {
	uint64_t lo = 0, hi = size;

	assert(old <= size && size <= TREE_SIZE_MAX);
	out->count = 0;
	if (old == 0 || old == size)
		return 0;
	/* SUBPROOF: the old tree is the part of [lo, hi) below `old`; while lo is 0 its root is the
	 * one that the checker knows. */
	while (old != hi) {
		uint64_t mid = lo + ((uint64_t)1 << split_level(hi - lo));
		bool is_left = old <= mid;
		int rc = is_left ? add_range(out, fn, arg, mid, hi)
		                 : add_range(out, fn, arg, lo, mid);

		if (rc < 0)
			return rc;
		lo = is_left ? lo : mid;
		hi = is_left ? mid : hi;
	}
	int rc = lo == 0 ? 0 : add_range(out, fn, arg, lo, hi);

	turn_round(out);
	return rc;
}

bool tree_check_inclusion(const struct tree_proof *p, uint64_t index, uint64_t size,
                          const uint8_t leaf[SHA256_SIZE], const uint8_t root[SHA256_SIZE]) {
	uint64_t fn = index, sn = size - 1;
	uint8_t r[SHA256_SIZE];

	if (index >= size)
		return false;
	memcpy(r, leaf, SHA256_SIZE);
	for (size_t i = 0; i < p->count; i++) {
		if (sn == 0)
			return false;
		if ((fn & 1) != 0 || fn == sn) {
			tree_node(r, p->hash[i], r);
			for (; (fn & 1) == 0 && fn != 0; sn >>= 1)
				fn >>= 1;
		} else {
			tree_node(r, r, p->hash[i]);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(r, root, SHA256_SIZE) == 0;
}

/* old is neither 0 nor size. */
static bool check_growth(const struct tree_proof *p, uint64_t old, uint64_t size,
                         const uint8_t old_root[SHA256_SIZE], const uint8_t root[SHA256_SIZE]) {
	uint64_t fn = old - 1, sn = size - 1;
	uint8_t fr[SHA256_SIZE], sr[SHA256_SIZE];
	bool is_power = (old & (old - 1)) == 0;

	if (p->count == 0)
		return false;
	memcpy(fr, is_power ? old_root : p->hash[0], SHA256_SIZE);
	memcpy(sr, fr, SHA256_SIZE);
	for (; (fn & 1) != 0; sn >>= 1)
		fn >>= 1;
	for (size_t i = is_power ? 0 : 1; i < p->count; i++) {
		if (sn == 0)
			return false;
		if ((fn & 1) != 0 || fn == sn) {
			tree_node(fr, p->hash[i], fr);
			tree_node(sr, p->hash[i], sr);
			for (; (fn & 1) == 0 && fn != 0; sn >>= 1)
				fn >>= 1;
		} else {
			tree_node(sr, sr, p->hash[i]);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(fr, old_root, SHA256_SIZE) == 0 &&
	       memcmp(sr, root, SHA256_SIZE) == 0;
}

bool tree_check_consistency(const struct tree_proof *p, uint64_t old, uint64_t size,
                            const uint8_t old_root[SHA256_SIZE], const uint8_t root[SHA256_SIZE]) {
	if (old > size)
		return false;
	if (old == 0)
		return p->count == 0 && memcmp(old_root, tree_empty_root, SHA256_SIZE) == 0;
	if (old == size)
		return p->count == 0 && memcmp(old_root, root, SHA256_SIZE) == 0;
	return check_growth(p, old, size, old_root, root);
}
