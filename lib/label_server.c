#include "label_server.h"

#include <string.h>

#include "http_api.h"
#include "mem.h"

int label_server_open(struct label_server *s, enum label_provider who,
                      const char *base, const char *key_file, const char *env,
                      int need_key, struct err *e)
{
	int anthropic = who == LABEL_ANTHROPIC, n = 0;
	size_t len;

	*s = (struct label_server){ 0 };
	if (!(s->base = mem_strdup(base ? base : anthropic
	                           ? "https://api.anthropic.com"
	                           : "https://api.openai.com/v1", e)))
		return -1;
	for (len = strlen(s->base); len && s->base[len - 1] == '/'; len--)
		s->base[len - 1] = 0;
	if (secret_load(&s->key, anthropic ? "x-api-key: "
	                                   : "authorization: Bearer ",
	                key_file, env, e) < 0)
		return -1;
	if (!s->key.text && !base && need_key)
		return err_set(e, ERR_USAGE, "no key: set %s or give a file "
		               "with it", env ? env : "OPENAI_API_KEY");
	if (s->key.text && !http_api_private(s->base))
		return err_set(e, ERR_USAGE, "%s: a key is sent over https or "
		               "within this machine only", s->base);
	s->headers[n++] = "content-type: application/json";
	if (anthropic)
		s->headers[n++] = "anthropic-version: 2023-06-01";
	if (s->key.text)
		s->headers[n++] = s->key.text;
	return 0;
}

void label_server_close(struct label_server *s)
{
	secret_free(&s->key);
	mem_free(s->base);
	*s = (struct label_server){ 0 };
}

const char *label_server_secret(const struct label_server *s)
{
	return s->key.text ? s->key.text + s->key.n_prefix : NULL;
}
