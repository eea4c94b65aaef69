/* crash_store.c: the crash test's stores, verified or kept (crash_store.h). */
#include "crash_store.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/journal_format.h"
#include "record/vfs.h"

static void wrong(struct crash_seen *seen, const char *what, const struct verify_place *at) {
	if (seen->wrong[0] == '\0')
		(void)snprintf(seen->wrong, sizeof(seen->wrong), "%s (%s byte %llu, frame %lld)",
		               what, at->file, (unsigned long long)at->offset,
		               (long long)at->frame);
}

static void on_finding(void *arg, const struct verify_finding *f) {
	if (f->severity == VERIFY_TAMPERED)
		wrong(arg, f->text, &f->place);
}

static void on_session(void *arg, const struct verify_session *v) {
	struct crash_seen *seen = arg;
	bool is_done = v->state == VERIFY_COMPLETE || v->state == VERIFY_GAP;
	size_t i = 0;

	while (i < seen->count && memcmp(seen->said[i].sid, v->sid, SID_SIZE) != 0)
		i++;
	assert(i < CRASH_SEEN_MAX);
	if (i == seen->count) {
		memcpy(seen->said[i].sid, v->sid, SID_SIZE);
		seen->count++;
	}
	if (!is_done && v->state != VERIFY_OPEN)
		wrong(seen, v->text, &v->place);
	if (v->frames_signed < seen->said[i].frames_signed)
		wrong(seen, "a session lacks frames that were signed", &v->place);
	if (seen->said[i].is_done && seen->said[i].frames_signed == seen->said[i].frames &&
	    (!is_done || v->frames != seen->said[i].frames))
		wrong(seen, "a session that verified does not any more", &v->place);
	seen->said[i].frames = v->frames;
	seen->said[i].frames_signed = v->frames_signed;
	seen->said[i].is_done = is_done;
}

static void remove_tree(const char *dir) {
	char *paths[] = { (char *)(uintptr_t)dir, NULL };
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

	for (FTSENT *e = f != NULL ? fts_read(f) : NULL; e != NULL; e = fts_read(f)) {
		if (e->fts_info != FTS_D)
			(void)remove(e->fts_accpath);
	}
	if (f != NULL)
		(void)fts_close(f);
}

static void write_store(struct vfs *vfs, const char *dir) {
	char record[VFS_PATH_MAX * 2];

	(void)snprintf(record, sizeof(record), "%s/record", dir);
	if ((mkdir(dir, 0700) < 0 && errno != EEXIST) || mkdir(record, 0700) < 0 ||
	    vfs_fault_dump(vfs, record) < 0) {
		(void)fprintf(stderr, "crash_test: cannot write %s\n", record);
		abort();
	}
}

/* --- byte flips --- */

struct flip {
	const char *path; /* below record/ */
	bool is_found;
};

static void flip_finding(void *arg, const struct verify_finding *f) {
	struct flip *p = arg;

	p->is_found = p->is_found || strcmp(f->place.file, p->path) == 0;
}

static void flip_session(void *arg, const struct verify_session *s) {
	struct flip *p = arg;

	if (s->state == VERIFY_ALTERED || s->state == VERIFY_TRUNCATED)
		p->is_found = p->is_found || strcmp(s->place.file, p->path) == 0;
}

/* Bytes of the file that count: of a segment, up to its last valid batch. */
static size_t counted(const char *path, struct str bytes) {
	struct seg_scan s;
	struct batch b;

	if (strncmp(path, "journal/", 8) != 0)
		return strcmp(path, "node.json") != 0 ? bytes.n : 0;
	if (strstr(path, ".seg") == NULL || seg_scan_begin(&s, bytes) != 1)
		return 0;
	while (seg_scan_next(&s, &b) == 1)
		;
	return s.at;
}

static void flip_file(struct crash_seen *seen, const char *dir, const char *path, const char *vkey,
                      uint64_t step, uint64_t *count) {
	struct flip flip = { .path = path + strlen(dir) + strlen("/record/") };
	const struct verify_options o = {
		.vkey = vkey, .arg = &flip, .on_finding = flip_finding, .on_session = flip_session
	};
	struct verify_report report;
	struct buf b;
	auto_fd int fd = open(path, O_RDWR | O_CLOEXEC);

	buf_init(&b, 64 * MIB);
	for (uint8_t *p = buf_reserve(&b, 4096); p != NULL; p = buf_reserve(&b, 4096)) {
		ssize_t n = read(fd, p, 4096);

		if (n <= 0)
			break;
		buf_commit(&b, (size_t)n);
	}
	struct str bytes = buf_peek(&b);
	size_t end = bytes.p != NULL ? counted(flip.path, bytes) : 0;

	for (size_t at = *count % step; at < end && seen->wrong[0] == '\0'; at += step) {
		char was = bytes.p[at], now = (char)(was ^ 1 << at % 8);

		flip.is_found = false;
		if (pwrite(fd, &now, 1, (off_t)at) != 1 ||
		    verify_store(dir, &o, &report, NULL) < 0 || !flip.is_found)
			(void)snprintf(seen->wrong, sizeof(seen->wrong),
			               "a changed byte is not found: %s byte %zu", flip.path, at);
		if (pwrite(fd, &was, 1, (off_t)at) != 1)
			abort();
		++*count;
	}
	buf_fini(&b);
}

const char *crash_flip(struct crash_seen *seen, struct vfs *vfs, const char *vkey, uint64_t step,
                       uint64_t *count) {
	char dir[] = "/tmp/hansard-crash-XXXXXX", shm[] = "/dev/shm/hansard-crash-XXXXXX";
	char *top = access("/dev/shm", W_OK) == 0 ? mkdtemp(shm) : mkdtemp(dir);

	if (top == NULL)
		abort();
	write_store(vfs, top);
	seen->wrong[0] = '\0';
	char *paths[] = { top, NULL };
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

	for (FTSENT *e = f != NULL ? fts_read(f) : NULL; e != NULL; e = fts_read(f)) {
		if (e->fts_info == FTS_F)
			flip_file(seen, top, e->fts_path, vkey, step, count);
	}
	if (f != NULL)
		(void)fts_close(f);
	remove_tree(top);
	return seen->wrong[0] != '\0' ? seen->wrong : NULL;
}

/* --- kept --- */

void crash_dump(struct vfs *vfs, uint64_t seed, const char *when) {
	const char *top = getenv("CRASH_DUMP");
	char dir[VFS_PATH_MAX];

	if (top == NULL)
		return;
	(void)snprintf(dir, sizeof(dir), "%s/%llu-%s", top, (unsigned long long)seed, when);
	write_store(vfs, dir);
}

const char *crash_verify(struct crash_seen *seen, struct vfs *vfs, const char *vkey) {
	/* Many small files for a moment: in memory where that can be had. */
	const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	const struct verify_options o = { .vkey = vkey,
		                          .with_contents = true,
		                          .arg = seen,
		                          .on_session = on_session,
		                          .on_finding = on_finding };
	struct verify_report report;
	struct err e = { 0 };
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "%s/hansard-crash-XXXXXX", top);
	if (mkdtemp(dir) == NULL)
		abort();
	write_store(vfs, dir);
	seen->wrong[0] = '\0';
	int rc = verify_store(dir, &o, &report, &e);

	if (rc < 0 && rc != H_ENOTFOUND)
		(void)snprintf(seen->wrong, sizeof(seen->wrong), "%s", e.text);
	remove_tree(dir);
	return seen->wrong[0] != '\0' ? seen->wrong : NULL;
}
