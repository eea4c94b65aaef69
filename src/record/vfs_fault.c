/*
 * vfs_fault.c: the file system that lies (vfs_fault.h).
 *
 *   inode   seen: what reads yield     disk: what a power cut keeps     waiting: changes since the last sync
 *   names   seen and disk tables, and the list of changes in between (a journal of the file system
 *           keeps their order, so a power cut keeps a beginning of it)
 */
#include "record/vfs_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { FILES_MAX = 4096, HANDLES_MAX = 256, SECTOR = 512, PAGE = 4096 };
#define FILE_BYTES_MAX ((size_t)1 << 30)

struct change {
	bool is_truncate;
	uint64_t at;
	struct buf bytes; /* of a write */
	struct change *next;
};

struct inode {
	struct buf seen, disk;
	struct change *first, **end;
	unsigned refs;
};

struct name {
	char path[VFS_PATH_MAX];
	struct inode *inode; /* NULL in a change: removal */
};

struct name_change {
	struct name set, unset; /* paths may be empty */
};

struct vfs_fault {
	struct vfs base;
	uint64_t seed, ops, stop_at, capacity, used;
	unsigned errors;
	bool is_stopped;
	struct inode *inodes[FILES_MAX];
	size_t inode_count;
	struct name seen[FILES_MAX], disk[FILES_MAX];
	size_t seen_count, disk_count;
	struct name_change changes[FILES_MAX];
	size_t change_count;
	struct inode *handles[HANDLES_MAX];
	unsigned flags[HANDLES_MAX];
};

static struct vfs_fault *of(struct vfs *v) {
	return container_of(v, struct vfs_fault, base);
}

