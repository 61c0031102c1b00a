#include "json.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "text.h"

/* jansson itself stops at a depth of 2048; ours is lower and checked first, so
 * that recursion over a parsed text needs little stack. */
enum { DEPTH_MAX = 512 };

static int too_deep(const char *s, size_t n)
{
	size_t i, depth = 0;
	int in_string = 0;

	for (i = 0; i < n; i++) {
		if (in_string) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				in_string = 0;
		} else if (s[i] == '"') {
			in_string = 1;
		} else if (s[i] == '{' || s[i] == '[') {
			if (++depth > DEPTH_MAX)
				return 1;
		} else if ((s[i] == '}' || s[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return 0;
}

json_t *json_parse(const char *text, size_t n, const char *name,
                   struct err *e)
{
	const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	json_error_t je;
	json_t *j;

	if (too_deep(text, n)) {
		err_set(e, ERR_FORMAT, "%s: JSON nested deeper than %d", name,
		        DEPTH_MAX);
		return NULL;
	}
	j = json_loadb(text, n, flags, &je);
	/* Python writes integers of any length (1e30 as a model's "no limit"):
	 * then take every number as a real */
	if (!j && json_error_code(&je) == json_error_numeric_overflow)
		j = json_loadb(text, n, flags | JSON_DECODE_INT_AS_REAL, &je);
	if (!j)
		err_set(e, ERR_FORMAT, "%s: byte %d: %s", name, je.position,
		        je.text);
	return j;
}

json_t *json_read(const char *path, size_t max_bytes, struct err *e)
{
	struct stat st;
	json_t *j = NULL;
	char *text = NULL;
	size_t n = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, "%s", path);
		goto done;
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max_bytes) {
		err_set(e, ERR_FORMAT, "%s: wanted a file of at most %zu bytes",
		        path, max_bytes);
		goto done;
	}
	text = mem_scratch((size_t)st.st_size, 1, e);
	if (!text)
		goto done;
	while (n < (size_t)st.st_size &&
	       (got = read(fd, text + n, (size_t)st.st_size - n)) != 0) {
		if (got < 0) {
			err_sys(e, "%s", path);
			goto done;
		}
		n += (size_t)got;
	}
	j = json_parse(text, n, path, e);
done:
	mem_free(text);
	if (fd >= 0)
		close(fd);
	return j;
}

/* obj[key], NULL when absent or null. */
static const json_t *get(const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_null(v) ? NULL : v;
}

int json_int(const json_t *obj, const char *key, int64_t lo, int64_t hi,
             int64_t def, int64_t *out, struct err *e)
{
	const json_t *v = get(obj, key);
	int64_t n = def;

	if (!v && (def < lo || def > hi))
		return err_set(e, ERR_FORMAT, "no %s", key);
	if (json_is_integer(v)) {
		n = json_integer_value(v);
	} else if (v) {
		double x = json_real_value(v);

		/* a whole real, exactly held, is as good (json_parse) */
		if (!json_is_real(v) || x != floor(x) || fabs(x) > 0x1p53)
			return err_set(e, ERR_FORMAT, "%s: wanted an integer",
			               key);
		n = (int64_t)x;
	}
	if (n < lo || n > hi)
		return err_set(e, ERR_FORMAT, "%s is %lld, wanted %lld to "
		               "%lld", key, (long long)n, (long long)lo,
		               (long long)hi);
	*out = n;
	return 0;
}

int json_number(const json_t *obj, const char *key, double lo, double hi,
                double def, double *out, struct err *e)
{
	const json_t *v = get(obj, key);
	double x = def;

	if (!v && !(def >= lo && def <= hi))
		return err_set(e, ERR_FORMAT, "no %s", key);
	if (v && !json_is_number(v))
		return err_set(e, ERR_FORMAT, "%s: wanted a number", key);
	if (v)
		x = json_number_value(v);
	if (!(x >= lo && x <= hi))
		return err_set(e, ERR_FORMAT, "%s is %g, wanted %g to %g", key,
		               x, lo, hi);
	*out = x;
	return 0;
}

int json_bool(const json_t *obj, const char *key, int def, int *out,
              struct err *e)
{
	const json_t *v = get(obj, key);

	if (v && !json_is_boolean(v))
		return err_set(e, ERR_FORMAT, "%s: wanted true or false", key);
	*out = v ? json_is_true(v) : def;
	return 0;
}

int json_str(const json_t *obj, const char *key, const char *def,
             const char **out, struct err *e)
{
	const json_t *v = get(obj, key);

	if (v && !json_is_string(v))
		return err_set(e, ERR_FORMAT, "%s: wanted a string", key);
	*out = v ? json_string_value(v) : def;
	return 0;
}

json_t *json_finite(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

json_t *json_bytes(const char *bytes, size_t n, struct err *e)
{
	char *out = mem_array(n, 3, e);
	size_t i, m = 0;
	json_t *j;
	int len;

	if (!out)
		return NULL;
	for (i = 0; i < n; i += (size_t)abs(len)) {
		size_t put = 3;

		if ((len = text_utf8(bytes + i, n - i)) > 0)
			put = (size_t)len;
		memcpy(out + m, len > 0 ? bytes + i : "\xef\xbf\xbd", put);
		m += put;
	}
	if (!(j = json_stringn(out, m)))
		err_set(e, ERR_MEM, "no memory for a string");
	mem_free(out);
	return j;
}
