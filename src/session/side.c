/*
 * side.c: one side of a session: its socket, what was read and not carried out, what waits to be
 * written, and TLS.
 *
 *      socket ─▶ scratch of the thread ─▶ core ─▶ ring, and the other side's queue ─▶ socket
 *                     └▶ `in`, what the core left
 *
 * Reading goes into the thread's scratch when nothing is left from before; what the core leaves is
 * copied to `in` at the end of the run. So a session that keeps up owns no buffer. Writing to the
 * client goes straight from where it was read when nothing is queued (`direct`).
 *
 * Held bytes. `out` is one queue; marks say up to where it may be written once which event is
 * durable. There are at most MARKS_MAX: when they run out the last one is moved on, which only holds
 * longer. side_flush asserts what DESIGN §4 demands, by a look of its own at the commit memory.
 *
 * A peer that cannot be written any more loses what was queued for it and is still read to its end: its
 * last words are part of the record. A target whose client cannot be told any more is read for
 * UNHEARD_MAX bytes (the tag of an update, the end of a transaction); then the session ends, as the
 * target's own writing would have failed had the client been connected to it.
 */
#include "session/shell.h"

#include "base/clock.h"

enum { KEEP_CAP = 4096 }; /* a queue's memory up to this stays between statements */

static void on_ready(struct watch *w, unsigned events);

void side_init(struct session *s, enum side which) {
	struct side_state *d = &s->sides[which];

	d->s = s;
	d->which = which;
	d->conn.fd = -1;
	list_init(&d->busy_link);
	buf_init(&d->in, WINDOW_MAX);
	buf_init(&d->out, OUT_MAX);
	buf_init(&d->lane, LANE_MAX);
}

int side_open(struct session *s, enum side which, int fd) {
	struct side_state *d = &s->sides[which];

	net_tune(fd);
	d->conn.fd = fd;
	d->watch = (struct watch){ .fd = fd, .fn = on_ready };
	int rc = loop_add(s->t->loop, &d->watch, LOOP_IN);

	if (rc < 0) {
		conn_close(&d->conn);
		return rc;
	}
	d->is_open = true;
	return 0;
}

static void return_budget(struct side_state *d) {
	(void)budget_set(&d->s->t->w->need_budget, NEED_BUDGET_MAX, &d->budget, 0);
}

void side_close(struct side_state *d) {
	list_drop(&d->busy_link);
	loop_del(d->s->t->loop, &d->watch);
	conn_close(&d->conn);
	d->is_open = false;
}

void side_fini(struct session *s, enum side which) {
	struct side_state *d = &s->sides[which];

	side_close(d);
	return_budget(d);
	buf_clear(&d->in);
	buf_trim(&d->in, true);
	buf_fini(&d->in);
	buf_fini(&d->out);
	buf_fini(&d->lane);
	d->is_scratch = false;
}

/* ---- what is held ---- */

struct str side_held(const struct side_state *d) {
	return d->is_scratch ? str_mem(d->view, d->view_len) : buf_peek(&d->in);
}

void side_consume(struct side_state *d, size_t n, bool secret) {
	assert(n <= d->owed);
	d->owed -= n;
	if (secret)
		wipe(d->is_scratch ? d->view : d->in.p + d->in.off, n);
	if (!d->is_scratch) {
		buf_consume(&d->in, n);
		return;
	}
	d->view += n;
	d->view_len -= n;
}

void side_save(struct side_state *d) {
	if (d->is_scratch) {
		d->is_scratch = false;
		/* It came from one read that was no larger than the room in `in`. */
		if (buf_append(&d->in, str_mem(d->view, d->view_len)) < 0)
			session_close(d->s, H_EBUG);
		if (d->s->state != S_LIVE)
			wipe(d->view, d->view_len); /* there may be a password in it */
	}
	if (d->in.len != 0)
		return;
	buf_trim(&d->in, d->s->state != S_LIVE);
	if (d->budget != 0) {
		return_budget(d);
		d->in.max = WINDOW_MAX;
	}
}

static size_t in_limit(const struct side_state *d) {
	size_t usual = d->s->state == S_LIVE ? WINDOW_MAX : PRE_MAX;

	return MAX(usual, d->budget);
}

bool side_need(struct side_state *d, uint64_t n) {
	struct worker *w = d->s->t->w;
	uint64_t all = d->owed + n;

	if (all <= in_limit(d)) {
		d->need = (size_t)n;
		return true;
	}
	if (d->s->state != S_LIVE || all > NEED_BUDGET_MAX)
		return false;
	if (!budget_set(&w->need_budget, NEED_BUDGET_MAX, &d->budget, all))
		return false;
	d->in.max = MAX(d->in.max, d->budget);
	d->need = (size_t)n;
	return true;
}

