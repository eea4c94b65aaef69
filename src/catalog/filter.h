/*
 * filter.h: a small set of 64-bit hashes that may answer "perhaps" (a Bloom filter), for words and
 * pairs of words of a range of commands.
 *
 * A collection gathers distinct hashes up to a cap; filter_encode() writes them as bits. What was
 * added is always found again; what was not is found by accident about once in 300 times. Full
 * collections encode as one byte that finds everything, so a lookup errs towards reading the record.
 */
#ifndef CATALOG_FILTER_H
#define CATALOG_FILTER_H

#include "base/buf.h"

enum {
	FILTER_HASHES_MAX = 64 * 1024,
	FILTER_BITS_PER_HASH = 12,
	FILTER_PROBES = 8,
	/* what filter_encode() writes at most */
	FILTER_SIZE_MAX = FILTER_HASHES_MAX * FILTER_BITS_PER_HASH / 8 + 8
};

struct filter_set {
	uint64_t *slot; /* open addressing; 0 is no hash */
	size_t cap, count;
	bool is_full; /* a hash did not fit: finds everything */
};
void filter_set_init(struct filter_set *s);
void filter_set_fini(struct filter_set *s);
/* Empties it; large memory is given back. */
void filter_set_clear(struct filter_set *s);
void filter_set_add(struct filter_set *s, uint64_t hash);

/* Appends the bits. Nothing for an empty set: it finds nothing. */
void filter_encode(const struct filter_set *s, struct buf *out);
/* Perhaps (true), or certainly not. Bits that are malformed may hold anything. */
bool filter_has(struct str bits, uint64_t hash);

#endif
