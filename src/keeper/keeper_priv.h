/*
 * keeper_priv.h: the keeper's parts and what they share; inside src/keeper.
 *
 *   keeper.c    set-up, channels to the others, reload, drain
 *   chan.c      one channel with a queue for what the socket does not take at once
 *   acts.c      acts on their way to the record
 *   grants.c    admission: decide → open → connect → grant
 *   grants_proof.c  the proof of an admission; those that wait for an issuer's keys
 *   prove.c     SCRAM: exchanges with clients
 *   grants_wait.c   admissions that wait: peers that go and come, time that passes
 *   grants_live.c   what live grants may ask
 *   open_json.c the open frame's document
 *   sign.c      checkpoints
 *   control.c   control.sock
 */
#ifndef KEEPER_KEEPER_PRIV_H
#define KEEPER_KEEPER_PRIV_H

#include "base/json.h"
#include "base/log.h"
#include "base/version.h"
#include "ipc/ipc.h"
#include "ipc/start.h"
#include "keeper/ca.h"
#include "keeper/refuse.h"
#include "keeper/runtime.h"
#include "keeper/state.h"
#include "loop/loop.h"
#include "record/tlog.h"
#include "session/admit.h"

enum {
	CHAN_QUEUE_MAX = 16384,                  /* messages that wait for a socket */
	KEEPER_ACTS_MAX = 4096,                  /* acts not yet durable */
	KEEPER_PENDING_MAX = 8192,               /* admissions under way */
	KEEPER_PENDING_BYTES = 16 * 1024 * 1024, /* what they keep of their OPEN */
	KEEPER_OPEN_JSON_MAX = 64 * 1024,
	KEEPER_PROOFS_MAX = 1024 /* admissions that wait for an issuer's keys */
};

struct keeper;

/* ---- channels ---- */
typedef void chan_fn(struct keeper *k, struct ipc_msg *m);
struct chan {
	struct keeper *k;
	struct watch w;
	enum role peer;
	chan_fn *fn;
	struct list queue;
	size_t queued;
	bool is_down; /* the supervisor said that the process is gone */
	bool was_down;
	bool is_up;   /* it said that it serves; a fresh keeper does not know */
	bool is_cut;  /* EOF, although the supervisor holds the other end too */
	bool was_cut; /* and that was said */
	struct log_limit refused;
};
/* fd -1: there is no such channel; sends are dropped. */
int chan_open(struct chan *c, int fd) must_use;
void chan_close(struct chan *c);
/* Takes fd over in the place of the old one, which is closed; what waited is dropped. */
int chan_renew(struct chan *c, int fd) must_use;
/* Asks the supervisor to replace a peer that shut its channel down. Each second: it does not replace one that
 * has just started. */
void chan_tell_cut(struct chan *c);
/* Sends or queues; fd is duplicated if it must wait and stays the caller's. False when it had to be
 * dropped. */
bool chan_send(struct chan *c, unsigned type, uint64_t id, struct str body);
bool chan_send_fd(struct chan *c, unsigned type, uint64_t id, struct str body, int fd);
/* Takes what the peer, now gone, had still said. */
void chan_drain(struct chan *c);
/* Says that a message of the peer was refused; type NULL: of no known type. */
void chan_refused(struct chan *c, const char *type);
/* Drops what waits for a process that is gone. */
void chan_clear(struct chan *c);

/* ---- acts ---- */
typedef void act_done_fn(struct keeper *k, uint64_t arg, int code);
struct act {
	struct list link;
	uint64_t id;
	char *json;
	size_t len;
	act_done_fn *fn; /* may be NULL */
	uint64_t arg;
	uint64_t made_ns;
	bool is_refused; /* the recorder could not take it now: it is sent again */
};

