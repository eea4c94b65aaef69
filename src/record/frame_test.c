/*
 * frame_test.c: frames out and back in; what a changed byte does; events and command leaves.
 */
#include "record/frame.h"

#include "base/test.h"

static struct frame_head data_head(void) {
	struct frame_head h = { .kind = FRAME_DATA,
		                .frame_no = 7,
		                .first_seq = 41,
		                .wall_ns = 1700000000123456789,
		                .mono_ns = 5000000000,
		                .ring = 3,
		                .slot = 9,
		                .generation = 2,
		                .part = 1 };

	for (unsigned i = 0; i < SID_SIZE; i++)
		h.sid[i] = (uint8_t)(0x10 + i);
	return h;
}

static const uint8_t salt[FRAME_SALT_SIZE] = {
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
};

static void put_command(struct buf *b, const char *verb) {
	struct rec_command c = { .kind = 0, .status = 0, .c_len = 10, .rows = 1, .done_dt = 5 };

	c.verb = str_of(verb);
	sha256(c.text_sha256, str_of(verb));
	rec_put_command(b, &c);
}

/* raw C, command, injected U, fact, end */
static void add_events(struct frame_builder *b, size_t text) {
	struct buf p;
	char *filler = xmalloc(text + 1);

	memset(filler, 'a', text);
	buf_init(&p, FRAME_RAW_MAX);
	rec_put_raw(&p, 100, str_mem(filler, text));
	CHECK(frame_builder_add(b, REC_RAW, 0, 4999999000, buf_peek(&p)) == 0);
	buf_clear(&p);
	put_command(&p, "select");
	CHECK(frame_builder_add(b, REC_COMMAND, 0, 4999999500, buf_peek(&p)) == 0);
	buf_clear(&p);
	rec_put_why(&p, 3, 9, STR("xyz"));
	CHECK(frame_builder_add(b, REC_INJECTED, 1, 4999999400, buf_peek(&p)) == 0);
	buf_clear(&p);
	rec_put_fact(&p, STR("backend.pid"), STR("77"));
	CHECK(frame_builder_add(b, REC_FACT, 0, 4999999900, buf_peek(&p)) == 0);
	buf_clear(&p);
	rec_put_end(&p, -3, STR("bye"), (const uint64_t[]){ 1, 2, 3, 400 });
	CHECK(frame_builder_add(b, REC_END, 0, 5000000000, buf_peek(&p)) == 0);
	buf_fini(&p);
	free(filler);
}

static void check_events(const struct frame_head *h, struct str raw, size_t text) {
	struct frame_walk w;
	struct rec_event e;

	REQUIRE(frame_walk_begin(&w, h, raw) == 0);
	REQUIRE(frame_walk_next(&w, &e) == 1);
	CHECK(e.type == REC_RAW && e.offset == 100 && e.bytes.n == text && e.seq == 41);
	CHECK_EQ_U(e.mono_ns, 4999999000);
	REQUIRE(frame_walk_next(&w, &e) == 1);
	CHECK(e.type == REC_COMMAND && e.seq == 42 && str_is(e.command.verb, "select"));
	CHECK(e.command.rows == 1 && e.command.done_dt == 5 && e.command.sqlstate[0] == '\0');
	REQUIRE(frame_walk_next(&w, &e) == 1);
	CHECK(e.type == REC_INJECTED && e.why == 3 && e.offset == 9 && str_is(e.bytes, "xyz"));
	CHECK_EQ_U(e.mono_ns, 4999999400);
	REQUIRE(frame_walk_next(&w, &e) == 1);
	CHECK(str_is(e.name, "backend.pid") && str_is(e.bytes, "77"));
	REQUIRE(frame_walk_next(&w, &e) == 1);
	CHECK(e.code == -3 && str_is(e.bytes, "bye") && e.streams[3] == 400);
	CHECK_EQ_U(e.mono_ns, 5000000000);
	CHECK_EQ_I(frame_walk_next(&w, &e), 0);
}

