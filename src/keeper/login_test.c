/*
 * login_test.c: SCRAM by the vector of RFC 7677, and every way in which a target may cheat at login.
 *
 * The target is played by a small server here that knows the verifier only (StoredKey, ServerKey).
 */
#include "keeper/login.h"

#include "base/test.h"

static struct login_role role_of(enum config_auth auth, const char *password) {
	struct login_role r = { .auth = auth,
		                .user = STR("app"),
		                .pin_key = STR("shop/ro/app/x:1") };

	if (password != NULL)
		r.password = secret_of(str_of(password));
	return r;
}

/* ---- pins in memory ---- */
struct pins {
	struct pin pin;
	bool has;
	unsigned puts;
	int fail;
};

static int pins_get(void *arg, struct str key, struct pin *ret) {
	struct pins *p = arg;

	CHECK_EQ_STR(key, STR("shop/ro/app/x:1"));
	if (!p->has)
		return H_ENOTFOUND;
	*ret = p->pin;
	return 0;
}

static int pins_put(void *arg, struct str key, const struct pin *pin) {
	struct pins *p = arg;

	(void)key;
	if (p->fail < 0)
		return p->fail;
	p->pin = *pin;
	p->has = true;
	p->puts++;
	return 0;
}

/* The hash of the target's certificate, as the worker tells it; empty: no TLS. */
static struct str end_point;

/* ---- the target ---- */
struct target {
	const char *offers[3]; /* NULL ends */
	struct str own_hash;   /* of its certificate; empty: it does not bind */
	char gs2[32];          /* that the client said */
	struct scram_keys keys;
	struct scram_challenge c;
	char first_bare[256], server_first[512], nonce[256];
	bool lies; /* shows a wrong signature */
};

static void target_init(struct target *t, const char *password, const char *salt) {
	*t = (struct target){ .c = { .salt_len = strlen(salt), .iterations = 4096 },
		              .offers = { "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256" } };
	memcpy(t->c.salt, salt, t->c.salt_len);
	scram_keys(&t->keys, str_of(password), &t->c);
}

static void put_code(struct buf *b, uint32_t code, const char *data) {
	buf_clear(b);
	w_be32(b, code);
	w_bytes(b, str_of(data));
}

/* From the client's first message (inside SASLInitialResponse) to the server's. */
static void target_first(struct target *t, struct str initial, struct buf *out) {
	struct str rest = initial;
	struct str mechanism = str_cut(&rest, '\0');
	struct str bare = str_from(rest, 4);
	char salt[128];

	struct str header = str_cut(&bare, ',');
	CHECK_EQ_STR(str_cut(&bare, ','), STR_NONE);
	(void)snprintf(t->gs2, sizeof(t->gs2), "%.*s,,", STR_ARG(header));
	CHECK((header.p[0] == 'p') == str_is(mechanism, "SCRAM-SHA-256-PLUS"));
	(void)str_copy(t->first_bare, sizeof(t->first_bare), bare);
	(void)base64_encode(salt, t->c.salt, t->c.salt_len);
	(void)snprintf(t->nonce, sizeof(t->nonce), "%sSRV", strstr(t->first_bare, "r=") + 2);
	(void)snprintf(t->server_first, sizeof(t->server_first), "r=%s,s=%s,i=%u", t->nonce, salt,
	               t->c.iterations);
	put_code(out, 11, t->server_first);
}

/* c= must be what the client said at first, and what this server's own certificate gives. */
static bool is_binding_right(const struct target *t, struct str text) {
	uint8_t raw[128];
	struct str c = str_from(str_cut(&text, ','), 2);
	int n = base64_decode(raw, sizeof(raw), c);
	struct str said = str_mem(raw, n > 0 ? (size_t)n : 0);

	if (!str_starts(said, str_of(t->gs2)))
		return false;
	/* A server that binds knows that a client which says y was shown another offer. */
	if (t->own_hash.n != 0 && t->gs2[0] == 'y')
		return false;
	return t->gs2[0] != 'p' || str_eq(str_from(said, strlen(t->gs2)), t->own_hash);
}

