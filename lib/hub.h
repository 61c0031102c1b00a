/*
 * hub: files of the Hugging Face Hub, in the cache its own library uses:
 *
 *   CACHE/models--org--name/refs/REV            the commit REV means
 *                          /blobs/ETAG          the bytes
 *                          /snapshots/COMMIT/PATH -> ../../blobs/ETAG
 *                          /.r1/COMMIT.json     what the commit holds
 *   CACHE/.locks/models--org--name/ETAG.lock    one download at a time
 *                                 /r1.lock      one of us at a time
 *
 * (datasets-- for data sets; .r1 is ours, the rest is huggingface_hub's
 * layout.) Source: huggingface_hub's file_download.py.
 *
 * Environment: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME,
 * HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE. The token goes to the endpoint's
 * origin only.
 */
#ifndef R1_HUB_H
#define R1_HUB_H

#include <stddef.h>

#include "err.h"
#include "http.h"

/* A repository, or one file of it. */
struct hub_ref {
	int dataset;
	char *id;	/* "org/name" or "name" */
	char *rev;	/* branch, tag or commit; "main" when none was given */
	char *path;	/* NULL: the whole repository */
};

/* "org/name[@rev][:path]". -1 ERR_USAGE. hub_ref_free in any case. */
int hub_ref_parse(const char *spec, int dataset, struct hub_ref *r,
                  struct err *e);
void hub_ref_free(struct hub_ref *r);

/* Reads the environment; o's token fields are filled in here. */
struct hub *hub_new(const struct http_opts *o, struct err *e);
void hub_free(struct hub *h);

/*
 * Brings r into the cache and returns the path of the file, or of the folder
 * of the snapshot, for mem_free. include: n patterns (fnmatch, '*' matches
 * '/' too) of the files of a repository; n = 0: for a model config.json and
 * its like, the tokenizer and the safetensors at the top, for a data set
 * everything. sha256, or NULL: what the one file must be. Large files are
 * checked against the digest the Hub names, every file against its length.
 *
 * No request is made for a commit whose files are there already, nor for a
 * file there already that has the digest sha256.
 */
char *hub_get(struct hub *h, const struct hub_ref *r,
              const char *const *include, size_t n, const char *sha256,
              struct err *e);

#endif
