/* str_test.c: slices, UTF-8, hexadecimal, base64. */
#include "base/str.h"

#include "base/err.h"
#include "base/test.h"

TEST(str_compares) {
	CHECK(str_eq(STR("abc"), STR("abc")));
	CHECK(!str_eq(STR("abc"), STR("abd")));
	CHECK(!str_eq(STR("abc"), STR("ab")));
	CHECK(str_eq(STR_NONE, STR("")));
	CHECK(str_eq_nocase(STR("LaZy_9"), STR("lAzY_9")));
	CHECK(!str_eq_nocase(STR("@"), STR("`")));
	CHECK(!str_eq_nocase(STR("ab"), STR("abc")));
	CHECK(str_starts(STR("hsd1_x"), STR("hsd1_")));
	CHECK(str_starts(STR_NONE, STR_NONE));
	CHECK(!str_starts(STR("hs"), STR("hsd")));
}

TEST(str_slices) {
	struct str rest = STR("a=b=c");

	CHECK_EQ_U(str_find(rest, '='), 1);
	CHECK_EQ_U(str_find(rest, 'z'), 5);
	CHECK_EQ_U(str_find(STR_NONE, 'z'), 0);
	CHECK_EQ_STR(str_cut(&rest, '='), STR("a"));
	CHECK_EQ_STR(rest, STR("b=c"));
	CHECK_EQ_STR(str_cut(&rest, '='), STR("b"));
	CHECK_EQ_STR(str_cut(&rest, '='), STR("c"));
	CHECK(rest.p == NULL && rest.n == 0);
	rest = STR("end=");
	CHECK_EQ_STR(str_cut(&rest, '='), STR("end"));
	CHECK_EQ_U(rest.n, 0);
	CHECK_EQ_STR(str_from(STR("abc"), 1), STR("bc"));
	CHECK_EQ_STR(str_from(STR("abc"), 3), STR_NONE);
	CHECK_EQ_STR(str_from(STR("abc"), 99), STR_NONE);
	CHECK_EQ_STR(str_head(STR("abc"), 2), STR("ab"));
	CHECK_EQ_STR(str_head(STR("abc"), 9), STR("abc"));
	CHECK_EQ_STR(str_trim(STR(" \t x y\r\n")), STR("x y"));
	CHECK_EQ_STR(str_trim(STR("   ")), STR_NONE);
}

TEST(str_numbers) {
	uint64_t v = 7;

	CHECK_EQ_I(str_u64(STR("18446744073709551615"), UINT64_MAX, &v), 0);
	CHECK_EQ_U(v, UINT64_MAX);
	CHECK_EQ_I(str_u64(STR("18446744073709551616"), UINT64_MAX, &v), H_EFORMAT);
	CHECK_EQ_I(str_u64(STR("99999999999999999999"), UINT64_MAX, &v), H_EFORMAT);
	CHECK_EQ_U(v, UINT64_MAX);
	CHECK_EQ_I(str_u64(STR("065535"), 65535, &v), 0);
	CHECK_EQ_U(v, 65535);
	CHECK_EQ_I(str_u64(STR("65536"), 65535, &v), H_EFORMAT);
	CHECK_EQ_I(str_u64(STR_NONE, 1, &v), H_EFORMAT);
	CHECK_EQ_I(str_u64(STR("-1"), 9, &v), H_EFORMAT);
	CHECK_EQ_I(str_u64(STR("1 "), 9, &v), H_EFORMAT);
}

TEST(str_copies) {
	char small[4];
	auto_free char *dup = str_dup(STR("xyz"));
	auto_free char *none = str_dup(STR_NONE);

	CHECK_EQ_STR(str_of(dup), STR("xyz"));
	CHECK_EQ_STR(str_of(none), STR(""));
	CHECK(str_copy(small, sizeof(small), STR("abc")));
	CHECK_EQ_STR(str_of(small), STR("abc"));
	CHECK(!str_copy(small, sizeof(small), STR("abcd")));
	CHECK_EQ_U(small[0], 0);
	CHECK(!str_copy(small, sizeof(small), STR("a\0b")));
	CHECK(str_copy(small, sizeof(small), STR_NONE));
}

