/*
 * feat: what latents do on a corpus, gathered in one pass.
 *
 * State is a cell for each latent: counts (examples.h), the strongest contexts
 * and a sample of all. It grows with latents x contexts only, never with the
 * corpus, and merges exactly: a corpus cut in shards gives the bytes of one
 * run, whatever the order of sequences.
 *
 * Top. Within one sequence a document offers its per_doc strongest peaks, more
 *   than `before` tokens apart. Of peaks whose 16 tokens up to and with the
 *   peak are equal, the strongest stays. Of these the n_top + n_spare
 *   strongest are kept; the list of a latent takes from them, in order, at most
 *   per_doc of one document.
 * Sample. Each firing has a priority, a hash of seed, layer, latent, sequence
 *   and position; the n_sample smallest stay: a uniform draw.
 * Contexts. The same with positions, for all latents together, and with each
 *   the set of latents that fire in its window; a latent's random list takes
 *   from those in which it is silent.
 *
 * Order between equals is by source, sequence and position.
 */
#ifndef R1_FEAT_H
#define R1_FEAT_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "eval.h"
#include "examples.h"
#include "model.h"
#include "par.h"
#include "rec.h"
#include "stream.h"

/* Contexts kept for each that a latent's random list may hold. */
enum { FEAT_CONTEXTS = 32 };

/* ---- gathering ---- */

struct feat;

/* h: all but totals and parts is read, and kept; p is borrowed (or NULL). */
struct feat *feat_new(const struct examples_head *h, struct par *p,
                      struct err *e);
void feat_free(struct feat *f);
/* Adds a whole sequence: s->pos 0, s->last set. ERR_RANGE when more than
 * UINT32_MAX positions have been counted. */
int feat_add(struct feat *f, const struct rec_latents *s, struct err *e);
/* The head with the totals so far; borrowed. */
const struct examples_head *feat_head(const struct feat *f);

/* ---- what follows from the weights alone ---- */

/* For one layer: [n_latents][n_logits] and [n_latents][n_near]. */
struct feat_weights {
	size_t n_logits, n_near;
	uint32_t *top_id, *bottom_id, *near_id;
	float *top_logit, *bottom_logit, *near_cos;
};

/* Logits of a decoder row w: W_U (w * g), g the final norm's weight, its scale
 * left out, less their mean over the vocabulary. */
int feat_weights_init(struct feat_weights *w, struct model *m,
                      const struct tc *t, size_t n_logits, size_t n_near,
                      struct err *e);
void feat_weights_free(struct feat_weights *w);
/* Sha256, hex, over the layers' files of a checkpoint. */
int feat_checkpoint(const char *dir, const struct eval_set *s,
                    char hex[65], struct err *e);

/* ---- giving out ---- */

/* Who takes records of latents and layers, in their order. Any of the
 * functions may be NULL. */
struct feat_sink {
	int (*begin)(void *ctx, const struct examples_head *h,
	             struct err *e);
	int (*latent)(void *ctx, const struct examples_latent *l,
	              struct err *e);
	int (*layer)(void *ctx, const struct examples_layer *l,
	             struct err *e);
	int (*end)(void *ctx, struct err *e);
	void *ctx;
};

struct feat_out {
	struct stream_out *s;	/* an examples/1 stream with h, or NULL */
	const struct feat_sink *sinks;
	size_t n_sinks;
};

/* Gives out all that f holds. m and set (or NULL: neither logits nor
 * neighbours) are those that f's latents belong to. */
int feat_write(struct feat *f, struct model *m, const struct eval_set *set,
               const struct feat_out *o, struct err *e);

/* Passes a stream of examples on to the sinks. */
int feat_pass(struct examples_in *in, const struct examples_head *h,
              const struct feat_out *o, struct err *e);

/* ---- merging ---- */

/* The head that n streams have together, for examples_head_free. ERR_FORMAT
 * when they do not belong together or overlap. */
int feat_merge_head(const struct examples_head *h, size_t n,
                    struct examples_head *out, struct err *e);
/* Reads all and gives out their merger; memory is that of the contexts and of
 * one latent of each. */
int feat_merge(struct examples_in **in, size_t n,
               const struct examples_head *h, const struct feat_out *o,
               struct err *e);

/* ---- running the model ---- */

/* What takes a sequence that has been encoded. */
typedef int feat_seq_fn(void *ctx, const struct rec_latents *s,
                        struct err *e);

/*
 * Sequences go through the model in batches of up to n_rows tokens, cut from
 * what is added without regard to shards; of these every n_shards-th from
 * number `shard` on is run. An activation's last bits depend on its batch, so
 * shards see just what one run over all sees.
 */
struct feat_run;
struct feat_run *feat_run_new(struct model *m, const struct eval_set *set,
                              uint32_t skip, size_t n_rows, uint64_t shard,
                              uint64_t n_shards, feat_seq_fn *fn, void *ctx,
                              struct err *e);
void feat_run_free(struct feat_run *r);
/* Takes a copy of a sequence; runs when a batch is full. */
int feat_run_add(struct feat_run *r, const struct rec_tokens *t,
                 struct err *e);
/* Runs what is left. */
int feat_run_end(struct feat_run *r, struct err *e);

/* ---- latents/1 ---- */

/* Puts the blocks of a stream together into sequences. */
struct feat_join;
struct feat_join *feat_join_new(const struct rec_latents_head *h,
                                feat_seq_fn *fn, void *ctx, struct err *e);
void feat_join_free(struct feat_join *j);
int feat_join_add(struct feat_join *j, const struct rec_latents *b,
                  struct err *e);
/* Writes a whole sequence as blocks of a few MiB. */
int feat_latents_write(struct stream_out *s, const struct rec_latents_head *h,
                       const struct rec_latents *x, struct err *e);

#endif
