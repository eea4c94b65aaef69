/*
 * ctl.h: the client's side of control.sock: commands of the CLI ask the running keeper.
 *
 * <store>/control.sock is a SOCK_SEQPACKET socket; a question is one IPC_CTL_ASK with a JSON object, the
 * answer one or several IPC_CTL_ANSWER, the last of which has "done": true. Who may ask is decided by
 * the kernel's word (SO_PEERCRED): root, and the gateway's own user.
 *
 * Questions (members not listed are refused):
 *   {"cmd":"status"}
 *   {"cmd":"token.issue","subject":S,"kind":"agent"|"human"|"service","groups":[…],"ttl_ns":N,
 *    "on_behalf_of":S?,"connection":S?,"run":S?,"context":{k:v…}?}     → token, id, expires_wall_ns
 *   {"cmd":"token.ls"}        → answers with "items":[{id,subject,kind,groups,…}]
 *   {"cmd":"token.revoke","id":S}
 *   {"cmd":"why","ref":S}     → ref, reason, source, count, first_wall_ns, last_wall_ns, text, advice
 *   {"cmd":"act","act":"record.viewed"|"record.exported"|"record.verified"|"record.searched"|"index.rebuilt",
 *    "session":S?,"detail":S?}
 *   {"cmd":"sessions.live"}   → answers with "items":[{session,short,connection,role,subject,…}]
 *   {"cmd":"tail","session":S?}, with one descriptor, a stream socket: frames are sent on it as they
 *                             become durable (record/tap.h). Without session: of all sessions
 *   {"cmd":"pin.forget","connection":S,"role":S}
 * Answers: {"ok":true,…,"done":true}, or {"ok":false,"code":"ENOTFOUND","error":"…","done":true}.
 */
#ifndef IPC_CTL_H
#define IPC_CTL_H

#include "base/err.h"

/* Receives each answer; a negative code ends the call. */
typedef int ctl_answer_fn(void *arg, struct str json);

/* Asks and waits (at most 15 s for each answer). 0 after the last answer; H_ENOTFOUND when no gateway
 * runs on that store; H_EPERM; H_ETIMEOUT; H_ECLOSED; or what fn returned. The sentence in e says
 * what to do. An answer with "ok": false is an answer: fn sees it. */
int ctl_call(const char *store_path, struct str ask, ctl_answer_fn *fn, void *arg, struct err *e)
	must_use;
/* The same, passing a descriptor on, which stays the caller's ("tail"). */
struct ctl_ask {
	struct str text;
	int fd;
};
int ctl_pass(const char *store_path, const struct ctl_ask *ask, ctl_answer_fn *fn, void *arg,
             struct err *e) must_use;

#endif
