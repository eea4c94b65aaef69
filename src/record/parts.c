/*
 * parts.c: the files of sessions (docs/record-format.md §7).
 *
 *   durable frame ──► out (memory, ≤ 64 KiB) ──► <sid>.<part>.rec ── synced ──► its segment may be used again
 *
 * Parts are copies of what the journal has made durable, so they are written without a sync, each
 * at its known place: writing again after a failure repeats the same bytes.
 *
 * Buffers are written a few at each turn, and a helper takes the bytes on to the device (heads.c):
 * hundreds of files at once, or their megabytes in the device's queue, would hold up a commit.
 *
 * Invariants:
 * 1. out holds the durable frames that are not yet in files, in order, spans say where they go.
 * 2. Index and trailer follow the last frame of a part directly; nothing follows them.
 * 3. While out of any session could not be written, no segment is given back.
 */
#include <time.h>

#include "record/recorder_priv.h"

void part_path(char out[VFS_PATH_MAX], const uint8_t sid[SID_SIZE], uint32_t part) {
	char text[UUID_TEXT_SIZE];
	uint64_t ms = 0;
	struct tm tm = { 0 };

	for (unsigned i = 0; i < 6; i++)
		ms = ms << 8 | sid[i];
	time_t t = (time_t)(ms / 1000);

	uuid_text(text, sid);
	(void)gmtime_r(&t, &tm);
	(void)snprintf(out, VFS_PATH_MAX, "sessions/%04d/%02d/%02d/%s.%04u.rec", tm.tm_year + 1900,
	               tm.tm_mon + 1, tm.tm_mday, text, (unsigned)part);
}

/* n bytes behind out belong to the current part at its end. */
static void add_span(struct recorder *r, struct rec_session *s, size_t n) {
	struct part_span *last = s->span_count != 0 ? &s->span[s->span_count - 1] : NULL;

	if (last != NULL && last->part == s->part) {
		last->len += n;
	} else if (s->span_count < REC_SPANS) {
		s->span[s->span_count++] = (struct part_span){ .part = s->part,
			                                       .len = n,
			                                       .at = s->part_len };
	} else {
		r->parts_broken = true; /* recovery copies them from the journal */
	}
	s->part_len += n;
}

static void append(struct recorder *r, struct rec_session *s, struct str bytes) {
	if (buf_append(&s->out, bytes) < 0) {
		r->parts_broken = true;
		return;
	}
	add_span(r, s, bytes.n);
	r->out_bytes += bytes.n;
	if (!list_empty(&s->out_link))
		return;
	s->out_since = r->now;
	list_push(&r->outs, &s->out_link);
}

static void put_end_frame(struct recorder *r, const uint8_t sid[SID_SIZE], const struct part_end *e,
                          uint8_t kind, struct str raw, struct buf *out) {
	struct frame_head h = { .kind = kind,
		                .ring = FRAME_RING_NONE,
		                .frame_no = e->tree->size,
		                .first_seq = e->next_seq,
		                .wall_ns = e->wall,
		                .mono_ns = e->mono,
		                .part = e->part };
	size_t cap = FRAME_HEAD_SIZE + raw.n + FRAME_TAG_SIZE;
	uint8_t *p = buf_reserve(out, cap);

	memcpy(h.sid, sid, SID_SIZE);
	if (p == NULL) {
		out->bad = true;
		return;
	}
	int n = frame_encode(r->main_codec, &h, raw, p, cap);

	assert(n > 0);
	buf_commit(out, (size_t)n);
}

void part_put_end(struct recorder *r, const uint8_t sid[SID_SIZE], const struct part_end *e,
                  struct buf *out) {
	struct frame_trailer t = { .index_offset = e->bytes,
		                   .first_frame = e->first_frame,
		                   .frames = e->tree->size - e->first_frame,
		                   .bytes_before = e->bytes + FRAME_HEAD_SIZE + e->index.n };
	struct buf raw;

	put_end_frame(r, sid, e, FRAME_INDEX, e->index, out);
	tree_root(e->tree, t.root);
	buf_init(&raw, FRAME_TRAILER_SIZE + 16);
	frame_put_trailer(&raw, &t);
	put_end_frame(r, sid, e, FRAME_TRAILER, buf_peek(&raw), out);
	buf_fini(&raw);
}

static void put_seal_leaf(struct recorder *r, struct rec_session *s) {
	struct tlog_leaf l = { .type = TLOG_SEAL,
		               .wall = rec_wall(r),
		               .part = s->part,
		               .first = s->part_first,
		               .frames = s->tree.size - s->part_first };

	memcpy(l.sid, s->sid, SID_SIZE);
	tree_root(&s->tree, l.hash);
	leaf_put(r, &l);
}

