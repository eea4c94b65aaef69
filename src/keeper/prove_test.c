/*
 * prove_test.c: clients that prove themselves to a whole keeper, by SCRAM and OAUTHBEARER: what is granted,
 * every way to be refused with its reason, what is bounded, and that no token gets out.
 */
#include <sqlite3.h>

#include "base/test.h"
#include "keeper/keeper_lab.h"
#include "keeper/keeper_priv.h"
#include "keeper/scram.h"

#define END_POINT "0123456789abcdef0123456789abcdef"

/* A client: libpq's part is played by the code with which the keeper logs in to targets. */
struct client {
	struct lab *l;
	struct scram s;
	const char *connection, *key, *password, *mechanism, *address;
	struct str end_point; /* of the gateway's certificate, as the worker tells */
	uint64_t exchange;
	struct buf first, server_first, final;
	struct grant_msg g;
};

static void client_init(struct client *c, struct lab *l, const char *key, const char *password) {
	*c = (struct client){ .l = l,
		              .connection = "shop",
		              .key = key,
		              .password = password,
		              .mechanism = SCRAM_PLAIN,
		              .address = "10.1.2.3:55",
		              .exchange = 7 };
	buf_init(&c->first, 4096);
	buf_init(&c->server_first, 4096);
	buf_init(&c->final, 4096);
}

static void client_fini(struct client *c) {
	buf_fini(&c->first);
	buf_fini(&c->server_first);
	buf_fini(&c->final);
}

static void say_first(struct client *c, enum scram_binding binding, struct str seen) {
	struct buf b;

	buf_clear(&c->first);
	CHECK_EQ_I(scram_bind(&c->s, binding, seen), 0);
	CHECK_EQ_I(scram_first(&c->s, STR_NONE, STR("clientnonce"), &c->first), 0);
	buf_init(&b, 8192);
	w_u64(&b, c->exchange);
	w_vstr(&b, str_of(c->connection));
	w_vstr(&b, str_of(c->key));
	w_vstr(&b, str_of(c->mechanism));
	w_vstr(&b, buf_peek(&c->first));
	w_vstr(&b, c->end_point);
	w_vstr(&b, str_of(c->address));
	lab_put(c->l, c->l->worker, IPC_PROVE, c->exchange, &b);
	buf_fini(&b);
}

static bool hear_first(struct client *c) {
	struct ipc_msg m;

	if (!lab_get(c->l, c->l->worker, IPC_PROVED, &m))
		return false;
	struct rd r = rd_of(m.body);
	struct str text = rd_vstr(&r);

	buf_clear(&c->server_first);
	w_bytes(&c->server_first, text);
	return CHECK_EQ_U(m.id, c->exchange) && CHECK_EQ_I(rd_done(&r), 0) && CHECK(text.n != 0);
}

/* client-final into c->final. */
static bool make_final(struct client *c) {
	struct scram_challenge challenge;
	struct scram_keys keys;
	const char *why = NULL;

	buf_clear(&c->final);
	if (!CHECK_EQ_I(scram_challenge(&c->s, buf_peek(&c->server_first), &challenge, &why), 0))
		return false;
	CHECK_EQ_U(challenge.iterations, 4096);
	scram_keys(&keys, str_of(c->password), &challenge);
	bool ok = CHECK_EQ_I(scram_final(&c->s, &keys, &c->final), 0);

	w_u8(&c->final, 0);
	return ok;
}

static bool begin(struct client *c) {
	say_first(c, SCRAM_UNBOUND, STR_NONE);
	return hear_first(c) && make_final(c);
}

static struct lab_asking asking(const struct client *c) {
	return (struct lab_asking){ .connection = c->connection,
		                    .token = buf_peek(&c->final).p,
		                    .kind = PROOF_SCRAM,
		                    .hint = c->key,
		                    .exchange = c->exchange,
		                    .address = c->address };
}

static bool is_granted(struct client *c, uint64_t id) {
	struct lab_asking a = asking(c);
	const char *why = NULL;

	return lab_granted(c->l, id, &a, &c->g) &&
	       CHECK_EQ_I(scram_verify(&c->s, c->g.g.server_final, &why), 0);
}

static bool why_is(struct lab *l, const char *ref, const char *reason) {
	auto_free char *ask = xasprintf("{\"cmd\":\"why\",\"ref\":\"%s\"}", ref);
	auto_free char *want = xasprintf("\"reason\":\"%s\"", reason);
	struct buf out;

	buf_init(&out, MIB);
	bool ok = CHECK_EQ_I(lab_ask(l, ask, &out), 0) && CHECK(lab_has(&out, want));

	buf_fini(&out);
	return ok;
}

