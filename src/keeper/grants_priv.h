/* grants_priv.h: the table of grants, shared by grants.c, grants_wait.c, grants_live.c and grants_restore.c. */
#ifndef KEEPER_GRANTS_PRIV_H
#define KEEPER_GRANTS_PRIV_H

#include "keeper/keeper_priv.h"

enum {
	CONNECT_GRACE_S = 5, /* egress answers before that */
	/* A recorder that stalls is found out after ten seconds, then another one recovers. */
	OPEN_WAIT_S = 20,
	EGRESS_WAIT_S = 10,
	ADMISSION_MAX_S = 40 /* the worker waits no longer (session/shell.h) */
};

/* An admission that is being judged. */
struct asked {
	struct admit_msg m;
	struct decide_ask ask;
	struct who who;
	struct proof_way way;
	char server_final[SCRAM_SERVER_FINAL_SIZE]; /* PROOF_SCRAM that was right */
	struct err wrong; /* why an OIDC token is refused, for the operator */
	char source[REFUSE_SOURCE_SIZE];
	struct arena *arena;
};
/* Looks the proof up (grants_proof.c). False when the verdict must wait for an issuer's keys; never
 * when is_last. */
bool proof_look(struct keeper *k, struct asked *a, bool is_last);
/* The end of an exchange (prove.c). */
void proof_scram(struct keeper *k, struct asked *a);
/* A token of state.db, or why there is none (rc): a database that fails counts as not known. */
void proof_of_token(struct asked *a, int rc, const struct token_row *row);
/* Keeps an admission until keys came, or for a few seconds. False when too many wait. */
bool proof_wait(struct keeper *k, uint64_t worker_id, struct str body);
/* Judges an admission; body is ADMIT's. False when it must wait. */
bool admit_judge(struct keeper *k, uint64_t worker_id, struct str body, bool is_last);

/* NULL when there is none; 0 names none. */
struct grant_row *grant_find(struct keeper *k, uint64_t id);
void grant_insert(struct keeper *k, struct grant_row *g);
static inline struct str grant_key(const struct grant_row *g) {
	return str_mem(g->cancel_key, g->cancel_key_size);
}
/* Out of all tables; wipes what is left of its login. */
void grant_free(struct keeper *k, struct grant_row *g);
/* Login is done or failed: secrets and configuration are let go. */
void grant_login_over(struct grant_row *g);
/* Ends an admission that had been decided well: ABANDON if it was opened, REFUSE, free. */
void grant_fail(struct keeper *k, struct grant_row *g, enum refuse_reason reason,
                const char *detail);

/* To whom, and what besides the reason. */
struct refuse_to {
	uint64_t worker_id;
	const char *session;  /* its short id if it is on the record, or NULL */
	struct str challenge; /* of OAUTHBEARER, to be said before */
};
/* what: reason, source, detail. */
void grants_refuse(struct keeper *k, const struct refuse_to *to, struct refusal *what);
/* Printable, for acts and logs: names that a client made up. */
void grants_clean(char *out, size_t cap, struct str s);

/* A question on behalf of a grant, with a time limit. */
struct op *grant_op(struct keeper *k, enum op_kind kind, const struct grant_row *g,
                    uint64_t limit_ns);
void grant_connect(struct keeper *k, const struct grant_row *g, uint64_t op);
/* Asks recorder or egress for what an admission needs next, or waits until they serve. */
void grant_step(struct keeper *k, struct grant_row *g);
/* Waits with a fresh name for the record: another one may already stand there under the old one. */
void grant_wait(struct keeper *k, struct grant_row *g);
/* No longer pending: OPEN is not needed any more. */
void grant_settled(struct keeper *k, struct grant_row *g);
void grant_op_drop(struct keeper *k, uint64_t id);
/* Answers a DIAL; fd -1 with a code < 0. */
void grant_dialed(struct keeper *k, const struct op *op, int code, int fd);
void grants_on_admit(struct keeper *k, const struct ipc_msg *m);

#endif
