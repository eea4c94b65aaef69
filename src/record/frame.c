/*
 * frame.c: the frame header, stored bodies, and finding a frame in bytes.
 *
 * Encoding works in place: the body is compressed (or copied) behind the header's place in the
 * caller's buffer, encrypted where it lies, hashed, and the header is written last. A small frame
 * so costs one copy, one hash and one CRC; contexts live in struct frame_codec because creating
 * them costs more than using them.
 *
 * Parsing accepts what frame_encode() can have written and nothing else: kinds, flags, suites and
 * lengths that contradict each other are malformed even if the CRC fits. Lengths are checked
 * against their limits before anything is read or allocated by them.
 *
 * Invariants:
 * 1. raw_len <= FRAME_RAW_MAX; a compressed body is shorter than raw_len, any other is raw_len long
 *    (each plus the tag when encrypted).
 * 2. Decompression writes to a buffer of raw_len bytes and must fill it exactly.
 * 3. The nonce is the frame number under a key per session, so it never repeats.
 */
#include "record/frame.h"

#include <openssl/evp.h>
#include <zstd.h>

#include "base/mem.h"
#include "base/rd.h"
#include "record/tree.h"

enum { SKIP_PLAIN = 156, CRC_AT = 160, NONCE_SIZE = 12, COMPRESS_LEVEL = 1 };

