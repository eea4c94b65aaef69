/*
 * err.c: texts of the error table, and struct err.
 *
 * The three text arrays come from the one X-macro in err.h, so a new code cannot lack a name, a
 * sentence or a class. Index 0 is success; a code is stored negated.
 *
 * Invariants:
 * 1. The accessors never return NULL, whatever number they are given: they feed logs.
 * 2. struct err keeps the first failure. The deepest function knows best what went wrong; callers
 *    further up may set again without hiding it.
 */
#include "base/err.h"

#include <stdarg.h>

/* The formatter does not see that a row ends in a comma. */
/* clang-format off */
static const char *const names[] = {
	"OK",
#define X(code, class, text) #code,
	H_ERRORS(X)
#undef X
};

static const char *const texts[] = {
	"success",
#define X(code, class, text) text,
	H_ERRORS(X)
#undef X
};

static const char *const classes[] = {
	"bug",
#define X(code, class, text) #class,
	H_ERRORS(X)
#undef X
};

/* clang-format on */

static const char *lookup(const char *const *table, int code, const char *unknown) {
	if (code >= 0)
		return table[0];
	if (code <= -(int)H_ERR_COUNT_)
		return unknown;
	return table[-code];
}

const char *h_err_name(int code) {
	return lookup(names, code, "E?");
}

const char *h_err_text(int code) {
	return lookup(texts, code, "unknown error");
}

const char *h_err_class(int code) {
	return lookup(classes, code, "bug");
}

printf_like(4, 0) static int fill(struct err *e, int code, const char *where, const char *fmt,
                                  va_list args) {
	if (e == NULL || e->code != 0)
		return code;
	e->code = code;
	(void)snprintf(e->where, sizeof(e->where), "%s", where);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, args);
	return code;
}

int err_set(struct err *e, int code, const char *fmt, ...) {
	va_list args;

	assert(code < 0);
	va_start(args, fmt);
	(void)fill(e, code, "", fmt, args);
	va_end(args);
	return code;
}

int err_at(struct err *e, int code, const char *where, const char *fmt, ...) {
	va_list args;

	assert(code < 0);
	va_start(args, fmt);
	(void)fill(e, code, where, fmt, args);
	va_end(args);
	return code;
}
