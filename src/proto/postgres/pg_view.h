/*
 * pg_view.h: what a recorded session meant: statements, parameters, rows, errors, times.
 *
 * The reading side of the protocol (`hansard show`, `play`, `export`). It is derived from the record's
 * byte streams alone, by the same message parsers that the core uses, and is as pure as the core: bytes
 * and times in, calls of a handler out. It keeps its own queue of what the target owes (docs of
 * pg_flow.c), so it also reads sessions whose command events were lost in a crash.
 *
 * Feed record events in seq order: raw and dropped bytes of stream C and T, hidden spans, holes (redacted spans), the
 * moments at which bytes of U were handed to the target. All slices that a handler gets borrow for the call.
 *
 * Limits: a message longer than message_max is not assembled, but reported by `oversize`; names and
 * texts are kept for at most VIEW_STATEMENTS_MAX statements and as many portals (executions of further ones show no text); a byte stream that is no PostgreSQL stops the view (`broken`), never the reader.
 */
#ifndef PROTO_POSTGRES_PG_VIEW_H
#define PROTO_POSTGRES_PG_VIEW_H

#include "proto/postgres/pg_wire.h"

#define VIEW_STATEMENTS_MAX 4096

enum view_kind { VIEW_QUERY, VIEW_EXECUTE, VIEW_FUNCTION };
enum view_status { VIEW_OK, VIEW_FAILED, VIEW_SUSPENDED, VIEW_SKIPPED, VIEW_UNANSWERED };

/* One command, from the client's message to the target's last answer to it. */
struct view_command {
	uint64_t number; /* from 1, in the order in which the client said them */
	enum view_kind kind;
	struct str text; /* the statement's; empty when it is not known */
	bool has_text;
	struct str statement, portal; /* names, EXECUTE only */
	uint32_t rows_max;            /* of Execute */
	bool is_continued;            /* an earlier Execute of the same portal ran the statement */
	uint32_t function_oid;
	uint64_t c_off; /* of the message that ran it, in stream C */
	uint64_t seq;   /* of the event that completed that message */
	/* parameters: decode with pg_values_next(); types may be fewer than values */
	struct pg_values params;
	struct pg_formats param_formats;
	struct pg_oids param_types;
	bool has_params;
	uint64_t received_ns;  /* its last byte was read */
	uint64_t forwarded_ns; /* its last byte was handed to the target; 0: not known, or never */
	uint64_t answered_ns;  /* the last byte of its answer was read; 0: none */
	enum view_status status;
	uint64_t rows, row_bytes;
	uint64_t rows_kept_out; /* of those rows, what the record does not have */
};

/* A result's shape: borrowed for the call. desc is empty (count 0) where the record has none. */
struct view_shape {
	struct pg_row_desc desc;
	struct pg_formats formats; /* as the Bind asked; count 0: what the description says */
	bool is_described;
};

struct view_handler {
	void *arg;
	/* All may be NULL. A simple query may have several results: columns/row/complete repeat. */
	void (*begin)(void *arg, const struct view_command *c);
	void (*columns)(void *arg, const struct view_command *c, const struct view_shape *shape);
	void (*row)(void *arg, const struct view_command *c, const struct view_shape *shape,
	            struct pg_values values);
	void (*copy)(void *arg, const struct view_command *c, bool from_client, struct str data);
	/* the target asks for COPY data */
	void (*copy_in)(void *arg, const struct view_command *c);
	/* rows of it that the record does not have; digest NULL: there is no hash of them either */
	void (*kept_out)(void *arg, const struct view_command *c, uint64_t rows,
	                 const uint8_t *digest);
	void (*complete)(void *arg, const struct view_command *c,
	                 struct str tag); /* one statement of it is done */
	void (*failed)(void *arg, const struct view_command *c, struct pg_fields fields);
	void (*end)(void *arg, const struct view_command *c);
	/* c is NULL when nothing was under way. kind: 'N' notice (fields), 'A' notification, 'S' parameter status */
	void (*notice)(void *arg, const struct view_command *c, struct pg_fields fields,
	               uint64_t now_ns);
	void (*notify)(void *arg, const struct pg_notify *n, uint64_t now_ns);
	void (*status)(void *arg, const struct pg_param *p, uint64_t now_ns);
	void (*startup)(void *arg,
	                const struct pg_param *p); /* each startup parameter of the client */
	void (*oversize)(void *arg, const struct view_command *c, bool from_client, uint8_t type,
	                 uint64_t len);
	/* an ErrorResponse outside any command, e.g. FATAL at login or shutdown */
	void (*error)(void *arg, struct pg_fields fields, uint64_t now_ns);
	void (*broken)(void *arg, bool from_client, uint64_t offset);
	/* ReadyForQuery: 'I' no transaction, 'T' in one, 'E' in a failed one */
	void (*ready)(void *arg, uint8_t state);
};

struct pg_view;
struct pg_view *pg_view_new(const struct view_handler *h, size_t message_max) must_use;
void pg_view_free(struct pg_view **v);

/* Bytes of stream C (from_client) or T at `offset`. is_forwarded: they became part of U (or R). */
struct view_bytes {
	bool from_client;
	bool is_forwarded;
	uint64_t offset;
	struct str bytes;
	uint64_t now_ns;
	uint64_t seq; /* of the event */
};
void pg_view_bytes(struct pg_view *v, const struct view_bytes *in);
/* Bytes of C or T that were passed on and are not kept: messages show a label in their place. */
struct view_hidden {
	bool from_client;
	uint64_t offset, length;
	uint64_t now_ns;
	uint64_t seq;
};
void pg_view_hidden(struct pg_view *v, const struct view_hidden *in);
/* Results of T that were passed on and are not kept, at most one read's worth. */
struct view_kept_out {
	uint64_t offset, length, rows;
	const uint8_t *digest; /* 32 bytes, NULL: none */
	uint64_t now_ns;
	uint64_t seq;
};
void pg_view_kept_out(struct pg_view *v, const struct view_kept_out *in);
/* Bytes of R in answer to a statement that the gateway answered itself: whole messages, of no place in T. */
void pg_view_answered(struct pg_view *v, struct str bytes, uint64_t now_ns, uint64_t seq);
/* A redacted span of C or T, or bytes that are missing from the record. */
void pg_view_hole(struct pg_view *v, bool from_client, uint64_t offset, uint64_t length);
/* n bytes of the gateway's own were added to U. */
void pg_view_injected(struct pg_view *v, uint64_t n);
/* So many bytes of U had been handed to the target at that time. */
void pg_view_forwarded(struct pg_view *v, uint64_t u_offset, uint64_t now_ns);
/* The session ended: what is still open is reported as VIEW_UNANSWERED. */
void pg_view_end(struct pg_view *v);

/* A value as text for people and exports. Text format: as it stands. Binary: as the server would have written it
 * (ISO dates, UTC) for the usual types: bool, ints, floats, numeric, oid, text-like, json, jsonb, xml, bytea, uuid,
 * date, time(tz), timestamp(tz), interval, inet, cidr, macaddr, the built-in ranges and multiranges, and arrays
 * of these; else \x hexadecimal. false when it is not what the type says (then hexadecimal too). */
bool pg_value_text(struct buf *out, uint32_t type_oid, uint16_t format, struct str value);
/* "int4" for 23, "int4[]" for 1007; NULL when it is not one of the usual types. Static text. */
const char *pg_type_name(uint32_t type_oid);

#endif
