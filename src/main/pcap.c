/*
 * pcap.c: see pcap.h.
 *
 *   block   u32 type, u32 length, body, padding to 4, options, u32 length again; all little-endian
 *   option  u16 code, u16 length, value, padding to 4; 0 0 ends them
 */
#include "main/pcap.h"

enum block { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_PACKET = 6 };
enum option {
	OPTION_END,
	OPTION_COMMENT,
	OPTION_NAME,
	OPTION_APPLICATION = 4,
	OPTION_RESOLUTION = 9
};
enum { LINK_RAW = 101, IP_SIZE = 20, TCP_SIZE = 20, COMMENT_MAX = 4096, HEAD_SIZE = 5 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_PSH = 8, TCP_ACK = 16 };

static void pad(struct buf *b, size_t n) {
	w_zero(b, (4 - n % 4) % 4);
}

static void option(struct buf *b, enum option code, struct str s) {
	s = str_head(s, COMMENT_MAX);
	w_u16(b, (uint16_t)code);
	w_u16(b, (uint16_t)s.n);
	w_bytes(b, s);
	pad(b, s.n);
}

/* body is all between the two lengths. */
static void block(struct buf *b, enum block type, const struct buf *body) {
	uint32_t n = (uint32_t)(body->len + 12);
	w_u32(b, type);
	w_u32(b, n);
	w_bytes(b, buf_peek(body));
	w_u32(b, n);
}

void pcap_begin(struct buf *b, struct str comment, const char *const names[2]) {
	struct buf body;
	buf_init(&body, 64 * KIB);
	w_u32(&body, 0x1a2b3c4d);
	w_u16(&body, 1);
	w_u16(&body, 0);
	w_u64(&body, UINT64_MAX); /* length of the section: not told */
	option(&body, OPTION_COMMENT, comment);
	option(&body, OPTION_APPLICATION, STR("hansard export"));
	w_u32(&body, OPTION_END);
	block(b, BLOCK_SECTION, &body);
	for (size_t i = 0; i < 2; i++) {
		buf_clear(&body);
		w_u16(&body, LINK_RAW);
		w_u16(&body, 0);
		w_u32(&body, 0); /* packets are never cut */
		option(&body, OPTION_NAME, str_of(names[i]));
		option(&body, OPTION_RESOLUTION, STR("\x09"));
		w_u32(&body, OPTION_END);
		block(b, BLOCK_INTERFACE, &body);
	}
	buf_fini(&body);
}

