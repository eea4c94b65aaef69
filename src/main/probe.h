/* probe.h: `hansard --probe ROLE`: tries from inside what a process may do (docs/confinement.md). */
#ifndef MAIN_PROBE_H
#define MAIN_PROBE_H

/* argv[0] is the role. Prints one line per capability: name, tab, "yes", "no" or "killed". Returns
 * the exit status. */
int probe_main(int argc, char **argv);

#endif
