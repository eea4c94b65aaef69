/*
 * pg_options.c: startup parameters, and the StartupMessage that the target gets.
 *
 * A startup packet is hostile: `options` can set a role, a search_path or an encoding, in three
 * spellings and with backslashes. So the target's packet is made anew and never patched. In a pinned
 * session only what is in the table passes, each `-c name=value` of `options` becomes a parameter of its
 * own (so quoting is read once, here), the encoding is UTF8, and everything else is refused by name.
 * In an open one parameters pass as they stand, but for those that are ours.
 *
 * Settings under the prefix `hansard.` pass: claims of the client about itself (pg_claim.c).
 *
 * Ours: user and database (of the grant), replication (as granted), traceparent (a claim that no
 * server would take), application_name, which
 * gets the session's id behind what the client says, so that the target's own log can be laid
 * beside the record. PostgreSQL cuts that name at 63 bytes: the client's part gives way.
 *
 * Order: settings out of `options` come before the client's own parameters, as the server applies
 * them in that order too.
 */
#include "proto/postgres/pg_priv.h"

enum { APP_NAME_MAX = 63 };

enum param_rule {
	RULE_PASS,
	RULE_ENCODING, /* UTF8 in any spelling; the target is always told UTF8 */
	RULE_ON,       /* may be set to what it is pinned to, and nothing else */
	RULE_OURS,     /* the gateway's own; a client's value is not passed on */
};

static const struct param_row {
	const char *name;
	enum param_rule rule;
} param_rows[] = {
	{ "application_name", RULE_OURS },
	{ "bytea_output", RULE_PASS },
	{ "client_encoding", RULE_ENCODING },
	{ "client_min_messages", RULE_PASS },
	{ "database", RULE_OURS },
	{ "datestyle", RULE_PASS },
	{ "default_transaction_deferrable", RULE_PASS },
	{ "default_transaction_isolation", RULE_PASS },
	{ "default_transaction_read_only", RULE_PASS },
	{ "extra_float_digits", RULE_PASS },
	{ "geqo", RULE_PASS },
	{ "idle_in_transaction_session_timeout", RULE_PASS },
	{ "intervalstyle", RULE_PASS },
	{ "jit", RULE_PASS },
	{ "lock_timeout", RULE_PASS },
	{ "plan_cache_mode", RULE_PASS },
	{ "replication", RULE_OURS },
	{ "search_path", RULE_PASS },
	{ "standard_conforming_strings", RULE_ON },
	{ "statement_timeout", RULE_PASS },
	{ "timezone", RULE_PASS },
	{ "traceparent", RULE_OURS },
	{ "user", RULE_OURS },
	{ "work_mem", RULE_PASS },
};

/* A name or value in a sentence for the client: printable ASCII, and not much of it. */
static void refuse(struct pg_why *w, const char *what, struct str name) {
	char safe[65];
	size_t n = MIN(name.n, sizeof(safe) - 1);
	for (size_t i = 0; i < n; i++)
		safe[i] = name.p[i] >= ' ' && name.p[i] <= '~' ? name.p[i] : '?';
	safe[n] = '\0';
	(void)snprintf(w->text, sizeof(w->text), "%s: \"%s\"", what, safe);
}

struct str pg_start_param(const struct pg_core *c, const char *name) {
	struct pg_params it = { .rd = rd_of(buf_peek(&c->start)) };
	struct pg_param p;
	struct str found = STR_NONE;
	while (pg_params_next(&it, &p))
		if (str_is(p.name, name))
			found = p.value;
	return found;
}

/* ---- values ---- */

/* PostgreSQL compares encoding names by letters and digits alone ("utf-8" is "UTF8"). */
bool pg_is_utf8_name(struct str value) {
	char plain[16];
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++) {
		char ch = value.p[i];
		bool is_letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
		if (!is_letter && !(ch >= '0' && ch <= '9'))
			continue;
		if (n == sizeof(plain))
			return false;
		plain[n++] = ch;
	}
	static const char *const names[] = { "utf8", "unicode", "sqlascii", "auto", "default" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_nocase(str_mem(plain, n), str_of(names[i])))
			return true;
	return false;
}

bool pg_is_on(struct str v) {
	return str_eq_nocase(v, STR("on")) || str_eq_nocase(v, STR("true")) ||
	       str_eq_nocase(v, STR("yes")) || str_is(v, "1");
}

/* ---- pinned ---- */

static const struct param_row *row_of(struct str name) {
	for (size_t i = 0; i < ARRAY_LEN(param_rows); i++)
		if (str_eq_nocase(name, str_of(param_rows[i].name)))
			return &param_rows[i];
	return NULL;
}

/* A setting under our own prefix: no server knows one that does anything (pg_claim.c). */
static bool is_own_setting(struct str name) {
	return name.n > strlen("hansard.") &&
	       str_eq_nocase(str_head(name, strlen("hansard.")), STR("hansard."));
}

static int pinned_param(struct buf *out, struct str name, struct str value, struct pg_why *w) {
	const struct param_row *row = row_of(name);
	if (row == NULL && is_own_setting(name) && str_utf8_bad(value) == value.n) {
		pg_w_param(out, name, value);
		return 0;
	}
	if (row == NULL || str_utf8_bad(value) < value.n) {
		refuse(w, "startup parameter is not allowed by this connection (hygiene: pinned)",
		       name);
		return H_EPERM;
	}
	switch (row->rule) {
	case RULE_PASS:
		pg_w_param(out, str_of(row->name), value);
		return 0;
	case RULE_ENCODING:
		if (pg_is_utf8_name(value))
			return 0;
		refuse(w, "client_encoding is refused, use UTF8 (hygiene: pinned)", value);
		return H_EENCODING;
	case RULE_ON:
		if (pg_is_on(value))
			return 0;
		refuse(w, "startup parameter must stay on (hygiene: pinned)", name);
		return H_EPERM;
	case RULE_OURS:
		return 0;
	}
	return H_EBUG;
}

