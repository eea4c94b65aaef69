/*
 * pem.h: looking at certificates and keys in PEM: do they parse, belong together, hold in time?
 */
#ifndef CONFIG_PEM_H
#define CONFIG_PEM_H

#include "base/err.h"

/* Certificate chain (leaf first) and private key: 0, or H_ECONFIG with a static sentence. *ret_days:
 * days until the leaf expires, negative when it has; may be NULL. */
int pem_pair_check(struct str cert_pem, struct str key_pem, int *ret_days, const char **ret_why)
	must_use;
/* Does the leaf carry every name LABEL.domain? */
bool pem_carries_domain(struct str cert_pem, struct str domain);
/* At least one certificate, and nothing that is not one. */
int pem_roots_check(struct str pem, const char **ret_why) must_use;

#endif
