/*
 * config_oidc_test.c: spec.identity.oidc: the documented form is understood, each mistake is found at
 * its place, with the key that was probably meant.
 */
#include "base/clock.h"
#include "base/test.h"
#include "config/config_priv.h"

static const char good[] =
	"apiVersion: hansard/v1\n"                /* 1 */
	"kind: Gateway\n"                         /* 2 */
	"spec:\n"                                 /* 3 */
	"  identity:\n"                           /* 4 */
	"    oidc:\n"                             /* 5 */
	"      - issuer: https://idp.example\n"   /* 6 */
	"        audience: [hansard]\n"           /* 7 */
	"        mappings:\n"                     /* 8 */
	"          - when: { org_id: org-abc }\n" /* 9 */
	"            map: { kind: agent, subject: \"devin/{devin_id}\", run: \"{devin_id}\","
	" groups: [agents], context: [repo] }\n" /* 10 */
	"          - map: { kind: human, subject: \"{sub}\", email: \"{email?}\","
	" groups: \"{groups}\" }\n"                        /* 11 */
	"      - issuer: http://127.0.0.1:8080/realms/a\n" /* 12 */
	"        name: lab\n"                              /* 13 */
	"        audience: [hansard, other]\n"             /* 14 */
	"        jwks: { file: keys.json }\n"              /* 15 */
	"        skew: 5s\n"                               /* 16 */
	"        mappings: [ { when: { a.b: [x, y*] }, map: { kind: service, subject: s } } ]\n";

static struct config *parse(const char *text, struct findings *f) {
	findings_init(f);
	return config_parse(str_of(text), STR("t.yaml"), STR("/etc/h"), f);
}

TEST(config_oidc_documented) {
	struct findings f;
	struct config *c = parse(good, &f);

	if (!CHECK(c != NULL)) {
		for (size_t i = 0; i < f.count; i++)
			test_note("%.*s: %.*s", STR_ARG(f.v[i].at.key), STR_ARG(f.v[i].text));
		return;
	}
	const struct config_issuer *one = c->gateway.issuers, *two = one->next;

	REQUIRE(two != NULL && two->next == NULL);
	CHECK(!c->gateway.identity_local); /* beside OIDC it must be named */
	CHECK_EQ_STR(one->issuer, STR("https://idp.example"));
	CHECK_EQ_STR(one->name, STR("idp.example"));
	CHECK_EQ_U(one->skew_ns, 60 * NS_PER_S);
	CHECK_EQ_U(one->mapping_count, 2);
	const struct config_mapping *m = one->mappings;

	CHECK_EQ_U(m->when.n, 1);
	CHECK_EQ_STR(m->when.v[0].claim, STR("org_id"));
	CHECK_EQ_STR(m->when.v[0].values.v[0], STR("org-abc"));
	CHECK_EQ_U(m->kind, 1);
	CHECK_EQ_STR(m->subject, STR("devin/{devin_id}"));
	CHECK_EQ_STR(m->groups.v[0], STR("agents"));
	CHECK_EQ_STR(m->context.v[0], STR("repo"));
	CHECK_EQ_U(m->next->groups.n, 1);
	CHECK_EQ_STR(m->next->groups.v[0], STR("{groups}"));
	CHECK_EQ_STR(two->name, STR("lab"));
	CHECK_EQ_STR(two->jwks_file, STR("/etc/h/keys.json"));
	CHECK_EQ_U(two->mappings->when.v[0].values.n, 2);
	CHECK_EQ_STR(two->mappings->when.v[0].values.v[1], STR("y*"));
	CHECK_EQ_U(f.warnings, 0 + 1); /* no Connection document */

	struct buf out;

	buf_init(&out, 65536);
	config_show(c, &out);
	w_u8(&out, 0);
	CHECK(strstr(buf_peek(&out).p,
	             "Gateway spec.identity.oidc[0].mappings[1].map.groups: [\"{groups}\"]") !=
	      NULL);
	CHECK(strstr(buf_peek(&out).p, "oidc[1].mappings[0].when: {\"a.b\": [\"x\", \"y*\"]}") !=
	      NULL);
	buf_fini(&out);
	config_free(&c);
	findings_fini(&f);
}

