/* await: waiting for bytes without being deaf to a signal. */
#ifndef R1_AWAIT_H
#define R1_AWAIT_H

#include <signal.h>

/* Until fd has bytes to read, or has ended: 1. 0 when *stop is not 0, within a
 * second. stop NULL: 1 at once. */
int await_bytes(int fd, const volatile sig_atomic_t *stop);

#endif
