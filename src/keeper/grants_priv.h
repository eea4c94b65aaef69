/* grants_priv.h: the table of grants, shared by grants.c, grants_live.c and grants_restore.c. */
#ifndef KEEPER_GRANTS_PRIV_H
#define KEEPER_GRANTS_PRIV_H

#include "keeper/keeper_priv.h"

enum { CONNECT_GRACE_S = 5 }; /* egress answers before that */

/* NULL when there is none; 0 names none. */
struct grant_row *grant_find(struct keeper *k, uint64_t id);
void grant_insert(struct keeper *k, struct grant_row *g);
/* Out of all tables; wipes what is left of its login. */
void grant_free(struct keeper *k, struct grant_row *g);
/* Login is done or failed: secrets and configuration are let go. */
void grant_login_over(struct grant_row *g);
/* Ends an admission that had been decided well: ABANDON if it was opened, REFUSE, free. */
void grant_fail(struct keeper *k, struct grant_row *g, enum refuse_reason reason,
                const char *detail);

/* A question on behalf of a grant, with a time limit. */
struct op *grant_op(struct keeper *k, enum op_kind kind, const struct grant_row *g,
                    uint64_t limit_ns);
void grant_connect(struct keeper *k, const struct grant_row *g, uint64_t op);
/* Answers a DIAL; fd -1 with a code < 0. */
void grant_dialed(struct keeper *k, const struct op *op, int code, int fd);
void grants_on_admit(struct keeper *k, const struct ipc_msg *m);

#endif
