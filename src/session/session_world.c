/*
 * session_world.c: sockets for clients and targets, and a recorder that does only what a test lets
 * it do.
 *
 * The protocol here ("frames") is small and has one message per thing that a core can order: a type
 * byte, a big-endian length of what follows, that many bytes.
 *
 *   from the client   A proof       redacted; ORD_ADMIT          L (empty)  TLS
 *                     R bytes       relayed whole or streamed     N bytes    wanted whole, then relayed
 *                     Z bytes       skipped                       X          closes the session
 *                     H bytes       relayed, the bytes hidden
 *   from the target   all           relayed
 *   to the client     G granted, E refused, K killed, T TLS is up
 *
 * The recorder in the test rebuilds the four streams from events by the rules of
 * docs/record-format.md and checks that seq is without gaps; at every turn the bytes that the target
 * has received must lie within what was durable.
 */
#include "session/session_world.h"

#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/test.h"
#include "session/admit.h"

enum { STAR = '*' };

/* ---- the protocol ---- */

struct core {
	struct order_sink *sink;
	bool is_granted, has_ended, wants_drain, is_busy;
	uint64_t asked;
};

static void send_to(struct core *c, enum side to, char type, struct str body) {
	struct buf b;
	struct order o = { .kind = ORD_SEND, .side = to, .why = WHY_NOTICE };

	buf_init(&b, MIB);
	w_u8(&b, (uint8_t)type);
	w_be32(&b, (uint32_t)body.n);
	w_bytes(&b, body);
	o.bytes = buf_peek(&b);
	(void)c->sink->emit(c->sink, &o);
	buf_fini(&b);
}

static void order(struct core *c, enum order_kind kind, enum side side, uint64_t n) {
	struct order o = { .kind = kind, .side = side, .n = n, .why = WHY_SKIPPED };

	(void)c->sink->emit(c->sink, &o);
}

/* Of a target's messages D is recorded as a digest, W not at all. */
static void relay(struct core *c, enum side side, uint64_t n, char type) {
	struct order o = { .kind = ORD_RELAY, .side = side, .n = n };

	if (side == SIDE_TARGET && (type == 'D' || type == 'W')) {
		o.depth = type == 'D' ? RECORD_DIGEST : RECORD_NONE;
		o.rows = 1;
	}
	(void)c->sink->emit(c->sink, &o);
}

static void on_proof(struct core *c, struct str body) {
	struct admit a = { .connection = STR("shop"), .proof = body };
	struct order o = { .kind = ORD_ADMIT, .admit = &a };

	(void)c->sink->emit(c->sink, &o);
	order(c, ORD_REDACT, SIDE_CLIENT, HEAD + body.n);
}

static void on_first(struct core *c, struct str body) {
	struct admit a = { .connection = STR("shop"), .hint = STR("key") };
	struct order o = {
		.kind = ORD_PROVE, .admit = &a, .name = STR("MECHANISM"), .bytes = body
	};

	(void)c->sink->emit(c->sink, &o);
	order(c, ORD_REDACT, SIDE_CLIENT, HEAD + body.n);
}

/* Bytes used, 0 for more. */
static size_t on_message(struct core *c, enum side side, struct str data) {
	uint32_t len;

	if (data.n < HEAD)
		return 0;
	memcpy(&len, data.p + 1, 4);
	len = be32toh(len);
	uint64_t all = HEAD + (uint64_t)len;
	char type = side == SIDE_TARGET ? 'R' : data.p[0];

	if (type == 'R' && c->is_granted) {
		relay(c, side, all, data.p[0]);
		return (size_t)MIN(all, (uint64_t)data.n);
	}
	if ((type == 'R' || type == 'N' || type == 'H') && !c->is_granted)
		return 0;
	if ((type == 'N' || type == 'H') && data.n < all) {
		if (all > 64 * KIB)
			order(c, ORD_NEED, side, all);
		return 0;
	}
	if (data.n < all)
		return 0;
	if (type == 'N')
		order(c, ORD_RELAY, side, all);
	else if (type == 'H') {
		order(c, ORD_RELAY, side, HEAD);
		order(c, ORD_HIDE, side, len);
	} else if (type == 'Z')
		order(c, ORD_SKIP, side, all);
	else if (type == 'W') {
		order(c, ORD_SKIP, side, all);
		order(c, ORD_RECEIPT, side, 0);
	} else if (type == 'B' || type == 'I') {
		c->is_busy = type == 'B';
		order(c, ORD_SKIP, side, all);
	} else if (type == 'A')
		on_proof(c, str_mem(data.p + HEAD, len));
	else if (type == 'P')
		on_first(c, str_mem(data.p + HEAD, len));
	else if (type == 'L') {
		order(c, ORD_SKIP, side, all);
		order(c, ORD_TLS, side, 0);
	} else {
		order(c, ORD_SKIP, side, all);
		order(c, ORD_CLOSE, side, 0);
	}
	return type == 'A' || type == 'L' ? SIZE_MAX : (size_t)all;
}

