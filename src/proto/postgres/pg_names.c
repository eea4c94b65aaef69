/*
 * pg_names.c: what relations were called when the session first spoke of them.
 *
 * An OID, and a name in a statement, mean something else tomorrow. So at first sight of a relation,
 * by its OID in a RowDescription or by a word in a statement (policy/sql_names.h), a fact `relation`
 * freezes OID, schema, name, kind and columns. The gateway asks for it in the session itself: only there
 * do search_path, temporary tables and rights mean what they meant to the client.
 *
 *   Z 'I', nothing in flight ──▶ Close Parse Bind Execute Close Close Sync ──▶ … ──▶ Z: on goes the client
 *
 * It must not be noticed. It is asked between transactions only (inside one its snapshot and locks would
 * be the client's), in the extended protocol with a statement and a portal of a name of its own (the unnamed
 * ones are the client's), from the catalogs alone (no lock on a relation, no right needed), with
 * every function, operator and type qualified (a search_path may lead elsewhere). While it runs
 * the client's next message waits. Its answers are dropped; what the target says besides, notifications,
 * parameters, warnings, FATAL errors, passes. In a transaction it waits for the end: what is gone by then
 * is recorded as not found.
 *
 * A look-up that fails is a fact (`relation.failed`); after the third there are no more. One that takes
 * longer than two seconds counts as failed: the client goes on, and the answers are dropped when
 * they come, which is before those of the client. A cancel that comes while only the look-up runs is not
 * forwarded, since nothing of the client's is in flight.
 *
 * Bounds: 64 relations per look-up, 1000 per session, then a fact `relation.limit`. Hashes of what was seen,
 * 16 KiB at most, tell what is new. DDL and a change of search_path clear them: columns or meanings may
 * be others from then on.
 *
 * Cost: one round trip for a session's first statement on new relations, none after it.
 */
#include "policy/sql_names.h"
#include "proto/postgres/pg_priv.h"

#define LOOK_TIMEOUT (2 * NS_PER_S)
#define LOOK_NAME STR("hansard_names")
enum {
	FIRST_OID = 16384, /* what initdb made is below: names without columns */
	TEXT_ARRAY = 1009,
	OID_ARRAY = 1028,
	SEEN_FIRST = 64,
	PENDING_MAX = 2560, /* bytes of names */
	ASK_MAX = 32 * 1024,
	FACT_MAX = 4096,
	FACT_FULL = 3300, /* with one more column it is not longer than FACT_MAX */
	FAILURES_MAX = 3,
	RELATIONS_MAX = 1000,
};

static const char look_sql[] =
	"SELECT k.i, k.o, c.oid, n.nspname, c.relname, c.relkind, a.attnum, a.attname, "
	"pg_catalog.format_type(a.atttypid, a.atttypmod) FROM ("
	"SELECT u.i, r.oid AS o FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) "
	"WITH ORDINALITY AS u(s, t, i) LEFT JOIN pg_catalog.pg_class AS r "
	"ON r.relname OPERATOR(pg_catalog.=) u.t::pg_catalog.name AND CASE "
	"WHEN u.s OPERATOR(pg_catalog.=) ''::pg_catalog.text "
	"THEN pg_catalog.pg_table_is_visible(r.oid) "
	"WHEN u.s OPERATOR(pg_catalog.=) 'pg_temp'::pg_catalog.text "
	"THEN r.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() "
	"ELSE r.relnamespace OPERATOR(pg_catalog.=) (SELECT s.oid FROM pg_catalog.pg_namespace AS s "
	"WHERE s.nspname OPERATOR(pg_catalog.=) u.s::pg_catalog.name) END "
	"UNION ALL SELECT 0::pg_catalog.int8, v.o FROM pg_catalog.unnest($3) AS v(o)) AS k "
	"LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) k.o "
	"LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) c.oid "
	"AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped "
	"AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid ORDER BY 1, 2, 7";

void pg_names_init(struct pg_core *c) {
	buf_init(&c->look.names, PENDING_MAX);
	buf_init(&c->look.fact, FACT_MAX);
}

void pg_names_fini(struct pg_core *c) {
	buf_fini(&c->look.names);
	buf_fini(&c->look.fact);
	free(c->look.seen);
}

/* ---- what was seen ---- */

