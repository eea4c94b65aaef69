/*
 * login.h: answering a target's challenge in the keeper, one exchange per grant.
 *
 * PostgreSQL (protocols.md §1): the worker hands over the body of each Authentication message (Int32
 * code, then data), and gets the body of the password message to send, or nothing to send. The role's
 * `auth` is the only method that is answered, so neither target nor worker can ask for a weaker one.
 *
 * Pinning (SCRAM): after the first login of a role, salt and count are kept with the StoredKey that
 * the password gave. A target that shows others is refused before a proof is sent, because a proof
 * for a salt of the asker's choice is a dictionary attack: unless the configured password has
 * changed, which the keeper sees by computing the StoredKey again for the pinned salt. So the usual
 * rotation (new password at the target, new reference content, reload) re-pins by itself; a target
 * that re-salts the same password needs `pin.forget` by an operator, which is an act on the record.
 *
 * Channel binding (SCRAM-SHA-256-PLUS). The worker tells the hash of the certificate that it saw: a
 * worker that lies gains nothing, since the target compares with its own. Offered inside TLS it is
 * taken, unless the role says disable. Not offered although we could: the exchange says "y", so
 * that a target whose offer was taken away by somebody in between refuses. `require` ends there.
 *
 * Pure but for random nonces and the pin store, which comes as functions.
 */
#ifndef KEEPER_LOGIN_H
#define KEEPER_LOGIN_H

#include "base/mem.h"
#include "config/config.h"
#include "keeper/scram.h"
#include "keeper/state.h"

/* Where pins live. get returns 0 or H_ENOTFOUND. */
struct pin_store {
	int (*get)(void *arg, struct str key, struct pin *ret);
	int (*put)(void *arg, struct str key, const struct pin *p);
	void *arg;
};

/* What the keeper holds of one role; lives as long as its configuration. */
struct login_role {
	enum config_auth auth;
	enum config_binding binding;
	struct str user; /* at the target */
	struct str pin_key;
	struct secret password; /* n = 0: none */
	bool may_send_clear;    /* TLS is verified, or the target is a Unix socket */
	/* Keys for the salt and count that were shown last. */
	bool has_keys;
	struct scram_challenge keys_for;
	struct scram_keys keys;
};

enum login_phase {
	LOGIN_START,
	LOGIN_SCRAM_FIRST,
	LOGIN_SCRAM_FINAL,
	LOGIN_WAIT_OK,
	LOGIN_DONE,
	LOGIN_FAILED
};

struct login {
	enum login_phase phase;
	struct scram scram;
	struct scram_challenge challenge;
	bool is_pin_new;
	bool is_pin_refused; /* alarm: the target shows another salt or count */
};

struct login_answer {
	struct buf *out; /* body to send; nothing when it stays empty */
	bool is_done;    /* login is complete */
	const char *why; /* static sentence when it failed */
};

struct login_ask {
	struct str message; /* body of an Authentication message */
	struct str
		end_point; /* RFC 5929 hash of the target's certificate; empty: nothing to bind to */
};

/* One step. 0 or H_ELOGIN (the exchange is over
 * then). */
int login_step(struct login *l, struct login_role *role, const struct pin_store *pins,
               const struct login_ask *ask, struct login_answer *a) must_use;
void login_wipe(struct login *l);
void login_role_fini(struct login_role *role);

#endif
