/*
 * motif: how often small patterns occur in an attribution graph, and how often
 * in random graphs that share some of its properties.
 *
 * Groups of motifs:
 *   triads    the 16 classes of three nodes, induced, by igraph's number
 *   signed    8 templates whose edges have signs and go up min_gap to max_gap
 *             layers; not induced: other edges between the nodes are free
 *   ffl       Mangan and Alon's 8 sign types of the feed-forward loop, the
 *             same gaps
 *   quads     the 199 weakly connected classes of four nodes, induced
 *
 * Null models keep the numbers of nodes and edges, and:
 *   configuration   each node's in- and out-degree
 *   er              nothing else
 *   layer-er        the number of edges between each two layers
 *   layer-config    each node's degrees to and from each layer
 *   lpc-sign        as layer-config; signs stay with the edges' sources
 *   lpc-shuf        as layer-config; signs are dealt anew among all edges
 * The first three are counted for all groups (signs as in lpc-sign for
 * configuration, as in lpc-shuf for er and layer-er); layer-config for triads
 * and quads, lpc-sign and lpc-shuf for signed and ffl. The last three share
 * their edges: of one index they differ in signs alone.
 *
 * Counts are exact below 2^64 and stay at the top beyond.
 */
#ifndef R1_MOTIF_H
#define R1_MOTIF_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "graph.h"
#include "par.h"
#include "stream.h"

enum motif_group { MOTIF_TRIADS, MOTIF_SIGNED, MOTIF_FFL, MOTIF_QUADS,
                   MOTIF_GROUPS };

/* Motifs, all groups in one numbering. */
enum {
	MOTIF_TRIAD = 0,	/* + igraph's class, 0..15 */
	MOTIF_SELF_POS = 16,	/* A+B */
	MOTIF_SELF_NEG,		/* A-B */
	MOTIF_AMPLIFY,		/* A+B, B+C */
	MOTIF_DAMP,		/* A+B, B-C */
	MOTIF_COHERENT,		/* A+B, B+C, A+C */
	MOTIF_INCOHERENT,	/* A+B, B+C, A-C */
	MOTIF_INHIBIT,		/* A+C, B+D, A-D, B-C; {A,B} unordered */
	MOTIF_TOGGLE,		/* X+A, X+B, A-D, B-C; {A,B} unordered */
	MOTIF_FFL_C1,		/* + + +: signs of A,B and B,C and A,C */
	MOTIF_FFL_C2,		/* - + - */
	MOTIF_FFL_C3,		/* + - - */
	MOTIF_FFL_C4,		/* - - + */
	MOTIF_FFL_I1,		/* + - + */
	MOTIF_FFL_I2,		/* - - - */
	MOTIF_FFL_I3,		/* + + - */
	MOTIF_FFL_I4,		/* - + + */
	MOTIF_QUAD = 32,	/* + number of the class, 0..198 */
	MOTIF_N_QUADS = 199,
	MOTIF_N = MOTIF_QUAD + MOTIF_N_QUADS
};

enum motif_null {
	MOTIF_CONFIG, MOTIF_ER, MOTIF_LAYER_ER, MOTIF_LAYER_CONFIG,
	MOTIF_LPC_SIGN, MOTIF_LPC_SHUF,
	MOTIF_NULLS
};

/* "030T", "coherent_ffl", "ffl_i1", "quad_01f" (the edges of its class, see
 * motif_quad_code); static. */
const char *motif_name(int motif);
const char *motif_group_name(enum motif_group g);
/* The edges of class 0..198 of four nodes: of the pairs 01 02 03 12 13 23, from
 * the lowest bits, two each: an edge from the lower number, one from the
 * higher. The smallest such code of all numberings of the nodes. */
unsigned motif_quad_code(int class);
/* Numbers of names, or -1. */
int motif_group_find(const char *name);
enum motif_group motif_group_of(int motif);
const char *motif_null_name(enum motif_null null);
int motif_null_find(const char *name);
/* Whether a null model is counted for a group. */
int motif_null_counts(enum motif_null null, enum motif_group g);
/* Triads 003, 012 and 102: no profile includes them. */
int motif_disconnected(int motif);

struct motif_opt {
	unsigned groups;	/* bit 1 << enum motif_group */
	unsigned nulls;		/* bit 1 << enum motif_null */
	uint32_t n;		/* random graphs of each kind */
	int32_t min_gap, max_gap;	/* layers an edge of a template spans */
	double swaps;		/* where edges are swapped: attempts per edge;
				 * where nodes trade: trades per node that come
				 * to something, by the graph's own share */
	uint64_t seed;
	int igraph;		/* 003, 012 and 102 count as 0 */
};

/* One motif against one null model. */
struct motif_stat {
	double mean, std;	/* of the n counts; std: divided by n */
	double z;		/* (count - mean) / std; NaN when fixed */
	double lo, hi;		/* 95 % interval of z, by resampling the n
				 * counts; NaN when fixed or nearly so */
	double sp;		/* z over the length of the group's z; NaN where
				 * there is no z or no profile */
	double p;		/* two-sided, empirical: 2 / (n + 1) to 1 */
	double q;		/* Benjamini-Hochberg over one graph, null model
				 * and group; NaN when the null model allows the
				 * observed count only: that is no test */
	double effect;		/* (count - mean) / (count + mean + 4), within
				 * -1 and 1, no matter how large the graph */
	uint32_t n_above, n_equal;	/* of the n counts, compared with count */
	int fixed;		/* the n counts are all the same */
};

struct motif_result {
	uint64_t count[MOTIF_N];	/* 0 outside opt.groups */
	size_t n_motifs;		/* MOTIF_QUAD, with quads MOTIF_N */
	/* stat[null][motif], NULL for a null model that was not asked for;
	 * unset where motif_null_counts says no. */
	struct motif_stat *stat[MOTIF_NULLS];
	/* sample[null][index * n_motifs + motif]: the n counts themselves;
	 * NULL likewise. */
	uint64_t *sample[MOTIF_NULLS];
	double accepted[MOTIF_NULLS];	/* share of swaps, trades made, or 0 */
};

/* Counts g's motifs of o->groups into count[MOTIF_N]. 0, or -1 with ERR_MEM or
 * ERR_RANGE. */
int motif_count(const struct graph *g, const struct motif_opt *o,
                uint64_t *count, struct err *e);

/* The whole analysis. The same bytes for any pool: a random graph depends on
 * o->seed, the graph's edges and layers, the null model and its index alone.
 * p may be NULL. For motif_free, also after an error. */
int motif_run(const struct graph *g, const struct motif_opt *o, struct par *p,
              struct motif_result *r, struct err *e);
void motif_free(struct motif_result *r);

/* ---- as motifs/1 ---- */

/* The header's members for stream_out_opt.header. New reference. */
json_t *motif_header(const struct motif_opt *o, const struct graph_opt *g,
                     struct err *e);
/* One record for each motif of o->groups. */
int motif_write(struct stream_out *s, const struct graph *g,
                const struct motif_opt *o, const struct motif_result *r,
                struct err *e);

#endif
