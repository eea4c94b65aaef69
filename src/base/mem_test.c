/* mem_test.c: arenas, lists, maps, secrets. */
#include "base/mem.h"

#include "base/err.h"
#include "base/test.h"

static uint32_t step(uint64_t *seed) {
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*seed >> 33);
}

TEST(arena_caps_and_aligns) {
	struct arena *a = arena_new(100000);
	size_t got = 0;

	for (size_t n = 1;; n = n * 2 + 1) {
		uint8_t *p = arena_alloc(a, n);

		if (p == NULL)
			break;
		CHECK_EQ_U((uintptr_t)p % 16, 0);
		bool is_zero = true;

		for (size_t i = 0; i < n; i++)
			is_zero = is_zero && p[i] == 0;
		CHECK(is_zero);
		memset(p, 0xee, n);
		got += n;
	}
	CHECK(got > 60000 && got <= 100000);
	CHECK(arena_alloc(a, SIZE_MAX) == NULL);
	CHECK(arena_alloc(a, SIZE_MAX - 8) == NULL);
	CHECK(arena_alloc(a, 16) != NULL);
	arena_reset(a);
	uint8_t *p = arena_alloc(a, 100000);

	CHECK(p != NULL && p[0] == 0 && p[99999] == 0);
	CHECK(arena_alloc(a, 1) == NULL);
	CHECK(arena_str(a, STR("x")).p == NULL);
	arena_reset(a);
	p = arena_alloc(a, 64);
	CHECK(p != NULL && p[0] == 0 && p[63] == 0);
	memset(p, 0xee, 64);
	arena_reset(a);
	uint8_t *again = arena_alloc(a, 64);

	CHECK(again == p && again[0] == 0 && again[63] == 0);
	struct str s = arena_str(a, STR("name"));

	CHECK_EQ_STR(s, STR("name"));
	CHECK_EQ_I(s.p[s.n], 0);
	CHECK(arena_str(a, STR_NONE).p != NULL);
	arena_free(&a);
	CHECK(a == NULL);
	arena_free(&a);
}

struct item {
	int v;
	struct list link;
};

TEST(list_order_and_removal) {
	struct list head;
	struct item items[4];
	int seen = 0;

	list_init(&head);
	CHECK(list_empty(&head));
	for (int i = 0; i < 4; i++) {
		items[i].v = i + 1;
		list_push(&head, &items[i].link);
	}
	CHECK_EQ_I(list_first(&head, struct item, link)->v, 1);
	list_each_safe (it, tmp, &head) {
		struct item *i = container_of(it, struct item, link);

		seen = seen * 10 + i->v;
		if (i->v % 2 == 0)
			list_drop(it);
	}
	CHECK_EQ_I(seen, 1234);
	list_drop(&items[1].link); /* in no list: harmless */
	seen = 0;
	list_each (it, &head) {
		seen = seen * 10 + container_of(it, struct item, link)->v;
	}
	CHECK_EQ_I(seen, 13);
}

enum { KEYS = 300 };

/* Short keys sit in the slot, long ones are copied: half of each. */
static struct str key_of(char out[40], unsigned id) {
	int n = snprintf(out, 40, id % 2 == 0 ? "k%u" : "a-key-that-is-longer-than-16-%u", id);

	return str_mem(out, (size_t)n);
}

static void on_each(void *arg, unused_arg struct str key, void *value) {
	*(uint64_t *)arg += *(unsigned *)value;
}

TEST(map_against_a_model) {
	static unsigned values[KEYS];
	unsigned *model[KEYS] = { NULL };
	struct map *m = map_new(200);
	uint64_t seed = 3;
	size_t count = 0;
	char text[40];

	for (unsigned turn = 0; turn < 60000; turn++) {
		unsigned id = step(&seed) % KEYS;
		struct str key = key_of(text, id);
		void *old = &seed;

		values[id] = id;
		switch (step(&seed) % 3) {
		case 0:
			if (model[id] == NULL && count == 200) {
				REQUIRE(map_put(m, key, &values[id], &old) == H_ELIMIT);
				break;
			}
			REQUIRE(map_put(m, key, &values[id], &old) == 0);
			REQUIRE(old == model[id]);
			count += model[id] == NULL;
			model[id] = &values[id];
			break;
		case 1:
			REQUIRE(map_del(m, key) == model[id]);
			count -= model[id] != NULL;
			model[id] = NULL;
			break;
		default:
			REQUIRE(map_get(m, key) == model[id]);
			break;
		}
		REQUIRE(map_count(m) == count);
	}
	uint64_t sum = 0, want = 0;

	for (unsigned id = 0; id < KEYS; id++)
		want += model[id] != NULL ? id : 0;
	map_each(m, on_each, &sum);
	CHECK_EQ_U(sum, want);
	map_free(&m);
	CHECK(m == NULL);
}

