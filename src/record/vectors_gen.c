/*
 * vectors_gen.c: makes the test vectors.
 *
 * Everything comes from fixed inputs, so that the file is the same on each machine. The compressed
 * body is put together by hand from a raw block and a run-length block, because what a compressor
 * chooses changes with its version. One array per kind of vector, one vector per line.
 */
#include "record/vectors.h"

#include "base/json.h"
#include "record/frame.h"
#include "record/journal_format.h"
#include "record/tlog.h"

static const uint8_t salt[FRAME_SALT_SIZE] = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
	                                       0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };
static const uint8_t sid[SID_SIZE] = { 0x01, 0x92, 0x2a, 0x77, 0x10, 0x20, 0x70, 0x30,
	                               0x80, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07 };

static struct jw line(struct buf *b, bool is_first) {
	struct jw j = jw_of(b);

	w_bytes(b, is_first ? STR("\n    ") : STR(",\n    "));
	jw_obj(&j);
	return j;
}

static void kv_hex(struct jw *j, const char *key, struct str s) {
	char *hex = xmalloc(2 * s.n + 1);

	hex_encode(hex, s.p, s.n);
	jw_kv_z(j, key, hex);
	free(hex);
}

static void kv_hash(struct jw *j, const char *key, const uint8_t hash[SHA256_SIZE]) {
	kv_hex(j, key, str_mem(hash, SHA256_SIZE));
}

/* --- frames --- */

static struct frame_head head_of(uint8_t kind, uint64_t frame_no) {
	struct frame_head h = { .kind = kind,
		                .ring = 2,
		                .frame_no = frame_no,
		                .first_seq = 1 + 10 * frame_no,
		                .wall_ns = 1763706000123456789,
		                .mono_ns = 86400000000000,
		                .slot = 5,
		                .generation = 3,
		                .part = 0 };

	memcpy(h.sid, sid, SID_SIZE);
	return h;
}

static void put_frame(struct buf *b, const char *name, const struct frame_head *h,
                      const uint8_t *frame, struct str raw) {
	struct jw j = line(b, str_is(str_of(name), "open"));
	uint8_t leaf[SHA256_SIZE];

	jw_kv_z(&j, "name", name);
	jw_kv_z(&j, "kind", frame_kind_name(h->kind));
	jw_kv_u64(&j, "flags", h->flags);
	kv_hex(&j, "sid", str_mem(h->sid, SID_SIZE));
	jw_kv_u64(&j, "frame_no", h->frame_no);
	jw_kv_u64(&j, "first_seq", h->first_seq);
	jw_kv_u64(&j, "n_events", h->n_events);
	jw_kv_u64(&j, "part", h->part);
	kv_hash(&j, "command_root", h->command_root);
	kv_hash(&j, "body_hash", h->body_hash);
	frame_leaf(leaf, frame);
	kv_hash(&j, "leaf", leaf);
	kv_hex(&j, "raw", raw);
	kv_hex(&j, "frame", str_mem(frame, FRAME_HEAD_SIZE + h->body_len));
	jw_obj_end(&j);
}

static void json_frame(struct buf *b, const char *name, struct frame_head h, const char *json) {
	struct frame_codec *c = frame_codec_new();
	uint8_t out[1024];
	struct buf raw;

	buf_init(&raw, 1024);
	w_bytes(&raw, str_mem(salt, sizeof(salt)));
	w_bytes(&raw, str_of(json));
	if (frame_encode(c, &h, buf_peek(&raw), out, sizeof(out)) < 0)
		abort();
	put_frame(b, name, &h, out, buf_peek(&raw));
	buf_fini(&raw);
	frame_codec_free(&c);
}

static struct rec_command command_of(const char *verb) {
	struct rec_command c = { .kind = 1,
		                 .status = 1,
		                 .c_off = 5,
		                 .c_len = 300,
		                 .text_off = 9,
		                 .text_len = 120,
		                 .t_off = 7,
		                 .t_len = 65536,
		                 .rows = 1,
		                 .row_bytes = 0,
		                 .received_dt = -1500,
		                 .done_dt = 2500 };

