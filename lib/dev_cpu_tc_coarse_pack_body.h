/*
 * dev_cpu_tc_coarse_pack_body: how struct dev_cpu_tc_coarse makes integers of rows
 * of x and of w; dev_cpu_tc_coarse_body.h includes it.
 */
#ifndef R1_DEV_CPU_TC_COARSE_PACK_BODY_H
#define R1_DEV_CPU_TC_COARSE_PACK_BODY_H

#ifdef VEC_W

/* `width` values of a row, of which n are there; t: room for a copy. */
INLINE const float *co_part(const float *x, size_t n, size_t width, float *t)
{
	if (n >= width)
		return x;
	memset(t, 0, width * sizeof(*t));
	memcpy(t, x, n * sizeof(*t));
	return t;
}

/* The columns of a chunk of row x, or of a copy in t where some are missing. */
INLINE const float *co_chunk(const struct tc_cols *c, size_t i, const float *x,
                             float t[TC_CHUNK])
{
	size_t at = c->chunk[i] * (size_t)TC_CHUNK;

	return co_part(x + at, c->d - at, TC_CHUNK, t);
}

/* What sets the scales of some columns: sum of squares, largest value, and the
 * largest sum of squares of a half block, where it is asked for. */
struct co_sizes {
	float sq, top, half;
};

/* The first of a register's lanes: all, or those that a copy moves. */
INLINE void co_put_lanes(void *out, vf v, size_t lanes)
{
	if (lanes == VEC_W)
		*(vf_mem *)out = v;
	else
		memcpy(out, &v, 4 * lanes);
}

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));

INLINE v8 co_max8(v8 a, v8 b)
{
	v8i more = a > b;

	return (v8)(((v8i)a & more) | ((v8i)b & ~more));
}

/* Lanes and those 8 on. */
union co_two {
	struct v16 all;
	v8 half[2];
};

/* Of the 16 lanes those at places 0 and 1 of four in lane 0, the others in
 * lane 2. */
INLINE v8 co_halves(struct v16 v)
{
	union co_two a = { v };
	v8 s = a.half[0] + a.half[1];

	s += __builtin_shuffle(s, (v8i){ 1, 0, 3, 2, 5, 4, 7, 6 });
	return s + __builtin_shuffle(s, (v8i){ 4, 5, 6, 7, 0, 1, 2, 3 });
}

/* The largest of 16 lanes. */
INLINE float co_top(struct v16 v)
{
	union co_two a = { v };
	v8 s = co_max8(a.half[0], a.half[1]);

	s = co_max8(s, __builtin_shuffle(s, (v8i){ 4, 5, 6, 7, 0, 1, 2, 3 }));
	s = co_max8(s, __builtin_shuffle(s, (v8i){ 2, 3, 0, 1, 6, 7, 4, 5 }));
	return s[0] > s[1] ? s[0] : s[1];
}

/* Adds the squares of 16 values to sum, raises `most` to their sizes. */
INLINE void co_see(struct v16 a, struct v16 *sum, struct v16 *most)
{
	EACH_U {
		vf v = (vf)((vi)a.r[u] & 0x7fffffff);

		sum->r[u] += v * v;
		most->r[u] = larger(v, most->r[u]);
	}
}

/* The same columns of the second row behind, which comes from far away, are asked
 * for meanwhile. */
INLINE struct co_sizes co_measure(const struct tc_cols *c, size_t from,
                                  size_t end, const float *x, int halves)
{
	struct v16 sum = splat16(0), most = sum, block = sum;
	float t[TC_CHUNK];
	v8 half = { 0 };
	struct co_sizes z = { 0 };
	size_t i, j;

	for (i = from; i < end; i++) {
		const float *v = co_chunk(c, i, x, t);

		_Pragma("GCC unroll 2")
		for (j = 0; j < TC_CHUNK; j += 16) {
			__builtin_prefetch(v + 2 * c->d + j);
			co_see(load16(v + j), &block, &most);
		}
		if (halves && (i - from) % 2 == 0)
			continue;
		sum = add16(sum, block);
		if (halves)
			half = co_max8(half, co_halves(block));
		block = splat16(0);
	}
	z.sq = fold_add(sum);
	z.top = co_top(most);
	z.half = half[0] > half[2] ? half[0] : half[2];
	return z;
}

/* What makes wide integers of values with these sizes. 0: it becomes zeros. */
INLINE float co_wide_factor(float sq, float top)
{
	/* what rounding adds is below 140 + 45800 / 1000 */
	float f = 45800 / sqrtf(sq);

	if (!(sq < 0x1p120f))
		return 0;
	f = f < 32000 / top ? f : 32000 / top;
	return f < 0x1p60f ? f : 0x1p60f;
}

/* What integers of up to `byte`, half a block's norm up to `half` (0: any), must
 * be apart at least for columns of these sizes. */
