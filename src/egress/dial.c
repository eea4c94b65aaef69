/*
 * dial.c: see dial.h.
 *
 * Addresses are tried in the resolver's order, one at a time; each gets its share of the time that
 * is left, at least a second, so one dead address does not use up what the next would need. A last
 * error is kept for the text. The next address, and the end, come in the next turn of the loop by way of a timer
 * that is due at once: nothing calls back from within dial_start(), and a list of a hundred dead
 * addresses is no recursion.
 */
#include "egress/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "config/config.h"
#include "net/addr.h"

#define ATTEMPT_MIN_NS NS_PER_S
#define USER_TIMEOUT_MS 30000 /* unacknowledged bytes for this long: the target is gone */

struct dial {
	struct loop *loop;
	struct resolver *resolver;
	dial_fn *fn;
	void *arg;
	char *address; /* owned; addr borrows */
	struct config_address addr;
	uint64_t deadline_ns;
	uint32_t timeout_ms;
	struct timer limit;   /* of the whole */
	struct timer attempt; /* of one address; also: what comes in the next turn */
	struct resolve_job *job;
	struct addrinfo *list, *at;
	struct watch w;
	struct dial_result result;
	bool is_over;    /* next turn: tell */
	bool wants_next; /* next turn: the next address */
};

static void release(struct dial *d) {
	timer_stop(d->loop, &d->limit);
	timer_stop(d->loop, &d->attempt);
	if (d->job != NULL)
		resolve_abandon(d->job);
	loop_del(d->loop, &d->w);
	if (d->w.fd >= 0)
		(void)close(d->w.fd);
	if (d->list != NULL)
		freeaddrinfo(d->list);
	free(d->address);
	free(d);
}

static void finish(struct dial *d) {
	struct dial_result result = d->result;
	dial_fn *fn = d->fn;
	void *arg = d->arg;

	release(d);
	fn(arg, &result);
}

/* The end, in the next turn of the loop. */
static void end(struct dial *d, int code) {
	d->result.code = code;
	d->is_over = true;
	timer_stop(d->loop, &d->limit);
	timer_set(d->loop, &d->attempt, loop_now(d->loop));
}

static void fail(struct dial *d, int code, const char *why) {
	(void)snprintf(d->result.text, sizeof(d->result.text), "cannot connect to %.200s: %s",
	               d->address, why);
	end(d, code);
}

/* --- metadata services --- */

static bool is_metadata4(struct in_addr a) {
	return a.s_addr == htonl(0xa9fea9fe); /* 169.254.169.254 */
}

static bool is_metadata6(const struct in6_addr *a) {
	static const char *const known[] = { "fd00:ec2::254", "fd20:ce::254" };
	struct in6_addr other;
	struct in_addr v4;

	if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a)) {
		memcpy(&v4, a->s6_addr + 12, sizeof(v4));
		return is_metadata4(v4);
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (inet_pton(AF_INET6, known[i], &other) == 1 &&
		    memcmp(&other, a, sizeof(other)) == 0)
			return true;
	}
	return false;
}

bool dial_may_connect(struct str configured_host, const struct sockaddr *addr) {
	char text[INET6_ADDRSTRLEN] = "";

	if (addr->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, addr, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		return !is_metadata4(in.sin_addr) || str_is(configured_host, text);
	}
	if (addr->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, addr, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
		return !is_metadata6(&in6.sin6_addr) || str_is(configured_host, text);
	}
	return true;
}

/* --- one address --- */

static void connected(struct dial *d) {
	static const int user_timeout = USER_TIMEOUT_MS;
	struct sockaddr_storage peer = { 0 };
	socklen_t n = sizeof(peer);

	net_tune(d->w.fd);
	(void)setsockopt(d->w.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout,
	                 sizeof(user_timeout));
	if (d->addr.kind == ADDRESS_UNIX)
		(void)snprintf(d->result.peer, sizeof(d->result.peer), "%.127s", d->address);
	else if (getpeername(d->w.fd, (struct sockaddr *)&peer, &n) == 0)
		addr_text(d->result.peer, &peer);
	loop_del(d->loop, &d->w);
	d->result.fd = take_fd(&d->w.fd);
	end(d, 0);
}

static void attempt_failed(struct dial *d, int error) {
	loop_del(d->loop, &d->w);
	if (d->w.fd >= 0)
		(void)close(d->w.fd);
	d->w.fd = -1;
	if (d->at != NULL && d->at->ai_next != NULL) {
		d->at = d->at->ai_next;
		d->wants_next = true;
		timer_set(d->loop, &d->attempt, loop_now(d->loop));
		return;
	}
	fail(d, error == ETIMEDOUT ? H_ETIMEOUT : H_ECONNECT, strerror(error));
}

static void on_ready(struct watch *w, unsigned events unused_arg) {
	struct dial *d = container_of(w, struct dial, w);
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	timer_stop(d->loop, &d->attempt);
	if (error == 0)
		connected(d);
	else
		attempt_failed(d, error);
}

