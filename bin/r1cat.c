/* r1cat: show, check, join and make streams.
 * stdin or FILEs: streams of any kind.  stdout: JSON lines, or a stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "examples.h"
#include "json.h"
#include "mem.h"
#include "mpk.h"
#include "rec.h"
#include "rec_graph.h"
#include "rec_motifs.h"
#include "show.h"
#include "stream.h"

struct opts {
	int header, with_header, full, verify, concat, from_json, raw;
	int64_t head, items;
};

static const struct cli_opt options[] = {
	CLI_FLAG('H', "header", struct opts, header,
	         "show only the header, as one JSON line"),
	CLI_FLAG('w', "with-header", struct opts, with_header,
	         "show the header before the records"),
	CLI_LONG('n', "head", struct opts, head, "N", -1, 1e15, "-1",
	         "show only the first N records; -1: all"),
	CLI_LONG(0, "items", struct opts, items, "N", 0, 1e9, "8",
	         "cut arrays in records after N values"),
	CLI_FLAG('f', "full", struct opts, full, "cut nothing"),
	CLI_FLAG('v', "verify", struct opts, verify,
	         "read everything, print one line of counts"),
	CLI_FLAG('c', "concat", struct opts, concat,
	         "write the streams as one stream"),
	CLI_FLAG('j', "from-json", struct opts, from_json,
	         "write a stream from -w -f lines"),
	CLI_FLAG(0, "raw", struct opts, raw,
	         "write plain msgpack, without zstd"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "r1cat",
	.brief = "show, check, join and make streams",
	.operands = "[FILE]...",
	.max_operands = -1,
	.options = options
};

static int print_json(const json_t *j, int full, struct err *e)
{
	char *line = json_dumps(j, JSON_COMPACT |
	                        JSON_REAL_PRECISION(full ? 17 : 9));

	if (!line)
		return err_set(e, ERR_MEM, "out of memory for a line");
	puts(line);
	free(line);
	return 0;
}

static int show_one(const struct opts *o, struct stream_in *in, struct err *e)
{
	size_t max_items = o->full ? SHOW_ALL : (size_t)o->items;
	int64_t left = o->head;
	const uint8_t *data;
	size_t n;
	int got = 0, rc;

	if ((o->header || o->with_header) &&
	    print_json(stream_header(in), o->full, e) < 0)
		return -1;
	if (o->header)
		return 0;
	while (left != 0 && (got = stream_read(in, &data, &n, e)) == 1) {
		struct err why = { 0 };
		struct mpk m = { 0 };
		json_t *j = NULL;

		if (mpk_parse(&m, data, n, &why) == 0)
			j = show_record(stream_header(in), m.root, max_items,
			                &why);
		mpk_free(&m);
		if (!j)
			return stream_bad(in, e, "%s", why.msg);
		rc = print_json(j, o->full, e);
		json_decref(j);
		if (rc < 0)
			return -1;
		if (left > 0)
			left--;
		if (ferror(stdout))
			return 0;	/* cli_close_stdout says why */
	}
	return got < 0 ? -1 : 0;
}

static void count(const struct stream_in *in, uint64_t *records,
                  uint64_t *bytes)
{
	*records = stream_n_records(in);
	*bytes = stream_offset(in);
}

static int check_tokens(struct stream_in *in, uint64_t *records,
                        uint64_t *bytes, struct err *e)
{
	struct rec_tokens_head h;
	struct rec_tokens x;
	struct rec_tokens_in *r = rec_tokens_on(in, &h, e);
	int got;

	if (!r)
		return -1;
	while ((got = rec_tokens_read(r, &x, e)) > 0)
		;
	count(in, records, bytes);
	rec_tokens_close(r);
	return got;
}

static int check_acts(struct stream_in *in, uint64_t *records,
                        uint64_t *bytes, struct err *e)
{
	struct rec_acts_head h;
	struct rec_acts x;
	struct rec_acts_in *r = rec_acts_on(in, &h, e);
	int got;

	if (!r)
		return -1;
	while ((got = rec_acts_read(r, &x, e)) > 0)
		;
	count(in, records, bytes);
	rec_acts_close(r);
	return got;
}

static int check_latents(struct stream_in *in, uint64_t *records,
                        uint64_t *bytes, struct err *e)
{
	struct rec_latents_head h;
	struct rec_latents x;
	struct rec_latents_in *r = rec_latents_on(in, &h, e);
	int got;

	if (!r)
		return -1;
	while ((got = rec_latents_read(r, &x, e)) > 0)
		;
	count(in, records, bytes);
	rec_latents_close(r);
	return got;
}

static int check_examples(struct stream_in *in, uint64_t *records,
                        uint64_t *bytes, struct err *e)
{
	struct examples_head h;
	struct examples_rec x;
	struct examples_in *r = examples_on(in, &h, e);
	int got;

	if (!r)
		return -1;
	while ((got = examples_read(r, &x, e)) > 0)
		;
	count(in, records, bytes);
	examples_close(r);
	examples_head_free(&h);
	return got;
}

