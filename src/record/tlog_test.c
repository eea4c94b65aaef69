/*
 * tlog_test.c: leaves have one spelling; paths; checkpoints against the published vector; the log
 * writer against a plain tree, with tiles kept in a map.
 */
#include "record/tlog.h"

#include "base/mem.h"
#include "base/test.h"

static const uint8_t sid[SID_SIZE] = { 0x01, 0x92, 0x2a, 0x77, 0x10, 0x20, 0x70, 0x30,
	                               0x80, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07 };

static void check_leaf(const struct tlog_leaf *l, const char *want) {
	struct tlog_leaf got;
	struct buf b, again;

	buf_init(&b, 4096);
	buf_init(&again, 4096);
	tlog_put_leaf(&b, l);
	CHECK_EQ_STR(buf_peek(&b), str_of(want));
	REQUIRE(tlog_leaf_parse(&got, buf_peek(&b)) == 0);
	tlog_put_leaf(&again, &got);
	CHECK_EQ_STR(buf_peek(&again), buf_peek(&b));
	/* every change of one byte is refused, or is the one spelling of another leaf */
	for (size_t i = 0; i < b.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			b.p[i] ^= (uint8_t)(1u << bit);
			if (tlog_leaf_parse(&got, buf_peek(&b)) == 0) {
				buf_clear(&again);
				tlog_put_leaf(&again, &got);
				CHECK_EQ_STR(buf_peek(&again), buf_peek(&b));
			}
			b.p[i] ^= (uint8_t)(1u << bit);
		}
		CHECK(tlog_leaf_parse(&got, str_head(buf_peek(&b), i)) < 0);
	}
	w_u8(&b, ' ');
	CHECK(tlog_leaf_parse(&got, buf_peek(&b)) < 0);
	buf_fini(&b);
	buf_fini(&again);
}

#define SID_TEXT "01922a77-1020-7030-8001-020304050607"
#define HASH_TEXT "abababababababababababababababababababababababababababababababab"

static struct tlog_leaf leaf_of(enum tlog_type type) {
	struct tlog_leaf l = { .type = type, .wall = 1700000000000000001 };

	memset(l.hash, 0xab, sizeof(l.hash));
	if (type != TLOG_BOOT && type != TLOG_STOP)
		memcpy(l.sid, sid, SID_SIZE);
	return l;
}

TEST(leaves) {
	struct tlog_leaf l = leaf_of(TLOG_BOOT);

	l.boot = STR("b1");
	l.version = STR("0.1 \"x\\\n");
	check_leaf(
		&l,
		"{\"t\":\"boot\",\"wall\":1700000000000000001,\"node\":"
		"\"00000000000000000000000000000000\",\"boot\":\"b1\",\"version\":\"0.1 ?x??\"}");
	l = leaf_of(TLOG_OPEN);
	check_leaf(&l, "{\"t\":\"open\",\"sid\":\"" SID_TEXT
	               "\",\"wall\":1700000000000000001,\"leaf\":\"" HASH_TEXT "\"}");
	l = leaf_of(TLOG_SEAL);
	l.part = 2;
	l.first = 30;
	l.frames = 4;
	check_leaf(&l, "{\"t\":\"seal\",\"sid\":\"" SID_TEXT
	               "\",\"wall\":1700000000000000001,\"part\":2,"
	               "\"first\":30,\"frames\":4,\"root\":\"" HASH_TEXT "\"}");
	l = leaf_of(TLOG_CLOSE);
	l.frames = 34;
	l.parts = 3;
	l.reason = STR("client");
	l.gap = true;
	check_leaf(&l,
	           "{\"t\":\"close\",\"sid\":\"" SID_TEXT
	           "\",\"wall\":1700000000000000001,\"frames\":34,"
	           "\"parts\":3,\"root\":\"" HASH_TEXT "\",\"reason\":\"client\",\"gap\":true}");
	l = leaf_of(TLOG_GAP);
	l.after_seq = 9;
	l.reason = STR("recorder");
	check_leaf(&l, "{\"t\":\"gap\",\"sid\":\"" SID_TEXT "\",\"wall\":1700000000000000001,"
	               "\"after_seq\":9,\"reason\":\"recorder\"}");
	l = leaf_of(TLOG_STOP);
	l.boot = STR("b1");
	l.batch = UINT64_MAX;
	check_leaf(&l, "{\"t\":\"stop\",\"wall\":1700000000000000001,\"boot\":\"b1\","
	               "\"batch\":18446744073709551615}");
}

