/*
 * proto.h: what a protocol is to the rest of Hansard.
 *
 * A protocol is a *core*: a parser and a session machine. It takes bytes and events and gives
 * orders. It does no I/O, reads no clock (now_ns comes with every call), takes no lock, allocates only what
 * its limits allow, and never logs. The *shell* (session.h, worker) owns sockets, TLS, timers, the
 * ring, and carries the orders out. Tests play a shell (tests and fuzz targets beside each core).
 *
 * Streams (DESIGN §7): C what the client said, U what the target was sent, T what the target said,
 * R what the client was sent. C and T are recorded; U and R only where they differ.
 *
 *            client ──C──▶ [ core ] ──U──▶ target
 *            client ◀──R── [ core ] ◀──T── target            aux: a second connection to the target (cancel)
 *
 * Consumption. on_bytes(side, data) shows all unconsumed bytes of that side, at most 64 KiB unless
 * the core asked for more by ORD_NEED. The core consumes from the front, in order, by RELAY, HIDE, SKIP
 * and REDACT; what it does not consume is shown again together with what arrives, and also after every
 * on_event and every on_bytes of another side (the core may have waited for just that). A RELAY may name
 * more bytes than are there: the shell passes them in windows of at most 64 KiB as they come, unseen by the
 * core, and calls on_bytes for that side only when all have passed.
 *
 * Record first. RELAY, HIDE, SKIP, REDACT and SEND record what they do before they do it (the event types
 * in record/event.h). Bytes for the target and aux sides are written only when the event that records
 * them is durable (`durable: async` excepted); with `both-ways` bytes for the client too. What is
 * ordered before ORD_ADMIT is granted waits in the session (≤ 16 KiB) and is recorded first thing
 * after the grant; toward the client nothing is held in that time.
 *
 * Order. Orders for one receiving side are carried out in the order given. A SEND to a side into
 * which a RELAY is still under way comes behind that relay. ORD_CLOSE drops a relay under way.
 *
 * Limits: the core keeps at most 256 KiB per session of its own (maps of statements, portals,
 * expectations); each is capped and yields a protocol error, never growth.
 */
#ifndef SESSION_PROTO_H
#define SESSION_PROTO_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum side { SIDE_CLIENT, SIDE_TARGET, SIDE_AUX, SIDE_COUNT };
enum stream { STREAM_C, STREAM_U, STREAM_T, STREAM_R, STREAM_COUNT };

enum durable { DURABLE_BEFORE_FORWARD, DURABLE_BOTH_WAYS, DURABLE_ASYNC };
/* What a connection keeps of results: all of them, the first rows of each and a hash of the rest, a
 * hash, or how many there were. */
enum depth_kind { DEPTH_FULL, DEPTH_HEAD, DEPTH_DIGEST, DEPTH_NONE };
struct depth {
	enum depth_kind kind;
	uint32_t rows; /* DEPTH_HEAD: kept of each result */
};
/* What the record keeps of bytes that are relayed. */
enum order_depth {
	RECORD_FULL,   /* the bytes */
	RECORD_DIGEST, /* place, length, rows and a keyed hash */
	RECORD_NONE,   /* place, length, rows */
};
enum hygiene { HYGIENE_PINNED, HYGIENE_OPEN };
enum tls_mode { TLS_DISABLE, TLS_REQUIRE, TLS_VERIFY_CA, TLS_VERIFY_FULL };

/* Why bytes were dropped, injected or redacted: stands in the record event (one byte, new rows last). */
#define PROTO_WHYS(X) \
	X(HANDSHAKE, "handshake", "transport or protocol negotiation spoken by the gateway") \
	X(LOGIN, "login", "authentication with the target, or with the client") \
	X(CREDENTIAL, "credential", "a credential; the bytes are not kept") \
	X(REWRITE, "rewrite", "rewritten by hygiene") \
	X(ERROR, "error", "an error said by the gateway") \
	X(KEYS, "keys", "cancel keys replaced by the gateway's own") \
	X(CANCEL, "cancel", "a cancel request") \
	X(NOTICE, "notice", "a notice said by the gateway") \
	X(CLOSING, "closing", "what came after the session had ended") \
	X(SKIPPED, "skipped", "not forwarded because the protocol says to skip") \
	X(LOOKUP, "lookup", "names of relations, asked for by the gateway") \
	X(ANSWERED, "answered", "answered by the gateway itself")
