/*
 * pg_start.c: the client's first packets.
 *
 * SSLRequest is answered 'S' or 'N' with one byte, GSSENCRequest with 'N'; each may come once, and
 * neither after TLS is up. What stood behind an SSLRequest in plaintext is an attack and the shell's
 * business (proto.h, ORD_TLS). A CancelRequest is handed on and never answered. A TLS handshake
 * without SSLRequest (sslnegotiation=direct) is refused by a TLS alert, which is what its sender
 * understands.
 *
 * The user name carries the route: [role.]connection[+hint]. A database that equals the whole user
 * name means "none given": libpq fills it in that way, and the connection's default is what such a
 * client wants.
 *
 * The password is a bearer credential, so it is asked for inside TLS only, on loopback too.
 */
#include "proto/postgres/pg_priv.h"

enum { NAME_MAX_LEN = 32, DATABASE_MAX = 255 };

static void answer_byte(struct pg_core *c, char byte) {
	pg_skip(c, SIDE_CLIENT, PG_SSL_LEN, WHY_HANDSHAKE);
	pg_send(c, SIDE_CLIENT, str_mem(&byte, 1), WHY_HANDSHAKE);
}

static int on_ssl(struct pg_core *c, struct str body) {
	if (body.n != 0)
		return pg_client_broke(c, "invalid SSLRequest");
	if (c->is_tls || c->asked_tls)
		return pg_client_broke(c, "SSLRequest was sent twice");
	c->asked_tls = true;
	answer_byte(c, c->has_tls ? 'S' : 'N');
	if (!c->has_tls)
		return 0;
	pg_tls(c, SIDE_CLIENT);
	pg_enter(c, &pg_phase_start_tls);
	return 0;
}

static int on_gss(struct pg_core *c, struct str body) {
	if (body.n != 0)
		return pg_client_broke(c, "invalid GSSENCRequest");
	if (c->is_tls || c->asked_gss)
		return pg_client_broke(c, "GSSENCRequest is not legal here");
	c->asked_gss = true;
	answer_byte(c, 'N');
	return 0;
}

static int on_cancel(struct pg_core *c, struct str body) {
	struct pg_cancel k;
	if (pg_cancel_parse(&k, body) == 0)
		c->sink->emit(c->sink,
		              &(struct order){ .kind = ORD_CANCEL, .pid = k.pid, .bytes = k.key });
	pg_redact(c, SIDE_CLIENT, body.n + 8, WHY_CANCEL);
	return pg_end(c, 0);
}

/* ---- StartupMessage ---- */

static bool is_name(struct str s) {
	if (s.n == 0 || s.n > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];
		if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9') && ch != '-')
			return false;
	}
	return true;
}

/* user = [role.]connection[+hint]. */
static bool route_parse(struct admit *a, struct str user) {
	struct str hint = user;
	struct str route = str_cut(&hint, '+');
	bool has_hint = route.n < user.n;
	struct str rest = route;
	struct str role = str_cut(&rest, '.');
	bool has_role = role.n < route.n;
	a->connection = has_role ? rest : route;
	a->role = has_role ? role : STR_NONE;
	a->hint = has_hint ? hint : STR_NONE;
	return is_name(a->connection) && (!has_role || is_name(role)) &&
	       (!has_hint || is_name(hint));
}

/* Tells the client that we speak 3.0, and which protocol options we do not know. */
static void negotiate(struct pg_core *c, uint32_t version, struct pg_params params) {
	struct pg_params it = params;
	struct pg_param p;
	uint32_t count = 0;
	while (pg_params_next(&it, &p))
		count += str_starts(p.name, STR("_pq_."));
	if (version == PG_PROTOCOL_3_0 && count == 0)
		return;
	struct buf b;
	buf_init(&b, 2 * (size_t)PG_START_LEN_MAX);
	size_t mark = pg_w_negotiate_begin(&b, PG_PROTOCOL_3_0, count);
	while (pg_params_next(&params, &p))
		if (str_starts(p.name, STR("_pq_.")))
			w_cstr(&b, p.name);
	pg_w_end(&b, mark);
	pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_HANDSHAKE);
	buf_fini(&b);
}

/* libpq takes many spellings of false for `replication`; anything else asks for a walsender. */
static bool wants_replication(const struct pg_core *c) {
	struct str v = pg_start_param(c, "replication");
	static const char *const no[] = { "", "0", "false", "off", "no", "f", "n" };
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (str_eq_nocase(v, str_of(no[i])))
			return false;
	return true;
}

