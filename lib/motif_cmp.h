/*
 * motif_cmp: named sets of graphs compared by what motifs/1 streams say of them.
 *
 * Every pair of a group of motifs and a null model that the streams hold is a
 * profile: one value for each motif of a graph. Each is summed up per set, and
 * sets are compared motif by motif; motifcmp(1) names what the report holds.
 */
#ifndef R1_MOTIF_CMP_H
#define R1_MOTIF_CMP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "par.h"
#include "stats.h"

enum motif_cmp_measure {
	MOTIF_CMP_SP,		/* significance profile, per null model */
	MOTIF_CMP_Z,		/* z, per null model */
	MOTIF_CMP_SHARE,	/* count over all counts of the group */
	MOTIF_CMP_COUNT
};

struct motif_cmp_opt {
	enum motif_cmp_measure measure;
	enum stats_linkage linkage;
	double level;		/* of intervals, 0 .. 1 */
	size_t n_reps;		/* bootstrap resamples; 0: no intervals */
	uint64_t seed;
	double caliper;		/* matched graphs differ by at most this in the
				 * logarithms of nodes and of density; 0: no
				 * matching */
};

struct motif_cmp;

struct motif_cmp *motif_cmp_new(const struct motif_cmp_opt *o, struct err *e);
void motif_cmp_free(struct motif_cmp *c);	/* NULL is legal */

/* Adds the graphs of a motifs/1 stream (a path, "-", or a folder: its *.mot in
 * order of name) to the set called name, made when it is new. Streams must agree
 * in threshold, gaps and conventions; a graph that a set already has (same name
 * and source) is ERR_FORMAT. */
int motif_cmp_read(struct motif_cmp *c, const char *name, const char *path,
                   struct err *e);

/* The comparison. p may be NULL; the same for any number of threads. New
 * reference; NULL with ERR_MEM, or ERR_FORMAT when there is no graph. */
json_t *motif_cmp_report(struct motif_cmp *c, struct par *p, struct err *e);

/* The tests of a report as CSV, a line of names first. mem_free it. */
char *motif_cmp_csv(const json_t *report, struct err *e);

#endif
