/*
 * when.c: see when.h. Words are cut first; each form is tried on all of them, so nothing is left over
 * unread. Days are counted by mktime() on the calendar, not by 24 hours, so that "yesterday 18:00" is
 * that on days of 23 and 25 hours too.
 */
#include "main/when.h"

#include <time.h>

#include "base/clock.h"
#include "base/err.h"

enum { WORDS_MAX = 3, AGO_MAX = 1000000 };
#define WALL_MAX ((uint64_t)9000000000ULL * NS_PER_S) /* year 2255 */

struct words {
	struct str w[WORDS_MAX];
	size_t n;
};

/* At spaces, and at the T between date and time. */
static bool cut(struct str text, struct words *out) {
	out->n = 0;
	while ((text = str_trim(text)).n > 0) {
		if (out->n == WORDS_MAX)
			return false;
		struct str rest = text;
		struct str w = str_cut(&rest, ' ');

		if (w.n > 11 && (w.p[10] == 'T' || w.p[10] == 't') && out->n + 1 < WORDS_MAX) {
			out->w[out->n++] = str_head(w, 10);
			w = str_from(w, 11);
		}
		out->w[out->n++] = w;
		text = rest;
	}
	return out->n > 0;
}

static bool is(struct str a, const char *z) {
	return str_eq_nocase(a, str_of(z));
}

/* ---- ago ---- */

static uint64_t unit_ns(struct str w) {
	static const struct {
		const char *name;
		uint64_t s;
	} units[] = { { "second", 1 },  { "sec", 1 },     { "minute", 60 },  { "min", 60 },
		      { "hour", 3600 }, { "day", 86400 }, { "week", 604800 } };

	if (w.n > 1 && (w.p[w.n - 1] == 's' || w.p[w.n - 1] == 'S'))
		w = str_head(w, w.n - 1);
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (is(w, units[i].name))
			return units[i].s * NS_PER_S;
	}
	return 0;
}

static bool ago(const struct words *w, uint64_t now, uint64_t *ret) {
	uint64_t count = 1;
	uint64_t unit = w->n == 3 ? unit_ns(w->w[1]) : 0;

	if (unit == 0 || !is(w->w[2], "ago"))
		return false;
	if (!is(w->w[0], "a") && !is(w->w[0], "an") && str_u64(w->w[0], AGO_MAX, &count) != 0)
		return false;
	*ret = now - MIN(now, count * unit);
	return true;
}

/* ---- calendar ---- */

