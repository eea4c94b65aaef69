/*
 * keeper_lab.c: the keeper's world in a test (keeper_lab.h).
 */
#include "keeper/keeper_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/test.h"
#include "ipc/ctl.h"
#include "keeper/keeper_priv.h"

enum { WAIT_MS = 10000 };

static const char usual[] =
	"apiVersion: hansard/v1\nkind: Gateway\nspec:\n  store: { path: store }\n"
	"  listen: { postgres: \"127.0.0.1:15999\" }\n"
	"  limits: { sessions_per_identity: 4, failed_proofs: 8 }\n---\n"
	"apiVersion: hansard/v1\nkind: Connection\n"
	"metadata: { name: shop, labels: { env: prod } }\nspec:\n"
	"  protocol: postgres\n  address: 127.0.0.1:5432\n"
	"  databases: { default: shop, allow: [shop] }\n"
	"  tls: { mode: verify-full }\n"
	"  roles:\n    default: { user: app, auth: md5, password: { env: PW } }\n"
	"    t: { user: app_t, auth: trust }\n"
	"  access: [ { groups: [agents], roles: [default, t] } ]\n"
	"  hygiene: open\n  session_max: 2h\n";

void lab_config(struct lab *l, const char *text) {
	auto_free char *path = xasprintf("%s/hansard.yaml", l->dir);
	struct err e = { 0 };

	if (file_write(path, str_of(text), 0600, &e) < 0)
		abort();
}

static int env_memfd(void) {
	static const char env[] = "HOME=/x\0PW=" LAB_PASSWORD "\0PWX=no";
	int fd = memfd_create("env", MFD_CLOEXEC);

	if (fd < 0 || write(fd, env, sizeof(env)) != (ssize_t)sizeof(env))
		abort();
	return fd;
}

static int child(struct lab *l, bool is_again) {
	auto_free char *log = xasprintf("%s/log", l->dir);
	auto_free char *config = xasprintf("%s/hansard.yaml", l->dir);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct start s;
	struct keeper k;

	(void)dup2(out, STDERR_FILENO);
	close(l->sup);
	close(l->worker);
	close(l->recorder);
	close(l->egress);
	start_init(&s, ROLE_KEEPER);
	s.supervisor = l->keeper_ends[ROLE_SUPERVISOR];
	for (size_t i = 0; i < ROLE_COUNT; i++)
		s.peer[i] = i == ROLE_SUPERVISOR ? -1 : l->keeper_ends[i];
	s.env = env_memfd();
	s.config_path = str_of(config);
	s.peers_restarted = is_again;
	s.control = is_again ? l->control : -1;
	log_setup("keeper", true, LOG_DEBUG);
	crypto_setup();
	int rc = keeper_setup(&k, &s);

	if (rc == 0)
		rc = keeper_serve(&k);
	keeper_fini(&k);
	return rc < 0 ? 1 : 0;
}

static void pair(struct lab *l, enum role role, int *ours) {
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	*ours = fd[0];
	l->keeper_ends[role] = fd[1];
}

