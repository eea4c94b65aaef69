/*
 * egress.c: the process that opens connections, and nothing else (DESIGN §3).
 *
 * It connects and fetches only where the keeper says, hands the connected socket or the answer to the
 * keeper and keeps nothing: no secret, no session, no byte of a conversation. Questions of a keeper that
 * died are dropped; a keeper that does not read makes answers wait, at most one per question.
 */
#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "egress/dial.h"
#include "egress/fetch.h"
#include "ipc/confine.h"
#include "ipc/start.h"
#include "net/tls.h"

enum { ASKED_MAX = 256 };

struct egress;

struct asked { /* one CONNECT or FETCH */
	struct list link;
	struct egress *eg;
	struct dial *dial; /* both NULL: over, the answer waits for the socket */
	struct fetch *fetch;
	uint64_t id;
	uint16_t type; /* of the answer */
	struct buf answer;
	int fd; /* goes with it, or -1 */
};

struct egress {
	struct loop *loop;
	struct resolver *resolver;
	struct fetcher *fetcher;
	struct watch supervisor, keeper;
	struct list asked, answers;
	size_t count;
	struct log_limit refused[ROLE_COUNT]; /* messages, by who sent them */
	uint8_t in[IPC_MAX + 16];
};

/* --- answers --- */

static void drop(struct asked *a) {
	if (a->dial != NULL)
		dial_cancel(a->dial);
	if (a->fetch != NULL)
		fetch_cancel(a->fetch);
	if (a->fd >= 0)
		(void)close(a->fd);
	buf_fini(&a->answer);
	list_drop(&a->link);
	a->eg->count--;
	free(a);
}

static void flush_answers(struct egress *eg) {
	bool is_full = false;

	list_each_safe (it, tmp, &eg->answers) {
		struct asked *a = container_of(it, struct asked, link);
		is_full = ipc_send(eg->keeper.fd, a->type, a->id, buf_peek(&a->answer), &a->fd,
		                   a->fd >= 0) == H_EBUSY;
		if (is_full)
			break;
		drop(a);
	}
	loop_want(eg->loop, &eg->keeper, is_full ? LOOP_IN | LOOP_OUT : LOOP_IN);
}

static void answer(struct asked *a) {
	list_drop(&a->link);
	list_push(&a->eg->answers, &a->link);
	flush_answers(a->eg);
}

static void put_connected(struct buf *b, int code, const char *text, const char *peer) {
	w_u32(b, (uint32_t)code);
	w_vstr(b, str_of(code < 0 ? text : ""));
	w_vstr(b, str_of(code < 0 ? "" : peer));
}

static void on_dialed(void *arg, struct dial_result *result) {
	struct asked *a = arg;

	a->dial = NULL;
	a->fd = result->fd;
	put_connected(&a->answer, result->code, result->text, result->peer);
	if (result->code < 0)
		log_warn("egress.connect.failed", kv_z("reason", result->text),
		         kv_err(result->code));
	else
		log_debug("egress.connected", kv_z("peer", result->peer));
	answer(a);
}

static void put_fetched(struct buf *b, const struct fetch_result *r) {
	w_u32(b, (uint32_t)r->code);
	w_u32(b, r->status);
	w_u32(b, r->max_age);
	w_vstr(b, r->body);
	w_vstr(b, str_of(r->code < 0 ? r->text : ""));
}

static void on_fetched(void *arg, const struct fetch_result *result) {
	struct asked *a = arg;

	a->fetch = NULL;
	put_fetched(&a->answer, result);
	if (result->code < 0)
		log_warn("egress.fetch.failed", kv_z("reason", result->text), kv_err(result->code));
	else
		log_debug("egress.fetched", kv_uint("status", result->status),
		          kv_uint("bytes", result->body.n));
	answer(a);
}

/* --- questions --- */

