#include <math.h>
#include <string.h>

#include "dev_cpu.h"
#include "dev_ref.h"

#define DEV_THREADS 1, 2, 3, 5
#include "dev_cases.h"

static float *copy_of(const float *x, size_t n)
{
	float *y = mem_scratch(n, sizeof(*y), &e);

	assert_non_null(y);
	memcpy(y, x, n * sizeof(*y));
	return y;
}

/* |got - want| <= atol + rtol |want| for every value; NaN fails. */
static void close_to(const float *got, const float *want, size_t n, double atol,
                     double rtol)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!(fabs((double)got[i] - want[i]) <=
		      atol + rtol * fabs(want[i])))
			fail_msg("value %zu of %zu: %g, wanted %g", i, n,
			         got[i], want[i]);
}

/* First device: against want. The others: the first's bytes. */
static void check(int device, float **first, float *got, const float *want,
                  size_t n, double atol, double rtol)
{
	if (device == 0) {
		close_to(got, want, n, atol, rtol);
		*first = got;
		return;
	}
	assert_memory_equal(got, *first, n * sizeof(*got));
	mem_free(got);
}

static const size_t sizes[][3] = {
	{ 1, 1, 1 }, { 1, 7, 3 }, { 3, 1, 5 }, { 5, 17, 64 }, { 16, 16, 16 },
	{ 4, 33, 31 }, { 127, 129, 65 }, { 513, 130, 19 }, { 40, 1030, 70 },
	{ 0, 4, 4 }, { 4, 0, 4 }, { 4, 4, 0 }, { 45, 50, 800 }
};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void limit_devs(int level)
{
	int i;

	for (i = 0; i < N_DEVS; i++)
		dev_cpu_limit(devs[i], level);
}

static void check_gemm(void)
{
	size_t s;
	int t, i;

	for (s = 0; s < N_SIZES; s++)
		for (t = 0; t < 8; t++) {
			size_t m = sizes[s][0], n = sizes[s][1];
			size_t k = sizes[s][2], ldc = n + 3;
			int ta = t & 1, tb = t >> 1 & 1;
			float alpha = t & 4 ? 1 : -0.5f, beta = t & 4 ? 0
				: s % 2 ? 2 : 1;
			size_t lda = (ta ? m : k) + 1, ldb = (tb ? k : n) + 2;
			float *a = noise(lda * (ta ? k : m) + 1, 1);
			float *b = noise(ldb * (tb ? n : k) + 1, 2);
			float *c = noise(m * ldc, 3), *first = NULL;
			float *want;

			if (beta == 0)	/* must not be read */
				for (i = 0; (size_t)i < m; i++)
					memset(c + (size_t)i * ldc, 255,
					       n * sizeof(*c));
			want = copy_of(c, m * ldc);
			dev_ref_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb,
			             beta, want, ldc);
			for (i = 0; i < N_DEVS; i++) {
				float *got = copy_of(c, m * ldc);

				assert_int_equal(dev_ops(devs[i])->gemm(
					devs[i], ta, tb, m, n, k, alpha, a,
					lda, b, ldb, beta, got, ldc, &e), 0);
				check(i, &first, got, want, m * ldc, 1e-5,
				      1e-5);
			}
			mem_free(first);
			mem_free(want);
			mem_free(a);
			mem_free(b);
			mem_free(c);
		}
}

static void gemm_is_the_loop(void **state)
{
	int level;

	(void)state;
	for (level = 0; level <= 3; level++) {
		limit_devs(level);
		check_gemm();
	}
}

