/* config_fuzz.c: YAML documents into a configuration; findings printed both ways. */
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct findings f;
	struct buf out;

	findings_init(&f);
	buf_init(&out, MIB);
	struct config *c = config_parse(str_mem(data, size), STR("f.yaml"), STR("/d"), &f);

	assert((c == NULL) == (f.errors != 0));
	if (c != NULL)
		config_show(c, &out);
	findings_text(&f, &out);
	findings_json(&f, &out);
	config_free(&c);
	buf_fini(&out);
	findings_fini(&f);
	return 0;
}
