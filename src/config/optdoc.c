/*
 * optdoc.c: what the option table says to people: the effective configuration, the documentation
 * page, the manual page's section.
 *
 * config_show() prints every option of every item, defaults too, in one canonical form; its bytes
 * are hashed into snapshots, so two configurations with the same hash mean the same. Secrets
 * appear as their references only.
 */
#include "base/clock.h"
#include "base/json.h"
#include "config/config_priv.h"

static void put_quoted(struct buf *out, struct str s) {
	struct jw j = jw_of(out);

	jw_str(&j, s);
}

static void put_list(struct buf *out, const struct config_list *list) {
	w_u8(out, '[');
	for (size_t i = 0; i < list->n; i++) {
		if (i != 0)
			w_fmt(out, ", ");
		put_quoted(out, list->v[i]);
	}
	w_u8(out, ']');
}

static void put_claims(struct buf *out, const struct config_whens *when) {
	w_u8(out, '{');
	for (size_t i = 0; i < when->n; i++) {
		if (i != 0)
			w_fmt(out, ", ");
		put_quoted(out, when->v[i].claim);
		w_fmt(out, ": ");
		put_list(out, &when->v[i].values);
	}
	w_u8(out, '}');
}

static void put_labels(struct buf *out, const struct config_labels *labels) {
	w_u8(out, '{');
	for (size_t i = 0; i < labels->n; i++) {
		w_fmt(out, "%s%.*s: ", i != 0 ? ", " : "", STR_ARG(labels->v[i].key));
		put_quoted(out, labels->v[i].value);
	}
	w_u8(out, '}');
}

static void put_secret(struct buf *out, const struct config_secret *s) {
	if (s->kind == SECRET_NONE) {
		w_fmt(out, "none");
		return;
	}
	w_fmt(out, "{%s: ", s->kind == SECRET_ENV ? "env" : "file");
	put_quoted(out, s->name);
	w_u8(out, '}');
}

static void put_number(struct buf *out, const struct option *o, const void *p) {
	char text[32] = "";

	if (o->type == TYPE_SIZE)
		config_size_text(text, sizeof(text), *(const uint64_t *)p);
	else if (o->type == TYPE_DURATION)
		duration_text(text, sizeof(text), *(const uint64_t *)p);
	else
		(void)snprintf(text, sizeof(text), "%u", *(const uint32_t *)p);
	w_bytes(out, str_of(text));
}

static void put_depth(struct buf *out, const struct config_depth *d) {
	char text[32];

	config_depth_text(text, sizeof(text), d);
	w_fmt(out, d->kind == CONFIG_DEPTH_HEAD ? "{ %s }" : "%s", text);
}

static void put_value(struct buf *out, const struct option *o, const void *item) {
	const void *p = (const char *)item + o->offset;

	switch (o->type) {
	case TYPE_CONST:
		w_bytes(out, str_of(o->range));
		break;
	case TYPE_NAME:
	case TYPE_TEXT:
	case TYPE_PATH:
	case TYPE_ADDRESS:
	case TYPE_TARGET:
	case TYPE_URL:
	case TYPE_TEMPLATE:
		put_quoted(out, *(const struct str *)p);
		break;
	case TYPE_TEXTS:
	case TYPE_TEMPLATES:
		put_list(out, p);
		break;
	case TYPE_CLAIMS:
		put_claims(out, p);
		break;
	case TYPE_LABELS:
		put_labels(out, p);
		break;
	case TYPE_ENUM:
		w_bytes(out, option_choice((enum option_id)(o - options), *(const uint32_t *)p));
		break;
	case TYPE_INT:
	case TYPE_SIZE:
	case TYPE_DURATION:
		put_number(out, o, p);
		break;
	case TYPE_DEPTH:
		put_depth(out, p);
		break;
	case TYPE_FLAG:
		w_fmt(out, *(const bool *)p ? "{}" : "none");
		break;
	case TYPE_SECRET:
		put_secret(out, p);
		break;
	case TYPE_COUNT:
		break;
	}
}

