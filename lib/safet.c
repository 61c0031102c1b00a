#include "safet.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "map.h"
#include "mem.h"

enum { HEADER_MAX = 100 * 1000 * 1000 };	/* as the reference reader */

/* One file: its bytes and its header, which owns the names. */
struct part {
	char *name;		/* for messages */
	struct map map;		/* empty when the bytes are borrowed */
	json_t *head;
};

/*
 *   parts   [file 0][file 1]...     mappings and headers
 *   t       [a][b][c]...            views into them, by name
 */
struct safet {
	struct part *parts;
	size_t n_parts, cap_parts;
	struct tensor *t;
	size_t n, cap;
};

static const struct { const char *name; enum dtype type; } dtypes[] = {
	{ "BOOL", DT_BOOL }, { "U8", DT_U8 }, { "I8", DT_I8 },
	{ "I16", DT_I16 }, { "U16", DT_U16 }, { "F16", DT_F16 },
	{ "BF16", DT_BF16 }, { "I32", DT_I32 }, { "U32", DT_U32 },
	{ "F32", DT_F32 }, { "F64", DT_F64 }, { "I64", DT_I64 },
	{ "U64", DT_U64 }
};
enum { N_DTYPES = sizeof(dtypes) / sizeof(dtypes[0]) };

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name,
	              ((const struct tensor *)b)->name);
}

/* By place in the file; an empty tensor before the one it touches. */
static int by_place(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->data != y->data)
		return x->data < y->data ? -1 : 1;
	return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

/* The last key wins in most JSON readers, so a doubled name would hide a
 * tensor: refused here, by jansson. */
static json_t *parse_object(const char *text, size_t n, const char *name,
                            struct err *e)
{
	json_error_t je;
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);

	if (!j) {
		err_set(e, ERR_FORMAT, "%s: header, byte %d: %s", name,
		        je.position, je.text);
	} else if (!json_is_object(j)) {
		err_set(e, ERR_FORMAT, "%s: header is not a JSON object",
		        name);
		json_decref(j);
		j = NULL;
	}
	return j;
}

/* Integer i of the array obj[key], 0 .. SIZE_MAX. */
static int get_size(const json_t *obj, const char *key, size_t i, size_t *out)
{
	const json_t *v = json_array_get(json_object_get(obj, key), i);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return -1;
	*out = (size_t)json_integer_value(v);
	return 0;
}

/* Reads and checks one entry of the header into t. */
static int read_entry(const struct part *p, const char *name, const json_t *v,
                      const uint8_t *data, size_t n_data, struct tensor *t,
                      struct err *e)
{
	const char *type = json_string_value(json_object_get(v, "dtype"));
	const json_t *shape = json_object_get(v, "shape");
	const json_t *offs = json_object_get(v, "data_offsets");
	size_t i, begin, end, want;

	memset(t, 0, sizeof(*t));
	t->name = name;
	if (!type)
		return err_set(e, ERR_FORMAT, "%s: tensor '%s': no dtype",
		               p->name, name);
	for (i = 0; i < N_DTYPES && strcmp(type, dtypes[i].name); i++)
		;
	if (i == N_DTYPES)
		return err_set(e, ERR_FORMAT,
		               "%s: tensor '%s': dtype %s is not supported",
		               p->name, name, type);
	t->type = dtypes[i].type;
	if (!json_is_array(shape) || json_array_size(shape) > TENSOR_DIMS)
		return err_set(e, ERR_FORMAT,
		               "%s: tensor '%s': wanted a shape of at most %d "
		               "dimensions", p->name, name, TENSOR_DIMS);
	t->n_dims = (int)json_array_size(shape);
	t->n = 1;
	for (i = 0; i < (size_t)t->n_dims; i++)
		if (get_size(v, "shape", i, &t->shape[i]) < 0 ||
		    __builtin_mul_overflow(t->n, t->shape[i], &t->n))
			return err_set(e, ERR_FORMAT,
			               "%s: tensor '%s': dimension %zu is not "
			               "a size that fits", p->name, name, i);
	if (dtype_bytes(t->type, t->n, &want, e) < 0)
		return err_wrap(e, "%s: tensor '%s'", p->name, name);
	if (!json_is_array(offs) || json_array_size(offs) != 2 ||
	    get_size(v, "data_offsets", 0, &begin) < 0 ||
	    get_size(v, "data_offsets", 1, &end) < 0 || begin > end)
		return err_set(e, ERR_FORMAT,
		               "%s: tensor '%s': wanted data_offsets "
		               "[begin, end]", p->name, name);
	if (end > n_data)
		return err_set(e, ERR_FORMAT,
		               "%s: tensor '%s' ends at data byte %zu, but "
		               "there are %zu", p->name, name, end, n_data);
	if (end - begin != want)
		return err_set(e, ERR_FORMAT,
		               "%s: tensor '%s': %zu values of %s take %zu "
		               "bytes, data_offsets give %zu", p->name, name,
		               t->n, type, want, end - begin);
	t->data = data + begin;
	t->n_bytes = want;
	return 0;
}

