/*
 * who.c: identities as JSON (who.h). jansson reads it.
 *
 * All text is checked for UTF-8 (jansson does), for control bytes and for length, because it ends in
 * the record, in logs and on terminals.
 */
#include "identity/who.h"

#include <jansson.h>

#include "base/json.h"

static const char *const kinds[WHO_KIND_COUNT] = {
	[WHO_HUMAN] = "human",
	[WHO_AGENT] = "agent",
	[WHO_SERVICE] = "service",
};

const char *who_kind_name(enum who_kind kind) {
	assert(kind < WHO_KIND_COUNT);
	return kinds[kind];
}

bool who_in_group(const struct who *w, struct str group) {
	for (size_t i = 0; i < w->group_count; i++) {
		if (str_eq(w->groups[i], group))
			return true;
	}
	return false;
}

struct parse {
	struct who *w;
	struct arena *arena;
	struct err *e;
};

static bool is_clean(struct str s) {
	for (size_t i = 0; i < s.n; i++) {
		if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	}
	return true;
}

static int get_text(const struct parse *p, const char *member, const json_t *v, size_t max,
                    struct str *ret) {
	struct str s = str_mem(json_string_value(v), json_string_length(v));

	if (!json_is_string(v) || s.n == 0 || s.n > max || !is_clean(s))
		return err_set(p->e, H_EFORMAT,
		               "%s must be text of 1 to %zu bytes without control characters",
		               member, max);
	*ret = arena_str(p->arena, s);
	return ret->p != NULL ? 0 : err_set(p->e, H_ELIMIT, "the identity is too large");
}

static int get_kind(const struct parse *p, const json_t *v) {
	for (unsigned i = 0; i < WHO_KIND_COUNT; i++) {
		if (json_is_string(v) && strcmp(json_string_value(v), kinds[i]) == 0) {
			p->w->kind = (enum who_kind)i;
			return 0;
		}
	}
	return err_set(p->e, H_EFORMAT, "kind must be agent, human or service");
}

static int get_groups(const struct parse *p, const json_t *v) {
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n > WHO_GROUPS_MAX)
		return err_set(p->e, H_EFORMAT, "groups must be a list of at most %d",
		               WHO_GROUPS_MAX);
	for (size_t i = 0; i < n; i++) {
		int rc = get_text(p, "a group", json_array_get(v, i), WHO_SUBJECT_MAX,
		                  &p->w->groups[i]);

		if (rc < 0)
			return rc;
	}
	p->w->group_count = n;
	return 0;
}

static int get_context(const struct parse *p, json_t *v) {
	const char *key;
	json_t *item;

	if (!json_is_object(v) || json_object_size(v) > WHO_CONTEXT_MAX)
		return err_set(p->e, H_EFORMAT, "context must be at most %d key=value pairs",
		               WHO_CONTEXT_MAX);
	json_object_foreach(v, key, item) {
		struct who_pair *pair = &p->w->context[p->w->context_count];
		struct str k = str_of(key);

		if (k.n == 0 || k.n > WHO_KEY_MAX || !is_clean(k))
			return err_set(p->e, H_EFORMAT, "a context key has 1 to %d bytes",
			               WHO_KEY_MAX);
		int rc = get_text(p, "a context value", item, WHO_VALUE_MAX, &pair->value);

		if (rc < 0)
			return rc;
		pair->key = arena_str(p->arena, k);
		p->w->context_count++;
	}
	return 0;
}

static int get_member(const struct parse *p, const char *key, json_t *v) {
	struct who *w = p->w;

	if (strcmp(key, "subject") == 0)
		return get_text(p, key, v, WHO_SUBJECT_MAX, &w->subject);
	if (strcmp(key, "kind") == 0)
		return get_kind(p, v);
	if (strcmp(key, "groups") == 0)
		return get_groups(p, v);
	if (strcmp(key, "on_behalf_of") == 0)
		return get_text(p, key, v, WHO_SUBJECT_MAX, &w->on_behalf_of);
	if (strcmp(key, "run") == 0)
		return get_text(p, key, v, WHO_SUBJECT_MAX, &w->run);
	if (strcmp(key, "connection") == 0)
		return get_text(p, key, v, 32, &w->connection);
	if (strcmp(key, "context") == 0)
		return get_context(p, v);
	return err_set(p->e, H_EFORMAT, "unknown member \"%.40s\"", key);
}

static int get_members(const struct parse *p, json_t *doc) {
	const char *key;
	json_t *v;

	json_object_foreach(doc, key, v) {
		int rc = get_member(p, key, v);

		if (rc < 0)
			return rc;
	}
	if (p->w->subject.n == 0 || json_object_get(doc, "kind") == NULL)
		return err_set(p->e, H_EFORMAT, "subject and kind are needed");
	/* The local issuer vouches for what it says. */
	p->w->on_behalf_of_verified = p->w->on_behalf_of.n != 0;
	return 0;
}

int who_parse(struct who *w, struct arena *a, struct str json, struct err *e) {
	struct parse p = { .w = w, .arena = a, .e = e };

	*w = (struct who){ 0 };
	if (json.n > WHO_JSON_MAX)
		return err_set(e, H_ELIMIT, "the identity is too large");
	json_t *doc = json_loadb(json.p != NULL ? json.p : "", json.n, JSON_REJECT_DUPLICATES,
	                         NULL);
	int rc = H_EFORMAT;

	if (json_is_object(doc))
		rc = get_members(&p, doc);
	else
		(void)err_set(e, H_EFORMAT, "an identity is a JSON object");
	json_decref(doc);
	return rc;
}

void who_put(struct buf *b, const struct who *w) {
	struct jw j = jw_of(b);

	jw_obj(&j);
	jw_kv_str(&j, "subject", w->subject);
	jw_kv_z(&j, "kind", kinds[w->kind]);
	jw_key(&j, "groups");
	jw_arr(&j);
	for (size_t i = 0; i < w->group_count; i++)
		jw_str(&j, w->groups[i]);
	jw_arr_end(&j);
	if (w->on_behalf_of.n != 0)
		jw_kv_str(&j, "on_behalf_of", w->on_behalf_of);
	if (w->run.n != 0)
		jw_kv_str(&j, "run", w->run);
	if (w->connection.n != 0)
		jw_kv_str(&j, "connection", w->connection);
	jw_key(&j, "context");
	jw_obj(&j);
	for (size_t i = 0; i < w->context_count; i++) {
		jw_key_str(&j, w->context[i].key);
		jw_str(&j, w->context[i].value);
	}
	jw_obj_end(&j);
	jw_obj_end(&j);
}
