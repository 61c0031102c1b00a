/*
 * rec: the typed records of each kind of stream, over mpk and stream.
 *
 * Readers: 1 a record, 0 the end, -1 an error. Arrays in a record read are
 * borrowed from the reader and live until its next call.
 */
#ifndef R1_REC_H
#define R1_REC_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "stream.h"
#include "tensor.h"

/* ---- tokens/1: one sequence a record ---------------------------------- */

enum {	/* values of mask: what part of a chat a token belongs to */
	REC_PROMPT = 0, REC_THINK = 1, REC_ANSWER = 2, REC_TEXT = 3
};

struct rec_doc {		/* a document's piece inside a sequence */
	uint64_t id;		/* number of the document in its source */
	uint32_t at;		/* index of its first token in ids */
	uint32_t offset;	/* tokens of it that went into earlier ones */
};

struct rec_tokens {
	uint64_t seq;		/* running number in the stream, from 0 */
	const uint32_t *ids;
	size_t n;		/* 1 .. n_ctx */
	const struct rec_doc *docs;	/* at least one; docs[0].at == 0 */
	size_t n_docs;
	const char *source;	/* "" when unknown */
	const uint8_t *mask;	/* n values, or NULL */
};

struct rec_tokens_head {
	char tokenizer[65];	/* sha256 of the tokenizer's file, hex, or "" */
	uint32_t n_vocab;	/* ids are below it */
	uint32_t n_ctx;		/* longest sequence */
	int packed;		/* documents share sequences */
	uint32_t bos, eos;	/* UINT32_MAX: none */
};

struct rec_tokens_in;
struct rec_tokens_in *rec_tokens_open(const char *path,
                                      struct rec_tokens_head *h,
                                      struct err *e);
/* The same on a stream that is open (for a tool that takes several kinds: it
 * looks at stream_kind first); s is taken over, also on error. */
struct rec_tokens_in *rec_tokens_on(struct stream_in *s,
                                    struct rec_tokens_head *h,
                                    struct err *e);
int rec_tokens_read(struct rec_tokens_in *r, struct rec_tokens *t,
                    struct err *e);
/* The stream under it, to extend its provenance and for messages. */
const struct stream_in *rec_tokens_stream(const struct rec_tokens_in *r);
void rec_tokens_close(struct rec_tokens_in *r);

/* The header's JSON members for stream_out_opt.header. New reference. */
json_t *rec_tokens_header(const struct rec_tokens_head *h, struct err *e);
int rec_tokens_write(struct stream_out *s, const struct rec_tokens *t,
                     struct err *e);

/* ---- acts/1: a block of positions of one sequence ---------------------- */

enum { REC_MAX_LAYERS = 512 };

struct rec_acts_head {
	char model[65];		/* fingerprint of the model, hex */
	char site[16];		/* "mlp": x = mlp.hook_in, y = mlp.hook_out */
	enum dtype dtype;	/* DT_F32, DT_F16 or DT_BF16 */
	uint32_t d_in, d_out;
	uint32_t n_layers;
	uint32_t layers[REC_MAX_LAYERS];	/* ascending */
	struct rec_tokens_head tokens;	/* of the stream it came from */
};

struct rec_acts {
	uint64_t seq;
	size_t n;			/* positions */
	const uint32_t *positions;	/* n, ascending, within the sequence */
	const uint32_t *ids;		/* n */
	/* x[i] and y[i], i over head.layers: n x d_in and n x d_out values in
	 * head.dtype, row-major, little-endian, possibly unaligned. */
	const void *x[REC_MAX_LAYERS];
	const void *y[REC_MAX_LAYERS];
};

struct rec_acts_in;
struct rec_acts_in *rec_acts_open(const char *path, struct rec_acts_head *h,
                                  struct err *e);
struct rec_acts_in *rec_acts_on(struct stream_in *s, struct rec_acts_head *h,
                                struct err *e);
/* NaN or infinite values are an error naming layer and position. */
int rec_acts_read(struct rec_acts_in *r, struct rec_acts *a, struct err *e);
const struct stream_in *rec_acts_stream(const struct rec_acts_in *r);
void rec_acts_close(struct rec_acts_in *r);
/* stream_out_opt.level for acts/1. Of activations in bf16 zstd takes a fifth
 * away, at any level; higher ones only take longer. */
enum { REC_ACTS_LEVEL = 1 };
json_t *rec_acts_header(const struct rec_acts_head *h, struct err *e);
int rec_acts_write(struct stream_out *s, const struct rec_acts_head *h,
                   const struct rec_acts *a, struct err *e);

/* ---- latents/1: which latents are active, a block of positions ---------- */

struct rec_latents_head {
	char model[65];			/* fingerprint of the model, hex */
	char model_name[128];
	char transcoders[65];		/* sha256 over the layers' files, hex */
	uint32_t n_layers;
	uint32_t layers[REC_MAX_LAYERS];	/* ascending */
	uint32_t n_latents;		/* of each layer */
	uint32_t k;			/* active at one position at most */
	uint32_t skip;			/* first positions left without any */
	struct rec_tokens_head tokens;	/* of the stream it came from */
};

struct rec_latents {
	/* A slice of a sequence as tokens/1 would give it: docs[0].at is 0,
	 * its offset counts what of the document went before. */
	struct rec_tokens t;
	uint32_t pos;			/* of t.ids[0] in the sequence */
	int last;			/* the sequence ends here */
	/* For each layer: position i has latent[start[i]] up to, not with,
	 * latent[start[i + 1]], ascending, of value above 0. start[0] is 0. */
	const uint32_t *start[REC_MAX_LAYERS];
	const uint32_t *latent[REC_MAX_LAYERS];
	const float *value[REC_MAX_LAYERS];
};

struct rec_latents_in;
struct rec_latents_in *rec_latents_open(const char *path,
                                        struct rec_latents_head *h,
                                        struct err *e);
struct rec_latents_in *rec_latents_on(struct stream_in *s,
                                      struct rec_latents_head *h,
                                      struct err *e);
/* Blocks of a sequence follow each other without a gap; one that does not
 * begin where the last ended is an error. */
int rec_latents_read(struct rec_latents_in *r, struct rec_latents *l,
                     struct err *e);
const struct stream_in *rec_latents_stream(const struct rec_latents_in *r);
void rec_latents_close(struct rec_latents_in *r);
json_t *rec_latents_header(const struct rec_latents_head *h, struct err *e);
int rec_latents_write(struct stream_out *s, const struct rec_latents_head *h,
                      const struct rec_latents *l, struct err *e);

/* The one site every tool works on; readers refuse any other. */
#define REC_SITE_MLP "mlp"

#endif
