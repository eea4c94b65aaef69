/*
 * relations.h: relations as they were called at first sight in a session (facts `relation`,
 * docs/record-format.md §4), for the commands that read it.
 */
#ifndef MAIN_RELATIONS_H
#define MAIN_RELATIONS_H

#include <jansson.h>

#include "record/event.h"

/* The fact's document, NULL when the event is none or its text is no object: what a target called
 * its relations is foreign text like any other. The caller's reference. */
json_t *relation_of(const struct rec_event *e);
/* Adds the event's relation to the list, if it is one; further columns go to the one that they belong to. */
void relations_add(json_t *list, const struct rec_event *e);
/* "relation public.orders, oid 16385, table: id integer, item text", made harmless, without newline. */
void relation_text(struct buf *b, const json_t *relation);

#endif
