/* label_out: what a database of labels holds, for other programs, and labels of
 * theirs into it. */
#ifndef R1_LABEL_OUT_H
#define R1_LABEL_OUT_H

#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "label_db.h"
#include "sql.h"
#include "stream.h"

/* The rows of `catalogue`, one for each label with its latent's statistics and
 * scores (r1-features(5)): as CSV (RFC 4180) or as a JSON object a line. */
int label_out_csv(struct sql *s, FILE *f, struct err *e);
int label_out_json(struct sql *s, FILE *f, struct err *e);
/* The same as a stream labels/1 at path; command and seed for its provenance,
 * which goes on from that of the examples. */
int label_out_stream(struct sql *s, const char *path, const char *command,
                     uint64_t seed, struct err *e);
/* Neuronpedia's explanations, one a line: the best label of each latent. names:
 * MODEL/SET, as the model and the source set are called there. */
int label_out_neuronpedia(struct sql *s, const char *names, FILE *f,
                          struct err *e);
/* Puts the labels of what rec_labels_read takes into d: of each row layer,
 * feature_id and label, and what else of that kind there is. Where none is
 * named, model_name is by and prompt_version "". */
int label_out_import(struct label_db *d, const char *path, const char *by,
                     struct err *e);
/* Statements that make the database anew. */
int label_out_sql(struct sql *s, FILE *f, struct err *e);

#endif
