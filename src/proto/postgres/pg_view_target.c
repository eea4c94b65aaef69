/*
 * pg_view_target.c: what the target answered, and to which command. See pg_view.h; the rules are those of
 * pg_flow.c and pg_reply.c, without the duty to decide anything.
 */
#include "proto/postgres/pg_view_priv.h"

struct ask *ask_head(struct pg_view *v) {
	while (!list_empty(&v->asks)) {
		struct ask *a = list_first(&v->asks, struct ask, link);
		if (a->type != 'c' && a->type != 'd')
			return a;
		ask_free(a);
	}
	return NULL;
}

static void fill_params(struct command_view *c) {
	struct portal *p = c->portal;
	struct pg_bind bind;
	if (p->bind.p == NULL || pg_bind_parse(&bind, blob_str(&p->bind)) != 0)
		return;
	c->c.has_params = bind.params.count > 0;
	c->c.params = bind.params;
	c->c.param_formats = bind.param_formats;
	if (p->statement == NULL)
		return;
	struct blob *types = p->statement->actual.n > 0 ? &p->statement->actual
	                                                : &p->statement->types;
	c->c.param_types = (struct pg_oids){ .count = (uint16_t)(types->n / 4),
		                             .raw = blob_str(types) };
}

/* Which portal an Execute ran is the target's answer to what was bound, not the client's word. */
static void resolve(struct pg_view *v, struct command_view *c) {
	struct portal *live = c->text.p != NULL ? map_get(v->portals, blob_str(&c->text)) : NULL;
	if (c->is_not_run || live == c->portal)
		return;
	portal_unref(&c->portal);
	c->portal = portal_ref(live);
}

/* Fills in what a handler sees: text, names, parameters. */
void command_begin(struct pg_view *v, struct command_view *c) {
	if (c->has_begun)
		return;
	c->has_begun = true;
	if (c->c.kind == VIEW_EXECUTE) {
		resolve(v, c);
		c->c.portal = blob_str(&c->text);
	} else {
		c->c.text = blob_str(&c->text);
	}
	struct portal *p = c->portal;
	if (p != NULL) {
		c->c.statement = blob_str(&p->statement_name);
		if (p->statement != NULL && p->statement->has_text) {
			c->c.text = blob_str(&p->statement->text);
			c->c.has_text = true;
		}
		fill_params(c);
		c->c.is_continued = p->was_run;
		p->was_run = p->was_run || !c->is_not_run;
	}
	if (v->h.begin != NULL)
		v->h.begin(v->h.arg, &c->c);
}

void command_end(struct pg_view *v, struct ask *a, enum view_status status) {
	struct command_view *c = a->command;
	command_begin(v, c);
	c->c.status = status;
	if (v->h.end != NULL)
		v->h.end(v->h.arg, &c->c);
	ask_free(a);
}

/* The shape of the rows that come now. The description lives in the command, its portal or its statement. */
static void shape_of(const struct command_view *c, struct view_shape *out) {
	*out = (struct view_shape){ .is_described = false };
	const struct portal *p = c->portal;
	struct str desc = STR_NONE;
	if (c->has_columns)
		desc = blob_str(&c->columns);
	else if (p != NULL && p->has_columns)
		desc = blob_str(&p->columns);
	else if (p != NULL && p->statement != NULL && p->statement->has_columns)
		desc = blob_str(&p->statement->columns);
	out->is_described = desc.p != NULL && pg_row_desc_parse(&out->desc, desc) == 0;
	struct pg_bind bind;
	if (p != NULL && p->bind.p != NULL && pg_bind_parse(&bind, blob_str(&p->bind)) == 0)
		out->formats = bind.result_formats;
}

/* A Describe asks about what is live: all before it has been answered. */
static struct statement *described_statement(const struct pg_view *v, const struct ask *a) {
	return a->type == 'D' && a->kind == 'S' ? map_get(v->statements, blob_str(&a->name)) : NULL;
}

static void describe(struct pg_view *v, struct ask *a, struct str body) {
	struct statement *s = described_statement(v, a);
	struct portal *p = a->kind == 'P' ? map_get(v->portals, blob_str(&a->name)) : NULL;
	if (s != NULL) {
		blob_free(&s->columns);
		s->columns = blob_of(body);
		s->has_columns = true;
	} else if (p != NULL) {
		blob_free(&p->columns);
		p->columns = blob_of(body);
		p->has_columns = true;
	}
	ask_free(a);
}

static void answer_row_description(struct pg_view *v, struct ask *a, struct str body) {
	struct command_view *c = a->command;
	if (a->type == 'D') {
		describe(v, a, body);
		return;
	}
	if (c == NULL)
		return;
	command_begin(v, c);
	blob_free(&c->columns);
	c->columns = blob_of(body);
	c->has_columns = true;
	struct view_shape shape;
	shape_of(c, &shape);
	if (v->h.columns != NULL)
		v->h.columns(v->h.arg, &c->c, &shape);
}

