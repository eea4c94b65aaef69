/*
 * readfs.c: files of a store, read-only.
 *
 * A store may have been touched by someone who wants a reader to look elsewhere or to hang, so each
 * component of a path is opened by itself with O_NOFOLLOW, and a file must be a regular one before
 * a byte is read. Nothing is mapped: a file that shrinks under us is a short read, not a signal.
 */
#include "record/readfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

enum { READ_AHEAD = 256 * 1024, BUF_SIZE = FRAME_MAX + READ_AHEAD };

static int code_of(int err) {
	if (err == ENOENT)
		return H_ENOTFOUND;
	/* A link where a directory must be is ENOTDIR. */
	return err == ELOOP || err == ENOTDIR || err == EACCES ? H_EPERM : H_EIO;
}

int readfs_root(const char *dir) {
	auto_free char *path = xasprintf("%s/record", dir);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? code_of(errno) : fd;
}

/* The directory that holds the last component, which *ret_last then names; never follows links. */
static int open_parent(int root, const char *path, const char **ret_last) {
	int dir = dup(root);
	const char *slash;

	while (dir >= 0 && (slash = strchr(path, '/')) != NULL) {
		char name[64];

		if (!str_copy(name, sizeof(name), str_mem(path, (size_t)(slash - path)))) {
			(void)close(dir);
			return H_ENOTFOUND;
		}
		int next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int saved = errno;

		(void)close(dir);
		errno = saved;
		dir = next;
		path = slash + 1;
	}
	*ret_last = path;
	return dir < 0 ? code_of(errno) : dir;
}

int readfs_open(int root, const char *path, uint64_t *ret_size) {
	const char *last;
	auto_fd int dir = open_parent(root, path, &last);
	struct stat st;

	if (dir < 0)
		return dir;
	auto_fd int fd = openat(dir, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return code_of(errno);
	if (fstat(fd, &st) != 0)
		return H_EIO;
	if (!S_ISREG(st.st_mode))
		return H_EPERM;
	if (ret_size != NULL)
		*ret_size = (uint64_t)st.st_size;
	return take_fd(&fd);
}

ssize_t readfs_pread(int fd, void *p, size_t n, uint64_t offset) {
	size_t got = 0;

	while (got < n) {
		ssize_t rc = pread(fd, (uint8_t *)p + got, n - got, (off_t)(offset + got));

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc < 0)
			return H_EIO;
		if (rc == 0)
			break;
		got += (size_t)rc;
	}
	return (ssize_t)got;
}

int readfs_read(int root, const char *path, struct buf *out) {
	uint64_t size;
	auto_fd int fd = readfs_open(root, path, &size);

	if (fd < 0)
		return fd;
	uint8_t *p = size < SIZE_MAX / 2 ? buf_reserve(out, (size_t)size + 1) : NULL;

	if (p == NULL)
		return H_ELIMIT;
	ssize_t got = readfs_pread(fd, p, (size_t)size + 1, 0);

	if (got < 0)
		return H_EIO;
	buf_commit(out, MIN((size_t)got, (size_t)size));
	return 0;
}

