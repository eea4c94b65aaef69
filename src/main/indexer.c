/*
 * indexer.c: see indexer.h.
 *
 *   part files ── reader ── view ── words, pairs ──► filters of some 16,000 hashes ─┐
 *                               └── normal forms ──► counts ─────────────────────────┴─► one transaction
 *
 * A session is read once, when its last frame stands in a sealed part, so its rows never change. What
 * is read was chosen by agents and targets: everything that is kept of a session is bounded, and what
 * does not fit makes it "capped": searches then read it instead.
 *
 * A session that ends the process (a fault in a decoder) must not do so for ever. Its id and a count
 * stand in <store>/index/reading while it is read; at the third time it is entered as unreadable.
 *
 * Invariant: a filter covers whole commands, so a match lies in one filter.
 */
#include "main/indexer.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/mem.h"
#include "catalog/filter.h"
#include "main/feed.h"
#include "main/match.h"
#include "main/said.h"
#include "policy/sql_norm.h"

enum {
	CHUNK_HASHES = 16 * 1024,   /* then a filter is closed, behind a command */
	FILTER_BYTES_MAX = 4 << 20, /* of all filters of a session */
	STATEMENTS_MAX = 1000,      /* distinct normal forms of a session */
	NORMAL_MAX = 4096,          /* bytes of one that are kept */
	SEEN_MAX = 256,             /* texts whose words are in the filter already */
	BATCH_SESSIONS = 64,        /* in one transaction */
	TRIES_MAX = 3,
};
#define BATCH_NS (NS_PER_S / 2)

struct counted {
	struct index_statement s;
	char *text;
};

struct chunk {
	uint64_t first, last;
	struct buf bits;
};

/* A text that was met before: the same statement again is one lookup. The key is a hash that nobody can
 * choose two texts for. */
struct seen {
	uint8_t key[SHA256_SIZE];
	struct counted *statement;
	uint64_t chunk;
	bool is_used;
};

/* The session that is being read. */
struct reading {
	const struct indexer_options *o;
	struct feed feed;
	struct index_session facts;
	json_t *open, *end;
	struct filter_set set;
	uint64_t set_first, set_last;
	struct chunk *chunks;
	size_t chunk_count, filter_bytes;
	struct map *by_text; /* normal form → struct counted */
	struct counted **statements;
	size_t statement_count;
	struct counted *now; /* of the command that is under way */
	struct seen seen[SEEN_MAX];
	struct buf normal, scratch;
	bool is_closed, is_stopped;
};

/* ---- filters ---- */

static void end_chunk(struct reading *r) {
	struct buf bits;

	if (r->set.count == 0)
		return;
	buf_init(&bits, FILTER_SIZE_MAX);
	filter_encode(&r->set, &bits);
	r->filter_bytes += bits.len;
	if (bits.bad || r->filter_bytes > FILTER_BYTES_MAX) {
		r->facts.is_capped = true;
		buf_fini(&bits);
	} else {
		r->chunks = xrealloc(r->chunks, (r->chunk_count + 1) * sizeof(r->chunks[0]));
		r->chunks[r->chunk_count++] = (struct chunk){ .first = r->set_first,
			                                      .last = r->set_last,
			                                      .bits = bits };
	}
	filter_set_clear(&r->set);
}

static void add_hash(void *arg, uint64_t hash) {
	struct reading *r = arg;

	filter_set_add(&r->set, hash);
}

/* ---- statements ---- */

static struct counted *count_text(struct reading *r, struct str text) {
	struct counted *c;
	void *old;

