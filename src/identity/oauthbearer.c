/* oauthbearer.c: RFC 7628, strictly (oauthbearer.h). */
#include "identity/oauthbearer.h"

#include "base/json.h"

#define MARK '\x01'

/* b64token of RFC 6750 §2.1: what a token may consist of. */
static bool is_token(struct str s) {
	size_t n = s.n;

	while (n > 0 && s.p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		char c = s.p[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		                (c >= 'A' && c <= 'Z');

		if (!is_alnum && (c == '\0' || strchr("-._~+/", c) == NULL))
			return false;
	}
	return n > 0;
}

/* "Bearer TOKEN", the scheme in any case; nothing at all is a question. */
static int auth_parse(struct str *ret_token, struct str value) {
	struct str scheme = str_head(value, 6);
	struct str token = str_trim(str_from(value, scheme.n));

	*ret_token = STR_NONE;
	if (value.n == 0)
		return 0;
	if (!str_eq_nocase(scheme, STR("Bearer")) || value.n < 8 || value.p[6] != ' ' ||
	    !is_token(token))
		return H_EFORMAT;
	*ret_token = token;
	return 0;
}

/* A key of letters; values without controls but for the marks between them. */
static bool is_pair(struct str key, struct str value) {
	for (size_t i = 0; i < key.n; i++) {
		if (!((key.p[i] | 0x20) >= 'a' && (key.p[i] | 0x20) <= 'z'))
			return false;
	}
	for (size_t i = 0; i < value.n; i++) {
		bool is_blank = value.p[i] == '\t' || value.p[i] == '\r' || value.p[i] == '\n';

		if (value.p[i] == 0x7f || ((uint8_t)value.p[i] < 0x20 && !is_blank))
			return false;
	}
	return key.n != 0;
}

/* Pairs, each behind it a mark, then one more mark and nothing. */
static int pairs_parse(struct str *ret_token, struct str rest) {
	bool has_auth = false;

	while (rest.n > 1) {
		struct str value = str_cut(&rest, MARK);

		if (rest.p == NULL)
			return H_EFORMAT;
		bool has_value = str_find(value, '=') < value.n;
		struct str key = str_cut(&value, '=');

		if (!has_value || !is_pair(key, value))
			return H_EFORMAT;
		if (!str_is(key, "auth"))
			continue; /* host and port: known, and of no use here; others are to be ignored */
		if (has_auth || auth_parse(ret_token, value) < 0)
			return H_EFORMAT;
		has_auth = true;
	}
	return has_auth && rest.n == 1 && rest.p[0] == MARK ? 0 : H_EFORMAT;
}

int oauthbearer_parse(struct str *ret_token, struct str message) {
	struct str rest = message;
	struct str flag = str_cut(&rest, ',');
	struct str authzid = str_cut(&rest, ',');

	if (!str_is(flag, "n") && !str_is(flag, "y"))
		return H_EFORMAT;
	if (authzid.n != 0 || rest.n < 2 || rest.p[0] != MARK)
		return H_EFORMAT;
	return pairs_parse(ret_token, str_from(rest, 1));
}

void oauthbearer_refusal(struct buf *b, struct str issuer) {
	struct jw j = jw_of(b);

	while (issuer.n != 0 && issuer.p[issuer.n - 1] == '/')
		issuer.n--;
	jw_obj(&j);
	jw_kv_z(&j, "status", "invalid_token");
	jw_kv_z(&j, "scope", "openid");
	if (issuer.n != 0) {
		char url[1024];

		(void)snprintf(url, sizeof(url), "%.*s/.well-known/openid-configuration",
		               STR_ARG(issuer));
		jw_kv_z(&j, "openid-configuration", url);
	}
	jw_obj_end(&j);
}
