/*
 * session_world.h: a worker thread among peers, keeper and recorder that a test plays.
 */
#ifndef SESSION_SESSION_WORLD_H
#define SESSION_SESSION_WORLD_H

#include "net/testcert.h"
#include "session/shell.h"

enum { HEAD = 5 }; /* type and length of a message */
enum { SLOTS = 64, PEERS = 32 };

/* One session as the test sees it. */
struct peer {
	int client, target; /* our ends; -1 */
	uint32_t slot, generation;
	uint64_t grant, id;
	uint64_t seq, durable_seq;
	struct buf stream[STREAM_COUNT];
	uint64_t durable_u;        /* bytes of U within what is durable */
	struct buf from_worker[2]; /* what our client, our target has received */
	uint64_t forwarded[STREAM_COUNT];
	uint8_t mac[16]; /* of the last hidden event */
	bool has_hidden;
	uint8_t digest[32]; /* of the last digest event */
	unsigned kept_out;  /* digest and withheld events */
	uint64_t rows;      /* of those */
	bool has_ended;
	int64_t end_code;
};

struct world {
	struct start start;
	struct worker w;
	struct ring ring;
	int keeper, commit_rw;
	struct peer peers[PEERS];
	size_t count;
	uint8_t *payload, *ipc;
	enum durable durable;
	uint64_t session_max, session_grace;
	bool is_recorder_held; /* takes nothing */
	bool is_commit_held;   /* takes, and makes nothing durable */
	bool is_keeper_held;
	bool is_broken;
	struct snapshot_listener listener;
};

/* One thread, a ring of that size, a snapshot without TLS. */
void world_make(struct world *x, size_t ring_size);
/* Fails the test if any invariant broke on the way. */
void world_free(struct world *x);
/* cert NULL: listeners without TLS. */
void give_snapshot(struct world *x, const struct testcert *cert, uint8_t target_tls);
/* The recorder takes at most max events; how many. */
size_t record(struct world *x, size_t max);
void make_durable(struct world *x, struct peer *p);
/* A client that has said nothing yet. */
struct peer *connect_peer(struct world *x);
void receive(int fd, struct buf *into);
/* One turn of the loop, then of keeper and recorder as far as they are not held. */
void turn(struct world *x);
void turns(struct world *x, int n);
void read_clients(struct world *x);
void say(int fd, char type, struct str body);
/* A client that is past its grant. */
struct peer *admitted(struct world *x);
bool target_has(const struct peer *p, const char *text);
bool client_has(struct world *x, struct peer *p, const char *text);
struct session *session_of_peer(struct world *x, const struct peer *p);
/* The oldest session, NULL when there is none. */
struct session *only_session(struct world *x);
/* Reads all that is there: true when the end follows. */
bool is_eof(int fd);

#endif
