/* scram_server.c: RFC 5802 §3, §5 and §6 with SHA-256, the server's side (scram_server.h). */
#include "identity/scram_server.h"

#include "base/mem.h"

#define BINDING_NAME "p=tls-server-end-point"

enum {
	BINDING_MAX = 32 + 64, /* gs2 header and a hash */
	BINDING_TEXT = (BINDING_MAX + 2) / 3 * 4 + 1,
	AUTH_MAX = SCRAM_CLIENT_FIRST_MAX + SCRAM_SERVER_FIRST_MAX + SCRAM_CLIENT_FINAL_MAX + 4
};

void scram_verifier_make(struct scram_verifier *v, struct str password,
                         const uint8_t salt[SCRAM_VERIFIER_SALT]) {
	uint8_t salted[SHA256_SIZE], client_key[SHA256_SIZE];

	memcpy(v->salt, salt, SCRAM_VERIFIER_SALT);
	v->iterations = SCRAM_ITERATIONS;
	pbkdf2_sha256(salted, password, str_mem(salt, SCRAM_VERIFIER_SALT), SCRAM_ITERATIONS);
	hmac_sha256(client_key, str_mem(salted, SHA256_SIZE), STR("Client Key"));
	sha256(v->stored_key, str_mem(client_key, SHA256_SIZE));
	hmac_sha256(v->server_key, str_mem(salted, SHA256_SIZE), STR("Server Key"));
	wipe(salted, sizeof(salted));
	wipe(client_key, sizeof(client_key));
}

/* The next attribute must be `name=`; its value may be empty. */
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
	return s.n != 0;
}

/* ---- client-first ---- */

/* "n", "y" or "p=…", and what the mechanism allows of them. */
static enum scram_wrong flag_wrong(struct scram_server *s, struct str flag, bool is_offered) {
	if (str_is(flag, BINDING_NAME)) {
		s->bound = SCRAM_BOUND_TLS;
		return s->is_plus ? SCRAM_FINE : SCRAM_WRONG_FORM;
	}
	if (s->is_plus)
		return SCRAM_WRONG_FORM;
	if (str_is(flag, "y")) {
		s->bound = SCRAM_BOUND_NOT_OFFERED;
		return is_offered ? SCRAM_WRONG_DOWNGRADE : SCRAM_FINE;
	}
	s->bound = SCRAM_BOUND_NOT;
	return str_is(flag, "n") ? SCRAM_FINE : SCRAM_WRONG_FORM;
}

/* "n=user,r=nonce" and nothing behind it. */
static bool bare_parse(struct str bare, struct str *ret_nonce) {
	struct str rest = bare, user;

	return take(&rest, 'n', &user) && take(&rest, 'r', ret_nonce) && rest.p == NULL &&
	       is_nonce(*ret_nonce) && ret_nonce->n <= SCRAM_CLIENT_NONCE_MAX;
}

static bool mechanism_set(struct scram_server *s, const struct scram_ask *ask) {
	s->is_plus = str_is(ask->mechanism, SCRAM_PLUS);
	if (!s->is_plus && !str_is(ask->mechanism, SCRAM_PLAIN))
		return false;
	if (ask->end_point.n > sizeof(s->end_point) || (s->is_plus && ask->end_point.n == 0))
		return false;
	if (ask->end_point.n != 0)
		memcpy(s->end_point, ask->end_point.p, ask->end_point.n);
	s->end_point_len = ask->end_point.n;
	return true;
}

enum scram_wrong scram_server_first(struct scram_server *s, const struct scram_ask *ask,
                                    struct buf *out) {
	char salt[SCRAM_VERIFIER_SALT * 2];
	struct str rest = ask->message, nonce;

	assert(ask->nonce.n != 0 && ask->nonce.n <= SCRAM_SERVER_NONCE_MAX);
	if (ask->message.n > SCRAM_CLIENT_FIRST_MAX || !mechanism_set(s, ask))
		return SCRAM_WRONG_FORM;
	struct str flag = str_cut(&rest, ',');
	struct str authzid = str_cut(&rest, ',');

	if (authzid.n != 0 || rest.p == NULL || !bare_parse(rest, &nonce) ||
	    !str_copy(s->first_bare, sizeof(s->first_bare), rest))
		return SCRAM_WRONG_FORM;
	enum scram_wrong wrong = flag_wrong(s, flag, ask->end_point.n != 0);

	if (wrong != SCRAM_FINE)
		return wrong;
	(void)snprintf(s->both, sizeof(s->both), "%.*s%.*s", STR_ARG(nonce), STR_ARG(ask->nonce));
	(void)base64_encode(salt, s->verifier.salt, SCRAM_VERIFIER_SALT);
	int n = snprintf(s->server_first, sizeof(s->server_first), "r=%s,s=%s,i=%u", s->both, salt,
	                 s->verifier.iterations);

	assert(n > 0 && (size_t)n < sizeof(s->server_first));
	w_bytes(out, str_of(s->server_first));
	return SCRAM_FINE;
}

