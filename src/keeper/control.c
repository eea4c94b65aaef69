/*
 * control.c: control.sock: who may ask, what is asked, and the answers (ipc/ctl.h has the list).
 *
 * The kernel says who is there (SO_PEERCRED): root and our own user may ask, nobody else. One
 * question at a time per connection; an answer that depends on an act is sent when the act is
 * durable. A connection whose buffer is full of unread answers is closed: the client is ours.
 *
 * Connections are numbered and never reused, so a late act finds its connection or none.
 */
#include <fcntl.h>
#include <jansson.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "identity/token.h"
#include "keeper/keeper_priv.h"

enum { CONNS_MAX = 64, PAGE_MAX = 48 * 1024 };
#define TTL_MAX_NS (366 * 24 * 3600 * NS_PER_S)

struct conn {
	struct list link;
	struct keeper *k;
	struct watch w;
	uint64_t id;
	uint32_t uid;
	int32_t pid;
	bool is_dead;
	struct buf waiting; /* the answer that waits for an act */
	int tap; /* the socket that the recorder gets when the view is on the record; -1: none */
	uint8_t tap_sid[SID_SIZE];
};

struct control {
	struct keeper *k;
	struct watch w;
	struct list conns;
	size_t count;
	uint64_t next;
};

static void conn_close(struct conn *c) {
	struct control *ctl = c->k->control;

	loop_del(c->k->loop, &c->w);
	(void)close(c->w.fd);
	if (c->tap >= 0)
		(void)close(c->tap);
	list_drop(&c->link);
	if (c->waiting.p != NULL)
		wipe(c->waiting.p, c->waiting.cap);
	buf_fini(&c->waiting);
	free(c);
	ctl->count--;
	if (ctl->w.is_added)
		loop_want(ctl->k->loop, &ctl->w, LOOP_IN);
}

/* ---- answers ---- */

static void answer(struct conn *c, struct buf *b) {
	int rc = w_done(b);

	if (rc == 0)
		rc = ipc_send(c->w.fd, IPC_CTL_ANSWER, 1, buf_peek(b), NULL, 0);
	if (rc < 0)
		c->is_dead = true; /* closed by whoever called us */
}

static struct jw answer_begin(struct buf *b) {
	struct jw j = jw_of(b);

	jw_obj(&j);
	jw_kv_bool(&j, "ok", true);
	return j;
}

static void answer_end(struct jw *j, bool is_last) {
	jw_kv_bool(j, "done", is_last);
	jw_obj_end(j);
}

static void answer_error(struct conn *c, int code, const char *text) {
	struct buf b;

	buf_init(&b, IPC_MAX);
	struct jw j = jw_of(&b);

	jw_obj(&j);
	jw_kv_bool(&j, "ok", false);
	jw_kv_z(&j, "code", h_err_name(code));
	jw_kv_z(&j, "error", text);
	answer_end(&j, true);
	answer(c, &b);
	buf_fini(&b);
}

static struct conn *conn_find(struct keeper *k, uint64_t id) {
	list_each (it, &k->control->conns) {
		struct conn *c = container_of(it, struct conn, link);

		if (c->id == id)
			return c;
	}
	return NULL;
}

/* The ticket goes to the recorder, and with it our copy. */
static int pass_tap(struct conn *c) {
	struct str sid = str_mem(c->tap_sid, SID_SIZE);
	bool sent = chan_send_fd(&c->k->chan[ROLE_RECORDER], IPC_TAP, 0, sid, c->tap);

	(void)close(c->tap);
	c->tap = -1;
	return sent ? 0 : H_EBUSY;
}

/* The act is durable, or could not be: the waiting answer goes out. */
static void on_act(struct keeper *k, uint64_t id, int code) {
	struct conn *c = k->control != NULL ? conn_find(k, id) : NULL;

	if (c == NULL)
		return;
	if (code >= 0 && c->tap >= 0)
		code = pass_tap(c);
	if (code < 0)
		answer_error(c, code,
		             code == H_EBUSY
		                     ? "the recorder is away; try again"
		                     : "the act could not be recorded; nothing was answered");
	else
		answer(c, &c->waiting);
	if (c->waiting.p != NULL)
		wipe(c->waiting.p, c->waiting.cap);
	buf_fini(&c->waiting);
	buf_init(&c->waiting, IPC_MAX);
	/* Closed by on_conn() alone, which the end of file calls: our caller may be it. */
	if (c->is_dead)
		(void)shutdown(c->w.fd, SHUT_RDWR);
}

