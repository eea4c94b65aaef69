/*
 * walk.c: from document trees to struct config, strictly by the option table.
 *
 * Nodes are visited in document order, parents first, so a loop is enough: each node's path in the
 * table follows from its parent's ("spec.roles" + any name = "spec.roles.*", a list's element =
 * "spec.access[]"). A node is an option (its path is a row), a container (rows start with its
 * path), or unknown: then the nearest key that could stand there is named. What lies under a node
 * with an error is not looked at, so that one mistake yields one finding.
 *
 * Invariant: a struct that the walk has made is filled with defaults before its first option.
 */
#include <fcntl.h>

#include "config/config_priv.h"

struct walk {
	struct config *c;
	struct findings *f;
	struct opt_set set;
	bool is_gateway; /* which rows this document may use */
};

static struct place key_place(const struct walk *w, const struct ynode *n) {
	return (struct place){
		.file = w->c->file, .line = n->key_line, .column = n->key_column, .key = n->shown
	};
}

static struct place value_place(const struct walk *w, const struct ynode *n) {
	return (struct place){
		.file = w->c->file, .line = n->line, .column = n->column, .key = n->shown
	};
}

static struct str text_of(struct walk *w, struct str a, const char *sep, struct str b) {
	char text[1024];
	int n = snprintf(text, sizeof(text), "%.*s%s%.*s", STR_ARG(a), sep, STR_ARG(b));

	return arena_str(w->c->arena, str_mem(text, MIN((size_t)n, sizeof(text) - 1)));
}

/* Rows of a Gateway document with its issuers, or of a Connection with its roles and rules. */
static bool is_row_of(const struct option *o, bool is_gateway) {
	return owner_is_gateway(o->owner) == is_gateway;
}

static const struct option *row_find(const struct walk *w, struct str path, size_t *ret_index) {
	for (size_t i = 0; i < OPT_COUNT; i++) {
		if (is_row_of(&options[i], w->is_gateway) && str_is(path, options[i].path)) {
			*ret_index = i;
			return &options[i];
		}
	}
	return NULL;
}

/* Does any row lie under path followed by `next`? */
static bool has_rows_under(const struct walk *w, struct str path, const char *next) {
	struct str rest, tail = str_of(next);

	for (size_t i = 0; i < OPT_COUNT; i++) {
		rest = str_of(options[i].path);
		if (!is_row_of(&options[i], w->is_gateway) || !str_starts(rest, path))
			continue;
		if (str_starts(str_from(rest, path.n), tail))
			return true;
	}
	return false;
}

/* Names the key that was probably meant: the nearest that may follow the parent's path. */
static void unknown_key(struct walk *w, const struct ynode *n) {
	struct place at = key_place(w, n);
	struct str parent = n->parent->path, best = STR_NONE;
	size_t best_d = SIZE_MAX;

	for (size_t i = 0; i < OPT_COUNT; i++) {
		struct str rest = str_of(options[i].path);

		if (!is_row_of(&options[i], w->is_gateway) || !str_starts(rest, parent))
			continue;
		rest = str_from(rest, parent.n != 0 ? parent.n + 1 : 0);
		struct str key = str_head(rest, strcspn(rest.p != NULL ? rest.p : "", ".["));
		size_t d = str_distance(key, n->key);

		if (is_near(key, n->key) && d < best_d) {
			best = key;
			best_d = d;
		}
	}
	finding_error(w->f, &at, "unknown key \"%.*s\"", STR_ARG(str_head(n->key, 64)));
	finding_nearest(w->f, best);
}

/* ---- elements: connections are documents; roles and access rules are made here ---- */

static void role_add(struct walk *w, struct ynode *n) {
	struct config_connection *conn = n->parent->item;
	struct config_role *r = arena_alloc(w->c->arena, sizeof(*r));
	struct config_role **link = &conn->roles;
	struct place at = key_place(w, n);

	if (!config_name_ok(n->key))
		finding_error(w->f, &at,
		              "a role's name has 1 to 32 of the characters a-z, 0-9 and -");
	n->item = r;
	if (r == NULL)
		return;
	option_defaults(&w->set, OWNER_R, r);
	r->name = n->key;
	r->item.line = n->key_line;
	r->item.shown = n->shown;
	while (*link != NULL)
		link = &(*link)->next;
	*link = r;
}

