/* pg_script.c: plays transcripts against the core (pg_script.h). */
#include "proto/postgres/pg_script.h"

#include "proto/postgres/pg_shell.h"

enum { WORDS_MAX = 64 };

struct play {
	struct pg_shell sh;
	bool is_open;
	int cut;
	size_t longest;
	int line;
	char *why;
	size_t why_size;
	bool is_bad;
};

static void bad(struct play *p, const char *what, struct str detail) {
	if (p->is_bad)
		return;
	p->is_bad = true;
	(void)snprintf(p->why, p->why_size, "line %d: %s: %.*s", p->line, what, STR_ARG(detail));
}

/* ---- words ---- */

/* A word ends at a blank outside quotes; "|" is a word. Quotes stay in the word. */
static struct str word(struct str *rest) {
	struct str s = str_trim(*rest);
	size_t n = 0;
	char quote = 0;
	while (n < s.n && (quote != 0 || s.p[n] != ' ')) {
		if (quote == 0 && (s.p[n] == '\'' || s.p[n] == '"'))
			quote = s.p[n];
		else if (quote != 0 && s.p[n] == quote)
			quote = 0;
		n++;
	}
	*rest = str_from(s, n);
	return str_head(s, n);
}

static uint32_t number(struct play *p, struct str s) {
	bool is_negative = str_starts(s, STR("-"));
	uint64_t v = 0;
	if (str_u64(str_from(s, is_negative), UINT32_MAX, &v) < 0)
		bad(p, "not a number", s);
	return (uint32_t)(is_negative ? -v : v);
}

/* Text between the quotes, or a bare word. */
static struct str plain(struct str s) {
	if (s.n >= 2 && (s.p[0] == '\'' || s.p[0] == '"'))
		return str_head(str_from(s, 1), s.n - 2);
	return s;
}

static void put_hex(struct play *p, struct buf *b, struct str hex) {
	uint8_t bytes[512];
	int n = hex_decode(bytes, sizeof(bytes), hex);
	if (n < 0)
		bad(p, "not hexadecimal", hex);
	else
		w_bytes(b, str_mem(bytes, (size_t)n));
}

static void put_item(struct play *p, struct buf *b, struct str s) {
	if (s.p[0] == '\'') {
		w_cstr(b, plain(s));
	} else if (s.p[0] == '"') {
		w_bytes(b, plain(s));
	} else if (str_starts(s, STR("i8:"))) {
		w_u8(b, (uint8_t)number(p, str_from(s, 3)));
	} else if (str_starts(s, STR("i16:"))) {
		w_be16(b, (uint16_t)number(p, str_from(s, 4)));
	} else if (str_starts(s, STR("i32:"))) {
		w_be32(b, number(p, str_from(s, 4)));
	} else if (str_starts(s, STR("x:"))) {
		put_hex(p, b, str_from(s, 2));
	} else if (str_starts(s, STR("big:"))) {
		for (uint32_t n = number(p, str_from(s, 4)); n > 0; n--)
			w_u8(b, 'x');
	} else {
		bad(p, "unknown item", s);
	}
}

/* ---- messages ---- */

static void put_start(struct play *p, struct buf *b, struct str rest) {
	struct str minor = word(&rest);
	struct str major = str_cut(&minor, '.');
	size_t mark = pg_w_start_begin(b, number(p, major) << 16 | number(p, minor));
	for (struct str k = word(&rest); k.n > 0; k = word(&rest)) {
		struct str v = word(&rest);
		pg_w_param(b, plain(k), plain(v));
	}
	pg_w_start_end(b, mark);
}

static void put_desc(struct buf *b, struct str rest) {
	size_t mark = pg_w_begin(b, 'T');
	uint16_t count = 0;
	for (struct str it = rest; word(&it).n > 0;)
		count++;
	w_be16(b, count);
	for (struct str k = word(&rest); k.n > 0; k = word(&rest)) {
		w_cstr(b, plain(k));
		w_be32(b, 0);
		w_be16(b, 0);
		w_be32(b, 25);
		w_be16(b, 0xffff);
		w_be32(b, UINT32_MAX);
		w_be16(b, 0);
	}
	pg_w_end(b, mark);
}

static void put_row(struct buf *b, struct str rest) {
	size_t mark = pg_w_begin(b, 'D');
	uint16_t count = 0;
	for (struct str it = rest; word(&it).n > 0;)
		count++;
	w_be16(b, count);
	for (struct str v = word(&rest); v.n > 0; v = word(&rest)) {
		struct str bytes = plain(v);
		w_be32(b, str_is(v, "NULL") ? UINT32_MAX : (uint32_t)bytes.n);
		w_bytes(b, str_is(v, "NULL") ? STR_NONE : bytes);
	}
	pg_w_end(b, mark);
}

