/*
 * alloc.c: allocation that cannot fail.
 *
 * Sizes named by a peer meet a limit before they come here, so running out of memory means that
 * the machine is out of memory. A process that dies is restarted by the supervisor; untested
 * recovery paths in every caller would be worse. The message goes out by write(2) alone, because
 * formatting might allocate.
 */
#include "base/base.h"

#include <stdarg.h>

no_return static void out_of_memory(void) {
	static const char msg[] = "hansard: out of memory\n";

	if (write(STDERR_FILENO, msg, sizeof(msg) - 1) < 0)
		abort();
	abort();
}

void *xmalloc(size_t n) {
	void *p = malloc(MAX(n, (size_t)1));

	if (p == NULL)
		out_of_memory();
	return p;
}

void *xcalloc(size_t count, size_t size) {
	void *p = calloc(MAX(count, (size_t)1), MAX(size, (size_t)1));

	if (p == NULL)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t n) {
	void *moved = realloc(p, MAX(n, (size_t)1));

	if (moved == NULL)
		out_of_memory();
	return moved;
}

char *xstrdup(const char *s) {
	size_t n = strlen(s) + 1;

	return memcpy(xmalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...) {
	char *out = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&out, fmt, args) < 0)
		out_of_memory();
	va_end(args);
	return out;
}
