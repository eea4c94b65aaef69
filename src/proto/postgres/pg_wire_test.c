/* pg_wire_test.c: every parser on a good body, on every shorter one, and with one byte too many. */
#include "base/test.h"
#include "proto/postgres/pg_wire.h"

/* ---- bodies ---- */

static void sample_client(struct buf *b, uint8_t type) {
	switch (type) {
	case 'Q':
		w_cstr(b, STR("select 1"));
		break;
	case 'P':
		w_cstr(b, STR("name"));
		w_cstr(b, STR("select $1"));
		w_be16(b, 2);
		w_be32(b, 25);
		w_be32(b, 0);
		break;
	case 'B':
		w_bytes(b, STR("portal\0stmt\0\0\1\0\1\0\3\0\0\0\2hi"));
		w_be32(b, UINT32_MAX);
		w_be32(b, 0);
		w_bytes(b, STR("\0\2\0\0\0\1"));
		break;
	case 'C':
	case 'D':
		w_bytes(b, STR("Sname\0"));
		break;
	case 'E':
		w_cstr(b, STR("portal"));
		w_be32(b, 100);
		break;
	case 'F':
		w_bytes(b, STR("\0\0\4\xd2\0\0\0\1\0\0\0\1"
		               "7\0\1"));
		break;
	case 'f':
		w_cstr(b, STR("reason"));
		break;
	default:
		break;
	}
}

static void sample_target(struct buf *b, uint8_t type) {
	switch (type) {
	case 'C':
		w_cstr(b, STR("INSERT 0 5"));
		break;
	case 'D':
		w_bytes(b, STR("\0\2\0\0\0\1x"));
		w_be32(b, UINT32_MAX);
		break;
	case 'E':
		w_bytes(b, STR("SERROR\0VFATAL\0C42601\0Mbad\0zfuture\0\0"));
		break;
	case 'T':
		w_bytes(b, STR("\0\1col\0\0\0\x40\0\0\3\0\0\0\x17\0\4"));
		w_be32(b, UINT32_MAX);
		w_be16(b, 1);
		break;
	case 't':
		w_bytes(b, STR("\0\1\0\0\0\x19"));
		break;
	case 'A':
		w_bytes(b, STR("\0\0\0\x63"
		               "chan\0load\0"));
		break;
	case 'S':
		w_bytes(b, STR("TimeZone\0UTC\0"));
		break;
	case 'Z':
		w_u8(b, 'T');
		break;
	case 'G':
		w_bytes(b, STR("\1\0\2\0\1\0\1"));
		break;
	case 'V':
		w_bytes(b, STR("\0\0\0\3"
		               "abc"));
		break;
	case 'v':
		w_be32(b, PG_PROTOCOL_3_0);
		w_be32(b, 1);
		w_cstr(b, STR("_pq_.x"));
		break;
	default:
		break;
	}
}

static struct str sample(struct buf *b, uint8_t type, bool is_client) {
	buf_init(b, 64 * KIB);
	if (is_client)
		sample_client(b, type);
	else
		sample_target(b, type);
	return buf_peek(b);
}

/* Any of the parsers, by type. */
static int parse(uint8_t type, bool is_client, struct str body) {
	union {
		struct pg_query q;
		struct pg_parse p;
		struct pg_bind b;
		struct pg_named n;
		struct pg_execute e;
		struct pg_function f;
		struct pg_row_desc t;
		struct pg_values v;
		struct pg_oids o;
		struct pg_tag c;
		struct pg_error err;
		struct pg_notify a;
		struct pg_param s;
		uint8_t z;
		struct pg_copy g;
		struct pg_value val;
		struct pg_negotiate neg;
		struct str text;
	} u;
	switch (type) {
	case 'Q':
		return pg_query_parse(&u.q, body);
	case 'P':
		return pg_parse_parse(&u.p, body);
	case 'B':
		return pg_bind_parse(&u.b, body);
	case 'C':
		return is_client ? pg_describe_parse(&u.n, body) : pg_tag_parse(&u.c, body);
	case 'D':
		return is_client ? pg_describe_parse(&u.n, body) : pg_data_row_parse(&u.v, body);
	case 'E':
		return is_client ? pg_execute_parse(&u.e, body) : pg_error_parse(&u.err, body);
	case 'F':
		return pg_function_parse(&u.f, body);
	case 'T':
		return pg_row_desc_parse(&u.t, body);
	case 't':
		return pg_param_desc_parse(&u.o, body);
	case 'A':
		return pg_notify_parse(&u.a, body);
	case 'S':
		return pg_status_parse(&u.s, body);
	case 'Z':
		return pg_ready_parse(&u.z, body);
	case 'G':
		return pg_copy_parse(&u.g, body);
	case 'V':
		return pg_function_result_parse(&u.val, body);
	case 'v':
		return pg_negotiate_parse(&u.neg, body);
	case 'f':
		return pg_copy_fail_parse(&u.text, body);
	default:
		return pg_empty_parse(body);
	}
}

