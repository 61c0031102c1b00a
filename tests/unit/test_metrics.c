#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"
#include "progress.h"

static char dir[] = "/tmp/r1-metrics-XXXXXX";
static char path[64];

static void spill(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void file_is(const char *text)
{
	char got[4096] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	got[fread(got, 1, sizeof(got) - 1, f)] = 0;
	fclose(f);
	assert_string_equal(got, text);
}

static void line(struct metrics *m, int step)
{
	struct err e = { 0 };

	assert_non_null(m);
	assert_int_equal(metrics_write(m, json_pack("{s:i, s:f}", "step", step,
	                                            "x", 0.1), &e), 0);
}

static void lines_arrive_at_once(void **state)
{
	struct err e = { 0 };
	struct metrics *m;

	(void)state;
	spill("old\n");
	m = metrics_open(path, 0, &e);
	line(m, 1);
	file_is("{\"step\":1,\"x\":0.1}\n");
	line(m, 2);
	file_is("{\"step\":1,\"x\":0.1}\n{\"step\":2,\"x\":0.1}\n");
	assert_true(metrics_wanted(m));
	assert_int_equal(metrics_close(m, &e), 0);
}

static void appending_drops_half_a_line(void **state)
{
	struct err e = { 0 };
	struct metrics *m;

	(void)state;
	spill("{\"step\":1}\n{\"st");
	m = metrics_open(path, 1, &e);
	line(m, 2);
	metrics_close(m, &e);
	file_is("{\"step\":1}\n{\"step\":2,\"x\":0.1}\n");
	unlink(path);
	m = metrics_open(path, 1, &e);
	line(m, 3);
	metrics_close(m, &e);
	file_is("{\"step\":3,\"x\":0.1}\n");
}

static void resuming_drops_what_comes_again(void **state)
{
	struct err e = { 0 };
	struct metrics *m;

	(void)state;
	spill("{\"note\":true}\n{\"step\":4}\nno JSON\n{\"step\":5}\n"
	      "{\"step\":6}\n{\"step\":5}\n");
	m = metrics_resume(path, "step", 5, &e);
	line(m, 6);
	metrics_close(m, &e);
	file_is("{\"note\":true}\n{\"step\":4}\nno JSON\n{\"step\":5}\n"
	        "{\"step\":6,\"x\":0.1}\n");
}

static void descriptors_are_lent(void **state)
{
	struct err e = { 0 };
	struct metrics *m;
	char number[16], text[64] = "";
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	snprintf(number, sizeof(number), "%d", fd[1]);
	m = metrics_resume(number, "step", 0, &e);
	line(m, 9);
	assert_int_equal(metrics_close(m, &e), 0);
	assert_int_equal(write(fd[1], "z", 1), 1);
	assert_int_equal(read(fd[0], text, sizeof(text)), 20);
	assert_string_equal(text, "{\"step\":9,\"x\":0.1}\nz");
	close(fd[0]);
	close(fd[1]);
	assert_null(metrics_open(number, 0, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_null(metrics_open("/nowhere/x", 1, &e));
	assert_non_null(strstr(e.msg, "/nowhere/x"));
}

static void nobody_need_listen(void **state)
{
	struct err e = { 0 };
	struct metrics *m = metrics_open(NULL, 0, &e);

	(void)state;
	assert_false(metrics_wanted(m));
	line(m, 1);
	assert_int_equal(metrics_close(m, &e), 0);
	assert_int_equal(metrics_close(NULL, &e), 0);
}

static void failures_are_told(void **state)
{
	struct err e = { 0 };
	struct metrics *m = metrics_open("/dev/full", 0, &e);

	(void)state;
	assert_int_equal(metrics_write(m, json_object(), &e), -1);
	assert_int_equal(e.code, ERR_IO);
	assert_int_equal(metrics_write(m, NULL, &e), -1);
	assert_int_equal(e.code, ERR_FORMAT);
	metrics_close(m, &e);
}

struct seen {
	int n, last;
	char text[256];
};

static void see(void *ctx, const char *text, int last)
{
	struct seen *s = ctx;

	s->n++;
	s->last = last;
	snprintf(s->text, sizeof(s->text), "%s", text);
}

static void progress_is_shown_now_and_then(void **state)
{
	struct seen s = { 0 };
	struct progress p;
	int i;

	(void)state;
	progress_start(&p, see, &s, "tokens", 100, 1000);
	for (i = 0; i < 1000; i++)
		progress_at(&p, 550, "fvu 0.3");
	/* Once at the start; a slow machine may reach the next quarter. */
	assert_in_range(s.n, 1, 100);
	assert_false(s.last);
	assert_non_null(strstr(s.text, "550/1000 tokens, "));
	assert_non_null(strstr(s.text, " left, fvu 0.3"));
	assert_true(progress_rate(&p, 550) > 0);
	assert_true(progress_rate(&p, 100) == 0);
	progress_end(&p, 1000, NULL);
	assert_true(s.last);
	assert_non_null(strstr(s.text, "1000/1000 tokens"));
	assert_null(strstr(s.text, "left"));
	progress_start(&p, NULL, NULL, "tokens", 0, 0);
	progress_at(&p, 1, NULL);
	progress_end(&p, 2, NULL);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/m", mkdtemp(dir));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_arrive_at_once),
		cmocka_unit_test(appending_drops_half_a_line),
		cmocka_unit_test(resuming_drops_what_comes_again),
		cmocka_unit_test(descriptors_are_lent),
		cmocka_unit_test(nobody_need_listen),
		cmocka_unit_test(failures_are_told),
		cmocka_unit_test(progress_is_shown_now_and_then),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
