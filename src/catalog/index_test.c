/* index_test.c: filters and index.db. */
#include "catalog/index.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/test.h"
#include "catalog/filter.h"

static char dir[64];

static void fresh(void) {
	(void)snprintf(dir, sizeof(dir), "/tmp/hansard-index-XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
}

static void gone(void) {
	auto_free char *cmd = xasprintf("%s/lock", dir);

	index_remove(dir, "index.db");
	index_remove(dir, "index.db.new");
	(void)unlink(cmd);
	CHECK(rmdir(dir) == 0);
}

TEST(filter_finds_what_was_added) {
	struct filter_set s;
	struct buf bits;
	unsigned wrong = 0;

	filter_set_init(&s);
	buf_init(&bits, FILTER_SIZE_MAX);
	filter_encode(&s, &bits);
	CHECK_EQ_U(bits.len, 0);
	CHECK(!filter_has(STR_NONE, 1));
	for (uint64_t i = 0; i < 5000; i++) {
		filter_set_add(&s, i * 2);
		filter_set_add(&s, i * 2);
	}
	CHECK_EQ_U(s.count, 5000);
	filter_encode(&s, &bits);
	for (uint64_t i = 0; i < 5000; i++) {
		if (!filter_has(buf_peek(&bits), i * 2))
			wrong += 1000000;
		wrong += filter_has(buf_peek(&bits), i * 2 + 1);
	}
	CHECK(wrong < 60); /* 1 in 300 of 5000, and room */
	test_note("%u of 5000 found by accident, %zu bytes", wrong, bits.len);
	filter_set_clear(&s);
	CHECK_EQ_U(s.count, 0);
	buf_fini(&bits);
	filter_set_fini(&s);
}

/* Most sessions say little: the same holds for few hashes. */
TEST(filter_of_few_is_as_good) {
	unsigned wrong = 0;

	for (uint64_t n = 0; n < 2000; n++) {
		struct filter_set s;
		struct buf bits;

		filter_set_init(&s);
		buf_init(&bits, FILTER_SIZE_MAX);
		for (uint64_t i = 0; i < 3 + n % 9; i++)
			filter_set_add(&s, n * 1000003 + i);
		filter_encode(&s, &bits);
		CHECK(filter_has(buf_peek(&bits), n * 1000003));
		for (uint64_t i = 100; i < 110; i++)
			wrong += filter_has(buf_peek(&bits), n * 1000003 + i);
		buf_fini(&bits);
		filter_set_fini(&s);
	}
	test_note("%u of 20000 found by accident", wrong);
	CHECK(wrong < 200);
}

TEST(filter_that_is_full_finds_everything) {
	struct filter_set s;
	struct buf bits;

	filter_set_init(&s);
	buf_init(&bits, FILTER_SIZE_MAX);
	for (uint64_t i = 1; i <= FILTER_HASHES_MAX; i++)
		filter_set_add(&s, i);
	CHECK(!s.is_full);
	filter_encode(&s, &bits);
	CHECK(!bits.bad);
	CHECK(filter_has(buf_peek(&bits), 77));
	filter_set_add(&s, 1u << 30);
	CHECK(s.is_full);
	buf_clear(&bits);
	filter_encode(&s, &bits);
	CHECK(filter_has(buf_peek(&bits), 1u << 31));
	CHECK_EQ_U(bits.len, 1);
	buf_fini(&bits);
	filter_set_fini(&s);
}

/* Foreign bits: any answer, no crash. */
TEST(filter_of_any_bytes) {
	CHECK(filter_has(STR("\x08"), 5));
	CHECK(!filter_has(STR("\xff\x00"), 5));
	CHECK(filter_has(STR("\xff\xff"), 5));
}

static struct index_session example(uint8_t n) {
	struct index_session s = { .opened_wall_ns = 1000u * n,
		                   .last_wall_ns = 1000u * n + 500,
		                   .protocol = STR("postgres"),
		                   .connection = STR("shop"),
		                   .role = STR("default"),
		                   .database = STR("shop"),
		                   .subject = STR("local:ci"),
		                   .kind = STR("agent"),
		                   .on_behalf_of = STR("mara"),
		                   .run = STR("r1"),
		                   .reason = STR("client"),
		                   .is_verified = true,
		                   .commands = 3,
		                   .failed = 1,
		                   .rows = 9,
		                   .frames = 12,
		                   .filters = 3 };

	memset(s.sid, n, SID_SIZE);
	return s;
}

static void put_example(struct index *x, uint8_t n, uint64_t hash) {
	struct index_session s = example(n);
	struct filter_set set;
	struct buf bits;
	int64_t row = 0;

	filter_set_init(&set);
	buf_init(&bits, FILTER_SIZE_MAX);
	CHECK(index_put(x, &s, &row) == 0);
	for (uint64_t i = 0; i < 3; i++) {
		filter_set_clear(&set);
		filter_set_add(&set, hash + i);
		buf_clear(&bits);
		filter_encode(&set, &bits);
		CHECK(index_put_filter(x, row, i * 10 + 1, i * 10 + 10, buf_peek(&bits)) == 0);
	}
	for (uint64_t i = 0; i < 2; i++)
		CHECK(index_put_statement(x, row,
		                          &(struct index_statement){
						  .text = i == 0 ? STR("select ?")
		                                                 : STR("drop table x"),
						  .print = UINT64_MAX - i,
						  .count = 5 - i,
						  .failed = i,
						  .first_number = 1 + i,
						  .last_number = 9 }) == 0);
	buf_fini(&bits);
	filter_set_fini(&set);
}

struct walk {
	unsigned seen, may;
	uint64_t last_number;
	struct index_session last;
};

static int on_hit(void *arg, const struct index_hit *hit) {
	struct walk *w = arg;

	w->seen++;
	w->may += hit->may_hold;
	if (hit->may_hold)
		w->last_number = hit->last_number;
	return 0;
}

static int on_statement(void *arg, const struct index_statement *s) {
	struct buf *b = arg;

	w_fmt(b, "%.*s*%llu/%llu ", STR_ARG(s->text), (unsigned long long)s->count,
	      (unsigned long long)s->failed);
	return 0;
}

TEST(index_keeps_and_finds) {
	struct index *x = NULL;
	struct err e = { .code = 0 };
	struct walk w = { 0 };
	struct index_mark m = { .wall_ns = 7, .behind_sessions = 2, .passes = 3 };
	struct buf b;

	fresh();
	buf_init(&b, 4096);
	REQUIRE(index_open_write(&x, dir, "index.db", true, &e) == 0);
	CHECK(index_begin(x) == 0);
	for (uint8_t n = 1; n <= 9; n++)
		put_example(x, n, n * 100u);
	put_example(x, 5, 500); /* the same again replaces */
	CHECK(index_mark_put(x, &m) == 0);
	CHECK(index_commit(x) == 0);
	CHECK(index_begin(x) == 0);
	put_example(x, 99, 1);
	index_rollback(x);

	struct index *r = NULL;

	REQUIRE(index_open_read(&r, dir, &e) == 0);
	CHECK_EQ_I(index_has(r, example(5).sid), 1);
	CHECK_EQ_I(index_has(r, example(99).sid), 0);
	CHECK(index_mark_get(r, &m) == 0);
	CHECK_EQ_U(m.sessions, 9);
	CHECK_EQ_U(m.behind_sessions, 2);
	const uint64_t hash = 501;
	struct index_query q = { .hash = &hash, .hash_count = 1 };

	CHECK(index_each(r, &q, on_hit, &w) == 0);
	CHECK_EQ_U(w.seen, 9);
	CHECK_EQ_U(w.may, 1);
	CHECK_EQ_U(w.last_number, 20);
	q = (struct index_query){ .since_ns = 4600, .until_ns = 6100 };
	w = (struct walk){ 0 };
	CHECK(index_each(r, &q, on_hit, &w) == 0);
	CHECK_EQ_U(w.may, 2); /* 5 and 6 */
	CHECK(index_statements(r, example(5).sid, on_statement, &b) == 0);
	CHECK_EQ_STR(buf_peek(&b), STR("select ?*5/0 drop table x*4/1 "));
	buf_clear(&b);
	CHECK(index_statements(r, NULL, on_statement, &b) == 0);
	CHECK_EQ_STR(buf_peek(&b), STR("select ?*45/0 drop table x*36/9 "));
	CHECK(index_check(r) == 0);
	CHECK(index_bytes(dir) > 0);
	index_close(&r);
	index_close(&x);
	buf_fini(&b);
	gone();
}

/* As another uid that may read the files and write nothing: while the writer lives, after it closed, and after
 * it was killed. */
static int read_as_other(void) {
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct index *r = NULL;
		struct err e = { .code = 0 };
		struct walk w = { 0 };
		struct index_query q = { .hash = NULL };
		gid_t group = 4711;

		if (setgroups(1, &group) != 0 || setresgid(65534, 65534, 65534) != 0 ||
		    setresuid(65534, 65534, 65534) != 0)
			_exit(99);
		if (index_open_read(&r, dir, &e) < 0)
			_exit(1);
		_exit(index_each(r, &q, on_hit, &w) == 0 ? (int)w.seen + 10 : 2);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status) - 10;
}

