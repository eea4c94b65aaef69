/*
 * shell.h: the shell's own structures, shared by the files of this folder and nobody else.
 *
 * A worker has threads, a thread has sessions, a session has a core and up to three sides. All of a
 * session is touched by its thread alone. Who calls whom:
 *
 *   thread.c   loop, slots, waiting lists, accept, ticks, mail between threads
 *     session.c  life of a session: open, admit, run, kill, close, end
 *       side.c     one socket: reading, holding, writing, TLS
 *       orders.c   what the core orders, now or later (lanes)
 *       events.c   record events into the ring, or kept until the grant
 *       receipt.c  receipts of what is durable
 *   prove.c        SCRAM: the exchange that the keeper has with the client
 *   keeper_link.c  messages to and from the keeper
 *   snap.c         TLS contexts of a configuration
 *   worker.c       worker_main: set-up, confinement, the supervisor's channel
 */
#ifndef SESSION_SHELL_H
#define SESSION_SHELL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/ipc.h"
#include "ipc/ring.h"
#include "ipc/start.h"
#include "loop/loop.h"
#include "net/addr.h"
#include "record/event.h"
#include "session/budget.h"
#include "session/conn.h"
#include "session/proto.h"
#include "session/snap.h"

#define WINDOW_MAX ((size_t)64 * 1024)     /* bytes of one raw event, and of what a core is shown */
#define PRE_MAX ((size_t)16 * 1024)        /* bytes of one side before admission */
#define PRE_EVENTS_MAX ((size_t)48 * 1024) /* their events, the gateway's own included */
#define OUT_HIGH ((size_t)256 * 1024) /* more than this waits for a peer: stop reading the other */
#define OUT_MAX ((size_t)4 * 1024 * 1024) /* a core that sends more than this has a bug */
#define LANE_MAX ((size_t)512 * 1024)
#define UNHEARD_MAX ((uint64_t)1024 * 1024) /* of the target, once the client cannot be told */
#define UNDURABLE_MAX ((uint64_t)1024 * 1024)
#define UNDURABLE_SHARE ((uint64_t)64 * 1024) /* of that, what needs no budget: nobody starves */
#define UNDURABLE_BUDGET_MAX ((uint64_t)64 * 1024 * 1024)
#define ORPHANS_MAX ((size_t)64 * 1024) /* ENDs that wait for room, of 8 bytes each */
#define NEED_BUDGET_MAX ((uint64_t)256 * 1024 * 1024)
#define KEEPER_HOLD_NS (10 * NS_PER_S)
#define ADMIT_NS (40 * NS_PER_S)
#define CLOSE_NS (10 * NS_PER_S)
#define LINGER_NS (1 * NS_PER_S)
#define HALF_OPEN_NS (600 * NS_PER_S)
#define STALL_NS (10 * NS_PER_S)

#define NO_SLOT UINT32_MAX
#define CANCEL_ASKED_MAX ((size_t)256) /* longest key that PostgreSQL 3.2 allows */
#define SERVER_NAME_MAX ((size_t)255)  /* of what a client asks for by SNI */

/* Bytes up to `end` (counted over the side's whole life) may be written when `seq` is durable. */
struct mark {
	uint64_t end, seq;
};
enum { MARKS_MAX = 8 };

struct session;

struct side_state {
	struct session *s;
	enum side which;
	bool is_open; /* has a descriptor that is read and written */
	bool is_eof;  /* nothing more will be read */
	bool is_eof_told;
	bool is_write_dead; /* what is written from now on is dropped */
	bool is_closing;    /* ORD_CLOSE_SIDE: EOF when all is written */
	bool is_shut;
	bool is_blocked;    /* the socket took no more: wait for it */
	bool wants_tls;     /* ORD_TLS: starts when all is written */
	bool is_tls_direct; /* and what was read so far belongs to it */
	bool is_shaking;    /* handshake under way */
	bool has_no_budget; /* EV_NO_BUDGET is due */
	bool to_show;       /* the core has not seen what is here, or may see it differently now */
	bool is_scratch;    /* what is held lies in the thread's scratch: view, not `in` */
	int eof_code;
	char alpn[32]; /* ORD_TLS */
	struct conn conn;
	struct watch watch;
	struct list busy_link; /* thread.busy: to be read although the socket is not readable */

	struct buf in; /* held: received and not carried out */
	uint8_t *view;
	size_t view_len;
	uint64_t owed; /* ordered from the front of what is held (and of what will come) */
	uint64_t read_ns;
	size_t need;
	uint64_t budget;

