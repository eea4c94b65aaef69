/*
 * decide.c: the questions of admission, in their order (decide.h).
 *
 * The proof comes first, so that who cannot prove anything learns nothing, not even by which of
 * two refusals is counted, and only then what it may reach.
 */
#include "keeper/decide.h"

static const struct refuse_text texts[REFUSE_COUNT] = { [REFUSE_NONE] = { "?", "?", "?", 0 },
#define X(ident, text, number, happened, todo) \
	[REFUSE_##ident] = { \
		.name = (text), .what = (happened), .advice = (todo), .code = (number) \
	},
	                                                REFUSE_REASONS(X)
#undef X
};

const struct refuse_text *refuse_text(enum refuse_reason reason) {
	return &texts[reason < REFUSE_COUNT ? reason : REFUSE_NONE];
}

enum refuse_reason refuse_reason_of(struct str name) {
	for (unsigned i = REFUSE_NONE + 1; i < REFUSE_COUNT; i++) {
		if (str_is(name, texts[i].name))
			return (enum refuse_reason)i;
	}
	return REFUSE_NONE;
}

static enum refuse_reason wrong_with_proof(const struct decide_ask *ask) {
	if (ask->admit->proof_kind == PROOF_NONE || ask->proof == PROOF_IS_MALFORMED)
		return REFUSE_MALFORMED;
	if (ask->proof == PROOF_IS_REFUSED)
		return ask->proof_reason;
	if (ask->proof == PROOF_IS_UNKNOWN || ask->who == NULL)
		return REFUSE_UNKNOWN;
	if (ask->revoked_wall_ns != 0)
		return REFUSE_REVOKED;
	if (ask->now_wall_ns >= ask->expires_wall_ns)
		return REFUSE_EXPIRED;
	return REFUSE_NONE;
}

/* Others' wrong proofs must not lock out who has a right one: one job with an expired token would
 * else keep out all that share its network. Nobody guesses 200 random bits. */
static enum refuse_reason check_proof(const struct decide_ask *ask) {
	if (ask->is_draining)
		return REFUSE_DRAINING;
	enum refuse_reason wrong = wrong_with_proof(ask);

	return wrong != REFUSE_NONE && ask->is_rate_limited ? REFUSE_RATE : wrong;
}

static bool has_access(const struct config_connection *c, const struct config_role *role,
                       const struct who *who) {
	for (const struct config_access *a = c->access; a != NULL; a = a->next) {
		bool in_group = false, has_role = false;

		for (size_t i = 0; i < a->groups.n; i++)
			in_group = in_group || who_in_group(who, a->groups.v[i]);
		for (size_t i = 0; i < a->roles.n; i++)
			has_role = has_role || str_eq(a->roles.v[i], role->name);
		if (in_group && has_role)
			return true;
	}
	return false;
}

/* STR_NONE when it is not allowed. */
static struct str database_of(const struct config_connection *c, const struct config_role *role,
                              struct str asked) {
	struct str name = asked;

	if (name.n == 0)
		name = c->database.n != 0 ? c->database : role->user;
	if (c->databases.n == 0)
		return str_eq(name, c->database) ? name : STR_NONE;
	for (size_t i = 0; i < c->databases.n; i++) {
		if (str_is(c->databases.v[i], "*") || str_eq(c->databases.v[i], name))
			return name;
	}
	return STR_NONE;
}

/* The worker asked for the proof that the hint names; where there is none, for the connection's. */
static bool is_hint_kept(const struct admit *a) {
	bool is_oauth = str_is(a->hint, "oauth");

	switch (a->proof_kind) {
	case PROOF_PASSWORD:
		return a->hint.n == 0;
	case PROOF_BEARER:
		return a->hint.n == 0 || is_oauth;
	case PROOF_SCRAM:
		return a->hint.n != 0 && !is_oauth;
	case PROOF_NONE:
	case PROOF_KIND_COUNT:
		break;
	}
	return false;
}

static enum refuse_reason check_reach(const struct config *c, const struct decide_ask *ask,
                                      struct decision *d) {
	const struct admit *a = ask->admit;
	struct str role = a->role.n != 0 ? a->role : STR("default");

	if (!is_hint_kept(a))
		return REFUSE_HINT;
	if (ask->who->connection.n != 0 && !str_eq(ask->who->connection, a->connection))
		return REFUSE_RESTRICTED;
	d->connection = config_connection_find(c, a->connection);
	if (d->connection == NULL || !str_eq(config_protocol_name(d->connection), ask->protocol))
		return REFUSE_NO_CONNECTION;
	d->role = config_role_find(d->connection, role);
	if (d->role == NULL && a->is_role_optional)
		d->role = config_role_find(d->connection, STR("default"));
	if (d->role == NULL)
		return REFUSE_NO_ROLE;
	if (!has_access(d->connection, d->role, ask->who))
		return REFUSE_NO_ACCESS;
	if (a->wants_replication && d->connection->replication != CONFIG_REPLICATION_ALLOW)
		return REFUSE_REPLICATION;
	d->database = database_of(d->connection, d->role, a->database);
	return d->database.n != 0 ? REFUSE_NONE : REFUSE_NO_DATABASE;
}

static enum refuse_reason check_limits(const struct config *c, const struct decide_ask *ask) {
	if (ask->sessions >= c->gateway.sessions_max)
		return REFUSE_SESSIONS;
	if (ask->identity_sessions >= c->gateway.per_identity_max)
		return REFUSE_IDENTITY_SESSIONS;
	return ask->is_store_refusing ? REFUSE_STORE : REFUSE_NONE;
}

struct decision decide(const struct config *c, const struct decide_ask *ask) {
	struct decision d = { .reason = check_proof(ask) };

	if (d.reason == REFUSE_NONE)
		d.reason = check_reach(c, ask, &d);
	if (d.reason == REFUSE_NONE)
		d.reason = check_limits(c, ask);
	if (d.reason != REFUSE_NONE) {
		d.connection = NULL;
		d.role = NULL;
		d.database = STR_NONE;
	}
	return d;
}