static void who_json(const struct conn *c, char out[96]) {
	(void)snprintf(out, 96, "{\"uid\":%u,\"pid\":%d}", c->uid, c->pid);
}

/* ---- questions ---- */

static struct str text_member(const json_t *ask, const char *name) {
	const json_t *v = json_object_get(ask, name);

	return str_mem(json_string_value(v), json_string_length(v));
}

/* Only these members; the list ends in NULL. */
static bool has_only(json_t *ask, const char *const *names) {
	const char *key;
	json_t *v;

	json_object_foreach(ask, key, v) {
		bool is_known = strcmp(key, "cmd") == 0;

		for (size_t i = 0; names[i] != NULL; i++)
			is_known = is_known || strcmp(key, names[i]) == 0;
		if (!is_known)
			return false;
	}
	return true;
}

static void put_issuer(void *arg, const struct oidc_state *s) {
	struct jw *j = arg;

	jw_obj(j);
	jw_kv_str(j, "issuer", s->issuer);
	jw_kv_str(j, "name", s->name);
	jw_kv_u64(j, "keys", s->keys);
	jw_kv_bool(j, "failing", s->is_failing);
	jw_kv_z(j, "reason", s->why);
	jw_obj_end(j);
}

static void ask_status(struct conn *c, json_t *ask) {
	static const char *const states[] = { "ok", "refuses new sessions", "failed" };
	static const char *const none[] = { NULL };
	struct keeper *k = c->k;
	struct signed_head last = { 0 };
	char hash[2 * SHA256_SIZE + 1];
	struct buf b;

	if (!has_only(ask, none)) {
		answer_error(c, H_EUSAGE, "unknown member");
		return;
	}
	if (state_signed_get(k->state, &last) < 0)
		log_error("keeper.state.failed", kv_z("what", "signed"));
	hex_encode(hash, k->rt->hash, SHA256_SIZE);
	buf_init(&b, IPC_MAX);
	struct jw j = answer_begin(&b);

	jw_kv_z(&j, "version", HANSARD_VERSION);
	jw_kv_u64(&j, "started_wall_ns", k->started_wall_ns);
	jw_kv_z(&j, "origin", k->origin);
	jw_kv_z(&j, "vkey", k->vkey);
	jw_kv_u64(&j, "signed_size", last.size);
	jw_kv_u64(&j, "sessions", map_count(k->grants));
	jw_kv_z(&j, "store", states[MIN(k->store_state, 2)]);
	jw_kv_z(&j, "store_reason", k->store_reason);
	jw_kv_str(&j, "config", k->rt->config->file);
	jw_kv_z(&j, "snapshot", hash);
	jw_kv_bool(&j, "draining", k->is_draining);
	jw_kv_bool(&j, "recorder", !k->chan[ROLE_RECORDER].is_down);
	jw_kv_bool(&j, "worker", !k->chan[ROLE_WORKER].is_down);
	jw_kv_bool(&j, "egress", !k->chan[ROLE_EGRESS].is_down);
	jw_kv_u64(&j, "acts_waiting", k->act_count);
	jw_key(&j, "issuers");
	jw_arr(&j);
	oidc_each(k->oidc, put_issuer, &j);
	jw_arr_end(&j);
	answer_end(&j, true);
	answer(c, &b);
	buf_fini(&b);
}

/* ---- token.issue ---- */

static int ttl_of(const json_t *ask, uint64_t *ret) {
	const json_t *v = json_object_get(ask, "ttl_ns");
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < (json_int_t)NS_PER_S || (uint64_t)n > TTL_MAX_NS)
		return H_EUSAGE;
	*ret = (uint64_t)n;
	return 0;
}

/* The identity that is asked for: the question without cmd and ttl_ns, subject qualified by us. */
static int who_of(struct conn *c, json_t *ask, struct arena *a, struct who *w) {
	struct err e = { 0 };
	struct str subject = text_member(ask, "subject");
	json_t *doc = json_copy(ask);
	char *text = NULL;

	(void)json_object_del(doc, "cmd");
	(void)json_object_del(doc, "ttl_ns");
	if (subject.n != 0 && !str_starts(subject, STR("local:"))) {
		auto_free char *full = xasprintf("local:%.*s", STR_ARG(subject));

		(void)json_object_set_new(doc, "subject", json_string(full));
	}
	text = json_dumps(doc, JSON_COMPACT);
	int rc = text != NULL ? who_parse(w, a, str_of(text), &e) : H_EFORMAT;

	free(text);
	json_decref(doc);
	if (rc == 0 && w->connection.n != 0 &&
	    config_connection_find(c->k->rt->config, w->connection) == NULL)
		rc = err_set(&e, H_ENOTFOUND, "there is no connection of that name");
	if (rc < 0)
		answer_error(c, rc, e.text[0] != '\0' ? e.text : h_err_text(rc));
	return rc;
}

