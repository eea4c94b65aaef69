/* said.c: see said.h. */
#include "main/said.h"

void said_scratch(struct buf *b) {
	buf_init(b, 4 * (size_t)SAID_VALUE_MAX);
}

int said_each(const struct view_command *c, struct buf *scratch, said_fn *fn, void *arg) {
	struct pg_values values = c->params;
	struct pg_value v;
	int rc = c->has_text ? fn(arg, 0, c->text) : 0;

	for (size_t i = 0; rc == 0 && c->has_params && pg_values_next(&values, &v); i++) {
		uint32_t type = i < c->param_types.count ? pg_oid_at(&c->param_types, i) : 0;

		if (v.is_null)
			continue;
		buf_clear(scratch);
		(void)pg_value_text(scratch, type, pg_format_at(&c->param_formats, i),
		                    str_head(v.bytes, SAID_VALUE_MAX));
		scratch->bad = false; /* what fitted is searched */
		rc = fn(arg, i + 1, buf_peek(scratch));
	}
	return rc;
}
