/* label_server: where a provider is reached, and the key it wants. */
#ifndef R1_LABEL_SERVER_H
#define R1_LABEL_SERVER_H

#include "err.h"
#include "label_wire.h"
#include "secret.h"

struct label_server {
	char *base;			/* without a slash at the end */
	const char *headers[4];		/* NULL-ended, with the key */
	struct secret key;
};

/* who: LABEL_ANTHROPIC or LABEL_OPENAI. base: its address, NULL: the provider's
 * own. The key is in the first line of key_file, or, where that is NULL, in the
 * environment variable env (NULL: there is none). ERR_USAGE when the provider's own
 * address is meant, no key is there and need_key is set; or when a key would be sent
 * in the clear. */
int label_server_open(struct label_server *s, enum label_provider who,
                      const char *base, const char *key_file, const char *env,
                      int need_key, struct err *e);
void label_server_close(struct label_server *s);	/* {0} is legal */
/* The key without what a header puts in front; NULL: none. */
const char *label_server_secret(const struct label_server *s);

#endif
