/*
 * acts.c: acts on Hansard itself, on their way to the record.
 *
 * An act is kept until the recorder says that it is durable. When the recorder is replaced all that
 * are still open are sent again, and one that it could not take (it recovers, the store is full) is
 * sent again each second: an act may stand twice in the record and never not at all. What waits for
 * its act (a token's issue) is answered only then, or told after ten seconds that it failed.
 */
#include "base/clock.h"
#include "keeper/keeper_priv.h"

#define PATIENCE_NS (10 * NS_PER_S)

struct jw act_begin(struct buf *b, const char *name, const char *who_json) {
	struct jw j = jw_of(b);

	jw_obj(&j);
	jw_kv_z(&j, "act", name);
	jw_key(&j, "who");
	jw_raw(&j, str_of(who_json != NULL ? who_json : "{\"process\":\"keeper\"}"));
	jw_kv_u64(&j, "wall_ns", wall_ns());
	return j;
}

static void transmit(struct keeper *k, const struct act *a) {
	struct buf body;

	buf_init(&body, IPC_MAX);
	w_vstr(&body, str_mem(a->json, a->len));
	if (w_done(&body) == 0)
		(void)chan_send(&k->chan[ROLE_RECORDER], IPC_ACT, a->id, buf_peek(&body));
	buf_fini(&body);
}

void act_send(struct keeper *k, struct buf *json, act_done_fn *fn, uint64_t arg) {
	if (w_done(json) < 0 || k->act_count == KEEPER_ACTS_MAX) {
		log_alarm("keeper.act.lost",
		          kv_z("reason", w_done(json) < 0 ? "too large" : "too many are waiting"));
		if (fn != NULL)
			fn(k, arg, H_ERECORDER);
		return;
	}
	struct act *a = xcalloc(1, sizeof(*a));

	list_init(&a->link);
	a->id = keeper_op(k);
	a->json = str_dup(buf_peek(json));
	a->len = json->len;
	a->fn = fn;
	a->arg = arg;
	a->made_ns = loop_now(k->loop);
	list_push(&k->acts, &a->link);
	k->act_count++;
	if (!k->chan[ROLE_RECORDER].is_down)
		transmit(k, a);
}

static void act_free(struct keeper *k, struct act *a) {
	list_drop(&a->link);
	free(a->json);
	free(a);
	k->act_count--;
}

static struct act *act_find(struct keeper *k, uint64_t id) {
	list_each (it, &k->acts) {
		struct act *a = container_of(it, struct act, link);

		if (a->id == id)
			return a;
	}
	return NULL;
}

/* Not now: who waits for it is told after a while, the act itself stays. */
static void act_refused(struct keeper *k, struct act *a, int code) {
	act_done_fn *fn = a->fn;

	if (!a->is_refused)
		log_warn("keeper.act.waits", kv_err(code));
	a->is_refused = true;
	if (fn == NULL || loop_now(k->loop) < a->made_ns + PATIENCE_NS)
		return;
	a->fn = NULL;
	fn(k, a->arg, code);
}

void acts_on_done(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	int code = (int)rd_u32(&r);
	struct act *a = act_find(k, m->id);

	if (rd_done(&r) < 0 || a == NULL)
		return;
	if (code < 0) {
		act_refused(k, a, code);
		return;
	}
	act_done_fn *fn = a->fn;
	uint64_t arg = a->arg;

	act_free(k, a);
	if (fn != NULL)
		fn(k, arg, 0);
}

void acts_beat(struct keeper *k) {
	list_each (it, &k->acts) {
		struct act *a = container_of(it, struct act, link);

		if (a->is_refused && !k->chan[ROLE_RECORDER].is_down)
			transmit(k, a);
	}
}

void acts_resend(struct keeper *k) {
	list_each (it, &k->acts)
		transmit(k, container_of(it, struct act, link));
}

void acts_free(struct keeper *k) {
	if (k->acts.next == NULL)
		return;
	list_each_safe (it, tmp, &k->acts)
		act_free(k, container_of(it, struct act, link));
}

/* ---- aggregated acts ---- */

static void put_bucket(struct jw *j, const struct refusal *r) {
	jw_kv_z(j, "source", r->source);
	jw_kv_u64(j, "count", r->count);
	jw_kv_u64(j, "first_ns", r->first_wall_ns);
	jw_kv_u64(j, "last_ns", r->last_wall_ns);
	jw_kv_z(j, "last", r->detail);
	jw_obj_end(j);
}

void act_refusal(void *arg, const struct refusal *r) {
	struct keeper *k = arg;
	struct buf b;
	const struct refuse_text *t = refuse_text(r->reason);
	struct refusal_row row = { .ref = str_of(r->ref),
		                   .reason = str_of(t->name),
		                   .source = str_of(r->source),
		                   .detail = str_of(r->detail),
		                   .count = r->count,
		                   .first_wall_ns = r->first_wall_ns,
		                   .last_wall_ns = r->last_wall_ns };

	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b, "session.refused", NULL);

	jw_kv_z(&j, "ref", r->ref);
	jw_kv_z(&j, "reason", t->name);
	put_bucket(&j, r);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
	int rc = state_refusal_put(k->state, &row);

	if (rc < 0)
		log_error("keeper.state.failed", kv_z("what", "refusal"), kv_err(rc));
	log_info("keeper.session.refused", kv_z("ref", r->ref), kv_z("reason", t->name),
	         kv_z("source", r->source), kv_uint("count", r->count));
}

void act_cancel_missed(void *arg, const struct refusal *r) {
	struct keeper *k = arg;
	struct buf b;

	buf_init(&b, IPC_MAX);
	struct jw j = act_begin(&b, "cancel.missed", NULL);

	put_bucket(&j, r);
	act_send(k, &b, NULL, 0);
	buf_fini(&b);
}
