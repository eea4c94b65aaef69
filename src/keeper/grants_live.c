/*
 * grants_live.c: what a grant that was given may ask: login steps, a second connection, a cancel.
 *
 * Everything the worker names is looked up; what is not found is answered with a code or not at
 * all. A cancel goes to the session that owns the key, wherever it came in; misses are counted and
 * told as acts, aggregated by source network.
 */
#include "base/clock.h"
#include "keeper/grants_priv.h"

static int pin_get(void *arg, struct str key, struct pin *ret) {
	return state_pin_get(arg, key, ret);
}

static int pin_put(void *arg, struct str key, const struct pin *p) {
	return state_pin_put(arg, key, p);
}

/* The target showed another salt: somebody may be in its place, or its password was set anew. */
static void pin_alarm(struct keeper *k, const struct grant_row *g) {
	struct buf b;

	log_alarm("keeper.pin.changed", kv_z("session", g->short_id),
	          kv_z("connection", g->connection), kv_z("role", g->role));
	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b, "login.pin_refused", NULL);

	jw_kv_z(&j, "session", g->short_id);
	jw_kv_z(&j, "connection", g->connection);
	jw_kv_z(&j, "role", g->role);
	jw_obj_end(&j);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
}

static int login_answer(struct keeper *k, struct grant_row *g, const struct login_ask *ask,
                        struct login_answer *a) {
	struct pin_store pins = { .get = pin_get, .put = pin_put, .arg = k->state };
	int rc = g->is_restored ? H_EKEEPER : H_ELOGIN;

	a->why = g->is_restored ? "the gateway's keeper was restarted during the login"
	                        : "one login exchange per grant: this one is over";
	if (g->rt != NULL)
		rc = login_step(&g->login, runtime_role(g->rt, g->conf), &pins, ask, a);
	if (rc < 0) {
		if (g->login.is_pin_refused)
			pin_alarm(k, g);
		log_warn("keeper.login.failed", kv_z("session", g->short_id),
		         kv_z("connection", g->connection), kv_z("role", g->role),
		         kv_z("reason", a->why));
	}
	if (rc < 0 || a->is_done)
		grant_login_over(g);
	return rc;
}

static void on_login_step(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint64_t id = rd_u64(&r);
	struct login_ask ask = { .message = rd_vstr(&r) };
	struct buf out, b;

	ask.end_point = rd_vstr(&r);
	if (rd_done(&r) < 0)
		return;
	buf_init(&out, 8192);
	buf_init(&b, 16384);
	struct login_answer a = { .out = &out, .why = "the keeper does not know this session" };
	struct grant_row *g = grant_find(k, id);
	int rc = g != NULL ? login_answer(k, g, &ask, &a) : H_EKEEPER;

	if (rc < 0)
		buf_clear(&out);
	w_u64(&b, id);
	w_u32(&b, (uint32_t)rc);
	w_u8(&b, rc == 0 && a.is_done);
	w_vstr(&b, buf_peek(&out));
	w_vstr(&b, str_of(rc < 0 ? a.why : ""));
	(void)chan_send(&k->chan[ROLE_WORKER], IPC_LOGIN_REPLY, m->id, buf_peek(&b));
	if (out.p != NULL)
		wipe(out.p, out.cap);
	if (b.p != NULL)
		wipe(b.p, b.cap);
	buf_fini(&out);
	buf_fini(&b);
}

static void on_session_gone(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint64_t id = rd_u64(&r);
	struct grant_row *g = grant_find(k, id);

	if (rd_done(&r) == 0 && g != NULL)
		grant_free(k, g);
}

static void on_dial(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint64_t id = rd_u64(&r);

	if (rd_done(&r) < 0)
		return;
	struct grant_row *g = grant_find(k, id);
	bool can = g != NULL && g->state == GRANT_LIVE && !k->chan[ROLE_EGRESS].is_down &&
	           map_count(k->ops) < KEEPER_PENDING_MAX;

	if (!can) {
		uint8_t code[4];
		uint32_t v = (uint32_t)H_ECONNECT;

		memcpy(code, &v, sizeof(code));
		(void)chan_send(&k->chan[ROLE_WORKER], IPC_DIALED, m->id, str_mem(code, 4));
		return;
	}
	struct op *op = grant_op(k, OP_DIAL, g, g->connect_ns + CONNECT_GRACE_S * NS_PER_S);

	op->worker_id = m->id;
	grant_connect(k, g, op->id);
}

static void on_cancel(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint32_t pid = rd_u32(&r);
	struct str key = rd_vstr(&r);
	struct str address = rd_vstr(&r);
	struct refusal what = { .reason = REFUSE_NONE };
	char ref[SHORT_ID_SIZE];
	struct buf b;

	if (rd_done(&r) < 0)
		return;
	const struct grant_row *g = key.n != 0 ? map_get(k->keys, key) : NULL;

	if (g == NULL) {
		refuse_source(what.source, address);
		what.last_wall_ns = wall_ns();
		refusals_add(k->cancels, &what, loop_now(k->loop), ref);
		(void)chan_send(&k->chan[ROLE_WORKER], IPC_CANCELLED, m->id, STR_NONE);
		return;
	}
	buf_init(&b, 64);
	w_u32(&b, g->slot);
	w_u32(&b, g->generation);
	w_u32(&b, pid);
	(void)chan_send(&k->chan[ROLE_WORKER], IPC_CANCEL_DO, m->id, buf_peek(&b));
	buf_fini(&b);
}

void grants_on_worker(struct keeper *k, struct ipc_msg *m) {
	if (m->type == IPC_ADMIT)
		grants_on_admit(k, m);
	else if (m->type == IPC_PROVE)
		grants_on_prove(k, m);
	else if (m->type == IPC_PROOF_GONE)
		grants_on_proof_gone(k, m);
	else if (m->type == IPC_LOGIN_STEP)
		on_login_step(k, m);
	else if (m->type == IPC_SESSION_GONE)
		on_session_gone(k, m);
	else if (m->type == IPC_DIAL)
		on_dial(k, m);
	else if (m->type == IPC_CANCEL)
		on_cancel(k, m);
	else if (m->type == IPC_CANCEL_TAKEN)
		(void)chan_send(&k->chan[ROLE_WORKER], IPC_CANCELLED, m->id, STR_NONE);
	else if (m->type == IPC_GRANTS)
		grants_on_restored(k, m);
}
