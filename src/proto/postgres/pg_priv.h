/*
 * pg_priv.h: what the files of the PostgreSQL core share. Nothing outside this folder includes it.
 *
 *   pg_core.c    the table of phases, the pump that takes messages off the bytes, the events
 *   pg_start.c   the client's first packets: TLS, GSSENCRequest, CancelRequest, StartupMessage
 *   pg_prove.c   the client's proof: password, SCRAM, OAUTHBEARER
 *   pg_route.c   which connection, role and database the client means
 *   pg_options.c startup parameters: what may pass, and the packet that the target gets
 *   pg_auth.c    proof, admission, TLS and login at the target, until the first ReadyForQuery
 *   pg_flow.c    Ready: what the client says
 *   pg_reply.c   Ready: what the target answers, and the commands that come of it
 *   pg_track.c   bookkeeping: expectations, texts, statements, portals (all capped)
 *   pg_claim.c   what a client says about itself; settings that a pinned session may not change
 *   pg_set.c     (own header) the settings that a statement makes
 *   pg_local.c   SHOW hansard.session and hansard.receipt
 *   pg_depth.c   results: how much of them is recorded
 *   pg_hide.c    credentials in what is said: left out of the record
 *   pg_names.c   relations as they are called now: asked for between transactions
 *   pg_cancel.c  a cancel that came in for this session
 *   pg_end.c     every way in which a session ends, and the words for it
 *
 * A struct pg_core lives as long as its session. Its memory beyond the struct is: the startup packet
 * (≤ 10 KB, until the login is sent), the expectations (≤ 96 KiB), texts (≤ 88 KiB), what may be echoed (≤ 16 KiB) and names
 * (≤ 50 KiB); each grows on demand and never past that.
 */
#ifndef PROTO_POSTGRES_PG_PRIV_H
#define PROTO_POSTGRES_PG_PRIV_H

#include "base/crypto.h"
#include "base/json.h"
#include "policy/sql_secret.h"
#include "proto/postgres/pg.h"
#include "proto/postgres/pg_wire.h"

/* ---- messages and phases ---- */

struct pg_core;

/* A message as far as it is seen. body may be cut short unless the row asked for the whole. */
struct pg_in {
	uint8_t type;
	uint64_t len;    /* whole message, type and length included */
	uint64_t off;    /* offset of its type byte in stream C or T */
	struct str body; /* what is there of it behind the head */
};

/* What a handler decided about its message (or a negative code: the session has ended). */
enum pg_verdict {
	PG_PASS = 1, /* relayed with its neighbours */
	PG_TAKEN,    /* the handler ordered its consumption itself (rows with `own`) */
	PG_STOP,     /* not now: it stays unconsumed, and so does what follows */
};

/* How much of a message longer than 64 KiB its handler wants to see; shorter ones are always whole. */
enum pg_need {
	PG_NEED_HEAD,  /* type and length: the rest streams past */
	PG_NEED_FIRST, /* its first 64 KiB */
	PG_NEED_WHOLE, /* all of it, from the budget */
};

struct pg_on {
	int (*fn)(struct pg_core *c, const struct pg_in *in);
	enum pg_need need;
	bool is_result; /* rows and the like: recorded as the connection says (pg_depth.c) */
	bool own;       /* fn orders the consumption (SKIP, REDACT) and returns PG_TAKEN */
};

enum { PG_TYPES = 128 };
struct pg_table {
	struct pg_on on[PG_TYPES]; /* by type; what has no fn is refused */
};

/* A side without raw handler and table is not read in that phase: its bytes stay where they are. */
struct pg_phase {
	const char *name;
	uint64_t timeout_ns; /* 0: none */
	/* Bytes without message heads: > 0 used (one packet), 0 needs more, < 0 ended. */
	int (*client_raw)(struct pg_core *c, struct str data);
	int (*target_raw)(struct pg_core *c, struct str data);
	const struct pg_table *client;
	const struct pg_table *target;
};