TEST(short_and_long_bodies) {
	static const char client[] = "QPBCDEFfSHXc";
	static const char target[] = "CDETtAZGVv123nIsc";
	for (size_t side = 0; side < 2; side++) {
		const char *types = side == 0 ? client : target;
		for (size_t i = 0; types[i] != '\0'; i++) {
			uint8_t type = (uint8_t)types[i];
			bool is_empty = side == 0 ? strchr("SHXc", type) != NULL
			                          : strchr("123nIsc", type) != NULL;
			uint8_t what = is_empty ? 0 : type;
			struct buf b;
			struct str good = sample(&b, what, side == 0);
			CHECK_EQ_I(parse(what, side == 0, good), 0);
			for (size_t n = 0; n < good.n; n++) {
				auto_free char *cut = xmalloc(n + 1); /* exact, so that ASan sees */
				memcpy(cut, good.p, n);
				CHECK(parse(what, side == 0, str_mem(cut, n)) < 0);
			}
			w_u8(&b, 0);
			CHECK(parse(what, side == 0, buf_peek(&b)) < 0);
			buf_fini(&b);
		}
	}
}

/* Bug 30 (kviklet #534): the portal comes first. */
TEST(bind) {
	struct buf b;
	struct pg_bind m = { 0 };
	struct pg_value v = { 0 };
	REQUIRE(pg_bind_parse(&m, sample(&b, 'B', true)) == 0);
	CHECK_EQ_STR(m.portal, STR("portal"));
	CHECK_EQ_STR(m.statement, STR("stmt"));
	CHECK_EQ_U(pg_format_at(&m.param_formats, 0), 1);
	CHECK_EQ_U(pg_format_at(&m.param_formats, 2), 1); /* one stands for all */
	CHECK_EQ_U(pg_format_at(&m.result_formats, 1), 1);
	CHECK(pg_values_next(&m.params, &v) && !v.is_null);
	CHECK_EQ_STR(v.bytes, STR("hi"));
	CHECK(pg_values_next(&m.params, &v) && v.is_null); /* bug 27: NULL is not "" */
	CHECK(pg_values_next(&m.params, &v) && !v.is_null && v.bytes.n == 0);
	CHECK(!pg_values_next(&m.params, &v));
	buf_fini(&b);
}

TEST(bind_names) {
	struct str portal, statement;
	CHECK_EQ_I(pg_bind_names(&portal, &statement, STR("p\0s\0rest")), 1);
	CHECK_EQ_STR(portal, STR("p"));
	CHECK_EQ_STR(statement, STR("s"));
	CHECK_EQ_I(pg_bind_names(&portal, &statement, STR("p\0s")), 0);
	auto_free char *big = xcalloc(1, 64 * KIB);
	memset(big, 'x', 64 * KIB);
	CHECK(pg_bind_names(&portal, &statement, str_mem(big, 64 * KIB)) < 0);
}

/* Bug 7: every field may be missing; bug: V is not translated, S is. */
TEST(error) {
	struct buf b;
	struct pg_error e = { 0 };
	REQUIRE(pg_error_parse(&e, sample(&b, 'E', false)) == 0);
	CHECK_EQ_STR(e.severity, STR("FATAL"));
	CHECK_EQ_STR(e.sqlstate, STR("42601"));
	CHECK_EQ_STR(e.message, STR("bad"));
	CHECK(e.hint.p == NULL);
	CHECK_EQ_I(pg_error_parse(&e, STR("\0")), 0);
	CHECK(e.sqlstate.p == NULL && e.message.p == NULL);
	CHECK_EQ_I(pg_error_parse(&e, STR("VERROR\0SFEHLER\0\0")), 0);
	CHECK_EQ_STR(e.severity, STR("ERROR"));
	buf_fini(&b);
}