TEST(heads) {
	struct tlog_leaf l;
	struct tlog_grew g;
	uint8_t root[SHA256_SIZE] = { 1 };
	struct buf b;

	buf_init(&b, 4096);
	tlog_head_begin(&b, 5, 6);
	tlog_head_add(&b, sid, 3, root);
	tlog_head_add(&b, sid, 4, root);
	tlog_head_end(&b);
	REQUIRE(tlog_leaf_parse(&l, buf_peek(&b)) == 0);
	CHECK(l.type == TLOG_HEAD && l.wall == 5 && l.batch == 6);
	for (uint64_t n = 3; n <= 4; n++) {
		REQUIRE(tlog_grew_next(&l.grew, &g) == 1);
		CHECK(g.frames == n && memcmp(g.sid, sid, SID_SIZE) == 0 && g.root[0] == 1);
	}
	CHECK_EQ_I(tlog_grew_next(&l.grew, &g), 0);
	for (size_t i = 0; i < b.len; i++) {
		struct str cut = str_head(buf_peek(&b), i);

		CHECK(tlog_leaf_parse(&l, cut) < 0);
	}
	buf_clear(&b);
	w_bytes(&b, STR("{\"t\":\"head\",\"wall\":5,\"batch\":6,\"grew\":[]}"));
	CHECK(tlog_leaf_parse(&l, buf_peek(&b)) < 0);
	buf_fini(&b);
}

TEST(paths) {
	char path[TLOG_PATH_MAX];
	unsigned level, width;
	uint64_t n;

	tlog_tile_path(path, 0, 1234067, 256);
	CHECK_EQ_STR(str_of(path), STR("tile/0/x001/x234/067"));
	tlog_tile_path(path, TLOG_ENTRIES, 5, 17);
	CHECK_EQ_STR(str_of(path), STR("tile/entries/005.p/17"));
	tlog_tile_path(path, 2, 1000, 1);
	CHECK_EQ_STR(str_of(path), STR("tile/2/x001/000.p/1"));
	REQUIRE(tlog_tile_path_parse(str_of(path), &level, &n, &width) == 0);
	CHECK(level == 2 && n == 1000 && width == 1);
	static const char *const bad[] = { "tile/0/5",        "tile/0/x000/005",  "tile/00/005",
		                           "tile/64/000",     "tile/0/005.p/256", "tile/0/005.p/0",
		                           "tile/0/005.p/01", "tile/0/005.p",     "tile/0/x005",
		                           "tile/0/001/005",  "tile/0",           "tile/entries/",
		                           "tile//000",       "tiles/0/000",      "tile/0/000/" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (!CHECK(tlog_tile_path_parse(str_of(bad[i]), &level, &n, &width) < 0))
			test_note("%s", bad[i]);
	}
}

/* The vector that was made with another implementation: seed 32 × 0x01, leaves leaf0 to leaf2. */
static const char vkey_text[] =
	"record.example/gw1+80dccf04+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
static const char note_text[] =
	"record.example/gw1\n3\n8a7QaeG3nF8SGT5xUFnEaO/xVZpcmJxtfEa8KfT4T2w=\n\n"
	"\xe2\x80\x94 record.example/gw1 gNzPBI2oFo6aCfv2S3cXD3vNNhc1N+/pE35ybrh5IrXS/kb1pt6rSD7UW9PZ"
	"FB5Q9PGC+hckOXN8ttG7zvdmPpZ4RAg=\n";

TEST(checkpoint_vector) {
	struct tlog_checkpoint c = { .origin = STR("record.example/gw1") }, got;
	struct tlog_vkey k;
	char text[TLOG_VKEY_TEXT_MAX];
	uint8_t seed[ED25519_SEED_SIZE];
	struct tree t;
	struct buf b;

	memset(seed, 1, sizeof(seed));
	tree_init(&t);
	for (unsigned i = 0; i < 3; i++) {
		char name[8];
		uint8_t leaf[SHA256_SIZE];

		(void)snprintf(name, sizeof(name), "leaf%u", i);
		tree_leaf(leaf, str_of(name));
		tree_add(&t, leaf);
	}
	c.size = t.size;
	tree_root(&t, c.root);
	buf_init(&b, 4096);
	tlog_checkpoint_sign(&b, &c, seed);
	CHECK_EQ_STR(buf_peek(&b), str_of(note_text));
	REQUIRE(tlog_vkey_parse(&k, str_of(vkey_text)) == 0);
	tlog_vkey_print(text, &k);
	CHECK_EQ_STR(str_of(text), str_of(vkey_text));
	REQUIRE(tlog_checkpoint_open(&got, str_of(note_text), &k) == 0);
	CHECK(got.size == 3 && memcmp(got.root, c.root, SHA256_SIZE) == 0);
	buf_fini(&b);
}

