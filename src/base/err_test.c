/* err_test.c: the error table and struct err. */
#include "base/err.h"

#include "base/test.h"

TEST(err_table) {
	CHECK_EQ_STR(str_of(h_err_name(0)), STR("OK"));
	CHECK_EQ_STR(str_of(h_err_name(42)), STR("OK"));
	CHECK_EQ_STR(str_of(h_err_name(H_EIO)), STR("EIO"));
	CHECK_EQ_STR(str_of(h_err_name(H_EBUG)), STR("EBUG"));
	CHECK_EQ_STR(str_of(h_err_name(H_EBUG - 1)), STR("E?"));
	CHECK_EQ_STR(str_of(h_err_name(INT32_MIN)), STR("E?"));
	CHECK_EQ_STR(str_of(h_err_text(H_EREFUSED)), STR("not admitted"));
	CHECK_EQ_STR(str_of(h_err_class(H_EREFUSED)), STR("policy"));
	CHECK_EQ_STR(str_of(h_err_class(H_EBUG)), STR("bug"));
	/* The numbers are on the record: they must never move. */
	CHECK_EQ_I(H_EIO, -1);
	CHECK_EQ_I(H_EPROTO, -4);
	CHECK_EQ_I(H_ERECORDER, -12);
}

TEST(err_first_writer_wins) {
	struct err e = { .code = 0 };

	CHECK_EQ_I(err_at(&e, H_ECONFIG, "f.yaml:3", "unknown key \"%s\"", "pth"), H_ECONFIG);
	CHECK_EQ_I(err_set(&e, H_EIO, "later"), H_EIO);
	CHECK_EQ_I(e.code, H_ECONFIG);
	CHECK_EQ_STR(str_of(e.where), STR("f.yaml:3"));
	CHECK_EQ_STR(str_of(e.text), STR("unknown key \"pth\""));
	CHECK_EQ_I(err_set(NULL, H_EIO, "nobody reads this"), H_EIO);
}

TEST(err_text_is_cut) {
	struct err e = { .code = 0 };

	CHECK_EQ_I(err_set(&e, H_EIO, "%0*d", 1000, 1), H_EIO);
	CHECK_EQ_U(strlen(e.text), sizeof(e.text) - 1);
}

TEST(allocation) {
	auto_free char *s = xasprintf("%d-%s", 7, "x");
	auto_free char *d = xstrdup("dup");
	auto_free char *none = xmalloc(0);
	auto_free uint8_t *z = xcalloc(3, 5);
	char *taken = take_ptr(&d);

	CHECK_EQ_STR(str_of(s), STR("7-x"));
	CHECK(d == NULL);
	CHECK(none != NULL);
	CHECK(z[0] == 0 && z[14] == 0);
	taken = xrealloc(taken, 100);
	CHECK_EQ_STR(str_of(taken), STR("dup"));
	free(taken);
}

TEST_MAIN
