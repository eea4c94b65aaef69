/*
 * sql_fuzz.c: any bytes as an SQL text. The tokens put together are the text, so are the
 * statements; secrets are in order, apart and inside; the normal form stays within four times the
 * text.
 */
#include "base/base.h"
#include "policy/sql_lex.h"
#include "policy/sql_names.h"
#include "policy/sql_norm.h"
#include "policy/sql_secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tokens(struct str text, enum sql_strings strings) {
	struct sql_lex l = sql_lex_of(text, strings);
	struct sql_token t;
	struct str rest = text, one;
	size_t n = 0;

	while (sql_next(&l, &t)) {
		assert(t.text.p == text.p + n && t.text.n > 0);
		assert(t.inner.n == 0 ||
		       (t.inner.p > t.text.p && t.inner.p + t.inner.n <= t.text.p + t.text.n));
		n += t.text.n;
		assert(!t.is_open || n == text.n);
	}
	assert(n == text.n);
	for (n = 0; sql_split(&rest, strings, &one); n += one.n)
		assert(one.n > 0 && one.p == text.p + n);
	assert(n == text.n);
}

static void check_spans(const struct sql_secrets *s, struct str text) {
	size_t end = 0;

	for (size_t i = 0; i < s->count; i++) {
		assert(s->spans[i].n > 0 && s->spans[i].at >= end + (i > 0));
		end = s->spans[i].at + s->spans[i].n;
	}
	assert(end <= text.n);
}

static void on_name(void *arg, struct str schema, struct str name) {
	(void)arg;
	assert(name.n > 0 && name.n <= SQL_NAME_MAX && schema.n <= SQL_NAME_MAX);
}

static void on_word(void *arg, struct str word) {
	size_t *bytes = arg;

	assert(word.n > 0 && word.n <= SQL_WORD_MAX);
	*bytes += word.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct str text = str_mem(data, size);
	struct sql_secrets s;
	struct buf b;
	size_t bytes = 0;

	check_tokens(text, SQL_STRICT);
	check_tokens(text, SQL_BACKSLASH);
	sql_secrets_find(&s, text);
	check_spans(&s, text);
	sql_secrets_find_quoted(&s, text);
	check_spans(&s, text);
	sql_secrets_find_shapes(&s, text);
	check_spans(&s, text);
	buf_init(&b, 4 * size + 64);
	assert(sql_norm(text, &b) == 0);
	buf_fini(&b);
	(void)sql_names_find(text, on_name, &bytes);
	bytes = 0;
	sql_words(text, on_word, &bytes);
	assert(bytes <= size);
	return 0;
}