/* Hash and verifier; of the token itself nothing. */
static int token_store(struct keeper *k, const char *token, struct token_row *row) {
	uint8_t hash[SHA256_SIZE], salt[SCRAM_VERIFIER_SALT];
	int rc = token_hash(hash, str_of(token));

	if (rc < 0)
		return rc;
	prove_salt(k, row->id, salt);
	scram_verifier_make(&row->verifier, str_of(token), salt);
	row->has_verifier = true;
	rc = state_token_put(k->state, hash, row);
	wipe(&row->verifier, sizeof(row->verifier));
	return rc;
}

/* The user name with which SCRAM finds the token; null when it is good for several connections. */
static void put_user(struct jw *j, const struct config *c, const struct who *w, const char *id) {
	struct str connection = w->connection;
	char user[CONFIG_NAME_MAX + SHORT_ID_SIZE + 2];

	if (connection.n == 0 && c->connection_count == 1)
		connection = c->connections->name;
	jw_key(j, "user");
	if (connection.n == 0) {
		jw_null(j);
		return;
	}
	(void)snprintf(user, sizeof(user), "%.*s+%s", STR_ARG(connection), id);
	jw_str(j, str_of(user));
}

/* The act tells all of the token but the token. */
static void act_issued(struct conn *c, const struct who *w, const struct token_row *row) {
	char by[96];
	struct buf b, who;

	buf_init(&b, IPC_MAX);
	buf_init(&who, IPC_MAX);
	who_json(c, by);
	who_put(&who, w);
	struct jw j = act_begin(&b, "token.issued", by);

	jw_kv_str(&j, "id", row->id);
	jw_key(&j, "identity");
	jw_raw(&j, buf_peek(&who));
	jw_kv_u64(&j, "expires_wall_ns", row->expires_wall_ns);
	jw_obj_end(&j);
	act_send(c->k, &b, on_act, c->id);
	buf_fini(&b);
	buf_fini(&who);
}

static void token_issue(struct conn *c, const struct who *w, uint64_t ttl) {
	char token[TOKEN_SIZE], id[SHORT_ID_SIZE];
	uint8_t sid[SID_SIZE];
	struct buf who;
	uint64_t now = wall_ns();

	random_bytes(sid, sizeof(sid));
	short_id(id, sid);
	token_make(token);
	buf_init(&who, WHO_JSON_MAX);
	who_put(&who, w);
	struct token_row row = { .id = str_of(id),
		                 .who = buf_peek(&who),
		                 .issued_wall_ns = now,
		                 .expires_wall_ns = now + ttl };
	int rc = w_done(&who) < 0 ? H_ELIMIT : token_store(c->k, token, &row);

	if (rc < 0) {
		answer_error(c, rc, "the token cannot be stored");
	} else {
		struct jw j = answer_begin(&c->waiting);

		jw_kv_z(&j, "token", token);
		jw_kv_z(&j, "id", id);
		jw_kv_z(&j, "key_id", id);
		put_user(&j, c->k->rt->config, w, id);
		jw_kv_str(&j, "subject", w->subject);
		jw_kv_u64(&j, "expires_wall_ns", row.expires_wall_ns);
		answer_end(&j, true);
		act_issued(c, w, &row);
	}
	wipe(token, sizeof(token));
	buf_fini(&who);
}

static void ask_token_issue(struct conn *c, json_t *ask) {
	struct arena *a = arena_new(64 * KIB);
	struct who w;
	uint64_t ttl = 0;

	if (!c->k->rt->config->gateway.identity_local)
		answer_error(c, H_EPERM,
		             "the local issuer is off beside spec.identity.oidc; "
		             "spec.identity.local: {} turns it on, to break glass with");
	else if (ttl_of(ask, &ttl) < 0)
		answer_error(c, H_EUSAGE, "ttl must be from 1s to 366d");
	else if (who_of(c, ask, a, &w) == 0)
		token_issue(c, &w, ttl);
	arena_free(&a);
}

/* ---- token.ls, sessions.live: answers in pages ---- */

struct page {
	struct conn *c;
	struct buf b;
	struct jw j;
};

