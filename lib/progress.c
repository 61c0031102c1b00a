#include "progress.h"

#include <stdio.h>
#include <string.h>

static double since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) +
	       1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

void progress_start(struct progress *p, progress_fn *fn, void *ctx,
                    const char *unit, uint64_t first, uint64_t total)
{
	memset(p, 0, sizeof(*p));
	p->fn = fn;
	p->ctx = ctx;
	p->unit = unit;
	p->first = first;
	p->total = total;
	clock_gettime(CLOCK_MONOTONIC, &p->begun);
}

double progress_rate(const struct progress *p, uint64_t done)
{
	double s = since(&p->begun);

	return s > 0 && done > p->first ? (double)(done - p->first) / s : 0;
}

static void show(struct progress *p, uint64_t done, const char *note, int last)
{
	enum { ETA_MAX_S = 1000 * 3600 };	/* beyond it nobody waits */
	double rate = progress_rate(p, done), eta;
	char text[200];
	int n;

	n = snprintf(text, sizeof(text), "%llu", (unsigned long long)done);
	if (p->total)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "/%llu",
		              (unsigned long long)p->total);
	n += snprintf(text + n, sizeof(text) - (size_t)n, rate < 100 ?
	              " %s, %.3g/s" : " %s, %.0f/s", p->unit, rate);
	eta = rate > 0 && p->total > done ? (double)(p->total - done) / rate
	                                  : 0;
	if (!last && eta > 0 && eta < ETA_MAX_S)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
		              ", %d:%02d:%02d left", (int)(eta / 3600),
		              (int)(eta / 60) % 60, (int)eta % 60);
	if (note)
		snprintf(text + n, sizeof(text) - (size_t)n, ", %s", note);
	p->fn(p->ctx, text, last);
	clock_gettime(CLOCK_MONOTONIC, &p->shown);
}

void progress_at(struct progress *p, uint64_t done, const char *note)
{
	if (p->fn && (p->shown.tv_sec == 0 || since(&p->shown) > 0.25))
		show(p, done, note, 0);
}

void progress_end(struct progress *p, uint64_t done, const char *note)
{
	if (p->fn)
		show(p, done, note, 1);
}
