/*
 * keeper_test.c: the keeper among its peers: admission from end to end, every way in which it fails on
 * the way, login, cancel, tokens, checkpoints, reload, restart, drain; and that no secret gets out.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/test.h"
#include "config/snapshot.h"
#include "keeper/keeper_lab.h"
#include "keeper/keeper_priv.h"
#include "record/tlog.h"

static void gone(struct lab *l, uint64_t grant) {
	struct buf b;

	buf_init(&b, 16);
	w_u64(&b, grant);
	lab_put(l, l->worker, IPC_SESSION_GONE, 0, &b);
	buf_fini(&b);
}

static bool file_mode_is(struct lab *l, const char *name, unsigned mode) {
	auto_free char *path = xasprintf("%s/store/%s", l->dir, name);
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & 0777) == mode;
}

TEST(keeper_starts) {
	struct lab l;
	struct ipc_msg m;
	struct snapshot s;

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT, &m) && m.fd_count == 1);
	CHECK_EQ_I(snapshot_load(&s, m.fds[0]), 0);
	ipc_msg_close(&m);
	CHECK_EQ_U(s.listener_count, 1);
	CHECK(s.listeners[0].has_tls);
	const struct snapshot_target *t = snapshot_target_find(&s, STR("shop"));

	REQUIRE(t != NULL);
	CHECK_EQ_STR(t->server_name, STR("127.0.0.1"));
	CHECK_EQ_U(t->tls, TLS_VERIFY_FULL);
	snapshot_free(&s);
	lab_pump(&l, 100);
	CHECK(lab_act_comes(&l, "\"act\":\"gateway.started\""));
	CHECK(file_mode_is(&l, "keeper/state.db", 0600) &&
	      file_mode_is(&l, "keeper/log.key", 0600) && file_mode_is(&l, "keeper/ca.key", 0600) &&
	      file_mode_is(&l, "keeper/leaf.key", 0600) && file_mode_is(&l, "ca.pem", 0644));
	CHECK(lab_logged(&l, "keeper.ca.made"));
	CHECK_EQ_I(lab_stop(&l), 0);
	CHECK(!lab_leaks(&l, LAB_PASSWORD, NULL));
	lab_fini(&l);
}

TEST(keeper_store_refused) {
	struct lab l;

	REQUIRE(lab_start(&l, NULL, H_EBUSY));
	CHECK_EQ_I(lab_stop(&l), 1);
	CHECK(lab_logged(&l, "the store is locked"));
	lab_fini(&l);
}

TEST(keeper_grants) {
	struct lab l;
	struct grant_msg g;
	char token[128], id[64];
	struct buf out;

	buf_init(&out, MIB);
	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	CHECK(lab_act_comes(&l, "\"act\":\"token.issued\"") && lab_act_comes(&l, "local:ci"));
	REQUIRE(lab_granted(&l, 41, &(struct lab_asking){ .token = token, .slot = 3 }, &g));
	CHECK_EQ_STR(g.g.upstream_user, STR("app"));
	CHECK_EQ_STR(g.g.database, STR("shop"));
	CHECK_EQ_STR(g.connection, STR("shop"));
	CHECK_EQ_U(g.g.hygiene, HYGIENE_OPEN);
	CHECK_EQ_U(g.g.session_max_ns, 7200 * NS_PER_S);
	CHECK_EQ_U(g.g.tls, TLS_VERIFY_FULL);
	CHECK(memcmp(g.g.sid, l.open_sid, 16) == 0);
	CHECK(lab_has(&l.open_json, "\"subject\":\"local:ci\"") &&
	      lab_has(&l.open_json,
	              "\"on_behalf_of\":\"ann@example.com\",\"on_behalf_of_verified\":true") &&
	      lab_has(&l.open_json, "\"context\":{\"task\":\"T-1\"},\"context_verified\":false") &&
	      lab_has(&l.open_json, "\"labels\":{\"env\":\"prod\"}") && lab_has(&l.open_json, id));
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"sessions.live\"}", &out), 0);
	CHECK(lab_has(&out, "\"subject\":\"local:ci\"") && lab_has(&out, g.g.short_id));
	gone(&l, g.grant);
	(void)lab_quiet(&l, l.worker);
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"sessions.live\"}", &out), 0);
	CHECK(lab_has(&out, "\"items\":[]"));
	CHECK_EQ_I(lab_stop(&l), 0);
	CHECK(!lab_leaks(&l, token, NULL));
	CHECK(!lab_leaks(&l, LAB_PASSWORD, NULL));
	buf_fini(&out);
	lab_fini(&l);
}

TEST(keeper_refuses_and_why) {
	struct lab l;
	char token[128], id[64], ref[16], again[16];
	struct buf out;
	auto_free char *why = NULL;

	buf_init(&out, MIB);
	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	lab_admit(&l, 1, &(struct lab_asking){ .token = "hunter2" });
	REQUIRE(lab_refused(&l, 1, H_EREFUSED, ref));
	lab_admit(&l, 2, &(struct lab_asking){ .token = "hunter3" });
	REQUIRE(lab_refused(&l, 2, H_EREFUSED, again));
	CHECK_EQ_STR(str_of(ref), str_of(again));
	why = xasprintf("{\"cmd\":\"why\",\"ref\":\"%s\"}", ref);
	CHECK_EQ_I(lab_ask(&l, why, &out), 0);
	CHECK(lab_has(&out, "\"reason\":\"malformed-proof\"") && lab_has(&out, "\"count\":2") &&
	      lab_has(&out, "10.1.2.0/24") && lab_has(&out, "\"advice\":\""));
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"why\",\"ref\":\"nope-nope\"}", &out), 0);
	CHECK(lab_has(&out, "\"code\":\"ENOTFOUND\""));
	lab_admit(&l, 3, &(struct lab_asking){ .token = token, .connection = "nope" });
	REQUIRE(lab_refused(&l, 3, H_EREFUSED, again));
	CHECK(strcmp(ref, again) != 0);
	CHECK(lab_act_comes(&l, "\"act\":\"session.refused\"") &&
	      lab_act_comes(&l, "no-such-connection"));
	/* Eight wrong proofs a minute and source: the limit of this configuration. */
	for (uint64_t i = 10; i < 16; i++) {
		lab_admit(&l, i, &(struct lab_asking){ .token = "x" });
		REQUIRE(lab_refused(&l, i, H_EREFUSED, again));
	}
	lab_admit(&l, 20, &(struct lab_asking){ .token = "x" });
	REQUIRE(lab_refused(&l, 20, H_EREFUSED, again));
	CHECK(lab_act_comes(&l, "too-many-failures"));
	/* Whoever has a right one is not concerned. */
	lab_admit(&l, 21, &(struct lab_asking){ .token = token });
	REQUIRE(lab_open(&l, 0));
	CHECK_EQ_I(lab_stop(&l), 0);
	CHECK(!lab_leaks(&l, "hunter", NULL));
	buf_fini(&out);
	lab_fini(&l);
}