TEST(sasl) {
	struct pg_sasl s = { .message = STR("untouched") };
	struct str whole = STR("SCRAM\0\0\0\0\3n,,");
	CHECK_EQ_I(pg_sasl_parse(&s, whole), 0);
	CHECK_EQ_STR(s.mechanism, STR("SCRAM"));
	CHECK_EQ_STR(s.message, STR("n,,"));
	CHECK(!s.is_empty);
	CHECK_EQ_I(pg_sasl_parse(&s, STR("X\0\0\0\0\0")), 0);
	CHECK(!s.is_empty && s.message.n == 0);
	CHECK_EQ_I(pg_sasl_parse(&s, STR("X\0\xff\xff\xff\xff")), 0);
	CHECK(s.is_empty && s.message.n == 0);
	for (size_t n = 0; n < whole.n; n++)
		CHECK(pg_sasl_parse(&s, str_head(whole, n)) < 0);
	CHECK(pg_sasl_parse(&s, STR("X\0\0\0\0\1ab")) < 0);
	CHECK(pg_sasl_parse(&s, STR("X\0\xff\xff\xff\xfe")) < 0);
	CHECK(pg_sasl_parse(&s, STR("X\0\xff\xff\xff\xffx")) < 0);
}

static void check_tag(const char *text, const char *verb, bool has_rows, uint64_t rows) {
	struct pg_tag t = { 0 };
	CHECK_EQ_I(pg_tag_parse(&t, str_mem(text, strlen(text) + 1)), 0);
	CHECK_EQ_STR(t.verb, str_of(verb));
	CHECK(t.has_rows == has_rows);
	CHECK_EQ_U(t.rows, rows);
}

TEST(tag) {
	check_tag("INSERT 0 5", "INSERT", true, 5);
	check_tag("SELECT 12", "SELECT", true, 12);
	check_tag("COPY 18446744073709551615", "COPY", true, UINT64_MAX);
	check_tag("CREATE TABLE AS", "CREATE TABLE AS", false, 0);
	check_tag("CREATE TABLE", "CREATE TABLE", false, 0);
	check_tag("MOVE 99999999999999999999", "MOVE 99999999999999999999", false, 0);
	check_tag("", "", false, 0);
	check_tag("7", "7", false, 0);
}

TEST(heads) {
	struct pg_head h = { 0 };
	CHECK_EQ_I(pg_head_parse(&h, STR("Q\0\0\0")), 0);
	CHECK_EQ_I(pg_head_parse(&h, STR("Q\0\0\0\x04")), PG_HEAD_SIZE);
	CHECK_EQ_U(h.len, 5);
	CHECK_EQ_I(pg_head_parse(&h, STR("Q\0\0\0\x03")), H_EPROTO);
	CHECK_EQ_I(pg_head_parse(&h, STR("Q\xff\xff\xff\xff")), H_EPROTO);
	CHECK_EQ_I(pg_head_parse(&h, STR("Q\x80\0\0\0")), H_EPROTO);
	CHECK_EQ_I(pg_head_parse(&h, STR("Q\x7f\xff\xff\xff")), PG_HEAD_SIZE);
	CHECK_EQ_U(h.len, (uint64_t)1 << 31);
}

TEST(first_packets) {
	struct pg_start s = { 0 };
	struct pg_params ps = { 0 };
	struct pg_param p = { 0 };
	struct buf b;
	buf_init(&b, 64 * KIB);
	size_t mark = pg_w_start_begin(&b, PG_PROTOCOL_3_0);
	pg_w_param(&b, STR("user"), STR("shop"));
	pg_w_param(&b, STR("options"), STR(""));
	pg_w_start_end(&b, mark);
	for (size_t n = 0; n < b.len; n++)
		CHECK_EQ_I(pg_start_parse(&s, str_head(buf_peek(&b), n)), 0);
	CHECK_EQ_I(pg_start_parse(&s, buf_peek(&b)), (int)b.len);
	CHECK_EQ_U(s.code, PG_PROTOCOL_3_0);
	REQUIRE(pg_params_parse(&ps, s.body) == 0);
	CHECK(pg_params_next(&ps, &p));
	CHECK_EQ_STR(p.value, STR("shop"));
	CHECK(pg_params_next(&ps, &p) && p.value.n == 0);
	CHECK(!pg_params_next(&ps, &p));
	CHECK(pg_params_parse(&ps, STR("user\0x\0")) < 0);
	CHECK(pg_params_parse(&ps, STR("user\0x\0\0more")) < 0);
	CHECK(pg_params_parse(&ps, STR("")) < 0);
	CHECK_EQ_I(pg_start_parse(&s, STR("\0\0\0\x07")), H_EPROTO);
	CHECK_EQ_I(pg_start_parse(&s, STR("\0\0\x27\x11")), H_EPROTO); /* 10001 */
	buf_fini(&b);
}

