/*
 * claims.c: validity and mapping of claims (claims.h). jansson reads them.
 *
 * Paths. A claim is named by its path: "org_id", "realm_access.roles". Names may hold dots themselves
 * ("kubernetes.io", "https://corp.example/team"), so at each step the longest name that exists is
 * taken: the whole rest first, then up to the last dot, and so on.
 *
 * Values. Text, whole numbers and booleans have one spelling each; null counts as missing, objects
 * and fractions match nothing and fill nothing. A list matches when it holds a value that matches, and
 * fills only `groups`.
 *
 * E-mail. An issuer that says `email_verified: false` does not vouch for the claim `email`: it counts
 * as missing.
 *
 * Times are seconds, whole or with a fraction (RFC 7519 §2). Before 1970 and after 2554 (2^64 ns)
 * they are malformed.
 */
#include "identity/claims.h"

#include <jansson.h>

#include "base/clock.h"

enum { PATH_STEPS_MAX = 8, RENDER_MAX = 1024 };
#define TIME_MAX_S ((double)18000000000)

struct claims {
	json_t *doc;
};

struct claims *claims_of(struct str json, struct err *e) {
	json_t *doc = json.n != 0 ? json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (!json_is_object(doc)) {
		json_decref(doc);
		(void)token_wrong(e, TOKEN_CLAIMS,
		                  "the claims are no JSON object with each member once");
		return NULL;
	}
	struct claims *c = xcalloc(1, sizeof(*c));

	c->doc = doc;
	return c;
}

struct claims *claims_parse(const struct jwt *t, struct err *e) {
	auto_free uint8_t *text = xmalloc(JWT_SIZE_MAX);
	int n = base64url_decode(text, JWT_SIZE_MAX, t->claims);

	if (n < 0) {
		(void)token_wrong(e, TOKEN_CLAIMS, "the claims are not base64url");
		return NULL;
	}
	return claims_of(str_mem(text, (size_t)n), e);
}

void claims_free(struct claims **c) {
	if (*c == NULL)
		return;
	json_decref((*c)->doc);
	free(*c);
	*c = NULL;
}

static struct str text_of(const json_t *v) {
	return str_mem(json_string_value(v), json_string_length(v));
}

struct str claims_issuer(const struct claims *c) {
	return text_of(json_object_get(c->doc, "iss"));
}

/* ---- validity ---- */

struct check {
	const struct claims *c;
	const struct config_issuer *issuer;
	uint64_t now, skew;
	uint64_t exp, nbf, iat; /* 0: not there */
	struct err *e;
};

static enum token_wrong time_get(const struct check *k, const char *name, uint64_t *ret) {
	const json_t *v = json_object_get(k->c->doc, name);
	double s = json_number_value(v);

	if (v == NULL)
		return TOKEN_FINE;
	if (!json_is_number(v) || !(s >= 0 && s <= TIME_MAX_S))
		return token_wrong(k->e, TOKEN_CLAIMS, "%s is no time", name);
	*ret = json_is_integer(v) ? (uint64_t)json_integer_value(v) * NS_PER_S
	                          : (uint64_t)(s * 1000) * NS_PER_MS;
	return TOKEN_FINE;
}

static enum token_wrong check_audience(const struct check *k) {
	const json_t *aud = json_object_get(k->c->doc, "aud");
	size_t n = json_is_array(aud) ? json_array_size(aud) : 1;

	for (size_t i = 0; i < n; i++) {
		const json_t *one = json_is_array(aud) ? json_array_get(aud, i) : aud;

		for (size_t a = 0; a < k->issuer->audience.n && json_is_string(one); a++) {
			if (str_eq(text_of(one), k->issuer->audience.v[a]))
				return TOKEN_FINE;
		}
	}
	if (json_is_string(aud))
		return token_wrong(k->e, TOKEN_AUDIENCE, "it is for %.100s",
		                   json_string_value(aud));
	return token_wrong(k->e, TOKEN_AUDIENCE,
	                   json_is_array(aud) ? "none of its %zu audiences is ours"
	                                      : "it names no audience (aud)",
	                   n);
}

static void time_short(char out[24], uint64_t ns) {
	char text[TIME_TEXT_SIZE];

	time_text(text, ns);
	(void)snprintf(out, 24, "%.19sZ", text);
}

