/*
 * oidc.c: issuers, their keys and the verdict on tokens (oidc.h).
 *
 * A token is tried against every issuer's keys before anything of it but the header is read: which
 * issuer it claims to be of stands in its claims, and those are looked at only once one issuer's key
 * has verified. The claim `iss` must then be that issuer. Only when no key fits are issuers asked
 * for new ones, so tokens of one issuer never make another be asked.
 *
 * States of an issuer: no keys and a fetch under way (admissions wait); keys in their time; keys
 * beyond their time, being refreshed; kept keys while the issuer is down (logged once, then again
 * when it is back); none (an alarm: nobody of this issuer is admitted).
 */
#include "keeper/oidc.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"

#define LIFE_MIN_NS (5 * 60 * NS_PER_S)
#define LIFE_MAX_NS (24 * 3600 * NS_PER_S)
#define LIFE_USUAL_NS (3600 * NS_PER_S)
#define DISCOVERY_NS (24 * 3600 * NS_PER_S) /* where the keys are is asked again after that */
#define UNKNOWN_KEY_NS (60 * NS_PER_S)      /* between fetches for keys that nobody has */
#define NO_KEYS_NS (5 * NS_PER_S)           /* between fetches while there are none */
#define RETRY_MIN_NS (15 * NS_PER_S)        /* after a failure, doubled each time */
#define RETRY_MAX_NS (300 * NS_PER_S)
#define ANSWER_NS ((OIDC_FETCH_MS + 4000) * NS_PER_MS)

enum step { STEP_DISCOVERY, STEP_KEYS };

struct issuer {
	const struct config_issuer *conf;
	struct str ca_pem;
	char *name;               /* how it is known again at a reload: issuer, jwks.url */
	char *jwks_url;           /* from discovery */
	struct jwks *keys;        /* fetched */
	const struct jwks *fixed; /* from a file; nothing is fetched then */
	uint64_t discovered_ns;
	uint64_t life_ns; /* of the keys, from fetched_ns on */
	uint64_t fetched_ns;
	uint64_t refresh_ns; /* 0: no fetch is planned */
	uint64_t asked_ns;   /* the newest fetch began; 0: never */
	uint64_t anew_ns;    /* so did the newest whose reason was an unknown key; 0: never */
	uint64_t fetch_id;   /* under way; 0: none */
	uint64_t fetch_due_ns;
	enum step step;
	unsigned failures; /* in a row */
	char why[160];     /* the newest failure */
};

struct oidc {
	oidc_fetch_fn *fetch;
	void *arg;
	uint64_t next_id;
	struct issuer v[CONFIG_ISSUERS_MAX];
	size_t n;
};

struct oidc *oidc_new(oidc_fetch_fn *fetch, void *arg) {
	struct oidc *o = xcalloc(1, sizeof(*o));

	/* No answer to an earlier keeper's question fits. */
	random_bytes(&o->next_id, sizeof(o->next_id) - 2);
	o->fetch = fetch;
	o->arg = arg;
	return o;
}

static void issuer_fini(struct issuer *s) {
	free(s->name);
	free(s->jwks_url);
	jwks_free(&s->keys);
	*s = (struct issuer){ 0 };
}

void oidc_free(struct oidc **op) {
	struct oidc *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	for (size_t i = 0; i < o->n; i++)
		issuer_fini(&o->v[i]);
	free(o);
}

static const struct jwks *keys_of(const struct issuer *s) {
	return s->fixed != NULL ? s->fixed : s->keys;
}

/* ---- fetching ---- */

static void ask(struct oidc *o, struct issuer *s, enum step step, uint64_t now) {
	struct str issuer = s->conf->issuer;
	auto_free char *url = NULL;

	while (issuer.n != 0 && issuer.p[issuer.n - 1] == '/')
		issuer.n--;
	if (step == STEP_DISCOVERY)
		url = xasprintf("%.*s/.well-known/openid-configuration", STR_ARG(issuer));
	else
		url = str_dup(s->conf->jwks_url.n != 0 ? s->conf->jwks_url : str_of(s->jwks_url));
	s->step = step;
	s->fetch_id = ++o->next_id;
	s->fetch_due_ns = now + ANSWER_NS;
	struct oidc_fetch f = { .id = s->fetch_id, .url = str_of(url), .ca_pem = s->ca_pem };

	o->fetch(o->arg, &f);
}

static void refresh(struct oidc *o, struct issuer *s, uint64_t now) {
	bool knows_where = s->conf->jwks_url.n != 0 || (s->jwks_url != NULL && s->failures == 0 &&
	                                                now < s->discovered_ns + DISCOVERY_NS);

	if (s->fetch_id != 0 || s->fixed != NULL)
		return;
	s->asked_ns = now;
	ask(o, s, knows_where ? STEP_KEYS : STEP_DISCOVERY, now);
}

