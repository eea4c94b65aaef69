/* snapshot_test.c: round trip, every shortening and every flip is refused or harmless, seals. */
#include "config/snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/test.h"

static void build(struct buf *b, uint8_t hash[SHA256_SIZE], const char *key) {
	struct snapshot_listener l[] = {
		{ .protocol = STR("postgres"),
		  .address = STR("127.0.0.1:1"),
		  .has_tls = true,
		  .cert_pem = STR("cert"),
		  .key_pem = str_of(key) },
		{ .protocol = STR("postgres"), .address = STR("127.0.0.1:2") },
	};
	struct snapshot_target t[] = {
		{ .connection = STR("a"),
		  .protocol = STR("postgres"),
		  .tls = 3,
		  .ca_pem = STR("ca"),
		  .server_name = STR("db") },
		{ .connection = STR("ab"), .protocol = STR("postgres"), .proof = 2 },
		{ .connection = STR("b"), .protocol = STR("postgres"), .tls = 1 },
	};
	struct snapshot s = { .sessions_max = 7,
		              .preadmission_max = 8,
		              .admission_ns = 9,
		              .domain = STR("pg.example"),
		              .listeners = l,
		              .listener_count = 2,
		              .targets = t,
		              .target_count = 3 };

	buf_init(b, 65536);
	if (snapshot_encode(b, &s) < 0)
		abort();
	memcpy(hash, s.hash, SHA256_SIZE);
}

TEST(snapshot_round_trip) {
	struct buf b;
	uint8_t hash[SHA256_SIZE], other[SHA256_SIZE];
	struct snapshot s;

	build(&b, hash, "key");
	int fd = snapshot_seal(buf_peek(&b));

	REQUIRE(fd >= 0);
	CHECK(write(fd, "x", 1) < 0);
	CHECK(ftruncate(fd, 1) < 0);
	CHECK_EQ_I(snapshot_load(&s, fd), 0);
	CHECK(memcmp(hash, s.hash, SHA256_SIZE) == 0);
	CHECK_EQ_U(s.sessions_max, 7);
	CHECK_EQ_U(s.admission_ns, 9);
	CHECK_EQ_STR(s.domain, STR("pg.example"));
	CHECK_EQ_STR(s.listeners[0].key_pem, STR("key"));
	CHECK(!s.listeners[1].has_tls);
	CHECK(s.targets[0].proof == 0 && s.targets[1].proof == 2);
	for (size_t i = 0; i < s.target_count; i++)
		CHECK(snapshot_target_find(&s, s.targets[i].connection) == &s.targets[i]);
	CHECK(snapshot_target_find(&s, STR("aa")) == NULL);
	CHECK(snapshot_target_find(&s, STR_NONE) == NULL);
	snapshot_free(&s);
	close(fd);
	buf_fini(&b);
	build(&b, other, "another key");
	CHECK(memcmp(hash, other, SHA256_SIZE) == 0); /* keys are no part of the hash */
	buf_fini(&b);
}

TEST(snapshot_refuses) {
	struct buf b;
	uint8_t hash[SHA256_SIZE];
	struct snapshot s;

	build(&b, hash, "key");
	struct str all = buf_peek(&b);

	for (size_t n = 0; n < all.n; n++)
		CHECK(snapshot_parse(&s, str_head(all, n)) < 0);
	auto_free char *copy = xmalloc(all.n + 1);

	for (size_t i = 0; i < all.n; i++) {
		memcpy(copy, all.p, all.n);
		copy[i] = (char)(copy[i] ^ 0x80);
		if (snapshot_parse(&s, str_mem(copy, all.n)) == 0)
			snapshot_free(&s);
	}
	memcpy(copy, all.p, all.n);
	CHECK(snapshot_parse(&s, str_mem(copy, all.n + 1)) < 0);
	buf_fini(&b);
	int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	REQUIRE(fd >= 0);
	CHECK_EQ_I(snapshot_load(&s, fd), H_EFORMAT); /* not sealed */
	close(fd);
}

TEST_MAIN