static enum token_wrong check_times(const struct check *k) {
	char text[24];
	uint64_t from = k->iat != 0 ? k->iat : k->nbf != 0 ? k->nbf : k->now;

	time_short(text, k->exp);
	if (k->now >= k->exp + k->skew)
		return token_wrong(k->e, TOKEN_EXPIRED, "it expired at %s", text);
	time_short(text, k->nbf);
	if (k->nbf > k->now + k->skew)
		return token_wrong(k->e, TOKEN_NOT_YET, "it is good from %s on (nbf)", text);
	time_short(text, k->iat);
	if (k->iat > k->now + k->skew)
		return token_wrong(k->e, TOKEN_NOT_YET, "it was issued in the future: %s (iat)",
		                   text);
	if (k->exp > from && k->exp - from > k->issuer->lifetime_max_ns) {
		char is[32], max[32];

		duration_text(is, sizeof(is), (k->exp - from) / NS_PER_S * NS_PER_S);
		duration_text(max, sizeof(max), k->issuer->lifetime_max_ns);
		return token_wrong(k->e, TOKEN_LIFETIME, "it is good for %s; lifetime_max is %s",
		                   is, max);
	}
	return TOKEN_FINE;
}

enum token_wrong claims_check(const struct claims *c, const struct config_issuer *issuer,
                              uint64_t now_wall_ns, uint64_t *ret_expires, struct err *e) {
	struct check k = {
		.c = c, .issuer = issuer, .now = now_wall_ns, .skew = issuer->skew_ns, .e = e
	};
	struct str iss = claims_issuer(c);

	if (iss.n == 0)
		return token_wrong(e, TOKEN_ISSUER, "it names no issuer (iss)");
	if (!str_eq(iss, issuer->issuer))
		return token_wrong(e, TOKEN_ISSUER, "its issuer is %.*s",
		                   (int)MIN(iss.n, (size_t)100), iss.p);
	enum token_wrong wrong = check_audience(&k);

	if (wrong == TOKEN_FINE)
		wrong = time_get(&k, "exp", &k.exp);
	if (wrong == TOKEN_FINE)
		wrong = time_get(&k, "nbf", &k.nbf);
	if (wrong == TOKEN_FINE)
		wrong = time_get(&k, "iat", &k.iat);
	if (wrong == TOKEN_FINE && k.exp == 0)
		wrong = token_wrong(e, TOKEN_CLAIMS, "it never expires (no exp)");
	if (wrong == TOKEN_FINE)
		wrong = check_times(&k);
	*ret_expires = k.exp + k.skew;
	return wrong;
}

/* ---- paths and values ---- */

static const json_t *member(const json_t *o, struct str name) {
	char key[256];

	/* jansson wants NUL-terminated keys; names with NUL cannot be asked for. */
	return str_copy(key, sizeof(key), name) ? json_object_get(o, key) : NULL;
}

/* The longest name that exists is taken at each step, without turning back. */
static const json_t *claim_find(const struct claims *c, struct str path) {
	const json_t *at = c->doc;
	const json_t *email_ok = json_object_get(at, "email_verified");

	if (str_is(path, "email") &&
	    (json_is_false(email_ok) || str_is(text_of(email_ok), "false")))
		return NULL;
	for (int step = 0; step < PATH_STEPS_MAX; step++) {
		struct str head = path;
		const json_t *next = member(at, head);

		while (next == NULL && head.n != 0) {
			do
				head.n--;
			while (head.n != 0 && head.p[head.n] != '.');
			next = head.n != 0 ? member(at, head) : NULL;
		}
		if (next == NULL || head.n == path.n)
			return json_is_null(next) ? NULL : next;
		path = str_from(path, head.n + 1);
		at = next;
	}
	return NULL;
}

/* Text of one value; false when it has none. */
static bool value_text(const json_t *v, char number[24], struct str *ret) {
	if (json_is_string(v)) {
		*ret = text_of(v);
		return true;
	}
	if (json_is_boolean(v)) {
		*ret = json_is_true(v) ? STR("true") : STR("false");
		return true;
	}
	if (!json_is_integer(v))
		return false;
	(void)snprintf(number, 24, "%lld", (long long)json_integer_value(v));
	*ret = str_of(number);
	return true;
}

