/*
 * pg_view.c: from recorded bytes to messages, and what the client said. See pg_view.h.
 *
 * Both streams are cut into messages here. A message that is longer than message_max, or that has a
 * hole (redacted), is passed over by its length; its meaning is lost, its place is not.
 */
#include "proto/postgres/pg_view_priv.h"

struct blob blob_of(struct str s) {
	struct blob b = { .p = xmalloc(s.n + 1), .n = s.n };
	if (s.n > 0)
		memcpy(b.p, s.p, s.n);
	b.p[s.n] = '\0';
	return b;
}

void blob_free(struct blob *b) {
	free(b->p);
	*b = (struct blob){ .p = NULL };
}

struct statement *statement_ref(struct statement *s) {
	if (s != NULL)
		s->refs++;
	return s;
}

void statement_unref(struct statement **s) {
	struct statement *gone = take_ptr(s);
	if (gone == NULL || --gone->refs > 0)
		return;
	blob_free(&gone->text);
	blob_free(&gone->types);
	blob_free(&gone->actual);
	blob_free(&gone->columns);
	free(gone);
}

struct portal *portal_ref(struct portal *p) {
	if (p != NULL)
		p->refs++;
	return p;
}

void portal_unref(struct portal **p) {
	struct portal *gone = take_ptr(p);
	if (gone == NULL || --gone->refs > 0)
		return;
	statement_unref(&gone->statement);
	blob_free(&gone->name);
	blob_free(&gone->statement_name);
	blob_free(&gone->bind);
	blob_free(&gone->columns);
	free(gone);
}

static void command_free(struct command_view *c) {
	if (c == NULL)
		return;
	portal_unref(&c->portal);
	blob_free(&c->text);
	blob_free(&c->columns);
	free(c);
}

void ask_free(struct ask *a) {
	list_drop(&a->link);
	blob_free(&a->name);
	statement_unref(&a->statement);
	portal_unref(&a->portal);
	command_free(a->command);
	free(a);
}

static struct ask *ask_push(struct pg_view *v, uint8_t type) {
	struct ask *a = xcalloc(1, sizeof(*a));
	a->type = type;
	list_push(&v->asks, &a->link);
	return a;
}

/* ---- what the client said ---- */

void set_statement(struct map *m, struct str name, struct statement *s) {
	void *old = NULL;
	if (s == NULL)
		old = map_del(m, name);
	else if (map_put(m, name, statement_ref(s), &old) != 0)
		statement_unref(&s);
	struct statement *gone = old;
	statement_unref(&gone);
}

void set_portal(struct map *m, struct str name, struct portal *p) {
	void *old = NULL;
	if (p == NULL)
		old = map_del(m, name);
	else if (map_put(m, name, portal_ref(p), &old) != 0)
		portal_unref(&p);
	struct portal *gone = old;
	portal_unref(&gone);
}

static void drop_statement(void *arg, struct str key, void *value) {
	(void)arg;
	(void)key;
	struct statement *s = value;
	statement_unref(&s);
}

static void drop_portal(void *arg, struct str key, void *value) {
	(void)arg;
	(void)key;
	struct portal *p = value;
	portal_unref(&p);
}

static void free_statements(struct map **m) {
	map_each(*m, drop_statement, NULL);
	map_free(m);
}

static void free_portals(struct map **m) {
	map_each(*m, drop_portal, NULL);
	map_free(m);
}

void forget_all(struct pg_view *v, bool statements, bool portals) {
	if (statements) {
		free_statements(&v->statements);
		v->statements = map_new(VIEW_STATEMENTS_MAX);
	}
	if (portals) {
		free_portals(&v->portals);
		v->portals = map_new(VIEW_STATEMENTS_MAX);
	}
}

static struct command_view *command_new(struct pg_view *v, enum view_kind kind) {
	struct command_view *c = xcalloc(1, sizeof(*c));
	c->c.number = ++v->commands;
	c->c.kind = kind;
	c->c.c_off = v->client.begin;
	c->c.received_ns = v->now_ns;
	c->c.seq = v->now_seq;
	c->u_end = v->u_base + (v->client.next - v->u_base_off);
	return c;
}

static void said_query(struct pg_view *v, struct str body, bool is_whole) {
	struct command_view *c = command_new(v, VIEW_QUERY);
	struct pg_query q = { .text = STR_NONE };
	c->c.has_text = is_whole && pg_query_parse(&q, body) == 0;
	c->text = blob_of(q.text);
	ask_push(v, 'Q')->command = c;
	/* A simple Query drops the unnamed statement and portal. */
	set_statement(v->said_statements, STR(""), NULL);
	set_portal(v->said_portals, STR(""), NULL);
}