static void issuer_add(struct walk *w, struct ynode *n) {
	struct config_gateway *g = n->parent->item;
	struct config_issuer *s = arena_alloc(w->c->arena, sizeof(*s));
	struct config_issuer **link = &g->issuers;
	struct place at = value_place(w, n);

	if (g->issuer_count == CONFIG_ISSUERS_MAX)
		finding_error(w->f, &at, "at most %d issuers", CONFIG_ISSUERS_MAX);
	n->item = s;
	if (s == NULL)
		return;
	option_defaults(&w->set, OWNER_I, s);
	s->item.line = n->line;
	s->item.shown = n->shown;
	while (*link != NULL)
		link = &(*link)->next;
	*link = s;
	g->issuer_count++;
}

static void mapping_add(struct walk *w, struct ynode *n) {
	struct config_issuer *s = n->parent->item;
	struct config_mapping *m = arena_alloc(w->c->arena, sizeof(*m));
	struct config_mapping **link = &s->mappings;
	struct place at = value_place(w, n);

	if (s->mapping_count == CONFIG_MAPPINGS_MAX)
		finding_error(w->f, &at, "at most %d mappings", CONFIG_MAPPINGS_MAX);
	n->item = m;
	if (m == NULL)
		return;
	m->item.line = n->line;
	m->item.shown = n->shown;
	while (*link != NULL)
		link = &(*link)->next;
	*link = m;
	s->mapping_count++;
}

static void access_add(struct walk *w, struct ynode *n) {
	struct config_connection *conn = n->parent->item;
	struct config_access *a = arena_alloc(w->c->arena, sizeof(*a));
	struct config_access **link = &conn->access;

	n->item = a;
	if (a == NULL)
		return;
	a->item.line = n->line;
	a->item.shown = n->shown;
	while (*link != NULL)
		link = &(*link)->next;
	*link = a;
}

static void element_add(struct walk *w, struct ynode *n) {
	if (str_is(n->path, "spec.identity.oidc[]"))
		issuer_add(w, n);
	else if (str_is(n->path, "spec.identity.oidc[].mappings[]"))
		mapping_add(w, n);
	else
		access_add(w, n);
}

/* Path, shown path and item of a node, from its parent's. */
static void node_locate(struct walk *w, struct ynode *n) {
	const struct ynode *parent = n->parent;
	const char *dot = parent->path.n != 0 ? "." : "";
	char number[32];

	n->item = parent->item;
	if (parent->kind == Y_SEQ) {
		size_t index = 0;

		for (const struct ynode *s = parent->first; s != n; s = s->sibling)
			index++;
		(void)snprintf(number, sizeof(number), "[%zu]", index);
		n->path = text_of(w, parent->path, "", STR("[]"));
		n->shown = text_of(w, parent->shown, "", str_of(number));
		element_add(w, n);
		return;
	}
	n->shown = text_of(w, parent->shown, dot, str_head(n->key, 64));
	if (has_rows_under(w, parent->path, ".*")) {
		n->path = text_of(w, parent->path, ".", STR("*"));
		role_add(w, n);
		return;
	}
	n->path = text_of(w, parent->path, dot, n->key);
}

/* ---- values that have a structure ---- */

static bool text_ok(struct walk *w, const struct option *o, const struct ynode *n) {
	struct str scratch = STR_NONE;
	struct option one = *o;
	struct place at = value_place(w, n);

	one.type = TYPE_TEXT;
	one.offset = 0;
	if (n->kind == Y_SCALAR && option_set(&w->set, &one, n->value, &scratch) == 0)
		return true;
	finding_error(w->f, &at, "%s", n->kind == Y_SCALAR ? w->set.why : "must be text");
	return false;
}

