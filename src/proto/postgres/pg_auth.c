/*
 * pg_auth.c: from the grant to the first ReadyForQuery.
 *
 * The target's challenges go to the keeper as they come (ORD_LOGIN: the body of the Authentication
 * message, code first) and its answers come back as the body of a PasswordMessage: this process
 * never has the password of a target, except for one that demands it in clear. AuthenticationOk
 * counts when the keeper says so; in SCRAM that is after it has checked the server's signature.
 *
 * What the target says before that is never shown to the client: an error at login may tell names,
 * addresses and rules. The client is told "login at the target failed" with the session's id, under
 * which the record holds the target's own words.
 *
 * After AuthenticationOk: parameters are relayed, BackendKeyData is replaced (the target's pid,
 * which drivers compare with pg_backend_pid(), and a key of ours), ReadyForQuery is relayed. A
 * target that sends no key leaves the client without one; an invented empty key makes clients refuse
 * the connection.
 */
#include "proto/postgres/pg_priv.h"

/* ---- admission ---- */

int pg_granted(struct pg_core *c, const struct grant *g) {
	if (c->phase != &pg_phase_admit)
		return 0;
	bool has_id = str_copy(c->short_id, sizeof(c->short_id), str_of(g->short_id));
	assert(has_id);
	uuid_text(c->sid, g->sid);
	c->session_max_ns = g->session_max_ns;
	c->session_grace_ns = g->session_grace_ns;
	c->hygiene = g->hygiene;
	c->tls = g->tls;
	c->is_unix = g->is_unix;
	c->keeps_credentials = g->keeps_credentials;
	c->results = g->results;
	c->look.is_on = g->looks_up_names && !g->is_replication;
	c->is_tls_direct = g->is_tls_direct;
	c->is_replication = g->is_replication;
	c->cancel_key_size = g->cancel_key_size;
	c->up_minor = c->minor >= 2 ? 2 : 0;
	memcpy(c->cancel_key, g->cancel_key, sizeof(c->cancel_key));
	if (!str_copy(c->server_final, sizeof(c->server_final), g->server_final))
		c->server_final[0] = '\0';
	struct pg_why why = { .text = "startup packet was refused" };
	int rc = pg_hello_build(c, g, &why);
	if (rc < 0)
		return pg_fatal(c, rc, rc == H_ELIMIT ? "54000" : "0A000", why.text);
	pg_claims_start(c);
	c->ask = (struct admit){ 0 }; /* slices of the packet */
	buf_clear(&c->start);
	buf_trim(&c->start, false);
	if (c->tls == TLS_DISABLE || c->is_unix) {
		pg_say_hello(c);
		return 0;
	}
	if (c->is_tls_direct) {
		pg_enter(c, &pg_phase_target_tls);
		pg_tls(c, SIDE_TARGET, true);
		return 0;
	}
	struct buf b;
	buf_init(&b, KIB);
	pg_w_ssl_request(&b);
	pg_send(c, SIDE_TARGET, buf_peek(&b), WHY_HANDSHAKE);
	buf_fini(&b);
	pg_enter(c, &pg_phase_ask_tls);
	return 0;
}

int pg_login_failed(struct pg_core *c, struct str detail) {
	char text[80];
	if (detail.n > 0)
		pg_fact(c, STR("login_error"), detail);
	(void)snprintf(text, sizeof(text), "login at the target failed (session %s)", c->short_id);
	return pg_fatal_hint(c, H_ELOGIN,
	                     &(struct pg_say){
				     .sqlstate = STR("08006"),
				     .message = str_of(text),
				     .hint = STR(
					     "the operator finds the reason under that session") });
}

/* ---- TLS with the target ---- */

int pg_ask_tls_raw(struct pg_core *c, struct str data) {
	char answer = data.p[0];
	if (answer == 'E')
		return pg_login_failed(c, STR("the target answered SSLRequest with an error"));
	if (answer != 'S')
		return pg_login_failed(c, STR("the target does not offer TLS, which this "
		                              "connection requires"));
	/* Exactly one byte is read: anything behind it in plaintext is an attack (CVE-2021-23222),
	 * and the shell closes when it finds some. */
	pg_skip(c, SIDE_TARGET, 1, WHY_HANDSHAKE);
	pg_enter(c, &pg_phase_target_tls);
	pg_tls(c, SIDE_TARGET, false);
	return 1;
}

/* A direct handshake says nothing of PostgreSQL but by ALPN: who agrees on nothing may be anything. */
int pg_target_tls_up(struct pg_core *c, const struct tls_facts *tls) {
	if (c->phase != &pg_phase_target_tls)
		return 0;
	if (c->is_tls_direct && (tls == NULL || !str_is(tls->alpn, PG_ALPN)))
		return pg_login_failed(c, STR("the target's TLS does not agree on PostgreSQL "
		                              "(ALPN), which direct TLS needs"));
	c->is_up_tls = true;
	pg_say_hello(c);
	return 0;
}

