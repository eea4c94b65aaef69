/*
 * tree_test.c: roots against known vectors and against RFC 6962's own recursive definition; all
 * proofs of all sizes up to 130, and that no proof holds for anything else.
 */
#include "record/tree.h"

#include "base/test.h"

enum { N = 130 };

/* The inputs that certificate transparency implementations share as test data. */
static const char *const ct_inputs[8] = {
	"",
	"00",
	"10",
	"2021",
	"3031",
	"40414243",
	"5051525354555657",
	"606162636465666768696a6b6c6d6e6f",
};
static const char *const ct_roots[8] = {
	"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
	"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
	"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
	"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
	"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
	"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
	"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static uint8_t leaves[N][SHA256_SIZE];

static void make_leaves(void) {
	for (unsigned i = 0; i < N; i++) {
		uint8_t data[2] = { (uint8_t)i, (uint8_t)(i >> 8) };

		tree_leaf(leaves[i], str_mem(data, 2));
	}
}

/* MTH of the definition. Recursion is fine here: it is what the loops are compared with. */
/* NOLINTNEXTLINE(misc-no-recursion): the definition is recursive */
static void naive_root(const uint8_t (*leaf)[SHA256_SIZE], size_t n, uint8_t out[SHA256_SIZE]) {
	uint8_t left[SHA256_SIZE], right[SHA256_SIZE];
	size_t k = 1;

	if (n == 0) {
		sha256(out, STR_NONE);
		return;
	}
	if (n == 1) {
		memcpy(out, leaf[0], SHA256_SIZE);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	naive_root(leaf, k, left);
	naive_root(leaf + k, n - k, right);
	tree_node(out, left, right);
}

static void root_of(size_t n, uint8_t out[SHA256_SIZE]) {
	naive_root((const uint8_t(*)[SHA256_SIZE])leaves, n, out);
}

static int node_of_leaves(unused_arg void *arg, unsigned level, uint64_t index,
                          uint8_t out[SHA256_SIZE]) {
	uint64_t first = index << level;

	assert(first + (1u << level) <= N);
	naive_root((const uint8_t(*)[SHA256_SIZE])leaves + first, 1u << level, out);
	return 0;
}

TEST(known_roots) {
	struct tree t;
	uint8_t root[SHA256_SIZE], leaf[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];

	tree_init(&t);
	tree_root(&t, root);
	sha256(leaf, STR_NONE);
	CHECK(memcmp(root, leaf, SHA256_SIZE) == 0);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t data[16];
		int n = hex_decode(data, sizeof(data), str_of(ct_inputs[i]));

		REQUIRE(n >= 0);
		tree_leaf(leaf, str_mem(data, (size_t)n));
		tree_add(&t, leaf);
		tree_root(&t, root);
		hex_encode(hex, root, SHA256_SIZE);
		CHECK_EQ_STR(str_of(hex), str_of(ct_roots[i]));
	}
}

TEST(frontier_is_the_definition) {
	struct tree t;
	uint8_t a[SHA256_SIZE], b[SHA256_SIZE];

	make_leaves();
	tree_init(&t);
	for (size_t n = 0; n <= N; n++) {
		tree_root(&t, a);
		root_of(n, b);
		CHECK(memcmp(a, b, SHA256_SIZE) == 0);
		REQUIRE(tree_root_at(node_of_leaves, NULL, n, b) == 0);
		CHECK(memcmp(a, b, SHA256_SIZE) == 0);
		if (n < N)
			tree_add(&t, leaves[n]);
	}
	CHECK_EQ_U(t.size, N);
}

TEST(inclusion_of_all_sizes) {
	struct tree_proof p;
	uint8_t root[SHA256_SIZE];
	size_t wrong = 0, refused = 0, tried = 0;

	make_leaves();
	for (uint64_t n = 1; n <= N; n++) {
		root_of(n, root);
		for (uint64_t i = 0; i < n; i++) {
			REQUIRE(tree_prove_inclusion(node_of_leaves, NULL, i, n, &p) == 0);
			wrong += !tree_check_inclusion(&p, i, n, leaves[i], root);
			/* another leaf, another place, another root, a changed or shorter proof */
			tried += 2;
			refused += !tree_check_inclusion(&p, i, n, leaves[(i + 1) % N], root);
			refused += !tree_check_inclusion(&p, i, n, leaves[i], leaves[(i + 1) % N]);
			if (p.count != 0) {
				tried += 2;
				p.hash[i % p.count][i % SHA256_SIZE] ^= 1;
				refused += !tree_check_inclusion(&p, i, n, leaves[i], root);
				p.hash[i % p.count][i % SHA256_SIZE] ^= 1;
				p.count--;
				refused += !tree_check_inclusion(&p, i, n, leaves[i], root);
			}
		}
		CHECK(!tree_check_inclusion(&p, n, n, leaves[0], root));
	}
	CHECK_EQ_U(wrong, 0);
	CHECK_EQ_U(refused, tried);
}

TEST(consistency_of_all_sizes) {
	struct tree_proof p;
	uint8_t root[SHA256_SIZE], old_root[SHA256_SIZE];
	size_t wrong = 0, refused = 0, tried = 0;

	make_leaves();
	for (uint64_t n = 0; n <= N; n++) {
		root_of(n, root);
		for (uint64_t m = 0; m <= n; m++) {
			root_of(m, old_root);
			REQUIRE(tree_prove_consistency(node_of_leaves, NULL, m, n, &p) == 0);
			wrong += !tree_check_consistency(&p, m, n, old_root, root);
			tried++;
			refused += !tree_check_consistency(&p, m, n, leaves[5], root);
			if (m == 0)
				continue;
			tried++;
			refused += !tree_check_consistency(&p, m, n, old_root, leaves[7]);
			if (p.count == 0)
				continue;
			tried += 2;
			p.hash[m % p.count][m % SHA256_SIZE] ^= 0x80;
			refused += !tree_check_consistency(&p, m, n, old_root, root);
			p.hash[m % p.count][m % SHA256_SIZE] ^= 0x80;
			p.count--;
			refused += !tree_check_consistency(&p, m, n, old_root, root);
		}
	}
	CHECK_EQ_U(wrong, 0);
	CHECK_EQ_U(refused, tried);
	p.count = 0;
	CHECK(!tree_check_consistency(&p, 3, 2, root, old_root));
}

TEST_MAIN