/* Checks the proof as a server does; writes the server's final message. */
static bool target_final(struct target *t, struct str final, struct buf *out) {
	char auth[2048], text[512], text_said[512], v[128];
	uint8_t sig[SHA256_SIZE], proof[SHA256_SIZE], stored[SHA256_SIZE];

	(void)str_copy(text, sizeof(text), final);
	char *p = strstr(text, ",p=");

	if (p == NULL || base64_decode(proof, sizeof(proof), str_of(p + 3)) != SHA256_SIZE)
		return false;
	*p = '\0';
	memcpy(text_said, text, sizeof(text_said));
	(void)snprintf(auth, sizeof(auth), "%s,%s,%s", t->first_bare, t->server_first, text);
	hmac_sha256(sig, str_mem(t->keys.stored_key, SHA256_SIZE), str_of(auth));
	for (size_t i = 0; i < SHA256_SIZE; i++)
		proof[i] ^= sig[i];
	sha256(stored, str_mem(proof, SHA256_SIZE));
	hmac_sha256(sig, str_mem(t->keys.server_key, SHA256_SIZE), str_of(auth));
	sig[0] ^= t->lies;
	(void)base64_encode(v, sig, SHA256_SIZE);
	(void)snprintf(text, sizeof(text), "v=%s", v);
	put_code(out, 12, text);
	return memcmp(stored, t->keys.stored_key, SHA256_SIZE) == 0 &&
	       is_binding_right(t, str_of(text_said));
}

/* A whole login; the result of the last step. */
/* One message of the target's. */
static int say(struct login *l, struct login_role *role, struct pins *pins, struct str message,
               struct login_answer *a) {
	struct pin_store store = { .get = pins_get, .put = pins_put, .arg = pins };
	struct login_ask ask = { .message = message, .end_point = end_point };

	return login_step(l, role, &store, &ask, a);
}

static int play(struct target *t, struct login *l, struct login_role *role, struct pins *pins,
                bool *ret_proof_ok) {
	struct buf in, out;
	struct login_answer a = { .out = &out };

	*ret_proof_ok = false;
	buf_init(&in, 4096);
	buf_init(&out, 4096);
	w_be32(&in, 10);
	for (size_t i = 0; t->offers[i] != NULL; i++)
		w_cstr(&in, str_of(t->offers[i]));
	w_u8(&in, 0);
	int rc = say(l, role, pins, buf_peek(&in), &a);

	if (rc == 0) {
		target_first(t, buf_peek(&out), &in);
		buf_clear(&out);
		rc = say(l, role, pins, buf_peek(&in), &a);
	}
	if (rc == 0) {
		*ret_proof_ok = target_final(t, buf_peek(&out), &in);
		buf_clear(&out);
		rc = say(l, role, pins, buf_peek(&in), &a);
		CHECK(out.len == 0 && !a.is_done);
	}
	if (rc == 0) {
		put_code(&in, 0, "");
		rc = say(l, role, pins, buf_peek(&in), &a);
		CHECK(rc < 0 || a.is_done);
	}
	CHECK(rc == 0 || a.why != NULL);
	buf_fini(&in);
	buf_fini(&out);
	return rc;
}