void pg_say_hello(struct pg_core *c) {
	pg_send(c, SIDE_TARGET, buf_peek(&c->hello), WHY_REWRITE);
	buf_clear(&c->hello);
	buf_trim(&c->hello, false);
	pg_enter(c, &pg_phase_login);
}

/* ---- login ---- */

static int on_auth(struct pg_core *c, const struct pg_in *in) {
	struct pg_auth a;
	if (pg_auth_parse(&a, in->body) < 0)
		return pg_target_broke(c, "malformed Authentication message");
	c->login_code = a.code;
	pg_enter(c, &pg_phase_login_step);
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_LOGIN, .bytes = in->body });
	if (a.code == PG_AUTH_OK)
		pg_skip(c, SIDE_TARGET, in->len, WHY_LOGIN);
	else
		pg_redact(c, SIDE_TARGET, in->len, WHY_LOGIN);
	return PG_TAKEN;
}

/* The target's own words, for the record alone. */
static int on_login_error(struct pg_core *c, const struct pg_in *in) {
	struct pg_error e = { 0 };
	if (pg_error_parse(&e, in->body) < 0)
		return pg_login_failed(c, STR("malformed ErrorResponse"));
	char text[512];
	int n = snprintf(text, sizeof(text), "%.*s %.*s", STR_ARG(e.sqlstate), STR_ARG(e.message));
	size_t len = n > 0 ? MIN((size_t)n, sizeof(text) - 1) : 0;
	pg_skip(c, SIDE_TARGET, in->len, WHY_LOGIN);
	return pg_login_failed(c, str_mem(text, len));
}

static int on_login_notice(struct pg_core *c, const struct pg_in *in) {
	pg_skip(c, SIDE_TARGET, in->len, WHY_NOTICE);
	return PG_TAKEN;
}

/* NegotiateProtocolVersion: we asked for 3.2 and no option, so 3.0 is all that can be meant. */
static int on_negotiate(struct pg_core *c, const struct pg_in *in) {
	struct pg_negotiate v;
	if (pg_negotiate_parse(&v, in->body) < 0 || c->is_negotiated ||
	    c->login_code != PG_AUTH_NONE || c->up_minor == 0 || v.count != 0 ||
	    v.version != PG_PROTOCOL_3_0)
		return pg_target_broke(c, "NegotiateProtocolVersion makes no sense here");
	c->is_negotiated = true;
	c->up_minor = 0;
	pg_skip(c, SIDE_TARGET, in->len, WHY_HANDSHAKE);
	return PG_TAKEN;
}

const struct pg_table pg_login_table = {
	.on = {
		['v'] = { .fn = on_negotiate, .need = PG_NEED_WHOLE, .own = true },
		['R'] = { .fn = on_auth, .need = PG_NEED_WHOLE, .own = true },
		['E'] = { .fn = on_login_error, .need = PG_NEED_WHOLE, .own = true },
		['N'] = { .fn = on_login_notice, .need = PG_NEED_WHOLE, .own = true },
	},
};

static void send_auth_ok(struct pg_core *c) {
	struct buf b;
	buf_init(&b, KIB);
	pg_w_auth(&b, PG_AUTH_OK, STR_NONE);
	pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_LOGIN);
	buf_fini(&b);
}

/* Where this fact is missing, 3.0 is spoken with both. */
static void tell_versions(struct pg_core *c) {
	char text[64];
	if (c->minor == 0 && c->up_minor == 0)
		return;
	(void)snprintf(text, sizeof(text), "3.%u with the client, 3.%u with the target", c->minor,
	               c->up_minor);
	pg_fact(c, STR("protocol"), str_of(text));
}

/* SASLInitialResponse begins with the mechanism's name. */
static void tell_mechanism(struct pg_core *c, struct str response) {
	if (c->login_code == PG_AUTH_SASL && str_starts(response, STR("SCRAM-")))
		pg_fact(c, STR("target_login"), str_head(str_cut(&response, '\0'), 32));
}

static void send_login_answer(struct pg_core *c, struct str bytes) {
	struct buf b;
	buf_init(&b, 64 * KIB + PG_HEAD_SIZE);
	size_t mark = pg_w_begin(&b, 'p');
	w_bytes(&b, bytes);
	pg_w_end(&b, mark);
	if (w_done(&b) == 0)
		pg_send_secret(c, SIDE_TARGET, buf_peek(&b), WHY_CREDENTIAL);
	wipe(b.p, b.cap);
	buf_fini(&b);
}

