/*
 * config_test.c: the documented configuration is understood; each mistake is found, at its place.
 *
 * A mistake is made by replacing one line of a good document; the test names the line, a part of
 * the sentence and the nearest spelling that must be offered.
 */
#include "config/config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/test.h"
#include "config/config_priv.h"

static const char good[] =
	"apiVersion: hansard/v1\n"                                                     /* 1 */
	"kind: Gateway\n"                                                              /* 2 */
	"spec:\n"                                                                      /* 3 */
	"  store: { path: ./data }\n"                                                  /* 4 */
	"  listen:\n"                                                                  /* 5 */
	"    postgres: 127.0.0.1:15432\n"                                              /* 6 */
	"    tls: { cert: server.pem, key: server.key }\n"                             /* 7 */
	"  identity: { local: {} }\n"                                                  /* 8 */
	"---\n"                                                                        /* 9 */
	"apiVersion: hansard/v1\n"                                                     /* 10 */
	"kind: Connection\n"                                                           /* 11 */
	"metadata: { name: shop, labels: { env: prod } }\n"                            /* 12 */
	"spec:\n"                                                                      /* 13 */
	"  protocol: postgres\n"                                                       /* 14 */
	"  address: 127.0.0.1:5432   # host:port, [v6]:port, unix:/path\n"             /* 15 */
	"  databases: { default: shop, allow: [shop] }\n"                              /* 16 */
	"  tls: { mode: verify-full, ca: pg-root.pem }\n"                              /* 17 */
	"  roles:\n"                                                                   /* 18 */
	"    default: { user: app, password: { env: SHOP_PASSWORD } }\n"               /* 19 */
	"    ro:      { user: app_ro, auth: scram-sha-256, password: { file: pw } }\n" /* 20 */
	"  access: [ { groups: [agents], roles: [default, ro] } ]\n"                   /* 21 */
	"  record: { durable: before-forward, results: full }\n"                       /* 22 */
	"  hygiene: pinned\n"                                                          /* 23 */
	"  session_max: 8h\n";                                                         /* 24 */

static struct config *parse(const char *text, struct findings *f) {
	findings_init(f);
	return config_parse(str_of(text), STR("t.yaml"), STR("/etc/h"), f);
}

TEST(config_documented) {
	struct findings f;
	struct config *c = parse(good, &f);

	REQUIRE(c != NULL);
	CHECK_EQ_U(f.warnings, 0);
	CHECK_EQ_STR(c->gateway.store_path, STR("/etc/h/data"));
	CHECK_EQ_STR(c->gateway.listen_postgres, STR("127.0.0.1:15432"));
	CHECK_EQ_STR(c->gateway.tls_key, STR("/etc/h/server.key"));
	CHECK(c->gateway.identity_local);
	CHECK_EQ_U(c->gateway.segments, 4);
	CHECK_EQ_U(c->gateway.segment_size, 64 * MIB);
	CHECK_EQ_U(c->connection_count, 1);
	struct config_connection *k = config_connection_find(c, STR("shop"));

	REQUIRE(k != NULL);
	CHECK_EQ_STR(config_protocol_name(k), STR("postgres"));
	CHECK_EQ_STR(k->labels.v[0].value, STR("prod"));
	CHECK_EQ_STR(k->databases.v[0], STR("shop"));
	CHECK_EQ_U(k->tls_mode, CONFIG_TLS_VERIFY_FULL);
	CHECK_EQ_STR(k->tls_ca, STR("/etc/h/pg-root.pem"));
	CHECK_EQ_U(k->durable, CONFIG_BEFORE_FORWARD);
	CHECK_EQ_U(k->hygiene, CONFIG_PINNED);
	CHECK_EQ_U(k->session_max_ns, 8 * 3600 * NS_PER_S);
	struct config_role *r = config_role_find(k, STR("ro"));

	REQUIRE(r != NULL);
	CHECK_EQ_STR(r->user, STR("app_ro"));
	CHECK_EQ_U(r->password.kind, SECRET_FILE);
	CHECK_EQ_STR(r->password.name, STR("/etc/h/pw"));
	r = config_role_find(k, STR("default"));
	REQUIRE(r != NULL);
	CHECK_EQ_U(r->auth, CONFIG_AUTH_SCRAM);
	CHECK_EQ_STR(r->password.name, STR("SHOP_PASSWORD"));
	REQUIRE(k->access != NULL);
	CHECK_EQ_STR(k->access->groups.v[0], STR("agents"));
	CHECK_EQ_U(k->access->roles.n, 2);
	config_free(&c);
	findings_fini(&f);
}

