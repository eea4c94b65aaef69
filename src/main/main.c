/*
 * main.c: the one binary. Which process it becomes is decided by its first argument: a subcommand,
 * or `--child ROLE` when the supervisor executes it (ipc/start.h).
 */
#include "main/cli.h"

int main(int argc, char **argv) {
	return cli_main(argc, argv);
}
