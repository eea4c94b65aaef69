/*
 * log.c: one line per event on stderr, by one write(2).
 *
 *   JSON  {"time":"…","level":"info","process":"worker","pid":7,"event":"worker.session.opened",…}
 *   text  06:00:00.123 INFO  worker worker.session.opened session=k7m2-9xqe rows=3
 *
 * A line is built in a buffer of 4 KiB on the stack: nothing is allocated, no lock is taken, and a
 * write of at most 4 KiB to a pipe is whole, so lines of several threads and processes never mix.
 * What does not fit is left out and the line says so ("truncated"); it stays well-formed, because
 * room for its end is kept back while fields are written.
 *
 * Control bytes are escaped by json_escape() in both forms: what a client sends may be logged and
 * must not drive the operator's terminal.
 */
#include "base/log.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/json_priv.h"

enum { LINE_SIZE = 4096, TAIL_ROOM = 64, PROCESS_MAX = 32 };

static struct {
	char process[PROCESS_MAX];
	bool json;
	enum log_level lowest;
} conf = { .process = "hansard", .json = true, .lowest = LOG_INFO };

static const char *const level_names[] = {
	[LOG_DEBUG] = "debug", [LOG_INFO] = "info",   [LOG_WARN] = "warn",
	[LOG_ERROR] = "error", [LOG_ALARM] = "alarm",
};

static const char *const level_marks[] = {
	[LOG_DEBUG] = "DEBUG", [LOG_INFO] = "INFO ",  [LOG_WARN] = "WARN ",
	[LOG_ERROR] = "ERROR", [LOG_ALARM] = "ALARM",
};

struct line {
	char p[LINE_SIZE];
	size_t n;
	bool cut;       /* something did not fit; nothing more is written */
	bool is_closed; /* what was cut is a string that ends properly */
};

void log_setup(const char *process, bool json, enum log_level lowest) {
	(void)snprintf(conf.process, sizeof(conf.process), "%s", process);
	conf.json = json;
	conf.lowest = lowest;
}

static size_t room(const struct line *l) {
	return l->n < LINE_SIZE - TAIL_ROOM ? LINE_SIZE - TAIL_ROOM - l->n : 0;
}

static void put(struct line *l, struct str s) {
	if (l->cut || s.n > room(l)) {
		l->cut = true;
		return;
	}
	if (s.n != 0)
		memcpy(l->p + l->n, s.p, s.n);
	l->n += s.n;
}

static void put_z(struct line *l, const char *z) {
	put(l, str_of(z));
}

/* A string that was begun always ends: the room that is kept back has space for its quote. */
static void put_quoted(struct line *l, struct str s) {
	size_t used;

	put_z(l, "\"");
	if (l->cut)
		return;
	l->n += json_escape(l->p + l->n, room(l), s, &used);
	l->p[l->n++] = '"';
	l->cut = used < s.n;
	l->is_closed = l->cut;
}

static void put_u64(struct line *l, uint64_t v) {
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, v);
	put_z(l, text);
}

static void put_i64(struct line *l, int64_t v) {
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRId64, v);
	put_z(l, text);
}

static void put_hex(struct line *l, struct str s) {
	put_z(l, "\"");
	if (l->cut)
		return;
	size_t fits = MIN(s.n, room(l) / 2);

	/* Its NUL falls on the place of the quote. */
	hex_encode(l->p + l->n, s.p, fits);
	l->n += 2 * fits;
	l->p[l->n++] = '"';
	l->cut = fits < s.n;
	l->is_closed = l->cut;
}

/* Words of letters, digits and a few marks need no quotes in the text form. */
static bool is_word(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return s.n != 0;
}

static void put_str(struct line *l, struct str s) {
	if (!conf.json && is_word(s) && s.n < LINE_SIZE / 2)
		put(l, s);
	else
		put_quoted(l, s);
}

static void put_value(struct line *l, const struct kv *f) {
	switch (f->kind) {
	case KV_STR:
		put_str(l, f->s);
		break;
	case KV_I64:
		put_i64(l, f->i);
		break;
	case KV_U64:
		put_u64(l, f->u);
		break;
	case KV_BOOL:
		put_z(l, f->u != 0 ? "true" : "false");
		break;
	case KV_ERR:
		put_str(l, str_of(h_err_name((int)f->i)));
		put_z(l, conf.json ? ",\"error_text\":" : " error_text=");
		put_str(l, str_of(h_err_text((int)f->i)));
		break;
	case KV_HEX:
		put_hex(l, f->s);
		break;
	case KV_END:
		break;
	}
}

/* What does not fit is taken back, but for a string, of which the beginning stays. */
static void put_field(struct line *l, const struct kv *f) {
	size_t before = l->n;

	put_z(l, conf.json ? ",\"" : " ");
	put_z(l, f->key);
	put_z(l, conf.json ? "\":" : "=");
	put_value(l, f);
	if (l->cut && !l->is_closed)
		l->n = before;
}

static void put_head(struct line *l, enum log_level level, const char *event) {
	char now[TIME_TEXT_SIZE];

	time_text(now, wall_ns());
	if (conf.json) {
		put_z(l, "{\"time\":\"");
		put_z(l, now);
		put_z(l, "\",\"level\":\"");
		put_z(l, level_names[level]);
		put_z(l, "\",\"process\":");
		put_quoted(l, str_of(conf.process));
		put_z(l, ",\"pid\":");
		put_i64(l, getpid());
		put_z(l, ",\"event\":");
		put_quoted(l, str_of(event));
		return;
	}
	put(l, str_mem(now + 11, 12));
	put_z(l, " ");
	put_z(l, level_marks[level]);
	put_z(l, " ");
	put_z(l, conf.process);
	put_z(l, " ");
	put_z(l, event);
}

static void put_tail(struct line *l) {
	const char *mark = !l->cut ? "" : conf.json ? ",\"truncated\":true" : " truncated=true";
	int n = snprintf(l->p + l->n, LINE_SIZE - l->n, "%s%s\n", mark, conf.json ? "}" : "");

	assert(n > 0 && (size_t)n < LINE_SIZE - l->n);
	l->n += (size_t)n;
}

void log_line(enum log_level level, const char *event, const struct kv *fields, size_t count) {
	struct line l;

	if (level < conf.lowest)
		return;
	l.n = 0;
	l.cut = false;
	l.is_closed = false;
	put_head(&l, level, event);
	for (size_t i = 0; i < count && !l.cut; i++)
		put_field(&l, &fields[i]);
	put_tail(&l);
	/* A log that cannot be written must not stop the gateway: the record is elsewhere. */
	if (write(STDERR_FILENO, l.p, l.n) < 0)
		return;
}

uint64_t log_limit_pass(struct log_limit *l, uint64_t now_ns) {
	uint64_t count = ++l->count;

	if (now_ns < l->next_ns)
		return 0;
	l->next_ns = now_ns + NS_PER_S;
	l->count = 0;
	return count;
}