TEST(checkpoint_flips) {
	struct tlog_vkey k, other;
	struct tlog_checkpoint c;
	char note[sizeof(note_text)], vkey[sizeof(vkey_text)];
	unsigned accepted = 0;

	REQUIRE(tlog_vkey_parse(&k, str_of(vkey_text)) == 0);
	for (size_t i = 0; i + 1 < sizeof(note); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(note, note_text, sizeof(note));
			note[i] = (char)(note[i] ^ (char)(1u << bit));
			accepted += tlog_checkpoint_open(&c, str_mem(note, sizeof(note) - 1), &k) ==
			            0;
		}
	}
	CHECK_EQ_U(accepted, 0);
	/* hexadecimal digits have two cases; nothing else may have two spellings */
	for (size_t i = 0; i + 1 < sizeof(vkey); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bool is_case = bit == 5 && i > 18 && i < 27;

			memcpy(vkey, vkey_text, sizeof(vkey));
			vkey[i] = (char)(vkey[i] ^ (char)(1u << bit));
			accepted += !is_case &&
			            tlog_vkey_parse(&other, str_mem(vkey, sizeof(vkey) - 1)) == 0;
		}
	}
	CHECK_EQ_U(accepted, 0);
}

TEST(checkpoint_lines) {
	struct tlog_vkey k;
	struct tlog_checkpoint c;
	struct buf b;
	const char *ours = strstr(note_text, "\xe2\x80\x94");

	REQUIRE(tlog_vkey_parse(&k, str_of(vkey_text)) == 0);
	buf_init(&b, TLOG_CHECKPOINT_MAX * 2);
	w_bytes(&b, str_of(note_text));
	w_bytes(&b, STR("\xe2\x80\x94 witness.example/w AAAAAQAAAAA=\n"));
	CHECK_EQ_I(tlog_checkpoint_open(&c, buf_peek(&b), &k), 0);
	w_bytes(&b, str_of(ours));
	CHECK_EQ_I(tlog_checkpoint_open(&c, buf_peek(&b), &k), H_EFORMAT);
	buf_clear(&b);
	w_bytes(&b, STR("record.example/gw1\n3\n8a7QaeG3nF8SGT5xUFnEaO/xVZpcmJxtfEa8KfT4T2w=\n\n"));
	CHECK_EQ_I(tlog_checkpoint_open(&c, buf_peek(&b), &k), H_EFORMAT);
	w_bytes(&b, STR("\xe2\x80\x94 witness.example/w AAAAAQAAAAA=\n"));
	CHECK_EQ_I(tlog_checkpoint_open(&c, buf_peek(&b), &k), H_ENOTFOUND);
	k.pub[3] ^= 1;
	CHECK_EQ_I(tlog_checkpoint_open(&c, str_of(note_text), &k), H_ETAMPERED);
	buf_fini(&b);
}

/* --- the log writer --- */

struct files {
	struct map *map; /* path → struct buf * */
	bool refuses;
};

static int write_file(void *arg, const char *path, struct str bytes) {
	struct files *f = arg;
	struct buf *b = map_get(f->map, str_of(path));

	if (f->refuses)
		return H_ENOSPACE;
	if (bytes.p == NULL) {
		CHECK(map_del(f->map, str_of(path)) != NULL);
		buf_fini(b);
		free(b);
		return 0;
	}
	if (b == NULL) {
		void *old;

		b = xcalloc(1, sizeof(*b));
		buf_init(b, (size_t)1 << 25);
		CHECK(map_put(f->map, str_of(path), b, &old) == 0);
	}
	buf_clear(b);
	return buf_append(b, bytes);
}

static int read_file(void *arg, const char *path, struct buf *out) {
	struct files *f = arg;
	struct buf *b = map_get(f->map, str_of(path));

	return b == NULL ? H_ENOTFOUND : buf_append(out, buf_peek(b));
}

static void drop_file(unused_arg void *arg, unused_arg struct str key, void *value) {
	buf_fini(value);
	free(value);
}

static void files_fini(struct files *f) {
	map_each(f->map, drop_file, NULL);
	map_free(&f->map);
}

static struct str entry_text(char out[24], uint64_t i) {
	(void)snprintf(out, 24, "entry %llu", (unsigned long long)i);
	return str_of(out);
}

enum { LEAVES = 66000 }; /* row 2 begins at 65,536 */

static uint8_t roots[LEAVES + 1][SHA256_SIZE];