/* One line replaced. */
static char *with_line(unsigned line, const char *text) {
	struct str rest = str_of(good);
	struct buf b;

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
	unsigned line, found;
	const char *text, *needle;
};

static const struct mistake mistakes[] = {
	{ 5, 5, "    odic:", "(did you mean \"oidc\"?)" },
	{ 6, 6, "      - isuer: https://idp.example", "(did you mean \"issuer\"?)" },
	{ 6, 6, "      - issuer: idp.example", "must be https://host" },
	{ 6, 6, "      - issuer: http://idp.example", "http is for issuers on this machine" },
	{ 6, 6, "      - issuer: https://idp.example/?a=b", "without user, query or fragment" },
	{ 6, 6, "      - issuer: https://a@idp.example", "without user" },
	{ 6, 12, "      - issuer: http://127.0.0.1:8080/realms/a", "stands twice" },
	{ 7, 6, "", "oidc[0].audience: is missing" },
	{ 7, 7, "        audience: hansard", "must be a list" },
	{ 7, 7, "        audiences: [hansard]", "(did you mean \"audience\"?)" },
	{ 9, 9, "          - when: { org_id: {} }", "a value, or a list of values" },
	{ 9, 9, "          - when: {}", "1 to 32 claims" },
	{ 9, 9, "          - when: org_id", "must be a mapping of claims" },
	{ 9, 9, "          - whne: { org_id: org-abc }", "(did you mean \"when\"?)" },
	{ 10, 10, "            map: { kind: agnet, subject: s }", "(did you mean \"agent\"?)" },
	{ 10, 9, "            map: { kind: agent }", "mappings[0].map.subject: is missing" },
	{ 10, 10, "            map: { kind: agent, subject: \"{sub\" }", "claims in braces" },
	{ 10, 10, "            map: { kind: agent, subject: \"sub}\" }", "claims in braces" },
	{ 10, 10, "            map: { kind: agent, subject: \"{}\" }", "claims in braces" },
	{ 10, 10, "            map: { kind: agent, subjct: s }", "(did you mean \"subject\"?)" },
	{ 10, 10, "            map: { kind: agent, subject: s, groups: { a: b } }",
	  "must be a template, or a list" },
	{ 13, 13, "        name: idp.example", "the name of another issuer" },
	{ 13, 13, "        name: local", "is not \"local\"" },
	{ 13, 13, "        name: \"a:b\"", "is not \"local\"" },
	{ 12, 12, "      - issuer: https://idp.example", "stands twice" },
	{ 15, 15, "        jwks: { file: a, url: \"https://x\" }", "either" },
	{ 15, 15, "        jwks: { fiel: a }", "(did you mean \"file\"?)" },
	{ 16, 16, "        skew: 1h", "from 0s to 5m" },
	{ 17, 12, "", "has no mappings" },
};

TEST(config_oidc_mistakes) {
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
		bool ok = c == NULL && strstr(buf_peek(&out).p, m->needle) != NULL &&
		          strstr(buf_peek(&out).p, place) != NULL;

		if (!CHECK(ok))
			test_note("line %u \"%s\": %s", m->line, m->text, buf_peek(&out).p);
		config_free(&c);
		buf_fini(&out);
		findings_fini(&f);
	}
}

TEST(config_oidc_warnings) {
	static const struct mistake warnings[] = {
		{ 9, 9, "          -", "the mappings below never apply" },
		{ 15, 12, "        keys_keep: 1h", "keys come by http" },
		{ 16, 16, "        ca: x.pem", "is not used" },
	};

	for (size_t i = 0; i < ARRAY_LEN(warnings); i++) {
		const struct mistake *m = &warnings[i];
		auto_free char *text = with_line(m->line, m->text);
		struct findings f;
		struct buf out;
		struct config *c = parse(text, &f);

		buf_init(&out, 65536);
		findings_text(&f, &out);
		w_u8(&out, 0);
		if (!CHECK(c != NULL && strstr(buf_peek(&out).p, m->needle) != NULL))
			test_note("line %u \"%s\": %s", m->line, m->text, buf_peek(&out).p);
		config_free(&c);
		buf_fini(&out);
		findings_fini(&f);
	}
}