static void failed(struct issuer *s, uint64_t now, const char *why) {
	uint64_t wait = RETRY_MIN_NS << MIN(s->failures, 5U);

	s->fetch_id = 0;
	s->refresh_ns = now + MIN(wait, RETRY_MAX_NS);
	(void)snprintf(s->why, sizeof(s->why), "%s", why);
	if (s->failures++ == 0)
		log_line(s->keys != NULL ? LOG_WARN : LOG_ALARM,
		         s->keys != NULL ? "keeper.oidc.keys_kept" : "keeper.oidc.no_keys",
		         (const struct kv[]){ kv_str("issuer", s->conf->issuer),
		                              kv_z("reason", s->why) },
		         2);
	else
		log_debug("keeper.oidc.fetch_failed", kv_str("issuer", s->conf->issuer),
		          kv_z("reason", s->why));
}

/* Where the keys are, of a document that is really the issuer's. NULL with why. */
static char *discovery_read(const struct issuer *s, struct str body, char why[160]) {
	json_t *doc = json_loadb(body.p != NULL ? body.p : "", body.n, JSON_REJECT_DUPLICATES,
	                         NULL);
	const char *issuer = json_string_value(json_object_get(doc, "issuer"));
	const char *uri = json_string_value(json_object_get(doc, "jwks_uri"));
	struct config_url u;
	const char *wrong = NULL;
	char *out = NULL;

	if (issuer == NULL || uri == NULL)
		(void)snprintf(why, 160, "the discovery document has no issuer or jwks_uri");
	else if (!str_is(s->conf->issuer, issuer))
		(void)snprintf(why, 160, "the discovery document is of another issuer: %.80s",
		               issuer);
	else if (config_url_parse(&u, str_of(uri), &wrong) < 0)
		(void)snprintf(why, 160, "jwks_uri %s", wrong);
	else if (!u.is_https && str_starts(s->conf->issuer, STR("https://")))
		(void)snprintf(why, 160, "jwks_uri is http although the issuer is https");
	else
		out = str_dup(str_of(uri));
	json_decref(doc);
	return out;
}

static void discovered(struct oidc *o, struct issuer *s, struct str body, uint64_t now) {
	char why[160] = "";
	char *url = discovery_read(s, body, why);

	if (url == NULL) {
		failed(s, now, why);
		return;
	}
	free(s->jwks_url);
	s->jwks_url = url;
	s->discovered_ns = now;
	ask(o, s, STEP_KEYS, now);
}

static void keys_came(struct issuer *s, const struct oidc_answer *a, uint64_t now) {
	uint64_t life = a->max_age_s != 0 ? a->max_age_s * NS_PER_S : LIFE_USUAL_NS;
	struct err e = { 0 };
	struct jwks *keys = jwks_parse(a->body, &e);

	if (keys == NULL) {
		failed(s, now, e.text);
		return;
	}
	if (s->failures != 0 || s->keys == NULL)
		log_info("keeper.oidc.keys", kv_str("issuer", s->conf->issuer),
		         kv_uint("keys", jwks_count(keys)));
	jwks_free(&s->keys);
	s->keys = keys;
	s->fetch_id = 0;
	s->failures = 0;
	s->why[0] = '\0';
	s->fetched_ns = now;
	s->life_ns = MAX(LIFE_MIN_NS, MIN(life, LIFE_MAX_NS));
	s->refresh_ns = now + s->life_ns / 4 * 3;
}

bool oidc_fetched(struct oidc *o, const struct oidc_answer *a, uint64_t now_ns) {
	struct issuer *s = NULL;
	char why[160];

	for (size_t i = 0; i < o->n; i++) {
		if (a->id != 0 && o->v[i].fetch_id == a->id)
			s = &o->v[i];
	}
	if (s == NULL)
		return false;
	const char *what = s->step == STEP_KEYS ? "key set" : "discovery document";

	if (a->code < 0) {
		(void)snprintf(why, sizeof(why), "%s: %.*s", what, (int)MIN(a->text.n, (size_t)120),
		               a->text.n != 0 ? a->text.p : "");
		failed(s, now_ns, why);
	} else if (a->status != 200) {
		(void)snprintf(why, sizeof(why), "%s: HTTP status %u", what, a->status);
		failed(s, now_ns, why);
	} else if (s->step == STEP_DISCOVERY) {
		discovered(o, s, a->body, now_ns);
	} else {
		keys_came(s, a, now_ns);
	}
	return s->fetch_id == 0;
}

/* ---- time ---- */

