/*
 * pg_wire_fuzz.c: every parser on any bytes. The first byte chooses; what a parser accepts is then
 * walked to its end by the iterators, which must stay inside the body.
 */
#include "proto/postgres/pg_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that nothing is optimized away */

static void touch(struct str s) {
	for (size_t i = 0; i < s.n; i++)
		sink += (uint8_t)s.p[i];
}

static void walk_values(struct pg_values it) {
	struct pg_value v;
	while (pg_values_next(&it, &v))
		touch(v.bytes);
}

static void walk_formats(const struct pg_formats *f) {
	for (size_t i = 0; i < (size_t)f->count + 1; i++)
		sink += pg_format_at(f, i);
}

static void one_client(uint8_t type, struct str body) {
	struct pg_parse p;
	struct pg_bind b;
	struct pg_named d;
	struct pg_execute e;
	struct pg_function f;
	struct str s, t;
	char verb[PG_VERB_MAX];
	if (type == 0 && pg_parse_parse(&p, body) == 0) {
		touch(p.name);
		for (size_t i = 0; i < p.types.count; i++)
			sink += pg_oid_at(&p.types, i);
		sink += pg_verb(verb, p.text);
	} else if (type == 1 && pg_bind_parse(&b, body) == 0) {
		walk_values(b.params);
		walk_formats(&b.param_formats);
		walk_formats(&b.result_formats);
		if (pg_bind_names(&s, &t, body) != 1 || !str_eq(s, b.portal))
			abort();
	} else if (type == 2 && pg_describe_parse(&d, body) == 0) {
		touch(d.name);
	} else if (type == 3 && pg_execute_parse(&e, body) == 0) {
		touch(e.portal);
	} else if (type == 4 && pg_function_parse(&f, body) == 0) {
		walk_values(f.args);
		walk_formats(&f.arg_formats);
	} else if (type == 5 && pg_copy_fail_parse(&s, body) == 0) {
		touch(s);
	} else if (type == 6 && pg_bind_names(&s, &t, body) == 1) {
		touch(s);
		touch(t);
	}
}

static void one_answer(uint8_t type, struct str body) {
	struct pg_row_desc r;
	struct pg_column c;
	struct pg_values v;
	struct pg_oids o;
	struct pg_tag tag;
	struct pg_fields fields;
	struct pg_field f;
	struct pg_error e;
	struct pg_copy copy;
	if (type == 7 && pg_row_desc_parse(&r, body) == 0) {
		while (pg_row_desc_next(&r, &c))
			touch(c.name);
	} else if (type == 8 && pg_data_row_parse(&v, body) == 0) {
		walk_values(v);
	} else if (type == 9 && pg_param_desc_parse(&o, body) == 0) {
		for (size_t i = 0; i < o.count; i++)
			sink += pg_oid_at(&o, i);
	} else if (type == 10 && pg_tag_parse(&tag, body) == 0) {
		touch(tag.verb);
	} else if (type == 11 && pg_fields_parse(&fields, body) == 0) {
		while (pg_fields_next(&fields, &f))
			touch(f.value);
		if (pg_error_parse(&e, body) != 0)
			abort();
		touch(e.message);
	} else if (type == 12 && pg_copy_parse(&copy, body) == 0) {
		walk_formats(&copy.formats);
	}
}

static void one_setup(uint8_t type, struct str body) {
	struct pg_start s;
	struct pg_params ps;
	struct pg_param p;
	struct pg_cancel c;
	struct pg_negotiate n;
	struct pg_notify a;
	struct pg_value v;
	uint8_t z;
	if (type == 13 && pg_start_parse(&s, body) > 0)
		touch(s.body);
	else if (type == 14 && pg_cancel_parse(&c, body) == 0)
		touch(c.key);
	else if (type == 15 && pg_notify_parse(&a, body) == 0)
		touch(a.payload);
	else if (type == 16 && pg_function_result_parse(&v, body) == 0)
		touch(v.bytes);
	else if (type == 17 && pg_status_parse(&p, body) == 0)
		touch(p.value);
	else if (type == 18 && pg_ready_parse(&z, body) == 0)
		sink += z;
	else if (type == 19 && pg_negotiate_parse(&n, body) == 0)
		for (uint32_t i = 0; i < n.count; i++)
			touch(rd_cstr(&n.options));
	else if (type == 20 && pg_params_parse(&ps, body) == 0)
		while (pg_params_next(&ps, &p))
			touch(p.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0)
		return 0;
	struct str body = str_mem(data + 1, size - 1);
	uint8_t type = data[0] % 22;
	struct pg_msg m;
	one_client(type, body);
	one_answer(type, body);
	one_setup(type, body);
	int64_t used = pg_msg_parse(&m, body);
	if (type == 21 && used > 0) {
		if ((uint64_t)used > body.n || m.body.n + PG_HEAD_SIZE != (size_t)used)
			abort();
		touch(m.body);
	}
	return 0;
}
