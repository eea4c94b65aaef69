/*
 * ipc.h: messages between our processes.
 *
 * Channels are SOCK_SEQPACKET socket pairs made by the supervisor, which keeps both ends, so that a
 * restarted keeper gets its ends back and the backlog waits. A message is one packet: a head of 16
 * bytes (u16 type, u16 zero, u32 payload length, u64 id), then the payload written with buf.h (little-endian,
 * vstr for text), at most IPC_MAX bytes, with at most IPC_FDS_MAX descriptors (SCM_RIGHTS, close-on-exec).
 * `id` joins an answer to its question. Receivers check type, length and the number of descriptors against
 * the table below and against the channel the message came from; a message that does not fit is dropped and logged
 * (`ipc.message.refused`, a line per second and peer, with a count): no process trusts another's bytes.
 *
 * The supervisor tells both ends when a peer process was replaced (SUP_PEER); questions that were under way
 * at that moment have no answer any more and fail. A process that dies takes its channel with it: it may have
 * shut it down or filled it, so its successor and the keeper get a new pair. When the keeper dies its
 * peers keep theirs: nobody takes the keeper over without having won.
 *
 * Channel  S = supervisor with one child, WK worker–keeper, WR worker–recorder (eventfds only, no
 * messages), KR keeper–recorder, KE keeper–egress, CTL = control.sock client–keeper.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"

#define IPC_MAX ((size_t)96 * 1024)
#define IPC_FDS_MAX 64

enum role { ROLE_SUPERVISOR, ROLE_KEEPER, ROLE_EGRESS, ROLE_WORKER, ROLE_RECORDER, ROLE_COUNT };
const char *role_name(enum role role);                 /* "keeper"; static text */
int role_of(struct str name, enum role *ret) must_use; /* H_ENOTFOUND */

