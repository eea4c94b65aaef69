/*
 * journal_format.c: segment and batch headers of the journal, and the scan of a segment image.
 *
 *   segment  | block 0: header, zeros | batch | batch | … | unwritten |
 *   batch    | header 64 | frames back to back | zeros to the next block |
 *
 * Invariants:
 * 1. A batch is valid only with this use's salt and the number that comes next, so that what an
 *    earlier use of the segment left behind never parses, whatever it holds.
 * 2. All bytes of block 0 and of a batch are covered: by the CRC, or because they must be zero.
 * 3. Nothing is read beyond the image, and a payload never reaches beyond the segment.
 */
#include "record/journal_format.h"

#include "base/buf.h"
#include "base/rd.h"

static const char seg_magic[8] = { 'H', 'S', 'D', 'S', 'E', 'G', '0', '1' };
enum { SEG_CRC_AT = 96, SEG_VERSION = 1, BATCH_CRC_AT = 60 };

static bool is_zero(struct str s) {
	return s.n == 0 || (s.p[0] == 0 && memcmp(s.p, s.p + 1, s.n - 1) == 0);
}

static uint8_t *put32(uint8_t *p, uint32_t v) {
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
	return p + 4;
}

static uint8_t *put64(uint8_t *p, uint64_t v) {
	return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static uint8_t *put_mem(uint8_t *p, const void *src, size_t n) {
	memcpy(p, src, n);
	return p + n;
}

void seg_head_encode(uint8_t out[JOURNAL_BLOCK], const struct seg_head *h) {
	uint8_t *p = out;

	assert(h->size % JOURNAL_BLOCK == 0 && h->size >= JOURNAL_SEGMENT_MIN &&
	       h->size <= JOURNAL_SEGMENT_MAX);
	memset(out, 0, JOURNAL_BLOCK);
	p = put_mem(p, seg_magic, sizeof(seg_magic));
	p = put32(p, SEG_VERSION);
	p = put32(p, (uint32_t)JOURNAL_BLOCK);
	p = put64(p, h->size);
	p = put64(p, h->number);
	p = put_mem(p, h->node, JOURNAL_ID_SIZE);
	p = put_mem(p, h->salt, JOURNAL_ID_SIZE);
	p = put64(p, h->wall_ns);
	p = put64(p, h->first_batch);
	p = put64(p, h->first_leaf);
	p = put64(p, 0); /* suite and key_epoch: the journal as a whole is not encrypted */
	assert(p == out + SEG_CRC_AT);
	(void)put32(p, crc32c(0, out, SEG_CRC_AT));
}

/* Everything but magic and version. */
static int seg_fields(struct seg_head *h, struct rd *r) {
	uint32_t block = rd_u32(r);

	h->size = rd_u64(r);
	h->number = rd_u64(r);
	struct str node = rd_bytes(r, JOURNAL_ID_SIZE);
	struct str salt = rd_bytes(r, JOURNAL_ID_SIZE);

	h->wall_ns = rd_u64(r);
	h->first_batch = rd_u64(r);
	h->first_leaf = rd_u64(r);
	uint64_t encryption = rd_u64(r);

	if (r->bad || block != JOURNAL_BLOCK || encryption != 0)
		return H_EFORMAT;
	if (h->size % JOURNAL_BLOCK != 0 || h->size < JOURNAL_SEGMENT_MIN ||
	    h->size > JOURNAL_SEGMENT_MAX)
		return H_EFORMAT;
	memcpy(h->node, node.p, node.n);
	memcpy(h->salt, salt.p, salt.n);
	return 1;
}

int seg_head_parse(struct seg_head *h, struct str block) {
	struct seg_head got = { 0 };

	if (block.n < JOURNAL_BLOCK)
		return H_EFORMAT;
	block.n = JOURNAL_BLOCK;
	if (is_zero(block))
		return 0;
	struct rd r = rd_of(block);
	struct str magic = rd_bytes(&r, sizeof(seg_magic));

	if (!str_eq(magic, str_mem(seg_magic, sizeof(seg_magic))))
		return H_EFORMAT;
	uint32_t version = rd_u32(&r);
	struct rd tail = rd_of(str_from(block, SEG_CRC_AT));

	if (rd_u32(&tail) != crc32c(0, block.p, SEG_CRC_AT) ||
	    !is_zero(str_from(block, SEG_CRC_AT + 4)))
		return H_EFORMAT;
	if (version != SEG_VERSION)
		return H_EVERSION;
	int rc = seg_fields(&got, &r);

	if (rc > 0)
		*h = got;
	return rc;
}

size_t batch_finish(uint8_t *block, const struct batch_head *h) {
	size_t size = batch_size(h->payload_len);
	uint8_t *p = block;

	p = put32(p, JOURNAL_BATCH_MAGIC);
	p = put32(p, h->payload_len);
	p = put64(p, h->number);
	p = put64(p, h->durable_upto);
	p = put64(p, h->mono_ns);
	p = put_mem(p, h->salt, JOURNAL_ID_SIZE);
	p = put32(p, h->frames);
	p = put64(p, 0); /* key_epoch, zero */
	assert(p == block + BATCH_CRC_AT);
	uint32_t crc = crc32c(0, block, BATCH_CRC_AT);

	(void)put32(p, crc32c(crc, block + JOURNAL_BATCH_HEAD, h->payload_len));
	memset(block + JOURNAL_BATCH_HEAD + h->payload_len, 0,
	       size - JOURNAL_BATCH_HEAD - h->payload_len);
	return size;
}

int seg_scan_begin(struct seg_scan *s, struct str image) {
	struct seg_head head;
	int rc = seg_head_parse(&head, image);

	if (rc <= 0)
		return rc;
	*s = (struct seg_scan){ .image = str_head(image, head.size),
		                .head = head,
		                .at = JOURNAL_BLOCK,
		                .next = head.first_batch };
	return 1;
}

/* The batch at an offset of the image with a number of at least `least`: NULL and *ret, or why not. */
static const char *batch_at(const struct seg_scan *s, size_t at, uint64_t least,
                            struct batch *ret) {
	struct str rest = str_from(s->image, at);
	struct rd r = rd_of(rest);
	struct batch_head h;

	if (rest.n < JOURNAL_BLOCK)
		return "end of segment";
	uint32_t magic = rd_u32(&r);

	h.payload_len = rd_u32(&r);
	h.number = rd_u64(&r);
	h.durable_upto = rd_u64(&r);
	h.mono_ns = rd_u64(&r);
	struct str salt = rd_bytes(&r, JOURNAL_ID_SIZE);

	h.frames = rd_u32(&r);
	uint64_t zero = rd_u64(&r);
	uint32_t crc = rd_u32(&r);

	if (magic != JOURNAL_BATCH_MAGIC)
		return is_zero(str_head(rest, JOURNAL_BLOCK)) ? "zeros" : "magic";
	if (memcmp(salt.p, s->head.salt, JOURNAL_ID_SIZE) != 0)
		return "another use";
	if (h.payload_len > rest.n || batch_size(h.payload_len) > rest.n || zero != 0)
		return "length";
	if (crc !=
	    crc32c(crc32c(0, rest.p, BATCH_CRC_AT), rest.p + JOURNAL_BATCH_HEAD, h.payload_len))
		return "crc";
	if (h.number < least)
		return "number";
	size_t used = JOURNAL_BATCH_HEAD + h.payload_len;

	if (!is_zero(str_mem(rest.p + used, batch_size(h.payload_len) - used)))
		return "padding";
	memcpy(h.salt, salt.p, JOURNAL_ID_SIZE);
	*ret = (struct batch){ .head = h,
		               .payload = str_mem(rest.p + JOURNAL_BATCH_HEAD, h.payload_len),
		               .offset = at };
	return NULL;
}

int seg_scan_next(struct seg_scan *s, struct batch *ret) {
	struct batch b;

	if (batch_at(s, s->at, s->next, &b) != NULL || b.head.number != s->next)
		return 0;
	s->at += batch_size(b.head.payload_len);
	s->next++;
	*ret = b;
	return 1;
}

int seg_scan_beyond(const struct seg_scan *s, struct batch *ret) {
	for (size_t at = s->at; at + JOURNAL_BLOCK <= s->image.n; at += JOURNAL_BLOCK) {
		if (batch_at(s, at, s->next, ret) == NULL)
			return 1;
	}
	return 0;
}

const char *seg_scan_why(const struct seg_scan *s) {
	struct batch b = { 0 };
	const char *why = batch_at(s, s->at, s->next, &b);

	if (why != NULL)
		return why;
	return b.head.number != s->next ? "number" : "valid";
}