const uint8_t frame_log_sid[SID_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static const struct {
	const char *name;
	bool in_tree;
} kinds[] = {
#define X(code, name, text, in_tree) [code] = { text, in_tree },
	FRAME_KINDS(X)
#undef X
};

const char *frame_kind_name(unsigned kind) {
	return kind < ARRAY_LEN(kinds) && kinds[kind].name != NULL ? kinds[kind].name : "?";
}

bool frame_in_tree(unsigned kind) {
	return kind < ARRAY_LEN(kinds) && kinds[kind].in_tree;
}

struct frame_codec {
	ZSTD_CCtx *zc;
	ZSTD_DCtx *zd;
	EVP_CIPHER *gcm;
	EVP_CIPHER_CTX *cipher;
	uint8_t *clear, *raw; /* FRAME_RAW_MAX each, on first use */
	uint8_t key[FRAME_KEY_SIZE];
	bool has_key;
};

struct frame_codec *frame_codec_new(void) {
	struct frame_codec *c = xcalloc(1, sizeof(*c));

	return c;
}

void frame_codec_free(struct frame_codec **c) {
	if (*c == NULL)
		return;
	(void)ZSTD_freeCCtx((*c)->zc);
	(void)ZSTD_freeDCtx((*c)->zd);
	EVP_CIPHER_CTX_free((*c)->cipher);
	EVP_CIPHER_free((*c)->gcm);
	if ((*c)->clear != NULL)
		wipe((*c)->clear, FRAME_RAW_MAX);
	free((*c)->clear);
	free((*c)->raw);
	wipe((*c)->key, sizeof((*c)->key));
	free(*c);
	*c = NULL;
}

void frame_codec_key(struct frame_codec *c, const uint8_t key[FRAME_KEY_SIZE]) {
	c->has_key = key != NULL;
	if (key != NULL)
		memcpy(c->key, key, FRAME_KEY_SIZE);
	else
		wipe(c->key, FRAME_KEY_SIZE);
}

static uint8_t *put16(uint8_t *p, uint16_t v) {
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v) {
	return put16(put16(p, (uint16_t)v), (uint16_t)(v >> 16));
}

static uint8_t *put64(uint8_t *p, uint64_t v) {
	return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static uint8_t *put_mem(uint8_t *p, const void *src, size_t n) {
	memcpy(p, src, n);
	return p + n;
}

/* A plain zstd body lies outside the skippable frame, so that zstd -dc finds it. */
static uint32_t skip_len(const struct frame_head *h) {
	bool is_plain_zstd = (h->flags & (FRAME_COMPRESSED | FRAME_ENCRYPTED)) == FRAME_COMPRESSED;

	return SKIP_PLAIN + (is_plain_zstd ? 0 : h->body_len);
}

/* Bytes 0 to 127. */
static uint8_t *put_fields(const struct frame_head *h, uint8_t *p) {
	p = put32(p, FRAME_MAGIC);
	p = put32(p, skip_len(h));
	p = put16(p, FRAME_VERSION);
	*p++ = h->kind;
	*p++ = h->flags;
	p = put32(p, h->body_len);
	p = put32(p, h->raw_len);
	p = put32(p, h->n_events);
	p = put_mem(p, h->sid, SID_SIZE);
	p = put64(p, h->frame_no);
	p = put64(p, h->first_seq);
	p = put64(p, h->wall_ns);
	p = put64(p, h->mono_ns);
	p = put16(p, h->ring);
	p = put16(p, 0);
	p = put32(p, h->slot);
	p = put32(p, h->generation);
	p = put32(p, h->part);
	p = put32(p, h->key_epoch);
	p = put32(p, h->suite);
	return put_mem(p, h->command_root, SHA256_SIZE);
}

void frame_put_head(struct frame_head *h, uint8_t *out) {
	uint8_t *body = out + FRAME_HEAD_SIZE;
	uint8_t *p = put_fields(h, out);

	assert(p == out + FRAME_AAD_SIZE);
	sha256(h->body_hash, str_mem(body, h->body_len));
	p = put_mem(p, h->body_hash, SHA256_SIZE);
	(void)put32(p, crc32c(crc32c(0, out, FRAME_HASHED_SIZE), body, h->body_len));
}

/* OpenSSL or zstd had no memory, or is broken: nothing that a caller could handle. */
static void must(bool ok) {
	if (!ok)
		abort();
}

static void cipher_setup(struct frame_codec *c) {
	if (c->cipher != NULL)
		return;
	c->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	c->cipher = EVP_CIPHER_CTX_new();
	must(c->gcm != NULL && c->cipher != NULL);
}

static void nonce_of(uint8_t nonce[NONCE_SIZE], uint64_t frame_no) {
	(void)put64(put32(nonce, 0), frame_no);
}

/* Encrypts h->body_len - tag bytes behind the header in place. */
static void encrypt(struct frame_codec *c, const struct frame_head *h, uint8_t *out) {
	uint8_t *body = out + FRAME_HEAD_SIZE;
	int n = (int)h->body_len - FRAME_TAG_SIZE, used = 0;
	uint8_t nonce[NONCE_SIZE];

	cipher_setup(c);
	nonce_of(nonce, h->frame_no);
	(void)put_fields(h, out);
	must(EVP_EncryptInit_ex2(c->cipher, c->gcm, c->key, nonce, NULL) == 1);
	must(EVP_EncryptUpdate(c->cipher, NULL, &used, out, FRAME_AAD_SIZE) == 1);
	must(EVP_EncryptUpdate(c->cipher, body, &used, body, n) == 1 && used == n);
	must(EVP_EncryptFinal_ex(c->cipher, body + n, &used) == 1 && used == 0);
	must(EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_AEAD_GET_TAG, FRAME_TAG_SIZE, body + n) == 1);
}

/* Bytes written to dst, or 0 when compression does not make the body shorter. */
static size_t compress(struct frame_codec *c, struct str raw, uint8_t *dst) {
	if (c->zc == NULL) {
		c->zc = ZSTD_createCCtx();
		must(c->zc != NULL);
	}
	size_t n = ZSTD_compressCCtx(c->zc, dst, raw.n - 1, raw.p, raw.n, COMPRESS_LEVEL);

	return ZSTD_isError(n) ? 0 : n;
}

static bool may_compress(const struct frame_head *h, struct str raw) {
	return raw.n >= FRAME_COMPRESS_MIN && frame_in_tree(h->kind);
}

int frame_encode(struct frame_codec *c, struct frame_head *h, struct str raw, uint8_t *out,
                 size_t cap) {
	size_t tag = h->suite == FRAME_SUITE_AES_256_GCM ? FRAME_TAG_SIZE : 0;
	uint8_t *body = out + FRAME_HEAD_SIZE;
	size_t stored = 0;

	assert(h->suite == FRAME_SUITE_NONE || (tag != 0 && c->has_key));
	if (raw.n > FRAME_RAW_MAX || cap < FRAME_HEAD_SIZE + raw.n + tag)
		return H_ELIMIT;
	h->flags = (uint8_t)(h->flags & ~(FRAME_COMPRESSED | FRAME_ENCRYPTED));
	if (may_compress(h, raw))
		stored = compress(c, raw, body);
	if (stored != 0)
		h->flags |= FRAME_COMPRESSED;
	else if (raw.n != 0)
		memcpy(body, raw.p, raw.n);
	h->raw_len = (uint32_t)raw.n;
	h->body_len = (uint32_t)((stored != 0 ? stored : raw.n) + tag);
	if (h->kind != FRAME_DATA)
		memcpy(h->command_root, tree_empty_root, SHA256_SIZE);
	if (tag != 0) {
		h->flags |= FRAME_ENCRYPTED;
		encrypt(c, h, out);
	}
	frame_put_head(h, out);
	return (int)(FRAME_HEAD_SIZE + h->body_len);
}

void frame_leaf(uint8_t out[SHA256_SIZE], const void *frame) {
	tree_leaf(out, str_mem(frame, FRAME_HASHED_SIZE));
}

/* Do kind, flags, suite and lengths fit together? */
static bool is_plausible(const struct frame_head *h) {
	bool is_encrypted = (h->flags & FRAME_ENCRYPTED) != 0;
	bool is_compressed = (h->flags & FRAME_COMPRESSED) != 0;
	size_t tag = is_encrypted ? FRAME_TAG_SIZE : 0;

	if (h->kind >= ARRAY_LEN(kinds) || kinds[h->kind].name == NULL || h->flags > FRAME_FLAGS)
		return false;
	if (h->suite != (is_encrypted ? FRAME_SUITE_AES_256_GCM : FRAME_SUITE_NONE) ||
	    (!is_encrypted && h->key_epoch != 0))
		return false;
	if (h->raw_len > FRAME_RAW_MAX || h->body_len < tag)
		return false;
	if (is_compressed ? h->body_len - tag >= h->raw_len : h->body_len - tag != h->raw_len)
		return false;
	if (((h->flags & FRAME_LAST) != 0) != (h->kind == FRAME_CLOSE))
		return false;
	if ((memcmp(h->sid, frame_log_sid, SID_SIZE) == 0) != (h->kind == FRAME_LOG))
		return false;
	if ((h->kind == FRAME_INDEX || h->kind == FRAME_TRAILER) && h->flags != 0)
		return false;
	return h->kind == FRAME_DATA || memcmp(h->command_root, tree_empty_root, SHA256_SIZE) == 0;
}

/* Fields after the version, up to the CRC; false when they cannot be. */
static bool read_fields(struct frame_head *h, struct rd *r, uint32_t skip) {
	h->kind = rd_u8(r);
	h->flags = rd_u8(r);
	h->body_len = rd_u32(r);
	h->raw_len = rd_u32(r);
	h->n_events = rd_u32(r);
	struct str sid = rd_bytes(r, SID_SIZE);

	h->frame_no = rd_u64(r);
	h->first_seq = rd_u64(r);
	h->wall_ns = rd_u64(r);
	h->mono_ns = rd_u64(r);
	h->ring = rd_u16(r);
	uint16_t zero = rd_u16(r);

	h->slot = rd_u32(r);
	h->generation = rd_u32(r);
	h->part = rd_u32(r);
	h->key_epoch = rd_u32(r);
	h->suite = rd_u32(r);
	struct str root = rd_bytes(r, SHA256_SIZE);
	struct str hash = rd_bytes(r, SHA256_SIZE);

	if (r->bad || zero != 0)
		return false;
	memcpy(h->sid, sid.p, SID_SIZE);
	memcpy(h->command_root, root.p, SHA256_SIZE);
	memcpy(h->body_hash, hash.p, SHA256_SIZE);
	return is_plausible(h) && skip == skip_len(h);
}

int frame_parse(struct frame *f, struct str in) {
	struct rd r = rd_of(in);
	struct frame got = { 0 };

	if (in.n < FRAME_HEAD_SIZE)
		return 0;
	uint32_t magic = rd_u32(&r), skip = rd_u32(&r);

	if (magic != FRAME_MAGIC)
		return H_EFORMAT;
	if (rd_u16(&r) != FRAME_VERSION)
		return H_EVERSION;
	if (!read_fields(&got.head, &r, skip))
		return H_EFORMAT;
	uint32_t crc = rd_u32(&r);
	size_t size = FRAME_HEAD_SIZE + got.head.body_len;

	if (in.n < size)
		return 0;
	got.bytes = str_head(in, size);
	got.body = str_from(got.bytes, FRAME_HEAD_SIZE);
	if (crc != crc32c(crc32c(0, in.p, FRAME_HASHED_SIZE), got.body.p, got.body.n))
		return H_EFORMAT;
	*f = got;
	return (int)size;
}

int frame_check_body(const struct frame *f) {
	uint8_t hash[SHA256_SIZE];

	sha256(hash, f->body);
	return memcmp(hash, f->head.body_hash, SHA256_SIZE) == 0 ? 0 : H_ETAMPERED;
}

static int decrypt(struct frame_codec *c, const struct frame *f, struct str *ret) {
	const uint8_t *body = (const uint8_t *)f->body.p;
	int n = (int)f->body.n - FRAME_TAG_SIZE, used = 0;
	uint8_t nonce[NONCE_SIZE], tag[FRAME_TAG_SIZE];

	if (!c->has_key)
		return H_EPERM;
	cipher_setup(c);
	if (c->clear == NULL)
		c->clear = xmalloc(FRAME_RAW_MAX);
	nonce_of(nonce, f->head.frame_no);
	memcpy(tag, body + n, FRAME_TAG_SIZE);
	must(EVP_DecryptInit_ex2(c->cipher, c->gcm, c->key, nonce, NULL) == 1);
	must(EVP_DecryptUpdate(c->cipher, NULL, &used, (const uint8_t *)f->bytes.p,
	                       FRAME_AAD_SIZE) == 1);
	must(EVP_DecryptUpdate(c->cipher, c->clear, &used, body, n) == 1 && used == n);
	must(EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_AEAD_SET_TAG, FRAME_TAG_SIZE, tag) == 1);
	if (EVP_DecryptFinal_ex(c->cipher, c->clear + n, &used) != 1)
		return H_ETAMPERED;
	*ret = str_mem(c->clear, (size_t)n);
	return 0;
}

