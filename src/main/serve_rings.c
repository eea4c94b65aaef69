/*
 * serve_rings.c: the memory between workers and recorder, kept here so that neither loses it when
 * the other, or it itself, is replaced.
 *
 * A worker gets fresh rings; those of a dead one stay until the recorder says that it drained them.
 * Numbers go up and are used again only after 65,534 others, and never while the old one is there.
 */
#include <sys/eventfd.h>

#include "ipc/ring.h"
#include "main/serve_priv.h"

#define NO_RING 0xffffu

static void close_ring(struct serve_ring *r) {
	(void)close(r->ring);
	(void)close(r->commit);
	(void)close(r->commit_ro);
	(void)close(r->event);
}

struct serve_ring *serve_ring_find(struct serve_rings *r, uint16_t id) {
	for (size_t i = 0; i < r->count; i++) {
		if (r->v[i].id == id)
			return &r->v[i];
	}
	return NULL;
}

static uint16_t fresh_id(struct serve_rings *r) {
	while (r->next_id == NO_RING || serve_ring_find(r, r->next_id) != NULL)
		r->next_id++;
	return r->next_id++;
}

static int make(struct serve_rings *r) {
	struct serve_ring new = { .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	int rc;

	if (new.event < 0)
		return H_EIO;
	rc = ring_create(SERVE_RING_SIZE, SERVE_RING_SLOTS, &new.ring, &new.commit, &new.commit_ro);
	if (rc < 0) {
		(void)close(new.event);
		return rc;
	}
	new.id = fresh_id(r);
	r->v[r->count++] = new;
	return 0;
}

int serve_rings_make(struct serve_rings *r, uint32_t threads) {
	assert(threads <= START_THREADS_MAX);
	/* Dead rings that the recorder has not drained yet hold what no one else has: rather no new
	 * worker for a while than one of them less. */
	if (r->count + threads > SERVE_RINGS_MAX)
		return H_ELIMIT;
	size_t before = r->count;
	for (uint32_t i = 0; i < threads; i++) {
		int rc = make(r);
		if (rc == 0)
			continue;
		while (r->count > before)
			close_ring(&r->v[--r->count]);
		return rc;
	}
	return 0;
}

void serve_rings_kill(struct serve_rings *r) {
	for (size_t i = 0; i < r->count; i++)
		r->v[i].is_dead = true;
}

void serve_rings_drop(struct serve_rings *r, uint16_t id) {
	struct serve_ring *ring = serve_ring_find(r, id);

	if (ring == NULL || !ring->is_dead)
		return;
	close_ring(ring);
	*ring = r->v[--r->count];
}

void serve_rings_start(const struct serve_rings *r, struct start *s) {
	for (size_t i = 0; i < r->count; i++) {
		const struct serve_ring *ring = &r->v[i];
		if (ring->is_dead)
			continue;
		assert(s->thread_count < START_THREADS_MAX);
		s->threads[s->thread_count++] = (struct start_thread){
			.ring = ring->id,
			.ring_fd = ring->ring,
			.commit_fd = s->role == ROLE_WORKER ? ring->commit_ro : ring->commit,
			.worker_event = ring->event,
		};
	}
}
