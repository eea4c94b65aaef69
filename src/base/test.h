/*
 * test.h: unit tests that print TAP (testanything.org 13). One program per folder or file.
 *
 *   TEST(buf_grows) { CHECK(buf_append(&b, STR("x")) == 0); CHECK_EQ_U(b.len, 1); }
 *   TEST_MAIN
 *
 * TEST registers itself; a failed CHECK prints file, line and expression and the test goes on;
 * REQUIRE leaves the test. TEST_SKIP("reason") is printed and counted. A program with no test, or
 * with a test in which no CHECK ran and none was skipped, fails. Arguments select tests by prefix.
 */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include "base/str.h"

typedef void test_fn(void);
void test_register(const char *name, test_fn *fn);
bool test_check(bool ok, const char *file, int line, const char *expr);
bool test_eq_u(uint64_t a, uint64_t b, const char *file, int line, const char *expr);
bool test_eq_i(int64_t a, int64_t b, const char *file, int line, const char *expr);
bool test_eq_str(struct str a, struct str b, const char *file, int line, const char *expr);
void test_skip(const char *reason);
void test_note(const char *fmt, ...) printf_like(1, 2);
int test_main(int argc, char **argv);

#define TEST(name) \
	static void test_##name(void); \
	__attribute__((constructor)) static void test_reg_##name(void) { \
		test_register(#name, test_##name); \
	} \
	static void test_##name(void)
#define CHECK(e) test_check((e), __FILE__, __LINE__, #e)
#define CHECK_EQ_U(a, b) test_eq_u((a), (b), __FILE__, __LINE__, #a " == " #b)
#define CHECK_EQ_I(a, b) test_eq_i((a), (b), __FILE__, __LINE__, #a " == " #b)
#define CHECK_EQ_STR(a, b) test_eq_str((a), (b), __FILE__, __LINE__, #a " == " #b)
#define REQUIRE(e) \
	do { \
		if (!test_check((e), __FILE__, __LINE__, #e)) \
			return; \
	} while (0)
#define TEST_SKIP(reason) \
	do { \
		test_skip(reason); \
		return; \
	} while (0)
#define TEST_MAIN \
	int main(int argc, char **argv) { \
		return test_main(argc, argv); \
	}

#endif
