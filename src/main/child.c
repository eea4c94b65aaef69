/*
 * child.c: what is the same in every child's first moments. The rest is in <role>_main.
 *
 * Whoever starts `hansard --child` by hand has no channel 3 and gets a sentence, not a crash.
 */
#include "main/child.h"

#include <sys/socket.h>

#include "base/log.h"
#include "ipc/confine.h"
#include "main/cli.h"
#include "main/indexer.h"
#include "record/recorder.h"

typedef int role_main_fn(struct start *s);

static role_main_fn *const mains[ROLE_COUNT] = {
	[ROLE_KEEPER] = keeper_main,
	[ROLE_EGRESS] = egress_main,
	[ROLE_WORKER] = worker_main,
	[ROLE_RECORDER] = recorder_main,
};

static bool has_channel(void) {
	int type = 0;
	socklen_t n = sizeof(type);

	return getsockopt(START_FD, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET;
}

int child_main(struct str role_text) {
	struct start start;
	enum role role;
	int rc;

	if (role_of(role_text, &role) < 0 || mains[role] == NULL || !has_channel()) {
		(void)fprintf(stderr, "hansard: --child is for `hansard serve`, which starts its "
		                      "processes with it\n");
		return CLI_USAGE;
	}
	start_init(&start, role);
	rc = start_receive(&start);
	if (rc == H_ECLOSED)
		return CLI_OK; /* the supervisor is gone already */
	if (rc < 0 || start.role != role)
		return CLI_FAILED;
	log_setup(role_name(role), start.log_json, (enum log_level)start.log_level);
	/* The keeper reads its configuration first: files of the one who started us. */
	if (role != ROLE_KEEPER && confine_user(role) < 0) {
		log_error("child.user.failed", kv_err(H_EPERM));
		return CLI_FAILED;
	}
	recorder_set_beside(&indexer_beside);
	return mains[role](&start);
}
