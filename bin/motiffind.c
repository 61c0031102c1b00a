/* motiffind: where motifs occur in attribution graphs, and how they follow each
 * other.  Operands: graphs.  stdout: JSON lines. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "json.h"
#include "mem.h"
#include "motif_inst.h"

struct opts {
	struct cli_list motif, label, node;
	int64_t top, min_gap, max_gap, max_instances;
	double threshold, density;
	const char *part;
	int cascades, complete, only, errors;
};

static const struct cli_opt options[] = {
	CLI_LIST('m', "motif", struct opts, motif, "NAME",
	         "motif to list (repeatable); default: coherent_ffl and "
	         "incoherent_ffl"),
	CLI_LONG('n', "top", struct opts, top, "N", 0, 1e9, "10",
	         "how many to list, the heaviest first"),
	CLI_LIST('l', "label", struct opts, label, "PATTERN",
	         "only with a node whose label matches (repeatable)"),
	CLI_LIST(0, "node", struct opts, node, "ID",
	         "only with this node (repeatable)"),
	CLI_FLAG(0, "only", struct opts, only,
	         "and with no other features than those"),
	CLI_FLAG('c', "cascades", struct opts, cascades,
	         "chain the instances from the embeddings to the logits"),
	CLI_FLAG(0, "complete", struct opts, complete,
	         "list only cascades from an embedding to a logit"),
	CLI_REAL(0, "threshold", struct opts, threshold, "X", 0, 1e30, "0",
	         "leave out edges whose |weight| is below"),
	CLI_LONG(0, "min-gap", struct opts, min_gap, "N", 1, 65535, "1",
	         "layers that a template's edge spans at least"),
	CLI_LONG(0, "max-gap", struct opts, max_gap, "N", 1, 65535, "5",
	         "and at most"),
	CLI_FLAG(0, "errors", struct opts, errors, "keep error nodes"),
	CLI_CHOICE(0, "part", struct opts, part, "all|prompt|think|answer",
	           "all", "keep only nodes at the positions of that part"),
	CLI_REAL(0, "density", struct opts, density, "X", 0, 1, "0",
	         "keep only the strongest edges, so many of n (n - 1); 0: all"),
	CLI_LONG(0, "max-instances", struct opts, max_instances, "N", 1, 4e9,
	         "5M", "more instances than that are not chained"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "motiffind",
	.brief = "list instances and cascades of motifs in attribution graphs",
	.operands = "[CLASS=]GRAPH|FOLDER...",
	.min_operands = 1,
	.max_operands = -1,
	.options = options
};

/* What the cascades of one class of prompts come to. */
struct tally {
	char *name;
	uint64_t graphs, with, complete, longest, listed;
	double instances, log_total, heaviest;	/* sums over graphs */
	uint64_t motifs[MOTIF_QUAD];
};

struct work {
	const struct opts *o;
	int *motifs;
	size_t n_motifs;
	struct tally *classes;
	size_t n_classes, cap_classes;
};

static int choose_motifs(struct work *w, struct err *e)
{
	const struct cli_list *l = &w->o->motif;
	size_t i;
	int m;

	if (!(w->motifs = mem_array(l->n + 2, sizeof(*w->motifs), e)))
		return -1;
	for (i = 0; i < l->n; i++) {
		for (m = 0; m < MOTIF_QUAD; m++)
			if (!strcmp(motif_name(m), l->item[i]) &&
			    (w->o->cascades ? motif_inst_chains(m)
			                    : motif_inst_listed(m)))
				break;
		if (m == MOTIF_QUAD)
			return err_set(e, ERR_USAGE, "motif '%s' cannot be %s; "
			               "the manual page names those that can",
			               l->item[i], w->o->cascades ? "chained"
			                                          : "listed");
		w->motifs[w->n_motifs++] = m;
	}
	if (!l->n) {
		w->motifs[0] = MOTIF_COHERENT;
		w->motifs[1] = MOTIF_INCOHERENT;
		w->n_motifs = 2;
	}
	return 0;
}

static int put(json_t *line, struct err *e)
{
	int rc;

	if (!line)
		return err_set(e, ERR_MEM, "no memory for the output");
	rc = json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	json_decref(line);
	return rc < 0 || putchar('\n') < 0 ? err_sys(e, "write to standard output") : 0;
}

static struct tally *class_of(struct work *w, const char *name, struct err *e)
{
	size_t i;

	for (i = 0; i < w->n_classes; i++)
		if (!strcmp(w->classes[i].name, name))
			return &w->classes[i];
	if (mem_grow(&w->classes, &w->cap_classes, i + 1, sizeof(*w->classes),
	             e) < 0)
		return NULL;
	w->classes[i] = (struct tally) { .name = mem_strdup(name, e) };
	if (!w->classes[i].name)
		return NULL;
	w->n_classes++;
	return &w->classes[i];
}

