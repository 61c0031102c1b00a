#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "safet.h"
#include "tc.h"

static char dir[64];

static struct dev *device(void)
{
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 2, &e);

	assert_non_null(d);
	return d;
}

static struct tc *some(struct dev *d, int skip, int transcode)
{
	struct tc_cfg c = { .d_in = 6, .d_out = transcode ? 5 : 6,
		.n_latents = 24, .k = 4, .skip = skip, .transcode = transcode,
		.normalize_decoder = 1, .multi_topk = 0, .expansion = 4 };
	struct err e = { 0 };
	struct tc *t = tc_new(&c, d, &e);
	size_t i;

	assert_non_null(t);
	for (i = 0; i < 24 * 6; i++)
		t->w_enc[i] = (float)sin((double)i * 1.7);
	for (i = 0; i < 24 * c.d_out; i++)
		t->w_dec[i] = (float)cos((double)i * 0.7);
	for (i = 0; i < 24; i++)
		t->b_enc[i] = (float)i / 50;
	for (i = 0; i < c.d_out; i++)
		t->b_dec[i] = (float)i - 2;
	for (i = 0; skip && i < 6 * c.d_out; i++)
		t->w_skip[i] = (float)i / 7;
	return t;
}

static void written_is_read_again(void **state)
{
	struct dev *d = device();
	struct err e = { 0 };
	int kind;

	(void)state;
	for (kind = 0; kind < 3; kind++) {
		struct tc *t = some(d, kind == 0, kind < 2), *r;
		size_t d_out = t->cfg.d_out;

		assert_int_equal(tc_write(t, dir, 10 + kind, &e), 0);
		r = tc_read(dir, 10 + kind, 6, (uint32_t)d_out, d, &e);
		if (!r)
			fail_msg("%s", e.msg);
		assert_memory_equal(&r->cfg, &t->cfg, sizeof(t->cfg));
		assert_memory_equal(r->w_enc, t->w_enc, 24 * 6 * 4);
		assert_memory_equal(r->b_enc, t->b_enc, 24 * 4);
		assert_memory_equal(r->w_dec, t->w_dec, 24 * d_out * 4);
		assert_memory_equal(r->b_dec, t->b_dec, d_out * 4);
		if (kind == 0)
			assert_memory_equal(r->w_skip, t->w_skip,
			                    6 * d_out * 4);
		tc_free(t);
		tc_free(r);
	}
	dev_free(d);
}

/* Each wrong checkpoint and a word its message must hold. */
static void refused(struct dev *d, const char *cfg, const char *word)
{
	struct err e = { 0 };
	char path[128];
	struct tc *t;

	snprintf(path, sizeof(path), "%s/layers.20.mlp/cfg.json", dir);
	assert_int_equal(file_write(path, cfg, strlen(cfg), &e), 0);
	t = tc_read(dir, 20, 0, 0, d, &e);
	assert_null(t);
	if (!strstr(e.msg, word))
		fail_msg("'%s' is not in: %s", word, e.msg);
}

/* A variant: thresholds that are neither equal nor in order. */
static struct tc *variant(struct dev *d, enum tc_variant v, int transcode)
{
	struct tc *t = some(d, transcode, transcode), *w;
	struct tc_cfg c = t->cfg;
	struct err e = { 0 };
	size_t i;

	c.variant = v;
	w = tc_new(&c, d, &e);
	assert_non_null(w);
	memcpy(w->w_enc, t->w_enc, 24 * 6 * 4);
	memcpy(w->b_enc, t->b_enc, 24 * 4);
	memcpy(w->w_dec, t->w_dec, 24 * c.d_out * 4);
	memcpy(w->b_dec, t->b_dec, c.d_out * 4);
	if (c.skip)
		memcpy(w->w_skip, t->w_skip, 6 * c.d_out * 4);
	for (i = 0; i < 24; i++) {
		w->b_enc[i] += 1.5f;
		w->threshold[i] = (float)(0.1 + (double)(i * 7 % 24) / 12);
	}
	tc_free(t);
	return w;
}

