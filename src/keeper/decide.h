/*
 * decide.h: may this session be? A pure function of the configuration, the proof, and the load.
 *
 * The order of the questions is the order of the table below. A client learns the reference of the
 * refusal and nothing else; the operator learns the reason by `hansard why`.
 */
#ifndef KEEPER_DECIDE_H
#define KEEPER_DECIDE_H

#include "config/config.h"
#include "identity/who.h"
#include "session/proto.h"

/*      name, text in acts, code for the worker, what happened, what to do */
#define REFUSE_REASONS(X) \
	X(DRAINING, "draining", H_EDRAIN, "the gateway is shutting down", "connect again later") \
	X(RATE, "too-many-failures", H_EREFUSED, \
	  "the proof was wrong, as were many others of this network in the last minute", \
	  "find who sends wrong tokens; spec.limits.failed_proofs says when they are counted together") \
	X(MALFORMED, "malformed-proof", H_EREFUSED, \
	  "the password was no token of Hansard, or a mistyped one", \
	  "give a token of `hansard token` as the password, or one of an issuer in " \
	  "spec.identity.oidc") \
	X(UNKNOWN, "unknown-token", H_EREFUSED, "the token was never issued by this gateway", \
	  "check which gateway the token is of; issue a new one with `hansard token`") \
	X(EXPIRED, "expired-token", H_EREFUSED, "the token has expired", \
	  "issue a new one with `hansard token`, with a longer --ttl if needed") \
	X(REVOKED, "revoked-token", H_EREFUSED, "the token was revoked", \
	  "issue a new one with `hansard token` if it should live") \
	X(LOCAL_OFF, "local-issuer-off", H_EREFUSED, \
	  "the token is one of `hansard token`, and the local issuer is off beside OIDC", \
	  "give a token of an issuer in spec.identity.oidc, or add spec.identity.local: {} to break " \
	  "glass") \
	X(TOKEN_MALFORMED, "token-malformed", H_EREFUSED, \
	  "the password was no signed token (JWT)", \
	  "give the token alone as the password, whole and as it was issued") \
	X(TOKEN_ALGORITHM, "token-algorithm", H_EREFUSED, \
	  "the token is signed with an algorithm that is not accepted, or not that of its key", \
	  "have the issuer sign with RS256, PS256, ES256 or EdDSA") \
	X(TOKEN_KEY, "token-key-unknown", H_EREFUSED, \
	  "no issuer of spec.identity.oidc has the key that the token names", \
	  "check that the token is of a configured issuer; keys are asked for anew at most once a " \
	  "minute") \
	X(TOKEN_KEYS_GONE, "issuer-keys-unavailable", H_EREFUSED, \
	  "an issuer's keys could not be fetched, so the token could not be checked", \
	  "see the keeper's log events (keeper.oidc); check that the issuer can be reached") \
	X(TOKEN_SIGNATURE, "token-signature", H_EREFUSED, "the token's signature is wrong", \
	  "somebody altered or made up the token, or the issuer reused the name of a key") \
	X(TOKEN_ISSUER, "token-issuer", H_EREFUSED, \
	  "the token names another issuer than the one whose key signed it", \
	  "write issuer: in spec.identity.oidc exactly as the tokens' claim iss") \
	X(TOKEN_AUDIENCE, "token-audience", H_EREFUSED, "the token is meant for somebody else", \
	  "ask the issuer for a token with one of the audiences in spec.identity.oidc") \
	X(TOKEN_EXPIRED, "token-expired", H_EREFUSED, "the token has expired", \
	  "ask the issuer for a new one; check the clocks of both machines") \
	X(TOKEN_NOT_YET, "token-not-yet-valid", H_EREFUSED, "the token is not valid yet", \
	  "check the clocks of both machines; skew: in spec.identity.oidc says what is tolerated") \
	X(TOKEN_LIFETIME, "token-lifetime", H_EREFUSED, "the token is good for too long", \
	  "have the issuer make shorter ones, or raise lifetime_max of the issuer") \
	X(TOKEN_CLAIMS, "token-claims", H_EREFUSED, \
	  "the token's claims are not what they must be", \
	  "see the detail; exp must be there, and times must be numbers") \
	X(NO_MAPPING, "no-mapping", H_EREFUSED, \
	  "the token is good, but no mapping of its issuer matches its claims", \
	  "add a mapping to spec.identity.oidc, or check its when:") \
	X(MAPPING, "mapping-incomplete", H_EREFUSED, \
	  "the token is good, but a claim that its mapping needs is missing or unfit", \
	  "see the detail; write {claim?} for a claim that may be missing") \
	X(HINT, "unknown-hint", H_EREFUSED, \
	  "the proof is not of the kind that the +hint of the user name asks for", \
	  "no hint: password; +oauth: OAUTHBEARER; +KEY of `hansard token`: SCRAM-SHA-256") \
	X(SCRAM_FORM, "scram-malformed", H_EREFUSED, \
	  "the client's SCRAM message was malformed, or of a mechanism that was not offered", \
	  "find out what program that is; libpq and the drivers in docs/connecting.md are known to work") \
	X(SCRAM_DOWNGRADE, "scram-downgrade", H_EREFUSED, \
	  "the client did not see that SCRAM-SHA-256-PLUS was offered to it", \
	  "somebody between client and gateway may take offers away: find out who ends TLS there") \
	X(SCRAM_BINDING, "scram-channel-binding", H_EREFUSED, \
	  "the client bound its proof to another certificate than the gateway's", \
	  "somebody sits between client and gateway, or ends TLS there with a certificate of its own") \
	X(SCRAM_KEY, "scram-unknown-key", H_EREFUSED, "no token has the key id in the user name", \
	  "take the user name that `hansard token` printed; check which gateway the token is of") \
	X(SCRAM_OLD, "scram-old-token", H_EREFUSED, \
	  "the token was issued by a version that kept no SCRAM verifier", \
	  "issue a new one with `hansard token`, or give it as the password without a hint") \
	X(SCRAM_PROOF, "scram-wrong-proof", H_EREFUSED, \
	  "the password was not the token with that key id", \
	  "token and key id in the user name must be of one `hansard token`") \
	X(SCRAM_GONE, "scram-interrupted", H_EKEEPER, \
	  "the keeper was restarted in the middle of the proof, or it took too long", \
	  "connect again") \
	X(SCRAM_BUSY, "scram-busy", H_EBUSY, \
	  "too many clients are proving themselves at the same time", \
	  "connect again later; lower spec.limits.preadmission if it is above 8192") \
	X(OAUTH_DISCOVERY, "oauth-discovery", H_EREFUSED, \
	  "the client showed no token and asked where to get one, and was told", \
	  "nothing: clients of OAUTHBEARER do so before their first token") \
	X(RESTRICTED, "token-for-other-connection", H_EREFUSED, \
	  "the token is restricted to another connection", \
	  "issue one without --connection, or for this") \
	X(NO_CONNECTION, "no-such-connection", H_EREFUSED, "no connection has that name", \
	  "check the user name: [role.]connection; `hansard check` lists what is configured") \
	X(NO_ROLE, "no-such-role", H_EREFUSED, "the connection has no role of that name", \
	  "check the user name: [role.]connection, or add the role") \
	X(NO_ACCESS, "no-access", H_EREFUSED, \
	  "no access rule of the connection gives this role to a group of the identity", \
	  "add a rule to spec.access, or issue the token with --group") \
	X(REPLICATION, "replication-not-allowed", H_EFEATURE, \
	  "the client asked for a replication connection", \
	  "set spec.replication: allow on the connection if it may have one") \
	X(NO_DATABASE, "database-not-allowed", H_EREFUSED, \
	  "the database is not in the connection's list", "add it to spec.databases.allow") \
	X(SESSIONS, "session-limit", H_EBUSY, "the gateway serves as many sessions as it may", \
	  "raise spec.limits.sessions") \
	X(IDENTITY_SESSIONS, "identity-session-limit", H_EBUSY, \
	  "this identity has as many sessions as it may", \
	  "raise spec.limits.sessions_per_identity") \
	X(STORE, "store-refuses", H_ENOSPACE, "the store takes no new session", \
	  "free space, or raise spec.store.size_max; `hansard status` tells the state") \
	X(RECORDER, "recorder-unavailable", H_ERECORDER, \
	  "the session could not be opened on the record", "see the recorder's log events") \
	X(TARGET, "target-unreachable", H_ECONNECT, "the target could not be reached", \
	  "check spec.address and the target") \
	X(EGRESS, "egress-unavailable", H_ECONNECT, "the process that dials is being restarted", \
	  "connect again") \
	X(INTERNAL, "internal", H_EKEEPER, "the gateway failed to admit the session", \
	  "see the keeper's log events")

