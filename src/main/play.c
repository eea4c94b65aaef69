/*
 * play.c: a session as it went, for eyes (`hansard play`, `hansard tail`).
 *
 * Everything that was recorded stands behind a margin, made harmless, with newlines kept only inside the
 * margin: no statement, row or error text can look like a line of this program's own.
 */
#include "main/play.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "main/relations.h"
#include "main/view_text.h"

#define PLAY_MESSAGE_MAX (8 * MIB)
#define PLAY_OUT_MAX (256 * MIB)
#define PLAY_VALUE_MAX (64 * KIB)
enum { CHUNK_ROWS = 500, NUMBER_SIZE = 24, BRIEF_TEXT_MAX = 400, BRIEF_VALUE_MAX = 120 };

void play_flush(struct play *p) {
	if (p->is_muted)
		buf_clear(&p->out);
	else
		print_buf(&p->out);
}

static void flush(struct play *p) {
	if (p->out.len > 64 * KIB)
		play_flush(p);
}

static void put_when(struct play *p, uint64_t mono) {
	char text[LOCAL_TEXT_SIZE];
	uint64_t wall = mono + p->feed.wall_minus_mono;
	local_text(text, wall);
	w_fmt(&p->out, "%s.%03llu", text, (unsigned long long)(wall % NS_PER_S / NS_PER_MS));
}

/* ---- rows ---- */

static void print_rows(struct play *p) {
	struct buf b;
	size_t width = terminal_width();
	if (p->table == NULL || table_rows(p->table) == 0)
		return;
	buf_init(&b, PLAY_OUT_MAX);
	table_print(p->table, &b, p->is_wide || width < 20 ? 0 : width - 2, width > 0);
	struct str text = buf_peek(&b);
	while (text.n > 0) {
		w_bytes(&p->out, STR("  "));
		w_bytes(&p->out, str_cut(&text, '\n'));
		w_u8(&p->out, '\n');
	}
	buf_fini(&b);
	table_clear(p->table);
	play_flush(p);
}

/* What was passed on and is not on the record (`record.results`). */
static void put_kept_out(struct play *p) {
	if (p->rows_out == 0)
		return;
	w_fmt(&p->out, "  … %llu rows not recorded", (unsigned long long)p->rows_out);
	if (p->digests == 1)
		w_fmt(&p->out, " (digest %s…)", p->digest);
	else if (p->digests > 1)
		w_fmt(&p->out, " (%llu digests, first %s…)", (unsigned long long)p->digests,
		      p->digest);
	w_u8(&p->out, '\n');
	p->rows_out = p->digests = 0;
}

static void on_kept_out(void *arg, const struct view_command *c, uint64_t rows,
                        const uint8_t *digest) {
	struct play *p = arg;
	(void)c;
	p->rows_out += rows;
	if (digest == NULL)
		return;
	if (p->digests++ == 0)
		hex_encode(p->digest, digest, PLAY_DIGEST_SHOWN);
}

static void end_rows(struct play *p) {
	print_rows(p);
	put_kept_out(p);
	if (p->rows_max != 0 && p->rows > p->rows_max)
		w_fmt(&p->out, "  … %llu more rows (--rows 0 shows all)\n",
		      (unsigned long long)(p->rows - p->rows_max));
	table_free(&p->table);
	p->rows = 0;
}

static void begin_rows(struct play *p, struct str *heads, size_t count) {
	end_rows(p);
	p->columns = count;
	if (count > 0)
		p->table = table_new_str(heads, count);
}

static void on_columns(void *arg, const struct view_command *c, const struct view_shape *shape) {
	struct play *p = arg;
	struct pg_row_desc desc = shape->desc;
	struct pg_column column;
	auto_free struct str *heads = xcalloc((size_t)desc.count + 1, sizeof(*heads));
	size_t n = 0;
	(void)c;
	if (p->is_brief)
		return;
	while (n < shape->desc.count && pg_row_desc_next(&desc, &column))
		heads[n++] = column.name;
	begin_rows(p, heads, n);
}

