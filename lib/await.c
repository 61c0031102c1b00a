#include "await.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>

/* A signal may come just before the wait, or to another thread, and then does not
 * end it: hence a look each second. */
int await_bytes(int fd, const volatile sig_atomic_t *stop)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int got = 0;

	if (!stop)
		return 1;
	while (!*stop && (got == 0 || (got < 0 && errno == EINTR)))
		got = poll(&p, 1, 1000);
	return !*stop;
}
