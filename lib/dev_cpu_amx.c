/* Compiled with AMX and AVX512-BF16 on x86-64; elsewhere never ready. */
#include "dev_cpu_amx.h"

#if defined(__x86_64__) && defined(__AMX_BF16__)

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILE_DATA = 18 };

/* Not every compiler's __builtin_cpu_supports knows these three. */
static int has_amx(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
	    !(d & bit_AMX_BF16) || !(d & bit_AMX_TILE))
		return 0;
	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVX512BF16);
}

int dev_cpu_amx_ready(void)
{
	return has_amx() && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") &&
	       syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM,
	               XFEATURE_TILE_DATA) == 0;
}

/* Eight tiles of 16 rows of 64 bytes. */
static const struct {
	uint8_t palette, start_row, zero[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} shape = {
	.palette = 1,
	.row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
	.rows = { 16, 16, 16, 16, 16, 16, 16, 16 }
};

void dev_cpu_amx_begin(void)
{
	_tile_loadconfig(&shape);
}

void dev_cpu_amx_end(void)
{
	_tile_release();
}

/* 32 values of row p from column j of k, as hi and lo. */
static inline void split(const float *p, size_t j, size_t k, __m512i *hi,
                         __m512i *lo)
{
	size_t left = k - j;
	__mmask16 m0 = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
	__mmask16 m1 = left >= 32 ? 0xffff : left <= 16 ? 0 :
		(__mmask16)((1u << (left - 16)) - 1);
	__m512 a = _mm512_maskz_loadu_ps(m0, p + j);
	__m512 b = _mm512_maskz_loadu_ps(m1, p + j + 16);
	__m512i h = (__m512i)_mm512_cvtne2ps_pbh(b, a), ha, hb;

	ha = _mm512_slli_epi32(_mm512_cvtepu16_epi32(
		_mm512_castsi512_si256(h)), 16);
	hb = _mm512_slli_epi32(_mm512_cvtepu16_epi32(
		_mm512_extracti64x4_epi64(h, 1)), 16);
	*hi = h;
	*lo = (__m512i)_mm512_cvtne2ps_pbh(
		_mm512_sub_ps(b, _mm512_castsi512_ps(hb)),
		_mm512_sub_ps(a, _mm512_castsi512_ps(ha)));
}

void dev_cpu_amx_pack_left(const float *x, size_t ld, size_t n, size_t k,
                           uint16_t *out)
{
	size_t i, j;
	__m512i hi, lo;

	for (j = 0; j < k; j += AMX_COLS, out += 2 * AMX_BLOCK) {
		for (i = 0; i < n; i++) {
			split(x + i * ld, j, k, &hi, &lo);
			_mm512_storeu_si512(out + i * AMX_COLS, hi);
			_mm512_storeu_si512(out + AMX_BLOCK + i * AMX_COLS, lo);
		}
		for (; i < AMX_ROWS; i++) {
			memset(out + i * AMX_COLS, 0, 64);
			memset(out + AMX_BLOCK + i * AMX_COLS, 0, 64);
		}
	}
}

/* Transposes 16 x 16 pairs of values. */
static inline void transpose(__m512i r[16], uint16_t *out)
{
	__m512i t[16];
	int i;

	for (i = 0; i < 8; i++) {
		t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
	}
	for (i = 0; i < 4; i++) {
		r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
		r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
		r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1],
		                                     t[4 * i + 3]);
		r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1],
		                                     t[4 * i + 3]);
	}
	for (i = 0; i < 4; i++) {	/* 4 rows' column 4 l + i in lane l */
		t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
	}
	for (i = 0; i < 4; i++) {
		__m512i c[4];
		int l;

		c[0] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
		c[1] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
		c[2] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
		c[3] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
		for (l = 0; l < 4; l++)
			_mm512_storeu_si512(out + (4 * l + i) * AMX_COLS, c[l]);
	}
}

