/*
 * sql_shape.c: credentials that are known by their shape, wherever they stand.
 *
 * - `password = value` in the manner of libpq's connection strings; `?password=value&` and
 *   `scheme://user:password@host` of URIs; `"password": "value"` of JSON;
 * - PEM private keys;
 * - tokens with a registered prefix, long enough not to be a word, and JSON web tokens.
 *
 * The bytes are looked at as they stand in the literal. Where they hold escapes ('' or \), what
 * is a value's end cannot be told without undoing them: then the span goes to the literal's end.
 */
#include "policy/sql_secret_priv.h"

static bool is_space(char c) {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_alnum(char c) {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_wordy(char c) {
	return is_alnum(c) || c == '_';
}

static size_t skip_space(struct str s, size_t i) {
	while (i < s.n && is_space(s.p[i]))
		i++;
	return i;
}

static struct str between(struct str s, size_t from, size_t to) {
	return str_mem(s.p + from, to - from);
}

size_t secret_word(struct str s, size_t from, const char *word) {
	size_t n = strlen(word);

	for (size_t i = from; i + n <= s.n; i++) {
		if ((s.p[i] | 0x20) != word[0] || (i > 0 && is_wordy(s.p[i - 1])))
			continue;
		if (str_eq_nocase(between(s, i, i + n), str_mem(word, n)) &&
		    (i + n == s.n || !is_wordy(s.p[i + n])))
			return i;
	}
	return s.n;
}

bool secret_is_option(struct str name) {
	static const char *const names[] = {
		"password",          "passwd",           "passfile",    "sslkey",
		"sslpassword",       "pgpassword",       "secret",      "oauth_client_secret",
		"scram_client_key",  "scram_server_key", "api_key",     "secret_key",
		"secret_access_key", "access_token",     "private_key", "client_secret",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_nocase(name, str_of(names[i])))
			return true;
	return false;
}

/* ---- key = value ---- */

/* End of a value of libpq's form that begins at i: quoted, or up to white space. */
static size_t value_end(struct str s, size_t i, const char *ends) {
	char quote = i < s.n && (s.p[i] == '\'' || s.p[i] == '"') ? s.p[i] : '\0';

	for (i += quote != '\0'; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		else if (quote != '\0' ? s.p[i] == quote
		                       : is_space(s.p[i]) || strchr(ends, s.p[i]) != NULL)
			return quote != '\0' ? i + 1 : i;
	}
	return s.n;
}

/* The value behind a key that ends at i, if it is one: `=` for connection strings, `":` for JSON. */
static size_t behind_key(struct str s, size_t key, size_t i) {
	bool is_json = i < s.n && s.p[i] == '"' && key > 0 && s.p[key - 1] == '"';
	size_t at = skip_space(s, i + (is_json ? 1 : 0));

	if (at >= s.n || s.p[at] != (is_json ? ':' : '='))
		return 0;
	return skip_space(s, at + 1);
}

static void pairs(struct finder *f, struct str s, bool has_escapes) {
	static const char *const keys[] = {
		"password",   "sslpassword",         "passwd",
		"pgpassword", "oauth_client_secret", "scram_client_key"
	};

	for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
		size_t n = strlen(keys[k]);

		for (size_t i = secret_word(s, 0, keys[k]); i < s.n;
		     i = secret_word(s, i + n, keys[k])) {
			size_t from = behind_key(s, i, i + n);
			bool is_query = i > 0 && (s.p[i - 1] == '?' || s.p[i - 1] == '&');

			if (from == 0)
				continue;
			size_t to = has_escapes ? s.n : value_end(s, from, is_query ? "&#" : "");

			secret_add(f, between(s, from, to), SECRET_CONNINFO);
		}
	}
}

/* ---- scheme://user:password@ ---- */

static void authority(struct finder *f, struct str s, size_t from) {
	size_t colon = s.n, at = s.n;

	for (size_t i = from; i < s.n && !is_space(s.p[i]) && s.p[i] != '/' && s.p[i] != '\'';
	     i++) {
		if (s.p[i] == ':' && colon == s.n)
			colon = i;
		else if (s.p[i] == '@')
			at = i;
	}
	if (at < s.n && colon < at)
		secret_add(f, between(s, colon + 1, at), SECRET_CONNINFO);
}

static void uris(struct finder *f, struct str s) {
	const char *p;

	for (size_t i = 0; i < s.n && (p = memmem(s.p + i, s.n - i, "://", 3)) != NULL;) {
		i = (size_t)(p - s.p) + 3;
		authority(f, s, i);
	}
}

/* ---- private keys ---- */

static void pems(struct finder *f, struct str s) {
	static const char begin[] = "-----BEGIN ", end[] = "-----END ", kind[] = "PRIVATE KEY";
	const char *p;

	for (size_t i = 0;
	     i < s.n && (p = memmem(s.p + i, s.n - i, begin, sizeof(begin) - 1)) != NULL;) {
		size_t from = (size_t)(p - s.p);
		struct str head = str_head(str_from(s, from), 64);

		i = from + sizeof(begin) - 1;
		if (memmem(head.p, head.n, kind, sizeof(kind) - 1) == NULL)
			continue;
		const char *last = memmem(s.p + i, s.n - i, end, sizeof(end) - 1);

		i = last != NULL ? (size_t)(last - s.p) : s.n;
		secret_add(f, between(s, from, i), SECRET_PEM);
	}
}

/* ---- tokens ---- */

static bool is_of_token(char c) {
	return is_wordy(c) || c == '-' || c == '.' || c == '+' || c == '/' || c == '=';
}

/* prefix, least length of the whole */
static const struct {
	const char *prefix;
	uint8_t least;
} tokens[] = {
	{ "ghp_", 30 },     { "gho_", 30 },        { "ghu_", 30 },   { "ghs_", 30 },
	{ "ghr_", 30 },     { "github_pat_", 40 }, { "glpat-", 20 }, { "xoxb-", 20 },
	{ "xoxp-", 20 },    { "xoxa-", 20 },       { "xoxr-", 20 },  { "xoxs-", 20 },
	{ "xapp-", 20 },    { "AKIA", 20 },        { "ASIA", 20 },   { "AIza", 39 },
	{ "ya29.", 30 },    { "hsd1_", 20 },       { "sk-", 24 },    { "sk_live_", 24 },
	{ "rk_live_", 24 }, { "npm_", 30 },        { "pypi-", 40 },  { "dop_v1_", 40 },
	{ "SG.", 40 },      { "eyJ", 40 },
};

static bool is_jwt(struct str s) {
	size_t dot = str_find(s, '.');

	return dot + 1 < s.n && str_find(str_from(s, dot + 1), '.') + dot + 1 < s.n;
}

static bool is_token(struct str s) {
	/* What none of them begins with: long runs of base64 come here often. */
	if (strchr("gxAhsrnpdSey", s.p[0]) == NULL)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		struct str prefix = str_of(tokens[i].prefix);

		if (str_starts(s, prefix) && s.n >= tokens[i].least)
			return !str_is(prefix, "eyJ") || is_jwt(s);
	}
	return false;
}

