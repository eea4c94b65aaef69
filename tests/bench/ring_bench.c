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

#include "base/clock.h"
#include "base/crypto.h"
#include "record/event.h"
#include "recorder_rig.h"

enum { SAMPLES = 1 << 20 };

static uint64_t *samples;

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

/* A statement as the PostgreSQL core says it: the bytes, and after the answer rows and a command. */
static void say(struct rig *b, uint32_t slot, struct rig_client *c, struct str query,
                struct str rows, struct str command) {
	if (c->seq != 0) {
		(void)rig_put(b, slot, c, REC_RAW, 2, rows);
		(void)rig_put(b, slot, c, REC_COMMAND, 0, command);
	}
	c->said_at = mono_ns();
	c->waits = rig_put(b, slot, c, REC_RAW, 0, query);
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
static uint64_t push_bulk(struct rig *b, uint32_t slot, struct rig_client *c, struct str bytes) {
	uint64_t pushed = 0, durable = ring_durable(&b->ring, slot, b->generation, NULL);

	while (c->seq - durable < 16 && rig_put(b, slot, c, REC_RAW, 2, bytes))
		pushed += bytes.n;
	return pushed;
}

static void run_scene(struct rig *b, const struct scene *s, uint64_t seconds, uint64_t floor) {
	struct rig_client c[RIG_SLOTS] = { 0 };
	struct payloads p;
	unsigned all = s->small + s->bulk;
	uint64_t bulk = 0;
	size_t n = 0;

	make_payloads(&p);
	rig_open_sessions(b, all);
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
		rig_publish(b);
		(void)ring_changed(&b->ring);
		rig_wait_change(b);
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
	rig_end_sessions(b, c, all);
}

int main(int argc, char **argv) {
	static const struct scene scenes[] = {
		{ "1 session", 1, false },
		{ "16 sessions", 16, false },
		{ "64 sessions", 64, false },
		{ "bulk alone", 0, true },
		{ "16 sessions and one bulk reader", 16, true },
	};
	static struct rig b;
	char dir[256];
	uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;

	(void)snprintf(dir, sizeof(dir), "%s/ring-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (mkdtemp(dir) == NULL)
		return 1;
	crypto_setup();
	samples = xcalloc(SAMPLES, sizeof(samples[0]));
	uint64_t floor = plain_writes(dir, MIN(seconds, (uint64_t)2));

	rig_start(&b, dir, 8 * MIB, 1);
	for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
		run_scene(&b, &scenes[i], seconds, floor);
	rig_stop(&b);
	rig_remove_tree(dir);
	return 0;
}
