/* identity_test.c: tokens refuse every typing mistake; identities keep what was written. */
#include "base/test.h"
#include "identity/token.h"
#include "identity/who.h"

TEST(token_typos) {
	char token[TOKEN_SIZE], other[TOKEN_SIZE];
	uint8_t hash[SHA256_SIZE], twin[SHA256_SIZE];

	token_make(token);
	token_make(other);
	CHECK_EQ_U(strlen(token), TOKEN_LEN);
	CHECK(TOKEN_LEN <= 64);
	CHECK(strcmp(token, other) != 0);
	CHECK_EQ_I(token_hash(hash, str_of(token)), 0);
	sha256(twin, str_of(token));
	CHECK(memcmp(hash, twin, SHA256_SIZE) == 0);
	for (size_t i = 0; i < TOKEN_LEN; i++) {
		for (const char *c = "0123456789abcdefghijklmnopqrstuvwxyz_A "; *c != '\0'; c++) {
			char bad[TOKEN_SIZE];

			memcpy(bad, token, sizeof(bad));
			if (bad[i] == *c)
				continue;
			bad[i] = *c;
			CHECK_EQ_I(token_hash(hash, str_of(bad)), H_EFORMAT);
		}
	}
	for (size_t i = 6; i + 1 < TOKEN_LEN; i++) {
		char bad[TOKEN_SIZE];

		memcpy(bad, token, sizeof(bad));
		bad[i] = token[i + 1];
		bad[i + 1] = token[i];
		if (strcmp(bad, token) != 0)
			CHECK_EQ_I(token_hash(hash, str_of(bad)), H_EFORMAT);
	}
	CHECK_EQ_I(token_hash(hash, str_head(str_of(token), TOKEN_LEN - 1)), H_EFORMAT);
	CHECK_EQ_I(token_hash(hash, STR_NONE), H_EFORMAT);
}

TEST(who_round_trip) {
	struct arena *a = arena_new(64 * KIB);
	struct err e = { 0 };
	struct buf b;
	struct who w;
	struct str text = STR(
		"{\"subject\":\"local:ci\",\"kind\":\"agent\",\"groups\":[\"agents\",\"x\"],"
		"\"on_behalf_of\":\"ann@example.com\",\"run\":\"r1\",\"connection\":\"shop\","
		"\"context\":{\"task\":\"T-1\"}}");

	buf_init(&b, 65536);
	CHECK_EQ_I(who_parse(&w, a, text, &e), 0);
	CHECK(w.on_behalf_of_verified && !w.context_verified);
	CHECK(who_in_group(&w, STR("agents")) && !who_in_group(&w, STR("agent")));
	who_put(&b, &w);
	CHECK_EQ_STR(buf_peek(&b), text);
	buf_fini(&b);
	arena_free(&a);
}

TEST(who_refuses) {
	static const char *const bad[] = {
		"",
		"[]",
		"{",
		"{}",
		"{\"subject\":\"a\"}",
		"{\"kind\":\"agent\"}",
		"{\"subject\":\"a\",\"kind\":\"robot\"}",
		"{\"subject\":\"a\",\"kind\":\"agent\",\"admin\":true}",
		"{\"subject\":\"a\\u001b[2J\",\"kind\":\"agent\"}",
		"{\"subject\":\"a\",\"subject\":\"b\",\"kind\":\"agent\"}",
		"{\"subject\":\"\",\"kind\":\"agent\"}",
		"{\"subject\":\"a\",\"kind\":\"agent\",\"groups\":\"x\"}",
		"{\"subject\":\"a\",\"kind\":\"agent\",\"groups\":[1]}",
		"{\"subject\":\"a\",\"kind\":\"agent\",\"context\":{\"k\":1}}",
		"{\"subject\":\"a\",\"kind\":\"agent\",\"run\":null}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct arena *a = arena_new(64 * KIB);
		struct err e = { 0 };
		struct who w;

		if (!CHECK(who_parse(&w, a, str_of(bad[i]), &e) < 0 && e.text[0] != '\0'))
			test_note("%s", bad[i]);
		arena_free(&a);
	}
}

TEST_MAIN
