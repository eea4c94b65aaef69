/*
 * mem.h: arenas, intrusive lists, hash maps, secrets.
 *
 * Arena: bump allocation with a cap, freed whole; for one lifetime (snapshot, session, turn).
 * List: circular, intrusive, a head is a link. Map: open addressing over byte-string keys that it
 * copies; values are the caller's. Secret: bytes that are wiped when freed and never printed.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/str.h"

struct arena;
struct arena *arena_new(size_t max) must_use;
void arena_free(struct arena **a);
/* 16-byte aligned, zeroed; NULL when max would be exceeded. */
void *arena_alloc(struct arena *a, size_t n) must_use;
/* NUL-terminated copy inside the arena; STR_NONE when it does not fit. */
struct str arena_str(struct arena *a, struct str s);
void arena_reset(struct arena *a);

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l) {
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l) {
	return l->next == l;
}
static inline void list_push(struct list *head, struct list *item) {
	item->prev = head->prev;
	item->next = head;
	head->prev->next = item;
	head->prev = item;
}
/* Safe on an item that is in no list (its links point to itself). */
static inline void list_drop(struct list *item) {
	item->prev->next = item->next;
	item->next->prev = item->prev;
	item->next = item->prev = item;
}
#define list_first(head, type, member) container_of((head)->next, type, member)
#define list_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_each_safe(it, tmp, head) \
	for (struct list *it = (head)->next, *tmp = it->next; it != (head); \
	     it = tmp, tmp = it->next)

struct map;
struct map *map_new(size_t count_max) must_use;
/* SipHash under the process's random key: what is chosen by others cannot be made to collide. */
uint64_t map_hash(struct str s);
void map_free(struct map **m); /* keys are freed, values are the caller's business */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, struct str key);
/* Stores value (not NULL) under a copy of key; *ret_old receives what was there, or NULL.
 * H_ELIMIT when the map is full. */
int map_put(struct map *m, struct str key, void *value, void **ret_old) must_use;
/* Removes and returns the value, NULL when there is none. */
void *map_del(struct map *m, struct str key);
/* Calls fn for each entry in no order; fn must not change the map. */
void map_each(const struct map *m, void (*fn)(void *arg, struct str key, void *value), void *arg);
static inline struct str map_key_u64(const uint64_t *k) {
	return str_mem(k, sizeof(*k));
}

struct secret {
	uint8_t *p;
	size_t n;
};
/* Copies; the caller wipes its source. The memory is locked and kept out of core dumps if it can. */
struct secret secret_of(struct str s);
void secret_free(struct secret *s);
void wipe(void *p, size_t n);
bool mem_eq_ct(const void *a, const void *b, size_t n); /* constant time */

#endif
