/* crypto_test.c: published vectors, and the shapes of identifiers. */
#include "base/crypto.h"

#include <pthread.h>

#include "base/crypto_priv.h"
#include "base/mem.h"
#include "base/test.h"

static void check_hex(const uint8_t *raw, size_t n, const char *want) {
	char text[2 * 64 + 1];

	hex_encode(text, raw, n);
	CHECK_EQ_STR(str_of(text), str_of(want));
}

TEST(sha256_vectors) {
	uint8_t out[SHA256_SIZE];

	crypto_setup();
	sha256(out, STR_NONE);
	check_hex(out, sizeof(out),
	          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256(out, STR("abc"));
	check_hex(out, sizeof(out),
	          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256_parts(out, (struct str[]){ STR("a"), STR_NONE, STR("bc") }, 3);
	check_hex(out, sizeof(out),
	          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256(out, STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
	check_hex(out, sizeof(out),
	          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* RFC 4231, cases 1, 2 and 6 (a key longer than the block). */
TEST(hmac_vectors) {
	uint8_t out[SHA256_SIZE];
	char key[131];

	memset(key, 0x0b, 20);
	hmac_sha256(out, str_mem(key, 20), STR("Hi There"));
	check_hex(out, sizeof(out),
	          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	hmac_sha256(out, STR("Jefe"), STR("what do ya want for nothing?"));
	check_hex(out, sizeof(out),
	          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	hmac_sha256(out, str_mem(key, sizeof(key)),
	            STR("Test Using Larger Than Block-Size Key - Hash Key First"));
	check_hex(out, sizeof(out),
	          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 7914 section 11 gives 64 bytes; the first 32 are the first block. */
TEST(pbkdf2_vectors) {
	uint8_t out[SHA256_SIZE];

	pbkdf2_sha256(out, STR("passwd"), STR("salt"), 1);
	check_hex(out, sizeof(out),
	          "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
	pbkdf2_sha256(out, STR("Password"), STR("NaCl"), 80000);
	check_hex(out, sizeof(out),
	          "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
	pbkdf2_sha256(out, STR("password"), STR("salt"), 4096);
	check_hex(out, sizeof(out),
	          "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
}

TEST(md5_of_a_login) {
	char out[33];

	md5_hex(out, (struct str[]){ STR("ab"), STR("c") }, 2);
	CHECK_EQ_STR(str_of(out), STR("900150983cd24fb0d6963f7d28e17f72"));
}

TEST(crc32c_vectors) {
	uint8_t zeros[32] = { 0 }, ones[32], up[32];

	memset(ones, 0xff, sizeof(ones));
	for (unsigned i = 0; i < 32; i++)
		up[i] = (uint8_t)i;
	CHECK_EQ_U(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_EQ_U(crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720 B.4 */
	CHECK_EQ_U(crc32c(0, ones, 32), 0x62a8ab43);
	CHECK_EQ_U(crc32c(0, up, 32), 0x46dd794e);
	CHECK_EQ_U(crc32c(0, NULL, 0), 0);
	CHECK_EQ_U(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	CHECK_EQ_U(crc32c_table(0, "123456789", 9), 0xe3069283);
	CHECK_EQ_U(crc32c_table(crc32c_table(0, "12", 2), "3456789", 7), 0xe3069283);
}

TEST(crc32c_both_fillings_agree) {
	uint8_t data[300];

	if (!crc32c_has_sse42())
		TEST_SKIP("this CPU has no SSE4.2");
	random_bytes(data, sizeof(data));
	for (size_t from = 0; from < 9; from++) {
		for (size_t n = 0; n < sizeof(data) - 9; n++)
			REQUIRE(crc32c_table(7, data + from, n) == crc32c_sse42(7, data + from, n));
	}
}

static const struct {
	const char *seed, *pub, *msg, *sig;
} ed_vectors[] = {
	/* RFC 8032 section 7.1, tests 1 to 3 */
	{ "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
	  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
	  "f9b46bd25bf5f0595bbe24655141438e7a100b" },
	{ "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
	  "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
	  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
	  "f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
	{ "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
	  "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
	  "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
	  "c6594a7c15e9716ed28dc027beceea1ec40a" },
};

TEST(ed25519_vectors) {
	for (size_t i = 0; i < ARRAY_LEN(ed_vectors); i++) {
		uint8_t seed[ED25519_SEED_SIZE], pub[ED25519_PUB_SIZE], sig[ED25519_SIG_SIZE],
			msg[2];
		int n = hex_decode(msg, sizeof(msg), str_of(ed_vectors[i].msg));

		CHECK_EQ_I(hex_decode(seed, sizeof(seed), str_of(ed_vectors[i].seed)),
		           sizeof(seed));
		ed25519_public(pub, seed);
		check_hex(pub, sizeof(pub), ed_vectors[i].pub);
		ed25519_sign(sig, seed, str_mem(msg, (size_t)n));
		check_hex(sig, sizeof(sig), ed_vectors[i].sig);
		CHECK(ed25519_verify(sig, pub, str_mem(msg, (size_t)n)));
		sig[5] ^= 1;
		CHECK(!ed25519_verify(sig, pub, str_mem(msg, (size_t)n)));
		sig[5] ^= 1;
		CHECK(!ed25519_verify(sig, pub, STR("other")));
		memset(pub, 0xff, sizeof(pub));
		CHECK(!ed25519_verify(sig, pub, str_mem(msg, (size_t)n)));
	}
}

TEST(uuid7_bits) {
	uint8_t a[SID_SIZE], b[SID_SIZE], back[SID_SIZE];
	char text[UUID_TEXT_SIZE], id[SHORT_ID_SIZE];
	uint64_t ms = 0x017f22e279b0U; /* RFC 9562 appendix A.6 */

	uuid7(a, ms * NS_PER_MS + 999999);
	uuid7(b, ms * NS_PER_MS);
	CHECK(memcmp(a, "\x01\x7f\x22\xe2\x79\xb0", 6) == 0);
	CHECK_EQ_U(a[6] >> 4, 7);
	CHECK_EQ_U(a[8] >> 6, 2);
	CHECK(memcmp(a + 6, b + 6, 10) != 0);
	uuid_text(text, a);
	CHECK_EQ_U(strlen(text), UUID_TEXT_SIZE - 1);
	CHECK(str_starts(str_of(text), STR("017f22e2-79b0-7")));
	CHECK_EQ_I(uuid_parse(back, str_of(text)), 0);
	CHECK(memcmp(a, back, SID_SIZE) == 0);
	memset(a, 0, sizeof(a));
	short_id(id, a);
	CHECK_EQ_STR(str_of(id), STR("0000-0000"));
	memset(a, 0xff, sizeof(a));
	short_id(id, a);
	CHECK_EQ_STR(str_of(id), STR("zzzz-zzzz"));
	/* 00000 00001 00010 00011 - 00100 00101 00110 00111 */
	memcpy(a + 11, "\x00\x44\x32\x14\xc7", 5);
	short_id(id, a);
	CHECK_EQ_STR(str_of(id), STR("0123-4567"));
}

TEST(uuid_parse_is_strict) {
	static const char *const bad[] = {
		"",
		"017f22e279b07cc398c4dc0c0c07398f",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
		"017f22e2079b0-7cc3-98c4-dc0c0c07398f",
		"{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
	};
	uint8_t sid[SID_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_EQ_I(uuid_parse(sid, str_of(bad[i])), H_EFORMAT);
	CHECK_EQ_I(uuid_parse(sid, STR("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")), 0);
}

static void *hash_in_thread(void *arg) {
	uint8_t *out = arg;

	for (unsigned i = 0; i < 1000; i++)
		sha256(out, STR("abc"));
	return NULL;
}

TEST(hashes_from_threads) {
	uint8_t out[4][SHA256_SIZE];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		REQUIRE(pthread_create(&threads[i], NULL, hash_in_thread, out[i]) == 0);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ_I(pthread_join(threads[i], NULL), 0);
		check_hex(out[i], SHA256_SIZE,
		          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	}
}

TEST(random_bytes_differ) {
	uint8_t a[300] = { 0 }, b[300] = { 0 };
	unsigned zeros = 0;

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	for (size_t i = 0; i < sizeof(a); i++)
		zeros += a[i] == 0;
	CHECK(zeros < 30);
}

TEST_MAIN
