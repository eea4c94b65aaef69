/*
 * pg_core_fuzz.c: the core as a random stream of bytes and events.
 *
 * The input is a program: each step takes an opcode byte and its operands. Half of the steps say a
 * well-formed message, so that deep states are reached; the rest say raw bytes or raise events in any
 * order. pg_shell checks after each that the core kept its promises (consumption within what was
 * shown, from the front, once; nothing to the target before the grant; no order after the end; every
 * command points at a message and its hash is that of its text); here the memory bound is added.
 */
#include "proto/postgres/pg_shell.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc unused_arg, char ***argv unused_arg) {
	crypto_setup();
	return 0;
}

static const char client_types[] = "QPBDECFSHXdcfp";
static const char target_types[] = "12TDCZEtnsIGHdcVNASKRWv3";

static struct str a_query(uint8_t arg) {
	static const char *const texts[] = { "show hansard.receipt",
		                             "set hansard.a = 'b'",
		                             "set names 'x'",
		                             "copy t from stdin",
		                             "select 1",
		                             "select * from t, s.u" };
	return str_of(texts[arg % ARRAY_LEN(texts)]);
}

static struct str a_statement(uint8_t arg) {
	static const char *const texts[] = { "\xff", "show hansard.receipt",
		                             "insert into t values ($1)",
		                             "insert into t values ($1)" };
	return str_of(texts[arg % ARRAY_LEN(texts)]);
}

static struct str a_mechanism(uint8_t arg) {
	static const char *const texts[] = { "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER",
		                             "text" };
	return str_of(texts[arg % ARRAY_LEN(texts)]);
}

static struct str a_portal(uint8_t arg) {
	return arg % 3 == 0 ? STR("port") : STR_NONE;
}

/* A message whose body has the right shape, with small operands. */
static void put_client(struct buf *b, uint8_t type, uint8_t arg) {
	static const uint32_t lengths[] = { UINT32_MAX, 3, 11, 11 };
	size_t mark = pg_w_begin(b, type);
	char name[2] = { (char)('a' + arg % 3), 0 };
	struct str s = arg % 4 == 0 ? STR_NONE : str_of(name);
	switch (type) {
	case 'Q':
		w_cstr(b, a_query(arg));
		break;
	case 'P':
		w_cstr(b, s);
		w_cstr(b, a_statement(arg));
		w_be16(b, 0);
		break;
	case 'B':
		w_cstr(b, a_portal(arg));
		w_cstr(b, s);
		w_zero(b, 6);
		break;
	case 'D':
	case 'C':
		w_u8(b, arg % 2 == 0 ? 'S' : 'P');
		w_cstr(b, s);
		break;
	case 'E':
		w_cstr(b, a_portal(arg));
		w_be32(b, arg);
		break;
	case 'F':
		w_zero(b, 10);
		break;
	case 'd':
		w_zero(b, arg);
		break;
	case 'p':
		w_cstr(b, a_mechanism(arg));
		w_be32(b, lengths[arg / 4 % ARRAY_LEN(lengths)]);
		w_bytes(b, STR("n,,\1auth=\1\1"));
		break;
	case 'f':
		w_cstr(b, STR("text"));
		break;
	default:
		break;
	}
	pg_w_end(b, mark);
}

static void put_row_desc(struct buf *b, uint8_t arg) {
	w_be16(b, arg % 2);
	if (arg % 2 == 0)
		return;
	w_cstr(b, STR("c"));
	w_be32(b, 16384 + arg % 8);
	w_be16(b, 1);
	w_be32(b, 23);
	w_zero(b, 8);
}

/* A row as a look-up of names gets it, or an empty one. */
static void put_names_row(struct buf *b, uint8_t arg) {
	static const char *const values[] = { "1", "16400", "16400", "public", "t",
		                              "r", "1",     "id",    "integer" };
	w_be16(b, arg % 3 == 0 ? 0 : ARRAY_LEN(values));
	for (size_t i = 0; arg % 3 != 0 && i < ARRAY_LEN(values); i++) {
		struct str v = str_of(values[i]);
		bool is_null = arg % 3 == 2 && i > 1;
		w_be32(b, is_null ? UINT32_MAX : (uint32_t)v.n);
		w_bytes(b, is_null ? STR_NONE : v);
	}
}

