/* freshness_test.c: headers to seconds. */
#include "egress/freshness.h"

#include "base/test.h"

#define NOW 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

static uint32_t left(const char *lines) {
	struct freshness f = { 0 };
	struct str rest = str_of(lines);

	while (rest.n != 0)
		freshness_line(&f, str_cut(&rest, '\n'));
	return freshness_left(&f, NOW);
}

TEST(max_age) {
	CHECK_EQ_U(left("Cache-Control: max-age=300"), 300);
	CHECK_EQ_U(left("cache-control:public,  MAX-AGE = \"60\" , must-revalidate"), 60);
	CHECK_EQ_U(left("Cache-Control: public\nCache-Control: max-age=21600"), 21600);
	CHECK_EQ_U(left("Cache-Control: max-age=300\nAge: 100"), 200);
	CHECK_EQ_U(left("Cache-Control: max-age=300\nAge: 300"), 0);
	CHECK_EQ_U(left("Cache-Control: s-maxage=300"), 0);
	CHECK_EQ_U(left("Cache-Control: max-age=99999999999999999999999"), UINT32_MAX);
	CHECK_EQ_U(left("Cache-Control: max-age=0"), 0);
}

TEST(nothing_said) {
	CHECK_EQ_U(left(""), 0);
	CHECK_EQ_U(left("Content-Type: application/json\nETag: \"max-age=3\""), 0);
	CHECK_EQ_U(left("Cache-Control: public"), 0);
	CHECK_EQ_U(left("Cache-Control"), 0);
	CHECK_EQ_U(left("X-Cache-Control: max-age=5"), 0);
}

TEST(doubt_shortens) {
	CHECK_EQ_U(left("Cache-Control: max-age=300, no-store"), 0);
	CHECK_EQ_U(left("Cache-Control: no-cache=\"set-cookie\", max-age=300"), 0);
	CHECK_EQ_U(left("Cache-Control: max-age=300, max-age=20"), 20);
	CHECK_EQ_U(left("Cache-Control: max-age=20\nCache-Control: max-age=300"), 20);
	CHECK_EQ_U(left("Cache-Control: max-age=300, max-age=x"), 0);
	CHECK_EQ_U(left("Cache-Control: max-age=-1"), 0);
	CHECK_EQ_U(left("Cache-Control: max-age"), 0);
	CHECK_EQ_U(left("Cache-Control: max-age=300\nAge: soon"), 0);
}

TEST(expires) {
	CHECK_EQ_U(left("Expires: Sun, 06 Nov 1994 08:50:37 GMT"), 60);
	CHECK_EQ_U(left("Date: Sun, 06 Nov 1994 08:50:07 GMT\n"
	                "Expires: Sun, 06 Nov 1994 08:50:37 GMT"),
	           30);
	CHECK_EQ_U(left("Expires: Sun, 06 Nov 1994 08:50:37 GMT\nAge: 10"), 50);
	CHECK_EQ_U(left("Expires: Sun, 06 Nov 1994 08:50:37 GMT\nCache-Control: max-age=5"), 5);
	CHECK_EQ_U(left("Expires: Sun, 06 Nov 1994 08:50:37 GMT\nExpires: 0"), 0);
	CHECK_EQ_U(left("Expires: 0"), 0);
	CHECK_EQ_U(left("Expires: Sun, 06 Nov 1994 08:49:37 GMT"), 0);
	CHECK_EQ_U(left("Expires: Fri, 31 Dec 9999 23:59:59 GMT"), UINT32_MAX);
}

TEST(dates) {
	static const char *const wrong[] = {
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Sun, 06 Nov 1994 08:49:37 UTC",  "Sun, 06 Nov 1994 08:49:37 gmt",
		"Sun, 00 Nov 1994 08:49:37 GMT",  "Sun, 32 Nov 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT",  "xun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT",  "Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT",  "Sun, 06 Nov 1899 08:49:37 GMT",
		"Sun, 6 Nov 1994 08:49:37 GMT",   "Sun; 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:-7 GMT",  "",
	};
	int64_t t = 0;

	CHECK_EQ_I(http_date_parse(STR("Sun, 06 Nov 1994 08:49:37 GMT"), &t), 0);
	CHECK_EQ_I(t, NOW);
	CHECK_EQ_I(http_date_parse(STR("Thu, 29 Feb 2024 23:59:60 GMT"), &t), 0);
	CHECK_EQ_I(t, 1709251200);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		CHECK_EQ_I(http_date_parse(str_of(wrong[i]), &t), H_EFORMAT);
}

TEST_MAIN
