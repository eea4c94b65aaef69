/*
 * play.c: a session as it went, for eyes (`hansard play`, `hansard tail`).
 *
 * Everything that was recorded stands behind a margin, made harmless, with newlines kept only inside the
 * margin: no statement, row or error text can look like a line of this program's own.
 */
#include "main/play.h"

#include "base/clock.h"

#define PLAY_MESSAGE_MAX (8 * MIB)
#define PLAY_OUT_MAX (256 * MIB)
#define PLAY_VALUE_MAX (64 * KIB)
enum { CHUNK_ROWS = 500, NUMBER_SIZE = 24 };

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
	if (++p->copies > p->rows_max && p->rows_max != 0)
		return;
	if (data.n > 0 && data.p[data.n - 1] == '\n')
		data = str_head(data, data.n - 1);
	put_block(&p->out, str_head(data, PLAY_VALUE_MAX), from_client ? "  > " : "  < ");
	flush(p);
}

/* ---- commands ---- */

static void put_params(struct play *p, const struct view_command *c) {
	struct pg_values values = c->params;
	struct pg_value v;
	for (size_t i = 0; c->has_params && pg_values_next(&values, &v); i++) {
		uint32_t type = i < c->param_types.count ? pg_oid_at(&c->param_types, i) : 0;
		const char *name = pg_type_name(type);
		w_fmt(&p->out, "  $%zu%s%s = ", i + 1, name != NULL ? " " : "",
		      name != NULL ? name : "");
		buf_clear(&p->value);
		if (v.is_null) {
			w_bytes(&p->out, STR("NULL\n"));
			continue;
		}
		(void)pg_value_text(&p->value, type, pg_format_at(&c->param_formats, i),
		                    str_head(v.bytes, PLAY_VALUE_MAX));
		w_u8(&p->out, '"');
		text_safe(&p->out, buf_peek(&p->value), TEXT_LINE);
		w_u8(&p->out, '"');
		if (v.bytes.n > PLAY_VALUE_MAX)
			w_fmt(&p->out, " … (%zu bytes)", v.bytes.n);
		w_u8(&p->out, '\n');
	}
}

static void on_begin(void *arg, const struct view_command *c) {
	struct play *p = arg;
	end_rows(p);
	play_flush(p);
	p->is_muted = c->number <= p->skip;
	p->copies = 0;
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
		put_block(&p->out, c->text, "  | ");
	else if (c->kind != VIEW_FUNCTION)
		w_bytes(&p->out, STR("  (its text is not known)\n"));
	put_params(p, c);
	flush(p);
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	struct play *p = arg;
	(void)c;
	end_rows(p);
	if (p->rows_max != 0 && p->copies > p->rows_max)
		w_fmt(&p->out, "  … %llu more messages of COPY (--rows 0 shows all)\n",
		      (unsigned long long)(p->copies - p->rows_max));
	p->copies = 0;
	if (tag.n > 0)
		put_block(&p->out, tag, "  = ");
}

/* "internal position" */
static void put_field_name(struct buf *out, uint8_t code) {
	const char *key = pg_field_key(code);

	for (const char *p = key != NULL ? key : "field"; *p != '\0'; p++)
		w_u8(out, *p == '_' ? ' ' : (uint8_t)*p);
}

/* "! ERROR 22012: division by zero" and every further field. */
static void put_fields(struct play *p, struct pg_fields fields) {
	struct pg_fields again = fields;
	struct pg_field f;
	struct str said[3] = { STR_NONE, STR_NONE, STR_NONE };
	while (pg_fields_next(&again, &f)) {
		if (f.code == 'S')
			said[0] = f.value;
		if (f.code == 'C')
			said[1] = f.value;
		if (f.code == 'M')
			said[2] = f.value;
	}
	w_bytes(&p->out, STR("  ! "));
	text_safe(&p->out, said[0], TEXT_LINE);
	w_u8(&p->out, ' ');
	text_safe(&p->out, said[1], TEXT_LINE);
	w_bytes(&p->out, STR(": "));
	text_safe(&p->out, said[2], TEXT_LINE);
	w_u8(&p->out, '\n');
	while (pg_fields_next(&fields, &f)) {
		if (f.code == 'S' || f.code == 'V' || f.code == 'C' || f.code == 'M')
			continue;
		w_bytes(&p->out, STR("  !   "));
		put_field_name(&p->out, f.code);
		w_bytes(&p->out, STR(": "));
		text_safe(&p->out, f.value, TEXT_LINE);
		w_u8(&p->out, '\n');
	}
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct play *p = arg;
	(void)c;
	end_rows(p);
	put_fields(p, fields);
}

static void on_end(void *arg, const struct view_command *c) {
	struct play *p = arg;
	struct spent s = spent_of(c);
	end_rows(p);
	w_fmt(&p->out, "  -> %s", view_status_name(c->status));
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
	flush(p);
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
	put_fields(p, fields);
}

static void on_error(void *arg, struct pg_fields fields, uint64_t now_ns) {
	struct play *p = arg;
	end_rows(p);
	w_bytes(&p->out, STR("\n[-] "));
	put_when(p, now_ns);
	w_bytes(&p->out, STR("  error outside any command\n"));
	put_fields(p, fields);
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
	if (!p->is_wide)
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

/* Frames that are not data: gaps, facts of keeper and recorder, acts. */
static void on_item(void *arg, const struct reader_item *it) {
	struct play *p = arg;
	char when[LOCAL_TEXT_SIZE];
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
	head_brief(&p->out, about);
	play_flush(p);
	if (str_is(json_text(about, "protocol"), "postgres"))
		p->feed.view = pg_view_new(&h, PLAY_MESSAGE_MAX);
	p->feed.item = on_item;
	p->feed.arg = p;
	p->is_muted = p->skip != 0;
}

void play_end(struct play *p, const json_t *about) {
	end_rows(p);
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