	c.verb = str_of(verb);
	(void)str_copy(c.sqlstate, sizeof(c.sqlstate), STR("40001"));
	sha256(c.text_sha256, STR("update t set a = 1"));
	return c;
}

/* One event of each type. Returns how many. */
static void all_events(struct frame_builder *f) {
	static const uint64_t streams[4] = { 1, 128, 16384, 1u << 31 };
	struct rec_command c = command_of("UPDATE");
	struct rec_event hidden = { .why = 2, .offset = 308, .length = 12 };
	struct rec_event rows = { .offset = 70002, .length = 20000, .rows = 200 };
	struct buf p;
	int rc = 0;
	uint64_t t = 86399999000000;

	memset(hidden.mac, 0xa5, sizeof(hidden.mac));
	memset(rows.digest, 0x5a, sizeof(rows.digest));
	buf_init(&p, 4096);
#define ADD(type, stream, call) \
	buf_clear(&p); \
	call; \
	rc |= frame_builder_add(f, type, stream, t += 1000, buf_peek(&p))
	ADD(REC_RAW, 0, rec_put_raw(&p, 300, STR("select 1")));
	ADD(REC_DROPPED, 2, rec_put_why(&p, 5, 70000, STR("\x01\x02")));
	ADD(REC_REDACTED, 0, rec_put_redacted(&p, 2, 40, 64));
	ADD(REC_INJECTED, 1, rec_put_why(&p, 1, 0, STR("hello")));
	ADD(REC_FORWARDED, 1, rec_put_forwarded(&p, 308));
	ADD(REC_COMMAND, 0, rec_put_command(&p, &c));
	ADD(REC_FACT, 3, rec_put_fact(&p, STR("tls.version"), STR("TLSv1.3")));
	c = command_of("");
	c.sqlstate[0] = '\0';
	ADD(REC_COMMAND, 0, rec_put_command(&p, &c));
	ADD(REC_HIDDEN, 0, rec_put_hidden(&p, &hidden));
	ADD(REC_DIGEST, 2, rec_put_digest(&p, &rows));
	rows.offset += rows.length;
	ADD(REC_WITHHELD, 2, rec_put_withheld(&p, &rows));
	ADD(REC_END, 0, rec_put_end(&p, -25, STR("closed"), streams));
#undef ADD
	if (rc != 0)
		abort();
	buf_fini(&p);
}

static void data_frame(struct buf *b, const char *name, uint64_t frame_no, const uint8_t *key) {
	struct frame_codec *c = frame_codec_new();
	struct frame_head h = head_of(FRAME_DATA, frame_no);
	struct frame_builder f;
	uint8_t out[1024];

	frame_builder_init(&f);
	all_events(&f);
	struct str raw = frame_builder_finish(&f, &h, salt);

	if (key != NULL) {
		h.suite = FRAME_SUITE_AES_256_GCM;
		h.key_epoch = 1;
		frame_codec_key(c, key);
	}
	if (frame_encode(c, &h, raw, out, sizeof(out)) < 0)
		abort();
	put_frame(b, name, &h, out, raw);
	frame_builder_fini(&f);
	frame_codec_free(&c);
}

/* salt in a raw block, then 2,000 × 'a' in a run-length block. */
static void compressed_frame(struct buf *b) {
	static const uint8_t zstd_head[] = { 0x28, 0xb5, 0x2f, 0xfd, /* magic */
		                             0x60, 0xe0, 0x06, /* single segment, u16 size - 256 */
		                             0x80, 0x00, 0x00 /* raw block of 16 */ };
	static const uint8_t rle[] = { 0x83, 0x3e, 0x00, 'a' }; /* last block, run of 2,000 */
	struct frame_head h = head_of(FRAME_FACT, 4);
	uint8_t out[FRAME_HEAD_SIZE + 64], raw[2016], *body = out + FRAME_HEAD_SIZE;

	memcpy(body, zstd_head, sizeof(zstd_head));
	memcpy(body + sizeof(zstd_head), salt, sizeof(salt));
	memcpy(body + sizeof(zstd_head) + sizeof(salt), rle, sizeof(rle));
	memcpy(raw, salt, sizeof(salt));
	memset(raw + sizeof(salt), 'a', sizeof(raw) - sizeof(salt));
	h.flags = FRAME_COMPRESSED;
	h.raw_len = sizeof(raw);
	h.body_len = sizeof(zstd_head) + sizeof(salt) + sizeof(rle);
	memcpy(h.command_root, tree_empty_root, SHA256_SIZE);
	frame_put_head(&h, out);
	put_frame(b, "compressed", &h, out, str_mem(raw, sizeof(raw)));
}

