/*
 * pg_wire.c: parsers of PostgreSQL messages (pg_wire.h says what they promise).
 *
 * A parser reads like the layout in the manual: sticky reader, one question at the end. Counted
 * lists are walked once by the parser, so that the iterators need no error path; a count that the
 * peer names is never used to ask for memory. Only the heads are three-way, because bodies are
 * parsed when they are whole; pg_bind_names() is the exception, since a Bind may carry a value of
 * hundreds of megabytes behind the two names.
 *
 * Bugs that others had and this file must not: an ErrorResponse without a C field (PgBouncer
 * CVE-2026-6666), length arithmetic that overflows (CVE-2026-6664), portal and statement names
 * swapped in Bind (kviklet #534).
 */
#include "proto/postgres/pg_wire.h"

/* The reader's length field is signed on the wire; anything past 2^31 - 1 is not a length. */
#define LEN_MAX ((uint32_t)0x7fffffff)
#define CONTROL_MAX ((uint64_t)(64 * KIB))
#define BULK_MAX ((uint64_t)LEN_MAX + 1)

struct type_row {
	const char *name;
	uint64_t cap;
};

/* Bulk types may be as long as PostgreSQL itself takes them (1 GiB less a little, the server
 * refuses the rest); control messages have names in them and nothing else. */
static const struct type_row client_types[256] = {
	['B'] = { "Bind", BULK_MAX },         ['C'] = { "Close", CONTROL_MAX },
	['D'] = { "Describe", CONTROL_MAX },  ['E'] = { "Execute", CONTROL_MAX },
	['F'] = { "FunctionCall", BULK_MAX }, ['H'] = { "Flush", CONTROL_MAX },
	['P'] = { "Parse", BULK_MAX },        ['Q'] = { "Query", BULK_MAX },
	['S'] = { "Sync", CONTROL_MAX },      ['X'] = { "Terminate", CONTROL_MAX },
	['c'] = { "CopyDone", CONTROL_MAX },  ['d'] = { "CopyData", BULK_MAX },
	['f'] = { "CopyFail", CONTROL_MAX },  ['p'] = { "PasswordMessage", CONTROL_MAX },
};

static const struct type_row target_types[256] = {
	['1'] = { "ParseComplete", CONTROL_MAX },
	['2'] = { "BindComplete", CONTROL_MAX },
	['3'] = { "CloseComplete", CONTROL_MAX },
	['A'] = { "NotificationResponse", CONTROL_MAX },
	['C'] = { "CommandComplete", CONTROL_MAX },
	['D'] = { "DataRow", BULK_MAX },
	['E'] = { "ErrorResponse", BULK_MAX },
	['G'] = { "CopyInResponse", CONTROL_MAX },
	['H'] = { "CopyOutResponse", CONTROL_MAX },
	['I'] = { "EmptyQueryResponse", CONTROL_MAX },
	['K'] = { "BackendKeyData", CONTROL_MAX },
	['N'] = { "NoticeResponse", BULK_MAX },
	['R'] = { "Authentication", CONTROL_MAX },
	['S'] = { "ParameterStatus", CONTROL_MAX },
	['T'] = { "RowDescription", BULK_MAX },
	['V'] = { "FunctionCallResponse", BULK_MAX },
	['W'] = { "CopyBothResponse", CONTROL_MAX },
	['Z'] = { "ReadyForQuery", CONTROL_MAX },
	['c'] = { "CopyDone", CONTROL_MAX },
	['d'] = { "CopyData", BULK_MAX },
	['n'] = { "NoData", CONTROL_MAX },
	['s'] = { "PortalSuspended", CONTROL_MAX },
	['t'] = { "ParameterDescription", BULK_MAX },
	['v'] = { "NegotiateProtocolVersion", CONTROL_MAX },
};

const char *pg_client_name(uint8_t type) {
	return client_types[type].name;
}

const char *pg_target_name(uint8_t type) {
	return target_types[type].name;
}

uint64_t pg_client_cap(uint8_t type) {
	return client_types[type].cap;
}

uint64_t pg_target_cap(uint8_t type) {
	return target_types[type].cap;
}

/* ---- first packets ---- */

int pg_start_parse(struct pg_start *out, struct str in) {
	if (in.n < 4)
		return 0;
	struct rd r = rd_of(in);
	uint32_t len = rd_be32(&r);
	if (len < PG_START_LEN_MIN || len > PG_START_LEN_MAX)
		return H_EPROTO;
	if (in.n < len)
		return 0;
	out->code = rd_be32(&r);
	out->body = rd_bytes(&r, len - 8);
	return (int)len;
}