static void control_listen(struct lab *l) {
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/store/control.sock", l->dir);
	l->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (l->control < 0 || bind(l->control, (const struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(l->control, 16) < 0)
		abort();
}

static bool spawn(struct lab *l, bool is_again) {
	(void)fflush(NULL);
	l->pid = fork();
	if (l->pid < 0)
		abort();
	if (l->pid == 0)
		exit(child(l, is_again)); /* not _exit: a leak of the keeper must be seen */
	return true;
}

/* SUP_CONFIG comes, SUP_STORE goes. */
static bool answer_config(struct lab *l, int code) {
	struct ipc_msg m;
	struct buf b;

	if (!lab_get(l, l->sup, IPC_SUP_CONFIG, &m))
		return false;
	buf_init(&b, 4096);
	w_u32(&b, (uint32_t)code);
	w_vstr(&b, str_of(code < 0 ? "the store is locked" : ""));
	lab_put_fd(l, l->sup, IPC_SUP_STORE, 0, &b, code < 0 ? -1 : l->control);
	buf_fini(&b);
	return true;
}

static bool wait_ready(struct lab *l) {
	struct ipc_msg m;

	return answer_config(l, 0) && lab_get(l, l->sup, IPC_SUP_READY, &m);
}

bool lab_start(struct lab *l, const char *config, int store_code) {
	*l = (struct lab){ .control = -1 };
	(void)snprintf(l->dir, sizeof(l->dir), "/tmp/hansard-keeper-XXXXXX");
	if (mkdtemp(l->dir) == NULL)
		abort();
	auto_free char *store = xasprintf("%s/store", l->dir);

	if (mkdir(store, 0700) < 0)
		abort();
	lab_config(l, config != NULL ? config : usual);
	pair(l, ROLE_SUPERVISOR, &l->sup);
	pair(l, ROLE_WORKER, &l->worker);
	pair(l, ROLE_RECORDER, &l->recorder);
	pair(l, ROLE_EGRESS, &l->egress);
	l->keeper_ends[ROLE_KEEPER] = -1;
	control_listen(l);
	l->packet = xmalloc(IPC_MAX + 16);
	buf_init(&l->acts, MIB);
	buf_init(&l->open_json, MIB);
	(void)spawn(l, false);
	return store_code < 0 ? answer_config(l, store_code) : wait_ready(l);
}

bool lab_restart(struct lab *l) {
	int status;

	(void)kill(l->pid, SIGKILL);
	(void)waitpid(l->pid, &status, 0);
	(void)spawn(l, true);
	return wait_ready(l);
}

int lab_stop(struct lab *l) {
	int status = -1;

	if (l->pid <= 0)
		return -1;
	close(l->keeper_ends[ROLE_SUPERVISOR]);
	close(l->sup);
	l->sup = l->keeper_ends[ROLE_SUPERVISOR] = -1;
	for (int i = 0; i < 200 && waitpid(l->pid, &status, WNOHANG) == 0; i++)
		(void)usleep(25000);
	l->pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

void lab_fini(struct lab *l) {
	if (l->pid > 0) {
		int status;

		(void)kill(l->pid, SIGKILL);
		(void)waitpid(l->pid, &status, 0);
	}
	const int ours[] = { l->sup, l->worker, l->recorder, l->egress, l->control };

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (ours[i] >= 0)
			close(ours[i]);
	}
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (l->keeper_ends[i] >= 0)
			close(l->keeper_ends[i]);
	}
	buf_fini(&l->acts);
	buf_fini(&l->open_json);
	free(l->packet);
	(void)nftw(l->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void lab_put_fd(struct lab *l, int fd, unsigned type, uint64_t id, const struct buf *b, int pass) {
	(void)l;
	int rc = ipc_send(fd, (uint16_t)type, id, b != NULL ? buf_peek(b) : STR_NONE, &pass,
	                  pass >= 0 ? 1 : 0);

	CHECK_EQ_I(rc, 0);
}

void lab_put(struct lab *l, int fd, unsigned type, uint64_t id, const struct buf *b) {
	lab_put_fd(l, fd, type, id, b, -1);
}

/* ---- the recorder ---- */

static void on_act(struct lab *l, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);
	struct str json = rd_vstr(&r);
	struct buf b;

	CHECK_EQ_I(rd_done(&r), 0);
	w_bytes(&l->acts, json);
	w_u8(&l->acts, '\n');
	if (l->mute)
		return;
	buf_init(&b, 16);
	w_u32(&b, (uint32_t)l->act_code);
	lab_put(l, l->recorder, IPC_ACT_DONE, m->id, &b);
	buf_fini(&b);
}

static void on_open(struct lab *l, const struct ipc_msg *m) {
	struct rd r = rd_of(m->body);

	(void)rd_u16(&r);
	(void)rd_u32(&r);
	(void)rd_u32(&r);
	struct str sid = rd_bytes(&r, 16);

	(void)rd_u8(&r);
	(void)rd_u64(&r);
	struct str json = rd_vstr(&r);

	CHECK_EQ_I(rd_done(&r), 0);
	memcpy(l->open_sid, sid.p, 16);
	l->open_id = m->id;
	l->has_open = true;
	buf_clear(&l->open_json);
	w_bytes(&l->open_json, json);
}

static void on_abandon(struct lab *l, const struct ipc_msg *m) {
	if (CHECK(m->body.n > 16))
		memcpy(l->abandoned_sid, m->body.p, 16);
	l->abandoned++;
}

bool lab_abandoned(struct lab *l) {
	for (int i = 0; i < 200 && l->abandoned == 0; i++)
		lab_pump(l, 20);
	if (!CHECK(l->abandoned > 0))
		return false;
	l->abandoned--;
	return true;
}

/* One message of the recorder's channel that nobody waits for. True when it was one of those. */
static bool recorder_takes(struct lab *l, const struct ipc_msg *m) {
	if (m->type == IPC_ACT)
		on_act(l, m);
	else if (m->type == IPC_OPEN)
		on_open(l, m);
	else if (m->type == IPC_ABANDON)
		on_abandon(l, m);
	else
		return false;
	return true;
}

void lab_pump(struct lab *l, int ms) {
	struct pollfd p = { .fd = l->recorder, .events = POLLIN };
	struct ipc_msg m;

	while (poll(&p, 1, ms) > 0 && ipc_recv(l->recorder, l->packet, &m) > 0) {
		CHECK(recorder_takes(l, &m));
		ipc_msg_close(&m);
	}
}

bool lab_get(struct lab *l, int fd, unsigned type, struct ipc_msg *m) {
	for (int waited = 0; waited < WAIT_MS; waited += 10) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (fd != l->recorder)
			lab_pump(l, 0);
		if (poll(&p, 1, 10) <= 0)
			continue;
		int rc = ipc_recv(fd, l->packet, m);

		if (rc < 0)
			return CHECK(rc >= 0);
		if (rc == 0)
			continue;
		if (fd == l->recorder && m->type != type && recorder_takes(l, m))
			continue;
		if (m->type == IPC_SNAPSHOT && type != IPC_SNAPSHOT) {
			ipc_msg_close(m);
			continue;
		}
		return CHECK_EQ_U(m->type, type);
	}
	test_note("waited for %s", ipc_type_name(type));
	return CHECK(false);
}

bool lab_quiet(struct lab *l, int fd) {
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 10; i++) {
		lab_pump(l, 0);
		if (poll(&p, 1, 10) > 0)
			return fd == l->recorder;
	}
	return true;
}

