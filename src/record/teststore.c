/*
 * teststore.c: a small writer of stores for tests.
 *
 * Frames of a session are kept in memory and copied to its part file when it settles; the current
 * journal segment is an image that is written when the store is freed or the segment changes. All
 * times, ids and salts come from counters.
 */
#include "record/teststore.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "record/journal_format.h"
#include "record/tlog.h"

enum { SESSIONS_MAX = 2400, BATCH_MAX = 48 * 1024, FRAMES_MAX = 4096 };

struct ts_session {
	struct teststore *t;
	uint8_t sid[SID_SIZE];
	struct frame_builder builder;
	struct tree tree;
	struct buf frames; /* all tree frames, back to back */
	uint32_t offset[FRAMES_MAX];
	uint64_t first_seq[FRAMES_MAX], wall[FRAMES_MAX], mono[FRAMES_MAX];
	uint64_t part_first, settled; /* frames */
	uint32_t part;
	uint64_t seq;
	uint64_t streams[4];
	uint32_t commands;
	bool has_gap;
};

struct teststore {
	char dir[256];
	unsigned segments;
	uint64_t wall, mono, salts;
	struct frame_codec *codec;
	struct tlog_writer *log;
	struct tree log_tree;
	struct seg_head seg;
	uint8_t *image;
	size_t at;
	uint64_t batch_no;
	struct buf batch;
	uint32_t batch_frames;
	unsigned boots;
	struct ts_session *sessions[SESSIONS_MAX];
	size_t session_count;
};

static void must(bool ok) {
	if (!ok)
		abort();
}

/* --- files --- */

static void make_dirs(char *path) {
	for (char *p = path + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		must(mkdir(path, 0700) == 0 || errno == EEXIST);
		*p = '/';
	}
}

static void write_at(const struct teststore *t, const char *name, struct str bytes, bool append) {
	auto_free char *path = xasprintf("%s/record/%s", t->dir, name);

	make_dirs(path);
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC),
	                      0600);

	must(fd >= 0);
	must(write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
}

static int log_write(void *arg, const char *name, struct str bytes) {
	const struct teststore *t = arg;
	auto_free char *in_log = xasprintf("log/%s", name);
	auto_free char *path = xasprintf("%s/record/log/%s", t->dir, name);

	if (bytes.p == NULL)
		must(unlink(path) == 0);
	else
		write_at(t, in_log, bytes, false);
	return 0;
}

/* --- the journal --- */

static void write_segment(const struct teststore *t) {
	auto_free char *name = xasprintf("journal/%08x.seg",
	                                 (unsigned)(t->seg.number % t->segments));

	write_at(t, name, str_mem(t->image, TS_SEGMENT_SIZE), false);
}

static void next_salt(struct teststore *t, uint8_t out[16]) {
	uint8_t hash[SHA256_SIZE];

	t->salts++;
	sha256(hash, str_mem(&t->salts, sizeof(t->salts)));
	memcpy(out, hash, 16);
}

static void begin_segment(struct teststore *t, uint64_t number) {
	t->seg = (struct seg_head){ .size = TS_SEGMENT_SIZE,
		                    .number = number,
		                    .wall_ns = t->wall,
		                    .first_batch = t->batch_no,
		                    .first_leaf = tlog_size(t->log) };
	memset(t->seg.node, 0x11, sizeof(t->seg.node));
	next_salt(t, t->seg.salt);
	seg_head_encode(t->image, &t->seg);
	t->at = JOURNAL_BLOCK;
}

void ts_next_segment(struct teststore *t) {
	uint64_t number = t->seg.number + 1;

	assert(t->batch.len == 0);
	write_segment(t);
	memset(t->image, 0, TS_SEGMENT_SIZE);
	if (number >= t->segments) {
		/* What an earlier use leaves behind stays where it is. */
		auto_free char *path = xasprintf("%s/record/journal/%08x.seg", t->dir,
		                                 (unsigned)(number % t->segments));
		auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

		must(fd >= 0 && read(fd, t->image, TS_SEGMENT_SIZE) == (ssize_t)TS_SEGMENT_SIZE);
		for (size_t i = 0; i < t->session_count; i++)
			ts_settle(t->sessions[i]);
		ts_tiles(t);
	}
	begin_segment(t, number);
}

