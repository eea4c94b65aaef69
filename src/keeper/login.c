/*
 * login.c: the target's Authentication messages, by method (login.h).
 *
 * A table per phase would have one row each; the two switches below are that table: the code must
 * be the one that the role's method allows in this phase, anything else ends the exchange. Trust
 * means that the target asks nothing: AuthenticationOk as the first message.
 */
#include "keeper/login.h"

#include "base/rd.h"

enum auth_code {
	AUTH_OK = 0,
	AUTH_CLEAR = 3,
	AUTH_MD5 = 5,
	AUTH_SASL = 10,
	AUTH_SASL_CONTINUE = 11,
	AUTH_SASL_FINAL = 12
};

struct auth_message {
	uint32_t code;
	struct str data;
};

static const char scram_plain[] = "SCRAM-SHA-256", scram_plus[] = "SCRAM-SHA-256-PLUS";

static int refuse(struct login *l, struct login_answer *a, const char *why) {
	l->phase = LOGIN_FAILED;
	a->why = why;
	return H_ELOGIN;
}

static const char *const wrong_method =
	"the target asks for another login method than the role's auth allows";

static struct str password_of(const struct login_role *role) {
	return str_mem(role->password.p, role->password.n);
}

/* "md5" + md5(md5(password + user) + salt), and a NUL. */
static int answer_md5(struct login *l, const struct login_role *role, struct str salt,
                      struct login_answer *a) {
	char inner[33], outer[33];

	if (salt.n != 4)
		return refuse(l, a, "the target's md5 challenge is malformed");
	md5_hex(inner, (struct str[]){ password_of(role), role->user }, 2);
	md5_hex(outer, (struct str[]){ str_mem(inner, 32), salt }, 2);
	w_fmt(a->out, "md5%s", outer);
	w_u8(a->out, 0);
	wipe(inner, sizeof(inner));
	wipe(outer, sizeof(outer));
	l->phase = LOGIN_WAIT_OK;
	return 0;
}

static int answer_clear(struct login *l, const struct login_role *role, struct login_answer *a) {
	if (!role->may_send_clear)
		return refuse(l, a, "the clear password is sent over verified TLS only");
	w_cstr(a->out, password_of(role));
	l->phase = LOGIN_WAIT_OK;
	return 0;
}

static bool offers(struct str list, const char *mechanism) {
	struct rd r = rd_of(list);

	while (rd_left(&r) > 1) {
		if (str_is(rd_cstr(&r), mechanism))
			return !r.bad;
	}
	return false;
}

/* With what the exchange is bound to TLS, or a sentence (login.h, "Channel binding"). */
static const char *choose_binding(const struct login_role *role, const struct login_ask *ask,
                                  struct str list, enum scram_binding *ret) {
	bool can = ask->end_point.n != 0 && role->binding != CONFIG_BINDING_DISABLE;
	bool is_plus = offers(list, scram_plus);
	bool is_required = role->binding == CONFIG_BINDING_REQUIRE;

	*ret = can ? is_plus ? SCRAM_BOUND : SCRAM_NOT_OFFERED : SCRAM_UNBOUND;
	if (is_required && ask->end_point.n == 0)
		return "channel_binding: require, and there is no TLS with the target, or its "
		       "certificate's signature has no hash to bind to";
	if (is_required && !is_plus)
		return "channel_binding: require, and the target does not offer "
		       "SCRAM-SHA-256-PLUS";
	/* One that knows it needs no TLS for it; one that offers it alone would be new. */
	if (*ret != SCRAM_BOUND && !offers(list, scram_plain))
		return "the target does not offer SCRAM-SHA-256";
	return NULL;
}

static int answer_sasl(struct login *l, const struct login_role *role, const struct login_ask *ask,
                       struct str list, struct login_answer *a) {
	enum scram_binding binding;
	const char *why = choose_binding(role, ask, list, &binding);
	uint8_t raw[SCRAM_NONCE_BYTES];
	char nonce[2 * SCRAM_NONCE_BYTES];
	struct buf first;

	if (why != NULL)
		return refuse(l, a, why);
	random_bytes(raw, sizeof(raw));
	(void)base64_encode(nonce, raw, sizeof(raw));
	buf_init(&first, SCRAM_MESSAGE_MAX);
	int rc = scram_bind(&l->scram, binding, ask->end_point);

	if (rc == 0)
		rc = scram_first(&l->scram, STR_NONE, str_of(nonce), &first);
	w_cstr(a->out, str_of(binding == SCRAM_BOUND ? scram_plus : scram_plain));
	w_be32(a->out, (uint32_t)first.len);
	w_bytes(a->out, buf_peek(&first));
	buf_fini(&first);
	l->phase = LOGIN_SCRAM_FIRST;
	return rc < 0 ? refuse(l, a, "the SCRAM exchange cannot start") : 0;
}

static bool same_challenge(const struct scram_challenge *c, const struct pin *p) {
	return c->iterations == p->iterations && c->salt_len == p->salt_len &&
	       memcmp(c->salt, p->salt, p->salt_len) == 0;
}

/* The keys for a challenge, from the cache if it is the one seen last. */
static void keys_for(struct login_role *role, const struct scram_challenge *c) {
	if (role->has_keys && role->keys_for.iterations == c->iterations &&
	    role->keys_for.salt_len == c->salt_len &&
	    memcmp(role->keys_for.salt, c->salt, c->salt_len) == 0)
		return;
	scram_keys(&role->keys, password_of(role), c);
	role->keys_for = *c;
	role->has_keys = true;
}

