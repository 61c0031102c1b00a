/*
 * dev_cpu_tc_product_body: the loops of struct dev_cpu_tc_coarse that multiply
 * whole matrices as bytes (struct tc_product); dev_cpu_tc_coarse_body.h includes
 * it. Equal bytes from each instruction set: integers are exact, and what makes
 * them and what is made of them goes value by value or by 16 lanes.
 */
#ifndef R1_DEV_CPU_TC_PRODUCT_BODY_H
#define R1_DEV_CPU_TC_PRODUCT_BODY_H

#ifdef VEC_W

/* ---- scales ---- */

/* A row's: unit, what a block's integers want to be apart, becomes what its
 * values are multiplied by, and factor how many of the scale, which is returned,
 * they are apart. sq: the row's sum of squares. One too large, or not finite: all
 * of them are 0, the scale is NaN. */
INLINE float co_units(size_t blocks, float sq, float unit[TC_PIECE_BLOCKS],
                      int16_t factor[TC_PIECE_BLOCKS])
{
	float most = 0, f, p;
	size_t b;

	for (b = 0; b < blocks; b++)
		most = unit[b] > most ? unit[b] : most;
	/* no factor is rounded beyond the largest */
	f = (float)(int)sqrtf((float)(TC_FACTORS / blocks)) /
	    (most * (1 + 0x1p-20f));
	f = f < 0x1p60f ? f : 0x1p60f;
	for (b = 0; b < blocks; b++) {
		p = ceilf(unit[b] * f);
		p = p > 1 ? p : 1;
		factor[b] = sq < 0x1p120f ? (int16_t)p : 0;
		unit[b] = sq < 0x1p120f ? f / p : 0;
	}
	return sq < 0x1p120f ? 1 / f : NAN;
}

/* A row's factors, in each of its blocks before its bytes. */
INLINE void co_put_factors(size_t blocks, const int16_t *factor, size_t step,
                           int8_t *out)
{
	size_t b;

	for (b = 0; b < blocks; b++, out += step) {
		const int16_t pair[2] = { factor[b], factor[b] };

		memcpy(out, pair, sizeof(pair));
	}
}

/* ---- rows ---- */

/* The values [at, at + TC_BLOCK) of d, in t where some are missing. */
INLINE const float *co_block_part(const float *x, size_t at, size_t d,
                                  float t[TC_BLOCK])
{
	return co_part(x + at, d - at, TC_BLOCK, t);
}

/* The sum of squares, and in *unit what integers want to be apart. */
INLINE float co_measure_block(const float *x, float *unit)
{
	struct v16 sum = splat16(0), most = sum;
	v8 half;
	size_t j;

	_Pragma("GCC unroll 4")
	for (j = 0; j < TC_BLOCK; j += 16)
		co_see(load16(x + j), &sum, &most);
	half = co_halves(sum);
	*unit = co_unit((struct co_sizes){ 0, co_top(most), half[0] > half[2]
		? half[0] : half[2] }, TC_BYTE, TC_HALF);
	return half[0] + half[2];
}

/* Block b of rows that are multiplied by `by` (0: zeros), as `width` rows. */
INLINE void co_pack_block(const float *x, size_t ld, size_t d, size_t b,
                          float (*by)[TC_PIECE_BLOCKS], size_t width, int panel,
                          int8_t *out)
{
	const size_t step = 4 * width, head = panel ? 2 * step : step;
	float t[TC_BLOCK];
	size_t i0, i, k;
	vf r[VEC_W];

	for (i0 = 0; i0 < width; i0 += VEC_W) {
		size_t lanes = width - i0 < VEC_W ? width - i0 : VEC_W;
		int8_t *q = out + head + 4 * i0;
		vi sum = { 0 };

		for (k = 0; k < TC_BLOCK; k += 4 * VEC_W) {
			for (i = i0; i < i0 + VEC_W; i++)
				r[i - i0] = by[i][b] > 0 ? co_quads(
					co_block_part(x + i * ld, b * TC_BLOCK,
					d, t) + k, by[i][b], panel ? 0 :
					TC_BYTE) : splat(0);
			flip(r);
			for (i = 0; i < VEC_W; i++, q += step) {
				if (panel)
					sum = co_start(sum, r[i], TC_BYTE);
				co_put_lanes(q, r[i], lanes);
			}
		}
		if (panel)
			co_put_lanes(out + 4 * i0, (vf)sum, lanes);
	}
}