	buf_clear(&r->normal);
	(void)!sql_norm(text, &r->normal); /* what fitted */
	r->normal.bad = false;
	c = map_get(r->by_text, buf_peek(&r->normal));
	if (c != NULL)
		return c;
	if (r->statement_count == STATEMENTS_MAX) {
		r->facts.is_capped = true;
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->text = str_dup(buf_peek(&r->normal));
	c->s.text = str_mem(c->text, r->normal.len);
	c->s.print = sql_print(c->s.text);
	if (map_put(r->by_text, c->s.text, c, &old) < 0)
		abort();
	r->statements = xrealloc(r->statements,
	                         (r->statement_count + 1) * sizeof(r->statements[0]));
	r->statements[r->statement_count++] = c;
	return c;
}

static void add_statement(struct reading *r, struct str text) {
	uint8_t key[SHA256_SIZE];
	size_t at;

	sha256(key, text);
	memcpy(&at, key, sizeof(at));
	struct seen *s = &r->seen[at % SEEN_MAX];
	bool is_same = s->is_used && memcmp(s->key, key, sizeof(key)) == 0;

	if (!is_same || s->chunk != r->chunk_count)
		text_hashes_sql(text, add_hash, r);
	if (!is_same)
		s->statement = count_text(r, text);
	memcpy(s->key, key, sizeof(key));
	s->is_used = true;
	s->chunk = r->chunk_count;
	r->now = s->statement;
}

static int on_said(void *arg, size_t number, struct str text) {
	struct reading *r = arg;

	if (number == 0)
		add_statement(r, text);
	else
		text_hashes_plain(text, add_hash, r);
	return 0;
}

static void on_begin(void *arg, const struct view_command *c) {
	struct reading *r = arg;

	if (r->set.count >= CHUNK_HASHES)
		end_chunk(r);
	if (r->set.count == 0)
		r->set_first = c->number;
	r->set_last = c->number;
	r->now = NULL;
	(void)!said_each(c, &r->scratch, on_said, r);
}

static void on_end(void *arg, const struct view_command *c) {
	struct reading *r = arg;
	uint64_t wall = c->received_ns + r->feed.wall_minus_mono;

	r->facts.commands++;
	r->facts.failed += c->status == VIEW_FAILED ? 1 : 0;
	r->facts.rows += c->rows;
	if (r->now == NULL)
		return;
	struct index_statement *s = &r->now->s;

	if (s->count == 0) {
		s->first_number = c->number;
		s->first_wall_ns = wall;
	}
	s->count++;
	s->failed += c->status == VIEW_FAILED ? 1 : 0;
	s->last_number = c->number;
	s->last_wall_ns = wall;
}

/* ---- a session ---- */

static struct str text_of(const json_t *doc, const char *key) {
	const json_t *v = json_object_get(doc, key);