void dev_cpu_amx_pack_right(const float *w, size_t ld, size_t n, size_t k,
                            uint16_t *out)
{
	__m512i hi[16], lo[16];
	size_t i, j;

	for (j = 0; j < k; j += AMX_COLS, out += 2 * AMX_BLOCK) {
		for (i = 0; i < n; i++)
			split(w + i * ld, j, k, &hi[i], &lo[i]);
		for (; i < AMX_ROWS; i++)
			hi[i] = lo[i] = _mm512_setzero_si512();
		transpose(hi, out);
		transpose(lo, out + AMX_BLOCK);
	}
}

void dev_cpu_amx_pack_right_bf16(const uint16_t *w, size_t ld, size_t n,
                                 size_t k, uint16_t *out)
{
	__m512i r[16];
	size_t i, j;

	for (j = 0; j < k; j += AMX_COLS, out += AMX_BLOCK) {
		__mmask32 m = k - j >= 32 ? 0xffffffff
			: (__mmask32)((1u << (k - j)) - 1);

		for (i = 0; i < n; i++)
			r[i] = _mm512_maskz_loadu_epi16(m, w + i * ld + j);
		for (; i < AMX_ROWS; i++)
			r[i] = _mm512_setzero_si512();
		transpose(r, out);
	}
}

/* Result tiles 0 to 3 += (4, 5) (6, 7)^T */
#define FOUR_PRODUCTS do { \
	_tile_dpbf16ps(0, 4, 6); \
	_tile_dpbf16ps(1, 4, 7); \
	_tile_dpbf16ps(2, 5, 6); \
	_tile_dpbf16ps(3, 5, 7); \
} while (0)

void dev_cpu_amx_product(const uint16_t *left, size_t left_step,
                         const uint16_t *right, size_t right_step, int parts,
                         size_t k_blocks, float *out)
{
	const uint16_t *l0 = left, *l1 = left + left_step;
	const uint16_t *r0 = right, *r1 = right + right_step;
	size_t k, step = (size_t)parts * AMX_BLOCK;

	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	for (k = 0; k < k_blocks; k++) {
		_tile_loadd(4, l0, 64);
		_tile_loadd(5, l1, 64);
		if (parts == 2) {
			_tile_loadd(6, r0 + AMX_BLOCK, 64);
			_tile_loadd(7, r1 + AMX_BLOCK, 64);
			FOUR_PRODUCTS;
		}
		_tile_loadd(6, r0, 64);
		_tile_loadd(7, r1, 64);
		FOUR_PRODUCTS;
		_tile_loadd(4, l0 + AMX_BLOCK, 64);
		_tile_loadd(5, l1 + AMX_BLOCK, 64);
		FOUR_PRODUCTS;
		l0 += 2 * AMX_BLOCK;
		l1 += 2 * AMX_BLOCK;
		r0 += step;
		r1 += step;
	}
	_tile_stored(0, out, AMX_OUT * sizeof(*out));
	_tile_stored(1, out + AMX_ROWS, AMX_OUT * sizeof(*out));
	_tile_stored(2, out + AMX_ROWS * AMX_OUT, AMX_OUT * sizeof(*out));
	_tile_stored(3, out + AMX_ROWS * AMX_OUT + AMX_ROWS,
	             AMX_OUT * sizeof(*out));
}

#else

int dev_cpu_amx_ready(void)
{
	return 0;
}

void dev_cpu_amx_begin(void)
{
}

void dev_cpu_amx_end(void)
{
}

void dev_cpu_amx_pack_left(const float *x, size_t ld, size_t n, size_t k,
                           uint16_t *out)
{
	(void)x, (void)ld, (void)n, (void)k, (void)out;
}

void dev_cpu_amx_pack_right(const float *w, size_t ld, size_t n, size_t k,
                            uint16_t *out)
{
	(void)w, (void)ld, (void)n, (void)k, (void)out;
}

void dev_cpu_amx_pack_right_bf16(const uint16_t *w, size_t ld, size_t n,
                                 size_t k, uint16_t *out)
{
	(void)w, (void)ld, (void)n, (void)k, (void)out;
}

void dev_cpu_amx_product(const uint16_t *left, size_t left_step,
                         const uint16_t *right, size_t right_step, int parts,
                         size_t k_blocks, float *out)
{
	(void)left, (void)left_step, (void)right, (void)right_step;
	(void)parts, (void)k_blocks, (void)out;
}

#endif
