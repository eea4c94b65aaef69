/* addr.c: see addr.h. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { KEEPALIVE_IDLE_S = 60, KEEPALIVE_INTERVAL_S = 10, KEEPALIVE_COUNT = 6 };

/* The IPv4 address inside, also of a mapped one (::ffff:a.b.c.d). */
static bool as_ip4(const struct sockaddr_storage *a, struct in_addr *ret, uint16_t *ret_port) {
	if (a->ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, a, sizeof(in));
		*ret = in.sin_addr;
		*ret_port = ntohs(in.sin_port);
		return true;
	}
	if (a->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, a, sizeof(in6));
		if (!IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
			return false;
		memcpy(ret, in6.sin6_addr.s6_addr + 12, sizeof(*ret));
		*ret_port = ntohs(in6.sin6_port);
		return true;
	}
	return false;
}

void addr_text(char out[ADDR_TEXT_SIZE], const struct sockaddr_storage *a) {
	char host[INET6_ADDRSTRLEN];
	struct in_addr ip4;
	uint16_t port;

	if (as_ip4(a, &ip4, &port)) {
		(void)inet_ntop(AF_INET, &ip4, host, sizeof(host));
		(void)snprintf(out, ADDR_TEXT_SIZE, "%s:%u", host, port);
		return;
	}
	if (a->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, a, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		(void)snprintf(out, ADDR_TEXT_SIZE, "[%s]:%u", host, ntohs(in6.sin6_port));
		return;
	}
	(void)snprintf(out, ADDR_TEXT_SIZE, "%s", a->ss_family == AF_UNIX ? "unix" : "unknown");
}

bool addr_is_loopback(const struct sockaddr_storage *a) {
	struct in_addr ip4;
	uint16_t port;

	if (as_ip4(a, &ip4, &port))
		return ntohl(ip4.s_addr) >> 24 == 127;
	if (a->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, a, sizeof(in6));
		return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
	}
	return a->ss_family == AF_UNIX;
}

int net_accept(int listen_fd, struct sockaddr_storage *peer) {
	socklen_t n = sizeof(*peer);

	memset(peer, 0, sizeof(*peer));
	int fd = accept4(listen_fd, (struct sockaddr *)(void *)peer, &n,
	                 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case EAGAIN:
	case EINTR:
	case ECONNABORTED: /* it went away before we came: the others are still there */
	case EPROTO:
		return H_EBUSY;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return H_ELIMIT;
	default:
		return H_EIO;
	}
}

void net_tune(int fd) {
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
	};
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && (flags & O_NONBLOCK) == 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
		                 sizeof(options[i].value));
}