static void variants_keep_thresholds_beside(void **state)
{
	struct dev *d = device();
	struct err e = { 0 };
	struct tc *t = variant(d, TC_JUMPRELU, 1), *r, *plain = some(d, 1, 1);
	char path[128];

	(void)state;
	assert_int_equal(tc_write(plain, dir, 20, &e), 0);
	assert_int_equal(tc_write(t, dir, 30, &e), 0);
	r = tc_read(dir, 30, 6, 5, d, &e);
	if (!r)
		fail_msg("%s", e.msg);
	assert_memory_equal(&r->cfg, &t->cfg, sizeof(t->cfg));
	assert_memory_equal(r->threshold, t->threshold, 24 * 4);
	t->threshold[3] = 0;
	assert_int_equal(tc_write(t, dir, 30, &e), 0);
	assert_null(tc_read(dir, 30, 6, 5, d, &e));
	assert_non_null(strstr(e.msg, "threshold 3 is 0"));
	t->threshold[3] = NAN;
	assert_int_equal(tc_write(t, dir, 30, &e), 0);
	assert_null(tc_read(dir, 30, 6, 5, d, &e));
	refused(d, "{\"d_in\": 6, \"num_latents\": 24, \"k\": 2, "
	        "\"variant\": \"gated\"}", "gated");
	snprintf(path, sizeof(path),
	         "%s/layers.30.mlp/thresholds.safetensors", dir);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(tc_write(plain, dir, 30, &e), 0);
	assert_int_equal(access(path, F_OK), -1);
	tc_free(plain);
	tc_free(t);
	tc_free(r);
	dev_free(d);
}

/* Against every latent in doubles; rows with more active latents than there are
 * slots at first lose none. */
static void variants_activate_above_their_thresholds(void **state)
{
	struct dev *d = device();
	struct err e = { 0 };
	int kind;
	size_t i, j, l, s, full = 0;

	(void)state;
	for (kind = 0; kind < 4; kind++) {
		struct tc *t = variant(d, kind % 2 ? TC_JUMPRELU
		                       : TC_BATCHTOPK, kind < 2);
		float x[40 * 6];
		struct tc_codes c = { 0 };

		assert_int_equal(tc_slots(&t->cfg), 16);
		for (i = 0; i < 240; i++)
			x[i] = (float)(sin((double)i * 3.1) * (i > 150 ? 4 : 1));
		assert_int_equal(tc_encode(t, x, 40, 0, &c, &e), 0);
		assert_true(c.k == 16 || c.k == 24);	/* at most all */
		for (i = 0; i < 40; i++) {
			const uint32_t *latent = c.latent + i * c.k;
			const float *value = c.value + i * c.k;
			double pre[24];
			size_t on = 0, got;

			for (l = 0; l < 24; l++) {
				pre[l] = t->b_enc[l];
				for (j = 0; j < 6; j++)
					pre[l] += t->w_enc[l * 6 + j] *
					    (x[i * 6 + j] - (kind > 1
					     ? t->b_dec[j] : 0));
				on += pre[l] > t->threshold[l];
			}
			for (got = 0; got < c.k &&
			     latent[got] != UINT32_MAX; got++) {
				l = latent[got];
				assert_true(fabs(value[got] - pre[l]) < 1e-5);
				assert_true(got == 0 ||
				            value[got] <= value[got - 1]);
				assert_true(pre[l] > t->threshold[l]);
			}
			assert_int_equal(got, on);
			full += on > 16;
			for (s = got; s < c.k; s++)
				assert_true(value[s] == 0);
		}
		/* a k given is plain TopK */
		assert_int_equal(tc_encode(t, x, 40, 3, &c, &e), 0);
		assert_int_equal(c.k, 3);
		tc_codes_free(&c);
		tc_free(t);
	}
	assert_true(full > 0);
	dev_free(d);
}

/* Rows that need more slots come late, when others have been written: each row
 * is what it is alone. */
static void rows_of_many_active_latents_widen_all(void **state)
{
	enum { N = 4200, FROM = 4150 };
	struct dev *d = device();
	struct err e = { 0 };
	struct tc *t = variant(d, TC_JUMPRELU, 1);
	float *x = mem_scratch(N, 6 * sizeof(float), &e);
	struct tc_codes all = { 0 }, one = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < (size_t)N * 6; i++)
		x[i] = (float)sin((double)i * 3.1) / 20;
	for (i = FROM; i < N; i++)
		x[i * 6] = 10;
	for (i = 0; i < 24; i++) {
		t->b_enc[i] = 0;
		t->w_enc[i * 6] = 1;
		t->threshold[i] = i % 2 ? 1 : 0.01f;
	}
	assert_int_equal(tc_encode(t, x, FROM, 0, &all, &e), 0);
	assert_int_equal(all.k, 16);
	assert_int_equal(tc_encode(t, x, N, 0, &all, &e), 0);
	assert_int_equal(all.k, 24);
	assert_int_equal(all.n, N);
	for (i = 0; i < N; i += i < FROM - 60 ? 61 : 1) {
		assert_int_equal(tc_encode(t, x + i * 6, 1, 0, &one, &e), 0);
		assert_memory_equal(all.latent + i * 24, one.latent,
		                    one.k * sizeof(uint32_t));
		assert_memory_equal(all.value + i * 24, one.value,
		                    one.k * sizeof(float));
		assert_true(one.k == 24 ||
		            all.latent[i * 24 + 16] == UINT32_MAX);
	}
	tc_codes_free(&all);
	tc_codes_free(&one);
	mem_free(x);
	tc_free(t);
	dev_free(d);
}