/*      type, name, channel, from → to, payload (in order), descriptors */
#define IPC_MESSAGES(X) \
	/* supervisor and children */ \
	X(1, SUP_START, \
	  "S: first message to a child; payload and descriptors per role, see ipc/start.h") \
	X(2, SUP_READY, "S: child → supervisor: confined and serving") \
	X(3, SUP_CONFIG, \
	  "S: keeper → supervisor: listeners (u32 count; per listener vstr protocol, vstr address), vstr store path, u32 worker threads, u64 segment size, u32 segment count, u64 most bytes of the store, 0: no limit). The keeper sends it before it touches the store, waits for SUP_STORE, and only then says SUP_READY; after each reload again") \
	X(4, SUP_LISTENERS, \
	  "S: supervisor → worker: descriptors of the listeners, in SUP_CONFIG's order") \
	X(5, SUP_RELOAD, "S: supervisor → keeper: SIGHUP") \
	X(6, SUP_DRAIN, \
	  "S: supervisor → child: finish; u64 mono ns until which sessions may end by themselves") \
	X(7, SUP_DRAINED, "S: child → supervisor: nothing left to do") \
	X(8, SUP_PEER, \
	  "S: supervisor → child: u8 role, u8 up (0 gone, 1 a new process serves). To the keeper, when a peer is gone: one descriptor, its end of the channel to that peer's next process; the old one is read to its end and closed") \
	X(9, SUP_RING, \
	  "S: supervisor → recorder: u16 ring, u8 state (1 live, 2 its worker is dead: drain to the end); descriptors ring, commit, worker's eventfd when live") \
	X(10, SUP_RING_DRAINED, "S: recorder → supervisor: u16 ring") \
	X(11, SUP_STALLED, "S: child → supervisor: u8 role: that peer makes no progress") \
	X(12, SUP_STORE, \
	  "S: supervisor → keeper, answer to SUP_CONFIG: i32 code, vstr text (store locked by another gateway, address in use); one descriptor when 0, control.sock, listening") \
	X(13, SUP_RELOADED, \
	  "S: keeper → supervisor, answer to SUP_RELOAD: i32 code, vstr text (why nothing changed)") \
	/* worker and keeper */ \
	X(20, ADMIT, "WK: worker → keeper: see session/admit.h") \
	X(21, GRANT, \
	  "WK: keeper → worker: see session/admit.h; one descriptor, the connected target") \
	X(22, REFUSE, \
	  "WK: keeper → worker: i32 code, vstr text for the client, vstr challenge to say before it (empty: none)") \
	X(23, LOGIN_STEP, \
	  "WK: worker → keeper: u64 grant, vstr server bytes, vstr channel binding") \
	X(24, LOGIN_REPLY, \
	  "WK: keeper → worker: u64 grant, i32 code, u8 done, vstr client bytes, vstr text") \
	X(25, SESSION_GONE, "WK: worker → keeper: u64 grant") \
	X(26, DIAL, "WK: worker → keeper: u64 grant: a second connection to the same target") \
	X(27, DIALED, "WK: keeper → worker: i32 code; one descriptor when 0") \
	X(28, CANCEL, "WK: worker → keeper: u32 pid, vstr key, vstr client address") \
	X(29, CANCEL_DO, \
	  "WK: keeper → owning worker: u32 slot, u32 generation, u32 pid; id: the CANCEL's") \
	X(30, KILL, "WK: keeper → worker: u32 slot, u32 generation, i32 code") \
	X(31, SNAPSHOT, "WK: keeper → worker: one descriptor, a sealed memfd (config/snapshot.h)") \
	X(32, GRANTS, \
	  "WK: worker → keeper, after a keeper restart: grants it still serves (count; u64 grant, u32 slot, u32 generation, vstr key, vstr connection, vstr role)") \
	X(33, PROVE, \
	  "WK: worker → keeper: u64 exchange, vstr connection, vstr hint, vstr mechanism, vstr client's first message, vstr tls-server-end-point of our certificate (empty: none), vstr client address") \
	X(34, PROVED, \
	  "WK: keeper → worker, answer to PROVE when all is well, else REFUSE: vstr server's first message") \
	X(35, PROOF_GONE, "WK: worker → keeper: u64 exchange: that client has gone") \
	X(36, CANCEL_TAKEN, \
	  "WK: owning worker → keeper, answer to CANCEL_DO: nothing that its session's client says from now on can be hit") \
	X(37, CANCELLED, \
	  "WK: keeper → worker, answer to CANCEL: CANCEL_TAKEN came, or nobody has the key: the connection may be closed") \
	/* keeper and recorder */ \
	X(40, OPEN, \
	  "KR: keeper → recorder: u16 ring, u32 slot, u32 generation, 16 bytes sid, u8 durable, u64 bytes quota, vstr open JSON") \
	X(41, OPENED, "KR: recorder → keeper: i32 code") \
	X(42, ACT, "KR: keeper → recorder: vstr act JSON") \
	X(43, ACT_DONE, "KR: recorder → keeper: i32 code, durable") \
	X(44, SIGN, \
	  "KR: recorder → keeper: u64 size, 32 bytes root, u64 old size, u16 count, proof hashes") \
	X(45, SIGNED, "KR: keeper → recorder: i32 code, vstr signed note") \
	X(46, LAST_SIGNED, "KR: recorder → keeper: question after recovery") \
	X(47, LAST_SIGNED_IS, \
	  "KR: keeper → recorder: u64 size, 32 bytes root, vstr origin, vstr vkey, 16 bytes node") \
	X(48, BINDINGS, \
	  "KR: recorder → keeper, after a keeper restart: (count; 16 bytes sid, u16 ring, u32 slot, u32 generation)") \
	X(49, ABANDON, \
	  "KR: keeper → recorder: 16 bytes sid, vstr reason: admitted, but the connect failed: close it") \
	X(51, TAP, \
	  "KR: keeper → recorder: 16 bytes sid, zeros: all sessions; one descriptor, a stream socket on which frames are sent as they become durable (record/tap.h)") \
	X(50, STORE_STATE, \
	  "KR: recorder → keeper: u8 state (0 ok, 1 refuse new sessions, 2 failed), vstr reason") \
	/* keeper and egress */ \
	X(60, CONNECT, \
	  "KE: keeper → egress: vstr address (host:port, [v6]:port, unix:/path), u32 timeout ms") \
	X(61, CONNECTED, \
	  "KE: egress → keeper: i32 code, vstr text, vstr peer address; one descriptor when 0") \
	X(62, FETCH, \
	  "KE: keeper → egress: vstr method (GET, POST), vstr URL, vstr CA bundle (PEM; empty: the system's), vstr headers (\"Name: value\\n\"…), vstr body, u32 timeout ms, u32 max bytes of the answer's body; see egress/fetch.h") \
	X(63, FETCHED, \
	  "KE: egress → keeper: i32 code (0: an answer came, whatever its status), u32 HTTP status, u32 max_age s (0: not said, or not to be kept), vstr body, vstr text (a sentence when code < 0)") \
	/* control socket: one JSON document each way */ \
	X(80, CTL_ASK, "CTL: client → keeper: JSON; with \"tail\" one descriptor") \
	X(81, CTL_ANSWER, "CTL: keeper → client: JSON; several until \"done\": true")

enum ipc_type {
#define X(code, name, help) IPC_##name = (code),
	IPC_MESSAGES(X)
#undef X
};
/* "SUP_START"; NULL for a number that is not in the table. */
const char *ipc_type_name(unsigned type);

struct ipc_msg {
	uint16_t type;
	uint64_t id;
	struct str body;      /* borrowed from the receive buffer */
	int fds[IPC_FDS_MAX]; /* owned by the receiver; ipc_msg_close() */
	size_t fd_count;
};

/* True when the table lets `from` send this message to `to`, with this many descriptors. ipc_recv()
 * cannot know who is at the other end; a receiver calls this first and drops what does not fit. */
bool ipc_fits(const struct ipc_msg *m, enum role from, enum role to);

/* Sends one packet without blocking. H_EBUSY when the socket is full (the caller queues or fails),
 * H_ECLOSED when the peer is gone, H_ELIMIT for a body over IPC_MAX. fds stay the caller's. */
int ipc_send(int fd, uint16_t type, uint64_t id, struct str body, const int *fds, size_t fd_count)
	must_use;
/* Receives one packet into buf (IPC_MAX + 16 bytes): 1 got one, 0 would block, H_ECLOSED at EOF, H_EPROTO
 * for a packet that is not a message (it is consumed; the next may be well). */
int ipc_recv(int fd, uint8_t *buf, struct ipc_msg *out) must_use;
void ipc_msg_close(struct ipc_msg *m); /* closes descriptors that were not taken */
/* Takes descriptor i out of the message; -1 when there is none. */
int ipc_take_fd(struct ipc_msg *m, size_t i);

#endif
