/*
 * resolve.c: see resolve.h.
 *
 * getaddrinfo blocks for as long as the name servers let it, and cannot be called off; so a thread
 * is lent to it, and a caller that lost patience only forgets the job. A slow name server thus holds
 * up to eight threads and nothing else; further names queue. Rejected: getaddrinfo_a (threads of its
 * own, without a bound), a resolver library (one more parser of foreign bytes; the C library's own is
 * what the operator configured).
 *
 * Under the lock: the two lists and the counts. `owner` is the loop thread's alone.
 */
#include "egress/resolve.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { HOST_MAX = 254 };

struct resolve_job {
	struct list link; /* in waiting, then in done */
	char host[HOST_MAX + 1];
	char port[8];
	int gai;
	struct addrinfo *list;
	resolve_fn *fn;
	void *owner; /* NULL: abandoned */
};

struct resolver {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct list waiting, done;
	size_t waiting_count, idle_count, thread_count;
	struct watch wake;
};

static void look_up(struct resolve_job *j) {
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };

	j->gai = getaddrinfo(j->host, j->port, &hints, &j->list);
	if (j->gai != 0)
		j->list = NULL;
}

static void *run(void *arg) {
	struct resolver *r = arg;
	uint64_t one = 1;

	(void)pthread_mutex_lock(&r->lock);
	for (;;) {
		while (list_empty(&r->waiting)) {
			r->idle_count++;
			(void)pthread_cond_wait(&r->more, &r->lock);
			r->idle_count--;
		}
		struct resolve_job *j = list_first(&r->waiting, struct resolve_job, link);
		list_drop(&j->link);
		r->waiting_count--;
		(void)pthread_mutex_unlock(&r->lock);
		look_up(j);
		(void)pthread_mutex_lock(&r->lock);
		list_push(&r->done, &j->link);
		if (write(r->wake.fd, &one, sizeof(one)) != sizeof(one))
			abort(); /* an eventfd takes 2^64 of these */
	}
	return NULL;
}

static void on_wake(struct watch *w, unsigned events unused_arg) {
	struct resolver *r = container_of(w, struct resolver, wake);
	struct list done;
	uint64_t count;

	(void)!read(w->fd, &count, sizeof(count));
	list_init(&done);
	(void)pthread_mutex_lock(&r->lock);
	while (!list_empty(&r->done)) {
		struct list *item = r->done.next;
		list_drop(item);
		list_push(&done, item);
	}
	(void)pthread_mutex_unlock(&r->lock);
	while (!list_empty(&done)) {
		struct resolve_job *j = list_first(&done, struct resolve_job, link);
		list_drop(&j->link);
		if (j->owner != NULL)
			j->fn(j->owner, j->gai, j->list);
		else if (j->list != NULL)
			freeaddrinfo(j->list);
		free(j);
	}
}

struct resolver *resolver_new(struct loop *l) {
	struct resolver *r = xcalloc(1, sizeof(*r));

	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->more, NULL);
	list_init(&r->waiting);
	list_init(&r->done);
	r->wake = (struct watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = on_wake };
	if (r->wake.fd < 0 || loop_add(l, &r->wake, LOOP_IN) < 0)
		abort(); /* at start, before anything is served */
	return r;
}

/* With the lock held. */
static bool has_thread_for_one(struct resolver *r) {
	pthread_t t;

	if (r->idle_count > r->waiting_count || r->thread_count == RESOLVE_THREADS_MAX)
		return true;
	if (pthread_create(&t, NULL, run, r) != 0)
		return r->thread_count > 0;
	(void)pthread_detach(t);
	r->thread_count++;
	return true;
}

struct resolve_job *resolve_start(struct resolver *r, struct str host, uint16_t port,
                                  resolve_fn *fn, void *owner) {
	struct resolve_job *j = xcalloc(1, sizeof(*j));
	bool is_taken = false;

	assert(owner != NULL);
	j->fn = fn;
	j->owner = owner;
	(void)snprintf(j->port, sizeof(j->port), "%u", port);
	if (str_copy(j->host, sizeof(j->host), host)) {
		(void)pthread_mutex_lock(&r->lock);
		is_taken = r->waiting_count < RESOLVE_JOBS_MAX && has_thread_for_one(r);
		if (is_taken) {
			list_push(&r->waiting, &j->link);
			r->waiting_count++;
			(void)pthread_cond_signal(&r->more);
		}
		(void)pthread_mutex_unlock(&r->lock);
	}
	if (!is_taken) {
		free(j);
		return NULL;
	}
	return j;
}

void resolve_abandon(struct resolve_job *j) {
	j->owner = NULL;
}
