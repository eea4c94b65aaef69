/*
 * runtime.h: a configuration with its secrets resolved, its roles ready to log in, and its snapshot.
 *
 * Built whole or not at all: every file and variable is read now, so that a reload says what is wrong
 * and changes nothing. Counted references: a grant keeps the runtime it was decided with.
 */
#ifndef KEEPER_RUNTIME_H
#define KEEPER_RUNTIME_H

#include "config/config.h"
#include "config/snapshot.h"
#include "keeper/login.h"
#include "keeper/oidc.h"

/* The environment that the supervisor was started with: "NAME=value", NUL separated. */
struct env {
	struct secret all;
};
/* From the sealed memfd; fd -1 yields an empty one. */
int env_read(struct env *env, int fd) must_use;
void env_fini(struct env *env);
/* NULL when it is not set. Borrowed. */
const char *env_get(void *arg, const char *name); /* arg: struct env */

/* What listeners show when the configuration names no certificate. */
struct tls_pair {
	struct str cert_pem, key_pem;
};

struct runtime {
	unsigned refs;
	struct config *config;
	struct login_role *roles; /* one per role, in document order */
	size_t role_count;
	struct oidc_files oidc;
	int snapshot_fd;
	uint8_t hash[SHA256_SIZE];
};

/* Takes the configuration (*c becomes NULL) when it succeeds; findings tell why not. */
int runtime_build(struct runtime **ret, struct config **c, struct env *env,
                  const struct tls_pair *fallback, struct findings *f) must_use;
struct runtime *runtime_ref(struct runtime *r);
void runtime_unref(struct runtime **r);
struct login_role *runtime_role(const struct runtime *r, const struct config_role *role);

#endif