static void texts_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct config_list *list = (struct config_list *)(void *)((char *)n->item + o->offset);
	struct place at = value_place(w, n);

	if (n->kind != Y_SEQ || n->count == 0) {
		finding_error(w->f, &at, "must be a list with at least one text: [a, b]");
		return;
	}
	list->v = arena_alloc(w->c->arena, n->count * sizeof(*list->v));
	for (struct ynode *e = n->first; e != NULL && list->v != NULL; e = e->sibling) {
		e->shown = n->shown;
		if (!text_ok(w, o, e))
			continue;
		for (size_t i = 0; i < list->n; i++) {
			at = value_place(w, e);
			if (str_eq(list->v[i], e->value))
				finding_warn(w->f, &at, "stands twice in the list");
		}
		list->v[list->n++] = e->value;
	}
}

static void labels_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct config_labels *labels = (struct config_labels *)(void *)((char *)n->item +
	                                                                o->offset);
	static const struct option value = { .type = TYPE_TEXT, .range = "1..128" };
	struct place at = value_place(w, n);

	if (n->kind != Y_MAP || n->count > 64) {
		finding_error(w->f, &at, "must be a mapping of at most 64 labels: { env: prod }");
		return;
	}
	labels->v = arena_alloc(w->c->arena, MAX(n->count, (size_t)1) * sizeof(*labels->v));
	for (struct ynode *e = n->first; e != NULL && labels->v != NULL; e = e->sibling) {
		e->shown = text_of(w, n->shown, ".", str_head(e->key, 64));
		at = key_place(w, e);
		if (e->key.n > 63 || !config_name_ok(str_head(e->key, CONFIG_NAME_MAX)))
			finding_error(w->f, &at,
			              "a label has 1 to 63 of the characters a-z, 0-9 and -");
		else if (text_ok(w, &value, e))
			labels->v[labels->n++] = (struct config_pair){
				.key = arena_str(w->c->arena, e->key),
				.value = arena_str(w->c->arena, e->value)
			};
	}
}

/* Like a list, but one template may stand alone. */
static void templates_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct config_list *list = (struct config_list *)(void *)((char *)n->item + o->offset);
	struct place at = value_place(w, n);
	const struct ynode *first = n->kind == Y_SEQ ? n->first : n;

	if (n->kind == Y_MAP) {
		finding_error(w->f, &at, "must be a template, or a list of them: [agents]");
		return;
	}
	list->v = arena_alloc(w->c->arena, MAX(n->count, (size_t)1) * sizeof(*list->v));
	for (const struct ynode *e = first; e != NULL && list->v != NULL; e = e->sibling) {
		struct option one = *o;

		one.offset = 0;
		at = value_place(w, e);
		at.key = n->shown;
		if (e->kind != Y_SCALAR)
			finding_error(w->f, &at, "must be text");
		else if (option_set(&w->set, &one, e->value, &list->v[list->n]) < 0)
			finding_error(w->f, &at, "%s", w->set.why);
		else
			list->n++;
		if (e == n)
			break;
	}
}

/* The values of one claim: one, or a list. */
static void when_set(struct walk *w, const struct option *o, struct ynode *n,
                     struct config_when *when) {
	struct ynode *first = n->kind == Y_SEQ ? n->first : n;
	struct place at = value_place(w, n);

	n->shown = text_of(w, n->parent->shown, ".", str_head(n->key, 64));
	at.key = n->shown;
	if (n->kind == Y_MAP || first == NULL || n->key.n == 0 || n->key.n > 128) {
		finding_error(w->f, &at, "must be a value, or a list of values: [a, b]");
		return;
	}
	when->claim = arena_str(w->c->arena, n->key);
	when->values.v = arena_alloc(w->c->arena, MAX(n->count, (size_t)1) * sizeof(struct str));
	for (struct ynode *e = first; e != NULL && when->values.v != NULL; e = e->sibling) {
		e->shown = n->shown;
		if (text_ok(w, o, e))
			when->values.v[when->values.n++] = arena_str(w->c->arena, e->value);
		if (e == n)
			break;
	}
}

