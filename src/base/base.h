/*
 * base.h: what every file of Hansard may assume.
 *
 * Small macros only: no types of our own live here. Cleanup attributes (auto_*) release locals at
 * the end of their scope, as systemd and s2n do; take_ptr() hands an owned pointer out of such a
 * scope. Calls that are wrong in any parser of foreign bytes are poisoned at the end of this file,
 * so include system headers before it.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef NDEBUG
#error "asserts stay on in production (STYLE): a wrong record is worse than a dropped session"
#endif

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define NS_PER_US ((uint64_t)1000)
#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_S ((uint64_t)1000000000)

#define must_use __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define unused_arg __attribute__((unused))
#define no_return __attribute__((noreturn))

#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(void *)(ptr)-offsetof(type, member)))

static inline void auto_free_fn(void *p) {
	free(*(void **)p);
}

static inline void auto_fd_fn(const int *fd) {
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void auto_file_fn(FILE **f) {
	if (*f != NULL)
		(void)fclose(*f);
}

#define auto_free __attribute__((cleanup(auto_free_fn)))
#define auto_fd __attribute__((cleanup(auto_fd_fn)))
#define auto_file __attribute__((cleanup(auto_file_fn)))

/* Moves an owned pointer out of an auto_free variable. */
#define take_ptr(pp) \
	({ \
		__typeof__(*(pp)) taken_ = *(pp); \
		*(pp) = NULL; \
		taken_; \
	})

/* Moves an owned descriptor out of an auto_fd variable. */
static inline int take_fd(int *fd) {
	int taken = *fd;
	*fd = -1;
	return taken;
}

/*
 * Allocation that cannot fail: aborts the process when memory is gone. Every size that a peer
 * names is checked against a limit before it comes here (STYLE 4.3). The recorder's buffers are
 * all allocated at start.
 */
void *xmalloc(size_t n) must_use __attribute__((malloc, alloc_size(1)));
void *xcalloc(size_t count, size_t size) must_use __attribute__((malloc, alloc_size(1, 2)));
void *xrealloc(void *p, size_t n) must_use __attribute__((alloc_size(2)));
char *xstrdup(const char *s) must_use;
/* Formats into fresh memory; the caller frees it. */
char *xasprintf(const char *fmt, ...) must_use printf_like(1, 2);

/* A macro cannot be poisoned, and glibc makes some of these macros. The name rand is left to
 * tools/lint, because headers of OpenSSL name a parameter so. */
#undef alloca
#undef sprintf
#undef vsprintf
#undef strncpy
#pragma GCC poison strcpy strcat sprintf vsprintf strtok strncpy strncat atoi atol gets alloca \
	srand mktemp tmpnam

#endif
