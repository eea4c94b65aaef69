/*
 * export_pcapng.c: the four streams of a session as two TCP conversations to port 5432.
 *
 *   client to gateway:  C and R     gateway to target:  U and T
 *
 * C and T are what was read, at the time of the read. U and R are rebuilt from the events as
 * docs/record-format.md §4 says, and go out when the record says that they were handed over (`forwarded`); what
 * never was is not written. Until then they wait here, at most PENDING_MAX bytes: more than the gateway itself lets
 * wait, so beyond it they are written at once.
 *
 * The recorded bytes are those inside TLS. What asks for TLS and its answer are left out, as a reader would look for TLS
 * behind them.
 */
#include "base/mem.h"
#include "main/export.h"
#include "main/feed.h"
#include "main/head.h"
#include "main/pcap.h"
#include "proto/postgres/pg_wire.h"
#include "session/proto.h"

#define PENDING_MAX ((uint64_t)8 * MIB)

struct chunk {
	struct list link;
	struct pcap_gap gap; /* bytes that are not on the record; else: */
	struct str bytes;
	char data[];
};

/* A stream toward a peer that waits to be handed over. */
struct waiting {
	struct list chunks;
	uint64_t len;  /* of the stream so far, waiting bytes included */
	uint64_t sent; /* handed over */
};

struct pcapng {
	struct buf out;
	struct pcap_flow flow[2]; /* client, target */
	bool is_open[2];
	struct waiting u, r;
	bool is_asking[2]; /* for TLS: the next byte of the other side answers */
	uint64_t wall_ns;
};

static void flush(struct pcapng *x, size_t above) {
	if (x->out.len > above)
		print_buf(&x->out);
}

/* Which conversation a stream is in, and which end says it. */
static struct pcap_flow *flow_of(struct pcapng *x, enum stream s, unsigned *ret_from) {
	unsigned which = s == STREAM_U || s == STREAM_T;
	*ret_from = s == STREAM_R || s == STREAM_T;
	if (!x->is_open[which])
		pcap_open(&x->out, &x->flow[which], x->wall_ns);
	x->is_open[which] = true;
	return &x->flow[which];
}

/* SSLRequest and GSSENCRequest, and the one byte that answers. */
static bool is_about_tls(struct pcapng *x, enum stream s, struct str bytes) {
	unsigned which = s == STREAM_U || s == STREAM_T;
	bool is_question = s == STREAM_C || s == STREAM_U;
	struct pg_start start;
	if (is_question && bytes.n == PG_SSL_LEN && pg_start_parse(&start, bytes) > 0 &&
	    (start.code == PG_CODE_SSL || start.code == PG_CODE_GSSENC)) {
		x->is_asking[which] = true;
		return true;
	}
	bool is_answer = !is_question && x->is_asking[which] && bytes.n == 1;
	x->is_asking[which] = x->is_asking[which] && is_question;
	return is_answer;
}

static void say(struct pcapng *x, enum stream s, struct str bytes, struct pcap_gap gap) {
	unsigned from = 0;
	struct pcap_flow *f;
	if (bytes.n > 0 && is_about_tls(x, s, bytes))
		return;
	f = flow_of(x, s, &from);
	if (bytes.n > 0)
		pcap_data(&x->out, f, from, bytes, x->wall_ns);
	else if (gap.n > 0)
		pcap_gap(&x->out, f, from, gap, x->wall_ns);
	flush(x, 256 * KIB);
}

/* ---- what waits to be handed over ---- */

static struct waiting *waiting_of(struct pcapng *x, enum stream s) {
	return s == STREAM_U ? &x->u : &x->r;
}

static void drop(struct list *chunks) {
	while (!list_empty(chunks)) {
		struct chunk *c = list_first(chunks, struct chunk, link);
		list_drop(&c->link);
		free(c);
	}
}

/* Writes of the chunk what was handed over up to `offset`; true when that was all of it. */
static bool hand_over_chunk(struct pcapng *x, enum stream s, struct chunk *c, uint64_t offset) {
	struct waiting *w = waiting_of(x, s);
	bool is_bytes = c->bytes.n > 0;
	uint64_t all = is_bytes ? c->bytes.n : c->gap.n;
	uint64_t n = MIN(offset - w->sent, all);
	say(x, s, is_bytes ? str_head(c->bytes, (size_t)n) : STR_NONE,
	    (struct pcap_gap){ .n = is_bytes ? 0 : n, .type = c->gap.type });
	w->sent += n;
	if (is_bytes)
		c->bytes = str_from(c->bytes, (size_t)n);
	else
		c->gap = (struct pcap_gap){ .n = all - n };
	return n == all;
}

/* Writes what was handed over up to `offset`. */
static void hand_over(struct pcapng *x, enum stream s, uint64_t offset) {
	struct waiting *w = waiting_of(x, s);
	struct list done;
	list_init(&done);
	list_each_safe (it, tmp, &w->chunks) {
		struct chunk *c = container_of(it, struct chunk, link);
		if (w->sent >= offset || !hand_over_chunk(x, s, c, offset))
			break;
		list_drop(&c->link);
		list_push(&done, &c->link);
	}
	drop(&done);
}