static void claims_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct config_whens *whens = (struct config_whens *)(void *)((char *)n->item + o->offset);
	struct place at = value_place(w, n);

	if (n->kind != Y_MAP || n->count == 0 || n->count > CONFIG_WHEN_MAX) {
		finding_error(w->f, &at,
		              "must be a mapping of 1 to %d claims to values: { org_id: org-abc }",
		              CONFIG_WHEN_MAX);
		return;
	}
	whens->v = arena_alloc(w->c->arena, n->count * sizeof(*whens->v));
	for (struct ynode *e = n->first; e != NULL && whens->v != NULL; e = e->sibling)
		when_set(w, o, e, &whens->v[whens->n++]);
}

static bool env_name_ok(struct str s) {
	if (s.n == 0 || s.n > 128 || (s.p[0] >= '0' && s.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '_'))
			return false;
	}
	return true;
}

static void secret_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct config_secret *s = (struct config_secret *)(void *)((char *)n->item + o->offset);
	static const struct option path = { .type = TYPE_PATH };
	const struct ynode *one = n->first;
	struct place at = value_place(w, n);

	if (n->kind != Y_MAP || n->count != 1 || one->kind != Y_SCALAR) {
		finding_error(w->f, &at, "must be one reference: { env: NAME } or { file: PATH }");
		return;
	}
	at.line = one->key_line;
	at.column = one->key_column;
	if (str_is(one->key, "env")) {
		if (!env_name_ok(one->value))
			finding_error(w->f, &at,
			              "env: must be the name of an environment variable");
		*s = (struct config_secret){ .kind = SECRET_ENV, .name = one->value };
	} else if (str_is(one->key, "file")) {
		if (option_set(&w->set, &path, one->value, &s->name) < 0)
			finding_error(w->f, &at, "file: %s", w->set.why);
		s->kind = SECRET_FILE;
	} else {
		finding_error(w->f, &at, "a secret is { env: NAME } or { file: PATH }");
		finding_nearest(w->f, nearest_choice("env|file", one->key));
	}
}

static void depth_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct config_depth *d = (struct config_depth *)(void *)((char *)n->item + o->offset);
	const struct ynode *one = n->first;
	struct place at = value_place(w, n);
	uint64_t rows;

	if (n->kind != Y_MAP || n->count != 1 || !str_is(one->key, "head") ||
	    one->kind != Y_SCALAR) {
		finding_error(w->f, &at, "must be one of: full, { head: N }, digest, none");
		return;
	}
	at.line = one->line;
	at.column = one->column;
	if (str_u64(one->value, CONFIG_HEAD_MAX, &rows) < 0 || rows == 0)
		finding_error(w->f, &at, "head: must be a number of rows from 1 to %d",
		              CONFIG_HEAD_MAX);
	else
		*d = (struct config_depth){ .kind = CONFIG_DEPTH_HEAD, .rows = (uint32_t)rows };
}

static void flag_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct place at = value_place(w, n);

	if (n->kind != Y_MAP || n->count != 0)
		finding_error(w->f, &at, "must be an empty mapping: {}");
	else
		*(bool *)((char *)n->item + o->offset) = true;
}

static void scalar_set(struct walk *w, const struct option *o, struct ynode *n) {
	struct place at = value_place(w, n);

	if (n->kind != Y_SCALAR) {
		bool is_address = o->type == TYPE_ADDRESS || o->type == TYPE_TARGET;

		finding_error(w->f, &at, "must be one %s%s", opt_type_name(o->type),
		              is_address ? "; an IPv6 address needs quotes: \"[::1]:5432\"" : "");
		return;
	}
	if (n->is_plain && n->value.n == 0) {
		finding_error(w->f, &at, "has no value");
		return;
	}
	if (option_set(&w->set, o, n->value, n->item) < 0) {
		finding_error(w->f, &at, "%s", w->set.why);
		finding_nearest(w->f, w->set.nearest);
	}
}