/* Encodes a data frame with `text` bytes of filler; returns its size. */
static int encode(struct frame_codec *c, struct frame_head *h, size_t text, uint8_t *out,
                  size_t cap) {
	struct frame_builder b;

	frame_builder_init(&b);
	add_events(&b, text);
	struct str raw = frame_builder_finish(&b, h, salt);
	int n = frame_encode(c, h, raw, out, cap);

	frame_builder_fini(&b);
	return n;
}

static void round_trip(size_t text, uint32_t suite) {
	static uint8_t out[FRAME_MAX];
	static const uint8_t key[FRAME_KEY_SIZE] = { 9, 8, 7 };
	struct frame_codec *c = frame_codec_new();
	struct frame_head h = data_head();
	struct frame f;
	struct str raw;

	h.suite = suite;
	h.key_epoch = suite;
	frame_codec_key(c, key);
	int n = encode(c, &h, text, out, sizeof(out));

	REQUIRE(n > FRAME_HEAD_SIZE);
	REQUIRE(frame_parse(&f, str_mem(out, sizeof(out))) == n);
	CHECK(f.head.kind == FRAME_DATA && f.head.n_events == 5 && f.head.frame_no == 7);
	CHECK(f.head.ring == 3 && f.head.slot == 9 && f.head.generation == 2 && f.head.part == 1);
	CHECK((f.head.flags & FRAME_INTENT) != 0);
	CHECK_EQ_U((f.head.flags & FRAME_COMPRESSED) != 0, text > 1024);
	CHECK(frame_check_body(&f) == 0);
	REQUIRE(frame_raw(c, &f, &raw) == 0);
	CHECK_EQ_U(raw.n, f.head.raw_len);
	check_events(&f.head, raw, text);
	CHECK(frame_check_events(&f.head, raw) == 0);
	frame_codec_key(c, NULL);
	CHECK_EQ_I(frame_raw(c, &f, &raw), suite != 0 ? H_EPERM : 0);
	frame_codec_free(&c);
}

TEST(round_trips) {
	for (uint32_t suite = 0; suite <= 1; suite++) {
		round_trip(0, suite);
		round_trip(100, suite);
		round_trip(2000, suite);
		round_trip(900000, suite);
	}
}

TEST(encrypted_bodies_are_bound_to_their_header) {
	uint8_t out[1024];
	static const uint8_t key[FRAME_KEY_SIZE] = { 1 };
	struct frame_codec *c = frame_codec_new();
	struct frame_head h = data_head();
	struct frame f = { 0 };
	struct str raw;

	h.suite = 1;
	frame_codec_key(c, key);
	int n = encode(c, &h, 100, out, sizeof(out));

	REQUIRE(n > 0 && frame_parse(&f, str_mem(out, (size_t)n)) == n);
	/* A header that its author did not encrypt with: hash and CRC are right, the tag is not. */
	f.head.wall_ns++;
	frame_put_head(&f.head, out);
	REQUIRE(frame_parse(&f, str_mem(out, (size_t)n)) == n);
	CHECK(frame_check_body(&f) == 0);
	CHECK_EQ_I(frame_raw(c, &f, &raw), H_ETAMPERED);
	frame_codec_free(&c);
}

static unsigned flips_accepted(uint8_t *out, size_t n) {
	unsigned accepted = 0;
	struct frame f;

	for (size_t i = 0; i < n; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			out[i] ^= (uint8_t)(1u << bit);
			accepted += frame_parse(&f, str_mem(out, n)) == (int)n;
			out[i] ^= (uint8_t)(1u << bit);
		}
	}
	return accepted;
}

