/*
 * mem.c: arenas, hash maps, secrets.
 *
 * Arena: a list of zeroed chunks, newest first, each twice as large as the one before until 64 KiB.
 * The cap counts what callers asked for (rounded to 16), so that it is a property of the data and
 * not of chunk sizes.
 *
 * Map: open addressing with linear probing and deletion by shifting back, so there are no
 * tombstones and a map that breathes for a week stays as fast as a fresh one. Keys may come from
 * foreign hands, so the hash is SipHash-1-3 under a key drawn once per process. Keys up to 16 bytes
 * (session ids, numbers) sit in the slot; longer ones are copied.
 *
 * Secret: a mapping of its own, locked, kept out of core dumps, wiped and unmapped when freed. It
 * costs a page each, which is why only secrets that live longer than a call are kept this way.
 *
 * Invariants:
 * 1. A slot is empty exactly when its value is NULL.
 * 2. A map is at most three quarters full, so a probe always meets an empty slot.
 */
#include "base/mem.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/crypto.h"
#include "base/err.h"

/* ---- arena ---- */

enum { ALIGN = 16, CHUNK_FIRST = 1024, CHUNK_LARGEST = 64 * 1024 };

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(ALIGN) uint8_t data[];
};

struct arena {
	struct chunk *chunks; /* newest first */
	size_t used, max;
};

struct arena *arena_new(size_t max) {
	struct arena *a = xcalloc(1, sizeof(*a));

	a->max = max;
	return a;
}

static void chunks_free(struct chunk *c) {
	while (c != NULL) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
}

void arena_free(struct arena **a) {
	if (*a == NULL)
		return;
	chunks_free((*a)->chunks);
	free(*a);
	*a = NULL;
}

static void chunk_add(struct arena *a, size_t need) {
	size_t size = CHUNK_FIRST;

	if (a->chunks != NULL)
		size = MIN(a->chunks->size * 2, (size_t)CHUNK_LARGEST);
	size = MAX(size, need);
	struct chunk *c = xcalloc(1, sizeof(*c) + size);

	c->size = size;
	c->next = a->chunks;
	a->chunks = c;
}

