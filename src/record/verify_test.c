/*
 * verify_test.c: whatever is done to a store is found and named.
 *
 * The stores come from teststore.c. Every byte of every file is changed in turn (but the unwritten
 * tail of the journal); frames, parts, sessions, tiles and segments are removed, swapped, cut and
 * renamed; the log is signed with another key, and the whole store rolled back. What only a witness
 * can find is tested to be called so.
 */
#include "record/verify.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/test.h"
#include "record/journal_format.h"
#include "record/readfs.h"
#include "record/teststore.h"

static char dir[64];

static void make_dir(void) {
	bool has_shm = access("/dev/shm", W_OK) == 0;

	(void)snprintf(dir, sizeof(dir), "%s/hansard-verify-XXXXXX", has_shm ? "/dev/shm" : "/tmp");
	CHECK(mkdtemp(dir) != NULL);
}

static void run_cmd(const char *fmt, const char *arg) {
	auto_free char *what = xasprintf("%s %s", fmt, arg);
	auto_free char *cmd = xasprintf("cd '%s' && %s", dir, what);

	CHECK(system(cmd) == 0);
}

static void remove_dir(void) {
	auto_free char *cmd = xasprintf("rm -rf '%s'", dir);

	CHECK(system(cmd) == 0);
}

/* --- what a run said --- */

struct said {
	struct verify_report report;
	struct verify_session bad[8]; /* sessions that are not complete, gap or open */
	unsigned bad_count, notes;
	struct verify_finding tampered[16];
	unsigned tampered_count;
	bool is_loud;
};

static void on_session(void *arg, const struct verify_session *s) {
	struct said *said = arg;

	if (s->state == VERIFY_COMPLETE || s->state == VERIFY_GAP || s->state == VERIFY_OPEN)
		return;
	if (said->is_loud)
		test_note("session %s: %s %s (%s %llu)", verify_state_text(s->state), s->text, "",
		          s->place.file, (unsigned long long)s->place.offset);
	if (said->bad_count < ARRAY_LEN(said->bad))
		said->bad[said->bad_count] = *s;
	said->bad_count++;
}

static void on_finding(void *arg, const struct verify_finding *f) {
	struct said *said = arg;

	if (said->is_loud)
		test_note("finding %s: %s (%s %llu)",
		          f->severity == VERIFY_NOTE ? "note" : "tampered", f->text, f->place.file,
		          (unsigned long long)f->place.offset);
	if (f->severity == VERIFY_NOTE) {
		said->notes++;
		return;
	}
	if (said->tampered_count < ARRAY_LEN(said->tampered))
		said->tampered[said->tampered_count] = *f;
	said->tampered_count++;
}

static struct said verify_with(const char *vkey, struct str checkpoint, bool is_loud) {
	struct said said = { .is_loud = is_loud };
	struct verify_options o = { .vkey = vkey,
		                    .checkpoint = checkpoint,
		                    .with_contents = true,
		                    .arg = &said,
		                    .on_session = on_session,
		                    .on_finding = on_finding };

	CHECK_EQ_I(verify_store(dir, &o, &said.report, NULL), 0);
	return said;
}

static struct said verify(void) {
	return verify_with(TS_VKEY, STR_NONE, false);
}

/* Does something that was said name this file? */
static bool names(const struct said *s, const char *file) {
	for (unsigned i = 0; i < MIN(s->bad_count, (unsigned)ARRAY_LEN(s->bad)); i++) {
		if (strcmp(s->bad[i].place.file, file) == 0)
			return true;
	}
	for (unsigned i = 0; i < MIN(s->tampered_count, (unsigned)ARRAY_LEN(s->tampered)); i++) {
		if (strcmp(s->tampered[i].place.file, file) == 0)
			return true;
	}
	return false;
}

/* --- the files of a store --- */

static struct {
	char path[64][200]; /* below record/ */
	off_t size[64];
	unsigned count;
} files;

