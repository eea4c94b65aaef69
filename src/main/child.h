/* child.h: entry of every process but the supervisor. */
#ifndef MAIN_CHILD_H
#define MAIN_CHILD_H

#include "ipc/start.h"

/* `hansard --child ROLE`: reads SUP_START from channel 3, sets up the log, becomes ROLE. Returns
 * the exit status. */
int child_main(struct str role_text);

#endif
