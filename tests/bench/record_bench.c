/*
 * record_bench.c: bulk rows through the real recorder beside what no recorder can avoid, verify beside
 * SHA-256, replay beside zstd. A limit and what is held against it alternate within one run, because
 * the machine's speed drifts; printed are medians over the rounds and the median of the ratios.
 *
 *   record_bench [DIR [MIB [ROUNDS [CONTENT]]]]
 *
 * DIR: where the store is made (removed afterwards; default /var/tmp); MIB of rows per measurement
 * (256); ROUNDS (3); CONTENT: 1 to 4, only that one.
 *
 * The recorder has its real threads (main and one helper), a ring, and files; the worker is this
 * program's main thread, which only copies rows into the ring. The ceiling is one thread, as there is
 * one helper, that does for each frame what the format asks for: zstd level 1, SHA-256 of the stored
 * body and of the header, the session tree. No copy, no CRC, no disk. A second one adds AES-256-GCM,
 * which encrypted frames will need.
 *
 * CPU of the recorder is all of this process but the main thread; rows count as received, in MiB.
 * What does not compress is bound by the files instead: the same stored bytes written by a plain loop
 * stand beside.
 */
#include <fcntl.h>
#include <fts.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <time.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "record/event.h"
#include "record/frame.h"
#include "record/reader.h"
#include "record/verify.h"
#include "recorder_rig.h"

enum {
	CHUNK = 64 * 1024, /* bytes of one event, as a worker reads them */
	CHUNKS = 256,      /* different ones, then they repeat */
	ROUNDS_MAX = 16,
	AHEAD = 16,
	HELPERS = 1
};

struct content {
	const char *name;
	size_t value; /* bytes of a row's value; 0: rows of 150 bytes with five columns */
	bool is_random;
};

static const struct content contents[] = {
	{ "150-byte rows", 150, false },
	{ "8 KiB values", 8192, false },
	{ "150-byte rows, random bytes", 150, true },
	{ "8 KiB values, random bytes", 8192, true },
};

/* Seconds of wall and CPU time for some bytes. */
struct cost {
	double wall, cpu, mib;
};

struct scene {
	const struct content *content;
	struct buf events[CHUNKS]; /* payloads for the ring */
	struct buf raws[CHUNKS];   /* the frames that come of them, before compression */
	uint8_t sid[ROUNDS_MAX][SID_SIZE];
	struct cost recorder[ROUNDS_MAX], plain[ROUNDS_MAX], sealed[ROUNDS_MAX], files[ROUNDS_MAX];
	struct cost replay[ROUNDS_MAX], unzip[ROUNDS_MAX];
	double stored; /* bytes of a stored body per byte of rows */
};

