/*
 * serve_notify.c: the service manager's socket (sd_notify(3)): one datagram per change of state.
 */
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "main/serve_priv.h"

void serve_notify_open(struct serve_notify *n) {
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len;
	uint64_t us = 0;

	*n = (struct serve_notify){ .fd = -1 };
	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
	    !str_copy(un.sun_path, sizeof(un.sun_path), str_of(path)))
		return;
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&un, len) != 0)
		return;
	n->fd = take_fd(&fd);
	if (usec != NULL && str_u64(str_of(usec), UINT32_MAX, &us) == 0)
		n->watchdog_ns = us * NS_PER_US / 2;
}

void serve_notify_say(struct serve_notify *n, const char *state) {
	if (n->fd >= 0)
		(void)!send(n->fd, state, strlen(state), MSG_NOSIGNAL);
}

void serve_notify_reloading(struct serve_notify *n) {
	char text[64];

	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
	               mono_ns() / NS_PER_US);
	serve_notify_say(n, text);
}