static const uint8_t key[FRAME_KEY_SIZE] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static void frames(struct buf *b) {
	struct frame_head h = head_of(FRAME_CLOSE, 6);

	json_frame(b, "open", head_of(FRAME_OPEN, 0), "{\"format\":1,\"protocol\":\"postgres\"}");
	data_frame(b, "data", 1, NULL);
	data_frame(b, "encrypted", 2, key);
	compressed_frame(b);
	json_frame(b, "gap", head_of(FRAME_GAP, 5),
	           "{\"reason\":\"recorder\",\"after_seq\":50,\"lost\":null}");
	h.flags = FRAME_LAST | FRAME_RECOVERED;
	json_frame(
		b, "close", h,
		"{\"reason\":\"recovered\",\"code\":-12,\"events\":9,\"frames\":7,\"commands\":2,"
		"\"streams\":[1,2,3,4],\"gap\":true}");
}

/* --- events and commands --- */

static void event_rows(struct buf *b) {
	struct frame_builder f;
	struct frame_head h = head_of(FRAME_DATA, 1);
	struct frame_walk w;
	struct rec_event e;
	bool is_first = true;

	frame_builder_init(&f);
	all_events(&f);
	struct str raw = frame_builder_finish(&f, &h, salt);

	if (frame_walk_begin(&w, &h, raw) < 0)
		abort();
	for (; frame_walk_next(&w, &e) > 0; is_first = false) {
		struct jw j = line(b, is_first);

		jw_kv_z(&j, "type", rec_type_name(e.type));
		jw_kv_u64(&j, "stream", e.flags);
		jw_kv_u64(&j, "seq", e.seq);
		jw_kv_u64(&j, "mono_ns", e.mono_ns);
		jw_kv_u64(&j, "why", e.why);
		jw_kv_u64(&j, "offset", e.offset);
		jw_kv_u64(&j, "length", e.length);
		kv_hex(&j, "bytes", e.bytes);
		kv_hex(&j, "name", e.name);
		jw_kv_i64(&j, "code", e.code);
		jw_kv_u64(&j, "rows", e.type == REC_COMMAND ? e.command.rows : e.rows);
		jw_kv_i64(&j, "done_dt", e.command.done_dt);
		kv_hex(&j, "after_len", w.event);
		jw_obj_end(&j);
	}
	frame_builder_fini(&f);
}

static void commands(struct buf *b) {
	for (uint32_t i = 0; i < 3; i++) {
		struct jw j = line(b, i == 0);
		uint8_t leaf[SHA256_SIZE];
		struct str event = str_head(STR("\x06\x00\x01"
		                                "event"),
		                            3 + i);

		frame_command_leaf(leaf, salt, i, event);
		kv_hex(&j, "salt", str_mem(salt, sizeof(salt)));
		jw_kv_u64(&j, "i", i);
		kv_hex(&j, "event", event);
		kv_hash(&j, "leaf", leaf);
		jw_obj_end(&j);
	}
}

/* --- journal --- */

static void segments(struct buf *b) {
	struct seg_head h = { .size = 65536,
		              .number = 7,
		              .wall_ns = 1763706000123456789,
		              .first_batch = 1000,
		              .first_leaf = 33 };
	uint8_t block[JOURNAL_BLOCK];
	struct jw j = line(b, true);

	memset(h.node, 0x11, sizeof(h.node));
	memset(h.salt, 0x22, sizeof(h.salt));
	seg_head_encode(block, &h);
	jw_kv_u64(&j, "size", h.size);
	jw_kv_u64(&j, "number", h.number);
	kv_hex(&j, "node", str_mem(h.node, sizeof(h.node)));
	kv_hex(&j, "salt", str_mem(h.salt, sizeof(h.salt)));
	jw_kv_u64(&j, "wall_ns", h.wall_ns);
	jw_kv_u64(&j, "first_batch", h.first_batch);
	jw_kv_u64(&j, "first_leaf", h.first_leaf);
	kv_hex(&j, "head", str_mem(block, JOURNAL_SEGMENT_HEAD));
	jw_obj_end(&j);
}