static void page_begin(struct page *p) {
	buf_init(&p->b, IPC_MAX);
	p->j = answer_begin(&p->b);
	jw_key(&p->j, "items");
	jw_arr(&p->j);
}

static void page_end(struct page *p, bool is_last) {
	jw_arr_end(&p->j);
	answer_end(&p->j, is_last);
	answer(p->c, &p->b);
	buf_fini(&p->b);
}

static void page_room(struct page *p) {
	if (p->b.len < PAGE_MAX)
		return;
	page_end(p, false);
	page_begin(p);
}

static int put_token(void *arg, const struct token_row *row) {
	struct page *p = arg;

	page_room(p);
	struct jw *j = &p->j;

	jw_obj(j);
	jw_kv_str(j, "id", row->id);
	jw_key(j, "identity");
	jw_raw(j, row->who);
	jw_kv_u64(j, "issued_wall_ns", row->issued_wall_ns);
	jw_kv_u64(j, "expires_wall_ns", row->expires_wall_ns);
	jw_kv_u64(j, "revoked_wall_ns", row->revoked_wall_ns);
	jw_obj_end(j);
	return p->c->is_dead ? H_ECLOSED : 0;
}

static void ask_token_ls(struct conn *c, json_t *ask) {
	struct page p = { .c = c };

	(void)ask;
	page_begin(&p);
	if (state_token_each(c->k->state, put_token, &p) < 0)
		log_error("keeper.state.failed", kv_z("what", "tokens"));
	page_end(&p, true);
}

/* Whose token has this hash; who asks holds the token, or could read the state as well. */
static void ask_token_who(struct conn *c, json_t *ask) {
	static const char *const members[] = { "sha256", NULL };
	struct str text = text_member(ask, "sha256");
	struct arena *a = arena_new(64 * KIB);
	uint8_t hash[SHA256_SIZE];
	struct token_row row;
	int rc = H_EUSAGE;

	if (has_only(ask, members) && text.n == 2 * SHA256_SIZE &&
	    hex_decode(hash, sizeof(hash), text) == SHA256_SIZE)
		rc = state_token_get(c->k->state, hash, a, &row);
	if (rc < 0) {
		answer_error(c, rc,
		             rc == H_ENOTFOUND ? "no such token was issued here" : h_err_text(rc));
	} else {
		struct buf b;

		buf_init(&b, IPC_MAX);
		struct jw j = answer_begin(&b);
		jw_kv_str(&j, "id", row.id);
		jw_key(&j, "identity");
		jw_raw(&j, row.who);
		jw_kv_u64(&j, "expires_wall_ns", row.expires_wall_ns);
		jw_kv_u64(&j, "revoked_wall_ns", row.revoked_wall_ns);
		answer_end(&j, true);
		answer(c, &b);
		buf_fini(&b);
	}
	arena_free(&a);
}

static void put_live(void *arg, const struct grant_row *g) {
	struct page *p = arg;
	char sid[UUID_TEXT_SIZE];

	if (g->state != GRANT_LIVE || p->c->is_dead)
		return;
	page_room(p);
	struct jw *j = &p->j;

	uuid_text(sid, g->sid);
	jw_obj(j);
	jw_kv_z(j, "session", sid);
	jw_kv_z(j, "short", g->short_id);
	jw_kv_z(j, "connection", g->connection);
	jw_kv_z(j, "role", g->role);
	jw_kv_z(j, "subject", g->subject);
	jw_kv_z(j, "on_behalf_of", g->on_behalf_of);
	jw_kv_z(j, "database", g->database);
	jw_kv_u64(j, "opened_wall_ns", g->opened_wall_ns);
	jw_obj_end(j);
}

static void ask_sessions(struct conn *c, json_t *ask) {
	struct page p = { .c = c };

	(void)ask;
	page_begin(&p);
	grants_each(c->k, put_live, &p);
	page_end(&p, true);
}

/* ---- changes ---- */

/* Sends the act and lets {"ok":true,…} wait for it. member may be empty. */
static void change_done(struct conn *c, const char *act, const char *const *members,
                        const struct str *values) {
	char by[96];
	struct buf b;

	buf_init(&b, IPC_MAX);
	who_json(c, by);
	struct jw j = act_begin(&b, act, by);
	struct jw w = answer_begin(&c->waiting);

	for (size_t i = 0; members[i] != NULL; i++) {
		if (values[i].n != 0)
			jw_kv_str(&j, members[i], values[i]);
	}
	jw_obj_end(&j);
	answer_end(&w, true);
	act_send(c->k, &b, on_act, c->id);
	buf_fini(&b);
}

