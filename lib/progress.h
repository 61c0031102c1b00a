/*
 * progress: one line that says how far a long job is, rewritten in place. The
 * tool gives the function that shows it; there is none when nobody watches.
 */
#ifndef R1_PROGRESS_H
#define R1_PROGRESS_H

#include <stdint.h>
#include <time.h>

/* Shows text; last: the job has ended, the line stays. */
typedef void progress_fn(void *ctx, const char *text, int last);

struct progress {
	progress_fn *fn;	/* NULL: silence */
	void *ctx;
	const char *unit;	/* "tokens" */
	uint64_t total;		/* 0: unknown */
	uint64_t first;		/* done before this run (resumed) */
	struct timespec begun, shown;
};

void progress_start(struct progress *p, progress_fn *fn, void *ctx,
                    const char *unit, uint64_t first, uint64_t total);
/* Called as often as one likes; shows at most four times a second. note (or
 * NULL) is added at the end: "fvu 0.31". */
void progress_at(struct progress *p, uint64_t done, const char *note);
void progress_end(struct progress *p, uint64_t done, const char *note);

/* Units a second since the start. */
double progress_rate(const struct progress *p, uint64_t done);

#endif
