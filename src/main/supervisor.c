/*
 * supervisor.c: see supervisor.h.
 *
 * Invariants
 * 1. ops->spawn is called only for a child in SUP_WAITING, so there is never a second process of a role.
 * 2. In SUP_DRAINING nothing is started again; what dies early makes the exit status 1.
 * 3. SUP_ENDED is reached only when no child runs.
 */
#include "main/supervisor.h"

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_S)
#define STABLE_NS (10 * NS_PER_S)
#define HANGUP_NS (5 * NS_PER_S)  /* from EOF on channel 3 to SIGKILL */
#define FINISH_NS (20 * NS_PER_S) /* recorder: rings, stop leaf, checkpoint; keeper: its part */
#define DRAIN_SLACK_NS (5 * NS_PER_S)
enum { START_ATTEMPTS = 5 };

static const enum role children[] = { ROLE_KEEPER, ROLE_EGRESS, ROLE_WORKER, ROLE_RECORDER };

/* How children end. */
static const struct step {
	enum role role;
	bool is_told; /* SUP_DRAIN */
	bool is_hung_up_on;
} steps[] = {
	{ ROLE_WORKER, true, true },   /* sessions end; their last events are in the rings */
	{ ROLE_KEEPER, true, false },  /* last acts */
	{ ROLE_RECORDER, true, true }, /* drains rings, writes the stop leaf, has it signed */
	{ ROLE_KEEPER, false, true },  { ROLE_EGRESS, false, true },
};

/* Who has a channel to whom (ipc.h). WR has no messages, but both must know. */
static const uint8_t peers[ROLE_COUNT] = {
	[ROLE_KEEPER] = 1 << ROLE_WORKER | 1 << ROLE_RECORDER | 1 << ROLE_EGRESS,
	[ROLE_EGRESS] = 1 << ROLE_KEEPER,
	[ROLE_WORKER] = 1 << ROLE_KEEPER | 1 << ROLE_RECORDER,
	[ROLE_RECORDER] = 1 << ROLE_WORKER | 1 << ROLE_KEEPER,
};

void sup_init(struct supervisor *s, const struct sup_ops *ops, void *arg, uint64_t drain_ns) {
	*s = (struct supervisor){ .ops = ops, .arg = arg, .drain_ns = drain_ns };
}

bool sup_runs(const struct supervisor *s, enum role role) {
	return s->child[role].state > SUP_WAITING;
}

static bool any_runs(const struct supervisor *s) {
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (sup_runs(s, (enum role)i))
			return true;
	}
	return false;
}

static void tell_peers(struct supervisor *s, enum role about, bool is_up) {
	for (int to = 0; to < ROLE_COUNT; to++) {
		if ((peers[about] & (1 << to)) != 0 && sup_runs(s, (enum role)to))
			s->ops->peer(s->arg, (enum role)to, about, is_up);
	}
}

static void want(struct supervisor *s, enum role role, uint64_t due_ns) {
	struct sup_child *c = &s->child[role];

	assert(c->state == SUP_ABSENT);
	c->state = SUP_WAITING;
	c->due_ns = due_ns;
}

static void hang_up(struct supervisor *s, enum role role, uint64_t now) {
	struct sup_child *c = &s->child[role];

	c->state = SUP_HUNG_UP;
	c->due_ns = now + HANGUP_NS;
	s->ops->hangup(s->arg, role);
}

/* All at once: the start failed. */
static void end_all(struct supervisor *s, uint64_t now) {
	s->phase = SUP_ENDING;
	s->exit_status = 1;
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (sup_runs(s, (enum role)i))
			hang_up(s, (enum role)i, now);
		else
			s->child[i].state = SUP_ABSENT;
	}
}

static void kill_all(struct supervisor *s) {
	s->phase = SUP_ENDING;
	s->exit_status = 1;
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (sup_runs(s, (enum role)i))
			s->ops->kill(s->arg, (enum role)i);
		else
			s->child[i].state = SUP_ABSENT;
	}
}

/* --- starting --- */

static uint64_t backoff_ns(unsigned failures) {
	uint64_t ns = BACKOFF_FIRST_NS;

	if (failures <= 1)
		return 0;
	for (unsigned i = 2; i < failures && ns < BACKOFF_MAX_NS; i++)
		ns *= 2;
	return MIN(ns, BACKOFF_MAX_NS);
}

static void start_again(struct supervisor *s, enum role role, uint64_t now) {
	struct sup_child *c = &s->child[role];

	if (c->failures > 0 && c->state == SUP_SERVES && now - c->since_ns >= STABLE_NS)
		c->failures = 0;
	c->failures++;
	c->state = SUP_ABSENT;
	if (s->phase == SUP_STARTING && c->failures >= START_ATTEMPTS)
		end_all(s, now);
	else
		want(s, role, now + backoff_ns(c->failures));
}

static void spawn(struct supervisor *s, enum role role, uint64_t now) {
	struct sup_child *c = &s->child[role];
	bool is_again = c->was_started;

	c->state = SUP_STARTED;
	c->since_ns = now;
	c->was_started = true;
	if (s->ops->spawn(s->arg, role, is_again) < 0)
		start_again(s, role, now);
}

void sup_begin(struct supervisor *s, uint64_t now) {
	want(s, ROLE_KEEPER, now);
	want(s, ROLE_EGRESS, now);
	sup_tick(s, now);
}

void sup_configured(struct supervisor *s, uint64_t now) {
	if (s->has_config || s->phase != SUP_STARTING)
		return;
	s->has_config = true;
	want(s, ROLE_RECORDER, now);
	want(s, ROLE_WORKER, now);
	sup_tick(s, now);
}

