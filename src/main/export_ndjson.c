/*
 * export_ndjson.c: the record as one JSON object per line (docs/export.md is the schema).
 *
 * A command's line is written while its rows are read, so that a result of any size passes through one
 * buffer. Members come in the order in which the record tells them: what was asked first, results, then how
 * it ended. Commands of a session never interleave (pg_view.h), so neither do lines.
 */
#include "base/clock.h"
#include "main/export.h"
#include "main/feed.h"
#include "main/head.h"
#include "main/relations.h"
#include "main/text.h"
#include "main/view_json.h"

#define EXPORT_MESSAGE_MAX (32 * MIB)
#define EXPORT_OUT_MAX (512 * MIB) /* a message in JSON's longest spelling */
#define EXPORT_NOTICES_MAX (16 * MIB)

enum part { PART_NONE, PART_RESULT, PART_ROWS, PART_COPY };

struct ndjson {
	struct found *found;
	struct feed feed;
	char sid[UUID_TEXT_SIZE];
	struct buf out, value, notices;
	struct buf later; /* lines that wait for the end of the one that is being written */
	bool in_command;
	struct jw j;
	struct jw notes;
	/* of the command whose line is being written */
	enum part part;
	unsigned results;
	uint64_t rows_out; /* of the result under way, not recorded */
	uint64_t tag_rows;
	bool has_tag_rows;
	char sqlstate[8];
};

static void flush(struct ndjson *x, size_t above) {
	if (x->out.len > above)
		print_buf(&x->out);
}

static void line_begin(struct ndjson *x, const char *type) {
	x->j = jw_of(&x->out);
	jw_obj(&x->j);
	jw_kv_z(&x->j, "type", type);
	jw_kv_z(&x->j, "session", x->sid);
}

static void line_end(struct ndjson *x) {
	jw_obj_end(&x->j);
	w_u8(&x->out, '\n');
	w_bytes(&x->out, buf_peek(&x->later));
	buf_clear(&x->later);
	flush(x, 256 * KIB);
}

static void kv_time(struct jw *j, const char *key, uint64_t wall) {
	char text[TIME_TEXT_SIZE];
	time_text(text, wall);
	jw_kv_z(j, key, text);
}

/* ---- results ---- */

static void end_part(struct ndjson *x) {
	if (x->part == PART_ROWS || x->part == PART_COPY)
		jw_arr_end(&x->j);
	if (x->part != PART_NONE && x->rows_out > 0)
		jw_kv_u64(&x->j, "rows_not_recorded", x->rows_out);
	x->rows_out = 0;
	if (x->part != PART_NONE)
		x->part = PART_RESULT;
}

/* The first result is "result"; a simple query of several statements has the others in "more_results". */
static void need_result(struct ndjson *x) {
	if (x->part != PART_NONE)
		return;
	if (x->results == 0) {
		jw_key(&x->j, "result");
	} else if (x->results == 1) {
		jw_key(&x->j, "more_results");
		jw_arr(&x->j);
	}
	x->results++;
	jw_obj(&x->j);
	x->part = PART_RESULT;
}

static void end_result(struct ndjson *x) {
	end_part(x);
	if (x->part == PART_RESULT)
		jw_obj_end(&x->j);
	x->part = PART_NONE;
}

/* What comes behind an error has no place in the line (CopyData that was under way). */
static bool has_failed(const struct ndjson *x) {
	return x->sqlstate[0] != '\0';
}

static void on_columns(void *arg, const struct view_command *c, const struct view_shape *shape) {
	struct ndjson *x = arg;
	struct pg_row_desc desc = shape->desc;
	struct pg_column column;
	(void)c;
	if (has_failed(x))
		return;
	end_result(x);
	need_result(x);
	jw_key(&x->j, "columns");
	jw_arr(&x->j);
	for (size_t i = 0; i < shape->desc.count && pg_row_desc_next(&desc, &column); i++) {
		const char *type = pg_type_name(column.type_oid);
		jw_obj(&x->j);
		jw_kv_str(&x->j, "name", column.name);
		jw_kv_u64(&x->j, "type_oid", column.type_oid);
		if (type != NULL)
			jw_kv_z(&x->j, "type", type);
		if (column.table_oid != 0) {
			jw_kv_u64(&x->j, "table_oid", column.table_oid);
			jw_kv_u64(&x->j, "attnum", column.attnum);
		}
		jw_obj_end(&x->j);
	}
	jw_arr_end(&x->j);
}

