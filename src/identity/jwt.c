/*
 * jwt.c: the header and the parts of a token (jwt.h). jansson reads the header.
 *
 * What is refused here, although some libraries take it: padding and other characters in base64url,
 * spare bits that are not zero (one token must have one spelling), members that stand twice, `crit`
 * (we know no extension, and one of them, b64, changes what is signed), `zip`, types other than a
 * token's.
 */
#include "identity/jwt.h"

#include <jansson.h>
#include <stdarg.h>

enum { HEADER_MAX = 4096 };

const char *jwt_alg_name(enum jwt_alg alg) {
	static const char *const names[JWT_ALG_COUNT] = { [JWT_RS256] = "RS256",
		                                          [JWT_PS256] = "PS256",
		                                          [JWT_ES256] = "ES256",
		                                          [JWT_EDDSA] = "EdDSA" };

	assert(alg < JWT_ALG_COUNT);
	return names[alg];
}

int jwt_alg_of(struct str name, enum jwt_alg *ret) {
	for (unsigned i = 0; i < JWT_ALG_COUNT; i++) {
		if (str_is(name, jwt_alg_name((enum jwt_alg)i))) {
			*ret = (enum jwt_alg)i;
			return 0;
		}
	}
	return H_ENOTFOUND;
}

enum token_wrong token_wrong(struct err *e, enum token_wrong wrong, const char *fmt, ...) {
	char text[sizeof(e->text)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)err_set(e, H_EREFUSED, "%s", text);
	return wrong;
}

static int symbol_value(char c) {
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

int base64url_decode(uint8_t *dst, size_t cap, struct str s) {
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	if (s.n % 4 == 1)
		return H_EFORMAT;
	if (s.n / 4 * 3 + (s.n % 4 != 0 ? s.n % 4 - 1 : 0) > MIN(cap, (size_t)INT32_MAX))
		return H_ELIMIT;
	for (size_t i = 0; i < s.n; i++) {
		int v = symbol_value(s.p[i]);

		if (v < 0)
			return H_EFORMAT;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			dst[n++] = (uint8_t)(bits >> have);
		}
		bits &= (1U << have) - 1;
	}
	return bits == 0 ? (int)n : H_EFORMAT;
}

bool jwt_looks(struct str token) {
	size_t dots = 0;

	for (size_t i = 0; i < token.n; i++)
		dots += token.p[i] == '.';
	return dots == 2 && str_starts(token, STR("ey"));
}

/* "JWT" and the access tokens of RFC 9068; other kinds of signed text are no proof of identity. */
static bool typ_ok(const json_t *typ) {
	struct str s = str_of(json_string_value(typ));

	if (typ == NULL)
		return true;
	if (str_starts(s, STR("application/")))
		s = str_from(s, sizeof("application/") - 1);
	return str_eq_nocase(s, STR("JWT")) || str_eq_nocase(s, STR("at+jwt"));
}

/* A short piece of foreign text for a sentence: only what cannot disturb. */
static void quote(char out[40], struct str s) {
	size_t n = MIN(s.n, (size_t)32);

	for (size_t i = 0; i < n; i++)
		out[i] = s.p[i] > 0x20 && s.p[i] < 0x7f && s.p[i] != '"' ? s.p[i] : '?';
	out[n] = '\0';
}

static enum token_wrong header_alg(struct jwt *t, const json_t *alg, struct err *e) {
	char name[40];

	if (!json_is_string(alg))
		return token_wrong(e, TOKEN_ALGORITHM, "the header names no algorithm");
	if (jwt_alg_of(str_of(json_string_value(alg)), &t->alg) == 0)
		return TOKEN_FINE;
	quote(name, str_of(json_string_value(alg)));
	return token_wrong(e, TOKEN_ALGORITHM,
	                   "algorithm \"%s\" is not accepted: RS256, PS256, ES256 and EdDSA are",
	                   name);
}

static enum token_wrong header_read(struct jwt *t, struct arena *a, const json_t *h,
                                    struct err *e) {
	static const char *const refused[] = { "crit", "b64", "zip", "enc", "cty" };
	const json_t *kid = json_object_get(h, "kid");

	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (json_object_get(h, refused[i]) != NULL)
			return token_wrong(e, TOKEN_MALFORMED,
			                   "the header has \"%s\", which is not supported",
			                   refused[i]);
	}
	if (!typ_ok(json_object_get(h, "typ")))
		return token_wrong(e, TOKEN_MALFORMED,
		                   "the header's typ is not that of a token (JWT or at+jwt)");
	if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) > JWT_KID_MAX))
		return token_wrong(e, TOKEN_MALFORMED,
		                   "the header's kid is no text of at most %d "
		                   "bytes",
		                   JWT_KID_MAX);
	if (kid != NULL)
		t->kid = arena_str(a, str_mem(json_string_value(kid), json_string_length(kid)));
	return header_alg(t, json_object_get(h, "alg"), e);
}

static enum token_wrong header_parse(struct jwt *t, struct arena *a, struct str part,
                                     struct err *e) {
	char text[HEADER_MAX];
	int n = base64url_decode((uint8_t *)text, sizeof(text), part);

	if (n == H_ELIMIT)
		return token_wrong(e, TOKEN_MALFORMED, "the header is too long");
	if (n < 0)
		return token_wrong(e, TOKEN_MALFORMED, "the header is not base64url");
	json_t *h = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	enum token_wrong wrong;

	if (json_is_object(h))
		wrong = header_read(t, a, h, e);
	else
		wrong = token_wrong(e, TOKEN_MALFORMED,
		                    "the header is no JSON object with each member once");
	json_decref(h);
	return wrong;
}

enum token_wrong jwt_parse(struct jwt *t, struct arena *a, struct str token, struct err *e) {
	struct str rest = token;

	*t = (struct jwt){ 0 };
	if (token.n > JWT_SIZE_MAX)
		return token_wrong(e, TOKEN_MALFORMED, "longer than %zu bytes", JWT_SIZE_MAX);
	struct str header = str_cut(&rest, '.');
	struct str claims = str_cut(&rest, '.');

	if (header.n == 0 || claims.n == 0 || rest.n == 0 || str_find(rest, '.') != rest.n)
		return token_wrong(e, TOKEN_MALFORMED, "not three parts with dots between");
	enum token_wrong wrong = header_parse(t, a, header, e);

	if (wrong != TOKEN_FINE)
		return wrong;
	int n = base64url_decode(t->sig, sizeof(t->sig), rest);

	if (n <= 0)
		return token_wrong(e, TOKEN_MALFORMED,
		                   "the signature is not base64url, or too long");
	t->sig_len = (size_t)n;
	t->claims = claims;
	t->input = str_head(token, header.n + 1 + claims.n);
	return TOKEN_FINE;
}
