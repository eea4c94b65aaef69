/*
 * grants_proof.c: what a client's proof proves; admissions that wait for an issuer's keys.
 *
 * Two kinds of proof come as a password, or by OAUTHBEARER: a credential of the local issuer (looked up by its hash) and a
 * signed token of an OIDC issuer (oidc.h). Which one it is shows at its first bytes. Keys are fetched by
 * egress; an admission that needs keys which are under way is kept, proof and all, and judged again
 * when something came. After PROOF_WAIT_S it is refused. At most KEEPER_PROOFS_MAX wait; what waits is
 * wiped when it goes.
 */
#include "base/clock.h"
#include "identity/oauthbearer.h"
#include "identity/token.h"
#include "keeper/grants_priv.h"

enum { PROOF_WAIT_S = 8 };

struct waiting {
	struct list link;
	uint64_t worker_id;
	uint64_t due_ns;
	struct secret body;
};

/* ---- proofs ---- */

void proof_of_token(struct asked *a, int rc, const struct token_row *row) {
	struct err e = { 0 };

	a->ask.proof = PROOF_IS_UNKNOWN;
	if (rc == 0)
		rc = who_parse(&a->who, a->arena, row->who, &e);
	if (rc < 0 && rc != H_ENOTFOUND)
		log_error("keeper.state.failed", kv_z("what", "token"), kv_err(rc));
	if (rc < 0)
		return;
	a->who.credential = row->id;
	a->who.proof_expires_wall_ns = row->expires_wall_ns;
	a->ask.proof = PROOF_IS_FOUND;
	a->ask.who = &a->who;
	a->ask.expires_wall_ns = row->expires_wall_ns;
	a->ask.revoked_wall_ns = row->revoked_wall_ns;
}

static void prove_local(struct keeper *k, struct asked *a) {
	uint8_t hash[SHA256_SIZE];
	struct token_row row = { 0 };

	a->ask.proof = PROOF_IS_MALFORMED;
	if (token_hash(hash, a->m.admit.proof) < 0)
		return;
	if (!k->rt->config->gateway.identity_local) {
		a->ask.proof = PROOF_IS_REFUSED;
		a->ask.proof_reason = REFUSE_LOCAL_OFF;
		return;
	}
	int rc = state_token_get(k->state, hash, a->arena, &row);

	proof_of_token(a, rc, &row);
}

static enum refuse_reason reason_of(enum token_wrong wrong) {
	static const enum refuse_reason reasons[TOKEN_WRONG_COUNT] = {
		[TOKEN_FINE] = REFUSE_INTERNAL,
		[TOKEN_MALFORMED] = REFUSE_TOKEN_MALFORMED,
		[TOKEN_ALGORITHM] = REFUSE_TOKEN_ALGORITHM,
		[TOKEN_KEY_UNKNOWN] = REFUSE_TOKEN_KEY,
		[TOKEN_SIGNATURE] = REFUSE_TOKEN_SIGNATURE,
		[TOKEN_ISSUER] = REFUSE_TOKEN_ISSUER,
		[TOKEN_AUDIENCE] = REFUSE_TOKEN_AUDIENCE,
		[TOKEN_EXPIRED] = REFUSE_TOKEN_EXPIRED,
		[TOKEN_NOT_YET] = REFUSE_TOKEN_NOT_YET,
		[TOKEN_LIFETIME] = REFUSE_TOKEN_LIFETIME,
		[TOKEN_CLAIMS] = REFUSE_TOKEN_CLAIMS,
		[TOKEN_NO_MAPPING] = REFUSE_NO_MAPPING,
		[TOKEN_MAPPING] = REFUSE_MAPPING,
	};

	assert(wrong < TOKEN_WRONG_COUNT);
	return reasons[wrong];
}

static bool prove_oidc(struct keeper *k, struct asked *a, bool is_last) {
	struct oidc_proof proof;
	enum oidc_verdict v = oidc_prove(k->oidc, a->m.admit.proof, a->ask.now_wall_ns,
	                                 loop_now(k->loop), a->arena, &a->who, &proof);

	if (v == OIDC_PROVEN) {
		a->ask.proof = PROOF_IS_FOUND;
		a->ask.who = &a->who;
		a->ask.expires_wall_ns = proof.expires_wall_ns;
		return true;
	}
	if (v == OIDC_WAIT && !is_last)
		return false;
	a->ask.proof = PROOF_IS_REFUSED;
	a->ask.proof_reason = v == OIDC_WRONG ? reason_of(proof.wrong) : REFUSE_TOKEN_KEYS_GONE;
	a->wrong = proof.e;
	return true;
}