static void on_row(void *arg, const struct view_command *c, const struct view_shape *shape,
                   struct pg_values values) {
	struct ndjson *x = arg;
	struct pg_row_desc desc = shape->desc;
	struct pg_value value;
	(void)c;
	if (has_failed(x))
		return;
	need_result(x);
	if (x->part != PART_ROWS) {
		end_part(x);
		jw_key(&x->j, "rows");
		jw_arr(&x->j);
		x->part = PART_ROWS;
	}
	jw_arr(&x->j);
	for (size_t i = 0; pg_values_next(&values, &value); i++) {
		struct pg_column column = { .type_oid = 0 };
		if (shape->is_described && i < shape->desc.count)
			(void)pg_row_desc_next(&desc, &column);
		view_json_value(&x->j, &x->value, &value, column.type_oid,
		                shape->formats.count > 0 ? pg_format_at(&shape->formats, i)
		                                         : column.format);
	}
	jw_arr_end(&x->j);
	flush(x, 256 * KIB);
}

/* Rows that were passed on and are not on the record; their digests stand in the events. */
static void on_kept_out(void *arg, const struct view_command *c, uint64_t rows,
                        const uint8_t *digest) {
	struct ndjson *x = arg;
	(void)c;
	(void)digest;
	if (has_failed(x))
		return;
	need_result(x);
	x->rows_out += rows;
}

static void on_copy(void *arg, const struct view_command *c, bool from_client, struct str data) {
	struct ndjson *x = arg;
	(void)c;
	if (has_failed(x))
		return;
	need_result(x);
	if (x->part != PART_COPY) {
		end_part(x);
		jw_kv_z(&x->j, "copy_direction", from_client ? "in" : "out");
		jw_key(&x->j, "copy");
		jw_arr(&x->j);
		x->part = PART_COPY;
	}
	jw_obj(&x->j);
	view_json_bytes(&x->j, data);
	jw_obj_end(&x->j);
	flush(x, 256 * KIB);
}

static void on_complete(void *arg, const struct view_command *c, struct str tag) {
	struct ndjson *x = arg;
	struct pg_tag t;
	auto_free char *z = xmalloc(tag.n + 1);
	(void)c;
	if (has_failed(x))
		return;
	need_result(x);
	end_part(x);
	if (tag.p != NULL) {
		memcpy(z, tag.p, tag.n);
		z[tag.n] = '\0';
		jw_kv_str(&x->j, "tag", tag);
		if (pg_tag_parse(&t, str_mem(z, tag.n + 1)) == 0 && t.has_rows) {
			x->tag_rows += t.rows;
			x->has_tag_rows = true;
		}
	}
	end_result(x);
}

/* ---- commands ---- */

static void on_begin(void *arg, const struct view_command *c) {
	struct ndjson *x = arg;
	x->in_command = true;
	x->part = PART_NONE;
	x->results = 0;
	x->tag_rows = 0;
	x->has_tag_rows = false;
	x->sqlstate[0] = '\0';
	buf_clear(&x->notices);
	x->notes = jw_of(&x->notices);
	jw_arr(&x->notes);
	line_begin(x, "command");
	auto_free char *id = xasprintf("%s:c%llu", x->sid, (unsigned long long)c->number);
	jw_kv_z(&x->j, "id", id);
	jw_kv_u64(&x->j, "number", c->number);
	jw_kv_u64(&x->j, "seq", c->seq);
	jw_kv_z(&x->j, "kind", view_kind_name(c->kind));
	kv_time(&x->j, "received", c->received_ns + x->feed.wall_minus_mono);
	jw_key(&x->j, "text");
	if (c->has_text)
		jw_str(&x->j, c->text);
	else
		jw_null(&x->j);
	if (c->has_text && str_utf8_bad(c->text) < c->text.n) {
		auto_free char *raw = xmalloc(4 * ((c->text.n + 2) / 3) + 1);
		size_t n = base64_encode(raw, c->text.p, c->text.n);
		jw_kv_str(&x->j, "text_base64", str_mem(raw, n));
	}
	if (c->kind == VIEW_EXECUTE) {
		jw_kv_str(&x->j, "statement", c->statement);
		jw_kv_str(&x->j, "portal", c->portal);
		jw_kv_u64(&x->j, "rows_max", c->rows_max);
	}
	if (c->kind == VIEW_FUNCTION)
		jw_kv_u64(&x->j, "function_oid", c->function_oid);
	view_json_params(&x->j, &x->value, c, SIZE_MAX);
	view_json_claimed(&x->j, c);
}

