/* prove_session_test.c: a client's proof on its way through the worker: PROVE, PROVED, and every way to go. */
#include "base/test.h"
#include "session/admit.h"
#include "session/session_world.h"

struct first {
	uint64_t id, exchange;
	struct str hint, mechanism, message;
};

/* The next thing that the keeper is told is PROVE. */
static bool prove_comes(struct world *x, struct first *f) {
	struct ipc_msg m = { 0 };

	if (!CHECK_EQ_I(ipc_recv(x->keeper, x->ipc, &m), 1) || !CHECK_EQ_U(m.type, IPC_PROVE))
		return false;
	struct rd r = rd_of(m.body);

	*f = (struct first){ .id = m.id, .exchange = rd_u64(&r) };
	(void)rd_vstr(&r);
	f->hint = rd_vstr(&r);
	f->mechanism = rd_vstr(&r);
	f->message = rd_vstr(&r);
	(void)rd_vstr(&r);
	(void)rd_vstr(&r);
	return CHECK_EQ_I(rd_done(&r), 0);
}

static void answer(struct world *x, unsigned type, uint64_t id, struct buf *b) {
	CHECK_EQ_I(ipc_send(x->keeper, (uint16_t)type, id, buf_peek(b), NULL, 0), 0);
	buf_fini(b);
	turns(x, 3);
}

static void proved(struct world *x, uint64_t id, const char *text) {
	struct buf b;

	buf_init(&b, 256);
	w_vstr(&b, str_of(text));
	answer(x, IPC_PROVED, id, &b);
}

static void refuse(struct world *x, uint64_t id, const char *challenge) {
	struct buf b;

	buf_init(&b, 256);
	w_u32(&b, (uint32_t)H_EREFUSED);
	w_vstr(&b, STR("not admitted"));
	w_vstr(&b, str_of(challenge));
	answer(x, IPC_REFUSE, id, &b);
}

static struct peer *prover(struct world *x) {
	world_make(x, MIB);
	x->is_keeper_held = true;
	struct peer *p = connect_peer(x);

	say(p->client, 'P', STR("first"));
	turns(x, 3);
	return p;
}

TEST(proves) {
	struct world x;
	struct first f;
	struct ipc_msg m = { 0 };
	struct admit_msg a;
	struct peer *p = prover(&x);

	REQUIRE(prove_comes(&x, &f));
	CHECK_EQ_STR(f.hint, STR("key"));
	CHECK_EQ_STR(f.mechanism, STR("MECHANISM"));
	CHECK_EQ_STR(f.message, STR("first"));
	proved(&x, f.id, "challenge");
	CHECK(client_has(&x, p, "challenge"));
	proved(&x, f.id, "nobody asked");
	CHECK(!client_has(&x, p, "nobody"));
	say(p->client, 'A', STR("last"));
	turns(&x, 3);
	REQUIRE(ipc_recv(x.keeper, x.ipc, &m) == 1 && m.type == IPC_ADMIT);
	REQUIRE(admit_get(&a, m.body) == 0);
	CHECK_EQ_U(a.exchange, f.exchange);
	refuse(&x, m.id, "");
	CHECK(client_has(&x, p, "EREFUSED"));
	(void)close(p->client);
	p->client = -1;
	turns(&x, 3);
	CHECK(only_session(&x) == NULL);
	CHECK_EQ_I(ipc_recv(x.keeper, x.ipc, &m), 0); /* used up: nothing to forget */
	world_free(&x);
}

TEST(proves_refused_at_once) {
	struct world x;
	struct first f;
	struct peer *p = prover(&x);

	REQUIRE(prove_comes(&x, &f));
	refuse(&x, f.id, "");
	CHECK(client_has(&x, p, "EREFUSED"));
	world_free(&x);
}

/* The keeper forgets what nobody will end. */
TEST(proves_and_leaves) {
	struct world x;
	struct first f;
	struct ipc_msg m = { 0 };
	struct peer *p = prover(&x);

	REQUIRE(prove_comes(&x, &f));
	(void)close(p->client);
	p->client = -1;
	turns(&x, 3);
	CHECK(only_session(&x) == NULL);
	REQUIRE(ipc_recv(x.keeper, x.ipc, &m) == 1 && m.type == IPC_PROOF_GONE);
	uint64_t gone = 0;

	memcpy(&gone, m.body.p, sizeof(gone));
	CHECK_EQ_U(gone, f.exchange);
	proved(&x, f.id, "late");
	world_free(&x);
}

/* Another keeper is asked the same again. */
TEST(proves_to_another_keeper) {
	struct world x;
	struct first f, again;
	struct peer *p = prover(&x);

	REQUIRE(prove_comes(&x, &f));
	keeper_state(&x.w.threads[0], false);
	turns(&x, 2);
	keeper_state(&x.w.threads[0], true);
	turns(&x, 2);
	REQUIRE(prove_comes(&x, &again));
	CHECK_EQ_U(again.exchange, f.exchange);
	CHECK_EQ_STR(again.message, STR("first"));
	proved(&x, again.id, "challenge");
	CHECK(client_has(&x, p, "challenge"));
	world_free(&x);
}

TEST(proves_to_nobody) {
	struct world x;

	world_make(&x, MIB);
	struct thread *t = &x.w.threads[0];

	keeper_state(t, false);
	struct peer *p = connect_peer(&x);

	say(p->client, 'P', STR("first"));
	turns(&x, 3);
	session_tick(only_session(&x), thread_now(t) + 9 * NS_PER_S);
	CHECK(!client_has(&x, p, "EKEEPER"));
	session_tick(only_session(&x), thread_now(t) + 11 * NS_PER_S);
	turns(&x, 2);
	CHECK(client_has(&x, p, "EKEEPER"));
	CHECK(is_eof(p->client));
	world_free(&x);
}

/* A challenge is said before the end, and the client may say a word to it; then it is the core's to close. */
TEST(proves_challenged) {
	struct world x;
	struct ipc_msg m = { 0 };

	world_make(&x, MIB);
	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("bearer"));
	turns(&x, 3);
	REQUIRE(ipc_recv(x.keeper, x.ipc, &m) == 1 && m.type == IPC_ADMIT);
	refuse(&x, m.id, "where to get one");
	CHECK(client_has(&x, p, "where to get one"));
	REQUIRE(only_session(&x) != NULL);
	CHECK_EQ_U(only_session(&x)->state, S_PRE);
	session_tick(only_session(&x), thread_now(&x.w.threads[0]) + 20 * NS_PER_S);
	CHECK_EQ_I(ipc_recv(x.keeper, x.ipc, &m), 0); /* nobody is asked again */
	say(p->client, 'X', STR("seen"));
	turns(&x, 3);
	CHECK(is_eof(p->client));
	world_free(&x);
}

TEST_MAIN
