/*
 * vfs.c: vfs.h on real files, by descriptors below one directory that is opened once.
 *
 * O_DIRECT may be refused at open, or accepted there and refused at the first write (tmpfs, some
 * network and overlay file systems). In both cases the file goes on with O_DSYNC alone, which is as
 * durable and slower. Paths never leave the root: they are made by us, and O_NOFOLLOW keeps a planted
 * link from leading the last step elsewhere.
 */
#include "record/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

struct vfs_real {
	struct vfs base;
	int root;
	_Atomic bool no_direct;
};

static struct vfs_real *real_of(struct vfs *v) {
	return container_of(v, struct vfs_real, base);
}

static int code_of(int e) {
	switch (e) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return H_ENOSPACE;
	case ENOENT:
	case ENOTDIR:
		return H_ENOTFOUND;
	case EEXIST:
		return H_EEXIST;
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
		return H_EPERM;
	default:
		return H_EIO;
	}
}

/* mkdir -p of everything above the last '/'. */
static int make_parents(struct vfs_real *r, const char *path) {
	char dir[VFS_PATH_MAX];

	for (size_t i = 1; path[i] != '\0' && i < sizeof(dir); i++) {
		if (path[i] != '/')
			continue;
		memcpy(dir, path, i);
		dir[i] = '\0';
		if (mkdirat(r->root, dir, 0750) < 0 && errno != EEXIST)
			return code_of(errno);
	}
	return 0;
}

static int open_once(struct vfs_real *r, const char *path, unsigned flags) {
	int how = O_CLOEXEC | O_NOFOLLOW | ((flags & VFS_WRITE) != 0 ? O_RDWR : O_RDONLY);

	if ((flags & VFS_CREATE) != 0)
		how |= O_CREAT;
	if ((flags & VFS_EXCL) != 0)
		how |= O_EXCL;
	if ((flags & VFS_SYNC) != 0)
		how |= O_DSYNC;
	if ((flags & VFS_SYNC) != 0 && !atomic_load(&r->no_direct)) {
		int fd = openat(r->root, path, how | O_DIRECT, 0640);

		if (fd >= 0 || errno != EINVAL)
			return fd;
		atomic_store(&r->no_direct, true);
		/* Some file systems create the file before they refuse the flag. */
		how &= ~O_EXCL;
	}
	return openat(r->root, path, how, 0640);
}

static int real_open(struct vfs *v, const char *path, unsigned flags) {
	struct vfs_real *r = real_of(v);
	int fd = open_once(r, path, flags);

	if (fd < 0 && errno == ENOENT && (flags & VFS_CREATE) != 0) {
		int rc = make_parents(r, path);

		if (rc < 0)
			return rc;
		fd = open_once(r, path, flags);
	}
	return fd < 0 ? code_of(errno) : fd;
}

static void real_close(struct vfs *v unused_arg, int handle) {
	(void)close(handle);
}

static int64_t real_pread(struct vfs *v unused_arg, int handle, void *p, size_t n, uint64_t at) {
	size_t got = 0;

	while (got < n) {
		ssize_t k = pread(handle, (char *)p + got, n - got, (off_t)(at + got));

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return code_of(errno);
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (int64_t)got;
}

/* A descriptor whose O_DIRECT turned out to be refused goes on without it. */
static bool drop_direct(struct vfs_real *r, int fd) {
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_DIRECT) == 0 || fcntl(fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return false;
	atomic_store(&r->no_direct, true);
	return true;
}

/* A short write is an error, except on the way to one: the kernel then says why at the next call.
 * With O_DIRECT the rest would be unaligned, and a batch is one write or none. */
static int real_pwrite(struct vfs *v, int handle, struct str bytes, uint64_t at) {
	for (;;) {
		ssize_t k = pwrite(handle, bytes.p, bytes.n, (off_t)at);

		if (k >= 0 && (size_t)k == bytes.n)
			return 0;
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EINVAL && drop_direct(real_of(v), handle))
			continue;
		if (k < 0)
			return code_of(errno);
		struct statvfs s;

		return fstatvfs(handle, &s) == 0 && s.f_bavail == 0 ? H_ENOSPACE : H_EIO;
	}
}

static int64_t real_size(struct vfs *v unused_arg, int handle) {
	struct stat st;

	if (fstat(handle, &st) < 0)
		return code_of(errno);
	return S_ISREG(st.st_mode) ? (int64_t)st.st_size : H_EPERM;
}

static int real_truncate(struct vfs *v unused_arg, int handle, uint64_t size) {
	return ftruncate(handle, (off_t)size) < 0 ? code_of(errno) : 0;
}

static int real_sync(struct vfs *v unused_arg, int handle) {
	return fsync(handle) < 0 ? code_of(errno) : 0;
}

