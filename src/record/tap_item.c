/*
 * tap_item.c: the reader's side of a tap (tap.h): items out of bytes.
 */
#include "record/frame.h"
#include "record/tap.h"

int tap_item_parse(struct tap_item *it, struct str in) {
	struct rd r = rd_of(in);
	unsigned kind = rd_u8(&r);
	size_t len = rd_u32(&r);

	if (in.n < TAP_HEAD_SIZE)
		return 0;
	if (kind < TAP_HELLO || kind > TAP_END || len > FRAME_MAX ||
	    (kind == TAP_HELLO && len != 1) || (kind == TAP_LOST && len != TAP_LOST_SIZE) ||
	    (kind == TAP_END && len != 0))
		return H_EFORMAT;
	if (in.n - TAP_HEAD_SIZE < len)
		return 0;
	*it = (struct tap_item){ .kind = (enum tap_kind)kind,
		                 .body = str_mem(in.p + TAP_HEAD_SIZE, len) };
	if (kind == TAP_HELLO && it->body.p[0] != TAP_VERSION)
		return H_EFORMAT;
	if (kind == TAP_LOST) {
		struct rd b = rd_of(it->body);
		struct str sid = rd_bytes(&b, sizeof(it->sid));

		memcpy(it->sid, sid.p, sizeof(it->sid));
		it->first = rd_u64(&b);
		it->count = rd_u64(&b);
	}
	return (int)(TAP_HEAD_SIZE + len);
}