INLINE void co_pack_rows(const float *x, size_t ld, size_t d, size_t n,
                         size_t width, int panel, int8_t *out, float *scale)
{
	const size_t blocks = (d + TC_BLOCK - 1) / TC_BLOCK;
	const size_t step = tc_product_bytes(1, width, panel);
	float by[CO_NR][TC_PIECE_BLOCKS] = { { 0 } }, t[TC_BLOCK];
	int16_t factor[TC_PIECE_BLOCKS];
	size_t i, b;

	for (i = 0; i < width; i++) {
		float sq = i < n ? 0 : NAN;

		for (b = 0; b < blocks && i < n; b++) {
			if (i + 1 < n)
				dev_cpu_fetch(x + (i + 1) * ld + b * TC_BLOCK,
				              TC_BLOCK * sizeof(*x));
			sq += co_measure_block(co_block_part(x + i * ld, b *
				TC_BLOCK, d, t), &by[i][b]);
		}
		scale[i] = co_units(blocks, sq, by[i], factor);
		co_put_factors(blocks, factor, step, out + 4 *
		               (panel ? width + i : i));
	}
	for (b = 0; b < blocks; b++)
		co_pack_block(x, ld, d, b, by, width, panel, out + b * step);
}

static void body_pack_rows(const float *x, size_t ld, size_t d, size_t n,
                           int panel, int8_t *out, float *scale)
{
	if (panel)
		co_pack_rows(x, ld, d, n, CO_NR, 1, out, scale);
	else
		co_pack_rows(x, ld, d, n, CO_MR, 0, out, scale);
}

/* ---- columns ---- */

enum {
	STRIP = 512,		/* columns whose sums stay in the first cache */
	COLUMNS_AHEAD = 48	/* rows lie far apart */
};

/* n columns, at most STRIP. Row by row, as they lie in memory. */
static void measure_strip(const float *x, size_t ld, size_t rows, size_t n,
                          float *unit, float *sq)
{
	float half[2][STRIP] = { { 0 } }, top[STRIP] = { 0 }, t[16];
	size_t i, j;

	for (i = 0; i < TC_BLOCK; i += 4)
		for (j = 0; j < n; j += 16) {
			struct v16 s[2] = { load16(half[0] + j),
			                    load16(half[1] + j) };
			struct v16 most = load16(top + j);

			_Pragma("GCC unroll 4")
			for (size_t r = 0; r < 4; r++) {
				const float *row = x + (i + r) * ld + j;

				__builtin_prefetch(row + 4 * ld);
				co_see(load16(co_part(row, i + r < rows ? n - j
					: 0, 16, t)), &s[r / 2], &most);
			}
			store16(half[0] + j, s[0]);
			store16(half[1] + j, s[1]);
			store16(top + j, most);
		}
	for (j = 0; j < n; j++) {
		sq[j] = half[0][j] + half[1][j];
		unit[j] = co_unit((struct co_sizes){ 0, top[j],
			half[0][j] > half[1][j] ? half[0][j] : half[1][j] },
			TC_BYTE, TC_HALF);
	}
}

static void body_measure_columns(const float *x, size_t ld, size_t rows,
                                 size_t n, float *unit, float *sq)
{
	size_t j;

	for (j = 0; j < n; j += STRIP)
		measure_strip(x + j, ld, rows, n - j < STRIP ? n - j : STRIP,
		              unit + j, sq + j);
}

/* A block of rows, of which `rows` are there, of VEC_W columns, of which n are;
 * `lanes` of these, multiplied by f, are written. */
INLINE void co_pack_column_block(const float *x, size_t ld, size_t rows,
                                 size_t n, vf f, size_t lanes, size_t width,
                                 int panel, int8_t *out)
{
	/* 1.5 2^23 rounds to even; the low byte is the integer */
	const vf magic = splat(12582912.0f + (panel ? 0 : TC_BYTE));
	const size_t step = 4 * width;
	int8_t *q = out + (panel ? 2 * step : step);
	vi sum = { 0 }, p[4];
	float t[VEC_W];
	size_t i;

	for (i = 0; i < TC_BLOCK; i += 4, q += step) {
		_Pragma("GCC unroll 4")
		for (size_t r = 0; r < 4; r++) {
			const float *v = x + (i + r) * ld;

			__builtin_prefetch(v + COLUMNS_AHEAD);
			p[r] = (vi)(*(const vf_mem *)co_part(v, i + r < rows
				? n : 0, VEC_W, t) * f + magic);
		}
		p[0] = (p[0] & 0xff) | (p[1] & 0xff) << 8 |
		       (p[2] & 0xff) << 16 | p[3] << 24;
		if (panel)
			sum = co_start(sum, (vf)p[0], TC_BYTE);
		co_put_lanes(q, (vf)p[0], lanes);
	}
	if (panel)
		co_put_lanes(out, (vf)sum, lanes);
}