TEST(keeper_revoked) {
	struct lab l;
	char token[128], id[64];
	struct buf out;

	buf_init(&out, MIB);
	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"token.ls\"}", &out), 0);
	CHECK(lab_has(&out, id) && lab_has(&out, "\"revoked_wall_ns\":0"));
	auto_free char *revoke = xasprintf("{\"cmd\":\"token.revoke\",\"id\":\"%s\"}", id);

	CHECK_EQ_I(lab_ask(&l, revoke, &out), 0);
	CHECK(lab_has(&out, "\"ok\":true") && lab_act_comes(&l, "\"act\":\"token.revoked\""));
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"token.revoke\",\"id\":\"none\"}", &out), 0);
	CHECK(lab_has(&out, "ENOTFOUND"));
	lab_admit(&l, 1, &(struct lab_asking){ .token = token });
	CHECK(lab_refused(&l, 1, H_EREFUSED, NULL));
	CHECK(lab_act_comes(&l, "revoked-token"));
	buf_fini(&out);
	lab_fini(&l);
}

TEST(keeper_failures_on_the_way) {
	struct lab l;
	struct ipc_msg m;
	char token[128], id[64];
	const struct lab_asking good = { .token = token };

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	/* The recorder cannot open; the store is full. */
	lab_admit(&l, 1, &good);
	REQUIRE(lab_open(&l, H_EIO) && lab_refused(&l, 1, H_ERECORDER, NULL));
	lab_admit(&l, 2, &good);
	REQUIRE(lab_open(&l, H_ENOSPACE) && lab_refused(&l, 2, H_ENOSPACE, NULL));
	/* The target cannot be reached: what was opened is abandoned. */
	lab_admit(&l, 3, &good);
	REQUIRE(lab_open(&l, 0) && lab_get(&l, l.egress, IPC_CONNECT, &m));
	lab_connected(&l, m.id, H_ECONNECT, -1);
	REQUIRE(lab_abandoned(&l));
	CHECK(memcmp(l.abandoned_sid, l.open_sid, 16) == 0);
	REQUIRE(lab_refused(&l, 3, H_ECONNECT, NULL));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

/* A worker that was taken over shuts its end down: it is reported, and its successor is served. */
TEST(keeper_worker_cuts_its_channel) {
	struct lab l;
	struct ipc_msg m;
	struct grant_msg g;
	char token[128], id[64];
	int fd[2];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(shutdown(l.worker, SHUT_RDWR) == 0);
	REQUIRE(lab_get(&l, l.sup, IPC_SUP_STALLED, &m));
	CHECK(m.body.n == 1 && m.body.p[0] == ROLE_WORKER);
	ipc_msg_close(&m);
	REQUIRE(lab_logged(&l, "keeper.channel.cut"));
	/* The supervisor kills it, and brings both ends of a new pair. */
	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0);
	(void)close(l.worker);
	l.worker = fd[0];
	lab_peer_fd(&l, ROLE_WORKER, 0, fd[1]);
	(void)close(fd[1]);
	lab_peer(&l, ROLE_WORKER, 1);
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT, &m));
	ipc_msg_close(&m);
	CHECK(lab_granted(&l, 5, &(struct lab_asking){ .token = token }, &g));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