/* NULL stands bare; a value that reads NULL, is empty or starts with a quote stands in quotes. */
static void cell_value(struct play *p, const struct pg_value *v, uint32_t type, uint16_t format) {
	if (v->is_null) {
		table_cell(p->table, STR("NULL"));
		return;
	}
	buf_clear(&p->value);
	if (v->bytes.n > PLAY_VALUE_MAX) {
		(void)pg_value_text(&p->value, format == 0 ? 0 : type, 0,
		                    str_head(v->bytes, PLAY_VALUE_MAX));
		w_fmt(&p->value, "… (%zu bytes)", v->bytes.n);
	} else {
		(void)pg_value_text(&p->value, type, format, v->bytes);
	}
	struct str s = buf_peek(&p->value);
	if (s.n > 0 && !str_is(s, "NULL") && s.p[0] != '"') {
		table_cell(p->table, s);
		return;
	}
	auto_free char *quoted = xmalloc(s.n + 2);
	quoted[0] = quoted[s.n + 1] = '"';
	if (s.n > 0)
		memcpy(quoted + 1, s.p, s.n);
	table_cell(p->table, str_mem(quoted, s.n + 2));
}

/* Without a description (it was said before the record, or is missing) columns are numbered. */
static void number_columns(struct play *p, size_t count) {
	auto_free struct str *heads = xcalloc(count, sizeof(*heads));
	auto_free char *names = xcalloc(count, NUMBER_SIZE);
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(names + i * NUMBER_SIZE, NUMBER_SIZE, "%zu", i + 1);
		heads[i] = str_of(names + i * NUMBER_SIZE);
	}
	begin_rows(p, heads, count);
}

static void on_row(void *arg, const struct view_command *c, const struct view_shape *shape,
                   struct pg_values values) {
	struct play *p = arg;
	struct pg_row_desc desc = shape->desc;
	struct pg_value value;
	size_t n = 0;
	(void)c;
	if (p->is_brief)
		return;
	if (p->table == NULL && values.count > 0)
		number_columns(p, values.count);
	p->rows++;
	if (p->table == NULL || (p->rows_max != 0 && p->rows > p->rows_max))
		return;
	while (n < p->columns && pg_values_next(&values, &value)) {
		struct pg_column column = { .type_oid = 0 };
		if (shape->is_described)
			(void)pg_row_desc_next(&desc, &column);
		cell_value(p, &value, column.type_oid,
		           shape->formats.count > 0 ? pg_format_at(&shape->formats, n)
		                                    : column.format);
		n++;
	}
	for (; n < p->columns; n++)
		table_cell(p->table, STR("?"));
	if (table_rows(p->table) >= CHUNK_ROWS || table_bytes(p->table) > 4 * MIB)
		print_rows(p);
}

static void on_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	struct play *p = arg;
	(void)c;
	p->copy_bytes += data.n;
	p->is_copy_in = from_client;
	if ((++p->copies > p->rows_max && p->rows_max != 0) || p->is_brief)
		return;
	if (data.n > 0 && data.p[data.n - 1] == '\n')
		data = str_head(data, data.n - 1);
	put_block(&p->out, str_head(data, PLAY_VALUE_MAX), from_client ? "  > " : "  < ");
	flush(p);
}

/* ---- commands ---- */

static bool is_cut(const struct play *p) {
	return p->is_brief && !p->is_wide && p->only == 0;
}

static void put_statement(struct play *p, struct str text) {
	bool is_long = is_cut(p) && text.n > BRIEF_TEXT_MAX;
	size_t left = text.n - BRIEF_TEXT_MAX;
	put_block(&p->out, is_long ? str_head(text, BRIEF_TEXT_MAX) : text, "  | ");
	if (is_long)
		w_fmt(&p->out, "  … %zu more bytes\n", left);
}

