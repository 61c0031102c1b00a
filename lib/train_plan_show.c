/* A plan as text and as JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "train_plan.h"

static const struct { const char *key, *what; } mem_names[PLAN_MEMS] = {
	{ "weights", "weights, f32" }, { "optimiser", "optimiser, f32" },
	{ "start", "rows of start and end, ages" },
	{ "batch", "a batch, the end at work" }, { "model", "model" },
	{ "forward", "its forward pass" },
	{ "besides", "the program, scratch of products" }
};

static const struct { const char *key, *what; } op_names[PLAN_OPS] = {
	{ "forward", "model's forward pass" },
	{ "encode", "encoders and TopK" }, { "skip", "skip connections" },
	{ "active", "active latents, picked" },
	{ "optimiser", "optimiser" }, { "rows", "norms, centring, loss" },
	{ "start", "start, least squares at the end" }
};

/* ---- what bounds it -------------------------------------------------------------- */

static int largest_mem(const struct train_plan *p)
{
	const struct train_plan_pass *q = p->pass;
	int i, best = 0;
	size_t k;

	for (k = 0; k < p->n_passes; k++)
		if (p->pass[k].bytes > q->bytes)
			q = &p->pass[k];
	for (i = 1; i < PLAN_MEMS; i++)
		if (q->mem[i] > q->mem[best])
			best = i;
	return best;
}

static int largest_op(const struct train_plan *p)
{
	int i, best = 0;

	for (i = 1; i < PLAN_OPS; i++)
		if (p->op[i].s > p->op[best].s)
			best = i;
	return best;
}

static const char *limit(const struct train_plan_cost *c)
{
	return 2 * c->bytes_s > c->s ? "memory" : "arithmetic";
}

static double share_by_memory(const struct train_plan *p)
{
	double s = 0;
	int i;

	for (i = 0; i < PLAN_OPS; i++)
		s += p->op[i].bytes_s;
	return s / p->s;
}

static double of_peak(const struct train_plan *p)
{
	return p->flop / p->s / p->in.card->peak;
}

static double run_tokens(const struct train_set_cfg *r)
{
	return (double)r->train.n_steps * (double)r->train.batch;
}

/* ---- text -------------------------------------------------------------------------- */

