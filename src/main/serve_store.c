/*
 * serve_store.c: the store's directory, its lock, and control.sock.
 *
 *   <store>/lock          flock(2) held by supervisor, keeper and recorder (one open file)
 *   <store>/control.sock  0600: for root and the user that started the gateway, which are those whom the
 *                         keeper answers; replaced at start, which only the holder of the lock does
 *   <store>/record        recorder's, 0750
 *   <store>/index         recorder's, 0750
 *   <store>/keeper        keeper's, 0700
 *   <store>/ca.pem        keeper's; so with packaged users the store's directory is its group's to
 *                         create in, and sticky: what others own there it cannot move away
 *
 * The lock file names the supervisor's pid. While that process lives a second gateway is refused at
 * once; when only its last children are still finishing, they are waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "main/serve_priv.h"

enum { LOCK_TRIES = 100, LOCK_PAUSE_MS = 100 };

static int fail(struct err *e, const char *what, const char *path) {
	int code = errno == ENOSPC ? H_ENOSPACE : H_EIO;

	return err_set(e, code, "%s %s: %s", what, path, strerror(errno));
}

/* A directory that was there: nobody but us, root and the role's user may own it, a link leads where
 * somebody else wants, and where everybody writes anybody puts another file in a file's place. */
static int check_dir(const char *path, const struct stat *st, const struct passwd *pw,
                     struct err *e) {
	bool is_ours = st->st_uid == 0 || st->st_uid == geteuid() ||
	               (pw != NULL && st->st_uid == pw->pw_uid);

	if (!S_ISDIR(st->st_mode))
		return err_set(e, H_EPERM, "%s is not a directory of its own", path);
	if (!is_ours)
		return err_set(e, H_EPERM, "%s belongs to uid %u; give it to the gateway's user",
		               path, st->st_uid);
	if ((st->st_mode & S_IWOTH) != 0)
		return err_set(e, H_EPERM, "%s is writable by everybody; chmod o-w it", path);
	return 0;
}

/* A directory, made when absent. Owner: the packaged user of the role, if we are root and it
 * exists; a directory that is there keeps the owner that somebody gave it. */
static int make_dir(const char *path, mode_t mode, const char *user, struct err *e) {
	const struct passwd *pw = geteuid() == 0 && user != NULL ? getpwnam(user) : NULL;
	struct stat st;

	if (mkdir(path, mode) != 0) {
		/* The store itself may be a link to a volume; what is in it, by no link. */
		if (errno == EEXIST && (user == NULL ? stat : lstat)(path, &st) == 0)
			return check_dir(path, &st, pw, e);
		return fail(e, "cannot make the directory", path);
	}
	if (pw != NULL && chown(path, pw->pw_uid, pw->pw_gid) != 0)
		return fail(e, "cannot give away the directory", path);
	return 0;
}

static int let_keeper_create(const char *store, struct err *e) {
	const struct passwd *pw = geteuid() == 0 ? getpwnam("_hansard-keeper") : NULL;

	if (pw == NULL)
		return 0;
	if (chown(store, (uid_t)-1, pw->pw_gid) != 0 || chmod(store, 01775) != 0)
		return fail(e, "cannot prepare", store);
	return 0;
}

static int make_dirs(const char *store, struct err *e) {
	auto_free char *record = xasprintf("%s/record", store);
	auto_free char *index = xasprintf("%s/index", store);
	auto_free char *keeper = xasprintf("%s/keeper", store);
	int rc = make_dir(store, 0755, NULL, e);

	if (rc == 0)
		rc = let_keeper_create(store, e);
	if (rc == 0)
		rc = make_dir(record, 0750, "_hansard-recorder", e);
	if (rc == 0)
		rc = make_dir(index, 0750, "_hansard-recorder", e);
	if (rc == 0)
		rc = make_dir(keeper, 0700, "_hansard-keeper", e);
	return rc;
}

/* --- lock --- */

static pid_t read_pid(int fd) {
	char text[24] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	uint64_t pid = 0;

	if (n <= 0 || str_u64(str_trim(str_of(text)), INT32_MAX, &pid) < 0)
		return 0;
	return (pid_t)pid;
}

static int write_pid(int fd) {
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return H_EIO;
	return 0;
}

static int lock_store(struct serve_store *s, struct err *e) {
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
	auto_free char *path = xasprintf("%s/lock", s->path);
	auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return fail(e, "cannot open", path);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
		pid_t holder = read_pid(fd);
		bool lives = holder > 0 && (kill(holder, 0) == 0 || errno == EPERM);
		if (lives || i == LOCK_TRIES)
			return err_set(e, H_EBUSY,
			               "another gateway (pid %d) has the store %s; a store belongs "
			               "to one gateway",
			               (int)holder, s->path);
		(void)nanosleep(&pause, NULL);
	}
	if (write_pid(fd) < 0)
		return fail(e, "cannot write", path);
	s->lock = take_fd(&fd);
	return 0;
}

/* --- control.sock --- */

/* Bound by way of the directory's descriptor: a store's path may be longer than a socket's. */
static int bind_control(int dir, struct err *e) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	auto_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/control.sock", dir);
	(void)unlinkat(dir, "control.sock", 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&un, sizeof(un)) != 0)
		return fail(e, "cannot bind", "control.sock");
	if (fchmodat(dir, "control.sock", 0600, 0) != 0 || listen(fd, 64) != 0)
		return fail(e, "cannot listen on", "control.sock");
	return take_fd(&fd);
}

int serve_store_open(struct serve_store *s, struct str path, struct err *e) {
	int rc;

	*s = (struct serve_store){ .lock = -1, .control = -1 };
	if (path.n == 0 || path.p[0] != '/' || !str_copy(s->path, sizeof(s->path), path))
		return err_set(e, H_ECONFIG, "store path is not an absolute path");
	rc = make_dirs(s->path, e);
	if (rc == 0)
		rc = lock_store(s, e);
	if (rc == 0) {
		auto_fd int dir = open(s->path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
		s->control = dir < 0 ? fail(e, "cannot open", s->path) : bind_control(dir, e);
		rc = MIN(s->control, 0);
	}
	if (rc < 0)
		serve_store_close(s);
	return rc;
}

void serve_store_close(struct serve_store *s) {
	auto_free char *path = xasprintf("%s/control.sock", s->path);

	if (s->control >= 0) {
		(void)unlink(path);
		(void)close(s->control);
	}
	if (s->lock >= 0)
		(void)close(s->lock);
	*s = (struct serve_store){ .lock = -1, .control = -1 };
}
