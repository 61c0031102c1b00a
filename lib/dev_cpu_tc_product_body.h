/*
 * dev_cpu_tc_product_body: the loops of struct dev_cpu_tc_coarse that multiply
 * whole matrices of 16-bit integers; dev_cpu_tc_coarse_body.h includes it. Equal
 * bytes from each instruction set: integers are exact, and what makes them and
 * what is made of them goes value by value.
 */
#ifndef R1_DEV_CPU_TC_PRODUCT_BODY_H
#define R1_DEV_CPU_TC_PRODUCT_BODY_H

#ifdef VEC_W

/* ---- columns ---- */

/* Rows lie far apart, so no processor knows by itself what comes next. */
enum { ROWS_AHEAD = 16, COLUMNS_AHEAD = 48 };

/* `width` values of a row, of which n are there; t: room for a copy. */
INLINE const float *co_row_part(const float *x, size_t n, size_t width, float *t)
{
	if (n >= width)
		return x;
	memset(t, 0, width * sizeof(*t));
	memcpy(t, x, n * sizeof(*t));
	return t;
}

static void body_measure_columns(const float *x, size_t ld, size_t rows,
                                 size_t n, float *factor, float *scale)
{
	enum { AT_ONCE = 32, REGS = AT_ONCE / VEC_W };
	float t[AT_ONCE], sums[AT_ONCE], tops[AT_ONCE];
	vf sq[REGS], top[REGS];
	size_t i, j;

	for (j = 0; j < n; j += AT_ONCE) {
		size_t left = n - j < AT_ONCE ? n - j : AT_ONCE;

		for (i = 0; i < REGS; i++)
			sq[i] = top[i] = splat(0);
		for (i = 0; i < rows; i++) {
			const float *v = co_row_part(x + i * ld + j, left,
			                             AT_ONCE, t);

			__builtin_prefetch(x + (i + ROWS_AHEAD) * ld + j);
			__builtin_prefetch(x + (i + ROWS_AHEAD) * ld + j + 16);

			_Pragma("GCC unroll 8")
			for (int u = 0; u < REGS; u++) {
				vf a = *(const vf_mem *)(v + u * VEC_W);
				vf s = (vf)((vi)a & 0x7fffffff);

				sq[u] += a * a;
				top[u] = pick(s > top[u], s, top[u]);
			}
		}
		memcpy(sums, sq, sizeof(sums));
		memcpy(tops, top, sizeof(tops));
		for (i = 0; i < left; i++) {
			float f = co_wide_factor(sums[i], tops[i]);

			factor[j + i] = f;
			scale[j + i] = f > 0 ? 1 / f : NAN;
		}
	}
}

/* Columns [i, i + width) of n. Two rows are beside each other in a lane: as
 * columns are in groups of rows, one operand's as the other's. */
INLINE void co_pack_columns(const float *x, size_t ld, size_t rows, size_t n,
                            size_t width, const float *factor, size_t step,
                            int16_t *out)
{
	float t[2][VEC_W];
	size_t i, j, k;

	for (i = 0; i < n; i += width, out += step)
		for (k = 0; k < width; k += VEC_W) {
			size_t lanes = width - k < VEC_W ? width - k : VEC_W;
			size_t at = i + k < n ? i + k : n - 1;
			size_t left = i + k < n ? n - at : 0;
			vf f = *(const vf_mem *)co_row_part(factor + at, left,
			                                    VEC_W, t[0]);
			vi there = f > splat(0);	/* NaN times 0 is NaN */

			for (j = 0; j < TC_CHUNK; j += 2) {
				const float *v = x + j * ld + at;
				vf a = *(const vf_mem *)co_row_part(v, j < rows
					? left : 0, VEC_W, t[0]);
				vf b = *(const vf_mem *)co_row_part(v + ld,
					j + 1 < rows ? left : 0, VEC_W, t[1]);
				vf p = co_pair((vf)((vi)a & there),
				               (vf)((vi)b & there), f);

				__builtin_prefetch(v + COLUMNS_AHEAD);
				__builtin_prefetch(v + ld + COLUMNS_AHEAD);
				memcpy(out + j * width + 2 * k, &p, 4 * lanes);
			}
		}
}

static void body_pack_x_columns(const float *x, size_t ld, size_t rows,
                                size_t n, const float *factor, size_t step,
                                int16_t *out)
{
	co_pack_columns(x, ld, rows, n, CO_MR, factor, step, out);
}

static void body_pack_w_columns(const float *x, size_t ld, size_t rows,
                                size_t n, const float *factor, size_t step,
                                int16_t *out)
{
	co_pack_columns(x, ld, rows, n, CO_NR, factor, step, out);
}

/* ---- products ---- */

INLINE void co_put(const vf v[CO_MR][2], float *out, size_t ld, int add)
{
	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++) {
			vf_mem *p = (vf_mem *)(out + (size_t)i * ld + u * VEC_W);

			if (add)
				*p += v[i][u];
			else
				*p = v[i][u];
		}
}

/* A tile that reaches over the result's edge. */
static void co_put_edge(const vf v[CO_MR][2], size_t rows, size_t cols,
                        float *out, size_t ld, int add)
{
	float t[CO_MR * CO_NR];
	size_t i, j;

	co_put(v, t, CO_NR, 0);
	for (i = 0; i < rows; i++)
		for (j = 0; j < cols; j++)
			out[i * ld + j] = add ? out[i * ld + j] +
				t[i * CO_NR + j] : t[i * CO_NR + j];
}

/* The group at row i and the panel at column j. */
INLINE void co_product_tile(const struct tc_product *p, size_t i, size_t j)
{
	const size_t values = p->chunks * TC_CHUNK;
	const int16_t *x = p->x + i * values, *w = p->w + j * values;
	size_t rows = p->rows - i < CO_MR ? p->rows - i : CO_MR;
	size_t cols = p->cols - j < CO_NR ? p->cols - j : CO_NR, r;
	float *out = p->out + i * p->ld + j;
	vi acc[CO_MR][2];
	vf v[CO_MR][2];

	for (r = 0; r < rows; r++) {
		__builtin_prefetch(out + r * p->ld, 1);
		__builtin_prefetch(out + r * p->ld + cols - 1, 1);
	}
	_Pragma("GCC unroll 16")
	for (int u = 0; u < CO_MR; u++)
		acc[u][0] = acc[u][1] = (vi){ 0 };
	_Pragma("GCC unroll 4")
	for (r = 0; r < values / 2; r++, x += 2 * CO_MR, w += 2 * CO_NR)
		co_step(x, w, acc);
	co_add(acc, p->x_scale + i, p->w_scale + j, 0, v);
	if (rows < CO_MR || cols < CO_NR)
		co_put_edge(v, rows, cols, out, p->ld, p->add);
	else if (p->add)
		co_put(v, out, p->ld, 1);
	else
		co_put(v, out, p->ld, 0);
}

static void body_product(const struct tc_product *p)
{
	size_t i, j;

	for (j = 0; j < p->cols; j += CO_NR)
		for (i = 0; i < p->rows; i += CO_MR)
			co_product_tile(p, i, j);
}

#endif
#endif
