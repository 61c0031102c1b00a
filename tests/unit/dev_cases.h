/* What the tests of the device table's ops share: the CPU device with several
 * numbers of threads, and numbers to feed it. Before including it, a test
 * defines DEV_THREADS, the numbers of threads. */
#ifndef R1_TESTS_DEV_CASES_H
#define R1_TESTS_DEV_CASES_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "dev.h"
#include "mem.h"

static const int thread_counts[] = { DEV_THREADS };
enum { N_DEVS = sizeof(thread_counts) / sizeof(thread_counts[0]) };

static struct dev *devs[N_DEVS];
static struct err e;

static int open_devs(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < N_DEVS; i++)
		if (!(devs[i] = dev_open("cpu", thread_counts[i], &e)))
			return -1;
	return 0;
}

static int close_devs(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < N_DEVS; i++)
		dev_free(devs[i]);
	return 0;
}

/* n numbers in [-1, 1), for mem_free. */
static float *noise(size_t n, uint32_t seed)
{
	float *x = mem_array(n, sizeof(*x), &e);
	size_t i;

	assert_non_null(x);
	for (i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		x[i] = (float)(seed >> 8) / (1 << 23) - 1;
	}
	return x;
}

#endif