static uint32_t sum_of(struct str s, uint32_t sum) {
	for (size_t i = 0; i < s.n; i++)
		sum += (uint32_t)(uint8_t)s.p[i] << (i % 2 == 0 ? 8 : 0);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

struct segment {
	unsigned from;
	uint8_t flags;
	struct str bytes;
	uint64_t wall_ns;
	const char *comment; /* NULL: none */
};

static void ip_header(struct buf *p, const struct pcap_flow *f, const struct segment *s) {
	size_t at = p->len;
	w_be16(p, 0x4500);
	w_be16(p, (uint16_t)(IP_SIZE + TCP_SIZE + s->bytes.n));
	w_be32(p, 0x00004000); /* don't fragment */
	w_be16(p, 0x4006);     /* 64 hops, TCP */
	w_be16(p, 0);
	w_be32(p, f->address[s->from]);
	w_be32(p, f->address[1 - s->from]);
	uint32_t sum = 0xffff ^ sum_of(str_from(buf_peek(p), at), 0);
	p->p[p->off + at + 10] = (uint8_t)(sum >> 8);
	p->p[p->off + at + 11] = (uint8_t)sum;
}

static void tcp_header(struct buf *p, const struct pcap_flow *f, const struct segment *s) {
	size_t at = p->len;
	unsigned to = 1 - s->from;
	struct buf pseudo;
	w_be16(p, f->port[s->from]);
	w_be16(p, f->port[to]);
	w_be32(p, f->next[s->from]);
	w_be32(p, (s->flags & TCP_ACK) != 0 ? f->next[to] : 0);
	w_be16(p, (uint16_t)(0x5000 | s->flags));
	w_be16(p, 0xffff);
	w_be32(p, 0);
	w_bytes(p, s->bytes);
	buf_init(&pseudo, KIB);
	w_be32(&pseudo, f->address[s->from]);
	w_be32(&pseudo, f->address[to]);
	w_be16(&pseudo, 6);
	w_be16(&pseudo, (uint16_t)(TCP_SIZE + s->bytes.n));
	uint32_t sum = 0xffff ^ sum_of(str_from(buf_peek(p), at), sum_of(buf_peek(&pseudo), 0));
	p->p[p->off + at + 16] = (uint8_t)(sum >> 8);
	p->p[p->off + at + 17] = (uint8_t)sum;
	buf_fini(&pseudo);
}

static void put(struct buf *b, struct pcap_flow *f, const struct segment *s) {
	struct buf body;
	size_t n = IP_SIZE + TCP_SIZE + s->bytes.n;
	buf_init(&body, 64 * KIB);
	w_u32(&body, f->interface);
	w_u32(&body, (uint32_t)(s->wall_ns >> 32));
	w_u32(&body, (uint32_t)s->wall_ns);
	w_u32(&body, (uint32_t)n);
	w_u32(&body, (uint32_t)n);
	ip_header(&body, f, s);
	tcp_header(&body, f, s);
	pad(&body, n);
	if (s->comment != NULL) {
		option(&body, OPTION_COMMENT, str_of(s->comment));
		w_u32(&body, OPTION_END);
	}
	block(b, BLOCK_PACKET, &body);
	buf_fini(&body);
	f->next[s->from] += (uint32_t)s->bytes.n + ((s->flags & (TCP_SYN | TCP_FIN)) != 0);
}

void pcap_open(struct buf *b, struct pcap_flow *f, uint64_t wall_ns) {
	f->next[0] = f->next[1] = 0;
	put(b, f, &(struct segment){ .from = 0, .flags = TCP_SYN, .wall_ns = wall_ns });
	put(b, f, &(struct segment){ .from = 1, .flags = TCP_SYN | TCP_ACK, .wall_ns = wall_ns });
	put(b, f, &(struct segment){ .from = 0, .flags = TCP_ACK, .wall_ns = wall_ns });
}

void pcap_data(struct buf *b, struct pcap_flow *f, unsigned from, struct str bytes,
               uint64_t wall_ns) {
	while (bytes.n > 0) {
		struct str part = str_head(bytes, PCAP_MSS);
		put(b, f,
		    &(struct segment){ .from = from,
		                       .flags = TCP_PSH | TCP_ACK,
		                       .bytes = part,
		                       .wall_ns = wall_ns });
		bytes = str_from(bytes, part.n);
	}
}

void pcap_gap(struct buf *b, struct pcap_flow *f, unsigned from, struct pcap_gap gap,
              uint64_t wall_ns) {
	char bytes[PCAP_MSS] = { 0 };
	char comment[120];
	uint64_t left = MIN(gap.n, (uint64_t)PCAP_GAP_MAX);
	bool has_head = gap.type != 0 && gap.n >= HEAD_SIZE && gap.n == left;
	uint32_t len = (uint32_t)(left - 1);
	(void)snprintf(comment, sizeof(comment), "%llu bytes are not on the record: %szeros",
	               (unsigned long long)gap.n,
	               has_head ? "a made-up head of a message, then " : "");
	uint32_t hole = (uint32_t)(gap.n - left);
	if (has_head) {
		bytes[0] = (char)gap.type;
		for (int i = 0; i < 4; i++)
			bytes[1 + i] = (char)(len >> (24 - 8 * i));
	}
	for (bool is_first = true; left > 0; is_first = false) {
		size_t part = (size_t)MIN(left, (uint64_t)PCAP_MSS);
		put(b, f,
		    &(struct segment){ .from = from,
		                       .flags = TCP_PSH | TCP_ACK,
		                       .bytes = str_mem(bytes, part),
		                       .wall_ns = wall_ns,
		                       .comment = is_first ? comment : NULL });
		memset(bytes, 0, HEAD_SIZE);
		left -= part;
	}
	f->next[from] += hole;
}

void pcap_close(struct buf *b, struct pcap_flow *f, uint64_t wall_ns) {
	put(b, f, &(struct segment){ .from = 0, .flags = TCP_FIN | TCP_ACK, .wall_ns = wall_ns });
	put(b, f, &(struct segment){ .from = 1, .flags = TCP_FIN | TCP_ACK, .wall_ns = wall_ns });
	put(b, f, &(struct segment){ .from = 0, .flags = TCP_ACK, .wall_ns = wall_ns });
}
