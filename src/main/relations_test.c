/* relations_test.c: facts put together, whatever the target called its relations. */
#include "base/test.h"
#include "main/relations.h"

static struct rec_event fact(const char *name, const char *json) {
	return (struct rec_event){ .type = REC_FACT, .name = str_of(name), .bytes = str_of(json) };
}

static void text_is(const json_t *relation, const char *want) {
	struct buf b;

	buf_init(&b, 4096);
	relation_text(&b, relation);
	CHECK_EQ_STR(buf_peek(&b), str_of(want));
	buf_fini(&b);
}

TEST(relations_in_parts) {
	static const char *const parts[] = {
		"{\"oid\":1,\"schema\":\"s\",\"name\":\"a\",\"kind\":\"table\",\"columns\":[[1,\"x\",\"int\"]],\"more\":true}",
		"{\"oid\":1,\"schema\":\"s\",\"name\":\"a\",\"kind\":\"table\",\"columns\":[[2,\"y\",\"text\"]]}",
		"{\"oid\":1,\"schema\":\"s\",\"name\":\"b\",\"kind\":\"table\",\"columns\":[]}",
		"{\"name\":\"c\",\"found\":false}",
		"{\"oid\":7,\"found\":false}",
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct rec_event e = fact("relation", parts[i]);

		relations_add(list, &e);
	}
	CHECK_EQ_U(json_array_size(list), 4);
	text_is(json_array_get(list, 0), "relation s.a, oid 1, table: x int, y text");
	text_is(json_array_get(list, 1), "relation s.b, oid 1, table");
	text_is(json_array_get(list, 2), "relation c: not found");
	text_is(json_array_get(list, 3), "relation of oid 7: not found");
	json_decref(list);
}

TEST(relations_that_are_none) {
	static const char *const bad[] = { "", "[]", "{", "\"relation\"", "17" };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct rec_event e = fact("relation", bad[i]);

		relations_add(list, &e);
	}
	struct rec_event other = fact("relation.failed", "{}");

	relations_add(list, &other);
	CHECK_EQ_U(json_array_size(list), 0);
	/* a target may say anything: shapes that are not ours, and what would move a terminal */
	struct rec_event odd =
		fact("relation", "{\"oid\":\"x\",\"name\":\"a\\u001b[2Jb\",\"columns\":[1,[2]]}");

	relations_add(list, &odd);
	CHECK_EQ_U(json_array_size(list), 1);
	struct buf b;

	buf_init(&b, 4096);
	relation_text(&b, json_array_get(list, 0));
	CHECK(memchr(buf_peek(&b).p, 0x1b, buf_peek(&b).n) == NULL);
	buf_fini(&b);
	json_decref(list);
}

TEST_MAIN