/* May this challenge be answered? See login.h, "Pinning". */
static bool pin_allows(struct login *l, struct login_role *role, const struct pin_store *pins) {
	struct pin p;
	struct scram_challenge pinned = { 0 };
	int rc = pins->get(pins->arg, role->pin_key, &p);

	l->is_pin_new = true;
	if (rc == H_ENOTFOUND)
		return true;
	if (rc < 0)
		return false;
	memcpy(pinned.salt, p.salt, p.salt_len);
	pinned.salt_len = p.salt_len;
	pinned.iterations = p.iterations;
	keys_for(role, &pinned);
	bool is_same_password = mem_eq_ct(role->keys.stored_key, p.stored_key, SHA256_SIZE);

	l->is_pin_new = !is_same_password || !same_challenge(&l->challenge, &p);
	l->is_pin_refused = is_same_password && l->is_pin_new;
	return !l->is_pin_refused;
}

static int answer_challenge(struct login *l, struct login_role *role, const struct pin_store *pins,
                            struct str message, struct login_answer *a) {
	const char *why = NULL;

	if (scram_challenge(&l->scram, message, &l->challenge, &why) < 0)
		return refuse(l, a, why);
	if (!pin_allows(l, role, pins))
		return refuse(
			l, a,
			l->is_pin_refused
				? "the target's SCRAM salt or count changed while the password did "
				  "not; if the target's password was set anew, forget the pin"
				: "the pinned SCRAM parameters cannot be read");
	keys_for(role, &l->challenge);
	if (scram_final(&l->scram, &role->keys, a->out) < 0)
		return refuse(l, a, "the SCRAM exchange is out of order");
	l->phase = LOGIN_SCRAM_FINAL;
	return 0;
}

static int check_final(struct login *l, const struct login_role *role, const struct pin_store *pins,
                       struct str message, struct login_answer *a) {
	struct pin p = { .salt_len = l->challenge.salt_len, .iterations = l->challenge.iterations };
	const char *why = NULL;

	if (scram_verify(&l->scram, message, &why) < 0)
		return refuse(l, a, why);
	if (l->is_pin_new) {
		memcpy(p.salt, l->challenge.salt, p.salt_len);
		memcpy(p.stored_key, role->keys.stored_key, SHA256_SIZE);
		if (pins->put(pins->arg, role->pin_key, &p) < 0)
			return refuse(l, a,
			              "the SCRAM parameters cannot be pinned: state.db fails");
	}
	l->phase = LOGIN_WAIT_OK;
	return 0;
}

/* The target's first word. */
static int step_start(struct login *l, const struct login_role *role, const struct login_ask *ask,
                      struct auth_message m, struct login_answer *a) {
	uint32_t code = m.code;
	struct str data = m.data;

	if (code == AUTH_MD5 && role->auth == CONFIG_AUTH_MD5)
		return answer_md5(l, role, data, a);
	if (code == AUTH_CLEAR && role->auth == CONFIG_AUTH_PASSWORD && data.n == 0)
		return answer_clear(l, role, a);
	if (code == AUTH_SASL && role->auth == CONFIG_AUTH_SCRAM)
		return answer_sasl(l, role, ask, data, a);
	if (code == AUTH_OK && role->auth == CONFIG_AUTH_TRUST && data.n == 0) {
		l->phase = LOGIN_DONE;
		a->is_done = true;
		return 0;
	}
	if (code == AUTH_OK)
		return refuse(
			l, a,
			"the target lets the role in without any proof; the role's auth does not "
			"say trust");
	return refuse(l, a, wrong_method);
}

int login_step(struct login *l, struct login_role *role, const struct pin_store *pins,
               const struct login_ask *ask, struct login_answer *a) {
	struct rd r = rd_of(ask->message);
	uint32_t code = rd_be32(&r);
	struct str data = rd_bytes(&r, rd_left(&r));

	a->is_done = false;
	a->why = NULL;
	if (rd_done(&r) < 0)
		return refuse(l, a, "the target's authentication message is malformed");
	switch (l->phase) {
	case LOGIN_START:
		return step_start(l, role, ask, (struct auth_message){ .code = code, .data = data },
		                  a);
	case LOGIN_SCRAM_FIRST:
		if (code == AUTH_SASL_CONTINUE)
			return answer_challenge(l, role, pins, data, a);
		break;
	case LOGIN_SCRAM_FINAL:
		if (code == AUTH_SASL_FINAL)
			return check_final(l, role, pins, data, a);
		break;
	case LOGIN_WAIT_OK:
		if (code != AUTH_OK || data.n != 0)
			break;
		l->phase = LOGIN_DONE;
		a->is_done = true;
		return 0;
	case LOGIN_DONE:
	case LOGIN_FAILED:
		return refuse(l, a, "one login exchange per grant: this one is over");
	}
	return refuse(l, a, "the target's authentication message is out of order");
}

void login_wipe(struct login *l) {
	wipe(l, sizeof(*l));
}

void login_role_fini(struct login_role *role) {
	secret_free(&role->password);
	wipe(&role->keys, sizeof(role->keys));
	role->has_keys = false;
}
