/*
 * serve_priv.h: the part of the supervisor that touches the system, shared by serve*.c.
 */
#ifndef MAIN_SERVE_PRIV_H
#define MAIN_SERVE_PRIV_H

#include <sys/types.h>

#include "base/log.h"
#include "ipc/start.h"
#include "loop/loop.h"
#include "main/supervisor.h"

#define SERVE_LISTENERS_MAX 16
#define SERVE_RINGS_MAX (START_THREADS_MAX * 4) /* live, and of dead workers, not yet drained */
#define SERVE_RING_SIZE ((size_t)16 << 20)
#define SERVE_RING_SLOTS 8192u

struct serve_listener {
	char protocol[16];
	char address[160];
	int fd;
};

struct serve_listeners {
	struct serve_listener v[SERVE_LISTENERS_MAX];
	size_t count;
};

/* serve_listen.c */
/* A listening socket, non-blocking, close-on-exec. address: host:port, [v6]:port, unix:/path. */
int serve_listen(struct str address, struct err *e) must_use;
/* Fills *next, whose names are set, with descriptors: those of `now` where name and address are the
 * same, fresh ones else. All or nothing: on failure no descriptor was made. */
int serve_listeners_bind(struct serve_listeners *next, const struct serve_listeners *now,
                         struct err *e) must_use;
/* Closes those of `old` that `next` does not use. */
void serve_listeners_close(const struct serve_listeners *old, const struct serve_listeners *next);

/* serve_store.c */
struct serve_store {
	char path[4096]; /* empty: not opened yet */
	int lock;
	int control; /* listening control.sock */
};
/* Makes the directories, takes the lock, binds control.sock. */
int serve_store_open(struct serve_store *s, struct str path, struct err *e) must_use;
/* Removes control.sock, gives the lock back. */
void serve_store_close(struct serve_store *s);

/* serve_notify.c: sd_notify(3) without libsystemd. Nothing happens without NOTIFY_SOCKET. */
struct serve_notify {
	int fd;
	uint64_t watchdog_ns; /* how often to say WATCHDOG=1; 0: not asked for */
};
void serve_notify_open(struct serve_notify *n);
void serve_notify_say(struct serve_notify *n, const char *state);
void serve_notify_reloading(struct serve_notify *n);

/* serve_spawn.c */
/* Forks and executes `hansard --child role`; *ret_channel is our end of its channel 3. */
int serve_spawn(enum role role, pid_t *ret_pid, int *ret_channel) must_use;
/* A sealed memfd with our environment, NUL separated. */
int serve_env_memfd(void) must_use;

struct serve_ring {
	uint16_t id;
	bool is_dead; /* its worker is gone; the recorder drains it */
	int ring, commit, commit_ro, event;
};

/* serve_rings.c */
struct serve_rings {
	struct serve_ring v[SERVE_RINGS_MAX];
	size_t count;
	uint16_t next_id;
};
/* Adds `threads` fresh live rings. */
int serve_rings_make(struct serve_rings *r, uint32_t threads) must_use;
void serve_rings_kill(struct serve_rings *r); /* all live ones are dead from now on */
void serve_rings_drop(struct serve_rings *r, uint16_t id);
struct serve_ring *serve_ring_find(struct serve_rings *r, uint16_t id);
/* Live rings into a start message, with the commit descriptor that the role may have. */
void serve_rings_start(const struct serve_rings *r, struct start *s);

struct serve;
struct serve_proc {
	struct serve *serve;
	enum role role;
	pid_t pid; /* 0: none */
	struct watch channel;
	struct log_limit refused;
};

struct serve {
	struct loop *loop;
	struct supervisor sup;
	struct serve_proc procs[ROLE_COUNT];
	struct watch signals;
	struct timer due, watchdog, reload_limit;
	struct serve_notify notify;
	struct serve_store store;
	struct serve_listeners listeners;
	struct serve_rings rings;
	/* worker–keeper, keeper–recorder, keeper–egress; both ends */
	int wk[2], kr[2], ke[2];
	/* The dead one's end of its last channel: open until the next death, so that the keeper hears of
	 * the death by SUP_PEER before it meets an EOF. */
	int old_end[ROLE_COUNT];
	int recorder_event, env;
	uint32_t threads, segment_count;
	uint64_t segment_size, store_max;
	const char *config_path;
	uint8_t boot[16];
	bool log_json;
	uint8_t log_level;
	uint64_t started_ns;
	uint8_t in[IPC_MAX + 16];
};

/* serve_channel.c: socket pairs between children. */
int serve_channel_open(int fds[2]) must_use;
/* A new pair between the keeper and `role`, whose process died: what that one did to its end does not matter
 * any more. H_EIO: there are no descriptors; the old pair stays. */
int serve_channel_renew(struct serve *sv, enum role role) must_use;
/* The keeper's end of its channel to `role`; -1: there is none. */
int serve_channel_keeper_end(struct serve *sv, enum role role);
/* Throws away what waits at the ends of `role`. */
void serve_channel_empty(struct serve *sv, enum role role);

/* serve_message.c: what children say. */
void serve_on_channel(struct watch *w, unsigned events);
/* Messages read at once: what else is there, and what a peer that floods us adds meanwhile, is for the
 * next turn, so that one does not keep us from the others. A socket holds less than SERVE_QUEUE_MAX. */
enum { SERVE_MESSAGES_MAX = 64, SERVE_QUEUE_MAX = 4096 };
/* Reads up to SERVE_MESSAGES_MAX. */
void serve_read_channel(struct serve_proc *p);
/* Sends, or kills a child that does not read. */
void serve_tell(struct serve *sv, enum role to, enum ipc_type type, struct str body);
void serve_tell_fds(struct serve *sv, enum role to, const struct ipc_msg *m);
void serve_tell_ring(struct serve *sv, const struct serve_ring *r);
void serve_tell_listeners(struct serve *sv);
/* Arms the timer for what the supervisor waits for, ends the loop when it ended. */
void serve_after(struct serve *sv);

#endif