static void on_failed(void *arg, const struct view_command *c, struct pg_fields fields) {
	struct ndjson *x = arg;
	struct pg_fields again = fields;
	struct pg_field f;
	(void)c;
	if (x->sqlstate[0] !=
	    '\0') /* one error per command; a second would be a second "error" member */
		return;
	end_result(x);
	while (pg_fields_next(&again, &f))
		if (f.code == 'C')
			(void)str_copy(x->sqlstate, sizeof(x->sqlstate), f.value);
	if (x->sqlstate[0] == '\0')
		(void)str_copy(x->sqlstate, sizeof(x->sqlstate), STR("?"));
	if (x->results > 1)
		jw_arr_end(&x->j);
	x->results = 0;
	jw_key(&x->j, "error");
	view_json_fields(&x->j, fields);
}

static void put_times(struct ndjson *x, const struct view_command *c) {
	struct spent s = spent_of(c);
	if (s.has_held) {
		kv_time(&x->j, "forwarded", c->forwarded_ns + x->feed.wall_minus_mono);
		jw_kv_u64(&x->j, "held_ns", s.held_ns);
	}
	if (s.has_total) {
		kv_time(&x->j, "answered", c->answered_ns + x->feed.wall_minus_mono);
		jw_kv_u64(&x->j, "total_ns", s.total_ns);
	}
	if (s.has_held && s.has_total)
		jw_kv_u64(&x->j, "target_ns", s.target_ns);
}

static void on_end(void *arg, const struct view_command *c) {
	struct ndjson *x = arg;
	end_result(x);
	if (x->results > 1)
		jw_arr_end(&x->j);
	jw_arr_end(&x->notes);
	if (x->notices.len > 2 && !x->notices.bad) {
		jw_key(&x->j, "notices");
		jw_raw(&x->j, buf_peek(&x->notices));
	}
	jw_kv_z(&x->j, "status", view_status_name(c->status));
	if (x->sqlstate[0] != '\0')
		jw_kv_z(&x->j, "sqlstate", x->sqlstate);
	jw_kv_u64(&x->j, "rows", x->has_tag_rows ? x->tag_rows : c->rows);
	jw_kv_u64(&x->j, "rows_returned", c->rows);
	jw_kv_u64(&x->j, "row_bytes", c->row_bytes);
	put_times(x, c);
	x->in_command = false;
	line_end(x);
}

/* ---- what else happens: lines of their own, and never inside a command's ---- */

static void on_notice(void *arg, const struct view_command *c, struct pg_fields fields,
                      uint64_t now_ns) {
	struct ndjson *x = arg;
	if (c != NULL) {
		view_json_fields(&x->notes, fields);
		return;
	}
	line_begin(x, "notice");
	kv_time(&x->j, "time", now_ns + x->feed.wall_minus_mono);
	jw_key(&x->j, "notice");
	view_json_fields(&x->j, fields);
	line_end(x);
}

static void on_error(void *arg, struct pg_fields fields, uint64_t now_ns) {
	struct ndjson *x = arg;
	line_begin(x, "error");
	kv_time(&x->j, "time", now_ns + x->feed.wall_minus_mono);
	jw_key(&x->j, "error");
	view_json_fields(&x->j, fields);
	line_end(x);
}

/* Where the line of a command cannot tell: `what` with the stream and a number. */
static void put_blind(struct ndjson *x, const char *what, bool from_client, const char *key,
                      uint64_t n) {
	struct jw *j = x->in_command ? &x->notes : &x->j;
	if (x->in_command)
		jw_obj(j);
	else
		line_begin(x, what);
	if (x->in_command)
		jw_kv_z(j, "type", what);
	jw_kv_z(j, "stream", from_client ? "C" : "T");
	jw_kv_u64(j, key, n);
	if (x->in_command)
		jw_obj_end(j);
	else
		line_end(x);
}

static void on_oversize(void *arg, const struct view_command *c, bool from_client, uint8_t type,
                        uint64_t len) {
	(void)c;
	(void)type;
	put_blind(arg, "not_shown", from_client, "bytes", len);
}

static void on_broken(void *arg, bool from_client, uint64_t offset) {
	put_blind(arg, "not_understood", from_client, "offset", offset);
}

/* ---- frames and events ---- */

static void put_json_frame(struct ndjson *x, const struct reader_item *it) {
	auto_free char *text = str_dup(it->json);
	json_t *doc = json_loads(text, JSON_DECODE_ANY, NULL);
	struct jw j = jw_of(&x->later);
	jw_obj(&j);
	jw_kv_z(&j, "type", frame_kind_name(it->kind));
	jw_kv_z(&j, "session", x->sid);
	kv_time(&j, "time", it->wall_ns);
	jw_kv_u64(&j, "frame", it->head.frame_no);
	jw_key(&j, frame_kind_name(it->kind));
	if (doc != NULL)
		text_json(&x->later, str_of(text));
	else
		w_bytes(&x->later, STR("null"));
	w_bytes(&x->later, STR("}\n"));
	json_decref(doc);
	if (!x->in_command) {
		w_bytes(&x->out, buf_peek(&x->later));
		buf_clear(&x->later);
		flush(x, 256 * KIB);
	}
}