void ts_flush(struct teststore *t) {
	struct batch_head h = { .payload_len = (uint32_t)t->batch.len,
		                .frames = t->batch_frames,
		                .number = t->batch_no,
		                .durable_upto = t->batch_no - 1,
		                .mono_ns = t->mono };

	if (t->batch.len == 0)
		return;
	/* The segment's first leaf counts what came before this batch: only between batches may it
	 * change, so tests go to the next segment by themselves before it is full. */
	must(t->at + batch_size(t->batch.len) <= TS_SEGMENT_SIZE);
	memcpy(h.salt, t->seg.salt, sizeof(h.salt));
	memcpy(t->image + t->at + JOURNAL_BATCH_HEAD, buf_peek(&t->batch).p, t->batch.len);
	t->at += batch_finish(t->image + t->at, &h);
	t->batch_no++;
	t->batch_frames = 0;
	buf_clear(&t->batch);
	write_segment(t);
}

static void to_batch(struct teststore *t, struct str frame) {
	w_bytes(&t->batch, frame);
	must(!t->batch.bad);
	t->batch_frames++;
}

/* --- the store --- */

struct teststore *ts_new(const char *dir, unsigned segments) {
	struct teststore *t = xcalloc(1, sizeof(*t));
	static const char node[] =
		"{\"format\":1,\"node\":\"11111111111111111111111111111111\",\"origin\":\"" TS_ORIGIN
		"\",\"vkey\":\"" TS_VKEY "\"}\n";

	must(str_copy(t->dir, sizeof(t->dir), str_of(dir)) && segments >= 2);
	t->segments = segments;
	t->wall = 1763706000000000000;
	t->mono = 86400000000000;
	t->codec = frame_codec_new();
	t->log = tlog_writer_new(log_write, NULL, t);
	tree_init(&t->log_tree);
	t->image = xcalloc(1, TS_SEGMENT_SIZE);
	t->batch_no = 1;
	buf_init(&t->batch, BATCH_MAX);
	write_at(t, "node.json", str_mem(node, sizeof(node) - 1), false);
	begin_segment(t, 0);
	return t;
}

void ts_free(struct teststore **pt) {
	struct teststore *t = *pt;

	write_segment(t);
	for (size_t i = 0; i < t->session_count; i++) {
		frame_builder_fini(&t->sessions[i]->builder);
		buf_fini(&t->sessions[i]->frames);
		free(t->sessions[i]);
	}
	frame_codec_free(&t->codec);
	tlog_writer_free(&t->log);
	free(t->image);
	buf_fini(&t->batch);
	free(t);
	*pt = NULL;
}

static void tick(struct teststore *t, uint64_t ns) {
	t->wall += ns;
	t->mono += ns;
}

/* --- the log --- */

static void put_log(struct teststore *t, struct str leaf) {
	struct frame_head h = { .kind = FRAME_LOG, .n_events = 1, .ring = FRAME_RING_NONE };
	uint8_t salt[FRAME_SALT_SIZE], hash[SHA256_SIZE];
	uint8_t out[4096];
	struct buf raw;

	tick(t, 1000);
	memcpy(h.sid, frame_log_sid, SID_SIZE);
	h.frame_no = h.first_seq = tlog_size(t->log);
	h.wall_ns = t->wall;
	h.mono_ns = t->mono;
	next_salt(t, salt);
	buf_init(&raw, 4096);
	w_bytes(&raw, str_mem(salt, sizeof(salt)));
	tlog_put_entry(&raw, leaf);
	int n = frame_encode(t->codec, &h, buf_peek(&raw), out, sizeof(out));

	must(n > 0);
	to_batch(t, str_mem(out, (size_t)n));
	must(tlog_append(t->log, leaf) == 0);
	tree_leaf(hash, leaf);
	tree_add(&t->log_tree, hash);
	buf_fini(&raw);
}

static void put_leaf(struct teststore *t, const struct tlog_leaf *l) {
	struct buf b;

	buf_init(&b, 4096);
	tlog_put_leaf(&b, l);
	put_log(t, buf_peek(&b));
	buf_fini(&b);
}

static const char *boot_name(const struct teststore *t, char out[16]) {
	(void)snprintf(out, 16, "boot%u", t->boots);
	return out;
}

void ts_boot(struct teststore *t) {
	struct tlog_leaf l = { .type = TLOG_BOOT, .wall = t->wall, .version = STR("0.1.0") };
	char name[16];

	t->boots++;
	l.boot = str_of(boot_name(t, name));
	memset(l.node, 0x11, sizeof(l.node));
	put_leaf(t, &l);
}

