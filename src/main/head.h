/*
 * head.h: what stands above a session that is shown, and pieces that show, play and export share.
 */
#ifndef MAIN_HEAD_H
#define MAIN_HEAD_H

#include "main/find.h"
#include "proto/postgres/pg_view.h"

/* Arguments of a command that takes one session. */
struct one_args {
	struct common common;
	const char *id;
	uint64_t rows; /* --rows, where the command has it */
};
/* argp parser for struct one_args: ID, --rows. */
error_t one_parse(int key, char *arg, struct argp_state *state);
enum { KEY_ROWS = 0x700 };

/* "2026-11-21 06:00:00  agent local:ci on behalf of mara (verified) as default on shop": two lines or so. */
void head_brief(struct buf *b, const json_t *about);
/* Every fact of the open and close frames, a line each; learnt: what the session found out by itself (facts among
 * its events: TLS, backend, version), or NULL. */
void head_facts(struct buf *b, const json_t *about, const json_t *learnt);
/* Appends recorded text with every line behind a margin, so that it cannot pass for a line of ours. */
void put_block(struct buf *b, struct str s, const char *margin);
/* "1.234 ms" */
void put_ms(struct buf *b, uint64_t ns);

/* Times of a command: 0 where the record does not tell. */
struct spent {
	bool has_held, has_total;
	uint64_t held_ns, target_ns, total_ns;
};
struct spent spent_of(const struct view_command *c);
const char *view_kind_name(enum view_kind kind);
const char *view_status_name(enum view_status status);

#endif
