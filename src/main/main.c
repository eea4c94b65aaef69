/*
 * main.c: the process's door. Everything else of this folder is a library, so that tests can link it.
 */
#include "main/cli.h"

int main(int argc, char **argv) {
	return cli_main(argc, argv);
}
