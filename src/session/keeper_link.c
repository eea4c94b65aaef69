/*
 * keeper_link.c: what worker and keeper say to each other (ipc.h, channel WK).
 *
 * Questions carry slot and generation as their id, so an answer finds its session or nobody. The
 * socket is shared by the worker's threads: each sends for itself (a packet is whole), thread 0 receives
 * and passes on by mail. What the socket does not take waits in the thread's outbox, in order.
 *
 * While the keeper is away nothing is lost but what was under way: admissions are asked again (with a
 * new generation, because the former keeper may have bound the old one), login steps and dials fail.
 */
#include "session/shell.h"

#include "base/clock.h"
#include "base/log.h"

#define RETRY_NS (5 * NS_PER_MS)

struct kept {
	uint64_t id;
	uint32_t len;
	uint16_t type;
	uint16_t zero;
};

static int send_now(struct thread *t, uint16_t type, uint64_t id, struct str body) {
	if (t->w->keeper < 0)
		return H_ECLOSED;
	return ipc_send(t->w->keeper, type, id, body, NULL, 0);
}

void keeper_send(struct thread *t, uint16_t type, uint64_t id, struct str body) {
	struct kept k = { .id = id, .len = (uint32_t)body.n, .type = type };
	int rc = t->outbox.len == 0 ? send_now(t, type, id, body) : H_EBUSY;

	if (rc != H_EBUSY)
		return; /* sent; or nobody is there, which SUP_PEER tells */
	w_bytes(&t->outbox, str_mem(&k, sizeof(k)));
	w_bytes(&t->outbox, body);
	if (t->outbox.bad)
		log_error("worker.keeper.overrun");
	t->outbox.bad = false;
	timer_set(t->loop, &t->outbox_timer, thread_now(t) + RETRY_NS);
}

void keeper_flush(struct thread *t) {
	while (t->outbox.len != 0) {
		struct str all = buf_peek(&t->outbox);
		struct kept k;

		memcpy(&k, all.p, sizeof(k));
		if (send_now(t, k.type, k.id, str_mem(all.p + sizeof(k), k.len)) == H_EBUSY) {
			timer_set(t->loop, &t->outbox_timer, thread_now(t) + RETRY_NS);
			return;
		}
		buf_consume(&t->outbox, sizeof(k) + k.len);
	}
	buf_trim(&t->outbox, true);
}

/* ---- answers ---- */

static void on_grant(struct thread *t, struct ipc_msg *m, struct session *s) {
	int fd = ipc_take_fd(m, 0);

	if (s != NULL && fd >= 0) {
		session_granted(s, m->body, fd);
		return;
	}
	if (fd >= 0)
		(void)close(fd);
	/* Nobody waits any more. The record was opened: it gets its end; the keeper its grant back. */
	if (m->body.n >= 8)
		keeper_send(t, IPC_SESSION_GONE, m->id, str_head(m->body, 8));
	if (thread_find(t, (uint32_t)m->id, (uint32_t)(m->id >> 32)) == NULL &&
	    (uint32_t)m->id - t->slot_first < t->slot_count)
		rec_end_orphan(t, (uint32_t)m->id, (uint32_t)(m->id >> 32));
}

static void on_refuse(struct ipc_msg *m, struct session *s) {
	struct rd r = rd_of(m->body);
	int32_t code = (int32_t)rd_u32(&r);
	struct event ev = { .code = code < 0 ? code : H_EREFUSED };

	ev.text = rd_vstr(&r);
	ev.bytes = rd_vstr(&r);
	if (s != NULL && rd_done(&r) == 0)
		session_refused(s, &ev);
}

static void on_login_reply(struct ipc_msg *m, struct session *s) {
	struct rd r = rd_of(m->body);
	uint64_t grant = rd_u64(&r);
	int32_t code = (int32_t)rd_u32(&r);
	uint8_t is_done = rd_u8(&r);
	struct str bytes = rd_vstr(&r), text = rd_vstr(&r);
	struct event ev = { .kind = EV_LOGIN,
		            .code = code,
		            .is_done = is_done == 1,
		            .bytes = bytes,
		            .text = text };

	if (s == NULL || rd_done(&r) < 0 || grant != s->grant || s->state != S_LIVE)
		return;
	s->is_login_asked = false;
	session_event(s, &ev);
	session_run(s);
}

static void tell_aux(struct session *s, enum event_kind kind, int code) {
	struct event ev = { .kind = kind, .side = SIDE_AUX, .code = code };

	session_event(s, &ev);
	session_run(s);
}

