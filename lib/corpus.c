#include "corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "sha256.h"

enum {
	BATCH_BYTES = 4 << 20,	/* of documents worked on together */
	BATCH_DOCS = 8192,
	SLAB = 8 << 20		/* longest stretch of one plain text */
};

/* A document of the batch. */
struct item {
	const struct doc *doc;
	json_t *json;		/* its line, parsed */
	const char *text;	/* plain: what is to be encoded */
	size_t n, at;		/* at: where the stretch ends that was done */
	size_t n_done;		/* ids given away */
	int chat, wanted, failed;
	struct chat_text turns;
	size_t first_job, n_jobs;
	struct err e;
};

struct run {
	const struct tok *t;
	const struct corpus_opt *o;
	struct par *par;
	struct tok_work **work;
	struct item *item;
	size_t n_items, cap_items;
	struct tok_job *job;
	size_t n_jobs, cap_jobs;
	uint32_t *ids;		/* the document being put together */
	size_t n_ids, cap_ids;
	uint8_t *mask;
	size_t cap_mask;
	uint32_t bos, eos;	/* around a text; UINT32_MAX: none */
};

/* ---- one document to text ------------------------------------------------ */

/* Hashes what was said, each piece with its length. */
static int hash(const struct item *x, double *out, struct err *e)
{
	struct sha256 *s = sha256_new(e);
	const json_t *m;
	char hex[SHA256_HEX], *end;
	int ret = s ? 0 : -1;
	size_t i;

	if (ret == 0 && !x->chat)
		ret = sha256_add(s, x->text, x->n, e);
	json_array_foreach(x->chat ? json_object_get(x->json, "messages")
	                           : NULL, i, m) {
		const json_t *c = json_object_get(m, "content");

		if (ret == 0)
			ret = sha256_add(s, json_string_value(c),
			                 json_string_length(c) + 1, e);
	}
	if (ret == 0)
		ret = sha256_end(s, hex, e);
	sha256_free(s);
	if (ret < 0)
		return -1;
	hex[13] = 0;		/* 52 bits: a double holds them */
	*out = (double)strtoull(hex, &end, 16) / 0x1p52;
	return 0;
}

static int read_json(const struct run *r, struct item *x, struct err *e)
{
	const struct corpus_opt *o = r->o;
	const json_t *text, *messages;

	x->json = json_parse(x->doc->text, x->doc->n, "JSON", e);
	if (!x->json)
		return -1;
	if (!json_is_object(x->json))
		return err_set(e, ERR_FORMAT, "an object wanted");
	messages = json_object_get(x->json, "messages");
	if (json_is_array(messages)) {
		x->chat = 1;
		return chat_render(o->template, messages, &o->chat, &x->turns,
		                   e);
	}
	text = json_object_get(x->json, o->field);
	if (!json_is_string(text))
		return err_set(e, ERR_FORMAT, "no text in \"%s\" and no "
		               "messages", o->field);
	x->text = json_string_value(text);
	x->n = json_string_length(text);
	return 0;
}

static int prepare(const struct run *r, struct item *x, int json,
                   struct err *e)
{
	const struct corpus_opt *o = r->o;
	double h = 0;

	x->text = x->doc->text;
	x->n = x->doc->n;
	if (json && read_json(r, x, e) < 0)
		return -1;
	if (o->part != CORPUS_ALL && o->held > 0 && hash(x, &h, e) < 0)
		return -1;
	x->wanted = o->part == CORPUS_ALL ||
		(h < o->held) == (o->part == CORPUS_HELD);
	return 0;
}

struct prepare_ctx {
	struct run *r;
	int json;
};

static void prepare_item(void *ctx, size_t i, int thread)
{
	struct prepare_ctx *c = ctx;
	struct item *x = &c->r->item[i];

	(void)thread;
	x->failed = prepare(c->r, x, c->json, &x->e) < 0;
}

/* ---- text to ids ----------------------------------------------------------- */

static int add_job(struct run *r, const char *text, size_t n, int flags,
                   struct err *e)
{
	if (mem_grow(&r->job, &r->cap_jobs, r->n_jobs + 1, sizeof(*r->job),
	             e) < 0)
		return -1;
	r->job[r->n_jobs++] = (struct tok_job){ .text = text, .n = n,
		.flags = flags };
	return 0;
}

/* A job per turn of a chat, or for the next stretch of a text. */
static int plan(struct run *r, struct item *x, struct err *e)
{
	size_t i, from = x->at;

	x->first_job = r->n_jobs;
	x->n_jobs = 0;
	if (!x->wanted)
		return 0;
	if (x->chat) {
		for (i = 0; i < x->turns.n_pieces; i++) {
			const struct chat_piece *p = &x->turns.piece[i];

			if (add_job(r, x->turns.text + p->from, p->to - p->from,
			            TOK_SPECIAL, e) < 0)
				return -1;
		}
	} else {
		x->at = x->n - from > SLAB
			? tok_cut(r->t, x->text, x->n, from + SLAB) : x->n;
		if (add_job(r, x->text + from, x->at - from,
		            r->o->literal ? 0 : TOK_SPECIAL, e) < 0)
			return -1;
	}
	x->n_jobs = r->n_jobs - x->first_job;
	return 0;
}

