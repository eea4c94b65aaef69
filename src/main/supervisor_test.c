/*
 * supervisor_test.c: the machine against a list of what it did.
 */
#include "main/supervisor.h"

#include "base/test.h"

#define S NS_PER_S
#define MS NS_PER_MS

struct fake {
	struct supervisor s;
	char did[2048]; /* "spawn keeper; peer worker keeper down; …" */
	size_t n;
	bool may_not_spawn;
};

static void note(struct fake *f, const char *what, enum role role, const char *more) {
	int n = snprintf(f->did + f->n, sizeof(f->did) - f->n, "%s %s%s; ", what, role_name(role),
	                 more);

	assert(n > 0 && (size_t)n < sizeof(f->did) - f->n);
	f->n += (size_t)n;
}

static int on_spawn(void *arg, enum role role, bool is_again) {
	struct fake *f = arg;

	note(f, "spawn", role, is_again ? " again" : "");
	return f->may_not_spawn ? H_EIO : 0;
}

static void on_kill(void *arg, enum role role) {
	note(arg, "kill", role, "");
}

static void on_hangup(void *arg, enum role role) {
	note(arg, "hangup", role, "");
}

static void on_drain(void *arg, enum role role, uint64_t until_ns) {
	char text[32];

	(void)snprintf(text, sizeof(text), " %u", (unsigned)(until_ns / S));
	note(arg, "drain", role, text);
}

static void on_peer(void *arg, enum role to, enum role about, bool is_up) {
	char text[32];

	(void)snprintf(text, sizeof(text), " %s %s", role_name(about), is_up ? "up" : "gone");
	note(arg, "tell", to, text);
}

static void on_ready(void *arg) {
	struct fake *f = arg;

	f->n += (size_t)snprintf(f->did + f->n, sizeof(f->did) - f->n, "READY; ");
}

static const struct sup_ops fake_ops = {
	on_spawn, on_kill, on_hangup, on_drain, on_peer, on_ready
};

static struct str did(struct fake *f) {
	struct str all = str_mem(f->did, f->n);

	f->n = 0;
	return all.n >= 2 ? str_head(all, all.n - 2) : all;
}

static void begin(struct fake *f) {
	*f = (struct fake){ .n = 0 };
	sup_init(&f->s, &fake_ops, f, 30 * S);
	sup_begin(&f->s, 1 * S);
}

/* To the point where all serve. */
static void run_up(struct fake *f) {
	begin(f);
	sup_configured(&f->s, 1 * S);
	sup_serves(&f->s, ROLE_EGRESS, 1 * S);
	sup_serves(&f->s, ROLE_RECORDER, 1 * S);
	sup_serves(&f->s, ROLE_KEEPER, 1 * S);
	sup_serves(&f->s, ROLE_WORKER, 1 * S);
	f->n = 0;
}

TEST(sup_starts_in_order) {
	struct fake f;

	begin(&f);
	CHECK_EQ_STR(did(&f), STR("spawn keeper; spawn egress"));
	sup_configured(&f.s, 2 * S);
	CHECK_EQ_STR(did(&f), STR("spawn worker; spawn recorder"));
	sup_configured(&f.s, 2 * S); /* a reload */
	CHECK_EQ_STR(did(&f), STR(""));
	sup_serves(&f.s, ROLE_EGRESS, 2 * S);
	CHECK_EQ_STR(did(&f), STR("tell keeper egress up"));
	sup_serves(&f.s, ROLE_EGRESS, 2 * S);
	CHECK_EQ_STR(did(&f), STR(""));
	sup_serves(&f.s, ROLE_KEEPER, 2 * S);
	sup_serves(&f.s, ROLE_RECORDER, 2 * S);
	f.n = 0;
	sup_serves(&f.s, ROLE_WORKER, 2 * S);
	CHECK_EQ_STR(did(&f), STR("tell keeper worker up; tell recorder worker up; READY"));
	CHECK_EQ_U(sup_next_ns(&f.s), 0);
}