static void put_error(struct buf *b, struct str rest) {
	struct str severity = word(&rest);
	struct str code = word(&rest);
	pg_w_say(b, &(struct pg_say){ .type = 'E',
	                              .severity = severity,
	                              .sqlstate = code,
	                              .message = plain(str_trim(rest)) });
}

static void put_typed(struct play *p, struct buf *b, struct str type, struct str rest) {
	if (type.n != 1) {
		bad(p, "unknown message", type);
		return;
	}
	size_t mark = pg_w_begin(b, (uint8_t)type.p[0]);
	for (struct str i = word(&rest); i.n > 0; i = word(&rest))
		put_item(p, b, i);
	pg_w_end(b, mark);
}

static void put_msg(struct play *p, struct buf *b, struct str msg) {
	struct str rest = msg;
	struct str name = word(&rest);
	if (str_is(name, "ssl")) {
		pg_w_ssl_request(b);
	} else if (str_is(name, "gss")) {
		w_be32(b, 8);
		w_be32(b, PG_CODE_GSSENC);
	} else if (str_is(name, "cancel")) {
		uint32_t pid = number(p, word(&rest));
		size_t mark = pg_w_begin(b, 0);
		w_be32(b, PG_CODE_CANCEL);
		w_be32(b, pid);
		put_hex(p, b, word(&rest));
		pg_w_end(b, mark);
	} else if (str_is(name, "start")) {
		put_start(p, b, rest);
	} else if (str_is(name, "desc")) {
		put_desc(b, rest);
	} else if (str_is(name, "row")) {
		put_row(b, rest);
	} else if (str_is(name, "error")) {
		put_error(b, rest);
	} else if (str_is(name, "raw")) {
		for (struct str i = word(&rest); i.n > 0; i = word(&rest))
			put_item(p, b, i);
	} else {
		put_typed(p, b, name, rest);
	}
}

/* The messages of a line, separated by " | ". */
static struct str next_msg(struct str *rest) {
	struct str all = *rest;
	struct str it = all;
	for (struct str w = word(&it); w.n > 0; w = word(&it))
		if (str_is(w, "|")) {
			*rest = it;
			return str_head(all, (size_t)(w.p - all.p));
		}
	*rest = STR_NONE;
	return all;
}

/* ---- steps ---- */

static void say(struct play *p, enum side side, struct str rest) {
	struct buf b;
	buf_init(&b, 64 * MIB);
	while (str_trim(rest).n > 0)
		put_msg(p, &b, next_msg(&rest));
	struct str all = buf_peek(&b);
	p->longest = MAX(p->longest, all.n);
	if (p->cut == SCRIPT_BYTES && all.n <= 4096) {
		for (size_t i = 0; i < all.n; i++)
			shell_say(&p->sh, side, str_mem(all.p + i, 1));
	} else if (p->cut >= 0 && (size_t)p->cut > 0 && (size_t)p->cut < all.n) {
		shell_say(&p->sh, side, str_head(all, (size_t)p->cut));
		shell_say(&p->sh, side, str_from(all, (size_t)p->cut));
	} else {
		shell_say(&p->sh, side, all);
	}
	buf_fini(&b);
}

static enum side side_of(struct play *p, struct str s) {
	if (str_is(s, "client"))
		return SIDE_CLIENT;
	if (str_is(s, "target"))
		return SIDE_TARGET;
	if (!str_is(s, "aux"))
		bad(p, "unknown side", s);
	return SIDE_AUX;
}

static int code_of(struct play *p, struct str s) {
	for (int code = -1; code > -H_ERR_COUNT_; code--)
		if (str_is(s, h_err_name(code)))
			return code;
	if (s.n > 0 && !str_is(s, "0"))
		bad(p, "unknown code", s);
	return 0;
}

static void do_granted(struct play *p, struct str rest) {
	struct str hygiene = word(&rest);
	struct str tls = word(&rest);
	struct grant g = shell_grant(str_is(hygiene, "open") ? HYGIENE_OPEN : HYGIENE_PINNED,
	                             TLS_DISABLE);
	if (str_is(tls, "require"))
		g.tls = TLS_REQUIRE;
	if (str_is(tls, "full"))
		g.tls = TLS_VERIFY_FULL;
	for (struct str w = word(&rest); w.n > 0; w = word(&rest)) {
		g.is_unix |= str_is(w, "unix");
		g.is_tls_direct |= str_is(w, "direct");
		if (str_starts(w, STR("final:")))
			g.server_final = str_from(w, 6);
	}
	g.is_replication = p->sh.wants_replication;
	g.cancel_key_size = p->sh.key_size;
	if (g.cancel_key_size == CANCEL_KEY_LONG)
		memset(g.cancel_key + CANCEL_KEY_SHORT, 5, CANCEL_KEY_LONG - CANCEL_KEY_SHORT);
	shell_event(&p->sh, &(struct event){ .kind = EV_GRANTED, .grant = &g });
}

