/*
 * pg_depth.c: how much of results the record keeps (`record.results` of a connection).
 *
 * Results are the rows (DataRow), what COPY hands out (CopyData) and the value of a FunctionCall.
 * All pass to the client; what the record keeps of a run of them is said with its RELAY: the bytes,
 * or place, length, rows and a keyed hash, or those without the hash. Everything else that the
 * target says (descriptions, tags, errors, notices, notifications, states) is kept in full at any depth,
 * so a command's counts stay right.
 *
 * A run of rows of one kind is one order and one event per read, never one per row.
 *
 * `head: N` counts per result: per statement of a Query, per COPY, and over all Executes of one
 * portal. The last needs a count that lives as long as the portal: an Execute with a row limit gives
 * its portal a text of its own (pg_text_portal), in which the count stands. Where there is no room for
 * one, each Execute counts for itself, which keeps more and never less.
 */
#include "proto/postgres/pg_priv.h"

static bool is_kept_by_head(struct pg_core *c) {
	const struct pg_expect *e = pg_expect_at(&c->track, 0);
	uint32_t *of_portal = e != NULL && e->kind == 'E' ? pg_text_rows(&c->track, e->text) : NULL;
	uint32_t *rows = of_portal != NULL ? of_portal : &c->answer.rows_head;

	if (*rows >= c->results.rows)
		return false;
	(*rows)++;
	return true;
}

void pg_depth_switch(struct pg_core *c, enum order_depth depth) {
	if (c->run.depth == depth)
		return;
	pg_run_flush(c);
	c->run.depth = depth;
}

void pg_depth_row(struct pg_core *c) {
	enum order_depth depth = RECORD_FULL;

	switch (c->results.kind) {
	case DEPTH_FULL:
		return;
	case DEPTH_HEAD:
		depth = is_kept_by_head(c) ? RECORD_FULL : RECORD_DIGEST;
		break;
	case DEPTH_DIGEST:
		depth = RECORD_DIGEST;
		break;
	case DEPTH_NONE:
		depth = RECORD_NONE;
		break;
	}
	pg_depth_switch(c, depth);
	c->run.rows += depth != RECORD_FULL;
}
