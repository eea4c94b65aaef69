/*
 * admit.c: ADMIT and GRANT (admit.h). Writer and reader of each stand side by side; both are pure.
 *
 * The reader judges form only (enums inside their range, key and id of their length); what the
 * names mean is the keeper's business.
 */
#include "session/admit.h"

void admit_put(struct buf *b, const struct admit_msg *m) {
	w_u16(b, m->ring);
	w_u32(b, m->slot);
	w_u32(b, m->generation);
	w_vstr(b, m->protocol);
	w_vstr(b, m->admit.connection);
	w_vstr(b, m->admit.role);
	w_vstr(b, m->admit.database);
	w_vstr(b, m->admit.hint);
	w_u8(b, (uint8_t)m->admit.proof_kind);
	w_vstr(b, m->admit.proof);
	w_u64(b, m->exchange);
	w_vstr(b, m->admit.client_app);
	w_u8(b, (uint8_t)m->admit.routed_by);
	w_u8(b, m->admit.is_role_optional);
	w_u8(b, m->admit.wants_replication);
	w_u8(b, m->admit.cancel_key_size);
	w_vstr(b, m->client_address);
	w_vstr(b, m->client_tls);
	w_vstr(b, m->server_name);
}

static uint8_t enum_up_to(struct rd *r, uint8_t last) {
	uint8_t v = rd_u8(r);

	if (v > last)
		rd_fail(r);
	return v;
}

int admit_get(struct admit_msg *m, struct str body) {
	struct rd r = rd_of(body);

	*m = (struct admit_msg){ 0 };
	m->ring = rd_u16(&r);
	m->slot = rd_u32(&r);
	m->generation = rd_u32(&r);
	m->protocol = rd_vstr(&r);
	m->admit.connection = rd_vstr(&r);
	m->admit.role = rd_vstr(&r);
	m->admit.database = rd_vstr(&r);
	m->admit.hint = rd_vstr(&r);
	m->admit.proof_kind = enum_up_to(&r, PROOF_KIND_COUNT - 1);
	m->admit.proof = rd_vstr(&r);
	m->exchange = rd_u64(&r);
	m->admit.client_app = rd_vstr(&r);
	m->admit.routed_by = enum_up_to(&r, ROUTED_BY_COUNT - 1);
	m->admit.is_role_optional = enum_up_to(&r, 1) == 1;
	m->admit.wants_replication = enum_up_to(&r, 1) == 1;
	m->admit.cancel_key_size = enum_up_to(&r, CANCEL_KEY_LONG);
	m->client_address = rd_vstr(&r);
	m->client_tls = rd_vstr(&r);
	m->server_name = rd_vstr(&r);
	return rd_done(&r);
}

void grant_put(struct buf *b, const struct grant_msg *m) {
	w_u64(b, m->grant);
	w_bytes(b, str_mem(m->g.sid, sizeof(m->g.sid)));
	w_vstr(b, str_of(m->g.short_id));
	w_vstr(b, m->g.upstream_user);
	w_vstr(b, m->g.database);
	w_vstr(b, m->g.server_name);
	w_u8(b, (uint8_t)m->g.tls);
	w_u8(b, m->g.is_unix);
	w_u8(b, (uint8_t)m->g.hygiene);
	w_u8(b, (uint8_t)m->g.durable);
	w_u64(b, m->g.session_max_ns);
	w_u64(b, m->g.session_grace_ns);
	w_u8(b, m->g.is_tls_direct);
	w_u8(b, m->g.is_replication);
	w_vstr(b, str_mem(m->g.cancel_key, m->g.cancel_key_size));
	w_u8(b, m->g.keeps_credentials);
	w_u8(b, (uint8_t)m->g.results.kind);
	w_u32(b, m->g.results.rows);
	w_u8(b, m->g.looks_up_names);
	w_vstr(b, m->connection);
	w_vstr(b, m->role);
	w_bytes(b, str_mem(m->hide_key, sizeof(m->hide_key)));
	w_vstr(b, m->g.server_final);
}

static void read_exact(struct rd *r, void *out, size_t n) {
	struct str s = rd_bytes(r, n);

	if (s.n == n)
		memcpy(out, s.p, n);
}

static void read_key(struct rd *r, struct grant *g) {
	struct str key = rd_vstr(r);

	if (key.n > sizeof(g->cancel_key)) {
		rd_fail(r);
		return;
	}
	if (key.n != 0)
		memcpy(g->cancel_key, key.p, key.n);
	g->cancel_key_size = (uint8_t)key.n;
}

int grant_get(struct grant_msg *m, struct str body) {
	struct rd r = rd_of(body);

	*m = (struct grant_msg){ 0 };
	m->grant = rd_u64(&r);
	read_exact(&r, m->g.sid, sizeof(m->g.sid));
	if (!str_copy(m->g.short_id, sizeof(m->g.short_id), rd_vstr(&r)))
		rd_fail(&r);
	m->g.upstream_user = rd_vstr(&r);
	m->g.database = rd_vstr(&r);
	m->g.server_name = rd_vstr(&r);
	m->g.tls = enum_up_to(&r, TLS_VERIFY_FULL);
	m->g.is_unix = enum_up_to(&r, 1) == 1;
	m->g.hygiene = enum_up_to(&r, HYGIENE_OPEN);
	m->g.durable = enum_up_to(&r, DURABLE_ASYNC);
	m->g.session_max_ns = rd_u64(&r);
	m->g.session_grace_ns = rd_u64(&r);
	m->g.is_tls_direct = enum_up_to(&r, 1) == 1;
	m->g.is_replication = enum_up_to(&r, 1) == 1;
	read_key(&r, &m->g);
	m->g.keeps_credentials = enum_up_to(&r, 1) == 1;
	m->g.results.kind = enum_up_to(&r, DEPTH_NONE);
	m->g.results.rows = rd_u32(&r);
	m->g.looks_up_names = enum_up_to(&r, 1) == 1;
	m->connection = rd_vstr(&r);
	m->role = rd_vstr(&r);
	read_exact(&r, m->hide_key, sizeof(m->hide_key));
	m->g.server_final = rd_vstr(&r);
	return rd_done(&r);
}
