/*
 * confine_landlock.c: paths, TCP and signals, by Landlock (landlock(7)).
 *
 * Raw system calls and own constants: Debian 12's headers stop at ABI 2, kernels are ahead. What the
 * running kernel does not know is left out, so an older kernel confines less and refuses nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ipc/confine_priv.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum { CREATE_RULESET_VERSION = 1, RULE_PATH_BENEATH = 1 };

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_CHAR = 1 << 6,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_MAKE_SOCK = 1 << 9,
	FS_MAKE_FIFO = 1 << 10,
	FS_MAKE_BLOCK = 1 << 11,
	FS_MAKE_SYM = 1 << 12,
	FS_REFER = 1 << 13,     /* ABI 2 */
	FS_TRUNCATE = 1 << 14,  /* ABI 3 */
	FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
	FS_READ = FS_READ_FILE | FS_READ_DIR,
	FS_WRITE = FS_READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR |
	           FS_MAKE_REG | FS_REFER | FS_TRUNCATE,
	/* These mean nothing on a file. */
	FS_DIR_ONLY = FS_READ_DIR | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |
	              FS_REFER,
	NET_BIND_TCP = 1 << 0,        /* ABI 4 */
	NET_CONNECT_TCP = 1 << 1,     /* ABI 4 */
	SCOPE_ABSTRACT_UNIX = 1 << 0, /* ABI 6 */
	SCOPE_SIGNAL = 1 << 1,        /* ABI 6 */
};

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static uint64_t fs_of(int abi) {
	uint64_t all = (1 << 13) - 1;

	if (abi >= 2)
		all |= FS_REFER;
	if (abi >= 3)
		all |= FS_TRUNCATE;
	if (abi >= 5)
		all |= FS_IOCTL_DEV;
	return all;
}

static int make_ruleset(enum role role, int abi) {
	struct ruleset_attr attr = { .fs = fs_of(abi) };
	size_t size = abi >= 6 ? sizeof(attr) : abi >= 4 ? 16 : 8;

	if (abi >= 4)
		attr.net = NET_BIND_TCP | (role == ROLE_EGRESS ? 0 : NET_CONNECT_TCP);
	if (abi >= 6)
		attr.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
}

static int add_path(int ruleset, const char *path, uint64_t allowed) {
	auto_fd int fd = open(path, O_PATH | O_CLOEXEC);
	struct path_attr attr = { .allowed = allowed, .fd = fd };
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : H_EPERM;
	if (fstat(fd, &st) != 0)
		return H_EPERM;
	if (!S_ISDIR(st.st_mode))
		attr.allowed &= ~(uint64_t)FS_DIR_ONLY;
	return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0) == 0 ? 0
	                                                                                 : H_EPERM;
}

static int add_paths(int ruleset, const char *const *paths, uint64_t allowed) {
	int rc = 0;

	for (size_t i = 0; i < 16 && paths[i] != NULL && rc == 0; i++)
		rc = add_path(ruleset, paths[i], allowed);
	return rc;
}

int confine_landlock(enum role role, const struct confine_paths *paths) {
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

	if (abi < 1)
		return H_EFEATURE;
	if (role == ROLE_SUPERVISOR)
		return 0; /* what it gave up, its children could not have either */
	auto_fd int ruleset = make_ruleset(role, abi);
	if (ruleset < 0 || add_paths(ruleset, paths->read, FS_READ & fs_of(abi)) < 0 ||
	    add_paths(ruleset, paths->write, FS_WRITE & fs_of(abi)) < 0)
		return H_EPERM;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ? 0 : H_EPERM;
}
