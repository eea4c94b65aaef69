/*
 * index.c: see index.h. SQLite behind a few prepared statements.
 *
 * WAL with synchronous=NORMAL: a commit is a write without a sync, a crash or a power cut loses the
 * newest sessions (which are then read again) and never damages the file. SQLITE_FCNTL_PERSIST_WAL
 * keeps -wal and -shm when the writer closes: a reader that may not write could not make them.
 *
 * Invariants:
 * 1. A session's rows are written in one transaction: it is in the index whole or not at all.
 * 2. Rows that can rule something out carry CRC-32C of what they say, and a session how many filters it
 *    has: SQLite does not notice storage that rots, and a bit too many or too few must cost time only.
 * 3. A reader treats the file as foreign: bounds on what it takes, no schema code is trusted.
 */
#include "catalog/index.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "catalog/filter.h"

#define APPLICATION_ID 0x48534958 /* "HSIX" */
enum { CHECKPOINT_PAGES = 1000, BUSY_MS = 2000 };

#define SESSION_COLUMNS \
	"sid, opened, last, protocol, connection, role, database, subject, kind, on_behalf_of, run, " \
	"reason, flags, commands, failed, rows, frames, filters, sum"

#define SQL_LIST(X) \
	X(HAS, "SELECT 1 FROM session WHERE sid = ?1") \
	X(DROP_USED, "DELETE FROM used WHERE session = (SELECT id FROM session WHERE sid = ?1)") \
	X(DROP_FILTER, \
	  "DELETE FROM filter WHERE session = (SELECT id FROM session WHERE sid = ?1)") \
	X(DROP, "DELETE FROM session WHERE sid = ?1") \
	X(PUT, "INSERT INTO session (" SESSION_COLUMNS \
	       ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, " \
	       "?16, ?17, ?18, ?19)") \
	X(FIND_STATEMENT, "SELECT id FROM statement WHERE print = ?1 AND text = ?2") \
	X(PUT_STATEMENT, "INSERT INTO statement (print, text) VALUES (?1, ?2)") \
	X(PUT_USED, "INSERT OR REPLACE INTO used VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)") \
	X(PUT_FILTER, "INSERT OR REPLACE INTO filter VALUES (?1, ?2, ?3, ?4, ?5)") \
	X(PUT_MARK, "INSERT OR REPLACE INTO mark VALUES (1, ?1, ?2, ?3)") \
	X(GET_MARK, "SELECT wall, behind, passes, (SELECT count(*) FROM session) FROM mark") \
	X(EACH, "SELECT id, " SESSION_COLUMNS " FROM session ORDER BY sid DESC") \
	X(FILTERS, \
	  "SELECT first_number, last_number, bits, sum FROM filter WHERE session = ?1 ORDER BY " \
	  "last_number DESC") \
	X(STATEMENTS, "SELECT s.text, s.print, u.count, u.failed, u.first_number, u.last_number, " \
	              "u.first_wall, u.last_wall FROM used u JOIN statement s ON s.id = " \
	              "u.statement WHERE u.session = (SELECT id FROM session WHERE sid = ?1) " \
	              "ORDER BY u.first_number, s.text") \
	X(ALL_STATEMENTS, "SELECT s.text, s.print, sum(u.count), sum(u.failed), 0, 0, " \
	                  "min(u.first_wall), max(u.last_wall) FROM used u JOIN statement s ON " \
	                  "s.id = u.statement GROUP BY s.id ORDER BY 3 DESC, 1")

enum sql_id {
#define X(name, text) SQL_##name,
	SQL_LIST(X)
#undef X
		SQL_COUNT
};

static const char *const sql_text[] = {
#define X(name, text) text,
	SQL_LIST(X)
#undef X
};