static void on_dialed(struct ipc_msg *m, struct session *s) {
	struct rd r = rd_of(m->body);
	int32_t code = (int32_t)rd_u32(&r);
	int fd = ipc_take_fd(m, 0);

	if (s != NULL)
		s->is_dial_asked = false;
	if (s == NULL || s->state != S_LIVE || s->is_closing || s->sides[SIDE_AUX].is_open) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	if (fd < 0) {
		tell_aux(s, EV_CLOSED, code < 0 ? code : H_ECONNECT);
		return;
	}
	side_fini(s, SIDE_AUX);
	s->sides[SIDE_AUX] = (struct side_state){ 0 };
	side_init(s, SIDE_AUX);
	if (side_open(s, SIDE_AUX, fd) < 0)
		tell_aux(s, EV_CLOSED, H_EIO);
	else
		tell_aux(s, EV_DIALED, 0);
}

static void on_cancel(struct thread *t, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint32_t slot = rd_u32(&r), generation = rd_u32(&r), pid = rd_u32(&r);
	struct session *s = thread_find(t, slot, generation);
	struct event ev = { .kind = EV_CANCEL };

	if (rd_done(&r) == 0 && s != NULL && s->state == S_LIVE && s->backend_pid == pid) {
		session_event(s, &ev);
		session_run(s);
	}
	keeper_send(t, IPC_CANCEL_TAKEN, m->id, STR_NONE);
}

static void on_cancelled(struct session *s) {
	struct event ev = { .kind = EV_CANCELLED };

	if (s == NULL || s->is_closing)
		return;
	session_event(s, &ev);
	session_run(s);
}

static void on_kill(struct thread *t, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint32_t slot = rd_u32(&r), generation = rd_u32(&r);
	int32_t code = (int32_t)rd_u32(&r);
	struct session *s = thread_find(t, slot, generation);

	if (rd_done(&r) == 0 && s != NULL)
		session_kill(s, code < 0 ? code : H_EKILLED);
}

void message_refused(struct thread *t, uint16_t type) {
	uint64_t count = log_limit_pass(&t->refused, mono_ns());

	if (count != 0)
		log_warn("ipc.message.refused", kv_z("message", ipc_type_name(type)),
		         kv_uint("count", count));
}

void keeper_message(struct thread *t, struct ipc_msg *m) {
	struct session *s = thread_find(t, (uint32_t)m->id, (uint32_t)(m->id >> 32));

	switch (m->type) {
	case IPC_GRANT:
		on_grant(t, m, s);
		break;
	case IPC_REFUSE:
		on_refuse(m, s);
		break;
	case IPC_PROVED:
		if (s != NULL)
			session_proved(s, m->body);
		break;
	case IPC_LOGIN_REPLY:
		on_login_reply(m, s);
		break;
	case IPC_DIALED:
		on_dialed(m, s);
		break;
	case IPC_CANCEL_DO:
		on_cancel(t, m);
		break;
	case IPC_CANCELLED:
		on_cancelled(s);
		break;
	case IPC_KILL:
		on_kill(t, m);
		break;
	default: /* a number from another process: refused and said */
		message_refused(t, m->type);
		break;
	}
}

/* ---- the keeper comes and goes ---- */

static void send_grants(struct thread *t) {
	struct buf list, all;
	uint32_t count = 0;

	buf_init(&list, IPC_MAX - 1024);
	list_each (it, &t->sessions) {
		struct session *s = container_of(it, struct session, link);

		if (s->state != S_LIVE)
			continue;
		w_u64(&list, s->grant);
		w_u32(&list, s->slot);
		w_u32(&list, s->generation);
		w_vstr(&list, str_mem(s->cancel_key, s->cancel_key_size));
		w_vstr(&list, str_of(s->connection));
		w_vstr(&list, str_of(s->role));
		count++;
		if (list.len < IPC_MAX / 2 && it->next != &t->sessions)
			continue;
		buf_init(&all, IPC_MAX);
		w_u32(&all, count);
		w_bytes(&all, buf_peek(&list));
		keeper_send(t, IPC_GRANTS, 0, buf_peek(&all));
		buf_fini(&all);
		buf_clear(&list);
		count = 0;
	}
	buf_fini(&list);
}

static void fail_questions(struct thread *t) {
	list_each_safe (it, tmp, &t->sessions) {
		struct session *s = container_of(it, struct session, link);
		struct event ev = { .kind = EV_LOGIN,
			            .code = H_EKEEPER,
			            .text = STR("the gateway is not ready") };

		if (s->state == S_LIVE && s->is_login_asked) {
			s->is_login_asked = false;
			session_event(s, &ev);
			session_run(s);
		}
		if (s->state == S_LIVE && s->is_dial_asked) {
			s->is_dial_asked = false;
			tell_aux(s, EV_CLOSED, H_EKEEPER);
		}
		session_prove_again(s);
		if (s->state == S_ADMITTING)
			session_ask_again(s);
	}
}

void keeper_state(struct thread *t, bool is_up) {
	if (!is_up) {
		t->is_keeper_up = false;
		buf_clear(&t->outbox);
		fail_questions(t);
		return;
	}
	t->is_keeper_up = true;
	send_grants(t);
	list_each_safe (it, tmp, &t->sessions)
		session_tick(container_of(it, struct session, link), thread_now(t));
}
