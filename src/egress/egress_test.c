/*
 * egress_test.c: the whole process behind its channels, confined. A program of its own: it forks,
 * and must have no threads before.
 */
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/test.h"
#include "egress/fetch_server.h"
#include "ipc/start.h"

static int listen_local(char *ret_text, size_t cap) {
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, n) != 0 || listen(fd, 5) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &n) != 0)
		return -1;
	(void)snprintf(ret_text, cap, "127.0.0.1:%u", ntohs(in.sin_port));
	return fd;
}

static uint8_t in[IPC_MAX + 16];

static int next(int fd, struct ipc_msg *m) {
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 10000) == 1 ? ipc_recv(fd, in, m) : 0;
}

static int ask(int fd, uint64_t id, const char *address, struct ipc_msg *m) {
	struct buf b;
	int rc;

	buf_init(&b, 1024);
	w_vstr(&b, str_of(address));
	w_u32(&b, 3000);
	rc = ipc_send(fd, IPC_CONNECT, id, buf_peek(&b), NULL, 0);
	buf_fini(&b);
	return rc < 0 ? rc : next(fd, m);
}

/* A process that is confined has the roots, the resolver and TLS all the same. */
static void check_fetch(int fd) {
	struct testcert cert;
	struct ipc_msg m = { 0 };
	char url[64];
	struct buf b;

	testcert_make(&cert, "DNS:localhost");
	(void)snprintf(url, sizeof(url), "https://localhost:%u/keys",
	               fetch_server_new(fetch_server_ctx(&cert))->port);
	for (int with_ca = 1; with_ca >= 0; with_ca--) {
		buf_init(&b, 8192);
		w_vstr(&b, STR("GET"));
		w_vstr(&b, str_of(url));
		w_vstr(&b, str_of(with_ca ? cert.cert : ""));
		w_vstr(&b, STR("Accept: application/json\n"));
		w_vstr(&b, STR_NONE);
		w_u32(&b, 5000);
		w_u32(&b, 1000);
		CHECK_EQ_I(ipc_send(fd, IPC_FETCH, 20, buf_peek(&b), NULL, 0), 0);
		buf_fini(&b);
		REQUIRE(next(fd, &m) == 1 && m.type == IPC_FETCHED && m.id == 20);
		struct rd r = rd_of(m.body);
		CHECK_EQ_I((int)rd_u32(&r), with_ca ? 0 : H_ETLS);
		CHECK_EQ_U(rd_u32(&r), with_ca ? 200 : 0);
		CHECK_EQ_U(rd_u32(&r), with_ca ? 300 : 0);
		CHECK_EQ_STR(rd_vstr(&r), with_ca ? STR("{}") : STR_NONE);
		struct str text = rd_vstr(&r);
		CHECK((text.n == 0) == with_ca && rd_done(&r) == 0);
		test_note("%.*s", STR_ARG(text));
	}
}

TEST(egress_process) {
	struct start s;
	struct ipc_msg m = { 0 };
	int sup[2] = { -1, -1 }, keeper[2] = { -1, -1 }, status = -1;
	char text[64];
	int listener = listen_local(text, sizeof(text));

	start_init(&s, ROLE_EGRESS);
	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sup) == 0 &&
	        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, keeper) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)close(sup[0]);
		(void)close(listener);
		(void)close(keeper[0]);
		s.supervisor = sup[1];
		s.peer[ROLE_KEEPER] = keeper[1];
		_exit(egress_main(&s));
	}
	(void)close(sup[1]);
	(void)close(keeper[1]);
	CHECK(next(sup[0], &m) == 1 && m.type == IPC_SUP_READY);

	CHECK(ask(keeper[0], 5, text, &m) == 1 && m.type == IPC_CONNECTED && m.id == 5);
	CHECK_EQ_U(m.fd_count, 1);
	struct rd r = rd_of(m.body);
	CHECK_EQ_U(rd_u32(&r), 0);
	CHECK(rd_vstr(&r).n == 0 && str_is(rd_vstr(&r), text) && rd_done(&r) == 0);
	ipc_msg_close(&m);

	/* Confined: names resolve all the same. */
	char name[64];
	(void)snprintf(name, sizeof(name), "localhost%s", strchr(text, ':'));
	CHECK(ask(keeper[0], 6, name, &m) == 1 && m.id == 6 && m.fd_count == 1);
	ipc_msg_close(&m);
	check_fetch(keeper[0]);
	(void)close(listener);
	CHECK(ask(keeper[0], 7, text, &m) == 1 && m.id == 7 && m.fd_count == 0);
	r = rd_of(m.body);
	CHECK_EQ_I((int)rd_u32(&r), H_ECONNECT);

	CHECK_EQ_I(ipc_send(keeper[0], IPC_CONNECT, 8, STR("\xff"), NULL, 0), 0); /* nonsense */
	CHECK_EQ_I(ipc_send(keeper[0], IPC_FETCH, 9, STR("\x03GET"), NULL, 0), 0);
	CHECK_EQ_I(ipc_send(keeper[0], IPC_GRANT, 8, STR_NONE, NULL, 0), 0);
	CHECK_EQ_I(ipc_send(sup[0], IPC_SUP_DRAIN, 0, STR("12345678"), NULL, 0), 0);
	CHECK(next(sup[0], &m) == 1 && m.type == IPC_SUP_DRAINED);
	(void)close(sup[0]);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	(void)close(keeper[0]);
}

TEST_MAIN
