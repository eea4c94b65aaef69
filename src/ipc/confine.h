/*
 * confine.h: what each process may do (docs/confinement.md holds the table process × capability; a
 * test runs every cell from inside).
 *
 * Order: uid (root only, packaged user `_hansard-<role>`, if it exists), no new privileges,
 * capabilities, limits (no core dumps), not dumpable (so no process of the same uid reads its
 * memory), Landlock (paths, TCP, signals; absent in the kernel: noted), seccomp (allow-list per
 * role: what is not in it fails with EPERM, for libraries probe; exec, ptrace and their kin kill).
 * In builds with a sanitizer Landlock and seccomp are left out, and the note says so.
 */
#ifndef IPC_CONFINE_H
#define IPC_CONFINE_H

#include "ipc/ipc.h"

struct confine_paths {
	const char *read[16];  /* hierarchies that may be read; NULL at the end */
	const char *write[16]; /* hierarchies that may be read, written, created in */
};

/* The hierarchies of a role, for confine(): worker and supervisor none; egress what the resolver
 * reads; recorder writes <store>/record and <store>/index; keeper writes <store>/keeper and reads the configuration's
 * directory (it adds those of the files that the configuration names). Memory that lives as long as
 * the process. */
struct confine_paths confine_paths_of(enum role role, struct str store, struct str config_dir);

/* The first step alone: becomes the packaged user, if we are root and it exists. The keeper calls it
 * between reading the configuration's files and touching the store; the other children have become
 * theirs before <role>_main. Nothing happens the second time. H_EPERM when it did not work. */
int confine_user(enum role role) must_use;

/* Confines the calling process (call before any thread is made). Paths that do not exist are left
 * out. What could not be had is written as one sentence to *ret_note (static text, or NULL): no
 * Landlock in this kernel. H_EPERM when a required part failed. */
int confine(enum role role, const struct confine_paths *paths, const char **ret_note) must_use;

#endif