static void answer_row(struct pg_view *v, struct command_view *c, struct str body, bool is_whole) {
	command_begin(v, c);
	struct view_shape shape;
	shape_of(c, &shape);
	if (c->c.rows == 0 && !c->has_columns && shape.is_described && v->h.columns != NULL)
		v->h.columns(v->h.arg, &c->c, &shape);
	c->c.rows++;
	c->c.row_bytes += body.n;
	struct pg_values values;
	if (is_whole && v->h.row != NULL && pg_data_row_parse(&values, body) == 0)
		v->h.row(v->h.arg, &c->c, &shape, values);
}

void pg_view_answer_out(struct pg_view *v, const struct view_kept_out *in) {
	struct ask *a = ask_head(v);
	struct command_view *c = a != NULL ? a->command : NULL;
	struct view_shape shape;

	if (c == NULL)
		return;
	c->c.answered_ns = v->now_ns;
	command_begin(v, c);
	shape_of(c, &shape);
	if (c->c.rows == 0 && !c->has_columns && shape.is_described && v->h.columns != NULL)
		v->h.columns(v->h.arg, &c->c, &shape);
	c->c.rows += in->rows;
	c->c.rows_kept_out += in->rows;
	c->c.row_bytes += in->length - MIN(in->length, in->rows * PG_HEAD_SIZE);
	if (v->h.kept_out != NULL)
		v->h.kept_out(v->h.arg, &c->c, in->rows, in->digest);
}

static void answer_complete(struct pg_view *v, struct ask *a, struct str tag) {
	struct command_view *c = a->command;
	command_begin(v, c);
	if (v->h.complete != NULL)
		v->h.complete(v->h.arg, &c->c, tag);
	if (str_starts(tag, STR("DEALLOCATE")) || str_is(tag, "DISCARD ALL") ||
	    str_is(tag, "PREPARE"))
		forget_all(v, true, false);
	c->has_columns = false;
	if (a->type == 'E')
		command_end(v, a, VIEW_OK);
}

void command_copied(struct pg_view *v, struct command_view *c, struct str data) {
	command_begin(v, c);
	c->c.row_bytes += data.n;
	if (v->h.copy != NULL)
		v->h.copy(v->h.arg, &c->c, true, data);
}

static void answer_copy_in(struct pg_view *v, struct ask *a) {
	if (a->command == NULL)
		return;
	command_begin(v, a->command);
	if (v->h.copy_in != NULL)
		v->h.copy_in(v->h.arg, &a->command->c);
	v->is_copy_in = true;
	v->early = 0;
	/* What was said already: data, and Syncs before the end of the copy, which are swallowed. */
	list_each_safe (it, next, &v->asks) {
		struct ask *later = container_of(it, struct ask, link);
		if (later->type == 'c') {
			ask_free(later);
			v->is_copy_in = false;
			return;
		}
		if (later->type == 'd')
			command_copied(v, a->command, blob_str(&later->name));
		if (later->type == 'd' || later->type == 'S')
			ask_free(later);
	}
}

/* In the extended protocol an error skips everything up to the next Sync. */
static void skip_to_sync(struct pg_view *v, struct pg_fields fields) {
	bool has_said = false;
	struct ask *a = ask_head(v);
	/* the Execute at the head is the one that failed: it ran what is live */
	const struct command_view *ran = a != NULL && a->type == 'E' ? a->command : NULL;
	while ((a = ask_head(v)) != NULL && a->type != 'S') {
		if (a->command == NULL) {
			ask_free(a);
			continue;
		}
		a->command->is_not_run = a->command != ran;
		if (a->type != 'E') {
			command_end(v, a, VIEW_SKIPPED);
			continue;
		}
		if (!has_said) {
			command_begin(v, a->command);
			if (v->h.failed != NULL)
				v->h.failed(v->h.arg, &a->command->c, fields);
		}
		command_end(v, a, has_said ? VIEW_SKIPPED : VIEW_FAILED);
		has_said = true;
	}
	v->is_skipping = a == NULL;
	if (!has_said && v->h.error != NULL)
		v->h.error(v->h.arg, fields, v->now_ns);
}

static void answer_error(struct pg_view *v, struct ask *a, struct str body) {
	struct pg_fields fields;
	if (pg_fields_parse(&fields, body) != 0)
		fields = (struct pg_fields){ .rd = rd_of(STR_NONE) };
	v->is_copy_in = false;
	if (a == NULL || a->type == 'S') {
		if (v->h.error != NULL)
			v->h.error(v->h.arg, fields, v->now_ns);
		return;
	}
	if (a->command == NULL || a->type == 'E') {
		skip_to_sync(v, fields);
		return;
	}
	command_begin(v, a->command);
	a->command->has_failed = true;
	if (v->h.failed != NULL)
		v->h.failed(v->h.arg, &a->command->c, fields);
}