TEST(scram_rfc7677) {
	struct scram s = { 0 };
	struct scram_challenge c;
	struct scram_keys k;
	struct buf out;
	const char *why = NULL;

	buf_init(&out, 4096);
	CHECK_EQ_I(scram_first(&s, STR("user"), STR("rOprNGfwEbeRWgbNEkqO"), &out), 0);
	CHECK_EQ_STR(buf_peek(&out), STR("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
	CHECK_EQ_I(scram_challenge(&s,
	                           STR("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	                               "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
	                           &c, &why),
	           0);
	scram_keys(&k, STR("pencil"), &c);
	buf_clear(&out);
	CHECK_EQ_I(scram_final(&s, &k, &out), 0);
	CHECK_EQ_STR(buf_peek(&out),
	             STR("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	                 "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
	CHECK_EQ_I(scram_verify(&s, STR("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &why),
	           0);
	CHECK_EQ_I(scram_verify(&s, STR("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="), &why),
	           H_ELOGIN);
	CHECK_EQ_I(scram_verify(&s, STR("e=invalid-proof"), &why), H_ELOGIN);
	CHECK_EQ_I(scram_verify(&s, STR("v="), &why), H_ELOGIN);
	buf_fini(&out);
}

TEST(scram_challenges_refused) {
	static const char *const bad[] = {
		"",
		"r=",
		"r=ABCdef",
		"r=ABC,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",    /* nonce not continued */
		"r=XABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",  /* another nonce */
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",   /* too few */
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=100001", /* too many */
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999",
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
		"r=ABCd,s=,i=4096",
		"r=ABCd,s=!!!,i=4096",
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ,i=4096", /* padding */
		"m=x,r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,x=1",
		"r=ABCd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,",
		"s=W22ZaJ0SNY7soEsUEjb6gQ==,r=ABCd,i=4096",
		"r=AB\x01",
	};
	char nonce[1200];
	struct scram s = { 0 };
	struct scram_challenge c;
	struct buf out;
	const char *why;

	buf_init(&out, 4096);
	CHECK_EQ_I(scram_first(&s, STR_NONE, STR("ABC"), &out), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		why = NULL;
		if (!CHECK(scram_challenge(&s, str_of(bad[i]), &c, &why) == H_ELOGIN &&
		           why != NULL))
			test_note("%s", bad[i]);
	}
	/* A server nonce over our bound (CVE-2026-6665). */
	memset(nonce, 'N', sizeof(nonce));
	(void)snprintf(nonce + 600, 100, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
	memcpy(nonce, "r=ABC", 5);
	CHECK_EQ_I(scram_challenge(&s, str_of(nonce), &c, &why), H_ELOGIN);
	CHECK_EQ_I(scram_first(&s, STR_NONE, STR("a,b"), &out), H_EFORMAT);
	CHECK_EQ_I(scram_first(&s, STR_NONE, STR_NONE, &out), H_EFORMAT);
	buf_fini(&out);
}

TEST(login_scram_and_pins) {
	struct login_role role = role_of(CONFIG_AUTH_SCRAM, "geheim");
	struct pins pins = { 0 };
	struct target t;
	struct login l = { 0 };
	bool proof_ok;

	target_init(&t, "geheim", "salt-one-16bytes");
	CHECK_EQ_I(play(&t, &l, &role, &pins, &proof_ok), 0);
	CHECK(proof_ok && pins.has && pins.puts == 1);
	CHECK_EQ_I(memcmp(pins.pin.stored_key, t.keys.stored_key, SHA256_SIZE), 0);
	/* One exchange per grant. */
	CHECK(play(&t, &l, &role, &pins, &proof_ok) < 0);
	/* Again: same salt, nothing pinned anew. */
	l = (struct login){ 0 };
	CHECK_EQ_I(play(&t, &l, &role, &pins, &proof_ok), 0);
	CHECK_EQ_U(pins.puts, 1);
	/* Another salt with the same password: refused before a proof is sent. */
	target_init(&t, "geheim", "another-salt");
	l = (struct login){ 0 };
	CHECK(play(&t, &l, &role, &pins, &proof_ok) < 0);
	CHECK(l.is_pin_refused && !proof_ok);
	CHECK_EQ_U(pins.puts, 1);
	/* Fewer iterations, same salt: likewise. */
	target_init(&t, "geheim", "salt-one-16bytes");
	t.c.iterations = 5000;
	scram_keys(&t.keys, STR("geheim"), &t.c);
	l = (struct login){ 0 };
	CHECK(play(&t, &l, &role, &pins, &proof_ok) < 0 && l.is_pin_refused);
	/* A new password at both ends pins anew by itself. */
	login_role_fini(&role);
	role = role_of(CONFIG_AUTH_SCRAM, "anders");
	target_init(&t, "anders", "another-salt");
	l = (struct login){ 0 };
	CHECK_EQ_I(play(&t, &l, &role, &pins, &proof_ok), 0);
	CHECK(proof_ok && pins.puts == 2);
	login_role_fini(&role);
}

TEST(login_scram_target_cheats) {
	struct login_role role = role_of(CONFIG_AUTH_SCRAM, "geheim");
	struct pins pins = { 0 };
	struct target t;
	struct login l = { 0 };
	bool proof_ok;

	target_init(&t, "geheim", "salt");
	t.lies = true;
	CHECK(play(&t, &l, &role, &pins, &proof_ok) == H_ELOGIN);
	CHECK(!pins.has); /* nothing learnt from a liar */
	/* A target with another password: its proof check fails, its signature is not ours. */
	target_init(&t, "other", "salt");
	l = (struct login){ 0 };
	CHECK(play(&t, &l, &role, &pins, &proof_ok) == H_ELOGIN);
	CHECK(!proof_ok && !pins.has);
	/* state.db cannot take the pin: no login. */
	target_init(&t, "geheim", "salt");
	l = (struct login){ 0 };
	pins.fail = H_ENOSPACE;
	CHECK(play(&t, &l, &role, &pins, &proof_ok) == H_ELOGIN);
	login_role_fini(&role);
}

struct one {
	enum config_auth auth;
	uint32_t code;
	const char *data;
	size_t n;
	int rc;
};

TEST(login_only_the_role_s_method) {
	static const struct one cases[] = {
		{ CONFIG_AUTH_TRUST, 0, "", 0, 0 },
		{ CONFIG_AUTH_TRUST, 3, "", 0, H_ELOGIN },
		{ CONFIG_AUTH_SCRAM, 0, "", 0, H_ELOGIN }, /* let in without proof */
		{ CONFIG_AUTH_SCRAM, 3, "", 0, H_ELOGIN }, /* downgrade to clear */
		{ CONFIG_AUTH_SCRAM, 5, "abcd", 4, H_ELOGIN },
		{ CONFIG_AUTH_SCRAM, 10, "SCRAM-SHA-256-PLUS\0", 20, H_ELOGIN },
		{ CONFIG_AUTH_SCRAM, 10, "SCRAM-SHA-256\0", 15, 0 },
		{ CONFIG_AUTH_SCRAM, 10, "", 0, H_ELOGIN },
		{ CONFIG_AUTH_SCRAM, 11, "r=x", 3, H_ELOGIN },
		{ CONFIG_AUTH_SCRAM, 12, "v=x", 3, H_ELOGIN },
		{ CONFIG_AUTH_MD5, 5, "abcd", 4, 0 },
		{ CONFIG_AUTH_MD5, 5, "abc", 3, H_ELOGIN },
		{ CONFIG_AUTH_MD5, 3, "", 0, H_ELOGIN },
		{ CONFIG_AUTH_MD5, 10, "SCRAM-SHA-256\0", 15, H_ELOGIN },
		{ CONFIG_AUTH_PASSWORD, 3, "", 0, 0 },
		{ CONFIG_AUTH_PASSWORD, 5, "abcd", 4, H_ELOGIN },
		{ CONFIG_AUTH_PASSWORD, 7, "", 0, H_ELOGIN },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct one *o = &cases[i];
		struct login_role role = role_of(o->auth, "secret");
		struct pins pins = { 0 };
		struct login l = { 0 };
		struct buf in, out;
		struct login_answer a = { .out = &out };

		role.may_send_clear = true;
		buf_init(&in, 256);
		buf_init(&out, 256);
		w_be32(&in, o->code);
		w_bytes(&in, str_mem(o->data, o->n));
		if (!CHECK(say(&l, &role, &pins, buf_peek(&in), &a) == o->rc))
			test_note("case %zu", i);
		CHECK((a.why != NULL) == (o->rc < 0));
		CHECK(o->rc == 0 || out.len == 0);
		CHECK(a.is_done == (o->auth == CONFIG_AUTH_TRUST && o->rc == 0));
		buf_fini(&in);
		buf_fini(&out);
		login_role_fini(&role);
	}
}

TEST(login_md5_and_clear_bytes) {
	struct login_role role = role_of(CONFIG_AUTH_MD5, "secret");
	struct pins pins = { 0 };
	struct login l = { 0 };
	struct buf out;
	struct login_answer a = { .out = &out };

	buf_init(&out, 256);
	/* echo -n secretapp | md5sum; that and "abcd" again */
	CHECK_EQ_I(say(&l, &role, &pins, str_mem("\0\0\0\5abcd", 8), &a), 0);
	CHECK_EQ_STR(buf_peek(&out), str_mem("md5883f61cc18cc4ae54ca301892bb10c29\0", 36));
	buf_clear(&out);
	/* AuthenticationOk, and then no more. */
	CHECK_EQ_I(say(&l, &role, &pins, str_mem("\0\0\0\0", 4), &a), 0);
	CHECK(a.is_done);
	CHECK_EQ_I(say(&l, &role, &pins, str_mem("\0\0\0\0", 4), &a), H_ELOGIN);
	login_role_fini(&role);
	role = role_of(CONFIG_AUTH_PASSWORD, "secret");
	l = (struct login){ 0 };
	CHECK_EQ_I(say(&l, &role, &pins, str_mem("\0\0\0\3", 4), &a), H_ELOGIN);
	CHECK(strstr(a.why, "verified TLS") != NULL && out.len == 0);
	role.may_send_clear = true;
	l = (struct login){ 0 };
	CHECK_EQ_I(say(&l, &role, &pins, str_mem("\0\0\0\3", 4), &a), 0);
	CHECK_EQ_STR(buf_peek(&out), str_mem("secret\0", 7));
	CHECK_EQ_I(say(&l, &role, &pins, str_mem("\0\0", 2), &a), H_ELOGIN);
	buf_fini(&out);
	login_role_fini(&role);
}

/* ---- channel binding ---- */

struct bound_case {
	enum config_binding binding;
	const char *end_point, *own_hash; /* what the worker saw, what the target has */
	bool is_stripped;                 /* the offer of PLUS was taken away */
	char gs2; /* what the client says: n, y, p; 0: nothing, it refuses */
	bool is_accepted;
};

TEST(login_channel_binding) {
	static const struct bound_case cases[] = {
		{ CONFIG_BINDING_PREFER, "0123456789abcdef0123456789abcdef",
		  "0123456789abcdef0123456789abcdef", false, 'p', true },
		/* SHA-512, as RFC 5929 has it for a certificate signed with that */
		{ CONFIG_BINDING_PREFER,
		  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", false, 'p',
		  true },
		/* somebody in between has a certificate of his own */
		{ CONFIG_BINDING_PREFER, "0123456789abcdef0123456789abcdef",
		  "another certificate, another hash", false, 'p', false },
		/* … and takes the offer away: the target sees the y */
		{ CONFIG_BINDING_PREFER, "0123456789abcdef0123456789abcdef",
		  "another certificate, another hash", true, 'y', false },
		/* a target that binds nothing (a pooler): y is right */
		{ CONFIG_BINDING_PREFER, "0123456789abcdef0123456789abcdef", "", true, 'y', true },
		{ CONFIG_BINDING_PREFER, "", "", true, 'n', true },
		{ CONFIG_BINDING_DISABLE, "0123456789abcdef0123456789abcdef",
		  "0123456789abcdef0123456789abcdef", false, 'n', true },
		{ CONFIG_BINDING_REQUIRE, "0123456789abcdef0123456789abcdef",
		  "0123456789abcdef0123456789abcdef", false, 'p', true },
		{ CONFIG_BINDING_REQUIRE, "0123456789abcdef0123456789abcdef",
		  "0123456789abcdef0123456789abcdef", true, 0, false },
		{ CONFIG_BINDING_REQUIRE, "", "", false, 0, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct bound_case *k = &cases[i];
		struct target t;
		struct pins pins = { 0 };
		struct login l = { 0 };
		struct login_role role = role_of(CONFIG_AUTH_SCRAM, "pencil");
		bool is_right = false;

		target_init(&t, "pencil", "salt");
		t.own_hash = str_of(k->own_hash);
		if (k->is_stripped) {
			t.offers[0] = "SCRAM-SHA-256";
			t.offers[1] = NULL;
		}
		role.binding = k->binding;
		end_point = str_of(k->end_point);
		int rc = play(&t, &l, &role, &pins, &is_right);

		if (!CHECK_EQ_I(t.gs2[0], k->gs2) || !CHECK(is_right == k->is_accepted))
			test_note("case %zu", i);
		CHECK((rc == 0) == (k->gs2 != 0)); /* the target played here tells no lie */
		end_point = STR_NONE;
		login_role_fini(&role);
	}
}

TEST_MAIN