/* Options of one item: "<who> <path>: <value>" per line. `shown` replaces the pattern's start. */
static void show_item(struct buf *out, struct str who, enum opt_owner owner,
                      const struct config_item *item) {
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct option *o = &options[i];
		struct str tail = str_of(o->path);

		if (o->owner != owner)
			continue;
		tail = str_from(tail, owner_prefix(owner));
		w_bytes(out, who);
		w_u8(out, ' ');
		w_bytes(out, item->shown);
		w_fmt(out, "%s%.*s: ", item->shown.n != 0 ? "." : "", STR_ARG(tail));
		put_value(out, o, item);
		w_u8(out, '\n');
	}
}

void config_show(const struct config *c, struct buf *out) {
	show_item(out, STR("Gateway"), OWNER_G, &c->gateway.item);
	for (const struct config_issuer *i = c->gateway.issuers; i != NULL; i = i->next) {
		show_item(out, STR("Gateway"), OWNER_I, &i->item);
		for (const struct config_mapping *m = i->mappings; m != NULL; m = m->next)
			show_item(out, STR("Gateway"), OWNER_M, &m->item);
	}
	for (const struct config_connection *k = c->connections; k != NULL; k = k->next) {
		char who[64];

		(void)snprintf(who, sizeof(who), "Connection/%.*s", STR_ARG(k->name));
		show_item(out, str_of(who), OWNER_C, &k->item);
		for (const struct config_role *r = k->roles; r != NULL; r = r->next)
			show_item(out, str_of(who), OWNER_R, &r->item);
		for (const struct config_access *a = k->access; a != NULL; a = a->next)
			show_item(out, str_of(who), OWNER_A, &a->item);
	}
}

/* "a|b" to "a, b"; "1..5" to "1 to 5". */
static void put_range(struct buf *out, const struct option *o) {
	struct str rest = str_of(o->range);

	if (o->type == TYPE_ENUM || o->type == TYPE_DEPTH) {
		while (rest.n != 0) {
			struct str one = str_cut(&rest, '|');

			w_fmt(out, "`%.*s`%s", STR_ARG(one), rest.n != 0 ? ", " : "");
		}
		if (o->type == TYPE_DEPTH)
			w_fmt(out, ", `{ head: 1 to %d }`", CONFIG_HEAD_MAX);
		return;
	}
	size_t dots = str_find(rest, '.');

	if (o->type == TYPE_CONST)
		w_fmt(out, "`%s`", o->range);
	else if (o->range[0] == '\0')
		w_fmt(out, "%s", opt_type_name(o->type));
	else
		w_fmt(out, "%s, %.*s to %s%s", opt_type_name(o->type), (int)dots, o->range,
		      o->range + dots + 2,
		      o->type == TYPE_TEXT || o->type == TYPE_TEXTS || o->type == TYPE_TEMPLATE ||
		                      o->type == TYPE_TEMPLATES || o->type == TYPE_CLAIMS
		              ? " bytes"
		              : "");
}

static const char *default_text(const struct option *o) {
	if (o->def[0] == '!')
		return "required";
	return o->def[0] != '\0' ? o->def : "none";
}

static void markdown_table(struct buf *out, bool is_gateway) {
	w_fmt(out,
	      "| option | value | default | takes effect | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct option *o = &options[i];

		if (owner_is_gateway(o->owner) != is_gateway)
			continue;
		w_fmt(out, "| `%s` | ", o->path);
		put_range(out, o);
		w_fmt(out, " | %s | %s | %s |\n", default_text(o),
		      o->effect == EFFECT_RELOAD ? "reload" : "restart", o->help);
	}
}