static void ask_token_revoke(struct conn *c, json_t *ask) {
	static const char *const members[] = { "id", NULL };
	struct str id = text_member(ask, "id");
	int rc = has_only(ask, members) && id.n != 0 && id.n <= 64
	                 ? state_token_revoke(c->k->state, id, wall_ns())
	                 : H_EUSAGE;

	if (rc == H_ENOTFOUND)
		answer_error(c, rc, "there is no token with that id; see `hansard token ls`");
	else if (rc < 0)
		answer_error(c, rc, h_err_text(rc));
	else
		change_done(c, "token.revoked", members, &id);
}

static void ask_act(struct conn *c, json_t *ask) {
	static const char *const allowed[] = { "record.viewed", "record.exported",
		                               "record.verified", "record.searched",
		                               "index.rebuilt" };
	static const char *const known[] = { "act", "session", "detail", NULL };
	static const char *const members[] = { "session", "detail", NULL };
	struct str act = text_member(ask, "act");
	struct str values[] = { text_member(ask, "session"), text_member(ask, "detail") };

	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		if (str_is(act, allowed[i]) && has_only(ask, known) && values[0].n <= 256 &&
		    values[1].n <= 1024) {
			change_done(c, allowed[i], members, values);
			return;
		}
	}
	answer_error(c, H_EUSAGE, "unknown act");
}

static void ask_tail(struct conn *c, json_t *ask) {
	static const char *const known[] = { "session", NULL };
	static const char *const members[] = { "session", "detail", NULL };
	struct str sid = text_member(ask, "session");
	struct str values[] = { sid, STR("tail") };

	memset(c->tap_sid, 0, SID_SIZE);
	if (!has_only(ask, known) || c->tap < 0 || (sid.n != 0 && uuid_parse(c->tap_sid, sid) < 0))
		answer_error(c, H_EUSAGE, "tail takes a session's full id and a socket");
	else
		change_done(c, "record.viewed", members, values);
}

static void ask_pin_forget(struct conn *c, json_t *ask) {
	static const char *const members[] = { "connection", "role", NULL };
	struct str values[] = { text_member(ask, "connection"), text_member(ask, "role") };

	if (!has_only(ask, members) || !config_name_ok(values[0]) || !config_name_ok(values[1])) {
		answer_error(c, H_EUSAGE, "connection and role are needed");
		return;
	}
	auto_free char *prefix = xasprintf("%.*s/%.*s/", STR_ARG(values[0]), STR_ARG(values[1]));
	int n = state_pin_forget(c->k->state, str_of(prefix));

	if (n < 0)
		answer_error(c, n, h_err_text(n));
	else if (n == 0)
		answer_error(c, H_ENOTFOUND, "nothing is pinned for that role");
	else
		change_done(c, "pin.forgotten", members, values);
}

static void answer_why(struct conn *c, const struct refusal_row *row) {
	const struct refuse_text *t = refuse_text(refuse_reason_of(row->reason));
	struct buf b;

	buf_init(&b, IPC_MAX);
	struct jw j = answer_begin(&b);

	jw_kv_str(&j, "ref", row->ref);
	jw_kv_str(&j, "reason", row->reason);
	jw_kv_z(&j, "text", t->what);
	jw_kv_z(&j, "advice", t->advice);
	jw_kv_str(&j, "source", row->source);
	jw_kv_str(&j, "last", row->detail);
	jw_kv_u64(&j, "count", row->count);
	jw_kv_u64(&j, "first_wall_ns", row->first_wall_ns);
	jw_kv_u64(&j, "last_wall_ns", row->last_wall_ns);
	answer_end(&j, true);
	answer(c, &b);
	buf_fini(&b);
}

static void ask_why(struct conn *c, json_t *ask) {
	static const char *const members[] = { "ref", NULL };
	struct arena *a = arena_new(64 * KIB);
	struct refusal_row row;
	int rc = H_EUSAGE;

	refusals_flush(c->k->refusals); /* counts up to now */
	if (has_only(ask, members))
		rc = state_refusal_get(c->k->state, text_member(ask, "ref"), a, &row);
	if (rc == 0)
		answer_why(c, &row);
	else
		answer_error(c, rc,
		             rc == H_ENOTFOUND
		                     ? "no refusal has that reference; it stands in the text "
		                       "that the client was shown"
		                     : h_err_text(rc));
	arena_free(&a);
}

