/*
 * grants_wait.c: admissions that wait (DESIGN §3; docs/failures.md).
 *
 * An admission needs the recorder (OPEN), then egress (CONNECT). Either may be away for a moment:
 * killed and being started again, or recovering the journal. That is no reason to refuse anybody, so
 * the admission stays and is asked again: when the supervisor says that the process serves, and each
 * tenth of a second, because a recorder may serve and still have to end the slot's former session.
 * It waits OPEN_WAIT_S for the recorder and EGRESS_WAIT_S for egress; then it is refused, with a
 * text that says whose fault it is.
 *
 * A recorder that dies takes what it had opened with it: the next one recovers that session and ends
 * it as "recorder-died". So who waits gets a new session id, and begins at OPEN again.
 *
 * A recorder that answers no OPEN for ten beats is reported as stalled, as workers do for their
 * rings: without a running session nobody else would notice. Beats are counted, not time: when this
 * process was stopped, so may all others have been.
 *
 * Bounds: KEEPER_PENDING_MAX admissions, KEEPER_PENDING_BYTES of what they keep.
 */
#include "base/clock.h"
#include "keeper/grants_priv.h"

enum {
	AGAIN_MS = 100,
	STALL_BEATS = 10,
	OPEN_SID_AT = 10 /* u16 ring, u32 slot, u32 generation */
};

void grant_op_drop(struct keeper *k, uint64_t id) {
	struct op *op = id != 0 ? map_get(k->ops, map_key_u64(&id)) : NULL;

	/* An OPEN that is still answered must be abandoned then. */
	if (op != NULL && op->kind == OP_OPEN) {
		op->grant = 0;
		op->due_ns = UINT64_MAX;
	} else if (op != NULL) {
		(void)map_del(k->ops, map_key_u64(&id));
		free(op);
	}
}

void grant_settled(struct keeper *k, struct grant_row *g) {
	list_drop(&g->wait);
	if (g->open == NULL)
		return;
	k->pending--;
	k->pending_bytes -= g->open_len;
	free(g->open);
	g->open = NULL;
}

/* ---- asking ---- */

static void ask_open(struct keeper *k, struct grant_row *g) {
	uint64_t now = loop_now(k->loop);
	struct op *op = grant_op(k, OP_OPEN, g, g->due_ns > now ? g->due_ns - now : 0);

	g->op = op->id;
	(void)chan_send(&k->chan[ROLE_RECORDER], IPC_OPEN, op->id, str_mem(g->open, g->open_len));
}

static void ask_connect(struct keeper *k, struct grant_row *g) {
	struct op *op = grant_op(k, OP_CONNECT, g, g->connect_ns + CONNECT_GRACE_S * NS_PER_S);

	g->op = op->id;
	grant_connect(k, g, op->id);
}

static void put_in_line(struct keeper *k, struct grant_row *g) {
	if (list_empty(&k->waiting))
		timer_set(k->loop, &k->again, loop_now(k->loop) + AGAIN_MS * NS_PER_MS);
	list_drop(&g->wait);
	list_push(&k->waiting, &g->wait);
}

void grant_step(struct keeper *k, struct grant_row *g) {
	enum role role = g->state == GRANT_OPENING ? ROLE_RECORDER : ROLE_EGRESS;

	assert(g->state != GRANT_LIVE && g->op == 0);
	if (k->chan[role].is_down || map_count(k->ops) >= KEEPER_PENDING_MAX)
		put_in_line(k, g);
	else if (g->state == GRANT_OPENING)
		ask_open(k, g);
	else
		ask_connect(k, g);
}

void grant_wait(struct keeper *k, struct grant_row *g) {
	if (g->state == GRANT_OPENING) {
		uuid7(g->sid, g->opened_wall_ns);
		short_id(g->short_id, g->sid);
		assert(g->open_len > OPEN_SID_AT + SID_SIZE);
		memcpy(g->open + OPEN_SID_AT, g->sid, SID_SIZE);
	}
	put_in_line(k, g);
}

void grants_again(struct timer *t) {
	struct keeper *k = container_of(t, struct keeper, again);
	struct list todo;

	/* Who must wait on goes back into the line. */
	list_init(&todo);
	while (!list_empty(&k->waiting)) {
		struct list *it = k->waiting.next;

		list_drop(it);
		list_push(&todo, it);
	}
	while (!list_empty(&todo)) {
		struct grant_row *g = container_of(todo.next, struct grant_row, wait);

		list_drop(&g->wait);
		if (loop_now(k->loop) < g->due_ns)
			grant_step(k, g);
		else if (g->state == GRANT_OPENING)
			grant_fail(k, g, REFUSE_RECORDER, "no recorder served in time");
		else
			grant_fail(k, g, REFUSE_EGRESS, "egress did not serve in time");
	}
}

void grants_peer_serves(struct keeper *k) {
	if (!list_empty(&k->waiting))
		timer_set(k->loop, &k->again, loop_now(k->loop));
}

