/*
 * pg_comment_fuzz.c: any text; pairs are never longer than the comment may be.
 */
#include "base/mem.h"
#include "proto/postgres/pg_comment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look(void *arg, struct str key, struct str value) {
	size_t *count = arg;
	assert(key.n > 0 && key.n <= PG_COMMENT_MAX && value.n <= PG_COMMENT_MAX);
	assert(++*count <= PG_COMMENT_PAIRS_MAX);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	size_t count = 0;
	(void)pg_comment_each(str_mem((const char *)data, size), look, &count);
	return 0;
}
