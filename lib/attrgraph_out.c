#include "attrgraph_out.h"

#include <unistd.h>

#include "mem.h"
#include "text.h"
#include "view.h"

struct attrgraph_out {
	struct attrgraph_out_cfg cfg;
	const struct tok *tok;
	struct attrgraph_labels *labels;
	const char *model;
	struct stream_out *stream;	/* NULL: not begun */
	struct view *view;		/* graphs that get a page, or NULL */
};

struct attrgraph_out *attrgraph_out_new(const struct attrgraph_out_cfg *c,
                                        struct err *e)
{
	struct attrgraph_out *o = mem_array(1, sizeof(*o), e);

	if (!o)
		return NULL;
	o->cfg = *c;
	if (!c->pages || (o->view = view_new(e)))
		return o;
	mem_free(o);
	return NULL;
}

void attrgraph_out_free(struct attrgraph_out *o)
{
	if (!o)
		return;
	stream_abort(o->stream);
	view_free(o->view);
	mem_free(o);
}

void attrgraph_out_names(struct attrgraph_out *o, const struct tok *t,
                         struct attrgraph_labels *labels, const char *model)
{
	o->tok = t;
	o->labels = labels;
	o->model = model;
}

static int open_stream(struct attrgraph_out *o, struct err *e)
{
	struct stream_out_opt so = {
		.kind = "graph/1", .command = o->cfg.command,
		.seed = o->cfg.seed, .inputs = json_pack("[s]", o->model)
	};

	o->stream = stream_open_out("-", &so, e);
	json_decref(so.inputs);
	return o->stream ? 0 : -1;
}

static char *path_of(const struct attrgraph_out *o, const char *slug,
                     struct err *e)
{
	return mem_printf(e, "%s/%s.json", o->cfg.dir, slug);
}

/* A graph that is in the folder, for its page. */
static int view_written(struct attrgraph_out *o, const char *slug,
                        struct err *e)
{
	char *path;
	int rc;

	if (!o->view)
		return 0;
	if (!(path = path_of(o, slug, e)))
		return -1;
	rc = view_file(o->view, path, e);
	mem_free(path);
	return rc;
}

static int to_text(void *ctx, const char *bytes, size_t n, struct err *e)
{
	return text_add(ctx, bytes, n, e);
}

static int view_graph(struct attrgraph_out *o, const struct attr_graph *g,
                      const struct attr_pruned *p, const json_t *metadata,
                      struct err *e)
{
	struct text t = { 0 };
	int rc = attrgraph_write_json(g, p, metadata, o->tok, o->labels,
	                              to_text, &t, e);

	if (rc == 0)
		rc = view_json(o->view, t.s, t.n, "graph", e);
	mem_free(t.s);
	return rc;
}

int attrgraph_out_graph(struct attrgraph_out *o, const struct attr_graph *g,
                        const struct attr_pruned *p, const json_t *metadata,
                        struct err *e)
{
	const struct attrgraph_out_cfg *c = &o->cfg;

	if (c->dir)
		return attrgraph_write_folder(g, p, metadata, o->tok,
		                              o->labels, c->dir, e) < 0 ? -1
			: view_written(o, json_string_value(json_object_get(
				metadata, "slug")), e);
	if (o->view)
		return view_graph(o, g, p, metadata, e);
	if (!c->records)
		return attrgraph_write_json(g, p, metadata, o->tok, o->labels,
		                            c->put, c->ctx, e);
	if (!o->stream && open_stream(o, e) < 0)
		return -1;
	return attrgraph_write_records(g, p, metadata, o->tok, o->labels,
	                               o->stream, e);
}

int attrgraph_out_there(struct attrgraph_out *o, const char *slug,
                        struct err *e)
{
	char *path;
	int there;

	if (!o->cfg.dir)
		return 0;
	if (!(path = path_of(o, slug, e)))
		return -1;
	there = access(path, F_OK) == 0;
	mem_free(path);
	return there && view_written(o, slug, e) < 0 ? -1 : there;
}

int attrgraph_out_file(struct attrgraph_out *o, const char *path,
                       struct err *e)
{
	return view_file(o->view, path, e);
}

/* The pages of all graphs that the view holds. */
static int write_pages(struct attrgraph_out *o, struct err *e)
{
	const struct attrgraph_out_cfg *c = &o->cfg;

	if (!o->view || !view_n_graphs(o->view))
		return 0;
	if (c->features && view_database(o->view, c->features, e) < 0)
		return -1;
	if (c->examples && view_examples(o->view, c->examples, o->tok, e) < 0)
		return -1;
	return c->dir ? view_folder(o->view, c->dir, c->d3, e)
		: view_page(o->view, 0, view_n_graphs(o->view), c->d3, c->put,
		            c->ctx, e);
}

int attrgraph_out_finish(struct attrgraph_out *o, struct err *e)
{
	struct stream_out *s = o->stream;

	if (write_pages(o, e) < 0)
		return -1;
	o->stream = NULL;
	return s ? stream_finish(s, e) : 0;
}
