/*
 * train_feed: runs that learn from one stream together.
 *
 * A run is a train_set of its own: configuration, folder, metrics, state. All
 * train the same layers and are given the same rows, which are made (read, or
 * computed by the model) once; each run takes from them what it has not had, and
 * stops where it is to. So it becomes, to the bit, what it would alone.
 *
 * Rows are numbered through the stream from 0. They are pushed layer by layer
 * and in order, and settled when all layers have them.
 */
#ifndef R1_TRAIN_FEED_H
#define R1_TRAIN_FEED_H

#include "progress.h"
#include "train_set.h"

struct train_feed_run {
	struct train_set_cfg cfg;	/* layers as in the other runs */
	const char *init;	/* folder to start from, or NULL; borrowed */
	const char *metrics;	/* metrics_open's `where`; borrowed */
	int resume;		/* go on from cfg.out's state, if any */
};

struct train_feed;

/* Makes the n runs, none begun or each where its state says. d and what cfg
 * borrows must outlive the feed. ERR_RANGE when layers differ or two write to
 * one place; others' errors as they come, with the run's folder in front when
 * there are several. progress (or NULL) shows how far they are. */
struct train_feed *train_feed_new(const struct train_feed_run *runs, int n,
                                  struct dev *d, progress_fn *progress,
                                  void *ctx, struct err *e);
void train_feed_free(struct train_feed *f);

/* The i-th run, for those that step it themselves (train_tune.h). */
struct train_set *train_feed_set(struct train_feed *f, int i);

/* Rows that every run has had: they need not be made. UINT64_MAX when all are
 * at their ends. */
uint64_t train_feed_behind(const struct train_feed *f);
/* Whether some run sees x (autoencoders see y alone). */
int train_feed_wants_x(const struct train_feed *f);

/* The ids of the next n rows, as train_set_ids. */
int train_feed_ids(struct train_feed *f, const uint32_t *ids, size_t n,
                   struct err *e);
/* Rows `first` to first + n of the i-th layer, as train_set_push. */
int train_feed_push(struct train_feed *f, int i, uint64_t first,
                    const float *x, const float *y, size_t n, struct err *e);
/* All layers have all rows below `rows`: lines of metrics, saves, ends. 1 when
 * every run is at its end, else 0. */
int train_feed_settle(struct train_feed *f, uint64_t rows, struct err *e);

/* The stream has ended; see train_set_finish. Every run is brought to an end
 * before the first error is returned. */
int train_feed_finish(struct train_feed *f, struct err *e);
/* Saves every run that is not at its end, and sets ERR_STOP saying so. -1. */
int train_feed_stop(struct train_feed *f, struct err *e);
/* Closes the metrics, checked; only free the feed then. */
int train_feed_close(struct train_feed *f, struct err *e);

#endif
