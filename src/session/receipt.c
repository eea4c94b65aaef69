/*
 * receipt.c: receipts of what is durable, for the core to hand to its client.
 *
 *   hsr1:<session id>:<frame number>:<leaf hash, hex>:<log size>
 *
 * A receipt names the frame in which a fact `receipt` stands that was recorded behind everything that
 * the core had ordered before it asked, or a later one; the leaf is that frame's in the tree of its
 * session, and the log size is the number of durable leaves that the log had when the frame became
 * durable: its head comes at that place or behind it. docs/receipts.md says what one proves.
 *
 * The fact carries `intent`, so that its frame is cut at once; the recorder writes number, leaf and
 * log size into the slot's row before it publishes the seq as durable (ipc/ring.h). Orders that still
 * wait in a lane are recorded first: the fact would otherwise stand before what it speaks of.
 */
#include "session/shell.h"

#include "base/clock.h"
#include "record/receipt.h"

void receipt_ask(struct session *s) {
	s->is_receipt_asked = true;
	s->receipt_seq = 0;
}

static void put_fact(struct session *s) {
	if (s->sides[SIDE_CLIENT].lane.len != 0 || s->sides[SIDE_TARGET].lane.len != 0)
		return;
	buf_clear(&s->t->event);
	rec_put_fact(&s->t->event, STR("receipt"), STR("asked for"));
	struct rec r = {
		.type = REC_FACT, .intent = true, .ns = mono_ns(), .head = buf_peek(&s->t->event)
	};

	s->receipt_seq = rec_append(s, &r);
}

static void tell(struct session *s) {
	struct event ev = { .kind = EV_RECEIPT };
	char text[RECEIPT_TEXT_SIZE];
	struct ring_frame f;

	s->is_receipt_asked = false;
	ev.code = ring_frame_get(&s->t->ring, s->slot, s->generation, &f);
	if (ev.code == 0) {
		struct receipt r = { .frame = f.number, .log_size = f.log_size };

		memcpy(r.sid, s->sid, sizeof(r.sid));
		memcpy(r.leaf, f.leaf, sizeof(r.leaf));
		receipt_text(text, &r);
		ev.text = str_of(text);
	}
	session_event(s, &ev);
}

void receipt_run(struct session *s) {
	if (!s->is_receipt_asked || s->state != S_LIVE || s->is_deaf || s->is_closing)
		return;
	if (s->receipt_seq == 0)
		put_fact(s);
	if (s->receipt_seq != 0 && s->durable >= s->receipt_seq)
		tell(s);
}
