/*
 * state.h: what the keeper must not forget, in <store>/keeper/state.db (SQLite, 0600).
 *
 * Tables: tokens (hash and SCRAM verifier, never the token), pins (salt and count of a target's SCRAM user, with the
 * StoredKey that the password gave), signed (the last checkpoint's size and root), refusals (what
 * `hansard why` answers), grants (live sessions, so that a restarted keeper knows who they are), meta
 * (node id). Whatever a promise rests on (tokens, pins, signed) is on disk before the call returns;
 * grants and refusals survive the process, not the machine.
 */
#ifndef KEEPER_STATE_H
#define KEEPER_STATE_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"
#include "base/mem.h"
#include "identity/scram_server.h"

struct state;

/* Opens or makes the file; ":memory:" in tests. */
int state_open(struct state **ret, const char *path, struct err *e) must_use;
void state_close(struct state **s);

/* ---- tokens ---- */
struct token_row {
	struct str id;  /* short id, shown to people; the key id of SCRAM */
	struct str who; /* JSON, identity/who.h */
	uint64_t issued_wall_ns, expires_wall_ns;
	uint64_t revoked_wall_ns;       /* 0: not revoked */
	bool has_verifier;              /* those that were issued before there were any have none */
	struct scram_verifier verifier; /* filled by state_token_find alone */
};
int state_token_put(struct state *s, const uint8_t hash[SHA256_SIZE], const struct token_row *row)
	must_use;
/* 0 with the row's text in the arena, or H_ENOTFOUND. */
int state_token_get(struct state *s, const uint8_t hash[SHA256_SIZE], struct arena *a,
                    struct token_row *row) must_use;
/* The same by id, with the verifier. */
int state_token_find(struct state *s, struct str id, struct arena *a, struct token_row *row)
	must_use;
/* H_ENOTFOUND when there is none with that id; 0 also when it was revoked before. */
int state_token_revoke(struct state *s, struct str id, uint64_t now) must_use;
/* Newest first; slices live for the call. fn returns < 0 to stop. */
typedef int state_token_fn(void *arg, const struct token_row *row);
int state_token_each(struct state *s, state_token_fn *fn, void *arg) must_use;
/* Forgets tokens that expired before `before`. */
int state_token_purge(struct state *s, uint64_t before) must_use;

/* ---- pins ---- */
#define PIN_SALT_MAX 64
struct pin {
	uint8_t salt[PIN_SALT_MAX];
	size_t salt_len;
	uint32_t iterations;
	uint8_t stored_key[SHA256_SIZE];
};
/* key names the role at the target: "connection/role/user/address". H_ENOTFOUND. */
int state_pin_get(struct state *s, struct str key, struct pin *ret) must_use;
int state_pin_put(struct state *s, struct str key, const struct pin *p) must_use;
/* Removes all pins whose key starts with prefix; returns how many. */
int state_pin_forget(struct state *s, struct str prefix) must_use;

/* ---- the log ---- */
struct signed_head {
	uint64_t size;
	uint8_t root[SHA256_SIZE];
};
/* size 0 when nothing was ever signed. */
int state_signed_get(struct state *s, struct signed_head *ret) must_use;
int state_signed_put(struct state *s, const struct signed_head *h) must_use;

/* ---- refusals ---- */
struct refusal_row {
	struct str ref, reason, source, detail;
	uint64_t count, first_wall_ns, last_wall_ns;
};
int state_refusal_put(struct state *s, const struct refusal_row *row) must_use;
int state_refusal_get(struct state *s, struct str ref, struct arena *a, struct refusal_row *row)
	must_use;

/* ---- grants ---- */
int state_grant_put(struct state *s, uint64_t grant, struct str json) must_use;
int state_grant_del(struct state *s, uint64_t grant) must_use;
/* The JSON in the arena, or H_ENOTFOUND. */
int state_grant_get(struct state *s, uint64_t grant, struct arena *a, struct str *ret) must_use;
/* A new boot: no grant of an earlier one lives. */
int state_grant_clear(struct state *s) must_use;

/* ---- meta ---- */
int state_meta_get(struct state *s, const char *key, uint8_t *out, size_t n) must_use;
int state_meta_put(struct state *s, const char *key, const uint8_t *p, size_t n) must_use;

#endif