static void on_begin(void *arg, const struct view_command *c) {
	struct play *p = arg;
	end_rows(p);
	play_flush(p);
	p->is_muted = c->number <= p->skip || (p->only != 0 && p->only != c->number);
	p->has_begun = true;
	p->was_found = p->was_found || p->only == c->number;
	p->copies = p->copy_bytes = 0;
	w_fmt(&p->out, "\n[%llu] ", (unsigned long long)c->number);
	put_when(p, c->received_ns);
	w_fmt(&p->out, "  %s", view_kind_name(c->kind));
	if (c->kind == VIEW_FUNCTION)
		w_fmt(&p->out, " %u", c->function_oid);
	if (c->statement.n > 0) {
		w_bytes(&p->out, STR(" of statement "));
		text_safe(&p->out, c->statement, TEXT_LINE);
	}
	if (c->portal.n > 0) {
		w_bytes(&p->out, STR(" by portal "));
		text_safe(&p->out, c->portal, TEXT_LINE);
	}
	if (c->rows_max > 0)
		w_fmt(&p->out, ", at most %u rows", c->rows_max);
	w_u8(&p->out, '\n');
	if (c->has_text)
		put_statement(p, c->text);
	else if (c->kind != VIEW_FUNCTION)
		w_bytes(&p->out, STR("  (its text is not known)\n"));
	view_text_params(&p->out, &p->value, c, is_cut(p) ? BRIEF_VALUE_MAX : PLAY_VALUE_MAX);
	view_text_claimed(&p->out, c);
	flush(p);
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	struct play *p = arg;
	(void)c;
	end_rows(p);
	if (p->rows_max != 0 && p->copies > p->rows_max && !p->is_brief)
		w_fmt(&p->out, "  … %llu more messages of COPY (--rows 0 shows all)\n",
		      (unsigned long long)(p->copies - p->rows_max));
	if (!p->is_brief)
		p->copies = 0;
	if (tag.n > 0)
		put_block(&p->out, tag, "  = ");
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct play *p = arg;
	(void)c;
	end_rows(p);
	view_text_fields(&p->out, fields);
}

/* ", 2 rows (34 bytes)", ", 3 messages of COPY in (61 bytes)" */
static void put_counts(struct play *p, const struct view_command *c) {
	if (c->rows > 0)
		w_fmt(&p->out, ", %llu row%s (%llu bytes)", (unsigned long long)c->rows,
		      c->rows == 1 ? "" : "s", (unsigned long long)c->row_bytes);
	if (p->copies > 0)
		w_fmt(&p->out, ", %llu message%s of COPY %s (%llu bytes)",
		      (unsigned long long)p->copies, p->copies == 1 ? "" : "s",
		      p->is_copy_in ? "in" : "out", (unsigned long long)p->copy_bytes);
}

static void put_moment(struct play *p, const char *what, uint64_t mono) {
	char text[TIME_TEXT_SIZE];
	if (mono == 0)
		return;
	time_text(text, mono + p->feed.wall_minus_mono);
	w_fmt(&p->out, "     %-10s %s\n", what, text);
}

/* Of the one command that is asked for: to the nanosecond, and where it stands in the record. */
static void put_places(struct play *p, const struct view_command *c) {
	put_moment(p, "received", c->received_ns);
	put_moment(p, "forwarded", c->forwarded_ns);
	put_moment(p, "answered", c->answered_ns);
	w_fmt(&p->out, "     %-10s %llu rows, %llu bytes\n", "returned",
	      (unsigned long long)c->rows, (unsigned long long)c->row_bytes);
	w_fmt(&p->out, "     %-10s event %llu, byte %llu of what the client said\n", "recorded",
	      (unsigned long long)c->seq, (unsigned long long)c->c_off);
	for (size_t i = 0; c->has_params && i < c->params.count; i++)
		w_fmt(&p->out, "     $%-9zu type %u, %s\n", i + 1,
		      i < c->param_types.count ? pg_oid_at(&c->param_types, i) : 0,
		      pg_format_at(&c->param_formats, i) == 0 ? "text" : "binary");
}