enum proto_why {
#define X(name, text, help) WHY_##name,
	PROTO_WHYS(X)
#undef X
		WHY_COUNT
};

/* ---- the decoded command, one record event per command (DESIGN §7) ---- */
enum command_kind {
	CMD_QUERY,   /* simple query: one or more statements */
	CMD_EXECUTE, /* extended protocol: one Execute */
	CMD_PARSE, /* a Parse that failed, or was never executed, is no command; kept for refusals */
	CMD_FUNCTION, /* FunctionCall */
	CMD_CANCEL,
	CMD_KIND_COUNT
};
enum command_status {
	CMD_OK,
	CMD_FAILED,
	CMD_SKIPPED,
	CMD_REFUSED,
	CMD_UNKNOWN /* session ended first */
};

struct command {
	enum command_kind kind;
	enum command_status status;
	struct str verb; /* upper case first keyword, or the completion tag's; at most 24 bytes */
	struct str sqlstate;     /* five characters, or empty */
	uint8_t text_sha256[32]; /* of the statement's text; zero when there is none */
	uint64_t c_off, c_len;   /* the message that ran it, in stream C (first type byte on) */
	uint64_t text_off,
		text_len; /* the statement's text in stream C, which may be an earlier Parse's */
	uint64_t t_off, t_len;         /* its answer in stream T */
	uint64_t rows;                 /* rows returned, or affected by the tag */
	uint64_t row_bytes;            /* bytes of DataRow / CopyData payload, both directions */
	uint64_t received_ns, done_ns; /* monotonic: last byte read, last answer byte read */
};

/* ---- what a session asks to be admitted with ---- */
/* How a client is asked to prove itself. */
enum proof_method { PROVE_BY_PASSWORD, PROVE_BY_SCRAM, PROVE_BY_OAUTH, PROVE_BY_COUNT };
enum proof_kind {
	PROOF_PASSWORD, /* opaque or bearer token inside TLS */
	PROOF_NONE,
	PROOF_BEARER, /* the same tokens, by OAUTHBEARER; empty: the client asks where to get one */
	PROOF_SCRAM,  /* client-final of the exchange that ORD_PROVE began */
	PROOF_KIND_COUNT
};
/* What of the client's words named the connection. */
enum routed_by { ROUTED_BY_USER, ROUTED_BY_SERVER_NAME, ROUTED_BY_DATABASE, ROUTED_BY_COUNT };
#define CANCEL_KEY_SHORT 4 /* PostgreSQL 3.0 */
#define CANCEL_KEY_LONG 32 /* PostgreSQL 3.2 */
struct admit {
	struct str connection; /* [a-z0-9-]{1,32}, as the client named it */
	struct str role;       /* empty: the connection's default */
	struct str database;   /* empty: the connection's default */
	struct str hint;       /* after '+', empty when none */
	enum proof_kind proof_kind;
	struct str proof;      /* borrowed for the call; the shell copies and wipes */
	struct str client_app; /* application_name or the like: claimed */
	enum routed_by routed_by;
	/* The role is the user name of a client that was routed by something else: where the connection
	 * has no such role, its default is meant. */
	bool is_role_optional;
	bool wants_replication;  /* a replication connection: granted only where it is allowed */
	uint8_t cancel_key_size; /* bytes of the key that the client can be given; 0: none */
};

/* ---- what the keeper granted ---- */
struct grant {
	uint8_t sid[16];
	char short_id[10];
	struct str upstream_user;
	struct str database;
	struct str server_name; /* for TLS verification of the target */
	enum tls_mode tls;
	bool is_unix; /* the target is a Unix socket: TLS is never spoken there */
	enum hygiene hygiene;
	enum durable durable;
	uint64_t session_max_ns;   /* length of the session's life; 0 = none */
	uint64_t session_grace_ns; /* how much longer it may live when it is not idle then */
	bool is_tls_direct;        /* TLS with the target starts without asking (PostgreSQL 17) */
	bool is_replication;       /* the target may be asked for a replication connection */
	bool keeps_credentials;  /* `record.credentials: keep`: nothing is hidden from the record */
	bool looks_up_names;     /* `record.names: on`: relations are frozen at first sight */
	struct depth results;    /* how much of them the record keeps */
	uint8_t cancel_key_size; /* as asked for */
	uint8_t cancel_key[CANCEL_KEY_LONG];
	struct str server_final; /* PROOF_SCRAM: what proves the gateway to the client */
};

