/* claims_test.c: times and audiences to the second; each way to map, and to fail to. */
#include "identity/claims.h"

#include "base/clock.h"
#include "base/test.h"

#define NOW ((uint64_t)1700000000) /* 2023-11-14T22:13:20Z */

static const char text[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n"
	"    - issuer: https://idp.example\n"
	"      audience: [hansard, \"https://hansard.example\"]\n"
	"      lifetime_max: 2h\n"
	"      mappings:\n"
	"      - when: { org_id: org-abc }\n"
	"        map: { kind: agent, subject: \"devin/{devin_id}\","
	" on_behalf_of: \"{requesting_user_email}\", run: \"{devin_id}\", groups: [agents],"
	" context: [title, task.id] }\n"
	"      - when: { repository_owner: [acme, \"acme-*\"], ref_protected: true }\n"
	"        map: { kind: service, subject: \"{repository}\", run: \"{run_id}/{run_attempt?}\","
	" groups: [ci, \"repo-{repository_id}\"] }\n"
	"      - when: { realm_access.roles: dba }\n"
	"        map: { kind: human, subject: \"{preferred_username}\","
	" groups: \"{realm_access.roles}\" }\n"
	"      - when: { kubernetes.io.namespace: prod }\n"
	"        map: { kind: service, subject: \"{sub}\","
	" groups: [\"ns-{kubernetes.io.namespace}\"] }\n"
	"      - when: { email: \"*@corp.example\" }\n"
	"        map: { kind: human, subject: \"{sub}\", email: \"{email}\", groups: \"{groups?}\" }\n";

struct world {
	struct config *c;
	const struct config_issuer *issuer;
	struct arena *arena;
	struct who who;
	struct err e;
};

static void world_open(struct world *w) {
	struct findings f;

	*w = (struct world){ .arena = arena_new(MIB) };
	findings_init(&f);
	w->c = config_parse(STR(text), STR("t"), STR("/"), &f);
	if (w->c == NULL) {
		test_note("%.*s", STR_ARG(f.v[0].text));
		abort();
	}
	w->issuer = w->c->gateway.issuers;
	findings_fini(&f);
}

static void world_close(struct world *w) {
	config_free(&w->c);
	arena_free(&w->arena);
}

static enum token_wrong check(struct world *w, const char *json, uint64_t *expires) {
	uint64_t unused;

	w->e = (struct err){ 0 };
	struct claims *c = claims_of(str_of(json), &w->e);

	if (c == NULL)
		return TOKEN_CLAIMS;
	enum token_wrong wrong = claims_check(c, w->issuer, NOW * NS_PER_S,
	                                      expires != NULL ? expires : &unused, &w->e);

	claims_free(&c);
	return wrong;
}

static enum token_wrong map(struct world *w, const char *json) {
	w->e = (struct err){ 0 };
	struct claims *c = claims_of(str_of(json), &w->e);

	if (c == NULL)
		return TOKEN_CLAIMS;
	enum token_wrong wrong = claims_map(c, w->issuer, w->arena, &w->who, &w->e);

	claims_free(&c);
	return wrong;
}

struct row {
	const char *json; /* after iss and aud */
	enum token_wrong wrong;
	const char *needle;
};

#define ISS "\"iss\":\"https://idp.example\""
#define AUD "\"aud\":\"hansard\""

TEST(claims_validity) {
	static const struct row rows[] = {
		{ "{" ISS "," AUD ",\"exp\":1700003600,\"iat\":1700000000}", TOKEN_FINE, "" },
		{ "{" ISS ",\"aud\":[\"x\",\"hansard\"],\"exp\":1700000001}", TOKEN_FINE, "" },
		{ "{" ISS ",\"aud\":\"https://hansard.example\",\"exp\":1700000001}", TOKEN_FINE,
		  "" },
		{ "{" AUD ",\"exp\":1700000001}", TOKEN_ISSUER, "names no issuer" },
		{ "{\"iss\":7," AUD ",\"exp\":1700000001}", TOKEN_ISSUER, "names no issuer" },
		{ "{\"iss\":\"https://idp.example/\"," AUD "}", TOKEN_ISSUER, "its issuer is" },
		{ "{" ISS ",\"exp\":1700000001}", TOKEN_AUDIENCE, "names no audience" },
		{ "{" ISS ",\"aud\":\"hansard2\"}", TOKEN_AUDIENCE, "it is for hansard2" },
		{ "{" ISS ",\"aud\":[\"a\",\"b\"]}", TOKEN_AUDIENCE, "none of its 2" },
		{ "{" ISS ",\"aud\":[]}", TOKEN_AUDIENCE, "none of its 0" },
		{ "{" ISS ",\"aud\":[[\"hansard\"]]}", TOKEN_AUDIENCE, "none of its 1" },
		{ "{" ISS ",\"aud\":{\"hansard\":1}}", TOKEN_AUDIENCE, "names no audience" },
		{ "{" ISS "," AUD "}", TOKEN_CLAIMS, "never expires" },
		{ "{" ISS "," AUD ",\"exp\":\"1700003600\"}", TOKEN_CLAIMS, "exp is no time" },
		{ "{" ISS "," AUD ",\"exp\":-1}", TOKEN_CLAIMS, "exp is no time" },
		{ "{" ISS "," AUD ",\"exp\":1e300}", TOKEN_CLAIMS, "exp is no time" },
		{ "{" ISS "," AUD ",\"exp\":99999999999999999999}", TOKEN_CLAIMS, "no JSON" },
		{ "{" ISS "," AUD ",\"exp\":9223372036854775807}", TOKEN_CLAIMS, "exp is no time" },
		{ "{" ISS "," AUD ",\"exp\":null}", TOKEN_CLAIMS, "exp is no time" },
		/* skew: 60 s, to the second */
		{ "{" ISS "," AUD ",\"exp\":1699999941}", TOKEN_FINE, "" },
		{ "{" ISS "," AUD ",\"exp\":1699999940}", TOKEN_EXPIRED,
		  "expired at 2023-11-14T22:12:20Z" },
		{ "{" ISS "," AUD ",\"exp\":1699999940.5}", TOKEN_FINE, "" },
		{ "{" ISS "," AUD ",\"exp\":1700000100,\"nbf\":1700000060}", TOKEN_FINE, "" },
		{ "{" ISS "," AUD ",\"exp\":1700000100,\"nbf\":1700000061}", TOKEN_NOT_YET, "nbf" },
		{ "{" ISS "," AUD ",\"exp\":1700000100,\"iat\":1700000061}", TOKEN_NOT_YET, "iat" },
		{ "{" ISS "," AUD ",\"exp\":1700000100,\"nbf\":true}", TOKEN_CLAIMS, "nbf" },
		{ "{" ISS "," AUD ",\"exp\":1700000100,\"iat\":\"x\"}", TOKEN_CLAIMS, "iat" },
		/* lifetime_max: 2h */
		{ "{" ISS "," AUD ",\"exp\":1700007200,\"iat\":1700000000}", TOKEN_FINE, "" },
		{ "{" ISS "," AUD ",\"exp\":1700007201,\"iat\":1700000000}", TOKEN_LIFETIME,
		  "lifetime_max is 2h" },
		{ "{" ISS "," AUD ",\"exp\":1700007201}", TOKEN_LIFETIME, "" },
		{ "{" ISS "," AUD ",\"exp\":1700000100,\"iat\":1600000000}", TOKEN_LIFETIME, "" },
		{ "{" ISS "," AUD ",\"exp\":1,\"exp\":1700000100}", TOKEN_CLAIMS, "once" },
		{ "[1]", TOKEN_CLAIMS, "no JSON object" },
		{ "", TOKEN_CLAIMS, "no JSON object" },
	};
	struct world w;

	world_open(&w);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!CHECK_EQ_U(check(&w, rows[i].json, NULL), rows[i].wrong) ||
		    !CHECK(strstr(w.e.text, rows[i].needle) != NULL))
			test_note("%s: %s", rows[i].json, w.e.text);
	}
	uint64_t expires = 0;

	CHECK_EQ_U(check(&w, rows[0].json, &expires), TOKEN_FINE);
	CHECK_EQ_U(expires, (1700003600 + 60) * NS_PER_S);
	world_close(&w);
}

