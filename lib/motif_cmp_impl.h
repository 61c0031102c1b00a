/* motif_cmp_impl: what motif_cmp*.c share. */
#ifndef R1_MOTIF_CMP_IMPL_H
#define R1_MOTIF_CMP_IMPL_H

#include "motif_cmp.h"

struct motif_cmp_graph {
	char *name, *source;
	uint64_t nodes, edges;
	size_t set;
	double *value;		/* [n_value] by column; NaN: not measured */
	size_t n_value, cap;
};

struct motif_cmp_column {
	char *motif;
	size_t profile;
};

struct motif_cmp_profile {
	char *group, *null;	/* null "": the measure needs none */
};

struct motif_cmp_set {
	char *name;
	size_t n;		/* graphs */
};

struct motif_cmp {
	struct motif_cmp_opt o;
	struct motif_cmp_set *sets;
	struct motif_cmp_graph *graphs;
	struct motif_cmp_column *columns;
	struct motif_cmp_profile *profiles;
	size_t n_sets, n_graphs, n_columns, n_profiles;
	size_t cap_sets, cap_graphs, cap_columns, cap_profiles;
	json_t *head;		/* of the first stream, without provenance */
	json_t *prov;		/* of all streams */
	char *head_path;
};

/* Edges over ordered pairs of nodes; NaN below two nodes. */
double motif_cmp_density(const struct motif_cmp_graph *g);

/* Pairs of graphs of sets a and b: those within the caliper, nearest first, each
 * graph in at most one pair. pair [2 * min of the sets' sizes] gets indices in
 * c->graphs. Returns how many, or -1 with ERR_MEM. */
int64_t motif_cmp_match(const struct motif_cmp *c, size_t a, size_t b,
                        size_t *pair, struct err *e);

#endif
