/*
 * head.c: see head.h.
 */
#include "main/head.h"

#include "base/clock.h"
#include "main/text.h"

error_t one_parse(int key, char *arg, struct argp_state *state) {
	struct one_args *a = state->input;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->common;
		return 0;
	case KEY_ROWS:
		if (str_u64(str_of(arg), UINT32_MAX, &a->rows) != 0)
			argp_error(state, "--rows takes a number (0: all)");
		return 0;
	case ARGP_KEY_ARG:
		if (a->id != NULL)
			argp_error(state, "one session at a time");
		a->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void put_block(struct buf *b, struct str s, const char *margin) {
	do {
		struct str line = str_cut(&s, '\n');
		w_bytes(b, str_of(margin));
		text_safe(b, line, TEXT_BLOCK);
		w_u8(b, '\n');
	} while (s.p != NULL);
}

void put_ms(struct buf *b, uint64_t ns) {
	w_fmt(b, "%llu.%03llu ms", (unsigned long long)(ns / NS_PER_MS),
	      (unsigned long long)(ns % NS_PER_MS / NS_PER_US));
}

struct spent spent_of(const struct view_command *c) {
	struct spent s = { .has_held = c->forwarded_ns >= c->received_ns && c->forwarded_ns != 0,
		           .has_total = c->answered_ns >= c->received_ns && c->answered_ns != 0 };
	if (s.has_held)
		s.held_ns = c->forwarded_ns - c->received_ns;
	if (s.has_total)
		s.total_ns = c->answered_ns - c->received_ns;
	if (s.has_held && s.has_total && c->answered_ns >= c->forwarded_ns)
		s.target_ns = c->answered_ns - c->forwarded_ns;
	return s;
}

const char *view_kind_name(enum view_kind kind) {
	switch (kind) {
	case VIEW_QUERY:
		return "query";
	case VIEW_EXECUTE:
		return "execute";
	case VIEW_FUNCTION:
		return "function";
	}
	return "?";
}

const char *view_status_name(enum view_status status) {
	switch (status) {
	case VIEW_OK:
		return "ok";
	case VIEW_FAILED:
		return "failed";
	case VIEW_SUSPENDED:
		return "suspended";
	case VIEW_SKIPPED:
		return "skipped";
	case VIEW_UNANSWERED:
		return "unanswered";
	}
	return "?";
}

/* ---- who, what, when ---- */

static void put_word(struct buf *b, const char *before, struct str s) {
	if (s.n == 0)
		return;
	w_bytes(b, str_of(before));
	text_safe(b, s, TEXT_LINE);
}

void head_brief(struct buf *b, const json_t *about) {
	const json_t *open = json_object_get(about, "open_frame");
	const json_t *who = json_object_get(open, "who");
	const json_t *target = json_object_get(open, "target");
	text_safe(b, json_text(about, "id"), TEXT_LINE);
	put_word(b, "  ", json_text(about, "opened"));
	put_word(b, "  ", json_text(about, "protocol"));
	put_word(b, " ", json_text(about, "connection"));
	put_word(b, " as ", json_text(about, "role"));
	put_word(b, " (", json_text(target, "user"));
	put_word(b, "@", json_text(target, "database"));
	w_bytes(b, json_text(target, "user").n > 0 ? STR(")\n") : STR("\n"));
	if (json_text(who, "subject").n == 0)
		return;
	put_word(b, "", json_text(who, "kind"));
	put_word(b, " ", json_text(who, "subject"));
	put_word(b, " on behalf of ", json_text(who, "on_behalf_of"));
	if (json_text(who, "on_behalf_of").n > 0)
		w_bytes(b, json_is_true(json_object_get(who, "on_behalf_of_verified"))
		                   ? STR(" (verified)")
		                   : STR(" (claimed)"));
	put_word(b, ", run ", json_text(who, "run"));
	w_u8(b, '\n');
}

static void fact(struct buf *b, const char *name, struct str value) {
	w_fmt(b, "%-14s ", name);
	text_safe(b, value, TEXT_LINE);
	w_u8(b, '\n');
}

static void fact_text(struct buf *b, const char *name, const json_t *doc, const char *key) {
	if (json_text(doc, key).n > 0)
		fact(b, name, json_text(doc, key));
}

/* Members as "a=1 b=2", elements as "a, b". */
static void fact_list(struct buf *b, const char *name, const json_t *v, const char *tail) {
	struct buf line;
	const char *key;
	json_t *item;
	size_t idx;
	buf_init(&line, MIB);
	if (json_is_array(v)) {
		json_array_foreach(v, idx, item)
			w_fmt(&line, "%s%s", idx > 0 ? ", " : "",
		              json_is_string(item) ? json_string_value(item) : "?");
	} else {
		json_object_foreach((json_t *)(uintptr_t)v, key, item)
			w_fmt(&line, "%s%s=%s", line.len > 0 ? " " : "", key,
		              json_is_string(item) ? json_string_value(item) : "?");
	}
	if (line.len > 0) {
		w_bytes(&line, str_of(tail));
		fact(b, name, buf_peek(&line));
	}
	buf_fini(&line);
}

static void facts_who(struct buf *b, const json_t *open) {
	const json_t *who = json_object_get(open, "who");
	bool is_verified = json_is_true(json_object_get(who, "on_behalf_of_verified"));
	bool is_claimed = !json_is_true(json_object_get(open, "context_verified"));
	fact_text(b, "who", who, "subject");
	fact_text(b, "kind", who, "kind");
	fact_list(b, "groups", json_object_get(who, "groups"), "");
	if (json_text(who, "on_behalf_of").n > 0) {
		auto_free char *text = xasprintf("%.*s (%s)",
		                                 STR_ARG(json_text(who, "on_behalf_of")),
		                                 is_verified ? "verified" : "claimed");
		fact(b, "on behalf of", str_of(text));
	}
	fact_text(b, "run", who, "run");
	fact_list(b, "context", json_object_get(open, "context"),
	          is_claimed ? "  (claimed)" : "  (verified)");
	fact_text(b, "email", who, "email");
	fact_text(b, "issuer", who, "issuer");
	fact_text(b, "issuer key", who, "key_id");
	fact_text(b, "credential", who, "credential");
}

/* "SCRAM-SHA-256-PLUS, bound to TLS"; records of older versions do not say. */
static void facts_proof(struct buf *b, const json_t *open) {
	const json_t *proof = json_object_get(open, "proof");
	struct str method = json_text(proof, "method"), mechanism = json_text(proof, "mechanism");
	if (method.n == 0)
		return;
	bool is_bound = str_is(json_text(proof, "channel_binding"), "tls-server-end-point");
	auto_free char *text = xasprintf("%.*s%s", STR_ARG(mechanism.n > 0 ? mechanism : method),
	                                 is_bound ? ", bound to TLS" : "");
	fact(b, "proof", str_of(text));
	fact_text(b, "key id", proof, "key_id");
}

static void facts_where(struct buf *b, const json_t *open) {
	const json_t *client = json_object_get(open, "client");
	const json_t *target = json_object_get(open, "target");
	const json_t *policy = json_object_get(open, "policy");
	fact_text(b, "connection", open, "connection");
	fact_list(b, "labels", json_object_get(open, "labels"), "");
	fact_text(b, "role", open, "role");
	fact_text(b, "client", client, "address");
	fact_text(b, "client tls", client, "tls");
	fact_text(b, "server name", client, "server_name");
	fact_text(b, "routed by", client, "routed_by");
	fact_text(b, "application", client, "application");
	fact_text(b, "target", target, "address");
	fact_text(b, "target user", target, "user");
	fact_text(b, "database", target, "database");
	fact_text(b, "tls asked for", target, "tls");
	fact_text(b, "recorded", policy, "results");
	fact_text(b, "durable", policy, "durable");
	fact_text(b, "hygiene", policy, "hygiene");
	fact_text(b, "snapshot", policy, "snapshot");
}

static void fact_count(struct buf *b, const char *name, const json_t *doc, const char *key) {
	const json_t *v = json_object_get(doc, key);
	char text[32];
	if (!json_is_integer(v))
		return;
	(void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
	fact(b, name, str_of(text));
}

/* What the client said about itself; nobody verified it. */
static void facts_claimed(struct buf *b, const json_t *learnt) {
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)(uintptr_t)learnt, name, v) {
		char text[64];
		struct str claim = str_of(name);
		if (!str_starts(claim, STR("claim.")))
			continue;
		(void)snprintf(text, sizeof(text), "claimed %.*s",
		               (int)MIN(claim.n - 6, (size_t)40), name + 6);
		fact(b, text, json_text(learnt, name));
	}
}

