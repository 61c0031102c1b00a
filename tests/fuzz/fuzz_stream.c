/* Any bytes as a stream of any kind, shown as JSON. The first byte chooses
 * whether the rest is compressed first, so that the fuzzer reaches what lies
 * behind zstd's checksum. */
#include <string.h>
#include <zstd.h>

#include "memory.h"
#include "show.h"
#include "stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(const char *path)
{
	struct err e = { 0 };
	struct stream_in *s = stream_open_in(path, NULL, &e);
	const uint8_t *rec;
	size_t len;

	if (!s)
		return;
	while (stream_read(s, &rec, &len, &e) == 1) {
		struct mpk m = { 0 };

		if (mpk_parse(&m, rec, len, &e) == 0)
			json_decref(show_record(stream_header(s), m.root, 8,
			                        &e));
		mpk_free(&m);
	}
	stream_close_in(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t packed[1 << 17];
	char path[64];
	int fd;

	if (n < 1 || n > 1 << 16)
		return 0;
	if (data[0] & 1) {
		size_t len = ZSTD_compress(packed, sizeof(packed), data + 1,
		                           n - 1, 1);

		fd = memory_file(packed, len, path);
	} else {
		fd = memory_file(data + 1, n - 1, path);
	}
	read_all(path);
	close(fd);
	return 0;
}