/* w [d_out, d_in] of the type given, from noise; its values as f32 in *f32. */
static struct tensor weight(enum dtype type, size_t d_out, size_t d_in,
                            float **f32)
{
	struct tensor w = { .name = "w", .type = type, .n_dims = 2,
		.shape = { d_out, d_in }, .n = d_out * d_in };
	uint8_t *raw;
	size_t j;

	assert_int_equal(dtype_bytes(type, w.n, &w.n_bytes, &e), 0);
	raw = mem_array(w.n_bytes, 1, &e);
	*f32 = noise(w.n, 6);
	if (type == DT_F16)
		f16_from_f32(*f32, w.n, (uint16_t *)raw);
	else if (type == DT_BF16)
		bf16_from_f32(*f32, w.n, (uint16_t *)raw);
	else if (type == DT_F32)
		memcpy(raw, *f32, w.n_bytes);
	else	/* Q8_0: blocks of one f16 scale, 0x2400 = 1/64, and 32 i8 */
		for (j = 0; j < w.n_bytes; j++)
			raw[j] = j % 34 == 0 ? 0 : j % 34 == 1 ? 0x24 :
				 (uint8_t)(j * 7);
	w.data = raw;
	assert_int_equal(tensor_f32(&w, 0, w.n, *f32, &e), 0);
	return w;
}

static void linear_case(enum dtype type, const size_t *size, int with_bias)
{
	size_t block = dtype_block(type), n = size[0], d_out = size[1];
	size_t d_in = (size[2] + block - 1) / block * block;
	float *wf, *x = noise(n * d_in, 5), *bias = noise(d_out, 7);
	float *want = noise(n * d_out, 8), *first = NULL;
	struct tensor w = weight(type, d_out, d_in, &wf);
	struct dev_linear l = { &w, with_bias ? bias : NULL, NULL };
	int i;

	dev_ref_linear(x, n, wf, d_out, d_in, l.bias, want);
	for (i = 0; i < N_DEVS; i++) {
		l.out = noise(n * d_out, 9);
		assert_int_equal(dev_ops(devs[i])->linear(devs[i], x, n, &l, 1,
		                                          &e), 0);
		check(i, &first, l.out, want, n * d_out, 1e-5 * (1 + (double)
		      d_in / 3) * (type == DT_Q8_0 ? 2 : 1), 0);
	}
	mem_free(first);
	mem_free(want);
	mem_free((void *)w.data);
	mem_free(bias);
	mem_free(wf);
	mem_free(x);
}

static void linear_takes_every_dtype_and_bias(void **state)
{
	static const enum dtype types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0 };
	/* inputs enough for AMX where there is one */
	static const size_t wide[][3] = {
		{ 16, 1, 256 }, { 33, 130, 257 }, { 47, 15, 300 },
		{ 100, 260, 319 }
	};
	size_t s, ty;
	int level;

	(void)state;
	for (level = 0; level <= 3; level++) {
		limit_devs(level);
		for (ty = 0; ty < sizeof(types) / sizeof(*types); ty++) {
			for (s = 0; s < N_SIZES; s++) {
				linear_case(types[ty], sizes[s], 0);
				linear_case(types[ty], sizes[s], 1);
			}
			for (s = 0; s < 4; s++)
				linear_case(types[ty], wide[s], (int)s & 1);
		}
	}
}

static void linear_takes_several_weights(void **state)
{
	enum { D_IN = 270 };
	static const size_t rows[] = { 1, 4, 5, 33, 300 };
	size_t r;
	int level;

	(void)state;
	for (level = 0; level <= 3; level++)
		for (r = 0; r < 5; r++) {
			float *f[2], *x = noise(rows[r] * D_IN, 1);
			struct tensor w[2] = {
				weight(DT_F32, 200, D_IN, &f[0]),
				weight(DT_BF16, 37, D_IN, &f[1])
			};
			struct dev_linear l[2] = {
				{ &w[0], f[1], noise(rows[r] * 200, 2) },
				{ &w[1], NULL, noise(rows[r] * 37, 2) }
			};
			size_t i;

			limit_devs(level);
			assert_int_equal(dev_ops(devs[1])->linear(devs[1], x,
				rows[r], l, 2, &e), 0);
			for (i = 0; i < 2; i++) {
				size_t n = rows[r] * w[i].shape[0];
				float *both = copy_of(l[i].out, n);

				assert_int_equal(dev_ops(devs[2])->linear(
					devs[2], x, rows[r], &l[i], 1, &e), 0);
				assert_memory_equal(both, l[i].out,
				                    n * sizeof(*both));
				mem_free(both);
				mem_free(l[i].out);
				mem_free((void *)w[i].data);
				mem_free(f[i]);
			}
			mem_free(x);
		}
}