static bool digits(struct str *s, size_t min, size_t max, uint64_t top, int *ret) {
	uint64_t v;
	size_t n = 0;

	while (n < s->n && n < max && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	if (n < min || str_u64(str_head(*s, n), top, &v) != 0)
		return false;
	*ret = (int)v;
	*s = str_from(*s, n);
	return true;
}

static bool skip(struct str *s, char c) {
	bool has = s->n > 0 && s->p[0] == c;

	if (has)
		*s = str_from(*s, 1);
	return has;
}

struct zone {
	bool is_given;
	int offset_s; /* east of Greenwich */
};

/* Z, +02:00, -0130 or nothing. */
static bool zone_of(struct str s, struct zone *z) {
	int h = 0, m = 0;
	bool is_west = s.n > 0 && s.p[0] == '-';

	z->is_given = s.n > 0;
	z->offset_s = 0;
	if (s.n == 0 || is(s, "Z") || is(s, "UTC"))
		return true;
	if (!skip(&s, '+') && !skip(&s, '-'))
		return false;
	if (!digits(&s, 2, 2, 23, &h) || (skip(&s, ':') && s.n == 0) ||
	    (s.n > 0 && !digits(&s, 2, 2, 59, &m)) || s.n != 0)
		return false;
	z->offset_s = (h * 3600 + m * 60) * (is_west ? -1 : 1);
	return true;
}

/* "6am", "12:30pm" → hours of the day. */
static bool half_day(struct str *s, struct tm *tm) {
	bool is_pm = is(*s, "pm");

	if (!is_pm && !is(*s, "am"))
		return true;
	if (tm->tm_hour < 1 || tm->tm_hour > 12)
		return false;
	tm->tm_hour = tm->tm_hour % 12 + (is_pm ? 12 : 0);
	*s = STR_NONE;
	return true;
}

/* "06:00", "06:00:05.5Z", "6am" */
static bool clock_of(struct str s, struct tm *tm, struct zone *z) {
	int fraction;
	bool has_minutes = false;

	if (!digits(&s, 1, 2, 23, &tm->tm_hour))
		return false;
	tm->tm_min = tm->tm_sec = 0;
	if (skip(&s, ':')) {
		has_minutes = true;
		if (!digits(&s, 2, 2, 59, &tm->tm_min))
			return false;
		if (skip(&s, ':') && !digits(&s, 2, 2, 60, &tm->tm_sec))
			return false;
		if (skip(&s, '.') && !digits(&s, 1, 9, 999999999, &fraction))
			return false;
	}
	size_t before = s.n;

	if (!half_day(&s, tm))
		return false;
	return (has_minutes || s.n != before) && zone_of(s, z);
}

static bool date_of(struct str s, struct tm *tm) {
	if (!digits(&s, 4, 4, 2255, &tm->tm_year) || !skip(&s, '-') ||
	    !digits(&s, 2, 2, 12, &tm->tm_mon) || !skip(&s, '-') ||
	    !digits(&s, 2, 2, 31, &tm->tm_mday) || s.n != 0)
		return false;
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return tm->tm_year >= 70 && tm->tm_mon >= 0 && tm->tm_mday >= 1;
}

/* tm holds today. */
static bool day_of(struct str s, struct tm *tm) {
	static const char *const days[] = { "sunday",   "monday", "tuesday", "wednesday",
		                            "thursday", "friday", "saturday" };

	if (is(s, "today"))
		return true;
	if (is(s, "yesterday")) {
		tm->tm_mday -= 1;
		return true;
	}
	for (int i = 0; i < 7; i++) {
		int back = (tm->tm_wday - i + 7) % 7;

		if (!is(s, days[i]) &&
		    !(s.n == 3 && is(s, (char[]){ days[i][0], days[i][1], days[i][2], '\0' })))
			continue;
		tm->tm_mday -= back == 0 ? 7 : back;
		return true;
	}
	return date_of(s, tm);
}

static bool make(struct tm *tm, const struct zone *z, uint64_t *ret) {
	int day = tm->tm_mday;

	tm->tm_isdst = -1;
	time_t t = z->is_given ? timegm(tm) - z->offset_s : mktime(tm);

	/* 31 February is no day; "yesterday" on the first of a month is one. */
	if (day > 28 && tm->tm_mday != day)
		return false;
	if (t < 0 || (uint64_t)t > WALL_MAX / NS_PER_S)
		return false;
	*ret = (uint64_t)t * NS_PER_S;
	return true;
}

static bool calendar(const struct words *w, uint64_t now, uint64_t *ret) {
	time_t t = (time_t)(now / NS_PER_S);
	struct zone z = { .is_given = false };
	struct tm tm;
	struct str clock = w->w[w->n - 1];
	bool has_day;

	if (w->n > 2 || localtime_r(&t, &tm) == NULL)
		return false;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	has_day = day_of(w->w[0], &tm);
	if (w->n == 1 && has_day)
		return make(&tm, &z, ret);
	if ((w->n == 2 && !has_day) || !clock_of(clock, &tm, &z))
		return false;
	return make(&tm, &z, ret);
}

int when_parse(struct str text, uint64_t now, uint64_t *ret) {
	struct words w;
	uint64_t back;

	now = MIN(now, WALL_MAX);
	if (duration_parse(str_trim(text), &back) == 0) {
		*ret = now - MIN(now, back);
		return 0;
	}
	if (!cut(text, &w))
		return H_EFORMAT;
	if (w.n == 1 && is(w.w[0], "now")) {
		*ret = now;
		return 0;
	}
	return ago(&w, now, ret) || calendar(&w, now, ret) ? 0 : H_EFORMAT;
}
