/*
 * pg_route.c: which connection, role and database the client means.
 *
 * Three things can name a connection; the first that names a configured one counts, and which it
 * was stands in the open frame (client.routed_by):
 *
 *   1. the user name       [role.]connection[+hint]
 *   2. the TLS server name connection.DOMAIN        (spec.listen.domain)
 *   3. the database        connection/database, or connection/
 *
 * 2 and 3 are for tools whose user name is fixed, or is the operating system's. There the user name is
 * only asked for a role: "ro" means the role ro where the connection has one and the default
 * role where it has none ("postgres"); "ro.x" means ro and nothing else; a name of any other
 * form means the default. A +hint counts in every case.
 *
 * The database routes by its slash alone. Connections are often named like their databases: without it,
 * a mistyped user name would end up at another target instead of being refused.
 *
 * When nothing names a configured connection, the user name's stays: the keeper refuses it once the
 * client has proven who it is, as it refuses a connection that exists and that the client may not
 * use. Until then nothing that is said to the client depends on what was found here.
 *
 * A database that equals the whole user name means "none given": libpq fills it in that way. For
 * physical replication the database means nothing to a server (tools send "replication").
 */
#include "proto/postgres/pg_priv.h"

enum { NAME_MAX_LEN = 32 };

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

/* A user name taken apart: [first.]last[+hint]. */
struct user {
	struct str first, last, hint;
	bool has_first, has_hint, is_well_formed;
};

static struct user user_parse(struct str text) {
	struct user u = { .hint = text };
	struct str route = str_cut(&u.hint, '+');
	u.has_hint = route.n < text.n;
	u.last = route;
	u.first = str_cut(&u.last, '.');
	u.has_first = u.first.n < route.n;
	if (!u.has_first) {
		u.last = u.first;
		u.first = STR_NONE;
	}
	if (!u.has_hint)
		u.hint = STR_NONE;
	u.is_well_formed = is_name(u.last) && (!u.has_first || is_name(u.first)) &&
	                   (!u.has_hint || is_name(u.hint));
	return u;
}

static bool is_known(const struct pg_core *c, struct str name) {
	struct connection_facts facts;
	return is_name(name) && c->sink->connection != NULL &&
	       c->sink->connection(c->sink, name, &facts);
}

/* The user name of a client that was routed by something else: it can still say the role. */
static void role_of(struct admit *a, const struct user *u) {
	a->hint = u->hint;
	if (!is_name(u->has_first ? u->first : u->last))
		return;
	a->role = u->has_first ? u->first : u->last;
	a->is_role_optional = !u->has_first;
}

int pg_route(struct pg_core *c) {
	struct admit *a = &c->ask;
	struct str user = pg_start_param(c, "user");
	struct str database = pg_start_param(c, "database");
	struct str rest = database;
	struct str head = str_cut(&rest, '/');
	bool has_slash = head.n < database.n;
	struct user u = user_parse(user);
	a->database = str_eq(database, user) ? STR_NONE : database;
	bool is_user_known = u.is_well_formed && is_known(c, u.last);
	if (!is_user_known && is_known(c, str_of(c->label))) {
		a->routed_by = ROUTED_BY_SERVER_NAME;
		a->connection = str_of(c->label);
		role_of(a, &u);
	} else if (!is_user_known && has_slash && is_known(c, head)) {
		a->routed_by = ROUTED_BY_DATABASE;
		a->connection = head;
		a->database = rest;
		role_of(a, &u);
	} else {
		a->routed_by = ROUTED_BY_USER;
		a->connection = u.last;
		a->role = u.first;
		a->hint = u.hint;
	}
	if (a->wants_replication && !str_is(pg_start_param(c, "replication"), "database"))
		a->database = STR_NONE;
	return a->routed_by != ROUTED_BY_USER || u.is_well_formed ? 0 : H_EREFUSED;
}