enum refuse_reason {
	REFUSE_NONE, /* granted */
#define X(name, text, code, what, advice) REFUSE_##name,
	REFUSE_REASONS(X)
#undef X
		REFUSE_COUNT
};
struct refuse_text {
	const char *name, *what, *advice;
	int code;
};
/* Static; "?" texts for a number that is not in the table. */
const struct refuse_text *refuse_text(enum refuse_reason reason);
/* By its name, for rows of state.db; REFUSE_NONE when there is none. */
enum refuse_reason refuse_reason_of(struct str name);

enum proof_state { PROOF_IS_MALFORMED, PROOF_IS_UNKNOWN, PROOF_IS_FOUND, PROOF_IS_REFUSED };

struct decide_ask {
	const struct admit *admit;
	struct str protocol;
	enum proof_state proof;
	enum refuse_reason proof_reason; /* PROOF_IS_REFUSED */
	const struct who *who;           /* PROOF_IS_FOUND */
	uint64_t expires_wall_ns, revoked_wall_ns, now_wall_ns;
	bool is_draining, is_rate_limited, is_store_refusing;
	uint32_t sessions;          /* that live now */
	uint32_t identity_sessions; /* of this subject */
};

struct decision {
	enum refuse_reason reason;
	const struct config_connection *connection; /* set when granted */
	const struct config_role *role;
	struct str database;
};

struct decision decide(const struct config *c, const struct decide_ask *ask);

#endif