static uint64_t draw(struct vfs_fault *f, uint64_t below) {
	f->seed += 0x9e3779b97f4a7c15u;
	uint64_t z = f->seed;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

/* --- contents --- */

static void resize(struct buf *b, uint64_t size) {
	if (size < b->len) {
		b->len = (size_t)size;
		return;
	}
	size_t more = (size_t)size - b->len;
	uint8_t *p = more != 0 ? buf_reserve(b, more) : NULL;

	if (p != NULL) {
		memset(p, 0, more);
		buf_commit(b, more);
	}
}

static void put(struct buf *b, struct str bytes, uint64_t at) {
	if (bytes.n == 0)
		return;
	if (at + bytes.n > b->len)
		resize(b, at + bytes.n);
	memcpy(b->p + b->off + at, bytes.p, bytes.n);
}

/* Any of its pieces, each with a chance of one half. */
static void put_some(struct vfs_fault *f, struct buf *b, struct str bytes, uint64_t at) {
	size_t piece = draw(f, 2) == 0 ? SECTOR : PAGE;

	for (size_t i = 0; i < bytes.n;) {
		size_t n = MIN(piece - (size_t)((at + i) % piece), bytes.n - i);

		if (draw(f, 2) == 0)
			put(b, str_mem(bytes.p + i, n), at + i);
		i += n;
	}
}

static void wait_change(struct inode *i, bool is_truncate, struct str bytes, uint64_t at) {
	struct change *c = xcalloc(1, sizeof(*c));

	c->is_truncate = is_truncate;
	c->at = at;
	buf_init(&c->bytes, MAX(bytes.n, (size_t)1));
	if (buf_append(&c->bytes, bytes) < 0)
		abort();
	*i->end = c;
	i->end = &c->next;
}

static void drop_changes(struct inode *i) {
	for (struct change *c = i->first, *next; c != NULL; c = next) {
		next = c->next;
		buf_fini(&c->bytes);
		free(c);
	}
	i->first = NULL;
	i->end = &i->first;
}

static void settle(struct inode *i) {
	buf_clear(&i->disk);
	put(&i->disk, buf_peek(&i->seen), 0);
	drop_changes(i);
}

/* Each sector, or each page, and the size are as they were after one of the changes since the last
 * sync, or before all: memory is written back piece by piece, at any time, each as it is then. */
static void cut_inode(struct vfs_fault *f, struct inode *i) {
	uint64_t piece = draw(f, 2) == 0 ? SECTOR : PAGE, n = 1, k = 0;
	struct buf now = { 0 }, out;
	size_t most = i->disk.len;

	for (struct change *c = i->first; c != NULL; c = c->next, n++)
		most = MAX(most, (size_t)c->at + c->bytes.len);
	size_t count = most / piece + 1;
	uint64_t size_of = draw(f, n), size = i->disk.len;
	uint64_t *version = xcalloc(count, sizeof(*version));

	for (size_t p = 0; p < count; p++)
		version[p] = draw(f, n);
	buf_init(&now, FILE_BYTES_MAX);
	buf_init(&out, FILE_BYTES_MAX);
	put(&now, buf_peek(&i->disk), 0);
	resize(&out, most);
	for (struct change *c = i->first;; c = c->next, k++) {
		for (size_t p = 0; p < count; p++) {
			struct str bytes = str_from(buf_peek(&now), MIN(p * piece, now.len));

			if (version[p] == k)
				put(&out, str_head(bytes, piece), p * piece);
		}
		size = k == size_of ? now.len : size;
		if (c == NULL)
			break;
		if (c->is_truncate)
			resize(&now, c->at);
		else
			put(&now, buf_peek(&c->bytes), c->at);
	}
	resize(&out, size);
	buf_clear(&i->disk);
	put(&i->disk, buf_peek(&out), 0);
	drop_changes(i);
	buf_clear(&i->seen);
	put(&i->seen, buf_peek(&out), 0);
	buf_fini(&now);
	buf_fini(&out);
	free(version);
}

/* --- names --- */

static struct inode *find(struct name *t, size_t count, const char *path) {
	for (size_t i = 0; i < count; i++) {
		if (strcmp(t[i].path, path) == 0)
			return t[i].inode;
	}
	return NULL;
}

static void set_name(struct name *t, size_t *count, const struct name *n) {
	for (size_t i = 0; i < *count; i++) {
		if (strcmp(t[i].path, n->path) == 0) {
			t[i].inode = n->inode;
			return;
		}
	}
	assert(*count < FILES_MAX);
	t[(*count)++] = *n;
}

static void unset_name(struct name *t, size_t *count, const char *path) {
	for (size_t i = 0; i < *count; i++) {
		if (strcmp(t[i].path, path) == 0) {
			t[i] = t[--*count];
			return;
		}
	}
}

static void apply_name(struct name *t, size_t *count, const struct name_change *c) {
	if (c->unset.path[0] != '\0')
		unset_name(t, count, c->unset.path);
	if (c->set.path[0] != '\0')
		set_name(t, count, &c->set);
}

static void settle_names(struct vfs_fault *f, size_t n) {
	for (size_t i = 0; i < n; i++)
		apply_name(f->disk, &f->disk_count, &f->changes[i]);
	f->change_count -= n;
	memmove(f->changes, f->changes + n, f->change_count * sizeof(f->changes[0]));
}

static void change_name(struct vfs_fault *f, const char *set, struct inode *i, const char *unset) {
	struct name_change c = { 0 };

	(void)snprintf(c.set.path, sizeof(c.set.path), "%s", set);
	(void)snprintf(c.unset.path, sizeof(c.unset.path), "%s", unset);
	c.set.inode = i;
	if (f->change_count == FILES_MAX)
		settle_names(f, FILES_MAX / 2);
	f->changes[f->change_count++] = c;
	apply_name(f->seen, &f->seen_count, &c);
}

/* --- faults --- */

/* Before a changing operation: 0, or what becomes of it. */
static int fault(struct vfs_fault *f) {
	if (f->is_stopped)
		return H_EIO;
	f->ops++;
	if (f->stop_at != 0 && f->ops >= f->stop_at) {
		f->is_stopped = true;
		return H_EIO;
	}
	return f->errors != 0 && draw(f, 10000) < f->errors ? H_EIO : 0;
}

/* --- the table --- */

static int fault_open(struct vfs *v, const char *path, unsigned flags) {
	struct vfs_fault *f = of(v);
	struct inode *i = find(f->seen, f->seen_count, path);
	int h = 0;

	if (f->is_stopped)
		return H_EIO;
	if (i == NULL && (flags & VFS_CREATE) == 0)
		return H_ENOTFOUND;
	if (i != NULL && (flags & VFS_EXCL) != 0)
		return H_EEXIST;
	if (i == NULL) {
		int rc = fault(f);

		if (rc < 0)
			return rc;
		assert(f->inode_count < FILES_MAX);
		i = xcalloc(1, sizeof(*i));
		buf_init(&i->seen, FILE_BYTES_MAX);
		buf_init(&i->disk, FILE_BYTES_MAX);
		i->end = &i->first;
		f->inodes[f->inode_count++] = i;
		change_name(f, path, i, "");
	}
	while (h < HANDLES_MAX && f->handles[h] != NULL)
		h++;
	assert(h < HANDLES_MAX);
	f->handles[h] = i;
	f->flags[h] = flags;
	return h;
}

static void fault_close(struct vfs *v, int handle) {
	of(v)->handles[handle] = NULL;
}

static int64_t fault_pread(struct vfs *v, int handle, void *p, size_t n, uint64_t at) {
	struct vfs_fault *f = of(v);
	struct str all = buf_peek(&f->handles[handle]->seen);

	if (f->is_stopped)
		return H_EIO;
	struct str s = str_head(str_from(all, (size_t)MIN(at, all.n)), n);

	if (s.n != 0)
		memcpy(p, s.p, s.n);
	return (int64_t)s.n;
}

static uint64_t used(const struct vfs_fault *f) {
	uint64_t sum = 0;

	for (size_t i = 0; i < f->seen_count; i++)
		sum += f->seen[i].inode->seen.len;
	return sum;
}

static int fault_pwrite(struct vfs *v, int handle, struct str bytes, uint64_t at) {
	struct vfs_fault *f = of(v);
	struct inode *i = f->handles[handle];
	bool is_sync = (f->flags[handle] & VFS_SYNC) != 0, was_stopped = f->is_stopped;
	int rc = fault(f);

	assert((f->flags[handle] & VFS_WRITE) != 0);
	assert(!is_sync ||
	       (at % PAGE == 0 && bytes.n % PAGE == 0 && (uintptr_t)bytes.p % PAGE == 0));
	if (was_stopped)
		return rc;
	if (rc == 0 && f->capacity != 0 && at + bytes.n > i->seen.len &&
	    used(f) + at + bytes.n - i->seen.len > f->capacity)
		rc = H_ENOSPACE;
	if (rc < 0) {
		struct buf torn;

		buf_init(&torn, FILE_BYTES_MAX);
		put(&torn, buf_peek(&i->seen), 0);
		if (rc == H_EIO)
			put_some(f, &torn, bytes, at);
		buf_clear(&i->seen);
		put(&i->seen, buf_peek(&torn), 0);
		buf_fini(&torn);
		if (is_sync)
			settle(i);
		else
			wait_change(i, false,
			            str_from(buf_peek(&i->seen), (size_t)MIN(at, i->seen.len)), at);
		return rc;
	}
	put(&i->seen, bytes, at);
	if (is_sync) {
		put(&i->disk, bytes, at);
	} else {
		wait_change(i, false, bytes, at);
	}
	return 0;
}

static int64_t fault_size(struct vfs *v, int handle) {
	return of(v)->is_stopped ? H_EIO : (int64_t)of(v)->handles[handle]->seen.len;
}

static int fault_truncate(struct vfs *v, int handle, uint64_t size) {
	struct inode *i = of(v)->handles[handle];
	int rc = fault(of(v));

	if (rc < 0)
		return rc;
	if (size == i->seen.len)
		return 0;
	resize(&i->seen, size);
	wait_change(i, true, STR_NONE, size);
	return 0;
}

/* A failed sync loses what waited, and nobody sees it until the power goes. */
static int fault_sync(struct vfs *v, int handle) {
	int rc = fault(of(v));

	if (rc == 0)
		settle(of(v)->handles[handle]);
	else if (!of(v)->is_stopped)
		drop_changes(of(v)->handles[handle]);
	return rc;
}

static int fault_sync_dir(struct vfs *v, const char *path unused_arg) {
	int rc = fault(of(v));

	if (rc == 0)
		settle_names(of(v), of(v)->change_count);
	return rc;
}

static int fault_sync_all(struct vfs *v) {
	struct vfs_fault *f = of(v);
	int rc = fault(f);

	if (f->is_stopped)
		return rc;
	for (size_t i = 0; i < f->inode_count; i++) {
		if (rc == 0)
			settle(f->inodes[i]);
		else
			drop_changes(f->inodes[i]);
	}
	if (rc == 0)
		settle_names(f, f->change_count);
	return rc;
}

/* Nothing is durable by it; a failed one loses what waited, as a failed sync does. */
static int fault_write_out(struct vfs *v, int handle, uint64_t at unused_arg,
                           uint64_t n unused_arg) {
	int rc = fault(of(v));

	if (rc < 0 && !of(v)->is_stopped)
		drop_changes(of(v)->handles[handle]);
	return rc;
}

static int fault_rename(struct vfs *v, const char *from, const char *to) {
	struct inode *i = find(of(v)->seen, of(v)->seen_count, from);
	int rc = fault(of(v));

	if (rc < 0 || i == NULL)
		return rc < 0 ? rc : H_ENOTFOUND;
	change_name(of(v), to, i, from);
	return 0;
}

static int fault_unlink(struct vfs *v, const char *path) {
	int rc = fault(of(v));

	if (rc < 0)
		return rc;
	if (find(of(v)->seen, of(v)->seen_count, path) == NULL)
		return H_ENOTFOUND;
	change_name(of(v), "", NULL, path);
	return 0;
}

static int fault_list(struct vfs *v, const char *dir, vfs_name_fn *fn, void *arg) {
	struct vfs_fault *f = of(v);
	size_t n = strlen(dir);

	if (f->is_stopped)
		return H_EIO;
	for (size_t i = 0; i < f->seen_count; i++) {
		const char *p = f->seen[i].path;

		if (strncmp(p, dir, n) == 0 && p[n] == '/' && strchr(p + n + 1, '/') == NULL)
			fn(arg, p + n + 1);
	}
	return 0;
}

static int64_t fault_room(struct vfs *v) {
	struct vfs_fault *f = of(v);

	if (f->capacity == 0)
		return INT64_MAX;
	uint64_t now = used(f);

	return now < f->capacity ? (int64_t)(f->capacity - now) : 0;
}

static const struct vfs_ops fault_ops = {
	.open = fault_open,
	.close = fault_close,
	.pread = fault_pread,
	.pwrite = fault_pwrite,
	.size = fault_size,
	.truncate = fault_truncate,
	.sync = fault_sync,
	.sync_dir = fault_sync_dir,
	.sync_all = fault_sync_all,
	.write_out = fault_write_out,
	.rename = fault_rename,
	.unlink = fault_unlink,
	.list = fault_list,
	.room = fault_room,
};

/* --- for tests --- */

struct vfs *vfs_fault_new(uint64_t seed) {
	struct vfs_fault *f = xcalloc(1, sizeof(*f));

	f->base.ops = &fault_ops;
	f->seed = seed;
	return &f->base;
}

void vfs_fault_free(struct vfs **v) {
	if (*v == NULL)
		return;
	struct vfs_fault *f = of(*v);

	for (size_t i = 0; i < f->inode_count; i++) {
		drop_changes(f->inodes[i]);
		buf_fini(&f->inodes[i]->seen);
		buf_fini(&f->inodes[i]->disk);
		free(f->inodes[i]);
	}
	free(f);
	*v = NULL;
}

void vfs_fault_errors(struct vfs *v, unsigned per_10000) {
	of(v)->errors = per_10000;
}

void vfs_fault_capacity(struct vfs *v, uint64_t bytes) {
	of(v)->capacity = bytes;
}

void vfs_fault_stop_after(struct vfs *v, uint64_t n) {
	of(v)->stop_at = n != 0 ? of(v)->ops + n : 0;
}

bool vfs_fault_is_stopped(struct vfs *v) {
	return of(v)->is_stopped;
}

void vfs_fault_restart(struct vfs *v, bool power_cut) {
	struct vfs_fault *f = of(v);

	memset(f->handles, 0, sizeof(f->handles));
	f->is_stopped = false;
	f->stop_at = 0;
	if (!power_cut)
		return;
	settle_names(f, (size_t)draw(f, f->change_count + 1));
	f->change_count = 0;
	memcpy(f->seen, f->disk, sizeof(f->seen));
	f->seen_count = f->disk_count;
	for (size_t i = 0; i < f->inode_count; i++)
		cut_inode(f, f->inodes[i]);
}

static int dump_file(const char *dir, const struct name *n) {
	char path[VFS_PATH_MAX * 3];
	size_t from = strlen(dir) + 1;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, n->path);
	for (size_t i = from; path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		path[i] = '\0';
		if (mkdir(path, 0750) < 0 && errno != EEXIST)
			return H_EIO;
		path[i] = '/';
	}
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	static const uint8_t zeros[4096];
	struct str s = buf_peek(&n->inode->seen);

	/* Zeros are left out: segments consist of them. */
	if (fd < 0 || ftruncate(fd, (off_t)s.n) < 0)
		return H_EIO;
	for (size_t at = 0; at < s.n; at += sizeof(zeros)) {
		size_t size = MIN(s.n - at, sizeof(zeros));

		if (memcmp(s.p + at, zeros, size) != 0 &&
		    pwrite(fd, s.p + at, size, (off_t)at) != (ssize_t)size)
			return H_EIO;
	}
	return 0;
}

int vfs_fault_dump(struct vfs *v, const char *dir) {
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < of(v)->seen_count; i++)
		rc = dump_file(dir, &of(v)->seen[i]);
	return rc;
}

uint64_t vfs_fault_ops(struct vfs *v) {
	return of(v)->ops;
}

struct buf *vfs_fault_file(struct vfs *v, const char *path) {
	struct inode *i = find(of(v)->seen, of(v)->seen_count, path);

	return i != NULL ? &i->seen : NULL;
}