static int core_bytes(void *core, enum side side, struct str data, uint64_t now_ns) {
	struct core *c = core;

	(void)now_ns;
	while (data.n != 0) {
		size_t used = on_message(c, side, data);

		if (used == 0 || used == SIZE_MAX)
			break;
		data = str_from(data, used);
	}
	return 0;
}

static int core_event(void *core, const struct event *ev) {
	struct core *c = core;
	char code[16];

	(void)snprintf(code, sizeof(code), "%s", h_err_name(ev->code));
	if (ev->kind == EV_GRANTED) {
		c->is_granted = true;
		send_to(c, SIDE_CLIENT, 'G', STR_NONE);
	}
	if (ev->kind == EV_EXPIRING)
		send_to(c, SIDE_CLIENT, 'X', STR("expiring"));
	if (ev->kind == EV_RECEIPT)
		send_to(c, SIDE_CLIENT, 'W', ev->text);
	if (ev->kind == EV_PROVED)
		send_to(c, SIDE_CLIENT, 'P', ev->bytes);
	if (ev->kind == EV_REFUSED && ev->bytes.n != 0) {
		send_to(c, SIDE_CLIENT, 'C', ev->bytes);
		return 0;
	}
	if (ev->kind == EV_TLS_UP)
		send_to(c, SIDE_CLIENT, 'T', STR_NONE);
	if (ev->kind == EV_REFUSED || ev->kind == EV_KILL || ev->kind == EV_NO_BUDGET) {
		send_to(c, SIDE_CLIENT, ev->kind == EV_REFUSED ? 'E' : 'K', str_of(code));
		order(c, ORD_CLOSE, SIDE_CLIENT, 0);
	}
	if (ev->kind == EV_CLOSED)
		order(c, ev->side == SIDE_CLIENT && c->is_granted ? ORD_CLOSE_SIDE : ORD_CLOSE,
		      SIDE_TARGET, 0);
	return 0;
}

static void core_init(void *core, const struct proto_open *open) {
	((struct core *)core)->sink = open->sink;
}

static void core_fini(void *core) {
	(void)core;
}

static bool core_idle(const void *core) {
	const struct core *c = core;

	return c->is_granted && !c->is_busy;
}

static const char *core_phase(const void *core) {
	(void)core;
	return "any";
}

static const struct proto frames = { .name = "frames",
	                             .core_size = sizeof(struct core),
	                             .init = core_init,
	                             .on_bytes = core_bytes,
	                             .on_event = core_event,
	                             .fini = core_fini,
	                             .is_idle = core_idle,
	                             .phase = core_phase };

const struct proto *proto_find(struct str name) {
	return str_is(name, "frames") ? &frames : NULL;
}

/* ---- the world ---- */

static struct peer *peer_of(struct world *x, uint32_t slot, uint32_t generation) {
	for (size_t i = 0; i < x->count; i++) {
		if (x->peers[i].slot == slot && x->peers[i].generation == generation)
			return &x->peers[i];
	}
	return NULL;
}

void give_snapshot(struct world *x, const struct testcert *cert, uint8_t target_tls) {
	struct snapshot_listener l = { .protocol = STR("frames"), .address = STR("x") };
	struct snapshot_target t = { .connection = STR("shop"),
		                     .protocol = STR("frames"),
		                     .server_name = STR("localhost"),
		                     .tls = target_tls };
	struct snapshot s = { .sessions_max = SLOTS,
		              .preadmission_max = 8,
		              .admission_ns = 10 * NS_PER_S,
		              .domain = STR("pg.example"),
		              .listeners = &l,
		              .listener_count = 1,
		              .targets = &t,
		              .target_count = 1 };
	struct buf b;

	if (cert != NULL) {
		l.has_tls = true;
		l.cert_pem = str_of(cert->cert);
		l.key_pem = str_of(cert->key);
		t.ca_pem = l.cert_pem;
	}
	buf_init(&b, MIB);
	CHECK(snapshot_encode(&b, &s) == 0);
	auto_fd int fd = snapshot_seal(buf_peek(&b));

	worker_snapshot(&x->w, fd);
	buf_fini(&b);
}

