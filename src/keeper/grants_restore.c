/*
 * grants_restore.c: the sessions that a restarted keeper finds alive.
 *
 * The worker tells what it serves (GRANTS), state.db remembers who that is, the recorder tells what
 * it has bound (BINDINGS). A session that state.db does not know is kept, with subject "unknown":
 * it was admitted, and ending it would help nobody; it counts and can be cancelled like any other.
 */
#include <jansson.h>

#include "keeper/grants_priv.h"

enum { GRANTS_MAX = 65536 };

static void get_text(const json_t *doc, const char *member, char *out, size_t cap) {
	const json_t *v = json_object_get(doc, member);

	if (!str_copy(out, cap, str_mem(json_string_value(v), json_string_length(v))))
		out[0] = '\0';
}

static void remember(struct keeper *k, struct grant_row *g) {
	struct arena *a = arena_new(64 * KIB);
	char sid[UUID_TEXT_SIZE];
	struct str text;
	json_t *doc = NULL;

	if (state_grant_get(k->state, g->id, a, &text) == 0)
		doc = json_loadb(text.p, text.n, 0, NULL);
	if (json_is_object(doc)) {
		get_text(doc, "sid", sid, sizeof(sid));
		if (uuid_parse(g->sid, str_of(sid)) == 0)
			short_id(g->short_id, g->sid);
		get_text(doc, "subject", g->subject, sizeof(g->subject));
		get_text(doc, "on_behalf_of", g->on_behalf_of, sizeof(g->on_behalf_of));
		get_text(doc, "source", g->source, sizeof(g->source));
		get_text(doc, "address", g->address, sizeof(g->address));
		get_text(doc, "database", g->database, sizeof(g->database));
		g->worker_id = (uint64_t)json_integer_value(json_object_get(doc, "worker_id"));
		g->ring = (uint16_t)json_integer_value(json_object_get(doc, "ring"));
		g->connect_ns = (uint64_t)json_integer_value(json_object_get(doc, "connect_ns"));
		g->opened_wall_ns = (uint64_t)json_integer_value(
			json_object_get(doc, "opened_wall_ns"));
	}
	if (g->subject[0] == '\0')
		(void)snprintf(g->subject, sizeof(g->subject), "unknown");
	json_decref(doc);
	arena_free(&a);
}

static bool restore_one(struct keeper *k, struct rd *r) {
	struct grant_row *g = xcalloc(1, sizeof(*g));
	void *old = NULL;

	g->id = rd_u64(r);
	g->slot = rd_u32(r);
	g->generation = rd_u32(r);
	struct str key = rd_vstr(r);
	bool ok = str_copy(g->connection, sizeof(g->connection), rd_vstr(r)) &&
	          str_copy(g->role, sizeof(g->role), rd_vstr(r)) && !r->bad && g->id != 0 &&
	          key.n <= sizeof(g->cancel_key) &&
	          map_get(k->grants, map_key_u64(&g->id)) == NULL &&
	          (key.n == 0 || map_get(k->keys, key) == NULL);

	if (!ok) {
		free(g);
		return false;
	}
	g->state = GRANT_LIVE;
	g->is_restored = true;
	list_init(&g->wait);
	g->worker_id = (uint64_t)g->generation << 32 | g->slot;
	remember(k, g);
	if (key.n != 0) {
		memcpy(g->cancel_key, key.p, key.n);
		g->cancel_key_size = (uint8_t)key.n;
		g->has_key = map_put(k->keys, key, g, &old) == 0;
	}
	grant_insert(k, g);
	return true;
}

void grants_on_restored(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint32_t count = rd_u32(&r), kept = 0;

	for (uint32_t i = 0; i < count && i < GRANTS_MAX && !r.bad; i++)
		kept += restore_one(k, &r);
	log_info("keeper.grants.restored", kv_uint("told", count), kv_uint("kept", kept));
}

void grants_on_bindings(struct keeper *k, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	uint32_t count = rd_u32(&r);

	(void)k;
	log_info("keeper.bindings.told", kv_uint("sessions", count));
}
