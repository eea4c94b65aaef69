/* pg_shell.c: the shell of tests and fuzz targets (pg_shell.h). */
#include "proto/postgres/pg_shell.h"

static void breaks(struct pg_shell *sh, const char *what) {
	if (sh->broken == NULL)
		sh->broken = what;
}

static void note(struct pg_shell *sh, char *line) {
	if (sh->log_count == sh->log_cap) {
		sh->log_cap = MAX((size_t)64, sh->log_cap * 2);
		sh->log = xrealloc(sh->log, sh->log_cap * sizeof(*sh->log));
	}
	sh->log[sh->log_count++] = line;
}

static struct pg_shell *of(struct order_sink *sink) {
	return container_of(sink, struct pg_shell, sink);
}

static const char *const side_names[] = { "client", "target", "aux" };

static enum side other(enum side s) {
	return s == SIDE_CLIENT ? SIDE_TARGET : SIDE_CLIENT;
}

/* ---- bytes ---- */

static void deliver(struct pg_shell *sh, enum side to, struct str bytes) {
	if (to == SIDE_TARGET && !sh->was_granted)
		breaks(sh, "bytes for the target before the grant");
	if (buf_append(&sh->out[to], bytes) < 0)
		breaks(sh, "too much output");
}

static void move(struct pg_shell *sh, enum side from) {
	size_t n = (size_t)MIN((uint64_t)sh->in[from].len, sh->relay[from]);
	enum side to = other(from);
	deliver(sh, to, str_head(buf_peek(&sh->in[from]), n));
	buf_consume(&sh->in[from], n);
	sh->relay[from] -= n;
	if (sh->relay[from] == 0 && sh->behind[to].len > 0) {
		deliver(sh, to, buf_peek(&sh->behind[to]));
		buf_clear(&sh->behind[to]);
	}
}

/* Takes n bytes off the front of what the call under way showed. */
static bool consume(struct pg_shell *sh, enum side side, uint64_t n, bool may_exceed) {
	uint64_t there = sh->in[side].len;
	if (n == 0)
		breaks(sh, "consumption of nothing");
	if (side == SIDE_AUX && may_exceed)
		breaks(sh, "relay from aux");
	if (sh->relay[side] > 0)
		breaks(sh, "consumption while a relay is under way");
	if (n > there && !may_exceed)
		breaks(sh, "consumption of more than was shown");
	if (sh->broken != NULL)
		return false;
	sh->consumed += n;
	sh->seen[side] -= MIN(sh->seen[side], n);
	if (side != SIDE_AUX)
		sh->offset[side == SIDE_CLIENT ? STREAM_C : STREAM_T] += n;
	if (sh->need[side] > 0)
		sh->need[side] = 0;
	return true;
}

static void do_relay(struct pg_shell *sh, const struct order *o) {
	if (!sh->was_granted)
		breaks(sh, "relay before the grant");
	if (sh->shown == 0 || sh->shown_side != o->side)
		breaks(sh, "relay of a side that was not shown");
	if (!consume(sh, o->side, o->n, true))
		return;
	if (o->depth != RECORD_FULL) {
		sh->rows_out += o->rows;
		sh->bytes_out += o->n;
	}
	if (o->depth != RECORD_FULL && (o->side != SIDE_TARGET || o->rows == 0))
		breaks(sh, "no result, and not recorded");
	sh->relay[o->side] = o->n;
	move(sh, o->side);
}

/* What is hidden is relayed; the shell's own copy, which lines are made of, loses it. */
static void do_hide(struct pg_shell *sh, const struct order *o) {
	enum stream stream = o->side == SIDE_CLIENT ? STREAM_C : STREAM_T;
	uint64_t at = sh->offset[stream];
	if (o->n == 0 || o->n > sh->seen[o->side])
		breaks(sh, "hides what was not shown");
	do_relay(sh, o);
	note(sh, xasprintf("hide %s %.*s", side_names[o->side], (int)MIN(o->n, (uint64_t)40),
	                   buf_peek(&sh->said[o->side]).p + at));
	memset(sh->said[o->side].p + sh->said[o->side].off + at, '*', (size_t)o->n);
	if (stream == STREAM_C && sh->hidden_count < ARRAY_LEN(sh->hidden))
		sh->hidden[sh->hidden_count++] = (struct sql_secret){ .at = (size_t)at,
			                                              .n = (size_t)o->n };
}

