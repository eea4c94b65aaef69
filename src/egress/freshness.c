/*
 * freshness.c: see freshness.h.
 *
 * The keeper caches what issuers publish and asks how long it may; it bounds the answer both ways, so
 * a wrong header costs a fetch more or a key some hours longer, nothing else. Hence strict and short:
 *
 * 1. Doubt shortens. A lifetime that cannot be read, or is said twice, counts as the shorter one or as
 *    none (RFC 9111 §4.2.1 allows to treat such an answer as stale).
 * 2. max-age wins over Expires (§5.3). s-maxage is for shared caches: passed over. Age is taken off.
 * 3. Dates are IMF-fixdate alone (RFC 9110 §5.6.7); the two forms that no server writes since 1999
 *    count as unreadable, and so does "Expires: 0", which means "already stale" anyway.
 */
#include "egress/freshness.h"

#include <time.h>

#define SECONDS_MAX UINT32_MAX

/* Decimal; too large is the largest (§1.2.2). */
static int seconds_parse(struct str s, uint32_t *ret) {
	uint64_t v;

	if (s.n == 0)
		return H_EFORMAT;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return H_EFORMAT;
	}
	if (str_u64(s, SECONDS_MAX, &v) < 0)
		v = SECONDS_MAX;
	*ret = (uint32_t)v;
	return 0;
}

static struct str unquote(struct str s) {
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return str_mem(s.p + 1, s.n - 2);
	return s;
}

static void take_max_age(struct freshness *f, struct str value) {
	uint32_t v;

	if (seconds_parse(unquote(str_trim(value)), &v) < 0) {
		f->must_not_keep = true;
		return;
	}
	f->max_age = f->has_max_age ? MIN(f->max_age, v) : v;
	f->has_max_age = true;
}

/* A quoted string with a comma in it falls apart here: its pieces are unknown directives, or forbid
 * more than was meant. */
static void take_cache_control(struct freshness *f, struct str value) {
	while (value.n != 0) {
		struct str argument = str_trim(str_cut(&value, ','));
		struct str name = str_trim(str_cut(&argument, '='));

		if (str_eq_nocase(name, STR("no-store")) || str_eq_nocase(name, STR("no-cache")))
			f->must_not_keep = true;
		else if (str_eq_nocase(name, STR("max-age")))
			take_max_age(f, argument);
	}
}

static void take_expires(struct freshness *f, struct str value) {
	int64_t t = INT64_MIN;

	if (http_date_parse(value, &t) < 0)
		t = INT64_MIN;
	f->expires = f->has_expires ? MIN(f->expires, t) : t;
	f->has_expires = true;
}

void freshness_line(struct freshness *f, struct str line) {
	size_t colon = str_find(line, ':');
	struct str name = str_head(line, colon), value = str_trim(str_from(line, colon + 1));
	uint32_t age;

	if (colon == line.n)
		return;
	if (str_eq_nocase(name, STR("cache-control")))
		take_cache_control(f, value);
	else if (str_eq_nocase(name, STR("expires")))
		take_expires(f, value);
	else if (str_eq_nocase(name, STR("date")))
		f->has_date = http_date_parse(value, &f->date) == 0;
	else if (str_eq_nocase(name, STR("age")))
		f->age = seconds_parse(value, &age) == 0 ? MAX(f->age, age) : SECONDS_MAX;
}

uint32_t freshness_left(const struct freshness *f, int64_t now) {
	int64_t from = f->has_date ? f->date : now, lifetime;

	if (f->must_not_keep)
		return 0;
	if (f->has_max_age)
		lifetime = f->max_age;
	else if (f->has_expires && f->expires > from)
		lifetime = f->expires - from;
	else
		return 0;
	if (lifetime <= f->age)
		return 0;
	return (uint32_t)MIN(lifetime - f->age, (int64_t)SECONDS_MAX);
}

/* --- dates --- */

/* Two or four digits at `at`; -1 for anything else. */
static int digits(struct str s, size_t at, size_t n) {
	int v = 0;

	for (size_t i = at; i < at + n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = v * 10 + (s.p[i] - '0');
	}
	return v;
}

static int name_index(struct str s, const char *names) {
	for (int i = 0; names[3 * i] != 0; i++) {
		if (memcmp(s.p, names + 3 * (size_t)i, 3) == 0)
			return i;
	}
	return -1;
}

int http_date_parse(struct str s, int64_t *ret) {
	/* Digits and letters are looked at below; what is left must stand exactly so. */
	static const char form[] = "ddd, dd mmm yyyy hh:mm:ss GMT";
	struct tm tm = { 0 };

	if (s.n != sizeof(form) - 1)
		return H_EFORMAT;
	for (size_t i = 0; i < s.n; i++) {
		if (strchr(", :GMT", form[i]) != NULL && s.p[i] != form[i])
			return H_EFORMAT;
	}
	tm.tm_wday = name_index(s, "SunMonTueWedThuFriSat");
	tm.tm_mday = digits(s, 5, 2);
	tm.tm_mon = name_index(str_from(s, 8), "JanFebMarAprMayJunJulAugSepOctNovDec");
	tm.tm_year = digits(s, 12, 4);
	tm.tm_hour = digits(s, 17, 2);
	tm.tm_min = digits(s, 20, 2);
	tm.tm_sec = digits(s, 23, 2);
	if (tm.tm_wday < 0 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_mon < 0 ||
	    tm.tm_year < 1900 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
	    tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return H_EFORMAT;
	tm.tm_year -= 1900;
	*ret = timegm(&tm);
	return 0;
}
