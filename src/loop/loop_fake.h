/*
 * loop_fake.h: the second filling of loop.h, for tests: time is a number and readiness is a script.
 *
 * A test lists loop_fake.c in test_src; its symbols then stand in for loop.c. Descriptors are plain
 * numbers that need not exist. Time moves only in loop_turn (to the next timer, at most by the
 * timeout) and in fake_advance.
 */
#ifndef LOOP_LOOP_FAKE_H
#define LOOP_LOOP_FAKE_H

#include "loop/loop.h"

/* Virtual time begins here, so that no test can depend on zero. */
#define FAKE_EPOCH_NS (1000 * NS_PER_S)

/* fd stays ready for these events (level), as far as a watch wants them; 0 ends it. */
void fake_ready(struct loop *l, int fd, unsigned events);
/* fd is ready for the next turn alone. */
void fake_pulse(struct loop *l, int fd, unsigned events);
/* Runs turns until ns have passed and all that became due has fired. */
int fake_advance(struct loop *l, uint64_t ns) must_use;
/* Runs turns, without letting time pass, until nothing is ready; H_EBUSY after max_turns. */
int fake_settle(struct loop *l, unsigned max_turns) must_use;
/* Interest of the watch on fd; 0 when there is none. */
unsigned fake_want(const struct loop *l, int fd);
bool fake_is_watched(const struct loop *l, int fd);
/* Turns so far. */
uint64_t fake_turns(const struct loop *l);

#endif
