/*
 * keeper_lab.h: a keeper in a child process, with a test that plays supervisor, worker, recorder and
 * egress over real channels. The recorder's acts are answered while the test waits for anything else.
 */
#ifndef KEEPER_KEEPER_LAB_H
#define KEEPER_KEEPER_LAB_H

#include <sys/types.h>

#include "base/buf.h"
#include "ipc/ipc.h"
#include "session/admit.h"

#define LAB_PASSWORD "pw-9f2c-never-shown"

struct lab {
	char dir[64];
	int sup, worker, recorder, egress; /* our ends */
	int keeper_ends[ROLE_COUNT];       /* the keeper's, kept for its next life */
	int control;                       /* listening */
	pid_t pid;
	struct buf acts;  /* all act documents, a line each */
	bool mute;        /* acts are not answered */
	int act_code;     /* what they are answered with */
	uint64_t open_id; /* the newest OPEN */
	bool has_open;    /* nobody waited for it yet */
	uint8_t open_sid[16];
	struct buf open_json;
	unsigned abandoned; /* ABANDONs that nobody asked for yet */
	uint8_t abandoned_sid[16];
	char challenge[512]; /* of the last refusal */
	uint8_t *packet;
};

/* Writes the configuration (NULL: the usual one), starts the keeper, answers SUP_CONFIG with
 * store_code; when that is 0, waits until it is ready. */
bool lab_start(struct lab *l, const char *config, int store_code);
/* Another life of the keeper on the same channels and store. */
bool lab_restart(struct lab *l);
/* Hangs up, waits for the keeper; its exit status. */
int lab_stop(struct lab *l);
void lab_fini(struct lab *l);
void lab_config(struct lab *l, const char *text);

/* The next message on one of our ends; checks its type. The body lives until the next call. */
bool lab_get(struct lab *l, int fd, unsigned type, struct ipc_msg *m);
/* Nothing arrives there within 100 ms. */
bool lab_quiet(struct lab *l, int fd);
void lab_put(struct lab *l, int fd, unsigned type, uint64_t id, const struct buf *b);
void lab_put_fd(struct lab *l, int fd, unsigned type, uint64_t id, const struct buf *b, int pass);
/* Waits until an OPEN comes, if none has; answers OPENED with code unless it is positive. */
bool lab_open(struct lab *l, int code);
/* Waits for an ABANDON. */
bool lab_abandoned(struct lab *l);
/* Serves the recorder's channel for a moment. */
void lab_pump(struct lab *l, int ms);
/* Asks over control.sock; all answers, a line each, in out. */
int lab_ask(struct lab *l, const char *json, struct buf *out);
/* A text member of a JSON answer. */
bool lab_member(const struct buf *json, const char *name, char *out, size_t cap);
/* Is the text anywhere in the log, the acts, or a file of the store (but for "except")? */
bool lab_leaks(struct lab *l, const char *text, const char *except);
bool lab_logged(struct lab *l, const char *text);
/* How often. */
unsigned lab_log_count(struct lab *l, const char *text);

/* ---- one admission ---- */

extern const char lab_issue[]; /* a request for a token of local:ci that may use connection shop */
struct lab_asking {
	const char *connection, *role, *database, *token, *address;
	uint32_t slot;
	uint8_t key_size; /* 0: CANCEL_KEY_SHORT */
	bool wants_replication, is_role_optional;
	enum proof_kind kind;
	const char *hint;
	uint64_t exchange;
};
bool lab_has(const struct buf *b, const char *text);
/* Acts come on their own channel: waits for one that holds the text. */
bool lab_act_comes(struct lab *l, const char *text);
bool lab_token(struct lab *l, const char *ask, char token[128], char id[64]);
void lab_admit(struct lab *l, uint64_t id, const struct lab_asking *a);
/* The next answer to the worker is a refusal of that code; ref may be NULL. */
bool lab_refused(struct lab *l, uint64_t id, int code, char ref[16]);
/* Egress answers. */
void lab_connected(struct lab *l, uint64_t id, int code, int fd);
/* ADMIT to GRANT. */
bool lab_granted(struct lab *l, uint64_t id, const struct lab_asking *a, struct grant_msg *ret);
/* The supervisor tells of a process, and the keeper has seen it. */
void lab_peer(struct lab *l, enum role role, uint8_t is_up);
/* With the keeper's end of a new channel to it. */
void lab_peer_fd(struct lab *l, enum role role, uint8_t is_up, int fd);

#endif
