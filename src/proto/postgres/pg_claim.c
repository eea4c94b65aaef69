/*
 * pg_claim.c: what a client says about itself, and what a pinned session may not change.
 *
 * Claims. `SET hansard.<name> = '…'`, `set_config('hansard.<name>', '…', …)`, a startup parameter
 * `hansard.<name>`, the same by `options` (PGOPTIONS='-c hansard.run_id=7'), and a startup parameter
 * `traceparent` become facts `claim.<name>` on the record: claimed, never verified, and never what a rule
 * may trust. All but traceparent are passed on as they are said: PostgreSQL keeps settings with a dot in their
 * names, so SHOW, SET LOCAL and ROLLBACK mean what they always mean. The fact says what was said
 * and when, not what holds at the target; a claim that is taken back (RESET) is an empty one.
 *
 * Bounds: 16 names per session, each of at most 32 letters, digits and underscores; 256 bytes of a
 * value, cut between characters. What is beyond is in the record's bytes and nowhere else. A value
 * that carries a credential (pg_hide.c) is no claim: the fact would tell what the record must not.
 *
 * Pins. client_encoding other than UTF8 and standard_conforming_strings other than on end a pinned
 * session. The target's ParameterStatus tells of the change, but what was pipelined behind it was
 * on its way by then, read by rules that did not hold any more: so what can be seen in the text is
 * refused before it is sent.
 */
#include "proto/postgres/pg_priv.h"
#include "proto/postgres/pg_set.h"

enum { CLAIM_NAME_MAX = 32, CLAIM_VALUE_MAX = 256 };
#define PREFIX "hansard."

/* ---- claims ---- */

static bool is_claim_name(struct str name) {
	if (name.n == 0 || name.n > CLAIM_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char ch = name.p[i];
		bool is_letter = (ch >= 'a' && ch <= 'z') || ch == '_';

		if (!is_letter && !(i > 0 && ch >= '0' && ch <= '9'))
			return false;
	}
	return !str_is(name, "session") && !str_is(name, "receipt");
}

/* Names are told apart by hash (FNV-1a, 0 means none): two that collide count as one. */
static bool has_place(struct pg_core *c, struct str name) {
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (uint8_t)name.p[i]) * 16777619U;
	h |= 1;
	for (size_t i = 0; i < PG_CLAIMS_MAX; i++) {
		if (c->claims[i] != 0 && c->claims[i] != h)
			continue;
		c->claims[i] = h;
		return true;
	}
	return false;
}

static struct str cut_value(struct str value) {
	size_t n = MIN(value.n, (size_t)CLAIM_VALUE_MAX);

	while (n > 0 && n < value.n && ((uint8_t)value.p[n] & 0xc0) == 0x80)
		n--;
	return str_mem(value.p, n);
}

static bool is_credential(const struct pg_core *c, struct str value) {
	struct sql_secrets s = { .count = 0 };

	if (c->keeps_credentials)
		return false;
	sql_secrets_find_shapes(&s, value);
	return s.count > 0;
}

static void claim(struct pg_core *c, struct str name, struct str value) {
	char fact[sizeof("claim.") + CLAIM_NAME_MAX];

	if (!is_claim_name(name) || str_utf8_bad(value) < value.n || is_credential(c, value) ||
	    !has_place(c, name))
		return;
	(void)snprintf(fact, sizeof(fact), "claim.%.*s", STR_ARG(name));
	pg_fact(c, str_of(fact), cut_value(value));
}

static void claim_setting(struct pg_core *c, struct str name, struct str value) {
	char low[sizeof(PREFIX) + CLAIM_NAME_MAX];

	if (name.n >= sizeof(low))
		return;
	for (size_t i = 0; i < name.n; i++)
		low[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
	if (str_starts(str_mem(low, name.n), STR(PREFIX)))
		claim(c, str_from(str_mem(low, name.n), strlen(PREFIX)), value);
}

/* "name=value", where '-' in a name stands for '_'. */
static void claim_option(struct pg_core *c, struct str word) {
	char name[sizeof(PREFIX) + CLAIM_NAME_MAX];
	struct str rest = word;
	struct str key = str_cut(&rest, '=');

	if (key.n >= sizeof(name))
		return;
	for (size_t i = 0; i < key.n; i++)
		name[i] = (char)(key.p[i] == '-' ? '_' : key.p[i]);
	claim_setting(c, str_mem(name, key.n), rest);
}

static void claim_options(struct pg_core *c, struct str options) {
	char word[1024];
	bool is_next = false;

	for (;;) {
		struct str o = pg_option_word(&options, word, sizeof(word));

		if (o.n == 0)
			return;
		bool is_c = str_starts(o, STR("-c"));

		if (is_next)
			claim_option(c, o);
		else if (str_starts(o, STR("--")) || (is_c && o.n > 2))
			claim_option(c, str_from(o, 2));
		is_next = !is_next && is_c && o.n == 2;
	}
}

void pg_claims_start(struct pg_core *c) {
	struct pg_params it = { .rd = rd_of(buf_peek(&c->start)) };
	struct pg_param p;

	claim_options(c, pg_start_param(c, "options"));
	while (pg_params_next(&it, &p)) {
		if (str_eq_nocase(p.name, STR("traceparent")))
			claim(c, STR("traceparent"), p.value);
		else
			claim_setting(c, p.name, p.value);
	}
}

static bool is_hidden(struct str text, const struct sql_secrets *hidden, struct str part) {
	size_t at = part.p != NULL ? (size_t)(part.p - text.p) : 0;

	for (size_t i = 0; i < hidden->count; i++) {
		const struct sql_secret *s = &hidden->spans[i];

		if (s->at < at + part.n && at < s->at + s->n)
			return true;
	}
	return false;
}

static void claim_said(struct pg_core *c, struct str text, const struct sql_secrets *hidden,
                       const struct pg_setting *o) {
	if ((!o->is_known && !o->is_default) || is_hidden(text, hidden, o->from))
		return;
	claim_setting(c, str_mem(o->name, o->name_len), str_mem(o->value, o->value_len));
}

/* ---- pins ---- */

static bool breaks_pin(const struct pg_setting *o) {
	struct str name = str_mem(o->name, o->name_len), value = str_mem(o->value, o->value_len);

	if (!o->is_known)
		return false;
	if (str_is(name, "client_encoding"))
		return !pg_is_utf8_name(value);
	return str_is(name, "standard_conforming_strings") && !pg_is_on(value);
}

static int refuse(struct pg_core *c, const struct pg_setting *o) {
	char text[PG_SET_NAME_MAX + 80];

	(void)snprintf(text, sizeof(text),
	               "%.*s is pinned: the statement was not sent and the session was ended",
	               (int)o->name_len, o->name);
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

/* ---- both ---- */

int pg_settings_said(struct pg_core *c, struct str text, const struct sql_secrets *hidden) {
	struct pg_setting o;

	if (!pg_text_has(text, "set"))
		return 0;
	bool has_claim = pg_text_has(text, PREFIX);
	bool has_pin = c->hygiene == HYGIENE_PINNED &&
	               (pg_text_has(text, "client_encoding") || pg_text_has(text, "names") ||
	                pg_text_has(text, "standard_conforming_strings"));
	struct pg_sets it = pg_sets_of(text);

	while ((has_claim || has_pin) && pg_sets_next(&it, &o)) {
		if (has_pin && breaks_pin(&o))
			return refuse(c, &o);
		if (has_claim)
			claim_said(c, text, hidden, &o);
	}
	return 0;
}