static int add_path(const char *path, const struct stat *st, int type, unused_arg struct FTW *ftw) {
	if (type != FTW_F || files.count == ARRAY_LEN(files.path))
		return 0;
	(void)snprintf(files.path[files.count], sizeof(files.path[0]), "%s",
	               path + strlen(dir) + strlen("/record/"));
	files.size[files.count++] = st->st_size;
	return 0;
}

static int by_path(const void *a, const void *b) {
	return strcmp(a, b);
}

static void list(void) {
	auto_free char *root = xasprintf("%s/record", dir);

	memset(&files, 0, sizeof(files));
	CHECK(nftw(root, add_path, 16, FTW_PHYS) == 0);
	qsort(files.path, files.count, sizeof(files.path[0]), by_path);
	for (unsigned i = 0; i < files.count; i++) {
		auto_free char *path = xasprintf("%s/record/%s", dir, files.path[i]);
		struct stat st;

		CHECK(stat(path, &st) == 0);
		files.size[i] = st.st_size;
	}
}

static int open_file(const char *rel) {
	auto_free char *path = xasprintf("%s/record/%s", dir, rel);

	return open(path, O_RDWR | O_CLOEXEC);
}

/* Bytes of a segment that were written: the rest is exempt. */
static off_t written(const char *rel) {
	static uint8_t image[TS_SEGMENT_SIZE];
	auto_fd int fd = open_file(rel);
	struct seg_scan s;
	struct batch b;

	if (!CHECK(fd >= 0 && read(fd, image, sizeof(image)) == (ssize_t)sizeof(image)))
		return 0;
	if (seg_scan_begin(&s, str_mem(image, sizeof(image))) != 1)
		return 0;
	while (seg_scan_next(&s, &b) == 1)
		;
	return (off_t)s.at;
}

TEST(a_whole_store) {
	make_dir();
	ts_standard(dir);
	struct said s = verify_with(TS_VKEY, STR_NONE, true);

	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_I(s.report.key, VERIFY_KEY_GIVEN);
	CHECK_EQ_I(s.report.journal, VERIFY_JOURNAL_WHOLE);
	CHECK_EQ_U(s.report.sessions[VERIFY_COMPLETE], 2);
	CHECK_EQ_U(s.report.sessions[VERIFY_GAP], 1);
	CHECK_EQ_U(s.report.sessions[VERIFY_OPEN], 1);
	CHECK_EQ_U(s.report.leaves, s.report.leaves_signed);
	CHECK_EQ_U(s.report.frames, 19);
	CHECK_EQ_U(s.notes, 0);
	s = verify_with(NULL, STR_NONE, false);
	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_I(s.report.key, VERIFY_KEY_FOUND);
	CHECK(strstr(verify_proof_text(&s.report, false), "no more") != NULL);
	remove_dir();
}

TEST(a_long_log) {
	make_dir();
	ts_long_log(dir);
	struct said s = verify_with(TS_VKEY, STR_NONE, true);

	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_U(s.report.sessions[VERIFY_COMPLETE], 270);
	remove_dir();
}

struct flips {
	unsigned done, missed, elsewhere;
};

/* Changes each step-th byte of a file, from the first to `end`; of long runs of zeros (padding) each
 * 16th. */
static void flip_file(struct flips *f, const char *rel, off_t end, off_t step) {
	auto_fd int fd = open_file(rel);
	static const uint8_t zeros[16];

	REQUIRE(fd >= 0);
	for (off_t i = 0; i < end; i += step) {
		uint8_t was, now, around[16];

		REQUIRE(pread(fd, &was, 1, i) == 1);
		if (i % 16 != 0 && i > 16 && pread(fd, around, 16, i - 8) == 16 &&
		    memcmp(around, zeros, 16) == 0)
			continue;
		now = was ^ (uint8_t)(1u << (i % 8));
		REQUIRE(pwrite(fd, &now, 1, i) == 1);
		struct said s = verify();

		REQUIRE(pwrite(fd, &was, 1, i) == 1);
		f->done++;
		if (s.report.result != VERIFY_BAD) {
			f->missed++;
			if (f->missed < 10)
				test_note("missed: %s byte %lld", rel, (long long)i);
		} else if (!names(&s, rel)) {
			f->elsewhere++;
			if (f->elsewhere < 10)
				test_note("named elsewhere: %s byte %lld", rel, (long long)i);
		}
	}
}

