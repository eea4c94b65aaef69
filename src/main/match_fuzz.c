/* match_fuzz.c: any query, any text: a match lies within the text, and a filter of the text has what the
 * query needs. */
#include "catalog/filter.h"
#include "main/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(void *arg, uint64_t hash) {
	filter_set_add(arg, hash);
}

static void try(const struct match *m, struct str text, bool is_sql) {
	uint64_t need[MATCH_HASHES_MAX];
	struct match_place p = { 0 };
	struct filter_set set;
	struct buf bits;

	if (!(is_sql ? match_sql : match_plain)(m, text, &p))
		return;
	assert(p.at <= text.n && p.n <= text.n - p.at);
	filter_set_init(&set);
	buf_init(&bits, FILTER_SIZE_MAX);
	(is_sql ? text_hashes_sql : text_hashes_plain)(text, add, &set);
	filter_encode(&set, &bits);
	size_t count = match_hashes(m, need);

	assert(count <= MATCH_HASHES_MAX);
	for (size_t i = 0; i < count; i++)
		assert(filter_has(buf_peek(&bits), need[i]));
	buf_fini(&bits);
	filter_set_fini(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size < 2)
		return 0;
	struct str all = str_mem(data + 2, size - 2);
	struct str query = str_head(all, data[1]);
	struct str text = str_from(all, data[0] & 0x80 ? 0 : query.n);
	struct match *m = NULL;
	struct err e = { .code = 0 };

	/* Regular expressions are the C library's. */
	if (match_new(&m, data[0] & 1 ? MATCH_EXACT : MATCH_WORDS, query, &e) < 0)
		return 0;
	try(m, text, true);
	try(m, text, false);
	match_free(&m);
	(void)filter_has(text, 12345);
	return 0;
}