TEST(cancel) {
	struct pg_start s = { 0 };
	struct pg_cancel c = { 0 };
	struct buf b;
	buf_init(&b, KIB);
	pg_w_cancel(&b, 4242, STR("\1\2\3\4"));
	CHECK_EQ_U(b.len, PG_CANCEL_LEN);
	CHECK_EQ_I(pg_start_parse(&s, buf_peek(&b)), PG_CANCEL_LEN);
	CHECK_EQ_I(pg_cancel_parse(&c, s.body), 0);
	CHECK_EQ_U(c.pid, 4242);
	CHECK_EQ_STR(c.key, STR("\1\2\3\4"));
	CHECK(pg_cancel_parse(&c, STR("\0\0\0\1")) < 0); /* bug 12: an empty key */
	CHECK(pg_cancel_parse(&c, STR("\0\0\0\1\1\2\3")) < 0);
	buf_fini(&b);
}

/* What the builders say, the parsers take. */
TEST(builders) {
	struct buf b;
	struct pg_msg m = { 0 };
	struct pg_error e = { 0 };
	buf_init(&b, 4 * KIB);
	pg_w_say(&b, &(struct pg_say){ .type = 'E',
	                               .severity = STR("FATAL"),
	                               .sqlstate = STR("28000"),
	                               .message = STR("no"),
	                               .hint = STR("try") });
	CHECK_EQ_I(pg_msg_parse(&m, buf_peek(&b)), (int64_t)b.len);
	CHECK_EQ_I(pg_error_parse(&e, m.body), 0);
	CHECK_EQ_STR(e.severity, STR("FATAL"));
	CHECK_EQ_STR(e.hint, STR("try"));
	CHECK(e.detail.p == NULL);
	buf_clear(&b);
	struct pg_negotiate n = { 0 };
	size_t mark = pg_w_negotiate_begin(&b, PG_PROTOCOL_3_0, 1);
	w_cstr(&b, STR("_pq_.x"));
	pg_w_end(&b, mark);
	CHECK(pg_msg_parse(&m, buf_peek(&b)) > 0);
	CHECK_EQ_I(pg_negotiate_parse(&n, m.body), 0);
	CHECK_EQ_U(n.count, 1);
	CHECK_EQ_STR(rd_cstr(&n.options), STR("_pq_.x"));
	struct buf tiny;
	buf_init(&tiny, 8);
	pg_w_query(&tiny, STR("select too much"));
	CHECK(w_done(&tiny) < 0);
	buf_fini(&tiny);
	buf_fini(&b);
}

static void check_verb(const char *text, const char *verb) {
	char out[PG_VERB_MAX];
	size_t n = pg_verb(out, str_of(text));
	CHECK_EQ_STR(str_mem(out, n), str_of(verb));
}

TEST(verbs) {
	check_verb("select 1", "SELECT");
	check_verb("  \n\t/* a /* nested */ b */ -- line\n ;; ((Update x", "UPDATE");
	check_verb("", "");
	check_verb("/* never closed", "");
	check_verb("-- only a comment", "");
	check_verb("\"quoted\"", "");
	check_verb("$1", "");
	check_verb("a_word_that_is_longer_than_the_limit", "A_WORD_THAT_IS_LONGER_TH");
	check_verb("-", "");
	check_verb("/", "");
	check_verb("/*/ x */ commit", "COMMIT");
}

TEST(names_of_types) {
	CHECK_EQ_STR(str_of(pg_client_name('Q')), STR("Query"));
	CHECK_EQ_STR(str_of(pg_target_name('D')), STR("DataRow"));
	CHECK(pg_client_name('Z') == NULL);
	CHECK_EQ_U(pg_client_cap(255), 0);
	CHECK_EQ_U(pg_target_cap('Z'), 64 * KIB);
}

/* One table names the fields of an error, for exports and for people. */
TEST(pg_field_keys_differ) {
	static const char codes[] = "SVCMDHPpqWstcdnFLR";

	for (size_t i = 0; i + 1 < sizeof(codes); i++) {
		REQUIRE(pg_field_key((uint8_t)codes[i]) != NULL);
		for (size_t k = 0; k < i; k++)
			CHECK(strcmp(pg_field_key((uint8_t)codes[i]),
			             pg_field_key((uint8_t)codes[k])) != 0);
	}
	CHECK_EQ_STR(str_of(pg_field_key('q')), STR("internal_query"));
	CHECK(pg_field_key('?') == NULL && pg_field_key(0) == NULL && pg_field_key(255) == NULL);
}

TEST_MAIN