static void do_drop(struct pg_shell *sh, const struct order *o) {
	struct str there = buf_peek(&sh->in[o->side]);
	bool is_proof = o->side == SIDE_CLIENT && !sh->was_granted && there.n > 0 &&
	                there.p[0] == 'p';
	if (o->kind == ORD_SKIP && is_proof)
		breaks(sh, "a proof is kept in the record");
	if (consume(sh, o->side, o->n, false))
		buf_consume(&sh->in[o->side], (size_t)o->n);
}

/* The gateway's own question, as a line: its messages' types, and what is asked for. */
static void note_lookup(struct pg_shell *sh, struct str bytes) {
	char types[16] = "";
	struct buf asked;
	struct pg_msg m;
	struct pg_bind bind;
	struct pg_value v;
	size_t n = 0;
	if (sh->relay[SIDE_CLIENT] > 0 || pg_in_flight(&sh->core) || sh->core.state != 'I')
		breaks(sh, "a look-up at the wrong moment");
	buf_init(&asked, 16 * KIB);
	for (int64_t used; n + 1 < sizeof(types) && (used = pg_msg_parse(&m, bytes)) > 0;
	     bytes = str_from(bytes, (size_t)used)) {
		types[n++] = (char)m.type;
		if (m.type == 'B' && pg_bind_parse(&bind, m.body) == 0)
			while (pg_values_next(&bind.params, &v))
				w_fmt(&asked, " %.*s", STR_ARG(v.bytes));
	}
	note(sh, xasprintf("lookup %s%.*s", types, STR_ARG(buf_peek(&asked))));
	buf_fini(&asked);
}

static void do_send(struct pg_shell *sh, const struct order *o) {
	if (o->bytes.n == 0)
		breaks(sh, "empty send");
	if (o->why == WHY_LOOKUP) {
		note_lookup(sh, o->bytes);
		return;
	}
	bool waits = o->side != SIDE_AUX && sh->relay[other(o->side)] > 0;
	if (!waits)
		deliver(sh, o->side, o->bytes);
	else if (buf_append(&sh->behind[o->side], o->bytes) < 0)
		breaks(sh, "too much behind a relay");
}

/* ---- lines ---- */

static const char *const kind_names[] = { "query", "execute", "parse", "function", "cancel" };
static const char *const status_names[] = { "ok", "failed", "skipped", "refused", "unknown" };

/* The types of the messages in a range of stream T, "TDCZ"; "?" when it does not fall on ends. */
static void types_of(struct pg_shell *sh, const struct command *k, char out[32]) {
	struct str t = str_head(str_from(buf_peek(&sh->said[SIDE_TARGET]), (size_t)k->t_off),
	                        (size_t)k->t_len);
	size_t n = 0;
	struct pg_head h;
	while (t.n > 0 && n < 30 && pg_head_parse(&h, t) > 0) {
		out[n++] = (char)h.type;
		t = str_from(t, (size_t)h.len);
	}
	if (t.n > 0 && n < 30)
		out[n++] = '?';
	if (n == 0)
		out[n++] = '-';
	out[n] = '\0';
}

static void check_text(struct pg_shell *sh, const struct command *k, struct str text) {
	uint8_t hash[SHA256_SIZE];
	struct str parts[ARRAY_LEN(sh->hidden) + 1];
	size_t n = 0, at = 0;
	for (size_t i = 0; i < sh->hidden_count; i++) {
		size_t from = sh->hidden[i].at - (size_t)k->text_off;
		if (sh->hidden[i].at < k->text_off || from + sh->hidden[i].n > text.n)
			continue;
		parts[n++] = str_mem(text.p + at, from - at);
		at = from + sh->hidden[i].n;
	}
	parts[n++] = str_from(text, at);
	sha256_parts(hash, parts, n);
	if (k->text_len > 0 && memcmp(hash, k->text_sha256, SHA256_SIZE) != 0)
		breaks(sh, "the hash is not that of the text");
	struct str c = str_from(buf_peek(&sh->said[SIDE_CLIENT]), (size_t)k->c_off);
	struct pg_head h;
	if (k->kind != CMD_CANCEL &&
	    (pg_head_parse(&h, c) <= 0 || h.len != k->c_len || memchr("QEF", h.type, 3) == NULL))
		breaks(sh, "c_off and c_len are not those of a message");
}

