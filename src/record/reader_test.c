/*
 * reader_test.c: a store read back: sessions, ids, frames over parts and journal, items, times.
 */
#include "record/reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/test.h"
#include "record/readfs.h"
#include "record/teststore.h"

static char dir[64];

static void make_dir(void) {
	(void)snprintf(dir, sizeof(dir), "/tmp/hansard-reader-XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
}

static void remove_dir(void) {
	auto_free char *cmd = xasprintf("rm -rf '%s'", dir);

	CHECK(system(cmd) == 0);
}

struct seen {
	unsigned count;
	uint8_t sid[16][SID_SIZE];
};

static int see(void *arg, const uint8_t sid[SID_SIZE]) {
	struct seen *s = arg;

	if (s->count < 16)
		memcpy(s->sid[s->count], sid, SID_SIZE);
	s->count++;
	return 0;
}

TEST(sessions_and_ids) {
	struct reader *r;
	struct seen s = { 0 };
	uint8_t sid[SID_SIZE];
	char text[UUID_TEXT_SIZE], brief[SHORT_ID_SIZE];

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK(str_is(reader_origin(r), TS_ORIGIN));
	CHECK(str_is(reader_vkey(r), TS_VKEY));
	CHECK_EQ_I(reader_each(r, see, &s), 0);
	REQUIRE(s.count == 4);
	for (unsigned i = 0; i < 4; i++) {
		uuid_text(text, s.sid[i]);
		short_id(brief, s.sid[i]);
		CHECK(reader_find(r, str_of(text), sid, NULL) == 0 &&
		      memcmp(sid, s.sid[i], SID_SIZE) == 0);
		CHECK(reader_find(r, str_of(brief), sid, NULL) == 0 &&
		      memcmp(sid, s.sid[i], SID_SIZE) == 0);
		CHECK(reader_find(r, str_head(str_of(brief), 6), sid, NULL) == 0);
	}
	CHECK_EQ_I(reader_find(r, STR("019a"), sid, NULL), H_EEXIST);
	CHECK_EQ_I(reader_find(r, STR("ffff"), sid, NULL), H_ENOTFOUND);
	CHECK_EQ_I(reader_find(r, STR("01"), sid, NULL), H_EUSAGE);
	REQUIRE(reader_find(r, STR("@last"), sid, NULL) == 0);
	CHECK(memcmp(sid, s.sid[3], SID_SIZE) == 0);
	reader_close(&r);
	remove_dir();
}

/* Reads all frames of a session; returns how many. */
static uint64_t read_all(struct reader *r, const uint8_t *sid, int *ret_rc, struct err *e) {
	struct reader_session *x;
	struct frame f;
	uint64_t n = 0;
	int rc = reader_session_open(&x, r, sid, e);

	if (rc == 0) {
		while ((rc = reader_session_next(x, &f, e)) == 1) {
			CHECK_EQ_U(f.head.frame_no, n);
			n++;
		}
		reader_session_close(&x);
	}
	*ret_rc = rc;
	return n;
}

TEST(frames_over_parts_and_journal) {
	static const uint64_t want[] = { 3, 6, 5, 5 };
	struct reader *r;
	struct seen s = { 0 };
	int rc;

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(r, see, &s), 0);
	REQUIRE(s.count == 4);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ_U(read_all(r, s.sid[i], &rc, NULL), want[i]);
		CHECK_EQ_I(rc, 0);
	}
	reader_close(&r);
	remove_dir();
}

TEST(items) {
	struct reader *r;
	struct reader_session *x;
	struct reader_item it;
	struct seen s = { 0 };
	unsigned events = 0, others = 0;
	uint64_t seq = 1, wall = 0;

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(r, see, &s), 0);
	REQUIRE(reader_session_open(&x, r, s.sid[1], NULL) == 0);
	while (reader_session_item(x, &it, NULL) == 1) {
		CHECK(it.wall_ns >= wall);
		wall = it.wall_ns;
		if (it.kind != FRAME_DATA) {
			CHECK(it.json.n != 0 && it.json.p[0] == '{');
			others++;
			continue;
		}
		CHECK(!it.is_bad);
		CHECK_EQ_U(it.event.seq, seq++);
		if (events == 0)
			CHECK(it.event.type == REC_RAW &&
			      str_eq(str_from(it.event.bytes, 5), str_mem("select 1", 9)));
		events++;
	}
	CHECK_EQ_U(events, 8);
	CHECK_EQ_U(others, 2);
	reader_session_close(&x);
	reader_close(&r);
	remove_dir();
}

