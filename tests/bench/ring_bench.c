/*
 * ring_bench.c: ring and recorder with a worker that is made up: what recording costs without any
 * protocol. In one run: a plain loop of pwrite(O_DIRECT|O_DSYNC) of 4 KiB, then sessions that say a
 * statement, wait until it is durable, and say the next.
 *
 *   ring_bench [DIR [SECONDS]]     DIR: where the store is made (removed afterwards); default /var/tmp
 *
 * Printed per scene: statements per second, p50 and p99 of the commit latency, CPU of the recorder's
 * main thread per statement, and the ratio of p50 to the plain write's.
 */
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "loop/loop.h"
#include "record/recorder.h"
#include "record/event.h"
#include "record/tlog.h"

enum { SLOTS = 128, SAMPLES = 1 << 20 };

struct bench {
	struct recorder *r;
	struct vfs *vfs;
	struct loop *loop;
	struct watch event;
	int worker_event;
	pthread_t thread;
	_Atomic bool stop, serves;
	_Atomic uint64_t cpu;
	_Atomic uint32_t opened;
	int mail[2];
	int ring_fd, commit_fd, commit_ro_fd;
	struct ring ring;
	uint32_t generation;
	uint8_t key[ED25519_SEED_SIZE];
	uint64_t signed_size;
};

static uint64_t *samples;

static uint64_t hook_mono(void *arg unused_arg) {
	return mono_ns();
}
static uint64_t hook_wall(void *arg unused_arg) {
	return wall_ns();
}
static void poke(int fd) {
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}
static void hook_wake_worker(void *arg, uint16_t ring unused_arg) {
	poke(((struct bench *)arg)->worker_event);
}
static void hook_drained(void *arg unused_arg, uint16_t ring unused_arg) {
}
static void hook_wake(void *arg) {
	poke(((struct bench *)arg)->event.fd);
}

/* The keeper's answers, written as messages to ourselves. */
static void answer(struct bench *b, uint16_t type, struct str body) {
	(void)!ipc_send(b->mail[0], type, 0, body, NULL, 0);
}

static void hook_to_keeper(void *arg, uint16_t type, uint64_t id unused_arg, struct str body) {
	struct bench *b = arg;
	uint8_t zeros[SHA256_SIZE] = { 0 };
	struct buf m, note;

	buf_init(&m, 8192);
	buf_init(&note, 8192);
	if (type == IPC_LAST_SIGNED) {
		w_u64(&m, 0);
		w_bytes(&m, str_mem(zeros, SHA256_SIZE));
		w_vstr(&m, STR("bench/log"));
		w_vstr(&m, STR(""));
		w_bytes(&m, str_mem(zeros, TLOG_NODE_SIZE));
		answer(b, IPC_LAST_SIGNED_IS, buf_peek(&m));
	} else if (type == IPC_SIGN) {
		struct rd r = rd_of(body);
		struct tlog_checkpoint c = { .origin = STR("bench/log"), .size = rd_u64(&r) };

		memcpy(c.root, rd_bytes(&r, SHA256_SIZE).p, SHA256_SIZE);
		tlog_checkpoint_sign(&note, &c, b->key);
		w_u32(&m, 0);
		w_vstr(&m, buf_peek(&note));
		answer(b, IPC_SIGNED, buf_peek(&m));
	} else if (type == IPC_OPENED) {
		atomic_fetch_add(&b->opened, 1);
	}
	buf_fini(&m);
	buf_fini(&note);
}

static bool may_sleep(void *arg) {
	return recorder_may_sleep(((struct bench *)arg)->r);
}
static void awake(void *arg) {
	recorder_awake(((struct bench *)arg)->r);
}
static void on_event(struct watch *w, unsigned events unused_arg) {
	uint64_t n;

	(void)!read(w->fd, &n, sizeof(n));
}

static void read_mail(struct bench *b) {
	static uint8_t in[IPC_MAX + 16];
	struct ipc_msg m;

	while (ipc_recv(b->mail[1], in, &m) == 1) {
		recorder_keeper_message(b->r, &m);
		ipc_msg_close(&m);
	}
}

