/*
 * export.h: the forms in which `hansard export` writes a session on stdout.
 */
#ifndef MAIN_EXPORT_H
#define MAIN_EXPORT_H

#include "main/find.h"

/* One JSON object per line; with_events also every event with its bytes. */
int export_ndjson(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e)
	must_use;
/* A script for psql that does again what the session did: statements with their parameters in place and COPY data;
 * what failed, was rolled back or cannot be said to psql stands there as comment. */
int export_sql(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e)
	must_use;
/* The session's four streams as packets (pcapng), for Wireshark and the like. */
int export_pcapng(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e)
	must_use;

#endif