static uint64_t clock_of(clockid_t id) {
	struct timespec t;

	if (clock_gettime(id, &t) != 0)
		abort();
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t others_cpu(void) {
	return clock_of(CLOCK_PROCESS_CPUTIME_ID) - clock_of(CLOCK_THREAD_CPUTIME_ID);
}

static struct cost cost_of(uint64_t wall, uint64_t cpu, uint64_t bytes) {
	return (struct cost){ .wall = (double)wall / 1e9,
		              .cpu = (double)cpu / 1e9,
		              .mib = (double)bytes / (double)MIB };
}

/* --- rows as a PostgreSQL server sends them --- */

static uint64_t next_random(void) {
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Words in about the frequencies of a language: the first ones often. */
static const char *word(void) {
	static const char *const words[] = {
		"the",     "order",    "of",       "and",     "customer", "to",       "shipped",
		"in",      "invoice",  "for",      "payment", "with",     "address",  "on",
		"pending", "account",  "street",   "is",      "by",       "delivery", "returned",
		"north",   "approved", "number",   "from",    "credit",   "monthly",  "balance",
		"germany", "review",   "contract", "seven",   "supplier", "quantity", "warehouse",
		"refund",  "priority", "october",  "blue",    "carrier",  "standard", "discount",
	};
	uint64_t n = next_random();

	return words[(n % ARRAY_LEN(words)) * (n >> 32 & 0xff) >> 8];
}

static void put_words(struct buf *b, size_t n) {
	size_t end = b->len + n;

	while (b->len < end) {
		struct str w = str_of(word());

		w_bytes(b, str_head(w, MIN(w.n, end - b->len)));
		if (b->len < end)
			w_bytes(b, STR(" "));
	}
}

static void put_random(struct buf *b, size_t n) {
	for (; n >= 8; n -= 8)
		w_u64(b, next_random());
	for (; n != 0; n--)
		w_u8(b, (uint8_t)next_random());
}

/* id, name, time, amount, remark: about 150 bytes. */
static void put_row(struct buf *b, uint64_t id) {
	struct buf row;
	char text[4][48];
	uint64_t n = next_random();

	(void)snprintf(text[0], sizeof(text[0]), "%llu", (unsigned long long)id);
	(void)snprintf(text[1], sizeof(text[1]), "%s.%s@example.com", word(), word());
	(void)snprintf(text[2], sizeof(text[2]), "2026-%02u-%02u %02u:%02u:%02u.%06u+00",
	               (unsigned)(n % 12 + 1), (unsigned)(n >> 8 & 15) + 10,
	               (unsigned)(n >> 16 & 15), (unsigned)(n >> 24 & 31) + 10,
	               (unsigned)(n >> 32 & 31) + 10, (unsigned)(n >> 40 & 0xffff));
	(void)snprintf(text[3], sizeof(text[3]), "%u.%02u", (unsigned)(n >> 44 & 0xfff),
	               (unsigned)(n >> 56) % 100);
	buf_init(&row, 4096);
	w_be16(&row, 5);
	for (size_t i = 0; i < ARRAY_LEN(text); i++) {
		w_be32(&row, (uint32_t)strlen(text[i]));
		w_bytes(&row, str_of(text[i]));
	}
	w_be32(&row, 46);
	put_words(&row, 46);
	w_u8(b, 'D');
	w_be32(b, (uint32_t)row.len + 4);
	w_bytes(b, buf_peek(&row));
	buf_fini(&row);
}

static void put_value(struct buf *b, const struct content *c) {
	w_u8(b, 'D');
	w_be32(b, (uint32_t)c->value + 10);
	w_be16(b, 1);
	w_be32(b, (uint32_t)c->value);
	if (c->is_random)
		put_random(b, c->value);
	else
		put_words(b, c->value);
}

/* The stream of rows, the events that a worker makes of it, and the frames of those. */
static void make_scene(struct scene *s, const struct content *c) {
	struct frame_builder fb;
	struct buf rows;

	s->content = c;
	buf_init(&rows, (size_t)4 * CHUNK * CHUNKS);
	for (uint64_t id = 1000000; rows.len < (size_t)CHUNK * CHUNKS; id++) {
		if (c->value == 150 && !c->is_random)
			put_row(&rows, id);
		else
			put_value(&rows, c);
	}
	frame_builder_init(&fb);
	for (size_t i = 0; i < CHUNKS; i++) {
		struct frame_head h = { .mono_ns = 1000 };
		uint8_t salt[FRAME_SALT_SIZE];

		random_bytes(salt, sizeof(salt));
		buf_init(&s->events[i], (size_t)2 * CHUNK);
		buf_init(&s->raws[i], (size_t)2 * CHUNK);
		rec_put_raw(&s->events[i], (i + 1) * CHUNK,
		            str_head(str_from(buf_peek(&rows), i * CHUNK), CHUNK));
		if (frame_builder_add(&fb, REC_RAW, 2, 900, buf_peek(&s->events[i])) < 0)
			abort();
		w_bytes(&s->raws[i], frame_builder_finish(&fb, &h, salt));
		frame_builder_reset(&fb, false);
	}
	frame_builder_fini(&fb);
	buf_fini(&rows);
}

static void free_payloads(struct scene *s) {
	for (size_t i = 0; i < CHUNKS; i++) {
		buf_fini(&s->events[i]);
		buf_fini(&s->raws[i]);
	}
}

/* --- the recorder and its ceiling --- */

/* One session of so many events, timed until the last of them is durable. One more follows them,
 * because the event before a pause waits 50 ms for its frame to fill. */
static struct cost run_recorder(struct rig *b, const struct scene *s, size_t count) {
	struct rig_client c = { 0 };

	rig_open_sessions(b, 1);
	uint64_t cpu = others_cpu(), start = mono_ns();

	for (uint64_t durable = 0; durable < count;) {
		while (c.seq <= count && c.seq - durable < AHEAD &&
		       rig_put(b, 0, &c, REC_RAW, 2, buf_peek(&s->events[c.seq % CHUNKS])))
			;
		rig_publish(b);
		(void)ring_changed(&b->ring);
		durable = ring_durable(&b->ring, 0, b->generation, NULL);
		if (c.seq > count || c.seq - durable >= AHEAD)
			rig_wait_change(b);
		durable = ring_durable(&b->ring, 0, b->generation, NULL);
	}
	struct cost got = cost_of(mono_ns() - start, others_cpu() - cpu, count * CHUNK);

	rig_end_sessions(b, &c, 1);
	return got;
}

struct ceiling {
	ZSTD_CCtx *zstd;
	EVP_CIPHER_CTX *gcm; /* NULL: without */
	struct tree tree;
	uint64_t stored;
	uint8_t body[CHUNK * 2], head[FRAME_HASHED_SIZE];
};

static void encrypt(struct ceiling *c, size_t n) {
	static const uint8_t key[FRAME_KEY_SIZE], nonce[12];
	int used;

	if (EVP_EncryptInit_ex2(c->gcm, NULL, key, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(c->gcm, NULL, &used, c->head, FRAME_AAD_SIZE) != 1 ||
	    EVP_EncryptUpdate(c->gcm, c->body, &used, c->body, (int)n) != 1 ||
	    EVP_EncryptFinal_ex(c->gcm, c->body + n, &used) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c->gcm, EVP_CTRL_AEAD_GET_TAG, FRAME_TAG_SIZE, c->body + n) != 1)
		abort();
}

static void one_frame(struct ceiling *c, struct str raw) {
	size_t n = ZSTD_compressCCtx(c->zstd, c->body, raw.n - 1, raw.p, raw.n, 1);
	struct str body = ZSTD_isError(n) ? raw : str_mem(c->body, n);
	uint8_t leaf[SHA256_SIZE];

	if (c->gcm != NULL) {
		if (body.p == raw.p)
			memcpy(c->body, raw.p, raw.n);
		encrypt(c, body.n);
		body = str_mem(c->body, body.n + FRAME_TAG_SIZE);
	}
	sha256(c->head + FRAME_AAD_SIZE, body);
	tree_leaf(leaf, str_mem(c->head, sizeof(c->head)));
	tree_add(&c->tree, leaf);
	c->stored += body.n;
}

static struct cost run_ceiling(struct scene *s, size_t count, bool with_gcm) {
	static struct ceiling c;
	EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);

	c.zstd = ZSTD_createCCtx();
	c.gcm = with_gcm ? EVP_CIPHER_CTX_new() : NULL;
	c.stored = 0;
	tree_init(&c.tree);
	if (gcm == NULL || c.zstd == NULL ||
	    (with_gcm && EVP_EncryptInit_ex2(c.gcm, gcm, NULL, NULL, NULL) != 1))
		abort();
	uint64_t cpu = clock_of(CLOCK_THREAD_CPUTIME_ID), start = mono_ns();

	for (size_t i = 0; i < count; i++)
		one_frame(&c, buf_peek(&s->raws[i % CHUNKS]));
	struct cost got = cost_of(mono_ns() - start, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu,
	                          count * CHUNK);

	s->stored = (double)c.stored / (double)(count * CHUNK);
	ZSTD_freeCCtx(c.zstd);
	EVP_CIPHER_CTX_free(c.gcm);
	EVP_CIPHER_free(gcm);
	return got;
}

/* What the files alone take: each stored byte goes to a journal past the page cache, synchronously,
 * and to a session file through it. One thread, blocks of 256 KiB, a journal that is there already. */
static struct cost run_files(const struct scene *s, const char *dir, size_t count) {
	enum { BLOCK = 256 * 1024, JOURNAL = 64 * 1024 * 1024 };
	auto_free char *direct = xasprintf("%s/direct.tmp", dir);
	auto_free char *buffered = xasprintf("%s/buffered.tmp", dir);
	uint64_t bytes = (uint64_t)(s->stored * (double)(count * CHUNK)) / BLOCK * BLOCK;
	int how = O_RDWR | O_CREAT | O_CLOEXEC;
	auto_fd int a = open(direct, how | O_DSYNC | O_DIRECT, 0600);
	auto_fd int b = open(buffered, how | O_TRUNC, 0600);
	void *block = NULL;

	if (a < 0)
		a = open(direct, how | O_DSYNC, 0600); /* in memory */
	if (a < 0 || b < 0 || posix_memalign(&block, 4096, BLOCK) != 0)
		abort();
	memset(block, 0x5a, BLOCK);
	for (off_t at = lseek(a, 0, SEEK_END); at < JOURNAL; at += BLOCK)
		(void)!pwrite(a, block, BLOCK, at);
	uint64_t cpu = clock_of(CLOCK_THREAD_CPUTIME_ID), start = mono_ns();

	for (uint64_t at = 0; at < bytes; at += BLOCK) {
		if (pwrite(a, block, BLOCK, (off_t)(at % JOURNAL)) != BLOCK ||
		    pwrite(b, block, BLOCK, (off_t)at) != BLOCK)
			abort();
	}
	struct cost got = cost_of(mono_ns() - start, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu,
	                          count * CHUNK);

	free(block);
	return got;
}

/* --- results --- */

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n) {
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 != 0 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double rate(const struct cost *c, size_t n) {
	double v[ROUNDS_MAX];

	for (size_t i = 0; i < n; i++)
		v[i] = c[i].mib / c[i].wall;
	return median(v, n);
}

static double us_per_mib(const struct cost *c, size_t n) {
	double v[ROUNDS_MAX];

	for (size_t i = 0; i < n; i++)
		v[i] = c[i].cpu / c[i].mib * 1e6;
	return median(v, n);
}

/* Rate of a over rate of b, round by round. */
static double ratio(const struct cost *a, const struct cost *b, size_t n) {
	double v[ROUNDS_MAX];

	for (size_t i = 0; i < n; i++)
		v[i] = a[i].mib / a[i].wall / (b[i].mib / b[i].wall);
	return median(v, n);
}

static void print_cost(const char *name, const struct cost *c, size_t n) {
	printf("  %-34s %7.0f MiB/s  CPU %6.0f us/MiB\n", name, rate(c, n), us_per_mib(c, n));
}

static void print_bulk(const struct scene *s, size_t n) {
	printf("%s (stored: %.2f of the bytes)\n", s->content->name, s->stored);
	print_cost("ceiling: zstd 1, SHA-256", s->plain, n);
	print_cost("with AES-256-GCM, for information", s->sealed, n);
	print_cost("files: O_DSYNC and page cache", s->files, n);
	print_cost("recorder", s->recorder, n);
	printf("  recorder / ceiling x%.2f (goal >= 0.80)   / files x%.2f   CPU x%.2f of the ceiling's\n",
	       ratio(s->recorder, s->plain, n), ratio(s->recorder, s->files, n),
	       us_per_mib(s->recorder, n) / us_per_mib(s->plain, n));
	(void)fflush(stdout);
}

/* --- verify --- */

/* SHA-256 of everything that verify reads, through the same buffer size. */
static struct cost run_sha256(const char *dir) {
	static uint8_t block[256 * 1024];
	auto_free char *root = xasprintf("%s/record", dir);
	char *paths[] = { root, NULL };
	uint64_t bytes = 0, start = mono_ns(), cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

	for (FTSENT *e = f != NULL ? fts_read(f) : NULL; e != NULL; e = fts_read(f)) {
		uint8_t hash[SHA256_SIZE];
		ssize_t n;

		if (e->fts_info != FTS_F)
			continue;
		auto_fd int fd = open(e->fts_accpath, O_RDONLY | O_CLOEXEC);

		while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0) {
			sha256(hash, str_mem(block, (size_t)n));
			bytes += (uint64_t)n;
		}
	}
	if (f == NULL || fts_close(f) < 0)
		abort();
	return cost_of(mono_ns() - start, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu, bytes);
}