static void said_parse(struct pg_view *v, struct str body, bool is_whole) {
	struct pg_parse p = { .name = STR_NONE };
	struct ask *a = ask_push(v, 'P');
	struct rd r = rd_of(body);
	struct str name = rd_cstr(&r);
	if (r.bad)
		return;
	struct statement *s = xcalloc(1, sizeof(*s));
	s->refs = 1;
	s->has_text = is_whole && pg_parse_parse(&p, body) == 0;
	s->text = blob_of(s->has_text ? p.text : STR_NONE);
	s->types = blob_of(s->has_text ? p.types.raw : STR_NONE);
	a->name = blob_of(name);
	set_statement(v->said_statements, name, s);
	a->statement = s;
}

static void said_bind(struct pg_view *v, struct str body, bool is_whole) {
	struct str portal = STR_NONE;
	struct str statement = STR_NONE;
	struct ask *a = ask_push(v, 'B');
	if (pg_bind_names(&portal, &statement, body) <= 0)
		return;
	struct portal *p = xcalloc(1, sizeof(*p));
	p->refs = 1;
	p->name = blob_of(portal);
	p->statement_name = blob_of(statement);
	p->statement = statement_ref(map_get(v->said_statements, statement));
	if (is_whole)
		p->bind = blob_of(body);
	a->name = blob_of(portal);
	set_portal(v->said_portals, portal, p);
	a->portal = p;
}

static void said_named(struct pg_view *v, uint8_t type, struct str body) {
	struct pg_named n;
	struct ask *a = ask_push(v, type);
	if (pg_describe_parse(&n, body) != 0)
		return;
	a->kind = n.kind;
	a->name = blob_of(n.name);
	if (type == 'C' && n.kind == 'S')
		set_statement(v->said_statements, n.name, NULL);
	else if (type == 'C')
		set_portal(v->said_portals, n.name, NULL);
}

static void said_execute(struct pg_view *v, struct str body) {
	struct pg_execute e = { .rows_max = 0 };
	struct command_view *c = command_new(v, VIEW_EXECUTE);
	if (pg_execute_parse(&e, body) == 0) {
		c->portal = portal_ref(map_get(v->said_portals, e.portal));
		c->c.rows_max = e.rows_max;
		c->text = blob_of(
			e.portal); /* the portal's name: resolved anew when it is answered */
	}
	ask_push(v, 'E')->command = c;
}

static void said_function(struct pg_view *v, struct str body, bool is_whole) {
	struct command_view *c = command_new(v, VIEW_FUNCTION);
	struct pg_function f;
	if (is_whole && pg_function_parse(&f, body) == 0)
		c->c.function_oid = f.oid;
	ask_push(v, 'F')->command = c;
}

static void oversize(struct pg_view *v, bool from_client, uint8_t type, uint64_t len) {
	struct ask *a = ask_head(v);
	if (v->h.oversize != NULL)
		v->h.oversize(v->h.arg, a != NULL && a->command != NULL ? &a->command->c : NULL,
		              from_client, type, len);
}

/* CopyData that comes before the target asked for it waits behind its command, as much as one message
 * may have: a target ignores it for ever where no COPY runs, and there is no end of it. */
static void said_copy(struct pg_view *v, struct str data, bool is_whole) {
	struct ask *a = ask_head(v);
	struct command_view *c = a != NULL ? a->command : NULL;
	if (!is_whole)
		return;
	if (v->is_copy_in && c != NULL)
		command_copied(v, c, data);
	else if (a != NULL && v->early + data.n + sizeof(*a) > v->message_max)
		oversize(v, true, 'd', data.n + PG_HEAD_SIZE);
	else if (a != NULL) {
		v->early += data.n + sizeof(*a);
		ask_push(v, 'd')->name = blob_of(data);
	}
}

static void said_copy_end(struct pg_view *v) {
	if (v->is_copy_in)
		v->is_copy_in = false;
	else
		ask_push(v, 'c');
}

/* What the target will not read is owed no answer: a Query here would take the one of the next. */
static void said_in_vain(struct pg_view *v, uint8_t type, struct str body, bool is_whole) {
	if (type == 'Q')
		said_query(v, body, is_whole);
	else if (type == 'E')
		said_execute(v, body);
	else if (type == 'F')
		said_function(v, body, is_whole);
	else
		return;
	struct ask *a = list_first(&v->asks, struct ask, link);
	a->command->is_not_run = true;
	portal_unref(
		&a->command->portal); /* its Bind was not read either: what it meant is not known */
	command_end(v, a, VIEW_SKIPPED);
}

