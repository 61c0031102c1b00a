/* The page: data/viewer/page.html with its marks @name@ filled in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "view_impl.h"

enum { D3_MAX = 4 << 20 };	/* bytes of d3's file */

struct page {
	const struct view *v;
	size_t first, n;
	struct text d3;
	view_put *put;
	void *ctx;
};

const char *view_d3(void)
{
	const char *path = getenv("R1_D3");

	return path && *path ? path : "/usr/share/javascript/d3/d3.min.js";
}

/* ---- d3 ---- */

static int slurp(struct text *t, const char *path, struct err *e)
{
	char buf[1 << 14];
	ssize_t got = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return err_sys(e, "d3: %s (Debian's package libjs-d3 has it; "
		               "--d3 or R1_D3 name another place)", path);
	while (rc == 0 && t->n <= D3_MAX &&
	       (got = read(fd, buf, sizeof(buf))) != 0) {
		if (got < 0 && errno != EINTR)
			rc = err_sys(e, "%s", path);
		else if (got > 0)
			rc = text_add(t, buf, (size_t)got, e);
	}
	close(fd);
	return rc;
}

/* Version 3, and nothing in it that ends or confuses the element it is put
 * into. */
static int read_d3(struct text *t, const char *path, struct err *e)
{
	if (slurp(t, path, e) < 0)
		return -1;
	if (!t->n || t->n > D3_MAX || strlen(t->s) != t->n ||
	    (!strstr(t->s, "version:\"3.") && !strstr(t->s, "version: \"3.")))
		return err_set(e, ERR_FORMAT, "%s: wanted d3 of version 3 "
		               "(Debian's package libjs-d3)", path);
	if (strcasestr(t->s, "</script") || strstr(t->s, "<!--"))
		return err_set(e, ERR_FORMAT, "%s: holds markup that cannot "
		               "stand inside a page", path);
	return 0;
}

/* ---- parts ---- */

static int say(const struct page *p, const char *s, struct err *e)
{
	return p->put(p->ctx, s, strlen(s), e);
}

static int put_text(const struct page *p, const struct text *t, struct err *e)
{
	return t->n ? p->put(p->ctx, t->s, t->n, e) : 0;
}

static int put_asset(const struct page *p, const char *name, struct err *e)
{
	size_t n;
	const char *s = view_asset(name, &n);

	return p->put(p->ctx, s, n, e);
}

static int put_value(const struct page *p, const json_t *j, struct err *e)
{
	struct text t = { 0 };
	int rc = view_json_text(&t, j, e);

	rc = rc < 0 ? rc : put_text(p, &t, e);
	mem_free(t.s);
	return rc;
}

static int put_title(const struct page *p, struct err *e)
{
	const char *s = p->n == 1 ? p->v->graph[p->first].name
	                          : "attribution graphs";
	char c[8];
	int rc = 0;

	for (; *s && rc == 0; s++) {
		snprintf(c, sizeof(c), strchr("<>&\"'", *s) ? "&#%d;" : "%c",
		         *s);
		rc = say(p, c, e);
	}
	return rc;
}

static int put_links(const struct page *p, const struct view_graph *g,
                     struct err *e)
{
	struct text t = { 0 };
	char one[64];
	size_t i;
	int rc = 0;

	for (i = 0; i < g->n_links && rc == 0; i++) {
		snprintf(one, sizeof(one), "%s%u,%u,%.6g", i ? "," : "",
		         g->source[i], g->target[i], (double)g->weight[i]);
		rc = text_str(&t, one, e);
		if (rc == 0 && (t.n > 1 << 16 || i + 1 == g->n_links)) {
			rc = put_text(p, &t, e);
			t.n = 0;
		}
	}
	mem_free(t.s);
	return rc;
}

static int put_graph(const struct page *p, const struct view_graph *g,
                     struct err *e)
{
	json_t *name = json_string(g->name);
	char lost[48];
	int rc;

	snprintf(lost, sizeof(lost), ",\"lost\":%llu,\"nodes\":[",
	         (unsigned long long)g->n_lost);
	rc = say(p, "<script type=\"application/json\" class=\"graph\">"
	         "{\"name\":", e) < 0 ||
	     put_value(p, name, e) < 0 || say(p, ",\"metadata\":", e) < 0 ||
	     put_value(p, g->metadata, e) < 0 ||
	     say(p, ",\"qParams\":", e) < 0 || put_value(p, g->q, e) < 0 ||
	     say(p, lost, e) < 0 || put_text(p, &g->nodes, e) < 0 ||
	     say(p, "],\n\"links\":[", e) < 0 || put_links(p, g, e) < 0
		? -1 : say(p, "]}</script>\n", e);
	json_decref(name);
	return rc;
}