TEST(claims_devin) {
	struct world w;

	world_open(&w);
	CHECK_EQ_U(map(&w, "{\"org_id\":\"org-abc\",\"devin_id\":\"d42\",\"jti\":\"j1\","
	                   "\"requesting_user_email\":\"ann@corp.example\",\"title\":\"Fix\","
	                   "\"task\":{\"id\":7}}"),
	           TOKEN_FINE);
	CHECK(w.who.kind == WHO_AGENT);
	CHECK_EQ_STR(w.who.subject, STR("idp.example:devin/d42"));
	CHECK_EQ_STR(w.who.on_behalf_of, STR("ann@corp.example"));
	CHECK(w.who.on_behalf_of_verified && w.who.context_verified);
	CHECK_EQ_STR(w.who.run, STR("d42"));
	CHECK_EQ_STR(w.who.credential, STR("j1"));
	CHECK_EQ_STR(w.who.issuer, STR("https://idp.example"));
	CHECK(who_in_group(&w.who, STR("agents")) && w.who.group_count == 1);
	CHECK_EQ_U(w.who.context_count, 2);
	CHECK_EQ_STR(w.who.context[1].key, STR("task.id"));
	CHECK_EQ_STR(w.who.context[1].value, STR("7"));
	world_close(&w);
}