	return json_is_string(v) ? str_mem(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static void take_open(struct reading *r, const struct reader_item *it) {
	struct index_session *f = &r->facts;

	r->open = json_loadb(it->json.p, it->json.n, 0, NULL);
	const json_t *who = json_object_get(r->open, "who");

	f->opened_wall_ns = it->wall_ns;
	f->protocol = text_of(r->open, "protocol");
	f->connection = text_of(r->open, "connection");
	f->role = text_of(r->open, "role");
	f->database = text_of(json_object_get(r->open, "target"), "database");
	f->subject = text_of(who, "subject");
	f->kind = text_of(who, "kind");
	f->on_behalf_of = text_of(who, "on_behalf_of");
	f->is_verified = json_is_true(json_object_get(who, "on_behalf_of_verified"));
	f->run = text_of(who, "run");
}

static void on_item(void *arg, const struct reader_item *it) {
	struct reading *r = arg;

	r->facts.frames = it->head.frame_no + 1;
	r->facts.last_wall_ns = MAX(r->facts.last_wall_ns, it->head.wall_ns);
	if (it->kind == FRAME_OPEN && r->open == NULL) {
		take_open(r, it);
	} else if (it->kind == FRAME_CLOSE && r->end == NULL) {
		r->end = json_loadb(it->json.p, it->json.n, 0, NULL);
		r->facts.reason = text_of(r->end, "reason");
		r->is_closed = true;
	}
	if (r->o->stop != NULL && atomic_load(r->o->stop)) {
		r->is_stopped = true;
		r->feed.stop = true;
	}
}

static void reading_begin(struct reading *r, const struct indexer_options *o,
                          const uint8_t sid[SID_SIZE]) {
	*r = (struct reading){ .o = o };
	memcpy(r->facts.sid, sid, SID_SIZE);
	filter_set_init(&r->set);
	r->by_text = map_new(STATEMENTS_MAX);
	buf_init(&r->normal, NORMAL_MAX);
	said_scratch(&r->scratch);
}

static void reading_end(struct reading *r) {
	filter_set_fini(&r->set);
	map_free(&r->by_text);
	for (size_t i = 0; i < r->statement_count; i++) {
		free(r->statements[i]->text);
		free(r->statements[i]);
	}
	for (size_t i = 0; i < r->chunk_count; i++)
		buf_fini(&r->chunks[i].bits);
	free(r->statements);
	free(r->chunks);
	buf_fini(&r->normal);
	buf_fini(&r->scratch);
	json_decref(r->open);
	json_decref(r->end);
}

/* Reads it all: 0, H_EDRAIN. What cannot be read is a fact too: searches say more about it. */
static int read_session(struct reading *r, struct reader *from) {
	struct view_handler h = { .arg = r, .begin = on_begin, .end = on_end };
	struct err e = { .code = 0 };

	r->feed = (struct feed){ .view = pg_view_new(&h, SAID_MESSAGE_MAX),
		                 .item = on_item,
		                 .arg = r };
	int rc = feed_session(&r->feed, from, r->facts.sid, &e);

	pg_view_free(&r->feed.view);
	end_chunk(r);
	if (r->is_stopped)
		return H_EDRAIN;
	r->facts.is_unreadable = rc < 0 || !r->is_closed || r->open == NULL;
	return 0;
}

static int write_session(struct index *x, const struct reading *r) {
	struct index_session facts = r->facts;
	int64_t row;

	facts.filters = facts.is_capped ? 0 : r->chunk_count;
	int rc = index_put(x, &facts, &row);

	for (size_t i = 0; rc == 0 && i < r->statement_count; i++)
		rc = index_put_statement(x, row, &r->statements[i]->s);
	for (size_t i = 0; rc == 0 && !r->facts.is_capped && i < r->chunk_count; i++)
		rc = index_put_filter(x, row, r->chunks[i].first, r->chunks[i].last,
		                      buf_peek(&r->chunks[i].bits));
	return rc;
}

/* ---- a pass ---- */

struct mark {
	uint8_t sid[SID_SIZE];
	uint32_t tries;
};

struct pass {
	struct index *x;
	const struct indexer_options *o;
	struct indexer_result *result;
	struct reader *from;
	char *dir;
	int mark_fd;
	struct mark guilty;
	uint8_t (*sid)[SID_SIZE];
	size_t count, cap;
	bool in_batch;
	uint64_t batch_began;
	unsigned batch_count;
};

/* The acts of Hansard itself are in it too: they hold no statements. */
static int note_sid(void *arg, const uint8_t sid[SID_SIZE]) {
	struct pass *p = arg;
	int rc = index_has(p->x, sid);

	if (rc != 0)
		return MIN(rc, 0);
	if (p->count == p->cap) {
		p->cap = MAX(p->cap * 2, (size_t)64);
		p->sid = xrealloc(p->sid, p->cap * SID_SIZE);
	}
	memcpy(p->sid[p->count++], sid, SID_SIZE);
	return 0;
}

static uint32_t mark_sid(struct pass *p, const uint8_t sid[SID_SIZE]) {
	bool is_guilty = memcmp(p->guilty.sid, sid, SID_SIZE) == 0;
	struct mark m = { .tries = is_guilty ? p->guilty.tries + 1 : 1 };

	memcpy(m.sid, sid, SID_SIZE);
	if (p->mark_fd >= 0)
		(void)!pwrite(p->mark_fd, &m, sizeof(m), 0);
	return m.tries;
}

static bool is_full(const struct pass *p) {
	struct statvfs st;

	if (p->o->size_max != 0 && index_bytes(p->dir) >= p->o->size_max)
		return true;
	return p->o->room_min != 0 && statvfs(p->dir, &st) == 0 &&
	       (uint64_t)st.f_bavail * st.f_frsize < p->o->room_min;
}

static int end_batch(struct pass *p) {
	if (!p->in_batch)
		return 0;
	p->in_batch = false;
	return index_commit(p->x);
}

/* Sessions are added in transactions of many: one each would write as many times. */
static int add(struct pass *p, const struct reading *r) {
	int rc = 0;

	if (!p->in_batch) {
		rc = index_begin(p->x);
		p->in_batch = rc == 0;
		p->batch_began = mono_ns();
		p->batch_count = 0;
	}
	if (rc == 0)
		rc = write_session(p->x, r);
	if (rc == 0 &&
	    (++p->batch_count == BATCH_SESSIONS || mono_ns() - p->batch_began > BATCH_NS))
		rc = end_batch(p);
	p->result->added += rc == 0 ? 1 : 0;
	p->result->unreadable += rc == 0 && r->facts.is_unreadable ? 1 : 0;
	return rc;
}

static int take(struct pass *p, const uint8_t sid[SID_SIZE]) {
	struct reading r;
	int rc = reader_is_ended(p->from, sid);

	if (rc <= 0) {
		p->result->behind++;
		return 0;
	}
	bool is_hopeless = mark_sid(p, sid) > TRIES_MAX;

	reading_begin(&r, p->o, sid);
	r.facts.is_unreadable = true;
	rc = is_hopeless ? 0 : read_session(&r, p->from);
	if (rc == 0)
		rc = add(p, &r);
	reading_end(&r);
	return rc;
}

static int take_all(struct pass *p) {
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->count; i++) {
		if (p->o->stop != NULL && atomic_load(p->o->stop))
			rc = H_EDRAIN;
		else if (i % BATCH_SESSIONS == 0 && is_full(p))
			p->result->is_full = true;
		if (rc == 0 && p->result->is_full) {
			p->result->behind += p->count - i;
			break;
		}
		if (rc == 0)
			rc = take(p, p->sid[i]);
		if (p->o->progress != NULL)
			p->o->progress(p->o->arg, i + 1, p->count);
	}
	return rc;
}

static int finish(struct pass *p, uint64_t began, int rc) {
	int done = rc == 0 || rc == H_EDRAIN ? end_batch(p) : 0;
	struct index_mark m;

	if (p->in_batch)
		index_rollback(p->x);
	if (rc == 0)
		rc = done;
	if (rc < 0)
		return rc;
	rc = index_mark_get(p->x, &m);
	m.wall_ns = began;
	m.behind_sessions = p->result->behind;
	m.passes++;
	return rc == 0 ? index_mark_put(p->x, &m) : rc;
}

int indexer_pass(struct index *x, const struct indexer_options *o, uint64_t since_ns,
                 struct indexer_result *ret) {
	struct pass p = { .x = x, .o = o, .result = ret, .dir = index_dir(o->store) };
	auto_free char *mark = xasprintf("%s/reading", p.dir);
	uint64_t began = wall_ns();
	static const struct mark none;

