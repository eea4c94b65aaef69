/*
 * sign.c: the log's key, and checkpoints.
 *
 * The key is a seed of 32 random bytes, base64 in <store>/keeper/log.key (0600), made at the first
 * start; the log's origin is "hansard/" and the first 8 hex digits of the node id. The keeper never
 * signs two trees that disagree: it keeps size and root of its last signature in state.db and wants
 * a consistency proof (RFC 6962 §2.1.2) from there to the next, which is on disk before the
 * signature leaves. A request that cannot be proven raises an alarm: the log was altered.
 *
 * From the seed also comes the key under which workers hash what they leave out of the record (HKDF,
 * RFC 5869): it is the same as long as the store lives, so equal secrets have equal hashes there.
 */
#include "keeper/keeper_priv.h"

static const char key_head[] = "hansard-log-key-v1 ";

static int key_parse(struct keeper *k, struct str text, struct err *e) {
	struct str head = str_of(key_head);

	text = str_trim(text);
	if (!str_starts(text, head) ||
	    base64_decode(k->seed, sizeof(k->seed), str_from(text, head.n)) != ED25519_SEED_SIZE)
		return err_set(e, H_EFORMAT,
		               "keeper/log.key is not a log key; restore it from a backup");
	return 0;
}

static int key_make(struct keeper *k, const char *path, struct err *e) {
	char text[sizeof(key_head) + 2 * ED25519_SEED_SIZE];
	struct signed_head last = { 0 };

	/* A key that is gone while the log goes on would look like another gateway's log. */
	if (state_signed_get(k->state, &last) == 0 && last.size != 0)
		return err_set(
			e, H_ENOTFOUND,
			"keeper/log.key is missing, but the log was signed before; restore it from "
			"a backup");
	random_bytes(k->seed, sizeof(k->seed));
	memcpy(text, key_head, sizeof(key_head));
	size_t n = sizeof(key_head) - 1;

	n += base64_encode(text + n, k->seed, sizeof(k->seed));
	text[n++] = '\n';
	int rc = file_write(path, str_mem(text, n), 0600, e);

	wipe(text, sizeof(text));
	return rc;
}

static int key_get(struct keeper *k, struct err *e) {
	auto_free char *path = xasprintf("%s/keeper/log.key", k->store);
	struct err reading = { 0 };
	size_t n = 0;

	char *text = config_file_read(path, 256, &n, &reading);

	if (text == NULL && reading.code == H_ENOTFOUND)
		return key_make(k, path, e);
	if (text == NULL)
		return err_set(e, reading.code, "%s", reading.text);
	int rc = key_parse(k, str_mem(text, n), e);

	wipe(text, n);
	free(text);
	return rc;
}

static void keys_make(struct keeper *k) {
	uint8_t prk[SHA256_SIZE];

	hmac_sha256(prk, STR("hansard/v1"), str_mem(k->seed, sizeof(k->seed)));
	hmac_sha256(k->hide_key, str_mem(prk, sizeof(prk)), STR("hidden bytes\x01"));
	hmac_sha256(k->prove_key, str_mem(prk, sizeof(prk)), STR("key ids\x01"));
	wipe(prk, sizeof(prk));
}

int sign_setup(struct keeper *k, struct err *e) {
	uint8_t pub[ED25519_PUB_SIZE];
	struct tlog_vkey vkey;
	char hex[9];
	int rc = state_meta_get(k->state, "node", k->node, sizeof(k->node));

	if (rc == H_ENOTFOUND) {
		random_bytes(k->node, sizeof(k->node));
		rc = state_meta_put(k->state, "node", k->node, sizeof(k->node));
	}
	if (rc < 0)
		return err_set(e, rc, "state.db: %s", h_err_text(rc));
	rc = key_get(k, e);
	if (rc < 0)
		return rc;
	hex_encode(hex, k->node, 4);
	(void)snprintf(k->origin, sizeof(k->origin), "hansard/%s", hex);
	ed25519_public(pub, k->seed);
	keys_make(k);
	rc = tlog_vkey_init(&vkey, str_of(k->origin), pub);
	if (rc < 0)
		return err_set(e, rc, "the log's name cannot be: %s", h_err_text(rc));
	tlog_vkey_print(k->vkey, &vkey);
	return 0;
}