	struct buf lane; /* orders for this receiving side that could not be carried out yet */
	struct buf out;
	struct str direct; /* bytes that may go straight from where they were read; behind `out` */
	uint64_t out_end;  /* bytes ever queued; stream offset of U or R */
	uint64_t sent;     /* bytes ever handed to the socket */
	uint64_t free_to, free_seq; /* what durability has set free, and by which event */
	struct mark marks[MARKS_MAX];
	unsigned mark_count;
	uint64_t told_sent; /* as of the last FORWARDED event */
	uint64_t sent_ns;
};

enum session_state {
	S_PRE,       /* nothing recorded yet */
	S_ADMITTING, /* the keeper was asked, or will be when it is there */
	S_LIVE,
	S_ENDED /* END is in the ring; the client may linger */
};

struct session {
	struct thread *t;
	uint32_t slot, generation;
	enum session_state state;
	const struct proto *proto;
	void *core;
	struct order_sink sink;
	struct side_state sides[SIDE_COUNT];
	struct list link;      /* thread.sessions */
	struct list wait_link; /* thread.waiting: for durability, for room in the ring */
	struct list pre_link;  /* thread.pre: not admitted, oldest first */
	struct list dead_link; /* thread.dead: freed at the end of the turn */

	struct buf pre; /* events before the grant */
	uint64_t seq;
	uint64_t durable;
	uint64_t off[STREAM_COUNT];     /* recorded */
	uint64_t ordered[STREAM_COUNT]; /* recorded or queued */
	uint64_t rec_bytes, rec_known, rec_mark_seq,
		rec_mark_bytes;    /* not yet durable: see events.c */
	uint64_t undurable_budget; /* part of the worker's, beyond UNDURABLE_SHARE */

	uint64_t unheard; /* bytes of the target since the client could not be written any more */

	bool is_bound;  /* the recorder knows slot and generation */
	bool is_parked; /* the ring is full */
	bool is_deaf;   /* recording failed: events are best effort, nothing is held any more */
	bool is_running, is_dirty, is_core_open;
	bool is_closing; /* ORD_CLOSE was given */
	bool is_expired, is_killed, is_drain_told;
	bool has_asked;    /* ADMIT went out, or PROVE while is_proving */
	bool is_proving;   /* the keeper owes us PROVED */
	bool has_exchange; /* the keeper keeps something for us */
	bool is_login_asked, is_dial_asked;
	bool is_lingering;
	int close_code, kill_code;

	struct buf admit; /* ADMIT payload, kept until the answer; secret */
	uint64_t admit_ns;
	uint64_t exchange; /* with the keeper, about the client's proof */
	uint64_t grant;
	enum durable durable_mode;
	uint64_t session_max_ns, session_grace_ns;
	uint8_t sid[SID_SIZE];
	bool is_receipt_asked;
	uint64_t
		receipt_seq; /* the event that the receipt waits for; 0: it is not in the ring yet */
	char short_id[10];
	char connection[64], role[64], server_name[256];
	uint8_t cancel_key[CANCEL_KEY_LONG];
	uint8_t digest_key[32]; /* for hashes of results, made from hide_key and the session id */
	uint8_t hide_key[32];
	uint8_t cancel_key_size;
	enum tls_mode target_tls;
	uint32_t backend_pid;
	struct sockaddr_storage peer;
	struct tls_ctx *listen_tls; /* NULL: none */
	/* admission deadline, session_max, grace, close, linger: one at a time */
	struct timer life;
	struct timer core_timer;
	uint64_t opened_ns;
	uint32_t commands;
};

struct slot_entry {
	struct session *s;
	uint32_t generation;
	uint64_t free_pos; /* ring position that the recorder must have passed before reuse */
};

enum mail_kind {
	MAIL_ACCEPT,
	MAIL_KEEPER,
	MAIL_RECORDER_GONE,
	MAIL_KEEPER_STATE,
	MAIL_DRAIN,
	MAIL_STOP
};
struct mail {
	struct list link;
	enum mail_kind kind;
	int fd;
	struct sockaddr_storage peer;
	const struct proto *proto;
	struct tls_ctx *tls;
	struct ipc_msg msg; /* body points behind this struct */
	uint64_t n;
	uint8_t body[];
};

struct thread {
	struct worker *w;
	unsigned index;
	struct loop *loop;
	struct ring ring;
	uint16_t ring_number;
	int event_fd; /* worker_event: commits, mail */
	struct watch event_watch;
	struct timer tick, outbox_timer, quiet_timer;

