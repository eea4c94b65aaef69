/*
 * pg_view_priv.h: what the files of the view share.
 *
 *   pg_view.c         streams to messages, what the client said
 *   pg_view_target.c  what the target answered
 *   pg_view_hidden.c  what the record left out of a message
 *   pg_value.c        one value as text
 *
 * Names. What stands behind a name is known twice: as the client said it last (said), and as the target
 * confirmed it (live: ParseComplete, BindComplete, CloseComplete). An Execute that the target answered shows
 * the live text: a Parse that failed or was skipped changed nothing at the target, and must not make the
 * record show another statement than the one that ran. Only what was skipped shows what was said. After
 * DEALLOCATE, DISCARD ALL or an SQL-level PREPARE no name of a statement is known any more.
 *
 * The queue holds one entry per client message that will be answered (P B D C E Q F S), in the order said,
 * and markers: 'c' for CopyDone and CopyFail, 'd' for CopyData that came early. A command is owned by its
 * entry. Statements and portals are counted references: a re-Parse of "" must not change what an Execute
 * before it ran.
 */
#ifndef PROTO_POSTGRES_PG_VIEW_PRIV_H
#define PROTO_POSTGRES_PG_VIEW_PRIV_H

#include "base/mem.h"
#include "proto/postgres/pg_view.h"

/* Owned bytes. */
struct blob {
	char *p;
	size_t n;
};

struct statement {
	unsigned refs;
	bool has_text;
	struct blob text;
	struct blob types;   /* Int32 each, of Parse */
	struct blob actual;  /* Int32 each, of ParameterDescription */
	struct blob columns; /* body of a RowDescription */
	bool has_columns;
};

struct portal {
	unsigned refs;
	struct statement *statement; /* NULL: not known */
	struct blob name, statement_name;
	struct blob bind; /* body of the Bind */
	struct blob columns;
	bool has_columns;
	bool was_run;
};

struct command_view {
	struct view_command c;
	struct portal *portal;
	struct blob text;
	struct blob columns; /* of the result that is coming in */
	bool has_columns;
	bool has_begun, has_failed;
	bool is_not_run; /* an earlier failure skipped it, or no answer came */
	uint64_t u_end;
};

struct ask {
	struct list link;
	uint8_t type;
	uint8_t kind; /* of Describe and Close: 'S' or 'P'; 0: not known */
	/* That it sets or asks about; p NULL: not known; of early CopyData: the data. */
	struct blob name;
	struct statement *statement;
	struct portal *portal;
	struct command_view *command;
};

struct side_view {
	struct buf partial;
	uint64_t next;       /* offset of the next byte */
	uint64_t begin;      /* offset of the message under way */
	uint64_t skip_left;  /* of a message that is not assembled */
	uint64_t hidden_end; /* of the last hidden span */
	bool is_broken;
};

struct pg_view {
	struct view_handler h;
	size_t message_max;
	struct side_view client, target;
	bool has_started; /* the StartupMessage was seen */
	uint64_t u_len, u_base, u_base_off;
	struct map *said_statements, *said_portals;
	struct map *statements, *portals; /* live */
	bool is_logged_in; /* the first ReadyForQuery answers the login, not a command */
	struct list asks;
	uint64_t commands;
	uint64_t early;   /* memory of CopyData that waits for its command */
	bool is_copy_in;  /* the target reads CopyData: Sync is swallowed */
	bool is_skipping; /* after an error: the target reads nothing up to the next Sync */
	uint64_t now_ns, now_seq;
};

struct blob blob_of(struct str s);
void blob_free(struct blob *b);
static inline struct str blob_str(const struct blob *b) {
	return str_mem(b->p, b->n);
}

struct statement *statement_ref(struct statement *s);
void statement_unref(struct statement **s);
struct portal *portal_ref(struct portal *p);
void portal_unref(struct portal **p);

void set_statement(struct map *m, struct str name, struct statement *s); /* NULL: forgets it */
void set_portal(struct map *m, struct str name, struct portal *p);
void forget_all(struct pg_view *v, bool statements, bool portals); /* live names */

void ask_free(struct ask *a);
struct ask *ask_head(struct pg_view *v); /* NULL when nothing is owed; drops markers on the way */
void command_begin(struct pg_view *v, struct command_view *c);
void command_copied(struct pg_view *v, struct command_view *c,
                    struct str data); /* CopyData of the client */
void command_end(struct pg_view *v, struct ask *a, enum view_status status); /* frees the entry */
/* Rows that the record leaves out, of the command under way. */
void pg_view_answer_out(struct pg_view *v, const struct view_kept_out *in);
/* One message of the target; body may be missing (oversize): then len says how long it was. */
void pg_view_answer(struct pg_view *v, uint8_t type, struct str body, bool is_whole);

/* The body with labels for what is hidden in the message at s->begin: true, and *out (for buf_fini) holds
 * it; false when nothing is. */
bool view_reveal(const struct side_view *s, bool from_client, uint8_t type, struct str body,
                 struct buf *out);

#endif
