#include "dev_attr_ref.h"

#include <math.h>

static double dot(const float *a, const float *b, size_t n)
{
	double s = 0;
	size_t i;

	for (i = 0; i < n; i++)
		s += (double)a[i] * b[i];
	return s;
}

void dev_attr_ref_patterns(const float *q, const float *k, size_t n,
                           size_t n_heads, size_t n_kv, size_t d_head,
                           float scale, float *p)
{
	size_t h, i, j, group = n_heads / n_kv;

	for (h = 0; h < n_heads; h++)
		for (i = 0; i < n; i++, p += n) {
			const float *qi = q + (i * n_heads + h) * d_head;
			double max = -INFINITY, sum = 0, s;

			for (j = 0; j <= i; j++) {
				s = scale * dot(qi, k + (j * n_kv + h / group) *
				                d_head, d_head);
				p[j] = (float)s;
				max = s > max ? s : max;
			}
			for (j = 0; j <= i; j++)
				sum += exp(p[j] - max);
			for (j = 0; j < n; j++)
				p[j] = j <= i ? (float)(exp(p[j] - max) / sum)
				              : 0;
		}
}

void dev_attr_ref_values_back(const float *p, const float *dz, size_t n,
                              size_t rows, size_t n_heads, size_t n_kv,
                              size_t d_head, float *dv)
{
	size_t j, r, g, c, h, i, group = n_heads / n_kv;

	for (j = 0; j < n; j++)
		for (r = 0; r < rows; r++)
			for (g = 0; g < n_kv; g++)
				for (c = 0; c < d_head; c++) {
					double s = 0;

					for (h = g * group; h < (g + 1) * group;
					     h++)
						for (i = j; i < n; i++)
							s += (double)p[(h * n +
							     i) * n + j] *
							     dz[((i * rows + r) *
							     n_heads + h) *
							     d_head + c];
					*dv++ = (float)s;
				}
}

void dev_attr_ref_values(const float *p, const float *v, size_t n,
                         size_t n_heads, size_t n_kv, size_t d_head,
                         float *out)
{
	size_t i, h, c, j, group = n_heads / n_kv;

	for (i = 0; i < n; i++)
		for (h = 0; h < n_heads; h++)
			for (c = 0; c < d_head; c++) {
				double s = 0;

				for (j = 0; j <= i; j++)
					s += (double)p[(h * n + i) * n + j] *
					     v[(j * n_kv + h / group) * d_head +
					       c];
				*out++ = (float)s;
			}
}

void dev_attr_ref_contract(const float *g, size_t n, size_t rows, size_t dim,
                           const struct dev_attr_src *s, const float *w,
                           const float *extra, float *out)
{
	size_t j, r, i;

	for (j = 0; j < n; j++)
		for (r = 0; r < rows; r++, g += dim) {
			if (s)
				for (i = s->first[j]; i < s->first[j + 1]; i++)
					*out++ = (float)(s->value[i] *
					         dot(g, w + s->row[i] * dim,
					             dim));
			*out++ = (float)dot(g, extra + j * dim, dim);
		}
}
