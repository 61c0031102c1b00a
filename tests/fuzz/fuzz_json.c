/* Any bytes as JSON, then through the typed getters. */
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e = { 0 };
	json_t *j = json_parse((const char *)data, n, "fuzz", &e), *v;
	const char *key, *s;
	int64_t i;
	double d;
	int b;

	json_object_foreach(j, key, v) {
		json_int(j, key, -5, 5, 0, &i, &e);
		json_number(j, key, -1, 1, 0, &d, &e);
		json_bool(j, key, 0, &b, &e);
		json_str(j, key, NULL, &s, &e);
	}
	json_decref(j);
	return 0;
}
