/*
 * chan.c: one channel to another process, with a queue (keeper_priv.h).
 *
 * A socket that is full must not block the keeper, and must not lose a message either: what it does
 * not take waits here in order, descriptors duplicated, bounded. The bound is reached only when a
 * peer has stopped reading for long; then a message is dropped and said so, and its question times
 * out.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "keeper/keeper_priv.h"

struct queued {
	struct list link;
	uint16_t type;
	uint64_t id;
	int fd;
	size_t len;
	uint8_t body[];
};

static void queued_free(struct chan *c, struct queued *q) {
	list_drop(&q->link);
	if (q->fd >= 0)
		(void)close(q->fd);
	wipe(q->body, q->len);
	free(q);
	c->queued--;
}

void chan_clear(struct chan *c) {
	list_each_safe (it, tmp, &c->queue)
		queued_free(c, container_of(it, struct queued, link));
	if (c->w.is_added)
		loop_want(c->k->loop, &c->w, LOOP_IN);
}

static void flush(struct chan *c) {
	list_each_safe (it, tmp, &c->queue) {
		struct queued *q = container_of(it, struct queued, link);
		int rc = ipc_send(c->w.fd, q->type, q->id, str_mem(q->body, q->len), &q->fd,
		                  q->fd >= 0 ? 1 : 0);

		if (rc == H_EBUSY)
			return;
		if (rc < 0)
			log_warn("keeper.message.lost", kv_z("to", role_name(c->peer)),
			         kv_z("type", ipc_type_name(q->type)), kv_err(rc));
		queued_free(c, q);
	}
	loop_want(c->k->loop, &c->w, LOOP_IN);
}

void chan_refused(struct chan *c, const char *type) {
	uint64_t count = log_limit_pass(&c->refused, mono_ns());

	if (count != 0)
		log_warn("ipc.message.refused", kv_z("from", role_name(c->peer)),
		         kv_z("message", type), kv_uint("count", count));
}

/* False when there is nothing more. */
static bool receive(struct chan *c) {
	/* A budget per turn: one peer that floods does not starve the others. */
	for (int i = 0; i < 64; i++) {
		struct ipc_msg m;
		int rc = ipc_recv(c->w.fd, c->k->packet, &m);

		if (rc == 0)
			return false;
		if (rc == H_EPROTO || (rc > 0 && !ipc_fits(&m, c->peer, ROLE_KEEPER))) {
			chan_refused(c, rc > 0 ? ipc_type_name(m.type) : NULL);
			if (rc > 0)
				ipc_msg_close(&m);
			continue;
		}
		if (rc < 0) {
			/* The supervisor holds both ends of all but its own: EOF there ends us, and
			 * elsewhere the peer has shut down what it must not. */
			loop_del(c->k->loop, &c->w);
			if (c->peer == ROLE_SUPERVISOR)
				loop_stop(c->k->loop);
			else
				c->is_cut = true;
			return false;
		}
		c->fn(c->k, &m);
		ipc_msg_close(&m);
	}
	return true;
}

void chan_tell_cut(struct chan *c) {
	const uint8_t role = (uint8_t)c->peer;

	if (!c->is_cut || c->is_down)
		return;
	if (!c->was_cut)
		log_alarm("keeper.channel.cut", kv_z("peer", role_name(c->peer)),
		          kv_z("hint", "that process is replaced; it may have been taken over"));
	c->was_cut = true;
	(void)chan_send(&c->k->chan[ROLE_SUPERVISOR], IPC_SUP_STALLED, 0, str_mem(&role, 1));
}

void chan_drain(struct chan *c) {
	while (c->w.is_added && receive(c))
		;
}

static void on_ready(struct watch *w, unsigned events) {
	struct chan *c = container_of(w, struct chan, w);

	if ((events & LOOP_OUT) != 0)
		flush(c);
	if ((events & (LOOP_IN | LOOP_HUP)) != 0)
		(void)receive(c);
}

int chan_open(struct chan *c, int fd) {
	list_init(&c->queue);
	c->w = (struct watch){ .fd = fd, .fn = on_ready };
	return fd >= 0 ? loop_add(c->k->loop, &c->w, LOOP_IN) : 0;
}

int chan_renew(struct chan *c, int fd) {
	struct watch old = c->w;

	chan_clear(c);
	if (c->w.is_added)
		loop_del(c->k->loop, &c->w);
	if (old.fd >= 0)
		(void)close(old.fd);
	c->is_cut = c->was_cut = false;
	return chan_open(c, fd);
}

void chan_close(struct chan *c) {
	if (c->k == NULL)
		return;
	chan_clear(c);
	if (c->w.is_added)
		loop_del(c->k->loop, &c->w);
}

static bool enqueue(struct chan *c, struct queued *head, struct str body) {
	if (c->queued == CHAN_QUEUE_MAX || !c->w.is_added)
		return false;
	struct queued *q = xcalloc(1, sizeof(*q) + body.n);

	*q = *head;
	list_init(&q->link);
	q->len = body.n;
	if (body.n != 0)
		memcpy(q->body, body.p, body.n);
	if (head->fd >= 0) {
		q->fd = fcntl(head->fd, F_DUPFD_CLOEXEC, 0);
		if (q->fd < 0) {
			free(q);
			return false;
		}
	}
	list_push(&c->queue, &q->link);
	c->queued++;
	if (c->w.is_added)
		loop_want(c->k->loop, &c->w, LOOP_IN | LOOP_OUT);
	return true;
}

bool chan_send_fd(struct chan *c, unsigned type, uint64_t id, struct str body, int fd) {
	struct queued head = { .type = (uint16_t)type, .id = id, .fd = fd };
	int rc = H_EBUSY;

	if (c->w.fd < 0)
		return false;
	if (list_empty(&c->queue))
		rc = ipc_send(c->w.fd, head.type, id, body, &fd, fd >= 0 ? 1 : 0);
	if (rc == H_EBUSY)
		rc = enqueue(c, &head, body) ? 0 : H_ELIMIT;
	if (rc < 0)
		log_warn("keeper.message.lost", kv_z("to", role_name(c->peer)),
		         kv_z("type", ipc_type_name(type)), kv_err(rc));
	return rc == 0;
}

bool chan_send(struct chan *c, unsigned type, uint64_t id, struct str body) {
	return chan_send_fd(c, type, id, body, -1);
}