void sup_serves(struct supervisor *s, enum role role, uint64_t now unused_arg) {
	if (s->child[role].state != SUP_STARTED)
		return;
	s->child[role].state = SUP_SERVES;
	tell_peers(s, role, true);
	if (s->phase > SUP_RUNNING || s->was_ready)
		return;
	for (size_t i = 0; i < ARRAY_LEN(children); i++) {
		if (s->child[children[i]].state != SUP_SERVES)
			return;
	}
	s->phase = SUP_RUNNING;
	s->was_ready = true;
	s->ops->ready(s->arg);
}

void sup_stalled(struct supervisor *s, enum role role, uint64_t now) {
	/* A fresh process has the time that the stalled one had: else a worker that was taken over
	 * could keep the recorder from ever coming up. */
	if (s->child[role].state == SUP_SERVES && now - s->child[role].since_ns >= STABLE_NS)
		s->ops->kill(s->arg, role);
}

/* --- ending --- */

static void tell(struct supervisor *s, enum role role, uint64_t now) {
	uint64_t until = now + (role == ROLE_WORKER ? s->drain_ns : FINISH_NS);

	s->child[role].state = SUP_DRAINS;
	s->child[role].due_ns = until + DRAIN_SLACK_NS;
	s->ops->drain(s->arg, role, until);
}

/* Does what the step needs next; true when it is over. */
static bool step_is_over(struct supervisor *s, const struct step *step, uint64_t now) {
	struct sup_child *c = &s->child[step->role];

	switch (c->state) {
	case SUP_ABSENT:
		return true;
	case SUP_WAITING:
		c->state = SUP_ABSENT;
		return true;
	case SUP_STARTED: /* not yet able to drain, and nothing to */
		if (step->is_hung_up_on)
			hang_up(s, step->role, now);
		return !step->is_hung_up_on;
	case SUP_SERVES:
		if (step->is_told)
			tell(s, step->role, now);
		else
			hang_up(s, step->role, now);
		return false;
	case SUP_FINISHED:
		if (step->is_hung_up_on)
			hang_up(s, step->role, now);
		return !step->is_hung_up_on;
	case SUP_DRAINS:
	case SUP_HUNG_UP:
		return false;
	}
	return true;
}

static void advance_drain(struct supervisor *s, uint64_t now) {
	while (s->phase == SUP_DRAINING && s->stage < ARRAY_LEN(steps) &&
	       step_is_over(s, &steps[s->stage], now))
		s->stage++;
	if ((s->phase == SUP_DRAINING && s->stage == ARRAY_LEN(steps)) ||
	    (s->phase == SUP_ENDING && !any_runs(s)))
		s->phase = SUP_ENDED;
}

void sup_drained(struct supervisor *s, enum role role, uint64_t now) {
	if (s->child[role].state != SUP_DRAINS)
		return;
	s->child[role].state = SUP_FINISHED;
	advance_drain(s, now);
}

void sup_term(struct supervisor *s, uint64_t now) {
	if (s->phase == SUP_STARTING || s->phase == SUP_RUNNING) {
		s->phase = SUP_DRAINING;
		/* Those that wait for their turn and do not live will not be started any more. */
		for (int i = 0; i < ROLE_COUNT; i++) {
			if (s->child[i].state == SUP_WAITING)
				s->child[i].state = SUP_ABSENT;
		}
	} else if (s->phase != SUP_ENDED) {
		kill_all(s);
	}
	advance_drain(s, now);
}

void sup_exited(struct supervisor *s, enum role role, bool by_signal, uint64_t now) {
	struct sup_child *c = &s->child[role];
	bool was_expected = c->state == SUP_HUNG_UP || c->state == SUP_DRAINS ||
	                    c->state == SUP_FINISHED;

	assert(sup_runs(s, role));
	if (s->phase == SUP_RUNNING || (s->phase == SUP_STARTING && by_signal)) {
		s->was_ready = false;
		start_again(s, role, now);
		if (s->phase <= SUP_RUNNING)
			tell_peers(s, role, false);
		sup_tick(s, now);
		return;
	}
	c->state = SUP_ABSENT;
	if (s->phase == SUP_STARTING)
		end_all(s, now);
	else if (!was_expected || by_signal)
		s->exit_status = 1;
	advance_drain(s, now);
}

/* --- time --- */

static bool has_due(const struct sup_child *c) {
	return c->state == SUP_WAITING || c->state == SUP_DRAINS || c->state == SUP_HUNG_UP;
}

void sup_tick(struct supervisor *s, uint64_t now) {
	for (int i = 0; i < ROLE_COUNT; i++) {
		struct sup_child *c = &s->child[i];
		if (!has_due(c) || c->due_ns > now)
			continue;
		if (c->state == SUP_WAITING) {
			spawn(s, (enum role)i, now);
		} else if (c->state == SUP_DRAINS) {
			s->exit_status = 1;
			c->state = SUP_FINISHED;
		} else {
			c->due_ns = now + HANGUP_NS;
			s->ops->kill(s->arg, (enum role)i);
		}
	}
	advance_drain(s, now);
}

uint64_t sup_next_ns(const struct supervisor *s) {
	uint64_t next = 0;

	for (int i = 0; i < ROLE_COUNT; i++) {
		const struct sup_child *c = &s->child[i];
		if (has_due(c) && (next == 0 || c->due_ns < next))
			next = c->due_ns;
	}
	return next;
}