static void *run_recorder(void *arg) {
	struct bench *b = arg;
	clockid_t clock;
	struct timespec t;

	if (pthread_getcpuclockid(pthread_self(), &clock) != 0)
		abort();
	recorder_start(b->r);
	while (!atomic_load(&b->stop)) {
		read_mail(b);
		uint64_t due = recorder_turn(b->r);

		atomic_store(&b->serves, recorder_is_serving(b->r));
		(void)clock_gettime(clock, &t);
		atomic_store(&b->cpu, (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec);
		int timeout = due > NS_PER_S ? 1000 : (int)((due + NS_PER_MS - 1) / NS_PER_MS);

		if (loop_turn(b->loop, timeout) < 0)
			abort();
	}
	return NULL;
}

/* --- scenes --- */

static int by_size(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t percentile(size_t n, unsigned p) {
	return n == 0 ? 0 : samples[MIN(n - 1, n * p / 100)];
}

/* The floor: what the disk alone takes. */
static uint64_t plain_writes(const char *dir, uint64_t seconds) {
	char path[300];
	void *block = NULL;
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "%s/plain.tmp", dir);
	auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT | O_DSYNC, 0600);

	if (fd < 0 || posix_memalign(&block, 4096, 1 << 20) != 0)
		return 0;
	memset(block, 0, 1 << 20);
	for (off_t at = 0; at < 64 << 20; at += 1 << 20)
		(void)!pwrite(fd, block, 1 << 20, at);
	uint64_t start = mono_ns(), end = start + seconds * NS_PER_S;

	for (uint64_t now = start; now < end && n < SAMPLES; n++) {
		(void)!pwrite(fd, block, 4096, (off_t)(n % 16384) * 4096);
		uint64_t then = mono_ns();

		samples[n] = then - now;
		now = then;
	}
	free(block);
	qsort(samples, n, sizeof(samples[0]), by_size);
	printf("%-34s %9.0f /s   p50 %6.0f us   p99 %6.0f us\n", "plain pwrite 4 KiB",
	       (double)n / (double)seconds, (double)percentile(n, 50) / 1e3,
	       (double)percentile(n, 99) / 1e3);
	return percentile(n, 50);
}

struct client {
	uint64_t seq, said_at;
	bool waits;
};

static void open_sessions(struct bench *b, unsigned count) {
	uint32_t before = atomic_load(&b->opened);

	b->generation++;
	for (unsigned i = 0; i < count; i++) {
		struct buf m;
		uint8_t sid[SID_SIZE];

		uuid7(sid, wall_ns());
		buf_init(&m, 4096);
		w_u16(&m, 0);
		w_u32(&m, i);
		w_u32(&m, b->generation);
		w_bytes(&m, str_mem(sid, SID_SIZE));
		w_u8(&m, 0);
		w_u64(&m, 0);
		w_vstr(&m, STR("{\"format\":1,\"protocol\":\"postgres\"}"));
		while (ipc_send(b->mail[0], IPC_OPEN, i, buf_peek(&m), NULL, 0) < 0)
			(void)usleep(100);
		buf_fini(&m);
	}
	poke(b->event.fd);
	while (atomic_load(&b->opened) != before + count) {
		poke(b->event.fd);
		(void)usleep(1000);
	}
}

static bool put(struct bench *b, uint32_t slot, struct client *c, uint8_t type, uint8_t flags,
                struct str bytes) {
	struct ring_event *e = ring_reserve(&b->ring, bytes.n);

	if (e == NULL)
		return false;
	e->slot = slot;
	e->generation = b->generation;
	e->seq = ++c->seq;
	e->mono_ns = mono_ns();
	e->type = type;
	e->flags = flags;
	e->intent = type == REC_RAW && flags == 0;
	memset(e->zero, 0, sizeof(e->zero));
	memcpy(ring_payload(e), bytes.p, bytes.n);
	return true;
}

