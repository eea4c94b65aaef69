/*
 * serve_channel.c: the socket pairs between children, all of which lead to the keeper.
 *
 * The supervisor holds both ends, so a child that dies leaves no EOF at its peer, which is told by SUP_PEER
 * instead. What happens to the pair depends on who died:
 *
 *   the keeper      its peers keep their ends; what it had not read is thrown away: those questions failed at
 *                   that moment, and must not be answered to someone who does not wait any more
 *   anybody else    a new pair. Whoever held the dead one's end may have been taken over, and an end that is
 *                   shut down or made blocking is so for all who hold it, for ever. The keeper's new end goes
 *                   with SUP_PEER.
 */
#include <sys/socket.h>

#include "main/serve_priv.h"

int serve_channel_open(int fds[2]) {
	const int size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return H_EIO;
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

/* The pair of a role, and which of its ends is the keeper's. */
static int *pair_of(struct serve *sv, enum role role, int *ret_keeper) {
	*ret_keeper = role == ROLE_WORKER ? 1 : 0;
	switch (role) {
	case ROLE_WORKER:
		return sv->wk;
	case ROLE_RECORDER:
		return sv->kr;
	case ROLE_EGRESS:
		return sv->ke;
	case ROLE_KEEPER:
	case ROLE_SUPERVISOR:
	case ROLE_COUNT:
		break;
	}
	return NULL;
}

int serve_channel_keeper_end(struct serve *sv, enum role role) {
	int keeper;
	const int *pair = pair_of(sv, role, &keeper);

	return pair != NULL ? pair[keeper] : -1;
}

int serve_channel_renew(struct serve *sv, enum role role) {
	int keeper, fresh[2];
	int *pair = pair_of(sv, role, &keeper);

	if (pair == NULL || serve_channel_open(fresh) < 0)
		return H_EIO;
	if (sv->old_end[role] >= 0)
		(void)close(sv->old_end[role]);
	sv->old_end[role] = pair[1 - keeper];
	(void)close(pair[keeper]);
	memcpy(pair, fresh, sizeof(fresh));
	return 0;
}

static void empty(int fd, uint8_t *buf) {
	struct ipc_msg m;
	int rc = 1;

	for (int i = 0; i < SERVE_QUEUE_MAX && (rc == 1 || rc == H_EPROTO); i++) {
		rc = ipc_recv(fd, buf, &m);
		if (rc == 1)
			ipc_msg_close(&m);
	}
}

void serve_channel_empty(struct serve *sv, enum role role) {
	static const enum role peers[] = { ROLE_WORKER, ROLE_RECORDER, ROLE_EGRESS };
	int keeper;

	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		const int *pair = pair_of(sv, peers[i], &keeper);

		if (role == ROLE_KEEPER)
			empty(pair[keeper], sv->in);
		else if (role == peers[i])
			empty(pair[1 - keeper], sv->in);
	}
}
