/*
 * snapshot.c: encoding, sealing and reading snapshots (layout in snapshot.h).
 *
 * The parser is pure and total: counts are checked against the bytes that are left before memory
 * is taken for them (an entry needs at least as many bytes as it has fields), so a hostile length
 * costs nothing. Targets must be strictly sorted, which makes look-up a binary search and a
 * duplicate name impossible.
 */
#include "config/snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/rd.h"

#define MAGIC STR("HSNP")
enum { VERSION = 3, LISTENER_MIN = 4, TARGET_MIN = 6, TLS_LAST = 3, PROOF_LAST = 2 };
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int str_cmp(struct str a, struct str b) {
	size_t n = MIN(a.n, b.n);
	int c = n != 0 ? memcmp(a.p, b.p, n) : 0;

	if (c != 0)
		return c;
	return (a.n > b.n) - (a.n < b.n);
}

static void put_content(struct buf *b, const struct snapshot *s) {
	w_bytes(b, str_mem(s->config_sha256, SHA256_SIZE));
	w_u32(b, s->sessions_max);
	w_u32(b, s->preadmission_max);
	w_u64(b, s->admission_ns);
	w_vstr(b, s->domain);
	w_u32(b, (uint32_t)s->listener_count);
	for (size_t i = 0; i < s->listener_count; i++) {
		const struct snapshot_listener *l = &s->listeners[i];

		w_vstr(b, l->protocol);
		w_vstr(b, l->address);
		w_u8(b, l->has_tls);
		w_vstr(b, l->cert_pem);
	}
	w_u32(b, (uint32_t)s->target_count);
	for (size_t i = 0; i < s->target_count; i++) {
		const struct snapshot_target *t = &s->targets[i];

		assert(i == 0 || str_cmp(s->targets[i - 1].connection, t->connection) < 0);
		w_vstr(b, t->connection);
		w_vstr(b, t->protocol);
		w_u8(b, t->tls);
		w_u8(b, t->proof);
		w_vstr(b, t->ca_pem);
		w_vstr(b, t->server_name);
	}
}

int snapshot_encode(struct buf *b, struct snapshot *s) {
	struct buf content, keys;

	if (s->listener_count > SNAPSHOT_LISTENERS_MAX || s->target_count > SNAPSHOT_TARGETS_MAX)
		return H_ELIMIT;
	buf_init(&content, SNAPSHOT_SIZE_MAX);
	buf_init(&keys, SNAPSHOT_SIZE_MAX);
	put_content(&content, s);
	for (size_t i = 0; i < s->listener_count; i++)
		w_vstr(&keys, s->listeners[i].key_pem);
	w_bytes(b, MAGIC);
	w_u32(b, VERSION);
	w_vstr(b, buf_peek(&content));
	w_vstr(b, buf_peek(&keys));
	sha256(s->hash, buf_peek(&content));
	int rc = w_done(&content) < 0 || w_done(&keys) < 0 ? H_ELIMIT : w_done(b);

	buf_fini(&content);
	buf_clear(&keys);
	buf_trim(&keys, true);
	buf_fini(&keys);
	return rc;
}

int snapshot_seal(struct str bytes) {
	auto_fd int fd = memfd_create("hansard-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return H_EIO;
	for (size_t at = 0; at < bytes.n;) {
		ssize_t n = write(fd, bytes.p + at, bytes.n - at);

		if (n <= 0)
			return H_EIO;
		at += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return H_EIO;
	return take_fd(&fd);
}

static void get_listeners(struct rd *r, struct snapshot *s) {
	uint32_t count = rd_u32(r);

	if (count > SNAPSHOT_LISTENERS_MAX || count > rd_left(r) / LISTENER_MIN) {
		rd_fail(r);
		return;
	}
	s->listeners = xcalloc(MAX(count, 1U), sizeof(*s->listeners));
	s->listener_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct snapshot_listener *l = &s->listeners[i];

		l->protocol = rd_vstr(r);
		l->address = rd_vstr(r);
		uint8_t has_tls = rd_u8(r);

		if (has_tls > 1)
			rd_fail(r);
		l->has_tls = has_tls == 1;
		l->cert_pem = rd_vstr(r);
	}
}

static void get_targets(struct rd *r, struct snapshot *s) {
	uint32_t count = rd_u32(r);

	if (count > SNAPSHOT_TARGETS_MAX || count > rd_left(r) / TARGET_MIN) {
		rd_fail(r);
		return;
	}
	s->targets = xcalloc(MAX(count, 1U), sizeof(*s->targets));
	s->target_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct snapshot_target *t = &s->targets[i];

		t->connection = rd_vstr(r);
		t->protocol = rd_vstr(r);
		t->tls = rd_u8(r);
		t->proof = rd_u8(r);
		t->ca_pem = rd_vstr(r);
		t->server_name = rd_vstr(r);
		bool is_sorted = i == 0 || str_cmp(s->targets[i - 1].connection, t->connection) < 0;

		if (t->tls > TLS_LAST || t->proof > PROOF_LAST || !is_sorted)
			rd_fail(r);
	}
}