static int put(struct text *t, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int put(struct text *t, struct err *e, const char *fmt, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	return text_str(t, line, e);
}

/* 200 M, 32.8 k */
static const char *count(double n, char buf[32])
{
	const char *unit = n >= 1e9 ? " G" : n >= 1e6 ? " M" : n >= 1e4 ? " k"
	                 : "";
	double v = n >= 1e9 ? n / 1e9 : n >= 1e6 ? n / 1e6 : n >= 1e4 ? n / 1e3
	         : n;

	snprintf(buf, 32, "%.4g%s", v, unit);
	return buf;
}

static const char *duration(double s, char buf[32])
{
	if (s < 120)
		snprintf(buf, 32, "%.3g s", s);
	else if (s < 7200)
		snprintf(buf, 32, "%.3g min", s / 60);
	else
		snprintf(buf, 32, "%.3g h", s / 3600);
	return buf;
}

static int put_run(const struct train_plan *p, size_t i, struct text *t,
                   struct err *e)
{
	const struct train_set_cfg *r = &p->in.runs[i];
	const struct tc_cfg *c = &r->train.tc;
	char tokens[32];

	return put(t, e, "%-9s%s%u latents, k %u%s%s, %s; %s tokens, %zu a step\n",
	           i ? "" : p->in.n_runs > 1 ? "runs" : "run",
	           c->transcode ? "" : "autoencoder, ", c->n_latents, c->k,
	           c->variant == TC_TOPK ? "" : c->variant == TC_BATCHTOPK
	           ? " (batchtopk)" : " (jumprelu)", c->skip ? ", skip" : "",
	           r->train.rule == TRAIN_SIGNUM ? "signum"
	           : r->train.dec_rate > 0 ? "adam, decoder normalised" : "adam",
	           count(run_tokens(r), tokens), r->train.batch);
}

static int put_head(const struct train_plan *p, struct text *t, struct err *e)
{
	const struct model_cfg *m = p->in.model;
	const struct train_card *c = p->in.card;
	const struct train_set_cfg *r = p->in.runs;
	size_t i;

	if (put(t, e, "model    %s: %d of %u layers, width %u\n", m->name,
	        r->n_layers, m->n_layers, m->d_model) < 0)
		return -1;
	for (i = 0; i < p->in.n_runs; i++)
		if (put_run(p, i, t, e) < 0)
			return -1;
	if (put(t, e, "device   %s: %.1f GiB, %.4g Tflop/s in %s, %.4g GB/s; "
	        "reached: products %.3g, ", c->name, c->memory / 0x1p30,
	        c->peak / 1e12, c->half ? "bf16" : "f32", c->bandwidth / 1e9,
	        c->matmul) < 0 ||
	    (c->forward != c->matmul &&
	     put(t, e, "the model's %.3g, ", c->forward) < 0) ||
	    (c->skip != c->matmul &&
	     put(t, e, "the skip connection's %.3g, ", c->skip) < 0))
		return -1;
	return put(t, e, "encoder %.3g, arrays %.3g, rows %.3g of these\n",
	           c->encode, c->stream, c->gather);
}

static int put_passes(const struct train_plan *p, struct text *t,
                      struct err *e)
{
	const struct train_set_cfg *r = p->in.runs;
	size_t i;
	int k, rc = put(t, e, "\nGiB");

	for (i = 0; rc == 0 && i < PLAN_MEMS; i++) {
		rc = put(t, e, "%s  %-34s", i ? "" : "\n", mem_names[i].what);
		for (k = 0; rc == 0 && k < (int)p->n_passes && k < 8; k++)
			rc = put(t, e, "%9.2f", p->pass[k].mem[i] / 0x1p30);
		if (rc == 0)
			rc = put(t, e, "\n");
	}
	if (rc == 0)
		rc = put(t, e, "  %-34s", "together");
	for (k = 0; rc == 0 && k < (int)p->n_passes && k < 8; k++)
		rc = put(t, e, "%9.2f", p->pass[k].bytes / 0x1p30);
	if (rc < 0 || put(t, e, " of %.1f: %s\n",
	                  p->in.card->memory / 0x1p30, p->n_passes > 1
	                  ? "fits in several passes" : "fits in one pass") < 0)
		return -1;
	if (p->host_bytes > 0 &&
	    put(t, e, "  %-34s%9.2f\n", "main memory: rows of the end",
	        p->host_bytes / 0x1p30) < 0)
		return -1;
	for (i = 0; p->n_passes > 1 && i < p->n_passes; i++) {
		const struct train_plan_pass *q = &p->pass[i];
		char time[32];

		char runs[64] = "";

		if (p->in.n_runs > 1)
			snprintf(runs, sizeof(runs), "runs %zu to %zu of %zu, ",
			         q->run + 1, q->run + q->n_runs,
			         p->in.n_runs);
		if (put(t, e, "  pass %zu: %slayers %d to %d, %.1f GiB, %s\n",
		        i + 1, runs, r->layers[q->layer],
		        r->layers[q->layer + q->n_layers - 1],
		        q->bytes / 0x1p30, duration(q->s, time)) < 0)
			return -1;
	}
	return 0;
}

static int put_times(const struct train_plan *p, struct text *t, struct err *e)
{
	int i;

	if (put(t, e, "\n%36s%10s%8s%10s%10s  %s\n", "", "seconds", "share",
	        "Tflop", "GB", "set by") < 0)
		return -1;
	for (i = 0; i < PLAN_OPS; i++) {
		const struct train_plan_cost *c = &p->op[i];

		if (c->s > 0 &&
		    put(t, e, "  %-34s%10.4g%7.1f%%%10.4g%10.4g  %s\n",
		        op_names[i].what, c->s, 100 * c->s / p->s,
		        c->flop / 1e12, c->bytes / 1e9, limit(c)) < 0)
			return -1;
	}
	return 0;
}

int train_plan_text(const struct train_plan *p, struct text *t, struct err *e)
{
	const struct train_card *c = p->in.card;
	char time[32], rate[48] = "", money[64] = "";
	int op = largest_op(p);

	if (p->n_passes == 1)
		snprintf(rate, sizeof(rate), ", %.4g tokens/s",
		         p->pass[0].tokens / p->s);
	if (c->usd_h > 0)
		snprintf(money, sizeof(money), "; %.2f USD at %.2f an hour",
		         p->usd, c->usd_h);
	if (put_head(p, t, e) < 0 || put_passes(p, t, e) < 0 ||
	    put_times(p, t, e) < 0)
		return -1;
	return put(t, e, "\ntime     %s%s%s\n"
	           "flop     %.3g, %.0f %% of the peak\n"
	           "bound    memory: by %s, %.0f %% of the card; time: by %s "
	           "(%.0f %%), %.0f %% of it for want of bandwidth\n",
	           duration(p->s, time), rate, money, p->flop,
	           100 * of_peak(p), mem_names[largest_mem(p)].what,
	           100 * p->bytes / c->memory, op_names[op].what,
	           100 * p->op[op].s / p->s, 100 * share_by_memory(p));
}

/* ---- JSON --------------------------------------------------------------------------- */

static json_t *runs_json(const struct train_plan *p)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < p->in.n_runs; i++) {
		const struct train_cfg *c = &p->in.runs[i].train;

		json_array_append_new(a, json_pack(
			"{s:I,s:I,s:I,s:b,s:f,s:s}", "n_latents",
			(json_int_t)c->tc.n_latents, "k", (json_int_t)c->tc.k,
			"batch", (json_int_t)c->batch, "skip", c->tc.skip,
			"tokens", run_tokens(&p->in.runs[i]), "optimizer",
			c->rule == TRAIN_ADAM ? "adam" : "signum"));
	}
	return a;
}