	struct slot_entry *slots;
	uint32_t slot_first, slot_count, slot_next;
	struct list sessions, pre, waiting, busy, dead;
	_Atomic uint32_t session_count;

	struct buf outbox;  /* messages that the keeper's socket did not take */
	struct buf orphans; /* generation and slot, of which END waits for room in the ring */
	struct buf event;   /* head or payload of the event being written */
	uint8_t *scratch;   /* WINDOW_MAX: plain bytes of one read */
	struct tls_scratch *tls_scratch;
	uint8_t *ipc_buf;

	struct log_limit refused; /* messages of other processes */
	bool is_keeper_up, is_draining, is_drain_killed, is_asleep;
	bool is_urgent; /* what was put into the ring since it was published is waited for */
	uint64_t drain_ns;
	uint64_t ticked_ns, stalled_ns; /* how long something has waited and durability not moved */
	uint32_t moved_seen;
	bool is_stall_told;

	pthread_mutex_t mail_lock;
	struct list mail;
	pthread_t id;
};

struct listener {
	struct watch watch;
	struct worker *w;
	size_t index;
};

struct worker {
	const struct start *start;
	int supervisor, keeper, recorder_event;
	struct thread *threads;
	unsigned thread_count;
	_Atomic uint32_t preadmission_count;
	_Atomic uint64_t need_budget, undurable_budget;
	uint64_t undurable_budget_max; /* UNDURABLE_BUDGET_MAX; tests make it small */
	_Atomic int drained_threads;
	struct snap_box snap;
	const struct proto *(*find_proto)(struct str name);

	/* thread 0 only */
	struct watch supervisor_watch, keeper_watch;
	struct listener *listeners;
	size_t listener_count;
	bool are_listeners_on, is_draining;
	struct timer listen_again;
	int exit_status;
};

/* ---- events.c ---- */
struct rec {
	uint8_t type;
	enum stream stream;
	bool intent;
	uint64_t ns;
	struct str head, bytes; /* payload, in two pieces */
};
/* Appends (or keeps, before the grant). The event's seq; 0: no room now, the session is parked. */
uint64_t rec_append(struct session *s, const struct rec *r);
/* Kept events into the ring: true when none is left. */
bool rec_flush_pre(struct session *s);
/* Reads what is durable; true when something moved. */
bool rec_refresh(struct session *s);
/* True when so much is not yet durable that the target must wait. */
bool rec_is_behind(struct session *s);
/* The session takes part in durability no more: its part of the budget is others'. */
void rec_return_budget(struct session *s);
/* END with what was forwarded before it; false: no room now. */
bool rec_end(struct session *s, int code);
bool rec_holds(const struct session *s, enum side to);
/* END for a slot that was bound for a session which is gone: now, or when the ring has room. */
void rec_end_orphan(struct thread *t, uint32_t slot, uint32_t generation);
/* The ENDs that wait, as far as the ring has room; true when none is left. */
bool rec_flush_orphans(struct thread *t);

/* ---- orders.c ---- */
uint64_t orders_emit(struct order_sink *sink, const struct order *o);
uint64_t orders_offset(struct order_sink *sink, enum stream stream);
bool orders_connection(struct order_sink *sink, struct str name, struct connection_facts *ret);
/* Carries out what waits for side `to`; true when something was. */
bool lane_run(struct session *s, enum side to);
/* Drops a relay whose bytes are not here, and all behind it. */
void lane_cut(struct session *s, enum side to);

/* ---- side.c ---- */
void side_init(struct session *s, enum side which);
/* Takes the descriptor over. */
int side_open(struct session *s, enum side which, int fd) must_use;
/* The descriptor goes; what was read and not carried out stays until side_fini. */
void side_close(struct side_state *d);
void side_fini(struct session *s, enum side which);
struct str side_held(const struct side_state *d);
/* The first n held bytes were carried out. */
void side_consume(struct side_state *d, size_t n, bool secret);
/* Moves what is left in the scratch to memory of its own. */
void side_save(struct side_state *d);
/* Queues bytes; they may be written when seq is durable (0: at once). May borrow them until the
 * session's run ends, when `borrow`. */
