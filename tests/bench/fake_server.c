/*
 * A PostgreSQL server that costs nothing: fake_server PORT.
 *
 * The benches with thousands of sessions measure what a gateway costs; two thousand backends of a
 * real server would take the memory and the cores first. This one lets everybody in (trust) and
 * answers every query with one row of one column, "1", in one epoll loop; nothing is kept per
 * session but what has been read of a message. It speaks protocol 3.0 without TLS, the simple and the
 * extended messages that pgbench sends; anything else ends the connection. It listens on loopback
 * and prints "ready" when it does.
 *
 * Wire: https://www.postgresql.org/docs/15/protocol-message-formats.html
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IN_MAX = 4096,
	CODE_TLS = 80877103,
	CODE_GSS = 80877104,
	CODE_CANCEL = 80877102,
};

struct peer {
	int fd;
	bool is_started;
	size_t used;
	uint8_t in[IN_MAX];
};

struct out {
	size_t used;
	uint8_t bytes[16384];
};

static uint32_t get_u32(const uint8_t *p) {
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return ntohl(v);
}

static void put(struct out *o, char type, const void *body, size_t size) {
	uint32_t length = htonl((uint32_t)size + 4);

	if (o->used + size + 5 > sizeof o->bytes)
		abort();
	o->bytes[o->used] = (uint8_t)type;
	memcpy(o->bytes + o->used + 1, &length, 4);
	if (size > 0)
		memcpy(o->bytes + o->used + 5, body, size);
	o->used += size + 5;
}

static void put_parameter(struct out *o, const char *name, const char *value) {
	char body[128];
	size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;

	memcpy(body, name, name_size);
	memcpy(body + name_size, value, value_size);
	put(o, 'S', body, name_size + value_size);
}

static void put_welcome(struct out *o, int fd) {
	uint32_t key[2] = { htonl((uint32_t)fd), htonl(0x5eed0000u + (uint32_t)fd) };

	put(o, 'R', "\0\0\0\0", 4);
	put_parameter(o, "server_version", "15.0");
	put_parameter(o, "server_encoding", "UTF8");
	put_parameter(o, "client_encoding", "UTF8");
	put_parameter(o, "standard_conforming_strings", "on");
	put_parameter(o, "integer_datetimes", "on");
	put_parameter(o, "DateStyle", "ISO, MDY");
	put_parameter(o, "TimeZone", "UTC");
	put(o, 'K', key, sizeof key);
	put(o, 'Z', "I", 1);
}

/* The column "?column?", an int4 as text. */
static const char row_description[] = "\0\1?column?\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0";

static void put_row(struct out *o) {
	put(o, 'D',
	    "\0\1\0\0\0\1"
	    "1",
	    7);
	put(o, 'C', "SELECT 1", 9);
}

/* Answers one message; false ends the connection. */
static bool answer(struct out *o, uint8_t type) {
	switch (type) {
	case 'Q':
		put(o, 'T', row_description, sizeof row_description);
		put_row(o);
		put(o, 'Z', "I", 1);
		return true;
	case 'P':
		put(o, '1', NULL, 0);
		return true;
	case 'B':
		put(o, '2', NULL, 0);
		return true;
	case 'D':
		put(o, 'T', row_description, sizeof row_description);
		return true;
	case 'E':
		put_row(o);
		return true;
	case 'C':
		put(o, '3', NULL, 0);
		return true;
	case 'S':
		put(o, 'Z', "I", 1);
		return true;
	case 'H':
		return true;
	default:
		return false;
	}
}

/* Before the session begins there is no type byte. Returns what was taken, 0 when more is needed, -1 for the end. */
static int start(struct peer *p, const uint8_t *at, size_t have, struct out *o) {
	uint32_t length, code;

	if (have < 8)
		return 0;
	length = get_u32(at);
	code = get_u32(at + 4);
	if (length < 8 || length > IN_MAX || code == CODE_CANCEL)
		return -1;
	if (have < length)
		return 0;
	if (code == CODE_TLS || code == CODE_GSS) {
		o->bytes[o->used++] = 'N';
		return (int)length;
	}
	put_welcome(o, p->fd);
	p->is_started = true;
	return (int)length;
}

static int one(struct peer *p, const uint8_t *at, size_t have, struct out *o) {
	uint32_t length;

	if (!p->is_started)
		return start(p, at, have, o);
	if (have < 5)
		return 0;
	length = get_u32(at + 1);
	if (length < 4 || length >= IN_MAX)
		return -1;
	if (have < length + 1)
		return 0;
	return answer(o, at[0]) ? (int)length + 1 : -1;
}

static bool serve(struct peer *p) {
	static struct out o;
	ssize_t got = recv(p->fd, p->in + p->used, sizeof p->in - p->used, MSG_DONTWAIT);
	size_t at = 0;
	int took;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0)
		return false;
	p->used += (size_t)got;
	o.used = 0;
	while ((took = one(p, p->in + at, p->used - at, &o)) > 0) {
		at += (size_t)took;
		if (o.used > sizeof o.bytes / 2) {
			if (send(p->fd, o.bytes, o.used, MSG_NOSIGNAL) != (ssize_t)o.used)
				return false;
			o.used = 0;
		}
	}
	memmove(p->in, p->in + at, p->used - at);
	p->used -= at;
	if (o.used > 0 && send(p->fd, o.bytes, o.used, MSG_NOSIGNAL) != (ssize_t)o.used)
		return false;
	return took == 0 && p->used < sizeof p->in;
}

static void take(int epoll, int listener) {
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN };
	struct peer *p;
	int on = 1;

	if (fd < 0)
		return;
	p = calloc(1, sizeof *p);
	if (p == NULL)
		abort();
	p->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	event.data.ptr = p;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		abort();
}

static int listen_on(uint16_t port) {
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons(port),
		                       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void loop(int epoll, int listener) {
	struct epoll_event events[256];

	for (;;) {
		int count = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < count; i++) {
			struct peer *p = events[i].data.ptr;

			if (p == NULL) {
				take(epoll, listener);
			} else if (!serve(p)) {
				close(p->fd);
				free(p);
			}
		}
	}
}

int main(int argc, char **argv) {
	struct epoll_event event = { .events = EPOLLIN };
	struct rlimit files;
	long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
	int listener, epoll = epoll_create1(EPOLL_CLOEXEC);

	if (port < 1 || port > 65535) {
		(void)fprintf(stderr, "usage: fake_server PORT\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	listener = listen_on((uint16_t)port);
	if (listener < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
		perror("fake_server");
		return 1;
	}
	puts("ready");
	(void)fflush(stdout);
	loop(epoll, listener);
	return 0;
}