TEST(every_flipped_bit_is_refused) {
	uint8_t out[4096];
	struct frame_codec *c = frame_codec_new();
	struct frame f;

	for (size_t text = 10; text < 3000; text += 1500) {
		struct frame_head h = data_head();
		int n = encode(c, &h, text, out, sizeof(out));

		REQUIRE(n > 0 && frame_parse(&f, str_mem(out, (size_t)n)) == n);
		CHECK_EQ_U(flips_accepted(out, (size_t)n), 0);
		for (int cut = 0; cut < n; cut++)
			CHECK(frame_parse(&f, str_mem(out, (size_t)cut)) == 0);
	}
	frame_codec_free(&c);
}

/* Fields that contradict each other are refused even when hash and CRC fit. */
TEST(contradictions_are_refused) {
	uint8_t out[1024];
	struct frame_codec *c = frame_codec_new();
	struct frame_head good = data_head();
	struct frame f;
	int n = encode(c, &good, 10, out, sizeof(out));
	struct frame_head h = good;

	REQUIRE(n > 0);
#define REFUSED(change) \
	h = good; \
	change; \
	frame_put_head(&h, out); \
	CHECK(frame_parse(&f, str_mem(out, (size_t)n)) < 0)
	REFUSED(h.kind = 0);
	REFUSED(h.kind = 12);
	REFUSED(h.kind = FRAME_LOG);
	REFUSED(h.kind = FRAME_INDEX);
	REFUSED(h.kind = FRAME_CLOSE);
	REFUSED(h.flags |= 64);
	REFUSED(h.flags |= FRAME_LAST);
	REFUSED(h.flags |= FRAME_COMPRESSED);
	REFUSED(h.flags |= FRAME_ENCRYPTED);
	REFUSED(h.suite = 1);
	REFUSED(h.key_epoch = 1);
	REFUSED(h.raw_len++);
	REFUSED(memset(h.sid, 0xff, SID_SIZE));
	REFUSED(h.kind = FRAME_OPEN); /* carries a command root */
#undef REFUSED
	frame_put_head(&good, out);
	CHECK(frame_parse(&f, str_mem(out, (size_t)n)) == n);
	out[FRAME_HEAD_SIZE + 20] ^= 1;
	memset(&f, 0, sizeof(f));
	f.head = good;
	f.body = str_mem(out + FRAME_HEAD_SIZE, good.body_len);
	CHECK_EQ_I(frame_check_body(&f), H_ETAMPERED);
	frame_codec_free(&c);
}

TEST(a_body_that_lies_about_its_size_is_refused) {
	static uint8_t out[8192];
	struct frame_codec *c = frame_codec_new();
	struct frame_head h = data_head();
	struct frame f;
	struct str raw;
	int n = encode(c, &h, 5000, out, sizeof(out));

	REQUIRE(n > 0 && (h.flags & FRAME_COMPRESSED) != 0);
	for (int d = -1; d <= 1; d++) {
		struct frame_head other = h;

		other.raw_len += (uint32_t)d;
		frame_put_head(&other, out);
		REQUIRE(frame_parse(&f, str_mem(out, (size_t)n)) == n);
		CHECK_EQ_I(frame_raw(c, &f, &raw), d == 0 ? 0 : H_EFORMAT);
	}
	frame_codec_free(&c);
}

TEST(limits) {
	struct frame_codec *c = frame_codec_new();
	struct frame_builder b;
	uint8_t *big = xcalloc(1, FRAME_MAX + 1);
	struct frame_head h = { .kind = FRAME_FACT };
	size_t cap = FRAME_HEAD_SIZE + 10;

	CHECK_EQ_I(frame_encode(c, &h, str_mem(big, FRAME_RAW_MAX + 1), big, FRAME_MAX), H_ELIMIT);
	CHECK_EQ_I(frame_encode(c, &h, str_mem(big, 11), big, cap), H_ELIMIT);
	frame_builder_init(&b);
	CHECK_EQ_I(frame_builder_add(&b, REC_RAW, 0, 1, str_mem(big, FRAME_RAW_MAX)), H_ELIMIT);
	CHECK_EQ_I(frame_builder_add(&b, REC_RAW, 0, 1, str_mem(big, FRAME_RAW_MAX - 40)), 0);
	CHECK_EQ_I(frame_builder_add(&b, REC_RAW, 0, 1, str_mem(big, 40)), H_ELIMIT);
	struct str raw = frame_builder_finish(&b, &h, salt);

	CHECK(raw.n <= FRAME_RAW_MAX);
	frame_builder_reset(&b, true);
	CHECK(b.raw.p == NULL && frame_builder_size(&b) == 0);
	frame_builder_fini(&b);
	free(big);
	frame_codec_free(&c);
}

