/* config_priv.h: rows of the option table and the setters of their types, inside src/config. */
#ifndef CONFIG_CONFIG_PRIV_H
#define CONFIG_CONFIG_PRIV_H

#include "config/config.h"
#include "config/yaml.h"

enum opt_type {
	TYPE_CONST,   /* a fixed text; nothing is stored */
	TYPE_NAME,    /* [a-z0-9-]{1,32} */
	TYPE_TEXT,    /* printable text */
	TYPE_TEXTS,   /* list of texts */
	TYPE_LABELS,  /* mapping of texts */
	TYPE_PATH,    /* path of a file or directory */
	TYPE_ADDRESS, /* to listen on */
	TYPE_TARGET,  /* to connect to */
	TYPE_ENUM,    /* one of the choices; stored as its index */
	TYPE_INT,
	TYPE_SIZE,
	TYPE_DURATION,
	TYPE_FLAG,   /* an empty mapping */
	TYPE_SECRET, /* a reference */
	TYPE_URL,
	TYPE_TEMPLATE,  /* text with {claim} in it */
	TYPE_TEMPLATES, /* a list of them, or one */
	TYPE_CLAIMS,    /* mapping of claims to a value or a list of values */
	TYPE_DEPTH,     /* one of the choices, or { head: N } */
	TYPE_COUNT
};
const char *opt_type_name(enum opt_type type); /* for documentation */

enum opt_owner { OWNER_G, OWNER_I, OWNER_M, OWNER_C, OWNER_R, OWNER_A };
/* Rows of a Gateway document; all others are of Connections. */
static inline bool owner_is_gateway(enum opt_owner owner) {
	return owner <= OWNER_M;
}
/* How much of a row's path is the item's own place: of "spec.roles.*.user", "spec.roles.*.". */
size_t owner_prefix(enum opt_owner owner);
enum opt_effect { EFFECT_RELOAD, EFFECT_RESTART };

struct option {
	const char *id;
	enum opt_owner owner;
	const char *path;
	enum opt_type type;
	size_t offset;
	const char *range;
	const char *def;
	enum opt_effect effect;
	const char *help;
};
extern const struct option options[OPT_COUNT];

/* Sets a scalar option from text. 0, or H_ECONFIG with a sentence in why (quotes nothing secret) and the
 * nearest choice. dir resolves relative paths. */
struct opt_set {
	struct arena *arena;
	struct str dir;
	char why[200];
	struct str nearest;
};
int option_set(struct opt_set *s, const struct option *o, struct str text, void *item) must_use;
/* Fills all scalar options of an owner with their defaults. */
void option_defaults(struct opt_set *s, enum opt_owner owner, void *item);
/* The i-th choice of an enum option. */
struct str option_choice(enum option_id id, uint32_t i);
/* The nearest of '|'-separated choices, or STR_NONE. */
struct str nearest_choice(const char *choices, struct str text);
bool is_near(struct str a, struct str b);

/* Walks documents into c (walk.c). */
void config_walk(struct config *c, struct ydoc *docs, struct findings *f);
/* Meaning of the whole (check.c). */
void config_check(const struct config *c, struct findings *f);
/* Place of an option in the file, for findings. */
struct place config_place(const struct config *c, const struct config_item *item,
                          enum option_id id);

#endif
