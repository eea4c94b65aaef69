/*
 * tree.h: Merkle trees of RFC 6962 §2.1: the growing frontier, roots, proofs.
 *
 * struct tree keeps the roots of the complete subtrees that a tree of `size` leaves consists of
 * (one per bit of size), which is all that is needed to add leaves and to name the root. Proofs
 * need inner nodes; a node function supplies them (tlog.h: from tiles; tests: from an array).
 */
#ifndef RECORD_TREE_H
#define RECORD_TREE_H

#include "base/crypto.h"
#include "base/err.h"
#include "base/str.h"

enum { TREE_LEVELS = 48, TREE_PROOF_MAX = 2 * TREE_LEVELS };
#define TREE_SIZE_MAX ((uint64_t)1 << 47)

struct tree {
	uint64_t size;
	uint8_t node[TREE_LEVELS][SHA256_SIZE]; /* node[i] holds when bit i of size is set */
};

/* Hash(0x00 ‖ data) */
void tree_leaf(uint8_t out[SHA256_SIZE], struct str data);
/* Hash(0x01 ‖ left ‖ right); out may be either of them. */
void tree_node(uint8_t out[SHA256_SIZE], const uint8_t left[SHA256_SIZE],
               const uint8_t right[SHA256_SIZE]);
/* Root of no leaves: Hash(""). */
extern const uint8_t tree_empty_root[SHA256_SIZE];

void tree_init(struct tree *t);
/* Adds a leaf hash. */
void tree_add(struct tree *t, const uint8_t leaf[SHA256_SIZE]);
void tree_root(const struct tree *t, uint8_t out[SHA256_SIZE]);

struct tree_proof {
	size_t count;
	uint8_t hash[TREE_PROOF_MAX][SHA256_SIZE];
};

/* Hash of the complete subtree that starts at leaf index << level and has 1 << level leaves.
 * 0 or a negative code, which the proof functions pass on. */
typedef int tree_node_fn(void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE]);

/* Root over the first size leaves. */
int tree_root_at(tree_node_fn *fn, void *arg, uint64_t size, uint8_t out[SHA256_SIZE]) must_use;
/* PATH(index, D[0:size]), index < size. */
int tree_prove_inclusion(tree_node_fn *fn, void *arg, uint64_t index, uint64_t size,
                         struct tree_proof *out) must_use;
/* PROOF(old, D[0:size]), old <= size; empty when old is 0 or size. */
int tree_prove_consistency(tree_node_fn *fn, void *arg, uint64_t old, uint64_t size,
                           struct tree_proof *out) must_use;
/* RFC 9162 §2.1.3.2 and §2.1.4.2: does the proof hold? */
bool tree_check_inclusion(const struct tree_proof *p, uint64_t index, uint64_t size,
                          const uint8_t leaf[SHA256_SIZE], const uint8_t root[SHA256_SIZE]);
bool tree_check_consistency(const struct tree_proof *p, uint64_t old, uint64_t size,
                            const uint8_t old_root[SHA256_SIZE], const uint8_t root[SHA256_SIZE]);

#endif
