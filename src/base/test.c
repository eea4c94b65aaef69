/*
 * test.c: the unit test runner; prints TAP version 13 (testanything.org).
 *
 * TEST() registers by constructor, so a test cannot be forgotten in a list. The runner counts
 * checks per test, and a test that checked nothing is a failure: a loop that never ran would
 * otherwise pass for ever. Checks may come from several threads, hence the atomics.
 */
#include "base/test.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>

enum { TESTS_MAX = 512 };

static struct {
	const char *name;
	test_fn *fn;
} tests[TESTS_MAX];

static size_t test_count;
static atomic_size_t checks, failures;
static const char *skip_reason;

void test_register(const char *name, test_fn *fn) {
	assert(test_count < TESTS_MAX);
	tests[test_count].name = name;
	tests[test_count].fn = fn;
	test_count++;
}

bool test_check(bool ok, const char *file, int line, const char *expr) {
	atomic_fetch_add(&checks, 1);
	if (ok)
		return true;
	atomic_fetch_add(&failures, 1);
	printf("# %s:%d: failed: %s\n", file, line, expr);
	return false;
}

bool test_eq_u(uint64_t a, uint64_t b, const char *file, int line, const char *expr) {
	if (!test_check(a == b, file, line, expr))
		printf("#   left %" PRIu64 " (0x%" PRIx64 "), right %" PRIu64 " (0x%" PRIx64 ")\n",
		       a, a, b, b);
	return a == b;
}

bool test_eq_i(int64_t a, int64_t b, const char *file, int line, const char *expr) {
	if (!test_check(a == b, file, line, expr))
		printf("#   left %" PRId64 ", right %" PRId64 "\n", a, b);
	return a == b;
}

enum { SHOWN_MAX = 400 };

static void show(const char *side, struct str s) {
	printf("#   %s (%zu bytes) \"", side, s.n);
	for (size_t i = 0; i < s.n && i < SHOWN_MAX; i++) {
		if (s.p[i] >= ' ' && s.p[i] < 0x7f)
			(void)putchar(s.p[i]);
		else
			printf("\\x%02x", (unsigned)(unsigned char)s.p[i]);
	}
	printf("\"%s\n", s.n > SHOWN_MAX ? "…" : "");
}

bool test_eq_str(struct str a, struct str b, const char *file, int line, const char *expr) {
	bool ok = test_check(str_eq(a, b), file, line, expr);

	if (!ok) {
		show("left ", a);
		show("right", b);
	}
	return ok;
}

void test_skip(const char *reason) {
	skip_reason = reason;
}

void test_note(const char *fmt, ...) {
	va_list args;

	printf("# ");
	va_start(args, fmt);
	(void)vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

static bool is_selected(const char *name, int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (str_starts(str_of(name), str_of(argv[i])))
			return true;
	}
	return argc <= 1;
}

/* Runs one test, prints its line, says whether it passed. */
static bool run_one(size_t number, const char *name, test_fn *fn) {
	atomic_store(&checks, 0);
	atomic_store(&failures, 0);
	skip_reason = NULL;
	fn();
	if (atomic_load(&checks) == 0 && skip_reason == NULL)
		printf("# no check ran\n");
	bool ok = atomic_load(&failures) == 0 && (atomic_load(&checks) != 0 || skip_reason != NULL);

	printf("%s %zu - %s%s%s\n", ok ? "ok" : "not ok", number, name,
	       skip_reason != NULL ? " # SKIP " : "", skip_reason != NULL ? skip_reason : "");
	(void)fflush(stdout);
	return ok;
}

int test_main(int argc, char **argv) {
	size_t run = 0, failed = 0;

	/* A crash must not swallow the lines before it. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n");
	for (size_t i = 0; i < test_count; i++) {
		if (!is_selected(tests[i].name, argc, argv))
			continue;
		run++;
		if (!run_one(run, tests[i].name, tests[i].fn))
			failed++;
	}
	printf("1..%zu\n", run);
	if (run == 0)
		printf("# no test was run\n");
	return run == 0 || failed != 0 ? 1 : 0;
}