/* Whether one of the page's graphs has the latent. */
static int wanted(const struct page *p, uint64_t key)
{
	size_t i, k;

	if (p->n == p->v->n_graphs)
		return 1;
	for (i = p->first; i < p->first + p->n; i++)
		for (k = 0; k < p->v->graph[i].n_nodes; k++)
			if (p->v->graph[i].latent[k] == key)
				return 1;
	return 0;
}

static int put_latents(const struct page *p, struct err *e)
{
	const struct view_latent *l = p->v->latent, *end = l + p->v->n_latents;
	int rc = say(p, "<script type=\"application/json\" id=\"latents\">{",
	             e), some = 0;
	char key[48];

	for (; rc == 0 && l < end; l++) {
		if (!l->about || !wanted(p, l->key))
			continue;
		snprintf(key, sizeof(key), "%s\"%llu_%llu\":",
		         some++ ? ",\n" : "", (unsigned long long)l->key >> 32,
		         (unsigned long long)l->key & UINT32_MAX);
		rc = say(p, key, e);
		rc = rc < 0 ? rc : put_value(p, l->about, e);
	}
	return rc < 0 ? rc : say(p, "}</script>\n", e);
}

static int put_data(const struct page *p, struct err *e)
{
	size_t i;

	for (i = p->first; i < p->first + p->n; i++)
		if (put_graph(p, &p->v->graph[i], e) < 0)
			return -1;
	return put_latents(p, e);
}

static int put_script(const struct page *p, struct err *e)
{
	static const char *const files[] = { "model.js", "state.js", "draw.js",
		"panel.js", "group.js", "main.js" };
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (put_asset(p, files[i], e) < 0)
			return -1;
	return 0;
}

static int put_mark(const struct page *p, const char *mark, struct err *e)
{
	if (!strncmp(mark, "@title@", 7))
		return put_title(p, e);
	if (!strncmp(mark, "@style@", 7))
		return put_asset(p, "style.css", e);
	if (!strncmp(mark, "@d3@", 4))
		return put_text(p, &p->d3, e);
	return !strncmp(mark, "@data@", 6) ? put_data(p, e) : put_script(p, e);
}

/* ---- pages ---- */

static int put_page(const struct page *p, struct err *e)
{
	size_t n;
	const char *s = view_asset("page.html", &n), *end = s + n, *mark;

	while ((mark = memchr(s, '@', (size_t)(end - s)))) {
		if (p->put(p->ctx, s, (size_t)(mark - s), e) ||
		    put_mark(p, mark, e))
			return -1;
		s = strchr(mark + 1, '@') + 1;
	}
	return p->put(p->ctx, s, (size_t)(end - s), e) ? -1 : 0;
}

int view_page(const struct view *v, size_t first, size_t n, const char *d3,
              view_put *put, void *ctx, struct err *e)
{
	struct page p = { .v = v, .first = first, .n = n, .put = put,
		.ctx = ctx };
	int rc;

	if (first > v->n_graphs || n > v->n_graphs - first)
		p.n = first > v->n_graphs ? 0 : v->n_graphs - first;
	rc = read_d3(&p.d3, d3 ? d3 : view_d3(), e);
	rc = rc < 0 ? rc : put_page(&p, e);
	mem_free(p.d3.s);
	return rc;
}

static int check_names(const struct view *v, struct err *e)
{
	size_t i, j;

	for (i = 0; i < v->n_graphs; i++) {
		const char *name = v->graph[i].name;

		if (!*name || *name == '.' || strchr(name, '/') ||
		    strlen(name) > 200)
			return err_set(e, ERR_FORMAT, "a graph's name, '%.80s', "
			               "is no file name", name);
		for (j = 0; j < i; j++)
			if (!strcmp(name, v->graph[j].name))
				return err_set(e, ERR_FORMAT, "two graphs are "
				               "named '%.80s'", name);
	}
	return 0;
}

int view_folder(const struct view *v, const char *dir, const char *d3,
                struct err *e)
{
	size_t i;
	int rc = check_names(v, e);

	if (rc == 0)
		rc = file_mkdirs(dir, e);
	for (i = 0; i < v->n_graphs && rc == 0; i++) {
		char *path = mem_printf(e, "%s/%s.html", dir, v->graph[i].name);
		struct file_out_end to = { 0 };

		to.f = path ? file_out_new(path, e) : NULL;
		rc = !to.f ||
		     view_page(v, i, 1, d3, file_out_append, &to, e) < 0 ||
		     file_out_commit(to.f, e) < 0 ? -1 : 0;
		file_out_free(to.f);
		mem_free(path);
	}
	return rc;
}
