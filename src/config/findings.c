/*
 * findings.c: collecting and printing findings (findings.h).
 *
 * Foreign text (keys of a document, file names) is printed through a filter that shows control
 * bytes as '?', since findings end on terminals and in logs. JSON output escapes by jw_str.
 */
#include "config/findings.h"

#include <stdarg.h>

#include "base/json.h"

enum { ARENA_MAX = 1024 * 1024, TEXT_MAX = 512 };

void findings_init(struct findings *f) {
	*f = (struct findings){ .arena = arena_new(ARENA_MAX) };
}

void findings_fini(struct findings *f) {
	arena_free(&f->arena);
	f->count = 0;
}

static void add(struct findings *f, enum finding_level level, const struct place *at,
                const char *text) {
	if (level == FINDING_ERROR)
		f->errors++;
	else
		f->warnings++;
	if (f->count == FINDINGS_MAX)
		return;
	struct finding *n = &f->v[f->count++];

	*n = (struct finding){ .level = level };
	if (at != NULL) {
		n->at.line = at->line;
		n->at.column = at->column;
		n->at.file = arena_str(f->arena, str_head(at->file, TEXT_MAX));
		n->at.key = arena_str(f->arena, str_head(at->key, TEXT_MAX));
	}
	n->text = arena_str(f->arena, str_of(text));
}

void finding_error(struct findings *f, const struct place *at, const char *fmt, ...) {
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add(f, FINDING_ERROR, at, text);
}

void finding_warn(struct findings *f, const struct place *at, const char *fmt, ...) {
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add(f, FINDING_WARNING, at, text);
}

void finding_nearest(struct findings *f, struct str nearest) {
	if (f->count != 0 && nearest.n != 0)
		f->v[f->count - 1].nearest = arena_str(f->arena, nearest);
}

/* Text of foreign origin without control bytes. */
static void w_clean(struct buf *out, struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		w_u8(out, c < 0x20 || c == 0x7f ? '?' : c);
	}
}

static void put_line(struct buf *out, const struct finding *n) {
	w_clean(out, n->at.file);
	if (n->at.line != 0)
		w_fmt(out, ":%u:%u", n->at.line, n->at.column);
	if (n->at.file.n != 0)
		w_fmt(out, ": ");
	w_fmt(out, "%s: ", n->level == FINDING_ERROR ? "error" : "warning");
	if (n->at.key.n != 0) {
		w_clean(out, n->at.key);
		w_fmt(out, ": ");
	}
	w_clean(out, n->text);
	if (n->nearest.n != 0) {
		w_fmt(out, " (did you mean \"");
		w_clean(out, n->nearest);
		w_fmt(out, "\"?)");
	}
}

void findings_text(const struct findings *f, struct buf *out) {
	for (size_t i = 0; i < f->count; i++) {
		put_line(out, &f->v[i]);
		w_u8(out, '\n');
	}
	if (f->errors + f->warnings > f->count)
		w_fmt(out, "… and %zu more\n", f->errors + f->warnings - f->count);
}

void findings_json(const struct findings *f, struct buf *out) {
	struct jw j = jw_of(out);

	jw_obj(&j);
	jw_kv_bool(&j, "ok", f->errors == 0);
	jw_kv_u64(&j, "errors", f->errors);
	jw_kv_u64(&j, "warnings", f->warnings);
	jw_key(&j, "findings");
	jw_arr(&j);
	for (size_t i = 0; i < f->count; i++) {
		const struct finding *n = &f->v[i];

		jw_obj(&j);
		jw_kv_z(&j, "level", n->level == FINDING_ERROR ? "error" : "warning");
		jw_kv_str(&j, "file", n->at.file);
		jw_kv_u64(&j, "line", n->at.line);
		jw_kv_u64(&j, "column", n->at.column);
		jw_kv_str(&j, "key", n->at.key);
		jw_kv_str(&j, "text", n->text);
		if (n->nearest.n != 0)
			jw_kv_str(&j, "nearest", n->nearest);
		jw_obj_end(&j);
	}
	jw_arr_end(&j);
	jw_obj_end(&j);
}

void findings_first(const struct findings *f, char *out, size_t cap) {
	struct buf b;

	assert(cap > 0);
	out[0] = '\0';
	buf_init(&b, 4096);
	for (size_t i = 0; i < f->count; i++) {
		if (f->v[i].level != FINDING_ERROR)
			continue;
		put_line(&b, &f->v[i]);
		(void)snprintf(out, cap, "%.*s", STR_ARG(buf_peek(&b)));
		break;
	}
	buf_fini(&b);
}
