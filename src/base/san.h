/*
 * san.h: what a process tells the sanitizers it may be built with. Costs nothing without them.
 */
#ifndef BASE_SAN_H
#define BASE_SAN_H

/* Call right before a process gives up ptrace or clone: the leak check at exit needs both, and
 * would end the process with an error of its own. */
void san_confined(void);

#endif