bool lab_open(struct lab *l, int code) {
	struct buf b;

	for (int i = 0; i < 200 && !l->has_open; i++)
		lab_pump(l, 20);
	if (!CHECK(l->has_open))
		return false;
	l->has_open = false;
	if (code > 0)
		return true;
	buf_init(&b, 16);
	w_u32(&b, (uint32_t)code);
	lab_put(l, l->recorder, IPC_OPENED, l->open_id, &b);
	buf_fini(&b);
	return true;
}

/* ---- asking ---- */

struct asking {
	char store[96];
	struct str json;
	struct buf *out;
	int rc;
	_Atomic bool is_done;
};

static int collect(void *arg, struct str json) {
	struct asking *a = arg;

	w_bytes(a->out, json);
	w_u8(a->out, '\n');
	return 0;
}

static void *ask_thread(void *arg) {
	struct asking *a = arg;
	struct err e = { 0 };

	a->rc = ctl_call(a->store, a->json, collect, a, &e);
	a->is_done = true;
	return NULL;
}

int lab_ask(struct lab *l, const char *json, struct buf *out) {
	struct asking a = { .json = str_of(json), .out = out };
	pthread_t t;

	buf_clear(out);
	(void)snprintf(a.store, sizeof(a.store), "%s/store", l->dir);
	if (pthread_create(&t, NULL, ask_thread, &a) != 0)
		abort();
	while (!a.is_done)
		lab_pump(l, 5);
	(void)pthread_join(t, NULL);
	w_u8(out, 0);
	return a.rc;
}

