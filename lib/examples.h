/*
 * examples: the records of examples/1, what each latent of a set of transcoders
 * does on a corpus: counts, histograms, contexts, logits. r1-stream(5) is the
 * format.
 *
 * A record holds what two shards need to be merged into the bytes that one run
 * over both would have written: counts in whole numbers, sums in fixed point,
 * the spare candidates for the top. What follows from those (means, quantiles,
 * entropies) is written for other readers and worked out anew by this one.
 *
 * Order of a stream: contexts; then for each layer its latents, ascending, and
 * after them what holds of the layer.
 */
#ifndef R1_EXAMPLES_H
#define R1_EXAMPLES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "rec.h"
#include "stream.h"

enum {
	/* Bins of activations, 8 to an octave, from 2^-12 to 2^12: bin i
	 * begins at 2^(i/8 - 12) (1 + (i%8)/8), integer division. The first
	 * and last take what lies outside. */
	EXAMPLES_BINS = 192,
	/* Positions in a sequence by octave: 0, 1, 2-3, 4-7 ... */
	EXAMPLES_POS = 25,
	/* Documents are thrown into so many buckets to tell how evenly a
	 * latent's firings spread over them. */
	EXAMPLES_DOCS = 64,
	EXAMPLES_MASKS = REC_TEXT + 1,
	EXAMPLES_WINDOW_MAX = 4096,	/* tokens of a context */
	EXAMPLES_LIST_MAX = 4096,	/* contexts in a list */
	EXAMPLES_LOGITS_MAX = 1024,
	EXAMPLES_QUANTILES = 7,
	/* Latents by log10 of their frequency, half decades up to 1; the first
	 * takes what lies below. */
	EXAMPLES_FREQ_BINS = 12
};

/* 0.01 0.1 0.25 0.5 0.75 0.9 0.99 */
extern const double examples_quantile_at[EXAMPLES_QUANTILES];

/* A sum of activations in units of 2^-32, each rounded to the nearest. */
struct examples_sum {
	uint64_t hi, lo;
};

/* Counts of positions that a corpus, or the firings of one latent, has. None
 * goes beyond UINT32_MAX. */
struct examples_count {
	uint32_t by_pos[EXAMPLES_POS];
	uint32_t by_mask[EXAMPLES_MASKS];	/* without a mask: REC_TEXT */
	uint32_t by_doc[EXAMPLES_DOCS];
};

struct examples_head {
	char model[65];		/* fingerprint */
	char model_name[128];
	char transcoders[65];	/* sha256 over the layers' files */
	uint32_t n_layers;
	uint32_t layers[REC_MAX_LAYERS];	/* ascending */
	uint32_t n_latents, k;	/* of each layer; the largest k */
	uint64_t seed;
	uint32_t skip;		/* positions left out in front of a sequence */
	uint32_t before, after;	/* tokens of a context around its peak */
	uint32_t n_top, n_spare, n_sample, n_random, per_doc;
	uint32_t n_strata;	/* groups that the sample falls into */
	uint32_t n_logits;	/* at each end, at most */
	uint32_t n_near;	/* nearest latents, at most */
	/* which parts of a corpus cut in n_shards these are, ascending; all:
	 * n_shards 1, n_parts 1, parts[0] 0 */
	uint32_t n_shards, n_parts;
	uint32_t *parts;	/* mem_free; see examples_head_free */
	/* totals */
	uint64_t n_seqs, n_docs;	/* documents that begin in them */
	uint64_t n_positions;		/* counted ones */
	struct examples_count count;
	struct rec_tokens_head tokens;
};

void examples_head_free(struct examples_head *h);

/* A context: tokens around a peak, of one document. */
struct examples_one {
	uint64_t origin;	/* hash of the sequence's source, 0: none */
	uint64_t seq, doc;
	uint32_t pos;		/* in the sequence, of ids[at] */
	uint32_t at, n;
	const uint32_t *ids;	/* n */
	const float *acts;	/* n, of the latent; NULL when it is silent */
	float value;		/* acts[at] */
	uint8_t mask;		/* of ids[at] */
	/* worked out when read */
	float rank;		/* share of the latent's firings below value */
	uint32_t stratum;	/* of a sample: 0 the weakest */
};

enum examples_list {
	EXAMPLES_TOP,		/* the strongest, descending */
	EXAMPLES_SPARE,		/* candidates that the top has no place for */
	EXAMPLES_SAMPLE,	/* drawn from all firings, descending */
	EXAMPLES_RANDOM,	/* the latent is silent throughout */
	EXAMPLES_LISTS
};

