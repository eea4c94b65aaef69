/*
 * probe.c: what a process of a role may do, tried from inside.
 *
 * For every row of the table a child is forked, confined exactly as the role's process confines
 * itself (confine_paths_of, confine), and makes one attempt; its exit status or the signal that
 * ended it is the answer. tests/integration/test_confinement.py compares the answers with
 * docs/confinement.md. The store, the neighbour process and the sockets that attempts need are made
 * before confinement, by the functions that `hansard serve` uses.
 *
 * An attempt must tell "not permitted" from "failed otherwise": it counts as possible unless the
 * error is one that confinement gives (EPERM, EACCES); for connect, "refused" and "in progress" are
 * proofs that the packet could leave.
 */
#include "main/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "ipc/confine.h"
#include "main/cli.h"
#include "main/serve_priv.h"

/* What the attempts need; made before confinement. */
static struct scene {
	char dir[64], store_dir[80], config_dir[80];
	struct serve_store store;
	char record_file[128], index_file[128], key_file[128], config_file[128], stray_file[128];
	pid_t neighbour; /* a confined process of another role */
	uint64_t secret; /* its memory, at the same address as ours */
	int listener;    /* with one connection waiting */
	int pipe[2];
} scene;

/* An attempt: true when it worked. errno otherwise. */
typedef bool attempt_fn(void);

static bool opens(const char *path, int flags) {
	auto_fd int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);

	return fd >= 0;
}

static bool read_store(void) {
	return opens(scene.record_file, O_RDONLY);
}
static bool write_store(void) {
	return opens(scene.record_file, O_WRONLY);
}
static bool create_in_store(void) {
	auto_free char *path = xasprintf("%s.new", scene.record_file);

	return opens(path, O_WRONLY | O_CREAT);
}
static bool write_index(void) {
	return opens(scene.index_file, O_WRONLY);
}
static bool read_keys(void) {
	return opens(scene.key_file, O_RDONLY);
}
static bool write_keys(void) {
	return opens(scene.key_file, O_WRONLY);
}
static bool read_config(void) {
	return opens(scene.config_file, O_RDONLY);
}
static bool write_config(void) {
	return opens(scene.config_file, O_WRONLY);
}
static bool open_passwd(void) {
	return opens("/etc/passwd", O_RDONLY);
}
static bool open_resolv_conf(void) {
	return opens("/etc/resolv.conf", O_RDONLY);
}
static bool write_tmp(void) {
	return opens(scene.stray_file, O_WRONLY | O_CREAT);
}
static bool open_proc_self(void) {
	return opens("/proc/self/maps", O_RDONLY);
}
static bool open_proc_mem(void) {
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)scene.neighbour);
	return opens(path, O_RDWR);
}
static bool open_proc_environ(void) {
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)scene.neighbour);
	return opens(path, O_RDONLY);
}
static bool vm_readv(void) {
	uint64_t got;
	struct iovec here = { &got, sizeof(got) }, there = { &scene.secret, sizeof(got) };

	return process_vm_readv(scene.neighbour, &here, 1, &there, 1, 0) == sizeof(got);
}
static bool trace(void) {
	return ptrace(PTRACE_SEIZE, scene.neighbour, NULL, NULL) == 0;
}
static bool kill_other(void) {
	return kill(scene.neighbour, 0) == 0;
}
/* fcntl(2) can have the kernel send any signal when a descriptor becomes readable. */
static bool signal_by_owner(void) {
	return fcntl(scene.pipe[0], F_SETOWN, scene.neighbour) == 0;
}
static bool kill_self(void) {
	return kill(getpid(), 0) == 0;
}

static bool makes_socket(int family, int type) {
	auto_fd int fd = socket(family, type | SOCK_CLOEXEC, 0);

	return fd >= 0;
}
static bool socket_tcp(void) {
	return makes_socket(AF_INET, SOCK_STREAM);
}
static bool socket_udp(void) {
	return makes_socket(AF_INET, SOCK_DGRAM);
}
static bool socket_raw(void) {
	auto_fd int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);

	return fd >= 0;
}
static bool socket_unix(void) {
	return makes_socket(AF_UNIX, SOCK_STREAM);
}

