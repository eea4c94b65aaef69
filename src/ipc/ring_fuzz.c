/*
 * ring_fuzz.c: the recorder over a ring whose memory a taken-over worker filled.
 *
 * Input: u64 tail, u64 head (relative to it), then what lies in the data from the tail on. Whatever
 * it is: no read outside, no endless loop, and what was refused once stays refused.
 */
#include "ipc/ring.h"

#include "base/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATA_SIZE ((size_t)256 * 1024)

static struct ring worker, recorder;
static uint8_t payload[RING_PAYLOAD_MAX];

static void open_ring(void) {
	int ring = -1, commit = -1, ro = -1;

	if (ring_create(DATA_SIZE, 64, &ring, &commit, &ro) < 0 ||
	    ring_map_worker(&worker, ring, ro) < 0 ||
	    ring_map_recorder(&recorder, ring, commit) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct rd r = rd_of(str_mem(data, size));
	uint64_t tail = rd_u64(&r) & ~(uint64_t)7, head = tail + rd_u64(&r);
	struct ring_event e;
	size_t taken = 0;
	int rc;

	if (recorder.head == NULL)
		open_ring();
	memset(worker.data, 0, DATA_SIZE);
	for (uint64_t at = tail; rd_left(&r) > 0; at++)
		worker.data[at & worker.mask] = rd_u8(&r);
	recorder.pos = tail;
	recorder.is_bad = false;
	atomic_store(&worker.head->head, head);
	while ((rc = ring_take(&recorder, &e, payload)) == 1) {
		assert(e.len <= RING_PAYLOAD_MAX && e.slot < recorder.slot_count);
		assert(++taken <= DATA_SIZE / sizeof(e));
	}
	assert(rc == H_ETAMPERED ? ring_take(&recorder, &e, payload) == rc : recorder.pos == head);
	return 0;
}
