/*
 * pg_start.c: the client's first packets.
 *
 * SSLRequest is answered 'S' or 'N' with one byte, GSSENCRequest with 'N'; each may come once, and
 * neither after TLS is up. What stood behind an SSLRequest in plaintext is an attack and the shell's
 * business (proto.h, ORD_TLS). A CancelRequest is handed on and never answered.
 *
 * Direct TLS (sslnegotiation=direct, PostgreSQL 17). A first byte 0x16 begins a TLS handshake, and the
 * bytes that are there belong to it. Nothing has said yet that PostgreSQL is meant, so ALPN must:
 * without "postgresql" the connection ends behind the handshake without a word, as a server ends
 * it (a client of another protocol, sent here by somebody, gets no answer to misread).
 *
 * Versions. The client's StartupMessage is answered before it is known what the target speaks, so
 * the gateway answers for itself, as PostgreSQL 18 does: up to 3.2, NegotiateProtocolVersion for
 * what is newer and for every protocol option. 3.0 and 3.2 differ by the length of cancel keys
 * alone, and those are ours on both sides, so any pair of them can be joined
 * (docs/decisions/0007-versions-and-routes.md).
 *
 * Proofs are asked for inside TLS only, on loopback too: a password is a bearer credential (pg_prove.c).
 */
#include "proto/postgres/pg_priv.h"

enum { DATABASE_MAX = 255 };

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
	pg_tls(c, SIDE_CLIENT, false);
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
	int rc = pg_cancel_parse(&k, body);
	if (rc == 0)
		c->sink->emit(c->sink,
		              &(struct order){ .kind = ORD_CANCEL, .pid = k.pid, .bytes = k.key });
	pg_redact(c, SIDE_CLIENT, body.n + 8, WHY_CANCEL);
	if (rc < 0)
		return pg_end(c, 0);
	pg_enter(c, &pg_phase_cancel);
	return 0;
}

/* ---- StartupMessage ---- */

/* Tells the client which version is spoken, and which protocol options are not known. */
static void negotiate(struct pg_core *c, uint32_t version, struct pg_params params) {
	struct pg_params it = params;
	struct pg_param p;
	uint32_t count = 0;
	c->minor = (uint8_t)MIN(version & 0xffff, (uint32_t)PG_MINOR_MAX);
	while (pg_params_next(&it, &p))
		count += str_starts(p.name, STR("_pq_."));
	if ((version & 0xffff) <= PG_MINOR_MAX && count == 0)
		return;
	struct buf b;
	buf_init(&b, 2 * (size_t)PG_START_LEN_MAX);
	size_t mark = pg_w_negotiate_begin(&b, PG_PROTOCOL_3_0 | c->minor, count);
	while (pg_params_next(&params, &p))
		if (str_starts(p.name, STR("_pq_.")))
			w_cstr(&b, p.name);
	pg_w_end(&b, mark);
	pg_send(c, SIDE_CLIENT, buf_peek(&b), WHY_HANDSHAKE);
	buf_fini(&b);
}

/* As PostgreSQL reads a boolean: any beginning of these words that can be no other. */
static bool is_bool(struct str v, bool *ret) {
	static const struct {
		const char *word;
		size_t least;
		bool value;
	} words[] = { { "true", 1, true }, { "false", 1, false }, { "yes", 1, true },
		      { "no", 1, false },  { "on", 2, true },     { "off", 2, false },
		      { "1", 1, true },    { "0", 1, false } };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct str word = str_of(words[i].word);
		if (v.n < words[i].least || !str_eq_nocase(str_head(word, v.n), v))
			continue;
		*ret = words[i].value;
		return true;
	}
	return false;
}

/* `replication`: "database", or a boolean. */
static int check_replication(struct pg_core *c) {
	struct str v = pg_start_param(c, "replication");
	bool is_true = str_is(v, "database");
	if (v.n > 0 && !is_true && !is_bool(v, &is_true))
		return pg_fatal(c, H_EPROTO, "22023",
		                "invalid value for the startup parameter replication");
	c->ask.wants_replication = is_true;
	return 0;
}

