/*
 * track: measurements, JSON lines as the tools write them, handed to programs
 * that draw them, in the form that each of these accepts.
 *
 * Of a line every number counts, those of inner objects under "outer/inner";
 * "layer" and "event" say what it is about: {"step": 7, "layer": 3, "fvu": 0.3,
 * "time": {"tokens_per_s": 900}} is layer3/fvu and layer3/time/tokens_per_s of
 * step 7. Lines of one step that follow each other make one entry.
 *
 *   tensorboard  OUT/RUN/events.out.tfevents.TIME.r1: records framed by masked
 *                CRC-32C (tensorflow/core/lib/io/record_writer.h), each an Event
 *                with a Summary (tensorflow/core/{util/event,framework/summary}
 *                .proto)
 *   trackio      OUT/inbox/WRITER/NNNNNNNN.jsonl: fragments that its dashboard
 *                takes in, once each by their log_id (trackio/fragments.py)
 *   mlflow       a run of experiment PROJECT on the server at OUT, with the token
 *                in MLFLOW_TRACKING_TOKEN if there is one
 */
#ifndef R1_TRACK_H
#define R1_TRACK_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum track_to { TRACK_TENSORBOARD, TRACK_TRACKIO, TRACK_MLFLOW };

struct track_opt {
	enum track_to to;
	const char *out;	/* folder, made if missing; MLflow: URL */
	const char *project;
	const char *run;
	double now_s;		/* clock, seconds since 1970: when it begins */
};

struct track;

/* The strings of o are borrowed until track_free. */
struct track *track_open(const struct track_opt *o, struct err *e);

/* The next n bytes of the lines, read at now_s. ERR_FORMAT names the line that
 * is no JSON object. */
int track_feed(struct track *t, const char *bytes, size_t n, double now_s,
               struct err *e);

/* Hands over what is whole: to be called when no bytes come for a while. */
int track_flush(struct track *t, struct err *e);

/* The end: the last step is handed over too. A last line that a killed writer
 * left half is passed over. */
int track_finish(struct track *t, struct err *e);
void track_free(struct track *t);	/* NULL is legal */

/* Entries handed over so far. */
uint64_t track_entries(const struct track *t);

#endif
