/*
 * frame_body.c: the raw body of data frames: collecting events, and walking them.
 *
 *   raw  | room 32 | first payload | len type flags dt payload | …
 *              ^ finish: salt 16, then the first event's len type flags dt, right-aligned
 *
 * The first event's dt counts from the time at which the frame is cut, which nobody knows when the
 * event comes in; so its head is written last, into room that is kept for it. All other heads are
 * written at once. Where the command events lie is remembered, so that their leaves are hashed
 * without parsing the body again.
 */
#include "base/mem.h"
#include "base/rd.h"
#include "record/frame.h"
#include "record/tree.h"

/* Head of an event at its longest: 3 bytes of len (raw bodies are at most 1 MiB), type, flags, dt. */
enum { HEAD_MAX = 3 + 1 + 1 + 10, ROOM = 32, COMMANDS_FIRST = 8 };
_Static_assert(ROOM >= FRAME_SALT_SIZE + HEAD_MAX, "salt and first head fit");

static size_t put_varint(uint8_t *p, uint64_t v) {
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

static uint64_t zigzag(int64_t v) {
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

/* Bytes of the varint len at the start of an event. */
static size_t len_size_of(const uint8_t *event) {
	size_t n = 1;

	while ((event[n - 1] & 0x80) != 0)
		n++;
	return n;
}

/* Writes len, type, flags, dt; returns bytes written. */
static size_t put_event_head(uint8_t *p, uint8_t type, uint8_t flags, int64_t dt, size_t payload) {
	uint8_t tail[HEAD_MAX];
	size_t n = 0;

	tail[n++] = type;
	tail[n++] = flags;
	n += put_varint(tail + n, zigzag(dt));
	size_t len_size = put_varint(p, n + payload);

	memcpy(p + len_size, tail, n);
	return len_size + n;
}

void frame_builder_init(struct frame_builder *b) {
	*b = (struct frame_builder){ 0 };
	buf_init(&b->raw, ROOM + FRAME_RAW_MAX);
}

void frame_builder_fini(struct frame_builder *b) {
	buf_fini(&b->raw);
	free(b->commands);
	b->commands = NULL;
}

void frame_builder_reset(struct frame_builder *b, bool trim) {
	buf_clear(&b->raw);
	if (trim) {
		buf_trim(&b->raw, false);
		free(b->commands);
		b->commands = NULL;
		b->commands_cap = 0;
	}
	b->n_events = 0;
	b->n_commands = 0;
	b->has_intent = false;
}

size_t frame_builder_size(const struct frame_builder *b) {
	return b->raw.len;
}

static void note_command(struct frame_builder *b, size_t at, size_t len) {
	if (b->n_commands == b->commands_cap) {
		b->commands_cap = MAX(b->commands_cap * 2, (uint32_t)COMMANDS_FIRST);
		b->commands = xrealloc(b->commands, b->commands_cap * sizeof(*b->commands));
	}
	b->commands[b->n_commands++] = (struct frame_span){ .at = (uint32_t)at,
		                                            .len = (uint32_t)len };
}

/* Raw and hidden bytes of C, injected and redacted ones of U, and commands, are what a target waits for. */
static bool is_intent(uint8_t type, uint8_t flags) {
	unsigned stream = flags & REC_STREAM_MASK;

	return type == REC_COMMAND || ((type == REC_RAW || type == REC_HIDDEN) && stream == 0) ||
	       ((type == REC_INJECTED || type == REC_REDACTED) && stream == 1);
}

int frame_builder_add(struct frame_builder *b, uint8_t type, uint8_t flags, uint64_t mono_ns,
                      struct str payload) {
	bool is_first = b->n_events == 0;
	size_t head_room = is_first ? ROOM : HEAD_MAX;

	if (payload.n > FRAME_RAW_MAX || b->raw.len + head_room + payload.n > FRAME_RAW_MAX)
		return H_ELIMIT;
	uint8_t *p = buf_reserve(&b->raw, head_room + payload.n);

	assert(p != NULL);
	size_t head = ROOM;
	size_t at = b->raw.len;

	if (!is_first)
		head = put_event_head(p, type, flags, (int64_t)(mono_ns - b->last_mono), payload.n);
	if (payload.n != 0)
		memcpy(p + head, payload.p, payload.n);
	buf_commit(&b->raw, head + payload.n);
	if (type == REC_COMMAND) {
		size_t skip = is_first ? head : len_size_of(p);

		note_command(b, at + skip, head + payload.n - skip);
	}
	if (is_first) {
		b->first_payload = payload.n;
		b->first_mono = mono_ns;
		b->first_type = type;
		b->first_flags = flags;
	}
	b->last_mono = mono_ns;
	b->has_intent = b->has_intent || is_intent(type, flags);
	b->n_events++;
	return 0;
}

void frame_command_leaf(uint8_t out[SHA256_SIZE], const uint8_t salt[FRAME_SALT_SIZE], uint32_t i,
                        struct str event) {
	static const char label[] = "hansard/v1 command salt";
	const uint8_t number[4] = { (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16),
		                    (uint8_t)(i >> 24) };
	const struct str parts[] = { str_mem(label, sizeof(label) - 1),
		                     str_mem(salt, FRAME_SALT_SIZE),
		                     str_mem(number, sizeof(number)) };
	uint8_t hash[SHA256_SIZE];

	sha256_parts(hash, parts, ARRAY_LEN(parts));
	const struct str leaf[] = { str_mem("\0", 1), str_mem(hash, FRAME_SALT_SIZE), event };

	sha256_parts(out, leaf, ARRAY_LEN(leaf));
}

static void command_root(const struct frame_builder *b, const uint8_t salt[FRAME_SALT_SIZE],
                         uint8_t out[SHA256_SIZE]) {
	struct tree t;

	tree_init(&t);
	for (uint32_t i = 0; i < b->n_commands; i++) {
		uint8_t leaf[SHA256_SIZE];
		const struct frame_span *s = &b->commands[i];

		frame_command_leaf(leaf, salt, i,
		                   str_head(str_from(buf_peek(&b->raw), s->at), s->len));
		tree_add(&t, leaf);
	}
	tree_root(&t, out);
}

struct str frame_builder_finish(struct frame_builder *b, struct frame_head *h,
                                const uint8_t salt[FRAME_SALT_SIZE]) {
	uint8_t head[HEAD_MAX];

	assert(b->n_events != 0);
	uint8_t *raw = b->raw.p + b->raw.off;
	size_t n = put_event_head(head, b->first_type, b->first_flags,
	                          (int64_t)(b->first_mono - h->mono_ns), b->first_payload);
	size_t start = ROOM - n - FRAME_SALT_SIZE;

	memcpy(raw + start, salt, FRAME_SALT_SIZE);
	memcpy(raw + ROOM - n, head, n);
	if (b->first_type == REC_COMMAND) {
		size_t len_size = len_size_of(head);

		b->commands[0].at = (uint32_t)(ROOM - n + len_size);
		b->commands[0].len = (uint32_t)(n - len_size + b->first_payload);
	}
	h->n_events = b->n_events;
	h->flags = (uint8_t)((h->flags & ~FRAME_INTENT) | (b->has_intent ? FRAME_INTENT : 0));
	command_root(b, salt, h->command_root);
	return str_mem(raw + start, b->raw.len - start);
}

int frame_walk_begin(struct frame_walk *w, const struct frame_head *h, struct str raw) {
	struct str events;
	int rc = frame_after_salt(raw, &events);

	if (rc < 0)
		return rc;
	*w = (struct frame_walk){ .r = rd_of(events),
		                  .seq = h->first_seq,
		                  .mono_ns = h->mono_ns,
		                  .left = h->n_events,
		                  .salt = str_head(raw, FRAME_SALT_SIZE) };
	return 0;
}

/* The next event's head; *ret_payload borrows. 1, 0 at the end, or the code. */
static int walk_head(struct frame_walk *w, struct rec_event *e, struct str *ret_payload) {
	if (w->left == 0)
		return rd_done(&w->r);
	w->event = rd_vstr(&w->r);
	if (w->r.bad)
		return rd_done(&w->r);
	struct rd r = rd_of(w->event);

	e->type = rd_u8(&r);
	e->flags = rd_u8(&r);
	w->mono_ns += (uint64_t)rd_svarint(&r);
	if (r.bad)
		return rd_done(&r);
	*ret_payload = rd_bytes(&r, rd_left(&r));
	w->n_commands += e->type == REC_COMMAND;
	w->left--;
	return 1;
}

int frame_walk_next(struct frame_walk *w, struct rec_event *e) {
	struct rec_event head = { 0 };
	struct str payload = STR_NONE;
	int rc = walk_head(w, &head, &payload);

	if (rc > 0) {
		int parsed = rec_event_parse(e, head.type, head.flags, payload);

		rc = parsed < 0 ? parsed : rc;
		e->seq = w->seq++;
		e->mono_ns = w->mono_ns;
	}
	return rc;
}

int frame_check_events(const struct frame_head *h, struct str raw) {
	struct frame_walk w;
	struct rec_event e = { 0 };
	struct str payload;
	struct tree t;
	uint8_t hash[SHA256_SIZE];
	int rc = frame_walk_begin(&w, h, raw);

	if (rc < 0)
		return rc;
	tree_init(&t);
	while ((rc = walk_head(&w, &e, &payload)) > 0) {
		if (e.type != REC_COMMAND)
			continue;
		frame_command_leaf(hash, (const uint8_t *)w.salt.p, w.n_commands - 1, w.event);
		tree_add(&t, hash);
	}
	if (rc < 0)
		return rc;
	tree_root(&t, hash);
	return memcmp(hash, h->command_root, SHA256_SIZE) == 0 ? 0 : H_ETAMPERED;
}
