/*
 * check.c: what is wrong with a configuration although every single option is right.
 *
 * Errors are what cannot work or would be unsafe in a way that nobody could have meant; warnings
 * are choices that somebody may mean and should know the price of. Each rule is a function.
 */
#include "config/config_priv.h"

struct place config_place(const struct config *c, const struct config_item *item,
                          enum option_id id) {
	struct str key = str_of(options[id].path);
	size_t skip = 0;

	/* "spec.roles.*.auth" under the role's own path: "spec.roles.ro.auth" */
	if (item->shown.n != 0) {
		skip = owner_prefix(options[id].owner);
		char text[512];
		int n = snprintf(text, sizeof(text), "%.*s.%.*s", STR_ARG(item->shown),
		                 STR_ARG(str_from(key, skip)));

		key = arena_str(c->arena, str_mem(text, MIN((size_t)n, sizeof(text) - 1)));
	}
	uint32_t at = item->at[id];

	return (struct place){ .file = c->file,
		               .line = at != 0 ? at >> 10 : item->line,
		               .column = at != 0 ? at & 1023 : 1,
		               .key = key };
}

static void required(const struct config *c, const struct config_item *item, enum opt_owner owner,
                     struct findings *f) {
	for (unsigned i = 0; i < OPT_COUNT; i++) {
		if (options[i].owner != owner || options[i].def[0] != '!' || item->at[i] != 0)
			continue;
		struct place at = config_place(c, item, (enum option_id)i);

		finding_error(f, &at, "is missing");
	}
}

static void check_role_auth(const struct config *c, const struct config_connection *conn,
                            const struct config_role *r, struct findings *f) {
	struct place auth = config_place(c, &r->item, OPT_R_AUTH);
	struct place password = config_place(c, &r->item, OPT_R_PASSWORD);
	bool is_unix = str_starts(conn->address, STR("unix:"));
	bool is_verified = conn->tls_mode >= CONFIG_TLS_VERIFY_CA;

	if (r->auth == CONFIG_AUTH_TRUST && r->password.kind != SECRET_NONE)
		finding_warn(f, &password, "is not used: auth is trust");
	if (r->auth != CONFIG_AUTH_TRUST && r->password.kind == SECRET_NONE)
		finding_error(f, &password,
		              "is missing: auth %.*s needs { env: NAME } or { file: PATH }",
		              STR_ARG(config_auth_name(r->auth)));
	if (r->auth == CONFIG_AUTH_MD5)
		finding_warn(
			f, &auth,
			"md5 can be replayed from a stolen password hash; scram-sha-256 cannot");
	if (r->auth != CONFIG_AUTH_PASSWORD)
		return;
	if (!is_verified && !is_unix)
		finding_error(
			f, &auth,
			"password sends the clear password: it needs tls.mode verify-ca or verify-full");
	else
		finding_warn(
			f, &auth,
			"the clear password passes through the worker process; prefer scram-sha-256");
}

static void check_role_binding(const struct config *c, const struct config_connection *conn,
                               const struct config_role *r, struct findings *f) {
	struct place at = config_place(c, &r->item, OPT_R_BINDING);
	bool is_plain = conn->tls_mode == CONFIG_TLS_DISABLE ||
	                str_starts(conn->address, STR("unix:"));

	if (r->binding != CONFIG_BINDING_REQUIRE)
		return;
	if (r->auth != CONFIG_AUTH_SCRAM)
		finding_error(f, &at, "require needs auth scram-sha-256");
	else if (is_plain)
		finding_error(f, &at, "require needs TLS with the target");
}

static void check_roles(const struct config *c, const struct config_connection *conn,
                        struct findings *f) {
	struct place at = config_place(c, &conn->item, OPT_R_USER);

	at.key = STR("spec.roles");
	at.line = conn->item.line;
	if (conn->roles == NULL)
		finding_error(f, &at, "is missing: at least one role, best named default");
	else if (config_role_find(conn, STR("default")) == NULL)
		finding_warn(f, &at,
		             "no role is named default: clients must name one, as ROLE.%.*s",
		             STR_ARG(conn->name));
	for (const struct config_role *r = conn->roles; r != NULL; r = r->next) {
		required(c, &r->item, OWNER_R, f);
		check_role_auth(c, conn, r, f);
		check_role_binding(c, conn, r, f);
	}
}

static void check_proof(const struct config *c, const struct config_connection *conn,
                        struct findings *f) {
	struct place at = config_place(c, &conn->item, OPT_C_PROOF);

	if (conn->proof == CONFIG_PROOF_SCRAM && !c->gateway.identity_local)
		finding_warn(
			f, &at,
			"scram proves tokens of hansard token only, and the local issuer is off: "
			"clients need the hint +oauth");
}

