/*
 * url.c: http and https addresses, and the templates of identity mappings (config.h).
 *
 * A URL is compared byte by byte with what an issuer says about itself, so nothing is normalised:
 * what could be written in two ways (user names, queries, fragments, spaces) is refused. A template
 * is text with claims in braces: "devin/{devin_id}"; a name with a question mark behind it
 * ("{email?}") may be missing from the token.
 */
#include "config/config.h"

enum { CLAIM_MAX = 128 };

static bool url_char_ok(char c) {
	return c > 0x20 && c < 0x7f && strchr("\"<>\\^`{|}?#", c) == NULL;
}

int config_url_parse(struct config_url *u, struct str text, const char **ret_why) {
	char address[CONFIG_ADDRESS_MAX];
	bool is_https = str_starts(text, STR("https://"));

	*u = (struct config_url){ .is_https = is_https };
	*ret_why = "must be https://host[:port][/path], without user, query or fragment";
	if ((!is_https && !str_starts(text, STR("http://"))) || text.n > CONFIG_URL_MAX)
		return H_EFORMAT;
	for (size_t i = 0; i < text.n; i++) {
		if (!url_char_ok(text.p[i]))
			return H_EFORMAT;
	}
	struct str rest = str_from(text, is_https ? 8 : 7);
	size_t slash = str_find(rest, '/');

	u->authority = str_head(rest, slash);
	u->path = str_from(rest, slash);
	bool is_v6 = u->authority.n != 0 && u->authority.p[0] == '[';
	size_t end = is_v6 ? str_find(u->authority, ']') : 0;
	bool has_port = str_find(str_from(u->authority, end), ':') < u->authority.n - end;
	struct config_address a;
	const char *why;
	int n = snprintf(address, sizeof(address), "%.*s%s", STR_ARG(u->authority),
	                 has_port ? "" : ":443");

	if (n < 0 || (size_t)n >= sizeof(address) ||
	    config_address_parse(&a, str_of(address), &why) < 0 || a.kind != ADDRESS_TCP)
		return H_EFORMAT;
	u->host = is_v6 ? str_mem(u->authority.p + 1, a.host.n) : str_head(u->authority, a.host.n);
	u->is_loopback = a.is_loopback;
	if (!is_https && !a.is_loopback) {
		*ret_why = "must be https; http is for issuers on this machine (127.0.0.1) only";
		return H_EFORMAT;
	}
	return 0;
}

static bool claim_ok(struct str s) {
	if (s.n == 0 || s.n > CLAIM_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if ((uint8_t)s.p[i] <= 0x20 || s.p[i] == 0x7f || s.p[i] == '{')
			return false;
	}
	return true;
}

int config_template_next(struct str *rest, struct config_piece *p) {
	*p = (struct config_piece){ 0 };
	if (rest->n == 0)
		return 0;
	if (rest->p[0] != '{') {
		size_t n = MIN(str_find(*rest, '{'), str_find(*rest, '}'));

		p->text = str_head(*rest, n);
		*rest = str_from(*rest, n);
		return n != 0 ? 1 : H_EFORMAT;
	}
	size_t end = str_find(*rest, '}');

	if (end == rest->n)
		return H_EFORMAT;
	p->is_claim = true;
	p->text = str_head(str_from(*rest, 1), end - 1);
	if (p->text.n != 0 && p->text.p[p->text.n - 1] == '?') {
		p->is_optional = true;
		p->text.n--;
	}
	*rest = str_from(*rest, end + 1);
	return claim_ok(p->text) ? 1 : H_EFORMAT;
}

bool config_template_ok(struct str text) {
	struct config_piece p;
	int rc;

	do
		rc = config_template_next(&text, &p);
	while (rc > 0);
	return rc == 0;
}