static int check_graph(struct stream_in *in, uint64_t *records,
                       uint64_t *bytes, struct err *e)
{
	struct rec_graph g;
	struct rec_graph_in *r = rec_graph_on(in, e);
	int got;

	if (!r)
		return -1;
	while ((got = rec_graph_read(r, &g, e)) > 0)
		;
	count(in, records, bytes);
	rec_graph_close(r);
	return got;
}

static int check_motifs(struct stream_in *in, uint64_t *records,
                        uint64_t *bytes, struct err *e)
{
	struct rec_motifs_head h;
	struct rec_motifs m;
	struct rec_motifs_in *r = rec_motifs_on(in, &h, e);
	int got;

	if (!r)
		return -1;
	while ((got = rec_motifs_read(r, &m, e)) > 0)
		;
	count(in, records, bytes);
	rec_motifs_close(r);
	return got;
}

/* Reads all of a kind whose records have a meaning here, or of any other.
 * Takes in over. Returns 0 with the number of records and of bytes. */
static int check_all(struct stream_in *in, uint64_t *records, uint64_t *bytes,
                     struct err *e)
{
	const uint8_t *data;
	size_t n;
	int got;

	if (!strcmp(stream_kind(in), "tokens/1"))
		return check_tokens(in, records, bytes, e);
	if (!strcmp(stream_kind(in), "acts/1"))
		return check_acts(in, records, bytes, e);
	if (!strcmp(stream_kind(in), "latents/1"))
		return check_latents(in, records, bytes, e);
	if (!strcmp(stream_kind(in), "examples/1"))
		return check_examples(in, records, bytes, e);
	if (!strcmp(stream_kind(in), "graph/1"))
		return check_graph(in, records, bytes, e);
	if (!strcmp(stream_kind(in), "motifs/1"))
		return check_motifs(in, records, bytes, e);
	while ((got = stream_read(in, &data, &n, e)) > 0)
		;
	count(in, records, bytes);
	stream_close_in(in);
	return got;
}

static int verify_one(struct stream_in *in, struct err *e)
{
	char *name = mem_strdup(stream_name(in), e);
	char *kind = mem_strdup(stream_kind(in), e);
	uint64_t records, bytes;
	int rc = -1;

	if (!name || !kind)
		stream_close_in(in);
	else if ((rc = check_all(in, &records, &bytes, e)) == 0)
		printf("%s: %s, %llu records, %llu bytes, ok\n", name, kind,
		       (unsigned long long)records,
		       (unsigned long long)bytes);
	mem_free(name);
	mem_free(kind);
	return rc;
}

/* ---- joining ---- */

/* Adds to prov the entries of a stream that it does not have yet. */
static void merge_prov(json_t *prov, const struct stream_in *in)
{
	json_t *more = json_object_get(stream_header(in), "prov"), *v, *w;
	size_t i, j;

	json_array_foreach(more, i, v) {
		int have = 0;

		json_array_foreach(prov, j, w)
			have |= json_equal(v, w);
		if (!have)
			json_array_append(prov, v);
	}
}

/* The header's members but those that stream_open_out writes itself. */
static json_t *extra_members(const json_t *header)
{
	json_t *h = json_copy((json_t *)(uintptr_t)header);

	json_object_del(h, "r1");
	json_object_del(h, "kind");
	json_object_del(h, "prov");
	return h;
}

static int copy_records(struct stream_in *in, struct stream_out *out,
                        struct err *e)
{
	const uint8_t *data;
	size_t n;
	int got;

	while ((got = stream_read(in, &data, &n, e)) == 1)
		if (stream_write(out, data, n, e) < 0)
			return -1;
	return got;
}

static int concat(const struct opts *o, const struct cli_common *c,
                  struct stream_in **in, int n, struct err *e)
{
	json_t *prov = json_array(), *h = extra_members(stream_header(in[0]));
	struct stream_out_opt opt = {
		.kind = stream_kind(in[0]), .header = h, .prov = prov,
		.command = c->command, .seed = c->seed, .raw = o->raw
	};
	struct stream_out *out = NULL;
	int i, rc = 0;

	for (i = 0; rc == 0 && i < n; i++) {
		if (!stream_same(stream_header(in[0]), stream_header(in[i])))
			rc = err_set(e, ERR_FORMAT, "%s and %s: their headers "
			             "differ, they cannot be joined",
			             stream_name(in[0]), stream_name(in[i]));
		merge_prov(prov, in[i]);
	}
	if (rc == 0)
		rc = (out = stream_open_out("-", &opt, e)) ? 0 : -1;
	for (i = 0; rc == 0 && i < n; i++)
		rc = copy_records(in[i], out, e);
	if (rc == 0)
		rc = stream_finish(out, e);
	else
		stream_abort(out);
	json_decref(prov);
	json_decref(h);
	return rc;
}

/* ---- from JSON ---- */

