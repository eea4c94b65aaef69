/*
 * recover_fuzz.c: recovery over any journal image. The input becomes the bytes of up to two segment
 * files behind a valid head or not; the recorder must come up, or refuse, without a crash, a hang or
 * a byte written to those files before it decided.
 */
#include "base/crypto.h"
#include "record/recorder_priv.h"
#include "record/vfs_fault.h"

#define SEGMENT ((size_t)128 * 1024)

static uint64_t now_of(void *arg) {
	return *(uint64_t *)arg;
}

static void no_message(void *arg unused_arg, uint16_t type unused_arg, uint64_t id unused_arg,
                       struct str body unused_arg) {
}

static void no_ring(void *arg unused_arg, uint16_t ring unused_arg) {
}

static void no_wake(void *arg unused_arg) {
}

/* A segment: with flag 1 under a head that fits, with flag 2 its first batch under a CRC that fits. */
static void put_segment(struct vfs *v, uint32_t name, uint8_t flags, struct str bytes) {
	static _Alignas(4096) uint8_t image[SEGMENT];
	struct seg_head h = { .size = SEGMENT, .number = name, .first_batch = 1 };
	char path[VFS_PATH_MAX];
	size_t at = (flags & 1) != 0 ? JOURNAL_BLOCK : 0;

	memset(image, 0, sizeof(image));
	if ((flags & 1) != 0)
		seg_head_encode(image, &h);
	bytes = str_head(bytes, SEGMENT - at - JOURNAL_BLOCK);
	if ((flags & 2) != 0 && bytes.n != 0) {
		struct batch_head b = { .payload_len = (uint32_t)bytes.n,
			                .frames = 1,
			                .number = 1 };

		memcpy(image + at + JOURNAL_BATCH_HEAD, bytes.p, bytes.n);
		(void)batch_finish(image + at, &b);
	} else if (bytes.n != 0) {
		memcpy(image + at, bytes.p, bytes.n);
	}
	journal_path(path, name);
	int fd = v->ops->open(v, path, VFS_WRITE | VFS_CREATE | VFS_SYNC);

	if (fd < 0 || v->ops->pwrite(v, fd, str_mem(image, SEGMENT), 0) < 0)
		abort();
	v->ops->close(v, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	uint64_t clock = NS_PER_S;
	struct vfs *v = vfs_fault_new(1);
	struct recorder *r;
	struct buf m;

	if (size > 2) {
		size_t cut = 2 + MIN((size_t)data[1] * 256, size - 2);

		put_segment(v, 1, data[0], str_mem(data + 2, cut - 2));
		if ((data[0] & 4) != 0)
			put_segment(v, 2, data[0] >> 3, str_mem(data + cut, size - cut));
	}
	r = recorder_new(&(struct recorder_options){ .vfs = v,
	                                             .hooks = { .mono = now_of,
	                                                        .wall = now_of,
	                                                        .to_keeper = no_message,
	                                                        .wake_worker = no_ring,
	                                                        .ring_drained = no_ring,
	                                                        .wake = no_wake,
	                                                        .arg = &clock },
	                                             .segment_size = SEGMENT,
	                                             .no_log = true });
	recorder_start(r);
	buf_init(&m, 4096);
	w_u64(&m, 0);
	w_zero(&m, SHA256_SIZE);
	w_vstr(&m, STR("fuzz/log"));
	w_vstr(&m, STR(""));
	w_zero(&m, TLOG_NODE_SIZE);
	recorder_keeper_message(r, &(struct ipc_msg){ .type = IPC_LAST_SIGNED_IS,
	                                              .body = buf_peek(&m) });
	buf_fini(&m);
	for (int i = 0; i < 5; i++) {
		if (recorder_turn(r) != 0)
			clock += NS_PER_S;
	}
	recorder_free(&r);
	vfs_fault_free(&v);
	return 0;
}
