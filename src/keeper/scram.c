/*
 * scram.c: RFC 5802 §3 and §5 with SHA-256 (scram.h).
 *
 * The server is foreign: its messages are split strictly (attributes in the RFC's order, nothing
 * optional), every length is bounded before bytes are copied (a long server nonce once overflowed
 * another pooler's client-final message: CVE-2026-6665), base64 must be canonical.
 * Extensions ("m=", and attributes behind "i=") are refused: none is defined for PostgreSQL.
 */
#include "keeper/scram.h"

#include "base/mem.h"

/* "c=" base64 of the header and a hash, ",r=" both nonces */
enum { BINDING_MAX = 24 + 64, WITHOUT_PROOF_MAX = BINDING_MAX / 3 * 4 + 4 + SCRAM_NONCE_MAX + 16 };

/* AuthMessage = client-first-bare "," server-first "," client-final-without-proof */
struct auth_parts {
	struct str first_bare, server_first, without_proof;
};

static void hmac_auth(uint8_t out[SHA256_SIZE], const uint8_t key[SHA256_SIZE],
                      const struct auth_parts *a) {
	char text[SCRAM_NONCE_MAX + SCRAM_MESSAGE_MAX + WITHOUT_PROOF_MAX + 8];
	int n = snprintf(text, sizeof(text), "%.*s,%.*s,%.*s", STR_ARG(a->first_bare),
	                 STR_ARG(a->server_first), STR_ARG(a->without_proof));

	assert(n > 0 && (size_t)n < sizeof(text));
	hmac_sha256(out, str_mem(key, SHA256_SIZE), str_mem(text, (size_t)n));
}

void scram_keys(struct scram_keys *k, struct str password, const struct scram_challenge *c) {
	uint8_t salted[SHA256_SIZE];

	pbkdf2_sha256(salted, password, str_mem(c->salt, c->salt_len), c->iterations);
	hmac_sha256(k->client_key, str_mem(salted, SHA256_SIZE), STR("Client Key"));
	hmac_sha256(k->server_key, str_mem(salted, SHA256_SIZE), STR("Server Key"));
	sha256(k->stored_key, str_mem(k->client_key, SHA256_SIZE));
	wipe(salted, sizeof(salted));
}

static const char *gs2_header(const struct scram *s) {
	switch (s->binding) {
	case SCRAM_UNBOUND:
		return "n,,";
	case SCRAM_NOT_OFFERED:
		return "y,,";
	case SCRAM_BOUND:
		return "p=tls-server-end-point,,";
	}
	return "n,,";
}

int scram_bind(struct scram *s, enum scram_binding binding, struct str end_point) {
	*s = (struct scram){ .binding = binding };
	if (binding != SCRAM_BOUND)
		return 0;
	if (end_point.n == 0 || end_point.n > sizeof(s->end_point))
		return H_EFORMAT;
	memcpy(s->end_point, end_point.p, end_point.n);
	s->end_point_len = end_point.n;
	return 0;
}

int scram_first(struct scram *s, struct str user, struct str nonce, struct buf *out) {
	s->both[0] = '\0';
	s->has_signature = false;
	if (nonce.n == 0 || !str_copy(s->nonce, sizeof(s->nonce), nonce) ||
	    str_find(nonce, ',') != nonce.n || user.n > 64 || str_find(user, ',') != user.n)
		return H_EFORMAT;
	(void)snprintf(s->first_bare, sizeof(s->first_bare), "n=%.*s,r=%s", STR_ARG(user),
	               s->nonce);
	w_fmt(out, "%s%s", gs2_header(s), s->first_bare);
	return w_done(out);
}

/* The next attribute must be `name=`; yields its value. */
static bool take(struct str *rest, char name, struct str *value) {
	struct str one = str_cut(rest, ',');

	if (one.n < 2 || one.p[0] != name || one.p[1] != '=')
		return false;
	*value = str_from(one, 2);
	return true;
}

static bool is_nonce(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
			return false;
	}
	return true;
}