TEST(summaries) {
	struct reader *r;
	struct reader_summary s;
	struct seen seen = { 0 };

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(r, see, &seen), 0);
	REQUIRE(reader_summarize(r, seen.sid[1], &s, NULL) == 0);
	CHECK(s.parts == 2 && s.frames == 6 && s.bytes > 1000);
	CHECK(s.open_json != NULL && strstr(s.open_json, "\"agent2\"") == NULL);
	CHECK(s.open_json != NULL && strstr(s.open_json, "local:agent2") != NULL);
	CHECK(s.close_json != NULL && strstr(s.close_json, "\"frames\":6") != NULL);
	reader_summary_fini(&s);
	REQUIRE(reader_summarize(r, seen.sid[3], &s, NULL) == 0);
	CHECK(s.close_json == NULL && s.frames == 5);
	reader_summary_fini(&s);
	reader_close(&r);
	remove_dir();
}

static void path_of(char out[256], const uint8_t *sid, uint32_t part) {
	char rel[READFS_PART_PATH_MAX];

	readfs_part_path(rel, sid, part);
	(void)snprintf(out, 256, "%s/record/%s", dir, rel);
}

TEST(a_changed_byte_is_named) {
	struct reader *r;
	struct seen s = { 0 };
	struct err e = { 0 };
	char path[256];
	int rc;

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(r, see, &s), 0);
	path_of(path, s.sid[1], 1);
	auto_fd int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte = 0;

	REQUIRE(fd >= 0 && pread(fd, &byte, 1, 200) == 1);
	byte ^= 1;
	REQUIRE(pwrite(fd, &byte, 1, 200) == 1);
	/* its frames stand in no journal any more */
	CHECK_EQ_U(read_all(r, s.sid[1], &rc, &e), 3);
	CHECK_EQ_I(rc, H_ETAMPERED);
	CHECK(strstr(e.text, "frame 3") != NULL && strstr(e.text, "byte 0") != NULL);
	reader_close(&r);
	remove_dir();
}

TEST(links_are_not_followed) {
	struct reader *r;
	struct seen s = { 0 };
	char path[256], elsewhere[300];
	int rc;

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(r, see, &s), 0);
	path_of(path, s.sid[0], 0);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere.rec", dir);
	REQUIRE(rename(path, elsewhere) == 0 && symlink(elsewhere, path) == 0);
	CHECK_EQ_U(read_all(r, s.sid[0], &rc, NULL), 0);
	CHECK_EQ_I(rc, H_EPERM);
	reader_close(&r);
	/* nor as a directory */
	(void)snprintf(path, sizeof(path), "%s/record/sessions", dir);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/moved", dir);
	REQUIRE(rename(path, elsewhere) == 0 && symlink(elsewhere, path) == 0);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	CHECK(reader_each(r, see, &s) < 0);
	reader_close(&r);
	remove_dir();
}

TEST(no_store) {
	struct reader *r;
	struct err e = { 0 };

	CHECK_EQ_I(reader_open(&r, "/nonexistent", &e), H_ENOTFOUND);
	CHECK(e.text[0] != '\0');
}

