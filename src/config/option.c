/*
 * option.c: the rows of the option table and how text becomes a value.
 *
 * One setter per type, in a table; the walker uses it for values of the file and for defaults, so a
 * default that its own range refuses aborts the first test. Sentences say what is allowed and never
 * repeat the value, because a password may stand in the wrong place.
 */
#include "config/config_priv.h"

#include "base/clock.h"

#define OWNER_STRUCT_G struct config_gateway
#define OWNER_STRUCT_I struct config_issuer
#define OWNER_STRUCT_M struct config_mapping
#define OWNER_STRUCT_C struct config_connection
#define OWNER_STRUCT_R struct config_role
#define OWNER_STRUCT_A struct config_access

const struct option options[OPT_COUNT] = {
#define X(ident, who, where, kind, member, limits, preset, when, text) \
	[OPT_##ident] = { .id = #ident, \
		          .owner = OWNER_##who, \
		          .path = (where), \
		          .type = TYPE_##kind, \
		          .offset = OFFSET_##kind(OWNER_STRUCT_##who, member), \
		          .range = (limits), \
		          .def = (preset), \
		          .effect = EFFECT_##when, \
		          .help = (text) },
#define OFFSET_CONST(s, m) 0
#define OFFSET_NAME(s, m) offsetof(s, m)
#define OFFSET_TEXT(s, m) offsetof(s, m)
#define OFFSET_TEXTS(s, m) offsetof(s, m)
#define OFFSET_LABELS(s, m) offsetof(s, m)
#define OFFSET_PATH(s, m) offsetof(s, m)
#define OFFSET_ADDRESS(s, m) offsetof(s, m)
#define OFFSET_TARGET(s, m) offsetof(s, m)
#define OFFSET_ENUM(s, m) offsetof(s, m)
#define OFFSET_INT(s, m) offsetof(s, m)
#define OFFSET_SIZE(s, m) offsetof(s, m)
#define OFFSET_DURATION(s, m) offsetof(s, m)
#define OFFSET_FLAG(s, m) offsetof(s, m)
#define OFFSET_SECRET(s, m) offsetof(s, m)
#define OFFSET_URL(s, m) offsetof(s, m)
#define OFFSET_TEMPLATE(s, m) offsetof(s, m)
#define OFFSET_TEMPLATES(s, m) offsetof(s, m)
#define OFFSET_CLAIMS(s, m) offsetof(s, m)
#define OFFSET_DEPTH(s, m) offsetof(s, m)
	CONFIG_OPTIONS(X)
#undef X
};

const char *opt_type_name(enum opt_type type) {
	static const char *const names[TYPE_COUNT] = {
		[TYPE_CONST] = "constant",
		[TYPE_NAME] = "name",
		[TYPE_TEXT] = "text",
		[TYPE_TEXTS] = "list of texts",
		[TYPE_LABELS] = "mapping",
		[TYPE_PATH] = "path",
		[TYPE_ADDRESS] = "address",
		[TYPE_TARGET] = "target address",
		[TYPE_ENUM] = "choice",
		[TYPE_INT] = "number",
		[TYPE_SIZE] = "size",
		[TYPE_DURATION] = "duration",
		[TYPE_FLAG] = "{}",
		[TYPE_SECRET] = "secret reference",
		[TYPE_URL] = "URL",
		[TYPE_TEMPLATE] = "template",
		[TYPE_CLAIMS] = "claims",
		[TYPE_TEMPLATES] = "template or list of templates",
		[TYPE_DEPTH] = "choice, or { head: N }",
	};

	return names[type];
}

size_t owner_prefix(enum opt_owner owner) {
	switch (owner) {
	case OWNER_I:
		return sizeof("spec.identity.oidc[]");
	case OWNER_M:
		return sizeof("spec.identity.oidc[].mappings[]");
	case OWNER_R:
		return sizeof("spec.roles.*");
	case OWNER_A:
		return sizeof("spec.access[]");
	case OWNER_G:
	case OWNER_C:
		break;
	}
	return 0;
}

bool config_name_ok(struct str name) {
	if (name.n == 0 || name.n > CONFIG_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
			return false;
	}
	return true;
}

bool is_near(struct str a, struct str b) {
	size_t longer = MAX(a.n, b.n);
	size_t d = str_distance(a, b);

	return d != 0 && d <= MAX((size_t)2, longer / 3) && d < longer;
}

struct str nearest_choice(const char *choices, struct str text) {
	struct str rest = str_of(choices), best = STR_NONE;
	size_t best_d = SIZE_MAX;

	while (rest.n != 0) {
		struct str one = str_cut(&rest, '|');
		size_t d = str_distance(one, text);

		if (is_near(one, text) && d < best_d) {
			best = one;
			best_d = d;
		}
	}
	return best;
}

