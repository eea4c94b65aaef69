/*
 * pg_prove.c: the client's proof: asked for, taken, handed on.
 *
 * The method must be chosen before it is known who speaks, so the user name says it: nothing behind
 * it means what the connection says (password, unless configured otherwise; for a connection that is not
 * there as well), "+oauth" means OAUTHBEARER, any other hint is the id of a key and means SCRAM.
 *
 *   password   R 3  ──────────────▶ p token                                        ORD_ADMIT
 *   scram      R 10 SCRAM-SHA-256(-PLUS) ─▶ p client-first   ORD_PROVE
 *              R 11 server-first ─▶ p client-final                                 ORD_ADMIT
 *              R 12 server-final, as soon as the target has let us in
 *   oauth      R 10 OAUTHBEARER ─▶ p token                                         ORD_ADMIT
 *              when refused: R 11 {"status":"invalid_token",…} ─▶ p 0x01 ─▶ FATAL
 *
 * PLUS is offered when our certificate can be bound to. What SCRAM says is judged by the keeper: this process has
 * no verifiers. Every message of a proof is a credential to the record: place and length are kept.
 */
#include "identity/oauthbearer.h"
#include "identity/scram_server.h"
#include "proto/postgres/pg_priv.h"

/* A mechanism list ends in an empty name. */
#define LIST_PLAIN STR(SCRAM_PLAIN "\0\0")
#define LIST_PLUS STR(SCRAM_PLUS "\0" SCRAM_PLAIN "\0\0")
#define LIST_OAUTH STR(OAUTHBEARER "\0\0")

static void send_auth(struct pg_core *c, uint32_t code, struct str data, bool is_secret) {
	struct buf b;
	buf_init(&b, 8 * KIB);
	pg_w_auth(&b, code, data);
	if (is_secret)
		pg_send_secret(c, SIDE_CLIENT, buf_peek(&b), WHY_LOGIN);
	else
		pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_LOGIN);
	buf_fini(&b);
}

/* ---- asking ---- */

static enum proof_method method_of(const struct pg_core *c) {
	struct connection_facts facts = { .proof = PROVE_BY_PASSWORD };
	if (str_is(c->ask.hint, "oauth"))
		return PROVE_BY_OAUTH;
	if (c->ask.hint.n > 0)
		return PROVE_BY_SCRAM;
	if (c->sink->connection == NULL || !c->sink->connection(c->sink, c->ask.connection, &facts))
		return PROVE_BY_PASSWORD;
	return facts.proof;
}

static int refuse_no_key(struct pg_core *c) {
	return pg_fatal_hint(
		c, H_EAUTH,
		&(struct pg_say){
			.sqlstate = STR("28000"),
			.message = STR(
				"the user name needs the id of a key: this connection asks for "
				"SCRAM-SHA-256"),
			.hint = STR(
				"connect as [role.]connection+KEY; hansard token prints the KEY of "
				"each token") });
}

int pg_ask_proof(struct pg_core *c) {
	c->method = method_of(c);
	switch (c->method) {
	case PROVE_BY_PASSWORD:
		send_auth(c, PG_AUTH_CLEAR, STR_NONE, false);
		pg_enter(c, &pg_phase_password);
		return 0;
	case PROVE_BY_SCRAM:
		if (c->ask.hint.n == 0)
			return refuse_no_key(c);
		send_auth(c, PG_AUTH_SASL, c->can_bind ? LIST_PLUS : LIST_PLAIN, false);
		break;
	case PROVE_BY_OAUTH:
		send_auth(c, PG_AUTH_SASL, LIST_OAUTH, false);
		break;
	case PROVE_BY_COUNT:
		break;
	}
	pg_enter(c, &pg_phase_sasl);
	return 0;
}

/* ---- the proof ---- */

static void admit(struct pg_core *c, enum proof_kind kind, struct str proof) {
	struct admit a = c->ask;
	a.proof_kind = kind;
	a.proof = proof;
	a.client_app = pg_start_param(c, "application_name");
	a.cancel_key_size = c->minor >= 2 ? CANCEL_KEY_LONG : CANCEL_KEY_SHORT;
	pg_enter(c, &pg_phase_admit);
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_ADMIT, .admit = &a });
}

static int on_password(struct pg_core *c, const struct pg_in *in) {
	struct str proof;
	if (pg_password_parse(&proof, in->body) < 0)
		return pg_client_broke(c, "invalid password message");
	/* The proof is borrowed from the bytes shown: the shell copies it before they are taken away. */
	admit(c, PROOF_PASSWORD, proof);
	pg_redact(c, SIDE_CLIENT, in->len, WHY_CREDENTIAL);
	return PG_TAKEN;
}

const struct pg_table pg_password_table = {
	.on = { ['p'] = { .fn = on_password, .need = PG_NEED_WHOLE, .own = true } },
};

