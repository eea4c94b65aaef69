/*
 * grants.c: admission, and what a live grant may ask (DESIGN §3, "Admit").
 *
 *   ADMIT → decide → OPEN (recorder) → OPENED → CONNECT (egress) → CONNECTED → GRANT with the socket
 *
 * so nothing is connected before frame 0 of the session's record is durable. What fails on the way is
 * REFUSE with a reference; what was opened by then is abandoned at the recorder. Each question is a
 * struct op with an id of its own and a time limit: answers that nobody waits for are closed. Who is
 * asked may be away, or still recovering: then the admission waits a while (grants_wait.c).
 *
 * Invariants:
 * 1. A grant is in `grants` from OPEN to SESSION_GONE, and counts in its subject's sessions as long.
 * 2. A cancel key belongs to exactly one live grant.
 * 3. The proof is wiped from the packet before this file returns to the loop.
 */
#include "base/clock.h"
#include "identity/oauthbearer.h"
#include "keeper/grants_priv.h"

enum { ARENA_MAX = 128 * 1024, TEXT_MAX_ = 160 };

static_assert((int)CONFIG_TLS_VERIFY_FULL == (int)TLS_VERIFY_FULL &&
                      (int)CONFIG_TLS_VERIFY_CA == (int)TLS_VERIFY_CA &&
                      (int)CONFIG_TLS_REQUIRE == (int)TLS_REQUIRE,
              "TLS modes");
static_assert((int)CONFIG_PROOF_SCRAM == (int)PROVE_BY_SCRAM &&
                      (int)CONFIG_PROOF_OAUTH == (int)PROVE_BY_OAUTH,
              "proofs");
static_assert((int)CONFIG_BOTH_WAYS == (int)DURABLE_BOTH_WAYS &&
                      (int)CONFIG_ASYNC == (int)DURABLE_ASYNC &&
                      (int)CONFIG_OPEN == (int)HYGIENE_OPEN,
              "policies");

/* ---- the tables ---- */

struct grant_row *grant_find(struct keeper *k, uint64_t id) {
	return id != 0 ? map_get(k->grants, map_key_u64(&id)) : NULL;
}

struct op *grant_op(struct keeper *k, enum op_kind kind, const struct grant_row *g,
                    uint64_t limit_ns) {
	struct op *op = xcalloc(1, sizeof(*op));
	void *old = NULL;

	op->id = keeper_op(k);
	op->kind = kind;
	op->grant = g->id;
	op->due_ns = loop_now(k->loop) + limit_ns;
	memcpy(op->sid, g->sid, SID_SIZE);
	int rc = map_put(k->ops, map_key_u64(&op->id), op, &old);

	assert(rc == 0 && old == NULL);
	return op;
}

/* Takes the op out of the table when it is of that kind. */
static bool op_take(struct keeper *k, uint64_t id, const enum op_kind *kinds, struct op *ret) {
	struct op *op = map_get(k->ops, map_key_u64(&id));

	if (op == NULL || (op->kind != kinds[0] && op->kind != kinds[1]))
		return false;
	(void)map_del(k->ops, map_key_u64(&id));
	*ret = *op;
	free(op);
	return true;
}

static void subject_count(struct keeper *k, const char *subject, int by) {
	struct str key = str_of(subject);
	struct subject *s = map_get(k->subjects, key);
	void *old = NULL;

	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		int rc = map_put(k->subjects, key, s, &old);

		assert(rc == 0 && old == NULL);
	}
	s->sessions += (uint32_t)by;
	if (s->sessions == 0) {
		(void)map_del(k->subjects, key);
		free(s);
	}
}

void grant_insert(struct keeper *k, struct grant_row *g) {
	void *old = NULL;
	int rc = map_put(k->grants, map_key_u64(&g->id), g, &old);

	assert(rc == 0 && old == NULL);
	subject_count(k, g->subject, 1);
}

void grant_login_over(struct grant_row *g) {
	login_wipe(&g->login);
	runtime_unref(&g->rt);
	g->conn = NULL;
	g->conf = NULL;
}

void grant_free(struct keeper *k, struct grant_row *g) {
	if (g->has_key)
		(void)map_del(k->keys, grant_key(g));
	(void)map_del(k->grants, map_key_u64(&g->id));
	subject_count(k, g->subject, -1);
	grant_op_drop(k, g->op);
	grant_settled(k, g);
	if (g->state == GRANT_LIVE && state_grant_del(k->state, g->id) < 0)
		log_error("keeper.state.failed", kv_z("what", "grant"));
	grant_login_over(g);
	free(g);
}

