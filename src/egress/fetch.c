/*
 * fetch.c: see fetch.h.
 *
 *   url and headers are looked at → the name resolves (resolve.h) → curl's transfer → finish()
 *
 * 1. curl resolves nothing: the addresses come from our resolver by CURLOPT_RESOLVE, so that a slow name
 *    server is bounded as for every other connection. Every socket that curl opens passes on_socket(),
 *    which refuses a cloud's metadata service and, for plain http, everything but loopback.
 * 2. Each transfer carries all its options itself. Two transfers share a connection only when curl finds
 *    their roots equal: a bundle is compared byte by byte (CURLOPT_CAINFO_BLOB), and "the system's" equals
 *    no bundle. The default paths are taken away, else they would be added to a private bundle.
 * 3. Nothing calls back from within fetch_start(): the end comes from the loop. Timers: `limit` bounds the
 *    whole, resolving included, and at once when the fetch failed before curl had it.
 * 4. The URL's path, the headers and the body may be secrets: no text of ours, none of curl's that is
 *    passed on, holds them.
 *
 * Rejected: HTTP/2 (one more parser of foreign bytes for documents of a few KiB); curl's own resolver thread
 * (unbounded, and confined it could not report); our dial.c for the socket (it would connect before it is
 * known whether an open connection serves).
 */
#include "egress/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/version.h"
#include "egress/curl.h"
#include "egress/dial.h"
#include "egress/freshness.h"
#include "net/addr.h"
#include "net/tls.h"

enum { ADDRESSES_MAX = 8, CONNECTIONS_MAX = 16, HOST_TEXT_MAX = 300 };

/* The library is one per process. */
static struct curl_api curl;

struct fetcher {
	struct loop *loop;
	struct resolver *resolver;
	CURLM *multi;
	struct timer timer; /* curl's */
	size_t count;
	struct err missing; /* code < 0: libcurl is not there, every fetch fails */
};

struct fetch {
	struct fetcher *fetcher;
	fetch_fn *fn;
	void *arg;
	struct timer limit;
	struct resolve_job *job;
	CURLU *url;
	char *host; /* curl's memory; IPv6 without brackets */
	uint16_t port;
	bool is_plain; /* http */
	bool is_over;
	bool is_refused;              /* on_socket said no */
	bool is_counted, is_in_multi; /* to be undone */
	CURL *easy;
	struct curl_slist *headers, *addresses;
	char error[CURL_ERROR_SIZE];
	struct buf body;
	size_t header_bytes;
	bool is_too_large;
	struct freshness fresh;
	struct fetch_result result;
};

/* --- the end --- */

static void release(struct fetch *f) {
	timer_stop(f->fetcher->loop, &f->limit);
	if (f->job != NULL)
		resolve_abandon(f->job);
	if (f->is_in_multi)
		(void)curl.multi_remove_handle(f->fetcher->multi, f->easy);
	if (f->easy != NULL)
		curl.easy_cleanup(f->easy);
	if (f->url != NULL) {
		curl.slist_free_all(f->headers);
		curl.slist_free_all(f->addresses);
		curl.free(f->host);
		curl.url_cleanup(f->url);
	}
	buf_fini(&f->body);
	if (f->is_counted)
		f->fetcher->count--;
	free(f);
}

static void finish(struct fetch *f) {
	f->result.body = f->result.code == 0 ? buf_peek(&f->body) : STR_NONE;
	f->fn(f->arg, &f->result);
	release(f);
}

/* The end, in the next turn of the loop. */
static void fail(struct fetch *f, int code, const char *why) {
	bool is_six = f->host != NULL && strchr(f->host, ':') != NULL;

	f->is_over = true;
	f->result.code = code;
	if (f->host != NULL)
		(void)snprintf(f->result.text, sizeof(f->result.text),
		               "cannot fetch from %s://%s%.150s%s:%u: %.120s",
		               f->is_plain ? "http" : "https", is_six ? "[" : "", f->host,
		               is_six ? "]" : "", f->port, why);
	else
		(void)snprintf(f->result.text, sizeof(f->result.text), "cannot fetch: %s", why);
	timer_set(f->fetcher->loop, &f->limit, loop_now(f->fetcher->loop));
}

