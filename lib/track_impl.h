/* track_impl: what track*.c share. */
#ifndef R1_TRACK_IMPL_H
#define R1_TRACK_IMPL_H

#include <jansson.h>

#include "track.h"

struct track_point {
	char *tag;
	double value;
};

struct track_entry {
	uint64_t number;	/* from 0, of the run */
	int64_t step;
	double time_s;
	const struct track_point *point;
	size_t n;
};

/* A program's form: state of its own, entries, and what is to be visible now. */
struct track_sink {
	void *(*open)(const struct track_opt *o, struct err *e);
	int (*put)(void *s, const struct track_entry *t, struct err *e);
	int (*flush)(void *s, struct err *e);
	int (*finish)(void *s, struct err *e);	/* the run is over, or NULL */
	void (*close)(void *s);
};

extern const struct track_sink track_tensorboard, track_trackio, track_mlflow;

#endif
