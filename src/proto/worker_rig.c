/*
 * worker_rig.c: a worker between a client and a real target, with everything else faked in the same
 * process: for benchmarks of the worker alone, and to try it without a store.
 *
 *   worker_rig LISTEN-PORT TARGET-PORT [key=value…]
 *
 *   threads=N   loop threads (1)            delay=US  commit delay of the fake recorder (0)
 *   max=S       session_max in seconds (0)  user=U db=D  at the target (postgres)
 *   cert=F key=F  TLS for clients           ca=F      verify-full TLS to the target, named "localhost"
 *   durable=async|before-forward|both-ways
 *
 * The keeper admits everybody, connects by itself and answers `trust`. The recorder drains the rings,
 * counts, and makes durable what it took. On SIGINT it prints CPU time per thread and what it saw.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "session/admit.h"
#include "session/shell.h"

enum { RING_SIZE = 16 << 20, SLOTS = 4096, GRANTS_MAX = 4096 };

struct rig {
	struct start start;
	struct worker worker;
	struct ring rings[START_THREADS_MAX];
	pthread_mutex_t ring_lock;
	int keeper, target_port;
	const char *user, *db;
	enum durable durable;
	unsigned delay_us;
	uint64_t session_max_ns;
	bool has_target_tls;
	uint64_t grants;
	struct {
		uint32_t slot, generation, pid;
		uint8_t key[4];
	} granted[GRANTS_MAX];
	uint64_t events, bytes, commits;
	_Atomic bool is_stopping;
};

/* ---- recorder ---- */

struct moved {
	uint32_t generation;
	uint64_t seq;
};

static bool drain_ring(struct rig *g, struct ring *r, struct moved *moved, uint8_t *payload) {
	struct ring_event e;
	bool any = false;
	int rc;

	while ((rc = ring_take(r, &e, payload)) == 1) {
		moved[e.slot] = (struct moved){ e.generation, e.seq };
		g->events++;
		g->bytes += e.len;
		any = true;
	}
	if (rc < 0) {
		(void)fprintf(stderr, "ring: %s\n", h_err_name(rc));
		exit(1);
	}
	ring_release(r);
	return any;
}

/* There are no frames here: each event counts as one. */
static void publish_seq(struct ring *r, uint32_t slot, const struct moved *m) {
	struct ring_frame f = { .number = m->seq };

	ring_set_frame(r, slot, &f);
	ring_set_durable(r, slot, m->generation, m->seq);
}

static void commit(struct rig *g, unsigned i, struct moved *moved) {
	struct ring *r = &g->rings[i];

	if (g->delay_us != 0)
		(void)usleep(g->delay_us);
	g->commits++;
	for (uint32_t s = 0; s < SLOTS; s++) {
		if (moved[s].seq != 0)
			publish_seq(r, s, &moved[s]);
		moved[s].seq = 0;
	}
}

static void *recorder(void *arg) {
	struct rig *g = arg;
	struct moved *moved = xcalloc(SLOTS, sizeof(*moved));
	uint8_t *payload = xmalloc(RING_PAYLOAD_MAX);
	uint64_t one = 1, junk;

	while (!g->is_stopping) {
		bool any = false, may_sleep = true;

		(void)pthread_mutex_lock(&g->ring_lock);
		for (unsigned i = 0; i < g->start.thread_count; i++) {
			bool got = drain_ring(g, &g->rings[i], moved, payload);

			if (got)
				commit(g, i, moved);
			any |= got;
			if (ring_commit_done(&g->rings[i]))
				(void)!write(g->start.threads[i].worker_event, &one, sizeof(one));
		}
		for (unsigned i = 0; i < g->start.thread_count && !any; i++)
			may_sleep &= ring_recorder_may_sleep(&g->rings[i]);
		(void)pthread_mutex_unlock(&g->ring_lock);
		if (any || !may_sleep)
			continue;
		(void)!read(g->start.recorder_event, &junk, sizeof(junk));
		(void)pthread_mutex_lock(&g->ring_lock);
		for (unsigned i = 0; i < g->start.thread_count; i++)
			ring_recorder_awake(&g->rings[i]);
		(void)pthread_mutex_unlock(&g->ring_lock);
	}
	free(moved);
	free(payload);
	return NULL;
}

