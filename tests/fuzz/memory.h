/* memory.h: fuzz input as a file that readers can open by name. */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A descriptor that holds data; path gets a name to open it by. */
static inline int memory_file(const uint8_t *data, size_t n, char path[64])
{
	int fd = memfd_create("fuzz", 0);

	if (fd < 0 || (n && write(fd, data, n) != (ssize_t)n))
		abort();
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
