/*
 * fetch.h: one HTTP request to the outside, by libcurl on egress' loop. Event-driven.
 *
 * https with TLS 1.2 or later, certificate and name verified against the given roots or the system's;
 * http to loopback alone. Redirects are not followed: the answer is the 3xx itself. No proxy, no
 * cookies, no netrc, no content coding. Connections are kept for the next request to the same host with
 * the same roots.
 */
#ifndef EGRESS_FETCH_H
#define EGRESS_FETCH_H

#include "egress/resolve.h"

#define FETCH_MAX 32                 /* in flight */
#define FETCH_TIMEOUT_MAX_MS 120000u /* longer ones are cut to this */
#define FETCH_URL_MAX ((size_t)2048)
#define FETCH_BODY_MAX ((size_t)64 * 1024) /* of an answer; max_bytes is cut to this */
#define FETCH_HEADERS_MAX ((size_t)64 * 1024)

struct fetch_ask {
	struct str method; /* "GET" or "POST" */
	struct str url;    /* ASCII, without user, password and fragment */
	struct str ca;     /* PEM: the only roots; empty: the system's */
	struct str
		headers; /* "Name: value\n"…; Host, Connection, Content-Length and the like are ours */
	struct str body; /* of a POST */
	uint32_t timeout_ms, max_bytes;
};

struct fetch_result {
	/* 0: an answer came, whatever its status. H_EFORMAT for a wrong ask, H_EPERM for an address that
	 * is refused, H_ECONNECT, H_ETLS, H_ETIMEOUT, H_ELIMIT (too many at once; answer too large),
	 * H_EUPSTREAM for one that is not HTTP, H_EFEATURE without libcurl. */
	int code;
	uint32_t status;
	uint32_t max_age; /* s it may be kept; 0: not said, or not to be kept (freshness.h) */
	struct str body;  /* borrowed */
	char text
		[320]; /* a sentence when code < 0: scheme, host and port, never path, header or body */
};
typedef void fetch_fn(void *arg, const struct fetch_result *result);

struct fetcher;
struct fetch;
/* Before confinement: loads libcurl and what it reads. One per process; tls_setup() comes first. Without
 * libcurl every fetch will fail with H_EFEATURE, and *ret_missing says why (else NULL). */
struct fetcher *fetcher_new(struct loop *l, struct resolver *r, const char **ret_missing) must_use;
/* fn is called once, on the loop, never from within; then the fetch is gone. What `ask` borrows is copied. */
struct fetch *fetch_start(struct fetcher *x, const struct fetch_ask *ask, fetch_fn *fn, void *arg)
	must_use;
/* Forgets it; fn is not called. */
void fetch_cancel(struct fetch *f);

#endif