/* ---- keeper ---- */

static int dial(int port) {
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons((uint16_t)port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)(void *)&a, sizeof(a)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void say(struct rig *g, uint16_t type, uint64_t id, struct buf *b, int fd) {
	if (ipc_send(g->keeper, type, id, buf_peek(b), &fd, fd >= 0 ? 1 : 0) < 0)
		(void)fprintf(stderr, "keeper: cannot send\n");
	if (fd >= 0)
		(void)close(fd);
	buf_fini(b);
}

static void on_admit(struct rig *g, struct ipc_msg *m) {
	struct admit_msg a;
	struct grant_msg grant = { 0 };
	struct buf b;
	int fd = dial(g->target_port);

	buf_init(&b, IPC_MAX);
	if (admit_get(&a, m->body) < 0 || fd < 0) {
		w_u32(&b, (uint32_t)H_ECONNECT);
		w_vstr(&b, STR("target cannot be reached"));
		w_vstr(&b, STR_NONE);
		say(g, IPC_REFUSE, m->id, &b, -1);
		return;
	}
	(void)pthread_mutex_lock(&g->ring_lock);
	ring_bind(&g->rings[a.ring], a.slot, a.generation);
	(void)pthread_mutex_unlock(&g->ring_lock);
	uint64_t n = ++g->grants;

	grant.grant = n;
	uuid7(grant.g.sid, wall_ns());
	short_id(grant.g.short_id, grant.g.sid);
	grant.g.upstream_user = str_of(g->user);
	grant.g.database = str_of(g->db);
	grant.g.server_name = STR("localhost");
	grant.g.tls = g->has_target_tls ? TLS_VERIFY_FULL : TLS_DISABLE;
	grant.g.hygiene = HYGIENE_OPEN;
	grant.g.durable = g->durable;
	grant.g.session_max_ns = g->session_max_ns;
	grant.g.session_grace_ns = 60 * NS_PER_S;
	grant.g.cancel_key_size = CANCEL_KEY_SHORT;
	random_bytes(grant.g.cancel_key, 4);
	grant.connection = STR("shop");
	grant.role = STR("default");
	g->granted[n % GRANTS_MAX].slot = a.slot;
	g->granted[n % GRANTS_MAX].generation = a.generation;
	memcpy(g->granted[n % GRANTS_MAX].key, grant.g.cancel_key, 4);
	grant_put(&b, &grant);
	say(g, IPC_GRANT, m->id, &b, fd);
}

static void on_login(struct rig *g, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint64_t grant = rd_u64(&r);
	struct str bytes = rd_vstr(&r);
	bool is_ok = bytes.n >= 4 && memcmp(bytes.p, "\0\0\0\0", 4) == 0;
	struct buf b;

	buf_init(&b, IPC_MAX);
	w_u64(&b, grant);
	w_u32(&b, is_ok ? 0 : (uint32_t)H_EAUTH);
	w_u8(&b, is_ok);
	w_vstr(&b, STR_NONE);
	w_vstr(&b, is_ok ? STR_NONE : STR("only trust here"));
	say(g, IPC_LOGIN_REPLY, m->id, &b, -1);
}

static void on_cancel_taken(struct rig *g, const struct ipc_msg *m) {
	struct buf b;

	buf_init(&b, 8);
	say(g, IPC_CANCELLED, m->id, &b, -1);
}

static void on_cancel(struct rig *g, struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint32_t pid = rd_u32(&r);
	struct str key = rd_vstr(&r);
	struct buf b;

	for (size_t i = 0; i < GRANTS_MAX && key.n == 4; i++) {
		if (g->granted[i].generation == 0 || memcmp(g->granted[i].key, key.p, 4) != 0)
			continue;
		buf_init(&b, 64);
		w_u32(&b, g->granted[i].slot);
		w_u32(&b, g->granted[i].generation);
		w_u32(&b, pid);
		say(g, IPC_CANCEL_DO, m->id, &b, -1);
		return;
	}
	on_cancel_taken(g, m);
}

static void on_dial(struct rig *g, struct ipc_msg *m) {
	struct buf b;
	int fd = dial(g->target_port);

	buf_init(&b, 64);
	w_u32(&b, fd < 0 ? (uint32_t)H_ECONNECT : 0);
	say(g, IPC_DIALED, m->id, &b, fd);
}

static void *keeper(void *arg) {
	struct rig *g = arg;
	uint8_t *buf = xmalloc(IPC_MAX + 16);

	for (;;) {
		struct ipc_msg m = { 0 };
		struct pollfd p = { .fd = g->keeper, .events = POLLIN };

		if (poll(&p, 1, 200) < 0 && errno != EINTR)
			break;
		if (g->is_stopping)
			break;
		if (ipc_recv(g->keeper, buf, &m) <= 0)
			continue;
		if (m.type == IPC_ADMIT)
			on_admit(g, &m);
		if (m.type == IPC_LOGIN_STEP)
			on_login(g, &m);
		if (m.type == IPC_CANCEL)
			on_cancel(g, &m);
		if (m.type == IPC_CANCEL_TAKEN)
			on_cancel_taken(g, &m);
		if (m.type == IPC_DIAL)
			on_dial(g, &m);
		ipc_msg_close(&m);
	}
	free(buf);
	return NULL;
}

/* ---- set-up ---- */

static char *slurp(const char *path) {
	char *text = xcalloc(1, 256 * KIB);
	auto_file FILE *f = path[0] != '\0' ? fopen(path, "r") : NULL;

	if (f != NULL)
		(void)!fread(text, 1, 256 * KIB - 1, f);
	return text;
}

static void give_snapshot(struct rig *g, const char *cert, const char *key, const char *ca) {
	struct snapshot_listener l = { .protocol = STR("postgres"), .address = STR("127.0.0.1:0") };
	struct snapshot_target t = { .connection = STR("shop"),
		                     .protocol = STR("postgres"),
		                     .server_name = STR("localhost") };
	struct snapshot s = { .sessions_max = SLOTS,
		              .preadmission_max = 256,
		              .admission_ns = 10 * NS_PER_S,
		              .listeners = &l,
		              .listener_count = 1,
		              .targets = &t,
		              .target_count = 1 };
	auto_free char *c = slurp(cert), *k = slurp(key), *a = slurp(ca);
	struct buf b;

	l.cert_pem = str_of(c);
	l.key_pem = str_of(k);
	l.has_tls = l.cert_pem.n != 0;
	t.ca_pem = str_of(a);
	t.tls = g->has_target_tls ? TLS_VERIFY_FULL : TLS_DISABLE;
	buf_init(&b, MIB);
	if (snapshot_encode(&b, &s) < 0)
		exit(1);
	auto_fd int fd = snapshot_seal(buf_peek(&b));

	worker_snapshot(&g->worker, fd);
	buf_fini(&b);
}

static int listen_on(int port) {
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons((uint16_t)port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)(void *)&a, sizeof(a)) != 0 || listen(fd, 512) != 0) {
		perror("listen");
		exit(1);
	}
	return fd;
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
	size_t n = strlen(name);

	for (int i = 3; i < argc; i++) {
		if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
			return argv[i] + n + 1;
	}
	return otherwise;
}

