/*
 * confine_seccomp.c: which system calls are left (seccomp(2), by libseccomp).
 *
 * A child has an allow-list: what every process needs, and what its role adds. What is not on it
 * fails with EPERM, because libraries probe and take no for an answer; what no code of ours or
 * theirs has a reason to try (exec, ptrace, other processes' memory, and connect where there is no
 * network) ends the process: it was taken over.
 *
 * The supervisor's filter is inherited by its children, which need more than it does; so it has a
 * deny-list, of what no process of Hansard ever needs.
 *
 * Memory cannot become executable after confinement, except in egress, where getaddrinfo may load
 * the system's NSS modules.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "ipc/confine_priv.h"

/* clang-format off: one list, many names */
#define CALLS_ALL \
	"accept4", "brk", "clock_getres", "clock_gettime", "clock_nanosleep", "close", \
		"close_range", "dup", "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", \
		"epoll_pwait2", "epoll_wait", "eventfd2", "exit", "exit_group", "fstat", "futex", \
		"getegid", "geteuid", "getgid", "getpeername", "getpid", "getppid", "getrandom", \
		"getrusage", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", \
		"lseek", "madvise", "membarrier", "mincore", "mlock", "mlock2", "mremap", \
		"munlock", "munmap", "nanosleep", "pipe2", "poll", "ppoll", "pread64", "preadv", \
		"pwrite64", "pwritev", "read", "readv", "recvfrom", "recvmsg", "restart_syscall", \
		"rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", \
		"sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield", \
		"set_robust_list", "set_tid_address", "setsockopt", "shutdown", "sigaltstack", \
		"sysinfo", "timerfd_create", "timerfd_settime", "times", "uname", "write", \
		"writev"

/* Files, as far as Landlock and the uid allow them. */
#define CALLS_FILES \
	"access", "chmod", "copy_file_range", "faccessat", "faccessat2", "fadvise64", "fallocate", \
		"fchmod", "fchmodat", "fchown", "fdatasync", "flock", "fstatfs", "fsync", \
		"ftruncate", "getcwd", "getdents64", "link", "linkat", "lstat", "mkdir", \
		"mkdirat", "newfstatat", "open", "openat", "openat2", "readlink", "readlinkat", \
		"rename", "renameat", "renameat2", "rmdir", "stat", "statfs", "statx", \
		"sync_file_range", "syncfs", "truncate", "umask", "unlink", "unlinkat", \
		"utimensat"

/* clang-format on */

static const char *const calls_all[] = { CALLS_ALL, NULL };
static const char *const calls_files[] = { CALLS_FILES, NULL };
/* A sealed snapshot for the workers. */
static const char *const calls_keeper[] = { "memfd_create", NULL };
static const char *const calls_egress[] = { "access",     "connect",  "faccessat",  "getcwd",
	                                    "getdents64", "lstat",    "newfstatat", "readlink",
	                                    "readlinkat", "recvmmsg", "sendmmsg",   "socket",
	                                    "stat",       "statx",    NULL };

/* No process has a reason; to try is to be taken over. */
static const char *const calls_fatal[] = {
	"execve",     "execveat",        "ptrace",          "process_vm_readv", "process_vm_writev",
	"kexec_load", "kexec_file_load", "init_module",     "finit_module",     "delete_module",
	"bpf",        "mount",           "umount2",         "pivot_root",       "setns",
	"unshare",    "userfaultfd",     "perf_event_open", "pidfd_getfd",      NULL
};
static const char *const calls_supervisor_denied[] = { "ptrace",
	                                               "process_vm_readv",
	                                               "process_vm_writev",
	                                               "kexec_load",
	                                               "kexec_file_load",
	                                               "init_module",
	                                               "finit_module",
	                                               "delete_module",
	                                               "bpf",
	                                               "mount",
	                                               "umount2",
	                                               "pivot_root",
	                                               "setns",
	                                               "unshare",
	                                               "userfaultfd",
	                                               "pidfd_getfd",
	                                               "io_uring_setup",
	                                               "add_key",
	                                               "keyctl",
	                                               "request_key",
	                                               "quotactl",
	                                               "swapon",
	                                               "swapoff",
	                                               "reboot",
	                                               "personality",
	                                               "acct",
	                                               "perf_event_open",
	                                               NULL };

/* Names that this architecture does not have are passed over: it has no such call to make. */
static int add(scmp_filter_ctx ctx, uint32_t action, const char *const *names) {
	for (; *names != NULL; names++) {
		int nr = seccomp_syscall_resolve_name(*names);
		if (nr == __NR_SCMP_ERROR)
			continue;
		if (seccomp_rule_add(ctx, action, nr, 0) != 0)
			return H_EPERM;
	}
	return 0;
}

static int add_arg(scmp_filter_ctx ctx, int nr, struct scmp_arg_cmp cmp) {
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1, cmp) == 0 ? 0 : H_EPERM;
}

/* Threads, not processes. clone3 hides its flags behind a pointer: glibc falls back to clone. */
static int add_threads(scmp_filter_ctx ctx) {
	if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) != 0)
		return H_EPERM;
	return add_arg(ctx, SCMP_SYS(clone),
	               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

/* abort() and pthread_kill; nobody else's processes. */
static int add_own_signals(scmp_filter_ctx ctx) {
	uint64_t pid = (uint64_t)getpid();
	int rc = add_arg(ctx, SCMP_SYS(kill), SCMP_A0(SCMP_CMP_EQ, pid));

	return rc == 0 ? add_arg(ctx, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, pid)) : rc;
}

