/*
 * tlog_note.c: verifier keys and signed checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).
 *
 *   <origin>\n<size>\n<base64 root>\n            the text that is signed, to the last \n
 *   \n
 *   — <name> <base64(key id ‖ signature)>\n      one line per signature, ours and witnesses'
 *
 * Strict on purpose: canonical base64 and numbers, no extension lines, exactly one line of our key.
 * A lenient parser would let two different files claim the same signature.
 */
#include "base/mem.h"
#include "record/tlog.h"

static const char dash[] = "\xe2\x80\x94 "; /* U+2014 and a space */
enum { ALG_ED25519 = 1, KEY_ID = 4, BLOB_MAX = 4096, ROOT_TEXT = 44 };

static bool is_name(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '+' || s.p[i] == 0x7f)
			return false;
	}
	return s.n != 0 && s.n <= TLOG_ORIGIN_MAX && str_utf8_bad(s) == s.n;
}

int tlog_vkey_init(struct tlog_vkey *k, struct str origin, const uint8_t pub[ED25519_PUB_SIZE]) {
	uint8_t hash[SHA256_SIZE];
	const struct str parts[] = { origin, STR("\n\x01"), str_mem(pub, ED25519_PUB_SIZE) };

	if (!is_name(origin))
		return H_EFORMAT;
	*k = (struct tlog_vkey){ 0 };
	if (!str_copy(k->name, sizeof(k->name), origin))
		return H_EFORMAT;
	sha256_parts(hash, parts, ARRAY_LEN(parts));
	memcpy(k->key_id, hash, KEY_ID);
	memcpy(k->pub, pub, ED25519_PUB_SIZE);
	return 0;
}

int tlog_vkey_parse(struct tlog_vkey *k, struct str text) {
	struct str rest = text;
	struct str name = str_cut(&rest, '+');
	struct str id_text = str_cut(&rest, '+');
	uint8_t id[KEY_ID], key[1 + ED25519_PUB_SIZE];
	struct tlog_vkey got;

	if (hex_decode(id, sizeof(id), id_text) != KEY_ID)
		return H_EFORMAT;
	if (base64_decode(key, sizeof(key), rest) != (int)sizeof(key) || key[0] != ALG_ED25519)
		return H_EFORMAT;
	if (tlog_vkey_init(&got, name, key + 1) < 0 || memcmp(got.key_id, id, KEY_ID) != 0)
		return H_EFORMAT;
	*k = got;
	return 0;
}

void tlog_vkey_print(char out[TLOG_VKEY_TEXT_MAX], const struct tlog_vkey *k) {
	uint8_t key[1 + ED25519_PUB_SIZE] = { ALG_ED25519 };
	char id[2 * KEY_ID + 1], base64[ROOT_TEXT + 1];

	memcpy(key + 1, k->pub, ED25519_PUB_SIZE);
	hex_encode(id, k->key_id, KEY_ID);
	(void)base64_encode(base64, key, sizeof(key));
	(void)snprintf(out, TLOG_VKEY_TEXT_MAX, "%s+%s+%s", k->name, id, base64);
}

void tlog_checkpoint_text(struct buf *b, const struct tlog_checkpoint *c) {
	char root[ROOT_TEXT + 1];

	assert(is_name(c->origin));
	(void)base64_encode(root, c->root, SHA256_SIZE);
	w_bytes(b, c->origin);
	w_fmt(b, "\n%llu\n%s\n", (unsigned long long)c->size, root);
}

void tlog_checkpoint_sign(struct buf *b, const struct tlog_checkpoint *c,
                          const uint8_t seed[ED25519_SEED_SIZE]) {
	uint8_t pub[ED25519_PUB_SIZE], blob[KEY_ID + ED25519_SIG_SIZE];
	char base64[4 * ((sizeof(blob) + 2) / 3) + 1];
	struct tlog_vkey k;
	struct buf text;

	buf_init(&text, TLOG_CHECKPOINT_MAX);
	tlog_checkpoint_text(&text, c);
	ed25519_public(pub, seed);
	int rc = tlog_vkey_init(&k, c->origin, pub);

	assert(rc == 0 && !text.bad);
	memcpy(blob, k.key_id, KEY_ID);
	ed25519_sign(blob + KEY_ID, seed, buf_peek(&text));
	(void)base64_encode(base64, blob, sizeof(blob));
	w_bytes(b, buf_peek(&text));
	w_fmt(b, "\n%s%s %s\n", dash, k.name, base64);
	buf_fini(&text);
}

/* Takes one line with its \n off the text; false when there is none. */
static bool take_line(struct str *rest, struct str *line) {
	size_t n = str_find(*rest, '\n');

	if (n == rest->n)
		return false;
	*line = str_head(*rest, n);
	*rest = str_from(*rest, n + 1);
	return true;
}

struct signature {
	struct str name;
	uint8_t blob[BLOB_MAX];
	int len;
};

static bool parse_signature(struct signature *s, struct str line) {
	struct str rest = str_from(line, sizeof(dash) - 1);

	if (!str_starts(line, str_of(dash)))
		return false;
	s->name = str_cut(&rest, ' ');
	s->len = base64_decode(s->blob, sizeof(s->blob), rest);
	return is_name(s->name) && s->len > KEY_ID;
}

static bool check_signatures(struct str lines) {
	struct signature s;
	struct str line;

	if (lines.n == 0)
		return false;
	while (lines.n != 0) {
		if (!take_line(&lines, &line) || !parse_signature(&s, line))
			return false;
	}
	return true;
}

int tlog_checkpoint_parse(struct tlog_checkpoint *c, struct str note, struct str *ret_text,
                          struct str *ret_lines) {
	struct str rest = note, origin, size, root, blank;
	struct tlog_checkpoint got = { 0 };

	if (note.n > TLOG_CHECKPOINT_MAX || !take_line(&rest, &origin) ||
	    !take_line(&rest, &size) || !take_line(&rest, &root))
		return H_EFORMAT;
	struct str text = str_head(note, note.n - rest.n);

	if (!take_line(&rest, &blank) || blank.n != 0 || !is_name(origin) || root.n != ROOT_TEXT)
		return H_EFORMAT;
	if (str_u64(size, TREE_SIZE_MAX, &got.size) < 0 || (size.n > 1 && size.p[0] == '0') ||
	    base64_decode(got.root, sizeof(got.root), root) != SHA256_SIZE)
		return H_EFORMAT;
	if (!check_signatures(rest))
		return H_EFORMAT;
	got.origin = origin;
	*c = got;
	*ret_text = text;
	*ret_lines = rest;
	return 0;
}

int tlog_checkpoint_open(struct tlog_checkpoint *c, struct str note, const struct tlog_vkey *k) {
	struct tlog_checkpoint got;
	struct signature s, ours = { .len = 0 };
	struct str text, lines, line;
	int rc = tlog_checkpoint_parse(&got, note, &text, &lines);

	if (rc < 0)
		return rc;
	while (take_line(&lines, &line)) {
		bool is_ours = parse_signature(&s, line) && str_is(s.name, k->name) &&
		               memcmp(s.blob, k->key_id, KEY_ID) == 0;

		if (is_ours && ours.len != 0)
			return H_EFORMAT;
		if (is_ours)
			ours = s;
	}
	if (ours.len == 0 || !str_is(got.origin, k->name))
		return H_ENOTFOUND;
	if (ours.len != KEY_ID + ED25519_SIG_SIZE ||
	    !ed25519_verify(ours.blob + KEY_ID, k->pub, text))
		return H_ETAMPERED;
	*c = got;
	return 0;
}
