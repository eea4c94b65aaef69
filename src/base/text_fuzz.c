/* text_fuzz.c: decoders of foreign text: UTF-8, base64, hexadecimal, durations, numbers, UUIDs. */
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fuzz_base64(struct str s) {
	uint8_t raw[4096];
	char back[4 * sizeof(raw) / 3 + 8];
	int count = base64_decode(raw, sizeof(raw), s);

	if (count < 0)
		return;
	assert(base64_encode(back, raw, (size_t)count) == s.n);
	assert(str_eq(s, str_mem(back, s.n)));
}

static void fuzz_duration(struct str s) {
	uint64_t ns, again;
	char text[32];

	if (duration_parse(s, &ns) < 0)
		return;
	duration_text(text, sizeof(text), ns);
	assert(duration_parse(str_of(text), &again) == 0 && again == ns);
}

static void fuzz_uuid(struct str s) {
	uint8_t sid[SID_SIZE];
	char text[UUID_TEXT_SIZE];

	if (uuid_parse(sid, s) < 0)
		return;
	uuid_text(text, sid);
	assert(str_eq_nocase(s, str_of(text)));
}

/* Escaped text is UTF-8 without control bytes, whatever went in. */
static void fuzz_escape(struct str s) {
	char out[4096];
	size_t used;
	size_t n = json_escape(out, sizeof(out), s, &used);

	assert(used <= s.n && str_utf8_bad(str_mem(out, n)) == n);
	for (size_t i = 0; i < n; i++)
		assert((uint8_t)out[i] >= 0x20 && out[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
	struct str s = str_mem(data, n);
	uint8_t raw[64];
	uint64_t v;
	size_t bad = str_utf8_bad(s);

	assert(bad <= n && str_utf8_bad(str_head(s, bad)) == bad);
	if (hex_decode(raw, sizeof(raw), s) >= 0)
		assert(n % 2 == 0);
	if (str_u64(s, UINT64_MAX, &v) == 0)
		assert(n > 0);
	(void)str_distance(str_head(s, n / 2), str_from(s, n / 2));
	fuzz_base64(s);
	fuzz_duration(s);
	fuzz_uuid(s);
	fuzz_escape(s);
	return 0;
}