static void say_finding(void *arg unused_arg, const struct verify_finding *f) {
	printf("  finding: %s: %s\n", f->place.file, f->text);
}

static struct cost run_verify(const char *dir, const char *vkey, uint64_t sessions) {
	struct verify_options o = { .vkey = vkey, .on_finding = say_finding };
	struct verify_report report;
	struct err e;
	uint64_t start = mono_ns(), cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);

	if (verify_store(dir, &o, &report, &e) < 0 || report.result != VERIFY_OK ||
	    report.sessions[VERIFY_COMPLETE] < sessions) {
		printf("  the store does not verify\n");
		exit(1);
	}
	return cost_of(mono_ns() - start, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu, report.bytes);
}

static void bench_verify(const char *dir, const char *vkey, uint64_t sessions, size_t n) {
	struct cost sha[ROUNDS_MAX], verify[ROUNDS_MAX];

	(void)run_sha256(dir); /* into the page cache */
	for (size_t i = 0; i < n; i++) {
		sha[i] = run_sha256(dir);
		verify[i] = run_verify(dir, vkey, sessions);
	}
	printf("verify, one thread\n");
	printf("  %-34s %7.0f MiB/s  of %.0f MiB\n", "limit: read and SHA-256", rate(sha, n),
	       sha[0].mib);
	printf("  %-34s %7.0f MiB/s  of %.0f MiB\n", "verify", rate(verify, n), verify[0].mib);
	printf("  verify / limit x%.2f (goal >= 0.50)\n", ratio(verify, sha, n));
	(void)fflush(stdout);
}

