/*
 * pg_shell.h: a shell for tests: what session.c is to the core in production, without I/O.
 *
 * It keeps proto.h's promises literally: bytes are shown from the front and at most 64 KiB at a
 * time, in a fresh block each (so that a stale pointer is caught), relays go past in windows, sends
 * wait behind a relay under way, and unconsumed bytes are shown again after every call. What the
 * core orders beyond bytes goes into a list of lines that tests compare. A broken promise of the
 * *core* sets `broken`.
 */
#ifndef PROTO_POSTGRES_PG_SHELL_H
#define PROTO_POSTGRES_PG_SHELL_H

#include "proto/postgres/pg_priv.h"

struct pg_shell {
	struct order_sink sink;
	struct pg_core core;
	uint64_t now_ns;
	struct buf in[SIDE_COUNT];     /* said and not yet consumed */
	struct buf out[SIDE_COUNT];    /* received by that side */
	struct buf behind[SIDE_COUNT]; /* waits for a relay into that side */
	uint64_t relay[SIDE_COUNT];    /* left of a relay from that side */
	uint64_t need[SIDE_COUNT];
	uint64_t offset[STREAM_COUNT];
	struct buf said[SIDE_COUNT]; /* all that the side ever said: streams C and T */
	uint64_t budget;
	bool no_budget;
	bool in_tls[SIDE_COUNT]; /* TLS ordered, not yet up: the side is not read */
	bool was_granted, has_tls_listener;
	bool is_closed, is_attacked;
	int reason;
	uint8_t key_size; /* asked for by the last admission */
	bool wants_replication;
	bool has_proven; /* ORD_PROVE came */
	uint64_t timer_ns;
	size_t shown; /* bytes shown by the call under way, and its side */
	enum side shown_side;
	uint64_t seen[SIDE_COUNT]; /* shown and not consumed */
	uint64_t consumed;         /* by the call under way */
	uint64_t orders;
	char **log;
	size_t log_count, log_cap, log_read;
	const char *broken;
	struct sql_secret hidden[64]; /* of stream C */
	size_t hidden_count;
	uint64_t rows_out; /* since the last command, of those that are not recorded */
	uint64_t bytes_out;
	bool looks_up_names;
	struct depth results; /* of the grant of shell_ready() */
};

void shell_init(struct pg_shell *sh, bool has_tls);
void shell_fini(struct pg_shell *sh);
/* The side says bytes; the core is run until nothing moves. */
void shell_say(struct pg_shell *sh, enum side side, struct str bytes);
void shell_event(struct pg_shell *sh, const struct event *ev);
/* A grant as the scripts know it: user app, database shop, id k7m2-9xqe, key 1 2 3 4. */
struct grant shell_grant(enum hygiene hygiene, enum tls_mode tls);
/* SSLRequest, TLS, startup, password: waits for the grant. */
void shell_admit(struct pg_shell *sh);
/* The same, then grant (no TLS to the target), login by trust: Ready. */
void shell_ready(struct pg_shell *sh, enum hygiene hygiene);

#endif