/* Every byte; HANSARD_SAMPLE=1 (make asan, make tsan): each 11th. */
static void flip_all(void) {
	off_t step = getenv("HANSARD_SAMPLE") != NULL ? 11 : 1;
	struct flips f = { 0 };
	uint64_t start = mono_ns();

	list();
	for (unsigned i = 0; i < files.count; i++) {
		bool is_journal = strncmp(files.path[i], "journal/", 8) == 0;
		off_t end = is_journal ? written(files.path[i]) : files.size[i];

		flip_file(&f, files.path[i], end, step);
	}
	CHECK(f.done > 500);
	CHECK_EQ_U(f.missed, 0);
	CHECK_EQ_U(f.elsewhere, 0);
	test_note("%u bytes changed in %llu ms", f.done,
	          (unsigned long long)((mono_ns() - start) / NS_PER_MS));
	struct said s = verify();

	CHECK_EQ_I(s.report.result, VERIFY_OK);
}

TEST(every_byte) {
	make_dir();
	ts_standard(dir);
	flip_all();
	remove_dir();
}

/* Full tiles, a second row, closed sessions: a sample. */
TEST(bytes_of_a_long_log) {
	struct flips f = { 0 };

	make_dir();
	ts_long_log(dir);
	flip_file(&f, "log/tile/entries/000", 40000, 419);
	flip_file(&f, "log/tile/entries/001", 40000, 419);
	flip_file(&f, "log/tile/0/000", 8192, 131);
	flip_file(&f, "log/tile/0/001", 8192, 131);
	flip_file(&f, "log/tile/1/000.p/2", 64, 7);
	CHECK(f.done > 300);
	CHECK_EQ_U(f.missed, 0);
	CHECK_EQ_U(f.elsewhere, 0);
	remove_dir();
}

/* --- things removed, moved, cut, exchanged --- */

/* After a shell command in record/: is it found, and does something name `file`? */
static struct said after(const char *cmd, const char *file, bool is_bad) {
	make_dir();
	ts_standard(dir);
	run_cmd("cd record &&", cmd);
	struct said s = verify_with(TS_VKEY, STR_NONE, false);

	if (!CHECK_EQ_I(s.report.result, is_bad ? VERIFY_BAD : VERIFY_OK) ||
	    (file != NULL && !CHECK(names(&s, file)))) {
		test_note("%s", cmd);
		(void)verify_with(TS_VKEY, STR_NONE, true);
	}
	remove_dir();
	return s;
}

#define DAY "sessions/2025/11/21/"
#define ACTS DAY "019aa511-d280-7050-8001-656c737a8188.0000.rec"
#define TWO_0 DAY "019aa511-d280-706f-8002-848b9299a0a7.0000.rec"
#define TWO_1 DAY "019aa511-d280-706f-8002-848b9299a0a7.0001.rec"
#define HOLE DAY "019aa511-d280-708e-8003-a3aab1b8bfc6.0000.rec"
#define LIVE DAY "019aa511-d280-70ad-8004-c2c9d0d7dee5.0000.rec"