/* A peer that says nothing but nonsense does not fill the log. */
TEST(keeper_counts_what_it_refuses) {
	struct lab l;
	struct buf b;

	REQUIRE(lab_start(&l, NULL, 0));
	buf_init(&b, 16);
	w_u32(&b, 0);
	for (int i = 0; i < 200; i++)
		lab_put(&l, l.worker, IPC_OPENED, 0, &b);
	buf_fini(&b);
	lab_pump(&l, 300);
	CHECK(lab_logged(&l, "\"count\":1"));
	CHECK(lab_log_count(&l, "ipc.message.refused") <= 2);
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

TEST(keeper_worker_dies) {
	struct lab l;
	struct ipc_msg m;
	struct grant_msg g;
	char token[128], id[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(lab_granted(&l, 1, &(struct lab_asking){ .token = token }, &g));
	lab_admit(&l, 2, &(struct lab_asking){ .token = token });
	REQUIRE(lab_open(&l, 1));
	uint64_t open_id = l.open_id;

	lab_peer(&l, ROLE_WORKER, 0);
	lab_peer(&l, ROLE_WORKER, 1);
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT,
	                &m)); /* the new worker's; the first was passed over */
	ipc_msg_close(&m);
	/* Opened for a worker that is no more: abandoned. */
	struct buf b;

	buf_init(&b, 16);
	w_u32(&b, 0);
	lab_put(&l, l.recorder, IPC_OPENED, open_id, &b);
	buf_fini(&b);
	REQUIRE(lab_abandoned(&l));
	/* All its sessions are free again: four per identity. */
	for (uint64_t i = 10; i < 14; i++)
		REQUIRE(lab_granted(&l, i, &(struct lab_asking){ .token = token }, &g));
	lab_admit(&l, 14, &(struct lab_asking){ .token = token });
	CHECK(lab_refused(&l, 14, H_EBUSY, NULL));
	CHECK(lab_act_comes(&l, "identity-session-limit"));
	lab_fini(&l);
}