static void make_rings(struct rig *g) {
	for (unsigned i = 0; i < g->start.thread_count; i++) {
		struct start_thread *t = &g->start.threads[i];
		int commit_rw = -1;

		if (ring_create(RING_SIZE, SLOTS, &t->ring_fd, &commit_rw, &t->commit_fd) < 0 ||
		    ring_map_recorder(&g->rings[i], t->ring_fd, commit_rw) < 0)
			exit(1);
		t->ring = (uint16_t)i;
		t->worker_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	g->start.recorder_event = eventfd(0, EFD_CLOEXEC);
}

static struct rig rig;

static double cpu_of(clockid_t id) {
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void report(struct rig *g, pthread_t worker_id, pthread_t recorder_id) {
	for (unsigned i = 0; i < g->start.thread_count; i++) {
		clockid_t id;

		(void)pthread_getcpuclockid(i == 0 ? worker_id : g->worker.threads[i].id, &id);
		(void)printf("worker%u_cpu=%.3f ", i, cpu_of(id));
	}
	clockid_t id;

	(void)pthread_mutex_lock(&g->ring_lock);
	(void)pthread_getcpuclockid(recorder_id, &id);
	(void)printf("recorder_cpu=%.3f events=%llu bytes=%llu commits=%llu\n", cpu_of(id),
	             (unsigned long long)g->events, (unsigned long long)g->bytes,
	             (unsigned long long)g->commits);
	(void)fflush(stdout);
}

static void *run(void *arg) {
	struct rig *g = arg;

	if (worker_run(&g->worker) < 0)
		exit(1);
	return NULL;
}

static void options(struct rig *g, int argc, char **argv) {
	struct str durable = str_of(option(argc, argv, "durable", "before-forward"));

	g->target_port = (int)strtol(argv[2], NULL, 10);
	g->user = option(argc, argv, "user", "postgres");
	g->db = option(argc, argv, "db", "postgres");
	g->delay_us = (unsigned)strtoul(option(argc, argv, "delay", "0"), NULL, 10);
	g->session_max_ns = strtoull(option(argc, argv, "max", "0"), NULL, 10) * NS_PER_S;
	g->has_target_tls = option(argc, argv, "ca", "")[0] != '\0';
	g->durable = str_is(durable, "async")       ? DURABLE_ASYNC
	             : str_is(durable, "both-ways") ? DURABLE_BOTH_WAYS
	                                            : DURABLE_BEFORE_FORWARD;
	start_init(&g->start, ROLE_WORKER);
	g->start.thread_count = (uint32_t)strtoul(option(argc, argv, "threads", "1"), NULL, 10);
}

int main(int argc, char **argv) {
	struct rig *g = &rig;
	pthread_t keeper_id, recorder_id, worker_id;
	int pair[2], sig;
	sigset_t stop;

	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGINT);
	(void)sigaddset(&stop, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &stop, NULL);

	if (argc < 3) {
		(void)fprintf(stderr, "usage: worker_rig LISTEN-PORT TARGET-PORT [key=value...]\n");
		return 2;
	}
	options(g, argc, argv);
	log_setup("worker", false, LOG_WARN);
	crypto_setup();
	tls_setup();
	(void)signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return 1;
	g->start.peer[ROLE_KEEPER] = pair[0];
	g->start.supervisor = -1;
	g->keeper = pair[1];
	(void)pthread_mutex_init(&g->ring_lock, NULL);
	make_rings(g);
	if (worker_init(&g->worker, &g->start) < 0 || worker_watch(&g->worker) < 0)
		return 1;
	give_snapshot(g, option(argc, argv, "cert", ""), option(argc, argv, "key", ""),
	              option(argc, argv, "ca", ""));
	int l = listen_on((int)strtol(argv[1], NULL, 10));

	worker_listen(&g->worker, &l, 1);
	if (pthread_create(&keeper_id, NULL, keeper, g) != 0 ||
	    pthread_create(&recorder_id, NULL, recorder, g) != 0)
		return 1;
	if (pthread_create(&worker_id, NULL, run, g) != 0)
		return 1;
	(void)printf("ready\n");
	(void)fflush(stdout);
	(void)sigwait(&stop, &sig);
	report(g, worker_id, recorder_id);
	_exit(0);
}
