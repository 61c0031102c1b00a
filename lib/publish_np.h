/* publish_np: Neuronpedia's tree and batches. Only lib/publish_np*.c include it. */
#ifndef R1_PUBLISH_NP_H
#define R1_PUBLISH_NP_H

#include <jansson.h>

#include "gz.h"
#include "publish_impl.h"

enum { PUBLISH_NP_FILES = 3 };	/* features, activations, explanations */

struct publish_np {
	struct publish_opt o;
	struct examples_head h;		/* without its parts */
	char *dir;		/* of the layer at hand, NULL between layers */
	char source[160];	/* LAYER-SET */
	/* the tree: files of the block at hand, begun with their first line */
	struct gz_out *file[PUBLISH_NP_FILES];
	uint32_t block;
	/* batches */
	struct text body;
	uint32_t n_features, n_batches;
	struct text line;
};

/* ---- pieces of both ---- */

/* A string, or null. */
int publish_np_str(struct text *t, const char *s, struct err *e);
/* ,"key":"value" */
int publish_np_pair(struct text *t, const char *key, const char *value,
                    struct err *e);
/* The first 24 digits of a digest: an id that the same context always has. */
int publish_np_id(const struct publish_np *p, struct text *t, const char *of,
                  const char *what, uint32_t latent, struct err *e);
/* Where an interval of the sample begins; where it ends the next one does. */
double publish_np_edge(const struct publish_np *p,
                       const struct examples_latent *l, uint32_t stratum);
/* A label, 1; none, 0. */
int publish_np_label(const struct publish_np *p,
                     const struct examples_latent *l, const char **label,
                     struct err *e);

/* ---- a layer of the tree, and of batches ---- */

int publish_tree_begin(struct publish_np *p, uint32_t layer, struct err *e);
int publish_tree_latent(struct publish_np *p, const struct examples_latent *l,
                        struct err *e);
int publish_tree_end(struct publish_np *p, struct err *e);

int publish_batch_begin(struct publish_np *p, struct err *e);
int publish_batch_latent(struct publish_np *p, const struct examples_latent *l,
                         struct err *e);
int publish_batch_end(struct publish_np *p, struct err *e);

#endif
