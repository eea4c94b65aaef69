/*
 * index.h: index.db, which sessions may hold what is looked for (DESIGN §7, "Databases").
 *
 * A row per closed session: facts from its open and close frames, a row per distinct normal form of
 * its statements, and filters over words (filter.h), each for a range of its commands. The index
 * proves nothing and is not needed: what it does not know is looked up in the record, what it finds is
 * confirmed there, and it can be made again from the record alone. Only sessions that have ended and
 * whose parts are whole are in it, so a row never changes.
 *
 * Files, all in one directory, mode 0640: index.db in WAL mode, index.db-wal and index.db-shm, which
 * stay there when the writer goes, so that another uid that may read them (and write nothing) can
 * open the index at any time. One writer at a time: index_lock().
 */
#ifndef CATALOG_INDEX_H
#define CATALOG_INDEX_H

#include "base/crypto.h"
#include "base/err.h"
#include "base/str.h"

#define INDEX_VERSION 2
enum { INDEX_HASHES_MAX = 256 };

struct index;

/* "<store>/index" */
char *index_dir(const char *store) must_use;
/* The one writer's lock, held as long as the descriptor: descriptor, or H_EBUSY, H_EIO, H_EPERM. */
int index_lock(const char *dir) must_use;

/* Opens <dir>/<name> for writing, made when absent. H_EFORMAT when it is no index of ours or is
 * damaged, H_EVERSION, H_ENOSPACE, H_EIO. `as_wal`: for others to read while it is written. */
int index_open_write(struct index **ret, const char *dir, const char *name, bool as_wal,
                     struct err *e) must_use;
/* Opens <dir>/index.db for reading. H_ENOTFOUND, H_EPERM, H_EFORMAT, H_EVERSION, H_EIO. */
int index_open_read(struct index **ret, const char *dir, struct err *e) must_use;
void index_close(struct index **x);
/* Removes a database and what SQLite keeps beside it. */
void index_remove(const char *dir, const char *name);
/* Puts <dir>/<name>, which is closed and was not opened as_wal, in the place of index.db. */
int index_replace(const char *dir, const char *name) must_use;
/* Bytes of all its files. */
uint64_t index_bytes(const char *dir);

/* What the index says of a session. Texts are borrowed. */
struct index_session {
	uint8_t sid[SID_SIZE];
	uint64_t opened_wall_ns, last_wall_ns;
	struct str protocol, connection, role, database, subject, kind, on_behalf_of, run, reason;
	bool is_verified;   /* on_behalf_of */
	bool is_unreadable; /* the record did not decode to its end: always looked up there */
	bool is_capped;     /* more filters or statements than are kept: the same */
	uint64_t commands, failed, rows, frames;
	uint64_t filters; /* that follow by index_put_filter() */
};
struct index_statement {
	struct str text; /* normal form */
	uint64_t print;
	uint64_t count, failed;
	uint64_t first_number, last_number; /* of commands */
	uint64_t first_wall_ns, last_wall_ns;
};

/* Between begin and commit; commit makes it visible. A session that is there already is replaced. */
int index_begin(struct index *x) must_use;
int index_put(struct index *x, const struct index_session *s, int64_t *ret_row) must_use;
int index_put_statement(struct index *x, int64_t row, const struct index_statement *s) must_use;
int index_put_filter(struct index *x, int64_t row, uint64_t first, uint64_t last, struct str bits)
	must_use;
int index_commit(struct index *x) must_use;
void index_rollback(struct index *x);
/* 1, 0, or a code. */
int index_has(struct index *x, const uint8_t sid[SID_SIZE]) must_use;

/* How far the index is. */
struct index_mark {
	uint64_t wall_ns;         /* sessions whose parts were whole then are in it */
	uint64_t sessions;        /* in it */
	uint64_t behind_sessions; /* known and not in it yet: open ones, mostly */
	uint64_t passes;
};
int index_mark_put(struct index *x, const struct index_mark *m) must_use;
int index_mark_get(struct index *x, struct index_mark *m) must_use;

/* Which sessions may hold something. All hashes must be in one filter. */
struct index_query {
	uint64_t since_ns, until_ns; /* sessions that overlap; until 0: no end */
	const uint64_t *hash;        /* INDEX_HASHES_MAX at most */
	size_t hash_count;
};
struct index_hit {
	struct index_session session;
	bool may_hold;        /* false: certainly nothing */
	uint64_t last_number; /* commands behind this one hold nothing; UINT64_MAX: not known */
};
/* Every session in the order of ids, newest first; a value other than 0 ends the walk. */
typedef int index_hit_fn(void *arg, const struct index_hit *hit);
int index_each(struct index *x, const struct index_query *q, index_hit_fn *fn, void *arg) must_use;
/* Statements of a session, in the order of their first command; sid NULL: of all, most used first. */
typedef int index_statement_fn(void *arg, const struct index_statement *s);
int index_statements(struct index *x, const uint8_t *sid, index_statement_fn *fn, void *arg)
	must_use;

/* Does what is there hold together? 0, H_EFORMAT. Reads everything: for tests and reindex. */
int index_check(struct index *x) must_use;

#endif