/* ---- refusing ---- */

static void send_refuse(struct keeper *k, const struct refuse_to *to, int code, const char *text) {
	struct buf b;

	buf_init(&b, 4096);
	w_u32(&b, (uint32_t)code);
	w_vstr(&b, str_of(text));
	w_vstr(&b, to->challenge);
	(void)chan_send(&k->chan[ROLE_WORKER], IPC_REFUSE, to->worker_id, buf_peek(&b));
	buf_fini(&b);
}

/* What a client is told: who could not prove itself or may not learns nothing, everybody else that
 * it is not to blame. */
static const char *told(int code) {
	switch (code) {
	case H_ENOSPACE:
		return "the record store has no space for another session";
	case H_ERECORDER:
		return "the record is not available: no session can be admitted now";
	case H_ECONNECT:
		return "target cannot be reached";
	case H_EBUSY:
		return "too many sessions";
	case H_EFEATURE:
		return "replication connections are refused by this connection";
	case H_EDRAIN:
		return "the gateway is shutting down";
	case H_EKEEPER:
		return "the gateway failed to admit the session";
	default: /* of all codes, those of decide.h's table */
		return "not admitted";
	}
}

void grants_refuse(struct keeper *k, const struct refuse_to *to, struct refusal *what) {
	int code = refuse_text(what->reason)->code;
	char ref[SHORT_ID_SIZE], text[TEXT_MAX_];

	what->last_wall_ns = wall_ns();
	refusals_add(k->refusals, what, loop_now(k->loop), ref);
	(void)snprintf(text, sizeof(text), "%s (ref %s%s%s)", told(code), ref,
	               to->session != NULL ? ", session " : "",
	               to->session != NULL ? to->session : "");
	send_refuse(k, to, code, text);
}

static void abandon(struct keeper *k, const uint8_t sid[SID_SIZE], const char *reason) {
	struct buf b;

	buf_init(&b, 4096);
	w_bytes(&b, str_mem(sid, SID_SIZE));
	w_vstr(&b, str_of(reason));
	(void)chan_send(&k->chan[ROLE_RECORDER], IPC_ABANDON, 0, buf_peek(&b));
	buf_fini(&b);
}

/* Ends an admission that had been decided well. */
void grant_fail(struct keeper *k, struct grant_row *g, enum refuse_reason reason,
                const char *detail) {
	struct refusal what = { .reason = reason };

	memcpy(what.source, g->source, sizeof(what.source));
	(void)snprintf(what.detail, sizeof(what.detail),
	               "connection %s, role %s, subject %.100s: %s", g->connection, g->role,
	               g->subject, detail);
	if (g->state == GRANT_CONNECTING)
		abandon(k, g->sid, refuse_text(reason)->name);
	grants_refuse(k,
	              &(struct refuse_to){ .worker_id = g->worker_id,
	                                   .session = g->state == GRANT_CONNECTING ? g->short_id
	                                                                           : NULL },
	              &what);
	grant_free(k, g);
}

/* ---- ADMIT ---- */

static void asked_load(struct keeper *k, struct asked *a) {
	const struct subject *s = a->ask.who != NULL ? map_get(k->subjects, a->who.subject) : NULL;

	a->ask.sessions = (uint32_t)map_count(k->grants);
	a->ask.identity_sessions = s != NULL ? s->sessions : 0;
	/* A store that failed says itself why, at OPEN. */
	a->ask.is_store_refusing = k->store_state == 1;
	a->ask.is_draining = k->is_draining;
}

void grants_clean(char *out, size_t cap, struct str s) {
	size_t n = 0;

	for (size_t i = 0; i < s.n && n + 1 < cap; i++)
		out[n++] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
	out[n] = '\0';
}

/* Not the client's fault, or proven who it is: no wrong proof. */
static bool is_wrong_proof(const struct asked *a, enum refuse_reason reason) {
	if (reason == REFUSE_NO_MAPPING || reason == REFUSE_MAPPING ||
	    reason == REFUSE_TOKEN_KEYS_GONE || reason == REFUSE_LOCAL_OFF ||
	    reason == REFUSE_OAUTH_DISCOVERY || reason == REFUSE_SCRAM_GONE)
		return false;
	return a->ask.proof != PROOF_IS_FOUND || reason == REFUSE_EXPIRED ||
	       reason == REFUSE_REVOKED;
}