/* The promise of struct dev_linear, at sizes of a model. */
static void linear_is_exact_to_its_promise(void **state)
{
	enum { N = 64, OUT = 96, IN = 1536 };
	float *wf, *x = noise(N * IN, 5), *want = noise(N * OUT, 8);
	struct tensor w = weight(DT_F32, OUT, IN, &wf);
	struct dev_linear l = { &w, NULL, noise(N * OUT, 9) };
	double worst = 0, norms = IN / 3.0;	/* of uniform noise */
	int level, i;

	(void)state;
	dev_ref_linear(x, N, wf, OUT, IN, NULL, want);
	for (level = 0; level <= 3; level += 3) {
		limit_devs(level);
		assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, N, &l, 1,
		                                          &e), 0);
		for (i = 0; i < N * OUT; i++)
			worst = fmax(worst, fabs(l.out[i] - want[i]));
		assert_true(worst < 1e-5 * norms);
		/* or f32 exactness, where that is asked for */
		assert_int_equal(dev_ops(devs[0])->precision(devs[0],
			DEV_EXACT), DEV_NEAR);
		assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, N, &l, 1,
		                                          &e), 0);
		assert_int_equal(dev_ops(devs[0])->precision(devs[0],
			DEV_NEAR), DEV_EXACT);
		for (worst = 0, i = 0; i < N * OUT; i++)
			worst = fmax(worst, fabs(l.out[i] - want[i]));
		assert_true(worst < 1e-7 * norms);
	}
	mem_free(l.out);
	mem_free((void *)w.data);
	mem_free(wf);
	mem_free(want);
	mem_free(x);
}

static void linear_refuses_what_is_no_matrix(void **state)
{
	float x[64] = { 0 }, out[64];
	uint32_t ints[64] = { 0 };
	struct tensor w = { .name = "w", .type = DT_U32, .n_dims = 2,
		.shape = { 2, 4 }, .n = 8, .data = ints, .n_bytes = 32 };
	struct tensor other = w;
	struct dev_linear l[2] = { { &w, NULL, out }, { &other, NULL, out } };

	(void)state;
	assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, 1, l, 1, &e),
	                 -1);
	w.n_dims = 1;
	assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, 1, l, 1, &e),
	                 -1);
	assert_int_equal(e.code, ERR_RANGE);
	w = (struct tensor){ .name = "w", .type = DT_Q8_0, .n_dims = 2,
		.shape = { 2, 20 }, .n = 40, .data = ints, .n_bytes = 68 };
	assert_int_equal(e.code, ERR_RANGE);
	w.type = other.type = DT_F32;
	other.shape[1] = 19;	/* another number of inputs */
	assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, 1, l, 2, &e),
	                 -1);
	w.type = DT_Q8_0;
	assert_int_equal(dev_ops(devs[0])->linear(devs[0], x, 1, l, 1, &e),
	                 -1);
	assert_int_equal(e.code, ERR_RANGE);
}

