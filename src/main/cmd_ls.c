/*
 * cmd_ls.c: hansard ls: the connections, what is recorded of them, who may use them, and how.
 *
 * Everything is said from the configuration, so it can be asked without a gateway. With an identity (--group,
 * --subject, or the token in HANSARD_TOKEN) it says which roles that identity has. The groups of a subject are
 * those of its valid tokens, which only a running gateway knows; those of a JWT are taken from its claims by the
 * issuer's mappings, unverified: this is a look-up, and the gateway decides when a session is opened.
 */
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "config/config.h"
#include "identity/claims.h"
#include "identity/token.h"
#include "main/ask.h"
#include "main/text.h"

enum { KEY_SUBJECT = 0x720, KEY_GROUP, HOST_MAX = 256 };

struct ls_args {
	struct common common;
	const char *subject;
	json_t *groups; /* NULL: nobody in particular */
};

struct ls {
	struct ls_args a;
	struct config *config;
	json_t *connections;
};

/* ---- whose roles ---- */

static void add_groups(struct ls_args *a, const json_t *groups) {
	size_t idx;
	json_t *g;
	if (a->groups == NULL)
		a->groups = json_array();
	json_array_foreach(groups, idx, g)(void) json_array_append(a->groups, g);
}

static bool is_valid(const json_t *token) {
	return json_count(token, "revoked_wall_ns") == 0 &&
	       json_count(token, "expires_wall_ns") > wall_ns();
}

static bool is_subject(const json_t *who, struct str name) {
	struct str subject = json_text(who, "subject");
	return str_eq(subject, name) ||
	       (str_starts(subject, STR("local:")) && str_eq(str_from(subject, 6), name));
}

static int groups_of_subject(struct ls *l, struct err *e) {
	json_t *doc = NULL;
	size_t idx;
	json_t *token;
	int rc = ask_keeper(&l->a.common, json_pack("{s:s}", "cmd", "token.ls"), &doc, e);
	if (rc < 0)
		return rc;
	bool was_found = false;
	json_array_foreach(json_object_get(doc, "items"), idx, token) {
		const json_t *who = json_object_get(token, "identity");
		if (!is_valid(token) || !is_subject(who, str_of(l->a.subject)))
			continue;
		was_found = true;
		add_groups(&l->a, json_object_get(who, "groups"));
	}
	json_decref(doc);
	return was_found
	               ? 0
	               : err_set(e, H_ENOTFOUND,
	                         "no valid token of that subject; its groups can be named: --group");
}

static int groups_of_local(struct ls *l, const char *token, struct err *e) {
	uint8_t hash[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	json_t *doc = NULL;
	if (token_hash(hash, str_of(token)) < 0)
		return err_set(e, H_EFORMAT, "HANSARD_TOKEN holds no token of ours, and no JWT");
	hex_encode(hex, hash, sizeof(hash));
	int rc = ask_keeper(&l->a.common,
	                    json_pack("{s:s, s:s}", "cmd", "token.who", "sha256", hex), &doc, e);
	if (rc < 0)
		return rc;
	add_groups(&l->a, json_object_get(json_object_get(doc, "identity"), "groups"));
	json_decref(doc);
	return 0;
}

static const struct config_issuer *issuer_of(const struct config *c, struct str issuer) {
	for (size_t i = 0; i < c->gateway.issuer_count; i++)
		if (str_eq(c->gateway.issuers[i].issuer, issuer))
			return &c->gateway.issuers[i];
	return NULL;
}

static int groups_of_jwt(struct ls *l, const char *token, struct err *e) {
	struct arena *arena = arena_new(64 * KIB);
	struct jwt jwt;
	struct who who = { .group_count = 0 };
	struct claims *claims = NULL;
	if (jwt_parse(&jwt, arena, str_of(token), e) == TOKEN_FINE)
		claims = claims_parse(&jwt, e);
	const struct config_issuer *issuer = claims != NULL
	                                             ? issuer_of(l->config, claims_issuer(claims))
	                                             : NULL;
	if (claims != NULL && issuer == NULL)
		(void)err_set(e, H_ENOTFOUND, "the configuration has no such issuer");
	if (issuer != NULL && claims_map(claims, issuer, arena, &who, e) != TOKEN_FINE)
		who.group_count = 0;
	json_t *groups = json_array();
	for (size_t i = 0; e->code == 0 && i < who.group_count; i++)
		(void)json_array_append_new(groups, json_stringn(who.groups[i].p, who.groups[i].n));
	add_groups(&l->a, groups);
	json_decref(groups);
	claims_free(&claims);
	arena_free(&arena);
	return e->code < 0 ? e->code : 0;
}

static int find_groups(struct ls *l, struct err *e) {
	const char *token = getenv("HANSARD_TOKEN");
	if (l->a.subject != NULL)
		return groups_of_subject(l, e);
	if (l->a.groups != NULL || token == NULL || token[0] == '\0')
		return 0;
	return jwt_looks(str_of(token)) ? groups_of_jwt(l, token, e) : groups_of_local(l, token, e);
}

/* ---- roles ---- */

static bool list_has(const struct config_list *l, struct str s) {
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i], s))
			return true;
	return false;
}