TEST(files_removed) {
	struct said s = after("rm " TWO_0 " " TWO_1, NULL, true);

	CHECK(s.bad_count == 1 && s.bad[0].state == VERIFY_TRUNCATED && s.bad[0].place.frame == 0);
	s = after("rm " TWO_1, NULL, true);
	CHECK(s.bad_count == 1 && s.bad[0].state == VERIFY_TRUNCATED && s.bad[0].place.frame == 3);
	s = after("rm " TWO_0, TWO_0, true);
	CHECK(s.bad_count == 1 && s.bad[0].place.frame == 0);
	(void)after("rm node.json", "node.json", true);
	(void)after("rm -r log/tile/entries", NULL, true);
	(void)after("rm -r log/tile/0", NULL, true);
	(void)after("rm journal/00000000.seg", NULL, true);
	(void)after("rm -r journal", NULL, true);
	(void)after("rm -r sessions", NULL, true);
	(void)after("rm -r log", NULL, true);
	/* all that this older segment held had been moved before the next was begun */
	(void)after("rm journal/00000001.seg", NULL, false);
	/* the middle one of three segments: numbers with a hole */
	make_dir();
	ts_long_log(dir);
	run_cmd("rm", "record/journal/00000000.seg");
	s = verify();
	CHECK(s.report.result == VERIFY_BAD && s.report.journal == VERIFY_JOURNAL_ALTERED);
	remove_dir();
	/* frames of these two still stand in the journal: nothing is missing */
	(void)after("rm " HOLE " " LIVE, NULL, false);
	make_dir();
	ts_standard(dir);
	run_cmd("rm", "record/log/checkpoint");
	s = verify();
	CHECK_EQ_I(s.report.result, VERIFY_UNVERIFIABLE);
	CHECK_EQ_I(s.report.key, VERIFY_KEY_NONE);
	remove_dir();
}

TEST(files_moved_and_exchanged) {
	(void)after("mv " TWO_0 " x && mv " TWO_1 " " TWO_0 " && mv x " TWO_1, TWO_0, true);
	(void)after("mv " ACTS " x && mv " TWO_0 " " ACTS " && mv x " TWO_0, ACTS, true);
	(void)after("cp " ACTS " " DAY "019aa511-d280-7050-8001-656c737a8189.0000.rec",
	            DAY "019aa511-d280-7050-8001-656c737a8189.0000.rec", true);
	(void)after("cp " TWO_1 " " DAY "019aa511-d280-706f-8002-848b9299a0a7.0002.rec",
	            DAY "019aa511-d280-706f-8002-848b9299a0a7.0002.rec", true);
	(void)after("cp journal/00000000.seg journal/00000002.seg", NULL, true);
	(void)after("cp log/tile/0/000.p/16 log/tile/0/000.p/15", "log/tile/0/000.p/15", true);
	(void)after("mkdir -p log/tile/1 && cp log/tile/0/000.p/16 log/tile/1/000.p", NULL, false);
	struct said s = after("touch stranger log/x.tmp", NULL, false);

	CHECK_EQ_U(s.notes, 1);
}

TEST(files_cut) {
	(void)after("truncate -s -1 " TWO_1, TWO_1, true);
	struct said s = after("truncate -s 1000 " TWO_0, TWO_0, true);

	CHECK(s.bad_count == 1 && s.bad[0].place.frame != VERIFY_NO_FRAME);
	(void)after("truncate -s +1 " ACTS, ACTS, true);
	(void)after("truncate -s 4096 journal/00000000.seg", NULL, true);
	(void)after("truncate -s 60000 journal/00000001.seg", "journal/00000001.seg", true);
	(void)after("truncate -s 100 log/tile/entries/000.p/16", "log/tile/entries/000.p/16", true);
	(void)after("truncate -s 480 log/tile/0/000.p/16", "log/tile/0/000.p/16", true);
	(void)after("truncate -s 100 log/checkpoint", "log/checkpoint", true);
	/* an append that a crash cut off, and pages that never reached the disk: the journal has it all */
	s = after("truncate -s 1300 " LIVE, NULL, false);
	CHECK(s.notes == 1);
	s = after("truncate -s 0 " LIVE " && truncate -s 1000 " LIVE, NULL, false);
	CHECK(s.notes == 1);
	(void)after("printf x >> " LIVE, LIVE, true);
}

/* --- frames --- */

struct part_image {
	struct buf bytes;
	size_t at[16], size[16];
	unsigned count;
};

