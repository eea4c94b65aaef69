/*
 * runtime.c: reading what a configuration refers to (runtime.h).
 *
 * Passwords go from file or environment straight into a struct secret; buffers in between are
 * wiped. Of a password file one final newline (with a carriage return before it) is not part of
 * the password, since editors and `echo` put it there.
 */
#include "keeper/runtime.h"

#include <sys/mman.h>
#include <sys/stat.h>

enum { ENV_MAX = 1024 * 1024 };

int env_read(struct env *env, int fd) {
	struct stat st;

	*env = (struct env){ 0 };
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || st.st_size < 0 || st.st_size > ENV_MAX)
		return H_EFORMAT;
	if (st.st_size == 0)
		return 0;
	size_t n = (size_t)st.st_size;
	void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		return H_EIO;
	env->all = secret_of(str_mem(p, n));
	(void)munmap(p, n);
	/* A NUL must end the last value. */
	if (env->all.p[n - 1] != '\0') {
		env_fini(env);
		return H_EFORMAT;
	}
	return 0;
}

void env_fini(struct env *env) {
	secret_free(&env->all);
}

const char *env_get(void *arg, const char *name) {
	const struct env *env = arg;
	size_t want = strlen(name);

	for (size_t at = 0; at < env->all.n;) {
		const char *entry = (const char *)env->all.p + at;
		size_t len = strlen(entry);

		if (len > want && entry[want] == '=' && memcmp(entry, name, want) == 0)
			return entry + want + 1;
		at += len + 1;
	}
	return NULL;
}

struct build {
	struct runtime *r;
	struct env *env;
	const struct tls_pair *fallback;
	struct findings *f;
};

static struct secret secret_read(const struct build *b, const struct config_secret *ref) {
	struct secret s = { 0 };
	struct err e = { 0 };
	size_t n = 0;

	if (ref->kind == SECRET_ENV) {
		const char *value = env_get(b->env, ref->name.p);

		return value != NULL ? secret_of(str_of(value)) : s;
	}
	char *text = config_file_read(ref->name.p, CONFIG_SECRET_MAX, &n, &e);

	if (text == NULL)
		return s;
	size_t used = n;

	if (used != 0 && text[used - 1] == '\n')
		used--;
	if (used != 0 && used < n && text[used - 1] == '\r')
		used--;
	s = secret_of(str_mem(text, used));
	wipe(text, n);
	free(text);
	return s;
}

static void role_build(const struct build *b, const struct config_connection *c,
                       const struct config_role *role, struct login_role *out) {
	struct place at = { .file = b->r->config->file,
		            .key = role->item.shown,
		            .line = role->item.line,
		            .column = 1 };
	char key[512];

	out->auth = (enum config_auth)role->auth;
	out->binding = (enum config_binding)role->binding;
	out->user = role->user;
	out->may_send_clear = c->tls_mode >= CONFIG_TLS_VERIFY_CA ||
	                      str_starts(c->address, STR("unix:"));
	(void)snprintf(key, sizeof(key), "%.*s/%.*s/%.*s/%.*s", STR_ARG(c->name),
	               STR_ARG(role->name), STR_ARG(role->user), STR_ARG(c->address));
	out->pin_key = arena_str(b->r->config->arena, str_of(key));
	if (role->password.kind == SECRET_NONE || role->auth == CONFIG_AUTH_TRUST)
		return;
	out->password = secret_read(b, &role->password);
	if (out->password.n == 0 || memchr(out->password.p, 0, out->password.n) != NULL)
		finding_error(b->f, &at,
		              "the password cannot be read, is empty, or holds a NUL byte");
}

static void roles_build(const struct build *b) {
	struct runtime *r = b->r;
	size_t i = 0;

	for (const struct config_connection *c = r->config->connections; c != NULL; c = c->next) {
		for (const struct config_role *role = c->roles; role != NULL; role = role->next)
			r->role_count++;
	}
	r->roles = xcalloc(MAX(r->role_count, (size_t)1), sizeof(*r->roles));
	for (const struct config_connection *c = r->config->connections; c != NULL; c = c->next) {
		for (const struct config_role *role = c->roles; role != NULL; role = role->next)
			role_build(b, c, role, &r->roles[i++]);
	}
}

/* ---- the snapshot ---- */

static int target_cmp(const void *a, const void *b) {
	const struct snapshot_target *x = a, *y = b;
	size_t n = MIN(x->connection.n, y->connection.n);
	int c = memcmp(x->connection.p, y->connection.p, n);

	return c != 0 ? c
	              : (x->connection.n > y->connection.n) - (x->connection.n < y->connection.n);
}

/* Files were checked before; one that has gone since is an error all the same. */
static char *pem_file(const struct build *b, struct str path) {
	struct place at = { .file = b->r->config->file };
	struct err e = { 0 };
	char *text = config_file_read(path.p, CONFIG_PEM_MAX, NULL, &e);

	if (text == NULL)
		finding_error(b->f, &at, "%s", e.text);
	return text;
}

static struct str server_name_of(const struct config_connection *c) {
	struct config_address a;
	const char *why;

	if (c->server_name.n != 0)
		return c->server_name;
	if (config_address_parse(&a, c->address, &why) < 0 || a.kind == ADDRESS_UNIX)
		return STR_NONE;
	return a.host;
}