void *arena_alloc(struct arena *a, size_t n) {
	if (n > a->max)
		return NULL;
	n = (MAX(n, (size_t)1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (n > a->max || a->used > a->max - n)
		return NULL;
	if (a->chunks == NULL || a->chunks->size - a->chunks->used < n)
		chunk_add(a, n);
	void *p = a->chunks->data + a->chunks->used;

	a->chunks->used += n;
	a->used += n;
	return p;
}

struct str arena_str(struct arena *a, struct str s) {
	char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

	if (p == NULL)
		return STR_NONE;
	if (s.n != 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return str_mem(p, s.n);
}

void arena_reset(struct arena *a) {
	struct chunk *c = a->chunks;

	a->used = 0;
	if (c == NULL)
		return;
	chunks_free(c->next);
	c->next = NULL;
	memset(c->data, 0, c->used);
	c->used = 0;
}

/* ---- map ---- */

enum { KEY_INLINE = 16, SLOTS_FIRST = 8 };

struct slot {
	uint64_t hash;
	void *value; /* NULL: empty */
	size_t key_len;
	union {
		char in[KEY_INLINE];
		char *out;
	} key;
};

struct map {
	struct slot *slots;
	size_t size; /* power of two, 0 before the first put */
	size_t count, count_max;
};

static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void sip_setup(void) {
	random_bytes(sip_key, sizeof(sip_key));
}

static uint64_t rotl(uint64_t x, unsigned bits) {
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4]) {
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein): one round per word, three at the end. */
static uint64_t sip_hash(struct str s) {
	uint64_t v[4] = { sip_key[0] ^ 0x736f6d6570736575U, sip_key[1] ^ 0x646f72616e646f6dU,
		          sip_key[0] ^ 0x6c7967656e657261U, sip_key[1] ^ 0x7465646279746573U };
	uint64_t last = (uint64_t)s.n << 56;
	size_t i = 0;

	for (; s.n - i >= 8; i += 8) {
		uint64_t word;

		memcpy(&word, s.p + i, sizeof(word));
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (unsigned shift = 0; i < s.n; i++, shift += 8)
		last |= (uint64_t)(uint8_t)s.p[i] << shift;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t map_hash(struct str s) {
	(void)pthread_once(&sip_once, sip_setup);
	return sip_hash(s);
}

struct map *map_new(size_t count_max) {
	struct map *m = xcalloc(1, sizeof(*m));

	(void)pthread_once(&sip_once, sip_setup);
	m->count_max = count_max;
	return m;
}

static struct str slot_key(const struct slot *s) {
	return str_mem(s->key_len <= KEY_INLINE ? s->key.in : s->key.out, s->key_len);
}

static void slot_key_free(struct slot *s) {
	if (s->key_len > KEY_INLINE)
		free(s->key.out);
}

void map_free(struct map **m) {
	if (*m == NULL)
		return;
	for (size_t i = 0; i < (*m)->size; i++) {
		if ((*m)->slots[i].value != NULL)
			slot_key_free(&(*m)->slots[i]);
	}
	free((*m)->slots);
	free(*m);
	*m = NULL;
}

size_t map_count(const struct map *m) {
	return m->count;
}

/* The slot of key, or the empty slot where it would go. Needs size != 0. */
static struct slot *probe(const struct map *m, struct str key, uint64_t hash) {
	size_t i = hash & (m->size - 1);

	while (m->slots[i].value != NULL &&
	       (m->slots[i].hash != hash || !str_eq(slot_key(&m->slots[i]), key)))
		i = (i + 1) & (m->size - 1);
	return &m->slots[i];
}

void *map_get(const struct map *m, struct str key) {
	return m->count != 0 ? probe(m, key, sip_hash(key))->value : NULL;
}

static void resize(struct map *m, size_t size) {
	struct slot *old = m->slots;
	size_t old_size = m->size;

	m->slots = xcalloc(size, sizeof(*m->slots));
	m->size = size;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i].value != NULL)
			*probe(m, slot_key(&old[i]), old[i].hash) = old[i];
	}
	free(old);
}

int map_put(struct map *m, struct str key, void *value, void **ret_old) {
	uint64_t hash = sip_hash(key);
	struct slot *s = m->size != 0 ? probe(m, key, hash) : NULL;

	assert(value != NULL);
	if (s == NULL || s->value == NULL) {
		if (m->count >= m->count_max)
			return H_ELIMIT;
		if (s == NULL || (m->count + 1) * 4 > m->size * 3) {
			resize(m, s == NULL ? (size_t)SLOTS_FIRST : m->size * 2);
			s = probe(m, key, hash);
		}
		s->hash = hash;
		s->key_len = key.n;
		if (key.n > KEY_INLINE)
			s->key.out = str_dup(key);
		else if (key.n != 0)
			memcpy(s->key.in, key.p, key.n);
		m->count++;
	}
	if (ret_old != NULL)
		*ret_old = s->value;
	s->value = value;
	return 0;
}

/* Empties slot i and moves later members of the same run back, so that probes still find them. */
static void shift_back(struct map *m, size_t i) {
	size_t mask = m->size - 1;

	for (size_t j = (i + 1) & mask; m->slots[j].value != NULL; j = (j + 1) & mask) {
		size_t home = m->slots[j].hash & mask;

		if (((j - home) & mask) >= ((j - i) & mask)) {
			m->slots[i] = m->slots[j];
			i = j;
		}
	}
	m->slots[i].value = NULL;
}

void *map_del(struct map *m, struct str key) {
	if (m->count == 0)
		return NULL;
	struct slot *s = probe(m, key, sip_hash(key));
	void *value = s->value;

	if (value == NULL)
		return NULL;
	slot_key_free(s);
	shift_back(m, (size_t)(s - m->slots));
	m->count--;
	return value;
}

void map_each(const struct map *m, void (*fn)(void *arg, struct str key, void *value), void *arg) {
	for (size_t i = 0; i < m->size; i++) {
		if (m->slots[i].value != NULL)
			fn(arg, slot_key(&m->slots[i]), m->slots[i].value);
	}
}

/* ---- secrets ---- */

static size_t secret_map_size(size_t n) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) / page * page;
}

struct secret secret_of(struct str s) {
	if (s.n == 0)
		return (struct secret){ .p = NULL };
	size_t size = secret_map_size(s.n);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	/* Both are best effort: RLIMIT_MEMLOCK may be small, and a secret in swap beats no service. */
	(void)mlock(p, size);
	(void)madvise(p, size, MADV_DONTDUMP);
	memcpy(p, s.p, s.n);
	return (struct secret){ .p = p, .n = s.n };
}

void secret_free(struct secret *s) {
	if (s->p == NULL)
		return;
	wipe(s->p, s->n);
	(void)munmap(s->p, secret_map_size(s->n));
	*s = (struct secret){ .p = NULL };
}

void wipe(void *p, size_t n) {
	if (n != 0)
		explicit_bzero(p, n);
}

bool mem_eq_ct(const void *a, const void *b, size_t n) {
	const volatile uint8_t *x = a;
	const volatile uint8_t *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}