static void on_limit(struct timer *t) {
	struct fetch *f = container_of(t, struct fetch, limit);

	if (!f->is_over)
		fail(f, H_ETIMEOUT,
		     f->is_in_multi ? "no whole answer in time"
		                    : "the name did not resolve in time");
	finish(f);
}

/* --- curl's answers --- */

static int code_of(CURLcode rc) {
	/* Not a switch: curl's enum has a hundred names, and more with each release. */
	if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
		return H_ECONNECT;
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return H_ETIMEOUT;
	if (rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_SSL_CONNECT_ERROR ||
	    rc == CURLE_SSL_CACERT_BADFILE || rc == CURLE_SSL_CIPHER ||
	    rc == CURLE_SSL_CERTPROBLEM || rc == CURLE_SSL_ISSUER_ERROR)
		return H_ETLS;
	return H_EUPSTREAM;
}

/* curl's sentence without what is not printable: parts of it are the peer's. */
static void plain_text(char *z) {
	for (; *z != 0; z++) {
		if (*z < ' ' || *z > '~')
			*z = '?';
	}
}

static void on_done(struct fetch *f, CURLcode rc) {
	long status = 0;

	(void)curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	if (rc == CURLE_OK && status >= 100 && status <= 599) {
		f->result.status = (uint32_t)status;
		f->result.max_age = freshness_left(&f->fresh, (int64_t)(wall_ns() / NS_PER_S));
		f->is_over = true;
		finish(f);
		return;
	}
	plain_text(f->error);
	if (f->is_refused)
		fail(f, H_EPERM,
		     f->is_plain ? "plain http is for loopback alone"
		                 : "the name leads to a metadata service, which is refused");
	else if (f->is_too_large)
		fail(f, H_ELIMIT, "the answer is too large");
	else
		fail(f, rc == CURLE_OK ? H_EUPSTREAM : code_of(rc),
		     f->error[0] != 0 ? f->error : curl.easy_strerror(rc));
	finish(f);
}

/* Outside of every callback of curl's: whoever is told may start and cancel others. */
static void reap(struct fetcher *x) {
	struct fetch *f;
	CURLMsg *m;
	int left;

	while ((m = curl.multi_info_read(x->multi, &left)) != NULL) {
		CURLcode rc = m->data.result;

		if (m->msg == CURLMSG_DONE &&
		    curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f) == CURLE_OK)
			on_done(f, rc);
	}
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
	struct fetch *f = arg;

	if (buf_append(&f->body, str_mem(p, size * n)) == 0)
		return size * n;
	f->is_too_large = true;
	return 0;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
	struct fetch *f = arg;
	struct str line = str_mem(p, size * n);

	f->header_bytes += line.n;
	if (f->header_bytes > FETCH_HEADERS_MAX) {
		f->is_too_large = true;
		return 0;
	}
	if (str_starts(line, STR("HTTP/"))) /* after a 1xx the real one */
		f->fresh = (struct freshness){ 0 };
	else
		freshness_line(&f->fresh, str_trim(line));
	return line.n;
}

/* --- curl on our loop --- */

struct sock {
	struct watch w;
	struct fetcher *fetcher;
};

static void on_watch(struct watch *w, unsigned events) {
	struct fetcher *x = container_of(w, struct sock, w)->fetcher;
	int what = 0, running;

	if ((events & LOOP_IN) != 0)
		what |= CURL_CSELECT_IN;
	if ((events & LOOP_OUT) != 0)
		what |= CURL_CSELECT_OUT;
	if ((events & LOOP_HUP) != 0)
		what |= CURL_CSELECT_ERR;
	(void)curl.multi_socket_action(x->multi, w->fd, what, &running);
	reap(x);
}

static int on_interest(CURL *easy unused_arg, curl_socket_t fd, int what, void *arg, void *ours) {
	struct fetcher *x = arg;
	struct sock *s = ours;
	unsigned want = (what & CURL_POLL_IN ? LOOP_IN : 0) | (what & CURL_POLL_OUT ? LOOP_OUT : 0);

	if (what == CURL_POLL_REMOVE) {
		if (s != NULL)
			loop_del(x->loop, &s->w);
		free(s);
		(void)curl.multi_assign(x->multi, fd, NULL);
		return 0;
	}
	if (s != NULL) {
		loop_want(x->loop, &s->w, want);
		return 0;
	}
	s = xcalloc(1, sizeof(*s));
	s->fetcher = x;
	s->w = (struct watch){ .fd = fd, .fn = on_watch };
	(void)curl.multi_assign(x->multi, fd, s);
	/* -1 would end every transfer for good; without a watch, this one meets its limit. */
	(void)!loop_add(x->loop, &s->w, want);
	return 0;
}