static int real_sync_dir(struct vfs *v, const char *path) {
	char dir[VFS_PATH_MAX];
	const char *end = strrchr(path, '/');

	if (!str_copy(dir, sizeof(dir), str_mem(path, end != NULL ? (size_t)(end - path) : 0)))
		return H_ELIMIT;
	auto_fd int fd = openat(real_of(v)->root, end != NULL ? dir : ".",
	                        O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return code_of(errno);
	return fsync(fd) < 0 ? code_of(errno) : 0;
}

static int real_sync_all(struct vfs *v) {
	return syncfs(real_of(v)->root) < 0 ? code_of(errno) : 0;
}

/* A device serves its queue in order: a commit of the journal waits for what was queued before it,
 * so that must never be much. */
static int real_write_out(struct vfs *v unused_arg, int handle, uint64_t at, uint64_t n) {
	const uint64_t step = 128 * KIB, end = at + n;

	for (; at < end; at += step) {
		if (sync_file_range(handle, (off_t)at, (off_t)MIN(step, end - at),
		                    SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0)
			return errno == ENOSYS || errno == EINVAL || errno == ESPIPE
			               ? 0
			               : code_of(errno);
	}
	return 0;
}

static int real_rename(struct vfs *v, const char *from, const char *to) {
	int root = real_of(v)->root;

	return renameat(root, from, root, to) < 0 ? code_of(errno) : 0;
}

static int real_unlink(struct vfs *v, const char *path) {
	return unlinkat(real_of(v)->root, path, 0) < 0 ? code_of(errno) : 0;
}

static int real_list(struct vfs *v, const char *dir, vfs_name_fn *fn, void *arg) {
	auto_fd int fd = openat(real_of(v)->root, dir,
	                        O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : code_of(errno);
	DIR *d = fdopendir(fd);

	if (d == NULL)
		return code_of(errno);
	(void)take_fd(&fd);
	errno = 0;
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] != '.')
			fn(arg, e->d_name);
		errno = 0;
	}
	int rc = errno != 0 ? code_of(errno) : 0;

	(void)closedir(d);
	return rc;
}

static int64_t real_room(struct vfs *v) {
	struct statvfs s;

	if (fstatvfs(real_of(v)->root, &s) < 0)
		return code_of(errno);
	return (int64_t)MIN((uint64_t)s.f_bavail * s.f_frsize, (uint64_t)INT64_MAX);
}

static const struct vfs_ops real_ops = {
	.open = real_open,
	.close = real_close,
	.pread = real_pread,
	.pwrite = real_pwrite,
	.size = real_size,
	.truncate = real_truncate,
	.sync = real_sync,
	.sync_dir = real_sync_dir,
	.sync_all = real_sync_all,
	.write_out = real_write_out,
	.rename = real_rename,
	.unlink = real_unlink,
	.list = real_list,
	.room = real_room,
};

/* Tries O_DIRECT at open and at a write, on a file of its own. */
static void probe_direct(struct vfs_real *r) {
	static const char name[] = "direct.tmp";
	void *block = NULL;

	if (posix_memalign(&block, 4096, 4096) != 0)
		return;
	memset(block, 0, 4096);
	int fd = real_open(&r->base, name, VFS_WRITE | VFS_CREATE | VFS_SYNC);

	if (fd >= 0) {
		(void)real_pwrite(&r->base, fd, str_mem(block, 4096), 0);
		(void)close(fd);
		(void)real_unlink(&r->base, name);
	}
	free(block);
}

int vfs_real_new(struct vfs **ret, const struct vfs_real_options *o, const char **ret_note) {
	struct statfs fs;

	*ret_note = NULL;
	if (mkdir(o->root, 0750) < 0 && errno != EEXIST)
		return code_of(errno);
	auto_fd int root = open(o->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 || fstatfs(root, &fs) < 0)
		return code_of(errno);
	bool is_memory = (unsigned long)fs.f_type == TMPFS_MAGIC ||
	                 (unsigned long)fs.f_type == RAMFS_MAGIC;

	if (is_memory && !o->is_tmpfs_allowed)
		return H_EPERM;
	struct vfs_real *r = xcalloc(1, sizeof(*r));

	r->base.ops = &real_ops;
	r->root = take_fd(&root);
	probe_direct(r);
	if (is_memory)
		*ret_note = "the store lies in memory: nothing survives a power cut";
	else if (atomic_load(&r->no_direct))
		*ret_note = "O_DIRECT is refused here: commits use O_DSYNC alone and are slower";
	*ret = &r->base;
	return 0;
}

void vfs_real_free(struct vfs **v) {
	if (*v == NULL)
		return;
	struct vfs_real *r = real_of(*v);

	(void)close(r->root);
	free(r);
	*v = NULL;
}

int vfs_read_file(struct vfs *v, const char *path, size_t max, struct buf *out) {
	int h = v->ops->open(v, path, 0);

	if (h < 0)
		return h;
	int64_t size = v->ops->size(v, h);
	uint8_t *p = NULL;
	int rc = 0;

	if (size < 0)
		rc = (int)size;
	else if ((uint64_t)size > max)
		rc = H_ELIMIT;
	else if (size > 0 && (p = buf_reserve(out, (size_t)size)) == NULL)
		rc = H_ELIMIT;
	if (p != NULL) {
		int64_t got = v->ops->pread(v, h, p, (size_t)size, 0);

		if (got < 0)
			rc = (int)got;
		else
			buf_commit(out, (size_t)got);
	}
	v->ops->close(v, h);
	return rc;
}

int vfs_replace_file(struct vfs *v, const char *path, struct str bytes) {
	char tmp[VFS_PATH_MAX + 8];

	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	int h = v->ops->open(v, tmp, VFS_WRITE | VFS_CREATE);

	if (h < 0)
		return h;
	int rc = v->ops->truncate(v, h, 0);

	if (rc == 0)
		rc = v->ops->pwrite(v, h, bytes, 0);
	if (rc == 0)
		rc = v->ops->sync(v, h);
	v->ops->close(v, h);
	if (rc == 0)
		rc = v->ops->rename(v, tmp, path);
	return rc;
}
