/*
 * store_fuzz.c: verify and read over a store that somebody altered: any bytes, anywhere, in any of its
 * files, made longer or shorter. Both must end with an answer; what was not altered must be fine.
 *
 * The store is the one of the tamper matrix (teststore.h), made once. The input is a list of
 * changes: which file, what, where, how long, then the bytes. Files are put back afterwards.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/rd.h"
#include "record/reader.h"
#include "record/teststore.h"
#include "record/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES_MAX = 128, CHANGES_MAX = 8 };

static struct file {
	char *path;
	uint8_t *bytes;
	size_t n;
	bool is_changed;
} files[FILES_MAX];
static size_t file_count;
static char dir[64];

static int keep(const char *path, const struct stat *st, int kind, struct FTW *where) {
	(void)where;
	if (kind != FTW_F || file_count == FILES_MAX)
		return 0;
	struct file *f = &files[file_count++];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*f = (struct file){ .path = strdup(path),
		            .n = (size_t)st->st_size,
		            .bytes = xcalloc(1, (size_t)st->st_size + 1) };
	if (fd < 0 || read(fd, f->bytes, f->n) != (ssize_t)f->n)
		abort();
	close(fd);
	return 0;
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *where) {
	(void)st, (void)kind, (void)where;
	return remove(path);
}

static void clean(void) {
	(void)nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_at(const struct file *f, const void *p, size_t n, size_t at) {
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, p, n, (off_t)at) != (ssize_t)n)
		abort();
	close(fd);
}

static void put_back(struct file *f) {
	write_at(f, f->bytes, f->n, 0);
	if (truncate(f->path, (off_t)f->n) != 0)
		abort();
	f->is_changed = false;
}

/* One change; false at the input's end. */
static bool change(struct rd *r) {
	if (rd_left(r) < 7)
		return false;
	struct file *f = &files[rd_u8(r) % file_count];
	uint8_t what = rd_u8(r);
	size_t at = rd_u32(r) % (f->n + 1), n = rd_u8(r), left = rd_left(r);
	struct str bytes = rd_bytes(r, n < left ? n : left);

	f->is_changed = true;
	if (what % 8 == 0) {
		if (truncate(f->path, (off_t)at) != 0)
			abort();
	} else if (bytes.n != 0) {
		write_at(f, bytes.p, bytes.n, what % 8 == 1 ? f->n : at);
	}
	return true;
}

static int read_session(void *arg, const uint8_t sid[SID_SIZE]) {
	struct reader *r = arg;
	struct reader_session *x = NULL;
	struct reader_summary s = { 0 };
	struct reader_item item;
	struct err e = { 0 };

	if (reader_summarize(r, sid, &s, &e) == 0)
		reader_summary_fini(&s);
	if (reader_session_open(&x, r, sid, &e) < 0)
		return 0;
	while (reader_session_item(x, &item, &e) > 0)
		;
	reader_session_close(&x);
	return 0;
}

static void look(bool is_whole) {
	struct verify_options o = { .vkey = TS_VKEY, .with_contents = true };
	struct verify_report report;
	struct reader *r = NULL;
	struct err e = { 0 };

	int rc = verify_store(dir, &o, &report, &e);
	if (is_whole && (rc != 0 || report.findings != 0))
		abort();
	if (reader_open(&r, dir, &e) == 0) {
		(void)reader_each(r, read_session, r);
		reader_close(&r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct rd r = rd_of(str_mem(data, size));

	if (file_count == 0) {
		crypto_setup();
		(void)snprintf(dir, sizeof(dir), "%s/hansard-fuzz-XXXXXX",
		               access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		if (mkdtemp(dir) == NULL)
			abort();
		(void)atexit(clean);
		ts_standard(dir);
		if (nftw(dir, keep, 8, FTW_PHYS) != 0 || file_count == 0)
			abort();
		look(true);
	}
	for (unsigned i = 0; i < CHANGES_MAX && change(&r); i++)
		;
	look(false);
	for (size_t i = 0; i < file_count; i++)
		if (files[i].is_changed)
			put_back(&files[i]);
	return 0;
}
