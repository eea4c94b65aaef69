/* snap_test.c: what a core may ask of the configuration before anybody has proven anything. */
#include "session/snap.h"

#include "base/test.h"

static void box_make(struct snap_box *b) {
	struct snapshot_target t[] = {
		{ .connection = STR("shop"), .protocol = STR("postgres") },
		{ .connection = STR("web"), .protocol = STR("http") },
	};
	struct snapshot s = { .domain = STR("pg.example"), .targets = t, .target_count = 2 };
	struct snapshot own = { 0 };
	struct buf bytes;

	buf_init(&bytes, 65536);
	REQUIRE(snapshot_encode(&bytes, &s) == 0);
	int fd = snapshot_seal(buf_peek(&bytes));

	REQUIRE(fd >= 0 && snapshot_load(&own, fd) == 0);
	snap_box_init(b);
	REQUIRE(snap_put(b, &own, NULL) == 0);
	close(fd);
	buf_fini(&bytes);
}

TEST(snap_label_of_a_server_name) {
	static const struct {
		const char *name, *label;
	} names[] = {
		{ "shop.pg.example", "shop" },
		{ "shop.PG.Example.", "shop" },
		{ "pg.example", "" },
		{ "a.shop.pg.example", "" },
		{ "shop.pg.example.org", "" },
		{ "shop.xpg.example", "" },
		{ ".pg.example", "" },
		{ "", "" },
		{ "shop", "" },
		{ "shop.", "" },
		{ "none.pg.example", "none" }, /* whether it is one is not asked here */
	};
	struct snap_box box;

	box_make(&box);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		CHECK_EQ_STR(snap_label(&box, str_of(names[i].name)), str_of(names[i].label));
	snap_box_fini(&box);
	snap_box_init(&box); /* before the first configuration came */
	CHECK_EQ_STR(snap_label(&box, STR("shop.pg.example")), STR_NONE);
	snap_box_fini(&box);
}

TEST(snap_connection_of_a_protocol) {
	struct snap_box box;
	struct connection_facts facts;

	box_make(&box);
	CHECK(snap_connection(&box, STR("postgres"), STR("shop"), &facts));
	CHECK_EQ_STR(facts.name, STR("shop"));
	CHECK(!snap_connection(&box, STR("postgres"), STR("web"), &facts));
	CHECK(!snap_connection(&box, STR("postgres"), STR("sho"), &facts));
	CHECK(!snap_connection(&box, STR("postgres"), STR_NONE, &facts));
	snap_box_fini(&box);
}

TEST_MAIN
