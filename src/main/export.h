/*
 * export.h: the forms in which `hansard export` writes a session on stdout.
 */
#ifndef MAIN_EXPORT_H
#define MAIN_EXPORT_H

#include "main/find.h"

/* One JSON object per line; with_events also every event with its bytes. */
int export_ndjson(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e)
	must_use;

#endif
