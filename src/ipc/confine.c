/*
 * confine.c: a process gives up, for good, what its role does not need (confine.h).
 *
 * Three layers that do not lean on each other: the uid keeps processes of other roles away (files,
 * signals, /proc), Landlock keeps this one inside its directories, seccomp keeps it from the calls
 * themselves. Where the packaged users or Landlock are missing the others carry the separation, and
 * the table in docs/confinement.md says what is then left.
 */
#include "ipc/confine_priv.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/san.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

enum { CAP_LAST_POSSIBLE = 63 };

/* What a supervisor that runs as root keeps: to make and give away the store's directories, to bind
 * low ports, to start children that become their users, and to end them. */
#define SUPERVISOR_CAPS \
	(1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER | 1ULL << CAP_KILL | \
	 1ULL << CAP_SETGID | 1ULL << CAP_SETUID | 1ULL << CAP_SETPCAP | \
	 1ULL << CAP_NET_BIND_SERVICE)

/* --- user --- */

static int become(enum role role, const struct passwd *pw) {
	if (setgroups(0, NULL) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0 || setuid(0) == 0)
		return H_EPERM;
	/* The kernel forgets this when the uid changes (serve_spawn.c sets it). */
	if (role != ROLE_RECORDER && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return H_EPERM;
	return 0;
}

int confine_user(enum role role) {
	char name[32];
	const struct passwd *pw;

	if (geteuid() != 0 || role == ROLE_SUPERVISOR)
		return 0;
	(void)snprintf(name, sizeof(name), "_hansard-%s", role_name(role));
	pw = getpwnam(name);
	return pw != NULL && pw->pw_uid != 0 ? become(role, pw) : 0;
}

/* --- capabilities --- */

static int drop_caps(uint64_t keep) {
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Fails without CAP_SETPCAP; then there is nothing in the sets that could be used. */
	for (int cap = 0; cap <= CAP_LAST_POSSIBLE; cap++) {
		if ((keep >> cap & 1) == 0)
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
	if (syscall(SYS_capget, &head, data) != 0)
		return H_EPERM;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective &= (uint32_t)(keep >> (32 * i));
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) == 0 ? 0 : H_EPERM;
}

static int limit(void) {
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return H_EPERM;
	return 0;
}

struct confine_paths confine_paths_of(enum role role, struct str store, struct str config_dir) {
	struct confine_paths p = { { NULL }, { NULL } };

	switch (role) {
	case ROLE_KEEPER:
		p.read[0] = str_dup(config_dir);
		p.write[0] = xasprintf("%.*s/keeper", STR_ARG(store));
		break;
	case ROLE_RECORDER:
		p.write[0] = xasprintf("%.*s/record", STR_ARG(store));
		p.write[1] = xasprintf("%.*s/index", STR_ARG(store));
		break;
	case ROLE_EGRESS:
		p = (struct confine_paths){
			.read = { "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
			          "/etc/host.conf", "/etc/gai.conf", "/etc/services",
			          "/etc/protocols", "/run/systemd/resolve", "/run/resolvconf",
			          "/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib" }
		};
		break;
	case ROLE_SUPERVISOR:
	case ROLE_WORKER:
	case ROLE_COUNT:
		break;
	}
	return p;
}

int confine(enum role role, const struct confine_paths *paths, const char **ret_note) {
	int rc = confine_user(role);

	*ret_note = NULL;
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		rc = H_EPERM;
	if (rc == 0)
		rc = drop_caps(role == ROLE_SUPERVISOR ? SUPERVISOR_CAPS : 0);
	if (rc == 0)
		rc = limit();
	if (rc < 0)
		return rc;
	san_confined();
	if (HAS_SANITIZER) {
		*ret_note = "built with a sanitizer: no Landlock, no seccomp";
		return 0;
	}
	rc = confine_landlock(role, paths);
	if (rc == H_EFEATURE)
		*ret_note = "this kernel has no Landlock: users and seccomp separate the processes";
	else if (rc < 0)
		return rc;
	return confine_seccomp(role);
}