static void load_part(struct part_image *p, const char *rel) {
	auto_free char *path = xasprintf("%s/record/%s", dir, rel);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct frame f;

	buf_init(&p->bytes, MIB);
	p->count = 0;
	uint8_t *to = buf_reserve(&p->bytes, 65536);
	ssize_t n = to != NULL ? read(fd, to, 65536) : -1;

	if (!CHECK(n > 0))
		return;
	buf_commit(&p->bytes, (size_t)n);
	for (size_t at = 0; at < p->bytes.len && p->count < 16;) {
		int used = frame_parse(&f, str_from(buf_peek(&p->bytes), at));

		if (!CHECK(used > 0))
			return;
		p->at[p->count] = at;
		p->size[p->count++] = (size_t)used;
		at += (size_t)used;
	}
}

static struct str frame_bytes(const struct part_image *p, unsigned i) {
	return str_head(str_from(buf_peek(&p->bytes), p->at[i]), p->size[i]);
}

static void store_frames(const struct part_image *p, const unsigned *order, unsigned count,
                         const char *rel) {
	auto_free char *path = xasprintf("%s/record/%s", dir, rel);
	auto_fd int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	for (unsigned i = 0; i < count; i++) {
		struct str f = frame_bytes(p, order[i]);

		CHECK(write(fd, f.p, f.n) == (ssize_t)f.n);
	}
}