/* What a relation was called: behind the command during which it was first seen. */
static void put_relation(struct ndjson *x, const struct reader_item *it) {
	json_t *relation = relation_of(&it->event);
	auto_free char *text = relation != NULL ? json_dumps(relation, JSON_COMPACT) : NULL;
	struct jw j = jw_of(&x->later);
	json_decref(relation);
	if (text == NULL)
		return;
	jw_obj(&j);
	jw_kv_z(&j, "type", "relation");
	jw_kv_z(&j, "session", x->sid);
	kv_time(&j, "time", it->wall_ns);
	jw_key(&j, "relation");
	text_json(&x->later, str_of(text));
	w_bytes(&x->later, STR("}\n"));
	if (x->in_command)
		return;
	w_bytes(&x->out, buf_peek(&x->later));
	buf_clear(&x->later);
}

static void on_frame(void *arg, const struct reader_item *it) {
	if (it->kind == FRAME_DATA && !it->is_bad)
		put_relation(arg, it);
	if (it->kind == FRAME_GAP || it->kind == FRAME_FACT || it->kind == FRAME_ACT)
		put_json_frame(arg, it);
}

static void put_command_event(struct jw *j, const struct rec_command *c) {
	char hash[2 * SHA256_SIZE + 1];
	hex_encode(hash, c->text_sha256, SHA256_SIZE);
	jw_kv_u64(j, "kind", c->kind);
	jw_kv_u64(j, "status", c->status);
	jw_kv_str(j, "verb", c->verb);
	jw_kv_z(j, "sqlstate", c->sqlstate);
	jw_kv_z(j, "text_sha256", hash);
	jw_kv_u64(j, "c_off", c->c_off);
	jw_kv_u64(j, "c_len", c->c_len);
	jw_kv_u64(j, "text_off", c->text_off);
	jw_kv_u64(j, "text_len", c->text_len);
	jw_kv_u64(j, "t_off", c->t_off);
	jw_kv_u64(j, "t_len", c->t_len);
	jw_kv_u64(j, "rows", c->rows);
	jw_kv_u64(j, "row_bytes", c->row_bytes);
	jw_kv_i64(j, "received_dt", c->received_dt);
	jw_kv_i64(j, "done_dt", c->done_dt);
}

static void put_hidden(struct jw *j, const struct rec_event *e) {
	char mac[2 * REC_MAC_SIZE + 1];

	hex_encode(mac, e->mac, sizeof(e->mac));
	jw_kv_u64(j, "why", e->why);
	jw_kv_u64(j, "offset", e->offset);
	jw_kv_u64(j, "length", e->length);
	jw_kv_z(j, "mac", mac);
}

static void put_withheld(struct jw *j, const struct rec_event *e) {
	jw_kv_u64(j, "offset", e->offset);
	jw_kv_u64(j, "length", e->length);
	jw_kv_u64(j, "rows", e->rows);
}

static void put_digest(struct jw *j, const struct rec_event *e) {
	char digest[2 * REC_DIGEST_SIZE + 1];

	hex_encode(digest, e->digest, sizeof(e->digest));
	put_withheld(j, e);
	jw_kv_z(j, "digest", digest);
}

static void put_event_body(struct jw *j, const struct rec_event *e) {
	switch ((enum rec_type)e->type) {
	case REC_DROPPED:
	case REC_INJECTED:
		jw_kv_u64(j, "why", e->why);
		jw_kv_u64(j, "offset", e->offset);
		view_json_bytes(j, e->bytes);
		break;
	case REC_RAW:
		jw_kv_u64(j, "offset", e->offset);
		view_json_bytes(j, e->bytes);
		break;
	case REC_REDACTED:
		jw_kv_u64(j, "why", e->why);
		jw_kv_u64(j, "offset", e->offset);
		jw_kv_u64(j, "length", e->length);
		break;
	case REC_HIDDEN:
		put_hidden(j, e);
		break;
	case REC_DIGEST:
		put_digest(j, e);
		break;
	case REC_WITHHELD:
		put_withheld(j, e);
		break;
	case REC_FORWARDED:
		jw_kv_u64(j, "offset", e->offset);
		break;
	case REC_COMMAND:
		put_command_event(j, &e->command);
		break;
	case REC_FACT:
		jw_kv_str(j, "name", e->name);
		view_json_bytes(j, e->bytes);
		break;
	case REC_END:
		jw_kv_i64(j, "code", e->code);
		jw_kv_str(j, "reason", e->bytes);
		jw_key(j, "streams");
		jw_arr(j);
		for (size_t i = 0; i < ARRAY_LEN(e->streams); i++)
			jw_u64(j, e->streams[i]);
		jw_arr_end(j);
		break;
	}
}