static bool is_blank(char ch) {
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '\f' || ch == '\v';
}

struct str pg_option_word(struct str *rest, char *word, size_t size) {
	size_t at = 0;
	size_t n = 0;
	while (at < rest->n && is_blank(rest->p[at]))
		at++;
	while (at < rest->n && !is_blank(rest->p[at]) && n < size) {
		if (rest->p[at] == '\\' && at + 1 < rest->n)
			at++;
		word[n++] = rest->p[at++];
	}
	*rest = str_from(*rest, at);
	return str_mem(word, n);
}

/* "name=value" in a setting of `options`, where '-' in a name stands for '_'. */
static int option_set(struct buf *out, struct str setting, struct pg_why *w) {
	char name[64];
	size_t eq = str_find(setting, '=');
	if (eq == setting.n || eq == 0 || eq > sizeof(name)) {
		refuse(w, "startup option is not allowed (hygiene: pinned)", setting);
		return H_EPERM;
	}
	for (size_t i = 0; i < eq; i++)
		name[i] = (char)(setting.p[i] == '-' ? '_' : setting.p[i]);
	struct str value = str_from(setting, eq + 1);
	if (memchr(value.p, '\0', value.n) != NULL)
		return H_EPERM;
	return pinned_param(out, str_mem(name, eq), value, w);
}

/* -c name=value, -cname=value, --name=value; any other switch is refused. */
static int pinned_options(struct buf *out, struct str options, struct pg_why *w) {
	char word[1024];
	char next[1024];
	for (;;) {
		struct str o = pg_option_word(&options, word, sizeof(word));
		if (o.n == 0)
			return 0;
		int rc = H_EPERM;
		if (o.n == sizeof(word))
			refuse(w, "startup option is too long", STR("options"));
		else if (str_starts(o, STR("--")))
			rc = option_set(out, str_from(o, 2), w);
		else if (str_is(o, "-c"))
			rc = option_set(out, pg_option_word(&options, next, sizeof(next)), w);
		else if (str_starts(o, STR("-c")))
			rc = option_set(out, str_from(o, 2), w);
		else
			refuse(w, "startup option is not allowed (hygiene: pinned)", o);
		if (rc < 0)
			return rc;
	}
}

static int pinned_params(struct pg_core *c, struct pg_why *w) {
	struct pg_params it = { .rd = rd_of(buf_peek(&c->start)) };
	struct pg_param p;
	int rc = pinned_options(&c->hello, pg_start_param(c, "options"), w);
	while (rc == 0 && pg_params_next(&it, &p))
		if (!str_is(p.name, "options") && !str_starts(p.name, STR("_pq_.")))
			rc = pinned_param(&c->hello, p.name, p.value, w);
	if (rc == 0)
		pg_w_param(&c->hello, STR("client_encoding"), STR("UTF8"));
	return rc;
}

/* ---- open ---- */

static void open_params(struct pg_core *c) {
	struct pg_params it = { .rd = rd_of(buf_peek(&c->start)) };
	struct pg_param p;
	while (pg_params_next(&it, &p)) {
		const struct param_row *row = row_of(p.name);
		bool is_ours = row != NULL && row->rule == RULE_OURS;
		if (!is_ours && !str_starts(p.name, STR("_pq_.")))
			pg_w_param(&c->hello, p.name, p.value);
	}
}

/* ---- the packet ---- */

/* "<client's name> hansard:<short id>" in 63 bytes, the client's part cut between characters. */
static void put_app_name(struct pg_core *c) {
	char name[APP_NAME_MAX + 1];
	struct str app = pg_start_param(c, "application_name");
	size_t id = strlen("hansard:") + strlen(c->short_id);
	size_t room = APP_NAME_MAX - id - 1;
	size_t n = MIN(app.n, room);
	while (n > 0 && n < app.n && ((uint8_t)app.p[n] & 0xc0) == 0x80)
		n--;
	(void)snprintf(name, sizeof(name), "%.*s%shansard:%s", (int)n, n > 0 ? app.p : "",
	               n > 0 ? " " : "", c->short_id);
	pg_w_param(&c->hello, STR("application_name"), str_of(name));
}

int pg_hello_build(struct pg_core *c, const struct grant *g, struct pg_why *w) {
	size_t mark = pg_w_start_begin(&c->hello, PG_PROTOCOL_3_0 | c->up_minor);
	pg_w_param(&c->hello, STR("user"), g->upstream_user);
	if (g->database.n > 0)
		pg_w_param(&c->hello, STR("database"), g->database);
	if (g->is_replication)
		pg_w_param(&c->hello, STR("replication"),
		           str_is(pg_start_param(c, "replication"), "database") ? STR("database")
		                                                                : STR("true"));
	int rc = 0;
	if (g->hygiene == HYGIENE_PINNED)
		rc = pinned_params(c, w);
	else
		open_params(c);
	if (rc < 0)
		return rc;
	put_app_name(c);
	pg_w_start_end(&c->hello, mark);
	if (w_done(&c->hello) == 0 && c->hello.len <= PG_START_LEN_MAX)
		return 0;
	refuse(w, "startup packet for the target is too long", STR("options"));
	return H_ELIMIT;
}