static void option_take(struct walk *w, const struct option *o, size_t index, struct ynode *n) {
	struct config_item *item = n->item;

	item->at[index] = n->key_line << 10 | MIN(n->key_column, 1023U);
	if (o->type == TYPE_TEXTS && n->kind != Y_SCALAR)
		texts_set(w, o, n);
	else if (o->type == TYPE_TEMPLATES)
		templates_set(w, o, n);
	else if (o->type == TYPE_CLAIMS && n->kind != Y_SCALAR)
		claims_set(w, o, n);
	else if (o->type == TYPE_LABELS)
		labels_set(w, o, n);
	else if (o->type == TYPE_SECRET && n->kind != Y_SCALAR)
		secret_set(w, o, n);
	else if (o->type == TYPE_FLAG)
		flag_set(w, o, n);
	else if (o->type == TYPE_DEPTH && n->kind != Y_SCALAR)
		depth_set(w, o, n);
	else
		scalar_set(w, o, n);
}

static void node_visit(struct walk *w, struct ynode *n) {
	size_t index = 0;

	if (n->parent->is_done) {
		n->is_done = true;
		return;
	}
	node_locate(w, n);
	if (n->item == NULL || n->path.p == NULL) {
		n->is_done = true;
		return;
	}
	const struct option *o = row_find(w, n->path, &index);

	if (o != NULL) {
		option_take(w, o, index, n);
		n->is_done = true;
		return;
	}
	bool wants_map = has_rows_under(w, n->path, ".");
	bool wants_seq = has_rows_under(w, n->path, "[]");
	struct place at = value_place(w, n);

	if (!wants_map && !wants_seq)
		unknown_key(w, n);
	else if (n->kind != (wants_map ? Y_MAP : Y_SEQ))
		finding_error(w->f, &at, "must be a %s", wants_map ? "mapping" : "list");
	else
		return;
	n->is_done = true;
}

/* ---- documents ---- */

static struct config_item *connection_add(struct walk *w) {
	struct config_connection *conn = arena_alloc(w->c->arena, sizeof(*conn));
	struct config_connection **link = &w->c->connections;

	if (conn == NULL)
		return NULL;
	option_defaults(&w->set, OWNER_C, conn);
	while (*link != NULL)
		link = &(*link)->next;
	*link = conn;
	w->c->connection_count++;
	return &conn->item;
}

static struct config_item *gateway_add(struct walk *w, const struct ynode *root) {
	struct place at = value_place(w, root);

	if (w->c->has_gateway)
		finding_error(w->f, &at, "a second Gateway document; there must be exactly one");
	w->c->has_gateway = true;
	return &w->c->gateway.item;
}

/* The kind decides which rows apply; NULL when it is none that is known. */
static struct config_item *document_open(struct walk *w, struct ynode *root) {
	struct place at = value_place(w, root);

	if (root->kind != Y_MAP) {
		finding_error(w->f, &at,
		              "a document must be a mapping with apiVersion, kind, metadata, "
		              "spec");
		return NULL;
	}
	const struct ynode *kind = ynode_child(root, STR("kind"));

	if (kind == NULL || kind->kind != Y_SCALAR) {
		finding_error(w->f, &at, "\"kind\" is missing: Gateway or Connection");
		return NULL;
	}
	w->is_gateway = str_is(kind->value, "Gateway");
	if (w->is_gateway)
		return gateway_add(w, root);
	if (str_is(kind->value, "Connection"))
		return connection_add(w);
	at = value_place(w, kind);
	at.key = STR("kind");
	finding_error(w->f, &at, "unknown kind \"%.*s\"", STR_ARG(str_head(kind->value, 64)));
	finding_nearest(w->f, nearest_choice("Gateway|Connection", kind->value));
	return NULL;
}

static void document_walk(struct walk *w, struct ynode *root) {
	struct config_item *item = document_open(w, root);

	if (item == NULL)
		return;
	item->line = root->line;
	root->item = item;
	for (struct ynode *n = root->next; n != NULL; n = n->next)
		node_visit(w, n);
}

void config_walk(struct config *c, struct ydoc *docs, struct findings *f) {
	struct walk w = { .c = c, .f = f, .set = { .arena = c->arena, .dir = c->dir } };

	option_defaults(&w.set, OWNER_G, &c->gateway);
	for (struct ydoc *d = docs; d != NULL; d = d->next)
		document_walk(&w, d->root);
}
