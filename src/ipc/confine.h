/*
 * confine.h: what each process may do (docs/confinement.md holds the table process × capability; a test runs every cell from
 * inside). Order: no new privileges, drop capabilities, change uid (root only, packaged users, if they exist), rlimits (no core
 * dumps), Landlock (paths; absent kernels: warned, recorded), seccomp (allow-list per role; what is not in it: EPERM for what libraries probe,
 * kill for exec, ptrace, connect, …).
 */
#ifndef IPC_CONFINE_H
#define IPC_CONFINE_H

#include "ipc/ipc.h"

struct confine_paths {
	const char *read[16];  /* hierarchies that may be read; NULL at the end */
	const char *write[16]; /* hierarchies that may be read, written, created in */
};

/* Confines the calling process (all its threads: call before any other is made). Paths must exist. What could not be had is
 * written as one sentence to *ret_note (static text, or NULL): no Landlock in this kernel. H_EPERM when a required part failed. */
int confine(enum role role, const struct confine_paths *paths, const char **ret_note) must_use;

#endif
