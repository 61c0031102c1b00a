/*
 * http_api: many requests at a time to an API that limits, fails and bills.
 *
 * Calls are queued and run side by side over connections that are kept
 * (HTTP/2 where TLS offers it). A call that fails for a reason that may pass
 * is tried again: dropped connections, 408, 409, 429, 5xx, or whatever the
 * server marks with x-should-retry; after a pause that doubles and is
 * jittered, or that the server names (Retry-After, retry-after-ms). When the
 * server says that a limit is reached, by a 429 or by its rate-limit headers,
 * every call waits, and fewer run side by side until some succeed. A limit that
 * waiting does not lift (spent credit) ends the call at once.
 *
 * Redirects are not followed: a key is for the origin it was given for.
 */
#ifndef R1_HTTP_API_H
#define R1_HTTP_API_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "log.h"

struct http_api_opts {
	int concurrency;	/* calls side by side, at most */
	int tries;		/* of a call */
	double wait_s;		/* the first pause; doubled up to 60 s */
	double wait_max_s;	/* a server that asks for more is given up */
	double deadline_s;	/* of one try, from connecting to last byte */
	size_t reply_max;	/* bytes of an answer, decompressed */
	uint64_t seed;		/* of the jitter */
	const char *ca_file;	/* who may vouch for servers (PEM); NULL or "":
				 * those the system trusts. Borrowed */
	struct log log;		/* told about pauses */
};

struct http_api_call {
	const char *url;
	const char *const *headers;	/* NULL-ended lines "name: value" */
	const char *body;		/* NULL: GET, else POST */
	int put;			/* PUT instead */
	size_t n_body;
	int64_t tag;			/* handed back with the answer */
	int once;	/* must not be done twice: tried again only where the
			 * server cannot have acted on it (no connection, 429,
			 * 529) */
	size_t reply_max;		/* 0: as in the options */
};

/* An answer, or the lack of one. */
struct http_api_reply {
	int64_t tag;
	long status;		/* of the last try, 0 when none came */
	char *body;		/* NUL added; for mem_free */
	size_t n;
	char type[64];		/* Content-Type without parameters */
	char request_id[80];	/* request-id, x-request-id */
	int tries;
	double took_s;		/* the last try */
	int unknown;		/* the request left and no answer came: the
				 * server may have acted on it */
	struct err err;		/* set when the call failed for good: no whole
				 * answer, or a status that was tried again in
				 * vain. Other statuses are the caller's. */
};

/* Whether nobody reads on the way what is sent to url: https, or this very
 * machine. */
int http_api_private(const char *url);

struct http_api;
/* NULL with e set. */
struct http_api *http_api_new(const struct http_api_opts *o, struct err *e);
/* Abandons calls that are under way. NULL is legal. */
void http_api_free(struct http_api *a);

/* Queues a call; body is copied, the headers' strings are borrowed until it
 * is answered. -1: ERR_USAGE for an address that is none. */
int http_api_send(struct http_api *a, const struct http_api_call *c,
                  struct err *e);
/* Calls that are queued, running or waiting to be tried again. */
size_t http_api_pending(const struct http_api *a);
/* Works for wait_ms at most, or until an answer is there: 1 with *r filled, 0
 * when none came, -1 when libcurl fails. */
int http_api_next(struct http_api *a, int wait_ms, struct http_api_reply *r,
                  struct err *e);
/* From now on no call is begun: those that run may end, the others come back
 * with ERR_STOP. */
void http_api_stop(struct http_api *a);

#endif