/* The good document with line `line` replaced ("" removes it). */
static char *with_line(unsigned line, const char *text) {
	struct buf b;
	struct str rest = str_of(good);

	buf_init(&b, 65536);
	for (unsigned n = 1; rest.n != 0; n++) {
		struct str one = str_cut(&rest, '\n');

		if (n == line)
			one = str_of(text);
		if (n != line || text[0] != '\0')
			w_fmt(&b, "%.*s\n", STR_ARG(one));
	}
	char *out = str_dup(buf_peek(&b));

	buf_fini(&b);
	return out;
}

struct mistake {
	unsigned line;      /* replaced */
	const char *text;   /* by this */
	unsigned found;     /* line of the finding; 0: the whole file */
	const char *needle; /* in the finding's printed line */
};

static const struct mistake mistakes[] = {
	{ 2, "kind: Gatway", 2, "(did you mean \"Gateway\"?)" },
	{ 2, "kind: [Gateway]", 1, "\"kind\" is missing" },
	{ 1, "apiVersion: hansard/v2", 1, "must be hansard/v1" },
	{ 1, "", 1, "apiVersion: is missing" },
	{ 4, "  store: { pth: ./data }", 4, "unknown key \"pth\" (did you mean \"path\"?)" },
	{ 4, "  store: ./data", 4, "spec.store: must be a mapping" },
	{ 4, "  store: { path: ./data, path: x }", 4, "stands twice" },
	{ 4, "  store: { path: }", 4, "has no value" },
	{ 4, "  store: { segments: 1 }", 4, "must be a number from 2 to 1024" },
	{ 4, "  store: { segments: 0x10 }", 4, "must be a number from 2 to 1024" },
	{ 4, "  store: { segment_size: 1KiB }", 4, "must be a size from 256KiB to 1GiB" },
	{ 4, "  strore: { path: ./data }", 4, "(did you mean \"store\"?)" },
	{ 5, "  listn:", 5, "(did you mean \"listen\"?)" },
	{ 6, "    postgres: 127.0.0.1", 6, "must be host:port" },
	{ 6, "    postgres: 127.0.0.1:0", 6, "from 1 to 65535" },
	{ 6, "    postgres: unix:/tmp/x", 6, "clients connect by TCP" },
	{ 6, "    postgres: ::1:5432", 6, "must be host:port" },
	{ 6, "    domain: Pg.Example", 6, "must be a domain name" },
	{ 6, "    domain: pg..example", 6, "must be a domain name" },
	{ 6, "    domain: \"*.pg.example\"", 6, "must be a domain name" },
	{ 7, "    tls: { cert: server.pem }", 7, "come together" },
	{ 8, "  identity: { local: yes }", 8, "must be an empty mapping" },
	{ 8, "  identity: &a { local: {} }", 8, "anchors and tags are not allowed" },
	{ 8, "  identity: *a", 8, "" },
	{ 8, "  identity: !!map { local: {} }", 8, "anchors and tags" },
	{ 8, "  ? [a] : b", 8, "a key must be plain text" },
	{ 8, "\tidentity: {}", 8, "not valid YAML" },
	{ 11, "kind: Gateway", 10, "a second Gateway" },
	{ 11, "kind: Conection", 11, "(did you mean \"Connection\"?)" },
	{ 12, "metadata: { name: Shop }", 12, "a-z, 0-9 and -" },
	{ 12, "metadata: { name: shop, lables: {} }", 12, "(did you mean \"labels\"?)" },
	{ 12, "metadata: {}", 10, "metadata.name: is missing" },
	{ 12, "metadata: { name: shop, labels: [a] }", 12, "must be a mapping of at most" },
	{ 14, "  protocol: postgre", 14, "(did you mean \"postgres\"?)" },
	{ 14, "", 10, "spec.protocol: is missing" },
	{ 15, "  adress: 127.0.0.1:5432", 15, "(did you mean \"address\"?)" },
	{ 15, "  address: 127.0.0.1:99999", 15, "from 1 to 65535" },
	{ 15, "  address: unix:relative", 15, "absolute path" },
	{ 15, "  address: [::1]:5432", 0, "needs quotes" },
	{ 15, "  address: [ab]", 15, "needs quotes" },
	{ 16, "  databases: { allow: [] }", 16, "at least one" },
	{ 16, "  databases: { default: a, allow: [b] }", 16, "not in spec.databases.allow" },
	{ 16, "  databases: { allow: [\"*\", b] }", 16, "stands alone" },
	{ 16, "", 10, "needs default, allow, or both" },
	{ 17, "  tls: { mode: verify_full }", 17, "(did you mean \"verify-full\"?)" },
	{ 17, "  tls: { mode: disable, negotiation: direct }", 17, "direct needs TLS" },
	{ 17, "  tls: { negotiation: directly }", 17, "(did you mean \"direct\"?)" },
	{ 19, "    default: { user: app, password: hunter2secret }", 19,
	  "does not stand in the configur" },
	{ 19, "    default: { user: app, password: { evn: X } }", 19, "(did you mean \"env\"?)" },
	{ 19, "    default: { user: app, password: { env: 9X } }", 19, "environment variable" },
	{ 19, "    default: { user: app }", 19, "spec.roles.default.password: is missing" },
	{ 19, "    default: { password: { env: X } }", 19, "spec.roles.default.user: is missing" },
	{ 19, "    Default: { user: app, auth: trust }", 19, "a role's name" },
	{ 19, "    default: { user: app, auth: tust }", 19, "(did you mean \"trust\"?)" },
	{ 19, "    default: { user: app, auth: trust, channel_binding: require }", 19,
	  "require needs auth scram-sha-256" },
	{ 17, "  tls: { mode: disable }\n  replication: allowed", 18, "(did you mean \"allow\"?)" },
	{ 20, "    ro: app_ro", 20, "spec.roles.ro: must be a mapping" },
	{ 21, "  access: [ { groups: [agents], roles: [default, rw] } ]", 21,
	  "there is no role \"rw\"" },
	{ 21, "  access: [ { group: [agents], roles: [ro] } ]", 21, "(did you mean \"groups\"?)" },
	{ 21, "  access: { groups: [agents], roles: [ro] }", 21, "spec.access: must be a list" },
	{ 21, "  access: [ { roles: [ro] } ]", 21, "spec.access[0].groups: is missing" },
	{ 21, "  access: [ { groups: agents, roles: [ro] } ]", 21, "must be a list: [a, b]" },
	{ 22, "  record: { durable: before_forward }", 22, "(did you mean \"before-forward\"?)" },
	{ 22, "  record: { results: rows }", 22, "must be one of: full, { head: N }, digest" },
	{ 22, "  record: { results: { head: 0 } }", 22, "number of rows from 1 to 1000000" },
	{ 22, "  record: { results: { tail: 5 } }", 22, "must be one of: full, { head: N }" },
	{ 22, "  record: { results: [full] }", 22, "must be one of: full, { head: N }" },
	{ 23, "  hygeine: pinned", 23, "(did you mean \"hygiene\"?)" },
	{ 24, "  session_max: 8 hours", 24, "must be a duration from 1s to 365d" },
	{ 24, "  session_max: 0s", 24, "must be a duration" },
};

