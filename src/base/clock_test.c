/* clock_test.c: spellings of time against libc, and durations. */
#include "base/clock.h"

#include <time.h>

#include "base/err.h"
#include "base/test.h"

static void check_time(uint64_t wall) {
	char ours[TIME_TEXT_SIZE], libc[TIME_TEXT_SIZE], full[64];
	time_t s = (time_t)(wall / NS_PER_S);
	struct tm tm;

	time_text(ours, wall);
	(void)gmtime_r(&s, &tm);
	(void)strftime(libc, sizeof(libc), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(full, sizeof(full), "%s.%09uZ", libc, (unsigned)(wall % NS_PER_S));
	CHECK_EQ_STR(str_of(ours), str_of(full));
}

TEST(time_text_as_libc_says) {
	/* Each day of four centuries and a bit, at changing times of the day. */
	for (uint64_t day = 0; day < 213500; day += 1)
		check_time(day * 86400 * NS_PER_S + day * 397 % 86400 * NS_PER_S + day % NS_PER_S);
	check_time(0);
	check_time(UINT64_MAX);
	check_time(951782400 * NS_PER_S - 1); /* before 2000-02-29 */
	check_time(wall_ns());
}

TEST(clocks_run) {
	uint64_t a = mono_ns(), w = wall_ns();

	CHECK(mono_ns() >= a);
	CHECK(w > 1700000000 * NS_PER_S);
}

TEST(durations) {
	static const struct {
		const char *text;
		uint64_t ns;
		const char *shortest;
	} good[] = {
		{ "90s", 90 * NS_PER_S, "90s" },
		{ "60s", 60 * NS_PER_S, "1m" },
		{ "15m", 900 * NS_PER_S, "15m" },
		{ "8h", 28800 * NS_PER_S, "8h" },
		{ "7d", 604800 * NS_PER_S, "7d" },
		{ "250ms", 250 * NS_PER_MS, "250ms" },
		{ "1500ms", 1500 * NS_PER_MS, "1500ms" },
		{ "0h", 0, "0s" },
		{ "5us", 5000, "5us" },
		{ "18446744073709551615ns", UINT64_MAX, "18446744073709551615ns" },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t ns = 1;
		char text[32];

		CHECK_EQ_I(duration_parse(str_of(good[i].text), &ns), 0);
		CHECK_EQ_U(ns, good[i].ns);
		duration_text(text, sizeof(text), ns);
		CHECK_EQ_STR(str_of(text), str_of(good[i].shortest));
	}
}

TEST(durations_refused) {
	static const char *const bad[] = { "",   "s",    "10",    "-1s", "1 s",  "1S",
		                           "1w", "1.5h", "1h30m", " 1s", "1s\n", "ms" };
	uint64_t ns = 77;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_EQ_I(duration_parse(str_of(bad[i]), &ns), H_EFORMAT);
	CHECK_EQ_I(duration_parse(STR("213504d"), &ns), H_ELIMIT);
	CHECK_EQ_I(duration_parse(STR("99999999999999999999ns"), &ns), H_ELIMIT);
	CHECK_EQ_U(ns, 77);
	CHECK_EQ_I(duration_parse(STR("213503d"), &ns), 0);
}

TEST_MAIN