static uint64_t *seen_slot(const struct pg_look *l, uint64_t key) {
	uint64_t *p = &l->seen[key & (l->seen_cap - 1)];
	while (*p != 0 && *p != key)
		p = p + 1 == l->seen + l->seen_cap ? l->seen : p + 1;
	return p;
}

static void seen_grow(struct pg_look *l) {
	struct pg_look old = *l;
	l->seen_cap = old.seen_cap == 0 ? SEEN_FIRST : old.seen_cap * 2;
	l->seen = xcalloc(l->seen_cap, sizeof(*l->seen));
	for (uint32_t i = 0; i < old.seen_cap; i++)
		if (old.seen[i] != 0)
			*seen_slot(l, old.seen[i]) = old.seen[i];
	free(old.seen);
}

static void full(struct pg_core *c) {
	if (!c->look.is_full)
		pg_fact(c, STR("relation.limit"),
		        STR("as many relations as a session may have named were: no more are"));
	c->look.is_full = true;
}

/* True when the key is new; it is known from now on. */
static bool see(struct pg_core *c, uint8_t kind, struct str a, struct str b) {
	struct pg_look *l = &c->look;
	uint8_t raw[1 + 2 * (SQL_NAME_MAX + 1) + sizeof(uint32_t)] = { kind };
	size_t n = 1 + MIN(a.n, (size_t)SQL_NAME_MAX + 1);

	if (l->seen_count * 4 >= l->seen_cap * 3) {
		if (l->seen_cap >= PG_SEEN_MAX) {
			full(c);
			return false;
		}
		seen_grow(l);
	}
	memcpy(raw + 1, a.n > 0 ? a.p : "", n - 1);
	raw[n++] = 0;
	b = str_head(b, sizeof(raw) - n);
	memcpy(raw + n, b.n > 0 ? b.p : "", b.n);
	uint64_t key = map_hash(str_mem(raw, n + b.n));
	uint64_t *p = seen_slot(l, key != 0 ? key : 1);
	if (*p != 0)
		return false;
	*p = key != 0 ? key : 1;
	l->seen_count++;
	return true;
}

static struct str oid_str(const uint32_t *oid) {
	return str_mem(oid, sizeof(*oid));
}

void pg_names_forget(struct pg_core *c) {
	if (c->look.seen != NULL)
		memset(c->look.seen, 0, c->look.seen_cap * sizeof(*c->look.seen));
	c->look.seen_count = 0;
}

/* ---- what is to be asked ---- */

static bool is_asking_useful(const struct pg_core *c) {
	return c->look.is_on && !c->look.is_full && c->look.failures < FAILURES_MAX;
}

static void on_name(void *arg, struct str schema, struct str name) {
	struct pg_core *c = arg;
	struct pg_look *l = &c->look;

	if (str_is(schema, "pg_catalog") || str_is(schema, "information_schema"))
		return;
	if (l->name_count == PG_LOOK_MAX || l->names.len + schema.n + name.n + 2 > PENDING_MAX)
		return; /* at its next sight */
	if (!see(c, 'n', schema, name))
		return;
	w_u8(&l->names, (uint8_t)schema.n);
	w_bytes(&l->names, schema);
	w_u8(&l->names, (uint8_t)name.n);
	w_bytes(&l->names, name);
	l->name_count++;
}

void pg_names_text(struct pg_core *c, struct str text) {
	if (is_asking_useful(c) && sql_names_find(text, on_name, c))
		pg_names_forget(c);
}

void pg_names_columns(struct pg_core *c, struct str body) {
	struct pg_row_desc d;
	struct pg_column col;
	uint32_t last = 0;

	if (!is_asking_useful(c) || pg_row_desc_parse(&d, body) != 0)
		return;
	while (pg_row_desc_next(&d, &col)) {
		if (col.table_oid < FIRST_OID || col.table_oid == last)
			continue;
		last = col.table_oid;
		if (c->look.oid_count < PG_LOOK_MAX && see(c, 'o', oid_str(&last), STR_NONE))
			c->look.oids[c->look.oid_count++] = last;
	}
}

bool pg_names_due(const struct pg_core *c) {
	const struct pg_look *l = &c->look;

	return (l->name_count > 0 || l->oid_count > 0) && l->state == PG_LOOK_IDLE &&
	       l->failures < FAILURES_MAX && pg_is_idle(c) && c->swallowed == 0 &&
	       c->cancel == PG_CANCEL_NONE && !c->has_client_ended && !c->is_draining;
}