TEST(map_is_capped) {
	struct map *m = map_new(20);
	int v = 1;

	for (uint64_t n = 0; n < 20; n++)
		CHECK_EQ_I(map_put(m, map_key_u64(&n), &v, NULL), 0);
	uint64_t more = 20, known = 7;

	CHECK_EQ_I(map_put(m, map_key_u64(&more), &v, NULL), H_ELIMIT);
	CHECK_EQ_I(map_put(m, map_key_u64(&known), &v, NULL), 0);
	CHECK(map_get(m, map_key_u64(&more)) == NULL);
	CHECK_EQ_U(map_count(m), 20);
	map_free(&m);
}

TEST(map_keys) {
	struct map *m = map_new(10);
	int a = 1, b = 2;
	uint64_t n = 7;

	CHECK(map_get(m, STR("x")) == NULL);
	CHECK(map_del(m, STR("x")) == NULL);
	CHECK_EQ_I(map_put(m, STR_NONE, &a, NULL), 0);
	CHECK_EQ_I(map_put(m, map_key_u64(&n), &b, NULL), 0);
	CHECK(map_get(m, STR("")) == &a);
	CHECK(map_get(m, map_key_u64(&n)) == &b);
	CHECK(map_get(m, STR("\7")) == NULL);
	CHECK_EQ_I(map_put(m, STR("0123456789abcdef"), &a, NULL), 0);
	CHECK_EQ_I(map_put(m, STR("0123456789abcdefg"), &b, NULL), 0);
	CHECK(map_get(m, STR("0123456789abcdef")) == &a);
	CHECK(map_get(m, STR("0123456789abcdefg")) == &b);
	map_free(&m);
}

TEST(secrets) {
	char source[] = "correct horse";
	struct secret s = secret_of(str_of(source));
	struct secret none = secret_of(STR_NONE);

	memset(source, 0, sizeof(source));
	CHECK_EQ_STR(str_mem(s.p, s.n), STR("correct horse"));
	CHECK_EQ_U((uintptr_t)s.p % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
	secret_free(&s);
	CHECK(s.p == NULL && s.n == 0);
	secret_free(&s);
	CHECK(none.p == NULL);
	secret_free(&none);
}

/* The kernel shows "dd" (do not dump) and "lo" (locked) among the flags of the mapping. */
TEST(secrets_stay_out_of_dumps) {
	struct secret s = secret_of(STR("x"));
	char line[512], start[32];
	bool is_here = false, is_kept_out = false;

	(void)snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)s.p);
	auto_file FILE *f = fopen("/proc/self/smaps", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strchr(line, '-') != NULL && strstr(line, "Flags") == NULL &&
		    strchr(line, ':') != NULL && line[0] != ' ')
			is_here = is_here || str_starts(str_of(line), str_of(start));
		if (is_here && str_starts(str_of(line), STR("VmFlags:"))) {
			is_kept_out = strstr(line, " dd") != NULL;
			break;
		}
	}
	secret_free(&s);
	if (f == NULL)
		TEST_SKIP("no /proc");
	CHECK(is_kept_out);
}

TEST(constant_time_compare) {
	char zero[4] = "abc";

	CHECK(mem_eq_ct("abc", "abc", 3));
	CHECK(!mem_eq_ct("abc", "abd", 3));
	CHECK(!mem_eq_ct("abc", "Abc", 3));
	CHECK(mem_eq_ct("", "", 0));
	wipe(zero, sizeof(zero));
	CHECK(zero[0] == 0 && zero[2] == 0);
}

TEST_MAIN
