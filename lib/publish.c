#include "publish_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <unistd.h>

#include "mem.h"

struct publish {
	enum publish_to to;
	void *ctx;
	struct feat_sink sink;
};

struct publish *publish_new(const struct publish_opt *o, struct err *e)
{
	struct publish *p = mem_array(1, sizeof(*p), e);

	if (!p)
		return NULL;
	p->to = o->to;
	if (o->to == PUBLISH_CIRCUIT_TRACER) {
		p->ctx = publish_ct_new(o, e);
		p->sink = publish_ct_sink(p->ctx);
	} else {
		p->ctx = publish_np_new(o, e);
		p->sink = publish_np_sink(p->ctx);
	}
	if (p->ctx)
		return p;
	mem_free(p);
	return NULL;
}

const struct feat_sink *publish_sink(const struct publish *p)
{
	return &p->sink;
}

void publish_free(struct publish *p)
{
	if (!p)
		return;
	if (p->to == PUBLISH_CIRCUIT_TRACER)
		publish_ct_free(p->ctx);
	else
		publish_np_free(p->ctx);
	mem_free(p);
}

int publish_clear(const char *dir, const char *pattern, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *f;
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, "%s", dir);
	while (rc == 0 && (f = readdir(d)))
		if (fnmatch(pattern, f->d_name, 0) == 0 &&
		    unlinkat(dirfd(d), f->d_name, 0) < 0)
			rc = err_sys(e, "%s/%s", dir, f->d_name);
	closedir(d);
	return rc;
}
