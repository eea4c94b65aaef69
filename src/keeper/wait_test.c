/*
 * wait_test.c: admissions while recorder or egress are away (grants_wait.c): they wait, begin again and go
 * on; they do not wait for ever; a recorder that answers nothing is reported.
 */
#include <fcntl.h>

#include "base/test.h"
#include "keeper/keeper_lab.h"
#include "keeper/keeper_priv.h"

static bool connects(struct lab *l, uint64_t id) {
	struct ipc_msg m;
	auto_fd int socket_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (!lab_get(l, l->egress, IPC_CONNECT, &m))
		return false;
	lab_connected(l, m.id, 0, socket_fd);
	if (!lab_get(l, l->worker, IPC_GRANT, &m))
		return false;
	ipc_msg_close(&m);
	return CHECK_EQ_U(m.id, id);
}

TEST(keeper_waits_for_egress) {
	struct lab l;
	struct ipc_msg m;
	char token[128], id[64];
	const struct lab_asking good = { .token = token };

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT, &m));
	ipc_msg_close(&m);
	REQUIRE(lab_token(&l, lab_issue, token, id));
	/* Egress dies with the question: it is asked again when it is back. */
	lab_admit(&l, 4, &good);
	REQUIRE(lab_open(&l, 0) && lab_get(&l, l.egress, IPC_CONNECT, &m));
	uint64_t late = m.id;

	lab_peer(&l, ROLE_EGRESS, 0);
	lab_connected(&l, late, 0, l.egress); /* nobody waits for that any more: closed */
	lab_admit(&l, 5, &good);
	REQUIRE(lab_open(&l, 0));
	CHECK(lab_quiet(&l, l.egress) && lab_quiet(&l, l.worker));
	lab_peer(&l, ROLE_EGRESS, 1);
	CHECK(connects(&l, 4) && connects(&l, 5));
	CHECK_EQ_U(l.abandoned, 0);
	/* It does not come back. */
	lab_admit(&l, 6, &good);
	REQUIRE(lab_open(&l, 0) && lab_get(&l, l.egress, IPC_CONNECT, &m));
	lab_peer(&l, ROLE_EGRESS, 0);
	for (int i = 0; i < 24; i++)
		lab_pump(&l, 500);
	REQUIRE(lab_abandoned(&l) && lab_refused(&l, 6, H_ECONNECT, NULL));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

static void store_state(struct lab *l, uint8_t state) {
	struct buf b;

	buf_init(&b, 64);
	w_u8(&b, state);
	w_vstr(&b, STR("a reason"));
	lab_put(l, l->recorder, IPC_STORE_STATE, 0, &b);
	buf_fini(&b);
}

TEST(keeper_waits_for_the_recorder) {
	struct lab l;
	struct ipc_msg m;
	char token[128], id[64];
	uint8_t sid[16];
	const struct lab_asking good = { .token = token };

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT, &m));
	ipc_msg_close(&m);
	REQUIRE(lab_token(&l, lab_issue, token, id));
	/* It dies with an OPEN under way, and while egress connects; both begin again, under other
	 * names. The worker is not told. */
	lab_admit(&l, 6, &good);
	REQUIRE(lab_open(&l, 0) && lab_get(&l, l.egress, IPC_CONNECT, &m));
	uint64_t late = m.id;

	memcpy(sid, l.open_sid, 16);
	lab_peer(&l, ROLE_RECORDER, 0);
	lab_connected(&l, late, 0, l.egress);
	CHECK(lab_quiet(&l, l.worker));
	CHECK(!l.has_open);
	lab_peer(&l, ROLE_RECORDER, 1);
	/* It serves, and still has to end what its predecessor left; then it still recovers. */
	REQUIRE(lab_open(&l, H_EBUSY) && lab_open(&l, H_ERECORDER) && lab_open(&l, 0));
	CHECK(memcmp(sid, l.open_sid, 16) != 0);
	CHECK(connects(&l, 6));
	CHECK_EQ_U(l.abandoned, 0);
	/* While it is away nothing is sent. */
	lab_peer(&l, ROLE_RECORDER, 0);
	lab_admit(&l, 7, &good);
	CHECK(lab_quiet(&l, l.worker));
	CHECK(!l.has_open);
	lab_peer(&l, ROLE_RECORDER, 1);
	REQUIRE(lab_open(&l, 0) && connects(&l, 7));
	/* One that cannot write says so, and is not asked again; one that refuses is not asked. */
	store_state(&l, 2);
	lab_admit(&l, 8, &good);
	REQUIRE(lab_open(&l, H_ERECORDER) && lab_refused(&l, 8, H_ERECORDER, NULL));
	store_state(&l, 1);
	lab_pump(&l, 100);
	lab_admit(&l, 9, &good);
	REQUIRE(lab_refused(&l, 9, H_ENOSPACE, NULL));
	CHECK(lab_act_comes(&l, "a reason"));
	/* What the dead one said does not hold for the next. */
	lab_peer(&l, ROLE_RECORDER, 0);
	lab_peer(&l, ROLE_RECORDER, 1);
	lab_admit(&l, 10, &good);
	REQUIRE(lab_open(&l, 0) && connects(&l, 10));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

TEST(keeper_reports_a_recorder_that_stalls) {
	struct lab l;
	struct ipc_msg m;
	char token[128], id[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	lab_peer(&l, ROLE_RECORDER, 1);
	lab_admit(&l, 1, &(struct lab_asking){ .token = token });
	REQUIRE(lab_open(&l, 1)); /* no answer */
	for (int i = 0; i < 24 && !lab_logged(&l, "keeper.recorder.stalled"); i++)
		lab_pump(&l, 500);
	REQUIRE(lab_get(&l, l.sup, IPC_SUP_STALLED, &m));
	CHECK(m.body.n == 1 && m.body.p[0] == ROLE_RECORDER);
	/* Nobody replaces it: the client is told at last. */
	for (int i = 0; i < 20; i++)
		lab_pump(&l, 500);
	CHECK(lab_refused(&l, 1, H_ERECORDER, NULL));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

TEST_MAIN
