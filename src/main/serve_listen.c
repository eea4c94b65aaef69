/*
 * serve_listen.c: listening sockets, bound by the supervisor and given to workers.
 *
 * The supervisor keeps them over restarts and reloads, so a client that comes in between waits in
 * the backlog. Host names are resolved once, here; the first address that can be bound is taken, so
 * "localhost" means one of its families.
 */
#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "config/config.h"
#include "main/serve_priv.h"

static int listen_on(const struct sockaddr *addr, socklen_t n, int family) {
	auto_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return -1;
	if (family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, addr, n) != 0 || listen(fd, SOMAXCONN) != 0)
		return -1;
	return take_fd(&fd);
}

static int listen_tcp(const struct config_address *a, struct str shown, struct err *e) {
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
	auto_free char *host = str_dup(a->host);
	char port[8];
	int fd = -1, rc;

	(void)snprintf(port, sizeof(port), "%u", a->port);
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc != 0)
		return err_set(e, H_ECONFIG, "cannot listen on %.*s: %s", STR_ARG(shown),
		               gai_strerror(rc));
	for (struct addrinfo *i = list; i != NULL && fd < 0; i = i->ai_next)
		fd = listen_on(i->ai_addr, i->ai_addrlen, i->ai_family);
	freeaddrinfo(list);
	return fd >= 0 ? fd
	               : err_set(e, H_EIO, "cannot listen on %.*s: %s", STR_ARG(shown),
	                         strerror(errno));
}

/* A socket file that nobody listens on any more is replaced. */
static bool is_stale(const struct sockaddr_un *un) {
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 &&
	       errno == ECONNREFUSED;
}

static int listen_unix(struct str path, struct err *e) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;

	if (!str_copy(un.sun_path, sizeof(un.sun_path), path))
		return err_set(e, H_ECONFIG, "socket path is too long: %.*s", STR_ARG(path));
	if (is_stale(&un))
		(void)unlink(un.sun_path);
	fd = listen_on((const struct sockaddr *)&un, sizeof(un), AF_UNIX);
	/* Admission is by token: the file's mode keeps nobody out. */
	if (fd < 0 || chmod(un.sun_path, 0666) != 0)
		return err_set(e, H_EIO, "cannot listen on unix:%s: %s", un.sun_path,
		               strerror(errno));
	return fd;
}

int serve_listen(struct str address, struct err *e) {
	struct config_address a;
	const char *why = NULL;

	if (config_address_parse(&a, address, &why) < 0)
		return err_set(e, H_ECONFIG, "listen address %.*s %s", STR_ARG(address), why);
	return a.kind == ADDRESS_UNIX ? listen_unix(a.path, e) : listen_tcp(&a, address, e);
}

static int find(const struct serve_listeners *l, const struct serve_listener *like) {
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->v[i].protocol, like->protocol) == 0 &&
		    strcmp(l->v[i].address, like->address) == 0)
			return l->v[i].fd;
	}
	return -1;
}

static bool holds(const struct serve_listeners *l, int fd) {
	for (size_t i = 0; i < l->count; i++) {
		if (l->v[i].fd == fd)
			return true;
	}
	return false;
}

void serve_listeners_close(const struct serve_listeners *old, const struct serve_listeners *next) {
	for (size_t i = 0; i < old->count; i++) {
		if (old->v[i].fd >= 0 && !holds(next, old->v[i].fd))
			(void)close(old->v[i].fd);
	}
}

int serve_listeners_bind(struct serve_listeners *next, const struct serve_listeners *now,
                         struct err *e) {
	for (size_t i = 0; i < next->count; i++)
		next->v[i].fd = -1;
	for (size_t i = 0; i < next->count; i++) {
		struct serve_listener *l = &next->v[i];
		l->fd = find(now, l);
		if (l->fd < 0)
			l->fd = serve_listen(str_of(l->address), e);
		if (l->fd < 0) {
			int rc = l->fd;
			l->fd = -1;
			serve_listeners_close(next, now);
			return rc;
		}
	}
	return 0;
}