/* ---- grants ---- */
enum grant_state { GRANT_OPENING, GRANT_CONNECTING, GRANT_LIVE };
struct subject {
	uint32_t sessions;
};
struct grant_row {
	uint64_t id;
	enum grant_state state;
	uint64_t worker_id; /* id of the ADMIT: the worker's name for the session */
	uint8_t sid[SID_SIZE];
	char short_id[SHORT_ID_SIZE];
	uint16_t ring;
	uint32_t slot, generation;
	uint8_t cancel_key[CANCEL_KEY_LONG];
	uint8_t cancel_key_size; /* 0: none */
	bool has_key;
	bool is_replication;
	uint64_t opened_wall_ns;
	char server_final[SCRAM_SERVER_FINAL_SIZE]; /* owed to a client that proved by SCRAM */
	char connection[CONFIG_NAME_MAX + 1], role[CONFIG_NAME_MAX + 1];
	char subject[WHO_SUBJECT_MAX + 1], on_behalf_of[WHO_SUBJECT_MAX + 1];
	char source[REFUSE_SOURCE_SIZE];
	char address[CONFIG_ADDRESS_MAX]; /* the target's */
	char database[64];
	uint64_t connect_ns;
	/* Until it is live: */
	struct list wait;          /* keeper.waiting: whom it needs next is away */
	uint64_t op;               /* the question under way, 0: none */
	uint64_t begun_ns, due_ns; /* waits no longer than that */
	char *open;                /* OPEN's body, to be sent again to another recorder */
	size_t open_len;
	bool is_break_glass; /* by the local issuer, beside OIDC */
	bool is_restored;    /* found alive by a restarted keeper: its login cannot go on */
	struct runtime *rt;  /* until login is done */
	const struct config_connection *conn; /* in rt */
	const struct config_role *conf;       /* in rt */
	struct login login;
};

/* A question to recorder or egress on behalf of a grant. */
enum op_kind { OP_OPEN, OP_CONNECT, OP_DIAL };
struct op {
	uint64_t id;
	enum op_kind kind;
	uint64_t grant;     /* 0: nobody waits any more */
	uint64_t worker_id; /* OP_DIAL: id of the DIAL */
	uint64_t due_ns;    /* given up then */
	uint32_t beats;     /* that it is without an answer */
	uint8_t sid[SID_SIZE];
};

/* ---- the control socket ---- */
struct control;

struct keeper {
	struct loop *loop;
	struct start *start;
	struct chan chan[ROLE_COUNT]; /* SUPERVISOR, WORKER, RECORDER, EGRESS */
	struct state *state;
	struct env env;
	struct runtime *rt;
	struct runtime *next; /* a reload that waits for the supervisor's word */
	struct ca_leaf leaf;  /* when the configuration names no certificate */
	char *store;
	uint8_t seed[ED25519_SEED_SIZE];
	uint8_t hide_key
		[SHA256_SIZE]; /* made from it: workers hash with it what the record hides */
	uint8_t prove_key[SHA256_SIZE]; /* made from it too: salts of SCRAM */
	uint8_t node[TLOG_NODE_SIZE];
	char origin[32];
	char vkey[TLOG_VKEY_TEXT_MAX];
	struct map *grants;   /* u64 id → struct grant_row */
	struct map *ops;      /* u64 id → struct op */
	struct map *keys;     /* cancel key, whole → struct grant_row */
	struct map *subjects; /* subject → struct subject */
	struct list waiting;  /* grant_row.wait */
	uint32_t pending;     /* grants not yet live, and what they keep */
	size_t pending_bytes;
	struct timer again; /* runs while somebody waits */
	struct oidc *oidc;
	struct list proofs; /* struct waiting of grants_proof.c */
	size_t proof_count;
	struct map *exchanges; /* u64 id → struct exchange of prove.c */
	struct list exchange_list;
	struct refusals *refusals;
	struct refusals *cancels; /* misses, in the same manner */
	struct list acts;
	size_t act_count;
	uint64_t next_id;
	uint8_t store_state; /* STORE_STATE's */
	char store_reason[160];
	bool is_draining, drained;
	uint64_t drain_due_ns;
	uint64_t started_wall_ns;
	uint64_t signed_count;
	struct timer beat;
	struct control *control;
	uint8_t *packet; /* IPC_MAX + 16 */
};

