/*
 * vectors_test.c: the committed vectors are what this code makes, and they decode to what they say.
 */
#include "record/vectors.h"

#include "base/test.h"
#include "record/frame.h"

#ifndef VECTORS_JSON
#define VECTORS_JSON "tests/verifier/vectors.json"
#endif

TEST(committed_vectors_are_current) {
	struct buf made, have;
	auto_file FILE *f = fopen(VECTORS_JSON, "re");

	REQUIRE(f != NULL);
	buf_init(&made, MIB);
	buf_init(&have, MIB);
	vectors_write(&made);
	CHECK(w_done(&made) == 0);
	for (;;) {
		uint8_t *p = buf_reserve(&have, 65536);
		size_t n = p != NULL ? fread(p, 1, 65536, f) : 0;

		if (n == 0)
			break;
		buf_commit(&have, n);
	}
	CHECK_EQ_U(have.len, made.len);
	CHECK(str_eq(buf_peek(&have), buf_peek(&made)));
	buf_fini(&made);
	buf_fini(&have);
}

/* The value of a string member on a line of the file; hex decoded. */
static size_t member(struct str line, const char *key, uint8_t *out, size_t cap) {
	char pattern[32];
	int n = snprintf(pattern, sizeof(pattern), "\"%s\":\"", key);
	const char *at = memmem(line.p, line.n, pattern, (size_t)n);

	if (at == NULL)
		return 0;
	struct str rest = str_from(line, (size_t)(at - line.p) + (size_t)n);
	int got = hex_decode(out, cap, str_head(rest, str_find(rest, '"')));

	return got < 0 ? 0 : (size_t)got;
}

TEST(frames_decode_to_their_raw_bodies) {
	struct frame_codec *c = frame_codec_new();
	uint8_t key[FRAME_KEY_SIZE], frame[4096], raw[4096], leaf[SHA256_SIZE], want[SHA256_SIZE];
	struct buf made;
	unsigned frames = 0;

	buf_init(&made, MIB);
	vectors_write(&made);
	struct str rest = buf_peek(&made);

	while (rest.n != 0) {
		struct str line = str_cut(&rest, '\n'), got;
		struct frame f;

		if (memmem(line.p, line.n, "frame_key", 9) != NULL)
			frame_codec_key(c, hex_decode(key, sizeof(key),
			                              str_head(str_from(line, 16), 64)) ==
			                                   (int)sizeof(key)
			                           ? key
			                           : NULL);
		size_t n = member(line, "frame", frame, sizeof(frame));

		if (n == 0)
			continue;
		frames++;
		REQUIRE(frame_parse(&f, str_mem(frame, n)) == (int)n);
		CHECK(frame_check_body(&f) == 0);
		REQUIRE(frame_raw(c, &f, &got) == 0);
		size_t raw_n = member(line, "raw", raw, sizeof(raw));

		CHECK_EQ_STR(got, str_mem(raw, raw_n));
		frame_leaf(leaf, frame);
		CHECK(member(line, "leaf", want, sizeof(want)) == SHA256_SIZE &&
		      memcmp(leaf, want, SHA256_SIZE) == 0);
		if (f.head.kind == FRAME_DATA)
			CHECK(frame_check_events(&f.head, got) == 0);
	}
	CHECK_EQ_U(frames, 6);
	buf_fini(&made);
	frame_codec_free(&c);
}

TEST_MAIN