static void do_command(struct pg_shell *sh, const struct command *k) {
	struct str c = buf_peek(&sh->said[SIDE_CLIENT]);
	struct str text = str_head(str_from(c, (size_t)k->text_off), (size_t)k->text_len);
	char types[32];
	types_of(sh, k, types);
	check_text(sh, k, text);
	if (k->verb.n > PG_VERB_MAX || k->done_ns < k->received_ns)
		breaks(sh, "command out of bounds");
	text = str_head(text, 200);
	note(sh, xasprintf("cmd %s %s %.*s %.*s rows=%llu bytes=%llu t=%s text=%.*s",
	                   kind_names[k->kind], status_names[k->status],
	                   STR_ARG(k->verb.n > 0 ? k->verb : STR("-")),
	                   STR_ARG(k->sqlstate.n > 0 ? k->sqlstate : STR("-")),
	                   (unsigned long long)k->rows, (unsigned long long)k->row_bytes, types,
	                   STR_ARG(text)));
	if (sh->rows_out > 0)
		note(sh, xasprintf("not recorded: %llu rows, %llu bytes",
		                   (unsigned long long)sh->rows_out,
		                   (unsigned long long)sh->bytes_out));
	sh->rows_out = sh->bytes_out = 0;
}

static void do_admit(struct pg_shell *sh, const struct admit *a) {
	note(sh, xasprintf("admit %.*s role=%.*s database=%.*s hint=%.*s app=%.*s proof=%.*s",
	                   STR_ARG(a->connection), STR_ARG(a->role), STR_ARG(a->database),
	                   STR_ARG(a->hint), STR_ARG(a->client_app), STR_ARG(a->proof)));
	if (a->routed_by != ROUTED_BY_USER)
		note(sh, xasprintf("routed by %s%s",
		                   a->routed_by == ROUTED_BY_DATABASE ? "database" : "server name",
		                   a->is_role_optional ? ", role optional" : ""));
	if (a->wants_replication)
		note(sh, xstrdup("wants replication"));
	if (a->cancel_key_size != CANCEL_KEY_SHORT)
		note(sh, xasprintf("key of %u", a->cancel_key_size));
	if (a->proof_kind != PROOF_PASSWORD)
		note(sh, xstrdup(a->proof_kind == PROOF_BEARER ? "by bearer" : "by scram"));
	sh->key_size = a->cancel_key_size;
	sh->wants_replication = a->wants_replication;
}

static void do_prove(struct pg_shell *sh, const struct order *o) {
	if (sh->has_proven)
		breaks(sh, "proves twice");
	sh->has_proven = true;
	note(sh, xasprintf("prove %.*s hint=%.*s %.*s %.*s", STR_ARG(o->admit->connection),
	                   STR_ARG(o->admit->hint), STR_ARG(o->name), STR_ARG(o->bytes)));
}

static void do_hex(struct pg_shell *sh, const char *what, struct str bytes) {
	auto_free char *hex = xmalloc(bytes.n * 2 + 1);
	hex_encode(hex, bytes.p, bytes.n);
	note(sh, xasprintf("%s %s", what, hex));
}

static void do_tls(struct pg_shell *sh, const struct order *o) {
	enum side side = o->side;
	note(sh, xasprintf("tls %s%s", side_names[side], o->is_direct ? " direct" : ""));
	if (!str_is(o->name, PG_ALPN))
		breaks(sh, "TLS without ALPN");
	sh->in_tls[side] = true;
	if (o->is_direct) {
		sh->seen[side] = 0;
		buf_clear(&sh->in[side]);
		buf_clear(&sh->said[side]);
	}
	if (sh->in[side].len > 0) { /* CVE-2021-23214: proto.h makes this the shell's business */
		note(sh, xstrdup("plaintext behind tls"));
		sh->is_attacked = true;
	}
}

static void do_need(struct pg_shell *sh, const struct order *o) {
	if (o->n <= 64 * KIB || o->side == SIDE_AUX)
		breaks(sh, "need of what is shown anyway");
	if (sh->need[o->side] != 0)
		breaks(sh, "need ordered twice");
	sh->need[o->side] = o->n;
	sh->no_budget |= o->n > sh->budget;
}

/* Whatever was shown has to be accounted for when nobody will look at it any more. */
static void check_left(struct pg_shell *sh, enum side side) {
	if (sh->relay[side] == 0 && sh->seen[side] > 0)
		breaks(sh, "bytes that were shown are not on the record");
}

static void do_close_side(struct pg_shell *sh, enum side side) {
	note(sh, xasprintf("closeside %s", side_names[side]));
	if (side == SIDE_TARGET && sh->shown == 0)
		check_left(sh, SIDE_CLIENT);
}

static void do_close(struct pg_shell *sh, const struct order *o) {
	check_left(sh, SIDE_CLIENT);
	check_left(sh, SIDE_TARGET);
	note(sh, xasprintf("close %s", o->reason == 0 ? "0" : h_err_name(o->reason)));
	sh->is_closed = true;
	sh->reason = o->reason;
}