static void put_target(struct buf *b, uint8_t type, uint8_t arg) {
	static const char *const tags[] = { "SELECT 1", "INSERT 0 3", "DISCARD ALL", "SET",
		                            "COPY 9" };
	size_t mark = pg_w_begin(b, type);
	switch (type) {
	case 'T':
		put_row_desc(b, arg);
		break;
	case 'D':
		put_names_row(b, arg);
		break;
	case 't':
		w_be16(b, 0);
		break;
	case 'C':
		w_cstr(b, str_of(tags[arg % ARRAY_LEN(tags)]));
		break;
	case 'Z':
		w_u8(b, (uint8_t) "ITE"[arg % 3]);
		break;
	case 'E':
	case 'N':
		w_bytes(b, arg % 9 == 0 ? STR("SFATAL\0C57P01\0") : STR("SERROR\0C42601\0Mx\0"));
		w_u8(b, 0);
		break;
	case 'G':
	case 'H':
	case 'W':
		w_zero(b, 3);
		break;
	case 'V':
		w_be32(b, UINT32_MAX);
		break;
	case 'A':
		w_be32(b, 1);
		w_zero(b, 2);
		break;
	case 'S':
		w_cstr(b, arg % 8 == 0 ? STR("client_encoding") : STR("TimeZone"));
		w_cstr(b, arg % 16 == 0 ? STR("LATIN1") : STR("UTF8"));
		break;
	case 'K':
		w_zero(b, arg % 3 == 0 ? 4 + (size_t)arg : 8);
		break;
	case 'v':
		w_be32(b, PG_PROTOCOL_3_0 + arg % 3);
		w_be32(b, arg / 64);
		w_zero(b, arg / 64);
		break;
	case 'R':
		w_be32(b, arg % 3 == 0 ? PG_AUTH_OK : arg);
		w_zero(b, arg % 5);
		break;
	case 'd':
		w_zero(b, arg);
		break;
	default:
		break;
	}
	pg_w_end(b, mark);
}

static void put_first(struct buf *b, uint8_t arg) {
	if (arg % 4 == 0) {
		pg_w_ssl_request(b);
	} else if (arg % 4 == 1) {
		w_be32(b, 8);
		w_be32(b, PG_CODE_GSSENC);
	} else if (arg == 2) {
		pg_w_cancel(b, 7, STR("\1\2\3\4"));
	} else if (arg == 6) {
		w_u8(b, PG_TLS_RECORD);
	} else {
		static const char *const users[] = { "shop", "ro.shop+x", "postgres", "by-oauth",
			                             "x+y" };
		static const char *const databases[] = { "", "shop", "orders/db", "/", "x" };
		static const char *const modes[] = { "off", "database", "true", "maybe" };
		size_t mark = pg_w_start_begin(b, PG_PROTOCOL_3_0 + arg / 8 % 4);
		pg_w_param(b, STR("user"), str_of(users[arg % ARRAY_LEN(users)]));
		pg_w_param(b, STR("database"), str_of(databases[arg / 4 % ARRAY_LEN(databases)]));
		pg_w_param(b, STR("replication"), str_of(modes[arg / 32 % ARRAY_LEN(modes)]));
		pg_w_param(b, STR("options"),
		           arg % 16 == 3 ? STR("-c a=b -c hansard.c=d") : STR("--jit=off"));
		pg_w_param(b, STR("_pq_.x"), STR("y"));
		pg_w_start_end(b, mark);
	}
}

