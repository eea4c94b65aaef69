/*
 * session_test.c: the shell with sockets for clients and targets, and a recorder that does only what
 * the test lets it do.
 *
 * The protocol here ("frames") is small and has one message per thing that a core can order: a type
 * byte, a big-endian length of what follows, that many bytes.
 *
 *   from the client   A proof       redacted; ORD_ADMIT          L (empty)  TLS
 *                     R bytes       relayed whole or streamed     N bytes    wanted whole, then relayed
 *                     Z bytes       skipped                       X          closes the session
 *   from the target   all           relayed
 *   to the client     G granted, E refused, K killed, T TLS is up
 *
 * The recorder in the test rebuilds the four streams from events by the rules of
 * docs/record-format.md and checks that seq is without gaps; at every turn the bytes that the target
 * has received must lie within what was durable.
 */
#include "session/shell.h"

#include <endian.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/test.h"
#include "net/testcert.h"
#include "session/admit.h"

/* ---- the protocol ---- */

enum { HEAD = 5 };

struct core {
	struct order_sink *sink;
	bool is_granted, has_ended, wants_drain;
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

static void on_proof(struct core *c, struct str body) {
	struct admit a = { .connection = STR("shop"), .proof = body };
	struct order o = { .kind = ORD_ADMIT, .admit = &a };

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
		order(c, ORD_RELAY, side, all);
		return (size_t)MIN(all, (uint64_t)data.n);
	}
	if ((type == 'R' || type == 'N') && !c->is_granted)
		return 0;
	if (type == 'N' && data.n < all) {
		if (all > 64 * KIB)
			order(c, ORD_NEED, side, all);
		return 0;
	}
	if (data.n < all)
		return 0;
	if (type == 'N')
		order(c, ORD_RELAY, side, all);
	else if (type == 'Z')
		order(c, ORD_SKIP, side, all);
	else if (type == 'A')
		on_proof(c, str_mem(data.p + HEAD, len));
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
	return ((const struct core *)core)->is_granted;
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

enum { SLOTS = 64, PEERS = 32 };

/* One session as the test sees it. */
struct peer {
	int client, target; /* our ends; -1 */
	uint32_t slot, generation;
	uint64_t grant, id;
	uint64_t seq, durable_seq;
	struct buf stream[STREAM_COUNT];
	uint64_t durable_u;        /* bytes of U within what is durable */
	struct buf from_worker[2]; /* what our client, our target has received */
	uint64_t forwarded[STREAM_COUNT];
	bool has_ended;
	int64_t end_code;
};

struct world {
	struct start start;
	struct worker w;
	struct ring ring;
	int keeper, commit_rw;
	struct peer peers[PEERS];
	size_t count;
	uint8_t *payload, *ipc;
	enum durable durable;
	uint64_t session_max;
	bool is_recorder_held; /* takes nothing */
	bool is_commit_held;   /* takes, and makes nothing durable */
	bool is_keeper_held;
	bool is_broken;
	struct snapshot_listener listener;
};

static struct peer *peer_of(struct world *x, uint32_t slot, uint32_t generation) {
	for (size_t i = 0; i < x->count; i++) {
		if (x->peers[i].slot == slot && x->peers[i].generation == generation)
			return &x->peers[i];
	}
	return NULL;
}

static void give_snapshot(struct world *x, const struct testcert *cert, uint8_t target_tls) {
	struct snapshot_listener l = { .protocol = STR("frames"), .address = STR("x") };
	struct snapshot_target t = { .connection = STR("shop"),
		                     .protocol = STR("frames"),
		                     .server_name = STR("localhost"),
		                     .tls = target_tls };
	struct snapshot s = { .sessions_max = SLOTS,
		              .preadmission_max = 8,
		              .admission_ns = 10 * NS_PER_S,
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

static void world_make(struct world *x, size_t ring_size) {
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

static void world_free(struct world *x) {
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
	static const char stars[64 * 1024];

	switch ((enum rec_type)e->type) {
	case REC_RAW:
		add(x, p, s, e->offset, e->bytes);
		add(x, p, sent, p->stream[sent].len, e->bytes);
		break;
	case REC_DROPPED:
	case REC_INJECTED:
		add(x, p, s, e->offset, e->bytes);
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
static size_t record(struct world *x, size_t max) {
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

static void make_durable(struct world *x, struct peer *p) {
	p->durable_seq = p->seq;
	p->durable_u = p->stream[STREAM_U].len;
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
	(void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
	p->target = pair[1];
	g.g.durable = x->durable;
	g.g.session_max_ns = x->session_max;
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

static struct peer *connect_peer(struct world *x) {
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

static void receive(int fd, struct buf *into) {
	uint8_t raw[65536];
	ssize_t n;

	while (fd >= 0 && (n = read(fd, raw, sizeof(raw))) > 0)
		w_bytes(into, str_mem(raw, (size_t)n));
}

static void check_target(struct world *x, struct peer *p) {
	struct str got = buf_peek(&p->from_worker[1]);

	if (x->durable != DURABLE_ASYNC && got.n > p->durable_u)
		broken(x, "the target has bytes that are not durable");
	if (got.n > p->stream[STREAM_U].len ||
	    (got.n != 0 && memcmp(got.p, buf_peek(&p->stream[STREAM_U]).p, got.n) != 0))
		broken(x, "the target has other bytes than stream U");
}

static void turn(struct world *x) {
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

static void turns(struct world *x, int n) {
	for (int i = 0; i < n; i++)
		turn(x);
}

static void read_clients(struct world *x) {
	for (size_t i = 0; i < x->count; i++)
		receive(x->peers[i].client, &x->peers[i].from_worker[0]);
}

static void say(int fd, char type, struct str body) {
	struct buf b;

	buf_init(&b, 64 * MIB);
	w_u8(&b, (uint8_t)type);
	w_be32(&b, (uint32_t)body.n);
	w_bytes(&b, body);
	CHECK(write(fd, buf_peek(&b).p, b.len) == (ssize_t)b.len);
	buf_fini(&b);
}

static struct peer *admitted(struct world *x) {
	struct peer *p = connect_peer(x);

	say(p->client, 'A', STR("a-secret-proof"));
	turns(x, 4);
	read_clients(x);
	CHECK(buf_peek(&p->from_worker[0]).n == HEAD && buf_peek(&p->from_worker[0]).p[0] == 'G');
	buf_clear(&p->from_worker[0]);
	return p;
}

static bool target_has(const struct peer *p, const char *text) {
	struct str got = buf_peek(&p->from_worker[1]);

	return got.n != 0 && memmem(got.p, got.n, text, strlen(text)) != NULL;
}

static bool client_has(struct world *x, struct peer *p, const char *text) {
	read_clients(x);
	struct str got = buf_peek(&p->from_worker[0]);

	return got.n != 0 && memmem(got.p, got.n, text, strlen(text)) != NULL;
}

static struct session *session_of_peer(struct world *x, const struct peer *p) {
	return thread_find(&x->w.threads[0], p->slot, p->generation);
}

static struct session *only_session(struct world *x) {
	struct thread *t = &x->w.threads[0];

	return list_empty(&t->sessions) ? NULL : list_first(&t->sessions, struct session, link);
}

static bool is_eof(int fd) {
	uint8_t b[4096];
	ssize_t n;

	while ((n = read(fd, b, sizeof(b))) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

/* ---- tests ---- */

TEST(session_record_first) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("hello"));
	turns(&x, 5);
	CHECK(p->stream[STREAM_U].len == HEAD + 5);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK(target_has(p, "hello"));
	say(p->target, 'R', STR("world"));
	turns(&x, 2);
	CHECK(client_has(&x, p, "world"));
	world_free(&x);
}

TEST(session_proof_is_not_recorded) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);
	struct ring *r = &x.w.threads[0].ring;

	CHECK(memmem(r->data, (size_t)r->mask + 1, "a-secret-proof", 14) == NULL);
	CHECK_EQ_U(p->stream[STREAM_C].len, HEAD + 14);
	CHECK_EQ_U(p->stream[STREAM_U].len, 0);
	CHECK(session_of_peer(&x, p)->admit.p == NULL);
	world_free(&x);
}

TEST(session_async_waits_for_nothing) {
	struct world x;

	world_make(&x, MIB);
	x.durable = DURABLE_ASYNC;
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("hello"));
	turns(&x, 3);
	CHECK(target_has(p, "hello"));
	world_free(&x);
}

TEST(session_both_ways_holds_answers) {
	struct world x;

	world_make(&x, MIB);
	x.durable = DURABLE_BOTH_WAYS;
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->target, 'R', STR("answer"));
	turns(&x, 3);
	CHECK(!client_has(&x, p, "answer"));
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK(client_has(&x, p, "answer"));
	world_free(&x);
}

TEST(session_split_at_every_byte) {
	struct world x;
	static const char script[] = "A\0\0\0\3abc"
				     "R\0\0\0\2xy"
				     "Z\0\0\0\4skip"
				     "N\0\0\0\5whole"
				     "X\0\0\0";
	size_t n = sizeof(script); /* the last length byte is the NUL */

	world_make(&x, MIB);
	for (size_t cut = 1; cut < n; cut += 1) {
		struct peer *p = connect_peer(&x);

		CHECK(write(p->client, script, cut) == (ssize_t)cut);
		turns(&x, 4);
		CHECK(write(p->client, script + cut, n - cut) == (ssize_t)(n - cut));
		turns(&x, 6);
		CHECK_EQ_STR(buf_peek(&p->from_worker[1]),
		             str_mem("R\0\0\0\2xyN\0\0\0\5whole", 17));
		CHECK_EQ_U(p->stream[STREAM_C].len, n);
		CHECK(p->has_ended && p->end_code == 0);
		CHECK(is_eof(p->client));
		CHECK(is_eof(p->target));
		(void)close(p->client);
		p->client = -1;
		turns(&x, 2);
		if (x.count == PEERS - 1) {
			world_free(&x);
			world_make(&x, MIB);
		}
	}
	CHECK(only_session(&x) == NULL);
	world_free(&x);
}

/* Deterministic noise. */
static uint32_t noise(uint32_t *state) {
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* A large message in, one out, through sockets, a small ring and commits that come when they like. */
static void storm(uint32_t seed, enum durable durable) {
	struct world x;
	uint32_t rnd = seed;
	size_t all = 700 * KIB + noise(&rnd) % 300000;
	auto_free uint8_t *bytes = xmalloc(all + HEAD);
	uint32_t len = htobe32((uint32_t)all);
	size_t up = 0, down = 0;

	world_make(&x, 512 * KIB);
	x.durable = durable;
	struct peer *p = admitted(&x);

	for (size_t i = 0; i < all; i++)
		bytes[HEAD + i] = (uint8_t)noise(&rnd);
	bytes[0] = noise(&rnd) % 2 == 0 ? 'R' : 'N';
	memcpy(bytes + 1, &len, 4);
	for (int i = 0; i < 20000 &&
	                (p->from_worker[1].len < all + HEAD || p->from_worker[0].len < all + HEAD);
	     i++) {
		x.is_recorder_held = noise(&rnd) % 4 == 0;
		x.is_commit_held = noise(&rnd) % 3 == 0;
		size_t most = noise(&rnd) % 90000;
		ssize_t n = write(p->client, bytes + up, MIN(all + HEAD - up, most));

		up += n > 0 ? (size_t)n : 0;
		n = write(p->target, bytes + down, MIN(all + HEAD - down, most));
		down += n > 0 ? (size_t)n : 0;
		if (noise(&rnd) % 3 == 0)
			read_clients(&x);
		turn(&x);
	}
	read_clients(&x);
	CHECK(str_eq(buf_peek(&p->from_worker[1]), str_mem(bytes, all + HEAD)));
	CHECK(str_eq(buf_peek(&p->from_worker[0]), str_from(buf_peek(&p->stream[STREAM_R]), HEAD)));
	CHECK_EQ_U(p->from_worker[0].len, all + HEAD);
	CHECK_EQ_U(atomic_load(&x.w.need_budget), 0);
	world_free(&x);
}

TEST(session_storms) {
	for (uint32_t seed = 1; seed <= 12; seed++)
		storm(seed, seed % 4 == 0 ? DURABLE_BOTH_WAYS : DURABLE_BEFORE_FORWARD);
}

TEST(session_ring_full_parks) {
	struct world x;
	char block[30000];

	world_make(&x, 256 * KIB);
	struct peer *p = admitted(&x), *q = admitted(&x);

	memset(block, 'b', sizeof(block));
	x.is_recorder_held = true;
	for (int i = 0; i < 20; i++) {
		say(p->target, 'R', str_mem(block, 8000));
		if (i < 5)
			say(p->client, 'R', str_mem(block, sizeof(block)));
		turn(&x);
		read_clients(&x);
	}
	for (int i = 0; i < 20; i++) {
		(void)!write(p->target, block, 0);
		say(q->target, 'R', str_mem(block, 8000));
		turn(&x);
		read_clients(&x);
	}
	CHECK(session_of_peer(&x, p)->is_parked || session_of_peer(&x, q)->is_parked);
	x.is_recorder_held = false;
	turns(&x, 30);
	read_clients(&x);
	CHECK_EQ_U(p->from_worker[1].len, 5 * (HEAD + sizeof(block)));
	CHECK_EQ_U(q->from_worker[0].len, 20 * (HEAD + 8000));
	CHECK_EQ_U(p->from_worker[0].len, 20 * (HEAD + 8000));
	world_free(&x);
}

TEST(session_slow_client_leaves_others_alone) {
	struct world x;
	char block[60000];
	size_t pushed = 0;

	world_make(&x, MIB);
	struct peer *slow = admitted(&x), *quick = admitted(&x);

	memset(block, 'b', sizeof(block));
	for (int i = 0; i < 300; i++) {
		uint8_t head[HEAD] = { 'R', 0, 0, 0xea, 0x60 };

		if (write(slow->target, head, HEAD) == HEAD)
			pushed += HEAD;
		ssize_t n = write(slow->target, block, sizeof(block));

		pushed += n > 0 ? (size_t)n : 0;
		turn(&x);
	}
	struct session *s = session_of_peer(&x, slow);

	CHECK(pushed < 2 * MIB);
	CHECK(s->sides[SIDE_CLIENT].out.len <= OUT_HIGH + 2 * WINDOW_MAX);
	CHECK(s->sides[SIDE_TARGET].in.len <= WINDOW_MAX);
	say(quick->client, 'R', STR("ping"));
	turns(&x, 3);
	CHECK(target_has(quick, "ping"));
	say(quick->target, 'R', STR("pong"));
	turns(&x, 3);
	receive(quick->client, &quick->from_worker[0]);
	CHECK_EQ_U(quick->from_worker[0].len, HEAD + 4);
	world_free(&x);
}

TEST(session_undurable_bytes_are_bounded) {
	struct world x;
	static uint8_t block[60000] = { 'R', 0, 0, 0xea, 0x5b };
	size_t pushed = 0;

	world_make(&x, 8 * MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	for (int i = 0; i < 200; i++) {
		ssize_t n = write(p->target, block, sizeof(block));

		if (n > 0)
			pushed += (size_t)n;
		if (n > 0 && n < (ssize_t)sizeof(block))
			break;
		read_clients(&x);
		turn(&x);
	}
	CHECK(pushed < 2 * MIB);
	CHECK(pushed > MIB / 2);
	x.is_commit_held = false;
	turns(&x, 20);
	read_clients(&x);
	turns(&x, 20);
	read_clients(&x);
	CHECK_EQ_U(p->from_worker[0].len, pushed);
	world_free(&x);
}

TEST(session_client_eof_is_in_order) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("last words"));
	(void)shutdown(p->client, SHUT_WR);
	turns(&x, 5);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	x.is_commit_held = false;
	turns(&x, 4);
	CHECK(target_has(p, "last words"));
	CHECK(is_eof(p->target));
	say(p->target, 'R', STR("an answer"));
	turns(&x, 3);
	CHECK(memmem(buf_peek(&p->stream[STREAM_T]).p, p->stream[STREAM_T].len, "an answer", 9) !=
	      NULL);
	CHECK(client_has(&x, p, "an answer"));
	CHECK(!p->has_ended);
	(void)close(p->target);
	p->target = -1;
	turns(&x, 4);
	CHECK(p->has_ended);
	CHECK_EQ_U(p->forwarded[STREAM_U], p->stream[STREAM_U].len);
	CHECK_EQ_U(p->forwarded[STREAM_R], p->stream[STREAM_R].len);
	CHECK(only_session(&x) == NULL);
	world_free(&x);
}

static void keeper_says_kill(struct world *x, const struct peer *p, int code) {
	struct buf b;

	buf_init(&b, 64);
	w_u32(&b, p->slot);
	w_u32(&b, p->generation);
	w_u32(&b, (uint32_t)code);
	CHECK(ipc_send(x->keeper, IPC_KILL, 0, buf_peek(&b), NULL, 0) == 0);
	buf_fini(&b);
}

TEST(session_kill_drops_what_waits) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x), *other = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("drop table"));
	turns(&x, 3);
	keeper_says_kill(&x, p, H_EKILLED);
	turns(&x, 2);
	x.is_commit_held = false;
	turns(&x, 6);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	CHECK(client_has(&x, p, "EKILLED"));
	CHECK(p->has_ended && p->end_code == H_EKILLED);
	CHECK_EQ_U(p->forwarded[STREAM_U], 0);
	CHECK(!other->has_ended && session_of_peer(&x, other) != NULL);
	world_free(&x);
}

static void fails_with(enum ring_slot_state state, const char *text) {
	struct world x;

	world_make(&x, MIB);
	struct peer *p = admitted(&x);

	x.is_commit_held = true;
	say(p->client, 'R', STR("not recorded"));
	turns(&x, 3);
	ring_set_state(&x.ring, p->slot, state);
	turns(&x, 3);
	CHECK(client_has(&x, p, text));
	x.is_commit_held = false;
	turns(&x, 3);
	CHECK_EQ_U(p->from_worker[1].len, 0);
	CHECK(is_eof(p->client));
	world_free(&x);
}

TEST(session_recording_fails) {
	fails_with(RING_SLOT_FAILED, "ERECORDER");
	fails_with(RING_SLOT_NOSPACE, "ENOSPACE");
	fails_with(RING_SLOT_QUOTA, "EQUOTA");
}

/* The recorder dies while the ring is full: the error is said all the same, and nobody hangs. */
TEST(session_recorder_dies_with_a_full_ring) {
	struct world x;
	char block[30000];

	world_make(&x, 256 * KIB);
	struct peer *p = admitted(&x);

	memset(block, 'b', sizeof(block));
	x.is_recorder_held = true;
	for (int i = 0; i < 5; i++) {
		say(p->client, 'R', str_mem(block, sizeof(block)));
		say(p->target, 'R', str_mem(block, sizeof(block)));
		turns(&x, 2);
		read_clients(&x);
	}
	thread_mail(&x.w.threads[0], mail_new(MAIL_RECORDER_GONE, STR_NONE));
	turns(&x, 3);
	CHECK(client_has(&x, p, "ERECORDER"));
	CHECK_EQ_U(p->from_worker[1].len, 0);
	(void)close(p->client);
	p->client = -1;
	turns(&x, 3);
	CHECK(only_session(&x) == NULL);
	world_free(&x);
}

TEST(session_keeper_is_away) {
	struct world x;

	world_make(&x, MIB);
	struct thread *t = &x.w.threads[0];

	keeper_state(t, false);
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 3);
	session_tick(only_session(&x), thread_now(t) + 9 * NS_PER_S);
	CHECK(!client_has(&x, p, "EKEEPER"));
	session_tick(only_session(&x), thread_now(t) + 11 * NS_PER_S);
	turns(&x, 2);
	CHECK(client_has(&x, p, "EKEEPER"));
	CHECK(is_eof(p->client));
	world_free(&x);
}

/* It was asked and died; the next one is asked anew, under a new generation. */
TEST(session_keeper_restarts) {
	struct world x;

	world_make(&x, MIB);
	struct thread *t = &x.w.threads[0];

	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 3);
	uint32_t before = only_session(&x)->generation;
	struct ipc_msg m = { 0 };

	CHECK_EQ_I(ipc_recv(x.keeper, x.ipc, &m), 1);
	keeper_state(t, false);
	turns(&x, 2);
	x.is_keeper_held = false;
	keeper_state(t, true);
	turns(&x, 4);
	CHECK(client_has(&x, p, "G"));
	CHECK(p->generation == before + 1);
	say(p->client, 'R', STR("hello"));
	turns(&x, 4);
	CHECK(target_has(p, "hello"));
	world_free(&x);
}

/* The client leaves while the keeper thinks: what was opened is ended. */
TEST(session_left_while_admitting) {
	struct world x;

	world_make(&x, MIB);
	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 2);
	(void)close(p->client);
	p->client = -1;
	turns(&x, 3);
	CHECK(only_session(&x) != NULL);
	x.is_keeper_held = false;
	turns(&x, 4);
	CHECK(p->has_ended);
	CHECK(only_session(&x) == NULL);
	CHECK(is_eof(p->target));
	world_free(&x);
}

TEST(session_refused) {
	struct world x;
	struct ipc_msg m = { 0 };
	struct buf b;

	world_make(&x, MIB);
	x.is_keeper_held = true;
	struct peer *p = connect_peer(&x);

	say(p->client, 'A', STR("proof"));
	turns(&x, 2);
	REQUIRE(ipc_recv(x.keeper, x.ipc, &m) == 1);
	buf_init(&b, 256);
	w_u32(&b, (uint32_t)H_EREFUSED);
	w_vstr(&b, STR("not admitted"));
	CHECK(ipc_send(x.keeper, IPC_REFUSE, m.id, buf_peek(&b), NULL, 0) == 0);
	buf_fini(&b);
	turns(&x, 3);
	CHECK(client_has(&x, p, "EREFUSED"));
	CHECK_EQ_U(ring_backlog(&x.ring), 0);
	world_free(&x);
}

TEST(session_silent_peers_make_room) {
	struct world x;

	world_make(&x, MIB);
	for (int i = 0; i < 8; i++)
		(void)connect_peer(&x);
	CHECK_EQ_U(atomic_load(&x.w.preadmission_count), 8);
	struct peer *p = connect_peer(&x);

	turns(&x, 2);
	CHECK(is_eof(x.peers[0].client));
	CHECK(!is_eof(x.peers[7].client));
	for (size_t i = 0; i < 8; i++)
		x.peers[i].generation = UINT32_MAX; /* not for the grant */
	say(p->client, 'A', STR("proof"));
	turns(&x, 4);
	CHECK(client_has(&x, p, "G"));
	struct session *s = only_session(&x);

	if (s->state == S_ENDED)
		s = container_of(s->link.next, struct session, link);
	CHECK(s->state == S_PRE);
	s->life.fn(&s->life); /* its deadline */
	turns(&x, 2);
	CHECK(is_eof(x.peers[1].client));
	world_free(&x);
}

TEST(session_flood_before_admission) {
	struct world x;
	static uint8_t block[200000] = { 'Z', 0, 1, 0x86, 0xa0 };

	world_make(&x, MIB);
	struct peer *p = connect_peer(&x);

	(void)!write(p->client, block, sizeof(block));
	turns(&x, 20);
	struct session *s = only_session(&x);

	CHECK(s->sides[SIDE_CLIENT].in.len <= PRE_MAX);
	CHECK(s->pre.len <= PRE_EVENTS_MAX);
	world_free(&x);
}

/* Skipped bytes are events: they are bounded too. */
TEST(session_chatter_before_admission) {
	struct world x;
	char block[8000] = { 'Z', 0, 0, 0x1f, 0x3b };

	world_make(&x, MIB);
	struct peer *p = connect_peer(&x);

	for (int i = 0; i < 20; i++) {
		(void)!write(p->client, block, sizeof(block));
		turn(&x);
	}
	turns(&x, 3);
	CHECK(is_eof(p->client));
	world_free(&x);
}

TEST(session_expires_when_idle) {
	struct world x;

	world_make(&x, MIB);
	x.session_max = 3600 * NS_PER_S;
	struct peer *p = admitted(&x);
	struct session *s = session_of_peer(&x, p);

	s->life.fn(&s->life);
	turns(&x, 4);
	CHECK(client_has(&x, p, "EEXPIRED"));
	CHECK(p->has_ended && p->end_code == H_EEXPIRED);
	world_free(&x);
}

/* ---- TLS ---- */

struct tls_client {
	struct tls *tls;
	struct tls_scratch *scratch;
};

static struct testcert cert;

TEST(session_tls_both_ways) {
	struct world x;
	struct tls_client c = { .scratch = xmalloc(sizeof(struct tls_scratch)) };
	uint8_t got[128];
	int rc = 0, n = 0;

	world_make(&x, MIB);
	testcert_make(&cert, "DNS:localhost");
	give_snapshot(&x, &cert, TLS_VERIFY_NAME);
	struct peer *p = connect_peer(&x);
	struct tls_ctx *ctx = tls_ctx_client(TLS_VERIFY_NAME, str_of(cert.cert), NULL);

	say(p->client, 'L', STR_NONE);
	turns(&x, 2);
	c.tls = tls_new(ctx, p->client, STR("localhost"));
	for (int i = 0; i < 20 && rc == 0; i++) {
		rc = tls_handshake(c.tls, c.scratch);
		turn(&x);
	}
	CHECK_EQ_I(rc, 1);
	turns(&x, 2);
	n = tls_read(c.tls, c.scratch, got, sizeof(got));
	CHECK(n == HEAD && got[0] == 'T');
	CHECK_EQ_I(tls_write(c.tls, c.scratch, str_mem("A\0\0\0\3abcR\0\0\0\5hello", 18)), 18);
	turns(&x, 6);
	CHECK(target_has(p, "hello"));
	n = tls_read(c.tls, c.scratch, got, sizeof(got));
	CHECK(n == HEAD && got[0] == 'G');
	tls_free(&c.tls);
	tls_ctx_free(&ctx);
	free(c.scratch);
	world_free(&x);
}

/* CVE-2021-23214: what came in clear behind the request must not be taken for what came inside. */
TEST(session_plaintext_behind_tls_request) {
	struct world x;

	world_make(&x, MIB);
	testcert_make(&cert, "DNS:localhost");
	give_snapshot(&x, &cert, 0);
	struct peer *p = connect_peer(&x);

	CHECK(write(p->client, "L\0\0\0\0R\0\0\0\4evil", 14) == 14);
	turns(&x, 3);
	CHECK(is_eof(p->client));
	world_free(&x);
}

/* ---- memory ---- */

static size_t heap_used(void) {
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

TEST(session_idle_memory) {
	struct world x;
	enum { N = 20 };

	world_make(&x, MIB);
	size_t before = heap_used();

	for (int i = 0; i < N; i++) {
		struct peer *p = admitted(&x);

		say(p->client, 'R', STR("select 1"));
		turns(&x, 3);
	}
	for (int i = 0; i < N; i++) {
		for (int k = 0; k < STREAM_COUNT; k++)
			buf_fini(&x.peers[i].stream[k]);
		buf_fini(&x.peers[i].from_worker[0]);
		buf_fini(&x.peers[i].from_worker[1]);
	}
	list_each (it, &x.w.threads[0].sessions)
		session_tick(container_of(it, struct session, link), 0);
	size_t each = (heap_used() - before) / N;

	test_note("bytes per idle session, plain, small core: %zu", each);
	CHECK(each < 8192);
	world_free(&x);
}

TEST_MAIN