/* The groups through which a role is open, as a document. */
static json_t *groups_of_role(const struct config_connection *c, const struct config_role *r) {
	json_t *out = json_array();
	for (const struct config_access *a = c->access; a != NULL; a = a->next)
		for (size_t i = 0; list_has(&a->roles, r->name) && i < a->groups.n; i++)
			(void)json_array_append_new(out, json_stringn(a->groups.v[i].p,
			                                              a->groups.v[i].n));
	return out;
}

static bool has_any(const json_t *mine, const json_t *of_role) {
	size_t i;
	size_t k;
	json_t *a;
	json_t *b;
	json_array_foreach(mine, i, a) {
		json_array_foreach(of_role, k, b) {
			if (json_equal(a, b))
				return true;
		}
	}
	return false;
}

/* The role that a line for connecting names: "default" where it is open to them, else the first that is. */
static json_t *put_roles(const struct ls *l, const struct config_connection *c,
                         struct str *ret_role) {
	json_t *out = json_array();
	for (const struct config_role *r = c->roles; r != NULL; r = r->next) {
		json_t *groups = groups_of_role(c, r);
		bool is_open = l->a.groups == NULL || has_any(l->a.groups, groups);
		json_t *o = json_object();
		(void)json_object_set_new(o, "name", json_stringn(r->name.p, r->name.n));
		(void)json_object_set_new(o, "user", json_stringn(r->user.p, r->user.n));
		(void)json_object_set_new(o, "groups", groups);
		if (l->a.groups != NULL)
			(void)json_object_set_new(o, "yours", json_boolean(is_open));
		(void)json_array_append_new(out, o);
		if (is_open && (ret_role->n == 0 || str_is(r->name, "default")))
			*ret_role = r->name;
	}
	return out;
}

/* ---- how to connect ---- */

/* Where clients reach the listener: a wildcard means this machine by its name. */
static void listener(const struct config *c, char host[HOST_MAX], unsigned *ret_port) {
	struct config_address a;
	const char *why = NULL;
	host[0] = '\0';
	*ret_port = 0;
	if (config_address_parse(&a, c->gateway.listen_postgres, &why) < 0)
		return;
	*ret_port = a.port;
	if (a.host.n == 0 || str_is(a.host, "0.0.0.0") || str_is(a.host, "::")) {
		if (gethostname(host, HOST_MAX) != 0)
			host[0] = '\0';
		host[HOST_MAX - 1] = '\0';
	} else {
		(void)str_copy(host, HOST_MAX, a.host);
	}
}

static void put_uri_text(struct buf *b, struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];
		bool is_plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
		                (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' ||
		                ch == '~';
		w_fmt(b, is_plain ? "%c" : "%%%02X", (uint8_t)ch);
	}
}