/* A static name of what was offered and chosen; NULL when it was not offered. */
static const char *mechanism_of(const struct pg_core *c, struct str name) {
	bool is_scram = c->method == PROVE_BY_SCRAM;
	if (is_scram && str_is(name, SCRAM_PLAIN))
		return SCRAM_PLAIN;
	if (is_scram && c->can_bind && str_is(name, SCRAM_PLUS))
		return SCRAM_PLUS;
	return !is_scram && str_is(name, OAUTHBEARER) ? OAUTHBEARER : NULL;
}

/* The mechanism's first message: 0, or a negative code: the session has ended. */
static int take_first(struct pg_core *c, struct str message) {
	struct str token;
	if (c->method == PROVE_BY_SCRAM) {
		pg_enter(c, &pg_phase_prove);
		c->sink->emit(c->sink, &(struct order){ .kind = ORD_PROVE,
		                                        .admit = &c->ask,
		                                        .name = str_of(c->mechanism),
		                                        .bytes = message });
		return 0;
	}
	if (oauthbearer_parse(&token, message) < 0)
		return pg_client_broke(c, "malformed OAUTHBEARER message");
	admit(c, PROOF_BEARER, token);
	return 0;
}

/* SASLInitialResponse; when it brings no message, the mechanism's begins with an empty challenge. */
static int on_sasl(struct pg_core *c, const struct pg_in *in) {
	struct pg_sasl first = { .message = in->body };
	int rc = 0;
	if (c->mechanism == NULL) {
		if (pg_sasl_parse(&first, in->body) < 0)
			return pg_client_broke(c, "invalid SASLInitialResponse");
		c->mechanism = mechanism_of(c, first.mechanism);
		if (c->mechanism == NULL)
			return pg_client_broke(c, "a SASL mechanism that was not offered");
	}
	if (first.is_empty)
		send_auth(c, PG_AUTH_SASL_CONTINUE, STR_NONE, false);
	else
		rc = take_first(c, first.message);
	if (rc < 0)
		return rc;
	pg_redact(c, SIDE_CLIENT, in->len, WHY_CREDENTIAL);
	return PG_TAKEN;
}

const struct pg_table pg_sasl_table = {
	.on = { ['p'] = { .fn = on_sasl, .need = PG_NEED_WHOLE, .own = true } },
};

int pg_proved(struct pg_core *c, struct str challenge) {
	if (c->phase != &pg_phase_prove)
		return 0;
	send_auth(c, PG_AUTH_SASL_CONTINUE, challenge, true);
	pg_enter(c, &pg_phase_sasl_final);
	return 0;
}

static int on_final(struct pg_core *c, const struct pg_in *in) {
	admit(c, PROOF_SCRAM, in->body);
	pg_redact(c, SIDE_CLIENT, in->len, WHY_CREDENTIAL);
	return PG_TAKEN;
}

const struct pg_table pg_sasl_final_table = {
	.on = { ['p'] = { .fn = on_final, .need = PG_NEED_WHOLE, .own = true } },
};

/* ---- answers ---- */

static const char *refusal_state(int code) {
	switch (code) {
	case H_ERECORDER:
		return "58030";
	case H_EKEEPER:
	case H_EDRAIN:
		return "57P01";
	case H_EQUOTA:
	case H_EBUSY:
		return "53300";
	case H_ENOSPACE:
		return "53100";
	case H_EFEATURE:
		return "0A000";
	case H_ECONNECT:
	case H_ETIMEOUT:
	case H_ETLS:
		return "08006";
	default:
		return "28000";
	}
}

static int refuse(struct pg_core *c, int code, struct str text) {
	return pg_fatal_hint(c, code < 0 ? code : H_EREFUSED,
	                     &(struct pg_say){ .sqlstate = str_of(refusal_state(code)),
	                                       .message = text.n > 0 ? text
	                                                             : STR("not admitted") });
}

int pg_refused(struct pg_core *c, const struct event *ev) {
	if (c->phase != &pg_phase_admit && c->phase != &pg_phase_prove)
		return 0;
	if (c->method != PROVE_BY_OAUTH || ev->bytes.n == 0)
		return refuse(c, ev->code, ev->text);
	c->refused_code = ev->code;
	bool is_kept = str_copy(c->refused_text, sizeof(c->refused_text),
	                        str_head(ev->text, sizeof(c->refused_text) - 1));
	if (!is_kept)
		c->refused_text[0] = '\0';
	send_auth(c, PG_AUTH_SASL_CONTINUE, ev->bytes, false);
	pg_enter(c, &pg_phase_sasl_refused);
	return 0;
}

/* The client has read the challenge (0x01, RFC 7628 §3.2.3); whatever it says, the end is the same. */
static int on_acknowledged(struct pg_core *c, const struct pg_in *in) {
	pg_redact(c, SIDE_CLIENT, in->len, WHY_LOGIN);
	return refuse(c, c->refused_code, str_of(c->refused_text));
}

const struct pg_table pg_sasl_refused_table = {
	.on = { ['p'] = { .fn = on_acknowledged, .need = PG_NEED_WHOLE, .own = true } },
};

void pg_prove_done(struct pg_core *c) {
	if (c->server_final[0] != '\0')
		send_auth(c, PG_AUTH_SASL_FINAL, str_of(c->server_final), true);
	wipe(c->server_final, sizeof(c->server_final));
}
