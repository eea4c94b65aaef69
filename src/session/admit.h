/*
 * admit.h: payloads of ADMIT and GRANT (ipc/ipc.h), written and read in one place.
 */
#ifndef SESSION_ADMIT_H
#define SESSION_ADMIT_H

#include "base/buf.h"
#include "base/rd.h"
#include "session/proto.h"

struct admit_msg {
	uint16_t ring;
	uint32_t slot, generation;
	struct str protocol;
	struct admit admit;
	uint64_t exchange;         /* PROOF_SCRAM: that of PROVE */
	struct str client_address; /* "127.0.0.1:51234", "[::1]:51234", "unix" */
	struct str client_tls;     /* "TLSv1.3 TLS_AES_256_GCM_SHA384", empty: none */
	struct str server_name;    /* TLS SNI */
};

struct grant_msg {
	uint64_t grant; /* names it in later messages */
	struct grant g;
	struct str connection; /* key into the snapshot, for the target's TLS */
	struct str role;
	uint8_t hide_key[32]; /* for the hash of what the record does not keep (ORD_HIDE) */
};

void admit_put(struct buf *b, const struct admit_msg *m);
int admit_get(struct admit_msg *m, struct str body) must_use; /* slices borrow from body */
void grant_put(struct buf *b, const struct grant_msg *m);
int grant_get(struct grant_msg *m, struct str body) must_use;

#endif
