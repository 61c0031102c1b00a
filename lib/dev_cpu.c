#include "dev_cpu.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "dev_cpu_amx.h"
#include "dev_cpu_tc_coarse.h"
#include "mem.h"

enum {
	COPY = 256 << 10,	/* bytes that a thread copies at a time */
	CONVERT = 8192		/* values that it converts, whole blocks */
};

static void *cpu_alloc(struct dev *d, size_t bytes, struct err *e)
{
	(void)d;
	return mem_array(bytes, 1, e);
}

static void cpu_release(struct dev *d, void *p)
{
	(void)d;
	mem_free(p);
}

struct copy {
	void *dst;
	const void *src;
};

static void copy_range(void *ctx, size_t first, size_t count)
{
	const struct copy *c = ctx;

	memcpy((char *)c->dst + first, (const char *)c->src + first, count);
}

static void from_q8_0_range(void *ctx, size_t first, size_t count)
{
	const struct copy *c = ctx;

	f32_from_q8_0((const uint8_t *)c->src + q8_0_bytes(first), count,
	              (float *)c->dst + first);
}

static void to_q8_0_range(void *ctx, size_t first, size_t count)
{
	const struct copy *c = ctx;

	q8_0_from_f32((const float *)c->src + first, count,
	              (uint8_t *)c->dst + q8_0_bytes(first));
}

/* put, get and copy are one thing here: device memory is the host's. What one
 * thread would have the others wait for they do together. */
static int cpu_copy(struct dev *d, void *dst, const void *src, size_t bytes,
                    struct err *e)
{
	struct copy c = { dst, src };

	(void)e;
	dev_cpu_ranges((struct dev_cpu *)d, bytes, COPY, copy_range, &c);
	return 0;
}

static int cpu_put_q8_0(struct dev *d, float *dst, const uint8_t *src, size_t n,
                        struct err *e)
{
	struct copy c = { dst, src };

	(void)e;
	dev_cpu_ranges((struct dev_cpu *)d, n, CONVERT, from_q8_0_range, &c);
	return 0;
}

static int cpu_get_q8_0(struct dev *d, uint8_t *dst, const float *src, size_t n,
                        struct err *e)
{
	struct copy c = { dst, src };

	(void)e;
	dev_cpu_ranges((struct dev_cpu *)d, n, CONVERT, to_q8_0_range, &c);
	return 0;
}

static int cpu_sync(struct dev *d, struct err *e)
{
	(void)d;
	(void)e;
	return 0;
}

static int cpu_place(struct dev *d, struct tensor *t, void **own,
                     struct err *e)
{
	(void)d;
	(void)t;
	(void)e;
	*own = NULL;
	return 0;
}

int dev_cpu_scratch_need(struct dev_cpu *c, size_t bytes, struct err *e)
{
	int i;

	if (bytes <= c->scratch_bytes)
		return 0;
	c->scratch_bytes = 0;
	for (i = 0; i < par_threads(c->base.pool); i++) {
		mem_free(c->scratch[i]);
		c->scratch[i] = mem_scratch(bytes, 1, e);
		if (!c->scratch[i])
			return -1;
	}
	c->scratch_bytes = bytes;
	return 0;
}

struct ranges {
	dev_cpu_range_fn *fn;
	void *ctx;
	size_t n, grain;
};

static void ranges_item(void *ctx, size_t item, int thread)
{
	const struct ranges *r = ctx;
	size_t first = item * r->grain, left = r->n - first;

	(void)thread;
	r->fn(r->ctx, first, left < r->grain ? left : r->grain);
}

void dev_cpu_ranges(struct dev_cpu *c, size_t n, size_t grain,
                    dev_cpu_range_fn *fn, void *ctx)
{
	struct ranges r = { fn, ctx, n, grain };

	par_for(c->base.pool, n / grain + (n % grain != 0), ranges_item, &r);
}

size_t dev_cpu_grain(size_t row_values)
{
	size_t rows = row_values ? 16384 / row_values : 16384;

	return rows ? rows : 1;
}

static enum dev_precision cpu_precision(struct dev *d, enum dev_precision p)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	enum dev_precision was = c->precision;

	c->precision = p;
	return was;
}

static int cpu_as_stored(const struct dev *d, enum dtype t)
{
	const struct dev_cpu *c = (const struct dev_cpu *)d;

	return dev_cpu_stored(c) && !c->amx && dev_cpu_q8_type(t);
}

static const struct dev_ops ops = {
	.name = "cpu",
	.tc = &dev_cpu_tc,
	.attr = &dev_cpu_attr,
	.back = &dev_cpu_back,
	.alloc = cpu_alloc,
	.release = cpu_release,
	.put = cpu_copy,
	.get = cpu_copy,
	.put_q8_0 = cpu_put_q8_0,
	.get_q8_0 = cpu_get_q8_0,
	.copy = cpu_copy,
	.sync = cpu_sync,
	.place = cpu_place,
	.precision = cpu_precision,
	.as_stored = cpu_as_stored,
	.gemm = dev_cpu_gemm,
	.linear = dev_cpu_linear,
	.gemm_keeps = dev_cpu_gemm_keeps,
	.linear_keeps = dev_cpu_linear_keeps,
	.embed = dev_cpu_embed,
	.rmsnorm = dev_cpu_rmsnorm,
	.rope_table = dev_cpu_rope_table,
	.rope = dev_cpu_rope,
	.attention = dev_cpu_attention,
	.silu_mul = dev_cpu_silu_mul,
	.axpy = dev_cpu_axpy,
	.xent = dev_cpu_xent,
};

static void cpu_free(struct dev *d)
{
	struct dev_cpu *c = (struct dev_cpu *)d;
	int i;

	if (c->scratch)
		for (i = 0; i < par_threads(c->base.pool); i++)
			mem_free(c->scratch[i]);
	mem_free(c->scratch);
	mem_free(c->packed);
	par_free(c->base.pool);
	mem_free(c);
}

void dev_cpu_limit(struct dev *d, int level)
{
	struct dev_cpu *c = (struct dev_cpu *)d;

	c->amx = level > 2 && dev_cpu_amx_ready();
	c->mm = dev_cpu_mm_level(level);
	c->q8 = dev_cpu_q8_level(level);
	c->q16 = dev_cpu_q16_level(level);
	c->coarse = dev_cpu_tc_coarse_level(level);
	for (c->vec = NULL; !c->vec; level--)
		c->vec = vec_level(level > 2 ? 2 : level);
}

/* R1_ISA=portable, avx2 or avx512 keeps to those instructions, for comparing
 * machines; BLAS has its own variable, OPENBLAS_CORETYPE. */
static int isa_level(void)
{
	static const char *const names[] = { "portable", "avx2", "avx512" };
	const char *want = getenv("R1_ISA");
	int i;

	for (i = 0; want && i < 3; i++)
		if (strcmp(want, names[i]) == 0)
			return i;
	return 3;
}

struct dev *dev_cpu_new(int n_threads, struct err *e)
{
	struct dev_cpu *c = mem_array(1, sizeof(*c), e);

	if (!c)
		return NULL;
	c->base.ops = &ops;
	c->base.free = cpu_free;
	c->amx = dev_cpu_amx_ready();	/* before there are threads */
	c->base.pool = par_new(n_threads, e);
	if (!c->base.pool)
		goto fail;
	c->scratch = mem_array((size_t)n_threads, sizeof(*c->scratch), e);
	if (!c->scratch)
		goto fail;
	openblas_set_num_threads(1);
	dev_cpu_limit(&c->base, isa_level());
	return &c->base;
fail:
	cpu_free(&c->base);
	return NULL;
}