extern const struct pg_phase pg_phase_start;        /* first packets */
extern const struct pg_phase pg_phase_start_tls;    /* TLS with the client under way */
extern const struct pg_phase pg_phase_cancel;       /* a cancel is on its way to its session */
extern const struct pg_phase pg_phase_password;     /* the proof is asked for */
extern const struct pg_phase pg_phase_sasl;         /* so is one by SASL */
extern const struct pg_phase pg_phase_prove;        /* the keeper answers SCRAM's first message */
extern const struct pg_phase pg_phase_sasl_final;   /* the client's last word of SCRAM is awaited */
extern const struct pg_phase pg_phase_sasl_refused; /* OAUTHBEARER: it has to be told, and say so */
extern const struct pg_phase pg_phase_admit;        /* the keeper decides */
extern const struct pg_phase pg_phase_ask_tls;      /* SSLRequest sent to the target */
extern const struct pg_phase pg_phase_target_tls;
extern const struct pg_phase pg_phase_login;      /* authentication at the target */
extern const struct pg_phase pg_phase_login_step; /* the keeper answers a challenge */
extern const struct pg_phase pg_phase_settle;     /* logged in, before the first ReadyForQuery */
extern const struct pg_phase pg_phase_ready;
extern const struct pg_phase pg_phase_leaving; /* the client has gone; the target may still talk */
extern const struct pg_phase pg_phase_ended;

extern const struct pg_table pg_client_table;                 /* pg_flow.c */
extern const struct pg_table pg_target_table;                 /* pg_reply.c */
extern const struct pg_table pg_login_table, pg_settle_table; /* pg_auth.c */
extern const struct pg_table pg_password_table, pg_sasl_table, pg_sasl_final_table,
	pg_sasl_refused_table; /* pg_prove.c */

/* ---- bookkeeping (pg_track.c) ---- */

enum {
	PG_EXPECT_MAX = 4096, /* see pg_flow.c on why a full queue only makes the client wait */
	PG_TEXT_MAX = 1024,
	PG_PROOF_MAX = 16 * 1024, /* a message before admission: what the shell keeps then */
	PG_STATEMENT_MAX = 640,
	PG_PORTAL_MAX = 128,
	PG_PORTAL_TEXT_MAX = 256,
	PG_NAME_KEY = 16,
};
#define PG_NO_TEXT ((uint16_t)0xffff)

/* A statement's text: where it stands in stream C, and its hash. Shared by count. */
struct pg_text {
	uint64_t off;
	uint32_t len;
	uint32_t rows;   /* of the portal that has this text to itself, see pg_depth.c */
	uint64_t params; /* that carry a credential (policy/sql_secret.h) */
	uint8_t sha256[SHA256_SIZE]; /* of what is not hidden of it */
	char verb[PG_VERB_MAX];
	uint8_t verb_len;
	bool is_portal;
	uint16_t refs;
	uint16_t next_free;
};

/* One expected answer. kind is the client's message type. */
struct pg_expect {
	uint64_t off; /* of the message in stream C */
	uint64_t received_ns;
	uint32_t len;
	uint16_t text;
	uint8_t kind;
};

struct pg_name {
	uint8_t key[PG_NAME_KEY];
	uint16_t text;
	bool is_used;
};

/* Open addressing, capacity a power of two, at most half full; deletion closes the gap. */
struct pg_names {
	struct pg_name *slots;
	uint32_t cap, count, count_max;
};

struct pg_track {
	struct pg_expect *ring; /* power of two */
	uint32_t ring_cap, head, count;
	struct pg_text *texts;
	uint32_t texts_cap;
	uint16_t texts_free; /* list through next_free */
	uint16_t portal_texts;
	struct pg_names statements, portals;
	uint16_t statement, portal; /* texts of the unnamed ones */
	uint64_t lost_params;       /* params of all texts that are not kept any more */
};

void pg_track_init(struct pg_track *t);
void pg_track_fini(struct pg_track *t);
bool pg_track_is_full(const struct pg_track *t);
/* The queue must not be full. Takes over the reference to e->text. */
void pg_expect_push(struct pg_track *t, const struct pg_expect *e);
/* NULL when nothing is expected. idx counts from the oldest. */
struct pg_expect *pg_expect_at(struct pg_track *t, uint32_t idx);
/* Drops the oldest, whose text reference goes to the caller in *out. */
void pg_expect_pop(struct pg_track *t, struct pg_expect *out);
/* Drops entry idx (> 0) and closes the gap. */
void pg_expect_drop(struct pg_track *t, uint32_t idx);

/* A new text with one reference; PG_NO_TEXT when there is no room: then the record's bytes tell it
 * alone. hidden: what of it is left out of the record. */
uint16_t pg_text_new(struct pg_track *t, struct str text, uint64_t off,
                     const struct sql_secrets *hidden);