/* OAUTHBEARER says where tokens are to be had, to whoever showed none that will do. */
static void put_challenge(const struct keeper *k, const struct asked *a, enum refuse_reason reason,
                          struct buf *b) {
	const struct config_issuer *first = k->rt->config->gateway.issuers;

	if (a->m.admit.proof_kind == PROOF_BEARER && refuse_text(reason)->code == H_EREFUSED)
		oauthbearer_refusal(b, first != NULL ? first->issuer : STR_NONE);
}

static void refuse_asked(struct keeper *k, const struct asked *a, uint64_t worker_id,
                         enum refuse_reason reason) {
	struct refusal what = { .reason = reason };
	char connection[40], role[40], subject[WHO_SUBJECT_MAX + 1], why[170];

	if (is_wrong_proof(a, reason))
		refusals_wrong_proof(k->refusals, a->source, loop_now(k->loop));
	memcpy(what.source, a->source, sizeof(what.source));
	grants_clean(connection, sizeof(connection), a->m.admit.connection);
	grants_clean(role, sizeof(role), a->m.admit.role);
	grants_clean(subject, sizeof(subject),
	             a->ask.who != NULL ? a->who.subject : STR("not proven"));
	grants_clean(why, sizeof(why),
	             str_of(reason == REFUSE_STORE ? k->store_reason : a->wrong.text));
	(void)snprintf(what.detail, sizeof(what.detail),
	               "connection %s, role %s, subject %.100s%s%s", connection,
	               role[0] != '\0' ? role : "default", subject, why[0] != '\0' ? ": " : "",
	               why);
	struct buf challenge;

	buf_init(&challenge, 4096);
	put_challenge(k, a, reason, &challenge);
	grants_refuse(k,
	              &(struct refuse_to){ .worker_id = worker_id,
	                                   .challenge = buf_peek(&challenge) },
	              &what);
	buf_fini(&challenge);
}

static struct grant_row *row_new(struct keeper *k, const struct asked *a, const struct decision *d,
                                 uint64_t worker_id) {
	struct grant_row *g = xcalloc(1, sizeof(*g));

	do {
		random_bytes(&g->id, sizeof(g->id));
		g->id &= INT64_MAX; /* a signed number in state.db */
	} while (g->id == 0 || grant_find(k, g->id) != NULL);
	list_init(&g->wait);
	g->worker_id = worker_id;
	g->begun_ns = loop_now(k->loop);
	g->due_ns = g->begun_ns + OPEN_WAIT_S * NS_PER_S;
	g->opened_wall_ns = wall_ns();
	uuid7(g->sid, g->opened_wall_ns);
	short_id(g->short_id, g->sid);
	g->ring = a->m.ring;
	g->slot = a->m.slot;
	g->generation = a->m.generation;
	g->cancel_key_size = a->m.admit.cancel_key_size;
	memcpy(g->server_final, a->server_final, sizeof(g->server_final));
	g->is_replication = a->m.admit.wants_replication;
	memcpy(g->source, a->source, sizeof(g->source));
	bool ok = str_copy(g->connection, sizeof(g->connection), d->connection->name) &&
	          str_copy(g->role, sizeof(g->role), d->role->name) &&
	          str_copy(g->subject, sizeof(g->subject), a->who.subject) &&
	          str_copy(g->on_behalf_of, sizeof(g->on_behalf_of), a->who.on_behalf_of) &&
	          str_copy(g->address, sizeof(g->address), d->connection->address) &&
	          str_copy(g->database, sizeof(g->database), d->database);

	if (!ok) {
		free(g);
		return NULL;
	}
	g->connect_ns = d->connection->connect_ns;
	g->is_break_glass = a->who.issuer.n == 0 && k->rt->config->gateway.issuers != NULL;
	g->rt = runtime_ref(k->rt);
	g->conn = d->connection;
	g->conf = d->role;
	grant_insert(k, g);
	return g;
}