/* Decodes by arithmetic instead of by table: an independent opinion on one sequence. */
static bool model_utf8(const uint8_t *p, size_t n, size_t *ret_len) {
	static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	static const uint8_t lens[16] = { 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 3, 4 };
	size_t len = p[0] < 0xf8 ? lens[p[0] >> 4] : 0;
	uint32_t cp = len == 1 ? p[0] : p[0] & (0x7fU >> len);

	if (len == 0 || len > n)
		return false;
	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return false;
		cp = cp << 6 | (p[i] & 0x3f);
	}
	*ret_len = len;
	return cp >= smallest[len] && cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff);
}

static size_t model_utf8_bad(struct str s) {
	size_t i = 0, len = 0;

	while (i < s.n && model_utf8((const uint8_t *)s.p + i, s.n - i, &len))
		i += len;
	return i;
}

TEST(utf8_edges) {
	CHECK_EQ_U(str_utf8_bad(STR_NONE), 0);
	CHECK_EQ_U(str_utf8_bad(STR("plain ASCII of more than sixteen bytes")), 38);
	CHECK_EQ_U(str_utf8_bad(STR("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")), 10);
	CHECK_EQ_U(str_utf8_bad(STR("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")), 8);
	CHECK_EQ_U(str_utf8_bad(STR("a\xc0\x80")), 1);         /* overlong NUL */
	CHECK_EQ_U(str_utf8_bad(STR("a\xc1\xbf")), 1);         /* overlong */
	CHECK_EQ_U(str_utf8_bad(STR("a\xe0\x9f\xbf")), 1);     /* overlong */
	CHECK_EQ_U(str_utf8_bad(STR("a\xed\xa0\x80")), 1);     /* surrogate */
	CHECK_EQ_U(str_utf8_bad(STR("a\xed\x9f\xbf")), 4);     /* just before them */
	CHECK_EQ_U(str_utf8_bad(STR("a\xf0\x8f\xbf\xbf")), 1); /* overlong */
	CHECK_EQ_U(str_utf8_bad(STR("a\xf4\x90\x80\x80")), 1); /* beyond U+10FFFF */
	CHECK_EQ_U(str_utf8_bad(STR("a\xf5\x80\x80\x80")), 1);
	CHECK_EQ_U(str_utf8_bad(STR("ab\x80")), 2);     /* stray continuation */
	CHECK_EQ_U(str_utf8_bad(STR("ab\xe2\x82")), 2); /* cut short */
	CHECK_EQ_U(str_utf8_bad(STR("0123456789abcdef0123456\xff")), 23);
}

/* Every string of three bytes after every lead, against the model. */
TEST(utf8_exhaustive) {
	bool same = true;
	uint8_t p[4];

	for (uint32_t v = 0; v < 1U << 24; v++) {
		p[0] = (uint8_t)(0x80 | v >> 17);
		p[1] = (uint8_t)(v >> 9);
		p[2] = (uint8_t)(v >> 1);
		p[3] = (v & 1) != 0 ? 0xbf : 0x20;
		struct str s = str_mem(p, sizeof(p));

		same = same && str_utf8_bad(s) == model_utf8_bad(s);
	}
	CHECK(same);
}

TEST(utf8_positions) {
	char text[64];

	for (size_t n = 1; n <= sizeof(text); n++) {
		memset(text, 'x', sizeof(text));
		for (size_t at = 0; at < n; at++) {
			text[at] = (char)0xff;
			CHECK_EQ_U(str_utf8_bad(str_mem(text, n)), at);
			text[at] = 'x';
		}
		CHECK_EQ_U(str_utf8_bad(str_mem(text, n)), n);
	}
}