/* The keeper went away while it answered the target: nobody's fault, and nothing was executed. */
static int login_interrupted(struct pg_core *c, struct str detail) {
	char text[96];
	pg_fact(c, STR("login_error"), detail);
	(void)snprintf(text, sizeof(text),
	               "the gateway was restarted during the login (session %s)", c->short_id);
	return pg_fatal_hint(c, H_EKEEPER,
	                     &(struct pg_say){
				     .sqlstate = STR("57P01"),
				     .message = str_of(text),
				     .hint = STR("nothing was executed; connect again") });
}

int pg_login_stepped(struct pg_core *c, const struct event *ev) {
	if (c->phase != &pg_phase_login_step)
		return 0;
	if (ev->code == H_EKEEPER)
		return login_interrupted(c, ev->text);
	if (ev->code < 0)
		return pg_login_failed(c, ev->text);
	bool is_ok = c->login_code == PG_AUTH_OK;
	if (ev->is_done != is_ok)
		return pg_login_failed(c, is_ok ? STR("the target ended authentication too early")
		                                : STR("authentication ended before the target "
		                                      "said so"));
	if (is_ok) {
		tell_versions(c);
		pg_prove_done(c);
		send_auth_ok(c);
		pg_enter(c, &pg_phase_settle);
		return 0;
	}
	/* SASLFinal has no answer; every other challenge has one, which may be empty in theory. */
	tell_mechanism(c, ev->bytes);
	if (ev->bytes.n > 0)
		send_login_answer(c, ev->bytes);
	pg_enter(c, &pg_phase_login);
	return 0;
}

/* ---- settling ---- */

static bool is_pin_kept(struct pg_param p) {
	if (str_is(p.name, "client_encoding"))
		return str_is(p.value, "UTF8");
	if (str_is(p.name, "standard_conforming_strings"))
		return str_is(p.value, "on");
	return true;
}

int pg_status_check(struct pg_core *c, struct str body) {
	struct pg_param p;
	if (pg_status_parse(&p, body) < 0)
		return pg_target_broke(c, "malformed ParameterStatus");
	if (c->hygiene != HYGIENE_PINNED || is_pin_kept(p))
		return 0;
	char text[160];
	(void)snprintf(text, sizeof(text),
	               "%.*s was changed to \"%.*s\": the session is pinned and was ended",
	               STR_ARG(p.name), STR_ARG(str_head(p.value, 64)));
	return pg_fatal_hint(
		c, H_EFEATURE,
		&(struct pg_say){
			.sqlstate = STR("0A000"),
			.message = str_of(text),
			.detail = STR("hygiene: pinned keeps client_encoding UTF8 and "
	                              "standard_conforming_strings on"),
			.hint = STR("leave the setting alone, or ask for a connection with "
	                            "hygiene: open") });
}

static int on_settle_status(struct pg_core *c, const struct pg_in *in) {
	int rc = pg_status_check(c, in->body);
	struct pg_param p;
	if (rc < 0)
		return rc;
	if (pg_status_parse(&p, in->body) == 0 && str_is(p.name, "server_version"))
		pg_fact(c, p.name, p.value);
	return PG_PASS;
}

static int on_key(struct pg_core *c, const struct pg_in *in) {
	struct pg_key k;
	if (pg_key_parse(&k, in->body) < 0 || c->target_key_len > 0)
		return pg_target_broke(c, "malformed BackendKeyData");
	c->target_pid = k.pid;
	c->target_key_len = k.key.n;
	memcpy(c->target_key, k.key.p, k.key.n);
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_BACKEND, .pid = k.pid });
	pg_redact(c, SIDE_TARGET, in->len, WHY_KEYS);
	struct buf b;
	buf_init(&b, KIB);
	pg_w_key(&b, k.pid, str_mem(c->cancel_key, c->cancel_key_size));
	pg_send_secret(c, SIDE_CLIENT, buf_peek(&b), WHY_KEYS);
	buf_fini(&b);
	return PG_TAKEN;
}

static int on_settle_notice(struct pg_core *c unused_arg, const struct pg_in *in unused_arg) {
	return PG_PASS;
}

static int on_settled(struct pg_core *c, const struct pg_in *in) {
	if (pg_ready_parse(&c->state, in->body) < 0)
		return pg_target_broke(c, "malformed ReadyForQuery");
	pg_enter(c, &pg_phase_ready);
	return PG_PASS;
}

const struct pg_table pg_settle_table = {
	.on = {
		['S'] = { .fn = on_settle_status, .need = PG_NEED_WHOLE },
		['K'] = { .fn = on_key, .need = PG_NEED_WHOLE, .own = true },
		['N'] = { .fn = on_settle_notice, .need = PG_NEED_HEAD },
		['E'] = { .fn = on_login_error, .need = PG_NEED_WHOLE, .own = true },
		['Z'] = { .fn = on_settled, .need = PG_NEED_WHOLE },
	},
};