static void do_login(struct play *p, struct str rest) {
	struct event ev = { .kind = EV_LOGIN };
	struct buf b;
	buf_init(&b, KIB);
	for (struct str w = word(&rest); w.n > 0; w = word(&rest)) {
		ev.is_done |= str_is(w, "done");
		if (str_is(w, "fail")) {
			ev.code = H_EAUTH;
			ev.text = STR("signature of the server is wrong");
		}
		if (str_starts(w, STR("x:")))
			put_item(p, &b, w);
	}
	ev.bytes = buf_peek(&b);
	shell_event(&p->sh, &ev);
	buf_fini(&b);
}

static void do_event(struct play *p, struct str rest) {
	struct str name = word(&rest);
	struct event ev = { .kind = EV_KIND_COUNT };
	struct tls_facts tls = { 0 };
	if (str_is(name, "granted")) {
		do_granted(p, rest);
		return;
	}
	if (str_is(name, "login")) {
		do_login(p, rest);
		return;
	}
	if (str_is(name, "tls")) {
		ev = (struct event){ .kind = EV_TLS_UP,
			             .side = side_of(p, word(&rest)),
			             .tls = &tls };
		tls.alpn = plain(word(&rest));
		tls.label = plain(word(&rest));
		tls.end_point = plain(word(&rest));
	} else if (str_is(name, "refused")) {
		ev = (struct event){ .kind = EV_REFUSED, .code = code_of(p, word(&rest)) };
		ev.text = str_trim(rest);
	} else if (str_is(name, "challenged")) {
		ev = (struct event){ .kind = EV_REFUSED, .code = code_of(p, word(&rest)) };
		ev.bytes = STR("{\"status\":\"invalid_token\"}");
		ev.text = str_trim(rest);
	} else if (str_is(name, "proved")) {
		ev = (struct event){ .kind = EV_PROVED, .bytes = str_trim(rest) };
	} else if (str_is(name, "dialed")) {
		ev = (struct event){ .kind = EV_DIALED, .side = SIDE_AUX };
	} else if (str_is(name, "closed")) {
		ev = (struct event){ .kind = EV_CLOSED, .side = side_of(p, word(&rest)) };
		ev.code = code_of(p, word(&rest));
	} else if (str_is(name, "cancelled")) {
		ev.kind = EV_CANCELLED;
	} else if (str_is(name, "cancel")) {
		ev.kind = EV_CANCEL;
	} else if (str_is(name, "timer")) {
		if (p->sh.timer_ns == 0)
			bad(p, "no timer was set", name);
		p->sh.now_ns = MAX(p->sh.now_ns, p->sh.timer_ns);
		ev.kind = EV_TIMER;
	} else if (str_is(name, "kill")) {
		ev = (struct event){ .kind = EV_KILL, .code = code_of(p, word(&rest)) };
		if (str_trim(rest).n > 0 && str_u64(str_trim(rest), UINT32_MAX, &ev.unsent) < 0)
			bad(p, "kill CODE [UNSENT BYTES]", rest);
	} else if (str_is(name, "drain")) {
		ev.kind = EV_DRAIN;
	} else if (str_is(name, "expiring")) {
		ev.kind = EV_EXPIRING;
	} else if (str_is(name, "receipt")) {
		ev.kind = EV_RECEIPT;
		ev.text = str_trim(rest);
		ev.code = ev.text.n > 0 ? 0 : H_EBUSY;
	} else {
		bad(p, "unknown event", name);
		return;
	}
	shell_event(&p->sh, &ev);
}

/* ---- expectations ---- */

static void expect_error(struct play *p, struct str rest, struct buf *out) {
	struct pg_msg m;
	struct pg_error e;
	int64_t n = pg_msg_parse(&m, buf_peek(out));
	if (n <= 0 || m.type != 'E' || pg_error_parse(&e, m.body) < 0) {
		bad(p, "an ErrorResponse was expected, there is", str_head(buf_peek(out), 80));
		return;
	}
	if (!str_eq(e.severity, word(&rest)) || !str_eq(e.sqlstate, word(&rest)))
		bad(p, "another error was said", e.sqlstate);
	struct str detail = rest;
	struct str message = str_cut(&detail, '/');

	if (!str_starts(e.message, plain(str_trim(message))))
		bad(p, "another error text was said", e.message);
	if (!str_starts(e.detail, plain(str_trim(detail))))
		bad(p, "another detail was said", e.detail);
	buf_consume(out, (size_t)n);
}