/* The tensors must lie end to end and fill the file. */
static int check_places(const struct part *p, struct tensor *t, size_t n,
                        const uint8_t *data, size_t n_data, struct err *e)
{
	const uint8_t *at = data;
	size_t i;

	if (n)
		qsort(t, n, sizeof(*t), by_place);
	for (i = 0; i < n; i++) {
		const uint8_t *begin = t[i].data;

		if (begin != at)
			return err_set(e, ERR_FORMAT, "%s: tensor '%s' begins "
			               "at data byte %td, wanted %td (%s)",
			               p->name, t[i].name, begin - data,
			               at - data,
			               begin < at ? "overlap" : "gap");
		at = begin + t[i].n_bytes;
	}
	if (at != data + n_data)
		return err_set(e, ERR_FORMAT,
		               "%s: %zu data bytes after the last tensor",
		               p->name, (size_t)(data + n_data - at));
	return 0;
}

static int check_meta(const struct part *p, const json_t *meta, struct err *e)
{
	const char *key;
	json_t *v;

	if (!json_is_object(meta))
		return err_set(e, ERR_FORMAT,
		               "%s: __metadata__ is not an object", p->name);
	json_object_foreach((json_t *)meta, key, v)
		if (!json_is_string(v))
			return err_set(e, ERR_FORMAT,
			               "%s: __metadata__ '%s' is not a string",
			               p->name, key);
	return 0;
}

/* Appends the tensors of a file of n bytes to s->t. */
static int read_part(struct safet *s, struct part *p, const uint8_t *bytes,
                     size_t n, struct err *e)
{
	size_t n_head = 0, n_data, first = s->n, i;
	const uint8_t *data;
	const char *key;
	json_t *v;

	if (n < 8)
		return err_set(e, ERR_FORMAT,
		               "%s: %zu bytes, wanted 8 for the header's length",
		               p->name, n);
	for (i = 0; i < 8; i++)
		n_head |= (size_t)bytes[i] << 8 * i;
	if (n_head > n - 8 || n_head > HEADER_MAX)
		return err_set(e, ERR_FORMAT, "%s: a header of %zu bytes, but "
		               "%zu follow (limit %d)", p->name, n_head, n - 8,
		               HEADER_MAX);
	if (n_head == 0 || bytes[8] != '{')
		return err_set(e, ERR_FORMAT,
		               "%s: the header does not begin with '{'",
		               p->name);
	p->head = parse_object((const char *)bytes + 8, n_head, p->name, e);
	if (!p->head)
		return -1;
	data = bytes + 8 + n_head;
	n_data = n - 8 - n_head;
	if (mem_grow(&s->t, &s->cap, s->n + json_object_size(p->head),
	             sizeof(*s->t), e) < 0)
		return -1;
	json_object_foreach(p->head, key, v) {
		if (strcmp(key, "__metadata__") == 0) {
			if (check_meta(p, v, e) < 0)
				return -1;
		} else if (read_entry(p, key, v, data, n_data, &s->t[s->n],
		                      e) < 0) {
			return -1;
		} else {
			s->n++;
		}
	}
	return check_places(p, s->t + first, s->n - first, data, n_data, e);
}

static struct part *add_part(struct safet *s, const char *name, struct err *e)
{
	struct part *p;

	if (mem_grow(&s->parts, &s->cap_parts, s->n_parts + 1,
	             sizeof(*s->parts), e) < 0)
		return NULL;
	p = &s->parts[s->n_parts];
	memset(p, 0, sizeof(*p));
	p->name = mem_strdup(name, e);
	if (!p->name)
		return NULL;
	s->n_parts++;
	return p;
}