/* What is counted of one latent. */
struct examples_stats {
	uint64_t n_fired;
	struct examples_sum sum;
	float max;
	struct examples_count count;
	uint32_t hist[EXAMPLES_BINS];
};

/* What follows from it and the corpus' totals. 0 for a dead latent. */
struct examples_derived {
	double frequency, mean;
	double quantile[EXAMPLES_QUANTILES];	/* linear within a bin */
	/* bits, of firings over the buckets of documents; and as a share of
	 * what all counted positions have */
	double entropy, entropy_share;
	double share[EXAMPLES_MASKS];	/* of firings inside each part */
};

struct examples_latent {
	uint32_t layer, latent;
	struct examples_stats s;
	struct examples_derived d;
	const struct examples_one *list[EXAMPLES_LISTS];
	size_t n[EXAMPLES_LISTS];
	/* through the decoder: W_U (w_dec * final norm's weight), less its
	 * mean over the vocabulary; descending, and ascending */
	const uint32_t *top_id, *bottom_id;
	const float *top_logit, *bottom_logit;
	size_t n_logits;
	/* of the same layer, by cosine of the decoder's rows, descending */
	const uint32_t *near_id;
	const float *near_cos;
	size_t n_near;
};

struct examples_layer {
	uint32_t layer;
	const uint32_t *l0;	/* k + 1: positions with so many active */
	uint32_t fired_by_pos[EXAMPLES_POS];
	struct examples_sum sum_by_pos[EXAMPLES_POS];
	uint32_t n_dead;
	uint32_t freq_hist[EXAMPLES_FREQ_BINS];	/* alive latents */
};

/* A context drawn from all positions, whatever fires there. */
struct examples_context {
	struct examples_one one;	/* acts NULL, value 0 */
	/* for each layer a bit for each latent, low first: whether it fires
	 * somewhere in the window. (n_latents + 7) / 8 bytes each. */
	const uint8_t *fired[REC_MAX_LAYERS];
};

enum examples_what { EXAMPLES_CONTEXT, EXAMPLES_LATENT, EXAMPLES_LAYER };

struct examples_rec {
	enum examples_what what;
	struct examples_context context;
	struct examples_latent latent;
	struct examples_layer layer;
};

/* ---- reading ---- */

/* 1 a record, 0 the end, -1 an error. What a record points to lives until the
 * next call; the contexts of a latent's random list until examples_close. A
 * stream that lacks a latent of a layer, or whose counts contradict each
 * other, is an error. h is for examples_head_free. */
struct examples_in;
struct examples_in *examples_open(const char *path, struct examples_head *h,
                                  struct err *e);
/* The same on a stream that is open; s is taken over, also on error. */
struct examples_in *examples_on(struct stream_in *s, struct examples_head *h,
                                struct err *e);
int examples_read(struct examples_in *r, struct examples_rec *x,
                  struct err *e);
const struct stream_in *examples_stream(const struct examples_in *r);
void examples_close(struct examples_in *r);

/* ---- writing ---- */

/* The header's JSON members for stream_out_opt.header. New reference. */
json_t *examples_header(const struct examples_head *h, struct err *e);
/* Writers want the order above; random contexts are given by their numbers
 * among the contexts written. Derived members need not be filled in. */
int examples_write_context(struct stream_out *s, const struct examples_head *h,
                           uint32_t number, const struct examples_context *c,
                           struct err *e);
int examples_write_latent(struct stream_out *s, const struct examples_head *h,
                          const struct examples_latent *l,
                          const uint32_t *random, size_t n_random,
                          struct err *e);
int examples_write_layer(struct stream_out *s, const struct examples_head *h,
                         const struct examples_layer *l, struct err *e);

/* ---- arithmetic ---- */

/* The bin of an activation, and where bin i begins (i <= EXAMPLES_BINS). */
uint32_t examples_bin(float value);
double examples_edge(uint32_t i);
uint32_t examples_pos_bin(uint32_t pos);
void examples_sum_add(struct examples_sum *s, float value);
void examples_sum_join(struct examples_sum *s, const struct examples_sum *o);
double examples_sum_value(const struct examples_sum *s);
/* Share of the firings counted in s whose value is below v. */
double examples_rank(const struct examples_stats *s, float v);
/* The value below which a share q of them lies, linear within a bin. */
double examples_quantile(const struct examples_stats *s, double q);
void examples_derive(const struct examples_head *h,
                     const struct examples_stats *s,
                     struct examples_derived *d);

#endif
