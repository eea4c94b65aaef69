/*
 * supervisor.h: which process should live, when; pure.
 *
 * The machine is told what happened and the time, and acts through struct sup_ops; it makes no
 * system call. serve.c is the part that touches the system.
 *
 * Life: begin → keeper and egress; configuration → recorder and worker; all serving → ready.
 * A child that ends by itself before the first `ready` ends the start (its log says why: wrong
 * configuration, broken store); one that is killed, or ends later, is started again: at once, then
 * after 100 ms, doubling up to 5 s, and at once again after 10 s of service.
 * Drain, one step after the other: the worker is told (SUP_DRAIN), waited for (SUP_DRAINED), hung up
 * on; the keeper is told, and gives its last acts to the recorder, which is told next and seals,
 * while the keeper still signs; then recorder, keeper and egress are hung up on. Who does not follow
 * in time is killed.
 */
#ifndef MAIN_SUPERVISOR_H
#define MAIN_SUPERVISOR_H

#include "ipc/ipc.h"

struct sup_ops {
	/* Starts a process; H_E… counts as one that died at once. */
	int (*spawn)(void *arg, enum role role, bool is_again);
	void (*kill)(void *arg, enum role role);   /* SIGKILL; sup_exited() follows */
	void (*hangup)(void *arg, enum role role); /* closes channel 3: a child that works exits */
	void (*drain)(void *arg, enum role role, uint64_t until_ns);
	/* Tells `to` that `about` is gone or serves again; `to` runs. */
	void (*peer)(void *arg, enum role to, enum role about, bool is_up);
	void (*ready)(void *arg); /* all serve: for the first time, or again */
};

enum sup_state {
	SUP_ABSENT,  /* not wanted yet, or no more */
	SUP_WAITING, /* to be started at due_ns */
	SUP_STARTED, /* runs, has not said SUP_READY */
	SUP_SERVES,
	SUP_DRAINS,   /* told to finish, until due_ns */
	SUP_FINISHED, /* said SUP_DRAINED; others still need it */
	SUP_HUNG_UP   /* channel closed, until due_ns */
};

struct sup_child {
	enum sup_state state;
	uint64_t due_ns;   /* SUP_WAITING, SUP_DRAINS, SUP_HUNG_UP */
	uint64_t since_ns; /* of the process */
	unsigned failures; /* in a row */
	bool was_started;
};

enum sup_phase { SUP_STARTING, SUP_RUNNING, SUP_DRAINING, SUP_ENDING, SUP_ENDED };

struct supervisor {
	const struct sup_ops *ops;
	void *arg;
	enum sup_phase phase;
	struct sup_child child[ROLE_COUNT];
	bool has_config;
	bool was_ready;    /* `ready` was said and no child went since */
	int exit_status;   /* valid in SUP_ENDED */
	unsigned stage;    /* SUP_DRAINING: which step's turn it is */
	uint64_t drain_ns; /* how long sessions may take */
};

void sup_init(struct supervisor *s, const struct sup_ops *ops, void *arg, uint64_t drain_ns);
/* Each of these may call ops. After any of them: sup_next_ns() for the timer. */
void sup_begin(struct supervisor *s, uint64_t now);
void sup_configured(struct supervisor *s, uint64_t now);
void sup_serves(struct supervisor *s, enum role role, uint64_t now);
void sup_drained(struct supervisor *s, enum role role, uint64_t now);
void sup_stalled(struct supervisor *s, enum role role, uint64_t now);
/* by_signal: ended by a signal, not by itself. */
void sup_exited(struct supervisor *s, enum role role, bool by_signal, uint64_t now);
/* SIGTERM: drain; again: kill all. */
void sup_term(struct supervisor *s, uint64_t now);
void sup_tick(struct supervisor *s, uint64_t now);
/* When sup_tick() should be called; 0: nothing is due. */
uint64_t sup_next_ns(const struct supervisor *s);
/* True while the process exists. */
bool sup_runs(const struct supervisor *s, enum role role);

#endif
