/* optdoc_main.c: prints the documentation that the option table makes: --markdown or --mdoc. */
#include "config/config.h"

int main(int argc, char **argv) {
	struct buf out;

	buf_init(&out, MIB);
	if (argc == 2 && strcmp(argv[1], "--markdown") == 0) {
		config_markdown(&out);
	} else if (argc == 2 && strcmp(argv[1], "--mdoc") == 0) {
		config_mdoc(&out);
	} else {
		(void)fprintf(stderr, "usage: optdoc --markdown | --mdoc\n");
		return 2;
	}
	struct str text = buf_peek(&out);
	int rc = text.p != NULL && fwrite(text.p, 1, text.n, stdout) == text.n ? 0 : 1;

	buf_fini(&out);
	return rc;
}
