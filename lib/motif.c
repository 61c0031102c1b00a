#include "motif.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "motif_impl.h"

static const char *const names[MOTIF_QUAD] = {
	"003", "012", "021U", "102", "021C", "111U", "021D", "030T",
	"120U", "111D", "201", "030C", "120C", "120D", "210", "300",
	"residual_self_loop_positive", "residual_self_loop_negative",
	"feedforward_amplification", "feedforward_damping",
	"coherent_ffl", "incoherent_ffl",
	"cross_chain_inhibition", "cross_chain_toggle",
	"ffl_c1", "ffl_c2", "ffl_c3", "ffl_c4",
	"ffl_i1", "ffl_i2", "ffl_i3", "ffl_i4",
};

static const char *const group_names[MOTIF_GROUPS] = {
	"triads", "signed", "ffl", "quads"
};

static const char *const null_names[MOTIF_NULLS] = {
	"configuration", "er", "layer-er", "layer-config", "lpc-sign",
	"lpc-shuf"
};

const char *motif_name(int motif)
{
	return motif < MOTIF_QUAD ? names[motif] : "quad";
}

const char *motif_group_name(enum motif_group g)
{
	return group_names[g];
}

enum motif_group motif_group_of(int motif)
{
	return motif < MOTIF_SELF_POS ? MOTIF_TRIADS :
	       motif < MOTIF_FFL_C1 ? MOTIF_SIGNED :
	       motif < MOTIF_QUAD ? MOTIF_FFL : MOTIF_QUADS;
}

const char *motif_null_name(enum motif_null null)
{
	return null_names[null];
}

int motif_null_find(const char *name)
{
	int i;

	for (i = 0; i < MOTIF_NULLS; i++)
		if (!strcmp(name, null_names[i]))
			return i;
	return -1;
}

int motif_null_counts(enum motif_null null, enum motif_group g)
{
	int has_signs = g == MOTIF_SIGNED || g == MOTIF_FFL;

	switch (null) {
	case MOTIF_LAYER_CONFIG:
		return !has_signs;
	case MOTIF_LPC_SIGN:
	case MOTIF_LPC_SHUF:
		return has_signs;
	default:
		return 1;
	}
}

int motif_disconnected(int motif)
{
	return motif == 0 || motif == 1 || motif == 3;
}

/* ---- the frame ---- */

int motif_frame_init(struct motif_frame *f, const struct graph *g,
                     const struct motif_opt *o, struct err *e)
{
	uint32_t i, last = 0;

	memset(f, 0, sizeof(*f));
	f->g = g;
	f->o = o;
	f->n_nodes = g->n_nodes;
	f->n_edges = g->n_edges;
	f->n_words = (g->n_nodes + 63) / 64;
	f->dense = g->n_nodes <= 4096;
	f->layer = mem_scratch(g->n_nodes, sizeof(*f->layer), e);
	f->reach = mem_scratch(g->n_nodes, sizeof(*f->reach), e);
	if (!f->layer || !f->reach) {
		motif_frame_free(f);
		return -1;
	}
	for (i = 0; i < g->n_nodes; i++)
		f->layer[i] = g->nodes[i].layer;
	for (i = 0; i < g->n_nodes; i++) {
		while (last < g->n_nodes && f->layer[last] - f->layer[i] <=
		       o->max_gap)
			last++;
		f->reach[i] = (last + 63) / 64;
	}
	return 0;
}

void motif_frame_free(struct motif_frame *f)
{
	mem_free(f->layer);
	mem_free(f->reach);
}

/* ---- counting ---- */

int motif_count(const struct graph *g, const struct motif_opt *o,
                uint64_t *count, struct err *e)
{
	uint32_t *from = mem_scratch(g->n_edges, sizeof(*from), e), u, k;
	uint8_t *minus = mem_scratch(g->n_edges, 1, e);
	struct motif_edges edges = { from, g->out_to, minus,
	                             g->n_backward == 0 };
	struct motif_counter *c = NULL;
	struct motif_frame f = { 0 };
	int rc = -1;

	memset(count, 0, MOTIF_N * sizeof(*count));
	if (!from || !minus || motif_frame_init(&f, g, o, e) < 0 ||
	    !(c = motif_counter_new(&f, o->groups, e)))
		goto done;
	for (u = 0; u < g->n_nodes; u++)
		for (k = g->out_first[u]; k < g->out_first[u + 1]; k++) {
			from[k] = u;
			minus[k] = g->out_weight[k] < 0;
		}
	motif_counter_run(c, &edges, o->groups, count);
	rc = 0;
done:
	motif_counter_free(c);
	motif_frame_free(&f);
	mem_free(from);
	mem_free(minus);
	return rc;
}

void motif_free(struct motif_result *r)
{
	int i;

	for (i = 0; i < MOTIF_NULLS; i++) {
		mem_free(r->stat[i]);
		mem_free(r->sample[i]);
		r->stat[i] = NULL;
		r->sample[i] = NULL;
	}
}

int motif_run(const struct graph *g, const struct motif_opt *o, struct par *p,
              struct motif_result *r, struct err *e)
{
	(void)p;
	memset(r, 0, sizeof(*r));
	return motif_count(g, o, r->count, e);
}
