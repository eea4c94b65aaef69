/*
 * view_json.c: see view_json.h.
 */
#include "main/view_json.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "proto/postgres/pg_comment.h"

/* Bytes as "text" when they are UTF-8, as "base64" else. */
void view_json_bytes(struct jw *j, struct str s) {
	if (str_utf8_bad(s) == s.n) {
		jw_kv_str(j, "text", s);
		return;
	}
	auto_free char *text = xmalloc(4 * ((s.n + 2) / 3) + 1);
	size_t n = base64_encode(text, s.p, s.n);
	jw_kv_str(j, "base64", str_mem(text, n));
}

/* A string, null, or {"base64": …} for what is no text of a known type. */
void view_json_value(struct jw *j, struct buf *scratch, const struct pg_value *v, uint32_t type,
                     uint16_t format) {
	if (v->is_null) {
		jw_null(j);
		return;
	}
	buf_clear(scratch);
	bool is_known = pg_value_text(scratch, type, format, v->bytes);
	struct str text = buf_peek(scratch);
	if (is_known && !scratch->bad && str_utf8_bad(text) == text.n) {
		jw_str(j, text);
		return;
	}
	scratch->bad = false;
	jw_obj(j);
	auto_free char *raw = xmalloc(4 * ((v->bytes.n + 2) / 3) + 1);
	size_t n = base64_encode(raw, v->bytes.p, v->bytes.n);
	jw_kv_str(j, "base64", str_mem(raw, n));
	jw_obj_end(j);
}

/* Of a value that is cut: what fits, and how long all of it was. */
static void put_cut(struct jw *j, struct buf *scratch, const struct pg_value *v, size_t max) {
	struct str head = str_head(v->bytes, max);
	while (head.n > 0 && max - head.n < 4 && str_utf8_bad(head) < head.n)
		head.n--;
	jw_key(j, "value_head");
	view_json_value(j, scratch, &(struct pg_value){ .bytes = head }, 0, 0);
	jw_kv_u64(j, "value_bytes", v->bytes.n);
}

void view_json_params(struct jw *j, struct buf *scratch, const struct view_command *c, size_t max) {
	struct pg_values values = c->params;
	struct pg_value v;
	if (!c->has_params)
		return;
	jw_key(j, "parameters");
	jw_arr(j);
	for (size_t i = 0; pg_values_next(&values, &v); i++) {
		uint32_t type = i < c->param_types.count ? pg_oid_at(&c->param_types, i) : 0;
		const char *name = pg_type_name(type);
		jw_obj(j);
		if (type != 0)
			jw_kv_u64(j, "type_oid", type);
		if (name != NULL)
			jw_kv_z(j, "type", name);
		if (v.bytes.n > max) {
			put_cut(j, scratch, &v, max);
		} else {
			jw_key(j, "value");
			view_json_value(j, scratch, &v, type, pg_format_at(&c->param_formats, i));
		}
		jw_obj_end(j);
	}
	jw_arr_end(j);
}

void view_json_fields(struct jw *j, struct pg_fields fields) {
	struct pg_field f;
	jw_obj(j);
	while (pg_fields_next(&fields, &f)) {
		char other[] = "field_?";
		const char *key = pg_field_key(f.code);
		other[6] = (char)(f.code >= 0x21 && f.code < 0x7f ? f.code : '?');
		jw_kv_str(j, key != NULL ? key : other, f.value);
	}
	jw_obj_end(j);
}

struct claims {
	struct jw *j;
	bool has_any;
};

static int put_claim(void *arg, struct str key, struct str value) {
	struct claims *k = arg;
	if (!k->has_any) {
		jw_key(k->j, "claimed");
		jw_arr(k->j);
	}
	k->has_any = true;
	jw_obj(k->j);
	jw_kv_str(k->j, "key", key);
	jw_kv_str(k->j, "value", value);
	jw_obj_end(k->j);
	return 0;
}

void view_json_claimed(struct jw *j, const struct view_command *c) {
	struct claims k = { .j = j };
	if (c->has_text)
		(void)pg_comment_each(c->text, put_claim, &k);
	if (k.has_any)
		jw_arr_end(j);
}