TEST(config_oidc_scram_without_local_tokens) {
	auto_free char *text = xasprintf(
		"%s---\napiVersion: hansard/v1\nkind: Connection\nmetadata: { name: shop }\nspec:\n"
		"  protocol: postgres\n  address: unix:/tmp/s\n  proof: scram\n"
		"  databases: { default: shop }\n"
		"  roles: { default: { user: app, auth: trust } }\n"
		"  access: [ { groups: [agents], roles: [default] } ]\n",
		good);
	struct findings f;
	struct buf out;
	struct config *c = parse(text, &f);

	buf_init(&out, 65536);
	findings_text(&f, &out);
	w_u8(&out, 0);
	CHECK(c != NULL && c->connections->proof == CONFIG_PROOF_SCRAM);
	CHECK(strstr(buf_peek(&out).p, "scram proves tokens of hansard token only") != NULL);
	config_free(&c);
	buf_fini(&out);
	findings_fini(&f);
}

TEST(config_oidc_local_is_named) {
	auto_free char *text = with_line(4, "  identity:\n    local: {}");
	struct findings f;
	struct config *c = parse(text, &f);

	REQUIRE(c != NULL);
	CHECK(c->gateway.identity_local);
	config_free(&c);
	findings_fini(&f);
}

TEST(config_url) {
	struct config_url u;
	const char *why;

	CHECK_EQ_I(config_url_parse(&u, STR("https://h.example:8443/a/b"), &why), 0);
	CHECK(u.is_https && !u.is_loopback);
	CHECK_EQ_STR(u.host, STR("h.example"));
	CHECK_EQ_STR(u.path, STR("/a/b"));
	CHECK_EQ_I(config_url_parse(&u, STR("http://[::1]:80"), &why), 0);
	CHECK_EQ_STR(u.host, STR("::1"));
	CHECK(u.is_loopback && !u.is_https);
	CHECK_EQ_I(config_url_parse(&u, STR("https://[::1]"), &why), 0);
	static const char *const bad[] = { "",
		                           "https://",
		                           "https://:1",
		                           "https:///x",
		                           "ftp://h",
		                           "https://h:0",
		                           "https://h:x",
		                           "https://h /",
		                           "https://u:p@h/",
		                           "https://h\\x",
		                           "http://127.0.0.1.evil.example/",
		                           "http://localhost.evil.example" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (!CHECK(config_url_parse(&u, str_of(bad[i]), &why) == H_EFORMAT))
			test_note("%s", bad[i]);
	}
}

TEST(config_templates) {
	struct str rest = STR("a/{b.c}-{d?}");
	struct config_piece p;

	CHECK_EQ_I(config_template_next(&rest, &p), 1);
	CHECK(!p.is_claim && str_is(p.text, "a/"));
	CHECK_EQ_I(config_template_next(&rest, &p), 1);
	CHECK(p.is_claim && !p.is_optional && str_is(p.text, "b.c"));
	CHECK_EQ_I(config_template_next(&rest, &p), 1);
	CHECK(!p.is_claim && str_is(p.text, "-"));
	CHECK_EQ_I(config_template_next(&rest, &p), 1);
	CHECK(p.is_claim && p.is_optional && str_is(p.text, "d"));
	CHECK_EQ_I(config_template_next(&rest, &p), 0);
	CHECK(!config_template_ok(STR("{?}")) && !config_template_ok(STR("{a{b}}")));
	CHECK(!config_template_ok(STR("}")) && !config_template_ok(STR("{")));
	CHECK(!config_template_ok(STR("{a b}")) && config_template_ok(STR("plain")));
}

TEST_MAIN