/* On the descriptor of an unconnected socket made beforehand: what if one were smuggled in? */
static int spare_socket = -1;
/* What a worker has: a listening socket of its own. */
static int spare_listener = -1;

static bool connects(const char *address, uint16_t port) {
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		return false;
	if (connect(spare_socket, (struct sockaddr *)&in, sizeof(in)) == 0)
		return true;
	return errno != EPERM && errno != EACCES;
}
static bool connect_tcp(void) {
	return connects("127.0.0.1", 1);
}
static bool connect_metadata(void) {
	return connects("169.254.169.254", 80);
}
/* A listener that is shut down is an unconnected socket, and MSG_FASTOPEN connects without connect. */
static bool connect_by_send(void) {
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(1) };
	struct iovec iov = { .iov_base = &in, .iov_len = 1 };
	struct msghdr msg = {
		.msg_name = &in, .msg_namelen = sizeof(in), .msg_iov = &iov, .msg_iovlen = 1
	};

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)shutdown(spare_listener, SHUT_RDWR);
	if (sendto(spare_listener, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&in,
	           sizeof(in)) >= 0 ||
	    (errno != EPERM && errno != EACCES))
		return true;
	return sendmsg(spare_listener, &msg, MSG_FASTOPEN | MSG_NOSIGNAL) >= 0 ||
	       (errno != EPERM && errno != EACCES);
}
static bool bind_tcp(void) {
	struct sockaddr_in in = { .sin_family = AF_INET };

	return bind(spare_socket, (struct sockaddr *)&in, sizeof(in)) == 0;
}
static bool listen_tcp(void) {
	return listen(spare_socket, 1) == 0;
}
static bool accept_given(void) {
	auto_fd int fd = accept4(scene.listener, NULL, NULL, SOCK_CLOEXEC);

	return fd >= 0;
}
static bool write_given(void) {
	return write(scene.pipe[1], "x", 1) == 1;
}

static bool exec(void) {
	char name[] = "true", *argv[] = { name, NULL }, *env[] = { NULL };

	(void)execve("/bin/true", argv, env);
	return false;
}
static bool forks(void) {
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0;
}
static void *do_nothing(void *arg) {
	return arg;
}
static bool thread(void) {
	pthread_t t;
	int rc = pthread_create(&t, NULL, do_nothing, NULL);

	errno = rc;
	return rc == 0 && pthread_join(t, NULL) == 0;
}
static bool map_exec(void) {
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED;
}
static bool become_other(void) {
	return setresuid(12345, 12345, 12345) == 0;
}
static bool core_dump(void) {
	struct rlimit lim = { .rlim_cur = 4096, .rlim_max = 4096 };

	return setrlimit(RLIMIT_CORE, &lim) == 0;
}
static bool make_memfd(void) {
	auto_fd int fd = memfd_create("probe", MFD_CLOEXEC);

	return fd >= 0;
}
/* What the index thread does, and no more. */
static bool make_idle(void) {
	const struct sched_param none = { .sched_priority = 0 };

	return sched_setscheduler(0, SCHED_IDLE, &none) == 0 &&
	       syscall(SYS_ioprio_set, 1, 0, 3 << 13) == 0;
}
static bool schedule_other(void) {
	const struct sched_param none = { .sched_priority = 0 };

	return sched_setscheduler(scene.neighbour, SCHED_IDLE, &none) == 0 ||
	       sched_setscheduler(0, SCHED_BATCH, &none) == 0 ||
	       syscall(SYS_ioprio_set, 1, scene.neighbour, 3 << 13) == 0;
}
static bool set_priority(void) {
	return setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 1) == 0;
}
static bool load_bpf(void) {
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY };

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)) >= 0 ||
	       (errno != EPERM && errno != EACCES);
}
static bool io_uring(void) {
	uint8_t params[256] = { 0 };

	return syscall(SYS_io_uring_setup, 1, params) >= 0;
}
static bool set_clock(void) {
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return clock_settime(CLOCK_REALTIME, &now) == 0;
}

