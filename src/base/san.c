/*
 * san.c: sanitizer options, compiled in.
 *
 * Children start with an empty environment, so ASAN_OPTIONS and its kin would not reach them; the
 * runtimes ask these functions instead. The file is linked into every program as an object (not
 * from the library), because a runtime's weak reference pulls nothing out of an archive.
 */
#include "base/san.h"

#include <stdbool.h>

static bool is_confined;

void san_confined(void) {
	is_confined = true;
}

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);
int __lsan_is_turned_off(void);

const char *__asan_default_options(void) {
	return "abort_on_error=1:detect_stack_use_after_return=1:strict_init_order=1:"
	       "check_initialization_order=1:allocator_may_return_null=0";
}

const char *__ubsan_default_options(void) {
	return "print_stacktrace=1:halt_on_error=1";
}

const char *__tsan_default_options(void) {
	return "halt_on_error=1:second_deadlock_stack=1:exitcode=66";
}

int __lsan_is_turned_off(void) {
	return is_confined ? 1 : 0;
}