static int push(struct run *r, const uint32_t *ids, size_t n, int part,
                struct err *e)
{
	if (mem_grow(&r->ids, &r->cap_ids, r->n_ids + n, sizeof(*r->ids),
	             e) < 0 ||
	    mem_grow(&r->mask, &r->cap_mask, r->n_ids + n, 1, e) < 0)
		return -1;
	if (n) {
		memcpy(r->ids + r->n_ids, ids, n * sizeof(*ids));
		memset(r->mask + r->n_ids, part, n);
	}
	r->n_ids += n;
	return 0;
}

/*
 * Marks an assistant's turn: its tokens stand one behind the other in the text
 * they decode to, where the head is as long as it was and the think tags are
 * found by eye. (Normalising may have changed what is between.)
 */
static int mark_turn(struct run *r, const struct chat_piece *p, size_t first,
                     struct err *e)
{
	static const char open[] = "<think>", close[] = "</think>";
	char *text = NULL;
	const char *from, *to;
	size_t n = 0, cap = 0, at = 0, begin, end, i, len;

	if (tok_decode(r->t, r->ids + first, r->n_ids - first, 1, &text, &n,
	               &cap, e) < 0)
		return -1;
	begin = end = p->n_head < n ? p->n_head : n;
	from = n ? memmem(text + begin, n - begin, open, sizeof(open) - 1)
	         : NULL;
	to = n ? memmem(text + begin, n - begin, close, sizeof(close) - 1)
	       : NULL;
	/* the prompt may have opened it already */
	if (from && (!to || from < to))
		begin = (size_t)(from - text);
	if (to)
		end = (size_t)(to - text) + sizeof(close) - 1;
	else if (from)
		end = n;
	for (i = first; i < r->n_ids; i++) {
		tok_bytes(r->t, r->ids[i], &len);
		r->mask[i] = at < p->n_head ? CORPUS_PROMPT
			: at >= begin && at < end ? CORPUS_THINK
			: CORPUS_ANSWER;
		at += len;
	}
	mem_free(text);
	return 0;
}

static int join_chat(struct run *r, const struct item *x, struct err *e)
{
	size_t i;

	for (i = 0; i < x->n_jobs; i++) {
		const struct tok_job *j = &r->job[x->first_job + i];
		const struct chat_piece *p = &x->turns.piece[i];
		size_t first = r->n_ids;

		if (push(r, j->ids, j->n_ids, CORPUS_PROMPT, e) < 0 ||
		    (p->assistant && mark_turn(r, p, first, e) < 0))
			return -1;
	}
	return 0;
}

static int join_text(struct run *r, const struct item *x, struct err *e)
{
	const struct tok_job *j = &r->job[x->first_job];

	if (!j->n_ids && !x->n_done)
		return 0;
	if (!x->n_done && r->bos != UINT32_MAX &&
	    push(r, &r->bos, 1, CORPUS_TEXT, e) < 0)
		return -1;
	if (push(r, j->ids, j->n_ids, CORPUS_TEXT, e) < 0)
		return -1;
	if (x->at == x->n && r->eos != UINT32_MAX)
		return push(r, &r->eos, 1, CORPUS_TEXT, e);
	return 0;
}

static int give(struct run *r, struct item *x, corpus_fn *fn, void *ctx,
                struct err *e)
{
	struct corpus_doc d = { .id = x->doc->id, .source = "" };

	r->n_ids = 0;
	if (!x->n_jobs)
		return 0;
	if ((x->chat ? join_chat : join_text)(r, x, e) < 0)
		return -1;
	if (!r->n_ids)
		return 0;
	if (x->json && json_is_string(json_object_get(x->json, "source")))
		d.source = json_string_value(json_object_get(x->json, "source"));
	d.ids = r->ids;
	d.mask = r->o->template == CHAT_NONE ? NULL : r->mask;
	d.n = r->n_ids;
	d.offset = x->n_done;
	x->n_done += r->n_ids;
	return fn(ctx, &d, e);
}

/* ---- the batches ----------------------------------------------------------- */

static void free_jobs(struct run *r)
{
	size_t i;

	for (i = 0; i < r->n_jobs; i++)
		mem_free(r->job[i].ids);
	r->n_jobs = 0;
}

static void free_items(struct run *r)
{
	size_t i;

	for (i = 0; i < r->n_items; i++) {
		json_decref(r->item[i].json);
		chat_done(&r->item[i].turns);
	}
	r->n_items = 0;
}

/* Encodes items first..last-1, then gives them away. */
static int encode(struct run *r, size_t first, size_t last, corpus_fn *fn,
                  void *ctx, struct err *e)
{
	size_t i;
	int ret = 0;

	for (i = first; ret == 0 && i < last; i++)
		ret = plan(r, &r->item[i], e);
	if (ret == 0)
		ret = tok_encode_all(r->t, r->par, r->work, r->job, r->n_jobs,
		                     e);
	for (i = first; ret == 0 && i < last; i++)
		ret = give(r, &r->item[i], fn, ctx, e);
	free_jobs(r);
	return ret;
}

