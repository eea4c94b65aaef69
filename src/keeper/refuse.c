/*
 * refuse.c: buckets of refusals and counters of wrong proofs (refuse.h).
 *
 * Both maps are bounded. A full map of sources is emptied: whoever can come from 16,384 networks in
 * a minute is not stopped by a counter per network, and tokens have 200 random bits anyway.
 */
#include "keeper/refuse.h"

#include <arpa/inet.h>

#include "base/mem.h"

struct bucket {
	struct list link; /* oldest told first */
	struct refusal r;
	uint64_t told_count, told_ns, last_ns;
};

struct source {
	uint64_t minute;
	uint32_t count;
};

struct refusals {
	struct map *buckets; /* "reason source" → bucket */
	struct list order;   /* by last refusal, oldest first */
	struct map *sources; /* source → struct source */
	refusal_fn *tell;
	void *arg;
};

struct refusals *refusals_new(refusal_fn *tell, void *arg) {
	struct refusals *r = xcalloc(1, sizeof(*r));

	r->buckets = map_new(REFUSE_BUCKETS_MAX + 1);
	r->sources = map_new(REFUSE_SOURCES_MAX + 1);
	list_init(&r->order);
	r->tell = tell;
	r->arg = arg;
	return r;
}

static void free_value(void *arg, struct str key, void *value) {
	(void)arg;
	(void)key;
	free(value);
}

static void sources_clear(struct refusals *r) {
	map_each(r->sources, free_value, NULL);
	map_free(&r->sources);
}

void refusals_free(struct refusals **r) {
	if (*r == NULL)
		return;
	map_each((*r)->buckets, free_value, NULL);
	map_free(&(*r)->buckets);
	sources_clear(*r);
	free(*r);
	*r = NULL;
}

void refuse_source(char out[REFUSE_SOURCE_SIZE], struct str client_address) {
	char text[INET6_ADDRSTRLEN];
	uint8_t bin[16];
	bool is_v6 = client_address.n != 0 && client_address.p[0] == '[';
	struct str host = is_v6 ? str_from(client_address, 1) : client_address;

	host = str_head(host, str_find(host, is_v6 ? ']' : ':'));
	host = str_head(host, str_find(host, '%'));
	if (str_is(client_address, "unix")) {
		(void)snprintf(out, REFUSE_SOURCE_SIZE, "unix");
		return;
	}
	if (str_copy(text, sizeof(text), host)) {
		if (!is_v6 && inet_pton(AF_INET, text, bin) == 1) {
			(void)snprintf(out, REFUSE_SOURCE_SIZE, "%u.%u.%u.0/24", bin[0], bin[1],
			               bin[2]);
			return;
		}
		if (is_v6 && inet_pton(AF_INET6, text, bin) == 1) {
			memset(bin + 8, 0, 8);
			if (inet_ntop(AF_INET6, bin, text, sizeof(text)) != NULL) {
				(void)snprintf(out, REFUSE_SOURCE_SIZE, "%s/64", text);
				return;
			}
		}
	}
	(void)snprintf(out, REFUSE_SOURCE_SIZE, "unknown");
}

static void tell(struct refusals *r, struct bucket *b, uint64_t now_ns) {
	r->tell(r->arg, &b->r);
	b->told_count = b->r.count;
	b->told_ns = now_ns;
}

static void bucket_key(char out[96], const struct refusal *what) {
	(void)snprintf(out, 96, "%u %s", (unsigned)what->reason, what->source);
}

static void bucket_drop(struct refusals *r, struct bucket *b) {
	char key[96];

	bucket_key(key, &b->r);
	if (b->r.count > b->told_count)
		tell(r, b, b->last_ns);
	(void)map_del(r->buckets, str_of(key));
	list_drop(&b->link);
	free(b);
}

static struct bucket *bucket_of(struct refusals *r, const struct refusal *what, uint64_t now_ns) {
	char key[96];
	uint8_t sid[SID_SIZE];
	void *old = NULL;

	bucket_key(key, what);
	struct bucket *b = map_get(r->buckets, str_of(key));

	if (b != NULL)
		return b;
	if (map_count(r->buckets) == REFUSE_BUCKETS_MAX)
		bucket_drop(r, list_first(&r->order, struct bucket, link));
	b = xcalloc(1, sizeof(*b));
	random_bytes(sid, sizeof(sid));
	b->r = *what;
	b->r.count = 0;
	b->r.first_wall_ns = what->last_wall_ns;
	short_id(b->r.ref, sid);
	list_init(&b->link);
	b->last_ns = now_ns;
	int rc = map_put(r->buckets, str_of(key), b, &old);

	assert(rc == 0 && old == NULL);
	return b;
}

void refusals_add(struct refusals *r, const struct refusal *what, uint64_t now_ns,
                  char ref[SHORT_ID_SIZE]) {
	struct bucket *b = bucket_of(r, what, now_ns);

	b->r.count++;
	b->r.last_wall_ns = what->last_wall_ns;
	memcpy(b->r.detail, what->detail, sizeof(b->r.detail));
	b->last_ns = now_ns;
	list_drop(&b->link);
	list_push(&r->order, &b->link);
	memcpy(ref, b->r.ref, SHORT_ID_SIZE);
	if (b->told_count == 0 || now_ns >= b->told_ns + REFUSE_BEAT_NS)
		tell(r, b, now_ns);
}

uint64_t refusals_beat(struct refusals *r, uint64_t now_ns) {
	uint64_t next = 0;

	list_each_safe (it, tmp, &r->order) {
		struct bucket *b = container_of(it, struct bucket, link);

		if (now_ns >= b->last_ns + REFUSE_QUIET_NS) {
			bucket_drop(r, b);
			continue;
		}
		if (b->r.count > b->told_count && now_ns >= b->told_ns + REFUSE_BEAT_NS)
			tell(r, b, now_ns);
		uint64_t due = b->r.count > b->told_count ? b->told_ns + REFUSE_BEAT_NS
		                                          : b->last_ns + REFUSE_QUIET_NS;

		next = next == 0 ? due : MIN(next, due);
	}
	return next;
}

void refusals_flush(struct refusals *r) {
	list_each (it, &r->order) {
		struct bucket *b = container_of(it, struct bucket, link);

		if (b->r.count > b->told_count)
			tell(r, b, b->last_ns);
	}
}

bool refusals_limited(struct refusals *r, const char *source, uint32_t limit, uint64_t now_ns) {
	const struct source *s = map_get(r->sources, str_of(source));

	return s != NULL && s->minute == now_ns / (60 * NS_PER_S) && s->count >= limit;
}

void refusals_wrong_proof(struct refusals *r, const char *source, uint64_t now_ns) {
	uint64_t minute = now_ns / (60 * NS_PER_S);
	struct source *s = map_get(r->sources, str_of(source));
	void *old = NULL;

	if (s == NULL) {
		if (map_count(r->sources) == REFUSE_SOURCES_MAX) {
			sources_clear(r);
			r->sources = map_new(REFUSE_SOURCES_MAX + 1);
		}
		s = xcalloc(1, sizeof(*s));
		int rc = map_put(r->sources, str_of(source), s, &old);

		assert(rc == 0 && old == NULL);
	}
	if (s->minute != minute) {
		s->minute = minute;
		s->count = 0;
	}
	s->count++;
}
