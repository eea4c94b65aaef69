/*
 * thread.c: one loop thread: its slots, its lists of sessions, its ring, and the turn.
 *
 * A turn: sockets are served (events go into the ring, bytes for targets into queues), then once at
 * its end: sockets with bytes left inside TLS, the ring is published, what became durable is let
 * go, the dead are freed. Before the loop sleeps it tells the recorder so, but only when something waits for a
 * commit: an idle worker is never woken.
 *
 * The recorder is woken for what somebody waits for. Answers and the ends of commands lie in the ring
 * until the next command rings, or 64 KiB are there, or 10 ms have passed: so a statement costs one
 * wake-up of the recorder, and one frame and one write hold its end beside the next one's begin.
 *
 * Slots are numbered over all threads of the worker (each has a range), so slot and generation name
 * a session to the keeper without naming the thread. A slot is used again only when the recorder has taken
 * the last event of its former session out of the ring.
 *
 * Other threads reach this one by mail: a locked list and the eventfd. Nothing else is shared but
 * counters and the snapshot box.
 */
#include "session/shell.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"

#define TICK_NS NS_PER_S
/* How long, and how much, may lie in the ring beside a recorder that sleeps when nobody waits for it. */
#define QUIET_NS (10 * NS_PER_MS)
#define QUIET_MAX ((uint64_t)64 * 1024)

uint64_t thread_now(const struct thread *t) {
	return loop_now(t->loop);
}

/* ---- slots ---- */

static bool is_slot_usable(const struct thread *t, uint32_t slot) {
	const struct slot_entry *e = &t->slots[slot - t->slot_first];

	return e->s == NULL && e->free_pos <= t->ring.tail_seen;
}

bool thread_slot_take(struct thread *t, struct session *s) {
	(void)ring_room(&t->ring); /* reads the tail */
	for (uint32_t i = 0; i < t->slot_count; i++) {
		uint32_t slot = t->slot_first + (t->slot_next + i) % t->slot_count;

		if (!is_slot_usable(t, slot))
			continue;
		t->slot_next = (slot - t->slot_first + 1) % t->slot_count;
		struct slot_entry *e = &t->slots[slot - t->slot_first];

		e->s = s;
		e->generation++;
		s->slot = slot;
		s->generation = e->generation;
		return true;
	}
	return false;
}

void thread_slot_renew(struct thread *t, struct session *s) {
	s->generation = ++t->slots[s->slot - t->slot_first].generation;
}

void thread_slot_free(struct thread *t, struct session *s) {
	if (s->slot == NO_SLOT)
		return;
	struct slot_entry *e = &t->slots[s->slot - t->slot_first];

	assert(e->s == s);
	e->s = NULL;
	e->free_pos = s->is_bound ? t->ring.pos : 0;
}

struct session *thread_find(struct thread *t, uint32_t slot, uint32_t generation) {
	if (slot < t->slot_first || slot - t->slot_first >= t->slot_count)
		return NULL;
	struct slot_entry *e = &t->slots[slot - t->slot_first];

	return e->s != NULL && e->generation == generation ? e->s : NULL;
}

/* ---- accept ---- */

static void log_refused(const char *why) {
	log_warn("worker.connection.refused", kv_z("reason", why));
}

/* Whoever has been silent longest makes room: who means it is admitted in milliseconds. Those that
 * wait for the keeper are not silent. */
static void evict_oldest(struct thread *t) {
	list_each (it, &t->pre) {
		struct session *s = container_of(it, struct session, pre_link);

		if (s->state != S_PRE)
			continue;
		log_refused("too many connections wait for admission: the oldest was closed");
		session_close(s, H_ELIMIT);
		session_run(s);
		return;
	}
}

void thread_accept(struct thread *t, struct mail *m) {
	struct snap *snap = snap_get(&t->w->snap);
	uint32_t sessions_max = snap != NULL ? snap->s.sessions_max : 0;
	uint32_t pre_max = snap != NULL ? snap->s.preadmission_max : 0;
	uint32_t all = 0;

	snap_release(&snap);
	for (unsigned i = 0; i < t->w->thread_count; i++)
		all += atomic_load(&t->w->threads[i].session_count);
	if (pre_max != 0 && atomic_load(&t->w->preadmission_count) >= pre_max)
		evict_oldest(t);
	struct session_open o = { .fd = m->fd, .peer = m->peer, .proto = m->proto, .tls = m->tls };

	m->fd = -1;
	m->tls = NULL;
	if (t->is_draining || (sessions_max != 0 && all >= sessions_max)) {
		log_refused(t->is_draining ? "shutting down" : "sessions_max");
		(void)close(o.fd);
		tls_ctx_free(&o.tls);
		return;
	}
	if (session_new(t, &o) == NULL)
		log_refused("no slot is free");
}

/* ---- mail ---- */

struct mail *mail_new(enum mail_kind kind, struct str body) {
	struct mail *m = xcalloc(1, sizeof(*m) + body.n);