static int where(const struct item *x, struct err *e)
{
	const struct doc *d = x->doc;

	if (d->line)
		return err_wrap(e, "%s: line %llu", d->name,
		                (unsigned long long)d->line);
	return err_wrap(e, "%s", d->name);
}

static int run_batch(struct run *r, const struct doc *docs, size_t n, int json,
                     corpus_fn *fn, void *ctx, struct err *e)
{
	struct prepare_ctx c = { r, json };
	size_t i, bad;
	int ret;

	if (mem_grow(&r->item, &r->cap_items, n, sizeof(*r->item), e) < 0)
		return -1;
	memset(r->item, 0, n * sizeof(*r->item));
	r->n_items = n;
	for (i = 0; i < n; i++)
		r->item[i].doc = &docs[i];
	par_for(r->par, n, prepare_item, &c);
	for (bad = 0; bad < n && !r->item[bad].failed; bad++)
		;
	/* what stands before a bad line is still given: the output does not
	 * depend on how lines fell into batches */
	ret = encode(r, 0, bad, fn, ctx, e);
	/* a text longer than a slab is alone in its batch or the last of it */
	for (i = 0; ret == 0 && i < bad; i++)
		while (ret == 0 && r->item[i].wanted && !r->item[i].chat &&
		       r->item[i].at < r->item[i].n)
			ret = encode(r, i, i + 1, fn, ctx, e);
	if (ret == 0 && bad < n) {
		*e = r->item[bad].e;
		ret = where(&r->item[bad], e);
	}
	free_items(r);
	return ret;
}

static int check_template(const struct run *r, struct err *e)
{
	const char *const *k = chat_tokens(r->o->template);

	for (; *k; k++) {
		uint32_t *ids = NULL;
		size_t n = 0, cap = 0;
		int ret = tok_encode(r->t, r->work[0], *k, strlen(*k),
		                     TOK_SPECIAL, &ids, &n, &cap, e);

		mem_free(ids);
		if (ret < 0)
			return -1;
		if (n != 1)
			return err_set(e, ERR_FORMAT, "the template is made "
			               "of tokens like %s, which the tokenizer "
			               "does not have", *k);
	}
	return 0;
}

static int find_ends(struct run *r, struct err *e)
{
	const struct corpus_opt *o = r->o;
	uint32_t bos = tok_bos(r->t), eos = tok_eos(r->t);

	if ((o->bos == CORPUS_ALWAYS && bos == UINT32_MAX) ||
	    (o->eos == CORPUS_ALWAYS && eos == UINT32_MAX))
		return err_set(e, ERR_FORMAT, "the tokenizer names no %s token",
		               o->bos == CORPUS_ALWAYS && bos == UINT32_MAX
		               ? "bos" : "eos");
	r->bos = o->bos == CORPUS_ALWAYS ||
		(o->bos == CORPUS_AUTO && tok_adds_bos(r->t)) ? bos
		: UINT32_MAX;
	r->eos = o->eos == CORPUS_ALWAYS ||
		(o->eos == CORPUS_AUTO && tok_adds_eos(r->t)) ? eos
		: UINT32_MAX;
	if (o->joined && o->eos == CORPUS_AUTO && r->bos == UINT32_MAX &&
	    r->eos == UINT32_MAX) {
		r->eos = tok_id(r->t, "<|endoftext|>");
		if (r->eos == UINT32_MAX)
			r->eos = eos;
	}
	return 0;
}

int corpus_run(const struct tok *t, struct par *p, struct docs *d,
               const struct corpus_opt *o, corpus_fn *fn, void *ctx,
               struct err *e)
{
	struct run r = { .t = t, .o = o, .par = p };
	int n_threads = par_threads(p), i, ret = -1;
	const struct doc *docs;
	size_t n;

	r.work = mem_array((size_t)n_threads, sizeof(*r.work), e);
	if (!r.work)
		return -1;
	for (i = 0; i < n_threads; i++)
		if (!(r.work[i] = tok_work_new(t, e)))
			goto done;
	if (check_template(&r, e) < 0 || find_ends(&r, e) < 0)
		goto done;
	while ((ret = docs_batch(d, BATCH_DOCS, BATCH_BYTES, &docs, &n,
	                         e)) > 0) {
		ret = run_batch(&r, docs, n, docs_format(d) == DOCS_JSON, fn,
		                ctx, e);
		if (ret != 0)
			break;
	}
	if (ret > 0)
		ret = 0;
done:
	for (i = 0; i < n_threads; i++)
		tok_work_free(r.work[i]);
	mem_free(r.work);
	mem_free(r.item);
	mem_free(r.job);
	mem_free(r.ids);
	mem_free(r.mask);
	return ret;
}
