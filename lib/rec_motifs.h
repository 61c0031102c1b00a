/*
 * rec_motifs: records of kind motifs/1, one graph and one motif each.
 * r1-stream(5) is the format.
 */
#ifndef R1_REC_MOTIFS_H
#define R1_REC_MOTIFS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "stream.h"

enum { REC_MOTIFS_NULLS = 16 };

struct rec_motifs_null {
	const char *name;	/* "layer-config" */
	double mean, std;
	/* NaN: absent in the record */
	double z, sp, p, q;
	double effect;		/* of the count against the null counts */
	double lo, hi;		/* interval of z */
	int fixed;		/* every random graph had the same count */
};

struct rec_motifs {
	const char *graph;	/* name of the graph */
	const char *source;	/* where it was read */
	const char *model;	/* "" when unknown */
	uint64_t nodes, edges, layers;
	const char *motif;	/* "030T" */
	const char *group;	/* "triads" */
	uint64_t count;
	struct rec_motifs_null nulls[REC_MOTIFS_NULLS];
	size_t n_nulls;
};

struct rec_motifs_head {
	uint64_t n;		/* random graphs of each kind */
	uint64_t seed;
	double threshold;	/* of |weight| */
	double swaps;		/* swaps per edge, trades per node */
	int32_t min_gap, max_gap;
	int errors;		/* error nodes are in */
	int igraph;		/* igraph's convention for 003, 012, 102 */
	double density;		/* edges were cut to this share; 0: none was */
	const char *part;	/* of the prompt: "all", "think" */
	/* names of the null models, in the records' order */
	const char *nulls[REC_MOTIFS_NULLS];
	size_t n_nulls;
};

struct rec_motifs_in;
struct rec_motifs_in *rec_motifs_open(const char *path,
                                      struct rec_motifs_head *h,
                                      struct err *e);
/* On a stream that is open; s is taken over, also on error. Strings in h live
 * until rec_motifs_close. */
struct rec_motifs_in *rec_motifs_on(struct stream_in *s,
                                    struct rec_motifs_head *h,
                                    struct err *e);
/* 1 a record, 0 the end, -1; strings live until the next call. */
int rec_motifs_read(struct rec_motifs_in *r, struct rec_motifs *m,
                    struct err *e);
const struct stream_in *rec_motifs_stream(const struct rec_motifs_in *r);
void rec_motifs_close(struct rec_motifs_in *r);

/* The header's JSON members for stream_out_opt.header. New reference. */
json_t *rec_motifs_header(const struct rec_motifs_head *h, struct err *e);
int rec_motifs_write(struct stream_out *s, const struct rec_motifs *m,
                     struct err *e);

#endif
