#include <math.h>
#include <string.h>

#include "motif.h"
#include "rec_motifs.h"

json_t *motif_header(const struct motif_opt *o, const struct graph_opt *g,
                     struct err *e)
{
	struct rec_motifs_head h = {
		.n = o->nulls ? o->n : 0, .seed = o->seed,
		.threshold = g->threshold, .swaps = o->swaps,
		.min_gap = o->min_gap, .max_gap = o->max_gap,
		.errors = g->errors, .igraph = o->igraph,
		.density = g->density, .part = graph_part_name(g->part)
	};
	int null;

	for (null = 0; null < MOTIF_NULLS; null++)
		if (o->nulls & 1u << null)
			h.nulls[h.n_nulls++] =
				motif_null_name((enum motif_null)null);
	return rec_motifs_header(&h, e);
}

static void add_null(struct rec_motifs *m, const struct motif_stat *s,
                     const char *name)
{
	m->nulls[m->n_nulls++] = (struct rec_motifs_null) {
		.name = name, .mean = s->mean, .std = s->std, .z = s->z,
		.sp = s->sp, .p = s->p, .q = s->q, .effect = s->effect,
		.lo = s->lo, .hi = s->hi, .fixed = s->fixed
	};
}

int motif_write(struct stream_out *s, const struct graph *g,
                const struct motif_opt *o, const struct motif_result *r,
                struct err *e)
{
	size_t i;

	for (i = 0; i < r->n_motifs; i++) {
		enum motif_group group = motif_group_of((int)i);
		struct rec_motifs m = {
			.graph = g->name, .source = g->path, .model = g->model,
			.nodes = g->n_nodes, .edges = g->n_edges,
			.layers = g->n_layers, .count = r->count[i],
			.motif = motif_name((int)i),
			.group = motif_group_name(group)
		};
		int null;

		if (!(o->groups & 1u << group))
			continue;
		for (null = 0; null < MOTIF_NULLS; null++)
			if (r->stat[null] &&
			    motif_null_counts((enum motif_null)null, group))
				add_null(&m, &r->stat[null][i],
				         motif_null_name((enum motif_null)null));
		if (rec_motifs_write(s, &m, e) < 0)
			return -1;
	}
	return 0;
}
