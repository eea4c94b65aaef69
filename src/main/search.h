/*
 * search.h: which commands of the record hold a text.
 *
 * Sessions that the index (catalog/index.h) knows and rules out are not read; every other session is, from
 * its first frame, and what is told as a hit was found there. Without an index all are read, with the same
 * result: the index saves time and decides nothing.
 */
#ifndef MAIN_SEARCH_H
#define MAIN_SEARCH_H

#include <jansson.h>

#include "catalog/index.h"
#include "main/match.h"
#include "proto/postgres/pg_view.h"
#include "record/reader.h"

#define SEARCH_TEXT_MAX (64 * KIB) /* of a hit's text, around the match */

struct search_options {
	const struct match *match;
	uint64_t since_ns, until_ns; /* of the command; until 0: no end */
	const char *connection, *identity, *on_behalf_of, *run; /* NULL: any */
	bool only_agents;
	unsigned statuses; /* bits 1 << enum view_status; 0: any */
	size_t limit;      /* the newest; 0: all */
};

struct search_hit {
	uint64_t wall_ns;
	uint8_t sid[SID_SIZE];
	uint64_t number;  /* of the command */
	size_t parameter; /* in which the text stands; 0: in the statement */
	enum view_kind kind;
	enum view_status status;
	char sqlstate[6];
	uint64_t rows;
	char *statement; /* around the match, where that stands in it */
	size_t statement_n;
	char *value; /* of the parameter, or NULL */
	size_t value_n;
	struct match_place place; /* in value, or in statement */
	json_t *open;             /* the session's open frame */
};

struct search_result {
	struct search_hit *hit; /* newest first */
	size_t count, cap;
	uint64_t oldest_kept; /* wall_ns: what is older was dropped; 0: nothing was */
	uint64_t sessions, read,
		ruled_out; /* on the record; looked at in it; not, because of the index */
	uint64_t unreadable;
	bool is_tampered, is_cut;
};

/* x may be NULL. `said` is told of each session that cannot be read to its end; the search goes on. Codes are
 * of the store as a whole. */
typedef void search_trouble_fn(const uint8_t sid[SID_SIZE], const struct err *e);
int search_run(struct reader *r, struct index *x, const struct search_options *o,
               search_trouble_fn *said, struct search_result *ret, struct err *e) must_use;
void search_result_fini(struct search_result *r);

/* How the index of a store is, for people and programs: {"state":…, "sessions":…, "behind":…,
 * "through":…, "lag_ns":…}. A new reference. */
json_t *search_index_about(const char *store);

#endif
