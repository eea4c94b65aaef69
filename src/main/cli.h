/*
 * cli.h: subcommands.
 *
 * One row per subcommand in CLI_COMMANDS; the function gets argv from its own name on ("hansard
 * sessions" as argv[0], for argp's messages) and returns an exit status. `hansard --help`, `hansard
 * help X`, completion and the test that compares with the man pages read the same rows.
 */
#ifndef MAIN_CLI_H
#define MAIN_CLI_H

#include <argp.h>

#include "base/err.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,       /* refused or failed */
	CLI_USAGE = 2,        /* wrong usage */
	CLI_UNVERIFIABLE = 3, /* verify could not decide */
	CLI_TAMPERED = 4      /* verify found an altered record */
};

/*      name, function, one line of help. Order is that of `hansard --help`. */
#define CLI_COMMANDS(X) \
	X(serve, cmd_serve, "run the gateway in the foreground") \
	X(check, cmd_check, "check the configuration") \
	X(ls, cmd_ls, "list the connections and how to use them") \
	X(token, cmd_token, "issue, list and revoke tokens") \
	X(why, cmd_why, "explain a refusal") \
	X(status, cmd_status, "say how the running gateway is") \
	X(pin, cmd_pin, "forget what a target's login was pinned to") \
	X(sessions, cmd_sessions, "list the sessions on the record") \
	X(show, cmd_show, "show the facts of a session and its commands") \
	X(play, cmd_play, "show a session as it went") \
	X(tail, cmd_tail, "watch sessions while they are recorded") \
	X(search, cmd_search, "find commands by the text of statements and parameters") \
	X(export, cmd_export, "write sessions for programs: JSON, SQL, packets") \
	X(verify, cmd_verify, "check that the record is whole and unaltered") \
	X(reindex, cmd_reindex, "make the index that search uses anew, from the record") \
	X(completion, cmd_completion, "print a completion script for bash or zsh")

#define X(name, fn, help) int fn(int argc, char **argv);
CLI_COMMANDS(X)
#undef X

struct cli_command {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *help;
};
/* The table; ends with a row whose name is NULL. */
extern const struct cli_command cli_commands[];

/* What main() does, without the process: returns the exit status. */
int cli_main(int argc, char **argv);
/* Calls argp_parse; wrong usage prints a hint and exits with CLI_USAGE, --help exits with CLI_OK. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);
/* Prints "hansard: text" with place and code's sentence where e has none; returns CLI_FAILED, or
 * CLI_USAGE for H_EUSAGE. */
int cli_fail(const struct err *e) must_use;

#endif
