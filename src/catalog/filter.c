/*
 * filter.c: see filter.h.
 *
 * Bits: the first byte says how many probes (FILTER_PROBES), or 0 for "finds everything"; then the
 * bit array, whose size in bytes is what is left.
 */
#include "catalog/filter.h"

enum { SLOTS_MIN = 64, SLOTS_KEEP = 4096 };

void filter_set_init(struct filter_set *s) {
	*s = (struct filter_set){ .slot = NULL };
}

void filter_set_fini(struct filter_set *s) {
	free(s->slot);
	filter_set_init(s);
}

void filter_set_clear(struct filter_set *s) {
	if (s->cap > SLOTS_KEEP) {
		filter_set_fini(s);
		return;
	}
	if (s->slot != NULL)
		memset(s->slot, 0, s->cap * sizeof(s->slot[0]));
	s->count = 0;
	s->is_full = false;
}

/* MurmurHash3's finalizer: neighbours end far apart. */
static uint64_t mix(uint64_t h) {
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

/* cap is a power of two. */
static bool put(uint64_t *slot, size_t cap, uint64_t hash) {
	size_t at = (size_t)mix(hash) & (cap - 1);

	while (slot[at] != 0 && slot[at] != hash)
		at = (at + 1) & (cap - 1);
	bool is_new = slot[at] == 0;

	slot[at] = hash;
	return is_new;
}

static void grow(struct filter_set *s) {
	size_t cap = MAX(s->cap * 2, (size_t)SLOTS_MIN);
	uint64_t *slot = xcalloc(cap, sizeof(slot[0]));

	for (size_t i = 0; i < s->cap; i++) {
		if (s->slot[i] != 0)
			(void)put(slot, cap, s->slot[i]);
	}
	free(s->slot);
	s->slot = slot;
	s->cap = cap;
}

void filter_set_add(struct filter_set *s, uint64_t hash) {
	hash = hash != 0 ? hash : 1;
	if (s->is_full)
		return;
	if (s->count * 2 >= s->cap)
		grow(s);
	if (!put(s->slot, s->cap, hash))
		return;
	s->count++;
	s->is_full = s->count > FILTER_HASHES_MAX;
}

/* Probe k of a hash, in an array of `size` bits. Each is mixed by itself: steps of one width (h1 + i * h2)
 * meet far too often in the few bits that a short session has. */
static uint64_t probe(uint64_t hash, unsigned k, uint64_t size) {
	return mix((hash != 0 ? hash : 1) + k * 0x9e3779b97f4a7c15ULL) % size;
}

void filter_encode(const struct filter_set *s, struct buf *out) {
	if (s->is_full) {
		w_u8(out, 0);
		return;
	}
	if (s->count == 0)
		return;
	size_t size = (s->count * FILTER_BITS_PER_HASH + 7) / 8;

	w_u8(out, FILTER_PROBES);
	uint8_t *bits = buf_reserve(out, size);

	if (bits == NULL) {
		out->bad = true;
		return;
	}
	memset(bits, 0, size);
	for (size_t i = 0; i < s->cap; i++) {
		for (unsigned k = 0; s->slot[i] != 0 && k < FILTER_PROBES; k++) {
			uint64_t bit = probe(s->slot[i], k, size * 8);

			bits[bit / 8] |= (uint8_t)(1u << bit % 8);
		}
	}
	buf_commit(out, size);
}

bool filter_has(struct str bits, uint64_t hash) {
	if (bits.n == 0)
		return false;
	uint8_t count = (uint8_t)bits.p[0];
	uint64_t size = (uint64_t)(bits.n - 1) * 8;

	if (size == 0 || count == 0)
		return true;
	for (unsigned k = 0; k < count; k++) {
		uint64_t bit = probe(hash, k, size);

		if (((uint8_t)bits.p[1 + bit / 8] >> bit % 8 & 1) == 0)
			return false;
	}
	return true;
}