/* The conditions that the options put on nodes. One that no node meets is
 * said: nothing will be listed. */
static int conditions(const struct opts *o, const struct graph *g,
                      struct motif_inst_filter *f, struct err *e)
{
	struct log log = cli_log(&tool);
	size_t i;
	uint32_t n;

	f->only = o->only;
	for (i = 0; i < o->label.n + o->node.n; i++) {
		int label = i < o->label.n;
		const char *s = label ? o->label.item[i]
		                      : o->node.item[i - o->label.n];

		if ((label ? motif_inst_filter_label(f, g, s, &n, e)
		           : motif_inst_filter_id(f, g, s, &n, e)) < 0)
			return -1;
		if (!n)
			log_say(&log, "%s: no node meets --%s '%s'", g->path,
			         label ? "label" : "node", s);
	}
	return 0;
}

static int instances(const struct work *w, const struct graph *g,
                     const char *class, const struct motif_inst_filter *f,
                     struct err *e)
{
	struct motif_inst_top t;
	json_t *list;
	size_t i, k;
	int rc = 0;

	for (i = 0; i < w->n_motifs && rc == 0; i++) {
		rc = motif_inst_top(g, w->motifs[i], (int32_t)w->o->min_gap,
		                    (int32_t)w->o->max_gap, f,
		                    (size_t)w->o->top, &t, e);
		list = json_array();
		for (k = 0; k < t.n; k++)
			json_array_append_new(list, motif_inst_json(g,
				&t.inst[k]));
		if (rc == 0)
			rc = put(json_pack("{s:s,s:s,s:s,s:s,s:o,s:I,s:O}",
			         "graph", g->name, "source", g->path, "class",
			         class, "motif", motif_name(w->motifs[i]),
			         "total", motif_inst_count_json(t.total),
			         "listed", (json_int_t)t.n, "instances", list),
			         e);
		json_decref(list);
		motif_inst_top_free(&t);
	}
	return rc;
}

static void count_in(struct tally *t, const struct motif_inst_cascades *c)
{
	size_t i;

	t->graphs++;
	t->with += c->total > 0;
	t->complete += c->complete > 0;
	if (c->longest > t->longest)
		t->longest = c->longest;
	t->instances += (double)c->n_inst;
	t->log_total += log10(1 + (double)c->total);
	if (!c->n)
		return;
	t->listed++;
	t->heaviest += c->list[0].weight;
	for (i = 0; i < c->list[0].n; i++)
		t->motifs[c->inst[c->list[0].step[i]].motif]++;
}

static int cascades(struct work *w, const struct graph *g, const char *class,
                    const struct motif_inst_filter *f, struct err *e)
{
	struct motif_inst_casc_opt o = {
		w->motifs, w->n_motifs, (int32_t)w->o->min_gap,
		(int32_t)w->o->max_gap, w->o->complete, (size_t)w->o->top,
		(size_t)w->o->max_instances
	};
	struct log log = cli_log(&tool);
	struct motif_inst_cascades c;
	struct tally *t = class_of(w, class, e);
	json_t *list = json_array();
	uint64_t all;
	size_t i;
	int rc = -1;

	if (!t || motif_inst_cascades(g, &o, f, &c, e) < 0) {
		json_decref(list);
		return t ? err_wrap(e, "%s", g->path) : -1;
	}
	for (i = 0; i < c.n; i++)
		json_array_append_new(list, motif_inst_cascade_json(g, &c,
			&c.list[i]));
	all = w->o->complete ? c.complete : c.total;
	if (c.n < all)
		log_say(&log, "%s: the %zu heaviest of %s%llu cascades are "
		         "listed (--top)", g->path, c.n,
		         all == UINT64_MAX ? "at least " : "",
		         (unsigned long long)all);
	count_in(t, &c);
	rc = put(json_pack("{s:s,s:s,s:s,s:I,s:o,s:o,s:I,s:I,s:b,s:O}", "graph",
	         g->name, "source", g->path, "class", class, "instances",
	         (json_int_t)c.n_inst, "total", motif_inst_count_json(c.total),
	         "complete", motif_inst_count_json(c.complete), "longest",
	         (json_int_t)c.longest, "listed", (json_int_t)c.n, "all",
	         c.n == all, "cascades", list), e);
	json_decref(list);
	motif_inst_cascades_free(&c);
	return rc;
}