/* `*` stands for any text, also none. Only the last star is ever retried. */
static bool glob(struct str pattern, struct str s) {
	size_t p = 0, i = 0, star = SIZE_MAX, retry = 0;

	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			retry = i;
		} else if (p < pattern.n && pattern.p[p] == s.p[i]) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++retry;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static bool one_matches(const json_t *v, const struct config_list *values) {
	char number[24];
	struct str text;

	if (!value_text(v, number, &text))
		return false;
	for (size_t i = 0; i < values->n; i++) {
		if (glob(values->v[i], text))
			return true;
	}
	return false;
}

static bool when_matches(const struct claims *c, const struct config_when *when) {
	const json_t *v = claim_find(c, when->claim);

	if (!json_is_array(v))
		return v != NULL && one_matches(v, &when->values);
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (one_matches(json_array_get(v, i), &when->values))
			return true;
	}
	return false;
}

static bool mapping_matches(const struct claims *c, const struct config_mapping *m) {
	for (size_t i = 0; i < m->when.n; i++) {
		if (!when_matches(c, &m->when.v[i]))
			return false;
	}
	return true;
}

/* ---- filling templates ---- */

struct fill {
	const struct claims *c;
	const struct config_mapping *m;
	struct arena *arena;
	struct who *w;
	struct err *e;
};

static bool is_clean(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	}
	return true;
}

/* Copies a finished text; `what` for the sentence. */
static enum token_wrong take(const struct fill *f, const char *what, struct str text,
                             struct str *ret) {
	if (text.n > WHO_SUBJECT_MAX)
		return token_wrong(f->e, TOKEN_MAPPING, "%s would be longer than %d bytes", what,
		                   WHO_SUBJECT_MAX);
	if (!is_clean(text))
		return token_wrong(f->e, TOKEN_MAPPING, "%s would hold control characters", what);
	*ret = arena_str(f->arena, text);
	return ret->p != NULL ? TOKEN_FINE
	                      : token_wrong(f->e, TOKEN_MAPPING, "the identity is too large");
}

static enum token_wrong missing(const struct fill *f, const char *what, struct str claim,
                                const char *how) {
	return token_wrong(f->e, TOKEN_MAPPING, "%s needs the claim %.*s, which %s", what,
	                   (int)MIN(claim.n, (size_t)64), claim.p, how);
}

static enum token_wrong render(const struct fill *f, const char *what, struct str tpl,
                               struct buf *out) {
	struct config_piece p;

	while (config_template_next(&tpl, &p) > 0) {
		char number[24];
		struct str text = p.text;

		if (p.is_claim) {
			const json_t *v = claim_find(f->c, p.text);

			if (v == NULL && p.is_optional)
				continue;
			if (v == NULL)
				return missing(f, what, p.text, "the token does not have");
			if (!value_text(v, number, &text))
				return missing(f, what, p.text, "is no text, number or boolean");
			if (text.n == 0 && !p.is_optional)
				return missing(f, what, p.text, "is empty");
		}
		w_bytes(out, text);
	}
	return TOKEN_FINE;
}

/* A template that yields one text; empty is allowed when all its claims are optional. */
static enum token_wrong fill_text(const struct fill *f, const char *what, struct str tpl,
                                  struct str *ret) {
	struct buf b;

	buf_init(&b, RENDER_MAX);
	enum token_wrong wrong = render(f, what, tpl, &b);

	if (wrong == TOKEN_FINE && w_done(&b) < 0)
		wrong = token_wrong(f->e, TOKEN_MAPPING, "%s is too long", what);
	if (wrong == TOKEN_FINE && b.len != 0)
		wrong = take(f, what, buf_peek(&b), ret);
	buf_fini(&b);
	return wrong;
}

/* NAME:subject, so that no two issuers yield the same one. */
static enum token_wrong fill_subject(const struct fill *f, struct str name) {
	struct buf b;

	buf_init(&b, RENDER_MAX);
	w_fmt(&b, "%.*s:", STR_ARG(name));
	size_t prefix = b.len;
	enum token_wrong wrong = render(f, "subject", f->m->subject, &b);

	if (wrong == TOKEN_FINE && (w_done(&b) < 0 || b.len == prefix))
		wrong = token_wrong(f->e, TOKEN_MAPPING, "the subject would be %s",
		                    b.len == prefix ? "empty" : "too long");
	if (wrong == TOKEN_FINE)
		wrong = take(f, "subject", buf_peek(&b), &f->w->subject);
	buf_fini(&b);
	return wrong;
}

