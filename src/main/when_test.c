/* when_test.c: moments as people write them. */
#include "main/when.h"

#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/test.h"

/* Saturday 2026-11-21 09:30:00 UTC */
#define NOW ((uint64_t)1795253400 * NS_PER_S)

static int64_t at(const char *text) {
	uint64_t v = 0;

	return when_parse(str_of(text), NOW, &v) == 0 ? (int64_t)(v / NS_PER_S) : -1;
}

static int64_t utc(int y, int mo, int d, int h, int mi, int s) {
	struct tm tm = { .tm_year = y - 1900,
		         .tm_mon = mo - 1,
		         .tm_mday = d,
		         .tm_hour = h,
		         .tm_min = mi,
		         .tm_sec = s };

	return timegm(&tm);
}

static void zone(const char *name) {
	(void)setenv("TZ", name, 1);
	tzset();
}

TEST(when_ago) {
	zone("UTC");
	CHECK_EQ_I(at("now"), (int64_t)(NOW / NS_PER_S));
	CHECK_EQ_I(at("2h"), (int64_t)(NOW / NS_PER_S) - 7200);
	CHECK_EQ_I(at(" 2 hours ago "), (int64_t)(NOW / NS_PER_S) - 7200);
	CHECK_EQ_I(at("a minute ago"), (int64_t)(NOW / NS_PER_S) - 60);
	CHECK_EQ_I(at("3 Weeks Ago"), (int64_t)(NOW / NS_PER_S) - 3 * 604800);
	CHECK_EQ_I(at("1000000 weeks ago"), 0);
	CHECK_EQ_I(at("2 fortnights ago"), -1);
	CHECK_EQ_I(at("-2 hours ago"), -1);
	CHECK_EQ_I(at("99999999999999999999 days ago"), -1);
}

TEST(when_days) {
	zone("UTC");
	CHECK_EQ_I(at("today"), utc(2026, 11, 21, 0, 0, 0));
	CHECK_EQ_I(at("yesterday"), utc(2026, 11, 20, 0, 0, 0));
	CHECK_EQ_I(at("yesterday 18:00"), utc(2026, 11, 20, 18, 0, 0));
	CHECK_EQ_I(at("Yesterday 6pm"), utc(2026, 11, 20, 18, 0, 0));
	CHECK_EQ_I(at("today 12am"), utc(2026, 11, 21, 0, 0, 0));
	CHECK_EQ_I(at("18:00"), utc(2026, 11, 21, 18, 0, 0));
	CHECK_EQ_I(at("monday"), utc(2026, 11, 16, 0, 0, 0));
	CHECK_EQ_I(at("sat 09:30"), utc(2026, 11, 14, 9, 30, 0));
	CHECK_EQ_I(at("2026-11-01"), utc(2026, 11, 1, 0, 0, 0));
	CHECK_EQ_I(at("2026-11-01 06:00"), utc(2026, 11, 1, 6, 0, 0));
	CHECK_EQ_I(at("2024-02-29"), utc(2024, 2, 29, 0, 0, 0));
	static const char *const wrong[] = { "",
		                             "18",
		                             "tomorrow",
		                             "2026-02-31",
		                             "2026-13-01",
		                             "25:00",
		                             "18:60",
		                             "13pm",
		                             "today today",
		                             "yesterday x",
		                             "2026-11-21T",
		                             "2026-11-21 06:00 07:00",
		                             "1969-01-01",
		                             "9999-01-01",
		                             "2026-11-21x",
		                             "0am",
		                             "06:00+",
		                             "06:00+2",
		                             "06:00+02:" };

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (!CHECK_EQ_I(at(wrong[i]), -1))
			test_note("\"%s\"", wrong[i]);
	}
}

TEST(when_zones) {
	zone("Europe/Berlin");
	CHECK_EQ_I(at("2026-11-21T06:00:00Z"), utc(2026, 11, 21, 6, 0, 0));
	CHECK_EQ_I(at("2026-11-21T06:00:00.123456789Z"), utc(2026, 11, 21, 6, 0, 0));
	CHECK_EQ_I(at("2026-11-21T06:00:00+02:00"), utc(2026, 11, 21, 4, 0, 0));
	CHECK_EQ_I(at("2026-11-21 06:00-0130"), utc(2026, 11, 21, 7, 30, 0));
	CHECK_EQ_I(at("2026-02-31T06:00:00Z"), -1);
	if (utc(2026, 11, 21, 6, 0, 0) - at("2026-11-21 06:00") != 3600)
		TEST_SKIP("there are no time zones here");
	CHECK_EQ_I(at("yesterday 18:00"), utc(2026, 11, 20, 17, 0, 0));
	CHECK_EQ_I(at("2026-07-01"), utc(2026, 6, 30, 22, 0, 0));
	/* A day of 25 hours: yesterday is on the calendar. */
	uint64_t v = 0;
	uint64_t monday = (uint64_t)utc(2026, 10, 26, 1, 0, 0) * NS_PER_S;

	CHECK(when_parse(STR("yesterday 00:00"), monday, &v) == 0);
	CHECK_EQ_I((int64_t)(v / NS_PER_S), utc(2026, 10, 24, 22, 0, 0));
}

TEST_MAIN