/* Its parameters that carry a credential; for PG_NO_TEXT those of all that are not known any more. */
uint64_t pg_text_params(const struct pg_track *t, uint16_t id);
uint16_t pg_text_ref(struct pg_track *t, uint16_t id);
void pg_text_unref(struct pg_track *t, uint16_t id);
/* A text as this one for a portal alone (at most 256 of them): its id with a reference; PG_NO_TEXT
 * when there is no room. */
uint16_t pg_text_portal(struct pg_track *t, uint16_t id);
/* The count of rows of a portal's own text; NULL of all others. */
uint32_t *pg_text_rows(struct pg_track *t, uint16_t id);
/* True when both are the text of one message. */
bool pg_text_is_same(const struct pg_track *t, uint16_t a, uint16_t b);
const struct pg_text *pg_text_get(const struct pg_track *t, uint16_t id); /* NULL for PG_NO_TEXT */

/* Statements and portals by name, "" being the unnamed one. set takes a reference of its own. */
void pg_statement_set(struct pg_track *t, struct str name, uint16_t text);
uint16_t pg_statement_get(const struct pg_track *t, struct str name);
void pg_statement_drop_text(struct pg_track *t, uint16_t text); /* every name of this text */
void pg_statements_clear(struct pg_track *t);
/* The target's names may stand for anything: nothing that goes by one is known any more. */
void pg_statements_forget(struct pg_track *t);
void pg_portal_set(struct pg_track *t, struct str name, uint16_t text);
uint16_t pg_portal_get(const struct pg_track *t, struct str name);
void pg_portal_drop_text(struct pg_track *t, uint16_t text);
void pg_portals_clear(struct pg_track *t);

/* ---- the session ---- */

enum pg_cancel_state {
	PG_CANCEL_NONE,
	PG_CANCEL_DIALING,
	PG_CANCEL_ASKING_TLS,
	PG_CANCEL_TLS,
	PG_CANCEL_SENT,      /* nothing new is forwarded until the target closes that connection */
	PG_CANCEL_ABANDONED, /* too late or failed: aux is closing, the session goes on */
};

/* A command that has ended and is not yet reported (it is reported behind its bytes). */
struct pg_done {
	struct command command;
	char verb[PG_VERB_MAX];
	char sqlstate[5];
};
enum { PG_DONE_MAX = 8 };

/* The answer that is coming in. */
struct pg_answer {
	uint64_t t_off; /* where it began in stream T */
	uint64_t t_end; /* behind its last message so far */
	bool has_begun;
	bool has_tag;
	bool has_failed;
	uint64_t rows_seen, rows_tag, row_bytes;
	uint32_t rows_head; /* of the result under way, of those that are kept */
	char verb[PG_VERB_MAX];
	uint8_t verb_len;
	char sqlstate[5];
};

/* The run of bytes of one on_bytes() call that passes unchanged. Positions are relative to the data
 * shown; base is the stream offset of its first byte. */
struct pg_run {
	enum side side;
	uint64_t base;
	uint64_t start, pos;
	bool is_on;
	enum order_depth depth; /* of what is in it, with rows */
	uint32_t rows;
};

enum { PG_CLAIMS_MAX = 16, PG_RECEIPT_MAX = 160 };
enum pg_receipt_state { PG_RECEIPT_NONE, PG_RECEIPT_ASKED, PG_RECEIPT_HERE };
enum { PG_LOOK_MAX = 64, PG_SEEN_MAX = 2048 };
enum pg_look_state {
	PG_LOOK_IDLE,
	PG_LOOK_ASKED,
	PG_LOOK_CLOSING, /* after a failure: what was prepared goes */
};

/* The look-up of names (pg_names.c): what is to be asked, what is being answered, what is known. */
struct pg_look {
	bool is_on;
	bool is_overdue;  /* the client does not wait for it any more */
	bool is_prepared; /* the statement stands, and has to be closed */
	bool has_failed;
	bool is_full; /* the session's limit was reached */
	uint8_t failures;
	enum pg_look_state state;
	uint64_t *seen; /* hashes; capacity a power of two */
	uint32_t seen_cap, seen_count;
	uint32_t told; /* relations */
	uint32_t name_count, oid_count;
	uint32_t asked_names, asked_oids; /* of those, the first ones are being asked for */
	size_t asked_bytes;
	uint32_t oids[PG_LOOK_MAX];
	struct buf names; /* u8 length, schema, u8 length, name */
	uint32_t oid;     /* of the relation under way, with its place among those asked for */
	uint64_t i;
	struct buf fact;
	struct jw json;
};