static void batches(struct buf *b) {
	for (uint32_t n = 0; n < 2; n++) {
		struct batch_head h = { .payload_len = n * 10,
			                .frames = n,
			                .number = 1000 + n,
			                .durable_upto = 999 + n,
			                .mono_ns = 86400000000000 };
		uint8_t block[JOURNAL_BLOCK];
		struct jw j = line(b, n == 0);

		memset(h.salt, 0x22, sizeof(h.salt));
		memset(block + JOURNAL_BATCH_HEAD, 'p', h.payload_len);
		(void)batch_finish(block, &h);
		jw_kv_u64(&j, "number", h.number);
		jw_kv_u64(&j, "durable_upto", h.durable_upto);
		jw_kv_u64(&j, "mono_ns", h.mono_ns);
		jw_kv_u64(&j, "frames", h.frames);
		kv_hex(&j, "salt", str_mem(h.salt, sizeof(h.salt)));
		kv_hex(&j, "payload", str_mem(block + JOURNAL_BATCH_HEAD, h.payload_len));
		kv_hex(&j, "batch", str_mem(block, JOURNAL_BATCH_HEAD + h.payload_len));
		jw_obj_end(&j);
	}
}

/* --- trees --- */

enum { TREE_N = 20 };

static void data_of(uint64_t i, char out[16]) {
	(void)snprintf(out, 16, "leaf%u", (unsigned)i);
}

/* tree_node_fn over the leaves of data_of(). */
static int node_of(unused_arg void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE]) {
	struct tree t;

	tree_init(&t);
	for (uint64_t i = index << level; i < (index + 1) << level; i++) {
		char data[16];
		uint8_t leaf[SHA256_SIZE];

		data_of(i, data);
		tree_leaf(leaf, str_of(data));
		tree_add(&t, leaf);
	}
	tree_root(&t, out);
	return 0;
}

static void root_of(uint64_t size, uint8_t out[SHA256_SIZE]) {
	if (tree_root_at(node_of, NULL, size, out) < 0)
		abort();
}

/* Leaf i is the text "leaf<i>"; the root of the first n of them. */
static void trees(struct buf *b) {
	for (uint64_t n = 0; n <= TREE_N; n++) {
		struct jw j = line(b, n == 0);
		uint8_t root[SHA256_SIZE];

		root_of(n, root);
		jw_kv_u64(&j, "size", n);
		kv_hash(&j, "root", root);
		jw_obj_end(&j);
	}
}

static void put_proof(struct jw *j, const struct tree_proof *p) {
	jw_key(j, "proof");
	jw_arr(j);
	for (size_t i = 0; i < p->count; i++) {
		char hex[2 * SHA256_SIZE + 1];

		hex_encode(hex, p->hash[i], SHA256_SIZE);
		jw_str(j, str_of(hex));
	}
	jw_arr_end(j);
}

static const uint64_t proof_sizes[][2] = { { 0, 1 },  { 0, 8 },  { 5, 7 },   { 6, 7 },  { 3, 8 },
	                                   { 8, 13 }, { 7, 20 }, { 16, 20 }, { 19, 20 } };

static void inclusions(struct buf *b) {
	for (size_t i = 0; i < ARRAY_LEN(proof_sizes); i++) {
		struct jw j = line(b, i == 0);
		struct tree_proof p;
		uint8_t root[SHA256_SIZE], leaf[SHA256_SIZE];
		uint64_t index = proof_sizes[i][0], size = proof_sizes[i][1];

		root_of(size, root);
		if (node_of(NULL, 0, index, leaf) < 0 ||
		    tree_prove_inclusion(node_of, NULL, index, size, &p) < 0)
			abort();
		jw_kv_u64(&j, "index", index);
		jw_kv_u64(&j, "size", size);
		kv_hash(&j, "leaf", leaf);
		kv_hash(&j, "root", root);
		put_proof(&j, &p);
		jw_obj_end(&j);
	}
}