/* False when it would be too large, or too much is kept already. */
static bool keep_open(struct keeper *k, struct grant_row *g, const struct open_facts *f) {
	struct buf body, json;

	buf_init(&json, KEEPER_OPEN_JSON_MAX);
	buf_init(&body, IPC_MAX);
	open_json(&json, f);
	w_u16(&body, g->ring);
	w_u32(&body, g->slot);
	w_u32(&body, g->generation);
	w_bytes(&body, str_mem(g->sid, SID_SIZE));
	w_u8(&body, (uint8_t)g->conn->durable);
	w_u64(&body, g->rt->config->gateway.session_bytes_max);
	w_vstr(&body, buf_peek(&json));
	bool ok = w_done(&json) == 0 && w_done(&body) == 0;

	if (!ok)
		log_error("keeper.open.too_large", kv_z("connection", g->connection));
	ok = ok && body.len <= KEEPER_PENDING_BYTES - k->pending_bytes;
	if (ok) {
		g->open = str_dup(buf_peek(&body));
		g->open_len = body.len;
		k->pending_bytes += g->open_len;
		k->pending++;
	}
	buf_fini(&json);
	buf_fini(&body);
	return ok;
}

static void admit_decided(struct keeper *k, struct asked *a, const struct decision *d,
                          uint64_t worker_id) {
	struct grant_row *g = NULL;

	if (k->pending < KEEPER_PENDING_MAX)
		g = row_new(k, a, d, worker_id);
	if (g == NULL) {
		refuse_asked(k, a, worker_id, REFUSE_INTERNAL);
		return;
	}
	struct open_facts f = { .k = k,
		                .d = d,
		                .who = &a->who,
		                .m = &a->m,
		                .way = &a->way,
		                .wall_ns = g->opened_wall_ns };

	if (keep_open(k, g, &f))
		grant_step(k, g);
	else
		grant_fail(k, g, REFUSE_INTERNAL,
		           "too large, or too many admissions are under way");
}

bool admit_judge(struct keeper *k, uint64_t worker_id, struct str body, bool is_last) {
	struct asked a = { .arena = arena_new(ARENA_MAX) };
	bool is_judged = true;

	if (admit_get(&a.m, body) == 0) {
		refuse_source(a.source, a.m.client_address);
		a.ask.admit = &a.m.admit;
		a.ask.protocol = a.m.protocol;
		a.ask.now_wall_ns = wall_ns();
		a.ask.is_rate_limited = refusals_limited(k->refusals, a.source,
		                                         k->rt->config->gateway.failed_proofs_max,
		                                         loop_now(k->loop));
		is_judged = proof_look(k, &a, is_last);
		asked_load(k, &a);
		struct decision d = decide(k->rt->config, &a.ask);

		if (is_judged && d.reason == REFUSE_NONE)
			admit_decided(k, &a, &d, worker_id);
		else if (is_judged)
			refuse_asked(k, &a, worker_id, d.reason);
	} else {
		chan_refused(&k->chan[ROLE_WORKER], "ADMIT");
		send_refuse(k, &(struct refuse_to){ .worker_id = worker_id }, H_EKEEPER,
		            "not admitted");
	}
	arena_free(&a.arena);
	return is_judged;
}

void grants_on_admit(struct keeper *k, const struct ipc_msg *m) {
	if (!admit_judge(k, m->id, m->body, false) && !proof_wait(k, m->id, m->body))
		(void)admit_judge(k, m->id, m->body, true);
	/* The proof stood in the packet: memory of ours, whatever the type of the slice says. */
	wipe(k->packet, m->body.n + 16);
}

/* ---- OPENED, CONNECTED ---- */

void grant_connect(struct keeper *k, const struct grant_row *g, uint64_t op) {
	struct buf b;

	buf_init(&b, 4096);
	w_vstr(&b, str_of(g->address));
	w_u32(&b, (uint32_t)(g->connect_ns / NS_PER_MS));
	(void)chan_send(&k->chan[ROLE_EGRESS], IPC_CONNECT, op, buf_peek(&b));
	buf_fini(&b);
}

static enum refuse_reason open_reason(int code) {
	if (code == H_ENOSPACE || code == H_EQUOTA)
		return REFUSE_STORE;
	return code == H_EDRAIN ? REFUSE_DRAINING : REFUSE_RECORDER;
}

/* A recorder that still recovers, or has the slot's last session still to end, is asked again; one
 * that cannot write is not. */
static void open_failed(struct keeper *k, struct grant_row *g, int code) {
	char why[sizeof(k->store_reason) + 64];

	if ((code == H_ERECORDER && k->store_state != 2) || code == H_EBUSY) {
		grant_wait(k, g);
		return;
	}
	(void)snprintf(why, sizeof(why), "%s%s%s", h_err_text(code),
	               k->store_state != 0 ? ": " : "", k->store_state != 0 ? k->store_reason : "");
	grant_fail(k, g, open_reason(code), why);
}