bool pg_names_hold(const struct pg_core *c) {
	return c->look.state != PG_LOOK_IDLE && !c->look.is_overdue;
}

/* ---- asking ---- */

static void put_quoted(struct buf *b, struct str s) {
	w_u8(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			w_u8(b, '\\');
		w_u8(b, (uint8_t)s.p[i]);
	}
	w_u8(b, '"');
}

/* One array of the names: of their schemas or of themselves. */
static void put_names(const struct pg_look *l, struct buf *b, bool is_schema) {
	struct rd r = rd_of(buf_peek(&l->names));
	size_t at = b->len;

	w_be32(b, 0);
	w_u8(b, '{');
	for (uint32_t i = 0; i < l->name_count; i++) {
		struct str schema = rd_bytes(&r, rd_u8(&r));
		struct str name = rd_bytes(&r, rd_u8(&r));

		if (i > 0)
			w_u8(b, ',');
		put_quoted(b, is_schema ? schema : name);
	}
	w_u8(b, '}');
	w_patch_be32(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
}

static void put_oids(const struct pg_look *l, struct buf *b) {
	size_t at = b->len;

	w_be32(b, 0);
	w_u8(b, '{');
	for (uint32_t i = 0; i < l->oid_count; i++)
		w_fmt(b, "%s%u", i > 0 ? "," : "", l->oids[i]);
	w_u8(b, '}');
	w_patch_be32(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
}

static void put_close(struct buf *b, uint8_t kind) {
	size_t mark = pg_w_begin(b, 'C');

	w_u8(b, kind);
	w_cstr(b, LOOK_NAME);
	pg_w_end(b, mark);
}

static void put_parse_bind(const struct pg_look *l, struct buf *b) {
	size_t mark = pg_w_begin(b, 'P');

	w_cstr(b, LOOK_NAME);
	w_cstr(b, str_of(look_sql));
	w_be16(b, 3);
	w_be32(b, TEXT_ARRAY);
	w_be32(b, TEXT_ARRAY);
	w_be32(b, OID_ARRAY);
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'B');
	w_cstr(b, LOOK_NAME);
	w_cstr(b, LOOK_NAME);
	w_be16(b, 0);
	w_be16(b, 3);
	put_names(l, b, true);
	put_names(l, b, false);
	put_oids(l, b);
	w_be16(b, 0);
	pg_w_end(b, mark);
}

static void ask(struct pg_core *c, bool closes_only) {
	struct buf b;

	buf_init(&b, ASK_MAX);
	if (!closes_only) {
		put_parse_bind(&c->look, &b);
		size_t mark = pg_w_begin(&b, 'E');
		w_cstr(&b, LOOK_NAME);
		w_be32(&b, 0);
		pg_w_end(&b, mark);
		put_close(&b, 'P');
	}
	put_close(&b, 'S');
	pg_w_empty(&b, 'S');
	assert(w_done(&b) == 0); /* 64 names of 2.5 KiB, escaped */
	pg_send(c, SIDE_TARGET, buf_peek(&b), WHY_LOOKUP);
	buf_fini(&b);
}

void pg_names_start(struct pg_core *c) {
	struct pg_look *l = &c->look;

	l->state = PG_LOOK_ASKED;
	l->is_overdue = false;
	l->is_prepared = false;
	l->has_failed = false;
	l->oid = 0;
	l->asked_names = l->name_count;
	l->asked_oids = l->oid_count;
	l->asked_bytes = l->names.len;
	ask(c, false);
	pg_timer(c, c->now_ns + LOOK_TIMEOUT);
}

/* ---- facts ---- */

static const char *kind_name(struct str relkind) {
	static const struct {
		char kind;
		const char *name;
	} rows[] = { { 'r', "table" },
		     { 'v', "view" },
		     { 'm', "materialized view" },
		     { 'p', "partitioned table" },
		     { 'f', "foreign table" },
		     { 'S', "sequence" },
		     { 'i', "index" },
		     { 'I', "partitioned index" },
		     { 't', "toast table" },
		     { 'c', "composite type" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (relkind.n == 1 && relkind.p[0] == rows[i].kind)
			return rows[i].name;
	return "other";
}

/* One row of the answer. */
struct row {
	uint64_t i, asked_oid, oid, attnum;
	bool is_found, has_column;
	struct str schema, name, kind, column, type;
};

static bool row_number(struct pg_values *it, uint64_t *ret, bool *ret_is_there) {
	struct pg_value v;

	if (!pg_values_next(it, &v))
		return false;
	*ret_is_there = !v.is_null;
	*ret = 0;
	return v.is_null || str_u64(v.bytes, UINT32_MAX, ret) == 0;
}

static bool row_text(struct pg_values *it, struct str *ret, size_t max) {
	struct pg_value v;

	if (!pg_values_next(it, &v))
		return false;
	*ret = v.is_null ? STR_NONE : str_head(v.bytes, max);
	return true;
}

static bool row_parse(struct row *r, struct str body) {
	struct pg_values it;
	bool is_there;

	return pg_data_row_parse(&it, body) == 0 && it.count == 9 &&
	       row_number(&it, &r->i, &is_there) && row_number(&it, &r->asked_oid, &is_there) &&
	       row_number(&it, &r->oid, &r->is_found) && row_text(&it, &r->schema, SQL_NAME_MAX) &&
	       row_text(&it, &r->name, SQL_NAME_MAX) && row_text(&it, &r->kind, 1) &&
	       row_number(&it, &r->attnum, &r->has_column) &&
	       row_text(&it, &r->column, SQL_NAME_MAX) &&
	       row_text(&it, &r->type, 3 * (size_t)SQL_NAME_MAX);
}

static void fact_begin(struct pg_core *c, const struct row *r) {
	struct pg_look *l = &c->look;

	buf_clear(&l->fact);
	l->json = jw_of(&l->fact);
	jw_obj(&l->json);
	jw_kv_u64(&l->json, "oid", r->oid);
	jw_kv_str(&l->json, "schema", r->schema);
	jw_kv_str(&l->json, "name", r->name);
	jw_kv_z(&l->json, "kind", kind_name(r->kind));
	jw_key(&l->json, "columns");
	jw_arr(&l->json);
}

static void fact_end(struct pg_core *c, bool has_more) {
	struct pg_look *l = &c->look;

	if (l->fact.len == 0)
		return;
	jw_arr_end(&l->json);
	if (has_more)
		jw_kv_bool(&l->json, "more", true);
	jw_obj_end(&l->json);
	if (w_done(&l->fact) == 0)
		pg_fact(c, STR("relation"), buf_peek(&l->fact));
	buf_clear(&l->fact);
}

static void fact_column(struct pg_core *c, const struct row *r) {
	struct pg_look *l = &c->look;

	if (l->fact.len == 0 || !r->has_column)
		return;
	/* at worst each byte is written as six */
	if (l->fact.len + 6 * (r->column.n + r->type.n) + 64 > FACT_FULL) {
		fact_end(c, true);
		fact_begin(c, r);
	}
	jw_arr(&l->json);
	jw_u64(&l->json, r->attnum);
	jw_str(&l->json, r->column);
	jw_str(&l->json, r->type);
	jw_arr_end(&l->json);
}

static void fact_missing(struct pg_core *c, const struct row *r) {
	struct rd all = rd_of(buf_peek(&c->look.names));
	struct str schema = STR_NONE, name = STR_NONE;
	struct buf b;

	for (uint64_t i = 0; i < r->i && i < c->look.asked_names; i++) {
		schema = rd_bytes(&all, rd_u8(&all));
		name = rd_bytes(&all, rd_u8(&all));
	}
	buf_init(&b, FACT_MAX);
	struct jw j = jw_of(&b);
	jw_obj(&j);
	if (r->i == 0)
		jw_kv_u64(&j, "oid", r->asked_oid);
	if (schema.n > 0)
		jw_kv_str(&j, "schema", schema);
	if (r->i != 0)
		jw_kv_str(&j, "name", name);
	jw_kv_bool(&j, "found", false);
	jw_obj_end(&j);
	if (w_done(&b) == 0)
		pg_fact(c, STR("relation"), buf_peek(&b));
	buf_fini(&b);
}

/* The first row of a relation: a fact begins, unless it is frozen already under that name. */
static void relation_begin(struct pg_core *c, const struct row *r) {
	struct pg_look *l = &c->look;
	uint32_t oid = (uint32_t)r->oid;
	uint8_t raw[SQL_NAME_MAX + 1 + sizeof(oid)];
	size_t n = r->schema.n;

	l->oid = oid;
	memcpy(raw, n > 0 ? r->schema.p : "", n);
	memcpy(raw + n, &oid, sizeof(oid));
	if (!see(c, 'r', str_mem(raw, n + sizeof(oid)), r->name))
		return;
	if (l->told++ >= RELATIONS_MAX)
		full(c);
	else
		fact_begin(c, r);
	if (oid >= FIRST_OID)
		(void)see(c, 'o', oid_str(&oid), STR_NONE);
}

static void take_row(struct pg_core *c, struct str body) {
	struct row r;

	if (!row_parse(&r, body)) {
		c->look.has_failed = true;
		return;
	}
	if (!r.is_found) {
		fact_end(c, false);
		c->look.oid = 0;
		fact_missing(c, &r);
		return;
	}
	if (r.oid != c->look.oid || r.i != c->look.i) {
		fact_end(c, false);
		relation_begin(c, &r);
		c->look.i = r.i;
	}
	fact_column(c, &r);
}

/* ---- answers ---- */

static void failed(struct pg_core *c, struct str why) {
	struct buf b;

	buf_init(&b, FACT_MAX);
	if (++c->look.failures < FAILURES_MAX)
		w_fmt(&b, "%.*s", STR_ARG(str_head(why, 512)));
	else
		w_fmt(&b, "%.*s; there will be no more look-ups", STR_ARG(str_head(why, 512)));
	pg_fact(c, STR("relation.failed"), buf_peek(&b));
	buf_fini(&b);
}

static void done(struct pg_core *c) {
	struct pg_look *l = &c->look;

	fact_end(c, false);
	/* one of that name that was not made here is the client's */
	if (l->state == PG_LOOK_ASKED && l->has_failed && l->is_prepared) {
		l->state = PG_LOOK_CLOSING;
		ask(c, true);
		return;
	}
	l->state = PG_LOOK_IDLE;
	/* more may have been seen since, when the client went on */
	l->name_count -= l->asked_names;
	l->oid_count -= l->asked_oids;
	memmove(l->oids, l->oids + l->asked_oids, l->oid_count * sizeof(l->oids[0]));
	buf_consume(&l->names, l->asked_bytes);
	buf_trim(&l->names, true);
	buf_trim(&l->fact, true);
	if (!l->is_overdue)
		pg_timer(c, 0);
	l->is_overdue = false;
}

/* Severity and message: what the target says to the look-up, and what it says to the session. */
static bool is_for_client(const struct pg_in *in) {
	struct pg_error e;

	if (pg_error_parse(&e, in->body) < 0)
		return true;
	if (in->type == 'E')
		return str_is(e.severity, "FATAL") || str_is(e.severity, "PANIC");
	return str_is(e.severity, "WARNING");
}

static void take_error(struct pg_core *c, const struct pg_in *in) {
	struct pg_error e;

	c->look.has_failed = true;
	if (pg_error_parse(&e, in->body) == 0 && !c->look.is_overdue)
		failed(c, e.sqlstate);
}

int pg_names_take(struct pg_core *c, const struct pg_in *in) {
	uint8_t state;

	if (in->type == 'A' || in->type == 'S')
		return PG_PASS;
	if (in->body.n + PG_HEAD_SIZE < in->len)
		return pg_target_broke(c, "an answer to the gateway's look-up is too long");
	if ((in->type == 'E' || in->type == 'N') && is_for_client(in))
		return PG_PASS;
	if (memchr("12D3CENZ", in->type, 8) == NULL)
		return pg_target_broke(c, "an answer to the gateway's look-up is of a wrong type");
	if (in->type == 'Z' && (pg_ready_parse(&state, in->body) < 0 || state != 'I'))
		return pg_target_broke(c, "malformed ReadyForQuery");
	pg_run_flush(c);
	pg_skip(c, SIDE_TARGET, in->len, WHY_LOOKUP);
	/* what is done now may send: the run has to say where it stands */
	if (in->type == '1')
		c->look.is_prepared = true;
	else if (in->type == 'D' && c->look.state == PG_LOOK_ASKED)
		take_row(c, in->body);
	else if (in->type == 'E')
		take_error(c, in);
	else if (in->type == 'Z')
		done(c);
	return PG_TAKEN;
}

void pg_names_overdue(struct pg_core *c) {
	c->look.is_overdue = true;
	failed(c, STR("no answer within 2 s"));
}