/* After all graphs: a line for each class of prompts. */
static int summary(const struct work *w, struct err *e)
{
	size_t i, m;

	for (i = 0; i < w->n_classes; i++) {
		const struct tally *t = &w->classes[i];
		double n = (double)t->graphs;
		json_t *motifs = json_object();
		int rc;

		for (m = 0; m < w->n_motifs; m++)
			json_object_set_new(motifs, motif_name(w->motifs[m]),
			                    json_integer((json_int_t)
			                    t->motifs[w->motifs[m]]));
		rc = put(json_pack("{s:s,s:I,s:I,s:I,s:I,s:f,s:f,s:o,s:o}",
		         "class", t->name, "graphs",
		         (json_int_t)t->graphs, "with_cascades",
		         (json_int_t)t->with, "with_complete",
		         (json_int_t)t->complete, "longest",
		         (json_int_t)t->longest, "mean_instances",
		         t->instances / n, "mean_log10_total", t->log_total / n,
		         "mean_heaviest", json_finite(t->heaviest /
		         (double)t->listed), "heaviest_steps",
		         motifs), e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- graphs ---- */

static int read_file(struct work *w, const char *path, const char *class,
                     struct err *e)
{
	struct graph_opt go = {
		w->o->threshold, w->o->errors,
		(enum graph_part)graph_part_find(w->o->part), w->o->density
	};
	struct log log = cli_log(&tool);
	struct graph_in *in = graph_open(path, &go, e);
	struct graph *g;
	int got = -1;

	while (in && (got = graph_next(in, &g, e)) > 0) {
		struct motif_inst_filter f = { 0 };

		if (g->notes.no_part) {
			log_say(&log, "%s: %s has no part '%s', left out", path,
			        g->name, w->o->part);
			graph_free(g);
			continue;
		}
		if (conditions(w->o, g, &f, e) < 0 ||
		    (w->o->cascades ? cascades(w, g, class, &f, e)
		                    : instances(w, g, class, &f, e)) < 0)
			got = -1;
		motif_inst_filter_free(&f);
		graph_free(g);
		if (got < 0)
			break;
	}
	graph_close(in);
	return got;
}

static int is_graph(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	/* a viewer's list of the folder is no graph */
	return d->d_name[0] != '.' && n > 5 &&
	       !strcmp(d->d_name + n - 5, ".json") &&
	       strcmp(d->d_name, "graph-metadata.json");
}

static int read_folder(struct work *w, const char *path, const char *class,
                       struct err *e)
{
	struct dirent **list;
	int n = scandir(path, &list, is_graph, alphasort), i, rc = 0;

	if (n < 0)
		return err_sys(e, "%s", path);
	if (!n)
		rc = err_set(e, ERR_FORMAT, "%s: no file *.json in this folder",
		             path);
	for (i = 0; i < n; i++) {
		char *one = mem_printf(e, "%s/%s", path, list[i]->d_name);

		if (rc == 0)
			rc = one ? read_file(w, one, class, e) : -1;
		mem_free(one);
		free(list[i]);
	}
	free(list);
	return rc;
}

/* CLASS=PATH; without a class, the name of the folder it lies in. */
static int read_operand(struct work *w, const char *arg, struct err *e)
{
	size_t n = strcspn(arg, "=/");
	const char *path = arg[n] == '=' && n ? arg + n + 1 : arg;
	struct stat st;
	int folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode), rc;
	const char *end, *begin;
	char *class;

	if (path != arg) {
		class = mem_strndup(arg, n, e);
	} else {
		end = path + strlen(path);
		while (folder && end > path + 1 && end[-1] == '/')
			end--;
		while (!folder && end > path && *--end != '/')
			;
		for (begin = end; begin > path && begin[-1] != '/'; begin--)
			;
		class = mem_strndup(begin, (size_t)(end - begin), e);
	}
	rc = !class ? -1 : folder ? read_folder(w, path, class, e)
	                          : read_file(w, path, class, e);
	mem_free(class);
	return rc;
}

int main(int argc, char **argv)
{
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	struct work w = { .o = &o };
	int i = cli_parse(&tool, argc, argv, &o, sizeof(o), &c), rc;

	if (o.min_gap > o.max_gap)
		cli_usage(&tool, "--min-gap is above --max-gap");
	if (o.only && !o.label.n && !o.node.n)
		cli_usage(&tool, "--only needs --label or --node");
	rc = choose_motifs(&w, &e);
	for (; i < argc && rc == 0; i++)
		rc = read_operand(&w, argv[i], &e);
	if (rc == 0 && o.cascades)
		rc = summary(&w, &e);
	if (rc < 0)
		cli_die(&tool, &e);
	while (w.n_classes)
		mem_free(w.classes[--w.n_classes].name);
	mem_free(w.classes);
	mem_free(w.motifs);
	cli_close_stdout(&tool);
	free(c.command);
	free(o.motif.item);
	free(o.label.item);
	free(o.node.item);
	return 0;
}
