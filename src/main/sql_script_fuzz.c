/*
 * sql_script_fuzz.c: any text as a statement. What is accepted must be accepted again, unchanged but for colons,
 * when it is read back: then psql and we agree on where quotes begin and end.
 */
#include "base/mem.h"
#include "main/sql_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct buf out, scratch, again;
	struct view_command c = { .has_text = true, .text = str_mem((const char *)data, size) };
	struct copy_scan s = { .column = 0 };
	buf_init(&out, 4 * MIB);
	buf_init(&again, 4 * MIB);
	buf_init(&scratch, MIB);
	if (size < MIB && sql_script_statement(&out, &scratch, &c, true) == NULL) {
		c.text = buf_peek(&out);
		assert(sql_script_statement(&again, &scratch, &c, true) == NULL);
	}
	copy_scan(&s, str_mem((const char *)data, size));
	buf_fini(&out);
	buf_fini(&again);
	buf_fini(&scratch);
	return 0;
}
