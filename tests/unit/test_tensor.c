#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "map.h"
#include "mem.h"
#include "tensor.h"
#include "tensor_rows.h"

#define GOLDEN "tests/golden/quants.bin"
enum { N = 2048 };

/* The order of tests/oracle/quants.py. */
static const enum dtype stored[] = {
	DT_F16, DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1,
	DT_Q4_K, DT_Q5_K, DT_Q6_K
};
enum { N_STORED = sizeof(stored) / sizeof(stored[0]) };

static uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static struct tensor view(enum dtype t, size_t n, const void *data)
{
	struct tensor v = { .name = "v", .type = t, .n_dims = 1,
	                    .shape = { n }, .n = n, .data = data };

	assert_int_equal(dtype_bytes(t, n, &v.n_bytes, NULL), 0);
	return v;
}

static void names_go_both_ways(void **state)
{
	enum dtype t;
	int i;

	(void)state;
	for (i = 0; i < DT_N; i++) {
		assert_int_equal(dtype_parse(dtype_name((enum dtype)i), &t), 0);
		assert_int_equal(t, i);
	}
	assert_null(dtype_name(DT_N));
	assert_int_equal(dtype_parse("q3_k", &t), -1);
	assert_int_equal(dtype_parse("", &t), -1);
}

static void sizes_are_checked(void **state)
{
	struct err e = { 0 };
	size_t n;

	(void)state;
	assert_int_equal(dtype_bytes(DT_Q6_K, 512, &n, &e), 0);
	assert_int_equal(n, 420);
	assert_int_equal(dtype_bytes(DT_Q4_0, 33, &n, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_string_equal(e.msg,
	                    "33 values of q4_0, wanted a multiple of 32");
	assert_int_equal(dtype_bytes(DT_F64, SIZE_MAX / 4, &n, &e), -1);
}

/* Every type, through the dispatched loops and both compilations of them, at
 * an odd address, against the gguf package. */
static void every_type_gives_ggmls_values(void **state)
{
	struct map m;
	const uint8_t *at;
	float *out = mem_scratch(N, sizeof(*out), NULL);
	uint8_t *odd = mem_scratch(4 * N + 1, 1, NULL);
	int i;

	(void)state;
	assert_int_equal(map_open(&m, GOLDEN, NULL), 0);
	at = m.data;
	for (i = 0; i < N_STORED; i++) {
		enum dtype t = stored[i];
		struct tensor v = view(t, N, odd + 1);
		size_t blocks = N / dtype_block(t);
		const uint8_t *want = at + v.n_bytes;

		assert_true((size_t)(want - m.data) + 4 * N <= m.n);
		memcpy(odd + 1, at, v.n_bytes);
		assert_int_equal(tensor_f32(&v, 0, N, out, NULL), 0);
		assert_memory_equal(out, want, 4 * N);
		memset(out, 0, 4 * N);
		tensor_rows_any[t](odd + 1, blocks, out);
		assert_memory_equal(out, want, 4 * N);
#ifdef __x86_64__
		if (__builtin_cpu_supports("avx2")) {
			memset(out, 0, 4 * N);
			tensor_rows_avx2[t](odd + 1, blocks, out);
			assert_memory_equal(out, want, 4 * N);
		}
#endif
		/* a part: the last two blocks */
		assert_int_equal(tensor_f32(&v, N - 2 * dtype_block(t),
		                            2 * dtype_block(t), out, NULL), 0);
		assert_memory_equal(out, want + 4 * (N - 2 * dtype_block(t)),
		                    8 * dtype_block(t));
		at = want + 4 * N;
	}
	assert_int_equal(at - m.data, m.n);
	map_close(&m);
	mem_free(out);
	mem_free(odd);
}

static void ranges_and_types_are_refused(void **state)
{
	struct err e = { 0 };
	uint8_t data[340] = { 0 };
	float out[320];
	struct tensor v = view(DT_Q8_0, 320, data);

	(void)state;
	assert_int_equal(tensor_f32(&v, 0, 352, out, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_int_equal(tensor_f32(&v, SIZE_MAX - 31, 64, out, &e), -1);
	assert_int_equal(tensor_f32(&v, 16, 32, out, &e), -1);
	assert_int_equal(tensor_f32(&v, 32, 16, out, &e), -1);
	assert_int_equal(tensor_f32(&v, 320, 0, out, &e), 0);
	v.type = DT_I64;
	assert_int_equal(tensor_f32(&v, 0, 32, out, &e), -1);
	assert_int_equal(e.code, ERR_FORMAT);
}

static void doubles_and_floats_convert(void **state)
{
	const double d[3] = { 0.1, -1e300, 3 };
	const float f[3] = { 1.5f, -2, 3 };
	float out[3];
	struct tensor v = view(DT_F64, 3, d);

	(void)state;
	assert_int_equal(tensor_f32(&v, 0, 3, out, NULL), 0);
	assert_true(out[0] == 0.1f && isinf(out[1]) && out[2] == 3);
	v = view(DT_F32, 3, f);
	assert_int_equal(tensor_f32(&v, 1, 2, out, NULL), 0);
	assert_true(out[0] == -2 && out[1] == 3);
}

/* The meaning of f16, spelt out. */
static float half_by_definition(uint16_t h)
{
	int exp = h >> 10 & 31, mant = h & 1023;
	float v = exp == 0 ? ldexpf((float)mant, -24) :
	          exp < 31 ? ldexpf((float)(1024 + mant), exp - 25) :
	          mant ? NAN : INFINITY;

	return h & 0x8000 ? -v : v;
}

static void all_16_bit_patterns_convert_and_return(void **state)
{
	uint16_t *in = mem_scratch(65536, 2, NULL);
	uint16_t *back = mem_scratch(65536, 2, NULL);
	float *out = mem_scratch(65536, 4, NULL);
	float *any = mem_scratch(65536, 4, NULL);
	uint32_t i;

	(void)state;
	for (i = 0; i < 65536; i++)
		in[i] = (uint16_t)i;
	f32_from_f16(in, 65536, out);
	tensor_rows_any[DT_F16]((const uint8_t *)in, 65536, any);
	assert_memory_equal(out, any, 4 * 65536);
	f16_from_f32(out, 65536, back);
	for (i = 0; i < 65536; i++) {
		if (isnan(half_by_definition(in[i]))) {
			assert_true(isnan(out[i]));
			assert_int_equal(back[i], in[i] | 0x200);
		} else {
			assert_int_equal(bits(out[i]),
			                 bits(half_by_definition(in[i])));
			assert_int_equal(back[i], in[i]);
		}
	}
	f32_from_bf16(in, 65536, out);
	bf16_from_f32(out, 65536, back);
	for (i = 0; i < 65536; i++) {
		assert_int_equal(bits(out[i]), i << 16);
		assert_int_equal(back[i], isnan(out[i]) ? i | 0x40 : i);
	}
	mem_free(in);
	mem_free(back);
	mem_free(out);
	mem_free(any);
}

/* Between two neighbours of the short type lie a lower half, a tie and an
 * upper half: each must go where nearest-even sends it. */
static void rounding_is_to_nearest_even(void **state)
{
	uint32_t h;

	(void)state;
	for (h = 0; h < 0x7c00; h++) {
		uint16_t pair[2] = { (uint16_t)h, (uint16_t)(h + 1) }, got[3];
		float edge[2], in[3];

		f32_from_f16(pair, 2, edge);
		if (pair[1] == 0x7c00)
			edge[1] = 65536;
		in[1] = (float)(((double)edge[0] + edge[1]) / 2);
		in[0] = nextafterf(in[1], 0);
		in[2] = nextafterf(in[1], INFINITY);
		f16_from_f32(in, 3, got);
		assert_int_equal(got[0], h);
		assert_int_equal(got[1], h & 1 ? h + 1 : h);
		assert_int_equal(got[2], h + 1);
	}
	for (h = 0; h < 0x7f80; h++) {
		const uint32_t u[3] = { h << 16 | 0x7fff, h << 16 | 0x8000,
		                        h << 16 | 0x8001 };
		uint16_t got[3];
		float in[3];

		memcpy(in, u, sizeof(in));
		bf16_from_f32(in, 3, got);
		assert_int_equal(got[0], h);
		assert_int_equal(got[1], h & 1 ? h + 1 : h);
		assert_int_equal(got[2], h + 1);
	}
}

/* Every exponent and sign with mantissas all over, the edges' neighbours. */
static void halves_are_the_same_from_any_processor(void **state)
{
	enum { HALVES = 512 * 515 + 5 };
	float *in = mem_scratch(HALVES, sizeof(*in), NULL);
	uint16_t *got = mem_scratch(HALVES, 2, NULL);
	uint16_t *any = mem_scratch(HALVES, 2, NULL);
	uint32_t u, i;

	(void)state;
	for (i = 0; i < HALVES; i++) {
		u = i % 512 << 23 | (i / 512 * 16411 & 0x7fffff);
		memcpy(&in[i], &u, sizeof(u));
	}
	tensor_back_any.f16(in, HALVES, any);
	f16_from_f32(in, HALVES, got);
	assert_memory_equal(got, any, 2 * HALVES);
	mem_free(in);
	mem_free(got);
	mem_free(any);
}

/* One block, and its bytes by this processor's loops and by anyone's. */
static void block(const float in[32], uint8_t got[34])
{
	uint8_t any[34];

	q8_0_from_f32(in, 32, got);
	tensor_back_any.q8_0(in, 1, any);
	assert_memory_equal(got, any, 34);
}

static void bytes_are_off_by_half_a_step(void **state)
{
	static const float sizes[] = { 1, 1e-3f, 3e-6f, 4e4f, 8e6f };
	float in[32], out[32], top, step;
	uint8_t q[34];
	size_t s, i, round;
	uint32_t seed = 7;

	(void)state;
	for (s = 0; s < 5; s++)
		for (round = 0; round < 300; round++) {
			for (top = 0, i = 0; i < 32; i++) {
				seed = seed * 1664525 + 1013904223;
				in[i] = (float)(int32_t)seed * 0x1p-31f *
				        sizes[s];
				top = fmaxf(top, fabsf(in[i]));
			}
			block(in, q);
			f32_from_q8_0(q, 32, out);
			/* f16 rounds it to 2^-11, or 2^-25 where it is small */
			step = top / 127 * (1 + 0x1p-11f) + 0x1p-25f;
			for (i = 0; i < 32; i++)
				assert_true(fabsf(out[i] - in[i]) <=
				            0.501f * step + 127 * 0x1p-25f);
		}
}

static void bytes_hold_what_they_can(void **state)
{
	float in[45] = { 0 }, out[45];
	uint8_t q[69] = { 0 };
	size_t i;

	(void)state;
	block(in, q);			/* zeros */
	for (i = 0; i < 34; i++)
		assert_int_equal(q[i], 0);
	in[3] = 1e30f;
	in[4] = -1e30f;
	in[5] = 65504 * 2.5f;		/* a tie */
	block(in, q);
	f32_from_q8_0(q, 32, out);
	assert_true(out[3] == 127 * 65504.0f && out[4] == -out[3]);
	assert_true(out[5] == 2 * 65504.0f && out[6] == 0);
	in[3] = 1e-44f;
	in[4] = in[5] = 0;
	block(in, q);			/* too small for a step */
	f32_from_q8_0(q, 32, out);
	assert_true(out[3] == 0);
	in[7] = NAN;
	block(in, q);
	f32_from_q8_0(q, 32, out);
	assert_true(isnan(out[7]) && isnan(out[8]));
	in[7] = -INFINITY;
	block(in, q);
	f32_from_q8_0(q, 32, out);
	assert_true(isnan(out[7]) && isnan(out[8]));
	/* the last block is filled up, and what is behind it stays */
	for (i = 0; i < 45; i++)
		in[i] = (float)i - 20;
	assert_int_equal(q8_0_bytes(45), 68);
	assert_int_equal(q8_0_bytes(0), 0);
	q[68] = 9;
	q8_0_from_f32(in, 44, q);
	assert_int_equal(q[68], 9);
	out[44] = 5;
	f32_from_q8_0(q, 44, out);
	for (i = 0; i < 44; i++)
		assert_true(fabsf(out[i] - in[i]) < 0.11f);
	assert_true(out[44] == 5);
}

static void overflow_becomes_infinity_and_nan_stays(void **state)
{
	float in[20] = { 1e6f, -1e6f, INFINITY, -INFINITY, NAN, 65519, 65520,
	                 1e-10f, -1e-10f };
	const uint32_t quiet_low_nan = 0x7f800001;
	uint16_t got[20];

	(void)state;
	memcpy(&in[19], &quiet_low_nan, 4);
	f16_from_f32(in, 20, got);
	assert_int_equal(got[0], 0x7c00);
	assert_int_equal(got[1], 0xfc00);
	assert_int_equal(got[2], 0x7c00);
	assert_int_equal(got[3], 0xfc00);
	assert_true((got[4] & 0x7fff) > 0x7c00);
	assert_int_equal(got[5], 0x7bff);
	assert_int_equal(got[6], 0x7c00);
	assert_int_equal(got[7], 0);
	assert_int_equal(got[8], 0x8000);
	assert_true((got[19] & 0x7fff) > 0x7c00);
	bf16_from_f32(in, 20, got);
	assert_int_equal(got[3], 0xff80);
	assert_true((got[4] & 0x7fff) > 0x7f80);
	assert_true((got[19] & 0x7fff) > 0x7f80);
}

static void maps_files_and_nothing_else(void **state)
{
	char path[] = "/tmp/r1-test-map-XXXXXX";
	struct err e = { 0 };
	struct map m;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(map_open(&m, path, &e), 0);
	assert_null(m.data);
	assert_int_equal(m.n, 0);
	map_close(&m);
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(map_open(&m, path, &e), 0);
	assert_int_equal(m.n, 3);
	assert_memory_equal(m.data, "abc", 3);
	map_close(&m);
	close(fd);
	unlink(path);
	assert_int_equal(map_open(&m, path, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	assert_int_equal(map_open(&m, "/tmp", &e), -1);
	assert_int_equal(e.code, ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_go_both_ways),
		cmocka_unit_test(sizes_are_checked),
		cmocka_unit_test(every_type_gives_ggmls_values),
		cmocka_unit_test(ranges_and_types_are_refused),
		cmocka_unit_test(doubles_and_floats_convert),
		cmocka_unit_test(all_16_bit_patterns_convert_and_return),
		cmocka_unit_test(rounding_is_to_nearest_even),
		cmocka_unit_test(halves_are_the_same_from_any_processor),
		cmocka_unit_test(bytes_are_off_by_half_a_step),
		cmocka_unit_test(bytes_hold_what_they_can),
		cmocka_unit_test(overflow_becomes_infinity_and_nan_stays),
		cmocka_unit_test(maps_files_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