static void expect_bytes(struct play *p, enum side side, struct str rest) {
	struct buf *out = &p->sh.out[side];
	while (str_trim(rest).n > 0 && !p->is_bad) {
		struct str msg = next_msg(&rest);
		struct str args = msg;
		if (str_is(word(&args), "error") && side == SIDE_CLIENT) {
			expect_error(p, args, out);
			continue;
		}
		struct buf b;
		buf_init(&b, 64 * MIB);
		put_msg(p, &b, msg);
		struct str got = str_head(buf_peek(out), b.len);
		if (str_eq(got, buf_peek(&b)))
			buf_consume(out, b.len);
		else
			bad(p, "not received", msg);
		buf_fini(&b);
	}
}

static void expect_log(struct play *p, struct str line) {
	struct str got = p->sh.log_read < p->sh.log_count ? str_of(p->sh.log[p->sh.log_read])
	                                                  : STR("(nothing)");
	if (str_eq(got, line))
		p->sh.log_read++;
	else
		bad(p, "the log says", got);
}

/* A session that is logged in already; what was said until then is not looked at. */
static void do_ready(struct play *p, struct str hygiene, struct str results) {
	shell_init(&p->sh, true);
	p->is_open = true;
	if (str_starts(results, STR("head:")))
		p->sh.results = (struct depth){ .kind = DEPTH_HEAD,
			                        .rows = number(p, str_from(results, 5)) };
	else if (str_is(results, "names"))
		p->sh.looks_up_names = true;
	else if (results.n > 0)
		p->sh.results.kind = str_is(results, "none") ? DEPTH_NONE : DEPTH_DIGEST;
	shell_ready(&p->sh, str_is(hygiene, "open") ? HYGIENE_OPEN : HYGIENE_PINNED);
	for (size_t i = 0; i < SIDE_COUNT; i++)
		buf_clear(&p->sh.out[i]);
	p->sh.log_read = p->sh.log_count;
}

static void step(struct play *p, struct str line) {
	struct str rest = line;
	struct str verb = word(&rest);
	if (str_is(verb, "open")) {
		shell_init(&p->sh, !str_is(word(&rest), "notls"));
		p->is_open = true;
	} else if (str_is(verb, "ready")) {
		struct str hygiene = word(&rest);
		do_ready(p, hygiene, word(&rest));
	} else if (!p->is_open) {
		bad(p, "open comes first", verb);
	} else if (str_is(verb, ">")) {
		say(p, SIDE_CLIENT, rest);
	} else if (str_is(verb, "<")) {
		say(p, SIDE_TARGET, rest);
	} else if (str_is(verb, "a")) {
		say(p, SIDE_AUX, rest);
	} else if (str_is(verb, "!")) {
		do_event(p, rest);
	} else if (str_is(verb, "U")) {
		expect_bytes(p, SIDE_TARGET, rest);
	} else if (str_is(verb, "R")) {
		expect_bytes(p, SIDE_CLIENT, rest);
	} else if (str_is(verb, "A")) {
		expect_bytes(p, SIDE_AUX, rest);
	} else if (str_is(verb, "idle")) {
		bool is_idle = pg_proto.is_idle(&p->sh.core);
		if (is_idle != str_is(word(&rest), "yes"))
			bad(p, "idle is", is_idle ? STR("yes") : STR("no"));
	} else if (str_is(verb, "phase")) {
		const char *phase = pg_proto.phase(&p->sh.core);
		if (!str_is(word(&rest), phase))
			bad(p, "the phase is", str_of(phase));
	} else {
		expect_log(p, line);
	}
}

static void finish(struct play *p) {
	static const char *const sides[] = { "client got more", "target got more", "aux got more" };
	for (size_t i = 0; i < SIDE_COUNT; i++) {
		if (p->sh.out[i].len > 0)
			bad(p, sides[i], str_head(buf_peek(&p->sh.out[i]), 80));
		if (p->sh.behind[i].len > 0)
			bad(p, "said inside a message", buf_peek(&p->sh.behind[i]));
	}
	if (p->sh.log_read < p->sh.log_count)
		bad(p, "more in the log", str_of(p->sh.log[p->sh.log_read]));
	shell_fini(&p->sh);
}

int script_play(struct str text, int cut, size_t *ret_longest, char *why, size_t why_size) {
	struct play *p = xcalloc(1, sizeof(*p));
	p->cut = cut;
	p->why = why;
	p->why_size = why_size;
	while (text.n > 0 && !p->is_bad) {
		struct str line = str_trim(str_cut(&text, '\n'));
		p->line++;
		if (line.n > 0 && line.p[0] != '#')
			step(p, line);
		if (p->is_open && p->sh.broken != NULL)
			bad(p, "broken promise", str_of(p->sh.broken));
	}
	if (p->is_open)
		finish(p);
	int rc = p->is_bad ? -1 : 0;
	*ret_longest = p->longest;
	free(p);
	return rc;
}
