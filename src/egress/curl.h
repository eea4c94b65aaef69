/*
 * curl.h: libcurl, loaded by the one process that speaks HTTPS.
 *
 * Linked in the usual way, libcurl and the thirty libraries behind it (LDAP, Kerberos, SSH, a second TLS …)
 * would be mapped into every process of ours, the worker that parses hostile bytes included, and each start
 * of the command line would pay for them (6 ms became 26). So the headers give the types and the library
 * comes at run time.
 */
#ifndef EGRESS_CURL_H
#define EGRESS_CURL_H

#include <curl/curl.h>

#include "base/err.h"

#define CURL_LIBRARY "libcurl.so.4"

#define CURL_FUNCTIONS(X) \
	X(easy_cleanup) \
	X(easy_getinfo) \
	X(easy_init) \
	X(easy_setopt) \
	X(easy_strerror) \
	X(free) \
	X(global_init) \
	X(multi_add_handle) \
	X(multi_assign) \
	X(multi_info_read) \
	X(multi_init) \
	X(multi_remove_handle) \
	X(multi_setopt) \
	X(multi_socket_action) \
	X(slist_append) \
	X(slist_free_all) \
	X(url) \
	X(url_cleanup) \
	X(url_get) \
	X(url_set)

struct curl_api {
#define X(name) __typeof__(curl_##name) *name;
	CURL_FUNCTIONS(X)
#undef X
};

/* Before confinement; for the life of the process. H_EFEATURE when the library or one of the functions is
 * not there, with a sentence in *e. */
int curl_load(struct curl_api *ret, const char *library, struct err *e) must_use;

#endif
