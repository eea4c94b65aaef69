/*
 * ipc.c: one packet, one message (ipc.h).
 *
 * SOCK_SEQPACKET keeps message borders and order, tells EOF, and a packet is whole or not there, so
 * there is no partial read to resume and no stream to lose step in. Rejected: a stream with length
 * prefixes (descriptors then hang on an arbitrary byte), datagrams (no EOF).
 *
 * What the receiver relies on:
 * 1. A packet that is not a message leaves nothing behind: its descriptors are closed, the next
 *    packet is looked at afresh.
 * 2. Every descriptor arrives close-on-exec. The kernel may have truncated the list
 *    (MSG_CTRUNC: our own limit of open files); such a packet is no message.
 * 3. The rows below say who may say what; the switch has no default, so a new message without a
 *    row does not compile.
 */
#include "ipc/ipc.h"

#include <errno.h>
#include <sys/socket.h>

enum { HEAD_SIZE = 16 };

static const char *const role_names[ROLE_COUNT] = {
	[ROLE_SUPERVISOR] = "supervisor", [ROLE_KEEPER] = "keeper",     [ROLE_EGRESS] = "egress",
	[ROLE_WORKER] = "worker",         [ROLE_RECORDER] = "recorder",
};

const char *role_name(enum role role) {
	return role_names[role];
}

int role_of(struct str name, enum role *ret) {
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (str_is(name, role_names[i])) {
			*ret = (enum role)i;
			return 0;
		}
	}
	return H_ENOTFOUND;
}

const char *ipc_type_name(unsigned type) {
	switch (type) {
#define X(code, name, help) \
	case (code): \
		return #name;
		IPC_MESSAGES(X)
#undef X
	}
	return NULL;
}

/* From, to (sets of roles), and the most descriptors. */
struct route {
	uint8_t from, to, fds_max;
};

enum {
	SUP = 1 << ROLE_SUPERVISOR,
	KEEPER = 1 << ROLE_KEEPER,
	EGRESS = 1 << ROLE_EGRESS,
	WORKER = 1 << ROLE_WORKER,
	RECORDER = 1 << ROLE_RECORDER,
	CHILD = KEEPER | EGRESS | WORKER | RECORDER,
	/* The client of control.sock is nobody's child: no role of ours. */
	CLIENT = 0,
};

static struct route route_supervisor(enum ipc_type type) {
	if (type == IPC_SUP_START)
		return (struct route){ SUP, CHILD, IPC_FDS_MAX };
	if (type == IPC_SUP_LISTENERS)
		return (struct route){ SUP, WORKER, IPC_FDS_MAX };
	if (type == IPC_SUP_RING)
		return (struct route){ SUP, RECORDER, 3 };
	if (type == IPC_SUP_STORE)
		return (struct route){ SUP, KEEPER, 1 };
	if (type == IPC_SUP_PEER)
		return (struct route){ SUP, CHILD, 1 };
	if (type == IPC_SUP_CONFIG || type == IPC_SUP_RELOADED)
		return (struct route){ KEEPER, SUP, 0 };
	if (type == IPC_SUP_RELOAD)
		return (struct route){ SUP, KEEPER, 0 };
	if (type == IPC_SUP_RING_DRAINED)
		return (struct route){ RECORDER, SUP, 0 };
	if (type == IPC_SUP_DRAIN)
		return (struct route){ SUP, CHILD, 0 };
	return (struct route){ CHILD, SUP, 0 };
}

static struct route route_of(enum ipc_type type) {
	switch (type) {
	case IPC_SUP_START:
	case IPC_SUP_READY:
	case IPC_SUP_CONFIG:
	case IPC_SUP_LISTENERS:
	case IPC_SUP_RELOAD:
	case IPC_SUP_DRAIN:
	case IPC_SUP_DRAINED:
	case IPC_SUP_PEER:
	case IPC_SUP_RING:
	case IPC_SUP_RING_DRAINED:
	case IPC_SUP_STALLED:
	case IPC_SUP_STORE:
	case IPC_SUP_RELOADED:
		return route_supervisor(type);
	case IPC_ADMIT:
	case IPC_LOGIN_STEP:
	case IPC_SESSION_GONE:
	case IPC_DIAL:
	case IPC_CANCEL:
	case IPC_CANCEL_TAKEN:
	case IPC_GRANTS:
	case IPC_PROVE:
	case IPC_PROOF_GONE:
		return (struct route){ WORKER, KEEPER, 0 };
	case IPC_GRANT:
	case IPC_DIALED:
	case IPC_SNAPSHOT:
		return (struct route){ KEEPER, WORKER, 1 };
	case IPC_REFUSE:
	case IPC_LOGIN_REPLY:
	case IPC_CANCEL_DO:
	case IPC_CANCELLED:
	case IPC_KILL:
	case IPC_PROVED:
		return (struct route){ KEEPER, WORKER, 0 };
	case IPC_OPEN:
	case IPC_ACT:
	case IPC_SIGNED:
	case IPC_LAST_SIGNED_IS:
	case IPC_ABANDON:
		return (struct route){ KEEPER, RECORDER, 0 };
	case IPC_TAP:
		return (struct route){ KEEPER, RECORDER, 1 };
	case IPC_OPENED:
	case IPC_ACT_DONE:
	case IPC_SIGN:
	case IPC_LAST_SIGNED:
	case IPC_BINDINGS:
	case IPC_STORE_STATE:
		return (struct route){ RECORDER, KEEPER, 0 };
	case IPC_CONNECT:
	case IPC_FETCH:
		return (struct route){ KEEPER, EGRESS, 0 };
	case IPC_FETCHED:
		return (struct route){ EGRESS, KEEPER, 0 };
	case IPC_CONNECTED:
		return (struct route){ EGRESS, KEEPER, 1 };
	case IPC_CTL_ASK:
		return (struct route){ CLIENT, CLIENT, 1 };
	case IPC_CTL_ANSWER:
		return (struct route){ CLIENT, CLIENT, 0 };
	}
	return (struct route){ 0 };
}