static void on_timer(struct timer *t) {
	struct fetcher *x = container_of(t, struct fetcher, timer);
	int running;

	(void)curl.multi_socket_action(x->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap(x);
}

static int on_timeout(CURLM *multi unused_arg, long ms, void *arg) {
	struct fetcher *x = arg;

	if (ms < 0)
		timer_stop(x->loop, &x->timer);
	else
		timer_set(x->loop, &x->timer, loop_now(x->loop) + (uint64_t)ms * NS_PER_MS);
	return 0;
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a) {
	struct fetch *f = arg;
	struct sockaddr_storage addr = { 0 };

	memcpy(&addr, &a->addr, MIN(a->addrlen, sizeof(addr)));
	if (purpose != CURLSOCKTYPE_IPCXN ||
	    (f->is_plain ? !addr_is_loopback(&addr)
	                 : !dial_may_connect(str_of(f->host), &a->addr))) {
		f->is_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Certificates are parsed once per process, not once per connection. */
static CURLcode on_tls(CURL *easy unused_arg, void *ctx, void *arg unused_arg) {
	SSL_CTX_set1_cert_store(ctx, tls_system_roots());
	return CURLE_OK;
}

struct fetcher *fetcher_new(struct loop *l, struct resolver *r, const char **ret_missing) {
	struct fetcher *x = xcalloc(1, sizeof(*x));

	x->loop = l;
	x->resolver = r;
	x->timer.fn = on_timer;
	*ret_missing = NULL;
	if (curl_load(&curl, CURL_LIBRARY, &x->missing) < 0) {
		*ret_missing = x->missing.text;
		return x;
	}
	if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort(); /* at start, before anything is served */
	x->multi = curl.multi_init();
	if (x->multi == NULL)
		abort();
	(void)curl.multi_setopt(x->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
	(void)curl.multi_setopt(x->multi, CURLMOPT_SOCKETDATA, x);
	(void)curl.multi_setopt(x->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	(void)curl.multi_setopt(x->multi, CURLMOPT_TIMERDATA, x);
	(void)curl.multi_setopt(x->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
	(void)curl.multi_setopt(x->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return x;
}

/* --- one transfer --- */

/* Sets one option; a refusal (a curl that lacks it, no memory) is remembered, never passed over. */
#define SET(option, value) \
	do { \
		if (rc == CURLE_OK) \
			rc = curl.easy_setopt(f->easy, (option), (value)); \
	} while (0)

static CURLcode set_transport(struct fetch *f) {
	const char *scheme = f->is_plain ? "http" : "https";
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_CURLU, f->url);
	SET(CURLOPT_PROTOCOLS_STR, scheme);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
	SET(CURLOPT_OPENSOCKETDATA, f);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_TIMEOUT_MAX_MS); /* `limit` is the limit */
	return rc;
}

static CURLcode set_tls(struct fetch *f, struct str ca) {
	struct curl_blob blob = { .len = ca.n, .flags = CURL_BLOB_COPY };
	CURLcode rc = CURLE_OK;

	if (f->is_plain)
		return rc;
	/* curl takes the pointer without const, and copies. */
	memcpy(&blob.data, &ca.p, sizeof(blob.data));
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_CAINFO, NULL);
	if (ca.n != 0)
		SET(CURLOPT_CAINFO_BLOB, &blob);
	else
		SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
	return rc;
}

static CURLcode set_request(struct fetch *f, const struct fetch_ask *ask) {
	CURLcode rc = CURLE_OK;

	if (str_is(ask->method, "POST")) {
		SET(CURLOPT_POSTFIELDSIZE, (long)ask->body.n);
		SET(CURLOPT_COPYPOSTFIELDS, ask->body.n != 0 ? ask->body.p : "");
	} else {
		SET(CURLOPT_HTTPGET, 1L);
	}
	SET(CURLOPT_USERAGENT, "hansard/" HANSARD_VERSION);
	SET(CURLOPT_HTTPHEADER, f->headers);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, f);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, f);
	SET(CURLOPT_ERRORBUFFER, f->error);
	SET(CURLOPT_PRIVATE, f);
	return rc;
}

static int make_easy(struct fetch *f, const struct fetch_ask *ask) {
	CURLcode rc;

	f->easy = curl.easy_init();
	if (f->easy == NULL)
		abort(); /* out of memory, as xmalloc() */
	rc = set_transport(f);
	if (rc == CURLE_OK)
		rc = set_tls(f, ask->ca);
	if (rc == CURLE_OK)
		rc = set_request(f, ask);
	return rc == CURLE_OK ? 0 : H_EFEATURE;
}

static void transfer(struct fetch *f) {
	if (f->addresses != NULL &&
	    curl.easy_setopt(f->easy, CURLOPT_RESOLVE, f->addresses) != CURLE_OK) {
		fail(f, H_EFEATURE, "this libcurl takes no addresses");
		return;
	}
	f->is_in_multi = curl.multi_add_handle(f->fetcher->multi, f->easy) == CURLM_OK;
	if (!f->is_in_multi)
		fail(f, H_EBUG, "libcurl takes no more transfers");
}

/* --- addresses --- */

static bool add_address(struct buf *b, const struct sockaddr *a) {
	char text[INET6_ADDRSTRLEN];
	const char *z = NULL;

	if (a->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, a, sizeof(in));
		z = inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		w_fmt(b, ",%s", z);
	} else if (a->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, a, sizeof(in6));
		z = inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
		w_fmt(b, ",[%s]", z);
	}
	return z != NULL;
}