struct pg_core {
	struct order_sink *sink;
	const struct pg_phase *phase;
	uint64_t now_ns;
	bool is_loopback, has_tls;
	bool is_tls; /* with the client */
	bool asked_tls, asked_gss;
	bool began_tls;   /* the client began with TLS, unasked: ALPN must name the protocol */
	bool is_up_tls;   /* with the target */
	uint8_t minor;    /* of protocol 3, as spoken with the client: 0, 1 (the same as 0) or 2 */
	uint8_t up_minor; /* with the target: 0 or 2 */
	bool is_negotiated;       /* the target has said 'v' */
	enum proof_method method; /* asked for */
	bool can_bind;            /* our certificate has a hash to bind to: PLUS is offered */
	char label[64];           /* of the client's TLS server name, empty when it means nothing */

	/* what the client asked for; the packet is kept until the target's own has been made */
	struct buf start; /* body of the StartupMessage */
	/* what is asked of the keeper, all but the proof; slices of `start` and `label` */
	struct admit ask;
	struct buf hello; /* the StartupMessage for the target, ready to go */

	/* of the grant */
	char short_id[SHORT_ID_SIZE];
	char sid[UUID_TEXT_SIZE];
	uint64_t session_max_ns, session_grace_ns;
	enum hygiene hygiene;
	enum tls_mode tls;
	bool is_unix;
	bool is_tls_direct;
	bool is_replication; /* granted: CopyBothResponse is legal */
	uint8_t cancel_key[CANCEL_KEY_LONG];
	uint8_t cancel_key_size;
	uint32_t target_pid;
	const char *mechanism; /* of SASL, chosen by the client; static, NULL before */
	int refused_code;
	char refused_text[192];
	char server_final[48]; /* SCRAM: owed to the client before AuthenticationOk */
	uint8_t target_key[256];
	size_t target_key_len;
	uint32_t login_code; /* of the last Authentication message, PG_AUTH_NONE before it */

	/* Ready */
	struct pg_run run;
	struct pg_track track;
	struct pg_answer answer;
	struct pg_done done[PG_DONE_MAX];
	size_t done_count;
	uint64_t left[SIDE_COUNT]; /* shown and left unconsumed by the last call */
	uint64_t need[SIDE_COUNT]; /* asked for by ORD_NEED and not yet taken */
	bool is_open[SIDE_COUNT];  /* a relay from that side went past what was shown */
	bool is_left_worded; /* what is left of the client's holds a statement or parameters */
	struct pg_look look;
	struct depth results;   /* how much of them is recorded */
	bool keeps_credentials; /* nothing is hidden from the record */
	bool is_echo_full;
	struct buf echo; /* what was hidden since the session was idle: u16 length, bytes */
	uint32_t claims[PG_CLAIMS_MAX]; /* hashes of the names claimed, 0: none */
	enum pg_receipt_state receipt_state;
	char receipt[PG_RECEIPT_MAX];
	bool is_local;          /* a statement that is answered here waits for what is in flight */
	uint64_t rewritten_end; /* in stream C: behind the last message that went out changed */
	uint64_t unsent;        /* told with a kill: the end of U that never left */
	uint8_t state;          /* of the last ReadyForQuery */
	bool is_extended;       /* extended messages since the client's last Sync */
	bool is_skipping;       /* the target ignores everything up to the next Sync */
	bool is_copy_in;        /* the target reads CopyData; Sync and Flush are swallowed */
	uint32_t swallowed;     /* Syncs of which the target may or may not have taken note */
	uint64_t copy_ahead;    /* CopyData bytes said before the target asked */
	bool was_fatal;         /* the target has said why it closes */
	bool is_draining;
	bool has_client_ended; /* EOF seen, or Terminate */
	bool has_said_bye;     /* Terminate: what comes behind it is not read */
	enum pg_cancel_state cancel;
	uint64_t cancel_ns; /* when it came in */
};

/* ---- pg_core.c ---- */
void pg_enter(struct pg_core *c, const struct pg_phase *phase);
/* Relays what the run holds so far, then reports the commands that ended in it. */
void pg_run_flush(struct pg_core *c);
/* True while something that the client asked for may be running at the target. */
bool pg_in_flight(const struct pg_core *c);
bool pg_is_idle(const struct pg_core *c);
/* True while the client's messages stay where they are: a cancel is under way, or too much is asked
 * already. */
