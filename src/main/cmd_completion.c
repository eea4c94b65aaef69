/*
 * cmd_completion.c: hansard completion bash|zsh: prints a script for the shell.
 *
 * Commands come from the table of subcommands; options are taken from `hansard COMMAND --help` when they are
 * asked for, so that a script made once stays right.
 */
#include "main/ask.h"
#include "main/cli.h"

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *arg, struct argp_state *state) {
	const char **shell = state->input;
	switch (key) {
	case ARGP_KEY_ARG:
		if (*shell != NULL)
			argp_error(state, "one shell at a time");
		*shell = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "bash|zsh",
	.doc = "Print a completion script: source <(hansard completion bash)",
};

static void print_names(void) {
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		(void)printf("%s ", c->name);
	(void)printf("help");
}

static void print_bash(void) {
	(void)printf("_hansard() {\n"
	             "\tlocal cur=${COMP_WORDS[COMP_CWORD]} words\n"
	             "\tif [ \"$COMP_CWORD\" -eq 1 ] || [ \"${COMP_WORDS[1]}\" = help ]; then\n"
	             "\t\twords='");
	print_names();
	(void)printf(
		"'\n"
		"\telif [[ $cur == -* ]]; then\n"
		"\t\twords=$(\"${COMP_WORDS[0]}\" \"${COMP_WORDS[1]}\" --help 2>/dev/null |"
		" grep -oE -- '--[a-z][a-z-]*' | sort -u)\n"
		"\telse\n"
		"\t\tcase ${COMP_WORDS[COMP_CWORD - 1]} in\n"
		"\t\t-o | --output) words='table wide json yaml' ;;\n"
		"\t\t--as) words='ndjson sql pcapng' ;;\n"
		"\t\t--speed) words='1 2x 10x 0.5x' ;;\n"
		"\t\t--connection) words=$(\"${COMP_WORDS[0]}\" ls -o json 2>/dev/null |"
		" sed -n 's/^    \"name\": \"\\([a-z0-9-]*\\)\".*/\\1/p') ;;\n"
		"\t\t--kind) words='agent human service' ;;\n"
		"\t\t--status) words='ok failed suspended skipped unanswered' ;;\n"
		"\t\t*)\n"
		"\t\t\tcase ${COMP_WORDS[1]} in\n"
		"\t\t\tshow | play | tail | export | verify) words=\"@last $(\"${COMP_WORDS[0]}\" sessions --limit 20 2>/dev/null |"
		" awk 'NR > 1 { print $1 }')\" ;;\n"
		"\t\t\ttoken) words='ls revoke' ;;\n"
		"\t\t\tcompletion) words='bash zsh' ;;\n"
		"\t\t\t*) words= ;;\n"
		"\t\t\tesac\n"
		"\t\t\t;;\n"
		"\t\tesac\n"
		"\tfi\n"
		"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		"}\n"
		"complete -o default -F _hansard hansard\n");
}

int cmd_completion(int argc, char **argv) {
	const char *shell = NULL;
	cli_parse(&argp, argc, argv, &shell);
	if (shell == NULL || (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0)) {
		struct err e = { .code = 0 };
		(void)err_set(&e, H_EUSAGE, "completion: bash or zsh?");
		return cli_fail(&e);
	}
	if (strcmp(shell, "zsh") == 0) /* zsh runs the same function */
		(void)printf("autoload -U +X bashcompinit && bashcompinit\n");
	print_bash();
	return CLI_OK;
}
