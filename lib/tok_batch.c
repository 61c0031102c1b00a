/* tok_batch: many texts on many threads, long ones cut where that is safe. */
#include <string.h>

#include "mem.h"
#include "text.h"
#include "tok_impl.h"

enum { CHUNK = 64 << 10 };	/* bytes aimed at; never depends on threads */

struct chunk {
	size_t job, from, to;
	uint32_t *ids;
	size_t n_ids;
};

/* One thread's own: the buffer it encodes into and its first failure. */
struct lane {
	uint32_t *ids;
	size_t cap;
	struct err e;
	size_t failed;		/* chunk, SIZE_MAX: none */
};

struct batch {
	const struct tok *t;
	struct tok_work **w;
	const struct tok_job *jobs;
	struct chunk *chunk;
	size_t n_chunks, cap_chunks;
	struct lane *lane;
};

static int is_letter(char c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

/* Whether the character before `at` (or at it) is none, or white space, or
 * malformed: then a newline next to it is no place to cut. */
static int spacy(const struct tok *t, const uint8_t *s, size_t n, size_t at)
{
	size_t len;

	if (at >= n || text_utf8(s + at, n - at) < 0)
		return 1;
	return (ucd_at(&t->ucd, s, at, &len) & UCD_SPACE) != 0;
}

size_t tok_cut(const struct tok *t, const char *text, size_t n, size_t at)
{
	const uint8_t *s = (const uint8_t *)text;

	if (!t->cut_space && !t->cut_line)
		return n;
	for (at = at ? at : 1; at < n; at++) {
		if (t->cut_space && text[at] == ' ' && at + 1 < n &&
		    is_letter(text[at - 1]) && is_letter(text[at + 1]))
			return at;
		if (t->cut_line && text[at - 1] == '\n' && at > 1 &&
		    !spacy(t, s, n, at) &&
		    !spacy(t, s, n, tok_utf8_before(s, at - 1)))
			return at;
	}
	return n;
}

static void run_chunk(void *ctx, size_t i, int thread)
{
	struct batch *b = ctx;
	struct chunk *c = &b->chunk[i];
	struct lane *l = &b->lane[thread];
	const struct tok_job *j = &b->jobs[c->job];

	if (l->failed != SIZE_MAX)
		return;
	if (tok_encode(b->t, b->w[thread], j->text + c->from, c->to - c->from,
	               j->flags & ~TOK_ADD, &l->ids, &c->n_ids, &l->cap,
	               &l->e) < 0 ||
	    !(c->ids = mem_scratch(c->n_ids, sizeof(*c->ids), &l->e))) {
		l->failed = i;
		return;
	}
	if (c->n_ids)
		memcpy(c->ids, l->ids, c->n_ids * sizeof(*c->ids));
}

static int plan(struct batch *b, size_t n_jobs, struct err *e)
{
	size_t i, at, end;

	for (i = 0; i < n_jobs; i++) {
		const struct tok_job *j = &b->jobs[i];

		at = 0;
		do {
			end = j->n - at > CHUNK + CHUNK / 2
				? tok_cut(b->t, j->text, j->n, at + CHUNK)
				: j->n;
			if (mem_grow(&b->chunk, &b->cap_chunks, b->n_chunks + 1,
			             sizeof(*b->chunk), e) < 0)
				return -1;
			b->chunk[b->n_chunks++] = (struct chunk){ i, at, end,
				NULL, 0 };
			at = end;
		} while (at < j->n);
	}
	return 0;
}

static int append(struct tok_job *j, const uint32_t *ids, size_t n,
                  struct err *e)
{
	if (mem_grow(&j->ids, &j->cap, j->n_ids + n, sizeof(*j->ids), e) < 0)
		return -1;
	if (n)
		memcpy(j->ids + j->n_ids, ids, n * sizeof(*ids));
	j->n_ids += n;
	return 0;
}

/* The chunks of job i, from chunk k on, become its ids; returns the next
 * job's first chunk. */
static int join(struct batch *b, struct tok_job *jobs, size_t i, size_t *k,
                struct err *e)
{
	const struct tok *t = b->t;
	struct tok_job *j = &jobs[i];
	int add = j->flags & TOK_ADD;

	if (add && append(j, t->front, t->n_front, e) < 0)
		return -1;
	for (; *k < b->n_chunks && b->chunk[*k].job == i; ++*k) {
		struct chunk *c = &b->chunk[*k];

		if (append(j, c->ids, c->n_ids, e) < 0)
			return -1;
		mem_free(c->ids);
		c->ids = NULL;
	}
	return add ? append(j, t->back, t->n_back, e) : 0;
}

int tok_encode_all(const struct tok *t, struct par *p, struct tok_work **w,
                   struct tok_job *jobs, size_t n_jobs, struct err *e)
{
	struct batch b = { .t = t, .w = w, .jobs = jobs };
	size_t i, k = 0, first = SIZE_MAX;
	int n_lanes = par_threads(p), l, ret = -1;

	b.lane = mem_array((size_t)n_lanes, sizeof(*b.lane), e);
	if (!b.lane || plan(&b, n_jobs, e) < 0)
		goto done;
	for (l = 0; l < n_lanes; l++)
		b.lane[l].failed = SIZE_MAX;
	par_for(p, b.n_chunks, run_chunk, &b);
	for (l = 0; l < n_lanes; l++)
		if (b.lane[l].failed < first) {
			first = b.lane[l].failed;
			if (e)
				*e = b.lane[l].e;
		}
	if (first != SIZE_MAX)
		goto done;
	for (i = 0; i < n_jobs; i++)
		if (join(&b, jobs, i, &k, e) < 0)
			goto done;
	ret = 0;
done:
	for (i = 0; i < b.n_chunks; i++)
		mem_free(b.chunk[i].ids);
	for (l = 0; b.lane && l < n_lanes; l++)
		mem_free(b.lane[l].ids);
	mem_free(b.lane);
	mem_free(b.chunk);
	return ret;
}