void ts_stop(struct teststore *t) {
	struct tlog_leaf l = { .type = TLOG_STOP, .wall = t->wall, .batch = t->batch_no - 1 };
	char name[16];

	l.boot = str_of(boot_name(t, name));
	put_leaf(t, &l);
}

void ts_head(struct teststore *t, struct ts_session *const *sessions, size_t count) {
	struct buf b;

	buf_init(&b, TLOG_LEAF_MAX);
	tlog_head_begin(&b, t->wall, t->batch_no - 1);
	for (size_t i = 0; i < count; i++) {
		uint8_t root[SHA256_SIZE];

		tree_root(&sessions[i]->tree, root);
		tlog_head_add(&b, sessions[i]->sid, sessions[i]->tree.size, root);
	}
	tlog_head_end(&b);
	put_log(t, buf_peek(&b));
	buf_fini(&b);
}

void ts_tiles(struct teststore *t) {
	must(tlog_flush(t->log) == 0);
}

void ts_sign_with(struct teststore *t, const uint8_t seed[ED25519_SEED_SIZE]) {
	struct tlog_checkpoint c = { .origin = STR(TS_ORIGIN), .size = t->log_tree.size };
	struct buf b;

	assert(t->batch.len == 0);
	tree_root(&t->log_tree, c.root);
	buf_init(&b, TLOG_CHECKPOINT_MAX);
	tlog_checkpoint_sign(&b, &c, seed);
	write_at(t, "log/checkpoint", buf_peek(&b), false);
	buf_fini(&b);
}

void ts_sign(struct teststore *t) {
	uint8_t seed[ED25519_SEED_SIZE];

	memset(seed, 1, sizeof(seed));
	ts_sign_with(t, seed);
}

/* --- sessions --- */

static void put_frame(struct ts_session *s, struct frame_head *h, struct str raw) {
	struct teststore *t = s->t;
	static uint8_t out[FRAME_MAX];
	uint8_t leaf[SHA256_SIZE];
	uint64_t no = s->tree.size;

	must(no < FRAMES_MAX);
	memcpy(h->sid, s->sid, SID_SIZE);
	h->frame_no = no;
	h->first_seq = s->seq;
	h->wall_ns = t->wall;
	h->part = s->part;
	int n = frame_encode(t->codec, h, raw, out, sizeof(out));

	must(n > 0);
	s->offset[no] = (uint32_t)s->frames.len;
	s->first_seq[no] = h->first_seq;
	s->wall[no] = h->wall_ns;
	s->mono[no] = h->mono_ns;
	s->seq += h->kind == FRAME_DATA ? h->n_events : 0;
	must(buf_append(&s->frames, str_mem(out, (size_t)n)) == 0);
	frame_leaf(leaf, out);
	tree_add(&s->tree, leaf);
	to_batch(t, str_mem(out, (size_t)n));
}

void ts_json(struct ts_session *s, uint8_t kind, const char *json) {
	struct frame_head h = { .kind = kind, .ring = FRAME_RING_NONE };
	uint8_t salt[FRAME_SALT_SIZE];
	struct buf raw;

	tick(s->t, 1000);
	h.mono_ns = s->t->mono;
	h.flags = kind == FRAME_CLOSE ? FRAME_LAST : 0;
	next_salt(s->t, salt);
	buf_init(&raw, FRAME_RAW_MAX);
	w_bytes(&raw, str_mem(salt, sizeof(salt)));
	w_bytes(&raw, str_of(json));
	put_frame(s, &h, buf_peek(&raw));
	buf_fini(&raw);
}

struct ts_session *ts_session_json(struct teststore *t, unsigned n, struct str open_json) {
	struct ts_session *s = xcalloc(1, sizeof(*s));
	uint64_t ms = t->wall / NS_PER_MS;
	struct tlog_leaf l = { .type = TLOG_OPEN };
	auto_free char *json = str_dup(open_json);

