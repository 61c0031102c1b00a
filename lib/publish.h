/*
 * publish: what latents do, in the files that other programs read, and on
 * their servers.
 *
 * circuit-tracer: OUT/layer_N.bin, a record for each latent (its bytes' number
 *   as u32, little-endian, then JSON in zlib's format), and OUT/index.json.gz,
 *   {layer: {filename, offsets[n_latents + 1]}}, written last. Its viewer reads a
 *   record by a range request. OUT is the `features` folder of a set.
 * Neuronpedia: OUT/v1/MODEL/SOURCE/{release,model,sourceset,source}.jsonl and
 *   {features,activations,explanations}/batch-N.jsonl.gz, 1024 latents each, as
 *   its importer takes them; or OUT/SOURCE/batch-N.json, the bodies of its
 *   feature/upload-batch. Dead latents are left out.
 * delphi: OUT/latents/HOOK/{a}_{b}.safetensors and config.json, its cache of
 *   activations, and OUT/explanations/HOOK_latentN.txt.
 *
 * Read in circuit-tracer at 4bb8c0e, Neuronpedia of 2026-08, delphi 0.1; loaded
 * by these programs in tests/oracle. Memory does not grow with the number of
 * latents or the corpus.
 */
#ifndef R1_PUBLISH_H
#define R1_PUBLISH_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "examples.h"
#include "feat.h"
#include "par.h"
#include "rec.h"
#include "tok.h"

/* ---- labels ---- */

struct publish_labels;
/* path: what rec_labels_read takes. All go to a temporary database. */
struct publish_labels *publish_labels_open(const char *path, struct err *e);
/* 1 with *label (until the next call), 0 when there is none, -1. Of several
 * a model's before a rule's, the best scored, the best marked, the first. */
int publish_label(struct publish_labels *l, uint32_t layer, uint32_t latent,
                  const char **label, struct err *e);
void publish_labels_close(struct publish_labels *l);	/* NULL is legal */

/* ---- from examples ---- */

enum publish_to { PUBLISH_CIRCUIT_TRACER, PUBLISH_TREE, PUBLISH_BATCHES };

enum {
	PUBLISH_BATCH_MAX = 128,	/* features of a batch */
	PUBLISH_BATCH_BYTES = 4 << 20	/* of its body, ours: servers refuse
					 * larger ones */
};

struct publish_opt {
	enum publish_to to;
	const char *out;	/* folder, made if missing */
	const struct tok *tok;	/* the examples' tokenizer */
	struct publish_labels *labels;	/* or NULL */
	struct par *par;		/* or NULL */
	const char *name;	/* circuit-tracer: what transcoder_id begins
				 * with; else the model's id */
	/* Neuronpedia alone */
	const char *set;	/* source set */
	const char *creator;	/* id of the user it belongs to */
	const char *author, *release, *url, *dataset;	/* or NULL */
	const char *hub, *hub_path;	/* weights: org/name, folder; or NULL */
	const char *method, *explainer;	/* registered names, or NULL */
	uint32_t batch;		/* features of a batch, at most */
};

/* A taker of examples, for feat_pass or feat_write; o and what it points to are
 * borrowed. ERR_USAGE when a name is not what Neuronpedia takes. */
struct publish;
struct publish *publish_new(const struct publish_opt *o, struct err *e);
const struct feat_sink *publish_sink(const struct publish *p);
/* Drops what is not whole. NULL is legal. */
void publish_free(struct publish *p);

/* ---- from latents ---- */

struct publish_delphi_opt {
	const char *out;
	const char *name;	/* of the model on the Hub, for its tokenizer */
	uint32_t ctx;		/* tokens of a row */
	uint32_t splits;	/* files of a layer */
	struct publish_labels *labels;	/* then only latents that have one,
					 * as delphi wants it; or NULL */
};

/* Rows are the sequences laid end to end and cut; what does not fill the last
 * one is left out. Tokens and activations wait in temporary files in OUT. */
struct publish_delphi;
struct publish_delphi *publish_delphi_new(const struct publish_delphi_opt *o,
                                          const struct rec_latents_head *h,
                                          struct err *e);
/* Blocks in the order of their stream. */
int publish_delphi_add(struct publish_delphi *d, const struct rec_latents *b,
                       struct err *e);
/* Writes the files. ERR_FORMAT when no row was filled. */
int publish_delphi_end(struct publish_delphi *d, struct err *e);
void publish_delphi_free(struct publish_delphi *d);	/* NULL is legal */

/* ---- Neuronpedia's rules ---- */

/* Whether a body is what the server takes: upload-batch's, and a graph's.
 * ERR_FORMAT naming the JSON path, what was wanted and found. */
int publish_check_batch(const json_t *body, struct err *e);
int publish_check_graph(const json_t *graph, struct err *e);
/* A model's id, and a source set's name. what is for the message. */
int publish_check_model(const char *id, const char *what, struct err *e);
int publish_check_set(const char *name, const char *what, struct err *e);

#endif
