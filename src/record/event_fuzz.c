/* event_fuzz.c: any bytes as an event's payload; what parses is written back as the same bytes. */
#include "record/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct buf *b, const struct rec_event *e) {
	switch ((enum rec_type)e->type) {
	case REC_RAW:
		rec_put_raw(b, e->offset, e->bytes);
		break;
	case REC_DROPPED:
	case REC_INJECTED:
		rec_put_why(b, e->why, e->offset, e->bytes);
		break;
	case REC_REDACTED:
		rec_put_redacted(b, e->why, e->offset, e->length);
		break;
	case REC_HIDDEN:
		rec_put_hidden(b, e);
		break;
	case REC_DIGEST:
		rec_put_digest(b, e);
		break;
	case REC_WITHHELD:
		rec_put_withheld(b, e);
		break;
	case REC_FORWARDED:
		rec_put_forwarded(b, e->offset);
		break;
	case REC_COMMAND:
		rec_put_command(b, &e->command);
		break;
	case REC_FACT:
		rec_put_fact(b, e->name, e->bytes);
		break;
	case REC_END:
		rec_put_end(b, e->code, e->bytes, e->streams);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct rec_event e;
	struct buf b;

	if (size < 2)
		return 0;
	struct str payload = str_mem(data + 2, size - 2);

	if (rec_event_parse(&e, data[0] % 13, data[1], payload) < 0)
		return 0;
	buf_init(&b, size + 64);
	put(&b, &e);
	assert(!b.bad && str_eq(buf_peek(&b), payload));
	buf_fini(&b);
	return 0;
}