/* ---- the queue ---- */

static void mark(struct side_state *d, uint64_t seq) {
	struct mark *last = d->mark_count != 0 ? &d->marks[d->mark_count - 1] : NULL;

	if (seq == 0)
		return;
	if (last != NULL && (last->seq == seq || d->mark_count == MARKS_MAX)) {
		last->end = d->out_end;
		last->seq = seq;
		return;
	}
	d->marks[d->mark_count++] = (struct mark){ .end = d->out_end, .seq = seq };
}

static void spill(struct side_state *d) {
	if (d->direct.n != 0 && buf_append(&d->out, d->direct) < 0)
		session_close(d->s, H_ELIMIT);
	d->direct = STR_NONE;
}

void side_queue(struct side_state *d, struct str bytes, uint64_t seq, bool borrow) {
	if (bytes.n == 0 || d->is_write_dead || !d->is_open)
		return;
	d->out_end += bytes.n;
	mark(d, seq);
	if (borrow && seq == 0 && d->out.len == 0) {
		if (d->direct.n == 0) {
			d->direct = bytes;
			return;
		}
		if (d->direct.p + d->direct.n == bytes.p) {
			d->direct.n += bytes.n;
			return;
		}
	}
	spill(d);
	if (buf_append(&d->out, bytes) < 0)
		session_close(d->s, H_ELIMIT);
}

/* Bytes at the front of the queue that may be written now. */
static uint64_t allowed(struct side_state *d) {
	unsigned n = 0;

	while (n < d->mark_count && d->marks[n].seq <= d->s->durable) {
		d->free_to = d->marks[n].end;
		d->free_seq = d->marks[n].seq;
		n++;
	}
	if (n != 0) {
		d->mark_count -= n;
		memmove(d->marks, d->marks + n, d->mark_count * sizeof(d->marks[0]));
	}
	return d->mark_count == 0 ? d->out_end - d->sent : d->free_to - d->sent;
}

void side_drop_out(struct side_state *d) {
	d->direct = STR_NONE;
	buf_clear(&d->out);
	buf_trim(&d->out, true);
	d->out_end = d->sent;
	d->mark_count = 0;
	d->is_blocked = false;
}

static void write_failed(struct side_state *d) {
	side_drop_out(d);
	d->is_write_dead = true;
	d->s->is_dirty = true;
}

static void sent(struct side_state *d, size_t n) {
	d->sent += n;
	d->sent_ns = mono_ns();
	if (d->lane.len != 0)
		d->s->is_dirty = true; /* a relay may wait for just this room */
}

/* Bytes that never touch the queue. False: the rest waits there. */
static bool flush_direct(struct side_state *d) {
	int n = conn_write(&d->conn, d->s->t->tls_scratch, d->direct);

	if (n < 0) {
		write_failed(d);
		return false;
	}
	if (n > 0)
		sent(d, (size_t)n);
	d->direct = str_from(d->direct, (size_t)n);
	d->is_blocked = d->direct.n != 0;
	spill(d);
	return !d->is_blocked;
}

/* The rule of DESIGN §4, checked where it would be broken. */
static void check_durable(const struct side_state *d) {
	const struct session *s = d->s;

	if (d->which == SIDE_CLIENT || s->durable_mode == DURABLE_ASYNC)
		return;
	if (ring_durable(&s->t->ring, s->slot, s->generation, NULL) < d->free_seq)
		abort();
}

static bool flush_once(struct side_state *d) {
	int rc = conn_flush(&d->conn);
	uint64_t may = rc == 1 ? allowed(d) : 0;

	if (rc == 0)
		d->is_blocked = true;
	if (rc < 0)
		write_failed(d);
	if (rc != 1 || may == 0)
		return false;
	if (d->direct.n != 0)
		return flush_direct(d);
	check_durable(d);
	int n = conn_write(&d->conn, d->s->t->tls_scratch, str_head(buf_peek(&d->out), may));

	if (n < 0) {
		write_failed(d);
		return false;
	}
	if (n == 0) {
		d->is_blocked = true;
		return false;
	}
	buf_consume(&d->out, (size_t)n);
	sent(d, (size_t)n);
	return true;
}

void side_flush(struct side_state *d) {
	if (!d->is_open || d->is_write_dead || d->is_shaking)
		return;
	if (d->is_blocked) {
		spill(d);
		return;
	}
	while (d->out_end != d->sent || conn_is_unsent(&d->conn)) {
		if (!flush_once(d))
			break;
	}
	spill(d);
	if (d->out.cap > KEEP_CAP)
		buf_trim(&d->out, d->s->state != S_LIVE);
}