static void check_access(const struct config *c, const struct config_connection *conn,
                         struct findings *f) {
	struct place at = {
		.file = c->file, .line = conn->item.line, .column = 1, .key = STR("spec.access")
	};

	if (conn->access == NULL)
		finding_warn(f, &at, "is missing: nobody is admitted to %.*s", STR_ARG(conn->name));
	for (const struct config_access *a = conn->access; a != NULL; a = a->next) {
		required(c, &a->item, OWNER_A, f);
		at = config_place(c, &a->item, OPT_A_ROLES);
		for (size_t i = 0; i < a->roles.n; i++) {
			if (config_role_find(conn, a->roles.v[i]) != NULL)
				continue;
			finding_error(f, &at, "there is no role \"%.*s\" in spec.roles",
			              STR_ARG(a->roles.v[i]));
			for (const struct config_role *r = conn->roles; r != NULL; r = r->next) {
				if (is_near(r->name, a->roles.v[i]))
					finding_nearest(f, r->name);
			}
		}
	}
}

static void check_databases(const struct config *c, const struct config_connection *conn,
                            struct findings *f) {
	struct place def = config_place(c, &conn->item, OPT_C_DB_DEFAULT);
	struct place allow = config_place(c, &conn->item, OPT_C_DB_ALLOW);
	bool is_in = false, has_star = false;

	for (size_t i = 0; i < conn->databases.n; i++) {
		is_in = is_in || str_eq(conn->databases.v[i], conn->database);
		has_star = has_star || str_is(conn->databases.v[i], "*");
	}
	if (conn->database.n == 0 && conn->databases.n == 0)
		finding_error(f, &def, "is missing: spec.databases needs default, allow, or both");
	if (has_star && conn->databases.n != 1)
		finding_error(f, &allow, "\"*\" is any database and stands alone");
	if (conn->database.n != 0 && conn->databases.n != 0 && !is_in && !has_star)
		finding_error(f, &def, "the default database is not in spec.databases.allow");
}

static void check_target_tls(const struct config *c, const struct config_connection *conn,
                             struct findings *f) {
	struct place mode = config_place(c, &conn->item, OPT_C_TLS_MODE);
	struct place ca = config_place(c, &conn->item, OPT_C_TLS_CA);
	struct config_address a;
	const char *why;

	if (conn->address.n == 0 || config_address_parse(&a, conn->address, &why) < 0)
		return;
	if (a.kind == ADDRESS_UNIX) {
		if (conn->item.at[OPT_C_TLS_MODE] != 0 && conn->tls_mode != CONFIG_TLS_DISABLE)
			finding_warn(f, &mode, "is not used: TLS is never spoken on a Unix socket");
		return;
	}
	if (conn->tls_mode == CONFIG_TLS_DISABLE && conn->tls_negotiation == CONFIG_TLS_DIRECT) {
		mode = config_place(c, &conn->item, OPT_C_TLS_NEGOTIATION);
		finding_error(f, &mode, "direct needs TLS: tls.mode is disable");
		return;
	}
	if (conn->tls_mode < CONFIG_TLS_VERIFY_CA && conn->tls_ca.n != 0)
		finding_warn(f, &ca, "is not used: tls.mode %.*s does not verify",
		             STR_ARG(config_tls_name(conn->tls_mode)));
	if (conn->tls_mode == CONFIG_TLS_REQUIRE)
		finding_warn(f, &mode,
		             "require encrypts but does not check who answers; prefer "
		             "verify-full");
	if (conn->tls_mode == CONFIG_TLS_DISABLE && !a.is_loopback)
		finding_warn(f, &mode, "statements and rows cross the network in clear text");
}

static void check_connection(const struct config *c, const struct config_connection *conn,
                             struct findings *f) {
	struct place at = config_place(c, &conn->item, OPT_C_NAME);

	required(c, &conn->item, OWNER_C, f);
	for (const struct config_connection *k = c->connections; k != conn; k = k->next) {
		if (conn->name.n != 0 && str_eq(k->name, conn->name))
			finding_error(f, &at,
			              "a second Connection named \"%.*s\"; the first is at line %u",
			              STR_ARG(conn->name), k->item.line);
	}
	check_roles(c, conn, f);
	check_access(c, conn, f);
	check_proof(c, conn, f);
	check_databases(c, conn, f);
	check_target_tls(c, conn, f);
	at = config_place(c, &conn->item, OPT_C_DURABLE);
	if (conn->durable == CONFIG_ASYNC)
		finding_warn(
			f, &at,
			"async is for development: a crash loses the newest part of the record");
}

static bool issuer_name_ok(struct str name) {
	for (size_t i = 0; i < name.n; i++) {
		char ch = name.p[i];

		if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' ||
		      ch == '.'))
			return false;
	}
	return name.n != 0 && !str_is(name, "local");
}

