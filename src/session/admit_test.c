/* admit_test.c: ADMIT and GRANT there and back, cut at every byte, and with every byte changed. */
#include "session/admit.h"

#include "base/test.h"

static void sample_admit(struct buf *b) {
	struct admit_msg m = { .ring = 3,
		               .slot = 7,
		               .generation = 9,
		               .protocol = STR("postgres"),
		               .admit = { .connection = STR("shop"),
		                          .role = STR("ro"),
		                          .database = STR("db"),
		                          .hint = STR("oauth"),
		                          .proof_kind = PROOF_PASSWORD,
		                          .proof = STR("hsd1_x"),
		                          .client_app = STR("psql"),
		                          .routed_by = ROUTED_BY_DATABASE,
		                          .is_role_optional = true,
		                          .wants_replication = true,
		                          .cancel_key_size = 4 },
		               .exchange = 77,
		               .client_address = STR("127.0.0.1:5"),
		               .client_tls = STR("TLSv1.3 X"),
		               .server_name = STR("orders.pg") };

	buf_init(b, 64 * KIB);
	admit_put(b, &m);
}

static void sample_grant(struct buf *b) {
	struct grant_msg m = { .grant = 77,
		               .connection = STR("shop"),
		               .role = STR("ro"),
		               .g = { .sid = { 1, 2, 3 },
		                      .short_id = "k7m2-9xqe",
		                      .upstream_user = STR("app"),
		                      .database = STR("shop"),
		                      .server_name = STR("db.example"),
		                      .tls = TLS_VERIFY_FULL,
		                      .is_unix = true,
		                      .hygiene = HYGIENE_OPEN,
		                      .durable = DURABLE_BOTH_WAYS,
		                      .session_max_ns = 5,
		                      .session_grace_ns = 6,
		                      .is_tls_direct = true,
		                      .cancel_key_size = 32,
		                      .keeps_credentials = true,
		                      .cancel_key = { 9, 8, 7, 6, [31] = 5 },
		                      .server_final = STR("v=x") },
		               .hide_key = { 9, [31] = 8 } };

	buf_init(b, 64 * KIB);
	grant_put(b, &m);
}

TEST(admit_there_and_back) {
	struct admit_msg m;
	struct buf b;

	sample_admit(&b);
	REQUIRE(admit_get(&m, buf_peek(&b)) == 0);
	CHECK_EQ_U(m.ring, 3);
	CHECK_EQ_U(m.slot, 7);
	CHECK_EQ_U(m.generation, 9);
	CHECK_EQ_STR(m.protocol, STR("postgres"));
	CHECK_EQ_STR(m.admit.connection, STR("shop"));
	CHECK_EQ_STR(m.admit.role, STR("ro"));
	CHECK_EQ_STR(m.admit.database, STR("db"));
	CHECK_EQ_STR(m.admit.hint, STR("oauth"));
	CHECK_EQ_STR(m.admit.proof, STR("hsd1_x"));
	CHECK_EQ_STR(m.admit.client_app, STR("psql"));
	CHECK_EQ_STR(m.client_address, STR("127.0.0.1:5"));
	CHECK_EQ_STR(m.client_tls, STR("TLSv1.3 X"));
	CHECK_EQ_STR(m.server_name, STR("orders.pg"));
	CHECK(m.admit.routed_by == ROUTED_BY_DATABASE && m.admit.is_role_optional);
	CHECK(m.admit.wants_replication && m.admit.cancel_key_size == 4);
	CHECK_EQ_U(m.exchange, 77);
	buf_fini(&b);
}

TEST(grant_there_and_back) {
	struct grant_msg m;
	struct buf b;

	sample_grant(&b);
	REQUIRE(grant_get(&m, buf_peek(&b)) == 0);
	CHECK_EQ_U(m.grant, 77);
	CHECK(m.g.sid[0] == 1 && m.g.sid[2] == 3);
	CHECK_EQ_STR(str_of(m.g.short_id), STR("k7m2-9xqe"));
	CHECK_EQ_STR(m.g.upstream_user, STR("app"));
	CHECK_EQ_STR(m.g.server_name, STR("db.example"));
	CHECK(m.g.tls == TLS_VERIFY_FULL && m.g.is_unix && m.g.hygiene == HYGIENE_OPEN);
	CHECK(m.g.durable == DURABLE_BOTH_WAYS && m.g.session_max_ns == 5);
	CHECK_EQ_U(m.g.session_grace_ns, 6);
	CHECK(m.g.cancel_key_size == 32 && m.g.cancel_key[3] == 6 && m.g.cancel_key[31] == 5);
	CHECK(m.g.is_tls_direct && !m.g.is_replication);
	CHECK(m.g.keeps_credentials && m.hide_key[0] == 9 && m.hide_key[31] == 8);
	CHECK_EQ_STR(m.role, STR("ro"));
	CHECK_EQ_STR(m.g.server_final, STR("v=x"));
	buf_fini(&b);
}

TEST(admit_cut_short) {
	struct admit_msg a;
	struct grant_msg g;
	struct buf b;

	sample_admit(&b);
	for (size_t n = 0; n < b.len; n++)
		CHECK(admit_get(&a, str_head(buf_peek(&b), n)) < 0);
	w_u8(&b, 0);
	CHECK(admit_get(&a, buf_peek(&b)) == H_EFORMAT);
	buf_fini(&b);
	sample_grant(&b);
	for (size_t n = 0; n < b.len; n++)
		CHECK(grant_get(&g, str_head(buf_peek(&b), n)) < 0);
	buf_fini(&b);
}

/* Enums outside their range are refused; nothing else may crash. */
TEST(admit_bytes_changed) {
	struct admit_msg a;
	struct grant_msg g;
	struct buf b;
	int refused = 0;

	sample_grant(&b);
	for (size_t i = 0; i < b.len; i++) {
		b.p[b.off + i] ^= 0xff;
		refused += grant_get(&g, buf_peek(&b)) < 0;
		b.p[b.off + i] ^= 0xff;
	}
	CHECK(refused >= 8);
	buf_fini(&b);
	sample_admit(&b);
	for (size_t i = 0; i < b.len; i++) {
		b.p[b.off + i] ^= 0xff;
		refused += admit_get(&a, buf_peek(&b)) < 0;
		b.p[b.off + i] ^= 0xff;
	}
	CHECK(refused >= 16);
	buf_fini(&b);
}

TEST_MAIN