TEST(claims_each_shape) {
	struct world w;

	world_open(&w);
	/* GitHub Actions */
	CHECK_EQ_U(map(&w, "{\"repository_owner\":\"acme\",\"repository\":\"acme/shop\","
	                   "\"repository_id\":12,\"run_id\":\"99\",\"ref_protected\":\"true\"}"),
	           TOKEN_FINE);
	CHECK_EQ_STR(w.who.subject, STR("idp.example:acme/shop"));
	CHECK_EQ_STR(w.who.run, STR("99/"));
	CHECK(who_in_group(&w.who, STR("repo-12")) && w.who.mapping == 1);
	CHECK_EQ_U(map(&w, "{\"repository_owner\":\"acme-labs\",\"repository\":\"acme-labs/x\","
	                   "\"repository_id\":1,\"run_id\":5,\"ref_protected\":true}"),
	           TOKEN_FINE);
	/* Keycloak: a list inside an object */
	CHECK_EQ_U(map(&w, "{\"preferred_username\":\"bob\","
	                   "\"realm_access\":{\"roles\":[\"x\",\"dba\",\"x\"]}}"),
	           TOKEN_FINE);
	CHECK_EQ_STR(w.who.subject, STR("idp.example:bob"));
	CHECK_EQ_U(w.who.group_count, 2); /* each once */
	/* Kubernetes: a dot in a name */
	CHECK_EQ_U(map(&w, "{\"sub\":\"system:serviceaccount:prod:job\","
	                   "\"kubernetes.io\":{\"namespace\":\"prod\"}}"),
	           TOKEN_FINE);
	CHECK(who_in_group(&w.who, STR("ns-prod")));
	/* Google service account: no groups at all */
	CHECK_EQ_U(map(&w, "{\"sub\":\"1084\",\"email\":\"ci@corp.example\","
	                   "\"email_verified\":true}"),
	           TOKEN_FINE);
	CHECK_EQ_STR(w.who.email, STR("ci@corp.example"));
	CHECK_EQ_U(w.who.group_count, 0);
	world_close(&w);
}