static void on_resolved(void *owner, int gai, struct addrinfo *list) {
	struct fetch *f = owner;
	size_t count = 0;
	struct buf b;

	f->job = NULL;
	if (f->is_over) {
		if (list != NULL)
			freeaddrinfo(list);
		return;
	}
	if (gai != 0) {
		fail(f, H_ECONNECT, gai_strerror(gai));
		return;
	}
	/* "+": forgotten after a minute; the list of hosts does not grow for ever. The first comma becomes
	 * the colon that curl wants after the port. */
	buf_init(&b, 4096);
	w_fmt(&b, "+%s:%u", f->host, f->port);
	size_t at = b.len;
	for (const struct addrinfo *a = list; a != NULL && count < ADDRESSES_MAX; a = a->ai_next)
		count += add_address(&b, a->ai_addr);
	freeaddrinfo(list);
	w_u8(&b, 0);
	if (count == 0 || w_done(&b) < 0) {
		fail(f, H_ECONNECT, "the name has no address");
	} else {
		b.p[b.off + at] = ':';
		f->addresses = curl.slist_append(NULL, buf_peek(&b).p);
		transfer(f);
	}
	buf_fini(&b);
}

static bool is_number(const char *host, struct sockaddr_storage *ret) {
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	*ret = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
		memcpy(ret, &in, sizeof(in));
	else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		memcpy(ret, &in6, sizeof(in6));
	return ret->ss_family != 0;
}

static void resolve(struct fetch *f) {
	struct sockaddr_storage addr;
	bool is_address = is_number(f->host, &addr);

	/* on_socket() would say so too, but after a look-up of a name that may be anybody's. */
	if (f->is_plain &&
	    (is_address ? !addr_is_loopback(&addr) : strcmp(f->host, "localhost") != 0)) {
		fail(f, H_EPERM, "plain http is for loopback alone");
	} else if (is_address) {
		transfer(f);
	} else {
		f->job = resolve_start(f->fetcher->resolver, str_of(f->host), f->port, on_resolved,
		                       f);
		if (f->job == NULL)
			fail(f, H_ELIMIT, "too many names are being resolved");
	}
}

/* --- what the keeper asks --- */

static bool is_token(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'z')
			continue;
		if (memchr("0123456789!#$%&'*+-.^_`|~", s.p[i], 25) == NULL)
			return false;
	}
	return s.n != 0;
}

static bool is_printable(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	}
	return s.n != 0;
}

/* Framing, connection and coding are curl's and ours. */
static bool is_ours(struct str name) {
	static const char *const ours[] = { "host",    "connection", "content-length",
		                            "expect",  "te",         "transfer-encoding",
		                            "upgrade", "trailer",    "accept-encoding" };

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (str_eq_nocase(name, str_of(ours[i])))
			return true;
	}
	return str_eq_nocase(str_head(name, 6), STR("proxy-"));
}