bool lab_member(const struct buf *json, const char *name, char *out, size_t cap) {
	auto_free char *key = xasprintf("\"%s\":\"", name);
	const char *p = json->len != 0 ? strstr(buf_peek(json).p, key) : NULL;

	if (p == NULL)
		return false;
	p += strlen(key);
	return str_copy(out, cap, str_mem(p, strcspn(p, "\"")));
}

/* ---- one admission ---- */

const char lab_issue[] = "{\"cmd\":\"token.issue\",\"subject\":\"ci\",\"kind\":\"agent\","
			 "\"groups\":[\"agents\"],\"on_behalf_of\":\"ann@example.com\","
			 "\"run\":\"r-1\",\"context\":{\"task\":\"T-1\"},\"ttl_ns\":3600000000000}";

bool lab_has(const struct buf *b, const char *text) {
	return b->len != 0 && memmem(buf_peek(b).p, b->len, text, strlen(text)) != NULL;
}

/* Acts come on their own channel: waits for one that holds the text. */
bool lab_act_comes(struct lab *l, const char *text) {
	for (int i = 0; i < 100 && !lab_has(&l->acts, text); i++)
		lab_pump(l, 20);
	return lab_has(&l->acts, text);
}

bool lab_token(struct lab *l, const char *ask, char token[128], char id[64]) {
	struct buf out;

	buf_init(&out, MIB);
	bool ok = CHECK_EQ_I(lab_ask(l, ask, &out), 0) && lab_member(&out, "token", token, 128) &&
	          lab_member(&out, "id", id, 64);

	buf_fini(&out);
	return ok;
}

void lab_admit(struct lab *l, uint64_t id, const struct lab_asking *a) {
	struct admit_msg m = {
		.slot = a->slot,
		.generation = 7,
		.protocol = STR("postgres"),
		.admit = { .connection = str_of(a->connection != NULL ? a->connection : "shop"),
		           .role = str_of(a->role),
		           .database = str_of(a->database),
		           .hint = str_of(a->hint),
		           .proof_kind = a->kind,
		           .proof = str_of(a->token),
		           .client_app = STR("psql"),
		           .wants_replication = a->wants_replication,
		           .is_role_optional = a->is_role_optional,
		           .cancel_key_size = a->key_size != 0 ? a->key_size : CANCEL_KEY_SHORT },
		.client_address = str_of(a->address != NULL ? a->address : "10.1.2.3:55"),
		.client_tls = STR("TLSv1.3 X"),
		.exchange = a->exchange,
	};
	struct buf b;

	buf_init(&b, IPC_MAX);
	admit_put(&b, &m);
	lab_put(l, l->worker, IPC_ADMIT, id, &b);
	buf_fini(&b);
}

bool lab_refused(struct lab *l, uint64_t id, int code, char ref[16]) {
	struct ipc_msg m;

	if (!lab_get(l, l->worker, IPC_REFUSE, &m))
		return false;
	struct rd r = rd_of(m.body);
	bool ok = CHECK_EQ_U(m.id, id) && CHECK_EQ_I((int)rd_u32(&r), code);
	struct str text = rd_vstr(&r);
	size_t at = str_find(text, '(');

	ok = ok && CHECK(str_copy(l->challenge, sizeof(l->challenge), rd_vstr(&r)));
	/* Only who could not prove itself, or may not, is told nothing. */
	ok = ok && CHECK_EQ_I(rd_done(&r), 0) &&
	     CHECK_EQ_I(str_starts(text, STR("not admitted (ref ")), code == H_EREFUSED) &&
	     CHECK(text.n >= at + 5 + 9 + 1 && str_starts(str_from(text, at), STR("(ref ")));
	if (ok && ref != NULL)
		(void)snprintf(ref, 16, "%.9s", text.p + at + 5);
	return ok;
}

