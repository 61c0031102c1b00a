#include <string.h>

#include "mem.h"
#include "motif_impl.h"

/*
 * A random graph is an item of par_for: made and counted by one thread, its
 * counts stored by number. The three null models that swap within pairs of
 * layers share an item, for they share their swaps.
 */
enum { FAMILIES = 4 };
static const unsigned families[FAMILIES] = {
	1u << MOTIF_CONFIG, 1u << MOTIF_ER, 1u << MOTIF_LAYER_ER,
	1u << MOTIF_LAYER_CONFIG | 1u << MOTIF_LPC_SIGN | 1u << MOTIF_LPC_SHUF
};

struct worker {
	struct motif_counter *counter;
	struct motif_shuffle *shuffle;
	uint64_t tried[MOTIF_NULLS], made[MOTIF_NULLS];
};

struct job {
	const struct motif_frame *f;
	const struct motif_opt *o;
	struct motif_result *r;
	struct worker *workers;
	int family[FAMILIES], n_families;
};

static unsigned groups_of(const struct motif_opt *o, enum motif_null null)
{
	unsigned groups = 0;
	int g;

	for (g = 0; g < MOTIF_GROUPS; g++)
		if (o->groups & 1u << g &&
		    motif_null_counts(null, (enum motif_group)g))
			groups |= 1u << g;
	return groups;
}

static void one(void *ctx, size_t item, int thread)
{
	const struct job *j = ctx;
	struct worker *w = &j->workers[thread];
	uint32_t index = (uint32_t)(item / (size_t)j->n_families);
	unsigned nulls = families[j->family[item % (size_t)j->n_families]] &
	                 j->o->nulls;
	struct motif_edges edges = { 0 };
	int null, have = 0;

	for (null = 0; null < MOTIF_NULLS; null++) {
		if (!(nulls & 1u << null))
			continue;
		if (have && null == MOTIF_LPC_SHUF)
			edges = motif_shuffle_signs(w->shuffle, index);
		else if (!have)
			edges = motif_shuffle_run(w->shuffle,
				(enum motif_null)null, index, &w->tried[null],
				&w->made[null]);
		have = 1;
		motif_counter_run(w->counter, &edges,
		                  groups_of(j->o, (enum motif_null)null),
		                  j->r->sample[null] +
		                  (size_t)index * j->r->n_motifs);
	}
}

static int make_workers(struct job *j, int n, struct err *e)
{
	int i;

	j->workers = mem_array((size_t)n, sizeof(*j->workers), e);
	for (i = 0; j->workers && i < n; i++) {
		j->workers[i].counter = motif_counter_new(j->f, e);
		j->workers[i].shuffle = motif_shuffle_new(j->f, e);
		if (!j->workers[i].counter || !j->workers[i].shuffle)
			return -1;
	}
	return j->workers ? 0 : -1;
}

static void free_workers(struct job *j, int n)
{
	int i;

	for (i = 0; j->workers && i < n; i++) {
		motif_counter_free(j->workers[i].counter);
		motif_shuffle_free(j->workers[i].shuffle);
	}
	mem_free(j->workers);
}

/* Shares of swaps made; the models of a family have its share. */
static void add_up(struct job *j, int n_threads)
{
	int i, t, null;

	for (i = 0; i < j->n_families; i++) {
		unsigned nulls = families[j->family[i]];
		uint64_t tried = 0, made = 0;

		for (null = 0; null < MOTIF_NULLS; null++)
			for (t = 0; nulls & 1u << null && t < n_threads; t++) {
				tried += j->workers[t].tried[null];
				made += j->workers[t].made[null];
			}
		for (null = 0; tried && null < MOTIF_NULLS; null++)
			if (nulls & j->o->nulls & 1u << null)
				j->r->accepted[null] = (double)made /
				                       (double)tried;
	}
}

static int make_samples(const struct motif_opt *o, struct motif_result *r,
                        struct err *e)
{
	int null;

	for (null = 0; null < MOTIF_NULLS; null++) {
		size_t n;

		if (!(o->nulls & 1u << null))
			continue;
		if (mem_mul(o->n, r->n_motifs, &n, e) < 0)
			return -1;
		r->sample[null] = mem_array(n, sizeof(uint64_t), e);
		r->stat[null] = mem_array(MOTIF_N, sizeof(struct motif_stat),
		                          e);
		if (!r->sample[null] || !r->stat[null])
			return -1;
	}
	return 0;
}

static int run(struct job *j, struct par *p, struct err *e)
{
	struct motif_edges real = {
		j->f->from, j->f->to, j->f->minus, j->f->upward
	};
	int n = par_threads(p), i, rc = -1;

	for (i = 0; i < FAMILIES; i++)
		if (families[i] & j->o->nulls)
			j->family[j->n_families++] = i;
	if (make_workers(j, n, e) == 0 && make_samples(j->o, j->r, e) == 0) {
		motif_counter_run(j->workers[0].counter, &real, j->o->groups,
		                  j->r->count);
		par_for(p, (size_t)j->n_families * j->o->n, one, j);
		add_up(j, n);
		rc = 0;
	}
	free_workers(j, n);
	return rc;
}

int motif_run(const struct graph *g, const struct motif_opt *o, struct par *p,
              struct motif_result *r, struct err *e)
{
	struct motif_frame f;
	struct job j = { .f = &f, .o = o, .r = r };
	int rc;

	memset(r, 0, sizeof(*r));
	r->n_motifs = o->groups & 1u << MOTIF_QUADS ? MOTIF_N : MOTIF_QUAD;
	if (motif_frame_init(&f, g, o, e) < 0)
		return -1;
	rc = run(&j, p, e);
	motif_frame_free(&f);
	return rc < 0 ? -1 : motif_stat_fill(r, o, p, e);
}

int motif_count(const struct graph *g, const struct motif_opt *o,
                uint64_t *count, struct err *e)
{
	struct motif_opt bare = *o;
	struct motif_result r;
	int rc;

	bare.nulls = 0;
	rc = motif_run(g, &bare, NULL, &r, e);
	memcpy(count, r.count, sizeof(r.count));
	motif_free(&r);
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