static int login(struct lab *l, uint64_t grant, struct str server, struct buf *out,
                 bool *ret_done) {
	struct ipc_msg m;
	struct buf b;

	buf_init(&b, 4096);
	w_u64(&b, grant);
	w_vstr(&b, server);
	w_vstr(&b, STR_NONE);
	lab_put(l, l->worker, IPC_LOGIN_STEP, 99, &b);
	buf_fini(&b);
	if (!lab_get(l, l->worker, IPC_LOGIN_REPLY, &m))
		return H_EBUG;
	struct rd r = rd_of(m.body);

	CHECK_EQ_U(rd_u64(&r), grant);
	int code = (int)rd_u32(&r);

	*ret_done = rd_u8(&r) != 0;
	buf_clear(out);
	w_bytes(out, rd_vstr(&r));
	struct str text = rd_vstr(&r);

	CHECK(code == 0 || text.n != 0);
	CHECK_EQ_I(rd_done(&r), 0);
	return code;
}

TEST(keeper_logs_in) {
	struct lab l;
	struct grant_msg g;
	char token[128], id[64], inner[33], outer[33];
	struct buf out;
	bool done;

	buf_init(&out, 4096);
	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(lab_granted(&l, 1, &(struct lab_asking){ .token = token }, &g));
	md5_hex(inner, (struct str[]){ STR(LAB_PASSWORD), STR("app") }, 2);
	md5_hex(outer, (struct str[]){ str_of(inner), STR("salt") }, 2);
	CHECK_EQ_I(login(&l, g.grant, str_mem("\0\0\0\5salt", 8), &out, &done), 0);
	CHECK(out.len == 36 && memcmp(buf_peek(&out).p + 3, outer, 32) == 0 && !done);
	CHECK_EQ_I(login(&l, g.grant, str_mem("\0\0\0\0", 4), &out, &done), 0);
	CHECK(done);
	/* One exchange per grant. */
	CHECK_EQ_I(login(&l, g.grant, str_mem("\0\0\0\5salt", 8), &out, &done), H_ELOGIN);
	CHECK_EQ_I(login(&l, 12345, str_mem("\0\0\0\0", 4), &out, &done), H_EKEEPER);
	REQUIRE(lab_granted(&l, 2, &(struct lab_asking){ .token = token }, &g));
	CHECK_EQ_I(login(&l, g.grant, str_mem("\0\0\0\3", 4), &out, &done), H_ELOGIN);
	CHECK(lab_logged(&l, "keeper.login.failed"));
	CHECK_EQ_I(lab_stop(&l), 0);
	CHECK(!lab_leaks(&l, LAB_PASSWORD, NULL));
	buf_fini(&out);
	lab_fini(&l);
}

enum { CANCELLER = 91 };

static void cancel(struct lab *l, struct str key) {
	struct buf b;

	buf_init(&b, 256);
	w_u32(&b, 777);
	w_vstr(&b, key);
	w_vstr(&b, STR("10.1.2.3:9"));
	lab_put(l, l->worker, IPC_CANCEL, CANCELLER, &b);
	buf_fini(&b);
}

/* The connection may be closed. */
static bool is_cancelled(struct lab *l) {
	struct ipc_msg m;

	return lab_get(l, l->worker, IPC_CANCELLED, &m) && m.id == CANCELLER;
}

/* A key is found whole: the beginning of a long one is none, nor is a short one with a tail. */
TEST(keeper_long_cancel_keys) {
	struct lab l;
	struct ipc_msg m;
	struct grant_msg g, h;
	char token[128], id[64];
	struct buf b;

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(lab_granted(&l, 55,
	                    &(struct lab_asking){ .token = token, .slot = 9, .key_size = 32 }, &g));
	REQUIRE(lab_granted(&l, 56, &(struct lab_asking){ .token = token, .slot = 10 }, &h));
	CHECK_EQ_U(g.g.cancel_key_size, 32);
	CHECK_EQ_U(h.g.cancel_key_size, 4);
	for (size_t n = 0; n <= 40; n++) {
		static uint8_t key[2][40];

		memcpy(key[0], g.g.cancel_key, 32);
		memcpy(key[1], h.g.cancel_key, 4);
		for (size_t i = 0; i < 2; i++) {
			buf_init(&b, 256);
			w_u32(&b, 777);
			w_vstr(&b, str_mem(key[i], n));
			w_vstr(&b, STR("10.1.2.3:9"));
			lab_put(&l, l.worker, IPC_CANCEL, CANCELLER, &b);
			buf_fini(&b);
			if (n != (i == 0 ? 32 : 4)) {
				CHECK(is_cancelled(&l));
				continue;
			}
			REQUIRE(lab_get(&l, l.worker, IPC_CANCEL_DO, &m));
			struct rd r = rd_of(m.body);

			CHECK_EQ_U(rd_u32(&r), 9 + i);
		}
	}
	CHECK(lab_quiet(&l, l.worker));
	lab_fini(&l);
}

