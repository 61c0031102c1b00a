/*
 * label: names for latents, from a language model, and how well they hold.
 *
 * A latent's contexts become a request (label_ask: build), somebody answers it
 * (send: an API at once or as a batch, or a model that runs here), the answer
 * becomes a label or judgements (label_form: parse). Every raw answer is
 * committed to the database (label_db) before the next is asked for, and all
 * else follows from the raw answers: a run that is repeated asks only for what
 * is not there.
 */
#ifndef R1_LABEL_H
#define R1_LABEL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "tok.h"

/* ---- latents and their contexts ---- */

struct label_ctx {
	uint64_t seq, doc;
	uint32_t pos;		/* in the sequence, of the first token */
	uint32_t at, n;		/* the peak; tokens */
	uint32_t *ids;		/* n */
	float *acts;		/* n, or NULL: the latent is silent */
	float value;		/* acts[at] */
	uint32_t stratum;	/* of a sample, 0 the weakest */
};

struct label_ctxs {
	struct label_ctx *c;
	size_t n, cap;
};

struct label_feature {
	uint32_t layer, id;
	double frequency, max;
	double share[4];		/* of firings, by REC_PROMPT ... */
	struct label_ctxs show;		/* what the label is made from */
	struct label_ctxs on, off;	/* what it is tested on */
	uint32_t *promoted, *suppressed;	/* tokens, by their logits */
	size_t n_promoted, n_suppressed;
	uint64_t order;			/* a hash, for drawing a sample */
};

void label_feature_free(struct label_feature *f);

/* ---- forms: what an answer must look like ---- */

enum label_form {
	LABEL_FORM_LABEL,	/* a label, an explanation, tags, marks */
	LABEL_FORM_BITS,	/* one 0 or 1 for each item */
	LABEL_FORM_NEAR		/* how near each item is (label_embed.h) */
};

enum {
	LABEL_ITEMS_MAX = 64,	/* of one request */
	LABEL_TEXT_MAX = 160,	/* bytes of a label */
	LABEL_WHY_MAX = 2000	/* bytes of an explanation */
};

/* Kinds of reasoning a label may be tagged with; label_tags[0] is "none". */
enum { LABEL_N_TAGS = 12 };
extern const char *const label_tags[LABEL_N_TAGS];

struct label_answer {			/* {0} at first */
	char *label, *why;
	int quality, interest, confidence;	/* 0..10 */
	uint32_t tags;				/* bit i: label_tags[i] */
	uint8_t bits[LABEL_ITEMS_MAX];
	size_t n_bits;
};

void label_answer_free(struct label_answer *a);

/* The form as a JSON schema; lengths: with those of its arrays. New reference, or
 * NULL. */
json_t *label_form_schema(enum label_form f, size_t n_items, int lengths,
                          struct err *e);
/* Reads n bytes of an answer's text, strictly: one JSON object, at most inside
 * a code fence or behind </think>. -1 ERR_FORMAT says what is wrong; nothing is
 * guessed. */
int label_form_parse(enum label_form f, size_t n_items, const char *text,
                     size_t n, struct label_answer *a, struct err *e);

/* ---- prompts ---- */

/*
 * A prompt is a text file: lines that begin with # in front are comments; a
 * line "@system" and a line "@user" begin its parts. {examples}, {marked},
 * {tokens}, {promoted}, {suppressed}, {where}, {tags}, {label}, {items} and {n}
 * are filled in. The rest is for a local model (label_local.h): parts
 * "@explanation" and "@label" are how these begin in an answer. With "@given" and
 * "@plain" it is measured by how much likelier the one makes a text behind it than
 * the other does, in place of asking for judgements; and a label is chosen by it,
 * of the model's own and those in the lines of "@candidate". A prompt for
 * embeddings has a part "@query" alone: the text that stands for the label.
 */
struct label_prompt {
	char *version;		/* its name, or NAME@DIGEST of a user's file */
	char *system, *user;	/* both, or */
	char *query;
	char *begin[2];		/* explanation, label; or NULL */
	char *given, *plain;	/* both or neither */
	char *candidate;	/* or NULL */
};

/* name: one of those built in (data/prompts/label), or a path (it holds a
 * slash or ends in .txt). */
int label_prompt_open(struct label_prompt *p, const char *name,
                      struct err *e);
void label_prompt_free(struct label_prompt *p);
/* Built-in files: the text of data/prompts/label/NAME.txt, or of
 * data/prices.tsv ("prices"); NULL when there is none. */