static void client_message(struct pg_view *v, uint8_t type, struct str body, bool is_whole) {
	if (v->is_skipping && type != 'S') {
		said_in_vain(v, type, body, is_whole);
		return;
	}
	v->is_skipping = false;
	switch (type) {
	case 'Q':
		said_query(v, body, is_whole);
		break;
	case 'P':
		said_parse(v, body, is_whole);
		break;
	case 'B':
		said_bind(v, body, is_whole);
		break;
	case 'D':
	case 'C':
		said_named(v, type, body);
		break;
	case 'E':
		said_execute(v, body);
		break;
	case 'F':
		said_function(v, body, is_whole);
		break;
	case 'S':
		if (!v->is_copy_in)
			ask_push(v, 'S');
		break;
	case 'd':
		said_copy(v, body, is_whole);
		break;
	case 'c':
	case 'f':
		said_copy_end(v);
		break;
	default: /* Terminate, Flush, passwords: nothing is owed for them */
		break;
	}
}

/* ---- bytes to messages ---- */

static void message(struct pg_view *v, bool from_client, uint8_t type, struct str body,
                    bool is_whole) {
	if (from_client)
		client_message(v, type, body, is_whole);
	else
		pg_view_answer(v, type, body, is_whole);
}

static void broken(struct pg_view *v, struct side_view *s) {
	s->is_broken = true;
	buf_clear(&s->partial);
	buf_trim(&s->partial, false);
	if (v->h.broken != NULL)
		v->h.broken(v->h.arg, s == &v->client, s->begin);
}

/* The client's first packets have no type byte. Returns bytes used, 0 for more. */
static size_t first_packet(struct pg_view *v, struct str in) {
	struct pg_start start;
	int used = pg_start_parse(&start, in);
	if (used < 0) {
		broken(v, &v->client);
		return 0;
	}
	if (used == 0 || start.code == PG_CODE_SSL || start.code == PG_CODE_GSSENC)
		return (size_t)used;
	v->has_started = true;
	struct pg_params params;
	struct pg_param p;
	if (start.code != PG_CODE_CANCEL && pg_params_parse(&params, start.body) == 0)
		while (v->h.startup != NULL && pg_params_next(&params, &p))
			v->h.startup(v->h.arg, &p);
	return (size_t)used;
}

/* One message at the front of `in`: bytes used, 0 for more. */
static size_t one_message(struct pg_view *v, struct side_view *s, struct str in) {
	bool from_client = s == &v->client;
	if (from_client && !v->has_started)
		return first_packet(v, in);
	struct pg_head head;
	int used = pg_head_parse(&head, in);
	if (used < 0 || (used > 0 && (from_client ? pg_client_name(head.type)
	                                          : pg_target_name(head.type)) == NULL)) {
		broken(v, s);
		return 0;
	}
	if (used == 0)
		return 0;
	if (head.len > v->message_max) {
		oversize(v, from_client, head.type, head.len);
		if (from_client)
			s->next = s->begin + head.len;
		size_t here = (size_t)MIN(head.len, (uint64_t)in.n);
		/* what there is of a Bind may still name its statement */
		message(v, from_client, head.type,
		        str_head(str_from(in, PG_HEAD_SIZE), here - PG_HEAD_SIZE), false);
		s->skip_left = head.len - here;
		return here;
	}
	if (in.n < head.len)
		return 0;
	size_t len = (size_t)head.len;
	if (from_client)
		s->next = s->begin + len; /* the end of this message: what command_new() looks at */
	struct str body = str_head(str_from(in, PG_HEAD_SIZE), len - PG_HEAD_SIZE);
	struct buf shown;
	if (view_reveal(s, from_client, head.type, body, &shown)) {
		message(v, from_client, head.type, buf_peek(&shown), true);
		buf_fini(&shown);
	} else {
		message(v, from_client, head.type, body, true);
	}
	return len;
}

/* Takes whole messages off `in`; what is left of it. */
static struct str take_messages(struct pg_view *v, struct side_view *s, struct str in) {
	while (in.n > 0 && !s->is_broken && s->skip_left == 0) {
		size_t used = one_message(v, s, in);
		if (used == 0)
			break;
		s->begin += used + s->skip_left;
		in = str_from(in, used);
	}
	return in;
}

static void take_bytes(struct pg_view *v, struct side_view *s, struct str in) {
	size_t skip = (size_t)MIN(s->skip_left, (uint64_t)in.n);
	s->skip_left -= skip;
	in = str_from(in, skip);
	if (in.n == 0)
		return;
	if (s->partial.len == 0) {
		in = take_messages(v, s, in);
	} else {
		if (buf_append(&s->partial, in) != 0) {
			broken(v, s);
			return;
		}
		size_t held = s->partial.len;
		struct str left = take_messages(v, s, buf_peek(&s->partial));
		if (s->is_broken)
			return;
		buf_consume(&s->partial, held - left.n);
		return;
	}
	if (!s->is_broken && s->skip_left == 0 && in.n > 0 && buf_append(&s->partial, in) != 0)
		broken(v, s);
}