static int check_startup(struct pg_core *c) {
	struct admit a;
	if (!c->is_tls)
		return pg_fatal_hint(
			c, H_EAUTH,
			&(struct pg_say){
				.sqlstate = STR("28000"),
				.message = STR(
					"TLS is required: the password is accepted inside TLS only"),
				.hint = STR("connect with sslmode=require (or verify-full)") });
	if (wants_replication(c))
		return pg_fatal(c, H_EFEATURE, "0A000",
		                "replication connections are refused by the gateway");
	struct str user = pg_start_param(c, "user");
	if (user.n == 0)
		return pg_fatal(c, H_EPROTO, "28000",
		                "no user name was given in the startup packet");
	if (!route_parse(&a, user) || pg_start_param(c, "database").n > DATABASE_MAX)
		return pg_fatal_hint(
			c, H_EREFUSED,
			&(struct pg_say){
				.sqlstate = STR("28000"),
				.message = STR("not admitted"),
				.hint = STR(
					"the user name is [role.]connection[+hint], each of at most 32 "
					"of a-z, 0-9 and -") });
	pg_ask_password(c);
	return 0;
}

static int on_startup(struct pg_core *c, const struct pg_start *s) {
	struct pg_params params;
	if (s->code >> 16 != PG_PROTOCOL_3_0 >> 16)
		return pg_fatal(c, H_EVERSION, "0A000",
		                "unsupported frontend protocol: the gateway speaks 3.0");
	if (pg_params_parse(&params, s->body) < 0)
		return pg_client_broke(c, "invalid startup packet layout");
	int rc = buf_append(&c->start, s->body);
	assert(rc == 0); /* the packet's length was checked against the same limit */
	negotiate(c, s->code, params);
	pg_skip(c, SIDE_CLIENT, s->body.n + 8, WHY_REWRITE);
	return check_startup(c);
}

/* fatal, level 2; no_application_protocol, 120: PostgreSQL's own name for a wrong direct TLS. */
static int refuse_direct_tls(struct pg_core *c) {
	static const uint8_t alert[] = { 0x15, 3, 3, 0, 2, 2, 120 };
	pg_send(c, SIDE_CLIENT, str_mem(alert, sizeof(alert)), WHY_ERROR);
	return pg_end(c, H_EFEATURE);
}

static int on_packet(struct pg_core *c, const struct pg_start *s) {
	switch (s->code) {
	case PG_CODE_SSL:
		return on_ssl(c, s->body);
	case PG_CODE_GSSENC:
		return on_gss(c, s->body);
	case PG_CODE_CANCEL:
		return on_cancel(c, s->body);
	default:
		return on_startup(c, s);
	}
}

int pg_start_raw(struct pg_core *c, struct str data) {
	struct pg_start s;
	if (!c->is_tls && (uint8_t)data.p[0] == PG_TLS_RECORD)
		return refuse_direct_tls(c);
	int used = pg_start_parse(&s, data);
	if (used == 0)
		return 0;
	if (used < 0)
		return pg_client_broke(c, "invalid length of startup packet");
	int rc = on_packet(c, &s);
	return rc < 0 || c->phase == &pg_phase_ended ? rc : used;
}

void pg_ask_password(struct pg_core *c) {
	struct buf b;
	buf_init(&b, KIB);
	pg_w_auth(&b, PG_AUTH_CLEAR, STR_NONE);
	pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_LOGIN);
	buf_fini(&b);
	pg_enter(c, &pg_phase_password);
}

/* ---- the proof ---- */

static int on_password(struct pg_core *c, const struct pg_in *in) {
	struct admit a = { .proof_kind = PROOF_PASSWORD };
	if (pg_password_parse(&a.proof, in->body) < 0)
		return pg_client_broke(c, "invalid password message");
	struct str user = pg_start_param(c, "user");
	bool is_route = route_parse(&a, user);
	assert(is_route); /* check_startup() let it through */
	a.database = pg_start_param(c, "database");
	if (str_eq(a.database, user))
		a.database = STR_NONE;
	a.client_app = pg_start_param(c, "application_name");
	pg_enter(c, &pg_phase_admit);
	/* The proof is borrowed from the bytes shown: the shell copies it before they are taken away. */
	c->sink->emit(c->sink, &(struct order){ .kind = ORD_ADMIT, .admit = &a });
	pg_redact(c, SIDE_CLIENT, in->len, WHY_CREDENTIAL);
	return PG_TAKEN;
}

const struct pg_table pg_password_table = {
	.on = { ['p'] = { .fn = on_password, .need = PG_NEED_WHOLE, .own = true } },
};
