/* login_fuzz.c: a hostile target's authentication messages, one per line of input. */
#include "keeper/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int get(void *arg, struct str key, struct pin *ret) {
	(void)arg;
	(void)key;
	(void)ret;
	return H_ENOTFOUND;
}

static int put(void *arg, struct str key, const struct pin *p) {
	(void)arg;
	(void)key;
	(void)p;
	abort(); /* nobody without the verifier ever gets this far */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct pin_store store = { .get = get, .put = put };
	struct str rest = str_mem(data, size);
	struct login_role role = { .user = STR("u"), .pin_key = STR("k") };
	struct login l = { 0 };
	struct buf out, in;

	if (size == 0)
		return 0;
	role.binding = (enum config_binding)(data[0] / 3 % 3);
	struct str end_point = data[0] / 9 % 2 != 0 ? STR("0123456789abcdef0123456789abcdef")
	                                            : STR_NONE;
	role.auth = (enum config_auth)(data[0] % 3); /* not trust: that has no secret to keep */
	role.password = secret_of(STR("fuzz-secret"));
	rest = str_from(rest, 1);
	buf_init(&out, 65536);
	buf_init(&in, 65536);
	while (rest.n != 0) {
		struct login_answer a = { .out = &out };
		struct str line = str_cut(&rest, '\n');

		buf_clear(&in);
		/* "\1…": the server's first SCRAM message with a nonce that continues ours. */
		if (line.n != 0 && line.p[0] == 1) {
			w_be32(&in, 11);
			w_fmt(&in, "r=%s", l.scram.nonce);
			w_bytes(&in, str_from(line, 1));
		} else {
			w_bytes(&in, line);
		}
		struct login_ask ask = { .message = buf_peek(&in), .end_point = end_point };

		buf_clear(&out);
		int rc = login_step(&l, &role, &store, &ask, &a);

		assert(rc == 0 || out.len == 0 || l.phase == LOGIN_FAILED);
		assert(!a.is_done || role.auth != CONFIG_AUTH_SCRAM);
	}
	login_wipe(&l);
	login_role_fini(&role);
	buf_fini(&out);
	buf_fini(&in);
	return 0;
}
