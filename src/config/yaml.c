/*
 * yaml.c: libyaml events to node trees (yaml.h). This file alone includes libyaml.
 *
 * A stack of open collections is all the state there is; its depth is the document's depth. A
 * mapping alternates between key and value: `key_ready` of the builder tells that the next node
 * is a value. The first error ends the loading: what follows it could only be guessed.
 */
#include "config/yaml.h"

#include <yaml.h>

struct builder {
	struct arena *arena;
	struct findings *findings;
	struct str file;
	struct ydoc *first, *last_doc;
	struct ynode *open; /* innermost collection */
	struct ynode *last; /* in document order */
	struct str key;
	uint32_t key_line, key_column;
	bool key_ready;
	bool is_failed;
	size_t depth, nodes, documents;
};

static struct place place_of(const struct builder *b, yaml_mark_t m) {
	return (struct place){ .file = b->file,
		               .line = (uint32_t)m.line + 1,
		               .column = (uint32_t)m.column + 1 };
}

static void fail(struct builder *b, yaml_mark_t m, const char *text) {
	struct place at = place_of(b, m);

	if (b->key_ready)
		at.key = b->key;
	finding_error(b->findings, &at, "%s", text);
	b->is_failed = true;
}

struct ynode *ynode_child(const struct ynode *n, struct str key) {
	for (struct ynode *c = n->first; c != NULL; c = c->sibling) {
		if (str_eq(c->key, key))
			return c;
	}
	return NULL;
}

/* Hangs a new node under the innermost collection, or makes it the root of a document. */
static struct ynode *node_add(struct builder *b, enum ykind kind, yaml_mark_t m) {
	if (++b->nodes > YAML_NODES_MAX || (b->open != NULL && b->open->count == YAML_KEYS_MAX)) {
		fail(b, m, "too many entries");
		return NULL;
	}
	struct ynode *n = arena_alloc(b->arena, sizeof(*n));

	if (n == NULL) {
		fail(b, m, "the document is too large");
		return NULL;
	}
	n->kind = kind;
	n->line = n->key_line = (uint32_t)m.line + 1;
	n->column = n->key_column = (uint32_t)m.column + 1;
	n->parent = b->open;
	if (b->key_ready) {
		n->key = b->key;
		n->key_line = b->key_line;
		n->key_column = b->key_column;
		b->key_ready = false;
	}
	if (b->last != NULL)
		b->last->next = n;
	b->last = n;
	if (n->parent == NULL) {
		assert(b->last_doc != NULL); /* nodes come inside documents */
		b->last_doc->root = n;
		return n;
	}
	if (n->parent->last != NULL)
		n->parent->last->sibling = n;
	else
		n->parent->first = n;
	n->parent->last = n;
	n->parent->count++;
	return n;
}

static bool wants_key(const struct builder *b) {
	return b->open != NULL && b->open->kind == Y_MAP && !b->key_ready;
}

static void on_key(struct builder *b, struct str text, yaml_mark_t m) {
	if (text.n == 0) {
		fail(b, m, "an empty key");
		return;
	}
	b->key = arena_str(b->arena, text);
	b->key_line = (uint32_t)m.line + 1;
	b->key_column = (uint32_t)m.column + 1;
	b->key_ready = true;
	if (ynode_child(b->open, b->key) != NULL)
		fail(b, m, "this key stands twice in the same mapping");
}

static void on_scalar(struct builder *b, const yaml_event_t *e) {
	struct str text = str_mem(e->data.scalar.value, e->data.scalar.length);

	if (e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL) {
		fail(b, e->start_mark, "anchors and tags are not allowed");
		return;
	}
	if (text.n > YAML_SCALAR_MAX || memchr(text.p, 0, text.n) != NULL) {
		fail(b, e->start_mark, "the value is too long, or holds a NUL byte");
		return;
	}
	if (wants_key(b)) {
		on_key(b, text, e->start_mark);
		return;
	}
	struct ynode *n = node_add(b, Y_SCALAR, e->start_mark);

	if (n == NULL)
		return;
	n->is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	n->value = arena_str(b->arena, text);
	if (n->value.n != text.n)
		fail(b, e->start_mark, "the document is too large");
}

