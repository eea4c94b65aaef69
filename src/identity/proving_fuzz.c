/* proving_fuzz.c: foreign messages of SCRAM and OAUTHBEARER: no crash, and no proof without a password. */
#include "base/mem.h"
#include "identity/oauthbearer.h"
#include "identity/scram_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Splits at the first NUL: client-first, client-final. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct scram_server s = { .is_real = true };
	char out[SCRAM_SERVER_FINAL_SIZE];
	struct str final = str_mem(data, size), token = STR_NONE;
	struct str first = str_cut(&final, '\0');
	bool is_plus = first.n != 0 && first.p[0] == 'p';
	struct scram_ask ask = { .mechanism = is_plus ? STR(SCRAM_PLUS) : STR(SCRAM_PLAIN),
		                 .message = first,
		                 .end_point = is_plus ? STR("0123456789abcdef") : STR_NONE,
		                 .nonce = STR("abcdefghijklmnopqrstuvwx") };
	struct buf b;

	memset(&s.verifier, 7, sizeof(s.verifier));
	s.verifier.iterations = SCRAM_ITERATIONS;
	buf_init(&b, 4096);
	if (scram_server_first(&s, &ask, &b) == SCRAM_FINE) {
		assert(b.len != 0);
		bool is_in = scram_server_final(&s, final, out) == SCRAM_FINE;

		assert(!is_in);
	}
	if (oauthbearer_parse(&token, str_mem(data, size)) == 0)
		assert(token.n == 0 || (token.n < size && memchr(token.p, 1, token.n) == NULL));
	buf_fini(&b);
	return 0;
}
