/*
 * prove.c: SCRAM with clients: exchanges, and the proof that ends one.
 *
 *   PROVE (client-first) → PROVED (server-first) → ADMIT with client-final → GRANT with server-final
 *
 * Verifiers of tokens are in state.db and never leave this process. A key id that does not exist is
 * answered as one that does: with a salt that is always the same for it, the same work, and a refusal at
 * the end. Salts of real keys are made in the same way, so that a key that was purged looks as before.
 *
 * Invariants:
 * 1. An exchange is used up by the first ADMIT that names it, whatever comes of it.
 * 2. It lives PROVE_S at most, and goes when its connection or its worker goes.
 * 3. The order of what is looked at is the same for every key: form, binding, nonce, proof, then whether
 *    local tokens are taken at all, then what decide() asks.
 */
#include "base/clock.h"
#include "keeper/grants_priv.h"

enum { EXCHANGES_MAX = 8192, PROVE_S = 90 };

struct exchange {
	struct list link; /* oldest first */
	uint64_t id, due_ns;
	char key_id[CONFIG_NAME_MAX + 1];
	bool has_row; /* there is such a token, if only one without verifier */
	struct scram_server scram;
};

void prove_setup(struct keeper *k) {
	list_init(&k->exchange_list);
	k->exchanges = map_new(EXCHANGES_MAX);
}

static void exchange_free(struct keeper *k, struct exchange *x) {
	(void)map_del(k->exchanges, map_key_u64(&x->id));
	list_drop(&x->link);
	scram_server_wipe(&x->scram);
	free(x);
}

void prove_free(struct keeper *k) {
	if (k->exchanges == NULL)
		return;
	prove_drop_all(k);
	map_free(&k->exchanges);
}

void prove_drop_all(struct keeper *k) {
	list_each_safe (it, tmp, &k->exchange_list)
		exchange_free(k, container_of(it, struct exchange, link));
}

void prove_beat(struct keeper *k) {
	uint64_t now = loop_now(k->loop);

	list_each_safe (it, tmp, &k->exchange_list) {
		struct exchange *x = container_of(it, struct exchange, link);

		if (x->due_ns > now)
			return;
		exchange_free(k, x);
	}
}

void prove_salt(const struct keeper *k, struct str key_id, uint8_t salt[SCRAM_VERIFIER_SALT]) {
	uint8_t mac[SHA256_SIZE];

	hmac_sha256(mac, str_mem(k->prove_key, sizeof(k->prove_key)), key_id);
	memcpy(salt, mac, SCRAM_VERIFIER_SALT);
	wipe(mac, sizeof(mac));
}

/* ---- PROVE ---- */

/* Of the token with that id; for one that is not there, of no password. */
static void verifier_find(struct keeper *k, struct exchange *x) {
	struct arena *a = arena_new(64 * KIB);
	struct scram_verifier *v = &x->scram.verifier;
	struct token_row row = { 0 };
	int rc = state_token_find(k->state, str_of(x->key_id), a, &row);

	if (rc < 0 && rc != H_ENOTFOUND)
		log_error("keeper.state.failed", kv_z("what", "token"), kv_err(rc));
	v->iterations = SCRAM_ITERATIONS;
	prove_salt(k, str_of(x->key_id), v->salt);
	random_bytes(v->stored_key, sizeof(v->stored_key));
	random_bytes(v->server_key, sizeof(v->server_key));
	x->has_row = rc == 0;
	x->scram.is_real = rc == 0 && row.has_verifier;
	if (x->scram.is_real)
		*v = row.verifier;
	wipe(&row.verifier, sizeof(row.verifier));
	arena_free(&a);
}

static struct exchange *exchange_new(struct keeper *k, uint64_t id, struct str key_id) {
	struct exchange *x = map_get(k->exchanges, map_key_u64(&id));
	void *old = NULL;

	if (x != NULL)
		exchange_free(k, x);
	if (map_count(k->exchanges) >= EXCHANGES_MAX)
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->id = id;
	x->due_ns = loop_now(k->loop) + PROVE_S * NS_PER_S;
	list_init(&x->link);
	if (!str_copy(x->key_id, sizeof(x->key_id), key_id)) {
		free(x);
		return NULL;
	}
	int rc = map_put(k->exchanges, map_key_u64(&x->id), x, &old);

	assert(rc == 0 && old == NULL);
	list_push(&k->exchange_list, &x->link);
	verifier_find(k, x);
	return x;
}

static enum refuse_reason reason_of(enum scram_wrong wrong) {
	switch (wrong) {
	case SCRAM_FINE:
		return REFUSE_NONE;
	case SCRAM_WRONG_FORM:
		return REFUSE_SCRAM_FORM;
	case SCRAM_WRONG_DOWNGRADE:
		return REFUSE_SCRAM_DOWNGRADE;
	case SCRAM_WRONG_BINDING:
		return REFUSE_SCRAM_BINDING;
	case SCRAM_WRONG_PROOF:
		return REFUSE_SCRAM_PROOF;
	}
	return REFUSE_INTERNAL;
}

