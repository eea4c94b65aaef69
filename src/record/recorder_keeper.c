/*
 * recorder_keeper.c: what the keeper says: open, abandon, acts, signatures (KR of ipc.h), and the
 * session of acts.
 *
 * The keeper is trusted for who a session belongs to, and for nothing about memory: every number is
 * checked against the ring it names. An answer goes out when what was asked for is durable, or has
 * failed.
 */
#include "base/json.h"
#include "record/recorder_priv.h"

void keeper_ack(struct recorder *r, const struct batch_item *it, int code) {
	rec_tell(r, it->ack_type, it->ack_id, code);
}

/* --- sessions --- */

struct open_question {
	uint16_t ring;
	uint32_t slot, generation;
	uint8_t sid[SID_SIZE];
	uint8_t durable;
	uint64_t quota;
	struct str json;
};

static int open_parse(struct open_question *q, struct str body) {
	struct rd b = rd_of(body);

	q->ring = rd_u16(&b);
	q->slot = rd_u32(&b);
	q->generation = rd_u32(&b);
	struct str sid = rd_bytes(&b, SID_SIZE);

	q->durable = rd_u8(&b);
	q->quota = rd_u64(&b);
	q->json = rd_vstr(&b);
	int rc = rd_done(&b);

	if (rc < 0)
		return rc;
	memcpy(q->sid, sid.p, SID_SIZE);
	if (q->durable > DURABLE_ASYNC || q->json.n > 64 * KIB)
		return H_EPROTO;
	return 0;
}

/* May the slot be taken? The worker gives a slot a new generation only when it is done with the old
 * one: what that still said is taken first, and if it never said END (its grant was lost with a
 * keeper, say) it ends now. */
static int claim_slot(struct recorder *r, struct rec_ring *g, const struct open_question *q) {
	if (g == NULL || g->is_dead || g->is_bad || q->slot >= g->ring.slot_count ||
	    q->generation == 0)
		return H_ENOTFOUND;
	struct rec_session *old = g->slot[q->slot];

	if (old == NULL)
		return 0;
	if (old->state == SS_CLOSED || old->state == SS_ZOMBIE) {
		old->state = SS_CLOSED;
		rec_session_release_slot(r, old);
		return 0;
	}
	if (old->generation == q->generation)
		return H_EBUSY;
	if (!old->saw_end)
		(void)rec_drain_ring(r, g);
	if (g->slot[q->slot] == NULL)
		return 0;
	if (g->slot[q->slot] != old)
		return H_EBUSY;
	if (!old->saw_end) {
		old->saw_end = true;
		rec_session_close(r, old, "superseded", H_ERECORDER);
	}
	g->slot[q->slot] = NULL;
	g->session_count--;
	old->ring = NULL;
	return 0;
}

static int try_open(struct recorder *r, const struct open_question *q, uint64_t id) {
	struct rec_ring *g = rec_ring(r, q->ring);

	if (r->store_state == STORE_REFUSE || r->phase == RP_NOSPACE)
		return H_ENOSPACE;
	if (r->phase != RP_SERVING)
		return H_ERECORDER;
	if (r->is_draining)
		return H_EDRAIN;
	int rc = claim_slot(r, g, q);

	if (rc < 0)
		return rc;
	struct rec_session *s = rec_session_new(r, q->sid);

	if (s == NULL)
		return H_EEXIST;
	s->durable = q->durable;
	s->quota = q->quota;
	rec_session_bind(r, s, g, q->slot, q->generation);
	batch_json(r, s, FRAME_OPEN, q->json,
	           &(struct batch_item){ .ack_type = IPC_OPENED, .ack_id = id });
	return 0;
}

static void on_open(struct recorder *r, const struct ipc_msg *m) {
	struct open_question q;
	int rc = open_parse(&q, m->body);

	if (rc == 0)
		rc = try_open(r, &q, m->id);
	if (rc < 0)
		rec_tell(r, IPC_OPENED, m->id, rc);
}

