/* base_bench.c: what the hot leaves cost, in ns per call and GB/s. `ninja -C build src/base_bench`. */
#include "base/clock.h"
#include "base/crypto.h"
#include "base/crypto_priv.h"
#include "base/mem.h"

static uint8_t data[64 * 1024];
static volatile uint64_t sink;

typedef uint64_t bench_fn(size_t n);

static uint64_t bench_crc_sse42(size_t n) {
	return crc32c_has_sse42() ? crc32c_sse42(0, data, n) : 0;
}

static uint64_t bench_crc_table(size_t n) {
	return crc32c_table(0, data, n);
}

static uint64_t bench_sha256(size_t n) {
	uint8_t out[SHA256_SIZE];

	sha256(out, str_mem(data, n));
	return out[0];
}

static uint64_t bench_utf8(size_t n) {
	return str_utf8_bad(str_mem(data, n));
}

static uint64_t bench_mono(size_t n) {
	(void)n;
	return mono_ns();
}

static struct map *map;

static uint64_t bench_map_get(size_t n) {
	uint64_t key = sink % n;

	return map_get(map, map_key_u64(&key)) != NULL;
}

static void run(const char *name, bench_fn *fn, size_t n) {
	uint64_t start = mono_ns(), spent = 0, calls = 0;

	while (spent < 200 * NS_PER_MS) {
		for (unsigned i = 0; i < 64; i++)
			sink += fn(n);
		calls += 64;
		spent = mono_ns() - start;
	}
	double each = (double)spent / (double)calls;

	printf("%-12s %6zu  %9.1f ns  %6.2f GB/s\n", name, n, each, (double)n / each);
}

int main(void) {
	int v = 0;

	crypto_setup();
	memset(data, 'a', sizeof(data));
	map = map_new(1 << 16);
	for (uint64_t i = 0; i < 10000; i++) {
		if (map_put(map, map_key_u64(&i), &v, NULL) < 0)
			return 1;
	}
	run("crc sse4.2", bench_crc_sse42, 64);
	run("crc sse4.2", bench_crc_sse42, sizeof(data));
	run("crc table", bench_crc_table, sizeof(data));
	run("sha256", bench_sha256, 64);
	run("sha256", bench_sha256, 256);
	run("sha256", bench_sha256, sizeof(data));
	run("utf8 ascii", bench_utf8, 64);
	run("utf8 ascii", bench_utf8, sizeof(data));
	run("map get", bench_map_get, 10000);
	run("mono_ns", bench_mono, 1);
	map_free(&map);
	return 0;
}