static void settle(struct pg_view *v) {
	struct ask *a;
	v->early = 0;
	v->is_skipping = false; /* it has read a Sync, if one that was said before the error */
	if (!v->is_logged_in) {
		v->is_logged_in = true;
		return;
	}
	while ((a = ask_head(v)) != NULL) {
		uint8_t type = a->type;
		if (a->command != NULL)
			command_end(v, a,
			            a->command->has_failed ? VIEW_FAILED
			            : type == 'E'          ? VIEW_UNANSWERED
			                                   : VIEW_OK);
		else
			ask_free(a);
		if (type == 'Q') {
			set_statement(v->statements, STR(""), NULL);
			set_portal(v->portals, STR(""), NULL);
		}
		if (type == 'S' || type == 'Q' || type == 'F')
			return;
	}
}

static void answer_ready(struct pg_view *v, struct str body) {
	uint8_t state = 0;
	settle(v);
	if (v->h.ready != NULL && pg_ready_parse(&state, body) == 0)
		v->h.ready(v->h.arg, state);
}

static void answer_async(struct pg_view *v, uint8_t type, struct ask *a, struct str body) {
	struct pg_fields fields;
	struct pg_notify notify;
	struct pg_param param;
	if (type == 'N' && v->h.notice != NULL && pg_fields_parse(&fields, body) == 0) {
		bool is_answer = a != NULL && a->command != NULL;
		if (is_answer)
			command_begin(v, a->command);
		v->h.notice(v->h.arg, is_answer ? &a->command->c : NULL, fields, v->now_ns);
	} else if (type == 'A' && v->h.notify != NULL && pg_notify_parse(&notify, body) == 0) {
		v->h.notify(v->h.arg, &notify, v->now_ns);
	} else if (type == 'S' && v->h.status != NULL && pg_status_parse(&param, body) == 0) {
		v->h.status(v->h.arg, &param, v->now_ns);
	}
}

static void answer_param_types(struct pg_view *v, struct ask *a, struct str body) {
	struct statement *s = described_statement(v, a);
	struct pg_oids oids;
	if (s == NULL || pg_param_desc_parse(&oids, body) != 0)
		return;
	blob_free(&s->actual);
	s->actual = blob_of(oids.raw);
}

/* ParseComplete, BindComplete, CloseComplete: what was said is so. */
static void answer_confirmed(struct pg_view *v, struct ask *a, uint8_t type) {
	struct str name = blob_str(&a->name);
	if (a->type == 'P' && type == '1') {
		if (a->statement == NULL)
			forget_all(v, true, false);
		else
			set_statement(v->statements, name, a->statement);
	} else if (a->type == 'B' && type == '2') {
		struct portal *p = a->portal;
		if (p == NULL) {
			forget_all(v, false, true);
		} else {
			struct statement *live = map_get(v->statements,
			                                 blob_str(&p->statement_name));
			statement_unref(&p->statement);
			p->statement = statement_ref(live);
			set_portal(v->portals, name, p);
		}
	} else if (a->type == 'C' && type == '3') {
		if (a->kind == 'S')
			set_statement(v->statements, name, NULL);
		else if (a->kind == 'P')
			set_portal(v->portals, name, NULL);
		else
			forget_all(v, true, true);
	} else {
		return;
	}
	ask_free(a);
}

/* Answers that belong to the oldest entry. */
static void answer_to(struct pg_view *v, struct ask *a, uint8_t type, struct str body) {
	struct command_view *c = a->command;
	switch (type) {
	case '1':
	case '2':
	case '3':
		answer_confirmed(v, a, type);
		break;
	case 't':
		answer_param_types(v, a, body);
		break;
	case 'T':
		answer_row_description(v, a, body);
		break;
	case 'n':
		if (a->type == 'D')
			ask_free(a);
		break;
	case 'I':
		if (c != NULL)
			answer_complete(v, a, STR_NONE);
		break;
	case 's':
		if (c != NULL && a->type == 'E')
			command_end(v, a, VIEW_SUSPENDED);
		break;
	case 'G':
		answer_copy_in(v, a);
		break;
	default: /* H, c, V and what login says: nothing changes hands */
		break;
	}
}

void pg_view_answer(struct pg_view *v, uint8_t type, struct str body, bool is_whole) {
	struct ask *a = ask_head(v);
	struct command_view *c = a != NULL ? a->command : NULL;
	struct pg_tag tag;
	if (c != NULL && type != 'A' && type != 'S')
		c->c.answered_ns = v->now_ns;
	if (type == 'E') {
		answer_error(v, a, body);
	} else if (type == 'Z') {
		answer_ready(v, body);
	} else if (type == 'N' || type == 'A' || type == 'S') {
		answer_async(v, type, a, body);
	} else if (c != NULL && type == 'D') {
		answer_row(v, c, body, is_whole);
	} else if (c != NULL && type == 'd') {
		command_begin(v, c);
		c->c.row_bytes += body.n;
		if (is_whole && v->h.copy != NULL)
			v->h.copy(v->h.arg, &c->c, false, body);
	} else if (c != NULL && type == 'C') {
		if (is_whole && pg_tag_parse(&tag, body) == 0)
			answer_complete(v, a, tag.text);
	} else if (a != NULL) {
		answer_to(v, a, type, body);
	}
}