int pg_params_parse(struct pg_params *out, struct str body) {
	struct rd r = rd_of(body);
	while (rd_cstr(&r).n > 0 && !r.bad)
		(void)rd_cstr(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		out->rd = rd_of(body);
	return rc;
}

bool pg_params_next(struct pg_params *it, struct pg_param *out) {
	struct str name = rd_cstr(&it->rd);
	if (name.n == 0)
		return false;
	out->name = name;
	out->value = rd_cstr(&it->rd);
	return true;
}

int pg_cancel_parse(struct pg_cancel *out, struct str body) {
	struct rd r = rd_of(body);
	uint32_t pid = rd_be32(&r);
	size_t n = rd_left(&r);
	if (r.bad)
		return H_ETRUNC;
	if (n < 4 || n > 256)
		return H_EFORMAT;
	out->pid = pid;
	out->key = rd_bytes(&r, n);
	return 0;
}

/* ---- heads ---- */

int pg_head_parse(struct pg_head *out, struct str in) {
	if (in.n < PG_HEAD_SIZE)
		return 0;
	struct rd r = rd_of(in);
	uint8_t type = rd_u8(&r);
	uint32_t len = rd_be32(&r);
	if (len < 4 || len > LEN_MAX)
		return H_EPROTO;
	out->type = type;
	out->len = (uint64_t)len + 1;
	return PG_HEAD_SIZE;
}

int64_t pg_msg_parse(struct pg_msg *out, struct str in) {
	struct pg_head h;
	int rc = pg_head_parse(&h, in);
	if (rc <= 0)
		return rc;
	if (in.n < h.len)
		return 0;
	out->type = h.type;
	out->body = str_mem(in.p + PG_HEAD_SIZE, (size_t)h.len - PG_HEAD_SIZE);
	return (int64_t)h.len;
}

/* ---- shared parts ---- */

static struct pg_formats formats_read(struct rd *r) {
	uint16_t count = rd_be16(r);
	return (struct pg_formats){ .count = count, .raw = rd_bytes(r, (size_t)count * 2) };
}

uint16_t pg_format_at(const struct pg_formats *f, size_t idx) {
	if (f->count == 0)
		return 0;
	struct rd r = rd_of(str_from(f->raw, (f->count == 1 ? 0 : idx) * 2));
	return rd_be16(&r);
}

uint32_t pg_oid_at(const struct pg_oids *o, size_t idx) {
	struct rd r = rd_of(str_from(o->raw, idx * 4));
	return rd_be32(&r);
}

/* One value: Int32 length, -1 for NULL, then the bytes. */
static struct pg_value value_read(struct rd *r) {
	uint32_t n = rd_be32(r);
	if (n == UINT32_MAX)
		return (struct pg_value){ .is_null = true };
	if (n > LEN_MAX)
		rd_fail(r);
	return (struct pg_value){ .bytes = rd_bytes(r, n) };
}

/* Walks the list and leaves r behind it; the iterator starts again at its front. */
static struct pg_values values_read(struct rd *r) {
	struct pg_values v = { .count = rd_be16(r) };
	v.rd = *r;
	for (uint16_t i = 0; i < v.count && !r->bad; i++)
		(void)value_read(r);
	return v;
}

bool pg_values_next(struct pg_values *it, struct pg_value *out) {
	if (it->count == 0 || it->rd.bad)
		return false;
	it->count--;
	*out = value_read(&it->rd);
	return true;
}

/* ---- what a client says ---- */

/* A body that is one string. */
static int string_parse(struct str *ret, struct str body) {
	struct rd r = rd_of(body);
	struct str s = rd_cstr(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*ret = s;
	return rc;
}

int pg_query_parse(struct pg_query *out, struct str body) {
	return string_parse(&out->text, body);
}

int pg_parse_parse(struct pg_parse *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_parse p = { .name = rd_cstr(&r), .text = rd_cstr(&r) };
	p.types.count = rd_be16(&r);
	p.types.raw = rd_bytes(&r, (size_t)p.types.count * 4);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = p;
	return rc;
}

int pg_bind_parse(struct pg_bind *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_bind b = { .portal = rd_cstr(&r), .statement = rd_cstr(&r) };
	b.param_formats = formats_read(&r);
	b.params = values_read(&r);
	b.result_formats = formats_read(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = b;
	return rc;
}

int pg_bind_names(struct str *ret_portal, struct str *ret_statement, struct str head) {
	struct rd r = rd_of(head);
	struct str portal = rd_cstr(&r);
	struct str statement = rd_cstr(&r);
	if (r.bad)
		return head.n >= CONTROL_MAX ? H_ELIMIT : 0;
	*ret_portal = portal;
	*ret_statement = statement;
	return 1;
}

int pg_describe_parse(struct pg_named *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_named t = { .kind = rd_u8(&r), .name = rd_cstr(&r) };
	int rc = rd_done(&r);
	if (rc == 0 && t.kind != 'S' && t.kind != 'P')
		rc = H_EFORMAT;
	if (rc == 0)
		*out = t;
	return rc;
}

int pg_execute_parse(struct pg_execute *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_execute e = { .portal = rd_cstr(&r), .rows_max = rd_be32(&r) };
	int rc = rd_done(&r);
	if (rc == 0)
		*out = e;
	return rc;
}

int pg_function_parse(struct pg_function *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_function f = { .oid = rd_be32(&r) };
	f.arg_formats = formats_read(&r);
	f.args = values_read(&r);
	f.result_format = rd_be16(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = f;
	return rc;
}

int pg_copy_fail_parse(struct str *ret_reason, struct str body) {
	return string_parse(ret_reason, body);
}

int pg_password_parse(struct str *ret_password, struct str body) {
	return string_parse(ret_password, body);
}

int pg_sasl_parse(struct pg_sasl *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_sasl s = { .mechanism = rd_cstr(&r) };
	uint32_t n = rd_be32(&r);
	s.is_empty = n == UINT32_MAX;
	if (!s.is_empty)
		s.message = rd_bytes(&r, n);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = s;
	return rc;
}

int pg_empty_parse(struct str body) {
	return body.n == 0 ? 0 : H_EFORMAT;
}

/* ---- what a target says ---- */

static struct pg_column column_read(struct rd *r) {
	struct pg_column c = { .name = rd_cstr(r) };
	c.table_oid = rd_be32(r);
	c.attnum = rd_be16(r);
	c.type_oid = rd_be32(r);
	c.type_len = (int16_t)rd_be16(r);
	c.type_mod = (int32_t)rd_be32(r);
	c.format = rd_be16(r);
	return c;
}

int pg_row_desc_parse(struct pg_row_desc *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_row_desc d = { .count = rd_be16(&r) };
	d.rd = r;
	for (uint16_t i = 0; i < d.count && !r.bad; i++)
		(void)column_read(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = d;
	return rc;
}

bool pg_row_desc_next(struct pg_row_desc *it, struct pg_column *out) {
	if (it->count == 0 || it->rd.bad)
		return false;
	it->count--;
	*out = column_read(&it->rd);
	return true;
}

int pg_data_row_parse(struct pg_values *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_values v = values_read(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = v;
	return rc;
}

int pg_param_desc_parse(struct pg_oids *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_oids o = { .count = rd_be16(&r) };
	o.raw = rd_bytes(&r, (size_t)o.count * 4);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = o;
	return rc;
}

/* The number at the end of a tag ("INSERT 0 5", "SELECT 12", "COPY 3") is the row count; INSERT's
 * first number is a row's OID, always 0 since PostgreSQL 12. Tags without one are words alone. */
int pg_tag_parse(struct pg_tag *out, struct str body) {
	struct pg_tag t = { 0 };
	int rc = string_parse(&t.text, body);
	if (rc < 0)
		return rc;
	t.verb = t.text;
	size_t at = t.text.n;
	while (at > 0 && t.text.p[at - 1] != ' ')
		at--;
	if (at > 0 && str_u64(str_from(t.text, at), UINT64_MAX, &t.rows) == 0) {
		t.has_rows = true;
		t.verb = str_head(t.text, at - 1);
		if (str_starts(t.verb, STR("INSERT ")))
			t.verb = str_head(t.verb, 6);
	}
	*out = t;
	return 0;
}

int pg_fields_parse(struct pg_fields *out, struct str body) {
	struct rd r = rd_of(body);
	while (rd_u8(&r) != 0 && !r.bad)
		(void)rd_cstr(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		out->rd = rd_of(body);
	return rc;
}

const char *pg_field_key(uint8_t code) {
	static const struct {
		char code;
		const char *key;
	} keys[] = {
		{ 'S', "severity_shown" }, { 'V', "severity" },
		{ 'C', "sqlstate" },       { 'M', "message" },
		{ 'D', "detail" },         { 'H', "hint" },
		{ 'P', "position" },       { 'p', "internal_position" },
		{ 'q', "internal_query" }, { 'W', "where" },
		{ 's', "schema" },         { 't', "table" },
		{ 'c', "column" },         { 'd', "data_type" },
		{ 'n', "constraint" },     { 'F', "file" },
		{ 'L', "line" },           { 'R', "routine" },
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (keys[i].code == (char)code)
			return keys[i].key;
	}
	return NULL;
}

bool pg_fields_next(struct pg_fields *it, struct pg_field *out) {
	uint8_t code = rd_u8(&it->rd);
	if (code == 0)
		return false;
	out->code = code;
	out->value = rd_cstr(&it->rd);
	return true;
}

static struct str *error_field(struct pg_error *e, uint8_t code) {
	switch (code) {
	case 'V':
		return &e->severity;
	case 'C':
		return &e->sqlstate;
	case 'M':
		return &e->message;
	case 'D':
		return &e->detail;
	case 'H':
		return &e->hint;
	case 'P':
		return &e->position;
	case 'W':
		return &e->where;
	case 's':
		return &e->schema;
	case 't':
		return &e->table;
	case 'c':
		return &e->column;
	case 'd':
		return &e->type;
	case 'n':
		return &e->constraint;
	default:
		return NULL; /* new fields are legal: "clients should ignore unknown ones" */
	}
}

int pg_error_parse(struct pg_error *out, struct str body) {
	struct pg_fields it;
	int rc = pg_fields_parse(&it, body);
	if (rc < 0)
		return rc;
	struct pg_error e = { 0 };
	struct pg_field f;
	while (pg_fields_next(&it, &f)) {
		struct str *to = f.code == 'S' && e.severity.p == NULL ? &e.severity
		                                                       : error_field(&e, f.code);
		if (to != NULL)
			*to = f.value;
	}
	*out = e;
	return 0;
}

int pg_notify_parse(struct pg_notify *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_notify n = { .pid = rd_be32(&r), .channel = rd_cstr(&r), .payload = rd_cstr(&r) };
	int rc = rd_done(&r);
	if (rc == 0)
		*out = n;
	return rc;
}

int pg_status_parse(struct pg_param *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_param p = { .name = rd_cstr(&r), .value = rd_cstr(&r) };
	int rc = rd_done(&r);
	if (rc == 0)
		*out = p;
	return rc;
}

int pg_ready_parse(uint8_t *ret_state, struct str body) {
	struct rd r = rd_of(body);
	uint8_t state = rd_u8(&r);
	int rc = rd_done(&r);
	if (rc == 0 && state != 'I' && state != 'T' && state != 'E')
		rc = H_EFORMAT;
	if (rc == 0)
		*ret_state = state;
	return rc;
}

int pg_copy_parse(struct pg_copy *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_copy c = { .is_binary = rd_u8(&r) != 0 };
	c.formats = formats_read(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = c;
	return rc;
}

int pg_function_result_parse(struct pg_value *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_value v = value_read(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = v;
	return rc;
}

int pg_key_parse(struct pg_key *out, struct str body) {
	struct pg_cancel c;
	int rc = pg_cancel_parse(&c, body); /* the same two members, the same limits */
	if (rc == 0)
		*out = (struct pg_key){ .pid = c.pid, .key = c.key };
	return rc;
}

int pg_auth_parse(struct pg_auth *out, struct str body) {
	struct rd r = rd_of(body);
	uint32_t code = rd_be32(&r);
	if (r.bad)
		return H_ETRUNC;
	out->code = code;
	out->data = rd_bytes(&r, rd_left(&r));
	return 0;
}

int pg_negotiate_parse(struct pg_negotiate *out, struct str body) {
	struct rd r = rd_of(body);
	struct pg_negotiate n = { .version = rd_be32(&r), .count = rd_be32(&r) };
	n.options = r;
	for (uint32_t i = 0; i < n.count && !r.bad; i++)
		(void)rd_cstr(&r);
	int rc = rd_done(&r);
	if (rc == 0)
		*out = n;
	return rc;
}
