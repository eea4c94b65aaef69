/*
 * pg_wire.h: PostgreSQL's frontend/backend protocol 3.0 as bytes: parsers and builders, no state.
 *
 * Two users: the session core (pg_core.c), which looks at heads and at the few bodies that it must
 * understand, and the reading side (`hansard play`, `show`, `export`), which decodes what a record
 * holds. Both feed foreign bytes, so every parser is total: it yields a value or a negative code.
 *
 * Framing.  Every message but the first of a connection is   Byte1 type, Int32 len, body
 * where len counts itself and the body, not the type. The first is   Int32 len, Int32 code, body.
 * All numbers are big-endian; a String ends in NUL.
 *
 * Streaming. pg_head_parse() needs five bytes and tells how long the message is (three-way: > 0
 * bytes used, 0 needs more, < 0 H_EPROTO). A body parser takes a whole body (without type and
 * length), returns 0 or H_ETRUNC / H_EFORMAT, and leaves *out untouched on failure. What it returns
 * borrows from the body. Iterators walk what a parser has already checked, so they cannot fail.
 *
 * Reference: PostgreSQL 15 manual, "Frontend/Backend Protocol", sections "Message Formats" and
 * "Error and Notice Message Fields".
 */
#ifndef PROTO_POSTGRES_PG_WIRE_H
#define PROTO_POSTGRES_PG_WIRE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"
#include "base/str.h"

/* ---- the first packet of a connection (no type byte) ---- */
#define PG_PROTOCOL_3_0 ((uint32_t)196608)
#define PG_PROTOCOL_3_2 ((uint32_t)196610) /* PostgreSQL 18: longer cancel keys, nothing else */
#define PG_MINOR_MAX 2
#define PG_ALPN "postgresql"
#define PG_CODE_CANCEL ((uint32_t)80877102)
#define PG_CODE_SSL ((uint32_t)80877103)
#define PG_CODE_GSSENC ((uint32_t)80877104)
#define PG_START_LEN_MIN ((uint32_t)8)
#define PG_START_LEN_MAX ((uint32_t)10000)
#define PG_TLS_RECORD 0x16 /* first byte of a direct TLS handshake (sslnegotiation=direct) */
#define PG_CANCEL_LEN 16   /* a 3.0 CancelRequest, whole; one of 3.2 is longer */
#define PG_SSL_LEN 8       /* an SSLRequest, whole */

struct pg_start {
	uint32_t code;   /* PG_CODE_*, or the protocol version: major << 16 | minor */
	struct str body; /* behind the code */
};
/* > 0: bytes used (the whole packet); 0: needs more; H_EPROTO: a length outside 8..10000. */
int pg_start_parse(struct pg_start *out, struct str in) must_use;

/* Parameters of a StartupMessage, in order. */
struct pg_params {
	struct rd rd;
};
struct pg_param {
	struct str name, value;
};
/* Checks the whole list (pairs of strings, one NUL at the end, nothing behind it). */
int pg_params_parse(struct pg_params *out, struct str body) must_use;
bool pg_params_next(struct pg_params *it, struct pg_param *out);

struct pg_cancel {
	uint32_t pid;
	struct str key; /* 4 bytes in protocol 3.0, up to 256 in 3.2 */
};
int pg_cancel_parse(struct pg_cancel *out, struct str body) must_use;

/* ---- heads ---- */
#define PG_HEAD_SIZE 5
struct pg_head {
	uint8_t type;
	uint64_t len; /* of the whole message: type byte, length and body; at least 5 */
};
/* PG_HEAD_SIZE, 0 (needs more), or H_EPROTO (the length is below 4 or has its sign bit set). */
int pg_head_parse(struct pg_head *out, struct str in) must_use;

struct pg_msg {
	uint8_t type;
	struct str body;
};
/* A whole message at the front of `in`: bytes used, 0 (needs more) or H_EPROTO. */
int64_t pg_msg_parse(struct pg_msg *out, struct str in) must_use;

/* "Query", "DataRow"…; NULL for a type that the direction does not have. Static text. */
const char *pg_client_name(uint8_t type);
const char *pg_target_name(uint8_t type);
/* The longest whole message of that type that is accepted; 0 for an unknown type. Query and Parse
 * are bounded by the budget for whole messages besides. */