bool pg_client_waits(const struct pg_core *c);

/* Asks for all of the message in hand: 0, which its handler returns. */
int pg_want_whole(struct pg_core *c, const struct pg_in *in) must_use;

/* ---- pg_claim.c ---- */
/* Facts of what the startup packet claims. */
void pg_claims_start(struct pg_core *c);
/* Facts of what a statement claims; 0, or the code when it breaks a pin and the session has ended. */
int pg_settings_said(struct pg_core *c, struct str text, const struct sql_secrets *hidden) must_use;

/* ---- pg_local.c ---- */
enum pg_show { PG_SHOW_NONE, PG_SHOW_SESSION, PG_SHOW_RECEIPT };
enum pg_show pg_show_of(struct str text);
/* A Query that is answered here: PG_TAKEN or PG_STOP; 0: it is none. */
int pg_local_query(struct pg_core *c, const struct pg_in *in, struct str text) must_use;
/* A Parse that goes out rewritten; the same, and what is to be expected is the caller's business. */
int pg_local_parse(struct pg_core *c, const struct pg_in *in, const struct pg_parse *p) must_use;
/* EV_RECEIPT. */
void pg_receipt_came(struct pg_core *c, const struct event *ev);
/* True while the client's bytes have to wait for that. */
bool pg_local_waits(const struct pg_core *c);
/* ---- pg_depth.c ---- */
/* A message of a result is next: the run becomes one of the depth that it is recorded at. */
void pg_depth_row(struct pg_core *c);
/* The same for a depth that is known. */
void pg_depth_switch(struct pg_core *c, enum order_depth depth);

/* ---- pg_names.c ---- */
void pg_names_init(struct pg_core *c);
void pg_names_fini(struct pg_core *c);
/* Relations of a statement's text, or of a RowDescription, that are to be looked up. */
void pg_names_text(struct pg_core *c, struct str text);
void pg_names_columns(struct pg_core *c, struct str body);
/* Names may mean other things, relations have other columns from now on. */
void pg_names_forget(struct pg_core *c);
/* True at a moment at which the look-up is not noticed, if there is something to ask. */
bool pg_names_due(const struct pg_core *c);
void pg_names_start(struct pg_core *c);
/* True while the client's messages wait for it. */
bool pg_names_hold(const struct pg_core *c);
/* A message of the target while a look-up is out: PG_TAKEN, or PG_PASS for what is not its answer. */
int pg_names_take(struct pg_core *c, const struct pg_in *in) must_use;
void pg_names_overdue(struct pg_core *c);

/* ---- pg_hide.c ---- */
void pg_hide_init(struct pg_core *c);
void pg_hide_fini(struct pg_core *c);
/* Nothing is under way any more: what could be echoed is forgotten. */
void pg_hide_idle(struct pg_core *c);
/* What of a statement's text is to be hidden. */
void pg_secrets(struct pg_core *c, struct str text, struct sql_secrets *ret);
/* Hides those spans of `part`, a slice of the message's body. Last thing that a handler does with its
 * message: it has to pass then. */
void pg_hide(struct pg_core *c, const struct pg_in *in, struct str part,
             const struct sql_secrets *s);
/* The values of a Bind; `params` carry credentials for sure. PG_PASS, or 0: the message is asked for. */
int pg_hide_params(struct pg_core *c, const struct pg_in *in, uint64_t params) must_use;
/* The words of an ErrorResponse or NoticeResponse; the same. */
int pg_hide_echo(struct pg_core *c, const struct pg_in *in) must_use;
/* True when there is (the beginning of) a message that may carry credentials in these. */
bool pg_holds_words(struct str left);

/* ---- orders (pg_end.c has those that end a session) ---- */
void pg_skip(struct pg_core *c, enum side side, uint64_t n, enum proto_why why);
void pg_redact(struct pg_core *c, enum side side, uint64_t n, enum proto_why why);
void pg_send(struct pg_core *c, enum side side, struct str bytes, enum proto_why why);
void pg_send_secret(struct pg_core *c, enum side side, struct str bytes, enum proto_why why);
void pg_fact(struct pg_core *c, struct str name, struct str value);
/* TLS, by ALPN "postgresql". is_direct: nothing was said in clear, what is there belongs to it. */
void pg_tls(struct pg_core *c, enum side side, bool is_direct);
void pg_timer(struct pg_core *c, uint64_t at_ns);
void pg_close_side(struct pg_core *c, enum side side);