	must(t->session_count < SESSIONS_MAX);
	t->sessions[t->session_count++] = s;
	s->t = t;
	s->seq = 1;
	uuid7(s->sid, t->wall);
	for (unsigned i = 6; i < SID_SIZE; i++)
		s->sid[i] = (uint8_t)(n * 31 + i * 7);
	for (unsigned i = 0; i < 6; i++)
		s->sid[i] = (uint8_t)(ms >> (40 - 8 * i));
	s->sid[6] = (uint8_t)(0x70 | (n >> 8 & 15));
	s->sid[8] = 0x80;
	s->sid[9] = (uint8_t)n;
	frame_builder_init(&s->builder);
	tree_init(&s->tree);
	buf_init(&s->frames, (size_t)1 << 26);
	ts_json(s, FRAME_OPEN, json);
	memcpy(l.sid, s->sid, SID_SIZE);
	l.wall = t->wall;
	frame_leaf(l.hash, buf_peek(&s->frames).p);
	put_leaf(t, &l);
	return s;
}

struct ts_session *ts_session(struct teststore *t, unsigned n, const char *protocol) {
	auto_free char *json = xasprintf(
		"{\"format\":1,\"protocol\":\"%s\",\"connection\":\"shop\",\"labels\":{\"env\":\"test\"},"
		"\"role\":\"default\",\"target\":{\"address\":\"127.0.0.1:5432\",\"user\":\"app\","
		"\"database\":\"shop\",\"tls\":\"disable\"},\"who\":{\"kind\":\"agent\",\"subject\":"
		"\"local:agent%u\",\"groups\":[\"agents\"],\"on_behalf_of\":\"ann\","
		"\"on_behalf_of_verified\":true,\"run\":\"r%u\",\"credential\":\"c%u\"},\"context\":{},"
		"\"context_verified\":false,\"client\":{\"address\":\"127.0.0.1:40000\",\"tls\":\"\","
		"\"server_name\":\"\",\"application\":\"test\"},\"policy\":{\"durable\":\"before-forward\","
		"\"results\":\"full\",\"hygiene\":\"open\",\"snapshot\":\"\"},\"limits\":{\"session_max_ns\":"
		"28800000000000},\"gateway\":{\"node\":\"11111111111111111111111111111111\",\"version\":"
		"\"0.1.0\",\"boot\":\"boot%u\"},\"opened_wall_ns\":%llu}",
		protocol, n, n, n, t->boots, (unsigned long long)t->wall);

	return ts_session_json(t, n, str_of(json));
}

const uint8_t *ts_sid(const struct ts_session *s) {
	return s->sid;
}

void ts_event(struct ts_session *s, uint8_t type, uint8_t stream, struct str payload) {
	struct rec_event e;

	tick(s->t, 1000);
	must(rec_event_parse(&e, type, stream, payload) == 0);
	must(frame_builder_add(&s->builder, type, stream, s->t->mono, payload) == 0);
	s->commands += type == REC_COMMAND;
	if (type == REC_RAW || type == REC_INJECTED || type == REC_REDACTED ||
	    type == REC_DROPPED || type == REC_HIDDEN || type == REC_DIGEST || type == REC_WITHHELD)
		s->streams[stream] = e.offset + e.length;
}

void ts_cut(struct ts_session *s) {
	struct frame_head h = { .kind = FRAME_DATA, .ring = 0, .slot = 1, .generation = 1 };
	uint8_t salt[FRAME_SALT_SIZE];

	tick(s->t, 1000);
	h.mono_ns = s->t->mono;
	next_salt(s->t, salt);
	struct str raw = frame_builder_finish(&s->builder, &h, salt);

	put_frame(s, &h, raw);
	frame_builder_reset(&s->builder, false);
}

static void raw_event(struct ts_session *s, uint8_t stream, struct str bytes) {
	struct buf p;

	buf_init(&p, FRAME_RAW_MAX);
	rec_put_raw(&p, s->streams[stream], bytes);
	ts_event(s, REC_RAW, stream, buf_peek(&p));
	buf_fini(&p);
}

/* What PostgreSQL would say: one message per row, then completion and ready. */
static void answer(struct buf *b, unsigned rows) {
	for (unsigned i = 0; i < rows; i++) {
		char text[64];
		int n = snprintf(text, sizeof(text), "row %u of the answer, as the server said it",
		                 i);

		w_u8(b, 'D');
		w_be32(b, (uint32_t)(4 + 2 + 4 + n));
		w_be16(b, 1);
		w_be32(b, (uint32_t)n);
		w_bytes(b, str_mem(text, (size_t)n));
	}
	w_u8(b, 'C');
	w_be32(b, 4 + 9);
	w_cstr(b, STR("SELECT 1"));
	w_u8(b, 'Z');
	w_be32(b, 5);
	w_u8(b, 'I');
}