static void fill(struct tlog_writer *w, uint64_t from, uint64_t to) {
	char text[24];

	for (uint64_t i = from; i < to; i++) {
		CHECK(tlog_append(w, entry_text(text, i)) == 0);
		if (i % 97 == 0)
			CHECK(tlog_flush(w) == 0);
	}
	CHECK(tlog_flush(w) == 0);
}

static void make_roots(void) {
	struct tree t;

	tree_init(&t);
	for (uint64_t i = 0; i <= LEAVES; i++) {
		char text[24];
		uint8_t leaf[SHA256_SIZE];

		tree_root(&t, roots[i]);
		tree_leaf(leaf, entry_text(text, i));
		tree_add(&t, leaf);
	}
}

static void check_proofs(struct tlog_writer *w) {
	static const uint64_t sizes[] = { 1,   2,    255,   256,   257,   511,
		                          700, 4096, 65535, 65536, 65537, 65999 };
	uint8_t root[SHA256_SIZE];
	struct tree_proof p;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char text[24];
		uint8_t leaf[SHA256_SIZE];

		if (sizes[i] > tlog_size(w))
			break;
		REQUIRE(tlog_root(w, sizes[i], root) == 0);
		CHECK(memcmp(root, roots[sizes[i]], SHA256_SIZE) == 0);
		REQUIRE(tlog_consistency(w, sizes[i], tlog_size(w), &p) == 0);
		CHECK(tree_check_consistency(&p, sizes[i], tlog_size(w), root,
		                             roots[tlog_size(w)]));
		REQUIRE(tlog_inclusion(w, sizes[i] - 1, tlog_size(w), &p) == 0);
		tree_leaf(leaf, entry_text(text, sizes[i] - 1));
		CHECK(tree_check_inclusion(&p, sizes[i] - 1, tlog_size(w), leaf,
		                           roots[tlog_size(w)]));
	}
}

TEST(log_writer) {
	struct files f = { .map = map_new(2000) };
	struct tlog_writer *w = tlog_writer_new(write_file, read_file, &f);

	make_roots();
	fill(w, 0, LEAVES);
	check_proofs(w);
	/* nothing is left of partial files that fuller ones replaced */
	size_t full = LEAVES / 256;

	CHECK_EQ_U(map_count(f.map), full * 2 + 2 + full / 256 + 1 + 1);
	tlog_writer_free(&w);
	files_fini(&f);
}

TEST(log_writer_resumes_at_any_size) {
	static const uint64_t sizes[] = { 0, 1, 200, 255, 256, 257, 1000, 65536, 65800 };

	make_roots();
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct files f = { .map = map_new(2000) };
		struct tlog_writer *w = tlog_writer_new(write_file, read_file, &f);
		uint8_t root[SHA256_SIZE];
		uint64_t ahead = MIN(sizes[i] + 20, (uint64_t)LEAVES);

		/* the files may be ahead of where the log is resumed */
		fill(w, 0, ahead);
		tlog_writer_free(&w);
		w = tlog_writer_new(write_file, read_file, &f);
		REQUIRE(tlog_writer_load(w, sizes[i]) == 0);
		REQUIRE(tlog_root(w, sizes[i], root) == 0);
		CHECK(memcmp(root, roots[sizes[i]], SHA256_SIZE) == 0);
		fill(w, sizes[i], MIN(sizes[i] + 300, (uint64_t)LEAVES));
		REQUIRE(tlog_root(w, tlog_size(w), root) == 0);
		CHECK(memcmp(root, roots[tlog_size(w)], SHA256_SIZE) == 0);
		check_proofs(w);
		tlog_writer_free(&w);
		files_fini(&f);
	}
}

TEST(log_writer_with_refused_writes) {
	struct files f = { .map = map_new(2000) };
	struct tlog_writer *w = tlog_writer_new(write_file, read_file, &f);
	char text[24];
	uint8_t root[SHA256_SIZE];
	int failed = 0;

	make_roots();
	f.refuses = true;
	for (uint64_t i = 0; i < 600; i++)
		failed += tlog_append(w, entry_text(text, i)) < 0;
	CHECK(failed != 0);
	CHECK_EQ_I(tlog_flush(w), H_ENOSPACE);
	CHECK(tlog_root(w, 300, root) < 0);
	f.refuses = false;
	CHECK_EQ_I(tlog_flush(w), 0);
	REQUIRE(tlog_root(w, 300, root) == 0);
	CHECK(memcmp(root, roots[300], SHA256_SIZE) == 0);
	tlog_writer_free(&w);
	w = tlog_writer_new(write_file, read_file, &f);
	CHECK_EQ_I(tlog_writer_load(w, 601), H_ENOTFOUND);
	tlog_writer_free(&w);
	files_fini(&f);
}

TEST_MAIN
