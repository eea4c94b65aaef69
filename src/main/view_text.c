/*
 * view_text.c: see view_text.h.
 */
#include "main/view_text.h"

#include "main/text.h"
#include "proto/postgres/pg_comment.h"

void view_text_params(struct buf *out, struct buf *scratch, const struct view_command *c,
                      size_t max) {
	struct pg_values values = c->params;
	struct pg_value v;
	for (size_t i = 0; c->has_params && pg_values_next(&values, &v); i++) {
		uint32_t type = i < c->param_types.count ? pg_oid_at(&c->param_types, i) : 0;
		const char *name = pg_type_name(type);
		w_fmt(out, "  $%zu%s%s = ", i + 1, name != NULL ? " " : "",
		      name != NULL ? name : "");
		buf_clear(scratch);
		if (v.is_null) {
			w_bytes(out, STR("NULL\n"));
			continue;
		}
		(void)pg_value_text(scratch, type, pg_format_at(&c->param_formats, i),
		                    str_head(v.bytes, max));
		w_u8(out, '"');
		text_safe(out, buf_peek(scratch), TEXT_LINE);
		w_u8(out, '"');
		if (v.bytes.n > max)
			w_fmt(out, " … (%zu bytes)", v.bytes.n);
		w_u8(out, '\n');
	}
}

/* "internal position" */
static void put_field_name(struct buf *out, uint8_t code) {
	const char *key = pg_field_key(code);

	for (const char *p = key != NULL ? key : "field"; *p != '\0'; p++)
		w_u8(out, *p == '_' ? ' ' : (uint8_t)*p);
}

/* "! ERROR 22012: division by zero" and every further field. */
void view_text_fields(struct buf *out, struct pg_fields fields) {
	struct pg_fields again = fields;
	struct pg_field f;
	struct str said[3] = { STR_NONE, STR_NONE, STR_NONE };
	while (pg_fields_next(&again, &f)) {
		if (f.code == 'S')
			said[0] = f.value;
		if (f.code == 'C')
			said[1] = f.value;
		if (f.code == 'M')
			said[2] = f.value;
	}
	w_bytes(out, STR("  ! "));
	text_safe(out, said[0], TEXT_LINE);
	w_u8(out, ' ');
	text_safe(out, said[1], TEXT_LINE);
	w_bytes(out, STR(": "));
	text_safe(out, said[2], TEXT_LINE);
	w_u8(out, '\n');
	while (pg_fields_next(&fields, &f)) {
		if (f.code == 'S' || f.code == 'V' || f.code == 'C' || f.code == 'M')
			continue;
		w_bytes(out, STR("  !   "));
		put_field_name(out, f.code);
		w_bytes(out, STR(": "));
		text_safe(out, f.value, TEXT_LINE);
		w_u8(out, '\n');
	}
}

struct claims {
	struct buf *out;
	bool has_any;
};

static int put_claim(void *arg, struct str key, struct str value) {
	struct claims *k = arg;
	w_bytes(k->out, k->has_any ? STR(" ") : STR("  claimed: "));
	k->has_any = true;
	text_safe(k->out, key, TEXT_LINE);
	w_bytes(k->out, STR("=\""));
	text_safe(k->out, value, TEXT_LINE);
	w_u8(k->out, '"');
	return 0;
}

void view_text_claimed(struct buf *out, const struct view_command *c) {
	struct claims k = { .out = out };
	if (c->has_text)
		(void)pg_comment_each(c->text, put_claim, &k);
	if (k.has_any)
		w_u8(out, '\n');
}