void world_make(struct world *x, size_t ring_size) {
	int pair[2];

	log_setup("test", false, LOG_ALARM);
	(void)signal(SIGPIPE, SIG_IGN);
	tls_setup();
	*x = (struct world){ .payload = xmalloc(RING_PAYLOAD_MAX), .ipc = xmalloc(IPC_MAX + 16) };
	start_init(&x->start, ROLE_WORKER);
	x->start.thread_count = 1;
	(void)!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair);
	x->start.peer[ROLE_KEEPER] = pair[0];
	x->keeper = pair[1];
	CHECK(ring_create(ring_size, SLOTS, &x->start.threads[0].ring_fd, &x->commit_rw,
	                  &x->start.threads[0].commit_fd) == 0);
	CHECK(ring_map_recorder(&x->ring, x->start.threads[0].ring_fd, x->commit_rw) == 0);
	x->start.threads[0].worker_event = eventfd(0, EFD_NONBLOCK);
	x->start.recorder_event = eventfd(0, EFD_NONBLOCK);
	CHECK(worker_init(&x->w, &x->start) == 0);
	CHECK(worker_watch(&x->w) == 0);
	give_snapshot(x, NULL, 0);
}

void world_free(struct world *x) {
	CHECK(!x->is_broken);
	for (size_t i = 0; i < x->count; i++) {
		struct peer *p = &x->peers[i];

		(void)close(p->client);
		(void)close(p->target);
		for (int k = 0; k < STREAM_COUNT; k++)
			buf_fini(&p->stream[k]);
		buf_fini(&p->from_worker[0]);
		buf_fini(&p->from_worker[1]);
	}
	worker_fini(&x->w);
	ring_unmap(&x->ring);
	(void)close(x->start.threads[0].ring_fd);
	(void)close(x->start.threads[0].commit_fd);
	(void)close(x->start.threads[0].worker_event);
	(void)close(x->start.recorder_event);
	(void)close(x->start.peer[ROLE_KEEPER]);
	(void)close(x->keeper);
	(void)close(x->commit_rw);
	free(x->payload);
	free(x->ipc);
}

static void broken(struct world *x, const char *why) {
	if (!x->is_broken)
		test_note("broken: %s", why);
	x->is_broken = true;
}

/* ---- recorder ---- */

static void add(struct world *x, struct peer *p, enum stream s, uint64_t off, struct str bytes) {
	if (p->stream[s].len != off)
		broken(x, "offset of a stream does not continue it");
	w_bytes(&p->stream[s], bytes);
}

static void rebuild(struct world *x, struct peer *p, const struct rec_event *e) {
	enum stream s = (enum stream)(e->flags & REC_STREAM_MASK);
	enum stream sent = s == STREAM_C ? STREAM_U : STREAM_R;
	static char stars[64 * 1024];

	switch ((enum rec_type)e->type) {
	case REC_RAW:
		add(x, p, s, e->offset, e->bytes);
		add(x, p, sent, p->stream[sent].len, e->bytes);
		break;
	case REC_DROPPED:
	case REC_INJECTED:
		add(x, p, s, e->offset, e->bytes);
		break;
	case REC_HIDDEN:
		p->has_hidden = true;
		memset(stars, STAR, sizeof(stars));
		memcpy(p->mac, e->mac, sizeof(p->mac));
		add(x, p, s, e->offset, str_mem(stars, e->length));
		add(x, p, sent, p->stream[sent].len, str_mem(stars, e->length));
		break;
	case REC_DIGEST:
	case REC_WITHHELD:
		memcpy(p->digest, e->digest, sizeof(p->digest));
		p->rows += e->rows;
		p->kept_out++;
		memset(stars, STAR, sizeof(stars));
		add(x, p, s, e->offset, str_mem(stars, e->length));
		add(x, p, sent, p->stream[sent].len, str_mem(stars, e->length));
		break;
	case REC_REDACTED:
		add(x, p, s, e->offset, str_mem(stars, e->length));
		break;
	case REC_FORWARDED:
		if (e->offset <= p->forwarded[s] || e->offset > p->stream[s].len)
			broken(x, "forwarded does not grow within its stream");
		p->forwarded[s] = e->offset;
		break;
	case REC_END:
		p->has_ended = true;
		p->end_code = e->code;
		for (int i = 0; i < STREAM_COUNT; i++) {
			if (e->streams[i] != p->stream[i].len)
				broken(x, "END has other offsets than the streams");
		}
		break;
	case REC_COMMAND:
	case REC_FACT:
		break;
	}
}