/* A statement as the PostgreSQL core says it: the bytes, and after the answer rows and a command. */
static void say(struct bench *b, uint32_t slot, struct client *c, struct str query, struct str rows,
                struct str command) {
	if (c->seq != 0) {
		(void)put(b, slot, c, REC_RAW, 2, rows);
		(void)put(b, slot, c, REC_COMMAND, 0, command);
	}
	c->said_at = mono_ns();
	c->waits = put(b, slot, c, REC_RAW, 0, query);
}

struct scene {
	const char *name;
	unsigned small;
	bool bulk;
};

struct payloads {
	struct buf query, rows, command, bulk;
};

static void make_payloads(struct payloads *p) {
	static uint8_t big[65000];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)("0123456789abcdef,\n some row text"[(i * 7 + i / 97) % 32]);
	buf_init(&p->query, 4096);
	buf_init(&p->rows, 4096);
	buf_init(&p->command, 4096);
	buf_init(&p->bulk, 128 * KIB);
	rec_put_raw(&p->query, 1000,
	            STR("Q....SELECT abalance FROM pgbench_accounts WHERE aid = 12345;."));
	rec_put_raw(&p->rows, 2000, str_mem(big, 90));
	rec_put_command(&p->command,
	                &(struct rec_command){ .verb = STR("SELECT"), .rows = 1, .row_bytes = 12 });
	rec_put_raw(&p->bulk, 3000, str_mem(big, sizeof(big)));
}

/* Up to 1 MiB ahead of what is durable, as the shell allows. */
static uint64_t push_bulk(struct bench *b, uint32_t slot, struct client *c, struct str bytes) {
	uint64_t pushed = 0, durable = ring_durable(&b->ring, slot, b->generation, NULL);

	while (c->seq - durable < 16 && put(b, slot, c, REC_RAW, 2, bytes))
		pushed += bytes.n;
	return pushed;
}

/* The worker sleeps on its eventfd until something changed. */
static void wait_change(struct bench *b) {
	if (ring_worker_may_sleep(&b->ring)) {
		struct pollfd p = { .fd = b->worker_event, .events = POLLIN };
		uint64_t n;

		(void)poll(&p, 1, 100);
		(void)!read(b->worker_event, &n, sizeof(n));
	}
	ring_worker_awake(&b->ring);
}

static void end_all(struct bench *b, struct client *c, unsigned count) {
	static const uint64_t streams[4];
	struct buf end;

	buf_init(&end, 256);
	rec_put_end(&end, 0, STR("client"), streams);
	for (unsigned i = 0; i < count; i++) {
		while (!put(b, i, &c[i], REC_END, 0, buf_peek(&end)))
			(void)usleep(1000);
	}
	if (ring_publish(&b->ring))
		poke(b->event.fd);
	(void)usleep(200000);
	buf_fini(&end);
}

static void run_scene(struct bench *b, const struct scene *s, uint64_t seconds, uint64_t floor) {
	struct client c[SLOTS] = { 0 };
	struct payloads p;
	unsigned all = s->small + s->bulk;
	uint64_t bulk = 0;
	size_t n = 0;

	make_payloads(&p);
	open_sessions(b, all);
	uint64_t start = mono_ns(), end = start + seconds * NS_PER_S, cpu = atomic_load(&b->cpu);

	while (mono_ns() < end) {
		for (unsigned i = 0; i < s->small; i++) {
			if (c[i].waits && ring_durable(&b->ring, i, b->generation, NULL) < c[i].seq)
				continue;
			if (c[i].waits && n < SAMPLES)
				samples[n++] = mono_ns() - c[i].said_at;
			say(b, i, &c[i], buf_peek(&p.query), buf_peek(&p.rows),
			    buf_peek(&p.command));
		}
		if (s->bulk)
			bulk += push_bulk(b, s->small, &c[s->small], buf_peek(&p.bulk));
		if (ring_publish(&b->ring))
			poke(b->event.fd);
		(void)ring_changed(&b->ring);
		wait_change(b);
	}
	cpu = atomic_load(&b->cpu) - cpu;
	double took = (double)(mono_ns() - start) / 1e9;

	qsort(samples, n, sizeof(samples[0]), by_size);
	printf("%-34s %9.0f /s   p50 %6.0f us   p99 %6.0f us   recorder %5.1f us/statement   p50 x%.2f of plain",
	       s->name, (double)n / took, (double)percentile(n, 50) / 1e3,
	       (double)percentile(n, 99) / 1e3, n != 0 ? (double)cpu / 1e3 / (double)n : 0.0,
	       floor != 0 ? (double)percentile(n, 50) / (double)floor : 0.0);
	if (s->bulk)
		printf("   bulk %.0f MB/s", (double)bulk / 1e6 / took);
	printf("\n");
	(void)fflush(stdout);
	end_all(b, c, all);
}