void side_queue(struct side_state *d, struct str bytes, uint64_t seq, bool borrow);
/* Writes what may be written. */
void side_flush(struct side_state *d);
/* Nothing waits to be written (a side that cannot be written any more has nothing). */
bool side_is_flushed(const struct side_state *d);
bool side_waits_for_commit(const struct side_state *d);
/* Forgets what waits for durability. */
void side_drop_out(struct side_state *d);
/* TLS, as soon as all is written; alpn and is_direct as ORD_TLS has them. */
void side_want_tls(struct side_state *d, struct str alpn, bool is_direct);
void side_start_tls(struct side_state *d);
void side_want(struct side_state *d);
void side_shut(struct side_state *d);
void side_read(struct side_state *d);
bool side_need(struct side_state *d, uint64_t n);
static inline enum side side_other(enum side s) {
	return s == SIDE_CLIENT ? SIDE_TARGET : s == SIDE_TARGET ? SIDE_CLIENT : SIDE_AUX;
}

/* ---- receipt.c ---- */
/* ORD_RECEIPT. */
void receipt_ask(struct session *s);
/* Goes on with it, when it can. */
void receipt_run(struct session *s);

/* ---- session.c ---- */
struct session_open {
	int fd;
	struct sockaddr_storage peer;
	const struct proto *proto;
	struct tls_ctx *tls; /* taken over; NULL: none */
};
/* NULL when there is no slot; fd and tls are then closed. */
struct session *session_new(struct thread *t, const struct session_open *o);
/* Does all that can be done now, then sets what to wait for. */
void session_run(struct session *s);
void session_event(struct session *s, struct event *ev);
void session_close(struct session *s, int code);
/* Says why in the protocol, drops what waits for the target. */
void session_kill(struct session *s, int code);
void session_admit(struct session *s, const struct admit *a);
/* The keeper that was asked is gone: the next one is asked anew. */
void session_ask_again(struct session *s);
void session_granted(struct session *s, struct str body, int fd);
/* code, text and bytes of EV_REFUSED. A challenge in bytes leaves it open until the core closes. */
void session_refused(struct session *s, const struct event *refusal);
void session_drain(struct session *s);
void session_tick(struct session *s, uint64_t now);
void session_committed(struct session *s);
void session_free(struct session *s);
void session_wait(struct session *s); /* onto thread.waiting */

/* ---- prove.c ---- */
void session_prove(struct session *s, const struct order *o);
void session_proved(struct session *s, struct str body);
/* The keeper that was asked is gone. */
void session_prove_again(struct session *s);
void session_prove_tick(struct session *s, uint64_t now);
/* The session goes: the keeper need keep nothing for it. */
void session_prove_end(struct session *s);

/* ---- thread.c ---- */
int thread_init(struct thread *t, struct worker *w, unsigned index) must_use;
void thread_fini(struct thread *t);
uint64_t thread_now(const struct thread *t);
void thread_mail(struct thread *t, struct mail *m); /* takes it over */
struct mail *mail_new(enum mail_kind kind, struct str body);
void mail_drop(struct mail *m);
struct session *thread_find(struct thread *t, uint32_t slot, uint32_t generation);
struct thread *worker_thread_of(struct worker *w, uint32_t slot);
/* Slot for a new session; false when all are taken. */
bool thread_slot_take(struct thread *t, struct session *s);
/* Another generation for the same session: what was opened under the old one never meets it. */
void thread_slot_renew(struct thread *t, struct session *s);
void thread_slot_free(struct thread *t, struct session *s);
void thread_accept(struct thread *t, struct mail *m);

/* ---- keeper_link.c ---- */
void keeper_send(struct thread *t, uint16_t type, uint64_t id, struct str body);
void keeper_flush(struct thread *t);
/* In the thread that owns the session. */
void keeper_message(struct thread *t, struct ipc_msg *m);
void keeper_state(struct thread *t, bool is_up);
/* A message of another process was refused; type 0: it was none. */
void message_refused(struct thread *t, uint16_t type);
static inline uint64_t keeper_id(const struct session *s) {
	return (uint64_t)s->generation << 32 | s->slot;
}

/* ---- worker.c ---- */
int worker_init(struct worker *w, const struct start *start) must_use;
void worker_fini(struct worker *w);
int worker_watch(struct worker *w) must_use; /* the channels */
int worker_run(struct worker *w) must_use;   /* until the supervisor is gone */
/* One that cannot be used is said in the log; the last one stays. */
void worker_snapshot(struct worker *w, int fd);
void worker_listen(struct worker *w, const int *fds, size_t count);
void worker_tell_stalled(struct worker *w);
void worker_thread_drained(struct worker *w);

#endif
