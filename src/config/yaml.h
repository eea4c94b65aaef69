/*
 * yaml.h: YAML documents as strict trees.
 *
 * libyaml's events become nodes in document order, parents before children. What makes
 * configuration ambiguous is refused here: anchors and aliases, explicit tags, directives, duplicate
 * keys, keys that are not plain text, other encodings than UTF-8; and so are sizes beyond the limits
 * below. Scalars stay text: types come from the option table, so `no`, `1_000` or `0x10` never
 * change their meaning by being written without quotes.
 */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include "base/mem.h"
#include "config/findings.h"

#define YAML_SIZE_MAX MIB
#define YAML_DEPTH_MAX 12
#define YAML_NODES_MAX 65536
#define YAML_KEYS_MAX 4096 /* children of one node */
#define YAML_SCALAR_MAX 8192
#define YAML_DOCUMENTS_MAX 4096

enum ykind { Y_SCALAR, Y_MAP, Y_SEQ };

struct ynode {
	enum ykind kind;
	bool is_plain;                 /* a scalar without quotes */
	uint32_t line, column;         /* of the value */
	uint32_t key_line, key_column; /* of the key; of the value in sequences */
	struct str key;                /* inside a mapping */
	struct str value;              /* of a scalar */
	struct ynode *parent;          /* NULL: root of a document */
	struct ynode *first, *last;    /* children */
	struct ynode *sibling;         /* next child of the same parent */
	struct ynode *next;            /* in document order */
	size_t count;                  /* children */
	/* for the walker */
	bool is_done;     /* it and its children need no more looking at */
	struct str path;  /* pattern in the option table: "spec.roles.*.user" */
	struct str shown; /* for people: "spec.roles.ro.user" */
	void *item;       /* the struct that its options fill */
};

struct ydoc {
	struct ynode *root; /* first node in document order */
	struct ydoc *next;
};

/* Documents in order, in the arena; NULL when there is none or after an error (a finding tells). Empty
 * documents are left out. */
struct ydoc *yaml_load(struct arena *a, struct str text, struct str file, struct findings *f);
/* The child with that key, or NULL. */
struct ynode *ynode_child(const struct ynode *n, struct str key);

#endif