static void raise_event(struct pg_shell *sh, uint8_t arg) {
	static const int codes[] = { 0, H_EIO, H_EKILLED, H_ERECORDER, H_EEXPIRED };
	struct event ev = { .kind = (enum event_kind)(arg % EV_KIND_COUNT),
		            .side = (enum side)(arg / 16 % SIDE_COUNT),
		            .code = codes[arg / 8 % ARRAY_LEN(codes)],
		            .is_done = arg & 64,
		            .text = STR("text"),
		            .bytes = STR("answer") };
	struct grant g = shell_grant(arg & 16 ? HYGIENE_OPEN : HYGIENE_PINNED,
	                             arg & 32 ? TLS_VERIFY_FULL : TLS_DISABLE);
	struct tls_facts tls = { .alpn = arg & 32 ? STR(PG_ALPN) : STR_NONE,
		                 .end_point = arg & 16 ? STR("hash") : STR_NONE,
		                 .label = arg & 64 ? STR("orders") : STR("none") };
	g.is_tls_direct = arg & 64;
	g.is_replication = sh->wants_replication;
	g.cancel_key_size = sh->key_size;
	if (ev.kind == EV_GRANTED)
		ev.grant = &g;
	if (ev.kind == EV_TLS_UP)
		ev.tls = &tls;
	if (ev.kind == EV_TLS_UP && !sh->in_tls[ev.side])
		return; /* the shell raises it only after ORD_TLS */
	if (ev.kind == EV_GRANTED && sh->core.phase != &pg_phase_admit)
		return;
	shell_event(sh, &ev);
}

static uint64_t memory_of(const struct pg_core *c) {
	const struct pg_track *t = &c->track;
	return sizeof(*c) + c->start.cap + c->hello.cap + t->ring_cap * sizeof(*t->ring) +
	       t->texts_cap * sizeof(*t->texts) + c->look.seen_cap * sizeof(*c->look.seen) +
	       c->look.names.cap + c->look.fact.cap +
	       (t->statements.cap + t->portals.cap) * sizeof(*t->statements.slots);
}

static void play_step(struct pg_shell *sh, struct rd *r) {
	uint8_t op = rd_u8(r);
	uint8_t arg = rd_u8(r);
	struct buf b;
	buf_init(&b, 64 * KIB);
	enum side side = op % 2 == 0 ? SIDE_CLIENT : SIDE_TARGET;
	if (op < 80)
		put_client(&b, (uint8_t)client_types[op % (sizeof(client_types) - 1)], arg);
	else if (op < 180)
		put_target(&b, (uint8_t)target_types[op % (sizeof(target_types) - 1)], arg);
	else if (op < 200)
		put_first(&b, arg);
	else if (op < 230)
		w_bytes(&b, rd_bytes(r, MIN(rd_left(r), (size_t)arg)));
	if (op < 80 || (op >= 180 && op < 200))
		side = SIDE_CLIENT;
	else if (op < 180)
		side = SIDE_TARGET;
	else if (arg == 255)
		side = SIDE_AUX;
	if (b.len > 0)
		shell_say(sh, side, buf_peek(&b));
	else if (op >= 230)
		raise_event(sh, arg);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0 || size > 16 * KIB)
		return 0;
	struct rd r = rd_of(str_mem(data, size));
	uint8_t mode = rd_u8(&r);
	struct pg_shell *sh = xcalloc(1, sizeof(*sh));
	shell_init(sh, mode & 1);
	sh->budget = MIB;
	sh->looks_up_names = mode & 8;
	sh->results = (struct depth){ .kind = (enum depth_kind)(mode >> 4 & 3), .rows = 1 };
	if (mode & 1 && mode & 2)
		shell_ready(sh, mode & 4 ? HYGIENE_OPEN : HYGIENE_PINNED);
	while (rd_left(&r) > 0 && !sh->is_closed && sh->broken == NULL)
		play_step(sh, &r);
	if (sh->broken != NULL) {
		(void)fprintf(stderr, "broken promise: %s\n", sh->broken);
		abort();
	}
	if (memory_of(&sh->core) > 256 * KIB + 30000)
		abort();
	shell_fini(sh);
	free(sh);
	return 0;
}