TEST(config_mistakes) {
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		auto_free char *text = with_line(m->line, m->text);
		struct findings f;
		struct buf out;
		struct config *c = parse(text, &f);
		char place[32];

		buf_init(&out, 65536);
		findings_text(&f, &out);
		w_u8(&out, 0);
		(void)snprintf(place, sizeof(place), "t.yaml:%u:", m->found);
		bool ok = c == NULL && f.errors >= 1;

		ok = ok && strstr(buf_peek(&out).p, m->needle) != NULL;
		ok = ok && (m->found == 0 || strstr(buf_peek(&out).p, place) != NULL);
		if (!CHECK(ok))
			test_note("line %u \"%s\": %s", m->line, m->text, buf_peek(&out).p);
		CHECK(strstr(buf_peek(&out).p, "hunter2secret") == NULL);
		config_free(&c);
		buf_fini(&out);
		findings_fini(&f);
	}
}

static const struct mistake warnings[] = {
	{ 6, "    postgres: 0.0.0.0:15432", 0,
	  "" }, /* a certificate is given: nothing to warn of */
	{ 7, "    tls: {}", 0, "" },
	{ 17, "  tls: { mode: require, ca: x }", 17, "is not used" },
	{ 17, "  tls: { mode: require }", 17, "does not check who answers" },
	{ 19, "    default: { user: app, auth: md5, password: { env: X } }", 19,
	  "md5 can be replayed" },
	{ 19, "    default: { user: app, auth: password, password: { env: X } }", 19,
	  "clear password" },
	{ 19, "    default: { user: app, auth: trust, password: { env: X } }", 19, "is not used" },
	{ 21, "", 10, "nobody is admitted" },
	{ 22, "  record: { durable: async }", 22, "for development" },
};

