/*
 * live.c: see live.h.
 */
#include "main/live.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "ipc/ctl.h"
#include "record/frame.h"

enum { ROOM = 1024 * 1024, REATTACH_TRIES = 60, REATTACH_MS = 500, READ_SIZE = 256 * 1024 };

void live_init(struct live *l, const char *store, const char *session) {
	*l = (struct live){ .store = store, .session = session, .fd = -1 };
	buf_init(&l->in, 2 * (size_t)FRAME_MAX + READ_SIZE);
}

static void detach(struct live *l) {
	if (l->fd >= 0)
		(void)close(l->fd);
	l->fd = -1;
	l->used = 0;
	buf_clear(&l->in);
}

void live_fini(struct live *l) {
	detach(l);
	buf_fini(&l->in);
}

struct said {
	struct err *e;
};

static int on_answer(void *arg, struct str text) {
	struct said *s = arg;
	json_t *doc = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	const char *sentence = json_string_value(json_object_get(doc, "error"));
	int rc = json_is_true(json_object_get(doc, "ok"))
	                 ? 0
	                 : err_set(s->e, H_EREFUSED, "%s",
	                           sentence != NULL ? sentence : "the gateway refused");
	json_decref(doc);
	return rc;
}

int live_attach(struct live *l, struct err *e) {
	json_t *ask = json_pack("{s:s}", "cmd", "tail");
	int pair[2], room = ROOM;
	detach(l);
	if (l->session != NULL)
		(void)json_object_set_new(ask, "session", json_string(l->session));
	auto_free char *text = json_dumps(ask, JSON_COMPACT);
	json_decref(ask);
	if (text == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, H_EIO, "no socket can be made: %s", strerror(errno));
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	struct ctl_ask c = { .text = str_of(text), .fd = pair[1] };
	struct said s = { .e = e };
	int rc = ctl_pass(l->store, &c, on_answer, &s, e);
	(void)close(pair[1]);
	if (rc < 0) {
		(void)close(pair[0]);
		return rc;
	}
	l->fd = pair[0];
	return 0;
}

int live_reattach(struct live *l, struct err *e) {
	int rc = live_attach(l, e);
	for (int i = 0; i < REATTACH_TRIES && rc < 0; i++) {
		(void)poll(NULL, 0, REATTACH_MS);
		*e = (struct err){ .code = 0 };
		rc = live_attach(l, e);
	}
	return rc;
}

static int read_more(struct live *l, int timeout_ms) {
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	int n = poll(&p, 1, timeout_ms);
	if (n == 0)
		return 0;
	if (n < 0)
		return errno == EINTR ? 1 : H_EIO;
	uint8_t *room = buf_reserve(&l->in, READ_SIZE);
	if (room == NULL)
		return H_EFORMAT;
	ssize_t got = recv(l->fd, room, READ_SIZE, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : H_ECLOSED;
	buf_commit(&l->in, (size_t)got);
	return got == 0 ? H_ECLOSED : 1;
}

int live_next(struct live *l, struct tap_item *it, int timeout_ms) {
	buf_consume(&l->in, l->used);
	l->used = 0;
	for (;;) {
		int n = tap_item_parse(it, buf_peek(&l->in));
		if (n > 0)
			l->used = (size_t)n;
		if (n != 0)
			return n > 0 ? 1 : n;
		n = l->fd >= 0 ? read_more(l, timeout_ms) : H_ECLOSED;
		if (n <= 0)
			return n;
	}
}
