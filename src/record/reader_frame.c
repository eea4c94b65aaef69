/*
 * reader_frame.c: the items of a frame (reader.h).
 */
#include "record/reader.h"

static int data_items(const struct frame *f, struct str raw, reader_item_fn *fn, void *arg) {
	struct frame_walk w;
	int rc = frame_walk_begin(&w, &f->head, raw);

	while (rc == 0) {
		struct rec_event e = { 0 };
		int n = frame_walk_next(&w, &e);

		if (n == 0 || (n < 0 && w.r.bad))
			return n;
		rc = fn(arg, &(struct reader_item){ .kind = FRAME_DATA,
		                                    .head = f->head,
		                                    .wall_ns = f->head.wall_ns -
		                                               (f->head.mono_ns - e.mono_ns),
		                                    .event = e,
		                                    .is_bad = n < 0 });
	}
	return rc;
}

int reader_frame_items(struct frame_codec *c, const struct frame *f, reader_item_fn *fn,
                       void *arg) {
	struct reader_item it = { .kind = f->head.kind,
		                  .head = f->head,
		                  .wall_ns = f->head.wall_ns };
	struct str raw;
	int rc = frame_check_body(f);

	if (rc == 0)
		rc = frame_raw(c, f, &raw);
	if (rc == 0 && f->head.kind == FRAME_DATA)
		return data_items(f, raw, fn, arg);
	if (rc == 0)
		rc = frame_after_salt(raw, &it.json);
	return rc < 0 ? rc : fn(arg, &it);
}