	m->kind = kind;
	m->fd = -1;
	if (body.n != 0)
		memcpy(m->body, body.p, body.n);
	m->msg.body = str_mem(m->body, body.n);
	return m;
}

void mail_drop(struct mail *m) {
	if (m->fd >= 0)
		(void)close(m->fd);
	tls_ctx_free(&m->tls);
	ipc_msg_close(&m->msg);
	wipe(m->body, m->msg.body.n);
	free(m);
}

static void ring_bell(int fd) {
	uint64_t one = 1;

	/* EAGAIN: it has rung four thousand million times and was not heard yet. */
	(void)!write(fd, &one, sizeof(one));
}

void thread_mail(struct thread *t, struct mail *m) {
	list_init(&m->link);
	(void)pthread_mutex_lock(&t->mail_lock);
	list_push(&t->mail, &m->link);
	(void)pthread_mutex_unlock(&t->mail_lock);
	ring_bell(t->event_fd);
}

static void kill_all(struct thread *t, int code) {
	list_each_safe (it, tmp, &t->sessions) {
		struct session *s = container_of(it, struct session, link);

		if (code != H_ERECORDER || s->is_bound)
			session_kill(s, code);
	}
}

static void start_drain(struct thread *t, uint64_t until_ns) {
	t->is_draining = true;
	t->drain_ns = until_ns;
	list_each_safe (it, tmp, &t->sessions)
		session_drain(container_of(it, struct session, link));
	timer_set(t->loop, &t->tick, thread_now(t));
}

static void read_mail(struct thread *t, struct mail *m) {
	switch (m->kind) {
	case MAIL_ACCEPT:
		thread_accept(t, m);
		break;
	case MAIL_KEEPER:
		keeper_message(t, &m->msg);
		break;
	case MAIL_RECORDER_GONE:
		kill_all(t, H_ERECORDER);
		break;
	case MAIL_KEEPER_STATE:
		keeper_state(t, m->n != 0);
		break;
	case MAIL_DRAIN:
		start_drain(t, m->n);
		break;
	case MAIL_STOP:
		loop_stop(t->loop);
		break;
	}
}

static void on_event(struct watch *w, unsigned events) {
	struct thread *t = container_of(w, struct thread, event_watch);
	struct list got;
	uint64_t count;

	(void)events;
	(void)!read(t->event_fd, &count, sizeof(count));
	list_init(&got);
	(void)pthread_mutex_lock(&t->mail_lock);
	while (!list_empty(&t->mail)) {
		struct list *it = t->mail.next;

		list_drop(it);
		list_push(&got, it);
	}
	(void)pthread_mutex_unlock(&t->mail_lock);
	while (!list_empty(&got)) {
		struct mail *m = list_first(&got, struct mail, link);

		list_drop(&m->link);
		read_mail(t, m);
		mail_drop(m);
	}
}

/* ---- the turn ---- */

static void let_go(struct thread *t) {
	if (!ring_changed(&t->ring))
		return;
	list_each_safe (it, tmp, &t->waiting)
		session_committed(container_of(it, struct session, wait_link));
}

/* Answers, and what says how a command ended, wake nobody: the next command does, or the timer. */
static void publish(struct thread *t) {
	if (!ring_publish_quietly(&t->ring))
		return;
	if (t->is_urgent || ring_untaken(&t->ring) >= QUIET_MAX) {
		if (ring_must_wake(&t->ring))
			ring_bell(t->w->recorder_event);
	} else if (t->quiet_timer.due_ns == 0) {
		timer_set(t->loop, &t->quiet_timer, thread_now(t) + QUIET_NS);
	}
	t->is_urgent = false;
}

static void on_quiet(struct timer *timer) {
	struct thread *t = container_of(timer, struct thread, quiet_timer);

	if (ring_must_wake(&t->ring))
		ring_bell(t->w->recorder_event);
}

static void serve_busy(struct thread *t) {
	struct list now;

	list_init(&now);
	while (!list_empty(&t->busy)) {
		struct list *it = t->busy.next;

		list_drop(it);
		list_push(&now, it);
	}
	while (!list_empty(&now)) {
		struct side_state *d = list_first(&now, struct side_state, busy_link);

		list_drop(&d->busy_link);
		side_read(d);
		session_run(d->s);
	}
}

static void on_turn_end(void *arg) {
	struct thread *t = arg;

	serve_busy(t);
	(void)rec_flush_orphans(t); /* before the sessions that wait for the same room */
	publish(t);
	let_go(t);
	publish(t); /* letting go may have recorded: ends, relays that had waited */
	keeper_flush(t);
	while (!list_empty(&t->dead))
		session_free(list_first(&t->dead, struct session, dead_link));
}

static bool before_sleep(void *arg) {
	struct thread *t = arg;

	if (!list_empty(&t->busy))
		return false;
	if (list_empty(&t->waiting) && t->orphans.len == 0)
		return true;
	t->is_asleep = ring_worker_may_sleep(&t->ring);
	return t->is_asleep;
}

