/*
 * hansard-teststore.c: writes a test store: hansard-teststore DIR [standard|long].
 *
 * DIR is made and must not exist. For tests of verifiers that share no code with this one.
 */
#include <errno.h>
#include <sys/stat.h>

#include "record/teststore.h"

int main(int argc, char **argv) {
	const char *kind = argc == 3 ? argv[2] : "standard";
	bool is_long = strcmp(kind, "long") == 0;

	if (argc < 2 || argc > 3 || (!is_long && strcmp(kind, "standard") != 0)) {
		(void)fprintf(stderr, "usage: hansard-teststore DIR [standard|long]\n");
		return 2;
	}
	if (mkdir(argv[1], 0700) != 0) {
		(void)fprintf(stderr, "hansard-teststore: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	if (is_long)
		ts_long_log(argv[1]);
	else
		ts_standard(argv[1]);
	return 0;
}
