#include "tensor.h"

#include <string.h>

#include "mem.h"
#define TENSOR_ROWS_BODY
#include "tensor_rows.h"

static const struct {
	const char *name;
	uint16_t block, bytes;
} types[DT_N] = {
	[DT_F32] = { "f32", 1, 4 },	[DT_F16] = { "f16", 1, 2 },
	[DT_BF16] = { "bf16", 1, 2 },	[DT_F64] = { "f64", 1, 8 },
	[DT_U8] = { "u8", 1, 1 },	[DT_I8] = { "i8", 1, 1 },
	[DT_U16] = { "u16", 1, 2 },	[DT_I16] = { "i16", 1, 2 },
	[DT_U32] = { "u32", 1, 4 },	[DT_I32] = { "i32", 1, 4 },
	[DT_U64] = { "u64", 1, 8 },	[DT_I64] = { "i64", 1, 8 },
	[DT_BOOL] = { "bool", 1, 1 },
	[DT_Q8_0] = { "q8_0", 32, 34 },	[DT_Q4_0] = { "q4_0", 32, 18 },
	[DT_Q4_1] = { "q4_1", 32, 20 },	[DT_Q5_0] = { "q5_0", 32, 22 },
	[DT_Q5_1] = { "q5_1", 32, 24 },	[DT_Q4_K] = { "q4_k", 256, 144 },
	[DT_Q5_K] = { "q5_k", 256, 176 }, [DT_Q6_K] = { "q6_k", 256, 210 },
};

tensor_rows_fn *const tensor_rows_any[DT_N + 1] = TENSOR_ROWS_TABLE;

const struct tensor_back tensor_back_any = TENSOR_BACK;

#ifndef __x86_64__
#define tensor_rows_avx2 tensor_rows_any
#define tensor_back_avx2 tensor_back_any
#endif

static int has_avx2(void)
{
#ifdef __x86_64__
	/* Every processor with AVX2 has F16C; clang 14 cannot ask for it. */
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
	return 0;
#endif
}

static tensor_rows_fn *rows_of(enum dtype t)
{
	return (has_avx2() ? tensor_rows_avx2 : tensor_rows_any)[t];
}

const char *dtype_name(enum dtype t)
{
	return (unsigned)t < DT_N ? types[t].name : NULL;
}

int dtype_parse(const char *name, enum dtype *t)
{
	int i;

	for (i = 0; i < DT_N; i++) {
		if (strcmp(name, types[i].name) == 0) {
			*t = (enum dtype)i;
			return 0;
		}
	}
	return -1;
}

size_t dtype_block(enum dtype t)
{
	return types[t].block;
}

size_t dtype_block_bytes(enum dtype t)
{
	return types[t].bytes;
}

int dtype_bytes(enum dtype t, size_t n, size_t *bytes, struct err *e)
{
	if (n % types[t].block)
		return err_set(e, ERR_RANGE,
		               "%zu values of %s, wanted a multiple of %u",
		               n, types[t].name, types[t].block);
	return mem_mul(n / types[t].block, types[t].bytes, bytes, e);
}

int tensor_f32(const struct tensor *t, size_t first, size_t n, float *out,
               struct err *e)
{
	size_t block = types[t->type].block, bytes = types[t->type].bytes;
	const char *name = t->name ? t->name : "tensor";
	const uint8_t *in = t->data;
	tensor_rows_fn *rows = rows_of(t->type);

	if (t->type != DT_F32 && !rows)
		return err_set(e, ERR_FORMAT,
		               "%s: type %s, wanted floats or quantised floats",
		               name, types[t->type].name);
	if (n > t->n || first > t->n - n)
		return err_set(e, ERR_RANGE,
		               "%s: values %zu to %zu wanted of %zu", name,
		               first, first + n, t->n);
	if (first % block || n % block)
		return err_set(e, ERR_RANGE,
		               "%s: %zu values from %zu wanted, but %s comes "
		               "in blocks of %zu", name, n, first,
		               types[t->type].name, block);
	if (n == 0)
		return 0;
	in += first / block * bytes;
	if (t->type == DT_F32)
		memcpy(out, in, n * sizeof(*out));
	else
		rows(in, n / block, out);
	return 0;
}

void f32_from_bf16(const uint16_t *in, size_t n, float *out)
{
	rows_of(DT_BF16)((const uint8_t *)in, n, out);
}

void f32_from_f16(const uint16_t *in, size_t n, float *out)
{
	rows_of(DT_F16)((const uint8_t *)in, n, out);
}

/* A NaN keeps its sign and top bits and is made quiet, lest the cut turn it
 * into an infinity. */
static inline uint16_t bf16_of(float f)
{
	uint32_t u = f32_bits(f);
	uint32_t near = (u + 0x7fff + (u >> 16 & 1)) >> 16;
	uint32_t nan = u >> 16 | 0x40;

	return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? nan : near);
}

/* Runs of 16 with a constant bound: what gcc -O2 vectorises. */
void bf16_from_f32(const float *in, size_t n, uint16_t *out)
{
	size_t i = 0, j;

	for (; i + 16 <= n; i += 16)
		for (j = 0; j < 16; j++)
			out[i + j] = bf16_of(in[i + j]);
	for (; i < n; i++)
		out[i] = bf16_of(in[i]);
}

static const struct tensor_back *back(void)
{
	return has_avx2() ? &tensor_back_avx2 : &tensor_back_any;
}

void f16_from_f32(const float *in, size_t n, uint16_t *out)
{
	back()->f16(in, n, out);
}

size_t q8_0_bytes(size_t n)
{
	return (n / 32 + (n % 32 != 0)) * types[DT_Q8_0].bytes;
}

void q8_0_from_f32(const float *in, size_t n, uint8_t *out)
{
	size_t whole = n / 32 * 32;
	float last[32] = { 0 };

	back()->q8_0(in, whole / 32, out);
	if (whole == n)
		return;
	memcpy(last, in + whole, (n - whole) * sizeof(*in));
	back()->q8_0(last, 1, out + q8_0_bytes(whole));
}

void f32_from_q8_0(const uint8_t *in, size_t n, float *out)
{
	size_t whole = n / 32 * 32;
	float last[32];

	rows_of(DT_Q8_0)(in, whole / 32, out);
	if (whole == n)
		return;
	rows_of(DT_Q8_0)(in + q8_0_bytes(whole), 1, last);
	memcpy(out + whole, last, (n - whole) * sizeof(*out));
}