bool ipc_fits(const struct ipc_msg *m, enum role from, enum role to) {
	struct route r = route_of((enum ipc_type)m->type);

	return (r.from & (1 << from)) != 0 && (r.to & (1 << to)) != 0 && m->fd_count <= r.fds_max;
}

/* --- sending --- */

static void put_head(uint8_t head[HEAD_SIZE], uint16_t type, size_t len, uint64_t id) {
	uint16_t zero = 0;
	uint32_t len32 = (uint32_t)len;

	static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "heads are little-endian");
	memcpy(head, &type, 2);
	memcpy(head + 2, &zero, 2);
	memcpy(head + 4, &len32, 4);
	memcpy(head + 8, &id, 8);
}

static int send_error(void) {
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ETOOMANYREFS: /* descriptors under way: our limit of open files */
		return H_EBUSY;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
	case ECONNREFUSED:
		return H_ECLOSED;
	case EMSGSIZE:
		return H_ELIMIT;
	default:
		return H_EIO;
	}
}

union cmsg_space {
	char p[CMSG_SPACE(IPC_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int ipc_send(int fd, uint16_t type, uint64_t id, struct str body, const int *fds, size_t fd_count) {
	uint8_t head[HEAD_SIZE];
	struct iovec iov[2] = { { .iov_base = head, .iov_len = HEAD_SIZE } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	union cmsg_space control = { 0 };
	ssize_t n;

	assert(fd_count <= IPC_FDS_MAX && ipc_type_name(type) != NULL);
	if (body.n > IPC_MAX)
		return H_ELIMIT;
	put_head(head, type, body.n, id);
	/* sendmsg only reads, but its struct does not say so. */
	iov[1].iov_base = (void *)(uintptr_t)body.p;
	iov[1].iov_len = body.n;
	if (fd_count > 0) {
		msg.msg_control = control.p;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *c = &control.align;
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? send_error() : 0;
}

/* --- receiving --- */

static void collect_fds(struct msghdr *msg, struct ipc_msg *m) {
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(m->fd_count + count <= IPC_FDS_MAX); /* the buffer holds no more */
		memcpy(m->fds + m->fd_count, CMSG_DATA(c), count * sizeof(int));
		m->fd_count += count;
	}
}

static int read_head(struct ipc_msg *m, const uint8_t *buf, size_t n) {
	struct rd r = rd_of(str_mem(buf, n));
	uint16_t zero;
	uint32_t len;

	m->type = rd_u16(&r);
	zero = rd_u16(&r);
	len = rd_u32(&r);
	m->id = rd_u64(&r);
	m->body = rd_bytes(&r, len);
	if (rd_done(&r) < 0 || zero != 0 || ipc_type_name(m->type) == NULL)
		return H_EPROTO;
	return m->fd_count <= route_of((enum ipc_type)m->type).fds_max ? 1 : H_EPROTO;
}

int ipc_recv(int fd, uint8_t *buf, struct ipc_msg *out) {
	struct iovec iov = { .iov_base = buf, .iov_len = IPC_MAX + HEAD_SIZE };
	union cmsg_space control;
	struct msghdr msg = { .msg_iov = &iov,
		              .msg_iovlen = 1,
		              .msg_control = control.p,
		              .msg_controllen = sizeof(control.p) };
	struct ipc_msg m = { 0 };
	ssize_t n;
	int rc;

	do
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return errno == ECONNRESET ? H_ECLOSED : H_EIO;
	collect_fds(&msg, &m);
	if (n == 0 && m.fd_count == 0)
		return H_ECLOSED;
	rc = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ? H_EPROTO
	                                                     : read_head(&m, buf, (size_t)n);
	if (rc < 0) {
		ipc_msg_close(&m);
		return rc;
	}
	*out = m;
	return 1;
}

void ipc_msg_close(struct ipc_msg *m) {
	for (size_t i = 0; i < m->fd_count; i++) {
		if (m->fds[i] >= 0)
			(void)close(m->fds[i]);
		m->fds[i] = -1;
	}
	m->fd_count = 0;
}

int ipc_take_fd(struct ipc_msg *m, size_t i) {
	return i < m->fd_count ? take_fd(&m->fds[i]) : -1;
}
