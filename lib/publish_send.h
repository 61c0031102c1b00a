/*
 * publish_send: features and graphs to Neuronpedia's server.
 *
 * Sending a batch of features twice doubles its activations there, and nothing
 * takes that back. So a ledger, a file of JSON lines, is written and flushed to
 * the disk before a batch leaves and after its answer: {server, model, source,
 * batch, first, last, sha256, state}, state being
 *   begun    it leaves now; when this is a batch's last line, nobody knows
 *            whether it arrived (the process died, the connection broke, the
 *            server answered 5xx)
 *   done     the server took it
 *   refused  it did not, or was never reached
 * A batch that is done is passed over, one whose fate is unknown is only sent
 * again when that is asked for, and one whose features have been sent within
 * another is an error. Graphs may be sent again: they replace each other.
 */
#ifndef R1_PUBLISH_SEND_H
#define R1_PUBLISH_SEND_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"
#include "log.h"

enum publish_unknown { PUBLISH_STOP, PUBLISH_SEND, PUBLISH_SKIP };

struct publish_send_opt {
	const char *url;	/* of the API, without a slash at its end */
	const char *key;	/* the header's line "x-api-key: ..."; NULL: none */
	const char *secret;	/* the key in it, kept out of messages; or NULL */
	const char *ledger;	/* NULL: ledger.jsonl beside each batch */
	enum publish_unknown unknown;	/* a batch whose fate is unknown */
	int dry_run;		/* check all, send nothing, write nothing */
	int tries;
	double wait_s, deadline_s;
	struct log log;
};

struct publish_send;
/* ERR_USAGE for an address that is none, or a key on an open network. */
struct publish_send *publish_send_new(const struct publish_send_opt *o,
                                      struct err *e);
void publish_send_free(struct publish_send *s);

/* Sends the file at path, a batch or a graph: whichever it is, checked first
 * (publish.h). *said: an object for the user, with `file`, `kind` and `state`
 * (sent, there, checked) and for a graph its `url`; new reference. */
int publish_send_file(struct publish_send *s, const char *path,
                      json_t **said, struct err *e);

#endif