void grants_on_opened(struct keeper *k, const struct ipc_msg *m) {
	static const enum op_kind kinds[] = { OP_OPEN, OP_OPEN };
	struct rd r = rd_of(m->body);
	int code = (int)rd_u32(&r);
	struct op op;

	if (rd_done(&r) < 0 || !op_take(k, m->id, kinds, &op))
		return;
	struct grant_row *g = grant_find(k, op.grant);

	if (g == NULL) {
		/* Its worker is gone, or it took too long. */
		if (code == 0)
			abandon(k, op.sid, "withdrawn");
		return;
	}
	g->op = 0;
	if (code < 0) {
		open_failed(k, g, code);
		return;
	}
	g->state = GRANT_CONNECTING;
	g->due_ns = loop_now(k->loop) + EGRESS_WAIT_S * NS_PER_S;
	grant_step(k, g);
}

/* A key is found by all of its bytes, so a short one never matches the beginning of a long one. */
static void key_make(struct keeper *k, struct grant_row *g) {
	void *old = NULL;

	if (g->cancel_key_size == 0)
		return;
	do
		random_bytes(g->cancel_key, g->cancel_key_size);
	while (map_get(k->keys, grant_key(g)) != NULL);
	int rc = map_put(k->keys, grant_key(g), g, &old);

	assert(rc == 0 && old == NULL);
	g->has_key = true;
}

static void grant_remember(struct keeper *k, const struct grant_row *g) {
	char sid[UUID_TEXT_SIZE];
	struct buf b;

	buf_init(&b, 65536);
	struct jw j = jw_of(&b);

	uuid_text(sid, g->sid);
	jw_obj(&j);
	jw_kv_z(&j, "sid", sid);
	jw_kv_u64(&j, "worker_id", g->worker_id);
	jw_kv_u64(&j, "ring", g->ring);
	jw_kv_z(&j, "subject", g->subject);
	jw_kv_z(&j, "on_behalf_of", g->on_behalf_of);
	jw_kv_z(&j, "source", g->source);
	jw_kv_z(&j, "address", g->address);
	jw_kv_z(&j, "database", g->database);
	jw_kv_u64(&j, "connect_ns", g->connect_ns);
	jw_kv_u64(&j, "opened_wall_ns", g->opened_wall_ns);
	jw_obj_end(&j);
	int rc = w_done(&b) == 0 ? state_grant_put(k->state, g->id, buf_peek(&b)) : H_ELIMIT;

	if (rc < 0)
		log_error("keeper.state.failed", kv_z("what", "grant"), kv_err(rc));
	buf_fini(&b);
}

static struct str server_name_of(const struct grant_row *g) {
	struct config_address a;
	const char *why;

	if (g->conn->server_name.n != 0)
		return g->conn->server_name;
	if (config_address_parse(&a, g->conn->address, &why) < 0)
		return STR_NONE;
	return a.host;
}

static void send_grant(struct keeper *k, struct grant_row *g, int fd) {
	bool is_unix = str_starts(g->conn->address, STR("unix:"));
	struct grant_msg m = {
		.grant = g->id,
		.connection = g->conn->name,
		.role = g->conf->name,
		.g = { .upstream_user = g->conf->user,
		       .database = str_of(g->database),
		       .server_name = server_name_of(g),
		       .tls = is_unix ? TLS_DISABLE : (enum tls_mode)g->conn->tls_mode,
		       .is_unix = is_unix,
		       .hygiene = (enum hygiene)g->conn->hygiene,
		       .durable = (enum durable)g->conn->durable,
		       .session_max_ns = g->conn->session_max_ns,
		       .session_grace_ns = g->conn->session_grace_ns,
		       .is_tls_direct = g->conn->tls_negotiation == CONFIG_TLS_DIRECT,
		       .is_replication = g->is_replication,
		       .results = { .kind = (enum depth_kind)g->conn->results.kind,
		                    .rows = g->conn->results.rows },
		       .looks_up_names = g->conn->names == CONFIG_NAMES_ON,
		       .keeps_credentials = g->conn->credentials == CONFIG_CREDENTIALS_KEEP,
		       .cancel_key_size = g->cancel_key_size,
		       .server_final = str_of(g->server_final) },
	};
	struct buf b;

	memcpy(m.g.sid, g->sid, SID_SIZE);
	memcpy(m.g.short_id, g->short_id, sizeof(m.g.short_id));
	memcpy(m.g.cancel_key, g->cancel_key, sizeof(m.g.cancel_key));
	memcpy(m.hide_key, k->hide_key, sizeof(m.hide_key));
	buf_init(&b, IPC_MAX);
	grant_put(&b, &m);
	(void)chan_send_fd(&k->chan[ROLE_WORKER], IPC_GRANT, g->worker_id, buf_peek(&b), fd);
	buf_fini(&b);
}

