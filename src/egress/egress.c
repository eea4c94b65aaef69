/*
 * egress.c: the process that opens connections, and nothing else (DESIGN §3).
 *
 * It connects only where the keeper says, hands the connected socket to the keeper and keeps
 * nothing: no secret, no session, no byte of a conversation. Questions of a keeper that died are
 * dropped; a keeper that does not read makes answers wait, at most one per question.
 */
#include <errno.h>

#include "base/log.h"
#include "egress/dial.h"
#include "ipc/confine.h"
#include "ipc/start.h"

enum { ASKED_MAX = 256 };

struct egress;

struct asked { /* one CONNECT */
	struct list link;
	struct egress *eg;
	struct dial *dial; /* NULL: over, the answer waits for the socket */
	uint64_t id;
	struct dial_result result;
};

struct egress {
	struct loop *loop;
	struct resolver *resolver;
	struct watch supervisor, keeper;
	struct list asked, answers;
	size_t count;
	uint8_t in[IPC_MAX + 16];
};

/* --- answers --- */

static int say(int fd, uint64_t id, const struct dial_result *r) {
	struct buf b;
	int rc;

	buf_init(&b, 4096);
	w_u32(&b, (uint32_t)r->code);
	w_vstr(&b, str_of(r->code < 0 ? r->text : ""));
	w_vstr(&b, str_of(r->code < 0 ? "" : r->peer));
	rc = ipc_send(fd, IPC_CONNECTED, id, buf_peek(&b), &r->fd, r->code < 0 ? 0 : 1);
	buf_fini(&b);
	return rc;
}

static void drop(struct asked *a) {
	if (a->dial != NULL)
		dial_cancel(a->dial);
	if (a->result.fd >= 0)
		(void)close(a->result.fd);
	list_drop(&a->link);
	a->eg->count--;
	free(a);
}

static void flush_answers(struct egress *eg) {
	bool is_full = false;

	list_each_safe (it, tmp, &eg->answers) {
		struct asked *a = container_of(it, struct asked, link);
		is_full = say(eg->keeper.fd, a->id, &a->result) == H_EBUSY;
		if (is_full)
			break;
		drop(a);
	}
	loop_want(eg->loop, &eg->keeper, is_full ? LOOP_IN | LOOP_OUT : LOOP_IN);
}

static void on_dialed(void *arg, struct dial_result *result) {
	struct asked *a = arg;

	a->dial = NULL;
	a->result = *result;
	if (result->code < 0)
		log_warn("egress.connect.failed", kv_z("reason", result->text),
		         kv_err(result->code));
	else
		log_debug("egress.connected", kv_z("peer", result->peer));
	list_drop(&a->link);
	list_push(&a->eg->answers, &a->link);
	flush_answers(a->eg);
}

/* --- questions --- */

static void refuse(struct egress *eg, uint64_t id, int code, const char *text) {
	struct dial_result r = { .code = code, .fd = -1 };

	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	(void)!say(eg->keeper.fd, id, &r);
}

static void on_connect(struct egress *eg, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct str address = rd_vstr(&r);
	uint32_t timeout_ms = rd_u32(&r);

	if (rd_done(&r) < 0) {
		log_warn("ipc.message.refused", kv_z("message", ipc_type_name(m->type)));
		return;
	}
	if (eg->count >= ASKED_MAX) {
		refuse(eg, m->id, H_ELIMIT, "too many connections are being made");
		return;
	}
	struct asked *a = xcalloc(1, sizeof(*a));
	a->eg = eg;
	a->id = m->id;
	a->result.fd = -1;
	a->dial = dial_new(eg->loop, eg->resolver, on_dialed, a);
	list_push(&eg->asked, &a->link);
	eg->count++;
	dial_start(a->dial, address, timeout_ms);
}

static void drop_all(struct list *l) {
	list_each_safe (it, tmp, l)
		drop(container_of(it, struct asked, link));
}

static void on_supervisor_message(struct egress *eg, const struct ipc_msg *m) {
	if (m->type == IPC_SUP_DRAIN) {
		/* Nothing of ours has to be finished: who asked drained before us. */
		(void)!ipc_send(eg->supervisor.fd, IPC_SUP_DRAINED, 0, STR_NONE, NULL, 0);
	} else if (m->type == IPC_SUP_PEER && m->body.n == 2 &&
	           (uint8_t)m->body.p[0] == ROLE_KEEPER && m->body.p[1] == 0) {
		drop_all(&eg->asked);
		drop_all(&eg->answers);
	}
}

static void read_all(struct egress *eg, struct watch *w, enum role from) {
	struct ipc_msg m;
	int rc;

	while ((rc = ipc_recv(w->fd, eg->in, &m)) != 0) {
		if (rc == H_ECLOSED || rc == H_EIO) {
			/* The supervisor is gone, or hangs up on us: so do we go. */
			loop_stop(eg->loop);
			return;
		}
		if (rc == 1 && ipc_fits(&m, from, ROLE_EGRESS)) {
			if (from == ROLE_KEEPER)
				on_connect(eg, &m);
			else
				on_supervisor_message(eg, &m);
		} else {
			log_warn("ipc.message.refused", kv_z("from", role_name(from)));
		}
		if (rc == 1)
			ipc_msg_close(&m);
	}
}

static void on_supervisor(struct watch *w, unsigned events unused_arg) {
	read_all(container_of(w, struct egress, supervisor), w, ROLE_SUPERVISOR);
}

static void on_keeper(struct watch *w, unsigned events) {
	struct egress *eg = container_of(w, struct egress, keeper);

	if ((events & LOOP_OUT) != 0)
		flush_answers(eg);
	read_all(eg, w, ROLE_KEEPER);
}

static int confine_self(void) {
	const struct confine_paths paths = confine_paths_of(ROLE_EGRESS, STR_NONE, STR_NONE);
	const char *note = NULL;
	struct addrinfo *list = NULL;

	/* Loads what the C library loads at its first look-up, while it still may. */
	if (getaddrinfo("localhost", "1", NULL, &list) == 0)
		freeaddrinfo(list);
	int rc = confine(ROLE_EGRESS, &paths, &note);
	if (rc < 0)
		log_error("egress.confine.failed", kv_err(rc));
	else if (note != NULL)
		log_warn("egress.confine.incomplete", kv_z("reason", note));
	return rc;
}

int egress_main(struct start *s) {
	struct egress *eg = xcalloc(1, sizeof(*eg));

	list_init(&eg->asked);
	list_init(&eg->answers);
	if (confine_self() < 0)
		return 1;
	eg->loop = loop_new();
	eg->resolver = resolver_new(eg->loop);
	eg->supervisor = (struct watch){ .fd = s->supervisor, .fn = on_supervisor };
	eg->keeper = (struct watch){ .fd = s->peer[ROLE_KEEPER], .fn = on_keeper };
	if (loop_add(eg->loop, &eg->supervisor, LOOP_IN) < 0 ||
	    loop_add(eg->loop, &eg->keeper, LOOP_IN) < 0 ||
	    ipc_send(s->supervisor, IPC_SUP_READY, 0, STR_NONE, NULL, 0) < 0)
		return 1;
	return loop_run(eg->loop) < 0 ? 1 : 0;
}
