/*
 * cmd_reindex.c: hansard reindex: the index anew, from the record alone.
 *
 * There is one writer of an index. Without a gateway that is this command; with one it is the recorder,
 * which is asked by a file in the index's directory and does it in the background. Either way the old index
 * serves until the new one takes its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "main/ask.h"
#include "main/indexer.h"

struct reindex_args {
	struct common common;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	struct reindex_args *a = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "no arguments are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = { { &common_plain_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.parser = parse,
	.doc = "Make the index that `hansard search` uses anew, from the record alone. A running "
	       "gateway does it in the background.",
	.children = children,
};

struct progress {
	bool has_tty;
	uint64_t said; /* percent */
};

static void on_progress(void *arg, uint64_t done, uint64_t of) {
	struct progress *p = arg;
	uint64_t percent = done * 100 / MAX(of, (uint64_t)1);

	if (percent == p->said)
		return;
	p->said = percent;
	if (p->has_tty)
		(void)fprintf(stderr, "\r\033[K%llu of %llu sessions (%llu%%)",
		              (unsigned long long)done, (unsigned long long)of,
		              (unsigned long long)percent);
	else if (percent % 10 == 0)
		(void)fprintf(stderr, "hansard: %llu of %llu sessions\n", (unsigned long long)done,
		              (unsigned long long)of);
}

/* A store that no gateway of this version has had yet, or a copy, lacks the directory. */
static int make_dir(const char *store, const char *dir) {
	auto_free char *record = xasprintf("%s/record", store);
	struct stat st;

	if (mkdir(dir, 0750) != 0)
		return errno == EEXIST ? 0 : errno == EACCES || errno == EROFS ? H_EPERM : H_EIO;
	if (geteuid() == 0 && (lstat(record, &st) != 0 || lchown(dir, st.st_uid, st.st_gid) != 0))
		return H_EPERM;
	return 0;
}

static int rebuild(const char *store, struct err *e) {
	struct progress p = { .has_tty = isatty(STDERR_FILENO) == 1, .said = UINT64_MAX };
	struct indexer_options o = { .store = store, .progress = on_progress, .arg = &p };
	struct indexer_result got;
	int rc = indexer_rebuild(&o, &got, e);

	if (p.has_tty)
		(void)fputs("\r\033[K", stderr);
	if (rc < 0)
		return rc;
	(void)fprintf(stderr,
	              "hansard: %llu sessions are in the index, %llu have not ended or cannot be "
	              "read\n",
	              (unsigned long long)got.added,
	              (unsigned long long)got.behind + (unsigned long long)got.unreadable);
	return 0;
}

/* Until the recorder took the file away; 1 when it has gone itself. */
static int wait_for_recorder(const char *dir, const char *flag, int *lock) {
	const struct timespec pause = { .tv_nsec = 200000000L };
	struct stat st;

	while (lstat(flag, &st) == 0) {
		*lock = index_lock(dir);
		if (*lock >= 0)
			return 1;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

static int ask_recorder(const char *dir, int *lock, struct err *e) {
	auto_free char *flag = xasprintf("%s/" INDEXER_REBUILD_FILE, dir);
	auto_fd int fd = open(flag, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return err_set(e, H_EPERM, "%s: %s", flag, strerror(errno));
	(void)fprintf(stderr, "hansard: the running gateway makes the index anew …\n");
	int rc = wait_for_recorder(dir, flag, lock);

	if (rc == 1)
		(void)unlink(flag);
	else
		(void)fprintf(stderr, "hansard: done\n");
	return rc;
}

static int reindex(const struct common *c, struct err *e) {
	char store[4096];
	int rc = common_store(c, store, sizeof(store), e);

	if (rc < 0)
		return rc;
	auto_free char *dir = index_dir(store);

	rc = make_dir(store, dir);
	if (rc < 0)
		return err_set(e, rc, "%s: %s", dir, h_err_text(rc));
	int lock = index_lock(dir);

	ask_announce(c, store, "index.rebuilt", STR_NONE);
	if (lock == H_EBUSY) {
		rc = ask_recorder(dir, &lock, e);
		if (rc <= 0)
			return rc;
	}
	if (lock < 0)
		return err_set(e, lock, "%s: %s", dir, h_err_text(lock));
	rc = rebuild(store, e);
	(void)close(lock);
	return rc;
}

int cmd_reindex(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct reindex_args a = { .common = { .config = NULL } };

	cli_parse(&argp, argc, argv, &a);
	return reindex(&a.common, &e) < 0 ? cli_fail(&e) : CLI_OK;
}