TEST(config_warnings) {
	for (size_t i = 0; i < ARRAY_LEN(warnings); i++) {
		const struct mistake *m = &warnings[i];
		auto_free char *text = with_line(m->line, m->text);
		struct findings f;
		struct buf out;
		struct config *c = parse(text, &f);

		buf_init(&out, 65536);
		findings_text(&f, &out);
		w_u8(&out, 0);
		bool ok = c != NULL && (m->found == 0) == (f.warnings == 0);

		if (!CHECK(ok && strstr(buf_peek(&out).p, m->needle) != NULL))
			test_note("line %u \"%s\": %s", m->line, m->text, buf_peek(&out).p);
		config_free(&c);
		buf_fini(&out);
		findings_fini(&f);
	}
}

TEST(config_clear_password_needs_tls) {
	auto_free char *text = with_line(17, "  tls: { mode: require }");
	char *at = strstr(text, "user: app,");
	struct findings f;

	REQUIRE(at != NULL);
	auto_free char *bad = xasprintf("%.*suser: app, auth: password,%s", (int)(at - text), text,
	                                at + strlen("user: app,"));
	struct config *c = parse(bad, &f);

	CHECK(c == NULL);
	CHECK(f.errors == 1 && f.v[0].level == FINDING_ERROR);
	findings_fini(&f);
}

TEST(config_limits) {
	struct findings f;
	struct buf b;

	buf_init(&b, 4 * MIB);
	for (int i = 0; i < 40; i++)
		w_fmt(&b, "[");
	w_u8(&b, 0);
	CHECK(parse(buf_peek(&b).p, &f) == NULL);
	CHECK(strstr(f.v[0].text.p, "deep") != NULL);
	findings_fini(&f);
	buf_clear(&b);
	for (int i = 0; i < 100000; i++)
		w_fmt(&b, "k%d: v\n", i);
	w_u8(&b, 0);
	CHECK(parse(buf_peek(&b).p, &f) == NULL);
	CHECK_EQ_U(f.errors, 1);
	findings_fini(&f);
	buf_fini(&b);
	CHECK(parse("", &f) == NULL);
	CHECK(strstr(f.v[0].text.p, "empty") != NULL);
	findings_fini(&f);
	CHECK(parse("a: \xff\n", &f) == NULL);
	findings_fini(&f);
}

TEST(config_two_of_a_name) {
	struct findings f;
	const char *second = strstr(good, "---\n");
	auto_free char *text = xasprintf("%s%s", good, second);

	CHECK(parse(text, &f) == NULL);
	CHECK(strstr(f.v[0].text.p, "a second Connection") != NULL);
	CHECK_EQ_U(f.v[0].at.line, 28);
	findings_fini(&f);
}

TEST(config_show_has_all) {
	struct findings f;
	struct buf out;
	struct config *c = parse(good, &f);

	REQUIRE(c != NULL);
	buf_init(&out, 65536);
	config_show(c, &out);
	w_u8(&out, 0);
	CHECK(strstr(buf_peek(&out).p, "Gateway spec.store.segment_size: 64MiB\n") != NULL);
	CHECK(strstr(buf_peek(&out).p, "Connection/shop spec.roles.ro.auth: scram-sha-256\n") !=
	      NULL);
	CHECK(strstr(buf_peek(&out).p,
	             "Connection/shop spec.access[0].roles: [\"default\", \"ro\"]\n") != NULL);
	CHECK(strstr(buf_peek(&out).p, "spec.session_max: 8h\n") != NULL);
	buf_fini(&out);
	config_free(&c);
	findings_fini(&f);
}