/* A value of a connection string: in quotes where it has to be. */
static void put_conninfo(struct buf *b, const char *key, struct str s) {
	bool is_quoted = s.n == 0;
	for (size_t i = 0; i < s.n; i++)
		is_quoted = is_quoted || s.p[i] == ' ' || s.p[i] == '\'' || s.p[i] == '\\';
	w_fmt(b, "%s%s=%s", b->len > 0 ? " " : "", key, is_quoted ? "'" : "");
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'' || s.p[i] == '\\')
			w_u8(b, '\\');
		w_u8(b, (uint8_t)s.p[i]);
	}
	if (is_quoted)
		w_u8(b, '\'');
}

struct way {
	const char *how;
	struct str host, user, database, root;
	unsigned port;
	bool is_oauth;
};

static json_t *put_way(const struct way *w) {
	struct buf psql, uri;
	char port[12];
	(void)snprintf(port, sizeof(port), "%u", w->port);
	buf_init(&psql, 64 * KIB);
	buf_init(&uri, 64 * KIB);
	put_conninfo(&psql, "host", w->host);
	put_conninfo(&psql, "port", str_of(port));
	put_conninfo(&psql, "user", w->user);
	put_conninfo(&psql, "dbname", w->database);
	put_conninfo(&psql, "sslmode", STR("verify-full"));
	if (w->root.n > 0)
		put_conninfo(&psql, "sslrootcert", w->root);
	w_bytes(&uri, STR("postgresql://"));
	put_uri_text(&uri, w->user);
	w_u8(&uri, '@');
	bool is_v6 = memchr(w->host.n > 0 ? w->host.p : "", ':', w->host.n) != NULL;
	w_fmt(&uri, is_v6 ? "[%.*s]:%u/" : "%.*s:%u/", STR_ARG(w->host), w->port);
	put_uri_text(&uri, w->database);
	w_bytes(&uri, STR("?sslmode=verify-full"));
	if (w->root.n > 0) {
		w_bytes(&uri, STR("&sslrootcert="));
		put_uri_text(&uri, w->root);
	}
	struct str text = buf_peek(&psql);
	json_t *o = json_pack("{s:s, s:s%}", "how", w->how, "conninfo", text.p, text.n);
	text = buf_peek(&uri);
	(void)json_object_set_new(o, "uri", json_stringn(text.p, text.n));
	buf_fini(&psql);
	buf_fini(&uri);
	return o;
}

/* By user name; with a domain also by host; beside OIDC also with libpq's own flow. */
static json_t *put_connect(const struct ls *l, const struct config_connection *c, struct str role) {
	char host[HOST_MAX];
	const struct config_gateway *g = &l->config->gateway;
	struct way w = { .how = "token as password", .database = c->database };
	bool is_plain = role.n == 0 || str_is(role, "default");
	auto_free char *root = g->tls_cert.n == 0 ? xasprintf("%.*s/ca.pem", STR_ARG(g->store_path))
	                                          : NULL;
	auto_free char *user = is_plain ? str_dup(c->name)
	                                : xasprintf("%.*s.%.*s", STR_ARG(role), STR_ARG(c->name));
	auto_free char *oauth = xasprintf("%s+oauth", user);
	auto_free char *scram = xasprintf("%s+KEYID", user);
	auto_free char *named = xasprintf("%.*s.%.*s", STR_ARG(c->name), STR_ARG(g->listen_domain));
	json_t *out = json_array();
	listener(l->config, host, &w.port);
	w.host = str_of(host);
	w.root = root != NULL ? str_of(root) : STR_NONE;
	w.user = str_of(user);
	(void)json_array_append_new(out, put_way(&w));
	w.how = "SCRAM, KEYID as `hansard token` says";
	w.user = str_of(scram);
	(void)json_array_append_new(out, put_way(&w));
	if (g->issuer_count > 0) {
		w.how = "OAUTHBEARER (libpq 18)";
		w.user = str_of(oauth);
		(void)json_array_append_new(out, put_way(&w));
	}
	if (g->listen_domain.n > 0) {
		w.how = "by TLS server name";
		w.host = str_of(named);
		w.user = is_plain ? STR("default") : role;
		(void)json_array_append_new(out, put_way(&w));
	}
	return out;
}