TEST(str_distances) {
	char far[65];

	CHECK_EQ_U(str_distance(STR("kitten"), STR("sitting")), 3);
	CHECK_EQ_U(str_distance(STR("databses"), STR("databases")), 1);
	CHECK_EQ_U(str_distance(STR_NONE, STR("abc")), 3);
	CHECK_EQ_U(str_distance(STR("abc"), STR("abc")), 0);
	memset(far, 'a', sizeof(far));
	CHECK_EQ_U(str_distance(str_mem(far, 64), str_mem(far, 64)), 0);
	CHECK_EQ_U(str_distance(str_mem(far, 65), str_mem(far, 65)), 65);
}

TEST(hex_both_ways) {
	char text[7];
	uint8_t raw[3] = { 0 };

	hex_encode(text, "\x00\xaf\x10", 3);
	CHECK_EQ_STR(str_of(text), STR("00af10"));
	CHECK_EQ_I(hex_decode(raw, sizeof(raw), STR("00Af10")), 3);
	CHECK(memcmp(raw, "\x00\xaf\x10", 3) == 0);
	CHECK_EQ_I(hex_decode(raw, sizeof(raw), STR("00af1")), H_EFORMAT);
	CHECK_EQ_I(hex_decode(raw, sizeof(raw), STR("00ag")), H_EFORMAT);
	CHECK_EQ_I(hex_decode(raw, sizeof(raw), STR("00af1000")), H_EFORMAT);
	CHECK_EQ_I(hex_decode(raw, sizeof(raw), STR_NONE), 0);
}

static const struct {
	const char *raw, *text;
} b64_vectors[] = {
	{ "", "" }, /* RFC 4648 section 10 */
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
	{ "\xfb\xff\xfe", "+//+" },
};

TEST(base64_vectors) {
	char text[16];
	uint8_t raw[16];

	for (size_t i = 0; i < ARRAY_LEN(b64_vectors); i++) {
		struct str in = str_of(b64_vectors[i].raw), out = str_of(b64_vectors[i].text);

		CHECK_EQ_U(base64_encode(text, in.p, in.n), out.n);
		CHECK_EQ_STR(str_of(text), out);
		CHECK_EQ_I(base64_decode(raw, sizeof(raw), out), (int64_t)in.n);
		CHECK_EQ_STR(str_mem(raw, in.n), in);
	}
}

TEST(base64_strict) {
	static const char *const bad[] = { "Z",        "Zg",   "Zg=",  "Zh==",    "Zm9=",
		                           "Zg==Zg==", "====", "Z===", "Zm9v\n",  "Zm 9",
		                           "Zm-_",     "=Zm9", "Zm=v", "Zm9vZ==g" };
	uint8_t raw[16];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_EQ_I(base64_decode(raw, sizeof(raw), str_of(bad[i])), H_EFORMAT);
	CHECK_EQ_I(base64_decode(raw, 2, STR("Zm9v")), H_ELIMIT);
	CHECK_EQ_I(base64_decode(raw, 2, STR("Zm8=")), 2);
}

/* Canonical: whatever decodes is what the encoder would have written. */
TEST(base64_one_spelling) {
	static const char set[] = "ABYZabyz0189+/=-";
	char in[5] = { 0 }, out[5];
	uint8_t raw[3];
	unsigned good = 0;

	for (unsigned v = 0; v < 1U << 16; v++) {
		for (unsigned i = 0; i < 4; i++)
			in[i] = set[v >> (4 * i) & 15];
		int n = base64_decode(raw, sizeof(raw), str_mem(in, 4));

		if (n < 0)
			continue;
		good++;
		CHECK_EQ_U(base64_encode(out, raw, (size_t)n), 4);
		CHECK_EQ_STR(str_of(out), str_of(in));
	}
	/* 14 symbols anywhere; before "=" only A, Y, 0 and 8 end in 00; before "==" only A. */
	CHECK(good > 14 * 14 * 14 * 14);
}

TEST_MAIN