static const struct row {
	const char *name;
	attempt_fn *fn;
} rows[] = {
	{ "read the record", read_store },
	{ "write the record", write_store },
	{ "create in the record", create_in_store },
	{ "write the index", write_index },
	{ "read keys", read_keys },
	{ "write keys", write_keys },
	{ "read the configuration", read_config },
	{ "write the configuration", write_config },
	{ "open /etc/passwd", open_passwd },
	{ "open /etc/resolv.conf", open_resolv_conf },
	{ "create a file elsewhere", write_tmp },
	{ "open /proc/self/maps", open_proc_self },
	{ "open /proc/other/mem", open_proc_mem },
	{ "open /proc/other/environ", open_proc_environ },
	{ "process_vm_readv of another", vm_readv },
	{ "ptrace another", trace },
	{ "signal another", kill_other },
	{ "signal another by fcntl", signal_by_owner },
	{ "signal itself", kill_self },
	{ "socket: TCP", socket_tcp },
	{ "socket: UDP", socket_udp },
	{ "socket: raw", socket_raw },
	{ "socket: Unix", socket_unix },
	{ "connect", connect_tcp },
	{ "connect 169.254.169.254", connect_metadata },
	{ "connect by send", connect_by_send },
	{ "bind", bind_tcp },
	{ "listen", listen_tcp },
	{ "accept on a given listener", accept_given },
	{ "write to a given descriptor", write_given },
	{ "exec", exec },
	{ "fork", forks },
	{ "thread", thread },
	{ "map executable memory", map_exec },
	{ "change uid", become_other },
	{ "raise the core limit", core_dump },
	{ "memfd", make_memfd },
	{ "give way: idle scheduling of itself", make_idle },
	{ "change scheduling otherwise", schedule_other },
	{ "setpriority", set_priority },
	{ "bpf", load_bpf },
	{ "io_uring", io_uring },
	{ "set the clock", set_clock },
};

/* --- the scene --- */

static uid_t owner_of(const char *user) {
	const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;

	return pw != NULL ? pw->pw_uid : geteuid();
}

static int make_file(char *path, size_t cap, const char *name, const char *user, mode_t mode) {
	(void)snprintf(path, cap, "%s/%s", scene.dir, name);
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, "secret\n", 7) != 7 || fchmod(fd, mode) != 0)
		return H_EIO;
	return geteuid() != 0 || fchown(fd, owner_of(user), (gid_t)-1) == 0 ? 0 : H_EIO;
}

static int make_files(void) {
	(void)snprintf(scene.stray_file, sizeof(scene.stray_file), "%s/stray", scene.dir);
	if (make_file(scene.record_file, sizeof(scene.record_file), "store/record/a.rec",
	              "_hansard-recorder", 0600) < 0 ||
	    make_file(scene.index_file, sizeof(scene.index_file), "store/index/index.db",
	              "_hansard-recorder", 0600) < 0 ||
	    make_file(scene.key_file, sizeof(scene.key_file), "store/keeper/log.key",
	              "_hansard-keeper", 0600) < 0)
		return H_EIO;
	/* Where users are packaged the configuration is the keeper's group's to read. */
	return make_file(scene.config_file, sizeof(scene.config_file), "etc/hansard.yaml",
	                 "_hansard-keeper", 0400);
}

static int make_sockets(void) {
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	scene.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client < 0 || scene.listener < 0 ||
	    bind(scene.listener, (struct sockaddr *)&in, n) != 0 ||
	    listen(scene.listener, 64) != 0 ||
	    getsockname(scene.listener, (struct sockaddr *)&in, &n) != 0 ||
	    connect(client, (struct sockaddr *)&in, n) != 0)
		return H_EIO;
	return pipe2(scene.pipe, O_CLOEXEC) == 0 ? 0 : H_EIO;
}

static bool confines(enum role role, const char **ret_note) {
	struct confine_paths paths = confine_paths_of(role, str_of(scene.store_dir),
	                                              str_of(scene.config_dir));

	return confine(role, &paths, ret_note) == 0;
}

