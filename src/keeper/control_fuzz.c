/*
 * control_fuzz.c: what crosses into the keeper from its peers: questions on control.sock, ADMIT and
 * the worker's other messages, the recorder's. The keeper runs whole, in this process, on a store in
 * memory; its channels lead nowhere.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "keeper/keeper_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] = "apiVersion: hansard/v1\nkind: Gateway\n---\n"
			   "apiVersion: hansard/v1\nkind: Connection\nmetadata: { name: shop }\n"
			   "spec:\n  protocol: postgres\n  address: 127.0.0.1:1\n"
			   "  databases: { allow: [\"*\"] }\n"
			   "  roles: { default: { user: app, auth: trust } }\n"
			   "  access: [ { groups: [agents], roles: [default] } ]\n";

struct world {
	struct keeper k;
	struct start start;
	int peers[ROLE_COUNT]; /* the other ends */
	int client;
};

static void runtime_make(struct keeper *k) {
	struct findings f;
	struct err e = { 0 };
	static const struct tls_pair pair = { .cert_pem = { "c", 1 }, .key_pem = { "k", 1 } };

	findings_init(&f);
	struct config *c = config_parse(str_of(text), STR("f"), STR("/"), &f);
	int rc = runtime_build(&k->rt, &c, &k->env, &pair, &f);

	if (rc == 0)
		rc = state_open(&k->state, ":memory:", &e);
	assert(rc == 0);
	findings_fini(&f);
}

static void chan_make(struct world *w, enum role role, chan_fn *fn) {
	struct chan *c = &w->k.chan[role];
	int fd[2];
	int rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd);

	*c = (struct chan){ .k = &w->k, .peer = role, .fn = fn };
	w->peers[role] = fd[1];
	if (rc == 0)
		rc = chan_open(c, fd[0]);
	assert(rc == 0);
}

static void on_recorder(struct keeper *k, struct ipc_msg *m) {
	if (m->type == IPC_SIGN)
		sign_on_ask(k, m);
	else if (m->type == IPC_ACT_DONE)
		acts_on_done(k, m);
	else
		grants_on_opened(k, m);
}

static void world_make(struct world *w) {
	struct keeper *k = &w->k;

	*w = (struct world){ 0 };
	start_init(&w->start, ROLE_KEEPER);
	k->start = &w->start;
	k->packet = xmalloc(IPC_MAX + 16);
	k->loop = loop_new();
	list_init(&k->acts);
	k->grants = map_new(1024);
	k->ops = map_new(1024);
	k->keys = map_new(1024);
	k->subjects = map_new(1024);
	prove_setup(k);
	k->refusals = refusals_new(act_refusal, k);
	k->cancels = refusals_new(act_cancel_missed, k);
	(void)snprintf(k->origin, sizeof(k->origin), "hansard/00000000");
	runtime_make(k);
	chan_make(w, ROLE_WORKER, grants_on_worker);
	chan_make(w, ROLE_RECORDER, on_recorder);
	chan_make(w, ROLE_EGRESS, grants_on_connected);
}

/* Input: a sequence of (role, type, length, bytes). */
static void play(struct world *w, struct str in) {
	static const enum role from[] = { ROLE_WORKER, ROLE_RECORDER, ROLE_EGRESS };
	struct rd r = rd_of(in);

	while (rd_left(&r) >= 6) {
		enum role role = from[rd_u8(&r) % ARRAY_LEN(from)];
		uint16_t type = rd_u8(&r);
		uint64_t id = rd_u16(&r);
		struct str body = rd_bytes(&r, MIN(rd_u16(&r), rd_left(&r)));

		if (ipc_type_name(type) == NULL)
			continue;
		/* The operations under way are numbered from 1: let answers meet them. */
		if (ipc_send(w->peers[role], type, id % 8, body, NULL, 0) < 0)
			break;
		(void)!loop_turn(w->k.loop, 0);
	}
}

/* One question per line, on a connection like a client's. */
static void ask(struct world *w, struct str in) {
	int fd[2];
	int rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd);

	if (rc == 0)
		rc = control_open(&w->k, -1);
	if (rc == 0)
		rc = control_take(&w->k, fd[0]);
	assert(rc == 0);
	while (in.n != 0) {
		if (ipc_send(fd[1], IPC_CTL_ASK, 1, str_head(str_cut(&in, '\n'), IPC_MAX), NULL,
		             0) < 0)
			break;
		(void)!loop_turn(w->k.loop, 0);
	}
	(void)close(fd[1]);
	(void)!loop_turn(w->k.loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct world w;

	world_make(&w);
	if (size != 0 && data[0] % 2 == 0)
		play(&w, str_mem(data + 1, size - 1));
	else if (size != 0)
		ask(&w, str_mem(data + 1, size - 1));
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		int fd = w.k.chan[i].k != NULL ? w.k.chan[i].w.fd : -1;

		if (w.k.chan[i].k == NULL)
			continue;
		chan_close(&w.k.chan[i]);
		w.k.chan[i].k = NULL;
		(void)close(fd);
		(void)close(w.peers[i]);
	}
	keeper_fini(&w.k);
	return 0;
}