/* The root by the words of the format, over events that the walk shows. */
TEST(command_root) {
	struct frame_builder b;
	struct frame_head h = data_head();
	struct buf p;

	frame_builder_init(&b);
	buf_init(&p, 4096);
	for (unsigned i = 0; i < 40; i++) {
		buf_clear(&p);
		put_command(&p, i % 2 != 0 ? "select"
		                           : "update something that is longer than one hundred "
		                             "and twenty-seven bytes so that len has two "
		                             "bytes, or so we hope, in this test of ours");
		CHECK(frame_builder_add(&b, REC_COMMAND, 0, 100 + i, buf_peek(&p)) == 0);
	}
	struct str raw = frame_builder_finish(&b, &h, salt);

	CHECK(frame_check_events(&h, raw) == 0);
	CHECK((h.flags & FRAME_INTENT) != 0);
	h.command_root[0] ^= 1;
	CHECK_EQ_I(frame_check_events(&h, raw), H_ETAMPERED);
	h.command_root[0] ^= 1;
	h.n_events--;
	CHECK_EQ_I(frame_check_events(&h, raw), H_EFORMAT);
	h.n_events += 2;
	CHECK(frame_check_events(&h, raw) < 0);
	/* finishing again after a change of clock gives a body that still agrees */
	h.mono_ns += 1000000;
	raw = frame_builder_finish(&b, &h, salt);
	CHECK(frame_check_events(&h, raw) == 0);
	buf_fini(&p);
	frame_builder_fini(&b);
}

TEST(intent_flag) {
	static const struct {
		uint8_t type, stream;
		bool is_intent;
	} rows[] = { { REC_RAW, 0, true },      { REC_RAW, 2, false },
		     { REC_INJECTED, 1, true }, { REC_INJECTED, 3, false },
		     { REC_REDACTED, 1, true }, { REC_REDACTED, 0, false },
		     { REC_COMMAND, 0, true },  { REC_FORWARDED, 1, false },
		     { REC_HIDDEN, 0, true },   { REC_HIDDEN, 2, false },
		     { REC_DIGEST, 2, false },  { REC_WITHHELD, 2, false },
		     { REC_DROPPED, 0, false } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct frame_builder b;
		struct frame_head h = { .flags = FRAME_INTENT };

		frame_builder_init(&b);
		CHECK(frame_builder_add(&b, rows[i].type, rows[i].stream, 1, STR("abc")) == 0);
		(void)frame_builder_finish(&b, &h, salt);
		CHECK_EQ_U((h.flags & FRAME_INTENT) != 0, rows[i].is_intent);
		frame_builder_fini(&b);
	}
}

TEST(trailer) {
	struct frame_trailer t = {
		.index_offset = 1, .first_frame = 2, .frames = 3, .bytes_before = 4
	};
	struct frame_trailer got;
	struct buf b;

	buf_init(&b, 200);
	t.root[31] = 9;
	frame_put_trailer(&b, &t);
	CHECK_EQ_U(b.len, FRAME_TRAILER_SIZE);
	REQUIRE(frame_trailer_parse(&got, buf_peek(&b)) == 0);
	CHECK(memcmp(&got, &t, sizeof(t)) == 0);
	CHECK(frame_trailer_parse(&got, str_head(buf_peek(&b), 71)) < 0);
	b.p[0] ^= 1;
	CHECK(frame_trailer_parse(&got, buf_peek(&b)) < 0);
	buf_fini(&b);
}

TEST_MAIN
