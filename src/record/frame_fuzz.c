/*
 * frame_fuzz.c: any bytes as a frame, its body and its events. What parses must encode to itself.
 *
 * Random input seldom has a right CRC, so the second half of the inputs is taken as a header whose
 * CRC and body hash are made right first.
 */
#include "record/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct frame_codec *c, const struct frame *f) {
	struct frame_walk w;
	struct rec_event e;
	struct frame_trailer t;
	struct str raw, rest;

	if (frame_check_body(f) < 0 || frame_raw(c, f, &raw) < 0)
		return;
	assert(raw.n == f->head.raw_len);
	(void)frame_trailer_parse(&t, raw);
	(void)frame_after_salt(raw, &rest);
	if (frame_walk_begin(&w, &f->head, raw) < 0)
		return;
	while (frame_walk_next(&w, &e) > 0)
		assert(e.bytes.n <= raw.n);
	(void)frame_check_events(&f->head, raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static struct frame_codec *c;
	static uint8_t copy[4096];
	static const uint8_t key[FRAME_KEY_SIZE] = { 1 };
	struct frame f;

	if (c == NULL) {
		c = frame_codec_new();
		frame_codec_key(c, key);
	}
	if (frame_parse(&f, str_mem(data, size)) > 0)
		walk(c, &f);
	if (size < FRAME_HEAD_SIZE || size > sizeof(copy))
		return 0;
	/* Lengths, hash and CRC made right; all else is the fuzzer's. */
	struct frame_head h = { .kind = (uint8_t)(1 + data[10] % 11),
		                .flags = data[11] & (FRAME_COMPRESSED | FRAME_INTENT | FRAME_LAST),
		                .body_len = (uint32_t)(size - FRAME_HEAD_SIZE),
		                .raw_len = (uint32_t)(data[16] | data[17] << 8 |
		                                      (data[18] & 15) << 16),
		                .n_events = data[20] };

	if ((h.flags & FRAME_COMPRESSED) == 0)
		h.raw_len = h.body_len;
	memcpy(h.command_root, tree_empty_root, SHA256_SIZE);
	memcpy(copy, data, size);
	frame_put_head(&h, copy);
	if (frame_parse(&f, str_mem(copy, size)) > 0) {
		assert(f.bytes.n == size && frame_check_body(&f) == 0);
		walk(c, &f);
	}
	return 0;
}