/* ---- peers that go, time that passes ---- */

struct gather {
	struct grant_row *rows[64];
	struct op *ops[64];
	size_t n;
	uint64_t now;
	enum role peer;
	bool is_stalled;
};

/* Each row is a hit until the loop below has seen to it. */
static void gather_rows(void *arg, struct str key, void *value) {
	struct gather *a = arg;
	struct grant_row *g = value;
	bool is_hit = a->peer == ROLE_WORKER ||
	              (a->peer == ROLE_RECORDER && g->state == GRANT_OPENING && g->op != 0) ||
	              (a->peer == ROLE_RECORDER && g->state == GRANT_CONNECTING) ||
	              (a->peer == ROLE_EGRESS && g->state == GRANT_CONNECTING && g->op != 0);

	(void)key;
	if (is_hit && a->n < ARRAY_LEN(a->rows))
		a->rows[a->n++] = g;
}

static void gather_due(void *arg, struct str key, void *value) {
	struct gather *a = arg;
	struct op *op = value;

	(void)key;
	if (op->due_ns <= a->now && a->n < ARRAY_LEN(a->ops))
		a->ops[a->n++] = op;
}

static void gather_of_peer(void *arg, struct str key, void *value) {
	struct gather *a = arg;
	struct op *op = value;
	enum role of = op->kind == OP_OPEN ? ROLE_RECORDER : ROLE_EGRESS;

	(void)key;
	if (of == a->peer && a->n < ARRAY_LEN(a->ops))
		a->ops[a->n++] = op;
}

/* Questions that the dead peer will not answer. */
static void ops_drop(struct keeper *k, enum role peer) {
	struct gather a;

	do {
		a = (struct gather){ .peer = peer };
		map_each(k->ops, gather_of_peer, &a);
		for (size_t i = 0; i < a.n; i++) {
			if (a.ops[i]->kind == OP_DIAL)
				grant_dialed(k, a.ops[i], H_ECONNECT, -1);
			(void)map_del(k->ops, map_key_u64(&a.ops[i]->id));
			free(a.ops[i]);
		}
	} while (a.n != 0);
}

static void row_peer_gone(struct keeper *k, struct grant_row *g, enum role peer) {
	uint64_t egress_due = loop_now(k->loop) + EGRESS_WAIT_S * NS_PER_S;

	if (peer == ROLE_WORKER) {
		grant_free(k, g);
		return;
	}
	grant_op_drop(k, g->op); /* a CONNECT, when it is the recorder that died */
	g->op = 0;
	if (peer == ROLE_RECORDER) {
		g->state = GRANT_OPENING;
		g->due_ns = g->begun_ns + OPEN_WAIT_S * NS_PER_S;
	} else {
		g->due_ns = MIN(egress_due, g->begun_ns + ADMISSION_MAX_S * NS_PER_S);
	}
	grant_wait(k, g);
}

void grants_peer_gone(struct keeper *k, enum role peer) {
	struct gather a;

	proofs_peer_gone(k, peer);
	if (peer != ROLE_WORKER)
		ops_drop(k, peer);
	do {
		a = (struct gather){ .peer = peer };
		map_each(k->grants, gather_rows, &a);
		for (size_t i = 0; i < a.n; i++)
			row_peer_gone(k, a.rows[i], peer);
	} while (a.n != 0);
}

static void op_expired(struct keeper *k, struct op *op) {
	struct grant_row *g = grant_find(k, op->grant);
	uint64_t id = op->id;

	if (op->kind == OP_DIAL)
		grant_dialed(k, op, H_ETIMEOUT, -1);
	else if (g != NULL)
		grant_fail(k, g, op->kind == OP_OPEN ? REFUSE_RECORDER : REFUSE_TARGET,
		           "no answer in time");
	grant_op_drop(k, id); /* grant_fail() has, when there was a grant */
}

static void count_beat(void *arg, struct str key, void *value) {
	struct gather *a = arg;
	struct op *op = value;

	(void)key;
	if (op->kind != OP_OPEN || ++op->beats < STALL_BEATS)
		return;
	op->beats = 0;
	a->is_stalled = true;
}

static void check_stall(struct keeper *k) {
	const uint8_t role = ROLE_RECORDER;
	struct gather a = { 0 };

	map_each(k->ops, count_beat, &a);
	if (!a.is_stalled || !k->chan[ROLE_RECORDER].is_up)
		return;
	log_alarm("keeper.recorder.stalled");
	(void)chan_send(&k->chan[ROLE_SUPERVISOR], IPC_SUP_STALLED, 0, str_mem(&role, 1));
}

void grants_expire(struct keeper *k) {
	struct gather a;

	do {
		a = (struct gather){ .now = loop_now(k->loop) };
		map_each(k->ops, gather_due, &a);
		for (size_t i = 0; i < a.n; i++)
			op_expired(k, a.ops[i]);
	} while (a.n != 0);
	check_stall(k);
}
