/*
 * feed.c: see feed.h. Times go to the view as CLOCK_MONOTONIC, so that a step of the wall clock in the
 * middle of a session cannot make a command end before it began.
 */
#include "main/feed.h"

#include "session/proto.h"

static void feed_bytes(struct pg_view *v, const struct rec_event *e, unsigned stream) {
	if (stream == STREAM_U) {
		if (e->type == REC_INJECTED)
			pg_view_injected(v, e->bytes.n);
		return;
	}
	if (stream == STREAM_R && e->type == REC_INJECTED && e->why == WHY_ANSWERED)
		pg_view_answered(v, e->bytes, e->mono_ns, e->seq);
	if ((stream == STREAM_C || stream == STREAM_T) && e->type != REC_INJECTED)
		pg_view_bytes(v, &(struct view_bytes){ .from_client = stream == STREAM_C,
		                                       .is_forwarded = e->type == REC_RAW,
		                                       .offset = e->offset,
		                                       .bytes = e->bytes,
		                                       .now_ns = e->mono_ns,
		                                       .seq = e->seq });
}

static void feed_hole(struct pg_view *v, const struct rec_event *e, unsigned stream) {
	if (stream == STREAM_U)
		pg_view_injected(v, e->length);
	else if (stream == STREAM_C || stream == STREAM_T)
		pg_view_hole(v, stream == STREAM_C, e->offset, e->length);
}

static void feed_event(struct pg_view *v, const struct rec_event *e) {
	unsigned stream = e->flags & REC_STREAM_MASK;
	switch ((enum rec_type)e->type) {
	case REC_DROPPED:
		/* the gateway's own question was answered: no command of the client's */
		if (stream == STREAM_T && e->why == WHY_LOOKUP) {
			feed_hole(v, e, stream);
			break;
		}
		feed_bytes(v, e, stream);
		break;
	case REC_RAW:
	case REC_INJECTED:
		feed_bytes(v, e, stream);
		break;
	case REC_REDACTED:
		feed_hole(v, e, stream);
		break;
	case REC_HIDDEN:
		pg_view_hidden(v, &(struct view_hidden){ .from_client = stream == STREAM_C,
		                                         .offset = e->offset,
		                                         .length = e->length,
		                                         .now_ns = e->mono_ns,
		                                         .seq = e->seq });
		break;
	case REC_DIGEST:
	case REC_WITHHELD:
		if (stream == STREAM_T)
			pg_view_kept_out(v, &(struct view_kept_out){ .offset = e->offset,
			                                             .length = e->length,
			                                             .rows = e->rows,
			                                             .digest = e->type == REC_DIGEST
			                                                               ? e->digest
			                                                               : NULL,
			                                             .now_ns = e->mono_ns,
			                                             .seq = e->seq });
		break;
	case REC_FORWARDED:
		if (stream == STREAM_U)
			pg_view_forwarded(v, e->offset, e->mono_ns);
		break;
	case REC_COMMAND:
	case REC_FACT:
	case REC_END:
		break;
	}
}

static int feed_item(void *arg, const struct reader_item *it) {
	struct feed *f = arg;
	if (it->kind == FRAME_DATA)
		f->wall_minus_mono = it->wall_ns - it->event.mono_ns;
	if (f->item != NULL)
		f->item(f->arg, it);
	if (f->view != NULL && it->kind == FRAME_DATA && !it->is_bad)
		feed_event(f->view, &it->event);
	return 0;
}

int feed_frame(struct feed *f, struct frame_codec *codec, const struct frame *frame,
               struct err *e) {
	int rc = reader_frame_items(codec, frame, feed_item, f);
	return rc < 0 ? err_set(e, rc, "frame %llu does not decode: %s",
	                        (unsigned long long)frame->head.frame_no, h_err_text(rc))
	              : 0;
}

int feed_session(struct feed *f, struct reader *r, const uint8_t sid[SID_SIZE], struct err *e) {
	struct reader_session *x = NULL;
	struct reader_item it;
	int rc = reader_session_open(&x, r, sid, e);
	if (rc < 0)
		return rc;
	while (!f->stop && (rc = reader_session_item(x, &it, e)) > 0)
		(void)feed_item(f, &it);
	reader_session_close(&x);
	if (f->stop)
		return 0;
	if (f->view != NULL)
		pg_view_end(f->view);
	return rc;
}