/* ---- connections ---- */

static const char *credentials_name(const struct config_connection *c) {
	return c->credentials == CONFIG_CREDENTIALS_KEEP ? "keep" : "redact";
}

static const char *proof_name(const struct config_connection *c) {
	return c->proof == CONFIG_PROOF_SCRAM   ? "scram"
	       : c->proof == CONFIG_PROOF_OAUTH ? "oauth"
	                                        : "password";
}

static void set_str(json_t *o, const char *key, struct str s) {
	(void)json_object_set_new(o, key, json_stringn(s.p != NULL ? s.p : "", s.n));
}

static json_t *put_connection(const struct ls *l, const struct config_connection *c) {
	json_t *o = json_object();
	json_t *labels = json_object();
	json_t *databases = json_array();
	char results[32];
	struct str role = STR_NONE;
	set_str(o, "name", c->name);
	set_str(o, "protocol", config_protocol_name(c));
	for (size_t i = 0; i < c->labels.n; i++) {
		auto_free char *key = str_dup(c->labels.v[i].key);
		set_str(labels, key, c->labels.v[i].value);
	}
	(void)json_object_set_new(o, "labels", labels);
	set_str(o, "address", c->address);
	set_str(o, "target_tls", config_tls_name((enum config_tls)c->tls_mode));
	set_str(o, "database", c->database);
	for (size_t i = 0; i < c->databases.n; i++)
		(void)json_array_append_new(databases,
		                            json_stringn(c->databases.v[i].p, c->databases.v[i].n));
	(void)json_object_set_new(o, "databases", databases);
	(void)json_object_set_new(o, "roles", put_roles(l, c, &role));
	config_depth_text(results, sizeof(results), &c->results);
	(void)json_object_set_new(o, "results", json_string(results));
	set_str(o, "durable", config_durable_name((enum config_durable)c->durable));
	(void)json_object_set_new(o, "credentials", json_string(credentials_name(c)));
	(void)json_object_set_new(o, "proof", json_string(proof_name(c)));
	set_str(o, "hygiene", config_hygiene_name((enum config_hygiene)c->hygiene));
	(void)json_object_set_new(o, "replication",
	                          json_string(c->replication == CONFIG_REPLICATION_ALLOW
	                                              ? "allow"
	                                              : "refuse"));
	if (l->a.groups == NULL || role.n > 0)
		(void)json_object_set_new(o, "connect", put_connect(l, c, role));
	return o;
}

/* "default, ro"; nobody in particular: "default (agents), ro (agents dba)". */
static void cell_roles(struct table *t, const json_t *roles, bool is_whose) {
	struct buf b;
	size_t idx;
	size_t k;
	json_t *r;
	json_t *g;
	buf_init(&b, MIB);
	json_array_foreach(roles, idx, r) {
		const json_t *yours = json_object_get(r, "yours");
		if (yours != NULL && !json_is_true(yours))
			continue;
		w_fmt(&b, "%s%.*s", b.len > 0 ? ", " : "", STR_ARG(json_text(r, "name")));
		if (!is_whose)
			continue;
		json_array_foreach(json_object_get(r, "groups"), k, g)
			w_fmt(&b, "%s%s", k == 0 ? " (" : " ", json_string_value(g));
		w_bytes(&b, json_array_size(json_object_get(r, "groups")) > 0 ? STR(")")
		                                                              : STR(" (nobody)"));
	}
	table_cell(t, b.len > 0 ? buf_peek(&b) : STR("-"));
	buf_fini(&b);
}

