/*
 * addr.h: text of socket addresses, and what every accepted or received stream socket is set to.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"

/* "[" 45 characters "]:65535" and NUL. */
#define ADDR_TEXT_SIZE 56

/* "127.0.0.1:51234", "[::1]:51234" (an IPv4-mapped address reads as IPv4), "unix". */
void addr_text(char out[ADDR_TEXT_SIZE], const struct sockaddr_storage *a);
/* 127.0.0.0/8, ::1, the mapped forms of the first, and Unix sockets. */
bool addr_is_loopback(const struct sockaddr_storage *a);

/* Accepts one connection, non-blocking and close-on-exec. The descriptor, H_EBUSY when none waits
 * (or it went away again), H_ELIMIT when descriptors or memory ran out, H_EIO else. */
int net_accept(int listen_fd, struct sockaddr_storage *peer) must_use;
/* Non-blocking, TCP_NODELAY, keepalive (60 s, then every 10 s, 6 times). What a socket does not have
 * is left out: Unix sockets have no TCP options. */
void net_tune(int fd);

#endif
