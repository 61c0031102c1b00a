/* A folder of graphs, as circuit-tracer's viewer opens it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attrgraph.h"
#include "file.h"
#include "json.h"
#include "mem.h"

enum { LIST_MAX = 256 << 20 };	/* bytes of graph-metadata.json */

static int replace(json_t *graphs, const json_t *metadata)
{
	const char *slug = json_string_value(json_object_get(metadata, "slug"));
	const char *other;
	json_t *v;
	size_t i;

	json_array_foreach(graphs, i, v) {
		other = json_string_value(json_object_get(v, "slug"));
		if (other && !strcmp(other, slug))
			return json_array_set(graphs, i, (json_t *)metadata);
	}
	return json_array_append(graphs, (json_t *)metadata);
}

static int enter(const char *dir, const json_t *metadata, struct err *e)
{
	char *path = mem_printf(e, "%s/graph-metadata.json", dir);
	char *lock = mem_printf(e, "%s/.lock", dir), *text = NULL;
	json_t *all = NULL, *graphs;
	int fd = -1, rc = -1;

	if (!path || !lock || (fd = file_lock(lock, e)) < 0)
		goto done;
	if (access(path, F_OK) == 0)
		all = json_read(path, LIST_MAX, e);
	else
		all = json_pack("{s:[]}", "graphs");
	if (!all)
		goto done;
	graphs = json_object_get(all, "graphs");
	if (!json_is_array(graphs)) {
		err_set(e, ERR_FORMAT, "%s: has no list 'graphs'", path);
		goto done;
	}
	if (replace(graphs, metadata) < 0 ||
	    !(text = json_dumps(all, JSON_INDENT(1) |
	                        JSON_REAL_PRECISION(9)))) {
		err_set(e, ERR_MEM, "no memory for %s", path);
		goto done;
	}
	rc = file_write(path, text, strlen(text), e);
done:
	if (fd >= 0)
		close(fd);
	json_decref(all);
	free(text);
	mem_free(path);
	mem_free(lock);
	return rc;
}

int attrgraph_write_folder(const struct attr_graph *g,
                           const struct attr_pruned *p,
                           const json_t *metadata, const struct tok *t,
                           struct attrgraph_labels *labels, const char *dir,
                           struct err *e)
{
	char *path = mem_printf(e, "%s/%s.json", dir, json_string_value(
		json_object_get(metadata, "slug")));
	struct file_out_end to = { 0 };
	int rc = -1;

	if (!path || file_mkdirs(dir, e) < 0 || !(to.f = file_out_new(path, e)))
		goto done;
	if (attrgraph_write_json(g, p, metadata, t, labels, file_out_append,
	                         &to, e) == 0 && file_out_commit(to.f, e) == 0)
		rc = enter(dir, metadata, e);
done:
	file_out_free(to.f);
	mem_free(path);
	return rc;
}
