/*
 * forward: seconds of a batched forward pass beside the machine's own sgemm.
 *
 *   forward MODEL THREADS N_SEQS LEN [q8]
 *
 * For each line on stdin runs, in turn, a matrix product through BLAS' own
 * threads and a forward pass over N_SEQS random sequences of LEN tokens
 * (all layers, no logits), and prints: the pass' seconds, its linear layers'
 * GFLOP/s, the product's GFLOP/s.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dev.h"
#include "mem.h"
#include "model.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GFLOP/s of products of an MLP's shape, for about 0.7 s. */
static double sgemm_rate(int threads, float *a, float *b, float *c)
{
	enum { M = 2048, N = 1536, K = 576 };
	double start = now(), t;
	int i;

	openblas_set_num_threads(threads);
	for (i = 1, t = 0; t < 0.7; i++) {
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1,
		            a, K, b, K, 0, c, N);
		t = now() - start;
	}
	openblas_set_num_threads(1);
	return 2.0 * M * N * K * (i - 1) / t * 1e-9;
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct dev *d;
	struct model *m;
	const struct model_cfg *c;
	struct model_run *r;
	struct model_batch b;
	size_t len, i, *start;
	uint32_t *ids, seed = 1;
	float *mem;
	double flop;
	int threads, ch;

	if (argc < 5)
		return 2;
	threads = atoi(argv[2]);
	b.n_seqs = (size_t)atol(argv[3]);
	len = (size_t)atol(argv[4]);
	b.n = b.n_seqs * len;
	if (!(d = dev_open("cpu", threads, &e))) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	if (argc > 5)
		dev_ops(d)->precision(d, DEV_Q8);
	if (!(m = model_open(argv[1], d, NULL, &e)) ||
	    !(r = model_run_new(m, b.n, &e)) ||
	    !(ids = mem_array(b.n, sizeof(*ids), &e)) ||
	    !(start = mem_array(b.n_seqs + 1, sizeof(*start), &e)) ||
	    !(mem = mem_array(8 << 20, sizeof(*mem), &e))) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	c = model_cfg(m);
	for (i = 0; i < b.n; i++)
		ids[i] = (seed = seed * 1664525u + 1013904223u) % c->n_vocab;
	for (i = 0; i <= b.n_seqs; i++)
		start[i] = i * len;
	for (i = 0; i < 8 << 20; i++)
		mem[i] = (float)(i % 7);
	b.ids = ids;
	b.start = start;
	flop = 2.0 * (double)b.n * c->n_layers * c->d_model *
		(2.0 * c->d_head * (c->n_heads + c->n_kv_heads) +
		 3.0 * c->d_mlp);
	while ((ch = getchar()) != EOF) {
		double gemm, t;

		if (ch != '\n')
			continue;
		gemm = sgemm_rate(threads, mem, mem + (2 << 20),
		                  mem + (4 << 20));
		t = now();
		if (model_forward(r, &b, (int)c->n_layers - 1, NULL, NULL,
		                  &e) != 0) {
			fprintf(stderr, "%s\n", e.msg);
			return 1;
		}
		t = now() - t;
		printf("%.4f %.1f %.1f\n", t, flop / t * 1e-9, gemm);
		fflush(stdout);
	}
	mem_free(mem);
	mem_free(start);
	mem_free(ids);
	model_run_free(r);
	model_free(m);
	dev_free(d);
	return 0;
}