static int sort_names(struct safet *s, const char *path, struct err *e)
{
	size_t i;

	if (s->n)
		qsort(s->t, s->n, sizeof(*s->t), by_name);
	for (i = 1; i < s->n; i++)
		if (strcmp(s->t[i - 1].name, s->t[i].name) == 0)
			return err_set(e, ERR_FORMAT,
			               "%s: tensor '%s' lies in two shards",
			               path, s->t[i].name);
	return 0;
}

static int open_part(struct safet *s, const char *path, struct err *e)
{
	struct part *p = add_part(s, path, e);

	if (!p || map_open(&p->map, path, e) < 0)
		return -1;
	return read_part(s, p, p->map.data, p->map.n, e);
}

static int open_one(struct safet *s, const char *path, struct err *e)
{
	return open_part(s, path, e) < 0 ? -1 : sort_names(s, path, e);
}

/* Opens every file the map names, once; s->t is then what they hold. */
static int open_shards(struct safet *s, const char *dir, const char *index,
                       json_t *weights, struct err *e)
{
	json_t *seen = json_object(), *file;
	const char *name;
	int rc = 0;

	if (!seen)
		return err_set(e, ERR_MEM, "%s: out of memory", index);
	json_object_foreach(weights, name, file) {
		const char *base = json_string_value(file);
		char *path;

		if (!base || !*base || *base == '.' || strchr(base, '/')) {
			rc = err_set(e, ERR_FORMAT, "%s: tensor '%s': wanted "
			             "the name of a file beside it", index,
			             name);
			break;
		}
		if (json_object_get(seen, base))
			continue;
		json_object_set_new(seen, base, json_true());
		path = mem_printf(e, "%s/%s", dir, base);
		rc = path ? open_part(s, path, e) : -1;
		mem_free(path);
		if (rc < 0)
			break;
	}
	json_decref(seen);
	return rc;
}

static int open_index(struct safet *s, const char *dir, const char *path,
                      struct err *e)
{
	struct map m = { 0 };
	json_t *root = NULL, *weights, *file;
	const char *name;
	int rc = -1;

	if (map_open(&m, path, e) < 0)
		return -1;
	if (m.n > HEADER_MAX) {
		err_set(e, ERR_FORMAT, "%s: %zu bytes, the limit is %d", path,
		        m.n, HEADER_MAX);
		goto done;
	}
	root = parse_object((const char *)m.data, m.n, path, e);
	if (!root)
		goto done;
	weights = json_object_get(root, "weight_map");
	if (json_object_size(weights) == 0) {
		err_set(e, ERR_FORMAT, "%s: no weight_map, or an empty one",
		        path);
		goto done;
	}
	if (open_shards(s, dir, path, weights, e) < 0 ||
	    sort_names(s, path, e) < 0)
		goto done;
	json_object_foreach(weights, name, file) {
		if (!safet_find(s, name)) {
			err_set(e, ERR_FORMAT, "%s: tensor '%s' is not in %s",
			        path, name, json_string_value(file));
			goto done;
		}
	}
	rc = 0;
done:
	json_decref(root);
	map_close(&m);
	return rc;
}

struct safet *safet_open(const char *path, struct err *e)
{
	struct safet *s = mem_array(1, sizeof(*s), e);
	char *one = NULL, *index = NULL;
	struct stat st;
	int rc = -1;

	if (!s)
		return NULL;
	if (stat(path, &st) < 0) {
		err_sys(e, "%s", path);
	} else if (!S_ISDIR(st.st_mode)) {
		rc = open_one(s, path, e);
	} else {
		one = mem_printf(e, "%s/model.safetensors", path);
		index = mem_printf(e, "%s/model.safetensors.index.json",
		                   path);
		if (one && index) {
			if (stat(one, &st) == 0)
				rc = open_one(s, one, e);
			else if (stat(index, &st) == 0)
				rc = open_index(s, path, index, e);
			else
				err_set(e, ERR_IO, "%s: neither model."
				        "safetensors nor model.safetensors."
				        "index.json in it", path);
		}
	}
	mem_free(one);
	mem_free(index);
	if (rc < 0) {
		safet_free(s);
		return NULL;
	}
	return s;
}

struct safet *safet_parse(const void *data, size_t n, const char *name,
                          struct err *e)
{
	struct safet *s = mem_array(1, sizeof(*s), e);
	struct part *p;

	if (!s)
		return NULL;
	p = add_part(s, name, e);
	if (!p || read_part(s, p, data, n, e) < 0 ||
	    sort_names(s, name, e) < 0) {
		safet_free(s);
		return NULL;
	}
	return s;
}