static void target_build(const struct build *b, const struct config_connection *c,
                         struct snapshot_target *t) {
	bool is_unix = str_starts(c->address, STR("unix:"));

	*t = (struct snapshot_target){ .connection = c->name,
		                       .protocol = config_protocol_name(c),
		                       .tls = (uint8_t)(is_unix ? CONFIG_TLS_DISABLE : c->tls_mode),
		                       .proof = (uint8_t)c->proof,
		                       .server_name = server_name_of(c) };
	if (c->tls_ca.n == 0 || t->tls < CONFIG_TLS_VERIFY_CA)
		return;
	auto_free char *pem = pem_file(b, c->tls_ca);

	t->ca_pem = pem != NULL ? arena_str(b->r->config->arena, str_of(pem)) : STR_NONE;
	if (pem != NULL && t->ca_pem.n == 0) {
		struct place at = { .file = b->r->config->file };

		finding_error(b->f, &at, "the configuration's certificates are too large");
	}
}

static void config_hash(const struct runtime *r, uint8_t out[SHA256_SIZE]) {
	struct buf text;

	buf_init(&text, 64 * MIB);
	config_show(r->config, &text);
	sha256(out, buf_peek(&text));
	buf_fini(&text);
}

/* Encodes and seals; the buffer that held the key is wiped. */
static int snapshot_make(const struct build *b, struct snapshot *s) {
	struct place at = { .file = b->r->config->file };
	struct buf bytes;

	buf_init(&bytes, SNAPSHOT_SIZE_MAX);
	int rc = snapshot_encode(&bytes, s);

	if (rc == 0)
		rc = snapshot_seal(buf_peek(&bytes));
	if (bytes.p != NULL)
		wipe(bytes.p, bytes.cap);
	buf_fini(&bytes);
	if (rc < 0)
		finding_error(b->f, &at, "the snapshot cannot be made: %s", h_err_text(rc));
	else
		b->r->snapshot_fd = rc;
	memcpy(b->r->hash, s->hash, SHA256_SIZE);
	return rc < 0 ? rc : 0;
}

static int snapshot_build(const struct build *b) {
	const struct config_gateway *g = &b->r->config->gateway;
	struct snapshot_listener listener = { .protocol = STR("postgres"),
		                              .address = g->listen_postgres,
		                              .has_tls = true,
		                              .cert_pem = b->fallback->cert_pem,
		                              .key_pem = b->fallback->key_pem };
	struct snapshot s = { .sessions_max = g->sessions_max,
		              .preadmission_max = g->preadmission_max,
		              .admission_ns = g->admission_ns,
		              .domain = g->listen_domain,
		              .listeners = &listener,
		              .listener_count = 1,
		              .target_count = b->r->config->connection_count };
	auto_free struct snapshot_target *targets = xcalloc(MAX(s.target_count, (size_t)1),
	                                                    sizeof(*targets));
	char *cert = NULL, *key = NULL;
	size_t i = 0;
	int rc = H_ECONFIG;

	if (g->tls_cert.n != 0) {
		cert = pem_file(b, g->tls_cert);
		key = pem_file(b, g->tls_key);
		listener.cert_pem = str_of(cert);
		listener.key_pem = str_of(key);
	}
	s.targets = targets;
	for (const struct config_connection *c = b->r->config->connections; c != NULL; c = c->next)
		target_build(b, c, &targets[i++]);
	qsort(targets, s.target_count, sizeof(*targets), target_cmp);
	config_hash(b->r, s.config_sha256);
	if (b->f->errors == 0)
		rc = snapshot_make(b, &s);
	if (key != NULL)
		wipe(key, strlen(key));
	free(key);
	free(cert);
	return rc;
}

int runtime_build(struct runtime **ret, struct config **c, struct env *env,
                  const struct tls_pair *fallback, struct findings *f) {
	config_check_files(*c, env_get, env, f);
	if (f->errors != 0)
		return H_ECONFIG;
	struct runtime *r = xcalloc(1, sizeof(*r));

	r->refs = 1;
	r->snapshot_fd = -1;
	r->config = *c;
	struct build b = { .r = r, .env = env, .fallback = fallback, .f = f };

	roles_build(&b);
	oidc_files_read(&r->oidc, r->config, f);
	if (f->errors == 0 && snapshot_build(&b) == 0) {
		*c = NULL;
		*ret = r;
		return 0;
	}
	r->config = NULL; /* stays the caller's */
	runtime_unref(&r);
	return H_ECONFIG;
}

struct runtime *runtime_ref(struct runtime *r) {
	r->refs++;
	return r;
}

void runtime_unref(struct runtime **rp) {
	struct runtime *r = *rp;

	*rp = NULL;
	if (r == NULL || --r->refs != 0)
		return;
	for (size_t i = 0; i < r->role_count; i++)
		login_role_fini(&r->roles[i]);
	free(r->roles);
	oidc_files_free(&r->oidc);
	if (r->snapshot_fd >= 0)
		(void)close(r->snapshot_fd);
	config_free(&r->config);
	free(r);
}

struct login_role *runtime_role(const struct runtime *r, const struct config_role *role) {
	size_t i = 0;

	for (const struct config_connection *c = r->config->connections; c != NULL; c = c->next) {
		for (const struct config_role *k = c->roles; k != NULL; k = k->next, i++) {
			if (k == role)
				return &r->roles[i];
		}
	}
	return NULL;
}