/* ---- pg_end.c: each returns the code with which the session ends ---- */
/* FATAL to the client (when it stands between two messages), then close. */
int pg_fatal(struct pg_core *c, int code, const char *sqlstate, const char *text) must_use;
int pg_fatal_hint(struct pg_core *c, int code, const struct pg_say *say) must_use;
/* Closes without a word. */
int pg_end(struct pg_core *c, int code) must_use;
int pg_client_broke(struct pg_core *c, const char *text) must_use; /* 08P01 */
int pg_target_broke(struct pg_core *c, const char *text) must_use; /* 08P01, H_EUPSTREAM */
int pg_kill(struct pg_core *c, int code) must_use;
int pg_drain(struct pg_core *c) must_use;
/* session_max is reached: a notice, unless the session is idle and ends at once. */
void pg_expiring(struct pg_core *c);
int pg_target_gone(struct pg_core *c, int code) must_use;
int pg_client_gone(struct pg_core *c, int code) must_use;
/* Everything that the client said has been forwarded: the target gets its EOF. */
void pg_leave(struct pg_core *c);

/* ---- pg_start.c ---- */
int pg_start_raw(struct pg_core *c, struct str data);
/* TLS with the client stands. */
int pg_start_tls_up(struct pg_core *c, const struct tls_facts *tls) must_use;

/* ---- pg_route.c ---- */
/* Fills c->ask from the startup packet and the server name. H_EREFUSED when the user name has no form
 * and nothing else names a connection. */
int pg_route(struct pg_core *c) must_use;

/* ---- pg_options.c ---- */
/* Why a startup packet was refused, for the client. */
struct pg_why {
	char text[256];
};
/* Makes c->hello from c->start and the grant; fills `why` on failure. */
int pg_hello_build(struct pg_core *c, const struct grant *g, struct pg_why *why) must_use;
/* One word of `options`: blanks separate, a backslash takes the next byte as it stands. */
struct str pg_option_word(struct str *rest, char *word, size_t size);
/* As PostgreSQL reads the name of an encoding: does it mean UTF8 (or what becomes UTF8 here)? */
bool pg_is_utf8_name(struct str value);
bool pg_is_on(struct str value);
/* The value of a startup parameter, STR_NONE when it is not there; the last one counts. */
struct str pg_start_param(const struct pg_core *c, const char *name);

/* ---- pg_prove.c ---- */
/* Asks for the proof that the user name, or else the connection, says. 0, or the code of the end. */
int pg_ask_proof(struct pg_core *c) must_use;
int pg_proved(struct pg_core *c, struct str challenge) must_use;
int pg_refused(struct pg_core *c, const struct event *ev) must_use;
/* What is owed to the client before AuthenticationOk. */
void pg_prove_done(struct pg_core *c);

/* ---- pg_auth.c ---- */
int pg_granted(struct pg_core *c, const struct grant *g) must_use;
int pg_ask_tls_raw(struct pg_core *c, struct str data);
int pg_target_tls_up(struct pg_core *c, const struct tls_facts *tls) must_use;
void pg_say_hello(struct pg_core *c);
int pg_login_stepped(struct pg_core *c, const struct event *ev) must_use;
int pg_login_failed(struct pg_core *c, struct str detail) must_use;
/* A ParameterStatus that changes what text means ends a pinned session: 0, or the code. */
int pg_status_check(struct pg_core *c, struct str body) must_use;

/* ---- pg_reply.c ---- */
/* One COMMAND, reported behind the bytes that it points at. Keeps no reference of e. */
void pg_command_report(struct pg_core *c, enum command_status status, const struct pg_expect *e);
/* Reports every command that is still open: the session ended first. */
void pg_commands_close(struct pg_core *c);

/* ---- pg_cancel.c ---- */
int pg_cancel_begin(struct pg_core *c) must_use;
int pg_cancel_dialed(struct pg_core *c) must_use;
int pg_cancel_raw(struct pg_core *c, struct str data) must_use; /* bytes of aux */
int pg_cancel_tls_up(struct pg_core *c) must_use;
int pg_cancel_closed(struct pg_core *c) must_use;
int pg_cancel_timer(struct pg_core *c) must_use;
/* True while the client's bytes have to wait. */
bool pg_cancel_holds(const struct pg_core *c);

#endif