static void check_mappings(const struct config *c, const struct config_issuer *s,
                           struct findings *f) {
	struct place at = config_place(c, &s->item, OPT_I_ISSUER);

	if (s->mappings == NULL) {
		at.key = str_is(s->item.shown, "") ? STR("mappings") : s->item.shown;
		finding_error(f, &at, "has no mappings: no token of this issuer would be admitted");
	}
	for (const struct config_mapping *m = s->mappings; m != NULL; m = m->next) {
		required(c, &m->item, OWNER_M, f);
		at = config_place(c, &m->item, OPT_M_WHEN);
		if (m->when.n == 0 && m->next != NULL)
			finding_warn(f, &at, "takes every token: the mappings below never apply");
		at = config_place(c, &m->item, OPT_M_CONTEXT);
		if (m->context.n > CONFIG_CONTEXT_MAX)
			finding_error(f, &at, "at most %d claims", CONFIG_CONTEXT_MAX);
		at = config_place(c, &m->item, OPT_M_GROUPS);
		if (m->groups.n > CONFIG_GROUPS_MAX)
			finding_error(f, &at, "at most %d templates", CONFIG_GROUPS_MAX);
	}
}

/* Two issuers with one name could yield the same subject; two entries with one issuer, two answers. */
static void check_twins(const struct config *c, const struct config_issuer *s, struct findings *f) {
	struct place issuer = config_place(c, &s->item, OPT_I_ISSUER);
	struct place name = config_place(c, &s->item, OPT_I_NAME);

	for (const struct config_issuer *k = c->gateway.issuers; k != s; k = k->next) {
		if (s->issuer.n != 0 && str_eq(k->issuer, s->issuer))
			finding_error(
				f, &issuer,
				"stands twice; give one issuer several audiences and mappings");
		else if (s->name.n != 0 && str_eq(k->name, s->name))
			finding_error(f, &name,
			              "\"%.*s\" is the name of another issuer: give each its own",
			              STR_ARG(s->name));
	}
}

static void check_issuer(const struct config *c, const struct config_issuer *s,
                         struct findings *f) {
	struct place issuer = config_place(c, &s->item, OPT_I_ISSUER);
	struct place name = config_place(c, &s->item, OPT_I_NAME);
	struct place ca = config_place(c, &s->item, OPT_I_CA);
	struct place url = config_place(c, &s->item, OPT_I_JWKS_URL);
	bool is_http = str_starts(s->issuer, STR("http://")) ||
	               str_starts(s->jwks_url, STR("http://"));

	required(c, &s->item, OWNER_I, f);
	if (s->issuer.n != 0 && !issuer_name_ok(s->name))
		finding_error(f, &name,
		              "a name has 1 to 64 of the characters a-z, 0-9, - and ., and is not "
		              "\"local\"");
	if (s->jwks_url.n != 0 && s->jwks_file.n != 0)
		finding_error(f, &url, "jwks is either { url: … } or { file: … }");
	if (is_http && s->jwks_file.n == 0)
		finding_warn(f, &issuer,
		             "keys come by http: who can listen on this machine's port may admit "
		             "anybody");
	if (s->ca.n != 0 && s->jwks_file.n != 0)
		finding_warn(f, &ca, "is not used: the keys are in a file");
	check_twins(c, s, f);
	check_mappings(c, s, f);
}

static bool is_domain(struct str s) {
	while (s.n != 0) {
		struct str label = str_cut(&s, '.');

		if (label.n == 0 || label.n > 63 || label.p[0] == '-' ||
		    label.p[label.n - 1] == '-')
			return false;
		for (size_t i = 0; i < label.n; i++) {
			char ch = label.p[i];

			if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9') && ch != '-')
				return false;
		}
	}
	return true;
}

static void check_gateway(const struct config *c, struct findings *f) {
	const struct config_gateway *g = &c->gateway;
	struct place listen = config_place(c, &g->item, OPT_G_LISTEN_POSTGRES);
	struct place cert = config_place(c, &g->item, OPT_G_LISTEN_TLS_CERT);
	struct place key = config_place(c, &g->item, OPT_G_LISTEN_TLS_KEY);
	struct config_address a;
	const char *why;

	required(c, &g->item, OWNER_G, f);
	if (g->listen_domain.n != 0 && !is_domain(g->listen_domain)) {
		struct place domain = config_place(c, &g->item, OPT_G_LISTEN_DOMAIN);

		finding_error(
			f, &domain,
			"must be a domain name in lower case, without a full stop at its end");
	}
	for (const struct config_issuer *s = g->issuers; s != NULL; s = s->next)
		check_issuer(c, s, f);
	if ((g->tls_cert.n != 0) != (g->tls_key.n != 0))
		finding_error(f, g->tls_cert.n != 0 ? &cert : &key,
		              "listen.tls.cert and listen.tls.key come together");
	if (config_address_parse(&a, g->listen_postgres, &why) < 0)
		return;
	if (!a.is_loopback && g->tls_cert.n == 0)
		finding_warn(
			f, &listen,
			"listens beyond this machine with a certificate of the private CA: clients must "
			"trust <store>/ca.pem, or set listen.tls");
}

void config_check(const struct config *c, struct findings *f) {
	struct place whole = { .file = c->file };

	if (c->has_gateway)
		check_gateway(c, f);
	else
		finding_error(f, &whole, "there is no Gateway document");
	if (c->connection_count == 0)
		finding_warn(f, &whole, "there is no Connection document: nothing can be reached");
	for (const struct config_connection *k = c->connections; k != NULL; k = k->next)
		check_connection(c, k, f);
}