static int get_content(struct snapshot *s, struct str content) {
	struct rd r = rd_of(content);
	struct str config = rd_bytes(&r, SHA256_SIZE);

	if (config.n == SHA256_SIZE)
		memcpy(s->config_sha256, config.p, SHA256_SIZE);
	s->sessions_max = rd_u32(&r);
	s->preadmission_max = rd_u32(&r);
	s->admission_ns = rd_u64(&r);
	s->domain = rd_vstr(&r);
	get_listeners(&r, s);
	get_targets(&r, s);
	sha256(s->hash, content);
	return rd_done(&r);
}

static int get_keys(struct snapshot *s, struct str keys) {
	struct rd r = rd_of(keys);

	for (size_t i = 0; i < s->listener_count; i++) {
		struct snapshot_listener *l = &s->listeners[i];

		l->key_pem = rd_vstr(&r);
		if (l->has_tls != (l->key_pem.n != 0) || l->has_tls != (l->cert_pem.n != 0))
			rd_fail(&r);
	}
	return rd_done(&r);
}

int snapshot_parse(struct snapshot *s, struct str bytes) {
	struct rd r = rd_of(bytes);

	*s = (struct snapshot){ 0 };
	if (!str_eq(rd_bytes(&r, MAGIC.n), MAGIC))
		return H_EFORMAT;
	if (rd_u32(&r) != VERSION)
		return r.bad ? H_ETRUNC : H_EVERSION;
	struct str content = rd_vstr(&r);
	struct str keys = rd_vstr(&r);
	int rc = rd_done(&r);

	if (rc == 0)
		rc = get_content(s, content);
	if (rc == 0)
		rc = get_keys(s, keys);
	if (rc < 0)
		snapshot_free(s);
	return rc;
}

static int read_whole(int fd, uint8_t *p, size_t n) {
	for (size_t at = 0; at < n;) {
		ssize_t got = pread(fd, p + at, n - at, (off_t)at);

		if (got <= 0)
			return H_EIO;
		at += (size_t)got;
	}
	return 0;
}

int snapshot_load(struct snapshot *s, int fd) {
	struct stat st;

	*s = (struct snapshot){ 0 };
	if ((fcntl(fd, F_GET_SEALS) & SEALS) != SEALS || fstat(fd, &st) < 0)
		return H_EFORMAT;
	if (st.st_size <= 0 || (size_t)st.st_size > SNAPSHOT_SIZE_MAX + 64)
		return H_ELIMIT;
	size_t n = (size_t)st.st_size;
	uint8_t *mem = xmalloc(n);
	int rc = read_whole(fd, mem, n);

	if (rc == 0)
		rc = snapshot_parse(s, str_mem(mem, n));
	if (rc < 0) {
		wipe(mem, n);
		free(mem);
		return rc;
	}
	s->mem = mem;
	s->mem_size = n;
	return 0;
}

void snapshot_free(struct snapshot *s) {
	free(s->listeners);
	free(s->targets);
	if (s->mem != NULL)
		wipe(s->mem, s->mem_size);
	free(s->mem);
	*s = (struct snapshot){ 0 };
}

const struct snapshot_target *snapshot_target_find(const struct snapshot *s,
                                                   struct str connection) {
	size_t lo = 0, hi = s->target_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = str_cmp(connection, s->targets[mid].connection);

		if (c == 0)
			return &s->targets[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}
