#include "map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int map_open(struct map *m, const char *path, struct err *e)
{
	struct stat st;
	void *p;
	int fd;

	m->data = NULL;
	m->n = 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "%s", path);
	if (fstat(fd, &st) < 0) {
		err_sys(e, "%s", path);
		close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(e, ERR_FORMAT, "%s: not a regular file", path);
	}
	if (st.st_size == 0) {
		close(fd);
		return 0;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED) {
		err_sys(e, "%s: cannot map %lld bytes", path,
		        (long long)st.st_size);
		close(fd);
		return -1;
	}
	close(fd);
	m->data = p;
	m->n = (size_t)st.st_size;
	return 0;
}

void map_close(struct map *m)
{
	if (m->data)
		munmap((void *)m->data, m->n);
	m->data = NULL;
	m->n = 0;
}