/* --- replay --- */

/* The stored bodies of a session's data frames, one behind the other. */
static void load_frames(struct reader *r, const uint8_t sid[SID_SIZE], struct buf *bodies,
                        struct buf *heads) {
	struct reader_session *x = NULL;
	struct frame f;
	struct err e;

	buf_init(bodies, SIZE_MAX / 4);
	buf_init(heads, SIZE_MAX / 4);
	if (reader_session_open(&x, r, sid, &e) < 0)
		abort();
	while (reader_session_next(x, &f, &e) == 1) {
		if (f.head.kind != FRAME_DATA)
			continue;
		w_bytes(bodies, f.body);
		w_bytes(heads, str_mem(&f.head, sizeof(f.head)));
	}
	reader_session_close(&x);
}

static struct cost run_unzip(struct buf *bodies, const struct buf *heads) {
	static uint8_t out[FRAME_RAW_MAX];
	ZSTD_DCtx *d = ZSTD_createDCtx();
	struct str rest = buf_peek(bodies);
	uint64_t bytes = 0, start = mono_ns(), cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);

	for (size_t i = 0; i < heads->len / sizeof(struct frame_head); i++) {
		struct frame_head h;

		memcpy(&h, buf_peek(heads).p + i * sizeof(h), sizeof(h));
		if ((h.flags & FRAME_COMPRESSED) == 0)
			memcpy(out, rest.p, h.body_len); /* nothing to decompress: a copy */
		else if (ZSTD_decompressDCtx(d, out, sizeof(out), rest.p, h.body_len) != h.raw_len)
			abort();
		rest = str_from(rest, h.body_len);
		bytes += h.raw_len;
	}
	ZSTD_freeDCtx(d);
	return cost_of(mono_ns() - start, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu, bytes);
}