/* ---- client-final ---- */

/* base64 of the gs2 header as it was sent, and of what is bound to behind it. */
static void binding_text(const struct scram_server *s, char out[BINDING_TEXT]) {
	static const char *const headers[] = { [SCRAM_BOUND_NOT] = "n,,",
		                               [SCRAM_BOUND_NOT_OFFERED] = "y,,",
		                               [SCRAM_BOUND_TLS] = BINDING_NAME ",," };
	uint8_t raw[BINDING_MAX];
	struct str header = str_of(headers[s->bound]);
	size_t len = s->bound == SCRAM_BOUND_TLS ? s->end_point_len : 0;

	assert(header.n + len <= sizeof(raw));
	memcpy(raw, header.p, header.n);
	memcpy(raw + header.n, s->end_point, len);
	(void)base64_encode(out, raw, header.n + len);
}

struct final {
	struct str binding, nonce, without_proof;
	uint8_t proof[SHA256_SIZE];
};

static bool final_parse(struct final *f, struct str message) {
	struct str rest = message, proof;

	if (message.n > SCRAM_CLIENT_FINAL_MAX || !take(&rest, 'c', &f->binding) ||
	    !take(&rest, 'r', &f->nonce) || rest.p == NULL)
		return false;
	f->without_proof = str_head(message, (size_t)(rest.p - message.p) - 1);
	return take(&rest, 'p', &proof) && rest.p == NULL &&
	       base64_decode(f->proof, sizeof(f->proof), proof) == SHA256_SIZE;
}

static bool proof_is_right(const struct scram_server *s, const uint8_t proof[SHA256_SIZE],
                           struct str auth) {
	uint8_t key[SHA256_SIZE], stored[SHA256_SIZE];

	hmac_sha256(key, str_mem(s->verifier.stored_key, SHA256_SIZE), auth);
	for (size_t i = 0; i < SHA256_SIZE; i++)
		key[i] ^= proof[i];
	sha256(stored, str_mem(key, SHA256_SIZE));
	bool is_right = mem_eq_ct(stored, s->verifier.stored_key, SHA256_SIZE);

	wipe(key, sizeof(key));
	wipe(stored, sizeof(stored));
	return is_right & s->is_real;
}

enum scram_wrong scram_server_final(const struct scram_server *s, struct str message,
                                    char out[SCRAM_SERVER_FINAL_SIZE]) {
	char binding[BINDING_TEXT], auth[AUTH_MAX];
	uint8_t signature[SHA256_SIZE];
	struct final f;

	out[0] = '\0';
	if (s->server_first[0] == '\0' || !final_parse(&f, message))
		return SCRAM_WRONG_FORM;
	binding_text(s, binding);
	if (!str_is(f.binding, binding))
		return SCRAM_WRONG_BINDING;
	if (!str_is(f.nonce, s->both))
		return SCRAM_WRONG_PROOF;
	int n = snprintf(auth, sizeof(auth), "%s,%s,%.*s", s->first_bare, s->server_first,
	                 STR_ARG(f.without_proof));

	assert(n > 0 && (size_t)n < sizeof(auth));
	struct str all = str_mem(auth, (size_t)n);
	bool is_right = proof_is_right(s, f.proof, all);

	hmac_sha256(signature, str_mem(s->verifier.server_key, SHA256_SIZE), all);
	if (is_right) {
		memcpy(out, "v=", 2);
		(void)base64_encode(out + 2, signature, SHA256_SIZE);
	}
	return is_right ? SCRAM_FINE : SCRAM_WRONG_PROOF;
}

void scram_server_wipe(struct scram_server *s) {
	wipe(s, sizeof(*s));
}
