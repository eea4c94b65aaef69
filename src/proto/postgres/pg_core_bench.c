/*
 * pg_core_bench.c: what the core itself costs per statement: nanoseconds for one simple SELECT and
 * one prepared one, client and target side together, with a sink that does nothing.
 */
#include "base/clock.h"
#include "proto/postgres/pg_priv.h"

struct null_sink {
	struct order_sink sink;
	uint64_t offset[STREAM_COUNT];
	uint64_t orders;
};

static uint64_t null_emit(struct order_sink *sink, const struct order *o) {
	struct null_sink *n = container_of(sink, struct null_sink, sink);
	n->orders++;
	if (o->kind == ORD_RELAY || o->kind == ORD_HIDE || o->kind == ORD_SKIP ||
	    o->kind == ORD_REDACT)
		n->offset[o->side == SIDE_CLIENT ? STREAM_C : STREAM_T] += o->n;
	return 0;
}

static uint64_t null_offset(struct order_sink *sink, enum stream stream) {
	return container_of(sink, struct null_sink, sink)->offset[stream];
}

static void core_ready(struct pg_core *c, struct null_sink *n, enum hygiene hygiene) {
	memset(c, 0, sizeof(*c));
	*n = (struct null_sink){ .sink = { null_emit, null_offset } };
	pg_proto.init(c, &(struct proto_open){ .sink = &n->sink, .has_tls = true });
	c->hygiene = hygiene;
	pg_enter(c, &pg_phase_ready);
}

static void measure(const char *name, struct str ask, struct str answer, uint64_t rounds) {
	struct pg_core *c = xmalloc(sizeof(*c));
	struct null_sink n;
	core_ready(c, &n, HYGIENE_PINNED);
	struct buf b;
	buf_init(&b, 64 * KIB);
	size_t mark = pg_w_begin(&b, 'P');
	w_cstr(&b, STR("P0_1"));
	w_cstr(&b, STR("select abalance from pgbench_accounts where aid = $1"));
	w_be16(&b, 0);
	pg_w_end(&b, mark);
	pg_w_empty(&b, 'S');
	int rc = pg_proto.on_bytes(c, SIDE_CLIENT, buf_peek(&b), 1);
	buf_clear(&b);
	pg_w_empty(&b, '1');
	pg_w_ready(&b, 'I');
	rc |= pg_proto.on_bytes(c, SIDE_TARGET, buf_peek(&b), 2);
	uint64_t from = mono_ns();
	for (uint64_t i = 0; i < rounds; i++) {
		rc |= pg_proto.on_bytes(c, SIDE_CLIENT, ask, i);
		rc |= pg_proto.on_bytes(c, SIDE_TARGET, answer, i);
	}
	uint64_t ns = mono_ns() - from;
	printf("%-10s %6.0f ns per statement, %.2f orders, idle %d, rc %d\n", name,
	       (double)ns / (double)rounds, (double)n.orders / (double)rounds, pg_proto.is_idle(c),
	       rc);
	pg_proto.fini(c);
	free(c);
	buf_fini(&b);
}

static void put_answer(struct buf *b, bool is_prepared) {
	if (is_prepared)
		pg_w_empty(b, '2');
	size_t mark = pg_w_begin(b, 'T');
	w_be16(b, 1);
	w_cstr(b, STR("abalance"));
	w_zero(b, 18);
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'D');
	w_be16(b, 1);
	w_be32(b, 1);
	w_u8(b, '0');
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'C');
	w_cstr(b, STR("SELECT 1"));
	pg_w_end(b, mark);
	pg_w_ready(b, 'I');
}

static void put_prepared(struct buf *b) {
	size_t mark = pg_w_begin(b, 'B');
	w_cstr(b, STR_NONE);
	w_cstr(b, STR("P0_1"));
	w_be16(b, 0);
	w_be16(b, 1);
	w_be32(b, 5);
	w_bytes(b, STR("12345"));
	w_be16(b, 0);
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'D');
	w_bytes(b, STR("P\0"));
	pg_w_end(b, mark);
	mark = pg_w_begin(b, 'E');
	w_zero(b, 5);
	pg_w_end(b, mark);
	pg_w_empty(b, 'S');
}

static void measure_verb(struct str text, uint64_t rounds) {
	char out[PG_VERB_MAX];
	size_t n = 0;
	uint64_t from = mono_ns();
	for (uint64_t i = 0; i < rounds; i++) {
		n += pg_verb(out, text);
		__asm__ volatile("" : : "r"(out) : "memory");
	}
	printf("verb       %6.0f ns (%zu)\n", (double)(mono_ns() - from) / (double)rounds,
	       n / (size_t)rounds);
}

/* Rows in reads of 64 KiB. */
static void measure_rows(uint64_t rounds) {
	struct pg_core *c = xmalloc(sizeof(*c));
	struct null_sink n;
	core_ready(c, &n, HYGIENE_PINNED);
	struct buf b;
	buf_init(&b, 64 * KIB);
	pg_w_query(&b, STR("select *"));
	int rc = pg_proto.on_bytes(c, SIDE_CLIENT, buf_peek(&b), 1);
	buf_clear(&b);
	size_t count = 0;
	for (; b.len + 155 < 64 * KIB; count++) {
		size_t mark = pg_w_begin(&b, 'D');
		w_zero(&b, 150);
		pg_w_end(&b, mark);
	}
	uint64_t from = mono_ns();
	for (uint64_t i = 0; i < rounds; i++)
		rc |= pg_proto.on_bytes(c, SIDE_TARGET, buf_peek(&b), i);
	uint64_t ns = mono_ns() - from;
	printf("rows       %6.1f ns per row of 150 bytes, %.0f MB/s, rc %d\n",
	       (double)ns / (double)(rounds * count), (double)(rounds * b.len) * 1000 / (double)ns,
	       rc);
	pg_proto.fini(c);
	free(c);
	buf_fini(&b);
}

int main(void) {
	struct buf ask, answer;
	crypto_setup();
	buf_init(&ask, 64 * KIB);
	buf_init(&answer, 64 * KIB);
	pg_w_query(&ask, STR("select abalance from pgbench_accounts where aid = 12345"));
	put_answer(&answer, false);
	measure("simple", buf_peek(&ask), buf_peek(&answer), 500000);
	buf_clear(&ask);
	buf_clear(&answer);
	put_prepared(&ask);
	put_answer(&answer, true);
	measure("prepared", buf_peek(&ask), buf_peek(&answer), 500000);
	measure_verb(STR("  /* app */ select abalance from pgbench_accounts"), 5000000);
	measure_rows(20000);
	buf_fini(&ask);
	buf_fini(&answer);
	return 0;
}
