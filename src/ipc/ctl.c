/*
 * ctl.c: asking the keeper over control.sock (ctl.h).
 *
 * The socket is connected through /proc/self/fd of its directory, because the path of a store may
 * be longer than the 107 bytes that sun_path holds. Blocking with a limit of time: a CLI command
 * does nothing else meanwhile.
 */
#include "ipc/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ipc/ipc.h"

enum { ANSWER_TIMEOUT_MS = 15000 };

static int connect_error(struct err *e, const char *store_path, int err) {
	if (err == EACCES || err == EPERM)
		return err_set(
			e, H_EPERM,
			"%s/control.sock: permission denied; only root and the gateway's own user may ask",
			store_path);
	if (err == ENOENT || err == ECONNREFUSED || err == ENOTDIR)
		return err_set(e, H_ENOTFOUND,
		               "no gateway is running on %s; start it with `hansard serve`",
		               store_path);
	return err_set(e, H_EIO, "%s/control.sock: %s", store_path, strerror(err));
}

static int ctl_connect(const char *store_path, struct err *e) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	auto_fd int dir = open(store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return connect_error(e, store_path, errno);
	auto_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return connect_error(e, store_path, errno);
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/control.sock", dir);
	if (connect(fd, (const struct sockaddr *)&un, sizeof(un)) < 0)
		return connect_error(e, store_path, errno);
	return take_fd(&fd);
}

/* "done":true stands in the last answer; the keeper writes it compactly, as its last member. */
static bool is_last(struct str json) {
	static const struct str mark = { .p = "\"done\":true}", .n = 12 };

	return json.n >= mark.n && str_eq(str_from(json, json.n - mark.n), mark);
}

static int wait_answer(int fd, struct err *e) {
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, ANSWER_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return err_set(e, H_ETIMEOUT, "the gateway does not answer");
	return n < 0 ? err_set(e, H_EIO, "%s", strerror(errno)) : 0;
}

static int read_answers(int fd, uint8_t *buf, ctl_answer_fn *fn, void *arg, struct err *e) {
	for (;;) {
		struct ipc_msg m;
		int rc = wait_answer(fd, e);

		if (rc < 0)
			return rc;
		rc = ipc_recv(fd, buf, &m);
		if (rc == 0)
			continue;
		if (rc < 0)
			return err_set(e, rc, "the gateway closed the connection; try again");
		ipc_msg_close(&m);
		if (m.type != IPC_CTL_ANSWER)
			return err_set(e, H_EPROTO, "the gateway answered what was not asked");
		rc = fn(arg, m.body);
		if (rc < 0)
			return err_set(e, rc, "%s", h_err_text(rc));
		if (is_last(m.body))
			return 0;
	}
}

int ctl_pass(const char *store_path, const struct ctl_ask *ask, ctl_answer_fn *fn, void *arg,
             struct err *e) {
	auto_fd int fd = ctl_connect(store_path, e);

	if (fd < 0)
		return fd;
	int rc = ipc_send(fd, IPC_CTL_ASK, 1, ask->text, &ask->fd, ask->fd >= 0 ? 1 : 0);

	if (rc < 0)
		return err_set(e, rc, "the gateway cannot be asked: %s", h_err_text(rc));
	auto_free uint8_t *buf = xmalloc(IPC_MAX + 16);

	return read_answers(fd, buf, fn, arg, e);
}

int ctl_call(const char *store_path, struct str ask, ctl_answer_fn *fn, void *arg, struct err *e) {
	return ctl_pass(store_path, &(struct ctl_ask){ .text = ask, .fd = -1 }, fn, arg, e);
}