static void runs(struct finder *f, struct str s) {
	for (size_t i = 0; i < s.n;) {
		size_t end = i;

		while (end < s.n && is_of_token(s.p[end]))
			end++;
		/* A run may have a key in front: "token=ghp_…", "a/b=ghp_…". */
		for (size_t at = i; end - i >= 20 && at < end; at++) {
			if (at > i && is_wordy(s.p[at - 1]))
				continue;
			if (is_token(between(s, at, end))) {
				secret_add(f, between(s, at, end), SECRET_TOKEN);
				break;
			}
		}
		i = end + (end == i ? 1 : 0);
	}
}

void secret_shapes(struct finder *f, struct str value, bool has_escapes) {
	if (value.n < 6)
		return;
	pairs(f, value, has_escapes);
	uris(f, value);
	if (value.n < 16)
		return;
	pems(f, value);
	runs(f, value);
}

/* ---- connection strings where one is expected ---- */

/* One `key = value` at i: where it ends, or 0 when it is none. */
static size_t pair(struct finder *f, struct str s, size_t i) {
	size_t key = i;

	while (i < s.n && is_wordy(s.p[i]))
		i++;
	struct str name = between(s, key, i);

	i = skip_space(s, i);
	if (name.n == 0 || i >= s.n || s.p[i] != '=')
		return 0;
	i = skip_space(s, i + 1);
	size_t end = value_end(s, i, "");

	if (secret_is_option(name))
		secret_add(f, between(s, i, end), SECRET_CONNINFO);
	return end;
}

void secret_conninfo(struct finder *f, struct str value, bool has_escapes) {
	size_t i = skip_space(value, 0);
	bool is_read = !has_escapes;

	if (is_read && memmem(value.p, value.n, "://", 3) != NULL) {
		secret_shapes(f, value, false);
		return;
	}
	while (is_read && i < value.n) {
		i = pair(f, value, i);
		is_read = i != 0;
		i = is_read ? skip_space(value, i) : i;
	}
	if (!is_read)
		secret_add(f, value, SECRET_CONNINFO);
}
