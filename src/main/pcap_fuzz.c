/*
 * pcap_fuzz.c: any sequence of what can happen to a conversation: blocks stay whole.
 */
#include "base/mem.h"
#include "base/rd.h"
#include "main/pcap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_blocks(const struct buf *b) {
	struct rd r = rd_of(buf_peek(b));
	while (rd_left(&r) > 0) {
		rd_skip(&r, 4);
		uint32_t n = rd_u32(&r);
		assert(n >= 12 && n % 4 == 0);
		rd_skip(&r, n - 12);
		assert(rd_u32(&r) == n);
	}
	assert(!r.bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const char *const names[2] = { "a", "b" };
	struct rd r = rd_of(str_mem((const char *)data, size));
	struct pcap_flow f = { .address = { 1, 2 }, .port = { 40000, 5432 } };
	struct buf b;
	buf_init(&b, 64 * MIB);
	pcap_begin(&b, rd_bytes(&r, MIN(rd_u8(&r), rd_left(&r))), names);
	for (int i = 0; i < 64 && rd_left(&r) > 0; i++) {
		uint8_t what = rd_u8(&r);
		if (what % 4 == 0)
			pcap_open(&b, &f, rd_u64(&r));
		else if (what % 4 == 1)
			pcap_gap(&b, &f, what >> 7,
			         (struct pcap_gap){ .n = rd_be16(&r), .type = rd_u8(&r) }, what);
		else if (what % 4 == 2)
			pcap_data(&b, &f, what >> 7, rd_bytes(&r, MIN(rd_be16(&r), rd_left(&r))),
			          what);
		else
			pcap_close(&b, &f, rd_u64(&r));
	}
	check_blocks(&b);
	buf_fini(&b);
	return 0;
}