bool proof_look(struct keeper *k, struct asked *a, bool is_last) {
	bool is_oidc = k->rt->config->gateway.issuers != NULL;
	enum proof_kind kind = a->m.admit.proof_kind;

	a->way = (struct proof_way){ .mechanism = kind == PROOF_BEARER ? OAUTHBEARER : "",
		                     .binding = "none" };
	if (kind == PROOF_SCRAM) {
		proof_scram(k, a);
		return true;
	}
	if (kind == PROOF_BEARER && a->m.admit.proof.n == 0) {
		a->ask.proof = PROOF_IS_REFUSED;
		a->ask.proof_reason = REFUSE_OAUTH_DISCOVERY;
		return true;
	}
	if (is_oidc && kind != PROOF_NONE && jwt_looks(a->m.admit.proof))
		return prove_oidc(k, a, is_last);
	prove_local(k, a);
	return true;
}

/* ---- waiting ---- */

bool proof_wait(struct keeper *k, uint64_t worker_id, struct str body) {
	if (k->proof_count == KEEPER_PROOFS_MAX)
		return false;
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->worker_id = worker_id;
	w->due_ns = loop_now(k->loop) + PROOF_WAIT_S * NS_PER_S;
	w->body = secret_of(body);
	list_init(&w->link);
	list_push(&k->proofs, &w->link);
	k->proof_count++;
	return true;
}

static void waiting_free(struct keeper *k, struct waiting *w) {
	list_drop(&w->link);
	secret_free(&w->body);
	free(w);
	k->proof_count--;
}

/* Judges what waits: all, or what is out of time. */
static void again(struct keeper *k, bool is_all) {
	uint64_t now = loop_now(k->loop);

	list_each_safe (it, tmp, &k->proofs) {
		struct waiting *w = container_of(it, struct waiting, link);
		bool is_last = now >= w->due_ns;

		if ((is_all || is_last) &&
		    admit_judge(k, w->worker_id, str_mem(w->body.p, w->body.n), is_last))
			waiting_free(k, w);
	}
}

/* ---- keys ---- */

static void send_fetch(void *arg, const struct oidc_fetch *f) {
	struct keeper *k = arg;
	struct buf b;

	buf_init(&b, IPC_MAX);
	w_vstr(&b, STR("GET"));
	w_vstr(&b, f->url);
	w_vstr(&b, f->ca_pem);
	w_vstr(&b, STR("Accept: application/json\n"));
	w_vstr(&b, STR_NONE);
	w_u32(&b, OIDC_FETCH_MS);
	w_u32(&b, OIDC_BODY_MAX);
	if (w_done(&b) == 0)
		(void)chan_send(&k->chan[ROLE_EGRESS], IPC_FETCH, f->id, buf_peek(&b));
	buf_fini(&b);
}

void grants_on_fetched(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct oidc_answer a = { .id = m->id };

	a.code = (int)rd_u32(&r);
	a.status = rd_u32(&r);
	a.max_age_s = rd_u32(&r);
	a.body = rd_vstr(&r);
	a.text = rd_vstr(&r);
	if (rd_done(&r) == 0 && oidc_fetched(k->oidc, &a, loop_now(k->loop)))
		again(k, true);
}

void proofs_setup(struct keeper *k) {
	list_init(&k->proofs);
	k->oidc = oidc_new(send_fetch, k);
}

void proofs_use(struct keeper *k) {
	oidc_use(k->oidc, k->rt->config, &k->rt->oidc, loop_now(k->loop));
	again(k, true);
}

void proofs_beat(struct keeper *k) {
	again(k, oidc_beat(k->oidc, loop_now(k->loop)));
}

void proofs_peer_gone(struct keeper *k, enum role peer) {
	if (peer == ROLE_EGRESS)
		oidc_fetcher_gone(k->oidc, loop_now(k->loop));
	if (peer != ROLE_WORKER)
		return;
	prove_drop_all(k);
	list_each_safe (it, tmp, &k->proofs)
		waiting_free(k, container_of(it, struct waiting, link));
}

void proofs_free(struct keeper *k) {
	if (k->proofs.next == NULL)
		return;
	list_each_safe (it, tmp, &k->proofs)
		waiting_free(k, container_of(it, struct waiting, link));
	oidc_free(&k->oidc);
}