static uint64_t shell_emit(struct order_sink *sink, const struct order *o) {
	struct pg_shell *sh = of(sink);
	sh->orders++;
	if (sh->is_closed) {
		breaks(sh, "an order after the end");
		return 0;
	}
	switch (o->kind) {
	case ORD_RELAY:
		do_relay(sh, o);
		break;
	case ORD_HIDE:
		do_hide(sh, o);
		break;
	case ORD_SKIP:
	case ORD_REDACT:
		do_drop(sh, o);
		break;
	case ORD_SEND:
		do_send(sh, o);
		break;
	case ORD_NEED:
		do_need(sh, o);
		break;
	case ORD_COMMAND:
		do_command(sh, o->command);
		break;
	case ORD_FACT:
		note(sh, xasprintf("fact %.*s%s%.*s", STR_ARG(o->name), o->bytes.n > 0 ? " " : "",
		                   STR_ARG(o->bytes)));
		break;
	case ORD_TLS:
		do_tls(sh, o);
		break;
	case ORD_ADMIT:
		do_admit(sh, o->admit);
		break;
	case ORD_PROVE:
		do_prove(sh, o);
		break;
	case ORD_LOGIN:
		do_hex(sh, "login", o->bytes);
		break;
	case ORD_DIAL:
		note(sh, xstrdup("dial"));
		break;
	case ORD_CANCEL:
		do_hex(sh, "cancelrequest", o->bytes);
		break;
	case ORD_BACKEND:
		note(sh, xasprintf("backend %u", o->pid));
		break;
	case ORD_RECEIPT:
		note(sh, xstrdup("receipt"));
		break;
	case ORD_TIMER:
		sh->timer_ns = o->n;
		break;
	case ORD_CLOSE:
		do_close(sh, o);
		break;
	case ORD_CLOSE_SIDE:
		do_close_side(sh, o->side);
		break;
	case ORD_KIND_COUNT:
		breaks(sh, "no such order");
		break;
	}
	return sh->orders;
}

static uint64_t shell_offset(struct order_sink *sink, enum stream stream) {
	return of(sink)->offset[stream];
}

static bool shell_connection(struct order_sink *sink unused_arg, struct str name,
                             struct connection_facts *ret) {
	*ret = (struct connection_facts){ .name = name };
	if (str_is(name, "by-scram"))
		ret->proof = PROVE_BY_SCRAM;
	if (str_is(name, "by-oauth"))
		ret->proof = PROVE_BY_OAUTH;
	return str_is(name, "shop") || str_is(name, "orders") || ret->proof != PROVE_BY_PASSWORD;
}

/* ---- the core is run ---- */

static void returned(struct pg_shell *sh, int rc) {
	if (rc > 0)
		breaks(sh, "a positive return");
	if (rc < 0)
		sh->is_closed = true;
	if (sh->is_closed && rc == 0 && sh->reason != 0)
		breaks(sh, "closed with a reason that was not returned");
	sh->is_closed |= sh->is_attacked;
}

/* Shows the side what stands there; true when something was consumed. */
static bool show(struct pg_shell *sh, enum side side) {
	if (sh->is_closed || sh->in_tls[side] || sh->broken != NULL)
		return false;
	if (sh->relay[side] > 0)
		move(sh, side);
	size_t n = sh->in[side].len;
	if (sh->relay[side] > 0 || n == 0 || n < sh->need[side])
		return false;
	n = MIN(n, (size_t)MAX(sh->need[side], (uint64_t)64 * KIB));
	auto_free char *fresh = xmalloc(n);
	memcpy(fresh, buf_peek(&sh->in[side]).p, n);
	sh->shown = n;
	sh->shown_side = side;
	sh->seen[side] = n;
	sh->consumed = 0;
	uint64_t need = sh->need[side];
	returned(sh, pg_proto.on_bytes(&sh->core, side, str_mem(fresh, n), sh->now_ns));
	sh->shown = 0;
	return sh->consumed > 0 || sh->need[side] > need;
}

static void run(struct pg_shell *sh) {
	bool is_moving = true;
	while (is_moving && !sh->is_closed && sh->broken == NULL) {
		is_moving = false;
		for (enum side s = SIDE_CLIENT; s < SIDE_COUNT; s++)
			is_moving |= show(sh, s);
		if (sh->no_budget && !sh->is_closed) {
			sh->no_budget = false;
			struct event ev = { .kind = EV_NO_BUDGET, .now_ns = sh->now_ns };
			returned(sh, pg_proto.on_event(&sh->core, &ev));
		}
	}
}

