/*
 * ipc_fuzz.c: one packet from a peer process that was taken over, through ipc_recv and start_get.
 */
#include "ipc/ipc.h"

#include <sys/socket.h>

#include "ipc/start.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static int fds[2] = { -1, -1 };
	static uint8_t in[IPC_MAX + 16];
	struct ipc_msg m;
	struct start s;

	if (size == 0)
		return 0; /* the kernel's EOF */
	if (fds[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	if (send(fds[0], data, size, 0) != (ssize_t)size)
		return 0;
	if (ipc_recv(fds[1], in, &m) != 1)
		return 0;
	assert(ipc_type_name(m.type) != NULL && m.fd_count == 0);
	assert(m.body.n == 0 || (const uint8_t *)m.body.p + m.body.n <= in + sizeof(in));
	if (start_get(&s, &m) == 0)
		assert(s.role < ROLE_COUNT && s.thread_count == 0);
	for (int from = 0; from < ROLE_COUNT; from++)
		(void)ipc_fits(&m, (enum role)from, ROLE_KEEPER);
	return 0;
}