static void on_abandon(struct recorder *r, const struct ipc_msg *m) {
	struct rd b = rd_of(m->body);
	struct str sid = rd_bytes(&b, SID_SIZE);
	struct str reason = rd_vstr(&b);
	char text[TLOG_TOKEN_MAX + 1];

	if (rd_done(&b) < 0)
		return;
	struct rec_session *s = map_get(r->by_sid, sid);

	if (s == NULL || s->is_acts)
		return;
	if (!str_copy(text, sizeof(text), str_head(reason, TLOG_TOKEN_MAX)) || text[0] == '\0')
		(void)snprintf(text, sizeof(text), "abandoned");
	s->saw_end = true;
	rec_session_close(r, s, text, H_ECONNECT);
	rec_session_release_slot(r, s);
}

/* --- acts --- */

static void put_gateway(struct recorder *r, struct jw *j) {
	char hex[33];

	jw_key(j, "gateway");
	jw_obj(j);
	hex_encode(hex, r->node, sizeof(r->node));
	jw_kv_z(j, "node", hex);
	jw_kv_z(j, "version", r->o.version != NULL ? r->o.version : "");
	hex_encode(hex, r->o.boot, sizeof(r->o.boot));
	jw_kv_z(j, "boot", hex);
	jw_obj_end(j);
}

/* One session per boot holds the acts. */
void acts_open(struct recorder *r) {
	uint8_t sid[SID_SIZE];
	struct jw j;

	uuid7(sid, rec_wall(r));
	r->acts = rec_session_new(r, sid);
	assert(r->acts != NULL);
	r->acts->is_acts = true;
	r->acts->state = SS_OPEN;
	buf_clear(&r->json);
	j = jw_of(&r->json);
	jw_obj(&j);
	jw_kv_u64(&j, "format", 1);
	jw_kv_z(&j, "protocol", "acts");
	jw_kv_z(&j, "connection", "");
	put_gateway(r, &j);
	jw_kv_u64(&j, "opened_wall_ns", rec_wall(r));
	jw_obj_end(&j);
	batch_json(r, r->acts, FRAME_OPEN, buf_peek(&r->json), NULL);
}

static void acts_drop_unwritten(struct recorder *r) {
	if (r->acts != NULL && r->acts->tree.size == 0 && r->acts->inflight == 0) {
		rec_session_free(r, r->acts);
		r->acts = NULL;
	}
}

void acts_renew(struct recorder *r) {
	if (r->phase != RP_SERVING || r->is_draining)
		return;
	acts_drop_unwritten(r);
	if (r->acts == NULL)
		acts_open(r);
}

void acts_close(struct recorder *r) {
	acts_drop_unwritten(r);
	if (r->acts != NULL)
		rec_session_close(r, r->acts, "stop", 0);
	r->acts = NULL;
}

static void on_act(struct recorder *r, const struct ipc_msg *m) {
	struct rd b = rd_of(m->body);
	struct str json = rd_vstr(&b);

	if (rd_done(&b) < 0 || json.n > 96 * KIB) {
		rec_tell(r, IPC_ACT_DONE, m->id, H_EPROTO);
		return;
	}
	/* The act may have to bring an open frame; what stands in the batch may fail first. */
	batch_room(r, json.n + 8 * KIB);
	acts_renew(r);
	if (r->acts == NULL || r->acts->state != SS_OPEN || r->acts->cut_frames == 0 ||
	    r->phase == RP_BROKEN)
		rec_tell(r, IPC_ACT_DONE, m->id, r->is_draining ? H_EDRAIN : H_ERECORDER);
	else
		batch_json(r, r->acts, FRAME_ACT, json,
		           &(struct batch_item){ .ack_type = IPC_ACT_DONE, .ack_id = m->id });
}

/* --- the log's key --- */

static void on_signed(struct recorder *r, const struct ipc_msg *m) {
	struct rd b = rd_of(m->body);
	int code = (int)rd_u32(&b);
	struct str note = rd_vstr(&b);

	sign_done(r, rd_done(&b) < 0 ? H_EPROTO : code, note);
}