uint64_t pg_client_cap(uint8_t type);
uint64_t pg_target_cap(uint8_t type);

/* ---- parts that several messages share ---- */

/* Format codes: none = all text, one = for all, else one each. */
struct pg_formats {
	uint16_t count;
	struct str raw; /* count x Int16 */
};
/* 0 text, 1 binary (any other number is handed out as it stands). */
uint16_t pg_format_at(const struct pg_formats *f, size_t idx);

struct pg_oids {
	uint16_t count;
	struct str raw; /* count x Int32 */
};
uint32_t pg_oid_at(const struct pg_oids *o, size_t idx);

/* Values: columns of a row, parameters of a Bind, arguments of a FunctionCall. */
struct pg_values {
	uint16_t count;
	struct rd rd;
};
struct pg_value {
	bool is_null; /* a NULL is not an empty value */
	struct str bytes;
};
bool pg_values_next(struct pg_values *it, struct pg_value *out);

/* ---- what a client says ---- */
struct pg_query {
	struct str text;
};
int pg_query_parse(struct pg_query *out, struct str body) must_use; /* Q */

struct pg_parse {
	struct str name, text;
	struct pg_oids types;
};
int pg_parse_parse(struct pg_parse *out, struct str body) must_use; /* P */

struct pg_bind {
	struct str portal, statement; /* the portal comes first on the wire */
	struct pg_formats param_formats;
	struct pg_values params;
	struct pg_formats result_formats;
};
int pg_bind_parse(struct pg_bind *out, struct str body) must_use; /* B */
/* The two names alone, from a body that may be cut short: 1 found, 0 needs more, < 0 never. */
int pg_bind_names(struct str *ret_portal, struct str *ret_statement, struct str head) must_use;

struct pg_named {
	uint8_t kind; /* 'S' statement, 'P' portal */
	struct str name;
};
int pg_describe_parse(struct pg_named *out, struct str body) must_use; /* D, C of a client */

struct pg_execute {
	struct str portal;
	uint32_t rows_max; /* 0: all */
};
int pg_execute_parse(struct pg_execute *out, struct str body) must_use; /* E of a client */

struct pg_function {
	uint32_t oid;
	struct pg_formats arg_formats;
	struct pg_values args;
	uint16_t result_format;
};
int pg_function_parse(struct pg_function *out, struct str body) must_use; /* F */

int pg_copy_fail_parse(struct str *ret_reason, struct str body) must_use;  /* f */
int pg_password_parse(struct str *ret_password, struct str body) must_use; /* p, clear or md5 */
struct pg_sasl {
	struct str mechanism;
	struct str message;
	bool is_empty; /* no message at all, which is not one of no bytes */
};
int pg_sasl_parse(struct pg_sasl *out, struct str body) must_use; /* p, SASLInitialResponse */
/* c X S H of a client; I s n 1 2 3 c of a target: no body at all. */
int pg_empty_parse(struct str body) must_use;

/* ---- what a target says ---- */
struct pg_row_desc {
	uint16_t count;
	struct rd rd;
};
struct pg_column {
	struct str name;
	uint32_t table_oid;
	uint16_t attnum;
	uint32_t type_oid;
	int16_t type_len;
	int32_t type_mod;
	/* always 0 where it answers a Describe of a statement: Bind says it then */
	uint16_t format;
};
int pg_row_desc_parse(struct pg_row_desc *out, struct str body) must_use; /* T */
bool pg_row_desc_next(struct pg_row_desc *it, struct pg_column *out);

int pg_data_row_parse(struct pg_values *out, struct str body) must_use; /* D of a target */
int pg_param_desc_parse(struct pg_oids *out, struct str body) must_use; /* t */

struct pg_tag {
	struct str text; /* "INSERT 0 5" */
	struct str verb; /* "INSERT"; "CREATE TABLE AS" for tags of several words */
	bool has_rows;
	uint64_t rows;
};
int pg_tag_parse(struct pg_tag *out, struct str body) must_use; /* C of a target */

/* Fields of an ErrorResponse or NoticeResponse; those that are absent are empty (p == NULL). */
struct pg_fields {
	struct rd rd;
};
struct pg_field {
	uint8_t code; /* S V C M D H P p q W s t c d n F L R */
	struct str value;
};
int pg_fields_parse(struct pg_fields *out, struct str body) must_use; /* E, N of a target */
bool pg_fields_next(struct pg_fields *it, struct pg_field *out);
/* What a field is called in exports ("internal_position") and, with spaces, for people; NULL for a code that
 * the protocol does not name. */
