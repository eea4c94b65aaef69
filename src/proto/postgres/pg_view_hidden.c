/*
 * pg_view_hidden.c: what the record left out of a message (`hidden`), shown in its place.
 *
 * The message's own lengths count the missing bytes, so the stream gets as many bytes of filler
 * (0xff, which no UTF-8 text holds). Once such a message is whole, each run of filler in its words
 * becomes "[redacted 12 bytes, credential]", so everybody who reads statements, parameters and
 * errors from the view sees that, and none needs to know of holes. A parameter that is filler
 * throughout becomes text, whatever its format was.
 */
#include "proto/postgres/pg_view_priv.h"

enum { FILLER = 0xff, CHUNK = 4096, HIDDEN_MAX = 65536, RUNS_MAX = 1024, LABEL_MAX = 64 };

void pg_view_hidden(struct pg_view *v, const struct view_hidden *in) {
	struct side_view *s = in->from_client ? &v->client : &v->target;
	struct view_bytes part = { .from_client = in->from_client,
		                   .is_forwarded = true,
		                   .offset = in->offset,
		                   .now_ns = in->now_ns,
		                   .seq = in->seq };
	char filler[CHUNK];
	uint64_t left = in->length;

	memset(filler, FILLER, sizeof(filler));
	/* No gateway of ours hides more in one event. */
	if (left > HIDDEN_MAX || left > UINT64_MAX - in->offset) {
		pg_view_hole(v, in->from_client, in->offset, in->length);
		return;
	}
	s->hidden_end = in->offset + left;
	while (left > 0 && !s->is_broken) {
		part.bytes = str_mem(filler, (size_t)MIN(left, (uint64_t)CHUNK));
		pg_view_bytes(v, &part);
		part.offset += part.bytes.n;
		left -= part.bytes.n;
	}
}

static size_t run_of(struct str s, size_t at) {
	size_t n = 0;

	while (at + n < s.n && (uint8_t)s.p[at + n] == FILLER)
		n++;
	return n;
}

/* Words with labels for filler. */
static void put_words(struct buf *b, struct str s, unsigned *runs) {
	for (size_t i = 0; i < s.n;) {
		size_t n = run_of(s, i);

		if (n > 0 && (*runs)++ < RUNS_MAX) {
			w_fmt(b, "[redacted %zu bytes, credential]", n);
			i += n;
			continue;
		}
		size_t end = i + MAX(n, (size_t)1);

		while (end < s.n && (uint8_t)s.p[end] != FILLER)
			end++;
		w_bytes(b, str_mem(s.p + i, end - i));
		i = end;
	}
}

/* Name and text of a Parse; the types behind them are numbers. */
static void put_parse(struct buf *b, struct str body, unsigned *runs) {
	struct rd r = rd_of(body);

	(void)rd_cstr(&r);
	(void)rd_cstr(&r);
	size_t words = body.n - rd_left(&r);

	put_words(b, str_head(body, words), runs);
	w_bytes(b, str_from(body, words));
}

static void put_bind(struct buf *b, struct str body, unsigned *runs) {
	struct pg_bind bind;

	if (pg_bind_parse(&bind, body) != 0) {
		w_bytes(b, body);
		return;
	}
	struct pg_values all = bind.params;
	struct pg_value one;

	w_cstr(b, bind.portal);
	w_cstr(b, bind.statement);
	w_be16(b, bind.params.count);
	for (size_t i = 0; pg_values_next(&all, &one); i++)
		w_be16(b, one.bytes.n > 0 && run_of(one.bytes, 0) == one.bytes.n
		                  ? 0
		                  : pg_format_at(&bind.param_formats, i));
	w_be16(b, bind.params.count);
	all = bind.params;
	for (size_t i = 0; pg_values_next(&all, &one); i++) {
		size_t at = b->len;

		w_be32(b, UINT32_MAX);
		if (one.is_null)
			continue;
		put_words(b, one.bytes, runs);
		w_patch_be32(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
	}
	w_be16(b, bind.result_formats.count);
	w_bytes(b, bind.result_formats.raw);
}

bool view_reveal(const struct side_view *s, bool from_client, uint8_t type, struct str body,
                 struct buf *out) {
	unsigned runs = 0;

	if (s->hidden_end <= s->begin)
		return false;
	buf_init(out, body.n + (size_t)RUNS_MAX * LABEL_MAX + 4 * (size_t)UINT16_MAX);
	if (from_client && type == 'B')
		put_bind(out, body, &runs);
	else if (from_client && type == 'P')
		put_parse(out, body, &runs);
	else
		put_words(out, body, &runs);
	if (w_done(out) == 0)
		return true;
	buf_fini(out);
	return false;
}