void safet_free(struct safet *s)
{
	size_t i;

	if (!s)
		return;
	for (i = 0; i < s->n_parts; i++) {
		json_decref(s->parts[i].head);
		map_close(&s->parts[i].map);
		mem_free(s->parts[i].name);
	}
	mem_free(s->parts);
	mem_free(s->t);
	mem_free(s);
}

size_t safet_count(const struct safet *s)
{
	return s->n;
}

const struct tensor *safet_at(const struct safet *s, size_t i)
{
	return &s->t[i];
}

const struct tensor *safet_find(const struct safet *s, const char *name)
{
	struct tensor key = { .name = name };

	return s->n ? bsearch(&key, s->t, s->n, sizeof(key), by_name) : NULL;
}

const struct tensor *safet_get(const struct safet *s, const char *name,
                               int n_dims, const size_t *shape, struct err *e)
{
	const struct tensor *t = safet_find(s, name);
	const char *file = s->parts[0].name;
	int i;

	if (!t) {
		err_set(e, ERR_FORMAT, "%s: no tensor '%s'", file, name);
		return NULL;
	}
	if (t->n_dims != n_dims) {
		err_set(e, ERR_FORMAT, "%s: tensor '%s' has %d dimensions, "
		        "wanted %d", file, name, t->n_dims, n_dims);
		return NULL;
	}
	for (i = 0; i < n_dims; i++) {
		if (shape[i] && shape[i] != t->shape[i]) {
			err_set(e, ERR_FORMAT, "%s: tensor '%s': dimension %d "
			        "is %zu, wanted %zu", file, name, i,
			        t->shape[i], shape[i]);
			return NULL;
		}
	}
	return t;
}

const char *safet_meta(const struct safet *s, const char *key)
{
	const json_t *meta = json_object_get(s->parts[0].head, "__metadata__");

	return json_string_value(json_object_get(meta, key));
}

/* ---- writing ---- */

struct slot {
	struct safet_decl decl;
	int rank;		/* place of its type in dtypes */
	uint64_t begin;		/* in the file */
	size_t n_bytes, done;
};

struct safet_out {
	char *path;
	struct file_out *file;
	struct slot *slot;	/* in file order */
	size_t n;
};

static int by_layout(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	return strcmp(x->decl.name, y->decl.name);
}

/* Sizes, order and offsets (from 0) of what was declared. */
static int lay_out(struct safet_out *o, const struct safet_decl *decl,
                   struct err *e)
{
	uint64_t at = 0;
	size_t i, values;
	int j, r;

	for (i = 0; i < o->n; i++) {
		struct slot *s = &o->slot[i];

		for (r = 0; r < N_DTYPES && dtypes[r].type != decl[i].type; r++)
			;
		if (r == N_DTYPES)
			return err_set(e, ERR_RANGE,
			               "%s: tensor '%s': safetensors has no %s",
			               o->path, decl[i].name,
			               dtype_name(decl[i].type));
		s->decl = decl[i];
		s->rank = r;
		values = 1;
		for (j = 0; j < decl[i].n_dims; j++)
			if (mem_mul(values, decl[i].shape[j], &values, e) < 0)
				return err_wrap(e, "%s: tensor '%s'", o->path,
				                decl[i].name);
		if (dtype_bytes(decl[i].type, values, &s->n_bytes, e) < 0)
			return err_wrap(e, "%s: tensor '%s'", o->path,
			                decl[i].name);
	}
	if (o->n)
		qsort(o->slot, o->n, sizeof(*o->slot), by_layout);
	for (i = 0; i < o->n; i++) {
		o->slot[i].begin = at;
		if (__builtin_add_overflow(at, o->slot[i].n_bytes, &at) ||
		    at > INT64_MAX / 2)
			return err_set(e, ERR_RANGE, "%s: too large", o->path);
	}
	return 0;
}

/* The header as compact JSON in the order of the data. NULL: out of memory
 * or a name given twice. */
static json_t *build_header(const struct safet_out *o, const char *const *meta,
                            struct err *e)
{
	json_t *head = json_object(), *m, *shape;
	int bad = !head, j;
	size_t i;