static void remove_tree(const char *dir) {
	char *paths[] = { (char *)(uintptr_t)dir, NULL };
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

	for (FTSENT *e = f != NULL ? fts_read(f) : NULL; e != NULL; e = fts_read(f)) {
		if (e->fts_info != FTS_D)
			(void)remove(e->fts_accpath);
	}
	if (f != NULL)
		(void)fts_close(f);
}

static void start(struct bench *b, const char *dir) {
	char root[300];
	const char *note = NULL;
	struct ring ring;

	(void)snprintf(root, sizeof(root), "%s/record", dir);
	if (vfs_real_new(&b->vfs,
	                 &(struct vfs_real_options){ .root = root, .is_tmpfs_allowed = true },
	                 &note) < 0)
		abort();
	if (note != NULL)
		printf("note: %s\n", note);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, b->mail) < 0 ||
	    ring_create(8 * MIB, SLOTS, &b->ring_fd, &b->commit_fd, &b->commit_ro_fd) < 0 ||
	    ring_map_worker(&b->ring, b->ring_fd, b->commit_ro_fd) < 0 ||
	    ring_map_recorder(&ring, b->ring_fd, b->commit_fd) < 0)
		abort();
	b->worker_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->event = (struct watch){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .fn = on_event };
	b->loop = loop_new();
	loop_hooks(b->loop, may_sleep, awake, NULL, b);
	if (loop_add(b->loop, &b->event, LOOP_IN) < 0)
		abort();
	b->r = recorder_new(&(struct recorder_options){ .vfs = b->vfs,
	                                                .hooks = { .mono = hook_mono,
	                                                           .wall = hook_wall,
	                                                           .to_keeper = hook_to_keeper,
	                                                           .wake_worker = hook_wake_worker,
	                                                           .ring_drained = hook_drained,
	                                                           .wake = hook_wake,
	                                                           .arg = b },
	                                                .segment_count = 4,
	                                                .helpers = 1,
	                                                .version = "bench" });
	if (recorder_add_ring(b->r, 0, &ring) < 0 ||
	    pthread_create(&b->thread, NULL, run_recorder, b) != 0)
		abort();
}

int main(int argc, char **argv) {
	static const struct scene scenes[] = {
		{ "1 session", 1, false },
		{ "16 sessions", 16, false },
		{ "64 sessions", 64, false },
		{ "bulk alone", 0, true },
		{ "16 sessions and one bulk reader", 16, true },
	};
	static struct bench b;
	char dir[256];
	uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;

	(void)snprintf(dir, sizeof(dir), "%s/ring-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (mkdtemp(dir) == NULL)
		return 1;
	crypto_setup();
	samples = xcalloc(SAMPLES, sizeof(samples[0]));
	uint64_t floor = plain_writes(dir, MIN(seconds, (uint64_t)2));

	start(&b, dir);
	while (!atomic_load(&b.serves))
		(void)usleep(10000);
	(void)sleep(1); /* segments grow in the background */
	for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
		run_scene(&b, &scenes[i], seconds, floor);
	atomic_store(&b.stop, true);
	poke(b.event.fd);
	(void)pthread_join(b.thread, NULL);
	recorder_free(&b.r);
	vfs_real_free(&b.vfs);
	remove_tree(dir);
	return 0;
}