TEST(keeper_cancels_and_dials) {
	struct lab l;
	struct ipc_msg m;
	struct grant_msg g;
	char token[128], id[64];
	struct buf b;

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(lab_granted(&l, 55, &(struct lab_asking){ .token = token, .slot = 9 }, &g));
	cancel(&l, str_mem(g.g.cancel_key, 4));
	REQUIRE(lab_get(&l, l.worker, IPC_CANCEL_DO, &m));
	struct rd r = rd_of(m.body);

	CHECK_EQ_U(m.id, CANCELLER);
	CHECK_EQ_U(rd_u32(&r), 9);
	CHECK_EQ_U(rd_u32(&r), 7);
	CHECK_EQ_U(rd_u32(&r), 777);
	CHECK_EQ_I(rd_done(&r), 0);
	CHECK(lab_quiet(&l, l.worker)); /* the session has to know first */
	lab_put(&l, l.worker, IPC_CANCEL_TAKEN, CANCELLER, NULL);
	CHECK(is_cancelled(&l));
	uint8_t wrong[4] = { (uint8_t)~g.g.cancel_key[0], 1, 2, 3 };

	cancel(&l, str_mem(wrong, 4));
	CHECK(is_cancelled(&l));
	CHECK(lab_act_comes(&l, "\"act\":\"cancel.missed\""));
	buf_init(&b, 16);
	w_u64(&b, g.grant);
	lab_put(&l, l.worker, IPC_DIAL, 56, &b);
	buf_fini(&b);
	REQUIRE(lab_get(&l, l.egress, IPC_CONNECT, &m));
	lab_connected(&l, m.id, 0, l.sup);
	REQUIRE(lab_get(&l, l.worker, IPC_DIALED, &m));
	CHECK(m.id == 56 && m.fd_count == 1);
	ipc_msg_close(&m);
	gone(&l, g.grant);
	cancel(&l, str_mem(g.g.cancel_key, 4));
	CHECK(is_cancelled(&l)); /* never late: the session is gone */
	lab_fini(&l);
}

/* ---- checkpoints ---- */

static int node_of(void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE]) {
	const uint8_t(*leaves)[SHA256_SIZE] = arg;

	if (level == 0) {
		memcpy(out, leaves[index], SHA256_SIZE);
		return 0;
	}
	struct tree t;

	tree_init(&t);
	for (uint64_t i = index << level; i < (index + 1) << level; i++)
		tree_add(&t, leaves[i]);
	tree_root(&t, out);
	return 0;
}

static int sign(struct lab *l, uint64_t old, uint64_t size, const uint8_t leaves[][SHA256_SIZE],
                struct buf *note) {
	struct tree_proof proof = { 0 };
	uint8_t root[SHA256_SIZE];
	struct ipc_msg m;
	struct buf b;

	CHECK_EQ_I(tree_root_at(node_of, (void *)(uintptr_t)leaves, size, root), 0);
	CHECK_EQ_I(tree_prove_consistency(node_of, (void *)(uintptr_t)leaves, old, size, &proof),
	           0);
	buf_init(&b, 65536);
	w_u64(&b, size);
	w_bytes(&b, str_mem(root, SHA256_SIZE));
	w_u64(&b, old);
	w_u16(&b, (uint16_t)proof.count);
	for (size_t i = 0; i < proof.count; i++)
		w_bytes(&b, str_mem(proof.hash[i], SHA256_SIZE));
	lab_put(l, l->recorder, IPC_SIGN, 5, &b);
	buf_fini(&b);
	if (!lab_get(l, l->recorder, IPC_SIGNED, &m))
		return H_EBUG;
	struct rd r = rd_of(m.body);
	int code = (int)rd_u32(&r);

	buf_clear(note);
	w_bytes(note, rd_vstr(&r));
	return code;
}

