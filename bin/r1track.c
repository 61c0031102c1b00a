/* r1track: hand a run's metrics to TensorBoard, trackio or MLflow.
 * stdin: JSON lines, as --metrics of the other tools writes them. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "mem.h"
#include "track.h"

struct opts {
	const char *to, *out, *project, *run;
};

static const struct cli_opt options[] = {
	CLI_CHOICE('t', "to", struct opts, to, "tensorboard|trackio|mlflow",
	           "tensorboard", "whose form"),
	CLI_STR('o', "out", struct opts, out, "DIR|URL", NULL,
	        "log folder, MLflow's server; default: as these programs"),
	CLI_STR(0, "project", struct opts, project, "NAME", "r1-interp",
	        "project that the run belongs to"),
	CLI_STR('r', "run", struct opts, run, "NAME", "run",
	        "the run's name"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "r1track",
	.brief = "hand metrics to TensorBoard, trackio and MLflow",
	.options = options
};

static double clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* MLflow's server, or trackio's folder: what it says itself, else in the Hub's
 * cache. */
static char *default_place(enum track_to to, struct err *e)
{
	const char *s;

	if (to == TRACK_MLFLOW) {
		if ((s = getenv("MLFLOW_TRACKING_URI")) && *s)
			return mem_strdup(s, e);
		err_set(e, ERR_USAGE, "neither --out nor MLFLOW_TRACKING_URI "
		        "names a server");
		return NULL;
	}
	if ((s = getenv("TRACKIO_DIR")) && *s)
		return mem_strdup(s, e);
	if ((s = getenv("HF_HOME")) && *s)
		return mem_printf(e, "%s/trackio", s);
	if ((s = getenv("HOME")) && *s)
		return mem_printf(e, "%s/.cache/huggingface/trackio", s);
	err_set(e, ERR_USAGE, "--out is missing, and there is no HOME");
	return NULL;
}

/* Lines are handed on as they come; when none has come for a second, all that
 * were are made visible. */
static int run(struct track *t, struct err *e)
{
	enum { PART = 1 << 16, WAIT_MS = 1000 };
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char *buf = mem_scratch(PART, 1, e);
	ssize_t n = buf ? 1 : -1;
	int ready;

	while (n > 0) {
		ready = poll(&in, 1, WAIT_MS);
		if (ready == 0) {
			if (track_flush(t, e) < 0)
				n = -1;
			continue;
		}
		n = read(STDIN_FILENO, buf, PART);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			err_sys(e, "standard input");
		else if (track_feed(t, buf, (size_t)n, clock_s(), e) < 0) {
			err_wrap(e, "standard input");
			n = -1;
		}
	}
	mem_free(buf);
	/* what came before an error is not lost */
	if (track_finish(t, n < 0 ? NULL : e) < 0)
		n = -1;
	if (n == 0 && track_entries(t) == 0)
		n = err_set(e, ERR_FORMAT, "standard input: no numbers");
	return n < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct track_opt opt = { .now_s = clock_s() };
	struct track *t = NULL;
	char *place = NULL;
	int rc = -1;

	cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	if (strcmp(o.to, "trackio") == 0)
		opt.to = TRACK_TRACKIO;
	else if (strcmp(o.to, "mlflow") == 0)
		opt.to = TRACK_MLFLOW;
	else if (!o.out)
		cli_usage(&tool, "--out is missing");
	opt.project = o.project;
	opt.run = o.run;
	opt.out = o.out ? o.out : (place = default_place(opt.to, &e));
	if (opt.out && (t = track_open(&opt, &e)))
		rc = run(t, &e);
	track_free(t);
	mem_free(place);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	return 0;
}
