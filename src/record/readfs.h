/*
 * readfs.h: opening files of a store for reading, without following symbolic links, and reading
 * them frame by frame. Shared by reader and verifier; stays inside this folder.
 */
#ifndef RECORD_READFS_H
#define RECORD_READFS_H

#include "base/buf.h"
#include "base/err.h"
#include "record/frame.h"

/* <dir>/record as a descriptor; H_ENOTFOUND, H_EIO. */
int readfs_root(const char *dir) must_use;
/* A regular file below root, no component of it a symbolic link: a descriptor, H_ENOTFOUND, H_EPERM
 * (not a regular file, or a link), H_EIO. *ret_size may be NULL. */
int readfs_open(int root, const char *path, uint64_t *ret_size) must_use;
/* Appends the whole file; H_ELIMIT when it does not fit. */
int readfs_read(int root, const char *path, struct buf *out) must_use;
/* Exactly n bytes from an offset, or as many as there are: count or H_EIO. */
ssize_t readfs_pread(int fd, void *p, size_t n, uint64_t offset) must_use;

struct readfs_names {
	char **name;
	size_t count;
};
/* Names in a directory, sorted, without "." and ".."; none when it does not exist. Directories end
 * in '/', and what is neither a file nor a directory in '@'. H_EIO. */
int readfs_list(int root, const char *path, struct readfs_names *out) must_use;
void readfs_names_free(struct readfs_names *n);

#define READFS_PART_PATH_MAX 96
/* "sessions/2026/11/21/<sid>.0000.rec" */
void readfs_part_path(char out[READFS_PART_PATH_MAX], const uint8_t sid[SID_SIZE], uint32_t part);
/* A name "<sid>.<part>.rec", strict: 0 or H_EFORMAT. */
int readfs_part_name(struct str name, uint8_t sid[SID_SIZE], uint32_t *part) must_use;

/* A file of frames, read in order. */
struct frame_file {
	int fd;
	uint64_t size; /* when it was opened */
	uint64_t at;   /* offset of the frame that comes next */
	uint8_t *buf;  /* cap bytes: a read-ahead and the longest frame, less for a short file */
	size_t cap;
	size_t have; /* bytes in buf, from file offset buf_at on */
	uint64_t buf_at;
};
void frame_file_init(struct frame_file *f);
void frame_file_close(struct frame_file *f);
/* Opens another file with the same buffer. */
int frame_file_open(struct frame_file *f, int root, const char *path) must_use;
/* 1 the next frame (borrowed until the next call), 0 the end of the file, H_ETRUNC when the file ends
 * inside a frame, H_EFORMAT or H_EVERSION when no frame is there, H_EIO. */
int frame_file_next(struct frame_file *f, struct frame *ret) must_use;

#endif