static void check_note(struct lab *l, const struct buf *note, uint64_t size) {
	struct ipc_msg m;
	struct tlog_vkey vkey;
	struct tlog_checkpoint c;

	lab_put(l, l->recorder, IPC_LAST_SIGNED, 6, NULL);
	if (!lab_get(l, l->recorder, IPC_LAST_SIGNED_IS, &m))
		return;
	struct rd r = rd_of(m.body);

	CHECK_EQ_U(rd_u64(&r), size);
	(void)rd_bytes(&r, SHA256_SIZE);
	CHECK(str_starts(rd_vstr(&r), STR("hansard/")));
	CHECK_EQ_I(tlog_vkey_parse(&vkey, rd_vstr(&r)), 0);
	CHECK_EQ_U(rd_bytes(&r, 16).n, 16);
	CHECK_EQ_I(rd_done(&r), 0);
	CHECK_EQ_I(tlog_checkpoint_open(&c, buf_peek(note), &vkey), 0);
	CHECK_EQ_U(c.size, size);
}

TEST(keeper_signs_only_what_continues) {
	uint8_t a[12][SHA256_SIZE], other[12][SHA256_SIZE];
	struct lab l;
	struct buf note;

	buf_init(&note, 65536);
	for (size_t i = 0; i < 12; i++) {
		tree_leaf(a[i], str_mem(&i, 1));
		memcpy(other[i], a[i], SHA256_SIZE);
	}
	other[2][0] ^= 1;
	REQUIRE(lab_start(&l, NULL, 0));
	CHECK_EQ_I(sign(&l, 0, 5, a, &note), 0);
	check_note(&l, &note, 5);
	CHECK_EQ_I(sign(&l, 0, 5, a, &note), 0); /* the same again */
	CHECK_EQ_I(sign(&l, 5, 11, other, &note), H_ETAMPERED);
	CHECK_EQ_I(sign(&l, 0, 5, other, &note), H_ETAMPERED);
	CHECK_EQ_I(sign(&l, 3, 4, a, &note), H_ETAMPERED); /* smaller: rolled back */
	CHECK_EQ_I(sign(&l, 4, 11, a, &note), H_EBUSY);    /* proof from elsewhere: ask for ours */
	CHECK_EQ_U(note.len, 0);
	CHECK_EQ_I(sign(&l, 5, 11, a, &note), 0);
	check_note(&l, &note, 11);
	CHECK(lab_logged(&l, "keeper.log.inconsistent"));
	REQUIRE(lab_restart(&l));
	CHECK_EQ_I(sign(&l, 5, 12, a, &note), H_EBUSY);
	CHECK_EQ_I(sign(&l, 11, 12, other, &note), H_ETAMPERED);
	CHECK_EQ_I(sign(&l, 11, 12, a, &note), 0);
	check_note(&l, &note, 12);
	buf_fini(&note);
	lab_fini(&l);
}

/* ---- reload, restart, drain ---- */

static int reload(struct lab *l, bool is_good, int store_code) {
	struct ipc_msg m;
	struct buf b;

	lab_put(l, l->sup, IPC_SUP_RELOAD, 0, NULL);
	if (is_good) {
		if (!lab_get(l, l->sup, IPC_SUP_CONFIG, &m))
			return H_EBUG;
		buf_init(&b, 256);
		w_u32(&b, (uint32_t)store_code);
		w_vstr(&b, STR("address in use"));
		lab_put(l, l->sup, IPC_SUP_STORE, 0, &b);
		buf_fini(&b);
	}
	if (!lab_get(l, l->sup, IPC_SUP_RELOADED, &m))
		return H_EBUG;
	struct rd r = rd_of(m.body);

	return (int)rd_u32(&r);
}

