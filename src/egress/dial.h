/*
 * dial.h: one connection to a target: name, addresses in turn, socket options. Event-driven.
 */
#ifndef EGRESS_DIAL_H
#define EGRESS_DIAL_H

#include <sys/socket.h>

#include "egress/resolve.h"

#define DIAL_TIMEOUT_MAX_MS 120000u

struct dial_result {
	int code;       /* 0 or H_ECONNECT, H_ETIMEOUT, H_EPERM, H_ELIMIT, H_EFORMAT */
	char text[320]; /* a sentence when code < 0 */
	char peer[128]; /* "192.0.2.7:5432", "unix:/path" when 0 */
	int fd;         /* the callee's, non-blocking; -1 when code < 0 */
};
typedef void dial_fn(void *arg, struct dial_result *result);

struct dial;
/* fn is called once, on the loop, never from within; then the dial is gone. */
struct dial *dial_new(struct loop *l, struct resolver *r, dial_fn *fn, void *arg) must_use;
void dial_start(struct dial *d, struct str address, uint32_t timeout_ms);
/* Forgets it; fn is not called. */
void dial_cancel(struct dial *d);

/* False for a cloud's metadata service, unless the configured host is that very address: a name
 * that an attacker can point anywhere must not lead to the machine's credentials. */
bool dial_may_connect(struct str configured_host, const struct sockaddr *addr);

#endif