/* The upstream principal, as far as the target said who it is. */
static void facts_learnt(struct buf *b, const json_t *learnt) {
	fact_text(b, "target tls", learnt, "target_tls");
	fact_text(b, "certificate", learnt, "target_cert_sha256");
	fact_text(b, "target login", learnt, "target_login");
	fact_text(b, "backend pid", learnt, "backend_pid");
	fact_text(b, "server version", learnt, "server_version");
	fact_text(b, "protocol is", learnt, "protocol");
	facts_claimed(b, learnt);
	fact_text(b, "login error", learnt, "login_error");
	fact_text(b, "violation", learnt, "client_violation");
	fact_text(b, "violation", learnt, "target_violation");
}

void head_facts(struct buf *b, const json_t *about, const json_t *learnt) {
	const json_t *open = json_object_get(about, "open_frame");
	const json_t *end = json_object_get(about, "close_frame");
	fact_text(b, "session", about, "id");
	fact_text(b, "sid", about, "sid");
	fact_text(b, "protocol", about, "protocol");
	facts_who(b, open);
	facts_proof(b, open);
	facts_where(b, open);
	if (learnt != NULL)
		facts_learnt(b, learnt);
	fact_text(b, "opened", about, "opened");
	if (json_is_true(json_object_get(about, "open")))
		fact(b, "closed", STR("no: open, or ended with its gateway"));
	else
		fact_text(b, "closed", about, "closed");
	fact_text(b, "reason", end, "reason");
	fact_count(b, "code", end, "code");
	fact_count(b, "commands", about, "commands");
	fact_count(b, "events", about, "events");
	fact_count(b, "frames", about, "frames");
	fact_count(b, "bytes", about, "bytes");
	if (json_is_true(json_object_get(about, "gap")))
		fact(b, "gap", STR("yes: part of the record was lost, and the record says so"));
	if (json_is_true(json_object_get(about, "recovered")))
		fact(b, "recovered", STR("yes: closed by the next start of the gateway"));
}