/* One zstd frame that fills raw_len bytes exactly. */
static int decompress(struct frame_codec *c, struct str in, size_t raw_len, struct str *ret) {
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

	if (in.n < sizeof(magic) || memcmp(in.p, magic, sizeof(magic)) != 0 ||
	    ZSTD_findFrameCompressedSize(in.p, in.n) != in.n)
		return H_EFORMAT;
	if (c->zd == NULL) {
		c->zd = ZSTD_createDCtx();
		must(c->zd != NULL);
	}
	if (c->raw == NULL)
		c->raw = xmalloc(FRAME_RAW_MAX);
	assert(raw_len <= FRAME_RAW_MAX);
	size_t n = ZSTD_decompressDCtx(c->zd, c->raw, raw_len, in.p, in.n);

	if (ZSTD_isError(n) || n != raw_len)
		return H_EFORMAT;
	*ret = str_mem(c->raw, n);
	return 0;
}

int frame_raw(struct frame_codec *c, const struct frame *f, struct str *ret_raw) {
	struct str raw = f->body;
	int rc = 0;

	if ((f->head.flags & FRAME_ENCRYPTED) != 0)
		rc = decrypt(c, f, &raw);
	if (rc == 0 && (f->head.flags & FRAME_COMPRESSED) != 0)
		rc = decompress(c, raw, f->head.raw_len, &raw);
	if (rc == 0)
		*ret_raw = raw;
	return rc;
}