static void on_end(void *arg, const struct view_command *c) {
	struct play *p = arg;
	struct spent s = spent_of(c);
	end_rows(p);
	w_fmt(&p->out, "  -> %s", view_status_name(c->status));
	if (p->is_brief)
		put_counts(p, c);
	if (s.has_total) {
		w_bytes(&p->out, STR(", total "));
		put_ms(&p->out, s.total_ns);
	}
	if (s.has_held) {
		w_bytes(&p->out, STR(": held "));
		put_ms(&p->out, s.held_ns);
	}
	if (s.has_held && s.has_total) {
		w_bytes(&p->out, STR(", target "));
		put_ms(&p->out, s.target_ns);
	} else if (!s.has_held) {
		w_bytes(&p->out, STR(", not forwarded as far as the record tells"));
	}
	w_u8(&p->out, '\n');
	if (p->only != 0)
		put_places(p, c);
	flush(p);
	if (p->only != 0) {
		play_flush(p);
		p->is_muted = true;
		p->feed.stop = p->only == c->number;
	}
}

/* ---- what else happens ---- */

static void on_notice(void *arg, const struct view_command *c, struct pg_fields fields,
                      uint64_t now_ns) {
	struct play *p = arg;
	print_rows(p);
	if (c == NULL) {
		w_bytes(&p->out, STR("\n[-] "));
		put_when(p, now_ns);
		w_bytes(&p->out, STR("  notice\n"));
	}
	view_text_fields(&p->out, fields);
}

static void on_error(void *arg, struct pg_fields fields, uint64_t now_ns) {
	struct play *p = arg;
	end_rows(p);
	w_bytes(&p->out, STR("\n[-] "));
	put_when(p, now_ns);
	w_bytes(&p->out, STR("  error outside any command\n"));
	view_text_fields(&p->out, fields);
}

static void on_notify(void *arg, const struct pg_notify *n, uint64_t now_ns) {
	struct play *p = arg;
	print_rows(p);
	w_bytes(&p->out, STR("\n[-] "));
	put_when(p, now_ns);
	w_fmt(&p->out, "  notification of backend %u, channel ", n->pid);
	text_safe(&p->out, n->channel, TEXT_LINE);
	w_u8(&p->out, '\n');
	put_block(&p->out, n->payload, "  | ");
}

static void on_status(void *arg, const struct pg_param *param, uint64_t now_ns) {
	struct play *p = arg;
	if (!p->is_wide && !(p->is_brief && p->has_begun))
		return;
	print_rows(p);
	w_bytes(&p->out, STR("[-] "));
	put_when(p, now_ns);
	w_bytes(&p->out, STR("  the target says "));
	text_safe(&p->out, param->name, TEXT_LINE);
	w_bytes(&p->out, STR(" = "));
	text_safe(&p->out, param->value, TEXT_LINE);
	w_u8(&p->out, '\n');
}

static void on_startup(void *arg, const struct pg_param *param) {
	struct play *p = arg;
	if (!p->is_wide)
		return;
	w_bytes(&p->out, STR("[-] the client asks for "));
	text_safe(&p->out, param->name, TEXT_LINE);
	w_bytes(&p->out, STR(" = "));
	text_safe(&p->out, param->value, TEXT_LINE);
	w_u8(&p->out, '\n');
}

static void on_oversize(void *arg, const struct view_command *c, bool from_client, uint8_t type,
                        uint64_t len) {
	struct play *p = arg;
	const char *name = from_client ? pg_client_name(type) : pg_target_name(type);
	(void)c;
	print_rows(p);
	w_fmt(&p->out,
	      "  … a %s of %llu bytes is on the record and not shown (export --events has it)\n",
	      name != NULL ? name : "message", (unsigned long long)len);
}

static void on_broken(void *arg, bool from_client, uint64_t offset) {
	struct play *p = arg;
	end_rows(p);
	w_fmt(&p->out,
	      "\n[-] what the %s said is no longer understood from byte %llu of its stream on "
	      "(export --events has the bytes)\n",
	      from_client ? "client" : "target", (unsigned long long)offset);
}

