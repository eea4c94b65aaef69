/*
 * open_json.c: frame 0 of a session: who speaks, to what, under which policy
 * (docs/record-format.md §6).
 *
 * Everything here was checked by the keeper, but for what says so: the client's own words
 * (application, server name) and the claimed context.
 */
#include "keeper/keeper_priv.h"

static void put_target(struct jw *j, const struct decision *d) {
	bool is_unix = str_starts(d->connection->address, STR("unix:"));

	jw_key(j, "target");
	jw_obj(j);
	jw_kv_str(j, "address", d->connection->address);
	jw_kv_str(j, "user", d->role->user);
	jw_kv_str(j, "database", d->database);
	jw_kv_str(j, "tls",
	          is_unix ? STR("none")
	                  : config_tls_name((enum config_tls)d->connection->tls_mode));
	jw_obj_end(j);
}

static void put_who(struct jw *j, const struct who *w) {
	jw_key(j, "who");
	jw_obj(j);
	jw_kv_z(j, "kind", who_kind_name(w->kind));
	jw_kv_str(j, "subject", w->subject);
	jw_key(j, "groups");
	jw_arr(j);
	for (size_t i = 0; i < w->group_count; i++)
		jw_str(j, w->groups[i]);
	jw_arr_end(j);
	jw_kv_str(j, "on_behalf_of", w->on_behalf_of);
	jw_kv_bool(j, "on_behalf_of_verified", w->on_behalf_of_verified);
	jw_kv_str(j, "run", w->run);
	jw_kv_str(j, "credential", w->credential);
	jw_kv_str(j, "email", w->email);
	jw_kv_u64(j, "proof_expires_ns", w->proof_expires_wall_ns);
	if (w->issuer.n != 0) {
		jw_kv_str(j, "issuer", w->issuer);
		jw_kv_str(j, "key_id", w->key_id);
		jw_kv_u64(j, "mapping", w->mapping);
	}
	jw_obj_end(j);
	jw_key(j, "context");
	jw_obj(j);
	for (size_t i = 0; i < w->context_count; i++) {
		jw_key_str(j, w->context[i].key);
		jw_str(j, w->context[i].value);
	}
	jw_obj_end(j);
	jw_kv_bool(j, "context_verified", w->context_verified);
}

static void put_proof(struct jw *j, const struct open_facts *f) {
	static const char *const methods[PROOF_KIND_COUNT] = {
		[PROOF_PASSWORD] = "password",
		[PROOF_NONE] = "none",
		[PROOF_BEARER] = "oauth",
		[PROOF_SCRAM] = "scram",
	};
	const struct admit *a = &f->m->admit;

	jw_key(j, "proof");
	jw_obj(j);
	jw_kv_z(j, "method", methods[a->proof_kind]);
	jw_kv_z(j, "mechanism", f->way->mechanism);
	jw_kv_str(j, "key_id", a->proof_kind == PROOF_SCRAM ? a->hint : STR_NONE);
	jw_kv_z(j, "channel_binding", f->way->binding);
	jw_obj_end(j);
}

static void put_client(struct jw *j, const struct admit_msg *m) {
	static const char *const routed[ROUTED_BY_COUNT] = {
		[ROUTED_BY_USER] = "user",
		[ROUTED_BY_SERVER_NAME] = "server_name",
		[ROUTED_BY_DATABASE] = "database",
	};

	jw_key(j, "client");
	jw_obj(j);
	jw_kv_str(j, "address", str_head(m->client_address, 128));
	jw_kv_str(j, "tls", str_head(m->client_tls, 128));
	jw_kv_str(j, "server_name", str_head(m->server_name, 256));
	jw_kv_str(j, "application", str_head(m->admit.client_app, 256));
	jw_kv_z(j, "routed_by", routed[m->admit.routed_by]);
	jw_kv_bool(j, "replication", m->admit.wants_replication);
	jw_obj_end(j);
}

static void put_policy(struct jw *j, const struct keeper *k, const struct config_connection *c) {
	char hash[2 * SHA256_SIZE + 1], results[32];

	config_depth_text(results, sizeof(results), &c->results);
	hex_encode(hash, k->rt->hash, SHA256_SIZE);
	jw_key(j, "policy");
	jw_obj(j);
	jw_kv_str(j, "durable", config_durable_name((enum config_durable)c->durable));
	jw_kv_z(j, "results", results);
	jw_kv_z(j, "names", c->names == CONFIG_NAMES_ON ? "on" : "off");
	jw_kv_str(j, "hygiene", config_hygiene_name((enum config_hygiene)c->hygiene));
	jw_kv_z(j, "snapshot", hash);
	jw_obj_end(j);
	jw_key(j, "limits");
	jw_obj(j);
	jw_kv_u64(j, "session_max_ns", c->session_max_ns);
	jw_kv_u64(j, "session_grace_ns", c->session_grace_ns);
	jw_obj_end(j);
}

static void put_gateway(struct jw *j, const struct keeper *k) {
	char node[2 * TLOG_NODE_SIZE + 1], boot[33];

	hex_encode(node, k->node, TLOG_NODE_SIZE);
	hex_encode(boot, k->start->node_boot, sizeof(k->start->node_boot));
	jw_key(j, "gateway");
	jw_obj(j);
	jw_kv_z(j, "node", node);
	jw_kv_z(j, "version", HANSARD_VERSION);
	jw_kv_z(j, "boot", boot);
	jw_obj_end(j);
}

void open_json(struct buf *b, const struct open_facts *f) {
	const struct config_connection *c = f->d->connection;
	struct jw j = jw_of(b);

	jw_obj(&j);
	jw_kv_u64(&j, "format", 1);
	jw_kv_str(&j, "protocol", config_protocol_name(c));
	jw_kv_str(&j, "connection", c->name);
	jw_key(&j, "labels");
	jw_obj(&j);
	for (size_t i = 0; i < c->labels.n; i++) {
		jw_key_str(&j, c->labels.v[i].key);
		jw_str(&j, c->labels.v[i].value);
	}
	jw_obj_end(&j);
	jw_kv_str(&j, "role", f->d->role->name);
	put_target(&j, f->d);
	put_who(&j, f->who);
	put_proof(&j, f);
	put_client(&j, f->m);
	put_policy(&j, f->k, c);
	put_gateway(&j, f->k);
	jw_kv_u64(&j, "opened_wall_ns", f->wall_ns);
	jw_obj_end(&j);
}
