/*
 * pg_script.h: transcripts (tests/scripts/postgres, .t files) played against the core.
 *
 * One step per line; "#" begins a comment.
 *   open [notls]                      a new connection (first line)
 *   ready pinned|open [head:N|digest|none|names]   or: one that is logged in
 *   > MSG | MSG …    < MSG …    a MSG…  the client, the target, the aux side says
 *   ! EVENT …                          tls SIDE; granted pinned|open [disable|require|full] [unix];
 *                                      refused CODE text; login [done|fail] [x:hex]; dialed;
 *                                      closed SIDE [CODE]; cancel; timer; kill CODE; drain; expiring; receipt [TEXT]
 *   U MSG …   R MSG …   A MSG …        what target, client, aux must have received since
 *   cmd …  fact …  admit …  dial …     the next line of the shell's log must be this one
 *   idle yes|no     phase NAME         the core's state
 * MSG: ssl; gss; cancel PID HEX; start VERSION k v …; desc name…; row value…; error SEV CODE text;
 * startup k v … (a StartupMessage received); raw ITEM…; or TYPE ITEM… with items 'string' (with NUL),
 * "bytes", i8: i16: i32:, x:hex, big:COUNT.
 * In R, "error SEV CODE" matches an ErrorResponse by these two and, if given, the start of its text.
 * At the end nothing may be left unread: no byte, no log line.
 */
#ifndef PROTO_POSTGRES_PG_SCRIPT_H
#define PROTO_POSTGRES_PG_SCRIPT_H

#include "base/str.h"

/* How what is said is cut into reads: all at once, one cut, or byte by byte. */
enum { SCRIPT_WHOLE = -1, SCRIPT_BYTES = -2 };

/* Plays the text; 0, or -1 with the place and reason in `why`. *ret_longest: the longest say. */
int script_play(struct str text, int cut, size_t *ret_longest, char *why, size_t why_size);

#endif
