/* vectors.c: prints the test vectors: vectors > tests/verifier/vectors.json */
#include "record/vectors.h"

int main(void) {
	struct buf b;

	buf_init(&b, MIB);
	vectors_write(&b);
	if (w_done(&b) < 0 || fwrite(b.p + b.off, 1, b.len, stdout) != b.len || fflush(stdout) != 0)
		return 1;
	buf_fini(&b);
	return 0;
}