static void refuse(struct egress *eg, uint16_t type, uint64_t id) {
	static const char text[] = "too many connections are being made";
	struct fetch_result r = { .code = H_ELIMIT };
	struct buf b;

	buf_init(&b, 1024);
	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	if (type == IPC_CONNECTED)
		put_connected(&b, H_ELIMIT, text, "");
	else
		put_fetched(&b, &r);
	(void)!ipc_send(eg->keeper.fd, type, id, buf_peek(&b), NULL, 0);
	buf_fini(&b);
}

/* NULL, and the refusal sent, when too many are under way. */
static struct asked *asked_new(struct egress *eg, uint16_t type, uint64_t id) {
	struct asked *a;

	if (eg->count >= ASKED_MAX) {
		refuse(eg, type, id);
		return NULL;
	}
	a = xcalloc(1, sizeof(*a));
	a->eg = eg;
	a->id = id;
	a->type = type;
	a->fd = -1;
	buf_init(&a->answer, IPC_MAX);
	list_push(&eg->asked, &a->link);
	eg->count++;
	return a;
}

static int on_connect(struct egress *eg, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct str address = rd_vstr(&r);
	uint32_t timeout_ms = rd_u32(&r);
	int rc = rd_done(&r);
	struct asked *a = rc < 0 ? NULL : asked_new(eg, IPC_CONNECTED, m->id);

	if (a != NULL) {
		a->dial = dial_new(eg->loop, eg->resolver, on_dialed, a);
		dial_start(a->dial, address, timeout_ms);
	}
	return rc;
}

static int on_fetch(struct egress *eg, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct fetch_ask ask;

	ask.method = rd_vstr(&r);
	ask.url = rd_vstr(&r);
	ask.ca = rd_vstr(&r);
	ask.headers = rd_vstr(&r);
	ask.body = rd_vstr(&r);
	ask.timeout_ms = rd_u32(&r);
	ask.max_bytes = rd_u32(&r);
	int rc = rd_done(&r);
	struct asked *a = rc < 0 ? NULL : asked_new(eg, IPC_FETCHED, m->id);

	if (a != NULL)
		a->fetch = fetch_start(eg->fetcher, &ask, on_fetched, a);
	return rc;
}

static void say_refused(struct egress *eg, enum role from, const char *type) {
	uint64_t count = log_limit_pass(&eg->refused[from], mono_ns());

	if (count != 0)
		log_warn("ipc.message.refused", kv_z("from", role_name(from)),
		         kv_z("message", type), kv_uint("count", count));
}

static void on_keeper_message(struct egress *eg, const struct ipc_msg *m) {
	int rc = m->type == IPC_CONNECT ? on_connect(eg, m) : on_fetch(eg, m);

	if (rc < 0)
		say_refused(eg, ROLE_KEEPER, ipc_type_name(m->type));
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
				on_keeper_message(eg, &m);
			else
				on_supervisor_message(eg, &m);
		} else {
			say_refused(eg, from, rc == 1 ? ipc_type_name(m.type) : NULL);
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
	const char *missing;

	list_init(&eg->asked);
	list_init(&eg->answers);
	(void)signal(SIGPIPE, SIG_IGN); /* TLS writes by write(2) */
	tls_setup();
	eg->loop = loop_new();
	eg->resolver = resolver_new(eg->loop);
	eg->fetcher = fetcher_new(eg->loop, eg->resolver, &missing);
	if (missing != NULL)
		log_warn("egress.fetch.unavailable", kv_z("reason", missing));
	if (confine_self() < 0)
		return 1;
	eg->supervisor = (struct watch){ .fd = s->supervisor, .fn = on_supervisor };
	eg->keeper = (struct watch){ .fd = s->peer[ROLE_KEEPER], .fn = on_keeper };
	if (loop_add(eg->loop, &eg->supervisor, LOOP_IN) < 0 ||
	    loop_add(eg->loop, &eg->keeper, LOOP_IN) < 0 ||
	    ipc_send(s->supervisor, IPC_SUP_READY, 0, STR_NONE, NULL, 0) < 0)
		return 1;
	return loop_run(eg->loop) < 0 ? 1 : 0;
}