	*ret = (struct indexer_result){ .added = 0 };
	p.mark_fd = open(mark, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (p.mark_fd >= 0 &&
	    pread(p.mark_fd, &p.guilty, sizeof(p.guilty), 0) != (ssize_t)sizeof(p.guilty))
		p.guilty = none;
	int rc = reader_open_parts(&p.from, o->store, NULL);

	if (rc == 0)
		rc = reader_each_since(p.from, since_ns, note_sid, &p);
	if (rc == 0)
		rc = take_all(&p);
	rc = finish(&p, began, rc);
	if (p.mark_fd >= 0) {
		(void)!pwrite(p.mark_fd, &none, sizeof(none), 0);
		(void)close(p.mark_fd);
	}
	reader_close(&p.from);
	free(p.sid);
	free(p.dir);
	return rc;
}

/* ---- from the beginning ---- */

/* Made by root offline, used by the recorder's user. */
static int give_away(const char *dir, const char *name) {
	auto_free char *path = xasprintf("%s/%s", dir, name);
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (lstat(dir, &st) != 0 || lchown(path, st.st_uid, st.st_gid) != 0)
		return errno == ENOENT ? 0 : H_EPERM;
	return 0;
}

int indexer_rebuild(const struct indexer_options *o, struct indexer_result *ret, struct err *e) {
	static const char *const others[] = { "lock", "reading" };
	auto_free char *dir = index_dir(o->store);
	struct index *x = NULL;

	index_remove(dir, "index.db.new");
	int rc = index_open_write(&x, dir, "index.db.new", false, e);

	if (rc == 0)
		rc = indexer_pass(x, o, 0, ret);
	index_close(&x);
	if (rc == 0)
		rc = give_away(dir, "index.db.new");
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(others); i++)
		rc = give_away(dir, others[i]);
	if (rc == 0)
		rc = index_replace(dir, "index.db.new");
	if (rc < 0) {
		index_remove(dir, "index.db.new");
		return e->text[0] != '\0'
		               ? rc
		               : err_set(e, rc, "the index cannot be made: %s", h_err_text(rc));
	}
	return 0;
}