void ts_talk(struct ts_session *s, const char *sql, unsigned rows) {
	struct rec_command c = { .verb = STR("SELECT"), .rows = rows };
	struct buf b, p;

	buf_init(&b, FRAME_RAW_MAX);
	buf_init(&p, 4096);
	w_u8(&b, 'Q');
	w_be32(&b, (uint32_t)(4 + strlen(sql) + 1));
	w_cstr(&b, str_of(sql));
	c.c_off = s->streams[0];
	c.c_len = b.len;
	c.text_off = c.c_off + 5;
	c.text_len = strlen(sql);
	c.t_off = s->streams[2];
	sha256(c.text_sha256, str_of(sql));
	raw_event(s, 0, buf_peek(&b));
	ts_cut(s);
	buf_clear(&b);
	answer(&b, rows);
	c.t_len = b.len;
	raw_event(s, 2, buf_peek(&b));
	c.received_dt = -3000;
	c.done_dt = -1000;
	rec_put_command(&p, &c);
	ts_event(s, REC_COMMAND, 0, buf_peek(&p));
	buf_clear(&p);
	rec_put_forwarded(&p, s->streams[0]);
	ts_event(s, REC_FORWARDED, 1, buf_peek(&p));
	ts_cut(s);
	buf_fini(&b);
	buf_fini(&p);
}

static void part_name(const struct ts_session *s, char out[128]) {
	char sid[UUID_TEXT_SIZE];
	uint64_t ms = 0;
	struct tm tm;

	for (unsigned i = 0; i < 6; i++)
		ms = ms << 8 | s->sid[i];
	time_t at = (time_t)(ms / 1000);

	must(gmtime_r(&at, &tm) != NULL);
	uuid_text(sid, s->sid);
	(void)snprintf(out, 128, "sessions/%04d/%02d/%02d/%s.%04u.rec", tm.tm_year + 1900,
	               tm.tm_mon + 1, tm.tm_mday, sid, s->part);
}

static size_t offset_of(const struct ts_session *s, uint64_t frame) {
	return frame == s->tree.size ? s->frames.len : s->offset[frame];
}

void ts_settle(struct ts_session *s) {
	char name[128];
	size_t from = offset_of(s, s->settled), to = s->frames.len;

	if (s->settled == s->tree.size)
		return;
	part_name(s, name);
	write_at(s->t, name, str_mem(buf_peek(&s->frames).p + from, to - from), true);
	s->settled = s->tree.size;
}

/* Index or trailer behind the settled frames; returns the frame's size. */
static size_t put_tail(struct ts_session *s, uint8_t kind, struct str raw) {
	struct frame_head h = { .kind = kind, .ring = FRAME_RING_NONE, .part = s->part };
	char name[128];
	auto_free uint8_t *out = xmalloc(FRAME_HEAD_SIZE + raw.n);

	memcpy(h.sid, s->sid, SID_SIZE);
	h.frame_no = s->tree.size;
	h.first_seq = s->seq;
	h.wall_ns = s->wall[s->tree.size - 1];
	h.mono_ns = s->mono[s->tree.size - 1];
	int n = frame_encode(s->t->codec, &h, raw, out, FRAME_HEAD_SIZE + raw.n);

	must(n > 0);
	part_name(s, name);
	write_at(s->t, name, str_mem(out, (size_t)n), true);
	return (size_t)n;
}

static void put_index_and_trailer(struct ts_session *s) {
	size_t start = offset_of(s, s->part_first), size = s->frames.len - start;
	struct frame_trailer t = { .index_offset = size,
		                   .first_frame = s->part_first,
		                   .frames = s->tree.size - s->part_first };
	struct buf raw;

	buf_init(&raw, FRAME_RAW_MAX);
	for (uint64_t i = s->part_first; i < s->tree.size; i++)
		frame_put_index_row(&raw, &(struct frame_index_row){ .offset = s->offset[i] - start,
		                                                     .first_seq = s->first_seq[i],
		                                                     .wall_ns = s->wall[i] });
	t.bytes_before = size + put_tail(s, FRAME_INDEX, buf_peek(&raw));
	tree_root(&s->tree, t.root);
	buf_clear(&raw);
	frame_put_trailer(&raw, &t);
	(void)put_tail(s, FRAME_TRAILER, buf_peek(&raw));
	buf_fini(&raw);
}