	if (meta) {
		m = json_object();
		for (; meta[0]; meta += 2)
			bad |= json_object_set_new(m, meta[0],
			                           json_string(meta[1])) < 0;
		bad |= json_object_set_new(head, "__metadata__", m) < 0;
	}
	for (i = 0; i < o->n && !bad; i++) {
		const struct slot *s = &o->slot[i];

		if (json_object_get(head, s->decl.name)) {
			err_set(e, ERR_RANGE, "%s: tensor '%s' declared twice",
			        o->path, s->decl.name);
			json_decref(head);
			return NULL;
		}
		shape = json_array();
		for (j = 0; j < s->decl.n_dims; j++)
			bad |= json_array_append_new(shape,
				json_integer((json_int_t)s->decl.shape[j])) < 0;
		bad |= json_object_set_new(head, s->decl.name,
			json_pack("{s:s, s:o, s:[I, I]}",
			          "dtype", dtypes[s->rank].name,
			          "shape", shape, "data_offsets",
			          (json_int_t)s->begin,
			          (json_int_t)(s->begin + s->n_bytes))) < 0;
	}
	if (bad) {
		err_set(e, ERR_MEM, "%s: header cannot be built", o->path);
		json_decref(head);
		return NULL;
	}
	return head;
}

/* Writes length and header, padded with spaces to a multiple of 8 so that the
 * data is aligned, and moves the slots behind it. */
static int write_header(struct safet_out *o, const char *const *meta,
                        struct err *e)
{
	json_t *head = build_header(o, meta, e);
	char *text, *buf = NULL;
	size_t n, padded, i;
	int rc = -1;

	if (!head)
		return -1;
	text = json_dumps(head, JSON_COMPACT);
	json_decref(head);
	if (!text)
		return err_set(e, ERR_MEM, "%s: header cannot be written",
		               o->path);
	n = strlen(text);
	padded = (n + 7) / 8 * 8;
	if (padded > HEADER_MAX)
		err_set(e, ERR_RANGE, "%s: header of %zu bytes, the limit is "
		        "%d", o->path, padded, HEADER_MAX);
	else
		buf = mem_scratch(8 + padded, 1, e);
	if (buf) {
		for (i = 0; i < 8; i++)
			buf[i] = (char)(padded >> 8 * i & 255);
		memcpy(buf + 8, text, n);
		memset(buf + 8 + n, ' ', padded - n);
		rc = file_out_write(o->file, 0, buf, 8 + padded, e);
		for (i = 0; i < o->n; i++)
			o->slot[i].begin += 8 + padded;
	}
	free(text);
	mem_free(buf);
	return rc;
}

struct safet_out *safet_create(const char *path, const struct safet_decl *decl,
                               size_t n, const char *const *meta,
                               struct err *e)
{
	struct safet_out *o = mem_array(1, sizeof(*o), e);

	if (!o)
		return NULL;
	o->path = mem_strdup(path, e);
	o->slot = mem_array(n, sizeof(*o->slot), e);
	o->n = n;
	if (!o->path || !o->slot || lay_out(o, decl, e) < 0)
		goto fail;
	o->file = file_out_new(path, e);
	if (!o->file || write_header(o, meta, e) < 0)
		goto fail;
	return o;
fail:
	safet_out_free(o);
	return NULL;
}

int safet_put(struct safet_out *o, const char *name, const void *data,
              size_t n_bytes, struct err *e)
{
	struct slot *s = o->slot;

	while (s < o->slot + o->n && strcmp(s->decl.name, name))
		s++;
	if (s == o->slot + o->n)
		return err_set(e, ERR_RANGE, "%s: tensor '%s' was not declared",
		               o->path, name);
	if (n_bytes > s->n_bytes - s->done)
		return err_set(e, ERR_RANGE, "%s: tensor '%s': %zu bytes "
		               "given, %zu left of %zu", o->path, name,
		               n_bytes, s->n_bytes - s->done, s->n_bytes);
	if (file_out_write(o->file, s->begin + s->done, data, n_bytes, e) < 0)
		return -1;
	s->done += n_bytes;
	return 0;
}

int safet_commit(struct safet_out *o, struct err *e)
{
	size_t i;

	for (i = 0; i < o->n; i++)
		if (o->slot[i].done != o->slot[i].n_bytes)
			return err_set(e, ERR_RANGE, "%s: tensor '%s': %zu of "
			               "%zu bytes written", o->path,
			               o->slot[i].decl.name, o->slot[i].done,
			               o->slot[i].n_bytes);
	return file_out_commit(o->file, e);
}

void safet_out_free(struct safet_out *o)
{
	if (!o)
		return;
	file_out_free(o->file);
	mem_free(o->path);
	mem_free(o->slot);
	mem_free(o);
}
