/*
 * shown_fuzz.c: no recorded byte reaches a terminal raw, and JSON stays the document that it was.
 */
#include <jansson.h>

#include "base/json.h"
#include "main/text.h"

static void check_harmless(struct str out, bool is_block) {
	assert(str_utf8_bad(out) == out.n);
	for (size_t i = 0; i < out.n; i++) {
		uint8_t c = (uint8_t)out.p[i];
		assert((c >= 0x20 && c != 0x7f) || (is_block && (c == '\n' || c == '\t')));
		/* C1 controls are C2 80 to C2 9F */
		assert(c != 0xc2 || (uint8_t)out.p[i + 1] >= 0xa0);
	}
	(void)text_width(out);
	assert(text_width(text_fit(out, 7)) <= 7);
}

static void check_table(struct str in) {
	struct buf b;
	size_t columns = 1 + in.n % 9;
	auto_free struct str *heads = xcalloc(columns, sizeof(*heads));
	heads[0] = in;
	struct table *t = table_new_str(heads, columns);
	for (size_t i = 0; i < 3 * columns; i++)
		table_cell(t, str_from(in, i));
	buf_init(&b, 16 * MIB);
	table_print(t, &b, in.n % 100, false);
	table_free(&t);
	buf_fini(&b);
}

static void check_json(struct str in) {
	struct buf raw, out;
	buf_init(&raw, 16 * MIB);
	buf_init(&out, 16 * MIB);
	struct jw j = jw_of(&raw);
	jw_arr(&j);
	jw_str(&j, in);
	jw_arr_end(&j);
	text_json(&out, buf_peek(&raw));
	check_harmless(buf_peek(&out), false);
	json_t *a = json_loadb(buf_peek(&raw).p, raw.len, JSON_ALLOW_NUL, NULL);
	json_t *c = json_loadb(buf_peek(&out).p, out.len, JSON_ALLOW_NUL, NULL);
	assert(a != NULL && c != NULL && json_equal(a, c));
	json_decref(a);
	json_decref(c);
	buf_fini(&raw);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct str in = str_mem(data, MIN(size, 64 * KIB));
	struct buf b;
	buf_init(&b, MIB);
	text_safe(&b, in, TEXT_LINE);
	check_harmless(buf_peek(&b), false);
	buf_clear(&b);
	text_safe(&b, in, TEXT_BLOCK);
	check_harmless(buf_peek(&b), true);
	buf_fini(&b);
	check_table(in);
	check_json(in);
	return 0;
}