static void print_connect(struct buf *b, const json_t *c, bool is_wide) {
	size_t idx;
	json_t *way;
	json_array_foreach(json_object_get(c, "connect"), idx, way) {
		if (idx > 0 && !is_wide)
			break;
		w_bytes(b, STR("  psql \""));
		text_safe(b, json_text(way, "conninfo"), TEXT_LINE);
		w_u8(b, '"');
		if (is_wide) {
			w_fmt(b, "   # %.*s\n  ", STR_ARG(json_text(way, "how")));
			text_safe(b, json_text(way, "uri"), TEXT_LINE);
		}
		w_u8(b, '\n');
	}
}

static void print_table(const struct ls *l) {
	static const char *const heads[] = { "NAME",    "PROTOCOL", "ROLES",   "RESULTS",
		                             "DURABLE", "HYGIENE",  "SECRETS", "TARGET" };
	struct table *t = table_new(heads, ARRAY_LEN(heads));
	bool is_wide = l->a.common.format == OUT_WIDE;
	struct buf b;
	size_t idx;
	json_t *c;
	json_array_foreach(l->connections, idx, c) {
		table_cell(t, json_text(c, "name"));
		table_cell(t, json_text(c, "protocol"));
		cell_roles(t, json_object_get(c, "roles"), l->a.groups == NULL);
		table_cell(t, json_text(c, "results"));
		table_cell(t, json_text(c, "durable"));
		table_cell(t, json_text(c, "hygiene"));
		table_cell(t, json_text(c, "credentials"));
		table_cell(t, json_text(c, "address"));
	}
	buf_init(&b, 64 * MIB);
	table_print(t, &b, is_wide ? 0 : terminal_width(), terminal_width() > 0);
	if (idx > 0)
		w_bytes(&b, STR("\nTo connect (the password is the token):\n"));
	json_array_foreach(l->connections, idx, c) print_connect(&b, c, is_wide);
	print_buf(&b);
	buf_fini(&b);
	table_free(&t);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	struct ls_args *a = state->input;
	json_t *one;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_SUBJECT:
		a->subject = arg;
		return 0;
	case KEY_GROUP:
		one = json_pack("[s]", arg);
		if (one == NULL)
			argp_error(state, "arguments must be UTF-8");
		add_groups(a, one);
		json_decref(one);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "subject", KEY_SUBJECT, "NAME", 0, "the roles that this subject's valid tokens have", 0 },
	{ "group", KEY_GROUP, "GROUP", 0, "the roles that this group has (repeat for several)", 0 },
	{ 0 }
};
static const struct argp_child children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "List the connections: roles, what is recorded and how deep, the target, and how to connect. With "
	       "--subject, --group or a token in HANSARD_TOKEN: the roles that identity has.",
	.children = children,
};

static int load(struct ls *l, struct err *e) {
	char path[4096];
	struct findings f;
	int rc = config_find(l->a.common.config, path, sizeof(path), e);
	if (rc < 0)
		return rc;
	findings_init(&f);
	l->config = config_load(path, &f);
	findings_fini(&f);
	return l->config != NULL
	               ? 0
	               : err_set(e, H_ECONFIG,
	                         "%s is not in order; `hansard check` says what is wrong", path);
}

int cmd_ls(int argc, char **argv) {
	struct err e = { .code = 0 };
	struct ls l = { .config = NULL };
	cli_parse(&argp, argc, argv, &l.a);
	l.connections = json_array();
	int rc = load(&l, &e);
	if (rc == 0)
		rc = find_groups(&l, &e);
	if (rc == 0) {
		for (const struct config_connection *c = l.config->connections; c != NULL;
		     c = c->next)
			(void)json_array_append_new(l.connections, put_connection(&l, c));
		if (l.a.common.format == OUT_JSON || l.a.common.format == OUT_YAML)
			print_json(l.connections, l.a.common.format);
		else
			print_table(&l);
	}
	json_decref(l.connections);
	json_decref(l.a.groups);
	config_free(&l.config);
	return rc < 0 ? cli_fail(&e) : CLI_OK;
}
