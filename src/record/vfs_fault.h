/*
 * vfs_fault.h: a file system in memory that lies, for crash tests.
 *
 * It keeps apart what a reader sees and what is on the disk. Writes with VFS_SYNC reach the disk
 * before they return; all others wait as a list, and a power cut keeps any part of it, by pages, and
 * any beginning of the list of changes to names. Everything is drawn from one seed.
 */
#ifndef RECORD_VFS_FAULT_H
#define RECORD_VFS_FAULT_H

#include "record/vfs.h"

struct vfs *vfs_fault_new(uint64_t seed) must_use;
void vfs_fault_free(struct vfs **v);
/* Of 10,000 changing operations so many fail with H_EIO (writes may then be partly done). */
void vfs_fault_errors(struct vfs *v, unsigned per_10000);
/* Bytes that files may hold in all; beyond it H_ENOSPACE. */
void vfs_fault_capacity(struct vfs *v, uint64_t bytes);
/* After n more changing operations the process is dead: that operation may be torn, nothing later
 * happens, everything fails. 0: never. */
void vfs_fault_stop_after(struct vfs *v, uint64_t n);
bool vfs_fault_is_stopped(struct vfs *v);
/* The process begins anew: all handles are closed. With power_cut only the disk survives, and what
 * chance adds to it. */
void vfs_fault_restart(struct vfs *v, bool power_cut);
/* Copies all files into a directory. */
int vfs_fault_dump(struct vfs *v, const char *dir) must_use;
uint64_t vfs_fault_ops(struct vfs *v);
/* The bytes of a file as a reader sees them, to look at and to damage; NULL when it is not there. */
struct buf *vfs_fault_file(struct vfs *v, const char *path);

#endif
