/* Plans against numbers worked out by hand: a model of four small layers, two
 * of them trained, on a device with round figures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev_cpu.h"
#include "json.h"
#include "mem.h"
#include "train_cases.h"
#include "train_plan.h"

static const struct model_cfg model = {
	.arch = MODEL_LLAMA, .n_layers = 4, .d_model = 8, .d_mlp = 16,
	.n_vocab = 32, .n_heads = 2, .n_kv_heads = 1, .d_head = 4, .n_ctx = 10,
	.tied = 1, .name = "four"
};
static const struct train_card card = {
	.name = "slow", .memory = 50000, .peak = 1000, .bandwidth = 10000,
	.matmul = 0.5, .forward = 0.5, .skip = 0.5, .encode = 1, .stream = 0.5,
	.gather = 0.25, .usd_h = 36
};

static struct train_set_cfg one_run(void)
{
	return (struct train_set_cfg){ .layers = { 1, 3 }, .n_layers = 2,
		.train = { .tc = { .d_in = 8, .d_out = 8, .n_latents = 32,
		                   .k = 4, .skip = 1, .transcode = 1 },
		           .recipe = TRAIN_R1, .rule = TRAIN_ADAM, .lr = 1,
		           .batch = 10, .n_steps = 100, .start_tokens = 50 } };
}

static void near(double got, double want)
{
	if (!(fabs(got - want) <= 1e-9 * fabs(want)))
		fail_msg("got %.12g, wanted %.12g", got, want);
}

static void memory(void **state)
{
	struct train_set_cfg r = one_run();
	struct train_plan_in in = { &model, &r, 1, 10, 20, &card, NULL };
	struct train_card half = card;
	struct train_plan p;
	struct err e = { 0 };
	const double *mem;

	(void)state;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	assert_int_equal(p.n_passes, 1);
	mem = p.pass[0].mem;
	/* a layer: 32 (8 + 1 + 8) + 8 + 64 = 616 weights */
	near(mem[PLAN_WEIGHTS], 2 * 4 * 616);
	near(mem[PLAN_MOMENTS], 2 * 8 * 616);
	near(mem[PLAN_START_ROWS], 2 * (32 * 9 + 50 * 4 * 16));
	/* x, y, g, codes of 10 rows; gradients of the skip and b_dec, a row;
	 * the export */
	near(mem[PLAN_BATCH], 4 * (10 * (8 + 2 * 8 + 2 * 4) + 64 + 2 * 8) +
	     4 * 616);
	/* 4 (8 (2 4 (2 + 1) + 3 16)) + 32 8 */
	near(mem[PLAN_MODEL], 4 * (4 * 576 + 256));
	near(mem[PLAN_PASS], 4 * 20 * (3 * 8 + 2 * 16 + 4 + 2 * 4 * 3));
	near(p.bytes, 42784);
	train_plan_free(&p);

	half.half = 1;
	in.card = &half;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	mem = p.pass[0].mem;
	near(mem[PLAN_MODEL], 2 * (4 * 576 + 256));
	near(mem[PLAN_BATCH], 1600 + 2 * 10 * 32 + 2 * 32 * 8 + 4 * 616);
	train_plan_free(&p);
}

