/*
 * clock.c: time as nanoseconds in 64 bits, and the two spellings that people see.
 *
 * Dates are computed here and not by libc: gmtime_r takes the time-zone lock, and a confined
 * process could not open zone files. The algorithm is the civil calendar in eras of 400 years
 * (Hinnant, "chrono-compatible low-level date algorithms"); 64 bits of nanoseconds end in 2554, so
 * the year always has four digits.
 */
#include "base/clock.h"

#include <inttypes.h>
#include <time.h>

#include "base/err.h"

static uint64_t clock_ns(clockid_t id) {
	struct timespec ts;

	if (clock_gettime(id, &ts) != 0)
		abort();
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t mono_ns(void) {
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t wall_ns(void) {
	return clock_ns(CLOCK_REALTIME);
}

struct date {
	unsigned year, month, day;
};

/* days since 1970-01-01 */
static struct date date_of(uint64_t days) {
	uint64_t z = days + 719468; /* since 0000-03-01: the year ends with February */
	uint64_t era = z / 146097, of_era = z % 146097;
	uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	uint64_t month = (5 * of_year + 2) / 153;

	return (struct date){
		.year = (unsigned)(year + era * 400 + (month >= 10 ? 1 : 0)),
		.month = (unsigned)(month < 10 ? month + 3 : month - 9),
		.day = (unsigned)(of_year - (153 * month + 2) / 5 + 1),
	};
}

/* count digits at out, then the byte `end` */
static char *digits(char *out, uint64_t v, unsigned count, char end) {
	for (unsigned i = count; i-- > 0; v /= 10)
		out[i] = (char)('0' + v % 10);
	out[count] = end;
	return out + count + 1;
}

void time_text(char out[TIME_TEXT_SIZE], uint64_t wall) {
	uint64_t s = wall / NS_PER_S;
	struct date d = date_of(s / 86400);

	out = digits(out, d.year, 4, '-');
	out = digits(out, d.month, 2, '-');
	out = digits(out, d.day, 2, 'T');
	out = digits(out, s / 3600 % 24, 2, ':');
	out = digits(out, s / 60 % 60, 2, ':');
	out = digits(out, s % 60, 2, '.');
	out = digits(out, wall % NS_PER_S, 9, 'Z');
	*out = '\0';
}

/* Largest first: the first that divides a duration gives its shortest spelling. */
static const struct unit {
	const char *name;
	uint64_t ns;
} units[] = {
	{ "d", 86400 * NS_PER_S },
	{ "h", 3600 * NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
};

int duration_parse(struct str s, uint64_t *ret_ns) {
	size_t digit_count = 0;
	uint64_t v;

	while (digit_count < s.n && s.p[digit_count] >= '0' && s.p[digit_count] <= '9')
		digit_count++;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (!str_is(str_from(s, digit_count), units[i].name))
			continue;
		if (digit_count == 0)
			return H_EFORMAT;
		if (str_u64(str_head(s, digit_count), UINT64_MAX / units[i].ns, &v) < 0)
			return H_ELIMIT;
		*ret_ns = v * units[i].ns;
		return 0;
	}
	return H_EFORMAT;
}

void duration_text(char *out, size_t cap, uint64_t ns) {
	const struct unit *u = &units[3];

	for (size_t i = 0; ns != 0 && i < ARRAY_LEN(units); i++) {
		if (ns % units[i].ns == 0) {
			u = &units[i];
			break;
		}
	}
	(void)snprintf(out, cap, "%" PRIu64 "%s", ns / u->ns, u->name);
}
