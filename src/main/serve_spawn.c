/*
 * serve_spawn.c: a child by fork and execve of ourselves (ipc/start.h).
 *
 * Between fork and execve only async-signal-safe calls are made. The child holds /dev/null as 0,
 * the log as 1 and 2, its channel as 3, and nothing else; its environment is empty; terminal and
 * service signals are ignored, for it ends when its channel does.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "main/serve_priv.h"

extern char **environ;

static void reset_signals(void) {
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	sigset_t none;

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The recorder alone outlives us until it sees EOF: it writes down what its rings hold. The others
 * have nothing to finish, and one that hangs must not carry sessions on. */
static void die_with_parent(enum role role, pid_t parent) {
	if (role != ROLE_RECORDER)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

static no_return void become(enum role role, int channel, pid_t parent) {
	char name[] = "hansard", flag[] = "--child", role_arg[16], *env[] = { NULL };
	char *argv[] = { name, flag, role_arg, NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)snprintf(role_arg, sizeof(role_arg), "%s", role_name(role));
	die_with_parent(role, parent);
	reset_signals();
	/* The channel may be any number, also one of those that are replaced here. */
	channel = fcntl(channel, F_DUPFD, 10);
	if (null < 0 || channel < 0 || chdir("/") != 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0 ||
	    dup2(channel, START_FD) < 0 || close_range(START_FD + 1, ~0U, 0) != 0)
		_exit(126);
	(void)execve("/proc/self/exe", argv, env);
	_exit(127);
}

int serve_spawn(enum role role, pid_t *ret_pid, int *ret_channel) {
	pid_t parent = getpid(), pid;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return H_EIO;
	pid = fork();
	if (pid == 0)
		become(role, fds[1], parent);
	(void)close(fds[1]);
	if (pid < 0) {
		(void)close(fds[0]);
		return H_EIO;
	}
	*ret_pid = pid;
	*ret_channel = fds[0];
	return 0;
}

int serve_env_memfd(void) {
	auto_fd int fd = memfd_create("hansard-env", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return H_EIO;
	for (char **e = environ; *e != NULL; e++) {
		size_t n = strlen(*e) + 1;
		if (write(fd, *e, n) != (ssize_t)n)
			return H_EIO;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
		return H_EIO;
	return take_fd(&fd);
}