TEST(config_addresses) {
	static const struct {
		const char *text, *host;
		uint16_t port;
		bool ok, is_loopback;
	} cases[] = {
		{ "db.internal:5432", "db.internal", 5432, true, false },
		{ "127.1.2.3:1", "127.1.2.3", 1, true, true },
		{ "[::1]:65535", "::1", 65535, true, true },
		{ "[fe80::1%eth0]:5432", "fe80::1%eth0", 5432, true, false },
		{ "localhost:5432", "localhost", 5432, true, true },
		{ "[::1]", "", 0, false, false },
		{ "[::1", "", 0, false, false },
		{ "[]:1", "", 0, false, false },
		{ ":5432", "", 0, false, false },
		{ "a b:1", "", 0, false, false },
		{ "host:", "", 0, false, false },
		{ "host:1x", "", 0, false, false },
		{ "host:65536", "", 0, false, false },
		{ "-h:1", "", 0, false, false },
		{ "", "", 0, false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config_address a;
		const char *why = NULL;
		int rc = config_address_parse(&a, str_of(cases[i].text), &why);

		CHECK((rc == 0) == cases[i].ok);
		if (rc < 0)
			continue;
		CHECK_EQ_STR(a.host, str_of(cases[i].host));
		CHECK_EQ_U(a.port, cases[i].port);
		CHECK(a.is_loopback == cases[i].is_loopback);
	}
}

TEST(config_files_checked) {
	char dir[] = "/tmp/hansard-config-XXXXXX";
	struct findings f;

	REQUIRE(mkdtemp(dir) != NULL);
	findings_init(&f);
	struct config *c = config_parse(str_of(good), STR("t.yaml"), str_of(dir), &f);

	REQUIRE(c != NULL);
	config_check_files(c, NULL, NULL, &f);
	/* server.pem, server.key, pg-root.pem, pw */
	CHECK_EQ_U(f.errors, 4);
	config_free(&c);
	findings_fini(&f);
	CHECK(rmdir(dir) == 0);
}

TEST(config_file_read_bounds) {
	struct err e = { 0 };
	char path[] = "/tmp/hansard-config-XXXXXX";
	auto_fd int fd = mkstemp(path);
	size_t n = 0;

	REQUIRE(fd >= 0 && write(fd, "12345", 5) == 5);
	char *text = config_file_read(path, 5, &n, &e);

	CHECK(text != NULL && n == 5 && memcmp(text, "12345", 6) == 0);
	free(text);
	CHECK(config_file_read(path, 4, &n, &e) == NULL);
	CHECK_EQ_I(e.code, H_ELIMIT);
	CHECK(unlink(path) == 0);
	e = (struct err){ 0 };
	CHECK(config_file_read(path, 4, &n, &e) == NULL);
	CHECK_EQ_I(e.code, H_ENOTFOUND);
	e = (struct err){ 0 };
	CHECK(config_file_read("/dev/null/x", 4, &n, &e) ==
	      NULL); /* not to be looked at: who knows */
	CHECK_EQ_I(e.code, H_EIO);
	e = (struct err){ 0 };
	CHECK(config_file_read("/tmp", 4, &n, &e) == NULL);
	CHECK_EQ_I(e.code, H_ECONFIG);
}

TEST(config_documentation) {
	struct buf out;
	struct err e = { 0 };
	size_t n = 0;
	const char *root = getenv("HANSARD_SOURCE");

	buf_init(&out, MIB);
	config_mdoc(&out);
	CHECK(out.len > 1000 && w_done(&out) == 0);
	auto_free char *man_path = xasprintf("%s/docs/man/hansard.yaml.5",
	                                     root != NULL ? root : HANSARD_SOURCE_ROOT);
	auto_free char *man = config_file_read(man_path, MIB, &n, &e);

	/* memmem: the page goes on before and after */
	if (!CHECK(man != NULL && memmem(man, n, buf_peek(&out).p, out.len) != NULL))
		test_note(
			"docs/man/hansard.yaml.5 differs from the option table: put the output of "
			"optdoc_main --mdoc below OPTIONS");
	buf_clear(&out);
	config_markdown(&out);
	CHECK(w_done(&out) == 0);
	auto_free char *path = xasprintf("%s/docs/configuration.md",
	                                 root != NULL ? root : HANSARD_SOURCE_ROOT);
	auto_free char *page = config_file_read(path, MIB, &n, &e);

	if (!CHECK(page != NULL && str_eq(str_mem(page, n), buf_peek(&out))))
		test_note(
			"docs/configuration.md differs from the option table: ninja -C build src/optdoc_main, "
			"then optdoc_main --markdown > docs/configuration.md");
	buf_fini(&out);
}

/* A reader of the record must not depend on an edit elsewhere in the file. */
TEST(config_store_path_despite_errors) {
	char path[] = "/tmp/hsd-config-XXXXXX", out[256];
	struct err e = { 0 };
	static const char text[] =
		"apiVersion: hansard/v1\nkind: Gateway\nspec: { store: { path: /srv/h }, "
		"listne: {} }\n";
	int fd = mkstemp(path);

	REQUIRE(fd >= 0);
	CHECK(write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
	CHECK_EQ_I(config_store_path(path, out, sizeof(out), &e), 0);
	CHECK_EQ_STR(str_of(out), STR("/srv/h"));
	CHECK_EQ_I(config_store_path(path, out, 3, &e), H_ECONFIG);
	CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, "{", 1, 0) == 1);
	e = (struct err){ 0 };
	CHECK_EQ_I(config_store_path(path, out, sizeof(out), &e), H_ECONFIG);
	CHECK(e.text[0] != '\0');
	(void)close(fd);
	(void)unlink(path);
}

TEST_MAIN