void config_markdown(struct buf *out) {
	w_fmt(out,
	      "# Configuration\n\n"
	      "<!-- Made by `optdoc --markdown` from src/config/options.h; a test compares. "
	      "-->\n\n"
	      "A configuration is one YAML file with one `Gateway` document and a `Connection` document "
	      "per target,\nseparated by `---`. `hansard check` tells file, line and key of what is wrong. "
	      "Relative paths start at the\nfile's directory. Keys that are not listed here, duplicate "
	      "keys, anchors, aliases and tags are refused.\n"
	      "A password is never written into the file: it is `{ env: NAME }`, a variable of the "
	      "environment that\n`hansard serve` starts with, or `{ file: PATH }`, a file whose content "
	      "is the password (one final newline\nis not part of it).\n\n"
	      "The file is looked for at `--config F`, `$HANSARD_CONFIG`, `./hansard.yaml`,\n"
	      "`~/.config/hansard/hansard.yaml`, `/etc/hansard/hansard.yaml`.\n\n"
	      "*reload*: takes effect at SIGHUP, for new sessions; a configuration with any error changes "
	      "nothing.\n*restart*: takes effect at the next start.\n\n"
	      "Durations: `250ms`, `90s`, `15m`, `8h`, `7d`. Sizes: bytes, or with `KiB`, `MiB`, `GiB`, "
	      "`TiB`.\nAn IPv6 address needs quotes in YAML: `\"[::1]:5432\"`.\n\n## Gateway\n\n");
	markdown_table(out, true);
	w_fmt(out, "\n## Connection\n\n");
	markdown_table(out, false);
	w_fmt(out,
	      "\nOne role of a connection stands under its name (`spec.roles.ro`); `*` above is that "
	      "name. The role `default`\nis taken by clients that name none: `psql -U shop`; others are "
	      "named in front: `psql -U ro.shop`.\n\n"
	      "Databases: without `allow` only the default may be used; without `default` a client that "
	      "names none gets\nthe database called like the role's user. A client whose database is only "
	      "its library's fallback (equal to\nthe user name it typed) counts as naming none.\n\n"
	      "Login at the target: `auth` is the only method that is accepted, so a target cannot ask for "
	      "a weaker one. With\nscram-sha-256 the target's salt and iteration count are kept after the "
	      "first login; a target that shows others is\nrefused before any proof is sent, with an alarm "
	      "(`keeper.pin.changed`) and an act on the record, and so is one\nthat asks for fewer than 4096 "
	      "or more than 100000 iterations (`scram_iterations` at the target). A changed password\n(new content behind the "
	      "reference, then SIGHUP) is learnt anew by itself. When the same password was set again at the\n"
	      "target, the pin must be forgotten over control.sock: "
	      "`{\"cmd\":\"pin.forget\",\"connection\":\"shop\",\"role\":\"default\"}`.\nPasswords beyond "
	      "ASCII must be in Unicode normal form KC.\n");
}

/* Help text in mdoc: a line that starts with a dot or quote would be a request. */
static void mdoc_text(struct buf *out, const char *text) {
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '\\')
			w_fmt(out, "\\e");
		else if (str_starts(str_of(p), STR("…"))) {
			w_fmt(out, "\\&...");
			p += 2;
		} else if (*p == '`')
			w_fmt(out, "\"");
		else if (p[0] == '.' && p[1] == ' ') { /* mdoc spaces sentences itself */
			w_fmt(out, ".\n");
			p++;
		} else
			w_u8(out, (uint8_t)*p);
	}
	w_u8(out, '\n');
}

void config_mdoc(struct buf *out) {
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct option *o = &options[i];

		bool is_gateway = owner_is_gateway(o->owner);

		if (i == 0 || is_gateway != owner_is_gateway(options[i - 1].owner))
			w_fmt(out, "%s.Ss %s\n.Bl -tag -width Ds\n", i != 0 ? ".El\n" : "",
			      is_gateway ? "Gateway" : "Connection");
		w_fmt(out, ".It Cm %s\n", o->path);
		mdoc_text(out, o->help);
		w_fmt(out, "Default: %s%s.\n", default_text(o),
		      o->effect == EFFECT_RESTART ? "; takes effect at the next start" : "");
	}
	w_fmt(out, ".El\n");
}