bool side_is_flushed(const struct side_state *d) {
	return !d->is_open || d->is_write_dead ||
	       (d->out_end == d->sent && !conn_is_unsent(&d->conn));
}

bool side_waits_for_commit(const struct side_state *d) {
	return d->mark_count != 0 && d->is_open && !d->is_write_dead;
}

/* ---- TLS ---- */

static void record_tls(struct side_state *d) {
	struct session *s = d->s;
	char text[TLS_TEXT_SIZE], hex[65];
	uint8_t sha[32];
	struct order fact = { .kind = ORD_FACT, .name = STR("target_tls") };

	if (d->which != SIDE_TARGET)
		return;
	tls_describe(d->conn.tls, text);
	fact.bytes = str_of(text);
	(void)s->sink.emit(&s->sink, &fact);
	if (!tls_peer_sha256(d->conn.tls, sha))
		return;
	hex_encode(hex, sha, sizeof(sha));
	fact.name = STR("target_cert_sha256");
	fact.bytes = str_of(hex);
	(void)s->sink.emit(&s->sink, &fact);
}

static void tell_tls_up(struct side_state *d) {
	struct session *s = d->s;
	struct tls *t = d->conn.tls;
	bool is_client = d->which == SIDE_CLIENT;
	uint8_t end_point[64];
	size_t n = is_client ? tls_own_end_point(t, end_point) : tls_end_point(t, end_point);
	struct tls_facts facts = { .alpn = tls_alpn_agreed(t), .end_point = str_mem(end_point, n) };
	struct event up = { .kind = EV_TLS_UP, .side = d->which, .tls = &facts };

	if (is_client) {
		facts.server_name = str_head(tls_sni(t), SERVER_NAME_MAX);
		facts.label = snap_label(&s->t->w->snap, facts.server_name);
	}
	session_event(s, &up);
}

static void read_failed(struct side_state *d, int code) {
	d->is_eof = true;
	d->eof_code = code == H_ECLOSED ? 0 : code;
	d->s->is_dirty = true;
}

static void shake(struct side_state *d) {
	int rc = tls_handshake(d->conn.tls, d->s->t->tls_scratch);

	if (rc == 0)
		return;
	d->is_shaking = false;
	if (rc < 0) {
		d->is_write_dead = true;
		read_failed(d, H_ETLS);
		return;
	}
	record_tls(d);
	tell_tls_up(d);
}

void side_want_tls(struct side_state *d, struct str alpn, bool is_direct) {
	d->wants_tls = true;
	d->is_tls_direct = is_direct;
	bool has_room = str_copy(d->alpn, sizeof(d->alpn), alpn);

	assert(has_room); /* a core's own constant */
}

static void drop_held(struct side_state *d) {
	assert(d->owed == 0);
	if (d->is_scratch)
		d->view_len = 0;
	else
		buf_clear(&d->in);
}

/* What was read so far goes to the new TLS: 0 or a code. */
static int feed_tls(struct side_state *d) {
	int rc = tls_feed(d->conn.tls, side_held(d));

	assert(d->is_tls_direct);
	drop_held(d);
	return rc;
}

/*
 * Bytes behind the request to start TLS, or behind its answer, were sent by nobody who is inside it
 * (CVE-2021-23214, CVE-2021-23222). A client is not answered; of a target the client is told.
 */
static void refuse_plaintext(struct side_state *d) {
	if (d->which == SIDE_CLIENT || d->owed != 0) {
		session_close(d->s, H_EPROTO);
		return;
	}
	drop_held(d);
	d->is_write_dead = true;
	read_failed(d, H_ETLS);
}

void side_start_tls(struct side_state *d) {
	struct session *s = d->s;
	struct tls_ctx *c = NULL;
	int rc = 0;

	if (!d->wants_tls || !d->is_open || s->sides[d->which].lane.len != 0 || !side_is_flushed(d))
		return;
	d->wants_tls = false;
	if (side_held(d).n != 0 && !d->is_tls_direct) {
		refuse_plaintext(d);
		return;
	}
	if (d->which != SIDE_CLIENT)
		c = snap_target_tls(&s->t->w->snap, str_of(s->connection));
	else if (s->listen_tls != NULL)
		c = tls_ctx_ref(s->listen_tls);
	if (c == NULL) {
		read_failed(d, H_ETLS);
		return;
	}
	d->conn.tls = tls_new(c, d->conn.fd,
	                      d->which == SIDE_CLIENT ? STR_NONE : str_of(s->server_name));
	tls_ctx_free(&c);
	if (d->alpn[0] != '\0')
		rc = tls_alpn(d->conn.tls, str_of(d->alpn));
	if (rc == 0 && side_held(d).n != 0)
		rc = feed_tls(d);
	if (rc < 0) {
		read_failed(d, rc);
		return;
	}
	d->is_shaking = true;
	shake(d);
}