void part_seal(struct recorder *r, struct rec_session *s) {
	struct part_end e = { .part = s->part,
		              .first_frame = s->part_first,
		              .next_seq = s->durable_seq + 1,
		              .bytes = s->part_len,
		              .wall = s->part_wall,
		              .mono = s->part_mono,
		              .tree = &s->tree,
		              .index = buf_peek(&s->index) };
	struct buf end;

	buf_init(&end, FRAME_MAX * 2);
	part_put_end(r, s->sid, &e, &end);
	if (end.bad)
		r->parts_broken = true;
	append(r, s, buf_peek(&end));
	buf_fini(&end);
	buf_clear(&s->index);
	buf_trim(&s->index, false);
	put_seal_leaf(r, s);
	(void)part_flush(r, s);
}

void part_begin(struct recorder *r, struct rec_session *s, uint32_t part) {
	s->part = part;
	s->part_len = 0;
	s->part_first = s->tree.size;
	s->part_started = r->now;
	s->part_has_frames = false;
}

void part_add(struct recorder *r, struct rec_session *s, const struct batch_item *it,
              struct str frame) {
	if (it->part != s->part) {
		part_seal(r, s);
		part_begin(r, s, it->part);
	}
	frame_put_index_row(&s->index, &(struct frame_index_row){ .offset = s->part_len,
	                                                          .first_seq = it->first_seq,
	                                                          .wall_ns = it->wall });
	append(r, s, frame);
	s->part_has_frames = true;
	s->part_wall = it->wall;
	s->part_mono = it->mono;
	if (s->out.len > REC_OUT_FLUSH && part_flush(r, s) < 0 && s->out.len > 16 * REC_OUT_FLUSH)
		rec_session_lose(r, s, H_ENOSPACE);
}

/* --- files --- */

/* Beyond the limit the next sync is one of the whole file system. */
static void note_run(struct recorder *r, const struct rec_session *s,
                     const struct part_span *span) {
	struct part_run run = { .part = span->part, .at = span->at, .n = span->len };

	memcpy(run.sid, s->sid, SID_SIZE);
	r->written_over = r->written_over ||
	                  buf_append(&r->written, str_mem(&run, sizeof(run))) < 0;
}

static int write_span(struct recorder *r, struct rec_session *s, const struct part_span *span,
                      struct str bytes) {
	char path[VFS_PATH_MAX];

	part_path(path, s->sid, span->part);
	int h = r->vfs->ops->open(r->vfs, path, VFS_WRITE | VFS_CREATE);

	if (h < 0)
		return h;
	int rc = r->vfs->ops->pwrite(r->vfs, h, bytes, span->at);

	r->vfs->ops->close(r->vfs, h);
	if (rc == 0)
		note_run(r, s, span);
	return rc;
}

int part_flush(struct recorder *r, struct rec_session *s) {
	while (s->span_count != 0) {
		struct part_span span = s->span[0];
		int rc = write_span(r, s, &span, str_head(buf_peek(&s->out), span.len));

		if (rc < 0) {
			rec_alarm(r, "record.part.write", "a session file cannot be written", rc);
			return rc;
		}
		buf_consume(&s->out, span.len);
		r->out_bytes -= span.len;
		s->span_count--;
		memmove(&s->span[0], &s->span[1], s->span_count * sizeof(s->span[0]));
	}
	list_drop(&s->out_link);
	buf_trim(&s->out, false);
	return 0;
}

int parts_flush_all(struct recorder *r) {
	int rc = 0;

	list_each_safe (it, tmp, &r->outs) {
		rc = part_flush(r, container_of(it, struct rec_session, out_link));
		if (rc < 0)
			break;
	}
	if (rc < 0 && r->phase == RP_SERVING)
		rec_set_store_state(r, STORE_REFUSE, "session files cannot be written");
	return rc;
}

static bool is_sweep_due(const struct recorder *r, const struct rec_session *s) {
	return r->now - s->out_since >= REC_OUT_AGE || (r->has_full && s->out_since <= r->full_at);
}

bool parts_sweep(struct recorder *r) {
	if (r->now < r->sweep_due)
		return false;
	for (int i = 0; i < REC_OUT_PER_TURN && !list_empty(&r->outs); i++) {
		struct rec_session *s = container_of(r->outs.next, struct rec_session, out_link);

		if (!is_sweep_due(r, s))
			break;
		if (part_flush(r, s) == 0)
			continue;
		if (r->phase == RP_SERVING)
			rec_set_store_state(r, STORE_REFUSE, "session files cannot be written");
		r->sweep_due = r->now + NS_PER_S;
		return false;
	}
	return !list_empty(&r->outs) &&
	       is_sweep_due(r, container_of(r->outs.next, struct rec_session, out_link));
}

bool parts_are_through(const struct recorder *r) {
	return list_empty(&r->outs) ||
	       container_of(r->outs.next, struct rec_session, out_link)->out_since > r->full_at;
}

void parts_age(struct recorder *r) {
	list_each_safe (it, tmp, &r->all) {
		struct rec_session *s = container_of(it, struct rec_session, all);

		if (s->state != SS_OPEN || s->inflight != 0 || !s->part_has_frames ||
		    r->now - s->part_started < REC_PART_AGE)
			continue;
		part_seal(r, s);
		part_begin(r, s, s->part + 1);
		s->cut_part = s->part;
		s->cut_part_frames = 0;
		s->cut_part_bytes = 0;
	}
}
