/*
 * pcap_test.c: blocks that close, segments that add up, checksums that are right.
 */
#include "main/pcap.h"

#include "base/rd.h"
#include "base/test.h"

struct seen {
	unsigned blocks, packets, comments;
	uint32_t next[2];
	uint64_t bytes[2];
	uint8_t flags; /* all of them */
};

static uint32_t sum_words(struct str s, uint32_t sum) {
	for (size_t i = 0; i < s.n; i++)
		sum += (uint32_t)(uint8_t)s.p[i] << (i % 2 == 0 ? 8 : 0);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void check_packet(struct seen *seen, struct str packet) {
	struct rd r = rd_of(str_from(packet, 12));
	uint32_t from = rd_be32(&r);
	rd_skip(&r, 4);
	unsigned end = from == 1 ? 0 : 1;
	CHECK_EQ_U(sum_words(str_head(packet, 20), 0), 0xffff);
	rd_skip(&r, 4);
	uint32_t seq = rd_be32(&r);
	uint32_t ack = rd_be32(&r);
	uint8_t flags = (uint8_t)rd_be16(&r);
	uint32_t n = (uint32_t)(packet.n - 40);
	uint32_t pseudo = sum_words(str_head(str_from(packet, 12), 8), 6 + 20 + n);
	CHECK_EQ_U(sum_words(str_from(packet, 20), pseudo), 0xffff);
	CHECK_EQ_U(seq, seen->next[end]);
	if ((flags & 16) != 0)
		CHECK_EQ_U(ack, seen->next[1 - end]);
	seen->next[end] = seq + n + ((flags & 3) != 0);
	seen->bytes[end] += n;
	seen->flags |= flags;
	seen->packets++;
}

static struct seen look(const struct buf *b) {
	struct seen seen = { .blocks = 0 };
	struct rd r = rd_of(buf_peek(b));
	while (rd_left(&r) > 0) {
		uint32_t type = rd_u32(&r);
		uint32_t n = rd_u32(&r);
		CHECK(n >= 12 && n % 4 == 0);
		struct str body = rd_bytes(&r, n - 12);
		CHECK_EQ_U(rd_u32(&r), n);
		seen.blocks++;
		if (r.bad || type != 6)
			continue;
		struct rd p = rd_of(body);
		rd_skip(&p, 12);
		uint32_t size = rd_u32(&p);
		CHECK_EQ_U(rd_u32(&p), size);
		check_packet(&seen, rd_bytes(&p, size));
		seen.comments += rd_left(&p) > 4;
	}
	CHECK(!r.bad);
	return seen;
}

static const char *const names[2] = { "a", "b" };

TEST(conversation) {
	struct pcap_flow f = { .address = { 1, 2 }, .port = { 40000, 5432 } };
	struct buf b;
	char text[4001];
	memset(text, 'x', sizeof(text));
	buf_init(&b, MIB);
	pcap_begin(&b, STR("about"), names);
	pcap_open(&b, &f, 1);
	pcap_data(&b, &f, 0, str_mem(text, sizeof(text)), (uint64_t)5 << 32);
	pcap_data(&b, &f, 1, STR("y"), 3);
	pcap_gap(&b, &f, 1, (struct pcap_gap){ .n = 1461, .type = 'R' }, 4);
	pcap_close(&b, &f, 5);
	struct seen s = look(&b);
	CHECK_EQ_U(s.blocks, 3 + s.packets);
	CHECK_EQ_U(s.packets, 3 + 3 + 1 + 2 + 3);
	CHECK_EQ_U(s.bytes[0], 4001);
	CHECK_EQ_U(s.bytes[1], 1462);
	CHECK_EQ_U(s.comments, 1);
	CHECK_EQ_U(s.flags, 27);
	/* the gap's first bytes: 'R', length 1460 */
	struct str all = buf_peek(&b);
	CHECK(memmem(all.p, all.n, "R\0\0\x05\xb4\0\0\0\0", 9) != NULL);
	buf_fini(&b);
}

TEST(gap_is_bounded) {
	struct pcap_flow f = { .address = { 1, 2 }, .port = { 40000, 5432 } };
	struct buf b;
	buf_init(&b, 64 * MIB);
	pcap_gap(&b, &f, 0, (struct pcap_gap){ .n = (uint64_t)PCAP_GAP_MAX + 100 }, 4);
	CHECK_EQ_U(look(&b).bytes[0], PCAP_GAP_MAX);
	CHECK_EQ_U(f.next[0], PCAP_GAP_MAX + 100);
	buf_clear(&b);
	pcap_gap(&b, &f, 0, (struct pcap_gap){ .n = 0 }, 4);
	CHECK_EQ_U(b.len, 0);
	buf_fini(&b);
}

TEST_MAIN
