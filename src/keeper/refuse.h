/*
 * refuse.h: refusals, aggregated so that they can fill no disk, and the limit on wrong proofs.
 *
 * A bucket is (source network, reason); its reference is what clients are shown. The first refusal
 * of a bucket becomes an act at once, further ones are counted and told at most every ten seconds. A
 * bucket that was quiet for an hour is forgotten here; state.db still answers for its reference.
 * At most REFUSE_BUCKETS_MAX buckets: beyond it the longest quiet one makes room, told first.
 *
 * Pure of I/O: acts and rows leave through a function.
 */
#ifndef KEEPER_REFUSE_H
#define KEEPER_REFUSE_H

#include "base/crypto.h"
#include "keeper/decide.h"

#define REFUSE_BUCKETS_MAX 4096
#define REFUSE_SOURCES_MAX 16384
#define REFUSE_SOURCE_SIZE 56
#define REFUSE_DETAIL_SIZE 384
#define REFUSE_BEAT_NS (10 * NS_PER_S)
#define REFUSE_QUIET_NS (3600 * NS_PER_S)

struct refusals;

/* What is told about a bucket: `count` refusals since the bucket began, from first to last. */
struct refusal {
	char ref[SHORT_ID_SIZE];
	enum refuse_reason reason;
	char source[REFUSE_SOURCE_SIZE]; /* "203.0.113.0/24" */
	char detail
		[REFUSE_DETAIL_SIZE]; /* the newest: "connection shop, role ro, subject local:ci" */
	uint64_t count, first_wall_ns, last_wall_ns;
};
typedef void refusal_fn(void *arg, const struct refusal *r);

struct refusals *refusals_new(refusal_fn *tell, void *arg) must_use;
void refusals_free(struct refusals **r);

/* The network of a client address: /24 of IPv4, /64 of IPv6, "unix", "unknown". */
void refuse_source(char out[REFUSE_SOURCE_SIZE], struct str client_address);

/* Counts one refusal; writes the reference. May call tell. */
void refusals_add(struct refusals *r, const struct refusal *what, uint64_t now_ns,
                  char ref[SHORT_ID_SIZE]);
/* Tells what is due; returns when it wants to be called again (monotonic ns), 0 = not at all. */
uint64_t refusals_beat(struct refusals *r, uint64_t now_ns);
/* Tells everything that is pending, now. */
void refusals_flush(struct refusals *r);

/* The limit on wrong proofs: has this source had `limit` of them in the running minute? */
bool refusals_limited(struct refusals *r, const char *source, uint32_t limit, uint64_t now_ns);
void refusals_wrong_proof(struct refusals *r, const char *source, uint64_t now_ns);

#endif