static void after_sleep(void *arg) {
	struct thread *t = arg;

	if (t->is_asleep)
		ring_worker_awake(&t->ring);
	t->is_asleep = false;
}

/* ---- once a second ---- */

/* Counts time that this thread saw pass: when it was stopped itself, so may all have been. */
static void check_stall(struct thread *t, uint64_t now) {
	uint32_t seen = atomic_load_explicit(&t->ring.commit->changed, memory_order_relaxed);
	uint64_t passed = MIN(now - t->ticked_ns, 2 * TICK_NS);

	t->ticked_ns = now;
	if (list_empty(&t->waiting) || seen != t->moved_seen) {
		t->stalled_ns = 0;
		t->moved_seen = seen;
		t->is_stall_told = false;
		return;
	}
	t->stalled_ns += passed;
	if (t->stalled_ns < STALL_NS || t->is_stall_told)
		return;
	t->is_stall_told = true;
	log_alarm("worker.recorder.stalled", kv_uint("ms", t->stalled_ns / NS_PER_MS));
	worker_tell_stalled(t->w);
	kill_all(t, H_ERECORDER);
}

static void check_drain(struct thread *t, uint64_t now) {
	if (!t->is_draining)
		return;
	if (now >= t->drain_ns && !t->is_drain_killed) {
		t->is_drain_killed = true;
		kill_all(t, H_EDRAIN);
	}
	if (list_empty(&t->sessions) && t->orphans.len == 0 && t->drain_ns != 0) {
		t->drain_ns = 0;
		t->is_drain_killed = true;
		worker_thread_drained(t->w);
	}
}

static void on_tick(struct timer *timer) {
	struct thread *t = container_of(timer, struct thread, tick);
	uint64_t now = thread_now(t);

	list_each_safe (it, tmp, &t->sessions)
		session_tick(container_of(it, struct session, link), now);
	check_stall(t, now);
	check_drain(t, now);
	timer_set(t->loop, &t->tick, now + (t->is_draining ? TICK_NS / 20 : TICK_NS));
}

static void on_outbox(struct timer *timer) {
	keeper_flush(container_of(timer, struct thread, outbox_timer));
}

/* ---- set-up ---- */

static void init_lists(struct thread *t) {
	list_init(&t->sessions);
	list_init(&t->pre);
	list_init(&t->waiting);
	list_init(&t->busy);
	list_init(&t->dead);
	list_init(&t->mail);
	(void)pthread_mutex_init(&t->mail_lock, NULL);
}

static void init_buffers(struct thread *t) {
	buf_init(&t->event, 8 * KIB);
	buf_init(&t->orphans, ORPHANS_MAX);
	buf_init(&t->outbox, 4 * MIB);
	t->scratch = xmalloc(WINDOW_MAX);
	t->tls_scratch = xmalloc(sizeof(*t->tls_scratch));
	t->ipc_buf = xmalloc(IPC_MAX + 16);
}

int thread_init(struct thread *t, struct worker *w, unsigned index) {
	const struct start_thread *st = &w->start->threads[index];

	*t = (struct thread){ .w = w, .index = index, .is_keeper_up = true };
	init_lists(t);
	init_buffers(t);
	t->event_fd = st->worker_event;
	t->ring_number = st->ring;
	t->loop = loop_new();
	if (t->loop == NULL)
		return H_EIO;
	int rc = ring_map_worker(&t->ring, st->ring_fd, st->commit_fd);

	if (rc < 0)
		return rc;
	t->slot_count = t->ring.slot_count / w->thread_count;
	t->slot_first = t->slot_count * index;
	t->slots = xcalloc(t->slot_count, sizeof(*t->slots));
	t->event_watch = (struct watch){ .fd = t->event_fd, .fn = on_event };
	t->tick.fn = on_tick;
	t->outbox_timer.fn = on_outbox;
	t->quiet_timer.fn = on_quiet;
	loop_hooks(t->loop, before_sleep, after_sleep, on_turn_end, t);
	timer_set(t->loop, &t->tick, thread_now(t) + TICK_NS);
	return loop_add(t->loop, &t->event_watch, LOOP_IN);
}

void thread_fini(struct thread *t) {
	while (t->loop != NULL && !list_empty(&t->sessions))
		session_free(list_first(&t->sessions, struct session, link));
	list_each_safe (it, tmp, &t->mail)
		mail_drop(container_of(it, struct mail, link));
	loop_free(&t->loop);
	ring_unmap(&t->ring);
	buf_fini(&t->event);
	buf_fini(&t->orphans);
	buf_fini(&t->outbox);
	wipe(t->scratch, WINDOW_MAX);
	free(t->scratch);
	free(t->tls_scratch);
	free(t->ipc_buf);
	free(t->slots);
	(void)pthread_mutex_destroy(&t->mail_lock);
}
