/*
 * config.h: the configuration as structs.
 *
 * A file holds one Gateway and any number of Connection documents. config_load() reads it, checks
 * every key and value against the option table (options.h), then the meaning of the whole
 * (check.c), and yields a struct config only when there was no error. Nothing here reads a secret:
 * passwords are references until the keeper resolves them (config_secret_read).
 *
 * Lifetime: a struct config owns an arena; all slices point into it and are NUL-terminated.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/mem.h"
#include "config/findings.h"
#include "config/options.h"

#define CONFIG_NAME_MAX 32
#define CONFIG_SECRET_MAX 4096
#define CONFIG_ADDRESS_MAX 272 /* text, with NUL */
#define CONFIG_PEM_MAX ((size_t)512 * 1024)
#define CONFIG_URL_MAX 512
#define CONFIG_JWKS_MAX (64 * 1024)
#define CONFIG_ISSUER_CA_MAX (64 * 1024) /* crosses to egress in one message */
#define CONFIG_ISSUERS_MAX 32
#define CONFIG_MAPPINGS_MAX 256
#define CONFIG_WHEN_MAX 32
#define CONFIG_CONTEXT_MAX 16 /* claims that are kept as context */
#define CONFIG_GROUPS_MAX 32  /* templates of groups */

/* The numbers of the first three are those of session/proto.h. */
enum config_durable { CONFIG_BEFORE_FORWARD, CONFIG_BOTH_WAYS, CONFIG_ASYNC };
enum config_hygiene { CONFIG_PINNED, CONFIG_OPEN };
enum config_tls {
	CONFIG_TLS_DISABLE,
	CONFIG_TLS_REQUIRE,
	CONFIG_TLS_VERIFY_CA,
	CONFIG_TLS_VERIFY_FULL
};
enum config_negotiation { CONFIG_TLS_REQUEST, CONFIG_TLS_DIRECT };
enum config_binding { CONFIG_BINDING_PREFER, CONFIG_BINDING_REQUIRE, CONFIG_BINDING_DISABLE };
enum config_credentials { CONFIG_CREDENTIALS_REDACT, CONFIG_CREDENTIALS_KEEP };
enum config_names { CONFIG_NAMES_ON, CONFIG_NAMES_OFF };
enum config_replication { CONFIG_REPLICATION_REFUSE, CONFIG_REPLICATION_ALLOW };
/* The numbers of enum proof_method (session/proto.h). */
enum config_proof { CONFIG_PROOF_PASSWORD, CONFIG_PROOF_SCRAM, CONFIG_PROOF_OAUTH };
enum config_auth { CONFIG_AUTH_SCRAM, CONFIG_AUTH_MD5, CONFIG_AUTH_PASSWORD, CONFIG_AUTH_TRUST };
struct str config_tls_name(enum config_tls mode);
struct str config_auth_name(enum config_auth auth);
struct str config_durable_name(enum config_durable durable);
struct str config_hygiene_name(enum config_hygiene hygiene);

struct config_list {
	struct str *v;
	size_t n;
};

struct config_pair {
	struct str key, value;
};
struct config_labels {
	struct config_pair *v;
	size_t n;
};

enum config_secret_kind { SECRET_NONE, SECRET_ENV, SECRET_FILE };
struct config_secret {
	enum config_secret_kind kind;
	struct str name; /* of the variable, or the absolute path */
};

/* Head of every struct that options fill: where each option was set (line << 10 | column), 0 = default. */
struct config_item {
	uint32_t at[OPT_COUNT];
	uint32_t line;
	struct str shown; /* path for people: "spec.roles.ro" */
};

struct config_role {
	struct config_item item;
	struct config_role *next;
	struct str name;
	struct str user;
	uint32_t auth;    /* enum config_auth */
	uint32_t binding; /* enum config_binding */
	struct config_secret password;
};

struct config_access {
	struct config_item item;
	struct config_access *next;
	struct config_list groups, roles;
};

/* The numbers of enum depth_kind (session/proto.h). */
enum config_depth_kind {
	CONFIG_DEPTH_FULL,
	CONFIG_DEPTH_HEAD,
	CONFIG_DEPTH_DIGEST,
	CONFIG_DEPTH_NONE
};
enum { CONFIG_HEAD_MAX = 1000000 };
struct config_depth {
	uint32_t kind; /* enum config_depth_kind */
	uint32_t rows; /* head */
};
/* "full", "digest", "none", "head: 100". */
void config_depth_text(char *out, size_t cap, const struct config_depth *d);

struct config_connection {
	struct config_item item;
	struct config_connection *next;
	struct str name;
	struct config_labels labels;
	uint32_t protocol; /* index into the option's choices */
	struct str address;
	struct str database; /* empty: none */
	struct config_list databases;
	uint32_t tls_mode;        /* enum config_tls */
	uint32_t tls_negotiation; /* enum config_negotiation */
	uint32_t replication;     /* enum config_replication */
	struct str tls_ca, server_name;
	struct config_role *roles;
	struct config_access *access;
	uint32_t durable, hygiene;
	struct config_depth results;
	uint32_t names;       /* enum config_names */
	uint32_t credentials; /* enum config_credentials */
	uint32_t proof;       /* enum config_proof: of clients that say no other by a hint */
	uint64_t session_max_ns, session_grace_ns, connect_ns;
};

