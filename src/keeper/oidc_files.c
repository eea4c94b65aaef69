/*
 * oidc_files.c: the files that issuers' options name: roots of their web servers, key sets (oidc.h).
 * Read by the keeper at start and reload, and by `hansard check`, with the same findings.
 */
#include "keeper/oidc.h"

static struct place place_of(const struct config *c, const struct config_issuer *s,
                             enum option_id id) {
	uint32_t at = s->item.at[id];

	return (struct place){ .file = c->file,
		               .line = at != 0 ? at >> 10 : s->item.line,
		               .column = at != 0 ? at & 1023 : 1,
		               .key = s->item.shown };
}

static char *text_of(struct str path, size_t max, const struct place *at, struct findings *f) {
	struct err e = { 0 };
	char *text = config_file_read(path.p, max, NULL, &e);

	if (text == NULL)
		finding_error(f, at, "%s", e.text);
	return text;
}

static void keys_read(struct oidc_file *out, const struct config *c, const struct config_issuer *s,
                      struct findings *f) {
	struct place at = place_of(c, s, OPT_I_JWKS_FILE);
	struct err e = { 0 };
	auto_free char *text = text_of(s->jwks_file, JWKS_SIZE_MAX, &at, f);

	if (text == NULL)
		return;
	out->keys = jwks_parse(str_of(text), &e);
	if (out->keys == NULL)
		finding_error(f, &at, "%s: %s", s->jwks_file.p, e.text);
}

void oidc_files_read(struct oidc_files *ret, const struct config *c, struct findings *f) {
	*ret = (struct oidc_files){ 0 };
	for (const struct config_issuer *s = c->gateway.issuers;
	     s != NULL && ret->n < CONFIG_ISSUERS_MAX; s = s->next) {
		struct oidc_file *out = &ret->v[ret->n++];
		struct place at = place_of(c, s, OPT_I_CA);

		if (s->jwks_file.n != 0)
			keys_read(out, c, s, f);
		else if (s->ca.n != 0)
			out->ca_pem = text_of(s->ca, CONFIG_ISSUER_CA_MAX, &at, f);
	}
}

void oidc_files_free(struct oidc_files *files) {
	for (size_t i = 0; i < files->n; i++) {
		free(files->v[i].ca_pem);
		jwks_free(&files->v[i].keys);
	}
	files->n = 0;
}