int config_size_parse(struct str s, uint64_t *ret) {
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = { { "TiB", 40 }, { "GiB", 30 }, { "MiB", 20 },
		      { "KiB", 10 }, { "B", 0 },    { "", 0 } };
	uint64_t v;

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		struct str unit = str_of(units[i].unit);

		if (s.n <= unit.n || !str_eq(str_from(s, s.n - unit.n), unit))
			continue;
		if (str_u64(str_trim(str_head(s, s.n - unit.n)), UINT64_MAX >> units[i].shift, &v) <
		    0)
			return H_EFORMAT;
		*ret = v << units[i].shift;
		return 0;
	}
	return H_EFORMAT;
}

void config_size_text(char *out, size_t cap, uint64_t n) {
	static const char *const units[] = { "", "KiB", "MiB", "GiB", "TiB" };
	size_t u = 0;

	while (n != 0 && n % 1024 == 0 && u + 1 < ARRAY_LEN(units)) {
		n /= 1024;
		u++;
	}
	(void)snprintf(out, cap, "%llu%s", (unsigned long long)n, units[u]);
}

/* ---- one setter per type ---- */

static int wrong(struct opt_set *s, const char *text) {
	(void)snprintf(s->why, sizeof(s->why), "%s", text);
	return H_ECONFIG;
}

static int out_of_range(struct opt_set *s, const struct option *o) {
	struct str rest = str_of(o->range);
	size_t at = strcspn(o->range, ".");

	(void)snprintf(s->why, sizeof(s->why), "must be a %s from %.*s to %s",
	               opt_type_name(o->type), (int)at, rest.p, o->range + at + 2);
	return H_ECONFIG;
}

static int store_text(struct opt_set *s, struct str text, void *dst) {
	struct str copy = arena_str(s->arena, text);

	if (copy.p == NULL)
		return wrong(s, "the configuration is too large");
	*(struct str *)dst = copy;
	return 0;
}

static bool is_printable(struct str text) {
	for (size_t i = 0; i < text.n; i++) {
		if ((uint8_t)text.p[i] < 0x20 || text.p[i] == 0x7f)
			return false;
	}
	return true;
}

static int set_const(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	(void)dst;
	if (str_is(text, o->range))
		return 0;
	(void)snprintf(s->why, sizeof(s->why), "must be %s", o->range);
	return H_ECONFIG;
}

static int set_name(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	(void)o;
	if (!config_name_ok(text))
		return wrong(s, "a name has 1 to 32 of the characters a-z, 0-9 and -");
	return store_text(s, text, dst);
}

static int set_text(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	struct str rest = str_of(o->range);
	size_t dots = str_find(rest, '.');
	uint64_t high = 0;

	if (str_u64(str_from(rest, dots + 2), YAML_SCALAR_MAX, &high) < 0)
		return H_EBUG;
	if (text.n == 0 || text.n > high || !is_printable(text))
		return out_of_range(s, o);
	return store_text(s, text, dst);
}

static int set_template(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	if (!config_template_ok(text))
		return wrong(s, "must be text with claims in braces: \"devin/{devin_id}\"");
	return set_text(s, o, text, dst);
}

static int set_url(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	struct config_url u;
	const char *why = NULL;

	(void)o;
	return config_url_parse(&u, text, &why) < 0 ? wrong(s, why) : store_text(s, text, dst);
}

static int set_path(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	char full[4096];

	(void)o;
	if (text.n == 0 || !is_printable(text))
		return wrong(s, "must be a path");
	if (text.p[0] == '/')
		return store_text(s, text, dst);
	while (str_starts(text, STR("./")))
		text = str_from(text, 2);
	int n = snprintf(full, sizeof(full), "%.*s/%.*s", STR_ARG(s->dir), STR_ARG(text));

	if (n < 0 || (size_t)n >= sizeof(full))
		return wrong(s, "the path is too long");
	return store_text(s, str_mem(full, (size_t)n), dst);
}

static int set_address(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	struct config_address a;
	const char *why = NULL;

	if (config_address_parse(&a, text, &why) < 0)
		return wrong(s, why);
	if (o->type == TYPE_ADDRESS && a.kind == ADDRESS_UNIX)
		return wrong(s, "clients connect by TCP: host:port or \"[v6]:port\"");
	return store_text(s, text, dst);
}

static int set_enum(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	struct str rest = str_of(o->range);

	for (uint32_t i = 0; rest.n != 0; i++) {
		if (str_eq(str_cut(&rest, '|'), text)) {
			*(uint32_t *)dst = i;
			return 0;
		}
	}
	(void)snprintf(s->why, sizeof(s->why), "must be one of: %s", o->range);
	s->nearest = nearest_choice(o->range, text);
	return H_ECONFIG;
}

/* The choices leave out head, which has a number and is a mapping (walk.c). */
static int set_depth(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	static const uint32_t kinds[] = { CONFIG_DEPTH_FULL, CONFIG_DEPTH_DIGEST,
		                          CONFIG_DEPTH_NONE };
	uint32_t choice = 0;

	if (set_enum(s, o, text, &choice) < 0) {
		(void)snprintf(s->why, sizeof(s->why),
		               "must be one of: full, { head: N }, digest, none");
		return H_ECONFIG;
	}
	*(struct config_depth *)dst = (struct config_depth){ .kind = kinds[choice] };
	return 0;
}

