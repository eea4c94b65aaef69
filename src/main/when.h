/*
 * when.h: moments as people write them, in the local time zone. Pure but for the zone.
 *
 *   2h, 90s, 7d                     so long ago
 *   2 hours ago, a minute ago       the same in words: seconds minutes hours days weeks
 *   now, today, yesterday           the last two begin at midnight
 *   today 6am, yesterday 18:00, monday 09:30     the last monday before today
 *   18:00                           today
 *   2026-11-21, 2026-11-21 06:00, 2026-11-21T06:00:00   local time
 *   2026-11-21T06:00:00Z, …+02:00   with its zone
 */
#ifndef MAIN_WHEN_H
#define MAIN_WHEN_H

#include "base/str.h"

/* What argp_error() says when when_parse() refuses. */
#define WHEN_FORMS \
	"a time is written as 2h (ago), \"2 hours ago\", today, \"yesterday 18:00\", 18:00, " \
	"2026-11-21, \"2026-11-21 06:00\" or 2026-11-21T06:00:00Z"

/* 0 and ns since 1970 (never after year 2262), or H_EFORMAT. */
int when_parse(struct str text, uint64_t now_wall_ns, uint64_t *ret) must_use;

#endif