static int check_startup(struct pg_core *c) {
	if (!c->is_tls)
		return pg_fatal_hint(
			c, H_EAUTH,
			&(struct pg_say){
				.sqlstate = STR("28000"),
				.message = STR(
					"TLS is required: the password is accepted inside TLS only"),
				.hint = STR("connect with sslmode=require (or verify-full)") });
	int rc = check_replication(c);
	if (rc < 0)
		return rc;
	struct str user = pg_start_param(c, "user");
	if (user.n == 0)
		return pg_fatal(c, H_EPROTO, "28000",
		                "no user name was given in the startup packet");
	if (pg_route(c) < 0 || pg_start_param(c, "database").n > DATABASE_MAX)
		return pg_fatal_hint(
			c, H_EREFUSED,
			&(struct pg_say){
				.sqlstate = STR("28000"),
				.message = STR("not admitted"),
				.hint = STR(
					"the user name is [role.]connection[+hint], each of at most 32 "
					"of a-z, 0-9 and -") });
	return pg_ask_proof(c);
}

static int on_startup(struct pg_core *c, const struct pg_start *s) {
	struct pg_params params;
	if (s->code >> 16 != PG_PROTOCOL_3_0 >> 16)
		return pg_fatal(c, H_EVERSION, "0A000",
		                "unsupported frontend protocol: the gateway speaks 3.0 to 3.2");
	if (pg_params_parse(&params, s->body) < 0)
		return pg_client_broke(c, "invalid startup packet layout");
	int rc = buf_append(&c->start, s->body);
	assert(rc == 0); /* the packet's length was checked against the same limit */
	negotiate(c, s->code, params);
	pg_skip(c, SIDE_CLIENT, s->body.n + 8, WHY_REWRITE);
	return check_startup(c);
}

/* fatal, level 2; handshake_failure, 40: the listener has no TLS to offer. */
static int refuse_direct_tls(struct pg_core *c) {
	static const uint8_t alert[] = { 0x15, 3, 3, 0, 2, 2, 40 };
	pg_send(c, SIDE_CLIENT, str_mem(alert, sizeof(alert)), WHY_ERROR);
	return pg_end(c, H_EFEATURE);
}

static int begin_direct_tls(struct pg_core *c, size_t n) {
	if (!c->has_tls)
		return refuse_direct_tls(c);
	c->began_tls = true;
	c->left[SIDE_CLIENT] -= MIN(c->left[SIDE_CLIENT], n); /* TLS's, no part of stream C */
	pg_enter(c, &pg_phase_start_tls);
	pg_tls(c, SIDE_CLIENT, true);
	return 0;
}

/* Host names are compared without case, names of connections have none. */
static void keep_label(struct pg_core *c, struct str label) {
	if (!str_copy(c->label, sizeof(c->label), label))
		c->label[0] = '\0';
	for (char *p = c->label; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + ('a' - 'A'));
}

int pg_start_tls_up(struct pg_core *c, const struct tls_facts *tls) {
	if (c->phase != &pg_phase_start_tls)
		return 0;
	c->is_tls = true;
	if (c->began_tls && (tls == NULL || !str_is(tls->alpn, PG_ALPN))) {
		pg_fact(c, STR("client_violation"), STR("direct TLS without ALPN"));
		return pg_end(c, H_EPROTO);
	}
	if (tls != NULL)
		keep_label(c, tls->label);
	c->can_bind = tls != NULL && tls->end_point.n > 0;
	pg_enter(c, &pg_phase_start);
	return 0;
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
	bool is_first = !c->is_tls && !c->asked_tls && !c->asked_gss;
	if (is_first && (uint8_t)data.p[0] == PG_TLS_RECORD)
		return begin_direct_tls(c, data.n);
	int used = pg_start_parse(&s, data);
	if (used == 0)
		return 0;
	if (used < 0)
		return pg_client_broke(c, "invalid length of startup packet");
	int rc = on_packet(c, &s);
	return rc < 0 || c->phase == &pg_phase_ended ? rc : used;
}
