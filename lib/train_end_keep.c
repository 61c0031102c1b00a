/*
 * The rows that the end will want: x and y of the last steps, as they were fed to the
 * transcoder, in f16, a slot for each step.
 */
#include "mem.h"
#include "train_end_impl.h"

/* Steps whose rows are kept. */
static size_t slots(const struct train_cfg *c)
{
	size_t n = c->end_tokens / c->batch;

	return c->n_steps && c->n_steps < n ? (size_t)c->n_steps : n;
}

size_t train_end_row_bytes(const struct tc_cfg *c)
{
	return ((size_t)c->d_out + (c->transcode ? c->d_in : 0)) *
	       sizeof(uint16_t);
}

size_t train_end_kept_bytes(const struct train_cfg *c)
{
	return slots(c) * (c->batch * train_end_row_bytes(&c->tc) +
	                   sizeof(uint32_t));
}

size_t train_end_rows(const struct train_cfg *c)
{
	return slots(c) * c->batch;
}

size_t train_end_chunk(const struct train_cfg *c)
{
	return train_larger(TRAIN_END_CHUNK, c->batch);
}

int train_end_due(const struct train_cfg *c, uint64_t steps)
{
	return slots(c) && steps &&
	       (!c->n_steps || steps > c->n_steps - slots(c));
}

int train_end_begin(struct train_layer *t, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	size_t n = slots(&t->cfg), rows = n * t->cfg.batch;

	t->kept_slots = n;
	if (!(t->kept_n = mem_array(n, sizeof(*t->kept_n), e)) ||
	    !(t->kept_y = mem_array(rows, c->d_out * sizeof(*t->kept_y), e)))
		return -1;
	if (c->transcode &&
	    !(t->kept_x = mem_array(rows, c->d_in * sizeof(*t->kept_x), e)))
		return -1;
	return 0;
}

int train_end_keep(struct train_layer *t, size_t n, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	const struct dev_ops *d = train_ops(t);
	size_t slot, at;

	if (!train_end_due(&t->cfg, t->stats.step + 1))
		return 0;
	if (!t->kept_n && train_end_begin(t, e) < 0)
		return -1;
	slot = (size_t)(t->stats.step % t->kept_slots);
	at = slot * t->cfg.batch;
	t->kept_n[slot] = (uint32_t)n;
	if (c->transcode &&
	    d->get_f16(t->dev, t->kept_x + at * c->d_in, t->work->x, n * c->d_in,
	               e) < 0)
		return -1;
	return d->get_f16(t->dev, t->kept_y + at * c->d_out, t->work->y,
	                  n * c->d_out, e);
}

void train_end_free(struct train_layer *t)
{
	mem_free(t->kept_x);
	mem_free(t->kept_y);
	mem_free(t->kept_n);
	t->kept_x = t->kept_y = NULL;
	t->kept_n = NULL;
}

int train_end_read(struct end *s, struct train_end_chunk *c, struct err *e)
{
	const struct train_layer *t = s->t;
	size_t room = train_end_chunk(&t->cfg), slot, at;

	c->at += c->n;
	for (c->n = 0; c->slot < t->kept_slots; c->slot++) {
		slot = (size_t)((t->stats.step + c->slot) % t->kept_slots);
		if (c->n + t->kept_n[slot] > room)
			break;
		at = slot * t->cfg.batch;
		if ((t->kept_x &&
		     s->d->put_f16(s->dev, s->x + c->n * s->d_in, t->kept_x +
		                   at * s->d_in, t->kept_n[slot] * s->d_in,
		                   e) < 0) ||
		    s->d->put_f16(s->dev, s->y + c->n * s->d_out, t->kept_y + at *
		                  s->d_out, t->kept_n[slot] * s->d_out, e) < 0)
			return -1;
		c->n += t->kept_n[slot];
	}
	return t->kept_x ? 0 : s->d->tc->centre(s->dev, s->y, NULL, c->n, s->d_in,
	                                        t->b_dec.w, 1, s->x, e);
}
