/*
 * vfs.h: the few operations on files that the recorder needs, behind one table, so that crash tests
 * can lie to it (vfs_fault.h). Paths are relative to <store>/record.
 *
 * What is durable when: a write to a handle opened with VFS_SYNC is durable when it returned 0. All
 * others, and everything about names, wait for sync() or sync_all(). Nothing is durable after an
 * error, and nobody repeats a sync in the hope that it now tells the truth.
 */
#ifndef RECORD_VFS_H
#define RECORD_VFS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	VFS_WRITE = 1,  /* else read only */
	VFS_CREATE = 2, /* with the directories above it */
	VFS_SYNC = 4,   /* O_DIRECT|O_DSYNC: blocks of 4 KiB at aligned places and addresses */
	VFS_EXCL = 8    /* with VFS_CREATE: the file must not exist */
};

#define VFS_PATH_MAX 200

struct vfs;
typedef void vfs_name_fn(void *arg, const char *name);

/* All return 0 (or what is said) and H_EIO, H_ENOSPACE, H_ENOTFOUND, H_EEXIST, H_EPERM. */
struct vfs_ops {
	int (*open)(struct vfs *v, const char *path, unsigned flags); /* a handle >= 0 */
	void (*close)(struct vfs *v, int handle);
	/* Bytes read; fewer than n only at the end of the file. */
	int64_t (*pread)(struct vfs *v, int handle, void *p, size_t n, uint64_t at);
	/* All of it or an error; after an error any part of it may have been written. */
	int (*pwrite)(struct vfs *v, int handle, struct str bytes, uint64_t at);
	int64_t (*size)(struct vfs *v, int handle);
	int (*truncate)(struct vfs *v, int handle, uint64_t size);
	int (*sync)(struct vfs *v, int handle);
	int (*sync_dir)(struct vfs *v, const char *path); /* the name of that file */
	int (*sync_all)(struct vfs *v);                   /* syncfs: data and names of all files */
	/* Writes those bytes out, a little at a time, and waits for it, so that sync_all() finds little to
	 * do. Makes nothing durable; after an error the next sync_all() cannot be believed. */
	int (*write_out)(struct vfs *v, int handle, uint64_t at, uint64_t n);
	int (*rename)(struct vfs *v, const char *from, const char *to);
	int (*unlink)(struct vfs *v, const char *path);
	/* Calls fn for each name in the directory, in no order; a directory that is not there is empty. */
	int (*list)(struct vfs *v, const char *dir, vfs_name_fn *fn, void *arg);
	int64_t (*room)(struct vfs *v); /* bytes that may still be written */
};

struct vfs {
	const struct vfs_ops *ops;
};

struct vfs_real_options {
	const char *root;      /* <store>/record; made if it is not there */
	bool is_tmpfs_allowed; /* for tests and durable: async */
};

/* Real files. *ret_note: static text about what had to be done without (O_DIRECT), or NULL. H_EPERM
 * when the store lies in memory and that was not allowed. */
int vfs_real_new(struct vfs **ret, const struct vfs_real_options *o, const char **ret_note)
	must_use;
void vfs_real_free(struct vfs **v);

/* Reads a whole file of at most max bytes into out. H_ELIMIT when it is longer. */
int vfs_read_file(struct vfs *v, const char *path, size_t max, struct buf *out) must_use;
/* Replaces a file: writes path.tmp, syncs it, renames. */
int vfs_replace_file(struct vfs *v, const char *path, struct str bytes) must_use;

#endif