/* Part 0 of session two: open, data, data, index, trailer. */
TEST(frames_removed_exchanged_repeated) {
	static const struct {
		unsigned order[6], count;
		uint64_t frame;
	} rows[] = {
		{ { 1, 2, 3, 4 }, 4, 0 },               /* the first one gone */
		{ { 0, 2, 3, 4 }, 4, 1 },               /* one in the middle */
		{ { 0, 1, 3, 4 }, 4, VERIFY_NO_FRAME }, /* the last: index and trailer tell */
		{ { 0, 2, 1, 3, 4 }, 5, 1 },            /* exchanged */
		{ { 0, 1, 1, 2, 3, 4 }, 6, 2 },         /* twice */
		{ { 0, 1, 2, 4 }, 4, 3 },               /* no index */
		{ { 0, 1, 2, 3 }, 4, 3 },               /* no trailer */
		{ { 0, 1, 2 }, 3, 3 },                  /* neither, and another part follows */
		{ { 0, 1 }, 2, 2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct part_image p;

		make_dir();
		ts_standard(dir);
		load_part(&p, TWO_0);
		CHECK_EQ_U(p.count, 5);
		store_frames(&p, rows[i].order, rows[i].count, TWO_0);
		struct said s = verify();

		CHECK_EQ_I(s.report.result, VERIFY_BAD);
		if (!CHECK(s.bad_count == 1 && names(&s, TWO_0)) ||
		    !CHECK_EQ_U(s.bad[0].place.frame, rows[i].frame))
			test_note("row %zu", i);
		buf_fini(&p.bytes);
		remove_dir();
	}
}

/* A forger who makes hash and CRC fit: only the tree can tell. */
static void forge(const char *rel, unsigned frame, unsigned byte) {
	struct part_image p;
	struct frame f;

	load_part(&p, rel);
	struct str bytes = frame_bytes(&p, frame);
	uint8_t *copy = xmalloc(bytes.n);

	memcpy(copy, bytes.p, bytes.n);
	REQUIRE(frame_parse(&f, str_mem(copy, bytes.n)) == (int)bytes.n);
	copy[FRAME_HEAD_SIZE + byte] ^= 1;
	frame_put_head(&f.head, copy);
	auto_fd int fd = open_file(rel);

	CHECK(pwrite(fd, copy, bytes.n, (off_t)p.at[frame]) == (ssize_t)bytes.n);
	free(copy);
	buf_fini(&p.bytes);
}

TEST(a_forged_frame) {
	make_dir();
	ts_standard(dir);
	forge(TWO_1, 1, 30); /* frame 4 of two: content that decodes to something else */
	struct said s = verify_with(TS_VKEY, STR_NONE, false);

	CHECK_EQ_I(s.report.result, VERIFY_BAD);
	REQUIRE(s.bad_count == 1);
	CHECK(s.bad[0].state == VERIFY_ALTERED && names(&s, TWO_1));
	CHECK(s.bad[0].place.frame >= 3 && s.bad[0].place.frame <= 4);
	remove_dir();
	/* frame 0 is named by its own leaf */
	make_dir();
	ts_standard(dir);
	forge(ACTS, 0, 40);
	s = verify();
	CHECK(s.bad_count == 1 && s.bad[0].place.frame == 0 && names(&s, ACTS));
	remove_dir();
	/* a frame that also stands in the journal */
	make_dir();
	ts_standard(dir);
	forge(HOLE, 1, 30);
	s = verify();
	CHECK(s.bad_count == 1 && s.bad[0].place.frame == 1 && names(&s, HOLE));
	remove_dir();
}

/* --- the whole store --- */

TEST(signed_with_another_key) {
	struct teststore *t;
	uint8_t seed[ED25519_SEED_SIZE] = { 7 }, pub[ED25519_PUB_SIZE];
	struct tlog_vkey k;
	char vkey[TLOG_VKEY_TEXT_MAX];

	make_dir();
	t = ts_new(dir, 2);
	ts_boot(t);
	struct ts_session *x = ts_session(t, 1, "postgres");

	ts_talk(x, "select 1", 1);
	ts_close(x, true);
	ts_flush(t);
	ts_tiles(t);
	ts_sign_with(t, seed);
	ts_free(&t);
	struct said s = verify_with(TS_VKEY, STR_NONE, false);

	CHECK(s.report.result == VERIFY_BAD && names(&s, "log/checkpoint"));
	s = verify_with(NULL, STR_NONE, false);
	CHECK(s.report.result == VERIFY_BAD && names(&s, "log/checkpoint"));
	/* with the forger's key put into node.json too, only a key from outside helps */
	ed25519_public(pub, seed);
	REQUIRE(tlog_vkey_init(&k, STR(TS_ORIGIN), pub) == 0);
	tlog_vkey_print(vkey, &k);
	auto_free char *sed =
		xasprintf("-i 's|\"vkey\":\"[^\"]*\"|\"vkey\":\"%s\"|' record/node.json", vkey);

	run_cmd("sed", sed);
	s = verify_with(NULL, STR_NONE, false);
	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_I(s.report.key, VERIFY_KEY_FOUND);
	CHECK(strstr(verify_proof_text(&s.report, false), "excludes accidents and no more") !=
	      NULL);
	s = verify_with(TS_VKEY, STR_NONE, false);
	CHECK(s.report.result == VERIFY_BAD && names(&s, "log/checkpoint") &&
	      names(&s, "node.json"));
	remove_dir();
}

TEST(a_rollback_is_found_with_a_checkpoint_from_outside) {
	struct teststore *t;
	struct said s;

	make_dir();
	t = ts_new(dir, 2);
	ts_boot(t);
	struct ts_session *x = ts_session(t, 1, "postgres");

	ts_flush(t);
	ts_tiles(t);
	ts_sign(t);
	run_cmd("cp -a", "record old");
	ts_talk(x, "select 1", 1);
	ts_close(x, false);
	ts_flush(t);
	ts_tiles(t);
	ts_sign(t);
	ts_free(&t);
	auto_free char *path = xasprintf("%s/record/log/checkpoint", dir);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char note[1024];
	ssize_t n = read(fd, note, sizeof(note));

	REQUIRE(n > 0);
	struct str kept = str_mem(note, (size_t)n);

	s = verify_with(TS_VKEY, kept, false);
	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK(strstr(verify_proof_text(&s.report, true), "kept outside") != NULL);
	run_cmd("rm -r record && mv", "old record");
	s = verify_with(TS_VKEY, STR_NONE, false);
	CHECK_EQ_I(s.report.result, VERIFY_OK); /* nobody can tell … */
	CHECK(strstr(verify_proof_text(&s.report, false), "Without a witness") != NULL);
	s = verify_with(TS_VKEY, kept, false);
	CHECK_EQ_I(s.report.result, VERIFY_BAD); /* … but who kept the checkpoint */
	struct verify_options o = { .vkey = TS_VKEY, .checkpoint = STR("nonsense") };

	CHECK_EQ_I(verify_store(dir, &o, &s.report, NULL), H_EUSAGE);
	o = (struct verify_options){ .vkey = "nonsense" };
	CHECK_EQ_I(verify_store(dir, &o, &s.report, NULL), H_EUSAGE);
	remove_dir();
}

/* --- the end of the journal --- */

/* A store whose journal goes on behind the signed log; returns where the last batch begins. */
static off_t unsigned_tail(void) {
	struct teststore *t;
	off_t at;

	make_dir();
	t = ts_new(dir, 2);
	ts_boot(t);
	struct ts_session *x = ts_session(t, 1, "postgres");

	ts_talk(x, "select 1", 1);
	ts_head(t, &x, 1);
	ts_flush(t);
	ts_sign(t);
	at = written("journal/00000000.seg");
	ts_talk(x, "select 2", 1);
	ts_head(t, &x, 1);
	ts_flush(t);
	ts_free(&t);
	return at;
}

TEST(a_torn_tail_is_no_tampering) {
	off_t at = unsigned_tail();
	struct said s = verify();

	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_I(s.report.journal, VERIFY_JOURNAL_WHOLE);
	auto_fd int fd = open_file("journal/00000000.seg");
	uint8_t zeros[512] = { 0 };

	CHECK(pwrite(fd, zeros, sizeof(zeros), at + 512) == sizeof(zeros));
	s = verify();
	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_I(s.report.journal, VERIFY_JOURNAL_TORN);
	CHECK_EQ_U(s.notes, 1);
	remove_dir();
}

TEST(a_cut_into_the_signed_log_is_tampering) {
	off_t at = unsigned_tail();
	struct said s;
	uint8_t zeros[4096] = { 0 };
	auto_fd int fd = open_file("journal/00000000.seg");

	/* both batches gone: the log ends before what is signed */
	CHECK(pwrite(fd, zeros, sizeof(zeros), 4096) == sizeof(zeros));
	CHECK(pwrite(fd, zeros, sizeof(zeros), at) == sizeof(zeros));
	s = verify();
	CHECK_EQ_I(s.report.result, VERIFY_BAD);
	CHECK_EQ_I(s.report.journal, VERIFY_JOURNAL_ALTERED);
	CHECK(names(&s, "journal/00000000.seg"));
	remove_dir();
	/* only the first: the later one says that it was acknowledged */
	(void)unsigned_tail();
	auto_fd int fd2 = open_file("journal/00000000.seg");

	CHECK(pwrite(fd2, zeros, sizeof(zeros), 4096) == sizeof(zeros));
	s = verify();
	CHECK_EQ_I(s.report.result, VERIFY_BAD);
	CHECK_EQ_I(s.report.journal, VERIFY_JOURNAL_ALTERED);
	CHECK(names(&s, "journal/00000000.seg"));
	remove_dir();
}

/* A sealed session whose seal leaf still stands in the journal: the part of ACTS. */
static void just_sealed(off_t *ret_size) {
	struct teststore *t;
	struct stat st;

	make_dir();
	auto_free char *path = xasprintf("%s/record/%s", dir, ACTS);

	t = ts_new(dir, 2);
	ts_boot(t);
	struct ts_session *x = ts_session(t, 1, "postgres");

	ts_talk(x, "select 1", 200);
	ts_close(x, true);
	ts_flush(t);
	ts_sign(t);
	ts_free(&t);
	CHECK(stat(path, &st) == 0);
	*ret_size = st.st_size;
}

/* Power was lost before the part was synced: any end of it, any page may be missing. */
TEST(a_torn_part_is_no_tampering) {
	off_t size;

	for (unsigned cut = 0; cut < 5000; cut += 61) {
		just_sealed(&size);
		auto_free char *path = xasprintf("%s/record/%s", dir, ACTS);

		CHECK(truncate(path, MAX(size - (off_t)cut, 0)) == 0);
		struct said s = verify();

		if (!CHECK_EQ_I(s.report.result, VERIFY_OK) ||
		    !CHECK_EQ_U(s.report.sessions[VERIFY_COMPLETE], 1))
			(void)verify_with(TS_VKEY, STR_NONE, true);
		remove_dir();
	}
	for (off_t page = 0; page < size; page += 4096) {
		uint8_t zeros[4096] = { 0 };

		just_sealed(&size);
		auto_fd int fd = open_file(ACTS);
		size_t n = (size_t)MIN(size - page, (off_t)4096);

		CHECK(pwrite(fd, zeros, n, page) == (ssize_t)n);
		struct said s = verify();

		CHECK_EQ_I(s.report.result, VERIFY_OK);
		CHECK_EQ_U(s.notes, 1);
		remove_dir();
	}
}

/* But a changed byte is no torn page. */
TEST(bytes_of_a_part_that_may_be_torn) {
	struct flips f = { 0 };
	off_t size;

	just_sealed(&size);
	flip_file(&f, ACTS, size, 3);
	CHECK(f.done > 500);
	CHECK_EQ_U(f.missed, 0);
	CHECK_EQ_U(f.elsewhere, 0);
	remove_dir();
}

/* An open session between a boot and the next needs no close, and what only the journal knows is
 * not yet in the log. */
TEST(states_of_sessions) {
	struct teststore *t;
	struct said s;

	make_dir();
	t = ts_new(dir, 3);
	ts_boot(t);
	struct ts_session *x = ts_session(t, 1, "postgres");

	ts_talk(x, "select 1", 1);
	ts_head(t, &x, 1);
	ts_flush(t);
	ts_sign(t);
	ts_talk(x, "select 2", 1);
	ts_flush(t);
	s = verify();
	CHECK_EQ_I(s.report.result, VERIFY_OK);
	CHECK_EQ_U(s.report.sessions[VERIFY_OPEN], 1);
	CHECK_EQ_U(s.report.leaves_signed, 3);
	ts_close(x, true);
	ts_flush(t);
	s = verify();
	/* the store's clock is long ago: nobody signed this end */
	CHECK_EQ_I(s.report.result, VERIFY_UNVERIFIABLE);
	CHECK_EQ_U(s.report.sessions[VERIFY_COMPLETE], 1);
	CHECK(s.report.leaves > s.report.leaves_signed);
	ts_free(&t);
	remove_dir();
}

/* Events that the worker wrote badly are no tampering; a wrong command root is. */
TEST(only_one_session) {
	struct verify_options o = { .vkey = TS_VKEY };
	struct verify_report r;
	struct said s = { 0 };
	uint8_t sid[SID_SIZE];

	make_dir();
	ts_standard(dir);
	REQUIRE(uuid_parse(sid, STR("019aa511-d280-706f-8002-848b9299a0a7")) == 0);
	o.only_sid = sid;
	o.arg = &s;
	o.on_session = on_session;
	REQUIRE(verify_store(dir, &o, &r, NULL) == 0);
	CHECK_EQ_U(r.sessions[VERIFY_COMPLETE], 1);
	CHECK_EQ_U(r.sessions[VERIFY_OPEN], 0);
	run_cmd("rm", "record/" ACTS);
	REQUIRE(verify_store(dir, &o, &r, NULL) == 0);
	CHECK_EQ_I(r.result, VERIFY_OK);
	remove_dir();
}

TEST(no_store) {
	struct verify_options o = { .vkey = NULL };
	struct verify_report r;
	struct err e = { 0 };

	CHECK_EQ_I(verify_store("/nonexistent", &o, &r, &e), H_ENOTFOUND);
	CHECK(e.text[0] != '\0');
}

TEST_MAIN