/* The keeper signed something of which we did not hear: its answer was lost with one of us. */
static void catch_up(struct recorder *r, uint64_t size, const uint8_t *root) {
	uint8_t ours[SHA256_SIZE];

	r->sign_running = false;
	r->sign_is_unknown = false;
	r->keeper_is_up = true;
	if (r->log == NULL || size <= r->signed_size)
		return;
	/* Nothing is signed on top of what cannot be checked; the beat asks again. */
	int rc = size <= r->leaf_durable ? tlog_root(r->log, size, ours) : H_ETAMPERED;

	if (rc == 0 && memcmp(ours, root, SHA256_SIZE) != 0)
		rc = H_ETAMPERED;
	if (rc < 0) {
		r->sign_is_unknown = true;
		rec_alarm(r, "record.sign.unknown",
		          rc == H_ETAMPERED ? "the keeper signed another log"
		                            : "tiles of the node log cannot be read",
		          rc);
		return;
	}
	r->signed_size = size;
	memcpy(r->signed_root, root, SHA256_SIZE);
}

static void on_last_signed(struct recorder *r, const struct ipc_msg *m) {
	struct rd b = rd_of(m->body);
	uint64_t size = rd_u64(&b);
	struct str root = rd_bytes(&b, SHA256_SIZE);
	struct str origin = rd_vstr(&b);
	struct str vkey = rd_vstr(&b);
	struct str node = rd_bytes(&b, TLOG_NODE_SIZE);

	if (rd_done(&b) < 0)
		return;
	if (r->phase != RP_STARTING) {
		/* An answer from before the last SIGN says nothing about it. */
		if (m->id > r->last_settled) {
			r->last_settled = r->last_asked;
			catch_up(r, size, (const uint8_t *)root.p);
		}
		return;
	}
	r->last_settled = r->last_asked;
	r->sign_is_unknown = false;
	r->signed_size = size;
	memcpy(r->signed_root, root.p, SHA256_SIZE);
	memcpy(r->node, node.p, TLOG_NODE_SIZE);
	if (!str_copy(r->origin, sizeof(r->origin), origin) ||
	    !str_copy(r->vkey, sizeof(r->vkey), vkey))
		return;
	r->keeper_is_up = true;
	r->now = r->o.hooks.mono(r->o.hooks.arg);
	recover(r);
}

void recorder_keeper_message(struct recorder *r, const struct ipc_msg *m) {
	r->now = r->o.hooks.mono(r->o.hooks.arg);
	if (m->type == IPC_LAST_SIGNED_IS)
		on_last_signed(r, m);
	else if (m->type == IPC_OPEN)
		on_open(r, m);
	else if (m->type == IPC_ABANDON)
		on_abandon(r, m);
	else if (m->type == IPC_ACT)
		on_act(r, m);
	else if (m->type == IPC_SIGNED)
		on_signed(r, m);
}

void recorder_start(struct recorder *r) {
	r->now = r->o.hooks.mono(r->o.hooks.arg);
	r->sign_is_unknown = true;
	r->o.hooks.to_keeper(r->o.hooks.arg, IPC_LAST_SIGNED, ++r->last_asked, STR_NONE);
}

/* As many sessions as fit in a message, then the next message. */
static void send_bindings(struct recorder *r, struct list **at) {
	struct buf b;
	uint32_t n = 0;

	buf_init(&b, IPC_MAX);
	w_u32(&b, 0);
	for (; *at != &r->all && b.len + 32 < IPC_MAX; *at = (*at)->next) {
		struct rec_session *s = container_of(*at, struct rec_session, all);

		if (s->ring == NULL || s->state > SS_OPEN)
			continue;
		w_bytes(&b, str_mem(s->sid, SID_SIZE));
		w_u16(&b, s->ring_id);
		w_u32(&b, s->slot);
		w_u32(&b, s->generation);
		n++;
	}
	for (unsigned i = 0; i < 4; i++)
		b.p[b.off + i] = (uint8_t)(n >> 8 * i);
	r->o.hooks.to_keeper(r->o.hooks.arg, IPC_BINDINGS, 0, buf_peek(&b));
	buf_fini(&b);
}

void recorder_keeper_up(struct recorder *r) {
	struct list *at = r->all.next;

	r->keeper_is_up = false; /* nothing to sign until it has answered */
	recorder_start(r);       /* what did it sign last? */
	if (r->phase == RP_STARTING)
		return;
	do
		send_bindings(r, &at);
	while (at != &r->all);
	enum store_state state = r->store_state;

	r->store_state = STORE_OK;
	rec_set_store_state(r, state, "as before");
}