static const char schema[] =
	"CREATE TABLE session (id INTEGER PRIMARY KEY, sid BLOB NOT NULL UNIQUE, opened INTEGER, "
	"last INTEGER, protocol TEXT, connection TEXT, role TEXT, database TEXT, subject TEXT, "
	"kind TEXT, on_behalf_of TEXT, run TEXT, reason TEXT, flags INTEGER, commands INTEGER, "
	"failed INTEGER, rows INTEGER, frames INTEGER, filters INTEGER, sum INTEGER);"
	"CREATE TABLE statement (id INTEGER PRIMARY KEY, print INTEGER NOT NULL, text TEXT NOT "
	"NULL);"
	"CREATE INDEX statement_print ON statement (print);"
	"CREATE TABLE used (session INTEGER NOT NULL, statement INTEGER NOT NULL, count INTEGER, "
	"failed INTEGER, first_number INTEGER, last_number INTEGER, first_wall INTEGER, last_wall "
	"INTEGER, PRIMARY KEY (session, statement)) WITHOUT ROWID;"
	"CREATE INDEX used_statement ON used (statement);"
	"CREATE TABLE filter (session INTEGER NOT NULL, first_number INTEGER NOT NULL, last_number "
	"INTEGER NOT NULL, bits BLOB, sum INTEGER, PRIMARY KEY (session, first_number)) WITHOUT ROWID;"
	"CREATE TABLE mark (id INTEGER PRIMARY KEY CHECK (id = 1), wall INTEGER, behind INTEGER, "
	"passes INTEGER);"
	"INSERT INTO mark VALUES (1, 0, 0, 0);";

enum { FLAG_VERIFIED = 1, FLAG_UNREADABLE = 2, FLAG_CAPPED = 4 };

struct index {
	sqlite3 *db;
	sqlite3_stmt *stmt[SQL_COUNT];
};

/* ---- errors ---- */

static int code_of(int rc) {
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_FULL:
		return H_ENOSPACE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* a table that is not there */
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
		return H_EFORMAT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return H_EBUSY;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return H_EPERM;
	case SQLITE_NOMEM:
		return H_ENOMEM;
	default:
		return H_EIO;
	}
}

static int failed(struct index *x, struct err *e) {
	int rc = code_of(sqlite3_errcode(x->db));

	return err_set(e, rc < 0 ? rc : H_EFORMAT, "index.db: %s", sqlite3_errmsg(x->db));
}

static int run(struct index *x, const char *sql) {
	return code_of(sqlite3_exec(x->db, sql, NULL, NULL, NULL));
}

/* ---- files ---- */

char *index_dir(const char *store) {
	return xasprintf("%s/index", store);
}

int index_lock(const char *dir) {
	auto_free char *path = xasprintf("%s/lock", dir);
	auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return errno == EACCES || errno == EPERM || errno == EROFS ? H_EPERM
		       : errno == ENOENT                                   ? H_ENOTFOUND
		                                                           : H_EIO;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? H_EBUSY : H_EIO;
	return take_fd(&fd);
}

static const char *const beside[] = { "", "-wal", "-shm", "-journal" };

void index_remove(const char *dir, const char *name) {
	for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
		auto_free char *path = xasprintf("%s/%s%s", dir, name, beside[i]);

		(void)unlink(path);
	}
}

/* A log left beside would be taken for the new file's: it goes first. Without it the old file is
 * older, never wrong. */
int index_replace(const char *dir, const char *name) {
	auto_free char *from = xasprintf("%s/%s", dir, name);
	auto_free char *to = xasprintf("%s/index.db", dir);

	for (size_t i = 1; i < ARRAY_LEN(beside); i++) {
		auto_free char *path = xasprintf("%s%s", to, beside[i]);

		(void)unlink(path);
	}
	return rename(from, to) == 0 ? 0 : H_EIO;
}

