/*
 * oidc_keeper_test.c: admissions by OIDC tokens through a whole keeper: egress is asked for keys,
 * admissions wait for them, `hansard why` tells each reason, the open frame tells who.
 */
#include <time.h>

#include "base/test.h"
#include "identity/idp_fake.h"
#include "keeper/keeper_lab.h"
#include "keeper/keeper_priv.h"

static const char config[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  store: { path: store }\n"
	"  listen: { postgres: \"127.0.0.1:15999\" }\n  identity:\n%s    oidc:\n"
	"    - issuer: https://idp.example\n      audience: [hansard]\n      mappings:\n"
	"      - when: { org_id: org-abc }\n"
	"        map: { kind: agent, subject: \"devin/{devin_id}\","
	" on_behalf_of: \"{requesting_user_email}\", run: \"{devin_id}\", groups: [agents],"
	" context: [title] }\n---\n"
	"apiVersion: hansard/v1\nkind: Connection\nmetadata: { name: shop }\nspec:\n"
	"  protocol: postgres\n  address: 127.0.0.1:5432\n"
	"  databases: { default: shop }\n"
	"  roles: { default: { user: app, auth: trust } }\n"
	"  access: [ { groups: [agents], roles: [default] } ]\n";

struct world {
	struct lab l;
	struct idp_key key, other;
	struct buf out;
};

static bool world_open(struct world *w, const char *local) {
	auto_free char *text = xasprintf(config, local);

	idp_key_make(&w->key, JWT_ES256, "k1", 0);
	idp_key_make(&w->other, JWT_RS256, "k2", 2048);
	buf_init(&w->out, MIB);
	struct ipc_msg m;

	if (!lab_start(&w->l, text, 0) || !lab_get(&w->l, w->l.worker, IPC_SNAPSHOT, &m))
		return false;
	ipc_msg_close(&m);
	return true;
}

static void world_close(struct world *w) {
	CHECK_EQ_I(lab_stop(&w->l), 0);
	lab_fini(&w->l);
	buf_fini(&w->out);
	idp_key_free(&w->key);
	idp_key_free(&w->other);
}

/* A token good for `s` seconds from now. */
static char *token_of(const struct idp_key *k, const char *audience, int s) {
	auto_free char *claims = xasprintf(
		"{\"iss\":\"https://idp.example\",\"aud\":\"%s\",\"exp\":%lld,\"iat\":%lld,"
		"\"org_id\":\"org-abc\",\"devin_id\":\"d42\",\"jti\":\"jti-7\","
		"\"requesting_user_email\":\"ann@corp.example\",\"title\":\"Fix it\"}",
		audience, (long long)time(NULL) + s, (long long)time(NULL) - 10);

	return idp_token(k, NULL, claims);
}

static bool fetch_comes(struct world *w, const char *url, uint64_t *id) {
	struct ipc_msg m;

	if (!lab_get(&w->l, w->l.egress, IPC_FETCH, &m))
		return false;
	struct rd r = rd_of(m.body);

	CHECK(str_is(rd_vstr(&r), "GET"));
	CHECK_EQ_STR(rd_vstr(&r), str_of(url));
	*id = m.id;
	return true;
}

static void fetched(struct world *w, uint64_t id, uint32_t status, struct str body) {
	struct buf b;

	buf_init(&b, IPC_MAX);
	w_u32(&b, 0);
	w_u32(&b, status);
	w_u32(&b, 600);
	w_vstr(&b, body);
	w_vstr(&b, STR_NONE);
	lab_put(&w->l, w->l.egress, IPC_FETCHED, id, &b);
	buf_fini(&b);
}

static void serve_key_set(struct world *w) {
	uint64_t id = 0;
	struct buf b;

	if (!fetch_comes(w, "https://idp.example/k", &id))
		return;
	buf_init(&b, MIB);
	idp_jwks(&b, &w->key, 1);
	fetched(w, id, 200, buf_peek(&b));
	buf_fini(&b);
}

static void serve_keys(struct world *w) {
	uint64_t id = 0;

	if (!fetch_comes(w, "https://idp.example/.well-known/openid-configuration", &id))
		return;
	fetched(w, id, 200,
	        STR("{\"issuer\":\"https://idp.example\",\"jwks_uri\":\"https://idp.example/k\"}"));
	serve_key_set(w);
}

/* Refused, and `why` says so; text may be NULL. */
static void refused(struct world *w, uint64_t id, const char *token, const char *reason,
                    const char *text) {
	char ref[16];

	lab_admit(&w->l, id, &(struct lab_asking){ .token = token });
	if (!lab_refused(&w->l, id, H_EREFUSED, ref))
		return;
	auto_free char *why = xasprintf("{\"cmd\":\"why\",\"ref\":\"%s\"}", ref);
	auto_free char *member = xasprintf("\"reason\":\"%s\"", reason);

	CHECK_EQ_I(lab_ask(&w->l, why, &w->out), 0);
	if (!CHECK(lab_has(&w->out, member)) || !CHECK(text == NULL || lab_has(&w->out, text)))
		test_note("%s: %.*s", reason, STR_ARG(buf_peek(&w->out)));
}

TEST(oidc_keeper_admits) {
	struct world w;
	struct grant_msg g;

	REQUIRE(world_open(&w, ""));
	auto_free char *token = token_of(&w.key, "hansard", 600);

	/* Asked before the keys are there: it waits, and is admitted when they come. */
	lab_admit(&w.l, 7, &(struct lab_asking){ .token = token });
	CHECK(lab_quiet(&w.l, w.l.worker));
	serve_keys(&w);
	REQUIRE(lab_open(&w.l, 0));
	CHECK(lab_has(&w.l.open_json, "\"subject\":\"idp.example:devin/d42\""));
	CHECK(lab_has(&w.l.open_json, "\"on_behalf_of\":\"ann@corp.example\","
	                              "\"on_behalf_of_verified\":true,\"run\":\"d42\","
	                              "\"credential\":\"jti-7\""));
	CHECK(lab_has(&w.l.open_json, "\"issuer\":\"https://idp.example\",\"key_id\":\"k1\""));
	CHECK(lab_has(&w.l.open_json,
	              "\"context\":{\"title\":\"Fix it\"},\"context_verified\":true"));
	CHECK(lab_has(&w.l.open_json, "\"proof_expires_ns\":1"));
	struct ipc_msg m;

	REQUIRE(lab_get(&w.l, w.l.egress, IPC_CONNECT, &m));
	lab_connected(&w.l, m.id, H_ECONNECT, -1);
	(void)lab_refused(&w.l, 7, H_ECONNECT, NULL);
	REQUIRE(lab_granted(&w.l, 8, &(struct lab_asking){ .token = token }, &g));
	CHECK(!lab_logged(&w.l, "keeper.break_glass.used"));
	CHECK_EQ_I(lab_ask(&w.l, "{\"cmd\":\"status\"}", &w.out), 0);
	CHECK(lab_has(&w.out, "\"name\":\"idp.example\",\"keys\":1,\"failing\":false"));
	CHECK(!lab_leaks(&w.l, token, NULL));
	CHECK(!lab_leaks(&w.l, strrchr(token, '.'), NULL));
	world_close(&w);
}

TEST(oidc_keeper_says_why) {
	struct world w;

	REQUIRE(world_open(&w, ""));
	serve_keys(&w);
	auto_free char *audience = token_of(&w.key, "somebody-else", 600);
	auto_free char *expired = token_of(&w.key, "hansard", -3600);
	auto_free char *unknown = token_of(&w.other, "hansard", 600);
	auto_free char *longer = token_of(&w.key, "hansard", 48 * 3600);
	auto_free char *forged = token_of(&w.key, "hansard", 600);
	auto_free char *none = idp_token(&w.key, "{\"alg\":\"none\"}", "{}");
	auto_free char *no_mapping =
		xasprintf("{\"iss\":\"https://idp.example\",\"aud\":\"hansard\",\"exp\":%lld}",
	                  (long long)time(NULL) + 60);
	auto_free char *stranger = idp_token(&w.key, NULL, no_mapping);

	/* Another character in the middle of the claims. */
	char *middle = strchr(forged, '.') + 30;

	*middle = *middle == 'A' ? 'B' : 'A';
	refused(&w, 1, audience, "token-audience", "it is for somebody-else");
	refused(&w, 2, expired, "token-expired", "it expired at 2");
	refused(&w, 3, longer, "token-lifetime", "lifetime_max is 1d");
	refused(&w, 4, forged, "token-signature", "not made with key k1");
	refused(&w, 5, none, "token-algorithm", "\\\"none\\\" is not accepted");
	refused(&w, 6, stranger, "no-mapping", "none of the 1 mappings");
	/* The issuer is asked for a key that it does not have, and then not again for a minute. */
	lab_admit(&w.l, 10, &(struct lab_asking){ .token = unknown });
	serve_key_set(&w);
	(void)lab_refused(&w.l, 10, H_EREFUSED, NULL);
	refused(&w, 7, unknown, "token-key-unknown", "no key is named k2");
	refused(&w, 8, "eyJ.x.y", "token-malformed", "not base64url");
	refused(&w, 9, "hunter2", "malformed-proof", NULL);
	CHECK(!lab_leaks(&w.l, strchr(audience, '.'), NULL));
	world_close(&w);
}

/* The issuer does not answer: bounded, then refused with the reason. */
TEST(oidc_keeper_issuer_down) {
	struct world w;
	uint64_t id = 0;

	REQUIRE(world_open(&w, ""));
	auto_free char *token = token_of(&w.key, "hansard", 600);

	REQUIRE(fetch_comes(&w, "https://idp.example/.well-known/openid-configuration", &id));
	lab_admit(&w.l, 1, &(struct lab_asking){ .token = token });
	CHECK(lab_quiet(&w.l, w.l.worker));
	fetched(&w, id, 503, STR_NONE);
	REQUIRE(lab_refused(&w.l, 1, H_EREFUSED, NULL));
	refused(&w, 2, token, "issuer-keys-unavailable", "HTTP status 503");
	CHECK(lab_logged(&w.l, "keeper.oidc.no_keys"));
	world_close(&w);
}

TEST(oidc_keeper_silent_issuer) {
	struct world w;

	REQUIRE(world_open(&w, ""));
	auto_free char *token = token_of(&w.key, "hansard", 600);
	time_t before = time(NULL);

	refused(&w, 1, token, "issuer-keys-unavailable", "did not come in time");
	CHECK(time(NULL) - before >= 7 && time(NULL) - before <= 10);
	world_close(&w);
}

/* Beside OIDC the local issuer serves only when it is named, and never silently. */
TEST(oidc_keeper_local_off) {
	struct world w;

	REQUIRE(world_open(&w, ""));
	CHECK_EQ_I(lab_ask(&w.l, lab_issue, &w.out), 0);
	CHECK(lab_has(&w.out, "the local issuer is off"));
	refused(&w, 1, "hsd1_00000000000000000000000000000000000000000000000", "malformed-proof",
	        NULL);
	world_close(&w);
}

TEST(oidc_keeper_break_glass) {
	struct world w;
	struct grant_msg g;
	char token[128], id[64];

	REQUIRE(world_open(&w, "    local: {}\n"));
	serve_keys(&w);
	REQUIRE(lab_token(&w.l, lab_issue, token, id));
	REQUIRE(lab_granted(&w.l, 1, &(struct lab_asking){ .token = token }, &g));
	CHECK(lab_act_comes(&w.l, "\"act\":\"break_glass.used\""));
	CHECK(lab_act_comes(&w.l, g.g.short_id));
	CHECK(lab_logged(&w.l, "keeper.break_glass.used"));
	/* Turned off again: a token from before is worth nothing. */
	auto_free char *text = xasprintf(config, "");
	struct ipc_msg m;
	struct buf b;

	lab_config(&w.l, text);
	lab_put(&w.l, w.l.sup, IPC_SUP_RELOAD, 0, NULL);
	REQUIRE(lab_get(&w.l, w.l.sup, IPC_SUP_CONFIG, &m));
	buf_init(&b, 64);
	w_u32(&b, 0);
	w_vstr(&b, STR_NONE);
	lab_put(&w.l, w.l.sup, IPC_SUP_STORE, 0, &b);
	buf_fini(&b);
	REQUIRE(lab_get(&w.l, w.l.sup, IPC_SUP_RELOADED, &m));
	refused(&w, 2, token, "local-issuer-off", NULL);
	world_close(&w);
}

TEST_MAIN
