/*
 * pool.h: a few helper threads of the recorder, for work that must not hold up commits: compression
 * of bulk frames, tiles, syncs.
 *
 * A job belongs to the pool from submit until collect hands it back; in between nobody else touches
 * what it points to. Jobs are started in order. With no threads a job runs inside submit, which is
 * what tests use: everything then happens in one order.
 */
#ifndef RECORD_POOL_H
#define RECORD_POOL_H

#include "base/mem.h"

struct pool_job;
typedef void pool_fn(struct pool_job *j, unsigned thread);
struct pool_job {
	pool_fn *fn;
	struct list link;
};

struct pool;
/* wake(arg) is called by a helper after each job, from its thread. */
struct pool *pool_new(unsigned threads, void (*wake)(void *), void *arg) must_use;
/* Waits for jobs that run, drops those that wait. */
void pool_free(struct pool **p);
void pool_submit(struct pool *p, struct pool_job *j);
/* The next job that is done, NULL when there is none. */
struct pool_job *pool_collect(struct pool *p) must_use;

#endif