uint64_t index_bytes(const char *dir) {
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
		auto_free char *path = xasprintf("%s/index.db%s", dir, beside[i]);

		if (lstat(path, &st) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

/* Made by us, so that the mode does not depend on a umask; SQLite gives its other files the same. */
static int make_file(const char *path) {
	auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return errno == ENOSPC ? H_ENOSPACE : errno == EACCES ? H_EPERM : H_EIO;
	return fchmod(fd, 0640) == 0 ? 0 : H_EIO;
}

/* ---- opening ---- */

static int64_t pragma(struct index *x, const char *sql) {
	sqlite3_stmt *q = NULL;
	int64_t v = -1;

	if (sqlite3_prepare_v2(x->db, sql, -1, &q, NULL) == SQLITE_OK &&
	    sqlite3_step(q) == SQLITE_ROW)
		v = sqlite3_column_int64(q, 0);
	(void)sqlite3_finalize(q);
	return v;
}

static int prepare_all(struct index *x, struct err *e) {
	for (size_t i = 0; i < SQL_COUNT; i++) {
		if (sqlite3_prepare_v3(x->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT,
		                       &x->stmt[i], NULL) != SQLITE_OK)
			return failed(x, e);
	}
	return 0;
}

/* What it is, before anything of it is believed. */
static int look(struct index *x, struct err *e) {
	int64_t id = pragma(x, "PRAGMA application_id");
	int64_t version = pragma(x, "PRAGMA user_version");

	if (id < 0 || version < 0)
		return failed(x, e);
	if (id != APPLICATION_ID)
		return err_set(e, H_EFORMAT, "index.db is no index of Hansard");
	if (version != INDEX_VERSION)
		return err_set(e, H_EVERSION, "index.db was written by another version of Hansard");
	return prepare_all(x, e);
}

static int make_schema(struct index *x, struct err *e) {
	auto_free char *sql =
		xasprintf("BEGIN; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;",
	                  schema, APPLICATION_ID, INDEX_VERSION);

	return run(x, sql) < 0 ? failed(x, e) : 0;
}

static void set_limits(struct index *x) {
	(void)sqlite3_busy_timeout(x->db, BUSY_MS);
	(void)sqlite3_db_config(x->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	(void)sqlite3_db_config(x->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	(void)sqlite3_limit(x->db, SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024);
}

static int set_up_write(struct index *x, bool as_wal, struct err *e) {
	int keep = 1;

	set_limits(x);
	if (run(x, "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096;") < 0 ||
	    run(x, as_wal ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
	                  : "PRAGMA journal_mode = DELETE; PRAGMA synchronous = NORMAL;") < 0)
		return failed(x, e);
	(void)sqlite3_wal_autocheckpoint(x->db, CHECKPOINT_PAGES);
	(void)sqlite3_file_control(x->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
	if (pragma(x, "SELECT count(*) FROM sqlite_master") == 0) {
		int rc = make_schema(x, e);

		if (rc < 0)
			return rc;
	}
	return look(x, e);
}

int index_open_write(struct index **ret, const char *dir, const char *name, bool as_wal,
                     struct err *e) {
	auto_free char *path = xasprintf("%s/%s", dir, name);
	int rc = make_file(path);

	if (rc < 0)
		return err_set(e, rc, "%s: %s", path, h_err_text(rc));
	struct index *x = xcalloc(1, sizeof(*x));

	rc = sqlite3_open_v2(path, &x->db,
	                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
	                     NULL);
	rc = rc == SQLITE_OK ? set_up_write(x, as_wal, e) : failed(x, e);
	if (rc < 0) {
		index_close(&x);
		return rc;
	}
	*ret = x;
	return 0;
}

/* A file name in a URI: what has a meaning there is written as %XX. */
static char *uri_of(const char *path, const char *tail) {
	char *uri = xmalloc(strlen(path) * 3 + strlen(tail) + 8);
	size_t n = 0;

	memcpy(uri, "file:", 5);
	n = 5;
	for (const char *p = path; *p != '\0'; p++) {
		if (strchr("?#%", *p) != NULL)
			n += (size_t)snprintf(uri + n, 4, "%%%02X", (unsigned)(uint8_t)*p);
		else
			uri[n++] = *p;
	}
	memcpy(uri + n, tail, strlen(tail) + 1);
	return uri;
}

static int try_read(struct index **ret, const char *path, const char *tail, struct err *e) {
	struct index *x = xcalloc(1, sizeof(*x));
	auto_free char *uri = uri_of(path, tail);
	int rc = sqlite3_open_v2(uri, &x->db,
	                         SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
	                                 SQLITE_OPEN_NOFOLLOW,
	                         NULL);

	if (rc == SQLITE_OK) {
		set_limits(x);
		rc = look(x, e);
	} else {
		rc = failed(x, e);
	}
	if (rc < 0) {
		index_close(&x);
		return rc;
	}
	*ret = x;
	return 0;
}

/* A copy without -wal, in a place where none can be made, is opened as what it is: a file that nobody
 * changes. */
int index_open_read(struct index **ret, const char *dir, struct err *e) {
	auto_free char *path = xasprintf("%s/index.db", dir);
	auto_free char *wal = xasprintf("%s-wal", path);
	struct stat st;

	if (lstat(path, &st) != 0)
		return err_set(e, errno == ENOENT || errno == ENOTDIR ? H_ENOTFOUND : H_EPERM,
		               "%s: %s", path, strerror(errno));
	int rc = try_read(ret, path, "?mode=ro", e);

	if (rc == H_EPERM && (lstat(wal, &st) != 0 || st.st_size == 0))
		rc = try_read(ret, path, "?mode=ro&immutable=1", e);
	return rc;
}

void index_close(struct index **x) {
	if (*x == NULL)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		(void)sqlite3_finalize((*x)->stmt[i]);
	(void)sqlite3_close((*x)->db);
	free(*x);
	*x = NULL;
}

/* ---- statements of SQLite ---- */

static void bind_text(sqlite3_stmt *q, int at, struct str s) {
	(void)sqlite3_bind_text(q, at, s.p != NULL ? s.p : "", (int)MIN(s.n, (size_t)INT32_MAX),
	                        SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *q, int at, const void *p, size_t n) {
	(void)sqlite3_bind_blob(q, at, p, (int)n, SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *q, int at, uint64_t v) {
	int64_t i;

	memcpy(&i, &v, sizeof(i)); /* fingerprints use all bits */
	(void)sqlite3_bind_int64(q, at, i);
}

static uint64_t column_u64(sqlite3_stmt *q, int at) {
	int64_t i = sqlite3_column_int64(q, at);
	uint64_t v;

	memcpy(&v, &i, sizeof(v));
	return v;
}

static struct str column_str(sqlite3_stmt *q, int at) {
	const void *p = sqlite3_column_blob(q, at);

	return str_mem(p, p != NULL ? (size_t)sqlite3_column_bytes(q, at) : 0);
}

static void end(sqlite3_stmt *q) {
	(void)sqlite3_reset(q);
	(void)sqlite3_clear_bindings(q);
}

/* Runs one that yields no rows. */
static int step_done(sqlite3_stmt *q) {
	int rc = code_of(sqlite3_step(q));

	end(q);
	return rc;
}

int index_begin(struct index *x) {
	return run(x, "BEGIN IMMEDIATE");
}

int index_commit(struct index *x) {
	return run(x, "COMMIT");
}

void index_rollback(struct index *x) {
	(void)run(x, "ROLLBACK");
}

int index_has(struct index *x, const uint8_t sid[SID_SIZE]) {
	sqlite3_stmt *q = x->stmt[SQL_HAS];

	bind_blob(q, 1, sid, SID_SIZE);
	int rc = sqlite3_step(q);

	end(q);
	return rc == SQLITE_ROW ? 1 : code_of(rc);
}

static int drop(struct index *x, const uint8_t sid[SID_SIZE]) {
	static const enum sql_id ids[] = { SQL_DROP_USED, SQL_DROP_FILTER, SQL_DROP };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(ids); i++) {
		bind_blob(x->stmt[ids[i]], 1, sid, SID_SIZE);
		rc = step_done(x->stmt[ids[i]]);
	}
	return rc;
}

static uint32_t sum_u64(uint32_t crc, uint64_t v) {
	return crc32c(crc, &v, sizeof(v));
}

static uint32_t sum_session(const struct index_session *s) {
	const struct str texts[] = { s->protocol, s->connection,   s->role, s->database, s->subject,
		                     s->kind,     s->on_behalf_of, s->run,  s->reason };
	const uint64_t numbers[] = { s->opened_wall_ns, s->last_wall_ns, s->is_verified,
		                     s->is_unreadable,  s->is_capped,    s->commands,
		                     s->failed,         s->rows,         s->frames,
		                     s->filters };
	uint32_t crc = crc32c(0, s->sid, SID_SIZE);

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		crc = sum_u64(crc, numbers[i]);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		crc = crc32c(sum_u64(crc, texts[i].n), texts[i].p, texts[i].n);
	return crc;
}

static uint32_t sum_filter(int64_t row, uint64_t first, uint64_t last, struct str bits) {
	uint32_t crc = sum_u64(sum_u64(sum_u64(0, (uint64_t)row), first), last);

	return crc32c(crc, bits.p, bits.n);
}

int index_put(struct index *x, const struct index_session *s, int64_t *ret_row) {
	const struct str texts[] = { s->protocol, s->connection,   s->role, s->database, s->subject,
		                     s->kind,     s->on_behalf_of, s->run,  s->reason };
	const uint64_t numbers[] = { (uint64_t)((s->is_verified ? FLAG_VERIFIED : 0) |
		                                (s->is_unreadable ? FLAG_UNREADABLE : 0) |
		                                (s->is_capped ? FLAG_CAPPED : 0)),
		                     s->commands,
		                     s->failed,
		                     s->rows,
		                     s->frames,
		                     s->filters,
		                     sum_session(s) };
	sqlite3_stmt *q = x->stmt[SQL_PUT];
	int rc = drop(x, s->sid);

	if (rc < 0)
		return rc;
	bind_blob(q, 1, s->sid, SID_SIZE);
	bind_u64(q, 2, s->opened_wall_ns);
	bind_u64(q, 3, s->last_wall_ns);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		bind_text(q, 4 + (int)i, texts[i]);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		bind_u64(q, 13 + (int)i, numbers[i]);
	rc = step_done(q);
	*ret_row = sqlite3_last_insert_rowid(x->db);
	return rc;
}

static int statement_id(struct index *x, const struct index_statement *s, int64_t *ret) {
	sqlite3_stmt *q = x->stmt[SQL_FIND_STATEMENT];

	bind_u64(q, 1, s->print);
	bind_text(q, 2, s->text);
	int rc = sqlite3_step(q);

	*ret = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
	end(q);
	if (rc != SQLITE_DONE)
		return code_of(rc);
	q = x->stmt[SQL_PUT_STATEMENT];
	bind_u64(q, 1, s->print);
	bind_text(q, 2, s->text);
	rc = step_done(q);
	*ret = sqlite3_last_insert_rowid(x->db);
	return rc;
}

int index_put_statement(struct index *x, int64_t row, const struct index_statement *s) {
	const uint64_t numbers[] = { s->count,       s->failed,        s->first_number,
		                     s->last_number, s->first_wall_ns, s->last_wall_ns };
	sqlite3_stmt *q = x->stmt[SQL_PUT_USED];
	int64_t id;
	int rc = statement_id(x, s, &id);

	if (rc < 0)
		return rc;
	(void)sqlite3_bind_int64(q, 1, row);
	(void)sqlite3_bind_int64(q, 2, id);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		bind_u64(q, 3 + (int)i, numbers[i]);
	return step_done(q);
}

int index_put_filter(struct index *x, int64_t row, uint64_t first, uint64_t last, struct str bits) {
	sqlite3_stmt *q = x->stmt[SQL_PUT_FILTER];

	(void)sqlite3_bind_int64(q, 1, row);
	bind_u64(q, 2, first);
	bind_u64(q, 3, last);
	bind_blob(q, 4, bits.p, bits.n);
	bind_u64(q, 5, sum_filter(row, first, last, bits));
	return step_done(q);
}

/* ---- watermark ---- */

int index_mark_put(struct index *x, const struct index_mark *m) {
	sqlite3_stmt *q = x->stmt[SQL_PUT_MARK];

	bind_u64(q, 1, m->wall_ns);
	bind_u64(q, 2, m->behind_sessions);
	bind_u64(q, 3, m->passes);
	return step_done(q);
}

int index_mark_get(struct index *x, struct index_mark *m) {
	sqlite3_stmt *q = x->stmt[SQL_GET_MARK];
	int rc = sqlite3_step(q);

	*m = (struct index_mark){ .wall_ns = 0 };
	if (rc == SQLITE_ROW) {
		m->wall_ns = column_u64(q, 0);
		m->behind_sessions = column_u64(q, 1);
		m->passes = column_u64(q, 2);
		m->sessions = column_u64(q, 3);
	}
	end(q);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? H_EFORMAT : code_of(rc);
}

/* ---- looking ---- */

/* id, then SESSION_COLUMNS. */
static int take_session(sqlite3_stmt *q, struct index_session *s) {
	struct str *const texts[] = { &s->protocol,     &s->connection, &s->role,
		                      &s->database,     &s->subject,    &s->kind,
		                      &s->on_behalf_of, &s->run,        &s->reason };
	struct str sid = column_str(q, 1);
	uint64_t flags = column_u64(q, 13);

	*s = (struct index_session){ .opened_wall_ns = column_u64(q, 2),
		                     .last_wall_ns = column_u64(q, 3) };
	if (sid.n != SID_SIZE)
		return H_EFORMAT;
	memcpy(s->sid, sid.p, SID_SIZE);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = column_str(q, 4 + (int)i);
	s->is_verified = (flags & FLAG_VERIFIED) != 0;
	s->is_unreadable = (flags & FLAG_UNREADABLE) != 0;
	s->is_capped = (flags & FLAG_CAPPED) != 0;
	s->commands = column_u64(q, 14);
	s->failed = column_u64(q, 15);
	s->rows = column_u64(q, 16);
	s->frames = column_u64(q, 17);
	s->filters = column_u64(q, 18);
	return column_u64(q, 19) == sum_session(s) ? 0 : H_EFORMAT;
}

static bool has_all(struct str bits, const struct index_query *iq) {
	for (size_t i = 0; i < iq->hash_count; i++) {
		if (!filter_has(bits, iq->hash[i]))
			return false;
	}
	return true;
}

/* All filters are read, so that one that is missing or altered is noticed; the latest commands that may
 * hold it all are told. */
static int look_up(struct index *x, int64_t row, const struct index_query *iq,
                   struct index_hit *hit) {
	sqlite3_stmt *q = x->stmt[SQL_FILTERS];
	uint64_t count = 0, last = 0;
	bool is_sound = true;
	int rc;

	(void)sqlite3_bind_int64(q, 1, row);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct str bits = column_str(q, 2);
		uint64_t upto = column_u64(q, 1);

		count++;
		is_sound = is_sound &&
		           sum_filter(row, column_u64(q, 0), upto, bits) == column_u64(q, 3);
		if (!has_all(bits, iq))
			continue;
		hit->may_hold = true;
		last = MAX(last, upto);
	}
	end(q);
	is_sound = is_sound && count == hit->session.filters;
	hit->may_hold = hit->may_hold || !is_sound;
	hit->last_number = is_sound ? last : UINT64_MAX;
	return code_of(rc);
}

static int judge(struct index *x, sqlite3_stmt *q, const struct index_query *iq,
                 struct index_hit *hit) {
	const struct index_session *s = &hit->session;
	int rc = take_session(q, &hit->session);

	hit->may_hold = false;
	hit->last_number = UINT64_MAX;
	if (rc < 0 || s->last_wall_ns < iq->since_ns ||
	    (iq->until_ns != 0 && s->opened_wall_ns > iq->until_ns))
		return rc;
	if (s->is_unreadable || s->is_capped || iq->hash_count == 0) {
		hit->may_hold = s->commands != 0 || s->is_unreadable || s->is_capped;
		return 0;
	}
	return look_up(x, sqlite3_column_int64(q, 0), iq, hit);
}

int index_each(struct index *x, const struct index_query *iq, index_hit_fn *fn, void *arg) {
	sqlite3_stmt *q = x->stmt[SQL_EACH];
	struct index_hit hit;
	int rc;

	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		int done = judge(x, q, iq, &hit);

		if (done == 0)
			done = fn(arg, &hit);
		if (done != 0) {
			end(q);
			return done;
		}
	}
	end(q);
	return code_of(rc);
}

int index_statements(struct index *x, const uint8_t *sid, index_statement_fn *fn, void *arg) {
	sqlite3_stmt *q = x->stmt[sid != NULL ? SQL_STATEMENTS : SQL_ALL_STATEMENTS];
	int done = 0;
	int rc = SQLITE_DONE;

	if (sid != NULL)
		bind_blob(q, 1, sid, SID_SIZE);
	while (done == 0 && (rc = sqlite3_step(q)) == SQLITE_ROW)
		done = fn(arg, &(struct index_statement){ .text = column_str(q, 0),
		                                          .print = column_u64(q, 1),
		                                          .count = column_u64(q, 2),
		                                          .failed = column_u64(q, 3),
		                                          .first_number = column_u64(q, 4),
		                                          .last_number = column_u64(q, 5),
		                                          .first_wall_ns = column_u64(q, 6),
		                                          .last_wall_ns = column_u64(q, 7) });
	end(q);
	return done != 0 ? done : code_of(rc);
}

int index_check(struct index *x) {
	sqlite3_stmt *q = NULL;
	bool is_ok = sqlite3_prepare_v2(x->db, "PRAGMA integrity_check(1)", -1, &q, NULL) ==
	                     SQLITE_OK &&
	             sqlite3_step(q) == SQLITE_ROW && str_is(column_str(q, 0), "ok");

	(void)sqlite3_finalize(q);
	return is_ok ? 0 : H_EFORMAT;
}
