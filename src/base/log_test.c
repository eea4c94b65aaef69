/* log_test.c: lines as they leave through descriptor 2. */
#include "base/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>

#include "base/test.h"

/* Descriptor 2 goes into a pipe while a test logs. */
static int saved_fd, pipe_fd[2];

static void capture(bool json) {
	if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0)
		abort();
	saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	if (dup2(pipe_fd[1], STDERR_FILENO) < 0)
		abort();
	log_setup("worker", json, LOG_INFO);
}

static struct str captured(char *out, size_t cap) {
	ssize_t n = read(pipe_fd[0], out, cap);

	(void)dup2(saved_fd, STDERR_FILENO);
	(void)close(saved_fd);
	(void)close(pipe_fd[0]);
	(void)close(pipe_fd[1]);
	return str_mem(out, n < 0 ? 0 : (size_t)n);
}

static json_t *line_json(struct str line) {
	json_error_t error;
	json_t *j = json_loadb(line.p, line.n, 0, &error);

	if (j == NULL)
		test_note("%s: %.*s", error.text, STR_ARG(line));
	return j;
}

static struct str member(const json_t *j, const char *key) {
	const json_t *v = json_object_get(j, key);

	return v != NULL ? str_mem(json_string_value(v), json_string_length(v)) : STR_NONE;
}

TEST(log_json_line) {
	char out[8192];

	capture(true);
	log_debug("too.low");
	log_info("worker.session.opened", kv_z("session", "k7m2-9xqe"), kv_int("delta", -3),
	         kv_uint("rows", UINT64_MAX / 2), kv_bool("held", true), kv_err(H_EIO),
	         kv_hex("hash", STR("\x01\xff")), kv_str("text", STR("a\"\x1b\n\xff")));
	struct str line = captured(out, sizeof(out));
	json_t *j = line_json(line);

	REQUIRE(j != NULL);
	CHECK_EQ_I(line.p[line.n - 1], '\n');
	CHECK_EQ_U(str_find(line, '\n'), line.n - 1);
	CHECK_EQ_STR(member(j, "level"), STR("info"));
	CHECK_EQ_STR(member(j, "process"), STR("worker"));
	CHECK_EQ_STR(member(j, "event"), STR("worker.session.opened"));
	CHECK_EQ_STR(member(j, "session"), STR("k7m2-9xqe"));
	CHECK_EQ_STR(member(j, "error"), STR("EIO"));
	CHECK_EQ_STR(member(j, "error_text"), STR("input or output failed"));
	CHECK_EQ_STR(member(j, "hash"), STR("01ff"));
	CHECK_EQ_STR(member(j, "text"), STR("a\"\x1b\n\xef\xbf\xbd"));
	CHECK_EQ_I(json_integer_value(json_object_get(j, "delta")), -3);
	CHECK_EQ_I(json_integer_value(json_object_get(j, "pid")), getpid());
	CHECK(json_is_true(json_object_get(j, "held")));
	CHECK_EQ_U(member(j, "time").n, 30);
	CHECK(json_object_get(j, "truncated") == NULL);
	json_decref(j);
}

TEST(log_text_line) {
	char out[8192];

	capture(false);
	log_warn("pg.auth.refused", kv_z("user", "app"), kv_str("odd", STR("a b\x1b")),
	         kv_hex("h", STR("\xab")), kv_str("none", STR_NONE));
	struct str line = captured(out, sizeof(out));

	CHECK_EQ_STR(str_from(line, 13), STR("WARN  worker pg.auth.refused user=app "
	                                     "odd=\"a b\\u001b\" h=\"ab\" none=\"\"\n"));
}

/* A field of every length around the limit: always one whole, well-formed line of at most 4 KiB. */
TEST(log_truncates) {
	char out[8192], big[5000];

	memset(big, 'x', sizeof(big));
	for (size_t n = 3700; n < 4200; n++) {
		capture(true);
		log_info("big.line", kv_str("s", str_mem(big, n)), kv_int("after", 1));
		struct str line = captured(out, sizeof(out));
		json_t *j = line_json(line);

		REQUIRE(j != NULL);
		CHECK(line.n <= 4096);
		bool is_cut = json_object_get(j, "truncated") != NULL;

		CHECK(is_cut || json_object_get(j, "after") != NULL);
		CHECK(!is_cut || n > 3800);
		CHECK(is_cut || n < 4000);
		json_decref(j);
	}
}

static void check_cut(bool json, struct kv field) {
	char out[8192];

	capture(json);
	log_info("big.line", kv_bool("first", true), field, kv_int("after", 1));
	struct str line = captured(out, sizeof(out));

	CHECK(line.n <= 4096);
	CHECK_EQ_I(line.p[line.n - 1], '\n');
	CHECK(memmem(line.p, line.n, "truncated", 9) != NULL);
	if (json) {
		json_t *j = line_json(line);

		CHECK(j != NULL);
		json_decref(j);
	}
}

TEST(log_truncates_every_kind) {
	char big[5000];

	memset(big, '\n', sizeof(big));
	for (int json = 0; json < 2; json++) {
		check_cut(json != 0, kv_str("s", str_mem(big, sizeof(big))));
		check_cut(json != 0, kv_hex("h", str_mem(big, sizeof(big))));
		memset(big, 'k', sizeof(big) - 1);
		big[sizeof(big) - 1] = '\0';
		check_cut(json != 0, kv_int(big, 1));
		check_cut(json != 0, kv_z("w", big));
		/* leaves room for the name but not for the value */
		for (size_t n = 3850; n < 3990; n++) {
			big[n] = '\0';
			capture(json != 0);
			log_info("x", kv_int(big, INT64_MIN), kv_err(H_EUPSTREAM));
			char out[8192];
			struct str line = captured(out, sizeof(out));

			CHECK(line.n <= 4096 && line.p[line.n - 1] == '\n');
			json_t *j = json != 0 ? line_json(line) : json_object();

			CHECK(j != NULL);
			json_decref(j);
			big[n] = 'k';
		}
	}
}

static void *log_in_thread(unused_arg void *arg) {
	for (int i = 0; i < 50; i++)
		log_info("thread.line", kv_z("text", "0123456789012345678901234567890123456789"));
	return NULL;
}

TEST(log_lines_do_not_mix) {
	static char out[65536];
	pthread_t threads[4];
	unsigned lines = 0;

	capture(true);
	for (int i = 0; i < 4; i++)
		REQUIRE(pthread_create(&threads[i], NULL, log_in_thread, NULL) == 0);
	for (int i = 0; i < 4; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
	struct str all = captured(out, sizeof(out));

	while (all.n != 0) {
		json_t *j = line_json(str_cut(&all, '\n'));

		REQUIRE(j != NULL);
		json_decref(j);
		lines++;
	}
	CHECK_EQ_U(lines, 200);
}

TEST(log_limit_is_a_line_per_second) {
	struct log_limit l = { 0 };
	uint64_t lines = 0, told = 0, calls = 0;

	CHECK_EQ_U(log_limit_pass(&l, 5), 1);
	for (uint64_t t = 6; t < 5 + 3 * NS_PER_S; t += NS_PER_S / 1000) {
		uint64_t n = log_limit_pass(&l, t);

		calls++;
		lines += n != 0;
		told += n;
	}
	CHECK_EQ_U(lines, 2);
	CHECK(calls - told < 1000); /* none but those of the last second wait to be told */
	CHECK_EQ_U(log_limit_pass(&l, UINT64_MAX / 2), calls - told + 1);
}

TEST_MAIN
