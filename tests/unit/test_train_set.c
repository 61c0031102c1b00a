#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "train_set.h"

/* A folder's state and the stream it came from: what a resumed run accepts. */

enum { DIM = 8, BATCH = 20, STEPS = 3, ROWS = 100,
       ROOM = 1 << 16 };

static char dir[64];
static struct err e;
static uint32_t ids[ROWS];
static float x[ROWS * DIM], y[ROWS * DIM];

static struct train_set *open_set(struct dev *d)
{
	struct train_set_cfg c = {
		.train = {
			.tc = { .d_in = DIM, .d_out = DIM, .n_latents = 32,
			        .k = 4, .transcode = 1 },
			.recipe = TRAIN_R1, .rule = TRAIN_ADAM, .lr = 1e-3,
			.batch = BATCH, .n_steps = STEPS, .start_tokens = BATCH,
			.seed = 1
		},
		.layers = { 0 }, .n_layers = 1, .out = dir, .log_every = 1,
		.input = "test"
	};
	struct train_set *s = train_set_new(&c, d, &e);

	if (!s)
		fail_msg("%s", e.msg);
	return s;
}

static void fill(void)
{
	uint32_t seed = 3;
	int i;

	for (i = 0; i < ROWS * DIM; i++) {
		seed = seed * 1664525u + 1013904223u;
		x[i] = (float)(seed >> 8) / (1 << 23) - 1;
		seed = seed * 1664525u + 1013904223u;
		y[i] = (float)(seed >> 8) / (1 << 23) - 1;
	}
	for (i = 0; i < ROWS; i++)
		ids[i] = (uint32_t)i * 7;
}

/* A run killed between its last save and its end: the block that brought the
 * last step had rows beyond it, which are not the run's. */
static void rows_beyond_the_last_step_are_not_remembered(void **state)
{
	struct dev *d = dev_open("cpu", 1, &e);
	struct train_set *s = open_set(d);
	uint64_t rows;
	int done;

	(void)state;
	fill();
	assert_int_equal(train_set_ids(s, ids, ROWS, &e), 0);
	assert_int_equal(train_set_push(s, 0, x, y, ROWS, &e), 0);
	assert_int_equal(train_set_step(s), STEPS);
	assert_int_equal(train_set_save(s, &e), 0);
	train_set_free(s);

	s = open_set(d);
	assert_int_equal(train_set_resume(s, &rows, &done, &e), 1);
	assert_int_equal(rows, STEPS * BATCH);
	assert_false(done);
	assert_int_equal(train_set_ids(s, ids, ROWS, &e), 0);
	train_set_free(s);

	s = open_set(d);
	assert_int_equal(train_set_resume(s, &rows, &done, &e), 1);
	ids[STEPS * BATCH - 1]++;
	assert_int_equal(train_set_ids(s, ids, ROWS, &e), -1);
	assert_non_null(strstr(e.msg, "first 60 tokens are not those"));
	train_set_free(s);

	/* What comes after is nobody's business. */
	s = open_set(d);
	assert_int_equal(train_set_resume(s, &rows, &done, &e), 1);
	ids[STEPS * BATCH - 1]--;
	ids[STEPS * BATCH]++;
	assert_int_equal(train_set_ids(s, ids, ROWS, &e), 0);
	train_set_free(s);
	dev_free(d);
}

/* Takes a choice out of the manifest, as versions wrote it that had none. */
static void forget(const char *choice)
{
	char path[96], *text;
	json_t *j;

	snprintf(path, sizeof(path), "%s/state/manifest.json", dir);
	j = json_read(path, 1 << 20, &e);
	assert_non_null(j);
	assert_int_equal(json_object_del(json_object_get(j, "config"), choice),
	                 0);
	text = json_dumps(j, 0);
	assert_int_equal(file_write(path, text, strlen(text), &e), 0);
	free(text);
	json_decref(j);
}

/* s, with rows [first, n) pushed and saved; its weights. */
static uint8_t *learn(struct train_set *s, size_t first, size_t n, size_t *bytes)
{
	char path[96];
	uint8_t *weights = malloc(ROOM);
	FILE *f;

	assert_int_equal(train_set_push(s, 0, x + first * DIM, y + first * DIM,
	                                n - first, &e), 0);
	assert_int_equal(train_set_save(s, &e), 0);
	snprintf(path, sizeof(path), "%s/layers.0.mlp/sae.safetensors", dir);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_non_null(weights);
	*bytes = fread(weights, 1, ROOM, f);
	assert_in_range(*bytes, 1, ROOM - 1);
	fclose(f);
	return weights;
}

static void a_run_of_an_older_version_goes_on_if_it_did_the_same(void **state)
{
	enum { PART = BATCH * (STEPS - 1) };
	struct dev *d = dev_open("cpu", 1, &e);
	struct train_set *s = open_set(d);
	uint8_t *whole, *part, *resumed;
	size_t bytes, again;
	uint64_t rows;
	int done;

	(void)state;
	fill();
	whole = learn(s, 0, ROWS, &bytes);
	train_set_free(s);
	s = open_set(d);
	assert_int_equal(train_set_ids(s, ids, PART, &e), 0);
	part = learn(s, 0, PART, &again);
	assert_int_equal(again, bytes);
	assert_memory_not_equal(part, whole, bytes);
	train_set_free(s);

	forget("resample");
	s = open_set(d);
	assert_int_equal(train_set_resume(s, &rows, &done, &e), 1);
	assert_int_equal(rows, PART);
	resumed = learn(s, PART, ROWS, &again);
	assert_int_equal(again, bytes);
	assert_memory_equal(resumed, whole, bytes);
	train_set_free(s);

	/* This run's seed is 1, not 0. */
	forget("seed");
	s = open_set(d);
	assert_int_equal(train_set_resume(s, &rows, &done, &e), -1);
	assert_non_null(strstr(e.msg, "has seed none, this one 1"));
	train_set_free(s);
	dev_free(d);
	free(whole);
	free(part);
	free(resumed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_beyond_the_last_step_are_not_remembered),
		cmocka_unit_test(
			a_run_of_an_older_version_goes_on_if_it_did_the_same),
	};
	char remove[80];
	int rc;

	strcpy(dir, "/tmp/test_train_set.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(remove, sizeof(remove), "rm -rf %s", dir);
	return system(remove) == 0 ? rc : 1;
}
