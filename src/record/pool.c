/*
 * pool.c: helper threads (pool.h). One lock, held for list operations only. `done_hint` lets the main
 * thread see without the lock that nothing is done, which is so at almost every turn.
 */
#include "record/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { POOL_THREADS_MAX = 8 };

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct list waiting, done;
	_Atomic unsigned done_hint;
	bool is_ending;
	unsigned started; /* threads that took their number */
	unsigned count;
	pthread_t threads[POOL_THREADS_MAX];
	void (*wake)(void *);
	void *arg;
};

static void lock(struct pool *p) {
	if (pthread_mutex_lock(&p->lock) != 0)
		abort();
}

static void unlock(struct pool *p) {
	if (pthread_mutex_unlock(&p->lock) != 0)
		abort();
}

static void *run(void *arg) {
	struct pool *p = arg;

	lock(p);
	unsigned me = p->started++;

	for (;;) {
		while (list_empty(&p->waiting) && !p->is_ending)
			(void)pthread_cond_wait(&p->more, &p->lock);
		if (p->is_ending)
			break;
		struct pool_job *j = container_of(p->waiting.next, struct pool_job, link);

		list_drop(&j->link);
		unlock(p);
		j->fn(j, me);
		lock(p);
		list_push(&p->done, &j->link);
		atomic_fetch_add(&p->done_hint, 1);
		unlock(p);
		p->wake(p->arg);
		lock(p);
	}
	unlock(p);
	return NULL;
}

struct pool *pool_new(unsigned threads, void (*wake)(void *), void *arg) {
	struct pool *p = xcalloc(1, sizeof(*p));
	sigset_t all, old;

	assert(threads <= POOL_THREADS_MAX);
	if (pthread_mutex_init(&p->lock, NULL) != 0 || pthread_cond_init(&p->more, NULL) != 0)
		abort();
	list_init(&p->waiting);
	list_init(&p->done);
	p->wake = wake;
	p->arg = arg;
	(void)sigfillset(&all); /* signals are the main thread's business */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; p->count < threads; p->count++) {
		if (pthread_create(&p->threads[p->count], NULL, run, p) != 0)
			break; /* none at all: jobs run in submit */
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p;
}

void pool_free(struct pool **pp) {
	struct pool *p = *pp;

	if (p == NULL)
		return;
	lock(p);
	p->is_ending = true;
	(void)pthread_cond_broadcast(&p->more);
	unlock(p);
	for (unsigned i = 0; i < p->count; i++)
		(void)pthread_join(p->threads[i], NULL);
	(void)pthread_cond_destroy(&p->more);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
	*pp = NULL;
}

void pool_submit(struct pool *p, struct pool_job *j) {
	list_init(&j->link);
	if (p->count == 0) {
		j->fn(j, 0);
		list_push(&p->done, &j->link);
		atomic_fetch_add(&p->done_hint, 1);
		return;
	}
	lock(p);
	list_push(&p->waiting, &j->link);
	(void)pthread_cond_signal(&p->more);
	unlock(p);
}

struct pool_job *pool_collect(struct pool *p) {
	struct pool_job *j = NULL;

	if (atomic_load(&p->done_hint) == 0)
		return NULL;
	lock(p);
	if (!list_empty(&p->done)) {
		j = container_of(p->done.next, struct pool_job, link);
		list_drop(&j->link);
		atomic_fetch_sub(&p->done_hint, 1);
	}
	unlock(p);
	return j;
}