static void consistencies(struct buf *b) {
	for (size_t i = 0; i < ARRAY_LEN(proof_sizes); i++) {
		struct jw j = line(b, i == 0);
		struct tree_proof p;
		uint8_t root[SHA256_SIZE], old_root[SHA256_SIZE];
		uint64_t old = proof_sizes[i][0], size = proof_sizes[i][1];

		root_of(size, root);
		root_of(old, old_root);
		if (tree_prove_consistency(node_of, NULL, old, size, &p) < 0)
			abort();
		jw_kv_u64(&j, "old", old);
		jw_kv_u64(&j, "size", size);
		kv_hash(&j, "old_root", old_root);
		kv_hash(&j, "root", root);
		put_proof(&j, &p);
		jw_obj_end(&j);
	}
}

/* --- the log --- */

static void put_leaf_text(struct buf *b, bool is_first, struct str text) {
	struct jw j = line(b, is_first);

	jw_kv_str(&j, "text", text);
	jw_obj_end(&j);
}

static void log_leaves(struct buf *b) {
	struct tlog_leaf l = { .wall = 1763706000123456789,
		               .node = { 1, 2, 3 },
		               .batch = 17,
		               .part = 1,
		               .first = 12,
		               .frames = 30,
		               .parts = 2,
		               .after_seq = 99,
		               .gap = true,
		               .boot = STR("b0071"),
		               .version = STR("0.1.0"),
		               .reason = STR("client") };
	struct buf text;

	memcpy(l.sid, sid, SID_SIZE);
	memset(l.hash, 0x5a, sizeof(l.hash));
	buf_init(&text, 4096);
	for (unsigned type = TLOG_BOOT; type <= TLOG_STOP; type++) {
		buf_clear(&text);
		l.type = (enum tlog_type)type;
		if (l.type == TLOG_HEAD) {
			tlog_head_begin(&text, l.wall, l.batch);
			tlog_head_add(&text, sid, 29, l.hash);
			tlog_head_add(&text, frame_log_sid, 1, tree_empty_root);
			tlog_head_end(&text);
		} else {
			tlog_put_leaf(&text, &l);
		}
		put_leaf_text(b, type == TLOG_BOOT, buf_peek(&text));
	}
	buf_fini(&text);
}

