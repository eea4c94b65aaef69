/*
 * prove.c: how a client proves that it knows a credential without saying it (ORD_PROVE).
 *
 * The verifier stays in the keeper, so the exchange does too: the client's first message goes there, the
 * server's comes back, and the client's last one is the proof that ADMIT carries. An exchange bears the
 * name of the session's slot and generation at its beginning; a connection has one at most.
 * PROVE is asked again of another keeper when the one that was asked is gone; a keeper that goes
 * between PROVED and ADMIT takes the exchange with it, and the admission is refused.
 */
#include "session/admit.h"
#include "session/shell.h"

static void ask(struct session *s) {
	if (s->has_asked || !s->t->is_keeper_up)
		return;
	s->has_asked = true;
	keeper_send(s->t, IPC_PROVE, keeper_id(s), buf_peek(&s->admit));
}

static void forget(struct session *s) {
	s->is_proving = false;
	s->has_asked = false;
	buf_clear(&s->admit);
	buf_trim(&s->admit, true);
}

void session_prove(struct session *s, const struct order *o) {
	const struct conn *client = &s->sides[SIDE_CLIENT].conn;
	struct buf *b = &s->admit;
	char address[ADDR_TEXT_SIZE];
	uint8_t end_point[64];
	size_t n = client->tls != NULL ? tls_own_end_point(client->tls, end_point) : 0;

	assert(s->state == S_PRE && !s->has_exchange);
	s->is_proving = true;
	s->has_exchange = true;
	s->exchange = keeper_id(s);
	s->admit_ns = thread_now(s->t);
	addr_text(address, &s->peer);
	buf_clear(b);
	w_u64(b, s->exchange);
	w_vstr(b, o->admit->connection);
	w_vstr(b, o->admit->hint);
	w_vstr(b, o->name);
	w_vstr(b, o->bytes);
	w_vstr(b, str_mem(end_point, n));
	w_vstr(b, str_of(address));
	ask(s);
}

void session_proved(struct session *s, struct str body) {
	struct rd r = rd_of(body);
	struct event ev = { .kind = EV_PROVED, .bytes = rd_vstr(&r) };

	if (!s->is_proving || rd_done(&r) < 0)
		return;
	forget(s);
	session_event(s, &ev);
	session_run(s);
}

void session_prove_again(struct session *s) {
	if (!s->is_proving)
		return;
	s->has_asked = false;
	s->admit_ns = thread_now(s->t);
}

void session_prove_tick(struct session *s, uint64_t now) {
	if (!s->is_proving || s->has_asked || s->is_closing)
		return;
	ask(s);
	if (!s->has_asked && now - s->admit_ns >= KEEPER_HOLD_NS)
		session_refused(s, &(struct event){ .code = H_EKEEPER,
		                                    .text = STR("the gateway is not ready") });
}

void session_prove_end(struct session *s) {
	struct buf b;

	forget(s);
	if (!s->has_exchange)
		return;
	s->has_exchange = false;
	buf_init(&b, 16);
	w_u64(&b, s->exchange);
	keeper_send(s->t, IPC_PROOF_GONE, keeper_id(s), buf_peek(&b));
	buf_fini(&b);
}