void lab_connected(struct lab *l, uint64_t id, int code, int fd) {
	struct buf b;

	buf_init(&b, 4096);
	w_u32(&b, (uint32_t)code);
	w_vstr(&b, STR("connection refused"));
	w_vstr(&b, STR("127.0.0.1:5432"));
	lab_put_fd(l, l->egress, IPC_CONNECTED, id, &b, fd);
	buf_fini(&b);
}

/* ADMIT to GRANT. */
bool lab_granted(struct lab *l, uint64_t id, const struct lab_asking *a, struct grant_msg *ret) {
	struct ipc_msg m;
	auto_fd int socket_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	lab_admit(l, id, a);
	if (!lab_open(l, 0) || !lab_get(l, l->egress, IPC_CONNECT, &m))
		return false;
	lab_connected(l, m.id, 0, socket_fd);
	if (!lab_get(l, l->worker, IPC_GRANT, &m))
		return false;
	bool ok = CHECK_EQ_U(m.id, id) && CHECK_EQ_U(m.fd_count, 1) &&
	          CHECK_EQ_I(grant_get(ret, m.body), 0);

	ipc_msg_close(&m);
	return ok;
}

void lab_peer(struct lab *l, enum role role, uint8_t is_up) {
	lab_peer_fd(l, role, is_up, -1);
}

void lab_peer_fd(struct lab *l, enum role role, uint8_t is_up, int fd) {
	struct buf b;

	buf_init(&b, IPC_MAX);
	w_u8(&b, (uint8_t)role);
	w_u8(&b, is_up);
	lab_put_fd(l, l->sup, IPC_SUP_PEER, 0, &b, fd);
	/* Channels are not ordered among each other: an answer shows that it was seen. */
	CHECK_EQ_I(lab_ask(l, "{\"cmd\":\"status\"}", &b), 0);
	buf_fini(&b);
}

/* ---- looking for what must not be there ---- */

static bool file_has(const char *path, const char *text) {
	struct err e = { 0 };
	size_t n = 0;
	auto_free char *all = config_file_read(path, 64 * MIB, &n, &e);

	return all != NULL && memmem(all, n, text, strlen(text)) != NULL;
}

/* nftw() passes nothing along. */
static struct {
	const char *text, *except;
	bool has;
} wanted;

static int look(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	(void)st;
	if (type == FTW_F &&
	    (wanted.except == NULL || strcmp(path + ftw->base, wanted.except) != 0))
		wanted.has = wanted.has || file_has(path, wanted.text);
	return 0;
}

static bool tree_has(const char *path, const char *text, const char *except) {
	wanted.text = text;
	wanted.except = except;
	wanted.has = false;
	(void)nftw(path, look, 16, FTW_PHYS);
	return wanted.has;
}

bool lab_leaks(struct lab *l, const char *text, const char *except) {
	struct str acts = buf_peek(&l->acts), open = buf_peek(&l->open_json);

	return tree_has(l->dir, text, except) ||
	       (acts.n != 0 && memmem(acts.p, acts.n, text, strlen(text)) != NULL) ||
	       (open.n != 0 && memmem(open.p, open.n, text, strlen(text)) != NULL);
}

unsigned lab_log_count(struct lab *l, const char *text) {
	auto_free char *path = xasprintf("%s/log", l->dir);
	struct err e = { 0 };
	auto_free char *all = config_file_read(path, 64 * MIB, NULL, &e);
	unsigned n = 0;

	for (const char *p = all; p != NULL && (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

bool lab_logged(struct lab *l, const char *text) {
	auto_free char *path = xasprintf("%s/log", l->dir);

	return file_has(path, text);
}