static json_t *pass_json(const struct train_plan *p,
                         const struct train_plan_pass *q)
{
	json_t *j = json_object(), *mem = json_object(), *layers = json_array();
	int i;

	for (i = 0; i < PLAN_MEMS; i++)
		json_object_set_new(mem, mem_names[i].key,
		                    json_real(q->mem[i]));
	for (i = 0; i < q->n_layers; i++)
		json_array_append_new(layers, json_integer(
			p->in.runs[0].layers[q->layer + i]));
	json_object_set_new(j, "first_run", json_integer((json_int_t)q->run));
	json_object_set_new(j, "runs", json_integer((json_int_t)q->n_runs));
	json_object_set_new(j, "layers", layers);
	json_object_set_new(j, "tokens", json_real(q->tokens));
	json_object_set_new(j, "memory", mem);
	json_object_set_new(j, "bytes", json_real(q->bytes));
	json_object_set_new(j, "seconds", json_real(q->s));
	return j;
}

json_t *train_plan_json(const struct train_plan *p, struct err *e)
{
	const struct train_card *c = p->in.card;
	json_t *j = json_object(), *passes = json_array(), *ops = json_object();
	size_t i;

	for (i = 0; i < p->n_passes; i++)
		json_array_append_new(passes, pass_json(p, &p->pass[i]));
	for (i = 0; i < PLAN_OPS; i++)
		json_object_set_new(ops, op_names[i].key, json_pack(
			"{s:f,s:f,s:f,s:s}", "seconds", p->op[i].s, "flop",
			p->op[i].flop, "bytes", p->op[i].bytes, "set_by",
			limit(&p->op[i])));
	json_object_set_new(j, "model", json_string(p->in.model->name));
	json_object_set_new(j, "device", json_pack(
		"{s:s,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:b,s:f}",
		"name", c->name,
		"bytes", c->memory, "flops", c->peak, "bandwidth",
		c->bandwidth, "matmul", c->matmul, "forward", c->forward,
		"skip", c->skip, "encode", c->encode, "stream", c->stream,
		"gather", c->gather, "bf16", c->half,
		"usd_h", c->usd_h));
	json_object_set_new(j, "runs", runs_json(p));
	json_object_set_new(j, "passes", passes);
	json_object_set_new(j, "operations", ops);
	json_object_set_new(j, "bytes", json_real(p->bytes));
	json_object_set_new(j, "host_bytes", json_real(p->host_bytes));
	json_object_set_new(j, "flop", json_real(p->flop));
	json_object_set_new(j, "seconds", json_real(p->s));
	json_object_set_new(j, "share_of_peak", json_real(of_peak(p)));
	json_object_set_new(j, "usd", c->usd_h > 0 ? json_real(p->usd)
	                                           : json_null());
	json_object_set_new(j, "bound", json_pack("{s:s,s:s,s:f}", "memory",
		mem_names[largest_mem(p)].key, "time",
		op_names[largest_op(p)].key, "bandwidth_share",
		share_by_memory(p)));
	if (!json_object_get(j, "bound")) {
		err_set(e, ERR_MEM, "no memory for a plan as JSON");
		json_decref(j);
		return NULL;
	}
	return j;
}
