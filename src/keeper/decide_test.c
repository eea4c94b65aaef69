/* decide_test.c: each reason of refusal, in its order; refusals are aggregated; rates are limited. */
#include "keeper/decide.h"

#include "base/test.h"
#include "keeper/refuse.h"

static const char text[] =
	"apiVersion: hansard/v1\nkind: Gateway\n"
	"spec: { limits: { sessions: 10, sessions_per_identity: 3 } }\n---\n"
	"apiVersion: hansard/v1\nkind: Connection\nmetadata: { name: shop }\nspec:\n"
	"  protocol: postgres\n  address: 127.0.0.1:1\n"
	"  databases: { default: shop, allow: [shop, other] }\n"
	"  roles: { default: { user: app, auth: trust }, ro: { user: r, auth: trust } }\n"
	"  access: [ { groups: [agents], roles: [ro] },"
	" { groups: [admins], roles: [default] } ]\n---\n"
	"apiVersion: hansard/v1\nkind: Connection\nmetadata: { name: any }\nspec:\n"
	"  protocol: postgres\n  address: 127.0.0.1:1\n"
	"  databases: { allow: [\"*\"] }\n"
	"  replication: allow\n"
	"  roles: { default: { user: regress, auth: trust } }\n"
	"  access: [ { groups: [agents], roles: [default] } ]\n";

static struct config *load(struct findings *f) {
	findings_init(f);
	struct config *c = config_parse(str_of(text), STR("t"), STR("/"), f);

	if (c == NULL)
		abort();
	return c;
}

struct knobs {
	struct admit admit;
	struct who who;
	struct decide_ask ask;
};

/* An ask that is granted: role ro of shop. */
static void good(struct knobs *k) {
	*k = (struct knobs){ .admit = { .connection = STR("shop"), .role = STR("ro") } };
	k->who = (struct who){ .kind = WHO_AGENT,
		               .subject = STR("local:ci"),
		               .groups = { STR("agents") },
		               .group_count = 1 };
	k->ask = (struct decide_ask){ .admit = &k->admit,
		                      .protocol = STR("postgres"),
		                      .proof = PROOF_IS_FOUND,
		                      .who = &k->who,
		                      .expires_wall_ns = 100,
		                      .now_wall_ns = 50 };
}

#define EXPECT(change, want) \
	do { \
		struct knobs k; \
		good(&k); \
		change; \
		struct decision d = decide(c, &k.ask); \
		CHECK_EQ_U(d.reason, want); \
		CHECK((d.connection != NULL) == ((want) == REFUSE_NONE)); \
	} while (0)