static void keys_expire(struct issuer *s, uint64_t now) {
	if (s->keys == NULL || now < s->fetched_ns + s->life_ns + s->conf->keys_keep_ns)
		return;
	log_alarm("keeper.oidc.no_keys", kv_str("issuer", s->conf->issuer),
	          kv_z("reason", s->why[0] != '\0' ? s->why : "they are too old"));
	jwks_free(&s->keys);
}

bool oidc_beat(struct oidc *o, uint64_t now_ns) {
	bool is_over = false;

	for (size_t i = 0; i < o->n; i++) {
		struct issuer *s = &o->v[i];

		if (s->fetch_id != 0 && now_ns >= s->fetch_due_ns) {
			failed(s, now_ns, "no answer in time");
			is_over = true;
		}
		keys_expire(s, now_ns);
		if (s->refresh_ns != 0 && now_ns >= s->refresh_ns)
			refresh(o, s, now_ns);
	}
	return is_over;
}

void oidc_fetcher_gone(struct oidc *o, uint64_t now_ns) {
	for (size_t i = 0; i < o->n; i++) {
		struct issuer *s = &o->v[i];

		if (s->fetch_id == 0)
			continue;
		s->fetch_id = 0;
		s->refresh_ns = now_ns + NS_PER_S;
	}
}

/* ---- configuration ---- */

static char *name_of(const struct config_issuer *c) {
	return xasprintf("%.*s %.*s", STR_ARG(c->issuer), STR_ARG(c->jwks_url));
}

/* The same issuer of the configuration before, taken out of it; or a new one. */
static struct issuer issuer_take(struct oidc *o, const struct config_issuer *c) {
	struct issuer out = { .name = name_of(c) };

	for (size_t i = 0; i < o->n; i++) {
		struct issuer *old = &o->v[i];

		if (old->name == NULL || strcmp(old->name, out.name) != 0)
			continue;
		free(out.name);
		out = *old;
		*old = (struct issuer){ 0 };
		return out;
	}
	return out;
}

void oidc_use(struct oidc *o, const struct config *c, const struct oidc_files *files,
              uint64_t now_ns) {
	auto_free struct issuer *next = xcalloc(CONFIG_ISSUERS_MAX, sizeof(*next));
	size_t n = 0;

	for (const struct config_issuer *conf = c->gateway.issuers; conf != NULL;
	     conf = conf->next, n++) {
		assert(n < files->n && n < CONFIG_ISSUERS_MAX);
		struct issuer s = issuer_take(o, conf);

		s.conf = conf;
		s.ca_pem = str_of(files->v[n].ca_pem);
		s.fixed = files->v[n].keys;
		if (s.fixed != NULL) {
			s.fetch_id = 0;
			s.refresh_ns = 0;
			jwks_free(&s.keys);
		}
		next[n] = s;
	}
	for (size_t i = 0; i < o->n; i++)
		issuer_fini(&o->v[i]);
	memcpy(o->v, next, sizeof(o->v));
	o->n = n;
	for (size_t i = 0; i < n; i++) {
		/* After a change a failing issuer is tried at once: perhaps that was the change. */
		if (o->v[i].keys == NULL || o->v[i].failures != 0)
			refresh(o, &o->v[i], now_ns);
	}
}

void oidc_each(const struct oidc *o, void (*fn)(void *arg, const struct oidc_state *s), void *arg) {
	for (size_t i = 0; i < o->n; i++) {
		const struct issuer *s = &o->v[i];
		struct oidc_state state = { .issuer = s->conf->issuer,
			                    .name = s->conf->name,
			                    .keys = keys_of(s) != NULL ? jwks_count(keys_of(s)) : 0,
			                    .is_failing = s->failures != 0,
			                    .why = s->why };

		fn(arg, &state);
	}
}

/* ---- the verdict ---- */

struct trial {
	struct oidc *o;
	struct jwt jwt;
	struct claims *claims;
	struct issuer *found;   /* whose key verified and who the token says it is of */
	bool is_signed;         /* some issuer's key verified */
	enum token_wrong wrong; /* the most telling failure so far */
	struct err e;
};

/* A wrong signature tells more than a key that is not there. */
static void remember(struct trial *t, enum token_wrong wrong, const struct err *e) {
	static const int weight[TOKEN_WRONG_COUNT] = {
		[TOKEN_KEY_UNKNOWN] = 1, [TOKEN_ALGORITHM] = 2, [TOKEN_SIGNATURE] = 3,
		[TOKEN_ISSUER] = 4,      [TOKEN_CLAIMS] = 5,
	};

	if (t->wrong != TOKEN_FINE && weight[wrong] <= weight[t->wrong])
		return;
	t->wrong = wrong;
	t->e = *e;
}