const char *label_builtin(const char *name, size_t *n);

/* ---- requests ---- */

enum label_kind {
	LABEL_LABEL, LABEL_DETECT, LABEL_FUZZ, LABEL_EMBED, LABEL_KINDS
};
extern const char *const label_kinds[LABEL_KINDS];

enum { LABEL_ID_MAX = 64 };	/* bytes of a request's id with its NUL */

struct label_text {
	char *s;		/* n bytes as they come in the corpus */
	size_t n;
	uint8_t *mark;		/* of each byte; NULL: none is meant */
};

struct label_ask {
	char id[LABEL_ID_MAX];	/* L12_F345_label0_HASH: of all that decides
				 * the answer */
	size_t feature;		/* index in the caller's set */
	uint32_t layer, latent;
	enum label_kind kind;
	uint32_t part;		/* of the items of a kind */
	enum label_form form;
	size_t n_items;
	int attempt;		/* from 1 */
	char *system, *user;	/* system "": none */
	const char *begin[2];	/* of the prompt, "" for nothing */
	/* for who measures, or NULL; a label that is not known yet is \1 */
	char *given, *plain, *candidate;
	struct label_text *item;	/* n_items: judged, shown, embedded */
};

void label_ask_free(struct label_ask *a);

/* What decides the requests besides the features. */
struct label_plan {
	const char *model;
	struct label_prompt prompt[LABEL_KINDS];
	size_t n_show;		/* contexts shown for a label */
	size_t n_test;		/* contexts of each side for a score; 0: none */
	size_t per_ask;		/* items of one request; embeddings: all */
	int detect, fuzz;	/* how to score */
	const char *embedder;	/* and by embeddings of this model, or NULL */
	uint64_t seed;
	const struct tok *tok;
	const char *extra;	/* of the request's body: sampling and the like,
				 * for the hash; "" */
};

/* Opens a plan's prompts, given[kind] or, where that is NULL, the usual one of who
 * labels; n_test and per_ask are set. Where a small model is measured, not asked,
 * per_ask is made so that all items of a score come in one request, or as few as can
 * be. ERR_USAGE: a prompt of another kind. */
enum label_by { LABEL_BY_LARGE, LABEL_BY_SMALL, LABEL_BY_RULE };
int label_plan_prompts(struct label_plan *p,
                       const char *const given[LABEL_KINDS], enum label_by by,
                       struct err *e);

/* The request for a label. */
int label_ask_label(const struct label_plan *p, const struct label_feature *f,
                    struct label_ask *a, struct err *e);

/* An item of a score: a context, and whether the label should fit. */
struct label_item {
	const struct label_ctx *c;
	int truth;
	uint64_t marks;		/* seed of wrong marks, 0: the right ones */
};

/* The tokens marked for it, right or wrong: mark[x->c->n]. */
void label_item_marks(const struct label_item *x, uint8_t *mark);

/* The items of a score, in the order they are asked about: n of them into
 * items[2 * n_test]. */
size_t label_items(const struct label_plan *p, const struct label_feature *f,
                   enum label_kind kind, struct label_item *items);
/* The request about items[from..from + n), given a label. */
int label_ask_items(const struct label_plan *p, const struct label_feature *f,
                    enum label_kind kind, uint32_t part, const char *label,
                    const struct label_item *items, size_t n,
                    struct label_ask *a, struct err *e);

/* ---- scores ---- */

struct label_score {
	size_t on, off;		/* items with truth 1 and 0 that were judged */
	size_t hit_on, hit_off;	/* judged rightly */
	double balanced;	/* (hit_on / on + hit_off / off) / 2 */
	double low, high;	/* its 95 % interval */
};

/* Fills balanced, low, high from the counts; -1 when a side is empty. The
 * interval joins Wilson's of the two shares (Zou and Donner 2008). */
int label_score_close(struct label_score *s);

/* How often an item with the latent is nearer to the label than one without. */
struct label_auc {
	size_t on, off;
	double auc;		/* area under the ROC curve; a tie is half */
	double low, high;	/* its 95 % interval */
};

/* Of n items with near[i] and truth[i] 0 or 1; -1 when a side is empty. The
 * interval is Newcombe's, a score interval as Wilson's is, with Hanley and
 * McNeil's variance (Statist. Med. 25 (2006) 559, method 5). */
int label_auc_of(const double *near, const uint8_t *truth, size_t n,
                 struct label_auc *s);

#endif
