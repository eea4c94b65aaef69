/* snapshot_fuzz.c: snapshots from foreign bytes; what parses is encoded again to the same hash. */
#include "config/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct snapshot s;
	struct buf b;

	if (snapshot_parse(&s, str_mem(data, size)) < 0)
		return 0;
	uint8_t hash[SHA256_SIZE];

	memcpy(hash, s.hash, sizeof(hash));
	buf_init(&b, 2 * SNAPSHOT_SIZE_MAX);
	if (snapshot_encode(&b, &s) == 0)
		assert(memcmp(hash, s.hash, sizeof(hash)) == 0);
	buf_fini(&b);
	snapshot_free(&s);
	return 0;
}
