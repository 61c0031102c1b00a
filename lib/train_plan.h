/*
 * train_plan: what a training will take, before it begins: memory, arithmetic,
 * time and money, on a device that need not be here.
 *
 * Memory is counted as train.h, model.h and, for packed operands, dev.h count it.
 * Time is a roofline: each operation of a step takes the longer of its arithmetic
 * at the rate that products reach there and its bytes at the rate that memory
 * reaches, and operations follow one another. Of a step of B rows of one
 * transcoder, L latents, k active ones, widths d (in) and e (out), numbers of h
 * bytes:
 *
 *   encoder      2 B d L flop; d L h bytes (h 2: 8 d L, f32 weights turned into
 *                bf16, and 4 B L for pre-activations, written and read)
 *   skip         4 B d e flop, forward and gradient; 4 d e bytes
 *   active       2 B k (3 e + d) flop; h B k (3 e + d) bytes picked row by row:
 *                decoding, slopes, both gradients
 *   optimiser    of each weight, read and written: itself and its moments, f32
 *                (Adam 24 bytes, Signum 16, a decoder's normalised steps 8)
 *   rows         4 B (5 d + 15 e) bytes: norms, centring, loss
 *
 * and once, of S rows: start, 2 S d (d + 2 e) flop of products and a Cholesky
 * solution in double, taken for twice its d^3 / 3 + 2 d^2 e; of E rows: the end,
 * their encoding and, ten times, 4 E k e flop on rows picked and 4 d e L. Of the model, up to
 * the last layer that is trained, a row takes 2 flop for each weight and 2 T for
 * each attention coordinate and sequence of T tokens, and 2 h bytes for each
 * number of its activations; weights are read once a block. AuxK and
 * evaluations are not counted. Source: Williams et al., doi:10.1145/1498765
 * .1498785 (roofline).
 */
#ifndef R1_TRAIN_PLAN_H
#define R1_TRAIN_PLAN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "dev.h"
#include "err.h"
#include "model.h"
#include "text.h"
#include "train_set.h"

/* A device as a roofline. */
struct train_card {
	char name[32];
	double memory;		/* bytes that training may take */
	struct dev *dev;	/* whose packed operands count, or NULL */
	double besides;		/* of memory: the program itself, libraries'
				 * scratch */
	double peak, bandwidth;	/* flop/s of dense products, bytes/s */
	double matmul, encode;	/* shares of peak reached: by products, by the
				 * encoder's with its choice */
	double forward, skip;	/* and by the model's and the skip connection's:
				 * above matmul where these are rounded
				 * (DEV_Q8) */
	double stream, gather;	/* shares of bandwidth: long arrays, rows */
	int half;		/* products read bf16; else f32 */
	double usd_h;		/* 0: unknown */
};

/* Finds `name` in a table, n bytes of text as data/cards.tsv has it; `from`
 * names it in messages. ERR_FORMAT names line and column, ERR_USAGE the cards
 * there are. */
int train_card_find(const char *table, size_t n, const char *from,
                    const char *name, struct train_card *c, struct err *e);
/* The table that the program holds. */
const char *train_card_builtin(size_t *n);

/* Measures this machine: d's own products, encoder, optimiser and gathering, at
 * widths of m and r, by the processor's time, a second or two; the model's
 * products, of weights stored as `type`, and the skip connection's at d's
 * precision; memory is mem_available's. c borrows d. */
int train_card_measure(const struct model_cfg *m, enum dtype type,
                       const struct train_cfg *r, struct dev *d,
                       struct train_card *c, struct err *e);

struct train_plan_in {
	const struct model_cfg *model;
	/* Runs of one pass, if memory allows; layers are the first one's, of
	 * each the tokens are n_steps * batch, above 0. */
	const struct train_set_cfg *runs;
	size_t n_runs;
	size_t ctx, forward;	/* tokens of a sequence, and of a block */
	const struct train_card *card;
	/* Of this machine's CPU, for a block of train_plan_rows; NULL: f32 or,
	 * where that takes more than 2 GiB or the card is half, 2 bytes. */
	const struct model_need *need;
};

/* Tokens of a block through the model: `forward`, a sequence at least. */
size_t train_plan_rows(size_t ctx, size_t forward);

enum train_plan_mem {
	PLAN_WEIGHTS, PLAN_MOMENTS, PLAN_START_ROWS, PLAN_BATCH, PLAN_MODEL,
	PLAN_PASS, PLAN_BESIDES, PLAN_MEMS
};
enum train_plan_op {
	PLAN_FORWARD, PLAN_ENCODE, PLAN_SKIP, PLAN_ACTIVE, PLAN_OPTIMISER,
	PLAN_ROWS, PLAN_START, PLAN_OPS
};

struct train_plan_cost {
	double flop, bytes, s;
	double bytes_s;		/* of s, what memory sets and not arithmetic */
};

/* Runs [run, run + n_runs) on layers[layer..layer + n_layers) in one go. */
struct train_plan_pass {
	size_t run, n_runs;
	int layer, n_layers;
	double tokens;		/* through the model */
	double mem[PLAN_MEMS], bytes, s;
};

struct train_plan {
	struct train_plan_in in;	/* borrowed things as they were given */
	struct train_plan_pass *pass;
	size_t n_passes;
	struct train_plan_cost op[PLAN_OPS];	/* of all passes */
	double bytes;		/* the largest pass's */
	double host_bytes;	/* of main memory beside a card's, the most of a pass */
	double flop, s, usd;
};

/*
 * The passes, as few as go: all runs and layers together if the card holds them;
 * else as many runs, in their order, as it holds; a run that is too large alone,
 * layer group by layer group. Each pass runs the model again. ERR_RANGE when one
 * layer of one run is too large.
 */
int train_plan_make(const struct train_plan_in *in, struct train_plan *p,
                    struct err *e);
void train_plan_free(struct train_plan *p);

/* The plan for people, and for programs (a new reference). */
int train_plan_text(const struct train_plan *p, struct text *t, struct err *e);
json_t *train_plan_json(const struct train_plan *p, struct err *e);

#endif
