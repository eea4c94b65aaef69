/*
 * ask.h: what the subcommands share: finding the store, output formats, asking the keeper.
 */
#ifndef MAIN_ASK_H
#define MAIN_ASK_H

#include <argp.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "main/cli.h"

/* Options that most subcommands take; a child parser (argp) fills them. */
enum out_format { OUT_TABLE, OUT_WIDE, OUT_JSON, OUT_YAML };
struct common {
	const char *config; /* --config */
	const char *store;  /* --store: only where the command allows it */
	enum out_format format;
	bool verbose;
};
/* As children of a subcommand's argp: --config, -v; with store: --store; with format: -o. The child's input is a
 * struct common. */
extern const struct argp common_argp;        /* --config, -o, -v */
extern const struct argp common_store_argp;  /* the same and --store */
extern const struct argp common_config_argp; /* --config, -v */
extern const struct argp common_plain_argp;  /* --config, --store, -v */

/* The store's directory: --store, else from the configuration that config_find() finds. */
int common_store(const struct common *c, char *out, size_t cap, struct err *e) must_use;

/* Asks the keeper that runs on the configured store. `ask` is consumed. *ret is a new reference to
 * {"ok":true,…}; with several answers their "items" are joined. An answer with ok:false becomes an error
 * with its sentence. */
int ask_keeper(const struct common *c, json_t *ask, json_t **ret, struct err *e) must_use;
/* Tells a running gateway that the record is read: an act. Silent when none runs (with -v: said on stderr). */
void ask_announce(const struct common *c, const char *store, const char *act, struct str session);
/* The same for what is not about one session: `detail`, UTF-8, at most 1024 bytes. */
void ask_announce_detail(const struct common *c, const char *store, const char *act,
                         struct str detail);

/* Prints a document as JSON (two spaces) or YAML on stdout. */
void print_json(const json_t *doc, enum out_format format);
/* "" for a missing or other-typed member. Borrowed. */
struct str json_text(const json_t *doc, const char *key);
uint64_t json_count(const json_t *doc, const char *key);
/* "2026-11-21 06:00:00" in local time. */
#define LOCAL_TEXT_SIZE 32
void local_text(char out[LOCAL_TEXT_SIZE], uint64_t wall_ns);
/* Columns of stdout, 0 when it is no terminal. */
size_t terminal_width(void);
/* Writes all of b to stdout; a closed pipe ends the process quietly, any other failure with CLI_FAILED. */
void print_buf(struct buf *b);

#endif