static void seconds(void **state)
{
	struct train_set_cfg r = one_run();
	struct train_plan_in in = { &model, &r, 1, 10, 20, &card, NULL };
	struct train_card fast = card;
	struct train_plan p;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	/* 100 steps of two layers; arithmetic sets the first three */
	near(p.op[PLAN_ENCODE].flop, 200 * 2 * 10 * 8 * 32.0);
	near(p.op[PLAN_ENCODE].bytes, 200 * 4 * 8 * 32.0);
	near(p.op[PLAN_ENCODE].s, 200 * 5.12);
	near(p.op[PLAN_SKIP].s, 200 * 4 * 10 * 64 / 500.0);
	near(p.op[PLAN_ACTIVE].s, 200 * 2 * 10 * 4 * 32 / 500.0);
	near(p.op[PLAN_ACTIVE].bytes_s, 0);
	/* memory the next two: 24 bytes a weight at 5000 bytes/s */
	near(p.op[PLAN_OPTIMISER].s, 200 * 24 * 616 / 5000.0);
	near(p.op[PLAN_OPTIMISER].bytes_s, p.op[PLAN_OPTIMISER].s);
	near(p.op[PLAN_ROWS].s, 200 * 4 * 10 * (5 * 8 + 15 * 8) / 5000.0);
	/* 50 rows, d = 8: products and the solution */
	near(p.op[PLAN_START].s, 2 * (2 * 50 * 8 * 24 +
	                              2 * (512 / 3.0 + 1024)) / 500);
	/* 1000 tokens through layers 0 to 3, 20 at a time */
	near(p.op[PLAN_FORWARD].flop, 4000 * (2 * 576 + 2 * 10 * 8.0));
	near(p.op[PLAN_FORWARD].s, 4000 * 1312 / 500.0 + 4000 * 8 * 84 / 5000.0);
	near(p.s, 3 * 1024 + 591.36 + 256 + 86.35733333333333 + 11033.6);
	near(p.usd, p.s / 100);
	train_plan_free(&p);

	/* a model whose products take half of the time, a skip of 0.625 */
	fast.forward = 1;
	fast.skip = 0.8;
	in.card = &fast;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	near(p.op[PLAN_FORWARD].s, 4000 * 1312 / 1000.0 +
	     4000 * 8 * 84 / 5000.0);
	near(p.op[PLAN_SKIP].s, 200 * 4 * 10 * 64 / 800.0);
	train_plan_free(&p);
	in.card = &card;

	/* a decoder of 32 8 weights without moments */
	r.train.dec_rate = 0.3;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	near(p.op[PLAN_OPTIMISER].bytes, 200 * (24 * 360 + 8 * 256.0));
	near(p.pass[0].mem[PLAN_MOMENTS], 2 * 8 * 360);
	train_plan_free(&p);
	r.train.dec_rate = 0;

	/* four times k, gathered at 2500 bytes/s, 1280 flop/s: bytes set it */
	r.train.tc.k = 16;
	r.train.rule = TRAIN_SIGNUM;
	r.train.tc.skip = 0;
	in.card = &(struct train_card){ .memory = 50000, .peak = 10000,
		.bandwidth = 10000, .matmul = 0.5, .forward = 0.5, .encode = 1,
		.stream = 0.5, .gather = 0.25 };
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	near(p.op[PLAN_ACTIVE].s, 200 * 4 * 10 * 16 * 32 / 2500.0);
	near(p.op[PLAN_ACTIVE].bytes_s, p.op[PLAN_ACTIVE].s);
	near(p.op[PLAN_SKIP].s + 1, 1);
	near(p.op[PLAN_OPTIMISER].bytes, 200 * 16 * (616 - 64.0));
	train_plan_free(&p);
}

/* A layer takes 10880 bytes, a run 1600 more, the model 16960; one layer is
 * exported at a time, 2464. */