INLINE void co_pack_columns(const float *x, size_t ld, size_t rows, size_t n,
                            const float *unit, const float *sq, size_t apart,
                            size_t width, int panel, int8_t *out, float *scale)
{
	const size_t blocks = (rows + TC_BLOCK - 1) / TC_BLOCK;
	const size_t step = tc_product_bytes(1, width, panel);
	float by[TC_PIECE_BLOCKS][TC_COLUMNS + VEC_W] = { { 0 } };
	float one[TC_PIECE_BLOCKS], all;
	int16_t factor[TC_PIECE_BLOCKS];
	size_t i, j, b;

	for (i = 0; i < n; i += width, out += blocks * step) {
		for (j = i; j < i + width; j++) {
			for (all = j < n ? 0 : NAN, b = 0; b < blocks; b++) {
				all += sq[b * apart + j];
				one[b] = unit[b * apart + j];
			}
			scale[j] = co_units(blocks, all, one, factor);
			for (b = 0; b < blocks; b++)
				by[b][j] = one[b];
			co_put_factors(blocks, factor, step, out + 4 *
			               (panel ? width + j - i : j - i));
		}
		for (b = 0; b < blocks; b++)
			for (j = i; j < i + width; j += VEC_W)
				co_pack_column_block(x + b * TC_BLOCK * ld + j,
					ld, rows - b * TC_BLOCK, j < n ? n - j
					: 0, *(const vf_mem *)&by[b][j],
					i + width - j < VEC_W ? i + width - j :
					VEC_W, width, panel, out + b * step +
					4 * (j - i));
	}
}

static void body_pack_columns(const float *x, size_t ld, size_t rows, size_t n,
                              const float *unit, const float *sq, size_t apart,
                              int panel, int8_t *out, float *scale)
{
	if (panel)
		co_pack_columns(x, ld, rows, n, unit, sq, apart, CO_NR, 1, out,
		                scale);
	else
		co_pack_columns(x, ld, rows, n, unit, sq, apart, CO_MR, 0, out,
		                scale);
}

/* ---- products ---- */

/* Integers, scaled. */
INLINE void co_scale(vi acc[CO_MR][2], const float *row, const float *latent,
                     vf v[CO_MR][2])
{
	_Pragma("GCC unroll 16")
	for (int i = 0; i < CO_MR; i++)
		_Pragma("GCC unroll 2")
		for (int u = 0; u < 2; u++)
			v[i][u] = __builtin_convertvector(acc[i][u], vf) *
			          co_scales(row, i, latent, u);
}

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
	const int8_t *x = p->x + tc_product_bytes(p->blocks, i, 0);
	const int8_t *w = p->w + tc_product_bytes(p->blocks, j, 1);
	size_t rows = p->rows - i < CO_MR ? p->rows - i : CO_MR;
	size_t cols = p->cols - j < CO_NR ? p->cols - j : CO_NR, r;
	float *out = p->out + i * p->ld + j;
	vi acc[CO_MR][2], sum[CO_MR][2];
	vf v[CO_MR][2];

	for (r = 0; r < rows; r++) {
		__builtin_prefetch(out + r * p->ld, 1);
		__builtin_prefetch(out + r * p->ld + cols - 1, 1);
	}
	_Pragma("GCC unroll 16")
	for (int u = 0; u < CO_MR; u++)
		acc[u][0] = acc[u][1] = (vi){ 0 };
	for (r = 0; r < p->blocks; r++) {
		co_block_sums(x + 4 * CO_MR, w, w + 8 * CO_NR, sum);
		_Pragma("GCC unroll 16")
		for (int u = 0; u < CO_MR; u++) {
			vi f = co_one(x + 4 * u);

			acc[u][0] += co_widen(sum[u][0], co_times(f,
				*(const vi_mem *)(const void *)(w + 4 * CO_NR)));
			acc[u][1] += co_widen(sum[u][1], co_times(f,
				*(const vi_mem *)(const void *)(w + 6 * CO_NR)));
		}
		x += tc_product_bytes(1, CO_MR, 0);
		w += tc_product_bytes(1, CO_NR, 1);
	}
	co_scale(acc, p->x_scale + i, p->w_scale + j, v);
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