static void layers_are_listed_ascending(void **state)
{
	struct dev *d = device();
	struct tc *t = some(d, 1, 1);
	struct err e = { 0 };
	char path[128];
	int layers[9], n;

	(void)state;
	snprintf(path, sizeof(path), "%s/many", dir);
	assert_int_equal(tc_write(t, path, 11, &e), 0);
	assert_int_equal(tc_write(t, path, 2, &e), 0);
	assert_int_equal(tc_write(t, path, 0, &e), 0);
	strcat(path, "/layers.7.mlp");	/* a folder without cfg.json */
	assert_int_equal(mkdir(path, 0777), 0);
	snprintf(path, sizeof(path), "%s/many", dir);
	n = tc_layers(path, layers, 9, &e);
	assert_int_equal(n, 3);
	assert_true(layers[0] == 0 && layers[1] == 2 && layers[2] == 11);
	assert_int_equal(tc_layers(path, layers, 2, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_int_equal(tc_layers("/nowhere/at/all", layers, 2, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	tc_free(t);
	dev_free(d);
}

static void wrong_files_are_refused(void **state)
{
	struct dev *d = device();
	struct tc *t = some(d, 1, 1);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(tc_write(t, dir, 20, &e), 0);
	assert_null(tc_read(dir, 20, 7, 0, d, &e));
	assert_non_null(strstr(e.msg, "d_in is 6, wanted 7"));
	assert_null(tc_read(dir, 20, 6, 9, d, &e));
	assert_non_null(strstr(e.msg, "wanted 9"));
	assert_null(tc_read(dir, 21, 0, 0, d, &e));
	assert_int_equal(e.code, ERR_IO);
	refused(d, "[]", "object");
	refused(d, "{", "cfg.json");
	refused(d, "{\"d_in\": 6, \"num_latents\": 24, \"k\": 4}", "tensors");
	refused(d, "{\"d_in\": 6, \"num_latents\": 24, \"k\": 25}", "24");
	refused(d, "{\"num_latents\": 24, \"k\": 2}", "d_in");
	refused(d, "{\"d_in\": 6, \"num_latents\": 23, \"k\": 2, "
	        "\"skip_connection\": true}", "W_dec");
	refused(d, "{\"d_in\": 6, \"activation\": \"groupmax\", "
	        "\"num_latents\": 24}", "groupmax");
	t->w_dec[5] = NAN;
	assert_int_equal(tc_write(t, dir, 20, &e), 0);
	assert_null(tc_read(dir, 20, 0, 0, d, &e));
	assert_non_null(strstr(e.msg, "W_dec: value 5 is not finite"));
	tc_free(t);
	dev_free(d);
}

/* The formulas, in doubles, against the device; k other than cfg's too. */
static void encode_and_decode_follow_the_formulas(void **state)
{
	struct dev *d = device();
	struct err e = { 0 };
	int kind;
	size_t i, j, l, s, k;

	(void)state;
	for (kind = 0; kind < 3; kind++)
		for (k = 1; k < 30; k += 7) {
			struct tc *t = some(d, kind == 0, kind < 2);
			size_t d_out = t->cfg.d_out;
			float x[10 * 6], out[10 * 6], value[10 * 30];
			uint32_t latent[10 * 30];
			struct tc_codes c = { latent, value, 0, 0, { 300, 300 } };

			for (i = 0; i < 60; i++)
				x[i] = (float)sin((double)i * 3.1);
			assert_int_equal(tc_encode(t, x, 10, k, &c, &e), 0);
			assert_int_equal(tc_decode(t, x, &c, out, &e), 0);
			assert_int_equal(c.k, k);
			for (i = 0; i < 10; i++) {
				double y[6], pre[24];

				for (l = 0; l < 24; l++) {
					pre[l] = t->b_enc[l];
					for (j = 0; j < 6; j++)
						pre[l] += t->w_enc[l * 6 + j] *
						    (x[i * 6 + j] - (kind == 2
						     ? t->b_dec[j] : 0));
				}
				for (j = 0; j < d_out; j++) {
					y[j] = t->b_dec[j];
					for (l = 0; kind == 0 && l < 6; l++)
						y[j] += t->w_skip[j * 6 + l] *
						        x[i * 6 + l];
				}
				for (s = 0; s < k; s++) {
					size_t best = 0;

					for (l = 1; l < 24; l++)
						if (pre[l] > pre[best])
							best = l;
					if (pre[best] <= 0) {
						assert_int_equal(
						    latent[i * k + s],
						    UINT32_MAX);
						continue;
					}
					assert_int_equal(latent[i * k + s],
					                 best);
					assert_true(fabs(value[i * k + s] -
					                 pre[best]) < 1e-5);
					for (j = 0; j < d_out; j++)
						y[j] += pre[best] * t->w_dec
						    [best * d_out + j];
					pre[best] = -1;
				}
				for (j = 0; j < d_out; j++)
					assert_true(fabs(out[i * d_out + j] -
					                 y[j]) < 1e-4);
			}
			tc_free(t);
		}
	dev_free(d);
}

/* tests/golden/tiny-*: transcoders with random weights and what PyTorch makes
 * of the model's own MLP inputs: active latents and reconstructions. */
static void golden(const char *name)
{
	struct dev *d = device();
	struct err e = { 0 };
	char path[256];
	struct safet *g;
	int layer;

	snprintf(path, sizeof(path), "%s/tests/golden/%s/golden.safetensors",
	         getenv("ROOT") ? getenv("ROOT") : ".", name);
	g = safet_open(path, &e);
	if (!g)
		fail_msg("%s", e.msg);
	for (layer = 0; layer < 4; layer++) {
		const struct tensor *in, *recon;
		float *x, *want, *out, *value;
		uint32_t *latent;
		struct tc_codes c;
		struct tc *t;
		size_t i, n;

		snprintf(path, sizeof(path), "%s/tests/golden/%s/transcoders",
		         getenv("ROOT") ? getenv("ROOT") : ".", name);
		t = tc_read(path, layer, 64, 64, d, &e);
		if (!t)
			fail_msg("%s", e.msg);
		snprintf(path, sizeof(path), "mlp_in.%d", layer);
		in = safet_find(g, path);
		snprintf(path, sizeof(path), "recon.%d", layer);
		recon = safet_find(g, path);
		assert_true(in && recon && in->n == recon->n);
		n = in->n / 64;
		x = mem_scratch(in->n, 4, &e);
		want = mem_scratch(in->n, 4, &e);
		out = mem_scratch(in->n, 4, &e);
		value = mem_scratch(n, t->cfg.k * 4, &e);
		latent = mem_scratch(n, t->cfg.k * 4, &e);
		assert_int_equal(tensor_f32(in, 0, in->n, x, &e), 0);
		assert_int_equal(tensor_f32(recon, 0, in->n, want, &e), 0);
		c = (struct tc_codes){ latent, value, 0, 0,
			{ n * t->cfg.k, n * t->cfg.k } };
		assert_int_equal(tc_encode(t, x, n, 0, &c, &e), 0);
		assert_int_equal(tc_decode(t, x, &c, out, &e), 0);
		for (i = 0; i < in->n; i++)
			if (!(fabsf(out[i] - want[i]) <
			      1e-4f * (1 + fabsf(want[i]))))
				fail_msg("%s layer %d value %zu: %g, wanted %g",
				         name, layer, i, out[i], want[i]);
		mem_free(x);
		mem_free(want);
		mem_free(out);
		mem_free(value);
		mem_free(latent);
		tc_free(t);
	}
	safet_free(g);
	dev_free(d);
}

static void golden_transcoders_give_their_reconstructions(void **state)
{
	(void)state;
	golden("tiny-llama");
	golden("tiny-qwen2");
}

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_tc_XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_is_read_again),
		cmocka_unit_test(variants_keep_thresholds_beside),
		cmocka_unit_test(variants_activate_above_their_thresholds),
		cmocka_unit_test(rows_of_many_active_latents_widen_all),
		cmocka_unit_test(layers_are_listed_ascending),
		cmocka_unit_test(wrong_files_are_refused),
		cmocka_unit_test(encode_and_decode_follow_the_formulas),
		cmocka_unit_test(golden_transcoders_give_their_reconstructions),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
