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
		test_note("session %s: %s %s (%s %llu)", verify_state_text(s->state), s->text, "", s->place.file,
			  (unsigned long long)s->place.offset);
	if (said->bad_count < ARRAY_LEN(said->bad))
		said->bad[said->bad_count] = *s;
	said->bad_count++;
}

static void on_finding(void *arg, const struct verify_finding *f) {
	struct said *said = arg;

	if (said->is_loud)
		test_note("finding %s: %s (%s %llu)", f->severity == VERIFY_NOTE ? "note" : "tampered", f->text,
			  f->place.file, (unsigned long long)f->place.offset);
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

/* Changes each step-th byte of a file, from the first to `end`. */
static void flip_file(struct flips *f, const char *rel, off_t end, off_t step) {
	auto_fd int fd = open_file(rel);

	REQUIRE(fd >= 0);
	for (off_t i = 0; i < end; i += step) {
		uint8_t was, now;

		REQUIRE(pread(fd, &was, 1, i) == 1);
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

static void flip_all(off_t step, off_t zero_step) {
	struct flips f = { 0 };
	uint64_t start = mono_ns();

	list();
	for (unsigned i = 0; i < files.count; i++) {
		bool is_journal = strncmp(files.path[i], "journal/", 8) == 0;
		off_t end = is_journal ? written(files.path[i]) : files.size[i];

		flip_file(&f, files.path[i], end, is_journal ? zero_step : step);
	}
	CHECK(f.done > 500);
	CHECK_EQ_U(f.missed, 0);
	CHECK_EQ_U(f.elsewhere, 0);
	test_note("%u bytes changed in %llu ms", f.done, (unsigned long long)((mono_ns() - start) / NS_PER_MS));
	struct said s = verify();

	CHECK_EQ_I(s.report.result, VERIFY_OK);
}

TEST(every_byte) {
	make_dir();
	ts_standard(dir);
	flip_all(1, 1);
	remove_dir();
}

TEST(bytes_of_a_long_log) {
	make_dir();
	ts_long_log(dir);
	run_cmd("rm -r", "record/sessions");
	remove_dir();
}

TEST_MAIN
