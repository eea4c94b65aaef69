/*
 * live.h: the CLI's end of a tap (record/tap.h).
 */
#ifndef MAIN_LIVE_H
#define MAIN_LIVE_H

#include "main/ask.h"
#include "record/tap.h"

struct live {
	const char *store;
	const char *session; /* full id; NULL: all sessions */
	int fd;              /* -1: not attached */
	struct buf in;
	size_t used; /* of in: the item that was returned last */
};

void live_init(struct live *l, const char *store, const char *session);
void live_fini(struct live *l);
/* Asks for a tap, which puts the view on the record. H_ENOTFOUND when no gateway runs. */
int live_attach(struct live *l, struct err *e) must_use;
/* The same again after H_ECLOSED, for half a minute: processes of the gateway come back in that time. */
int live_reattach(struct live *l, struct err *e) must_use;
/* Waits for the next item, borrowed until the next call: 1; 0 after timeout_ms (-1: none); H_ECLOSED:
 * the recorder is gone; H_EFORMAT, H_EIO. */
int live_next(struct live *l, struct tap_item *it, int timeout_ms) must_use;

#endif