uint64_t keeper_op(struct keeper *k); /* a fresh id for a question */

/* acts.c */
/* Begins an act: {"act":name,"who":{…},"wall_ns":…; the caller adds members and ends it. */
struct jw act_begin(struct buf *b, const char *name, const char *who_json);
void act_send(struct keeper *k, struct buf *json, act_done_fn *fn, uint64_t arg);
void acts_on_done(struct keeper *k, const struct ipc_msg *m);
void acts_resend(struct keeper *k); /* all: another recorder serves */
void acts_beat(struct keeper *k);   /* those that were refused */
void acts_free(struct keeper *k);
void act_refusal(void *arg, const struct refusal *r);       /* refusal_fn */
void act_cancel_missed(void *arg, const struct refusal *r); /* refusal_fn */

/* grants.c */
void grants_on_worker(struct keeper *k, struct ipc_msg *m);
void grants_on_restored(struct keeper *k, const struct ipc_msg *m); /* grants_restore.c */
void grants_on_opened(struct keeper *k, const struct ipc_msg *m);
void grants_on_connected(struct keeper *k, struct ipc_msg *m);
void grants_on_fetched(struct keeper *k,
                       const struct ipc_msg *m); /* grants_proof.c, to proofs_free */
void proofs_setup(struct keeper *k);
void proofs_use(struct keeper *k); /* another configuration applies */
void proofs_beat(struct keeper *k);
void proofs_peer_gone(struct keeper *k, enum role peer);
void proofs_free(struct keeper *k);
void prove_setup(struct keeper *k); /* prove.c, to prove_salt */
void prove_beat(struct keeper *k);
void prove_drop_all(struct keeper *k); /* the worker is gone */
void prove_free(struct keeper *k);
void grants_on_prove(struct keeper *k, const struct ipc_msg *m);
void grants_on_proof_gone(struct keeper *k, const struct ipc_msg *m);
/* The salt of a key id, whether there is such a key or not. */
void prove_salt(const struct keeper *k, struct str key_id, uint8_t salt[SCRAM_VERIFIER_SALT]);
void grants_on_bindings(struct keeper *k, const struct ipc_msg *m); /* grants_restore.c */
void grants_peer_gone(struct keeper *k, enum role peer); /* grants_wait.c, and the next three */
void grants_peer_serves(struct keeper *k);
void grants_expire(struct keeper *k); /* each beat */
void grants_again(struct timer *t);
void grants_free(struct keeper *k);
/* {"session":…} of each live grant through fn. */
void grants_each(struct keeper *k, void (*fn)(void *arg, const struct grant_row *g), void *arg);

/* How a client proved itself, for the record. */
struct proof_way {
	const char *mechanism; /* of SASL; empty: none */
	const char *binding;   /* "tls-server-end-point" or "none" */
};

/* open_json.c */
struct open_facts {
	const struct keeper *k;
	const struct decision *d;
	const struct who *who;
	const struct admit_msg *m;
	const struct proof_way *way;
	uint64_t wall_ns;
};
void open_json(struct buf *b, const struct open_facts *f);

/* sign.c */
int sign_setup(struct keeper *k, struct err *e) must_use;
void sign_on_ask(struct keeper *k, const struct ipc_msg *m);
void sign_on_last(struct keeper *k, const struct ipc_msg *m);

/* control.c */
int control_open(struct keeper *k, int listen_fd) must_use;
/* Serves one connection; the descriptor is taken. H_EPERM when its user may not ask. */
int control_take(struct keeper *k, int fd) must_use;
void control_free(struct keeper *k);

/* keeper.c */
/* In two steps, so that tests can run one without confinement. */
int keeper_setup(struct keeper *k, struct start *s) must_use;
int keeper_serve(struct keeper *k) must_use;
void keeper_fini(struct keeper *k);
void keeper_reload(struct keeper *k);

#endif
