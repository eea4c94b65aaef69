/*
 * feed.h: from a session's record to what it meant.
 */
#ifndef MAIN_FEED_H
#define MAIN_FEED_H

#include "proto/postgres/pg_view.h"
#include "record/reader.h"

/* A walk over one session. item sees every step before the view does, and may be NULL. */
struct feed {
	struct pg_view *view; /* NULL: only items */
	void (*item)(void *arg, const struct reader_item *it);
	void *arg;
	uint64_t wall_minus_mono; /* of the last event: adds up to wall time, modulo 2^64 */
	bool stop; /* set by a callback: the walk ends there, with 0, and the view is told no end */
};

/* Reads from the first frame to the last and ends the view. H_ETAMPERED, H_EIO… as reader_session_item(). */
int feed_session(struct feed *f, struct reader *r, const uint8_t sid[SID_SIZE], struct err *e)
	must_use;

/* One more frame of a session that goes on: the view goes on where it was. */
int feed_frame(struct feed *f, struct frame_codec *codec, const struct frame *frame, struct err *e)
	must_use;

#endif
