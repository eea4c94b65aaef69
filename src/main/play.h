/*
 * play.h: the view of a session that `show`, `play` and `tail` print.
 */
#ifndef MAIN_PLAY_H
#define MAIN_PLAY_H

#include "main/feed.h"
#include "main/head.h"
#include "main/text.h"

enum { PLAY_ROWS_DEFAULT = 1000, PLAY_DIGEST_SHOWN = 4 };

struct play {
	/* set by the caller */
	bool is_wide;
	uint64_t rows_max; /* of a result; 0: all */
	uint64_t skip;     /* commands at the beginning that are not shown */
	uint64_t only;     /* the one command that is shown, with all that is known of it; 0: all */
	bool is_brief; /* counts stand for rows and COPY data; long texts are cut unless is_wide */
	uint64_t speed_milli;  /* thousandths of real time; 0: at once */
	uint64_t max_pause_ns; /* the longest wait; 0: no bound */
	/* play.c's */
	bool was_found; /* `only` */
	bool has_begun; /* a command */
	uint64_t last_mono;
	uint64_t copy_bytes; /* of this command */
	bool is_copy_in;
	struct feed feed;
	struct buf out, value;
	bool is_muted;
	struct table *table;
	size_t columns;
	uint64_t rows;              /* of this result */
	uint64_t rows_out, digests; /* of it, not recorded; the first digest */
	char digest[2 * PLAY_DIGEST_SHOWN + 1];
	uint64_t copies; /* COPY messages of this command */
};

/* Prints who and where (find_describe() with `whole`), and makes p->feed ready for feed_session() or feed_frame(). */
void play_begin(struct play *p, const json_t *about);
/* Prints what is held back, so that somebody who watches sees it. */
void play_flush(struct play *p);
/* Prints how it ended. */
void play_end(struct play *p, const json_t *about);
void play_fini(struct play *p);

#endif