/* ---- orders ---- */
enum order_kind {
	ORD_RELAY, /* side: from; n; depth; rows; the next n unconsumed bytes pass to the other side */
	ORD_HIDE, /* side: from; n; why: as RELAY, but the record keeps only place, length and a keyed hash (n is within what was shown) */
	ORD_SKIP, /* side: from; n; why: recorded, not forwarded (n is within what was shown) */
	ORD_REDACT, /* side: from; n; why: only place and length are recorded, not forwarded */
	ORD_SEND,   /* side: to; bytes; why; secret: the record keeps place and length only */
	ORD_NEED, /* side; n: show this message whole, n bytes from the front of the unconsumed (budget; EV_NO_BUDGET if none) */
	ORD_COMMAND, /* command */
	ORD_FACT, /* fact: name and value, a decoded event ("server_version", "15.4"), at most 4 KiB */
	ORD_TLS, /* side: what was sent before goes out first, then TLS starts: server for the client, client for target and aux. EV_TLS_UP or EV_CLOSED follows.
	             * Plaintext already received beyond what was consumed is an attack (CVE-2021-23214): the shell closes,
	             * unless is_direct: then nothing was said in clear, and what was received belongs to TLS.
	             * name: the ALPN protocol to offer, or to accept (a client that offers only others is refused). */
	ORD_ADMIT, /* admit: EV_GRANTED (with a connected target) or EV_REFUSED follows */
	ORD_PROVE, /* admit (connection, hint), name: the mechanism, bytes: the client's first message, for the keeper; EV_PROVED or EV_REFUSED follows. Once, before ORD_ADMIT */
	ORD_LOGIN, /* bytes: the target's challenge, for the keeper; EV_LOGIN follows */
	ORD_DIAL,  /* side must be SIDE_AUX: EV_DIALED or EV_CLOSED(aux) follows */
	ORD_CANCEL, /* pid, key: a CancelRequest came in here; the keeper finds its session. Never answered; EV_CANCELLED follows, and only then may the connection be closed: the client may say its next command behind that */
	ORD_BACKEND, /* pid: the target's backend of this session, for the registry */
	/* A receipt for all that was ordered before; one at a time. EV_RECEIPT follows, when that is durable */
	ORD_RECEIPT,
	ORD_TIMER, /* n: absolute monotonic ns, 0 stops; one timer per session; EV_TIMER follows */
	ORD_CLOSE, /* reason (H_E… or 0): write what is ordered, then close all sides; nothing is read any more */
	ORD_CLOSE_SIDE, /* side: write what is ordered for it, then shut it down (EOF); the others go on */
	ORD_KIND_COUNT
};

struct order {
	enum order_kind kind;
	enum side side;
	enum proto_why why;
	bool secret;
	bool is_direct; /* ORD_TLS */
	uint64_t n;
	enum order_depth depth; /* ORD_RELAY from the target: what of these results is recorded … */
	uint32_t rows;          /* … and how many messages of them begin in what was shown */
	struct str bytes;       /* borrowed for the call */
	struct str name;        /* ORD_FACT, ORD_TLS, ORD_PROVE */
	const struct command *command;
	const struct admit *admit; /* ORD_ADMIT, ORD_PROVE */
	int reason;
	uint32_t pid; /* ORD_CANCEL, ORD_BACKEND */
};

/* What the newest configuration says of a connection to a client that has proven nothing yet. What is
 * answered from it must not tell whether the connection exists. */
struct connection_facts {
	struct str name; /* as asked for */
	enum proof_method proof;
};

/* Where orders go. Returns the seq of the (last) record event the order made, 0 when it made none yet
 * (not all bytes of a RELAY were there, or ring full). Never calls back into the core. */