static void is_refused(struct client *c, uint64_t id, const char *reason) {
	struct lab_asking a = asking(c);
	char ref[16];

	test_note("%s", reason);
	lab_admit(c->l, id, &a);
	if (CHECK(lab_refused(c->l, id, H_EREFUSED, ref)))
		(void)why_is(c->l, ref, reason);
}

static void proof_gone(struct lab *l, uint64_t exchange) {
	struct buf b;

	buf_init(&b, 16);
	w_u64(&b, exchange);
	lab_put(l, l->worker, IPC_PROOF_GONE, exchange, &b);
	buf_fini(&b);
}

static void sql(struct lab *l, const char *text) {
	auto_free char *path = xasprintf("%s/store/keeper/state.db", l->dir);
	sqlite3 *db = NULL;

	CHECK_EQ_I(sqlite3_open(path, &db), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	CHECK_EQ_I(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
}

/* ---- SCRAM ---- */

TEST(prove_scram_grants) {
	struct lab l;
	struct client c;
	char token[128], id[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	client_init(&c, &l, id, token);
	REQUIRE(begin(&c));
	REQUIRE(is_granted(&c, 1));
	CHECK(lab_has(&l.open_json, "\"subject\":\"local:ci\"") &&
	      lab_has(&l.open_json,
	              "\"proof\":{\"method\":\"scram\",\"mechanism\":\"SCRAM-SHA-256\"") &&
	      lab_has(&l.open_json, id) && lab_has(&l.open_json, "\"channel_binding\":\"none\"}"));
	/* Used up, and by nobody to be used again. */
	struct lab_asking again = asking(&c);

	lab_admit(&l, 2, &again);
	CHECK(lab_refused(&l, 2, H_EKEEPER, NULL));
	c.end_point = STR(END_POINT);
	c.mechanism = SCRAM_PLUS;
	say_first(&c, SCRAM_BOUND, STR(END_POINT));
	REQUIRE(hear_first(&c) && make_final(&c) && is_granted(&c, 3));
	CHECK(lab_has(&l.open_json, "\"SCRAM-SHA-256-PLUS\"") &&
	      lab_has(&l.open_json, "\"channel_binding\":\"tls-server-end-point\""));
	CHECK_EQ_I(lab_stop(&l), 0);
	CHECK(!lab_leaks(&l, token, NULL) && !lab_leaks(&l, token + 5, NULL));
	client_fini(&c);
	lab_fini(&l);
}

TEST(prove_scram_says_why) {
	struct lab l;
	struct client c;
	char token[128], id[64], ref[16];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	client_init(&c, &l, id, "not the token");
	REQUIRE(begin(&c));
	is_refused(&c, 1, "scram-wrong-proof");
	c.key = "zzzz-zzzz";
	c.address = "10.9.1.1:1";
	REQUIRE(begin(&c));
	is_refused(&c, 2, "scram-unknown-key");
	c.key = id;
	c.password = token;
	c.end_point = STR(END_POINT);
	say_first(&c, SCRAM_NOT_OFFERED, STR_NONE);
	REQUIRE(lab_refused(&l, 7, H_EREFUSED, ref) && why_is(&l, ref, "scram-downgrade"));
	c.mechanism = SCRAM_PLUS;
	say_first(&c, SCRAM_BOUND, STR("of somebody in between, 32 bytes"));
	REQUIRE(hear_first(&c) && make_final(&c));
	is_refused(&c, 3, "scram-channel-binding");
	c.mechanism = "SCRAM-SHA-1";
	say_first(&c, SCRAM_UNBOUND, STR_NONE);
	REQUIRE(lab_refused(&l, 7, H_EREFUSED, ref) && why_is(&l, ref, "scram-malformed"));
	c.mechanism = SCRAM_PLAIN;
	c.address = "10.9.2.1:1";
	/* The exchange proves one key; the admission must name it. */
	REQUIRE(begin(&c));
	c.key = "zzzz-zzzz";
	is_refused(&c, 4, "unknown-hint");
	c.key = id;
	REQUIRE(begin(&c));
	c.connection = "nope";
	is_refused(&c, 5, "no-such-connection");
	c.connection = "shop";
	/* A token of a version that kept no verifier: as a key that is not there, but for `why`. */
	sql(&l, "UPDATE tokens SET salt = NULL, stored_key = NULL, server_key = NULL");
	REQUIRE(begin(&c));
	is_refused(&c, 6, "scram-old-token");
	struct lab_asking plain = { .token = token };
	struct grant_msg g;

	CHECK(lab_granted(&l, 8, &plain, &g)); /* as the password it is as good as ever */
	CHECK_EQ_I(lab_stop(&l), 0);
	client_fini(&c);
	lab_fini(&l);
}

static void salt_of(struct client *c, char out[64]) {
	struct str rest = STR_NONE;

	out[0] = '\0';
	say_first(c, SCRAM_UNBOUND, STR_NONE);
	if (!hear_first(c))
		return;
	rest = buf_peek(&c->server_first);
	(void)str_cut(&rest, ',');
	CHECK(str_copy(out, 64, str_cut(&rest, ',')));
}

/* A salt stays, whether there is such a key, was one, or never. */
TEST(prove_scram_salts_stay) {
	struct lab l;
	struct client c;
	char token[128], id[64], known[64], known2[64], unknown[64], unknown2[64], other[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	client_init(&c, &l, id, token);
	salt_of(&c, known);
	c.key = "zzzz-zzzz";
	salt_of(&c, unknown);
	c.key = "zzzz-zzzy";
	salt_of(&c, other);
	REQUIRE(lab_restart(&l));
	sql(&l, "DELETE FROM tokens");
	c.key = id;
	salt_of(&c, known2);
	c.key = "zzzz-zzzz";
	salt_of(&c, unknown2);
	CHECK_EQ_STR(str_of(known), str_of(known2));
	CHECK_EQ_STR(str_of(unknown), str_of(unknown2));
	CHECK(strcmp(known, unknown) != 0 && strcmp(unknown, other) != 0);
	CHECK_EQ_U(strlen(known), strlen(unknown));
	CHECK_EQ_I(lab_stop(&l), 0);
	client_fini(&c);
	lab_fini(&l);
}

/* Exchanges go with their connection, their worker and their keeper; there is room for so many. */
TEST(prove_scram_exchanges_are_bounded) {
	enum { ROOM = 8192 };
	struct lab l;
	struct client c;
	struct lab_asking a;
	char token[128], id[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	client_init(&c, &l, id, token);
	REQUIRE(begin(&c));
	proof_gone(&l, 7);
	a = asking(&c);
	lab_admit(&l, 1, &a);
	CHECK(lab_refused(&l, 1, H_EKEEPER, NULL));
	REQUIRE(begin(&c) && lab_restart(&l));
	lab_admit(&l, 2, &a);
	CHECK(lab_refused(&l, 2, H_EKEEPER, NULL));
	REQUIRE(begin(&c));
	lab_peer(&l, ROLE_WORKER, 0);
	lab_peer(&l, ROLE_WORKER, 1);
	lab_admit(&l, 3, &a);
	CHECK(lab_refused(&l, 3, H_EKEEPER, NULL));
	for (uint64_t i = 0; i < ROOM; i++) {
		c.exchange = 100 + i;
		say_first(&c, SCRAM_UNBOUND, STR_NONE);
		REQUIRE(hear_first(&c));
	}
	c.exchange = 99;
	say_first(&c, SCRAM_UNBOUND, STR_NONE);
	CHECK(lab_refused(&l, 99, H_EBUSY, NULL));
	proof_gone(&l, 100);
	REQUIRE(begin(&c));
	CHECK(is_granted(&c, 4));
	CHECK_EQ_I(lab_stop(&l), 0);
	client_fini(&c);
	lab_fini(&l);
}

/* Wrong proofs of a network are counted as wrong passwords are; who has the right token gets in. */
TEST(prove_scram_wrong_proofs_count) {
	struct lab l;
	struct client c;
	char token[128], id[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	client_init(&c, &l, id, "wrong");
	for (uint64_t i = 0; i < 8; i++) { /* failed_proofs of this configuration */
		REQUIRE(begin(&c));
		is_refused(&c, i, "scram-wrong-proof");
	}
	REQUIRE(begin(&c));
	is_refused(&c, 20, "too-many-failures");
	c.password = token;
	REQUIRE(begin(&c));
	CHECK(is_granted(&c, 21));
	CHECK_EQ_I(lab_stop(&l), 0);
	client_fini(&c);
	lab_fini(&l);
}

/* ---- OAUTHBEARER ---- */

TEST(prove_bearer) {
	struct lab l;
	struct grant_msg g;
	char token[128], id[64], ref[16];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	struct lab_asking a = { .token = token, .kind = PROOF_BEARER, .hint = "oauth" };

	REQUIRE(lab_granted(&l, 1, &a, &g));
	CHECK_EQ_U(g.g.server_final.n, 0);
	CHECK(lab_has(&l.open_json, "\"proof\":{\"method\":\"oauth\",\"mechanism\":\"OAUTHBEARER\","
	                            "\"key_id\":\"\",\"channel_binding\":\"none\"}"));
	a.hint = "";
	CHECK(lab_granted(&l, 2, &a, &g)); /* the connection's default */
	a.hint = id;
	lab_admit(&l, 3, &a);
	REQUIRE(lab_refused(&l, 3, H_EREFUSED, ref) && why_is(&l, ref, "unknown-hint"));
	CHECK(l.challenge[0] != '\0');
	a.hint = "oauth";
	/* Asked often enough to be too much, were it a wrong proof. */
	for (uint64_t i = 0; i < 12; i++) {
		a.token = "";
		lab_admit(&l, 10 + i, &a);
		REQUIRE(lab_refused(&l, 10 + i, H_EREFUSED, ref));
		CHECK_EQ_STR(str_of(l.challenge),
		             STR("{\"status\":\"invalid_token\",\"scope\":\"openid\"}"));
	}
	CHECK(why_is(&l, ref, "oauth-discovery"));
	a.token = "nonsense";
	lab_admit(&l, 30, &a);
	REQUIRE(lab_refused(&l, 30, H_EREFUSED, ref) && why_is(&l, ref, "malformed-proof"));
	a.kind = PROOF_PASSWORD;
	a.hint = "";
	lab_admit(&l, 31, &a);
	REQUIRE(lab_refused(&l, 31, H_EREFUSED, NULL));
	CHECK_EQ_STR(str_of(l.challenge), STR("")); /* who speaks no SASL gets no challenge */
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

/* ---- state.db ---- */

/* A file of the first version gains the columns; its tokens are as good as before, as passwords. */
TEST(prove_state_of_version_1) {
	char dir[] = "/tmp/hansard-state-XXXXXX";
	struct arena *a = arena_new(64 * KIB);
	struct state *s = NULL;
	struct token_row row = { 0 };
	struct err e = { 0 };
	sqlite3 *db = NULL;
	uint8_t hash[SHA256_SIZE] = { 1 };

	REQUIRE(mkdtemp(dir) != NULL);
	auto_free char *path = xasprintf("%s/state.db", dir);

	REQUIRE(state_open(&s, path, &e) == 0);
	state_close(&s);
	REQUIRE(sqlite3_open(path, &db) == SQLITE_OK);
	CHECK_EQ_I(sqlite3_exec(db,
	                        "ALTER TABLE tokens DROP COLUMN salt;"
	                        "ALTER TABLE tokens DROP COLUMN iterations;"
	                        "ALTER TABLE tokens DROP COLUMN stored_key;"
	                        "ALTER TABLE tokens DROP COLUMN server_key;"
	                        "INSERT INTO tokens(hash, id, who, issued, expires)"
	                        " VALUES(x'01' || zeroblob(31), 'k', '{}', 1, 2);"
	                        "PRAGMA user_version = 1;",
	                        NULL, NULL, NULL),
	           SQLITE_OK);
	(void)sqlite3_close(db);
	REQUIRE(state_open(&s, path, &e) == 0);
	CHECK_EQ_I(state_token_find(s, STR("k"), a, &row), 0);
	CHECK(!row.has_verifier && row.expires_wall_ns == 2);
	hash[0] = 2;
	row = (struct token_row){ .id = STR("n"), .who = STR("{}"), .has_verifier = true };
	memset(row.verifier.stored_key, 9, SHA256_SIZE);
	row.verifier.iterations = SCRAM_ITERATIONS;
	CHECK_EQ_I(state_token_put(s, hash, &row), 0);
	struct token_row back = { 0 };

	CHECK_EQ_I(state_token_find(s, STR("n"), a, &back), 0);
	CHECK(back.has_verifier &&
	      memcmp(&back.verifier, &row.verifier, sizeof(row.verifier)) == 0);
	CHECK_EQ_I(state_token_find(s, STR("m"), a, &back), H_ENOTFOUND);
	CHECK_EQ_I(state_token_put(s, hash, &row), H_EEXIST);
	state_close(&s);
	(void)remove(path);
	(void)rmdir(dir);
	arena_free(&a);
}

TEST_MAIN