static struct cost run_replay(struct reader *r, const uint8_t sid[SID_SIZE]) {
	struct reader_session *x = NULL;
	struct reader_item item;
	struct err e;
	uint64_t bytes = 0, start = mono_ns(), cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);

	if (reader_session_open(&x, r, sid, &e) < 0)
		abort();
	int rc;

	while ((rc = reader_session_item(x, &item, &e)) == 1)
		bytes += item.kind == FRAME_DATA ? item.event.bytes.n : 0;
	reader_session_close(&x);
	if (rc < 0)
		abort();
	return cost_of(mono_ns() - start, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu, bytes);
}

static void bench_replay(struct reader *r, struct scene *s, size_t n) {
	for (size_t i = 0; i < n; i++) {
		struct buf bodies, heads;

		load_frames(r, s->sid[i], &bodies, &heads);
		s->unzip[i] = run_unzip(&bodies, &heads);
		s->replay[i] = run_replay(r, s->sid[i]);
		buf_fini(&bodies);
		buf_fini(&heads);
	}
	printf("replay, %s\n", s->content->name);
	print_cost(s->content->is_random ? "nothing to decompress: a copy"
	                                 : "limit: zstd decompression",
	           s->unzip, n);
	print_cost("replay", s->replay, n);
	printf("  replay / limit x%.2f%s\n", ratio(s->replay, s->unzip, n),
	       s->content->is_random ? " (no goal)" : " (goal >= 0.50)");
	(void)fflush(stdout);
}

