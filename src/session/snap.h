/*
 * snap.h: a configuration as the worker uses it: the snapshot with its TLS contexts.
 *
 * One box per worker holds the newest; threads take a counted reference for the moment in which
 * they need it. Connections hold their TLS context by themselves, so an old snapshot goes when the
 * last user of the moment lets go, not when the last session ends.
 */
#ifndef SESSION_SNAP_H
#define SESSION_SNAP_H

#include <pthread.h>
#include <stdatomic.h>

#include "config/snapshot.h"
#include "net/tls.h"
#include "session/proto.h"

struct snap {
	_Atomic unsigned refs;
	struct snapshot s;
	struct tls_ctx **listener_tls; /* NULL entries: without TLS */
	struct tls_ctx **target_tls;   /* NULL entries: without TLS; equal ones are shared */
};

struct snap_box {
	pthread_mutex_t lock;
	struct snap *current; /* NULL until the first came */
};

void snap_box_init(struct snap_box *b);
void snap_box_fini(struct snap_box *b);
/* Takes what *from owns and makes the TLS contexts; 0, or H_ECONFIG with the reason: the box is unchanged then,
 * and *from is freed. */
int snap_put(struct snap_box *b, struct snapshot *from, struct err *e) must_use;
/* A reference to the newest, or NULL. */
struct snap *snap_get(struct snap_box *b);
void snap_release(struct snap **s);
/* proto.h, struct order_sink: what the newest says of a connection; false when it has none. */
bool snap_connection(struct snap_box *b, struct str protocol, struct str name,
                     struct connection_facts *ret);
/* The first label of a server name under spec.listen.domain (a slice of it), else empty. */
struct str snap_label(struct snap_box *b, struct str server_name);
/* A reference to the context for a target, or NULL. */
struct tls_ctx *snap_target_tls(struct snap_box *b, struct str connection);

#endif