static int add_memory(scmp_filter_ctx ctx, bool may_exec) {
	static const char *const names[] = { "mmap", "mprotect", NULL };
	int rc;

	if (may_exec)
		return add(ctx, SCMP_ACT_ALLOW, names);
	rc = add_arg(ctx, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return rc == 0 ? add_arg(ctx, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))
	               : rc;
}

/* Limits may be read, not set; descriptors may be looked at; a thread may have a name; a terminal may be asked whether it is one. */
static int add_harmless_forms(scmp_filter_ctx ctx) {
	static const unsigned requests[] = { 0x5401 /* TCGETS */, 0x541b /* FIONREAD */,
		                             0x5421 /* FIONBIO */ };
	static const unsigned options[] = { 15 /* PR_SET_NAME */, 16 /* PR_GET_NAME */,
		                            3 /* PR_GET_DUMPABLE */,
		                            0x53564d41 /* PR_SET_VMA: malloc names its arenas */ };
	int rc = add_arg(ctx, SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0));

	/* glibc's fstat(fd) is newfstatat(fd, "", AT_EMPTY_PATH). The flag also takes a path, so that
	 * a process may learn whether a file exists; not what is in it. */
	if (rc == 0)
		rc = add_arg(ctx, SCMP_SYS(newfstatat),
		             SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
	for (size_t i = 0; i < ARRAY_LEN(requests) && rc == 0; i++)
		rc = add_arg(ctx, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, requests[i]));
	for (size_t i = 0; i < ARRAY_LEN(options) && rc == 0; i++)
		rc = add_arg(ctx, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, options[i]));
	return rc;
}

/* Owner and signal of a descriptor stay out: F_SETOWN with F_SETSIG is kill(2) by another name. */
static int add_fcntl(scmp_filter_ctx ctx) {
	static const int commands[] = { F_DUPFD,    F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,
		                        F_GETFL,    F_SETFL,         F_GETLK,     F_SETLK,
		                        F_SETLKW,   F_OFD_GETLK,     F_OFD_SETLK, F_ADD_SEALS,
		                        F_GET_SEALS };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(commands) && rc == 0; i++)
		rc = add_arg(ctx, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, (unsigned)commands[i]));
	return rc;
}

/* Without MSG_FASTOPEN, which connects: a listener that is shut down is an unconnected socket. */
static int add_sends(scmp_filter_ctx ctx, bool may_connect) {
	static const char *const names[] = { "sendmsg", "sendto", NULL };
	int rc;

	if (may_connect)
		return add(ctx, SCMP_ACT_ALLOW, names);
	rc = add_arg(ctx, SCMP_SYS(sendmsg), SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
	return rc == 0 ? add_arg(ctx, SCMP_SYS(sendto),
	                         SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0))
	               : rc;
}

/* The recorder's index thread makes itself idle (SCHED_IDLE, idle I/O class): a process of the same
 * uid is not to be slowed down so, hence itself alone (0) and that policy alone. */
static int add_idle(scmp_filter_ctx ctx) {
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sched_setscheduler), 2,
	                          SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A1(SCMP_CMP_EQ, SCHED_IDLE));

	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioprio_set), 2,
		                      SCMP_A0(SCMP_CMP_EQ, 1 /* IOPRIO_WHO_PROCESS */),
		                      SCMP_A1(SCMP_CMP_EQ, 0));
	return rc == 0 ? 0 : H_EPERM;
}

static int add_role(scmp_filter_ctx ctx, enum role role) {
	static const char *const connect_call[] = { "connect", NULL };
	int rc = 0;

	if (role == ROLE_KEEPER || role == ROLE_RECORDER)
		rc = add(ctx, SCMP_ACT_ALLOW, calls_files);
	if (rc == 0 && role == ROLE_KEEPER)
		rc = add(ctx, SCMP_ACT_ALLOW, calls_keeper);
	if (rc == 0 && role == ROLE_RECORDER)
		rc = add_idle(ctx);
	if (rc == 0 && role != ROLE_EGRESS)
		rc = add(ctx, SCMP_ACT_KILL_PROCESS, connect_call);
	if (rc < 0 || role != ROLE_EGRESS)
		return rc;
	rc = add(ctx, SCMP_ACT_ALLOW, calls_egress);
	/* Reads what the resolver reads, writes nothing. */
	return rc == 0 ? add_arg(ctx, SCMP_SYS(openat),
	                         SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC,
	                                 O_RDONLY))
	               : rc;
}

static int fill_child(scmp_filter_ctx ctx, enum role role) {
	int rc = add(ctx, SCMP_ACT_ALLOW, calls_all);

	if (rc == 0)
		rc = add(ctx, SCMP_ACT_KILL_PROCESS, calls_fatal);
	if (rc == 0)
		rc = add_threads(ctx);
	if (rc == 0)
		rc = add_own_signals(ctx);
	if (rc == 0)
		rc = add_memory(ctx, role == ROLE_EGRESS);
	if (rc == 0)
		rc = add_fcntl(ctx);
	if (rc == 0)
		rc = add_sends(ctx, role == ROLE_EGRESS);
	if (rc == 0)
		rc = add_harmless_forms(ctx);
	return rc == 0 ? add_role(ctx, role) : rc;
}

int confine_seccomp(enum role role) {
	bool is_supervisor = role == ROLE_SUPERVISOR;
	scmp_filter_ctx ctx = seccomp_init(is_supervisor ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (ctx == NULL)
		return H_EPERM;
	rc = is_supervisor ? add(ctx, SCMP_ACT_ERRNO(EPERM), calls_supervisor_denied)
	                   : fill_child(ctx, role);
	/* A binary tree instead of a list: some 80 comparisons per call would show in benchmarks. */
	if (rc == 0)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0 && seccomp_load(ctx) != 0)
		rc = H_EPERM;
	seccomp_release(ctx);
	return rc;
}