static void bench_bulk(struct rig *b, struct scene *s, const char *dir, size_t count,
                       size_t rounds) {
	for (size_t i = 0; i < rounds; i++) {
		s->plain[i] = run_ceiling(s, count, false);
		s->recorder[i] = run_recorder(b, s, count);
		memcpy(s->sid[i], b->sid[0], SID_SIZE);
		s->sealed[i] = run_ceiling(s, count, true);
		sync(); /* what is behind must not slow what follows */
		s->files[i] = run_files(s, dir, count);
		sync();
	}
	print_bulk(s, rounds);
	free_payloads(s);
}

int main(int argc, char **argv) {
	static struct rig b;
	static struct scene scenes[ARRAY_LEN(contents)];
	size_t count = (argc > 2 ? strtoull(argv[2], NULL, 10) : 256) * MIB / CHUNK;
	size_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 3;
	size_t only = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	size_t first = only != 0 ? only - 1 : 0, end = only != 0 ? only : ARRAY_LEN(contents);
	struct reader *r = NULL;
	struct err e;
	char dir[256];

	(void)snprintf(dir, sizeof(dir), "%s/record-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (count == 0 || rounds == 0 || rounds > ROUNDS_MAX || only > ARRAY_LEN(contents) ||
	    mkdtemp(dir) == NULL)
		return 2;
	crypto_setup();
	rig_start(&b, dir, 16 * MIB, HELPERS);
	for (size_t i = first; i < end; i++) {
		make_scene(&scenes[i], &contents[i]);
		bench_bulk(&b, &scenes[i], dir, count, rounds);
	}
	rig_stop(&b);
	bench_verify(dir, b.vkey, (end - first) * rounds, rounds);
	if (reader_open(&r, dir, &e) < 0)
		return 1;
	for (size_t i = first; i < end; i++)
		bench_replay(r, &scenes[i], rounds);
	reader_close(&r);
	rig_remove_tree(dir);
	return 0;
}
