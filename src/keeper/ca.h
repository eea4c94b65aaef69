/*
 * ca.h: the private certification authority of a gateway that was given no certificate.
 *
 *   <store>/keeper/ca.key      P-256 private key, 0600; made when it is not there, never replaced
 *   <store>/ca.pem             the root, for clients to trust; ten years
 *   <store>/keeper/leaf.key, leaf.pem   made anew when under 30 of its 90 days are left, or when the
 *                              names that it must carry changed
 */
#ifndef KEEPER_CA_H
#define KEEPER_CA_H

#include "base/err.h"

struct ca_leaf {
	char *cert_pem; /* leaf, then root */
	char *key_pem;
	bool is_new_root; /* this call made the root */
};

/* names: DNS names and IP addresses beside localhost, 127.0.0.1, ::1; NULL at the end. */
int ca_leaf_get(struct ca_leaf *ret, const char *store, const char *const *names, struct err *e)
	must_use;
/* Wipes the key. */
void ca_leaf_fini(struct ca_leaf *leaf);

/* Writes a file whole: a temporary one beside it, synced, renamed. */
int file_write(const char *path, struct str bytes, unsigned mode, struct err *e) must_use;

#endif
