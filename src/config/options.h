/*
 * options.h: the one table of configuration options.
 *
 * The parser, `hansard check`, config_show(), docs/configuration.md and hansard.yaml(5) are
 * all made from it, so none can know an option that another does not.
 *
 * Columns: identifier; owner (G: Gateway, I: one OIDC issuer of it, M: one mapping of an issuer, C:
 * Connection, R: one role of it, A: one access rule of it); path ("*" is any name, "[]" any element); type; member of the owner's struct; range ("a|b"
 * for choices, "low..high" for numbers, durations and sizes); default ("" none, "!" required);
 * when a change takes effect (RELOAD: at SIGHUP, for new sessions; RESTART: at the next start);
 * help.
 */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#define CONFIG_OPTIONS(X) \
	/* Gateway */ \
	X(G_API, G, "apiVersion", CONST, none, "hansard/v1", "!", RELOAD, \
	  "Shape of the document.") \
	X(G_KIND, G, "kind", CONST, none, "Gateway", "!", RELOAD, \
	  "There is exactly one Gateway document.") \
	X(G_NAME, G, "metadata.name", NAME, name, "", "", RELOAD, \
	  "A name for people; not used for anything else.") \
	X(G_LABELS, G, "metadata.labels", LABELS, labels, "", "", RELOAD, "Labels for people.") \
	X(G_STORE_PATH, G, "spec.store.path", PATH, store_path, "", "./data", RESTART, \
	  "Directory of the record, the keys and the control socket. Made when absent.") \
	X(G_STORE_SEGMENT_SIZE, G, "spec.store.segment_size", SIZE, segment_size, "256KiB..1GiB", \
	  "64MiB", RESTART, "Size of one journal segment.") \
	X(G_STORE_SEGMENTS, G, "spec.store.segments", INT, segments, "2..1024", "4", RESTART, \
	  "Journal segments to start with; more are added in the background when needed.") \
	X(G_STORE_SIZE_MAX, G, "spec.store.size_max", SIZE, store_size_max, "0..1024TiB", "0", \
	  RESTART, \
	  "New sessions are refused when the record has grown to nine tenths of this, the index has " \
	  "the rest; 0: the file system is the limit.") \
	X(G_LISTEN_POSTGRES, G, "spec.listen.postgres", ADDRESS, listen_postgres, "", \
	  "127.0.0.1:15432", RELOAD, \
	  "Where PostgreSQL clients connect: host:port or \"[v6]:port\". Off loopback, clients " \
	  "must use TLS.") \
	X(G_LISTEN_DOMAIN, G, "spec.listen.domain", TEXT, listen_domain, "1..190", "", RELOAD, \
	  "Clients may name a connection by host name: NAME.DOMAIN as TLS server name means the " \
	  "connection NAME, unless the user name names one. DNS must send *.DOMAIN here, and the " \
	  "certificate carry it (that of the private CA does).") \
	X(G_LISTEN_TLS_CERT, G, "spec.listen.tls.cert", PATH, tls_cert, "", "", RELOAD, \
	  "Certificate chain (PEM, leaf first). Without it a private CA is made in the store, its " \
	  "root exported to <store>/ca.pem.") \
	X(G_LISTEN_TLS_KEY, G, "spec.listen.tls.key", PATH, tls_key, "", "", RELOAD, \
	  "Private key of the certificate (PEM, not encrypted).") \
	X(G_IDENTITY_LOCAL, G, "spec.identity.local", FLAG, identity_local, "", "", RELOAD, \
	  "The embedded issuer behind `hansard token`. The value is an empty mapping: {}. It serves " \
	  "when there is no spec.identity.oidc; beside OIDC it must be named, is meant to break glass " \
	  "with, and each admission by it raises an alarm.") \
	X(G_LIMIT_SESSIONS, G, "spec.limits.sessions", INT, sessions_max, "1..65536", "4096", \
	  RELOAD, "Sessions at the same time.") \
	X(G_LIMIT_PER_IDENTITY, G, "spec.limits.sessions_per_identity", INT, per_identity_max, \
	  "1..65536", "256", RELOAD, "Sessions of one subject at the same time.") \
	X(G_LIMIT_PREADMISSION, G, "spec.limits.preadmission", INT, preadmission_max, "1..65536", \
	  "512", RELOAD, "Connections at the same time that are not admitted yet.") \
	X(G_LIMIT_ADMISSION_TIME, G, "spec.limits.admission_timeout", DURATION, admission_ns, \
	  "1s..5m", "10s", RELOAD, "Time from accepting a connection to its admission.") \
	X(G_LIMIT_SESSION_BYTES, G, "spec.limits.session_bytes", SIZE, session_bytes_max, \
	  "0..1024TiB", "0", RELOAD, \
	  "Recorded bytes of one session, before compression; the session ends there. 0: no limit.") \
	X(G_LIMIT_FAILED_PROOFS, G, "spec.limits.failed_proofs", INT, failed_proofs_max, \
	  "1..10000", "30", RELOAD, \
	  "Failed proofs per minute and source network (/24, /64) that are told apart by their " \
	  "reason; more are counted together, as too-many-failures.") \
	X(G_THREADS, G, "spec.workers.threads", INT, threads, "1..16", "1", RESTART, \
	  "Event loop threads of the worker; one per core that it may use.") \
	X(I_ISSUER, I, "spec.identity.oidc[].issuer", URL, issuer, "", "!", RELOAD, \
	  "An OpenID Connect issuer, written exactly as in its tokens' claim iss.") \
	X(I_NAME, I, "spec.identity.oidc[].name", TEXT, name, "1..64", "", RELOAD, \
	  "Stands in front of every subject of this issuer (NAME:subject), so that two issuers never " \
	  "yield the same one. Without it, the issuer's host.") \
	X(I_AUDIENCE, I, "spec.identity.oidc[].audience", TEXTS, audience, "1..255", "!", RELOAD, \
	  "A token must be meant for one of these (claim aud).") \
	X(I_CA, I, "spec.identity.oidc[].ca", PATH, ca, "", "", RELOAD, \
	  "Root certificates (PEM) of the issuer's web server; without it, the system's.") \
	X(I_JWKS_URL, I, "spec.identity.oidc[].jwks.url", URL, jwks_url, "", "", RELOAD, \
	  "Where the issuer's keys are, when it has no /.well-known/openid-configuration.") \
	X(I_JWKS_FILE, I, "spec.identity.oidc[].jwks.file", PATH, jwks_file, "", "", RELOAD, \
	  "The issuer's keys (a JSON Web Key Set) in a file: nothing is fetched.") \
	X(I_SKEW, I, "spec.identity.oidc[].skew", DURATION, skew_ns, "0s..5m", "60s", RELOAD, \
	  "How far the issuer's clock may be from ours.") \
	X(I_LIFETIME, I, "spec.identity.oidc[].lifetime_max", DURATION, lifetime_max_ns, \
	  "1m..30d", "24h", RELOAD, \
	  "Tokens that are good for longer (from iat to exp) are refused.") \
	X(I_KEYS_KEEP, I, "spec.identity.oidc[].keys_keep", DURATION, keys_keep_ns, "0s..30d", \
	  "24h", RELOAD, \
	  "How long the last keys are used on, beyond their time, while the issuer cannot be reached.") \
	X(M_WHEN, M, "spec.identity.oidc[].mappings[].when", CLAIMS, when, "1..256", "", RELOAD, \
	  "Claims that the token must have: { org_id: org-abc, realm_access.roles: dba }. A list of " \
	  "values means any of them; a claim that is a list must hold one of them; * stands for any " \
	  "text. Without it, the mapping takes every token.") \
	X(M_KIND, M, "spec.identity.oidc[].mappings[].map.kind", ENUM, kind, \
	  "human|agent|service", "!", RELOAD, "What such an identity is.") \
	X(M_SUBJECT, M, "spec.identity.oidc[].mappings[].map.subject", TEMPLATE, subject, \
	  "1..256", "!", RELOAD, \
	  "Template of the subject: text with claims in braces, \"devin/{devin_id}\". A claim that " \
	  "may be missing is written {claim?}; any other that is missing refuses the token.") \
	X(M_ON_BEHALF_OF, M, "spec.identity.oidc[].mappings[].map.on_behalf_of", TEMPLATE, \
	  on_behalf_of, "1..256", "", RELOAD, \
	  "Template: whom it acts for; on the record as verified.") \
	X(M_RUN, M, "spec.identity.oidc[].mappings[].map.run", TEMPLATE, run, "1..256", "", \
	  RELOAD, "Template: the run (job) that it belongs to.") \
	X(M_EMAIL, M, "spec.identity.oidc[].mappings[].map.email", TEMPLATE, email, "1..256", "", \
	  RELOAD, "Template: the e-mail address.") \
	X(M_GROUPS, M, "spec.identity.oidc[].mappings[].map.groups", TEMPLATES, groups, "1..128", \
	  "", RELOAD, \
	  "Groups: a list of templates, or one. \"{claim}\" alone may be a list in the token.") \
	X(M_CONTEXT, M, "spec.identity.oidc[].mappings[].map.context", TEXTS, context, "1..63", \
	  "", RELOAD, \
	  "Claims that are kept on the record as verified context, where the token has them.") \
	/* Connection */ \
	X(C_API, C, "apiVersion", CONST, none, "hansard/v1", "!", RELOAD, \
	  "Shape of the document.") \
	X(C_KIND, C, "kind", CONST, none, "Connection", "!", RELOAD, "One registered target.") \
	X(C_NAME, C, "metadata.name", NAME, name, "", "!", RELOAD, \
	  "What clients give as user name: psql -U NAME, or -U ROLE.NAME.") \
	X(C_LABELS, C, "metadata.labels", LABELS, labels, "", "", RELOAD, \
	  "Kept with each session of this connection.") \
	X(C_PROTOCOL, C, "spec.protocol", ENUM, protocol, "postgres", "!", RELOAD, \
	  "What client and target speak.") \
	X(C_ADDRESS, C, "spec.address", TARGET, address, "", "!", RELOAD, \
	  "The target: host:port, \"[v6]:port\" or unix:/path/of/socket.") \
	X(C_DB_DEFAULT, C, "spec.databases.default", TEXT, database, "1..63", "", RELOAD, \
	  "Database of clients that name none.") \
	X(C_DB_ALLOW, C, "spec.databases.allow", TEXTS, databases, "1..63", "", RELOAD, \
	  "Databases that may be named; [\"*\"] is any. Without it, only the default.") \
	X(C_TLS_NEGOTIATION, C, "spec.tls.negotiation", ENUM, tls_negotiation, "request|direct", \
	  "request", RELOAD, \
	  "How TLS with the target begins. request: by SSLRequest, as every PostgreSQL has it. " \
	  "direct: at once, with ALPN (PostgreSQL 17 and later), one round trip less.") \
	X(C_TLS_MODE, C, "spec.tls.mode", ENUM, tls_mode, "disable|require|verify-ca|verify-full", \
	  "verify-full", RELOAD, \
	  "TLS to the target. require encrypts and does not check who answers. Never spoken on " \
	  "Unix sockets.") \
	X(C_TLS_CA, C, "spec.tls.ca", PATH, tls_ca, "", "", RELOAD, \
	  "Root certificates (PEM) for verify-ca and verify-full; without it, the system's.") \
	X(C_TLS_SERVER_NAME, C, "spec.tls.server_name", TEXT, server_name, "1..253", "", RELOAD, \
	  "Name that the target's certificate must carry, when it is not the address's host.") \
	X(R_USER, R, "spec.roles.*.user", TEXT, user, "1..63", "!", RELOAD, \
	  "User at the target. The role named default is taken when a client names none.") \
	X(R_AUTH, R, "spec.roles.*.auth", ENUM, auth, "scram-sha-256|md5|password|trust", \
	  "scram-sha-256", RELOAD, \
	  "The only login method that is accepted from the target. password sends the clear " \
	  "password, over verified TLS only.") \
	X(R_BINDING, R, "spec.roles.*.channel_binding", ENUM, binding, "prefer|require|disable", \
	  "prefer", RELOAD, \
	  "SCRAM-SHA-256-PLUS: the login proves that nobody sits between gateway and target. prefer: " \
	  "when the target offers it inside TLS. require: no login without. disable: never.") \
	X(R_PASSWORD, R, "spec.roles.*.password", SECRET, password, "", "", RELOAD, \
	  "Password at the target, by reference: { env: NAME } or { file: PATH }.") \
	X(A_GROUPS, A, "spec.access[].groups", TEXTS, groups, "1..128", "!", RELOAD, \
	  "Identities in any of these groups …") \
	X(A_ROLES, A, "spec.access[].roles", TEXTS, roles, "1..32", "!", RELOAD, \
	  "… may use any of these roles.") \
	X(C_DURABLE, C, "spec.record.durable", ENUM, durable, "before-forward|both-ways|async", \
	  "before-forward", RELOAD, \
	  "What waits until it is on disk: bytes for the target, bytes both ways, or nothing (async, " \
	  "for development: a crash loses the newest part of the record).") \
	X(C_RESULTS, C, "spec.record.results", DEPTH, results, "full|digest|none", "full", RELOAD, \
	  "How much of result rows and COPY data from the target is kept. full: all. { head: N }: the first N " \
	  "rows of each result, a keyed hash of the rest. digest: a keyed hash. none: their number " \
	  "and length. Statements, parameters, row descriptions, tags and errors are always kept.") \
	X(C_CREDENTIALS, C, "spec.record.credentials", ENUM, credentials, "redact|keep", "redact", \
	  RELOAD, \
	  "Passwords, keys and tokens in statements and their parameters. redact: the record keeps " \
	  "place, length and a keyed hash of them; the target gets them as they were said.") \
	X(C_NAMES, C, "spec.record.names", ENUM, names, "on|off", "on", RELOAD, \
	  "Relations as they were called at first sight in a session. on: asked for in the session " \
	  "itself, between transactions, one round trip for the first statement on new relations.") \
	X(C_HYGIENE, C, "spec.hygiene", ENUM, hygiene, "pinned|open", "pinned", RELOAD, \
	  "pinned: UTF-8 only, start-up parameters by allow-list, what changes the meaning of text " \
	  "ends the session. open: everything passes.") \
	X(C_REPLICATION, C, "spec.replication", ENUM, replication, "refuse|allow", "refuse", \
	  RELOAD, \
	  "Replication connections (pg_basebackup, pg_receivewal, logical decoding). They read all of a " \
	  "database, or of the whole server, by a protocol in which single rows are not told apart.") \
	X(C_PROOF, C, "spec.proof", ENUM, proof, "password|scram|oauth", "password", RELOAD, \
	  "How a client proves itself when its user name has no +hint. password: the token as the password, " \
	  "in clear inside TLS. scram: SCRAM-SHA-256 with a token of `hansard token`, whose key id must be " \
	  "the hint then. oauth: OAUTHBEARER.") \
	X(C_SESSION_MAX, C, "spec.session_max", DURATION, session_max_ns, "1s..365d", "8h", \
	  RELOAD, \
	  "Longest life of a session. Then its client gets a notice, and it ends at the next idle moment.") \
	X(C_SESSION_GRACE, C, "spec.session_grace", DURATION, session_grace_ns, "1s..1d", "60s", \
	  RELOAD, "How long a session that is not idle may go on after `session_max`.") \
	X(C_CONNECT_TIMEOUT, C, "spec.connect_timeout", DURATION, connect_ns, "100ms..2m", "10s", \
	  RELOAD, "Time to reach the target.")

enum option_id {
#define X(id, ...) OPT_##id,
	CONFIG_OPTIONS(X)
#undef X
		OPT_COUNT
};

#endif