static void bad_log_leaves(struct buf *b) {
	static const char *const bad[] = {
		"{\"t\":\"stop\",\"wall\":01,\"boot\":\"b\",\"batch\":1}",
		"{\"t\":\"stop\",\"wall\":1, \"boot\":\"b\",\"batch\":1}",
		"{\"t\":\"stop\",\"boot\":\"b\",\"wall\":1,\"batch\":1}",
		"{\"t\":\"stop\",\"wall\":1,\"boot\":\"b\",\"batch\":18446744073709551616}",
		"{\"t\":\"stop\",\"wall\":1,\"boot\":\"b\",\"batch\":-1}",
		"{\"t\":\"stop\",\"wall\":1,\"boot\":\"b\",\"batch\":1,\"x\":1}",
		"{\"t\":\"stop\",\"wall\":1,\"boot\":\"b\\\\\",\"batch\":1}",
		"{\"t\":\"stop\",\"wall\":1,\"boot\":\"b\",\"batch\":1}\n",
		"{\"t\":\"start\",\"wall\":1,\"boot\":\"b\",\"batch\":1}",
		"{\"t\":\"head\",\"wall\":1,\"batch\":2,\"grew\":[]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		put_leaf_text(b, i == 0, str_of(bad[i]));
}

static void paths(struct buf *b) {
	static const struct {
		unsigned level, width;
		uint64_t n;
	} rows[] = { { 0, 256, 0 },          { 0, 5, 0 },         { 1, 256, 999 },
		     { 0, 255, 1000 },       { 2, 256, 1234067 }, { TLOG_ENTRIES, 256, 1234067 },
		     { TLOG_ENTRIES, 1, 12 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct jw j = line(b, i == 0);
		char path[TLOG_PATH_MAX];

		tlog_tile_path(path, rows[i].level, rows[i].n, rows[i].width);
		if (rows[i].level == TLOG_ENTRIES)
			jw_kv_z(&j, "level", "entries");
		else
			jw_kv_u64(&j, "level", rows[i].level);
		jw_kv_u64(&j, "n", rows[i].n);
		jw_kv_u64(&j, "width", rows[i].width);
		jw_kv_z(&j, "path", path);
		jw_obj_end(&j);
	}
}

static void put_note(struct buf *b, bool is_first, struct str vkey, struct str note,
                     const char *verdict) {
	struct jw j = line(b, is_first);

	jw_kv_str(&j, "vkey", vkey);
	jw_kv_str(&j, "note", note);
	jw_kv_z(&j, "verdict", verdict);
	jw_obj_end(&j);
}

/* One that holds (the vector of another implementation, seed 32 × 0x01), then ones that must not. */
static void checkpoints(struct buf *b) {
	struct tlog_checkpoint c = { .origin = STR("record.example/gw1"), .size = 3 };
	uint8_t seed[ED25519_SEED_SIZE], pub[ED25519_PUB_SIZE];
	char vkey[TLOG_VKEY_TEXT_MAX];
	struct tlog_vkey k;
	struct buf note;

	memset(seed, 1, sizeof(seed));
	ed25519_public(pub, seed);
	root_of(3, c.root);
	if (tlog_vkey_init(&k, c.origin, pub) < 0)
		abort();
	tlog_vkey_print(vkey, &k);
	buf_init(&note, 4096);
	tlog_checkpoint_sign(&note, &c, seed);
	put_note(b, true, str_of(vkey), buf_peek(&note), "good");
	struct str good = buf_peek(&note);
	char *copy = str_dup(good);

	copy[sizeof("record.example/gw1\n3\n8a7QaeG3nF8SGT5xUFnEaO/xVZpcmJxtfEa8KfT4T2") - 2] = '3';
	put_note(b, false, str_of(vkey), str_of(copy), "signature");
	memcpy(copy, good.p, good.n);
	copy[good.n - 3]++; /* unused bits of the last group */
	put_note(b, false, str_of(vkey), str_of(copy), "malformed");
	w_bytes(&note, STR("\xe2\x80\x94 witness.example/w AAAAAQAAAAA=\n"));
	put_note(b, false, str_of(vkey), buf_peek(&note), "good");
	buf_clear(&note);
	seed[0] = 2;
	tlog_checkpoint_sign(&note, &c, seed);
	put_note(b, false, str_of(vkey), buf_peek(&note), "unknown key");
	free(copy);
	buf_fini(&note);
}

static void crcs(struct buf *b) {
	static const char *const inputs[] = { "", "123456789", "a journal batch" };

	for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
		struct jw j = line(b, i == 0);

		jw_kv_z(&j, "data", inputs[i]);
		jw_kv_u64(&j, "crc32c", crc32c(0, inputs[i], strlen(inputs[i])));
		jw_obj_end(&j);
	}
}

void vectors_write(struct buf *b) {
	static const struct {
		const char *name;
		void (*fn)(struct buf *b);
	} kinds[] = { { "crc", crcs },
		      { "frames", frames },
		      { "events", event_rows },
		      { "command_leaves", commands },
		      { "segments", segments },
		      { "batches", batches },
		      { "trees", trees },
		      { "inclusion", inclusions },
		      { "consistency", consistencies },
		      { "log_leaves", log_leaves },
		      { "bad_log_leaves", bad_log_leaves },
		      { "paths", paths },
		      { "checkpoints", checkpoints } };
	char hex[2 * FRAME_KEY_SIZE + 1];

	hex_encode(hex, key, sizeof(key));
	w_fmt(b, "{\n  \"format\": 1,\n  \"frame_key\": \"%s\"", hex);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		w_fmt(b, ",\n  \"%s\": [", kinds[i].name);
		kinds[i].fn(b);
		w_bytes(b, STR("\n  ]"));
	}
	w_bytes(b, STR("\n}\n"));
}