/* ---- reading ---- */

/* Takes one read's worth; bytes, 0, or a code. */
static int take(struct side_state *d) {
	struct thread *t = d->s->t;
	size_t limit = in_limit(d), room = limit > d->in.len ? limit - d->in.len : 0;
	int n;

	if (room == 0)
		return 0;
	if (d->in.len == 0 && d->need <= WINDOW_MAX) {
		n = conn_read(&d->conn, t->tls_scratch, t->scratch, MIN(room, WINDOW_MAX));
		d->view = t->scratch;
		d->view_len = n > 0 ? (size_t)n : 0;
		d->is_scratch = n > 0;
		return n;
	}
	room = MIN(room, MAX(WINDOW_MAX, d->in.len));
	uint8_t *p = buf_reserve(&d->in, room);

	if (p == NULL)
		return H_EBUG;
	n = conn_read(&d->conn, t->tls_scratch, p, room);
	if (n > 0)
		buf_commit(&d->in, (size_t)n);
	return n;
}

/* What a peer says after the session ended is nobody's business; its EOF is. */
static void discard(struct side_state *d) {
	struct thread *t = d->s->t;
	int n = conn_read(&d->conn, t->tls_scratch, t->scratch, WINDOW_MAX);

	if (n < 0)
		read_failed(d, n);
}

static void count_unheard(struct side_state *d, size_t n) {
	struct session *s = d->s;

	if (d->which != SIDE_TARGET || !s->sides[SIDE_CLIENT].is_write_dead)
		return;
	s->unheard += n;
	if (s->unheard > UNHEARD_MAX)
		session_close(s, H_ECLOSED);
}

void side_read(struct side_state *d) {
	if (!d->is_open || d->is_eof)
		return;
	if (d->s->is_closing) {
		discard(d);
		return;
	}
	int n = take(d);

	if (n < 0)
		read_failed(d, n);
	if (n <= 0)
		return;
	d->read_ns = mono_ns();
	d->to_show = true;
	d->s->is_dirty = true;
	count_unheard(d, (size_t)n);
}

static bool may_read(const struct side_state *d) {
	struct session *s = d->s;
	const struct side_state *to = &s->sides[side_other(d->which)];

	if (d->is_eof || d->wants_tls)
		return false;
	if (s->is_closing)
		return d->which == SIDE_CLIENT;
	if (s->is_parked || d->in.len >= in_limit(d))
		return false;
	if (d->which == SIDE_AUX)
		return true;
	if (to->out.len >= OUT_HIGH && !to->is_write_dead)
		return false;
	return d->which == SIDE_CLIENT || !rec_is_behind(s);
}

void side_want(struct side_state *d) {
	bool reads;
	unsigned want;

	if (!d->is_open)
		return;
	if (d->is_shaking) {
		want = LOOP_IN | (tls_wants_write(d->conn.tls) ? LOOP_OUT : 0u);
		loop_want(d->s->t->loop, &d->watch, want);
		return;
	}
	reads = may_read(d);
	want = (reads ? LOOP_IN : 0u) | (d->is_blocked && !d->is_write_dead ? LOOP_OUT : 0u);
	loop_want(d->s->t->loop, &d->watch, want);
	if (reads && conn_has_buffered(&d->conn)) {
		if (list_empty(&d->busy_link))
			list_push(&d->s->t->busy, &d->busy_link);
	}
}

static void on_ready(struct watch *w, unsigned events) {
	struct side_state *d = container_of(w, struct side_state, watch);

	if (d->is_shaking) {
		shake(d);
	} else {
		if ((events & LOOP_OUT) != 0 || (events & LOOP_HUP) != 0)
			d->is_blocked = false;
		if ((events & LOOP_IN) != 0 || ((events & LOOP_HUP) != 0 && may_read(d)))
			side_read(d);
	}
	session_run(d->s);
}

void side_shut(struct side_state *d) {
	if (!d->is_open || d->is_shut)
		return;
	d->is_shut = true;
	if (!d->is_write_dead && !d->is_shaking)
		conn_shutdown(&d->conn, d->s->t->tls_scratch);
	if (d->is_eof)
		side_close(d);
}
