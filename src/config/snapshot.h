/*
 * snapshot.h: what the worker must know of a configuration, in one sealed memfd.
 *
 * The keeper encodes, seals (no write, shrink or grow any more) and sends the descriptor with
 * IPC_SNAPSHOT; the worker maps nothing of it: it copies, checks, and lets go. The only secrets
 * inside are the listeners' TLS leaf keys (DESIGN §3 says that the worker holds them).
 *
 * Layout (little-endian, buf.h/rd.h):
 *   "HSNP" u32 version 3
 *   vstr content   what the hash covers
 *   vstr keys      per listener: vstr key PEM (empty without TLS)
 * content: 32 bytes SHA-256 of the effective configuration, u32 sessions_max, u32 preadmission_max,
 *          u64 admission_ns; vstr domain; u32 count, per listener: vstr protocol, vstr address, u8 has_tls, vstr
 *          certificate chain PEM; u32 count, per target: vstr connection, vstr protocol, u8 tls,
 *          u8 proof, vstr CA PEM, vstr server name
 *
 * The hash of a snapshot is SHA-256 of content, so it names the whole policy and no key.
 */
#ifndef CONFIG_SNAPSHOT_H
#define CONFIG_SNAPSHOT_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"

#define SNAPSHOT_SIZE_MAX (16 * MIB)
#define SNAPSHOT_LISTENERS_MAX 32u
#define SNAPSHOT_TARGETS_MAX 4096u

struct snapshot_listener {
	struct str protocol; /* "postgres" */
	struct str address;  /* as configured: host:port, [v6]:port */
	bool has_tls;
	struct str cert_pem; /* leaf first, then intermediates */
	struct str key_pem;
};

struct snapshot_target {
	struct str connection;
	struct str protocol;
	uint8_t tls;       /* enum config_tls, same numbers as enum tls_mode of session/proto.h */
	uint8_t proof;     /* enum config_proof, same numbers as enum proof_method */
	struct str ca_pem; /* empty: the system's roots */
	struct str server_name; /* for SNI and verify-full; empty for Unix sockets */
};

struct snapshot {
	uint8_t hash[SHA256_SIZE];          /* set by snapshot_encode and snapshot_parse */
	uint8_t config_sha256[SHA256_SIZE]; /* of the effective configuration */
	uint32_t sessions_max;              /* per worker */
	uint32_t preadmission_max;          /* connections that are not yet admitted */
	uint64_t admission_ns;              /* time from accept to admission */
	/* LABEL.domain as TLS server name means the connection LABEL; empty: server names mean nothing */
	struct str domain;
	struct snapshot_listener *listeners;
	size_t listener_count;
	struct snapshot_target *targets; /* sorted by connection */
	size_t target_count;
	uint8_t *mem; /* what the slices point into, when loaded; NULL when built by hand */
	size_t mem_size;
};

/* Appends the encoded snapshot and sets s->hash. Targets must be sorted. H_ELIMIT when too large. */
int snapshot_encode(struct buf *b, struct snapshot *s) must_use;
/* Writes bytes to a new sealed memfd; the descriptor, or H_EIO. */
int snapshot_seal(struct str bytes) must_use;
/* Pure. Fills *s with slices that borrow from `bytes`; the arrays are released by snapshot_free().
 * H_EFORMAT, H_ETRUNC, H_EVERSION; *s is empty then. */
int snapshot_parse(struct snapshot *s, struct str bytes) must_use;
/* Reads a sealed memfd (seals are checked; fd stays the caller's) into memory of its own. */
int snapshot_load(struct snapshot *s, int fd) must_use;
/* Wipes and frees what load or parse made. */
void snapshot_free(struct snapshot *s);
/* NULL when there is none. */
const struct snapshot_target *snapshot_target_find(const struct snapshot *s, struct str connection);

#endif
