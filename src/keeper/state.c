/*
 * state.c: SQLite behind the few questions of state.h. This file alone in keeper includes it.
 *
 * Write-ahead mode. `synchronous` is switched per call: FULL before writes that a promise rests on,
 * NORMAL for those that need only survive this process. Statements are prepared once and kept; each call
 * resets its statement when done (`end`), so that no read transaction stays open.
 *
 * The file's schema has a version (user_version); a newer one than ours is refused.
 */
#include "keeper/state.h"

#include <sqlite3.h>
#include <sys/stat.h>

/*      name, SQL */
#define STATEMENTS(X) \
	X(TOKEN_PUT, \
	  "INSERT INTO tokens(hash, id, who, issued, expires, salt, iterations, stored_key, " \
	  "server_key) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)") \
	X(TOKEN_GET, "SELECT id, who, issued, expires, revoked FROM tokens WHERE hash = ?1") \
	X(TOKEN_FIND, "SELECT id, who, issued, expires, revoked, salt, iterations, stored_key, " \
	              "server_key FROM tokens WHERE id = ?1") \
	X(TOKEN_REVOKE, \
	  "UPDATE tokens SET revoked = CASE revoked WHEN 0 THEN ?2 ELSE revoked END " \
	  "WHERE id = ?1") \
	X(TOKEN_EACH, "SELECT id, who, issued, expires, revoked FROM tokens " \
	              "ORDER BY issued DESC, id") \
	X(TOKEN_PURGE, "DELETE FROM tokens WHERE expires < ?1") \
	X(PIN_GET, "SELECT salt, iterations, stored_key FROM pins WHERE key = ?1") \
	X(PIN_PUT, "INSERT OR REPLACE INTO pins(key, salt, iterations, stored_key) " \
	           "VALUES(?1, ?2, ?3, ?4)") \
	X(PIN_FORGET, "DELETE FROM pins WHERE substr(key, 1, length(?1)) = ?1") \
	X(SIGNED_GET, "SELECT size, root FROM signed WHERE one = 1") \
	X(SIGNED_PUT, "INSERT OR REPLACE INTO signed(one, size, root) VALUES(1, ?1, ?2)") \
	X(REFUSAL_PUT, \
	  "INSERT OR REPLACE INTO refusals(ref, reason, source, detail, count, first, " \
	  "last) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)") \
	X(REFUSAL_GET, "SELECT ref, reason, source, detail, count, first, last FROM refusals " \
	               "WHERE ref = ?1") \
	X(REFUSAL_TRIM, "DELETE FROM refusals WHERE ref IN (SELECT ref FROM refusals " \
	                "ORDER BY last DESC LIMIT -1 OFFSET 10000)") \
	X(GRANT_PUT, "INSERT OR REPLACE INTO grants(grant_id, json) VALUES(?1, ?2)") \
	X(GRANT_DEL, "DELETE FROM grants WHERE grant_id = ?1") \
	X(GRANT_GET, "SELECT json FROM grants WHERE grant_id = ?1") \
	X(GRANT_CLEAR, "DELETE FROM grants") \
	X(META_GET, "SELECT value FROM meta WHERE key = ?1") \
	X(META_PUT, "INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)")

enum stmt_id {
#define X(name, sql) SQL_##name,
	STATEMENTS(X)
#undef X
		SQL_COUNT
};

static const char *const sql_text[SQL_COUNT] = {
#define X(name, sql) [SQL_##name] = (sql),
	STATEMENTS(X)
#undef X
};

enum { SCHEMA_VERSION = 2 };

static const char schema[] =
	"CREATE TABLE tokens(hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, who TEXT NOT NULL,"
	" issued INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0)"
	" WITHOUT ROWID;"
	"CREATE TABLE pins(key TEXT PRIMARY KEY, salt BLOB NOT NULL, iterations INTEGER NOT NULL,"
	" stored_key BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE signed(one INTEGER PRIMARY KEY CHECK(one = 1), size INTEGER NOT NULL,"
	" root BLOB NOT NULL);"
	"CREATE TABLE refusals(ref TEXT PRIMARY KEY, reason TEXT NOT NULL, source TEXT NOT NULL,"
	" detail TEXT NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL,"
	" last INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE grants(grant_id INTEGER PRIMARY KEY, json TEXT NOT NULL);"
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"PRAGMA user_version = 1;";

/* From each version to the next; a fresh file goes all the way. */
static const char *const steps[SCHEMA_VERSION] = {
	[0] = schema,
	[1] = "ALTER TABLE tokens ADD COLUMN salt BLOB;"
	      "ALTER TABLE tokens ADD COLUMN iterations INTEGER;"
	      "ALTER TABLE tokens ADD COLUMN stored_key BLOB;"
	      "ALTER TABLE tokens ADD COLUMN server_key BLOB;"
	      "PRAGMA user_version = 2;",
};