void ts_seal(struct ts_session *s) {
	struct tlog_leaf l = { .type = TLOG_SEAL,
		               .wall = s->t->wall,
		               .part = s->part,
		               .first = s->part_first,
		               .frames = s->tree.size - s->part_first };

	ts_settle(s);
	put_index_and_trailer(s);
	memcpy(l.sid, s->sid, SID_SIZE);
	tree_root(&s->tree, l.hash);
	put_leaf(s->t, &l);
	s->part_first = s->tree.size;
	s->part++;
}

void ts_gap(struct ts_session *s) {
	struct tlog_leaf l = { .type = TLOG_GAP,
		               .wall = s->t->wall,
		               .after_seq = s->seq - 1,
		               .reason = STR("recorder") };
	auto_free char *json =
		xasprintf("{\"reason\":\"recorder\",\"after_seq\":%llu,\"lost\":null}",
	                  (unsigned long long)(s->seq - 1));

	ts_json(s, FRAME_GAP, json);
	memcpy(l.sid, s->sid, SID_SIZE);
	put_leaf(s->t, &l);
	s->has_gap = true;
}

void ts_close(struct ts_session *s, bool seal) {
	struct tlog_leaf l = { .type = TLOG_CLOSE,
		               .reason = STR("client"),
		               .gap = s->has_gap,
		               .parts = s->part + 1u };
	auto_free char *json = xasprintf(
		"{\"reason\":\"client\",\"code\":0,\"events\":%llu,\"frames\":%llu,\"commands\":%u,"
		"\"streams\":[%llu,%llu,%llu,%llu],\"gap\":%s}",
		(unsigned long long)(s->seq - 1), (unsigned long long)(s->tree.size + 1),
		s->commands, (unsigned long long)s->streams[0], (unsigned long long)s->streams[1],
		(unsigned long long)s->streams[2], (unsigned long long)s->streams[3],
		s->has_gap ? "true" : "false");

	ts_json(s, FRAME_CLOSE, json);
	memcpy(l.sid, s->sid, SID_SIZE);
	l.wall = s->t->wall;
	l.frames = s->tree.size;
	tree_root(&s->tree, l.hash);
	if (seal)
		ts_seal(s);
	put_leaf(s->t, &l);
}

/* --- whole stores --- */

void ts_standard(const char *dir) {
	struct teststore *t = ts_new(dir, 2);
	struct ts_session *acts, *two, *hole, *live;

	ts_boot(t);
	acts = ts_session(t, 1, "acts");
	ts_json(acts, FRAME_ACT, "{\"act\":\"gateway.started\",\"who\":{},\"wall_ns\":1}");
	two = ts_session(t, 2, "postgres");
	ts_talk(two, "select 1", 1);
	ts_head(t, (struct ts_session *[]){ acts, two }, 2);
	ts_flush(t);
	ts_seal(two);
	ts_talk(two, "select n from generate_series(1, 40) n", 40);
	ts_flush(t);
	ts_close(two, true);
	ts_close(acts, true);
	ts_flush(t);
	ts_next_segment(t);
	ts_boot(t);
	hole = ts_session(t, 3, "postgres");
	ts_talk(hole, "update accounts set n = 1", 0);
	ts_gap(hole);
	ts_close(hole, false);
	ts_flush(t);
	live = ts_session(t, 4, "postgres");
	ts_talk(live, "select 'live'", 2);
	ts_head(t, &live, 1);
	ts_flush(t);
	ts_next_segment(t);
	ts_talk(live, "select 'more'", 3);
	ts_head(t, &live, 1);
	ts_flush(t);
	ts_tiles(t);
	ts_sign(t);
	ts_free(&t);
}

void ts_long_log(const char *dir) {
	struct teststore *t = ts_new(dir, 3);

	ts_boot(t);
	for (unsigned i = 0; i < 270; i++) {
		struct ts_session *s = ts_session(t, i, "postgres");

		ts_close(s, i % 2 == 0);
		if (i % 20 == 19)
			ts_flush(t);
		if (i % 20 == 19)
			ts_next_segment(t);
	}
	ts_stop(t);
	ts_flush(t);
	ts_tiles(t);
	ts_sign(t);
	ts_free(&t);
}