static void wait_for(struct pcapng *x, enum stream s, struct str bytes, struct pcap_gap gap) {
	struct waiting *w = waiting_of(x, s);
	uint64_t n = bytes.n > 0 ? bytes.n : gap.n;
	if (n == 0 || n > UINT64_MAX - w->len)
		return;
	struct chunk *c = xcalloc(1, sizeof(*c) + bytes.n);
	if (bytes.n > 0)
		memcpy(c->data, bytes.p, bytes.n);
	c->bytes = str_mem(c->data, bytes.n);
	if (bytes.n == 0)
		c->gap = gap;
	list_push(&w->chunks, &c->link);
	w->len += n;
	if (w->len - w->sent > PENDING_MAX)
		hand_over(x, s, w->len);
}

/* ---- events ---- */

/* What is missing: a part of a message (hidden), or whole ones, which then stand as one of the right kind. */
static struct pcap_gap gap_of(enum stream s, const struct rec_event *e) {
	struct pcap_gap gap = { .n = e->length };
	if (e->type == REC_DIGEST || e->type == REC_WITHHELD)
		gap.type = 'D';
	else if (e->type == REC_REDACTED)
		gap.type = s == STREAM_C || s == STREAM_U ? 'p' : e->why == WHY_KEYS ? 'K' : 'R';
	return gap;
}

/* Read from a peer; passed: it became part of what goes to the other. */
static void heard(struct pcapng *x, enum stream s, const struct rec_event *e, bool passed) {
	bool has_bytes = e->type == REC_RAW || e->type == REC_DROPPED;
	struct str bytes = has_bytes ? e->bytes : STR_NONE;
	struct pcap_gap gap = gap_of(s, e);
	say(x, s, bytes, gap);
	if (passed)
		wait_for(x, s == STREAM_C ? STREAM_U : STREAM_R, bytes, gap);
}

static void on_event(struct pcapng *x, const struct rec_event *e) {
	enum stream s = (enum stream)(e->flags & REC_STREAM_MASK);
	bool is_read = s == STREAM_C || s == STREAM_T;
	switch ((enum rec_type)e->type) {
	case REC_RAW:
	case REC_HIDDEN:
	case REC_DIGEST:
	case REC_WITHHELD:
		if (is_read)
			heard(x, s, e, true);
		break;
	case REC_DROPPED:
		if (is_read)
			heard(x, s, e, false);
		break;
	case REC_REDACTED:
		if (is_read)
			heard(x, s, e, false);
		else
			wait_for(x, s, STR_NONE, gap_of(s, e));
		break;
	case REC_INJECTED:
		if (!is_read)
			wait_for(x, s, e->bytes, (struct pcap_gap){ .n = 0 });
		break;
	case REC_FORWARDED:
		if (!is_read)
			hand_over(x, s, e->offset);
		break;
	case REC_COMMAND:
	case REC_FACT:
	case REC_END:
		break;
	}
}

static void on_item(void *arg, const struct reader_item *it) {
	struct pcapng *x = arg;
	x->wall_ns = MAX(x->wall_ns,
	                 it->wall_ns); /* reads are stamped before what is said meanwhile */
	if (it->kind == FRAME_DATA && !it->is_bad)
		on_event(x, &it->event);
}

/* ---- a session ---- */

static void put_head(struct pcapng *x, const json_t *about) {
	static const char *const names[2] = { "client - gateway", "gateway - target" };
	struct buf b;
	buf_init(&b, MIB);
	head_brief(&b, about);
	pcap_begin(&x->out, buf_peek(&b), names);
	buf_fini(&b);
}

/* Made-up addresses: 10.1.x.y speaks with 10.0.0.1, which speaks with 10.2.x.y; x.y and port tell sessions apart. */
static void name_ends(struct pcapng *x, const uint8_t sid[SID_SIZE]) {
	uint32_t low = (uint32_t)sid[12] << 8 | sid[13];
	uint16_t port = (uint16_t)(0x8000 | sid[14] << 8 | sid[15]);
	x->flow[0] = (struct pcap_flow){ .interface = 0,
		                         .address = { 0x0a010000 | low, 0x0a000001 },
		                         .port = { port, 5432 } };
	x->flow[1] = (struct pcap_flow){ .interface = 1,
		                         .address = { 0x0a000001, 0x0a020000 | low },
		                         .port = { port, 5432 } };
}

int export_pcapng(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e) {
	struct pcapng x = { .wall_ns = 0 };
	struct feed feed = { .item = on_item, .arg = &x };
	(void)with_events;
	json_t *about = find_describe(f, sid, true, e);
	if (about == NULL)
		return e->code;
	if (!str_is(json_text(about, "protocol"), "postgres")) {
		json_decref(about);
		return err_set(e, H_EUSAGE, "export --as pcapng: that session has no streams");
	}
	buf_init(&x.out, 256 * MIB);
	list_init(&x.u.chunks);
	list_init(&x.r.chunks);
	name_ends(&x, sid);
	put_head(&x, about);
	int rc = feed_session(&feed, f->r, sid, e);
	for (size_t i = 0; i < 2; i++)
		if (x.is_open[i])
			pcap_close(&x.out, &x.flow[i], x.wall_ns);
	flush(&x, 0);
	drop(&x.u.chunks);
	drop(&x.r.chunks);
	buf_fini(&x.out);
	json_decref(about);
	return rc;
}
