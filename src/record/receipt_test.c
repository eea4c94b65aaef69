/* receipt_test.c: a receipt and its text; whatever else looks like one. */
#include "record/receipt.h"

#include "base/test.h"

#define SID "01890a5d-ac96-774b-bcce-b302099a8057"
#define LEAF "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

TEST(receipt_and_back) {
	const char *const texts[] = { "hsr1:" SID ":0:" LEAF ":0",
		                      "hsr1:" SID ":18446744073709551615:" LEAF
		                      ":18446744073709551615" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct receipt r;
		char text[RECEIPT_TEXT_SIZE];

		REQUIRE(receipt_parse(&r, str_of(texts[i])) == 0);
		CHECK(r.frame == r.log_size && r.leaf[0] == 0xe3 && r.sid[0] == 0x01);
		receipt_text(text, &r);
		CHECK_EQ_STR(str_of(text), str_of(texts[i]));
	}
}

TEST(receipt_that_is_none) {
	const char *const texts[] = { "",
		                      "hsr1",
		                      "hsr2:" SID ":0:" LEAF ":0",
		                      "hsr1:" SID ":0:" LEAF,
		                      "hsr1:" SID ":0:" LEAF ":",
		                      "hsr1:" SID ":0:" LEAF ":0:0",
		                      "hsr1:" SID ":00:" LEAF ":0",
		                      "hsr1:" SID ":0:" LEAF ":01",
		                      "hsr1:" SID ":-1:" LEAF ":0",
		                      "hsr1:" SID ":18446744073709551616:" LEAF ":0",
		                      "hsr1:" SID ":0:E3" LEAF ":0",
		                      "hsr1:" SID ":0:abcd:0",
		                      "hsr1:k7m2-9xqe:0:" LEAF ":0",
		                      " hsr1:" SID ":0:" LEAF ":0",
		                      "hsr1:" SID ":0:" LEAF ":0\n" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct receipt r;

		test_check(receipt_parse(&r, str_of(texts[i])) == H_EFORMAT, __FILE__, __LINE__,
		           texts[i]);
	}
}

TEST_MAIN