TEST(claims_mappings_fail) {
	static const struct row rows[] = {
		{ "{}", TOKEN_NO_MAPPING, "none of the 5 mappings" },
		{ "{\"org_id\":\"org-abcd\"}", TOKEN_NO_MAPPING, "" },
		{ "{\"org_id\":null}", TOKEN_NO_MAPPING, "" },
		{ "{\"org_id\":{\"org-abc\":1}}", TOKEN_NO_MAPPING, "" },
		{ "{\"repository_owner\":\"xacme\",\"ref_protected\":true}", TOKEN_NO_MAPPING, "" },
		{ "{\"repository_owner\":\"acme\",\"ref_protected\":false}", TOKEN_NO_MAPPING, "" },
		{ "{\"email\":\"a@corp.example\",\"email_verified\":false,\"sub\":\"s\"}",
		  TOKEN_NO_MAPPING, "" },
		{ "{\"email\":\"a@corp.example.evil\",\"sub\":\"s\"}", TOKEN_NO_MAPPING, "" },
		/* the first that matches counts, even if a later one could be filled */
		{ "{\"org_id\":\"org-abc\",\"email\":\"a@corp.example\",\"sub\":\"s\"}",
		  TOKEN_MAPPING,
		  "subject needs the claim devin_id, which the token does not have" },
		{ "{\"org_id\":\"org-abc\",\"devin_id\":\"\"}", TOKEN_MAPPING, "is empty" },
		{ "{\"org_id\":\"org-abc\",\"devin_id\":{}}", TOKEN_MAPPING, "is no text" },
		{ "{\"org_id\":\"org-abc\",\"devin_id\":[\"a\"]}", TOKEN_MAPPING, "is no text" },
		{ "{\"org_id\":\"org-abc\",\"devin_id\":1.5}", TOKEN_MAPPING, "is no text" },
		{ "{\"org_id\":\"org-abc\",\"devin_id\":\"a\\nb\"}", TOKEN_MAPPING, "control" },
		{ "{\"org_id\":\"org-abc\",\"devin_id\":\"d\"}", TOKEN_MAPPING,
		  "on_behalf_of needs the claim requesting_user_email" },
		{ "{\"realm_access\":{\"roles\":[\"dba\",{}]},\"preferred_username\":\"b\"}",
		  TOKEN_MAPPING, "holds what is no text" },
	};
	struct world w;

	world_open(&w);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!CHECK_EQ_U(map(&w, rows[i].json), rows[i].wrong) ||
		    !CHECK(strstr(w.e.text, rows[i].needle) != NULL))
			test_note("%s: %s", rows[i].json, w.e.text);
	}
	world_close(&w);
}

TEST(claims_bounds) {
	struct world w;
	struct buf json;

	world_open(&w);
	buf_init(&json, 256 * KIB);
	w_fmt(&json, "{\"org_id\":\"org-abc\",\"requesting_user_email\":\"a\",\"devin_id\":\"");
	for (int i = 0; i < WHO_SUBJECT_MAX; i++)
		w_u8(&json, 'x');
	w_fmt(&json, "\"}%c", 0);
	CHECK_EQ_U(map(&w, buf_peek(&json).p), TOKEN_MAPPING);
	CHECK(strstr(w.e.text, "longer than") != NULL);
	buf_clear(&json);
	w_fmt(&json, "{\"preferred_username\":\"b\",\"realm_access\":{\"roles\":[\"dba\"");
	for (int i = 0; i < WHO_GROUPS_MAX; i++)
		w_fmt(&json, ",\"g%d\"", i);
	w_fmt(&json, "]}}%c", 0);
	CHECK_EQ_U(map(&w, buf_peek(&json).p), TOKEN_MAPPING);
	CHECK(strstr(w.e.text, "more than 32 groups") != NULL);
	buf_fini(&json);
	world_close(&w);
}

/* Cut anywhere, the claims are refused, and nobody is made of them. */
TEST(claims_cut) {
	static const char json[] = "{\"org_id\":\"org-abc\",\"devin_id\":\"d\","
				   "\"requesting_user_email\":\"a\",\"exp\":1700000001}";
	struct world w;

	world_open(&w);
	for (size_t n = 0; n + 1 < sizeof(json); n++) {
		struct claims *c = claims_of(str_mem(json, n), &w.e);

		CHECK(c == NULL);
		claims_free(&c);
	}
	world_close(&w);
}

TEST_MAIN