const char *pg_field_key(uint8_t code);
struct pg_error {
	struct str severity; /* V where there is one (never translated), else S */
	struct str sqlstate; /* C */
	struct str message;  /* M */
	struct str detail;   /* D */
	struct str hint;     /* H */
	struct str position; /* P */
	struct str where;    /* W */
	struct str schema, table, column, type, constraint; /* s t c d n */
};
int pg_error_parse(struct pg_error *out, struct str body) must_use; /* E, N of a target */

struct pg_notify {
	uint32_t pid;
	struct str channel, payload;
};
int pg_notify_parse(struct pg_notify *out, struct str body) must_use; /* A */

int pg_status_parse(struct pg_param *out, struct str body) must_use; /* S of a target */
int pg_ready_parse(uint8_t *ret_state, struct str body) must_use;    /* Z: 'I', 'T' or 'E' */

struct pg_copy {
	bool is_binary;
	struct pg_formats formats;
};
int pg_copy_parse(struct pg_copy *out, struct str body) must_use; /* G, H, W */

int pg_function_result_parse(struct pg_value *out, struct str body) must_use; /* V */

struct pg_key {
	uint32_t pid;
	struct str key; /* 4..256 bytes */
};
int pg_key_parse(struct pg_key *out, struct str body) must_use; /* K */

enum pg_auth_code {
	PG_AUTH_OK = 0,
	PG_AUTH_CLEAR = 3,
	PG_AUTH_MD5 = 5,
	PG_AUTH_SASL = 10,
	PG_AUTH_SASL_CONTINUE = 11,
	PG_AUTH_SASL_FINAL = 12,
	PG_AUTH_NONE = 0x7fffffff, /* on no wire: none has come */
};
struct pg_auth {
	uint32_t code;
	struct str data;
};
int pg_auth_parse(struct pg_auth *out, struct str body) must_use; /* R */

struct pg_negotiate {
	uint32_t version;
	uint32_t count;
	struct rd options; /* count strings, take them with rd_cstr() */
};
int pg_negotiate_parse(struct pg_negotiate *out, struct str body) must_use; /* v */

/* ---- builders: append one whole message; sticky as all writers are (w_done) ---- */

/* Begins a message and returns a mark; pg_w_end() patches its length. type 0: a first packet. */
size_t pg_w_begin(struct buf *b, uint8_t type);
void pg_w_end(struct buf *b, size_t mark);

void pg_w_empty(struct buf *b, uint8_t type); /* S, H, X, c, 1, 2, 3, n, I, s */
void pg_w_ssl_request(struct buf *b);
void pg_w_cancel(struct buf *b, uint32_t pid, struct str key);
/* Parameters follow with pg_w_param(), then pg_w_start_end(). */
size_t pg_w_start_begin(struct buf *b, uint32_t version);
void pg_w_param(struct buf *b, struct str name, struct str value);
void pg_w_start_end(struct buf *b, size_t mark);

void pg_w_auth(struct buf *b, uint32_t code, struct str data);
void pg_w_key(struct buf *b, uint32_t pid, struct str key);
void pg_w_status(struct buf *b, struct str name, struct str value);
void pg_w_ready(struct buf *b, uint8_t state);
/* type E or N; detail and hint may be empty. severity: "FATAL", "ERROR", "NOTICE". */
struct pg_say {
	uint8_t type;
	struct str severity, sqlstate, message, detail, hint;
};
void pg_w_say(struct buf *b, const struct pg_say *say);
/* NegotiateProtocolVersion; the options are those that the caller does not know. */
size_t pg_w_negotiate_begin(struct buf *b, uint32_t version, uint32_t count);
void pg_w_query(struct buf *b, struct str text);

/* ---- statement text ---- */

#define PG_VERB_MAX 24
/* The first keyword of a statement in upper case: white space, comments (nested), semicolons and
 * opening parentheses before it are passed over. Writes at most PG_VERB_MAX bytes, returns how many;
 * 0 when the text has no leading word. Looks at no more than its first 64 KiB. */
size_t pg_verb(char out[PG_VERB_MAX], struct str text);

#endif