/* The next line that is not blank: 1 and *j, 0 at the end, -1. */
static int next_line(FILE *f, const char *name, char **line, size_t *cap,
                     uint64_t *number, json_t **j, struct err *e)
{
	ssize_t n;

	while ((n = getline(line, cap, f)) >= 0) {
		char where[320];

		++*number;
		if (strspn(*line, " \t\r\n") == (size_t)n)
			continue;
		snprintf(where, sizeof(where), "%s: line %llu", name,
		         (unsigned long long)*number);
		*j = json_parse(*line, (size_t)n, where, e);
		if (*j && !json_is_object(*j)) {
			json_decref(*j);
			return err_set(e, ERR_FORMAT, "%s: wanted a JSON "
			               "object", where);
		}
		return *j ? 1 : -1;
	}
	return ferror(f) ? err_sys(e, "%s: read", name) : 0;
}

static struct stream_out *open_as(const json_t *header, const struct opts *o,
                                  const struct cli_common *c, struct err *e)
{
	const char *kind = json_string_value(json_object_get(header, "kind"));
	json_t *h = extra_members(header);
	struct stream_out_opt opt = {
		.kind = kind, .header = h,
		.prov = json_object_get(header, "prov"),
		.command = c->command, .seed = c->seed, .raw = o->raw
	};
	struct stream_out *out = NULL;

	if (!kind)
		err_set(e, ERR_FORMAT, "the first line is no header: it lacks "
		        "'kind' (write it with -w)");
	else
		out = stream_open_out("-", &opt, e);
	json_decref(h);
	return out;
}

static int from_json(const struct opts *o, const struct cli_common *c,
                     const char *path, struct err *e)
{
	int is_stdin = strcmp(path, "-") == 0;
	const char *name = is_stdin ? "standard input" : path;
	FILE *f = is_stdin ? stdin : fopen(path, "r");
	json_t *header = NULL, *j = NULL;
	struct stream_out *out = NULL;
	struct mpk_out pack;
	char *line = NULL;
	size_t cap = 0;
	uint64_t number = 0;
	int got;

	if (!f)
		return err_sys(e, "open %s", path);
	mpk_out_init(&pack);
	got = next_line(f, name, &line, &cap, &number, &header, e);
	if (got == 0)
		err_set(e, ERR_FORMAT, "%s: empty, wanted a header line",
		        name);
	if (got == 1 && !(out = open_as(header, o, c, e)))
		got = err_wrap(e, "%s: line %llu", name,
		               (unsigned long long)number);
	while (got == 1 && (got = next_line(f, name, &line, &cap, &number, &j,
	                                    e)) == 1) {
		mpk_out_reset(&pack);
		if (show_pack(header, j, &pack, e) < 0)
			got = err_wrap(e, "%s: line %llu", name,
			               (unsigned long long)number);
		else if (stream_write(out, pack.buf.data, pack.buf.size,
		                      e) < 0)
			got = -1;
		json_decref(j);
	}
	if (out && got == 0)
		got = stream_finish(out, e);
	else
		stream_abort(out), got = -1;
	mpk_out_free(&pack);
	json_decref(header);
	free(line);
	if (!is_stdin)
		fclose(f);
	return got;
}

/* ---- the tool ---- */

static int run(const struct opts *o, const struct cli_common *c,
               const char **paths, int n, struct err *e)
{
	struct stream_in **in;
	int i, rc = 0;

	if (o->from_json)
		return from_json(o, c, paths[0], e);
	in = mem_array((size_t)n, sizeof(*in), e);
	if (!in)
		return -1;
	for (i = 0; rc == 0 && i < n; i++) {
		in[i] = stream_open_in(paths[i], NULL, e);
		if (!in[i]) {
			rc = -1;
		} else if (o->verify) {
			rc = verify_one(in[i], e);
			in[i] = NULL;
		} else if (!o->concat) {
			rc = show_one(o, in[i], e);
		}
	}
	if (rc == 0 && o->concat)
		rc = concat(o, c, in, n, e);
	for (i = 0; i < n; i++)
		stream_close_in(in[i]);
	mem_free(in);
	return rc;
}

int main(int argc, char **argv)
{
	static const char *standard_input[] = { "-" };
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	int at = cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	int n = argc - at, binary = o.concat || o.from_json;
	const char **paths = n ? (const char **)(uintptr_t)(argv + at)
	                       : standard_input;

	if (o.header + o.verify + o.concat + o.from_json > 1)
		cli_usage(&tool, "--header, --verify, --concat and --from-json "
		          "exclude each other");
	if (o.from_json && n > 1)
		cli_usage(&tool, "--from-json takes one FILE");
	if (binary)
		cli_no_terminal(&tool);
	if (run(&o, &c, paths, n ? n : 1, &e) < 0) {
		if (!binary)
			fflush(stdout);
		cli_die(&tool, &e);
	}
	if (!binary)
		cli_close_stdout(&tool);
	return 0;
}