static const char second[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  store: { path: store }\n"
	"  listen: { postgres: \"127.0.0.1:15998\" }\n---\n"
	"apiVersion: hansard/v1\nkind: Connection\nmetadata: { name: other }\n"
	"spec:\n  protocol: postgres\n  address: 127.0.0.1:5432\n"
	"  databases: { default: d }\n"
	"  roles: { default: { user: app, auth: trust } }\n"
	"  access: [ { groups: [agents], roles: [default] } ]\n";

TEST(keeper_reloads_whole_or_nothing) {
	struct lab l;
	struct grant_msg g;
	struct ipc_msg m;
	char token[128], id[64];

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT, &m));
	ipc_msg_close(&m);
	lab_config(&l, "apiVersion: hansard/v1\nkind: Gatway\n");
	CHECK_EQ_I(reload(&l, false, 0), H_ECONFIG);
	lab_config(&l, second);
	CHECK_EQ_I(reload(&l, true, H_EBUSY), H_ECONFIG); /* the supervisor cannot bind */
	CHECK(lab_quiet(&l, l.worker));
	REQUIRE(lab_granted(&l, 1, &(struct lab_asking){ .token = token },
	                    &g)); /* the old one serves */
	CHECK(lab_act_comes(&l, "\"act\":\"config.refused\"") &&
	      lab_act_comes(&l, "did you mean") && lab_act_comes(&l, "address in use"));
	CHECK_EQ_I(reload(&l, true, 0), 0);
	REQUIRE(lab_get(&l, l.worker, IPC_SNAPSHOT, &m));
	ipc_msg_close(&m);
	CHECK(lab_act_comes(&l, "\"act\":\"config.applied\""));
	lab_admit(&l, 2, &(struct lab_asking){ .token = token });
	CHECK(lab_refused(&l, 2, H_EREFUSED, NULL)); /* shop is no more */
	REQUIRE(lab_granted(&l, 3, &(struct lab_asking){ .token = token, .connection = "other" },
	                    &g));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

TEST(keeper_restarts) {
	struct lab l;
	struct grant_msg g;
	struct ipc_msg m;
	char token[128], id[64];
	struct buf b, out;

	buf_init(&out, MIB);
	buf_init(&b, 4096);
	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	REQUIRE(lab_granted(&l, (uint64_t)7 << 32 | 9,
	                    &(struct lab_asking){ .token = token, .slot = 9, .key_size = 32 }, &g));
	uint64_t grant = g.grant;
	uint8_t key[32];

	memcpy(key, g.g.cancel_key, 32);
	REQUIRE(lab_restart(&l));
	w_u32(&b, 2);
	w_u64(&b, grant);
	w_u32(&b, 9);
	w_u32(&b, 7);
	w_vstr(&b, str_mem(key, 32));
	w_vstr(&b, STR("shop"));
	w_vstr(&b, STR("default"));
	w_u64(&b, 4711); /* one that state.db does not know */
	w_u32(&b, 10);
	w_u32(&b, 1);
	w_vstr(&b, STR("\x01\x02\x03\x04"));
	w_vstr(&b, STR("shop"));
	w_vstr(&b, STR("t"));
	lab_put(&l, l.worker, IPC_GRANTS, 0, &b);
	cancel(&l, str_mem(key, 32));
	REQUIRE(lab_get(&l, l.worker, IPC_CANCEL_DO, &m));
	struct rd r = rd_of(m.body);

	CHECK_EQ_U(rd_u32(&r), 9);
	CHECK_EQ_U(rd_u32(&r), 7);
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"sessions.live\"}", &out), 0);
	CHECK(lab_has(&out, "local:ci") && lab_has(&out, "ann@example.com") &&
	      lab_has(&out, "\"unknown\""));
	/* The token is still good; its sessions still count: one restored and three more. */
	for (uint64_t i = 1; i < 4; i++)
		REQUIRE(lab_granted(&l, i, &(struct lab_asking){ .token = token }, &g));
	lab_admit(&l, 5, &(struct lab_asking){ .token = token });
	CHECK(lab_refused(&l, 5, H_EBUSY, NULL));
	CHECK(lab_act_comes(&l, "\"act\":\"keeper.restarted\""));
	buf_fini(&b);
	buf_fini(&out);
	lab_fini(&l);
}

TEST(keeper_drains) {
	struct lab l;
	struct ipc_msg m;
	char token[128], id[64];
	struct buf b;

	REQUIRE(lab_start(&l, NULL, 0));
	REQUIRE(lab_token(&l, lab_issue, token, id));
	buf_init(&b, 16);
	w_u64(&b, 0);
	lab_put(&l, l.sup, IPC_SUP_DRAIN, 0, &b);
	buf_fini(&b);
	REQUIRE(lab_get(&l, l.sup, IPC_SUP_DRAINED, &m));
	CHECK(lab_act_comes(&l, "\"act\":\"gateway.stopped\""));
	lab_admit(&l, 1, &(struct lab_asking){ .token = token });
	CHECK(lab_refused(&l, 1, H_EDRAIN, NULL));
	CHECK_EQ_I(lab_stop(&l), 0);
	lab_fini(&l);
}

