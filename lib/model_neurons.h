/*
 * model_neurons: an MLP taken apart into its neurons. It writes the sum over
 * its d_mlp neurons of value W_down[:, i], value = gate (W_up[i] x), gate =
 * silu(W_gate[i] x). With the gate held where it is, a neuron's value is linear
 * in what the MLP reads.
 */
#ifndef R1_MODEL_NEURONS_H
#define R1_MODEL_NEURONS_H

#include "model.h"

/* gate and value [n, d_mlp] (host) for x [n, d_model] (device), the input of
 * the layer's MLP as a tap sees it. */
int model_neurons(const struct model *m, int layer, const float *x, size_t n,
                  float *gate, float *value, struct err *e);

/* Rows ids[n] of the layer's W_up: out [n, d_model], host. */
int model_neurons_in(const struct model *m, int layer, const uint32_t *ids,
                     size_t n, float *out, struct err *e);

/* The layer's W_down turned round: out [d_mlp, d_model], host. */
int model_neurons_out(const struct model *m, int layer, float *out,
                      struct err *e);

#endif