/* Where there are issuers, the local one is for emergencies: nobody uses it unseen. */
static void break_glass(struct keeper *k, const struct grant_row *g) {
	struct buf b;

	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b, "break_glass.used", NULL);

	jw_kv_z(&j, "session", g->short_id);
	jw_kv_z(&j, "connection", g->connection);
	jw_kv_z(&j, "role", g->role);
	jw_kv_z(&j, "subject", g->subject);
	jw_kv_z(&j, "source", g->source);
	jw_obj_end(&j);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
	log_alarm("keeper.break_glass.used", kv_z("session", g->short_id),
	          kv_z("connection", g->connection), kv_z("subject", g->subject),
	          kv_z("source", g->source));
}

static void row_live(struct keeper *k, struct grant_row *g, int fd) {
	g->state = GRANT_LIVE;
	grant_settled(k, g);
	key_make(k, g);
	grant_remember(k, g);
	send_grant(k, g, fd);
	if (g->is_break_glass)
		break_glass(k, g);
	log_info("keeper.session.granted", kv_z("session", g->short_id),
	         kv_z("connection", g->connection), kv_z("role", g->role),
	         kv_z("subject", g->subject));
}

void grant_dialed(struct keeper *k, const struct op *op, int code, int fd) {
	struct buf b;

	if (grant_find(k, op->grant) == NULL)
		return;
	buf_init(&b, 64);
	w_u32(&b, (uint32_t)code);
	(void)chan_send_fd(&k->chan[ROLE_WORKER], IPC_DIALED, op->worker_id, buf_peek(&b), fd);
	buf_fini(&b);
}

void grants_on_connected(struct keeper *k, struct ipc_msg *m) {
	static const enum op_kind kinds[] = { OP_CONNECT, OP_DIAL };
	struct rd r = rd_of(m->body);
	int code = (int)rd_u32(&r);
	struct str text = rd_vstr(&r);
	char why[128];
	struct op op;

	(void)rd_vstr(&r);
	auto_fd int fd = ipc_take_fd(m, 0);

	if (rd_done(&r) < 0 || !op_take(k, m->id, kinds, &op))
		return;
	if (code == 0 && fd < 0)
		code = H_ECONNECT;
	if (op.kind == OP_DIAL) {
		grant_dialed(k, &op, code, fd);
		return;
	}
	struct grant_row *g = grant_find(k, op.grant);

	if (g == NULL) {
		abandon(k, op.sid, "withdrawn");
		return;
	}
	g->op = 0;
	if (code == 0) {
		row_live(k, g, fd);
		return;
	}
	grants_clean(why, sizeof(why), text);
	log_warn("keeper.target.unreachable", kv_z("connection", g->connection),
	         kv_z("reason", why));
	grant_fail(k, g, REFUSE_TARGET, why);
}

/* ---- the end ---- */

struct each {
	void (*fn)(void *arg, const struct grant_row *g);
	void *arg;
};

static void each_row(void *arg, struct str key, void *value) {
	const struct each *e = arg;

	(void)key;
	e->fn(e->arg, value);
}

void grants_each(struct keeper *k, void (*fn)(void *arg, const struct grant_row *g), void *arg) {
	struct each e = { .fn = fn, .arg = arg };

	map_each(k->grants, each_row, &e);
}

static void free_op(void *arg, struct str key, void *value) {
	(void)arg;
	(void)key;
	free(value);
}

static void free_row(void *arg, struct str key, void *value) {
	(void)arg;
	(void)key;
	struct grant_row *g = value;

	grant_login_over(g);
	free(g->open);
	free(g);
}

void grants_free(struct keeper *k) {
	if (k->grants == NULL)
		return;
	map_each(k->ops, free_op, NULL);
	map_each(k->grants, free_row, NULL);
	map_each(k->subjects, free_op, NULL);
	map_free(&k->ops);
	map_free(&k->grants);
	map_free(&k->keys);
	map_free(&k->subjects);
}
