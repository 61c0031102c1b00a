#include "sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "mem.h"

struct sha256 {
	EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(struct err *e)
{
	struct sha256 *s = mem_array(1, sizeof(*s), e);

	if (!s)
		return NULL;
	s->ctx = EVP_MD_CTX_new();
	if (!s->ctx || EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) != 1) {
		err_set(e, ERR_MEM, "no sha256 context to be had");
		sha256_free(s);
		return NULL;
	}
	return s;
}

void sha256_free(struct sha256 *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	mem_free(s);
}

int sha256_add(struct sha256 *s, const void *data, size_t n, struct err *e)
{
	if (EVP_DigestUpdate(s->ctx, data, n) != 1)
		return err_set(e, ERR_MEM, "sha256 of %zu bytes failed", n);
	return 0;
}

int sha256_end(struct sha256 *s, char hex[SHA256_HEX], struct err *e)
{
	static const char digit[] = "0123456789abcdef";
	unsigned char md[32];
	int i;

	if (EVP_DigestFinal_ex(s->ctx, md, NULL) != 1 ||
	    EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) != 1)
		return err_set(e, ERR_MEM, "sha256 could not be closed");
	for (i = 0; i < 32; i++) {
		hex[2 * i] = digit[md[i] >> 4];
		hex[2 * i + 1] = digit[md[i] & 15];
	}
	hex[64] = 0;
	return 0;
}

int sha256_bytes(const void *data, size_t n, char hex[SHA256_HEX],
                 struct err *e)
{
	struct sha256 *s = sha256_new(e);
	int got = -1;

	if (s && sha256_add(s, data, n, e) == 0)
		got = sha256_end(s, hex, e);
	sha256_free(s);
	return got;
}

int sha256_file(const char *path, char hex[SHA256_HEX], struct err *e)
{
	enum { CHUNK = 1 << 18 };
	struct sha256 *s = NULL;
	char *buf = NULL;
	ssize_t got = 0;
	int fd, rc = -1;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "%s", path);
	s = sha256_new(e);
	buf = mem_scratch(CHUNK, 1, e);
	if (!s || !buf)
		goto done;
	for (;;) {
		got = read(fd, buf, CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (sha256_add(s, buf, (size_t)got, e) < 0)
			goto done;
	}
	rc = got < 0 ? err_sys(e, "%s", path) : sha256_end(s, hex, e);
done:
	close(fd);
	mem_free(buf);
	sha256_free(s);
	return rc;
}
