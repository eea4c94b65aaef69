/* confine_priv.h: the parts of confine.c that have a file of their own. */
#ifndef IPC_CONFINE_PRIV_H
#define IPC_CONFINE_PRIV_H

#include "ipc/confine.h"

/* 0, H_EFEATURE when the kernel has no Landlock, H_EPERM. */
int confine_landlock(enum role role, const struct confine_paths *paths) must_use;
int confine_seccomp(enum role role) must_use;

#endif