static void passes(void **state)
{
	struct train_set_cfg r[3] = { one_run(), one_run(), one_run() };
	struct train_card small = card;
	struct train_plan_in in = { &model, r, 1, 10, 20, &small, NULL };
	struct train_plan p, whole;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(train_plan_make(&in, &whole, &e), 0);
	small.memory = 42783;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	assert_int_equal(p.n_passes, 2);
	assert_int_equal(p.pass[0].n_layers, 1);
	assert_int_equal(p.pass[1].layer, 1);
	near(p.bytes, 31904);
	/* only the model's lower half runs twice */
	near(p.op[PLAN_FORWARD].s, 1.5 * whole.op[PLAN_FORWARD].s);
	near(p.op[PLAN_ENCODE].s, whole.op[PLAN_ENCODE].s);
	train_plan_free(&p);

	small.memory = 31903;
	assert_int_equal(train_plan_make(&in, &p, &e), -1);
	assert_int_equal(e.code, ERR_RANGE);
	assert_non_null(strstr(e.msg, "one layer of 32 latents"));
	r[0].n_layers = 1;	/* nothing to divide */
	assert_int_equal(train_plan_make(&in, &p, &e), -1);
	r[0].n_layers = 2;

	/* three runs, two at a time; the second longer than the first */
	in.n_runs = 3;
	r[1].train.n_steps = 200;
	small.memory = 2 * (2 * 10880 + 1600) + 16960 + 2464;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	assert_int_equal(p.n_passes, 2);
	assert_int_equal(p.pass[0].n_runs, 2);
	assert_int_equal(p.pass[1].run, 2);
	near(p.pass[0].tokens, 2000);
	near(p.pass[1].tokens, 1000);
	near(p.op[PLAN_FORWARD].s, 3 * whole.op[PLAN_FORWARD].s);
	near(p.op[PLAN_ENCODE].s, 4 * whole.op[PLAN_ENCODE].s);
	train_plan_free(&p);

	r[2].train.n_steps = 0;
	assert_int_equal(train_plan_make(&in, &p, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	train_plan_free(&whole);
}

static void shown(void **state)
{
	struct train_set_cfg r = one_run();
	struct train_plan_in in = { &model, &r, 1, 10, 20, &card, NULL };
	struct train_plan p;
	struct text t = { 0 };
	struct err e = { 0 };
	json_t *j;

	(void)state;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	assert_int_equal(train_plan_text(&p, &t, &e), 0);
	assert_non_null(strstr(t.s, "32 latents, k 4, skip, adam; 1000 tokens, "
	                       "10 a step"));
	assert_non_null(strstr(t.s, "fits in one pass"));
	assert_non_null(strstr(t.s, "150.39 USD at 36.00 an hour"));
	assert_non_null(strstr(t.s, "time: by model's forward pass (73 %)"));
	mem_free(t.s);
	assert_non_null(j = train_plan_json(&p, &e));
	near(json_real_value(json_object_get(j, "seconds")), p.s);
	near(json_real_value(json_object_get(j, "share_of_peak")),
	     p.flop / p.s / 1000);
	assert_string_equal(json_string_value(json_object_get(
		json_object_get(j, "bound"), "memory")), "model");
	json_decref(j);
	train_plan_free(&p);
}

static int find(const char *table, const char *name, struct train_card *c,
                struct err *e)
{
	return train_card_find(table, strlen(table), "t", name, c, e);
}

static void table(void **state)
{
	static const char good[] = "# card\n\nbig\t80\t1000\t3000\t.6\t.7\t.8\t.9"
		"\t16\t3\nslow\t8\t0.1\t20\t1\t1\t1\t2\t32\t0";
	static const struct { const char *text, *why; } bad[] = {
		{ "x\t80\t1000\t3000\t.6\t.7\t.8\t.9\t16", "line 1: 9 columns" },
		{ "x\t1\t1\t1\t1\t1\t1\t1\t16\t1\t1", "more than 10 columns" },
		{ "\nx\t0\t1\t1\t1\t1\t1\t1\t16\t1", "line 2: memory_gib is '0'" },
		{ "x\t1\tnan\t1\t1\t1\t1\t1\t16\t1", "tflops" },
		{ "x\t1\t1\t1e99\t1\t1\t1\t1\t16\t1", "gb_s" },
		{ "x\t1\t1\t1\t1z\t1\t1\t1\t16\t1", "matmul is '1z'" },
		{ "x\t1\t1\t1\t1\t1\t1\t1\t8\t1", "bits is '8'" },
		{ "\t1\t1\t1\t1\t1\t1\t1\t16\t1", "a name of 0 bytes" },
	};
	struct train_card c;
	const char *text;
	size_t n, i;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(find(good, "big", &c, &e), 0);
	near(c.memory, 80 * 0x1p30);
	near(c.peak, 1e15);
	near(c.bandwidth, 3e12);
	near(c.matmul + c.encode + c.stream + c.gather, 3);
	assert_true(c.half);
	assert_int_equal(find(good, "slow", &c, &e), 0);
	assert_false(c.half);
	assert_int_equal(find(good, "huge", &c, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_non_null(strstr(e.msg, "there are: big, slow"));
	assert_int_equal(find("", "x", &c, &e), -1);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(find(bad[i].text, "x", &c, &e), -1);
		assert_int_equal(e.code, ERR_FORMAT);
		if (!strstr(e.msg, bad[i].why))
			fail_msg("'%s' does not say '%s'", e.msg, bad[i].why);
	}
	text = train_card_builtin(&n);
	for (i = 0; i < 3; i++) {
		assert_int_equal(train_card_find(text, n, "cards.tsv",
			((const char *[]){ "h100", "a100", "l40s" })[i], &c, &e),
			0);
		assert_true(c.half && c.usd_h > 0 && c.memory > 40e9);
	}
}

static void this_machine(void **state)
{
	struct train_set_cfg r = one_run();
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 2, &e);
	struct train_card c;

	(void)state;
	assert_non_null(d);
	assert_int_equal(train_card_measure(&model, DT_Q4_1, &r.train, d, &c,
	                                    &e), 0);
	assert_true(c.forward == 1);	/* stored in 4 bits, run in f32 */
	assert_true(c.peak > 1e6 && isfinite(c.peak));
	assert_true(c.bandwidth > 1e6 && isfinite(c.bandwidth));
	assert_true(c.encode > 0 && c.gather > 0 && c.memory > 1e6);
	assert_true(c.skip > 0 && isfinite(c.skip));
	assert_false(c.half);
	assert_ptr_equal(c.dev, d);
	dev_free(d);
}

/* ---- packed operands ---------------------------------------------------------- */

/* What d has for them holds `bytes`, and is less than twice that: it doubles. */
static void keeps(const struct dev *d, size_t bytes)
{
	size_t have = ((const struct dev_cpu *)d)->packed_cap * sizeof(uint16_t);

	if (have == 0 && bytes == 0)
		return;
	if (have < bytes || have >= 2 * bytes)
		fail_msg("%zu bytes for packed operands, expected %zu", have,
		         bytes);
}

static void packed_for_products(void **state)
{
	static const size_t size[][3] = {
		{ 100, 50, 700 }, { 17, 16, 16 }, { 16, 16, 15 },
		{ 16, 2300, 900 }, { 5, 8, 40 }, { 4, 64, 64 },
		{ 70, 500, 300 }, { 6, 4096, 4096 }	/* in two rounds */
	};
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		size_t m = size[i][0], n = size[i][1], k = size[i][2];
		struct dev *d = dev_open("cpu", 2, &e);
		float *a = mem_array(m * k, sizeof(*a), &e);
		float *b = mem_array(n * k, sizeof(*b), &e);
		float *c = mem_array(m * n, sizeof(*c), &e);
		const struct dev_ops *o = dev_ops(d);

		if (!a || !b || !c ||
		    o->gemm(d, 0, 1, m, n, k, 1, a, k, b, k, 0, c, n, &e) < 0)
			fail_msg("%s", e.msg);
		keeps(d, o->gemm_keeps(d, m, n, k));
		/* above 64 MiB packed it is another's */
		assert_int_equal(o->gemm_keeps(d, 9000, 9000, 1000), 0);
		dev_free(d);
		mem_free(a);
		mem_free(b);
		mem_free(c);
	}
}

/* Two weights over the same rows, and one alone, at every level there is: in f32
 * tiles, in 8 bits, for AMX, by BLAS. */
static void packed_for_weights(void **state)
{
	enum { IN = 512, OUT = 800, ROWS = 70 };
	static const enum dtype types[] = { DT_F32, DT_BF16, DT_Q4_1 };
	struct err e = { 0 };
	float *x = mem_array(ROWS * IN, sizeof(*x), &e), *out;
	void *w = mem_array(OUT * IN, sizeof(float), &e);
	size_t i, count, n, seen = 0;
	int level, q8;

	(void)state;
	assert_non_null(out = mem_array(2 * ROWS * OUT, sizeof(*out), &e));
	assert_true(x && w);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		for (level = 0; level < 4; level++)
			for (q8 = 0; q8 < 2; q8++)
				for (count = 1; count < 3; count++)
					for (n = 4; n <= ROWS; n += ROWS - 4) {
		struct dev *d = dev_open("cpu", 2, &e);
		struct tensor one = { .name = "w", .type = types[i],
			.n_dims = 2, .shape = { OUT, IN }, .n = OUT * IN,
			.data = w };
		struct tensor two = { .name = "v", .type = types[i],
			.n_dims = 2, .shape = { 100, IN }, .n = 100 * IN,
			.data = w };
		const struct dev_linear l[] = { { &one, NULL, out },
			{ &two, NULL, out + ROWS * OUT } };
		const struct dev_ops *o = dev_ops(d);

		assert_int_equal(dtype_bytes(one.type, one.n, &one.n_bytes, &e), 0);
		assert_int_equal(dtype_bytes(two.type, two.n, &two.n_bytes, &e), 0);
		dev_cpu_limit(d, level);
		dev_set_precision(d, q8 ? "q8" : "f32");
		if (o->linear(d, x, n, l, count, &e) < 0)
			fail_msg("%s", e.msg);
		keeps(d, o->linear_keeps(d, n, l, count));
		seen += o->linear_keeps(d, n, l, count);
		dev_free(d);
	}
	assert_true(!dev_cpu_mm_level(3) || seen > 0);
	mem_free(x);
	mem_free(w);
	mem_free(out);
}

/* A layer from its first row to its end. */
static void trained(const struct train_cfg *c, const char *precision)
{
	struct run r;
	struct err e = { 0 };

	run_open(&r, c, 2, 64 * c->batch);
	dev_set_precision(r.d, precision);
	feed(&r, 0, 64 * c->batch, 100);
	if (train_layer_finish(r.t, &e) < 0)
		fail_msg("%s", e.msg);
	keeps(r.d, train_packed_bytes(c, r.d));
	run_close(&r);
}

static void packed_in_training(void **state)
{
	struct train_cfg c = config(TRAIN_R1);

	(void)state;
	c.tc.d_in = 48;
	c.tc.d_out = 40;
	c.n_steps = 64;
	c.batch = 32;
	c.end_tokens = 1800;
	c.end_ridge = 100;
	for (c.tc.skip = 0; c.tc.skip < 2; c.tc.skip++)
		trained(&c, "f32");

	/* the encoder's integers are the most, then the skip's */
	c.tc.d_in = c.tc.d_out = 64;
	c.tc.n_latents = 700;
	c.batch = 64;
	c.start_tokens = 64;
	c.end_tokens = 128;
	trained(&c, "f32");
	trained(&c, "q8");
	c.recipe = TRAIN_SPARSIFY;
	c.end_tokens = 0;
	c.tc.n_latents = 40;
	c.tc.d_in = 1100;
	trained(&c, "f32");
	trained(&c, "q8");
}

/* A model from a folder, and one from a configuration without weights. */
static void packed_in_a_model(void **state)
{
	static const char *const path = "tests/golden/tiny-qwen2";
	enum { ROWS = 40 };
	const uint32_t ids[ROWS] = { 1, 2, 3 };
	const size_t start[] = { 0, ROWS };
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 1, &e);
	struct model *m = model_open(path, d, NULL, &e);
	struct model_run *r = m ? model_run_new(m, ROWS, &e) : NULL;
	struct model_batch b = { ids, ROWS, start, 1 };
	const struct model_cfg *c = m ? model_cfg(m) : NULL;
	struct model_need need, alone;

	(void)state;
	if (!r || model_need(path, d, ROWS, &need, &e) < 0 ||
	    model_need("tests/golden/tiny-qwen2/config.json", d, ROWS, &alone,
	               &e) < 0 ||
	    model_forward(r, &b, (int)c->n_layers - 1, NULL, NULL, &e) < 0)
		fail_msg("%s", e.msg);
	keeps(d, (size_t)need.packed);
	near(alone.packed, need.packed);
	assert_int_equal(alone.type, DT_F32);
	/* as f32, and of the folder what that was made of besides */
	near(alone.weights, 4 * (c->n_layers * (double)c->d_model *
	     (2.0 * c->d_head * (c->n_heads + c->n_kv_heads) + 3.0 * c->d_mlp) +
	     (c->tied ? 1.0 : 2.0) * c->n_vocab * c->d_model));
	assert_true(need.weights >= alone.weights);
	assert_int_equal(model_need("none", d, ROWS, &need, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	model_run_free(r);
	model_free(m);
	dev_free(d);
}

static void packed_in_a_plan(void **state)
{
	struct train_set_cfg r[2] = { one_run(), one_run() };
	struct train_card with = card;
	const struct model_need need = { .weights = 12345, .packed = 1e5 };
	struct train_plan_in in = { &model, r, 2, 10, 20, &with, &need };
	struct train_plan p;
	struct err e = { 0 };
	struct dev *d = dev_open("cpu", 1, &e);
	size_t most;

	(void)state;
	assert_non_null(with.dev = d);
	with.memory = 1e9;
	with.besides = 1000;
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	near(p.pass[0].mem[PLAN_MODEL], 12345);
	near(p.pass[0].mem[PLAN_BESIDES], 1000 + 1e5);
	train_plan_free(&p);

	/* the second run's products are larger than the model's */
	r[1].train.tc.d_in = r[1].train.tc.d_out = 2000;
	r[1].train.batch = 1000;
	most = train_packed_bytes(&r[1].train, d);
	assert_true(most >= 100000);
	assert_int_equal(train_plan_make(&in, &p, &e), 0);
	near(p.pass[0].mem[PLAN_BESIDES], 1000 + (double)most);
	train_plan_free(&p);
	dev_free(d);
}

/* Rows of the start or those of the end, also where all steps are kept for the
 * end. */
static void rows_in_turn(void **state)
{
	struct train_set_cfg r = one_run();
	struct train_card large = card;
	struct train_plan_in in = { &model, &r, 1, 10, 20, &large, NULL };
	struct train_plan p;
	struct err e = { 0 };
	const double ages = 32 * 9, row = 4 * 16;

	(void)state;
	large.memory = 1e6;
	r.train.tc.skip = 0;
	r.train.tc.n_latents = 5;
	r.train.start_tokens = 400;
	r.train.end_ridge = 1;
	/* 1000 rows, 200 of them kept in 8 bits: 10 batches at a time, of whose
	 * 80 values three blocks hold each */
	for (r.train.end_tokens = 200; r.train.end_tokens <= 1000;
	     r.train.end_tokens += 800) {
		double kept = (double)r.train.end_tokens / 10 *
		              (2 * 3 * 34 + 4);
		double held = fmax(400 * row, 10 * row + kept);

		assert_int_equal(train_plan_make(&in, &p, &e), 0);
		near(p.pass[0].mem[PLAN_START_ROWS], 2 * (5 * ages / 32 + held));
		/* the start's rows go as the others come */
		assert_true(fmin(400 * row, kept) + 10 * row <
		            (double)train_turn_bytes(&r.train));
		train_plan_free(&p);
	}
}

static void shapes(void **state)
{
	struct model_cfg a, b;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(model_cfg_read("tests/golden/tiny-qwen2", &a, &e), 0);
	assert_int_equal(model_cfg_read("tests/golden/tiny-qwen2/config.json",
	                                &b, &e), 0);
	assert_int_equal(memcmp(&a, &b, sizeof(a)), 0);
	assert_string_equal(a.name, "tiny-qwen2");
	assert_int_equal(model_cfg_read("pipelines/releases/"
	                                "r1-distill-qwen-1.5b.json", &a, &e), 0);
	assert_string_equal(a.name, "r1-distill-qwen-1.5b");
	assert_int_equal(a.d_mlp, 8960);
	assert_int_equal(model_cfg_read("none", &a, &e), -1);
	assert_int_equal(e.code, ERR_IO);
	assert_int_equal(model_cfg_read("data/cards.tsv", &a, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory), cmocka_unit_test(seconds),
		cmocka_unit_test(passes), cmocka_unit_test(shown),
		cmocka_unit_test(table), cmocka_unit_test(this_machine),
		cmocka_unit_test(packed_for_products),
		cmocka_unit_test(packed_for_weights),
		cmocka_unit_test(packed_in_training),
		cmocka_unit_test(packed_in_a_model),
		cmocka_unit_test(packed_in_a_plan),
		cmocka_unit_test(rows_in_turn), cmocka_unit_test(shapes)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