static void on_event(void *arg, const struct reader_item *it) {
	static const char *const streams[] = { "C", "U", "T", "R" };
	struct ndjson *x = arg;
	const struct rec_event *e = &it->event;
	if (it->kind != FRAME_DATA)
		return;
	auto_free char *id = xasprintf("%s:%llu", x->sid, (unsigned long long)e->seq);
	line_begin(x, "event");
	jw_kv_z(&x->j, "id", id);
	jw_kv_u64(&x->j, "seq", e->seq);
	jw_kv_z(&x->j, "event", rec_type_name(e->type));
	jw_kv_z(&x->j, "stream", streams[e->flags & REC_STREAM_MASK]);
	kv_time(&x->j, "time", it->wall_ns);
	jw_kv_u64(&x->j, "frame", it->head.frame_no);
	if (it->is_bad)
		jw_kv_bool(&x->j, "undecodable", true);
	else
		put_event_body(&x->j, e);
	line_end(x);
}

/* ---- sessions ---- */

/* The session's line: what `sessions -o json` says, and the open and close frames as they stand. */
static void put_session(struct ndjson *x, const json_t *about) {
	json_t *doc = json_pack("{s:s, s:s}", "type", "session", "session", x->sid);
	json_t *copy = json_copy((json_t *)(uintptr_t)about);
	(void)json_object_update(doc, copy);
	json_decref(copy);
	(void)json_object_set_new(doc, "is_open",
	                          json_boolean(json_is_true(json_object_get(about, "open"))));
	(void)json_object_set(doc, "open", json_object_get(about, "open_frame"));
	(void)json_object_set(doc, "close", json_object_get(about, "close_frame"));
	(void)json_object_del(doc, "open_frame");
	(void)json_object_del(doc, "close_frame");
	auto_free char *text = json_dumps(doc, JSON_COMPACT);
	json_decref(doc);
	text_json(&x->out, text != NULL ? str_of(text) : STR("{}"));
	w_u8(&x->out, '\n');
}

static int put_all(struct ndjson *x, const uint8_t sid[SID_SIZE], bool with_events, struct err *e) {
	struct view_handler h = { .arg = x,
		                  .kept_out = on_kept_out,
		                  .begin = on_begin,
		                  .columns = on_columns,
		                  .row = on_row,
		                  .copy = on_copy,
		                  .complete = on_complete,
		                  .failed = on_failed,
		                  .end = on_end,
		                  .notice = on_notice,
		                  .oversize = on_oversize,
		                  .error = on_error,
		                  .broken = on_broken };
	uuid_text(x->sid, sid);
	json_t *about = find_describe(x->found, sid, true, e);
	if (about == NULL)
		return e->code;
	put_session(x, about);
	/* Notices before the first command have their place. */
	x->notes = jw_of(&x->notices);
	x->feed = (struct feed){ .item = on_frame, .arg = x };
	if (str_is(json_text(about, "protocol"), "postgres"))
		x->feed.view = pg_view_new(&h, EXPORT_MESSAGE_MAX);
	json_decref(about);
	int rc = feed_session(&x->feed, x->found->r, sid, e);
	pg_view_free(&x->feed.view);
	if (rc == 0 && with_events) {
		x->feed = (struct feed){ .item = on_event, .arg = x };
		rc = feed_session(&x->feed, x->found->r, sid, e);
	}
	flush(x, 0);
	return rc;
}

int export_ndjson(struct found *f, const uint8_t sid[SID_SIZE], bool with_events, struct err *e) {
	struct ndjson x = { .found = f };
	buf_init(&x.out, EXPORT_OUT_MAX);
	buf_init(&x.value, 4 * EXPORT_MESSAGE_MAX);
	buf_init(&x.notices, EXPORT_NOTICES_MAX);
	buf_init(&x.later, EXPORT_OUT_MAX);
	int rc = put_all(&x, sid, with_events, e);
	buf_fini(&x.out);
	buf_fini(&x.value);
	buf_fini(&x.notices);
	buf_fini(&x.later);
	return rc;
}
