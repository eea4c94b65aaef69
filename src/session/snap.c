/* snap.c: see snap.h. */
#include "session/snap.h"

void snap_box_init(struct snap_box *b) {
	b->current = NULL;
	(void)pthread_mutex_init(&b->lock, NULL);
}

void snap_box_fini(struct snap_box *b) {
	snap_release(&b->current);
	(void)pthread_mutex_destroy(&b->lock);
}

void snap_release(struct snap **sp) {
	struct snap *s = *sp;

	*sp = NULL;
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (size_t i = 0; s->listener_tls != NULL && i < s->s.listener_count; i++)
		tls_ctx_free(&s->listener_tls[i]);
	for (size_t i = 0; s->target_tls != NULL && i < s->s.target_count; i++)
		tls_ctx_free(&s->target_tls[i]);
	free(s->listener_tls);
	free(s->target_tls);
	snapshot_free(&s->s);
	free(s);
}

static int make_listeners(struct snap *s, struct err *e) {
	for (size_t i = 0; i < s->s.listener_count; i++) {
		const struct snapshot_listener *l = &s->s.listeners[i];

		if (!l->has_tls)
			continue;
		s->listener_tls[i] = tls_ctx_server(l->cert_pem, l->key_pem, e);
		if (s->listener_tls[i] == NULL)
			return H_ECONFIG;
	}
	return 0;
}

/* A thousand connections with one CA need one context: it is the last one made, more often than not. */
static struct tls_ctx *find_equal(struct snap *s, size_t before) {
	const struct snapshot_target *t = &s->s.targets[before];

	for (size_t i = before; i-- > 0;) {
		const struct snapshot_target *o = &s->s.targets[i];

		if (s->target_tls[i] != NULL && o->tls == t->tls && str_eq(o->ca_pem, t->ca_pem))
			return s->target_tls[i];
	}
	return NULL;
}

static int make_targets(struct snap *s, struct err *e) {
	for (size_t i = 0; i < s->s.target_count; i++) {
		const struct snapshot_target *t = &s->s.targets[i];

		if (t->tls == 0)
			continue;
		struct tls_ctx *equal = find_equal(s, i);

		s->target_tls[i] = equal != NULL
		                           ? tls_ctx_ref(equal)
		                           : tls_ctx_client((enum tls_verify)t->tls, t->ca_pem, e);
		if (s->target_tls[i] == NULL)
			return H_ECONFIG;
	}
	return 0;
}

int snap_put(struct snap_box *b, struct snapshot *from, struct err *e) {
	struct snap *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->s = *from;
	*from = (struct snapshot){ 0 };
	s->listener_tls = xcalloc(MAX(s->s.listener_count, (size_t)1), sizeof(struct tls_ctx *));
	s->target_tls = xcalloc(MAX(s->s.target_count, (size_t)1), sizeof(struct tls_ctx *));
	int rc = make_listeners(s, e);

	if (rc == 0)
		rc = make_targets(s, e);
	if (rc == 0) {
		struct snap *old;

		(void)pthread_mutex_lock(&b->lock);
		old = b->current;
		b->current = s;
		(void)pthread_mutex_unlock(&b->lock);
		s = old;
	}
	snap_release(&s);
	return rc;
}

struct snap *snap_get(struct snap_box *b) {
	(void)pthread_mutex_lock(&b->lock);
	struct snap *s = b->current;

	if (s != NULL)
		(void)atomic_fetch_add(&s->refs, 1);
	(void)pthread_mutex_unlock(&b->lock);
	return s;
}

bool snap_connection(struct snap_box *b, struct str protocol, struct str name,
                     struct connection_facts *ret) {
	struct snap *s = snap_get(b);

	if (s == NULL)
		return false;
	const struct snapshot_target *t = snapshot_target_find(&s->s, name);
	bool is_there = t != NULL && str_eq(t->protocol, protocol);

	if (is_there)
		*ret = (struct connection_facts){ .name = name,
			                          .proof = (enum proof_method)t->proof };
	snap_release(&s);
	return is_there;
}

/* Names compare without case, and a full stop at the end means the same name (RFC 1034). */
struct str snap_label(struct snap_box *b, struct str server_name) {
	struct snap *s = snap_get(b);
	struct str rest = server_name;
	struct str label = str_cut(&rest, '.');

	if (s == NULL)
		return STR_NONE;
	if (rest.n != 0 && rest.p[rest.n - 1] == '.')
		rest.n--;
	bool is_ours = s->s.domain.n != 0 && str_eq_nocase(rest, s->s.domain);

	snap_release(&s);
	return is_ours ? label : STR_NONE;
}

struct tls_ctx *snap_target_tls(struct snap_box *b, struct str connection) {
	struct snap *s = snap_get(b);
	struct tls_ctx *c = NULL;

	if (s == NULL)
		return NULL;
	const struct snapshot_target *t = snapshot_target_find(&s->s, connection);

	if (t != NULL && s->target_tls[t - s->s.targets] != NULL)
		c = tls_ctx_ref(s->target_tls[t - s->s.targets]);
	snap_release(&s);
	return c;
}