TEST(sup_restarts_with_backoff) {
	static const unsigned waits_ms[] = { 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000 };
	struct fake f;
	uint64_t now = 60 * S;

	run_up(&f);
	sup_exited(&f.s, ROLE_RECORDER, true, now);
	CHECK_EQ_STR(did(&f), STR("tell keeper recorder gone; tell worker recorder gone; "
	                          "spawn recorder again"));
	for (size_t i = 1; i < ARRAY_LEN(waits_ms); i++) {
		sup_exited(&f.s, ROLE_RECORDER, i % 2 != 0, now);
		f.n = 0;
		CHECK_EQ_U(sup_next_ns(&f.s), now + waits_ms[i] * MS);
		sup_tick(&f.s, now + waits_ms[i] * MS - 1);
		CHECK_EQ_STR(did(&f), STR(""));
		now += waits_ms[i] * MS;
		sup_tick(&f.s, now);
		CHECK_EQ_STR(did(&f), STR("spawn recorder again"));
	}
	sup_serves(&f.s, ROLE_RECORDER, now);
	CHECK_EQ_STR(did(&f), STR("tell keeper recorder up; tell worker recorder up; READY"));
	/* It has been well for long enough: at once again. */
	sup_exited(&f.s, ROLE_RECORDER, true, now + 10 * S);
	CHECK_EQ_STR(did(&f), STR("tell keeper recorder gone; tell worker recorder gone; "
	                          "spawn recorder again"));
}

TEST(sup_tells_only_peers_that_live) {
	struct fake f;

	run_up(&f);
	sup_exited(&f.s, ROLE_KEEPER, true, 20 * S);
	sup_exited(&f.s, ROLE_KEEPER, true, 20 * S); /* the second one too: now it waits */
	f.n = 0;
	sup_exited(&f.s, ROLE_WORKER, true, 20 * S);
	CHECK_EQ_STR(did(&f), STR("tell recorder worker gone; spawn worker again"));
	sup_serves(&f.s, ROLE_WORKER, 20 * S);
	CHECK_EQ_STR(did(&f), STR("tell recorder worker up"));
	sup_tick(&f.s, 20 * S + 100 * MS);
	CHECK_EQ_STR(did(&f), STR("spawn keeper again"));
	sup_serves(&f.s, ROLE_KEEPER, 21 * S);
	CHECK_EQ_STR(did(&f), STR("tell egress keeper up; tell worker keeper up; "
	                          "tell recorder keeper up; READY"));
}

TEST(sup_a_start_that_fails_ends) {
	struct fake f;

	begin(&f);
	f.n = 0;
	sup_exited(&f.s, ROLE_KEEPER, false, 2 * S); /* its configuration is wrong, it said */
	CHECK_EQ_STR(did(&f), STR("hangup egress"));
	CHECK(f.s.phase == SUP_ENDING);
	sup_exited(&f.s, ROLE_EGRESS, false, 2 * S);
	CHECK(f.s.phase == SUP_ENDED && f.s.exit_status == 1);
}

TEST(sup_a_start_survives_kills_but_not_for_ever) {
	struct fake f;
	unsigned spawns = 1;

	begin(&f);
	for (uint64_t now = 2 * S; f.s.phase == SUP_STARTING && spawns < 50; now += 10 * S) {
		sup_exited(&f.s, ROLE_KEEPER, true, now);
		sup_tick(&f.s, now + 9 * S);
		spawns += f.s.phase == SUP_STARTING;
	}
	CHECK_EQ_U(spawns, 5);
	sup_exited(&f.s, ROLE_EGRESS, false, 100 * S);
	CHECK(f.s.phase == SUP_ENDED && f.s.exit_status == 1);
}

TEST(sup_no_process_can_be_made) {
	struct fake f = { .may_not_spawn = true };
	uint64_t now = 1 * S;

	sup_init(&f.s, &fake_ops, &f, 30 * S);
	sup_begin(&f.s, now);
	for (int i = 0; i < 20 && f.s.phase != SUP_ENDED; i++)
		sup_tick(&f.s, now += 6 * S);
	CHECK(f.s.phase == SUP_ENDED && f.s.exit_status == 1);
}

