/*
 * resolve.h: getaddrinfo off the loop, on a bounded number of threads.
 *
 * Jobs belong to the resolver; the caller holds a pointer until its function was called or it gave
 * the job up. Functions are called on the loop's thread, never from within resolve_start().
 */
#ifndef EGRESS_RESOLVE_H
#define EGRESS_RESOLVE_H

#include <netdb.h>

#include "loop/loop.h"

#define RESOLVE_THREADS_MAX 8
#define RESOLVE_JOBS_MAX 256

struct resolver;
struct resolve_job;
/* gai: 0 or getaddrinfo's error; list is the callee's to free, NULL when gai != 0. */
typedef void resolve_fn(void *owner, int gai, struct addrinfo *list);

struct resolver *resolver_new(struct loop *l) must_use;
/* NULL when too many wait already. */
struct resolve_job *resolve_start(struct resolver *r, struct str host, uint16_t port,
                                  resolve_fn *fn, void *owner) must_use;
/* The owner does not wait any more: its function will not be called. */
void resolve_abandon(struct resolve_job *j);

#endif