void pg_view_bytes(struct pg_view *v, const struct view_bytes *in) {
	struct side_view *s = in->from_client ? &v->client : &v->target;
	v->now_ns = in->now_ns;
	v->now_seq = in->seq;
	if (in->from_client) {
		v->u_base = v->u_len;
		v->u_base_off = in->offset;
		if (in->is_forwarded)
			v->u_len += in->bytes.n;
	}
	if (s->is_broken)
		return;
	if (in->offset < s->next) { /* said twice: no gateway of ours wrote that */
		broken(v, s);
		return;
	}
	if (in->offset != s->next) {
		pg_view_hole(v, in->from_client, s->next, in->offset - s->next);
		if (s->is_broken)
			return;
	}
	/* The target's one-byte answer to SSLRequest is no message. */
	if (!in->from_client && in->offset == 0 && in->bytes.n == 1 && !in->is_forwarded) {
		s->next = s->begin = 1;
		return;
	}
	uint64_t end = in->offset + in->bytes.n;
	take_bytes(v, s, in->bytes);
	s->next = end;
}

void pg_view_hole(struct pg_view *v, bool from_client, uint64_t offset, uint64_t length) {
	struct side_view *s = from_client ? &v->client : &v->target;
	if (s->is_broken)
		return;
	if (offset < s->next || length > UINT64_MAX - offset) {
		broken(v, s);
		return;
	}
	length += offset - s->next; /* bytes that are missing before it */
	s->next += length;
	uint64_t skipped = MIN(s->skip_left, length);
	s->skip_left -= skipped;
	if (skipped == length)
		return;
	/* A hole at a message's boundary holds whole messages (the gateway redacts whole ones). */
	if (s->partial.len > 0)
		broken(v, s);
	s->begin = s->next;
}

/* Read as if the target had said it between two of its messages; its place in T stays where it is. */
void pg_view_answered(struct pg_view *v, struct str bytes, uint64_t now_ns, uint64_t seq) {
	struct side_view *s = &v->target;
	uint64_t begin = s->begin, next = s->next;

	v->now_ns = now_ns;
	v->now_seq = seq;
	if (s->is_broken || s->partial.len > 0 || s->skip_left > 0)
		return;
	take_bytes(v, s, bytes);
	if (s->is_broken)
		return;
	if (s->partial.len > 0 || s->skip_left > 0) {
		broken(v, s);
		return;
	}
	s->begin = begin;
	s->next = next;
}

void pg_view_kept_out(struct pg_view *v, const struct view_kept_out *in) {
	v->now_ns = in->now_ns;
	v->now_seq = in->seq;
	pg_view_hole(v, false, in->offset, in->length);
	if (!v->target.is_broken)
		pg_view_answer_out(v, in);
}

void pg_view_injected(struct pg_view *v, uint64_t n) {
	v->u_len += n;
}

void pg_view_forwarded(struct pg_view *v, uint64_t u_offset, uint64_t now_ns) {
	list_each (it, &v->asks) {
		struct command_view *c = container_of(it, struct ask, link)->command;
		if (c == NULL)
			continue;
		if (c->u_end > u_offset)
			break;
		if (c->c.forwarded_ns == 0)
			c->c.forwarded_ns = now_ns;
	}
}

void pg_view_end(struct pg_view *v) {
	struct ask *a;
	while ((a = ask_head(v)) != NULL) {
		if (a->command != NULL) {
			a->command->is_not_run = true;
			command_end(v, a, a->command->has_failed ? VIEW_FAILED : VIEW_UNANSWERED);
		} else {
			ask_free(a);
		}
	}
}

struct pg_view *pg_view_new(const struct view_handler *h, size_t message_max) {
	struct pg_view *v = xcalloc(1, sizeof(*v));
	v->h = *h;
	v->message_max = MAX(message_max, (size_t)PG_START_LEN_MAX);
	/* room for a message and for what one read brought behind it */
	buf_init(&v->client.partial, v->message_max + 2 * MIB);
	buf_init(&v->target.partial, v->message_max + 2 * MIB);
	v->said_statements = map_new(VIEW_STATEMENTS_MAX);
	v->said_portals = map_new(VIEW_STATEMENTS_MAX);
	v->statements = map_new(VIEW_STATEMENTS_MAX);
	v->portals = map_new(VIEW_STATEMENTS_MAX);
	list_init(&v->asks);
	return v;
}

void pg_view_free(struct pg_view **view) {
	struct pg_view *v = take_ptr(view);
	if (v == NULL)
		return;
	list_each_safe (it, next, &v->asks)
		ask_free(container_of(it, struct ask, link));
	free_portals(&v->said_portals);
	free_portals(&v->portals);
	free_statements(&v->said_statements);
	free_statements(&v->statements);
	buf_fini(&v->client.partial);
	buf_fini(&v->target.partial);
	free(v);
}
