/* rd_fuzz.c: the reader driven by its own input; what it reads must be what a writer would write. */
#include "base/buf.h"
#include "base/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* One read of the kind that `op` names, copied to the writer. */
static void one(struct rd *r, struct buf *b, uint8_t op) {
	switch (op % 10) {
	case 0:
		w_u8(b, rd_u8(r));
		break;
	case 1:
		w_u16(b, rd_u16(r));
		break;
	case 2:
		w_u32(b, rd_u32(r));
		break;
	case 3:
		w_u64(b, rd_u64(r));
		break;
	case 4:
		w_be16(b, rd_be16(r));
		break;
	case 5:
		w_be32(b, rd_be32(r));
		break;
	case 6:
		w_be64(b, rd_be64(r));
		break;
	case 7:
		w_varint(b, rd_varint(r));
		break;
	case 8:
		w_svarint(b, rd_svarint(r));
		break;
	default:
		if (op % 3 == 0)
			w_cstr(b, rd_cstr(r));
		else
			w_vstr(b, rd_vstr(r));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
	if (n < 8)
		return 0;
	struct str body = str_mem(data + 8, n - 8);
	struct rd r = rd_of(body);
	struct buf b;
	size_t good = 0;

	buf_init(&b, n + 64);
	for (unsigned i = 0; i < 64 && !r.bad && rd_left(&r) != 0; i++) {
		one(&r, &b, data[i % 8]);
		if (!r.bad)
			good = b.len;
	}
	/* Every spelling is the only one: reading and writing again gives the same bytes. */
	assert(good <= body.n && str_eq(str_head(buf_peek(&b), good), str_head(body, good)));
	if (rd_done(&r) == 0)
		assert(good == body.n);
	buf_fini(&b);
	return 0;
}
