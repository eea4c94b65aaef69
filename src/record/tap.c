/*
 * tap.c: see tap.h.
 *
 * Frames are copied out after their durability was published, so nobody who waits for a commit waits
 * for a tap. Memory is bounded by TAPS_MAX × (TAP_QUEUE_MAX + one frame).
 */
#include "record/tap.h"

#include <errno.h>
#include <sys/socket.h>

#include "record/recorder_priv.h"

struct tap {
	struct list link;
	int fd;
	uint8_t sid[SID_SIZE]; /* zeros: all sessions */
	bool is_all, is_ended;
	struct buf out;
	/* not sent since the queue was full */
	uint64_t lost_first, lost_count;
	uint8_t lost_sid[SID_SIZE];
};

static void tap_close(struct recorder *r, struct tap *t) {
	list_drop(&t->link);
	(void)close(t->fd);
	buf_fini(&t->out);
	free(t);
	r->tap_count--;
}

static void put_item(struct tap *t, enum tap_kind kind, struct str body) {
	w_u8(&t->out, (uint8_t)kind);
	w_u32(&t->out, (uint32_t)body.n);
	w_bytes(&t->out, body);
}

static void put_lost(struct tap *t) {
	uint8_t body[TAP_LOST_SIZE];

	memcpy(body, t->lost_sid, SID_SIZE);
	memcpy(body + 16, &t->lost_first, 8);
	memcpy(body + 24, &t->lost_count, 8);
	put_item(t, TAP_LOST, str_mem(body, sizeof(body)));
	t->lost_count = 0;
}

/* False when the reader is gone. */
static bool send_some(struct tap *t) {
	while (t->out.len != 0) {
		struct str s = buf_peek(&t->out);
		struct iovec iov = { .iov_base = (void *)(uintptr_t)s.p, .iov_len = s.n };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n = sendmsg(t->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
			return true;
		if (n <= 0)
			return false;
		buf_consume(&t->out, (size_t)n);
	}
	buf_trim(&t->out, false);
	return true;
}

void recorder_tap(struct recorder *r, int fd, const uint8_t sid[SID_SIZE]) {
	static const uint8_t zeros[SID_SIZE];
	static const char version = TAP_VERSION;
	const struct rec_session *s = map_get(r->by_sid, str_mem(sid, SID_SIZE));

	if (r->tap_count == TAPS_MAX) {
		(void)close(fd);
		return;
	}
	struct tap *t = xcalloc(1, sizeof(*t));

	list_init(&t->link);
	t->fd = fd;
	memcpy(t->sid, sid, SID_SIZE);
	t->is_all = memcmp(sid, zeros, SID_SIZE) == 0;
	buf_init(&t->out, TAP_QUEUE_MAX + FRAME_MAX + 256);
	list_push(&r->taps, &t->link);
	r->tap_count++;
	put_item(t, TAP_HELLO, str_mem(&version, 1));
	if (!t->is_all && (s == NULL || s->state >= SS_CLOSED)) {
		put_item(t, TAP_END, STR_NONE);
		t->is_ended = true;
	}
}

static void offer(struct tap *t, const struct rec_session *s, const struct batch_item *it,
                  struct str frame) {
	uint64_t no = s->tree.size - 1; /* it was applied */

	if (t->is_ended || (!t->is_all && memcmp(t->sid, s->sid, SID_SIZE) != 0))
		return;
	if (t->lost_count != 0 && t->out.len < TAP_QUEUE_MAX / 2)
		put_lost(t);
	if (t->lost_count == 0 && t->out.len < TAP_QUEUE_MAX) {
		put_item(t, TAP_FRAME, frame);
	} else if (t->lost_count++ == 0) {
		memcpy(t->lost_sid, t->sid, SID_SIZE);
		t->lost_first = t->is_all ? 0 : no;
	}
	if (!t->is_all && it->kind == FRAME_CLOSE) {
		if (t->lost_count != 0)
			put_lost(t);
		put_item(t, TAP_END, STR_NONE);
		t->is_ended = true;
	}
}

void taps_offer(struct recorder *r, const struct rec_session *s, const struct batch_item *it,
                struct str frame) {
	list_each (at, &r->taps)
		offer(container_of(at, struct tap, link), s, it, frame);
}

bool taps_send(struct recorder *r) {
	bool is_waiting = false;

	list_each_safe (at, tmp, &r->taps) {
		struct tap *t = container_of(at, struct tap, link);

		/* What was lost is said as soon as there is room, not with the next frame. */
		if (t->lost_count != 0 && !t->is_ended && t->out.len == 0)
			put_lost(t);
		if (!send_some(t) || (t->is_ended && t->out.len == 0))
			tap_close(r, t);
		else
			is_waiting = is_waiting || t->out.len != 0;
	}
	return is_waiting;
}

void taps_free(struct recorder *r) {
	list_each_safe (at, tmp, &r->taps)
		tap_close(r, container_of(at, struct tap, link));
}