TEST(decide_each_reason) {
	struct findings f;
	struct config *c = load(&f);

	EXPECT((void)0, REFUSE_NONE);
	EXPECT(k.ask.is_draining = true, REFUSE_DRAINING);
	EXPECT((k.ask.is_rate_limited = true, k.ask.proof = PROOF_IS_MALFORMED), REFUSE_RATE);
	EXPECT((k.ask.is_rate_limited = true, k.ask.now_wall_ns = 100), REFUSE_RATE);
	EXPECT(k.ask.is_rate_limited = true, REFUSE_NONE); /* others' mistakes lock nobody out */
	EXPECT(k.ask.proof = PROOF_IS_MALFORMED, REFUSE_MALFORMED);
	EXPECT(k.admit.proof_kind = PROOF_NONE, REFUSE_MALFORMED);
	EXPECT((k.ask.proof = PROOF_IS_UNKNOWN, k.ask.who = NULL), REFUSE_UNKNOWN);
	EXPECT((k.ask.proof = PROOF_IS_REFUSED, k.ask.proof_reason = REFUSE_TOKEN_AUDIENCE,
	        k.ask.who = NULL),
	       REFUSE_TOKEN_AUDIENCE);
	EXPECT((k.ask.proof = PROOF_IS_REFUSED, k.ask.proof_reason = REFUSE_TOKEN_AUDIENCE,
	        k.ask.who = NULL, k.ask.is_rate_limited = true),
	       REFUSE_RATE);
	EXPECT(k.ask.now_wall_ns = 100, REFUSE_EXPIRED);
	EXPECT(k.ask.now_wall_ns = 99, REFUSE_NONE);
	EXPECT(k.ask.revoked_wall_ns = 1, REFUSE_REVOKED);
	EXPECT(k.admit.hint = STR("oauth"), REFUSE_HINT);
	EXPECT(k.who.connection = STR("any"), REFUSE_RESTRICTED);
	EXPECT(k.who.connection = STR("shop"), REFUSE_NONE);
	EXPECT(k.admit.connection = STR("shoop"), REFUSE_NO_CONNECTION);
	EXPECT(k.ask.protocol = STR("mysql"), REFUSE_NO_CONNECTION);
	EXPECT(k.admit.role = STR("rw"), REFUSE_NO_ROLE);
	/* routed by host or database: a user name that is no role means the default one */
	EXPECT((k.admit.role = STR("postgres"), k.admit.is_role_optional = true), REFUSE_NO_ACCESS);
	EXPECT((k.admit.role = STR("postgres"), k.admit.is_role_optional = true,
	        k.who.groups[0] = STR("admins")),
	       REFUSE_NONE);
	EXPECT((k.admit.is_role_optional = true), REFUSE_NONE); /* ro is one */
	EXPECT(k.admit.wants_replication = true, REFUSE_REPLICATION);
	EXPECT((k.admit.wants_replication = true, k.admit.connection = STR("any"),
	        k.admit.role = STR_NONE, k.admit.database = STR("x")),
	       REFUSE_NONE);
	EXPECT((k.admit.wants_replication = true, k.who.group_count = 0), REFUSE_NO_ACCESS);
	EXPECT(k.admit.role = STR("default"), REFUSE_NO_ACCESS); /* another group's role */
	EXPECT(k.admit.role = STR_NONE, REFUSE_NO_ACCESS);
	EXPECT((k.who.groups[0] = STR("admins"), k.admit.role = STR_NONE), REFUSE_NONE);
	EXPECT(k.who.group_count = 0, REFUSE_NO_ACCESS);
	EXPECT(k.admit.database = STR("secret"), REFUSE_NO_DATABASE);
	EXPECT(k.admit.database = STR("other"), REFUSE_NONE);
	EXPECT(k.ask.sessions = 10, REFUSE_SESSIONS);
	EXPECT(k.ask.identity_sessions = 3, REFUSE_IDENTITY_SESSIONS);
	EXPECT(k.ask.is_store_refusing = true, REFUSE_STORE);
	/* The proof comes first: who cannot prove learns nothing about names. */
	EXPECT((k.ask.proof = PROOF_IS_UNKNOWN, k.admit.connection = STR("nope")), REFUSE_UNKNOWN);
	config_free(&c);
	findings_fini(&f);
}

TEST(decide_database) {
	struct findings f;
	struct config *c = load(&f);
	struct knobs k;

	good(&k);
	CHECK_EQ_STR(decide(c, &k.ask).database, STR("shop"));
	k.admit.connection = STR("any");
	k.admit.role = STR_NONE;
	CHECK_EQ_STR(decide(c, &k.ask).database, STR("regress")); /* like the role's user */
	k.admit.database = STR("Whatever");
	CHECK_EQ_STR(decide(c, &k.ask).database, STR("Whatever"));
	config_free(&c);
	findings_fini(&f);
}

TEST(decide_texts) {
	for (unsigned i = REFUSE_NONE + 1; i < REFUSE_COUNT; i++) {
		const struct refuse_text *t = refuse_text((enum refuse_reason)i);

		CHECK(t->code < 0 && t->what[0] != '\0' && t->advice[0] != '\0');
		CHECK_EQ_U(refuse_reason_of(str_of(t->name)), i);
	}
	CHECK_EQ_U(refuse_reason_of(STR("nonsense")), REFUSE_NONE);
}

/* ---- refusals ---- */
struct told {
	unsigned n;
	struct refusal last;
};

static void tell(void *arg, const struct refusal *r) {
	struct told *t = arg;

	t->n++;
	t->last = *r;
}