TEST(index_is_read_by_another_uid) {
	struct index *x = NULL;
	struct err e = { .code = 0 };
	int status;

	if (geteuid() != 0)
		TEST_SKIP("another uid needs root");
	fresh();
	REQUIRE(chmod(dir, 02750) == 0 && chown(dir, 0, 4711) == 0);
	REQUIRE(index_open_write(&x, dir, "index.db", true, &e) == 0);
	CHECK(index_begin(x) == 0);
	put_example(x, 1, 1);
	CHECK(index_commit(x) == 0);
	CHECK_EQ_I(read_as_other(), 1);
	CHECK(index_begin(x) == 0);
	put_example(x, 2, 1);
	CHECK_EQ_I(read_as_other(), 1); /* not committed yet, and not in the way */
	CHECK(index_commit(x) == 0);
	CHECK_EQ_I(read_as_other(), 2);
	index_close(&x);
	auto_free char *wal = xasprintf("%s/index.db-wal", dir);

	CHECK(access(wal, F_OK) == 0); /* a reader that may not write could not make it */
	CHECK_EQ_I(read_as_other(), 2);
	pid_t pid = fork();

	if (pid == 0) {
		if (index_open_write(&x, dir, "index.db", true, &e) < 0 || index_begin(x) < 0)
			_exit(1);
		put_example(x, 3, 1);
		if (index_commit(x) < 0 || index_begin(x) < 0)
			_exit(2);
		put_example(x, 4, 1);
		(void)kill(getpid(), SIGKILL);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ_I(read_as_other(), 3);
	REQUIRE(index_open_write(&x, dir, "index.db", true, &e) == 0);
	CHECK(index_check(x) == 0);
	index_close(&x);
	gone();
}

static void write_file(const char *name, const char *bytes, size_t n, off_t at) {
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_fd int fd = open(path, O_WRONLY | O_CREAT, 0640);

	CHECK(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
}

TEST(index_that_is_none_is_refused) {
	static const char junk[8192] = "this is no database, whatever it says";
	struct index *x = NULL;
	struct err e = { .code = 0 };

	fresh();
	CHECK_EQ_I(index_open_read(&x, dir, &e), H_ENOTFOUND);
	write_file("index.db", junk, sizeof(junk), 0);
	e = (struct err){ .code = 0 };
	CHECK_EQ_I(index_open_read(&x, dir, &e), H_EFORMAT);
	CHECK_EQ_I(index_open_write(&x, dir, "index.db", true, &e), H_EFORMAT);
	CHECK(x == NULL);
	index_remove(dir, "index.db");
	REQUIRE(index_open_write(&x, dir, "index.db", false, &e) == 0);
	index_close(&x);
	/* user_version, at 60 */
	write_file("index.db", "\0\0\0\x63", 4, 60);
	CHECK_EQ_I(index_open_write(&x, dir, "index.db", true, &e), H_EVERSION);
	gone();
}

TEST(index_damaged_inside_is_found_out) {
	static const char junk[4096] = { 1, 2, 3 };
	struct index *x = NULL;
	struct err e = { .code = 0 };
	struct walk w = { 0 };
	struct index_query q = { .hash = NULL };

	fresh();
	REQUIRE(index_open_write(&x, dir, "index.db", false, &e) == 0);
	CHECK(index_begin(x) == 0);
	for (unsigned n = 1; n <= 200; n++)
		put_example(x, (uint8_t)n, n);
	CHECK(index_commit(x) == 0);
	index_close(&x);
	for (off_t at = 4096; at < 40960; at += 4096)
		write_file("index.db", junk, sizeof(junk), at);
	int rc = index_open_read(&x, dir, &e);

	if (rc == 0)
		rc = index_each(x, &q, on_hit, &w);
	CHECK_EQ_I(rc, H_EFORMAT);
	index_close(&x);
	gone();
}

TEST(index_has_one_writer_and_is_replaced_whole) {
	struct index *x = NULL, *old = NULL;
	struct err e = { .code = 0 };
	struct walk w = { 0 };
	struct index_query q = { .hash = NULL };

	fresh();
	int lock = index_lock(dir);

	CHECK(lock >= 0);
	CHECK_EQ_I(index_lock(dir), H_EBUSY);
	(void)close(lock);
	REQUIRE(index_open_write(&x, dir, "index.db", true, &e) == 0);
	CHECK(index_begin(x) == 0);
	put_example(x, 1, 1);
	CHECK(index_commit(x) == 0);
	REQUIRE(index_open_read(&old, dir, &e) == 0);
	index_close(&x);
	REQUIRE(index_open_write(&x, dir, "index.db.new", false, &e) == 0);
	CHECK(index_begin(x) == 0);
	put_example(x, 2, 1);
	put_example(x, 3, 1);
	CHECK(index_commit(x) == 0);
	index_close(&x);
	CHECK(index_replace(dir, "index.db.new") == 0);
	CHECK(index_each(old, &q, on_hit, &w) == 0);
	CHECK_EQ_U(w.seen, 1);
	index_close(&old);
	w.seen = 0;
	REQUIRE(index_open_read(&x, dir, &e) == 0);
	CHECK(index_each(x, &q, on_hit, &w) == 0);
	CHECK_EQ_U(w.seen, 2);
	index_close(&x);
	gone();
}

TEST_MAIN