struct state {
	sqlite3 *db;
	sqlite3_stmt *stmt[SQL_COUNT];
	bool is_full; /* synchronous is FULL now */
};

static int failed(const struct state *s, struct err *e) {
	bool is_space = sqlite3_errcode(s->db) == SQLITE_FULL;

	return err_set(e, is_space ? H_ENOSPACE : H_EIO, "state.db: %s", sqlite3_errmsg(s->db));
}

static int run(struct state *s, const char *sql) {
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : H_EIO;
}

static int schema_version(struct state *s, int *ret) {
	sqlite3_stmt *q = NULL;
	int rc = H_EIO;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
	    sqlite3_step(q) == SQLITE_ROW) {
		*ret = sqlite3_column_int(q, 0);
		rc = 0;
	}
	(void)sqlite3_finalize(q);
	return rc;
}

static int set_up(struct state *s, struct err *e) {
	int version = 0;

	(void)sqlite3_busy_timeout(s->db, 2000);
	if (run(s,
	        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;") <
	            0 ||
	    schema_version(s, &version) < 0)
		return failed(s, e);
	s->is_full = true;
	if (version > SCHEMA_VERSION)
		return err_set(e, H_EVERSION, "state.db was written by a newer version of Hansard");
	if (version < 0)
		return err_set(e, H_EFORMAT, "state.db is damaged: its version is negative");
	for (; version < SCHEMA_VERSION; version++) {
		if (run(s, "BEGIN") < 0 || run(s, steps[version]) < 0 || run(s, "COMMIT") < 0)
			return failed(s, e);
	}
	for (size_t i = 0; i < SQL_COUNT; i++) {
		if (sqlite3_prepare_v3(s->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT,
		                       &s->stmt[i], NULL) != SQLITE_OK)
			return failed(s, e);
	}
	return 0;
}

int state_open(struct state **ret, const char *path, struct err *e) {
	struct state *s = xcalloc(1, sizeof(*s));
	mode_t old = umask(077);
	int rc = sqlite3_open_v2(path, &s->db,
	                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
	                                 SQLITE_OPEN_NOFOLLOW,
	                         NULL);

	rc = rc == SQLITE_OK ? set_up(s, e) : failed(s, e);
	(void)umask(old);
	if (rc < 0) {
		state_close(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

void state_close(struct state **s) {
	if (*s == NULL)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		(void)sqlite3_finalize((*s)->stmt[i]);
	(void)sqlite3_close((*s)->db);
	free(*s);
	*s = NULL;
}

/* ---- helpers: bind, step, end ---- */

static sqlite3_stmt *begin(struct state *s, enum stmt_id id, bool is_durable) {
	if (is_durable != s->is_full) {
		(void)run(s,
		          is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
		s->is_full = is_durable;
	}
	return s->stmt[id];
}

static void end(sqlite3_stmt *q) {
	(void)sqlite3_reset(q);
	(void)sqlite3_clear_bindings(q);
}

static void bind_text(sqlite3_stmt *q, int at, struct str text) {
	(void)sqlite3_bind_text(q, at, text.p != NULL ? text.p : "", (int)text.n, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *q, int at, const void *p, size_t n) {
	(void)sqlite3_bind_blob(q, at, p, (int)n, SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *q, int at, uint64_t v) {
	(void)sqlite3_bind_int64(q, at, (sqlite3_int64)v);
}

static struct str column_text(sqlite3_stmt *q, int at) {
	return str_mem(sqlite3_column_text(q, at), (size_t)sqlite3_column_bytes(q, at));
}

static uint64_t column_u64(sqlite3_stmt *q, int at) {
	return (uint64_t)sqlite3_column_int64(q, at);
}

/* A blob of exactly n bytes. */
static int column_blob(sqlite3_stmt *q, int at, void *out, size_t n) {
	if ((size_t)sqlite3_column_bytes(q, at) != n)
		return H_EFORMAT;
	memcpy(out, sqlite3_column_blob(q, at), n);
	return 0;
}

/* Runs a statement that yields no row. */
static int done(struct state *s, sqlite3_stmt *q) {
	int rc = sqlite3_step(q);

	end(q);
	if (rc == SQLITE_DONE)
		return sqlite3_changes(s->db);
	if (rc == SQLITE_FULL)
		return H_ENOSPACE;
	return rc == SQLITE_CONSTRAINT ? H_EEXIST : H_EIO;
}

static int done_zero(struct state *s, sqlite3_stmt *q) {
	int rc = done(s, q);

	return rc < 0 ? rc : 0;
}

/* 1 a row, 0 the end, negative. */
static int step(sqlite3_stmt *q) {
	int rc = sqlite3_step(q);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : H_EIO;
}

/* ---- tokens ---- */

int state_token_put(struct state *s, const uint8_t hash[SHA256_SIZE], const struct token_row *row) {
	sqlite3_stmt *q = begin(s, SQL_TOKEN_PUT, true);

	bind_blob(q, 1, hash, SHA256_SIZE);
	bind_text(q, 2, row->id);
	bind_text(q, 3, row->who);
	bind_u64(q, 4, row->issued_wall_ns);
	bind_u64(q, 5, row->expires_wall_ns);
	if (row->has_verifier) {
		const struct scram_verifier *v = &row->verifier;

		bind_blob(q, 6, v->salt, sizeof(v->salt));
		bind_u64(q, 7, v->iterations);
		bind_blob(q, 8, v->stored_key, sizeof(v->stored_key));
		bind_blob(q, 9, v->server_key, sizeof(v->server_key));
	}
	return done_zero(s, q);
}

static void token_columns(sqlite3_stmt *q, struct token_row *row) {
	row->id = column_text(q, 0);
	row->who = column_text(q, 1);
	row->issued_wall_ns = column_u64(q, 2);
	row->expires_wall_ns = column_u64(q, 3);
	row->revoked_wall_ns = column_u64(q, 4);
}

int state_token_get(struct state *s, const uint8_t hash[SHA256_SIZE], struct arena *a,
                    struct token_row *row) {
	sqlite3_stmt *q = begin(s, SQL_TOKEN_GET, s->is_full);

	bind_blob(q, 1, hash, SHA256_SIZE);
	int rc = step(q);

	if (rc > 0) {
		token_columns(q, row);
		row->id = arena_str(a, row->id);
		row->who = arena_str(a, row->who);
	}
	end(q);
	if (rc < 0)
		return rc;
	return rc > 0 ? 0 : H_ENOTFOUND;
}

static int verifier_columns(sqlite3_stmt *q, struct token_row *row) {
	struct scram_verifier *v = &row->verifier;

	row->has_verifier = sqlite3_column_type(q, 5) != SQLITE_NULL;
	if (!row->has_verifier)
		return 0;
	v->iterations = (uint32_t)sqlite3_column_int64(q, 6);
	int rc = column_blob(q, 5, v->salt, sizeof(v->salt));

	if (rc == 0)
		rc = column_blob(q, 7, v->stored_key, sizeof(v->stored_key));
	return rc < 0 ? rc : column_blob(q, 8, v->server_key, sizeof(v->server_key));
}

int state_token_find(struct state *s, struct str id, struct arena *a, struct token_row *row) {
	sqlite3_stmt *q = begin(s, SQL_TOKEN_FIND, s->is_full);

	bind_text(q, 1, id);
	int rc = step(q);

	if (rc > 0) {
		token_columns(q, row);
		row->id = arena_str(a, row->id);
		row->who = arena_str(a, row->who);
		rc = verifier_columns(q, row);
	} else if (rc == 0) {
		rc = H_ENOTFOUND;
	}
	end(q);
	return rc;
}

int state_token_revoke(struct state *s, struct str id, uint64_t now) {
	sqlite3_stmt *q = begin(s, SQL_TOKEN_REVOKE, true);

	bind_text(q, 1, id);
	bind_u64(q, 2, now);
	int n = done(s, q);

	if (n < 0)
		return n;
	return n == 0 ? H_ENOTFOUND : 0;
}

int state_token_each(struct state *s, state_token_fn *fn, void *arg) {
	sqlite3_stmt *q = begin(s, SQL_TOKEN_EACH, s->is_full);
	int rc;

	while ((rc = step(q)) > 0) {
		struct token_row row;

		token_columns(q, &row);
		rc = fn(arg, &row);
		if (rc < 0)
			break;
	}
	end(q);
	return rc;
}

int state_token_purge(struct state *s, uint64_t before) {
	sqlite3_stmt *q = begin(s, SQL_TOKEN_PURGE, false);

	bind_u64(q, 1, before);
	return done(s, q);
}

/* ---- pins ---- */

int state_pin_get(struct state *s, struct str key, struct pin *ret) {
	sqlite3_stmt *q = begin(s, SQL_PIN_GET, s->is_full);
	struct pin p = { 0 };

	bind_text(q, 1, key);
	int rc = step(q);

	if (rc > 0) {
		p.salt_len = (size_t)sqlite3_column_bytes(q, 0);
		p.iterations = (uint32_t)sqlite3_column_int64(q, 1);
		rc = p.salt_len <= PIN_SALT_MAX ? column_blob(q, 0, p.salt, p.salt_len) : H_EFORMAT;
		if (rc == 0)
			rc = column_blob(q, 2, p.stored_key, SHA256_SIZE);
		if (rc == 0)
			*ret = p;
	} else if (rc == 0) {
		rc = H_ENOTFOUND;
	}
	end(q);
	return rc;
}

int state_pin_put(struct state *s, struct str key, const struct pin *p) {
	sqlite3_stmt *q = begin(s, SQL_PIN_PUT, true);

	bind_text(q, 1, key);
	bind_blob(q, 2, p->salt, p->salt_len);
	bind_u64(q, 3, p->iterations);
	bind_blob(q, 4, p->stored_key, SHA256_SIZE);
	return done_zero(s, q);
}

int state_pin_forget(struct state *s, struct str prefix) {
	sqlite3_stmt *q = begin(s, SQL_PIN_FORGET, true);

	bind_text(q, 1, prefix);
	return done(s, q);
}

/* ---- the log ---- */

int state_signed_get(struct state *s, struct signed_head *ret) {
	sqlite3_stmt *q = begin(s, SQL_SIGNED_GET, s->is_full);
	int rc = step(q);

	*ret = (struct signed_head){ 0 };
	if (rc > 0) {
		ret->size = column_u64(q, 0);
		rc = column_blob(q, 1, ret->root, SHA256_SIZE);
	}
	end(q);
	return rc;
}

int state_signed_put(struct state *s, const struct signed_head *h) {
	sqlite3_stmt *q = begin(s, SQL_SIGNED_PUT, true);

	bind_u64(q, 1, h->size);
	bind_blob(q, 2, h->root, SHA256_SIZE);
	return done_zero(s, q);
}

/* ---- refusals ---- */

int state_refusal_put(struct state *s, const struct refusal_row *row) {
	sqlite3_stmt *q = begin(s, SQL_REFUSAL_PUT, false);

	bind_text(q, 1, row->ref);
	bind_text(q, 2, row->reason);
	bind_text(q, 3, row->source);
	bind_text(q, 4, row->detail);
	bind_u64(q, 5, row->count);
	bind_u64(q, 6, row->first_wall_ns);
	bind_u64(q, 7, row->last_wall_ns);
	int rc = done_zero(s, q);

	if (rc == 0)
		rc = done_zero(s, begin(s, SQL_REFUSAL_TRIM, false));
	return rc;
}

int state_refusal_get(struct state *s, struct str ref, struct arena *a, struct refusal_row *row) {
	sqlite3_stmt *q = begin(s, SQL_REFUSAL_GET, s->is_full);

	bind_text(q, 1, ref);
	int rc = step(q);

	if (rc > 0) {
		row->ref = arena_str(a, column_text(q, 0));
		row->reason = arena_str(a, column_text(q, 1));
		row->source = arena_str(a, column_text(q, 2));
		row->detail = arena_str(a, column_text(q, 3));
		row->count = column_u64(q, 4);
		row->first_wall_ns = column_u64(q, 5);
		row->last_wall_ns = column_u64(q, 6);
	}
	end(q);
	if (rc < 0)
		return rc;
	return rc > 0 ? 0 : H_ENOTFOUND;
}

/* ---- grants ---- */

int state_grant_put(struct state *s, uint64_t grant, struct str json) {
	sqlite3_stmt *q = begin(s, SQL_GRANT_PUT, false);

	bind_u64(q, 1, grant);
	bind_text(q, 2, json);
	return done_zero(s, q);
}

int state_grant_del(struct state *s, uint64_t grant) {
	sqlite3_stmt *q = begin(s, SQL_GRANT_DEL, false);

	bind_u64(q, 1, grant);
	return done_zero(s, q);
}

int state_grant_get(struct state *s, uint64_t grant, struct arena *a, struct str *ret) {
	sqlite3_stmt *q = begin(s, SQL_GRANT_GET, s->is_full);

	bind_u64(q, 1, grant);
	int rc = step(q);

	if (rc > 0)
		*ret = arena_str(a, column_text(q, 0));
	end(q);
	if (rc < 0)
		return rc;
	return rc > 0 ? 0 : H_ENOTFOUND;
}

int state_grant_clear(struct state *s) {
	return done_zero(s, begin(s, SQL_GRANT_CLEAR, false));
}

/* ---- meta ---- */

int state_meta_get(struct state *s, const char *key, uint8_t *out, size_t n) {
	sqlite3_stmt *q = begin(s, SQL_META_GET, s->is_full);

	bind_text(q, 1, str_of(key));
	int rc = step(q);

	if (rc > 0)
		rc = column_blob(q, 0, out, n);
	else if (rc == 0)
		rc = H_ENOTFOUND;
	end(q);
	return rc;
}

int state_meta_put(struct state *s, const char *key, const uint8_t *p, size_t n) {
	sqlite3_stmt *q = begin(s, SQL_META_PUT, true);

	bind_text(q, 1, str_of(key));
	bind_blob(q, 2, p, n);
	return done_zero(s, q);
}
