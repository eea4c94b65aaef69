/* clock.h: time. Order comes from CLOCK_MONOTONIC, meaning from CLOCK_REALTIME; both in ns. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

uint64_t mono_ns(void);
uint64_t wall_ns(void);
/* RFC 3339 in UTC with nanoseconds, "2026-11-21T06:00:00.123456789Z": 31 bytes with NUL. */
#define TIME_TEXT_SIZE 31
void time_text(char out[TIME_TEXT_SIZE], uint64_t wall);
/* "90s", "15m", "8h", "7d", "250ms" to ns; H_EFORMAT / H_ELIMIT else. */
int duration_parse(struct str s, uint64_t *ret_ns);
/* The shortest exact spelling of the same. */
void duration_text(char *out, size_t cap, uint64_t ns);

#endif