/* Takes at most max events. */
size_t record(struct world *x, size_t max) {
	struct ring_event e;
	struct rec_event r;
	size_t n = 0;

	for (; n < max; n++) {
		int rc = ring_take(&x->ring, &e, x->payload);

		if (rc < 0)
			broken(x, "the ring's content cannot be");
		if (rc <= 0)
			break;
		struct peer *p = peer_of(x, e.slot, e.generation);

		if (p == NULL) {
			broken(x, "event of an unbound slot");
			continue;
		}
		if (e.seq != p->seq + 1)
			broken(x, "seq has a gap");
		p->seq = e.seq;
		if (rec_event_parse(&r, e.type, e.flags, str_mem(x->payload, e.len)) < 0)
			broken(x, "payload does not parse");
		rebuild(x, p, &r);
	}
	ring_release(&x->ring);
	return n;
}

void make_durable(struct world *x, struct peer *p) {
	p->durable_seq = p->seq;
	p->durable_u = p->stream[STREAM_U].len;
	ring_set_frame(&x->ring, p->slot,
	               &(struct ring_frame){ .number = p->seq, .log_size = 7, .leaf = { 0xab } });
	ring_set_durable(&x->ring, p->slot, p->generation, p->seq);
}

static void recorder_turn(struct world *x) {
	if (!x->is_recorder_held)
		(void)record(x, SIZE_MAX);
	for (size_t i = 0; i < x->count && !x->is_commit_held && !x->is_recorder_held; i++) {
		if (x->peers[i].durable_seq != x->peers[i].seq)
			make_durable(x, &x->peers[i]);
	}
	(void)!ring_commit_done(&x->ring);
}

/* ---- keeper ---- */

static struct peer *unbound(struct world *x) {
	for (size_t i = 0; i < x->count; i++) {
		if (x->peers[i].generation == 0)
			return &x->peers[i];
	}
	return NULL;
}

static void grant(struct world *x, struct ipc_msg *m) {
	struct peer *p = unbound(x);
	struct admit_msg a;
	struct grant_msg g = { .grant = m->id + 1,
		               .connection = STR("shop"),
		               .role = STR("default") };
	struct buf b;
	int pair[2];

	if (admit_get(&a, m->body) < 0 || p == NULL) {
		broken(x, "an ADMIT that fits nobody");
		return;
	}
	buf_init(&b, IPC_MAX);
	p->slot = a.slot;
	p->generation = a.generation;
	p->grant = g.grant;
	p->id = m->id;
	ring_bind(&x->ring, p->slot, p->generation);
	int large = 2 << 20;

	(void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
	/* A target that takes a whole queue at once, if we may: that no one has to wait is a case too. */
	if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large)) != 0)
		(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
	p->target = pair[1];
	g.g.durable = x->durable;
	g.g.session_max_ns = x->session_max;
	g.g.session_grace_ns = x->session_grace;
	g.g.server_name = STR("localhost");
	(void)str_copy(g.g.short_id, sizeof(g.g.short_id), STR("k7m2-9xqe"));
	grant_put(&b, &g);
	CHECK(ipc_send(x->keeper, IPC_GRANT, m->id, buf_peek(&b), &pair[0], 1) == 0);
	(void)close(pair[0]);
	buf_fini(&b);
}

static void keeper_turn(struct world *x) {
	struct ipc_msg m = { 0 };

	while (!x->is_keeper_held && ipc_recv(x->keeper, x->ipc, &m) == 1) {
		if (m.type == IPC_ADMIT)
			grant(x, &m);
		ipc_msg_close(&m);
	}
}

/* ---- peers ---- */

struct peer *connect_peer(struct world *x) {
	struct peer *p = &x->peers[x->count++];
	struct mail *m = mail_new(MAIL_ACCEPT, STR_NONE);
	struct snap *s = snap_get(&x->w.snap);
	int pair[2];