INLINE float co_unit(struct co_sizes n, int byte, int half)
{
	float by_top = n.top / (float)byte;
	float by_half = half ? sqrtf(n.half) / (float)half : 0;

	return by_top > by_half ? by_top : by_half;
}

/* The same of narrow columns. */
INLINE float co_narrow_step(struct co_sizes n)
{
	return co_unit(n, CO_TOP, CO_HALF);
}

/* The sizes of block b. */
INLINE struct co_sizes co_block(const struct tc_cols *c, size_t b, const float *x)
{
	return co_measure(c, c->wide + 2 * b, c->wide + 2 * b + 2, x,
	                  CO_HALF > 0);
}

/* What a row's narrow integers are to be apart: all of them in a panel; in a
 * group a multiple of it, each block's own, up to TC_FACTORS / blocks. sq: the
 * narrow columns' sum of squares. */
INLINE float co_narrow_unit(const struct tc_cols *c, const float *x, int panel,
                            float *sq)
{
	size_t blocks = c->narrow / 2, b;
	struct co_sizes n;
	float unit = 0;

	if (panel) {
		n = co_measure(c, c->wide, c->wide + c->narrow, x, CO_HALF > 0);
		*sq = n.sq;
		return co_narrow_step(n);
	}
	for (*sq = 0, b = 0; b < blocks; b++) {
		n = co_block(c, b, x);
		*sq += n.sq;
		unit = co_narrow_step(n) > unit ? co_narrow_step(n) : unit;
	}
	/* a bit more, so that no factor is rounded beyond; what rounding of
	 * values adds is below 2.9 a half block */
	return unit * (1 + 0x1p-20f) / (float)(TC_FACTORS / (blocks ? blocks : 1));
}

/* How a row becomes integers: factors, and the scales that undo them. */
struct co_row {
	float wide, narrow;	/* 0: it becomes zeros */
	float norm, narrow_norm;
};

static struct co_row co_factors(const struct tc_cols *c, const float *x,
                                int panel)
{
	struct co_sizes w;
	float sq, narrow_sq, g;

	w = co_measure(c, 0, c->wide, x, 0);
	g = 1 / co_narrow_unit(c, x, panel, &narrow_sq);
	sq = w.sq + narrow_sq;
	if (!(sq < 0x1p120f))
		return (struct co_row){ 0, 0, NAN, NAN };
	return (struct co_row){
		co_wide_factor(w.sq, w.top), g < 0x1p60f ? g : 0x1p60f,
		dev_cpu_tc_norm_of(sq), dev_cpu_tc_norm_of(narrow_sq)
	};
}

/* Columns [0, 2 VEC_W) of a chunk as integers: column i beside column VEC_W + i
 * in lane i. */
INLINE vf co_pairs(const float *x, float f)
{
	const vf magic = splat(12582912.0f);	/* 1.5 2^23: rounds to even */
	vi p = (vi)(*(const vf_mem *)x * f + magic);
	vi q = (vi)(*(const vf_mem *)(x + VEC_W) * f + magic);

	return (vf)((p & 0xffff) | q << 16);
}

/* Rows [i0, i0 + VEC_W) of n, `width` in the group. */
INLINE void co_pack_wide(const struct tc_cols *c, const float *x, size_t i0,
                         size_t n, const struct co_row *row, size_t width,
                         int16_t *out)
{
	size_t lanes = width - i0 < VEC_W ? width - i0 : VEC_W, i, j, k;
	float t[TC_CHUNK];
	vf r[VEC_W];

	for (k = 0; k < c->wide; k++, out += TC_CHUNK * width)
		for (j = 0; j < TC_CHUNK; j += 2 * VEC_W) {
			for (i = i0; i < i0 + VEC_W; i++)
				r[i - i0] = i < n && row[i].wide > 0
				    ? co_pairs(co_chunk(c, k, x + i * c->d, t)
				               + j, row[i].wide)
				    : splat(0);
			flip(r);
			for (i = 0; i < VEC_W; i++)
				co_put_lanes(out + (j + 2 * i) * width + 2 * i0,
				             r[i], lanes);
		}
}

/* Of block b of a row of x, which is a multiple of the row's unit. */
INLINE int co_block_factor(const struct tc_cols *c, size_t b, const float *x,
                           const struct co_row *row)
{
	float f = ceilf(co_narrow_step(co_block(c, b, x)) * row->narrow);

	return f > 1 ? (int)f : 1;
}

