#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "docs.h"

static struct err e;
static char dir[] = "/tmp/r1-test-docs.XXXXXX";
static char path[2][64];

static int set_up(void **state)
{
	int i;

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	for (i = 0; i < 2; i++)
		sprintf(path[i], "%s/%d", dir, i);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path[0]);
	unlink(path[1]);
	return rmdir(dir);
}

static void write_file(int i, const char *text, size_t n)
{
	FILE *f = fopen(path[i], "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* Every document as "id:line:text;", in batches of at most two. */
static const char *all(size_t n_files, struct docs_opt o)
{
	static char out[1 << 16];
	const char *const paths[] = { path[0], path[1] };
	struct docs *d = docs_open(paths, n_files, &o, &e);
	const struct doc *batch;
	size_t n, i, at = 0;
	int got;

	assert_non_null(d);
	while ((got = docs_batch(d, 2, 1000, &batch, &n, &e)) > 0) {
		assert_in_range(n, 1, 2);
		for (i = 0; i < n; i++)
			at += (size_t)sprintf(out + at, "%d:%d:%.*s;",
			                      (int)batch[i].id,
			                      (int)batch[i].line,
			                      (int)batch[i].n, batch[i].text);
	}
	assert_int_equal(got, 0);
	out[at] = 0;
	docs_free(d);
	return out;
}

static void formats_cut_as_they_say(void **state)
{
	(void)state;
	write_file(0, "a b\n\n \t\nc\r\nlast", 15);
	write_file(1, "x\n", 2);
	assert_string_equal(all(2, (struct docs_opt){ 0 }),
	                    "0:0:a b\n\n \t\nc\r\nlast;1:0:x\n;");
	assert_string_equal(all(2, (struct docs_opt){ .format = DOCS_LINES }),
	                    "0:1:a b;1:4:c\r;2:5:last;3:1:x;");
	write_file(0, "\n {\"a\":1}\n{}\n", 13);
	assert_string_equal(all(1, (struct docs_opt){ 0 }),
	                    "0:2: {\"a\":1};1:3:{};");
	write_file(0, "", 0);
	assert_string_equal(all(1, (struct docs_opt){ 0 }), "");
}

static void shuffling_is_drawn_by_the_seed(void **state)
{
	struct docs_opt o = { .format = DOCS_LINES, .shuffle = 1, .seed = 7 };
	char first[512];

	(void)state;
	write_file(0, "a\nb\nc\nd\ne\n", 10);
	write_file(1, "f\ng\nh\n", 6);
	strcpy(first, all(2, o));
	assert_int_equal(strlen(first), strlen("0:1:a;") * 8);
	assert_non_null(strstr(first, "6:2:g;"));	/* ids stay */
	assert_string_not_equal(first, all(2, (struct docs_opt){
	                        .format = DOCS_LINES }));
	assert_string_equal(first, all(2, o));
	o.seed = 8;
	assert_string_not_equal(first, all(2, o));
}

/* Lines longer than a block, through a pipe, as from a file. */
static void pipes_give_what_files_give(void **state)
{
	const size_t n = 3 << 20;
	char *text = malloc(n), fifo[80];
	const char *const paths[] = { fifo };
	struct docs_opt o = { .format = DOCS_LINES };
	const struct doc *batch;
	struct docs *d;
	size_t k, i, at = 0;
	FILE *f;
	int pass;

	(void)state;
	for (i = 0; i < n; i++)
		text[i] = (char)('a' + i % 7);
	for (i = 5; i < n; i += 1 + i * 7 / 5)
		text[i] = '\n';
	write_file(0, text, n);
	sprintf(fifo, "%s/0", dir);
	for (pass = 0; pass < 2; pass++) {
		at = 0;
		if (pass) {
			char cmd[200];

			sprintf(fifo, "%s/fifo", dir);
			assert_int_equal(mkfifo(fifo, 0600), 0);
			sprintf(cmd, "cat %s > %s &", path[0], fifo);
			f = popen(cmd, "r");
			assert_non_null(f);
			pclose(f);
		}
		d = docs_open(paths, 1, &o, &e);
		assert_non_null(d);
		while (docs_batch(d, 3, 1 << 20, &batch, &k, &e) > 0)
			for (i = 0; i < k; i++) {
				assert_memory_equal(batch[i].text, text + at,
				                    batch[i].n);
				at += batch[i].n + 1;
			}
		assert_int_equal(at, n + 1);	/* no newline ends it */
		docs_free(d);
	}
	unlink(fifo);
	free(text);
}

static void what_cannot_be_read_is_named(void **state)
{
	const char *const none[] = { "/nonexistent/file" };
	const char *const folder[] = { "/tmp" };
	struct docs_opt o = { 0 };

	(void)state;
	assert_null(docs_open(none, 1, &o, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_non_null(strstr(e.msg, "/nonexistent/file"));
	assert_null(docs_open(folder, 1, &o, &e));
	assert_string_equal(e.msg, "/tmp: is a folder");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_cut_as_they_say),
		cmocka_unit_test(shuffling_is_drawn_by_the_seed),
		cmocka_unit_test(pipes_give_what_files_give),
		cmocka_unit_test(what_cannot_be_read_is_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
