/*
 * check_files.c: the second step of a check: what the configuration refers to is there.
 *
 * It reads what the keeper will read at start and at reload, with the same functions, and tells
 * about each file and variable by name, never by content.
 */
#include <sys/stat.h>

#include "config/config_priv.h"
#include "config/pem.h"

struct refs {
	const struct config *c;
	struct findings *f;
	config_env_fn *env;
	void *arg;
};

static char *file_of(const struct refs *r, struct str path, const struct place *at,
                     size_t *ret_len) {
	struct err e = { 0 };
	char *text = config_file_read(path.p, CONFIG_PEM_MAX, ret_len, &e);

	if (text == NULL)
		finding_error(r->f, at, "%s", e.text);
	return text;
}

static void check_listen_tls(const struct refs *r) {
	const struct config_gateway *g = &r->c->gateway;
	struct place cert_at = config_place(r->c, &g->item, OPT_G_LISTEN_TLS_CERT);
	struct place key_at = config_place(r->c, &g->item, OPT_G_LISTEN_TLS_KEY);
	struct place domain_at = config_place(r->c, &g->item, OPT_G_LISTEN_DOMAIN);
	size_t cert_n = 0, key_n = 0;
	const char *why = NULL;
	int days = 0;

	if (g->tls_cert.n == 0)
		return;
	auto_free char *cert = file_of(r, g->tls_cert, &cert_at, &cert_n);
	auto_free char *key = file_of(r, g->tls_key, &key_at, &key_n);

	if (cert == NULL || key == NULL)
		goto out;
	if (pem_pair_check(str_mem(cert, cert_n), str_mem(key, key_n), &days, &why) < 0)
		finding_error(r->f, &cert_at, "%s", why);
	else if (days < 0)
		finding_error(r->f, &cert_at, "the certificate has expired");
	else if (days < 14)
		finding_warn(r->f, &cert_at, "the certificate expires in %d days", days);
	if (g->listen_domain.n != 0 && !pem_carries_domain(str_mem(cert, cert_n), g->listen_domain))
		finding_warn(r->f, &domain_at,
		             "the certificate does not carry *.%.*s: clients that check it cannot "
		             "connect by these names, unless it lists each",
		             STR_ARG(g->listen_domain));
out:
	if (key != NULL)
		wipe(key, key_n);
}

static void check_ca(const struct refs *r, const struct config_connection *conn) {
	struct place at = config_place(r->c, &conn->item, OPT_C_TLS_CA);
	const char *why = NULL;
	size_t n = 0;

	if (conn->tls_ca.n == 0 || conn->tls_mode < CONFIG_TLS_VERIFY_CA)
		return;
	auto_free char *pem = file_of(r, conn->tls_ca, &at, &n);

	if (pem != NULL && pem_roots_check(str_mem(pem, n), &why) < 0)
		finding_error(r->f, &at, "%s", why);
}

static void check_issuer(const struct refs *r, const struct config_issuer *s) {
	struct place ca_at = config_place(r->c, &s->item, OPT_I_CA);
	struct place jwks_at = config_place(r->c, &s->item, OPT_I_JWKS_FILE);
	const char *why = NULL;
	size_t n = 0;

	if (s->ca.n != 0 && s->jwks_file.n == 0) {
		auto_free char *pem = file_of(r, s->ca, &ca_at, &n);

		if (pem != NULL && pem_roots_check(str_mem(pem, n), &why) < 0)
			finding_error(r->f, &ca_at, "%s", why);
		else if (pem != NULL && n > CONFIG_ISSUER_CA_MAX)
			finding_error(r->f, &ca_at,
			              "is larger than %d bytes: name the roots of "
			              "this issuer only",
			              CONFIG_ISSUER_CA_MAX);
	}
	if (s->jwks_file.n != 0) {
		auto_free char *jwks = file_of(r, s->jwks_file, &jwks_at, &n);

		if (jwks != NULL && n > CONFIG_JWKS_MAX)
			finding_error(r->f, &jwks_at, "is larger than %d bytes", CONFIG_JWKS_MAX);
	}
}

static void check_secret_file(const struct refs *r, const struct config_secret *s,
                              const struct place *at) {
	struct err e = { 0 };
	struct stat st;
	size_t n = 0;
	char *text = config_file_read(s->name.p, CONFIG_SECRET_MAX, &n, &e);

	if (text == NULL) {
		finding_error(r->f, at, "%s", e.text);
		return;
	}
	if (n == 0 || text[0] == '\n')
		finding_error(r->f, at, "%s is empty", s->name.p);
	wipe(text, n);
	free(text);
	if (stat(s->name.p, &st) == 0 && (st.st_mode & S_IRWXO) != 0)
		finding_warn(r->f, at, "%s can be read by everyone on this machine", s->name.p);
}

static void check_secret(const struct refs *r, const struct config_role *role) {
	struct place at = config_place(r->c, &role->item, OPT_R_PASSWORD);

	if (role->password.kind == SECRET_FILE) {
		check_secret_file(r, &role->password, &at);
	} else if (role->password.kind == SECRET_ENV && r->env != NULL) {
		const char *value = r->env(r->arg, role->password.name.p);

		/* A shell that checks need not hold what the service will: there it is a warning. */
		if (value != NULL && value[0] != '\0')
			return;
		if (r->env == config_env_process)
			finding_warn(r->f, &at, "the environment variable %s is not set here",
			             role->password.name.p);
		else
			finding_error(r->f, &at, "the environment variable %s is not set",
			              role->password.name.p);
	}
}

void config_check_files(const struct config *c, config_env_fn *env, void *arg, struct findings *f) {
	struct refs r = { .c = c, .f = f, .env = env, .arg = arg };

	check_listen_tls(&r);
	for (const struct config_issuer *s = c->gateway.issuers; s != NULL; s = s->next)
		check_issuer(&r, s);
	for (const struct config_connection *k = c->connections; k != NULL; k = k->next) {
		check_ca(&r, k);
		for (const struct config_role *role = k->roles; role != NULL; role = role->next)
			check_secret(&r, role);
	}
}