void shell_say(struct pg_shell *sh, enum side side, struct str bytes) {
	sh->now_ns += NS_PER_US;
	if (sh->is_closed)
		return;
	if (buf_append(&sh->in[side], bytes) < 0 || buf_append(&sh->said[side], bytes) < 0)
		breaks(sh, "too much input");
	run(sh);
}

void shell_event(struct pg_shell *sh, const struct event *ev) {
	struct event at = *ev;
	sh->now_ns += NS_PER_US;
	at.now_ns = sh->now_ns;
	if (sh->is_closed)
		return;
	if (at.kind == EV_GRANTED)
		sh->was_granted = true;
	if (at.kind == EV_TLS_UP)
		sh->in_tls[at.side] = false;
	sh->consumed = 0;
	returned(sh, pg_proto.on_event(&sh->core, &at));
	run(sh);
}

void shell_init(struct pg_shell *sh, bool has_tls) {
	*sh = (struct pg_shell){ .sink = { shell_emit, shell_offset, shell_connection },
		                 .budget = 256 * MIB,
		                 .has_tls_listener = has_tls,
		                 .now_ns = NS_PER_S };
	for (size_t i = 0; i < SIDE_COUNT; i++) {
		buf_init(&sh->in[i], 512 * MIB);
		buf_init(&sh->out[i], 512 * MIB);
		buf_init(&sh->said[i], 512 * MIB);
		buf_init(&sh->behind[i], MIB);
	}
	pg_proto.init(&sh->core, &(struct proto_open){ .sink = &sh->sink,
	                                               .has_tls = has_tls,
	                                               .is_loopback = true,
	                                               .now_ns = sh->now_ns });
}

void shell_fini(struct pg_shell *sh) {
	pg_proto.fini(&sh->core);
	for (size_t i = 0; i < SIDE_COUNT; i++) {
		buf_fini(&sh->in[i]);
		buf_fini(&sh->out[i]);
		buf_fini(&sh->said[i]);
		buf_fini(&sh->behind[i]);
	}
	for (size_t i = 0; i < sh->log_count; i++)
		free(sh->log[i]);
	free(sh->log);
}

struct grant shell_grant(enum hygiene hygiene, enum tls_mode tls) {
	return (struct grant){ .short_id = "k7m2-9xqe",
		               .upstream_user = STR("app"),
		               .database = STR("shop"),
		               .server_name = STR("db.example"),
		               .tls = tls,
		               .hygiene = hygiene,
		               .session_max_ns = 3600 * NS_PER_S,
		               .session_grace_ns = 60 * NS_PER_S,
		               .cancel_key_size = CANCEL_KEY_SHORT,
		               .cancel_key = { 1, 2, 3, 4 } };
}

void shell_admit(struct pg_shell *sh) {
	struct buf b;
	buf_init(&b, 64 * KIB);
	pg_w_ssl_request(&b);
	shell_say(sh, SIDE_CLIENT, buf_peek(&b));
	shell_event(sh, &(struct event){ .kind = EV_TLS_UP, .side = SIDE_CLIENT });
	buf_clear(&b);
	size_t mark = pg_w_start_begin(&b, PG_PROTOCOL_3_0);
	pg_w_param(&b, STR("user"), STR("shop"));
	pg_w_start_end(&b, mark);
	mark = pg_w_begin(&b, 'p');
	w_cstr(&b, STR("token"));
	pg_w_end(&b, mark);
	shell_say(sh, SIDE_CLIENT, buf_peek(&b));
	buf_fini(&b);
}

void shell_ready(struct pg_shell *sh, enum hygiene hygiene) {
	struct buf b;
	buf_init(&b, 64 * KIB);
	struct grant g = shell_grant(hygiene, TLS_DISABLE);
	g.results = sh->results;
	g.looks_up_names = sh->looks_up_names;
	shell_admit(sh);
	shell_event(sh, &(struct event){ .kind = EV_GRANTED, .grant = &g });
	pg_w_auth(&b, PG_AUTH_OK, STR_NONE);
	shell_say(sh, SIDE_TARGET, buf_peek(&b));
	shell_event(sh, &(struct event){ .kind = EV_LOGIN, .is_done = true });
	buf_clear(&b);
	pg_w_key(&b, 77, str_mem("\xaa\xbb\xcc\xdd", 4));
	pg_w_ready(&b, 'I');
	shell_say(sh, SIDE_TARGET, buf_peek(&b));
	buf_fini(&b);
}
