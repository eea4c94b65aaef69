/*
 * tap.h: live readers of the record (DESIGN §7 "Tap"): who has a ticket is sent frames as they become
 * durable.
 *
 * A tap is one end of a stream socket pair that the reader made; the keeper passes it on (TAP of
 * ipc.h) after the view is on the record. The descriptor is the ticket: there is no socket to connect
 * to. What goes over it, one item after the other, little-endian:
 *
 *   u8 kind, u32 length, then so many bytes
 *     1 hello   u8 version (1)
 *     2 frame   a frame as it is stored (record-format.md §2)
 *     3 lost    16 bytes sid (zeros: of several sessions), u64 first frame that was not sent, u64 frames not sent
 *     4 end     the session is closed: nothing follows. Only on the tap of one session
 *
 * A tap never slows the record: a reader that is behind by more than TAP_QUEUE_MAX gets no frames
 * until it has read what waits, then `lost`, then frames again. It reads what it missed from the
 * store, where every frame stands before it is sent here. The end of the stream without `end` says
 * that the recorder is gone, or that there are TAPS_MAX taps already: ask again.
 */
#ifndef RECORD_TAP_H
#define RECORD_TAP_H

#include "base/rd.h"
#include "base/str.h"

enum tap_kind { TAP_HELLO = 1, TAP_FRAME, TAP_LOST, TAP_END };
enum { TAP_VERSION = 1, TAP_HEAD_SIZE = 5, TAPS_MAX = 64, TAP_LOST_SIZE = 32 };
#define TAP_QUEUE_MAX ((size_t)4 * 1024 * 1024)

struct tap_item {
	enum tap_kind kind;
	struct str body; /* frame: its bytes */
	uint8_t sid[16]; /* lost */
	uint64_t first, count;
};
/* The item at the start of `in`: > 0 its size, 0 when more bytes are needed, H_EFORMAT. Borrows. */
int tap_item_parse(struct tap_item *it, struct str in) must_use;

#endif