	assert(x->count <= PEERS);
	*p = (struct peer){ .client = -1, .target = -1 };
	for (int i = 0; i < STREAM_COUNT; i++)
		buf_init(&p->stream[i], 64 * MIB);
	buf_init(&p->from_worker[0], 64 * MIB);
	buf_init(&p->from_worker[1], 64 * MIB);
	(void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
	p->client = pair[1];
	m->fd = pair[0];
	m->peer.ss_family = AF_UNIX;
	m->proto = &frames;
	if (s->listener_tls[0] != NULL)
		m->tls = tls_ctx_ref(s->listener_tls[0]);
	snap_release(&s);
	thread_accept(&x->w.threads[0], m);
	mail_drop(m);
	return p;
}

void receive(int fd, struct buf *into) {
	uint8_t raw[65536];
	ssize_t n;

	while (fd >= 0 && (n = read(fd, raw, sizeof(raw))) > 0)
		w_bytes(into, str_mem(raw, (size_t)n));
}

/* Bytes that are not on the record are STAR there. */
static bool is_stream(const struct buf *stream, struct str got, bool has_hidden) {
	const char *want = buf_peek(stream).p;

	if (!has_hidden)
		return memcmp(got.p, want, got.n) == 0;
	for (size_t i = 0; i < got.n; i++)
		if (got.p[i] != want[i] && want[i] != STAR)
			return false;
	return true;
}

static void check_target(struct world *x, struct peer *p) {
	struct str got = buf_peek(&p->from_worker[1]);

	if (x->durable != DURABLE_ASYNC && got.n > p->durable_u)
		broken(x, "the target has bytes that are not durable");
	if (got.n > p->stream[STREAM_U].len ||
	    (got.n != 0 && !is_stream(&p->stream[STREAM_U], got, p->has_hidden)))
		broken(x, "the target has other bytes than stream U");
}

void turn(struct world *x) {
	CHECK(loop_turn(x->w.threads[0].loop, 0) == 0);
	keeper_turn(x);
	for (size_t i = 0; i < x->count; i++)
		receive(x->peers[i].target, &x->peers[i].from_worker[1]);
	/* Before the recorder moves on: what the target has must have been durable already. */
	if (!x->is_recorder_held)
		(void)record(x, SIZE_MAX);
	for (size_t i = 0; i < x->count; i++)
		check_target(x, &x->peers[i]);
	recorder_turn(x);
}

void turns(struct world *x, int n) {
	for (int i = 0; i < n; i++)
		turn(x);
}

void read_clients(struct world *x) {
	for (size_t i = 0; i < x->count; i++)
		receive(x->peers[i].client, &x->peers[i].from_worker[0]);
}

void say(int fd, char type, struct str body) {
	struct buf b;

	buf_init(&b, 64 * MIB);
	w_u8(&b, (uint8_t)type);
	w_be32(&b, (uint32_t)body.n);
	w_bytes(&b, body);
	CHECK(write(fd, buf_peek(&b).p, b.len) == (ssize_t)b.len);
	buf_fini(&b);
}

struct peer *admitted(struct world *x) {
	struct peer *p = connect_peer(x);

	say(p->client, 'A', STR("a-secret-proof"));
	turns(x, 4);
	read_clients(x);
	CHECK(buf_peek(&p->from_worker[0]).n == HEAD && buf_peek(&p->from_worker[0]).p[0] == 'G');
	buf_clear(&p->from_worker[0]);
	return p;
}

bool target_has(const struct peer *p, const char *text) {
	struct str got = buf_peek(&p->from_worker[1]);

	return got.n != 0 && memmem(got.p, got.n, text, strlen(text)) != NULL;
}

bool client_has(struct world *x, struct peer *p, const char *text) {
	read_clients(x);
	struct str got = buf_peek(&p->from_worker[0]);

	return got.n != 0 && memmem(got.p, got.n, text, strlen(text)) != NULL;
}

struct session *session_of_peer(struct world *x, const struct peer *p) {
	return thread_find(&x->w.threads[0], p->slot, p->generation);
}

struct session *only_session(struct world *x) {
	struct thread *t = &x->w.threads[0];

	return list_empty(&t->sessions) ? NULL : list_first(&t->sessions, struct session, link);
}

bool is_eof(int fd) {
	uint8_t b[4096];
	ssize_t n;

	while ((n = read(fd, b, sizeof(b))) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}