static void try_issuer(struct trial *t, struct issuer *s) {
	struct err e = { 0 };

	if (keys_of(s) == NULL)
		return;
	enum token_wrong wrong = jwks_verify(keys_of(s), &t->jwt, &e);

	if (wrong == TOKEN_FINE) {
		t->is_signed = true;
		if (t->claims == NULL)
			t->claims = claims_parse(&t->jwt, &e);
		if (t->claims == NULL)
			wrong = TOKEN_CLAIMS;
		else if (str_eq(claims_issuer(t->claims), s->conf->issuer))
			t->found = s;
		else
			wrong = token_wrong(&e, TOKEN_ISSUER,
			                    "it is signed by %.*s but says to be of %.*s",
			                    (int)MIN(s->conf->name.n, (size_t)64), s->conf->name.p,
			                    (int)MIN(claims_issuer(t->claims).n, (size_t)100),
			                    claims_issuer(t->claims).n != 0
			                            ? claims_issuer(t->claims).p
			                            : "");
	}
	if (wrong != TOKEN_FINE)
		remember(t, wrong, &e);
}

/* Nobody's key fits: perhaps an issuer has a new one. True when a fetch is under way. Other fetches do
 * not count for the minute: keys may rotate right after one. */
static bool ask_anew(struct trial *t, uint64_t now) {
	bool is_asked = false;

	for (size_t i = 0; i < t->o->n; i++) {
		struct issuer *s = &t->o->v[i];
		uint64_t last = s->keys != NULL ? s->anew_ns : s->asked_ns;
		uint64_t pause = s->keys != NULL ? UNKNOWN_KEY_NS : NO_KEYS_NS;

		if (s->fetch_id == 0 && (last == 0 || now >= last + pause)) {
			s->anew_ns = s->keys != NULL ? now : s->anew_ns;
			refresh(t->o, s, now);
		}
		is_asked = is_asked || s->fetch_id != 0;
	}
	return is_asked;
}

/* The first issuer without keys, or whose keys could not be renewed; NULL: all is well. */
static const struct issuer *failing(const struct oidc *o, bool without_keys) {
	for (size_t i = 0; i < o->n; i++) {
		const struct issuer *s = &o->v[i];

		if (without_keys ? keys_of(s) == NULL : s->failures != 0)
			return s;
	}
	return NULL;
}

static enum oidc_verdict no_key(struct trial *t, uint64_t now, struct oidc_proof *ret) {
	if (ask_anew(t, now)) {
		ret->wrong = TOKEN_KEY_UNKNOWN;
		(void)err_set(&ret->e, H_ETIMEOUT, "the issuer's keys did not come in time");
		return OIDC_WAIT;
	}
	const struct issuer *s = failing(t->o, true);

	if (s == NULL)
		s = failing(t->o, false);
	ret->wrong = TOKEN_KEY_UNKNOWN;
	if (s != NULL) {
		(void)err_set(&ret->e, H_EREFUSED, "%.*s: %s",
		              (int)MIN(s->conf->name.n, (size_t)64), s->conf->name.p,
		              s->why[0] != '\0' ? s->why : "no keys yet");
		return OIDC_NO_KEYS;
	}
	ret->e = t->e;
	return OIDC_WRONG;
}

static enum oidc_verdict judge(const struct trial *t, uint64_t now_wall, struct arena *arena,
                               struct who *who, struct oidc_proof *ret) {
	struct str kid = t->jwt.kid;

	ret->wrong = claims_check(t->claims, t->found->conf, now_wall, &ret->expires_wall_ns,
	                          &ret->e);
	if (ret->wrong == TOKEN_FINE)
		ret->wrong = claims_map(t->claims, t->found->conf, arena, who, &ret->e);
	who->key_id = kid;
	who->proof_expires_wall_ns = ret->expires_wall_ns;
	return ret->wrong == TOKEN_FINE ? OIDC_PROVEN : OIDC_WRONG;
}

enum oidc_verdict oidc_prove(struct oidc *o, struct str token, uint64_t now_wall_ns,
                             uint64_t now_ns, struct arena *arena, struct who *who,
                             struct oidc_proof *ret) {
	struct trial t = { .o = o };
	enum oidc_verdict verdict = OIDC_WRONG;

	*ret = (struct oidc_proof){ 0 };
	ret->wrong = jwt_parse(&t.jwt, arena, token, &ret->e);
	if (ret->wrong != TOKEN_FINE)
		return OIDC_WRONG;
	for (size_t i = 0; i < o->n && t.found == NULL; i++)
		try_issuer(&t, &o->v[i]);
	if (t.found != NULL) {
		verdict = judge(&t, now_wall_ns, arena, who, ret);
	} else if (t.wrong == TOKEN_FINE || t.wrong == TOKEN_KEY_UNKNOWN) {
		verdict = no_key(&t, now_ns, ret);
	} else {
		ret->wrong = t.wrong;
		ret->e = t.e;
	}
	claims_free(&t.claims);
	return verdict;
}