/* A segment that is put to another use between the scan and the fetch. */
TEST(a_segment_that_is_used_again_meanwhile) {
	struct teststore *t;
	struct ts_session *x, *filler;
	struct reader *r;
	int rc;

	make_dir();
	t = ts_new(dir, 2);
	ts_boot(t);
	x = ts_session(t, 1, "postgres");
	ts_talk(x, "select 1", 3);
	ts_flush(t);
	REQUIRE(reader_open(&r, dir, NULL) == 0);
	filler = ts_session(t, 2, "postgres");
	ts_flush(t);
	ts_next_segment(t);
	ts_talk(filler, "select 2", 3);
	ts_flush(t);
	ts_next_segment(t);
	ts_talk(filler, "select 3", 400);
	ts_flush(t);
	CHECK_EQ_U(read_all(r, ts_sid(x), &rc, NULL), 3);
	CHECK_EQ_I(rc, 0);
	reader_close(&r);
	ts_free(&t);
	remove_dir();
}

/* 1 acts and 2 are closed in sealed parts; 3 is closed in no sealed one; 4 is open, in the journal for a part. */
TEST(without_the_journal) {
	struct reader *r, *whole;
	struct seen s = { 0 };
	struct reader_session *x = NULL;
	struct frame f;
	uint64_t in_parts = 0, in_all = 0;

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open(&whole, dir, NULL) == 0);
	REQUIRE(reader_open_parts(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(whole, see, &s), 0);
	REQUIRE(s.count == 4);
	static const int ended[] = { 1, 1, 0, 0 };

	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ_I(reader_is_ended(r, s.sid[i]), ended[i]);
	REQUIRE(reader_session_open(&x, whole, s.sid[3], NULL) == 0);
	while (reader_session_next(x, &f, NULL) == 1)
		in_all++;
	reader_session_close(&x);
	if (reader_session_open(&x, r, s.sid[3], NULL) == 0) {
		int rc;

		while ((rc = reader_session_next(x, &f, NULL)) == 1)
			in_parts++;
		CHECK_EQ_I(rc, 0);
	}
	reader_session_close(&x);
	CHECK(in_parts < in_all);
	CHECK(reader_refresh(r, NULL) == 0);
	struct seen later = { 0 };

	/* The sessions of a test store are of one day in November 2025. */
	CHECK_EQ_I(reader_each_since(r, 1763706000000000000, see, &later), 0);
	CHECK(later.count >= 2 && later.count <= 4);
	later.count = 0;
	CHECK_EQ_I(reader_each_since(r, 1763706000000000000 + 86400000000000, see, &later), 0);
	CHECK_EQ_U(later.count, 0);
	reader_close(&r);
	reader_close(&whole);
	remove_dir();
}

/* The end of a part, cut or changed at any byte: not ended, and no crash. */
TEST(an_end_that_is_damaged_is_none) {
	struct reader *r;
	struct seen s = { 0 };
	char path[READFS_PART_PATH_MAX];
	struct stat st;
	unsigned wrong = 0;

	make_dir();
	ts_standard(dir);
	REQUIRE(reader_open_parts(&r, dir, NULL) == 0);
	CHECK_EQ_I(reader_each(r, see, &s), 0);
	readfs_part_path(path, s.sid[0], 0);
	auto_free char *full = xasprintf("%s/record/%s", dir, path);
	auto_fd int fd = open(full, O_RDWR);

	REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
	for (off_t at = st.st_size - 1; at >= st.st_size - 236; at--) {
		uint8_t byte, other;

		REQUIRE(pread(fd, &byte, 1, at) == 1);
		other = byte ^ 0x41;
		REQUIRE(pwrite(fd, &other, 1, at) == 1);
		/* The last frame's hash of its body is the verifier's business, not looked at here. */
		wrong += reader_is_ended(r, s.sid[0]) == 1;
		REQUIRE(pwrite(fd, &byte, 1, at) == 1);
	}
	CHECK(wrong <= FRAME_TRAILER_SIZE);
	CHECK_EQ_I(reader_is_ended(r, s.sid[0]), 1);
	for (off_t size = st.st_size - 1; size > 0; size -= 7) {
		REQUIRE(ftruncate(fd, size) == 0);
		CHECK_EQ_I(reader_is_ended(r, s.sid[0]), 0);
	}
	reader_close(&r);
	remove_dir();
}

TEST_MAIN