static bool take_headers(struct fetch *f, struct str lines) {
	while (lines.n != 0) {
		struct str line = str_cut(&lines, '\n'), value = line;
		struct str name = str_cut(&value, ':');

		if (!is_token(name) || is_ours(name) || !is_printable(line) ||
		    str_trim(value).n == 0)
			return false;
		auto_free char *z = str_dup(line);
		f->headers = curl.slist_append(f->headers, z);
	}
	return true;
}

/* One part of the URL: curl's memory, or NULL where there is none. */
static char *part(struct fetch *f, CURLUPart what) {
	char *z = NULL;

	return curl.url_get(f->url, what, &z, CURLU_DEFAULT_PORT) == CURLUE_OK ? z : NULL;
}

static bool lacks(struct fetch *f, CURLUPart what) {
	char *z = part(f, what);

	curl.free(z);
	return z == NULL;
}

static const char *take_url(struct fetch *f, struct str url) {
	char text[FETCH_URL_MAX + 1];
	uint64_t port = 0;

	if (!is_printable(url) || memchr(url.p, ' ', url.n) != NULL ||
	    !str_copy(text, sizeof(text), url))
		return "the URL is empty, too long or not of printable ASCII characters";
	f->url = curl.url();
	if (f->url == NULL || curl.url_set(f->url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return "that is no URL";
	char *scheme = part(f, CURLUPART_SCHEME), *number = part(f, CURLUPART_PORT);
	bool is_https = scheme != NULL && strcmp(scheme, "https") == 0;
	bool is_fine = is_https || (scheme != NULL && strcmp(scheme, "http") == 0);
	is_fine = is_fine && str_u64(str_of(number), UINT16_MAX, &port) == 0 && port != 0;
	curl.free(scheme);
	curl.free(number);
	if (!is_fine || !lacks(f, CURLUPART_USER) || !lacks(f, CURLUPART_PASSWORD) ||
	    !lacks(f, CURLUPART_FRAGMENT) || !lacks(f, CURLUPART_ZONEID))
		return "a URL is https://HOST[:PORT][/PATH][?QUERY] (http for loopback)";
	f->host = part(f, CURLUPART_HOST);
	if (f->host == NULL || f->host[0] == 0 || strlen(f->host) > HOST_TEXT_MAX)
		return "the URL has no host";
	f->port = (uint16_t)port;
	f->is_plain = !is_https;
	if (f->host[0] == '[') { /* [::1] */
		size_t n = strlen(f->host);
		memmove(f->host, f->host + 1, n - 2);
		f->host[n - 2] = 0;
	}
	return NULL;
}

static const char *take_ask(struct fetch *f, const struct fetch_ask *ask) {
	const char *why = take_url(f, ask->url);

	if (why != NULL)
		return why;
	if (!str_is(ask->method, "POST") && !(str_is(ask->method, "GET") && ask->body.n == 0))
		return "the method is GET, without a body, or POST";
	if (!take_headers(f, ask->headers))
		return "a header is not \"Name: value\", or is not the asker's to set";
	return NULL;
}

struct fetch *fetch_start(struct fetcher *x, const struct fetch_ask *ask, fetch_fn *fn, void *arg) {
	struct fetch *f = xcalloc(1, sizeof(*f));
	const char *why;

	f->fetcher = x;
	f->fn = fn;
	f->arg = arg;
	f->limit.fn = on_limit;
	buf_init(&f->body, MIN(ask->max_bytes, FETCH_BODY_MAX));
	why = x->missing.code < 0 ? NULL : take_ask(f, ask);
	if (x->missing.code < 0) {
		fail(f, H_EFEATURE, x->missing.text);
	} else if (why != NULL) {
		fail(f, H_EFORMAT, why);
	} else if (x->count >= FETCH_MAX) {
		fail(f, H_ELIMIT, "too many requests are under way");
	} else if (make_easy(f, ask) < 0) {
		fail(f, H_EFEATURE, "this libcurl lacks an option that we need");
	} else {
		x->count++;
		f->is_counted = true;
		timer_set(x->loop, &f->limit,
		          loop_now(x->loop) +
		                  MIN(MAX(ask->timeout_ms, 1u), FETCH_TIMEOUT_MAX_MS) * NS_PER_MS);
		resolve(f);
	}
	return f;
}

void fetch_cancel(struct fetch *f) {
	release(f);
}