static void embed_gathers_rows_and_checks_ids(void **state)
{
	const struct dev_ops *o = dev_ops(devs[1]);
	uint32_t ids[] = { 2, 0, 2, 4 };
	float *w = noise(5 * 7, 1), out[4 * 7];
	struct tensor t = { .name = "emb", .type = DT_F32, .n_dims = 2,
		.shape = { 5, 7 }, .n = 35, .data = w, .n_bytes = 140 };
	size_t i;

	(void)state;
	assert_int_equal(o->embed(devs[1], &t, ids, 4, out, &e), 0);
	for (i = 0; i < 4; i++)
		assert_memory_equal(out + i * 7, w + ids[i] * 7, 28);
	ids[3] = 5;
	assert_int_equal(o->embed(devs[1], &t, ids, 4, out, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_string_equal(e.msg, "token 3: id 5, the vocabulary has 5");
	mem_free(w);
}

static void row_ops_are_the_loops(void **state)
{
	static const size_t dims[] = { 2, 6, 20, 64, 130 };
	size_t t, n, dim;
	int i;

	(void)state;
	for (t = 0; t < 5; t++)
		for (n = 0; n < 700; n += 333) {
			float *x, *w, *want, *inv, *got, *cs, *freq;
			float *f0 = NULL, *f1 = NULL, *f2 = NULL, *f3 = NULL;
			uint32_t *pos;
			size_t j, heads = 3;

			dim = dims[t];
			x = noise(n * heads * dim, 1);
			w = noise(dim, 2);
			freq = noise(dim, 3);
			want = copy_of(x, n * heads * dim);
			inv = noise(n + 1, 4);
			cs = noise(n * dim, 4);
			pos = mem_array(n, sizeof(*pos), &e);
			for (j = 0; j < n; j++)
				pos[j] = (uint32_t)(j * 37);
			for (i = 0; i < N_DEVS; i++) {
				const struct dev_ops *o = dev_ops(devs[i]);

				dev_ref_rmsnorm(x, n, dim, w, 1e-5f, want, inv);
				got = copy_of(x, n * dim);
				assert_int_equal(o->rmsnorm(devs[i], got, n,
					dim, w, 1e-5f, got, NULL, &e), 0);
				check(i, &f0, got, want, n * dim, 1e-6, 1e-5);

				dev_ref_rope_table(pos, n, freq, dim, cs);
				got = copy_of(cs, n * dim);
				assert_int_equal(o->rope_table(devs[i], pos, n,
					freq, dim, got, &e), 0);
				check(i, &f1, got, cs, n * dim, 1e-6, 0);

				memcpy(want, x, n * heads * dim * sizeof(*x));
				dev_ref_rope(want, n, heads, dim, cs);
				got = copy_of(x, n * heads * dim);
				assert_int_equal(o->rope(devs[i], got, n,
					heads, dim, cs, &e), 0);
				check(i, &f2, got, want, n * heads * dim, 1e-6,
				      0);

				memcpy(want, x, n * dim * sizeof(*x));
				dev_ref_silu_mul(want, cs, n * dim);
				got = copy_of(x, n * dim);
				assert_int_equal(o->silu_mul(devs[i], got, cs,
					n * dim, &e), 0);
				check(i, &f3, got, want, n * dim, 1e-7, 1e-6);
			}
			mem_free(f0);
			mem_free(f1);
			mem_free(f2);
			mem_free(f3);
			mem_free(x);
			mem_free(w);
			mem_free(want);
			mem_free(inv);
			mem_free(cs);
			mem_free(freq);
			mem_free(pos);
		}
}

static void silu_holds_at_the_ends(void **state)
{
	float g[] = { -INFINITY, -1e30f, -100, 0, 100, 1e30f, NAN }, u[7];
	int i;

	(void)state;
	for (i = 0; i < 7; i++)
		u[i] = 1;
	assert_int_equal(dev_ops(devs[0])->silu_mul(devs[0], g, u, 7, &e), 0);
	assert_true(fabsf(g[2]) < 1e-30f && g[3] == 0 && g[4] == 100);
	assert_true(g[5] == 1e30f && isnan(g[6]));
}

static void axpy_adds(void **state)
{
	float *x = noise(40000, 1), *y = noise(40000, 2), *z;
	int i, j;

	(void)state;
	for (i = 0; i < N_DEVS; i++) {
		z = copy_of(y, 40000);
		assert_int_equal(dev_ops(devs[i])->axpy(devs[i], 0.5f, x, z,
		                                        40000, &e), 0);
		for (j = 0; j < 40000; j++)
			assert_true(z[j] == y[j] + 0.5f * x[j]);
		mem_free(z);
	}
	mem_free(x);
	mem_free(y);
}

struct attn_case {
	size_t n_heads, n_kv, d_head;
	size_t n_seqs, len[4], past[4];
};

static void attention_at(int level)
{
	static const struct attn_case cases[] = {
		{ 1, 1, 1, 1, { 1 }, { 0 } },
		{ 4, 2, 16, 3, { 5, 1, 70 }, { 0, 0, 0 } },
		{ 9, 3, 24, 2, { 130, 64 }, { 0, 0 } },
		{ 2, 2, 8, 2, { 700, 513 }, { 0, 0 } },
		{ 14, 2, 10, 4, { 1, 1, 3, 0 }, { 1030, 511, 512, 2 } },
		{ 3, 1, 33, 2, { 300, 41 }, { 530, 1 } },
	};
	size_t c, i, j;

	limit_devs(level);
	for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		const struct attn_case *a = &cases[c];
		size_t start[5] = { 0 }, kv[4], rows = 0;
		struct dev_seqs s = { a->n_seqs, start, a->past };
		float *q, *k, *v, *want, *first = NULL;
		size_t n_q, n_kv_values;

		for (i = 0; i < a->n_seqs; i++) {
			start[i + 1] = start[i] + a->len[i];
			kv[i] = rows;	/* a gap of 2 rows between sequences */
			rows += a->len[i] + a->past[i] + 2;
		}
		n_q = start[a->n_seqs] * a->n_heads * a->d_head;
		n_kv_values = rows * a->n_kv * a->d_head;
		q = noise(n_q, 1);
		k = noise(n_kv_values, 2);
		v = noise(n_kv_values, 3);
		for (j = 0; j < n_q; j++)
			q[j] *= 8;
		want = noise(n_q, 4);
		dev_ref_attention(q, k, v, &s, kv, a->n_heads, a->n_kv,
		                  a->d_head, 0.7f, want);
		for (i = 0; i < N_DEVS; i++) {
			float *got = noise(n_q, 5);

			assert_int_equal(dev_ops(devs[i])->attention(devs[i],
				q, k, v, &s, kv, a->n_heads, a->n_kv,
				a->d_head, 0.7f, got, &e), 0);
			check((int)i, &first, got, want, n_q, 2e-5, 0);
		}
		mem_free(first);
		mem_free(want);
		mem_free(q);
		mem_free(k);
		mem_free(v);
	}
}

static void attention_is_the_loop(void **state)
{
	int level;

	(void)state;
	for (level = 0; level <= 3; level++)
		attention_at(level);
}

/* out[0..1] = a product and attention on devs[1], at the level given. */
static void packed_ops(int level, const struct dev_linear *l, const float *x,
                       size_t n, float *attn)
{
	size_t start[] = { 0, n };
	struct dev_seqs s = { 1, start, NULL };

	dev_cpu_limit(devs[1], level);
	assert_int_equal(dev_ops(devs[1])->linear(devs[1], x, n, l, 1, &e), 0);
	assert_int_equal(dev_ops(devs[1])->attention(devs[1], x, x, x, &s,
		NULL, 10, 10, 40, 0.5f, attn, &e), 0);
}

static void avx2_and_avx512_give_the_same_bytes(void **state)
{
	enum { N = 281, D = 400, D_OUT = 450 };
	float *wf, *x, *out[2], *attn[2];
	struct tensor w;
	int i;

	(void)state;
	if (!dev_cpu_mm_level(1) ||
	    dev_cpu_mm_level(1) == dev_cpu_mm_level(2))
		skip();
	x = noise((size_t)N * D, 1);
	w = weight(DT_F32, D_OUT, D, &wf);
	for (i = 0; i < 2; i++) {
		struct dev_linear l = { &w, wf, noise((size_t)N * D_OUT, 2) };

		out[i] = l.out;
		attn[i] = noise((size_t)N * D, 3);
		packed_ops(1 + i, &l, x, N, attn[i]);
	}
	assert_memory_equal(out[0], out[1], (size_t)N * D_OUT * sizeof(float));
	assert_memory_equal(attn[0], attn[1], (size_t)N * D * sizeof(float));
	for (i = 0; i < 2; i++) {
		mem_free(out[i]);
		mem_free(attn[i]);
	}
	mem_free((void *)w.data);
	mem_free(wf);
	mem_free(x);
}

static void attention_refuses_uneven_groups(void **state)
{
	size_t start[] = { 0, 0 };
	struct dev_seqs s = { 1, start, NULL };

	(void)state;
	assert_int_equal(dev_ops(devs[0])->attention(devs[0], NULL, NULL, NULL,
		&s, NULL, 3, 2, 4, 1, NULL, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
}

static void xent_is_the_loop(void **state)
{
	enum { N = 5, V = 2500 };
	uint32_t targets[N] = { 0, V - 1, UINT32_MAX, 7, 1200 };
	double ce[N], kl[N], want_ce[N], want_kl[N];
	uint8_t top1[N], want_top1[N];
	float *x = noise(N * V, 1), *r = noise(N * V, 2);
	size_t i, j, with_ref;

	(void)state;
	for (j = 0; j < N * V; j++)
		x[j] *= 12;
	for (j = 0; j < 2 * V; j++)	/* near, so that KL is small */
		r[j] = x[j] + 1e-2f * r[j];
	r[V + 3] = 99;
	x[2 * V] = x[2 * V + 9] = r[2 * V] = r[2 * V + 4] = 50;	/* ties */
	for (with_ref = 0; with_ref < 2; with_ref++) {
		dev_ref_xent(x, with_ref ? r : NULL, N, V, targets, want_ce,
		             want_kl, want_top1);
		for (i = 0; i < N_DEVS; i++) {
			assert_int_equal(dev_ops(devs[i])->xent(devs[i], x,
				with_ref ? r : NULL, N, V, targets, ce, kl,
				top1, &e), 0);
			for (j = 0; j < N; j++) {
				assert_true(fabs(ce[j] - want_ce[j]) < 1e-6);
				if (!with_ref)
					continue;
				assert_true(fabs(kl[j] - want_kl[j]) <
				            1e-7 + 1e-6 * want_kl[j]);
				assert_int_equal(top1[j], want_top1[j]);
			}
		}
	}
	assert_true(top1[0] && !top1[1] && top1[2]);
	targets[3] = V;
	assert_int_equal(dev_ops(devs[0])->xent(devs[0], x, NULL, N, V, targets,
	                                        ce, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	targets[3] = 3;
	x[3 * V + 1] = NAN;
	assert_int_equal(dev_ops(devs[0])->xent(devs[0], x, NULL, N, V, targets,
	                                        ce, NULL, NULL, &e), 0);
	assert_true(isnan(ce[3]) && !isnan(ce[4]));
	mem_free(x);
	mem_free(r);
}

static void memory_goes_there_and_back(void **state)
{
	const struct dev_ops *o = dev_ops(devs[0]);
	uint32_t a[3] = { 1, 2, 3 }, b[3] = { 0 };
	uint32_t *p = o->alloc(devs[0], sizeof(a), &e);
	uint32_t *q = o->alloc(devs[0], sizeof(a), &e);

	(void)state;
	assert_non_null(p);
	assert_int_equal(o->get(devs[0], b, p, sizeof(b), &e), 0);
	assert_int_equal(b[2], 0);	/* zeroed */
	assert_int_equal(o->put(devs[0], p, a, sizeof(a), &e), 0);
	assert_int_equal(o->copy(devs[0], q, p, sizeof(a), &e), 0);
	assert_int_equal(o->sync(devs[0], &e), 0);
	assert_int_equal(o->get(devs[0], b, q, sizeof(b), &e), 0);
	assert_memory_equal(a, b, sizeof(a));
	o->release(devs[0], p);
	o->release(devs[0], q);
}

/* More than one thread's share, and none of what is beside it. */
static void large_memory_goes_whole(void **state)
{
	enum { BYTES = (900 << 10) + 5 };
	char *a = mem_scratch(BYTES, 1, &e), *b = mem_scratch(BYTES + 1, 1, &e), *p;
	int i, j;

	(void)state;
	for (j = 0; j < BYTES; j++)
		a[j] = (char)(j * 31 + j / 4096);
	for (i = 0; i < N_DEVS; i++) {
		const struct dev_ops *o = dev_ops(devs[i]);

		memset(b, 1, BYTES + 1);
		p = o->alloc(devs[i], BYTES, &e);
		assert_non_null(p);
		assert_int_equal(o->put(devs[i], p, a, BYTES, &e), 0);
		assert_int_equal(o->get(devs[i], b, p, BYTES, &e), 0);
		assert_memory_equal(a, b, BYTES);
		assert_int_equal(b[BYTES], 1);
		o->release(devs[i], p);
	}
	mem_free(a);
	mem_free(b);
}

/* As the conversions of tensor.h, more than one thread's share. */
static void bytes_go_there_and_back(void **state)
{
	enum { VALUES = 70001 };
	const size_t bytes = q8_0_bytes(VALUES);
	float *a = mem_scratch(VALUES, sizeof(*a), &e), *p;
	float *b = mem_scratch(VALUES, sizeof(*b), &e);
	float *c = mem_scratch(VALUES, sizeof(*c), &e);
	uint8_t *q = mem_scratch(bytes + 1, 1, &e);
	uint8_t *want = mem_scratch(bytes, 1, &e);
	int i, j;

	(void)state;
	for (j = 0; j < VALUES; j++)
		a[j] = (float)(j - 30000) * (j % 3 ? 1e-3f : 3);
	q8_0_from_f32(a, VALUES, want);
	f32_from_q8_0(want, VALUES, c);
	for (i = 0; i < N_DEVS; i++) {
		const struct dev_ops *o = dev_ops(devs[i]);

		memset(q, 1, bytes + 1);
		p = o->alloc(devs[i], VALUES * sizeof(*p), &e);
		assert_non_null(p);
		assert_int_equal(o->put(devs[i], p, a, VALUES * sizeof(*a), &e),
		                 0);
		assert_int_equal(o->get_q8_0(devs[i], q, p, VALUES, &e), 0);
		assert_memory_equal(q, want, bytes);
		assert_int_equal(q[bytes], 1);
		assert_int_equal(o->put_q8_0(devs[i], p, q, VALUES, &e), 0);
		assert_int_equal(o->get(devs[i], b, p, VALUES * sizeof(*b), &e),
		                 0);
		assert_memory_equal(b, c, VALUES * sizeof(*b));
		o->release(devs[i], p);
	}
	mem_free(a);
	mem_free(b);
	mem_free(c);
	mem_free(q);
	mem_free(want);
}

static void absent_devices_say_so(void **state)
{
	(void)state;
	assert_null(dev_open("tpu", 1, &e));
	assert_int_equal(e.code, ERR_DEV);
	assert_null(dev_open("cpu", 0, &e));
	if (!dev_open("cuda", 1, &e)) {
		assert_int_equal(e.code, ERR_DEV);
		assert_non_null(strstr(e.msg, "--device cpu"));
	}
	dev_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gemm_is_the_loop),
		cmocka_unit_test(linear_takes_every_dtype_and_bias),
		cmocka_unit_test(linear_takes_several_weights),
		cmocka_unit_test(linear_is_exact_to_its_promise),
		cmocka_unit_test(linear_refuses_what_is_no_matrix),
		cmocka_unit_test(embed_gathers_rows_and_checks_ids),
		cmocka_unit_test(row_ops_are_the_loops),
		cmocka_unit_test(silu_holds_at_the_ends),
		cmocka_unit_test(axpy_adds),
		cmocka_unit_test(attention_is_the_loop),
		cmocka_unit_test(avx2_and_avx512_give_the_same_bytes),
		cmocka_unit_test(attention_refuses_uneven_groups),
		cmocka_unit_test(xent_is_the_loop),
		cmocka_unit_test(memory_goes_there_and_back),
		cmocka_unit_test(large_memory_goes_whole),
		cmocka_unit_test(bytes_go_there_and_back),
		cmocka_unit_test(absent_devices_say_so),
	};

	return cmocka_run_group_tests(tests, open_devs, close_devs);
}