/* Stands for the other processes: confined, of another role than the one that is tried. */
static int make_neighbour(enum role role) {
	const char *note = NULL;
	int ready[2];
	char byte;

	scene.secret = 0x5ec2e7;
	if (pipe2(ready, O_CLOEXEC) != 0)
		return H_EIO;
	scene.neighbour = fork();
	if (scene.neighbour == 0) {
		(void)close(ready[0]);
		if (confines(role == ROLE_KEEPER ? ROLE_RECORDER : ROLE_KEEPER, &note))
			(void)!write(ready[1], "x", 1);
		for (;;)
			(void)poll(NULL, 0, 1000);
	}
	(void)close(ready[1]);
	bool is_up = scene.neighbour > 0 && read(ready[0], &byte, 1) == 1;
	(void)close(ready[0]);
	return is_up ? 0 : H_EIO;
}

static int make_scene(enum role role, struct err *e) {
	(void)snprintf(scene.dir, sizeof(scene.dir), "/tmp/hansard-probe-XXXXXX");
	if (mkdtemp(scene.dir) == NULL || chmod(scene.dir, 0755) != 0)
		return err_set(e, H_EIO, "cannot make a directory in /tmp");
	(void)snprintf(scene.store_dir, sizeof(scene.store_dir), "%s/store", scene.dir);
	(void)snprintf(scene.config_dir, sizeof(scene.config_dir), "%s/etc", scene.dir);
	if (mkdir(scene.config_dir, 0755) != 0)
		return err_set(e, H_EIO, "cannot make a directory in /tmp");
	if (serve_store_open(&scene.store, str_of(scene.store_dir), e) < 0)
		return H_EIO;
	if (make_files() < 0 || make_sockets() < 0 || make_neighbour(role) < 0)
		return err_set(e, H_EIO, "cannot make what is to be tried: %s", strerror(errno));
	return 0;
}

static void remove_scene(void) {
	static const char *const names[] = { "store/record/a.rec.new",
		                             "store/record/a.rec",
		                             "store/record",
		                             "store/index/index.db",
		                             "store/index",
		                             "store/keeper/log.key",
		                             "store/keeper",
		                             "store/control.sock",
		                             "store/lock",
		                             "store",
		                             "etc/hansard.yaml",
		                             "etc",
		                             "stray" };

	if (scene.neighbour > 0) {
		(void)kill(scene.neighbour, SIGKILL);
		(void)waitpid(scene.neighbour, NULL, 0);
	}
	serve_store_close(&scene.store);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_free char *path = xasprintf("%s/%s", scene.dir, names[i]);
		(void)remove(path);
	}
	(void)rmdir(scene.dir);
}

/* --- trying --- */

enum { TRIED_YES = 0, TRIED_NO = 1, NOT_CONFINED = 9 };

static no_return void try_inside(enum role role, const struct row *row) {
	const char *note = NULL;

	spare_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	spare_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listen(spare_listener, 1) != 0 || !confines(role, &note) || note != NULL)
		_exit(NOT_CONFINED);
	/* exec answers by its own exit status, which is 0 too. */
	_exit(row->fn() ? TRIED_YES : TRIED_NO);
}

/* "yes", "no", "killed"; NULL when the attempt could not be made. */
static const char *try_row(enum role role, const struct row *row) {
	int status;
	pid_t pid = fork();

	if (pid == 0)
		try_inside(role, row);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return NULL;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? "killed" : NULL;
	if (WEXITSTATUS(status) == TRIED_YES)
		return "yes";
	return WEXITSTATUS(status) == TRIED_NO ? "no" : NULL;
}

int probe_main(int argc, char **argv) {
	struct err e = { 0 };
	enum role role;
	int status = CLI_OK;

	if (argc != 1 || role_of(str_of(argv[0]), &role) < 0) {
		(void)fprintf(stderr, "usage: hansard --probe "
		                      "supervisor|keeper|egress|worker|recorder\n");
		return CLI_USAGE;
	}
	if (make_scene(role, &e) < 0)
		status = cli_fail(&e);
	for (size_t i = 0; i < ARRAY_LEN(rows) && status == CLI_OK; i++) {
		const char *answer = try_row(role, &rows[i]);
		(void)printf("%s\t%s\n", rows[i].name, answer != NULL ? answer : "?");
		(void)fflush(stdout);
		if (answer == NULL) {
			(void)fprintf(stderr,
			              "hansard: this process cannot be confined here (no Landlock, "
			              "or built with a sanitizer)\n");
			status = CLI_FAILED;
		}
	}
	remove_scene();
	return status;
}