/* A claim, and the values that it may have. */
struct config_when {
	struct str claim;
	struct config_list values;
};
struct config_whens {
	struct config_when *v;
	size_t n;
};

/* One mapping of an issuer; templates are text with {claim} in it. */
struct config_mapping {
	struct config_item item;
	struct config_mapping *next;
	struct config_whens when;
	uint32_t kind; /* human, agent, service: the numbers of enum who_kind */
	struct str subject, on_behalf_of, run, email;
	struct config_list groups, context;
};

struct config_issuer {
	struct config_item item;
	struct config_issuer *next;
	struct str issuer, name;
	struct config_list audience;
	struct str ca, jwks_url, jwks_file;
	uint64_t skew_ns, lifetime_max_ns, keys_keep_ns;
	struct config_mapping *mappings; /* in document order: the first that matches counts */
	size_t mapping_count;
};

struct config_gateway {
	struct config_item item;
	struct str name;
	struct config_labels labels;
	struct str store_path;
	uint64_t segment_size, store_size_max, session_bytes_max, admission_ns;
	uint32_t segments, sessions_max, per_identity_max, preadmission_max, failed_proofs_max,
		threads;
	struct str listen_postgres, listen_domain, tls_cert, tls_key;
	bool identity_local;           /* tokens of the local issuer admit */
	struct config_issuer *issuers; /* in document order */
	size_t issuer_count;
};

struct config {
	struct arena *arena;
	struct str file; /* as given */
	struct str dir;  /* absolute; relative paths start here */
	bool has_gateway;
	struct config_gateway gateway;
	struct config_connection *connections; /* in document order */
	size_t connection_count;
};

/* Parses and checks a text. file is for findings, dir absolute. NULL when f has errors. */
struct config *config_parse(struct str text, struct str file, struct str dir, struct findings *f);
/* The same from a file; NULL when it cannot be read or f has errors. */
struct config *config_load(const char *path, struct findings *f);
void config_free(struct config **c);

/* Where the configuration is: `given` (--config) if not NULL, else $HANSARD_CONFIG, ./hansard.yaml,
 * ~/.config/hansard/hansard.yaml, /etc/hansard/hansard.yaml. 0; H_ENOTFOUND with the places looked
 * at in e. A path that was named explicitly is returned without looking. */
int config_find(const char *given, char *out, size_t cap, struct err *e) must_use;

/* The directory of the store alone, also from a configuration that is wrong elsewhere: a gateway
 * that runs on what stood there before can still be asked, and its record read. H_ECONFIG when not
 * even that can be told. */
int config_store_path(const char *path, char *out, size_t cap, struct err *e) must_use;

/* Second step of a check, with I/O: files that are named exist, certificates parse, key and
 * certificate belong together, variables are set (env may be NULL: not looked at; with
 * config_env_process a missing one is a warning). */
typedef const char *config_env_fn(void *arg, const char *name);
void config_check_files(const struct config *c, config_env_fn *env, void *arg, struct findings *f);
/* getenv() as a config_env_fn. */
const char *config_env_process(void *arg, const char *name);

/* The effective configuration as text, one option per line, no secrets; its
 * SHA-256 stands in snapshots. */
void config_show(const struct config *c, struct buf *out);

/* Documentation from the option table. */
void config_markdown(struct buf *out); /* docs/configuration.md */
void config_mdoc(struct buf *out);     /* the OPTIONS section of hansard.yaml(5) */

struct config_connection *config_connection_find(const struct config *c, struct str name);
struct config_role *config_role_find(const struct config_connection *c, struct str name);
struct str config_protocol_name(const struct config_connection *c);
/* [a-z0-9-]{1,32} */
bool config_name_ok(struct str name);

enum config_address_kind { ADDRESS_TCP, ADDRESS_UNIX };
struct config_address {
	enum config_address_kind kind;
	struct str host; /* without brackets; empty for Unix sockets */
	struct str path; /* of a Unix socket */
	uint16_t port;
	bool is_loopback;
};
/* "host:port", "[v6]:port", "unix:/path"; borrows. H_EFORMAT with a static sentence in *ret_why. */
int config_address_parse(struct config_address *a, struct str text, const char **ret_why) must_use;

/* http only for loopback; nothing that could be written in two ways. Slices borrow. */
struct config_url {
	bool is_https, is_loopback;
	struct str authority, host, path; /* "h:8443", "h", "/a" or empty */
};
int config_url_parse(struct config_url *u, struct str text, const char **ret_why) must_use;

/* Templates of mappings, piece by piece: 1 with *p, 0 at the end, H_EFORMAT. */
struct config_piece {
	bool is_claim, is_optional;
	struct str text; /* the claim's name, or text that stands for itself */
};
int config_template_next(struct str *rest, struct config_piece *p) must_use;
bool config_template_ok(struct str text);

/* "64MiB", "1GiB", "512" (bytes); H_EFORMAT / H_ELIMIT. */
int config_size_parse(struct str s, uint64_t *ret) must_use;
void config_size_text(char *out, size_t cap, uint64_t n);

/* The whole file, NUL-terminated, at most max bytes, regular files only; NULL with e filled (never
 * the content): H_ENOTFOUND only when there is no such file. *ret_len may be NULL. The caller wipes and
 * frees. */
char *config_file_read(const char *path, size_t max, size_t *ret_len, struct err *e) must_use;

#endif
