/*
 * find.h: from what a person typed to a session of a store, and what a list says of one.
 */
#ifndef MAIN_FIND_H
#define MAIN_FIND_H

#include "main/ask.h"
#include "record/reader.h"

/* A store that is open for reading. dir is the directory; r is NULL until find_open(). */
struct found {
	char dir[4096];
	struct reader *r;
	uint8_t sid[SID_SIZE];
};

/* Opens the store that c names. */
int find_open(struct found *f, const struct common *c, struct err *e) must_use;
void find_close(struct found *f);
/* Fills f->sid. id: short id, full id, a prefix of at least 4 characters of either, @last, @last~N. Several
 * that fit are listed on stderr, and the code is H_EUSAGE. */
int find_session(struct found *f, struct str id, struct err *e) must_use;
/* Opens the store and finds `id`, which may be NULL: H_EUSAGE. `cmd` is for the message. */
int find_one(struct found *f, const struct common *c, const char *cmd, const char *id,
             struct err *e) must_use;

/* A session as lists and heads show it; json_decref() it. Members: id, sid, protocol, connection, role,
 * subject, kind, on_behalf_of, run, opened, closed, open (bool), commands, events, frames, bytes, reason,
 * gap, recovered, and with `whole` the documents of the frames as open_frame and close_frame. */
json_t *find_describe(struct found *f, const uint8_t sid[SID_SIZE], bool whole, struct err *e)
	must_use;

/* As cli_fail(), and CLI_TAMPERED where the record itself is wrong. */
int find_fail(const struct err *e) must_use;

#endif