static int by_name(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char kind_of(int dir, const struct dirent *d) {
	struct stat st;

	/* Most file systems tell; a store has one file or more per session. */
	if (d->d_type != DT_UNKNOWN)
		return d->d_type == DT_DIR ? '/' : d->d_type == DT_REG ? '\0' : '@';
	if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return '@';
	if (S_ISDIR(st.st_mode))
		return '/';
	return S_ISREG(st.st_mode) ? '\0' : '@';
}

static void add_name(struct readfs_names *out, size_t *cap, int dir, const struct dirent *d) {
	char kind = kind_of(dir, d);

	if (out->count == *cap) {
		*cap = MAX(*cap * 2, (size_t)16);
		out->name = xrealloc(out->name, *cap * sizeof(*out->name));
	}
	out->name[out->count++] = kind == '\0' ? xstrdup(d->d_name)
	                                       : xasprintf("%s%c", d->d_name, kind);
}

int readfs_list(int root, const char *path, struct readfs_names *out) {
	const char *last;
	size_t cap = 0;
	int parent = open_parent(root, path, &last);

	*out = (struct readfs_names){ 0 };
	if (parent < 0)
		return parent == H_ENOTFOUND ? 0 : parent;
	int fd = openat(parent, last[0] != '\0' ? last : ".",
	                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int saved = errno;

	(void)close(parent);
	if (fd < 0)
		return code_of(saved) == H_ENOTFOUND ? 0 : code_of(saved);
	DIR *dir = fdopendir(fd);

	if (dir == NULL) {
		(void)close(fd);
		return H_EIO;
	}
	for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			add_name(out, &cap, fd, d);
	}
	(void)closedir(dir);
	if (out->count != 0)
		qsort(out->name, out->count, sizeof(*out->name), by_name);
	return 0;
}

void readfs_names_free(struct readfs_names *n) {
	for (size_t i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
	*n = (struct readfs_names){ 0 };
}

void readfs_part_path(char out[READFS_PART_PATH_MAX], const uint8_t sid[SID_SIZE], uint32_t part) {
	char text[UUID_TEXT_SIZE];
	uint64_t ms = 0;
	struct tm tm;

	for (unsigned i = 0; i < 6; i++)
		ms = ms << 8 | sid[i];
	time_t at = (time_t)(ms / 1000);

	/* 48 bits of milliseconds are at most the year 10889. */
	if (gmtime_r(&at, &tm) == NULL)
		abort();
	uuid_text(text, sid);
	(void)snprintf(out, READFS_PART_PATH_MAX, "sessions/%04d/%02d/%02d/%s.%04u.rec",
	               tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, text, part);
}

int readfs_part_name(struct str name, uint8_t sid[SID_SIZE], uint32_t *part) {
	struct str rest = name;
	struct str id = str_cut(&rest, '.');
	struct str number = str_cut(&rest, '.');
	char again[UUID_TEXT_SIZE];
	uint64_t n;

	if (uuid_parse(sid, id) < 0 || str_u64(number, UINT32_MAX, &n) < 0 || !str_is(rest, "rec"))
		return H_EFORMAT;
	uuid_text(again, sid);
	if (!str_is(id, again) || number.n < 4 || (number.n > 4 && number.p[0] == '0'))
		return H_EFORMAT;
	*part = (uint32_t)n;
	return 0;
}

void frame_file_init(struct frame_file *f) {
	*f = (struct frame_file){ .fd = -1 };
}

void frame_file_close(struct frame_file *f) {
	if (f->fd >= 0)
		(void)close(f->fd);
	free(f->buf);
	frame_file_init(f);
}

int frame_file_open(struct frame_file *f, int root, const char *path) {
	uint64_t size;
	int fd = readfs_open(root, path, &size);

	if (fd < 0)
		return fd;
	if (f->fd >= 0)
		(void)close(f->fd);
	/* A file that grows while it is read is read up to what fits, and then on. */
	size_t cap = (size_t)MIN((uint64_t)BUF_SIZE, size + FRAME_HEAD_SIZE);

	if (f->cap < cap) {
		free(f->buf);
		f->buf = xmalloc(cap);
		f->cap = cap;
	}
	f->fd = fd;
	f->size = size;
	f->at = f->buf_at = 0;
	f->have = 0;
	return 0;
}

/* Bytes of the buffer from the current offset on. */
static struct str window(const struct frame_file *f) {
	return str_from(str_mem(f->buf, f->have), (size_t)(f->at - f->buf_at));
}

/* Keeps what is in the window and reads behind it; 0 when the file has no more. */
static ssize_t fill(struct frame_file *f) {
	struct str w = window(f);

	if (w.n != 0)
		memmove(f->buf, w.p, w.n);
	f->buf_at = f->at;
	f->have = w.n;
	if (f->have == f->cap && f->cap < BUF_SIZE) {
		f->buf = xrealloc(f->buf, BUF_SIZE);
		f->cap = BUF_SIZE;
	}
	ssize_t got = readfs_pread(f->fd, f->buf + f->have,
	                           MIN(f->cap - f->have, (size_t)READ_AHEAD), f->buf_at + f->have);

	f->have += got > 0 ? (size_t)got : 0;
	return got;
}

int frame_file_next(struct frame_file *f, struct frame *ret) {
	for (;;) {
		struct str w = window(f);
		int rc = frame_parse(ret, w);

		if (rc > 0)
			f->at += (uint64_t)rc;
		if (rc != 0)
			return rc > 0 ? 1 : rc;
		ssize_t got = fill(f);

		if (got < 0)
			return (int)got;
		if (got == 0)
			return window(f).n == 0 ? 0 : H_ETRUNC;
	}
}