static void connect_to(struct dial *d, const struct sockaddr *addr, socklen_t n) {
	int rc;

	d->w.fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->w.fd < 0) {
		attempt_failed(d, errno);
		return;
	}
	rc = connect(d->w.fd, addr, n);
	if (rc == 0) {
		connected(d);
		return;
	}
	/* EAGAIN: a Unix socket whose backlog is full; unlike TCP it does not connect later. */
	if (errno != EINPROGRESS) {
		attempt_failed(d, errno);
		return;
	}
	if (loop_add(d->loop, &d->w, LOOP_OUT) < 0)
		attempt_failed(d, ENOMEM);
}

static size_t addresses_left(const struct dial *d) {
	size_t n = 0;

	for (const struct addrinfo *a = d->at; a != NULL; a = a->ai_next)
		n++;
	return n;
}

static void try_next(struct dial *d) {
	uint64_t now = loop_now(d->loop);
	uint64_t left = d->deadline_ns > now ? d->deadline_ns - now : 0;
	uint64_t share = left / MAX(addresses_left(d), (size_t)1);

	if (!dial_may_connect(d->addr.host, d->at->ai_addr)) {
		fail(d, H_EPERM,
		     "the name leads to a metadata service, which is refused unless "
		     "its address itself is configured");
		return;
	}
	timer_set(d->loop, &d->attempt, now + MAX(share, ATTEMPT_MIN_NS));
	connect_to(d, d->at->ai_addr, d->at->ai_addrlen);
}

/* --- from the address's text on --- */

static void on_resolved(void *owner, int gai, struct addrinfo *list) {
	struct dial *d = owner;

	d->job = NULL;
	d->list = list;
	d->at = list;
	if (d->is_over)
		return;
	if (gai != 0)
		fail(d, H_ECONNECT, gai_strerror(gai));
	else
		try_next(d);
}

static void on_attempt(struct timer *t) {
	struct dial *d = container_of(t, struct dial, attempt);

	if (d->is_over) {
		finish(d);
	} else if (d->wants_next) {
		d->wants_next = false;
		try_next(d);
	} else {
		attempt_failed(d, ETIMEDOUT);
	}
}

static void on_limit(struct timer *t) {
	struct dial *d = container_of(t, struct dial, limit);
	char why[64];

	(void)snprintf(why, sizeof(why), "%s after %u ms",
	               d->list == NULL && d->addr.kind == ADDRESS_TCP ? "the name did not resolve"
	                                                              : "no answer",
	               d->timeout_ms);
	fail(d, H_ETIMEOUT, why);
}

static void start_unix(struct dial *d) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (str_copy(un.sun_path, sizeof(un.sun_path), d->addr.path))
		connect_to(d, (const struct sockaddr *)&un, sizeof(un));
	else
		fail(d, H_EFORMAT, "the path is too long");
}

static void start_tcp(struct dial *d) {
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		                        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	auto_free char *host = str_dup(d->addr.host);
	char port[8];

	(void)snprintf(port, sizeof(port), "%u", d->addr.port);
	/* Numbers need no thread and no name server. */
	if (getaddrinfo(host, port, &hints, &d->list) == 0) {
		d->at = d->list;
		try_next(d);
		return;
	}
	d->list = NULL;
	d->job = resolve_start(d->resolver, d->addr.host, d->addr.port, on_resolved, d);
	if (d->job == NULL)
		fail(d, H_ELIMIT, "too many names are being resolved");
}

struct dial *dial_new(struct loop *l, struct resolver *r, dial_fn *fn, void *arg) {
	struct dial *d = xcalloc(1, sizeof(*d));

	d->loop = l;
	d->resolver = r;
	d->fn = fn;
	d->arg = arg;
	d->limit.fn = on_limit;
	d->attempt.fn = on_attempt;
	d->w = (struct watch){ .fd = -1, .fn = on_ready };
	d->result.fd = -1;
	return d;
}

void dial_start(struct dial *d, struct str address, uint32_t timeout_ms) {
	const char *why = NULL;

	d->address = str_dup(address);
	d->timeout_ms = MIN(MAX(timeout_ms, 1u), DIAL_TIMEOUT_MAX_MS);
	d->deadline_ns = loop_now(d->loop) + d->timeout_ms * NS_PER_MS;
	if (config_address_parse(&d->addr, str_of(d->address), &why) < 0) {
		fail(d, H_EFORMAT, why);
		return;
	}
	timer_set(d->loop, &d->limit, d->deadline_ns);
	if (d->addr.kind == ADDRESS_UNIX)
		start_unix(d);
	else
		start_tcp(d);
}

void dial_cancel(struct dial *d) {
	if (d->result.fd >= 0)
		(void)close(d->result.fd);
	release(d);
}
