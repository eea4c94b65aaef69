/*
 * config.c: finding, reading and holding a configuration (config.h).
 *
 * The text is read whole, walked into structs of one arena and checked; a struct config leaves
 * this file only without errors. The directory of the file, made absolute, is what relative paths
 * start from, so that the same file means the same wherever the program is started.
 */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "config/config_priv.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };

/* An issuer without a name is called like its host. */
static void issuer_names(struct config *c) {
	for (struct config_issuer *s = c->gateway.issuers; s != NULL; s = s->next) {
		struct config_url u;
		const char *why;

		if (s->name.n == 0 && config_url_parse(&u, s->issuer, &why) == 0)
			s->name = arena_str(c->arena, u.host);
	}
}

/* As far as it goes: with errors in f some of it is missing. */
static struct config *build(struct str text, struct str file, struct str dir, struct findings *f) {
	struct config *c = xcalloc(1, sizeof(*c));

	c->arena = arena_new(ARENA_MAX);
	c->file = arena_str(c->arena, file);
	c->dir = arena_str(c->arena, dir);
	struct ydoc *docs = yaml_load(c->arena, text, c->file, f);

	if (docs == NULL && f->errors == 0) {
		struct place at = { .file = file };

		finding_error(f, &at, "the file is empty");
	}
	if (f->errors == 0) {
		config_walk(c, docs, f);
		issuer_names(c);
		config_check(c, f);
		/* The embedded issuer serves when the configuration names no other. */
		if (c->gateway.issuers == NULL)
			c->gateway.identity_local = true;
	}
	return c;
}

struct config *config_parse(struct str text, struct str file, struct str dir, struct findings *f) {
	struct config *c = build(text, file, dir, f);

	if (f->errors != 0)
		config_free(&c);
	return c;
}

void config_free(struct config **c) {
	if (*c == NULL)
		return;
	arena_free(&(*c)->arena);
	free(*c);
	*c = NULL;
}

char *config_file_read(const char *path, size_t max, size_t *ret_len, struct err *e) {
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)err_set(e, fd < 0 && errno == ENOENT ? H_ENOTFOUND : H_EIO,
		              "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)err_set(e, H_ECONFIG, "%s is not a regular file", path);
		return NULL;
	}
	char *text = xmalloc(max + 1);
	size_t n = 0;

	for (;;) {
		ssize_t got = read(fd, text + n, max + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) /* half a file is not the file */
			(void)err_set(e, H_EIO, "cannot read %s: %s", path, strerror(errno));
		n += got > 0 ? (size_t)got : 0;
		if (got < 0)
			goto failed;
		if (got == 0 || n > max)
			break;
	}
	if (n > max) {
		(void)err_set(e, H_ELIMIT, "%s is larger than %zu bytes", path, max);
		goto failed;
	}
	text[n] = '\0';
	if (ret_len != NULL)
		*ret_len = n;
	return text;
failed:
	wipe(text, max + 1);
	free(text);
	return NULL;
}

/* Absolute directory of a file that exists. */
static bool dir_of(char out[PATH_MAX], const char *path) {
	if (realpath(path, out) == NULL)
		return false;
	char *slash = strrchr(out, '/');

	if (slash == NULL)
		return false;
	slash[slash == out ? 1 : 0] = '\0';
	return true;
}

struct config *config_load(const char *path, struct findings *f) {
	struct place at = { .file = str_of(path) };
	struct err e = { 0 };
	char dir[PATH_MAX];
	size_t n = 0;
	auto_free char *text = config_file_read(path, YAML_SIZE_MAX, &n, &e);

	if (text == NULL || !dir_of(dir, path)) {
		finding_error(f, &at, "%s", text == NULL ? e.text : "cannot be resolved");
		return NULL;
	}
	return config_parse(str_mem(text, n), str_of(path), str_of(dir), f);
}

int config_store_path(const char *path, char *out, size_t cap, struct err *e) {
	char dir[PATH_MAX];
	struct findings f;
	size_t n = 0;
	auto_free char *text = config_file_read(path, YAML_SIZE_MAX, &n, e);

	if (text == NULL)
		return e->code;
	if (!dir_of(dir, path))
		return err_set(e, H_EIO, "%s cannot be resolved", path);
	findings_init(&f);
	struct config *c = build(str_mem(text, n), str_of(path), str_of(dir), &f);
	bool has_path = c->gateway.store_path.n != 0 && str_copy(out, cap, c->gateway.store_path);

	if (!has_path) {
		char first[400];

		findings_first(&f, first, sizeof(first));
		(void)err_set(e, H_ECONFIG, "%s (`hansard check` shows all)",
		              f.errors != 0 ? first : "the store's path is too long");
	}
	config_free(&c);
	findings_fini(&f);
	return has_path ? 0 : H_ECONFIG;
}

int config_find(const char *given, char *out, size_t cap, struct err *e) {
	const char *env = getenv("HANSARD_CONFIG");
	const char *home = getenv("HOME");
	auto_free char *user = xasprintf("%s/.config/hansard/hansard.yaml",
	                                 home != NULL ? home : "");
	const char *const usual[] = { "hansard.yaml", user, "/etc/hansard/hansard.yaml" };

	if (given == NULL && env != NULL && env[0] != '\0')
		given = env;
	for (size_t i = 0; given == NULL && i < ARRAY_LEN(usual); i++) {
		if (access(usual[i], F_OK) == 0)
			given = usual[i];
	}
	if (given == NULL)
		return err_set(
			e, H_ENOTFOUND,
			"no configuration: neither --config nor HANSARD_CONFIG is given, and there is no "
			"./hansard.yaml, %s or /etc/hansard/hansard.yaml",
			user);
	if (!str_copy(out, cap, str_of(given)))
		return err_set(e, H_ELIMIT, "the path of the configuration is too long");
	return 0;
}

struct config_connection *config_connection_find(const struct config *c, struct str name) {
	for (struct config_connection *k = c->connections; k != NULL; k = k->next) {
		if (str_eq(k->name, name))
			return k;
	}
	return NULL;
}

struct config_role *config_role_find(const struct config_connection *c, struct str name) {
	for (struct config_role *r = c->roles; r != NULL; r = r->next) {
		if (str_eq(r->name, name))
			return r;
	}
	return NULL;
}

const char *config_env_process(void *arg, const char *name) {
	(void)arg;
	return getenv(name);
}