static enum token_wrong add_group(const struct fill *f, struct str text) {
	if (text.n == 0 || who_in_group(f->w, text))
		return TOKEN_FINE;
	if (f->w->group_count == WHO_GROUPS_MAX)
		return token_wrong(f->e, TOKEN_MAPPING,
		                   "more than %d groups: let the issuer send fewer, or map "
		                   "single claims to groups",
		                   WHO_GROUPS_MAX);
	return take(f, "a group", text, &f->w->groups[f->w->group_count++]);
}

/* "{claim}" alone may be a list. */
static bool is_list(const struct fill *f, struct str tpl, const json_t **ret) {
	struct config_piece p;

	if (config_template_next(&tpl, &p) <= 0 || !p.is_claim || tpl.n != 0)
		return false;
	*ret = claim_find(f->c, p.text);
	return json_is_array(*ret);
}

static enum token_wrong fill_group(const struct fill *f, struct str tpl) {
	const json_t *list = NULL;
	struct str text = STR_NONE;
	char number[24];

	if (!is_list(f, tpl, &list)) {
		enum token_wrong wrong = fill_text(f, "a group", tpl, &text);

		return wrong == TOKEN_FINE ? add_group(f, text) : wrong;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (!value_text(json_array_get(list, i), number, &text))
			return token_wrong(f->e, TOKEN_MAPPING,
			                   "the list of groups holds what is no text");
		enum token_wrong wrong = add_group(f, text);

		if (wrong != TOKEN_FINE)
			return wrong;
	}
	return TOKEN_FINE;
}

/* Claims that are there, short and clean; a token is not refused for its remarks. */
static void fill_context(const struct fill *f) {
	struct who *w = f->w;

	for (size_t i = 0; i < f->m->context.n && w->context_count < WHO_CONTEXT_MAX; i++) {
		struct str key = f->m->context.v[i], text;
		const json_t *v = claim_find(f->c, key);
		char number[24];

		if (v == NULL || !value_text(v, number, &text) || text.n > WHO_VALUE_MAX ||
		    !is_clean(text))
			continue;
		struct who_pair *pair = &w->context[w->context_count];

		pair->key = arena_str(f->arena, key);
		pair->value = arena_str(f->arena, text);
		w->context_count += pair->key.p != NULL && pair->value.p != NULL;
	}
	w->context_verified = true;
}

static enum token_wrong fill_all(const struct fill *f, struct str name) {
	const struct config_mapping *m = f->m;
	struct who *w = f->w;
	enum token_wrong wrong = fill_subject(f, name);

	w->kind = (enum who_kind)m->kind;
	if (wrong == TOKEN_FINE)
		wrong = fill_text(f, "on_behalf_of", m->on_behalf_of, &w->on_behalf_of);
	if (wrong == TOKEN_FINE)
		wrong = fill_text(f, "run", m->run, &w->run);
	if (wrong == TOKEN_FINE)
		wrong = fill_text(f, "email", m->email, &w->email);
	for (size_t i = 0; i < m->groups.n && wrong == TOKEN_FINE; i++)
		wrong = fill_group(f, m->groups.v[i]);
	if (wrong == TOKEN_FINE)
		fill_context(f);
	w->on_behalf_of_verified = w->on_behalf_of.n != 0;
	return wrong;
}

enum token_wrong claims_map(const struct claims *c, const struct config_issuer *issuer,
                            struct arena *a, struct who *w, struct err *e) {
	struct str jti = text_of(json_object_get(c->doc, "jti"));
	const struct config_mapping *m = issuer->mappings;
	uint32_t index = 0;

	*w = (struct who){ 0 };
	for (; m != NULL && !mapping_matches(c, m); m = m->next)
		index++;
	if (m == NULL)
		return token_wrong(e, TOKEN_NO_MAPPING,
		                   "none of the %zu mappings matches its claims",
		                   issuer->mapping_count);
	struct fill f = { .c = c, .m = m, .arena = a, .w = w, .e = e };

	w->mapping = index;
	w->issuer = issuer->issuer;
	if (is_clean(jti))
		w->credential = arena_str(a, str_head(jti, WHO_SUBJECT_MAX));
	return fill_all(&f, issuer->name);
}