struct order_sink {
	uint64_t (*emit)(struct order_sink *sink, const struct order *o);
	/* Bytes of a stream so far (offset of its next byte), as recorded by orders carried out or queued. */
	uint64_t (*offset)(struct order_sink *sink, enum stream stream);
	/* False when this protocol has no connection of that name. NULL: there is never one. */
	bool (*connection)(struct order_sink *sink, struct str name, struct connection_facts *ret);
};

/* ---- events ---- */
enum event_kind {
	EV_TLS_UP,  /* side, tls */
	EV_GRANTED, /* grant; the target is connected */
	EV_REFUSED, /* code; text: what the client may be told, with ref; bytes: PROOF_BEARER: a challenge to say before it, then the session waits for the client and the core closes */
	EV_PROVED,  /* bytes: the server's first message */
	EV_LOGIN, /* code 0: bytes to send (may be empty); is_done: login is complete. code < 0: failed, text for the client */
	EV_DIALED,    /* side aux */
	EV_CLOSED,    /* side: the peer closed or failed (code 0: clean EOF; H_ETLS, H_EIO, …) */
	EV_CANCEL,    /* another connection asked to cancel; pid was compared by the shell */
	EV_CANCELLED, /* ORD_CANCEL has reached the session it is for, or there is none */
	EV_TIMER,
	EV_NO_BUDGET, /* the whole message does not fit the budget */
	EV_KILL, /* code: H_EKILLED, H_EEXPIRED, H_ERECORDER, H_EKEEPER, H_EQUOTA, H_EDRAIN…: say it in the protocol, then close */
	EV_DRAIN, /* end at the next idle moment */
	/* session_max is reached: the shell ends the session when it is idle, or after session_grace. The core
	 * may tell the client, unless that is now. */
	EV_EXPIRING,
	EV_RECEIPT, /* code 0: text, the receipt; else none can be given now */
	EV_PARSED,
	EV_DECIDED, /* guardrails, a later issue */
	EV_KIND_COUNT
};

/* TLS that stands. Slices are good for the call. */
struct tls_facts {
	struct str
		server_name; /* the client's side: what the client asked for (SNI), empty when nothing */
	/* the client's side: first label of a server name under spec.listen.domain, else empty */
	struct str label;
	struct str alpn; /* agreed on, empty when nothing */
	/* RFC 5929 tls-server-end-point: of our own leaf on the client's side, of the target's on the
	 * others. Empty when the certificate's signature has no hash that the RFC could name. */
	struct str end_point;
};

struct event {
	enum event_kind kind;
	enum side side;
	int code;
	bool is_done;
	uint64_t now_ns;
	struct str bytes;
	struct str text;
	const struct grant *grant;
	const struct tls_facts *tls; /* EV_TLS_UP; NULL: nothing is known (tests) */
	/* EV_KILL: bytes at the end of stream U that the target's socket was never handed */
	uint64_t unsent;
};

/* Facts about the client connection, known when the core opens. */
struct proto_open {
	struct order_sink *sink;
	bool is_loopback; /* TLS may be left out */
	bool has_tls;     /* the listener can speak TLS */
	uint64_t now_ns;
	struct str server_version_floor; /* reserved, empty */
};

/*
 * One row of the table of protocols (proto/protos.c). All members are set, unless a comment says
 * that NULL is allowed. The shell allocates core_size zeroed bytes per session and frees them after fini.
 */
struct proto {
	const char *name;
	uint16_t default_port;
	size_t core_size;
	void (*init)(void *core, const struct proto_open *open);
	/* 0, or a negative code: the core has already ordered what to say, the shell closes. */
	int (*on_bytes)(void *core, enum side side, struct str data, uint64_t now_ns) must_use;
	int (*on_event)(void *core, const struct event *ev) must_use;
	void (*fini)(void *core);
	/* True when nothing is in flight and no transaction is open: a moment at which ending loses nothing. */
	bool (*is_idle)(const void *core);
	/* Phase name, for logs and dumps; static text. */
	const char *(*phase)(const void *core);
};

extern const struct proto *const protos[]; /* NULL at the end; proto/protos.c */
const struct proto *proto_find(struct str name);

#endif