TEST(keeper_acts_survive_the_recorder) {
	struct lab l;
	struct buf out;

	buf_init(&out, MIB);
	REQUIRE(lab_start(&l, NULL, 0));
	lab_pump(&l, 100);
	l.mute = true;
	lab_admit(&l, 1, &(struct lab_asking){ .token = "x" });
	REQUIRE(lab_refused(&l, 1, H_EREFUSED, NULL));
	lab_pump(&l, 100);
	CHECK(lab_act_comes(&l, "session.refused"));
	buf_clear(&l.acts);
	l.mute = false;
	lab_peer(&l, ROLE_RECORDER, 0);
	lab_peer(&l, ROLE_RECORDER, 1);
	for (int i = 0; i < 50 && l.acts.len == 0; i++)
		lab_pump(&l, 20);
	CHECK(lab_act_comes(&l, "session.refused")); /* sent again */
	buf_clear(&l.acts);
	lab_peer(&l, ROLE_RECORDER, 0);
	lab_peer(&l, ROLE_RECORDER, 1);
	lab_pump(&l, 200);
	CHECK_EQ_U(l.acts.len, 0); /* it was acknowledged */
	/* A recorder that cannot take acts now gets them again, until it can. */
	l.act_code = H_ERECORDER;
	lab_admit(&l, 2, &(struct lab_asking){ .token = "x", .address = "10.7.7.7:1" });
	REQUIRE(lab_refused(&l, 2, H_EREFUSED, NULL) && lab_act_comes(&l, "10.7.7.0"));
	l.act_code = 0;
	buf_clear(&l.acts);
	CHECK(lab_act_comes(&l, "10.7.7.0"));
	buf_fini(&out);
	lab_fini(&l);
}

TEST(keeper_control_refuses_nonsense) {
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"cmd\":\"shutdown\"}",
		"{\"cmd\":\"token.issue\"}",
		"{\"cmd\":\"token.issue\",\"subject\":\"a\",\"kind\":\"agent\",\"ttl_ns\":1}",
		"{\"cmd\":\"token.issue\",\"subject\":\"a\",\"kind\":\"king\",\"ttl_ns\":3600000000000}",
		"{\"cmd\":\"token.issue\",\"subject\":\"a\",\"kind\":\"agent\",\"ttl_ns\":3600000000,\"x\":1}",
		"{\"cmd\":\"token.issue\",\"subject\":\"a\",\"kind\":\"agent\",\"ttl_ns\":3600000000,\"connection\":\"nope\"}",
		"{\"cmd\":\"token.revoke\"}",
		"{\"cmd\":\"act\",\"act\":\"gateway.started\"}",
		"{\"cmd\":\"act\",\"act\":\"record.viewed\",\"who\":\"root\"}",
		"{\"cmd\":\"pin.forget\"}",
		"{\"cmd\":\"pin.forget\",\"connection\":\"shop\",\"role\":\"ro\"}",
		"{\"cmd\":\"why\"}",
		"{\"cmd\":\"status\",\"cmd\":\"status\"}",
	};
	struct lab l;
	struct buf out;

	buf_init(&out, MIB);
	REQUIRE(lab_start(&l, NULL, 0));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_EQ_I(lab_ask(&l, bad[i], &out), 0);
		if (!CHECK(lab_has(&out, "\"ok\":false") && lab_has(&out, "\"done\":true}")))
			test_note("%s: %s", bad[i], buf_peek(&out).p);
	}
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"status\"}", &out), 0);
	CHECK(lab_has(&out, "\"ok\":true") && lab_has(&out, "\"vkey\":\"hansard/"));
	CHECK_EQ_I(lab_ask(&l, "{\"cmd\":\"act\",\"act\":\"record.viewed\",\"session\":\"s1\"}",
	                   &out),
	           0);
	CHECK(lab_act_comes(&l, "\"act\":\"record.viewed\"") && lab_act_comes(&l, "\"uid\":"));
	CHECK_EQ_I(lab_stop(&l), 0);
	buf_fini(&out);
	lab_fini(&l);
}

TEST_MAIN
