/* relations.c: see relations.h. */
#include "main/relations.h"

#include "main/ask.h"
#include "main/text.h"

json_t *relation_of(const struct rec_event *e) {
	if (e->type != REC_FACT || !str_is(e->name, "relation"))
		return NULL;
	json_t *doc = json_loadb(e->bytes.p != NULL ? e->bytes.p : "", e->bytes.n, 0, NULL);
	if (json_is_object(doc))
		return doc;
	json_decref(doc);
	return NULL;
}

void relations_add(json_t *list, const struct rec_event *e) {
	json_t *doc = relation_of(e);
	json_t *last = json_array_get(list, json_array_size(list) - 1);
	json_t *columns = json_object_get(last, "columns");
	if (doc == NULL)
		return;
	if (!json_is_true(json_object_get(last, "more")) || !json_is_array(columns) ||
	    !json_equal(json_object_get(last, "oid"), json_object_get(doc, "oid"))) {
		(void)json_array_append_new(list, doc);
		return;
	}
	(void)json_array_extend(columns, json_object_get(doc, "columns"));
	if (!json_is_true(json_object_get(doc, "more")))
		(void)json_object_del(last, "more");
	json_decref(doc);
}

static void put_text(struct buf *b, const json_t *v) {
	if (json_is_string(v))
		text_safe(b, str_mem(json_string_value(v), json_string_length(v)), TEXT_LINE);
}

void relation_text(struct buf *b, const json_t *relation) {
	const json_t *columns = json_object_get(relation, "columns");
	const json_t *found = json_object_get(relation, "found");
	size_t i;
	json_t *column;

	w_bytes(b, STR("relation "));
	put_text(b, json_object_get(relation, "schema"));
	if (json_object_get(relation, "schema") != NULL)
		w_u8(b, '.');
	put_text(b, json_object_get(relation, "name"));
	if (json_object_get(relation, "oid") != NULL)
		w_fmt(b, "%s %llu", json_object_get(relation, "name") != NULL ? ", oid" : "of oid",
		      (unsigned long long)json_count(relation, "oid"));
	if (json_is_false(found)) {
		w_bytes(b, STR(": not found"));
		return;
	}
	w_bytes(b, STR(", "));
	put_text(b, json_object_get(relation, "kind"));
	json_array_foreach(columns, i, column) {
		w_bytes(b, i == 0 ? STR(": ") : STR(", "));
		put_text(b, json_array_get(column, 1));
		w_u8(b, ' ');
		put_text(b, json_array_get(column, 2));
	}
	if (json_is_true(json_object_get(relation, "more")))
		w_bytes(b, STR(", …"));
}
