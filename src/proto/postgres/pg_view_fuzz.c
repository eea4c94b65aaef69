/*
 * pg_view_fuzz.c: any record that a worker could have written is read to its end.
 *
 * The input is a list of steps: one byte says what (side, dropped, hole, forwarded…), two how long, then come
 * the bytes. Every value, field and text that the view hands out is read to its last byte.
 */
#include "base/rd.h"
#include "proto/postgres/pg_view.h"

static uint64_t sum;

static void eat(struct str s) {
	for (size_t i = 0; i < s.n; i++)
		sum += (uint8_t)s.p[i];
}

static void eat_values(struct pg_values values, const struct pg_formats *formats,
                       const struct pg_oids *oids) {
	struct buf b;
	struct pg_value v;
	buf_init(&b, MIB);
	for (size_t i = 0; pg_values_next(&values, &v); i++) {
		if (v.is_null)
			continue;
		buf_clear(&b);
		(void)pg_value_text(&b,
		                    oids != NULL && i < oids->count ? pg_oid_at(oids, i)
		                                                    : (uint32_t)sum % 4000,
		                    pg_format_at(formats, i), v.bytes);
		eat(buf_peek(&b));
	}
	buf_fini(&b);
}

static void on_begin(void *arg, const struct view_command *c) {
	(void)arg;
	eat(c->text);
	eat(c->statement);
	eat(c->portal);
	if (c->has_params)
		eat_values(c->params, &c->param_formats, &c->param_types);
}

static void on_columns(void *arg, const struct view_command *c, const struct view_shape *shape) {
	struct pg_row_desc desc = shape->desc;
	struct pg_column column;
	(void)arg;
	(void)c;
	while (pg_row_desc_next(&desc, &column))
		eat(column.name);
}

static void on_row(void *arg, const struct view_command *c, const struct view_shape *shape,
                   struct pg_values values) {
	(void)arg;
	(void)c;
	eat_values(values, &shape->formats, NULL);
}

static void on_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	(void)arg;
	(void)c;
	(void)from_client;
	eat(data);
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	(void)arg;
	(void)c;
	eat(tag);
}

static void eat_fields(struct pg_fields fields) {
	struct pg_field f;
	while (pg_fields_next(&fields, &f))
		eat(f.value);
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	(void)arg;
	(void)c;
	eat_fields(fields);
}

static uint64_t begun, ended;

static void count_begin(void *arg, const struct view_command *c) {
	begun++;
	on_begin(arg, c);
}

static void on_end(void *arg, const struct view_command *c) {
	(void)arg;
	eat(c->text);
	ended++;
	assert(begun == ended); /* commands never interleave, and each begins */
}

static void on_notice(void *arg, const struct view_command *c, struct pg_fields fields,
                      uint64_t now_ns) {
	(void)arg;
	(void)c;
	(void)now_ns;
	eat_fields(fields);
}

static void on_error(void *arg, struct pg_fields fields, uint64_t now_ns) {
	on_notice(arg, NULL, fields, now_ns);
}

static void on_param(void *arg, const struct pg_param *p) {
	(void)arg;
	eat(p->name);
	eat(p->value);
}

static void on_status(void *arg, const struct pg_param *p, uint64_t now_ns) {
	(void)now_ns;
	on_param(arg, p);
}

static void on_notify(void *arg, const struct pg_notify *n, uint64_t now_ns) {
	(void)arg;
	(void)now_ns;
	eat(n->channel);
	eat(n->payload);
}

static void step(struct pg_view *v, uint8_t what, struct str bytes, uint64_t off[2]) {
	bool from_client = (what & 1) != 0;
	uint64_t at = off[from_client] + ((what & 0x70) == 0x70 ? (uint64_t)what - 0x60 : 0);
	switch (what >> 1 & 3) {
	case 0:
	case 1:
		pg_view_bytes(v, &(struct view_bytes){ .from_client = from_client,
		                                       .is_forwarded = (what & 2) == 0,
		                                       .offset = at,
		                                       .bytes = bytes,
		                                       .now_ns = at });
		off[from_client] = at + bytes.n;
		break;
	case 2:
		if ((what & 8) != 0 && !from_client && (what & 0x10) != 0)
			pg_view_kept_out(v, &(struct view_kept_out){ .offset = at,
			                                             .length = bytes.n,
			                                             .rows = what >> 5,
			                                             .now_ns = at });
		else if ((what & 8) != 0)
			pg_view_hidden(v, &(struct view_hidden){ .from_client = from_client,
			                                         .offset = at,
			                                         .length = bytes.n,
			                                         .now_ns = at });
		else
			pg_view_hole(v, from_client, at, bytes.n);
		off[from_client] = at + bytes.n;
		break;
	default:
		pg_view_injected(v, bytes.n);
		pg_view_forwarded(v, off[1], at);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const struct view_handler h = { .begin = count_begin,
		                               .columns = on_columns,
		                               .row = on_row,
		                               .copy = on_copy,
		                               .complete = on_complete,
		                               .failed = on_failed,
		                               .end = on_end,
		                               .notice = on_notice,
		                               .notify = on_notify,
		                               .status = on_status,
		                               .startup = on_param,
		                               .error = on_error };
	struct rd r = rd_of(str_mem(data, size));
	struct pg_view *v = pg_view_new(&h, 12000);
	uint64_t off[2] = { 0, 0 };
	begun = ended = 0;
	while (rd_left(&r) > 3) {
		uint8_t what = rd_u8(&r);
		size_t n = rd_u16(&r);
		step(v, what, rd_bytes(&r, MIN(n, rd_left(&r))), off);
	}
	pg_view_end(v);
	assert(begun == ended);
	pg_view_free(&v);
	return 0;
}
