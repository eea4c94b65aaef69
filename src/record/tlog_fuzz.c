/*
 * tlog_fuzz.c: any bytes as a leaf, a bundle, a tile path, a vkey and a checkpoint. Each has one
 * spelling: what parses is printed as the same bytes.
 */
#include "record/tlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void leaf(struct str s) {
	struct tlog_leaf l;
	struct tlog_grew g;
	struct buf b;

	if (tlog_leaf_parse(&l, s) < 0)
		return;
	buf_init(&b, 2 * TLOG_LEAF_MAX);
	if (l.type == TLOG_HEAD) {
		tlog_head_begin(&b, l.wall, l.batch);
		while (tlog_grew_next(&l.grew, &g) == 1)
			tlog_head_add(&b, g.sid, g.frames, g.root);
		tlog_head_end(&b);
	} else {
		tlog_put_leaf(&b, &l);
	}
	assert(str_eq(buf_peek(&b), s));
	buf_fini(&b);
}

static void bundle(struct str s) {
	struct str rest = s, entry;
	struct buf b;

	buf_init(&b, s.n + 1);
	while (tlog_entry_next(&rest, &entry) == 1)
		tlog_put_entry(&b, entry);
	assert(str_eq(buf_peek(&b), str_head(s, s.n - rest.n)));
	buf_fini(&b);
}

static void path(struct str s) {
	char again[TLOG_PATH_MAX];
	unsigned level, width;
	uint64_t n;

	if (tlog_tile_path_parse(s, &level, &n, &width) < 0)
		return;
	tlog_tile_path(again, level, n, width);
	assert(str_is(s, again));
}

static void note(struct str s) {
	static const char vkey_text[] =
		"record.example/gw1+80dccf04+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
	struct tlog_checkpoint c;
	struct tlog_vkey k;
	struct str text, lines;
	struct buf b;

	if (tlog_vkey_parse(&k, s) == 0) {
		char again[TLOG_VKEY_TEXT_MAX];

		tlog_vkey_print(again, &k);
		assert(str_eq_nocase(s, str_of(again)));
	}
	if (tlog_checkpoint_parse(&c, s, &text, &lines) < 0)
		return;
	buf_init(&b, TLOG_CHECKPOINT_MAX);
	tlog_checkpoint_text(&b, &c);
	assert(str_eq(buf_peek(&b), text));
	buf_fini(&b);
	if (tlog_vkey_parse(&k, str_of(vkey_text)) < 0)
		abort();
	(void)tlog_checkpoint_open(&c, s, &k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct str s = str_mem(data, size);

	leaf(s);
	bundle(s);
	path(s);
	note(s);
	return 0;
}