/* The two ends of "low..high", read by the type's own parser. */
static int number_parse(enum opt_type type, struct str text, uint64_t *ret) {
	if (type == TYPE_SIZE)
		return config_size_parse(text, ret);
	if (type == TYPE_DURATION)
		return duration_parse(text, ret);
	return str_u64(text, UINT32_MAX, ret);
}

static int set_number(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	struct str range = str_of(o->range);
	size_t dots = str_find(range, '.');
	uint64_t v, low, high;

	if (number_parse(o->type, str_head(range, dots), &low) < 0 ||
	    number_parse(o->type, str_from(range, dots + 2), &high) < 0)
		return H_EBUG;
	if (number_parse(o->type, text, &v) < 0 || v < low || v > high)
		return out_of_range(s, o);
	if (o->type == TYPE_INT)
		*(uint32_t *)dst = (uint32_t)v;
	else
		*(uint64_t *)dst = v;
	return 0;
}

static int set_structured(struct opt_set *s, const struct option *o, struct str text, void *dst) {
	(void)text;
	(void)dst;
	switch (o->type) {
	case TYPE_TEXTS:
		return wrong(s, "must be a list: [a, b]");
	case TYPE_FLAG:
		return wrong(s, "must be an empty mapping: {}");
	case TYPE_SECRET:
		return wrong(s, "a password does not stand in the configuration: refer to it as "
		                "{ env: NAME } or { file: PATH }");
	case TYPE_CLAIMS:
		return wrong(s, "must be a mapping of claims to values: { org_id: org-abc }");
	case TYPE_LABELS:
	case TYPE_CONST:
	case TYPE_NAME:
	case TYPE_TEXT:
	case TYPE_PATH:
	case TYPE_ADDRESS:
	case TYPE_TARGET:
	case TYPE_ENUM:
	case TYPE_INT:
	case TYPE_SIZE:
	case TYPE_DURATION:
	case TYPE_URL:
	case TYPE_TEMPLATE:
	case TYPE_TEMPLATES:
	case TYPE_DEPTH:
	case TYPE_COUNT:
		break;
	}
	return wrong(s, "must be a mapping");
}

typedef int set_fn(struct opt_set *s, const struct option *o, struct str text, void *dst);

int option_set(struct opt_set *s, const struct option *o, struct str text, void *item) {
	static set_fn *const setters[TYPE_COUNT] = {
		[TYPE_CONST] = set_const,       [TYPE_NAME] = set_name,
		[TYPE_TEXT] = set_text,         [TYPE_TEXTS] = set_structured,
		[TYPE_LABELS] = set_structured, [TYPE_PATH] = set_path,
		[TYPE_ADDRESS] = set_address,   [TYPE_TARGET] = set_address,
		[TYPE_ENUM] = set_enum,         [TYPE_INT] = set_number,
		[TYPE_SIZE] = set_number,       [TYPE_DURATION] = set_number,
		[TYPE_FLAG] = set_structured,   [TYPE_SECRET] = set_structured,
		[TYPE_URL] = set_url,           [TYPE_TEMPLATE] = set_template,
		[TYPE_CLAIMS] = set_structured, [TYPE_TEMPLATES] = set_template,
		[TYPE_DEPTH] = set_depth,
	};

	s->why[0] = '\0';
	s->nearest = STR_NONE;
	return setters[o->type](s, o, text, (char *)item + o->offset);
}

void option_defaults(struct opt_set *s, enum opt_owner owner, void *item) {
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct option *o = &options[i];

		if (o->owner != owner || o->def[0] == '\0' || o->def[0] == '!')
			continue;
		int rc = option_set(s, o, str_of(o->def), item);

		assert(rc == 0);
	}
}

struct str option_choice(enum option_id id, uint32_t i) {
	struct str rest = str_of(options[id].range), one = STR_NONE;

	for (uint32_t k = 0; k <= i; k++)
		one = str_cut(&rest, '|');
	return one;
}

struct str config_tls_name(enum config_tls mode) {
	return option_choice(OPT_C_TLS_MODE, mode);
}

struct str config_auth_name(enum config_auth auth) {
	return option_choice(OPT_R_AUTH, auth);
}

struct str config_durable_name(enum config_durable durable) {
	return option_choice(OPT_C_DURABLE, durable);
}

struct str config_hygiene_name(enum config_hygiene hygiene) {
	return option_choice(OPT_C_HYGIENE, hygiene);
}

void config_depth_text(char *out, size_t cap, const struct config_depth *d) {
	static const char *const names[] = {
		[CONFIG_DEPTH_FULL] = "full",
		[CONFIG_DEPTH_HEAD] = "head",
		[CONFIG_DEPTH_DIGEST] = "digest",
		[CONFIG_DEPTH_NONE] = "none",
	};

	if (d->kind == CONFIG_DEPTH_HEAD)
		(void)snprintf(out, cap, "head: %u", d->rows);
	else
		(void)snprintf(out, cap, "%s", names[d->kind]);
}

struct str config_protocol_name(const struct config_connection *c) {
	return option_choice(OPT_C_PROTOCOL, c->protocol);
}