/* Waits as long as the session did between two events, scaled, and at most max_pause_ns. */
static void pace(struct play *p, uint64_t mono) {
	uint64_t gap = mono > p->last_mono && p->last_mono != 0 ? mono - p->last_mono : 0;
	p->last_mono = MAX(mono, p->last_mono);
	if (p->speed_milli == 0 || gap == 0)
		return;
	gap = (uint64_t)((double)gap * 1000.0 / (double)p->speed_milli);
	if (p->max_pause_ns != 0)
		gap = MIN(gap, p->max_pause_ns);
	if (gap >= NS_PER_MS)
		play_flush(p);
	struct timespec t = { .tv_sec = (time_t)(gap / NS_PER_S),
		              .tv_nsec = (long)(gap % NS_PER_S) };
	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static void put_relation(struct play *p, const struct rec_event *e) {
	json_t *relation = relation_of(e);
	if (relation == NULL)
		return;
	end_rows(p);
	w_bytes(&p->out, STR("\n[-] "));
	put_when(p, e->mono_ns);
	w_bytes(&p->out, STR("  "));
	relation_text(&p->out, relation);
	w_u8(&p->out, '\n');
	json_decref(relation);
}

/* Frames that are not data: gaps, facts of keeper and recorder, acts. */
static void on_item(void *arg, const struct reader_item *it) {
	struct play *p = arg;
	char when[LOCAL_TEXT_SIZE];
	if (it->kind == FRAME_DATA && !it->is_bad)
		pace(p, it->event.mono_ns);
	if (it->kind == FRAME_DATA && !it->is_bad)
		put_relation(p, &it->event);
	if (it->kind == FRAME_DATA && it->is_bad)
		w_fmt(&p->out, "\n[-] event %llu does not decode\n",
		      (unsigned long long)it->event.seq);
	if (it->kind == FRAME_DATA || it->kind == FRAME_OPEN || it->kind == FRAME_CLOSE ||
	    (it->kind == FRAME_FACT && !p->is_wide))
		return;
	print_rows(p);
	local_text(when, it->wall_ns);
	w_fmt(&p->out, "\n[-] %s  %s\n", when, frame_kind_name(it->kind));
	put_block(&p->out, it->json, "  | ");
	flush(p);
}

void play_begin(struct play *p, const json_t *about) {
	struct view_handler h = { .arg = p,
		                  .begin = on_begin,
		                  .columns = on_columns,
		                  .row = on_row,
		                  .kept_out = on_kept_out,
		                  .copy = on_copy,
		                  .complete = on_complete,
		                  .failed = on_failed,
		                  .end = on_end,
		                  .notice = on_notice,
		                  .notify = on_notify,
		                  .status = on_status,
		                  .startup = on_startup,
		                  .oversize = on_oversize,
		                  .error = on_error,
		                  .broken = on_broken };
	buf_init(&p->out, PLAY_OUT_MAX);
	buf_init(&p->value, 64 * MIB);
	if (!p->is_brief || p->only != 0) {
		head_brief(&p->out, about);
		play_flush(p);
	}
	if (str_is(json_text(about, "protocol"), "postgres"))
		p->feed.view = pg_view_new(&h, PLAY_MESSAGE_MAX);
	p->feed.item = on_item;
	p->feed.arg = p;
	p->is_muted = p->skip != 0 || p->only != 0;
}

void play_end(struct play *p, const json_t *about) {
	end_rows(p);
	if (p->only != 0)
		return;
	p->is_muted = false;
	if (json_is_true(json_object_get(about, "open"))) {
		w_bytes(&p->out, STR("\n(the session is open, or ended with its gateway)\n"));
	} else {
		w_bytes(&p->out, STR("\nended: "));
		text_safe(&p->out, json_text(about, "reason"), TEXT_LINE);
		w_u8(&p->out, '\n');
	}
	print_buf(&p->out);
}

void play_fini(struct play *p) {
	table_free(&p->table);
	pg_view_free(&p->feed.view);
	buf_fini(&p->out);
	buf_fini(&p->value);
}