static const char *challenge_wrong(const struct scram *s, struct str message,
                                   struct scram_challenge *c, struct str *ret_nonce) {
	struct str rest = message, nonce, salt, count;
	uint64_t iterations = 0;

	if (message.n > SCRAM_MESSAGE_MAX || !take(&rest, 'r', &nonce) ||
	    !take(&rest, 's', &salt) || !take(&rest, 'i', &count) || rest.n != 0 ||
	    message.p[message.n - 1] == ',')
		return "the server's first SCRAM message is malformed";
	if (nonce.n > SCRAM_NONCE_MAX || !is_nonce(nonce) || nonce.n <= strlen(s->nonce) ||
	    !str_starts(nonce, str_of(s->nonce)))
		return "the server's SCRAM nonce does not continue ours";
	if (str_u64(count, UINT32_MAX, &iterations) < 0 || iterations < SCRAM_ITERATIONS_MIN)
		return "the server asks for fewer than 4096 SCRAM iterations";
	if (iterations > SCRAM_ITERATIONS_MAX)
		return "the server asks for more than 100000 SCRAM iterations";
	int n = base64_decode(c->salt, sizeof(c->salt), salt);

	if (n <= 0)
		return "the server's SCRAM salt is malformed or over 64 bytes";
	c->salt_len = (size_t)n;
	c->iterations = (uint32_t)iterations;
	*ret_nonce = nonce;
	return NULL;
}

int scram_challenge(struct scram *s, struct str message, struct scram_challenge *ret,
                    const char **ret_why) {
	struct scram_challenge c = { 0 };
	struct str nonce = STR_NONE;

	*ret_why = challenge_wrong(s, message, &c, &nonce);
	if (*ret_why != NULL)
		return H_ELOGIN;
	if (!str_copy(s->both, sizeof(s->both), nonce) ||
	    !str_copy(s->server_first, sizeof(s->server_first), message)) {
		*ret_why = "the server's first SCRAM message is malformed";
		return H_ELOGIN;
	}
	*ret = c;
	return 0;
}

/* base64 of the gs2 header, and of what is bound to behind it. */
static void binding_text(const struct scram *s, char out[BINDING_MAX / 3 * 4 + 5]) {
	uint8_t raw[BINDING_MAX];
	struct str header = str_of(gs2_header(s));

	assert(header.n + s->end_point_len <= sizeof(raw));
	memcpy(raw, header.p, header.n);
	memcpy(raw + header.n, s->end_point, s->end_point_len);
	(void)base64_encode(out, raw, header.n + s->end_point_len);
}

int scram_final(struct scram *s, const struct scram_keys *k, struct buf *out) {
	char without_proof[WITHOUT_PROOF_MAX];
	char binding[BINDING_MAX / 3 * 4 + 5];
	uint8_t signature[SHA256_SIZE];
	char proof[2 * SHA256_SIZE];

	if (s->both[0] == '\0')
		return H_EPROTO;
	binding_text(s, binding);
	(void)snprintf(without_proof, sizeof(without_proof), "c=%s,r=%s", binding, s->both);
	struct auth_parts auth = { .first_bare = str_of(s->first_bare),
		                   .server_first = str_of(s->server_first),
		                   .without_proof = str_of(without_proof) };

	hmac_auth(signature, k->stored_key, &auth);
	for (size_t i = 0; i < SHA256_SIZE; i++)
		signature[i] ^= k->client_key[i];
	(void)base64_encode(proof, signature, SHA256_SIZE);
	w_fmt(out, "%s,p=%s", without_proof, proof);
	hmac_auth(s->signature, k->server_key, &auth);
	s->has_signature = true;
	wipe(signature, sizeof(signature));
	wipe(proof, sizeof(proof));
	return w_done(out);
}

int scram_verify(const struct scram *s, struct str message, const char **ret_why) {
	uint8_t shown[SHA256_SIZE];

	*ret_why = "the server does not know the password's verifier: its SCRAM signature is wrong";
	if (!s->has_signature)
		return H_ELOGIN;
	if (str_starts(message, STR("e="))) {
		*ret_why = "the server refused the SCRAM proof";
		return H_ELOGIN;
	}
	if (!str_starts(message, STR("v=")) ||
	    base64_decode(shown, sizeof(shown), str_from(message, 2)) != SHA256_SIZE ||
	    !mem_eq_ct(shown, s->signature, SHA256_SIZE))
		return H_ELOGIN;
	*ret_why = NULL;
	return 0;
}

void scram_wipe(struct scram *s) {
	wipe(s, sizeof(*s));
}