struct ask {
	uint64_t size, old;
	uint8_t root[SHA256_SIZE];
	struct tree_proof proof;
};

static int ask_read(struct ask *a, struct str body) {
	struct rd r = rd_of(body);

	a->size = rd_u64(&r);
	struct str root = rd_bytes(&r, SHA256_SIZE);

	a->old = rd_u64(&r);
	a->proof.count = rd_u16(&r);
	if (a->proof.count > TREE_PROOF_MAX || a->size > TREE_SIZE_MAX)
		return H_EFORMAT;
	for (size_t i = 0; i < a->proof.count; i++) {
		struct str hash = rd_bytes(&r, SHA256_SIZE);

		if (hash.n == SHA256_SIZE)
			memcpy(a->proof.hash[i], hash.p, SHA256_SIZE);
	}
	if (root.n == SHA256_SIZE)
		memcpy(a->root, root.p, SHA256_SIZE);
	return rd_done(&r);
}

/* Does the asked tree continue what was signed last? */
static int may_sign(const struct ask *a, const struct signed_head *last) {
	if (a->size == last->size)
		return memcmp(a->root, last->root, SHA256_SIZE) == 0 ? 0 : H_ETAMPERED;
	if (last->size == 0)
		return 0;
	if (a->old != last->size)
		return a->size > last->size ? H_EBUSY : H_ETAMPERED;
	return tree_check_consistency(&a->proof, last->size, a->size, last->root, a->root)
	               ? 0
	               : H_ETAMPERED;
}

static int sign(struct keeper *k, struct str body, struct buf *note) {
	struct signed_head last = { 0 };
	struct ask a = { 0 };
	int rc = ask_read(&a, body);

	if (rc == 0)
		rc = state_signed_get(k->state, &last);
	if (rc < 0)
		return rc;
	rc = may_sign(&a, &last);
	if (rc == H_ETAMPERED)
		log_alarm("keeper.log.inconsistent", kv_uint("signed_size", last.size),
		          kv_uint("asked_size", a.size));
	if (rc < 0)
		return rc;
	struct signed_head next = { .size = a.size };

	memcpy(next.root, a.root, SHA256_SIZE);
	if (a.size != last.size)
		rc = state_signed_put(k->state, &next);
	if (rc < 0)
		return rc;
	struct tlog_checkpoint c = { .origin = str_of(k->origin), .size = a.size };

	memcpy(c.root, a.root, SHA256_SIZE);
	tlog_checkpoint_sign(note, &c, k->seed);
	k->signed_count++;
	return w_done(note);
}

void sign_on_ask(struct keeper *k, const struct ipc_msg *m) {
	struct buf note, b;

	buf_init(&note, TLOG_CHECKPOINT_MAX);
	buf_init(&b, IPC_MAX);
	int rc = sign(k, m->body, &note);

	if (rc < 0 && rc != H_ETAMPERED)
		log_error("keeper.checkpoint.failed", kv_err(rc));
	w_u32(&b, (uint32_t)rc);
	w_vstr(&b, rc == 0 ? buf_peek(&note) : STR_NONE);
	(void)chan_send(&k->chan[ROLE_RECORDER], IPC_SIGNED, m->id, buf_peek(&b));
	buf_fini(&note);
	buf_fini(&b);
}

void sign_on_last(struct keeper *k, const struct ipc_msg *m) {
	struct signed_head last = { 0 };
	struct buf b;
	int rc = state_signed_get(k->state, &last);

	if (rc < 0) {
		/* No answer: the recorder must not take "nothing was signed" for the truth. */
		log_alarm("keeper.state.failed", kv_z("what", "signed"), kv_err(rc));
		return;
	}
	buf_init(&b, 4096);
	w_u64(&b, last.size);
	w_bytes(&b, str_mem(last.root, SHA256_SIZE));
	w_vstr(&b, str_of(k->origin));
	w_vstr(&b, str_of(k->vkey));
	w_bytes(&b, str_mem(k->node, sizeof(k->node)));
	(void)chan_send(&k->chan[ROLE_RECORDER], IPC_LAST_SIGNED_IS, m->id, buf_peek(&b));
	buf_fini(&b);
}
