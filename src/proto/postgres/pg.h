/* pg.h: PostgreSQL, as a protocol of Hansard. README.md says what is spoken and what is refused. */
#ifndef PROTO_POSTGRES_PG_H
#define PROTO_POSTGRES_PG_H

#include "session/proto.h"

extern const struct proto pg_proto;

#endif