/* And as bytes. off: what these are off by, sums of squares of rows. */
INLINE void co_pack_narrow(const struct tc_cols *c, const float *x, size_t i0,
                           size_t n, const struct co_row *row, size_t width,
                           int panel, float *off, int8_t *out,
                           int16_t *factor)
{
	const size_t step = 4 * width;		/* of four columns */
	size_t lanes = width - i0 < VEC_W ? width - i0 : VEC_W, b, i, k;
	float t[TC_CHUNK], t2[TC_CHUNK], f[VEC_W], by[VEC_W];
	vf r[VEC_W], sq[VEC_W], all[VEC_W];

	for (i = 0; i < VEC_W; i++) {
		f[i] = i < lanes ? row[i0 + i].narrow : 0;
		all[i] = splat(0);
	}
	for (b = 0; b < c->narrow; b += 2) {
		int8_t *start = out;
		vi sum = { 0 };

		out += panel ? step : 0;
		_Pragma("GCC unroll 16")	/* else calls a loop of bytes */
		for (i = 0; i < VEC_W; i++)
			sq[i] = splat(0);
		for (i = i0; i < i0 + lanes; i++) {
			co_kept kept;

			by[i - i0] = panel;	/* 0: the row becomes zeros */
			if (panel)
				continue;
			if (row[i].narrow > 0) {
				by[i - i0] = (float)co_block_factor(c, b / 2, x
					+ i * c->d, &row[i]);
				f[i - i0] = row[i].narrow / by[i - i0];
			}
			kept = co_keep(by[i - i0]);
			memcpy(factor + b * width + 2 * i, &kept, sizeof(kept));
		}
		for (k = 0; k < TC_BLOCK; k += 4 * VEC_W) {
			/* chunks, or halves of one */
			size_t at = c->wide + b + k / TC_CHUNK;
			size_t second = at + 2 * VEC_W / TC_CHUNK;

			for (i = i0; i < i0 + VEC_W; i++)
				r[i - i0] = i < n ? co_bytes(
					co_chunk(c, at, x + i * c->d, t),
					co_chunk(c, second, x + i * c->d, t2) +
					2 * VEC_W % TC_CHUNK, f[i - i0],
					panel ? 0 : CO_OFFSET, &sq[i - i0])
					: splat(0);
			flip(r);
			for (i = 0; i < VEC_W; i++, out += step) {
				sum = co_start(sum, r[i], CO_OFFSET);
				co_put_lanes(out + 4 * i0, r[i], lanes);
			}
		}
		if (panel)
			co_put_lanes(start + 4 * i0, (vf)sum, lanes);
		for (i = 0; i < lanes; i++)
			all[i] += sq[i] * splat(by[i] * by[i]);
	}
	for (i = 0; i < lanes; i++)
		for (k = 0; k < VEC_W; k++)
			off[i0 + i] += all[i][k];
}

/* off: what narrow columns are off by, the sum of squares in integers' units. */
static void co_put_sizes(const struct tc_cols *c, const struct co_row *row,
                         float off, int panel, const struct tc_side *out,
                         size_t i)
{
	float v = 0.52f * sqrtf((float)(c->wide * TC_CHUNK));
	float u = ((float)c->d + 40) * 0x1p-24f, r0 = v / 45000 + u;
	float r = v / row->wide / row->norm + u;

	r = r > r0 ? r : r0;
	off = sqrtf(off) * (1 + 0x1p-10f) / row->narrow;
	out->off[i] = 1.002f * (off + 4 * 0x1p-24f * row->norm);
	out->size[i] = 1.002f * (row->narrow_norm + out->off[i]);
	out->rest[i] = 1.002f * row->norm * (panel ? r + r0 / 2
	                                           : r / r0 + 0.5f);
}

INLINE void co_pack(const struct tc_cols *c, const float *x, size_t n,
                    size_t width, int panel, struct tc_side out)
{
	struct co_row row[CO_NR > CO_MR ? CO_NR : CO_MR];
	float off[CO_NR > CO_MR ? CO_NR : CO_MR] = { 0 };
	size_t i, i0;

	for (i = 0; i < width; i++) {
		row[i] = (struct co_row){ 0, 0, 0, 0 };
		if (i < n)
			row[i] = co_factors(c, x + i * c->d, panel);
	}
	for (i0 = 0; i0 < width; i0 += VEC_W) {
		co_pack_wide(c, x, i0, n, row, width, out.wide);
		if (c->narrow)
			co_pack_narrow(c, x, i0, n, row, width, panel, off,
			               out.narrow, out.factor);
	}
	for (i = 0; i < width; i++) {
		out.scale[i] = out.narrow_scale[i] = out.off[i] = out.size[i] =
			out.rest[i] = i < n ? NAN : 0;
		if (!(row[i].wide > 0))
			continue;
		out.scale[i] = 1 / row[i].wide;
		out.narrow_scale[i] = 1 / row[i].narrow;
		co_put_sizes(c, &row[i], off[i], panel, &out, i);
	}
}

static void body_pack_x(const struct tc_cols *c, const float *x, size_t n,
                        struct tc_side out)
{
	co_pack(c, x, n, CO_MR, 0, out);
}

static void body_pack_w(const struct tc_cols *c, const float *w, size_t n,
                        struct tc_side out)
{
	co_pack(c, w, n, CO_NR, 1, out);
}

#endif
#endif
