/* Asking what runs here: a model, many requests at a time, or a rule; embeddings
 * of a model one by one. */
#include "label_local.h"
#include "label_run_impl.h"
#include "label_tokens.h"
#include "mem.h"

/* Latents that are looked at together. */
static size_t at_once(const struct label_work *w)
{
	return w->o->near || !w->o->local ? 1
	       : label_local_at_once(w->o->local);
}

/* The newest request and others of its form, n at most, off the queue. Prompts of
 * a kind begin alike; what is measured has texts in common. */
static size_t next_few(struct label_work *w, struct label_ask *a, size_t n)
{
	size_t i, keep = w->n_queue, k = 0;

	for (i = w->n_queue; i-- && k < n;)
		if (!k || w->queue[i].kind == a[0].kind ||
		    (w->queue[i].form == a[0].form && w->queue[i].given &&
		     a[0].given)) {
			a[k++] = w->queue[i];
			w->queue[i] = (struct label_ask){ 0 };
			keep = i;
		}
	for (i = keep; i < w->n_queue; i++)
		if (w->queue[i].id[0])
			w->queue[keep++] = w->queue[i];
	w->n_queue = keep;
	return k;
}

static int answer(struct label_work *w, const struct label_ask *a, size_t n,
                  char **body, size_t *len, struct err *e)
{
	const struct label_state *s = &w->state[a->feature];

	if (w->o->near)
		return label_near_answer(w->o->near, a, body, len, e);
	if (w->o->local)
		return label_local_answer(w->o->local, a, n, body, len, e);
	return label_tokens_answer(w->o->plan->tok, &w->s->f[a->feature],
	                           a->kind, a->kind == LABEL_LABEL ? NULL
	                           : s->items[a->kind] +
	                             a->part * w->o->plan->per_ask,
	                           a->n_items, body, len, e);
}

/* Takes over asks and answers. */
static int take_few(struct label_work *w, struct label_ask *a, size_t n,
                    char **body, const size_t *len, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < n; i++) {
		if (rc == 0)
			rc = label_work_take(w, &a[i], body[i], len[i], e);
		else
			label_ask_free(&a[i]);
		mem_free(body[i]);
	}
	return rc;
}

/* Looks at n latents at a time until there is something to ask. */
static int begin_few(struct label_work *w, size_t n, struct err *e)
{
	size_t end;

	while (!w->n_queue && w->next < w->s->n)
		for (end = w->next + n; w->next < end && w->next < w->s->n; )
			if (label_work_begin(w, w->next++, e) < 0)
				return -1;
	return 0;
}

int label_here_run(struct label_work *w, struct err *e)
{
	size_t most = at_once(w), n;
	struct label_ask *a = mem_array(most, sizeof(*a), e);
	char **body = mem_array(most, sizeof(*body), e);
	size_t *len = mem_array(most, sizeof(*len), e);
	int rc = a && body && len ? 0 : -1;

	while (rc == 0) {
		rc = begin_few(w, most, e);
		if (rc < 0 || !(n = next_few(w, a, most)))
			break;
		if (label_work_stopped(w))
			rc = err_set(e, ERR_STOP, "stopped; run it again to go "
			             "on");
		else
			rc = answer(w, a, n, body, len, e);
		if (rc == 0)
			rc = take_few(w, a, n, body, len, e);
		else
			while (n--)
				label_ask_free(&a[n]);
		label_work_tell(w);
	}
	mem_free(a);
	mem_free(body);
	mem_free(len);
	return rc;
}
