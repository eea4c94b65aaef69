/* protos.c: the table of protocols (session/proto.h). One row per folder beside this file. */
#include "proto/postgres/pg.h"

const struct proto *const protos[] = {
	&pg_proto,
	NULL,
};

const struct proto *proto_find(struct str name) {
	for (size_t i = 0; protos[i] != NULL; i++)
		if (str_is(name, protos[i]->name))
			return protos[i];
	return NULL;
}