/* ---- connections ---- */

static const struct {
	const char *cmd;
	void (*fn)(struct conn *c, json_t *ask);
} commands[] = {
	{ "status", ask_status },
	{ "token.issue", ask_token_issue },
	{ "token.ls", ask_token_ls },
	{ "token.revoke", ask_token_revoke },
	{ "token.who", ask_token_who },
	{ "why", ask_why },
	{ "act", ask_act },
	{ "sessions.live", ask_sessions },
	{ "pin.forget", ask_pin_forget },
	{ "tail", ask_tail },
};

static void on_ask(struct conn *c, struct str body) {
	json_t *ask = json_loadb(body.p != NULL ? body.p : "", body.n, JSON_REJECT_DUPLICATES,
	                         NULL);
	struct str cmd = text_member(ask, "cmd");

	if (c->waiting.len != 0) {
		answer_error(c, H_EBUSY, "one question at a time");
		json_decref(ask);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (json_is_object(ask) && str_is(cmd, commands[i].cmd)) {
			commands[i].fn(c, ask);
			json_decref(ask);
			return;
		}
	}
	answer_error(c, H_EUSAGE, "unknown question");
	json_decref(ask);
}

static void on_conn(struct watch *w, unsigned events) {
	struct conn *c = container_of(w, struct conn, w);
	struct ipc_msg m;
	int rc = ipc_recv(c->w.fd, c->k->packet, &m);

	(void)events;
	if (rc == 0)
		return;
	if (rc > 0) {
		if (m.type == IPC_CTL_ASK && m.fd_count <= 1 && c->tap < 0) {
			c->tap = m.fd_count == 1 ? ipc_take_fd(&m, 0) : -1;
			on_ask(c, m.body);
			/* Only a tail that waits for its act keeps it. */
			if (c->tap >= 0 && c->waiting.len == 0) {
				(void)close(c->tap);
				c->tap = -1;
			}
		} else {
			c->is_dead = true;
		}
		ipc_msg_close(&m);
	}
	if (rc < 0 || c->is_dead)
		conn_close(c);
}

/* Root, and the user of an unpackaged gateway. A group has no rights here: what can be read is the record,
 * which such a group could not open, and what can be changed is who gets in. */
static bool may_ask(int fd, struct conn *c) {
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return false;
	c->uid = cred.uid;
	c->pid = cred.pid;
	return cred.uid == 0 || cred.uid == geteuid();
}

int control_take(struct keeper *k, int fd) {
	struct control *ctl = k->control;
	struct conn *c = xcalloc(1, sizeof(*c));

	list_init(&c->link);
	c->k = k;
	c->id = ++ctl->next;
	c->w = (struct watch){ .fd = fd, .fn = on_conn };
	c->tap = -1;
	buf_init(&c->waiting, IPC_MAX);
	if (!may_ask(fd, c) || loop_add(k->loop, &c->w, LOOP_IN) < 0) {
		log_warn("keeper.control.refused", kv_uint("uid", c->uid));
		(void)close(fd);
		free(c);
		return H_EPERM;
	}
	list_push(&ctl->conns, &c->link);
	/* A full house waits in the backlog. */
	if (++ctl->count == CONNS_MAX && ctl->w.is_added)
		loop_want(k->loop, &ctl->w, 0);
	return 0;
}

static void on_listen(struct watch *w, unsigned events) {
	struct control *ctl = container_of(w, struct control, w);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && control_take(ctl->k, fd) < 0)
		return;
}

int control_open(struct keeper *k, int listen_fd) {
	struct control *ctl = xcalloc(1, sizeof(*ctl));

	ctl->k = k;
	list_init(&ctl->conns);
	ctl->w = (struct watch){ .fd = listen_fd, .fn = on_listen };
	k->control = ctl;
	if (listen_fd < 0)
		return 0;
	(void)fcntl(listen_fd, F_SETFL, fcntl(listen_fd, F_GETFL) | O_NONBLOCK);
	return loop_add(k->loop, &ctl->w, LOOP_IN);
}

void control_free(struct keeper *k) {
	struct control *ctl = k->control;

	if (ctl == NULL)
		return;
	if (ctl->w.is_added)
		loop_del(k->loop, &ctl->w);
	list_each_safe (it, tmp, &ctl->conns)
		conn_close(container_of(it, struct conn, link));
	if (ctl->w.fd >= 0)
		(void)close(ctl->w.fd);
	k->control = NULL;
	free(ctl);
}
