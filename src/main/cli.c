/*
 * cli.c: from argv to a subcommand.
 */
#include "main/cli.h"

#include "main/child.h"
#include "main/probe.h"
#include "main/version.h"

const struct cli_command cli_commands[] = {
#define X(name, fn, help) { #name, fn, help },
	CLI_COMMANDS(X)
#undef X
		{ NULL, NULL, NULL }
};

static void print_help(FILE *f) {
	(void)fprintf(f,
	              "Usage: hansard COMMAND [OPTION...]\n\n"
	              "Stands between agents and the systems they touch, and keeps the record.\n\n"
	              "Commands:\n");
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		(void)fprintf(f, "  %-11s %s\n", c->name, c->help);
	(void)fprintf(f, "  %-11s %s\n", "help", "help about a command");
	(void)fprintf(f,
	              "\n`hansard COMMAND --help` lists its options. Configuration: --config FILE, "
	              "HANSARD_CONFIG,\n./hansard.yaml, ~/.config/hansard/hansard.yaml, "
	              "/etc/hansard/hansard.yaml.\n"
	              "Exit status: 0 ok, 1 refused or failed, 2 usage, 3 unverifiable, 4 "
	              "tampered.\n");
}

static const struct cli_command *find(struct str name) {
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
		if (str_is(name, c->name))
			return c;
	}
	return NULL;
}

static int unknown(struct str name) {
	const struct cli_command *nearest = NULL;
	size_t least = 3;

	for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
		size_t d = str_distance(name, str_of(c->name));
		if (d < least) {
			least = d;
			nearest = c;
		}
	}
	(void)fprintf(stderr, "hansard: there is no command \"%.*s\"", STR_ARG(name));
	if (nearest != NULL)
		(void)fprintf(stderr, "; did you mean \"%s\"?", nearest->name);
	(void)fprintf(stderr, "\n`hansard --help` lists them.\n");
	return CLI_USAGE;
}

static int run(const struct cli_command *c, int argc, char **argv) {
	auto_free char *name = xasprintf("hansard %s", c->name);

	argv[0] = name;
	return c->fn(argc, argv);
}

static int help_about(int argc, char **argv) {
	char help[] = "--help";
	char *args[] = { NULL, help, NULL };
	const struct cli_command *c;

	if (argc < 3) {
		print_help(stdout);
		return CLI_OK;
	}
	c = find(str_of(argv[2]));
	return c != NULL ? run(c, 2, args) : unknown(str_of(argv[2]));
}

static int no_command(void) {
	print_help(stderr);
	return CLI_USAGE;
}

int cli_main(int argc, char **argv) {
	struct str first = argc > 1 ? str_of(argv[1]) : STR_NONE;
	const struct cli_command *c;

	argp_err_exit_status = CLI_USAGE;
	argp_program_version = HANSARD_VERSION_LINE;
	if (str_is(first, "--child") && argc == 3)
		return child_main(str_of(argv[2]));
	if (str_is(first, "--probe") && argc >= 3)
		return probe_main(argc - 2, argv + 2);
	if (first.n == 0)
		return no_command();
	if (str_is(first, "help") || str_is(first, "--help") || str_is(first, "-h"))
		return str_is(first, "help") ? help_about(argc, argv) : help_about(1, argv);
	if (str_is(first, "--version") || str_is(first, "-V")) {
		(void)printf("%s\n", HANSARD_VERSION_LINE);
		return CLI_OK;
	}
	c = find(first);
	return c != NULL ? run(c, argc - 1, argv + 1) : unknown(first);
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input) {
	/* Errors and --help leave through exit(), with argp_err_exit_status or 0. */
	if (argp_parse(argp, argc, argv, 0, NULL, input) != 0)
		exit(CLI_USAGE);
}

int cli_fail(const struct err *e) {
	const char *text = e->text[0] != '\0' ? e->text : h_err_text(e->code);

	if (e->where[0] != '\0')
		(void)fprintf(stderr, "hansard: %s: %s\n", e->where, text);
	else
		(void)fprintf(stderr, "hansard: %s\n", text);
	return e->code == H_EUSAGE ? CLI_USAGE : CLI_FAILED;
}