static void on_open(struct builder *b, enum ykind kind, bool is_marked, yaml_mark_t m) {
	if (is_marked) {
		fail(b, m, "anchors and tags are not allowed");
		return;
	}
	if (wants_key(b)) {
		fail(b, m, "a key must be plain text");
		return;
	}
	if (b->depth == YAML_DEPTH_MAX) {
		fail(b, m, "nested too deeply");
		return;
	}
	struct ynode *n = node_add(b, kind, m);

	if (n == NULL)
		return;
	b->open = n;
	b->depth++;
}

static void on_close(struct builder *b) {
	assert(b->open != NULL); /* libyaml pairs its events */
	b->open = b->open->parent;
	b->depth--;
}

static void on_document(struct builder *b, const yaml_event_t *e) {
	bool has_tags = e->data.document_start.tag_directives.start !=
	                e->data.document_start.tag_directives.end;

	if (has_tags || ++b->documents > YAML_DOCUMENTS_MAX) {
		fail(b, e->start_mark, "tag directives, or too many documents");
		return;
	}
	struct ydoc *d = arena_alloc(b->arena, sizeof(*d));

	if (d == NULL) {
		fail(b, e->start_mark, "the document is too large");
		return;
	}
	if (b->last_doc != NULL)
		b->last_doc->next = d;
	else
		b->first = d;
	b->last_doc = d;
	b->last = NULL;
}

static void on_event(struct builder *b, const yaml_event_t *e) {
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		on_document(b, e);
		break;
	case YAML_ALIAS_EVENT:
		fail(b, e->start_mark, "aliases are not allowed");
		break;
	case YAML_SCALAR_EVENT:
		on_scalar(b, e);
		break;
	case YAML_SEQUENCE_START_EVENT:
		on_open(b, Y_SEQ,
		        e->data.sequence_start.anchor != NULL || e->data.sequence_start.tag != NULL,
		        e->start_mark);
		break;
	case YAML_MAPPING_START_EVENT:
		on_open(b, Y_MAP,
		        e->data.mapping_start.anchor != NULL || e->data.mapping_start.tag != NULL,
		        e->start_mark);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		on_close(b);
		break;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
}

static void syntax_error(struct builder *b, const yaml_parser_t *p) {
	struct place at = place_of(b, p->problem_mark);
	const char *problem = p->problem != NULL ? p->problem : "not YAML";

	if (p->error == YAML_READER_ERROR)
		at.line = at.column = 0;
	finding_error(b->findings, &at,
	              "not valid YAML: %s (a value that starts with '[', such as an IPv6 address, "
	              "needs quotes; tabs cannot indent)",
	              problem);
	b->is_failed = true;
}

/* An empty document is one plain empty scalar. */
static bool is_empty(const struct ydoc *d) {
	const struct ynode *n = d->root;

	return n == NULL || (n->kind == Y_SCALAR && n->is_plain && n->value.n == 0);
}

static struct ydoc *without_empty(struct ydoc *first) {
	struct ydoc **link = &first;

	while (*link != NULL) {
		if (is_empty(*link))
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
	return first;
}

static void parse_all(struct builder *b, yaml_parser_t *p) {
	yaml_event_type_t type = YAML_NO_EVENT;

	while (!b->is_failed && type != YAML_STREAM_END_EVENT) {
		yaml_event_t e;

		if (yaml_parser_parse(p, &e) == 0) {
			syntax_error(b, p);
			return;
		}
		type = e.type;
		on_event(b, &e);
		yaml_event_delete(&e);
	}
}

struct ydoc *yaml_load(struct arena *a, struct str text, struct str file, struct findings *f) {
	struct builder b = { .arena = a, .findings = f, .file = file };
	struct place whole = { .file = file };
	yaml_parser_t p;

	if (text.n > YAML_SIZE_MAX || str_utf8_bad(text) != text.n) {
		finding_error(f, &whole, "the file is over 1 MiB, or not UTF-8");
		return NULL;
	}
	if (yaml_parser_initialize(&p) == 0) {
		finding_error(f, &whole, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)(text.p != NULL ? text.p : ""),
	                             text.n);
	parse_all(&b, &p);
	yaml_parser_delete(&p);
	return b.is_failed ? NULL : without_empty(b.first);
}