struct prove_msg {
	uint64_t exchange;
	struct str connection, hint, address;
	struct scram_ask ask;
};

static int prove_get(struct prove_msg *p, struct str body) {
	struct rd r = rd_of(body);

	*p = (struct prove_msg){ .exchange = rd_u64(&r) };
	p->connection = rd_vstr(&r);
	p->hint = rd_vstr(&r);
	p->ask.mechanism = rd_vstr(&r);
	p->ask.message = rd_vstr(&r);
	p->ask.end_point = rd_vstr(&r);
	p->address = rd_vstr(&r);
	return rd_done(&r);
}

static void refuse_prove(struct keeper *k, uint64_t worker_id, const struct prove_msg *p,
                         enum refuse_reason reason) {
	struct refusal what = { .reason = reason };
	char connection[CONFIG_NAME_MAX + 1], hint[CONFIG_NAME_MAX + 1];

	refuse_source(what.source, p->address);
	if (reason == REFUSE_SCRAM_FORM)
		refusals_wrong_proof(k->refusals, what.source, loop_now(k->loop));
	grants_clean(connection, sizeof(connection), p->connection);
	grants_clean(hint, sizeof(hint), p->hint);
	(void)snprintf(what.detail, sizeof(what.detail),
	               "connection %s, key id %s, subject not proven", connection, hint);
	grants_refuse(k, &(struct refuse_to){ .worker_id = worker_id }, &what);
}

void grants_on_prove(struct keeper *k, const struct ipc_msg *m) {
	uint8_t raw[SCRAM_SERVER_NONCE_BYTES];
	char nonce[SCRAM_SERVER_NONCE_MAX + 1];
	enum refuse_reason reason = REFUSE_SCRAM_BUSY;
	struct prove_msg p;
	struct buf first, b;

	if (prove_get(&p, m->body) < 0) {
		log_warn("ipc.message.refused", kv_z("from", "worker"), kv_z("type", "PROVE"));
		return;
	}
	random_bytes(raw, sizeof(raw));
	p.ask.nonce = str_mem(nonce, base64_encode(nonce, raw, sizeof(raw)));
	buf_init(&first, 4096);
	buf_init(&b, 4096);
	struct exchange *x = exchange_new(k, p.exchange, p.hint);

	if (x != NULL)
		reason = reason_of(scram_server_first(&x->scram, &p.ask, &first));
	if (reason == REFUSE_NONE) {
		w_vstr(&b, buf_peek(&first));
		(void)chan_send(&k->chan[ROLE_WORKER], IPC_PROVED, m->id, buf_peek(&b));
	} else {
		refuse_prove(k, m->id, &p, reason);
		if (x != NULL)
			exchange_free(k, x);
	}
	buf_fini(&first);
	buf_fini(&b);
}

void grants_on_proof_gone(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint64_t id = rd_u64(&r);
	struct exchange *x = map_get(k->exchanges, map_key_u64(&id));

	if (rd_done(&r) == 0 && x != NULL)
		exchange_free(k, x);
}

/* ---- ADMIT ---- */

static enum refuse_reason judge(const struct exchange *x, struct asked *a) {
	enum scram_wrong wrong = scram_server_final(&x->scram, a->m.admit.proof, a->server_final);

	a->way.mechanism = x->scram.is_plus ? SCRAM_PLUS : SCRAM_PLAIN;
	a->way.binding = x->scram.bound == SCRAM_BOUND_TLS ? "tls-server-end-point" : "none";
	if (!str_is(a->m.admit.hint, x->key_id))
		return REFUSE_HINT;
	if (wrong != SCRAM_WRONG_PROOF || x->scram.is_real)
		return reason_of(wrong);
	return x->has_row ? REFUSE_SCRAM_OLD : REFUSE_SCRAM_KEY;
}

void proof_scram(struct keeper *k, struct asked *a) {
	struct exchange *x = map_get(k->exchanges, map_key_u64(&a->m.exchange));
	struct token_row row = { 0 };

	a->ask.proof = PROOF_IS_REFUSED;
	a->ask.proof_reason = REFUSE_SCRAM_GONE;
	if (x == NULL)
		return;
	a->ask.proof_reason = judge(x, a);
	exchange_free(k, x);
	if (a->ask.proof_reason != REFUSE_NONE)
		return;
	if (!k->rt->config->gateway.identity_local) {
		a->ask.proof_reason = REFUSE_LOCAL_OFF;
		return;
	}
	int rc = state_token_find(k->state, a->m.admit.hint, a->arena, &row);

	wipe(&row.verifier, sizeof(row.verifier));
	proof_of_token(a, rc, &row);
}
