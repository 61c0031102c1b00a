/* publish_ledger: which batches were sent (publish_send.h says how it works). */
#ifndef R1_PUBLISH_LEDGER_H
#define R1_PUBLISH_LEDGER_H

#include <stdint.h>

#include "err.h"

struct publish_batch {
	const char *server, *model, *source, *name;
	uint32_t first, last;	/* features */
	char sha256[65];
};

enum publish_fate { PUBLISH_NEW, PUBLISH_UNKNOWN, PUBLISH_DONE };

struct publish_ledger;
/* Locked against other processes: ERR_IO when one has it. An unfinished last
 * line is dropped: its batch never left. write 0: a file that is not there is
 * empty, and none is made. */
struct publish_ledger *publish_ledger_open(const char *path, int write,
                                           struct err *e);
void publish_ledger_close(struct publish_ledger *l);	/* NULL is legal */

/* What became of b. ERR_FORMAT when some of its features were sent, or may have
 * been, in another batch. */
int publish_ledger_fate(const struct publish_ledger *l,
                        const struct publish_batch *b,
                        enum publish_fate *fate, struct err *e);
/* Adds a line, state "begun", "done" or "refused", on disk when this
 * returns. */
int publish_ledger_note(struct publish_ledger *l,
                        const struct publish_batch *b, const char *state,
                        struct err *e);

#endif