TEST(sup_drains_one_after_the_other) {
	struct fake f;

	run_up(&f);
	sup_term(&f.s, 100 * S);
	CHECK_EQ_STR(did(&f), STR("drain worker 130"));
	CHECK_EQ_U(sup_next_ns(&f.s), 135 * S);
	sup_drained(&f.s, ROLE_WORKER, 104 * S);
	CHECK_EQ_STR(did(&f), STR("hangup worker"));
	sup_exited(&f.s, ROLE_WORKER, false, 104 * S);
	CHECK_EQ_STR(did(&f), STR("drain keeper 124"));
	sup_drained(&f.s, ROLE_KEEPER, 105 * S);
	CHECK_EQ_STR(did(&f), STR("drain recorder 125")); /* the keeper lives: it signs */
	sup_drained(&f.s, ROLE_RECORDER, 105 * S);
	sup_exited(&f.s, ROLE_RECORDER, false, 105 * S);
	CHECK_EQ_STR(did(&f), STR("hangup recorder; hangup keeper"));
	sup_exited(&f.s, ROLE_KEEPER, false, 105 * S);
	CHECK_EQ_STR(did(&f), STR("hangup egress"));
	CHECK(f.s.phase == SUP_DRAINING);
	sup_exited(&f.s, ROLE_EGRESS, false, 105 * S);
	CHECK(f.s.phase == SUP_ENDED && f.s.exit_status == 0);
}

TEST(sup_a_drain_has_limits) {
	struct fake f;

	run_up(&f);
	sup_term(&f.s, 100 * S);
	f.n = 0;
	sup_tick(&f.s, 134 * S);
	CHECK_EQ_STR(did(&f), STR(""));
	sup_tick(&f.s, 135 * S);
	CHECK_EQ_STR(did(&f), STR("hangup worker"));
	sup_tick(&f.s, 140 * S);
	CHECK_EQ_STR(did(&f), STR("kill worker"));
	sup_exited(&f.s, ROLE_WORKER, true, 140 * S);
	CHECK_EQ_STR(did(&f), STR("drain keeper 160"));
	sup_tick(&f.s, 165 * S); /* it does not answer: the recorder must not wait for it */
	CHECK_EQ_STR(did(&f), STR("drain recorder 185"));
	/* One that dies instead is not started again, and its turn is over. */
	sup_exited(&f.s, ROLE_RECORDER, true, 166 * S);
	CHECK_EQ_STR(did(&f), STR("hangup keeper"));
	sup_exited(&f.s, ROLE_EGRESS, true, 166 * S);
	sup_exited(&f.s, ROLE_KEEPER, false, 167 * S);
	CHECK(f.s.phase == SUP_ENDED && f.s.exit_status == 1);
}

TEST(sup_term_during_start) {
	struct fake f;

	begin(&f);
	sup_configured(&f.s, 1 * S);
	sup_serves(&f.s, ROLE_KEEPER, 1 * S);
	f.n = 0;
	sup_term(&f.s, 2 * S);
	CHECK_EQ_STR(did(&f), STR("hangup worker"));
	sup_exited(&f.s, ROLE_WORKER, false, 2 * S);
	CHECK_EQ_STR(did(&f), STR("drain keeper 22"));
	sup_drained(&f.s, ROLE_KEEPER, 2 * S);
	CHECK_EQ_STR(did(&f), STR("hangup recorder"));
	sup_exited(&f.s, ROLE_RECORDER, false, 2 * S);
	CHECK_EQ_STR(did(&f), STR("hangup keeper"));
}

TEST(sup_second_signal_ends_at_once) {
	struct fake f;

	run_up(&f);
	sup_exited(&f.s, ROLE_EGRESS, true, 90 * S);
	sup_exited(&f.s, ROLE_EGRESS, true, 90 * S); /* waits for its back-off */
	sup_term(&f.s, 90 * S);
	f.n = 0;
	sup_term(&f.s, 90 * S);
	CHECK_EQ_STR(did(&f), STR("kill keeper; kill worker; kill recorder"));
	sup_exited(&f.s, ROLE_KEEPER, true, 90 * S);
	sup_exited(&f.s, ROLE_WORKER, true, 90 * S);
	CHECK(f.s.phase == SUP_ENDING);
	sup_exited(&f.s, ROLE_RECORDER, true, 90 * S);
	CHECK(f.s.phase == SUP_ENDED && f.s.exit_status == 1);
}

TEST(sup_kills_what_stands_still) {
	struct fake f;

	run_up(&f);
	sup_stalled(&f.s, ROLE_RECORDER, 5 * S); /* too young to have stalled for 10 s */
	CHECK_EQ_STR(did(&f), STR(""));
	sup_stalled(&f.s, ROLE_RECORDER, 20 * S);
	CHECK_EQ_STR(did(&f), STR("kill recorder"));
}

TEST_MAIN
