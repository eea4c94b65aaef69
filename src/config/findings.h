/*
 * findings.h: what `hansard check` has to say: errors and warnings, each with its place.
 *
 * A finding names file, line and column, the offending key (its path in the document), one sentence,
 * and the nearest known spelling when there is one. Findings never hold a value that could be a
 * secret: sentences quote keys, names and choices, and of values only those of types that cannot be
 * secret. After FINDINGS_MAX further ones are counted and not kept.
 */
#ifndef CONFIG_FINDINGS_H
#define CONFIG_FINDINGS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define FINDINGS_MAX 100

enum finding_level { FINDING_ERROR, FINDING_WARNING };

struct place {
	struct str file;
	uint32_t line, column; /* from 1; 0: the whole file */
	struct str key;        /* "spec.roles.ro.auth"; may be empty */
};

struct finding {
	enum finding_level level;
	struct place at;
	struct str text;
	struct str nearest; /* empty when nothing is near */
};

struct findings {
	struct arena *arena;
	struct finding v[FINDINGS_MAX];
	size_t count;
	size_t errors, warnings; /* all, also those that were not kept */
};

void findings_init(struct findings *f);
void findings_fini(struct findings *f);
void finding_error(struct findings *f, const struct place *at, const char *fmt, ...)
	printf_like(3, 4);
void finding_warn(struct findings *f, const struct place *at, const char *fmt, ...)
	printf_like(3, 4);
/* Sets the nearest known spelling of the finding added last. */
void finding_nearest(struct findings *f, struct str nearest);
/* "hansard.yaml:12:5: error: …" per line. */
void findings_text(const struct findings *f, struct buf *out);
/* {"ok":bool,"errors":n,"warnings":n,"findings":[{"level","file","line","column","key","text",
 * "nearest"}]} */
void findings_json(const struct findings *f, struct buf *out);
/* The first error as a sentence with its place, for logs and acts; empty when there is none. */
void findings_first(const struct findings *f, char *out, size_t cap);

#endif