int frame_after_salt(struct str raw, struct str *ret) {
	if (raw.n < FRAME_SALT_SIZE)
		return H_ETRUNC;
	*ret = str_from(raw, FRAME_SALT_SIZE);
	return 0;
}

void frame_put_json(struct buf *raw, struct str json) {
	uint8_t salt[FRAME_SALT_SIZE];

	random_bytes(salt, sizeof(salt));
	w_bytes(raw, str_mem(salt, sizeof(salt)));
	w_bytes(raw, json);
}

void frame_put_index_row(struct buf *raw, const struct frame_index_row *row) {
	w_u64(raw, row->offset);
	w_u64(raw, row->first_seq);
	w_u64(raw, row->wall_ns);
}

static const char trailer_magic[8] = { 'H', 'S', 'D', 'E', 'N', 'D', '0', '1' };

void frame_put_trailer(struct buf *raw, const struct frame_trailer *t) {
	w_bytes(raw, str_mem(trailer_magic, sizeof(trailer_magic)));
	w_u64(raw, t->index_offset);
	w_u64(raw, t->first_frame);
	w_u64(raw, t->frames);
	w_u64(raw, t->bytes_before);
	w_bytes(raw, str_mem(t->root, SHA256_SIZE));
}

int frame_trailer_parse(struct frame_trailer *t, struct str raw) {
	struct rd r = rd_of(raw);
	struct frame_trailer got;
	struct str magic = rd_bytes(&r, sizeof(trailer_magic));

	got.index_offset = rd_u64(&r);
	got.first_frame = rd_u64(&r);
	got.frames = rd_u64(&r);
	got.bytes_before = rd_u64(&r);
	struct str root = rd_bytes(&r, SHA256_SIZE);
	int rc = rd_done(&r);

	if (rc < 0)
		return rc;
	if (!str_eq(magic, str_mem(trailer_magic, sizeof(trailer_magic))))
		return H_EFORMAT;
	memcpy(got.root, root.p, SHA256_SIZE);
	*t = got;
	return 0;
}
