/* npupload: put features and graphs on Neuronpedia.
 * Files as operands.  stdout: a JSON line a file. */
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "mem.h"
#include "publish_send.h"
#include "secret.h"

struct opts {
	const char *url, *key_file, *ledger, *unknown;
	int64_t tries;
	double wait, deadline;
	int dry_run;
};

static const struct cli_opt options[] = {
	CLI_STR(0, "url", struct opts, url, "URL",
	        "https://neuronpedia.org/api", "the server's API"),
	CLI_STR(0, "key-file", struct opts, key_file, "FILE", NULL,
	        "the key; default: NEURONPEDIA_API_KEY"),
	CLI_STR(0, "ledger", struct opts, ledger, "FILE", NULL,
	        "what was sent; default: ledger.jsonl beside each batch"),
	CLI_CHOICE(0, "unknown", struct opts, unknown, "stop|send|skip",
	           "stop", "a batch of which nobody knows whether it arrived"),
	CLI_FLAG('n', "dry-run", struct opts, dry_run,
	         "check the files, send nothing"),
	CLI_LONG(0, "tries", struct opts, tries, "N", 1, 1000, "5",
	         "tries of a request that the server did not take"),
	CLI_REAL(0, "wait", struct opts, wait, "S", 0, 3600, "2",
	         "first pause between them, doubled then"),
	CLI_REAL(0, "deadline", struct opts, deadline, "S", 1, 86400, "300",
	         "seconds for one request"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "npupload",
	.brief = "put features and graphs on Neuronpedia",
	.operands = "FILE|DIR...",
	.min_operands = 1, .max_operands = -1,
	.options = options
};

static int send_one(struct publish_send *s, const char *path, struct err *e)
{
	json_t *said;
	int rc = publish_send_file(s, path, &said, e);

	if (rc == 0 && (json_dumpf(said, stdout, JSON_COMPACT) < 0 ||
	                fputc('\n', stdout) == EOF || fflush(stdout) < 0))
		rc = err_sys(e, "write to standard output");
	json_decref(said);
	return rc;
}

static int is_batch(const struct dirent *f)
{
	return fnmatch("batch-*.json", f->d_name, 0) == 0;
}

/* The batches of a source's folder, in their order. */
static int send_folder(struct publish_send *s, const char *dir, struct err *e)
{
	struct dirent **list;
	int n = scandir(dir, &list, is_batch, alphasort), i, rc = 0;

	if (n < 0)
		return err_sys(e, "%s", dir);
	if (n == 0)
		rc = err_set(e, ERR_FORMAT, "%s: no batch-*.json", dir);
	for (i = 0; i < n; i++) {
		char *path = rc < 0 ? NULL : mem_printf(e, "%s/%s", dir,
		                                        list[i]->d_name);

		if (rc == 0)
			rc = path ? send_one(s, path, e) : -1;
		mem_free(path);
		free(list[i]);
	}
	free(list);
	return rc;
}

static int run(const struct opts *o, const struct secret *key,
               char **operands, int n, struct err *e)
{
	const struct publish_send_opt p = {
		.url = o->url, .key = key->text,
		.secret = key->text ? key->text + key->n_prefix : NULL,
		.ledger = o->ledger, .dry_run = o->dry_run,
		.unknown = !strcmp(o->unknown, "send") ? PUBLISH_SEND
		           : !strcmp(o->unknown, "skip") ? PUBLISH_SKIP
		                                         : PUBLISH_STOP,
		.tries = (int)o->tries, .wait_s = o->wait,
		.deadline_s = o->deadline, .log = cli_log(&tool)
	};
	struct publish_send *s;
	struct stat st;
	int i, rc = 0;

	if (!key->text && !o->dry_run)
		return err_set(e, ERR_USAGE, "no key: set NEURONPEDIA_API_KEY "
		               "or give --key-file");
	if (!(s = publish_send_new(&p, e)))
		return -1;
	for (i = 0; rc == 0 && i < n; i++)
		rc = stat(operands[i], &st) == 0 && S_ISDIR(st.st_mode)
		     ? send_folder(s, operands[i], e)
		     : send_one(s, operands[i], e);
	publish_send_free(s);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct secret key = { 0 };
	int at = cli_parse(&tool, argc, argv, &o, sizeof(o), &c), rc;

	rc = secret_load(&key, "x-api-key: ", o.key_file,
	                 "NEURONPEDIA_API_KEY", &e);
	if (rc == 0)
		rc = run(&o, &key, argv + at, argc - at, &e);
	secret_free(&key);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	cli_close_stdout(&tool);
	return 0;
}
