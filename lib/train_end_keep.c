/*
 * The rows that the end will want: x and y of the last steps, as they were fed to the
 * transcoder, in Q8_0, a slot for each step.
 */
#include "mem.h"
#include "train_end_impl.h"

/* Steps whose rows are kept. */
static size_t slots(const struct train_cfg *c)
{
	size_t n = c->end_tokens / c->batch;

	return c->n_steps && c->n_steps < n ? (size_t)c->n_steps : n;
}

size_t train_end_slot(const struct train_cfg *c, size_t dim)
{
	return q8_0_bytes(c->batch * dim);
}

size_t train_end_row_bytes(const struct tc_cfg *c)
{
	return q8_0_bytes(c->d_out) + (c->transcode ? q8_0_bytes(c->d_in) : 0);
}

size_t train_end_kept_bytes(const struct train_cfg *c)
{
	const struct tc_cfg *t = &c->tc;

	return slots(c) * (train_end_slot(c, t->d_out) + sizeof(uint32_t) +
	                   (t->transcode ? train_end_slot(c, t->d_in) : 0));
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
	size_t n = slots(&t->cfg);

	t->kept_slots = n;
	if (!(t->kept_n = mem_array(n, sizeof(*t->kept_n), e)) ||
	    !(t->kept_y = mem_array(n, train_end_slot(&t->cfg, c->d_out), e)))
		return -1;
	if (c->transcode &&
	    !(t->kept_x = mem_array(n, train_end_slot(&t->cfg, c->d_in), e)))
		return -1;
	return 0;
}

int train_end_keep(struct train_layer *t, size_t n, struct err *e)
{
	const struct tc_cfg *c = &t->cfg.tc;
	const struct dev_ops *d = train_ops(t);
	size_t slot;

	if (!train_end_due(&t->cfg, t->stats.step + 1))
		return 0;
	if (!t->kept_n && train_end_begin(t, e) < 0)
		return -1;
	slot = (size_t)(t->stats.step % t->kept_slots);
	t->kept_n[slot] = (uint32_t)n;
	if (c->transcode &&
	    d->get_q8_0(t->dev, t->kept_x + slot * train_end_slot(&t->cfg, c->d_in),
	                t->work->x, n * c->d_in, e) < 0)
		return -1;
	return d->get_q8_0(t->dev, t->kept_y + slot *
	                   train_end_slot(&t->cfg, c->d_out), t->work->y,
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
	size_t room = train_end_chunk(&t->cfg), slot, n;

	c->at += c->n;
	for (c->n = 0; c->slot < t->kept_slots; c->slot++) {
		slot = (size_t)((t->stats.step + c->slot) % t->kept_slots);
		n = t->kept_n[slot];
		if (c->n + n > room)
			break;
		if ((t->kept_x &&
		     s->d->put_q8_0(s->dev, s->x + c->n * s->d_in, t->kept_x +
		                    slot * train_end_slot(&t->cfg, s->d_in), n *
		                    s->d_in, e) < 0) ||
		    s->d->put_q8_0(s->dev, s->y + c->n * s->d_out, t->kept_y +
		                   slot * train_end_slot(&t->cfg, s->d_out), n *
		                   s->d_out, e) < 0)
			return -1;
		c->n += n;
	}
	return t->kept_x ? 0 : s->d->tc->centre(s->dev, s->y, NULL, c->n, s->d_in,
	                                        t->b_dec.w, 1, s->x, e);
}
