/*
 * http: fetching over HTTP(S) through networks that fail.
 *
 * Redirects are followed here, not by libcurl, so that the token goes to its
 * own origin and nowhere else. Requests that fail for a reason that may pass
 * (dropped or stalled connections, 408, 429, 5xx) are tried again with growing
 * pauses, or when the server says (Retry-After); downloads go on where they
 * stopped. Only https and http; an https address never leads to an http one.
 */
#ifndef R1_HTTP_H
#define R1_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "log.h"

/* Bytes so far of a download; want is -1 while unknown. */
typedef void http_progress_fn(void *ctx, int64_t at, int64_t want);

struct http_opts {
	const char *token;	/* bearer token or NULL; never logged */
	const char *token_for;	/* a URL of the one origin it is sent to */
	int tries;		/* in a row without a byte gained */
	double wait_s;		/* the first pause; doubled up to 60 s */
	int stall_s;		/* no connection, or (almost) no bytes */
	struct log log;		/* told about retries */
	http_progress_fn *progress;	/* or NULL */
	void *ctx;
};

/* What an answer's headers said; "" and -1 where nothing. Entity tags come
 * without quotes and the weak mark. */
struct http_reply {
	long status;
	int64_t length;			/* Content-Length */
	char etag[256];
	int weak;			/* the tag was W/"..." */
	char commit[128];		/* X-Repo-Commit */
	char linked_etag[256];		/* X-Linked-Etag */
	int64_t linked_size;		/* X-Linked-Size */
	char next[2048];		/* Link: <...>; rel="next" */
};

/* The strings of o are borrowed until http_free. NULL with e set. */
struct http *http_new(const struct http_opts *o, struct err *e);
void http_free(struct http *h);

/* HEAD. Redirects are followed within the URL's own origin; one that leads
 * elsewhere ends the walk, with its status and headers. 0 with any status
 * below 400, else -1 ERR_IO. */
int http_head(struct http *h, const char *url, struct http_reply *r,
              struct err *e);

/* GET into memory, at most max_bytes, NUL added: *text is for mem_free. */
int http_text(struct http *h, const char *url, size_t max_bytes, char **text,
              size_t *n, struct http_reply *r, struct err *e);

/*
 * GET into the file `part`, made if need be and locked against other
 * processes. size is the length wanted, -1 when unknown. What part holds
 * already is kept and the rest asked for, if resume says so: then the caller
 * must know the size or check a digest, as the file may have changed since. A
 * server that answers with everything is taken at its word and part is filled
 * anew.
 * Returns 0 with the whole file in part, flushed to disk; -1 with ERR_IO or
 * ERR_FORMAT (it is longer or shorter than size) and part left for next time,
 * or emptied where its bytes cannot be right.
 */
int http_fetch(struct http *h, const char *url, const char *part, int64_t size,
               int resume, struct err *e);

/* s percent-encoded, '/' kept if keep_slash; for mem_free. */
char *http_escape(const char *s, int keep_slash, struct err *e);

#endif