static void add(struct refusals *r, const char *source, enum refuse_reason reason, uint64_t now,
                char ref[SHORT_ID_SIZE]) {
	struct refusal what = { .reason = reason, .last_wall_ns = now };

	(void)snprintf(what.source, sizeof(what.source), "%s", source);
	refusals_add(r, &what, now, ref);
}

TEST(refusals_aggregate) {
	struct told t = { 0 };
	struct refusals *r = refusals_new(tell, &t);
	char ref[SHORT_ID_SIZE], again[SHORT_ID_SIZE];
	uint64_t s = NS_PER_S;

	add(r, "10.0.0.0/24", REFUSE_UNKNOWN, 1 * s, ref);
	CHECK_EQ_U(t.n, 1); /* the first at once */
	for (int i = 0; i < 1000; i++)
		add(r, "10.0.0.0/24", REFUSE_UNKNOWN, 2 * s, again);
	CHECK(strcmp(ref, again) == 0 && strlen(ref) == 9);
	CHECK_EQ_U(t.n, 1); /* then counts */
	CHECK_EQ_U(refusals_beat(r, 3 * s), 11 * s);
	CHECK_EQ_U(t.n, 1);
	(void)refusals_beat(r, 11 * s);
	CHECK_EQ_U(t.n, 2);
	CHECK_EQ_U(t.last.count, 1001);
	add(r, "10.0.0.0/24", REFUSE_EXPIRED, 12 * s, again);
	CHECK(strcmp(ref, again) != 0); /* another reason, another bucket */
	add(r, "10.0.1.0/24", REFUSE_UNKNOWN, 12 * s, again);
	CHECK(strcmp(ref, again) != 0);
	CHECK_EQ_U(t.n, 4);
	(void)refusals_beat(r, 2 * REFUSE_QUIET_NS);
	add(r, "10.0.0.0/24", REFUSE_UNKNOWN, 2 * REFUSE_QUIET_NS, again);
	CHECK(strcmp(ref, again) != 0); /* forgotten after an hour of quiet */
	refusals_free(&r);
}

TEST(refusals_bounded) {
	struct told t = { 0 };
	struct refusals *r = refusals_new(tell, &t);
	char ref[SHORT_ID_SIZE], source[REFUSE_SOURCE_SIZE];

	for (unsigned i = 0; i < 3 * REFUSE_BUCKETS_MAX; i++) {
		(void)snprintf(source, sizeof(source), "10.%u.%u.0/24", i / 256, i % 256);
		add(r, source, REFUSE_UNKNOWN, i, ref);
	}
	CHECK_EQ_U(t.n, 3 * REFUSE_BUCKETS_MAX);
	for (unsigned i = 0; i < 2 * REFUSE_SOURCES_MAX; i++) {
		(void)snprintf(source, sizeof(source), "n%u", i);
		refusals_wrong_proof(r, source, 1);
	}
	CHECK(refusals_limited(r, source, 1, 1));
	refusals_free(&r);
}

TEST(refusals_rate) {
	struct told t = { 0 };
	struct refusals *r = refusals_new(tell, &t);
	uint64_t minute = 60 * NS_PER_S;

	for (int i = 0; i < 3; i++) {
		CHECK(!refusals_limited(r, "a", 3, minute));
		refusals_wrong_proof(r, "a", minute);
	}
	CHECK(refusals_limited(r, "a", 3, minute));
	CHECK(!refusals_limited(r, "b", 3, minute));
	CHECK(!refusals_limited(r, "a", 3, 2 * minute)); /* the next minute */
	refusals_free(&r);
}

TEST(refusals_source) {
	static const char *const cases[][2] = {
		{ "203.0.113.77:51234", "203.0.113.0/24" },
		{ "[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64" },
		{ "[fe80::1%eth0]:1", "fe80::/64" },
		{ "[::1]:5", "::/64" },
		{ "unix", "unix" },
		{ "", "unknown" },
		{ "[", "unknown" },
		{ "1.2.3:4", "unknown" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[REFUSE_SOURCE_SIZE];

		refuse_source(out, str_of(cases[i][0]));
		CHECK_EQ_STR(str_of(out), str_of(cases[i][1]));
	}
}

TEST_MAIN
